//! Every route, asked in every wrong way: complete JSON, with the status that was written about it.

use super::spec::Operation;
use super::*;
use crate::raw::sending;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

fn json_of(length: impl std::fmt::Display) -> String {
    format!("Content-Type: application/json\r\nContent-Length: {length}\r\n")
}

/// A body that the operation takes; nothing where it takes none.
fn body_of(operation: &Operation<'_>) -> String {
    operation.examples.first().map(ToString::to_string).unwrap_or_default()
}

/// Does this to every operation, each with a server of its own, so that no failures add up.
fn for_every_operation(act: impl Fn(&Api, &Operation<'_>) + Sync) {
    let spec = Spec::read();
    assert_eq!(spec.operations().len(), 16);
    std::thread::scope(|scope| {
        for operation in spec.operations() {
            let act = &act;
            scope.spawn(move || {
                let server = serve(with_admin());
                act(&Api::of(&server), &operation);
            });
        }
    });
}

#[test]
fn wrong_methods_and_paths() {
    for_every_operation(|api, Operation { method, path, .. }| {
        for wrong in ["PATCH", "OPTIONS", "HEAD", "POTATO"] {
            let answer = api.ask(wrong, path, &Value::Null);
            answer.refused(405);
            assert!(answer.header("allow").unwrap().split(", ").any(|allowed| allowed == method), "{answer:?}");
        }
        for wrong in [format!("{path}/"), format!("{path}/more/more"), format!("/x{path}"), "/v1".into(), "*".into()] {
            // What is behind a slash is a name where one may stand.
            let is_a_name = ["/v1/accounts/", "/v1/connections/"].contains(&&*wrong);
            assert_eq!(api.ask(method, &wrong, &Value::Null).status == 404, !is_a_name, "{wrong}");
        }
    });
}

#[test]
fn wrong_keys() {
    for_every_operation(|api, operation| {
        let Operation { method, path, role, .. } = operation;
        let body = body_of(operation);
        let ask = |headers: &str| api.ask_with(method, path, headers, &body);
        let Some(role) = role else {
            assert_eq!(ask(&bearer("wrong")).status, 200, "nobody is asked for a key");
            return;
        };
        for headers in ["", "Authorization: Basic dTpw\r\n", "Sec-WebSocket-Protocol: bearer.wrong\r\n", &bearer("")] {
            let answer = ask(headers);
            answer.refused(401);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        for wrong in [&ADMIN_KEY[1..], &format!("{ADMIN_KEY}x"), &ADMIN_KEY.to_uppercase(), "operator"] {
            ask(&bearer(wrong)).refused(401);
        }
        ask(&(bearer(ADMIN_KEY) + &bearer(PUSH_KEY))).refused(400);
        let in_query = format!("{path}?token={ADMIN_KEY}");
        api.ask_with(method, &in_query, "", &body).refused(401);
        for (key, own) in [(PUSH_KEY, "push"), (MONITOR_KEY, "monitor")] {
            let answer = ask(&bearer(key));
            assert_eq!(answer.status != 403, *role == own, "{method} {path}");
            if answer.status == 403 {
                assert!(answer.refused(403).ends_with(&format!("its role is {own}")), "{:?}", answer.body);
            }
        }
        assert_ne!(ask(&bearer(ADMIN_KEY)).status, 403);
    });
}

#[test]
fn web_pages() {
    for_every_operation(|api, operation| {
        let Operation { method, path, .. } = operation;
        let body = body_of(operation);
        let request = request(method, path, &bearer(ADMIN_KEY), &body);
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "[::1", ""] {
            let foreign = request.replace("Host: 127.0.0.1\r\n", &format!("Host: {host}\r\n"));
            api.exchange(method, path, foreign).refused(403);
        }
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8080", "http://localhost", "file://"] {
            let headers = bearer(ADMIN_KEY) + &format!("Origin: {origin}\r\n");
            api.ask_with(method, path, &headers, &body).refused(403);
        }
        let own = bearer(ADMIN_KEY) + "Origin: http://127.0.0.1\r\n";
        assert_ne!(api.ask_with(method, path, &own, &body).status, 403, "its own Host's");
    });
}

