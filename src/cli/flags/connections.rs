//! How many connections there may be.

use super::defaults;
use crate::cli::values::{Limit, Words, one_of, word_for};
use clap::Args;
use heartwire::Config;
use heartwire::config::{SingleBy, SingleConnection};

const SINGLE: Words<SingleConnection> =
    &[("allow", SingleConnection::Allow), ("replace", SingleConnection::Replace), ("refuse", SingleConnection::Refuse)];

const SINGLE_BY: Words<SingleBy> = &[("account", SingleBy::Account), ("device", SingleBy::Device)];

#[derive(Args)]
#[command(next_help_heading = "Connections (0 turns a limit off)")]
pub(super) struct Connections {
    /// Connections at once
    ///
    /// Those in their handshake included. What the machine bears may be less, and is all that counts with 0.
    #[arg(long, env = "HEARTWIRE_MAX_CONNECTIONS", value_name = "N")]
    #[arg(default_value_t = Limit(defaults().max_connections))]
    max_connections: Limit<usize>,

    /// Connections of one account
    #[arg(long, env = "HEARTWIRE_MAX_PER_ACCOUNT", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = Limit(defaults().max_per_account))]
    max_per_account: Limit<usize>,

    /// Connections of one client address
    #[arg(long, env = "HEARTWIRE_MAX_PER_ADDRESS", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = Limit(defaults().max_per_address))]
    max_per_address: Limit<usize>,

    /// What a second connection of an account means
    ///
    /// Both stay, the newer replaces the older, or the newer is refused.
    #[arg(long, env = "HEARTWIRE_SINGLE", value_name = "allow|replace|refuse", hide_short_help = true)]
    #[arg(value_parser = one_of(SINGLE), default_value = word_for(SINGLE, &defaults().single))]
    single: SingleConnection,

    /// Whether a single connection is that of an account, or of a device of an account
    #[arg(long, env = "HEARTWIRE_SINGLE_BY", value_name = "account|device", hide_short_help = true)]
    #[arg(value_parser = one_of(SINGLE_BY), default_value = word_for(SINGLE_BY, &defaults().single_by))]
    single_by: SingleBy,

    /// Connections accepted a second, on each address
    #[arg(long, env = "HEARTWIRE_ACCEPTS_PER_SECOND", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = Limit(defaults().accepts_per_second))]
    accepts_per_second: Limit<u32>,
}

impl Connections {
    pub(super) fn apply(self, config: &mut Config) {
        config.max_connections = self.max_connections.0;
        config.max_per_account = self.max_per_account.0;
        config.max_per_address = self.max_per_address.0;
        config.single = self.single;
        config.single_by = self.single_by;
        config.accepts_per_second = self.accepts_per_second.0;
    }
}
