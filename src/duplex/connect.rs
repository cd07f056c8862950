//! The client's side of a handshake, under one deadline from the lookup of the name to the last byte of the answer.

use super::answer::{self, Answer};
use super::link::Link;
use super::options::Options;
use super::receiver::Opened;
use super::{Receiver, Sender};
use crate::config::ConfigError;
use crate::connection::{self, Received};
use crate::printable::Printable;
use crate::protocol::format::Format;
use crate::socket::Socket;
use ::http::{HeaderName, HeaderValue, Uri};
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tungstenite::handshake::client::generate_key;
use tungstenite::protocol::Role;

/// Headers that the handshake writes itself.
const OWN_HEADERS: [&str; 4] = ["host", "connection", "upgrade", "content-length"];

/// Connects to `ws://host[:port]/path?query` and blocks until the connection is open, for
/// [`Options::open_deadline`](super::Options) at most.
///
/// A name is looked up by a thread of its own, because the system's lookup knows no deadline: where that takes longer, the
/// thread ends when the system gives up. The addresses found are tried in order, each with its share of what time is left.
/// Redirects are not followed.
///
/// # Errors
/// [`ConnectError`]; nothing is left open then.
pub fn connect(url: &str, options: &Options) -> Result<(Sender, Receiver), ConnectError> {
    let config = options.config().map_err(ConnectError::Options)?;
    let deadline = Instant::now() + options.open_deadline;
    let target = Target::parse(url)?;
    let key = generate_key();
    let request = target.request(&key, options)?;
    let (mut stream, peer) = dial(&target, deadline)?;
    stream.set_write_timeout(Some(left_until(deadline, "connecting")?)).map_err(ConnectError::Failed)?;
    stream.write_all(request.as_bytes()).map_err(ConnectError::Failed)?;
    let socket = Arc::new(Socket::from(stream));
    let mut incoming = Incoming { socket: connection::Receiver::new(Arc::clone(&socket)), bytes: Vec::new(), deadline };
    let answer = incoming.answer()?;
    if answer.status != 101 {
        return Err(ConnectError::Refused(incoming.refused(&answer)));
    }
    let subprotocol = answer.check(&key, &options.subprotocols).map_err(ConnectError::NotWebSocket)?;
    let link = Arc::new(Link::new(Arc::clone(&socket), Format::Masked, options));
    Ok(Opened { socket, link, role: Role::Client, peer, config, subprotocol, received: incoming.bytes }.split())
}

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The options contradict themselves.
    Options(ConfigError),
    /// The address, a header or a subprotocol cannot be asked for; the text says why.
    Invalid(String),
    /// The name could not be looked up, or nobody could be reached there.
    Unreachable(io::Error),
    /// The deadline passed, in this phase.
    TimedOut(&'static str),
    /// The connection broke before there was an answer.
    Failed(io::Error),
    /// The server answered with another status than 101.
    Refused(Refused),
    /// What answered is no WebSocket server, or breaks its rules; the text says how.
    NotWebSocket(String),
}

/// A server's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The status, never 101.
    pub status: u16,
    /// When it asks to come back, where `Retry-After` says so in seconds.
    pub retry_after: Option<Duration>,
    /// The first 4 KiB of its body as far as they came in time, as they came; what is not UTF-8 is replaced.
    pub body: String,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => error.fmt(f),
            Self::Invalid(what) => f.write_str(what),
            Self::Unreachable(error) => write!(f, "cannot be reached: {error}"),
            Self::TimedOut(phase) => write!(f, "the deadline passed while {phase}"),
            Self::Failed(error) => write!(f, "the handshake broke off: {error}"),
            Self::Refused(Refused { status, body, .. }) => write!(f, "refused with {status}: {}", Printable(body)),
            Self::NotWebSocket(what) => write!(f, "the answer is not that of a WebSocket server: {what}"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Options(error) => Some(error),
            Self::Unreachable(error) | Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

/// Where a `ws` address leads.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    /// What `Host` says: the port only where it is not the usual one.
    authority: String,
    path_and_query: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, ConnectError> {
        // The address may hold a token, so no error repeats it.
        let invalid = |what: &str| ConnectError::Invalid(format!("the address {what}"));
        if url.contains('#') {
            return Err(invalid("has a fragment, which RFC 6455 §3 forbids"));
        }
        let uri: Uri = url.parse().map_err(|error| invalid(&format!("is not a URL: {error}")))?;
        match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws") => {}
            Some("wss") => {
                return Err(invalid("is a wss address, and TLS is not built in: use a proxy that speaks it"));
            }
            _ => return Err(invalid("does not begin with ws://")),
        }
        let authority = uri.authority().ok_or_else(|| invalid("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("names a user, which a WebSocket cannot carry"));
        }
        let port = match authority.port() {
            Some(port) => {
                port.as_str().parse().ok().filter(|port| *port > 0).ok_or_else(|| invalid("has a wrong port"))?
            }
            None if authority.as_str().ends_with(':') || authority.host().len() == authority.as_str().len() => 80,
            None => return Err(invalid("has a wrong port")),
        };
        let host = authority.host();
        let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            authority: if port == 80 { host.to_owned() } else { format!("{host}:{port}") },
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            path_and_query: match path_and_query.strip_prefix('?') {
                Some(_) => format!("/{path_and_query}"),
                None => path_and_query.to_owned(),
            },
        })
    }

    /// The whole request (RFC 6455 §4.1).
    fn request(&self, key: &str, options: &Options) -> Result<String, ConnectError> {
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
            self.path_and_query, self.authority
        );
        let is_token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
        if let Some(offer) = options.subprotocols.iter().find(|offer| !is_token(offer)) {
            return Err(ConnectError::Invalid(format!("{offer:?} is not the name of a subprotocol")));
        }
        if !options.subprotocols.is_empty() {
            request.extend(["Sec-WebSocket-Protocol: ", &options.subprotocols.join(", "), "\r\n"]);
        }
        for (name, value) in &options.headers {
            let own = OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name));
            if own || name.to_ascii_lowercase().starts_with("sec-websocket-") || !is_token(name) {
                return Err(ConnectError::Invalid(format!("the header {name:?} cannot be set")));
            }
            // Without its value, which may be secret.
            let visible = HeaderValue::from_str(value).is_ok();
            if !visible {
                return Err(ConnectError::Invalid(format!("the value of the header {name} cannot be sent")));
            }
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("\r\n");
        Ok(request)
    }
}

