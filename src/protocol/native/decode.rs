//! What a client says: from text to [`ClientFrame`], with a stack and a memory that no text can stretch.

use crate::protocol::message::{
    Account, ClientFrame, FrameId, InvalidName, MAX_ACCOUNTS_PER_FRAME, Recipients, Room, Secret,
};
use crate::protocol::scan::{ScanError, scan};
use crate::protocol::text::Text;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// So many accounts are compared one by one: mostly there is a single one.
const FEW_ACCOUNTS: usize = 8;
/// How much of a peer's text an error message repeats, in bytes.
const MAX_QUOTE_BYTES: usize = 64;
/// How much of the JSON parser's message is repeated, which may quote the peer, too.
const MAX_PARSER_MESSAGE_BYTES: usize = 128;

/// A client's frame that could not be understood; it is answered by `error` 107 and the connection stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFrame {
    /// The frame's id, when it is legible in spite of what is wrong.
    pub id: Option<FrameId>,
    /// What was wrong, and where.
    pub message: String,
}

/// Reads one frame of a client. Its stack use is bounded whatever the text; `content` stays as the sender wrote it.
///
/// # Errors
/// [`BadFrame`] for everything that section 2 of the protocol answers with `error` 107.
pub(crate) fn decode(text: &str) -> Result<ClientFrame<'_>, BadFrame> {
    parse(text).map_err(|fault| BadFrame { id: id_of(text), message: fault.to_string() })
}

/// The id of a frame that is refused unread: the first `id` of the object, if it is legible. Reads no further than it.
#[must_use]
pub(crate) fn id_of(text: &str) -> Option<FrameId> {
    let mut id = None;
    // An error only says that the rest was not read.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(IdSearch(&mut id));
    id
}

fn parse(text: &str) -> Result<ClientFrame<'_>, Fault<'_>> {
    scan(text).map_err(Fault::Scan)?;
    // A derived struct would also be read from an array.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Fault::Rule("a frame must be a JSON object"));
    }
    let mut fields = Fields::default();
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(&mut fields).and_then(|()| json.end()).map_err(Fault::Json)?;
    fields.into_frame()
}

/// Every field that any client frame has, flat: an enum tagged by `type` would buffer the frame and recurse into it.
///
/// They are filled where they lie. A derived visitor would return them, through frames on the stack each of which has
/// room for all of them, and what a connection that only beats keeps resident is the deepest its stack ever was.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<Text<'a>>,
    id: Option<Text<'a>>,
    to: Option<AccountList>,
    room: Option<Text<'a>>,
    content: Option<&'a RawValue>,
    next_ms: Option<u64>,
    background: Option<bool>,
    accounts: Option<AccountList>,
    watch: Option<bool>,
    token: Option<Text<'a>>,
}

/// What they are called in a frame.
const NAMES: [&str; 10] =
    ["type", "id", "to", "room", "content", "next_ms", "background", "accounts", "watch", "token"];

impl<'a> Visitor<'a> for &mut Fields<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// What is optional may also be null, which clients write for "none"; only in `content` does null mean itself.
    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let mut seen = [false; NAMES.len()];
        while let Some(Text(key)) = map.next_key()? {
            let Some(number) = NAMES.iter().position(|name| *name == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let name = NAMES[number];
            if std::mem::replace(&mut seen[number], true) {
                return Err(Error::duplicate_field(name));
            }
            match name {
                "type" => self.kind = Some(map.next_value()?),
                "id" => fill(&mut self.id, &mut map)?,
                "to" => fill(&mut self.to, &mut map)?,
                "room" => fill(&mut self.room, &mut map)?,
                "content" => self.content = Some(map.next_value()?),
                "next_ms" => fill(&mut self.next_ms, &mut map)?,
                "background" => fill(&mut self.background, &mut map)?,
                "accounts" => fill(&mut self.accounts, &mut map)?,
                "watch" => fill(&mut self.watch, &mut map)?,
                _ => fill(&mut self.token, &mut map)?,
            }
        }
        if self.kind.is_some() { Ok(()) } else { Err(Error::missing_field("type")) }
    }
}

/// Not inlined: what the deserialization of one field needs is not to lie beside that of the others.
#[inline(never)]
fn fill<'a, T: Deserialize<'a>, M: MapAccess<'a>>(field: &mut Option<T>, map: &mut M) -> Result<(), M::Error> {
    *field = map.next_value()?;
    Ok(())
}

