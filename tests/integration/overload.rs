//! Slow consumers, rates, limits: who is too much pays for it, and nobody else.

use crate::gate::Gate;
use crate::raw::{self, Peer};
use crate::support::{
    Client, Patience, account, address, config, configured, dial, eventually, exchange, serve, serve_with,
    upgrade_request,
};
use heartwire::config::{Rate, SingleConnection};
use heartwire::{ClosedConnection, Config, Connection, Handle, Handler, Push, Statistics};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CHUNK: usize = 64 << 10;

/// What does not matter to these tests is short or unlimited.
fn busy(change: impl FnOnce(&mut Config)) -> Config {
    configured(|config| {
        (config.message_rate, config.linger) = (None, Duration::from_millis(100));
        change(config);
    })
}

fn chunk(n: usize) -> Push {
    Push::new("chunk", &json!({ "n": n, "fill": "x".repeat(CHUNK) })).unwrap()
}

fn closed_with(handle: &Handle, code: u16) -> u64 {
    handle.counts().unwrap().closed_by_code.get(&code).copied().unwrap_or(0)
}

fn to_room(content: &Value) -> Value {
    json!({ "type": "message", "room": "r", "content": content })
}

#[test]
fn a_consumer_that_stops_reading_is_cut_while_the_others_receive_everything() {
    let server = serve(busy(|config| config.queue_bytes = 4 * CHUNK));
    let handle = server.handle();
    let _stopped = Peer::connect(&server, "stopped");
    let mut others: Vec<Client> = ["a", "b"].iter().map(|name| Client::connect(&server, name)).collect();
    let accounts = ["stopped", "a", "b"].map(account).to_vec();
    for n in 0.. {
        handle.send(accounts.clone(), &chunk(n)).unwrap();
        for other in &mut others {
            assert_eq!(other.json()["content"]["n"], n);
        }
        if closed_with(&handle, 4101) == 1 {
            break;
        }
        assert!(n < 10_000, "it is still there");
    }
    let reach = handle.send(accounts, &chunk(0)).unwrap();
    assert_eq!((reach.connections, &*reach.missing), (2, &[account("stopped")][..]));
    assert_eq!(handle.counts().unwrap().queued_bytes, 0);
}

#[test]
#[cfg(target_os = "linux")]
fn half_open_handshakes_of_one_address_leave_room_for_others() {
    let server = serve(busy(|config| (config.max_connections, config.max_per_address) = (Some(64), Some(5))));
    let half_open: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(address(&server)).unwrap();
            stream.write_all(b"G").unwrap();
            stream
        })
        .collect();
    eventually("all but five were refused", || server.handle().counts().unwrap().refused == 35);
    // All of 127.0.0.0/8 is this machine.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&address(&server).into()).unwrap();
    let mut other = TcpStream::from(socket);
    other.write_all(upgrade_request("/ws?user_id=other", "").as_bytes()).unwrap();
    eventually("the other is there", || server.handle().counts().unwrap().connections == 1);
    drop(half_open);
}

#[test]
fn a_consumer_that_resumes_reading_finds_the_reason_behind_what_was_on_its_way() {
    let server = serve(busy(|config| (config.queue_bytes, config.linger) = (4 * CHUNK, Duration::from_secs(20))));
    let handle = server.handle();
    let mut slow = Peer::connect(&server, "slow");
    let mut sent = 0;
    while handle.send(account("slow"), &chunk(sent)).unwrap().connections == 1 {
        sent += 1;
    }
    let ending = slow.ending();
    assert_eq!(ending.code, 4101);
    assert!(ending.reason.starts_with("slow consumer: "), "{}", ending.reason);
    assert!(ending.messages.len() < sent, "what waited behind the message on its way is dropped");
    for (n, message) in ending.messages.iter().enumerate() {
        assert_eq!(serde_json::from_slice::<Value>(message).unwrap()["content"]["n"], n);
    }
}

#[test]
fn a_message_that_waits_beyond_the_write_deadline_cuts_its_consumer() {
    let server = serve(busy(|config| config.write_deadline = Duration::from_millis(300)));
    let handle = server.handle();
    let _stopped = Peer::connect(&server, "stopped");
    let huge = Push::new("huge", &"x".repeat(32 << 20)).unwrap();
    assert_eq!(handle.send(account("stopped"), &huge).unwrap().connections, 1, "an empty queue takes any size");
    eventually("it is cut", || closed_with(&handle, 4101) == 1);
}

/// Keeps how each connection ended.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<(String, u16, Statistics)>>>);

impl Handler for Ends {
    fn closed(&self, connection: &Connection, record: &ClosedConnection) {
        let ended = (connection.account().to_string(), record.reason.code(), record.statistics);
        self.0.lock().unwrap().push(ended);
    }
}

