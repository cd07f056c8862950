//! Who is there, who is in which room, and who has to go.

use super::*;
use heartwire::{Presence, Room};

fn names(page: &Value, list: &str, name: &str) -> Vec<String> {
    page[list].as_array().unwrap().iter().map(|item| item[name].as_str().unwrap().to_owned()).collect()
}

/// All pages of this size, and all names on them.
fn paged(api: &Api, path: &str, list: &str, name: &str, limit: usize) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{path}?limit={limit}{after}"));
        let shown = names(&page, list, name);
        assert!(shown.len() <= limit);
        all.extend(shown);
        match page["next"].as_str() {
            None => return all,
            Some(next) => {
                assert_eq!(all.last().map(String::as_str), Some(next));
                after = format!("&after={}", escaped(next));
            }
        }
    }
}

fn escaped(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn is_online(server: &Server, name: &str) -> bool {
    let [Presence { connections, .. }] = server.handle().presence(vec![account(name)]).unwrap()[..] else { panic!() };
    connections > 0
}

#[test]
fn accounts_and_rooms_are_listed_in_pages_of_any_size() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    assert_eq!(api.get("/v1/accounts"), json!({ "accounts": [], "next": null }));
    assert_eq!(api.get("/v1/rooms"), json!({ "rooms": [], "next": null }));
    let mut expected: Vec<String> = (0..30).map(|n| format!("a{n:02}")).collect();
    expected.extend(["B", "a b&c/d?%", "\u{e4}"].map(String::from));
    expected.sort();
    let clients: Vec<_> = expected
        .iter()
        .map(|name| Client::open(address(&server), &format!("/ws?user_id={}", escaped(name)), ""))
        .collect();
    for name in &expected {
        eventually("it is registered", || is_online(&server, name));
        let room = format!("/v1/rooms/{}/members", escaped(name));
        assert_eq!(api.post(&room, &json!({ "accounts": [name] })), json!({ "changed": 1, "unchanged": 0 }));
    }
    for limit in [1, 7, 32, 33, 34, 1_000] {
        assert_eq!(paged(&api, "/v1/accounts", "accounts", "account", limit), expected, "{limit}");
        assert_eq!(paged(&api, "/v1/rooms", "rooms", "room", limit), expected, "{limit}");
    }
    let room = json!({ "accounts": expected });
    assert_eq!(api.post("/v1/rooms/hall/members", &room), json!({ "changed": 33, "unchanged": 0 }));
    for limit in [1, 10, 33, 100] {
        assert_eq!(paged(&api, "/v1/rooms/hall/members", "members", "account", limit), expected, "{limit}");
    }
    let hall = &api.get("/v1/rooms?limit=1&after=h")["rooms"][0];
    assert_eq!(*hall, json!({ "room": "hall", "accounts": 33, "connections": 33 }));
    drop(clients);
}

#[test]
fn an_account_and_its_connections_are_shown() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let name = "a/b c\u{e4}";
    let mut clients = ["phone", "desk"].map(|device| {
        let mut client = Client::open(address(&server), &format!("/ws?user_id={}&device={device}", escaped(name)), "");
        let register = client.json();
        (register["connection"].as_str().unwrap().to_owned(), client)
    });
    let (first, phone) = &mut clients[0];
    assert_eq!(phone.ask(json!({ "type": "join", "room": "own" }))["type"], "ack");
    api.post("/v1/rooms/given/members", &json!({ "accounts": [name] }));
    let shown = api.get(&format!("/v1/accounts/{}", escaped(name)));
    assert_eq!((&shown["account"], &shown["online"], &shown["rooms"]), (&json!(name), &json!(true), &json!(["given"])));
    assert_eq!(names(&shown, "connections", "device"), ["phone", "desk"]);
    assert_eq!(names(&shown, "connections", "account"), [name, name]);
    let page = api.get(&format!("/v1/accounts/{}?limit=1", escaped(name)));
    assert_eq!((names(&page, "connections", "device"), &page["next"]), (vec!["phone".to_owned()], &json!(first)));
    let page = api.get(&format!("/v1/accounts/{}?limit=1&after={first}", escaped(name)));
    assert_eq!((names(&page, "connections", "device"), &page["next"]), (vec!["desk".to_owned()], &Value::Null));
    let connection = api.get(&format!("/v1/connections/{first}"));
    assert_eq!(connection["rooms"], json!(["given", "own"]));
    assert_eq!(connection["id"], *first);
    let local = phone.socket.get_ref().local_addr().unwrap();
    assert_eq!(connection["address"], local.to_string());
    let since = connection["since"].as_u64().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!((now - 60_000..=now).contains(&since), "{since}");
    let nobody = api.get("/v1/accounts/nobody");
    assert_eq!(nobody, json!({ "account": "nobody", "online": false, "connections": [], "rooms": [], "next": null }));
    for wrong in ["", "%00", &"x".repeat(129)] {
        api.ask("GET", &format!("/v1/accounts/{wrong}"), &Value::Null).refused(400);
    }
    api.ask("GET", "/v1/connections/no-such", &Value::Null).refused(404);
}

