//! The write side on real sockets of loopback, with small buffers so that they fill.

use super::*;
use crate::protocol::wire;
use crate::socket::pair;
use socket2::SockRef;
use std::io::Read;
use std::net::TcpStream;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Error, Message, WebSocket};

/// Longer than anything here takes on the slowest machine; only a test that fails waits this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Never reached by a test that passes: it moves the clock by itself where it wants a deadline to be over.
const NEVER: Duration = Duration::from_secs(3_600);
const SOCKET_BUFFER_BYTES: usize = 16 << 10;
const TICK: Duration = Duration::from_nanos(1);

fn bounds() -> Bounds {
    Bounds {
        queue_bytes: usize::MAX,
        queue_messages: usize::MAX,
        queue_total_bytes: usize::MAX,
        write_deadline: NEVER,
        linger: NEVER,
    }
}

/// What the outbounds of a test share; its thread runs only where a test starts it.
struct Server {
    flusher: Arc<Flusher>,
    metrics: Arc<Metrics>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new(bounds: Bounds) -> Self {
        Self { flusher: Arc::new(Flusher::new(bounds).unwrap()), metrics: Arc::default(), thread: None }
    }

    fn run_flusher(&mut self) {
        let flusher = Arc::clone(&self.flusher);
        self.thread = Some(spawn(move || flusher.run()));
    }

    /// A connection and its peer, which reads nothing by itself.
    fn connect(&self) -> (Arc<Outbound>, TcpStream) {
        let (socket, peer) = pair(SOCKET_BUFFER_BYTES);
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let (flusher, metrics) = (Arc::clone(&self.flusher), Arc::clone(&self.metrics));
        (Arc::new(Outbound::new(Arc::new(socket), Format::WebSocket, flusher, metrics)), peer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.flusher.stop();
        self.thread.take().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        sleep(Duration::from_millis(2));
    }
}

/// A frame of a text that begins with `name`.
fn frame(name: &str, bytes: usize) -> Bytes {
    wire::text_frame(&format!("{name} {}", "x".repeat(bytes)))
}

/// Pushes a frame so large that the kernel takes only part of it.
fn push_half(outbound: &Arc<Outbound>, name: &str) {
    let half = frame(name, 4 << 20);
    outbound.push([half.clone()]).unwrap();
    assert!((1..half.len()).contains(&outbound.queued_bytes()), "a part has gone and a part waits");
}

fn lock_state(outbound: &Outbound) -> std::sync::MutexGuard<'_, State> {
    lock(&outbound.state)
}

fn sent(outbound: &Outbound) -> Sent {
    lock_state(outbound).writer.sent()
}

/// What the peer reads until the end: the names of the messages, and the code of the Close.
fn read_all(peer: TcpStream) -> (Vec<String>, Option<u16>) {
    let mut client = WebSocket::from_raw_socket(peer, Role::Client, None);
    let (mut names, mut code) = (Vec::new(), None);
    loop {
        match client.read() {
            Ok(Message::Text(text)) => names.push(text.split(' ').next().unwrap().to_owned()),
            Ok(Message::Close(Some(CloseFrame { code: given, .. }))) => code = Some(given.into()),
            Ok(other) => panic!("{other:?}"),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return (names, code),
            Err(error) => panic!("{error} after {names:?}"),
        }
    }
}

fn going_away() -> CloseReason {
    CloseKind::GoingAway.into()
}

/// Pushes until it fails, which it must; returns the reason and how many frames that were, the last included.
fn push_until_cut(outbound: &Arc<Outbound>, frame: &Bytes) -> (CloseReason, u64) {
    for n in 1..100_000 {
        if let Err(reason) = outbound.push([frame.clone()]) {
            return (reason, n);
        }
    }
    panic!("never cut");
}

#[test]
fn frames_of_many_threads_never_interleave_and_each_threads_stay_in_order() {
    const THREADS: usize = 10;
    const FRAMES: usize = 150;
    let mut server = Server::new(bounds());
    server.run_flusher();
    let (outbound, peer) = server.connect();
    let reader = spawn(move || {
        let mut client = WebSocket::from_raw_socket(peer, Role::Client, None);
        let mut next = [0; THREADS];
        for _ in 0..THREADS * FRAMES {
            let text = client.read().unwrap().into_text().unwrap();
            let (thread, rest) = text.split_once(' ').unwrap();
            let (number, filler) = rest.split_once(' ').unwrap();
            let thread: usize = thread.parse().unwrap();
            assert_eq!(number, next[thread].to_string());
            assert!(filler.bytes().all(|byte| usize::from(byte - b'0') == thread), "foreign bytes in a frame");
            next[thread] += 1;
        }
        client
    });
    let push = |thread: usize| {
        for n in 0..FRAMES {
            let filler = thread.to_string().repeat(1 + n * 37 % 5_000);
            outbound.push([wire::text_frame(&format!("{thread} {n} {filler}"))]).unwrap();
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|thread| drop(scope.spawn(move || push(thread)))));
    let mut client = reader.join().unwrap();
    let sent = outbound.finish(going_away()).1;
    assert_eq!((sent.frames, sent.dropped), ((THREADS * FRAMES) as u64, 0));
    assert!(sent.queue_high_water_bytes > 0, "the socket was full at times");
    assert_eq!(server.metrics.frames_sent.get(), sent.frames);
    assert!(client.read().is_err());
}

