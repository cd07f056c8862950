//! The life of a thread of the load: it opens its connections, sends and reads for as long as it is told to, and waits
//! for what is still on its way.

use super::crowd::{Clock, Crowd, Script, Trouble};
use super::link::Link;
use super::opening::Opening;
use super::tally::Tally;
use super::url::Endpoint;
use crate::cli::Failure;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

/// How often it looks whether it is told to end.
const LOOK: u64 = 50_000_000;
/// How long it waits for what is on its way in the end.
const GRACE: u64 = 3_000_000_000;
/// The same once somebody is waiting for the end.
const SHORT_GRACE: u64 = 500_000_000;
/// How long the server may take to bring all connections into their rooms.
const PREPARATION: u64 = 30_000_000_000;

/// What the threads of a load share with the one that waits for them.
pub(super) struct Shared<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) clock: Clock,
    /// The user wants an end.
    pub(super) stop: &'a AtomicBool,
    /// Another thread has failed.
    pub(super) is_abandoned: AtomicBool,
    /// When begins what is measured, and when the load ends; as late as can be until that is known.
    pub(super) begin: AtomicU64,
    pub(super) end: AtomicU64,
    /// Connections that are in.
    pub(super) opened: AtomicUsize,
    /// Deliveries so far.
    pub(super) delivered: AtomicU64,
}

impl Shared<'_> {
    /// Which time is measured, as far as that is known.
    pub(super) fn measured(&self) -> Range<u64> {
        self.begin.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed)
    }
}

/// What a thread tells while it lives.
pub(super) enum News {
    /// Its connections are in, so many of them, and why others are not.
    Ready { connections: usize, missing: Option<String> },
    /// It has ended.
    Over(Result<Box<Outcome>, Failure>),
}

/// What a thread has done.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) trouble: Trouble,
    /// Connections that sent.
    pub(super) senders: usize,
    /// The processor's time that it used while it was measured.
    pub(super) used: Duration,
    /// Its connections, which stay open until the server has been looked at.
    pub(super) _links: Vec<Option<Link>>,
}

/// One thread: which connections are its own, and what they do.
pub(super) struct Worker<'a> {
    pub(super) shared: &'a Shared<'a>,
    pub(super) numbers: Vec<usize>,
    pub(super) script: Box<dyn Script + Send>,
    /// Messages that it may send in the measured time.
    pub(super) cap: u64,
    pub(super) news: SyncSender<News>,
    /// Comes when all threads are ready.
    pub(super) go: Receiver<()>,
}

