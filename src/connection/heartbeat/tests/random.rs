//! The clocks under random events, driven by the instants they name themselves, beside deadlines computed afresh.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Event {
    Heard(Sign),
    Pong { foreign: bool },
    Assembling(bool),
    Promise(Duration),
    Write,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Heard(Sign::Bytes)),
        Just(Event::Heard(Sign::Beat)),
        any::<bool>().prop_map(|foreign| Event::Pong { foreign }),
        any::<bool>().prop_map(Event::Assembling),
        (0_u64..200_000).prop_map(|ms| Event::Promise(Duration::from_millis(ms))),
        Just(Event::Write),
    ]
}

fn some_config() -> impl Strategy<Value = Config> {
    let threshold = || prop::option::of((500_u64..50_000).prop_map(Duration::from_millis));
    let pair = (1_u64..50_000, 1_u64..50_000);
    (pair, any::<bool>(), threshold(), threshold(), [threshold(), threshold(), threshold()]).prop_map(
        |((interval, more), any_byte, lifetime, assembly, [reader, writer, all])| {
            let mut config = Config::default();
            config.heartbeat.interval = Some(Duration::from_millis(interval));
            config.heartbeat.timeout = Some(Duration::from_millis(interval + more));
            config.heartbeat.negotiable = seconds(1)..=seconds(100);
            config.heartbeat.liveness = if any_byte { Liveness::Any } else { Liveness::Heartbeat };
            config.max_lifetime = lifetime.map(|lifetime| 4 * lifetime);
            config.assembly_deadline = assembly.unwrap_or(config.assembly_deadline);
            config.idle = IdleThresholds { reader, writer, all };
            assert_eq!(config.validate(), Ok(()));
            config
        },
    )
}

/// The clocks, driven by the instants they name, beside the deadlines that follow from what was received.
struct Drive {
    config: Config,
    heartbeat: Heartbeat,
    start: Instant,
    now: Instant,
    last_life: Instant,
    last_write: Instant,
    since: Option<Instant>,
    last_ping: [u8; 4],
}

impl Drive {
    fn deadline(&self) -> Instant {
        let liveness = self.last_life + self.heartbeat.times().timeout;
        let lifetime = self.config.max_lifetime.map(|lifetime| self.start + lifetime);
        let assembly = self.since.map(|since| since + self.config.assembly_deadline);
        [Some(liveness), lifetime, assembly].into_iter().flatten().min().unwrap()
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Heard(sign) => {
                self.heartbeat.heard(sign, self.now);
                if sign == Sign::Beat || self.config.heartbeat.liveness == Liveness::Any {
                    self.last_life = self.now;
                }
            }
            Event::Pong { foreign } => {
                let payload = if foreign { b"????" } else { &self.last_ping };
                self.heartbeat.pong(payload, self.now);
                self.last_life = self.now;
            }
            Event::Assembling(yes) => {
                self.since = yes.then_some(self.since.unwrap_or(self.now));
                self.heartbeat.assembling(self.since);
            }
            Event::Promise(promise) => {
                self.heartbeat.set_times(times_for(&self.config.heartbeat, Some(promise)));
                let HeartbeatTimes { interval, timeout } = self.heartbeat.times();
                assert!(interval < timeout && (seconds(1)..=seconds(100)).contains(&timeout));
            }
            Event::Write => self.last_write = self.now,
        }
    }

    /// Does what is due now. The next instant at which something is, or `None` at the end.
    fn settle(&mut self) -> Option<Instant> {
        // A ping and three idle events are all that one instant can bring.
        for _ in 0..=4 {
            match self.heartbeat.step(self.now, self.last_write) {
                Step::Wait(until) => {
                    assert!(self.now < until && until <= self.deadline(), "waits past a deadline");
                    return Some(until);
                }
                Step::Close(_) => {
                    assert!(self.now >= self.deadline(), "closed {:?} too early", self.deadline() - self.now);
                    return None;
                }
                Step::Ping(payload) => self.last_ping = payload,
                Step::Idle(_) => {}
            }
        }
        panic!("one instant brought more than one step of each kind");
    }
}

proptest! {
    #[test]
    fn the_clocks_never_spin_and_close_neither_early_nor_late(
        config in some_config(),
        events in prop::collection::vec((0_u64..20_000, event()), 0..60),
    ) {
        let start = Instant::now();
        let heartbeat = Heartbeat::new(&config, start, None, start);
        let (now, last_life, last_write) = (start, start, start);
        let mut drive =
            Drive { config, heartbeat, start, now, last_life, last_write, since: None, last_ping: [0; 4] };
        let mut next = drive.settle();
        for (after_ms, event) in events {
            let at = drive.now + Duration::from_millis(after_ms);
            while let Some(wake) = next.filter(|wake| *wake <= at) {
                drive.now = wake;
                next = drive.settle();
            }
            if next.is_none() {
                return Ok(());
            }
            drive.now = at;
            drive.happens(event);
            next = drive.settle();
        }
        while let Some(wake) = next {
            drive.now = wake;
            next = drive.settle();
        }
    }
}
