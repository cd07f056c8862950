//! Clients who stop reading: what waits for them is bounded for each and for all together, and they are cut.

use crate::crowd::{ask, connected, dial_from, enter, get, loopback};
use crate::honest::Honest;
use crate::raw::{CLOSE, Peer};
use crate::scene::{Scene, Strain};
use crate::suite::{Figures, Row, Size};
use crate::support::{Client, eventually};
use crate::swarm::frames;
use serde_json::json;
use std::io::Read;
use std::net::SocketAddr;
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

pub const ROWS: &[Row] = &[
    Row { name: "slow_reader", threat: "slow reader", run: slow_reader },
    Row { name: "slow_readers_beyond_the_budget", threat: "slow reader", run: beyond_the_budget },
];

/// The text of a message; with the rest of its frame it stays below the 64 KiB that a client may send.
const TEXT_BYTES: usize = 64_000;
/// What the kernel may keep for a client that does not read.
const RECEIVE_BUFFER: usize = 4 << 10;
const CUT_WITHIN: Duration = Duration::from_secs(15);
const MEMORY_BOUND: usize = 250 << 20;

/// Every reader is in a room in which somebody talks. Half of them read again once they were cut.
fn slow_reader(size: Size) -> Figures {
    // At full size 1 GiB is to be delivered.
    let (count, messages) = size.of((40, 100), (200, 84));
    let stage = Stage::set(count, &[]);
    let Stage { mut scene, admin, honest, mut talker, mut readers } = stage;
    for reader in &mut readers {
        assert_eq!(ask(reader, json!({ "type": "join", "room": "r" }))["type"], "ack");
    }
    ask(&mut talker, json!({ "type": "join", "room": "r" }));
    let (watch, begun) = (scene.watch(), Instant::now());
    let message = json!({ "type": "message", "room": "r", "content": "x".repeat(TEXT_BYTES) });
    let mut resumed = Vec::new();
    for _ in 0..messages {
        let delivered = &ask(&mut talker, message.clone())["delivered"];
        if delivered == 0 && resumed.is_empty() {
            resumed = readers.split_off(count / 2).into_iter().map(read_again).collect();
        }
    }
    let told = resumed.into_iter().filter_map(|reader| reader.join().unwrap()).filter(|code| *code == 4101).count();
    let took = all_cut(admin, count, begun);
    let strain = watch.end();
    assert!(told > 0, "the reason gets through to nobody");
    assert!(strain.memory_bytes < MEMORY_BOUND, "{strain:?}");
    judge(&mut scene, strain);
    let peace = honest.finish();
    scene.stop();
    let (mib, again) = ((count * messages * TEXT_BYTES) >> 20, count - count / 2);
    Figures::default()
        .with(&format!("{count} readers, {mib} MiB of fan-out: all cut after {took:.1?}"))
        .with(&format!("{told} of {again} who read again were told 4101"))
        .with(&strain)
        .with(&peace)
}

/// Every reader is sent texts of its own, the first one twice as many, and all of them together more than may wait.
fn beyond_the_budget(size: Size) -> Figures {
    let (count, budget, flags) = size
        .of((20, 4 << 20, &["--queue-total-bytes", "4MiB", "--write-deadline", "3s"][..]), (400, 256 << 20, &[][..]));
    let Stage { mut scene, admin, honest, mut talker, readers } = Stage::set(count, flags);
    let (watch, begun) = (scene.watch(), Instant::now());
    let (mut sent, mut most_waiting) = (0_usize, 0);
    for round in 0..20 {
        for n in (0..count).chain([0]) {
            let content = format!("{round}{}", "x".repeat(TEXT_BYTES));
            ask(&mut talker, json!({ "type": "message", "to": [name(n)], "content": content }));
            sent += content.len();
        }
        let left = waiting(admin);
        most_waiting = most_waiting.max(left.iter().sum());
        if left.is_empty() {
            break;
        }
    }
    let took = all_cut(admin, count, begun);
    let strain = watch.end();
    assert!(strain.memory_bytes < budget + budget / 4 + (32 << 20), "{strain:?}");
    let cut = get(admin, "/v1/closed?limit=1000&reason=slow_consumer");
    let first = cut["closed"].as_array().unwrap().last().unwrap();
    assert_eq!(first["account"], name(0), "the largest queue is cut first");
    let for_all = cut.to_string().matches("all queues together were full").count();
    assert!(for_all > 0, "the budget cut nobody: {cut}");
    judge(&mut scene, strain);
    let peace = honest.finish();
    scene.stop();
    drop(readers);
    let mib = |bytes: usize| bytes >> 20;
    Figures::default()
        .with(&format!("{count} readers, {} MiB of texts of their own: all cut after {took:.1?}", mib(sent)))
        .with(&format!("at most {} MiB of {} seen waiting, {for_all} cut for it", mib(most_waiting), mib(budget)))
        .with(&strain)
        .with(&peace)
}

/// Those who stopped reading, somebody who talks to them, and those who must not notice.
struct Stage {
    scene: Scene,
    admin: SocketAddr,
    honest: Honest,
    talker: Peer,
    readers: Vec<Peer>,
}

impl Stage {
    fn set(count: usize, flags: &[&str]) -> Self {
        let unlimited = ["--rate", "0", "--deliveries-per-second", "0", "--delivered-bytes-per-second", "0"];
        let admin = ["--admin-listen", "127.0.0.1:0"];
        let mut scene = Scene::serve(&[&unlimited[..], &admin, flags].concat());
        let (address, admin) = (scene.address, scene.admin_address());
        let honest = Honest::begin(address);
        let talker = enter(dial_from(loopback(1), address, None), "talker");
        let reader = |n| enter(dial_from(loopback(1), address, Some(RECEIVE_BUFFER)), &name(n));
        let readers = (0..count).map(reader).collect();
        Self { scene, admin, honest, talker, readers }
    }
}

fn name(n: usize) -> String {
    format!("stopped{n}")
}

/// What waits for each of those who stopped reading.
fn waiting(admin: SocketAddr) -> Vec<usize> {
    let page = get(admin, "/v1/connections?limit=1000&search=stopped");
    let connections = page["connections"].as_array().unwrap();
    connections.iter().map(|connection| connection["queued_bytes"].as_u64().unwrap() as usize).collect()
}

/// Waits until they are all gone, which must not take too long, and for having been too slow.
fn all_cut(admin: SocketAddr, count: usize, begun: Instant) -> Duration {
    eventually("all who stopped reading are gone", || connected(admin, "stopped") == 0);
    let took = begun.elapsed();
    assert!(took < CUT_WITHIN, "{took:?}");
    let cut = get(admin, "/v1/closed?limit=1000&reason=slow_consumer")["closed"].as_array().unwrap().len();
    assert_eq!(cut, count, "cut for being too slow");
    took
}

fn judge(scene: &mut Scene, strain: Strain) {
    assert!(strain.threads <= 2, "{strain:?}");
    assert!(scene.is_running());
    Client::open(scene.address, "/ws?user_id=newcomer", "");
}

/// Reads all that there is; the code of the Close that it ends with, if it ends with one.
fn read_again(mut reader: Peer) -> JoinHandle<Option<u16>> {
    spawn(move || {
        let mut received = Vec::new();
        // A server that has lost its patience resets the connection.
        let _ = reader.stream.read_to_end(&mut received);
        let (opcode, payload) = frames(&received).pop()?;
        (opcode == CLOSE).then(|| u16::from_be_bytes([payload[0], payload[1]]))
    })
}
