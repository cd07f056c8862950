//! The full-duplex WebSocket by itself: both ends ours, a library's peer, and peers that behave badly.
#![allow(clippy::print_stdout)]

use crate::raw::{self, BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Peer, TEXT};
use crate::support::{Client, PATIENCE, dial, eventually, exchange, upgrade_request};
use heartwire::config::Rate;
use heartwire::duplex::{AcceptError, Closed, ConnectError, Message, Options, Receiver, Sender};
use heartwire::duplex::{accept, accept_with, connect};
use heartwire::{CloseKind, CloseReason, Refusal};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tungstenite::Message as Other;

type Ends = (Sender, Receiver);

fn options(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::default();
    change(&mut options);
    options
}

fn impatient() -> Options {
    options(|options| {
        options.heartbeat.interval = Some(Duration::from_millis(100));
        options.heartbeat.timeout = Some(Duration::from_millis(400));
    })
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}/path?query=1")
}

/// Two ends of ours: the one that connected, and the one that accepted.
fn pair(client: &Options, server: &Options) -> (Ends, Ends) {
    let (listener, address) = listen();
    thread::scope(|scope| {
        let accepted = scope.spawn(|| accept(listener.accept().unwrap().0, server).unwrap());
        (connect(&url(address), client).unwrap(), accepted.join().unwrap())
    })
}

/// An accepted end of ours, and a library's client.
fn with_library(server: &Options) -> (Ends, Client) {
    let (listener, address) = listen();
    thread::scope(|scope| {
        let accepted = scope.spawn(|| accept(listener.accept().unwrap().0, server).unwrap());
        let library = Client::open(address, "/", "");
        (accepted.join().unwrap(), library)
    })
}

/// An accepted end of ours, and a client made by hand.
fn with_peer(server: &Options) -> (Ends, Peer) {
    let (ends, client) = with_library(server);
    (ends, Peer { stream: client.socket.into_inner() })
}

fn text(text: &str) -> Message {
    Message::Text(text.into())
}

/// The reason for which nothing more comes.
fn end_of(receiver: &mut Receiver) -> Closed {
    loop {
        if let Err(closed) = receiver.recv() {
            return closed;
        }
    }
}

/// Message `n` of a sender: who, which, and a filling that depends on both and would show any mixing.
fn numbered(sender: u64, n: u64) -> Vec<u8> {
    let length = usize::try_from((sender * 31 + n * 7) % 300).unwrap();
    let mut bytes = [sender.to_be_bytes(), n.to_be_bytes()].concat();
    bytes.resize(bytes.len() + length, (sender ^ n).to_be_bytes()[7]);
    bytes
}

/// Sends from ten threads at each end while each end is read; every message must come, whole, and in its sender's order.
fn ten_senders_each_way(messages_in_all: u64) {
    const SENDERS: u64 = 10;
    let each = messages_in_all / SENDERS / 2;
    let started = Instant::now();
    let (client, server) = pair(&Options::default(), &Options::default());
    thread::scope(|scope| {
        let readers = [client, server].map(|(sender, mut receiver)| {
            for number in 0..SENDERS {
                let sender = sender.clone();
                scope.spawn(move || (0..each).for_each(|n| sender.binary(&numbered(number, n)).unwrap()));
            }
            scope.spawn(move || {
                let mut next = [0; SENDERS as usize];
                for _ in 0..SENDERS * each {
                    let Message::Binary(bytes) = receiver.recv().unwrap() else { panic!("only binary was sent") };
                    let number = u64::from_be_bytes(bytes[..8].try_into().unwrap());
                    let expected = &mut next[usize::try_from(number).unwrap()];
                    assert!(bytes == numbered(number, *expected), "message {expected} of sender {number}");
                    *expected += 1;
                }
                assert_eq!(next, [each; SENDERS as usize]);
                (sender, receiver)
            })
        });
        // Both ends live until both have received everything.
        let _ends = readers.map(|reader| reader.join().unwrap());
    });
    let seconds = started.elapsed().as_secs_f64();
    let per_second = messages_in_all as f64 / seconds;
    println!("{messages_in_all} messages, ten senders each way: {seconds:.1} s, {per_second:.0} a second");
}

