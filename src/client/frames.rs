//! The client's side of the native protocol: what it says, and what it is told (`docs/protocol.md`, sections 2 and 3).

use crate::protocol::message::{Account, Presence, Room};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::Duration;

/// What a client says.
#[derive(Default, Serialize)]
pub(super) struct Said<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watch: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a RawValue>,
}

impl<'a> Said<'a> {
    pub(super) fn to_accounts(to: &'a [Account], content: &'a RawValue) -> Self {
        let to = Some(to.iter().map(Account::as_str).collect());
        Self { kind: "message", to, content: Some(content), ..Self::default() }
    }

    pub(super) fn to_room(room: &'a Room, content: &'a RawValue) -> Self {
        Self { kind: "message", room: Some(room.as_str()), content: Some(content), ..Self::default() }
    }

    pub(super) fn join(room: &'a Room) -> Self {
        Self { kind: "join", room: Some(room.as_str()), ..Self::default() }
    }

    pub(super) fn leave(room: &'a Room) -> Self {
        Self { kind: "leave", room: Some(room.as_str()), ..Self::default() }
    }

    pub(super) fn presence(accounts: &'a [Account], watch: Option<bool>) -> Self {
        let accounts = Some(accounts.iter().map(Account::as_str).collect());
        Self { kind: "presence", accounts, watch, ..Self::default() }
    }

    pub(super) fn token(token: &'a str) -> Self {
        Self { kind: "token", token: Some(token), ..Self::default() }
    }

    pub(super) fn heartbeat(next: Duration) -> Self {
        let next_ms = u64::try_from(next.as_millis()).unwrap_or(u64::MAX);
        Self { kind: "heartbeat", next_ms: Some(next_ms), ..Self::default() }
    }

    /// The frame's text, with an id for its answer.
    pub(super) fn text(self, id: Option<&'a str>) -> String {
        let written = serde_json::to_string(&Said { id, ..self });
        debug_assert!(written.is_ok(), "neither a String nor this shape can fail");
        written.unwrap_or_default()
    }
}

/// What a client is told.
#[derive(Debug)]
pub(super) enum Told<'a> {
    Register { connection: String, reconnect_spread: Duration },
    Heartbeat,
    Ack { id: String, delivered: u64 },
    Presence { id: Option<String>, accounts: Vec<Presence> },
    Error { id: Option<String>, code: u16, message: String },
    Message { id: String, from: Account, room: Option<Room>, time_ms: u64, content: &'a RawValue },
    Push { kind: String, content: &'a RawValue },
}

/// Reads one frame of the server; `None` where it makes no sense to this version.
pub(super) fn read(text: &str) -> Option<Told<'_>> {
    let fields: Fields<'_> = serde_json::from_str(text).ok()?;
    let id = fields.id.map(Cow::into_owned);
    let account = |name: Option<Cow<'_, str>>| Account::new(&name?).ok();
    Some(match &*fields.kind {
        "register" => Told::Register {
            connection: fields.connection?.into_owned(),
            reconnect_spread: Duration::from_millis(fields.reconnect_spread_ms?),
        },
        "heartbeat" => Told::Heartbeat,
        "ack" => Told::Ack { id: id?, delivered: fields.delivered? },
        "presence" => {
            let known = |entry: Entry<'_>| {
                let account = Account::new(&entry.account).ok()?;
                Some(Presence { account, online: entry.online, connections: entry.connections })
            };
            Told::Presence { id, accounts: fields.accounts?.into_iter().filter_map(known).collect() }
        }
        "error" => {
            let ErrorBody { code, message } = fields.error?;
            Told::Error { id, code, message: message.into_owned() }
        }
        "message" => Told::Message {
            id: id?,
            from: account(fields.from)?,
            room: fields.room.map(|room| Room::new(&room)).transpose().ok()?,
            time_ms: fields.time?,
            content: fields.content?,
        },
        kind => Told::Push { kind: kind.to_owned(), content: fields.content? },
    })
}