#[test]
fn a_peer_that_does_not_read_is_cut_by_bytes() {
    let server = Server::new(Bounds { queue_bytes: 100_000, ..bounds() });
    let (outbound, peer) = server.connect();
    let frame = frame("m", 10_000);
    let (reason, pushed) = push_until_cut(&outbound, &frame);
    assert_eq!(reason.kind(), CloseKind::SlowConsumer);
    assert!(outbound.is_ending() && !outbound.is_dead());
    assert!(outbound.queued_bytes() < 2 * frame.len(), "no more than a begun frame and the Close wait");
    let (reason, sent) = outbound.finish(going_away());
    assert_eq!(reason.kind(), CloseKind::SlowConsumer);
    assert!((100_000 - frame.len()..=100_000 + frame.len()).contains(&sent.queue_high_water_bytes));
    assert_eq!(sent.frames + sent.dropped, pushed + 1, "the Close is a frame too");
    drop(peer);
}

#[test]
fn a_peer_that_does_not_read_is_cut_by_messages() {
    let server = Server::new(Bounds { queue_messages: 8, ..bounds() });
    let (outbound, _peer) = server.connect();
    let (reason, pushed) = push_until_cut(&outbound, &frame("m", 10_000));
    assert_eq!(reason.kind(), CloseKind::SlowConsumer);
    assert!(reason.to_string().ends_with("in 9 messages waited"), "{reason}");
    let sent = outbound.finish(going_away()).1;
    assert_eq!(sent.frames + sent.dropped, pushed + 1);
    assert!((9..=10).contains(&sent.dropped), "nine waited, of which the first may have been begun, and the Close");
    assert_eq!(server.metrics.frames_dropped.get(), sent.dropped);
}

#[test]
fn a_peer_that_does_not_read_is_cut_by_the_write_deadline() {
    let mut server = Server::new(Bounds { write_deadline: Duration::from_millis(20), ..bounds() });
    server.run_flusher();
    let (outbound, _peer) = server.connect();
    push_half(&outbound, "m");
    eventually("it is cut", || outbound.is_ending());
    let reason = outbound.finish(going_away()).0;
    assert_eq!(reason.to_string(), "4101 slow consumer: a message waited for 20ms");
}

#[test]
fn the_write_deadline_counts_from_when_the_message_was_queued_and_not_before_it_is_over() {
    let server = Server::new(bounds());
    let (outbound, _peer) = server.connect();
    let before = Instant::now();
    push_half(&outbound, "m");
    let after = Instant::now();
    outbound.push([frame("later", 1)]).unwrap();
    assert!(outbound.flush(before + NEVER - TICK).is_some());
    assert!(!outbound.is_ending());
    assert!(outbound.flush(after + NEVER).is_some());
    assert!(outbound.is_ending());
    assert_eq!(outbound.finish(going_away()).0.kind(), CloseKind::SlowConsumer);
}

#[test]
fn one_message_larger_than_the_bound_passes_an_empty_queue() {
    let mut server = Server::new(Bounds { queue_bytes: 1_000, ..bounds() });
    let (outbound, peer) = server.connect();
    push_half(&outbound, "large");
    assert!(!outbound.is_ending());
    server.run_flusher();
    let reader = spawn(|| read_all(peer));
    eventually("it has gone", || outbound.queued_bytes() == 0);
    outbound.push([frame("next", 10)]).unwrap();
    outbound.close(going_away(), Waiting::Drop);
    assert_eq!(reader.join().unwrap(), (vec!["large".into(), "next".into()], Some(1001)));
}

#[test]
fn what_comes_behind_a_message_larger_than_the_bound_is_too_much() {
    let server = Server::new(Bounds { queue_bytes: 1_000, ..bounds() });
    let (outbound, _peer) = server.connect();
    push_half(&outbound, "large");
    assert_eq!(outbound.push([frame("next", 10)]).unwrap_err().kind(), CloseKind::SlowConsumer);
}

