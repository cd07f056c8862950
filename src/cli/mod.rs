//! The command line: one file per subcommand. It uses the crate's public interface only, and alone prints.

mod admin_client;
#[cfg(feature = "bench")]
mod bench;
mod chat;
mod check_config;
mod file;
mod flags;
#[cfg(any(heartwire_fuzzing, test))]
pub(crate) mod fuzzing;
mod gate;
mod listen;
mod log;
mod manual;
mod outcome;
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

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use outcome::{Failure, answer, fail, one_line, print, wrong_use};
use std::ffi::OsString;
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

    /// Loads a server, its own or a running one, and says how fast it is and what that costs
    ///
    /// Ctrl-C ends the measurement and prints what was measured so far; the exit code is 130 then.
    #[cfg(feature = "bench")]
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Bench(bench::Flags),

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
        #[cfg(feature = "bench")]
        Command::Bench(flags) => bench::run(flags),
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

#[cfg(test)]
mod tests;