#[test]
fn ten_senders_each_way_lose_and_mix_nothing() {
    ten_senders_each_way(50_000);
}

#[test]
#[ignore = "a million messages; cargo test --release -- --ignored --nocapture"]
fn ten_senders_each_way_at_full_size() {
    ten_senders_each_way(1_000_000);
}

#[test]
fn two_ends_that_flood_each_other_with_large_messages_get_on() {
    const MESSAGES: usize = 40;
    let small_queue = options(|options| options.queue_bytes = 64 << 10);
    let (client, server) = pair(&small_queue, &small_queue);
    thread::scope(|scope| {
        let readers = [client, server].map(|(sender, mut receiver)| {
            for byte in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || {
                    (0..MESSAGES).for_each(|_| sender.binary(&vec![byte; 700 << 10]).unwrap());
                });
            }
            scope.spawn(move || {
                for _ in 0..4 * MESSAGES {
                    let Message::Binary(bytes) = receiver.recv().unwrap() else { panic!("only binary was sent") };
                    assert!(bytes.len() == 700 << 10 && bytes.iter().all(|byte| *byte == bytes[0]));
                }
                (sender, receiver)
            })
        });
        let _ends = readers.map(|reader| reader.join().unwrap());
    });
}

/// One thread sends a mebibyte a second while another sleeps in `recv`, whose peer says something at the end only.
fn sends_while_another_thread_receives(seconds: u32) {
    const CHUNK: usize = 64 << 10;
    const CHUNKS_A_SECOND: u32 = 16;
    let ((sender, mut receiver), mut library) = with_library(&Options::default());
    let chunks = seconds * CHUNKS_A_SECOND;
    thread::scope(|scope| {
        let reader = scope.spawn(move || receiver.recv().unwrap());
        let read_by_peer = scope.spawn(move || {
            for n in 0..chunks {
                let expected = vec![n.to_be_bytes()[3]; CHUNK];
                assert!(library.message() == Other::binary(expected), "chunk {n}");
            }
            library.send_text("everything has come");
            library
        });
        let started = Instant::now();
        for n in 0..chunks {
            sender.binary(&vec![n.to_be_bytes()[3]; CHUNK]).unwrap();
            let due = started + Duration::from_secs(1) * (n + 1) / CHUNKS_A_SECOND;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let _library = read_by_peer.join().unwrap();
        assert_eq!(reader.join().unwrap(), text("everything has come"));
        println!("{chunks} chunks of {CHUNK} bytes in {:.1?}", started.elapsed());
    });
}

#[test]
fn a_thread_sends_while_another_is_in_recv() {
    sends_while_another_thread_receives(1);
}

#[test]
#[ignore = "takes 30 s"]
fn a_thread_sends_for_long_while_another_is_in_recv() {
    sends_while_another_thread_receives(30);
}

/// What a peer gets that does not read: 4101, whether somebody is in `recv` or not.
#[test]
fn a_peer_that_never_reads_ends_with_4101() {
    for receiving in [true, false] {
        let strict = options(|options| {
            (options.write_deadline, options.linger) = (Duration::from_millis(300), Duration::from_millis(100));
        });
        let ((sender, mut receiver), _peer) = with_peer(&strict);
        thread::scope(|scope| {
            let reader = receiving.then(|| scope.spawn(|| end_of(&mut receiver)));
            let others = [0; 3].map(|_| scope.spawn(|| while sender.binary(&[7; 100_000]).is_ok() {}));
            let closed = loop {
                if let Err(closed) = sender.binary(&[7; 100_000]) {
                    break closed;
                }
            };
            assert_eq!(closed.kind(), CloseKind::SlowConsumer);
            others.into_iter().for_each(|other| other.join().unwrap());
            if let Some(reader) = reader {
                assert_eq!(reader.join().unwrap().kind(), CloseKind::SlowConsumer);
            }
        });
    }
}

/// A message is lost or sent, never reported as the one when it is the other: what the peer reads is what `send` said.
#[test]
fn what_send_says_is_what_the_peer_gets() {
    let ((sender, mut receiver), mut peer) = with_peer(&options(|options| options.linger = Duration::from_secs(20)));
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..4 {
            let (sender, sent) = (sender.clone(), &sent);
            scope.spawn(move || {
                let mut n = 0;
                while sender.binary(&[numbered(number, n), vec![0; 50_000]].concat()).is_ok() {
                    sent.fetch_add(1, Ordering::Relaxed);
                    n += 1;
                }
            });
        }
        let reader = scope.spawn(move || end_of(&mut receiver));
        while sent.load(Ordering::Relaxed) < 20 {
            thread::yield_now();
        }
        let closer = scope.spawn(|| sender.close(CloseKind::Normal));
        let ending = peer.ending();
        peer.stream.shutdown(Shutdown::Both).unwrap();
        closer.join().unwrap();
        assert_eq!((ending.code, reader.join().unwrap().kind()), (1000, CloseKind::Normal));
        let received = ending.messages.len() as u64;
        // Whoever waited was sent before the Close.
        assert!(
            (20..=24).contains(&(received - sent.load(Ordering::Relaxed) + 20)),
            "{received} received, {sent:?} sent"
        );
    });
    assert!(sent.into_inner() >= 20);
}

