//! Who hears what attackers say, in each of the protocol's forms, and attackers that say it in each.

use crate::lines::LineClient;
use crate::scene::Scene;
use crate::support::{Client, Patience, post};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tungstenite::{Bytes, Message};

/// What a server needs to be heard in each form.
pub const FLAGS: &[&str] = &["--tcp-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

/// The accounts `native`, `lines` and `7`, which speaks ginchat.
pub struct Audience {
    native: Client,
    lines: LineClient,
    ginchat: Client,
    pub lines_at: SocketAddr,
    pub admin: SocketAddr,
}

/// A message or a push that somebody heard.
#[derive(Debug)]
pub struct Heard {
    /// The sender; of a push, empty.
    pub from: String,
}

impl Audience {
    pub fn gather(scene: &mut Scene) -> Self {
        let (address, lines_at, admin) = (scene.address, scene.tcp_address(), scene.admin_address());
        let mut native = Client::open(address, "/ws?user_id=native", "");
        assert_eq!(native.json()["type"], "register");
        let mut lines = LineClient::open(lines_at);
        lines.say_hello("lines");
        let ginchat = Client::open(address, "/chat?userId=7", "");
        Self { native, lines, ginchat, lines_at, admin }
    }

    /// What each of them heard since the last time. Whatever is no message or push of the form that the protocol gives it
    /// is a failure.
    pub fn hear(&mut self) -> [Vec<Heard>; 3] {
        let mark = json!({ "accounts": ["native", "lines", "7"], "message": { "type": "mark", "content": "mark" } });
        assert_eq!(post(self.admin, "/v1/push", &mark)["connections"], 3);
        let native = until_mark(|| self.native.message().into_text().unwrap().to_string(), in_native);
        let lines = until_mark(|| self.lines.line().expect("a line"), in_native);
        let ginchat = until_mark(|| self.ginchat.message().into_text().unwrap().to_string(), in_ginchat);
        [native, lines, ginchat]
    }
}

/// Reads on until the mark, which is told from everything else by `read`'s `None`.
fn until_mark(mut next: impl FnMut() -> String, read: fn(&str) -> Option<Heard>) -> Vec<Heard> {
    let patience = Patience::begin();
    std::iter::from_fn(|| {
        patience.assert("the mark");
        read(&next())
    })
    .collect()
}

/// All that the server writes around a content, which may hold a field twice no more than one of an attacker's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Native<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "id")]
    _id: Option<String>,
    from: Option<String>,
    #[serde(rename = "room")]
    _room: Option<String>,
    time: Option<u64>,
    #[serde(borrow)]
    content: &'a RawValue,
}

fn in_native(text: &str) -> Option<Heard> {
    let frame: Native<'_> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    if let Err(error) = serde_json::from_str::<Value>(frame.content.get()) {
        panic!("{error} in {text}");
    }
    match (&*frame.kind, frame.from, frame.time) {
        ("mark", None, None) => None,
        ("message", Some(from), Some(time)) if time > 0 => Some(Heard { from }),
        ("news", None, None) => Some(Heard { from: String::new() }),
        _ => panic!("{text}"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Ginchat {
    #[serde(rename = "userId")]
    user_id: Value,
    target_id: Value,
    r#type: u8,
    #[serde(rename = "Media")]
    _media: f64,
    content: String,
    #[serde(rename = "CreateTime")]
    _create_time: Option<f64>,
    #[serde(rename = "Url")]
    _url: Option<Value>,
    #[serde(rename = "Pic")]
    _pic: Option<Value>,
    #[serde(rename = "Desc")]
    _desc: Option<Value>,
    #[serde(rename = "Amount")]
    _amount: Option<Value>,
}

fn in_ginchat(text: &str) -> Option<Heard> {
    let frame: Ginchat = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((&frame.target_id, frame.r#type), (&json!(7), 1), "{text}");
    match (frame.user_id, &*frame.content) {
        (Value::Number(server), "mark") if server.as_u64() == Some(0) => None,
        (Value::Number(from), _) if from.as_u64() != Some(0) => Some(Heard { from: from.to_string() }),
        (Value::String(from), _) => Some(Heard { from }),
        _ => panic!("{text}"),
    }
}

/// Says all of this as this account over a WebSocket, and leaves when it is dispatched; what was answered.
pub fn say_frames(address: SocketAddr, account: &str, texts: &[String]) -> Vec<String> {
    let account: String = account.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut client = Client::open(address, &format!("/ws?user_id={account}"), "");
    assert_eq!(client.json()["type"], "register");
    say(client, texts)
}

/// The same in the ginchat dialect.
pub fn say_as_ginchat(address: SocketAddr, account: &str, texts: &[String]) -> Vec<String> {
    say(Client::open(address, &format!("/chat?userId={account}"), ""), texts)
}

fn say(mut client: Client, texts: &[String]) -> Vec<String> {
    texts.iter().for_each(|text| client.send_text(text));
    let (patience, mut answers) = (Patience::begin(), Vec::new());
    // The second ping arrives alone: what came before the first has been handed over by then.
    for _ in 0..2 {
        client.socket.send(Message::Ping(Bytes::new())).unwrap();
        loop {
            patience.assert("a pong");
            match client.socket.read().expect("an answer") {
                Message::Pong(_) => break,
                Message::Text(text) => answers.push(text.to_string()),
                other => panic!("{other:?}"),
            }
        }
    }
    answers
}

/// Says all of this as this account over raw TCP, a line each, and leaves when it is dispatched; what was answered.
pub fn say_lines(address: SocketAddr, account: &str, texts: &[String]) -> Vec<String> {
    let mut client = LineClient::open(address);
    client.say_hello(account);
    texts.iter().for_each(|text| client.write(format!("{text}\n")));
    let mut answers = Vec::new();
    for _ in 0..2 {
        client.write("{\"type\":\"heartbeat\"}\n");
        answers.extend(std::iter::from_fn(|| client.line().filter(|line| !line.contains("timeout_ms"))));
    }
    answers
}
