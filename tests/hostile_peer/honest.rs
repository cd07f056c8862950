//! Fifty clients who talk while the attack runs, and what they saw.

use crate::support::{Client, PATIENCE};
use serde_json::{Value, json};
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tungstenite::{Error, Message};

pub const COUNT: usize = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// The promise of the table. A debug build on a busy machine is only held to losing nothing, and dropping nobody.
pub const P99_BOUND: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

/// Pairs of clients, each of which sends its partner a message every 200 ms.
pub struct Honest {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

/// What one client saw.
#[derive(Default)]
struct Seen {
    sent: u64,
    received: u64,
    delays: Vec<Duration>,
    /// The partner has said all that it had to say.
    goodbye: bool,
}

/// What all of them saw together.
pub struct Peace {
    pub messages: u64,
    pub p50: Duration,
    pub p99: Duration,
    pub longest: Duration,
}

impl fmt::Display for Peace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let (messages, p50, p99) = (self.messages, ms(self.p50), ms(self.p99));
        write!(f, "honest clients: 0 of {messages} messages lost, p50 {p50:.1} ms, p99 {p99:.1} ms")
    }
}

impl Honest {
    /// Connects them as `honest0` to `honest49`.
    pub fn begin(address: SocketAddr) -> Self {
        Self::begin_with(|name| Client::open(address, &format!("/ws?user_id={name}"), ""))
    }

    /// Connects them by a function that is given the account; for servers that want a token, say.
    pub fn begin_with(connect: impl Fn(&str) -> Client) -> Self {
        let (ended, epoch) = (Arc::default(), Instant::now());
        let clients: Vec<Client> = (0..COUNT).map(|n| connect(&name(n))).collect();
        let start = |(n, client)| {
            let talker = Talker { n, client, epoch, seen: Seen::default() };
            let ended = Arc::clone(&ended);
            std::thread::spawn(move || talker.talk(&ended))
        };
        let threads = clients.into_iter().enumerate().map(start).collect();
        Self { ended, threads }
    }

    /// Lets them finish; fails if one was dropped, if a message was lost, or if one in a hundred was late.
    pub fn finish(self) -> Peace {
        self.ended.store(true, Ordering::Relaxed);
        let seen: Vec<Seen> =
            self.threads.into_iter().map(|thread| thread.join().expect("it was not dropped")).collect();
        let mut delays: Vec<Duration> = seen.iter().flat_map(|seen| seen.delays.iter().copied()).collect();
        let (sent, received): (u64, u64) =
            seen.iter().fold((0, 0), |(sent, received), seen| (sent + seen.sent, received + seen.received));
        assert_eq!(received, sent, "messages between honest clients");
        assert!(sent > 0);
        let [p50, p99, longest] = percentiles(&mut delays, [50, 99, 100]);
        let peace = Peace { messages: sent, p50, p99, longest };
        assert!(peace.p99 < P99_BOUND, "{peace}; the longest took {:?}", peace.longest);
        peace
    }
}

/// So many in a hundred of these times are no longer.
pub fn percentiles<const N: usize>(times: &mut [Duration], percents: [usize; N]) -> [Duration; N] {
    times.sort_unstable();
    percents.map(|percent| times[(times.len() * percent / 100).min(times.len() - 1)])
}

fn name(n: usize) -> String {
    format!("honest{n}")
}

struct Talker {
    n: usize,
    client: Client,
    epoch: Instant,
    seen: Seen,
}

impl Talker {
    fn talk(mut self, ended: &AtomicBool) -> Seen {
        assert_eq!(self.client.json()["type"], "register");
        // Not all at once.
        let mut due = Instant::now() + PAUSE * self.n as u32 / COUNT as u32;
        while !ended.load(Ordering::Relaxed) {
            self.listen_until(due);
            self.say();
            due += PAUSE;
        }
        self.say_goodbye();
        let patience = Instant::now() + PATIENCE;
        while !self.seen.goodbye {
            assert!(Instant::now() < patience, "honest{}: the partner's last message never came", self.n);
            self.listen_until(Instant::now() + PAUSE);
        }
        self.seen
    }

    fn say(&mut self) {
        let content = json!({ "n": self.seen.sent, "at_us": self.epoch.elapsed().as_micros() as u64 });
        self.client.send(&json!({ "type": "message", "to": [name(self.n ^ 1)], "content": content }));
        self.seen.sent += 1;
    }

    /// The last message, which says how many there were before it.
    fn say_goodbye(&mut self) {
        self.client
            .send(&json!({ "type": "message", "to": [name(self.n ^ 1)], "content": { "in_all": self.seen.sent } }));
    }

    /// Reads what comes until then, or until the partner's goodbye.
    fn listen_until(&mut self, until: Instant) {
        while !self.seen.goodbye
            && let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            self.client.socket.get_ref().set_read_timeout(Some(left)).unwrap();
            match self.client.socket.read() {
                Ok(Message::Text(text)) => self.hear(&serde_json::from_str(&text).unwrap()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => panic!("honest{} was told {other:?}", self.n),
                Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("honest{} was dropped: {error}", self.n),
            }
        }
    }

    fn hear(&mut self, frame: &Value) {
        assert_eq!((&frame["type"], &frame["from"]), (&json!("message"), &json!(name(self.n ^ 1))), "{frame}");
        let content = &frame["content"];
        if let Some(in_all) = content["in_all"].as_u64() {
            assert_eq!(self.seen.received, in_all, "honest{} missed messages of its partner", self.n);
            self.seen.goodbye = true;
            return;
        }
        assert_eq!(content["n"], self.seen.received, "out of order, or one is missing");
        let sent = Duration::from_micros(content["at_us"].as_u64().unwrap());
        self.seen.delays.push(self.epoch.elapsed().saturating_sub(sent));
        self.seen.received += 1;
    }
}
