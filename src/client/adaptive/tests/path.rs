//! A path to the server, simulated: it forgets a connection after some silence, and time passes only on paper.

use super::*;

/// From a beat to its answer.
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(200);
/// How long the client waits for an answer before it gives the connection up.
const PATIENCE: Duration = Duration::from_secs(10);
/// From a loss to the next connection.
const RECONNECT: Duration = Duration::from_secs(1);

/// What a path does to a connection that is silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Nothing, until somebody sends: a NAT.
    Forgets,
    /// It ends it there and then: many proxies.
    Cuts,
}

/// One silence, and how it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// The interval in force.
    pub(super) interval: Duration,
    /// From the beginning of the run to the end of the silence.
    pub(super) end: Duration,
    pub(super) lost: bool,
}

/// A client that has nothing to say but its beats, and the path that it says them over.
pub(super) struct Path {
    pub(super) adaptive: Adaptive,
    pub(super) manner: Manner,
    /// A silence this long is too long.
    pub(super) tolerates: Duration,
    pub(super) history: Vec<Silence>,
    /// When the interval last changed.
    pub(super) changed: Duration,
    start: Instant,
    now: Instant,
    last_packet: Instant,
}

impl Path {
    pub(super) fn new(adaptive: Adaptive, tolerates: Duration) -> Self {
        let start = Instant::now();
        let mut path = Self {
            adaptive,
            manner: Manner::Forgets,
            tolerates,
            history: Vec::new(),
            changed: Duration::ZERO,
            start,
            now: start,
            last_packet: start,
        };
        path.connect();
        path
    }

    pub(super) fn connect(&mut self) {
        self.adaptive.connected(self.now);
        self.last_packet = self.now;
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.elapsed() + time;
        while self.elapsed() < end {
            self.silence();
        }
    }

    /// Runs until the interval is another one.
    pub(super) fn run_until_changed(&mut self) {
        let changed = self.changed;
        while self.changed == changed {
            self.silence();
            assert!(self.elapsed() < 1_000 * DAY, "the interval does not change any more");
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub(super) fn losses(&self) -> usize {
        self.history.iter().filter(|silence| silence.lost).count()
    }

    /// One silence and the beat that ends it, answered or not.
    fn silence(&mut self) {
        let interval = self.adaptive.interval();
        let beat = self.adaptive.next_beat().expect("a connection");
        assert!(beat > self.now, "a beat follows upon the answer to the last one");
        let forgotten = self.last_packet + self.tolerates;
        let lost = beat >= forgotten;
        if lost && self.manner == Manner::Cuts {
            self.now = forgotten;
            self.lose(interval, forgotten);
        } else {
            let promise = self.adaptive.beat(beat);
            self.now = beat + if lost { PATIENCE } else { ROUND_TRIP };
            if lost {
                self.lose(interval, beat);
            } else {
                self.adaptive.acknowledged(self.now);
                assert_eq!(promise, self.adaptive.interval(), "the server knows how long to wait");
                self.last_packet = self.now;
                self.history.push(Silence { interval, end: beat - self.start, lost: false });
            }
        }
        if self.adaptive.interval() != interval {
            self.changed = self.elapsed();
        }
    }

    fn lose(&mut self, interval: Duration, end: Instant) {
        self.adaptive.lost(self.now);
        self.history.push(Silence { interval, end: end - self.start, lost: true });
        self.now += RECONNECT;
        self.connect();
    }
}
