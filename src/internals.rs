//! The steps of a message on its way, each without the threads around it: what `benches/micro.rs` measures.
//!
//! No promise is made to anybody else; whatever is here may change in any version.

pub use crate::router::Crowd;

use crate::clock;
use crate::config::Config;
use crate::connection::{Replies, WebSocket};
use crate::outbound::Outbound;
use crate::outbound::flusher::Flusher;
use crate::protocol::close::CloseReason;
use crate::protocol::format::{Format, Translator};
use crate::protocol::message::Account;
use crate::protocol::native;
use crate::protocol::wire::Bytes;
use crate::socket::Socket;
use serde_json::value::RawValue;
use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;
use tungstenite::protocol::Role;

/// Decodes the JSON of a native client; says whether it is understood.
#[must_use]
pub fn decode(text: &str) -> bool {
    native::decode(text).is_ok()
}

/// Encodes a message as its recipients get it: a whole WebSocket frame.
#[must_use]
pub fn encode(id: &str, from: &Account, content: &RawValue) -> Bytes {
    native::message(id, from, None, 1_700_000_000_000, content)
}

/// Translates a native frame for clients over raw TCP, as often as there are recipients.
#[must_use]
pub fn translate_to_lines(frame: &Bytes, recipients: usize) -> usize {
    translate(frame, (0..recipients).map(|_| Format::Lines))
}

/// Translates a native frame for clients of the `ginchat` dialect, each of whom it names.
#[must_use]
pub fn translate_to_ginchat(frame: &Bytes, recipients: &[Account]) -> usize {
    translate(frame, recipients.iter().cloned().map(Format::Ginchat))
}

/// Returns the bytes of all translations.
fn translate(frame: &Bytes, formats: impl Iterator<Item = Format>) -> usize {
    let mut translator = Translator::default();
    formats.filter_map(|format| translator.translate(frame, &format)).map(|translated| translated.len()).sum()
}

/// The read side of a connection: the tracker of frame headers, and the WebSocket library behind it.
pub struct ReadSide {
    websocket: WebSocket,
    now: Instant,
}

impl Default for ReadSide {
    fn default() -> Self {
        let now = clock::now();
        Self { websocket: WebSocket::new(&Config::default(), Role::Server, now), now }
    }
}

impl ReadSide {
    /// Decodes masked frames that one recv brought; returns how many messages they made.
    ///
    /// # Errors
    /// A breach of RFC 6455.
    pub fn decode(&mut self, received: &[u8]) -> Result<usize, CloseReason> {
        let mut messages = 0;
        self.websocket.decode(received, self.now, &Nobody, |_| messages += 1)?;
        Ok(messages)
    }
}

/// Who is never answered.
struct Nobody;

impl Replies for Nobody {
    fn is_ending(&self) -> bool {
        false
    }

    fn reply(&self, _: Bytes) {}

    fn reply_to_close(&self, _: CloseReason, _: Bytes) {}
}

/// The write side of a connection over loopback, whose peer reads when it is told to.
pub struct WriteSide {
    outbound: Arc<Outbound>,
    peer: TcpStream,
}

impl WriteSide {
    /// Connects it.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn new() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let peer = TcpStream::connect(listener.local_addr()?)?;
        peer.set_nonblocking(true)?;
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let flusher = Arc::new(Flusher::new((&Config::default()).into())?);
        let socket = Arc::new(Socket::from(socket));
        Ok(Self { outbound: Arc::new(Outbound::new(socket, Format::WebSocket, flusher, Arc::default())), peer })
    }

    /// Sends these frames in one system call, or queues what the kernel does not take.
    ///
    /// # Errors
    /// When more waits than may.
    pub fn push(&self, frames: &[Bytes]) -> Result<(), CloseReason> {
        self.outbound.push(frames.iter().cloned())
    }

    /// Reads what has arrived; returns how many bytes.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn drain(&mut self) -> io::Result<usize> {
        let (mut drained, mut buffer) = (0, [0; 65_536]);
        loop {
            match self.peer.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => drained += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(drained),
                Err(error) => return Err(error),
            }
        }
    }
}
