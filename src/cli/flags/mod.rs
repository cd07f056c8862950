//! The flags of `heartwire serve`, one file a group, and what they say together. Defaults are those of `Config`.

#![expect(clippy::doc_markdown, reason = "the comments of flags are shown as plain text")]

mod access;
mod addresses;
mod administration;
mod authentication;
mod connections;
mod heartbeats;
mod messages;
mod presence;
mod process;

use super::Failure;
use super::log::Format;
use super::setup::Setup;
use clap::Args;
use heartwire::Config;
use heartwire::config::Rate;
use std::path::Path;

/// All flags, in the groups under which the help shows them.
#[derive(Args)]
pub(super) struct Flags {
    #[command(flatten)]
    access: access::Access,
    #[command(flatten)]
    authentication: authentication::Authentication,
    #[command(flatten)]
    administration: administration::Administration,
    #[command(flatten)]
    presence: presence::Presence,
    #[command(flatten)]
    heartbeats: heartbeats::Heartbeats,
    #[command(flatten)]
    connections: connections::Connections,
    #[command(flatten)]
    messages: messages::Messages,
    #[command(flatten)]
    queues: messages::Queues,
    #[command(flatten)]
    process: process::Process,
}

impl Flags {
    /// The file that holds the settings that are not given elsewhere.
    pub(super) fn config_file(&self) -> Option<&Path> {
        self.process.config.as_deref()
    }

    /// The format of the log, needed before anything can be logged.
    pub(super) fn log_format(&self) -> Format {
        self.process.log_format
    }

    /// What the flags describe, with names resolved to addresses.
    pub(super) fn into_setup(self) -> Result<Setup, Failure> {
        let mut config = Config::default();
        self.access.apply(&mut config)?;
        let authentication = self.authentication.apply(&mut config)?;
        let admin_keys = self.administration.apply(&mut config)?;
        let webhook = self.presence.apply(&mut config)?;
        self.heartbeats.apply(&mut config);
        self.connections.apply(&mut config);
        self.messages.apply(&mut config);
        self.queues.apply(&mut config);
        self.process.apply(&mut config);
        Ok(Setup { config, authentication, admin_keys, webhook })
    }
}

/// The word that turns off what has no limit to turn off.
const OFF: &str = "off";

fn defaults() -> Config {
    Config::default()
}

/// A default rate as its two flags.
fn rate_of(rate: impl FnOnce(Config) -> Option<Rate>) -> Rate {
    rate(defaults()).unwrap_or(Rate { per_second: 0, burst: 1 })
}
