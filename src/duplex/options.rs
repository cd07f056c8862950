//! How one connection behaves, at either end.

use crate::config::{Config, ConfigError, Heartbeat, Rate};
use crate::outbound::Bounds;
use std::fmt;
use std::time::Duration;

/// How a connection behaves. `Options::default()` suits most programs, at either end.
///
/// `None` in an optional limit turns it off. The `Debug` text leaves out headers and subprotocols, which may hold a token.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// From the call of `connect` or `accept` to the open connection, the lookup of a name and the handshake included;
    /// never extended. Default 10 s.
    pub open_deadline: Duration,
    /// Pings and the deadline that signs of life extend, while somebody is in `recv`. Default: a ping after 25 s of
    /// silence, the end with 4201 after 60 s. `negotiable` means nothing here.
    pub heartbeat: Heartbeat,
    /// From the first byte of a message to its last, while somebody is in `recv`. Default 10 s; beyond it, 4104.
    pub assembly_deadline: Duration,
    /// The largest message from the peer. Default 1 MiB; beyond it, 1009.
    pub max_message_bytes: usize,
    /// How many frames a message may be cut into. Default 1,024; beyond it, 1008.
    pub max_fragments: Option<u32>,
    /// Control frames the peer may send. Default 50 a second, bursts of 1,000, since those that arrive while nobody is
    /// in `recv` are taken at once; beyond it, 4102.
    pub control_rate: Option<Rate>,
    /// Bytes that may wait for the kernel; while there are more, further senders wait for room. Default 1 MiB. A
    /// message may be of any size, so the queue is at most that much longer.
    pub queue_bytes: usize,
    /// How long a message may wait until its last byte is with the kernel. Default 10 s; beyond it, 4101.
    pub write_deadline: Duration,
    /// How long a closing connection waits for its peer to read the Close frame and to leave. Default 2 s.
    pub linger: Duration,
    /// Subprotocols, the preferred first: `connect` offers them, `accept` speaks them. Default none.
    pub subprotocols: Vec<String>,
    /// Further headers of the request, as name and value; `accept` does not use them. Default none.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("open_deadline", &self.open_deadline)
            .field("heartbeat", &self.heartbeat)
            .field("max_message_bytes", &self.max_message_bytes)
            .field("write_deadline", &self.write_deadline)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        let server = Config::default();
        Self {
            open_deadline: Duration::from_secs(10),
            heartbeat: server.heartbeat,
            assembly_deadline: server.assembly_deadline,
            max_message_bytes: 1 << 20,
            max_fragments: server.max_fragments,
            control_rate: Some(Rate { per_second: 50, burst: 1_000 }),
            queue_bytes: server.queue_bytes,
            write_deadline: server.write_deadline,
            linger: server.linger,
            subprotocols: Vec::new(),
            headers: Vec::new(),
        }
    }
}

impl Options {
    /// The same as the decoder and the clocks know them.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let config = Config {
            handshake_deadline: self.open_deadline,
            heartbeat: self.heartbeat.clone(),
            assembly_deadline: self.assembly_deadline,
            max_message_bytes: self.max_message_bytes,
            max_fragments: self.max_fragments,
            control_rate: self.control_rate,
            queue_bytes: self.queue_bytes,
            queue_total_bytes: usize::MAX,
            write_deadline: self.write_deadline,
            linger: self.linger,
            ..Config::default()
        };
        config.validate()?;
        Ok(config)
    }

    /// What ends a connection. Senders wait for room before its queue comes near these; what could reach them is a flood
    /// of pings from a peer that does not read the answers.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            queue_bytes: usize::MAX,
            queue_messages: 4 * MAX_WAITING_FRAMES,
            queue_total_bytes: usize::MAX,
            write_deadline: self.write_deadline,
            linger: self.linger,
        }
    }
}

/// How many frames may wait before a sender waits for room.
pub(super) const MAX_WAITING_FRAMES: usize = 1_024;
