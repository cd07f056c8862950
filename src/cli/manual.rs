//! `heartwire completions` and `heartwire man`: what shells and manuals know about the commands, from the table that the
//! help is made from.

use super::values::{Words, one_of};
use super::{Failure, command, print};
use clap::{Args, Command};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use std::io;
use std::process::ExitCode;

const SHELLS: Words<Shell> = &[("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

/// The arguments of `heartwire completions`.
#[derive(Args)]
pub(super) struct Completions {
    /// For which shell
    #[arg(value_name = "bash|zsh|fish", value_parser = one_of(SHELLS))]
    shell: Shell,
}

/// Prints a script for a shell.
pub(super) fn completions(flags: &Completions) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    generate(flags.shell, &mut command(), "heartwire", &mut script);
    print(&script)
}

/// Prints the manual page of the command, and behind it one for each subcommand, theirs included.
pub(super) fn man() -> Result<ExitCode, Failure> {
    let mut all = command().disable_help_subcommand(true);
    all.build();
    let mut pages = Vec::new();
    render(&all, &mut pages).map_err(|error| Failure::Run(format!("the manual: {error}")))?;
    print(&pages)
}

fn render(command: &Command, pages: &mut Vec<u8>) -> io::Result<()> {
    Man::new(command.clone()).render(pages)?;
    command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).try_for_each(|page| render(page, pages))
}
