//! `heartwire bench scale`: how many threads the machine bears, and what they cost.

mod sweep;
mod words;

use super::frames::STAMP_DIGITS;
use super::machine::Machine;
use super::measure::measure;
use super::measured::Measured;
use super::median::median_run;
use super::output::Output;
use super::plan::{Plan, Target, Workload};
use super::{flags, plot, progress, report};
use crate::cli::Failure;
use crate::cli::times::largest_units;
use crate::cli::values::{Size, Time};
use clap::Args;
use heartwire::{Admission, Anonymous, Config, Server};
use serde::Serialize;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use sweep::{Point, Sweep};

/// What takes longer was not meant.
const LONGEST: Duration = Duration::from_secs(3_600);

/// The flags of `heartwire bench scale`.
#[derive(Args)]
pub(super) struct Flags {
    /// How many connections, one point after the other
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "2,50,500,2000,10000", value_parser = pairs)]
    connections: Vec<usize>,

    /// How many of them relay messages, in pairs; the others wait
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "2,50", value_parser = pairs)]
    senders: Vec<usize>,

    /// Stacks of the connections' threads; without it that of the server
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',')]
    stack: Vec<Size>,

    /// Flags of a server to compare with others; repeatable, and empty for the defaults
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    server: Vec<String>,

    /// How often all points are measured in turn; the medians count
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// How long each point is measured, at most an hour
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = flags::duration)]
    duration: Time,

    /// How long the load runs before that
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = flags::warm_up)]
    warm_up: Time,

    /// The content of a message, 16B to 1MiB
    #[arg(long, value_name = "SIZE", default_value_t = Size(STAMP_DIGITS), value_parser = flags::payload)]
    payload: Size,

    /// Threads of the load, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,

    #[command(flatten)]
    output: Output,

    /// Flags of serve for all servers that are started, behind --
    #[arg(last = true, value_name = "FLAGS OF SERVE")]
    serve: Vec<OsString>,
}

impl Flags {
    fn sweep(&self) -> Sweep {
        Sweep {
            connections: self.connections.clone(),
            stacks: self.stack.iter().map(|Size(bytes)| *bytes).collect(),
            senders: self.senders.clone(),
            servers: self.server.clone(),
            rounds: self.rounds,
            warm_up: self.warm_up.0,
            duration: self.duration.0,
        }
    }
}

fn pairs(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count: &usize| *count > 0 && count.is_multiple_of(2));
    count.ok_or_else(|| "an even number is needed, since they are pairs".into())
}

/// A sweep and where it was made, for programs.
#[derive(Serialize)]
struct Scale<'a> {
    machine: &'a Machine,
    /// Connections that the machine bears.
    max_connections: usize,
    /// The limit that says so.
    limited_by: &'a str,
    /// How often each point was to be measured; its figures are medians.
    rounds: u32,
    points: &'a [Measured],
}

/// Measures, and prints what was found, also after Ctrl-C or a point that failed.
pub(super) fn run(flags: &Flags, stop: &AtomicBool) -> Result<ExitCode, Failure> {
    flags.output.check()?;
    let (machine, admission) = (Machine::read(), admission()?);
    let sweep = flags.sweep();
    let course = sweep.course(admission.max_connections());
    for left_out in &course.left_out {
        progress::note(format_args!("left out: {left_out}"));
    }
    if course.points.is_empty() {
        return Err(Failure::Run(format!("no point is left; this machine bears {admission}")));
    }
    let time = largest_units(course.time).join(" ");
    if course.time > LONGEST {
        return Err(Failure::Usage(format!("this would take {time}: at most an hour makes sense")));
    }
    progress::note(format_args!("{} points, {} rounds: about {time}", course.points.len(), flags.rounds));
    let (points, failure) = measure_all(flags, &course.points, stop);
    if !points.is_empty() {
        print_found(flags, &machine, &admission, &points)?;
    }
    match failure {
        // An interrupted point is no failure of those before it.
        Some(failure) if points.is_empty() || !stop.load(Ordering::Relaxed) => Err(failure),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// All points in turn, as often as there are rounds; what was found before the user or a failure ended it, too.
fn measure_all(flags: &Flags, points: &[Point], stop: &AtomicBool) -> (Vec<Measured>, Option<Failure>) {
    let mut runs: Vec<Vec<Measured>> = vec![Vec::new(); points.len()];
    let in_turn = (0..flags.rounds).flat_map(|_| 0..points.len());
    let mut measure = |at: usize| {
        let run = measure_point(flags, &points[at], stop)?;
        // One that was cut short is better than none, and worse than any other.
        if !run.interrupted || runs[at].is_empty() {
            runs[at].push(run);
        }
        Ok(())
    };
    let mut wanted = in_turn.take_while(|_| !stop.load(Ordering::Relaxed));
    let failure = wanted.find_map(|at| measure(at).err());
    (runs.iter().filter_map(|runs| median_run(runs)).collect(), failure)
}

/// A server of its own, with so many connections of which some relay messages.
fn measure_point(flags: &Flags, point: &Point, stop: &AtomicBool) -> Result<Measured, Failure> {
    let stack = point.stack_bytes.map(|stack| format!("--stack-bytes={stack}"));
    let own = point.server.split_whitespace().map(str::to_owned).chain(stack);
    let plan = Plan {
        workload: Workload::Relay { senders: point.senders, window: 1 },
        connections: point.connections,
        duration: flags.duration.0,
        warm_up: flags.warm_up.0,
        messages: None,
        payload_bytes: flags.payload.0,
        threads: usize::from(flags.threads),
        target: Target::Own(flags.serve.iter().cloned().chain(own.map(OsString::from)).collect()),
    };
    let run = measure(&plan, stop)?;
    Ok(Measured { server: point.server.clone(), stack_bytes: point.stack_bytes, ..run })
}

fn print_found(flags: &Flags, machine: &Machine, admission: &Admission, points: &[Measured]) -> Result<(), Failure> {
    let scale = Scale {
        machine,
        max_connections: admission.max_connections(),
        limited_by: admission.limited_by(),
        rounds: flags.rounds,
        points,
    };
    let conclusion = || words::conclusion(&admission.to_string(), points);
    let text = || format!("{}\n{}\n{}", machine.line(), report::table(points), conclusion());
    flags.output.print(points, || report::json(&scale), text)?;
    flags.output.draw(|| plot::sweep(&words::finding(points), &machine.line(), points))
}

/// What a server lets in that nothing but the machine bounds.
fn admission() -> Result<Admission, Failure> {
    let mut config = Config::default();
    config.listen = vec![([127, 0, 0, 1], 0).into()];
    config.max_connections = None;
    let server = Server::bind(config, Anonymous).map_err(|error| Failure::Run(error.to_string()))?;
    Ok(server.admission().clone())
}