fn dial(target: &Target, deadline: Instant) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let addresses = resolve(target, deadline)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = left_until(deadline, "connecting")? / others;
        match TcpStream::connect_timeout(address, share) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(ConnectError::Failed)?;
                return Ok((socket, *address));
            }
            Err(error) => last = error,
        }
    }
    left_until(deadline, "connecting")?;
    Err(ConnectError::Unreachable(last))
}

fn resolve(target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, target.port)]);
    }
    let (tell, told) = mpsc::sync_channel(1);
    let name = (target.host.clone(), target.port);
    let lookup = move || {
        // Nobody waits any more when the deadline has passed.
        let _ = tell.send(name.to_socket_addrs().map(Iterator::collect));
    };
    thread::Builder::new().name("hw-resolver".into()).spawn(lookup).map_err(ConnectError::Failed)?;
    let phase = "looking up the name";
    match told.recv_timeout(left_until(deadline, phase)?) {
        Ok(addresses) => addresses.map_err(ConnectError::Unreachable),
        Err(_) => Err(ConnectError::TimedOut(phase)),
    }
}

/// The server's side of the handshake as it arrives.
struct Incoming {
    socket: connection::Receiver,
    bytes: Vec<u8>,
    deadline: Instant,
}

impl Incoming {
    /// The head of the answer; what came behind it stays.
    fn answer(&mut self) -> Result<Answer, ConnectError> {
        loop {
            if let Some((answer, length)) = answer::parse(&self.bytes).map_err(ConnectError::NotWebSocket)? {
                self.bytes.drain(..length);
                return Ok(answer);
            }
            if !self.receive() {
                left_until(self.deadline, "waiting for the answer")?;
                return Err(ConnectError::Failed(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn refused(mut self, answer: &Answer) -> Refused {
        let wanted = answer.body_bytes();
        while self.bytes.len() < wanted && self.receive() {}
        self.bytes.truncate(wanted);
        let body = String::from_utf8_lossy(&self.bytes).into_owned();
        Refused { status: answer.status, retry_after: answer.retry_after(), body }
    }

    /// Receives more; false when nothing comes any more, or not in time.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 4 << 10];
        while Instant::now() < self.deadline {
            match self.socket.receive(&mut buffer, self.deadline) {
                Received::Bytes(length) => {
                    self.bytes.extend_from_slice(&buffer[..length]);
                    return true;
                }
                Received::Nothing => {}
                Received::End => return false,
            }
        }
        false
    }
}

fn left_until(deadline: Instant, phase: &'static str) -> Result<Duration, ConnectError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ConnectError::TimedOut(phase)) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (url, host, port, authority, path) in [
            ("ws://example.org", "example.org", 80, "example.org", "/"),
            ("ws://example.org:80/", "example.org", 80, "example.org", "/"),
            ("ws://example.org:8080?a=1", "example.org", 8080, "example.org:8080", "/?a=1"),
            ("WS://127.0.0.1:1/a/b?c=d%20e", "127.0.0.1", 1, "127.0.0.1:1", "/a/b?c=d%20e"),
            ("ws://[::1]:9001/ws", "::1", 9001, "[::1]:9001", "/ws"),
        ] {
            let target = Target::parse(url).unwrap();
            let found = (&*target.host, target.port, &*target.authority, &*target.path_and_query);
            assert_eq!(found, (host, port, authority, path), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_reached_by_a_websocket_is_invalid_and_never_repeated() {
        for url in [
            "wss://secret/",
            "http://secret/",
            "secret",
            "/secret",
            "ws://",
            "ws://secret@host/",
            "ws://host:0/secret",
            "ws://host:99999/secret",
            "ws://host:secret/",
            "ws://host/#secret",
            "ws://host/se cret",
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(matches!(&error, ConnectError::Invalid(text) if !text.contains("cret")), "{url}: {error:?}");
        }
    }

    #[test]
    fn options_cannot_write_headers_of_the_handshake_nor_lines_of_their_own() {
        let target = Target::parse("ws://host/").unwrap();
        let with = |name: &str, value: &str| {
            target.request("k", &Options { headers: vec![(name.into(), value.into())], ..Options::default() })
        };
        assert!(with("Authorization", "Bearer t").unwrap().ends_with("\r\nAuthorization: Bearer t\r\n\r\n"));
        for (name, value) in [("hOST", "a"), ("Sec-WebSocket-Key", "a"), ("a b", "c"), ("a", "b\r\nc: d"), ("", "a")] {
            assert!(with(name, value).is_err(), "{name}: {value}");
        }
        let offering =
            |offer: &str| target.request("k", &Options { subprotocols: vec![offer.into()], ..Options::default() });
        assert!(offering("heartwire.v1").unwrap().contains("\r\nSec-WebSocket-Protocol: heartwire.v1\r\n"));
        assert!(offering("a, b").is_err() && offering("").is_err());
    }
}
