//! One run: a server, the threads of the load, and the figures of both, before and after.

use super::crowd::{Clock, Trouble};
use super::measured::{Measured, ServerCost};
use super::plan::{Plan, Workload};
use super::progress::{Progress, note};
use super::sample::Sample;
use super::server::Server;
use super::tally::Tally;
use super::thread::{News, Outcome, Shared, Worker};
use crate::cli::Failure;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How often it looks whether the user wants an end.
const LOOK: Duration = Duration::from_millis(100);
/// A thread of the load that ran for more of the time had none left.
const MOST_USED: f64 = 0.9;
/// A load that sent more of its messages late than that has fallen behind.
const MOST_LATE: f64 = 0.01;

/// Runs one workload until its end, or until `stop` says that the user wants one.
///
/// # Errors
/// A server that does not start, cannot be reached, speaks something else or closes everybody; a user who wants an end
/// before anything was measured.
pub(super) fn measure(plan: &Plan, stop: &AtomicBool) -> Result<Measured, Failure> {
    let server = Server::open(&plan.target)?;
    let clock = Clock::start();
    let base = Sample::at_end(&server, clock);
    let shares = plan.shares();
    let shared = Shared {
        endpoint: &server.endpoint,
        clock,
        stop,
        is_abandoned: AtomicBool::new(false),
        begin: AtomicU64::new(u64::MAX),
        end: AtomicU64::new(u64::MAX),
        opened: AtomicUsize::new(0),
        delivered: AtomicU64::new(0),
    };
    thread::scope(|scope| {
        let (sender, news) = sync_channel(shares.len());
        let mut starts = Vec::new();
        for (thread, numbers) in shares.iter().enumerate() {
            let (start, go) = sync_channel(1);
            starts.push(start);
            let script = plan.script(thread, numbers, shares.len());
            let cap = plan.cap(thread, shares.len());
            let worker = Worker { shared: &shared, numbers: numbers.clone(), script, cap, news: sender.clone(), go };
            let spawned = thread::Builder::new().name(format!("load {thread}")).spawn_scoped(scope, || worker.run());
            spawned.map_err(|error| Failure::Run(format!("a thread: {error}")))?;
        }
        drop(sender);
        let progress = Progress::new(plan.workload.name());
        Run { plan, server: &server, shared: &shared, news, starts, progress, base }.measure()
    })
}

/// A run whose threads are started.
struct Run<'a> {
    plan: &'a Plan,
    server: &'a Server,
    shared: &'a Shared<'a>,
    news: Receiver<News>,
    /// Where each thread waits for the others.
    starts: Vec<SyncSender<()>>,
    progress: Progress,
    /// Before there was a connection.
    base: Sample,
}