#[test]
fn wrong_bodies_and_parameters() {
    for_every_operation(|api, operation| {
        let Operation { method, path, query, .. } = operation;
        let key = bearer(ADMIN_KEY);
        let exchange = |headers: String, body: &str| {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}{headers}\r\n");
            api.exchange(method, path, head + body)
        };
        let body = body_of(operation);
        api.ask_with(method, &format!("{path}?limite=5"), &key, &body).refused(400);
        if *query {
            for wrong in ["limit=0", "limit=1001", "limit=x", "after=", "after=a%00", "limit=1&limit=1", "after=%zz"] {
                api.ask_with(method, &format!("{path}?{wrong}"), &key, "").refused(400);
            }
        }
        if body.is_empty() {
            exchange(json_of(2), "{}").refused(400);
            exchange("Transfer-Encoding: chunked\r\n".into(), "0\r\n\r\n").refused(400);
            return;
        }
        for media_type in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
            exchange(format!("{media_type}Content-Length: {}\r\n", body.len()), &body).refused(415);
        }
        let charset = "Content-Type: application/json; charset=utf-8\r\n";
        assert_ne!(exchange(format!("{charset}Content-Length: {}\r\n", body.len()), &body).status, 415);
        exchange("Content-Type: application/json\r\n".into(), &body).refused(400);
        exchange("Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n".into(), "2\r\n{}\r\n0\r\n\r\n")
            .refused(400);
        for length in ["x", "-1", "2, 2", "2\r\nContent-Length: 3"] {
            exchange(json_of(length), "{}").refused(400);
        }
        for wrong in ["{", "[]", "null", "nonsense", "{}", "{\"potato\":1}", "\u{0}", &format!("{body}x")] {
            exchange(json_of(wrong.len()), wrong).refused(400);
        }
        let misspelt = body.replacen('{', "{\"acounts\":[\"a\"],", 1);
        assert!(exchange(json_of(misspelt.len()), &misspelt).refused(400).contains("acounts"));
        let (field, value) = operation.examples[0].as_object().unwrap().iter().next().unwrap();
        let twice = body.replacen('{', &format!("{{\"{field}\":{value},"), 1);
        assert!(exchange(json_of(twice.len()), &twice).refused(400).contains("duplicate"), "{twice}");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}{}\r\n", json_of(2));
        api.exchange(method, path, [head.as_bytes(), b"\xff\xff"].concat()).refused(400);
    });
}

#[test]
fn bodies_that_are_too_large_are_refused_unread_and_the_answer_arrives() {
    for_every_operation(|api, operation| {
        let Operation { method, path, .. } = operation;
        if operation.examples.is_empty() {
            return;
        }
        let body = "x".repeat(2 << 20);
        api.ask_with(method, path, &bearer(ADMIN_KEY), &body).refused(413);
        let announced =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}{}\r\n", bearer(ADMIN_KEY), json_of(u64::MAX));
        api.exchange(method, path, announced).refused(413);
        let longest = "x".repeat(1 << 20);
        api.ask_with(method, path, &bearer(ADMIN_KEY), &longest).refused(400);
    });
}

/// Sends these, and then a byte now and then, which is no reason to wait for longer; the answer.
fn dribbled(address: SocketAddr, begun: &str, more: u8) -> String {
    let mut stream = dial(address);
    stream.write_all(begun.as_bytes()).unwrap();
    let parts = std::iter::repeat_with(|| vec![more]);
    let mut answer = String::new();
    sending(stream.try_clone().unwrap(), parts, Duration::from_millis(20), || {
        stream.read_to_string(&mut answer).unwrap();
    });
    answer
}

