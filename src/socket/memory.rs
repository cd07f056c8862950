//! A socket in memory: a bounded kernel buffer towards the peer, and the peer's end for whoever plays it.

use crate::threads::bell::Bell;
use crate::threads::lock;
use crate::threads::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// A connected socket and its peer; the kernel keeps so many bytes for a peer that does not read.
pub(crate) fn pair(kernel_bytes: usize) -> (Socket, Peer) {
    let wire =
        Arc::new(Wire { state: Mutex::new(State { kernel_bytes, ..State::default() }), changed: Condvar::new() });
    (Socket { wire: Arc::clone(&wire), meanwhile: Mutex::default() }, Peer(wire))
}

/// What the two ends have in common.
struct Wire {
    state: Mutex<State>,
    /// Told of every change.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    kernel_bytes: usize,
    to_peer: VecDeque<u8>,
    from_peer: VecDeque<u8>,
    /// Nothing follows in this direction: it was shut here, or the peer has finished.
    no_more_to_peer: bool,
    no_more_from_peer: bool,
    peer_gone: bool,
    patience: Option<Duration>,
    /// Those who sleep until there is room.
    sleepers: Vec<Arc<Bell>>,
}

impl Wire {
    /// Changes the state and tells everybody who may wait for that.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let result = change(&mut state);
        self.changed.notify_all();
        if state.is_writable() {
            state.sleepers.iter().for_each(|bell| bell.ring());
        }
        result
    }

    /// Waits for `until` to come true; false when that took longer than it may.
    fn wait(&self, patience: Option<Duration>, until: impl Fn(&State) -> bool) -> bool {
        let mut state = lock(&self.state);
        while !until(&state) {
            let Some(patience) = patience else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (again, waited) = self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            state = again;
            if waited.timed_out() {
                return until(&state);
            }
        }
        true
    }
}

impl State {
    fn is_readable(&self) -> bool {
        !self.from_peer.is_empty() || self.no_more_from_peer
    }

    /// Whether a send would not block, be it for an error.
    fn is_writable(&self) -> bool {
        self.to_peer.len() < self.kernel_bytes || self.no_more_to_peer || self.peer_gone
    }
}

/// The server's end.
pub(crate) struct Socket {
    wire: Arc<Wire>,
    meanwhile: Mutex<Option<Meanwhile>>,
}

/// Stands for the time that passes in a recv; it is told how much that is at most.
type Meanwhile = Box<dyn FnMut(Duration) + Send>;

/// Nobody reaches this server by the network: who was accepted there has left already.
impl From<TcpStream> for Socket {
    fn from(_: TcpStream) -> Self {
        pair(0).0
    }
}

impl Socket {
    /// Instead of waiting in a recv, `meanwhile` is called, once: where there is one thread, it plays the peer, the clock,
    /// and whoever else would run. The recv comes back with what it brought.
    #[cfg_attr(heartwire_model, expect(dead_code, reason = "a model has threads"))]
    pub(crate) fn play(&self, meanwhile: impl FnMut(Duration) + Send + 'static) {
        *lock(&self.meanwhile) = Some(Box::new(meanwhile));
    }

    pub(crate) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = lock(&self.wire.state);
        if state.no_more_to_peer || state.peer_gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = state.kernel_bytes.saturating_sub(state.to_peer.len());
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(room).collect();
        state.to_peer.extend(&bytes);
        self.wire.changed.notify_all();
        if bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(bytes.len()) }
    }

    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        lock(&self.wire.state).patience = Some(patience);
        Ok(())
    }

    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (readable, patience) = {
            let state = lock(&self.wire.state);
            (state.is_readable(), state.patience)
        };
        match &mut *lock(&self.meanwhile) {
            Some(meanwhile) if !readable => meanwhile(patience.unwrap_or(Duration::MAX)),
            Some(_) => {}
            None => _ = self.wire.wait(patience, State::is_readable),
        }
        self.recv_waiting(buffer)
    }

    pub(crate) fn recv_waiting(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = lock(&self.wire.state);
        if state.is_readable() { state.from_peer.read(buffer) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.wire.change(|state| {
            state.no_more_from_peer |= how != Shutdown::Write;
            state.no_more_to_peer |= how != Shutdown::Read;
        });
        Ok(())
    }

    pub(crate) fn wait_for_room(&self, until: Instant) {
        self.wire.wait(Some(until.saturating_duration_since(Instant::now())), State::is_writable);
    }

    pub(crate) fn wait_for_bytes_or_room(&self, until: Instant) {
        let patience = until.saturating_duration_since(Instant::now());
        self.wire.wait(Some(patience), |state| state.is_readable() || state.is_writable());
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// The other end. Its drop closes it.
pub(crate) struct Peer(Arc<Wire>);

impl Peer {
    /// Takes what was sent so far, without waiting.
    pub(crate) fn read_waiting(&self) -> Vec<u8> {
        self.0.change(|state| state.to_peer.drain(..).collect())
    }

    /// Says that nothing follows, as a shutdown of its writing direction does.
    #[cfg_attr(heartwire_model, expect(dead_code, reason = "in a model it leaves by its drop"))]
    pub(crate) fn finish(&self) {
        self.0.change(|state| state.no_more_from_peer = true);
    }
}

/// Waits for at least one byte; none is the end of the stream.
impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.wait(None, |state| !state.to_peer.is_empty() || state.no_more_to_peer);
        self.0.change(|state| state.to_peer.read(buffer))
    }
}

/// Never waits: who plays the peer bounds what it sends.
impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.change(|state| state.from_peer.extend(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.0.change(|state| (state.peer_gone, state.no_more_from_peer) = (true, true));
    }
}

/// Where one thread sleeps for many sockets, and others wake it.
#[derive(Default)]
pub(crate) struct Sleeper {
    bell: Arc<Bell>,
    /// Until when it sleeps, while it does.
    asleep: Mutex<Option<Option<Instant>>>,
}

impl Sleeper {
    #[expect(clippy::unnecessary_wraps, reason = "a real one needs descriptors")]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    pub(crate) fn notify(&self) {
        self.bell.ring();
    }

    pub(crate) fn clear(&self) {
        self.bell.silence();
    }

    /// Until when its thread sleeps, if it does and nothing has woken it.
    #[cfg(test)]
    #[cfg(heartwire_model)]
    pub(crate) fn asleep_until(&self) -> Option<Option<Instant>> {
        lock(&self.asleep).filter(|_| !self.bell.rings())
    }

    pub(crate) fn sleep<'a>(
        &self,
        blocked: impl Iterator<Item = &'a Socket>,
        deadline: Option<Instant>,
        _now: Instant,
    ) {
        let blocked: Vec<_> = blocked.collect();
        for socket in &blocked {
            // Nothing is told but changes, so room that is there already counts as one.
            socket.wire.change(|state| state.sleepers.push(Arc::clone(&self.bell)));
        }
        *lock(&self.asleep) = Some(deadline);
        self.bell.wait(deadline);
        *lock(&self.asleep) = None;
        for socket in blocked {
            lock(&socket.wire.state).sleepers.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
        }
    }
}
