//! Little that becomes much: messages to many, rooms without end.

use crate::crowd::{Readers, ask, dial_from, enter, loopback};
use crate::honest::Honest;
use crate::raw::{self, Peer};
use crate::scene::Scene;
use crate::suite::{Figures, Row, Size};
use crate::support::eventually;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[
    Row { name: "messages_to_thousands", threat: "amplification", run: messages_to_thousands },
    Row { name: "messages_to_accomplices", threat: "amplification", run: messages_to_accomplices },
    Row { name: "room_flood", threat: "amplification", run: room_flood },
];

/// As many accounts as a message may name, and as many rooms as a connection may join, and a server have.
const ACCOUNTS: usize = 256;
const ROOMS_OF_ONE: usize = 64;
const ROOMS: usize = 10_000;
/// The bytes that an account's messages may cause to be delivered in a second.
const PERMITTED: u64 = 64 << 20;
const TEXT_BYTES: usize = 60_000;
/// To how many accounts they may be delivered in a second.
const PERMITTED_DELIVERIES: u64 = 10_000;
/// So many connections may an account have, and as often may each send.
const CONNECTIONS: usize = 4;
const PAUSE: Duration = Duration::from_millis(10);

fn client(address: SocketAddr, account: &str) -> Peer {
    enter(dial_from(loopback(1), address, None), account)
}

fn error(answer: &Value) -> Option<u64> {
    answer["error"]["code"].as_u64()
}

/// Messages that each name 16,000 accounts, as fast as they may come.
fn messages_to_thousands(size: Size) -> Figures {
    let messages = size.of(200, 2_000);
    // 64 KiB hold no more than 11,000 different names.
    let scene = Scene::serve(&["--max-message-bytes", "256KiB"]);
    let (honest, watch) = (Honest::begin(scene.address), scene.watch());
    let mut attacker = client(scene.address, "attacker");
    let all: Vec<String> = (0..16_000).map(|n| format!("{n:x}")).collect();
    let (mut named, pause) = (0, Duration::from_millis(10));
    for to in [&all[..], &all[..ACCOUNTS + 1]].iter().cycle().take(messages) {
        let answer = ask(&mut attacker, json!({ "type": "message", "to": to, "content": 1 }));
        assert_eq!(error(&answer), Some(107), "{answer}");
        named += to.len();
        std::thread::sleep(pause);
    }
    let repeated = vec!["honest0"; 16_000];
    let answer = ask(&mut client(scene.address, "other"), json!({ "type": "presence", "accounts": repeated }));
    assert_eq!(answer["accounts"].as_array().map(Vec::len), Some(1), "one that is named often counts once: {answer}");
    let (strain, peace) = (watch.end(), honest.finish());
    scene.stop();
    Figures::default()
        .with(&format!("{messages} messages to {named} accounts: all error 107"))
        .with(&strain)
        .with(&peace)
}

/// An account with four connections sends 60,000 bytes to as many accomplices as a message may name, a hundred times a
/// second on each: 6 GB a second, if it were let.
fn messages_to_accomplices(size: Size) -> Figures {
    let time = Duration::from_secs(size.of(3, 20));
    let scene = Scene::serve(&[]);
    let honest = Honest::begin(scene.address);
    let (to, accomplices) = accomplices(scene.address);
    let watch = scene.watch();
    let message = raw::text(&json!({ "type": "message", "to": to, "content": "x".repeat(TEXT_BYTES) }));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            let (message, mut attacker) = (&message, client(scene.address, "attacker"));
            scope.spawn(move || {
                for n in 1.. {
                    attacker.send(message);
                    let due = begun + PAUSE * n;
                    if due > begun + time {
                        break;
                    }
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                attacker.stream.shutdown(std::net::Shutdown::Both).unwrap();
            });
        }
    });
    let elapsed = begun.elapsed();
    // One message may cause more than a second's worth, and is owed then.
    let permitted = PERMITTED * (elapsed.as_secs() + 2) + (ACCOUNTS * (TEXT_BYTES + 200)) as u64;
    let received = accomplices.bytes();
    assert!(received <= permitted, "{received} of {permitted}");
    assert!(received > PERMITTED / 2, "{received} are too few to show anything");
    let (strain, peace) = (watch.end(), honest.finish());
    accomplices.end();
    scene.stop();
    let rate = received as f64 / f64::from(1 << 20) / elapsed.as_secs_f64();
    Figures::default()
        .with(&format!("{ACCOUNTS} accomplices received {rate:.0} MiB a second in all"))
        .with(&short_ones(time))
        .with(&strain)
        .with(&peace)
}

