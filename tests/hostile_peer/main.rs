//! Hostile peers: for each threat an attack on the real server over loopback, with honest clients beside it.
//!
//! A row runs reduced with the other tests, and at full size by
//! `cargo test --release --test hostile -- --ignored`. Each prints its figures; the table of `docs/hardening.md` holds
//! both.
//!
//! | file | what it holds |
//! |---|---|
//! | `suite` | rows, their two sizes, and the table that is printed at the end |
//! | `scene` | the server under attack: its process, its log, its peaks |
//! | `honest` | fifty clients who talk while the attack runs, and what they saw |
//! | `swarm`, `crowd`, `idlers` | many attackers on one thread; many clients without a thread for each; clients that live by pings |
//! | `audience` | who hears what is said, in each form of the protocol |
//! | `dice` | numbers that look drawn |
//! | `proxy`, `namespace` | a bad network, and a server at the end of a cable |
//! | `calm` | no attack, to compare with |
//! | `handshakes` | requests that dribble, are too large, or come from a foreign page |
//! | `frames` | frames that dribble, never end, lie about their length, or come without end |
//! | `texts` | text that is no UTF-8, JSON that is none, and words in other people's mouths |
//! | `logs` | words for the log of the operator |
//! | `credentials`, `jwt` | guessed tokens and keys, made-up JSON Web Tokens |
//! | `doors` | pages of other origins, clients behind proxies |
//! | `queues` | clients who stop reading |
//! | `floods` | messages to many, rooms without end |
//! | `writers` | many who write to one connection, and all who write to all |
//! | `resources` | no descriptors, no threads, no places |
//! | `herds` | everybody comes back at once |
//! | `panics` | handlers that panic, and a router that does |
//! | `handlers` | handlers that block, or send to the connection that they are called for |
//! | `networks` | slow networks, ones that cut connections, and one that is gone without a word |
//! | `clocks` | a process that is stopped for a while, a wall clock that jumps |
//! | `stopping` | a stop in the middle of everything |

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod audience;
mod calm;
mod clocks;
mod credentials;
mod crowd;
mod dice;
mod doors;
mod floods;
mod frames;
mod handlers;
mod handshakes;
mod herds;
mod honest;
mod idlers;
mod jwt;
mod logs;
mod namespace;
mod networks;
mod panics;
mod proxy;
mod queues;
mod resources;
mod scene;
mod stopping;
mod suite;
mod swarm;
mod texts;
mod writers;

// Shared with the other tests, which need more of it.
#[allow(dead_code)]
#[path = "../integration/lines.rs"]
mod lines;
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

// Shared with the soak.
#[allow(dead_code)]
#[path = "../soak/ledger.rs"]
mod ledger;
#[allow(dead_code)]
#[path = "../soak/peer.rs"]
mod peer;

use std::process::ExitCode;

fn main() -> ExitCode {
    suite::run(&[
        calm::ROWS,
        handshakes::ROWS,
        frames::ROWS,
        texts::ROWS,
        logs::ROWS,
        credentials::ROWS,
        doors::ROWS,
        queues::ROWS,
        floods::ROWS,
        writers::ROWS,
        resources::ROWS,
        herds::ROWS,
        panics::ROWS,
        handlers::ROWS,
        networks::ROWS,
        clocks::ROWS,
        stopping::ROWS,
    ])
}
