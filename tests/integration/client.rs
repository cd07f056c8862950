//! The blocking client against a real server, and against servers made by hand that do not do their part.

use crate::support::{PATIENCE, account, address, config, configured, eventually, serve, serve_with};
use heartwire::client::{Adaptive, AdaptiveOptions, Client, Event, Incoming, Options, Outage, SendError};
use heartwire::config::SingleConnection;
use heartwire::duplex::{self, ConnectError, Message, Receiver, Sender};
use heartwire::{
    Account, CloseKind, CloseReason, Config, Connection, Handler, Identity, Push, Refusal, Request, Room, Server,
};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Fast enough for tests.
fn options() -> Options {
    let mut options = Options::default();
    options.backoff.first = Duration::from_millis(50);
    options.backoff.longest = Duration::from_millis(200);
    options.ack_timeout = PATIENCE;
    options
}

fn connect_with(address: SocketAddr, name: &str, options: Options) -> Client {
    let client = Client::connect(&format!("ws://{address}/ws"), &account(name), options).unwrap();
    assert!(matches!(event(&client), Event::Online { .. }));
    client
}

fn connect(server: &Server, name: &str) -> Client {
    connect_with(address(server), name, options())
}

#[track_caller]
fn event(client: &Client) -> Event {
    client.recv_timeout(PATIENCE).expect("an event")
}

/// The next message, which must be the next event.
#[track_caller]
fn message(client: &Client) -> Incoming {
    match event(client) {
        Event::Message(message) => message,
        other => panic!("expected a message, got {other:?}"),
    }
}

/// Passes over everything up to the next connection.
#[track_caller]
fn online_again(client: &Client) {
    while !matches!(event(client), Event::Online { .. }) {}
}

#[track_caller]
fn closed(client: &Client) -> Outage {
    loop {
        if let Event::Closed(outage) = event(client) {
            assert!(client.recv().is_none(), "nothing comes behind it");
            return outage;
        }
    }
}

