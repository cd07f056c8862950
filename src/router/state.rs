//! The router's state: who is connected, who is in which room, who watches whom, and what follows from each command.
//!
//! Pure: it does no I/O and reads no clock. What is to be done comes out as [`Effect`]s, in order.

mod apply;
mod questions;
mod width;

use super::SendError;
use super::accounts::Accounts;
use super::command::{Effect, Key, Reach, Registration, Slot, Target};
use super::rooms::Rooms;
use crate::auth::Refusal;
use crate::config::{Config, SingleBy, SingleConnection};
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::message::{Account, Room};
use crate::protocol::native;
use crate::protocol::wire::Bytes;
use crate::record::{ConnectionId, ConnectionInfo};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Everything the router knows.
pub(crate) struct State {
    config: Arc<Config>,
    /// Boxed, as the table grows by doubling.
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<Slot>,
    by_id: HashMap<ConnectionId, Slot>,
    accounts: Accounts,
    rooms: Rooms,
    addresses: HashMap<IpAddr, usize>,
    draining: bool,
}

struct Connection {
    serial: u64,
    info: Arc<ConnectionInfo>,
    limited_address: Option<IpAddr>,
    /// Its rooms; true for those it joined by itself, which are limited.
    rooms: BTreeMap<Room, bool>,
    watching: BTreeSet<Account>,
    /// Whether it can be reached: it is listed under its account and in its rooms.
    attached: bool,
    /// How many of its commands were applied, and after how many it leaves: its unregistration overtakes them.
    applied: u64,
    leaves_after: Option<u64>,
}

