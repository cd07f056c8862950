//! A connection that is there, as others see it.

use super::{ClosedConnection, ConnectionInfo, Pulse, Statistics};
use crate::metrics::RecentRate;
use crate::outbound::{Outbound, Sent};
use crate::protocol::close::CloseReason;
use crate::protocol::message::HeartbeatTimes;
use crate::threads::lock;
use crate::threads::sync::Mutex;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// A connection that is there.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OpenConnection {
    /// What is known of it from its beginning.
    pub info: Arc<ConnectionInfo>,
    /// What it has done so far.
    pub statistics: Statistics,
    /// The deadlines that hold for it now.
    pub heartbeat: HeartbeatTimes,
    /// Whether its page is hidden, as far as its client has said: `None` where it said nothing.
    pub background: Option<bool>,
    /// Messages received a second, on the average of the last ten seconds.
    pub messages_per_second: f64,
    /// Frames handed to the kernel a second, likewise.
    pub frames_per_second: f64,
    /// Bytes that wait for it now.
    pub queued_bytes: usize,
    /// Why it is closing, if it is.
    pub closing: Option<CloseReason>,
}

/// What a connection's thread publishes of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vitals {
    pub(crate) messages_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) last_heard: Instant,
    pub(crate) pulse: Pulse,
    pub(crate) heartbeat: HeartbeatTimes,
    pub(crate) background: Option<bool>,
}

/// A connection's entry: written by its thread, read by whoever asks.
pub(crate) struct Entry {
    /// The number of the connection, never used again.
    pub(super) serial: u64,
    pub(super) info: Arc<ConnectionInfo>,
    opened: Instant,
    outbound: Arc<Outbound>,
    published: Mutex<(Vitals, RecentRate)>,
}

impl Entry {
    pub(crate) fn new(
        serial: u64,
        info: Arc<ConnectionInfo>,
        outbound: Arc<Outbound>,
        heartbeat: HeartbeatTimes,
        opened: Instant,
    ) -> Self {
        let vitals = Vitals {
            messages_received: 0,
            bytes_received: 0,
            last_heard: opened,
            pulse: Pulse::default(),
            heartbeat,
            background: None,
        };
        Self { serial, info, opened, outbound, published: Mutex::new((vitals, RecentRate::new(opened))) }
    }

    /// How it is now. Called by the connection's thread only.
    pub(crate) fn publish(&self, vitals: Vitals, now: Instant) {
        let (before, rate) = &mut *lock(&self.published);
        rate.add(vitals.messages_received - before.messages_received, now);
        *before = vitals;
    }

    /// How it is now, for others.
    pub(super) fn look(&self, now: Instant) -> OpenConnection {
        let (vitals, messages) = *lock(&self.published);
        let outgoing = self.outbound.look(now);
        OpenConnection {
            info: Arc::clone(&self.info),
            statistics: self.statistics(&vitals, outgoing.sent, now),
            heartbeat: vitals.heartbeat,
            background: vitals.background,
            messages_per_second: messages.per_second(now),
            frames_per_second: outgoing.frames_per_second,
            queued_bytes: outgoing.queued_bytes,
            closing: outgoing.reason,
        }
    }

    /// What is kept of it when it has ended.
    pub(super) fn closed(&self, reason: &CloseReason, sent: Sent, now: Instant) -> ClosedConnection {
        let (vitals, _) = *lock(&self.published);
        ClosedConnection {
            info: Arc::clone(&self.info),
            statistics: self.statistics(&vitals, sent, now),
            heartbeat: vitals.heartbeat,
            background: vitals.background,
            reason: reason.shortened(),
            closed: SystemTime::now(),
        }
    }

    fn statistics(&self, vitals: &Vitals, sent: Sent, now: Instant) -> Statistics {
        let Vitals { pulse, .. } = vitals;
        Statistics {
            duration: now.saturating_duration_since(self.opened),
            messages_received: vitals.messages_received,
            bytes_received: vitals.bytes_received,
            frames_sent: sent.frames,
            bytes_sent: sent.bytes,
            frames_dropped: sent.dropped,
            queue_high_water_bytes: sent.queue_high_water_bytes,
            pings_sent: pulse.pings_sent,
            pings_answered: pulse.pings_answered,
            last_round_trip: pulse.last_round_trip,
            median_round_trip: pulse.median_round_trip(),
            max_round_trip: pulse.max_round_trip,
            last_heard: now.saturating_duration_since(vitals.last_heard),
        }
    }
}
