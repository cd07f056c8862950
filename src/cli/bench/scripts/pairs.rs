//! Messages between the two connections of a pair: one that answers the other, and one that keeps to a schedule.

use crate::cli::bench::crowd::{Crowd, Script};
use crate::cli::bench::frames::Template;
use crate::cli::bench::link::Heard;
use crate::cli::bench::schedule::{BURST, LATE, Schedule};

/// Each connection's message to its partner.
struct Pairs {
    size: usize,
    payload_bytes: usize,
    /// By index; none for those that do not talk.
    messages: Vec<Option<Template>>,
    /// Those that talk: the first two are a pair, and so on.
    talking: Vec<usize>,
}

impl Pairs {
    /// Of the first `size` connections; the others are only there.
    fn new(size: usize, payload_bytes: usize) -> Self {
        Self { size, payload_bytes, messages: Vec::new(), talking: Vec::new() }
    }

    /// Pairs those that are there, and encodes their messages.
    fn prepare(&mut self, crowd: &Crowd<'_>) {
        self.talking = (0..self.size).filter(|index| crowd.account(*index).is_some()).collect();
        self.talking.truncate(self.talking.len() & !1);
        self.messages = (0..self.size).map(|_| None).collect();
        for pair in self.talking.chunks_exact(2) {
            for (from, to) in [(pair[0], pair[1]), (pair[1], pair[0])] {
                let message = |account| Template::to_account(account, self.payload_bytes);
                self.messages[from] = crowd.account(to).map(message);
            }
        }
    }

    /// Sends a message that was due then, if there may be another one.
    fn send(&mut self, index: usize, due: u64, crowd: &mut Crowd<'_>) {
        if let Some(Some(message)) = self.messages.get_mut(index)
            && crowd.tally.may_send(due)
        {
            crowd.tally.sent(due, 1);
            crowd.send(index, message.due(due));
        }
    }
}

/// Pairs of which one answers the other, each with so many messages on their way.
pub(in crate::cli::bench) struct Relay {
    pairs: Pairs,
    window: usize,
}

impl Relay {
    pub(in crate::cli::bench) fn new(size: usize, window: usize, payload_bytes: usize) -> Self {
        Self { pairs: Pairs::new(size, payload_bytes), window }
    }
}

impl Script for Relay {
    fn senders(&self) -> usize {
        self.pairs.talking.len()
    }

    fn prepare(&mut self, crowd: &mut Crowd<'_>) {
        self.pairs.prepare(crowd);
    }

    fn begin(&mut self, crowd: &mut Crowd<'_>) {
        for pair in 0..self.pairs.talking.len() / 2 {
            for _ in 0..self.window {
                let now = crowd.clock.now();
                self.pairs.send(self.pairs.talking[2 * pair], now, crowd);
            }
        }
    }

    fn heard(&mut self, index: usize, heard: &Heard, now: u64, crowd: &mut Crowd<'_>) {
        if let Heard::Message(due) = heard {
            crowd.tally.arrived(now);
            crowd.tally.took(*due, now);
            self.pairs.send(index, now, crowd);
        }
    }
}

/// Messages at fixed times, from each connection to its partner in turn.
pub(in crate::cli::bench) struct OpenLoop {
    pairs: Pairs,
    per_second: f64,
    schedule: Schedule,
    /// What is due now has waited for room in a socket, not for this program.
    is_held_up: bool,
}

/// How long to wait for room in a socket.
const HOLD_UP: u64 = 1_000_000;

impl OpenLoop {
    pub(in crate::cli::bench) fn new(size: usize, per_second: f64, payload_bytes: usize) -> Self {
        let pairs = Pairs::new(size, payload_bytes);
        Self { pairs, per_second, schedule: Schedule::new(0, per_second), is_held_up: false }
    }
}

impl Script for OpenLoop {
    fn senders(&self) -> usize {
        self.pairs.talking.len()
    }

    fn prepare(&mut self, crowd: &mut Crowd<'_>) {
        self.pairs.prepare(crowd);
    }

    fn begin(&mut self, crowd: &mut Crowd<'_>) {
        self.schedule = Schedule::new(crowd.clock.now(), self.per_second);
    }

    fn heard(&mut self, _: usize, heard: &Heard, now: u64, crowd: &mut Crowd<'_>) {
        if let Heard::Message(due) = heard {
            crowd.tally.arrived(now);
            crowd.tally.took(*due, now);
        }
    }

    fn schedule(&self) -> Option<&Schedule> {
        (!self.pairs.talking.is_empty()).then_some(&self.schedule)
    }

    fn wake(&mut self, now: u64, crowd: &mut Crowd<'_>) -> Option<u64> {
        let talking = self.pairs.talking.len() as u64;
        for _ in 0..BURST {
            let due = self.schedule.next();
            if talking == 0 || !crowd.tally.may_send(due) {
                return None;
            }
            if due > now {
                break;
            }
            let index = self.pairs.talking[(self.schedule.served() % talking) as usize];
            if crowd.is_full(index) {
                self.is_held_up = true;
                return Some(now + HOLD_UP);
            }
            self.schedule.take();
            let is_late = now - due > LATE;
            self.is_held_up &= is_late;
            crowd.tally.late += u64::from(is_late && !self.is_held_up);
            self.pairs.send(index, due, crowd);
        }
        Some(self.schedule.next())
    }
}
