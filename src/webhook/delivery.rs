//! The thread that delivers, and what it shares with those who send.

use super::event::Event;
use super::options::WebhookOptions;
use super::post::Poster;
use super::queue::{Batch, Queue, WebhookCounts};
use super::schedule::{Next, Schedule};
use crate::metrics::LogGate;
use crate::threads::lock;
use crate::threads::sync::{Condvar, Mutex, MutexGuard};
use serde::Serialize;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Everything that the thread needs.
pub(super) struct Delivery {
    /// The instance that every batch names.
    pub(super) server: String,
    pub(super) shared: Arc<Shared>,
    pub(super) schedule: Schedule,
    pub(super) poster: Poster,
}

impl Delivery {
    /// The life of the thread: one batch after the other, each of them until it has arrived or is given up.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.shared.next_batch() {
            self.deliver(&batch);
        }
    }

    fn deliver(&mut self, batch: &Batch) {
        let Ok(body) = serde_json::to_string(&Body { server: &self.server, batch }) else {
            debug_assert!(false, "a batch can always be written");
            return self.shared.change(Queue::gave_up);
        };
        let began = Instant::now();
        while self.shared.may_try() {
            let Err(failure) = self.poster.post(&body) else {
                if self.schedule.succeeded() {
                    log::info!("webhook: {} takes events again", self.poster.origin());
                }
                return self.shared.change(Queue::delivered);
            };
            let next = self.schedule.failed(&failure, began, Instant::now(), random());
            let (Next::Again(wait) | Next::GiveUp(wait)) = next;
            self.shared.failed(wait);
            let (number, origin, what) = (batch.number, self.poster.origin(), &failure.what);
            if let Next::Again(_) = next {
                log::warn!("webhook: batch {number} failed at {origin}: {what}; again in {:.1} s", wait.as_secs_f64());
            } else {
                let events = batch.events.len();
                log::error!(
                    "webhook: batch {number} failed at {origin}: {what}; given up, {events} events are dropped"
                );
                return self.shared.change(Queue::gave_up);
            }
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    server: &'a str,
    #[serde(flatten)]
    batch: &'a Batch,
}

/// What those who send share with the thread. The lock is held for a moment only, never while anybody sends or waits.
pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something to send, or to stop.
    changed: Condvar,
    full_log: LogGate,
}

struct State {
    queue: Queue,
    /// When the next attempt may be made, after a failure.
    not_before: Option<Instant>,
    /// Until when to deliver what waits, once nothing more is to come.
    stop: Option<Instant>,
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Send,
    /// Until then, or until something changes.
    Wait(Option<Instant>),
    End,
}

impl State {
    fn turn(&self, now: Instant) -> Turn {
        let has_news = self.queue.has_news();
        match (self.stop, self.not_before) {
            (Some(deadline), _) if now >= deadline || !has_news => Turn::End,
            // Whoever has refused the last events does not want to know how many there were, either.
            (Some(_), Some(_)) if !self.queue.has_events() => Turn::End,
            _ if !has_news => Turn::Wait(None),
            (deadline, Some(turn)) if now < turn => {
                Turn::Wait(Some(deadline.map_or(turn, |deadline| deadline.min(turn))))
            }
            _ => Turn::Send,
        }
    }
}

impl Shared {
    pub(super) fn new(options: &WebhookOptions) -> Self {
        let state = State { queue: Queue::new(options), not_before: None, stop: None };
        Self { state: Mutex::new(state), changed: Condvar::new(), full_log: LogGate::default() }
    }

    /// Queues an event, or drops it.
    pub(super) fn send(&self, event: Event) {
        let Ok(json) = event.into_json() else { return debug_assert!(false, "an event can always be written") };
        let mut state = lock(&self.state);
        let (taken, waiting) = (state.queue.push(json), state.queue.counts().waiting);
        drop(state);
        self.changed.notify_one();
        if let (false, Some(held_back)) = (taken, self.full_log.open(Instant::now())) {
            log::warn!("webhook: {} events dropped, {waiting} wait already", held_back + 1);
        }
    }

    /// Lets the thread end, at this time or as soon as nothing waits, and wakes it from its back-off.
    pub(super) fn stop(&self, deadline: Instant) {
        let mut state = lock(&self.state);
        state.queue.close();
        (state.stop, state.not_before) = (Some(deadline), None);
        drop(state);
        self.changed.notify_one();
    }

