//! Answers that may be given again. Pure: `now` is an argument.

use crate::auth::Identity;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// How many answers are kept.
const MAX_ENTRIES: usize = 10_000;

/// What an answer was given to: the hash of everything that was sent.
pub(super) type Key = [u8; 32];

/// The answers, by what was asked. Where there is no room, the one goes that would be too old first.
#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Key, (Instant, Identity)>,
    /// The same, in the order in which they become too old.
    ends: BTreeSet<(Instant, Key)>,
}

impl Cache {
    /// The answer, if it may still be given.
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Identity> {
        let (end, identity) = self.entries.get(key)?;
        (now < *end).then(|| identity.clone())
    }

    /// Keeps an answer for this long, in place of the one that there was.
    pub(super) fn insert(&mut self, key: Key, identity: &Identity, fresh_for: Duration, now: Instant) {
        if let Some((end, _)) = self.entries.remove(&key) {
            self.ends.remove(&(end, key));
        }
        if fresh_for.is_zero() {
            return;
        }
        while self.ends.first().is_some_and(|(end, _)| *end <= now || self.ends.len() >= MAX_ENTRIES) {
            if let Some((_, oldest)) = self.ends.pop_first() {
                self.entries.remove(&oldest);
            }
        }
        let end = now + fresh_for;
        self.entries.insert(key, (end, identity.clone()));
        self.ends.insert((end, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::Account;

    fn key(n: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_be_bytes());
        key
    }

    fn identity(n: usize) -> Identity {
        Identity::new(Account::new(&n.to_string()).unwrap())
    }

    fn seconds(n: usize) -> Duration {
        Duration::from_secs(u64::try_from(n).unwrap())
    }

    #[test]
    fn an_answer_is_given_until_it_is_too_old() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        cache.insert(key(1), &identity(1), seconds(10), start);
        assert_eq!(cache.get(&key(1), start + seconds(10) - Duration::from_nanos(1)), Some(identity(1)));
        assert_eq!(cache.get(&key(1), start + seconds(10)), None);
        assert_eq!(cache.get(&key(2), start), None);
    }

    #[test]
    fn a_newer_answer_replaces_an_older_one_even_if_it_may_not_be_kept() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        cache.insert(key(1), &identity(1), seconds(10), start);
        cache.insert(key(1), &identity(2), seconds(20), start);
        assert_eq!(cache.get(&key(1), start + seconds(15)), Some(identity(2)));
        cache.insert(key(1), &identity(3), Duration::ZERO, start);
        assert_eq!(cache.get(&key(1), start), None);
        assert!(cache.entries.is_empty() && cache.ends.is_empty());
    }

    #[test]
    fn without_room_the_one_goes_that_would_be_too_old_first() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        for n in 0..MAX_ENTRIES {
            // The later ones end first.
            cache.insert(key(n), &identity(n), seconds(2 * MAX_ENTRIES - n), start);
        }
        cache.insert(key(MAX_ENTRIES), &identity(1), seconds(5), start);
        assert_eq!((cache.entries.len(), cache.ends.len()), (MAX_ENTRIES, MAX_ENTRIES));
        assert_eq!(cache.get(&key(MAX_ENTRIES - 1), start), None);
        assert_eq!(cache.get(&key(MAX_ENTRIES), start), Some(identity(1)));
        let later = start + seconds(MAX_ENTRIES + 100);
        cache.insert(key(MAX_ENTRIES + 1), &identity(2), seconds(5), later);
        assert_eq!((cache.entries.len(), cache.ends.len()), (MAX_ENTRIES - 99, MAX_ENTRIES - 99));
    }
}
