//! The writing end of one socket: what waits for it, the close handshake, and why it ended.
//!
//! It belongs to whoever holds the lock around it, never blocks, and reads no clock. A sender calls [`Writer::push`];
//! whoever empties the queue later calls [`Writer::flush`] when the socket has room or a deadline has come.

use super::queue::{MAX_SLICES, Queue};
use crate::config::Config;
use crate::metrics::RecentRate;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::format::Format;
use crate::protocol::wire::Bytes;
use crate::socket::Socket;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The bounds that hold for every connection of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) queue_bytes: usize,
    pub(crate) queue_messages: usize,
    pub(crate) queue_total_bytes: usize,
    pub(crate) write_deadline: Duration,
    pub(crate) linger: Duration,
}

impl From<&Config> for Bounds {
    fn from(config: &Config) -> Self {
        Self {
            queue_bytes: config.queue_bytes,
            queue_messages: config.queue_messages,
            queue_total_bytes: config.queue_total_bytes,
            write_deadline: config.write_deadline,
            linger: config.linger,
        }
    }
}

/// What becomes of frames that wait behind a Close.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting {
    /// They are dropped and counted.
    Drop,
    /// They are sent first, if that succeeds until then.
    KeepUntil(Instant),
}

/// The writing end of one socket.
pub(crate) struct Writer {
    /// Gone once the reader has finished: it alone decides when the descriptor is closed.
    socket: Option<Arc<Socket>>,
    format: Format,
    queue: Queue,
    phase: Phase,
    reason: Option<CloseReason>,
    /// When whoever empties the queue gives up on a connection that is closing.
    give_up_at: Option<Instant>,
    last_write: Instant,
    sent: Sent,
    frames: RecentRate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    HalfClosed,
    Dead,
}

/// What went out through one connection, and what did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
    pub(crate) queue_high_water_bytes: usize,
}

/// How the writing end of a socket is.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) sent: Sent,
    pub(crate) frames_per_second: f64,
    pub(crate) queued_bytes: usize,
    pub(crate) reason: Option<CloseReason>,
}

/// What has to be done for a connection next.
pub(crate) struct Remaining {
    /// Where to wait for room, when bytes wait.
    pub(crate) blocked: Option<Arc<Socket>>,
    /// When to look again in any case.
    pub(crate) deadline: Option<Instant>,
}

impl Writer {
    pub(crate) fn new(socket: Arc<Socket>, format: Format, now: Instant) -> Self {
        Self {
            socket: Some(socket),
            format,
            queue: Queue::default(),
            phase: Phase::Open,
            reason: None,
            give_up_at: None,
            last_write: now,
            sent: Sent::default(),
            frames: RecentRate::new(now),
        }
    }

    /// Sends whole frames, in order, or queues what the kernel does not take. A queue that grows beyond its bounds ends
    /// the connection; with `overrun`, so does one that grows at all.
    ///
    /// # Errors
    /// The reason for which the connection is closing, perhaps since just now; the frames were dropped and counted.
    pub(crate) fn push(
        &mut self,
        frames: impl IntoIterator<Item = Bytes>,
        overrun: impl FnOnce() -> bool,
        bounds: &Bounds,
        now: Instant,
    ) -> Result<(), CloseReason> {
        if self.phase != Phase::Open {
            self.sent.dropped += frames.into_iter().count() as u64;
            return Err(self.reason.clone().unwrap_or_else(|| CloseKind::PeerGone.into()));
        }
        let nobody_drains = self.queue.is_empty();
        for frame in frames {
            self.queue.push(frame, now);
        }
        if nobody_drains || self.is_beyond(bounds) {
            self.drain(now);
        }
        self.sent.queue_high_water_bytes = self.sent.queue_high_water_bytes.max(self.queue.bytes());
        if self.is_beyond(bounds) || (self.queue.len() > 1 && overrun()) {
            let (bytes, messages) = (self.queue.bytes(), self.queue.len());
            let detail = format!("{bytes} bytes in {messages} messages waited");
            self.close(CloseReason::new(CloseKind::SlowConsumer, detail), Waiting::Drop, bounds, now);
        }
        self.reason.clone().map_or(Ok(()), Err)
    }

    /// Begins the close handshake for a reason of this side's own; without effect when one was chosen before.
    pub(crate) fn close(&mut self, reason: CloseReason, waiting: Waiting, bounds: &Bounds, now: Instant) {
        let frame = self.format.close(&reason);
        self.close_with(reason, frame, waiting, bounds, now);
    }

