//! The thread of a raw TCP connection until it says `hello`. It need not: unless the server authenticates its clients, one
//! that never does is anonymous. It can be sent nothing, and lives for as long as bytes come, whatever they say.

use super::{authenticate, client_address, start};
use crate::auth::{RETRY_AFTER, Refusal};
use crate::clock;
use crate::config::Config;
use crate::connection::{
    self, Accepted, Admitted, Greeting, Lines, MessageRate, RateVerdict, Received, Receiver, RequestError,
    RequestReader, Shared, TooLong,
};
use crate::handler::{Request, Words};
use crate::outbound::{Outbound, Waiting};
use crate::printable::Printable;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::format::Format;
use crate::protocol::message::{Account, ClientFrame, ErrorCode, FrameId, HeartbeatTimes};
use crate::protocol::native::{self, Hello};
use crate::record::{Claim, Dialect};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one recv brings at most.
const READ_BUFFER_BYTES: usize = 1536;
/// The longest line before `hello`, as long as a request's head may be. Nothing hurries a client to end its lines, so
/// what is kept of one that does not must be little.
const MAX_LINE_BYTES: usize = 8 << 10;

/// How a TLS client begins: the type of the record, and the first byte of its version.
const TLS_HANDSHAKE: [u8; 2] = [22, 3];

/// The thread, until its client has an account or is gone.
pub(super) fn run(accepted: &Accepted, shared: &Arc<Shared>) {
    let outbound = connection::write_side(&accepted.socket, Format::Lines, shared);
    let (receiver, client, received) = match open(accepted, shared) {
        Ok(opened) => opened,
        Err(reason) => {
            // Whoever has left is told nothing.
            if reason.kind() != CloseKind::PeerGone {
                outbound.close(reason.clone(), Waiting::Drop);
            }
            let reason = connection::leave(&mut Receiver::new(Arc::clone(&accepted.socket)), &outbound, reason);
            shared.metrics.strangers_closed.add(1);
            keep(shared, &Claim::of(accepted.peer), &reason);
            return;
        }
    };
    let mut stranger = Stranger::new(accepted, receiver, client, outbound, shared);
    if let Some(admitted) = stranger.listen(&received) {
        start(*admitted, accepted, shared);
    }
}

/// Reads what a proxy sends first; says who the client is, and what came behind that.
fn open(accepted: &Accepted, shared: &Shared) -> Result<(Receiver, SocketAddr, Vec<u8>), CloseReason> {
    let config = &*shared.config;
    let mut reader = RequestReader::new(accepted, accepted.at + config.handshake_deadline);
    let announced = reader.proxy_header(accepted.peer, config).map_err(|error| match error {
        RequestError::TooSlow => CloseReason::new(CloseKind::TooSlow, "no PROXY header came"),
        RequestError::Malformed(_) => CloseReason::new(CloseKind::BadRequest, "a malformed PROXY header"),
        RequestError::Stopping => Refusal::draining(RETRY_AFTER).close_reason(),
        RequestError::Gone => CloseKind::PeerGone.into(),
    })?;
    let client = client_address(accepted.peer, announced, None, config);
    let (receiver, received) = reader.into_parts();
    Ok((receiver, client, received))
}

/// A client that has not said who it is.
struct Stranger<'a> {
    accepted: &'a Accepted,
    shared: &'a Arc<Shared>,
    claim: Claim,
    /// Whether it was told that it does not come in.
    refused: bool,
    receiver: Receiver,
    outbound: Arc<Outbound>,
    clock: Clock,
    rate: MessageRate,
    /// Whether its first bytes held no line within the bound: what follows is no longer read, only counted as life. A
    /// request of HTTP may hide behind such bytes, and a web page can make a browser send one.
    deaf: bool,
}

impl<'a> Stranger<'a> {
    fn new(
        accepted: &'a Accepted,
        receiver: Receiver,
        client: SocketAddr,
        outbound: Arc<Outbound>,
        shared: &'a Arc<Shared>,
    ) -> Self {
        let clock = Clock::new(&shared.config, accepted.at, shared.handler.authenticates());
        let rate = MessageRate::new(shared.config.message_rate, accepted.at);
        Self {
            accepted,
            shared,
            claim: Claim::of(client),
            refused: false,
            receiver,
            outbound,
            clock,
            rate,
            deaf: false,
        }
    }

    /// Listens until it says `hello`; `None` when it is gone.
    fn listen(&mut self, received: &[u8]) -> Option<Box<Admitted>> {
        let mut lines = Lines::new(self.shared.config.max_message_bytes.min(MAX_LINE_BYTES));
        let mut admitted = self.take(received, &mut lines);
        let mut buffer = [0; READ_BUFFER_BYTES];
        while admitted.is_none() && !self.outbound.is_ending() {
            let received = match self.clock.due(clock::now()) {
                Ok(until) => self.receiver.receive(&mut buffer, until),
                Err(reason) => {
                    let bytes_count = reason.kind() == CloseKind::HeartbeatTimeout;
                    let outbound = &self.outbound;
                    connection::close_unless_bytes_wait(&mut self.receiver, outbound, reason, bytes_count, &mut buffer)
                }
            };
            match received {
                Received::Bytes(n) => admitted = self.take(&buffer[..n], &mut lines),
                Received::Nothing => {}
                Received::End => {
                    // The server, when it stops, ends those whom the router does not know.
                    if self.accepted.permit.is_server_closed() {
                        self.outbound.close(CloseKind::GoingAway.into(), Waiting::Drop);
                    }
                    break;
                }
            }
        }
        if admitted.is_none() {
            self.end();
        }
        admitted
    }

