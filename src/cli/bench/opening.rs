//! Opening many connections: a few at a time, with patience for a server that has no room just then.

use super::crowd::{Crowd, Script};
use super::link::{End, Heard};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Connections that one thread opens at once.
const AT_ONCE: usize = 32;
/// How long after a refusal another attempt is made.
const RETRY: u64 = 100_000_000;
/// How long none may have been let in before the load goes on without those that are missing.
const PATIENCE: u64 = 5_000_000_000;

/// Opens connections until all of them are in, or the server lets no more in.
pub(super) struct Opening<'a> {
    numbers: &'a [usize],
    /// Indices that are still to be begun, and from when on.
    waiting: VecDeque<(usize, u64)>,
    /// Those that were begun and are not in yet.
    begun: HashSet<usize>,
    opened: &'a AtomicUsize,
    last_success: u64,
    /// Why the last one that failed did.
    failure: Option<String>,
    /// No other attempt would fare better.
    is_hopeless: bool,
}

impl<'a> Opening<'a> {
    /// Of connections with these numbers; counts those that are in.
    pub(super) fn new(numbers: &'a [usize], now: u64, opened: &'a AtomicUsize) -> Self {
        let waiting = (0..numbers.len()).map(|index| (index, now)).collect();
        Self { numbers, waiting, begun: HashSet::new(), opened, last_success: now, failure: None, is_hopeless: false }
    }

    /// Whether nothing is left to be waited for.
    pub(super) fn is_over(&self, now: u64) -> bool {
        let is_done = self.begun.is_empty() && self.waiting.is_empty();
        is_done || self.is_hopeless || now > self.last_success + PATIENCE
    }

    /// Why some are missing.
    pub(super) fn failure(self) -> String {
        self.failure.unwrap_or_else(|| "no `register` frame came within 5 s".into())
    }

    fn failed(&mut self, index: usize, end: &End, now: u64, is_first: bool) {
        let is_transient = match end {
            End::Refused { status: 503 | 429, .. } => true,
            // A server whose backlog overflows resets; one that is not there is so from the beginning.
            End::Gone(_) => !is_first,
            _ => false,
        };
        self.is_hopeless |= !is_transient && is_first;
        if is_transient {
            self.waiting.push_back((index, now + RETRY));
        }
        self.failure = Some(match end {
            End::Gone(error) => format!("cannot connect: {error}"),
            end => end.to_string(),
        });
    }
}

impl Script for Opening<'_> {
    fn heard(&mut self, index: usize, heard: &Heard, now: u64, _: &mut Crowd<'_>) {
        if matches!(heard, Heard::Registered(_)) {
            self.begun.remove(&index);
            self.last_success = now;
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ended(&mut self, index: usize, end: &End, now: u64, crowd: &mut Crowd<'_>) {
        let was_in = !self.begun.remove(&index);
        if was_in {
            self.opened.fetch_sub(1, Ordering::Relaxed);
        }
        self.failed(index, end, now, !was_in && crowd.count() == 0);
    }

    fn wake(&mut self, now: u64, crowd: &mut Crowd<'_>) -> Option<u64> {
        while self.begun.len() < AT_ONCE
            && let Some(index) = self.waiting.front().filter(|(_, from)| *from <= now).map(|(index, _)| *index)
        {
            self.waiting.pop_front();
            match crowd.open(index, self.numbers[index]) {
                Ok(()) => _ = self.begun.insert(index),
                Err(error) => self.failed(index, &End::Gone(error), now, crowd.count() == 0),
            }
        }
        self.waiting.front().filter(|_| self.begun.len() < AT_ONCE).map(|(_, from)| *from)
    }
}
