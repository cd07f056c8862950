//! The flags of `heartwire bench`, and what they ask for.

use super::frames::STAMP_DIGITS;
use super::output::Output;
use super::plan::{Plan, Target, Workload};
use super::scale;
use crate::cli::Failure;
use crate::cli::values::{Size, Time};
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::time::Duration;

/// The longest that is measured, and the longest warm-up.
const MAX_DURATION: Duration = Duration::from_secs(3_600);
/// The longest content.
const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// The workloads.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Pairs that answer each other: how fast is a message, and what does it cost?
    Relay {
        /// How many connections
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = connections)]
        connections: usize,

        /// How many of them talk, an even number; the others are idle [default: all]
        #[arg(long, value_name = "N", value_parser = connections)]
        senders: Option<usize>,

        /// Messages that each pair has on their way
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = window)]
        window: usize,

        #[command(flatten)]
        load: Load,
    },

    /// Messages at fixed times, whether the last ones have arrived or not: how long does each take from the moment it is due?
    OpenLoop {
        /// How many connections, an even number
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = connections)]
        connections: usize,

        /// Messages a second, of all connections together
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,

        #[command(flatten)]
        load: Load,
    },

    /// One connection that sends to a room: what does each delivery cost, and does it stall others?
    Fanout {
        /// How many the room has besides the sender
        #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = connections)]
        members: usize,

        /// Messages on their way to the room
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = window)]
        window: usize,

        /// Have a pair beside the room relay messages, and report their latency
        ///
        /// To compare it with the same server without a fan-out: relay --connections MEMBERS+3 --senders 2.
        #[arg(long)]
        probe: bool,

        #[command(flatten)]
        load: Load,
    },

    /// Connections that say nothing: what does one cost?
    Idle {
        /// How many connections
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = connections)]
        connections: usize,

        #[command(flatten)]
        load: Load,
    },

    /// Connections that beat: what does it cost to keep them?
    Heartbeat {
        /// How many connections
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = connections)]
        connections: usize,

        /// How often each of them beats
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
        every: Time,

        #[command(flatten)]
        load: Load,
    },

    /// Connections that come and go: how many lives a second?
    Churn {
        /// How many at a time
        #[arg(long, value_name = "N", default_value_t = 16, value_parser = connections)]
        concurrency: usize,

        #[command(flatten)]
        load: Load,
    },

    /// Relays among more and more connections: how many threads does this machine bear, and what do they cost?
    Scale(scale::Flags),

    /// The server that a workload starts for itself
    #[command(hide = true)]
    Server {
        /// The process that starts it
        parent: u32,

        #[arg(last = true)]
        flags: Vec<OsString>,
    },
}

/// What all workloads are told.
#[derive(Args)]
pub(super) struct Load {
    /// How long to measure, at most an hour
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    duration: Time,

    /// The most messages to send while it is measured
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,

    /// How long the load runs before it is measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = warm_up)]
    warm_up: Time,

    /// The content of a message, 16B to 1MiB
    #[arg(long, value_name = "SIZE", default_value_t = Size(STAMP_DIGITS), value_parser = payload)]
    payload: Size,

    /// Threads of the load, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,

    /// A running server to load, in place of one of its own
    ///
    /// An n in braces stands for the number of a connection; without it they are the accounts u0, u1 and so on.
    #[arg(long, value_name = "URL", conflicts_with = "serve")]
    url: Option<String>,

    /// The process of that server, if it is on this machine: what it costs
    #[arg(long, value_name = "PID", requires = "url", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,

    #[command(flatten)]
    output: Output,

    /// Flags of serve for the server that is started, behind --
    #[arg(last = true, value_name = "FLAGS OF SERVE")]
    serve: Vec<OsString>,
}

impl Command {
    /// The run that the flags describe, and how it is printed.
    ///
    /// # Errors
    /// What does not go together.
    pub(super) fn plan(self) -> Result<(Plan, Output), Failure> {
        let odd = |what: &str, n: usize| Failure::Usage(format!("{what} {n}: pairs need an even number"));
        let (workload, connections, load) = match self {
            Self::Relay { connections, senders, window, load } => {
                let (flag, senders) = senders.map_or(("--connections", connections), |senders| ("--senders", senders));
                senders.is_multiple_of(2).then_some(()).ok_or_else(|| odd(flag, senders))?;
                if senders > connections {
                    let message = format!("--senders {senders}: there are only {connections} connections");
                    return Err(Failure::Usage(message));
                }
                (Workload::Relay { senders, window }, connections, load)
            }
            Self::OpenLoop { connections, rate, load } => {
                connections.is_multiple_of(2).then_some(()).ok_or_else(|| odd("--connections", connections))?;
                (Workload::OpenLoop { per_second: f64::from(rate) }, connections, load)
            }
            Self::Fanout { members, window, probe, load } => {
                let others = if probe { 3 } else { 1 };
                (Workload::Fanout { window, probe }, members + others, load)
            }
            Self::Idle { ref load, .. } if load.output.has_plot() => {
                return Err(Failure::Usage("--plot: idle has no latency to draw".into()));
            }
            Self::Idle { connections, load } => (Workload::Idle, connections, load),
            Self::Heartbeat { connections, every, load } => (Workload::Heartbeat { every: every.0 }, connections, load),
            Self::Churn { concurrency, load } => (Workload::Churn, concurrency, load),
            Self::Scale(_) | Self::Server { .. } => return Err(Failure::Usage("this is no load of its own".into())),
        };
        Ok(load.plan(workload, connections))
    }
}

impl Load {
    fn plan(self, workload: Workload, connections: usize) -> (Plan, Output) {
        let target = match self.url {
            Some(url) => Target::Other { url, pid: self.pid },
            None => Target::Own(self.serve),
        };
        let plan = Plan {
            workload,
            connections,
            duration: self.duration.0,
            warm_up: self.warm_up.0,
            messages: self.messages,
            payload_bytes: self.payload.0,
            threads: usize::from(self.threads),
            target,
        };
        (plan, self.output)
    }
}

fn connections(text: &str) -> Result<usize, String> {
    number(text, 1_000_000)
}

fn window(text: &str) -> Result<usize, String> {
    number(text, 10_000)
}

fn number(text: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
    (1..=most).contains(&number).then_some(number).ok_or_else(|| format!("it must be 1 to {most}"))
}

pub(super) fn duration(text: &str) -> Result<Time, String> {
    let time = warm_up(text)?;
    (!time.0.is_zero()).then_some(time).ok_or_else(|| "it must be more than nothing".into())
}

pub(super) fn warm_up(text: &str) -> Result<Time, String> {
    let time: Time = text.parse().map_err(|error: humantime::DurationError| error.to_string())?;
    (time.0 <= MAX_DURATION).then_some(time).ok_or_else(|| "it must be at most 1h".into())
}

pub(super) fn payload(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    let is_possible = (STAMP_DIGITS..=MAX_PAYLOAD_BYTES).contains(&size.0);
    is_possible.then_some(size).ok_or_else(|| "it must be 16B to 1MiB: there is a time in each message".into())
}
