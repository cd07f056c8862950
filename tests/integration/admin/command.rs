//! `heartwire push`, as a script uses it.

use super::*;
use crate::process::heartwire;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The command for this server, with the back end's key.
fn push(api: &Api, arguments: &[&str]) -> Command {
    let mut command = heartwire(&[&["push"], arguments].concat());
    command.env("HEARTWIRE_ADMIN", format!("http://{}", api.address)).env("HEARTWIRE_ADMIN_KEY", PUSH_KEY);
    command
}

/// The exit code, what it printed, and what it complained of.
fn outcome(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn it_pushes_and_says_whom_it_reached() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let (mut alice, mut bob) = (Client::connect(&server, "alice"), Client::connect(&server, "bob"));
    let to_two = push(&api, &["--to", "alice,carol", "--to", "bob", "--type", "notice", r#"{"text": "hi"}"#]).output();
    let answer = "{\"accounts\":2,\"connections\":2,\"missing\":[\"carol\"]}\n";
    assert_eq!(outcome(&to_two.unwrap()), (Some(0), answer, ""));
    for client in [&mut alice, &mut bob] {
        let text = client.message().into_text().unwrap();
        assert_eq!(text.as_str(), r#"{"type":"notice","content":{"text": "hi"}}"#);
    }
    let mut from_input = push(&api, &["--all", "--type", "notice", "-"]);
    let mut child = from_input.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"[1,\n2]").unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(alice.json()["content"], json!([1, 2]));
    api.post("/v1/rooms/garden/members", &json!({ "accounts": ["alice"] }));
    assert_eq!(push(&api, &["--room", "garden", "--type", "notice"]).output().unwrap().status.code(), Some(0));
    assert_eq!(alice.json(), json!({ "type": "notice", "content": null }));
}

#[test]
fn a_repetition_under_the_same_key_is_pushed_once() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut alice = Client::connect(&server, "alice");
    for content in ["1", "1", "2"] {
        let arguments = ["--to", "alice", "--type", "notice", content, "--idempotency-key", "once"];
        let output = push(&api, &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(if content == "1" { 0 } else { 1 }));
    }
    push(&api, &["--to", "alice", "--type", "notice", "3"]).output().unwrap();
    assert_eq!((alice.json()["content"].clone(), alice.json()["content"].clone()), (json!(1), json!(3)));
}

#[test]
fn nobody_reached_is_exit_code_1() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let output = push(&api, &["--to", "nobody", "--type", "notice"]).output().unwrap();
    let answer = "{\"accounts\":0,\"connections\":0,\"missing\":[\"nobody\"]}\n";
    assert_eq!(outcome(&output), (Some(1), answer, ""));
}

#[test]
fn what_fails_is_one_line_that_holds_no_key() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{nowhere}");
    for (arguments, code, essence) in [
        (&["--to", "a", "--type", "notice", "hello"][..], 2, "'\"hello\"'"),
        (&["--type", "notice", "1"], 2, "--to"),
        (&["--to", "a", "--all", "--type", "notice"], 2, "--all"),
        (&["--to", "a"], 2, "--type"),
        (&["--to", "a", "--type", "ack"], 1, "answered 400: message: type"),
        (&["--to", "a", "--type", "notice", "--admin-key", "wrong-key"], 1, "answered 401: this is none of"),
        (&["--to", "a", "--type", "notice", "--admin", "potato"], 2, "must begin with http"),
        (&["--to", "a", "--type", "notice", "--admin", &nowhere], 1, "cannot ask http"),
        (&["--to", "a", "--type", "notice", "--idempotency-key", "a b"], 1, "answered 400: Idempotency-Key"),
    ] {
        let output = push(&api, arguments).output().unwrap();
        let (given, printed, complaint) = outcome(&output);
        assert_eq!((given, printed), (Some(code), ""), "{arguments:?}: {complaint}");
        assert!(complaint.starts_with("error: ") && complaint.contains(essence), "{arguments:?}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(!complaint.contains(PUSH_KEY) && !complaint.contains("wrong-key"), "{complaint}");
    }
}
