//! When a silent or slow client has been silent or slow for too long.

use super::defaults;
use crate::cli::values::{Limit, Time, TimeRange, Words, one_of, word_for};
use clap::Args;
use heartwire::Config;
use heartwire::config::Liveness;
use std::time::Duration;

/// Intervals that suit networks of different patience, shortest first.
const PRESETS: Words<Duration> =
    &[("3m", Duration::from_secs(3 * 60)), ("5m", Duration::from_secs(5 * 60)), ("10m", Duration::from_secs(10 * 60))];

const LIVENESS: Words<Liveness> = &[("any", Liveness::Any), ("heartbeat", Liveness::Heartbeat)];

#[derive(Args)]
#[command(next_help_heading = "Heartbeats and deadlines")]
pub(super) struct Heartbeats {
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
    pub(super) fn apply(self, config: &mut Config) {
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

/// The interval and timeout where neither is given.
fn usual() -> (Time, Time) {
    let times = defaults().heartbeat.times();
    (Time(times.interval), Time(times.timeout))
}
