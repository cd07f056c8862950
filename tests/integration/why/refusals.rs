//! Attempts that are refused, each for another reason.

use super::{ALICE, ALL, Scene, Stage};
use crate::support::{dial, exchange};
use std::io::{Read, Write};
use std::net::TcpStream;

pub(super) const SCENES: &[Scene] = &[
    scene("authentication_failed", TOKENS, ALICE, wrong_token, "none of those in the token file", "--token-file"),
    scene("authentication_failed", TOKENS, ALICE, |stage| asks(stage, ""), "brought no token", "heartwire token --for"),
    scene(
        "authentication_failed",
        "--auth jwt --jwt-key-file Cargo.toml",
        ALICE,
        |stage| asks(stage, "&token=a.b"),
        "could not prove who it is",
        "--auth",
    ),
    scene(
        "rate_limit",
        "--auth token-file --token-file /dev/null --auth-failures 1 --auth-failures-burst 1",
        ALICE,
        wrong_tokens,
        "So many attempts from its address",
        "--auth-failures-burst",
    ),
    scene(
        "connection_limit",
        "--max-per-account 1",
        ALICE,
        twice,
        "1 connections already",
        "--max-per-account (1 now)",
    ),
    scene(
        "connection_limit",
        "--max-per-address 1",
        ALICE,
        twice,
        "1 connections already",
        "--max-per-address (1 now)",
    ),
    scene("connection_limit", "--single refuse", ALICE, twice, "It is connected already", "--single replace"),
    scene("over_capacity", "--max-connections 1", ALL, crowd, "The server was full", "--max-connections"),
    scene(
        "over_capacity",
        "--auth http --auth-url http://127.0.0.1:1/",
        ALICE,
        |stage| asks(stage, "&token=a"),
        "did not answer, or not as it should",
        "--auth-timeout",
    ),
    scene("too_slow", "--handshake-deadline 100ms", ALL, dawdles, "not complete in time", "--handshake-deadline"),
    scene("bad_request", "", ALL, nameless, "does not say which account", "add user_id"),
    scene("bad_request", "", ALICE, |stage| asks(stage, "&heartbeat_ms=0"), "made no sense", "docs/protocol.md"),
    scene("bad_request", "", ALICE, plain, "did not ask for a WebSocket", "/readyz"),
    scene(
        "bad_request",
        "",
        ALL,
        |stage| answered(&stage.ask("/nowhere", "")),
        "at which there is nothing",
        "--ginchat-path",
    ),
    scene("bad_request", "", ALICE, old, "by HTTP/1.0", "proxy_http_version 1.1"),
    scene("bad_request", "", ALL, cookies, "because of cookies", "fewer cookies"),
    scene("policy", "", ALICE, foreign_page, "A web page wanted to connect", "--origin"),
    scene("policy", "", ALICE, foreign_name, "does not know itself", "--host"),
];

const TOKENS: &str = "--auth token-file --token-file /dev/null";
const REQUEST: &str = "GET /ws?user_id=alice HTTP/1.1\r\nHost: 127.0.0.1\r\n";

const fn scene(
    reason: &'static str,
    flags: &'static str,
    of: &'static [&'static str],
    act: fn(&Stage) -> Vec<TcpStream>,
    cause: &'static str,
    remedy: &'static str,
) -> Scene {
    Scene { reason, flags, act, of, cause, remedy }
}

/// It must have been a refusal.
fn answered(response: &str) -> Vec<TcpStream> {
    assert!(response.starts_with("HTTP/1.1 4") || response.starts_with("HTTP/1.1 5"), "{response}");
    Vec::new()
}

/// Asks as alice, with more in the query.
fn asks(stage: &Stage, query: &str) -> Vec<TcpStream> {
    answered(&stage.ask(&format!("/ws?user_id=alice{query}"), ""))
}

fn wrong_token(stage: &Stage) -> Vec<TcpStream> {
    asks(stage, "&token=wrong")
}

fn wrong_tokens(stage: &Stage) -> Vec<TcpStream> {
    (0..3).flat_map(|_| wrong_token(stage)).collect()
}

fn twice(stage: &Stage) -> Vec<TcpStream> {
    let alice = stage.alice();
    asks(stage, "");
    vec![alice.stream]
}

fn crowd(stage: &Stage) -> Vec<TcpStream> {
    let first = stage.enter("bob");
    asks(stage, "");
    vec![first.stream]
}

fn dawdles(stage: &Stage) -> Vec<TcpStream> {
    let mut stream = dial(stage.address);
    stream.write_all(REQUEST.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    answered(&response)
}

fn nameless(stage: &Stage) -> Vec<TcpStream> {
    answered(&stage.ask("/ws", ""))
}

fn plain(stage: &Stage) -> Vec<TcpStream> {
    answered(&exchange(stage.address, format!("{REQUEST}\r\n")))
}

fn old(stage: &Stage) -> Vec<TcpStream> {
    let request = crate::support::upgrade_request("/ws?user_id=alice", "");
    answered(&exchange(stage.address, request.replace("HTTP/1.1", "HTTP/1.0")))
}

fn cookies(stage: &Stage) -> Vec<TcpStream> {
    answered(&stage.ask("/ws?user_id=alice", &format!("Cookie: a={}\r\n", "x".repeat(9_000))))
}

fn foreign_page(stage: &Stage) -> Vec<TcpStream> {
    answered(&stage.ask("/ws?user_id=alice", "Origin: https://elsewhere.example\r\n"))
}

fn foreign_name(stage: &Stage) -> Vec<TcpStream> {
    let request = crate::support::upgrade_request("/ws?user_id=alice", "");
    answered(&exchange(stage.address, request.replace("Host: 127.0.0.1", "Host: elsewhere.example")))
}
