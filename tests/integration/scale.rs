//! What many connections cost, and what one bad one costs the others. Reduced here; the ignored tests are the full size:
//! `cargo test --release --test integration -- --ignored --nocapture --test-threads 1 scale`.
#![allow(clippy::print_stdout)]

use crate::process::{Process, serve_command};
use crate::support::{PATIENCE, account, address, config, dial, eventually, serve, upgrade_request};
use crate::vitals::{Vitals, raise_descriptor_limit};
use heartwire::{Config, Push, Server, Target};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

#[test]
fn an_idle_connection_is_one_thread_one_descriptor_and_little_memory() {
    idle_connections(400);
}

#[test]
#[ignore = "full size: 5,000 connections"]
fn full_size_an_idle_connection_is_one_thread_one_descriptor_and_little_memory() {
    idle_connections(5_000);
}

fn idle_connections(count: usize) {
    let (server, before, mut clients) = crowd(count, &["--max-per-address", "0", "--accepts-per-second", "0"]);
    eventually("every handshake's thread has ended", || Vitals::of(server.id()).threads == before.threads + count);
    let after = Vitals::of(server.id());
    let each = (after.resident_bytes - before.resident_bytes) as f64 / 1024.0 / count as f64;
    let opening_ms = (after.cpu - before.cpu).as_secs_f64() * 1_000.0 / count as f64;
    let reserved = (after.address_space_peak_bytes - before.address_space_peak_bytes) as f64 / 1024.0 / count as f64;
    println!(
        "{count} idle connections: 1 thread, 1 descriptor, {each:.1} KiB resident and {reserved:.0} KiB of address space each; \
         {opening_ms:.2} ms of CPU time to open"
    );
    assert_eq!(after.descriptors, before.descriptors + count);
    // An unoptimised build has larger frames on its stacks.
    let bound = if cfg!(debug_assertions) { 64.0 } else { 13.5 };
    assert!(each <= bound, "{each:.1} KiB each are more than {bound}");
    // Idle means that heartbeats come and go: none of them may reach into another page of the stack.
    for client in &mut clients {
        client.write_all(&masked_text(r#"{"type":"heartbeat"}"#)).unwrap();
        assert!(read_frame(client).unwrap().starts_with(br#"{"type":"heartbeat""#));
    }
    let beating = (Vitals::of(server.id()).resident_bytes - before.resident_bytes) as f64 / 1024.0 / count as f64;
    println!("after a heartbeat of each: {beating:.1} KiB resident each");
    assert!(beating <= bound + 1.5, "{beating:.1} KiB each are more than {bound} and a little heap");
    drop(clients);
}

/// A text frame of a client, short and with a mask that changes nothing.
fn masked_text(payload: &str) -> Vec<u8> {
    [&[0x81, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload.as_bytes()].concat()
}

#[test]
fn a_stopping_server_tells_every_connection_and_exits_in_time() {
    stop_with_connections(200);
}

#[test]
#[ignore = "full size: 1,000 connections"]
fn full_size_a_stopping_server_tells_every_connection_and_exits_in_time() {
    stop_with_connections(1_000);
}

fn stop_with_connections(count: usize) {
    let drain = Duration::from_secs(20);
    let (mut server, _, mut clients) = crowd(count, &["--max-per-address", "0", "--drain", "20s"]);
    let asked = Instant::now();
    server.signal(Signal::TERM);
    for client in &mut clients {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.first_chunk(), Some(&[0x88, 12, 0x03, 0xe9]), "a Close frame with 1001");
    }
    drop(clients);
    let status = server.end();
    println!("{count} connections were told 1001; the process exited after {:.1?} with {status}", asked.elapsed());
    assert!(status.success());
    assert!(asked.elapsed() < drain);
}

#[test]
fn a_consumer_that_stops_reading_is_cut_and_the_others_lose_nothing() {
    // So few others that a debug build keeps up.
    let (_, with) = slow_consumer(5, 100, Duration::from_secs(2), 64 << 10);
    assert_eq!(with.lost, 0);
}

#[test]
#[ignore = "full size: 100 consumers, 500 broadcasts a second, six rounds of 5 s"]
fn full_size_a_consumer_that_stops_reading_does_not_slow_the_others() {
    let rounds: Vec<_> =
        (0..3).map(|_| slow_consumer(100, 500, Duration::from_secs(5), Config::default().queue_bytes)).collect();
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let without = median(rounds.iter().map(|(without, _)| without.p99).collect());
    let with = median(rounds.iter().map(|(_, with)| with.p99).collect());
    println!("p99 of 100 others, median of 3 rounds: {without:.1?} without, {with:.1?} with a stalled consumer");
    assert!(rounds.iter().all(|(without, with)| without.lost + with.lost == 0));
    assert!(with < without * 2);
}

/// What the consumers saw of one stretch of broadcasts.
#[derive(Debug)]
struct Latency {
    p99: Duration,
    lost: usize,
}

/// Broadcasts of 1 KiB to `count` consumers: first alone, then beside one that never reads, until that one is cut.
fn slow_consumer(count: usize, per_second: u32, stretch: Duration, queue_bytes: usize) -> (Latency, Latency) {
    let mut config = config();
    config.max_per_address = None;
    config.queue_bytes = queue_bytes;
    let server = serve(config);
    let start = Instant::now();
    let consumers: Vec<_> = (0..count).map(|n| Consumer::start(&server, &format!("c{n}"), start)).collect();
    let without = broadcast(&server, &consumers, per_second, stretch, start);
    let stalled = open(address(&server), "stalled");
    let with = broadcast(&server, &consumers, per_second, stretch, start);
    eventually("the stalled consumer is cut", || {
        server.handle().counts().unwrap().closed_by_code.get(&4101).copied() == Some(1)
    });
    drop(stalled);
    consumers.into_iter().for_each(Consumer::stop);
    println!("{count} consumers at {per_second}/s: {without:?} without, {with:?} with a stalled one");
    (without, with)
}

fn broadcast(server: &Server, consumers: &[Consumer], per_second: u32, stretch: Duration, start: Instant) -> Latency {
    let handle = server.handle();
    let count = (stretch.as_secs_f64() * f64::from(per_second)) as u32;
    let (padding, begin) = ("x".repeat(1_000), Instant::now());
    for n in 0..count {
        let due = begin + stretch * n / count;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let content = json!({ "sent_ns": start.elapsed().as_nanos() as u64, "padding": padding });
        handle.send(Target::All, &Push::new("tick", &content).unwrap()).unwrap();
    }
    handle.send(Target::All, &Push::new("end", &Value::Null).unwrap()).unwrap();
    let mut times: Vec<Duration> = consumers.iter().flat_map(Consumer::stretch).collect();
    let lost = consumers.len() * count as usize - times.len();
    times.sort();
    Latency { p99: times[times.len() * 99 / 100], lost }
}

/// A client on its own thread, which measures how long each tick took.
struct Consumer {
    stretches: std::sync::mpsc::Receiver<Vec<Duration>>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Consumer {
    fn start(server: &Server, name: &str, start: Instant) -> Self {
        let mut socket = BufReader::new(open(address(server), name));
        let (sender, stretches) = std::sync::mpsc::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = spawn(move || {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let Ok(frame) = read_frame(&mut socket) else { return };
                let received = start.elapsed();
                // The server's Close at the end is not JSON.
                let Ok(frame) = serde_json::from_slice::<Value>(&frame) else { return };
                match frame["content"]["sent_ns"].as_u64() {
                    Some(sent) => times.push(received.saturating_sub(Duration::from_nanos(sent))),
                    None => sender.send(std::mem::take(&mut times)).unwrap(),
                }
            }
        });
        Self { stretches, stopping, thread }
    }

    /// The times of the stretch that has just ended.
    fn stretch(&self) -> Vec<Duration> {
        self.stretches.recv_timeout(PATIENCE).expect("the consumer sees the end of the stretch")
    }

    fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.thread);
    }
}

/// Upgrades and reads up to the end of the register frame.
fn open(address: SocketAddr, name: &str) -> TcpStream {
    account(name);
    let mut stream = dial(address);
    stream.write_all(upgrade_request(&format!("/ws?user_id={name}"), "").as_bytes()).unwrap();
    let (mut received, mut byte) = (Vec::new(), [0]);
    while !received.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        received.push(byte[0]);
    }
    read_frame(&mut stream).unwrap();
    stream
}

/// The payload of one unmasked frame of less than 64 KiB.
fn read_frame(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut length = usize::from(head[1]);
    if length == 126 {
        stream.read_exact(&mut head)?;
        length = usize::from(u16::from_be_bytes(head));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

/// The binary, and that many clients of it.
fn crowd(count: usize, flags: &[&str]) -> (Process, Vitals, Vec<TcpStream>) {
    raise_descriptor_limit();
    let mut server = Process::start(serve_command(flags));
    let address = server.address();
    let before = Vitals::of(server.id());
    let clients = (0..count).map(|n| open(address, &format!("u{n}"))).collect();
    (server, before, clients)
}
