//! Panics: of handlers, each of which costs its own connection, and of the core, which costs the server and nothing else.
//!
//! The server runs in this process, where the handler and the log can be made to panic.

use crate::honest::{self, Honest};
use crate::suite::{Figures, Row, Size};
use crate::support::{
    Client, PATIENCE, account, address, configured, eventually, exchange, serve_with, upgrade_request,
};
use heartwire::{Anonymous, Config, Connection, Handler, Message, Push, SendError, Server, Verdict};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Once};
use std::thread::{current, scope, spawn};
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[
    Row { name: "one_panic", threat: "one panic", run: one_panic },
    Row { name: "router_dies", threat: "router dies", run: router_dies },
];

const ON_PURPOSE: &str = "on purpose";

/// Panics over one content.
struct Panics;

impl Handler for Panics {
    fn message(&self, _: &Connection, message: &mut Message<'_>) -> Verdict {
        assert!(message.content() != r#""panic""#, "{ON_PURPOSE}");
        Verdict::Deliver
    }
}

/// One client in ten makes the handler panic.
fn one_panic(size: Size) -> Figures {
    silence_panics_on_purpose();
    let count = size.of(100, 1_000);
    let server = serve_with(unlimited(), Panics);
    let honest = Honest::begin(address(&server));
    let clients = (0..count).map(|n| (n, Client::connect(&server, &format!("u{n}"))));
    let (mut unlucky, mut lucky): (Vec<_>, Vec<_>) = clients.partition(|(n, _)| n % 10 == 0);
    for (_, client) in &mut unlucky {
        client.send(&json!({ "type": "message", "to": ["u1"], "content": "panic" }));
    }
    for (_, client) in &mut unlucky {
        assert_eq!(client.close_frame(), (1011, "internal error".into()));
        client.expect_end();
    }
    let panics = unlucky.len();
    drop(unlucky);

    let served = lucky.len();
    for place in 0..served {
        let next = (place + 1) % served;
        let message = json!({ "type": "message", "to": [format!("u{}", lucky[next].0)], "content": place });
        assert_eq!(lucky[place].1.ask(message)["delivered"], 1);
        assert_eq!(lucky[next].1.json()["content"], place);
    }
    eventually("the registry knows of the others alone", || {
        let counts = server.handle().counts().unwrap();
        (counts.connections, counts.closed_by_code[&1011]) == (served + honest::COUNT, panics as u64)
    });
    let peace = honest.finish();
    drop(lucky);
    server.shutdown(Duration::from_secs(10)).unwrap();
    let panics = format!("{panics} panics closed {panics} connections with 1011; the other {served} are served on");
    Figures::default().with(&panics).with(&peace)
}

/// The router's thread panics while it decides something. No client stays connected who could be honest beside that.
fn router_dies(size: Size) -> Figures {
    silence_panics_on_purpose();
    let count = size.of(100, 1_000);
    let mut config = unlimited();
    config.admin.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let server = Arc::new(serve_with(config, Anonymous));
    let (handle, admin) = (server.handle(), server.local_admin_addrs()[0]);
    let health = || exchange(admin, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let clients: Vec<Client> = (0..count).map(|n| Client::connect(&server, &format!("u{n}"))).collect();
    assert!(health().starts_with("HTTP/1.1 200 "));

    let (killed, noticed) = kill_router(&server);
    assert!(health().starts_with("HTTP/1.1 503 "));
    let nobody = Push::new("notice", "nobody gets this").unwrap();
    assert_eq!(handle.send(account("u1"), &nobody), Err(SendError::Stopped));
    let late = exchange(address(&server), upgrade_request("/ws?user_id=late", ""));
    assert!(late.is_empty() || late.starts_with("HTTP/1.1 503 "), "{late}");
    let server = Arc::into_inner(server).expect("nobody else has it");
    let bound = size.of(Duration::from_secs(10), Duration::from_secs(2));
    let stopped = scope(|scope| {
        let stopping = scope.spawn(|| {
            // As the binary does.
            server.shutdown(Duration::from_secs(1)).unwrap();
            killed.elapsed()
        });
        // Each of them hangs up, as clients do that are told; for one that does not, the server lingers.
        for mut client in clients {
            assert_eq!(client.close_frame().0, 1011);
            client.expect_end();
        }
        stopping.join().unwrap()
    });
    assert!(stopped <= bound, "{stopped:?}");
    let [noticed, stopped] = [noticed, stopped].map(|time| time.as_secs_f64());
    let figure = format!("wait returned the panic after {noticed:.2} s, all threads had ended after {stopped:.2} s");
    Figures::default().with(&figure).with(&format!("{count} of {count} clients were told 1011"))
}

/// Makes the router's thread panic, and waits until the server says so: when that began, and how long it took.
fn kill_router(server: &Arc<Server>) -> (Instant, Duration) {
    // It fails where an earlier row has set it.
    let _ = log::set_logger(&Saboteur);
    log::set_max_level(log::LevelFilter::Info);
    let (waiting, (said, says)) = (Arc::clone(server), channel());
    let thread = spawn(move || said.send(waiting.wait()).unwrap());
    let mut outsider = Client::open(address(server), "/chat?userId=1", "");
    let armed = Armed::now();
    let killed = Instant::now();
    // To say that it is no member, the router looks for a word that this dialect does not have, and logs that.
    outsider.send(&json!({ "TargetId": 100, "Type": 2, "Media": 1, "Content": "from outside" }));
    let outcome = says.recv_timeout(PATIENCE).expect("the server says that it has failed");
    let noticed = killed.elapsed();
    assert_eq!(outcome.unwrap_err().to_string(), format!("the router panicked: {ON_PURPOSE}"));
    thread.join().unwrap();
    drop(armed);
    (killed, noticed)
}

/// A log that panics while it is armed, if it is the router's thread that logs: over each line, also that of the panic.
struct Saboteur;

static ARMED: AtomicBool = AtomicBool::new(false);

/// As long as it lives; also a row that fails leaves the log as it was.
struct Armed;

impl Armed {
    fn now() -> Self {
        ARMED.store(true, Ordering::Relaxed);
        Self
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        ARMED.store(false, Ordering::Relaxed);
    }
}

impl log::Log for Saboteur {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {
        let is_router = current().name() == Some("hw-router");
        assert!(!is_router || !ARMED.load(Ordering::Relaxed), "{ON_PURPOSE}");
    }

    fn flush(&self) {}
}

fn unlimited() -> Config {
    configured(|config| (config.max_per_address, config.accepts_per_second) = (None, None))
}

/// They are expected, and a thousand of them would hide all else.
fn silence_panics_on_purpose() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload_as_str() != Some(ON_PURPOSE) {
                others(info);
            }
        }));
    });
}
