//! Clients that never say `hello`: they live by their bytes, and nobody can reach them.

use super::*;
use crate::lines::LineEnding;

/// Writes this, and again after each pause, and reads to the end.
fn ending_of(client: &mut LineClient, bytes: &[u8], pause: Duration) -> LineEnding {
    client.sending(std::iter::repeat(bytes.to_vec()), pause, LineClient::ending)
}

#[test]
fn bytes_of_whatever_meaning_keep_an_anonymous_client_alive_and_nothing_is_sent_to_it() {
    let server = serve(configured(|config| {
        impatient(&mut config.heartbeat);
        config.handshake_deadline = TIMEOUT / 2;
        config.broadcast = true;
    }));
    let handle = server.handle();
    let start = Instant::now();
    let mut client = LineClient::open(tcp_address(&server));
    let two_timeouts = std::iter::repeat(b"\xff\0 no line".to_vec()).take_while(|_| start.elapsed() < 2 * TIMEOUT);
    let mut last_sign = start;
    let ending = client.sending(two_timeouts.inspect(|_| last_sign = Instant::now()), INTERVAL / 4, |client| {
        eventually("it is there", || handle.counts().unwrap().accepted == 1);
        assert_eq!(handle.send(Target::All, &Push::new("news", &1).unwrap()).unwrap().connections, 0);
        let mut speaker = Client::connect(&server, "speaker");
        assert_eq!(speaker.ask(json!({ "type": "broadcast", "content": 0 }))["delivered"], 0);
        drop(speaker);
        client.ending()
    });
    assert!(start.elapsed() > 2 * TIMEOUT && last_sign.elapsed() >= TIMEOUT);
    assert_eq!(ending.code, 4201);
    assert!(ending.reason.starts_with("heartbeat timeout: heard nothing for "), "{}", ending.reason);
    assert!(ending.lines.is_empty(), "neither register nor probes: {:?}", ending.lines);
    drop(client);
    eventually("it is counted", || handle.counts().unwrap().strangers_closed == 1);
    assert_eq!(handle.counts().unwrap().opened, 1, "the speaker");
}

#[test]
fn what_needs_an_account_is_answered_by_101_and_names_its_id() {
    let server = serve(config());
    let mut client = LineClient::open(tcp_address(&server));
    for frame in [
        message(&["b"], 0),
        json!({ "type": "join", "room": "r" }),
        json!({ "type": "presence", "accounts": ["b"] }),
        json!({ "type": "broadcast", "content": 0 }),
    ] {
        assert_eq!(client.ask(frame.clone())["error"]["code"], 101, "{frame}");
        client.send(&frame);
        assert_eq!(client.error(), (json!(101), Value::Null), "{frame}");
    }
    client.say_hello("a");
}

#[test]
fn a_heartbeat_is_answered_and_its_promise_moves_the_deadline_and_outlasts_hello() {
    let server = serve(configured(|config| {
        config.heartbeat.negotiable = Duration::from_millis(10)..=Duration::from_secs(60);
    }));
    let mut client = LineClient::open(tcp_address(&server));
    client.send(&json!({ "type": "heartbeat" }));
    let answer = client.json();
    assert_eq!((&answer["type"], &answer["timeout_ms"]), (&json!("heartbeat"), &json!(60_000)));
    client.send(&json!({ "type": "heartbeat", "next_ms": 30_000 }));
    assert_eq!(client.json()["timeout_ms"], 45_000);
    client.send(&hello("a"));
    assert_eq!(client.json()["heartbeat"], json!({ "interval_ms": 33_000, "timeout_ms": 45_000 }));

    let mut silent = LineClient::open(tcp_address(&server));
    let start = Instant::now();
    silent.send(&json!({ "type": "heartbeat", "next_ms": 400 }));
    assert_eq!(silent.json()["timeout_ms"], 600);
    assert_eq!(silent.ending().code, 4201);
    assert!(start.elapsed() >= Duration::from_millis(600));
}

