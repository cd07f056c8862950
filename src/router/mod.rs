//! The one place through which messages pass from account to account.
//!
//! The router is a thread with two inboxes. Connections hand over [`Command`]s in batches; the embedding program asks
//! through a [`Handle`]. The data inbox is bounded, and who waits for room in it slows nobody down but its own client;
//! the control inbox comes first, so that registrations, disconnections and health checks pass by a flood of messages.

mod accounts;
pub(crate) mod command;
mod push;
mod rooms;
mod run;
mod state;

pub use command::{AccountInfo, ConnectionDetail, PresenceChange, Reach, RoomInfo, Target};
pub(crate) use push::checked_content;
pub use push::{Frame, InvalidPush, Push};

use crate::auth::Refusal;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::outbound::flusher::Flusher;
use crate::protocol::close::CloseReason;
use crate::protocol::message::{Account, Presence, Room};
use crate::protocol::wire::Bytes;
use crate::record::{
    ClosedConnection, ConnectionId, ConnectionInfo, EndFilter, OpenConnection, Records, RefusedAttempt,
};
use crate::threads::Fate;
use command::{Command, Control, Data, Key, Population, Registration};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use run::answer;
use state::State;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Batches that may wait for the router: so many, or fewer where messages may be large, but for a few.
const DATA_INBOX: usize = 1_024;
const MIN_DATA_INBOX: usize = 16;
const DATA_INBOX_BYTES: usize = 256 << 20;
/// How long a sender waits for room in the data inbox, and anybody for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many changes of presence may wait for the program: everybody may come and go several times meanwhile.
const CHANGES: usize = 65_536;

/// The router as the server's own threads see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Router {
    data: Sender<Data>,
    control: Sender<Control>,
}

/// Where the router's thread takes from, and where it says who has come and gone; passed to [`run`].
pub(crate) struct Inboxes(run::Inboxes, Sender<PresenceChange>);

/// Who has come and who has gone, in order; its end is that of the router.
pub(crate) type Changes = Receiver<PresenceChange>;

/// Makes the inboxes. The control inbox holds what all connections together can have in flight, so that no thread has
/// to wait to be registered, or to be forgotten.
pub(crate) fn inboxes(max_connections: usize, max_message_bytes: usize) -> (Router, Inboxes, Changes) {
    let (data, data_receiver) = bounded((DATA_INBOX_BYTES / max_message_bytes).clamp(MIN_DATA_INBOX, DATA_INBOX));
    let (control, control_receiver) = bounded(2 * max_connections + DATA_INBOX);
    let (changes, told) = bounded(CHANGES);
    let inboxes = run::Inboxes { control: control_receiver, data: data_receiver };
    (Router { data, control }, Inboxes(inboxes, changes), told)
}

/// The router's thread.
pub(crate) fn run(config: Arc<Config>, Inboxes(inboxes, changes): Inboxes, metrics: Arc<Metrics>) {
    run::run(config, &inboxes, changes, metrics);
}

impl Router {
    /// Registers a connection, whose greeting then goes out before anything else.
    ///
    /// # Errors
    /// The refusal of a limit, or 503 when the router cannot be asked until `deadline`.
    pub(crate) fn register(
        &self,
        registration: Box<Registration>,
        outbound: Arc<Outbound>,
        deadline: Instant,
    ) -> Result<Key, Refusal> {
        let (reply, registered) = bounded(1);
        let overloaded = || Refusal::unavailable("the server is overloaded", PATIENCE);
        self.control
            .send_deadline(Control::Register { registration, outbound, reply }, deadline)
            .map_err(|_| overloaded())?;
        // Once asked, its word is final: the router never blocks, and whoever gave up waiting would leave behind a
        // registered connection that no thread serves.
        registered.recv().map_err(|_| overloaded())?
    }

    /// Hands over what one recv brought. Waits for room, 5 s at most.
    pub(crate) fn hand_over(&self, from: Key, commands: Vec<Command>) -> Result<(), SendError> {
        Ok(self.data.send_timeout(Data::Batch { from, commands }, PATIENCE)?)
    }

    /// The connection's thread ends; `commands` is the number of those it handed over.
    pub(crate) fn unregister(&self, key: Key, commands: u64) {
        // It fails only when the router is gone, which knows of no connection any more.
        let _ = self.control.send(Control::Unregister { key, commands });
    }

    /// See [`Control::Drain`].
    pub(crate) fn drain(&self, deadline: Instant) {
        let _ = self.control.send_deadline(Control::Drain { deadline }, deadline);
    }

    /// See [`Control::Stop`].
    pub(crate) fn stop(&self) {
        // A router that is gone has stopped.
        let _ = self.control.send_timeout(Control::Stop, PATIENCE);
    }

    fn submit(&self, to: Target, frame: Bytes) -> Result<Pending, SendError> {
        let (reply, reached) = bounded(1);
        self.data.send_timeout(Data::Push { to, frame, reply }, PATIENCE)?;
        Ok(Pending(reached))
    }

