//! Threads that are named, counted, joined as they end, and cannot take the process with them.

#[cfg(any(heartwire_model, heartwire_fuzzing))]
pub(crate) mod bell;
pub(crate) mod channel;
#[cfg(test)]
#[cfg(heartwire_model)]
pub(crate) mod model;
pub(crate) mod parker;
mod pool;
mod reply;
pub(crate) mod sync;

pub(crate) use pool::{MAX_IDLE, Pool};
pub(crate) use reply::{Reply, reply};

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use sync::thread::{self, Builder, JoinHandle};
use sync::{Condvar, Mutex, MutexGuard};

/// Locks a mutex whose holder may have panicked: every holder here leaves the data whole between two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All threads of one server.
///
/// A finished thread that nobody joined keeps its memory maps, so each thread, as it ends, joins some that have ended before
/// it: few are ever left over, and no thread is needed that only joins others. It joins those that are through, and waits
/// for no other: one that waits for the next that waits for the next would end more slowly than others begin.
pub(crate) struct Crew {
    roster: Mutex<Roster>,
    changed: Condvar,
    most: usize,
}

#[derive(Default)]
struct Roster {
    next: u64,
    running: HashMap<u64, JoinHandle<()>>,
    /// Not joined yet, and about to be gone: they wait for nobody any more.
    ended: VecDeque<JoinHandle<()>>,
}

/// How many threads each joins that ends: one more than itself, so that there are ever fewer to join.
const JOINS: usize = 2;

impl Default for Crew {
    fn default() -> Self {
        Self::of_at_most(usize::MAX)
    }
}

impl Crew {
    /// One that starts no thread while so many run, or have ended and are not gone yet.
    pub(crate) fn of_at_most(most: usize) -> Self {
        Self { roster: Mutex::default(), changed: Condvar::new(), most }
    }

    /// Starts a thread. A panic in `body` ends that thread only and is logged by it.
    ///
    /// # Errors
    /// The system's, when it grants no further thread, or that there are as many as there may be; `body` was dropped then.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &str,
        stack_bytes: usize,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        // Held across the spawn, so that the new thread finds itself on the roster even if it ends at once.
        let mut roster = lock(&self.roster);
        while roster.running.len() + roster.ended.len() >= self.most {
            let Some(through) = roster.ended.pop_front() else {
                // Beyond what a process bears it is not told so, but aborted.
                return Err(io::Error::other("as many threads as this machine bears run, or are about to end"));
            };
            drop(roster);
            join(through);
            roster = lock(&self.roster);
        }
        let id = roster.next;
        let crew = Arc::clone(self);
        let thread = Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(move || {
            // Also where the program's log panics over the panic.
            let _place = Place { crew, id };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                let thread = thread::current();
                log::error!("thread {} panicked: {}", thread.name().unwrap_or("?"), panic_text(&*panic));
            }
        })?;
        roster.next += 1;
        roster.running.insert(id, thread);
        Ok(())
    }

    /// Waits until no thread runs, and joins those that ended; says how many still run.
    pub(crate) fn wait_until(&self, deadline: Instant) -> usize {
        let mut roster = lock(&self.roster);
        while !roster.running.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            roster = self.changed.wait_timeout(roster, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let (running, ended) = (roster.running.len(), std::mem::take(&mut roster.ended));
        drop(roster);
        ended.into_iter().for_each(join);
        running
    }

    fn leave(&self, id: u64) {
        let mut roster = lock(&self.roster);
        let count = roster.ended.len().min(JOINS);
        let through: Vec<_> = roster.ended.drain(..count).collect();
        drop(roster);
        through.into_iter().for_each(join);
        let mut roster = lock(&self.roster);
        let own = roster.running.remove(&id);
        roster.ended.extend(own);
        // Nobody waits for fewer threads than none.
        let is_last = roster.running.is_empty();
        drop(roster);
        if is_last {
            self.changed.notify_all();
        }
    }
}

/// A thread's place on the roster. Its drop gives it back, and is the last thing that the thread does.
struct Place {
    crew: Arc<Crew>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crew.leave(self.id);
    }
}

fn join(thread: JoinHandle<()>) {
    // The body's panic was caught and logged; at most the program's log has panicked after it.
    let _ = thread.join();
}

