//! The address of a server under load: `ws://HOST:PORT/PATH?QUERY`, in which `{n}` stands for a connection's number.

use crate::cli::Failure;
use http::Uri;
use std::fmt::{self, Display, Formatter};
use std::net::{SocketAddr, ToSocketAddrs};

/// What stands for the number of a connection.
const NUMBER: &str = "{n}";

/// Where each connection goes, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    /// HOST:PORT as it was written.
    host: String,
    /// Path and query, with `{n}` in it.
    target: String,
}

impl Endpoint {
    /// A server's address. Without a `{n}` the accounts are `u0`, `u1` and so on.
    ///
    /// # Errors
    /// What is not such an address, and a host without an address.
    pub(super) fn parse(url: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("--url {url}: {why}"));
        if url.starts_with("wss://") {
            return Err(wrong("the load speaks no TLS: give it the address behind the proxy, ws://HOST:PORT/ws"));
        }
        let rest = url.strip_prefix("ws://").ok_or_else(|| wrong("it must be of the form ws://HOST:PORT/ws"))?;
        let uri: Uri = format!("http://{rest}").parse().map_err(|error| wrong(&format!("{error}")))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
        let port = match uri.authority().map_or("", |authority| authority.as_str()).strip_prefix(host) {
            Some("") => 80,
            Some(_) => uri.port_u16().ok_or_else(|| wrong("a port is 1 to 65535"))?,
            None => return Err(wrong("it must begin with ws://HOST:PORT")),
        };
        let unknown = |why: &str| Failure::Run(format!("--url {url}: {host} has no address{why}"));
        let addresses = (host.trim_matches(['[', ']']), port).to_socket_addrs();
        let addresses: Vec<_> = addresses.map_err(|error| unknown(&format!(": {error}")))?.collect();
        // A server on loopback is rarely on that of IPv6, which names such as `localhost` often stand for first.
        let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        let address = *first.ok_or_else(|| unknown(""))?;
        let mut target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        if !target.contains(NUMBER) {
            target.push_str(if target.contains('?') { "&user_id=u{n}" } else { "?user_id=u{n}" });
        }
        Ok(Self { address, host: format!("{host}:{port}"), target })
    }

    /// The request that opens a connection.
    pub(super) fn request(&self, number: usize) -> String {
        let target = self.target.replace(NUMBER, &number.to_string());
        format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.host
        )
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}", self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_has_an_account_of_its_own() {
        for (url, line) in [
            ("ws://127.0.0.1:80/ws", "GET /ws?user_id=u7 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"),
            ("ws://[::1]:81/ws?device=a", "GET /ws?device=a&user_id=u7 HTTP/1.1\r\nHost: [::1]:81\r\n"),
            ("ws://127.0.0.1/?user_id=a{n}b", "GET /?user_id=a7b HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"),
        ] {
            let request = Endpoint::parse(url).unwrap().request(7);
            assert!(request.starts_with(line), "{request}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for (url, essence) in [
            ("wss://a.example/ws", "no TLS"),
            ("http://127.0.0.1:80/ws", "ws://HOST:PORT/ws"),
            ("127.0.0.1:80", "ws://HOST:PORT/ws"),
            ("ws://", "--url ws://: "),
            ("ws://127.0.0.1:99999/ws", "a port is"),
            ("ws://a@127.0.0.1:80/ws", "must begin with ws://HOST:PORT"),
        ] {
            let Err(Failure::Usage(message)) = Endpoint::parse(url) else { panic!("{url} was not refused") };
            assert!(message.contains(essence), "{message}");
        }
    }
}
