//! The state, and where its effects go: what the router's thread works on, or the thread of a connection that helps it.

use super::command::{Control, Data, Effect, PresenceChange, Slot};
use super::delivery::{Deliveries, Urgency};
use super::run::answer;
use super::state::State;
use crate::clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::outbound::{Outbound, Waiting};
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::format::Translator;
use crate::protocol::message::Account;
use crate::threads::channel::{Receiver, Sender};
use crate::threads::sync::atomic::{Ordering, fence};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Instant, SystemTime};

/// How much is done in a turn before the control inbox is looked at again.
struct Budget {
    /// How many batches of data are taken before anything is sent.
    batches: usize,
    /// How many connections may have something to be sent when another batch is taken.
    recipients: usize,
    /// Wider batches wait for the router.
    width: usize,
}

const OF_THE_ROUTER: Budget = Budget { batches: 64, recipients: 256, width: usize::MAX };
/// Whoever helps has a client of its own that waits.
const OF_A_HELPER: Budget = Budget { batches: in_models(1, 16), recipients: in_models(1, 16), width: in_models(1, 16) };

/// For more recipients than this a batch is wide: they are sent to a slice at a time, and the next wide one waits for them.
const NARROW: usize = in_models(1, 64);
const SLICE: usize = in_models(1, 8);
/// Of the data inbox's room, the part that batches may have which wait behind a wide one.
const WAITING_PART: usize = 16;

/// A number for models, which have few connections, and the real one.
const fn in_models(few: usize, real: usize) -> usize {
    if cfg!(heartwire_model) { few } else { real }
}

/// The ends of the two inboxes from which the core takes.
pub(super) struct Inboxes {
    pub(super) control: Receiver<Control>,
    pub(super) data: Receiver<Data>,
}

/// What is left after a turn.
pub(super) struct Rest {
    /// There is nothing to do until something comes.
    pub(super) idle: bool,
    /// When there is something to do even if nothing comes.
    pub(super) wake: Option<Instant>,
}

/// The state, and where its effects go.
pub(super) struct Core {
    inboxes: Inboxes,
    state: State,
    outbounds: Vec<Option<Arc<Outbound>>>,
    effects: Vec<Effect>,
    /// So that each connection costs one system call however many frames a turn brings it.
    deliveries: Deliveries,
    /// Wide batches that wait for the one before them, and what their senders have sent since.
    waiting: VecDeque<Data>,
    /// When that was handed over of which the frames go out at the end of the turn, and that whose go out in slices.
    handed_over: Vec<Instant>,
    wide_handed_over: Vec<Instant>,
    translator: Translator,
    changes: Sender<PresenceChange>,
    metrics: Arc<Metrics>,
    /// What somebody who helped came upon, for the router: that it is to stop, or a panic.
    ended: Option<thread::Result<()>>,
    /// When the router wakes by itself.
    wakes: Option<Instant>,
}

