//! Deadlines seen from outside: silence, chatter, dribble, negotiation. Only lower bounds of time are asserted.

use crate::gate::Gate;
use crate::raw::{self, CONTINUATION, FIN, PING, PONG, Peer, TEXT};
use crate::support::{Client, PATIENCE, account, address, config, configured, dial, eventually, serve, serve_with};
use heartwire::config::Liveness;
use heartwire::{Anonymous, CloseReason, Connection, Handler, Idle, IdleAction, IdleKind, Push, Server};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(2);
const ASSEMBLY: Duration = Duration::from_millis(400);

fn impatient(liveness: Liveness) -> Server {
    serve(configured(|config| {
        (config.heartbeat.interval, config.heartbeat.timeout) = (Some(INTERVAL), Some(TIMEOUT));
        config.heartbeat.liveness = liveness;
    }))
}

fn slow_assembly() -> Server {
    serve(configured(|config| {
        config.assembly_deadline = ASSEMBLY;
        config.control_rate = None;
    }))
}

fn beat() -> Vec<u8> {
    raw::text(&json!({ "type": "heartbeat" }))
}

#[test]
fn a_client_that_only_answers_pings_lives_and_one_that_stops_is_closed() {
    let server = impatient(Liveness::Any);
    let start = Instant::now();
    let mut peer = Peer::connect(&server, "a");
    // An interval passes before each of them.
    let mut last_sign = start;
    for _ in 0..25 {
        let Some((PING, payload)) = peer.next() else { panic!("expected a ping") };
        last_sign = Instant::now();
        peer.send(raw::frame(FIN | PONG, &payload));
    }
    assert!(start.elapsed() > 2 * TIMEOUT);
    let ending = peer.ending();
    assert!(last_sign.elapsed() >= TIMEOUT);
    assert_eq!(ending.code, 4201);
    assert!(ending.reason.starts_with("heartbeat timeout: heard nothing for "), "{}", ending.reason);
}

#[test]
fn what_the_server_sends_keeps_nobody_alive() {
    for liveness in [Liveness::Any, Liveness::Heartbeat] {
        let server = impatient(liveness);
        let start = Instant::now();
        let mut silent = Peer::connect(&server, "silent");
        let (handle, push) = (server.handle(), Push::new("news", "…").unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let still_there = || handle.send(account("silent"), &push).unwrap().connections == 1;
                while still_there() {
                    std::thread::sleep(Duration::from_millis(10));
                    assert!(start.elapsed() < PATIENCE, "it is still there");
                }
            });
            let ending = silent.ending();
            assert!(start.elapsed() >= TIMEOUT);
            assert_eq!(ending.code, 4201);
            assert!(ending.messages.len() > 1);
        });
    }
}

#[test]
fn chatter_is_a_sign_of_life_only_where_any_byte_is_one() {
    let chatter =
        || std::iter::repeat_with(|| raw::text(&json!({ "type": "message", "to": ["nobody"], "content": 0 })));
    let server = impatient(Liveness::Heartbeat);
    let start = Instant::now();
    let mut chatting = Peer::connect(&server, "a");
    let ending = chatting.sending(chatter(), INTERVAL / 2, Peer::ending);
    assert!(start.elapsed() >= TIMEOUT);
    assert_eq!(ending.code, 4201);
    assert!(ending.reason.starts_with("heartbeat timeout: heard no heartbeat for "), "{}", ending.reason);
    assert!(ending.reason.ends_with("pings unanswered"), "{}", ending.reason);

    let server = impatient(Liveness::Any);
    let start = Instant::now();
    let mut chatting = Peer::connect(&server, "a");
    let two_timeouts = chatter().take_while(|_| start.elapsed() < 2 * TIMEOUT);
    assert_eq!(chatting.sending(two_timeouts, INTERVAL / 2, Peer::ending).code, 4201);
    assert!(start.elapsed() > 2 * TIMEOUT);
}

#[test]
fn heartbeat_frames_pings_and_pongs_are_signs_of_life_in_the_strict_sense() {
    let server = impatient(Liveness::Heartbeat);
    let outlives_two_timeouts = |sign: Vec<u8>| {
        let start = Instant::now();
        let mut peer = Peer::connect(&server, "a");
        let two_timeouts = std::iter::repeat(sign).take_while(|_| start.elapsed() < 2 * TIMEOUT);
        assert_eq!(peer.sending(two_timeouts, INTERVAL, Peer::ending).code, 4201);
        assert!(start.elapsed() > 2 * TIMEOUT);
    };
    std::thread::scope(|scope| {
        for sign in [beat(), raw::frame(FIN | PING, b"?"), raw::frame(FIN | PONG, b"unasked")] {
            scope.spawn(|| outlives_two_timeouts(sign));
        }
    });
}

