//! What is asked for, and how the answers read.

use super::*;
use clap::{Command, FromArgMatches};
use std::time::Duration;

/// A moment for `now`: 2026-11-22T12:00:00Z.
const NOON: u64 = 1_795_348_800_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(NOON)
}

fn flags(arguments: &[&str]) -> Flags {
    let command = Flags::augment_args(Command::new("why").no_binary_name(true));
    Flags::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap()
}

fn alice() -> Account {
    Account::new("alice").unwrap()
}

/// An end so many seconds before noon.
fn end(seconds_ago: u64, account: &str, reason: &str, remedy: &str) -> Value {
    json!({
        "number": 1, "account": account, "device": "phone", "address": "203.0.113.7:51234", "duration_ms": 100_000,
        "closed": NOON - seconds_ago * 1_000, "code": 4201, "reason": reason, "text": "heartbeat timeout: a, b",
        "cause": format!("Silent {seconds_ago} s ago."), "remedy": remedy,
    })
}

fn refusal(account: &Value) -> Value {
    json!({
        "number": 1, "at": NOON - 7_200_000, "account": account, "address": "[2001:db8::1]:5", "status": 401, "code": 4500,
        "reason": "authentication_failed", "text": "authentication failed: no", "cause": "No token.", "remedy": "Make one.",
    })
}

fn here(closing: &Value) -> Value {
    json!({
        "id": "1-1", "device": "", "address": "203.0.113.7:51234", "since": NOON - 60_000, "last_heard_ms": 1_200,
        "queued_bytes": 0, "round_trip_ms": { "last": 1.0, "p50": 1.25, "max": 4.0 }, "closing": closing,
    })
}

fn known(connections: Vec<Value>, closed: Vec<Value>, refused: Vec<Value>) -> Known {
    Known { connections: read(connections).unwrap(), closed: read(closed).unwrap(), refused: read(refused).unwrap() }
}

#[test]
fn what_is_asked_for_is_in_the_query() {
    assert_eq!(query(&flags(&[]), now()), []);
    let asked = flags(&["a b&c/ü", "--since", "1h", "--reason", "4201"]);
    let since = (NOON - 3_600_000).to_string();
    assert_eq!(query(&asked, now()), [("account", "a b&c/ü".into()), ("since", since), ("reason", "4201".into())]);
    assert_eq!(query(&flags(&["--since", "1000years"]), now()), [("since", "0".into())]);
}

#[test]
fn of_an_account_its_connections_come_first_and_repeats_are_one() {
    let ends = vec![
        end(10, "alice", "heartbeat_timeout", "Wait."),
        end(20, "alice", "peer_gone", "Nothing."),
        end(3_700, "alice", "heartbeat_timeout", "Wait."),
    ];
    let text =
        told::of_account(&alice(), &known(vec![here(&Value::Null)], ends, vec![refusal(&"alice".into())]), now());
    let expected = "\
alice is connected:
  since 2026-11-22T11:59:00Z (1m ago), from 203.0.113.7:51234; round trip 1.25 ms, 4 ms at most; 0 bytes wait for it; last \
heard 1s ago

3 ends of its connections, the newest first:

2026-11-22T11:59:50Z (10s ago), after 1m 40s, from 203.0.113.7:51234, device phone
  4201 heartbeat timeout: a, b
  Why: Silent 10 s ago.
  What to do: Wait.
  The same 2 times since 2026-11-22T10:58:20Z.

2026-11-22T11:59:40Z (20s ago), after 1m 40s, from 203.0.113.7:51234, device phone
  4201 heartbeat timeout: a, b
  Why: Silent 20 s ago.
  What to do: Nothing.

1 refused attempt by somebody who said to be alice, which nothing proved, the newest first:

2026-11-22T10:00:00Z (2h ago), from [2001:db8::1]:5
  4500 authentication failed: no
  Why: No token.
  What to do: Make one.
";
    assert_eq!(text, expected);
}

#[test]
fn whoever_takes_leave_is_not_connected() {
    let leaving = || here(&json!({ "code": 4201, "reason": "heartbeat_timeout", "text": "heartbeat timeout: a" }));
    let told = |connections| told::of_account(&alice(), &known(connections, vec![], vec![]), now());
    let text = told(vec![leaving()]);
    assert!(text.starts_with("alice is not connected any more, but still taking leave:\n  since "), "{text}");
    assert!(text.contains("; closing: heartbeat timeout: a\n"), "{text}");
    assert!(told(vec![leaving(), here(&Value::Null)]).starts_with("alice is connected:\n"));
    assert!(told(vec![here(&Value::Null), here(&Value::Null)]).starts_with("alice is connected, 2 times:\n"));
}

#[test]
fn a_summary_counts_by_reason_and_names_the_most_frequent() {
    let mut ends = vec![end(1, "bob", "peer_gone", "Nothing.")];
    ends.extend((1..=7).flat_map(|n| (0..n).map(move |_| end(n, &format!("a{n}"), "heartbeat_timeout", "Wait."))));
    let text = told::summary(&known(vec![], ends, vec![refusal(&Value::Null)]), now());
    let expected = "\
29 connections ended since 2026-11-22T11:59:53Z:

28 × heartbeat_timeout (4201), the last 2026-11-22T11:59:59Z (1s ago)
  Accounts: a7 7, a6 6, a5 5, a4 4, a3 3 and 2 others
  Addresses: 203.0.113.7 28
  Why, the last time: Silent 1 s ago.
  What to do: Wait.

1 × peer_gone (4201), the last 2026-11-22T11:59:59Z (1s ago)
  Accounts: bob 1
  Addresses: 203.0.113.7 1
  Why: Silent 1 s ago.
  What to do: Nothing.

1 refusal since 2026-11-22T10:00:00Z:

1 × authentication_failed (4500), the last 2026-11-22T10:00:00Z (2h ago)
  Addresses: [2001:db8::1] 1
  Why: No token.
  What to do: Make one.
";
    assert_eq!(text, expected);
}

#[test]
fn nothing_known_is_said_and_what_it_may_mean() {
    let nothing = || known(vec![], vec![], vec![]);
    let text = told::of_account(&alice(), &nothing(), now());
    assert!(text.starts_with("Nothing is known of alice: ") && text.contains("--closed-connections"), "{text}");
    assert!(told::summary(&nothing(), now()).starts_with("No end of a connection"));
    let only_refused = told::of_account(&alice(), &known(vec![], vec![], vec![refusal(&"alice".into())]), now());
    assert!(only_refused.starts_with("alice is not connected.\n\nNo end of its connections"), "{only_refused}");
}

#[test]
fn no_text_of_a_peer_drives_the_terminal() {
    let mut evil = end(1, "a\u{9b}31mb", "peer\u{1b}closed", "r\u{7}");
    for field in ["device", "address", "text", "cause"] {
        evil[field] = "\u{1b}[31m\r\n\u{9b}x".into();
    }
    evil["closed"] = u64::MAX.into();
    let account = Account::new("a\u{202e}b").unwrap();
    for text in [
        told::of_account(&account, &known(vec![], vec![evil.clone()], vec![evil.clone()]), now()),
        told::summary(&known(vec![], vec![evil.clone()], vec![evil]), now()),
    ] {
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.contains("\\u{1b}[31m"), "{text}");
    }
}

#[test]
fn an_answer_of_somebody_else_is_a_failure() {
    assert!(read::<End>(vec![json!({ "closed": 1 })]).is_err());
}
