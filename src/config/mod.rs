//! How a server behaves: plain structs with defaults, and one check of the whole.

#[cfg(feature = "admin")]
mod admin;
mod reload;
mod validate;

#[cfg(feature = "admin")]
pub use admin::{AdminConfig, AdminKey, AdminRole};
pub(crate) use validate::LONGEST;

use crate::protocol::message::HeartbeatTimes;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How a server behaves. `Config::default()` serves anonymous clients on `127.0.0.1:8080`.
///
/// `None` in an optional limit turns it off. [`Config::validate`] says what does not fit together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen. Default `127.0.0.1:8080`; port 0 takes a free one, see [`Server::local_addrs`](crate::Server::local_addrs).
    pub listen: Vec<SocketAddr>,
    /// Where to listen for raw TCP: the native protocol with one JSON object a line. Default nowhere; customary is port
    /// 7373. Port 0 takes a free one, see [`Server::local_tcp_addrs`](crate::Server::local_tcp_addrs).
    pub tcp_listen: Vec<SocketAddr>,
    /// What the frames mean. Default [`Protocol::Native`].
    pub protocol: Protocol,
    /// The path of the WebSocket endpoint. Default `/ws`.
    pub path: String,
    /// The path of the `ginchat` dialect, `None` to speak it nowhere. Default `/chat`; without effect on a protocol of the
    /// embedding program's own.
    pub ginchat_path: Option<String>,
    /// Whether `GET /` answers with a small page to try the server with, and `GET /heartwire.js` with the client for
    /// browsers. Default false.
    pub page: bool,
    /// Lets a handler that does not authenticate serve addresses beyond loopback. Default false.
    pub allow_anonymous: bool,
    /// Origins that may connect, as `scheme://host[:port]`. Default empty: the same origin as `Host` only.
    pub origins: Vec<String>,
    /// Names besides `localhost` and IP addresses that `Host` may carry. Default empty.
    pub hosts: Vec<String>,
    /// Proxies whose `X-Forwarded-For` or PROXY header is believed. Default empty.
    pub trusted_proxies: Vec<Network>,
    /// Whether trusted proxies begin with a PROXY protocol header. Default off.
    pub proxy_protocol: ProxyProtocol,

    /// From accept to the end of the request's head; never extended. Default 5 s.
    pub handshake_deadline: Duration,
    /// On raw TCP, from accept to the first byte; never extended. Default `None`: the handshake's deadline.
    pub tcp_first_byte: Option<Duration>,
    /// From the first byte of a message to its last. Default 10 s.
    pub assembly_deadline: Duration,
    /// From accept to the end, whatever arrives. Default none.
    pub max_lifetime: Option<Duration>,
    /// Pings and the deadline that signs of life extend.
    pub heartbeat: Heartbeat,
    /// When [`Handler::idle`](crate::Handler::idle) is told of silence. Default never.
    pub idle: IdleThresholds,

    /// Connections at once, handshakes included; what the machine bears may be less. Default 10,000.
    pub max_connections: Option<usize>,
    /// Connections of one account. Default 16.
    pub max_per_account: Option<usize>,
    /// Connections of one client address, trusted proxies excepted. Default 256.
    pub max_per_address: Option<usize>,
    /// What a second connection of an account means. Default [`SingleConnection::Allow`].
    pub single: SingleConnection,
    /// Whether that is counted by the account, or by each device of an account. Default [`SingleBy::Account`].
    pub single_by: SingleBy,
    /// Connections accepted a second, on each address. Default 1,000.
    pub accepts_per_second: Option<u32>,

    /// The largest message from a client. Default 64 KiB. Up to 1,024 of them, and 256 MiB as far as that leaves room
    /// for 16, may wait for the router.
    pub max_message_bytes: usize,
    /// How many frames a message may be cut into. Default 1,024.
    pub max_fragments: Option<u32>,
    /// Messages a connection may send. Default 100 a second, bursts of 200.
    pub message_rate: Option<Rate>,
    /// Control frames a connection may send. Default 50 a second, bursts of 100.
    pub control_rate: Option<Rate>,
    /// Deliveries that the messages of one account may cause a second. Default 10,000.
    pub deliveries_per_second: Option<u32>,
    /// Bytes that the messages of one account may cause to be delivered a second. Default 64 MiB.
    pub delivered_bytes_per_second: Option<u32>,
    /// Whether clients may send `broadcast`. Default false.
    pub broadcast: bool,

    /// How long an account without a connection still counts as online. Default 5 s: who changes networks, or reloads a
    /// page, has not been away.
    pub offline_grace: Duration,
    /// Failed authentications of one client address; beyond, it is refused with 429 unasked. Default 1 a second, bursts of
    /// 10. Trusted proxies are excepted.
    pub auth_failures: Option<Rate>,
    /// The listener for a back end and an operator. Default: none.
    #[cfg(feature = "admin")]
    pub admin: AdminConfig,

    /// How many closed connections are remembered, with what they did and why they ended: less than 8 MiB for 10,000 of
    /// them. Default 10,000, at most 1,000,000.
    pub closed_connections: usize,

    /// Bytes that may wait for one connection; an empty queue takes one message of any size. Default 1 MiB.
    pub queue_bytes: usize,
    /// Messages that may wait for one connection. Default 1,024.
    pub queue_messages: usize,
    /// Bytes that may wait for all connections together; the largest queue is cut first. Default 256 MiB.
    pub queue_total_bytes: usize,
    /// How long a message may wait until its last byte is with the kernel. Default 10 s.
    pub write_deadline: Duration,

    /// How long a shutdown waits for queues to empty and peers to leave. Default 10 s.
    pub drain: Duration,
    /// How long a closing connection waits for its peer to read the Close frame. Default 2 s.
    pub linger: Duration,
    /// Clients of a stopping server are told to come back after a random part of this. Default 5 s.
    pub reconnect_spread: Duration,
    /// Whose threads do the router's work. Default [`RouterWork::Dedicated`].
    pub router: RouterWork,
    /// How the kernel chooses among the server's threads. Default [`Scheduling::Normal`].
    #[cfg(feature = "scheduling")]
    pub scheduling: Scheduling,
    /// The stack of each connection's thread; resident is only what is used. Default 256 KiB, at least 128 KiB.
    pub stack_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            tcp_listen: Vec::new(),
            protocol: Protocol::Native,
            path: "/ws".into(),
            ginchat_path: Some("/chat".into()),
            page: false,
            allow_anonymous: false,
            origins: Vec::new(),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            handshake_deadline: Duration::from_secs(5),
            tcp_first_byte: None,
            assembly_deadline: Duration::from_secs(10),
            max_lifetime: None,
            heartbeat: Heartbeat::default(),
            idle: IdleThresholds::default(),
            max_connections: Some(10_000),
            max_per_account: Some(16),
            max_per_address: Some(256),
            single: SingleConnection::Allow,
            single_by: SingleBy::Account,
            accepts_per_second: Some(1_000),
            max_message_bytes: 64 << 10,
            max_fragments: Some(1_024),
            message_rate: Some(Rate { per_second: 100, burst: 200 }),
            control_rate: Some(Rate { per_second: 50, burst: 100 }),
            deliveries_per_second: Some(10_000),
            delivered_bytes_per_second: Some(64 << 20),
            broadcast: false,
            offline_grace: Duration::from_secs(5),
            auth_failures: Some(Rate { per_second: 1, burst: 10 }),
            #[cfg(feature = "admin")]
            admin: AdminConfig::default(),
            closed_connections: 10_000,
            queue_bytes: 1 << 20,
            queue_messages: 1_024,
            queue_total_bytes: 256 << 20,
            write_deadline: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            reconnect_spread: Duration::from_secs(5),
            router: RouterWork::Dedicated,
            #[cfg(feature = "scheduling")]
            scheduling: Scheduling::Normal,
            stack_bytes: 256 << 10,
        }
    }
}