#[test]
fn a_silent_peer_is_pinged_and_ends_with_4201() {
    let ((_sender, mut receiver), mut peer) = with_peer(&impatient());
    let closed = thread::scope(|scope| {
        let reader = scope.spawn(|| end_of(&mut receiver));
        assert_eq!(peer.next().unwrap().0, PING);
        let ending = peer.ending();
        assert_eq!(ending.code, 4201);
        peer.stream.shutdown(Shutdown::Both).unwrap();
        reader.join().unwrap()
    });
    assert_eq!(closed.kind(), CloseKind::HeartbeatTimeout);
    assert!(closed.to_string().contains("unanswered"), "{closed}");
    assert_eq!(receiver.recv(), Err(closed), "each further call says the same");
}

#[test]
fn a_peer_that_answers_pings_stays_and_its_round_trip_is_known() {
    let ((sender, mut receiver), mut library) = with_library(&impatient());
    assert_eq!(receiver.round_trip(), None);
    thread::scope(|scope| {
        let reading = scope.spawn(move || library.close_frame());
        // Four timeouts.
        assert_eq!(receiver.recv_timeout(Duration::from_millis(1_600)), Ok(None));
        assert!(receiver.round_trip().is_some());
        sender.close(CloseReason::application(4321, "enough").unwrap());
        assert_eq!(reading.join().unwrap(), (4321, "enough".into()));
        assert_eq!(end_of(&mut receiver).kind(), CloseKind::Application(4321));
    });
}

/// The peer answers nothing, but what it said before counts, and so does that nobody asked it.
#[test]
fn no_deadline_passes_while_nobody_is_in_recv() {
    let ((sender, mut receiver), mut peer) = with_peer(&impatient());
    let begun = raw::frame(TEXT, b"begun, ");
    peer.send(&begun);
    assert_eq!(receiver.recv_timeout(Duration::from_millis(50)), Ok(None));
    // More than the timeout.
    thread::sleep(Duration::from_millis(800));
    sender.text("nobody is in recv").unwrap();
    peer.send(raw::frame(FIN | CONTINUATION, b"finished"));
    assert_eq!(receiver.recv(), Ok(text("begun, finished")));
    thread::sleep(Duration::from_millis(800));
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(None));
}

#[test]
fn pings_are_answered_by_a_program_that_only_receives() {
    let ((_sender, mut receiver), mut peer) = with_peer(&Options::default());
    peer.send([raw::frame(FIN | PING, b"one"), raw::frame(FIN | PING, b"two"), raw::frame(FIN | TEXT, b"x")].concat());
    assert_eq!(receiver.recv(), Ok(text("x")));
    assert_eq!(peer.next(), Some((PONG, b"one".to_vec())));
    assert_eq!(peer.next(), Some((PONG, b"two".to_vec())));
}

