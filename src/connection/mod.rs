//! The thread of one connection, which is registered already: it reads until something ends it, and leaves.
//!
//! It only reads. Whatever is sent to its client, by whomever, goes through the connection's [`Outbound`], so this
//! thread sleeps in `recv` until its client says something or one of its clocks is due.

mod dispatch;
mod frames;
mod heartbeat;
mod inbound;
mod leaving;
mod lines;
mod opening;
mod rate;
mod receiver;
mod request;
mod shared;
mod websocket;

pub(crate) use heartbeat::{Heartbeat, Sign, Step, bytes_count, times_for};
pub(crate) use leaving::{answer_and_leave, close_unless_bytes_wait, leave, refuse};
pub(crate) use lines::{Lines, TooLong};
pub(crate) use opening::{Admitted, Greeting, Ids, Opened, write_side};
pub(crate) use rate::{MessageRate, Verdict as RateVerdict};
pub(crate) use receiver::{Received, Receiver};
pub(crate) use request::{Accepted, RequestError, RequestReader, check_host};
pub(crate) use shared::{Current, Shared};
pub(crate) use websocket::{Replies, WebSocket};

use crate::clock;
use crate::handler::{Connection, Idle, IdleAction, IdleKind};
use crate::limits::Permit;
use crate::outbound::Waiting;
use crate::printable::Printable;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::message::ErrorCode;
use crate::protocol::native;
use crate::record::{Entry, Listed, Vitals};
use crate::router::command::Key;
use crate::router::{Router, SendError};
use dispatch::Dispatch;
use inbound::Inbound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// What one recv brings at most. On the deepest path of an idle connection there is no room for more, nor need for it:
/// most messages of people and all heartbeats are shorter.
const READ_BUFFER_BYTES: usize = 256;
/// What is taken at once where that was not enough.
const LARGE_BUFFER_BYTES: usize = 4 << 10;

/// The life of one connection's thread.
///
/// What an idle connection costs is above all the deepest its stack ever was, and what was allocated here and freed
/// again. So the handshake's thread has prepared and registered everything, and each phase has a frame of its own, which
/// is why none of them is inlined here.
pub(crate) fn run(opened: Opened) {
    let Opened { mut life, key, listed } = opened;
    let shared = Arc::clone(&life.shared);
    let mut registered = Registered { router: &shared.router, key, commands: 0 };
    life.live(&mut registered);
    // Who is closing can no longer be reached, and so is no longer online.
    drop(registered);
    let ended = clock::now();
    life.take_leave();
    life.end(listed, ended);
}

/// A connection on its own thread.
struct Life {
    shared: Arc<Shared>,
    connection: Connection,
    receiver: Receiver,
    inbound: Inbound,
    heartbeat: Heartbeat,
    dispatch: Dispatch,
    /// What came behind the request.
    received: Vec<u8>,
    /// How others see it.
    entry: Arc<Entry>,
    opened: Instant,
    bytes_received: u64,
    permit: Arc<Permit>,
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

impl Life {
    /// From registration to the reason for the end. A panic, in the handler or in our own code, ends this connection only.
    fn live(&mut self, registered: &mut Registered<'_>) {
        self.log_opened();
        if catch_unwind(AssertUnwindSafe(|| self.serve(registered))).is_err() {
            // What was decoded before the panic goes its way.
            self.hand_over(registered);
            self.connection.outbound.close(CloseKind::Internal.into(), Waiting::Drop);
        }
    }

    #[inline(never)]
    fn log_opened(&self) {
        let info = self.connection.info();
        log::debug!("opened {} of {} from {}", info.id, Printable(info.account.as_str()), info.address);
    }

    #[inline(never)]
    fn serve(&mut self, registered: &mut Registered<'_>) {
        self.shared.handler.opened(&self.connection);
        let received = std::mem::take(&mut self.received);
        if !received.is_empty() {
            self.take(&received, registered);
        }
        drop(received);
        let mut buffer = [0; READ_BUFFER_BYTES];
        while !self.connection.outbound.is_ending() {
            let received = match self.heartbeat.step(clock::now(), self.last_write()) {
                Step::Wait(until) => self.receiver.receive(&mut buffer, until),
                Step::Ping(payload) => {
                    self.ping(payload);
                    continue;
                }
                Step::Idle(idle) => {
                    let received = self.receiver.receive_waiting(&mut buffer);
                    // Nobody was silent whose bytes wait here because a handler was slow.
                    if received == Received::Nothing || idle.kind == IdleKind::Writer {
                        self.idle(idle);
                    }
                    received
                }
                Step::Close(reason) => {
                    let bytes_count = bytes_count(&self.shared.config, reason.kind());
                    let outbound = &self.connection.outbound;
                    close_unless_bytes_wait(&mut self.receiver, outbound, reason, bytes_count, &mut buffer)
                }
            };
            match received {
                Received::Bytes(n) if n == buffer.len() => self.take_more(&buffer, registered),
                Received::Bytes(n) => self.take(&buffer[..n], registered),
                Received::Nothing => {}
                Received::End => return self.end_of_stream(),
            }
        }
    }

    /// A recv has filled its buffer: what waits behind that is taken together with it.
    #[inline(never)]
    fn take_more(&mut self, first: &[u8], registered: &mut Registered<'_>) {
        let mut buffer = [0; LARGE_BUFFER_BYTES];
        let (begin, rest) = buffer.split_at_mut(first.len());
        begin.copy_from_slice(first);
        let more = match self.receiver.receive_waiting(rest) {
            Received::Bytes(n) => n,
            // An end of the stream is still there when it is asked again.
            Received::Nothing | Received::End => 0,
        };
        self.take(&buffer[..first.len() + more], registered);
    }

