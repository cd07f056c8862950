//! The write side of one connection: everybody who sends to it comes through here, from whichever thread.
//!
//! A sender takes the lock, hands the kernel what it takes without blocking, and leaves the rest in a bounded queue that
//! the flusher empties. Whoever is too slow to read is cut; nobody ever waits for it.
//!
//! ```text
//! open ──▶ closing(reason) ──▶ half-closed ──▶ dead
//!          Close is queued     its last byte    both directions shut: the reader wakes and drops the socket
//!                              has gone
//! ```
//! The first reason wins.

pub(crate) mod flusher;
mod queue;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::wire::{self, Bytes};
use crate::threads::lock;
use flusher::Flusher;
use queue::{MAX_SLICES, Queue};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The bounds that hold for every connection of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    queue_bytes: usize,
    queue_messages: usize,
    queue_total_bytes: usize,
    write_deadline: Duration,
    linger: Duration,
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

/// The write side of one connection.
pub(crate) struct Outbound {
    state: Mutex<State>,
    /// Set as soon as a reason is chosen that is not the peer's own disappearance, or would have been chosen but for
    /// that: what is read after that is discarded.
    ending: AtomicBool,
    flusher: Arc<Flusher>,
    metrics: Arc<Metrics>,
}

struct State {
    /// Gone once the reader has finished: it alone decides when the descriptor is closed.
    socket: Option<Arc<TcpStream>>,
    queue: Queue,
    phase: Phase,
    reason: Option<CloseReason>,
    /// When the flusher gives up on a connection that is closing.
    give_up_at: Option<Instant>,
    /// Whether the flusher has it on its list.
    listed: bool,
    last_write: Instant,
    sent: Sent,
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

/// What the flusher has to do for a connection next.
pub(super) struct Remaining {
    /// Where to wait for room, when bytes wait.
    pub(super) blocked: Option<Arc<TcpStream>>,
    /// When to look again in any case.
    pub(super) deadline: Option<Instant>,
}

impl Outbound {
    pub(crate) fn new(socket: Arc<TcpStream>, flusher: Arc<Flusher>, metrics: Arc<Metrics>, now: Instant) -> Self {
        let state = State {
            socket: Some(socket),
            queue: Queue::default(),
            phase: Phase::Open,
            reason: None,
            give_up_at: None,
            listed: false,
            last_write: now,
            sent: Sent::default(),
        };
        Self { state: Mutex::new(state), ending: AtomicBool::new(false), flusher, metrics }
    }

    /// Sends whole frames, in order, or queues what the kernel does not take. Never blocks; callable from any thread.
    ///
    /// # Errors
    /// The reason for which the connection is closing, perhaps since just now; the frames were dropped and counted.
    pub(crate) fn push(self: &Arc<Self>, frames: impl IntoIterator<Item = Bytes>) -> Result<(), CloseReason> {
        let bounds = self.flusher.bounds();
        self.change(|state, now| {
            if state.phase != Phase::Open {
                state.sent.dropped += frames.into_iter().count() as u64;
                return Err(state.reason.clone().unwrap_or_else(|| CloseKind::PeerGone.into()));
            }
            let nobody_drains = state.queue.is_empty();
            for frame in frames {
                state.queue.push(frame, now);
            }
            if nobody_drains || state.is_beyond(bounds) {
                state.drain(now);
            }
            state.sent.queue_high_water_bytes = state.sent.queue_high_water_bytes.max(state.queue.bytes());
            if state.is_beyond(bounds) || (state.queue.len() > 1 && self.flusher.is_overrun()) {
                let (bytes, messages) = (state.queue.bytes(), state.queue.len());
                let detail = format!("{bytes} bytes in {messages} messages waited");
                state.close(CloseReason::new(CloseKind::SlowConsumer, detail), Waiting::Drop, bounds, now);
            }
            state.reason.clone().map_or(Ok(()), Err)
        })
    }

    /// Begins the close handshake for a reason of the server's; without effect when one was chosen before.
    pub(crate) fn close(self: &Arc<Self>, reason: CloseReason, waiting: Waiting) {
        self.change(|state, now| state.close(reason, waiting, self.flusher.bounds(), now));
        // Also where the peer had gone before: a reader for whom a deadline has passed must not come upon it again.
        self.ending.store(true, Ordering::Release);
    }

    /// Ends the connection with these last bytes instead of a Close of ours: the reply to the peer's Close, or a response
    /// that lets nobody in. Without effect when a reason was chosen before.
    pub(crate) fn close_with(self: &Arc<Self>, reason: CloseReason, last: Bytes) {
        self.change(|state, now| state.close_with(reason, last, Waiting::Drop, self.flusher.bounds(), now));
        self.ending.store(true, Ordering::Release);
    }

