//! When to come back after a connection has ended, or was never made. Pure: time and randomness are arguments.

use std::time::{Duration, Instant};

/// No wait is longer, whatever a server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How a client comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The most that the first wait of a back-off takes; each further one takes up to twice as much. Default 1 s.
    pub first: Duration,
    /// The most that any wait of a back-off takes. Default 60 s.
    pub longest: Duration,
    /// How long a connection must have lasted for the failures before it to be forgotten. Default 30 s.
    pub stable: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        Self { first, longest, stable: Duration::from_secs(30) }
    }
}

/// What follows from the way in which a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// At once, or after a random part of this, unless that has been tried.
    AtOnce { spread: Duration },
    /// After a wait that grows from attempt to attempt, but not before this.
    BackOff { at_least: Duration },
    /// Not by itself.
    Never,
}

/// How often it has failed in a row.
#[derive(Debug)]
pub(super) struct Schedule {
    backoff: Backoff,
    failures: u32,
    online_since: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, online_since: None }
    }

    /// A connection was registered.
    pub(super) fn online(&mut self, now: Instant) {
        self.online_since = Some(now);
    }

    /// A connection has ended, or an attempt has failed: how long to wait before the next, if there is to be one. `random`
    /// is from 0 to 1.
    ///
    /// Waits are random parts of what they may be ("full jitter"), so that clients that were lost together do not come
    /// back together.
    pub(super) fn next(&mut self, advice: Advice, random: f64, now: Instant) -> Option<Duration> {
        let lasted = self.online_since.take().map(|since| now.saturating_duration_since(since));
        if lasted.is_some_and(|lasted| lasted >= self.backoff.stable) {
            self.failures = 0;
        }
        let earlier_failures = self.failures;
        self.failures = self.failures.saturating_add(1);
        let wait = match advice {
            Advice::Never => return None,
            Advice::AtOnce { spread } if earlier_failures == 0 => part(spread, random),
            Advice::AtOnce { spread } => part(spread.max(self.most(earlier_failures)), random),
            Advice::BackOff { at_least } => at_least.saturating_add(part(self.most(earlier_failures), random)),
        };
        Some(wait.min(LONGEST_WAIT))
    }

    fn most(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.backoff.first.saturating_mul(factor).min(self.backoff.longest)
    }
}

fn part(whole: Duration, random: f64) -> Duration {
    whole.min(LONGEST_WAIT).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const AT_ONCE: Advice = Advice::AtOnce { spread: Duration::ZERO };
    const BACK_OFF: Advice = Advice::BackOff { at_least: Duration::ZERO };

    fn schedule() -> Schedule {
        Schedule::new(Backoff::default())
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let (mut schedule, now) = (schedule(), Instant::now());
        let waits: Vec<_> = (0..40).map(|_| schedule.next(BACK_OFF, 1.0, now).unwrap().as_secs()).collect();
        assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(waits[39], 60);
        assert_eq!(schedule.next(BACK_OFF, 0.25, now), Some(15 * SECOND), "a random part of it");
    }

    #[test]
    fn the_first_return_is_at_once_and_the_next_ones_back_off_until_a_connection_lasts() {
        let (mut schedule, mut now) = (schedule(), Instant::now());
        for stable in [true, false, false, true] {
            schedule.online(now);
            now += if stable { 30 * SECOND } else { 29 * SECOND };
            let wait = schedule.next(AT_ONCE, 1.0, now).unwrap();
            assert_eq!(wait.is_zero(), stable, "{wait:?}");
        }
        assert_eq!(schedule.next(AT_ONCE, 1.0, now), Some(2 * SECOND), "an attempt that failed lasted no time");
    }

    #[test]
    fn a_stopping_server_is_come_back_to_within_its_spread() {
        let stopping = Advice::AtOnce { spread: 5 * SECOND };
        assert_eq!(schedule().next(stopping, 0.5, Instant::now()), Some(5 * SECOND / 2));
        assert_eq!(schedule().next(stopping, 0.0, Instant::now()), Some(Duration::ZERO));
    }

    #[test]
    fn nobody_comes_before_he_was_asked_to_nor_at_all_if_not() {
        let asked = Advice::BackOff { at_least: 7 * SECOND };
        assert_eq!(schedule().next(asked, 0.0, Instant::now()), Some(7 * SECOND));
        assert_eq!(schedule().next(asked, 1.0, Instant::now()), Some(8 * SECOND));
        assert_eq!(schedule().next(Advice::Never, 0.5, Instant::now()), None);
    }

    proptest! {
        #[test]
        fn every_wait_is_bounded(advices in prop::collection::vec((any::<bool>(), any::<u64>(), any::<f64>()), 1..100)) {
            let (mut schedule, now) = (schedule(), Instant::now());
            for (at_once, secs, random) in advices {
                let time = Duration::from_secs(secs);
                let advice = if at_once { Advice::AtOnce { spread: time } } else { Advice::BackOff { at_least: time } };
                prop_assert!(schedule.next(advice, random, now).unwrap() <= LONGEST_WAIT);
            }
        }
    }
}
