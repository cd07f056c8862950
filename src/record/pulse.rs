//! What pings bring to light.

use std::time::Duration;

/// How many round trips the median is taken of. Odd, so that it is one of them.
const RECENT: usize = 15;

/// What the pings of one connection brought to light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pulse {
    pub(crate) pings_sent: u64,
    pub(crate) pings_answered: u64,
    pub(crate) last_round_trip: Option<Duration>,
    pub(crate) max_round_trip: Option<Duration>,
    /// The last of them, in microseconds; each takes the place of the one that was fifteen before it.
    pub(crate) recent: [u32; RECENT],
}

impl Pulse {
    /// The last ping was answered after this time.
    pub(crate) fn answered(&mut self, round_trip: Duration) {
        let place = usize::try_from(self.pings_answered % RECENT as u64).unwrap_or_default();
        self.recent[place] = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
        self.pings_answered += 1;
        self.last_round_trip = Some(round_trip);
        self.max_round_trip = self.max_round_trip.max(Some(round_trip));
    }

    /// The median of the last fifteen; of an even number, the larger of the two in the middle.
    pub(crate) fn median_round_trip(&self) -> Option<Duration> {
        let known = usize::try_from(self.pings_answered).unwrap_or(RECENT).min(RECENT);
        let mut recent = self.recent;
        let recent = &mut recent[..known];
        recent.sort_unstable();
        recent.get(known / 2).map(|micros| Duration::from_micros(u64::from(*micros)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_the_last_fifteen() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.median_round_trip(), None);
        let median_after = |pulse: &mut Pulse, millis: u64| {
            pulse.answered(Duration::from_millis(millis));
            pulse.median_round_trip().unwrap().as_millis()
        };
        assert_eq!(median_after(&mut pulse, 5), 5);
        assert_eq!(median_after(&mut pulse, 1), 5);
        assert_eq!(median_after(&mut pulse, 900), 5);
        for _ in 0..RECENT {
            median_after(&mut pulse, 20);
        }
        assert_eq!(median_after(&mut pulse, 7), 20, "the first three are forgotten");
        assert_eq!(pulse.last_round_trip, Some(Duration::from_millis(7)));
        assert_eq!(pulse.max_round_trip, Some(Duration::from_millis(900)));
        assert_eq!(pulse.pings_answered, 3 + RECENT as u64 + 1);
    }
}
