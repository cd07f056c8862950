//! What the program's threads and the client's own thread share: the connection, who waits for answers, and what has to
//! be asked for again after a reconnect.

use super::adaptive::Adaptive;
use super::event::SendError;
use super::frames::Said;
use crate::duplex::Sender;
use crate::protocol::message::{Account, MAX_ACCOUNTS_PER_FRAME, Presence, Room};
use crate::threads::lock;
use crate::threads::sync::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

/// What the server answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Delivered(u64),
    Presence(Vec<Presence>),
}

type Asked = SyncSender<Result<Answer, SendError>>;

/// The state of one client. Its locks are held for a moment only, one at a time, and never while anybody sends or waits.
pub(super) struct Shared {
    state: Mutex<State>,
    heartbeat: Mutex<Adaptive>,
}

#[derive(Default)]
struct State {
    /// The connection, while there is one.
    sender: Option<Sender>,
    /// No connection is to be used any more.
    ended: bool,
    next_id: u64,
    asked: BTreeMap<String, Asked>,
    rooms: BTreeSet<Room>,
    watched: BTreeSet<Account>,
    round_trip: Option<Duration>,
    /// What the next connection is opened with.
    token: Option<String>,
}

impl Shared {
    pub(super) fn new(heartbeat: Adaptive, token: Option<String>) -> Self {
        Self { state: Mutex::new(State { token, ..State::default() }), heartbeat: Mutex::new(heartbeat) }
    }

    /// What the next connection is opened with.
    pub(super) fn token(&self) -> Option<String> {
        lock(&self.state).token.clone()
    }

    /// The next connection is opened with this.
    pub(super) fn remember_token(&self, token: &str) {
        lock(&self.state).token = Some(token.to_owned());
    }

    /// Asks or changes the heartbeat.
    pub(super) fn heartbeat<T>(&self, act: impl FnOnce(&mut Adaptive) -> T) -> T {
        act(&mut lock(&self.heartbeat))
    }

    /// Sends a heartbeat with its promise.
    pub(super) fn beat(&self, now: Instant) -> Result<(), SendError> {
        let promise = self.heartbeat(|heartbeat| {
            // The program has named another network: whether the connection outlived that, this beat tells.
            if heartbeat.next_beat().is_none() {
                heartbeat.connected(now);
            }
            heartbeat.beat(now)
        });
        self.send(&Said::heartbeat(promise).text(None))
    }

    /// Sends what needs no answer.
    pub(super) fn tell(&self, said: Said<'_>) -> Result<(), SendError> {
        self.heartbeat(|heartbeat| heartbeat.sent(Instant::now()));
        self.send(&said.text(None))
    }

    /// Sends what is answered, and waits for that.
    pub(super) fn ask(&self, said: Said<'_>, timeout: Duration) -> Result<Answer, SendError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let (sender, id) = {
            let state = &mut *lock(&self.state);
            let sender = state.sender.clone().ok_or(SendError::Offline)?;
            let id = state.name();
            state.asked.insert(id.clone(), answer);
            (sender, id)
        };
        self.heartbeat(|heartbeat| heartbeat.sent(Instant::now()));
        let outcome = match sender.text(&said.text(Some(&id))) {
            Ok(()) => answered.recv_timeout(timeout).unwrap_or_else(|error| {
                Err(if error == RecvTimeoutError::Timeout { SendError::TimedOut } else { SendError::Lost })
            }),
            Err(_) => Err(SendError::Lost),
        };
        lock(&self.state).asked.remove(&id);
        outcome
    }

    /// Hands an answer to whoever waits for it; back, if nobody does.
    pub(super) fn answer(&self, id: &str, answer: Result<Answer, SendError>) -> Result<(), Result<Answer, SendError>> {
        match lock(&self.state).asked.remove(id) {
            // Who has just given up hears nothing.
            Some(asked) => _ = asked.try_send(answer),
            None => return Err(answer),
        }
        Ok(())
    }

    /// There is a connection: what was joined and watched is asked for again, before anything else is sent. False when no
    /// connection is wanted any more.
    pub(super) fn online(&self, sender: &Sender) -> bool {
        let (rooms, watched) = {
            let state = lock(&self.state);
            (state.rooms.clone(), Vec::from_iter(state.watched.clone()))
        };
        let joins = rooms.iter().map(Said::join);
        let watches = watched.chunks(MAX_ACCOUNTS_PER_FRAME).map(|accounts| Said::presence(accounts, Some(true)));
        for said in joins.chain(watches) {
            let id = lock(&self.state).name();
            // A connection that fails so soon is noticed by its reader.
            let _ = sender.text(&said.text(Some(&id)));
        }
        let mut state = lock(&self.state);
        if !state.ended {
            state.sender = Some(sender.clone());
        }
        !state.ended
    }

    /// There is no connection: whoever waits for an answer waits in vain.
    pub(super) fn offline(&self) {
        let state = &mut *lock(&self.state);
        state.sender = None;
        state.asked.clear();
    }

    /// No connection is wanted any more; the one there is, to be closed.
    pub(super) fn end(&self) -> Option<Sender> {
        let mut state = lock(&self.state);
        state.ended = true;
        state.sender.take()
    }

    /// From now on a room is joined again after reconnects, or no longer.
    pub(super) fn remember_room(&self, room: &Room, joined: bool) {
        let rooms = &mut lock(&self.state).rooms;
        if joined {
            rooms.insert(room.clone())
        } else {
            rooms.remove(room)
        };
    }

    /// From now on accounts are watched again after reconnects, or no longer.
    pub(super) fn remember_watched(&self, accounts: &[Account], watched: bool) {
        let known = &mut lock(&self.state).watched;
        for account in accounts {
            if watched {
                known.insert(account.clone())
            } else {
                known.remove(account)
            };
        }
    }

    /// The round trip of the last heartbeat that was answered.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        lock(&self.state).round_trip
    }

    pub(super) fn set_round_trip(&self, round_trip: Duration) {
        lock(&self.state).round_trip = Some(round_trip);
    }

    fn send(&self, text: &str) -> Result<(), SendError> {
        let sender = lock(&self.state).sender.clone().ok_or(SendError::Offline)?;
        sender.text(text).map_err(|_| SendError::Lost)
    }
}

impl State {
    fn name(&mut self) -> String {
        self.next_id += 1;
        self.next_id.to_string()
    }
}
