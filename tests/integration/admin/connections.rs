//! Connections: how those that are there do, why others ended, and who was not let in.

use super::*;
use heartwire::{ClosedConnection, Connection, EndFilter, Handler};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// Ends by a Close of its own.
fn leave(mut client: Client, code: u16) {
    let frame = tungstenite::protocol::CloseFrame { code: code.into(), reason: "".into() };
    client.socket.close(Some(frame)).unwrap();
    while client.socket.read().is_ok() {}
}

fn accounts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["account"].as_str().unwrap()).collect()
}

/// What the page at `path` lists, once there are so many.
fn listed(api: &Api, path: &str, field: &str, count: usize) -> Value {
    let mut list = Value::Null;
    eventually(&format!("{count} of {path}"), || {
        list = api.get(path)[field].take();
        list.as_array().unwrap().len() == count
    });
    list
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

#[test]
fn what_a_connection_did_is_counted_exactly() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut client = Client::open(address(&server), "/ws?user_id=alice&device=phone&heartbeat_ms=20000", "");
    let register = client.json();
    let mut bytes_sent = 0;
    let before = api.get("/v1/connections?account=alice")["connections"][0].take();
    assert_eq!(before["id"], register["connection"]);
    assert_eq!((&before["device"], &before["dialect"]), (&json!("phone"), &json!("native")));
    assert_eq!(before["heartbeat"], json!({ "interval_ms": 22_000, "timeout_ms": 30_000 }));
    assert_eq!((&before["messages_received"], &before["frames_sent"]), (&json!(0), &json!(2)), "101 and register");
    assert_eq!((&before["background"], &before["closing"]), (&Value::Null, &Value::Null));
    for hidden in [true, false] {
        let frame = json!({ "type": "heartbeat", "background": hidden });
        bytes_sent += 6 + frame.to_string().len() as u64;
        client.send(&frame);
        assert_eq!(client.json()["type"], "heartbeat");
        eventually("what it said", || {
            api.get("/v1/connections?account=alice")["connections"][0]["background"] == hidden
        });
    }
    let after = api.get(&format!("/v1/connections/{}", register["connection"].as_str().unwrap()));
    assert_eq!((&after["messages_received"], &after["bytes_received"]), (&json!(2), &json!(bytes_sent)));
    assert_eq!(after["frames_sent"], 4);
    assert_eq!(after["background"], false, "what it said last");
    assert!(after["messages_per_second"].as_f64().unwrap() > 0.0 && after["frames_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(after["rooms"], json!([]));
    assert_eq!(after["round_trip_ms"], json!({ "last": null, "p50": null, "max": null }));
    client.send(&json!({ "type": "heartbeat" }));
    client.json();
    let mut seen = Value::Null;
    eventually("the third message", || {
        seen = api.get("/v1/connections")["connections"][0].take();
        seen["messages_received"] == 3
    });
    assert_eq!(seen["background"], false, "one that says nothing changes nothing");
    leave(client, 1000);
    let closed = listed(&api, "/v1/closed", "closed", 1)[0].take();
    assert_eq!((&closed["id"], &closed["messages_received"]), (&register["connection"], &json!(3)));
    assert_eq!((&closed["code"], &closed["reason"]), (&json!(1000), &json!("peer_closed")));
    assert_eq!(api.get("/v1/connections"), json!({ "connections": [], "total": 0, "next": null }));
}

#[test]
fn pings_and_their_round_trips_are_seen_while_they_go_on() {
    let server = serve(configured(|config| {
        *config = with_admin();
        config.heartbeat.interval = Some(std::time::Duration::from_millis(50));
    }));
    let api = Api::of(&server);
    let mut client = Client::connect(&server, "alice");
    let look = || api.get("/v1/connections")["connections"][0].take();
    // It reads, and so answers; after that it does neither, and pings go unanswered.
    assert!(client.socket.read().unwrap().is_ping());
    client.socket.flush().unwrap();
    eventually("a round trip", || look()["round_trip_ms"]["p50"].as_f64().is_some());
    let seen = look();
    let [last, p50, max] = ["last", "p50", "max"].map(|field| seen["round_trip_ms"][field].as_f64().unwrap());
    assert!(last <= max && p50 <= max, "{seen}");
    eventually("unanswered pings", || {
        let seen = look();
        seen["pings_sent"].as_u64().unwrap() > seen["pings_answered"].as_u64().unwrap() + 1
    });
}

#[test]
fn connections_are_searched_sorted_and_shown_in_pages() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut clients: Vec<_> = ["alice", "Bob", "carol", "dave"]
        .iter()
        .map(|name| {
            let mut client = Client::open(address(&server), &format!("/ws?user_id={name}&device={name}-phone"), "");
            client.json();
            client
        })
        .collect();
    let found = |query: &str| {
        let page = api.get(&format!("/v1/connections?{query}"));
        (accounts(&page["connections"]).join(" "), page["total"].as_u64().unwrap(), page["next"].clone())
    };
    assert_eq!(found(""), ("alice Bob carol dave".into(), 4, Value::Null));
    assert_eq!(found("search=BO"), ("Bob".into(), 1, Value::Null));
    assert_eq!(found("search=-PHONE"), ("alice Bob carol dave".into(), 4, Value::Null));
    assert_eq!(found("search=nobody"), (String::new(), 0, Value::Null));
    assert_eq!(found("account=carol"), ("carol".into(), 1, Value::Null));
    let port = clients[3].socket.get_ref().local_addr().unwrap().port();
    assert_eq!(found(&format!("search=:{port}")).0, "dave");
    let (first, total, next) = found("limit=3");
    assert_eq!((&*first, total), ("alice Bob carol", 4));
    assert_eq!(found(&format!("limit=3&after={}", next.as_str().unwrap())), ("dave".into(), 4, Value::Null));

    (0..5).for_each(|_| assert_eq!(clients[2].ask(json!({ "type": "join", "room": "r" }))["type"], "ack"));
    assert_eq!(found("sort=busiest&limit=1"), ("carol".into(), 4, Value::Null));
    // What Bob does not read waits for him.
    let huge = heartwire::Push::new("huge", &"x".repeat(16 << 20)).unwrap();
    server.handle().send(account("Bob"), &huge).unwrap();
    assert_eq!(found("sort=slowest&limit=1"), ("Bob".into(), 4, Value::Null));
    let slowest = api.get("/v1/connections?sort=slowest&limit=1")["connections"][0].take();
    assert!(slowest["queued_bytes"].as_u64().unwrap() > 0, "{slowest}");
    assert!(slowest["queue_high_water_bytes"].as_u64() >= slowest["queued_bytes"].as_u64(), "{slowest}");
    for wrong in ["sort=fastest", "sort=busiest&after=x", "account=", "acount=a"] {
        api.ask("GET", &format!("/v1/connections?{wrong}"), &Value::Null).refused(400);
    }
}

/// Keeps what it is told of ends.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<ClosedConnection>>>);

impl Handler for Told {
    fn closed(&self, _: &Connection, record: &ClosedConnection) {
        self.0.lock().unwrap().push(record.clone());
    }
}

#[test]
fn ends_are_found_by_account_reason_and_time_and_the_handler_gets_the_same() {
    let told = Told::default();
    let server = serve_with(with_admin(), told.clone());
    let api = Api::of(&server);
    assert_eq!(api.get("/v1/closed"), json!({ "closed": [], "next": null }));
    leave(Client::connect(&server, "alice"), 1001);
    listed(&api, "/v1/closed", "closed", 1);
    let between = unix_ms() + 1;
    eventually("the next millisecond", || unix_ms() > between);
    leave(Client::connect(&server, "bob"), 3_999);
    listed(&api, "/v1/closed", "closed", 2);
    let mut client = Client::connect(&server, "alice");
    api.post("/v1/disconnect", &json!({ "account": "alice", "reason": "enough \u{e4}" }));
    assert_eq!(client.close_frame(), (4503, "disconnected by operator: enough \u{e4}".into()));
    drop(client);
    let all = listed(&api, "/v1/closed", "closed", 3);
    assert_eq!(accounts(&all), ["alice", "bob", "alice"], "the newest first");
    assert_eq!(all[0]["text"], "disconnected by operator: enough \u{e4}");
    let found = |query: &str| {
        let page = api.get(&format!("/v1/closed?{query}"));
        page["closed"].as_array().unwrap().iter().map(|end| end["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(found("account=alice"), [3, 1]);
    assert_eq!(found("reason=peer_closed"), [2, 1]);
    assert_eq!((found("reason=3999"), found("reason=4503")), (vec![2], vec![3]));
    assert_eq!(found(&format!("since={between}")), [3, 2]);
    assert_eq!(found("account=alice&reason=disconnected"), [3]);
    assert_eq!((found("limit=2"), found("limit=2&after=2")), (vec![3, 2], vec![1]));
    assert_eq!(api.get("/v1/closed?limit=2")["next"], 2);
    for wrong in ["reason=tired", "reason=70000", "reason=", "since=yesterday", "since=-1", "after=x", "account="] {
        api.ask("GET", &format!("/v1/closed?{wrong}"), &Value::Null).refused(400);
    }

    let kept = server.handle().closed_connections(&EndFilter::default());
    let mut told = told.0.lock().unwrap().clone();
    told.sort_by_key(|record| std::cmp::Reverse(record.closed));
    assert_eq!(kept.into_iter().map(|(_, record)| record).collect::<Vec<_>>(), told);
    assert_eq!(told[0].info.account, account("alice"));
}

#[test]
fn the_past_is_bounded() {
    let server_of = |closed| {
        serve(configured(|config| {
            *config = with_admin();
            config.closed_connections = closed;
        }))
    };
    let (three, none) = (server_of(3), server_of(0));
    for server in [&three, &none] {
        (0..5).for_each(|n| leave(Client::connect(server, &n.to_string()), 1000));
        let ended = || server.handle().counts().unwrap().closed_by_code.values().sum::<u64>() == 5;
        eventually("all have ended", ended);
    }
    assert_eq!(Api::of(&none).get("/v1/closed"), json!({ "closed": [], "next": null }));
    let kept = listed(&Api::of(&three), "/v1/closed", "closed", 3);
    let numbers: Vec<_> = kept.as_array().unwrap().iter().map(|end| end["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [5, 4, 3], "the last of them, in whatever order those five ended");
}

#[test]
fn who_was_refused_is_known_with_what_he_claimed() {
    let server = serve(configured(|config| {
        *config = with_admin();
        config.max_per_account = Some(1);
        config.tcp_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    }));
    let api = Api::of(&server);
    let _first = Client::connect(&server, "alice");
    for target in ["/ws?user_id=alice", "/ws?user_id=alice&refuse=close", "/nowhere?user_id=bob", "/ws"] {
        exchange(address(&server), upgrade_request(target, ""));
    }
    exchange(address(&server), upgrade_request("/ws?user_id=carol", "Origin: http://elsewhere.example\r\n"));
    exchange(server.local_tcp_addrs()[0], "{\"type\":\"hello\",\"user_id\":\"alice\"}\n");
    exchange(server.local_tcp_addrs()[0], "GET / HTTP/1.1\r\n\r\n");
    let refused = listed(&api, "/v1/refused", "refused", 7);
    let shown = |field: &str| refused.as_array().unwrap().iter().map(|r| r[field].clone()).collect::<Vec<_>>();
    let name = Value::from;
    assert_eq!(
        shown("account"),
        [Value::Null, name("alice"), name("carol"), Value::Null, name("bob"), name("alice"), name("alice")]
    );
    assert_eq!(
        shown("reason"),
        [
            "bad_request",
            "connection_limit",
            "policy",
            "bad_request",
            "bad_request",
            "connection_limit",
            "connection_limit"
        ]
    );
    let status = [Value::Null, Value::Null, json!(403), json!(400), json!(404), json!(429), json!(429)];
    assert_eq!(shown("status"), status);
    assert!(refused[5]["text"].as_str().unwrap().contains("this account has 1 connections"), "{refused}");
    let of_alice = api.get("/v1/refused?account=alice&reason=4103&limit=2");
    assert_eq!((accounts(&of_alice["refused"]), &of_alice["next"]), (vec!["alice"; 2], &refused[5]["number"]));
    assert_eq!(api.get("/v1/closed"), json!({ "closed": [], "next": null }), "none of them was ever a connection");
}
