//! The reading end: it receives, answers pings, keeps the clocks, and sees the connection to its end.

use super::link::Link;
use super::{Closed, Message, Sender};
use crate::config::{Config, LONGEST};
use crate::connection::{self, Heartbeat, Received, Sign, Step, WebSocket, bytes_count};
use crate::outbound::Remaining;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::socket::Socket;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::Message as Decoded;
use tungstenite::protocol::Role;

/// What one recv brings at most.
const READ_BUFFER_BYTES: usize = 16 << 10;
/// How many receives a dropped receiver spends on what waits.
const LAST_RECEIVES: usize = 64;

/// The reading end of a connection. One thread at a time receives; it may move from thread to thread.
///
/// Pings are answered, and pings are sent, while somebody is in one of the `recv` methods. While nobody is, the clocks
/// stand still: no deadline passes, and what arrives meanwhile counts.
///
/// # Drop
/// Who no longer reads cannot see a Close either, so the drop ends the connection: it drops what waits to be sent, tells
/// the peer 1001 if there is room for that at once, and shuts both directions, without blocking; senders get that reason.
/// To be sure that the peer hears why, call [`Sender::close`], and then [`Receiver::recv`] until it fails.
pub struct Receiver {
    link: Arc<Link>,
    socket: connection::Receiver,
    websocket: WebSocket,
    heartbeat: Heartbeat,
    clock: Clock,
    config: Config,
    peer: SocketAddr,
    subprotocol: Option<String>,
    /// Decoded, but not yet asked for: at most what one recv brought.
    inbox: VecDeque<Message>,
    buffer: Vec<u8>,
    closed: Option<Closed>,
}

impl Receiver {
    /// Blocks until a message has come.
    ///
    /// # Errors
    /// Why the connection has ended; nothing comes any more, and each further call says the same. Messages before the end
    /// come first, but for those that arrive after this side has called [`Sender::close`]: they are dropped.
    pub fn recv(&mut self) -> Result<Message, Closed> {
        loop {
            if let Some(message) = self.recv_timeout(LONGEST)? {
                return Ok(message);
            }
        }
    }

