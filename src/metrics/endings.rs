//! How many ended, or did not come in, for which reason.

use crate::protocol::close::CloseKind;
use crate::threads::lock;
use crate::threads::sync::Mutex;
use std::collections::BTreeMap;

/// Counts by reason. Codes that a peer or the embedding program chose are kept too: there are some thousands at most.
#[derive(Debug)]
pub(crate) struct Endings(Mutex<BTreeMap<(&'static str, u16), u64>>);

/// The codes of RFC 6455 §7.4.1 and of its registry. What others send means what they want it to mean.
#[cfg(feature = "admin")]
const REGISTERED: std::ops::RangeInclusive<u16> = 1000..=1015;

impl Endings {
    /// Nothing yet, of each of these: a count that is there from the beginning shows its first change, too.
    pub(super) fn of(expected: impl IntoIterator<Item = CloseKind>) -> Self {
        Self(Mutex::new(expected.into_iter().map(|kind| ((kind.name(), kind.code()), 0)).collect()))
    }

    /// Counts one.
    pub(crate) fn add(&self, kind: CloseKind) {
        *lock(&self.0).entry((kind.name(), kind.code())).or_default() += 1;
    }

    /// How many there were.
    pub(crate) fn total(&self) -> u64 {
        lock(&self.0).values().sum()
    }

    /// How many there were of each code.
    pub(crate) fn by_code(&self) -> BTreeMap<u16, u64> {
        let mut counts = BTreeMap::new();
        for ((_, code), count) in lock(&self.0).iter().filter(|(_, count)| **count > 0) {
            *counts.entry(*code).or_default() += count;
        }
        counts
    }

    /// How many there were for each reason.
    #[cfg(feature = "admin")]
    pub(crate) fn by_reason(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for ((reason, _), count) in lock(&self.0).iter() {
            *counts.entry(*reason).or_default() += count;
        }
        counts
    }

    /// How many there were for each reason and code. Codes that anybody may invent are `other`, so that nobody can make
    /// more of these than there are reasons and registered codes.
    #[cfg(feature = "admin")]
    pub(crate) fn by_reason_and_code(&self) -> BTreeMap<(&'static str, String), u64> {
        let mut counts = BTreeMap::new();
        for ((reason, code), count) in lock(&self.0).iter() {
            let is_invented = is_chosen_elsewhere(reason) && !REGISTERED.contains(code);
            let code = if is_invented { "other".into() } else { code.to_string() };
            *counts.entry((*reason, code)).or_default() += count;
        }
        counts
    }
}

/// Whether not the server chooses the code that goes with this reason.
#[cfg(feature = "admin")]
fn is_chosen_elsewhere(reason: &str) -> bool {
    [CloseKind::PeerClosed(0), CloseKind::Application(0)].iter().any(|kind| kind.name() == reason)
}
