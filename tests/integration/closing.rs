//! The close handshake in both directions, the codes of every breach, and data in flight.

use crate::gate::Gate;
use crate::raw::{self, BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Peer, TEXT};
use crate::support::{Client, account, config, configured, eventually, serve, serve_with};
use heartwire::{CloseKind, CloseReason, Config, Handle, Push, Server, Target};
use serde_json::json;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// Waits until the connection is forgotten, and its thread gone, under this code.
#[track_caller]
fn eventually_closed(handle: &Handle, code: u16) {
    eventually("the connection is forgotten", || {
        let counts = handle.counts().unwrap();
        counts.connections == 0 && counts.closed_by_code == BTreeMap::from([(code, 1)])
    });
}

#[test]
fn a_close_is_echoed_with_its_code_and_then_the_stream_ends() {
    for code in [1000, 1001, 1003, 1007, 1011, 3000, 4000, 4999] {
        let server = serve(config());
        let mut peer = Peer::connect(&server, "a");
        peer.send(raw::close(code));
        let ending = peer.ending();
        assert_eq!((ending.code, ending.messages.len()), (code, 0));
        drop(peer);
        eventually_closed(&server.handle(), code);
    }
    let server = serve(config());
    let mut peer = Peer::connect(&server, "a");
    peer.send(raw::frame(FIN | CLOSE, b""));
    assert_eq!(peer.ending().code, 1005);
    drop(peer);
    eventually_closed(&server.handle(), 1005);
}

#[test]
fn a_client_that_closes_is_offline_though_it_keeps_its_socket() {
    let server = serve(configured(|config| config.linger = Duration::from_secs(3_600)));
    let mut peer = Peer::connect(&server, "a");
    peer.send(raw::close(1000));
    assert_eq!(peer.ending().code, 1000);
    eventually("it is offline", || server.handle().connections(account("a")).unwrap().is_empty());
    drop(peer);
}

#[test]
fn a_close_that_nobody_may_send_is_answered_by_a_protocol_error() {
    let server = serve(config());
    let mut frames: Vec<Vec<u8>> = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX].map(raw::close).into();
    frames.push(raw::frame(FIN | CLOSE, &[3]));
    frames.push(raw::frame(FIN | CLOSE, &[3; 126]));
    frames.push(raw::frame(CLOSE, &1000_u16.to_be_bytes()));
    for frame in frames {
        let mut peer = Peer::connect(&server, "a");
        peer.send(&frame);
        assert_eq!(peer.ending().code, 1002, "{frame:x?}");
    }
    let mut peer = Peer::connect(&server, "a");
    peer.send(raw::frame(FIN | CLOSE, &[0x03, 0xe8, 0xff, 0xfe]));
    assert_eq!(peer.ending().code, 1007);
}

#[test]
fn nothing_is_dispatched_that_follows_a_close_of_the_peers() {
    let server = serve(config());
    let mut observer = Client::connect(&server, "observer");
    let mut peer = Peer::connect(&server, "a");
    let message = |n: u32| raw::text(&json!({ "type": "message", "to": ["observer"], "content": n }));
    peer.send([message(1), raw::close(1000), message(2)].concat());
    assert_eq!(peer.ending().code, 1000);
    drop(peer);
    eventually("the peer is gone", || server.handle().connections(account("a")).unwrap().is_empty());
    server.handle().send(account("observer"), &Push::new("marker", &()).unwrap()).unwrap();
    assert_eq!(observer.json()["content"], 1);
    assert_eq!(observer.json()["type"], "marker");
}

#[test]
fn a_disconnected_client_is_told_once_and_nothing_it_sends_afterwards_is_delivered() {
    let server = serve(config());
    let handle = server.handle();
    let (mut peer, mut observer) = (Peer::connect(&server, "a"), Client::connect(&server, "observer"));
    handle.send(account("a"), &Push::new("before", &()).unwrap()).unwrap();
    let reason = CloseReason::new(CloseKind::Disconnected, "you know why");
    assert_eq!(handle.disconnect(account("a"), reason).unwrap(), 1);
    assert!(handle.connections(account("a")).unwrap().is_empty());
    assert_eq!(handle.send(account("a"), &Push::new("after", &()).unwrap()).unwrap().connections, 0);
    peer.send(raw::text(&json!({ "type": "message", "to": ["observer"], "content": "too late" })));
    peer.send(raw::text(&json!({ "type": "heartbeat" })));
    peer.send(raw::frame(FIN | PING, b"?"));
    let ending = peer.ending();
    assert_eq!((ending.code, &*ending.reason), (4503, "disconnected by operator: you know why"));
    assert_eq!(ending.messages.len(), 1, "what was sent before it goes out before it");
    peer.send(raw::close(4503));
    drop(peer);
    eventually("its thread is gone", || handle.counts().unwrap().closed_by_code.contains_key(&4503));
    handle.send(Target::All, &Push::new("marker", &()).unwrap()).unwrap();
    assert_eq!(observer.json()["type"], "marker");
}

