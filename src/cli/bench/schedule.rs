//! When messages are due that do not wait for answers: pure, with times in nanoseconds.

/// A message that is sent so much later than it was due shows that this program does not keep up.
pub(super) const LATE: u64 = 10_000_000;
/// Messages that are sent before what has come is read, however many are due.
pub(super) const BURST: usize = 64;

/// Evenly spread moments, each of which is served once, however late.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    begin: u64,
    per_second: f64,
    /// How many of them have been served.
    served: u64,
}

impl Schedule {
    /// So many a second from `begin` on; more than none.
    pub(super) fn new(begin: u64, per_second: f64) -> Self {
        Self { begin, per_second, served: 0 }
    }

    /// When the next one is due. Not the distance to the one before is what counts, or rounding would add up.
    pub(super) fn next(&self) -> u64 {
        self.begin + (self.served as f64 * 1e9 / self.per_second) as u64
    }

    /// How many have been served: the number of the next one.
    pub(super) fn served(&self) -> u64 {
        self.served
    }

    /// Serves the next one; returns when it was due.
    pub(super) fn take(&mut self) -> u64 {
        let due = self.next();
        self.served += 1;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(schedule: &mut Schedule, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| (schedule.next() <= now).then(|| schedule.take())).collect()
    }

    #[test]
    fn whoever_comes_late_finds_everything_that_was_due() {
        let mut schedule = Schedule::new(1_000, 1e6);
        assert!(due(&mut schedule, 999).is_empty());
        assert_eq!(due(&mut schedule, 1_000), [1_000]);
        assert!(due(&mut schedule, 1_999).is_empty());
        assert_eq!(due(&mut schedule, 4_500), [2_000, 3_000, 4_000], "with the times at which they were due");
        assert_eq!((schedule.served(), schedule.next()), (4, 5_000));
    }

    #[test]
    fn an_hour_of_an_odd_rate_has_as_many_as_it_should() {
        let hour = 3_600 * 1_000_000_000;
        assert_eq!(due(&mut Schedule::new(0, 3.0), hour - 1).len(), 3 * 3_600);
    }
}
