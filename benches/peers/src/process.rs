//! Programs that end when this one does, however it does.

use rustix::process::{Signal, set_parent_process_death_signal};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitCode, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Under this first argument the program is to become another one.
const BECOME: &str = "--become";
const GLANCE: Duration = Duration::from_millis(20);

/// The program and its arguments, where that is what this process was started for.
pub(crate) fn to_become() -> Option<Vec<OsString>> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == BECOME).then(|| arguments.collect())
}

/// Asks the kernel to be killed when its parent ends, which holds for the program that it then becomes.
pub(crate) fn become_this(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else { return ExitCode::FAILURE };
    let error = match set_parent_process_death_signal(Some(Signal::KILL)) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error.into(),
    };
    eprintln!("{}: {error}", program.display());
    ExitCode::FAILURE
}

/// A process that is killed when it is dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Its standard output and its standard error are kept for whoever asks.
    pub(crate) fn start(program: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(BECOME).arg(program).args(arguments);
        // Neither a server's settings nor its log are to be what somebody happens to have in the environment.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HEARTWIRE_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn stderr(&mut self) -> io::Result<ChildStderr> {
        self.0.stderr.take().ok_or_else(|| io::Error::other("asked for twice"))
    }

    pub(crate) fn has_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// What a program prints that prints little, and ends well before its patience is over.
    ///
    /// # Errors
    /// When it does not, or fails; then it says what it wrote to its standard error.
    pub(crate) fn output(mut self, patience: Duration) -> io::Result<String> {
        let deadline = Instant::now() + patience;
        let status = loop {
            match self.0.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > deadline => return Err(io::Error::other("the load did not end")),
                None => sleep(GLANCE),
            }
        };
        let (mut printed, mut complaint) = (String::new(), String::new());
        self.0.stdout.take().map(|mut pipe| pipe.read_to_string(&mut printed)).transpose()?;
        self.0.stderr.take().map(|mut pipe| pipe.read_to_string(&mut complaint)).transpose()?;
        if status.success() {
            Ok(printed)
        } else {
            Err(io::Error::other(format!("the load ended with {status}: {}", complaint.trim())))
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails where the process has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
