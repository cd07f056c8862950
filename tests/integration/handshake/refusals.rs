//! Every refusal of a request is a complete JSON response.

use super::*;
use heartwire::{Config, config::SingleConnection};
use std::io::{ErrorKind, Write};

/// The status, code and reason of a refusal of `target` with further headers.
fn refused(server: &Server, target: &str, headers: &str) -> (u16, u64, String) {
    refused_request(server, upgrade_request(target, headers))
}

fn refused_request(server: &Server, request: impl AsRef<[u8]>) -> (u16, u64, String) {
    let response = Response::to(address(server), request);
    let (code, reason, _) = response.error();
    (response.status, code, reason)
}

fn bad_request() -> (u16, u64, String) {
    (400, 107, "bad_request".into())
}

#[test]
fn a_request_that_makes_no_sense_is_400() {
    let server = serve(config());
    let long = |n| "x".repeat(n);
    for target in [
        "/ws",
        "/ws?user_id=",
        "/ws?user_id=a&user_id=a",
        "/ws?user_id=a&%75ser_id=a",
        "/ws?user_id=a%zz",
        "/ws?user_id=%ff",
        "/ws?user_id=a%0d%0ab",
        &format!("/ws?user_id={}", long(129)),
        "/ws?user_id=a&heartbeat_ms=0",
        "/ws?user_id=a&heartbeat_ms=soon",
        "/ws?user_id=a&heartbeat_ms=-1",
        &format!("/ws?user_id=a&device={}", long(65)),
        "/ws?user_id=a&device=%0a",
        "/ws?user_id=a&refuse=x",
    ] {
        assert_eq!(refused(&server, target, ""), bad_request(), "{target}");
    }
    let longest = format!("/ws?user_id={}&device={}&heartbeat_ms=1&refuse=http", long(128), long(64));
    assert_eq!(status(address(&server), &longest, ""), 101, "at the bounds");
}

