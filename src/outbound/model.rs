//! The write side of a connection while its senders, its closers, the flusher, the peer, and the reader that leaves take
//! turns in any order.

use super::*;
use crate::protocol::wire;
use crate::socket::memory::{Peer, pair};
use crate::threads::model::{check, dice};
use crate::threads::sync::thread::{JoinHandle, spawn, yield_now};
use std::io::Read;
use std::time::Duration;

/// Less than two frames, so that senders often find it full.
const KERNEL_BYTES: usize = 7;
/// No deadline passes in a model.
const NEVER: Duration = Duration::from_secs(10_000);
const SENDERS: usize = 2;
const FRAMES: usize = 3;

struct Scene {
    flusher: Arc<Flusher>,
    flushing: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

impl Scene {
    fn new(queue_total_bytes: usize) -> Self {
        let (queue_bytes, queue_messages) = (usize::MAX, usize::MAX);
        let bounds =
            Bounds { queue_bytes, queue_messages, queue_total_bytes, write_deadline: NEVER, linger: NEVER / 2 };
        let flusher = Arc::new(Flusher::new(bounds).unwrap());
        let flushing = spawn({
            let flusher = Arc::clone(&flusher);
            move || flusher.run()
        });
        Self { flusher, flushing, metrics: Arc::default() }
    }

    fn connect(&self) -> (Arc<Outbound>, Arc<Socket>, Peer) {
        let (socket, peer) = pair(KERNEL_BYTES);
        let (socket, flusher, metrics) = (Arc::new(socket), Arc::clone(&self.flusher), Arc::clone(&self.metrics));
        let outbound = Outbound::new(Arc::clone(&socket), Format::WebSocket, flusher, metrics);
        (Arc::new(outbound), socket, peer)
    }

    /// Waits until the flusher has nothing to do; says until when it sleeps.
    fn asleep(&self) -> Option<Instant> {
        loop {
            match self.flusher.asleep_until() {
                Some(until) => return until,
                None => yield_now(),
            }
        }
    }

