//! The `ginchat` dialect beside native clients and raw TCP, with everything that it leaves unsaid.

use crate::lines::{LineClient, serve_lines};
use crate::raw::{self, FIN, PING, Peer, TEXT};
use crate::support::{
    Client, account, address, config, configured, eventually, exchange, serve, serve_with, upgrade_request,
};
use heartwire::config::{Liveness, Rate};
use heartwire::{
    Account, Anonymous, Handler, Identity, Message, Push, Refusal, Request, Room, Server, Target, Verdict,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn room(name: &str) -> Room {
    Room::new(name).unwrap()
}

/// Connects as this account; there is no register frame.
fn connect(server: &Server, id: u64) -> Client {
    Client::open(address(server), &format!("/chat?userId={id}"), "")
}

/// What such a client sends to an account (`Type` 1) or to a group (2).
fn says(kind: u8, target: impl Into<Value>, content: &str) -> Value {
    json!({ "userId": 99, "TargetId": target.into(), "Type": kind, "Media": 1, "Content": content, "CreateTime": 7 })
}

/// What it is sent.
fn hears(kind: u8, from: impl Into<Value>, target: impl Into<Value>, content: &str, time: &Value) -> Value {
    let (from, target) = (from.into(), target.into());
    json!({ "userId": from, "TargetId": target, "Type": kind, "Media": 1, "Content": content, "CreateTime": time })
}

/// Frames that were meant for clients of the dialect and came to nothing.
fn untold(server: &Server) -> u64 {
    server.handle().counts().unwrap().frames_untold
}

/// Everybody is told something after which nothing that was sent before can still come.
fn mark(server: &Server) {
    server.handle().send(Target::All, &Push::new("marker", "marker").unwrap()).unwrap();
}

#[track_caller]
fn expect_marker(client: &mut Client) {
    let next = client.json();
    assert_eq!((&next["userId"], &next["Content"]), (&json!(0), &json!("marker")), "{next}");
}

#[test]
fn private_messages_cross_between_all_forms() {
    let server = serve_lines(config(), Anonymous);
    let (mut one, mut other) = (connect(&server, 1), connect(&server, 4));
    let (mut frames, mut lines) = (Client::connect(&server, "2"), LineClient::connect(&server, "3"));

    one.send(&says(1, 4, "to ginchat"));
    assert_eq!(other.json(), hears(1, 1, 4, "to ginchat", &json!(7)), "from whom, the server says");
    one.send(&says(1, "2", "to native"));
    one.send(&says(1, 3, "to a line"));
    for (got, body) in [(frames.json(), "to native"), (lines.json(), "to a line")] {
        assert_eq!((&got["type"], &got["from"]), (&json!("message"), &json!("1")));
        assert_eq!(got["content"], json!({ "body": body, "meta_data": { "Media": 1, "CreateTime": 7 } }));
    }
    let message = json!({ "type": "message", "to": ["1", "2", "3", "4"], "content": { "body": "hi" } });
    assert_eq!(frames.ask(message.clone())["delivered"], 3);
    let time = lines.json()["time"].clone();
    assert_eq!([one.json(), other.json()], [1, 4].map(|target| hears(1, 2, target, "hi", &time)));
    assert_eq!(lines.ask(message)["delivered"], 3);
    let time = frames.json()["time"].clone();
    assert_eq!([one.json(), other.json()], [1, 4].map(|target| hears(1, 3, target, "hi", &time)));
    assert_eq!(untold(&server), 0);
}

#[test]
fn group_messages_cross_between_all_forms_and_exclude_their_sender() {
    let server = serve_lines(config(), Anonymous);
    let (mut one, mut other, mut outsider) = (connect(&server, 1), connect(&server, 4), connect(&server, 5));
    let (mut frames, mut lines) = (Client::connect(&server, "2"), LineClient::connect(&server, "3"));
    for member in ["1", "4"] {
        assert!(server.handle().join(account(member), room("100")).unwrap());
    }
    let join = json!({ "type": "join", "room": "100" });
    assert_eq!([frames.ask(join.clone())["type"].clone(), lines.ask(join)["type"].clone()], ["ack", "ack"]);

    one.send(&says(2, 100, "from ginchat"));
    assert_eq!(other.json(), hears(2, 1, 100, "from ginchat", &json!(7)));
    for got in [frames.json(), lines.json()] {
        assert_eq!((&got["from"], &got["room"]), (&json!("1"), &json!("100")));
        assert_eq!(got["content"]["body"], "from ginchat");
    }
    let message = json!({ "type": "message", "room": "100", "content": "from native" });
    assert_eq!(frames.ask(message.clone())["delivered"], 3);
    let time = lines.json()["time"].clone();
    assert_eq!([one.json(), other.json()], [(); 2].map(|()| hears(2, 2, 100, "from native", &time)));
    assert_eq!(lines.ask(message)["delivered"], 3);
    let time = frames.json()["time"].clone();
    assert_eq!([one.json(), other.json()], [(); 2].map(|()| hears(2, 3, 100, "from native", &time)));
    mark(&server);
    [&mut one, &mut other, &mut outsider].into_iter().for_each(expect_marker);
}

/// Believes the number of a token `member-N` or `guest-N`; members are in the room 100.
struct Members;

impl Handler for Members {
    fn authenticates(&self) -> bool {
        true
    }

    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        let known = request.token().and_then(|token| token.split_once('-'));
        let (group, name) = known.ok_or_else(|| Refusal::unauthorized("who are you?"))?;
        let mut identity = Identity::new(Account::new(name).map_err(|error| Refusal::bad_request(error.to_string()))?);
        identity.rooms.extend((group == "member").then(|| room("100")));
        Ok(identity)
    }

    fn message(&self, _: &heartwire::Connection, message: &mut Message<'_>) -> Verdict {
        if message.content().contains("forbidden") { Verdict::Consume } else { Verdict::Deliver }
    }
}

