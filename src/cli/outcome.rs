//! How a command ends: what it prints, and why it could not do its work.

use super::log::OneLine;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command could not do its work; ends the process with one line on stderr.
#[derive(Debug)]
pub(super) enum Failure {
    /// What it was told makes no sense: exit code 2.
    Usage(String),
    /// What it was told cannot be done here and now: exit code 1.
    Run(String),
}

/// Help and version as clap prints them; a wrong use in one line.
pub(super) fn answer(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody is left to tell when the help cannot be written.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        _ => fail(2, wrong_use(error, arguments)),
    }
}

/// The message of a wrong use, behind the environment's variable where the command line has nothing to do with it.
pub(super) fn wrong_use(error: &clap::Error, arguments: &[OsString]) -> String {
    let flags = [ContextKind::InvalidArg, ContextKind::PriorArg].into_iter().filter_map(|kind| match error.get(kind) {
        Some(ContextValue::String(flag)) => flag.split([' ', '[', '=']).next(),
        _ => None,
    });
    let mut variables = flags.filter(|flag| !is_given(flag, arguments)).filter_map(|flag| {
        let name = format!("HEARTWIRE_{}", flag.strip_prefix("--")?.replace('-', "_").to_uppercase());
        std::env::var_os(&name).map(|_| name)
    });
    let line = one_line(error);
    variables.next().map(|name| format!("{name}: {line}")).unwrap_or(line)
}

fn is_given(flag: &str, arguments: &[OsString]) -> bool {
    let rest = |argument: &OsString| argument.to_str()?.strip_prefix(flag).map(str::to_owned);
    arguments.iter().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with('='))
}

/// The message of a wrong use, without the usage and the hints for help that clap puts under it.
pub(super) fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let essential = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let parts: Vec<_> = essential.map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = parts.join(" ").replace(" tip: ", "; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// Writes what was asked for to stdout.
pub(super) fn print(text: &[u8]) -> Result<ExitCode, Failure> {
    match io::stdout().write_all(text) {
        // Whoever read it, `head` for example, has had enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Run(format!("the output: {error}"))),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a command, when there may be no log")]
pub(super) fn fail(code: u8, message: impl Display) -> ExitCode {
    eprintln!("error: {}", OneLine(message));
    ExitCode::from(code)
}
