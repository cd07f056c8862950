//! What follows from each command, by example; `random` holds any sequence of them against a naive `model`.

use super::*;
use crate::auth::Identity;
use crate::protocol::message::{FrameId, MAX_ROOMS, MAX_ROOMS_PER_CONNECTION, Recipients};
use crate::protocol::wire;
use crate::record::Dialect;
use crate::router::command::{Command, Population};
use serde_json::Value;
use std::time::Duration;
use std::time::Instant;

mod model;
mod presence;
mod random;

const CLIENT: &str = "192.0.2.1:4000";

fn account(name: &str) -> Account {
    Account::new(name).unwrap()
}

fn accounts(names: &[&str]) -> Vec<Account> {
    names.iter().copied().map(account).collect()
}

fn room(name: &str) -> Room {
    Room::new(name).unwrap()
}

fn id() -> Option<FrameId> {
    Some(FrameId::new("id").unwrap())
}

/// What a frame says, in short: `ack id 2`, `error id 103`, `presence - bob=1`, or its text.
fn short(frame: &Bytes) -> String {
    let header = if frame[1] < 126 { 2 } else { 4 };
    let text = std::str::from_utf8(&frame[header..]).unwrap();
    if !text.starts_with('{') {
        return text.to_owned();
    }
    let json: Value = serde_json::from_str(text).unwrap();
    let id = json["id"].as_str().unwrap_or("-");
    match json["type"].as_str().unwrap() {
        "ack" => format!("ack {id} {}", json["delivered"]),
        "error" => format!("error {id} {}", json["error"]["code"]),
        "presence" => {
            let accounts = json["accounts"].as_array().unwrap().iter();
            let listed = accounts.map(|p| format!(" {}={}", p["account"].as_str().unwrap(), p["connections"]));
            format!("presence {id}{}", listed.collect::<String>())
        }
        other => panic!("the state made a frame of type {other}"),
    }
}

/// Effects in short, each with the connection it is for.
fn read(effects: &[Effect]) -> Vec<(Slot, String)> {
    let read = |effect: &Effect| match effect {
        Effect::Send { to, frame } => vec![(*to, short(frame))],
        Effect::Greet { to, greeting } => greeting.iter().map(|frame| (*to, short(frame))).collect(),
        Effect::Close { to, reason } => vec![(*to, format!("close {}", reason.code()))],
        Effect::Forget { slot } => vec![(*slot, "forget".into())],
        Effect::Announce { .. } => Vec::new(),
    };
    effects.iter().flat_map(read).collect()
}

fn registration(serial: u64, identity: Identity, limited_address: Option<IpAddr>) -> Registration {
    let info = ConnectionInfo {
        id: ConnectionId(format!("c-{serial}").into()),
        account: identity.account.clone(),
        device: "".into(),
        dialect: Dialect::Native,
        address: CLIENT.parse().unwrap(),
        since: std::time::SystemTime::UNIX_EPOCH,
    };
    let greeting = vec![wire::text_frame("101"), wire::text_frame("register")];
    Registration { serial, identity, limited_address, info: info.into(), greeting }
}

/// The state, and what it asked for since it was last looked at.
struct Fixture {
    state: State,
    effects: Vec<Effect>,
    serial: u64,
    now: Instant,
}

