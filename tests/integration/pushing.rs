//! A back end that pushes as fast as it can: nothing lost, nothing doubled, and what it costs the clients who talk.
//! Reduced here; the full size: `cargo test --release --test integration -- --ignored --nocapture --test-threads 1 pushing`.
#![allow(clippy::print_stdout)]

use crate::support::{Client, address, configured, post, serve};
use heartwire::Server;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, scope};
use std::time::{Duration, Instant};

/// Who sends requests at the same time.
const PUSHERS: u64 = 16;
/// Between the messages by which the relay is measured.
const PAUSE: Duration = Duration::from_millis(4);

#[test]
fn a_push_to_all_and_many_to_one_reach_each_connection_once() {
    push(50, 100, Duration::from_secs(2));
}

#[test]
#[ignore = "full size: 3,000 connections, 2,000 pushes a second for 10 s"]
fn full_size_pushes_reach_each_connection_once_and_the_relay_goes_on() {
    let mut ratios: Vec<f64> = (0..3).map(|_| push(1_000, 2_000, Duration::from_secs(10))).collect();
    ratios.sort_by(f64::total_cmp);
    println!("p99 of the relay, with the pushes to without, median of three rounds: {:.2} times", ratios[1]);
}

/// `accounts` with three connections each: one push to all, then so many a second to single accounts, each by a
/// connection of its own. Says how many times as long the slowest percent of others' messages takes meanwhile.
fn push(accounts: u64, per_second: u64, stretch: Duration) -> f64 {
    let server = serve(configured(|config| {
        config.admin.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        (config.max_per_address, config.message_rate) = (None, None);
    }));
    let admin = server.local_admin_addrs()[0];
    let mut clients: Vec<(u64, Client)> = Vec::new();
    for n in 0..3 * accounts {
        clients.push((n % accounts, Client::connect(&server, &format!("a{}", n % accounts))));
    }
    let without = latencies(&server, stretch / 2, || thread::sleep(stretch / 2));
    let reached = post(admin, "/v1/push", &json!({ "all": true, "message": { "type": "notice", "content": "all" } }));
    // Those who measure are gone by then, or were reached too.
    assert!(reached["connections"].as_u64().unwrap() >= 3 * accounts, "{reached}");
    println!("a push to all reached {} connections of {} accounts", reached["connections"], reached["accounts"]);

    let pushes = per_second * stretch.as_secs();
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let with = latencies(&server, stretch, || {
        scope(|scope| {
            for _ in 0..PUSHERS {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= pushes {
                            return;
                        }
                        let due = started + Duration::from_secs_f64(n as f64 / per_second as f64);
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        let to = format!("a{}", n % accounts);
                        let message = json!({ "type": "order", "content": n });
                        let reached = post(admin, "/v1/push", &json!({ "accounts": [to], "message": message }));
                        assert_eq!(reached, json!({ "accounts": 1, "connections": 3, "missing": [] }));
                    }
                });
            }
        });
    });
    let took = started.elapsed().as_secs_f64();
    println!("{pushes} pushes in {took:.1} s, {:.0} a second, a connection each", pushes as f64 / took);
    for (account, client) in &mut clients {
        let expected: BTreeMap<u64, usize> = (*account..pushes).step_by(accounts as usize).map(|n| (n, 1)).collect();
        assert_eq!(client.json(), json!({ "type": "notice", "content": "all" }));
        client.send(&json!({ "type": "heartbeat" }));
        let mut got: BTreeMap<u64, usize> = BTreeMap::new();
        loop {
            let frame = client.json();
            if frame["type"] == "heartbeat" {
                break;
            }
            *got.entry(frame["content"].as_u64().unwrap()).or_default() += 1;
        }
        assert_eq!(got, expected, "of account {account}");
    }
    println!("each of {} connections received each of its pushes once", clients.len());
    let p99 = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() * 99 / 100]
    };
    let (without, with) = (p99(without), p99(with));
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!("relay between two clients, p99: {without:.1?} without, {with:.1?} with the pushes: {ratio:.2} times");
    ratio
}

/// How long messages took from one client to another while `body` ran; with a pause after each.
fn latencies(server: &Server, expected: Duration, body: impl FnOnce()) -> Vec<Duration> {
    let mut alice = Client::open(address(server), "/ws?user_id=alice", "");
    let mut bob = Client::open(address(server), "/ws?user_id=bob", "");
    assert_eq!((&alice.json()["type"], &bob.json()["type"]), (&json!("register"), &json!("register")));
    let over = AtomicBool::new(false);
    scope(|scope| {
        let measuring = scope.spawn(|| {
            let mut times = Vec::with_capacity((expected.as_nanos() / PAUSE.as_nanos()) as usize);
            while !over.load(Ordering::Relaxed) {
                let sent = Instant::now();
                alice.send(&json!({ "type": "message", "to": ["bob"], "content": times.len() }));
                while bob.json()["type"] != "message" {}
                times.push(sent.elapsed());
                thread::sleep(PAUSE);
            }
            times
        });
        body();
        over.store(true, Ordering::Relaxed);
        measuring.join().unwrap()
    })
}
