//! The writing end, of which there may be many.

use super::link::{Link, frame_of};
use super::{Closed, Message};
use crate::protocol::close::CloseReason;
use crate::protocol::wire;
use std::fmt;
use std::sync::Arc;

/// The writing end of a connection. Clone it for as many threads as you like: messages never mix, those of one thread keep
/// their order, and nobody waits for the thread that is in `recv`. Dropping it, even the last one, ends nothing.
#[derive(Clone)]
pub struct Sender {
    pub(super) link: Arc<Link>,
}

impl Sender {
    /// Sends a message and blocks until all of it is with the kernel; where more than
    /// [`Options::queue_bytes`](super::Options) wait already, first for room. Callable from any thread.
    ///
    /// # Errors
    /// Why the connection has ended, or is ending; the message was not sent, or not all of it. A message that waits
    /// longer than [`Options::write_deadline`](super::Options) ends the connection with 4101.
    pub fn send(&self, message: &Message) -> Result<(), Closed> {
        self.link.send(&frame_of(message))
    }

    /// Sends a text message, see [`Sender::send`].
    ///
    /// # Errors
    /// See [`Sender::send`].
    pub fn text(&self, text: &str) -> Result<(), Closed> {
        self.link.send(&wire::text_frame(text))
    }

    /// Sends a binary message, see [`Sender::send`].
    ///
    /// # Errors
    /// See [`Sender::send`].
    pub fn binary(&self, bytes: &[u8]) -> Result<(), Closed> {
        self.link.send(&wire::binary(bytes))
    }

    /// Sends a ping, see [`Sender::send`], besides those that the receiver sends by itself. Its answer is a sign of life.
    ///
    /// # Errors
    /// See [`Sender::send`].
    pub fn ping(&self) -> Result<(), Closed> {
        self.link.send(&wire::ping(b""))
    }

    /// Ends the connection: sends a Close with this reason behind what other threads are sending; without effect when it
    /// is ending already. Callable from any thread.
    ///
    /// If another thread is in `recv`, this returns when the peer has left too, after [`Options::linger`](super::Options)
    /// at the latest. Otherwise it returns as soon as the Close is with the kernel, and the rest is seen to by the next
    /// [`Receiver::recv`](super::Receiver::recv) or the receiver's drop.
    pub fn close(&self, reason: impl Into<CloseReason>) {
        self.link.close(reason.into());
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
