//! Wakes a thread that sleeps for several things at once, where these are in memory.

use super::lock;
use super::sync::{Condvar, Mutex};
use std::sync::PoisonError;
use std::time::Instant;

/// What a [`Wake`](super::Wake) is for those who sleep in `poll`.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Ends the wait of now, or else the next one, unless [`Bell::silence`] comes before it.
    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_all();
    }

    /// Forgets that it rang.
    pub(crate) fn silence(&self) {
        *lock(&self.rung) = false;
    }

    /// Whether a wait would end at once.
    #[cfg(test)]
    #[cfg(heartwire_model)]
    pub(crate) fn rings(&self) -> bool {
        *lock(&self.rung)
    }

    /// Waits until it rings, or the deadline comes; says whether it rang.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut rung = lock(&self.rung);
        while !*rung {
            let Some(deadline) = deadline else {
                rung = self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            rung = self.changed.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung
    }
}
