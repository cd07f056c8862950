//! The native protocol between connections: delivery, rooms, presence, order.

use crate::raw::{self, Peer};
use crate::support::{Client, account, address, config, configured, eventually, serve};
use heartwire::{Push, Server};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tungstenite::Message;

/// What every `register` and `heartbeat` frame holds for the clients of older push servers.
fn no_content() -> Value {
    json!({ "body": "", "meta_data": "" })
}

/// Fails unless the client's next frame answers this very question, so that nothing else was sent to it before.
#[track_caller]
fn assert_nothing_came(client: &mut Client) {
    assert_eq!(client.ask(json!({ "type": "presence", "accounts": ["nobody"] }))["type"], "presence");
}

fn error_code(frame: &Value) -> &Value {
    assert_eq!(frame["type"], "error", "{frame}");
    &frame["error"]["code"]
}

#[test]
fn a_client_of_an_older_push_server_finds_what_it_knows() {
    let server = serve(config());
    let mut client = Client::open(address(&server), "/ws?user_id=a", "");
    let register = client.json();
    assert_eq!(register["type"], "register");
    assert_eq!(register["content"], no_content());
    let beat = json!({ "type": "heartbeat" }).to_string();
    for beat in [Message::text(beat.clone()), Message::binary(beat.into_bytes())] {
        client.socket.send(beat).unwrap();
        let answer = client.json();
        assert_eq!(answer["type"], "heartbeat");
        assert_eq!(answer["content"], no_content());
    }
}

#[test]
fn the_register_frame_says_who_the_connection_is() {
    let server = serve(config());
    let registers: Vec<Value> =
        (0..2).map(|_| Client::open(address(&server), "/ws?user_id=j%C3%BCrgen&device=phone", "").json()).collect();
    assert_eq!(registers[0]["account"], "jürgen");
    assert_eq!(registers[0]["heartbeat"], json!({ "interval_ms": 25_000, "timeout_ms": 60_000 }));
    assert_eq!(registers[0]["reconnect_spread_ms"], 5_000);
    assert!(registers[0]["server"].as_str().unwrap().starts_with("heartwire/"));
    assert!(registers[0]["connection"].is_string());
    assert_ne!(registers[0]["connection"], registers[1]["connection"]);
}

