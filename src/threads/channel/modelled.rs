//! A channel whose every step the checker orders, with what the server uses of crossbeam's.

use super::{Either, RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError};
use crate::threads::bell::Bell;
use crate::threads::lock;
use crate::threads::sync::{Condvar, Mutex, MutexGuard};
use crossbeam_channel::{SendError, TrySendError};
use shuttle::rand::Rng;
use std::collections::VecDeque;
use std::iter;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// A channel in which so many values may wait, at least one.
pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel without room is not modelled");
    let state = State { values: VecDeque::new(), capacity, senders: 1, receiver: true, bells: Vec::new() };
    let channel = Arc::new(Channel { state: Mutex::new(state), changed: Condvar::new() });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

struct Channel<T> {
    state: Mutex<State<T>>,
    /// Told of every change.
    changed: Condvar,
}

struct State<T> {
    values: VecDeque<T>,
    capacity: usize,
    senders: usize,
    receiver: bool,
    /// Of those who wait for several channels.
    bells: Vec<Arc<Bell>>,
}

impl<T> Channel<T> {
    fn changed(&self, state: &State<T>) {
        self.changed.notify_all();
        state.bells.iter().for_each(|bell| bell.ring());
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Sender<T>(Arc<Channel<T>>);

impl<T> Sender<T> {
    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut state = lock(&self.0.state);
        if !state.receiver {
            return Err(TrySendError::Disconnected(value));
        }
        if state.values.len() >= state.capacity {
            return Err(TrySendError::Full(value));
        }
        state.values.push_back(value);
        self.0.changed(&state);
        Ok(())
    }

    pub(crate) fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut state = lock(&self.0.state);
        while state.receiver && state.values.len() >= state.capacity {
            state = self.0.wait(state);
        }
        if !state.receiver {
            return Err(SendError(value));
        }
        state.values.push_back(value);
        self.0.changed(&state);
        Ok(())
    }

    /// No time passes in a model: who waits, waits until it has a place.
    pub(crate) fn send_timeout(&self, value: T, _patience: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send(value).map_err(|SendError(value)| SendTimeoutError::Disconnected(value))
    }

    pub(crate) fn send_deadline(&self, value: T, _deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_timeout(value, Duration::MAX)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        lock(&self.0.state).senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.senders -= 1;
        self.0.changed(&state);
    }
}

pub(crate) struct Receiver<T>(Arc<Channel<T>>);

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = lock(&self.0.state);
        let Some(value) = state.values.pop_front() else {
            return Err(if state.senders > 0 { TryRecvError::Empty } else { TryRecvError::Disconnected });
        };
        self.0.changed(&state);
        Ok(value)
    }

    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        let mut state = lock(&self.0.state);
        while state.values.is_empty() && state.senders > 0 {
            state = self.0.wait(state);
        }
        let value = state.values.pop_front().ok_or(RecvError)?;
        self.0.changed(&state);
        Ok(value)
    }

    pub(crate) fn recv_timeout(&self, _patience: Duration) -> Result<T, RecvTimeoutError> {
        Ok(self.recv()?)
    }

    pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> {
        iter::from_fn(|| self.try_recv().ok())
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.0.state).values.len()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Box<dyn Iterator<Item = T> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(iter::from_fn(|| self.recv().ok()))
    }
}

/// What waits is dropped, and with it whatever it would have answered.
impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.receiver = false;
        let dropped = std::mem::take(&mut state.values);
        self.0.changed(&state);
        drop(state);
        drop(dropped);
    }
}

/// Values are taken as often from the one as from the other where both have some.
pub(crate) fn receive_either<A, B>(
    first: &Receiver<A>,
    second: &Receiver<B>,
    _patience: Duration,
) -> Result<Option<Either<A, B>>, RecvError> {
    let bell = Arc::new(Bell::default());
    lock(&first.0.state).bells.push(Arc::clone(&bell));
    lock(&second.0.state).bells.push(Arc::clone(&bell));
    let take_first = || received(first.try_recv().map(Either::First));
    let take_second = || received(second.try_recv().map(Either::Second));
    let taken = loop {
        bell.silence();
        let begin_with_second = if coin() { take_second() } else { None };
        if let Some(taken) = begin_with_second.or_else(take_first).or_else(take_second) {
            break taken;
        }
        bell.wait(None);
    };
    lock(&first.0.state).bells.retain(|other| !Arc::ptr_eq(other, &bell));
    lock(&second.0.state).bells.retain(|other| !Arc::ptr_eq(other, &bell));
    taken.map(Some)
}

fn received<T>(tried: Result<T, TryRecvError>) -> Option<Result<T, RecvError>> {
    match tried {
        Ok(value) => Some(Ok(value)),
        Err(TryRecvError::Disconnected) => Some(Err(RecvError)),
        Err(TryRecvError::Empty) => None,
    }
}

fn coin() -> bool {
    shuttle::rand::thread_rng().r#gen()
}
