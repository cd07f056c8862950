//! Why a connection ended or was refused, in plain words: what happened, and what to change.
//!
//! Pure: all of it comes from the record. A kind of end has several causes, which the server's own words tell apart, and
//! its figures say how far it went.

mod closed;
mod refused;
mod silence;

use super::{ClosedConnection, RefusedAttempt};
use crate::protocol::close::{CloseKind, CloseReason};
use std::time::Duration;

/// Why a connection ended or was refused, for a person: plain English sentences, without a word that a peer wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// What happened, with the figures of the record.
    pub cause: String,
    /// What to change, in the client or by a flag of `heartwire serve`, or that nothing has to be.
    pub remedy: String,
}

impl ClosedConnection {
    /// Says in plain words why it ended and what to do about it.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let explanation = match self.reason.kind() {
            CloseKind::HeartbeatTimeout => silence::timeout(self),
            CloseKind::PeerGone => Some(silence::gone(self)),
            _ => None,
        };
        explanation.unwrap_or_else(|| closed::explain(self))
    }
}

impl RefusedAttempt {
    /// Says in plain words why it was refused and what to do about it.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        refused::explain(&self.reason)
    }
}

/// What to do about a router that does not keep up.
const BOUND_THE_LOAD: &str = "Find out who loads the server (heartwire top shows the busiest), and bound that: --rate, \
    --deliveries-per-second, --delivered-bytes-per-second. Or give it more CPU.";

/// What the server means by words of its own.
struct Meaning {
    kind: CloseKind,
    /// Words of the reason's text; none where no others of this kind were found in it.
    words: &'static str,
    /// As the remedy, it may hold `{}`, which stands for the last number in the text: the limit.
    cause: &'static str,
    remedy: &'static str,
}

impl Meaning {
    const fn of(kind: CloseKind, words: &'static str, cause: &'static str, remedy: &'static str) -> Self {
        Self { kind, words, cause, remedy }
    }
}

/// The first meaning that fits.
fn meaning(of: &[Meaning], reason: &CloseReason) -> Option<Explanation> {
    let text = reason.wire_text();
    let found = of.iter().find(|meaning| meaning.kind == reason.kind() && text.contains(meaning.words))?;
    let limit = text.rsplit(' ').find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    let filled = |words: &str| words.replace("{}", limit.unwrap_or("as the text says"));
    Some(Explanation { cause: filled(found.cause), remedy: filled(found.remedy) })
}

/// A length of time as one would say it: `40 ms`, `61.2 s`, `12 min`.
fn spoken(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_millis() {
        0 => "less than 1 ms".into(),
        1..1_000 => format!("{} ms", time.as_millis()),
        1_000..120_000 => format!("{seconds:.1} s").replace(".0 s", " s"),
        120_000..7_200_000 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.0} h", seconds / 3_600.0),
    }
}

/// So many of what the word names.
fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
