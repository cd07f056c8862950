//! The door for a back end and an operator.

use super::addresses::resolve_all;
use super::{OFF, defaults};
use crate::cli::Failure;
use crate::cli::setup::AdminKeys;
use clap::Args;
use heartwire::Config;
use std::path::PathBuf;

/// The word that asks for no key.
const NONE: &str = "none";

/// Where keys are kept unless something else is said.
const KEY_FILE: &str = "heartwire-admin.keys";

#[derive(Args)]
#[command(next_help_heading = "Administration")]
pub(super) struct Administration {
    /// Where to listen for the HTTP API, or off; repeatable
    #[arg(long, env = "HEARTWIRE_ADMIN_LISTEN", value_name = "HOST:PORT|off", hide_short_help = true)]
    #[arg(value_delimiter = ',', default_value = "127.0.0.1:8081")]
    admin_listen: Vec<String>,

    /// The key to the HTTP API, or none
    ///
    /// None is the default while the server listens on loopback alone, and permitted while the HTTP API does. Better
    /// kept in a file than on a command line, which others may see.
    #[arg(long, env = "HEARTWIRE_ADMIN_KEY", value_name = "KEY|none", hide_short_help = true, hide_env_values = true)]
    #[arg(conflicts_with = "admin_key_file")]
    admin_key: Option<String>,

    #[arg(long, env = "HEARTWIRE_ADMIN_KEY_FILE", value_name = "FILE", hide_short_help = true)]
    #[arg(help = "The file of the keys to the HTTP API, in place of admin-key")]
    #[arg(long_help = format!("The file of the keys to the HTTP API, in place of admin-key\n\nIt is made where it is absent. \
        Beyond loopback it is the default, named {KEY_FILE}."))]
    admin_key_file: Option<PathBuf>,

    /// How many closed connections are remembered, for `heartwire why`
    ///
    /// Less than 8 MiB for 10,000 of them.
    #[arg(long, env = "HEARTWIRE_CLOSED_CONNECTIONS", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = defaults().closed_connections)]
    closed_connections: usize,
}

impl Administration {
    /// Says which keys are asked for, which depends on who can reach the server.
    pub(super) fn apply(self, config: &mut Config) -> Result<AdminKeys, Failure> {
        config.closed_connections = self.closed_connections;
        if self.admin_listen == [OFF] {
            config.admin.listen = Vec::new();
            return Ok(AdminKeys::None);
        }
        config.admin.listen = resolve_all("admin-listen", &self.admin_listen)?;
        let mut addresses = config.listen.iter().chain(&config.tcp_listen).chain(&config.admin.listen);
        let only_here = addresses.all(|address| address.ip().to_canonical().is_loopback());
        Ok(match (self.admin_key, self.admin_key_file) {
            (Some(word), _) if word == NONE => AdminKeys::None,
            (Some(secret), _) => AdminKeys::One(secret),
            (None, Some(file)) => AdminKeys::File(file),
            (None, None) if only_here => AdminKeys::None,
            (None, None) => AdminKeys::File(KEY_FILE.into()),
        })
    }
}
