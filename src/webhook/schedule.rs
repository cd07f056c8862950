//! When to try again, and when no more. Pure: time and randomness are arguments.

use super::options::WebhookOptions;
use std::time::{Duration, Instant};

/// No back end is believed that asks for more patience.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

/// Why an attempt failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// For the log.
    pub(super) what: String,
    /// The same request would fail again.
    pub(super) lasting: bool,
    /// What the back end asked for.
    pub(super) retry_after: Option<Duration>,
}

/// What follows from a failure. Nothing is sent for this long, whatever it is: after a refusal, too, the back end is spared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The batch is tried again.
    Again(Duration),
    /// The batch is given up.
    GiveUp(Duration),
}

/// How often it has failed in a row.
pub(super) struct Schedule {
    first: Duration,
    longest: Duration,
    give_up_after: Duration,
    failures: u32,
}

impl Schedule {
    pub(super) fn new(options: &WebhookOptions) -> Self {
        let WebhookOptions { retry_first: first, retry_longest: longest, give_up_after, .. } = *options;
        Self { first, longest, give_up_after, failures: 0 }
    }

    /// An attempt has succeeded; says whether the one before had failed.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }

    /// An attempt has failed at a batch that was first tried at `began`. `random` is from 0 to 1.
    pub(super) fn failed(&mut self, failure: &Failure, began: Instant, now: Instant, random: f64) -> Next {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        // Half of it is random, so that servers that failed together do not try together.
        let half = self.first.saturating_mul(factor).min(self.longest) / 2;
        let asked_for = failure.retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let wait = (half + half.mul_f64(random.clamp(0.0, 1.0))).max(asked_for);
        let left = self.give_up_after.saturating_sub(now.saturating_duration_since(began));
        match failure.lasting || left.is_zero() {
            true => Next::GiveUp(wait),
            false => Next::Again(wait.min(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule() -> Schedule {
        Schedule::new(&WebhookOptions::new("http://a/", Vec::new()))
    }

    fn failure(retry_after: Option<Duration>) -> Failure {
        Failure { what: String::new(), lasting: false, retry_after }
    }

    #[test]
    fn waits_double_between_a_half_and_the_whole() {
        let (mut longest, mut shortest, now) = (schedule(), schedule(), Instant::now());
        let wait = |schedule: &mut Schedule, random| match schedule.failed(&failure(None), now, now, random) {
            Next::Again(wait) => wait.as_millis(),
            Next::GiveUp(_) => panic!("no time has passed"),
        };
        let waits: Vec<_> = (0..40).map(|_| (wait(&mut shortest, 0.0), wait(&mut longest, 1.0))).collect();
        let expected =
            [(500, 1_000), (1_000, 2_000), (2_000, 4_000), (4_000, 8_000), (8_000, 16_000), (15_000, 30_000)];
        assert_eq!((&waits[..6], waits[39]), (&expected[..], (15_000, 30_000)));
        assert!(longest.succeeded() && !longest.succeeded());
        assert_eq!(wait(&mut longest, 1.0), 1_000, "a success makes good");
    }

    #[test]
    fn a_batch_is_given_up_after_five_minutes_and_not_before() {
        let (mut schedule, began) = (schedule(), Instant::now());
        (0..10).for_each(|_| _ = schedule.failed(&failure(None), began, began, 1.0));
        let mut at = |seconds| schedule.failed(&failure(None), began, began + seconds * SECOND, 1.0);
        assert_eq!(at(270), Next::Again(30 * SECOND));
        assert_eq!(at(299), Next::Again(SECOND), "the last attempt is made at the end of the time");
        assert_eq!(at(300), Next::GiveUp(30 * SECOND), "what follows waits as well");
    }

    #[test]
    fn what_lasts_is_not_tried_again() {
        let (mut schedule, now) = (schedule(), Instant::now());
        let refused = Failure { lasting: true, ..failure(None) };
        assert_eq!(schedule.failed(&refused, now, now, 1.0), Next::GiveUp(SECOND));
        assert_eq!(schedule.failed(&refused, now, now, 1.0), Next::GiveUp(2 * SECOND), "the back end is spared");
    }

    #[test]
    fn the_back_end_may_ask_for_more_patience_but_not_for_any() {
        let now = Instant::now();
        let asked = |seconds| schedule().failed(&failure(Some(seconds * SECOND)), now, now, 1.0);
        assert_eq!([0, 7, 3_600].map(asked), [1, 7, 120].map(|seconds| Next::Again(seconds * SECOND)));
        let late = now + 299 * SECOND;
        assert_eq!(schedule().failed(&failure(Some(7 * SECOND)), now, late, 0.0), Next::Again(SECOND));
    }

    proptest! {
        #[test]
        fn every_wait_is_bounded(steps in prop::collection::vec((any::<f64>(), any::<Option<u64>>(), 0..400_u64), 1..100)) {
            let (mut schedule, began) = (schedule(), Instant::now());
            for (random, retry_after, elapsed) in steps {
                let failure = failure(retry_after.map(Duration::from_secs));
                let now = began + Duration::from_secs(elapsed);
                let next = schedule.failed(&failure, began, now, random);
                let (Next::Again(wait) | Next::GiveUp(wait)) = next;
                prop_assert!(wait <= LONGEST_RETRY_AFTER);
                prop_assert_eq!(matches!(next, Next::GiveUp(_)), elapsed >= 300);
            }
        }
    }
}