/// The socket is full of what a sender sends, so the pongs wait; the thread in `recv` alone sends them when there is room.
#[test]
fn pongs_wait_for_room_and_are_sent_by_whoever_receives() {
    let ((sender, mut receiver), mut peer) = with_peer(&Options::default());
    thread::scope(|scope| {
        let sending = scope.spawn(move || sender.binary(&vec![1; 32 << 20]));
        let receiving = scope.spawn(move || receiver.recv());
        peer.send(raw::frame(FIN | PING, b"are you there"));
        let (mut ponged, mut received) = (false, 0);
        while !ponged || received == 0 {
            match peer.next().unwrap() {
                (PONG, payload) => ponged = payload == b"are you there",
                (BINARY, payload) => received = payload.len(),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(received, 32 << 20);
        sending.join().unwrap().unwrap();
        peer.send(raw::frame(FIN | TEXT, b"done"));
        assert_eq!(receiving.join().unwrap(), Ok(text("done")));
    });
}

/// Nobody sends anything but the thread in `recv`.
#[test]
fn more_pongs_than_the_socket_takes_are_all_sent_by_whoever_receives() {
    const PINGS: usize = 900;
    let (listener, address) = listen();
    // What a system grants at least; the client is this end's peer.
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.set_recv_buffer_size(4 << 10).unwrap();
    client.connect(&address.into()).unwrap();
    let mut client = TcpStream::from(client);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(upgrade_request("/", "").as_bytes()).unwrap();
    let accepted = listener.accept().unwrap().0;
    SockRef::from(&accepted).set_send_buffer_size(4 << 10).unwrap();
    let (_sender, mut receiver) = accept(accepted, &Options::default()).unwrap();
    client.write_all(&raw::frame(FIN | PING, &[7; 125]).repeat(PINGS)).unwrap();
    client.write_all(&raw::frame(FIN | TEXT, b"done")).unwrap();
    assert_eq!(receiver.recv(), Ok(text("done")));
    thread::scope(|scope| {
        let receiving = scope.spawn(move || receiver.recv());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut peer = Peer { stream: client };
        for n in 0..PINGS {
            assert_eq!(peer.next(), Some((PONG, vec![7; 125])), "pong {n}");
        }
        peer.send(raw::frame(FIN | TEXT, b"all came"));
        assert_eq!(receiving.join().unwrap(), Ok(text("all came")));
    });
}

#[test]
fn a_sender_pings() {
    let ((sender, mut receiver), mut peer) = with_peer(&Options::default());
    sender.ping().unwrap();
    assert_eq!(peer.next(), Some((PING, Vec::new())));
    peer.send([raw::frame(FIN | PONG, b""), raw::frame(FIN | BINARY, b"x")].concat());
    assert_eq!(receiver.recv(), Ok(Message::Binary(b"x".to_vec())));
}

#[test]
fn either_side_closes_and_both_learn_why() {
    for client_closes in [true, false] {
        let (client, server) = pair(&Options::default(), &Options::default());
        let ((sender, mut own), (other_sender, mut other)) =
            if client_closes { (client, server) } else { (server, client) };
        thread::scope(|scope| {
            let other = scope.spawn(move || {
                assert_eq!(other.recv(), Ok(text("last")));
                end_of(&mut other)
            });
            sender.text("last").unwrap();
            sender.close(CloseReason::new(CloseKind::Normal, "that was all"));
            assert_eq!(sender.text("more").unwrap_err().kind(), CloseKind::Normal);
            let closed = other.join().unwrap();
            assert_eq!(closed.kind(), CloseKind::PeerClosed(1000));
            assert!(closed.to_string().ends_with("normal: that was all"), "{closed}");
            assert_eq!(end_of(&mut own).kind(), CloseKind::Normal);
            assert_eq!(other_sender.text("more").unwrap_err().kind(), CloseKind::PeerClosed(1000));
        });
    }
}

#[test]
fn a_close_from_one_thread_wakes_another_that_is_in_recv() {
    // The peer neither answers the Close nor leaves, and no clock wakes the reader.
    let ((sender, mut receiver), mut peer) = with_peer(&options(|options| {
        options.linger = Duration::from_millis(200);
        options.heartbeat.interval = Some(10 * PATIENCE);
    }));
    thread::scope(|scope| {
        let reader = scope.spawn(move || receiver.recv_timeout(PATIENCE));
        thread::sleep(Duration::from_millis(50));
        sender.close(CloseKind::Disconnected);
        assert_eq!(reader.join().unwrap().unwrap_err().kind(), CloseKind::Disconnected);
    });
    assert_eq!(peer.ending().code, 4503);
}

#[test]
fn a_close_from_one_thread_ends_another_that_is_in_send() {
    let ((sender, _receiver), _peer) = with_peer(&options(|options| options.linger = Duration::from_millis(200)));
    thread::scope(|scope| {
        let blocked = scope.spawn(|| {
            loop {
                if let Err(closed) = sender.binary(&[7; 100_000]) {
                    return closed;
                }
            }
        });
        thread::sleep(Duration::from_millis(50));
        sender.close(CloseKind::Disconnected);
        assert_eq!(blocked.join().unwrap().kind(), CloseKind::Disconnected);
    });
}

#[test]
fn a_peer_that_vanishes_wakes_everybody() {
    let ((sender, mut receiver), peer) = with_peer(&Options::default());
    thread::scope(|scope| {
        let reader = scope.spawn(move || end_of(&mut receiver));
        let blocked = scope.spawn(|| while sender.binary(&[7; 100_000]).is_ok() {});
        thread::sleep(Duration::from_millis(50));
        drop(peer);
        assert_eq!(reader.join().unwrap().kind(), CloseKind::PeerGone);
        blocked.join().unwrap();
    });
}

#[test]
fn a_dropped_receiver_says_going_away_and_ends_its_senders() {
    let ((sender, receiver), mut peer) = with_peer(&Options::default());
    peer.send(raw::frame(FIN | TEXT, b"unread"));
    sender.text("before").unwrap();
    drop(receiver);
    let ending = peer.ending();
    assert_eq!((ending.code, ending.messages), (1001, vec![b"before".to_vec()]));
    assert_eq!(sender.text("after").unwrap_err().kind(), CloseKind::GoingAway);
}

#[test]
fn dropped_senders_end_nothing() {
    let ((sender, mut receiver), mut peer) = with_peer(&Options::default());
    drop(sender);
    peer.send([raw::frame(FIN | PING, b""), raw::frame(FIN | TEXT, b"x")].concat());
    assert_eq!(receiver.recv(), Ok(text("x")));
    assert_eq!(peer.next().unwrap().0, PONG);
}

#[test]
fn what_breaks_the_rules_ends_with_the_code_for_that() {
    let small = options(|options| {
        (options.max_message_bytes, options.max_fragments) = (1_000, Some(4));
        options.control_rate = Some(Rate { per_second: 1, burst: 20 });
        options.assembly_deadline = Duration::from_millis(200);
    });
    let fragment = raw::frame(CONTINUATION, b"x");
    for (what, bytes, code) in [
        ("a frame without a mask", vec![FIN | TEXT, 1, b'x'], 1002),
        ("a reserved bit", raw::frame(FIN | 0x40 | TEXT, b"x"), 1002),
        ("an unknown opcode", raw::frame(FIN | 0x3, b"x"), 1002),
        ("a continuation of nothing", raw::frame(FIN | CONTINUATION, b"x"), 1002),
        ("a fragmented ping", raw::frame(PING, b"x"), 1002),
        ("text that is not UTF-8", raw::frame(FIN | TEXT, b"\xff"), 1007),
        ("a message that is too big", raw::frame(FIN | BINARY, &[0; 1_001]), 1009),
        ("too many fragments", [raw::frame(TEXT, b"x"), fragment.repeat(4)].concat(), 1008),
        ("too many pings", raw::frame(FIN | PING, b"").repeat(22), 4102),
        ("a message that is not finished", raw::frame(TEXT, b"x"), 4104),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1002),
    ] {
        let ((_sender, mut receiver), mut peer) = with_peer(&small);
        peer.send([raw::frame(FIN | TEXT, b"before"), bytes].concat());
        assert_eq!(receiver.recv(), Ok(text("before")), "{what}");
        thread::scope(|scope| {
            let reader = scope.spawn(move || end_of(&mut receiver));
            assert_eq!(peer.ending().code, code, "{what}");
            peer.stream.shutdown(Shutdown::Both).unwrap();
            assert_eq!(reader.join().unwrap().reason().code(), code, "{what}");
        });
    }
}

#[test]
fn a_message_in_fragments_with_pings_between_them_is_one() {
    let ((_sender, mut receiver), mut peer) = with_peer(&Options::default());
    let parts = [
        raw::frame(TEXT, b"on"),
        raw::frame(FIN | PING, b"!"),
        raw::frame(CONTINUATION, b"e mess"),
        raw::frame(FIN | CONTINUATION, b"age"),
    ];
    for byte in parts.concat() {
        peer.send([byte]);
    }
    assert_eq!(receiver.recv(), Ok(text("one message")));
    assert_eq!(peer.next(), Some((PONG, b"!".to_vec())));
}

#[test]
fn what_waits_is_taken_without_waiting() {
    let ((_sender, mut receiver), mut peer) = with_peer(&Options::default());
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(None));
    peer.send([raw::frame(FIN | TEXT, b"a"), raw::frame(FIN | TEXT, b"b")].concat());
    assert_eq!(receiver.recv(), Ok(text("a")));
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(Some(text("b"))));
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(None));
}

