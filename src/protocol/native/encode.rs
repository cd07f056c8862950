//! What the server says: whole WebSocket text frames, their fields in the order of `docs/protocol.md` section 3.

use crate::protocol::message::{Account, ErrorCode, FrameId, HeartbeatTimes, Presence, Room};
use crate::protocol::wire::{self, Bytes};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

/// The longest `type` that a push may name, in bytes of UTF-8.
pub(crate) const MAX_TYPE_BYTES: usize = 64;

/// The types with a meaning of their own, which a push may not borrow.
const RESERVED_TYPES: [&str; 13] = [
    "register",
    "heartbeat",
    "ping",
    "message",
    "ack",
    "presence",
    "error",
    "close",
    "broadcast",
    "join",
    "leave",
    "hello",
    "token",
];

/// What the fixed parts of a frame take, roughly.
const USUAL_BYTES: usize = 128;

/// The first frame of every connection. `server` in it is `heartwire/` and the version of this crate; the authentication
/// ends `expires_in` later, if it does.
#[must_use]
pub(crate) fn register(
    connection: &str,
    account: &Account,
    times: HeartbeatTimes,
    reconnect_spread: Duration,
    expires_in: Option<Duration>,
) -> Bytes {
    const SERVER: &str = concat!("heartwire/", env!("CARGO_PKG_VERSION"));
    frame(
        2 * USUAL_BYTES,
        &Register {
            content: NoContent::default(),
            connection,
            account: account.as_str(),
            heartbeat: times.into(),
            reconnect_spread_ms: reconnect_spread.as_millis(),
            expires_in_ms: expires_in.map(|time| time.as_millis()),
            server: SERVER,
        },
    )
}

/// The answer to a heartbeat, with the times that now hold.
#[must_use]
pub(crate) fn heartbeat(times: HeartbeatTimes) -> Bytes {
    let Times { interval_ms, timeout_ms } = times.into();
    frame(USUAL_BYTES, &Heartbeat { content: NoContent::default(), interval_ms, timeout_ms })
}

/// A message, with the server's own id for it, its authenticated sender and the time in milliseconds since 1970.
#[must_use]
pub(crate) fn message(
    id: impl fmt::Display,
    from: &Account,
    room: Option<&Room>,
    time_ms: u64,
    content: &RawValue,
) -> Bytes {
    let (from, room) = (from.as_str(), room.map(Room::as_str));
    let expected_bytes = USUAL_BYTES + from.len() + room.map_or(0, str::len) + content.get().len();
    frame(expected_bytes, &Message { id: &id, from, room, time: time_ms, content })
}

/// What became of the frame with this id: to how many connections it was handed.
#[must_use]
pub(crate) fn ack(id: &FrameId, delivered: usize) -> Bytes {
    frame(USUAL_BYTES, &Ack { id: id.as_str(), delivered, expires_in_ms: None })
}

/// The authentication was renewed by the frame with this id, and ends `expires_in` later, if it does.
#[must_use]
pub(crate) fn renewed(id: &FrameId, expires_in: Option<Duration>) -> Bytes {
    let expires_in_ms = expires_in.map(|time| time.as_millis());
    frame(USUAL_BYTES, &Ack { id: id.as_str(), delivered: 0, expires_in_ms })
}

/// Who is online: the answer to the frame with this id, or, without one, news of watched accounts.
#[must_use]
pub(crate) fn presence(id: Option<&FrameId>, accounts: &[Presence]) -> Bytes {
    frame((1 + accounts.len()) * USUAL_BYTES, &PresenceList { id: id.map(FrameId::as_str), accounts })
}

/// Why the frame with this id, or one without an id, came to nothing.
#[must_use]
pub(crate) fn error(id: Option<&FrameId>, code: ErrorCode, message: &str) -> Bytes {
    let error = ErrorBody { code: code.code(), reason: code.reason(), message };
    frame(USUAL_BYTES + message.len(), &Error { id: id.map(FrameId::as_str), error })
}

/// A frame of the embedding program's own type.
///
/// # Errors
/// When `kind` is one of the protocol's own types, or not 1 to 64 bytes without control characters.
pub(crate) fn push(kind: &str, content: &RawValue) -> Result<Bytes, InvalidPushType> {
    if RESERVED_TYPES.contains(&kind) {
        return Err(InvalidPushType::Reserved);
    }
    if !(1..=MAX_TYPE_BYTES).contains(&kind.len()) || kind.chars().any(char::is_control) {
        return Err(InvalidPushType::Malformed);
    }
    Ok(frame(USUAL_BYTES + content.get().len(), &Push { kind, content }))
}

/// Why a push may not have the `type` it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPushType {
    /// It is one of the protocol's own.
    Reserved,
    /// It is empty, too long, or holds a control character.
    Malformed,
}

impl fmt::Display for InvalidPushType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("the type of a push must not be one of the protocol's own"),
            Self::Malformed => {
                write!(f, "the type of a push must be 1 to {MAX_TYPE_BYTES} bytes of UTF-8 without control characters")
            }
        }
    }
}

impl std::error::Error for InvalidPushType {}

/// Writes one of the shapes below; with a good guess the buffer is allocated once and wastes little in a queue.
fn frame(expected_bytes: usize, shape: &impl Serialize) -> Bytes {
    wire::text(expected_bytes, |payload| {
        let written = serde_json::to_writer(payload, shape);
        debug_assert!(written.is_ok(), "neither a Vec nor these shapes can fail");
    })
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "register")]
struct Register<'a> {
    content: NoContent,
    connection: &'a str,
    account: &'a str,
    heartbeat: Times,
    reconnect_spread_ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u128>,
    server: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "heartbeat")]
struct Heartbeat {
    content: NoContent,
    interval_ms: u128,
    timeout_ms: u128,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "message")]
struct Message<'a> {
    #[serde(serialize_with = "as_text")]
    id: &'a dyn fmt::Display,
    from: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    time: u64,
    content: &'a RawValue,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "ack")]
struct Ack<'a> {
    id: &'a str,
    delivered: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u128>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "presence")]
struct PresenceList<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(serialize_with = "as_presences")]
    accounts: &'a [Presence],
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "error")]
struct Error<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct Push<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    content: &'a RawValue,
}

/// The content of frames that have none to speak of, for clients that read it in every frame.
#[derive(Serialize, Default)]
struct NoContent {
    body: &'static str,
    meta_data: &'static str,
}

#[derive(Serialize)]
struct Times {
    interval_ms: u128,
    timeout_ms: u128,
}

impl From<HeartbeatTimes> for Times {
    fn from(times: HeartbeatTimes) -> Self {
        Self { interval_ms: times.interval.as_millis(), timeout_ms: times.timeout.as_millis() }
    }
}

#[derive(Serialize)]
struct PresenceOf<'a> {
    account: &'a str,
    online: bool,
    connections: usize,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: u16,
    reason: &'static str,
    message: &'a str,
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_presences<S: Serializer>(list: &[Presence], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|presence| PresenceOf {
        account: presence.account.as_str(),
        online: presence.online,
        connections: presence.connections,
    }))
}
