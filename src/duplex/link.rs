//! What both ends of one connection share: the writing end of its socket, behind a lock.
//!
//! Nobody blocks while holding the lock, and no thread is needed to empty the queue: whoever waits for something drives.
//! A sender pushes its frame, which usually goes at once; otherwise it waits for room in the socket, outside of the lock,
//! and sends on what is there, whoever pushed it. The receiver never waits for room alone, but for bytes or room,
//! whichever comes first: it reads while it writes, so two ends that are full of data cannot hold each other up.

use super::options::{MAX_WAITING_FRAMES, Options};
use super::{Closed, Message};
use crate::connection::Replies;
use crate::outbound::{Bounds, Remaining, Waiting, Writer};
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::format::Format;
use crate::protocol::wire::{self, Bytes};
use crate::socket::Socket;
use crate::threads::lock;
use crate::threads::sync::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How soon a sender looks again whether its frame has gone. Another thread may have sent it, and filled the socket again
/// before this one could see that there was room; nothing would wake it then.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One connection, as its senders and its receiver share it.
pub(super) struct Link {
    state: Mutex<State>,
    /// Told when the connection is dead, and when the receiver leaves `recv`.
    changed: Condvar,
    /// Held by the sender that is next: nobody pushes past one that waits for room.
    door: Mutex<()>,
    /// Whether a Close was chosen, so that what is read from now on is discarded.
    ending: AtomicBool,
    bounds: Bounds,
    queue_bytes: usize,
    format: Format,
}

struct State {
    writer: Writer,
    /// How many frames were pushed so far, which numbers them.
    pushed: u64,
    /// The number of the last frame that goes before the Close, once there is one.
    last: Option<u64>,
    /// Whether somebody is in `recv`, and so sees to the end of a connection that is closing.
    receiving: bool,
}

impl Link {
    pub(super) fn new(socket: Arc<Socket>, format: Format, options: &Options) -> Self {
        let writer = Writer::new(socket, format.clone(), Instant::now());
        Self {
            state: Mutex::new(State { writer, pushed: 0, last: None, receiving: false }),
            changed: Condvar::new(),
            door: Mutex::default(),
            ending: AtomicBool::new(false),
            bounds: options.bounds(),
            queue_bytes: options.queue_bytes,
            format,
        }
    }

    /// Sends a message and waits until the kernel has all of it.
    pub(super) fn send(&self, frame: &Bytes) -> Result<(), Closed> {
        let frame = if self.format == Format::Masked { wire::masked(frame) } else { frame.clone() };
        let number = {
            let _next = lock(&self.door);
            self.drive_until(|state| state.room(self.queue_bytes))?;
            self.push(frame)
        };
        self.drive_until(|state| state.fate_of(number))
    }

    /// Begins the close handshake behind what waits. Returns when the Close is with the kernel; where another thread is in
    /// `recv`, when that has seen the end.
    pub(super) fn close(&self, reason: CloseReason) {
        let keep = Waiting::KeepUntil(Instant::now() + self.bounds.linger);
        self.change(&mut lock(&self.state), |writer, bounds, now| writer.close(reason, keep, bounds, now));
        self.see_off();
    }

    /// Chooses a reason of this side's own and drops what waits; whoever called sees to the rest.
    pub(super) fn end(&self, reason: CloseReason) {
        self.change(&mut lock(&self.state), |writer, bounds, now| writer.close(reason, Waiting::Drop, bounds, now));
    }

    /// The same with these last bytes instead of a Close.
    pub(super) fn end_with(&self, reason: CloseReason, last: Bytes) {
        let change = |writer: &mut Writer, bounds: &_, now| writer.close_with(reason, last, Waiting::Drop, bounds, now);
        self.change(&mut lock(&self.state), change);
    }

    /// Sends this, or leaves it in the queue; says which number it has.
    pub(super) fn push(&self, frame: Bytes) -> u64 {
        let mut state = lock(&self.state);
        state.pushed += 1;
        // What is refused here has no hope of being sent, as its number says.
        self.change(&mut state, |writer, bounds, now| _ = writer.push([frame], || false, bounds, now));
        state.pushed
    }

    /// Sends a ping of the receiver's clocks.
    pub(super) fn ping(&self, payload: &[u8]) {
        self.push(self.format.ping(payload));
    }

    /// Sends what goes now, and enforces the deadlines.
    pub(super) fn flush(&self) -> Option<Remaining> {
        self.flush_locked(&mut lock(&self.state))
    }

    /// Whether a Close was chosen. Does not take the lock.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Whether both directions are shut.
    pub(super) fn is_dead(&self) -> bool {
        lock(&self.state).writer.is_dead()
    }

    /// Takes note that somebody is in `recv`, or no longer is.
    pub(super) fn set_receiving(&self, receiving: bool) {
        lock(&self.state).receiving = receiving;
        if !receiving && self.is_ending() {
            self.changed.notify_all();
        }
    }

    /// The receiver has seen the end: nothing more goes out, and the socket is no longer used from here.
    pub(super) fn finish(&self) -> Closed {
        let finish = |writer: &mut Writer, _: &_, _| writer.finish(CloseKind::PeerGone.into());
        let (reason, _) = self.change(&mut lock(&self.state), finish);
        Closed::new(reason)
    }