#[test]
fn a_request_that_is_no_upgrade_of_http_is_400() {
    let server = serve(config());
    let request = upgrade_request("/ws?user_id=a", "");
    for (wrong, why) in [
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), "not HTTP, as a TLS client is"),
        (request.replace("HTTP/1.1", "HTTP/1.0"), "too old"),
        (request.replace("Host: 127.0.0.1\r\n", ""), "no Host"),
        (request.replace("Host:", "Host: 127.0.0.1\r\nHost:"), "two Hosts"),
        (request.replace("Connection: Upgrade\r\n", ""), "no Connection"),
        (request.replace("Host:", "Content-Length: 0\r\nContent-Length: 5\r\nHost:"), "a body after all"),
        (request.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "no key"),
        (request.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), "a short key"),
        (request.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ!=="), "a key that is not base64"),
        (upgrade_request("/ws?user_id=a", "Content-Length: 5\r\n") + "hello", "a body"),
        (upgrade_request("/ws?user_id=a", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", "a body in chunks"),
        (upgrade_request("/ws?user_id=a", "No colon\r\n"), "a line that is no header"),
    ] {
        assert_eq!(refused_request(&server, &wrong), bad_request(), "{why}");
    }
    assert_eq!(status_of(address(&server), &request), 101);
}

#[test]
fn a_handler_refuses_with_401_403_429_or_503() {
    let server = gated();
    let refusal = |token: &str| refused(&server, &format!("/ws?token={token}"), "");
    assert_eq!(refusal("wrong"), (401, 101, "unauthorized".into()));
    assert_eq!(refusal("banned"), (403, 103, "permission_denied".into()));
    assert_eq!(refusal("too-often"), (429, 111, "too_many_requests".into()));
    assert_eq!(refusal("no-backend"), (503, 108, "not_available".into()));
    let response = |token: &str| Response::to(address(&server), upgrade_request(&format!("/ws?token={token}"), ""));
    assert_eq!(response("wrong").header("www-authenticate"), Some("Bearer"));
    for token in ["too-often", "no-backend"] {
        assert_eq!(response(token).header("retry-after"), Some("3"), "whole seconds, rounded up");
    }
    assert_eq!(response("banned").error().2, "banned", "the handler's own words");
}

#[test]
fn a_token_opens_no_other_account() {
    let server = gated();
    assert_eq!(refused(&server, "/ws?token=of-alice&user_id=bob", "").0, 403);
    assert_eq!(close_code(address(&server), "/ws?token=of-alice&user_id=bob&refuse=close", ""), 4500);
    assert_eq!(status(address(&server), "/ws?token=of-alice&user_id=alice", ""), 101);
}

#[test]
fn a_handler_that_panics_is_500_for_that_client_only() {
    let server = gated();
    assert_eq!(refused(&server, "/ws?token=panic", ""), (500, 100, "internal".into()));
    assert_eq!(close_code(address(&server), "/ws?token=panic&refuse=close", ""), 1011);
    assert_eq!(status(address(&server), "/ws?token=of-alice", ""), 101);
}

#[test]
fn other_paths_are_404_and_other_methods_405() {
    let server = serve(config());
    for path in ["/", "/chats?user_id=a", "/ws/?user_id=a", "/WS?user_id=a", "//ws?user_id=a", "/%77s?user_id=a"] {
        assert_eq!(refused(&server, path, ""), (404, 107, "not_found".into()), "{path}");
    }
    for method in ["POST", "PUT", "OPTIONS", "BREW"] {
        let request = upgrade_request("/ws?user_id=a", "").replacen("GET", method, 1);
        let response = Response::to(address(&server), request);
        assert_eq!((response.status, response.header("allow")), (405, Some("GET")), "{method}");
        assert_eq!(response.error().1, "method_not_allowed");
    }
}

#[test]
fn whoever_does_not_upgrade_to_version_13_is_told_how() {
    let server = serve(config());
    let upgrade = upgrade_request("/ws?user_id=a", "");
    for (request, why) in [
        ("GET /ws?user_id=a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "a plain GET"),
        (upgrade.replace("Version: 13", "Version: 8"), "an old version"),
        (upgrade.replace("Sec-WebSocket-Version: 13\r\n", ""), "no version"),
        (upgrade.replace("Upgrade: websocket", "Upgrade: h2c"), "another protocol"),
    ] {
        let response = Response::to(address(&server), request);
        assert_eq!((response.status, response.header("sec-websocket-version")), (426, Some("13")), "{why}");
        assert_eq!(response.header("upgrade"), Some("websocket"), "{why}");
        assert_eq!(response.error().1, "upgrade_required", "{why}");
    }
}

#[test]
fn a_head_that_is_too_large_is_431_however_much_follows() {
    let server = serve(config());
    let many = "X-One: 1\r\n".repeat(100);
    let large = format!("X-Large: {}\r\n", "x".repeat(64 << 10));
    for headers in [&many, &large] {
        assert_eq!(refused(&server, "/ws?user_id=a", headers), (431, 106, "limit_exceeded".into()));
    }
    let endless = format!("GET /ws?user_id={}", "x".repeat(64 << 10));
    assert_eq!(refused_request(&server, &endless).0, 431, "a first line that never ends");
}

fn impatient() -> Config {
    let mut config = config();
    config.handshake_deadline = Duration::from_millis(300);
    config
}

#[test]
fn a_request_that_does_not_come_is_408() {
    let server = serve(impatient());
    assert_eq!(refused_request(&server, ""), (408, 107, "bad_request".into()), "nothing at all");
    assert_eq!(refused_request(&server, "GET /ws?user_id=a HTTP/1.1\r\n").0, 408, "half of it");
}

#[test]
fn bytes_that_trickle_do_not_extend_the_handshake() {
    let server = serve(impatient());
    let mut stream = dial(address(&server));
    // Reading paces the bytes, so that they would take ten times the deadline.
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let request = upgrade_request("/ws?user_id=a", &format!("X-Long: {}\r\n", "x".repeat(2_800)));
    let mut response = Vec::new();
    let mut buffer = [0; 1024];
    for byte in request.bytes() {
        // Once the server has left, so may the bytes.
        let _ = stream.write_all(&[byte]);
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => response.extend_from_slice(&buffer[..n]),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
        }
    }
    let response = Response::parse(&String::from_utf8(response).unwrap());
    assert_eq!(response.status, 408);
    response.error();
}

#[test]
fn an_account_has_a_limit_of_connections() {
    let mut config = config();
    config.max_per_account = Some(1);
    let server = serve(config);
    let alice = Client::connect(&server, "alice");
    assert_eq!(refused(&server, "/ws?user_id=alice", ""), (429, 106, "limit_exceeded".into()));
    assert_eq!(close_code(address(&server), "/ws?user_id=alice&refuse=close", ""), 4103);
    let _bob = Client::connect(&server, "bob");
    drop(alice);
    eventually("alice comes back", || status(address(&server), "/ws?user_id=alice", "") == 101);
}

#[test]
fn an_account_that_may_connect_once_is_refused_the_second_time() {
    let mut config = config();
    config.single = SingleConnection::Refuse;
    let server = serve(config);
    let _alice = Client::connect(&server, "alice");
    assert_eq!(refused(&server, "/ws?user_id=alice", "").0, 429);
    assert_eq!(close_code(address(&server), "/ws?user_id=alice&refuse=close", ""), 4103);
}

#[test]
fn a_full_server_says_503_before_anything_was_read_and_has_room_again_later() {
    let mut config = config();
    config.max_connections = Some(2);
    let server = serve(config);
    let _alice = Client::connect(&server, "alice");
    let bob = Client::connect(&server, "bob");
    let response = Response::to(address(&server), "");
    assert_eq!((response.status, response.error().1), (503, "not_available".into()));
    assert!(response.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().unwrap() > 0));
    drop(bob);
    eventually("the place of bob is free", || status(address(&server), "/ws?user_id=carol", "") == 101);
}

/// A thread still waits for it to leave, and threads are what places stand for.
#[test]
fn whoever_was_refused_keeps_a_place_until_it_has_left() {
    for refused in [upgrade_request("/nowhere", ""), upgrade_request("/ws", "")] {
        let mut config = config();
        config.max_connections = Some(1);
        config.linger = PATIENCE;
        let server = serve(config);
        let mut lingering = dial(address(&server));
        lingering.write_all(refused.as_bytes()).unwrap();
        lingering.read_to_string(&mut String::new()).unwrap();
        assert_eq!(Response::to(address(&server), "").status, 503);
        drop(lingering);
        eventually("its place is free", || status(address(&server), "/ws?user_id=alice", "") == 101);
    }
}

#[test]
fn a_handshake_in_progress_learns_that_the_server_stops() {
    let server = serve(config());
    let handle = server.handle();
    let mut stream = dial(address(&server));
    stream.write_all(b"GET /ws?user_id=a HTTP/1.1\r\n").unwrap();
    eventually("it was accepted", || handle.counts().unwrap().accepted == 1);
    let stopping = std::thread::spawn(move || server.shutdown(PATIENCE));
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    drop(stream);
    let response = Response::parse(&text);
    assert_eq!((response.status, response.error().1), (503, "not_available".into()));
    assert!(response.header("retry-after").is_some());
    stopping.join().unwrap().unwrap();
}
