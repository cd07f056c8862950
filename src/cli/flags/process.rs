//! How the process ends, and what it says.

use super::defaults;
use crate::cli::log::{FORMATS, Format};
use crate::cli::values::{Size, Time, one_of, word_for};
use clap::Args;
use heartwire::Config;
use std::path::PathBuf;

#[derive(Args)]
#[command(next_help_heading = "The process")]
pub(super) struct Process {
    /// A TOML file with these flags' names as keys
    ///
    /// As in: origin = ["https://a.example"]. Flags and environment variables come first.
    #[arg(long, env = "HEARTWIRE_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// How long a shutdown waits for queues to empty and clients to leave
    #[arg(long, env = "HEARTWIRE_DRAIN", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Time(defaults().drain))]
    drain: Time,

    /// How long a closing connection waits for its peer to read the Close frame
    #[arg(long, env = "HEARTWIRE_LINGER", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Time(defaults().linger))]
    linger: Time,

    /// The stack of each connection's thread, in bytes
    #[arg(long, env = "HEARTWIRE_STACK_BYTES", value_name = "SIZE", hide_short_help = true)]
    #[arg(default_value_t = Size(defaults().stack_bytes))]
    stack_bytes: Size,

    /// Format of the log
    ///
    /// RUST_LOG chooses which lines there are: info,heartwire::listener=debug.
    #[arg(long, env = "HEARTWIRE_LOG_FORMAT", value_name = "text|json")]
    #[arg(value_parser = one_of(FORMATS), default_value = word_for(FORMATS, &Format::Text))]
    pub(super) log_format: Format,
}

impl Process {
    pub(super) fn apply(self, config: &mut Config) {
        config.drain = self.drain.0;
        config.linger = self.linger.0;
        config.stack_bytes = self.stack_bytes.0;
    }
}
