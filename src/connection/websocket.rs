//! A WebSocket connection's received bytes turned into messages (RFC 6455). Pure, but for the replies it gives by itself.
//!
//! The WebSocket library never sees the socket. It reads what one recv brought, from memory, and asks for more when
//! that is used up, which is when the connection's thread hands over and sleeps again. What it writes by itself (pongs,
//! the reply to a Close) goes the way of everything else that is sent, through [`Replies`].

use super::frames::Frames;
use crate::config::Config;
use crate::outbound::Outbound;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::wire::{self, Bytes};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// How much tungstenite copies at once from what was received; its default of 128 KiB would be spent on every idle
/// connection, and from memory small steps cost nothing.
const READ_BUFFER_BYTES: usize = 128;

/// Where replies go, and whether anybody still wants to know what comes.
pub(crate) trait Replies {
    /// Whether the connection is ending, so that nothing more is to be decoded.
    fn is_ending(&self) -> bool;
    /// Sends a pong. It may fail: a connection that cannot be written to is noticed by its reader.
    fn reply(&self, frame: Bytes);
    /// Sends the reply to the peer's Close.
    fn reply_to_close(&self, reason: CloseReason, frame: Bytes);
}

impl Replies for Arc<Outbound> {
    fn is_ending(&self) -> bool {
        Outbound::is_ending(self)
    }

    fn reply(&self, frame: Bytes) {
        let _ = self.push([frame]);
    }

    fn reply_to_close(&self, reason: CloseReason, frame: Bytes) {
        self.close_with(reason, frame);
    }
}

/// The receiving side of one WebSocket connection.
pub(crate) struct WebSocket {
    context: WebSocketContext,
    frames: Frames,
}

impl WebSocket {
    /// `role` is this side's own: a server's peer must mask its frames, and a client's must not (RFC 6455 §5.1).
    pub(crate) fn new(config: &Config, role: Role, now: Instant) -> Self {
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            // Each automatic reply is written at once, as one whole frame.
            .write_buffer_size(0)
            .max_message_size(Some(config.max_message_bytes))
            .max_frame_size(Some(config.max_message_bytes));
        Self { context: WebSocketContext::new(role, Some(limits)), frames: Frames::new(config, now) }
    }

    /// Since when a message is incomplete.
    pub(crate) fn assembling_since(&self) -> Option<Instant> {
        self.frames.since()
    }

    /// Decodes what was received at `now`, until it is used up or the connection is ending.
    ///
    /// # Errors
    /// Why the server has to end it. Messages before that were passed to `message`.
    pub(crate) fn decode(
        &mut self,
        received: &[u8],
        now: Instant,
        replies: &impl Replies,
        mut message: impl FnMut(Message),
    ) -> Result<(), CloseReason> {
        let (permitted, broken_bound) = self.frames.advance(received, now);
        let mut pipe = Pipe { unread: &received[..permitted], replies, peers_close: None };
        while let Some(decoded) = self.next(&mut pipe)? {
            message(decoded);
        }
        broken_bound.map_or(Ok(()), Err)
    }

    /// The next message; `None` when the bytes are used up or the connection is ending. Not inlined: its frame is large,
    /// and must not lie below that of whoever takes the message.
    #[inline(never)]
    fn next<R: Replies>(&mut self, pipe: &mut Pipe<'_, R>) -> Result<Option<Message>, CloseReason> {
        while !pipe.replies.is_ending() {
            match self.context.read(pipe) {
                Ok(Message::Close(frame)) => {
                    // The reply is on its way out; it is written when the library is asked for the next message.
                    pipe.peers_close = Some(frame.map_or_else(
                        || CloseKind::PeerClosed(1005).into(),
                        |frame| CloseReason::new(CloseKind::PeerClosed(frame.code.into()), frame.reason.to_string()),
                    ));
                }
                Ok(decoded) => return Ok(Some(decoded)),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => break,
                Err(error) => return Err(reason_of(&error)),
            }
        }
        Ok(None)
    }
}

/// What the library takes for its socket: bytes from memory in, whole frames out.
struct Pipe<'a, R> {
    unread: &'a [u8],
    replies: &'a R,
    /// What the peer's Close says, once it was read.
    peers_close: Option<CloseReason>,
}

impl<R> Read for Pipe<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.unread.read(buffer) }
    }
}

impl<R: Replies> Write for Pipe<'_, R> {
    /// Takes one whole frame.
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        let bytes = Bytes::copy_from_slice(frame);
        match self.peers_close.take_if(|_| wire::is_close(frame)) {
            Some(reason) => self.replies.reply_to_close(reason, bytes),
            None => self.replies.reply(bytes),
        }
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The close code for a breach of the protocol (RFC 6455 §7.4.1).
fn reason_of(error: &Error) -> CloseReason {
    let kind = match error {
        Error::Capacity(_) => CloseKind::TooBig,
        Error::Utf8(_) => CloseKind::InvalidUtf8,
        Error::Protocol(_) => CloseKind::ProtocolError,
        _ => CloseKind::Internal,
    };
    let detail = match error {
        // Its text repeats the peer's bytes.
        Error::Utf8(_) => String::new(),
        Error::Capacity(error) => error.to_string(),
        Error::Protocol(error) => error.to_string(),
        error => error.to_string(),
    };
    CloseReason::new(kind, detail)
}
