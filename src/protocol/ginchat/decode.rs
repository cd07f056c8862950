//! What a client says: from text to [`ClientMessage`], with a stack and a memory that no text can stretch.

use super::fields::{Field, Fields};
use crate::protocol::message::{Account, Recipients, Room};
use crate::protocol::scan::scan;
use crate::protocol::text::Text;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One decoded frame of a `ginchat` client.
#[derive(Debug)]
pub(crate) enum ClientMessage {
    /// "I am alive"; never answered.
    Heartbeat,
    /// A message to one account or to a room.
    Message {
        /// To whom: one account, or a room.
        to: Recipients,
        /// What native recipients get: `{"body": Content, "meta_data": {…}}`, the latter with `Media`, `CreateTime`,
        /// `Url`, `Pic`, `Desc` and `Amount`, those that were given, key and value as the sender wrote them.
        content: Box<RawValue>,
    },
}

/// A client's frame that could not be understood; it is counted and dropped, for this dialect has no errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFrame {
    /// What was wrong, and where. It quotes no more of the frame than the key of a known field.
    pub message: String,
}

/// Reads one frame of a client. Its stack use is bounded whatever the text.
///
/// Numbers may also be strings of them. `Type` 3 is a heartbeat, and so is `Media` -1, whatever the other fields hold.
/// The sender that the client names is ignored.
///
/// # Errors
/// [`BadFrame`] when the text is not one JSON object, breaks a rule of [`scan`], gives a field twice in whatever case,
/// or has no `Type` of 1 to 3, and for a message when `TargetId` is neither a whole number from 0 nor a string, names
/// no account or room, or when another field is not what a Go server would have read: a string, number or boolean.
pub(crate) fn decode(text: &str) -> Result<ClientMessage, BadFrame> {
    scan(text)?;
    // The parser would quote whatever else stands there.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(rule("a frame must be a JSON object"));
    }
    let fields: Fields<'_> = serde_json::from_str(text)?;
    let kind = fields.kind.as_ref().and_then(Field::integer);
    let to = match (kind, fields.media.as_ref().and_then(Field::integer)) {
        (Some(3), _) | (_, Some(-1)) => return Ok(ClientMessage::Heartbeat),
        (Some(1), _) => Recipients::Accounts(vec![Account::new(&target(&fields)?)?]),
        (Some(2), _) => Recipients::Room(Room::new(&target(&fields)?)?),
        _ => return Err(rule("`Type` must be 1, 2 or 3")),
    };
    Ok(ClientMessage::Message { to, content: content(&fields)? })
}

/// The name of the account or room: that of a number is its decimal form, which is how JSON writes whole numbers.
fn target<'a>(fields: &Fields<'a>) -> Result<Cow<'a, str>, BadFrame> {
    let json = fields.target_id.as_ref().ok_or_else(|| rule("`TargetId` is missing"))?.json();
    if json.starts_with('"') {
        let Text(name) = serde_json::from_str(json)?;
        Ok(name)
    } else if json.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(Cow::Borrowed(json))
    } else {
        Err(rule("`TargetId` must be a whole number from 0 or a string"))
    }
}

fn content(fields: &Fields<'_>) -> Result<Box<RawValue>, BadFrame> {
    let body = match fields.content.as_ref().map(Field::json) {
        // Pictures and recordings come without.
        None => Cow::Borrowed("\"\""),
        Some(string) if string.starts_with('"') => Cow::Borrowed(string),
        Some(number) if number.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            Cow::Owned(format!("\"{number}\""))
        }
        Some(_) => return Err(rule("`Content` must be a string or a number")),
    };
    let own = [&fields.media, &fields.create_time].into_iter().flatten();
    let meta_data = own.chain(fields.passed_through()).map(plain).collect::<Result<Vec<_>, _>>()?.join(",");
    Ok(RawValue::from_string(format!(r#"{{"body":{body},"meta_data":{{{meta_data}}}}}"#))?)
}

/// The field as a member of `meta_data`. What nests in it would nest deeper there than a native client may.
fn plain(field: &Field<'_>) -> Result<String, BadFrame> {
    if field.json().starts_with(['[', '{']) {
        return Err(rule(&format!("`{}` must not be an array or an object", field.key)));
    }
    Ok(field.to_string())
}

fn rule(message: &str) -> BadFrame {
    BadFrame { message: message.to_owned() }
}

impl<E: std::error::Error> From<E> for BadFrame {
    fn from(error: E) -> Self {
        Self { message: error.to_string() }
    }
}
