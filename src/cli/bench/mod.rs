//! `heartwire bench`: loads a server over real sockets, and says how fast it is and what that costs.

mod crowd;
mod flags;
mod frames;
mod link;
mod machine;
mod measure;
mod measured;
mod median;
mod memory;
mod opening;
mod output;
mod plan;
mod plot;
mod poller;
mod process;
mod progress;
mod queue;
mod report;
mod sample;
mod scale;
mod schedule;
mod scripts;
mod server;
mod settings;
mod tally;
mod thread;
mod url;

use super::Failure;
use clap::Args;
use flags::Command;
use plan::Plan;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What of a run was measured although it was interrupted, as shells tell of SIGINT.
const INTERRUPTED: u8 = 128 + 2;
/// Descriptors that the load needs besides its connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// The flags of `heartwire bench`.
#[derive(Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    command: Command,
}

/// Runs a workload. SIGINT and SIGTERM end it, and what was measured so far is printed; a second one ends the process at
/// once.
pub(super) fn run(flags: Flags) -> Result<ExitCode, Failure> {
    let command = match flags.command {
        Command::Server { parent, flags } => return server::serve(parent, flags),
        command => command,
    };
    let stop = stop_at_signals()?;
    raise_descriptor_limit();
    if let Command::Scale(flags) = command {
        scale::run(&flags, &stop)?;
    } else {
        let (plan, output) = command.plan()?;
        output.check()?;
        admit(&plan)?;
        output.run(&measure::measure(&plan, &stop)?)?;
    }
    Ok(if stop.load(Ordering::Relaxed) { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Set by the first signal.
fn stop_at_signals() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::Run(format!("signals: {error}")))?;
    }
    Ok(stop)
}

/// Raises the limit of open files, which a server of its own inherits.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused, the limit that there is decides.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Whether there may be as many open files as a load has connections.
fn admit(plan: &Plan) -> Result<(), Failure> {
    let needed = plan.connections as u64 + OTHER_DESCRIPTORS;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => Err(Failure::Run(format!(
            "{} connections need {needed} open files, and the limit is {limit}: `ulimit -Hn` raises it",
            plan.connections
        ))),
        _ => Ok(()),
    }
}