    /// The same for at most this long, more than a year counting as a year; `None` when nothing has come. With a zero,
    /// takes what waits in the socket.
    ///
    /// # Errors
    /// See [`Receiver::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Message>, Closed> {
        self.recv_deadline(Instant::now() + timeout.min(LONGEST))
    }

    /// The same until an instant, which may have passed.
    ///
    /// # Errors
    /// See [`Receiver::recv`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Option<Message>, Closed> {
        if let Some(message) = self.inbox.pop_front() {
            return Ok(Some(message));
        }
        self.clock.run(Instant::now());
        self.link.set_receiving(true);
        let received = self.drive(deadline);
        self.link.set_receiving(false);
        self.clock.stop(Instant::now());
        received
    }

    /// The round trip of the last ping that was answered.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.heartbeat.pulse().last_round_trip
    }

    /// The subprotocol that both ends agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The address at the other end of the socket.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn drive(&mut self, deadline: Instant) -> Result<Option<Message>, Closed> {
        loop {
            if let Some(closed) = &self.closed {
                return Err(closed.clone());
            }
            let received = if self.link.is_ending() { self.linger(deadline) } else { self.step(deadline) };
            let nothing_waits = received == Received::Nothing;
            match received {
                Received::Bytes(length) => self.take_buffered(length),
                Received::Nothing => {}
                Received::End => self.closed = Some(self.link.finish()),
            }
            if let Some(message) = self.inbox.pop_front() {
                return Ok(Some(message));
            }
            // A message is longer than what one receive brings.
            if self.closed.is_none() && nothing_waits && Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Does what the clocks ask for, and otherwise waits for the peer.
    fn step(&mut self, deadline: Instant) -> Received {
        // What was last written matters to idle thresholds only, of which there are none.
        let (now, last_write) = (self.clock.now(), self.clock.started);
        match self.heartbeat.step(now, last_write) {
            Step::Wait(until) => self.receive(self.clock.instant(until).min(deadline)),
            Step::Ping(payload) => {
                self.link.ping(&payload);
                Received::Nothing
            }
            Step::Idle(_) => Received::Nothing,
            Step::Close(reason) => self.close_unless_bytes_wait(reason),
        }
    }

    /// See [`bytes_count`].
    fn close_unless_bytes_wait(&mut self, reason: CloseReason) -> Received {
        if bytes_count(&self.config, reason.kind()) {
            let received = self.socket.receive_waiting(&mut self.buffer);
            if received != Received::Nothing {
                return received;
            }
        }
        self.link.end(reason);
        Received::Nothing
    }

    /// Reads and drops what still comes, until the peer closes too or the linger is over: a socket closed with unread data
    /// would send a reset, which overtakes the Close.
    fn linger(&mut self, deadline: Instant) -> Received {
        let give_up_at = self.link.flush().and_then(|remaining| remaining.deadline);
        if self.link.is_dead() {
            return Received::End;
        }
        match self.receive(give_up_at.map_or(deadline, |give_up_at| give_up_at.min(deadline))) {
            Received::Bytes(_) => Received::Nothing,
            other => other,
        }
    }

    /// Receives what there is, waiting until then at most, and sends meanwhile what waits.
    fn receive(&mut self, until: Instant) -> Received {
        let now = Instant::now();
        match self.link.flush() {
            Some(Remaining { blocked: Some(socket), deadline }) => {
                let until = deadline.map_or(until, |deadline| deadline.min(until));
                socket.wait_for_bytes_or_room(until);
                self.socket.receive_waiting(&mut self.buffer)
            }
            _ if until > now => self.socket.receive(&mut self.buffer, until),
            _ => self.socket.receive_waiting(&mut self.buffer),
        }
    }

    fn take_buffered(&mut self, length: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        self.take(&buffer[..length]);
        self.buffer = buffer;
    }

    /// What was received: it extends the deadlines and is decoded.
    fn take(&mut self, bytes: &[u8]) {
        let now = self.clock.now();
        self.heartbeat.heard(Sign::Bytes, now);
        let (inbox, heartbeat) = (&mut self.inbox, &mut self.heartbeat);
        let decoded = self.websocket.decode(bytes, now, &self.link, |message| match message {
            Decoded::Text(text) => inbox.push_back(Message::Text(text.as_str().to_owned())),
            Decoded::Binary(bytes) => inbox.push_back(Message::Binary(bytes.into())),
            Decoded::Ping(_) => heartbeat.heard(Sign::Beat, now),
            Decoded::Pong(payload) => heartbeat.pong(&payload, now),
            // The Close is answered where it is decoded; whole frames are never handed out on reading.
            Decoded::Close(_) | Decoded::Frame(_) => {}
        });
        self.heartbeat.assembling(self.websocket.assembling_since());
        if let Err(reason) = decoded {
            self.link.end(reason);
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.closed.is_some() {
            return;
        }
        self.link.end(CloseKind::GoingAway.into());
        let waits = |socket: &mut connection::Receiver, buffer: &mut [u8]| {
            matches!(socket.receive_waiting(buffer), Received::Bytes(_))
        };
        (0..LAST_RECEIVES).find(|_| !waits(&mut self.socket, &mut self.buffer));
        self.link.finish();
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// What a handshake leaves behind: an open connection, and the bytes that came behind it.
pub(super) struct Opened {
    pub(super) socket: Arc<Socket>,
    pub(super) link: Arc<Link>,
    pub(super) role: Role,
    pub(super) peer: SocketAddr,
    pub(super) config: Config,
    pub(super) subprotocol: Option<String>,
    pub(super) received: Vec<u8>,
}

impl Opened {
    /// The two ends for the program.
    pub(super) fn split(self) -> (Sender, Receiver) {
        let now = Instant::now();
        let mut receiver = Receiver {
            link: Arc::clone(&self.link),
            socket: connection::Receiver::new(self.socket),
            websocket: WebSocket::new(&self.config, self.role, now),
            heartbeat: Heartbeat::new(&self.config, now, None, now),
            clock: Clock { started: now, stopped: Some(now), away: Duration::ZERO },
            config: self.config,
            peer: self.peer,
            subprotocol: self.subprotocol,
            inbox: VecDeque::new(),
            buffer: vec![0; READ_BUFFER_BYTES],
            closed: None,
        };
        receiver.take(&self.received);
        (Sender { link: self.link }, receiver)
    }
}

/// A clock that stands still while nobody is in `recv`.
struct Clock {
    started: Instant,
    stopped: Option<Instant>,
    /// How long it stood still so far.
    away: Duration,
}

impl Clock {
    fn run(&mut self, now: Instant) {
        if let Some(since) = self.stopped.take() {
            self.away += now.saturating_duration_since(since);
        }
    }

    fn stop(&mut self, now: Instant) {
        self.stopped = Some(now);
    }

    fn now(&self) -> Instant {
        let real = self.stopped.unwrap_or_else(Instant::now);
        real.checked_sub(self.away).unwrap_or(self.started)
    }

    /// The real instant at which this clock shows `shown`, if it does not stand still until then.
    fn instant(&self, shown: Instant) -> Instant {
        shown + self.away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_still_while_it_is_stopped() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut clock = Clock { started: start, stopped: Some(start), away: Duration::ZERO };
        clock.run(start + 10 * second);
        clock.stop(start + 13 * second);
        assert_eq!(clock.now(), start + 3 * second);
        clock.run(start + 20 * second);
        clock.stop(start + 21 * second);
        assert_eq!(clock.now(), start + 4 * second);
        assert_eq!(clock.instant(start + 5 * second), start + 22 * second);
    }
}
