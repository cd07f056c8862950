//! Who is connected and who is in which room: what all tasks share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Messages that may wait for one connection.
const QUEUE_MESSAGES: usize = 1_024;

type Connections = Vec<Arc<Member>>;
type Members = HashMap<u64, Arc<Member>>;

/// The accounts and rooms of the server. No lock is held while a task waits.
#[derive(Default)]
pub(crate) struct Hub {
    accounts: RwLock<HashMap<Arc<str>, Connections>>,
    rooms: RwLock<HashMap<Arc<str>, Members>>,
    connections: AtomicU64,
}

/// A connection as others see it.
pub(crate) struct Member {
    /// Never used again.
    pub(crate) number: u64,
    pub(crate) account: Arc<str>,
    queue: Sender<Utf8Bytes>,
    too_slow: AtomicBool,
}

impl Hub {
    /// A connection that nobody can find yet, and what will be sent to it.
    pub(crate) fn member(&self, account: &str) -> (Arc<Member>, Receiver<Utf8Bytes>) {
        let (queue, outgoing) = mpsc::channel(QUEUE_MESSAGES);
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let too_slow = AtomicBool::new(false);
        (Arc::new(Member { number, account: account.into(), queue, too_slow }), outgoing)
    }

    pub(crate) fn enter(&self, member: &Arc<Member>) {
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        accounts.entry(Arc::clone(&member.account)).or_default().push(Arc::clone(member));
    }

    /// The end of a connection, which is in these rooms.
    pub(crate) fn exit(&self, member: &Member, rooms: &[Arc<str>]) {
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = accounts.get_mut(&member.account) {
            connections.retain(|other| other.number != member.number);
            if connections.is_empty() {
                accounts.remove(&member.account);
            }
        }
        drop(accounts);
        rooms.iter().for_each(|room| self.leave(room, member));
    }

    pub(crate) fn join(&self, room: &Arc<str>, member: &Arc<Member>) {
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        rooms.entry(Arc::clone(room)).or_default().insert(member.number, Arc::clone(member));
    }

    pub(crate) fn leave(&self, room: &str, member: &Member) {
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = rooms.get_mut(room) {
            members.remove(&member.number);
            if members.is_empty() {
                rooms.remove(room);
            }
        }
    }

    /// To every connection of these accounts but the sender's own; returns to how many.
    pub(crate) fn send_to_accounts<'a>(
        &self,
        to: impl Iterator<Item = &'a str>,
        text: &Utf8Bytes,
        sender: &Member,
    ) -> usize {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let connections = to.filter_map(|account| accounts.get(account)).flatten();
        connections.filter(|member| member.number != sender.number && member.send(text)).count()
    }

    /// To everybody else in the room; returns to how many.
    pub(crate) fn send_to_room(&self, room: &str, text: &Utf8Bytes, sender: &Member) -> usize {
        let rooms = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
        let members = rooms.get(room).into_iter().flat_map(HashMap::values);
        members.filter(|member| member.number != sender.number && member.send(text)).count()
    }
}

impl Member {
    /// Whether it was queued; a connection whose queue is full is cut as soon as it has written what it is writing.
    fn send(&self, text: &Utf8Bytes) -> bool {
        let sent = self.queue.try_send(text.clone()).is_ok();
        if !sent {
            self.too_slow.store(true, Ordering::Relaxed);
        }
        sent
    }

    pub(crate) fn is_too_slow(&self) -> bool {
        self.too_slow.load(Ordering::Relaxed)
    }
}
