//! Lines of JSON over raw TCP, found in the bytes received. Pure.

use std::ops::ControlFlow;
use std::time::Instant;

/// The receiving side of one raw TCP connection.
pub(crate) struct Lines {
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    /// First byte of that line.
    since: Option<Instant>,
    max_bytes: usize,
}

/// A line is longer than permitted: what follows is not to be split any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Lines {
    /// No line may be longer than `max_bytes`, its end not counted.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { begun: Vec::new(), since: None, max_bytes }
    }

    /// Since when a line is incomplete.
    pub(crate) fn assembling_since(&self) -> Option<Instant> {
        self.since
    }

    /// Passes on each line that ends within what was received at `now`, without its end (`\n` or `\r\n`), until told to
    /// stop; says how many bytes were used up.
    ///
    /// # Errors
    /// [`TooLong`]; lines before that were passed on.
    pub(crate) fn split(
        &mut self,
        received: &[u8],
        now: Instant,
        mut line: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<usize, TooLong> {
        let mut used = 0;
        while used < received.len() {
            let rest = &received[used..];
            let end = rest.iter().position(|byte| *byte == b'\n');
            used += end.map_or(rest.len(), |end| end + 1);
            if self.part(&rest[..end.unwrap_or(rest.len())], end.is_some(), now, &mut line)?.is_break() {
                break;
            }
        }
        Ok(used)
    }

    /// Takes the next part of the present line, perhaps its last.
    fn part(
        &mut self,
        part: &[u8],
        is_last: bool,
        now: Instant,
        line: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, TooLong> {
        self.since = if is_last { None } else { Some(self.since.unwrap_or(now)) };
        // The `\r` of its end may have come already.
        let has_return = part.last().or(self.begun.last()) == Some(&b'\r');
        if self.begun.len() + part.len() > self.max_bytes + usize::from(has_return) {
            self.begun = Vec::new();
            return Err(TooLong);
        }
        if !is_last {
            self.begun.extend_from_slice(part);
            return Ok(ControlFlow::Continue(()));
        }
        // What was allocated goes back at once: most connections are idle most of the time.
        let begun = std::mem::take(&mut self.begun);
        let whole = if begun.is_empty() { part } else { &[&begun, part].concat() };
        Ok(line(whole.strip_suffix(b"\r").unwrap_or(whole)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    /// What is found in these parts, received one after the other.
    fn split(max_bytes: usize, parts: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::new(max_bytes), Vec::new());
        for part in parts {
            let split = lines.split(part, Instant::now(), |line| {
                found.push(String::from_utf8_lossy(line).into_owned());
                ControlFlow::Continue(())
            });
            if split == Err(TooLong) {
                found.push("too long".into());
                break;
            }
        }
        found
    }

    #[test]
    fn lines_end_with_either_break_and_may_be_empty() {
        let parts: [&[u8]; 4] = [b"one\ntwo\r\n\n\r\nthr", b"ee", b"\r", b"\nfour"];
        assert_eq!(split(9, &parts), ["one", "two", "", "", "three"]);
    }

    #[test]
    fn a_line_too_long_is_the_end() {
        assert_eq!(split(3, &[b"123\n123\r\n1234\n123\n"]), ["123", "123", "too long"]);
        assert_eq!(split(3, &[b"12", b"3", b"4"]), ["too long"]);
        assert_eq!(split(3, &[b"123\r", b"\n123\r", b"4"]), ["123", "too long"]);
    }

    #[test]
    fn a_line_is_assembled_from_its_first_byte_to_its_end() {
        let (mut lines, start) = (Lines::new(9), Instant::now());
        let later = start + Duration::from_secs(1);
        let go_on = |_: &[u8]| ControlFlow::Continue(());
        lines.split(b"a\nb", start, go_on).unwrap();
        lines.split(b"c", later, go_on).unwrap();
        assert_eq!(lines.assembling_since(), Some(start));
        lines.split(b"\nd", later, go_on).unwrap();
        assert_eq!(lines.assembling_since(), Some(later));
        lines.split(b"\n", later, go_on).unwrap();
        assert_eq!(lines.assembling_since(), None);
    }

    #[test]
    fn whoever_stops_gets_the_rest_back() {
        let mut lines = Lines::new(9);
        let used = lines.split(b"one\ntwo\nthree", Instant::now(), |_| ControlFlow::Break(()));
        assert_eq!(used, Ok(4));
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_makes_no_difference(
            text in "[ab\r\n]{0,60}", cuts in prop::collection::vec(0_usize..60, 0..8), max_bytes in 1_usize..8,
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<_> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(max_bytes, &parts), split(max_bytes, &[text.as_bytes()]));
        }
    }
}
