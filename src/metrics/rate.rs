//! How much happens a second, at the cost of an addition. Pure: `now` is an argument.

use std::time::{Duration, Instant};

/// Over how long it is averaged.
const WINDOW: Duration = Duration::from_secs(10);

/// The events of the last ten seconds: those of the window that runs, and the share of the one before that is not over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecentRate {
    begun: Instant,
    current: u64,
    previous: u64,
}

impl RecentRate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { begun: now, current: 0, previous: 0 }
    }

    /// So many have happened now.
    pub(crate) fn add(&mut self, events: u64, now: Instant) {
        *self = self.at(now);
        self.current += events;
    }

    /// How many a second, on the average of the last ten seconds.
    pub(crate) fn per_second(self, now: Instant) -> f64 {
        let Self { begun, current, previous } = self.at(now);
        let window = WINDOW.as_secs_f64();
        let over = now.saturating_duration_since(begun).as_secs_f64() / window;
        #[expect(
            clippy::cast_precision_loss,
            reason = "more than nine quadrillion in ten seconds are not counted here"
        )]
        let (current, previous) = (current as f64, previous as f64);
        (previous * (1.0 - over) + current) / window
    }

    /// The same once the windows that are over have been closed.
    fn at(self, now: Instant) -> Self {
        match now.saturating_duration_since(self.begun) {
            passed if passed < WINDOW => self,
            passed if passed < 2 * WINDOW => Self { begun: self.begun + WINDOW, current: 0, previous: self.current },
            _ => Self::new(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rate = RecentRate::new(start);
        assert_eq!(rate.per_second(start), 0.0);
        rate.add(30, start);
        rate.add(20, at(9));
        assert_eq!(rate.per_second(at(9)), 5.0);
        assert_eq!(rate.per_second(at(15)), 2.5, "half of that window is more than ten seconds ago");
        rate.add(10, at(15));
        assert_eq!(rate.per_second(at(15)), 3.5);
        assert_eq!(rate.per_second(at(20)), 1.0);
        assert_eq!(rate.per_second(at(30)), 0.0);
        rate.add(10, at(3_600));
        assert_eq!(rate.per_second(at(3_600)), 1.0);
    }
}
