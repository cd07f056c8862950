//! Moments and lengths of time, as the subcommands that ask a running server show them.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What comes later has no date of four digits.
const END_OF_9999: u64 = 253_402_300_799_999;

/// A moment in ms since 1970, shown in UTC as the log writes it; whatever is beyond the year 9999 as its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    /// As the system counts.
    pub(super) fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.min(END_OF_9999))
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.time()).fmt(f)
    }
}

/// The two largest units of a length of time: of an hour and more no seconds, of a second and more nothing smaller.
pub(super) fn largest_units(time: Duration) -> Vec<String> {
    let whole = if time < Duration::from_secs(1) {
        Duration::from_millis(u64::from(time.subsec_millis()))
    } else {
        Duration::from_secs(time.as_secs())
    };
    humantime::format_duration(whole).to_string().split(' ').take(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_moment_is_too_late_to_be_shown() {
        assert_eq!(Moment(1_795_371_104_424).to_string(), "2026-11-22T18:11:44Z");
        for late in [END_OF_9999, END_OF_9999 + 1, u64::MAX] {
            assert_eq!(Moment(late).to_string(), "9999-12-31T23:59:59Z");
        }
    }

    #[test]
    fn two_units_say_enough() {
        let units = |ms| largest_units(Duration::from_millis(ms)).join(" ");
        assert_eq!(units(40), "40ms");
        assert_eq!(units(1_999), "1s");
        assert_eq!(units(4_325_678), "1h 12m");
    }
}
