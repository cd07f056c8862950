//! Every message: to whom it should go, and what became of it.

use crate::support::PATIENCE;
use std::collections::HashMap;
use std::time::Instant;

/// What the sender is told, where its form of the protocol tells it anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Handed to so many connections.
    Delivered(usize),
    /// An error with this code.
    Refused(u64),
}

/// A message that is on its way.
struct Letter {
    from: u64,
    /// What the sender must still be told.
    owed: Option<Answer>,
    /// How many must still receive it.
    missing: usize,
    sent: Instant,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub sent: u64,
    pub received: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub guests: u64,
    pub pushes: u64,
    /// Slow readers that were cut, and those of them to whom the reason still got through.
    pub cut: u64,
    pub told: u64,
}

#[derive(Default)]
pub struct Ledger {
    last: u64,
    open: HashMap<u64, Letter>,
    /// For each sender and recipient the last message that arrived: numbers only grow.
    arrived: HashMap<(u64, u64), u64>,
    pub totals: Totals,
}

impl Ledger {
    /// A message that so many should receive, and what its sender should be told. Returns its number.
    pub fn sent(&mut self, from: u64, recipients: usize, owed: Option<Answer>) -> u64 {
        self.last += 1;
        self.totals.sent += 1;
        self.open.insert(self.last, Letter { from, owed, missing: recipients, sent: Instant::now() });
        self.settle(self.last);
        self.last
    }

    /// The sender was told something about a message.
    pub fn answered(&mut self, to: u64, n: u64, answer: Answer) {
        let letter =
            self.open.get_mut(&n).unwrap_or_else(|| panic!("{to} is told of {n}, which is settled: {answer:?}"));
        assert_eq!((letter.from, letter.owed), (to, Some(answer)), "the answer to {n}");
        letter.owed = None;
        match answer {
            Answer::Delivered(_) => self.totals.acknowledged += 1,
            Answer::Refused(_) => self.totals.refused += 1,
        }
        self.settle(n);
    }

    /// A message arrived.
    pub fn received(&mut self, by: u64, from: u64, n: u64) {
        let letter = self.open.get_mut(&n).unwrap_or_else(|| panic!("{by} receives {n} of {from}, which is settled"));
        assert_eq!(letter.from, from, "the sender of {n}, as {by} is told");
        let before = self.arrived.insert((from, by), n);
        assert!(before < Some(n), "{by} receives {n} of {from} after {before:?}");
        letter.missing = letter.missing.checked_sub(1).unwrap_or_else(|| panic!("{by} should not receive {n}"));
        self.totals.received += 1;
        self.settle(n);
    }

    /// How many messages are on their way; fails if one of them is lost.
    pub fn on_their_way(&self) -> usize {
        for (n, Letter { from, owed, missing, sent }) in &self.open {
            let late = sent.elapsed();
            assert!(late < PATIENCE, "{n} of {from} is lost: {missing} miss it, its sender {owed:?}, for {late:?}");
        }
        self.open.len()
    }

    fn settle(&mut self, n: u64) {
        if self.open.get(&n).is_some_and(|letter| letter.missing == 0 && letter.owed.is_none()) {
            self.open.remove(&n);
        }
    }
}

/// The kind of a message with a long text.
pub const LONG: &str = "long";

/// The text of a message; whoever receives it can check it.
pub fn text(n: u64, kind: &str) -> String {
    let length = if kind == LONG { 8 << 10 } else { n.wrapping_mul(n) % 500 };
    format!("{n} {kind} {}", "x".repeat(length as usize))
}

/// The number and the kind of a message; fails unless all of its text is there.
pub fn read(received: &str) -> (u64, &str) {
    let mut words = received.splitn(3, ' ');
    let (n, kind) = (words.next().unwrap().parse().expect(received), words.next().expect(received));
    assert_eq!(received, text(n, kind));
    (n, kind)
}
