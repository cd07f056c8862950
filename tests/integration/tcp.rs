//! Raw TCP: `hello`, and then the native protocol in lines. Clients without an account are in [`anonymous`], those that are
//! too much in [`limits`].

mod anonymous;
mod limits;

use crate::handlers::Tokens;
use crate::lines::{LineClient, hello, serve_lines, tcp_address};
use crate::raw::{self, Peer};
use crate::support::{Client, account, config, configured, eventually};
use heartwire::config::{Heartbeat, Liveness, ProxyProtocol};
use heartwire::{
    Anonymous, CloseKind, CloseReason, ClosedConnection, Config, Connection, EndFilter, Frame, Handle, Handler, Push,
    Server, Statistics, Target,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(1);
const ASSEMBLY: Duration = Duration::from_millis(400);

fn serve(config: Config) -> Server {
    serve_lines(config, Anonymous)
}

fn impatient(heartbeat: &mut Heartbeat) {
    (heartbeat.interval, heartbeat.timeout) = (Some(INTERVAL), Some(TIMEOUT));
}

fn message(to: &[&str], content: impl Into<Value>) -> Value {
    json!({ "type": "message", "to": to, "content": content.into() })
}

fn mark(handle: &Handle, to: impl Into<Target>) {
    handle.send(to, &Push::new("marker", &()).unwrap()).unwrap();
}

#[test]
fn hello_is_answered_by_register_and_accounts_cross_with_websocket_clients() {
    let server = serve(config());
    let mut alice = LineClient::open(tcp_address(&server));
    alice.send(&json!({ "type": "hello", "user_id": "alice", "device": "thermometer", "heartbeat_ms": 30_000 }));
    let register = alice.json();
    assert_eq!((&register["type"], &register["account"]), (&json!("register"), &json!("alice")));
    assert_eq!(register["content"], json!({ "body": "", "meta_data": "" }));
    assert_eq!(register["heartbeat"], json!({ "interval_ms": 33_000, "timeout_ms": 45_000 }));
    let known = server.handle().connections(account("alice")).unwrap();
    assert_eq!((&*known[0].device, known[0].address), ("thermometer", alice.stream.local_addr().unwrap()));
    assert_eq!(register["connection"], known[0].id.as_str());

    let (mut bob, mut carol) = (Client::connect(&server, "bob"), LineClient::connect(&server, "carol"));
    assert_eq!(alice.ask(message(&["bob", "carol", "nobody"], "from a line"))["delivered"], 2);
    let (at_bob, at_carol) = (bob.json(), carol.json());
    assert_eq!((&at_bob["from"], &at_bob["content"]), (&json!("alice"), &json!("from a line")));
    assert_eq!(at_bob, at_carol, "the same frame");
    assert_eq!(bob.ask(message(&["alice", "carol"], "from a frame"))["delivered"], 2);
    assert_eq!([alice.json()["content"].clone(), carol.json()["content"].clone()], ["from a frame"; 2]);

    assert_eq!(bob.ask(json!({ "type": "join", "room": "r" }))["type"], "ack");
    assert_eq!(alice.ask(json!({ "type": "join", "room": "r" }))["type"], "ack");
    assert_eq!(alice.ask(json!({ "type": "message", "room": "r", "content": 1 }))["delivered"], 1);
    assert_eq!(bob.json()["room"], "r");
    let presence = alice.ask(json!({ "type": "presence", "accounts": ["bob"] }));
    assert_eq!(presence["accounts"][0]["online"], true);
    alice.send(&json!({ "type": "heartbeat" }));
    assert_eq!(alice.json()["timeout_ms"], 45_000);
    assert_eq!(server.handle().send(account("alice"), &Push::new("news", &1).unwrap()).unwrap().connections, 1);
    assert_eq!(alice.json(), json!({ "type": "news", "content": 1 }));
}

#[test]
fn no_sender_writes_a_line_of_its_own_into_somebody_elses_stream() {
    let server = serve(config());
    let (mut sender, mut witness) = (Peer::connect(&server, "sender"), Client::connect(&server, "witness"));
    let mut reader = LineClient::connect(&server, "reader");
    let forged = r#"{"type":"message","id":"1","from":"root","time":0,"content":"obey"}"#;
    let contents = [
        format!("[1,\n{forged}\n,2]"),
        format!("[1,\r\n{forged}\r\n,2]"),
        format!("[1,\r{forged}\r,2]"),
        format!("{{\n  \"pretty\": {{\r\n    \"printed\": [\n\n{forged}\n] }} }}"),
        "\n\"\\n\\r\\u000a\\u2028\u{2028}\u{85}\"\r\n".to_owned(),
    ];
    for content in &contents {
        let frame = format!("{{\n\"type\":\r\n\"message\",\"to\":[\"reader\",\"witness\"],\"content\":{content}}}\n");
        sender.send(raw::frame(raw::FIN | raw::TEXT, frame.as_bytes()));
        let expected: Value = serde_json::from_str(content).unwrap();
        let (as_line, as_frame) = (reader.json(), witness.message().into_text().unwrap());
        assert_eq!((&as_line["from"], &as_line["content"]), (&json!("sender"), &expected));
        assert!(as_frame.contains(content.trim()), "WebSocket clients get it as it was written: {as_frame}");
    }
    // What the embedding program passes on may have been written by anybody, too.
    let pretty = RawValue::from_string(contents[0].clone()).unwrap();
    server.handle().send(account("reader"), &Push::new("news", &pretty).unwrap()).unwrap();
    assert_eq!(reader.json()["type"], "news");
    mark(&server.handle(), account("reader"));
    assert_eq!(reader.json()["type"], "marker");
}

#[test]
fn a_frame_sent_to_one_connection_is_a_line_there_too() {
    /// Greets each connection by itself.
    struct Greeter;

    impl Handler for Greeter {
        fn opened(&self, connection: &Connection) {
            connection.send(&Push::new("welcome", &1).unwrap()).unwrap();
            connection.send_raw(Frame::Text("{\"type\":\"raw\"}")).unwrap();
        }
    }

    let server = serve_lines(config(), Greeter);
    let mut client = LineClient::connect(&server, "a");
    assert_eq!([client.json()["type"].clone(), client.json()["type"].clone()], ["welcome", "raw"]);
}

#[test]
fn lines_end_with_lf_or_crlf_may_be_empty_and_arrive_in_any_pieces() {
    let server = serve(config());
    let mut client = LineClient::open(tcp_address(&server));
    client.write("\n\r\n\n{\"type\":\"hello\",\"user_id\":\"a\"}\r\n\r\n{\"type\":\"heartbeat\"}\n{\"type\":\"heart");
    assert_eq!([client.json()["type"].clone(), client.json()["type"].clone()], ["register", "heartbeat"]);
    for piece in ["beat\"", "}", "\r", "\n"] {
        client.write(piece);
    }
    assert_eq!(client.json()["type"], "heartbeat");
    client.write("{\"type\":\"heartbeat\"}\r\n\n{\"type\":\"heartbeat\"}\n");
    assert_eq!([client.json()["type"].clone(), client.json()["type"].clone()], ["heartbeat", "heartbeat"]);
}

#[test]
fn what_cannot_be_understood_is_answered_and_the_connection_stays() {
    let server = serve(config());
    let wrong: [&[u8]; 6] =
        [b"hello", b"{", b"[]", b"{\"type\":\"\xff\xfe\"}", b"{\"type\":\"potato\"}", b"GET / please"];
    let mut client = LineClient::open(tcp_address(&server));
    for line in wrong {
        client.write([line, b"\n"].concat());
        assert_eq!(client.error(), (json!(107), Value::Null), "before hello: {}", String::from_utf8_lossy(line));
    }
    client.write("{\"type\":\"potato\",\"id\":\"7\"}\n{\"type\":\"hello\",\"id\":\"8\",\"heartbeat_ms\":0}\n");
    assert_eq!([client.error(), client.error()], [(json!(107), json!("7")), (json!(107), json!("8"))]);
    client.say_hello("a");
    for line in wrong {
        client.write([line, b"\n"].concat());
        assert_eq!(client.error(), (json!(107), Value::Null), "after hello: {}", String::from_utf8_lossy(line));
    }
    assert_eq!(client.ask(json!({ "type": "potato" }))["error"]["code"], 107);
    assert_eq!(client.ask(json!({ "type": "message", "room": "r", "content": 0 }))["error"]["code"], 103);
    assert_eq!(client.ask(hello("b"))["error"]["code"], 107, "it comes once");
    assert_eq!(server.handle().connections(account("a")).unwrap().len(), 1);
    assert!(server.handle().connections(account("b")).unwrap().is_empty());
    assert_eq!(client.ask(message(&["nobody"], 0))["delivered"], 0);
}

#[test]
fn a_line_is_as_long_as_a_message_may_be() {
    const MOST: usize = 200;
    let server = serve(configured(|config| config.max_message_bytes = MOST));
    let mut client = LineClient::connect(&server, "a");
    let padded = |length: usize, end: &str| format!("{:<length$}{end}", r#"{"type":"heartbeat"}"#);
    for end in ["\n", "\r\n"] {
        client.write(padded(MOST, end));
        assert_eq!(client.json()["type"], "heartbeat");
    }
    // Without its end: what is too long need not be waited for.
    client.write(padded(MOST + 2, ""));
    let ending = client.ending();
    assert_eq!((ending.code, &*ending.reason), (1009, "too big: a line is too long"));
    let mut client = LineClient::connect(&server, "a");
    client.write([padded(20, "\n"), padded(MOST + 1, "\n"), padded(20, "\n")].concat());
    let ending = client.ending();
    assert_eq!((ending.code, ending.lines.len()), (1009, 1), "nothing behind it is answered");
}

#[test]
fn any_byte_answers_a_probe_and_whoever_answers_none_is_closed() {
    let statistics = Ends::default();
    let server = serve_lines(configured(|config| impatient(&mut config.heartbeat)), statistics.clone());
    let start = Instant::now();
    let mut client = LineClient::connect(&server, "a");
    let mut last_sign = start;
    // An interval passes before each of them.
    for _ in 0..25 {
        assert_eq!(client.line().as_deref(), Some(r#"{"type":"ping"}"#));
        last_sign = Instant::now();
        client.write("\n");
    }
    assert!(start.elapsed() > 2 * TIMEOUT);
    let ending = client.ending();
    assert!(last_sign.elapsed() >= TIMEOUT);
    assert_eq!(ending.code, 4201);
    assert!(ending.reason.starts_with("heartbeat timeout: heard nothing for "), "{}", ending.reason);
    drop(client);
    let of_a = statistics.only();
    assert_eq!((of_a.pings_answered, of_a.pings_sent), (25, 25 + ending.lines.len() as u64));
    assert!(of_a.max_round_trip >= of_a.last_round_trip && of_a.last_round_trip.is_some());
}

#[test]
fn where_only_heartbeats_count_other_lines_neither_keep_alive_nor_answer_probes() {
    let strict = || {
        configured(|config| {
            impatient(&mut config.heartbeat);
            config.heartbeat.liveness = Liveness::Heartbeat;
        })
    };
    let line = |frame: Value| std::iter::repeat_with(move || format!("{frame}\n").into_bytes());
    let (ends, start) = (Ends::default(), Instant::now());
    let server = serve_lines(strict(), ends.clone());
    let mut chatting = LineClient::connect(&server, "chatting");
    let ending = chatting.sending(line(message(&["nobody"], 0)), INTERVAL / 20, LineClient::ending);
    let elapsed = start.elapsed();
    assert!(elapsed >= TIMEOUT);
    assert_eq!(ending.code, 4201);
    assert!(ending.reason.starts_with("heartbeat timeout: heard no heartbeat for "), "{}", ending.reason);
    assert!(ending.lines.iter().all(|line| line["type"] == "ping"), "{:?}", ending.lines);
    let most = elapsed.as_millis() / INTERVAL.as_millis();
    assert!(ending.lines.len() as u128 <= most, "one probe each interval, not {} in {elapsed:?}", ending.lines.len());
    drop(chatting);
    assert_eq!(ends.only().pings_answered, 0);

    let start = Instant::now();
    let mut beating = LineClient::connect(&server, "beating");
    let two_timeouts = line(json!({ "type": "heartbeat" })).take_while(|_| start.elapsed() < 2 * TIMEOUT);
    assert_eq!(beating.sending(two_timeouts, INTERVAL, LineClient::ending).code, 4201);
    assert!(start.elapsed() > 2 * TIMEOUT);
}

#[test]
fn a_line_has_a_deadline_only_after_hello() {
    let server = serve(configured(|config| config.assembly_deadline = ASSEMBLY));
    let mut client = LineClient::open(tcp_address(&server));
    let start = Instant::now();
    while start.elapsed() < 2 * ASSEMBLY {
        client.write(" ");
        assert!(client.hears_nothing_for(ASSEMBLY / 20));
    }
    client.write("\n");
    assert_eq!(client.error().0, 107, "a line all the same");
    client.say_hello("a");
    let start = Instant::now();
    let dribble = std::iter::repeat(b" ".to_vec());
    let ending = client.sending(dribble, ASSEMBLY / 40, LineClient::ending);
    assert!(start.elapsed() >= ASSEMBLY);
    assert_eq!(ending.code, 4104);

    // A line that was begun in the same packet as `hello` has its deadline, too.
    let mut client = LineClient::open(tcp_address(&server));
    let start = Instant::now();
    client.write(format!("{}\n{{", hello("a")));
    let ending = client.ending();
    assert!(start.elapsed() >= ASSEMBLY);
    assert_eq!((ending.code, &ending.lines[0]["type"]), (4104, &json!("register")));
}

#[test]
fn where_clients_are_authenticated_hello_needs_a_token_and_its_account() {
    let server = serve_lines(config(), Tokens);
    let refused = |fields: Value| {
        let mut client = LineClient::open(tcp_address(&server));
        client.send(&fields);
        let ending = client.ending();
        assert!(ending.lines.is_empty(), "{:?}", ending.lines);
        (ending.code, ending.reason)
    };
    let (code, reason) = refused(json!({ "type": "hello", "user_id": "boss" }));
    assert_eq!((code, &*reason), (4500, "authentication failed: who are you?"));
    assert_eq!(refused(json!({ "type": "hello", "token": "guess" })).0, 4500);
    assert_eq!(refused(json!({ "type": "hello", "token": "staff", "user_id": "mallory" })).0, 4500);
    assert_eq!(server.handle().counts().unwrap().opened, 0);
    for fields in
        [json!({ "type": "hello", "token": "staff" }), json!({ "type": "hello", "token": "staff", "user_id": "boss" })]
    {
        let mut boss = LineClient::open(tcp_address(&server));
        boss.send(&fields);
        assert_eq!(boss.json()["account"], "boss");
        assert_eq!(boss.ask(json!({ "type": "message", "room": "staff", "content": 0 }))["type"], "ack");
    }
    let nameless = serve(config());
    for fields in [json!({ "type": "hello" }), hello(""), hello("a\u{7}"), hello(&"x".repeat(129))] {
        let mut client = LineClient::open(tcp_address(&nameless));
        client.send(&fields);
        assert_eq!(client.ending().code, 4501, "{fields}");
    }
}

#[test]
fn everything_that_was_sent_before_a_client_ends_its_side_is_delivered() {
    let server = serve(config());
    let mut observer = Client::connect(&server, "observer");
    for pieces in [1, 3] {
        let mut client = LineClient::open(tcp_address(&server));
        let lines = [hello("script"), message(&["observer"], "first"), message(&["observer"], "last")];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        for piece in text.as_bytes().chunks(text.len().div_ceil(pieces)) {
            client.write(piece);
        }
        client.finish();
        assert_eq!([observer.json()["content"].clone(), observer.json()["content"].clone()], ["first", "last"]);
        while client.line().is_some() {}
    }
    eventually("both are gone", || server.handle().counts().unwrap().closed_by_code.get(&1006) == Some(&2));
}

#[test]
fn a_disconnected_client_is_told_in_its_last_line_and_nothing_behind_it_is_dispatched() {
    let server = serve(config());
    let handle = server.handle();
    let (mut client, mut observer) = (LineClient::connect(&server, "a"), Client::connect(&server, "observer"));
    handle.send(account("a"), &Push::new("before", &()).unwrap()).unwrap();
    let reason = CloseReason::new(CloseKind::Disconnected, "you know \"why\"\nforged");
    assert_eq!(handle.disconnect(account("a"), reason).unwrap(), 1);
    client.send(&message(&["observer"], "too late"));
    let ending = client.ending();
    assert_eq!((ending.code, &*ending.reason), (4503, "disconnected by operator: you know \"why\"\nforged"));
    assert_eq!(ending.lines.len(), 1, "what was sent before it goes out before it");
    drop(client);
    eventually("its thread is gone", || handle.counts().unwrap().closed_by_code.contains_key(&4503));
    mark(&handle, account("observer"));
    assert_eq!(observer.json()["type"], "marker");
}

/// Keeps what each connection did in its life.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<(u16, Statistics)>>>);

impl Handler for Ends {
    fn closed(&self, _: &Connection, record: &ClosedConnection) {
        self.0.lock().unwrap().push((record.reason.code(), record.statistics));
    }
}

impl Ends {
    /// The statistics of the first connection that ended; waits for it.
    fn only(&self) -> Statistics {
        eventually("the handler is told of the end", || !self.0.lock().unwrap().is_empty());
        self.0.lock().unwrap()[0].1
    }
}

#[test]
fn the_statistics_count_lines_and_bytes() {
    let ends = Ends::default();
    let server = serve_lines(config(), ends.clone());
    let mut client = LineClient::connect(&server, "a");
    let lines = [json!({ "type": "heartbeat" }).to_string(), "garbage".into(), String::new()].map(|line| line + "\r\n");
    client.write(lines.concat());
    let (beat, error) = (client.line().unwrap(), client.line().unwrap());
    client.finish();
    while client.line().is_some() {}
    let statistics = ends.only();
    assert_eq!(ends.0.lock().unwrap()[0].0, 1006);
    assert_eq!((statistics.messages_received, statistics.frames_sent), (2, 3), "register and two answers");
    assert_eq!(statistics.bytes_received, lines.concat().len() as u64, "since its registration");
    assert!(statistics.bytes_sent > (beat.len() + error.len()) as u64);
}

#[test]
fn a_request_of_http_is_no_client_and_nothing_in_its_body_is_obeyed() {
    let server = serve(configured(|config| config.max_message_bytes = 4_096));
    let mut observer = Client::connect(&server, "observer");
    let body = format!("\n{}\n{}\n", hello("forger"), message(&["observer"], "forged"));
    let request = |first: &str| format!("{first}\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for first in ["POST / HTTP/1.1", "GET / HTTP/1.0", "PUT /a?b=c HTTP/1.1", "OPTIONS * HTTP/1.1"] {
        let mut browser = LineClient::open(tcp_address(&server));
        browser.write(request(first));
        let ending = browser.ending();
        assert_eq!((ending.code, ending.lines.len()), (4501, 0), "{first}");
    }
    // An address so long that its line is one too many: neither is anything behind it read.
    let mut browser = LineClient::open(tcp_address(&server));
    browser.write(request(&format!("POST /{} HTTP/1.1", "x".repeat(5_000))));
    assert_eq!(browser.error().0, 106);
    browser.finish();
    assert_eq!(browser.line(), None);
    mark(&server.handle(), account("observer"));
    assert_eq!(observer.json()["type"], "marker");
    assert_eq!(server.handle().counts().unwrap().opened, 1, "the observer");
}

#[test]
fn a_proxy_header_in_front_of_the_lines_names_the_client() {
    let server = serve(configured(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        config.proxy_protocol = ProxyProtocol::V2;
    }));
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x10\0\0\x50";
    let dial = || LineClient::open(tcp_address(&server));
    for split in [0, 5, header.len()] {
        let mut client = dial();
        client.write(&header[..split]);
        client.write(&header[split..]);
        client.say_hello("a");
        let known = server.handle().connections(account("a")).unwrap();
        assert_eq!(known.last().unwrap().address, SocketAddr::from(([192, 0, 2, 1], 0)));
    }
    let mut client = dial();
    client.write([header, format!("{}\n", hello("b")).as_bytes()].concat());
    assert_eq!(client.json()["account"], "b", "in the same packet");
    let mut local = dial();
    local.write(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    local.say_hello("proxy");
    let known = server.handle().connections(account("proxy")).unwrap();
    assert_eq!(known[0].address, local.stream.local_addr().unwrap());
    let mut direct = dial();
    direct.send(&hello("c"));
    assert_eq!(direct.ending().code, 4501, "a trusted proxy must send one");
    drop(direct);
    let refused = || server.handle().refused_attempts(&EndFilter::default());
    eventually("it is kept for whoever asks why", || refused().len() == 1);
    assert!(refused()[0].1.explain().cause.contains("PROXY header"));
    let mut half = dial();
    half.write(&header[..20]);
    half.finish();
    assert_eq!(half.line(), None, "whoever has left is told nothing");
    drop(half);
    eventually("they are counted", || server.handle().counts().unwrap().strangers_closed == 2);
}