    /// Whether the connection is ending, so that nothing more is to be dispatched. Does not take the lock.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Whether both directions are shut, so that the reader has nothing to wait for.
    pub(crate) fn is_dead(&self) -> bool {
        lock(&self.state).phase == Phase::Dead
    }

    /// When the flusher gives up on it, once it is closing.
    pub(crate) fn gives_up_at(&self) -> Option<Instant> {
        lock(&self.state).give_up_at
    }

    /// When bytes were last handed to the kernel.
    pub(crate) fn last_write(&self) -> Instant {
        lock(&self.state).last_write
    }

    /// Bytes that wait now.
    pub(crate) fn queued_bytes(&self) -> usize {
        lock(&self.state).queue.bytes()
    }

    /// The reader has left: nothing more goes out, and the socket is no longer used from here. Returns the reason that
    /// won (`reason` only if there was none before) and what went out.
    pub(crate) fn finish(self: &Arc<Self>, reason: CloseReason) -> (CloseReason, Sent) {
        self.change(|state, _| {
            let reason = state.reason.get_or_insert(reason).clone();
            state.die();
            state.socket = None;
            (reason, state.sent)
        })
    }

    /// The flusher's turn: sends what goes, enforces the deadlines. `None` when it has nothing more to do here.
    fn flush(self: &Arc<Self>, now: Instant) -> Option<Remaining> {
        let bounds = self.flusher.bounds();
        self.change(|state, _| {
            state.drain(now);
            if state.phase == Phase::Open
                && state.queue.head_since().is_some_and(|since| now >= since + bounds.write_deadline)
            {
                let detail = format!("a message waited for {:?}", bounds.write_deadline);
                state.close(CloseReason::new(CloseKind::SlowConsumer, detail), Waiting::Drop, bounds, now);
            }
            state.half_close_if_done(bounds, now);
            if state.give_up_at.is_some_and(|deadline| now >= deadline) {
                state.die();
            }
            let remaining = state.remaining(bounds);
            state.listed = remaining.is_some();
            remaining
        })
    }

    /// Runs `change` under the lock and does what must follow every change: the count of queued bytes, the counters,
    /// the flusher's list.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = lock(&self.state);
        let (queued, sent, give_up_at) = (state.queue.bytes(), state.sent, state.give_up_at);
        let result = change(&mut state, Instant::now());
        self.flusher.account(queued, state.queue.bytes());
        self.metrics.frames_sent.add(state.sent.frames - sent.frames);
        self.metrics.frames_dropped.add(state.sent.dropped - sent.dropped);
        if state.reason.as_ref().is_some_and(|reason| reason.kind() != CloseKind::PeerGone) {
            self.ending.store(true, Ordering::Release);
        }
        if !state.listed && (!state.queue.is_empty() || matches!(state.phase, Phase::Closing | Phase::HalfClosed)) {
            state.listed = true;
            self.flusher.watch(Arc::clone(self));
        } else if state.give_up_at != give_up_at {
            // The flusher may sleep until a write deadline much further away.
            self.flusher.wake();
        }
        result
    }
}

impl State {
    /// One message may be of any size; beyond that, bytes and messages are bounded.
    fn is_beyond(&self, bounds: &Bounds) -> bool {
        self.queue.len() > 1 && (self.queue.bytes() > bounds.queue_bytes || self.queue.len() > bounds.queue_messages)
    }

    /// Hands the kernel as much as it takes.
    fn drain(&mut self, now: Instant) {
        let Some(socket) = self.socket.as_deref() else { return };
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = self.queue.fill(&mut slices);
            match send(socket, &slices[..filled]) {
                Ok(written) => {
                    self.sent.bytes += written as u64;
                    self.sent.frames += self.queue.advance(written);
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

    fn close(&mut self, reason: CloseReason, waiting: Waiting, bounds: &Bounds, now: Instant) {
        let frame = wire::close(&reason);
        self.close_with(reason, frame, waiting, bounds, now);
    }

    fn close_with(&mut self, reason: CloseReason, frame: Bytes, waiting: Waiting, bounds: &Bounds, now: Instant) {
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
        self.queue.push(frame, now);
        self.drain(now);
        self.half_close_if_done(bounds, now);
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

/// One system call that neither blocks nor raises a signal.
fn send(socket: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
}

#[cfg(test)]
mod tests;