    fn take(&mut self, received: &[u8], lines: &mut Lines) -> Option<Box<Admitted>> {
        let now = clock::now();
        if received.is_empty() {
            return None;
        }
        let is_first = self.clock.heard(now);
        if self.deaf {
            // What is not read must not come without end, either.
            self.is_within_rate(received, now);
            return None;
        }
        let mut hello = None;
        let split = lines.split(received, now, |line| {
            if self.outbound.is_ending() {
                return ControlFlow::Break(());
            }
            hello = self.line(line, now);
            if hello.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match (split, hello) {
            (Ok(used), Some(hello)) => return self.admit(hello, received[used..].to_vec(), now),
            (Ok(_), None) => {}
            (Err(TooLong), _) => {
                self.deaf = true;
                let message = "no line ended within what a hello may be: nothing more is read";
                self.error(None, ErrorCode::LimitExceeded, message);
            }
        }
        if is_first && !self.shared.handler.authenticates() {
            self.stay_anonymous();
        }
        None
    }

    /// Nobody waits for its `hello` any more.
    fn stay_anonymous(&mut self) {
        let client = self.shared.config.limited_address(self.claim.address.ip());
        if !self.accepted.permit.stays_anonymous(client) {
            self.refuse(&Refusal::connection_limit("this address has as many connections as it may have"));
        }
    }

    fn line(&mut self, line: &[u8], now: Instant) -> Option<Hello> {
        if is_foreign(line) {
            let reason = CloseReason::new(CloseKind::BadRequest, "this port speaks lines of JSON, not HTTP or TLS");
            self.outbound.close(reason, Waiting::Drop);
            return None;
        }
        if self.is_within_rate(line, now) { self.word(line) } else { None }
    }

    fn is_within_rate(&mut self, line: &[u8], now: Instant) -> bool {
        match self.rate.judge(now) {
            RateVerdict::Pass => return true,
            RateVerdict::Refuse { tell: false } => {}
            RateVerdict::Refuse { tell: true } => {
                let id = std::str::from_utf8(line).ok().and_then(native::id_of);
                self.error(id.as_ref(), ErrorCode::TooManyRequests, "too many lines");
            }
            RateVerdict::End => {
                let reason = CloseReason::new(CloseKind::RateLimit, "too many lines for 5 s");
                self.outbound.close(reason, Waiting::Drop);
            }
        }
        false
    }

    fn word(&mut self, line: &[u8]) -> Option<Hello> {
        if line.is_empty() {
            return None;
        }
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(error) => {
                self.error(None, ErrorCode::BadRequest, &error.to_string());
                return None;
            }
        };
        let frame = match native::hello(text) {
            Ok(Some(hello)) => return Some(hello),
            Ok(None) => native::decode(text),
            Err(wrong) => Err(wrong),
        };
        match frame {
            Ok(ClientFrame::Heartbeat { next, .. }) => {
                self.clock.promise(&self.shared.config, next);
                // Who is closing needs no answer.
                let _ = self.outbound.tell(&native::heartbeat(self.clock.times));
            }
            Ok(_) => {
                let message = "say hello first: {\"type\":\"hello\",\"user_id\":\"…\"}";
                self.error(native::id_of(text).as_ref(), ErrorCode::Unauthorized, message);
            }
            Err(wrong) => self.error(wrong.id.as_ref(), ErrorCode::BadRequest, &wrong.message),
        }
        None
    }

    fn admit(&mut self, hello: Hello, received: Vec<u8>, now: Instant) -> Option<Box<Admitted>> {
        let config = &self.shared.config;
        let deadline = self.clock.admission_due(config, now);
        if !self.accepted.permit.resumes() {
            self.refuse(&Refusal::unavailable("as many handshakes in progress as there may be", RETRY_AFTER));
            return None;
        }
        let Hello { user_id, token, device, promise } = hello;
        self.claim.account = user_id.as_deref().and_then(|name| Account::new(name).ok());
        let words = Words::Hello { user_id, device: device.clone() };
        let request = Request { words, client: self.claim.address, token };
        let greeting = Greeting { first: Vec::new(), refuse_by_close: true, format: Format::Lines };
        match authenticate(&request, deadline, self.shared) {
            Ok(identity) => Some(Box::new(Admitted {
                accepted: self.accepted.at,
                deadline,
                client: self.claim.address,
                limited_address: config.limited_address(self.claim.address.ip()),
                identity,
                device,
                dialect: Dialect::Tcp,
                promise: promise.or(self.clock.promised),
                greeting,
                outbound: Some(Arc::clone(&self.outbound)),
                received,
            })),
            Err(refusal) => {
                self.refuse(&refusal);
                None
            }
        }
    }

    fn refuse(&mut self, refusal: &Refusal) {
        log::debug!("refused with {}: {}", refusal.status, Printable(&refusal.message));
        let reason = refusal.close_reason();
        self.refused = true;
        self.shared.refused(&self.claim, None, &reason);
        self.outbound.close(reason, Waiting::Drop);
    }

    fn error(&self, id: Option<&FrameId>, code: ErrorCode, message: &str) {
        // Who is closing needs no answer.
        let _ = self.outbound.tell(&native::error(id, code, message));
    }

    fn end(&mut self) {
        let reason = connection::leave(&mut self.receiver, &self.outbound, CloseKind::PeerGone.into());
        self.shared.metrics.strangers_closed.add(1);
        if !self.refused {
            keep(self.shared, &self.claim, &reason);
        }
        let lasted = clock::now().saturating_duration_since(self.accepted.at);
        let reason = reason.to_string();
        log::debug!(
            "closed one without an account from {} after {lasted:.1?}: {}",
            self.claim.address,
            Printable(&reason)
        );
    }
}

/// Keeps what a stranger did wrong, or failed to do, for whoever asks why. One that left by itself, or fell silent, has
/// asked for nothing.
fn keep(shared: &Shared, claim: &Claim, reason: &CloseReason) {
    if matches!(reason.kind(), CloseKind::BadRequest | CloseKind::TooSlow | CloseKind::RateLimit) {
        shared.records.refused(claim, None, reason);
    }
}

/// Whether this line begins a request of HTTP, or a TLS handshake (RFC 8446 §5.1). A web page can have either sent to any
/// port, with lines of its own in the request's body or in the session ticket that its server once gave out, so the
/// connection must end here.
fn is_foreign(line: &[u8]) -> bool {
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    (line.contains(&b' ') && version.starts_with(b"HTTP/")) || line.starts_with(&TLS_HANDSHAKE)
}

/// The deadlines of a client without an account. Pure: `now` is an argument.
struct Clock {
    accepted: Instant,
    first_byte: Duration,
    /// By when it must have said `hello`, where it must.
    hello: Option<Duration>,
    lifetime: Option<Duration>,
    promised: Option<Duration>,
    times: HeartbeatTimes,
    last_byte: Option<Instant>,
}

impl Clock {
    fn new(config: &Config, accepted: Instant, must_say_hello: bool) -> Self {
        Self {
            accepted,
            first_byte: config.tcp_first_byte.unwrap_or(config.handshake_deadline),
            hello: must_say_hello.then_some(config.handshake_deadline),
            lifetime: config.max_lifetime,
            promised: None,
            times: config.heartbeat.times(),
            last_byte: None,
        }
    }

