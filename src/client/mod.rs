//! A blocking client of a heartwire server: it connects, comes back when it must, and says what became of each message.
//!
//! ```no_run
//! use heartwire::Account;
//! use heartwire::client::{Client, Event, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (Account::new("alice")?, Account::new("bob")?);
//! let client = Client::connect("ws://127.0.0.1:8080/ws", &alice, Options::default())?;
//! println!("handed to {} connections of bob's", client.send(&[bob], &"hello")?);
//! while let Some(event) = client.recv() {
//!     match event {
//!         Event::Message(message) => println!("{}: {}", message.from, message.content),
//!         Event::Offline { reason, next_attempt } => println!("{reason}; again in {next_attempt:?}"),
//!         Event::Closed(reason) => println!("for good: {reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is guaranteed, and what is not
//!
//! - **At most once.** Nothing is kept while there is no connection, and nothing is sent twice. What was not acknowledged
//!   when the connection was lost fails with [`SendError::Lost`].
//! - **It comes back** as the server's close code or status asks for: 41xx with back-off, 42xx at once, 1001 after a random
//!   part of the spread that the server named, 45xx never, `Retry-After` honoured. Who comes back at once and fails again
//!   backs off too. A client that was replaced by another one (4505) does not fight it.
//! - **Rooms and watches** that the server has acknowledged are asked for again after a reconnect.
//! - **Back-pressure.** Events wait in a bounded queue. While it is full nothing is read, so answers wait too, and the
//!   server's queue for this client fills instead; a program that does not take its events for long is cut off by the
//!   server, with 4101 or 4201, and told so when it goes on.
//!
//! Behind each client is one thread, `hw-client`, which ends with it, and while a name is looked up a second one.

mod adaptive;
mod driver;
mod event;
mod frames;
mod options;
mod schedule;
mod session;
mod shared;

pub use adaptive::{Adaptive, AdaptiveNetwork, AdaptiveOptions};
pub use event::{Event, Incoming, Outage, SendError};
pub use options::Options;
pub use schedule::Backoff;

