//! What clients may say in either dialect, and what becomes of it: whoever receives it can parse it, and knows truly from
//! whom it is.

use super::json::{Members, parsed};
use crate::protocol::ginchat::{self, ClientMessage, Translation};
use crate::protocol::line;
use crate::protocol::message::{
    Account, ClientFrame, ErrorCode, FrameId, MAX_ACCOUNTS_PER_FRAME, Presence, Recipients, Room,
};
use crate::protocol::native;
use crate::protocol::scan::scan;
use crate::protocol::wire::{self, Bytes};
use serde_json::Value;
use serde_json::value::RawValue;

/// The longest complaint about a frame.
const MAX_COMPLAINT_BYTES: usize = 1_000;
/// What a message gets from the server.
const ID: &str = "c-1.1";
const TIME_MS: u64 = 1_700_000_000_000;

/// One frame of a native client, and the first line of one over raw TCP.
pub fn native(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(bad) = native::hello(text) {
        assert_complaint(bad.id.as_ref(), &bad.message);
    }
    let frame = match native::decode(text) {
        Ok(frame) => frame,
        Err(bad) => return assert_complaint(bad.id.as_ref(), &bad.message),
    };
    parsed(text);
    let id = match &frame {
        ClientFrame::Heartbeat { .. } => native::id_of(text),
        ClientFrame::Message { id, .. }
        | ClientFrame::Broadcast { id, .. }
        | ClientFrame::Join { id, .. }
        | ClientFrame::Leave { id, .. }
        | ClientFrame::Presence { id, .. }
        | ClientFrame::Token { id, .. } => id.clone(),
    };
    assert_eq!(native::id_of(text), id, "it would be answered by another id");
    if let Some(id) = &id {
        assert_eq!(parsed(payload(&native::ack(id, 1)))["id"], id.as_str());
    }
    assert_acted_upon(frame);
}

/// What the frame makes the server say to whomever.
fn assert_acted_upon(frame: ClientFrame<'_>) {
    match frame {
        ClientFrame::Message { to: Recipients::Accounts(accounts), content, .. } => {
            assert_distinct(&accounts);
            // Any name that a client can write down may be that of a sender.
            delivered(&accounts[0], None, content);
        }
        ClientFrame::Message { to: Recipients::Room(room), content, .. } => {
            delivered(&account("alice"), Some(&room), content);
        }
        ClientFrame::Broadcast { content, .. } => {
            delivered(&account("7"), None, content);
        }
        ClientFrame::Presence { accounts, id, .. } => {
            assert_distinct(&accounts);
            let online = accounts.iter().cloned().map(|account| Presence { account, online: true, connections: 1 });
            let answer = native::presence(id.as_ref(), &online.collect::<Vec<_>>());
            assert_eq!(parsed(payload(&answer))["accounts"].as_array().map(Vec::len), Some(accounts.len()));
        }
        ClientFrame::Heartbeat { .. }
        | ClientFrame::Join { .. }
        | ClientFrame::Leave { .. }
        | ClientFrame::Token { .. } => {}
    }
}

