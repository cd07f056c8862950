//! The thread of one connection: it registers, reads until something ends it, and leaves.
//!
//! It only reads. Whatever is sent to its client, by whomever, goes through the connection's [`Outbound`], so this
//! thread sleeps in `recv` until its client says something or one of its clocks is due.

mod dispatch;
mod frames;
mod heartbeat;
mod rate;
mod receiver;
mod websocket;

pub(crate) use receiver::{Received, Receiver};

use crate::auth::{Identity, Refusal};
use crate::config::{Config, Protocol};
use crate::handler::{Connection, Handler, Statistics};
use crate::limits::Permit;
use crate::metrics::{LogGate, Metrics, Reminders};
use crate::outbound::flusher::Flusher;
use crate::outbound::{Outbound, Sent, Waiting};
use crate::printable::Printable;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::message::ErrorCode;
use crate::protocol::native;
use crate::protocol::wire::Bytes;
use crate::router::command::{Key, Registration};
use crate::router::{ConnectionId, ConnectionInfo, Handle, Router, SendError};
use crate::threads::Crew;
use dispatch::Dispatch;
use heartbeat::{Heartbeat, Sign, Step};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use websocket::WebSocket;

/// What one recv brings at most.
const READ_BUFFER_BYTES: usize = 2 << 10;

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) router: Router,
    pub(crate) handle: Handle,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) crew: Arc<Crew>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ids: Ids,
    pub(crate) overload_log: LogGate,
    pub(crate) reminders: Reminders,
}

impl Shared {
    /// After this long a close handshake is over in any case, even if the flusher were gone.
    fn longest_close(&self) -> Duration {
        self.config.drain + self.config.linger + Duration::from_secs(5)
    }
}

/// A client that was let in: what its handshake hands to the connection's thread.
pub(crate) struct Admitted {
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) accepted: Instant,
    /// The end of the handshake, registration included.
    pub(crate) deadline: Instant,
    pub(crate) client: SocketAddr,
    /// The address that counts against the limit; `None` where none does.
    pub(crate) limited_address: Option<IpAddr>,
    pub(crate) identity: Identity,
    pub(crate) device: String,
    /// How often the client promises to be heard.
    pub(crate) promise: Option<Duration>,
    pub(crate) upgrade: Upgrade,
    /// What came behind the request: the client's first frames, perhaps.
    pub(crate) received: Vec<u8>,
    pub(crate) permit: Permit,
}

/// How a client is told whether it may come in.
#[derive(Clone, Debug)]
pub(crate) struct Upgrade {
    /// The complete 101 response.
    pub(crate) response: Bytes,
    /// Whether a refusal is an upgrade followed by a Close, for browsers, which see no response.
    pub(crate) refuse_by_close: bool,
}

/// The life of one connection's thread.
///
/// What an idle connection costs is above all the deepest its stack ever was. So its parts live on the heap, and each
/// phase has a frame of its own, which is gone when the thread falls asleep.
pub(crate) fn run(admitted: Box<Admitted>, shared: &Arc<Shared>) {
    admitted.permit.opened();
    match register(&admitted, shared) {
        Ok((connection, registered)) => {
            let mut life = Life::new(*admitted, connection, registered, shared);
            life.live();
            life.end();
        }
        Err(refusal) => refuse(&admitted.socket, &refusal, Some(&admitted.upgrade), shared),
    }
}

/// Answers a client that does not come in, and sees to it that the answer is read. Runs on the client's own thread.
#[inline(never)]
pub(crate) fn refuse(socket: &Arc<TcpStream>, refusal: &Refusal, upgrade: Option<&Upgrade>, shared: &Shared) {
    shared.metrics.refused.add(1);
    log::debug!("refused with {}: {}", refusal.status, Printable(&refusal.message));
    let answer = match upgrade.filter(|upgrade| upgrade.refuse_by_close) {
        Some(upgrade) => [&*upgrade.response, &*crate::protocol::wire::close(&refusal.close_reason())].concat(),
        None => refusal.response().to_bytes(),
    };
    answer_and_leave(socket, answer.into(), refusal.close_reason(), shared);
}

/// Writes the last bytes of a connection that never was, and waits for the peer to have read them.
pub(crate) fn answer_and_leave(socket: &Arc<TcpStream>, answer: Bytes, reason: CloseReason, shared: &Shared) {
    let (flusher, metrics) = (Arc::clone(&shared.flusher), Arc::clone(&shared.metrics));
    let outbound = Arc::new(Outbound::new(Arc::clone(socket), flusher, metrics, Instant::now()));
    outbound.close_with(reason.clone(), answer);
    discard(&mut Receiver::new(Arc::clone(socket)), &outbound, shared.longest_close());
    outbound.finish(reason);
}