#[test]
fn the_largest_queue_is_cut_when_all_together_are_beyond_their_budget() {
    const BUDGET: usize = 4 << 20;
    let ends = Ends::default();
    let server =
        serve_with(busy(|config| (config.queue_bytes, config.queue_total_bytes) = (BUDGET, BUDGET)), ends.clone());
    let handle = server.handle();
    let (_small, _large) = (Peer::connect(&server, "small"), Peer::connect(&server, "large"));
    while handle.counts().unwrap().queued_bytes < BUDGET / 4 {
        handle.send(account("small"), &chunk(0)).unwrap();
    }
    while closed_with(&handle, 4101) == 0 {
        handle.send(account("large"), &chunk(0)).unwrap();
    }
    let (name, code, statistics) = ends.0.lock().unwrap().first().cloned().unwrap();
    assert_eq!((&*name, code), ("large", 4101));
    assert!(statistics.queue_high_water_bytes < BUDGET, "not for its own bound");
    assert_eq!(handle.connections(account("small")).unwrap().len(), 1);
}

#[test]
fn above_the_message_rate_nothing_is_delivered_and_the_sender_is_told_once() {
    let server = serve(configured(|config| config.message_rate = Some(Rate { per_second: 1, burst: 2 })));
    let (mut sender, mut receiver) = (Peer::connect(&server, "a"), Client::connect(&server, "b"));
    let message = |n: u32| raw::text(&json!({ "id": n.to_string(), "type": "message", "to": ["b"], "content": n }));
    let beat = raw::text(&json!({ "type": "heartbeat" }));
    // One packet is judged at one instant.
    sender.send([message(0), message(1), message(2), message(3), beat].concat());
    let answers = [sender.json(), sender.json(), sender.json()];
    let refusal = answers.iter().find(|answer| answer["type"] == "error").unwrap();
    assert_eq!((&refusal["error"]["code"], &refusal["id"]), (&json!(111), &json!("2")));
    let acknowledged: Vec<_> = answers.iter().filter(|answer| answer["type"] == "ack").map(|ack| &ack["id"]).collect();
    assert_eq!(acknowledged, ["0", "1"]);
    server.handle().send(vec![account("a"), account("b")], &Push::new("marker", &()).unwrap()).unwrap();
    assert_eq!(sender.json()["type"], "marker", "neither a second refusal nor an answer to the heartbeat");
    assert_eq!([receiver.json()["content"].clone(), receiver.json()["content"].clone()], [0, 1]);
    assert_eq!(receiver.json()["type"], "marker");
}

#[test]
fn raw_tcp_that_says_nothing_without_end_is_above_the_message_rate_too() {
    let server = serve(configured(|config| {
        config.tcp_listen = config.listen.clone();
        (config.max_message_bytes, config.message_rate) = (1 << 10, Some(Rate { per_second: 1, burst: 1 }));
    }));
    // Empty lines with an account, empty lines without one, and bytes that are no longer read.
    let floods = [("{\"type\":\"hello\",\"user_id\":\"a\"}\n", "\n"), ("", "\n"), ("", "x")].map(|(first, flood)| {
        let mut stream = dial(server.local_tcp_addrs()[0]);
        std::thread::spawn(move || {
            stream.write_all(first.as_bytes()).unwrap();
            let patience = Patience::begin();
            while stream.write_all(flood.repeat(2_000).as_bytes()).is_ok() {
                patience.assert("the end of a flood");
                std::thread::sleep(Duration::from_millis(5));
            }
            let mut answers = Vec::new();
            // It may end with a reset: the flood did not stop when the server said why.
            let _ = stream.read_to_end(&mut answers);
            String::from_utf8_lossy(&answers).into_owned()
        })
    });
    for flood in floods {
        let answers = flood.join().unwrap();
        assert!(answers.contains("\"code\":111"), "{answers}");
        assert!(answers.contains("{\"type\":\"close\",\"code\":4102,"), "{answers}");
    }
}

#[test]
fn five_seconds_above_the_message_rate_are_the_end() {
    let server = serve(configured(|config| config.message_rate = Some(Rate { per_second: 1, burst: 1 })));
    let mut peer = Peer::connect(&server, "a");
    let message = raw::text(&json!({ "id": "x", "type": "message", "to": ["nobody"], "content": 0 }));
    let start = Instant::now();
    let ending = peer.sending(std::iter::repeat(message), Duration::from_millis(20), Peer::ending);
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_secs(5));
    assert_eq!((ending.code, &*ending.reason), (4102, "rate limit: too many messages for 5 s"));
    let is_refusal = |answer: &&Vec<u8>| answer.windows(10).any(|part| part == b"\"code\":111");
    let told = ending.messages.iter().filter(is_refusal).count() as u64;
    assert!(told >= 1 && told <= elapsed.as_secs() + 1, "{told} times in {elapsed:?}");
}

fn status_of(server: &heartwire::Server, target: &str) -> String {
    let response = exchange(address(server), upgrade_request(target, ""));
    response.lines().next().unwrap_or_default().to_owned()
}

const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests";

#[test]
fn an_account_has_so_many_connections_and_one_that_leaves_makes_room() {
    let server = serve(configured(|config| config.max_per_account = Some(2)));
    let (first, _second) = (Peer::connect(&server, "a"), Peer::connect(&server, "a"));
    assert_eq!(status_of(&server, "/ws?user_id=a"), TOO_MANY);
    let mut refused = Client::open(address(&server), "/ws?user_id=a&refuse=close", "");
    assert_eq!(refused.close_frame().0, 4103);
    let _other = Peer::connect(&server, "b");
    drop(first);
    eventually("there is room", || server.handle().connections(account("a")).unwrap().len() == 1);
    let _third = Peer::connect(&server, "a");
    assert_eq!(server.handle().counts().unwrap().refused, 2);
}

