//! What clients may send, and how much may wait for them.

use super::{defaults, rate_of};
use crate::cli::values::{Limit, SWITCH, Size, switch, word_for};
use clap::{ArgAction, Args};
use heartwire::Config;
use heartwire::config::Rate;

#[derive(Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct Messages {
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
    #[arg(long, env = "HEARTWIRE_BROADCAST", value_name = "on|off", hide_short_help = true, ignore_case = true)]
    #[arg(action = ArgAction::Set, value_parser = switch(), default_value = word_for(SWITCH, &defaults().broadcast))]
    broadcast: bool,
}

impl Messages {
    pub(super) fn apply(self, config: &mut Config) {
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
pub(super) struct Queues {
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
    pub(super) fn apply(self, config: &mut Config) {
        config.queue_bytes = self.queue_bytes.0;
        config.queue_messages = self.queue_messages;
        config.queue_total_bytes = self.queue_total_bytes.0;
    }
}
