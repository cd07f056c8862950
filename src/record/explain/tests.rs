//! Every kind of end and every text that the server writes, and that each is understood rightly.

use super::*;
use crate::protocol::message::{Account, HeartbeatTimes};
use crate::record::{ConnectionId, ConnectionInfo, Dialect, Statistics};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// A connection of a minute and a half that ended so.
fn ended(kind: CloseKind, detail: &'static str) -> ClosedConnection {
    let info = ConnectionInfo {
        id: ConnectionId("1-1".into()),
        account: Account::new("alice").unwrap(),
        device: "".into(),
        dialect: Dialect::Native,
        address: ([127, 0, 0, 1], 1).into(),
        since: SystemTime::UNIX_EPOCH,
    };
    ClosedConnection {
        info: info.into(),
        statistics: Statistics { duration: Duration::from_secs(90), messages_received: 12, ..Statistics::default() },
        heartbeat: HeartbeatTimes { interval: Duration::from_secs(25), timeout: Duration::from_secs(60) },
        background: None,
        reason: CloseReason::new(kind, detail),
        closed: SystemTime::UNIX_EPOCH,
    }
}

fn refused(kind: CloseKind, detail: &'static str) -> RefusedAttempt {
    RefusedAttempt {
        at: SystemTime::UNIX_EPOCH,
        account: None,
        address: ([127, 0, 0, 1], 1).into(),
        status: None,
        reason: CloseReason::new(kind, detail),
    }
}

/// The next of all kinds; a new one does not compile until it has its place here.
fn after(kind: CloseKind) -> Option<CloseKind> {
    Some(match kind {
        CloseKind::PeerClosed(_) => CloseKind::PeerGone,
        CloseKind::PeerGone => CloseKind::Normal,
        CloseKind::Normal => CloseKind::GoingAway,
        CloseKind::GoingAway => CloseKind::ProtocolError,
        CloseKind::ProtocolError => CloseKind::InvalidUtf8,
        CloseKind::InvalidUtf8 => CloseKind::Policy,
        CloseKind::Policy => CloseKind::TooBig,
        CloseKind::TooBig => CloseKind::Internal,
        CloseKind::Internal => CloseKind::OverCapacity,
        CloseKind::OverCapacity => CloseKind::SlowConsumer,
        CloseKind::SlowConsumer => CloseKind::RateLimit,
        CloseKind::RateLimit => CloseKind::ConnectionLimit,
        CloseKind::ConnectionLimit => CloseKind::TooSlow,
        CloseKind::TooSlow => CloseKind::HeartbeatTimeout,
        CloseKind::HeartbeatTimeout => CloseKind::LifetimeReached,
        CloseKind::LifetimeReached => CloseKind::AuthenticationFailed,
        CloseKind::AuthenticationFailed => CloseKind::BadRequest,
        CloseKind::BadRequest => CloseKind::Disconnected,
        CloseKind::Disconnected => CloseKind::Replaced,
        CloseKind::Replaced => CloseKind::Application(4000),
        CloseKind::Application(_) => return None,
    })
}

fn kinds() -> impl Iterator<Item = CloseKind> {
    std::iter::successors(Some(CloseKind::PeerClosed(1000)), |kind| after(*kind))
}

