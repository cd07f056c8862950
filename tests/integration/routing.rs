//! What is for many and what is for few, on their way at the same time; with either way of doing the router's work.

use crate::support::{Client, account, configured, eventually, serve};
use heartwire::Server;
use heartwire::config::RouterWork;
use serde_json::{Value, json};
use std::time::Duration;

const MEMBERS: usize = 200;

/// Runs a test with a router that does all of its work, and with connections that help.
fn with_either(test: impl Fn(Server)) {
    for work in [RouterWork::Dedicated, RouterWork::Helped] {
        test(serve(configured(|config| {
            (config.router, config.offline_grace) = (work, Duration::from_millis(100));
            (config.max_per_address, config.message_rate, config.deliveries_per_second) = (None, None, None);
        })));
    }
}

/// Members of the room `all`.
fn crowd(server: &Server) -> Vec<Client> {
    let join = |n| {
        let mut member = Client::connect(server, &format!("m{n}"));
        assert_eq!(member.ask(json!({ "type": "join", "room": "all" }))["type"], "ack");
        member
    };
    (0..MEMBERS).map(join).collect()
}

fn contents(client: &mut Client, count: usize) -> Vec<Value> {
    (0..count).map(|_| client.json()["content"].clone()).collect()
}

#[test]
fn messages_for_few_and_for_many_from_one_connection_arrive_in_order() {
    with_either(|server| {
        let mut members = crowd(&server);
        let (mut talks, mut listens) = (Client::connect(&server, "talks"), Client::connect(&server, "listens"));
        let mut sender = members.pop().unwrap();
        // Many wide ones at once, of which each has to wait for the one before; and behind each, one for a single member.
        for n in 0..20 {
            sender.send(&json!({ "type": "message", "room": "all", "content": n }));
            sender.send(&json!({ "type": "message", "to": ["m0"], "content": format!("behind {n}") }));
            talks.send(&json!({ "type": "message", "to": ["listens"], "content": n }));
        }
        let numbers: Vec<Value> = (0..20).map(Value::from).collect();
        assert_eq!(contents(&mut listens, 20), numbers);
        let own: Vec<Value> = (0..20).flat_map(|n| [json!(n), json!(format!("behind {n}"))]).collect();
        assert_eq!(contents(&mut members[0], 40), own, "what one connection sends stays in order");
        for member in &mut members[1..] {
            assert_eq!(contents(member, 20), numbers);
        }
    });
}

#[test]
fn what_was_sent_to_many_arrives_though_its_sender_leaves_and_the_server_stops() {
    with_either(|server| {
        let mut members = crowd(&server);
        let mut sender = members.pop().unwrap();
        for n in 0..10 {
            sender.send(&json!({ "type": "message", "room": "all", "content": n }));
        }
        assert_eq!(sender.ask(json!({ "type": "message", "room": "all", "content": 10 }))["delivered"], MEMBERS - 1);
        drop(sender);
        let stopping = std::thread::spawn(move || server.shutdown(Duration::from_secs(20)));
        for member in &mut members {
            assert_eq!(contents(member, 11), (0..11).map(Value::from).collect::<Vec<_>>());
            assert_eq!(member.close_frame().0, 1001);
            member.expect_end();
        }
        stopping.join().unwrap().unwrap();
    });
}

#[test]
fn the_end_of_a_grace_is_noticed_whoever_began_it() {
    with_either(|server| {
        let mut watcher = Client::connect(&server, "watcher");
        watcher.ask(json!({ "type": "presence", "accounts": ["guest"], "watch": true }));
        for _ in 0..5 {
            let mut guest = Client::connect(&server, "guest");
            assert_eq!(watcher.json()["accounts"][0]["online"], true);
            guest.socket.close(None).unwrap();
            guest.expect_end();
            assert_eq!(watcher.json()["accounts"][0]["online"], false);
        }
    });
}

#[test]
fn connections_come_talk_and_go_at_once_and_nothing_is_lost() {
    with_either(|server| {
        let server = &server;
        let mut listens = Client::connect(server, "listens");
        std::thread::scope(|scope| {
            for talker in 0..8 {
                scope.spawn(move || {
                    for round in 0..20 {
                        let mut client = Client::connect(server, &format!("talker{talker}"));
                        for n in 0..5 {
                            let content = [talker, round * 5 + n];
                            client.send(&json!({ "type": "message", "to": ["listens"], "content": content }));
                        }
                        client.socket.close(None).unwrap();
                        client.expect_end();
                    }
                });
            }
            let mut next = [0; 8];
            for content in contents(&mut listens, 8 * 100) {
                let talker = usize::try_from(content[0].as_u64().unwrap()).unwrap();
                assert_eq!(content[1], next[talker], "of talker {talker}");
                next[talker] += 1;
            }
        });
        eventually("all have gone", || server.handle().connections(account("talker0")).unwrap().is_empty());
    });
}