#[test]
fn a_message_longer_than_one_receive_is_taken_without_waiting() {
    let (listener, address) = listen();
    let mut stream = dial(address);
    stream.write_all(upgrade_request("/", "").as_bytes()).unwrap();
    let accepted = listener.accept().unwrap().0;
    let beside = accepted.try_clone().unwrap();
    let (_sender, mut receiver) = accept(accepted, &Options::default()).unwrap();
    // Less than the window with which a connection begins, so that all of it can wait.
    let frame = raw::frame(FIN | BINARY, &[7; 48 << 10]);
    stream.write_all(&frame).unwrap();
    eventually("all of it waits", || beside.peek(&mut vec![0; frame.len()]).unwrap() == frame.len());
    assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(Some(Message::Binary(vec![7; 48 << 10]))));
}

/// Answers the next connection with these bytes, as a server would, and returns what a client makes of it.
fn answered(bytes: &'static [u8], client: &Options) -> ConnectError {
    let (listener, address) = listen();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            assert!(request.starts_with(b"GET /path?query=1 HTTP/1.1\r\n"));
            stream.write_all(bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        connect(&url(address), client).unwrap_err()
    })
}

#[test]
fn a_refusal_carries_status_retry_after_and_body() {
    let full = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nfull, and more";
    let ConnectError::Refused(refused) = answered(full, &Options::default()) else { panic!("not refused") };
    let expected = (503, Some(Duration::from_secs(7)), "full");
    assert_eq!((refused.status, refused.retry_after, &*refused.body), expected);
    let moved = b"HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\n\r\n";
    assert!(matches!(answered(moved, &Options::default()), ConnectError::Refused(refused) if refused.status == 302));
}

