//! Threads for short work that comes often: who is done with one job waits a moment for the next before it ends, which
//! costs a fraction of a thread's beginning and end.

use super::sync::{Condvar, Mutex};
use super::{Crew, lock};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How many threads may wait for a job.
pub(crate) const MAX_IDLE: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that do one job after another. As many jobs run at once as there are: none waits for another.
pub(crate) struct Pool {
    state: Mutex<State>,
    called: Condvar,
    patience: Duration,
}

#[derive(Default)]
struct State {
    /// No more than there are threads waiting.
    jobs: VecDeque<Job>,
    waiting: usize,
    /// What the last job asked for: a thread that has less does not begin to wait for another.
    stack_bytes: usize,
    closed: bool,
}

impl Pool {
    /// One whose threads wait this long for another job.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { state: Mutex::default(), called: Condvar::new(), patience }
    }

    /// Runs a job on a thread that waits for one, or else on a new one of this crew. A panic ends the thread.
    ///
    /// # Errors
    /// The system's, when it grants no further thread; `job` was dropped then.
    pub(crate) fn run(
        self: &Arc<Self>,
        crew: &Arc<Crew>,
        name: &str,
        stack_bytes: usize,
        job: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut state = lock(&self.state);
        let same_stack = std::mem::replace(&mut state.stack_bytes, stack_bytes) == stack_bytes;
        if same_stack && state.jobs.len() < state.waiting {
            state.jobs.push_back(Box::new(job));
            drop(state);
            self.called.notify_one();
            return Ok(());
        }
        drop(state);
        let pool = Arc::clone(self);
        crew.spawn(name, stack_bytes, move || {
            job();
            while let Some(job) = pool.next(stack_bytes) {
                job();
            }
        })
    }

    /// No thread waits for a job any more. Jobs that come later are done nevertheless.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.called.notify_all();
    }

    /// The next job for a thread with such a stack; `None` when it is to end.
    fn next(&self, stack_bytes: usize) -> Option<Job> {
        let until = Instant::now() + self.patience;
        let mut state = lock(&self.state);
        if state.waiting >= MAX_IDLE || state.stack_bytes > stack_bytes {
            return None;
        }
        state.waiting += 1;
        let job = loop {
            let left = until.saturating_duration_since(Instant::now());
            match state.jobs.pop_front() {
                None if !state.closed && !left.is_zero() => {}
                job => break job,
            }
            state = self.called.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        state.waiting -= 1;
        job
    }
}

#[cfg(test)]
#[cfg(not(heartwire_model))]
mod tests {
    use super::*;
    use crossbeam_channel::{Receiver, Sender, bounded};
    use std::thread::{self, ThreadId};

    const STACK_BYTES: usize = 128 << 10;
    const SOON: Duration = Duration::from_secs(20);
    const NEVER: Duration = Duration::from_secs(1 << 20);

    struct Scene {
        pool: Arc<Pool>,
        crew: Arc<Crew>,
        done: Sender<ThreadId>,
        threads: Receiver<ThreadId>,
    }

    impl Scene {
        fn new() -> Self {
            let (done, threads) = bounded(100);
            Self { pool: Arc::new(Pool::new(NEVER)), crew: Arc::default(), done, threads }
        }

        /// Runs a job that waits for this; the thread that did it is told when it has.
        fn run(&self, stack_bytes: usize, held: Receiver<()>) {
            let done = self.done.clone();
            let job = move || {
                let _ = held.recv();
                done.send(thread::current().id()).unwrap();
            };
            self.pool.run(&self.crew, "test-thread", stack_bytes, job).unwrap();
        }

        fn run_at_once(&self, stack_bytes: usize) -> ThreadId {
            self.run(stack_bytes, bounded(0).1);
            self.threads.recv_timeout(SOON).unwrap()
        }

        fn wait_for_waiting(&self, threads: usize) {
            let deadline = Instant::now() + SOON;
            while lock(&self.pool.state).waiting != threads {
                assert!(Instant::now() < deadline, "{threads} do not wait");
                thread::yield_now();
            }
        }
    }

    #[test]
    fn jobs_never_wait_for_each_other_and_few_threads_wait_for_jobs() {
        let scene = Scene::new();
        let (release, held) = bounded(0);
        (0..2 * MAX_IDLE).for_each(|_| scene.run(STACK_BYTES, held.clone()));
        let running = lock(&scene.crew.roster).running.len();
        drop(release);
        assert_eq!(running, 2 * MAX_IDLE, "each has its own");
        let deadline = Instant::now() + SOON;
        while lock(&scene.crew.roster).running.len() > MAX_IDLE {
            assert!(lock(&scene.pool.state).waiting <= MAX_IDLE && Instant::now() < deadline);
            thread::yield_now();
        }
        scene.pool.close();
        assert_eq!(scene.crew.wait_until(Instant::now() + SOON), 0);
    }

    #[test]
    fn a_thread_does_one_job_after_another() {
        let scene = Scene::new();
        let first = scene.run_at_once(STACK_BYTES);
        scene.wait_for_waiting(1);
        assert_eq!(scene.run_at_once(STACK_BYTES), first);
        scene.wait_for_waiting(1);
        assert_ne!(scene.run_at_once(2 * STACK_BYTES), first, "its stack is too small");
        scene.pool.close();
        assert_eq!(scene.crew.wait_until(Instant::now() + SOON), 0);
    }
}