impl Core {
    pub(super) fn new(
        inboxes: Inboxes,
        config: Arc<Config>,
        changes: Sender<PresenceChange>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            inboxes,
            state: State::new(config),
            outbounds: Vec::new(),
            effects: Vec::new(),
            deliveries: Deliveries::default(),
            waiting: VecDeque::new(),
            handed_over: Vec::new(),
            wide_handed_over: Vec::new(),
            translator: Translator::default(),
            changes,
            metrics,
            ended: None,
            wakes: None,
        }
    }

    /// What waits now, and the frames that come of it; breaks at `Stop`.
    pub(super) fn turn(&mut self) -> ControlFlow<(), Rest> {
        match self.ended.take() {
            Some(Ok(())) => return ControlFlow::Break(()),
            Some(Err(panic)) => resume_unwind(panic),
            None => {}
        }
        self.take_control()?;
        while !self.deliveries.is_wide()
            && let Some(data) = self.waiting.pop_front()
        {
            self.apply(data);
        }
        let idle = self.take_data(&OF_THE_ROUTER);
        self.send_prompt();
        self.send_slice();
        self.end_turn();
        self.wakes = self.depart();
        ControlFlow::Continue(Rest { idle: idle && !self.is_behind(), wake: self.wakes })
    }

    /// The same on another thread than the router's, as far as it is soon done; says whether the router has to go on.
    ///
    /// What ends the router's thread, be it a panic, is left to it.
    pub(super) fn help(&mut self) -> bool {
        // A herd that comes or goes is the router's.
        if self.ended.is_some() || self.inboxes.control.len() > OF_A_HELPER.batches {
            return true;
        }
        match catch_unwind(AssertUnwindSafe(|| self.help_out())) {
            Ok(ControlFlow::Continue(Rest { idle, wake })) => {
                let sooner = |at: Instant| self.wakes.is_none_or(|wakes| at < wakes);
                return !idle || wake.is_some_and(sooner);
            }
            Ok(ControlFlow::Break(())) => self.ended = Some(Ok(())),
            Err(panic) => self.ended = Some(Err(panic)),
        }
        true
    }

    fn help_out(&mut self) -> ControlFlow<(), Rest> {
        self.take_control()?;
        let idle = self.take_data(&OF_A_HELPER);
        self.metrics.helped.add(self.handed_over.len() as u64);
        self.send_prompt();
        self.end_turn();
        let wake = self.state.departs_at();
        ControlFlow::Continue(Rest { idle: idle && !self.is_behind(), wake })
    }

    pub(super) fn fail(&self) {
        for outbound in self.outbounds.iter().flatten() {
            outbound.close(CloseKind::Internal.into(), Waiting::Drop);
        }
    }

    /// Drops what is in the inboxes, behind the moment at which those who put more into them can know that it is in vain.
    pub(super) fn end(self) {
        fence(Ordering::SeqCst);
        while self.inboxes.control.try_recv().is_ok() || self.inboxes.data.try_recv().is_ok() {}
    }

    /// Whoever has been away for long enough is offline. Says when the next one is.
    fn depart(&mut self) -> Option<Instant> {
        // Mostly nobody is away, and then no clock is read.
        self.state.departs_at()?;
        self.state.depart(clock::now(), &mut self.effects);
        self.send_now();
        self.state.departs_at()
    }

    /// Whether something wide is on its way, or waits for its turn.
    fn is_behind(&self) -> bool {
        self.deliveries.is_wide() || !self.waiting.is_empty()
    }

    fn take_control(&mut self) -> ControlFlow<()> {
        // What waits now, and no more: whoever asks without a pause must not keep messages waiting.
        for _ in 0..self.inboxes.control.len() {
            let Ok(control) = self.inboxes.control.try_recv() else { break };
            self.control(control)?;
        }
        ControlFlow::Continue(())
    }

    /// Applies what the data inbox holds, within the budget; says whether that was all.
    fn take_data(&mut self, budget: &Budget) -> bool {
        let waiting = self.inboxes.data.len();
        if waiting > 0 {
            self.metrics.router_turn.observe(waiting);
        }
        let room = (self.inboxes.data.capacity().unwrap_or(usize::MAX) / WAITING_PART).max(1);
        for _ in 0..budget.batches {
            if self.deliveries.prompt() >= budget.recipients || self.waiting.len() >= room {
                return false;
            }
            match self.inboxes.data.try_recv() {
                Ok(data) if self.must_wait(&data, budget) => self.waiting.push_back(data),
                Ok(data) => self.apply(data),
                Err(_) => return true,
            }
        }
        false
    }

    /// Whether this waits for the router, or for something wide, so that those who send to few need not.
    fn must_wait(&self, data: &Data, budget: &Budget) -> bool {
        // What comes behind something that waits of the same connection must not overtake it.
        let behind = |other: &Data| other.sender().is_some_and(|from| data.sender() == Some(from));
        let most = if self.is_behind() { budget.width.min(NARROW) } else { budget.width };
        most < usize::MAX && (self.width(data) > most || self.waiting.iter().any(behind))
    }

    /// How many this is for, at most.
    fn width(&self, data: &Data) -> usize {
        match data {
            Data::Batch { commands, .. } => commands.iter().map(|command| self.state.width(command)).sum(),
            Data::Push { to, .. } => self.state.width_of(to),
        }
    }

    /// Counts how long that took whose frames have been handed out; the clock is read once for all of it.
    fn end_turn(&mut self) {
        if !self.deliveries.is_wide() {
            self.handed_over.append(&mut self.wide_handed_over);
        }
        if !self.handed_over.is_empty() {
            let now = clock::now();
            for at in self.handed_over.drain(..) {
                self.metrics.router_latency.observe_time(now.saturating_duration_since(at));
            }
        }
    }

    fn apply(&mut self, data: Data) {
        let handed_over = data.handed_over_at();
        match data {
            Data::Batch { from, commands, .. } => {
                let now = clock::now();
                for command in commands {
                    self.state.apply(from, command, now, &mut self.effects);
                }
            }
            Data::Push { to, frame, reply, .. } => answer(&reply, self.state.push(&to, &frame, &mut self.effects)),
        }
        match self.sort_effects() {
            Urgency::Prompt => self.handed_over.push(handed_over),
            Urgency::Wide => self.wide_handed_over.push(handed_over),
        }
    }

    fn control(&mut self, control: Control) -> ControlFlow<()> {
        match control {
            Control::Register { registration, outbound, reply } => {
                // Only the state knows the place; the write side must be there before the greeting is sent.
                let registered = self.state.register(*registration, clock::now(), &mut self.effects);
                if let Ok(key) = &registered {
                    let end = key.slot as usize + 1;
                    self.outbounds.resize_with(self.outbounds.len().max(end), || None);
                    self.outbounds[key.slot as usize] = Some(outbound);
                    self.deliveries.take_place(key.slot);
                }
                self.send_now();
                reply.send(registered);
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
                while let Some(data) = self.waiting.pop_front() {
                    self.apply(data);
                }
                for _ in 0..self.inboxes.data.len() {
                    let Ok(data) = self.inboxes.data.try_recv() else { break };
                    self.apply(data);
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
        while self.deliveries.is_wide() {
            self.send_slice();
            self.send_prompt();
        }
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
        self.send_prompt();
    }

    /// Puts the frames of the effects to their connections, and carries out the other effects in order with them.
    fn sort_effects(&mut self) -> Urgency {
        let mut effects = std::mem::take(&mut self.effects);
        let urgency = if effects.len() > NARROW { Urgency::Wide } else { Urgency::Prompt };
        for effect in effects.drain(..) {
            match effect {
                // It is the first thing that its connection is sent, whatever comes with it.
                Effect::Greet { to, greeting } => self.deliveries.put(to, greeting, Urgency::Prompt),
                Effect::Send { to, frame } => {
                    let outbound = self.outbounds[to as usize].as_ref();
                    let frame = outbound.and_then(|outbound| outbound.translate(&frame, &mut self.translator));
                    self.deliveries.put(to, frame, urgency);
                }
                Effect::Close { to, reason } => self.close(to, reason),
                Effect::Announce { account, online } => self.announce(account, online),
                Effect::Forget { slot } => {
                    // It has left before its turn came.
                    self.metrics.frames_dropped.add(self.deliveries.forget(slot) as u64);
                    self.outbounds[slot as usize] = None;
                }
            }
        }
        // Its capacity serves again.
        self.effects = effects;
        urgency
    }

    fn send_prompt(&mut self) {
        while let Some(slot) = self.deliveries.next(Urgency::Prompt) {
            self.send_or_detach(slot);
        }
    }

    /// Sends to the next few recipients of what is for many.
    fn send_slice(&mut self) {
        for _ in 0..SLICE {
            let Some(slot) = self.deliveries.next(Urgency::Wide) else { return };
            self.send_or_detach(slot);
        }
    }

    fn send_or_detach(&mut self, slot: Slot) {
        if self.send(slot).is_err() {
            // It was cut, perhaps by this very push: nobody shall count it as reachable any longer.
            self.state.detach(slot, clock::now(), &mut self.effects);
            self.sort_effects();
        }
    }

    fn send(&mut self, slot: Slot) -> Result<(), CloseReason> {
        let frames = self.deliveries.take(slot);
        match &self.outbounds[slot as usize] {
            Some(outbound) if !frames.is_empty() => outbound.push(frames),
            Some(_) => Ok(()),
            None => {
                self.metrics.frames_dropped.add(frames.len() as u64);
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
}
