//! The binary as a process: its command, its log, and its end.

use crate::support::eventually;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The command with these arguments, and nothing of the environment that could mean something to it. There is no admin
/// listener unless a flag asks for one: several servers at once would want the same port.
pub fn heartwire(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartwire"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEARTWIRE_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.env("HEARTWIRE_ADMIN_LISTEN", "off");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `serve` on a free port, with further arguments.
pub fn serve_command(arguments: &[&str]) -> Command {
    let mut command = heartwire(&["serve", "--listen", "127.0.0.1:0"]);
    command.args(arguments);
    command
}

/// A server process and its log.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let for_reader = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            stderr.split(b'\n').for_each(|line| {
                let line = String::from_utf8(line.unwrap()).expect("the log is UTF-8");
                for_reader.lock().unwrap().push(line);
            });
        });
        Self { child, log, reader: Some(reader) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The first line of the log that holds this text; waits for it.
    pub fn line(&mut self, essence: &str) -> String {
        let mut found = None;
        eventually(essence, || {
            found = self.log().into_iter().find(|line| line.contains(essence));
            assert!(found.is_some() || self.is_running(), "it ended: {:?}", self.log());
            found.is_some()
        });
        found.unwrap()
    }

    /// Where it listens for HTTP, as the log says.
    pub fn address(&mut self) -> SocketAddr {
        self.address_behind("listening on ")
    }

    /// Where it listens for raw TCP, as the log says.
    pub fn tcp_address(&mut self) -> SocketAddr {
        self.address_behind("raw TCP on ")
    }

    /// Where it listens for a back end, as the log says.
    pub fn admin_address(&mut self) -> SocketAddr {
        self.address_behind("HTTP API on ")
    }

    fn address_behind(&mut self, words: &str) -> SocketAddr {
        let line = self.line(words);
        let (_, address) = line.split_once(words).unwrap();
        address.split(": ").next().unwrap().parse().expect(&line)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the process and of its log.
    pub fn end(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.reader.take().unwrap().join().unwrap();
        status.unwrap()
    }

    /// Ends it as an operator does, and returns its whole log.
    pub fn stop(mut self) -> Vec<String> {
        self.signal(Signal::TERM);
        assert_eq!(self.end().code(), Some(0), "{:?}", self.log());
        self.log()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails where the process has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
