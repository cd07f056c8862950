//! What a program that embeds heartwire may decide: who comes in, what passes, and what it wants to be told.

use crate::auth::{Identity, RETRY_AFTER, Refusal};
use crate::http::Head;
use crate::metrics::OwnMetric;
use crate::outbound::{Outbound, Waiting};
use crate::protocol::close::CloseReason;
use crate::protocol::message::{Account, ErrorCode, Recipients, Room};
use crate::record::{ClosedConnection, ConnectionId, ConnectionInfo};
use crate::router::{Changes, Frame, Handle, InvalidPush, PresenceChange, Push, checked_content};
use crate::threads::sync::thread::sleep;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The embedding program's part of a server. Every method has a default, which lets everybody in and everything pass.
///
/// `authenticate` runs on the handshake's thread, `presence` on one of its own, `metrics` on that of a request; all others
/// run on the thread of the connection that they are about, one at a time. Each may block, for as long as it makes sense
/// to keep that one client waiting: nobody else waits with it. A panic in any of them costs that connection, which is
/// closed with 1011, and nothing else; in `presence` it costs that change, in `metrics` those of the program.
pub trait Handler: Send + Sync + 'static {
    /// Whether [`Handler::authenticate`] finds out who a client is. While it says no, the server refuses to listen
    /// beyond loopback unless [`Config::allow_anonymous`](crate::Config::allow_anonymous) is set. Default false.
    fn authenticates(&self) -> bool {
        false
    }

    /// Says who is asking to connect. The default believes the `user_id` of the query.
    ///
    /// The handshake's deadline keeps running meanwhile: an answer after it is discarded, and the client gets a 503, or
    /// 4100 on raw TCP, where the deadline begins with `hello` if [`Handler::authenticates`] says no. A call that outlasts
    /// a shutdown's patience becomes [`Error::ThreadsLeft`](crate::Error::ThreadsLeft).
    ///
    /// # Errors
    /// The refusal that the client gets.
    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        request.claimed_account().map(Identity::new)
    }

    /// A connection was registered: whatever is sent to its account from now on reaches it.
    fn opened(&self, connection: &Connection) {
        let _ = connection;
    }

    /// A client sends a message. It may be changed, consumed or refused; by default it is delivered.
    fn message(&self, connection: &Connection, message: &mut Message<'_>) -> Verdict {
        let _ = (connection, message);
        Verdict::Deliver
    }

    /// A client wants to do something for which it has the [`Permissions`](crate::Permissions). By default it may.
    ///
    /// A message is asked about before [`Handler::message`] sees it.
    ///
    /// # Errors
    /// Why not; the client gets `error` 103 with this text, and nothing happens.
    fn authorize(&self, connection: &Connection, action: &Action<'_>) -> Result<(), String> {
        let _ = (connection, action);
        Ok(())
    }

    /// A client presents another token, before or after which its first one expires ([`Identity::expires`]). From the
    /// answer its permissions and the time of its end are taken; its account and rooms stay. By default there is nothing
    /// to renew.
    ///
    /// # Errors
    /// The refusal, whose text the client gets in an `error`; the connection stays as it was.
    fn renew(&self, connection: &Connection, token: &str) -> Result<Identity, Refusal> {
        let _ = (connection, token);
        Err(Refusal::unavailable("this server does not renew tokens", RETRY_AFTER))
    }

    /// An account has come online, or has gone. Runs on a thread of its own, one call at a time and in order; while it
    /// blocks, 65,536 changes wait, and what comes beyond them is counted in
    /// [`Counts::presence_untold`](crate::Counts::presence_untold), logged and not told.
    fn presence(&self, change: &PresenceChange) {
        let _ = change;
    }

    /// A message of the program's own protocol ([`Protocol::Raw`](crate::Protocol::Raw)) has arrived.
    fn frame(&self, connection: &Connection, frame: Frame<'_>) {
        let _ = (connection, frame);
    }

    /// A silence has reached one of the thresholds in [`Config::idle`](crate::Config::idle). By default a client that was
    /// not heard is sent a ping, which is all that one that only receives needs to stay; whom the server has only not
    /// written to is left alone. The deadline of the heartbeats holds whatever this says.
    fn idle(&self, connection: &Connection, idle: Idle) -> IdleAction {
        let _ = connection;
        if idle.kind == IdleKind::Reader { IdleAction::Ping } else { IdleAction::Nothing }
    }

    /// What the program counts itself, to stand on the page of `GET /metrics` behind what the server counts. By default
    /// nothing. Runs on the thread of the request, for each of them; while it blocks, only that request waits.
    ///
    /// A metric with a name that is none, or that another one has already, is left out and logged, once a minute at most;
    /// after a panic all of these are.
    fn metrics(&self) -> Vec<OwnMetric> {
        Vec::new()
    }

    /// A connection has ended, and this is its record, which [`Handle::closed_connections`] keeps too. The last
    /// thing its thread does. It has asked to be unregistered; a send from here may still count it as reached.
    fn closed(&self, connection: &Connection, record: &ClosedConnection) {
        let _ = (connection, record);
    }
}

