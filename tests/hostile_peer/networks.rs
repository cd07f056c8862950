//! Bad networks: slow ones, ones that cut connections, and one that is gone without a word.

use crate::honest::{self, Honest};
use crate::idlers::Idlers;
use crate::ledger::{Answer, Ledger, read, text};
use crate::namespace::Namespace;
use crate::peer::{Addresses, Form, Heard, Peer, To};
use crate::process::{Process, serve_command};
use crate::proxy::{Proxy, Weather};
use crate::scene::Scene;
use crate::suite::{Figures, Row, Size};
use crate::support::{Client as Socket, PATIENCE, Patience, account, eventually};
use crate::vitals::Vitals;
use heartwire::client::{Client, Event, Options, SendError};
use serde_json::json;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[
    Row { name: "slow_network", threat: "delays, dribble and stalls", run: slow_network },
    Row { name: "cut_connections", threat: "connections cut anywhere", run: cut_connections },
    Row { name: "half_open_peer", threat: "half-open peer", run: half_open_peer },
];

/// Through three kinds of bad weather, from each to the next: whatever is sent is acknowledged and arrives.
fn slow_network(size: Size) -> Figures {
    let (count, length) = size.of((30, Duration::from_secs(3)), (100, Duration::from_secs(60)));
    let scene = Scene::serve(&["--heartbeat-interval", "2s", "--heartbeat-timeout", "15s"]);
    let weather = |piece, delay, stall| {
        let [delay, stall] = [delay, stall].map(Duration::from_millis);
        Proxy::start(scene.address, Weather { piece, delay, stall, cut_after: None })
    };
    let proxies = [weather(4_096, 200, 400), weather(16, 4, 50), weather(16_384, 2, size.of(1_000, 3_000))];
    let (honest, watch) = (Honest::begin(scene.address), scene.watch());
    let open = |n: usize| {
        let address = proxies[n % proxies.len()].address;
        Peer::open(Addresses { http: address, lines: address, admin: address }, Form::Native, n as u64 + 1)
    };
    let mut peers: Vec<Peer> = (0..count).map(open).collect();
    let (mut ledger, mut welcome, mut said) = (Ledger::default(), 0, 0);
    let (mut begun, mut patience) = (Instant::now(), Patience::begin());
    while begun.elapsed() < length || ledger.on_their_way() > 0 {
        for (n, peer) in peers.iter_mut().enumerate() {
            for heard in peer.hear() {
                welcome += usize::from(matches!(heard, Heard::Welcome));
                note(&mut ledger, n as u64 + 1, heard);
            }
        }
        if welcome < count {
            begun = Instant::now();
        }
        if welcome == count && begun.elapsed() < length {
            patience = Patience::begin();
        }
        patience.assert("all are there, and what was said has arrived");
        // Each says something every half second, in turn.
        while (said as f64) < count as f64 * 2.0 * begun.elapsed().min(length).as_secs_f64() {
            let (from, to) = (said % count, (said + 1) % count);
            let n = ledger.sent(from as u64 + 1, 1, Some(Answer::Delivered(1)));
            peers[from].say(n, To::Account(to as u64 + 1), &text(n, "hello"));
            said += 1;
        }
        sleep(Duration::from_millis(20));
    }
    let (peace, strain) = (honest.finish(), watch.end());
    drop(peers);
    scene.stop();
    let figure = format!("{count} clients, 0 dropped, {said} messages acknowledged and received, 0 lost");
    Figures::default().with(&figure).with(&peace).with(&strain)
}

/// Writes down what this account is told.
fn note(ledger: &mut Ledger, by: u64, heard: Heard) {
    match heard {
        Heard::Welcome => {}
        Heard::Message { from, body } => ledger.received(by, from, read(&body).0),
        Heard::Ack { id, delivered } => ledger.answered(by, id.parse().unwrap(), Answer::Delivered(delivered)),
        Heard::Error { code, .. } => panic!("{by} is refused something: {code}"),
        Heard::Close(why) => panic!("the server closes {by}: {why}"),
        Heard::End => panic!("{by} was dropped"),
    }
}

/// What came of sending through a network that cuts connections.
#[derive(Default)]
struct Outcome {
    acknowledged: usize,
    /// Sent, but the connection was cut before the answer.
    unknown: usize,
    unknown_received: usize,
    reconnects: usize,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.unknown_received += other.unknown_received;
        self.reconnects += other.reconnects;
    }
}

/// Senders whose connections are cut after a few messages, each with a recipient in fair weather.
fn cut_connections(size: Size) -> Figures {
    let (count, length) = size.of((10, Duration::from_secs(3)), (100, Duration::from_secs(60)));
    let scene = Scene::serve(&[]);
    let weather = Weather {
        piece: 64,
        delay: Duration::from_millis(2),
        stall: Duration::from_millis(20),
        cut_after: Some(4 << 10),
    };
    let proxy = Proxy::start(scene.address, weather);
    let threads = Vitals::of(scene.id()).threads;
    let (honest, watch) = (Honest::begin(scene.address), scene.watch());
    let mut all = Outcome::default();
    scope(|scope| {
        let (bad, good) = (proxy.address, scene.address);
        let pairs: Vec<_> = (0..count).map(|n| scope.spawn(move || pair(n, bad, good, length))).collect();
        pairs.into_iter().for_each(|pair| all += pair.join().unwrap());
    });
    let (peace, strain) = (honest.finish(), watch.end());
    let Outcome { acknowledged, unknown, unknown_received, reconnects } = all;
    assert!(
        acknowledged > 0 && reconnects.min(proxy.cuts()) >= count,
        "{} cuts, {reconnects} reconnects",
        proxy.cuts()
    );
    eventually("no connection is left", || Vitals::of(scene.id()).threads == threads);
    scene.stop();
    Figures::default()
        .with(&format!("{} cuts, {reconnects} reconnects", proxy.cuts()))
        .with(&format!("{acknowledged} messages acknowledged, 0 of them lost, 0 doubled"))
        .with(&format!("{unknown} in doubt, {unknown_received} of which had arrived"))
        .with(&peace)
        .with(&strain)
}