/// Every field that any server frame has, flat.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    connection: Option<Cow<'a, str>>,
    reconnect_spread_ms: Option<u64>,
    delivered: Option<u64>,
    #[serde(borrow)]
    accounts: Option<Vec<Entry<'a>>>,
    #[serde(borrow)]
    error: Option<ErrorBody<'a>>,
    #[serde(borrow)]
    from: Option<Cow<'a, str>>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    time: Option<u64>,
    /// Present even where it is null, for which an `Option` alone would be none.
    #[serde(default, borrow, deserialize_with = "present")]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    account: Cow<'a, str>,
    online: bool,
    connections: usize,
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    code: u16,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::{ClientFrame, ErrorCode, FrameId, HeartbeatTimes};
    use crate::protocol::{native, wire};

    fn account(name: &str) -> Account {
        Account::new(name).unwrap()
    }

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    fn told(frame: &[u8]) -> String {
        format!("{:?}", read(std::str::from_utf8(wire::payload(frame)).unwrap()))
    }

    #[test]
    fn the_servers_decoder_reads_what_a_client_says() {
        let (to, room, content) = ([account("a"), account("\"b\\")], Room::new("r").unwrap(), raw("[1.50, null]"));
        let said = [
            Said::to_accounts(&to, &content),
            Said::to_room(&room, &content),
            Said::join(&room),
            Said::leave(&room),
            Said::presence(&to, Some(true)),
            Said::heartbeat(Duration::from_secs(30)),
        ];
        let texts = said.map(|said| said.text(Some("7")));
        let read: Vec<_> = texts.iter().map(|text| native::decode(text).unwrap()).collect();
        let expected = [
            r#"Message { to: Accounts(["a", "\"b\\"]), content: RawValue([1.50, null]), id: Some("7") }"#,
            r#"Message { to: Room("r"), content: RawValue([1.50, null]), id: Some("7") }"#,
            r#"Join { room: "r", id: Some("7") }"#,
            r#"Leave { room: "r", id: Some("7") }"#,
            r#"Presence { accounts: ["a", "\"b\\"], watch: Some(true), id: Some("7") }"#,
            "Heartbeat { next: Some(30s), background: None }",
        ];
        for (read, expected) in read.iter().zip(expected) {
            assert_eq!(format!("{read:?}"), expected);
        }
        let text = Said::to_room(&room, &content).text(None);
        assert!(matches!(native::decode(&text), Ok(ClientFrame::Message { id: None, .. })), "{text}");
    }

    #[test]
    fn a_client_reads_what_the_servers_encoder_says() {
        let (id, times) =
            (FrameId::new("7").unwrap(), HeartbeatTimes { interval: Duration::ZERO, timeout: Duration::ZERO });
        let presence = [Presence { account: account("a"), online: true, connections: 2 }];
        let null = raw("null");
        for (frame, expected) in [
            (
                native::register("c-1", &account("a"), times, Duration::from_secs(5), None),
                r#"Register { connection: "c-1", reconnect_spread: 5s }"#,
            ),
            (native::heartbeat(times), "Heartbeat"),
            (native::ack(&id, 2), r#"Ack { id: "7", delivered: 2 }"#),
            (
                native::presence(Some(&id), &presence),
                r#"Presence { id: Some("7"), accounts: [Presence { account: "a", online: true, connections: 2 }] }"#,
            ),
            (
                native::error(None, ErrorCode::BadRequest, "a \"b\""),
                r#"Error { id: None, code: 107, message: "a \"b\"" }"#,
            ),
            (
                native::message("c-1.1", &account("a"), None, 12, &null),
                r#"Message { id: "c-1.1", from: "a", room: None, time_ms: 12, content: RawValue(null) }"#,
            ),
            (native::push("notice", &null).unwrap(), r#"Push { kind: "notice", content: RawValue(null) }"#),
        ] {
            assert_eq!(told(&frame), format!("Some({expected})"));
        }
        for text in ["", "[]", "{}", r#"{"type":"ack"}"#, r#"{"type":"notice"}"#] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
