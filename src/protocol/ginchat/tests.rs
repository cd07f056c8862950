//! The dialect against its golden files, against the native one, and against peers that mean harm.

use super::*;
use crate::protocol::message::{Account, ErrorCode, FrameId, HeartbeatTimes, Recipients, Room};
use crate::protocol::native;
use crate::protocol::wire::Bytes;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

const ACCEPTED: &str = include_str!("../../../tests/golden/ginchat_accepted.jsonl");
const REFUSED: &str = include_str!("../../../tests/golden/ginchat_refused.jsonl");
const TRANSLATED: &str = include_str!("../../../tests/golden/ginchat_translated.jsonl");

const FIELDS: [&str; 10] =
    ["userId", "TargetId", "Type", "Media", "Content", "CreateTime", "Url", "Pic", "Desc", "Amount"];

#[test]
fn the_golden_client_frames_are_understood() {
    #[derive(Deserialize)]
    struct Accepted<'a> {
        #[serde(borrow)]
        frame: &'a RawValue,
        decoded: String,
    }
    for line in ACCEPTED.lines() {
        let golden: Accepted<'_> = serde_json::from_str(line).unwrap();
        assert_eq!(format!("{:?}", decode(golden.frame.get()).unwrap()), golden.decoded, "{line}");
    }
}

#[test]
fn the_golden_bad_frames_are_refused() {
    #[derive(Deserialize)]
    struct Refused {
        text: String,
        message: String,
    }
    for line in REFUSED.lines() {
        let golden: Refused = serde_json::from_str(line).unwrap();
        assert_eq!(decode(&golden.text).expect_err(line).message, golden.message, "{line}");
    }
}

#[test]
fn native_frames_are_translated_as_the_golden_ones() {
    #[derive(Deserialize)]
    struct Translated<'a> {
        #[serde(borrow)]
        native: &'a RawValue,
        to: String,
        #[serde(borrow)]
        ginchat: Option<&'a RawValue>,
    }
    for line in TRANSLATED.lines() {
        let golden: Translated<'_> = serde_json::from_str(line).unwrap();
        let sent = translated(golden.native.get(), &golden.to);
        assert_eq!(sent.as_deref(), golden.ginchat.map(RawValue::get), "{line}");
    }
}

#[test]
fn what_is_neither_a_message_nor_a_push_has_no_form_here() {
    let times = HeartbeatTimes { interval: Duration::from_secs(25), timeout: Duration::from_secs(60) };
    let (alice, id) = (account("alice"), FrameId::new("1").unwrap());
    for frame in [
        native::register("c-1", &alice, times, Duration::ZERO, None),
        native::heartbeat(times),
        native::ack(&id, 2),
        native::presence(Some(&id), &[]),
        native::presence(None, &[]),
        native::error(Some(&id), ErrorCode::BadRequest, ""),
        native::error(None, ErrorCode::BadRequest, ""),
    ] {
        assert_eq!(translated(&payload(&frame), "2"), None);
    }
    let (message, push) = (native::message(1, &alice, None, 0, &raw("1")), native::push("x", &raw("1")).unwrap());
    assert!(translated(&payload(&message), "2").is_some() && translated(&payload(&push), "2").is_some());
}