    /// Drops what is left; the thread has ended.
    pub(super) fn abandon(&self) {
        let left = lock(&self.state).queue.abandon();
        if left > 0 {
            log::warn!("webhook: {left} events were not delivered before the end");
        }
    }

    pub(super) fn counts(&self) -> WebhookCounts {
        lock(&self.state).queue.counts()
    }

    fn next_batch(&self) -> Option<Batch> {
        self.wait()?.queue.take()
    }

    fn may_try(&self) -> bool {
        self.wait().is_some()
    }

    /// An attempt has failed: nothing is sent for this long, unless it is stopped meanwhile.
    fn failed(&self, wait: Duration) {
        let mut state = lock(&self.state);
        state.queue.failed();
        state.not_before = Some(Instant::now() + wait);
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut lock(&self.state).queue);
    }

    /// Blocks until it is time to send; `None` when there is nothing more to do.
    fn wait(&self) -> Option<MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        loop {
            let now = Instant::now();
            state = match state.turn(now) {
                Turn::Send => return Some(state),
                Turn::End => return None,
                Turn::Wait(None) => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Turn::Wait(Some(until)) => {
                    let waited = self.changed.wait_timeout(state, until.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            }
        }
    }
}

/// From 0 to 1; without random numbers a wait is shorter, no more.
fn random() -> f64 {
    let mut bytes = [0; 4];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn state(not_before: Option<Instant>, stop: Option<Instant>) -> State {
        State { queue: Queue::new(&WebhookOptions::new("http://a/", Vec::new())), not_before, stop }
    }

    fn with_news(not_before: Option<Instant>, stop: Option<Instant>) -> State {
        let mut state = state(not_before, stop);
        assert!(state.queue.push(Event::Started.into_json().unwrap()));
        state
    }

    #[test]
    fn it_sends_when_there_is_something_and_its_back_off_is_over() {
        let now = Instant::now();
        let later = now + SECOND;
        assert_eq!(state(None, None).turn(now), Turn::Wait(None));
        assert_eq!(state(Some(later), None).turn(now), Turn::Wait(None));
        assert_eq!(with_news(None, None).turn(now), Turn::Send);
        assert_eq!(with_news(Some(later), None).turn(now), Turn::Wait(Some(later)));
        assert_eq!(with_news(Some(later), None).turn(later), Turn::Send);
    }

    #[test]
    fn it_ends_when_nothing_waits_or_the_time_is_over() {
        let now = Instant::now();
        let (soon, later) = (now + SECOND, now + 2 * SECOND);
        assert_eq!(state(None, Some(later)).turn(now), Turn::End);
        assert_eq!(with_news(None, Some(later)).turn(now), Turn::Send);
        assert_eq!(with_news(Some(soon), Some(later)).turn(now), Turn::Wait(Some(soon)));
        assert_eq!(with_news(Some(later), Some(soon)).turn(now), Turn::Wait(Some(soon)));
        assert_eq!(with_news(None, Some(soon)).turn(soon), Turn::End);
        let mut under_way = with_news(None, Some(later));
        under_way.queue.take().unwrap();
        assert_eq!(under_way.turn(now), Turn::Send, "the batch is tried again");
    }

    #[test]
    fn after_a_stop_a_loss_alone_is_told_once() {
        let now = Instant::now();
        let mut refused = with_news(None, Some(now + SECOND));
        refused.queue.take().unwrap();
        refused.queue.gave_up();
        assert_eq!(refused.turn(now), Turn::Send);
        refused.not_before = Some(now);
        assert_eq!(refused.turn(now), Turn::End);
        refused.stop = None;
        assert_eq!(refused.turn(now), Turn::Send, "while it goes on, there is time for it");
    }

    #[test]
    fn a_stop_ends_the_back_off() {
        let shared = Shared::new(&WebhookOptions::new("http://a/", Vec::new()));
        shared.send(Event::Started);
        shared.failed(SECOND);
        let now = Instant::now();
        assert!(matches!(lock(&shared.state).turn(now), Turn::Wait(Some(_))));
        shared.stop(now + SECOND);
        assert_eq!(lock(&shared.state).turn(now), Turn::Send);
    }
}
