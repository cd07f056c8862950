//! Where to listen, and which clients may come.

use super::addresses::resolve_all;
use super::{OFF, defaults};
use crate::cli::Failure;
use crate::cli::values::{SWITCH, Words, one_of, switch, word_for};
use clap::{ArgAction, Args};
use heartwire::Config;
use heartwire::config::{Network, ProxyProtocol};

const PROXY_PROTOCOL: Words<ProxyProtocol> = &[("off", ProxyProtocol::Off), ("v2", ProxyProtocol::V2)];

#[derive(Args)]
#[command(next_help_heading = "Who may connect, and where")]
pub(super) struct Access {
    /// Where to listen
    ///
    /// IPv6 addresses are written in brackets; of a name's addresses the first IPv4 one is taken, else the first. Port
    /// 0 takes a free one. Repeatable, as the flags below that say so: by giving the flag again or by commas.
    #[arg(long, env = "HEARTWIRE_LISTEN", value_name = "HOST:PORT", value_delimiter = ',')]
    #[arg(default_values_t = defaults().listen.iter().map(ToString::to_string))]
    listen: Vec<String>,

    /// Where to listen for raw TCP: the same protocol, one JSON object a line; repeatable
    ///
    /// Customary is port 7373. Off unless given.
    #[arg(long, env = "HEARTWIRE_TCP_LISTEN", value_name = "HOST:PORT", hide_short_help = true)]
    #[arg(value_delimiter = ',')]
    tcp_listen: Vec<String>,

    /// The path for clients of the ginchat dialect, or off
    #[arg(long, env = "HEARTWIRE_GINCHAT_PATH", value_name = "PATH|off", hide_short_help = true)]
    #[arg(default_value_t = defaults().ginchat_path.unwrap_or(OFF.into()))]
    ginchat_path: String,

    /// Serve a test page at /
    ///
    /// And the client for browsers at /heartwire.js.
    #[arg(long, env = "HEARTWIRE_PAGE", value_name = "on|off", ignore_case = true)]
    #[arg(action = ArgAction::Set, value_parser = switch(), default_value = word_for(SWITCH, &true))]
    page: bool,

    /// Serve anybody beyond loopback
    ///
    /// Without authentication a server that others can reach does not start unless this says so.
    #[arg(long, env = "HEARTWIRE_ALLOW_ANONYMOUS", value_name = "on|off", ignore_case = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = word_for(SWITCH, &true))]
    #[arg(action = ArgAction::Set, value_parser = switch())]
    #[arg(default_value = word_for(SWITCH, &defaults().allow_anonymous))]
    allow_anonymous: bool,

    /// Origins that may connect [default: that of Host]
    ///
    /// Written as scheme://host[:port]; repeatable. A request without Origin is not a browser's and always passes.
    #[arg(long, env = "HEARTWIRE_ORIGIN", value_name = "ORIGIN", hide_short_help = true, value_delimiter = ',')]
    origin: Vec<String>,

    /// Names that Host may carry besides localhost and addresses; repeatable
    #[arg(long, env = "HEARTWIRE_HOST", value_name = "NAME", hide_short_help = true, value_delimiter = ',')]
    host: Vec<String>,

    /// Addresses or CIDR ranges of proxies to be believed; repeatable
    ///
    /// They name the client's address in X-Forwarded-For or by the PROXY protocol, and limits per address do not
    /// apply to themselves.
    #[arg(long, env = "HEARTWIRE_TRUSTED_PROXY", value_name = "ADDRESS", hide_short_help = true)]
    #[arg(value_delimiter = ',')]
    trusted_proxy: Vec<Network>,

    /// Whether trusted proxies begin with a header of the PROXY protocol
    #[arg(long, env = "HEARTWIRE_PROXY_PROTOCOL", value_name = "off|v2", hide_short_help = true)]
    #[arg(value_parser = one_of(PROXY_PROTOCOL), default_value = word_for(PROXY_PROTOCOL, &defaults().proxy_protocol))]
    proxy_protocol: ProxyProtocol,
}

impl Access {
    pub(super) fn apply(self, config: &mut Config) -> Result<(), Failure> {
        config.listen = resolve_all("listen", &self.listen)?;
        config.tcp_listen = resolve_all("tcp-listen", &self.tcp_listen)?;
        config.ginchat_path = Some(self.ginchat_path).filter(|path| path != OFF);
        config.page = self.page;
        config.allow_anonymous = self.allow_anonymous;
        config.origins = self.origin;
        config.hosts = self.host;
        config.trusted_proxies = self.trusted_proxy;
        config.proxy_protocol = self.proxy_protocol;
        Ok(())
    }
}
