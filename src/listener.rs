//! The thread of one listening address: it accepts, finds a place, and starts a handshake; it reads no client's bytes.
//!
//! It never dies of an error: where the system has no descriptors left it waits, 10 ms at first and a second at most.

#[cfg(feature = "admin")]
use crate::admin::{self, Admin};
use crate::auth::RETRY_AFTER;
use crate::config::Rate;
use crate::connection::{Accepted, Current, Shared};
use crate::handshake::{self, Transport};
use crate::http::Response;
use crate::limits::{Full, Permit, Places, TokenBucket};
use crate::metrics::LogGate;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::line;
use crate::protocol::message::ErrorCode;
use crate::record::Claim;
use crate::socket::Socket;
#[cfg(feature = "admin")]
use crate::threads::Crew;
use crate::threads::{MAX_IDLE, Pool, Wake, poll_timeout};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Protocol, SockRef, Type};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Threads of an address that listens, besides those that its clients have.
pub(crate) const THREADS: usize = 1 + MAX_IDLE;
/// Connections that may wait to be accepted; the standard library asks for 128.
const BACKLOG: i32 = 4_096;
/// The kernel calls a socket writable while less than this is unsent, so that a peer that does not read pins little of
/// its memory.
const UNSENT_BYTES: u32 = 16 << 10;
/// Refused sockets that are kept until their peer has had time to read why, and for how long.
const MAX_LEAVING: usize = 32;
const LEAVING: Duration = Duration::from_secs(1);
/// How many stacks of a connection the stack of a handshake is. It is large enough for whatever authenticates, and too
/// large for the C library to give it to a connection afterwards (glibc reuses up to four times what is asked for): an
/// idle connection would keep resident what the handshake before it had touched.
const HANDSHAKE_STACKS: usize = 8;
/// The stack of a thread that answers over HTTP: a body is parsed on it, at most 64 levels deep.
#[cfg(feature = "admin")]
const ADMIN_STACK_BYTES: usize = 1 << 20;
const FIRST_BACK_OFF: Duration = Duration::from_millis(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);

/// How long a handshake's thread waits for another client.
const NEXT_HANDSHAKE: Duration = Duration::from_secs(1);
/// How long somebody who asks over HTTP waits for a place before being refused.
#[cfg(feature = "admin")]
const PATIENCE: Duration = Duration::from_secs(1);

/// Who comes in at an address, and where their threads belong.
#[derive(Clone)]
pub(crate) enum Door {
    /// Clients, on threads of the server's crew.
    Clients(Transport),
    /// A back end or an operator, on threads that outlast those.
    #[cfg(feature = "admin")]
    Admin(Arc<Admin>, Arc<Crew>),
}

/// One listening address.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    door: Door,
    wake: Wake,
    /// The threads of handshakes.
    pool: Arc<Pool>,
    stopping: AtomicBool,
    places: Arc<Places>,
    refused_log: LogGate,
    error_log: LogGate,
}

