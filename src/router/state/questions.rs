//! What can be asked of the state without changing it.

use super::State;
use crate::protocol::message::{Account, Presence, Room};
use crate::record::{ConnectionId, ConnectionInfo};
use crate::router::command::{AccountInfo, ConnectionDetail, Population, RoomInfo, Slot};
use std::collections::BTreeSet;

impl State {
    /// Who of these is online, in the order asked.
    pub(in crate::router) fn presence(&self, accounts: &[Account]) -> Vec<Presence> {
        accounts.iter().map(|account| self.accounts.presence(account)).collect()
    }

    /// The connections of an account, oldest first.
    pub(in crate::router) fn connections_of(&self, account: &Account) -> Vec<ConnectionInfo> {
        let slots = self.accounts.connections(account).iter();
        slots.filter_map(|slot| Some(ConnectionInfo::clone(&self.at(*slot)?.info))).collect()
    }

    /// What is known of an account, which may be nothing.
    pub(in crate::router) fn account_info(&self, account: &Account) -> AccountInfo {
        AccountInfo {
            presence: self.accounts.presence(account),
            connections: self.connections_of(account),
            rooms: self.accounts.rooms(account).cloned().collect(),
        }
    }

    /// A connection that can be reached.
    pub(in crate::router) fn connection_detail(&self, id: &ConnectionId) -> Option<ConnectionDetail> {
        let connection = self.at(*self.by_id.get(id)?).filter(|connection| connection.attached)?;
        let info = ConnectionInfo::clone(&connection.info);
        Some(ConnectionDetail { info, rooms: connection.rooms.keys().cloned().collect() })
    }

    /// The first accounts by name behind `after` that are online or were put into a room.
    pub(in crate::router) fn accounts(&self, after: Option<&Account>, limit: usize) -> Vec<Presence> {
        let accounts = page(self.accounts.known(), after, limit);
        accounts.into_iter().map(|account| self.accounts.presence(account)).collect()
    }

    /// The first rooms by name behind `after`.
    pub(in crate::router) fn rooms(&self, after: Option<&Room>, limit: usize) -> Vec<RoomInfo> {
        let rooms = page(self.rooms.iter().map(|(room, _)| room), after, limit);
        let info = |room: &Room| RoomInfo {
            room: room.clone(),
            accounts: self.accounts_in(room).len(),
            connections: self.rooms.members(room).count(),
        };
        rooms.into_iter().map(info).collect()
    }

    /// The first accounts by name behind `after` that have a connection in a room, or will have: the program put them
    /// into it. Their connections are those in the room.
    pub(in crate::router) fn members(&self, room: &Room, after: Option<&Account>, limit: usize) -> Vec<Presence> {
        let slots: BTreeSet<Slot> = self.rooms.members(room).collect();
        let members: BTreeSet<&Account> =
            self.accounts_in(room).into_iter().chain(self.accounts.put_into(room)).collect();
        let members = page(members.into_iter(), after, limit);
        let in_room = |account: &Account| {
            let connections = self.accounts.connections(account).iter();
            connections.filter(|slot| slots.contains(slot)).count()
        };
        let of = |account: &Account| Presence { connections: in_room(account), ..self.accounts.presence(account) };
        members.into_iter().map(of).collect()
    }

    pub(in crate::router) fn population(&self) -> Population {
        Population {
            connections: self.connections.iter().flatten().filter(|connection| connection.attached).count(),
            accounts: self.accounts.connected(),
            rooms: self.rooms.len(),
        }
    }

    fn accounts_in(&self, room: &Room) -> BTreeSet<&Account> {
        self.rooms.members(room).filter_map(|slot| self.account(slot)).collect()
    }
}

/// The `limit` smallest of the names that are greater than `after`, in order, without sorting all of them.
fn page<'a, T: Ord>(names: impl Iterator<Item = &'a T>, after: Option<&T>, limit: usize) -> Vec<&'a T> {
    let mut names: Vec<&T> = names.filter(|name| after.is_none_or(|after| *name > after)).collect();
    if limit < names.len() {
        names.select_nth_unstable(limit);
        names.truncate(limit);
    }
    names.sort_unstable();
    names
}
