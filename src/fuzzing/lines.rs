//! Lines of raw TCP: the same however they arrive, none longer than permitted, and none where the server wrote none.

use super::pieces;
use crate::connection::{Lines, TooLong};
use crate::protocol::line;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The first byte says how the rest arrives, the second how long a line may be.
pub fn lines(input: &[u8]) {
    let Some((&[how, longest], bytes)) = input.split_first_chunk() else { return };
    let max_bytes = usize::from(longest) + 1;
    let (whole, in_pieces) = (split(max_bytes, [bytes]), split(max_bytes, pieces(how, bytes)));
    assert_eq!(whole, in_pieces);
    assert_eq!(whole, expected(max_bytes, bytes));
    assert_one_at_a_time(max_bytes, bytes, &whole.0);
    let written = line::from_json(bytes);
    assert_eq!(written.len(), bytes.len() + 1);
    assert_eq!(written.iter().position(|byte| *byte == b'\n'), Some(bytes.len()));
    assert!(!written.contains(&b'\r'));
}

/// The lines, and whether one was too long.
fn split<'a>(max_bytes: usize, parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let (mut lines, mut found, begin) = (Lines::new(max_bytes), Vec::new(), Instant::now());
    let mut unfinished_since = None;
    for (at, part) in parts.into_iter().enumerate() {
        let now = begin + Duration::from_secs(at as u64);
        let split = lines.split(part, now, |line| {
            assert!(line.len() <= max_bytes);
            found.push(line.to_vec());
            ControlFlow::Continue(())
        });
        if split == Err(TooLong) {
            return (found, true);
        }
        assert_eq!(split, Ok(part.len()));
        // The clock of a line runs from its first byte, which no later one moves.
        match part.iter().rposition(|byte| *byte == b'\n') {
            Some(end) if end + 1 == part.len() => unfinished_since = None,
            Some(_) => unfinished_since = Some(now),
            None if part.is_empty() => {}
            None => _ = unfinished_since.get_or_insert(now),
        }
        assert_eq!(lines.assembling_since(), unfinished_since);
    }
    (found, false)
}

/// The same by the shortest rule that says it.
fn expected(max_bytes: usize, bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut found = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let ended = line.strip_suffix(b"\n");
        let content = ended.unwrap_or(line);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        if content.len() > max_bytes {
            return (found, true);
        }
        if ended.is_some() {
            found.push(content.to_vec());
        }
    }
    (found, false)
}

/// Whoever stops after each line gets the rest back.
fn assert_one_at_a_time(max_bytes: usize, bytes: &[u8], expected: &[Vec<u8>]) {
    let (mut lines, mut rest, mut found) = (Lines::new(max_bytes), bytes, Vec::new());
    while !rest.is_empty() {
        let split = lines.split(rest, Instant::now(), |line| {
            found.push(line.to_vec());
            ControlFlow::Break(())
        });
        let Ok(used) = split else { break };
        rest = &rest[used..];
    }
    assert_eq!(found, expected);
}