#[test]
fn the_embedding_program_says_who_is_in_a_room_and_others_say_nothing_there() {
    let server = serve_with(config(), Members);
    let open = |token: &str| Client::open(address(&server), &format!("/chat?token={token}"), "");
    let (mut member, mut other, mut guest) = (open("member-1"), open("member-2"), open("guest-3"));
    let before = untold(&server);
    guest.send(&says(2, 100, "from outside"));
    guest.send(&says(1, 1, "forbidden"));
    guest.send(&says(1, 1, "permitted"));
    assert_eq!(member.json()["Content"], "permitted", "the others came to nothing");
    eventually("the refusal is counted", || untold(&server) == before + 1);
    member.send(&says(2, 100, "from inside"));
    assert_eq!(other.json()["Content"], "from inside");
    assert!(server.handle().join(account("3"), room("100")).unwrap());
    guest.send(&says(2, "100", "from inside, too"));
    assert_eq!([member.json()["userId"].clone(), other.json()["userId"].clone()], [3, 3]);
    mark(&server);
    [&mut member, &mut other, &mut guest].into_iter().for_each(expect_marker);
}

#[test]
fn the_account_in_the_query_must_be_the_tokens() {
    let server = serve_with(config(), Members);
    let status = |target: &str| exchange(address(&server), upgrade_request(target, ""))[9..12].to_owned();
    assert_eq!(status("/chat?userId=7"), "401");
    assert_eq!(status("/chat?userId=7&token=member-8"), "403");
    assert_eq!(status("/chat?userId=07&token=member-7"), "403");
    let mut refused = Client::open(address(&server), "/chat?userId=7&token=member-8&refuse=close", "");
    assert_eq!(refused.close_frame().0, 4500);
    let mut seven = Client::open(address(&server), "/chat?userId=7&token=member-7", "");
    let mut native = Client::open(address(&server), "/ws?token=guest-8", "");
    assert_eq!(native.json()["type"], "register");
    seven.send(&json!({ "userId": 8, "UserId": 1, "TargetId": 8, "Type": 1, "Content": "ambiguous" }));
    seven.send(&json!({ "userId": 8, "TargetId": 8, "Type": 1, "Content": "from me" }));
    let got = native.json();
    assert_eq!((&got["from"], &got["content"]["body"]), (&json!("7"), &json!("from me")));
    let anonymous = serve(config());
    let response = exchange(address(&anonymous), upgrade_request("/chat?user_id=7", ""));
    assert!(response.starts_with("HTTP/1.1 400 ") && response.contains("userId"), "{response}");
}

