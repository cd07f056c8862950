//! The clocks of one connection: liveness, assembly, lifetime, idleness. Pure: `now` is an argument, nothing sleeps.
//!
//! Every deadline is absolute. The connection's thread asks [`Heartbeat::step`] what is due, does it, and sleeps in
//! `recv` until the instant that the last step named.

use crate::config::{self, Config, IdleThresholds, Liveness};
use crate::handler::{Idle, IdleKind};
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::message::HeartbeatTimes;
use crate::record::Pulse;
use std::time::{Duration, Instant};

/// What the clocks ask the connection's thread to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send a ping with this payload: the peer was silent for the interval.
    Ping([u8; 4]),
    /// Tell the program that embeds the server.
    Idle(Idle),
    /// A deadline has passed.
    Close(CloseReason),
    /// Nothing until then.
    Wait(Instant),
}

/// The deadlines of a client that promises to be heard every `promise`: its timeout becomes 1.5 times that, within the
/// configured range, and it is probed 1.1 times the promise after its last sign of life, so that the probe does not
/// itself keep alive the path whose patience the client measures.
pub(crate) fn times_for(config: &config::Heartbeat, promise: Option<Duration>) -> HeartbeatTimes {
    let Some(promise) = promise else { return config.times() };
    let timeout = (promise.saturating_mul(3) / 2).clamp(*config.negotiable.start(), *config.negotiable.end());
    HeartbeatTimes { interval: timeout * 11 / 15, timeout }
}

/// Whether bytes that wait in the socket speak against an end of this kind. A peer is neither silent nor slow while its
/// bytes wait because a handler, the program or this machine was: a message is bounded, in bytes and fragments, and so
/// are the control frames in between. Where one of them is not, or only heartbeats count, a flood must not put off the
/// end.
pub(crate) fn bytes_count(config: &Config, kind: CloseKind) -> bool {
    match kind {
        CloseKind::HeartbeatTimeout => config.heartbeat.liveness == Liveness::Any,
        CloseKind::TooSlow => config.max_fragments.is_some() && config.control_rate.is_some(),
        _ => false,
    }
}

/// What was received, as far as liveness is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Bytes, of whatever meaning.
    Bytes,
    /// A `heartbeat` frame or a WebSocket ping.
    Beat,
}

/// The clocks of one connection.
pub(crate) struct Heartbeat {
    times: HeartbeatTimes,
    liveness: Liveness,
    /// The last sign of life, in the configured sense.
    last_life: Instant,
    /// The last byte, whatever the configured sense.
    last_byte: Instant,
    /// The ping that waits for its answer, and when the last one was sent.
    ping: Option<(u32, Instant)>,
    unanswered: u32,
    assembly_deadline: Duration,
    /// Since when a message is being received.
    assembling_since: Option<Instant>,
    lifetime: Option<(Instant, Duration)>,
    /// When its authentication ends.
    expires: Option<Instant>,
    /// Those that are configured; mostly none.
    idle: Box<[IdleClock]>,
    pulse: Pulse,
}

impl Heartbeat {
    /// The clocks of a connection that was accepted at `accepted` and is alive `now`.
    pub(crate) fn new(config: &Config, accepted: Instant, promise: Option<Duration>, now: Instant) -> Self {
        let IdleThresholds { reader, writer, all } = config.idle;
        let thresholds = [(IdleKind::Reader, reader), (IdleKind::Writer, writer), (IdleKind::All, all)];
        let clock = |(kind, threshold): (_, Option<_>)| {
            threshold.map(|threshold| IdleClock { kind, threshold, silent_since: now, told_at: None })
        };
        Self {
            times: times_for(&config.heartbeat, promise),
            liveness: config.heartbeat.liveness,
            last_life: now,
            last_byte: now,
            ping: None,
            unanswered: 0,
            assembly_deadline: config.assembly_deadline,
            assembling_since: None,
            lifetime: config.max_lifetime.map(|lifetime| (accepted, lifetime)),
            expires: None,
            idle: thresholds.into_iter().filter_map(clock).collect(),
            pulse: Pulse::default(),
        }
    }

    /// The deadlines that hold for this connection now.
    pub(crate) fn times(&self) -> HeartbeatTimes {
        self.times
    }

    /// What the pings brought to light so far.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// When the last byte was received.
    pub(crate) fn last_heard(&self) -> Instant {
        self.last_byte
    }

    /// Something was received.
    pub(crate) fn heard(&mut self, sign: Sign, now: Instant) {
        self.last_byte = now;
        if sign == Sign::Beat || self.liveness == Liveness::Any {
            self.last_life = now;
            self.unanswered = 0;
        }
    }

    /// A pong was received: a sign of life in both senses, and a round trip if it answers the last ping.
    pub(crate) fn pong(&mut self, payload: &[u8], now: Instant) {
        self.heard(Sign::Beat, now);
        if self.ping.is_some_and(|(number, _)| payload == number.to_be_bytes()) {
            self.answered(now);
        }
    }

    /// Where there are no pongs, a sign of life since the last ping is its answer.
    pub(crate) fn answered_by_life(&mut self, now: Instant) {
        if self.ping.is_some_and(|(_, sent)| self.last_life >= sent) {
            self.answered(now);
        }
    }