    fn end(self) {
        assert_eq!(self.flusher.queued_bytes(), 0, "what is finished weighs nothing");
        self.flusher.stop();
        self.flushing.join().unwrap();
    }
}

/// Sends its frames, which say whose they are, and which; each is so many bytes longer than that. Says how many were taken.
fn sender(outbound: &Arc<Outbound>, name: usize, longer: usize) -> JoinHandle<usize> {
    let outbound = Arc::clone(outbound);
    let frame = move |n: &usize| wire::text_frame(&format!("{name}{n}{}", "x".repeat(longer)));
    spawn(move || (0..FRAMES).filter(|n| outbound.push([frame(n)]).is_ok()).count())
}

/// Reads, in pieces, until the end of the stream or so many bytes.
fn reader(mut peer: Peer, most: usize) -> JoinHandle<Vec<u8>> {
    spawn(move || {
        let (mut read, mut buffer) = (Vec::new(), [0; 2 * KERNEL_BYTES]);
        while read.len() < most {
            let piece = dice(buffer.len()).min(most - read.len());
            match peer.read(&mut buffer[..piece]).unwrap() {
                0 => break,
                n => read.extend_from_slice(&buffer[..n]),
            }
        }
        read
    })
}

/// The connection's thread: it waits for the end of the stream and leaves.
fn leave(outbound: &Arc<Outbound>, socket: Arc<Socket>) -> JoinHandle<CloseReason> {
    let outbound = Arc::clone(outbound);
    spawn(move || {
        while socket.recv(&mut [0; 8]).is_ok_and(|n| n > 0) {}
        outbound.finish(CloseKind::PeerGone.into()).0
    })
}

fn closer(outbound: &Arc<Outbound>, close: impl FnOnce(&Arc<Outbound>) + Send + 'static) -> JoinHandle<()> {
    let outbound = Arc::clone(outbound);
    spawn(move || close(&outbound))
}

/// The texts, and the code of the Close: the last frame, if there is one. A frame that is not whole may only be the last,
/// and only where the peer did not read on.
fn parse(mut bytes: &[u8], read_to_the_end: bool) -> (Vec<String>, Option<u16>) {
    let mut texts = Vec::new();
    while let [opcode, length, rest @ ..] = bytes {
        let Some((payload, behind)) = rest.split_at_checked(usize::from(*length)) else { break };
        bytes = behind;
        match opcode {
            0x81 => texts.push(String::from_utf8(payload.to_vec()).unwrap()),
            0x88 => {
                assert!(bytes.is_empty(), "something is behind the Close");
                return (texts, Some(u16::from_be_bytes([payload[0], payload[1]])));
            }
            other => panic!("a frame was torn: {other:#x}"),
        }
    }
    assert!(!read_to_the_end || bytes.is_empty(), "a frame was torn at the end");
    (texts, None)
}

fn assert_in_order(texts: &[String]) {
    for sender in 0..SENDERS {
        let numbers = texts.iter().filter_map(|text| text.strip_prefix(&sender.to_string())?.parse().ok());
        let numbers: Vec<usize> = numbers.collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{texts:?}");
    }
}

#[test]
fn frames_are_whole_and_in_order_and_the_first_reason_is_the_only_one() {
    check(2_000, || {
        let scene = Scene::new(usize::MAX);
        let (outbound, socket, peer) = scene.connect();
        let reading = reader(peer, usize::MAX);
        let leaving = leave(&outbound, socket);
        let senders = [0, 1].map(|name| sender(&outbound, name, 0));
        let keep = Waiting::KeepUntil(Instant::now() + NEVER);
        let closers = [
            closer(&outbound, move |outbound| outbound.close(CloseKind::GoingAway.into(), keep)),
            closer(&outbound, |outbound| outbound.close(CloseKind::Replaced.into(), Waiting::Drop)),
            closer(&outbound, |outbound| {
                outbound.close_with(CloseKind::PeerClosed(1000).into(), wire::close(&CloseKind::Normal.into()));
            }),
        ];
        let accepted: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        closers.into_iter().for_each(|closer| closer.join().unwrap());
        assert!(outbound.is_ending());
        let (texts, code) = parse(&reading.join().unwrap(), true);
        let reason = leaving.join().unwrap();
        assert_in_order(&texts);
        let expected = if reason.kind() == CloseKind::PeerClosed(1000) { 1000 } else { reason.code() };
        assert_eq!(code, Some(expected), "the first reason wins");
        if reason.kind() == CloseKind::GoingAway {
            assert_eq!(texts.len(), accepted, "what was accepted before goes out before");
        }
        let sent = outbound.look(Instant::now()).sent;
        assert_eq!(sent.frames, texts.len() as u64 + 1, "and the Close");
        assert_eq!(sent.frames + sent.dropped, (SENDERS * FRAMES) as u64 + 1, "each is sent or counted as dropped");
        let counted = (scene.metrics.frames_sent.get(), scene.metrics.frames_dropped.get());
        assert_eq!(counted, (sent.frames, sent.dropped));
        scene.end();
    });
}

#[test]
fn whatever_a_peer_does_before_it_leaves_every_frame_is_counted_once() {
    check(2_000, || {
        let scene = Scene::new(usize::MAX);
        let (outbound, socket, peer) = scene.connect();
        let reading = reader(peer, dice(20));
        let leaving = leave(&outbound, socket);
        let senders = [0, 1].map(|name| sender(&outbound, name, 0));
        let closing = closer(&outbound, |outbound| outbound.close(CloseKind::Replaced.into(), Waiting::Drop));
        senders.into_iter().for_each(|sender| _ = sender.join().unwrap());
        closing.join().unwrap();
        let reason = leaving.join().unwrap();
        let (texts, code) = parse(&reading.join().unwrap(), false);
        assert_in_order(&texts);
        assert!(outbound.is_ending() && outbound.is_dead());
        assert!(matches!(reason.kind(), CloseKind::Replaced | CloseKind::PeerGone), "{reason}");
        assert!(code.is_none_or(|code| code == reason.code()), "{code:?} for {reason}");
        let sent = outbound.look(Instant::now()).sent;
        let closes = u64::from(reason.kind() == CloseKind::Replaced);
        assert_eq!(sent.frames + sent.dropped, (SENDERS * FRAMES) as u64 + closes);
        scene.end();
    });
}

#[test]
fn the_flusher_never_sleeps_while_the_kernel_has_room_for_what_waits() {
    check(2_000, || {
        let scene = Scene::new(usize::MAX);
        let (outbound, socket, peer) = scene.connect();
        // Nobody but the flusher sends on what waits, and the reader does not end before it has all of it.
        let reading = reader(peer, SENDERS * FRAMES * 4);
        let senders = [0, 1].map(|name| sender(&outbound, name, 0));
        let accepted: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        let (texts, _) = parse(&reading.join().unwrap(), true);
        assert_eq!((accepted, texts.len()), (SENDERS * FRAMES, SENDERS * FRAMES));
        assert_eq!(leave(&outbound, socket).join().unwrap().kind(), CloseKind::PeerGone);
        scene.end();
    });
}

#[test]
fn beyond_the_budget_queues_are_cut_and_none_is_forgotten() {
    // Three frames of 120 bytes each wait for both in the end: that is beyond it, but not so far that their senders are cut
    // by themselves; and without what one of them has not begun it is within it again, though a Close comes instead.
    const BUDGET: usize = 600;
    check(2_000, || {
        let scene = Scene::new(BUDGET);
        let connections = [(); 2].map(|()| scene.connect());
        let senders = [0, 1].map(|n| sender(&connections[n].0, n, 116));
        senders.into_iter().for_each(|sender| _ = sender.join().unwrap());
        scene.asleep();
        // What is cut still has the frame that was begun and its Close.
        let open = connections.iter().filter(|(outbound, ..)| !outbound.is_ending());
        let waiting: usize = open.map(|(outbound, ..)| outbound.queued_bytes()).sum();
        assert!(waiting <= BUDGET, "{waiting} bytes wait, and nobody cuts");
        assert_eq!(connections.iter().filter(|(outbound, ..)| outbound.is_ending()).count(), 1);
        let sum: usize = connections.iter().map(|(outbound, ..)| outbound.queued_bytes()).sum();
        assert_eq!(scene.flusher.queued_bytes(), sum);
        for (outbound, ..) in &connections {
            outbound.finish(CloseKind::GoingAway.into());
        }
        scene.end();
    });
}

#[test]
fn the_flusher_knows_of_the_nearest_deadline() {
    check(2_000, || {
        let scene = Scene::new(usize::MAX);
        let (outbound, _socket, _peer) = scene.connect();
        let sending = sender(&outbound, 0, 0);
        let soon = Instant::now() + NEVER / 4;
        let closing = closer(&outbound, move |outbound| {
            outbound.close(CloseKind::GoingAway.into(), Waiting::KeepUntil(soon));
        });
        sending.join().unwrap();
        closing.join().unwrap();
        assert!(scene.asleep().is_some_and(|until| until <= soon), "it sleeps past a deadline");
        outbound.finish(CloseKind::GoingAway.into());
        scene.end();
    });
}
