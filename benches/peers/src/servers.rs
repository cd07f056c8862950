//! The servers that are compared.

use crate::process::Running;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

/// Nothing that would slow or refuse a load: the other server has no such limits either.
const SERVE: &[&str] = &[
    "serve",
    "--listen=127.0.0.1:0",
    "--max-per-address=0",
    "--max-connections=0",
    "--rate=0",
    "--control-rate=0",
    "--deliveries-per-second=0",
    "--delivered-bytes-per-second=0",
    "--accepts-per-second=0",
    "--admin-listen=off",
];

/// How to start a server.
pub(crate) struct Server {
    /// How the tables call it.
    pub(crate) name: String,
    program: PathBuf,
    arguments: Vec<String>,
    is_variant: bool,
}

/// A server that has said where it listens.
pub(crate) struct Started {
    pub(crate) process: Running,
    pub(crate) address: String,
    /// The last line of its log, once it has ended.
    last_words: JoinHandle<String>,
}

impl Started {
    /// Checks that it still serves.
    ///
    /// # Errors
    /// How it ended, and what it said.
    pub(crate) fn check(mut self) -> io::Result<()> {
        let Some(status) = self.process.has_ended()? else { return Ok(()) };
        let last_words = self.last_words.join().unwrap_or_default();
        Err(io::Error::other(format!("the server has ended with {status}: {last_words}")))
    }
}

impl Server {
    pub(crate) fn peer(program: PathBuf) -> Self {
        Self { name: "tokio-tungstenite".into(), program, arguments: vec!["127.0.0.1:0".into()], is_variant: false }
    }

    /// With these flags of `serve` besides.
    pub(crate) fn heartwire(program: &Path, flags: String) -> Self {
        let arguments = SERVE.iter().copied().chain(flags.split_whitespace()).map(String::from).collect();
        let name = if flags.is_empty() { "heartwire".into() } else { format!("heartwire {flags}") };
        Self { name, program: program.into(), arguments, is_variant: !flags.is_empty() }
    }

    /// Whether it is one that a binary need not know.
    pub(crate) fn is_variant(&self) -> bool {
        self.is_variant
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// What it says when it does not.
    pub(crate) fn start(&self) -> io::Result<Started> {
        let mut process = Running::start(&self.program, &self.arguments)?;
        let mut lines = BufReader::new(process.stderr()?).lines();
        let mut said = Vec::new();
        for line in lines.by_ref() {
            let line = line?;
            if let Some((_, behind)) = line.split_once("listening on ") {
                let address = behind.split_whitespace().next().unwrap_or_default().trim_end_matches(':').to_owned();
                // What else it says is read, or it would have to wait for a reader.
                let last_words = thread::spawn(move || lines.map_while(Result::ok).last().unwrap_or_default());
                return Ok(Started { process, address, last_words });
            }
            said.push(line);
        }
        Err(io::Error::other(format!("it does not listen, and says: {}", said.join("; "))))
    }
}
