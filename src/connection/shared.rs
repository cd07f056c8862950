//! What the connections of a server have in common, and how that changes while they are there.

use super::Ids;
use crate::config::Config;
use crate::handler::Handler;
use crate::limits::{Failures, Places};
use crate::metrics::{LogGate, Metrics, Reminders};
use crate::outbound::flusher::Flusher;
use crate::protocol::close::CloseReason;
use crate::record::{Claim, Records};
use crate::router::{Handle, Router};
use crate::threads::sync::Mutex;
use crate::threads::{Crew, Fate, lock};
use std::io;
use std::sync::Arc;

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) router: Router,
    pub(crate) handle: Handle,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) crew: Arc<Crew>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) records: Arc<Records>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) overload_log: Arc<LogGate>,
    pub(crate) reminders: Arc<Reminders>,
    /// Who has failed to authenticate how often.
    pub(crate) failures: Arc<Failures>,
    pub(crate) places: Arc<Places>,
}

impl Shared {
    /// That of a new server.
    ///
    /// # Errors
    /// The system's, when it grants no further descriptor.
    pub(crate) fn new(
        config: Arc<Config>,
        handler: impl Handler,
        router: Router,
        places: Arc<Places>,
        crew: Arc<Crew>,
        fate: &Arc<Fate>,
    ) -> io::Result<Self> {
        let (metrics, records) = (Arc::default(), Arc::new(Records::new(config.closed_connections)));
        let flusher = Arc::new(Flusher::new((&*config).into())?);
        let handle = Handle::new(
            router.clone(),
            Arc::clone(&flusher),
            Arc::clone(&metrics),
            Arc::clone(&records),
            Arc::clone(fate),
        );
        Ok(Self {
            failures: Arc::new(Failures::new(config.auth_failures)),
            config,
            handler: Arc::new(handler),
            router,
            handle,
            flusher,
            crew,
            metrics,
            records,
            ids: Arc::new(Ids::default()),
            overload_log: Arc::default(),
            reminders: Arc::default(),
            places,
        })
    }

    /// Whether nobody is let in any more.
    #[cfg(feature = "admin")]
    pub(crate) fn is_draining(&self) -> bool {
        self.places.is_closed()
    }

    /// Somebody is not let in, with this status where HTTP is spoken: counted, and kept for whoever asks why.
    pub(crate) fn refused(&self, claim: &Claim, status: Option<u16>, reason: &CloseReason) {
        self.metrics.refused.add(reason.kind());
        self.records.refused(claim, status, reason);
    }

    fn reconfigured(&self, config: Arc<Config>) -> Self {
        let same_rate = self.config.auth_failures == config.auth_failures;
        Self {
            failures: if same_rate {
                Arc::clone(&self.failures)
            } else {
                Arc::new(Failures::new(config.auth_failures))
            },
            config,
            handler: Arc::clone(&self.handler),
            router: self.router.clone(),
            handle: self.handle.clone(),
            flusher: Arc::clone(&self.flusher),
            crew: Arc::clone(&self.crew),
            metrics: Arc::clone(&self.metrics),
            records: Arc::clone(&self.records),
            ids: Arc::clone(&self.ids),
            overload_log: Arc::clone(&self.overload_log),
            reminders: Arc::clone(&self.reminders),
            places: Arc::clone(&self.places),
        }
    }
}

/// What is shared by connections that come now: a new configuration puts another in its place, and those that are there
/// keep what they came with.
pub(crate) struct Current(Mutex<Arc<Shared>>);

impl Current {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Mutex::new(Arc::new(shared)))
    }

    pub(crate) fn get(&self) -> Arc<Shared> {
        Arc::clone(&lock(&self.0))
    }

    /// The same server with another configuration.
    pub(crate) fn reconfigure(&self, config: Arc<Config>) {
        let mut shared = lock(&self.0);
        *shared = Arc::new(shared.reconfigured(config));
    }
}
