//! What a handler decides, and what becomes of the others when it panics.

use crate::raw::{self, Peer};
use crate::support::{Client, account, address, config, configured, eventually, exchange, serve_with, upgrade_request};
use heartwire::config::Rate;
use heartwire::{
    Action, ClosedConnection, Config, Connection, ErrorCode, Frame, Handler, Identity, Idle, IdleAction, Message,
    Permissions, Protocol, Push, Recipients, Refusal, Request, Room, Server, Target, Verdict,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Panics wherever the account's name or the content says so, and counts the ends that it is told of.
#[derive(Clone, Default)]
struct Panics(Arc<Mutex<Vec<(String, u16)>>>);

impl Panics {
    fn panic_if(connection: &Connection, place: &str) {
        assert!(connection.account().as_str() != place, "on purpose");
    }
}

impl Handler for Panics {
    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        let account = request.claimed_account()?;
        assert!(account.as_str() != "authenticate", "on purpose");
        Ok(Identity::new(account))
    }

    fn opened(&self, connection: &Connection) {
        Self::panic_if(connection, "opened");
    }

    fn message(&self, _: &Connection, message: &mut Message<'_>) -> Verdict {
        assert!(message.content() != r#""panic""#, "on purpose");
        Verdict::Deliver
    }

    fn authorize(&self, connection: &Connection, action: &Action<'_>) -> Result<(), String> {
        if matches!(action, Action::Join(_)) {
            Self::panic_if(connection, "join");
        }
        Ok(())
    }

    fn frame(&self, connection: &Connection, frame: Frame<'_>) {
        Self::panic_if(connection, "frame");
        connection.send_raw(frame).unwrap();
    }

    fn idle(&self, connection: &Connection, _: Idle) -> IdleAction {
        Self::panic_if(connection, "idle");
        IdleAction::Nothing
    }

    fn closed(&self, connection: &Connection, record: &ClosedConnection) {
        self.0.lock().unwrap().push((connection.account().to_string(), record.reason.code()));
        Self::panic_if(connection, "closed");
    }
}

#[test]
fn a_panic_of_the_handler_costs_its_own_connection_only() {
    let panics = Panics::default();
    let idle_soon = |config: &mut Config| config.idle.reader = Some(Duration::from_millis(50));
    let server = serve_with(configured(idle_soon), panics.clone());
    let handle = server.handle();
    let (mut a, mut b) = (Client::connect(&server, "a"), Client::connect(&server, "b"));
    let mut bystander = Client::connect(&server, "message");
    for place in ["opened", "message", "join", "idle"] {
        let mut unlucky = Client::connect(&server, place);
        match place {
            "message" => unlucky.send(&json!({ "type": "message", "to": ["a"], "content": "panic" })),
            "join" => unlucky.send(&json!({ "type": "join", "room": "r" })),
            _ => {}
        }
        assert_eq!(unlucky.close_frame(), (1011, "internal error".into()), "{place}");
        unlucky.expect_end();
        drop(unlucky);
        eventually("the handler is told", || panics.0.lock().unwrap().contains(&(place.into(), 1011)));
    }
    let mut unlucky = Client::connect(&server, "closed");
    unlucky.socket.close(None).unwrap();
    unlucky.expect_end();
    drop(unlucky);
    let response = exchange(address(&server), upgrade_request("/ws?user_id=authenticate", ""));
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");

    eventually("the others are left", || {
        let counts = handle.counts().unwrap();
        (counts.connections, counts.accounts, counts.opened, counts.closed_by_code[&1011]) == (3, 3, 8, 4)
    });
    assert_eq!(a.ask(json!({ "type": "message", "to": ["b", "message"], "content": 1 }))["delivered"], 2);
    assert_eq!([b.json()["content"].clone(), bystander.json()["content"].clone()], [1, 1]);
    drop((a, b, bystander));
    server.shutdown(Duration::from_secs(20)).unwrap();
}

#[test]
fn what_was_received_before_the_handler_panicked_is_delivered() {
    let server = serve_with(config(), Panics::default());
    let (mut sender, mut receiver) = (Peer::connect(&server, "a"), Client::connect(&server, "b"));
    let message = |content: &str| raw::text(&json!({ "type": "message", "to": ["b"], "content": content }));
    sender.send([message("before"), message("panic"), message("after")].concat());
    assert_eq!(sender.ending().code, 1011);
    server.handle().send(account("b"), &Push::new("marker", &1).unwrap()).unwrap();
    assert_eq!([receiver.json()["content"].clone(), receiver.json()["content"].clone()], [json!("before"), json!(1)]);
}

#[test]
fn a_panic_over_a_frame_of_the_programs_own_costs_its_own_connection_only() {
    let server = serve_with(configured(|config| config.protocol = Protocol::Raw), Panics::default());
    let mut other = Client::open(address(&server), "/ws?user_id=a", "");
    let mut unlucky = Client::open(address(&server), "/ws?user_id=frame", "");
    unlucky.send_text("x");
    assert_eq!(unlucky.close_frame().0, 1011);
    other.send_text("still here");
    assert_eq!(other.message(), tungstenite::Message::text("still here"));
}

#[test]
fn a_protocol_of_the_programs_own_has_no_greeting_and_passes_every_message_as_it_is() {
    let server = serve_with(configured(|config| config.protocol = Protocol::Raw), Panics::default());
    let mut client = Client::open(address(&server), "/ws?user_id=a", "");
    for message in ["", "not json", r#"{"type":"heartbeat"}"#] {
        client.send_text(message);
        assert_eq!(client.message(), tungstenite::Message::text(message));
    }
    let bytes = tungstenite::Message::binary(vec![0xff, 0, 0x80]);
    client.socket.send(bytes.clone()).unwrap();
    assert_eq!(client.message(), bytes);
    assert_eq!(server.handle().send_raw(account("a"), Frame::Text("from outside")).unwrap().connections, 1);
    assert_eq!(client.message(), tungstenite::Message::text("from outside"));
    assert_eq!(server.handle().send_raw(Target::All, Frame::Binary(b"\xfe")).unwrap().connections, 1);
    assert_eq!(client.message(), tungstenite::Message::binary(vec![0xfe]));
}

/// Consumes, refuses, changes and redirects, as the content asks.
struct Censor;

impl Handler for Censor {
    fn message(&self, _: &Connection, message: &mut Message<'_>) -> Verdict {
        match message.content() {
            r#""consume""# => return Verdict::Consume,
            r#""refuse""# => return Verdict::Refuse(ErrorCode::PermissionDenied, "not that word".into()),
            r#""change""# => {
                let too_deep: Value = serde_json::from_str(&format!("{}{}", "[".repeat(64), "]".repeat(64))).unwrap();
                assert!(message.set_content(&too_deep).is_err(), "not every client could parse it");
                message.set_content(&json!({ "changed": true })).unwrap();
            }
            r#""redirect""# => message.to = Some(Recipients::Accounts(vec![account("c")])),
            _ => {}
        }
        Verdict::Deliver
    }

    fn authorize(&self, _: &Connection, action: &Action<'_>) -> Result<(), String> {
        match action {
            Action::Join(room) if room.as_str() == "refused" => Err("closed today".into()),
            Action::Message(Recipients::Accounts(to)) if to.iter().any(|to| to.as_str() == "refused") => {
                Err("not to them".into())
            }
            Action::Watch(accounts) if accounts.iter().any(|account| account.as_str() == "refused") => {
                Err("not them".into())
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn the_handlers_verdict_decides_what_becomes_of_a_message() {
    let server = serve_with(config(), Censor);
    let (mut a, mut b) = (Client::connect(&server, "a"), Client::connect(&server, "b"));
    let mut c = Client::connect(&server, "c");
    let mut say = |content: &str| a.ask(json!({ "type": "message", "to": ["b"], "content": content }));
    let consumed = say("consume");
    assert_eq!((&consumed["type"], &consumed["delivered"]), (&json!("ack"), &json!(0)));
    let refused = say("refuse");
    assert_eq!((&refused["error"]["code"], &refused["error"]["message"]), (&json!(103), &json!("not that word")));
    assert_eq!(say("change")["delivered"], 1);
    assert_eq!(b.json()["content"], json!({ "changed": true }), "the first two came to nothing");
    assert_eq!(say("redirect")["delivered"], 1);
    assert_eq!(c.json()["content"], "redirect");
    assert_eq!(say("as it is")["delivered"], 1);
    assert_eq!(b.json()["content"], "as it is");
}

#[test]
fn the_handler_decides_who_joins_writes_and_watches() {
    let server = serve_with(config(), Censor);
    let mut client = Client::connect(&server, "a");
    let mut ask = |frame: Value| client.ask(frame);
    assert_eq!(ask(json!({ "type": "join", "room": "refused" }))["error"]["code"], 103);
    assert_eq!(server.handle().counts().unwrap().rooms, 0);
    assert_eq!(ask(json!({ "type": "join", "room": "open" }))["type"], "ack");
    assert_eq!(server.handle().counts().unwrap().rooms, 1);
    let to_the_refused = json!({ "type": "message", "to": ["a", "refused"], "content": 1 });
    assert_eq!(
        ask(to_the_refused)["error"],
        json!({ "code": 103, "reason": "permission_denied", "message": "not to them" })
    );
    let mut watch = json!({ "type": "presence", "accounts": ["refused"], "watch": true });
    assert_eq!(ask(watch.clone())["error"]["code"], 103);
    watch["watch"] = json!(false);
    assert_eq!(ask(watch)["type"], "presence");
}

/// Knows two tokens: one for a member of the staff room, and one that may only listen.
pub struct Tokens;

impl Handler for Tokens {
    fn authenticates(&self) -> bool {
        true
    }

    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        match request.token() {
            Some("staff") => {
                let mut identity = Identity::new(account("boss"));
                identity.rooms = vec![Room::new("staff").unwrap()];
                Ok(identity)
            }
            Some("listener") => {
                let mut identity = Identity::new(account("listener"));
                let Permissions { message, broadcast, join, presence, .. } = &mut identity.permissions;
                (*message, *broadcast, *join, *presence) = (false, false, false, false);
                identity.rooms = vec![Room::new("staff").unwrap()];
                Ok(identity)
            }
            _ => Err(Refusal::unauthorized("who are you?")),
        }
    }
}

fn with_token(server: &Server, token: &str) -> Client {
    let mut client = Client::open(address(server), "/ws", &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(client.json()["type"], "register");
    client
}

#[test]
fn an_identity_says_in_which_rooms_a_connection_is_and_what_it_may_do() {
    let server = serve_with(configured(|config| config.broadcast = true), Tokens);
    let (mut boss, mut listener) = (with_token(&server, "staff"), with_token(&server, "listener"));
    assert_eq!(boss.ask(json!({ "type": "message", "room": "staff", "content": "hear" }))["delivered"], 1);
    assert_eq!(listener.json()["from"], "boss");
    for forbidden in [
        json!({ "type": "message", "to": ["boss"], "content": 0 }),
        json!({ "type": "message", "room": "staff", "content": 0 }),
        json!({ "type": "broadcast", "content": 0 }),
        json!({ "type": "join", "room": "r" }),
        json!({ "type": "presence", "accounts": ["boss"] }),
    ] {
        assert_eq!(listener.ask(forbidden.clone())["error"]["code"], 103, "{forbidden}");
    }
    listener.send(&json!({ "type": "heartbeat" }));
    assert_eq!(listener.json()["type"], "heartbeat");
    assert_eq!(boss.ask(json!({ "type": "broadcast", "content": 0 }))["delivered"], 1, "the first that it got");
    let response = exchange(address(&server), upgrade_request("/ws?token=guess", ""));
    assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
}

/// Tokens are `ACCOUNT SECONDS`: whose, and for how long.
struct Expiring;

fn identity_of(token: &str) -> Result<Identity, Refusal> {
    let wrong = || Refusal::unauthorized("that is no token");
    let (name, seconds) = token.split_once('-').ok_or_else(wrong)?;
    let mut identity = Identity::new(account(name));
    let seconds = seconds.parse().map_err(|_| wrong())?;
    identity.expires = Some(SystemTime::now() + Duration::from_secs(seconds));
    Ok(identity)
}

impl Handler for Expiring {
    fn authenticates(&self) -> bool {
        true
    }

    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        identity_of(request.token().unwrap_or_default())
    }

    fn renew(&self, _: &Connection, token: &str) -> Result<Identity, Refusal> {
        identity_of(token)
    }
}

#[test]
fn a_token_ends_its_connection_unless_it_is_renewed() {
    let server = serve_with(config(), Expiring);
    let (mut renewed, mut forgetful) = (with_token(&server, "a-1"), with_token(&server, "a-1"));
    assert_eq!(renewed.ask(json!({ "type": "token", "token": "b-3600" }))["error"]["code"], 103, "another account's");
    assert_eq!(renewed.ask(json!({ "type": "token", "token": "guess" }))["error"]["code"], 101);
    let ack = renewed.ask(json!({ "type": "token", "token": "a-3600" }));
    assert!((3_590_000..=3_600_000).contains(&ack["expires_in_ms"].as_u64().unwrap()), "{ack}");
    assert_eq!(forgetful.close_frame(), (4500, "authentication failed: the token has expired".into()));
    forgetful.expect_end();
    assert_eq!(renewed.ask(json!({ "type": "presence", "accounts": [] }))["type"], "presence", "it lives on");
    assert_eq!(renewed.ask(json!({ "type": "token", "token": "a-0" }))["type"], "ack");
    assert_eq!(renewed.close_frame().0, 4500);
}

#[test]
fn who_guesses_is_throttled_and_those_who_know_elsewhere_are_not() {
    let burst = 5;
    let throttled = |config: &mut Config| {
        config.auth_failures = Some(Rate { per_second: 1, burst });
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    };
    let server = serve_with(configured(throttled), Expiring);
    let attempt = |token: &str, from: u32| {
        let headers = format!("X-Forwarded-For: 192.0.2.{from}\r\n");
        exchange(address(&server), upgrade_request(&format!("/ws?token={token}&refuse=http"), &headers))
    };
    let guesses: Vec<String> = (0..100).map(|n| attempt(&format!("guess{n}"), 1)).collect();
    let count = |status: &str| guesses.iter().filter(|response| response.starts_with(status)).count();
    assert!(count("HTTP/1.1 401 ") >= burst as usize && count("HTTP/1.1 429 ") > 50, "{guesses:#?}");
    let refused = guesses.iter().find(|response| response.starts_with("HTTP/1.1 429 ")).unwrap();
    assert!(refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
    let mut somebody = Client::open(address(&server), "/ws?token=a-60", "X-Forwarded-For: 192.0.2.2\r\n");
    assert_eq!(somebody.json()["account"], "a");
    for n in 0..=burst {
        let answer = somebody.ask(json!({ "type": "token", "token": "guess" }));
        assert_eq!(answer["error"]["code"], if n < burst { 101 } else { 111 }, "attempt {n}");
    }
    eventually("patience helps", || {
        let headers = "X-Forwarded-For: 192.0.2.1\r\n";
        exchange(address(&server), upgrade_request("/ws?token=none&refuse=http", headers)).starts_with("HTTP/1.1 401 ")
    });
}
