//! What the router is asked to do: by connections in batches, and by everybody else through the control inbox.

use super::state::State;
use crate::auth::{Identity, Refusal};
use crate::outbound::Outbound;
use crate::protocol::close::CloseReason;
use crate::protocol::message::{Account, FrameId, Presence, Recipients, Room};
use crate::protocol::wire::Bytes;
use crate::record::{ConnectionId, ConnectionInfo};
use crate::threads::Reply;
use crate::threads::channel::Sender;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The router's name for a registered connection: its place, and a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) slot: Slot,
    pub(crate) serial: u64,
}

/// A place among the router's connections; it is used again after its connection has left.
pub(crate) type Slot = u32;

/// What one connection wants, decoded from one frame.
#[derive(Debug)]
pub(crate) enum Command {
    /// Deliver `frame`, which names its authenticated sender already.
    Message {
        to: Recipients,
        frame: Bytes,
        id: Option<FrameId>,
    },
    /// Deliver `frame` to every other connection.
    Broadcast {
        frame: Bytes,
        id: Option<FrameId>,
    },
    Join {
        room: Room,
        id: Option<FrameId>,
    },
    Leave {
        room: Room,
        id: Option<FrameId>,
    },
    Presence {
        accounts: Vec<Account>,
        watch: Option<bool>,
        id: Option<FrameId>,
    },
}

/// What is to be done after a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Push a connection's greeting, which is in its own format already.
    Greet { to: Slot, greeting: Vec<Bytes> },
    /// Push a native frame to a connection, in that connection's format.
    Send { to: Slot, frame: Bytes },
    /// Begin its close handshake.
    Close { to: Slot, reason: CloseReason },
    /// Forget its write side: its thread has ended.
    Forget { slot: Slot },
    /// Tell the program that an account has come or gone.
    Announce { account: Account, online: bool },
}

/// What the data inbox carries.
pub(crate) enum Data {
    /// The commands that one connection's last bytes held, in order, and when they were handed over.
    Batch { from: Key, commands: Vec<Command>, at: Instant },
    /// A frame from the embedding program, likewise.
    Push { to: Target, frame: Bytes, reply: Sender<Reach>, at: Instant },
}

impl Data {
    /// The connection that sent it; none where the program did.
    pub(super) fn sender(&self) -> Option<Key> {
        match self {
            Self::Batch { from, .. } => Some(*from),
            Self::Push { .. } => None,
        }
    }

    /// When it was handed over to the router.
    pub(super) fn handed_over_at(&self) -> Instant {
        match self {
            Self::Batch { at, .. } | Self::Push { at, .. } => *at,
        }
    }
}

/// What the control inbox carries. It is drained first, so that a flood of data delays none of it.
pub(crate) enum Control {
    Register {
        registration: Box<Registration>,
        outbound: Arc<Outbound>,
        reply: Reply<Result<Key, Refusal>>,
    },
    /// `commands` is how many the connection handed over in its life: those still in the data inbox count as its own.
    Unregister {
        key: Key,
        commands: u64,
    },
    Disconnect {
        target: Target,
        reason: CloseReason,
        reply: Sender<usize>,
    },
    /// Whatever else is asked of the state, or done to it, without sending anything.
    Ask(Question),
    /// No newcomers; everybody is told 1001, behind what waits for them, until `deadline`.
    Drain {
        deadline: Instant,
    },
    /// End the router's thread.
    Stop,
}

/// Runs where the router's work is done, must not block, and sends its answer itself.
pub(crate) type Question = Box<dyn FnOnce(&mut State) + Send>;

/// A connection that wants to be known.
pub(crate) struct Registration {
    /// The number of the connection, never used again.
    pub(crate) serial: u64,
    pub(crate) identity: Identity,
    /// The address that counts against the limit; `None` where none does.
    pub(crate) limited_address: Option<IpAddr>,
    pub(crate) info: Arc<ConnectionInfo>,
    /// The first bytes to go out, as they go over the wire: the 101 response, the register frame. Nothing overtakes
    /// them.
    pub(crate) greeting: Vec<Bytes>,
}

/// Which connections are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Every connection of these accounts; an account named twice counts once.
    Accounts(Vec<Account>),
    /// Every connection in any of these rooms, each once.
    Rooms(Vec<Room>),
    /// Every connection.
    All,
    /// This one.
    Connection(ConnectionId),
}

impl From<Account> for Target {
    fn from(account: Account) -> Self {
        Self::Accounts(vec![account])
    }
}

impl From<Vec<Account>> for Target {
    fn from(accounts: Vec<Account>) -> Self {
        Self::Accounts(accounts)
    }
}

impl From<Room> for Target {
    fn from(room: Room) -> Self {
        Self::Rooms(vec![room])
    }
}

impl From<ConnectionId> for Target {
    fn from(id: ConnectionId) -> Self {
        Self::Connection(id)
    }
}

/// Whom a send reached: connections it was handed to. Whether their peers read it, nobody can know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reach {
    /// Accounts of which at least one connection was reached.
    pub accounts: usize,
    /// Connections reached.
    pub connections: usize,
    /// Accounts that were named but have no connection.
    pub missing: Vec<Account>,
    /// Rooms that were named but have nobody in them.
    pub missing_rooms: Vec<Room>,
}

/// An account has come online, or has gone: its last connection ended, and for
/// [`Config::offline_grace`](crate::Config::offline_grace) none came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceChange {
    /// Whose presence has changed.
    pub account: Account,
    /// Whether it is online now.
    pub online: bool,
    /// When the router noticed.
    pub at: SystemTime,
}

/// What is known of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountInfo {
    /// Whether it is online, and how often.
    pub presence: Presence,
    /// Its connections, oldest first.
    pub connections: Vec<ConnectionInfo>,
    /// Rooms that the program put it into, in order.
    pub rooms: Vec<Room>,
}

/// What is known of a connection that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionDetail {
    /// What does not change.
    pub info: ConnectionInfo,
    /// The rooms it is in, in order.
    pub rooms: Vec<Room>,
}

/// A room that somebody is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomInfo {
    /// Its name.
    pub room: Room,
    /// Accounts with a connection in it.
    pub accounts: usize,
    /// Connections in it.
    pub connections: usize,
}

/// How many are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Population {
    pub(crate) connections: usize,
    pub(crate) accounts: usize,
    pub(crate) rooms: usize,
}
