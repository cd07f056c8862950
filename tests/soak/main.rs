//! Two thousand connections of every kind for as long as one likes: afterwards the server holds what it held before, and
//! every message is accounted for. `cargo test --release --test soak -- --minutes 30`; without `--minutes` nothing runs.
//!
//! | who | how many | what they do |
//! |---|---|---|
//! | talkers | 700 | WebSocket, `ginchat` and raw TCP mixed: a message to one of four others every second |
//! | roommates | 400 | the same in 20 rooms: each message is for 19 others |
//! | silent ones | 600 | live by answering pings |
//! | guests | 260 | come, ask one of the talkers something, wait for the answer, and go: by a Close, an end of stream, or a reset |
//! | slow readers | 40 | never read, until they are cut, and then again; half by a full queue, half by the write deadline |
//! | a back end | | pushes over HTTP to accounts and rooms, five times a second |
//!
//! First all of them come and go once, as a warm-up; what the server holds then is the baseline. At the end its threads
//! and descriptors must be the same again, its memory at most [`TOLERANCE_BYTES`] more. That says something only because
//! the server runs with `glibc.malloc.tcache_count=0`: by default glibc keeps up to seven freed pieces of each of 64 sizes
//! for each thread, and with messages of all sizes and 2,000 threads it takes an hour until these caches are full. What is
//! left for the tolerance are the holes in glibc's arenas, which differ from round to round. A leak of 100 bytes for each
//! connection that came, or of 10 for each message, would be more within half an hour.
//! A line of figures comes every 30 s. The exit code is 0 if all of it held; anything else panics where it was seen.
//!
//! | file | what it holds |
//! |---|---|
//! | `crowd` | everybody but the slow readers, played by one thread |
//! | `peer` | one client: its socket, and its form of the protocol |
//! | `ledger` | every message: to whom it should go, and what became of it |
//! | `back_end` | the pushes, and the slow readers |
//! | `figures` | the line every 30 s, and what is true at the end |

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod back_end;
mod crowd;
mod figures;
mod ledger;
mod peer;

// Shared with the other tests, which need more of it.
#[allow(dead_code)]
#[path = "../integration/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../integration/raw.rs"]
mod raw;
#[allow(dead_code)]
#[path = "../integration/support.rs"]
mod support;
#[allow(dead_code)]
#[path = "../integration/vitals.rs"]
mod vitals;

use crowd::Crowd;
use figures::{Closings, Figures};
use peer::Addresses;
use process::{Process, serve_command};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};
use vitals::{Vitals, raise_descriptor_limit};

const WARM_UP: Duration = Duration::from_secs(40);
/// How much more memory the server may hold at the end than after the warm-up.
const TOLERANCE_BYTES: usize = 16 << 20;
/// Longer than the server remembers that an account was online (`--offline-grace`).
const STILLNESS: Duration = Duration::from_secs(7);

/// What is remembered of closed connections is full after the warm-up, or it would look like a leak.
const FLAGS: [&str; 14] = [
    "--admin-listen",
    "127.0.0.1:0",
    "--tcp-listen",
    "127.0.0.1:0",
    "--max-per-address",
    "0",
    "--heartbeat-interval",
    "10s",
    "--heartbeat-timeout",
    "25s",
    "--closed-connections",
    "1000",
    "--drain",
    "20s",
];

fn main() -> ExitCode {
    let Some(length) = length() else {
        println!("soak: not run; `-- --minutes N` says for how long it should");
        return ExitCode::SUCCESS;
    };
    raise_descriptor_limit();
    let mut command = serve_command(&FLAGS);
    command.env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");
    let mut server = Process::start(command);
    let addresses = Addresses { http: server.address(), lines: server.tcp_address(), admin: server.admin_address() };

    println!("Warm-up: everybody comes and goes once.");
    let warm_up = soak(&server, addresses, WARM_UP);
    let baseline = at_rest(&server);
    let before = Closings::read(addresses.admin);
    before.assert_expected(warm_up.totals().cut);

    println!("\nThe baseline is taken: it begins.");
    let figures = soak(&server, addresses, length);
    let end = at_rest(&server);
    let closings = Closings::read(addresses.admin).since(&before);
    figures.print_table(&baseline, &end, &closings);
    closings.assert_expected(figures.totals().cut);
    assert_eq!((end.threads, end.descriptors), (baseline.threads, baseline.descriptors), "threads and descriptors");
    assert!(end.resident_bytes <= baseline.resident_bytes + TOLERANCE_BYTES, "memory");
    for line in server.stop() {
        assert!(!["WARN", "ERROR", "panicked"].iter().any(|word| line.contains(word)), "{line}");
    }
    ExitCode::SUCCESS
}

/// `--minutes N`, a part of one included. Other arguments are meant for other tests.
fn length() -> Option<Duration> {
    let mut from_there = std::env::args().skip_while(|argument| argument != "--minutes");
    from_there.next()?;
    let minutes = from_there.next().and_then(|minutes| minutes.parse::<f64>().ok());
    Some(Duration::from_secs_f64(minutes.expect("--minutes takes a number of minutes") * 60.0))
}

/// Everybody comes, talks for so long, and goes.
fn soak(server: &Process, addresses: Addresses, length: Duration) -> Figures {
    let mut crowd = Crowd::gather(addresses);
    let mut figures = Figures::begin(server.id());
    let end = Instant::now() + length;
    while Instant::now() < end {
        crowd.play();
        figures.follow(&crowd);
    }
    crowd.fall_silent();
    figures.finish(&crowd);
    crowd.leave();
    figures
}

/// What the server holds when nothing has changed for a while.
fn at_rest(server: &Process) -> Vitals {
    let (mut since, mut seen) = (Instant::now(), Vitals::of(server.id()));
    let patience = support::Patience::begin();
    while since.elapsed() < STILLNESS {
        patience.assert("the server comes to rest");
        sleep(Duration::from_millis(100));
        let now = Vitals::of(server.id());
        if (now.threads, now.descriptors) != (seen.threads, seen.descriptors) {
            since = Instant::now();
        }
        seen = now;
    }
    seen
}
