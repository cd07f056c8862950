//! Who has come and who has gone: once for each account, to watchers and to the program.

use crate::support::{Client, account, address, configured, eventually, serve_with};
use heartwire::{Handler, PresenceChange, Server};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keeps what it is told, as `+alice` and `-alice`; `stop` holds it up.
#[derive(Clone, Default)]
struct Diary {
    entries: Arc<Mutex<Vec<String>>>,
    stop: Arc<Mutex<()>>,
}

impl Diary {
    fn entries(&self) -> Vec<String> {
        self.entries.lock().unwrap().clone()
    }
}

impl Handler for Diary {
    fn presence(&self, change: &PresenceChange) {
        assert!(change.account.as_str() != "panic", "on purpose");
        drop(self.stop.lock());
        let sign = if change.online { '+' } else { '-' };
        self.entries.lock().unwrap().push(format!("{sign}{}", change.account));
    }
}

fn connect(server: &Server, account: &str, device: usize) -> Client {
    let mut client = Client::open(address(server), &format!("/ws?user_id={account}&device={device}"), "");
    assert_eq!(client.json()["type"], "register");
    client
}

#[test]
fn a_thousand_comings_and_goings_of_five_devices_within_the_grace_are_one_online_and_one_offline() {
    let diary = Diary::default();
    let server = serve_with(configured(|config| config.accepts_per_second = None), diary.clone());
    let mut watcher = Client::connect(&server, "watcher");
    watcher.ask(json!({ "type": "presence", "accounts": ["alice"], "watch": true }));
    for round in 0..200 {
        let mut devices: Vec<_> = (0..5).map(|device| connect(&server, "alice", device)).collect();
        // Another one is the last each time, and every second time they just vanish.
        devices.rotate_left(round % 5);
        for mut device in devices {
            if round % 2 == 0 {
                device.socket.close(None).unwrap();
                device.expect_end();
            }
        }
        if round % 20 == 0 {
            let none_left = || server.handle().connections(account("alice")).unwrap().is_empty();
            eventually("nobody is connected", none_left);
            let presence = &server.handle().presence(vec![account("alice")]).unwrap()[0];
            assert_eq!((presence.online, presence.connections), (true, 0));
        }
    }
    eventually("alice is offline", || diary.entries().last().is_some_and(|last| last == "-alice"));
    assert_eq!(diary.entries(), ["+watcher", "+alice", "-alice"]);
    let news = [watcher.json(), watcher.json()].map(|news| news["accounts"][0]["online"].clone());
    assert_eq!(news, [true, false]);
    watcher.send(&json!({ "type": "heartbeat" }));
    assert_eq!(watcher.json()["type"], "heartbeat", "no third news");
}

#[test]
fn a_program_that_does_not_keep_up_delays_nobody_and_a_panic_costs_one_change() {
    let diary = Diary::default();
    let server = serve_with(configured(|config| config.offline_grace = Duration::ZERO), diary.clone());
    let held = diary.stop.lock().unwrap();
    let mut a = connect(&server, "a", 0);
    let b = connect(&server, "b", 0);
    assert_eq!(a.ask(json!({ "type": "message", "to": ["b"], "content": 1 }))["delivered"], 1);
    drop(b);
    eventually("b is gone", || server.handle().connections(account("b")).unwrap().is_empty());
    assert_eq!(diary.entries(), Vec::<String>::new());
    drop(held);
    eventually("it is told", || diary.entries() == ["+a", "+b", "-b"]);
    let _unlucky = connect(&server, "panic", 0);
    let _c = connect(&server, "c", 0);
    eventually("it is told of the next", || diary.entries().last().is_some_and(|last| last == "+c"));
    server.shutdown(Duration::from_secs(1)).unwrap();
}

#[test]
fn a_server_that_stops_says_of_nobody_that_he_has_gone() {
    let diary = Diary::default();
    let grace = Duration::from_millis(1);
    let server = serve_with(configured(|config| config.offline_grace = grace), diary.clone());
    // It does not answer the Close, so that the shutdown outlasts the grace.
    let _alice = connect(&server, "alice", 0);
    server.shutdown(Duration::from_secs(1)).unwrap();
    assert_eq!(diary.entries(), ["+alice"]);
}
