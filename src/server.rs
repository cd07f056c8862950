//! The composition root: it builds the parts, starts their threads, owns every join, and knows in which order to stop.

#[cfg(feature = "admin")]
mod admin;

use crate::clock;
use crate::config::{Config, LONGEST};
use crate::connection::{Current, Shared};
use crate::error::Error;
use crate::handler::{self, Handler};
use crate::handshake::Transport;
use crate::limits::{Admission, Machine, Places, admission, thread_budget};
use crate::listener::{self, Door, Listener};
use crate::router::{self, Handle};
use crate::threads::sync::Mutex;
use crate::threads::{Crew, Fate, lock};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The router, the flusher, and who tells the handler of those who come and go.
const CORE_THREADS: usize = 3;
/// Their stack, and that of listeners: the router encodes and sends, nothing of it recurses.
const CORE_STACK_BYTES: usize = 1 << 20;
/// How many changes of presence may wait for the program: everybody may come and go several times meanwhile.
const CHANGES: usize = 65_536;
/// How long threads may take to end after their deadlines have passed.
const GRACE: Duration = Duration::from_secs(2);

/// A running server. Dropping it shuts it down, with the configured drain.
///
/// Two servers in one process do not know of each other.
pub struct Server {
    current: Arc<Current>,
    listeners: Vec<Arc<Listener>>,
    addresses: Vec<SocketAddr>,
    tcp_addresses: Vec<SocketAddr>,
    admission: Admission,
    #[cfg(feature = "admin")]
    admin: admin::AdminSide,
    /// The threads that outlast all others.
    core: Arc<Crew>,
    fate: Arc<Fate>,
    stopped: bool,
}

impl Server {
    /// Starts a server: when this returns, it listens.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::OpenToAll`], [`Error::Listen`], [`Error::NoRoom`] or [`Error::Start`]; no thread is
    /// left behind then.
    pub fn bind(config: Config, handler: impl Handler) -> Result<Self, Error> {
        config.validate()?;
        guard(&config, handler.authenticates())?;
        let doors = doors(&config);
        let (fixed_threads, budget) = (CORE_THREADS + doors.len() * listener::THREADS, thread_budget(&Machine::read()));
        #[cfg(feature = "admin")]
        let fixed_threads = fixed_threads + admin::threads(&config, &budget);
        let admission = admission(config.max_connections, &budget, fixed_threads)
            .map_err(|error| Error::NoRoom(error.to_string()))?;
        log::debug!("{admission}");
        let places = Arc::new(Places::new(&admission, config.max_per_address));
        let unacknowledged = config.heartbeat.times().timeout;
        let listeners = doors
            .into_iter()
            .map(|(address, transport)| {
                let listener = Listener::bind(address, Door::Clients(transport), unacknowledged, Arc::clone(&places));
                listener.map(Arc::new).map_err(|error| Error::Listen(address, error))
            })
            .collect::<Result<Vec<_>, _>>()?;
        #[cfg(feature = "admin")]
        let admin = admin::AdminSide::bind(&config, &budget)?;
        Self::assemble(
            config,
            handler,
            admission,
            places,
            listeners,
            #[cfg(feature = "admin")]
            admin,
        )
    }

    /// Whether [`Server::bind`] would accept this configuration with this handler. It touches nothing, so that an address
    /// may still turn out to be taken, or the machine too small.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::OpenToAll`].
    pub fn check(config: &Config, handler: &impl Handler) -> Result<(), Error> {
        config.validate()?;
        guard(config, handler.authenticates())
    }

    /// Where it listens for `WebSocket` connections, in the order configured, with the ports that the system chose.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it listens for raw TCP, likewise.
    #[must_use]
    pub fn local_tcp_addrs(&self) -> &[SocketAddr] {
        &self.tcp_addresses
    }

    /// Where it listens for a back end and an operator, likewise.
    #[cfg(feature = "admin")]
    #[must_use]
    pub fn local_admin_addrs(&self) -> Vec<SocketAddr> {
        self.admin.addresses()
    }