    /// Other limits and times hold for connections that come from now on, if `take` has them when the router comes to it;
    /// it runs on the router's thread, and must not block.
    ///
    /// # Errors
    /// [`SendError`], see [`Handle`].
    pub(crate) fn reconfigure(
        &self,
        take: impl FnOnce() -> Option<Arc<Config>> + Send + 'static,
    ) -> Result<(), SendError> {
        self.ask(|state| take().into_iter().for_each(|config| state.reconfigure(config)))
    }

    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut State) -> T + Send + 'static) -> Result<T, SendError> {
        self.ask_within(PATIENCE, question)
    }

    /// Waits so long for room, and so long for the answer.
    fn ask_within<T: Send + 'static>(
        &self,
        patience: Duration,
        question: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, SendError> {
        let (reply, answered) = bounded(1);
        let ask = Control::Ask(Box::new(move |state| answer(&reply, question(state))));
        self.control.send_timeout(ask, patience)?;
        wait_for(&answered, patience)
    }

    fn disconnect(&self, target: Target, reason: CloseReason) -> Result<usize, SendError> {
        let (reply, ended) = bounded(1);
        self.control.send_timeout(Control::Disconnect { target, reason, reply }, PATIENCE)?;
        wait_for(&ended, PATIENCE)
    }

    #[cfg(test)]
    pub(crate) fn run_in_router(&self, body: impl FnOnce() + Send + 'static) {
        self.control.send(Control::Ask(Box::new(|_| body()))).unwrap();
    }
}

/// A push that the router has, and an answer that it owes.
pub(crate) struct Pending(Receiver<Reach>);

impl Pending {
    /// Whom it reached.
    ///
    /// # Errors
    /// [`SendError::Busy`] after 5 s; the push may still happen, and may be waited for again.
    pub(crate) fn wait(&self) -> Result<Reach, SendError> {
        wait_for(&self.0, PATIENCE)
    }
}

fn wait_for<T>(answered: &Receiver<T>, patience: Duration) -> Result<T, SendError> {
    use crossbeam_channel::RecvTimeoutError::{Disconnected, Timeout};
    answered.recv_timeout(patience).map_err(|error| match error {
        Timeout => SendError::Busy,
        Disconnected => SendError::Stopped,
    })
}

/// Why the router did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// It was busy for 5 s. A send may still happen.
    Busy,
    /// The server has stopped.
    Stopped,
    /// As many accounts are in as many rooms as the program may put them: a million memberships.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the server is busy",
            Self::Stopped => "the server has stopped",
            Self::Full => "the server keeps a million memberships of rooms, and has them",
        })
    }
}

impl std::error::Error for SendError {}

impl<T> From<SendTimeoutError<T>> for SendError {
    fn from(error: SendTimeoutError<T>) -> Self {
        match error {
            SendTimeoutError::Timeout(_) => Self::Busy,
            SendTimeoutError::Disconnected(_) => Self::Stopped,
        }
    }
}

