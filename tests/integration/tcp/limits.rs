//! Raw TCP clients that are too many, too fast or too slow, and a server that stops.

use super::*;
use crate::support::PATIENCE;
use heartwire::config::{Rate, SingleBy, SingleConnection};

/// Says hello and expects to be refused.
fn refused(server: &Server, hello: &Value) -> u64 {
    let mut client = LineClient::open(tcp_address(server));
    client.send(hello);
    let ending = client.ending();
    assert!(ending.lines.is_empty(), "{:?}", ending.lines);
    ending.code
}

#[test]
fn connections_of_an_account_count_together_whatever_they_speak() {
    let server = serve(configured(|config| config.max_per_account = Some(2)));
    let (frames, _lines) = (Client::connect(&server, "a"), LineClient::connect(&server, "a"));
    assert_eq!(refused(&server, &hello("a")), 4103);
    let _other = LineClient::connect(&server, "b");
    drop(frames);
    eventually("there is room", || server.handle().connections(account("a")).unwrap().len() == 1);
    let _third = LineClient::connect(&server, "a");
    assert_eq!(server.handle().counts().unwrap().refused, 1);
}

#[test]
fn connections_of_an_address_count_together_whatever_they_speak() {
    let server = serve(configured(|config| config.max_per_address = Some(2)));
    let (first, _second) = (LineClient::connect(&server, "a"), Client::connect(&server, "b"));
    assert_eq!(refused(&server, &hello("c")), 4103);
    drop(first);
    eventually("the first is gone", || server.handle().counts().unwrap().connections == 1);
    let _third = LineClient::connect(&server, "c");
}

/// Connects and writes a byte, after which nobody waits for a `hello`.
fn anonymous(server: &Server) -> LineClient {
    let mut client = LineClient::open(tcp_address(server));
    client.write("x\n");
    assert_eq!(client.error().0, 107);
    client
}

#[test]
fn whoever_finds_no_place_at_accept_is_told_in_a_line() {
    let server = serve(configured(|config| (config.max_connections, config.max_per_address) = (Some(2), None)));
    let (_first, second) = (anonymous(&server), LineClient::connect(&server, "a"));
    let ending = LineClient::open(tcp_address(&server)).ending();
    assert_eq!((ending.code, ending.lines.len()), (4100, 0));
    assert_eq!(server.handle().counts().unwrap().refused, 1);
    drop(second);
    eventually("its place is free", || {
        let mut third = LineClient::open(tcp_address(&server));
        third.write("{\"type\":\"heartbeat\"}\n");
        third.json()["type"] == "heartbeat"
    });
}

#[test]
fn whoever_stays_anonymous_takes_no_place_of_a_handshake_but_one_of_its_address() {
    let server = serve(configured(|config| {
        (config.max_connections, config.max_per_address) = (Some(64), Some(12));
    }));
    assert_eq!(server.admission().max_handshakes(), 16);
    // A place for each connection of the address, and as many again for those that the router does not know.
    let mut strangers: Vec<_> = (0..24).map(|_| anonymous(&server)).collect();
    assert_eq!(LineClient::open(tcp_address(&server)).ending().code, 4100);
    strangers.pop();
    eventually("a place is free", || {
        let mut next = LineClient::open(tcp_address(&server));
        next.write("{\"type\":\"heartbeat\"}\n");
        next.json()["type"] == "heartbeat"
    });
    drop(strangers);
}

#[test]
fn a_single_connection_of_an_account_is_replaced_or_refused_across_transports() {
    let server = serve(configured(|config| config.single = SingleConnection::Replace));
    let mut lines = LineClient::connect(&server, "a");
    let mut frames = Peer::connect(&server, "a");
    let ending = lines.ending();
    assert_eq!((ending.code, &*ending.reason), (4505, "replaced by a newer connection"));
    let mut newer = LineClient::connect(&server, "a");
    assert_eq!(frames.ending().code, 4505);
    assert_eq!(newer.ask(message(&["a"], 0))["delivered"], 0, "it is the only one");

    let server = serve(configured(|config| config.single = SingleConnection::Refuse));
    let mut older = LineClient::connect(&server, "a");
    assert_eq!(refused(&server, &hello("a")), 4103);
    assert_eq!(older.ask(message(&["a"], 0))["delivered"], 0, "it is still there");
}

