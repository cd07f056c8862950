//! The vocabulary of the protocol: accounts, rooms, ids, what a client may say and what the server answers.

use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The longest name of an account, in bytes of UTF-8.
pub(crate) const MAX_ACCOUNT_BYTES: usize = 128;
/// The longest name of a room, in bytes of UTF-8.
pub(crate) const MAX_ROOM_BYTES: usize = 128;
/// The longest id, of a frame or of a connection, in bytes of UTF-8.
pub(crate) const MAX_ID_BYTES: usize = 64;
/// The longest device label, in bytes of UTF-8.
pub(crate) const MAX_DEVICE_BYTES: usize = 64;
/// How many accounts one message or one presence question may name.
pub(crate) const MAX_ACCOUNTS_PER_FRAME: usize = 256;
/// How many rooms one connection may be in by its own `join` frames.
pub(crate) const MAX_ROOMS_PER_CONNECTION: usize = 64;
/// How many rooms a server keeps in all.
pub(crate) const MAX_ROOMS: usize = 10_000;
/// How many accounts one connection may watch.
pub(crate) const MAX_WATCHED_PER_CONNECTION: usize = 1_024;

/// How many connections may watch one account: each of them is told when it comes and goes.
pub(crate) const MAX_WATCHERS_PER_ACCOUNT: usize = 1_024;
/// How many accounts the program may put into rooms, each counted in each of its rooms.
pub(crate) const MAX_MEMBERSHIPS: usize = 1_000_000;
/// How many watches a server keeps in all; more than one address can have by default.
pub(crate) const MAX_WATCHES: usize = 300_000;

/// A name for whoever is connected: 1 to 128 bytes of UTF-8 without control characters. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account(Arc<str>);

/// The name of a room: 1 to 128 bytes of UTF-8 without control characters. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Room(Arc<str>);

/// The id by which a client recognises the answer to one of its frames: at most 64 bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FrameId(Arc<str>);

/// Why a text is not a name; its `Display` says what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    what: &'static str,
    min: usize,
    max: usize,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, min, max } = self;
        write!(f, "{what} must be {min} to {max} bytes of UTF-8 without control characters")
    }
}

impl std::error::Error for InvalidName {}

pub(crate) fn checked(text: &str, what: &'static str, min: usize, max: usize) -> Result<Arc<str>, InvalidName> {
    if (min..=max).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(text.into())
    } else {
        Err(InvalidName { what, min, max })
    }
}

/// Gives a name type its constructor and the traits by which it reads as text.
macro_rules! name {
    ($name:ident, $what:literal, $min:literal, $max:ident) => {
        impl $name {
            /// Checks the text against the bounds of this kind of name.
            ///
            /// # Errors
            /// [`InvalidName`] when it is too short, too long or holds a control character.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                checked(text, $what, $min, $max).map(Self)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(Account, "an account", 1, MAX_ACCOUNT_BYTES);
name!(Room, "a room", 1, MAX_ROOM_BYTES);
name!(FrameId, "an id", 0, MAX_ID_BYTES);

/// A free label for a connection: at most 64 bytes of UTF-8 without control characters.
pub(crate) fn device_label(text: &str) -> Result<String, InvalidName> {
    checked(text, "a device label", 0, MAX_DEVICE_BYTES).map(|label| (*label).to_owned())
}

/// To whom a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// Every connection of these accounts, each account once.
    Accounts(Vec<Account>),
    /// Every other connection in this room.
    Room(Room),
}

/// One decoded frame of a `native` client.
#[derive(Debug)]
pub(crate) enum ClientFrame<'a> {
    /// "I am alive", perhaps with the promise to be heard again within `next`.
    Heartbeat {
        /// The promise, from `next_ms`.
        next: Option<Duration>,
        /// Whether the client's page is hidden, if it says so.
        background: Option<bool>,
    },
    /// A message to accounts or to a room.
    Message {
        /// To whom.
        to: Recipients,
        /// What: any JSON, as the sender wrote it.
        content: &'a RawValue,
        /// Present when the sender wants an `ack`.
        id: Option<FrameId>,
    },
    /// A message to every other connection.
    Broadcast {
        /// What: any JSON, as the sender wrote it.
        content: &'a RawValue,
        /// Present when the sender wants an `ack`.
        id: Option<FrameId>,
    },
    /// This connection enters a room.
    Join {
        /// Which one.
        room: Room,
        /// Present when the sender wants an `ack`.
        id: Option<FrameId>,
    },
    /// This connection leaves a room.
    Leave {
        /// Which one.
        room: Room,
        /// Present when the sender wants an `ack`.
        id: Option<FrameId>,
    },
    /// Who of these is online; with `watch`, changes too.
    Presence {
        /// Whom it asks about, each account once.
        accounts: Vec<Account>,
        /// Starts (true) or ends (false) the watching of these accounts.
        watch: Option<bool>,
        /// Repeated in the answer.
        id: Option<FrameId>,
    },
    /// Renews an expiring authentication.
    Token {
        /// What proves it.
        token: Secret<'a>,
        /// Repeated in the answer.
        id: Option<FrameId>,
    },
}

/// The code of an `error` frame. The numbers are those Centrifugo's clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 100: a failure of the server's own.
    Internal,
    /// 101: not authenticated.
    Unauthorized,
    /// 103: this account may not do that.
    PermissionDenied,
    /// 106: a bound was reached.
    LimitExceeded,
    /// 107: the frame could not be understood.
    BadRequest,
    /// 108: the server cannot do that now, or was not set up to.
    NotAvailable,
    /// 111: faster than the permitted rate.
    TooManyRequests,
}

/// What proves who somebody is. Its `Debug` does not show it.
pub(crate) struct Secret<'a>(pub(crate) Cow<'a, str>);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

impl ErrorCode {
    /// The number in the frame.
    #[must_use]
    pub fn code(self) -> u16 {
        self.row().0
    }

    /// The stable word beside it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (u16, &'static str) {
        match self {
            Self::Internal => (100, "internal"),
            Self::Unauthorized => (101, "unauthorized"),
            Self::PermissionDenied => (103, "permission_denied"),
            Self::LimitExceeded => (106, "limit_exceeded"),
            Self::BadRequest => (107, "bad_request"),
            Self::NotAvailable => (108, "not_available"),
            Self::TooManyRequests => (111, "too_many_requests"),
        }
    }
}

/// Whether an account is online, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Whose presence it is.
    pub account: Account,
    /// Whether it counts as online: it has a connection, or lost its last one less than
    /// [`Config::offline_grace`](crate::Config::offline_grace) ago.
    pub online: bool,
    /// How many registered connections it has: so many a message to it reaches now.
    pub connections: usize,
}

/// The deadlines that hold for one connection, as its server states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatTimes {
    /// After this long without a sign of life the server sends a ping.
    pub interval: Duration,
    /// After this long without a sign of life it closes the connection.
    pub timeout: Duration,
}
