//! How values are written on the command line: times, sizes, limits that `0` turns off, and words.

use bytesize::ByteSize;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A time with its unit: `25s`, `1m30s`, `500ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl FromStr for Time {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&humantime::format_duration(self.0).to_string().replace(' ', ""))
    }
}

/// A range of times: `10s..15m`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeRange(pub(super) RangeInclusive<Duration>);

impl FromStr for TimeRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").ok_or("a range of times is written as 10s..15m")?;
        let time = |text: &str| text.parse::<Time>().map_err(|error| error.to_string());
        Ok(Self(time(least)?.0..=time(most)?.0))
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", Time(*self.0.start()), Time(*self.0.end()))
    }
}

/// A number of bytes, with or without a unit: `64KiB`, `1MiB`, `65536`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ByteSize(bytes) = text.parse().map_err(|_| "a size is written as 65536 or 64KiB")?;
        usize::try_from(bytes).map(Self).map_err(|_| "more bytes than this machine can address".into())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ByteSize rounds for its reader; what is shown here can be written back.
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A limit that `0` turns off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit<T>(pub(super) Option<T>);

impl<T: FromStr + Default + PartialEq> FromStr for Limit<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let limit: T = text.parse()?;
        Ok(Self(Some(limit).filter(|limit| *limit != T::default())))
    }
}

impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(limit) => limit.fmt(f),
            None => f.write_str("0"),
        }
    }
}

/// The words for a choice and what they mean.
pub(super) type Words<T> = &'static [(&'static str, T)];

/// The words of a switch.
pub(super) const SWITCH: Words<bool> = &[("on", true), ("off", false)];
/// What environment variables say instead.
const OTHER_WORDS: [&[&str]; 2] = [&["true", "yes", "y", "t", "1"], &["false", "no", "n", "f", "0"]];

/// Accepts the words of a switch, and in silence the others.
pub(super) fn switch() -> impl TypedValueParser<Value = bool> {
    let named = SWITCH.iter().zip(OTHER_WORDS);
    let words = named.map(|((word, _), others)| PossibleValue::new(word).aliases(others.iter().copied()));
    PossibleValuesParser::new(words).map(|given| {
        let given = given.to_lowercase();
        given == SWITCH[0].0 || OTHER_WORDS[0].contains(&&*given)
    })
}

/// Accepts these words only, and names them in the help and where another one was given.
pub(super) fn one_of<T: Copy + Send + Sync>(words: Words<T>) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| word)).try_map(move |given| {
        let found = words.iter().find(|(word, _)| *word == given);
        found.map(|(_, meaning)| *meaning).ok_or("unknown word")
    })
}

/// The word for a value, to show a default.
pub(super) fn word_for<T: PartialEq>(words: Words<T>, meaning: &T) -> &'static str {
    words.iter().find(|(_, known)| known == meaning).map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_written_back() {
        for text in ["25s", "1m30s", "15m", "2s500ms", "0s"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        for text in ["64KiB", "1MiB", "3GiB", "1000", "0"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("10s..15m".parse::<TimeRange>().unwrap().to_string(), "10s..15m");
        assert_eq!("7".parse::<Limit<u32>>().unwrap().to_string(), "7");
        assert_eq!("0".parse::<Limit<u32>>().unwrap().to_string(), "0");
    }

    #[test]
    fn zero_turns_a_limit_off_in_every_spelling() {
        assert_eq!("0".parse(), Ok(Limit::<usize>(None)));
        assert_eq!("0".parse(), Ok(Limit::<Time>(None)));
        assert_eq!("0s".parse(), Ok(Limit::<Time>(None)));
        assert_eq!("1ms".parse(), Ok(Limit(Some(Time(Duration::from_millis(1))))));
    }

    #[test]
    fn sizes_take_both_kinds_of_units() {
        assert_eq!("1MB".parse(), Ok(Size(1_000_000)));
        assert_eq!("1.5 MiB".parse(), Ok(Size(3 << 19)));
        assert!("64 potatoes".parse::<Size>().is_err());
        assert!("-1".parse::<Size>().is_err());
    }

    #[test]
    fn times_need_a_unit() {
        assert!("25".parse::<Time>().is_err());
        assert!("-1s".parse::<Time>().is_err());
        assert!("10s".parse::<TimeRange>().is_err());
        assert!("10s..x".parse::<TimeRange>().is_err());
    }
}
