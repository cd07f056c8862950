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

mod fifo;
pub(crate) mod flusher;
mod queue;
mod writer;

pub(crate) use fifo::Fifo;
pub(crate) use writer::{Bounds, Outgoing, Remaining, Sent, Waiting, Writer};

use crate::clock;
use crate::metrics::Metrics;
use crate::printable::Printable;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::format::{Format, Translator};
use crate::protocol::wire::{self, Bytes};
use crate::socket::Socket;
use crate::threads::lock;
use crate::threads::sync::Mutex;
use crate::threads::sync::atomic::{AtomicBool, Ordering};
use flusher::Flusher;
use std::sync::Arc;
use std::time::Instant;

/// The write side of one connection.
pub(crate) struct Outbound {
    state: Mutex<State>,
    /// Set as soon as a reason is chosen that is not the peer's own disappearance, or would have been chosen but for
    /// that: what is read after that is discarded.
    ending: AtomicBool,
    format: Format,
    flusher: Arc<Flusher>,
    metrics: Arc<Metrics>,
}

struct State {
    writer: Writer,
    /// Whether the flusher has it on its list.
    listed: bool,
}

impl Outbound {
    pub(crate) fn new(socket: Arc<Socket>, format: Format, flusher: Arc<Flusher>, metrics: Arc<Metrics>) -> Self {
        let writer = Writer::new(socket, format.clone(), clock::now());
        let state = State { writer, listed: false };
        Self { state: Mutex::new(state), ending: AtomicBool::new(false), format, flusher, metrics }
    }

    /// Sends whole frames, in order, or queues what the kernel does not take. Never blocks; callable from any thread.
    ///
    /// # Errors
    /// The reason for which the connection is closing, perhaps since just now; the frames were dropped and counted.
    pub(crate) fn push(self: &Arc<Self>, frames: impl IntoIterator<Item = Bytes>) -> Result<(), CloseReason> {
        let overrun = || self.flusher.is_overrun();
        self.change(|writer, now| {
            let pushed = writer.push(frames, overrun, self.flusher.bounds(), now);
            if pushed.is_ok() && writer.queued_bytes() > 0 {
                self.metrics.outbound_queue.observe(writer.queued_bytes());
            }
            pushed
        })
    }

    /// Sends a native frame, or one of the embedding program's own, in the format of this connection. Never blocks.
    ///
    /// # Errors
    /// See [`Outbound::push`].
    pub(crate) fn tell(self: &Arc<Self>, frame: &Bytes) -> Result<(), CloseReason> {
        self.push(self.translate(frame, &mut Translator::default()))
    }

    /// The frame in the format of this connection; `None`, counted, where its dialect has no word for it.
    pub(crate) fn translate(&self, frame: &Bytes, translator: &mut Translator) -> Option<Bytes> {
        let translated = translator.translate(frame, &self.format);
        if translated.is_none() {
            self.metrics.frames_untold.add(1);
            if let Some(others) = self.metrics.untold_log.open(clock::now()) {
                let (who, text) = (self.format.to_string(), String::from_utf8_lossy(wire::payload(frame)));
                let (who, text) = (Printable(&who), Printable(&text));
                log::info!("{who} has no word for {text}, and was not told; {others} others");
            }
        }
        translated
    }

    /// How what is sent to this connection looks on its wire.
    pub(crate) fn format(&self) -> &Format {
        &self.format
    }

    /// Begins the close handshake for a reason of the server's; without effect when one was chosen before.
    pub(crate) fn close(self: &Arc<Self>, reason: CloseReason, waiting: Waiting) {
        self.change(|writer, now| writer.close(reason, waiting, self.flusher.bounds(), now));
        // Also where the peer had gone before: a reader for whom a deadline has passed must not come upon it again.
        self.ending.store(true, Ordering::Release);
    }

