//! The pushes over HTTP, and the slow readers, who are cut because of them.

use crate::peer::Addresses;
use crate::support::{PATIENCE, Patience, exchange, upgrade_request};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Slow readers of each kind.
pub const SLOW: usize = 20;
/// More than the kernel takes for a connection, together with what may wait for one less than a queue's limit.
const STALLING_BYTES: usize = 512 << 10;
const FLOODING_BYTES: usize = 60 << 10;

/// A push: its number, and the body of the request.
type Order = (u64, Value);

/// Two threads: one pushes what it is told to, one plays the slow readers.
pub struct BackEnd {
    orders: SyncSender<Order>,
    answers: Receiver<(u64, usize)>,
    pushing: JoinHandle<()>,
    slow: JoinHandle<()>,
    has_ended: Arc<AtomicBool>,
    cut: Arc<Cut>,
}

/// Slow readers that were cut.
#[derive(Default)]
struct Cut {
    count: AtomicU64,
    /// Those to whom the reason still got through.
    told: AtomicU64,
}

impl BackEnd {
    pub fn start(addresses: Addresses) -> Self {
        // Different in each round of the soak, as a server does nothing twice for the same key.
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let (orders, ordered) = sync_channel::<Order>(100);
        let (answer, answers) = sync_channel(100);
        let pushing = spawn(move || {
            for (n, body) in ordered {
                let reached = push(addresses, &format!("{start}-{n}"), &body);
                answer.send((n, reached)).unwrap();
            }
        });
        let (has_ended, cut) = (Arc::<AtomicBool>::default(), Arc::<Cut>::default());
        let (is_over, counts) = (Arc::clone(&has_ended), Arc::clone(&cut));
        let slow = spawn(move || {
            for round in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                cut_a_round(addresses, &format!("{start}-{round}"), &counts);
            }
        });
        Self { orders, answers, pushing, slow, has_ended, cut }
    }

    pub fn push(&self, n: u64, mut body: Value, text: &str) {
        body["message"] = json!({ "type": "notice", "content": { "body": text } });
        self.orders.send((n, body)).expect("the thread that pushes");
    }

    /// The pushes that were answered meanwhile: their numbers, and how many connections they reached.
    pub fn answers(&self) -> impl Iterator<Item = (u64, usize)> {
        assert!(!self.slow.is_finished() || self.has_ended.load(Ordering::Relaxed), "a slow reader was not cut");
        self.answers.try_iter()
    }

    /// How many slow readers were cut, and to how many of them the reason still got through.
    pub fn cut(&self) -> (u64, u64) {
        (self.cut.count.load(Ordering::Relaxed), self.cut.told.load(Ordering::Relaxed))
    }

    /// Lets the slow readers that there are be cut; there will be no more.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    pub fn has_ended(&self) -> bool {
        self.slow.is_finished()
    }

    pub fn join(self) {
        drop(self.orders);
        self.pushing.join().unwrap();
        self.slow.join().unwrap();
    }
}

/// Slow readers come, and are sent to until all of them were cut: to some more than may wait for one of them, to the
/// others less, so that it is the write deadline that cuts them.
fn cut_a_round(addresses: Addresses, round: &str, cut: &Cut) {
    let names = |kind: &str| -> Vec<String> { (0..SLOW).map(|n| format!("{kind}-{round}-{n}")).collect() };
    let (flooded, stalled) = (names("flooded"), names("stalled"));
    let mut pushes = 0..;
    let mut push = |to: &[String], bytes: usize| {
        let message = json!({ "type": "notice", "content": "x".repeat(bytes) });
        let key = format!("{round}-slow-{}", pushes.next().unwrap_or(0));
        push(addresses, &key, &json!({ "accounts": to, "message": message }))
    };
    let streams: Vec<TcpStream> = flooded.iter().chain(&stalled).map(|name| deaf(addresses, name)).collect();
    let patience = Patience::begin();
    while push(&[&flooded[..], &stalled].concat(), 0) < streams.len() {
        patience.assert("the slow readers are connected");
        sleep(Duration::from_millis(20));
    }
    push(&stalled, STALLING_BYTES);
    while push(&flooded, FLOODING_BYTES) > 0 {
        patience.assert("they are cut by the limit of their queues");
    }
    while push(&stalled, 0) > 0 {
        patience.assert("they are cut by the write deadline");
        sleep(Duration::from_millis(500));
    }
    for mut stream in streams {
        let mut rest = Vec::new();
        // It may end with a reset: the server does not wait for what is not read.
        let _ = stream.read_to_end(&mut rest);
        let was_told = rest.windows(13).any(|words| words == b"slow consumer");
        cut.told.fetch_add(u64::from(was_told), Ordering::Relaxed);
        cut.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A client that asks to be let in and reads nothing, for which the kernel keeps little.
fn deaf(addresses: Addresses, name: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&addresses.http.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(upgrade_request(&format!("/ws?user_id={name}"), "").as_bytes()).unwrap();
    stream
}

/// Pushes, and says how many connections that reached. A server that is busy is asked again, with the same key, so that
/// it does nothing twice.
fn push(addresses: Addresses, key: &str, body: &Value) -> usize {
    let body = body.to_string();
    let head = "POST /v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    let request = format!("{head}\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let patience = Patience::begin();
    loop {
        let response = exchange(addresses.admin, &request);
        let (head, answer) = response.split_once("\r\n\r\n").expect(&response);
        if head.starts_with("HTTP/1.1 200 ") {
            let reached: Value = serde_json::from_str(answer).unwrap();
            return reached["connections"].as_u64().expect(answer) as usize;
        }
        assert!(head.starts_with("HTTP/1.1 503 "), "{response}");
        patience.assert("a server that is not busy");
        sleep(Duration::from_millis(100));
    }
}
