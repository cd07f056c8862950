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
//! | `calm` | no attack, to compare with |

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod calm;
mod honest;
mod scene;
mod suite;

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

use std::process::ExitCode;

fn main() -> ExitCode {
    suite::run(&[calm::ROWS])
}
