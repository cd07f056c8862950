//! From a client that was let in to a connection that the router knows. Runs on the handshake's thread.

use super::dispatch::Dispatch;
use super::heartbeat::Heartbeat;
use super::inbound::Inbound;
use super::receiver::Receiver;
use super::{Life, Shared};
use crate::auth::{Identity, Refusal};
use crate::clock;
use crate::config::{LONGEST, Protocol};
use crate::handler::Connection;
use crate::limits::Permit;
use crate::outbound::Outbound;
use crate::protocol::format::{Format, Translator};
use crate::protocol::native;
use crate::protocol::wire::Bytes;
use crate::record::{ConnectionId, ConnectionInfo, Dialect, Entry, Listed};
use crate::router::command::{Key, Registration};
use crate::socket::Socket;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A client that was let in: what its handshake found out.
pub(crate) struct Admitted {
    pub(crate) accepted: Instant,
    /// The end of the handshake, registration included.
    pub(crate) deadline: Instant,
    pub(crate) client: SocketAddr,
    /// The address that counts against the limit; `None` where none does.
    pub(crate) limited_address: Option<IpAddr>,
    pub(crate) identity: Identity,
    pub(crate) device: String,
    pub(crate) dialect: Dialect,
    /// How often the client promises to be heard.
    pub(crate) promise: Option<Duration>,
    pub(crate) greeting: Greeting,
    /// Where it was answered already, if it was.
    pub(crate) outbound: Option<Arc<Outbound>>,
    /// What came behind the request: the client's first frames, perhaps.
    pub(crate) received: Vec<u8>,
}

/// A connection of which nobody knows yet.
pub(crate) struct Newcomer {
    life: Box<Life>,
    registration: Box<Registration>,
    accepted: Instant,
    deadline: Instant,
}

/// A registered connection: all that its thread needs.
pub(crate) struct Opened {
    pub(super) life: Box<Life>,
    pub(super) key: Key,
    pub(super) listed: Listed,
}

impl Admitted {
    /// Builds the connection.
    pub(crate) fn prepare(self, socket: Arc<Socket>, permit: Arc<Permit>, shared: &Arc<Shared>) -> Newcomer {
        let (now, config) = (clock::now(), &shared.config);
        let (serial, id) = shared.ids.next();
        let info = ConnectionInfo {
            id,
            account: self.identity.account.clone(),
            device: self.device.into(),
            dialect: self.dialect,
            address: self.client,
            since: SystemTime::now(),
        };
        let Greeting { first, format, .. } = self.greeting;
        let outbound = self.outbound.unwrap_or_else(|| write_side(&socket, format.clone(), shared));
        let connection = Connection { info: Arc::new(info), outbound, handle: shared.handle.clone() };
        let (info, outbound) = (Arc::clone(&connection.info), Arc::clone(&connection.outbound));
        let mut heartbeat = Heartbeat::new(config, self.accepted, self.promise, now);
        let expires_in = time_left(self.identity.expires);
        heartbeat.expires(expires_in.map(|time| now + time));
        let mut greeting = first;
        if config.protocol == Protocol::Native {
            let (id, account) = (connection.id().as_str(), connection.account());
            let register = native::register(id, account, heartbeat.times(), config.reconnect_spread, expires_in);
            greeting.extend(Translator::default().translate(&register, &format));
        }
        let (handler, permissions) = (Arc::clone(&shared.handler), self.identity.permissions);
        let registration = Registration {
            serial,
            identity: self.identity,
            limited_address: self.limited_address,
            info: Arc::clone(&info),
            greeting,
        };
        let entry = Arc::new(Entry::new(serial, info, outbound, heartbeat.times(), now));
        let life = Life {
            shared: Arc::clone(shared),
            dispatch: Dispatch::new(
                connection.clone(),
                handler,
                Arc::clone(&shared.failures),
                Arc::clone(config),
                permissions,
                now,
            ),
            connection,
            receiver: Receiver::new(socket),
            inbound: Inbound::new(&format, config, now),
            heartbeat,
            received: self.received,
            entry,
            opened: now,
            bytes_received: 0,
            permit,
        };
        let (life, registration) = (Box::new(life), Box::new(registration));
        Newcomer { life, registration, accepted: self.accepted, deadline: self.deadline }
    }
}

impl Newcomer {
    /// The write side, for what is said to it.
    pub(crate) fn outbound(&self) -> Arc<Outbound> {
        Arc::clone(&self.life.connection.outbound)
    }

    /// Registers the connection, whose thread must be there already: its client takes it for open from now on.
    ///
    /// # Errors
    /// The refusal of the router, or of a limit.
    pub(crate) fn register(self) -> Result<Opened, Refusal> {
        let Self { life, registration, accepted, deadline } = self;
        let shared = &life.shared;
        life.permit.opened();
        // Before its client can know: who was told that it is registered is found by those who look.
        let listed = shared.records.opened(&life.entry);
        // The first effect is the 101 response and, behind it in the same push, the register frame: nothing sent to the
        // account afterwards is lost, and nothing comes before it.
        let key = shared.router.register(registration, Arc::clone(&life.connection.outbound), deadline)?;
        shared.metrics.opened.add(1);
        shared.metrics.handshake.observe_time(clock::now().saturating_duration_since(accepted));
        Ok(Opened { life, key, listed })
    }
}

/// How a client is told whether it may come in.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    /// What it is sent first, whether it comes in or is refused by a Close: the complete 101 response, or nothing.
    pub(crate) first: Vec<Bytes>,
    /// Whether a refusal is that and a Close, as for browsers, which see no response.
    pub(crate) refuse_by_close: bool,
    /// How everything after it looks.
    pub(crate) format: Format,
}

/// How long it is until a time of day; a step of the clock moves the end no more.
pub(super) fn time_left(until: Option<SystemTime>) -> Option<Duration> {
    until.map(|time| time.duration_since(SystemTime::now()).unwrap_or_default().min(LONGEST))
}

/// The write side of a socket that has none yet.
pub(crate) fn write_side(socket: &Arc<Socket>, format: Format, shared: &Shared) -> Arc<Outbound> {
    let (flusher, metrics) = (Arc::clone(&shared.flusher), Arc::clone(&shared.metrics));
    Arc::new(Outbound::new(Arc::clone(socket), format, flusher, metrics))
}

/// Names connections. The first part is the server's own and differs after each start, so no id ever comes twice.
pub(crate) struct Ids {
    server: String,
    next: AtomicU64,
}

impl Default for Ids {
    fn default() -> Self {
        // The hasher's keys come from the system's random numbers.
        let server = RandomState::new().hash_one((SystemTime::now(), std::process::id()));
        Self { server: format!("{server:016x}"), next: AtomicU64::new(1) }
    }
}

impl Ids {
    fn next(&self) -> (u64, ConnectionId) {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        (serial, ConnectionId(format!("{}-{serial:x}", self.server).into()))
    }
}