impl Fixture {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config { offline_grace: Duration::ZERO, ..Config::default() };
        change(&mut config);
        Self { state: State::new(Arc::new(config)), effects: Vec::new(), serial: 0, now: Instant::now() }
    }

    fn try_connect(&mut self, identity: Identity, address: Option<IpAddr>) -> Result<Key, Refusal> {
        self.serial += 1;
        self.state.register(registration(self.serial, identity, address), self.now, &mut self.effects)
    }

    fn try_connect_device(&mut self, name: &str, device: &str) -> Result<Key, Refusal> {
        self.serial += 1;
        let mut new = registration(self.serial, Identity::new(account(name)), None);
        Arc::make_mut(&mut new.info).device = device.into();
        self.state.register(new, self.now, &mut self.effects)
    }

    /// Connects and forgets what followed from it.
    fn connect(&mut self, name: &str) -> Key {
        let key = self.try_connect(Identity::new(account(name)), None).unwrap();
        self.effects.clear();
        key
    }

    fn apply(&mut self, from: Key, command: Command) -> Vec<(Slot, String)> {
        self.state.apply(from, command, self.now, &mut self.effects);
        self.seen()
    }

    fn seen(&mut self) -> Vec<(Slot, String)> {
        read(&std::mem::take(&mut self.effects))
    }

    fn join(&mut self, from: Key, name: &str) {
        assert_eq!(self.apply(from, Command::Join { room: room(name), id: id() }), [(from.slot, "ack id 0".into())]);
    }

    fn unregister(&mut self, key: Key, commands: u64) -> Vec<(Slot, String)> {
        self.state.unregister(key, commands, self.now, &mut self.effects);
        self.seen()
    }
}

fn say(to: &[&str], text: &str) -> Command {
    Command::Message { to: Recipients::Accounts(accounts(to)), frame: wire::text_frame(text), id: id() }
}

fn say_in(name: &str, text: &str) -> Command {
    Command::Message { to: Recipients::Room(room(name)), frame: wire::text_frame(text), id: id() }
}

/// `(connection, what)` for each, as [`read`] gives it.
fn each<const N: usize>(expected: [(Key, &str); N]) -> Vec<(Slot, String)> {
    expected.map(|(key, what)| (key.slot, what.to_owned())).into()
}

#[test]
fn a_senders_other_connections_get_a_message_that_names_it_and_the_sending_one_never() {
    let mut f = Fixture::new(|_| ());
    let (sending, other, bob) = (f.connect("alice"), f.connect("alice"), f.connect("bob"));
    assert_eq!(f.apply(sending, say(&["alice", "bob"], "m")), each([(other, "m"), (bob, "m"), (sending, "ack id 2")]));
    assert_eq!(f.apply(sending, say(&["bob"], "m")), each([(bob, "m"), (sending, "ack id 1")]));
    assert_eq!(f.apply(bob, say(&["bob"], "m")), each([(bob, "ack id 0")]));
    [sending, other, bob].into_iter().for_each(|key| f.join(key, "r"));
    assert_eq!(f.apply(sending, say_in("r", "m")), each([(other, "m"), (bob, "m"), (sending, "ack id 2")]));
    let broadcast = Command::Broadcast { frame: wire::text_frame("all"), id: id() };
    assert_eq!(f.apply(bob, broadcast), each([(sending, "all"), (other, "all"), (bob, "ack id 2")]));
}

#[test]
fn an_ack_counts_connections_and_only_an_id_asks_for_one() {
    let mut f = Fixture::new(|_| ());
    let (alice, first, second) = (f.connect("alice"), f.connect("bob"), f.connect("bob"));
    let delivered = f.apply(alice, say(&["bob", "nobody"], "m"));
    assert_eq!(delivered, each([(first, "m"), (second, "m"), (alice, "ack id 2")]));
    assert_eq!(f.apply(alice, say(&["nobody"], "m")), each([(alice, "ack id 0")]));
    for command in [
        Command::Message { to: Recipients::Accounts(accounts(&["nobody"])), frame: wire::text_frame("m"), id: None },
        Command::Join { room: room("r"), id: None },
        Command::Leave { room: room("r"), id: None },
    ] {
        assert_eq!(f.apply(alice, command), []);
    }
}

#[test]
fn only_members_send_to_a_room() {
    let mut f = Fixture::new(|_| ());
    let (alice, bob) = (f.connect("alice"), f.connect("bob"));
    f.join(bob, "r");
    assert_eq!(f.apply(alice, say_in("r", "m")), each([(alice, "error id 103")]));
    f.join(alice, "r");
    assert_eq!(f.apply(alice, say_in("r", "m")), each([(bob, "m"), (alice, "ack id 1")]));
    assert_eq!(f.apply(alice, Command::Leave { room: room("r"), id: id() }), each([(alice, "ack id 0")]));
    assert_eq!(f.apply(alice, say_in("r", "m")), each([(alice, "error id 103")]));
    assert_eq!(f.apply(bob, say_in("r", "m")), each([(bob, "ack id 0")]), "whoever left hears nothing of it");
}

