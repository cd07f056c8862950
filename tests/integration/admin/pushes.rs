//! Pushing: whom it reaches, what it answers, and that a repetition is not pushed again.

use super::*;
use heartwire::{Handler, Identity, Refusal, Request, Room};

fn push(target: &Value, content: impl Into<Value>) -> Value {
    let mut body = target.clone();
    body["message"] = json!({ "type": "notice", "content": content.into() });
    body
}

/// The contents of the notices that wait for a client, up to a last one that is pushed to it now.
fn notices(api: &Api, account: &str, client: &mut Client) -> Vec<Value> {
    api.post("/v1/push", &push(&json!({ "accounts": [account] }), "the last"));
    let next = || {
        let frame = client.json();
        assert_eq!(frame["type"], "notice", "{frame}");
        Some(frame["content"].clone())
    };
    std::iter::from_fn(next).take_while(|content| content != "the last").collect()
}

#[test]
fn a_push_reaches_accounts_and_names_who_is_missing() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let (mut alice, mut phone, mut bob) =
        (Client::connect(&server, "alice"), Client::connect(&server, "alice"), Client::connect(&server, "bob"));
    let target = json!({ "accounts": ["carol", "alice", "bob", "alice", "ab\"c/\u{e4}"] });
    let answer = api.ask_with(
        "POST",
        "/v1/push",
        &format!("Authorization: Bearer {PUSH_KEY}\r\n"),
        &push(&target, 7).to_string(),
    );
    assert_eq!(answer.ok(), json!({ "accounts": 2, "connections": 3, "missing": ["ab\"c/\u{e4}", "carol"] }));
    for client in [&mut alice, &mut phone, &mut bob] {
        assert_eq!(client.json(), json!({ "type": "notice", "content": 7 }));
    }
    assert_eq!(notices(&api, "bob", &mut bob), [Value::Null; 0], "nothing came twice");
}

#[test]
fn content_passes_as_it_was_written() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut alice = Client::connect(&server, "alice");
    let body = r#"{"accounts":["alice"],"message":{"type":"notice","content":{"b": 1.50, "a" :"\u00e4", "b":0}}}"#;
    api.ask_with("POST", "/v1/push", &format!("Authorization: Bearer {PUSH_KEY}\r\n"), body).ok();
    let text = alice.message().into_text().unwrap();
    assert_eq!(text.as_str(), r#"{"type":"notice","content":{"b": 1.50, "a" :"\u00e4", "b":0}}"#);
}

/// Puts everybody into a room of its own name.
struct Rooms;

impl Handler for Rooms {
    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        let mut identity = request.claimed_account().map(Identity::new)?;
        identity.rooms = vec![Room::new(identity.account.as_str()).unwrap(), Room::new("all").unwrap()];
        Ok(identity)
    }
}

#[test]
fn a_push_reaches_rooms_each_connection_once_or_everybody() {
    let server = serve_with(with_admin(), Rooms);
    let api = Api::of(&server);
    let mut clients: Vec<_> = (0..3).map(|n| Client::connect(&server, &format!("c{n}"))).collect();
    let one = api.post("/v1/push", &push(&json!({ "rooms": ["c1", "nowhere", "empty"] }), 1));
    assert_eq!(one, json!({ "accounts": 1, "connections": 1, "missing": ["empty", "nowhere"] }));
    let several = api.post("/v1/push", &push(&json!({ "rooms": ["all", "c0", "all"] }), 2));
    assert_eq!(several, json!({ "accounts": 3, "connections": 3, "missing": [] }));
    let all = api.post("/v1/push", &push(&json!({ "all": true }), 3));
    assert_eq!(all, json!({ "accounts": 3, "connections": 3, "missing": [] }));
    for (n, client) in clients.iter_mut().enumerate() {
        let expected = if n == 1 { vec![json!(1), json!(2), json!(3)] } else { vec![json!(2), json!(3)] };
        assert_eq!(notices(&api, &format!("c{n}"), client), expected, "c{n}");
    }
}

#[test]
fn a_push_to_all_reaches_each_of_many_connections_once() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut clients: Vec<_> =
        (0..90).map(|n| (format!("a{}", n / 3), Client::connect(&server, &format!("a{}", n / 3)))).collect();
    let answer = api.post("/v1/push", &push(&json!({ "all": true }), "hello"));
    assert_eq!(answer, json!({ "accounts": 30, "connections": 90, "missing": [] }));
    api.post("/v1/push", &push(&json!({ "all": true }), "the end"));
    for (_, client) in &mut clients {
        assert_eq!(client.json()["content"], "hello");
        assert_eq!(client.json()["content"], "the end");
    }
}

#[test]
fn an_answer_larger_than_any_buffer_arrives_whole() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let names: Vec<_> = (0..10_000).map(|n| format!("{n:05}{}", "x".repeat(90))).collect();
    let answer = api.post("/v1/push", &push(&json!({ "accounts": names }), 1));
    assert_eq!(answer["missing"], json!(names));
}

