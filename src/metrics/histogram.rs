//! How often a value came, by its size: buckets with fixed bounds, which any thread may count in without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A distribution. What it is of is counted in whole units, of which `units` make one in its [`Snapshot`]: times in
/// nanoseconds, of which a thousand million make a second.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The largest value of each bucket but the last, which has no bound; in ascending order.
    bounds: &'static [u64],
    units: f64,
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What was counted up to one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// How many values each bucket has, with its bound; that of the last is infinite.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// How many values there are: those of all buckets.
    pub(crate) count: u64,
    /// The sum of all values. It may lack one that is counted at this very moment, or have one more.
    pub(crate) sum: f64,
}

const NANOSECONDS: f64 = 1e9;

impl Histogram {
    /// Of numbers: bytes, or things.
    pub(super) fn of_numbers(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1.0)
    }

    /// Of times, with bounds in nanoseconds.
    pub(super) fn of_times(bounds: &'static [u64]) -> Self {
        Self::new(bounds, NANOSECONDS)
    }

    fn new(bounds: &'static [u64], units: f64) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, units, buckets, sum: AtomicU64::new(0) }
    }

    /// Counts a number.
    pub(crate) fn observe(&self, value: usize) {
        self.count(value as u64);
    }

    /// Counts a time; one of more than 584 years counts as that.
    pub(crate) fn observe_time(&self, time: Duration) {
        self.count(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What was counted so far.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / self.units).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        Snapshot {
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum: self.sum.load(Relaxed) as f64 / self.units,
            buckets,
        }
    }

    fn count(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::of_numbers(&[1, 10]);
        [0, 1, 2, 10, 11, 1_000].into_iter().for_each(|value| histogram.observe(value));
        let buckets = vec![(1.0, 2), (10.0, 2), (f64::INFINITY, 2)];
        assert_eq!(histogram.snapshot(), Snapshot { buckets, count: 6, sum: 1_024.0 });
    }

    #[test]
    fn times_are_in_seconds() {
        let histogram = Histogram::of_times(&[100_000, 500_000_000]);
        histogram.observe_time(Duration::from_micros(100));
        histogram.observe_time(Duration::from_nanos(100_001));
        histogram.observe_time(Duration::MAX);
        let Snapshot { buckets, .. } = histogram.snapshot();
        assert_eq!(buckets, [(0.000_1, 1), (0.5, 1), (f64::INFINITY, 1)], "bounds as they are written");
    }

    #[test]
    fn many_threads_count_and_what_is_read_meanwhile_adds_up() {
        let histogram = Histogram::of_numbers(&[1, 2, 3]);
        std::thread::scope(|scope| {
            for value in 0..4 {
                let histogram = &histogram;
                scope.spawn(move || (0..10_000).for_each(|_| histogram.observe(value)));
            }
            for _ in 0..100 {
                let Snapshot { buckets, count, .. } = histogram.snapshot();
                assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), count);
            }
        });
        let Snapshot { count, sum, .. } = histogram.snapshot();
        assert_eq!((count, sum), (40_000, 60_000.0));
    }
}
