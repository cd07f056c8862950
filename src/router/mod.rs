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

pub use command::{ConnectionId, ConnectionInfo, Reach, Target};
pub(crate) use push::checked_content;
pub use push::{Frame, InvalidPush, Push};

use crate::auth::Refusal;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::outbound::flusher::Flusher;
use crate::protocol::close::CloseReason;
use crate::protocol::message::{Account, Presence, Room};
use crate::threads::Fate;
use command::{Command, Control, Data, Key, Population, Registration};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
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

/// The router as the server's own threads see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Router {
    data: Sender<Data>,
    control: Sender<Control>,
}

/// Where the router's thread takes from; passed to [`run`].
pub(crate) struct Inboxes(run::Inboxes);

/// Makes the inboxes. The control inbox holds what all connections together can have in flight, so that no thread has
/// to wait to be registered, or to be forgotten.
pub(crate) fn inboxes(max_connections: usize, max_message_bytes: usize) -> (Router, Inboxes) {
    let (data, data_receiver) = bounded((DATA_INBOX_BYTES / max_message_bytes).clamp(MIN_DATA_INBOX, DATA_INBOX));
    let (control, control_receiver) = bounded(2 * max_connections + DATA_INBOX);
    (Router { data, control }, Inboxes(run::Inboxes { control: control_receiver, data: data_receiver }))
}

/// The router's thread.
pub(crate) fn run(config: &Arc<Config>, inboxes: &Inboxes) {
    run::run(config, &inboxes.0);
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

    fn push(&self, to: Target, frame: crate::protocol::wire::Bytes) -> Result<Reach, SendError> {
        let (reply, reached) = bounded(1);
        self.data.send_timeout(Data::Push { to, frame, reply }, PATIENCE)?;
        wait_for(&reached)
    }

    fn ask<T>(&self, question: impl FnOnce(Sender<T>) -> Control) -> Result<T, SendError> {
        let (reply, answered) = bounded(1);
        self.control.send_timeout(question(reply), PATIENCE)?;
        wait_for(&answered)
    }

    #[cfg(test)]
    pub(crate) fn run_in_router(&self, body: impl FnOnce() + Send + 'static) {
        self.control.send(Control::Run(Box::new(body))).unwrap();
    }
}

fn wait_for<T>(answered: &Receiver<T>) -> Result<T, SendError> {
    use crossbeam_channel::RecvTimeoutError::{Disconnected, Timeout};
    answered.recv_timeout(PATIENCE).map_err(|error| match error {
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
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the server is busy",
            Self::Stopped => "the server has stopped",
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
/// Each call is a round trip through the router, so that its answer tells what really happened. It waits 5 s for room
/// and 5 s for the answer, then it is [`SendError::Busy`]; on a server that has stopped it is [`SendError::Stopped`].
#[derive(Clone)]
pub struct Handle {
    router: Router,
    flusher: Arc<Flusher>,
    metrics: Arc<Metrics>,
    fate: Arc<Fate>,
}

impl Handle {
    pub(crate) fn new(router: Router, flusher: Arc<Flusher>, metrics: Arc<Metrics>, fate: Arc<Fate>) -> Self {
        Self { router, flusher, metrics, fate }
    }

    /// Sends a message to accounts, a room, everybody or one connection; says whom it reached.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn send(&self, to: impl Into<Target>, push: &Push) -> Result<Reach, SendError> {
        self.router.push(to.into(), push.frame().clone())
    }

    /// Sends a message of the program's own protocol ([`Protocol::Raw`](crate::Protocol)); says whom it reached.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn send_raw(&self, to: impl Into<Target>, frame: Frame<'_>) -> Result<Reach, SendError> {
        self.router.push(to.into(), frame.encode())
    }

    /// Ends connections with a reason; says how many. What was sent to them before still goes out before the Close if
    /// the kernel takes it at once; what they send after it is discarded.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn disconnect(&self, target: impl Into<Target>, reason: CloseReason) -> Result<usize, SendError> {
        let target = target.into();
        self.router.ask(|reply| Control::Disconnect { target, reason, reply })
    }

    /// Puts an account into a room: its connections, and those it opens later. False when it was in it already.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn join(&self, account: Account, room: Room) -> Result<bool, SendError> {
        self.router.ask(|reply| Control::JoinAccount { account, room, reply })
    }

    /// Takes an account, and each of its connections, out of a room. False when it had not been put into it.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn leave(&self, account: Account, room: Room) -> Result<bool, SendError> {
        self.router.ask(|reply| Control::LeaveAccount { account, room, reply })
    }

    /// Who of these is online, in the order asked.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn presence(&self, accounts: Vec<Account>) -> Result<Vec<Presence>, SendError> {
        self.router.ask(|reply| Control::Presence { accounts, reply })
    }

    /// The connections of an account, oldest first.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn connections(&self, account: Account) -> Result<Vec<ConnectionInfo>, SendError> {
        self.router.ask(|reply| Control::Connections { account, reply })
    }

    /// How many there are, and what was counted since the start.
    ///
    /// # Errors
    /// [`SendError`], see above.
    pub fn counts(&self) -> Result<Counts, SendError> {
        let Population { connections, accounts, rooms } = self.router.ask(|reply| Control::Population { reply })?;
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
            closed_by_code: metrics.closed_by_code(),
        })
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
    /// Registered connections that ended, by close code.
    pub closed_by_code: BTreeMap<u16, u64>,
}
