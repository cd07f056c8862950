//! Connections that come in, and each end for another reason.

use super::{ALICE, Scene, Stage};
use crate::process::heartwire;
use crate::raw::{self, FIN, PING, PONG, Peer, TEXT};
use serde_json::json;
use std::net::TcpStream;
use std::time::Duration;

pub(super) const SCENES: &[Scene] = &[
    scene("peer_closed", "", |stage| says(stage, raw::close(1001)), "its tab was closed", "Nothing"),
    scene("peer_gone", "", leaves_at_once, "without a word: a health check", "/readyz"),
    scene("peer_gone", "", leaves_after_a_word, "its program was killed", "the code 1000"),
    scene("normal", "", |stage| sent_away(stage, 1000), "was done with it", "Nothing"),
    scene("going_away", "", |stage| sent_away(stage, 1001), "sent it away", "come back by themselves"),
    scene("protocol_error", "", |stage| says(stage, [FIN | TEXT, 0]), "framing rules", "WebSocket library"),
    scene(
        "protocol_error",
        "",
        |stage| says(stage, raw::frame(0x40 | FIN | TEXT, b"")),
        "compresses",
        "permessage-deflate",
    ),
    scene("invalid_utf8", "", |stage| says(stage, raw::frame(FIN | TEXT, b"\xff")), "not UTF-8", "UTF-8"),
    scene("policy", "--max-fragments 2", fragments, "more than 2 frames", "--max-fragments (2 now)"),
    scene("too_big", "--max-message-bytes 1000", too_much, "more than 1000 bytes", "--max-message-bytes (1000 now)"),
    scene("slow_consumer", "--queue-bytes 1000", does_not_read, "did not read as fast as", "--queue-bytes or"),
    scene(
        "slow_consumer",
        "--queue-bytes 256MiB --write-deadline 100ms",
        does_not_read,
        "not sent to its end within 100ms",
        "--write-deadline (100ms now)",
    ),
    scene("rate_limit", "--control-rate 1 --control-burst 1", pings, "pings far too often", "--control-burst"),
    scene("rate_limit", "--rate 1 --burst 1", floods, "for 5 s on end", "--rate and --burst"),
    scene(
        "too_slow",
        "--assembly-deadline 100ms",
        |stage| says(stage, raw::header(FIN | TEXT, 9)),
        "not complete after 100ms",
        "--assembly-deadline (100ms now)",
    ),
    scene(
        "heartbeat_timeout",
        "--heartbeat-timeout 300ms --heartbeat-interval 100ms",
        |stage| says(stage, ""),
        "never answered a ping",
        "--heartbeat-timeout (300 ms now)",
    ),
    scene(
        "heartbeat_timeout",
        "--heartbeat-timeout 2s --heartbeat-interval 100ms",
        answers_once,
        "the way to it, or the device, that went away",
        "--heartbeat-interval (100 ms now)",
    ),
    scene(
        "heartbeat_timeout",
        "--heartbeat-timeout 300ms --heartbeat-interval 100ms",
        |stage| says(stage, raw::text(&json!({ "type": "heartbeat", "background": true }))),
        "Its page was in the background",
        "Nothing, if it comes back with the page",
    ),
    scene(
        "heartbeat_timeout",
        "--heartbeat-timeout 2s --heartbeat-interval 1s --liveness heartbeat",
        chats,
        "It went on sending, but no heartbeat",
        "--liveness any",
    ),
    scene(
        "heartbeat_timeout",
        "--negotiable-timeout 100ms..1h",
        |stage| says(stage, raw::text(&json!({ "type": "heartbeat", "next_ms": 200 }))),
        "300 ms by its own promise",
        "--negotiable-timeout",
    ),
    scene("lifetime_reached", "--max-lifetime 100ms", |stage| says(stage, ""), "as old as", "--max-lifetime"),
    scene(
        "authentication_failed",
        "--auth jwt --jwt-key-file Cargo.toml",
        expires,
        "expired while it was connected",
        "token frame",
    ),
    scene("disconnected", "", |stage| sent_away(stage, 4503), "An operator", "POST /v1/disconnect"),
    scene("replaced", "--single replace", comes_twice, "opened a newer connection", "--single-by device"),
];

const fn scene(
    reason: &'static str,
    flags: &'static str,
    act: fn(&Stage) -> Vec<TcpStream>,
    cause: &'static str,
    remedy: &'static str,
) -> Scene {
    Scene { reason, flags, act, of: ALICE, cause, remedy }
}

/// Says this and waits for the server's Close.
fn says(stage: &Stage, bytes: impl AsRef<[u8]>) -> Vec<TcpStream> {
    let mut alice = stage.alice();
    alice.send(bytes);
    alice.ending();
    Vec::new()
}

fn leaves_at_once(stage: &Stage) -> Vec<TcpStream> {
    drop(stage.alice());
    Vec::new()
}

fn leaves_after_a_word(stage: &Stage) -> Vec<TcpStream> {
    let mut alice = stage.alice();
    alice.send(raw::text(&json!({ "type": "heartbeat" })));
    assert_eq!(alice.json()["type"], "heartbeat");
    Vec::new()
}

fn sent_away(stage: &Stage, code: u16) -> Vec<TcpStream> {
    let mut alice = stage.alice();
    stage.post("/v1/disconnect", &json!({ "account": "alice", "code": code, "reason": "for a reason" }));
    assert_eq!(alice.ending().code, code);
    Vec::new()
}

fn fragments(stage: &Stage) -> Vec<TcpStream> {
    says(stage, [raw::frame(TEXT, b""), raw::frame(0, b""), raw::frame(0, b"")].concat())
}

fn too_much(stage: &Stage) -> Vec<TcpStream> {
    says(stage, raw::header(FIN | TEXT, 1_001))
}

/// Takes nothing of what is pushed until it is cut.
fn does_not_read(stage: &Stage) -> Vec<TcpStream> {
    let alice = stage.alice();
    while stage.push() == 1 {}
    vec![alice.stream]
}

fn pings(stage: &Stage) -> Vec<TcpStream> {
    says(stage, raw::frame(FIN | PING, b"").repeat(5))
}

fn floods(stage: &Stage) -> Vec<TcpStream> {
    let beat = raw::text(&json!({ "type": "heartbeat" }));
    stage.alice().sending(std::iter::repeat(beat), Duration::from_millis(20), Peer::ending);
    Vec::new()
}

fn answers_once(stage: &Stage) -> Vec<TcpStream> {
    let mut alice = stage.alice();
    let Some((PING, payload)) = alice.next() else { panic!("something else came before the first ping") };
    alice.send(raw::frame(FIN | PONG, &payload));
    alice.ending();
    Vec::new()
}

fn chats(stage: &Stage) -> Vec<TcpStream> {
    let chat = raw::text(&json!({ "type": "message", "to": ["bob"], "content": "hi" }));
    stage.alice().sending(std::iter::repeat(chat), Duration::from_millis(20), Peer::ending);
    Vec::new()
}

/// With a token that is valid for two seconds. The file of the secret may be any that is long enough.
fn expires(stage: &Stage) -> Vec<TcpStream> {
    let mut command = heartwire(&["token", "--for", "alice", "--expires-in", "2s", "--jwt-key-file", "Cargo.toml"]);
    let token = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let mut alice = stage.enter(&format!("alice&token={}", token.trim()));
    assert_eq!(alice.ending().code, 4500);
    Vec::new()
}

fn comes_twice(stage: &Stage) -> Vec<TcpStream> {
    let (mut first, second) = (stage.alice(), stage.alice());
    assert_eq!(first.ending().code, 4505);
    vec![second.stream]
}
