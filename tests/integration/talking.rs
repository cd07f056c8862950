//! `heartwire chat` in a pipe and `heartwire listen`, as a script uses them.

use crate::process::heartwire;
use crate::support::*;
use heartwire::{CloseReason, Push, Server};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// The command with these arguments, for this server.
fn to(server: &Server, arguments: &[&str]) -> Command {
    let mut command = heartwire(arguments);
    command.arg(format!("ws://{}/ws", address(server))).stdin(Stdio::piped());
    command
}

/// Runs it with this input, to its end.
fn run(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A `listen` that is connected.
struct Listener {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Listener {
    fn start(server: &Server, account: &str, arguments: &[&str]) -> Self {
        let mut child = to(server, &[&["listen", "--as", account], arguments].concat()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let is_online = || server.handle().presence(vec![crate::support::account(account)]).unwrap()[0].online;
        eventually("the listener is online", is_online);
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It fails where the process has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_line_is_a_message_and_each_message_a_line() {
    let server = serve(config());
    let mut bob = Listener::start(&server, "bob", &[]);
    let mut carol = Listener::start(&server, "carol", &["--content"]);
    let sent = run(to(&server, &["chat", "--as", "alice", "--to", "bob,carol"]), b"hello\n{\"a\":\t1.50}\n17");
    assert_eq!((sent.status.code(), text(&sent.stdout), text(&sent.stderr)), (Some(0), "", ""));
    for (content, line) in [(json!("hello"), "hello"), (json!({ "a": 1.5 }), "{\"a\":\t1.50}"), (json!("17"), "17")] {
        let message = bob.json();
        assert_eq!((&message["from"], &message["content"]), (&json!("alice"), &content));
        assert_eq!(carol.line(), line);
    }
}

#[test]
fn what_others_say_comes_out_while_it_waits() {
    let server = serve(config());
    let mut chat = to(&server, &["chat", "--as", "alice", "--to", "bob", "--wait", "1h"]);
    let mut chat = chat.spawn().unwrap();
    let mut lines = BufReader::new(chat.stdout.take().unwrap());
    eventually("alice is online", || server.handle().presence(vec![account("alice")]).unwrap()[0].online);
    let mut bob = Client::connect(&server, "bob");
    let mut line = String::new();
    for (content, expected) in [(json!("two\nlines"), "\"two\\nlines\"\n"), (json!([1]), "[1]\n"), (json!("ü"), "ü\n")]
    {
        assert_eq!(bob.ask(json!({ "type": "message", "to": ["alice"], "content": content }))["delivered"], 1);
        line.clear();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
    }
    chat.kill().unwrap();
    chat.wait().unwrap();
}

#[test]
fn a_message_that_nobody_gets_is_a_failure() {
    let server = serve(config());
    let _bob = Listener::start(&server, "bob", &[]);
    let lost = run(to(&server, &["chat", "--as", "alice", "--to", "nobody"]), b"hello\n");
    assert_eq!((lost.status.code(), text(&lost.stderr)), (Some(1), "hello: nobody is there\n"));
    let refused = run(to(&server, &["chat", "--as", "alice", "--room", "empty"]), b"hello\n");
    assert_eq!((refused.status.code(), text(&refused.stderr)), (Some(1), "hello: nobody is there\n"));
}

#[test]
fn rooms_are_entered_and_pushes_are_printed() {
    let server = serve(config());
    let mut bob = Listener::start(&server, "bob", &["--room", "garden"]);
    let in_room = || server.handle().counts().unwrap().rooms == 1;
    eventually("bob is in the garden", in_room);
    let sent = run(to(&server, &["chat", "--as", "alice", "--room", "garden"]), b"anybody here?\n");
    assert_eq!(sent.status.code(), Some(0), "{sent:?}");
    assert_eq!(bob.json()["room"], "garden");
    server.handle().send(account("bob"), &Push::new("order.paid", &json!({ "order": 17 })).unwrap()).unwrap();
    assert_eq!(bob.json(), json!({ "type": "order.paid", "content": { "order": 17 } }));
}

#[test]
fn who_is_told_not_to_come_back_ends_with_the_reason() {
    let server = serve(config());
    let mut bob = Listener::start(&server, "bob", &[]);
    let reason = CloseReason::application(4503, "maintenance").unwrap();
    assert_eq!(server.handle().disconnect(account("bob"), reason).unwrap(), 1);
    assert_eq!(bob.child.wait().unwrap().code(), Some(1));
    let nowhere = "ws://127.0.0.1:1/ws?token=secret";
    let unreachable = heartwire(&["chat", "--as", "a", "--to", "b", nowhere]).output().unwrap();
    assert_eq!(unreachable.status.code(), Some(1));
    let told = text(&unreachable.stderr);
    assert!(told.starts_with("error: cannot connect to ws://127.0.0.1:1/ws: "), "{told}");
    assert!(!told.contains("secret"), "{told}");
    let usage = heartwire(&["chat", "--as", "a"]).output().unwrap();
    assert_eq!((usage.status.code(), text(&usage.stderr).lines().count()), (Some(2), 1));
}

#[test]
fn what_a_server_says_drives_no_terminal() {
    let server = serve(config());
    let mut bob = to(&server, &["listen", "--as", "bob"]).spawn().unwrap();
    eventually("bob is online", || server.handle().presence(vec![account("bob")]).unwrap()[0].online);
    let reason = CloseReason::application(4503, "\u{1b}[31mred\nline").unwrap();
    assert_eq!(server.handle().disconnect(account("bob"), reason).unwrap(), 1);
    bob.stdin.take();
    let output = bob.wait_with_output().unwrap();
    assert!(text(&output.stderr).ends_with("\\u{1b}[31mred\\nline\n"), "{output:?}");
}

/// The input does not end, and is not read to its end.
#[test]
fn who_is_told_not_to_come_back_reads_no_further_line() {
    let server = serve(config());
    let mut chat = to(&server, &["chat", "--as", "alice", "--to", "bob"]).spawn().unwrap();
    eventually("alice is online", || server.handle().presence(vec![account("alice")]).unwrap()[0].online);
    let reason = CloseReason::application(4503, "maintenance").unwrap();
    assert_eq!(server.handle().disconnect(account("alice"), reason).unwrap(), 1);
    let mut input = chat.stdin.take().unwrap();
    let mut ended = None;
    eventually("it ends", || {
        // It fails once nobody reads.
        let _ = input.write_all(b"hello\n");
        ended = chat.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(1));
}

#[test]
fn the_longest_wait_is_no_failure() {
    let server = serve(config());
    let mut chat = to(&server, &["chat", "--as", "alice", "--to", "bob", "--wait", "500000000000y"]).spawn().unwrap();
    drop(chat.stdin.take());
    eventually("alice is online", || server.handle().presence(vec![account("alice")]).unwrap()[0].online);
    let reason = CloseReason::application(4503, "maintenance").unwrap();
    assert_eq!(server.handle().disconnect(account("alice"), reason).unwrap(), 1);
    let output = chat.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stderr).contains("panicked"), "{output:?}");
}

/// Nobody takes what it prints.
#[test]
fn a_second_signal_ends_a_listener_whose_output_is_stuck() {
    let server = serve(config());
    let mut bob = to(&server, &["listen", "--as", "bob"]).spawn().unwrap();
    eventually("bob is online", || server.handle().presence(vec![account("bob")]).unwrap()[0].online);
    // More than a pipe holds.
    let push = Push::new("chunk", &"x".repeat(200_000)).unwrap();
    assert_eq!(server.handle().send(account("bob"), &push).unwrap().connections, 1);
    bob.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let pid = bob.id().to_string();
    eventually("it ends", || {
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        bob.try_wait().unwrap().is_some()
    });
    bob.wait().unwrap();
}
