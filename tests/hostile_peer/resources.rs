//! A machine that has nothing left: no descriptors, no threads, no place. Whoever is there must not notice, whoever comes
//! is refused or waits, and all is well as soon as there is something again.

use crate::crowd::{dial_from, knock, loopback, status};
use crate::honest::{self, Honest, P99_BOUND, percentiles};
use crate::process::serve_command;
use crate::raw::Peer;
use crate::scene::{Scene, handshake_threads, run_by};
use crate::suite::{Figures, Row, Size};
use crate::support::{eventually, upgrade_request};
use crate::vitals::Vitals;
use rustix::process::{Resource, getrlimit, getuid};
use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[
    Row { name: "few_descriptors", threat: "out of descriptors", run: few_descriptors },
    Row { name: "no_descriptor_left", threat: "out of descriptors", run: no_descriptor_left },
    Row { name: "more_than_the_cap", threat: "out of threads", run: more_than_the_cap },
    Row { name: "no_thread_left", threat: "out of threads", run: no_thread_left },
];

const UNLIMITED: [&str; 4] = ["--max-per-address", "0", "--accepts-per-second", "0"];

/// Whoever may have few descriptors lets in few.
fn few_descriptors(size: Size) -> Figures {
    let mut scene = Scene::start(with_few_descriptors(&serve_command(&UNLIMITED)));
    let cap = cap(&mut scene);
    assert!(cap < 256, "{cap}");
    let figures = beyond(scene, cap, size.of(300, 1_000), size);
    Figures::default().with(&format!("256 descriptors, so at most {cap} connections")).with(&figures)
}

/// What the configuration, or else the machine permits, and more: 500, or as many as make 19,000.
fn more_than_the_cap(size: Size) -> Figures {
    let mut scene = Scene::serve(&["--max-connections", size.of("100", "0")]);
    let cap = cap(&mut scene);
    let count = size.of(cap + 500, 19_000.max(cap + 500)) - honest::COUNT;
    let line = scene.line("at most ");
    let (_, limit) = line.split_once("limited by ").unwrap();
    let figures = beyond(scene, cap, count, size);
    Figures::default().with(&format!("at most {cap} connections, by {limit}")).with(&figures)
}

/// So many connect, of whom only some have a place; the others are refused at once, and nothing is ever used up.
fn beyond(scene: Scene, cap: usize, count: usize, size: Size) -> impl ToString {
    let (honest, watch) = (Honest::begin(scene.address), scene.watch());
    let siege = Siege::of(scene.address, count);
    assert_eq!(siege.let_in.len(), cap - honest::COUNT);
    let strain = watch.end();
    let figure = siege.to_string();
    drop(siege);
    let back = serves_again(scene.address, size);
    let peace = honest.finish();
    let log = scene.stop();
    assert!(!log.iter().any(|line| line.contains("cannot accept") || line.contains("no thread")), "{log:?}");
    format!("{figure}; served again after {back:.0?}; {strain}; {peace}")
}

/// Descriptors are taken away while it runs: those who come now wait in the backlog until there are some again.
fn no_descriptor_left(size: Size) -> Figures {
    let (count, stretch) = size.of((200, Duration::from_secs(3)), (1_000, Duration::from_secs(10)));
    let scene = Scene::serve(&[]);
    let without = Vitals::of(scene.id()).threads;
    let honest = Honest::begin(scene.address);
    eventually("the honest ones are all there is to do", || Vitals::of(scene.id()).threads == without + honest::COUNT);
    let calm = cpu_in(&scene, stretch);
    limit(&scene, "nofile", Some(Vitals::of(scene.id()).descriptors as u64 + 10));
    let mut waiting: Vec<TcpStream> = (0..count).map(|n| knock_only(scene.address, &format!("waiting{n}"))).collect();
    let busy = cpu_in(&scene, stretch);
    let complaints = scene.log().iter().filter(|line| line.contains("cannot accept")).count();
    let back = Instant::now();
    limit(&scene, "nofile", getrlimit(Resource::Nofile).maximum);
    // The first ones found a descriptor.
    assert_eq!(status(&mut waiting[count / 4]), 101);
    let back = back.elapsed();
    assert!(waiting.iter_mut().enumerate().all(|(n, stream)| n == count / 4 || status(stream) == 101));
    serves_again(scene.address, size);
    assert!(back < back_within(size), "{back:?}");
    let (share, most) =
        (busy.saturating_sub(calm).as_secs_f64() / stretch.as_secs_f64(), stretch.as_secs() as usize + 3);
    assert!(share < size.of(0.3, 0.05), "{busy:?} of CPU time in {stretch:?}, and {calm:?} before");
    assert!((1..=most).contains(&complaints), "{complaints} lines");
    let peace = honest.finish();
    scene.stop();
    Figures::default()
        .with(&format!("{count} connects without a descriptor: {:.1}% CPU more than before", share * 100.0))
        .with(&format!("{complaints} log lines in {stretch:?}, all served, the first after {back:.0?}"))
        .with(&peace)
}

