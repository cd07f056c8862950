//! A channel whose every step the checker orders, with what the server uses of crossbeam's.

use super::{RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError};
use crate::threads::lock;
use crate::threads::sync::{Condvar, Mutex, MutexGuard};
use crossbeam_channel::{SendError, TrySendError};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// A channel in which so many values may wait, at least one.
pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel without room is not modelled");
    let state = State { values: VecDeque::new(), capacity, senders: 1, receiver: true };
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
}

impl<T> Channel<T> {
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
        self.0.changed.notify_all();
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
        self.0.changed.notify_all();
        Ok(())
    }

    /// No time passes in a model: who waits, waits until it has a place.
    pub(crate) fn send_timeout(&self, value: T, _patience: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send(value).map_err(|SendError(value)| SendTimeoutError::Disconnected(value))
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0.state).values.is_empty()
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
        self.0.changed.notify_all();
    }
}

pub(crate) struct Receiver<T>(Arc<Channel<T>>);

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = lock(&self.0.state);
        let Some(value) = state.values.pop_front() else {
            return Err(if state.senders > 0 { TryRecvError::Empty } else { TryRecvError::Disconnected });
        };
        self.0.changed.notify_all();
        Ok(value)
    }

    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        let mut state = lock(&self.0.state);
        while state.values.is_empty() && state.senders > 0 {
            state = self.0.wait(state);
        }
        let value = state.values.pop_front().ok_or(RecvError)?;
        self.0.changed.notify_all();
        Ok(value)
    }

    pub(crate) fn recv_timeout(&self, _patience: Duration) -> Result<T, RecvTimeoutError> {
        Ok(self.recv()?)
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        Some(lock(&self.0.state).capacity)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.0.state).values.len()
    }
}

/// What waits is dropped with the last sender, as by crossbeam's.
impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        lock(&self.0.state).receiver = false;
        self.0.changed.notify_all();
    }
}