    fn ping(&self, payload: [u8; 4]) {
        self.shared.metrics.pings_sent.add(1);
        let ping = self.connection.outbound.format().ping(&payload);
        // A connection that is closing needs no ping.
        let _ = self.connection.outbound.push([ping]);
        self.publish(clock::now());
    }

    /// Shows others how it is.
    #[inline(never)]
    fn publish(&self, now: Instant) {
        let vitals = Vitals {
            messages_received: self.dispatch.messages(),
            bytes_received: self.bytes_received,
            last_heard: self.heartbeat.last_heard(),
            pulse: *self.heartbeat.pulse(),
            heartbeat: self.heartbeat.times(),
            background: self.dispatch.background(),
        };
        self.entry.publish(vitals, now);
    }

    #[inline(never)]
    fn idle(&mut self, idle: Idle) {
        let level = if idle.first { log::Level::Info } else { log::Level::Debug };
        let info = self.connection.info();
        log::log!(level, "idle {} of {}: {idle}", info.id, Printable(info.account.as_str()));
        match self.shared.handler.idle(&self.connection, idle) {
            IdleAction::Nothing => {}
            IdleAction::Ping => {
                let payload = self.heartbeat.ping(clock::now());
                self.ping(payload);
            }
            IdleAction::Close(reason) => self.connection.close(reason),
        }
    }

    /// The peer has left; or the server, which is stopping, has ended what it took for a handshake.
    fn end_of_stream(&self) {
        if self.permit.is_server_closed() {
            self.connection.outbound.close(CloseKind::GoingAway.into(), Waiting::Drop);
        }
    }

    /// What one recv brought: it extends the deadlines, is decoded, and what it asks for is handed over at once.
    #[inline(never)]
    fn take(&mut self, bytes: &[u8], registered: &mut Registered<'_>) {
        let (now, outbound) = (clock::now(), &self.connection.outbound);
        self.bytes_received += bytes.len() as u64;
        self.heartbeat.heard(Sign::Bytes, now);
        let (messages, answered) = (self.dispatch.messages(), self.heartbeat.pulse().pings_answered);
        let (dispatch, heartbeat) = (&mut self.dispatch, &mut self.heartbeat);
        let decoded = self.inbound.decode(bytes, now, outbound, dispatch, heartbeat);
        self.heartbeat.assembling(self.inbound.assembling_since());
        self.shared.metrics.bytes_received.add(bytes.len() as u64);
        self.shared.metrics.messages_received.add(self.dispatch.messages() - messages);
        self.count_round_trip(answered);
        self.publish(now);
        self.hand_over(registered);
        if let Err(reason) = decoded {
            self.connection.outbound.close(reason, Waiting::Drop);
        }
    }

    /// Counts the answer to a ping, if one came since `answered` of them had; there is never more than one to come.
    fn count_round_trip(&self, answered: u64) {
        let pulse = self.heartbeat.pulse();
        if pulse.pings_answered > answered
            && let Some(round_trip) = pulse.last_round_trip
        {
            self.shared.metrics.round_trip.observe_time(round_trip);
        }
    }

    fn hand_over(&mut self, registered: &mut Registered<'_>) {
        let commands = self.dispatch.take_commands();
        if commands.is_empty() {
            return;
        }
        let count = commands.len();
        let handed_over = self.shared.router.hand_over(registered.key, commands);
        if handed_over.is_err() {
            self.shared.metrics.commands_dropped.add(count as u64);
        }
        match handed_over {
            Ok(()) => registered.commands += count as u64,
            Err(SendError::Stopped) => self.connection.outbound.close(CloseKind::Internal.into(), Waiting::Drop),
            Err(SendError::Busy | SendError::Full) => {
                let message = format!("the server is overloaded: {count} frames were dropped");
                let _ = self.connection.outbound.tell(&native::error(None, ErrorCode::NotAvailable, &message));
                let reason = CloseReason::new(CloseKind::OverCapacity, "the router was busy for 5 s");
                self.connection.outbound.close(reason, Waiting::KeepUntil(clock::now() + self.shared.config.linger));
                if let Some(others) = self.shared.overload_log.open(clock::now()) {
                    log::warn!("the router is overloaded: {} was closed, and {others} others", self.connection.id());
                }
            }
        }
    }

    /// Gives the peer time to read the Close, and to answer it.
    #[inline(never)]
    fn take_leave(&mut self) {
        if self.connection.outbound.is_ending() {
            leaving::discard(&mut self.receiver, &self.connection.outbound);
        }
    }

    /// Lets go of the socket, and tells whoever wants to know. It `ended` when the reason was chosen.
    #[inline(never)]
    fn end(self: Box<Self>, listed: Listed, ended: Instant) {
        let (reason, sent) = self.connection.outbound.finish(CloseKind::PeerGone.into());
        self.shared.metrics.closed.add(reason.kind());
        // Also where a panic came in between.
        self.publish(ended);
        let record = listed.close(&reason, sent, ended);
        let (info, statistics) = (self.connection.info(), &record.statistics);
        let level = match reason.kind() {
            // What peers can cause as often as they like is counted, but does not fill the log.
            CloseKind::PeerClosed(_)
            | CloseKind::PeerGone
            | CloseKind::GoingAway
            | CloseKind::ProtocolError
            | CloseKind::InvalidUtf8
            | CloseKind::TooBig
            | CloseKind::Policy
            | CloseKind::RateLimit
            | CloseKind::TooSlow => log::Level::Debug,
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
        let told = catch_unwind(AssertUnwindSafe(|| self.shared.handler.closed(&self.connection, &record)));
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
