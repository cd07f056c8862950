//! Connections that come, are registered and go, again and again.

use crate::cli::bench::crowd::{Crowd, Script};
use crate::cli::bench::link::{End, Heard};

/// How long after a life that failed the next one begins.
const PAUSE: u64 = 10_000_000;

/// So many lives at once; each begins as soon as the one before has ended.
pub(in crate::cli::bench) struct Churn {
    lives: Vec<Life>,
    /// The number of the next connection, and how far apart those of this thread are.
    next: usize,
    step: usize,
}

#[derive(Clone, Copy)]
enum Life {
    /// Connects since then.
    Begun(u64),
    /// Was let in, and says that it goes.
    Leaving(u64),
    /// The next one begins then.
    Ended(u64),
}

impl Churn {
    /// The connections' numbers are `first`, `first + step` and so on, so that threads do not share accounts.
    pub(in crate::cli::bench) fn new(at_once: usize, first: usize, step: usize) -> Self {
        Self { lives: vec![Life::Ended(0); at_once], next: first, step }
    }

    /// Begins a life, if there is time for one.
    fn live(&mut self, index: usize, now: u64, crowd: &mut Crowd<'_>) {
        if !crowd.tally.may_send(now) {
            return;
        }
        crowd.tally.sent(now, 1);
        let number = self.next;
        self.next += self.step;
        self.lives[index] = match crowd.open(index, number) {
            Ok(()) => Life::Begun(now),
            Err(error) => failed(&End::Gone(error), now, crowd),
        };
    }
}

impl Script for Churn {
    fn senders(&self) -> usize {
        self.lives.len()
    }

    /// Those that were opened to see whether there is a server go.
    fn prepare(&mut self, crowd: &mut Crowd<'_>) {
        (0..crowd.size()).for_each(|index| crowd.drop(index));
    }

    fn heard(&mut self, index: usize, heard: &Heard, _: u64, crowd: &mut Crowd<'_>) {
        if let (Heard::Registered(_), Life::Begun(since)) = (heard, self.lives[index]) {
            self.lives[index] = Life::Leaving(since);
            crowd.leave(index);
        }
    }

    fn ended(&mut self, index: usize, end: &End, now: u64, crowd: &mut Crowd<'_>) {
        match (self.lives[index], end) {
            (Life::Leaving(since), End::Closed(_)) => {
                crowd.tally.arrived(now);
                crowd.tally.took(since, now);
                self.lives[index] = Life::Ended(now);
                self.live(index, now, crowd);
            }
            _ => self.lives[index] = failed(end, now, crowd),
        }
    }

    fn wake(&mut self, now: u64, crowd: &mut Crowd<'_>) -> Option<u64> {
        let mut next = None;
        for index in 0..self.lives.len() {
            match self.lives[index] {
                Life::Ended(until) if until <= now => self.live(index, now, crowd),
                Life::Ended(until) => next = Some(next.unwrap_or(until).min(until)),
                _ => {}
            }
        }
        next
    }

    /// Lives that failed never arrive.
    fn is_waiting(&self, _: &Crowd<'_>) -> bool {
        self.lives.iter().any(|life| !matches!(life, Life::Ended(_)))
    }

    fn is_deserted(&self, _: &Crowd<'_>) -> bool {
        false
    }
}

fn failed(end: &End, now: u64, crowd: &mut Crowd<'_>) -> Life {
    crowd.trouble.count_end(end);
    Life::Ended(now + PAUSE)
}
