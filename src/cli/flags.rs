//! The flags of `heartwire serve`, and the `Config` that they make. Defaults are those of `Config`.

#![expect(clippy::doc_markdown, reason = "the comments of flags are shown as plain text")]

use super::Failure;
use super::log::{FORMATS, Format};
use super::values::{Limit, SWITCH, Size, Time, TimeRange, Words, one_of, word_for};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use heartwire::Config;
use heartwire::config::{Liveness, Network, ProxyProtocol, Rate, SingleBy, SingleConnection};
use std::fmt::Display;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

const LIVENESS: Words<Liveness> = &[("any", Liveness::Any), ("heartbeat", Liveness::Heartbeat)];

const SINGLE: Words<SingleConnection> =
    &[("allow", SingleConnection::Allow), ("replace", SingleConnection::Replace), ("refuse", SingleConnection::Refuse)];

const SINGLE_BY: Words<SingleBy> = &[("account", SingleBy::Account), ("device", SingleBy::Device)];

/// Intervals that suit networks of different patience, shortest first.
const PRESETS: Words<Duration> =
    &[("3m", Duration::from_secs(3 * 60)), ("5m", Duration::from_secs(5 * 60)), ("10m", Duration::from_secs(10 * 60))];

const PROXY_PROTOCOL: Words<ProxyProtocol> = &[("off", ProxyProtocol::Off), ("v2", ProxyProtocol::V2)];

/// All flags, in the groups under which the help shows them.
#[derive(Args)]
pub(super) struct Flags {
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    liveness: Heartbeats,
    #[command(flatten)]
    connections: Connections,
    #[command(flatten)]
    messages: Messages,
    #[command(flatten)]
    queues: Queues,
    #[command(flatten)]
    process: Process,
}

impl Flags {
    /// The format of the log, needed before anything can be logged.
    pub(super) fn log_format(&self) -> Format {
        self.process.log_format
    }

    /// The configuration that the flags describe, with names resolved to addresses.
    pub(super) fn into_config(self) -> Result<Config, Failure> {
        let mut config = Config::default();
        self.access.apply(&mut config)?;
        self.liveness.apply(&mut config);
        self.connections.apply(&mut config);
        self.messages.apply(&mut config);
        self.queues.apply(&mut config);
        self.process.apply(&mut config);
        Ok(config)
    }
}

/// The word that turns off what has no limit to turn off.
const OFF: &str = "off";

fn defaults() -> Config {
    Config::default()
}

/// The interval and timeout where neither is given.
fn usual() -> (Time, Time) {
    let times = defaults().heartbeat.times();
    (Time(times.interval), Time(times.timeout))
}

/// A default rate as its two flags.
fn rate_of(rate: impl FnOnce(Config) -> Option<Rate>) -> Rate {
    rate(defaults()).unwrap_or(Rate { per_second: 0, burst: 1 })
}

#[derive(Args)]
#[command(next_help_heading = "Who may connect, and where")]
struct Access {
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

    /// Whether GET / answers with a test page, and GET /heartwire.js with the client for browsers
    #[arg(long, env = "HEARTWIRE_PAGE", value_name = "on|off")]
    #[arg(action = ArgAction::Set, value_parser = one_of(SWITCH), default_value = "on")]
    page: bool,

    /// Serve unauthenticated clients beyond loopback
    #[arg(long, env = "HEARTWIRE_ALLOW_ANONYMOUS", value_parser = BoolishValueParser::new())]
    allow_anonymous: bool,

    /// Origins that may connect [default: that of Host]
    ///
    /// Written as scheme://host[:port]; repeatable. A request without Origin is not a browser's and always passes.
    #[arg(long, env = "HEARTWIRE_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
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
    fn apply(self, config: &mut Config) -> Result<(), Failure> {
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

fn resolve_all(flag: &str, addresses: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    addresses.iter().map(|address| resolve(flag, address)).collect()
}

/// One address to listen on: a name such as `localhost` often has two, of which the machine may not have the second.
fn resolve(flag: &str, address: &str) -> Result<SocketAddr, Failure> {
    let malformed = || Failure::Usage(format!("{flag}: {address:?} is not of the form HOST:PORT"));
    let unknown = |why: &dyn Display| Failure::Run(format!("{flag}: {address:?} has no address: {why}"));
    if address.starts_with(':') {
        return Err(malformed());
    }
    let addresses: Vec<_> = match address.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) if error.kind() == ErrorKind::InvalidInput => return Err(malformed()),
        Err(error) => return Err(unknown(&error)),
    };
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    first.copied().ok_or_else(|| unknown(&"the name stands for none"))
}

#[derive(Args)]
#[command(next_help_heading = "Heartbeats and deadlines")]
struct Heartbeats {
    #[arg(long, env = "HEARTWIRE_HEARTBEAT_INTERVAL", value_name = "TIME", hide_short_help = true)]
    #[arg(help = format!("Silence after which the server pings [default: {}, or 5/12 of a shorter timeout]", usual().0))]
    heartbeat_interval: Option<Time>,