#[test]
fn a_close_finishes_the_frame_that_was_begun_and_drops_and_counts_the_rest() {
    let mut server = Server::new(bounds());
    let (outbound, peer) = server.connect();
    push_half(&outbound, "begun");
    outbound.push([frame("second", 10), frame("third", 10)]).unwrap();
    outbound.close(going_away(), Waiting::Drop);
    assert_eq!(sent(&outbound).dropped, 2);
    server.run_flusher();
    assert_eq!(read_all(peer), (vec!["begun".into()], Some(1001)));
    let (reason, sent) = outbound.finish(CloseKind::PeerGone.into());
    assert_eq!((reason, sent.frames, sent.dropped), (going_away(), 2, 2));
    assert_eq!((server.metrics.frames_sent.get(), server.metrics.frames_dropped.get()), (2, 2));
}

#[test]
fn a_close_that_keeps_what_waits_goes_out_behind_it() {
    let mut server = Server::new(bounds());
    let (outbound, peer) = server.connect();
    push_half(&outbound, "begun");
    outbound.push([frame("second", 10), frame("third", 10)]).unwrap();
    outbound.close(going_away(), Waiting::KeepUntil(Instant::now() + NEVER));
    server.run_flusher();
    assert_eq!(read_all(peer), (["begun", "second", "third"].map(String::from).into(), Some(1001)));
    assert_eq!(outbound.finish(CloseKind::PeerGone.into()).1.dropped, 0);
}

#[test]
fn what_is_kept_is_kept_until_its_deadline_only() {
    let server = Server::new(bounds());
    let (outbound, _peer) = server.connect();
    push_half(&outbound, "begun");
    let deadline = Instant::now() + NEVER / 2;
    outbound.close(going_away(), Waiting::KeepUntil(deadline));
    assert!(outbound.flush(deadline - TICK).is_some_and(|todo| todo.deadline == Some(deadline)));
    assert!(outbound.flush(deadline).is_none());
    assert!(outbound.is_dead());
    assert_eq!(sent(&outbound).dropped, 2, "the frame and the Close");
}

#[test]
fn once_the_close_has_gone_only_the_linger_is_waited_for() {
    let server = Server::new(Bounds { linger: NEVER / 4, ..bounds() });
    let (outbound, _peer) = server.connect();
    outbound.close(going_away(), Waiting::KeepUntil(Instant::now() + NEVER));
    let after = Instant::now();
    assert!(outbound.flush(after + NEVER / 4).is_none());
    assert!(outbound.is_dead());
}

#[test]
fn the_first_reason_wins() {
    let mut server = Server::new(bounds());
    let (outbound, peer) = server.connect();
    push_half(&outbound, "begun");
    outbound.close(CloseKind::Replaced.into(), Waiting::Drop);
    outbound.close(going_away(), Waiting::Drop);
    outbound.close_with(CloseKind::PeerClosed(1000).into(), wire::close(&CloseKind::Normal.into()));
    server.run_flusher();
    assert_eq!(read_all(peer), (vec!["begun".into()], Some(4505)));
    assert_eq!((sent(&outbound).frames, sent(&outbound).dropped), (2, 0));
    assert_eq!(outbound.finish(CloseKind::Internal.into()).0, CloseKind::Replaced.into());
}

#[test]
fn after_a_close_every_push_fails_with_its_reason_and_is_counted() {
    let server = Server::new(bounds());
    let (outbound, peer) = server.connect();
    outbound.push([frame("before", 1)]).unwrap();
    outbound.close(going_away(), Waiting::KeepUntil(Instant::now() + NEVER));
    assert!(outbound.is_ending());
    assert_eq!(outbound.push([frame("after", 1), frame("after", 1)]), Err(going_away()));
    assert_eq!(outbound.finish(CloseKind::Internal.into()), (going_away(), sent(&outbound)));
    assert_eq!(outbound.push([frame("after", 1)]), Err(going_away()));
    assert_eq!((sent(&outbound).frames, sent(&outbound).dropped), (2, 3));
    assert_eq!(read_all(peer), (vec!["before".into()], Some(1001)));
}

