//! The servers that this one takes over from, each with a client that behaves as that system's own, against the binary.
//!
//! Each script is written in its system's own times. Here they run faster; at full length, all at once and beside
//! clients that say as little as may be, they take 2.5 minutes:
//! `cargo test --release --test integration -- --ignored --nocapture full_length`.
#![allow(clippy::print_stdout)]

mod full_length;

use crate::lines::LineClient;
use crate::process::{Process, serve_command};
use crate::raw::{self, FIN, PING, PONG, Peer};
use crate::support::{Client, eventually, post};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many times faster than its system's own times a script runs.
#[derive(Clone, Copy)]
struct Pace(u32);

const FULL_LENGTH: Pace = Pace(1);

impl Pace {
    fn seconds(self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) / self.0
    }

    /// The value of a flag.
    fn flag(self, seconds: u64) -> String {
        format!("{}ms", self.seconds(seconds).as_millis())
    }

    /// Whoever has just been cut was so not before its limit. At full length, where times are far above what a machine may
    /// be late, also not a second after it.
    fn assert_cut(self, who: &str, ending: (u64, &str), since: Instant, limit: Duration) {
        let (after, (code, reason)) = (since.elapsed(), ending);
        println!("{who}: {code} {reason:?} after {after:.3?} of {limit:?}");
        assert!(after >= limit, "{who} was cut after {after:?}, before its limit");
        if self.0 == FULL_LENGTH.0 {
            assert!(after <= limit + Duration::from_secs(1), "{who} was cut only after {after:?}");
        }
    }
}

fn binary(flags: &[&str]) -> Process {
    Process::start(serve_command(flags))
}

fn open(address: SocketAddr, target: &str) -> Peer {
    Peer { stream: Client::open(address, target, "").socket.into_inner() }
}

/// What its client sends every 10 s; nobody answers.
fn ginchat_heartbeat() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    json!({ "TargetId": -1, "Type": 3, "CreateTime": now, "userId": 1, "Media": -1, "Content": "心跳" })
}

fn ginchat(address: SocketAddr, id: u64) -> Peer {
    open(address, &format!("/chat?userId={id}&token=x"))
}

fn ginchat_message(kind: u8, from: u64, to: u64) -> Value {
    json!({ "TargetId": to, "Type": kind, "CreateTime": 7, "userId": from, "Media": 1, "Content": "你好" })
}

/// Heartbeats every 10 s for 40 s, messages to an account and to a group, then silence: swept after 30 s.
fn chat(pace: Pace) {
    let mut process = binary(&["--heartbeat-timeout", &pace.flag(30)]);
    let address = process.address();
    let (mut one, mut two) = (ginchat(address, 1), ginchat(address, 2));
    one.send(raw::text(&ginchat_message(1, 1, 2)));
    assert_eq!(two.json(), ginchat_message(1, 1, 2));
    two.send(raw::text(&ginchat_message(1, 2, 1)));
    assert_eq!(one.json(), ginchat_message(1, 2, 1));
    drop(two);
    let mut last = Instant::now();
    for _ in 0..4 {
        last = Instant::now();
        one.send(raw::text(&ginchat_heartbeat()));
        sleep(pace.seconds(10));
    }
    let ending = one.ending();
    pace.assert_cut("ginchat, silent after heartbeats", (ending.code.into(), &ending.reason), last, pace.seconds(30));
    assert_eq!((ending.code, ending.messages.len()), (4201, 0), "no heartbeat is answered");
}

#[test]
fn go_chat_server() {
    chat(Pace(20));
    // Who is in which group its back end knows, from a database.
    let mut process = binary(&["--admin-listen", "127.0.0.1:0"]);
    let address = process.address();
    let [mut one, mut two, mut three] = [1, 2, 3].map(|id| ginchat(address, id));
    let joined = post(process.admin_address(), "/v1/rooms/100/members", &json!({ "accounts": ["1", "2"] }));
    assert_eq!(joined, json!({ "changed": 2, "unchanged": 0 }));
    one.send(raw::text(&ginchat_message(2, 1, 100)));
    assert_eq!(two.json(), ginchat_message(2, 1, 100));
    two.send(raw::text(&ginchat_message(2, 2, 100)));
    assert_eq!(one.json(), ginchat_message(2, 2, 100), "and not its own");
    one.send(raw::text(&ginchat_message(1, 1, 3)));
    assert_eq!(three.json()["Type"], 1, "whoever is in no group hears nothing of it");
}

/// What its client writes, without any end.
fn datum(number: u32) -> Vec<u8> {
    format!("{number} Hello I'm MyHeartbeat Client.").into_bytes()
}