    /// An interval for networks of known patience, in place of heartbeat-interval
    ///
    /// The timeout is 2.4 times as long unless it is given.
    #[arg(long, env = "HEARTWIRE_HEARTBEAT_PRESET", value_name = "3m|5m|10m", hide_short_help = true)]
    #[arg(value_parser = one_of(PRESETS), conflicts_with = "heartbeat_interval")]
    heartbeat_preset: Option<Duration>,

    #[arg(long, env = "HEARTWIRE_HEARTBEAT_TIMEOUT", value_name = "TIME")]
    #[arg(help = format!("Silence that ends a connection [default: {}]", usual().1))]
    #[arg(long_help = format!("Silence that ends a connection [default: {}, or 2.4 times a longer interval]", usual().1))]
    heartbeat_timeout: Option<Time>,

    /// What proves that a client lives: any byte, or only heartbeats, pings and pongs
    #[arg(long, env = "HEARTWIRE_LIVENESS", value_name = "any|heartbeat", hide_short_help = true)]
    #[arg(value_parser = one_of(LIVENESS), default_value = word_for(LIVENESS, &defaults().heartbeat.liveness))]
    liveness: Liveness,

    /// The range into which a client's promise may move its timeout
    #[arg(long, env = "HEARTWIRE_NEGOTIABLE_TIMEOUT", value_name = "TIME..TIME", hide_short_help = true)]
    #[arg(default_value_t = TimeRange(defaults().heartbeat.negotiable))]
    negotiable_timeout: TimeRange,

    /// From accept to the end of the request's head
    #[arg(long, env = "HEARTWIRE_HANDSHAKE_DEADLINE", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Time(defaults().handshake_deadline))]
    handshake_deadline: Time,

    /// On raw TCP, from accept to the first byte [default: the handshake's deadline]
    #[arg(long, env = "HEARTWIRE_TCP_FIRST_BYTE", value_name = "TIME", hide_short_help = true)]
    tcp_first_byte: Option<Time>,

    /// From the first byte of a message to its last
    #[arg(long, env = "HEARTWIRE_ASSEMBLY_DEADLINE", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Time(defaults().assembly_deadline))]
    assembly_deadline: Time,

    /// How long a message may wait until its last byte is with the kernel
    #[arg(long, env = "HEARTWIRE_WRITE_DEADLINE", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Time(defaults().write_deadline))]
    write_deadline: Time,

    /// How long a connection may last, whatever arrives; 0 is for ever
    #[arg(long, env = "HEARTWIRE_MAX_LIFETIME", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Limit(defaults().max_lifetime.map(Time)))]
    max_lifetime: Limit<Time>,

    /// Silence of a client after which it is logged and sent a ping; 0 is never
    ///
    /// As the two below: logged once for each silence, and again at every further such time at the level debug.
    #[arg(long, env = "HEARTWIRE_IDLE_READER", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Limit(defaults().idle.reader.map(Time)))]
    idle_reader: Limit<Time>,

    /// Silence towards a client after which it is logged; 0 is never
    #[arg(long, env = "HEARTWIRE_IDLE_WRITER", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Limit(defaults().idle.writer.map(Time)))]
    idle_writer: Limit<Time>,

    /// Silence in both directions after which it is logged; 0 is never
    #[arg(long, env = "HEARTWIRE_IDLE_ALL", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Limit(defaults().idle.all.map(Time)))]
    idle_all: Limit<Time>,
}

impl Heartbeats {
    fn apply(self, config: &mut Config) {
        config.heartbeat.interval = self.heartbeat_interval.map(|time| time.0).or(self.heartbeat_preset);
        config.heartbeat.timeout = self.heartbeat_timeout.map(|time| time.0);
        config.heartbeat.liveness = self.liveness;
        config.heartbeat.negotiable = self.negotiable_timeout.0;
        config.handshake_deadline = self.handshake_deadline.0;
        config.assembly_deadline = self.assembly_deadline.0;
        config.write_deadline = self.write_deadline.0;
        config.tcp_first_byte = self.tcp_first_byte.map(|time| time.0);
        config.max_lifetime = self.max_lifetime.0.map(|time| time.0);
        config.idle.reader = self.idle_reader.0.map(|time| time.0);
        config.idle.writer = self.idle_writer.0.map(|time| time.0);
        config.idle.all = self.idle_all.0.map(|time| time.0);
    }
}

#[derive(Args)]
#[command(next_help_heading = "Connections (0 turns a limit off)")]
struct Connections {
    /// Connections at once
    ///
    /// Those in their handshake included. What the machine bears may be less, and is all that counts with 0.
    #[arg(long, env = "HEARTWIRE_MAX_CONNECTIONS", value_name = "N")]
    #[arg(default_value_t = Limit(defaults().max_connections))]
    max_connections: Limit<usize>,