    /// Waits until there is an answer, and sends meanwhile what waits. If a deadline passes here, sees to the end.
    fn drive_until<T>(&self, answer: impl Fn(&State) -> Option<Result<T, Closed>>) -> Result<T, Closed> {
        loop {
            let mut state = lock(&self.state);
            let was_ending = self.is_ending();
            let remaining = self.flush_locked(&mut state);
            let answer = answer(&state);
            drop(state);
            if self.is_ending() && !was_ending {
                self.see_off();
            }
            match answer {
                Some(answer) => return answer,
                None => wait_for_room(remaining),
            }
        }
    }

    /// Sees to it that the Close goes out and that the connection ends in time, unless the receiver does.
    fn see_off(&self) {
        let mut state = lock(&self.state);
        loop {
            match self.flush_locked(&mut state) {
                remaining @ Some(Remaining { blocked: Some(_), .. }) => {
                    drop(state);
                    wait_for_room(remaining);
                    state = lock(&self.state);
                }
                Some(Remaining { deadline: Some(deadline), .. }) if state.receiving => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => return,
            }
        }
    }

    fn flush_locked(&self, state: &mut State) -> Option<Remaining> {
        self.change(state, Writer::flush)
    }

    /// Changes the writer under the lock, and takes note of what follows for frames and for those who wait.
    fn change<T>(&self, state: &mut State, change: impl FnOnce(&mut Writer, &Bounds, Instant) -> T) -> T {
        let result = change(&mut state.writer, &self.bounds, Instant::now());
        let closing = state.writer.gives_up_at().is_some();
        if state.last.is_none() && (closing || state.writer.is_dead()) {
            state.last = Some(state.pushed.saturating_sub(state.writer.sent().dropped));
        }
        if closing {
            self.ending.store(true, Ordering::Release);
        }
        if state.writer.is_dead() {
            self.changed.notify_all();
        }
        result
    }
}

impl State {
    /// Whether a sender may push now.
    fn room(&self, queue_bytes: usize) -> Option<Result<(), Closed>> {
        if self.last.is_some() {
            return Some(Err(self.closed()));
        }
        let sent = self.writer.sent();
        let frames = self.pushed.saturating_sub(sent.frames + sent.dropped);
        (self.writer.queued_bytes() < queue_bytes && frames < MAX_WAITING_FRAMES as u64).then_some(Ok(()))
    }

    /// Whether the frame of this number has gone, or never will.
    fn fate_of(&self, number: u64) -> Option<Result<(), Closed>> {
        if self.last.is_some_and(|last| number > last) {
            Some(Err(self.closed()))
        } else if self.writer.sent().frames >= number {
            Some(Ok(()))
        } else {
            self.writer.is_dead().then(|| Err(self.closed()))
        }
    }

    fn closed(&self) -> Closed {
        Closed::new(self.writer.reason().cloned().unwrap_or_else(|| CloseKind::PeerGone.into()))
    }
}

impl Replies for Arc<Link> {
    fn is_ending(&self) -> bool {
        Link::is_ending(self)
    }

    fn reply(&self, frame: Bytes) {
        self.push(frame);
    }

    fn reply_to_close(&self, reason: CloseReason, frame: Bytes) {
        self.end_with(reason, frame);
    }
}

/// A message as a frame without a mask.
pub(super) fn frame_of(message: &Message) -> Bytes {
    match message {
        Message::Text(text) => wire::text_frame(text),
        Message::Binary(bytes) => wire::binary(bytes),
    }
}

/// Waits until a socket that takes nothing more has room, a deadline comes, or it is time to look again.
fn wait_for_room(remaining: Option<Remaining>) {
    let Some(Remaining { blocked: Some(socket), deadline }) = remaining else { return };
    let again = Instant::now() + LOOK_AGAIN;
    socket.wait_for_room(deadline.map_or(again, |deadline| deadline.min(again)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket;
    use std::io::Read;
    use std::thread;

    /// More than any pair of socket buffers takes.
    const HUGE: usize = 32 << 20;

    fn pair(options: &Options) -> (Link, impl Read + use<>) {
        let (socket, peer) = socket::pair(16 << 10);
        (Link::new(Arc::new(socket), Format::WebSocket, options), peer)
    }

    #[test]
    fn while_more_than_the_bound_waits_nobody_pushes() {
        let (link, peer) = pair(&Options::default());
        let frame = wire::binary(&vec![0; HUGE]);
        thread::scope(|scope| {
            let senders = [0; 3].map(|_| scope.spawn(|| link.send(&frame)));
            while lock(&link.state).writer.queued_bytes() == 0 {
                thread::yield_now();
            }
            // Time for those who would not wait to show it.
            thread::sleep(Duration::from_millis(100));
            assert_eq!(lock(&link.state).pushed, 1);
            drop(peer);
            for sender in senders {
                assert_eq!(sender.join().unwrap().unwrap_err().kind(), CloseKind::PeerGone);
            }
        });
    }

    #[test]
    fn a_frame_that_a_close_overtakes_is_lost_although_as_many_frames_go() {
        let (link, mut peer) = pair(&Options { queue_bytes: 4 * HUGE, ..Options::default() });
        let frame = wire::binary(&vec![0; HUGE]);
        thread::scope(|scope| {
            let senders = [0; 2].map(|_| scope.spawn(|| link.send(&frame)));
            while lock(&link.state).pushed < 2 {
                thread::yield_now();
            }
            link.end(CloseKind::Normal.into());
            let mut read = Vec::new();
            peer.read_to_end(&mut read).unwrap();
            assert_eq!(read.len(), frame.len() + wire::close(&CloseKind::Normal.into()).len());
            let sent = senders.map(|sender| sender.join().unwrap().is_ok());
            assert_eq!(sent.iter().filter(|sent| **sent).count(), 1);
        });
    }
}