impl Listener {
    /// Listens. Accepted sockets inherit what is set here: no delay for small frames, a bound on how long sent bytes may
    /// stay unacknowledged, and little unsent memory.
    pub(crate) fn bind(
        address: SocketAddr,
        door: Door,
        unacknowledged: Duration,
        places: Arc<Places>,
    ) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        bound_unacknowledged(&SockRef::from(&socket), unacknowledged)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
        #[cfg(not(target_os = "linux"))]
        let _ = UNSENT_BYTES;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        Ok(Self {
            address: socket.local_addr()?,
            door,
            socket,
            wake: Wake::new()?,
            pool: Arc::new(Pool::new(NEXT_HANDSHAKE)),
            stopping: AtomicBool::new(false),
            places,
            refused_log: LogGate::default(),
            error_log: LogGate::default(),
        })
    }

    /// The address, with the port that the system chose where 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long bytes that were sent may stay unacknowledged on connections that are accepted from now on.
    pub(crate) fn unacknowledged(&self, most: Duration) -> io::Result<()> {
        bound_unacknowledged(&SockRef::from(&self.socket), most)
    }

    /// Ends [`Listener::run`].
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // Whoever connects from now on is refused at once instead of waiting in the backlog. Linux only; elsewhere it is
        // an error, and the backlog is reset when the socket is closed.
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
        self.wake.notify();
        self.pool.close();
    }

    /// The listener's thread, until [`Listener::stop`].
    pub(crate) fn run(&self, current: &Current) {
        let mut pace = Pace::new(self.accepts_per_second(current));
        let mut leaving = Leaving::default();
        while !self.stopping.load(Ordering::Acquire) {
            leaving.forget_expired(Instant::now());
            if let Some(until) = pace.wait_until(Instant::now()) {
                self.sleep(Some(until), false);
                continue;
            }
            match self.socket.accept() {
                Ok((socket, peer)) => {
                    pace.accepted(Instant::now());
                    self.admit(socket, peer, &current.get(), &mut leaving);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.sleep(leaving.next_expiry(), true),
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) if self.stopping.load(Ordering::Acquire) => {}
                Err(error) => {
                    pace.back_off(Instant::now());
                    if let Some(others) = self.error_log.open(Instant::now()) {
                        log::error!("cannot accept on {}: {error} ({others} more times in the meantime)", self.address);
                    }
                }
            }
        }
    }

    fn admit(&self, socket: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, leaving: &mut Leaving) {
        let now = Instant::now();
        // Linux does not hand this flag down; others do.
        #[cfg(not(target_os = "linux"))]
        let _ = socket.set_nonblocking(false);
        let socket = Arc::new(Socket::from(socket));
        let why = match self.enter(&socket, peer, shared) {
            Ok(permit) => {
                let accepted = Accepted { socket: Arc::clone(&socket), peer, at: now, permit: Arc::new(permit) };
                match self.start(accepted, shared) {
                    Ok(()) => return,
                    Err(error) => format!("no thread for it: {error}"),
                }
            }
            Err(Full::Connections) => "as many connections as there may be".into(),
            Err(Full::Handshakes) => "as many handshakes in progress as there may be".into(),
            Err(Full::Address) => "as many handshakes in progress as one address may have".into(),
            Err(Full::Closed) => "the server is stopping".into(),
        };
        match self.door {
            Door::Clients(transport) => {
                let status = (transport == Transport::WebSocket).then_some(503);
                shared.refused(&Claim::of(peer), status, &CloseReason::new(CloseKind::OverCapacity, why.clone()));
            }
            #[cfg(feature = "admin")]
            Door::Admin(..) => {}
        }
        if let Some(others) = self.refused_log.open(now) {
            log::warn!("refused {peer}, and {others} others: {why}");
        }
        leaving.refuse(socket, &no_room(&self.door), now);
    }

    /// Clients are many, and strangers; requests over HTTP are bounded by how many there may be at once.
    fn accepts_per_second(&self, current: &Current) -> Option<u32> {
        match self.door {
            Door::Clients(_) => current.get().config.accepts_per_second,
            #[cfg(feature = "admin")]
            Door::Admin(..) => None,
        }
    }

    fn enter(&self, socket: &Arc<Socket>, peer: SocketAddr, shared: &Shared) -> Result<Permit, Full> {
        match &self.door {
            Door::Clients(_) => {
                shared.metrics.accepted.add(1);
                self.places.enter(socket, shared.config.limited_address(peer.ip()))
            }
            // Requests are short: the next place is soon free, and those who come meanwhile wait in the backlog.
            #[cfg(feature = "admin")]
            Door::Admin(..) => self.places.enter_until(socket, Instant::now() + PATIENCE),
        }
    }

    fn start(&self, accepted: Accepted, shared: &Arc<Shared>) -> io::Result<()> {
        let for_thread = Arc::clone(shared);
        match &self.door {
            Door::Clients(transport) => {
                let (transport, stack_bytes) = (*transport, HANDSHAKE_STACKS * shared.config.stack_bytes);
                let shake_hands = move || handshake::run(&accepted, transport, &for_thread);
                self.pool.run(&shared.crew, "hw-handshake", stack_bytes, shake_hands)
            }
            #[cfg(feature = "admin")]
            Door::Admin(admin, crew) => {
                let admin = Arc::clone(admin);
                crew.spawn("hw-admin", ADMIN_STACK_BYTES, move || admin::run(&accepted, &for_thread, &admin))
            }
        }
    }

    /// Sleeps until something happens: the deadline, a connection to accept, a stop.
    fn sleep(&self, deadline: Option<Instant>, for_connections: bool) {
        let mut polled = vec![PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)];
        if for_connections {
            polled.push(PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN));
        }
        // An interrupted or refused poll costs one more round, no more.
        let _ = poll(&mut polled, poll_timeout(deadline, Instant::now()).as_ref());
    }
}

