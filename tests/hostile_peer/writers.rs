//! Many threads that want to write to one connection, and many connections that want to write to all others.

use crate::crowd::{dial_from, enter, get, loopback};
use crate::honest::Honest;
use crate::raw::{self, FIN, PING, PONG, Peer, TEXT};
use crate::scene::Scene;
use crate::suite::{Figures, Row, Size};
use crate::support::{eventually, exchange};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[
    Row { name: "interleaved_writers", threat: "interleaved writers", run: interleaved_writers },
    Row { name: "deadlock", threat: "deadlock", run: deadlock },
];

const UNLIMITED: [&str; 10] = [
    "--rate",
    "0",
    "--control-rate",
    "0",
    "--deliveries-per-second",
    "0",
    "--delivered-bytes-per-second",
    "0",
    "--admin-listen",
    "127.0.0.1:0",
];

const WRITERS: usize = 10;
/// What one writer has on its way: so little that the reader's queue never overflows, so much that it is used.
const WINDOW: u64 = 90;
/// Each message is longer or shorter than the one before, up to this.
const LONGEST: u64 = 700;
const NAP: Duration = Duration::from_micros(200);
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Ten clients write to one that pings and beats besides, and does not read as fast: the router, the connection's own
/// thread and the flusher all write to its socket. Every frame must be whole, and in its place.
fn interleaved_writers(size: Size) -> Figures {
    let each: u64 = size.of(2_000, 100_000);
    let mut scene = Scene::serve(&UNLIMITED);
    let (address, admin) = (scene.address, scene.admin_address());
    let (honest, watch) = (Honest::begin(address), scene.watch());
    // Its kernel keeps little of what comes, so that the rest waits in the server, whoever is faster.
    let mut reader = enter(dial_from(loopback(1), address, Some(16 << 10)), "reader");
    let beats = reader.stream.try_clone().unwrap();
    let seen = Seen::default();
    scope(|scope| {
        scope.spawn(|| beat(&beats, &seen));
        for n in 0..WRITERS {
            let seen = &seen;
            scope.spawn(move || write(n, each, seen, address));
        }
        let _done = Until(&seen.done);
        seen.all(&mut reader, each);
    });
    let own = get(admin, "/v1/connections?search=reader")["connections"][0].clone();
    assert!(own["queue_high_water_bytes"].as_u64() > Some(0), "the flusher had nothing to do: {own}");
    let (strain, peace) = (watch.end(), honest.finish());
    scene.stop();
    let (messages, pongs, answers) = (each * WRITERS as u64, seen.pongs.load(Relaxed), seen.answers.load(Relaxed));
    Figures::default()
        .with(&format!(
            "{messages} messages, {pongs} pongs, {answers} answers to heartbeats on one connection: all whole, in order"
        ))
        .with(&format!("up to {} KiB waited", own["queue_high_water_bytes"].as_u64().unwrap() >> 10))
        .with(&strain)
        .with(&peace)
}

/// Ends what runs beside, also by a panic.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// What the reader has seen, by who wrote it.
#[derive(Default)]
struct Seen {
    messages: [AtomicU64; WRITERS],
    pongs: AtomicU64,
    answers: AtomicU64,
    done: AtomicBool,
}

impl Seen {
    /// Reads until everything of every writer was there; nothing may be missing, twice, or torn.
    fn all(&self, reader: &mut Peer, each: u64) {
        let (mut left, mut last_pong) = (each * WRITERS as u64, None);
        while left > 0 {
            match reader.next().expect("a frame") {
                (PONG, payload) => {
                    let n = u64::from_be_bytes(payload.try_into().expect("what a ping held"));
                    assert!(last_pong < Some(n), "{last_pong:?}, then {n}");
                    last_pong = Some(n);
                    self.pongs.fetch_add(1, Relaxed);
                }
                (TEXT, payload) => left -= self.text(&serde_json::from_slice(&payload).expect("JSON")),
                other => panic!("{other:?}"),
            }
        }
    }

    /// How many messages that was.
    fn text(&self, frame: &Value) -> u64 {
        if frame["type"] == "heartbeat" {
            self.answers.fetch_add(1, Relaxed);
            return 0;
        }
        let content = &frame["content"];
        let (writer, n) = (content["writer"].as_u64().unwrap() as usize, content["n"].as_u64().unwrap());
        assert_eq!((&frame["from"], n), (&json!(format!("writer{writer}")), self.messages[writer].load(Relaxed)));
        assert_eq!(content["text"], text(n));
        self.messages[writer].store(n + 1, Relaxed);
        1
    }
}

fn text(n: u64) -> String {
    char::from(b'a' + (n % 26) as u8).to_string().repeat((n * 37 % LONGEST) as usize)
}

fn write(writer: usize, each: u64, seen: &Seen, address: SocketAddr) {
    let mut peer = enter(dial_from(loopback(1), address, None), &format!("writer{writer}"));
    let frame =
        |n| json!({ "type": "message", "to": ["reader"], "content": { "writer": writer, "n": n, "text": text(n) } });
    let mut sent = 0;
    while sent < each && !seen.done.load(Relaxed) {
        let until = each.min(seen.messages[writer].load(Relaxed) + WINDOW);
        if sent == until {
            sleep(NAP);
            continue;
        }
        peer.send((sent..until).flat_map(|n| raw::text(&frame(n))).collect::<Vec<u8>>());
        sent = until;
    }
}

