//! The server under attack: its process, its log, its peaks.

use crate::process::{Process, serve_command};
use crate::vitals::Vitals;
use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a watch looks.
const GLANCE: Duration = Duration::from_millis(50);

/// The binary as a process; what a [`Process`] can do, it can.
pub struct Scene {
    process: Process,
    pub address: SocketAddr,
}

impl Scene {
    /// Starts `serve` on free ports of loopback, without limits per address, with further flags.
    pub fn serve(flags: &[&str]) -> Self {
        Self::start(Self::command(flags))
    }

    /// The same with a log of everything.
    pub fn serve_and_log_all(flags: &[&str]) -> Self {
        let mut command = Self::command(flags);
        command.env("RUST_LOG", "trace");
        Self::start(command)
    }

    fn command(flags: &[&str]) -> Command {
        let mut command = serve_command(&["--max-per-address", "0", "--accepts-per-second", "0"]);
        command.args(flags);
        command
    }

    /// Starts it by a command that the row has made.
    pub fn start(command: Command) -> Self {
        let mut process = Process::start(command);
        let address = process.address();
        Self { process, address }
    }

    /// Follows the process until [`Watch::end`].
    pub fn watch(&self) -> Watch {
        Watch::begin(self.process.id())
    }

    /// Ends it as an operator does, which must succeed, and returns its whole log.
    pub fn stop(self) -> Vec<String> {
        self.process.stop()
    }
}

impl Deref for Scene {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A server's command, run by another one that takes it as its last arguments.
pub fn run_by(mut other: Command, command: &Command) -> Command {
    other.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    other
}

/// Follows what a process holds.
pub struct Watch {
    pid: u32,
    begun: Instant,
    before: Vitals,
    ended: Arc<AtomicBool>,
    peaks: JoinHandle<(usize, usize)>,
}

impl Watch {
    pub fn begin(pid: u32) -> Self {
        let (before, ended) = (Vitals::of(pid), Arc::new(AtomicBool::new(false)));
        let is_over = Arc::clone(&ended);
        let peaks = std::thread::spawn(move || {
            let (mut resident, mut threads) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                let now = Vitals::of(pid);
                (resident, threads) = (now.resident_bytes.max(resident), now.threads.max(threads));
                std::thread::sleep(GLANCE);
            }
            (resident, threads)
        });
        Self { pid, begun: Instant::now(), before, ended, peaks }
    }

    /// What happened since it began.
    pub fn end(self) -> Strain {
        self.ended.store(true, Ordering::Relaxed);
        let (resident, threads) = self.peaks.join().unwrap();
        let after = Vitals::of(self.pid);
        Strain {
            elapsed: self.begun.elapsed(),
            cpu: after.cpu - self.before.cpu,
            memory_bytes: resident.max(after.resident_bytes).saturating_sub(self.before.resident_bytes),
            threads: threads.max(after.threads).saturating_sub(self.before.threads),
        }
    }
}

/// What an attack cost the server: CPU time in all, memory and threads at the peak beyond those before.
#[derive(Clone, Copy, Debug)]
pub struct Strain {
    pub elapsed: Duration,
    pub cpu: Duration,
    pub memory_bytes: usize,
    pub threads: usize,
}

impl fmt::Display for Strain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpu, elapsed) = (self.cpu.as_secs_f64(), self.elapsed.as_secs_f64());
        let mib = self.memory_bytes as f64 / f64::from(1 << 20);
        write!(f, "CPU {cpu:.2} s of {elapsed:.1}, memory + {mib:.1} MiB, threads + {}", self.threads)
    }
}

/// How many threads of this process are in a handshake, or wait a moment for the next one.
pub fn handshake_threads(pid: u32) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "hw-handshake").count()
}
