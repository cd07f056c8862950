//! What a server counts, and the gate that keeps a flood of events from becoming a flood of log lines.

mod rate;

pub(crate) use rate::RecentRate;

use crate::threads::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) opened: Counter,
    pub(crate) messages_received: Counter,
    pub(crate) frames_sent: Counter,
    pub(crate) frames_dropped: Counter,
    pub(crate) commands_dropped: Counter,
    pub(crate) strangers_closed: Counter,
    pub(crate) frames_untold: Counter,
    pub(crate) presence_untold: Counter,
    pub(crate) presence_log: LogGate,
    pub(crate) untold_log: LogGate,
    closed: Mutex<BTreeMap<u16, u64>>,
}

impl Metrics {
    /// Counts the end of a registered connection under its close code.
    pub(crate) fn closed(&self, code: u16) {
        *lock(&self.closed).entry(code).or_default() += 1;
    }

    /// How many registered connections ended with each code.
    pub(crate) fn closed_by_code(&self) -> BTreeMap<u16, u64> {
        lock(&self.closed).clone()
    }
}

/// Lets one log line a second through and counts what it held back.
#[derive(Debug, Default)]
pub(crate) struct LogGate(Mutex<(Option<Instant>, u64)>);

impl LogGate {
    /// How many events were held back since the last line, when this one may be logged.
    pub(crate) fn open(&self, now: Instant) -> Option<u64> {
        let (last, held_back) = &mut *lock(&self.0);
        if last.is_some_and(|last| now.saturating_duration_since(last) < Duration::from_secs(1)) {
            *held_back += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(held_back))
    }
}

/// Lets each text be logged once a minute, for as many texts as it remembers; others wait their turn.
#[derive(Debug, Default)]
pub(crate) struct Reminders(Mutex<BTreeMap<String, Instant>>);

/// How many texts are remembered. They come from peers, who can invent any number of them.
const MAX_REMINDERS: usize = 64;

impl Reminders {
    /// Whether `text` may be logged now.
    pub(crate) fn due(&self, text: &str, now: Instant) -> bool {
        let mut logged = lock(&self.0);
        logged.retain(|_, at| now.saturating_duration_since(*at) < Duration::from_secs(60));
        let due = !logged.contains_key(text) && logged.len() < MAX_REMINDERS;
        if due {
            logged.insert(text.to_owned(), now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_passes_and_the_rest_is_counted() {
        let (gate, start) = (LogGate::default(), Instant::now());
        assert_eq!(gate.open(start), Some(0));
        assert_eq!(gate.open(start + Duration::from_millis(1)), None);
        assert_eq!(gate.open(start + Duration::from_nanos(999_999_999)), None);
        assert_eq!(gate.open(start + Duration::from_secs(1)), Some(2));
    }

    #[test]
    fn each_text_is_due_once_a_minute_and_few_are_remembered() {
        let (reminders, start) = (Reminders::default(), Instant::now());
        assert!(reminders.due("a", start));
        assert!(!reminders.due("a", start + Duration::from_secs(59)));
        assert!(reminders.due("a", start + Duration::from_secs(60)));
        let due = (0..1_000).filter(|n| reminders.due(&n.to_string(), start + Duration::from_secs(61))).count();
        assert_eq!(due, MAX_REMINDERS - 1);
    }
}