impl State {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            connections: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            accounts: Accounts::default(),
            rooms: Rooms::default(),
            addresses: HashMap::new(),
            draining: false,
        }
    }

    /// Admits a connection; its greeting is the first thing it is sent.
    ///
    /// # Errors
    /// The refusal, when the server is stopping or a limit of the account or the address is reached.
    pub(super) fn register(
        &mut self,
        new: Registration,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Result<Key, Refusal> {
        self.admit(&new)?;
        let account = new.identity.account.clone();
        let rivals = self.rivals(&new.info);
        let rooms: BTreeSet<Room> =
            new.identity.rooms.into_iter().chain(self.accounts.rooms(&account).cloned()).collect();
        if let Some(address) = new.limited_address {
            *self.addresses.entry(address).or_default() += 1;
        }
        let connection = Connection {
            serial: new.serial,
            info: new.info,
            limited_address: new.limited_address,
            rooms: rooms.iter().cloned().map(|room| (room, false)).collect(),
            watching: BTreeSet::new(),
            attached: true,
            applied: 0,
            leaves_after: None,
        };
        let slot = self.place(connection);
        effects.push(Effect::Greet { to: slot, greeting: new.greeting });
        for room in &rooms {
            self.rooms.join(room, slot);
        }
        if self.accounts.attach(&account, slot) {
            self.tell_presence(&account, effects);
        }
        // Last, so that the account is never offline in between.
        if self.config.single == SingleConnection::Replace {
            rivals.into_iter().for_each(|slot| self.end(slot, CloseKind::Replaced.into(), now, effects));
        }
        Ok(Key { slot, serial: new.serial })
    }

    /// A connection's thread has ended. Commands that it handed over before are still its own.
    pub(super) fn unregister(&mut self, key: Key, commands: u64, now: Instant, effects: &mut Vec<Effect>) {
        if self.connection(key).is_none() {
            return;
        }
        self.detach(key.slot, now, effects);
        effects.push(Effect::Forget { slot: key.slot });
        if let Some(connection) = self.connection(key) {
            connection.leaves_after = Some(commands);
        }
        self.remove_if_done(key);
    }

    /// Sends a frame of the embedding program.
    pub(super) fn push(&mut self, to: &Target, frame: &Bytes, effects: &mut Vec<Effect>) -> Reach {
        let slots = self.select(to);
        let mut reach = Reach { connections: slots.len(), ..Reach::default() };
        let accounts: BTreeSet<&Account> = slots.iter().filter_map(|slot| self.account(*slot)).collect();
        reach.accounts = accounts.len();
        if let Target::Accounts(named) = to {
            let named: BTreeSet<&Account> = named.iter().collect();
            reach.missing = named.difference(&accounts).copied().cloned().collect();
        }
        if let Target::Rooms(named) = to {
            let named: BTreeSet<&Room> = named.iter().filter(|room| !self.rooms.exists(room)).collect();
            reach.missing_rooms = named.into_iter().cloned().collect();
        }
        effects.extend(slots.into_iter().map(|to| Effect::Send { to, frame: frame.clone() }));
        reach
    }

    /// Ends connections; says how many.
    pub(super) fn disconnect(
        &mut self,
        target: &Target,
        reason: &CloseReason,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> usize {
        let slots = self.select(target);
        for slot in &slots {
            self.end(*slot, reason.clone(), now, effects);
        }
        slots.len()
    }

    /// Puts an account into a room: its connections, and those that come later. False when it was in it already.
    ///
    /// # Errors
    /// When as many accounts are in as many rooms as may be.
    pub(super) fn join_account(&mut self, account: &Account, room: &Room) -> Result<bool, SendError> {
        if !self.accounts.may_join(account, room) {
            return Err(SendError::Full);
        }
        for slot in self.accounts.connections(account) {
            self.rooms.join(room, *slot);
            if let Some(Some(connection)) = self.connections.get_mut(*slot as usize) {
                connection.rooms.insert(room.clone(), false);
            }
        }
        Ok(self.accounts.join(account, room.clone()))
    }

    /// Takes an account, and each of its connections, out of a room. False when it had not been put into it.
    pub(super) fn leave_account(&mut self, account: &Account, room: &Room) -> bool {
        for slot in self.accounts.connections(account) {
            self.rooms.leave(room, *slot);
            if let Some(Some(connection)) = self.connections.get_mut(*slot as usize) {
                connection.rooms.remove(room);
            }
        }
        self.accounts.leave(account, room)
    }

    /// Other limits and times hold from now on.
    pub(super) fn reconfigure(&mut self, config: Arc<Config>) {
        let rates = |config: &Config| (config.deliveries_per_second, config.delivered_bytes_per_second);
        if rates(&self.config) != rates(&config) {
            self.accounts.forget_allowances();
        }
        self.config = config;
    }

    /// Accounts whose last connection ended long enough ago are offline.
    pub(super) fn depart(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while let Some(account) = self.accounts.depart(now) {
            self.tell_presence(&account, effects);
        }
    }

    /// When [`State::depart`] has something to do next. Who is online when the server stops is not said to have gone.
    pub(super) fn departs_at(&self) -> Option<Instant> {
        self.accounts.departs_at().filter(|_| !self.draining)
    }

    /// Refuses newcomers from now on and names those who are there.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Slot> {
        self.draining = true;
        (0..).zip(&self.connections).filter_map(|(slot, connection)| connection.as_ref().map(|_| slot))
    }

    /// Takes a connection that is closing out of everything through which it could be reached.
    pub(super) fn detach(&mut self, slot: Slot, now: Instant, effects: &mut Vec<Effect>) {
        let Some(Some(connection)) = self.connections.get_mut(slot as usize) else { return };
        if !std::mem::replace(&mut connection.attached, false) {
            return;
        }
        let account = connection.info.account.clone();
        for room in connection.rooms.keys() {
            self.rooms.leave(room, slot);
        }
        for watched in std::mem::take(&mut connection.watching) {
            self.accounts.unwatch(&watched, slot);
        }
        if self.accounts.detach(&account, slot, self.config.offline_grace, now) {
            self.tell_presence(&account, effects);
        }
    }

    fn admit(&self, new: &Registration) -> Result<(), Refusal> {
        let config = &self.config;
        if self.draining {
            return Err(Refusal::draining(config.reconnect_spread));
        }
        let from_address = new.limited_address.and_then(|address| self.addresses.get(&address)).copied().unwrap_or(0);
        if let Some(most) = config.max_per_address.filter(|most| from_address >= *most) {
            return Err(Refusal::connection_limit(format!(
                "this address has {most} connections, the most it may have"
            )));
        }
        let (present, rivals) = (self.accounts.connections(&new.info.account).len(), self.rivals(&new.info).len());
        if config.single == SingleConnection::Refuse && rivals > 0 {
            return Err(Refusal::connection_limit(match config.single_by {
                SingleBy::Account => "this account is connected already",
                SingleBy::Device => "this device of the account is connected already",
            }));
        }
        // Those that it replaces make room.
        let staying = if config.single == SingleConnection::Replace { present - rivals } else { present };
        match config.max_per_account.filter(|most| staying >= *most) {
            Some(most) => {
                Err(Refusal::connection_limit(format!("this account has {most} connections, the most it may have")))
            }
            None => Ok(()),
        }
    }

    /// The connections beside which there would be two of what may have a single one.
    fn rivals(&self, new: &ConnectionInfo) -> Vec<Slot> {
        let same_device = |slot: &Slot| self.at(*slot).is_some_and(|other| other.info.device == new.device);
        let counts = |slot: &Slot| self.config.single_by == SingleBy::Account || same_device(slot);
        self.accounts.connections(&new.account).iter().copied().filter(counts).collect()
    }

    fn select(&self, target: &Target) -> Vec<Slot> {
        match target {
            Target::Accounts(accounts) => {
                let accounts: BTreeSet<&Account> = accounts.iter().collect();
                accounts.into_iter().flat_map(|account| self.accounts.connections(account)).copied().collect()
            }
            Target::Rooms(rooms) => {
                let slots: BTreeSet<Slot> = rooms.iter().flat_map(|room| self.rooms.members(room)).collect();
                slots.into_iter().collect()
            }
            Target::All => {
                let attached = |connection: &Option<Box<Connection>>| connection.as_ref().is_some_and(|c| c.attached);
                (0..)
                    .zip(&self.connections)
                    .filter(|(_, connection)| attached(connection))
                    .map(|(slot, _)| slot)
                    .collect()
            }
            Target::Connection(id) => {
                let slot = self.by_id.get(id).copied();
                slot.filter(|slot| self.at(*slot).is_some_and(|connection| connection.attached)).into_iter().collect()
            }
        }
    }

    fn end(&mut self, slot: Slot, reason: CloseReason, now: Instant, effects: &mut Vec<Effect>) {
        self.detach(slot, now, effects);
        effects.push(Effect::Close { to: slot, reason });
    }

    /// Tells watchers and the program of an account that has come online or gone.
    fn tell_presence(&self, account: &Account, effects: &mut Vec<Effect>) {
        let presence = self.accounts.presence(account);
        let online = presence.online;
        let mut watchers = self.accounts.watchers(account).peekable();
        if watchers.peek().is_some() {
            let frame = native::presence(None, &[presence]);
            effects.extend(watchers.map(|to| Effect::Send { to, frame: frame.clone() }));
        }
        effects.push(Effect::Announce { account: account.clone(), online });
    }

    fn place(&mut self, connection: Connection) -> Slot {
        let id = connection.info.id.clone();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            // Threads run out long before numbers do.
            Slot::try_from(self.connections.len() - 1).unwrap_or(Slot::MAX)
        });
        self.connections[slot as usize] = Some(Box::new(connection));
        self.by_id.insert(id, slot);
        slot
    }

    fn remove_if_done(&mut self, key: Key) {
        let done = |connection: &Connection| connection.leaves_after.is_some_and(|last| connection.applied >= last);
        if !self.connection(key).is_some_and(|connection| done(connection)) {
            return;
        }
        let Some(connection) = self.connections[key.slot as usize].take() else { return };
        self.free.push(key.slot);
        self.by_id.remove(&connection.info.id);
        if let Some(address) = connection.limited_address
            && let Some(count) = self.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    fn connection(&mut self, key: Key) -> Option<&mut Connection> {
        self.connections.get_mut(key.slot as usize)?.as_deref_mut().filter(|connection| connection.serial == key.serial)
    }

    fn at(&self, slot: Slot) -> Option<&Connection> {
        self.connections.get(slot as usize)?.as_deref()
    }

    fn account(&self, slot: Slot) -> Option<&Account> {
        self.at(slot).map(|connection| &connection.info.account)
    }
}

#[cfg(test)]
mod tests;
