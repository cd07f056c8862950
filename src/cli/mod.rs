//! The command line: one file per subcommand. It uses the crate's public interface only, and alone prints.

mod chat;
mod flags;
mod listen;
mod log;
mod peer;
mod serve;
mod values;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;

/// A WebSocket messaging and push server: one thread per connection, heartbeats as deadlines
#[derive(Parser)]
#[command(name = "heartwire", version, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves clients until SIGTERM or SIGINT
    #[command(after_long_help = NOTATION)]
    Serve(Box<flags::Flags>),

    /// Talks to accounts or in a room, from a terminal or through a pipe
    Chat(chat::Flags),

    /// Prints what arrives for an account, one line of JSON each
    Listen(listen::Flags),
}

/// What holds for all flags of `serve`.
const NOTATION: &str = "\
Times are written as 25s, 1m30s or 500ms, sizes as 65536, 64KiB or 1MiB.
Every flag is also an environment variable: --max-per-account is HEARTWIRE_MAX_PER_ACCOUNT.";

/// Why a command could not do its work; ends the process with one line on stderr.
#[derive(Debug)]
enum Failure {
    /// What it was told makes no sense: exit code 2.
    Usage(String),
    /// What it was told cannot be done here and now: exit code 1.
    Run(String),
}

/// Does what the command line says; the exit code is 0 for success, 1 for a failure and 2 for a wrong use.
pub(crate) fn main() -> ExitCode {
    let command = match parse(std::env::args_os()) {
        Ok(cli) => cli.command,
        Err(error) => return answer(&error),
    };
    let done = match command {
        Command::Serve(flags) => serve::run(*flags),
        Command::Chat(flags) => chat::run(flags),
        Command::Listen(flags) => listen::run(&flags),
    };
    match done {
        Ok(code) => code,
        Err(Failure::Run(message)) => fail(1, message),
        Err(Failure::Usage(message)) => fail(2, message),
    }
}

fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches_from(arguments)?)
}

/// The commands, with a help that leaves out what holds for every flag: that it has an environment variable, and that
/// the name of a choice lists its values.
fn command() -> clap::Command {
    let terse = |arg: clap::Arg| {
        let takes_value = arg.get_action().takes_values();
        arg.hide_env(true).hide_possible_values(takes_value)
    };
    let command = Cli::command().mut_subcommand("serve", |serve| serve.allow_negative_numbers(true));
    command.mut_subcommands(|subcommand| subcommand.mut_args(terse))
}

/// Help and version as clap prints them; a wrong use in one line.
fn answer(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody is left to tell when the help cannot be written.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        _ => fail(2, one_line(error)),
    }
}

/// The message of a wrong use, without the usage and the hints for help that clap puts under it.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let essential = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let parts: Vec<_> = essential.map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = parts.join(" ").replace(" tip: ", "; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[expect(clippy::print_stderr, reason = "the last word of a command, when there may be no log")]
fn fail(code: u8, message: impl Display) -> ExitCode {
    eprintln!("error: {}", log::OneLine(message));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests;