/// A ping and a heartbeat, as fast as heartbeats are answered.
fn beat(mut stream: &TcpStream, seen: &Seen) {
    for n in 0_u64.. {
        while seen.answers.load(Relaxed) + 10 < n {
            if seen.done.load(Relaxed) {
                return;
            }
            sleep(NAP);
        }
        let beat = [raw::frame(FIN | PING, &n.to_be_bytes()), raw::text(&json!({ "type": "heartbeat" }))];
        stream.write_all(&beat.concat()).unwrap();
    }
}

/// Everybody sends to all others, without end, and a quarter never reads; the router's inbox has the least room that there
/// is, each connection's queue room for one message. There are no honest clients: what keeps their messages in time is
/// off, so that the router always has more to do than it can. That it goes on is what counts here.
fn deadlock(size: Size) -> Figures {
    let (count, seconds) = size.of((30, 4), (200, 60));
    let mut scene =
        Scene::serve(&[&UNLIMITED[..], &["--queue-messages", "1", "--max-message-bytes", "16MiB"]].concat());
    let (address, admin) = (scene.address, scene.admin_address());
    let watch = scene.watch();
    let (received, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (slowest, came_back) = scope(|scope| {
        let crowd = scope.spawn(|| all_to_all(count, address, &received, &over));
        let until = Until(&over);
        // It may take a moment until all of them are there.
        eventually("somebody receives something", || received.load(Relaxed) > 0);
        let slowest = (0..seconds).map(|_| progress(&received, admin)).max().unwrap();
        drop(until);
        (slowest, crowd.join().unwrap())
    });
    let strain = watch.end();
    scene.stop();
    Figures::default()
        .with(&format!("{count} senders to all others for {seconds} s: {} MiB received", received.into_inner() >> 20))
        .with(&format!(
            "each second the router answered and somebody received more, after {:.0} ms at the latest; {came_back} were cut \
             and came back",
            slowest.as_secs_f64() * 1_000.0
        ))
        .with(&strain)
}

/// Takes at least a second; how much of it passed until the router answered and somebody had received something more.
/// Beside so much work a single answer may well come late, and is asked for again.
fn progress(received: &AtomicU64, admin: SocketAddr) -> Duration {
    let (before, begun) = (received.load(Relaxed), Instant::now());
    eventually("the router answers", || exchange(admin, HEALTH).starts_with("HTTP/1.1 200 "));
    eventually("somebody receives something again", || received.load(Relaxed) > before);
    let pause = begun.elapsed();
    assert!(pause < LONGEST_PAUSE, "{pause:?} without an answer of the router, or anything for anybody");
    sleep(Duration::from_secs(1).saturating_sub(pause));
    pause
}

/// One of many who send to all.
struct Sender {
    peer: Peer,
    /// What of its message is still to be written.
    rest: Vec<u8>,
}

/// Says how many were cut, and came back.
fn all_to_all(count: usize, address: SocketAddr, received: &AtomicU64, over: &AtomicBool) -> u64 {
    let all: Vec<String> = (0..count).map(|n| format!("s{n}")).collect();
    let message = raw::text(&json!({ "type": "message", "to": all, "content": "to all" }));
    let connect = |n: usize| {
        let peer = enter(dial_from(loopback(1), address, None), &all[n]);
        peer.stream.set_nonblocking(true).unwrap();
        Sender { peer, rest: Vec::new() }
    };
    let mut senders: Vec<Option<Sender>> = (0..count).map(|n| Some(connect(n))).collect();
    let (mut came_back, mut buffer) = (0, vec![0; 256 << 10]);
    let ((cut, lost), (back, returned)) = (channel(), channel());
    scope(|scope| {
        // Nobody else waits for those who come back.
        scope.spawn(|| lost.into_iter().for_each(|n| _ = back.send((n, connect(n)))));
        while !over.load(Relaxed) {
            for (n, place) in senders.iter_mut().enumerate() {
                let Some(sender) = place else { continue };
                if let Some(bytes) = sender.turn(&message, (n % 4 > 0).then_some(&mut buffer)) {
                    received.fetch_add(bytes, Relaxed);
                } else {
                    *place = None;
                    cut.send(n).unwrap();
                }
            }
            for (n, sender) in returned.try_iter() {
                senders[n] = Some(sender);
                came_back += 1;
            }
        }
        drop(cut);
    });
    came_back
}

impl Sender {
    /// Writes what goes, and reads what there is; `None` when it was cut.
    fn turn(&mut self, message: &[u8], buffer: Option<&mut Vec<u8>>) -> Option<u64> {
        if self.rest.is_empty() {
            self.rest = message.to_vec();
        }
        let written = at_once(self.peer.stream.write(&self.rest))?;
        self.rest.drain(..written);
        let read = match buffer {
            Some(buffer) => match self.peer.stream.read(buffer) {
                Ok(0) => return None,
                read => at_once(read)?,
            },
            None => 0,
        };
        Some(read as u64)
    }
}

/// How much went without waiting; `None` when the connection is lost.
fn at_once(done: std::io::Result<usize>) -> Option<usize> {
    match done {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
        Err(_) => None,
    }
}
