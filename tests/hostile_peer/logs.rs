//! Words for the log of the operator.

use crate::audience::{FLAGS, say_frames};
use crate::honest::Honest;
use crate::lines::LineClient;
use crate::raw::{CLOSE, FIN, frame};
use crate::scene::Scene;
use crate::suite::{Figures, Row, Size};
use crate::support::{exchange, upgrade_request};
use crate::swarm::{knock, provoke};
use serde_json::{Value, json};
use std::net::SocketAddr;

pub const ROWS: &[Row] = &[Row { name: "log_injection", threat: "log injection", run: log_injection }];

/// The longest line that is accepted here: a few texts of 256 bytes, and the server's own words.
const LONGEST_LINE: usize = 1_000;
/// What an attacker would like to see in the log.
const FORGED: &str = "2026-01-02T03:04:05.678Z ERROR heartwire::forged root logged in";

/// Line breaks of every kind, terminal escapes, marks that reorder what is read, and very long texts, in every field that
/// a peer has, while everything is logged that can be.
fn log_injection(size: Size) -> Figures {
    let rounds = size.of(1, 50);
    let mut figures = Figures::default();
    for format in ["text", "json"] {
        let flags = ["--log-format", format, "--trusted-proxy", "127.0.0.1", "--rate", "0"];
        let mut scene = Scene::serve_and_log_all(&[FLAGS, &flags].concat());
        let honest = Honest::begin(scene.address);
        let (lines_at, admin) = (scene.tcp_address(), scene.admin_address());
        for _ in 0..rounds {
            in_requests(scene.address);
            in_requests(admin);
            in_bodies(admin);
            in_frames(scene.address);
            in_lines(lines_at);
        }
        let peace = honest.finish();
        let log = scene.stop();
        let messages: Vec<String> =
            log.iter().map(|line| if format == "json" { json_message(line) } else { text_message(line) }).collect();
        // Were nothing of it logged, nothing would be shown here.
        for essence in
            ["refused a request for host evil", "refused a page of origin", "opened ", "closed ", "GET /x%0d%0a"]
        {
            assert!(messages.iter().any(|message| message.contains(essence)), "{essence}");
        }
        for word in ["reason of a close", "account-"] {
            assert!(messages.iter().any(|message| message.contains(word) && message.contains("\\u{2028}")), "{word}");
        }
        let longest = log.iter().map(String::len).max().unwrap();
        assert!(longest <= LONGEST_LINE, "{:?}", log.iter().find(|line| line.len() == longest));
        figures =
            figures.with(&format!("{format}: {} lines, 0 forged, none over {longest} bytes", log.len())).with(&peace);
    }
    figures
}

/// The message of a line, which must be one of the server's.
fn text_message(line: &str) -> String {
    let is_harmful =
        |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    assert!(!line.contains(is_harmful), "{line:?}");
    let (time, rest) = line.split_at_checked(25).unwrap_or_else(|| panic!("{line:?}"));
    assert!(time.starts_with("20") && time.ends_with("Z "), "{line:?}");
    let (level, rest) = rest.split_at_checked(6).unwrap_or_else(|| panic!("{line:?}"));
    assert!(["ERROR ", "WARN  ", "INFO  ", "DEBUG ", "TRACE "].contains(&level), "{line:?}");
    let (target, message) = rest.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
    assert_ne!(target, "heartwire::forged", "{line:?}");
    message.to_owned()
}

/// The same of a line of JSON.
fn json_message(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    assert_eq!(value.as_object().map(serde_json::Map::len), Some(4), "{line}");
    assert_ne!(value["target"], "heartwire::forged", "{line}");
    value["message"].as_str().unwrap().to_owned()
}

/// What no log may show as it is; the tail is of visible ASCII, as a header needs it.
fn poison() -> String {
    let tail = "x".repeat(3_000);
    format!(
        "a\r\n{FORGED}\n{FORGED}\u{2028}{FORGED}\u{85}{FORGED}\x0b\x0c\x1b[2J\x1b]0;x\x07\u{9b}31m\u{202e}\u{2066}\0{tail}"
    )
}

/// Percent escapes for every byte.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// As an account, a room or a label may be: no control characters, and short.
fn strange(word: &str) -> String {
    format!("{word}-\u{2028}\u{202e}\u{2066}\u{200b}\u{e0041}{}", &FORGED[..30])
}

