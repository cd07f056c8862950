//! The state without a thread, and with nobody behind its connections: for who measures what a command takes.

use super::command::{Command, Effect, Key, Registration};
use super::state::State;
use crate::auth::{Identity, Refusal};
use crate::clock;
use crate::config::Config;
use crate::protocol::message::{Account, Recipients, Room};
use crate::protocol::wire::Bytes;
use crate::record::{ConnectionId, ConnectionInfo, Dialect};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Connected accounts, all of them in one room, of which the last one sends.
pub struct Crowd {
    state: State,
    sender: Key,
    effects: Vec<Effect>,
    now: Instant,
}

impl Crowd {
    /// Registers these accounts, and a sender besides, and lets all of them join the room.
    ///
    /// # Errors
    /// Where an account has more connections than it may.
    pub fn new(accounts: impl IntoIterator<Item = Account>, sender: Account, room: &Room) -> Result<Self, Refusal> {
        let config = Config { deliveries_per_second: None, delivered_bytes_per_second: None, ..Config::default() };
        let sender_key = Key { slot: 0, serial: 0 };
        let mut crowd =
            Self { state: State::new(Arc::new(config)), sender: sender_key, effects: Vec::new(), now: clock::now() };
        for (serial, account) in (1..).zip(accounts.into_iter().chain([sender])) {
            crowd.sender = crowd.state.register(registration(serial, account), crowd.now, &mut crowd.effects)?;
            crowd.apply(Command::Join { room: room.clone(), id: None });
        }
        Ok(crowd)
    }

    /// Sends a frame; returns to how many connections.
    pub fn message(&mut self, to: Recipients, frame: &Bytes) -> usize {
        self.apply(Command::Message { to, frame: frame.clone(), id: None })
    }

    fn apply(&mut self, command: Command) -> usize {
        self.effects.clear();
        self.state.apply(self.sender, command, self.now, &mut self.effects);
        self.effects.len()
    }
}

fn registration(serial: u64, account: Account) -> Registration {
    let info = ConnectionInfo {
        id: ConnectionId(format!("c-{serial}").into()),
        account: account.clone(),
        device: "".into(),
        dialect: Dialect::Native,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        since: SystemTime::UNIX_EPOCH,
    };
    let identity = Identity::new(account);
    Registration { serial, identity, limited_address: None, info: Arc::new(info), greeting: Vec::new() }
}
