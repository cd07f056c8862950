//! A stop in the middle of everything: who waits for something gets it, everybody is told, nothing is left.

use crate::peer::{Addresses, Form, Heard, Peer};
use crate::scene::handshake_threads;
use crate::suite::{Figures, Row, Size};
use crate::support::{PATIENCE, account, address, configured, dial, eventually, serve, upgrade_request};
use crate::vitals::Vitals;
use heartwire::{Config, Push, Server};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[Row { name: "shutdown", threat: "shutdown", run: shutdown }];

/// What waits for each slow reader: so many pieces of so many bytes, more than the kernel takes.
const PIECES: usize = 200;
const PIECE_BYTES: usize = 32 << 10;

/// In this process, so that a second and a third server can show that the first has left nothing behind. There can be
/// no honest clients beside a stop: they would be told to go, too.
fn shutdown(size: Size) -> Figures {
    let (count, rounds) = size.of((100, 2), (1_000, 3));
    let before = Vitals::of(std::process::id());
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        longest = longest.max(one_stop(count));
        eventually("threads and descriptors are back", || {
            let now = Vitals::of(std::process::id());
            now.threads <= before.threads && now.descriptors <= before.descriptors
        });
    }
    let (threads, longest) = (before.threads, longest.as_secs_f64());
    Figures::default()
        .with(&format!(
            "{rounds} times {count} clients told 1001, the queues of 10 slow ones flushed, within {longest:.1} s"
        ))
        .with(&format!("{threads} threads and {} descriptors before and after", before.descriptors))
}

/// Clients of all forms, half-open handshakes and slow readers; returns how long the stop took.
fn one_stop(count: usize) -> Duration {
    let server = serve(configured(|config: &mut Config| {
        config.tcp_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        (config.max_per_address, config.accepts_per_second) = (None, None);
        (config.queue_bytes, config.write_deadline) = (64 << 20, 2 * PATIENCE);
    }));
    let http = address(&server);
    let addresses = Addresses { http, lines: server.local_tcp_addrs()[0], admin: http };
    let mut quick: Vec<Peer> = (0..count).map(|n| Peer::open(addresses, Form::of(n), n as u64 + 1)).collect();
    let mut slow: Vec<Peer> = (0..10).map(|n| Peer::open(addresses, Form::Native, 1_000_000 + n)).collect();
    let registered = || server.handle().counts().unwrap().connections;
    eventually("all are connected", || registered() == count + slow.len());
    fill_queues(&server, slow.len());
    // Last, for they have a deadline.
    let mut halves: Vec<TcpStream> = (0..20).map(|_| half_a_handshake(http)).collect();
    eventually("each handshake has begun", || handshake_threads(std::process::id()) >= halves.len());

    let begun = Instant::now();
    let took = scope(|scope| {
        let stopping = scope.spawn(|| {
            server.shutdown(PATIENCE).unwrap();
            begun.elapsed()
        });
        let told = farewell(&mut quick);
        assert!(told.iter().all(|(messages, _)| *messages == 0));
        let flushed = farewell(&mut slow);
        assert!(flushed.iter().all(|(messages, _)| *messages == PIECES), "{flushed:?}");
        for (_, words) in told.iter().chain(&flushed) {
            // As a Close frame has it, and as a line has it.
            assert!(["[3, 233]", r#""code":1001"#].iter().any(|code| words.contains(code)), "{words}");
        }
        stopping.join().unwrap()
    });
    for half in &mut halves {
        let mut response = String::new();
        half.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    }
    took
}

fn half_a_handshake(address: SocketAddr) -> TcpStream {
    let mut stream = dial(address);
    let request = upgrade_request("/ws?user_id=late", "");
    stream.write_all(&request.as_bytes()[..request.len() / 2]).unwrap();
    stream
}

/// Nobody reads yet.
fn fill_queues(server: &Server, slow: usize) {
    let content = json!({ "body": "x".repeat(PIECE_BYTES) });
    let push = Push::new("notice", &content).unwrap();
    for _ in 0..PIECES {
        for n in 0..slow {
            let account = account(&(1_000_000 + n).to_string());
            assert_eq!(server.handle().send(account, &push).unwrap().connections, 1);
        }
    }
    assert!(server.handle().counts().unwrap().queued_bytes > 0, "some of it waits");
}

/// Reads until the server has ended every connection: how many messages each got, and how it was told.
fn farewell(peers: &mut [Peer]) -> Vec<(usize, String)> {
    let mut told = vec![(0, String::new()); peers.len()];
    let mut left: Vec<usize> = (0..peers.len()).collect();
    let begun = Instant::now();
    while !left.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{} connections do not end: {told:?}", left.len());
        left.retain(|place| {
            let (messages, words) = &mut told[*place];
            let mut has_ended = false;
            for heard in peers[*place].hear() {
                match heard {
                    Heard::Message { .. } => *messages += 1,
                    Heard::Close(why) => {
                        *words = why;
                        peers[*place].close();
                    }
                    Heard::End => has_ended = true,
                    _ => {}
                }
            }
            !has_ended
        });
        sleep(Duration::from_millis(1));
    }
    told
}
