//! The router without a thread of its own: where bytes and times are made up, whoever would wait for it runs it.

use super::core::{Core, Rest};
use super::{Inboxes, Router};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::threads::lock;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// That of the only server there is.
static ROUTER: Mutex<Option<Router>> = Mutex::new(None);

/// In place of [`super::run`].
pub(crate) fn install(config: Arc<Config>, inboxes: Inboxes, metrics: Arc<Metrics>) {
    let Inboxes { router, inboxes, changes, .. } = inboxes;
    *lock(&router.seat) = Some(Core::new(inboxes, config, changes, metrics));
    *lock(&ROUTER) = Some(router);
}

/// Does all that there is to do; says when there will be something by itself.
pub(crate) fn turns() -> Option<Instant> {
    let router = lock(&ROUTER);
    let router = router.as_ref()?;
    loop {
        match lock(&router.seat).as_mut()?.turn() {
            ControlFlow::Continue(Rest { idle: true, wake }) if router.is_quiet() => return wake,
            ControlFlow::Continue(_) => {}
            ControlFlow::Break(()) => return None,
        }
    }
}
