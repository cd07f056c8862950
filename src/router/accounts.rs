//! Who is online with which connections, who watches whom, and what each account may still cause to be delivered.

use super::command::Slot;
use crate::config::{Config, Rate};
use crate::limits::TokenBucket;
use crate::protocol::message::{Account, MAX_MEMBERSHIPS, MAX_WATCHERS_PER_ACCOUNT, MAX_WATCHES, Presence, Room};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// All accounts that somebody has reason to remember.
#[derive(Default)]
pub(super) struct Accounts {
    /// Boxed, as such a table is up to twice as large as what is in it.
    entries: HashMap<Account, Box<Entry>>,
    connected: usize,
    /// Accounts without a connection that still count as online, and until when.
    departing: BTreeSet<(Instant, Account)>,
    /// Rooms that accounts were put into, each as often as somebody is in it.
    memberships: usize,
    /// Watched accounts, each as often as it is watched.
    watches: usize,
    /// Accounts that are remembered for nothing but what they have caused lately: otherwise a new connection would be
    /// a new allowance. Each message looks at the longest-resting two, so that they become no more.
    resting: VecDeque<Account>,
}

#[derive(Default)]
struct Entry {
    /// In the order of their registration.
    connections: Vec<Slot>,
    /// Since its first connection, and until some time after its last.
    online: bool,
    /// Until when it is so without a connection.
    departs: Option<Instant>,
    /// Rooms that the embedding program put the account into, for its later connections too.
    rooms: BTreeSet<Room>,
    watchers: BTreeSet<Slot>,
    /// Of those who have sent something.
    allowance: Option<Box<Allowance>>,
    resting: bool,
}

impl Accounts {
    /// How many have at least one connection.
    pub(super) fn connected(&self) -> usize {
        self.connected
    }

    /// Whether an account is online, and how often.
    pub(super) fn presence(&self, account: &Account) -> Presence {
        let entry = self.entries.get(account);
        Presence {
            account: account.clone(),
            online: entry.is_some_and(|entry| entry.online),
            connections: entry.map_or(0, |entry| entry.connections.len()),
        }
    }

    /// Accounts that the program put into a room, in no order.
    pub(super) fn put_into(&self, room: &Room) -> impl Iterator<Item = &Account> {
        self.entries.iter().filter(|(_, entry)| entry.rooms.contains(room)).map(|(account, _)| account)
    }

    /// Accounts that are online or were put into a room, in no order.
    pub(super) fn known(&self) -> impl Iterator<Item = &Account> {
        let known = |entry: &Entry| entry.online || !entry.rooms.is_empty();
        self.entries.iter().filter(move |(_, entry)| known(entry)).map(|(account, _)| account)
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
        let is_first = entry.connections.len() == 1;
        let departs = entry.departs.take();
        let came_online = !std::mem::replace(&mut entry.online, true);
        if let Some(at) = departs {
            self.departing.remove(&(at, account.clone()));
        }
        self.connected += usize::from(is_first);
        came_online
    }

    /// Removes a connection; true when the account is offline from now on. Where there is a grace it is so only after
    /// that, see [`Accounts::depart`].
    pub(super) fn detach(&mut self, account: &Account, slot: Slot, grace: Duration, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(account) else { return false };
        let before = entry.connections.len();
        entry.connections.retain(|other| *other != slot);
        let was_last = before == 1 && entry.connections.is_empty();
        if was_last && !grace.is_zero() {
            entry.departs = Some(now + grace);
            self.departing.insert((now + grace, account.clone()));
        } else if was_last {
            entry.online = false;
        }
        self.connected -= usize::from(was_last);
        let went_offline = was_last && grace.is_zero();
        self.forget_if_idle(account);
        went_offline
    }

    /// An account whose grace is over: it is offline from now on.
    pub(super) fn depart(&mut self, now: Instant) -> Option<Account> {
        if self.departs_at()? > now {
            return None;
        }
        let (_, account) = self.departing.pop_first()?;
        if let Some(entry) = self.entries.get_mut(&account) {
            (entry.online, entry.departs) = (false, None);
        }
        self.forget_if_idle(&account);
        Some(account)
    }

    /// When the next account is offline, unless it comes back before.
    pub(super) fn departs_at(&self) -> Option<Instant> {
        self.departing.first().map(|(at, _)| *at)
    }

    /// Whether the account is in this room, or there is room for another account in another room.
    pub(super) fn may_join(&self, account: &Account, room: &Room) -> bool {
        self.memberships < MAX_MEMBERSHIPS || self.entries.get(account).is_some_and(|entry| entry.rooms.contains(room))
    }

    /// Remembers a room for the account; false when it was in it already.
    pub(super) fn join(&mut self, account: &Account, room: Room) -> bool {
        let joined = self.entry(account).rooms.insert(room);
        self.memberships += usize::from(joined);
        joined
    }

    /// Forgets a room of the account; false when it was not in it.
    pub(super) fn leave(&mut self, account: &Account, room: &Room) -> bool {
        let left = self.entries.get_mut(account).is_some_and(|entry| entry.rooms.remove(room));
        self.memberships -= usize::from(left);
        self.forget_if_idle(account);
        left
    }