#[test]
fn slow_heads_and_bodies_have_a_deadline() {
    let short = Duration::from_millis(300);
    let [slow_head, slow_body] = [true, false].map(|is_head| {
        serve(configured(|config| {
            *config = with_admin();
            *(if is_head { &mut config.handshake_deadline } else { &mut config.assembly_deadline }) = short;
        }))
    });
    let (of_head, of_body) = (Api::of(&slow_head), Api::of(&slow_body));
    std::thread::scope(|scope| {
        for operation in of_head.spec.operations() {
            let (of_head, of_body) = (&of_head, &of_body);
            scope.spawn(move || {
                let Operation { method, path, .. } = &operation;
                let begun = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ");
                of_head.judge(method, path, &dribbled(of_head.address, &begun, b'x')).refused(408);
                of_head.judge(method, path, &dribbled(of_head.address, "", b'\n')).refused(408);
                if !operation.examples.is_empty() {
                    let head = format!(
                        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}{}\r\n",
                        bearer(ADMIN_KEY),
                        json_of(10_000)
                    );
                    of_body.judge(method, path, &dribbled(of_body.address, &head, b' ')).refused(408);
                }
            });
        }
    });
}

#[test]
fn garbage() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let head_of =
        |padding: usize| format!("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}\r\n\r\n", "x".repeat(padding));
    for (garbage, status) in [
        ("potato\r\n\r\n".to_owned(), 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03".into(), 400),
        ("GET /healthz HTTP/2.0\r\n\r\n".into(), 400),
        ("GET /healthz HTTP/1.1\r\n\r\n".into(), 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into(), 400),
        ("GET /v1/accounts/%f HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".into(), 400),
        (head_of(10_000), 431),
        (format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(100)), 431),
    ] {
        api.exchange("GET", "/healthz", garbage).refused(status);
    }
    assert_eq!(api.exchange("GET", "/healthz", head_of(1_000)).status, 200);
}

#[test]
fn whoever_leaves_before_the_end_gets_nothing_and_costs_nothing() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    for begun in ["", "GET /heal", "POST /v1/push HTTP/1.1\r\nHost: 127.0.0.1\r\n"] {
        let mut stream = dial(api.address);
        stream.write_all(begun.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "");
    }
    let half = request("POST", "/v1/push", &bearer(PUSH_KEY), "{\"all\":true}").replace("true}", "");
    let mut stream = dial(api.address);
    stream.write_all(half.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "");
    api.get("/healthz");
}

#[test]
fn too_many_wrong_keys_of_an_address_are_throttled_and_health_is_not() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let ask = |key: &str| api.ask_with("GET", "/v1/accounts", &bearer(key), "");
    let mut throttled = None;
    for guess in 0..1_000 {
        let answer = ask(&format!("guess-{guess}"));
        if answer.status == 429 {
            throttled = Some(answer);
            break;
        }
        answer.refused(401);
    }
    let throttled = throttled.expect("some guess is one too many");
    assert!(throttled.header("retry-after").is_some());
    api.ask_with("GET", "/healthz", &bearer("wrong"), "").ok();
    eventually("the right key is let in again", || ask(ADMIN_KEY).status == 200);
}

#[test]
fn where_nobody_is_asked_for_a_key_everybody_on_this_machine_may() {
    let server = serve(configured(|config| {
        *config = with_admin();
        config.admin.keys.clear();
    }));
    let api = Api::of(&server);
    for operation in api.spec.operations() {
        let answer = api.ask_with(&operation.method, &operation.path, "", &body_of(&operation));
        let nobody = operation.path.starts_with("/v1/connections/");
        assert_eq!(answer.status, if nobody { 404 } else { 200 }, "{} {}", operation.method, operation.path);
    }
}

#[test]
fn a_client_that_waits_with_its_body_is_told_to_go_on() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let body = json!({ "all": true, "message": { "type": "notice", "content": 1 } }).to_string();
    let whole = request("POST", "/v1/push", &(bearer(PUSH_KEY) + "Expect: 100-continue\r\n"), &body);
    let (head, body) = whole.split_at(whole.len() - body.len());
    let mut stream = dial(api.address);
    stream.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    api.judge("POST", "/v1/push", &rest(stream)).ok();
    let refused = head.replace(PUSH_KEY, "wrong");
    api.exchange("POST", "/v1/push", refused).refused(401);
}

fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
