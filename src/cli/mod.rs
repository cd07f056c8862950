//! The command line: one file per subcommand. It uses the crate's public interface only, and alone prints.

mod admin_client;
mod chat;
mod check_config;
mod file;
mod flags;
mod gate;
mod listen;
mod log;
mod manual;
mod peer;
mod print_config;
mod push;
mod reload;
mod serve;
mod settings;
mod setup;
mod times;
mod token;
mod top;
mod values;
mod why;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
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

    /// Says whether serve would start with the same settings
    #[command(after_long_help = NOTATION)]
    CheckConfig(Box<flags::Flags>),

    /// Prints all settings of serve and where they come from, as a file for --config
    #[command(after_long_help = NOTATION)]
    PrintConfig(Box<flags::Flags>),

    /// Talks to accounts or in a room, from a terminal or through a pipe
    Chat(chat::Flags),

    /// Prints what arrives for an account, one line of JSON each
    Listen(listen::Flags),

    /// Pushes a message through a running server, to accounts, to rooms or to everybody
    ///
    /// The exit code is 1 also where it reached nobody.
    Push(push::Flags),

    /// Says in plain words why connections ended or were refused, and what to do about it
    ///
    /// The exit code is 1 where nothing is known.
    Why(why::Flags),

    /// Shows the busiest or slowest connections of a running server, live
    ///
    /// Where its output is no terminal, it prints the table once. The keys are b, s and o for the order, / to search,
    /// arrows and Enter for one connection, p to pause, ? for help and q to quit.
    Top(top::Flags),

    /// Makes a token for an account
    Token(token::Flags),

    /// Prints a script that completes these commands in a shell
    Completions(manual::Completions),

    /// Prints the manual, as a page for man
    Man,
}

/// The subcommands that take the flags of `serve`.
const SERVING: [&str; 3] = ["serve", "check-config", "print-config"];

/// What holds for all flags of `serve`.
const NOTATION: &str = "\
Times are written as 25s, 1m30s or 500ms, sizes as 65536, 64KiB or 1MiB.
Every flag is also an environment variable and a key of the file: --max-per-account is HEARTWIRE_MAX_PER_ACCOUNT and
max-per-account. A flag comes before the environment, the environment before the file.";

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
    let arguments: Vec<_> = std::env::args_os().collect();
    let command = match parse(&arguments) {
        Ok(cli) => cli.command,
        Err(error) => return answer(&error, &arguments),
    };
    let done = match command {
        // Their flags are read once more, together with the file that they name.
        Command::Serve(_) => serve::run(&arguments),
        Command::CheckConfig(_) => check_config::run(&arguments),
        Command::PrintConfig(_) => print_config::run(&arguments),
        Command::Chat(flags) => chat::run(flags),
        Command::Listen(flags) => listen::run(&flags),
        Command::Push(flags) => push::run(&flags),
        Command::Why(flags) => why::run(&flags),
        Command::Top(flags) => top::run(flags),
        Command::Token(flags) => token::run(&flags),
        Command::Completions(flags) => manual::completions(&flags),
        Command::Man => manual::man(),
    };
    match done {
        Ok(code) => code,
        Err(Failure::Run(message)) => fail(1, message),
        Err(Failure::Usage(message)) => fail(2, message),
    }
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches_from(arguments)?)
}

/// The commands, with a help that leaves out what holds for every flag: that it has an environment variable, and that
/// the name of a choice lists its values.
fn command() -> clap::Command {
    let terse = |arg: clap::Arg| {
        let takes_value = arg.get_action().takes_values();
        arg.hide_env(true).hide_possible_values(takes_value)
    };
    Cli::command().mut_subcommands(|subcommand| {
        let serves = SERVING.contains(&subcommand.get_name());
        subcommand.allow_negative_numbers(serves).mut_args(terse)
    })
}

/// Help and version as clap prints them; a wrong use in one line.
fn answer(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
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
fn wrong_use(error: &clap::Error, arguments: &[OsString]) -> String {
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
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let essential = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let parts: Vec<_> = essential.map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = parts.join(" ").replace(" tip: ", "; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// Writes what was asked for to stdout.
fn print(text: &[u8]) -> Result<ExitCode, Failure> {
    match io::stdout().write_all(text) {
        // Whoever read it, `head` for example, has had enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Run(format!("the output: {error}"))),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a command, when there may be no log")]
fn fail(code: u8, message: impl Display) -> ExitCode {
    eprintln!("error: {}", log::OneLine(message));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests;
