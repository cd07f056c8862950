//! What was asked before under the same key: it is not done twice, and gets the first answer.
//!
//! A key is remembered for ten minutes from when it first came. What cannot be remembered is not done.

use crate::clock;
use crate::router::Pending;
use crate::secret::fingerprint;
use crate::threads::lock;
use crate::threads::sync::{Condvar, Mutex};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// For how long a key is remembered.
const WINDOW: Duration = Duration::from_secs(10 * 60);
const MAX_KEYS: usize = 500_000;
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// How long somebody waits for another who asks the same: as long as that one may wait for the router.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fingerprint of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id([u8; 32]);

impl Id {
    /// Texts of which no two lists have the same fingerprint.
    pub(super) fn of(texts: &[&str]) -> Self {
        Self(fingerprint(texts.iter().map(|text| text.as_bytes())))
    }
}

/// What whoever comes with a key has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<P> {
    /// Do it, and [`Table::settle`] it.
    First,
    /// It was handed over, but its answer was not seen: wait for that, and settle it.
    Resume(P),
    /// Somebody is at it.
    Wait,
    /// This was the answer.
    Replay(Arc<str>),
    /// The key came with another request.
    Differs,
    /// There is no room for another key, until this time has passed.
    Full(Duration),
}

/// What came of a turn.
#[derive(Debug)]
pub(super) enum Outcome<P> {
    /// It was answered so.
    Answered(Arc<str>),
    /// It was handed over, and can be waited for again.
    Submitted(P),
    /// Nothing was done: the key is forgotten.
    Nothing,
}

/// All keys of a server.
#[derive(Default)]
pub(super) struct Idempotency {
    table: Mutex<Table<Pending>>,
    settled: Condvar,
}

impl Idempotency {
    /// Whose turn it is; waits for others who ask the same, and comes back with [`Turn::Wait`] when that takes too long.
    /// The answer will have `answer_bytes` at most.
    pub(super) fn begin(&self, id: Id, request: Id, answer_bytes: usize) -> Turn<Pending> {
        let deadline = clock::now() + PATIENCE;
        let mut table = lock(&self.table);
        loop {
            let now = clock::now();
            match table.begin(id, request, answer_bytes, now) {
                Turn::Wait if now < deadline => {
                    let waited = self.settled.wait_timeout(table, deadline - now);
                    table = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                turn => return turn,
            }
        }
    }

    /// Ends the turn of the one who was told [`Turn::First`] or [`Turn::Resume`].
    pub(super) fn settle(&self, id: Id, outcome: Outcome<Pending>) {
        lock(&self.table).settle(id, outcome);
        self.settled.notify_all();
    }
}

/// What is remembered. Pure: `now` is an argument.
struct Table<P> {
    entries: HashMap<Id, Entry<P>>,
    /// When each key came, the oldest first; those that were forgotten meanwhile are still here.
    order: VecDeque<(Instant, Id)>,
    answer_bytes: usize,
}

struct Entry<P> {
    since: Instant,
    request: Id,
    stage: Stage<P>,
    /// What its answer takes, or may take.
    answer_bytes: usize,
}

enum Stage<P> {
    Running,
    Submitted(P),
    Answered(Arc<str>),
}

impl<P> Default for Table<P> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), answer_bytes: 0 }
    }
}

impl<P> Table<P> {
    fn begin(&mut self, id: Id, request: Id, answer_bytes: usize, now: Instant) -> Turn<P> {
        self.forget_expired(now);
        if let Some(entry) = self.entries.get_mut(&id) {
            return entry.turn(request);
        }
        if self.order.len() >= MAX_KEYS || self.answer_bytes + answer_bytes > MAX_ANSWER_BYTES {
            let oldest = self.order.front().map_or(now, |(since, _)| *since);
            return Turn::Full((oldest + WINDOW).saturating_duration_since(now));
        }
        self.entries.insert(id, Entry { since: now, request, stage: Stage::Running, answer_bytes });
        self.order.push_back((now, id));
        self.answer_bytes += answer_bytes;
        Turn::First
    }

    fn settle(&mut self, id: Id, outcome: Outcome<P>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match outcome {
            Outcome::Answered(text) => {
                self.answer_bytes = self.answer_bytes - entry.answer_bytes + text.len();
                entry.answer_bytes = text.len();
                entry.stage = Stage::Answered(text);
            }
            Outcome::Submitted(pending) => entry.stage = Stage::Submitted(pending),
            Outcome::Nothing => self.forget(id),
        }
    }

    fn forget_expired(&mut self, now: Instant) {
        while let Some((since, id)) = self.order.front().copied()
            && now.saturating_duration_since(since) >= WINDOW
        {
            self.order.pop_front();
            // It may have been forgotten, and have come again.
            if self.entries.get(&id).is_some_and(|entry| entry.since == since) {
                self.forget(id);
            }
        }
    }

    fn forget(&mut self, id: Id) {
        if let Some(entry) = self.entries.remove(&id) {
            self.answer_bytes -= entry.answer_bytes;
        }
    }
}