/// Sends for so long, and holds what arrived against what was acknowledged.
fn pair(n: usize, bad: SocketAddr, good: SocketAddr, length: Duration) -> Outcome {
    let (sender, recipient) = (format!("s{n}"), format!("r{n}"));
    let to = [account(&recipient)];
    let mut options = Options::default();
    (options.backoff.first, options.backoff.longest) = (Duration::from_millis(20), Duration::from_millis(100));
    let recipient = Client::connect(&format!("ws://{good}/ws"), &to[0], options.clone()).unwrap();
    let sender = loop {
        // The first connection may be cut, too, and of that one the program is told.
        if let Ok(sender) = Client::connect(&format!("ws://{bad}/ws"), &account(&sender), options.clone()) {
            break sender;
        }
    };
    let first = sender.recv_timeout(PATIENCE);
    assert!(matches!(first, Some(Event::Online { .. })), "{first:?}");
    let (mut acknowledged, mut doubtful, mut arrived) = (Vec::new(), Vec::new(), Vec::new());
    let (mut outcome, begun) = (Outcome::default(), Instant::now());
    for message in 0.. {
        match sender.send(&to, &json!({ "n": message, "fill": "x".repeat(message % 700) })) {
            Ok(delivered) => {
                assert_eq!(delivered, 1, "the recipient is there all the time");
                acknowledged.push(message);
            }
            Err(SendError::Offline) => sleep(Duration::from_millis(10)),
            Err(SendError::Lost | SendError::TimedOut) => doubtful.push(message),
            Err(error) => panic!("{error}"),
        }
        while let Some(event) = sender.recv_timeout(Duration::ZERO) {
            outcome.reconnects += usize::from(matches!(event, Event::Online { .. }));
            assert!(!matches!(event, Event::Closed(_)), "it comes back: {event:?}");
        }
        receive(&recipient, &mut arrived);
        if begun.elapsed() >= length {
            break;
        }
    }
    eventually("what was acknowledged has arrived", || {
        receive(&recipient, &mut arrived);
        acknowledged.last().is_none_or(|last| arrived.last() >= Some(last))
    });
    assert!(arrived.is_sorted_by(|earlier, later| earlier < later), "in order, and once: {arrived:?}");
    let has_arrived = |message: &&usize| arrived.binary_search(message).is_ok();
    assert_eq!(acknowledged.iter().filter(has_arrived).count(), acknowledged.len(), "acknowledged, and lost");
    (outcome.acknowledged, outcome.unknown) = (acknowledged.len(), doubtful.len());
    outcome.unknown_received = doubtful.iter().filter(has_arrived).count();
    outcome
}

fn receive(recipient: &Client, arrived: &mut Vec<usize>) {
    while let Some(event) = recipient.recv_timeout(Duration::ZERO) {
        match event {
            Event::Message(message) => {
                let content: serde_json::Value = serde_json::from_str(&message.content).unwrap();
                arrived.push(content["n"].as_u64().unwrap() as usize);
            }
            Event::Online { .. } => {}
            other => panic!("the recipient is told {other:?}"),
        }
    }
}

/// The cable to some clients is pulled, half of whom are being sent to. The others are on another cable.
fn half_open_peer(size: Size) -> Figures {
    let Some(namespace) = Namespace::new() else {
        return Figures::not_run("root and ip, for network namespaces");
    };
    let (count, interval, timeout) = size.of((20, "1s", 3), (200, "25s", 60));
    let timeout_flag = format!("{timeout}s");
    let listen = namespace.listen_flags();
    let flags = ["--allow-anonymous", "--max-per-address", "0", "--heartbeat-interval", interval];
    let flags = [&listen.each_ref().map(String::as_str)[..], &flags, &["--heartbeat-timeout", &timeout_flag]].concat();
    let mut server = Process::start(namespace.inside(&serve_command(&flags)));
    let [cut, stay] = namespace.addresses(&server.line("listening on "));

    let threads = || Vitals::of(server.id()).threads;
    let without = threads();
    let honest = Honest::begin(stay);
    eventually("the honest ones are there", || threads() == without + honest::COUNT);
    let idlers = Idlers::begin(cut, count);
    eventually("those to be cut off are there", || threads() == without + honest::COUNT + count);
    let busy: Vec<String> = (1..=count / 2).map(|account| account.to_string()).collect();

    // It answers no ping, and so must not be there long before it talks.
    let mut talker = Socket::open(stay, "/ws?user_id=talker", "");
    eventually("who talks to them is there", || threads() == without + 1 + honest::COUNT + count);
    namespace.pull_the_cable();
    let (pulled, bound) = (Instant::now(), Duration::from_secs(timeout + 5));
    while threads() > without + 1 + honest::COUNT {
        assert!(pulled.elapsed() < bound, "{} are left", threads() - without - 1 - honest::COUNT);
        talker.send(&json!({ "type": "message", "to": busy, "content": "are you there?" }));
        sleep(Duration::from_millis(100));
    }
    let reaped = pulled.elapsed().as_secs_f64();
    let peace = honest.finish();
    idlers.end();
    drop(talker);
    server.stop();
    Figures::default()
        .with(&format!("all {count} reaped {reaped:.1} s after the cut, timeout {timeout} s"))
        .with(&peace)
}