/// A datum every 2 s, ten times, then 24 s of silence, then again: cut 4 s after the tenth.
fn long_connection(pace: Pace) {
    let (first_byte, silence) = (pace.flag(10), pace.flag(4));
    let mut process =
        binary(&["--tcp-listen", "127.0.0.1:0", "--tcp-first-byte", &first_byte, "--heartbeat-timeout", &silence]);
    let mut client = LineClient::open(process.tcp_address());
    let mut last = Instant::now();
    for number in 0..10 {
        sleep(if number == 0 { Duration::ZERO } else { pace.seconds(2) });
        last = Instant::now();
        client.write(datum(number));
    }
    let ending = client.ending();
    pace.assert_cut("raw TCP, silent after ten data", (ending.code, &ending.reason), last, pace.seconds(4));
    assert_eq!((ending.code, ending.lines.len()), (4201, 0), "it is told nothing else: {:?}", ending.lines);
    sleep((last + pace.seconds(24)).saturating_duration_since(Instant::now()));
    let goes_out = |number: u32| {
        sleep(pace.seconds(2));
        client.stream.write_all(&datum(number)).is_ok()
    };
    // The first is answered by a reset, so from the second on it is told.
    let gone_out = (10..13).map(goes_out).filter(|goes_out| *goes_out).count();
    println!("raw TCP, after its silence: {gone_out} of 3 data went out");
    assert!(gone_out <= 1);
}

/// A datum every 2 s: closed 10 s after it was accepted.
fn short_connection(pace: Pace) {
    let mut process = binary(&["--tcp-listen", "127.0.0.1:0", "--max-lifetime", &pace.flag(10)]);
    let address = process.tcp_address();
    let start = Instant::now();
    let mut client = LineClient::open(address);
    let ending = client.sending((0..).map(datum), pace.seconds(2), LineClient::ending);
    pace.assert_cut("raw TCP, of a fixed life", (ending.code, &ending.reason), start, pace.seconds(10));
    assert_eq!((ending.code, ending.lines.len()), (4202, 0), "{:?}", ending.lines);
}

#[test]
fn go_tcp_server() {
    std::thread::scope(|scope| {
        scope.spawn(|| long_connection(Pace(5)));
        scope.spawn(|| short_connection(Pace(5)));
    });
}

/// What every frame of that system holds.
fn no_content() -> Value {
    json!({ "body": "", "meta_data": "" })
}

#[test]
fn go_push_server() {
    let mut process = binary(&[]);
    let address = process.address();
    let open = |account: &str| {
        let mut client = Client::open(address, &format!("/ws?user_id={account}"), "");
        let register = client.json();
        assert_eq!((&register["type"], &register["content"]), (&json!("register"), &no_content()));
        client
    };
    let (mut phone, mut browser, mut pusher) = (open("alice"), open("alice"), open("backend"));
    for client in [&mut phone, &mut browser] {
        client.send(&json!({ "type": "heartbeat", "content": no_content() }));
        let answer = client.json();
        assert_eq!((&answer["type"], &answer["content"]), (&json!("heartbeat"), &no_content()));
    }
    let content = json!({ "body": "build is done", "meta_data": "{\"build\":17}" });
    let push = json!({ "type": "message", "to": ["alice"], "content": content });
    assert_eq!(pusher.ask(push.clone())["delivered"], 2);
    for client in [&mut phone, &mut browser] {
        assert_eq!(client.json()["content"], content);
    }
    phone.socket.close(None).unwrap();
    phone.expect_end();
    drop(phone);
    eventually("one is left", || pusher.ask(push.clone())["delivered"] == 1);
}

#[test]
fn go_push_server_and_its_back_end() {
    let mut process = binary(&["--admin-listen", "127.0.0.1:0"]);
    let (address, admin) = (process.address(), process.admin_address());
    let mut clients = [(); 2].map(|()| Client::open(address, "/ws?user_id=alice", ""));
    clients.iter_mut().for_each(|client| assert_eq!(client.json()["type"], "register"));
    let content = json!({ "body": "build is done", "meta_data": "" });
    let push = json!({ "accounts": ["alice", "bob"], "message": { "type": "push", "content": content } });
    let reached = post(admin, "/v1/push", &push);
    assert_eq!(reached, json!({ "accounts": 1, "connections": 2, "missing": ["bob"] }));
    for client in &mut clients {
        assert_eq!(client.json(), json!({ "type": "push", "content": content }));
    }
}

