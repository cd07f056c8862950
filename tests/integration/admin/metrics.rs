//! `GET /metrics`: a page that every reader takes, numbers that are right, and what is written about them.

mod page;
mod written;

use super::*;
use crate::raw::Peer;
use heartwire::config::RouterWork;
use heartwire::{CloseKind, CloseReason, Handler, OwnMetric};
use page::Page;
use std::sync::{Arc, Mutex};
use std::time::Duration;

impl Api {
    fn metrics(&self) -> Page {
        let headers = format!("Authorization: Bearer {MONITOR_KEY}\r\n");
        let answer = self.ask_with("GET", "/metrics", &headers, "");
        assert_eq!(answer.header("content-type"), Some(page::CONTENT_TYPE));
        Page::read(answer.ok().as_str().unwrap())
    }
}

/// How much each sample of a scripted conversation has grown.
struct Growth(Page, Page);

impl Growth {
    #[track_caller]
    fn is(&self, sample: &str, by: f64) {
        assert_eq!(self.1.value(sample) - self.0.value(sample), by, "{sample}");
    }
}

#[test]
fn a_server_that_has_seen_nothing_has_a_whole_page() {
    let server = serve(with_admin());
    let page = Api::of(&server).metrics();
    for sample in ["heartwire_connections", "heartwire_messages_received_total", "heartwire_round_trip_seconds_count"] {
        assert_eq!(page.value(sample), 0.0, "{sample}");
    }
    // A series that is there from the beginning shows its first change, too.
    for reason in ["heartbeat_timeout\",code=\"4201", "slow_consumer\",code=\"4101", "peer_gone\",code=\"1006"] {
        assert_eq!(page.value(&format!("heartwire_connections_closed_total{{reason=\"{reason}\"}}")), 0.0);
    }
    assert_eq!(page.value("heartwire_connections_refused_total{reason=\"authentication_failed\"}"), 0.0);
    assert_eq!(page.value(concat!("heartwire_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}")), 1.0);
}

#[test]
fn whoever_helps_the_router_is_counted_where_it_may_be_helped() {
    for (work, is_helped) in [(RouterWork::Dedicated, false), (RouterWork::Helped, true)] {
        let server = serve(configured(|config| (*config, config.router) = (with_admin(), work)));
        let api = Api::of(&server);
        let (mut alice, mut bob) = (Client::connect(&server, "alice"), Client::connect(&server, "bob"));
        for n in 0..20 {
            assert_eq!(alice.ask(json!({ "type": "message", "to": ["bob"], "content": n }))["delivered"], 1);
            assert_eq!(bob.json()["content"], n);
        }
        assert_eq!(api.metrics().value("heartwire_router_helped_total") > 0.0, is_helped, "{work:?}");
    }
}

#[test]
fn limits_are_those_of_the_configuration() {
    let server = serve(configured(|config| {
        *config = with_admin();
        config.max_connections = Some(40);
        config.queue_bytes = 300_000;
        config.queue_total_bytes = 5_000_000;
        config.max_message_bytes = 8 << 20;
    }));
    let page = Api::of(&server).metrics();
    for (sample, expected) in [
        ("heartwire_connections_limit", server.admission().max_connections()),
        ("heartwire_handshakes_limit", server.admission().max_handshakes()),
        ("heartwire_outbound_queue_limit_bytes", 300_000),
        ("heartwire_outbound_queued_limit_bytes", 5_000_000),
        ("heartwire_router_inbox_limit_batches", 32),
    ] {
        assert_eq!(page.value(sample), expected as f64, "{sample}");
    }
    assert_eq!(server.admission().max_connections(), 40);
}

#[test]
fn a_conversation_is_counted_to_the_byte() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    assert_eq!(alice.ask(json!({ "type": "join", "room": "garden" }))["type"], "ack");
    let before = api.metrics();
    // Each with a header of 2 bytes and a mask of 4.
    let to_bob = r#"{"type":"message","to":["bob"],"content":"hi there"}"#;
    alice.send_text(to_bob);
    let at_bob = bob.message().into_text().unwrap();
    let broken = r#"{"type":"message","to":["bob"]"#;
    bob.send_text(broken);
    let error = bob.message().into_text().unwrap();
    let messages = |page: &Page| page.value("heartwire_messages_received_total");
    // An answer may be there before what asked for it is counted.
    eventually("both messages are counted", || messages(&api.metrics()) == messages(&before) + 2.0);
    let growth = Growth(before, api.metrics());
    growth.is("heartwire_received_bytes_total", (6 + to_bob.len() + 6 + broken.len()) as f64);
    growth.is("heartwire_frames_sent_total", 2.0);
    growth.is("heartwire_sent_bytes_total", (header(&at_bob) + at_bob.len() + header(&error) + error.len()) as f64);
    growth.is("heartwire_router_latency_seconds_count", 1.0);
    growth.is("heartwire_router_turn_batches_count", 1.0);
    growth.is("heartwire_router_turn_batches_sum", 1.0);
    growth.is("heartwire_outbound_queue_bytes_count", 0.0);
    let page = &growth.1;
    for (sample, expected) in [
        ("heartwire_connections", 2.0),
        ("heartwire_handshakes", 0.0),
        ("heartwire_accounts", 2.0),
        ("heartwire_rooms", 1.0),
        ("heartwire_connections_accepted_total", 2.0),
        ("heartwire_connections_opened_total", 2.0),
        ("heartwire_handshake_seconds_count", 2.0),
    ] {
        assert_eq!(page.value(sample), expected, "{sample}");
    }
    assert!(page.value("heartwire_handshake_seconds_sum") > 0.0);
    assert!(page.value("heartwire_router_latency_seconds_sum") > 0.0);
}

