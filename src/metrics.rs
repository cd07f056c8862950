//! What a server counts, and the gate that keeps a flood of events from becoming a flood of log lines.

mod endings;
// They are counted in any case, and read over HTTP.
#[cfg_attr(not(feature = "admin"), allow(dead_code))]
mod histogram;
mod own;
mod rate;

pub(crate) use endings::Endings;
pub(crate) use histogram::Histogram;
#[cfg(feature = "admin")]
pub(crate) use histogram::Snapshot;
pub use own::{OwnMetric, OwnValue};
pub(crate) use rate::RecentRate;

use crate::protocol::close::CloseKind;
use crate::threads::lock;
use crate::threads::sync::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        // Mostly there is nothing to add, and the others of its cache line belong to other threads.
        if n > 0 {
            self.0.fetch_add(n, Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) accepted: Counter,
    /// Who did not come in, by the reason that it was told, or would have been.
    pub(crate) refused: Endings,
    pub(crate) opened: Counter,
    /// Registered connections that ended.
    pub(crate) closed: Endings,
    pub(crate) messages_received: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) frames_sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) frames_dropped: Counter,
    pub(crate) commands_dropped: Counter,
    pub(crate) strangers_closed: Counter,
    pub(crate) frames_untold: Counter,
    pub(crate) presence_untold: Counter,
    pub(crate) pings_sent: Counter,
    /// Batches and pushes that threads which helped applied in the router's place.
    pub(crate) helped: Counter,
    /// From a ping to its answer.
    pub(crate) round_trip: Histogram,
    /// From accept to registration.
    pub(crate) handshake: Histogram,
    /// From the hand-over of commands or a push to the router until their frames were handed out.
    pub(crate) router_latency: Histogram,
    /// What waited in the router's data inbox when a turn began that found something there.
    pub(crate) router_turn: Histogram,
    /// Bytes that waited for a connection after a push that did not all go out.
    pub(crate) outbound_queue: Histogram,
    pub(crate) presence_log: LogGate,
    pub(crate) untold_log: LogGate,
}

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const SECOND: u64 = 1_000 * MS;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// From a network within a building to a telephone that sleeps between two answers.
#[rustfmt::skip]
const ROUND_TRIPS: &[u64] = &[
    500 * US, MS, 2 * MS, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, SECOND, 2_500 * MS, 5 * SECOND,
    10 * SECOND, 30 * SECOND, 60 * SECOND,
];
/// Up to its deadline, whose default is 5 s; longer on raw TCP, where a client may be silent before its `hello`.
#[rustfmt::skip]
const HANDSHAKES: &[u64] = &[
    500 * US, MS, 2_500 * US, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, SECOND, 2_500 * MS,
    5 * SECOND, 10 * SECOND, 60 * SECOND,
];
/// From one message on a free processor to the 5 s after which a sender gives up.
#[rustfmt::skip]
const LATENCIES: &[u64] = &[
    5 * US, 10 * US, 25 * US, 50 * US, 100 * US, 250 * US, 500 * US, MS, 2_500 * US, 5 * MS, 10 * MS, 25 * MS, 50 * MS,
    100 * MS, 250 * MS, 500 * MS, SECOND, 2_500 * MS, 5 * SECOND,
];
/// Up to what the data inbox holds.
const TURNS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
/// Around the bound of a queue, whose default is 1 MiB.
const QUEUES: &[u64] = &[KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 512 * KIB, MIB, 2 * MIB, 4 * MIB, 16 * MIB];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            refused: Endings::of(REFUSALS.iter().copied()),
            opened: Counter::default(),
            closed: Endings::of(closes()),
            messages_received: Counter::default(),
            bytes_received: Counter::default(),
            frames_sent: Counter::default(),
            bytes_sent: Counter::default(),
            frames_dropped: Counter::default(),
            commands_dropped: Counter::default(),
            strangers_closed: Counter::default(),
            frames_untold: Counter::default(),
            presence_untold: Counter::default(),
            pings_sent: Counter::default(),
            helped: Counter::default(),
            round_trip: Histogram::of_times(ROUND_TRIPS),
            handshake: Histogram::of_times(HANDSHAKES),
            router_latency: Histogram::of_times(LATENCIES),
            router_turn: Histogram::of_numbers(TURNS),
            outbound_queue: Histogram::of_numbers(QUEUES),
            presence_log: LogGate::default(),
            untold_log: LogGate::default(),
        }
    }
}

/// The reasons for which a client may not come in.
const REFUSALS: &[CloseKind] = &[
    CloseKind::GoingAway,
    CloseKind::Policy,
    CloseKind::Internal,
    CloseKind::OverCapacity,
    CloseKind::RateLimit,
    CloseKind::ConnectionLimit,
    CloseKind::TooSlow,
    CloseKind::AuthenticationFailed,
    CloseKind::BadRequest,
];

/// The reasons for which a registered connection ends, but for those that a program makes up.
fn closes() -> impl Iterator<Item = CloseKind> {
    use CloseKind::{Application, BadRequest, ConnectionLimit};
    CloseKind::ALL.into_iter().filter(|kind| !matches!(kind, Application(_) | BadRequest | ConnectionLimit))
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
