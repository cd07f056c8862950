//! What time it is, for deadlines: connections, handshakes, the router and all write sides of a server ask here. Whoever
//! waits for the system or for threads (listener, crew, webhook, the blocking WebSocket) asks the system.
//!
//! Where bytes and times are made up, so is this: it stands still until it is moved, and is the same for all threads.

use std::time::Instant;

#[cfg(not(heartwire_fuzzing))]
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(heartwire_fuzzing)]
pub(crate) use made_up::{move_to, now};

#[cfg(heartwire_fuzzing)]
mod made_up {
    use super::Instant;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    static PASSED_NS: AtomicU64 = AtomicU64::new(0);

    pub(crate) fn now() -> Instant {
        *BEGIN + Duration::from_nanos(PASSED_NS.load(Ordering::SeqCst))
    }

    /// Moves it on to this time; what has passed stays past.
    pub(crate) fn move_to(time: Instant) {
        let passed = time.saturating_duration_since(*BEGIN).as_nanos();
        PASSED_NS.fetch_max(u64::try_from(passed).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}