impl Worker<'_> {
    /// Until its end, which it tells.
    pub(super) fn run(mut self) {
        be_punctual();
        let outcome = self.live().map(Box::new);
        // Nobody listens any more where another thread has failed.
        let _ = self.news.send(News::Over(outcome));
    }

    fn live(&mut self) -> Result<Outcome, Failure> {
        let shared = self.shared;
        let tally = Tally::new(0..0, self.cap);
        let mut crowd =
            Crowd::new(shared.endpoint, self.numbers.len(), shared.clock, tally).map_err(|error| broken(&error))?;
        let missing = self.open(&mut crowd)?;
        let ready = News::Ready { connections: crowd.count(), missing };
        self.prepare(&mut crowd)?;
        let mut used = Duration::ZERO;
        if self.news.send(ready).is_ok() && self.go.recv().is_ok() {
            used = self.load(&mut crowd)?;
        }
        let senders = self.script.senders();
        let Crowd { trouble, tally, links, .. } = crowd;
        Ok(Outcome { used, trouble, tally, senders, _links: links })
    }

    /// Opens all connections; returns why some are not in.
    fn open(&self, crowd: &mut Crowd<'_>) -> Result<Option<String>, Failure> {
        let mut opening = Opening::new(&self.numbers, crowd.clock.now(), &self.shared.opened);
        loop {
            let now = self.look(crowd)?;
            if opening.is_over(now) {
                break;
            }
            let until = opening.wake(now, crowd).unwrap_or(u64::MAX).min(now + LOOK);
            crowd.turn(until, &mut opening).map_err(|error| broken(&error))?;
        }
        // One that comes in later would be nobody's.
        let late: Vec<_> = (0..crowd.size()).filter(|index| crowd.account(*index).is_none()).collect();
        late.into_iter().for_each(|index| crowd.drop(index));
        match crowd.count() {
            0 => Err(Failure::Run(format!("{}: {}", self.shared.endpoint, opening.failure()))),
            all if all == self.numbers.len() => Ok(None),
            _ => Ok(Some(opening.failure())),
        }
    }

    fn prepare(&mut self, crowd: &mut Crowd<'_>) -> Result<(), Failure> {
        let patience = crowd.clock.now() + PREPARATION;
        self.script.prepare(crowd);
        while !self.script.is_prepared() {
            let now = self.look(crowd)?;
            if let Some(error) = crowd.trouble.first_error.take() {
                return Err(Failure::Run(format!("{}: {error}", self.shared.endpoint)));
            }
            if now > patience {
                return Err(Failure::Run(format!("{}: not every `join` was answered", self.shared.endpoint)));
            }
            crowd.turn(now + LOOK, &mut *self.script).map_err(|error| broken(&error))?;
        }
        Ok(())
    }

    /// The time, unless somebody wants an end.
    fn look(&self, crowd: &Crowd<'_>) -> Result<u64, Failure> {
        match self.shared.stop.load(Ordering::Relaxed) || self.shared.is_abandoned.load(Ordering::Relaxed) {
            true => Err(Failure::Run("interrupted before anything was measured".into())),
            false => Ok(crowd.clock.now()),
        }
    }

    /// Sends and reads, until the time is over or the cap reached and everything has arrived, or has had its time to.
    /// Returns the processor's time that the measured part took.
    fn load(&mut self, crowd: &mut Crowd<'_>) -> Result<Duration, Failure> {
        let script = &mut *self.script;
        crowd.tally.measured = self.shared.measured();
        script.begin(crowd);
        let (mut told, mut sent_all) = (0, None);
        let (mut from, mut to) = (None, None);
        loop {
            let now = crowd.clock.now();
            crowd.tally.measured = self.shared.measured();
            let end = crowd.tally.measured.end;
            if now >= crowd.tally.measured.start {
                from.get_or_insert_with(processor_time);
            }
            if now >= end || crowd.tally.is_capped() {
                sent_all.get_or_insert(now);
                to.get_or_insert_with(processor_time);
            }
            let grace = if self.shared.stop.load(Ordering::Relaxed) { SHORT_GRACE } else { GRACE };
            let last = sent_all.map(|since| since + grace);
            if last.is_some_and(|last| now > last || !script.is_waiting(crowd)) || script.is_deserted(crowd) {
                give_up(script, now, crowd);
                return Ok(to.zip(from).map_or(Duration::ZERO, |(to, from)| to.saturating_sub(from)));
            }
            let due = script.wake(now, crowd).unwrap_or(u64::MAX);
            crowd.turn(due.min(last.unwrap_or(end)).min(now + LOOK), script).map_err(|error| broken(&error))?;
            self.shared.delivered.fetch_add(crowd.tally.delivered - told, Ordering::Relaxed);
            told = crowd.tally.delivered;
        }
    }
}

/// What was due and could not be sent is lost, too.
fn give_up(script: &dyn Script, now: u64, crowd: &mut Crowd<'_>) {
    let Some(mut schedule) = script.schedule().cloned() else { return };
    while schedule.next() <= now && crowd.tally.may_send(schedule.next()) {
        crowd.tally.sent(schedule.take(), 1);
    }
}

/// By default a wait of a thread may last 50 µs longer than it was asked to, to save power.
fn be_punctual() {
    #[cfg(target_os = "linux")]
    // Where it is refused, messages of a schedule are sent a little late.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// What this thread has used so far.
fn processor_time() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(tv_sec.unsigned_abs(), u32::try_from(tv_nsec).unwrap_or(0))
}

fn broken(error: &io::Error) -> Failure {
    Failure::Run(format!("the load: {error}"))
}