/// How connections end that were there: kind and detail, and words of the cause and of the remedy.
const ENDS: &[(CloseKind, &str, &str, &str)] = &[
    (CloseKind::PeerClosed(1000), "bye", "as it should", "Nothing"),
    (CloseKind::PeerClosed(1001), "", "tab was closed", "Nothing"),
    (CloseKind::PeerClosed(1002), "", "did not accept", "proxies"),
    (CloseKind::PeerClosed(1005), "", "no code", "proxies"),
    (CloseKind::PeerClosed(1009), "", "larger than the client takes", "max_message_bytes"),
    (CloseKind::PeerClosed(1011), "", "failure of its own", "client's log"),
    (CloseKind::PeerClosed(1012), "", "A proxy", "proxy's log"),
    (CloseKind::PeerClosed(4201), "", "nothing from the server", "beat_timeout"),
    (CloseKind::PeerClosed(3000), "", "code of its own", "its program"),
    (CloseKind::Normal, "", "was done with it", "Nothing"),
    (CloseKind::GoingAway, "", "stopped or restarted", "come back"),
    (CloseKind::GoingAway, "moved", "An operator", "come back"),
    (CloseKind::ProtocolError, "Reserved bits are non-zero", "compresses", "permessage-deflate"),
    (CloseKind::ProtocolError, "Invalid close sequence", "framing rules", "library"),
    (CloseKind::InvalidUtf8, "", "not UTF-8", "UTF-8"),
    (CloseKind::Policy, "a message of more than 64 fragments", "more than 64 frames", "--max-fragments (64 now)"),
    (CloseKind::Policy, "no swearing", "The program that embeds", "that program"),
    (CloseKind::TooBig, "Message too long: 70000 > 65536", "more than 65536 bytes", "--max-message-bytes (65536 now)"),
    (CloseKind::TooBig, "a line is too long", "a line longer", "--max-message-bytes."),
    (CloseKind::Internal, "", "panicked", "log"),
    (CloseKind::OverCapacity, "the router was busy for 5 s", "did not keep up", "--deliveries-per-second"),
    (CloseKind::SlowConsumer, "1048576 bytes in 17 messages waited", "as fast as", "--queue-bytes or --queue-messages"),
    (CloseKind::SlowConsumer, "a message waited for 10s", "within 10s", "--write-deadline (10s now)"),
    (
        CloseKind::SlowConsumer,
        "9 bytes waited, the most while all queues together were full",
        "of all connections together",
        "--queue-total-bytes",
    ),
    (CloseKind::RateLimit, "too many messages for 5 s", "12 messages in 90 s", "--rate and --burst"),
    (CloseKind::RateLimit, "too many control frames", "pings", "--control-rate and --control-burst"),
    (CloseKind::ConnectionLimit, "", "The program that embeds", "that program"),
    (CloseKind::TooSlow, "a message took longer than 10s", "after 10s", "--assembly-deadline (10s now)"),
    (CloseKind::HeartbeatTimeout, "of the program's own", "The program that embeds", "that program"),
    (CloseKind::LifetimeReached, "", "--max-lifetime", "--max-lifetime"),
    (CloseKind::AuthenticationFailed, "the token has expired", "while it was connected", "--expires-in"),
    (CloseKind::BadRequest, "", "The program that embeds", "that program"),
    (CloseKind::Disconnected, "spam", "An operator", "/v1/disconnect"),
    (CloseKind::Replaced, "", "newer connection", "--single-by device"),
    (CloseKind::Application(4000), "bye", "a code of their own", "do not come back"),
    (CloseKind::Application(4100), "bye", "a code of their own", "after a while"),
    (CloseKind::Application(4200), "bye", "a code of their own", "at once"),
];

