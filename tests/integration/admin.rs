//! The HTTP interface for a back end: what it does, whom it lets do it, and what it says to everybody else.
//!
//! Every answer in here is held against `docs/openapi.json`.

mod command;
mod connections;
mod metrics;
mod people;
mod pushes;
mod refusals;
mod spec;
mod top;

use crate::support::*;
use heartwire::config::{AdminKey, AdminRole};
use heartwire::{Config, Server};
use serde_json::{Value, json};
use spec::Spec;
use std::net::SocketAddr;

const PUSH_KEY: &str = "hwk_of-a-back-end-of-which-nobody-knows";
const MONITOR_KEY: &str = "hwk_of-a-monitor-that-only-looks-around";
const ADMIN_KEY: &str = "hwk_of-an-operator-whom-everybody-fears";

/// A configuration with the HTTP interface on a free port, and a key of each role.
fn with_admin() -> Config {
    configured(|config| {
        config.admin.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.admin.keys = vec![
            AdminKey::new("back-end", AdminRole::Push, PUSH_KEY),
            AdminKey::new("monitoring", AdminRole::Monitor, MONITOR_KEY),
            AdminKey::new("operator", AdminRole::Admin, ADMIN_KEY),
        ];
    })
}

/// The HTTP interface of a server, and what is written about it.
struct Api {
    address: SocketAddr,
    spec: Spec,
}

impl Api {
    fn of(server: &Server) -> Self {
        Self { address: server.local_admin_addrs()[0], spec: Spec::read() }
    }

    /// Asks as the operator; a body that is not null is sent as JSON.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask_with(method, path, &format!("Authorization: Bearer {ADMIN_KEY}\r\n"), &body)
    }

    fn get(&self, path: &str) -> Value {
        self.ask("GET", path, &Value::Null).ok()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, body).ok()
    }

    /// Asks with these headers, besides those that a body needs.
    fn ask_with(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        self.exchange(method, path, request(method, path, headers, body))
    }

    /// Sends these bytes, and holds the answer against what is written about this method of this path.
    fn exchange(&self, method: &str, path: &str, request: impl AsRef<[u8]>) -> Answer {
        self.judge(method, path, &exchange(self.address, request))
    }

    fn judge(&self, method: &str, path: &str, text: &str) -> Answer {
        let answer = Answer::parse(text);
        self.spec.check(method, path, answer.status, answer.media_type(), &answer.body);
        answer
    }
}

/// A request with all that is needed, and these headers.
fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let of_body = match body {
        "" => String::new(),
        body => format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{of_body}{headers}\r\n{body}")
}

/// An answer that was checked to be complete and the last of its connection. What is not JSON is a string of it.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head in {text:?}"));
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).expect(head);
        let mut answer = Self { status, head: head.to_owned(), body: Value::from(body) };
        assert_eq!(answer.header("content-length"), Some(&*body.len().to_string()), "{text}");
        assert_eq!(answer.header("connection"), Some("close"), "{text}");
        if answer.media_type() == "application/json" {
            answer.body = serde_json::from_str(body).expect(text);
        }
        answer
    }

    /// The media type without its parameters.
    fn media_type(&self) -> &str {
        self.header("content-type").unwrap().split(';').next().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        let first = values.next();
        assert!(values.next().is_none(), "{name} is there twice: {}", self.head);
        first
    }

    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// The message of a refusal with this status.
    #[track_caller]
    fn refused(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        self.body["error"]["message"].as_str().unwrap()
    }
}

#[test]
fn a_server_says_how_it_is_also_to_those_without_a_key() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    assert_eq!(api.ask_with("GET", "/healthz", "", "").ok(), json!({ "status": "ok" }));
    assert_eq!(api.ask_with("GET", "/readyz", "", "").ok(), json!({ "status": "ready" }));
}

#[test]
fn a_stopping_server_is_healthy_but_not_ready_and_does_nothing_more() {
    let server = serve(configured(|config| {
        *config = with_admin();
        // It waits for a client that does not answer its Close.
        config.linger = PATIENCE;
    }));
    let api = Api::of(&server);
    let client = Client::connect(&server, "alice");
    let stopping = std::thread::spawn(move || server.shutdown(PATIENCE));
    eventually("it is not ready", || api.ask_with("GET", "/readyz", "", "").status == 503);
    assert!(api.ask_with("GET", "/readyz", "", "").header("retry-after").is_some());
    api.ask_with("GET", "/healthz", "", "").ok();
    for (method, path) in [("GET", "/v1/accounts"), ("POST", "/v1/push"), ("POST", "/v1/disconnect")] {
        let answer = api.ask(method, path, &json!({}));
        assert!(answer.refused(503).contains("stopping"), "{:?}", answer.body);
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(api.ask_with("GET", "/v1/accounts", "", "").status, 401, "who may not ask is not told this, either");
    drop(client);
    stopping.join().unwrap().unwrap();
    assert!(std::net::TcpStream::connect(api.address).is_err());
}

#[test]
fn more_requests_than_are_answered_at_once_wait_for_their_turn() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let bob = Client::connect(&server, "bob");
    std::thread::scope(|scope| {
        let ask = || api.get("/v1/accounts")["accounts"].as_array().unwrap().len();
        let asking: Vec<_> = (0..200).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().for_each(|asked| assert_eq!(asked.join().unwrap(), 1));
    });
    drop(bob);
}
