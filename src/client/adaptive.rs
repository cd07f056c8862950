//! The adaptive heartbeat: finds the longest silence that the path to the server tolerates. Pure: `now` is an argument.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::mem;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// No interval is outside this, whatever the options say: a promise of 0 is an error, and instants must not overflow.
const POSSIBLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// How [`Adaptive`] searches. The defaults suit a phone and a server with the default range of timeouts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdaptiveOptions {
    /// The interval to start with, the shortest there is, and the one in the foreground. At least 1 s. Default 30 s.
    ///
    /// On a path that forgets sooner than this every silence ends in a loss.
    pub floor: Duration,
    /// The longest interval. At least `floor`, at most a day. Default 10 min.
    ///
    /// The server's timeout is 1.5 times what is promised, but no longer than its range permits, by default 15 min.
    /// With a ceiling above two thirds of that, its ping comes before the beat and keeps the path open by itself: then
    /// nothing is measured any more.
    pub ceiling: Duration,
    /// What is added at a time. Zero keeps the interval at the floor. Default 60 s.
    ///
    /// Longer steps arrive sooner and end farther below what the path tolerates.
    pub step: Duration,
    /// How far below a tolerated interval to settle after a loss. Must exceed the time that an answer takes, since a
    /// silence may be so much shorter than the interval and still count as one of full length. Default 20 s.
    pub margin: Duration,
    /// How many beats in a row must be answered before the interval grows. Default 3.
    pub beats: u32,
    /// How long a settled interval must hold before a longer one is tried again: the sum of the silences of full
    /// length. Default 24 h.
    pub probe_after: Duration,
    /// How many networks are remembered, the present one included; the one unused for longest is forgotten. At least 1.
    /// Default 20.
    pub networks: usize,
}

impl Default for AdaptiveOptions {
    fn default() -> Self {
        Self {
            floor: Duration::from_secs(30),
            ceiling: Duration::from_secs(10 * 60),
            step: Duration::from_secs(60),
            margin: Duration::from_secs(20),
            beats: 3,
            probe_after: Duration::from_secs(24 * 60 * 60),
            networks: 20,
        }
    }
}

/// What is known of one network: plain data, which a program may store between runs. See [`Adaptive::networks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdaptiveNetwork {
    /// As the program calls it. The empty name stands for whatever network there is.
    pub name: String,
    /// The interval in the background.
    pub interval: Duration,
    /// Where a search that fails falls back to at worst: the floor, or the settled interval from which it set out.
    pub fallback: Duration,
    /// How many more beats must be answered before the interval grows.
    pub answers_needed: u32,
    /// Whether a loss that the interval can have caused came after the last answered beat of full length.
    pub lost: bool,
}

/// The adaptive ("smart") heartbeat of a client: how long it may stay silent before its next beat.
///
/// NATs, firewalls and proxies forget a connection that is silent for longer than they like, and do not say how long
/// that is. This starts at [`floor`](AdaptiveOptions::floor) and lengthens the interval while beats are answered; after
/// a loss it steps back, settles, and tries again much later. What it learns belongs to a network by name. The rules,
/// and what they lead to, are in `docs/adaptive-heartbeats.md`.
///
/// It does no I/O, reads no clock and knows no threads: whoever drives the connection says what happens, and when.
///
/// ```
/// use heartwire::client::{Adaptive, AdaptiveOptions};
/// use std::time::{Duration, Instant};
///
/// let mut adaptive = Adaptive::new(AdaptiveOptions::default());
/// adaptive.use_network("home");
///
/// let mut now = Instant::now();
/// adaptive.connected(now); // having promised heartbeat_ms = adaptive.interval()
/// for _ in 0..3 {
///     now = adaptive.next_beat().expect("there is a connection");
///     let next_ms = adaptive.beat(now).as_millis(); // {"type":"heartbeat","next_ms":…}
///     adaptive.acknowledged(now); // the server's answer
/// }
/// assert_eq!(adaptive.interval(), Duration::from_secs(90));
/// ```
#[derive(Clone, Debug)]
pub struct Adaptive {
    options: AdaptiveOptions,
    network: AdaptiveNetwork,
    /// The other networks, the one unused for longest first.
    others: VecDeque<AdaptiveNetwork>,
    foreground: bool,
    connection: Option<Connection>,
}

impl Adaptive {
    /// Nothing is known yet. Options beyond their bounds are moved to the nearest bound.
    #[must_use]
    pub fn new(options: AdaptiveOptions) -> Self {
        Self::restore(options, [])
    }