fn in_requests(address: SocketAddr) {
    let bad = poison();
    let short = escaped(&bad[..200]);
    for target in [
        format!("/ws?user_id={short}"),
        format!("/ws?user_id=a&device={short}"),
        format!("/ws?user_id=a&token={short}"),
        format!("/ws?user_id=a&refuse={short}"),
        format!("/ws?user_id=a&heartbeat_ms={short}"),
        format!("/ws?{short}=a"),
        format!("/x%0d%0a{short}"),
        format!("/v1/accounts/{short}"),
        format!("/v1/connections?search={short}"),
        format!("/{}", "x".repeat(7_000)),
        format!("/ws?user_id={}", escaped(&"x".repeat(2_000))),
    ] {
        knock(address, &upgrade_request(&target, ""));
    }
    let visible: String = bad.chars().filter(char::is_ascii_graphic).collect();
    for name in ["Origin", "X-Forwarded-For", "User-Agent", "Authorization", "Sec-WebSocket-Protocol", "X-Other"] {
        // The raw bytes, those that a header may have beyond ASCII, and those that any header may have.
        for value in [&*bad, "https://evil\u{2028}\u{202e}.example", &visible, &format!("https://{visible}")] {
            knock(address, &upgrade_request("/ws?user_id=a", &format!("{name}: {value}\r\n")));
        }
    }
    let long_host = format!("evil{}.example", "x".repeat(4_000));
    for host in ["evil.example", "evil\u{2028}.example", &*long_host, "evil\x1b[2J", &bad] {
        knock(address, &format!("GET /ws HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    for start in [
        &*bad,
        &format!("{} / HTTP/1.1\r\nHost: localhost\r\n\r\n", "M".repeat(4_000)),
        "GET / HTTP/1.1\r\n\x1b[2J\r\n\r\n",
    ] {
        knock(address, start);
    }
}

/// What a back end is told to say.
fn in_bodies(admin: SocketAddr) {
    let bad = poison();
    let bodies = [
        ("/v1/push", json!({ "accounts": [strange("account")], "message": { "type": &bad, "content": &bad } })),
        ("/v1/push", json!({ "accounts": [&bad], "message": { "type": "news", "content": &bad } })),
        ("/v1/push", json!({ "rooms": [strange("room")], "message": { "type": strange("type"), "content": &bad } })),
        ("/v1/disconnect", json!({ "accounts": [strange("account")], "reason": &bad })),
        ("/v1/disconnect", json!({ "accounts": [&bad] })),
        (&*format!("/v1/rooms/{}/members", escaped(&strange("room"))), json!({ "accounts": [strange("account")] })),
        (&*format!("/v1/rooms/{}/members", escaped(&bad[..500])), json!({ "accounts": ["a"] })),
    ];
    for (path, body) in bodies {
        let body = body.to_string();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        exchange(admin, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    }
}

fn in_frames(address: SocketAddr) {
    let bad = poison();
    let texts = [
        bad.clone(),
        json!({ "type": &bad }).to_string(),
        json!({ "type": "message", "to": [&bad], "content": &bad, "id": &bad }).to_string(),
        json!({ "type": "message", "to": [strange("account")], "content": &bad, "id": strange("id") }).to_string(),
        json!({ "type": "join", "room": strange("room") }).to_string(),
        json!({ "type": "token", "token": &bad }).to_string(),
        json!({ "type": "presence", "accounts": [strange("account")] }).to_string(),
    ];
    say_frames(address, &strange("account"), &texts);
    let reason = format!("reason of a close\r\n{}\u{2028}\x1b[2J", &FORGED[..60]);
    let close = [&1000_u16.to_be_bytes(), reason.as_bytes()].concat();
    assert_eq!(provoke(address, &frame(FIN | CLOSE, &close)), 1000);
    knock(address, &upgrade_request(&format!("/chat?userId={}", escaped(&strange("account"))), ""));
}

fn in_lines(address: SocketAddr) {
    let bad = poison();
    for first in [
        bad.clone(),
        json!({ "type": "hello", "user_id": &bad }).to_string(),
        json!({ "type": "hello", "user_id": strange("account"), "device": &bad }).to_string(),
        json!({ "type": &bad }).to_string(),
        format!("GET /{} HTTP/1.1", bad.replace(['\r', '\n'], "")),
    ] {
        let mut client = LineClient::open(address);
        client.write(format!("{first}\n"));
        client.finish();
        while client.line().is_some() {}
    }
    let mut client = LineClient::open(address);
    client.send(&json!({ "type": "hello", "user_id": strange("account"), "device": strange("d")[..60.min(strange("d").len())] }));
    client.write(format!("{}\n", bad.replace(['\r', '\n'], "")));
    client.finish();
    while client.line().is_some() {}
}