    /// Whether another watcher may be added to each of these.
    ///
    /// # Errors
    /// The limit that would be exceeded, in words.
    pub(super) fn may_watch(&self, accounts: &[Account]) -> Result<(), String> {
        if self.watches + accounts.len() > MAX_WATCHES {
            return Err(format!("this server keeps {MAX_WATCHES} watches"));
        }
        let watchers = |account: &Account| self.entries.get(account).map_or(0, |entry| entry.watchers.len());
        match accounts.iter().find(|account| watchers(account) >= MAX_WATCHERS_PER_ACCOUNT) {
            Some(account) => Err(format!("{account} is watched by {MAX_WATCHERS_PER_ACCOUNT} connections already")),
            None => Ok(()),
        }
    }

    pub(super) fn watch(&mut self, account: &Account, watcher: Slot) {
        if self.entry(account).watchers.insert(watcher) {
            self.watches += 1;
        }
    }

    pub(super) fn unwatch(&mut self, account: &Account, watcher: Slot) {
        if let Some(entry) = self.entries.get_mut(account) {
            self.watches -= usize::from(entry.watchers.remove(&watcher));
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
        if config.deliveries_per_second.is_none() && config.delivered_bytes_per_second.is_none() {
            return true;
        }
        self.forget_rested(now);
        let entry = self.entry(account);
        let allowance = entry.allowance.get_or_insert_with(|| Box::new(Allowance::new(config, now)));
        let spent = allowance.spend(deliveries as u64, (deliveries as u64).saturating_mul(bytes as u64), now);
        // A connection may have left before its last messages were looked at.
        if entry.is_idle() {
            self.forget_if_idle(account);
        }
        spent
    }

    /// What an account may cause is counted anew, by other limits.
    pub(super) fn forget_allowances(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.allowance = None);
    }

    fn entry(&mut self, account: &Account) -> &mut Entry {
        self.entries.entry(account.clone()).or_default()
    }

    fn forget_if_idle(&mut self, account: &Account) {
        let Some(entry) = self.entries.get_mut(account).filter(|entry| entry.is_idle()) else { return };
        if entry.allowance.is_none() {
            self.entries.remove(account);
        } else if !std::mem::replace(&mut entry.resting, true) {
            self.resting.push_back(account.clone());
        }
    }

    fn forget_rested(&mut self, now: Instant) {
        for _ in 0..2 {
            let Some(account) = self.resting.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&account) else { continue };
            if !entry.is_idle() {
                entry.resting = false;
            } else if entry.allowance.as_ref().is_some_and(|allowance| !allowance.is_whole(now)) {
                self.resting.push_back(account);
            } else {
                self.entries.remove(&account);
            }
        }
    }
}

impl Entry {
    /// Whether nothing but its allowance is left to remember.
    fn is_idle(&self) -> bool {
        !self.online && self.rooms.is_empty() && self.watchers.is_empty()
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

    /// Whether nothing is missing any more.
    fn is_whole(&self, now: Instant) -> bool {
        [&self.deliveries, &self.bytes].into_iter().flatten().all(|bucket| bucket.is_full(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnecting_brings_no_new_allowance_and_rested_accounts_are_forgotten() {
        let config = Config { deliveries_per_second: Some(10), ..Config::default() };
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        let name = |n: usize| Account::new(&format!("a{n}")).unwrap();
        for slot in 0..3 {
            accounts.attach(&name(0), slot);
            assert_eq!(accounts.spend(&name(0), 6, 1, &config, now), slot == 0, "connection {slot}");
            accounts.detach(&name(0), slot, Duration::ZERO, now);
        }
        for n in 1..1_000 {
            accounts.attach(&name(n), 0);
            let now = now + n as u32 * Duration::from_millis(10);
            assert!(accounts.spend(&name(n), 1, 1, &config, now));
            accounts.detach(&name(n), 0, Duration::ZERO, now);
            assert!(accounts.entries.len() < 40, "those of the last 100 ms, and few more");
        }
    }

    #[test]
    fn who_is_in_a_room_already_needs_no_room_for_another_membership() {
        let mut accounts = Accounts::default();
        let (alice, bob) = (Account::new("alice").unwrap(), Account::new("bob").unwrap());
        let (hall, garden) = (Room::new("hall").unwrap(), Room::new("garden").unwrap());
        assert!(accounts.may_join(&alice, &hall) && accounts.join(&alice, hall.clone()));
        accounts.memberships = MAX_MEMBERSHIPS;
        assert!(accounts.may_join(&alice, &hall) && !accounts.may_join(&alice, &garden));
        assert!(!accounts.may_join(&bob, &hall));
    }

    #[test]
    fn watches_are_bounded_for_each_account_and_in_all() {
        let mut accounts = Accounts::default();
        let name = |n: usize| Account::new(&format!("a{n}")).unwrap();
        let star = name(0);
        (0..MAX_WATCHERS_PER_ACCOUNT as Slot).for_each(|watcher| accounts.watch(&star, watcher));
        assert_eq!(accounts.may_watch(&[name(1)]), Ok(()));
        assert_eq!(
            accounts.may_watch(&[name(1), star.clone()]).unwrap_err(),
            "a0 is watched by 1024 connections already"
        );
        accounts.unwatch(&star, 7);
        assert_eq!(accounts.may_watch(std::slice::from_ref(&star)), Ok(()));
        let others: Vec<Account> = (1..=MAX_WATCHES - accounts.watches).map(name).collect();
        assert_eq!(accounts.may_watch(&others), Ok(()));
        others.iter().for_each(|other| accounts.watch(other, 0));
        assert_eq!(accounts.may_watch(&[star]).unwrap_err(), "this server keeps 300000 watches");
    }
}