    /// Connections of one account
    #[arg(long, env = "HEARTWIRE_MAX_PER_ACCOUNT", value_name = "N")]
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
    fn apply(self, config: &mut Config) {
        config.max_connections = self.max_connections.0;
        config.max_per_account = self.max_per_account.0;
        config.max_per_address = self.max_per_address.0;
        config.single = self.single;
        config.single_by = self.single_by;
        config.accepts_per_second = self.accepts_per_second.0;
    }
}

#[derive(Args)]
#[command(next_help_heading = "Messages")]
struct Messages {
    /// The largest message from a client, in bytes
    #[arg(long, env = "HEARTWIRE_MAX_MESSAGE_BYTES", value_name = "SIZE", hide_short_help = true)]
    #[arg(default_value_t = Size(defaults().max_message_bytes))]
    max_message_bytes: Size,

    /// How many frames a message may be cut into; 0 is any number
    #[arg(long, env = "HEARTWIRE_MAX_FRAGMENTS", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = Limit(defaults().max_fragments))]
    max_fragments: Limit<u32>,

    /// Messages that a connection may send a second; 0 is any number
    #[arg(long, env = "HEARTWIRE_RATE", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = Limit(Some(rate_of(|config| config.message_rate).per_second)))]
    rate: Limit<u32>,

    /// Messages that it may send at once after a silence
    #[arg(long, env = "HEARTWIRE_BURST", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = rate_of(|config| config.message_rate).burst)]
    burst: u32,

    /// Control frames (pings, pongs) that a connection may send a second; 0 is any number
    #[arg(long, env = "HEARTWIRE_CONTROL_RATE", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = Limit(Some(rate_of(|config| config.control_rate).per_second)))]
    control_rate: Limit<u32>,

    /// Control frames that it may send at once after a silence
    #[arg(long, env = "HEARTWIRE_CONTROL_BURST", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = rate_of(|config| config.control_rate).burst)]
    control_burst: u32,

    /// Deliveries that the messages of one account may cause a second; 0 is any number
    #[arg(long, env = "HEARTWIRE_DELIVERIES_PER_SECOND", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = Limit(defaults().deliveries_per_second))]
    deliveries_per_second: Limit<u32>,

    /// Bytes that the messages of one account may cause to be delivered a second; 0 is any number
    #[arg(long, env = "HEARTWIRE_DELIVERED_BYTES_PER_SECOND", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = Limit(defaults().delivered_bytes_per_second))]
    delivered_bytes_per_second: Limit<u32>,

    /// Whether clients may send to every other connection
    #[arg(long, env = "HEARTWIRE_BROADCAST", value_name = "on|off", hide_short_help = true)]
    #[arg(action = ArgAction::Set, value_parser = one_of(SWITCH), default_value = word_for(SWITCH, &defaults().broadcast))]
    broadcast: bool,
}

impl Messages {
    fn apply(self, config: &mut Config) {
        config.max_message_bytes = self.max_message_bytes.0;
        config.max_fragments = self.max_fragments.0;
        config.message_rate = self.rate.0.map(|per_second| Rate { per_second, burst: self.burst });
        config.control_rate = self.control_rate.0.map(|per_second| Rate { per_second, burst: self.control_burst });
        config.deliveries_per_second = self.deliveries_per_second.0;
        config.delivered_bytes_per_second = self.delivered_bytes_per_second.0;
        config.broadcast = self.broadcast;
    }
}

#[derive(Args)]
#[command(next_help_heading = "Queues of what was not yet written")]
struct Queues {
    /// Bytes that may wait for one connection
    #[arg(long, env = "HEARTWIRE_QUEUE_BYTES", value_name = "SIZE", hide_short_help = true)]
    #[arg(default_value_t = Size(defaults().queue_bytes))]
    queue_bytes: Size,

    /// Messages that may wait for one connection
    #[arg(long, env = "HEARTWIRE_QUEUE_MESSAGES", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = defaults().queue_messages)]
    queue_messages: usize,

    /// Bytes that may wait for all connections together; the largest queue is cut first
    #[arg(long, env = "HEARTWIRE_QUEUE_TOTAL_BYTES", value_name = "SIZE", hide_short_help = true)]
    #[arg(default_value_t = Size(defaults().queue_total_bytes))]
    queue_total_bytes: Size,
}

impl Queues {
    fn apply(self, config: &mut Config) {
        config.queue_bytes = self.queue_bytes.0;
        config.queue_messages = self.queue_messages;
        config.queue_total_bytes = self.queue_total_bytes.0;
    }
}

#[derive(Args)]
#[command(next_help_heading = "The process")]
struct Process {
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

    /// Format of the log
    ///
    /// RUST_LOG chooses which lines there are: info,heartwire::listener=debug.
    #[arg(long, env = "HEARTWIRE_LOG_FORMAT", value_name = "text|json")]
    #[arg(value_parser = one_of(FORMATS), default_value = word_for(FORMATS, &Format::Text))]
    log_format: Format,
}

impl Process {
    fn apply(self, config: &mut Config) {
        config.drain = self.drain.0;
        config.linger = self.linger.0;
        config.stack_bytes = self.stack_bytes.0;
    }
}
