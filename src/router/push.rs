//! What the embedding program sends: a typed JSON message, or a frame of its own protocol.

use crate::protocol::native::{self, InvalidPushType};
use crate::protocol::scan::{self, ScanError};
use crate::protocol::wire::{self, Bytes};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::fmt;

/// A message from the server itself: `{"type": KIND, "content": …}`. Encoded once, cheap to clone and to send again.
#[derive(Clone, Debug)]
pub struct Push {
    frame: Bytes,
}

impl Push {
    /// Encodes a message of the given type. `content` is whatever serde can write as JSON.
    ///
    /// # Errors
    /// [`InvalidPush`] when the type is one of the protocol's own or malformed, or when the content is not JSON that
    /// every client can parse (64 levels deep at most, numbers finite).
    pub fn new(kind: &str, content: &(impl Serialize + ?Sized)) -> Result<Self, InvalidPush> {
        Ok(Self { frame: native::push(kind, &checked_content(content)?)? })
    }

    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }
}

/// Encodes a message's content and checks that every client can parse it.
pub(crate) fn checked_content(content: &(impl Serialize + ?Sized)) -> Result<Box<RawValue>, InvalidPush> {
    let content = to_raw_value(content).map_err(|error| InvalidPush::Content(error.to_string()))?;
    // One level is the message's own.
    scan::scan(&format!("[{}]", content.get()))?;
    Ok(content)
}

/// Why a push cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPush {
    /// The type is reserved or malformed.
    Type(InvalidPushType),
    /// The content cannot be written as JSON that every client can parse.
    Content(String),
}

impl fmt::Display for InvalidPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(error) => write!(f, "type: {error}"),
            Self::Content(error) => write!(f, "content: {error}"),
        }
    }
}

impl std::error::Error for InvalidPush {}

impl From<InvalidPushType> for InvalidPush {
    fn from(error: InvalidPushType) -> Self {
        Self::Type(error)
    }
}

impl From<ScanError> for InvalidPush {
    fn from(error: ScanError) -> Self {
        Self::Content(error.to_string())
    }
}

/// A whole WebSocket message of a protocol of the embedding program's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl Frame<'_> {
    /// Bytes of its payload.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    pub(crate) fn encode(self) -> Bytes {
        match self {
            Self::Text(text) => wire::text_frame(text),
            Self::Binary(bytes) => wire::binary(bytes),
        }
    }
}
