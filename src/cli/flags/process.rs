//! How the process ends, and what it says.

use super::defaults;
use crate::cli::log::{FORMATS, Format};
use crate::cli::values::{Size, Time, Words, one_of, word_for};
use clap::Args;
use heartwire::Config;
use heartwire::config::{RouterWork, Scheduling};
use std::path::PathBuf;

const ROUTER: Words<RouterWork> = &[("dedicated", RouterWork::Dedicated), ("helped", RouterWork::Helped)];

const SCHEDULING: Words<Scheduling> = &[("normal", Scheduling::Normal), ("batch", Scheduling::Batch)];

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

    /// Whose threads do the router's work
    ///
    /// Its own, or also that of a connection whose message is for few, where the router has nothing else to do.
    #[arg(long, env = "HEARTWIRE_ROUTER", value_name = "dedicated|helped", hide_short_help = true)]
    #[arg(value_parser = one_of(ROUTER), default_value = word_for(ROUTER, &defaults().router))]
    router: RouterWork,

    /// How the kernel chooses among the threads of connections
    ///
    /// With batch, a thread that is woken waits for the one that woke it: a message costs less, and may take longer.
    #[arg(long, env = "HEARTWIRE_SCHEDULING", value_name = "normal|batch", hide_short_help = true)]
    #[arg(value_parser = one_of(SCHEDULING), default_value = word_for(SCHEDULING, &defaults().scheduling))]
    scheduling: Scheduling,

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
        config.router = self.router;
        config.scheduling = self.scheduling;
    }
}