    /// With what [`networks`](Self::networks) returned earlier; the last of them is the present one. Intervals outside
    /// the options' range are moved into it.
    #[must_use]
    pub fn restore(mut options: AdaptiveOptions, networks: impl IntoIterator<Item = AdaptiveNetwork>) -> Self {
        options.floor = options.floor.clamp(*POSSIBLE.start(), *POSSIBLE.end());
        options.ceiling = options.ceiling.clamp(options.floor, *POSSIBLE.end());
        let mut others: VecDeque<_> = networks.into_iter().map(|network| network.within(&options)).collect();
        let network = others.pop_back().unwrap_or_else(|| AdaptiveNetwork::new(String::new(), &options));
        let mut adaptive = Self { options, network, others, foreground: false, connection: None };
        adaptive.forget_the_oldest();
        adaptive
    }

    /// All that is known, the present network last. [`restore`](Self::restore) takes it back.
    ///
    /// ```
    /// # use heartwire::client::{Adaptive, AdaptiveNetwork, AdaptiveOptions};
    /// # fn main() -> serde_json::Result<()> {
    /// # let adaptive = Adaptive::new(AdaptiveOptions::default());
    /// let saved = serde_json::to_string(&adaptive.networks().collect::<Vec<_>>())?;
    ///
    /// let networks: Vec<AdaptiveNetwork> = serde_json::from_str(&saved)?;
    /// let adaptive = Adaptive::restore(AdaptiveOptions::default(), networks);
    /// # Ok(())
    /// # }
    /// ```
    pub fn networks(&self) -> impl Iterator<Item = &AdaptiveNetwork> {
        self.others.iter().chain([&self.network])
    }

    /// The path to the server leads through this network from now on. If that is another one than before, the
    /// connection is forgotten like by [`closed`](Self::closed), because it belongs to the old path: end it, and
    /// connect anew.
    ///
    /// Any name will do that tells paths apart: "cellular", or a Wi-Fi's SSID. Without a call there is one network with
    /// an empty name.
    pub fn use_network(&mut self, name: &str) {
        if name == self.network.name {
            return;
        }
        self.connection = None;
        let known = self.others.iter().position(|network| network.name == name).and_then(|at| self.others.remove(at));
        let network = known.unwrap_or_else(|| AdaptiveNetwork::new(name.to_owned(), &self.options));
        self.others.push_back(mem::replace(&mut self.network, network));
        self.forget_the_oldest();
    }

    /// Whether somebody looks at the program, and would rather know at once when the connection is dead: then the
    /// interval is the floor, and nothing is learnt. If the last beat was longer ago than that, the next is due at
    /// once.
    pub fn foreground(&mut self, foreground: bool) {
        self.foreground = foreground;
    }

    /// The interval that holds now, always from the floor to the ceiling: what to promise with `heartbeat_ms` when
    /// connecting.
    #[must_use]
    pub fn interval(&self) -> Duration {
        if self.foreground { self.options.floor } else { self.network.interval }
    }

    /// A connection was opened, and [`interval`](Self::interval) was promised with it. It replaces the one before.
    pub fn connected(&mut self, now: Instant) {
        let promise = self.interval();
        self.connection =
            Some(Connection { last_beat: now, promise, last_traffic: now, silence: Duration::ZERO, if_answered: None });
    }

    /// When the next beat is due; `None` without a connection. It depends on the beats alone, so that the promise is
    /// kept whatever else is sent, and it changes with every call that takes `&mut self`.
    #[must_use]
    pub fn next_beat(&self) -> Option<Instant> {
        let Connection { last_beat, promise, .. } = self.connection.as_ref()?;
        Some(*last_beat + self.interval().min(*promise))
    }

    /// A beat is sent; returns what to promise with it as `next_ms`. Where its answer would lengthen the interval, that
    /// is promised already, so that the server knows in time.
    ///
    /// If the answer stays away for too long, call [`lost`](Self::lost). How long is the caller's choice; it should be
    /// less than the floor, or the wait itself looks like a silence.
    pub fn beat(&mut self, now: Instant) -> Duration {
        let mut promise = self.interval();
        if let Some(connection) = &mut self.connection {
            connection.sent(now);
            let is_of_full_length = connection.silence.saturating_add(self.options.margin) >= self.network.interval;
            let counts = is_of_full_length && !self.foreground;
            connection.if_answered = counts.then(|| self.network.clone().tolerant(&self.options));
            promise = connection.if_answered.as_ref().map_or(promise, |network| network.interval);
            (connection.last_beat, connection.promise) = (now, promise);
        }
        promise
    }

