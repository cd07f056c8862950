//! What happens here, told to a back end: signed batches of events, sent in order, repeated until they are taken.
//!
//! [`Webhook::send`] puts an event into a bounded queue; one thread, `hw-webhook`, takes from it what waits, and posts it
//! to the back end's URL. `docs/webhook.md` has the format, how a signature is verified, and what may be lost.
//!
//! ```no_run
//! use heartwire::webhook::{Event, Webhook, WebhookOptions};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), heartwire::webhook::WebhookError> {
//! let options = WebhookOptions::new("https://example.com/heartwire", b"a secret of 16 bytes or more".to_vec());
//! let webhook = Webhook::start(options)?;
//! webhook.send(Event::Started);
//! // …
//! webhook.send(Event::Stopping);
//! webhook.stop(Duration::from_secs(5));
//! # Ok(())
//! # }
//! ```

mod delivery;
mod event;
mod options;
mod post;
mod queue;
mod schedule;
mod sign;

pub use event::Event;
pub use options::{WebhookError, WebhookOptions};
pub use queue::WebhookCounts;

use crate::config::LONGEST;
use crate::outgoing;
use crate::secret::random;
use crate::threads::Crew;
use delivery::{Delivery, Shared};
use post::Poster;
use schedule::Schedule;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::Agent;

/// How long the drop tries to deliver what waits.
const DROP_PATIENCE: Duration = Duration::from_secs(2);
/// How much longer than its timeouts an attempt may take that nothing interrupts, on a slow machine.
const GRACE: Duration = Duration::from_secs(5);
/// Enough for a TLS handshake in a build without optimization; only what is touched takes memory.
const STACK_BYTES: usize = 2 << 20;
/// How many random bytes tell one run of the server from every other.
const ID_BYTES: usize = 8;

/// Tells a back end what happens. Every method may be called from any thread; the drop stops it as [`Webhook::stop`] does
/// within 2 s.
pub struct Webhook {
    shared: Arc<Shared>,
    crew: Arc<Crew>,
    agent: Agent,
    timeout: Duration,
}

impl Webhook {
    /// Starts the thread. Whether the back end can be reached turns out with the first event.
    ///
    /// # Errors
    /// [`WebhookError`] when an option makes no sense or the system grants no thread.
    pub fn start(options: WebhookOptions) -> Result<Self, WebhookError> {
        let options = options.checked()?;
        let (shared, crew) = (Arc::new(Shared::new(&options)), Arc::new(Crew::default()));
        let agent: Agent = outgoing::client().timeout_global(Some(options.timeout)).build().into();
        let delivery = Delivery {
            server: random::<ID_BYTES>().map_err(WebhookError::Start)?,
            shared: Arc::clone(&shared),
            schedule: Schedule::new(&options),
            poster: Poster::new(agent.clone(), &options)?,
        };
        crew.spawn("hw-webhook", STACK_BYTES, move || delivery.run()).map_err(WebhookError::Start)?;
        Ok(Self { shared, crew, agent, timeout: options.timeout })
    }

    /// Puts an event at the end of the queue, without waiting for anything. If there is no room, or this was stopped, the
    /// event is dropped, counted, and the log says so at most once a second.
    pub fn send(&self, event: Event) {
        self.shared.send(event);
    }

    /// What became of the events so far.
    #[must_use]
    pub fn counts(&self) -> WebhookCounts {
        self.shared.counts()
    }

    /// Tries to deliver what waits, first of all at once if an earlier attempt had failed, and ends the thread: as soon as
    /// nothing waits any more, or after `within`, when the attempt under way is interrupted. What is left is dropped,
    /// counted, and logged; of the batch that was interrupted nobody knows whether it arrived.
    ///
    /// It may take longer by [`WebhookOptions::timeout`] where the attempt is still looking up or connecting to the host,
    /// which cannot be interrupted. Events that are sent after this call are dropped.
    pub fn stop(&self, within: Duration) -> WebhookCounts {
        let deadline = Instant::now() + within.min(LONGEST);
        self.shared.stop(deadline);
        if self.crew.wait_until(deadline) > 0 {
            self.agent.clone().shutdown();
            if self.crew.wait_until(Instant::now() + self.timeout + GRACE) > 0 {
                log::error!("webhook: its thread did not end in time and is left behind");
            }
        }
        self.shared.abandon();
        self.counts()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop(DROP_PATIENCE);
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
