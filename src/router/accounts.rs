//! Who is online with which connections, who watches whom, and what each account may still cause to be delivered.

use super::command::Slot;
use crate::config::{Config, Rate};
use crate::limits::TokenBucket;
use crate::protocol::message::{Account, Room};
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// All accounts that somebody has reason to remember.
#[derive(Default)]
pub(super) struct Accounts {
    entries: HashMap<Account, Entry>,
    online: usize,
}

#[derive(Default)]
struct Entry {
    /// In the order of their registration.
    connections: Vec<Slot>,
    /// Rooms that the embedding program put the account into, for its later connections too.
    rooms: BTreeSet<Room>,
    watchers: BTreeSet<Slot>,
    allowance: Option<Allowance>,
}

impl Accounts {
    /// Accounts with at least one connection.
    pub(super) fn online(&self) -> usize {
        self.online
    }

    /// The connections of an account, oldest first.
    pub(super) fn connections(&self, account: &Account) -> &[Slot] {
        self.entries.get(account).map_or(&[], |entry| &entry.connections)
    }

    /// The rooms that every connection of the account is in.
    pub(super) fn rooms(&self, account: &Account) -> impl Iterator<Item = &Room> {
        self.entries.get(account).into_iter().flat_map(|entry| &entry.rooms)
    }

    /// Who wants to know when the account comes or goes.
    pub(super) fn watchers(&self, account: &Account) -> impl Iterator<Item = Slot> {
        self.entries.get(account).into_iter().flat_map(|entry| &entry.watchers).copied()
    }

    /// Adds a connection; true when the account was offline before.
    pub(super) fn attach(&mut self, account: &Account, slot: Slot) -> bool {
        let entry = self.entry(account);
        entry.connections.push(slot);
        let came_online = entry.connections.len() == 1;
        self.online += usize::from(came_online);
        came_online
    }

    /// Removes a connection; true when it was the last one.
    pub(super) fn detach(&mut self, account: &Account, slot: Slot) -> bool {
        let Some(entry) = self.entries.get_mut(account) else { return false };
        let before = entry.connections.len();
        entry.connections.retain(|other| *other != slot);
        let went_offline = before == 1 && entry.connections.is_empty();
        self.online -= usize::from(went_offline);
        self.forget_if_idle(account);
        went_offline
    }

    /// Remembers a room for the account; false when it was in it already.
    pub(super) fn join(&mut self, account: &Account, room: Room) -> bool {
        self.entry(account).rooms.insert(room)
    }

    /// Forgets a room of the account; false when it was not in it.
    pub(super) fn leave(&mut self, account: &Account, room: &Room) -> bool {
        let left = self.entries.get_mut(account).is_some_and(|entry| entry.rooms.remove(room));
        self.forget_if_idle(account);
        left
    }

    pub(super) fn watch(&mut self, account: &Account, watcher: Slot) {
        self.entry(account).watchers.insert(watcher);
    }

    pub(super) fn unwatch(&mut self, account: &Account, watcher: Slot) {
        if let Some(entry) = self.entries.get_mut(account) {
            entry.watchers.remove(&watcher);
        }
        self.forget_if_idle(account);
    }

    /// Takes `deliveries` of `bytes` each from what the account may cause; false, and nothing taken, beyond that.
    pub(super) fn spend(
        &mut self,
        account: &Account,
        deliveries: usize,
        bytes: usize,
        config: &Config,
        now: Instant,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(account) else { return true };
        let allowance = entry.allowance.get_or_insert_with(|| Allowance::new(config, now));
        allowance.spend(deliveries as u64, (deliveries as u64).saturating_mul(bytes as u64), now)
    }

    fn entry(&mut self, account: &Account) -> &mut Entry {
        self.entries.entry(account.clone()).or_default()
    }

    fn forget_if_idle(&mut self, account: &Account) {
        let idle = |entry: &Entry| entry.connections.is_empty() && entry.rooms.is_empty() && entry.watchers.is_empty();
        if self.entries.get(account).is_some_and(idle) {
            self.entries.remove(account);
        }
    }
}

/// What the messages of one account may still cause.
struct Allowance {
    deliveries: Option<TokenBucket>,
    bytes: Option<TokenBucket>,
}

impl Allowance {
    fn new(config: &Config, now: Instant) -> Self {
        let bucket =
            |per_second: Option<u32>| per_second.map(|n| TokenBucket::new(Rate { per_second: n, burst: n }, now));
        Self { deliveries: bucket(config.deliveries_per_second), bytes: bucket(config.delivered_bytes_per_second) }
    }

    fn spend(&mut self, deliveries: u64, bytes: u64, now: Instant) -> bool {
        let has =
            |bucket: &Option<TokenBucket>, n| bucket.as_ref().is_none_or(|bucket| bucket.wait_for(n, now).is_zero());
        let enough = has(&self.deliveries, deliveries) && has(&self.bytes, bytes);
        if enough {
            self.deliveries.as_mut().map(|bucket| bucket.take(deliveries, now));
            self.bytes.as_mut().map(|bucket| bucket.take(bytes, now));
        }
        enough
    }
}