#[test]
fn numbers_may_be_strings_and_keys_have_any_case() {
    let server = serve(config());
    let (mut one, mut two) = (connect(&server, 1), connect(&server, 2));
    for frame in [
        r#"{"TargetId":2,"Type":1,"Content":"as it is"}"#,
        r#"{"targetId":"2","type":"1","content":"as it is"}"#,
        r#"{"TARGETID":2,"TYPE":"1","CONTENT":"as it is","media":"1"}"#,
        "\n{ \"userid\" : \"x\", \"\\u0054argetId\" : 2, \"Type\" : 1, \"Content\" : \"as it is\" }\n",
    ] {
        one.send_text(frame);
        let got = two.json();
        assert_eq!((&got["userId"], &got["TargetId"], &got["Type"]), (&json!(1), &json!(2), &json!(1)), "{frame}");
        assert_eq!((&got["Media"], &got["Content"]), (&json!(1), &json!("as it is")), "{frame}");
    }
    one.send_text(r#"{"TargetId":2,"Type":1,"Content":17,"Media":4,"Url":"u","Pic":"p","desc":"d","Amount":2.50}"#);
    let got = two.message().into_text().unwrap();
    assert!(got.contains(r#""Media":4,"Content":"17""#), "{got}");
    assert!(got.contains(r#""Url":"u","Pic":"p","desc":"d","Amount":2.50"#), "{got}");
    one.socket.send(tungstenite::Message::binary(r#"{"TargetId":2,"Type":1}"#)).unwrap();
    assert_eq!(two.json()["Content"], "", "in a binary message, too");
    // An account that is no number is a text.
    let mut alice = Client::connect(&server, "alice");
    alice.ask(json!({ "type": "message", "to": ["1"], "content": [1, 2] }));
    let got = one.json();
    assert_eq!((&got["userId"], &got["Content"]), (&json!("alice"), &json!("[1,2]")));
    one.send(&says(1, "alice", "hello"));
    assert_eq!(alice.json()["from"], "1");
}

#[test]
fn pushes_come_from_the_account_0() {
    let server = serve(config());
    let mut one = connect(&server, 1);
    let handle = server.handle();
    for push in
        [Push::new("notice", "text"), Push::new("notice", &json!({ "body": "text", "meta_data": { "Media": 2 } }))]
    {
        assert_eq!(handle.send(account("1"), &push.unwrap()).unwrap().connections, 1);
        let got = one.json();
        assert_eq!((&got["userId"], &got["TargetId"], &got["Type"]), (&json!(0), &json!(1), &json!(1)));
        assert_eq!((&got["Content"], got.get("CreateTime")), (&json!("text"), None));
    }
    assert_eq!(untold(&server), 0, "that there is no register frame is no loss");
}

#[test]
fn what_cannot_be_understood_or_is_too_much_is_counted_and_not_answered() {
    let server = serve(configured(|config| config.message_rate = Some(Rate { per_second: 1, burst: 20 })));
    let (mut one, mut peer) = (connect(&server, 1), Peer::open(&server, "/chat?userId=2"));
    let before = untold(&server);
    let garbage = [
        "",
        "no json",
        "[]",
        "{}",
        r#"{"Type":4}"#,
        r#"{"Type":1}"#,
        r#"{"type":"heartbeat"}"#,
        r#"{"Type":3,"Type":3}"#,
    ];
    for text in garbage {
        peer.send(raw::frame(FIN | TEXT, text.as_bytes()));
    }
    eventually("each is counted", || untold(&server) == before + garbage.len() as u64);
    peer.send(raw::text(&says(1, 1, "still here")));
    assert_eq!(one.json()["Content"], "still here");
    // One packet is judged at one instant: of those above the rate only the first is told.
    peer.send(raw::text(&json!({ "Type": 3 })).repeat(40));
    eventually("it is counted", || untold(&server) == before + garbage.len() as u64 + 1);
    mark(&server);
    assert_eq!(peer.json()["Content"], "marker", "the first that it hears");
}

#[test]
fn a_heartbeat_is_not_answered_and_keeps_alive_in_the_strict_sense() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let server = serve(configured(|config| {
        config.heartbeat.timeout = Some(TIMEOUT);
        config.heartbeat.liveness = Liveness::Heartbeat;
    }));
    let beats = [
        json!({ "TargetId": -1, "Type": 3, "CreateTime": 7, "userId": 1, "Media": -1, "Content": "心跳" }),
        json!({ "Type": 1, "Media": -1 }),
        json!({ "type": "3" }),
    ];
    std::thread::scope(|scope| {
        let server = &server;
        for beat in &beats {
            scope.spawn(move || {
                let start = Instant::now();
                let mut peer = Peer::open(server, "/chat?userId=1");
                let two_timeouts =
                    std::iter::repeat_with(|| raw::text(beat)).take_while(|_| start.elapsed() < 2 * TIMEOUT);
                let ending = peer.sending(two_timeouts, TIMEOUT / 20, Peer::ending);
                assert!(start.elapsed() > 2 * TIMEOUT, "{beat}");
                assert_eq!((ending.code, ending.messages.len()), (4201, 0), "{beat}");
            });
        }
        scope.spawn(|| {
            let start = Instant::now();
            let mut chatting = Peer::open(server, "/chat?userId=2");
            let chatter = std::iter::repeat_with(|| raw::text(&says(1, 3, "chatter")));
            let ending = chatting.sending(chatter, TIMEOUT / 20, Peer::ending);
            assert!(start.elapsed() >= TIMEOUT);
            assert!(ending.code == 4201 && ending.reason.contains("heard no heartbeat"), "{}", ending.reason);
        });
    });
}

#[test]
fn silence_is_probed_and_then_ends_with_4201() {
    let server = serve(configured(|config| {
        config.heartbeat.interval = Some(Duration::from_millis(100));
        config.heartbeat.timeout = Some(Duration::from_millis(700));
    }));
    let start = Instant::now();
    let mut peer = Peer::open(&server, "/chat?userId=1");
    assert!(matches!(peer.next(), Some((PING, _))));
    let ending = peer.ending();
    assert!(start.elapsed() >= Duration::from_millis(700));
    assert_eq!((ending.code, ending.messages.len()), (4201, 0));
}

#[test]
fn the_path_is_a_setting() {
    let is_there = |server: &Server, path: &str| {
        let target = format!("{path}?userId=1&refuse=http");
        let status = exchange(address(server), upgrade_request(&target, "").replace("Version: 13", "Version: 8"))
            [9..12]
            .to_owned();
        assert!(["404", "426"].contains(&&*status), "{status}");
        status == "426"
    };
    let usual = serve(config());
    assert!(is_there(&usual, "/chat") && is_there(&usual, "/ws") && !is_there(&usual, "/user/sendUserMsg"));
    let other = serve(configured(|config| config.ginchat_path = Some("/user/sendUserMsg".into())));
    assert!(is_there(&other, "/user/sendUserMsg") && !is_there(&other, "/chat"));
    let mut client = Client::open(address(&other), "/user/sendUserMsg?userId=1&token=x", "");
    client.send(&says(1, 1, "to myself"));
    mark(&other);
    expect_marker(&mut client);
    let none = serve(configured(|config| config.ginchat_path = None));
    assert!(is_there(&none, "/ws") && !is_there(&none, "/chat"));
}
