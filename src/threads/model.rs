//! Runs a model: the same few threads again and again, each time in another order, which the checker decides.
//!
//! A model fails where an assertion does, and where all its threads wait and none can go on. No time passes in it, so that a
//! wake-up that is lost is not made good by a timeout.

use super::*;
use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// How often a schedule of few but unlucky switches changes its mind.
const SWITCHES: usize = 3;
const STACK_BYTES: usize = 256 << 10;

/// Runs a model in so many orders, or as many times as many as `MODEL_FACTOR` in the environment says. One half are random;
/// in the other, threads run on until they wait, but for a few switches at any moment.
pub(crate) fn check(orders: usize, model: impl Fn() + Send + Sync + 'static) {
    let factor = std::env::var("MODEL_FACTOR").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    let half = orders * factor / 2;
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    let model = Arc::new(model);
    let same = Arc::clone(&model);
    Runner::new(RandomScheduler::new(half), config.clone()).run(move || model());
    Runner::new(PctScheduler::new(SWITCHES, half), config).run(move || same());
}

/// A number from 1 to this.
pub(crate) fn dice(sides: usize) -> usize {
    shuttle::rand::thread_rng().gen_range(1..=sides)
}

/// Waits longer than any deadline.
const NEVER: Duration = Duration::from_secs(10_000);

#[test]
fn a_crew_joins_whoever_it_started_however_they_end() {
    check(3_000, || {
        let crew = Arc::new(Crew::default());
        for n in 0..3 {
            let more = Arc::clone(&crew);
            crew.spawn("one", STACK_BYTES, move || {
                if n == 0 {
                    more.spawn("another", STACK_BYTES, || {}).unwrap();
                }
                std::panic::resume_unwind(Box::new("on purpose"));
            })
            .unwrap();
        }
        assert_eq!(crew.wait_until(Instant::now() + NEVER), 0);
        let roster = lock(&crew.roster);
        assert!(roster.running.is_empty() && roster.ended.is_empty(), "somebody was not joined");
        assert_eq!(roster.next, 4);
    });
}

#[test]
fn the_first_outcome_is_the_one_that_everybody_learns() {
    check(3_000, || {
        let fate = Arc::new(Fate::default());
        let waiting = [(); 2].map(|()| {
            let fate = Arc::clone(&fate);
            thread::spawn(move || fate.wait())
        });
        let deciding = ["one", "another"].map(|what| {
            let fate = Arc::clone(&fate);
            thread::spawn(move || fate.decide(Err(what.into())))
        });
        let first = fate.wait();
        deciding.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(fate.wait(), first);
        waiting.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), first));
    });
}

#[test]
fn an_answer_is_given_once_or_never_and_whoever_waits_learns_which() {
    check(3_000, || {
        for answers in [true, false] {
            let (reply, awaited) = reply();
            let answering = thread::spawn(move || {
                if answers {
                    reply.send(7);
                }
            });
            assert_eq!(awaited.wait(), answers.then_some(7));
            answering.join().unwrap();
        }
    });
}

#[test]
fn a_pool_does_every_job_and_its_threads_end_when_it_is_closed() {
    check(3_000, || {
        let (crew, pool) = (Arc::new(Crew::default()), Arc::new(Pool::new(NEVER)));
        let done = Arc::new(sync::atomic::AtomicUsize::new(0));
        let starting = [(); 2].map(|()| {
            let (crew, pool, done) = (Arc::clone(&crew), Arc::clone(&pool), Arc::clone(&done));
            thread::spawn(move || {
                for _ in 0..2 {
                    let done = Arc::clone(&done);
                    let job = move || _ = done.fetch_add(1, sync::atomic::Ordering::SeqCst);
                    pool.run(&crew, "one", STACK_BYTES, job).unwrap();
                }
            })
        });
        pool.close();
        starting.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(crew.wait_until(Instant::now() + NEVER), 0);
        assert_eq!(done.load(sync::atomic::Ordering::SeqCst), 4);
    });
}
