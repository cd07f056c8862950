//! The JSON of the protocol: what a client says, checked, and what the server answers.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use tokio_tungstenite::tungstenite::Utf8Bytes;

const MAX_NAME_BYTES: usize = 128;
const MAX_ID_BYTES: usize = 64;
const MAX_ACCOUNTS: usize = 256;

pub(crate) const INTERVAL_MS: u64 = 25_000;
pub(crate) const TIMEOUT_MS: u64 = 60_000;

/// What a client says.
#[derive(Deserialize)]
pub(crate) struct ClientFrame<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) to: Option<Vec<Name<'a>>>,
    #[serde(borrow)]
    pub(crate) room: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) content: Option<&'a RawValue>,
}

/// In a list a `Cow` would be copied.
#[derive(Deserialize, PartialEq)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl<'a> ClientFrame<'a> {
    /// Reads a frame, whose names keep to the bounds.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) fn read(text: &'a str) -> Result<Self, String> {
        let mut frame: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if frame.id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES || has_control(id)) {
            return Err("an id must be 0 to 64 bytes without control characters".into());
        }
        if let Some(to) = &mut frame.to {
            each_once(to);
            if !(1..=MAX_ACCOUNTS).contains(&to.len()) {
                return Err("`to` must name 1 to 256 accounts".into());
            }
        }
        if frame.to.iter().flatten().map(|Name(name)| name).chain(&frame.room).any(|name| !is_name(name)) {
            return Err("an account or room must be 1 to 128 bytes without control characters".into());
        }
        Ok(frame)
    }
}

fn each_once(names: &mut Vec<Name<'_>>) {
    if names.len() > 1 {
        let mut seen = std::collections::HashSet::new();
        names.retain(|Name(name)| seen.insert(name.clone()));
    }
}

pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !has_control(name)
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// What the server says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ServerFrame<'a> {
    Register {
        content: NoContent,
        connection: &'a str,
        account: &'a str,
        heartbeat: Times,
        reconnect_spread_ms: u64,
        server: &'static str,
    },
    Heartbeat {
        content: NoContent,
        interval_ms: u64,
        timeout_ms: u64,
    },
    Message {
        id: &'a str,
        from: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        time: u64,
        content: &'a RawValue,
    },
    Ack {
        id: &'a str,
        delivered: usize,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        error: ErrorBody<'a>,
    },
}

#[derive(Default, Serialize)]
pub(crate) struct NoContent {
    body: &'static str,
    meta_data: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Times {
    pub(crate) interval_ms: u64,
    pub(crate) timeout_ms: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { interval_ms: INTERVAL_MS, timeout_ms: TIMEOUT_MS }
    }
}

#[derive(Serialize)]
pub(crate) struct ErrorBody<'a> {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: &'a str,
}

impl ServerFrame<'_> {
    /// The text of it, which may be shared by many.
    pub(crate) fn text(&self) -> Utf8Bytes {
        // Neither memory nor these shapes can fail.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}