#[test]
fn what_cannot_be_understood_is_answered_and_the_connection_stays() {
    let server = serve(config());
    let mut client = Client::connect(&server, "a");
    let nested =
        |depth| format!(r#"{{"type":"message","to":["b"],"content":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let long = format!(r#"{{"type":"join","room":"{}"}}"#, "r".repeat(129));
    let many: Vec<String> = (0..257).map(|n| format!("account {n}")).collect();
    let bad = [
        "not json",
        "",
        "[]",
        r#""text""#,
        r#"["heartbeat"]"#,
        "{}",
        r#"{"type":"heartbeat""#,
        r#"{"type":"heartbeat"} {}"#,
        r#"{"type":"unheard-of"}"#,
        r#"{"type":7}"#,
        r#"{"type":"heartbeat","type":"heartbeat"}"#,
        r#"{"type":"message","to":["b"],"to":["c"],"content":1}"#,
        r#"{"type":"message","to":["b"],"content":1,"content":2}"#,
        r#"{"type":"message","to":["b"]}"#,
        r#"{"type":"message","content":1}"#,
        r#"{"type":"message","to":["b"],"room":"r","content":1}"#,
        r#"{"type":"message","to":[],"content":1}"#,
        r#"{"type":"message","to":"b","content":1}"#,
        r#"{"type":"message","to":[""],"content":1}"#,
        r#"{"type":"message","to":["b"],"content":"\ud800"}"#,
        r#"{"type":"message","to":["b"],"content":"\udc00\ud800"}"#,
        r#"{"type":"message","to":["b"],"content":1e999}"#,
        r#"{"type":"message","to":["b"],"content":NaN}"#,
        r#"{"type":"heartbeat","next_ms":-1}"#,
        r#"{"type":"heartbeat","next_ms":0}"#,
        r#"{"type":"presence","accounts":"b"}"#,
        &nested(64),
        &nested(20_000),
        &long,
        &json!({ "type": "message", "to": many, "content": 1 }).to_string(),
    ];
    for bad in bad {
        client.send_text(bad);
        assert_eq!(error_code(&client.json()), 107, "{}", &bad[..bad.len().min(100)]);
    }
    client.socket.send(Message::binary(b"{\"type\":\"\xff\"}".to_vec())).unwrap();
    assert_eq!(error_code(&client.json()), 107);
    client.send_text(&nested(63));
    client.send(&json!({ "type": "heartbeat" }));
    assert_eq!(client.json()["type"], "heartbeat");
}

#[test]
fn an_error_names_the_frame_it_is_about() {
    let server = serve(config());
    let mut client = Client::connect(&server, "a");
    client.send_text(r#"{"id":"mine","type":"message","to":[1],"content":1}"#);
    let answer = client.json();
    assert_eq!((error_code(&answer), &answer["id"]), (&json!(107), &json!("mine")));
    assert_eq!(answer["error"]["reason"], "bad_request");
}

#[test]
fn a_push_reaches_every_connection_of_its_account_and_no_other() {
    let server = serve(config());
    let (mut first, mut second) = (Client::connect(&server, "a"), Client::connect(&server, "a"));
    let mut other = Client::connect(&server, "b");
    let handle = server.handle();
    let push = |n: u32| handle.send(account("a"), &Push::new("news", &json!({ "n": n })).unwrap()).unwrap();
    let reach = push(1);
    assert_eq!((reach.accounts, reach.connections), (1, 2));
    let expected = json!({ "type": "news", "content": { "n": 1 } });
    assert_eq!([first.json(), second.json()], [expected.clone(), expected]);
    assert_nothing_came(&mut other);

    first.socket.close(None).unwrap();
    first.expect_end();
    drop(first);
    eventually("the first is gone", || handle.counts().unwrap().connections == 2);
    assert_eq!(push(2).connections, 1);
    assert_eq!(second.json()["content"]["n"], 2);
}

#[test]
fn a_message_reaches_every_connection_of_its_accounts_but_the_one_that_sent_it() {
    let server = serve(config());
    let (mut sender, mut senders_other) = (Client::connect(&server, "a"), Client::connect(&server, "a"));
    let (mut b1, mut b2) = (Client::connect(&server, "b"), Client::connect(&server, "b"));
    let mut c = Client::connect(&server, "c");
    let answer = sender.ask(json!({ "type": "message", "to": ["a", "b", "b", "absent"], "content": "hi" }));
    assert_eq!((&answer["type"], &answer["delivered"]), (&json!("ack"), &json!(3)));
    let messages = [senders_other.json(), b1.json(), b2.json()];
    for message in &messages {
        assert_eq!(
            (&message["type"], &message["from"], &message["content"]),
            (&json!("message"), &json!("a"), &json!("hi"))
        );
        assert!(message["room"].is_null());
        assert_eq!(message["id"], messages[0]["id"]);
    }
    assert_nothing_came(&mut c);
    assert_nothing_came(&mut sender);

    let second = sender.ask(json!({ "type": "message", "to": ["c"], "content": null }));
    assert_eq!(second["delivered"], 1);
    let message = c.json();
    assert!(message["content"].is_null() && message.get("content").is_some());
    assert_ne!(message["id"], messages[0]["id"]);
    assert_eq!(sender.ask(json!({ "type": "message", "to": ["absent"], "content": 1 }))["delivered"], 0);
    assert_eq!(sender.ask(json!({ "type": "message", "to": ["a"], "content": 1 }))["delivered"], 1);
}

#[test]
fn content_arrives_byte_for_byte() {
    let server = serve(config());
    let (mut sender, mut receiver) = (Client::connect(&server, "a"), Client::connect(&server, "b"));
    let contents = [
        "null",
        "-0.0",
        "1.50e+03",
        "12345678901234567890123456789012345678901234567890",
        r#""\u00e4\/\u0000 ä \ud83d\ude00""#,
        "[ 1 ,\t2,\r\n 3 ]",
        r#"{"b":1, "a" :2,"b":3, "type":"error", "from":"c"}"#,
    ];
    for content in contents {
        sender.send_text(&format!(r#"{{"content": {content} ,"to":["b"],"type":"message"}}"#));
        let Message::Text(text) = receiver.message() else { panic!("expected text") };
        assert!(text.ends_with(&format!(r#""content":{content}}}"#)), "{text}");
    }
}

#[test]
fn the_sender_is_whoever_authenticated_whatever_the_frame_says() {
    let server = serve(config());
    let (mut sender, mut receiver) = (Client::connect(&server, "a"), Client::connect(&server, "b"));
    let forged = [
        r#""from":"root""#,
        r#""from":"root","from":"admin""#,
        r#""From":"root","user_id":"root","userId":"root","account":"root""#,
        r#""fr\u006fm":"root""#,
        r#""id":"x\",\"from\":\"root""#,
        r#""time":0,"room":null,"from":{"from":"root"}"#,
    ];
    for forged in forged {
        sender.send_text(&format!(r#"{{"type":"message","to":["b"],{forged},"content":0}}"#));
        let Message::Text(text) = receiver.message() else { panic!("expected text") };
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["from"], "a");
        assert!(!text.contains("root"), "{text}");
    }
}

#[test]
fn a_room_is_its_members_and_only_they_may_send_to_it() {
    let server = serve(config());
    let mut clients: Vec<Client> = ["a", "b", "c"].iter().map(|name| Client::connect(&server, name)).collect();
    let to_room = json!({ "type": "message", "room": "r", "content": 1 });
    assert_eq!(error_code(&clients[0].ask(to_room.clone())), 103);
    for client in &mut clients[..2] {
        for _ in 0..2 {
            let answer = client.ask(json!({ "type": "join", "room": "r" }));
            assert_eq!((&answer["type"], &answer["delivered"]), (&json!("ack"), &json!(0)));
        }
    }
    assert_eq!(clients[0].ask(to_room.clone())["delivered"], 1);
    let message = clients[1].json();
    assert_eq!((&message["from"], &message["room"]), (&json!("a"), &json!("r")));
    assert_eq!(error_code(&clients[2].ask(to_room.clone())), 103);
    assert_eq!(server.handle().counts().unwrap().rooms, 1);

    assert_eq!(clients[1].ask(json!({ "type": "leave", "room": "r" }))["delivered"], 0);
    assert_eq!(clients[0].ask(to_room.clone())["delivered"], 0);
    assert_eq!(error_code(&clients[1].ask(to_room)), 103);
    assert_eq!(clients[0].ask(json!({ "type": "leave", "room": "r" }))["type"], "ack");
    assert_eq!(server.handle().counts().unwrap().rooms, 0);
}

#[test]
fn a_connection_may_join_64_rooms() {
    let server = serve(config());
    let mut client = Client::connect(&server, "a");
    for n in 0..64 {
        assert_eq!(client.ask(json!({ "type": "join", "room": n.to_string() }))["type"], "ack");
    }
    assert_eq!(error_code(&client.ask(json!({ "type": "join", "room": "one more" }))), 106);
    assert_eq!(client.ask(json!({ "type": "join", "room": "7" }))["type"], "ack");
    client.ask(json!({ "type": "leave", "room": "7" }));
    assert_eq!(client.ask(json!({ "type": "join", "room": "one more" }))["type"], "ack");
}

#[test]
fn a_broadcast_reaches_all_others_where_it_is_turned_on() {
    let broadcast = json!({ "type": "broadcast", "content": [1] });
    let server = serve(config());
    assert_eq!(error_code(&Client::connect(&server, "a").ask(broadcast.clone())), 108);

    let server = serve(configured(|config| config.broadcast = true));
    let (mut sender, mut senders_other) = (Client::connect(&server, "a"), Client::connect(&server, "a"));
    let mut other = Client::connect(&server, "b");
    assert_eq!(sender.ask(broadcast)["delivered"], 2);
    for client in [&mut senders_other, &mut other] {
        let message = client.json();
        assert_eq!((&message["from"], &message["content"]), (&json!("a"), &json!([1])));
    }
    assert_nothing_came(&mut sender);
}

#[test]
fn presence_is_answered_and_a_watch_tells_of_changes_until_it_ends() {
    let server = serve(configured(|config| config.offline_grace = Duration::ZERO));
    let mut watcher = Client::connect(&server, "a");
    let of_b = |connections: usize| json!([{ "account": "b", "online": connections > 0, "connections": connections }]);
    let answer = watcher.ask(json!({ "type": "presence", "accounts": ["b"], "watch": true }));
    assert_eq!((&answer["type"], &answer["accounts"]), (&json!("presence"), &of_b(0)));
    let mut b = Client::connect(&server, "b");
    let news = watcher.json();
    assert_eq!((&news["type"], &news["id"], &news["accounts"]), (&json!("presence"), &Value::Null, &of_b(1)));
    let second = Client::connect(&server, "b");
    assert_eq!(watcher.ask(json!({ "type": "presence", "accounts": ["b"] }))["accounts"], of_b(2));
    drop(second);
    eventually("one connection is left", || server.handle().connections(account("b")).unwrap().len() == 1);
    b.socket.close(None).unwrap();
    b.expect_end();
    drop(b);
    assert_eq!(watcher.json()["accounts"], of_b(0), "only coming online and going offline are news");

    assert_eq!(watcher.ask(json!({ "type": "presence", "accounts": ["b"], "watch": false }))["accounts"], of_b(0));
    let _back = Client::connect(&server, "b");
    assert_eq!(watcher.ask(json!({ "type": "presence", "accounts": ["b"] }))["accounts"], of_b(1));
}

#[test]
fn a_message_just_before_its_senders_close_is_delivered() {
    let server = serve(configured(|config| config.max_per_account = None));
    let mut receiver = Client::connect(&server, "b");
    receiver.ask(json!({ "type": "join", "room": "r" }));
    for n in 0..50 {
        let mut sender = Peer::connect(&server, "a");
        let to = if n % 2 == 0 { json!({ "to": ["b"] }) } else { json!({ "room": "r" }) };
        let mut message = json!({ "type": "message", "content": n });
        message.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
        let join = raw::text(&json!({ "type": "join", "room": "r" }));
        sender.send([join, raw::text(&message), raw::close(1000)].concat());
        assert_eq!(receiver.json()["content"], n);
        assert_eq!(sender.ending().code, 1000);
    }
}

#[test]
fn a_message_just_before_the_end_of_its_senders_stream_is_delivered() {
    let server = serve(configured(|config| config.max_per_account = None));
    let mut receiver = Client::connect(&server, "b");
    for n in 0..20 {
        let mut sender = Peer::connect(&server, "a");
        sender.send(raw::text(&json!({ "type": "message", "to": ["b"], "content": n })));
        drop(sender);
        assert_eq!(receiver.json()["content"], n);
    }
}

#[test]
fn each_senders_messages_arrive_in_order_and_complete_under_contention() {
    const SENDERS: usize = 8;
    const MESSAGES: u64 = 500;
    let server = serve(configured(|config| {
        (config.message_rate, config.deliveries_per_second) = (None, None);
        // Only the order matters here: a receiver that a slow machine holds up must not be cut.
        (config.queue_bytes, config.queue_messages) = (64 << 20, 1 << 20);
    }));
    let mut receiver = Client::connect(&server, "receiver");
    std::thread::scope(|scope| {
        for n in 0..SENDERS {
            let mut sender = Client::connect(&server, &format!("sender-{n}"));
            scope.spawn(move || send_numbers(&mut sender, MESSAGES));
        }
        let mut next: HashMap<String, u64> = HashMap::new();
        for _ in 0..SENDERS as u64 * MESSAGES {
            let message = receiver.json();
            let expected = next.entry(message["from"].as_str().unwrap().to_owned()).or_default();
            assert_eq!(message["content"], *expected, "from {}", message["from"]);
            *expected += 1;
        }
        assert_eq!(next.len(), SENDERS);
    });
    assert_nothing_came(&mut receiver);
    assert_nothing_lost(&server);
}

fn send_numbers(sender: &mut Client, messages: u64) {
    for n in 0..messages {
        sender.send(&json!({ "type": "message", "to": ["receiver"], "content": n }));
    }
    // Only when this is answered has the server read everything.
    assert_nothing_came(sender);
}

fn assert_nothing_lost(server: &Server) {
    let counts = server.handle().counts().unwrap();
    assert_eq!((counts.frames_dropped, counts.commands_dropped), (0, 0));
}
