//! What follows from each command of a connection.

use super::State;
use crate::protocol::message::{
    Account, ErrorCode, FrameId, MAX_ROOMS, MAX_ROOMS_PER_CONNECTION, MAX_WATCHED_PER_CONNECTION, Recipients, Room,
};
use crate::protocol::native;
use crate::protocol::wire::Bytes;
use crate::router::command::{Command, Effect, Key, Slot, Target};
use std::time::Instant;

/// What an account's presence is taken to be worth, in bytes, where it counts against what somebody may cause.
const PRESENCE_BYTES: usize = 64;

impl State {
    /// Applies one command of a connection.
    pub(in crate::router) fn apply(&mut self, from: Key, command: Command, now: Instant, effects: &mut Vec<Effect>) {
        let Some(connection) = self.connection(from) else { return };
        connection.applied += 1;
        let mut asked = Asked { from, id: None, now, effects };
        match command {
            Command::Message { to, frame, id } => self.message(&to, &frame, asked.with(id)),
            Command::Broadcast { frame, id } => self.broadcast(&frame, asked.with(id)),
            Command::Join { room, id } => self.join(&room, asked.with(id)),
            Command::Leave { room, id } => self.leave(&room, asked.with(id)),
            Command::Presence { accounts, watch, id } => self.ask(&accounts, watch, asked.with(id)),
        }
        self.remove_if_done(from);
    }

    fn message(&mut self, to: &Recipients, frame: &Bytes, asked: &mut Asked<'_>) {
        let sender = asked.from.slot;
        match to {
            Recipients::Accounts(accounts) => {
                let count = accounts.iter().map(|account| self.reachable(account, sender).count()).sum();
                if self.may_cause(count, frame.len(), asked) {
                    for account in accounts {
                        asked.send_to(self.reachable(account, sender), frame);
                    }
                    asked.acknowledge(count);
                }
            }
            Recipients::Room(room) => {
                if !self.at(sender).is_some_and(|sender| sender.rooms.contains_key(room)) {
                    return asked.error(ErrorCode::PermissionDenied, "only members of a room may send to it");
                }
                let members = self.rooms.members(room).filter(|slot| *slot != sender);
                let count = members.count();
                if self.may_cause(count, frame.len(), asked) {
                    asked.send_to(self.rooms.members(room).filter(|slot| *slot != sender), frame);
                    asked.acknowledge(count);
                }
            }
        }
    }

    fn broadcast(&mut self, frame: &Bytes, asked: &mut Asked<'_>) {
        let sender = asked.from.slot;
        let others: Vec<Slot> = self.select(&Target::All).into_iter().filter(|slot| *slot != sender).collect();
        if self.may_cause(others.len(), frame.len(), asked) {
            asked.send_to(others.iter().copied(), frame);
            asked.acknowledge(others.len());
        }
    }

    fn join(&mut self, room: &Room, asked: &mut Asked<'_>) {
        let (exists, rooms) = (self.rooms.exists(room), self.rooms.len());
        let Some(connection) = self.connection(asked.from) else { return };
        if !connection.rooms.contains_key(room) {
            let own = connection.rooms.values().filter(|own| **own).count();
            if own >= MAX_ROOMS_PER_CONNECTION {
                let message = format!("a connection may join {MAX_ROOMS_PER_CONNECTION} rooms");
                return asked.error(ErrorCode::LimitExceeded, &message);
            }
            if !exists && rooms >= MAX_ROOMS {
                return asked.error(ErrorCode::LimitExceeded, &format!("this server keeps {MAX_ROOMS} rooms"));
            }
            connection.rooms.insert(room.clone(), true);
            if connection.attached {
                self.rooms.join(room, asked.from.slot);
            }
        }
        asked.acknowledge(0);
    }

    fn leave(&mut self, room: &Room, asked: &mut Asked<'_>) {
        if let Some(connection) = self.connection(asked.from) {
            connection.rooms.remove(room);
            self.rooms.leave(room, asked.from.slot);
        }
        asked.acknowledge(0);
    }

    fn ask(&mut self, accounts: &[Account], watch: Option<bool>, asked: &mut Asked<'_>) {
        if !self.at(asked.from.slot).is_some_and(|connection| connection.attached)
            || !self.may_cause(accounts.len(), PRESENCE_BYTES, asked)
        {
            return;
        }
        match watch {
            Some(true) => {
                if let Err(limit) = self.watch(asked.from, accounts) {
                    return asked.error(ErrorCode::LimitExceeded, &limit);
                }
            }
            Some(false) => self.unwatch(asked.from, accounts),
            None => {}
        }
        asked.answer(native::presence(asked.id.as_ref(), &self.presence(accounts)));
    }

    fn watch(&mut self, watcher: Key, accounts: &[Account]) -> Result<(), String> {
        let Some(watched) = self.at(watcher.slot).map(|connection| &connection.watching) else { return Ok(()) };
        let new: Vec<_> = accounts.iter().filter(|account| !watched.contains(*account)).cloned().collect();
        if watched.len() + new.len() > MAX_WATCHED_PER_CONNECTION {
            return Err(format!("a connection may watch {MAX_WATCHED_PER_CONNECTION} accounts"));
        }
        self.accounts.may_watch(&new)?;
        new.iter().for_each(|account| self.accounts.watch(account, watcher.slot));
        if let Some(connection) = self.connection(watcher) {
            connection.watching.extend(new);
        }
        Ok(())
    }

    fn unwatch(&mut self, watcher: Key, accounts: &[Account]) {
        let Some(connection) = self.connection(watcher) else { return };
        let known: Vec<_> = accounts.iter().filter(|account| connection.watching.remove(*account)).collect();
        known.into_iter().for_each(|account| self.accounts.unwatch(account, watcher.slot));
    }

    /// The connections of an account but for the sender's own.
    fn reachable(&self, account: &Account, sender: Slot) -> impl Iterator<Item = Slot> {
        self.accounts.connections(account).iter().copied().filter(move |slot| *slot != sender)
    }

    /// Whether the sender's account may cause so many deliveries; otherwise it is told that there were none.
    fn may_cause(&mut self, deliveries: usize, bytes: usize, asked: &mut Asked<'_>) -> bool {
        let Some(account) = self.account(asked.from.slot).cloned() else { return false };
        let may = self.accounts.spend(&account, deliveries, bytes, &self.config, asked.now);
        if !may {
            let message = "this account causes more than it may; nothing was delivered";
            asked.error(ErrorCode::LimitExceeded, message);
        }
        may
    }
}

/// One command being applied: who asked, and where the outcome goes.
struct Asked<'a> {
    from: Key,
    id: Option<FrameId>,
    now: Instant,
    effects: &'a mut Vec<Effect>,
}

impl<'a> Asked<'a> {
    fn with(&mut self, id: Option<FrameId>) -> &mut Asked<'a> {
        self.id = id;
        self
    }

    fn send_to(&mut self, slots: impl IntoIterator<Item = Slot>, frame: &Bytes) {
        self.effects.extend(slots.into_iter().map(|to| Effect::Send { to, frame: frame.clone() }));
    }

    fn acknowledge(&mut self, delivered: usize) {
        if let Some(id) = &self.id {
            self.answer(native::ack(id, delivered));
        }
    }

    fn error(&mut self, code: ErrorCode, message: &str) {
        self.answer(native::error(self.id.as_ref(), code, message));
    }

    fn answer(&mut self, frame: Bytes) {
        self.effects.push(Effect::Send { to: self.from.slot, frame });
    }
}