/// How long the thread that tells of presence rests behind the last change: where many come and go, it is then woken
/// once for all of them.
const REST: Duration = Duration::from_millis(5);

/// The thread that tells a handler who has come and who has gone, until the router ends. A panic costs one change.
pub(crate) fn tell_presence(handler: &dyn Handler, changes: &Changes) {
    while let Ok(change) = changes.recv() {
        if catch_unwind(AssertUnwindSafe(|| handler.presence(&change))).is_err() {
            log::error!("the handler panicked in `presence`");
        }
        if changes.is_empty() {
            sleep(REST);
        }
    }
}

/// The handler that accepts every name: for servers on loopback, or behind something that authenticates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Handler for Anonymous {}

/// A request to connect: the head of a WebSocket's, which was checked (well-formed, complete, Host and Origin permitted),
/// or the `hello` of a raw TCP client, which has neither path nor headers.
pub struct Request {
    pub(crate) words: Words,
    pub(crate) client: SocketAddr,
    pub(crate) token: Option<String>,
}

/// How a client asks.
#[derive(Debug)]
pub(crate) enum Words {
    /// By a WebSocket request, with the name of the parameter in which its dialect puts the account.
    Upgrade { head: Box<Head>, account: &'static str },
    /// By a line.
    Hello { user_id: Option<String>, device: String },
}

impl Request {
    /// The path, escapes kept; empty on raw TCP.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.words {
            Words::Upgrade { head, .. } => head.path(),
            Words::Hello { .. } => "",
        }
    }

    /// A parameter of the query, decoded; on raw TCP, `user_id` and `device` of the `hello`.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        match (&self.words, name) {
            (Words::Upgrade { head, .. }, name) => head.query(name),
            (Words::Hello { user_id, .. }, "user_id") => user_id.as_deref(),
            (Words::Hello { device, .. }, "device") => Some(device.as_str()).filter(|device| !device.is_empty()),
            (Words::Hello { .. }, _) => None,
        }
    }

    /// All that [`Request::query`] finds, by their names.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let (head, hello) = match &self.words {
            Words::Upgrade { head, .. } => (Some(head.parameters()), None),
            Words::Hello { .. } => (None, Some(["device", "user_id"])),
        };
        let hello = hello.into_iter().flatten().filter_map(|name| Some((name, self.query(name)?)));
        head.into_iter().flatten().chain(hello)
    }

    /// All headers, those of one name in their order; names are lower case, values need not be text. None on raw TCP.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let head = match &self.words {
            Words::Upgrade { head, .. } => Some(head),
            Words::Hello { .. } => None,
        };
        head.into_iter().flat_map(|head| head.headers()).map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// A header; the first where it is repeated.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        match &self.words {
            Words::Upgrade { head, .. } => head.header(name),
            Words::Hello { .. } => None,
        }
    }

    /// The bearer token: from `Authorization`, from `?token=`, from an offered subprotocol `bearer.TOKEN`, or from the
    /// `hello`.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The client's address: that of the socket, or the one that a trusted proxy named (then with port 0).
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// The account that the client says it is, from `user_id` (or as its dialect calls it). Nothing has proved it.
    ///
    /// # Errors
    /// 400 when there is none, or when it is not an account's name.
    pub fn claimed_account(&self) -> Result<Account, Refusal> {
        let parameter = self.account_parameter();
        let missing = || Refusal::bad_request(format!("the parameter {parameter} is missing"));
        let name = self.query(parameter).ok_or_else(missing)?;
        Account::new(name).map_err(|error| Refusal::bad_request(format!("{parameter}: {error}")))
    }

    pub(crate) fn account_parameter(&self) -> &'static str {
        match self.words {
            Words::Upgrade { account, .. } => account,
            Words::Hello { .. } => "user_id",
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("words", &self.words).field("client", &self.client).finish_non_exhaustive()
    }
}