/// Why somebody does not come in, likewise.
const REFUSALS: &[(CloseKind, &str, &str, &str)] = &[
    (CloseKind::AuthenticationFailed, "a token is needed", "no token", "heartwire token --for"),
    (CloseKind::AuthenticationFailed, "the token has expired", "before it came", "--expires-in"),
    (CloseKind::AuthenticationFailed, "the authentication has expired", "before it came", "clocks"),
    (CloseKind::AuthenticationFailed, "the token is not known", "token file", "--token-file"),
    (CloseKind::AuthenticationFailed, "the signature of the token is wrong", "another key", "--jwt-key-file"),
    (CloseKind::AuthenticationFailed, "the token must be signed with HS256", "algorithm", "--jwt-algorithm"),
    (CloseKind::AuthenticationFailed, "the token is not valid yet", "later time", "clocks"),
    (CloseKind::AuthenticationFailed, "the token is meant for another audience", "another service", "--jwt-audience"),
    (CloseKind::AuthenticationFailed, "the token is from another issuer", "somebody else", "--jwt-issuer"),
    (CloseKind::AuthenticationFailed, "the token is another account's than user_id", "another account", "user_id"),
    (CloseKind::AuthenticationFailed, "the token is another account's", "another account", "user_id"),
    (CloseKind::AuthenticationFailed, "not authenticated", "401", "back end's log"),
    (CloseKind::AuthenticationFailed, "not permitted", "403", "back end's log"),
    (CloseKind::AuthenticationFailed, "banned", "could not prove", "--auth"),
    (CloseKind::Internal, "authentication failed on the server's side", "panicked", "log"),
    (CloseKind::RateLimit, "too many attempts of this address have failed", "attempts", "--auth-failures-burst"),
    (CloseKind::RateLimit, "too many lines for 5 s", "without ever saying hello", "--rate and --burst"),
    (CloseKind::ConnectionLimit, "this address has as many connections as it may have", "address", "--trusted-proxy"),
    (
        CloseKind::ConnectionLimit,
        "this address has 256 connections, the most it may have",
        "256 connections",
        "--max-per-address (256 now)",
    ),
    (
        CloseKind::ConnectionLimit,
        "this account has 16 connections, the most it may have",
        "16 connections",
        "--max-per-account (16 now)",
    ),
    (CloseKind::ConnectionLimit, "this account is connected already", "--single refuse", "--single replace"),
    (CloseKind::ConnectionLimit, "this device of the account is connected already", "--single refuse", "--single-by"),
    (CloseKind::OverCapacity, "as many connections as there may be", "full", "--max-connections"),
    (CloseKind::OverCapacity, "as many handshakes in progress as there may be", "connecting", "--handshake-deadline"),
    (CloseKind::OverCapacity, "as many handshakes in progress as one address may have", "address", "--max-per-address"),
    (CloseKind::OverCapacity, "no thread for it: Resource temporarily unavailable", "no thread", "TasksMax"),
    (CloseKind::OverCapacity, "the server has no thread left", "no thread", "--max-connections"),
    (CloseKind::OverCapacity, "the server is stopping", "about to stop", "come back"),
    (CloseKind::OverCapacity, "the server is overloaded", "did not keep up", "--rate"),
    (CloseKind::OverCapacity, "authentication took too long", "longer than the handshake", "--auth-timeout"),
    (CloseKind::OverCapacity, "who you are cannot be found out at the moment", "back end", "--auth-concurrency"),
    (CloseKind::OverCapacity, "come back on Monday", "The program that embeds", "that program"),
    (CloseKind::GoingAway, "the server is stopping", "about to stop", "come back"),
    (CloseKind::TooSlow, "the request took too long", "not complete", "--handshake-deadline"),
    (CloseKind::TooSlow, "nothing came within 5s", "nothing for 5s", "--tcp-first-byte"),
    (CloseKind::TooSlow, "no hello came in time", "hello", "--handshake-deadline"),
    (CloseKind::TooSlow, "no PROXY header came", "PROXY", "--proxy-protocol"),
    (CloseKind::BadRequest, "the parameter user_id is missing", "which account", "user_id"),
    (CloseKind::BadRequest, "there is nothing here; the WebSocket is at /ws", "path", "--ginchat-path"),
    (
        CloseKind::BadRequest,
        "this is a WebSocket endpoint: upgrade with Sec-WebSocket-Version 13",
        "did not ask for a WebSocket",
        "/readyz",
    ),
    (CloseKind::BadRequest, "a WebSocket needs HTTP/1.1", "HTTP/1.0", "proxy_http_version 1.1"),
    (CloseKind::BadRequest, "a request head has at most 8192 bytes and 64 headers", "cookies", "fewer cookies"),
    (CloseKind::BadRequest, "PROXY header: a wrong signature", "PROXY", "--proxy-protocol"),
    (CloseKind::BadRequest, "this port speaks lines of JSON, not HTTP or TLS", "raw TCP", "--listen"),
    (CloseKind::BadRequest, "refuse must be http or close", "no sense", "docs/protocol.md"),
    (CloseKind::Policy, "pages of this Origin may not connect", "web page", "--origin"),
    (CloseKind::Policy, "this server does not know itself by that Host", "host name", "--host"),
    (CloseKind::SlowConsumer, "", "The program that embeds", "that program"),
];

#[track_caller]
fn assert_says(explanation: &Explanation, cause: &str, remedy: &str) {
    assert!(explanation.cause.contains(cause), "{explanation:#?} must name {cause:?}");
    assert!(explanation.remedy.contains(remedy), "{explanation:#?} must name {remedy:?}");
    for text in [&explanation.cause, &explanation.remedy] {
        assert!(text.ends_with('.') && !text.contains("{}") && !text.contains("  "), "{text}");
    }
}

#[test]
fn every_end_is_understood_by_its_kind_and_its_words() {
    for (kind, detail, cause, remedy) in ENDS {
        assert_says(&ended(*kind, detail).explain(), cause, remedy);
    }
    for (kind, detail, cause, remedy) in REFUSALS {
        assert_says(&refused(*kind, detail).explain(), cause, remedy);
    }
}

