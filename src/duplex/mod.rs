//! A blocking WebSocket whose two ends work at the same time, each in a thread of its own: send while you receive.
//!
//! [`connect`] and [`accept`] give a [`Sender`] and a [`Receiver`]. The sender can be cloned and used from any thread while
//! another one sleeps in `recv`. No lock is held while one of them waits, no socket is duplicated, and there is no
//! thread behind it.
//!
//! ```
//! use heartwire::CloseKind;
//! use heartwire::duplex::{Message, Options, accept, connect};
//! use std::net::TcpListener;
//! use std::thread;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let url = format!("ws://{}/echo", listener.local_addr()?);
//! let echo = thread::spawn(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!     let (sender, mut receiver) = accept(listener.accept()?.0, &Options::default())?;
//!     while let Ok(message) = receiver.recv() {
//!         sender.send(&message)?;
//!     }
//!     Ok(())
//! });
//!
//! let (sender, mut receiver) = connect(&url, &Options::default())?;
//! let reader = thread::spawn(move || {
//!     let mut received = 0;
//!     while let Ok(Message::Text(_)) = receiver.recv() {
//!         received += 1;
//!         if received == 400 {
//!             break;
//!         }
//!     }
//!     received
//! });
//! let writers = [0, 1, 2, 3].map(|n| {
//!     let sender = sender.clone();
//!     thread::spawn(move || (0..100).try_for_each(|i| sender.text(&format!("{i} from writer {n}"))))
//! });
//! for writer in writers {
//!     writer.join().unwrap()?;
//! }
//! assert_eq!(reader.join().unwrap(), 400);
//! # drop(echo);
//! # sender.close(CloseKind::Normal);
//! # Ok(())
//! # }
//! ```
//!
//! # What it does by itself
//!
//! Whoever waits drives: a thread in `recv` answers pings, sends pings of its own, keeps the deadlines of [`Options`] and
//! sends what waits for room in the socket; a thread in `send` sends what waits. So two ends that flood each other both
//! get on, as long as both are read, and a program that only receives still answers.
//!
//! Every wait is bounded or is one for the peer's next message: a peer that does not read ends the connection with 4101, a
//! silent one with 4201, a message that dribbles in with 4104; what breaks RFC 6455 or a limit ends it with the code for
//! that. Each end learns the reason as [`Closed`].
//!
//! What is deliberately absent: TLS (a `wss` address is an error), compression, and a look at `Host` and `Origin`: where
//! web pages may connect, judge them in [`accept_with`].

mod accept;
mod answer;
mod connect;
mod link;
mod options;
mod receiver;
mod sender;

pub use accept::{AcceptError, accept, accept_with};
pub use connect::{ConnectError, Refused, connect};
pub use options::Options;
pub use receiver::Receiver;
pub use sender::Sender;

use crate::protocol::close::{CloseKind, CloseReason};
use std::fmt;

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

/// The connection has ended, or is ending, for this reason. The first reason wins, whichever side had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    reason: CloseReason,
}

impl Closed {
    pub(crate) fn new(reason: CloseReason) -> Self {
        Self { reason }
    }

    /// The reason; with [`CloseKind::PeerClosed`], its detail is what the peer said.
    #[must_use]
    pub fn reason(&self) -> &CloseReason {
        &self.reason
    }

    /// The kind of the reason, for a `match`.
    #[must_use]
    pub fn kind(&self) -> CloseKind {
        self.reason.kind()
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection is closed: {}", self.reason)
    }
}

impl std::error::Error for Closed {}
