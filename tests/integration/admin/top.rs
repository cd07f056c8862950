//! `heartwire top`: once for a script, and live in a terminal.

use super::*;
use crate::process::heartwire;
use std::process::{Command, Output};

mod terminal;

/// The command for this server, with the key of who may look.
fn top(api: &Api, arguments: &[&str]) -> Command {
    let mut command = heartwire(&[&["top"], arguments].concat());
    command.env("HEARTWIRE_ADMIN", format!("http://{}", api.address)).env("HEARTWIRE_ADMIN_KEY", MONITOR_KEY);
    command
}

/// The exit code, what it printed, and what it complained of.
fn outcome(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The table that it prints, in words; what it leaves out is asserted to be nothing.
fn printed(api: &Api, arguments: &[&str]) -> (String, Vec<Vec<String>>) {
    let output = top(api, arguments).output().unwrap();
    let (code, text, complaint) = outcome(&output);
    assert_eq!((code, complaint), (Some(0), ""), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    let (totals, table) = text.split_once("\n\n").expect(text);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    (totals.to_owned(), table.lines().map(words).collect())
}

fn column(table: &[Vec<String>], title: &str) -> Vec<String> {
    let at = table[0].iter().position(|given| given == title).expect(title);
    table[1..].iter().map(|row| row[at].clone()).collect()
}

#[test]
fn without_a_terminal_the_table_is_printed_once() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let mut alice = Client::open(address(&server), "/ws?user_id=alice&device=phone", "");
    let id = alice.json()["connection"].as_str().unwrap().to_owned();
    let mut bob = Client::connect(&server, "bob");
    for _ in 0..3 {
        bob.ask(json!({ "type": "message", "to": ["alice"], "content": 1 }));
    }
    let (totals, table) = printed(&api, &["--sort", "oldest"]);
    assert!(totals.starts_with("connections 2 of ") && totals.contains("messages 3 in"), "{totals}");
    assert_eq!(column(&table, "ACCOUNT"), ["alice", "bob"]);
    assert_eq!(column(&table, "DEVICE"), ["phone", "-"]);
    assert_eq!(column(&table, "RECEIVED"), ["0", "3"]);
    // A register frame, the messages or their acks, and pings.
    assert!(column(&table, "SENT").iter().all(|sent| sent.parse::<u32>().unwrap() >= 4), "{table:?}");
    assert_eq!(column(&table, "ID")[0], id);
    assert_eq!(column(&printed(&api, &["--search", "PHO"]).1, "ACCOUNT"), ["alice"]);
    assert_eq!(column(&printed(&api, &["--sort", "busiest", "--limit", "1", "--once"]).1, "ACCOUNT"), ["bob"]);
    assert_eq!(printed(&api, &["--search", "a b&c=%?#ä"]).1.len(), 1, "the titles alone");
}

#[test]
fn no_name_drives_the_terminal_or_reorders_what_is_read() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let clients = ["%E2%80%AEgpj.exe", "a%E2%80%8Bb", "Gr%C3%BC%C3%9Fe%22"].map(|name| Client::connect(&server, name));
    let (_, table) = printed(&api, &["--sort", "oldest"]);
    assert_eq!(column(&table, "ACCOUNT"), ["\\u{202e}gpj.exe", "a\\u{200b}b", "Grüße\""]);
    drop(clients);
}

#[test]
fn what_fails_at_first_is_one_line_that_holds_no_key() {
    let server = serve(with_admin());
    let api = Api::of(&server);
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (nowhere, elsewhere) = (format!("http://{nowhere}"), format!("http://{}", address(&server)));
    for (arguments, code, essence) in [
        (&["--admin", &nowhere][..], 1, "cannot ask http"),
        (&["--admin", &elsewhere], 1, "answered 404"),
        (&["--admin-key", "wrong-key"], 1, "answered 401"),
        (&["--admin-key", PUSH_KEY], 1, "answered 403"),
        (&["--sort", "loudest"], 2, "busiest, slowest, oldest"),
        (&["--interval", "1ms"], 2, "at least 100ms"),
    ] {
        let output = top(&api, arguments).output().unwrap();
        let (given, printed, complaint) = outcome(&output);
        assert_eq!((given, printed), (Some(code), ""), "{arguments:?}: {complaint}");
        assert!(complaint.starts_with("error: ") && complaint.contains(essence), "{arguments:?}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(!complaint.contains(PUSH_KEY) && !complaint.contains("wrong-key"), "{complaint}");
    }
}