#[test]
fn a_close_shuts_only_the_writing_direction_until_the_linger_is_over() {
    let server = Server::new(bounds());
    let (outbound, mut peer) = server.connect();
    let before = Instant::now();
    outbound.close_with(going_away(), Bytes::from_static(b"last"));
    let after = Instant::now();
    let mut last = String::new();
    peer.read_to_string(&mut last).unwrap();
    assert_eq!(last, "last");
    let socket = lock_state(&outbound).writer.socket().unwrap();
    let reader = spawn(move || socket.recv(&mut [0]));
    assert!(outbound.flush(before + NEVER - TICK).is_some());
    assert!(!outbound.is_dead());
    assert!(outbound.flush(after + NEVER).is_none());
    assert!(outbound.is_dead());
    assert_eq!(reader.join().unwrap().unwrap(), 0, "the reader wakes although its peer never closes");
}

#[test]
fn the_flusher_ends_peers_that_never_close() {
    let mut server = Server::new(Bounds { linger: Duration::from_millis(300), ..bounds() });
    server.run_flusher();
    let (full, _deaf_peer) = server.connect();
    push_half(&full, "m");
    // By the time this one has ended, the other's buffers are full for good, and the flusher sleeps until it is woken.
    let (idle, _peer) = server.connect();
    for outbound in [&idle, &full] {
        outbound.close(going_away(), Waiting::Drop);
        eventually("both directions are shut", || outbound.is_dead());
    }
    eventually("nothing of it waits", || server.flusher.queued_bytes() == 0);
}

#[test]
fn beyond_the_total_budget_the_largest_queue_is_cut() {
    let mut server = Server::new(Bounds { queue_total_bytes: 2_500_000, ..bounds() });
    let sizes = [80, 130, 60];
    let connections = sizes.map(|frames| {
        let (outbound, peer) = server.connect();
        (0..frames).for_each(|_| outbound.push([frame("m", 10_000)]).unwrap());
        (outbound, peer)
    });
    let waiting: usize = connections.iter().map(|(outbound, _)| outbound.queued_bytes()).sum();
    assert_eq!(server.flusher.queued_bytes(), waiting);
    assert!(waiting > 2_500_000);
    server.run_flusher();
    eventually("the sum is within the budget", || server.flusher.queued_bytes() <= 2_500_000);
    assert_eq!(connections.each_ref().map(|(outbound, _)| outbound.is_ending()), [false, true, false]);
    let reasons = connections.each_ref().map(|(outbound, _)| outbound.finish(going_away()).0.kind());
    assert_eq!(reasons, [CloseKind::GoingAway, CloseKind::SlowConsumer, CloseKind::GoingAway]);
}

#[test]
fn a_queue_that_grows_faster_than_the_flusher_cuts_is_cut_by_its_sender() {
    let server = Server::new(Bounds { queue_total_bytes: 1_000_000, ..bounds() });
    let (outbound, _peer) = server.connect();
    let (reason, _) = push_until_cut(&outbound, &frame("m", 10_000));
    assert_eq!(reason.kind(), CloseKind::SlowConsumer);
    let high_water = sent(&outbound).queue_high_water_bytes;
    assert!((1_250_000..1_300_000).contains(&high_water), "{high_water}");
}

#[test]
fn what_is_finished_weighs_nothing() {
    let server = Server::new(bounds());
    let connections = [(); 3].map(|()| server.connect());
    connections.iter().for_each(|(outbound, _)| push_half(outbound, "m"));
    connections[0].0.close(going_away(), Waiting::Drop);
    assert!(server.flusher.queued_bytes() > 0);
    for (outbound, _) in &connections {
        outbound.finish(going_away());
        assert_eq!(outbound.queued_bytes(), 0);
        assert!(outbound.flush(Instant::now()).is_none());
    }
    assert_eq!(server.flusher.queued_bytes(), 0);
}

#[test]
fn a_reset_is_noticed_on_writing_and_what_the_peer_said_before_is_not_discarded() {
    let server = Server::new(bounds());
    let (outbound, peer) = server.connect();
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    eventually("a push fails", || outbound.push([frame("m", 1)]).is_err());
    assert!(outbound.is_dead() && !outbound.is_ending());
    assert_eq!(outbound.finish(going_away()).0.kind(), CloseKind::PeerGone);
}

#[test]
fn only_bytes_that_the_kernel_took_end_a_writers_silence() {
    let server = Server::new(bounds());
    let (outbound, mut peer) = server.connect();
    let opened = outbound.last_write();
    push_half(&outbound, "m");
    let written = outbound.last_write();
    assert!(written > opened);
    outbound.push([frame("waits", 1)]).unwrap();
    assert_eq!(outbound.last_write(), written);
    assert!(peer.read(&mut vec![0; 1 << 20]).unwrap() > 0);
    eventually("more has gone", || {
        outbound.flush(Instant::now());
        outbound.last_write() > written
    });
}
