//! The library: handles, kept connections, several servers, what does not start.

use crate::handlers::Tokens;
use crate::raw::Peer;
use crate::support::{
    Client, account, address, config, configured, eventually, exchange, serve, serve_with, upgrade_request,
};
use heartwire::{
    Account, Anonymous, CloseKind, CloseReason, Config, Connection, Error, Frame, Handler, InvalidPush, Push, Room,
    SendError, Server, Target,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn room(name: &str) -> Room {
    Room::new(name).unwrap()
}

fn news(content: u32) -> Push {
    Push::new("news", &content).unwrap()
}

#[test]
fn an_account_is_put_into_a_room_with_its_later_connections_too() {
    let server = serve(config());
    let handle = server.handle();
    let mut before = Client::connect(&server, "a");
    assert!(handle.join(account("a"), room("r")).unwrap());
    assert!(!handle.join(account("a"), room("r")).unwrap());
    assert!(handle.join(account("offline"), room("r")).unwrap());
    let mut after = Client::connect(&server, "a");
    assert_eq!(handle.send(room("r"), &news(1)).unwrap().connections, 2);
    assert_eq!([before.json()["content"].clone(), after.json()["content"].clone()], [1, 1]);
    assert_eq!(before.ask(json!({ "type": "message", "room": "r", "content": 2 }))["delivered"], 1);
    assert_eq!(after.json()["content"], 2);
    let mut online = Client::connect(&server, "offline");
    assert_eq!(handle.send(room("r"), &news(3)).unwrap().accounts, 2);
    assert_eq!(online.json()["content"], 3);

    assert!(handle.leave(account("a"), room("r")).unwrap());
    assert!(!handle.leave(account("a"), room("r")).unwrap());
    let _later = Client::connect(&server, "a");
    assert_eq!(handle.send(room("r"), &news(4)).unwrap().connections, 1);
}

#[test]
fn a_send_says_whom_it_reached_and_who_is_missing() {
    let server = serve(config());
    let handle = server.handle();
    let (mut a1, mut a2) = (Client::connect(&server, "a"), Client::connect(&server, "a"));
    let mut b = Client::connect(&server, "b");
    let named: Vec<Account> = ["a", "absent", "b", "a", "gone", "absent"].map(account).to_vec();
    let reach = handle.send(named, &news(1)).unwrap();
    assert_eq!((reach.accounts, reach.connections), (2, 3));
    assert_eq!(reach.missing, ["absent", "gone"].map(account));

    b.ask_after_news(1, json!({ "type": "join", "room": "r" }));
    let in_room = handle.send(room("r"), &news(2)).unwrap();
    assert_eq!((in_room.accounts, in_room.connections, in_room.missing.len()), (1, 1, 0));
    assert_eq!(handle.send(room("empty"), &news(3)).unwrap().connections, 0);
    assert_eq!(handle.send(Target::All, &news(4)).unwrap().connections, 3);

    let connections = handle.connections(account("a")).unwrap();
    assert_eq!(connections.len(), 2);
    assert!(connections[0].since <= connections[1].since, "oldest first");
    assert_eq!(handle.send(connections[1].id.clone(), &news(5)).unwrap().connections, 1);
    let contents = |client: &mut Client, count: usize| -> Vec<Value> {
        (0..count).map(|_| client.json()["content"].clone()).collect()
    };
    assert_eq!(contents(&mut a1, 2), [1, 4]);
    assert_eq!(contents(&mut a2, 3), [1, 4, 5]);
    assert_eq!(contents(&mut b, 2), [2, 4]);
    assert_eq!(handle.disconnect(connections[0].id.clone(), CloseKind::Normal.into()).unwrap(), 1);
    assert_eq!(handle.send(connections[0].id.clone(), &news(6)).unwrap().connections, 0);
    assert_eq!(a1.close_frame().0, 1000);
    let presence = handle.presence(vec![account("b"), account("absent"), account("a")]).unwrap();
    assert_eq!(presence.iter().map(|of| of.connections).collect::<Vec<_>>(), [1, 0, 1]);
}

impl Client {
    /// Reads a push, then asks.
    fn ask_after_news(&mut self, content: u32, frame: Value) -> Value {
        assert_eq!(self.json()["content"], content);
        self.ask(frame)
    }
}

#[test]
fn a_push_borrows_no_type_of_the_protocol_and_is_json_for_every_client() {
    for reserved in ["register", "heartbeat", "ping", "message", "ack", "presence", "error", "close", "hello", "token"]
    {
        assert!(matches!(Push::new(reserved, &()), Err(InvalidPush::Type(_))), "{reserved}");
    }
    for malformed in ["", "two\nlines", &"x".repeat(65)] {
        assert!(matches!(Push::new(malformed, &()), Err(InvalidPush::Type(_))), "{malformed:?}");
    }
    let nested = |depth| (1..depth).fold(json!([]), |inner, _| json!([inner]));
    assert!(Push::new("deep", &nested(63)).is_ok());
    assert!(matches!(Push::new("deep", &nested(64)), Err(InvalidPush::Content(_))));
    let keys_that_json_has_not = std::collections::BTreeMap::from([([1_u8], 2)]);
    assert!(matches!(Push::new("map", &keys_that_json_has_not), Err(InvalidPush::Content(_))));

    let server = serve(config());
    let mut client = Client::connect(&server, "a");
    let longest = "x".repeat(64);
    server.handle().send(account("a"), &Push::new(&longest, "\r\n\u{2028}\0").unwrap()).unwrap();
    assert_eq!(client.json(), json!({ "type": longest, "content": "\r\n\u{2028}\0" }));
}

/// Keeps every connection.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Vec<Connection>>>);

impl Handler for Keeper {
    fn opened(&self, connection: &Connection) {
        self.0.lock().unwrap().push(connection.clone());
    }
}

#[test]
fn a_connection_kept_by_the_program_sends_until_its_end_and_then_says_why_it_ended() {
    let keeper = Keeper::default();
    let server = serve_with(config(), keeper.clone());
    let mut clients = [Client::connect(&server, "a"), Client::connect(&server, "b"), Client::connect(&server, "c")];
    eventually("they are opened", || keeper.0.lock().unwrap().len() == 3);
    let kept = |name: &str| keeper.0.lock().unwrap().iter().find(|c| c.account().as_str() == name).cloned().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(kept);
    a.send(&news(1)).unwrap();
    assert_eq!(clients[0].json()["content"], 1);
    a.close(CloseReason::application(4000, "that was all").unwrap());
    a.close(CloseKind::Normal.into());
    assert_eq!(a.send(&news(2)).unwrap_err().to_string(), "4000 that was all");
    assert_eq!(clients[0].close_frame(), (4000, "that was all".into()));

    clients[1].socket.close(None).unwrap();
    clients[1].expect_end();
    drop(clients);
    eventually("all have left", || server.handle().counts().unwrap().closed_by_code.len() == 3);
    assert_eq!(a.send(&news(3)).unwrap_err().code(), 4000);
    assert_eq!(b.send(&news(3)).unwrap_err().kind(), CloseKind::PeerClosed(1005));
    assert_eq!(c.send_raw(Frame::Text("x")).unwrap_err().kind(), CloseKind::PeerGone);
    c.close(CloseKind::Normal.into());
    assert_eq!(c.handle().send(c.id().clone(), &news(3)).unwrap().connections, 0);
    assert_eq!(c.send(&news(3)).unwrap_err().kind(), CloseKind::PeerGone, "the first reason wins");
    server.shutdown(Duration::from_secs(20)).unwrap();
    assert_eq!(a.send(&news(4)).unwrap_err().code(), 4000);
}

#[test]
fn two_servers_in_one_process_do_not_know_of_each_other() {
    let servers = [serve(config()), serve(config())];
    let mut clients = servers.each_ref().map(|server| Client::connect(server, "a"));
    for (server, client) in servers.iter().zip(&mut clients) {
        assert_eq!(server.handle().send(Target::All, &news(1)).unwrap().connections, 1);
        assert_eq!(client.json()["content"], 1);
        eventually("it is counted", || server.handle().counts().unwrap().opened == 1);
    }
    let [first, second] = servers;
    first.shutdown(Duration::from_secs(20)).unwrap();
    assert_eq!(clients[0].close_frame().0, 1001);
    assert_eq!(second.handle().send(account("a"), &news(2)).unwrap().connections, 1);
    assert_eq!(clients[1].json()["content"], 2);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let running = serve(config());
    let taken = address(&running);
    let error = Server::bind(configured(|config| config.listen = vec![taken]), Anonymous).unwrap_err();
    assert!(
        matches!(&error, Error::Listen(address, cause)
        if *address == taken && cause.kind() == std::io::ErrorKind::AddrInUse),
        "{error}"
    );
    assert!(!error.is_configuration());
    let both = || config().listen[0];
    let error = Server::bind(configured(|config| config.listen = vec![both(), taken]), Anonymous).unwrap_err();
    assert!(matches!(error, Error::Listen(address, _) if address == taken));
    let error = Server::bind(configured(|config| config.stack_bytes = 1), Anonymous).unwrap_err();
    assert!(matches!(error, Error::Config(_)) && error.is_configuration());
}

#[test]
fn only_a_server_that_authenticates_or_is_told_so_listens_beyond_loopback() {
    let everywhere = |config: &mut Config| config.listen = vec!["0.0.0.0:0".parse().unwrap()];
    let error = Server::bind(configured(everywhere), Anonymous).unwrap_err();
    assert!(matches!(error, Error::OpenToAll(_)) && error.is_configuration(), "{error}");
    assert!(error.to_string().contains("allow-anonymous"), "{error}");
    Server::bind(configured(everywhere), Tokens).unwrap();
    let told_so = |config: &mut Config| {
        everywhere(config);
        config.allow_anonymous = true;
    };
    Server::bind(configured(told_so), Anonymous).unwrap();
}

#[test]
fn one_server_listens_on_several_addresses() {
    let server = serve(configured(|config| config.listen = vec![config.listen[0]; 3]));
    let clients: Vec<Client> =
        server.local_addrs().iter().map(|address| Client::open(*address, "/ws?user_id=a", "")).collect();
    assert_eq!(clients.len(), 3);
    assert_eq!(server.handle().connections(account("a")).unwrap().len(), 3);
}

#[test]
fn a_handle_outlives_its_server_and_says_that_it_has_stopped() {
    let server = serve(config());
    let handle = server.handle();
    let _peer = Peer::connect(&server, "a");
    drop(server);
    let stopped = SendError::Stopped;
    assert_eq!(handle.send(Target::All, &news(1)).unwrap_err(), stopped);
    assert_eq!(handle.send_raw(Target::All, Frame::Text("x")).unwrap_err(), stopped);
    assert_eq!(handle.disconnect(Target::All, CloseKind::Normal.into()).unwrap_err(), stopped);
    assert_eq!(handle.join(account("a"), room("r")).unwrap_err(), stopped);
    assert_eq!(handle.leave(account("a"), room("r")).unwrap_err(), stopped);
    assert_eq!(handle.presence(vec![]).unwrap_err(), stopped);
    assert_eq!(handle.connections(account("a")).unwrap_err(), stopped);
    assert_eq!(handle.counts().unwrap_err(), stopped);
    handle.stop();
}

#[test]
fn asking_a_server_to_stop_ends_the_wait_of_its_owner() {
    let server = serve(config());
    let handle = server.handle();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.wait());
        handle.stop();
        waiting.join().unwrap().unwrap();
    });
    let _still_serving = Client::connect(&server, "a");
}

