//! The thread that sends what would have blocked its sender, and ends connections whose peer never reads.

use super::{Bounds, Outbound, Remaining, Waiting};
use crate::clock;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::socket::Sleeper;
use crate::threads::lock;
use crate::threads::sync::Mutex;
use crate::threads::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// What senders and the flusher's thread share: the bounds, the list of new arrivals, and the sum of all queues.
pub(crate) struct Flusher {
    bounds: Bounds,
    arrivals: Mutex<Vec<Arc<Outbound>>>,
    sleeper: Sleeper,
    queued_bytes: AtomicUsize,
    stopping: AtomicBool,
}

impl Flusher {
    pub(crate) fn new(bounds: Bounds) -> io::Result<Self> {
        Ok(Self {
            bounds,
            arrivals: Mutex::default(),
            sleeper: Sleeper::new()?,
            queued_bytes: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        })
    }

    /// The flusher's thread, from the first blocked socket to [`Flusher::stop`].
    pub(crate) fn run(&self) {
        let mut watched: Vec<Arc<Outbound>> = Vec::new();
        loop {
            self.sleeper.clear();
            let (remaining, now) = self.round(&mut watched);
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            self.sleep(&remaining, now);
        }
    }

    /// Looks once at those that are `watched`, which from now on are also the new arrivals, and no longer those with which
    /// there is nothing more to do. Says what is to be done for them next, and when this was.
    pub(crate) fn round(&self, watched: &mut Vec<Arc<Outbound>>) -> (Vec<Remaining>, Instant) {
        watched.append(&mut lock(&self.arrivals));
        self.cut_largest_while_beyond_budget(watched);
        let now = clock::now();
        let mut remaining = Vec::with_capacity(watched.len());
        watched.retain(|outbound| outbound.flush(now).map(|todo| remaining.push(todo)).is_some());
        (remaining, now)
    }

    /// Ends [`Flusher::run`] after one more round.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.sleeper.notify();
    }

    /// Bytes that wait in all queues together.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// Whether queues grow faster than the flusher cuts them: from here on, growing is itself a reason to be cut.
    pub(super) fn is_overrun(&self) -> bool {
        self.queued_bytes() > self.bounds.queue_total_bytes.saturating_add(self.bounds.queue_total_bytes / 4)
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Takes over an outbound that cannot send all at once, or that is closing. Called under that outbound's lock.
    pub(super) fn watch(&self, outbound: Arc<Outbound>) {
        lock(&self.arrivals).push(outbound);
        self.sleeper.notify();
    }

    /// Makes the flusher look at the deadlines again.
    pub(super) fn wake(&self) {
        self.sleeper.notify();
    }

    /// Takes note that a queue went from `before` to `after` bytes.
    pub(super) fn account(&self, before: usize, after: usize) {
        if after > before {
            let total = self.queued_bytes.fetch_add(after - before, Ordering::Relaxed) + (after - before);
            if total > self.bounds.queue_total_bytes {
                self.sleeper.notify();
            }
        } else if before > after {
            self.queued_bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    fn cut_largest_while_beyond_budget(&self, watched: &[Arc<Outbound>]) {
        if self.queued_bytes() <= self.bounds.queue_total_bytes {
            return;
        }
        let mut by_size: Vec<_> = watched.iter().map(|outbound| (outbound.queued_bytes(), outbound)).collect();
        by_size.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, outbound) in by_size {
            if self.queued_bytes() <= self.bounds.queue_total_bytes {
                return;
            }
            let detail = format!("{bytes} bytes waited, the most while all queues together were full");
            outbound.close(CloseReason::new(CloseKind::SlowConsumer, detail), Waiting::Drop);
        }
    }

    /// Until when its thread sleeps, if it does and nothing wakes it now.
    #[cfg(test)]
    #[cfg(heartwire_model)]
    pub(super) fn asleep_until(&self) -> Option<Option<Instant>> {
        self.sleeper.asleep_until()
    }

    /// Sleeps until a socket has room, a deadline comes, or somebody calls.
    fn sleep(&self, remaining: &[Remaining], now: Instant) {
        let deadline = remaining.iter().filter_map(|todo| todo.deadline).min();
        let blocked = remaining.iter().filter_map(|todo| todo.blocked.as_deref());
        self.sleeper.sleep(blocked, deadline, now);
    }
}
