//! heartwire beside a server that does the same on tokio: `peers HEARTWIRE [OPTIONS]`. Linux only, since it reads `/proc`.
//!
//! Both servers get the same load, that of `heartwire bench`, in turns: the machine's drift, which is large, then meets
//! all of them alike, and what is compared are medians. Ratios are what to look at.

mod figures;
mod process;
mod report;
mod servers;
mod workloads;

use figures::{Figures, Run};
use pico_args::Arguments;
use process::Running;
use report::{Summary, Table};
use servers::Server;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use workloads::{Size, Workload, workloads};

const HELP: &str = "\
Measures heartwire beside a server on tokio-tungstenite that does the same.

Usage: peers HEARTWIRE [OPTIONS]

  HEARTWIRE         the binary, built as it shall be measured
  --peer FILE       the other server [default: tokio-peer, beside this program]
  --server FLAGS    measure heartwire with these flags of `serve`, one text; may be repeated, '' are its defaults
                    [default: '', '--router helped', '--scheduling batch', and both]
  --only NAME       only workloads whose names contain this; may be repeated
  --passes N        measure each of them so often [default: 3]
  --seconds N       for so long each time [default: 3]
  --tiny            each of them once, for a moment, with few connections: to see that they work
";

/// What heartwire is measured with where nobody says anything else.
const VARIANTS: [&str; 4] = ["", "--router helped", "--scheduling batch", "--router helped --scheduling batch"];

fn main() -> ExitCode {
    if let Some(command) = process::to_become() {
        return process::become_this(&command);
    }
    match Options::read().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
struct Options {
    heartwire: PathBuf,
    servers: Vec<Server>,
    workloads: Vec<Workload>,
    passes: usize,
}

impl Options {
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut arguments = Arguments::from_env();
        if arguments.contains(["-h", "--help"]) {
            print!("{HELP}");
            std::process::exit(0);
        }
        let tiny = arguments.contains("--tiny");
        let passes = arguments.opt_value_from_str("--passes")?.unwrap_or(if tiny { 1 } else { 3 });
        let seconds = arguments.opt_value_from_str("--seconds")?.unwrap_or(3);
        let peer = arguments.opt_value_from_str("--peer")?;
        let only: Vec<String> = arguments.values_from_str("--only")?;
        let mut variants: Vec<String> = arguments.values_from_str("--server")?;
        let heartwire: Option<PathBuf> = arguments.opt_free_from_str()?;
        let heartwire = heartwire.ok_or("the path of heartwire is missing; see --help")?;
        if let Some(unknown) = arguments.finish().first() {
            return Err(format!("unexpected argument {}; see --help", unknown.display()).into());
        }
        if passes == 0 || seconds == 0 {
            return Err("--passes and --seconds must be at least 1".into());
        }
        if variants.is_empty() {
            variants = VARIANTS.map(String::from).into();
        }
        let size = if tiny { Size::Tiny } else { Size::Seconds(seconds) };
        let mut workloads = workloads(size);
        workloads.retain(|workload| only.is_empty() || only.iter().any(|name| workload.name.contains(name)));
        if workloads.is_empty() {
            return Err("no workload has such a name".into());
        }
        let peer = match peer {
            Some(file) => file,
            None => std::env::current_exe()?.with_file_name("tokio-peer"),
        };
        let mut servers = vec![Server::peer(peer)];
        servers.extend(variants.into_iter().map(|flags| Server::heartwire(&heartwire, flags)));
        Ok(Self { heartwire, servers, workloads, passes })
    }
}

/// Measures everything, and prints it as it comes.
///
/// # Errors
/// All that went wrong, after everything else was measured.
fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let Options { heartwire, workloads, passes, .. } = options;
    let servers = startable(&options.servers)?;
    let (mut tables, mut failures) = (Vec::new(), Vec::new());
    for workload in workloads {
        let mut runs = vec![Vec::new(); servers.len()];
        for pass in 1..=*passes {
            for (server, runs) in servers.iter().zip(&mut runs) {
                eprintln!("{}, pass {pass} of {passes}: {}", workload.name, server.name);
                match measure(heartwire, server, workload) {
                    Ok(run) => runs.push(run),
                    Err(error) => failures.push(format!("{}, {}: {error}", workload.name, server.name)),
                }
            }
        }
        let rows =
            servers.iter().zip(&runs).map(|(server, runs)| (server.name.clone(), Figures::of(runs, workload.aim)));
        let table = Table::new(workload, rows.collect());
        println!("{table}");
        tables.push(table);
    }
    println!("{}", Summary(&tables));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\npeers: ").into()) }
}

/// Those of the servers that start; why this binary does not start as a variant, is told.
///
/// # Errors
/// When it does not start at all, or the other server does not.
fn startable(servers: &[Server]) -> Result<Vec<&Server>, Box<dyn Error>> {
    let mut startable = Vec::new();
    for server in servers {
        match server.start() {
            Ok(_) => startable.push(server),
            Err(error) if server.is_variant() => eprintln!("{} is left out; {error}", server.name),
            Err(error) => return Err(format!("{}: {error}", server.name).into()),
        }
    }
    Ok(startable)
}

/// One run against a server of its own.
///
/// # Errors
/// Whatever makes it worthless: a server or a load that fails, a message that was lost, a client that was refused.
fn measure(heartwire: &Path, server: &Server, workload: &Workload) -> Result<Run, Box<dyn Error>> {
    let started = server.start()?;
    let (url, pid) = (format!("--url=ws://{}/ws", started.address), format!("--pid={}", started.process.id()));
    let workload_arguments = workload.arguments.iter().map(String::as_str);
    let arguments = ["bench"].into_iter().chain(workload_arguments).chain([&*url, &pid, "--json"]);
    let load = Running::start(heartwire, arguments)?;
    let printed = load.output(workload.patience);
    // Why the load failed, perhaps.
    started.check()?;
    let printed = printed?;
    let run: Run = serde_json::from_str(&printed).map_err(|error| format!("{error} in {printed:?}"))?;
    run.check(workload)?;
    Ok(run)
}