/// This thread, and those that it starts, no longer take the processor from the thread that wakes them (Linux `sched(7)`,
/// `SCHED_BATCH`). Elsewhere nothing changes.
///
/// # Errors
/// The system does not allow it.
#[cfg(feature = "scheduling")]
pub(crate) fn schedule_as_batch() -> Result<(), String> {
    #[cfg(target_os = "linux")]
    {
        use preempt_rt::sched::{Pid, Scheduler, SchedulerParams, set_scheduler};
        let parameters = SchedulerParams { priority: 0 };
        set_scheduler(Pid::current_thread(), Scheduler::SCHED_BATCH, parameters).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The message of a panic, where it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// How a server came to its end, and the place where others wait for it.
#[derive(Default)]
pub(crate) struct Fate {
    outcome: Mutex<Option<Result<(), String>>>,
    decided: Condvar,
}

impl Fate {
    /// Decides it, unless that was done before: the first outcome wins.
    pub(crate) fn decide(&self, outcome: Result<(), String>) {
        lock(&self.outcome).get_or_insert(outcome);
        self.decided.notify_all();
    }

    /// Runs one of the threads without which there is no server: its panic fails the server.
    pub(crate) fn guard(&self, role: &str, body: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
            let what = format!("{role} panicked: {}", panic_text(&*panic));
            self.decide(Err(what.clone()));
            // Last, as the program's log may be what panics.
            log::error!("the server fails: {what}");
        }
    }

    /// Blocks until it is decided.
    pub(crate) fn wait(&self) -> Result<(), String> {
        let mut outcome = lock(&self.outcome);
        loop {
            match &*outcome {
                Some(outcome) => return outcome.clone(),
                None => outcome = self.decided.wait(outcome).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Wakes a thread that sleeps in `poll`, from any thread and at any time.
pub(crate) struct Wake {
    reader: UnixStream,
    writer: UnixStream,
}

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self { reader, writer })
    }

    /// Makes [`Wake::as_fd`] readable until the next [`Wake::clear`].
    pub(crate) fn notify(&self) {
        // A full pipe is a wake-up that is already on its way.
        let _ = (&self.writer).write(&[1]);
    }

    /// Forgets all notifications so far.
    #[cfg_attr(heartwire_fuzzing, allow(dead_code, reason = "who sleeps for many sockets does so in memory"))]
    pub(crate) fn clear(&self) {
        let mut sink = [0; 64];
        while matches!((&self.reader).read(&mut sink), Ok(n) if n > 0) {}
    }

    /// What to poll for reading.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// How long to wait in `poll` until `deadline`: rounded up to a millisecond, so that nobody wakes just before it.
pub(crate) fn poll_timeout(deadline: Option<Instant>, now: Instant) -> Option<rustix::event::Timespec> {
    deadline.map(|deadline| {
        let wait = deadline.saturating_duration_since(now) + Duration::from_millis(1);
        rustix::event::Timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn threads_are_joined_as_they_end_and_a_panic_stays_in_its_thread() {
        let crew = Arc::new(Crew::default());
        for n in 0..50 {
            crew.spawn("test-thread", 128 << 10, move || assert!(n % 2 == 0, "odd ones panic")).unwrap();
        }
        assert_eq!(crew.wait_until(Instant::now() + SOON), 0);
        assert!(lock(&crew.roster).ended.is_empty());
    }

    /// Holds up its thread after the thread's work is done.
    struct Late(crossbeam_channel::Receiver<()>);

    impl Drop for Late {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    thread_local! {
        static LATE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
    }

    #[test]
    fn a_thread_that_is_long_in_ending_keeps_no_more_than_one_other() {
        let crew = Arc::new(Crew::default());
        let (release, held) = crossbeam_channel::bounded::<()>(0);
        crew.spawn("test-thread", 128 << 10, move || LATE.set(Some(Late(held)))).unwrap();
        let deadline = Instant::now() + SOON;
        for _ in 0..20 {
            crew.spawn("test-thread", 128 << 10, || ()).unwrap();
        }
        let kept = || lock(&crew.roster).running.len();
        while kept() > 1 {
            assert!(Instant::now() < deadline, "{} threads are kept", kept());
            thread::yield_now();
        }
        drop(release);
        assert_eq!(crew.wait_until(Instant::now() + SOON), 0);
    }

    #[test]
    fn as_many_threads_as_there_may_be_are_those_that_are_not_gone_yet() {
        let crew = Arc::new(Crew::of_at_most(2));
        let (release, held) = crossbeam_channel::bounded::<()>(0);
        for _ in 0..2 {
            let held = held.clone();
            crew.spawn("test-thread", 128 << 10, move || _ = held.recv()).unwrap();
        }
        assert!(crew.spawn("test-thread", 128 << 10, || ()).unwrap_err().to_string().contains("as many threads"));
        drop(release);
        let deadline = Instant::now() + SOON;
        while crew.spawn("test-thread", 128 << 10, || ()).is_err() {
            assert!(Instant::now() < deadline, "who has ended makes no room");
            thread::yield_now();
        }
        assert_eq!(crew.wait_until(Instant::now() + SOON), 0);
    }

    #[test]
    fn waiting_for_a_thread_that_does_not_end_is_bounded() {
        let crew = Arc::new(Crew::default());
        let (release, held) = crossbeam_channel::bounded::<()>(1);
        crew.spawn("test-thread", 128 << 10, move || {
            let _ = held.recv();
        })
        .unwrap();
        assert_eq!(crew.wait_until(Instant::now() + Duration::from_millis(10)), 1);
        drop(release);
        assert_eq!(crew.wait_until(Instant::now() + SOON), 0);
    }

    #[test]
    fn the_first_outcome_wins() {
        let fate = Fate::default();
        fate.guard("the router", || panic!("on purpose"));
        fate.decide(Ok(()));
        assert_eq!(fate.wait(), Err("the router panicked: on purpose".into()));
    }

    #[test]
    fn notifications_add_up_to_one_wake_up() {
        let wake = Wake::new().unwrap();
        for _ in 0..100_000 {
            wake.notify();
        }
        wake.clear();
        assert_eq!((&wake.reader).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
