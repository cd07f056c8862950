//! How many connections something is for: an estimate that costs little, and is never too small by more than one a command.

use super::State;
use crate::protocol::message::{Account, Recipients, Room};
use crate::router::command::{Command, Target};

impl State {
    /// To how many connections a command leads, whoever sends it.
    pub(in crate::router) fn width(&self, command: &Command) -> usize {
        match command {
            Command::Message { to: Recipients::Accounts(accounts), .. } => self.of_accounts(accounts),
            Command::Message { to: Recipients::Room(room), .. } => self.rooms.size(room),
            Command::Broadcast { .. } => self.by_id.len(),
            Command::Join { .. } | Command::Leave { .. } | Command::Presence { .. } => 1,
        }
    }

    /// How many connections are meant.
    pub(in crate::router) fn width_of(&self, target: &Target) -> usize {
        match target {
            Target::Accounts(accounts) => self.of_accounts(accounts),
            Target::Rooms(rooms) => rooms.iter().map(|room: &Room| self.rooms.size(room)).sum(),
            Target::All => self.by_id.len(),
            Target::Connection(_) => 1,
        }
    }

    fn of_accounts(&self, accounts: &[Account]) -> usize {
        accounts.iter().map(|account| self.accounts.connections(account).len()).sum()
    }
}