/// One frame of a `ginchat` client; and the same text as a frame of the server's own that goes to such a client.
pub fn ginchat(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let (Some(translation), Ok(())) = (Translation::parse(text), scan(text)) {
        parsed(payload(&translation.for_recipient(&account("7"))));
    }
    let (to, content) = match ginchat::decode(text) {
        Ok(ClientMessage::Message { to, content }) => (to, content),
        Ok(ClientMessage::Heartbeat) => return,
        Err(bad) => return assert_complaint(None, &bad.message),
    };
    parsed(text);
    let as_native = format!(r#"{{"type":"broadcast","content":{content}}}"#);
    assert!(native::decode(&as_native).is_ok(), "a native client might not say it: {as_native}");
    let (from, room) = match &to {
        Recipients::Accounts(accounts) => (&accounts[0], None),
        Recipients::Room(room) => (&account("8"), Some(room)),
    };
    let seen = delivered(from, room, &content);
    let (sent, seen) = (Members::of(content.get()), Members::of(&seen));
    assert_eq!(seen.value("Content"), sent.value("body"));
    let meta_data = sent.raw("meta_data").map(Members::of).expect("it is always there");
    for (name, value) in &meta_data.0 {
        if ["url", "pic", "desc", "amount"].contains(&&*name.to_ascii_lowercase()) {
            assert_eq!(seen.raw(name), Some(value.get()), "{name}");
        }
    }
}

/// A message with this content as all kinds of clients get it; says how those of the `ginchat` dialect do.
fn delivered(from: &Account, room: Option<&Room>, content: &RawValue) -> String {
    let frame = native::message(ID, from, room, TIME_MS, content);
    let json = payload(&frame);
    let message = Members::of(json);
    let mut names = vec!["type", "id", "from", "room", "time", "content"];
    names.retain(|name| *name != "room" || room.is_some());
    assert_eq!(message.names(), names, "{json}");
    assert_eq!((message.value("id"), message.value("time")), (ID.into(), TIME_MS.into()));
    assert_eq!(message.value("from"), from.as_str());
    assert_eq!(message.value("room").as_str(), room.map(Room::as_str));
    assert_eq!(message.raw("content"), Some(content.get()));
    assert_one_line(json);
    let pushed = native::push("notice", content).expect("a type like any other");
    assert_one_line(payload(&pushed));
    translated(payload(&pushed), "0", None);
    translated(json, from.as_str(), room)
}

/// Over raw TCP it is one line and means the same.
fn assert_one_line(json: &str) {
    let line = line::from_json(json.as_bytes());
    let (end, text) = line.split_last().expect("a line has an end");
    assert_eq!(*end, b'\n');
    assert!(!text.iter().any(|byte| matches!(byte, b'\n' | b'\r')), "a line within a line");
    assert_eq!(parsed(std::str::from_utf8(text).expect("it stays text")), parsed(json));
}

/// The frame as a client of the `ginchat` dialect gets it.
fn translated(json: &str, from: &str, room: Option<&Room>) -> String {
    let translation = Translation::parse(json).expect("this dialect has words for it");
    let mut sent = String::new();
    for recipient in ["7", "b\"ob"] {
        payload(&translation.for_recipient(&account(recipient))).clone_into(&mut sent);
        parsed(&sent);
        let frame = Members::of(&sent);
        let mut names: Vec<_> = frame.names().into_iter().map(str::to_ascii_lowercase).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a field comes twice: {sent}");
        assert!(names_one(&frame.value("userId"), from), "{sent}");
        assert!(names_one(&frame.value("TargetId"), room.map_or(recipient, Room::as_str)), "{sent}");
        assert_eq!(frame.value("Type"), if room.is_some() { 2 } else { 1 });
        assert!(frame.value("Content").is_string(), "{sent}");
        assert!(frame.value("Media").is_number() || frame.value("Media").is_string(), "{sent}");
    }
    sent
}

/// Whether the JSON, a number or a text, is this name.
fn names_one(json: &Value, name: &str) -> bool {
    json.as_str() == Some(name) || json.as_u64().is_some_and(|number| number.to_string() == name)
}

fn assert_distinct(accounts: &[Account]) {
    let distinct: std::collections::HashSet<_> = accounts.iter().collect();
    assert!(distinct.len() == accounts.len() && accounts.len() <= MAX_ACCOUNTS_PER_FRAME);
}

/// It quotes little, nothing that moves a cursor, and the client can read it.
fn assert_complaint(id: Option<&FrameId>, message: &str) {
    assert!(message.len() < MAX_COMPLAINT_BYTES && !message.contains(char::is_control), "{message:?}");
    let error = native::error(id, ErrorCode::BadRequest, message);
    assert_eq!(parsed(payload(&error))["error"]["message"], message);
    assert_one_line(payload(&error));
}

fn payload(frame: &Bytes) -> &str {
    std::str::from_utf8(wire::payload(frame)).expect("a text frame is text")
}

fn account(name: &str) -> Account {
    Account::new(name).expect("a name")
}