#[test]
fn a_frame_that_dribbles_in_is_cut_off_by_its_first_byte() {
    let server = slow_assembly();
    let mut peer = Peer::connect(&server, "a");
    let start = Instant::now();
    let bytes = raw::frame(FIN | TEXT, &[b' '; 4_096]).into_iter().map(|byte| vec![byte]);
    let ending = peer.sending(bytes, Duration::from_millis(10), Peer::ending);
    assert!(start.elapsed() >= ASSEMBLY);
    assert_eq!(ending.code, 4104);
    assert!(ending.reason.starts_with("too slow"), "{}", ending.reason);
}

#[test]
fn neither_fragments_nor_pongs_between_them_extend_the_time_for_a_message() {
    let server = slow_assembly();
    let mut peer = Peer::connect(&server, "a");
    let start = Instant::now();
    let fragments = std::iter::once(raw::frame(TEXT, b" ")).chain(std::iter::repeat_with(|| {
        [raw::frame(FIN | PONG, b""), raw::frame(CONTINUATION, b" "), raw::frame(FIN | PING, b"")].concat()
    }));
    let ending = peer.sending(fragments, Duration::from_millis(10), Peer::ending);
    assert!(start.elapsed() >= ASSEMBLY);
    assert_eq!(ending.code, 4104);
}

#[test]
fn a_control_frame_that_dribbles_in_is_cut_off_too() {
    let server = slow_assembly();
    let mut peer = Peer::connect(&server, "a");
    let bytes = raw::frame(FIN | PING, &[0; 125]).into_iter().map(|byte| vec![byte]);
    assert_eq!(peer.sending(bytes, Duration::from_millis(20), Peer::ending).code, 4104);
}

#[test]
fn a_message_in_fragments_of_one_byte_arrives() {
    let server = serve(config());
    let (mut sender, mut receiver) = (Peer::connect(&server, "a"), Client::connect(&server, "b"));
    let message = json!({ "type": "message", "to": ["b"], "content": "in pieces" }).to_string();
    let last = message.len() - 1;
    for (n, byte) in message.bytes().enumerate() {
        let first = if n == 0 { TEXT } else { CONTINUATION } | if n == last { FIN } else { 0 };
        sender.send(raw::frame(first, &[byte]));
        if n % 10 == 0 {
            sender.send(raw::frame(FIN | PING, b"between"));
        }
    }
    assert_eq!(receiver.json()["content"], "in pieces");
}

#[test]
fn a_client_is_not_silent_while_the_handler_keeps_it_from_being_heard() {
    let gate = Gate::default();
    let server = serve_with(configured(|config| config.heartbeat.timeout = Some(TIMEOUT)), gate.clone());
    let mut peer = Peer::connect(&server, "a");
    peer.send(raw::text(&Gate::wait_frame("nobody")));
    eventually("the handler holds it", || gate.held() == 1);
    let held = Instant::now();
    peer.send(beat());
    eventually("the timeout has passed", || held.elapsed() > TIMEOUT);
    gate.open();
    assert_eq!(peer.json()["type"], "heartbeat");
}

#[test]
fn a_lifetime_ends_however_lively_the_client_is() {
    const LIFETIME: Duration = Duration::from_millis(700);
    let server = serve(configured(|config| config.max_lifetime = Some(LIFETIME)));
    let start = Instant::now();
    let mut peer = Peer::connect(&server, "a");
    let ending = peer.sending(std::iter::repeat_with(beat), Duration::from_millis(20), Peer::ending);
    assert!(start.elapsed() >= LIFETIME);
    assert_eq!((ending.code, &*ending.reason), (4202, "lifetime reached"));
}