/// How long the header of an unmasked frame with this payload is.
fn header(payload: &str) -> usize {
    if payload.len() < 126 { 2 } else { 4 }
}

#[test]
fn what_is_pushed_is_counted_as_frames_and_what_the_interface_says_is_not() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut alice = Client::connect(&server, "alice");
    let before = api.metrics();
    api.post("/v1/push", &json!({ "all": true, "message": { "type": "notice", "content": 1 } }));
    alice.json();
    (0..5).for_each(|_| drop(api.metrics()));
    let growth = Growth(before, api.metrics());
    growth.is("heartwire_frames_sent_total", 1.0);
    growth.is("heartwire_router_latency_seconds_count", 1.0);
    growth.is("heartwire_connections_accepted_total", 0.0);
}

#[test]
fn ends_and_refusals_are_counted_by_reason_and_nobody_invents_another() {
    let server = serve(with_admin());
    let (api, handle) = (Api::of(&server), server.handle());
    let connected = |name: &str| Client::connect(&server, name);
    for code in [1000_u16, 1011, 3000, 3001, 4999] {
        let mut client = connected("alice");
        let frame = tungstenite::protocol::CloseFrame { code: code.into(), reason: "".into() };
        client.socket.close(Some(frame)).unwrap();
        client.expect_end();
    }
    for code in [4000, 4001] {
        let mut client = connected("bob");
        handle.disconnect(account("bob"), CloseReason::application(code, "mine").unwrap()).unwrap();
        assert_eq!(client.close_frame().0, code);
    }
    let mut carol = connected("carol");
    handle.disconnect(account("carol"), CloseKind::Disconnected.into()).unwrap();
    assert_eq!(carol.close_frame().0, 4503);
    drop(connected("dave").socket.into_inner());
    drop(carol);
    assert!(exchange(address(&server), upgrade_request("/ws", "")).starts_with("HTTP/1.1 400"));
    assert!(exchange(address(&server), "potato\r\n\r\n").starts_with("HTTP/1.1 400"));
    let foreign = upgrade_request("/ws?user_id=a", "Origin: http://evil.example\r\n");
    assert!(exchange(address(&server), foreign).starts_with("HTTP/1.1 403"));
    let ended = |page: &Page| page.sum("heartwire_connections_closed_total");
    eventually("all have ended", || ended(&api.metrics()) == 9.0);
    let page = api.metrics();
    for (reason, code, expected) in [
        ("peer_closed", "1000", 1.0),
        ("peer_closed", "1011", 1.0),
        ("peer_closed", "other", 3.0),
        ("application", "other", 2.0),
        ("disconnected", "4503", 1.0),
        ("peer_gone", "1006", 1.0),
    ] {
        let sample = format!("heartwire_connections_closed_total{{reason=\"{reason}\",code=\"{code}\"}}");
        assert_eq!(page.value(&sample), expected, "{sample}");
    }
    assert_eq!(page.value("heartwire_connections_refused_total{reason=\"bad_request\"}"), 2.0);
    assert_eq!(page.value("heartwire_connections_refused_total{reason=\"policy\"}"), 1.0);
    let counts = handle.counts().unwrap();
    assert_eq!(counts.closed_by_code[&3001], 1, "the program learns the codes themselves");
    assert_eq!((counts.refused, counts.closed_by_code.values().sum::<u64>()), (3, 9));
}

#[test]
fn a_ping_and_its_answer_are_a_round_trip() {
    let server = serve(configured(|config| {
        *config = with_admin();
        config.heartbeat.interval = Some(Duration::from_millis(50));
        config.heartbeat.timeout = Some(PATIENCE);
    }));
    let api = Api::of(&server);
    // It reads, and so answers; another one does not.
    let mut alice = Client::connect(&server, "alice");
    let silent = Peer::connect(&server, "bob");
    alice.socket.get_ref().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    eventually("three round trips", || {
        let _ = alice.socket.read();
        api.metrics().value("heartwire_pings_answered_total") >= 3.0
    });
    let page = api.metrics();
    let answered = page.value("heartwire_pings_answered_total");
    assert_eq!(page.value("heartwire_round_trip_seconds_count"), answered);
    assert!(page.value("heartwire_round_trip_seconds_sum") > 0.0);
    assert!(page.value("heartwire_pings_sent_total") > answered);
    drop(silent);
}