/// A registered connection, as its handler sees it. Cheap to clone; it may outlive the connection.
#[derive(Clone)]
pub struct Connection {
    pub(crate) info: Arc<ConnectionInfo>,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) handle: Handle,
}

impl Connection {
    /// Its id, account, device and address.
    #[must_use]
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ConnectionId {
        &self.info.id
    }

    /// Whose it is.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.info.account
    }

    /// The handle of its server.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Sends a message to this connection only, directly and without blocking; callable from any thread.
    ///
    /// # Errors
    /// Why the connection is closing; the message was dropped.
    pub fn send(&self, push: &Push) -> Result<(), CloseReason> {
        self.outbound.tell(push.frame())
    }

    /// Sends a message of the program's own protocol to this connection only, as [`Connection::send`] does.
    ///
    /// # Errors
    /// Why the connection is closing; the message was dropped.
    pub fn send_raw(&self, frame: Frame<'_>) -> Result<(), CloseReason> {
        self.outbound.tell(&frame.encode())
    }

    /// Ends this connection; without effect when it is closing already. What waits for it is dropped and counted, what
    /// is still on its way through the router is dropped too. [`Handle::disconnect`] comes after pushes that have returned.
    pub fn close(&self, reason: CloseReason) {
        self.outbound.close(reason, Waiting::Drop);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.info).finish()
    }
}

/// What a client may be allowed or denied.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Sending a message to accounts or a room.
    Message(&'a Recipients),
    /// Sending a message to every other connection.
    Broadcast,
    /// Joining a room.
    Join(&'a Room),
    /// Asking who of these is online.
    Presence(&'a [Account]),
    /// Asking that, and being told of each change from now on.
    Watch(&'a [Account]),
}

/// A message on its way from a client to others.
#[derive(Debug)]
pub struct Message<'a> {
    pub(crate) id: &'a str,
    /// To whom it goes, each account once; `None` for a broadcast.
    pub to: Option<Recipients>,
    pub(crate) content: Cow<'a, RawValue>,
}

impl Message<'_> {
    /// The server's own id for it, as its recipients see it.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id
    }

    /// The content as the sender wrote it: JSON text.
    #[must_use]
    pub fn content(&self) -> &str {
        self.content.get()
    }

    /// Replaces the content.
    ///
    /// # Errors
    /// [`InvalidPush`] when the value is not JSON that every client can parse; the content stays.
    pub fn set_content(&mut self, content: &(impl Serialize + ?Sized)) -> Result<(), InvalidPush> {
        self.content = Cow::Owned(checked_content(content)?);
        Ok(())
    }
}

/// What becomes of what a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes its way.
    Deliver,
    /// The handler took it: nobody else gets it, and the sender's `ack` says 0.
    Consume,
    /// The sender gets an `error` with this code and text.
    Refuse(ErrorCode, String),
}

/// A silence of the length that [`IdleThresholds`](crate::config::IdleThresholds) names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Idle {
    /// Which direction was silent.
    pub kind: IdleKind,
    /// True once per silence: the event comes again after every further threshold.
    pub first: bool,
    /// How long the silence has lasted.
    pub silent_for: Duration,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            IdleKind::Reader => "nothing received",
            IdleKind::Writer => "nothing sent",
            IdleKind::All => "nothing received or sent",
        };
        write!(f, "{what} for {:.1} s", self.silent_for.as_secs_f64())
    }
}

impl Idle {
    pub(crate) fn new(kind: IdleKind, first: bool, silent_for: Duration) -> Self {
        Self { kind, first, silent_for }
    }
}

/// What a silence leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdleAction {
    /// Nothing.
    Nothing,
    /// The server's ping; whatever answers it ends the reader's silence.
    Ping,
    /// The end of the connection.
    Close(CloseReason),
}

/// The direction of a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdleKind {
    /// Nothing was received.
    Reader,
    /// Nothing was handed to the kernel.
    Writer,
    /// Neither.
    All,
}
