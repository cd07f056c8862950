//! The client's own thread: it reads, beats, tells the program what happens, and comes back.

use super::adaptive::Adaptive;
use super::event::{Event, Incoming, Outage, SendError};
use super::frames::{Told, read};
use super::options::Options;
use super::schedule::{Advice, Schedule};
use super::session::Session;
use super::shared::{Answer, Shared};
use crate::duplex::Message;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::message::Account;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How soon the thread notices that the program has changed the heartbeat.
const LOOK: Duration = Duration::from_secs(5);

/// Everything that the thread needs.
pub(super) struct Driver {
    pub(super) url: String,
    pub(super) account: Account,
    pub(super) options: Options,
    pub(super) shared: Arc<Shared>,
    pub(super) schedule: Schedule,
    pub(super) events: Sender<Event>,
    /// Disconnected when the program wants no more.
    pub(super) stop: Receiver<()>,
}

/// The program wants no more.
struct Stopped;

impl Driver {
    /// The life of the thread, from the first registration to the last event.
    pub(super) fn run(mut self, first: Session) {
        let mut session = first;
        loop {
            let spread = session.reconnect_spread;
            let served = self.serve(session);
            self.shared.offline();
            match served.and_then(|outage| self.come_back(outage, spread)) {
                Ok(next) => session = next,
                Err(Stopped) => return,
            }
        }
    }

    /// From registration to the end of the connection.
    fn serve(&mut self, session: Session) -> Result<Outage, Stopped> {
        let Session { sender, mut receiver, connection, .. } = session;
        let now = Instant::now();
        self.schedule.online(now);
        self.shared.heartbeat(|heartbeat| heartbeat.connected(now));
        self.emit(Event::Online { connection })?;
        // When the beat was sent that waits for its answer.
        let mut beat = None;
        loop {
            let due = self.shared.heartbeat(|heartbeat| heartbeat.next_beat()).unwrap_or(now);
            if beat.is_none() && Instant::now() >= due {
                let now = Instant::now();
                beat = Some(now);
                // A connection that cannot be written to is noticed below.
                let _ = self.shared.beat(now);
            }
            let look = Instant::now() + LOOK;
            let deadline = beat.map_or(due.min(look), |sent: Instant| sent + self.options.beat_timeout);
            match receiver.recv_deadline(deadline) {
                Ok(Some(Message::Text(text))) => self.take(&text, &mut beat)?,
                Ok(Some(Message::Binary(_))) => self.received(),
                // It was given up only after everything that waited was read.
                Ok(None) if beat.is_some_and(|sent| Instant::now() >= sent + self.options.beat_timeout) => {
                    let detail = format!("no answer to a heartbeat for {:?}", self.options.beat_timeout);
                    let reason = CloseReason::new(CloseKind::HeartbeatTimeout, detail);
                    self.shared.heartbeat(|heartbeat| heartbeat.lost(Instant::now()));
                    sender.close(reason.clone());
                    return Ok(Outage::Ended(reason));
                }
                Ok(None) => {}
                Err(closed) => {
                    let without_a_word = closed.kind() == CloseKind::PeerGone;
                    let end = |heartbeat: &mut Adaptive| match without_a_word {
                        true => heartbeat.lost(Instant::now()),
                        false => heartbeat.closed(),
                    };
                    self.shared.heartbeat(end);
                    return Ok(Outage::Ended(closed.reason().clone()));
                }
            }
        }
    }

    /// One frame of the server.
    fn take(&self, text: &str, beat: &mut Option<Instant>) -> Result<(), Stopped> {
        let told = read(text);
        if matches!(told, Some(Told::Heartbeat)) {
            let now = Instant::now();
            self.shared.heartbeat(|heartbeat| heartbeat.acknowledged(now));
            if let Some(sent) = beat.take() {
                self.shared.set_round_trip(now.saturating_duration_since(sent));
            }
            return Ok(());
        }
        self.received();
        match told {
            Some(Told::Ack { id, delivered }) => {
                // Nobody waits for those of rooms joined again.
                let _ = self.shared.answer(&id, Ok(Answer::Delivered(delivered)));
                Ok(())
            }
            Some(Told::Presence { id, accounts }) => match id {
                Some(id) => match self.shared.answer(&id, Ok(Answer::Presence(accounts))) {
                    Err(Ok(Answer::Presence(accounts))) => self.emit(Event::Presence(accounts)),
                    _ => Ok(()),
                },
                None => self.emit(Event::Presence(accounts)),
            },
            Some(Told::Error { id, code, message }) => {
                let refused = SendError::Refused { code, message: message.clone() };
                let unanswered = id.is_none_or(|id| self.shared.answer(&id, Err(refused)).is_err());
                if unanswered { self.emit(Event::Refused { code, message }) } else { Ok(()) }
            }
            Some(Told::Message { id, from, room, time_ms, content }) => {
                let content = content.get().to_owned();
                self.emit(Event::Message(Incoming { id, from, room, time_ms, content }))
            }
            Some(Told::Push { kind, content }) => self.emit(Event::Push { kind, content: content.get().to_owned() }),
            Some(Told::Register { .. } | Told::Heartbeat) => Ok(()),
            None => {
                log::debug!("a frame of {} bytes makes no sense to this version", text.len());
                Ok(())
            }
        }
    }

    fn received(&self) {
        self.shared.heartbeat(|heartbeat| heartbeat.received(Instant::now()));
    }

    /// Waits and connects until that succeeds or is not to be tried again.
    fn come_back(&mut self, mut outage: Outage, spread: Duration) -> Result<Session, Stopped> {
        loop {
            let advice = outage.advice(spread);
            let Some(next_attempt) = self.schedule.next(advice, random(), Instant::now()) else {
                debug_assert_eq!(advice, Advice::Never);
                self.emit(Event::Closed(outage))?;
                return Err(Stopped);
            };
            self.emit(Event::Offline { reason: outage, next_attempt })?;
            match self.stop.recv_timeout(next_attempt) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Err(Stopped),
            }
            let promise = self.shared.heartbeat(|heartbeat| heartbeat.interval());
            let token = self.shared.token();
            match Session::open(&self.url, &self.account, token.as_deref(), &self.options, promise) {
                Ok(session) if self.shared.online(&session.sender) => return Ok(session),
                Ok(session) => {
                    session.sender.close(CloseKind::Normal);
                    return Err(Stopped);
                }
                Err(again) => outage = again,
            }
        }
    }

    /// Tells the program, waiting for room: what is not read here waits at the server, which is the back-pressure.
    fn emit(&self, event: Event) -> Result<(), Stopped> {
        select! {
            send(self.events, event) -> sent => sent.map_err(|_| Stopped),
            recv(self.stop) -> _ => Err(Stopped),
        }
    }
}

/// From 0 to 1. The hasher's keys are random numbers of the system.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(SystemTime::now()) >> 32;
    bits as f64 / f64::from(u32::MAX)
}