    /// The last ping, if there was one, was answered: a round trip.
    fn answered(&mut self, now: Instant) {
        if let Some((_, sent)) = self.ping.take() {
            self.pulse.answered(now.saturating_duration_since(sent));
        }
    }

    /// From now on other deadlines hold, see [`times_for`].
    pub(crate) fn set_times(&mut self, times: HeartbeatTimes) {
        self.times = times;
    }

    /// When the authentication ends, if it does.
    pub(crate) fn expires(&mut self, at: Option<Instant>) {
        self.expires = at;
    }

    /// Whether a message is being received, and since when.
    pub(crate) fn assembling(&mut self, since: Option<Instant>) {
        self.assembling_since = since;
    }

    /// What is due at `now`. Only bytes handed to the kernel, the last of them at `last_write`, end a writer's silence;
    /// they never count as a sign of life.
    pub(crate) fn step(&mut self, now: Instant, last_write: Instant) -> Step {
        let deadlines = self.deadlines();
        if let Some((_, kind)) = deadlines.into_iter().flatten().find(|(at, _)| now >= *at) {
            return Step::Close(self.describe(kind, now));
        }
        let ping_at = self.ping_at();
        if now >= ping_at {
            return Step::Ping(self.ping(now));
        }
        if let Some(idle) = self.idle(now, last_write) {
            return Step::Idle(idle);
        }
        let closes = deadlines.into_iter().flatten().map(|(at, _)| at);
        let idles = self.idle.iter().map(IdleClock::due);
        Step::Wait(closes.chain(idles).fold(ping_at, Instant::min))
    }

    /// The payload of a ping that is sent `now`.
    pub(crate) fn ping(&mut self, now: Instant) -> [u8; 4] {
        let number = u32::try_from(self.pulse.pings_sent % (1 << 32)).unwrap_or_default();
        self.pulse.pings_sent += 1;
        self.unanswered += 1;
        self.ping = Some((number, now));
        number.to_be_bytes()
    }

    fn deadlines(&self) -> [Option<(Instant, CloseKind)>; 4] {
        [
            self.expires.map(|at| (at, CloseKind::AuthenticationFailed)),
            self.lifetime.map(|(accepted, lifetime)| (accepted + lifetime, CloseKind::LifetimeReached)),
            self.assembling_since.map(|since| (since + self.assembly_deadline, CloseKind::TooSlow)),
            Some((self.last_life + self.times.timeout, CloseKind::HeartbeatTimeout)),
        ]
    }

    /// A frame of its own: that of [`Heartbeat::step`] is on the deepest path of an idle connection, and must stay small.
    #[cold]
    #[inline(never)]
    fn describe(&self, kind: CloseKind, now: Instant) -> CloseReason {
        let detail = match kind {
            CloseKind::HeartbeatTimeout => {
                let heard = match self.liveness {
                    Liveness::Any => "nothing",
                    Liveness::Heartbeat => "no heartbeat",
                };
                let silence = now.saturating_duration_since(self.last_life).as_secs_f64();
                let unanswered = self.unanswered;
                let pings = if unanswered == 1 { "ping" } else { "pings" };
                format!("heard {heard} for {silence:.1} s; {unanswered} {pings} unanswered")
            }
            CloseKind::AuthenticationFailed => "the token has expired".into(),
            CloseKind::TooSlow => format!("a message took longer than {:?}", self.assembly_deadline),
            _ => String::new(),
        };
        CloseReason::new(kind, detail)
    }

    /// One interval after the last sign of life, then after each further interval without an answer.
    fn ping_at(&self) -> Instant {
        let since = match self.ping {
            Some((_, sent)) => sent.max(self.last_life),
            None => self.last_life,
        };
        since + self.times.interval
    }

    fn idle(&mut self, now: Instant, last_write: Instant) -> Option<Idle> {
        let last_byte = self.last_byte;
        self.idle.iter_mut().find_map(|clock| {
            let active = match clock.kind {
                IdleKind::Reader => last_byte,
                IdleKind::Writer => last_write,
                IdleKind::All => last_byte.max(last_write),
            };
            clock.check(active, now)
        })
    }
}

/// One of the three idle thresholds.
struct IdleClock {
    kind: IdleKind,
    threshold: Duration,
    silent_since: Instant,
    /// When the program was last told of the present silence.
    told_at: Option<Instant>,
}

impl IdleClock {
    fn due(&self) -> Instant {
        self.told_at.unwrap_or(self.silent_since) + self.threshold
    }

    fn check(&mut self, active: Instant, now: Instant) -> Option<Idle> {
        if active > self.silent_since {
            (self.silent_since, self.told_at) = (active, None);
        }
        if now < self.due() {
            return None;
        }
        // Counted from now: a thread that was held up must not tell of every threshold that passed meanwhile.
        let first = self.told_at.replace(now).is_none();
        Some(Idle::new(self.kind, first, now.saturating_duration_since(self.silent_since)))
    }
}

#[cfg(test)]
mod tests;