use crate::config::LONGEST;
use crate::protocol::close::CloseKind;
use crate::protocol::message::{Account, Presence, Room};
use crossbeam_channel::{Receiver, Sender, bounded};
use driver::Driver;
use frames::Said;
use schedule::Schedule;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use session::Session;
use shared::{Answer, Shared};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// A client. Every method may be called from any thread, several at a time. The drop closes it, see [`Client::close`].
pub struct Client {
    shared: Arc<Shared>,
    ack_timeout: Duration,
    events: Receiver<Event>,
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Connects to `ws://host[:port]/path` as this account and blocks until it is registered, for
    /// [`Options::open_deadline`] at most. The first attempt is the only one; later ones are the client's own.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn connect(url: &str, account: &Account, mut options: Options) -> Result<Self, Outage> {
        for time in [&mut options.open_deadline, &mut options.beat_timeout] {
            *time = LONGEST.min(*time);
        }
        let shared = Arc::new(Shared::new(options.heartbeat.clone(), options.token.clone()));
        let first = Session::open(url, account, options.token.as_deref(), &options, options.heartbeat.interval())?;
        shared.online(&first.sender);
        let (events, incoming) = bounded(options.events.max(1));
        let (stop, stopped) = bounded(0);
        let ack_timeout = options.ack_timeout;
        let driver = Driver {
            url: url.to_owned(),
            account: account.clone(),
            schedule: Schedule::new(options.backoff.clone()),
            options,
            shared: Arc::clone(&shared),
            events,
            stop: stopped,
        };
        let thread = Builder::new().name("hw-client".into()).spawn(move || driver.run(first)).map_err(no_thread)?;
        Ok(Self { shared, ack_timeout, events: incoming, stop: Some(stop), thread: Some(thread) })
    }

    /// Sends a message to every connection of these accounts and waits for the server's word: to how many connections it
    /// was handed. Zero says that nobody was there.
    ///
    /// # Errors
    /// [`SendError`]: some say that nothing was sent, some that it is not known.
    pub fn send(&self, to: &[Account], content: &impl Serialize) -> Result<u64, SendError> {
        self.delivered(Said::to_accounts(to, &json(content)?))
    }

    /// The same to every other connection in a room, which this one must be in.
    ///
    /// # Errors
    /// See [`Client::send`].
    pub fn send_to_room(&self, room: &Room, content: &impl Serialize) -> Result<u64, SendError> {
        self.delivered(Said::to_room(room, &json(content)?))
    }

    /// Sends a message to every connection of these accounts and waits for nothing but room in the socket. A refusal comes
    /// as [`Event::Refused`].
    ///
    /// # Errors
    /// [`SendError::Offline`], [`SendError::Content`] or [`SendError::Lost`].
    pub fn post(&self, to: &[Account], content: &impl Serialize) -> Result<(), SendError> {
        self.shared.tell(Said::to_accounts(to, &json(content)?))
    }

    /// Enters a room, now and after each reconnect.
    ///
    /// # Errors
    /// See [`Client::send`]; then it is not entered again by itself.
    pub fn join(&self, room: &Room) -> Result<(), SendError> {
        self.delivered(Said::join(room))?;
        self.shared.remember_room(room, true);
        Ok(())
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// See [`Client::send`]; it is not entered again after a reconnect even so.
    pub fn leave(&self, room: &Room) -> Result<(), SendError> {
        self.shared.remember_room(room, false);
        self.delivered(Said::leave(room)).map(drop)
    }

    /// Who of these is online: at most 256 accounts at a time.
    ///
    /// # Errors
    /// See [`Client::send`].
    pub fn presence(&self, accounts: &[Account]) -> Result<Vec<Presence>, SendError> {
        self.asked_presence(accounts, None)
    }

    /// The same, and changes come as [`Event::Presence`], also after reconnects.
    ///
    /// # Errors
    /// See [`Client::send`]; then they are not watched again by themselves.
    pub fn watch(&self, accounts: &[Account]) -> Result<Vec<Presence>, SendError> {
        let presence = self.asked_presence(accounts, Some(true))?;
        self.shared.remember_watched(accounts, true);
        Ok(presence)
    }

    /// Ends the watching of these accounts.
    ///
    /// # Errors
    /// See [`Client::send`]; they are not watched again after a reconnect even so.
    pub fn unwatch(&self, accounts: &[Account]) -> Result<(), SendError> {
        self.shared.remember_watched(accounts, false);
        self.asked_presence(accounts, Some(false)).map(drop)
    }

    /// Presents another token before the present one expires, and uses it after each reconnect.
    ///
    /// # Errors
    /// See [`Client::send`]. One that the server refuses is not used again; where its word did not come, or there is no
    /// connection, it is kept for the next.
    pub fn renew(&self, token: &str) -> Result<(), SendError> {
        let renewed = self.delivered(Said::token(token)).map(drop);
        if !matches!(renewed, Err(SendError::Refused { .. })) {
            self.shared.remember_token(token);
        }
        renewed
    }

    /// Blocks until something has happened; `None` when nothing will any more.
    #[must_use]
    pub fn recv(&self) -> Option<Event> {
        self.events.recv().ok()
    }

    /// The same for at most this long; `None` also when nothing has happened.
    #[must_use]
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Event> {
        self.events.recv_timeout(timeout).ok()
    }

    /// The round trip of the last heartbeat that was answered.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.round_trip()
    }

    /// Asks or changes the heartbeat: whether somebody looks at the program, through which network it is connected, what
    /// was learnt. What is changed is noticed within 5 s; where another network was named, a beat then tells whether the
    /// connection outlived the change. `act` must not block.
    pub fn heartbeat<T>(&self, act: impl FnOnce(&mut Adaptive) -> T) -> T {
        self.shared.heartbeat(act)
    }

    /// Says goodbye with 1000 and waits until the thread has ended: some seconds where the server does not answer, and at
    /// most [`Options::open_deadline`] where it is just being connected to. Events that wait are dropped.
    pub fn close(mut self) {
        self.end();
    }

    fn delivered(&self, said: Said<'_>) -> Result<u64, SendError> {
        match self.shared.ask(said, self.ack_timeout)? {
            Answer::Delivered(connections) => Ok(connections),
            Answer::Presence(_) => Err(SendError::Lost),
        }
    }

    fn asked_presence(&self, accounts: &[Account], watch: Option<bool>) -> Result<Vec<Presence>, SendError> {
        match self.shared.ask(Said::presence(accounts, watch), self.ack_timeout)? {
            Answer::Presence(presence) => Ok(presence),
            Answer::Delivered(_) => Err(SendError::Lost),
        }
    }

    fn end(&mut self) {
        if let Some(sender) = self.shared.end() {
            sender.close(CloseKind::Normal);
        }
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say: a panic of its own was printed by it.
            let _ = thread.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

fn json(content: &impl Serialize) -> Result<Box<RawValue>, SendError> {
    to_raw_value(content).map_err(|error| SendError::Content(error.to_string()))
}

fn no_thread(error: io::Error) -> Outage {
    Outage::NotOpened(crate::duplex::ConnectError::Failed(error))
}
