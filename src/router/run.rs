//! The router's thread: takes what its inboxes hold, lets the state decide, and sends the outcome.

use super::command::{Control, Data, Effect, PresenceChange, Slot};
use super::state::State;
use crate::clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::outbound::{Outbound, Waiting};
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::format::Translator;
use crate::protocol::message::Account;
use crate::protocol::wire::Bytes;
use crate::threads::channel::{Either, Receiver, RecvError, Sender, TryRecvError, receive_either};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long the router sleeps at most, for no reason but that a wait has an end.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// How many batches of data are taken before the control inbox is looked at again, and before anything is sent.
const BATCHES_PER_TURN: usize = 64;

/// The ends of the two inboxes from which the router takes.
pub(super) struct Inboxes {
    pub(super) control: Receiver<Control>,
    pub(super) data: Receiver<Data>,
}

/// The router's thread, from the first registration to `Stop`.
///
/// A panic in the state fails the server: every connection is closed with 1011, and the panic goes on to the caller.
pub(super) fn run(config: Arc<Config>, inboxes: &Inboxes, changes: Sender<PresenceChange>, metrics: Arc<Metrics>) {
    let mut core = Core::new(config, changes, metrics);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| serve(&mut core, inboxes))) {
        core.fail();
        resume_unwind(panic);
    }
}

fn serve(core: &mut Core, inboxes: &Inboxes) {
    while let ControlFlow::Continue(Rest { idle, wake }) = core.turn(inboxes) {
        if idle {
            let patience = wake.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(clock::now()));
            match receive_either(&inboxes.control, &inboxes.data, patience) {
                Ok(Some(Either::First(control))) => {
                    if core.control(control, inboxes).is_break() {
                        return;
                    }
                }
                Ok(Some(Either::Second(data))) => core.data(data),
                Ok(None) => {}
                Err(RecvError) => return,
            }
        }
    }
}

/// What is left after a turn.
pub(super) struct Rest {
    /// No data was left.
    pub(super) idle: bool,
    /// When there is something to do even if nothing comes.
    pub(super) wake: Option<Instant>,
}

/// The state, and where its effects go.
pub(super) struct Core {
    state: State,
    outbounds: Vec<Option<Arc<Outbound>>>,
    effects: Vec<Effect>,
    /// Frames by connection, so that each connection costs one system call however many frames a turn brings it.
    pending: Vec<Vec<Bytes>>,
    touched: Vec<Slot>,
    /// When that was handed over of which the frames go out at the end of the turn.
    handed_over: Vec<Instant>,
    translator: Translator,
    changes: Sender<PresenceChange>,
    metrics: Arc<Metrics>,
}

impl Core {
    pub(super) fn new(config: Arc<Config>, changes: Sender<PresenceChange>, metrics: Arc<Metrics>) -> Self {
        Self {
            state: State::new(config),
            outbounds: Vec::new(),
            effects: Vec::new(),
            pending: Vec::new(),
            touched: Vec::new(),
            handed_over: Vec::new(),
            translator: Translator::default(),
            changes,
            metrics,
        }
    }