#[test]
fn what_is_no_websocket_server_is_told_apart() {
    let default = Options::default();
    assert!(matches!(answered(b"SSH-2.0-OpenSSH_9.2\r\n", &default), ConnectError::NotWebSocket(_)));
    let wrong = b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
    assert!(matches!(answered(wrong, &default), ConnectError::NotWebSocket(_)));
    assert!(matches!(answered(b"HTTP/1.1 101", &default), ConnectError::Failed(_)));
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let (listener, address) = listen();
    let hasty = options(|options| options.open_deadline = Duration::from_millis(200));
    assert!(matches!(connect(&url(address), &hasty), Err(ConnectError::TimedOut(_))));
    drop(listener);
    assert!(matches!(connect(&url(address), &hasty), Err(ConnectError::Unreachable(_))));
    assert!(matches!(connect("wss://127.0.0.1/", &hasty), Err(ConnectError::Invalid(_))));
    assert!(matches!(connect("ws://name.invalid/", &Options::default()), Err(ConnectError::Unreachable(_))));
    let contradiction = options(|options| options.linger = Duration::ZERO);
    assert!(matches!(connect(&url(address), &contradiction), Err(ConnectError::Options(_))));
}

#[test]
fn a_server_that_masks_or_sends_garbage_is_told() {
    for garbage in [raw::frame(FIN | TEXT, b"masked"), b"\xff".repeat(14)] {
        let (listener, address) = listen();
        thread::scope(|scope| {
            let server = scope.spawn(move || {
                let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
                socket.get_mut().write_all(&garbage).unwrap();
                socket.read().unwrap()
            });
            let (_sender, mut receiver) = connect(&url(address), &Options::default()).unwrap();
            assert_eq!(end_of(&mut receiver).kind(), CloseKind::ProtocolError);
            assert!(matches!(server.join().unwrap(), Other::Close(Some(close)) if u16::from(close.code) == 1002));
        });
    }
}