#[test]
fn another_configuration_holds_for_those_who_come_and_costs_nobody_his_connection() {
    let server = serve(configured(|config| config.max_per_account = Some(1)));
    let mut early = Client::connect(&server, "a");
    let wanted = |change: &dyn Fn(&mut Config)| {
        configured(|config| {
            config.listen = server.local_addrs().to_vec();
            change(config);
        })
    };
    let wrong = server.reconfigure(wanted(&|config| config.path = "nowhere".into())).unwrap_err();
    assert!(wrong.is_configuration(), "{wrong}");
    let kept = server.reconfigure(wanted(&|config| {
        config.max_per_account = Some(2);
        config.path = "/elsewhere".into();
        config.message_rate = None;
        config.queue_bytes *= 2;
        config.listen.push(([127, 0, 0, 1], 0).into());
    }));
    assert_eq!(kept.unwrap(), ["listen", "queue-bytes"]);
    let mut late = Client::open(address(&server), "/elsewhere?user_id=a", "");
    assert_eq!(late.json()["type"], "register");
    let response = exchange(address(&server), upgrade_request("/elsewhere?user_id=a", ""));
    assert!(response.starts_with("HTTP/1.1 429 "), "the new limit: {response}");
    assert!(exchange(address(&server), upgrade_request("/ws?user_id=b", "")).starts_with("HTTP/1.1 404 "));
    assert_eq!(late.ask(json!({ "type": "message", "to": ["a"], "content": 1 }))["delivered"], 1);
    assert_eq!(early.json()["content"], 1);
}
