//! The router without a thread of its own: where bytes and times are made up, whoever would wait for it runs it.

use super::Inboxes;
use super::run::{self, Core, Rest};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::threads::lock;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// That of the only server there is.
static ROUTER: Mutex<Option<(Core, run::Inboxes)>> = Mutex::new(None);

/// In place of [`super::run`].
pub(crate) fn install(config: Arc<Config>, Inboxes(inboxes, changes): Inboxes, metrics: Arc<Metrics>) {
    *lock(&ROUTER) = Some((Core::new(config, changes, metrics), inboxes));
}

/// Does all that there is to do; says when there will be something by itself.
pub(crate) fn turns() -> Option<Instant> {
    let mut router = lock(&ROUTER);
    let (core, inboxes) = router.as_mut()?;
    loop {
        match core.turn(inboxes) {
            ControlFlow::Continue(Rest { idle: true, wake }) if inboxes.control.is_empty() => return wake,
            ControlFlow::Continue(_) => {}
            ControlFlow::Break(()) => return None,
        }
    }
}