#[test]
fn a_librarys_server_understands_us() {
    let (listener, address) = listen();
    let by_name = format!("ws://localhost:{}/", address.port());
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
            while let Ok(message) = socket.read() {
                if message.is_text() || message.is_binary() {
                    socket.send(message).unwrap();
                }
            }
        });
        let (sender, mut receiver) = connect(&by_name, &Options::default()).unwrap();
        for length in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let message = text(&"x".repeat(length));
            sender.send(&message).unwrap();
            assert_eq!(receiver.recv(), Ok(message));
        }
        sender.close(CloseKind::Normal);
        assert_eq!(end_of(&mut receiver).kind(), CloseKind::Normal);
    });
}

#[test]
fn what_is_no_request_for_a_websocket_is_answered() {
    let hasty = options(|options| options.open_deadline = Duration::from_millis(500));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 426),
        (upgrade_request("/", "").replace("GET", "POST"), 405),
        (upgrade_request("/", "").replace("Sec-WebSocket-Key", "X"), 400),
        ("\x16\x03\x01\r\n\r\n".into(), 400),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(10_000)), 431),
        ("GET / HTTP/1.1\r\n".into(), 408),
    ] {
        let (listener, address) = listen();
        thread::scope(|scope| {
            let accepted = scope.spawn(|| accept(listener.accept().unwrap().0, &hasty).unwrap_err());
            let response = exchange(address, &request);
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {response}");
            assert!(response.contains("\r\nContent-Length: "), "{response}");
            assert!(matches!(accepted.join().unwrap(), AcceptError::Refused(refused) if refused == status));
        });
    }
}

#[test]
fn the_program_judges_requests() {
    let (listener, address) = listen();
    let speaking = options(|options| options.subprotocols = vec!["b".into(), "c".into()]);
    let offering = |token: &str| {
        options(|options| {
            options.subprotocols = vec!["a".into(), "c".into(), "b".into()];
            options.headers = vec![("Authorization".into(), format!("Bearer {token}"))];
        })
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                let ends = accept_with(listener.accept().unwrap().0, &speaking, |request| {
                    assert_eq!((request.path(), request.query("query")), ("/path", Some("1")));
                    match request.token() {
                        Some("good") => Ok(()),
                        _ => Err(Refusal::throttled("too often", Duration::from_secs(3))),
                    }
                });
                if let Ok((_sender, mut receiver)) = ends {
                    assert_eq!(receiver.subprotocol(), Some("b"));
                    end_of(&mut receiver);
                }
            }
        });
        let refused = connect(&url(address), &offering("bad")).unwrap_err();
        let ConnectError::Refused(refused) = refused else { panic!("{refused}") };
        assert_eq!((refused.status, refused.retry_after), (429, Some(Duration::from_secs(3))));
        assert!(refused.body.contains("too often"), "{}", refused.body);
        let (_sender, receiver) = connect(&url(address), &offering("good")).unwrap();
        assert_eq!(receiver.subprotocol(), Some("b"), "the server prefers it");
    });
}

/// A frame that comes together with the request is not lost.
#[test]
fn what_comes_behind_the_request_is_read() {
    let (listener, address) = listen();
    let mut stream: TcpStream = dial(address);
    stream.write_all(upgrade_request("/", "").as_bytes()).unwrap();
    stream.write_all(&[raw::frame(FIN | TEXT, b"early"), raw::close(1000)].concat()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let (_sender, mut receiver) = accept(listener.accept().unwrap().0, &Options::default()).unwrap();
    assert_eq!(receiver.recv(), Ok(text("early")));
    assert_eq!(end_of(&mut receiver).kind(), CloseKind::PeerClosed(1000));
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&[FIN | CLOSE, 2, 3, 232]), "{answer:?}");
}
