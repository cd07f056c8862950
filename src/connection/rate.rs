//! How many messages a connection may send, and when too many are too many. Pure: `now` is an argument.

use crate::config::Rate;
use crate::limits::TokenBucket;
use std::time::{Duration, Instant};

/// How long a connection may stay above its rate before it is closed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it must keep within its rate for the past to be forgotten, and how often it is told at most.
const SECOND: Duration = Duration::from_secs(1);

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// It is dropped; with `tell`, its sender gets an error (at most one a second).
    Refuse {
        tell: bool,
    },
    /// The connection has been above its rate for 5 s.
    End,
}

/// The messages of one connection, held against their rate.
pub(crate) struct MessageRate {
    bucket: Option<TokenBucket>,
    above_since: Option<Instant>,
    last_refused: Option<Instant>,
    last_told: Option<Instant>,
}

impl MessageRate {
    pub(crate) fn new(rate: Option<Rate>, now: Instant) -> Self {
        let bucket = rate.map(|rate| TokenBucket::new(rate, now));
        Self { bucket, above_since: None, last_refused: None, last_told: None }
    }

    /// Judges a message that has arrived at `now`.
    pub(crate) fn judge(&mut self, now: Instant) -> Verdict {
        let within = self.bucket.as_mut().is_none_or(|bucket| bucket.take(1, now));
        let a_second_ago =
            |then: Option<Instant>| then.is_none_or(|then| now.saturating_duration_since(then) >= SECOND);
        if a_second_ago(self.last_refused) {
            self.above_since = None;
        }
        if within {
            return Verdict::Pass;
        }
        self.last_refused = Some(now);
        let since = *self.above_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= PATIENCE {
            return Verdict::End;
        }
        let tell = a_second_ago(self.last_told);
        if tell {
            self.last_told = Some(now);
        }
        Verdict::Refuse { tell }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_a_second(now: Instant) -> MessageRate {
        MessageRate::new(Some(Rate { per_second: 1, burst: 1 }), now)
    }

    #[test]
    fn the_sender_is_told_once_a_second() {
        let start = Instant::now();
        let mut rate = one_a_second(start);
        assert_eq!(rate.judge(start), Verdict::Pass);
        assert_eq!(rate.judge(start), Verdict::Refuse { tell: true });
        let almost = start + SECOND - Duration::from_nanos(1);
        assert_eq!(rate.judge(almost), Verdict::Refuse { tell: false });
        assert_eq!(rate.judge(start + SECOND), Verdict::Pass);
        assert_eq!(rate.judge(start + SECOND), Verdict::Refuse { tell: true });
    }

    #[test]
    fn five_seconds_above_the_rate_are_the_end() {
        let start = Instant::now();
        let mut rate = one_a_second(start);
        let verdicts: Vec<_> = (0..=52).map(|n| rate.judge(start + n * Duration::from_millis(100))).collect();
        let end = verdicts.iter().position(|verdict| *verdict == Verdict::End);
        assert_eq!(end, Some(51), "first refused at 0.1 s, still at 5.1 s");
    }

    #[test]
    fn a_second_within_the_rate_makes_good() {
        let start = Instant::now();
        let mut rate = one_a_second(start);
        for second in 0..20 {
            let now = start + second * 2 * SECOND;
            assert_eq!(rate.judge(now), Verdict::Pass);
            assert_eq!(rate.judge(now), Verdict::Refuse { tell: true });
        }
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let start = Instant::now();
        let mut rate = MessageRate::new(None, start);
        assert!((0..10_000).all(|_| rate.judge(start) == Verdict::Pass));
    }
}