#[test]
fn a_promise_moves_the_timeout_within_the_range_and_is_stated_back() {
    let server = serve(config());
    let times = |interval: u64, timeout: u64| json!({ "interval_ms": interval, "timeout_ms": timeout });
    let cases = [
        (1, times(7_333, 10_000)),
        (10_000, times(11_000, 15_000)),
        (60_000, times(66_000, 90_000)),
        (600_000, times(660_000, 900_000)),
        (u64::MAX, times(660_000, 900_000)),
    ];
    for (promise, expected) in &cases {
        let target = format!("/ws?user_id=a&heartbeat_ms={promise}");
        let register = Client::open(address(&server), &target, "").json();
        assert_eq!(register["heartbeat"], *expected, "{promise}");
    }
    let mut client = Client::connect(&server, "b");
    let mut stated = |beat: Value| {
        client.send(&beat);
        let answer = client.json();
        json!({ "interval_ms": answer["interval_ms"], "timeout_ms": answer["timeout_ms"] })
    };
    assert_eq!(stated(json!({ "type": "heartbeat" })), times(25_000, 60_000));
    for (promise, expected) in cases {
        assert_eq!(stated(json!({ "type": "heartbeat", "next_ms": promise })), expected, "{promise}");
        assert_eq!(stated(json!({ "type": "heartbeat" })), expected, "it holds until the next promise");
    }
}

#[test]
fn a_promise_is_kept_by_both_sides() {
    let server = serve(configured(|config| {
        config.heartbeat.negotiable = Duration::from_millis(10)..=Duration::from_secs(60);
    }));
    let start = Instant::now();
    let mut peer = Peer::open(&server, "/ws?user_id=a&heartbeat_ms=600");
    assert_eq!(peer.json()["heartbeat"], json!({ "interval_ms": 660, "timeout_ms": 900 }));
    assert!(matches!(peer.next(), Some((PING, _))));
    assert!(start.elapsed() >= Duration::from_millis(660));
    assert_eq!(peer.ending().code, 4201);
    assert!(start.elapsed() >= Duration::from_millis(900));
}

#[derive(Clone, Default)]
struct Silences(Arc<Mutex<Vec<Idle>>>);

impl Handler for Silences {
    fn idle(&self, _: &Connection, idle: Idle) -> IdleAction {
        self.0.lock().unwrap().push(idle);
        IdleAction::Nothing
    }
}

impl Silences {
    fn of(&self, kind: IdleKind) -> Vec<Idle> {
        self.0.lock().unwrap().iter().filter(|idle| idle.kind == kind).copied().collect()
    }
}

#[test]
fn each_silence_is_told_once_as_the_first_and_again_after_every_further_threshold() {
    const THRESHOLD: Duration = Duration::from_millis(100);
    let silences = Silences::default();
    let server = serve_with(
        configured(|config| {
            let idle = &mut config.idle;
            (idle.reader, idle.writer, idle.all) = (Some(THRESHOLD), Some(THRESHOLD), Some(3 * THRESHOLD));
        }),
        silences.clone(),
    );
    let mut client = Client::connect(&server, "a");
    let kinds = [IdleKind::Reader, IdleKind::Writer, IdleKind::All];
    for (kind, threshold) in kinds.into_iter().zip([THRESHOLD, THRESHOLD, 3 * THRESHOLD]) {
        eventually("three events of each kind", || silences.of(kind).len() >= 3);
        for (n, idle) in (1..).zip(&silences.of(kind)[..3]) {
            assert_eq!(idle.first, n == 1, "{idle:?}");
            assert!(idle.silent_for >= n * threshold, "{idle:?}");
        }
    }
    // What the client sends ends the reader's silence, what it is answered the writer's.
    client.send(&json!({ "type": "heartbeat" }));
    for kind in kinds {
        eventually("a second silence begins", || silences.of(kind).iter().filter(|idle| idle.first).count() == 2);
    }
}

#[test]
fn a_push_ends_the_silence_of_the_writer_only() {
    let silences = Silences::default();
    let threshold = Some(Duration::from_millis(100));
    let server = serve_with(
        configured(|config| (config.idle.reader, config.idle.writer) = (threshold, threshold)),
        silences.clone(),
    );
    let mut client = Client::connect(&server, "a");
    for kind in [IdleKind::Reader, IdleKind::Writer] {
        eventually("it is silent", || !silences.of(kind).is_empty());
    }
    server.handle().send(account("a"), &Push::new("news", &1).unwrap()).unwrap();
    assert_eq!(client.json()["type"], "news");
    let firsts = |kind| silences.of(kind).iter().filter(|idle| idle.first).count();
    eventually("a second silence of the writer", || firsts(IdleKind::Writer) == 2);
    assert_eq!(firsts(IdleKind::Reader), 1);
}