#[test]
fn messages_go_to_accounts_and_rooms_and_are_acknowledged() {
    let server = serve(config());
    let (alice, bob) = (connect(&server, "alice"), connect(&server, "bob"));
    assert_eq!(alice.send(&[account("bob")], &json!({ "n": 1 })), Ok(1));
    let first = message(&bob);
    assert_eq!((first.from, first.room, &*first.content), (account("alice"), None, r#"{"n":1}"#));
    assert_eq!(alice.send(&[account("nobody")], &Value::Null), Ok(0));
    alice.post(&[account("bob")], &"posted").unwrap();
    assert_eq!(message(&bob).content, r#""posted""#);

    let garden = Room::new("garden").unwrap();
    assert!(matches!(alice.send_to_room(&garden, &1), Err(SendError::Refused { code: 103, .. })));
    alice.join(&garden).unwrap();
    bob.join(&garden).unwrap();
    assert_eq!(alice.send_to_room(&garden, &2), Ok(1));
    let in_room = message(&bob);
    assert_eq!((in_room.room, &*in_room.content), (Some(garden.clone()), "2"));
    bob.leave(&garden).unwrap();
    assert_eq!(alice.send_to_room(&garden, &3), Ok(0));
}

#[test]
fn presence_pushes_and_refusals_are_events() {
    let server = serve(config());
    let alice = connect(&server, "alice");
    let online =
        |presence: Vec<heartwire::Presence>| presence.iter().map(|entry| entry.connections).collect::<Vec<_>>();
    assert_eq!(alice.presence(&[account("alice"), account("bob")]).map(online), Ok(vec![1, 0]));
    assert_eq!(alice.watch(&[account("bob")]).map(online), Ok(vec![0]));
    let bob = connect(&server, "bob");
    assert!(matches!(event(&alice), Event::Presence(news) if news[0].online && news[0].account == account("bob")));
    alice.unwatch(&[account("bob")]).unwrap();
    bob.close();
    server.handle().send(account("alice"), &Push::new("notice", &"hello").unwrap()).unwrap();
    assert!(matches!(event(&alice), Event::Push { kind, content } if kind == "notice" && content == r#""hello""#));
    alice.post(&[], &"to nobody").unwrap();
    assert!(matches!(event(&alice), Event::Refused { code: 107, .. }));
}

#[test]
fn after_a_restart_of_the_server_clients_are_back_in_their_rooms() {
    let quick = |config: &mut Config| config.reconnect_spread = Duration::from_millis(100);
    let server = serve(configured(quick));
    let listening = address(&server);
    let (alice, bob) = (connect(&server, "alice"), connect(&server, "bob"));
    let garden = Room::new("garden").unwrap();
    alice.join(&garden).unwrap();
    bob.join(&garden).unwrap();
    alice.watch(&[account("carol")]).unwrap();
    server.shutdown(PATIENCE).unwrap();
    match event(&alice) {
        Event::Offline { reason: Outage::Ended(reason), next_attempt } => {
            assert_eq!(reason.kind(), CloseKind::PeerClosed(1001));
            assert!(next_attempt <= Duration::from_millis(100), "{next_attempt:?}");
        }
        other => panic!("{other:?}"),
    }
    eventually("alice knows", || alice.send(&[account("bob")], &1) == Err(SendError::Offline));
    let server = serve(configured(|config| (quick(config), config.listen = vec![listening]).1));
    for client in [&alice, &bob] {
        online_again(client);
    }
    eventually("both are in the room", || server.handle().counts().unwrap().rooms == 1);
    eventually("bob gets it", || alice.send_to_room(&garden, &"back") == Ok(1));
    assert_eq!(message(&bob).content, r#""back""#);
    let carol = connect(&server, "carol");
    let mut seen = false;
    while !seen {
        seen = matches!(event(&alice), Event::Presence(news) if news[0].online);
    }
    drop(carol);
}

#[test]
fn a_client_that_was_replaced_does_not_fight() {
    let server = serve(configured(|config| config.single = SingleConnection::Replace));
    let older = connect(&server, "alice");
    let newer = connect(&server, "alice");
    assert!(matches!(closed(&older), Outage::Ended(reason) if reason.kind() == CloseKind::PeerClosed(4505)));
    assert_eq!(older.send(&[account("bob")], &1), Err(SendError::Offline));
    assert_eq!(newer.send(&[account("bob")], &1), Ok(0));
}

/// Lets clients in until it is told not to.
struct Door(Arc<AtomicBool>);

impl Handler for Door {
    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        match request.token() {
            Some("good") if self.0.load(Ordering::Relaxed) => request.claimed_account().map(Identity::new),
            _ => Err(Refusal::unauthorized("nobody we know")),
        }
    }
}

#[test]
fn a_refused_client_does_not_come_back() {
    let open = Arc::new(AtomicBool::new(true));
    let server = serve_with(config(), Door(Arc::clone(&open)));
    let url = format!("ws://{}/ws", address(&server));
    let refused = Client::connect(&url, &account("alice"), options()).unwrap_err();
    assert!(matches!(refused, Outage::NotOpened(ConnectError::Refused(refused)) if refused.status == 401));
    let mut with_token = options();
    with_token.token = Some("good".into());
    let alice = connect_with(address(&server), "alice", with_token);
    open.store(false, Ordering::Relaxed);
    let reason = CloseReason::application(4299, "come back at once").unwrap();
    server.handle().disconnect(account("alice"), reason).unwrap();
    assert!(matches!(event(&alice), Event::Offline { next_attempt: Duration::ZERO, .. }));
    assert!(matches!(closed(&alice), Outage::NotOpened(ConnectError::Refused(refused)) if refused.status == 401));
}

/// A server made by hand: registers whoever comes, and then does what `serve` says.
struct Fake {
    listener: TcpListener,
    address: SocketAddr,
}

impl Fake {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    fn accept(&self) -> (Sender, Receiver) {
        self.accept_with(&duplex::Options::default())
    }

    fn accept_with(&self, options: &duplex::Options) -> (Sender, Receiver) {
        let ends = duplex::accept(self.listener.accept().unwrap().0, options).unwrap();
        let register = json!({ "type": "register", "connection": "c-1", "account": "alice", "reconnect_spread_ms": 1 });
        ends.0.text(&register.to_string()).unwrap();
        ends
    }
}

fn received(receiver: &mut Receiver) -> Value {
    match receiver.recv().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        Message::Binary(_) => panic!("a client sends text"),
    }
}

#[test]
fn what_is_not_acknowledged_says_so() {
    let fake = Fake::new();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (sender, mut receiver) = fake.accept();
            assert_eq!(received(&mut receiver)["content"], "unanswered");
            assert_eq!(received(&mut receiver)["content"], "unacknowledged");
            sender.close(CloseKind::HeartbeatTimeout);
            drop(receiver);
            let (_sender, mut receiver) = fake.accept();
            // Nothing is sent twice.
            assert_eq!(received(&mut receiver)["content"], "last");
        });
        let mut hasty = options();
        hasty.ack_timeout = Duration::from_millis(100);
        let client = connect_with(fake.address, "alice", hasty);
        assert_eq!(client.send(&[account("bob")], &"unanswered"), Err(SendError::TimedOut));
        // Whichever comes first.
        let unknown = client.send(&[account("bob")], &"unacknowledged").unwrap_err();
        assert!(matches!(unknown, SendError::TimedOut | SendError::Lost), "{unknown:?}");
        online_again(&client);
        client.post(&[account("bob")], &"last").unwrap();
        server.join().unwrap();
    });
}