#[test]
fn a_client_with_data_in_flight_reads_the_code_and_no_reset() {
    let server = serve(configured(|config| {
        (config.message_rate, config.linger) = (None, Duration::from_secs(20));
    }));
    let handle = server.handle();
    let mut peer = Peer::connect(&server, "a");
    let message = raw::text(&json!({ "type": "message", "to": ["nobody"], "content": "x".repeat(32 << 10) }));
    // It goes on until the last byte was read, so that there is data in flight at every moment.
    let ending = peer.sending(std::iter::repeat(message), Duration::ZERO, |peer| {
        eventually("megabytes were received", || handle.counts().unwrap().messages_received > 64);
        assert_eq!(handle.disconnect(account("a"), CloseKind::Disconnected.into()).unwrap(), 1);
        peer.ending()
    });
    assert_eq!(ending.code, 4503);
}

#[test]
fn the_stream_ends_in_an_orderly_way_though_the_peer_never_closes() {
    const LINGER: Duration = Duration::from_millis(300);
    let server = serve(configured(|config| config.linger = LINGER));
    let mut peer = Peer::connect(&server, "a");
    let start = Instant::now();
    server.handle().disconnect(Target::All, CloseKind::Disconnected.into()).unwrap();
    assert_eq!(peer.ending().code, 4503);
    eventually_closed(&server.handle(), 4503);
    assert!(start.elapsed() >= LINGER, "it had a moment to close by itself");
    assert_eq!(peer.next(), None);
}

/// Sends this as the first bytes of a fresh connection and returns the code of the Close that follows.
#[track_caller]
fn code_after(server: &Server, bytes: impl AsRef<[u8]>) -> u16 {
    let mut peer = Peer::connect(server, "breaker");
    peer.send(bytes);
    let ending = peer.ending();
    assert!(ending.messages.is_empty());
    ending.code
}

fn small_messages(config: &mut Config) {
    (config.max_per_account, config.max_per_address) = (None, None);
    (config.max_message_bytes, config.max_fragments) = (64 << 10, Some(8));
}

#[test]
fn breaches_of_the_framing_rules_end_with_a_protocol_error() {
    let server = serve(configured(small_messages));
    let mut breaches: Vec<(String, Vec<u8>)> = vec![
        ("unmasked".into(), vec![FIN | TEXT, 2, b'{', b'}']),
        ("oversize ping".into(), raw::frame(FIN | PING, &[0; 126])),
        ("oversize pong".into(), raw::frame(FIN | PONG, &[0; 1_000])),
        ("fragmented ping".into(), raw::frame(PING, b"")),
        ("continuation of nothing".into(), raw::frame(FIN | CONTINUATION, b"{}")),
        ("start within a message".into(), [raw::frame(TEXT, b"{"), raw::frame(FIN | TEXT, b"}")].concat()),
    ];
    for reserved in [0x40, 0x20, 0x10] {
        breaches.push((format!("reserved bit {reserved:#x}"), raw::frame(FIN | reserved | TEXT, b"{}")));
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        breaches.push((format!("opcode {opcode:#x}"), raw::frame(FIN | opcode, b"")));
    }
    for (what, bytes) in breaches {
        assert_eq!(code_after(&server, bytes), 1002, "{what}");
    }
}

#[test]
fn text_that_is_not_utf8_ends_with_1007_also_across_fragments() {
    let server = serve(configured(small_messages));
    let bad: [&[u8]; 5] = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"half \xe2\x82"];
    for bad in bad {
        assert_eq!(code_after(&server, raw::frame(FIN | TEXT, bad)), 1007, "{bad:x?}");
    }
    let across =
        [raw::frame(TEXT, b"\"\xe2"), raw::frame(CONTINUATION, b"\x82"), raw::frame(FIN | CONTINUATION, b"\"")];
    assert_eq!(code_after(&server, across.concat()), 1007);
    let whole =
        [raw::frame(TEXT, b"\"\xe2"), raw::frame(CONTINUATION, b"\x82"), raw::frame(FIN | CONTINUATION, b"\xac\"")];
    let mut peer = Peer::connect(&server, "a");
    peer.send(whole.concat());
    assert_eq!(peer.json()["error"]["code"], 107, "characters may be cut between fragments");
}