#[test]
fn no_kind_and_no_meaning_is_left_out() {
    for kind in kinds() {
        let tested = ENDS.iter().any(|(tested, ..)| tested.name() == kind.name());
        assert!(tested || kind == CloseKind::PeerGone, "{kind:?} is not in the table of ends");
    }
    for (meanings, tested) in [(closed::MEANINGS, ENDS), (refused::MEANINGS, REFUSALS)] {
        for wanted in meanings {
            let by = tested.iter().filter(|(kind, detail, ..)| {
                let reason = CloseReason::new(*kind, *detail);
                let text = reason.wire_text();
                let first = meanings.iter().find(|meaning| meaning.kind == *kind && text.contains(meaning.words));
                first.is_some_and(|first| std::ptr::eq(first, wanted))
            });
            assert_ne!(by.count(), 0, "nothing is understood by {:?} with {:?}", wanted.kind, wanted.words);
        }
    }
}

/// Words that the WebSocket library writes, or the text of a reason itself, and no source of this crate.
const OF_OTHERS: [&str; 3] = ["Reserved bits", "too long: ", ": "];

#[test]
fn the_words_that_are_looked_for_are_written_somewhere() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = String::new();
    read_all(&folder, &mut sources);
    for meaning in closed::MEANINGS.iter().chain(refused::MEANINGS) {
        let is_written = sources.contains(meaning.words) || OF_OTHERS.contains(&meaning.words);
        assert!(is_written, "nobody writes {:?}", meaning.words);
    }
    let library = [
        tungstenite::error::ProtocolError::NonZeroReservedBits.to_string(),
        tungstenite::error::CapacityError::MessageTooLong { size: 2, max_size: 1 }.to_string(),
    ];
    assert!(library[0].contains(OF_OTHERS[0]) && library[1].ends_with("too long: 2 > 1"), "{library:?}");
}

/// All sources but those that explain.
fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("explain") {
            read_all(&path, into);
        } else if path.is_file() && !path.ends_with("explain.rs") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// A connection that was silent for 61.2 s, changed.
fn silent(change: impl FnOnce(&mut ClosedConnection)) -> Explanation {
    let mut closed = ended(CloseKind::HeartbeatTimeout, "heard nothing for 61.2 s; 2 pings unanswered");
    closed.statistics.last_heard = Duration::from_secs(63);
    closed.statistics.pings_sent = 2;
    change(&mut closed);
    closed.explain()
}

fn answering(closed: &mut ClosedConnection) {
    let did = &mut closed.statistics;
    (did.pings_sent, did.pings_answered) = (9, 7);
    (did.median_round_trip, did.max_round_trip) = (Some(Duration::from_millis(40)), Some(Duration::from_millis(90)));
}

#[test]
fn a_silence_is_told_from_other_silences() {
    let figures = "silent for 61.2 s, and its deadline was 60 s; 2 pings went unanswered";
    assert_says(&silent(|_| {}), figures, "read all the time");
    assert_says(&silent(|_| {}), "sent 12 messages and never answered a ping", "--heartbeat-timeout (60 s now)");
    let path_gone = silent(answering);
    assert_says(&path_gone, "answered 7 pings before", "--heartbeat-interval (25 s now)");
    assert_says(&path_gone, "median round trip was 40 ms", "--heartbeat-timeout (60 s now)");
    let hidden = silent(|closed| {
        answering(closed);
        closed.background = Some(true);
    });
    assert_says(&hidden, "in the background", "comes back with the page");
    assert!(!silent(|closed| closed.background = Some(false)).cause.contains("background"));
    let slow = silent(|closed| {
        answering(closed);
        closed.statistics.max_round_trip = Some(Duration::from_secs(20));
    });
    assert_says(&slow, "a ping had taken 20 s", "more time: raise --heartbeat-timeout");
    assert_says(&silent(lines), "on raw TCP that is a line", "answer each ping line");
    let held_up = silent(|closed| {
        closed.reason = CloseReason::new(CloseKind::HeartbeatTimeout, "heard nothing for 61.2 s; 0 pings unanswered");
    });
    assert_says(&held_up, "held up", "handler");
    let promised = silent(|closed| {
        closed.heartbeat = HeartbeatTimes { interval: Duration::from_secs(33), timeout: Duration::from_secs(45) };
    });
    assert_says(&promised, "45 s by its own promise", "next_ms in a heartbeat");
    assert!(!promised.remedy.contains("--heartbeat-timeout"), "{}", promised.remedy);
}

