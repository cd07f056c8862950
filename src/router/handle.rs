//! How programs talk to their server.

#[cfg(feature = "admin")]
use super::Pending;
use super::command::{AccountInfo, ConnectionDetail, Population, Reach, RoomInfo, Target};
use super::{Frame, Push, Router, SendError};
use crate::metrics::Metrics;
use crate::outbound::flusher::Flusher;
use crate::protocol::close::CloseReason;
use crate::protocol::message::{Account, Presence, Room};
use crate::record::{
    ClosedConnection, ConnectionId, ConnectionInfo, EndFilter, OpenConnection, Records, RefusedAttempt,
};
use crate::threads::Fate;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a program talks to its server: from any thread, for as long as it likes. Cheap to clone.
///
/// Each call is a round trip through the router, unless it says otherwise, so that its answer tells what really happened.
/// It waits 5 s for room and 5 s for the answer, then it is [`SendError::Busy`]; on a server that has stopped it is
/// [`SendError::Stopped`].
#[derive(Clone)]
pub struct Handle(Arc<Parts>);

/// Shared by all handles, of which each connection has one.
struct Parts {
    router: Router,
    flusher: Arc<Flusher>,
    metrics: Arc<Metrics>,
    records: Arc<Records>,
    fate: Arc<Fate>,
}

impl Handle {
    pub(crate) fn new(
        router: Router,
        flusher: Arc<Flusher>,
        metrics: Arc<Metrics>,
        records: Arc<Records>,
        fate: Arc<Fate>,
    ) -> Self {
        Self(Arc::new(Parts { router, flusher, metrics, records, fate }))
    }

