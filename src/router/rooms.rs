//! Who is in which room.

use super::command::Slot;
use crate::protocol::message::Room;
use std::collections::{BTreeSet, HashMap};

/// All rooms that somebody is in. A room comes into being with its first member and ends with its last.
#[derive(Default)]
pub(super) struct Rooms {
    members: HashMap<Room, BTreeSet<Slot>>,
}

impl Rooms {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn exists(&self, room: &Room) -> bool {
        self.members.contains_key(room)
    }

    /// All rooms with their members, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Room, &BTreeSet<Slot>)> {
        self.members.iter()
    }

    /// The members of a room, in a fixed order.
    pub(super) fn members(&self, room: &Room) -> impl Iterator<Item = Slot> {
        self.members.get(room).into_iter().flatten().copied()
    }

    /// How many members it has.
    pub(super) fn size(&self, room: &Room) -> usize {
        self.members.get(room).map_or(0, BTreeSet::len)
    }

    pub(super) fn join(&mut self, room: &Room, slot: Slot) {
        self.members.entry(room.clone()).or_default().insert(slot);
    }

    pub(super) fn leave(&mut self, room: &Room, slot: Slot) {
        if let Some(members) = self.members.get_mut(room) {
            members.remove(&slot);
            if members.is_empty() {
                self.members.remove(room);
            }
        }
    }
}