    /// The answer to the last beat was received.
    pub fn acknowledged(&mut self, now: Instant) {
        self.received(now);
        if let Some(network) = self.connection.as_mut().and_then(|connection| connection.if_answered.take()) {
            self.network = network;
        }
    }

    /// Something other than a beat was sent.
    pub fn sent(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.sent(now);
        }
    }

    /// Something other than the answer to a beat was received: the path works, and the silence begins anew.
    pub fn received(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            (connection.last_traffic, connection.silence) = (now, Duration::ZERO);
        }
    }

    /// The connection was lost without a word: reset, ended without a Close frame, or a beat was not answered.
    ///
    /// Whether the interval can be to blame follows from the silence before: it must have lasted longer than what was
    /// tolerated one step before, and not so much longer than the interval that the beat was simply late. A second loss
    /// in a row counts where the silence was longer than the floor. After that, call [`connected`](Self::connected)
    /// once there is a new connection; an attempt that fails is no loss.
    pub fn lost(&mut self, now: Instant) {
        let Some(connection) = self.connection.take() else { return };
        let silence = connection.silence_until(now);
        let AdaptiveOptions { floor, step, beats, .. } = self.options;
        let interval = self.network.interval;
        if interval == floor {
            // There is nowhere to step back to, but the beats in a row are over.
            self.network.answers_needed = beats;
            return;
        }
        if self.foreground || silence <= floor || silence > interval.saturating_add(step) {
            return;
        }
        let again = mem::replace(&mut self.network.lost, true);
        if again {
            self.network = AdaptiveNetwork::new(mem::take(&mut self.network.name), &self.options);
        } else if silence > interval.saturating_sub(step) {
            self.network.step_back(&self.options);
        }
    }

    /// The connection ended for a reason that is known, and says nothing about the path: either side sent a Close
    /// frame, the program ended it, the machine slept.
    pub fn closed(&mut self) {
        self.connection = None;
    }

    fn forget_the_oldest(&mut self) {
        let surplus = (self.others.len() + 1).saturating_sub(self.options.networks);
        self.others.drain(..surplus.min(self.others.len()));
    }
}

impl AdaptiveNetwork {
    fn new(name: String, options: &AdaptiveOptions) -> Self {
        let AdaptiveOptions { floor, beats, .. } = *options;
        Self { name, interval: floor, fallback: floor, answers_needed: beats, lost: false }
    }

    fn within(mut self, options: &AdaptiveOptions) -> Self {
        self.interval = self.interval.clamp(options.floor, options.ceiling);
        self.fallback = self.fallback.clamp(options.floor, self.interval);
        self
    }

    /// What is known once a beat after a silence of full length is answered.
    fn tolerant(mut self, options: &AdaptiveOptions) -> Self {
        self.lost = false;
        self.answers_needed = self.answers_needed.saturating_sub(1);
        if self.answers_needed == 0 {
            self.interval = self.interval.saturating_add(options.step).min(options.ceiling);
            self.answers_needed = options.beats;
        }
        self
    }

    /// Settles. One step back was tolerated, and the margin keeps clear of the edge; but a search that fails at its
    /// first step ends where it began, or every probe would make the interval shorter.
    fn step_back(&mut self, options: &AdaptiveOptions) {
        let lowest = if self.interval > self.fallback { self.fallback } else { options.floor };
        let back = self.interval.saturating_sub(options.step.saturating_add(options.margin));
        self.interval = back.max(lowest);
        self.fallback = self.interval;
        let answers = options.probe_after.div_duration_f64(self.interval).ceil() as u32;
        self.answers_needed = answers.max(options.beats);
    }
}

/// The clocks of one connection.
#[derive(Clone, Debug)]
struct Connection {
    last_beat: Instant,
    /// What was promised with the last beat.
    promise: Duration,
    /// When anything was last sent or received.
    last_traffic: Instant,
    /// The longest silence before anything was sent, since the path was last heard to work.
    silence: Duration,
    /// What is known of the network once the last beat is answered, if the silence before it was of full length.
    if_answered: Option<AdaptiveNetwork>,
}

impl Connection {
    fn sent(&mut self, now: Instant) {
        (self.silence, self.last_traffic) = (self.silence_until(now), now);
    }

    fn silence_until(&self, now: Instant) -> Duration {
        self.silence.max(now.saturating_duration_since(self.last_traffic))
    }
}

#[cfg(test)]
mod tests;
