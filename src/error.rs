//! What the *server* could not do. What a peer did wrong is a close reason or a refusal, never an error.

use crate::config::ConfigError;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a server does not start, or no longer runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The configuration contradicts itself.
    Config(ConfigError),
    /// It would listen beyond loopback although nobody has to say who he is.
    OpenToAll(SocketAddr),
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The system grants not even the threads for one connection; the text names the limit.
    NoRoom(String),
    /// The system refused something that a start needs.
    Start(io::Error),
    /// A thread without which there is no server has panicked. If it was the router, every connection was closed with
    /// 1011; otherwise they are told 1001 when the server is dropped.
    Failed(String),
    /// This many threads did not end in time, most likely because a handler is blocked. They were left behind.
    ThreadsLeft(usize),
}

impl Error {
    /// Whether whoever wrote the configuration must change it; otherwise it is the machine's fault or ours.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Config(_) | Self::OpenToAll(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::OpenToAll(address) => write!(
                f,
                "{address} can be reached from other machines, and nobody has to say who he is: \
                 authenticate, listen on loopback, or say allow-anonymous"
            ),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Start(error) => write!(f, "cannot start: {error}"),
            Self::NoRoom(why) | Self::Failed(why) => f.write_str(why),
            Self::ThreadsLeft(count) => write!(f, "{count} threads did not end in time"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Listen(_, error) | Self::Start(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
