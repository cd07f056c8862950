//! The router's thread: takes turns at the core, and sleeps in between.

use super::Router;
use super::command::PresenceChange;
use super::core::{Core, Inboxes, Rest};
use crate::clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::threads::channel::Sender;
use crate::threads::lock;
use crate::threads::parker::Parker;
use crate::threads::sync::Mutex;
use crate::threads::sync::atomic::Ordering;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// How long the router sleeps at most, for no reason but that a wait has an end.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Where the core is while the router runs. Whoever holds the lock takes from the inboxes, applies and sends, all of it in
/// order, and does not block.
pub(super) type Seat = Mutex<Option<Core>>;

/// The router's thread, from the first registration to `Stop`.
///
/// A panic in the state, on whichever thread, fails the server: every connection is closed with 1011, and the panic goes on
/// to the caller.
pub(super) fn run(
    router: &Router,
    parker: &Parker,
    inboxes: Inboxes,
    config: Arc<Config>,
    changes: Sender<PresenceChange>,
    metrics: Arc<Metrics>,
) {
    *lock(&router.seat) = Some(Core::new(inboxes, config, changes, metrics));
    let served = catch_unwind(AssertUnwindSafe(|| serve(router, parker)));
    let core = lock(&router.seat).take();
    if served.is_err() {
        core.iter().for_each(Core::fail);
    }
    router.ended.store(true, Ordering::SeqCst);
    // Whoever waits for an answer to something in the inboxes learns that there will be none.
    core.into_iter().for_each(Core::end);
    if let Err(panic) = served {
        resume_unwind(panic);
    }
}

fn serve(router: &Router, parker: &Parker) {
    let turn = || lock(&router.seat).as_mut().map_or(ControlFlow::Break(()), Core::turn);
    while let ControlFlow::Continue(Rest { idle, wake }) = turn() {
        if idle && router.is_quiet() {
            let patience = wake.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(clock::now()));
            parker.park_timeout(patience);
        }
    }
}

/// Answers whoever asked; one that has given up waiting needs no answer.
pub(super) fn answer<T>(reply: &Sender<T>, answer: T) {
    let _ = reply.try_send(answer);
}