#[test]
fn a_single_connection_may_be_that_of_a_device() {
    let server = serve(configured(|config| {
        (config.single, config.single_by) = (SingleConnection::Replace, SingleBy::Device);
    }));
    let of = |device: &str| {
        let mut client = LineClient::open(tcp_address(&server));
        client.send(&json!({ "type": "hello", "user_id": "a", "device": device }));
        assert_eq!(client.json()["type"], "register");
        client
    };
    let (mut phone, mut tablet, mut nameless) = (of("phone"), of("tablet"), of(""));
    let mut newer = of("phone");
    assert_eq!(phone.ending().code, 4505);
    let _newer_without_a_name = LineClient::connect(&server, "a");
    assert_eq!(nameless.ending().code, 4505, "no name is one, too");
    assert_eq!(newer.ask(message(&["a"], "hi"))["delivered"], 2);
    assert_eq!(tablet.json()["content"], "hi");
}

#[test]
fn above_the_rate_lines_are_dropped_and_the_sender_is_told_which() {
    let server = serve(configured(|config| config.message_rate = Some(Rate { per_second: 1, burst: 2 })));
    let lines = |kind: &str| -> String {
        (0..5).map(|n| format!("{{\"type\":\"{kind}\",\"to\":[\"b\"],\"content\":0,\"id\":\"{n}\"}}\n")).collect()
    };
    let mut client = LineClient::open(tcp_address(&server));
    // One packet is judged at one instant.
    client.write(lines("message"));
    let answers = [client.error(), client.error(), client.error()];
    assert_eq!(answers, [(101, "0"), (101, "1"), (111, "2")].map(|(code, id)| (json!(code), json!(id))));
    let mut client = LineClient::connect(&server, "b");
    client.write(lines("message"));
    let mut answers = [client.json(), client.json(), client.json()].map(|answer| (answer["id"].clone(), answer));
    answers.sort_by_key(|(id, _)| id.to_string());
    assert_eq!(answers[2].1["error"]["code"], 111, "{answers:?}");
    assert!(answers[..2].iter().all(|(_, answer)| answer["type"] == "ack"), "{answers:?}");
}

#[test]
fn five_seconds_above_the_rate_are_the_end_with_or_without_an_account() {
    let server = serve(configured(|config| config.message_rate = Some(Rate { per_second: 1, burst: 1 })));
    let ends = |mut client: LineClient| {
        let start = Instant::now();
        let lines = std::iter::repeat(b"{\"type\":\"heartbeat\"}\n".to_vec());
        let ending = client.sending(lines, Duration::from_millis(20), LineClient::ending);
        assert!(start.elapsed() >= Duration::from_secs(5));
        assert_eq!(ending.code, 4102);
        let told = ending.lines.iter().filter(|line| line["error"]["code"] == 111).count() as u64;
        assert!((1..=start.elapsed().as_secs() + 1).contains(&told), "{told} times");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| ends(LineClient::open(tcp_address(&server))));
        scope.spawn(|| ends(LineClient::connect(&server, "a")));
    });
}

#[test]
fn a_client_that_stops_reading_is_cut_and_may_find_out_why() {
    const CHUNK: usize = 64 << 10;
    let server = serve(configured(|config| {
        (config.queue_bytes, config.linger) = (4 * CHUNK, Duration::from_secs(20));
    }));
    let handle = server.handle();
    let (mut slow, mut other) = (LineClient::connect(&server, "slow"), LineClient::connect(&server, "other"));
    let mut sent = 0;
    let chunk = Push::new("chunk", &"x".repeat(CHUNK)).unwrap();
    while handle.send(account("slow"), &chunk).unwrap().connections == 1 {
        handle.send(account("other"), &chunk).unwrap();
        assert_eq!(other.json()["type"], "chunk");
        sent += 1;
    }
    let ending = slow.ending();
    assert_eq!(ending.code, 4101);
    assert!(ending.reason.starts_with("slow consumer: "), "{}", ending.reason);
    assert!(ending.lines.len() < sent && ending.lines.iter().all(|line| line["type"] == "chunk"));
    assert_eq!(other.ask(message(&["slow"], 0))["delivered"], 0);
}

#[test]
fn a_stopping_server_tells_everybody_and_waits_for_nobody_who_leaves() {
    let server = serve(configured(|config| config.linger = PATIENCE * 4));
    let told = [LineClient::open(tcp_address(&server)), anonymous(&server), LineClient::connect(&server, "a")];
    eventually("all are accepted", || server.handle().counts().unwrap().accepted == 3);
    let reading = told.map(|mut client| std::thread::spawn(move || client.ending()));
    let start = Instant::now();
    server.shutdown(PATIENCE * 4).unwrap();
    assert!(start.elapsed() < PATIENCE);
    for client in reading {
        let ending = client.join().unwrap();
        assert_eq!((ending.code, &*ending.reason, ending.lines.len()), (1001, "going away", 0));
    }
}