#[test]
fn a_room_gets_one_frame_and_every_account_its_own() {
    let room = Room::new("9").unwrap();
    let frame = |room| native::message(1, &account("1"), room, 7, &raw("\"hi\""));
    let to_room = Translation::parse(&payload(&frame(Some(&room)))).unwrap();
    assert_eq!(to_room.for_recipient(&account("2")).as_ptr(), to_room.for_recipient(&account("3")).as_ptr());
    let to_accounts = Translation::parse(&payload(&frame(None))).unwrap();
    for name in ["2", "3"] {
        let sent = payload(&to_accounts.for_recipient(&account(name)));
        assert!(sent.contains(&format!(r#""TargetId":{name},"#)), "{sent}");
    }
}

#[test]
fn every_field_may_be_given_once_in_whatever_case() {
    for name in FIELDS {
        for again in
            [name.to_owned(), name.to_ascii_lowercase(), format!("\\u00{:x}{}", name.as_bytes()[0], &name[1..])]
        {
            for value in ["1", "null"] {
                let text = format!(r#"{{"{name}":{value},"Other":1,"Other":2,"{again}":3}}"#);
                let message = decode(&text).expect_err(&text).message;
                assert!(message.starts_with(&format!("duplicate field `{name}` at line 1 column")), "{message}");
            }
        }
    }
}

#[test]
fn the_smallest_stack_survives_every_depth() {
    let on_small_stack = || {
        for depth in [65, 100_000] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                for name in FIELDS.into_iter().chain(["other"]) {
                    let bad = decode(&format!(r#"{{"Type":3,"{name}":{deep}}}"#)).expect_err("deep");
                    assert!(bad.message.starts_with("nested deeper than 64 at byte"));
                }
                for content in [deep.clone(), format!(r#"{{"body":{deep},"meta_data":{{"Url":{deep},"x":{deep}}}}}"#)] {
                    let sent = translated(&format!(r#"{{"type":"notice","content":{content}}}"#), "2").unwrap();
                    assert!(sent.len() > content.len());
                }
            }
        }
    };
    std::thread::Builder::new().stack_size(128 << 10).spawn(on_small_stack).unwrap().join().unwrap();
}

#[test]
fn no_number_is_too_long_to_refuse() {
    let digits = "7".repeat(1 << 20);
    let message = decode(&format!(r#"{{"Type":1,"TargetId":{digits}}}"#)).unwrap_err().message;
    assert_eq!(message, "a number longer than 308 bytes at byte 21");
    let message = decode(&format!(r#"{{"Type":"{digits}","TargetId":1}}"#)).unwrap_err().message;
    assert_eq!(message, "`Type` must be 1, 2 or 3");
    for long in [&digits, &format!("0.{digits}")] {
        let content = format!(r#"{{"body":"x","meta_data":{{"Media":"{long}"}}}}"#);
        let sent = translated(&format!(r#"{{"type":"notice","content":{content}}}"#), "2").unwrap();
        assert_eq!(sent, r#"{"userId":0,"TargetId":2,"Type":1,"Media":1,"Content":"x"}"#);
    }
}

#[test]
fn a_nested_field_cannot_make_content_deeper_than_a_native_client_may() {
    for name in ["Media", "CreateTime", "Url", "Pic", "Desc", "Amount"] {
        let key = name.to_ascii_uppercase();
        for value in ["[]", "{}"] {
            let message = decode(&format!(r#"{{"Type":1,"TargetId":2,"{key}":{value}}}"#)).unwrap_err().message;
            assert_eq!(message, format!("`{key}` must not be an array or an object"));
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*", frame in nearly_a_frame(), native in nearly_native()) {
        for text in [text, frame, native] {
            if let Err(bad) = decode(&text) {
                prop_assert!(bad.message.len() < 200 && !bad.message.contains(char::is_control), "{}", bad.message);
            }
            if let Some(sent) = translated(&text, "2") {
                prop_assert!(serde_json::from_str::<fields::Fields<'_>>(&sent).is_ok(), "not JSON or twice: {}", sent);
            }
        }
    }

    #[test]
    fn what_passes_keeps_to_the_rules_of_native_clients(frame in nearly_a_frame()) {
        if let Ok(ClientMessage::Message { content, .. }) = decode(&frame) {
            let native = format!(r#"{{"type":"broadcast","content":{content}}}"#);
            prop_assert!(native::decode(&native).is_ok(), "{}", native);
        }
    }

    #[test]
    fn fields_come_through_as_they_were_written(
        from in name(), to in name(), group: bool, media in option(number()), content in option(string()),
        time in option(number()),
        passed in prop::collection::vec(option(prop_oneof![string(), number()]), 4),
        spelled in prop::collection::vec(prop::sample::select(vec!["Url Pic Desc Amount", "url pic desc amount"]), 4),
    ) {
        let passed: String = passed.iter().zip(spelled).enumerate()
            .filter_map(|(n, (value, names))| Some(format!(",\"{}\":{}", names.split(' ').nth(n)?, value.as_ref()?)))
            .collect();
        let target = if to == "0" || to.starts_with('-') { format!("\"{to}\"") } else { json(&to) };
        let kind = if group { 2 } else { 1 };
        let written = format!(
            r#"{{"userId":666,"TargetId":{target},"Type":{kind},"media":{},"CREATETIME":{},"Content":{}{passed}}}"#,
            media.as_deref().unwrap_or("null"), time.as_deref().unwrap_or("null"), content.as_deref().unwrap_or("null"),
        );
        let Ok(ClientMessage::Message { to: recipients, content: native }) = decode(&written) else {
            return Err(TestCaseError::fail(written));
        };
        let room = match &recipients {
            Recipients::Room(room) => Some(room),
            Recipients::Accounts(accounts) => {
                prop_assert_eq!(accounts, &[account(&to)]);
                None
            }
        };
        let frame = native::message("m-1", &account(&from), room, 7, &native);
        let expected = format!(
            r#"{{"userId":{},"TargetId":{},"Type":{kind},"Media":{},"Content":{},"CreateTime":{}{passed}}}"#,
            json(&from), json(&to), media.as_deref().unwrap_or("1"), content.as_deref().unwrap_or("\"\""),
            time.as_deref().unwrap_or("7"),
        );
        prop_assert_eq!(translated(&payload(&frame), &to), Some(expected));
    }
}

/// Frames of which most are wrong somewhere.
fn nearly_a_frame() -> impl Strategy<Value = String> {
    let key = "userId|TARGETID|TargetId|Type|type|Media|Content|content|CreateTime|Url|url|Pic|Desc|Amount|other";
    let value = r#""(1|-1|01| 2|\\u0032|\\ud800|世|1e9|)"|[0-4]|-1|1\.50|1e999|null|true|\[1\]|\{"a":[12]?\}"#;
    let field = (key, value).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    prop::collection::vec(field, 0..6).prop_map(|fields| format!("{{\"TYPE\":1,{}}}", fields.join(",")))
}

/// Native frames around such objects, of which some have no form in this dialect.
fn nearly_native() -> impl Strategy<Value = String> {
    let kind = "message|notice|heartbeat|";
    let rest = r#"(,"from":"[12]?")?(,"room":"r")?(,"time":[0-9])?(,"id":"1")?"#;
    let body = r#"("body":("x"|1|null),){0,2}"#;
    (kind, rest, body, nearly_a_frame(), nearly_a_frame()).prop_map(|(kind, rest, body, meta_data, more)| {
        format!(r#"{{"type":"{kind}"{rest},"content":{{{body}"meta_data":{meta_data},"more":{more}}}}}"#)
    })
}

fn option<T: Strategy>(value: T) -> impl Strategy<Value = Option<T::Value>> {
    prop::option::of(value)
}

fn name() -> &'static str {
    "(0|[1-9][0-9]{0,17})|1844674407370955161[0-9]|[0+ -][0-9]{1,3}|[a-z\"\\\\世😀]{1,5}"
}

fn string() -> &'static str {
    r#""([ !#-\[\]-~é世😀]|\\["\\/bfnrt]|\\u00[0-9a-f]{2}|\\ud83d\\ude0[0-9A-F]){0,12}""#
}

/// Numbers in every form but -1, which as `Media` is a heartbeat.
fn number() -> &'static str {
    r"-?(0|[2-9][0-9]{0,20})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?"
}

/// An account or a room as this dialect writes it.
fn json(name: &str) -> String {
    let canonical = name.parse::<u64>().is_ok_and(|number| number.to_string() == name);
    if canonical { name.to_owned() } else { serde_json::to_string(name).unwrap() }
}

fn translated(native: &str, to: &str) -> Option<String> {
    Translation::parse(native).map(|translation| payload(&translation.for_recipient(&account(to))))
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
