//! The connections of one thread of the load.

use super::link::{End, Heard, Link};
use super::poller::{Poller, Ready};
use super::schedule::Schedule;
use super::tally::Tally;
use super::url::Endpoint;
use std::io;
use std::mem;
use std::time::{Duration, Instant};

/// What one `read` takes at most.
const BUFFER_BYTES: usize = 64 << 10;

/// Nanoseconds since the load began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What the connections of a workload do. All times are those of the load's clock.
pub(super) trait Script {
    /// How many of the connections send; known once they are prepared.
    fn senders(&self) -> usize {
        0
    }

    /// Brings the connections into the state in which the load can begin.
    fn prepare(&mut self, _crowd: &mut Crowd<'_>) {}

    /// Whether they are.
    fn is_prepared(&self) -> bool {
        true
    }

    /// Sends what begins the load.
    fn begin(&mut self, _crowd: &mut Crowd<'_>) {}

    /// Reacts to what a connection has heard.
    fn heard(&mut self, _index: usize, _heard: &Heard, _now: u64, _crowd: &mut Crowd<'_>) {}

    /// Reacts to the end of a connection, which most loads do not want.
    fn ended(&mut self, _index: usize, end: &End, _now: u64, crowd: &mut Crowd<'_>) {
        crowd.trouble.count_end(end);
    }

    /// Does what is due by itself, and says when something is again.
    fn wake(&mut self, _now: u64, _crowd: &mut Crowd<'_>) -> Option<u64> {
        None
    }

    /// When it sends, where that is at fixed times and there is somebody who does.
    fn schedule(&self) -> Option<&Schedule> {
        None
    }

    /// Whether something is still on its way, or was due and is still to be sent.
    fn is_waiting(&self, crowd: &Crowd<'_>) -> bool {
        crowd.tally.outstanding() > 0 || self.schedule().is_some_and(|schedule| crowd.tally.may_send(schedule.next()))
    }

    /// Whether nobody is left to do anything.
    fn is_deserted(&self, crowd: &Crowd<'_>) -> bool {
        crowd.count() == 0
    }
}

/// Connections that ended, or were told something, that no load wants.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    pub(super) ended: u64,
    pub(super) first_end: Option<String>,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

impl Trouble {
    pub(super) fn count_end(&mut self, end: &End) {
        self.ended += 1;
        self.first_end.get_or_insert_with(|| end.to_string());
    }

    /// Adds what another thread of the same load met.
    pub(super) fn add(&mut self, other: Self) {
        self.ended += other.ended;
        self.errors += other.errors;
        self.first_end = self.first_end.take().or(other.first_end);
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// Sockets, what waits for them, and what they have done so far.
pub(super) struct Crowd<'a> {
    endpoint: &'a Endpoint,
    poller: Poller,
    /// By index; where there is none any more, nothing.
    pub(super) links: Vec<Option<Link>>,
    /// Whom each is, where it was registered.
    accounts: Vec<Option<String>>,
    count: usize,
    pub(super) clock: Clock,
    pub(super) tally: Tally,
    pub(super) trouble: Trouble,
    ready: Vec<Ready>,
    heard: Vec<Heard>,
    buffer: Vec<u8>,
}

impl<'a> Crowd<'a> {
    /// With room for so many connections.
    pub(super) fn new(endpoint: &'a Endpoint, size: usize, clock: Clock, tally: Tally) -> io::Result<Self> {
        Ok(Self {
            endpoint,
            poller: Poller::new()?,
            links: (0..size).map(|_| None).collect(),
            accounts: vec![None; size],
            count: 0,
            clock,
            tally,
            trouble: Trouble::default(),
            ready: Vec::new(),
            heard: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Begins a connection at this index, in place of one that may be there.
    pub(super) fn open(&mut self, index: usize, number: usize) -> io::Result<()> {
        self.drop(index);
        let link = Link::open(self.endpoint, number)?;
        self.poller.add(&link.socket, index, link.unsent_bytes() > 0)?;
        self.links[index] = Some(link);
        Ok(())
    }

    /// Cuts a connection.
    pub(super) fn drop(&mut self, index: usize) {
        self.poller.remove(index);
        self.links[index] = None;
        self.count -= usize::from(self.accounts[index].take().is_some());
    }

    /// Whom a connection is, once it is open.
    pub(super) fn account(&self, index: usize) -> Option<&str> {
        self.accounts.get(index)?.as_deref()
    }

    /// How many connections there is room for.
    pub(super) fn size(&self) -> usize {
        self.links.len()
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether so much waits for this connection's socket that no more should be added.
    pub(super) fn is_full(&self, index: usize) -> bool {
        const MUCH: usize = 256 << 10;
        self.links[index].as_ref().is_some_and(|link| link.unsent_bytes() > MUCH)
    }

    /// Sends a frame; where the connection is gone, its end will be read.
    pub(super) fn send(&mut self, index: usize, frame: &[u8]) {
        self.with_link(index, |link| link.send(frame));
    }

    /// Begins to close a connection.
    pub(super) fn leave(&mut self, index: usize) {
        self.with_link(index, Link::leave);
    }

    fn with_link(&mut self, index: usize, send: impl FnOnce(&mut Link) -> io::Result<()>) {
        let Some(link) = &mut self.links[index] else { return };
        let waited = link.unsent_bytes() > 0;
        if send(link).is_ok() && !waited && link.unsent_bytes() > 0 {
            // It can only fail where there is no memory.
            let _ = self.poller.modify(&link.socket, index, true);
        }
    }

    /// Waits until something has come or `until` is there, and lets the script react.
    pub(super) fn turn(&mut self, until: u64, script: &mut dyn Script) -> io::Result<()> {
        let timeout = Duration::from_nanos(until.saturating_sub(self.clock.now()));
        let mut ready = mem::take(&mut self.ready);
        self.poller.wait(timeout, &mut ready)?;
        for ready in ready.drain(..) {
            self.serve(ready, script);
        }
        self.ready = ready;
        Ok(())
    }

    fn serve(&mut self, ready: Ready, script: &mut dyn Script) {
        let index = ready.token;
        // An earlier one of the same wait may have ended this one.
        let Some(link) = self.links.get_mut(index).and_then(Option::as_mut) else { return };
        let mut heard = mem::take(&mut self.heard);
        let waited = link.unsent_bytes() > 0;
        // Whether it failed the next read tells, with the reason.
        let _ = if ready.writable { link.flush() } else { Ok(()) };
        let read = if ready.readable { link.read(&mut self.buffer, &mut heard) } else { Ok(()) };
        let waits = link.unsent_bytes() > 0;
        if waits != waited {
            let _ = self.poller.modify(&link.socket, index, waits);
        }
        let now = self.clock.now();
        for heard in heard.drain(..) {
            match &heard {
                Heard::Registered(account) => {
                    self.accounts[index] = Some(account.clone());
                    self.count += 1;
                }
                Heard::Error(text) => {
                    self.trouble.errors += 1;
                    self.trouble.first_error.get_or_insert_with(|| text.clone());
                }
                _ => {}
            }
            script.heard(index, &heard, now, self);
        }
        self.heard = heard;
        if let Err(end) = read {
            self.drop(index);
            script.ended(index, &end, now, self);
        }
    }
}