/// Reads and drops what still comes, until the peer closes too or the flusher loses patience: a socket closed with
/// unread data would send a reset, which overtakes the answer.
#[inline(never)]
fn discard(receiver: &mut Receiver, outbound: &Outbound, longest: Duration) {
    let mut sink = [0; READ_BUFFER_BYTES];
    let deadline = Instant::now() + longest;
    while !outbound.is_dead() && Instant::now() < deadline {
        if receiver.receive(&mut sink, Instant::now() + Duration::from_secs(1)) == Received::End {
            return;
        }
    }
}

/// Asks the router to know this connection. Its first effect is the 101 response and, behind it in the same push, the
/// register frame: nothing sent to the account afterwards is lost, and nothing comes before it.
#[inline(never)]
fn register<'a>(admitted: &Admitted, shared: &'a Shared) -> Result<(Connection, Registered<'a>), Refusal> {
    let (serial, id) = shared.ids.next();
    let identity = admitted.identity.clone();
    let info = ConnectionInfo {
        id,
        account: identity.account.clone(),
        device: admitted.device.clone(),
        address: admitted.client,
        since: SystemTime::now(),
    };
    let socket = Arc::clone(&admitted.socket);
    let outbound = Outbound::new(socket, Arc::clone(&shared.flusher), Arc::clone(&shared.metrics), Instant::now());
    let connection = Connection { info: Arc::new(info), outbound: Arc::new(outbound), handle: shared.handle.clone() };
    let registration = Box::new(Registration {
        serial,
        identity,
        limited_address: admitted.limited_address,
        info: connection.info().clone(),
        greeting: greeting(&connection, admitted, &shared.config),
    });
    let key = shared.router.register(registration, Arc::clone(&connection.outbound), admitted.deadline)?;
    shared.metrics.opened.add(1);
    Ok((connection, Registered { router: &shared.router, key, commands: 0 }))
}

#[inline(never)]
fn greeting(connection: &Connection, admitted: &Admitted, config: &Config) -> Vec<Bytes> {
    let response = admitted.upgrade.response.clone();
    match config.protocol {
        Protocol::Raw => vec![response],
        Protocol::Native => {
            let (id, times) = (connection.id().as_str(), heartbeat::times_for(&config.heartbeat, admitted.promise));
            vec![response, native::register(id, connection.account(), times, config.reconnect_spread)]
        }
    }
}

/// A registered connection, on its own thread.
struct Life<'a> {
    shared: &'a Shared,
    connection: Connection,
    registered: Registered<'a>,
    receiver: Receiver,
    websocket: WebSocket,
    heartbeat: Heartbeat,
    dispatch: Dispatch,
    /// What came behind the request.
    received: Vec<u8>,
    opened: Instant,
    bytes_received: u64,
    _permit: Permit,
}

/// A place in the router; its drop gives it back, however the thread ends.
struct Registered<'a> {
    router: &'a Router,
    key: Key,
    /// Commands handed over so far.
    commands: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.router.unregister(self.key, self.commands);
    }
}

impl<'a> Life<'a> {
    #[inline(never)]
    fn new(admitted: Admitted, connection: Connection, registered: Registered<'a>, shared: &'a Shared) -> Box<Self> {
        let (now, config) = (Instant::now(), &shared.config);
        let heartbeat = Heartbeat::new(config, admitted.accepted, admitted.promise, now);
        let permissions = admitted.identity.permissions;
        let handler = Arc::clone(&shared.handler);
        let dispatch = Dispatch::new(connection.clone(), handler, Arc::clone(config), permissions, now);
        Box::new(Self {
            shared,
            connection,
            registered,
            receiver: Receiver::new(admitted.socket),
            websocket: WebSocket::new(config, now),
            heartbeat,
            dispatch,
            received: admitted.received,
            opened: now,
            bytes_received: 0,
            _permit: admitted.permit,
        })
    }

