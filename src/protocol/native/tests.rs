//! The dialect against its golden files, and against peers that mean harm.

use super::decode::BadFrame;
use super::*;
use crate::protocol::message::{Account, ClientFrame, ErrorCode, FrameId, HeartbeatTimes, Presence, Recipients, Room};
use crate::protocol::wire::Bytes;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::time::Duration;

const SERVER_FRAMES: &str = include_str!("../../../tests/golden/server_frames.jsonl");
const CLIENT_ACCEPTED: &str = include_str!("../../../tests/golden/client_accepted.jsonl");
const CLIENT_REFUSED: &str = include_str!("../../../tests/golden/client_refused.jsonl");

#[test]
fn the_server_writes_the_golden_frames() {
    let (alice, bob, carol) = (account("alice"), account("bob"), account("carol"));
    let times = HeartbeatTimes { interval: Duration::from_secs(25), timeout: Duration::from_secs(60) };
    let odd = raw("{ \"b\" : [1, 2.50, \"\\u00e9\"] }");
    let online = Presence { account: bob.clone(), online: true, connections: 2 };
    let (gone, leaving) = (
        Presence { account: bob, online: false, connections: 0 },
        Presence { account: carol, online: true, connections: 0 },
    );
    let frames = [
        register("c-1", &alice, times, Duration::from_secs(5), None),
        register("c-1", &alice, times, Duration::from_secs(5), Some(Duration::from_secs(3600))),
        heartbeat(times),
        message("m-1", &alice, None, 1_700_000_000_000, &odd),
        message("m\"2", &account("\"al\\ice\""), Some(&Room::new("lobby").unwrap()), 0, &raw("null")),
        ack(&id("a-1"), 2),
        renewed(&id("t-1"), Some(Duration::from_secs(3600))),
        renewed(&id("t-2"), None),
        presence(Some(&id("p-1")), &[online, leaving]),
        presence(None, &[gone]),
        presence(Some(&id("")), &[]),
        error(Some(&id("e-1")), ErrorCode::BadRequest, "unknown type \"x\""),
        error(None, ErrorCode::TooManyRequests, ""),
        push("order.paid", &raw("{\"order\":17}")).unwrap(),
    ];
    let written: Vec<String> = frames.iter().map(payload).collect();
    let golden = SERVER_FRAMES.replace("heartwire/VERSION", concat!("heartwire/", env!("CARGO_PKG_VERSION")));
    assert_eq!(written, golden.lines().collect::<Vec<_>>());
}

#[test]
fn a_push_keeps_to_types_of_its_own() {
    let reserved = "register heartbeat ping message ack presence error close broadcast join leave hello token";
    for kind in reserved.split(' ') {
        assert_eq!(push(kind, &raw("1")), Err(InvalidPushType::Reserved), "{kind}");
    }
    for kind in ["", "a\nb", &"x".repeat(65)] {
        assert_eq!(push(kind, &raw("1")), Err(InvalidPushType::Malformed), "{kind}");
    }
    assert!(push(&"x".repeat(64), &raw("1")).is_ok());
}

#[test]
fn the_golden_client_frames_are_understood() {
    #[derive(serde::Deserialize)]
    struct Accepted<'a> {
        #[serde(borrow)]
        frame: &'a RawValue,
        decoded: String,
    }
    for line in CLIENT_ACCEPTED.lines() {
        let golden: Accepted<'_> = serde_json::from_str(line).unwrap();
        assert_eq!(format!("{:?}", decode(golden.frame.get()).unwrap()), golden.decoded, "{line}");
    }
}

#[test]
fn the_golden_bad_frames_are_refused() {
    #[derive(serde::Deserialize)]
    struct Refused {
        text: String,
        id: Option<String>,
        message: String,
    }
    for line in CLIENT_REFUSED.lines() {
        let golden: Refused = serde_json::from_str(line).unwrap();
        let refused = decode(&golden.text).expect_err(line);
        assert_eq!((refused.id.map(|id| id.to_string()), refused.message), (golden.id, golden.message), "{line}");
    }
}