#[test]
fn a_connection_joins_64_rooms_beside_those_it_was_put_into() {
    let mut f = Fixture::new(|_| ());
    assert_eq!(f.state.join_account(&account("alice"), &room("by the program")), Ok(true));
    let mut identity = Identity::new(account("alice"));
    identity.rooms = vec![room("by the handler")];
    let alice = f.try_connect(identity, None).unwrap();
    f.effects.clear();
    (0..MAX_ROOMS_PER_CONNECTION).for_each(|n| f.join(alice, &n.to_string()));
    f.join(alice, "0");
    let refused = Command::Join { room: room("one more"), id: id() };
    assert_eq!(f.apply(alice, refused), each([(alice, "error id 106")]));
    assert_eq!(f.state.population().rooms, MAX_ROOMS_PER_CONNECTION + 2);
    f.apply(alice, Command::Leave { room: room("0"), id: None });
    f.join(alice, "one more");
}

#[test]
fn a_server_keeps_so_many_rooms_and_an_existing_one_can_still_be_joined() {
    let mut f = Fixture::new(|config| config.max_per_account = None);
    let mut key = f.connect("alice");
    for n in 0..MAX_ROOMS {
        if n > 0 && n % MAX_ROOMS_PER_CONNECTION == 0 {
            key = f.connect("alice");
        }
        f.join(key, &n.to_string());
    }
    let newcomer = f.connect("bob");
    let refused = f.apply(newcomer, Command::Join { room: room("one more"), id: id() });
    assert_eq!(refused, each([(newcomer, "error id 106")]));
    f.join(newcomer, "0");
}

#[test]
fn beyond_the_delivery_limits_of_its_account_a_message_reaches_nobody() {
    let mut f = Fixture::new(|config| {
        config.deliveries_per_second = Some(4);
        config.delivered_bytes_per_second = Some(100);
    });
    let alice = f.connect("alice");
    let friends = ["bob", "carol", "dave"].map(|name| f.connect(name));
    let deliver = |f: &mut Fixture, text: &str| f.apply(alice, say(&["bob", "carol", "dave"], text)).len();
    assert_eq!(deliver(&mut f, "three of four"), friends.len() + 1);
    let refused = f.apply(alice, say(&["bob", "carol"], "two more"));
    assert_eq!(refused, each([(alice, "error id 106")]));
    assert_eq!(f.apply(friends[0], say(&["alice"], "m")).len(), 2, "another account has its own");
    f.now += Duration::from_secs(1);
    assert_eq!(deliver(&mut f, "three"), friends.len() + 1);
    f.now += Duration::from_secs(1);
    assert_eq!(f.apply(alice, say(&["bob"], &"x".repeat(60))).len(), 2);
    assert_eq!(f.apply(alice, say(&["bob"], &"x".repeat(60))), each([(alice, "error id 106")]));
    assert_eq!(deliver(&mut f, "y"), friends.len() + 1, "what was refused took nothing from either limit");
}

#[test]
fn other_delivery_limits_hold_at_once_and_the_same_ones_forget_nothing() {
    let config = |most| Arc::new(Config { deliveries_per_second: Some(most), ..Config::default() });
    let mut f = Fixture::new(|config| config.deliveries_per_second = Some(2));
    let (alice, _bob) = (f.connect("alice"), f.connect("bob"));
    let delivered = |f: &mut Fixture| (0..9).filter(|_| f.apply(alice, say(&["bob"], "m")).len() == 2).count();
    assert_eq!(delivered(&mut f), 2);
    f.state.reconfigure(config(2));
    assert_eq!(delivered(&mut f), 0);
    f.state.reconfigure(config(5));
    assert_eq!(delivered(&mut f), 5);
}