    /// Bytes came; whether they were the first.
    fn heard(&mut self, now: Instant) -> bool {
        self.last_byte.replace(now).is_none()
    }

    /// It promises to be heard again within this time.
    fn promise(&mut self, config: &Config, next: Option<Duration>) {
        if next.is_some() {
            self.promised = next;
            self.times = connection::times_for(&config.heartbeat, next);
        }
    }

    /// By when a client whose `hello` came `now` must be authenticated and registered. Where `hello` had a deadline, that
    /// holds for the rest, too.
    fn admission_due(&self, config: &Config, now: Instant) -> Instant {
        self.hello.map_or(now + config.handshake_deadline, |within| self.accepted + within)
    }

    /// Until when nothing is due.
    ///
    /// # Errors
    /// Why the connection has to end.
    fn due(&self, now: Instant) -> Result<Instant, CloseReason> {
        let silence = match self.last_byte {
            None => (self.accepted + self.first_byte, CloseKind::TooSlow),
            Some(last) => (last + self.times.timeout, CloseKind::HeartbeatTimeout),
        };
        let hello = self.hello.map(|within| (self.accepted + within, CloseKind::TooSlow));
        let lifetime = self.lifetime.map(|lifetime| (self.accepted + lifetime, CloseKind::LifetimeReached));
        let deadlines = [lifetime, hello, Some(silence)];
        match deadlines.into_iter().flatten().find(|(at, _)| now >= *at) {
            Some((_, kind)) => Err(self.describe(kind, now)),
            None => Ok(deadlines.into_iter().flatten().map(|(at, _)| at).fold(silence.0, Instant::min)),
        }
    }

    fn describe(&self, kind: CloseKind, now: Instant) -> CloseReason {
        let detail = match (kind, self.last_byte) {
            (CloseKind::TooSlow, None) => {
                format!(
                    "nothing came within {:?}",
                    self.hello.map_or(self.first_byte, |hello| hello.min(self.first_byte))
                )
            }
            (CloseKind::TooSlow, Some(_)) => "no hello came in time".into(),
            (CloseKind::HeartbeatTimeout, Some(last)) => {
                format!("heard nothing for {:.1} s", now.saturating_duration_since(last).as_secs_f64())
            }
            _ => String::new(),
        };
        CloseReason::new(kind, detail)
    }
}

#[cfg(test)]
mod tests;