#[test]
fn a_message_beyond_the_limit_is_refused_by_its_announced_length() {
    let server = serve(configured(small_messages));
    for length in [(64 << 10) + 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 63) - 1, 1 << 63, u64::MAX] {
        for opcode in [TEXT, BINARY] {
            let code = code_after(&server, raw::header(FIN | opcode, length));
            assert!([1002, 1009].contains(&code), "{code} for {length}");
        }
    }
    let half = vec![b' '; 40 << 10];
    assert_eq!(code_after(&server, [raw::frame(TEXT, &half), raw::frame(FIN | CONTINUATION, &half)].concat()), 1009);
    let mut peer = Peer::connect(&server, "a");
    peer.send(raw::frame(FIN | TEXT, &vec![b' '; 64 << 10]));
    assert_eq!(peer.json()["error"]["code"], 107, "the limit itself is permitted");
}

#[test]
fn a_message_in_too_many_fragments_ends_with_1008() {
    let server = serve(configured(small_messages));
    let message = |fragments: usize| {
        let mut message = raw::frame(TEXT, b"");
        (2..fragments).for_each(|_| message.extend(raw::frame(CONTINUATION, b"")));
        message.extend(raw::frame(FIN | CONTINUATION, b"{}"));
        message
    };
    let mut peer = Peer::connect(&server, "a");
    for _ in 0..3 {
        peer.send(message(8));
        assert_eq!(peer.json()["error"]["code"], 107);
    }
    assert_eq!(code_after(&server, message(9)), 1008);
    let endless = [raw::frame(TEXT, b""), raw::frame(CONTINUATION, b"").repeat(8)].concat();
    assert_eq!(code_after(&server, endless), 1008);
}

#[test]
fn a_flood_of_control_frames_ends_with_4102() {
    let server = serve(config());
    for opcode in [PING, PONG] {
        let mut peer = Peer::connect(&server, "a");
        peer.send(raw::frame(FIN | opcode, b"").repeat(2_000));
        let ending = peer.ending();
        assert_eq!((ending.code, &*ending.reason), (4102, "rate limit: too many control frames"));
    }
}

#[test]
fn pings_are_answered_in_order_with_what_they_carried() {
    let server = serve(config());
    let mut peer = Peer::connect(&server, "a");
    peer.send([raw::frame(FIN | PING, b""), raw::frame(FIN | PING, &[7; 125])].concat());
    assert_eq!(peer.next(), Some((PONG, vec![])));
    assert_eq!(peer.next(), Some((PONG, vec![7; 125])));
}

#[test]
fn a_peer_that_only_shuts_its_write_side_is_gone() {
    let server = serve(config());
    let mut peer = Peer::connect(&server, "a");
    peer.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.next(), None);
    eventually_closed(&server.handle(), 1006);
}

#[test]
fn a_peer_that_resets_while_its_handler_outlasts_a_deadline_is_forgotten() {
    const LIFETIME: Duration = Duration::from_millis(500);
    let gate = Gate::default();
    let start = Instant::now();
    let server = serve_with(configured(|config| config.max_lifetime = Some(LIFETIME)), gate.clone());
    let (handle, push) = (server.handle(), Push::new("news", &1).unwrap());
    let mut peer = Peer::connect(&server, "a");
    peer.send(raw::text(&Gate::wait_frame("nobody")));
    eventually("its handler holds it", || gate.held() == 1);
    SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    eventually("pushes reach nobody", || handle.send(account("a"), &push).unwrap().connections == 0);
    eventually("the deadline has passed", || start.elapsed() > 2 * LIFETIME);
    gate.open();
    eventually_closed(&handle, 1006);
}

#[test]
fn a_peer_that_resets_is_forgotten() {
    let server = serve(config());
    let peer = Peer::connect(&server, "a");
    assert_eq!(server.handle().counts().unwrap().connections, 1);
    SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    eventually_closed(&server.handle(), 1006);
}

#[test]
fn a_peer_that_resets_while_it_is_sent_to_is_forgotten() {
    let server = serve(config());
    let (handle, push) = (server.handle(), Push::new("news", &"x".repeat(10_000)).unwrap());
    let peer = Peer::connect(&server, "a");
    for _ in 0..10 {
        handle.send(account("a"), &push).unwrap();
    }
    // A socket closed with unread data sends a reset by itself.
    drop(peer);
    eventually("pushes reach nobody", || handle.send(account("a"), &push).unwrap().connections == 0);
    eventually_closed(&handle, 1006);
}
