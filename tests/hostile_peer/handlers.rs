//! Handlers that do what they should not: block, and send to the very connection that they are called for.
//!
//! The server runs in this process, which has the handler.

use crate::honest::Honest;
use crate::suite::{Figures, Row, Size};
use crate::support::{Client, account, address, configured, eventually, serve_with};
use heartwire::{ClosedConnection, Connection, Handler, Message, Push, Verdict};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[
    Row { name: "blocking_handler", threat: "a handler that blocks", run: blocking_handler },
    Row { name: "handler_sends_to_itself", threat: "a handler that sends to its own connection", run: to_itself },
];

/// Blocks over one content.
struct Blocks {
    how_long: Duration,
    /// How many have blocked to the end.
    ended: Arc<AtomicUsize>,
}

impl Handler for Blocks {
    fn message(&self, _: &Connection, message: &mut Message<'_>) -> Verdict {
        if message.content() == r#""block""# {
            sleep(self.how_long);
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        Verdict::Deliver
    }
}

/// For longer than the heartbeat's timeout the handler holds the threads of some connections, whose clients go on
/// beating: they wait, are still sent to, and nobody is dropped for a silence that was the handler's.
fn blocking_handler(size: Size) -> Figures {
    let (count, how_long) = (size.of(20, 200), size.of(Duration::from_secs(6), Duration::from_secs(60)));
    let timeout = how_long / 2;
    let config = configured(|config| {
        (config.max_per_address, config.accepts_per_second) = (None, None);
        (config.heartbeat.interval, config.heartbeat.timeout) = (Some(timeout / 2), Some(timeout));
    });
    let ended = Arc::<AtomicUsize>::default();
    let server = serve_with(config, Blocks { how_long, ended: Arc::clone(&ended) });
    let honest = Honest::begin(address(&server));
    let mut blocked: Vec<Client> = (0..count).map(|n| Client::connect(&server, &format!("b{n}"))).collect();
    let begun = Instant::now();
    for client in &mut blocked {
        client.send(&json!({ "type": "message", "to": ["b0"], "content": "block", "id": "blocked" }));
    }
    let push = Push::new("notice", "meanwhile").unwrap();
    for (n, client) in blocked.iter_mut().enumerate() {
        assert_eq!(server.handle().send(account(&format!("b{n}")), &push).unwrap().connections, 1);
        assert_eq!(client.json()["content"], "meanwhile");
    }
    assert_eq!(ended.load(Ordering::Relaxed), 0, "all of it while the handler blocks");
    let mut beats = 0;
    while begun.elapsed() < how_long {
        blocked.iter_mut().for_each(|client| client.send(&json!({ "type": "heartbeat" })));
        beats += 1;
        sleep(timeout / 4);
    }
    for client in &mut blocked {
        let mut answers = Vec::new();
        while answers.len() < beats + 1 {
            let frame = client.json();
            answers.extend((frame["type"] != "message").then_some(frame));
        }
        assert_eq!(answers.iter().filter(|answer| answer["id"] == "blocked").count(), 1, "{answers:?}");
    }
    let counts = server.handle().counts().unwrap();
    assert!(counts.closed_by_code.values().all(|count| *count == 0), "{counts:?}");
    let peace = honest.finish();
    drop(blocked);
    server.shutdown(Duration::from_secs(10)).unwrap();
    let figure = format!("{count} connections blocked for {how_long:?}, twice the heartbeat's timeout: 0 dropped");
    Figures::default().with(&figure).with(&peace)
}

/// Sends to its own connection from everywhere, by the connection and by the handle.
#[derive(Clone, Default)]
struct Talkative {
    closed: Arc<AtomicUsize>,
}

impl Talkative {
    /// Honest clients want nothing but their messages.
    fn is_meant(connection: &Connection) -> bool {
        connection.account().as_str().starts_with("talker")
    }

    fn say(connection: &Connection, what: &str) {
        let push = Push::new(what, &()).unwrap();
        connection.send(&push).unwrap();
        assert_eq!(connection.handle().send(connection.account().clone(), &push).unwrap().connections, 1);
    }
}

impl Handler for Talkative {
    fn opened(&self, connection: &Connection) {
        if Self::is_meant(connection) {
            Self::say(connection, "opened");
        }
    }

    fn message(&self, connection: &Connection, _: &mut Message<'_>) -> Verdict {
        if Self::is_meant(connection) {
            Self::say(connection, "heard");
        }
        Verdict::Deliver
    }

    fn closed(&self, connection: &Connection, _: &ClosedConnection) {
        let push = Push::new("closed", &()).unwrap();
        connection.send(&push).unwrap_err();
        // The router may come to this before it has taken the connection from its register.
        connection.handle().send(connection.account().clone(), &push).unwrap();
        self.closed.fetch_add(usize::from(Self::is_meant(connection)), Ordering::Relaxed);
    }
}

/// The router's inbox is as small as it can be, so that the threads that fill it have to wait for each other.
fn to_itself(size: Size) -> Figures {
    let (count, messages) = (size.of(30, 200), size.of(30, 200));
    let config = configured(|config| {
        (config.max_per_address, config.accepts_per_second, config.message_rate) = (None, None, None);
        config.max_message_bytes = 16 << 20;
        config.queue_bytes = 64 << 20;
    });
    let handler = Talkative::default();
    let server = serve_with(config, handler.clone());
    let honest = Honest::begin(address(&server));
    let mut talkers: Vec<Client> = (0..count).map(|n| Client::connect(&server, &format!("talker{n}"))).collect();
    let begun = Instant::now();
    let types = |talker: &mut Client, count: usize| {
        let mut types: Vec<String> = (0..count).map(|_| talker.json()["type"].as_str().unwrap().to_owned()).collect();
        types.sort();
        types
    };
    for talker in &mut talkers {
        assert_eq!(types(talker, 2), ["opened", "opened"]);
    }
    for n in 0..messages {
        for talker in &mut talkers {
            talker.send(&json!({ "type": "message", "to": ["nobody"], "content": n, "id": n.to_string() }));
        }
        for talker in &mut talkers {
            assert_eq!(types(talker, 3), ["ack", "heard", "heard"]);
        }
        // The honest ones want something of the machine, too.
        sleep(Duration::from_millis(10));
    }
    let took = begun.elapsed().as_secs_f64();
    for talker in &mut talkers {
        talker.socket.close(None).unwrap();
        talker.expect_end();
    }
    eventually("the handler was told of every end", || handler.closed.load(Ordering::Relaxed) == count);
    let peace = honest.finish();
    server.shutdown(Duration::from_secs(10)).unwrap();
    let sent = count * (4 + 2 * messages);
    let figure = format!("{sent} sends from {count} connections to themselves in {took:.1} s, none lost, none stuck");
    Figures::default().with(&figure).with(&peace)
}