/// Accepted sockets inherit it. Linux only; the kernel counts milliseconds in an int.
fn bound_unacknowledged(socket: &SockRef<'_>, most: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return socket.set_tcp_user_timeout(Some(most.min(Duration::from_millis(i32::MAX as u64))));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (socket, most);
        Ok(())
    }
}

/// Whether only the connection that was to be accepted is at fault; the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// How fast connections are accepted: at the configured rate, and slower while the system refuses.
struct Pace {
    bucket: Option<TokenBucket>,
    back_off: Option<(Instant, Duration)>,
}

impl Pace {
    fn new(per_second: Option<u32>) -> Self {
        let rate = per_second.map(|n| Rate { per_second: n, burst: n });
        Self { bucket: rate.map(|rate| TokenBucket::new(rate, Instant::now())), back_off: None }
    }

    /// When the next connection may be accepted, if that is not now.
    fn wait_until(&self, now: Instant) -> Option<Instant> {
        let paced = self.bucket.as_ref().map(|bucket| now + bucket.wait_for(1, now));
        let backed_off = self.back_off.map(|(until, _)| until);
        paced.max(backed_off).filter(|until| *until > now)
    }

    fn accepted(&mut self, now: Instant) {
        self.back_off = None;
        if let Some(bucket) = &mut self.bucket {
            bucket.take(1, now);
        }
    }

    fn back_off(&mut self, now: Instant) {
        let wait = self.back_off.map_or(FIRST_BACK_OFF, |(_, last)| (last * 2).min(LONGEST_BACK_OFF));
        self.back_off = Some((now + wait, wait));
    }
}

/// What those are told for whom there is no place.
fn no_room(door: &Door) -> Vec<u8> {
    let (code, message) = (ErrorCode::NotAvailable, "the server takes no further connection now");
    if let Door::Clients(Transport::Lines) = door {
        return line::close(&CloseReason::new(CloseKind::OverCapacity, message)).to_vec();
    }
    Response::error(503, code.code(), code.reason(), message).retry_after(RETRY_AFTER).to_bytes()
}

/// Refused sockets: they got an answer, and a moment to read it before the close, which would otherwise be a reset.
#[derive(Default)]
struct Leaving(VecDeque<(Instant, Arc<Socket>)>);

impl Leaving {
    fn refuse(&mut self, socket: Arc<Socket>, answer: &[u8], now: Instant) {
        // Best effort: who does not read its refusal is closed all the same, and nobody waits for it.
        let _ = socket.send(&[IoSlice::new(answer)]);
        let _ = socket.shutdown(Shutdown::Write);
        if self.0.len() >= MAX_LEAVING {
            self.forget_first();
        }
        self.0.push_back((now + LEAVING, socket));
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.0.front().map(|(at, _)| *at)
    }

    fn forget_expired(&mut self, now: Instant) {
        while self.next_expiry().is_some_and(|at| at <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, socket)) = self.0.pop_front() {
            // Read data is not answered by a reset.
            let _ = socket.recv_waiting(&mut [0; 8 << 10]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_up_to_a_second_and_ends_with_a_success() {
        let mut pace = Pace::new(None);
        let now = Instant::now();
        let waits: Vec<_> = (0..9)
            .map(|_| {
                pace.back_off(now);
                pace.wait_until(now).unwrap() - now
            })
            .collect();
        assert_eq!(waits[0], Duration::from_millis(10));
        assert_eq!(waits[6], Duration::from_millis(640));
        assert_eq!(waits[7..], [LONGEST_BACK_OFF; 2]);
        pace.accepted(now);
        assert_eq!(pace.wait_until(now), None);
    }

    #[test]
    fn connections_beyond_the_rate_wait() {
        let mut pace = Pace::new(Some(10));
        let now = Instant::now();
        (0..10).for_each(|_| pace.accepted(now));
        let next = pace.wait_until(now).unwrap();
        assert!(next > now && next <= now + Duration::from_millis(200));
    }
}