/// Pushes to alice with this key of the back end.
fn push_as(api: &Api, bearer: &str, key: &str, content: u32) -> Answer {
    let headers = format!("Authorization: Bearer {bearer}\r\nIdempotency-Key: {key}\r\n");
    api.ask_with("POST", "/v1/push", &headers, &push(&json!({ "accounts": ["alice"] }), content).to_string())
}

#[test]
fn a_repeated_push_gets_the_first_answer_and_is_pushed_once() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut alice = Client::connect(&server, "alice");
    let first = push_as(&api, PUSH_KEY, "one", 1);
    assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
    let other = Client::connect(&server, "alice");
    for _ in 0..3 {
        let again = push_as(&api, PUSH_KEY, "one", 1);
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.ok(), first.body, "as it was then, with one connection");
    }
    drop(other);
    assert!(push_as(&api, PUSH_KEY, "one", 2).refused(400).contains("another body"));
    assert_eq!(push_as(&api, PUSH_KEY, "two", 2).header("idempotent-replayed"), None);
    assert_eq!(push_as(&api, ADMIN_KEY, "one", 3).header("idempotent-replayed"), None, "another's key");
    assert_eq!(notices(&api, "alice", &mut alice), [1, 2, 3].map(Value::from));
}

#[test]
fn a_push_that_was_refused_is_not_remembered() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let headers = format!("Authorization: Bearer {PUSH_KEY}\r\nIdempotency-Key: one\r\n");
    api.ask_with("POST", "/v1/push", &headers, "{\"potato\":1}").refused(400);
    push_as(&api, PUSH_KEY, "one", 1).ok();
}

#[test]
fn a_push_repeated_at_the_same_time_is_pushed_once() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut alice = Client::connect(&server, "alice");
    for round in 0..20 {
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = || push_as(&api, PUSH_KEY, &format!("round-{round}"), round);
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let firsts = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count();
        assert_eq!(firsts, 1);
        answers.into_iter().for_each(|answer| assert_eq!(answer.ok()["connections"], 1));
    }
    assert_eq!(notices(&api, "alice", &mut alice), (0..20).map(Value::from).collect::<Vec<_>>());
}

#[test]
fn a_key_that_is_none_is_refused() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    for key in ["", "a b", &"x".repeat(129), "a\r\nIdempotency-Key: b"] {
        assert!(push_as(&api, PUSH_KEY, key, 1).refused(400).contains("Idempotency-Key"), "{key:?}");
    }
    push_as(&api, PUSH_KEY, &"x".repeat(128), 1).ok();
}

#[test]
fn what_is_written_about_bodies_is_what_is_taken() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    api.spec.examples_hold();
    for operation in api.spec.operations() {
        for example in operation.examples {
            api.spec.takes(&operation.method, &operation.path, example).unwrap();
            api.ask(&operation.method, &operation.path, example).ok();
        }
    }
    let message = json!({ "type": "notice", "content": 1 });
    for (path, body) in [
        ("/v1/push", json!({ "all": true })),
        ("/v1/push", json!({ "message": message })),
        ("/v1/push", json!({ "all": false, "message": message })),
        ("/v1/push", json!({ "accounts": [], "message": message })),
        ("/v1/push", json!({ "accounts": ["a"], "rooms": ["a"], "message": message })),
        ("/v1/push", json!({ "accounts": ["a"], "all": true, "message": message })),
        ("/v1/push", json!({ "accounts": ["x".repeat(129)], "message": message })),
        ("/v1/push", json!({ "accounts": vec!["a"; 10_001], "message": message })),
        ("/v1/push", json!({ "accounts": "a", "message": message })),
        ("/v1/push", json!({ "all": true, "message": { "type": "notice" } })),
        ("/v1/push", json!({ "all": true, "message": { "type": "", "content": 1 } })),
        ("/v1/push", json!({ "all": true, "message": { "type": "notice", "content": 1, "to": 1 } })),
        ("/v1/disconnect", json!({})),
        ("/v1/disconnect", json!({ "account": "a", "connection": "b" })),
        ("/v1/disconnect", json!({ "account": "a", "code": 2999 })),
        ("/v1/disconnect", json!({ "account": "a", "code": 1002 })),
        ("/v1/disconnect", json!({ "account": "a", "code": "4503" })),
        ("/v1/disconnect", json!({ "account": "a", "reason": "x".repeat(124) })),
        ("/v1/rooms/x/members", json!({})),
        ("/v1/rooms/x/members", json!({ "accounts": [] })),
        ("/v1/rooms/x/members", json!({ "accounts": [7] })),
    ] {
        assert!(api.spec.takes("POST", path, &body).is_err(), "{path} {body}");
        api.ask("POST", path, &body).refused(400);
    }
}