/// The same with a byte of content: 100,000 deliveries a second, if it were let.
fn short_ones(time: Duration) -> String {
    let scene = Scene::serve(&[]);
    let honest = Honest::begin(scene.address);
    let (to, accomplices) = accomplices(scene.address);
    let message = json!({ "type": "message", "to": to, "content": 1 });
    let begun = Instant::now();
    let attack = || {
        let (mut attacker, mut delivered, mut refused) = (client(scene.address, "attacker"), 0, 0);
        while begun.elapsed() < time {
            let answer = ask(&mut attacker, message.clone());
            match error(&answer) {
                None => delivered += answer["delivered"].as_u64().unwrap(),
                Some(106) => refused += 1,
                Some(other) => panic!("error {other}"),
            }
            std::thread::sleep(PAUSE);
        }
        (delivered, refused)
    };
    let outcomes = std::thread::scope(|scope| {
        let attackers = [(); CONNECTIONS].map(|()| scope.spawn(attack));
        attackers.map(|attacker| attacker.join().unwrap())
    });
    let elapsed = begun.elapsed();
    let (delivered, refused) = outcomes.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let permitted = PERMITTED_DELIVERIES * (elapsed.as_secs() + 2) + ACCOUNTS as u64;
    assert!(delivered <= permitted, "{delivered} of {permitted}");
    assert!(delivered > PERMITTED_DELIVERIES / 2 && refused > 0, "{delivered}, and {refused} refused");
    honest.finish();
    accomplices.end();
    scene.stop();
    let rate = delivered as f64 / elapsed.as_secs_f64();
    format!("of messages of a byte {rate:.0} a second; {refused} got error 106")
}

/// Their names, and somebody who reads what they get.
fn accomplices(address: SocketAddr) -> (Vec<String>, Readers) {
    let names: Vec<String> = (0..ACCOUNTS).map(|n| format!("b{n}")).collect();
    let readers = Readers::begin(names.iter().map(|name| client(address, name)).collect());
    (names, readers)
}

/// As many connections as it takes join as many rooms as they may, and want more.
fn room_flood(_: Size) -> Figures {
    let scene = Scene::serve(&["--max-per-account", "0"]);
    let (honest, watch) = (Honest::begin(scene.address), scene.watch());
    let count = ROOMS.div_ceil(ROOMS_OF_ONE) + 3;
    let mut attackers: Vec<Peer> = (0..count).map(|_| client(scene.address, "attacker")).collect();
    let mut joined = 0;
    for (n, attacker) in attackers.iter_mut().enumerate() {
        for room in 0..ROOMS_OF_ONE + 2 {
            let answer = ask(attacker, json!({ "type": "join", "room": format!("{n}/{room}") }));
            let fits = room < ROOMS_OF_ONE && joined < ROOMS;
            assert_eq!(error(&answer), (!fits).then_some(106), "room {room} of {n}: {answer}");
            joined += usize::from(fits);
        }
    }
    let mut other = client(scene.address, "other");
    assert_eq!(error(&ask(&mut other, json!({ "type": "join", "room": "0/0" }))), None, "a room that there is");
    let join = json!({ "type": "join", "room": "new" });
    assert_eq!(error(&ask(&mut other, join.clone())), Some(106));
    let strain = watch.end();
    drop(attackers);
    eventually("there is room again", || error(&ask(&mut other, join.clone())).is_none());
    let peace = honest.finish();
    scene.stop();
    Figures::default().with(&format!("{count} connections made {joined} rooms, and no more")).with(&strain).with(&peace)
}
