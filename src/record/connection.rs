//! What is known of a connection from its beginning, and does not change.

use crate::protocol::message::{Account, InvalidName, MAX_ID_BYTES, checked};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

/// What is known of a registered connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Its id, which is never used again, not even after a restart.
    pub id: ConnectionId,
    /// Whose it is.
    pub account: Account,
    /// The label that the client gave it, or nothing.
    pub device: Box<str>,
    /// What it speaks.
    pub dialect: Dialect,
    /// The client's address: that of the socket, or the one a trusted proxy named.
    pub address: SocketAddr,
    /// When it was registered.
    pub since: SystemTime,
}

/// The id of a connection: unique among all servers and restarts. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub(crate) Arc<str>);

impl ConnectionId {
    /// The id as text, as it stands in the register frame.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What may be asked for; most such texts are the id of nobody.
impl FromStr for ConnectionId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        checked(text, "a connection's id", 1, MAX_ID_BYTES).map(Self)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a connection's client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// The protocol of `docs/protocol.md`, over WebSocket.
    Native,
    /// That of the chat server ginchat, over WebSocket.
    Ginchat,
    /// The native protocol in lines, over raw TCP.
    Tcp,
    /// The embedding program's own ([`Protocol::Raw`](crate::Protocol::Raw)).
    Raw,
}

impl Dialect {
    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ginchat => "ginchat",
            Self::Tcp => "tcp",
            Self::Raw => "raw",
        }
    }
}