impl<P> Entry<P> {
    fn turn(&mut self, request: Id) -> Turn<P> {
        if request != self.request {
            return Turn::Differs;
        }
        match std::mem::replace(&mut self.stage, Stage::Running) {
            Stage::Running => Turn::Wait,
            Stage::Submitted(pending) => Turn::Resume(pending),
            Stage::Answered(text) => {
                self.stage = Stage::Answered(Arc::clone(&text));
                Turn::Replay(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> Id {
        Id::of(&[&n.to_string()])
    }

    /// A table whose handed-over requests are numbers.
    fn table() -> (Table<u8>, Instant) {
        (Table::default(), Instant::now())
    }

    #[test]
    fn no_two_lists_of_texts_are_alike() {
        assert_eq!(Id::of(&["a", "b"]), Id::of(&["a", "b"]));
        assert_ne!(Id::of(&["a", "b"]), Id::of(&["ab", ""]));
        assert_ne!(Id::of(&["a", "b"]), Id::of(&["b", "a"]));
    }

    #[test]
    fn the_first_does_it_and_all_others_get_its_answer() {
        let (mut table, now) = table();
        assert_eq!(table.begin(id(1), id(7), 9, now), Turn::First);
        assert_eq!(table.begin(id(1), id(7), 9, now), Turn::Wait);
        assert_eq!(table.begin(id(1), id(8), 9, now), Turn::Differs);
        assert_eq!(table.begin(id(2), id(7), 9, now), Turn::First, "another key is another push");
        table.settle(id(1), Outcome::Answered("yes".into()));
        assert_eq!(table.begin(id(1), id(7), 9, now), Turn::Replay("yes".into()));
        assert_eq!(table.begin(id(1), id(7), 9, now), Turn::Replay("yes".into()));
        assert_eq!(table.begin(id(1), id(8), 9, now), Turn::Differs);
    }

    #[test]
    fn what_was_handed_over_is_waited_for_by_one_at_a_time() {
        let (mut table, now) = table();
        assert_eq!(table.begin(id(1), id(7), 9, now), Turn::First);
        table.settle(id(1), Outcome::Submitted(5));
        assert_eq!(table.begin(id(1), id(7), 9, now), Turn::Resume(5));
        assert_eq!(table.begin(id(1), id(7), 9, now), Turn::Wait);
        table.settle(id(1), Outcome::Answered("yes".into()));
        assert_eq!(table.begin(id(1), id(7), 9, now), Turn::Replay("yes".into()));
    }

    #[test]
    fn what_was_not_done_is_forgotten() {
        let (mut table, now) = table();
        assert_eq!(table.begin(id(1), id(7), 9, now), Turn::First);
        table.settle(id(1), Outcome::Nothing);
        assert_eq!(table.answer_bytes, 0);
        assert_eq!(table.begin(id(1), id(8), 9, now), Turn::First, "also with another request");
    }

    #[test]
    fn a_key_is_remembered_for_ten_minutes_from_when_it_came() {
        let (mut table, start) = table();
        assert_eq!(table.begin(id(1), id(7), 9, start), Turn::First);
        table.settle(id(1), Outcome::Answered("yes".into()));
        let almost = start + WINDOW - Duration::from_nanos(1);
        assert_eq!(table.begin(id(1), id(7), 9, almost), Turn::Replay("yes".into()));
        assert_eq!(table.begin(id(1), id(7), 9, start + WINDOW), Turn::First);
        assert_eq!((table.entries.len(), table.order.len(), table.answer_bytes), (1, 1, 9));
    }

    #[test]
    fn a_key_that_came_again_is_not_forgotten_with_its_first_coming() {
        let (mut table, start) = table();
        assert_eq!(table.begin(id(1), id(7), 9, start), Turn::First);
        table.settle(id(1), Outcome::Nothing);
        let later = start + Duration::from_secs(60);
        assert_eq!(table.begin(id(1), id(7), 9, later), Turn::First);
        assert_eq!(table.begin(id(1), id(7), 9, start + WINDOW), Turn::Wait);
        assert_eq!(table.begin(id(1), id(7), 9, later + WINDOW), Turn::First);
    }

    #[test]
    fn what_cannot_be_remembered_is_not_done() {
        let (mut table, start) = table();
        for n in 0..MAX_KEYS {
            assert_eq!(table.begin(id(n), id(7), 0, start), Turn::First);
        }
        let later = start + Duration::from_secs(60);
        assert_eq!(table.begin(id(MAX_KEYS), id(7), 0, later), Turn::Full(WINDOW - Duration::from_secs(60)));
        assert_eq!(table.begin(id(0), id(7), 0, later), Turn::Wait, "those that are known stay so");
        table.settle(id(0), Outcome::Nothing);
        assert!(matches!(table.begin(id(MAX_KEYS), id(7), 0, later), Turn::Full(_)), "nothing is kept twice");
        assert_eq!(table.begin(id(MAX_KEYS), id(7), 0, start + WINDOW), Turn::First);
        assert_eq!(table.order.len(), 1);
    }

    #[test]
    fn answers_are_bounded_also_those_that_are_still_to_come() {
        let (mut table, now) = table();
        let half = MAX_ANSWER_BYTES / 2;
        assert_eq!(table.begin(id(1), id(7), half, now), Turn::First);
        assert_eq!(table.begin(id(2), id(7), half, now), Turn::First);
        assert_eq!(table.begin(id(3), id(7), 1, now), Turn::Full(WINDOW));
        table.settle(id(1), Outcome::Answered("yes".into()));
        assert_eq!(table.begin(id(3), id(7), half - 3, now), Turn::First);
        assert_eq!(table.begin(id(4), id(7), 1, now), Turn::Full(WINDOW));
        table.settle(id(3), Outcome::Nothing);
        assert_eq!(table.begin(id(4), id(7), half - 3, now), Turn::First);
    }
}
