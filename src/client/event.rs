//! What a client tells its program: events, and why something came to nothing.

use super::schedule::Advice;
use crate::duplex::{ConnectError, Refused};
use crate::protocol::close::{CloseKind, CloseReason, Reconnect};
use crate::protocol::message::{Account, Presence, Room};
use std::fmt;
use std::time::Duration;

/// Something that happened, in the order in which it happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message from another connection.
    Message(Incoming),
    /// News of watched accounts, and how things stand with them after a reconnect.
    Presence(Vec<Presence>),
    /// A frame of a type that the server's program made up.
    Push {
        /// Its type.
        kind: String,
        /// Its content: JSON, as it came.
        content: String,
    },
    /// The server refused something that nobody waits for any more, or that was sent without waiting.
    Refused {
        /// See [`ErrorCode`](crate::ErrorCode).
        code: u16,
        /// What was wrong.
        message: String,
    },
    /// There is a connection. The rooms and accounts of before are asked for again; messages sent meanwhile were missed.
    Online {
        /// The server's name for the connection.
        connection: String,
    },
    /// There is no connection, and the next attempt follows after this.
    Offline {
        /// Why there is none.
        reason: Outage,
        /// How long until the next attempt.
        next_attempt: Duration,
    },
    /// There will be no connection any more; this is the last event.
    Closed(Outage),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incoming {
    /// The server's name for it.
    pub id: String,
    /// Who sent it, by the server's word.
    pub from: Account,
    /// The room that it was sent to, if it was one.
    pub room: Option<Room>,
    /// When the server received it, in milliseconds since 1970.
    pub time_ms: u64,
    /// The content: JSON, as the sender wrote it.
    pub content: String,
}

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outage {
    /// It ended.
    Ended(CloseReason),
    /// It could not be opened.
    NotOpened(ConnectError),
    /// Who answered does not speak this protocol.
    NotHeartwire,
}

impl Outage {
    /// What to do about it, as the server asks for: by its close code (`docs/protocol.md`, section 5), or by the status of
    /// its refusal.
    pub(super) fn advice(&self, reconnect_spread: Duration) -> Advice {
        let back_off = Advice::BackOff { at_least: Duration::ZERO };
        match self {
            Self::Ended(reason) => match reason.kind().reconnect() {
                Reconnect::AtOnce if reason.code() == CloseKind::GoingAway.code() => {
                    Advice::AtOnce { spread: reconnect_spread }
                }
                Reconnect::AtOnce => Advice::AtOnce { spread: Duration::ZERO },
                Reconnect::BackOff => back_off,
                Reconnect::Never => Advice::Never,
            },
            Self::NotOpened(ConnectError::Refused(Refused {
                status: 408 | 425 | 429 | 500.., retry_after, ..
            })) => Advice::BackOff { at_least: retry_after.unwrap_or_default() },
            Self::NotOpened(ConnectError::Options(_) | ConnectError::Invalid(_) | ConnectError::Refused(_)) => {
                Advice::Never
            }
            // Somebody else may answer in a server's place while it is away.
            Self::NotOpened(_) | Self::NotHeartwire => back_off,
        }
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(reason) => write!(f, "the connection ended: {reason}"),
            Self::NotOpened(error) => error.fmt(f),
            Self::NotHeartwire => f.write_str("the server does not begin with a register frame"),
        }
    }
}

impl std::error::Error for Outage {}

/// Why something that was sent came to nothing, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection: nothing was sent.
    Offline,
    /// The content cannot be written as JSON: nothing was sent.
    Content(String),
    /// The server refused it, and did nothing.
    Refused {
        /// See [`ErrorCode`](crate::ErrorCode).
        code: u16,
        /// What was wrong.
        message: String,
    },
    /// The connection was lost before the server's answer came. It may have been done, or not; nothing is sent twice.
    Lost,
    /// The server did not answer in time. It may have been done, or not, or may be done yet.
    TimedOut,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offline => f.write_str("there is no connection: nothing was sent"),
            Self::Content(what) => write!(f, "the content cannot be written as JSON: {what}"),
            Self::Refused { code, message } => write!(f, "refused with {code}: {message}"),
            Self::Lost => f.write_str("the connection was lost before the answer came: it may have been done, or not"),
            Self::TimedOut => f.write_str("no answer came in time: it may have been done, or not"),
        }
    }
}

impl std::error::Error for SendError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_and_statuses_say_what_to_do() {
        let spread = Duration::from_secs(5);
        let ended = |code| Outage::Ended(CloseKind::PeerClosed(code).into()).advice(spread);
        let back_off = Advice::BackOff { at_least: Duration::ZERO };
        let at_once = Advice::AtOnce { spread: Duration::ZERO };
        for code in [4100, 4101, 4102, 4103, 4104, 1011] {
            assert_eq!(ended(code), back_off, "{code}");
        }
        for code in [4201, 4202, 1006] {
            assert_eq!(ended(code), at_once, "{code}");
        }
        for code in [1000, 1002, 1008, 4500, 4501, 4503, 4505] {
            assert_eq!(ended(code), Advice::Never, "{code}");
        }
        assert_eq!(ended(1001), Advice::AtOnce { spread });
        let refused = |status| {
            let retry_after = Some(Duration::from_secs(7));
            let refused = Refused { status, retry_after, body: String::new() };
            Outage::NotOpened(ConnectError::Refused(refused)).advice(spread)
        };
        for status in [408, 429, 500, 502, 503] {
            assert_eq!(refused(status), Advice::BackOff { at_least: Duration::from_secs(7) }, "{status}");
        }
        for status in [302, 400, 401, 403, 404, 426] {
            assert_eq!(refused(status), Advice::Never, "{status}");
        }
        assert_eq!(Outage::NotOpened(ConnectError::TimedOut("")).advice(spread), back_off);
        assert_eq!(Outage::NotOpened(ConnectError::Invalid(String::new())).advice(spread), Advice::Never);
    }
}
