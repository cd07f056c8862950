//! One check of the whole configuration.

use super::{Config, ConfigError, Protocol, ProxyProtocol};
use crate::protocol::message::HeartbeatTimes;
use std::time::Duration;

/// The smallest stack on which the deepest permitted message was seen to be parsed with room to spare.
const MIN_STACK_BYTES: usize = 128 << 10;
const MAX_STACK_BYTES: usize = 1 << 30;
/// Their places are made at the start.
const MAX_CLOSED_CONNECTIONS: usize = 1_000_000;
/// Longer than any time is meant to be, and short enough to be added to any instant.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl Config {
    /// Checks every value and every pair of values; [`Server::bind`](crate::Server::bind) does so by itself.
    ///
    /// # Errors
    /// The first thing that is wrong, named as the command line names it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_times()?;
        self.validate_counts()?;
        self.validate_names()?;
        let fail = |message: String| Err(ConfigError(message));
        if self.listen.is_empty() {
            return fail("listen: at least one address is needed".into());
        }
        if self.protocol == Protocol::Raw && !self.tcp_listen.is_empty() {
            return fail("tcp-listen: raw TCP speaks the native protocol only".into());
        }
        if !(MIN_STACK_BYTES..=MAX_STACK_BYTES).contains(&self.stack_bytes) {
            return fail(format!(
                "stack-bytes must be {MIN_STACK_BYTES} to {MAX_STACK_BYTES}, not {}",
                self.stack_bytes
            ));
        }
        if self.max_message_bytes > u32::MAX as usize {
            return fail("max-message-bytes: at most 4 GiB".into());
        }
        if self.queue_total_bytes < self.queue_bytes {
            return fail("queue-total-bytes must not be less than queue-bytes".into());
        }
        if self.proxy_protocol == ProxyProtocol::V2 && self.trusted_proxies.is_empty() {
            return fail("proxy-protocol v2 needs at least one trusted-proxy".into());
        }
        #[cfg(feature = "admin")]
        self.admin.validate()?;
        Ok(())
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        let HeartbeatTimes { interval, timeout } = self.heartbeat.times();
        let (least, most) = (*self.heartbeat.negotiable.start(), *self.heartbeat.negotiable.end());
        let positive = [
            ("handshake-deadline", Some(self.handshake_deadline)),
            ("tcp-first-byte", self.tcp_first_byte),
            ("assembly-deadline", Some(self.assembly_deadline)),
            ("max-lifetime", self.max_lifetime),
            ("write-deadline", Some(self.write_deadline)),
            ("linger", Some(self.linger)),
            ("heartbeat-interval", Some(interval)),
            ("heartbeat-timeout", Some(timeout)),
            ("idle.reader", self.idle.reader),
            ("idle.writer", self.idle.writer),
            ("idle.all", self.idle.all),
        ];
        let others = [
            ("drain", self.drain),
            ("reconnect_spread", self.reconnect_spread),
            ("negotiable-timeout", most),
            ("offline-grace", self.offline_grace),
        ];
        let positive = positive.into_iter().filter_map(|(name, time)| Some((name, time?)));
        if let Some((name, _)) = positive.clone().find(|(_, time)| time.is_zero()) {
            return Err(ConfigError(format!("{name} must not be zero")));
        }
        if let Some((name, _)) = positive.chain(others).find(|(_, time)| *time > LONGEST) {
            return Err(ConfigError(format!("{name} must not be longer than a year")));
        }
        if interval >= timeout {
            let text = format!("heartbeat-interval ({interval:?}) must be less than heartbeat-timeout ({timeout:?})");
            return Err(ConfigError(text));
        }
        if least < Duration::from_millis(1) || least > most {
            let text = format!("negotiable-timeout {least:?}..{most:?} is not a range of times from 1 ms up");
            return Err(ConfigError(text));
        }
        Ok(())
    }

    fn validate_counts(&self) -> Result<(), ConfigError> {
        let wide = |count: Option<u32>| count.map(|n| n as usize);
        let (message, control, failures) = (self.message_rate, self.control_rate, self.auth_failures);
        let counts = [
            ("max-connections", self.max_connections),
            ("max-per-account", self.max_per_account),
            ("max-per-address", self.max_per_address),
            ("accepts-per-second", wide(self.accepts_per_second)),
            ("max-message-bytes", Some(self.max_message_bytes)),
            ("max-fragments", wide(self.max_fragments)),
            ("rate", wide(message.map(|rate| rate.per_second))),
            ("burst", wide(message.map(|rate| rate.burst))),
            ("control-rate", wide(control.map(|rate| rate.per_second))),
            ("control-burst", wide(control.map(|rate| rate.burst))),
            ("auth-failures", wide(failures.map(|rate| rate.per_second))),
            ("auth-failures-burst", wide(failures.map(|rate| rate.burst))),
            ("deliveries-per-second", wide(self.deliveries_per_second)),
            ("delivered-bytes-per-second", wide(self.delivered_bytes_per_second)),
            ("queue-bytes", Some(self.queue_bytes)),
            ("queue-messages", Some(self.queue_messages)),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
            return Err(ConfigError(format!("{name} must not be zero")));
        }
        match self.closed_connections > MAX_CLOSED_CONNECTIONS {
            true => Err(ConfigError(format!("closed-connections is at most {MAX_CLOSED_CONNECTIONS}"))),
            false => Ok(()),
        }
    }

    fn validate_names(&self) -> Result<(), ConfigError> {
        let ginchat_path = self.ginchat_path.as_ref().filter(|_| self.protocol == Protocol::Native);
        for (name, path) in [("path", Some(&self.path)), ("ginchat-path", ginchat_path)] {
            let Some(path) = path else { continue };
            if !path.starts_with('/') || path.bytes().any(|b| !b.is_ascii_graphic() || b"?#".contains(&b)) {
                return Err(ConfigError(format!("{name} {path:?} must begin with / and hold neither ? nor #")));
            }
            if self.page && path == "/" {
                return Err(ConfigError(
                    "the page lives at /: give the endpoint another path, or turn the page off".into(),
                ));
            }
        }
        if ginchat_path == Some(&self.path) {
            return Err(ConfigError(format!("path and ginchat-path are both {:?}", self.path)));
        }
        for origin in &self.origins {
            crate::http::Origin::parse(origin)
                .ok_or_else(|| ConfigError(format!("origin {origin:?} is not of the form scheme://host[:port]")))?;
        }
        match self.hosts.iter().find(|host| host.is_empty() || host.contains([':', '/', ' '])) {
            Some(host) => Err(ConfigError(format!("host {host:?} must be a bare name, without scheme or port"))),
            None => Ok(()),
        }
    }
}
