//! As much of the binary as reads settings: its own source.

#[path = "../../../src/cli/file.rs"]
mod file;
#[path = "../../../src/cli/flags/mod.rs"]
mod flags;
#[path = "../../../src/cli/fuzzing.rs"]
pub(crate) mod fuzzing;
#[path = "../../../src/cli/gate.rs"]
mod gate;
#[path = "../../../src/cli/log.rs"]
mod log;
#[path = "../../../src/cli/outcome.rs"]
mod outcome;
#[path = "../../../src/cli/print_config.rs"]
mod print_config;
#[path = "../../../src/cli/settings.rs"]
mod settings;
#[path = "../../../src/cli/setup.rs"]
mod setup;
#[path = "../../../src/cli/token.rs"]
mod token;
#[path = "../../../src/cli/values.rs"]
mod values;

use outcome::{Failure, one_line, print, wrong_use};

fn command() -> clap::Command {
    let serve = clap::Command::new("serve").allow_negative_numbers(true);
    clap::Command::new("heartwire").subcommand(<flags::Flags as clap::Args>::augment_args(serve))
}