/// What the frames of a connection mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// heartwire's own JSON protocol, see `docs/protocol.md`.
    Native,
    /// The embedding program's own: no greeting, each message goes to [`Handler::frame`](crate::Handler::frame).
    Raw,
}

/// Whether trusted proxies announce their client in front of the connection's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// They do not; the client is taken from `X-Forwarded-For`.
    Off,
    /// By the binary header of the PROXY protocol, version 2, which they must then send.
    V2,
}

/// What a second connection of the same account means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleConnection {
    /// Both stay.
    Allow,
    /// The newer stays, the older is closed with 4505.
    Replace,
    /// The older stays, the newer is refused with 429 or 4103.
    Refuse,
}

/// Of what there is a single connection, where there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleBy {
    /// One of each account.
    Account,
    /// One of each account and device label. An account has as many as it has labels, and no label is one, too.
    Device,
}

/// Whose threads decide what becomes of messages, and send them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterWork {
    /// The router's thread does everything.
    Dedicated,
    /// Whoever brings something does the router's work, as far as it is for few and nobody else is at it, on its own
    /// thread: that of the connection that sent a message, or of the program that pushes or asks. Order and guarantees are
    /// the same.
    Helped,
}

/// How the kernel chooses among the server's threads (Linux `sched(7)`). Elsewhere there is no difference.
#[cfg(feature = "scheduling")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// A thread that is woken may take the processor from the one that woke it.
    Normal,
    /// `SCHED_BATCH`: it waits until that one is done. Fewer switches, so that a message costs less; it may take longer.
    Batch,
}