#[test]
fn to_whom_a_promise_holds_no_interval_of_the_server_does() {
    let promising = |kind, detail, seconds: u64| {
        let mut closed = ended(kind, detail);
        answering(&mut closed);
        closed.heartbeat =
            HeartbeatTimes { interval: Duration::from_secs(seconds * 11), timeout: Duration::from_secs(seconds * 15) };
        closed.statistics.last_heard = closed.heartbeat.timeout;
        closed.explain()
    };
    for (kind, detail) in [
        (CloseKind::HeartbeatTimeout, "heard nothing for 45.0 s; 1 ping unanswered"),
        (CloseKind::HeartbeatTimeout, "heard no heartbeat for 45.0 s; 1 ping unanswered"),
        (CloseKind::PeerGone, ""),
    ] {
        let [three, four] = [3, 4].map(|seconds| promising(kind, detail, seconds));
        assert_says(&three, "", "promise a shorter time");
        assert!(!three.remedy.contains("--heartbeat-interval"), "{}", three.remedy);
        assert_eq!(three.remedy, four.remedy, "so that a summary counts them together");
    }
}

#[test]
fn whoever_only_chats_is_not_silent() {
    let detail = "heard no heartbeat for 60.1 s; 1 ping unanswered";
    let mut chatting = ended(CloseKind::HeartbeatTimeout, detail);
    chatting.statistics.last_heard = Duration::from_millis(300);
    assert_says(&chatting.explain(), "went on sending, but no heartbeat came for 60.1 s", "--liveness any");
    chatting.statistics.last_heard = Duration::from_secs(61);
    assert_says(&chatting.explain(), "It was silent for 60.1 s, and its deadline was 60 s; 1 ping went", "every 25 s");
}

fn lines(closed: &mut ClosedConnection) {
    let info = ConnectionInfo { dialect: Dialect::Tcp, ..(*closed.info).clone() };
    closed.info = info.into();
}

#[test]
fn what_breaks_off_is_told_by_when_it_does() {
    let gone = |change: fn(&mut ClosedConnection)| {
        let mut closed = ended(CloseKind::PeerGone, "");
        change(&mut closed);
        closed.explain()
    };
    assert_says(&gone(|_| {}), "killed", "1000");
    let at_once: fn(&mut ClosedConnection) = |closed| {
        closed.statistics = Statistics { duration: Duration::from_millis(40), ..Statistics::default() };
    };
    assert_says(&gone(at_once), "40 ms after it had opened", "/readyz");
    let after_silence: fn(&mut ClosedConnection) = |closed| {
        (closed.statistics.last_heard, closed.statistics.pings_sent) = (Duration::from_secs(50), 1);
    };
    assert_says(&gone(after_silence), "50 s of silence, in which 1 ping went", "--heartbeat-interval (25 s now)");
    let late_before: fn(&mut ClosedConnection) = |closed| {
        (closed.statistics.last_heard, closed.statistics.pings_sent) = (Duration::from_secs(50), 30);
    };
    assert_says(&gone(late_before), "50 s of silence, in which 2 pings went", "--heartbeat-interval");
    assert_says(&gone(lines), "ended its TCP connection", "Nothing");
    assert_says(&gone(|closed| closed.background = Some(true)), "in the background", "Nothing");
}

#[test]
fn a_slow_consumer_is_told_in_numbers() {
    let mut slow = ended(CloseKind::SlowConsumer, "2000 bytes in 2 messages waited");
    (slow.statistics.queue_high_water_bytes, slow.statistics.bytes_sent) = (2_000, 1);
    assert_says(&slow.explain(), "At most 2000 bytes waited for it; it had taken 1 byte in 90 s.", "--queue-bytes");
}

#[test]
fn what_a_peer_wrote_explains_nothing() {
    for kind in [CloseKind::PeerClosed(1000), CloseKind::PeerClosed(4000)] {
        assert_eq!(ended(kind, "too many messages; --nonsense").explain(), ended(kind, "").explain());
    }
}

#[test]
fn times_are_told_as_one_would_say_them() {
    let said = |ms| spoken(Duration::from_millis(ms));
    assert_eq!([0, 999, 1_000, 61_240].map(said), ["less than 1 ms", "999 ms", "1 s", "61.2 s"]);
    assert_eq!([60_000, 119_999, 120_000, 7_200_000].map(said), ["60 s", "120 s", "2 min", "2 h"]);
}