#[test]
fn a_message_that_was_under_way_when_the_connection_was_lost_fails_as_lost() {
    let fake = Fake::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (_sender, mut receiver) = fake.accept();
            received(&mut receiver);
        });
        let client = connect_with(fake.address, "alice", options());
        assert_eq!(client.send(&[account("bob")], &1), Err(SendError::Lost));
    });
}

#[test]
fn a_full_server_is_asked_again_when_it_says_so() {
    let fake = Fake::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (sender, receiver) = fake.accept();
            sender.close(CloseKind::LifetimeReached);
            drop(receiver);
            let full = |_: &Request| Err(Refusal::unavailable("full", Duration::from_secs(777)));
            let socket = fake.listener.accept().unwrap().0;
            assert!(duplex::accept_with(socket, &duplex::Options::default(), full).is_err());
        });
        let client = connect_with(fake.address, "alice", options());
        assert!(matches!(event(&client), Event::Offline { next_attempt: Duration::ZERO, .. }));
        match event(&client) {
            Event::Offline { reason: Outage::NotOpened(ConnectError::Refused(refused)), next_attempt } => {
                assert_eq!(refused.status, 503);
                assert!(next_attempt >= Duration::from_secs(777), "{next_attempt:?}");
            }
            other => panic!("{other:?}"),
        }
        // It does not wait for the attempt.
        client.close();
    });
}

#[test]
fn a_program_that_takes_no_events_stops_the_reading() {
    const EVENTS: usize = 4;
    let fake = Fake::new();
    let (cut, is_cut) = mpsc::channel();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut strict = duplex::Options::default();
            (strict.write_deadline, strict.linger) = (Duration::from_millis(300), Duration::from_millis(50));
            let (sender, mut receiver) = fake.accept_with(&strict);
            let reader = thread::spawn(move || while receiver.recv().is_ok() {});
            let mut sent = 0;
            let closed = loop {
                let push = json!({ "type": "chunk", "content": { "n": sent, "fill": "x".repeat(50_000) } });
                match sender.text(&push.to_string()) {
                    Ok(()) => sent += 1,
                    Err(closed) => break closed,
                }
            };
            assert_eq!(closed.kind(), CloseKind::SlowConsumer);
            reader.join().unwrap();
            cut.send(()).unwrap();
            sent
        });
        let mut few = options();
        (few.events, few.open_deadline) = (EVENTS, Duration::from_secs(1));
        let client = connect_with(fake.address, "alice", few);
        is_cut.recv_timeout(PATIENCE).expect("the server gives up");
        let mut next = 0;
        while let Event::Push { content, .. } = event(&client) {
            let content: Value = serde_json::from_str(&content).unwrap();
            assert_eq!(content["n"], next);
            next += 1;
        }
        assert!(next >= EVENTS && next <= server.join().unwrap() + 1, "{next} came");
    });
}

#[test]
fn beats_promise_the_next_one_and_an_unanswered_one_is_the_end() {
    let fake = Fake::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (sender, mut receiver) = fake.accept();
            let beat = received(&mut receiver);
            assert_eq!((&beat["type"], &beat["next_ms"]), (&json!("heartbeat"), &json!(1_000)));
            sender.text(r#"{"type":"heartbeat","interval_ms":1,"timeout_ms":2}"#).unwrap();
            assert_eq!(received(&mut receiver)["type"], "heartbeat");
            // This one stays without an answer.
            let closed = receiver.recv().unwrap_err();
            assert_eq!(closed.kind(), CloseKind::PeerClosed(4201));
            let (_sender, mut receiver) = fake.accept();
            while receiver.recv().is_ok() {}
        });
        let mut adaptive = AdaptiveOptions::default();
        (adaptive.floor, adaptive.step) = (Duration::from_secs(1), Duration::ZERO);
        let mut quick = options();
        (quick.heartbeat, quick.beat_timeout) = (Adaptive::new(adaptive), Duration::from_millis(300));
        let client = connect_with(fake.address, "alice", quick);
        assert_eq!(client.round_trip(), None);
        match event(&client) {
            Event::Offline { reason: Outage::Ended(reason), next_attempt } => {
                assert_eq!((reason.kind(), next_attempt), (CloseKind::HeartbeatTimeout, Duration::ZERO));
            }
            other => panic!("{other:?}"),
        }
        assert!(client.round_trip().is_some());
        online_again(&client);
        client.close();
    });
}