/// Which bytes prove that a client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Every byte received.
    Any,
    /// Only a `heartbeat` frame, a WebSocket ping or a pong.
    Heartbeat,
}

/// A rate with a burst: a bucket of `burst` tokens, refilled with `per_second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: u32,
    /// How many may be used at once.
    pub burst: u32,
}

/// Pings and the deadline that signs of life extend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Heartbeat {
    /// Silence after which the server sends a ping. Default 25 s, less where the timeout asks for it.
    pub interval: Option<Duration>,
    /// Silence after which the server closes with 4201. Default 60 s, more where the interval asks for it.
    pub timeout: Option<Duration>,
    /// What counts as a sign of life. Default [`Liveness::Any`].
    pub liveness: Liveness,
    /// The range into which a client's promise may move its timeout. Default 10 s to 15 min.
    pub negotiable: RangeInclusive<Duration>,
}

impl Default for Heartbeat {
    fn default() -> Self {
        let negotiable = Duration::from_secs(10)..=Duration::from_secs(15 * 60);
        Self { interval: None, timeout: None, liveness: Liveness::Any, negotiable }
    }
}

impl Heartbeat {
    /// The interval and timeout that follow from what is set: the interval is always the smaller.
    ///
    /// With only a timeout, the interval is 5/12 of it, at most 25 s; with only an interval, the timeout is 2.4 times
    /// that, at least 60 s.
    #[must_use]
    pub fn times(&self) -> HeartbeatTimes {
        let (usual_interval, usual_timeout) = (Duration::from_secs(25), Duration::from_secs(60));
        let interval = self.interval.unwrap_or_else(|| match self.timeout {
            Some(timeout) => usual_interval.min(timeout / 12 * 5),
            None => usual_interval,
        });
        let timeout = self.timeout.unwrap_or_else(|| usual_timeout.max(interval.saturating_mul(12) / 5));
        HeartbeatTimes { interval, timeout }
    }
}

/// Thresholds of silence of which the embedding program is told; `None` is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdleThresholds {
    /// Nothing received for this long.
    pub reader: Option<Duration>,
    /// Nothing handed to the kernel for this long.
    pub writer: Option<Duration>,
    /// Neither for this long.
    pub all: Option<Duration>,
}

/// A range of addresses: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address lies in this range. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, bits: u8| (a ^ b).leading_zeros() >= u32::from(bits);
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                same(u128::from(a.to_bits()) << 96, u128::from(b.to_bits()) << 96, self.prefix)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), self.prefix),
            _ => false,
        }
    }
}

impl std::str::FromStr for Network {
    type Err = ConfigError;

    /// Parses `192.0.2.1`, `10.0.0.0/8` or `2001:db8::/32`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError(format!("{text:?} is neither an address nor a range like 10.0.0.0/8"));
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if prefix > most { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

/// What is wrong with a configuration, in one line for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Whether this is one of the proxies whose word about their clients counts.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    /// The address as limits count it; `None` for a trusted proxy, to which they do not apply.
    pub(crate) fn limited_address(&self, address: IpAddr) -> Option<IpAddr> {
        (!self.trusts(address)).then(|| address.to_canonical())
    }
}

#[cfg(test)]
mod tests;