/// How a program talks to its server: from any thread, for as long as it likes. Cheap to clone.
///
/// Each call is a round trip through the router, unless it says otherwise, so that its answer tells what really happened. It waits 5 s for room
/// and 5 s for the answer, then it is [`SendError::Busy`]; on a server that has stopped it is [`SendError::Stopped`].
#[derive(Clone)]
pub struct Handle {
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
        Self { router, flusher, metrics, records, fate }
    }

    /// Sends a message to accounts, rooms, everybody or one connection; says whom it reached.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn send(&self, to: impl Into<Target>, push: &Push) -> Result<Reach, SendError> {
        self.router.submit(to.into(), push.frame().clone())?.wait()
    }

    /// Sends a message of the program's own protocol ([`Protocol::Raw`](crate::Protocol)); says whom it reached.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn send_raw(&self, to: impl Into<Target>, frame: Frame<'_>) -> Result<Reach, SendError> {
        self.router.submit(to.into(), frame.encode())?.wait()
    }

    /// [`Handle::send`] in two steps: an error here means that nothing was sent.
    #[cfg(feature = "admin")]
    pub(crate) fn submit(&self, to: Target, push: &Push) -> Result<Pending, SendError> {
        self.router.submit(to, push.frame().clone())
    }

    /// Ends connections with a reason; says how many. What was sent to them before still goes out before the Close if
    /// the kernel takes it at once; what they send after it is discarded.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn disconnect(&self, target: impl Into<Target>, reason: CloseReason) -> Result<usize, SendError> {
        self.router.disconnect(target.into(), reason)
    }

    /// Puts an account into a room: its connections, and those it opens later. False when it was in it already.
    ///
    /// # Errors
    /// [`SendError`], see above; [`SendError::Full`] when there is no room for another membership.
    pub fn join(&self, account: Account, room: Room) -> Result<bool, SendError> {
        self.router.ask(move |state| state.join_account(&account, &room))?
    }

    /// Takes an account, and each of its connections, out of a room. False when it had not been put into it.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn leave(&self, account: Account, room: Room) -> Result<bool, SendError> {
        self.router.ask(move |state| state.leave_account(&account, &room))
    }

    /// [`Handle::join`] for many accounts in one round trip; says how many were not in the room before.
    #[cfg(feature = "admin")]
    pub(crate) fn join_all(&self, accounts: Vec<Account>, room: Room) -> Result<usize, SendError> {
        self.router.ask(move |state| {
            let join = |joined, account: &Account| Ok(joined + usize::from(state.join_account(account, &room)?));
            accounts.iter().try_fold(0, join)
        })?
    }

    /// [`Handle::leave`] likewise; says how many were in it.
    #[cfg(feature = "admin")]
    pub(crate) fn leave_all(&self, accounts: Vec<Account>, room: Room) -> Result<usize, SendError> {
        self.router.ask(move |state| accounts.iter().filter(|account| state.leave_account(account, &room)).count())
    }

    /// Who of these is online, in the order asked.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn presence(&self, accounts: Vec<Account>) -> Result<Vec<Presence>, SendError> {
        self.router.ask(move |state| state.presence(&accounts))
    }

    /// The connections of an account, oldest first.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn connections(&self, account: Account) -> Result<Vec<ConnectionInfo>, SendError> {
        self.router.ask(move |state| state.connections_of(&account))
    }

    /// What is known of an account; one that nobody has heard of is offline.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn account(&self, account: Account) -> Result<AccountInfo, SendError> {
        self.router.ask(move |state| state.account_info(&account))
    }

    /// A connection that is there and not closing.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionDetail>, SendError> {
        self.router.ask(move |state| state.connection_detail(&id))
    }

    /// Accounts that are online or were put into a room, in the order of their names' bytes: the first `limit` of those
    /// behind `after`. The last of them is the `after` of the next page.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn accounts(&self, after: Option<Account>, limit: usize) -> Result<Vec<Presence>, SendError> {
        self.router.ask(move |state| state.accounts(after.as_ref(), limit))
    }

    /// Rooms that a connection is in, a page at a time as [`Handle::accounts`].
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn rooms(&self, after: Option<Room>, limit: usize) -> Result<Vec<RoomInfo>, SendError> {
        self.router.ask(move |state| state.rooms(after.as_ref(), limit))
    }

    /// The accounts in a room, each with how many of its connections are in it, a page at a time as
    /// [`Handle::accounts`]; those that were put into it while they are away, too.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn members(&self, room: Room, after: Option<Account>, limit: usize) -> Result<Vec<Presence>, SendError> {
        self.router.ask(move |state| state.members(&room, after.as_ref(), limit))
    }

    /// Asks the router whether it is there, with this much patience.
    ///
    /// # Errors
    /// [`SendError::Busy`] when it did not answer in time, [`SendError::Stopped`] when it is gone.
    pub fn ping(&self, within: Duration) -> Result<(), SendError> {
        self.router.ask_within(within, |_| ())
    }

    /// How many there are, and what was counted since the start.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn counts(&self) -> Result<Counts, SendError> {
        let Population { connections, accounts, rooms } = self.router.ask(|state| state.population())?;
        let metrics = &self.metrics;
        Ok(Counts {
            connections,
            accounts,
            rooms,
            queued_bytes: self.flusher.queued_bytes(),
            accepted: metrics.accepted.get(),
            refused: metrics.refused.get(),
            opened: metrics.opened.get(),
            messages_received: metrics.messages_received.get(),
            frames_sent: metrics.frames_sent.get(),
            frames_dropped: metrics.frames_dropped.get(),
            commands_dropped: metrics.commands_dropped.get(),
            strangers_closed: metrics.strangers_closed.get(),
            frames_untold: metrics.frames_untold.get(),
            presence_untold: metrics.presence_untold.get(),
            closed_by_code: metrics.closed_by_code(),
        })
    }

    /// All connections that are there and how they are, the oldest first. Does not ask the router, and does not wait.
    #[must_use]
    pub fn open_connections(&self) -> Vec<OpenConnection> {
        self.records.look()
    }

    /// The last connections that ended ([`Config::closed_connections`](crate::Config) says how many are kept), each with
    /// its number, the newest first. Does not ask the router, and does not wait.
    #[must_use]
    pub fn closed_connections(&self, filter: &EndFilter) -> Vec<(u64, ClosedConnection)> {
        self.records.find_closed(filter)
    }

    /// The last 1,000 attempts to connect that were refused, likewise.
    #[must_use]
    pub fn refused_attempts(&self, filter: &EndFilter) -> Vec<(u64, RefusedAttempt)> {
        self.records.find_refused(filter)
    }

    /// Asks the server to stop: [`Server::wait`](crate::Server::wait) returns, and its owner shuts it down. Does not wait.
    pub fn stop(&self) {
        self.fate.decide(Ok(()));
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