#[test]
fn the_first_byte_has_a_deadline_of_its_own() {
    const FIRST_BYTE: Duration = Duration::from_millis(300);
    let long = Duration::from_secs(100);
    let servers = [(Some(FIRST_BYTE), long), (None, FIRST_BYTE)].map(|(first_byte, handshake)| {
        serve(configured(|config| (config.tcp_first_byte, config.handshake_deadline) = (first_byte, handshake)))
    });
    for server in &servers {
        let start = Instant::now();
        let (mut silent, mut speaking) = (LineClient::open(tcp_address(server)), LineClient::open(tcp_address(server)));
        speaking.write("x");
        let ending = silent.ending();
        assert!(start.elapsed() >= FIRST_BYTE);
        assert_eq!((ending.code, &*ending.reason), (4104, "too slow: nothing came within 300ms"));
        speaking.write("\n");
        assert_eq!(speaking.error().0, 107, "it is still there");
        speaking.say_hello("a");
    }
}

#[test]
fn where_clients_are_authenticated_hello_must_come_in_time_whatever_else_does() {
    const HANDSHAKE: Duration = Duration::from_millis(400);
    let server = serve_lines(configured(|config| config.handshake_deadline = HANDSHAKE), Tokens);
    let (mut silent, mut chatting) = (LineClient::open(tcp_address(&server)), LineClient::open(tcp_address(&server)));
    let start = Instant::now();
    let ending = ending_of(&mut chatting, b"{\"type\":\"heartbeat\"}\n", HANDSHAKE / 20);
    assert!(start.elapsed() >= HANDSHAKE / 2, "it was accepted before");
    assert_eq!((ending.code, &*ending.reason), (4104, "too slow: no hello came in time"));
    let ending = silent.ending();
    assert_eq!((ending.code, &*ending.reason), (4104, "too slow: nothing came within 400ms"));
    drop((silent, chatting));
    eventually("both are counted", || server.handle().counts().unwrap().strangers_closed == 2);
}

#[test]
fn a_lifetime_ends_with_or_without_an_account() {
    const LIFETIME: Duration = Duration::from_millis(700);
    let server = serve(configured(|config| config.max_lifetime = Some(LIFETIME)));
    for registered in [false, true] {
        let start = Instant::now();
        let mut client = LineClient::open(tcp_address(&server));
        if registered {
            client.say_hello("a");
        }
        let ending = ending_of(&mut client, b"{\"type\":\"heartbeat\"}\n", LIFETIME / 20);
        assert!(start.elapsed() >= LIFETIME);
        assert_eq!((ending.code, &*ending.reason), (4202, "lifetime reached"));
    }
}

#[test]
fn a_line_without_an_end_is_told_once_and_then_only_counts_as_life() {
    let server = serve(configured(|config| {
        impatient(&mut config.heartbeat);
        config.max_message_bytes = 1_000;
    }));
    let mut client = LineClient::open(tcp_address(&server));
    client.write([b'x'; 1_002]);
    assert_eq!(client.error().0, 106);
    let start = Instant::now();
    let ignored = format!("\n{}\n{{\"type\":\"heartbeat\"}}\n{}\n", hello("a"), "y".repeat(1_100)).into_bytes();
    let mut last_sign = start;
    let two_timeouts = std::iter::repeat(ignored).take_while(|_| start.elapsed() < 2 * TIMEOUT);
    let ending = client.sending(two_timeouts.inspect(|_| last_sign = Instant::now()), INTERVAL / 4, LineClient::ending);
    assert!(start.elapsed() > 2 * TIMEOUT && last_sign.elapsed() >= TIMEOUT);
    assert_eq!((ending.code, ending.lines.len()), (4201, 0), "{:?}", ending.lines);
    assert_eq!(server.handle().counts().unwrap().opened, 0);
}

#[test]
fn little_is_kept_of_a_line_without_an_end() {
    let server = serve(config());
    let mut client = LineClient::open(tcp_address(&server));
    client.write([b'x'; (8 << 10) + 2]);
    assert_eq!(client.error().0, 106, "long before it is as long as a message may be");
    let mut client = LineClient::open(tcp_address(&server));
    client.send(&json!({ "type": "hello", "user_id": "a", "token": "x".repeat(8_000) }));
    assert_eq!(client.json()["type"], "register");
}
