//! What was sent and what arrived: pure arithmetic on times in nanoseconds since the load began.

use super::measured::Latency;
use hdrhistogram::Histogram;
use std::ops::Range;

/// Latencies are kept to this many digits.
const DIGITS: u8 = 3;
/// Longer than any run, in nanoseconds.
const LONGEST: u64 = 10_000_000_000_000;

/// The counts of one thread of the load.
pub(super) struct Tally {
    /// What is measured: the time between warm-up and end.
    pub(super) measured: Range<u64>,
    /// Messages that may be sent in the measured time.
    cap: u64,
    /// Messages sent in the measured time.
    pub(super) sent: u64,
    /// Deliveries in the measured time.
    pub(super) delivered: u64,
    /// Deliveries that are due, of all times.
    expected: u64,
    /// Deliveries, of all times.
    arrived: u64,
    /// When the last of them came.
    pub(super) last_arrival: u64,
    /// Messages that this program itself sent too late.
    pub(super) late: u64,
    /// Of messages that were due in the measured time, whenever they arrived.
    pub(super) latency: Histogram<u64>,
}

impl Tally {
    /// Of a run in which no more than `cap` messages may be sent in the measured time.
    pub(super) fn new(measured: Range<u64>, cap: u64) -> Self {
        let Ok(latency) = Histogram::new_with_max(LONGEST, DIGITS) else { unreachable!("the bounds are constants") };
        Self { measured, cap, sent: 0, delivered: 0, expected: 0, arrived: 0, late: 0, last_arrival: 0, latency }
    }

    /// Whether a message that is due then is one of the load's, and the cap permits it. One that was due before the end is
    /// sent also after it: a load that forgot those would not see how long they take.
    pub(super) fn may_send(&self, due: u64) -> bool {
        due < self.measured.end && self.sent < self.cap
    }

    /// Whether the cap has ended the load before its time.
    pub(super) fn is_capped(&self) -> bool {
        self.sent >= self.cap
    }

    /// A message to this many recipients was sent, which was due at `due`.
    pub(super) fn sent(&mut self, due: u64, recipients: u64) {
        self.sent += u64::from(self.measured.contains(&due));
        self.expected += recipients;
    }

    /// One of them has it.
    pub(super) fn arrived(&mut self, now: u64) {
        self.arrived += 1;
        self.last_arrival = now;
        self.delivered += u64::from(self.measured.contains(&now));
    }

    /// How long it took.
    pub(super) fn took(&mut self, due: u64, now: u64) {
        if self.measured.contains(&due) {
            self.latency.saturating_record(now.saturating_sub(due).max(1));
        }
    }

    /// What was sent and has not arrived yet.
    pub(super) fn outstanding(&self) -> u64 {
        self.expected.saturating_sub(self.arrived)
    }

    /// Adds what another thread of the same load has counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.expected += other.expected;
        self.arrived += other.arrived;
        self.late += other.late;
        self.last_arrival = self.last_arrival.max(other.last_arrival);
        // It cannot fail: all are of one size.
        let _ = self.latency.add(&other.latency);
    }

    /// The latencies in microseconds, where there are any.
    pub(super) fn latency(&self) -> Option<Latency> {
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        let found = !self.latency.is_empty();
        let max = self.latency.max() as f64 / 1_000.0;
        found.then(|| Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_and_did_not_arrive_is_lost_whenever_it_was_sent() {
        let mut tally = Tally::new(100..200, u64::MAX);
        for due in [50, 150, 160] {
            tally.sent(due, 2);
        }
        assert_eq!(tally.outstanding(), 6);
        for now in [90, 110, 155, 199, 250] {
            tally.arrived(now);
        }
        assert_eq!((tally.sent, tally.delivered, tally.outstanding()), (2, 3, 1));
        assert_eq!(tally.last_arrival, 250);
    }

    #[test]
    fn latency_is_that_of_messages_due_in_the_measured_time_even_where_they_arrive_later() {
        let mut tally = Tally::new(100_000..200_000, u64::MAX);
        assert!(tally.latency().is_none());
        tally.took(99_999, 150_000);
        assert!(tally.latency().is_none(), "of the warm-up");
        tally.took(150_000, 151_000);
        tally.took(199_999, 299_999);
        let latency = tally.latency().unwrap();
        assert!((latency.max - 100.0).abs() < 0.1, "{latency:?}");
        assert!((latency.p50 - 1.0).abs() < 0.1, "{latency:?}");
    }

    #[test]
    fn the_cap_counts_the_measured_time_only() {
        let mut tally = Tally::new(100..200, 2);
        for due in [10, 20, 30] {
            assert!(tally.may_send(due));
            tally.sent(due, 1);
        }
        tally.sent(100, 1);
        assert!(tally.may_send(101) && !tally.is_capped());
        tally.sent(101, 1);
        assert!(!tally.may_send(102) && tally.is_capped());
        assert!(!Tally::new(100..200, 2).may_send(200), "the time is over");
    }

    #[test]
    fn threads_add_up() {
        let (mut one, mut other) = (Tally::new(0..10, 5), Tally::new(0..10, 5));
        one.sent(1, 1);
        other.sent(2, 3);
        other.arrived(5);
        other.took(2, 5);
        one.add(&other);
        assert_eq!((one.sent, one.delivered, one.outstanding(), one.last_arrival), (2, 1, 3, 5));
        assert!(one.latency().is_some());
    }
}