    /// What waits now, and the frames that come of it; breaks at `Stop`.
    pub(super) fn turn(&mut self, inboxes: &Inboxes) -> ControlFlow<(), Rest> {
        // What waits now, and no more: whoever asks without a pause must not keep messages waiting.
        for control in inboxes.control.try_iter().take(inboxes.control.len()) {
            self.control(control, inboxes)?;
        }
        self.begin_turn(inboxes.data.len());
        let mut idle = false;
        for _ in 0..BATCHES_PER_TURN {
            match inboxes.data.try_recv() {
                Ok(data) => self.data(data),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    idle = true;
                    break;
                }
            }
        }
        self.send_all();
        self.end_turn();
        ControlFlow::Continue(Rest { idle, wake: self.depart() })
    }

    /// Whoever has been away for long enough is offline. Says when the next one is.
    fn depart(&mut self) -> Option<Instant> {
        // Mostly nobody is away, and then no clock is read.
        self.state.departs_at()?;
        self.state.depart(clock::now(), &mut self.effects);
        self.send_now();
        self.state.departs_at()
    }

    /// Counts what waits for this turn: what woke the thread, if that was it, and `waiting` behind it.
    fn begin_turn(&self, waiting: usize) {
        let waiting = self.handed_over.len() + waiting;
        if waiting > 0 {
            self.metrics.router_turn.observe(waiting);
        }
    }

    /// Counts how long that took whose frames have been handed out; the clock is read once for all of it.
    fn end_turn(&mut self) {
        if !self.handed_over.is_empty() {
            let now = clock::now();
            for at in self.handed_over.drain(..) {
                self.metrics.router_latency.observe_time(now.saturating_duration_since(at));
            }
        }
    }

    fn data(&mut self, data: Data) {
        self.handed_over.push(data.handed_over_at());
        match data {
            Data::Batch { from, commands, .. } => {
                let now = clock::now();
                for command in commands {
                    self.state.apply(from, command, now, &mut self.effects);
                }
            }
            Data::Push { to, frame, reply, .. } => answer(&reply, self.state.push(&to, &frame, &mut self.effects)),
        }
        self.sort_effects();
    }

    fn control(&mut self, control: Control, inboxes: &Inboxes) -> ControlFlow<()> {
        match control {
            Control::Register { registration, outbound, reply } => {
                // Only the state knows the place; the write side must be there before the greeting is sent.
                let registered = self.state.register(*registration, clock::now(), &mut self.effects);
                if let Ok(key) = &registered {
                    let end = key.slot as usize + 1;
                    self.outbounds.resize_with(self.outbounds.len().max(end), || None);
                    self.pending.resize_with(self.pending.len().max(end), Vec::new);
                    self.outbounds[key.slot as usize] = Some(outbound);
                    // What was meant for the one who had this place before is not for the newcomer.
                    self.pending[key.slot as usize].clear();
                }
                self.send_now();
                answer(&reply, registered);
            }
            Control::Unregister { key, commands } => {
                self.state.unregister(key, commands, clock::now(), &mut self.effects);
            }
            Control::Disconnect { target, reason, reply } => {
                let ended = self.state.disconnect(&target, &reason, clock::now(), &mut self.effects);
                self.send_now();
                answer(&reply, ended);
            }
            Control::Ask(question) => question(&mut self.state),
            Control::Drain { deadline } => {
                // What was accepted before is delivered before the Close.
                for data in inboxes.data.try_iter().take(inboxes.data.len()) {
                    self.data(data);
                }
                self.drain(deadline);
            }
            Control::Stop => return ControlFlow::Break(()),
        }
        self.send_now();
        ControlFlow::Continue(())
    }

    fn drain(&mut self, deadline: Instant) {
        self.send_now();
        let (slots, now): (Vec<Slot>, _) = (self.state.drain().collect(), clock::now());
        for slot in slots {
            if let Some(outbound) = &self.outbounds[slot as usize] {
                outbound.close(CloseKind::GoingAway.into(), Waiting::KeepUntil(deadline));
            }
            // What is pushed from now on reaches nobody, and whoever pushes it must be told so.
            self.state.detach(slot, now, &mut self.effects);
        }
        // Nobody is left to be told who has gone.
        self.effects.clear();
    }

    fn send_now(&mut self) {
        self.sort_effects();
        self.send_all();
    }

    /// Puts the frames of the effects to their connections, and carries out the other effects in order with them.
    fn sort_effects(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Greet { to, greeting } => self.put(to, greeting),
                Effect::Send { to, frame } => {
                    let outbound = self.outbounds[to as usize].as_ref();
                    let frame = outbound.and_then(|outbound| outbound.translate(&frame, &mut self.translator));
                    self.put(to, frame);
                }
                Effect::Close { to, reason } => self.close(to, reason),
                Effect::Announce { account, online } => self.announce(account, online),
                Effect::Forget { slot } => {
                    self.pending[slot as usize].clear();
                    self.outbounds[slot as usize] = None;
                }
            }
        }
        // Its capacity serves again.
        self.effects = effects;
    }

    fn put(&mut self, to: Slot, frames: impl IntoIterator<Item = Bytes>) {
        let pending = &mut self.pending[to as usize];
        let nothing_waited = pending.is_empty();
        pending.extend(frames);
        if nothing_waited && !pending.is_empty() {
            self.touched.push(to);
        }
    }

    fn send_all(&mut self) {
        while let Some(slot) = self.touched.pop() {
            if self.send(slot).is_err() {
                // It was cut, perhaps by this very push: nobody shall count it as reachable any longer.
                self.state.detach(slot, clock::now(), &mut self.effects);
                self.sort_effects();
            }
        }
    }

    fn send(&mut self, slot: Slot) -> Result<(), CloseReason> {
        let frames = &mut self.pending[slot as usize];
        match &self.outbounds[slot as usize] {
            Some(outbound) if !frames.is_empty() => outbound.push(frames.drain(..)),
            _ => {
                frames.clear();
                Ok(())
            }
        }
    }

    fn close(&mut self, slot: Slot, reason: CloseReason) {
        // What was sent before the disconnection goes out before the Close; if that cuts it, that reason won.
        let _ = self.send(slot);
        if let Some(outbound) = &self.outbounds[slot as usize] {
            outbound.close(reason, Waiting::Drop);
        }
    }

    fn announce(&self, account: Account, online: bool) {
        let at = SystemTime::now();
        if self.changes.try_send(PresenceChange { account, online, at }).is_err() {
            self.metrics.presence_untold.add(1);
            if let Some(others) = self.metrics.presence_log.open(clock::now()) {
                log::warn!("the program was not told who came or went, nor {others} others: it does not keep up");
            }
        }
    }

    fn fail(&self) {
        for outbound in self.outbounds.iter().flatten() {
            outbound.close(CloseKind::Internal.into(), Waiting::Drop);
        }
    }
}

/// Answers whoever asked; one that has given up waiting needs no answer.
pub(super) fn answer<T>(reply: &Sender<T>, answer: T) {
    let _ = reply.try_send(answer);
}
