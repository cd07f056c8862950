//! How many may ask at once.

use crate::threads::lock;
use crate::threads::sync::{Condvar, Mutex};
use std::sync::PoisonError;
use std::time::Instant;

/// A number of places, each for one at a time.
pub(super) struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One place, until it is dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    /// Whether it was not free at once.
    pub(super) has_waited: bool,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), freed: Condvar::new() }
    }

    /// Takes a place, and waits for one until the deadline.
    pub(super) fn enter(&self, deadline: Instant) -> Option<Place<'_>> {
        let mut free = lock(&self.free);
        let has_waited = *free == 0;
        while *free == 0 {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            free = self.freed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Place { places: self, has_waited })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *lock(&self.places.free) += 1;
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = Places::new(2);
        let now = Instant::now();
        let (first, second) = (places.enter(now), places.enter(now));
        assert!(first.as_ref().is_some_and(|place| !place.has_waited) && second.is_some());
        assert!(places.enter(now + Duration::from_millis(20)).is_none());
        drop(first);
        assert!(places.enter(now).is_some());
        assert!(places.enter(now).is_some(), "the one before is gone at once");
    }

    #[test]
    fn all_who_wait_get_their_turn_and_never_too_many_at_once() {
        let (places, inside, most) = (Places::new(3), AtomicUsize::new(0), AtomicUsize::new(0));
        let deadline = Instant::now() + Duration::from_secs(60);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _place = places.enter(deadline).unwrap();
                        most.fetch_max(1 + inside.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 3);
        assert_eq!(*lock(&places.free), 3);
    }
}