    /// Sends a message to accounts, rooms, everybody or one connection; says whom it reached.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn send(&self, to: impl Into<Target>, push: &Push) -> Result<Reach, SendError> {
        self.0.router.submit(to.into(), push.frame().clone())?.wait()
    }

    /// Sends a message of the program's own protocol ([`Protocol::Raw`](crate::Protocol)); says whom it reached.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn send_raw(&self, to: impl Into<Target>, frame: Frame<'_>) -> Result<Reach, SendError> {
        self.0.router.submit(to.into(), frame.encode())?.wait()
    }

    /// [`Handle::send`] in two steps: an error here means that nothing was sent.
    #[cfg(feature = "admin")]
    pub(crate) fn submit(&self, to: Target, push: &Push) -> Result<Pending, SendError> {
        self.0.router.submit(to, push.frame().clone())
    }

    /// Ends connections with a reason; says how many. What was sent to them before still goes out before the Close if
    /// the kernel takes it at once; what they send after it is discarded.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn disconnect(&self, target: impl Into<Target>, reason: CloseReason) -> Result<usize, SendError> {
        self.0.router.disconnect(target.into(), reason)
    }

    /// Puts an account into a room: its connections, and those it opens later. False when it was in it already.
    ///
    /// # Errors
    /// [`SendError`], see above; [`SendError::Full`] when there is no room for another membership.
    pub fn join(&self, account: Account, room: Room) -> Result<bool, SendError> {
        self.0.router.ask(move |state| state.join_account(&account, &room))?
    }

    /// Takes an account, and each of its connections, out of a room. False when it had not been put into it.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn leave(&self, account: Account, room: Room) -> Result<bool, SendError> {
        self.0.router.ask(move |state| state.leave_account(&account, &room))
    }

    /// [`Handle::join`] for many accounts in one round trip; says how many were not in the room before.
    #[cfg(feature = "admin")]
    pub(crate) fn join_all(&self, accounts: Vec<Account>, room: Room) -> Result<usize, SendError> {
        self.0.router.ask(move |state| {
            let join = |joined, account: &Account| Ok(joined + usize::from(state.join_account(account, &room)?));
            accounts.iter().try_fold(0, join)
        })?
    }

    /// [`Handle::leave`] likewise; says how many were in it.
    #[cfg(feature = "admin")]
    pub(crate) fn leave_all(&self, accounts: Vec<Account>, room: Room) -> Result<usize, SendError> {
        self.0.router.ask(move |state| accounts.iter().filter(|account| state.leave_account(account, &room)).count())
    }

    /// Who of these is online, in the order asked.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn presence(&self, accounts: Vec<Account>) -> Result<Vec<Presence>, SendError> {
        self.0.router.ask(move |state| state.presence(&accounts))
    }

    /// The connections of an account, oldest first.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn connections(&self, account: Account) -> Result<Vec<ConnectionInfo>, SendError> {
        self.0.router.ask(move |state| state.connections_of(&account))
    }

    /// What is known of an account; one that nobody has heard of is offline.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn account(&self, account: Account) -> Result<AccountInfo, SendError> {
        self.0.router.ask(move |state| state.account_info(&account))
    }

    /// A connection that is there and not closing.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionDetail>, SendError> {
        self.0.router.ask(move |state| state.connection_detail(&id))
    }

    /// Accounts that are online or were put into a room, in the order of their names' bytes: the first `limit` of those
    /// behind `after`. The last of them is the `after` of the next page.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn accounts(&self, after: Option<Account>, limit: usize) -> Result<Vec<Presence>, SendError> {
        self.0.router.ask(move |state| state.accounts(after.as_ref(), limit))
    }

    /// Rooms that a connection is in, a page at a time as [`Handle::accounts`].
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn rooms(&self, after: Option<Room>, limit: usize) -> Result<Vec<RoomInfo>, SendError> {
        self.0.router.ask(move |state| state.rooms(after.as_ref(), limit))
    }

    /// The accounts in a room, each with how many of its connections are in it, a page at a time as
    /// [`Handle::accounts`]; those that were put into it while they are away, too.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn members(&self, room: Room, after: Option<Account>, limit: usize) -> Result<Vec<Presence>, SendError> {
        self.0.router.ask(move |state| state.members(&room, after.as_ref(), limit))
    }

    /// Asks the router whether it is there, with this much patience.
    ///
    /// # Errors
    /// [`SendError::Busy`] when it did not answer in time, [`SendError::Stopped`] when it is gone.
    pub fn ping(&self, within: Duration) -> Result<(), SendError> {
        self.0.router.ask_within(within, |_| ())
    }

    /// How many there are, and what was counted since the start.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn counts(&self) -> Result<Counts, SendError> {
        let Population { connections, accounts, rooms } = self.0.router.ask(|state| state.population())?;
        let metrics = &self.0.metrics;
        Ok(Counts {
            connections,
            accounts,
            rooms,
            queued_bytes: self.0.flusher.queued_bytes(),
            accepted: metrics.accepted.get(),
            refused: metrics.refused.total(),
            opened: metrics.opened.get(),
            messages_received: metrics.messages_received.get(),
            frames_sent: metrics.frames_sent.get(),
            frames_dropped: metrics.frames_dropped.get(),
            commands_dropped: metrics.commands_dropped.get(),
            strangers_closed: metrics.strangers_closed.get(),
            frames_untold: metrics.frames_untold.get(),
            presence_untold: metrics.presence_untold.get(),
            closed_by_code: metrics.closed.by_code(),
        })
    }

    /// All connections that are there and how they are, the oldest first. Does not ask the router, and does not wait.
    #[must_use]
    pub fn open_connections(&self) -> Vec<OpenConnection> {
        self.0.records.look(|_| true)
    }

    /// Those of them that are wanted; the others are not looked at.
    #[cfg(feature = "admin")]
    pub(crate) fn wanted_connections(&self, wanted: impl Fn(&ConnectionInfo) -> bool) -> Vec<OpenConnection> {
        self.0.records.look(wanted)
    }

    /// The last connections that ended ([`Config::closed_connections`](crate::Config) says how many are kept), each with
    /// its number, the newest first. Does not ask the router, and does not wait.
    #[must_use]
    pub fn closed_connections(&self, filter: &EndFilter) -> Vec<(u64, ClosedConnection)> {
        self.0.records.find_closed(filter)
    }

    /// The last 1,000 attempts to connect that were refused, likewise.
    #[must_use]
    pub fn refused_attempts(&self, filter: &EndFilter) -> Vec<(u64, RefusedAttempt)> {
        self.0.records.find_refused(filter)
    }

    /// Asks the server to stop: [`Server::wait`](crate::Server::wait) returns, and its owner shuts it down. Does not wait.
    pub fn stop(&self) {
        self.0.fate.decide(Ok(()));
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// How many there are, and what was counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Registered connections that are not closing.
    pub connections: usize,
    /// Accounts with at least one of them.
    pub accounts: usize,
    /// Rooms with at least one member.
    pub rooms: usize,
    /// Bytes that wait in all outbound queues.
    pub queued_bytes: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused, at accept or in the handshake.
    pub refused: u64,
    /// Connections registered.
    pub opened: u64,
    /// Messages received from clients, heartbeats included.
    pub messages_received: u64,
    /// Frames whose last byte was handed to the kernel.
    pub frames_sent: u64,
    /// Frames that were accepted for a connection but dropped when it closed.
    pub frames_dropped: u64,
    /// Frames of clients that the router did not take: it was overloaded (4100) or gone (1011), as their senders were told.
    pub commands_dropped: u64,
    /// Raw TCP connections that ended without an account.
    pub strangers_closed: u64,
    /// Frames that a connection was not sent because its dialect has no word for them: errors, above all.
    pub frames_untold: u64,
    /// Accounts that came or went without the program being told, because it did not keep up.
    pub presence_untold: u64,
    /// Registered connections that ended, by close code.
    pub closed_by_code: BTreeMap<u16, u64>,
}