#[test]
fn another_network_is_tried_by_one_beat() {
    let fake = Fake::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (sender, mut receiver) = fake.accept();
            assert_eq!(received(&mut receiver)["content"], "moved");
            // The next one would be due in 25 s; this one is due because the program has spoken.
            let beat = received(&mut receiver);
            assert_eq!((&beat["type"], &beat["next_ms"]), (&json!("heartbeat"), &json!(25_000)));
            sender.text(r#"{"type":"heartbeat","interval_ms":1,"timeout_ms":2}"#).unwrap();
            // Far from the next beat.
            assert_eq!(receiver.recv_timeout(Duration::from_millis(500)), Ok(None));
        });
        let client = connect_with(fake.address, "alice", options());
        client.heartbeat(|heartbeat| heartbeat.use_network("another"));
        client.post(&[account("bob")], &"moved").unwrap();
        while !matches!(event(&client), Event::Offline { .. }) {}
    });
}

#[test]
fn no_time_is_too_long() {
    let server = serve(config());
    let mut adaptive = AdaptiveOptions::default();
    adaptive.floor = Duration::from_secs(1);
    let mut patient = options();
    (patient.open_deadline, patient.ack_timeout, patient.beat_timeout) = (Duration::MAX, Duration::MAX, Duration::MAX);
    (patient.backoff.first, patient.backoff.longest) = (Duration::MAX, Duration::MAX);
    patient.heartbeat = Adaptive::new(adaptive);
    let client = connect_with(address(&server), "alice", patient);
    assert_eq!(client.send(&[account("bob")], &1), Ok(0));
    eventually("a beat is answered", || client.round_trip().is_some());
    server.shutdown(PATIENCE).unwrap();
    assert!(matches!(event(&client), Event::Offline { .. }));
}

#[test]
fn who_does_not_register_is_no_server_of_ours() {
    let fake = Fake::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (sender, mut receiver) =
                duplex::accept(fake.listener.accept().unwrap().0, &duplex::Options::default()).unwrap();
            sender.text("hello").unwrap();
            while receiver.recv().is_ok() {}
        });
        let url = format!("ws://{}/", fake.address);
        let outage = Client::connect(&url, &account("alice"), options()).unwrap_err();
        assert!(matches!(outage, Outage::NotHeartwire), "{outage}");
    });
}

#[test]
fn a_closed_client_leaves_no_thread_and_says_goodbye() {
    let server = serve(config());
    let client = connect(&server, "alice");
    client.close();
    let handle = server.handle();
    eventually("it has left", || handle.counts().unwrap().closed_by_code.get(&1000) == Some(&1));
    let waiting = connect(&server, "alice");
    server.shutdown(PATIENCE).unwrap();
    assert!(matches!(event(&waiting), Event::Offline { .. }));
    // In the middle of its attempts.
    drop(waiting);
}

#[test]
fn any_account_name_reaches_the_server() {
    let server = serve(config());
    let name = "ä b&c=d+%/#?";
    let client = connect(&server, name);
    let presence = client.presence(&[account(name)]).unwrap();
    assert_eq!(presence[0].account, Account::new(name).unwrap());
    assert!(presence[0].online);
}

#[test]
fn the_longest_adaptive_interval_is_one_that_a_server_permits_by_default() {
    let longest = AdaptiveOptions::default().ceiling * 3 / 2;
    assert!(longest <= *Config::default().heartbeat.negotiable.end());
}

/// Takes any token but `wrong`; says which ones it was shown.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<String>>>);

impl Shown {
    fn judge(&self, token: &str) -> Result<Identity, Refusal> {
        self.0.lock().unwrap().push(token.to_owned());
        if token == "wrong" { Err(Refusal::unauthorized("wrong")) } else { Ok(Identity::new(account("alice"))) }
    }
}

impl Handler for Shown {
    fn authenticates(&self) -> bool {
        true
    }

    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        self.judge(request.token().unwrap_or_default())
    }

    fn renew(&self, connection: &Connection, token: &str) -> Result<Identity, Refusal> {
        if token == "unanswered" {
            connection.close(CloseReason::new(CloseKind::HeartbeatTimeout, "for a test"));
        }
        self.judge(token)
    }
}

#[test]
fn a_renewed_token_is_used_again_and_a_refused_one_is_not() {
    let shown = Shown::default();
    let server = serve_with(config(), shown.clone());
    let mut options = options();
    options.token = Some("first".into());
    let alice = connect_with(address(&server), "alice", options);
    alice.renew("second").unwrap();
    assert!(matches!(alice.renew("wrong"), Err(SendError::Refused { code: 101, .. })));
    let reason = CloseReason::new(CloseKind::HeartbeatTimeout, "for a test");
    server.handle().disconnect(account("alice"), reason).unwrap();
    online_again(&alice);
    assert_eq!(alice.renew("unanswered"), Err(SendError::Lost));
    online_again(&alice);
    assert_eq!(*shown.0.lock().unwrap(), ["first", "second", "wrong", "second", "unanswered", "unanswered"]);
}
