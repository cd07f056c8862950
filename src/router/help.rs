//! Who does the router's work when something has come for it: its own thread, which is woken for that; or, where the server
//! is configured so, the thread that brought it. Two switches of threads fewer are half of what a message costs where few
//! are on their way.
//!
//! Whoever helps takes a short turn of the router's, from the same inboxes, in the same order, under the same lock. So it
//! overtakes nothing, and what it leaves is the router's.

use super::{Router, SendError};
use crate::threads::sync::atomic::{Ordering, fence};

/// How many turns a thread takes one after another, before its own client has waited for long enough.
const TURNS: usize = 4;

impl Router {
    /// Has somebody look at the inboxes, into which something was put. Must not be called with any lock held that sending
    /// to a connection takes.
    ///
    /// # Errors
    /// [`SendError::Stopped`]: nobody will look at it.
    pub(super) fn see_to_it(&self) -> Result<(), SendError> {
        if self.helped {
            self.help();
        } else {
            self.wake();
        }
        // A channel keeps what nobody takes for as long as anybody could send. Either whoever puts something in finds that
        // the router has ended, or the router, ending, finds that something and drops it.
        fence(Ordering::SeqCst);
        if self.ended.load(Ordering::SeqCst) { Err(SendError::Stopped) } else { Ok(()) }
    }

    /// Has the router look at the inboxes.
    pub(super) fn wake(&self) {
        self.unparker.unpark();
    }

    /// Whether the inboxes are empty, as seen by one who has just let go of the seat, or of something put into them.
    pub(super) fn is_quiet(&self) -> bool {
        // Either whoever puts something in finds the seat free, or whoever has freed it finds that something.
        fence(Ordering::SeqCst);
        self.data.is_empty() && self.control.is_empty()
    }

    fn help(&self) {
        for _ in 0..TURNS {
            if self.is_quiet() {
                return;
            }
            // Whoever has the seat looks once more when it has let go of it.
            let Ok(mut seat) = self.seat.try_lock() else { return };
            // Without a core the router has not begun, and will look, or has ended.
            let Some(core) = &mut *seat else { return };
            if core.help() {
                break;
            }
        }
        self.wake();
    }
}
