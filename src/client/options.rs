//! How a client behaves, and where it connects to.

use super::adaptive::{Adaptive, AdaptiveOptions};
use super::schedule::Backoff;
use crate::config::LONGEST;
use crate::duplex;
use crate::protocol::message::Account;
use std::fmt::{self, Write};
use std::time::Duration;

/// How a [`Client`](super::Client) behaves. Deadlines and timeouts of more than a year count as a year. The
/// `Debug` text leaves out the token.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// What proves who the client is, sent as `Authorization: Bearer`. Default none.
    pub token: Option<String>,
    /// A free label for this connection, at most 64 bytes. Default empty.
    pub device: String,
    /// How long an attempt to connect may take, the lookup of a name and registration included. Default 10 s.
    pub open_deadline: Duration,
    /// How long to wait for the server's answer to what was sent. Default 10 s.
    pub ack_timeout: Duration,
    /// How long to wait for the answer to a heartbeat before the connection counts as dead. Default 10 s.
    pub beat_timeout: Duration,
    /// When to send heartbeats. Default: every 25 s. `Adaptive::new(AdaptiveOptions::default())` finds longer intervals
    /// by itself.
    pub heartbeat: Adaptive,
    /// How to come back.
    pub backoff: Backoff,
    /// How many events may wait for the program; while there are as many, nothing is read. At least 1. Default 1,024.
    pub events: usize,
    /// The largest frame from the server. Default 1 MiB; beyond it, the connection ends with 1009 for good.
    pub max_message_bytes: usize,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("device", &self.device)
            .field("open_deadline", &self.open_deadline)
            .field("heartbeat", &self.heartbeat)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        let every_25_s =
            AdaptiveOptions { floor: Duration::from_secs(25), step: Duration::ZERO, ..AdaptiveOptions::default() };
        let socket = duplex::Options::default();
        Self {
            token: None,
            device: String::new(),
            open_deadline: socket.open_deadline,
            ack_timeout: Duration::from_secs(10),
            beat_timeout: Duration::from_secs(10),
            heartbeat: Adaptive::new(every_25_s),
            backoff: Backoff::default(),
            events: 1_024,
            max_message_bytes: socket.max_message_bytes,
        }
    }
}

impl Options {
    /// The options of the connection below. Its own clocks are off: the beats and their answers tell whether the server
    /// lives, and pings besides would keep alive the path whose patience the beats measure.
    pub(super) fn socket(&self, token: Option<&str>) -> duplex::Options {
        let mut socket = duplex::Options {
            open_deadline: self.open_deadline,
            max_message_bytes: self.max_message_bytes,
            subprotocols: vec!["heartwire.v1".into()],
            headers: token.iter().map(|token| ("Authorization".into(), format!("Bearer {token}"))).collect(),
            ..duplex::Options::default()
        };
        (socket.heartbeat.interval, socket.heartbeat.timeout) = (Some(LONGEST / 2), Some(LONGEST));
        socket
    }
}

/// The address with everything that its query says.
pub(super) fn address(url: &str, account: &Account, device: &str, promise: Duration) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    let mut address = format!("{url}{separator}user_id={}", escape(account.as_str()));
    if !device.is_empty() {
        address.extend(["&device=", &escape(device)]);
    }
    // A String takes everything.
    let _ = write!(address, "&heartbeat_ms={}", promise.as_millis().max(1));
    address
}

/// Percent-encodes everything but what needs it nowhere (RFC 3986 §2.3).
fn escape(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeadReader;

    #[test]
    fn no_token_is_shown() {
        let options = Options { token: Some("secret".into()), ..Options::default() };
        assert!(!format!("{options:?} {:?}", options.socket(options.token.as_deref())).contains("secret"));
    }

    #[test]
    fn a_server_finds_in_the_query_what_was_written() {
        let account = Account::new("ä b&c=d+%/#?").unwrap();
        let address = address("/ws?x=1", &account, "a device", Duration::from_secs(30));
        let request = format!("GET {address} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (head, _) = HeadReader::new().push(request.as_bytes()).unwrap().unwrap();
        let found = ["user_id", "device", "heartbeat_ms", "x"].map(|name| head.query(name).unwrap());
        assert_eq!(found, [account.as_str(), "a device", "30000", "1"]);
        assert_eq!(
            super::address("/ws", &Account::new("a").unwrap(), "", Duration::ZERO),
            "/ws?user_id=a&heartbeat_ms=1"
        );
    }
}
