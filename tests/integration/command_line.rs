//! The binary: flags and environment, exit codes, what it logs and what it never logs, signals.

use crate::process::{Process, heartwire, serve_command};
use crate::support::*;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;

/// The exit code and the only line of stderr of a command that ends by itself.
fn failure(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty());
    assert_eq!(text.lines().count(), 1, "{text}");
    (output.status.code(), text)
}

#[test]
fn the_first_line_of_the_log_says_where_and_how_to_try_it() {
    let mut process = Process::start(serve_command(&[]));
    let address = process.address();
    let expected = format!(
        "listening on {address}: open http://{address}/ in two browser tabs, \
         or websocat 'ws://{address}/ws?user_id=alice'"
    );
    assert!(process.log()[0].ends_with(&expected), "{:?}", process.log());
    let mut alice = Client::open(address, "/ws?user_id=alice", "");
    assert_eq!(alice.json()["type"], "register");
    assert!(exchange(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

#[test]
fn nonsense_is_one_line_and_exit_code_2() {
    for (arguments, essence) in [
        (&["--heartbeat-interval", "60s", "--heartbeat-timeout", "60s"][..], "heartbeat-interval (60s) must be less"),
        (&["--heartbeat-timeout", "0s"], "must not be zero"),
        (&["--handshake-deadline", "0s"], "handshake-deadline must not be zero"),
        (&["--potato"], "'--potato'"),
        (&["--two\nlines"], "two"),
        (&["--queue-bytes", "1potato"], "1potato"),
        (&["--listen", "nowhere"], "HOST:PORT"),
        (&["--listen", "0.0.0.0:0"], "allow-anonymous"),
        (&["--listen", "[::]:0"], "allow-anonymous"),
        (&["--origin", "example.org"], "example.org"),
    ] {
        let (code, line) = failure(serve_command(arguments));
        assert_eq!(code, Some(2), "{line}");
        assert!(line.starts_with("error: ") && line.contains(essence), "{line}");
    }
    assert_eq!(failure(heartwire(&["potato"])).0, Some(2));
}

#[test]
fn whoever_says_that_anonymous_clients_are_fine_may_listen_everywhere() {
    let mut process = Process::start(heartwire(&["serve", "--listen", "0.0.0.0:0", "--allow-anonymous"]));
    let port = process.address().port();
    Client::open(SocketAddr::from(([127, 0, 0, 1], port)), "/ws?user_id=alice", "");
}

#[test]
fn an_address_in_use_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, line) = failure(heartwire(&["serve", "--listen", &address]));
    assert_eq!(code, Some(1), "{line}");
    assert!(line.starts_with("error: cannot listen on ") && line.contains(&address), "{line}");
}

#[test]
fn every_flag_may_come_from_the_environment_and_the_command_line_wins() {
    let mut command = heartwire(&["serve", "--max-per-account", "2"]);
    command.env("HEARTWIRE_LISTEN", "127.0.0.1:0").env("HEARTWIRE_PAGE", "off");
    command.env("HEARTWIRE_MAX_PER_ACCOUNT", "1").env("HEARTWIRE_LOG_FORMAT", "json");
    let mut process = Process::start(command);
    let line: Value = serde_json::from_str(&process.line("listening on ")).unwrap();
    let message = line["message"].as_str().unwrap().to_owned();
    assert!(!message.contains("browser"), "no page: {message}");
    let address = message["listening on ".len()..].split(": ").next().unwrap().parse().unwrap();
    assert!(exchange(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 404 "));
    let _both = [(); 2].map(|()| Client::open(address, "/ws?user_id=alice", ""));
    assert!(exchange(address, upgrade_request("/ws?user_id=alice", "")).starts_with("HTTP/1.1 429 "));

    let mut command = serve_command(&[]);
    command.env("HEARTWIRE_DRAIN", "soon");
    assert_eq!(failure(command).0, Some(2));
}

#[test]
fn help_and_version_go_to_stdout() {
    let shown = |arguments: &[&str]| {
        let output = heartwire(arguments).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(shown(&["--help"]).contains("serve") && shown(&["-h"]).contains("serve"));
    let (short, long) = (shown(&["serve", "-h"]), shown(&["serve", "--help"]));
    for flag in ["--listen", "--allow-anonymous", "--heartbeat-timeout", "--log-format"] {
        assert!(short.contains(flag) && long.contains(flag), "{flag}");
    }
    assert!(long.contains("HEARTWIRE_MAX_PER_ACCOUNT") && long.lines().count() > short.lines().count());
    assert_eq!(shown(&["--version"]), format!("heartwire {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_signal_says_1001_to_everybody_and_the_exit_code_is_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut process = Process::start(serve_command(&[]));
        let address = process.address();
        let mut clients = ["a", "b", "b"].map(|name| Client::open(address, &format!("/ws?user_id={name}"), ""));
        clients.iter_mut().for_each(|client| assert_eq!(client.json()["type"], "register"));
        process.signal(signal);
        for client in &mut clients {
            assert_eq!(client.close_frame().0, 1001);
            client.expect_end();
        }
        assert_eq!(process.end().code(), Some(0));
        assert!(process.log().last().unwrap().ends_with(" stopped"), "{:?}", process.log());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut process = Process::start(serve_command(&["--drain", "1h", "--linger", "1h"]));
    // It neither reads nor leaves, so that the server would wait for it for an hour.
    let _alice = Client::open(process.address(), "/ws?user_id=alice", "");
    process.signal(Signal::TERM);
    process.line("stopping within 1h");
    assert!(process.is_running());
    process.signal(Signal::TERM);
    assert_eq!(process.end().code(), Some(128 + 15));
}

#[test]
fn each_line_of_a_json_log_is_an_object() {
    let mut command = serve_command(&["--log-format", "json"]);
    command.env("RUST_LOG", "trace");
    let mut process = Process::start(command);
    let line: Value = serde_json::from_str(&process.line("listening on ")).unwrap();
    assert_eq!((&line["level"], &line["target"]), (&json!("INFO"), &json!("heartwire::cli::serve")));
    let address = line["message"].as_str().unwrap()["listening on ".len()..].split(": ").next().unwrap();
    provoke(address.parse().unwrap());
    let lines = process.stop();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        let object: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(object.as_object().unwrap().len(), 4, "{line}");
        assert!(["time", "level", "target", "message"].iter().all(|name| object[name].is_string()), "{line}");
    }
}

/// Sends a request that must not succeed.
fn refuse(address: SocketAddr, request: &str) {
    let response = exchange(address, request);
    assert!(response.starts_with("HTTP/1.1 4"), "{request}{response}");
}

/// Everything that a client can write and a log could repeat, hostile.
fn provoke(address: SocketAddr) {
    let hostile = "x%1b%5b31m%0d%0a2026-01-01T00:00:00.000Z%20INFO%20%20forged%e2%80%a8%c2%85%e2%80%ae";
    let upgrade = |target: &str, headers: &str| refuse(address, &upgrade_request(target, headers));
    upgrade(&format!("/ws?user_id={hostile}"), "");
    upgrade(&format!("/ws?user_id=a&device={hostile}"), "");
    upgrade(&format!("/{hostile}?refuse={hostile}&{hostile}"), &format!("X-{hostile}: {hostile}\r\n"));
    for text in ["\x1b[31m", "\u{85}\u{9b}31m", "\u{2028}forged", "\rforged", "\t\u{202e}", hostile] {
        upgrade("/ws?user_id=a", &format!("Origin: http://{text}\r\nUser-Agent: {text}\r\n"));
        refuse(address, &upgrade_request("/ws?user_id=a", "").replace("127.0.0.1", text));
    }
    // No control characters, so this is an account's name.
    let mut client = Client::open(address, "/ws?user_id=a%e2%80%a8b%e2%80%ae&device=%e2%80%a9", "");
    client.json();
    client.send_text("no \r\n json \u{1b}[31m \u{2028}");
    client.json();
    let reason = "\r\nforged\u{2028}\u{1b}[0m".into();
    client.socket.close(Some(tungstenite::protocol::CloseFrame { code: 4000.into(), reason })).unwrap();
    client.expect_end();
}

#[test]
fn whatever_peers_write_an_event_is_one_line_of_the_log() {
    for filter in ["info", "debug", "trace"] {
        let mut command = serve_command(&[]);
        command.env("RUST_LOG", filter);
        let mut process = Process::start(command);
        provoke(process.address());
        let lines = process.stop();
        assert!(lines.iter().any(|line| line.contains("--host allows a name")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("--origin allows one")), "{lines:?}");
        for line in lines {
            let (time, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no event: {line:?}"));
            assert!(time.len() == 24 && time.ends_with('Z') && time.starts_with("20"), "{line:?}");
            let level = rest.split(' ').next().unwrap();
            assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level), "{line:?}");
            let harmful = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}');
            assert!(!line.contains(harmful), "{filter}: {line:?}");
        }
    }
}

#[test]
fn no_token_is_ever_logged() {
    for filter in ["info", "debug", "trace"] {
        let mut command = serve_command(&[]);
        command.env("RUST_LOG", filter);
        let mut process = Process::start(command);
        let address = process.address();
        let bearer = "Sec-WebSocket-Protocol: heartwire.v1, bearer.SECRET\r\n";
        for (target, headers) in [
            ("/ws?user_id=a&token=SECRET", ""),
            ("/ws?user_id=a", bearer),
            ("/ws?user_id=a", "Authorization: Bearer SECRET\r\nCookie: session=SECRET\r\n"),
        ] {
            let mut client = Client::open(address, target, headers);
            client.json();
            client.ask(json!({"type": "token", "token": "SECRET"}));
        }
        for (target, headers) in [
            ("/ws?token=SECRET", bearer),
            ("/ws?user_id=a&token=OTHER", bearer),
            ("/ws?user_id=a&token=SECRET&token=SECRET", ""),
            ("/ws?user_id=a&token=SECRET%zz", ""),
            ("/nowhere?token=SECRET", "Authorization: Bearer SECRET\r\n"),
            ("/ws?user_id=a&token=SECRET", "Origin: http://evil.example\r\n"),
        ] {
            refuse(address, &upgrade_request(target, headers));
        }
        let log = process.stop();
        assert!(log.iter().any(|line| line.contains("evil.example")), "{log:?}");
        assert!(filter == "info" || log.iter().any(|line| line.contains("opened ")), "{log:?}");
        let leaks: Vec<_> = log.iter().filter(|line| line.contains("SECRET")).collect();
        assert!(leaks.is_empty(), "{filter}: {leaks:#?}");
    }
}

#[test]
fn ipv6_works_like_ipv4() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: this machine has no IPv6 loopback address");
        return;
    }
    let mut process = Process::start(heartwire(&["serve", "--listen", "[::1]:0"]));
    let address = process.address();
    assert!(process.log()[0].contains(&format!("ws://{address}/ws")), "{:?}", process.log());
    let mut stream = dial(address);
    let request = upgrade_request("/ws?user_id=alice", &format!("Origin: http://{address}\r\n"));
    stream.write_all(request.replace("127.0.0.1", &address.to_string()).as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 101");
}