#[test]
fn the_smallest_stack_survives_every_depth() {
    let on_small_stack = || {
        for depth in [65, 100_000] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                for text in [
                    deep.clone(),
                    open.repeat(depth),
                    format!(r#"{{"id":"1","type":"message","to":["bob"],"content":{deep}}}"#),
                    format!(r#"{{"type":"message","to":{deep},"content":1}}"#),
                    format!(r#"{{"type":"heartbeat","other":{deep}}}"#),
                ] {
                    assert!(decode(&text).expect_err("deep").message.starts_with("nested deeper than 64 at byte"));
                }
                assert_eq!(id_of(&format!(r#"{{"content":{deep},"id":"1"}}"#)), Some(id("1")));
            }
        }
    };
    std::thread::Builder::new().stack_size(128 << 10).spawn(on_small_stack).unwrap().join().unwrap();
}

#[test]
fn the_deepest_content_that_is_allowed_passes() {
    let deepest = format!("{}{}", "[".repeat(63), "]".repeat(63));
    let text = format!(r#"{{"type":"broadcast","content":{deepest}}}"#);
    assert!(matches!(decode(&text).unwrap(), ClientFrame::Broadcast { content, .. } if content.get() == deepest));
}

#[test]
fn no_number_is_too_long_to_refuse() {
    let text = format!(r#"{{"type":"broadcast","id":"1","content":{}}}"#, "7".repeat(1 << 20));
    let message = "a number longer than 308 bytes at byte 39".into();
    assert_eq!(decode(&text).unwrap_err(), BadFrame { id: Some(id("1")), message });
}

#[test]
fn recipients_count_once_however_often_they_are_named() {
    let naming = |accounts: usize, times: usize| {
        let names: Vec<String> = (0..accounts * times).map(|n| format!("\"a{}\"", n % accounts)).collect();
        format!(r#"{{"type":"message","to":[{}],"content":1}}"#, names.join(","))
    };
    let text = naming(256, 40);
    let ClientFrame::Message { to: Recipients::Accounts(accounts), .. } = decode(&text).unwrap() else {
        panic!("not a message to accounts");
    };
    assert_eq!(accounts, (0..256).map(|n| account(&format!("a{n}"))).collect::<Vec<_>>());
    assert!(decode(&naming(257, 1)).unwrap_err().message.starts_with("more than 256 accounts at line 1 column"));
}

#[test]
fn an_id_is_found_without_reading_further() {
    assert_eq!(id_of(r#"{"x":[{"id":"no"}],"i\u0064":"yes","id":"no" and nonsense"#), Some(id("yes")));
    assert_eq!(id_of(&format!(r#"{{"id":"{}"}}"#, "x".repeat(64))), Some(id(&"x".repeat(64))));
    for text in ["", "[\"id\",\"1\"]", r#"{"id":1}"#, r#"{"id":null}"#, r#"{"x":01,"id":"1"}"#, r#"{"id":"\ud800"}"#] {
        assert_eq!(id_of(text), None, "{text}");
    }
    assert_eq!(id_of(&format!(r#"{{"id":"{}"}}"#, "x".repeat(65))), None);
}

#[test]
fn an_error_quotes_little_of_what_it_complains_about() {
    let hostile = "\\u0001ü\\n\\u001b".repeat(50_000);
    for field in ["type", "to", "next_ms", "background", "watch", "accounts", "content", "room", "id"] {
        let text = format!("{{\"{field}\":\"{hostile}\",\"type\":\"message\"}}");
        let message = decode(&text).unwrap_err().message;
        assert!(message.len() < 1_000 && !message.contains(char::is_control), "{message}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*", nearly in nearly_a_frame()) {
        let _ = (decode(&text).is_ok(), id_of(&text), id_of(&nearly));
        if let Err(bad) = decode(&nearly) {
            prop_assert!(bad.message.len() < 1_000);
        }
    }

    #[test]
    fn what_passes_can_be_parsed_by_its_recipients(content in nearly_json()) {
        let text = format!(r#"{{"type":"message","to":["bob"],"content":{content}}}"#);
        match decode(&text) {
            Ok(ClientFrame::Message { content, .. }) => {
                let sent = payload(&message(7, &account("alice"), None, 0, content));
                prop_assert!(serde_json::from_str::<serde_json::Value>(&sent).is_ok(), "{}", sent);
            }
            Ok(other) => prop_assert!(false, "{other:?}"),
            Err(_) => {}
        }
    }

    #[test]
    fn content_passes_byte_for_byte(content in json()) {
        let text = format!(r#"{{"type":"message","content":{content},"to":["bob"]}}"#);
        let Ok(ClientFrame::Message { content: decoded, .. }) = decode(&text) else {
            return Err(TestCaseError::fail(text));
        };
        prop_assert_eq!(decoded.get(), content.trim());
        let sent = payload(&message(7, &account("alice"), None, 0, decoded));
        let expected = format!(r#"{{"type":"message","id":"7","from":"alice","time":0,"content":{}}}"#, content.trim());
        prop_assert_eq!(sent, expected);
    }
}

/// JSON as different writers would write it: white space anywhere, escapes, every form of number.
fn json() -> impl Strategy<Value = String> {
    let string = r#""([ !#-\[\]-~é世😀]|\\["\\/bfnrt]|\\u00[0-9a-f]{2}|\\ud83d\\ude0[0-9A-F]){0,12}""#;
    let number = r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?";
    let leaf = prop_oneof![string, number, "true|false|null"];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        let spaced =
            ("[ \t\r\n]{0,2}", inner, "[ \t\r\n]{0,2}").prop_map(|(before, value, after)| before + &value + &after);
        let member = (string, spaced.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        prop_oneof![
            prop::collection::vec(spaced, 0..5).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// What is JSON only sometimes, with what a scan or parser might trip over.
fn nearly_json() -> impl Strategy<Value = String> {
    r#"([\[\]{}:, ]|"(a|\\u[dD][89abcdEF]00|\\[nu"\\x]){0,3}"|-?[0-9]{1,2}(\.[0-9])?([eE]-?[0-9]{1,4})?|null|true){0,6}"#
}

/// Frames of which most are wrong somewhere.
fn nearly_a_frame() -> impl Strategy<Value = String> {
    let field = r#""(type|to|room|content|id|next_ms|accounts|watch|token|from)":("(message|join|heartbeat|token|x)"|\["[ab]?"\]|[0-9]|true|null|\{\}|)"#;
    prop::collection::vec(field, 0..6).prop_map(|fields| format!("{{{}}}", fields.join(",")))
}

/// What a text frame says, its header removed.
fn payload(frame: &Bytes) -> String {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    String::from_utf8(frame[header..].to_vec()).unwrap()
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.into()).unwrap()
}

fn account(name: &str) -> Account {
    Account::new(name).unwrap()
}

fn id(text: &str) -> FrameId {
    FrameId::new(text).unwrap()
}