/// The handler of idle events: 4 s without reading, 6 s without writing, 2 s without either.
fn idle_events(pace: Pace) {
    let [reader, writer, all, timeout] = [4, 6, 2, 20].map(|seconds| pace.flag(seconds));
    let idle = ["--idle-reader", &reader, "--idle-writer", &writer, "--idle-all", &all];
    let mut process = binary(&[&idle[..], &["--heartbeat-timeout", &timeout]].concat());
    let address = process.address();
    let start = Instant::now();
    let [mut chatting, mut silent] = ["chatting", "silent"].map(|name| open(address, &format!("/ws?user_id={name}")));
    assert_eq!(silent.json()["type"], "register");
    let chatter = std::iter::repeat_with(|| raw::text(&json!({ "type": "message", "to": ["nobody"], "content": 0 })));
    chatting.sending(chatter, pace.seconds(1), |_| process.line("of chatting: nothing sent for"));
    assert!(start.elapsed() >= pace.seconds(6));
    process.line("of silent: nothing received or sent for");
    let mut pings = 0;
    assert!(matches!(silent.next(), Some((PING, _))), "a silent reader is sent a heartbeat");
    assert!(start.elapsed() >= pace.seconds(4));
    while let Some((opcode, _)) = silent.next() {
        pings += u32::from(opcode == PING);
    }
    assert!(pings > 0, "and another after each further such time");
    drop((chatting, silent));
    let log = process.stop();
    let told = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    assert_eq!(told("of silent: nothing received for"), 1, "once for each silence: {log:#?}");
    assert_eq!(told("4201 heartbeat timeout"), 1, "{log:#?}");
}

/// A client that only receives, far beyond the timeout of 24 s: the server's heartbeat every 10 s, and its answer, keep it.
fn server_heartbeats(pace: Pace) {
    let mut process = binary(&["--heartbeat-interval", &pace.flag(10), "--heartbeat-timeout", &pace.flag(24)]);
    let start = Instant::now();
    let mut peer = open(process.address(), "/ws?user_id=a");
    assert_eq!(peer.json()["type"], "register");
    let (mut last, mut pings) = (start, 0);
    while start.elapsed() < pace.seconds(70) {
        let Some((PING, payload)) = peer.next() else { panic!("expected a ping") };
        last = Instant::now();
        peer.send(raw::frame(FIN | PONG, &payload));
        pings += 1;
    }
    println!("only receiving: lived {:.1?} by {pings} pings", last - start);
    assert!(pings <= (last - start).as_millis() / pace.seconds(10).as_millis(), "{pings} pings");
    let ending = peer.ending();
    pace.assert_cut("no longer answering", (ending.code.into(), &ending.reason), last, pace.seconds(24));
    assert_eq!(ending.code, 4201);
}

fn one_connection_for_each_client() {
    let close_codes = |flags: &[&str], devices: [&str; 3]| {
        let mut process = binary(flags);
        let address = process.address();
        let mut clients = devices.map(|device| {
            let mut client = Client::open(address, &format!("/ws?user_id=a&device={device}"), "");
            assert_eq!(client.json()["type"], "register");
            client
        });
        let connected =
            clients[2].ask(json!({ "type": "presence", "accounts": ["a"] }))["accounts"][0]["connections"].clone();
        let codes = clients[..3 - connected.as_u64().unwrap() as usize].iter_mut().map(|older| older.close_frame().0);
        codes.collect::<Vec<_>>()
    };
    assert_eq!(close_codes(&["--single", "replace"], ["phone", "tablet", "phone"]), [4505, 4505]);
    assert_eq!(close_codes(&["--single", "replace", "--single-by", "device"], ["phone", "tablet", "phone"]), [4505]);
    assert_eq!(close_codes(&["--single", "replace", "--single-by", "device"], ["phone", "tablet", "car"]), [0; 0]);
}

/// A client that promises to be heard every 20 s, then every 10 s, and breaks its word.
fn adaptive_intervals(pace: Pace) {
    let mut process = binary(&["--negotiable-timeout", "10ms..15m"]);
    let ms = |seconds: u64| pace.seconds(seconds).as_millis() as u64;
    let start = Instant::now();
    let mut peer = open(process.address(), &format!("/ws?user_id=a&heartbeat_ms={}", ms(20)));
    assert_eq!(peer.json()["heartbeat"], json!({ "interval_ms": ms(22), "timeout_ms": ms(30) }));
    let Some((PING, payload)) = peer.next() else { panic!("expected a ping") };
    assert!(start.elapsed() >= pace.seconds(22));
    peer.send(raw::frame(FIN | PONG, &payload));
    let last = Instant::now();
    peer.send(raw::text(&json!({ "type": "heartbeat", "next_ms": ms(10) })));
    let answer = peer.json();
    assert_eq!((&answer["interval_ms"], &answer["timeout_ms"]), (&json!(ms(11)), &json!(ms(15))));
    assert!(matches!(peer.next(), Some((PING, _))));
    assert!(last.elapsed() >= pace.seconds(11));
    let ending = peer.ending();
    pace.assert_cut("broke its promise", (ending.code.into(), &ending.reason), last, pace.seconds(15));
    assert_eq!(ending.code, 4201);
}

#[test]
fn netty_messenger() {
    std::thread::scope(|scope| {
        scope.spawn(|| idle_events(Pace(10)));
        scope.spawn(|| server_heartbeats(Pace(20)));
        scope.spawn(|| adaptive_intervals(Pace(20)));
        scope.spawn(one_connection_for_each_client);
    });
}
