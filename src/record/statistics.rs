//! What a connection did, in numbers.

use std::time::Duration;

/// What a connection has done in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// From its registration until now, or to its end.
    pub duration: Duration,
    /// Messages received, heartbeats included.
    pub messages_received: u64,
    /// Bytes received, framing included.
    pub bytes_received: u64,
    /// Frames handed to the kernel, greeting and pings included.
    pub frames_sent: u64,
    /// Bytes handed to the kernel.
    pub bytes_sent: u64,
    /// Frames that waited for it and were dropped when it closed.
    pub frames_dropped: u64,
    /// The most bytes that ever waited for it.
    pub queue_high_water_bytes: usize,
    /// Pings that the server sent.
    pub pings_sent: u64,
    /// Pings that were answered.
    pub pings_answered: u64,
    /// The last round trip of a ping.
    pub last_round_trip: Option<Duration>,
    /// The median of its last 15 round trips, to the microsecond.
    pub median_round_trip: Option<Duration>,
    /// The longest round trip of a ping.
    pub max_round_trip: Option<Duration>,
    /// How long before now, or before its end, the last byte came.
    pub last_heard: Duration,
}