#[test]
fn a_consumer_that_does_not_read_is_seen_before_it_is_cut() {
    let server = serve(configured(|config| {
        *config = with_admin();
        config.queue_total_bytes = 8 << 20;
        config.queue_bytes = 4 << 20;
    }));
    let (api, handle) = (Api::of(&server), server.handle());
    let _deaf = Client::connect(&server, "alice");
    let push = heartwire::Push::new("chunk", &"x".repeat(100_000)).unwrap();
    let waiting = || api.metrics().value("heartwire_outbound_queued_bytes");
    eventually("bytes wait", || {
        handle.send(account("alice"), &push).unwrap();
        waiting() > 0.0
    });
    let page = api.metrics();
    assert!(page.value("heartwire_outbound_queue_bytes_count") >= 1.0);
    assert!(page.value("heartwire_outbound_queue_bytes_sum") > 0.0);
    let cut = "heartwire_connections_closed_total{reason=\"slow_consumer\",code=\"4101\"}";
    assert_eq!(page.value(cut), 0.0);
    eventually("it is cut", || {
        let _ = handle.send(account("alice"), &push);
        api.metrics().value(cut) == 1.0
    });
    let page = api.metrics();
    assert!(page.value("heartwire_dropped_total{kind=\"outbound_frames\"}") > 0.0);
    assert_eq!(page.value("heartwire_outbound_queued_bytes"), 0.0);
}

#[test]
fn a_stopping_server_and_one_that_is_full_are_still_seen() {
    let server = serve(configured(|config| {
        *config = with_admin();
        config.max_connections = Some(1);
        config.linger = PATIENCE;
    }));
    let api = Api::of(&server);
    let alice = Client::connect(&server, "alice");
    let full = "heartwire_connections_refused_total{reason=\"over_capacity\"}";
    assert!(exchange(address(&server), upgrade_request("/ws?user_id=b", "")).starts_with("HTTP/1.1 503"));
    let page = api.metrics();
    assert_eq!((page.value(full), page.value("heartwire_connections")), (1.0, 1.0));
    let stopping = std::thread::spawn(move || server.shutdown(PATIENCE));
    eventually("it is not ready", || api.ask_with("GET", "/readyz", "", "").status == 503);
    let page = api.metrics();
    assert_eq!(page.value("heartwire_connections"), 1.0, "it has not left yet");
    drop(alice);
    stopping.join().unwrap().unwrap();
}

/// Counts as it is told to, or panics.
#[derive(Clone)]
struct Counting(Arc<Mutex<Option<Vec<OwnMetric>>>>);

impl Handler for Counting {
    fn metrics(&self) -> Vec<OwnMetric> {
        let metrics = self.0.lock().unwrap().clone();
        metrics.expect("something to count")
    }
}

#[test]
fn what_the_program_counts_stands_beside_and_what_is_no_metric_is_left_out() {
    let hostile = "a\\b\n# EOF\n\"c\"";
    let good = || {
        vec![
            OwnMetric::counter("shop_orders", hostile, 7),
            OwnMetric::counter("shop_returns_total", "", 8),
            OwnMetric::gauge("shop_open", "", 0.5),
            OwnMetric::gauge("shop_owed", "", -2.0),
        ]
    };
    let bad = [
        "",
        "1a",
        "a b",
        "a{b=\"c\"}",
        "a 1\n# EOF\nb",
        "ä",
        "heartwire_connections",
        "heartwire_messages_received",
        "process_threads",
        "heartwire_router_latency_seconds",
        "heartwire_build",
        "shop_open",
        "shop_orders_total",
    ];
    let mut metrics = good();
    metrics.extend(bad.map(|name| OwnMetric::counter(name, "", 666)));
    metrics.push(OwnMetric::gauge("shop_nothing", "", f64::NAN));
    let counting = Counting(Arc::new(Mutex::new(Some(metrics))));
    let server = serve_with(with_admin(), counting.clone());
    let api = Api::of(&server);
    let page = api.metrics();
    for (sample, value) in
        [("shop_orders_total", 7.0), ("shop_returns_total", 8.0), ("shop_open", 0.5), ("shop_owed", -2.0)]
    {
        assert_eq!(page.value(sample), value, "{sample}");
    }
    assert_eq!(page.help("shop_orders"), hostile);
    assert!(!page.text.contains("666") && !page.has("shop_nothing"));
    let without = page.families().len() - good().len();
    *counting.0.lock().unwrap() = None;
    assert_eq!(api.metrics().families().len(), without, "its panic costs its own metrics only");
    *counting.0.lock().unwrap() = Some(good());
    assert_eq!(api.metrics().value("shop_orders_total"), 7.0);
}