/// The system grants no further thread: first none at all, then one for the handshake but none for the connection.
fn no_thread_left(size: Size) -> Figures {
    let mut probe = as_another_user(Command::new(serve_command(&[]).get_program()));
    probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if !getuid().is_root() || !probe.status().is_ok_and(|status| status.success()) {
        return Figures::not_run("root, and a binary that every user may run");
    }
    let count = size.of(50, 500);
    let scene = Scene::start(as_another_user(serve_command(&UNLIMITED)));
    let (honest, watch) = (Honest::begin(scene.address), scene.watch());
    let no_handshake = || eventually("no thread waits for a handshake", || handshake_threads(scene.id()) == 0);
    no_handshake();
    limit(&scene, "nproc", Some(1));
    let none = Siege::of(scene.address, count);
    no_handshake();
    let running = Vitals::of(scene.id()).threads as u64;
    limit(&scene, "nproc", Some(running + 1));
    let one = Siege::of(scene.address, count);
    limit(&scene, "nproc", getrlimit(Resource::Nproc).current);
    let back = serves_again(scene.address, size);
    let strain = watch.end();
    assert_eq!(none.let_in.len() + one.let_in.len(), 0);
    let peace = honest.finish();
    let log = scene.stop();
    for complaint in ["no thread for it: ", "no thread for a connection: "] {
        assert!(log.iter().any(|line| line.contains(complaint)), "{complaint}: {log:?}");
    }
    Figures::default()
        .with(&format!("no thread at all: {none}; none behind the handshake: {one}; served again after {back:.0?}"))
        .with(&strain)
        .with(&peace)
}

/// What became of those who came one after the other.
struct Siege {
    let_in: Vec<Peer>,
    /// How long each refusal took.
    refused: Vec<Duration>,
    /// How long all but one in a hundred of them took at the most.
    slow: Duration,
}

impl Siege {
    fn of(address: SocketAddr, count: usize) -> Self {
        let mut siege = Self { let_in: Vec::new(), refused: Vec::new(), slow: Duration::ZERO };
        for n in 0..count {
            let begun = Instant::now();
            match knock(dial_from(loopback(1), address, None), &format!("/ws?user_id=one{n}"), "") {
                (101, peer) => siege.let_in.push(peer),
                (status, _) => {
                    assert_eq!(status, 503);
                    siege.refused.push(begun.elapsed());
                }
            }
        }
        [siege.slow] = percentiles(&mut siege.refused, [99]);
        assert!(siege.slow < P99_BOUND, "{siege}");
        siege
    }
}

impl fmt::Display for Siege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { let_in, refused, slow } = self;
        write!(f, "{} let in, {} refused, 99% of them within {slow:.0?}", let_in.len(), refused.len())
    }
}

/// How long it takes until somebody is let in.
fn serves_again(address: SocketAddr, size: Size) -> Duration {
    let begun = Instant::now();
    eventually("somebody is let in", || {
        knock(dial_from(loopback(1), address, None), "/ws?user_id=newcomer", "").0 == 101
    });
    let took = begun.elapsed();
    assert!(took < back_within(size), "{took:?}");
    took
}

fn back_within(size: Size) -> Duration {
    Duration::from_secs(size.of(10, 2))
}

/// Asks to be let in, and does not wait for the answer.
fn knock_only(address: SocketAddr, account: &str) -> TcpStream {
    let mut stream = dial_from(loopback(1), address, None);
    stream.write_all(upgrade_request(&format!("/ws?user_id={account}"), "").as_bytes()).unwrap();
    stream
}

fn cpu_in(scene: &Scene, stretch: Duration) -> Duration {
    let before = Vitals::of(scene.id()).cpu;
    sleep(stretch);
    Vitals::of(scene.id()).cpu - before
}

/// How many connections it lets in, as its log says.
fn cap(scene: &mut Scene) -> usize {
    let line = scene.line("at most ");
    let (_, behind) = line.split_once("at most ").unwrap();
    behind.split(' ').next().unwrap().parse().unwrap()
}

/// Sets the soft limit of a running process, as its user.
fn limit(scene: &Scene, resource: &str, soft: Option<u64>) {
    let (pid, soft) = (scene.id().to_string(), soft.map_or("unlimited".to_owned(), |soft| soft.to_string()));
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &pid, &format!("--{resource}={soft}:")]);
    if getuid().is_root() {
        let user = std::fs::metadata(format!("/proc/{pid}")).unwrap();
        prlimit.uid(user.uid()).gid(user.gid());
    }
    assert!(prlimit.status().unwrap().success(), "{prlimit:?}");
}

/// The same command, with a hard limit of 256 descriptors.
fn with_few_descriptors(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""]);
    run_by(limited, command)
}

/// Root has no limit of threads; somebody of whom there is no other process has one that is easily computed.
fn as_another_user(mut command: Command) -> Command {
    command.uid(61_803).gid(61_803);
    command
}