    /// The same with these last bytes instead of a Close of ours.
    pub(crate) fn close_with(
        &mut self,
        reason: CloseReason,
        last: Bytes,
        waiting: Waiting,
        bounds: &Bounds,
        now: Instant,
    ) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Closing;
        self.reason.get_or_insert(reason);
        match waiting {
            Waiting::Drop => {
                self.sent.dropped += self.queue.drop_unbegun();
                self.give_up_at = Some(now + bounds.linger);
            }
            Waiting::KeepUntil(deadline) => self.give_up_at = Some(deadline),
        }
        self.queue.push(last, now);
        self.drain(now);
        self.half_close_if_done(bounds, now);
    }

    /// Sends what goes and enforces the deadlines. `None` when nothing more is to be done here.
    pub(crate) fn flush(&mut self, bounds: &Bounds, now: Instant) -> Option<Remaining> {
        self.drain(now);
        if self.phase == Phase::Open
            && self.queue.head_since().is_some_and(|since| now >= since + bounds.write_deadline)
        {
            let detail = format!("a message waited for {:?}", bounds.write_deadline);
            self.close(CloseReason::new(CloseKind::SlowConsumer, detail), Waiting::Drop, bounds, now);
        }
        self.half_close_if_done(bounds, now);
        if self.give_up_at.is_some_and(|deadline| now >= deadline) {
            self.die();
        }
        self.remaining(bounds)
    }

    /// Nothing more goes out, and the socket is no longer used from here. Returns the reason that won (`reason` only if
    /// there was none before) and what went out.
    pub(crate) fn finish(&mut self, reason: CloseReason) -> (CloseReason, Sent) {
        let reason = self.reason.get_or_insert(reason).clone();
        self.die();
        self.socket = None;
        (reason, self.sent)
    }

    /// The socket, while its reader has not finished.
    #[cfg(test)]
    #[cfg(not(any(heartwire_model, heartwire_fuzzing)))]
    pub(crate) fn socket(&self) -> Option<Arc<Socket>> {
        self.socket.clone()
    }

    /// Why it is closing, or has closed.
    pub(crate) fn reason(&self) -> Option<&CloseReason> {
        self.reason.as_ref()
    }

    /// What went out so far.
    pub(crate) fn sent(&self) -> Sent {
        self.sent
    }

    /// How it is at `now`.
    pub(crate) fn look(&self, now: Instant) -> Outgoing {
        Outgoing {
            sent: self.sent,
            frames_per_second: self.frames.per_second(now),
            queued_bytes: self.queue.bytes(),
            reason: self.reason.clone(),
        }
    }

    /// Bytes that wait now.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// When bytes were last handed to the kernel.
    pub(crate) fn last_write(&self) -> Instant {
        self.last_write
    }

    /// When to give up on a peer that does not read its Close, once it is closing.
    pub(crate) fn gives_up_at(&self) -> Option<Instant> {
        self.give_up_at
    }

    /// Whether both directions are shut.
    pub(crate) fn is_dead(&self) -> bool {
        self.phase == Phase::Dead
    }

    /// Whether somebody must see to it that it gets on: bytes wait, or a deadline runs.
    pub(crate) fn needs_attention(&self) -> bool {
        !self.queue.is_empty() || matches!(self.phase, Phase::Closing | Phase::HalfClosed)
    }

    /// One message may be of any size; beyond that, bytes and messages are bounded.
    fn is_beyond(&self, bounds: &Bounds) -> bool {
        self.queue.len() > 1 && (self.queue.bytes() > bounds.queue_bytes || self.queue.len() > bounds.queue_messages)
    }

    /// Hands the kernel as much as it takes.
    fn drain(&mut self, now: Instant) {
        let Some(socket) = self.socket.as_deref() else { return };
        while !self.queue.is_empty() {
            let is_one = self.queue.len() == 1;
            match if is_one { send::<1>(socket, &self.queue) } else { send::<MAX_SLICES>(socket, &self.queue) } {
                Ok(written) => {
                    self.sent.bytes += written as u64;
                    let frames = self.queue.advance(written);
                    self.sent.frames += frames;
                    self.frames.add(frames, now);
                    self.last_write = now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // The peer is gone. What it sent before may still wait to be read, so that is not cut off.
                    self.reason.get_or_insert_with(|| CloseKind::PeerGone.into());
                    return self.die();
                }
            }
        }
    }

    /// After the last byte of the Close, the peer is told that nothing follows, and has a moment to say the same: a
    /// socket closed with unread data would send a reset, which overtakes the Close frame.
    fn half_close_if_done(&mut self, bounds: &Bounds, now: Instant) {
        if self.phase == Phase::Closing && self.queue.is_empty() {
            self.phase = Phase::HalfClosed;
            self.give_up_at = self.give_up_at.map(|deadline| deadline.min(now + bounds.linger));
            self.shut(Shutdown::Write);
        }
    }

    fn die(&mut self) {
        if self.phase != Phase::Dead {
            self.phase = Phase::Dead;
            self.sent.dropped += self.queue.clear();
            self.shut(Shutdown::Both);
        }
    }

    fn shut(&self, how: Shutdown) {
        if let Some(socket) = &self.socket {
            // It fails only where the peer has already closed or reset, which the reader sees by itself.
            let _ = socket.shutdown(how);
        }
    }

    fn remaining(&self, bounds: &Bounds) -> Option<Remaining> {
        let blocked = if self.queue.is_empty() { None } else { self.socket.clone() };
        match self.phase {
            Phase::Open if self.queue.is_empty() => None,
            Phase::Open => Some(Remaining {
                blocked,
                deadline: self.queue.head_since().map(|since| since + bounds.write_deadline),
            }),
            Phase::Closing | Phase::HalfClosed => Some(Remaining { blocked, deadline: self.give_up_at }),
            Phase::Dead => None,
        }
    }
}

/// Not inlined: whoever sends one frame, as an answer or a ping, has no room on its stack for the slices of many.
#[inline(never)]
fn send<const SLICES: usize>(socket: &Socket, queue: &Queue) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = queue.fill(&mut slices);
    socket.send(&slices[..filled])
}