    /// Ends the connection with these last bytes instead of a Close of ours: the reply to the peer's Close, or a response
    /// that lets nobody in. Without effect when a reason was chosen before. Only the reader's thread calls it, which
    /// then waits for its peer: what the kernel took at once concerns the flusher no more.
    pub(crate) fn close_with(self: &Arc<Self>, reason: CloseReason, last: Bytes) {
        let close = |writer: &mut Writer, now| {
            writer.close_with(reason, last, Waiting::Drop, self.flusher.bounds(), now);
        };
        let mut state = lock(&self.state);
        self.account(&mut state, close);
        if !state.listed && state.writer.queued_bytes() > 0 {
            state.listed = true;
            self.flusher.watch(Arc::clone(self));
        }
        drop(state);
        self.ending.store(true, Ordering::Release);
    }

    /// Whether the connection is ending, so that nothing more is to be dispatched. Does not take the lock.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Whether both directions are shut, so that the reader has nothing to wait for.
    pub(crate) fn is_dead(&self) -> bool {
        lock(&self.state).writer.is_dead()
    }

    /// Until when its peer has time, once it is closing.
    pub(crate) fn gives_up_at(&self) -> Option<Instant> {
        lock(&self.state).writer.gives_up_at()
    }

    /// When bytes were last handed to the kernel.
    pub(crate) fn last_write(&self) -> Instant {
        lock(&self.state).writer.last_write()
    }

    /// Bytes that wait now.
    pub(crate) fn queued_bytes(&self) -> usize {
        lock(&self.state).writer.queued_bytes()
    }

    /// How it is now, for whoever watches.
    pub(crate) fn look(&self, now: Instant) -> Outgoing {
        lock(&self.state).writer.look(now)
    }

    /// The reader has left: nothing more goes out, and the socket is no longer used from here. Returns the reason that
    /// won (`reason` only if there was none before) and what went out.
    pub(crate) fn finish(self: &Arc<Self>, reason: CloseReason) -> (CloseReason, Sent) {
        self.change(|writer, _| writer.finish(reason))
    }

    /// The flusher's turn: sends what goes, enforces the deadlines. `None` when it has nothing more to do here.
    fn flush(self: &Arc<Self>, now: Instant) -> Option<Remaining> {
        let bounds = self.flusher.bounds();
        let mut state = lock(&self.state);
        let remaining = self.account(&mut state, |writer, _| writer.flush(bounds, now));
        state.listed = remaining.is_some();
        remaining
    }

    /// Runs `change` under the lock and sees to it that the flusher knows of what follows from it.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Writer, Instant) -> T) -> T {
        let mut state = lock(&self.state);
        let give_up_at = state.writer.gives_up_at();
        let result = self.account(&mut state, change);
        if !state.listed && state.writer.needs_attention() {
            state.listed = true;
            self.flusher.watch(Arc::clone(self));
        } else if state.writer.gives_up_at() != give_up_at {
            // The flusher may sleep until a write deadline much further away.
            self.flusher.wake();
        }
        result
    }

    /// Runs `change` and keeps the counts: of queued bytes, of frames.
    fn account<T>(&self, state: &mut State, change: impl FnOnce(&mut Writer, Instant) -> T) -> T {
        let writer = &mut state.writer;
        let (queued, sent) = (writer.queued_bytes(), writer.sent());
        let result = change(writer, clock::now());
        self.flusher.account(queued, writer.queued_bytes());
        self.metrics.frames_sent.add(writer.sent().frames - sent.frames);
        self.metrics.bytes_sent.add(writer.sent().bytes - sent.bytes);
        self.metrics.frames_dropped.add(writer.sent().dropped - sent.dropped);
        if writer.reason().is_some_and(|reason| reason.kind() != CloseKind::PeerGone) {
            self.ending.store(true, Ordering::Release);
        }
        result
    }
}

#[cfg(test)]
#[cfg(heartwire_model)]
mod model;
#[cfg(test)]
#[cfg(not(any(heartwire_model, heartwire_fuzzing)))]
mod tests;