#[test]
fn reconnecting_does_not_renew_what_an_account_may_cause() {
    let mut f = Fixture::new(|config| config.deliveries_per_second = Some(2));
    f.connect("bob");
    for (text, expected) in [("first", "ack id 1"), ("second", "ack id 1"), ("third", "error id 106")] {
        let alice = f.connect("alice");
        assert_eq!(f.apply(alice, say(&["bob"], text)).last(), Some(&(alice.slot, expected.to_owned())), "{text}");
        f.unregister(alice, 1);
        // So many that those who are owed nothing are forgotten.
        for n in 0..100 {
            let other = f.connect(&format!("{text} {n}"));
            f.apply(other, say(&["bob"], "m"));
        }
    }
    f.now += Duration::from_secs(1);
    let alice = f.connect("alice");
    assert_eq!(f.apply(alice, say(&["bob"], "later")).len(), 2);
}

#[test]
fn a_newer_connection_replaces_the_older_with_4505() {
    let mut f = Fixture::new(|config| config.single = SingleConnection::Replace);
    let (bob, older) = (f.connect("bob"), f.connect("alice"));
    f.join(older, "r");
    let newer = f.try_connect(Identity::new(account("alice")), None).unwrap();
    assert_eq!(f.seen(), each([(newer, "101"), (newer, "register"), (older, "close 4505")]));
    assert_eq!(f.apply(bob, say(&["alice"], "m")), each([(newer, "m"), (bob, "ack id 1")]));
    assert_eq!(f.state.population(), Population { connections: 2, accounts: 2, rooms: 0 });
    assert_eq!(f.unregister(older, 1), each([(older, "forget")]));
}

#[test]
fn where_one_connection_is_allowed_the_second_is_refused_and_limits_count_those_that_are_there() {
    let from = |host: u8| Some(IpAddr::from([192, 0, 2, host]));
    let refused = |f: &mut Fixture, name: &str, host: u8| {
        let refusal = f.try_connect(Identity::new(account(name)), from(host)).unwrap_err();
        assert_eq!((refusal.status, refusal.close, f.seen()), (429, CloseKind::ConnectionLimit, vec![]));
    };
    let mut f = Fixture::new(|config| config.single = SingleConnection::Refuse);
    let alice = f.connect("alice");
    refused(&mut f, "alice", 1);
    f.unregister(alice, 0);
    f.connect("alice");

    let mut f = Fixture::new(|config| (config.max_per_account, config.max_per_address) = (Some(2), Some(3)));
    let admitted = |f: &mut Fixture, name: &str| f.try_connect(Identity::new(account(name)), from(1)).unwrap();
    let (first, ..) = (admitted(&mut f, "alice"), admitted(&mut f, "alice"), admitted(&mut f, "bob"));
    f.effects.clear();
    refused(&mut f, "alice", 2);
    refused(&mut f, "carol", 1);
    f.connect("carol");
    f.unregister(first, 0);
    admitted(&mut f, "alice");
}

#[test]
fn a_single_connection_may_be_that_of_each_device_of_an_account() {
    let mut f = Fixture::new(|config| {
        (config.single, config.single_by) = (SingleConnection::Replace, SingleBy::Device);
        config.max_per_account = Some(2);
    });
    let [phone, tablet] = ["phone", "tablet"].map(|device| f.try_connect_device("alice", device).unwrap());
    let other = f.try_connect_device("bob", "phone").unwrap();
    assert_eq!(f.seen().len(), 6, "all are greeted, and nobody is closed");
    let newer = f.try_connect_device("alice", "phone").unwrap();
    let seen = each([(newer, "101"), (newer, "register"), (phone, "close 4505")]);
    assert_eq!(f.seen(), seen, "whom it replaces makes room for it");
    let refusal = f.try_connect_device("alice", "car").unwrap_err();
    assert_eq!((refusal.status, refusal.close), (429, CloseKind::ConnectionLimit), "which nobody does for a third");
    f.unregister(tablet, 0);
    let [first, second] = [(); 2].map(|()| f.try_connect_device("alice", "").unwrap());
    assert_eq!(f.seen().last(), Some(&(first.slot, "close 4505".to_owned())), "no label is one, too");
    assert_eq!(f.state.connections_of(&account("alice")).len(), 2);
    assert_eq!(f.apply(other, say(&["alice"], "m")), each([(newer, "m"), (second, "m"), (other, "ack id 2")]));

    let mut f = Fixture::new(|config| {
        (config.single, config.single_by) = (SingleConnection::Refuse, SingleBy::Device);
        config.max_per_account = Some(2);
    });
    let phone = f.try_connect_device("alice", "phone").unwrap();
    let refused = |f: &mut Fixture, device: &str| f.try_connect_device("alice", device).unwrap_err().message;
    assert_eq!(refused(&mut f, "phone"), "this device of the account is connected already");
    f.try_connect_device("alice", "tablet").unwrap();
    assert_eq!(refused(&mut f, "car"), "this account has 2 connections, the most it may have");
    f.unregister(phone, 0);
    f.try_connect_device("alice", "phone").unwrap();
}