#[test]
fn the_handler_decides_what_a_silence_leads_to() {
    let reader_idle = || {
        configured(|config| {
            let idle = &mut config.idle;
            (idle.reader, idle.writer, idle.all) = (Some(INTERVAL), Some(INTERVAL / 2), Some(INTERVAL / 2));
            // Far beyond the patience of these tests: no ping comes by itself.
            config.heartbeat.interval = Some(4 * PATIENCE);
        })
    };
    let server = serve(reader_idle());
    let mut peer = Peer::connect(&server, "a");
    for _ in 0..3 {
        let Some((PING, payload)) = peer.next() else { panic!("expected a ping") };
        peer.send(raw::frame(FIN | PONG, &payload));
    }

    let silences = Silences::default();
    let server = serve_with(reader_idle(), silences.clone());
    let mut peer = Peer::connect(&server, "a");
    eventually("it was silent for long", || silences.of(IdleKind::Reader).len() >= 3);
    server.handle().send(account("a"), &Push::new("news", &1).unwrap()).unwrap();
    assert!(matches!(peer.next(), Some((TEXT, _))), "no ping came before");

    let server = serve_with(reader_idle(), Impatient);
    let ending = Peer::connect(&server, "a").ending();
    assert_eq!((ending.code, &*ending.reason), (4000, "silent for too long"));
}

/// Closes whoever is silent.
struct Impatient;

impl Handler for Impatient {
    fn idle(&self, _: &Connection, idle: Idle) -> IdleAction {
        match idle.kind {
            IdleKind::Reader => IdleAction::Close(CloseReason::application(4000, "silent for too long").unwrap()),
            IdleKind::Writer | IdleKind::All => IdleAction::Nothing,
        }
    }
}

#[test]
fn of_all_silences_only_the_readers_leads_to_a_ping_by_default() {
    /// Leaves it to the default, and keeps that.
    #[derive(Clone, Default)]
    struct Defaults(Arc<Mutex<Vec<(IdleKind, IdleAction)>>>);

    impl Handler for Defaults {
        fn idle(&self, connection: &Connection, idle: Idle) -> IdleAction {
            let action = Anonymous.idle(connection, idle);
            self.0.lock().unwrap().push((idle.kind, action.clone()));
            action
        }
    }

    let defaults = Defaults::default();
    let server = serve_with(
        configured(|config| {
            let idle = &mut config.idle;
            (idle.reader, idle.writer, idle.all) = (Some(3 * INTERVAL), Some(INTERVAL), Some(INTERVAL));
        }),
        defaults.clone(),
    );
    let _peer = Peer::connect(&server, "a");
    for (kind, action) in [
        (IdleKind::Reader, IdleAction::Ping),
        (IdleKind::Writer, IdleAction::Nothing),
        (IdleKind::All, IdleAction::Nothing),
    ] {
        eventually("the default was asked", || defaults.0.lock().unwrap().iter().any(|(of, _)| *of == kind));
        assert!(defaults.0.lock().unwrap().iter().all(|(of, done)| *of != kind || *done == action), "{kind:?}");
    }
}

/// Blocks the thread of an anonymous client once its first bytes are read. The server asks before that when it starts and
/// when the client connects.
struct SlowMachine {
    calls: AtomicUsize,
    reached: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Handler for SlowMachine {
    fn authenticates(&self) -> bool {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 2 {
            self.reached.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
        false
    }
}

#[test]
fn an_anonymous_client_is_not_silent_while_its_bytes_wait() {
    let ((reached, was_reached), (go, go_on)) = (channel(), channel());
    let handler = SlowMachine { calls: AtomicUsize::new(0), reached, go_on: Mutex::new(go_on) };
    let timeout = Duration::from_millis(200);
    let server = serve_with(
        configured(|config| {
            (config.tcp_listen, config.heartbeat.timeout) = (config.listen.clone(), Some(timeout));
        }),
        handler,
    );
    let mut stream = dial(server.local_tcp_addrs()[0]);
    stream.write_all(b"\n").unwrap();
    was_reached.recv_timeout(PATIENCE).unwrap();
    let heard = Instant::now();
    stream.write_all(b"{\"type\":\"heartbeat\"}\n").unwrap();
    eventually("its time is up", || heard.elapsed() > timeout);
    go.send(()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("{\"type\":\"heartbeat\""), "{answer}");
}