#[test]
fn an_address_has_so_many_connections_and_one_that_leaves_makes_room() {
    let server = serve(configured(|config| config.max_per_address = Some(2)));
    let (first, _second) = (Peer::connect(&server, "a"), Peer::connect(&server, "b"));
    assert_eq!(status_of(&server, "/ws?user_id=c"), TOO_MANY);
    let mut refused = Client::open(address(&server), "/ws?user_id=c&refuse=close", "");
    assert_eq!(refused.close_frame().0, 4103);
    drop(first);
    eventually("the first is gone", || server.handle().counts().unwrap().connections == 1);
    let _third = Peer::connect(&server, "c");
}

#[test]
fn a_newer_connection_replaces_the_older_where_that_is_the_rule() {
    let server = serve(configured(|config| config.single = SingleConnection::Replace));
    let mut older = Peer::connect(&server, "a");
    let mut newer = Client::connect(&server, "a");
    let ending = older.ending();
    assert_eq!((ending.code, &*ending.reason), (4505, "replaced by a newer connection"));
    assert_eq!(server.handle().send(account("a"), &Push::new("news", &1).unwrap()).unwrap().connections, 1);
    assert_eq!(newer.json()["type"], "news");
}

#[test]
fn a_newer_connection_is_refused_where_that_is_the_rule() {
    let server = serve(configured(|config| config.single = SingleConnection::Refuse));
    let mut older = Client::connect(&server, "a");
    assert_eq!(status_of(&server, "/ws?user_id=a"), TOO_MANY);
    assert_eq!(server.handle().send(account("a"), &Push::new("news", &1).unwrap()).unwrap().connections, 1);
    assert_eq!(older.json()["type"], "news");
    drop(older);
    eventually("the older is gone", || server.handle().counts().unwrap().connections == 0);
    let _newer = Client::connect(&server, "a");
}

#[test]
fn an_account_causes_so_many_deliveries_a_second_and_then_none() {
    let fits_once: [fn(&mut Config); 2] =
        [|config| config.deliveries_per_second = Some(4), |config| config.delivered_bytes_per_second = Some(4_000)];
    for limit in fits_once {
        let server = serve(configured(limit));
        let mut sender = Peer::connect(&server, "a");
        let mut receivers: Vec<Client> = ["b", "c", "d"].iter().map(|name| Client::connect(&server, name)).collect();
        let message = |id: &str| {
            let content = "x".repeat(600);
            raw::text(&json!({ "id": id, "type": "message", "to": ["b", "c", "d"], "content": content }))
        };
        // One packet is judged at one instant.
        sender.send([message("first"), message("second")].concat());
        let (first, second) = (sender.json(), sender.json());
        assert_eq!((&first["id"], &first["delivered"]), (&json!("first"), &json!(3)));
        assert_eq!((&second["id"], &second["error"]["code"]), (&json!("second"), &json!(106)));
        server
            .handle()
            .send(vec![account("b"), account("c"), account("d")], &Push::new("marker", &()).unwrap())
            .unwrap();
        for receiver in &mut receivers {
            assert_eq!(receiver.json()["type"], "message");
            assert_eq!(receiver.json()["type"], "marker");
        }
    }
}

#[test]
fn the_debts_of_an_account_are_its_own() {
    let server = serve(configured(|config| config.deliveries_per_second = Some(1)));
    let mut clients: Vec<Client> = ["a", "b", "c"].iter().map(|name| Client::connect(&server, name)).collect();
    for client in &mut clients {
        client.ask(json!({ "type": "join", "room": "r" }));
    }
    for (n, expected) in [(0, "ack"), (1, "ack"), (2, "ack")] {
        assert_eq!(clients[n].ask(to_room(&json!(n)))["type"], expected);
        for (_, other) in clients.iter_mut().enumerate().filter(|(other, _)| *other != n) {
            assert_eq!(other.json()["content"], n);
        }
    }
}

#[test]
fn a_handler_that_blocks_keeps_only_its_own_client_waiting() {
    let gate = Gate::default();
    let server = serve_with(config(), gate.clone());
    let mut held = Client::connect(&server, "held");
    let (mut a, mut b) = (Client::connect(&server, "a"), Client::connect(&server, "b"));
    held.send(&Gate::wait_frame("a"));
    held.send(&json!({ "type": "message", "to": ["a"], "content": "behind it" }));
    for n in 0..100 {
        assert_eq!(a.ask(json!({ "type": "message", "to": ["b", "held"], "content": n }))["delivered"], 2);
        assert_eq!(b.json()["content"], n);
        assert_eq!(held.json()["content"], n, "it still receives");
    }
    gate.open();
    assert_eq!([a.json()["content"].clone(), a.json()["content"].clone()], ["wait", "behind it"]);
}