#[test]
fn commands_that_an_unregistration_overtook_are_applied_with_the_membership_they_had() {
    let mut f = Fixture::new(|_| ());
    let (alice, bob) = (f.connect("alice"), f.connect("bob"));
    f.join(alice, "r");
    f.join(bob, "r");
    assert_eq!(f.unregister(alice, 4), each([(alice, "forget")]));
    assert_eq!(f.apply(bob, say(&["alice"], "gone")), each([(bob, "ack id 0")]));
    assert_eq!(f.apply(alice, say_in("r", "last words"))[0], (bob.slot, "last words".into()));
    assert_eq!(f.apply(alice, say(&["bob"], "and more"))[0], (bob.slot, "and more".into()));
    let newcomer = f.connect("carol");
    assert_ne!(newcomer.slot, alice.slot, "its place is kept for what is still in flight");
    f.apply(alice, Command::Join { room: room("never"), id: None });
    assert_eq!(f.state.population(), Population { connections: 2, accounts: 2, rooms: 1 });
    let successor = f.connect("dave");
    assert_eq!(successor.slot, alice.slot);
    assert_eq!(f.apply(alice, say(&["bob"], "too late")), [], "the successor does not speak for it");
    assert_eq!(f.unregister(alice, 4), []);
}

#[test]
fn a_draining_server_refuses_newcomers_and_names_those_who_are_there() {
    let mut f = Fixture::new(|_| ());
    let (alice, bob, carol) = (f.connect("alice"), f.connect("bob"), f.connect("carol"));
    f.unregister(bob, 0);
    assert_eq!(f.state.drain().collect::<Vec<_>>(), [alice.slot, carol.slot]);
    let refusal = f.try_connect(Identity::new(account("dave")), None).unwrap_err();
    assert_eq!((refusal.status, refusal.close), (503, CloseKind::GoingAway));
    assert_eq!(f.apply(alice, say(&["carol"], "still")).len(), 2);
}

#[test]
fn a_push_says_whom_it_reached_and_who_is_missing() {
    let mut f = Fixture::new(|_| ());
    let (alice, bob, second) = (f.connect("alice"), f.connect("bob"), f.connect("bob"));
    f.join(bob, "r");
    let mut push = |target: Target| {
        let reach = f.state.push(&target, &wire::text_frame("p"), &mut f.effects);
        (reach, f.seen().into_iter().map(|(slot, _)| slot).collect::<Vec<_>>())
    };
    let reach = |accounts: usize, connections: usize, missing: Vec<Account>| Reach {
        accounts,
        connections,
        missing,
        ..Reach::default()
    };
    let named = Target::Accounts(accounts(&["zoe", "bob", "eve", "bob"]));
    assert_eq!(push(named), (reach(1, 2, accounts(&["eve", "zoe"])), vec![bob.slot, second.slot]));
    assert_eq!(push(room("r").into()), (reach(1, 1, vec![]), vec![bob.slot]));
    assert_eq!(push(Target::All), (reach(2, 3, vec![]), vec![alice.slot, bob.slot, second.slot]));
    assert_eq!(push(Target::Connection(ConnectionId("c-1".into()))), (reach(1, 1, vec![]), vec![alice.slot]));
    assert_eq!(push(Target::Connection(ConnectionId("c-9".into()))), (reach(0, 0, vec![]), vec![]));
}
