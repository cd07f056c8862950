//! What the server says: native frames in the words of this dialect.

use super::fields::{Field, Fields};
use crate::protocol::message::Account;
use crate::protocol::text::Text;
use crate::protocol::wire::{self, Bytes};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The sender of what the server itself says: no account in a database has this id.
const SERVER: &str = "0";

/// A native frame in this dialect, ready for any number of recipients.
#[derive(Debug)]
pub(crate) struct Translation(Form);

#[derive(Debug)]
enum Form {
    /// To a room: the same for everybody in it.
    Room(Bytes),
    /// To accounts: what stands before and behind the id of each.
    Private { before: String, behind: String },
}

impl Translation {
    /// Reads a native frame as the server wrote it: the JSON of a `message` or of a push. All others have no form here.
    ///
    /// A member of `meta_data` named like a field of this dialect, in any case, is that field; a `meta_data` that gives
    /// one twice has none. `Media` and `CreateTime` hold where they are numbers or strings of numbers, and are otherwise
    /// 1 and the time of the message; a push has no time, so it may be without `CreateTime`. What has no `body` that is
    /// a string, or has two, is shown as JSON.
    ///
    /// Looks no deeper than that, and nothing that nests is walked recursively: the router's thread calls it.
    pub(crate) fn parse(frame: &str) -> Option<Self> {
        let NativeFrame { kind: Text(kind), _id, from, room, time, content } = serde_json::from_str(frame).ok()?;
        let from = match (kind == "message", from, time) {
            (true, Some(Text(from)), Some(_)) => from,
            (false, None, None) => Cow::Borrowed(SERVER),
            _ => return None,
        };
        let before = format!(r#"{{"userId":{},"TargetId":"#, id(&from));
        Some(Self(match room {
            Some(Text(room)) => Form::Room(joined(&before, &room, &behind_target(2, content, time))),
            None => Form::Private { before, behind: behind_target(1, content, time) },
        }))
    }

    /// The WebSocket text frame for a connection of this account; for a message to a room it is the same for all.
    #[must_use]
    pub(crate) fn for_recipient(&self, account: &Account) -> Bytes {
        match &self.0 {
            Form::Room(frame) => frame.clone(),
            Form::Private { before, behind } => joined(before, account.as_str(), behind),
        }
    }
}

fn joined(before: &str, target: &str, behind: &str) -> Bytes {
    let parts = [before, &id(target), behind];
    wire::text(parts.iter().map(|part| part.len()).sum(), |payload| {
        parts.iter().for_each(|part| payload.extend_from_slice(part.as_bytes()));
    })
}

/// An account or a room as these clients know it: a number if it is the decimal form of one in 64 bits, else a string.
fn id(name: &str) -> String {
    match name.parse::<u64>() {
        Ok(number) if number.to_string() == name => name.to_owned(),
        _ => string(name),
    }
}

/// The text as JSON.
fn string(text: &str) -> String {
    Value::from(text).to_string()
}

/// The rest of the frame, from the field that follows `TargetId`.
fn behind_target(kind: u8, content: &RawValue, time: Option<&RawValue>) -> String {
    let json = content.get();
    let Content { body, meta_data } = if json.starts_with('{') {
        serde_json::from_str(json).unwrap_or_default()
    } else {
        Content { body: Some(content), meta_data: None }
    };
    let body = body.map(RawValue::get).filter(|body| body.starts_with('"'));
    let body = body.map_or_else(|| Cow::Owned(string(json)), Cow::Borrowed);
    let fields: Fields<'_> = meta_data.and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default();
    let media = fields.media.as_ref().and_then(Field::number).unwrap_or("1");
    let time = fields.create_time.as_ref().and_then(Field::number).or(time.map(RawValue::get));
    let mut behind = format!(r#","Type":{kind},"Media":{media},"Content":{body}"#);
    behind.extend(time.map(|ms| format!(r#","CreateTime":{ms}"#)));
    behind.extend(fields.passed_through().map(|field| format!(",{field}")));
    behind.push('}');
    behind
}

/// What `native` writes: these fields in a message, only `type` and `content` in a push, others in all other frames.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NativeFrame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(borrow)]
    from: Option<Text<'a>>,
    #[serde(borrow)]
    room: Option<Text<'a>>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// The parts of a content that this dialect knows.
#[derive(Default, Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    meta_data: Option<&'a RawValue>,
}