impl<'a> Fields<'a> {
    #[inline(never)]
    fn into_frame(self) -> Result<ClientFrame<'a>, Fault<'a>> {
        let id = self.id.map(|Text(id)| FrameId::new(&id)).transpose()?;
        let room = self.room.map(|Text(room)| Room::new(&room)).transpose()?;
        let content = self.content.ok_or(Fault::Rule("`content` is missing"));
        let room_needed = Fault::Rule("`room` is missing");
        let Text(kind) = self.kind.unwrap_or_default();
        match &*kind {
            "heartbeat" if self.next_ms == Some(0) => Err(Fault::Rule("`next_ms` must not be 0")),
            "heartbeat" => {
                let (next, background) = (self.next_ms.map(Duration::from_millis), self.background);
                Ok(ClientFrame::Heartbeat { next, background })
            }
            "message" => Ok(ClientFrame::Message { to: recipients(self.to, room)?, content: content?, id }),
            "broadcast" => Ok(ClientFrame::Broadcast { content: content?, id }),
            "join" => Ok(ClientFrame::Join { room: room.ok_or(room_needed)?, id }),
            "leave" => Ok(ClientFrame::Leave { room: room.ok_or(room_needed)?, id }),
            "presence" => {
                let AccountList(accounts) = self.accounts.ok_or(Fault::Rule("`accounts` is missing"))?;
                Ok(ClientFrame::Presence { accounts, watch: self.watch, id })
            }
            "token" => {
                let Text(token) = self.token.ok_or(Fault::Rule("`token` is missing"))?;
                Ok(ClientFrame::Token { token: Secret(token), id })
            }
            "hello" => Err(Fault::Rule("`hello` is not needed here: this connection has its account")),
            _ => Err(Fault::UnknownType(kind)),
        }
    }
}

fn recipients<'a>(to: Option<AccountList>, room: Option<Room>) -> Result<Recipients, Fault<'a>> {
    match (to, room) {
        (Some(AccountList(to)), None) if to.is_empty() => Err(Fault::Rule("`to` is empty")),
        (Some(AccountList(to)), None) => Ok(Recipients::Accounts(to)),
        (None, Some(room)) => Ok(Recipients::Room(room)),
        (Some(_), Some(_)) => Err(Fault::Rule("`to` and `room` exclude each other")),
        (None, None) => Err(Fault::Rule("`to` or `room` is missing")),
    }
}

/// What is wrong with a client's frame; its `Display` is what the client is told.
pub(super) enum Fault<'a> {
    Scan(ScanError),
    Json(serde_json::Error),
    Name(InvalidName),
    Rule(&'static str),
    UnknownType(Cow<'a, str>),
}

impl From<InvalidName> for Fault<'_> {
    fn from(name: InvalidName) -> Self {
        Self::Name(name)
    }
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scan(error) => error.fmt(f),
            Self::Json(error) => {
                let (text, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
                let what = text.strip_suffix(&place).unwrap_or(&text);
                write!(f, "{}{place}", cut(what, MAX_PARSER_MESSAGE_BYTES))
            }
            Self::Name(error) => error.fmt(f),
            Self::Rule(rule) => f.write_str(rule),
            Self::UnknownType(kind) => write!(f, "unknown type {:?}", cut(kind, MAX_QUOTE_BYTES)),
        }
    }
}

/// The text, or as much of it as fits into this many bytes and an ellipsis.
fn cut(text: &str, max_bytes: usize) -> Cow<'_, str> {
    match text.floor_char_boundary(max_bytes) {
        all if all == text.len() => Cow::Borrowed(text),
        end => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// The accounts of a JSON array, each once, in the order in which they were first named.
struct AccountList(Vec<Account>);

impl<'de> Deserialize<'de> for AccountList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(AccountVisitor)
    }
}

struct AccountVisitor;

impl<'de> Visitor<'de> for AccountVisitor {
    type Value = AccountList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of accounts")
    }

    /// Keeps nothing of a repetition, so that memory is bounded by the distinct accounts and not by the array.
    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<AccountList, A::Error> {
        let (mut accounts, mut seen) = (Vec::<Account>::new(), BTreeSet::new());
        while let Some(Text(name)) = array.next_element()? {
            let is_known = if accounts.len() < FEW_ACCOUNTS {
                accounts.iter().any(|account| account.as_str() == name)
            } else {
                seen.contains(&*name)
            };
            if is_known {
                continue;
            }
            if accounts.len() == MAX_ACCOUNTS_PER_FRAME {
                return Err(Error::custom(format_args!("more than {MAX_ACCOUNTS_PER_FRAME} accounts")));
            }
            accounts.push(Account::new(&name).map_err(Error::custom)?);
            if accounts.len() >= FEW_ACCOUNTS {
                seen.extend(accounts[seen.len()..].iter().cloned());
            }
        }
        Ok(AccountList(accounts))
    }
}

/// Looks for the first `id` of an object and leaves it here, whatever follows it.
struct IdSearch<'a>(&'a mut Option<FrameId>);

impl<'de> Visitor<'de> for IdSearch<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<(), M::Error> {
        while let Some(Text(key)) = fields.next_key()? {
            if key == "id" {
                let Text(id) = fields.next_value()?;
                *self.0 = FrameId::new(&id).ok();
                return Ok(());
            }
            fields.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