#[test]
fn many_become_members_at_once_or_not_at_all() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let names: Vec<_> = (0..10_000).map(|n| n.to_string()).collect();
    let members = || server.handle().members(Room::new("hall").unwrap(), None, usize::MAX).unwrap().len();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| api.post("/v1/rooms/hall/members", &json!({ "accounts": names })));
        eventually("all are in it", || match members() {
            0 => false,
            some => some == names.len() || panic!("{some} of them"),
        });
        assert_eq!(asked.join().unwrap(), json!({ "changed": 10_000, "unchanged": 0 }));
    });
}

#[test]
fn members_are_put_into_a_room_with_their_later_connections_and_taken_out() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let path = "/v1/rooms/the%2Fgarden/members";
    let mut early = Client::connect(&server, "alice");
    let change = |method: &str, accounts: &[&str]| {
        let answer = api.ask(method, path, &json!({ "accounts": accounts })).ok();
        (answer["changed"].as_u64().unwrap(), answer["unchanged"].as_u64().unwrap())
    };
    assert_eq!(change("POST", &["alice", "bob"]), (2, 0));
    assert_eq!(change("POST", &["alice", "bob", "carol"]), (1, 2));
    let mut late = Client::connect(&server, "bob");
    let member = |account: &str, connections: usize| json!({ "account": account, "online": connections > 0, "connections": connections });
    let members = api.get(path);
    assert_eq!(members["members"], json!([member("alice", 1), member("bob", 1), member("carol", 0)]));
    let push = |content: u32| {
        let message = json!({ "type": "notice", "content": content });
        api.post("/v1/push", &json!({ "rooms": ["the/garden"], "message": message }))
    };
    assert_eq!(push(1)["connections"], 2);
    assert_eq!((early.json()["content"].clone(), late.json()["content"].clone()), (json!(1), json!(1)));
    assert_eq!(change("DELETE", &["alice", "dave"]), (1, 1));
    assert_eq!(push(2), json!({ "accounts": 1, "connections": 1, "missing": [] }));
    assert_eq!(late.json()["content"], 2);
    assert_eq!(change("DELETE", &["bob", "carol"]), (2, 0));
    assert_eq!(api.get(path)["members"], json!([]));
    assert_eq!(push(3)["missing"], json!(["the/garden"]));
}

#[test]
fn an_operator_ends_the_connections_of_an_account() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut clients = [Client::connect(&server, "alice"), Client::connect(&server, "alice")];
    let mut bob = Client::connect(&server, "bob");
    assert_eq!(api.post("/v1/disconnect", &json!({ "account": "alice" })), json!({ "connections": 2 }));
    for client in &mut clients {
        assert_eq!(client.close_frame(), (4503, "disconnected by operator".into()));
        client.expect_end();
    }
    assert_eq!(api.post("/v1/disconnect", &json!({ "account": "alice" })), json!({ "connections": 0 }));
    let reason = json!({ "account": "bob", "code": 4999, "reason": "f\u{fc}r immer" });
    assert_eq!(api.post("/v1/disconnect", &reason), json!({ "connections": 1 }));
    assert_eq!(bob.close_frame(), (4999, "f\u{fc}r immer".into()));
}

#[test]
fn an_operator_ends_one_connection() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut first = Client::open(address(&server), "/ws?user_id=alice", "");
    let id = first.json()["connection"].clone();
    let mut second = Client::connect(&server, "alice");
    let body = json!({ "connection": id, "code": 1001, "reason": "moved" });
    assert_eq!(api.post("/v1/disconnect", &body), json!({ "connections": 1 }));
    assert_eq!(first.close_frame(), (1001, "going away: moved".into()));
    api.ask("POST", "/v1/disconnect", &body).refused(404);
    api.ask("POST", "/v1/disconnect", &json!({ "connection": "no-such" })).refused(404);
    api.ask("GET", &format!("/v1/connections/{}", id.as_str().unwrap()), &Value::Null).refused(404);
    assert_eq!(second.ask(json!({ "type": "presence", "accounts": ["alice"] }))["accounts"][0]["connections"], 1);
}
