//! One connection to the server, from the handshake to the register frame.

use super::event::Outage;
use super::frames::{Told, read};
use super::options::{Options, address};
use crate::duplex::{self, Message, Receiver, Sender};
use crate::protocol::message::Account;
use std::time::{Duration, Instant};

/// A registered connection.
pub(super) struct Session {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) connection: String,
    pub(super) reconnect_spread: Duration,
}

impl Session {
    /// Connects, having promised to be heard at least this often, and waits until it is registered.
    pub(super) fn open(
        url: &str,
        account: &Account,
        token: Option<&str>,
        options: &Options,
        promise: Duration,
    ) -> Result<Self, Outage> {
        let deadline = Instant::now() + options.open_deadline;
        let address = address(url, account, &options.device, promise);
        let (sender, mut receiver) = duplex::connect(&address, &options.socket(token)).map_err(Outage::NotOpened)?;
        let first = receiver.recv_deadline(deadline).map_err(|closed| Outage::Ended(closed.reason().clone()))?;
        let text = match first {
            Some(Message::Text(text)) => text,
            Some(Message::Binary(_)) => return Err(Outage::NotHeartwire),
            None => return Err(Outage::NotOpened(duplex::ConnectError::TimedOut("waiting to be registered"))),
        };
        match read(&text) {
            Some(Told::Register { connection, reconnect_spread }) => {
                Ok(Self { sender, receiver, connection, reconnect_spread })
            }
            _ => Err(Outage::NotHeartwire),
        }
    }
}