    /// How many connections it bears, and which limit decided that; its `Display` also says how to raise it.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// A handle, which any thread may keep.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.current.get().handle.clone()
    }

    /// Puts another configuration in force: for connections that come from now on, and for the limits that the router
    /// keeps. Connections that are there stay as they are. Callable from any thread.
    ///
    /// Answers with what it could not change, by the names of the command line: addresses, and what queues and places
    /// were made for keep their values until a restart.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::OpenToAll`], as at the start, and [`Error::Failed`] when the router does not answer;
    /// then nothing has changed.
    pub fn reconfigure(&self, mut config: Config) -> Result<Vec<&'static str>, Error> {
        config.validate()?;
        let shared = self.current.get();
        let kept = config.keep_fixed(&shared.config);
        config.validate()?;
        guard(&config, shared.handler.authenticates())?;
        let offer = Arc::new(Mutex::new(Some(Arc::new(config))));
        let (offered, current) = (Arc::clone(&offer), Arc::clone(&self.current));
        // By the router, so that all of it changes in one order; and not at all once nobody waits for it any more.
        let take = move || {
            let config = lock(&offered).take()?;
            current.reconfigure(Arc::clone(&config));
            Some(config)
        };
        if let Err(error) = shared.router.reconfigure(take)
            && lock(&offer).take().is_some()
        {
            return Err(Error::Failed(error.to_string()));
        }
        let unacknowledged = self.current.get().config.heartbeat.times().timeout;
        for listener in &self.listeners {
            // A socket that listened with one such time listens with another.
            if let Err(error) = listener.unacknowledged(unacknowledged) {
                log::error!("the time of {} for unacknowledged bytes stays as it was: {error}", listener.address());
            }
        }
        Ok(kept)
    }

    /// Blocks until the server is asked to stop ([`Handle::stop`]) or fails.
    ///
    /// # Errors
    /// [`Error::Failed`] when a thread without which there is no server has panicked.
    pub fn wait(&self) -> Result<(), Error> {
        self.fate.wait().map_err(Error::Failed)
    }

    /// Stops: nobody new comes in, everybody is told 1001 behind what waits for them, and all threads are joined. Peers
    /// that have not read everything within `within` are cut off; more than a year counts as a year.
    ///
    /// # Errors
    /// [`Error::ThreadsLeft`] when some thread did not end, which a blocked handler can cause.
    pub fn shutdown(mut self, within: Duration) -> Result<(), Error> {
        self.stop(within)
    }

    /// Puts the parts together behind the listeners, and starts the threads.
    fn assemble(
        config: Config,
        handler: impl Handler,
        admission: Admission,
        places: Arc<Places>,
        listeners: Vec<Arc<Listener>>,
        #[cfg(feature = "admin")] admin: admin::AdminSide,
    ) -> Result<Self, Error> {
        let mut addresses: Vec<_> = listeners.iter().map(|listener| listener.address()).collect();
        let tcp_addresses = addresses.split_off(config.listen.len());
        let config = Arc::new(config);
        let (router, inboxes, changes) = router::inboxes(&config, admission.max_connections, CHANGES);
        let (fate, crew) = (
            Arc::new(Fate::default()),
            Arc::new(Crew::of_at_most(admission.max_threads.saturating_add(listeners.len() * listener::THREADS))),
        );
        let shared = Shared::new(Arc::clone(&config), handler, router, places, crew, &fate).map_err(Error::Start)?;
        // From here on a failure drops the server, which stops what has been started.
        let (current, core) = (Arc::new(Current::new(shared)), Arc::default());
        let server = Self {
            current,
            listeners,
            addresses,
            tcp_addresses,
            admission,
            #[cfg(feature = "admin")]
            admin,
            core,
            fate,
            stopped: false,
        };
        server.start(config, inboxes, changes)?;
        Ok(server)
    }

    fn start(&self, config: Arc<Config>, inboxes: router::Inboxes, changes: router::Changes) -> Result<(), Error> {
        let shared = self.current.get();
        let running = Arc::clone(&config);
        let spawn = |crew: &Arc<Crew>, name: &str, role: &'static str, body: Box<dyn FnOnce() + Send>| {
            let (fate, config) = (Arc::clone(&self.fate), Arc::clone(&running));
            let body = move || {
                schedule(&config);
                fate.guard(role, body);
            };
            crew.spawn(name, CORE_STACK_BYTES, body).map_err(Error::Start)
        };
        let (flusher, metrics, handler) =
            (Arc::clone(&shared.flusher), Arc::clone(&shared.metrics), Arc::clone(&shared.handler));
        spawn(&self.core, "hw-flusher", "the flusher", Box::new(move || flusher.run()))?;
        let tell = move || handler::tell_presence(&*handler, &changes);
        spawn(&self.core, "hw-presence", "who tells of presence", Box::new(tell))?;
        spawn(&self.core, "hw-router", "the router", Box::new(move || router::run(config, inboxes, metrics)))?;
        for listener in &self.listeners {
            let (listener, current) = (Arc::clone(listener), Arc::clone(&self.current));
            spawn(&shared.crew, "hw-listener", "a listener", Box::new(move || listener.run(&current)))?;
        }
        #[cfg(feature = "admin")]
        self.admin.start(&self.current, &self.fate)?;
        Ok(())
    }

    /// The order in which it stops. Each step ends what only the steps before it could still start.
    fn stop(&mut self, within: Duration) -> Result<(), Error> {
        if std::mem::replace(&mut self.stopped, true) {
            return Ok(());
        }
        let deadline = clock::now() + within.min(LONGEST);
        let shared = self.current.get();
        let Shared { crew, router, flusher, config, places, .. } = &*shared;
        // 1. Nobody is accepted any more, and handshakes in progress are refused as draining.
        places.close();
        self.listeners.iter().for_each(|listener| listener.stop());
        // 2. The router refuses registrations and tells every connection 1001, behind what waits for it.
        router.drain(deadline);
        // 3. Peers answer and leave; the flusher cuts off those that have not by the deadline.
        let threads_left = crew.wait_until(deadline + config.linger + GRACE);
        // 4. Nobody can ask how it goes any more.
        #[cfg(feature = "admin")]
        let threads_left = threads_left + self.admin.stop();
        // 5. The core ends, which by now has nobody left to serve.
        router.stop();
        flusher.stop();
        let left = threads_left + self.core.wait_until(Instant::now() + GRACE);
        // 6. Whoever waits for the server learns that it is over.
        self.fate.decide(Ok(()));
        if left == 0 { Ok(()) } else { Err(Error::ThreadsLeft(left)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let drain = self.current.get().config.drain;
        if let Err(error) = self.stop(drain) {
            log::error!("the shutdown of a dropped server: {error}");
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Has the kernel choose this thread, and those that it starts, as configured.
fn schedule(config: &Config) {
    #[cfg(feature = "scheduling")]
    if config.scheduling == crate::config::Scheduling::Batch
        && let Err(error) = crate::threads::schedule_as_batch()
    {
        log::warn!("the kernel refused to schedule a thread as batch, it stays as it was: {error}");
    }
    #[cfg(not(feature = "scheduling"))]
    let _ = config;
}

/// A server that anybody can reach must know who it talks to, or be told that it need not.
fn guard(config: &Config, authenticates: bool) -> Result<(), Error> {
    if authenticates || config.allow_anonymous {
        return Ok(());
    }
    match doors(config).into_iter().find(|(address, _)| !address.ip().to_canonical().is_loopback()) {
        Some((address, _)) => Err(Error::OpenToAll(address)),
        None => Ok(()),
    }
}

/// Where to listen, and for what.
fn doors(config: &Config) -> Vec<(SocketAddr, Transport)> {
    let websocket = config.listen.iter().map(|address| (*address, Transport::WebSocket));
    websocket.chain(config.tcp_listen.iter().map(|address| (*address, Transport::Lines))).collect()
}

#[cfg(test)]
#[cfg(heartwire_model)]
mod model;
#[cfg(test)]
#[cfg(not(any(heartwire_model, heartwire_fuzzing)))]
mod tests;
