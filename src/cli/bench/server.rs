//! The server under load: one of its own, the same executable as a child process, or any at a URL.

use super::plan::Target;
use super::process;
use super::url::Endpoint;
use crate::cli::Failure;
use crate::cli::admin_client;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// What a server of its own is started with, unless its flags say otherwise: a free port, and nothing that would slow or
/// refuse a load. Flags come before the environment.
const ENVIRONMENT: [(&str, &str); 11] = [
    ("LISTEN", "127.0.0.1:0"),
    ("ADMIN_LISTEN", "127.0.0.1:0"),
    ("MAX_CONNECTIONS", "0"),
    ("MAX_PER_ADDRESS", "0"),
    ("RATE", "0"),
    ("CONTROL_RATE", "0"),
    ("DELIVERIES_PER_SECOND", "0"),
    ("DELIVERED_BYTES_PER_SECOND", "0"),
    ("ACCEPTS_PER_SECOND", "0"),
    ("AUTH_FAILURES", "0"),
    ("LOG_FORMAT", "text"),
];

/// A server, for as long as it is measured.
pub(super) struct Server {
    pub(super) endpoint: Endpoint,
    /// How a report calls it.
    pub(super) name: String,
    /// Its process, where it is on this machine and known.
    pub(super) pid: Option<u32>,
    pub(super) admin: Option<admin_client::Server>,
    _child: Option<Running>,
}

impl Server {
    /// Starts a server, or finds one.
    ///
    /// # Errors
    /// A URL that is none, a process that is not there, and what the server itself says where it does not start.
    pub(super) fn open(target: &Target) -> Result<Self, Failure> {
        match target {
            Target::Own(flags) => Self::start(flags),
            Target::Other { url, pid } => {
                if let Some(pid) = pid.filter(|pid| !process::exists(*pid)) {
                    return Err(Failure::Run(format!("--pid {pid}: there is no such process")));
                }
                let endpoint = Endpoint::parse(url)?;
                Ok(Self { name: endpoint.to_string(), endpoint, pid: *pid, admin: None, _child: None })
            }
        }
    }

    fn start(flags: &[OsString]) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Run(format!("cannot start a server: {error}"));
        let mut command = Command::new(env::current_exe().map_err(|error| failed(&error))?);
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEARTWIRE_")) {
            command.env_remove(name);
        }
        command.envs(ENVIRONMENT.map(|(name, value)| (format!("HEARTWIRE_{name}"), value))).env("RUST_LOG", "info");
        command
            .args(["bench", "server", &std::process::id().to_string(), "--"])
            .args(flags)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        // Ctrl-C in a terminal is for the load, which ends the server when it has measured it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = Running(command.spawn().map_err(|error| failed(&error))?);
        let log = child.0.stderr.take().ok_or_else(|| failed(&"it has no log"))?;
        let (clients, admin) = addresses(log)?;
        let endpoint = Endpoint::parse(&format!("ws://{clients}/ws"))?;
        let admin = admin.map(|address| admin_client::Server::at(format!("http://{address}")));
        let name = flags.join(OsStr::new(" ")).to_string_lossy().into_owned();
        Ok(Self { endpoint, name, pid: Some(child.0.id()), admin, _child: Some(child) })
    }
}

/// The process that [`Server::open`] starts: `serve` with these flags, which ends with the process that started it, however
/// that ends.
pub(super) fn serve(parent: u32, flags: Vec<OsString>) -> Result<ExitCode, Failure> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| Failure::Run(format!("signals: {error}")))?;
    // That may have been too late.
    if std::os::unix::process::parent_id() != parent {
        return Err(Failure::Run("nobody waits for this server any more".into()));
    }
    let arguments: Vec<_> = ["heartwire", "serve"].map(OsString::from).into_iter().chain(flags).collect();
    crate::cli::serve::run(&arguments)
}

/// Killed and reaped when it is dropped: what it would still have to say interests nobody.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It fails where the process has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a server listens that has just started, for clients and for operators, as the lines of its log say.
fn addresses(log: ChildStderr) -> Result<(String, Option<String>), Failure> {
    let (sender, lines) = sync_channel(64);
    thread::Builder::new()
        .name("server's log".into())
        // Its log is read to the end, or it would wait for a reader; from the start on nobody is interested in it.
        .spawn(move || BufReader::new(log).lines().map_while(Result::ok).for_each(|line| _ = sender.try_send(line)))
        .map_err(|error| Failure::Run(format!("a thread: {error}")))?;
    let (mut clients, mut admin, mut last) = (None, None, String::new());
    let patience = Instant::now() + START;
    loop {
        let line = match lines.recv_timeout(patience.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Err(Failure::Run("the server did not start within 30 s".into())),
            Err(RecvTimeoutError::Disconnected) => {
                // It ended, and its last line says why.
                let why = last.strip_prefix("error: ").unwrap_or(&last);
                return Err(Failure::Run(format!("the server does not start: {why}")));
            }
        };
        let address = |words: &str| {
            let first = line.split_once(words)?.1.split([' ', ',']).next()?;
            Some(first.trim_end_matches(':').to_owned())
        };
        clients = clients.or_else(|| address("listening on "));
        admin = admin.or_else(|| address("HTTP API on "));
        // It is said last but one.
        if let (true, Some(clients)) = (line.contains("authentication: "), &clients) {
            return Ok((clients.clone(), admin));
        }
        last = line;
    }
}