    /// Everything between registration and end. A panic, in the handler or in our own code, ends this connection only.
    fn live(&mut self) {
        let info = self.connection.info();
        log::debug!("opened {} of {} from {}", info.id, Printable(info.account.as_str()), info.address);
        if catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            self.connection.outbound.close(CloseKind::Internal.into(), Waiting::Drop);
        }
        if self.connection.outbound.is_ending() {
            discard(&mut self.receiver, &self.connection.outbound, self.shared.longest_close());
        }
    }

    #[inline(never)]
    fn serve(&mut self) {
        self.shared.handler.opened(&self.connection);
        let received = std::mem::take(&mut self.received);
        if !received.is_empty() {
            self.take(&received);
        }
        drop(received);
        let mut buffer = [0; READ_BUFFER_BYTES];
        while !self.connection.outbound.is_ending() {
            match self.heartbeat.step(Instant::now(), self.last_write()) {
                Step::Wait(until) => match self.receiver.receive(&mut buffer, until) {
                    Received::Bytes(n) => self.take(&buffer[..n]),
                    Received::Nothing => {}
                    Received::End => return,
                },
                Step::Ping(payload) => {
                    // A connection that is closing needs no ping.
                    let _ = self.connection.outbound.push([crate::protocol::wire::ping(&payload)]);
                }
                Step::Idle(idle) => self.shared.handler.idle(&self.connection, idle),
                Step::Close(reason) => self.connection.outbound.close(reason, Waiting::Drop),
            }
        }
    }

    /// What one recv brought: it extends the deadlines, is decoded, and what it asks for is handed over at once.
    #[inline(never)]
    fn take(&mut self, bytes: &[u8]) {
        let (now, outbound) = (Instant::now(), &self.connection.outbound);
        self.bytes_received += bytes.len() as u64;
        self.heartbeat.heard(Sign::Bytes, now);
        let before = self.dispatch.messages();
        let (dispatch, heartbeat) = (&mut self.dispatch, &mut self.heartbeat);
        let decoded =
            self.websocket.decode(bytes, now, outbound, |message| dispatch.websocket(&message, heartbeat, now));
        self.heartbeat.assembling(self.websocket.assembling_since());
        self.shared.metrics.messages_received.add(self.dispatch.messages() - before);
        self.hand_over();
        if let Err(reason) = decoded {
            self.connection.outbound.close(reason, Waiting::Drop);
        }
    }

    fn hand_over(&mut self) {
        let commands = self.dispatch.take_commands();
        if commands.is_empty() {
            return;
        }
        let count = commands.len();
        match self.shared.router.hand_over(self.registered.key, commands) {
            Ok(()) => self.registered.commands += count as u64,
            Err(SendError::Stopped) => self.connection.outbound.close(CloseKind::Internal.into(), Waiting::Drop),
            Err(SendError::Busy) => {
                let message = format!("the server is overloaded: {count} frames were dropped");
                let _ = self.connection.outbound.push([native::error(None, ErrorCode::NotAvailable, &message)]);
                let reason = CloseReason::new(CloseKind::OverCapacity, "the router was busy for 5 s");
                self.connection.outbound.close(reason, Waiting::KeepUntil(Instant::now() + self.shared.config.linger));
                self.shared.metrics.commands_dropped.add(count as u64);
                if let Some(others) = self.shared.overload_log.open(Instant::now()) {
                    log::warn!("the router is overloaded: {} was closed, and {others} others", self.connection.id());
                }
            }
        }
    }

    /// Unregisters, lets go of the socket, and tells whoever wants to know.
    #[inline(never)]
    fn end(self: Box<Self>) {
        drop(self.registered);
        let (reason, sent) = self.connection.outbound.finish(CloseKind::PeerGone.into());
        self.shared.metrics.closed(reason.code());
        let statistics = statistics(&self.heartbeat, &self.dispatch, sent, self.opened, self.bytes_received);
        let info = self.connection.info();
        let level = match reason.kind() {
            CloseKind::PeerClosed(_) | CloseKind::PeerGone | CloseKind::GoingAway => log::Level::Debug,
            _ => log::Level::Info,
        };
        log::log!(
            level,
            "closed {} of {} from {} after {:.1?}: {}; {} messages in, {} frames out, {} dropped",
            info.id,
            Printable(info.account.as_str()),
            info.address,
            statistics.duration,
            Printable(&reason.to_string()),
            statistics.messages_received,
            statistics.frames_sent,
            statistics.frames_dropped,
        );
        let told =
            catch_unwind(AssertUnwindSafe(|| self.shared.handler.closed(&self.connection, &reason, &statistics)));
        if told.is_err() {
            log::error!("the handler panicked in `closed` of {}", info.id);
        }
    }

    /// Only idle thresholds ask for it, and it costs a lock.
    fn last_write(&self) -> Instant {
        let idle = &self.shared.config.idle;
        if idle.writer.is_some() || idle.all.is_some() { self.connection.outbound.last_write() } else { self.opened }
    }
}

fn statistics(
    heartbeat: &Heartbeat,
    dispatch: &Dispatch,
    sent: Sent,
    opened: Instant,
    bytes_received: u64,
) -> Statistics {
    let (now, pulse) = (Instant::now(), heartbeat.pulse());
    Statistics {
        duration: now.saturating_duration_since(opened),
        messages_received: dispatch.messages(),
        bytes_received,
        frames_sent: sent.frames,
        bytes_sent: sent.bytes,
        frames_dropped: sent.dropped,
        queue_high_water_bytes: sent.queue_high_water_bytes,
        pings_sent: pulse.pings_sent,
        pings_answered: pulse.pings_answered,
        last_round_trip: pulse.last_round_trip,
        max_round_trip: pulse.max_round_trip,
        last_heard: now.saturating_duration_since(heartbeat.last_heard()),
    }
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
