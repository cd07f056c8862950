//! The one place through which messages pass from account to account.
//!
//! The router is a thread with two inboxes. Connections hand over [`Command`]s in batches; the embedding program asks
//! through a [`Handle`]. The data inbox is bounded, and who waits for room in it slows nobody down but its own client;
//! the control inbox comes first, so that registrations, disconnections and health checks pass by a flood of messages.
//! While the router sleeps, whoever brings something may do its work in its place ([`help`]).

mod accounts;
pub(crate) mod command;
mod core;
#[cfg(feature = "internals")]
mod crowd;
mod delivery;
mod handle;
mod help;
#[cfg(feature = "admin")]
mod load;
#[cfg(test)]
#[cfg(heartwire_model)]
mod model;
#[cfg(heartwire_fuzzing)]
pub(crate) mod played;
mod push;
mod rooms;
mod run;
mod state;

pub use command::{AccountInfo, ConnectionDetail, PresenceChange, Reach, RoomInfo, Target};
#[cfg(feature = "internals")]
pub use crowd::Crowd;
pub use handle::{Counts, Handle};
pub(crate) use push::checked_content;
pub use push::{Frame, InvalidPush, Push};

use crate::auth::Refusal;
use crate::clock;
use crate::config::{Config, RouterWork};
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::protocol::close::CloseReason;
use crate::protocol::wire::Bytes;
use crate::threads::channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use crate::threads::parker::{Parker, Unparker};
use crate::threads::reply;
use crate::threads::sync::atomic::AtomicBool;
use command::{Command, Control, Data, Key, Registration};
use run::{Seat, answer};
use state::State;
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
    seat: Arc<Seat>,
    unparker: Unparker,
    /// Whether nobody takes from the inboxes any more.
    ended: Arc<AtomicBool>,
    /// Whether those who bring something do the router's work, see [`help`].
    helped: bool,
}

/// What the router's thread needs; passed to [`run`].
pub(crate) struct Inboxes {
    router: Router,
    parker: Parker,
    inboxes: core::Inboxes,
    /// Where it says who has come and gone.
    changes: Sender<PresenceChange>,
}

/// Who has come and who has gone, in order; its end is that of the router.
pub(crate) type Changes = Receiver<PresenceChange>;

/// Makes the inboxes. The control inbox holds what all connections together can have in flight, so that no thread has
/// to wait to be registered, or to be forgotten; so many changes of presence may wait for the program.
pub(crate) fn inboxes(config: &Config, max_connections: usize, max_changes: usize) -> (Router, Inboxes, Changes) {
    let room = (DATA_INBOX_BYTES / config.max_message_bytes).clamp(MIN_DATA_INBOX, DATA_INBOX);
    with_room(room, 2 * max_connections + DATA_INBOX, max_changes, config.router)
}

/// The same with so much room in each inbox.
fn with_room(data: usize, control: usize, changes: usize, work: RouterWork) -> (Router, Inboxes, Changes) {
    let ((data, from_data), (control, from_control)) = (bounded(data), bounded(control));
    let (changes, told) = bounded(changes);
    let parker = Parker::new();
    let (seat, ended, unparker) = (Arc::default(), Arc::default(), parker.unparker().clone());
    let router = Router { data, control, seat, unparker, ended, helped: work == RouterWork::Helped };
    let inboxes = core::Inboxes { control: from_control, data: from_data };
    (router.clone(), Inboxes { router, parker, inboxes, changes }, told)
}

/// The router's thread.
pub(crate) fn run(config: Arc<Config>, inboxes: Inboxes, metrics: Arc<Metrics>) {
    let Inboxes { router, parker, inboxes, changes } = inboxes;
    run::run(&router, &parker, inboxes, config, changes, metrics);
}

impl Router {
    /// Registers a connection, whose greeting then goes out before anything else.
    ///
    /// # Errors
    /// The refusal of a limit, or 503 when the router cannot be asked until `deadline`.
    #[inline(never)]
    pub(crate) fn register(
        &self,
        registration: Box<Registration>,
        outbound: Arc<Outbound>,
        deadline: Instant,
    ) -> Result<Key, Refusal> {
        let (reply, registered) = reply();
        let overloaded = || Refusal::unavailable("the server is overloaded", PATIENCE);
        self.control
            .send_deadline(Control::Register { registration, outbound, reply }, deadline)
            .map_err(|_| overloaded())?;
        self.see_to_it().map_err(|_| overloaded())?;
        #[cfg(heartwire_fuzzing)]
        played::turns();
        // Once asked, its word is final: the router never blocks, and whoever gave up waiting would leave behind a
        // registered connection that no thread serves.
        registered.wait().ok_or_else(overloaded)?
    }

    /// Hands over what one recv brought. Waits for room, 5 s at most.
    pub(crate) fn hand_over(&self, from: Key, commands: Vec<Command>) -> Result<(), SendError> {
        self.put(Data::Batch { from, commands, at: clock::now() })
    }

    /// The connection's thread ends; `commands` is the number of those it handed over.
    pub(crate) fn unregister(&self, key: Key, commands: u64) {
        // It fails only when the router is gone, which knows of no connection any more.
        if self.control.send(Control::Unregister { key, commands }).is_ok() {
            let _ = self.see_to_it();
        }
    }

    /// See [`Control::Drain`].
    pub(crate) fn drain(&self, deadline: Instant) {
        let _ = self.control.send_deadline(Control::Drain { deadline }, deadline);
        self.wake();
    }

    /// See [`Control::Stop`].
    pub(crate) fn stop(&self) {
        // A router that is gone has stopped.
        let _ = self.control.send_timeout(Control::Stop, PATIENCE);
        self.wake();
    }

    fn submit(&self, to: Target, frame: Bytes) -> Result<Pending, SendError> {
        let (reply, reached) = bounded(1);
        self.put(Data::Push { to, frame, reply, at: clock::now() })?;
        Ok(Pending(reached))
    }

    fn put(&self, data: Data) -> Result<(), SendError> {
        self.data.send_timeout(data, PATIENCE)?;
        self.see_to_it()
    }

    fn put_control(&self, control: Control, patience: Duration) -> Result<(), SendError> {
        self.control.send_timeout(control, patience)?;
        self.see_to_it()
    }

    /// Other limits and times hold for connections that come from now on, if `take` has them when the router comes to it;
    /// it runs where the router's work is done, and must not block.
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
        self.put_control(ask, patience)?;
        wait_for(&answered, patience)
    }

    fn disconnect(&self, target: Target, reason: CloseReason) -> Result<usize, SendError> {
        let (reply, ended) = bounded(1);
        self.put_control(Control::Disconnect { target, reason, reply }, PATIENCE)?;
        wait_for(&ended, PATIENCE)
    }

    #[cfg(test)]
    pub(crate) fn run_in_router(&self, body: impl FnOnce() + Send + 'static) {
        self.control.send(Control::Ask(Box::new(|_| body()))).unwrap();
        self.wake();
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
    #[cfg(heartwire_fuzzing)]
    played::turns();
    answered.recv_timeout(patience).map_err(|error| match error {
        RecvTimeoutError::Timeout => SendError::Busy,
        RecvTimeoutError::Disconnected => SendError::Stopped,
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