impl Run<'_> {
    fn measure(self) -> Result<Measured, Failure> {
        let connections = self.ready()?;
        let clock = self.shared.clock;
        let mut outcomes = Vec::new();
        // Without a warm-up the first message is measured, too.
        let warms_up = !self.plan.warm_up.is_zero();
        if warms_up {
            self.start();
            self.wait(clock.now() + nanos(self.plan.warm_up), &mut outcomes)?;
        }
        let before = Sample::at_begin(self.server, clock);
        let begin = before.at();
        self.shared.begin.store(begin, Ordering::Relaxed);
        self.shared.end.fetch_min(begin + nanos(self.plan.duration), Ordering::Relaxed);
        if !warms_up {
            self.start();
        }
        self.wait(begin + nanos(self.plan.duration), &mut outcomes)?;
        let after = Sample::at_end(self.server, clock);
        let is_early = after.at() < self.shared.measured().end;
        self.wait(u64::MAX, &mut outcomes)?;
        let (mut tally, mut trouble) = (Tally::new(self.shared.measured(), u64::MAX), Trouble::default());
        let senders = outcomes.iter().map(|outcome| outcome.senders).sum();
        let most_used = outcomes.iter().map(|outcome| outcome.used).max().unwrap_or_default();
        for outcome in outcomes {
            tally.add(&outcome.tally);
            trouble.add(outcome.trouble);
        }
        // A load that was over before its time has lasted until its last message came.
        let end = if is_early { tally.last_arrival } else { tally.measured.end };
        self.tell(&trouble, connections, &tally)?;
        if end <= begin {
            return Err(Failure::Run("it was over before anything was measured".into()));
        }
        let seconds = end.saturating_sub(begin) as f64 / 1e9;
        Ok(Measured {
            workload: self.plan.workload.name(),
            server: self.server.name.clone(),
            connections,
            senders,
            window: self.plan.workload.window(),
            offered_per_second: self.plan.workload.per_second(connections),
            payload_bytes: self.plan.payload_bytes,
            stack_bytes: None,
            seconds,
            sent: tally.sent,
            delivered: tally.delivered,
            lost: tally.outstanding(),
            latency_us: tally.latency(),
            server_cost: self.server_cost([&before, &after], connections, tally.delivered),
            client: Sample::client_cost([&before, &after], is_bottleneck(&tally, most_used, seconds)),
            interrupted: self.shared.stop.load(Ordering::Relaxed),
        })
    }

    /// Until all connections are in, or as many as the server lets in; how many these are.
    fn ready(&self) -> Result<usize, Failure> {
        let (mut connections, mut reason, mut unready) = (0, None, self.starts.len());
        while unready > 0 {
            match self.news.recv_timeout(LOOK) {
                Ok(News::Ready { connections: of_thread, missing }) => {
                    connections += of_thread;
                    reason = reason.or(missing);
                    unready -= 1;
                }
                Ok(News::Over(Err(failure))) => return Err(self.abandon(failure)),
                Ok(News::Over(Ok(_))) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(no_load()),
            }
            let opened = self.shared.opened.load(Ordering::Relaxed);
            self.progress.say(format_args!("{opened} of {} connections", self.plan.connections));
        }
        if let Some(reason) = reason {
            let asked = self.plan.connections;
            note(format_args!("the server let in {connections} of {asked} connections, and then no more: {reason}"));
        }
        Ok(connections)
    }

    fn start(&self) {
        // Whoever does not take it has failed, and says so.
        self.starts.iter().for_each(|start| _ = start.send(()));
    }

    /// Until a moment, the end of all threads, or of the user's patience.
    fn wait(&self, until: u64, outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
        while outcomes.len() < self.starts.len() {
            let now = self.shared.clock.now();
            if self.shared.stop.load(Ordering::Relaxed) {
                self.shared.end.fetch_min(now, Ordering::Relaxed);
            }
            if until != u64::MAX && now >= until.min(self.shared.end.load(Ordering::Relaxed)) {
                break;
            }
            match self.news.recv_timeout(LOOK.min(Duration::from_nanos(until - now))) {
                Ok(News::Over(Ok(outcome))) => outcomes.push(*outcome),
                Ok(News::Over(Err(failure))) => return Err(self.abandon(failure)),
                Ok(News::Ready { .. }) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(no_load()),
            }
            self.progress.say(format_args!("{} delivered", self.shared.delivered.load(Ordering::Relaxed)));
        }
        Ok(())
    }

    /// Has the other threads end too.
    fn abandon(&self, failure: Failure) -> Failure {
        self.shared.is_abandoned.store(true, Ordering::Relaxed);
        self.shared.end.store(0, Ordering::Relaxed);
        failure
    }

    fn server_cost(&self, samples: [&Sample; 2], connections: usize, delivered: u64) -> Option<ServerCost> {
        let cost = Sample::server_cost([&self.base, samples[0], samples[1]], connections, delivered)?;
        // Threads that have ended take their numbers with them.
        let is_known = !matches!(self.plan.workload, Workload::Churn);
        Some(ServerCost {
            voluntary_switches_per_delivery: cost.voluntary_switches_per_delivery.filter(|_| is_known),
            involuntary_switches_per_delivery: cost.involuntary_switches_per_delivery.filter(|_| is_known),
            ..cost
        })
    }

    /// Says what the figures do not.
    fn tell(&self, trouble: &Trouble, connections: usize, tally: &Tally) -> Result<(), Failure> {
        let first = |first: &Option<String>| first.clone().unwrap_or_default();
        let is_churn = matches!(self.plan.workload, Workload::Churn);
        match trouble.ended {
            0 => {}
            failed if is_churn && tally.delivered > 0 => {
                note(format_args!("{failed} connections failed, the first: {}", first(&trouble.first_end)));
            }
            some if some < connections as u64 && !is_churn => {
                note(format_args!("the server closed {some} connections, the first: {}", first(&trouble.first_end)));
            }
            _ => {
                let reason = first(&trouble.first_end);
                return Err(Failure::Run(format!(
                    "{}: all connections ended, the first: {reason}",
                    self.server.endpoint
                )));
            }
        }
        if trouble.errors > 0 {
            note(format_args!("the server sent {} errors, the first: {}", trouble.errors, first(&trouble.first_error)));
        }
        Ok(())
    }
}

fn is_bottleneck(tally: &Tally, most_used: Duration, seconds: f64) -> bool {
    most_used.as_secs_f64() > MOST_USED * seconds || tally.late as f64 > MOST_LATE * tally.sent as f64
}

fn no_load() -> Failure {
    Failure::Run("the threads of the load have ended".into())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
