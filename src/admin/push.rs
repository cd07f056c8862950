//! `POST /v1/push`: a message of the back end to accounts, to rooms or to everybody, pushed once however often it is asked
//! for.

use super::Call;
use super::answers::refused;
use super::idempotency::{Id, Outcome, Turn};
use super::json::{self, Names};
use super::request::bad_request;
use crate::auth::{RETRY_AFTER, Refusal};
use crate::http::{Head, Response};
use crate::protocol::message::{Account, Room};
use crate::protocol::text::Text;
use crate::router::{Pending, Push, Reach, SendError, Target};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// The header by which a push is known again.
const KEY_HEADER: &str = "idempotency-key";
const MAX_KEY_BYTES: usize = 128;
/// What an answer has besides names.
const ANSWER_BYTES: usize = 96;

/// Pushes a message, or finds that it was pushed before.
pub(super) fn push(call: &Call<'_>) -> Result<Response, Response> {
    let order = Order::read(&call.body)?;
    let Some(key) = key(call.head)? else {
        let pending = order.submit(call).map_err(refused)?;
        return pending.wait().map(|reach| answer(&describe(&reach))).map_err(refused);
    };
    let (id, request) = (Id::of(&[call.caller.name, key]), Id::of(&[&call.body]));
    let pushes = &call.admin.pushes;
    let submitted = match pushes.begin(id, request, order.longest_answer()) {
        Turn::First => order.submit(call),
        Turn::Resume(pending) => Ok(pending),
        Turn::Replay(text) => return Ok(answer(&text).header("Idempotent-Replayed", "true")),
        Turn::Differs => return Err(bad_request("this Idempotency-Key came with another body before")),
        Turn::Full(wait) => {
            return Err(Refusal::throttled("too many Idempotency-Keys are remembered", wait).response());
        }
        Turn::Wait => return Err(Refusal::unavailable("the same push is still in progress", RETRY_AFTER).response()),
    };
    let (outcome, answered) = match submitted {
        // Nothing was pushed: whoever comes again shall find nothing, either.
        Err(error) => (Outcome::Nothing, Err(refused(error))),
        Ok(pending) => match pending.wait() {
            Ok(reach) => {
                let text = describe(&reach);
                (Outcome::Answered(text.as_str().into()), Ok(answer(&text)))
            }
            // It may be pushed yet, and must not be a second time.
            Err(SendError::Busy) => (Outcome::Submitted(pending), Err(refused(SendError::Busy))),
            Err(error) => (Outcome::Nothing, Err(refused(error))),
        },
    };
    pushes.settle(id, outcome);
    answered
}

/// What is to be pushed, and to whom.
#[derive(Debug)]
struct Order {
    to: Target,
    push: Push,
}

impl Order {
    fn read(body: &str) -> Result<Self, Response> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body<'a> {
            accounts: Option<Names<Account>>,
            rooms: Option<Names<Room>>,
            all: Option<bool>,
            #[serde(borrow)]
            message: &'a RawValue,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Message<'a> {
            #[serde(rename = "type", borrow)]
            kind: Text<'a>,
            #[serde(borrow)]
            content: &'a RawValue,
        }
        let Body { accounts, rooms, all, message } = json::object(body)?;
        let to = match (accounts, rooms, all) {
            (Some(Names(accounts)), None, None) => Target::Accounts(accounts),
            (None, Some(Names(rooms)), None) => Target::Rooms(rooms),
            (None, None, Some(true)) => Target::All,
            (None, None, Some(false)) => return Err(bad_request("`all` must be true")),
            _ => return Err(bad_request("one of `accounts`, `rooms` and `all` says to whom")),
        };
        let Message { kind: Text(kind), content } = json::object(message.get())?;
        let push = Push::new(&kind, content).map_err(|error| bad_request(&format!("message: {error}")))?;
        Ok(Self { to, push })
    }

    fn submit(self, call: &Call<'_>) -> Result<Pending, SendError> {
        call.shared.handle.submit(self.to, &self.push)
    }

    /// A bound for the answer, in bytes: every name may be missing, and its escapes double it at most.
    fn longest_answer(&self) -> usize {
        let names: usize = match &self.to {
            Target::Accounts(accounts) => accounts.iter().map(|account| 2 * account.as_str().len() + 3).sum(),
            Target::Rooms(rooms) => rooms.iter().map(|room| 2 * room.as_str().len() + 3).sum(),
            Target::All | Target::Connection(_) => 0,
        };
        ANSWER_BYTES + names
    }
}

/// The text of the answer.
fn describe(reach: &Reach) -> String {
    let accounts = reach.missing.iter().map(Account::as_str);
    let missing: Vec<_> = accounts.chain(reach.missing_rooms.iter().map(Room::as_str)).collect();
    json!({ "accounts": reach.accounts, "connections": reach.connections, "missing": missing }).to_string()
}

fn answer(text: &str) -> Response {
    Response::new(200, "application/json", text)
}

/// The name that the client gave this push.
fn key(head: &Head) -> Result<Option<&str>, Response> {
    let mut keys = head.headers().get_all(KEY_HEADER).iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(None),
        (Some(key), None) => key.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    let is_fit = |key: &&str| (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let wrong = || bad_request(&format!("Idempotency-Key is 1 to {MAX_KEY_BYTES} visible characters of ASCII, once"));
    key.filter(is_fit).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeadReader;

    fn wrong(body: &str) -> String {
        let refusal = Order::read(body).unwrap_err();
        assert_eq!(refusal.status(), 400);
        String::from_utf8(refusal.to_bytes()).unwrap()
    }

    #[test]
    fn one_target_and_a_message_make_an_order() {
        let to = |target: &str| {
            Order::read(&format!(r#"{{{target},"message":{{"type":"notice","content":null}}}}"#)).unwrap().to
        };
        let (account, room) = (|name| Account::new(name).unwrap(), |name| Room::new(name).unwrap());
        assert_eq!(to(r#""accounts":["a","b"]"#), Target::Accounts(vec![account("a"), account("b")]));
        assert_eq!(to(r#""rooms":["a"],"all":null"#), Target::Rooms(vec![room("a")]));
        assert_eq!(to(r#""all":true"#), Target::All);
    }

    #[test]
    fn everything_else_is_refused() {
        let message = r#""message":{"type":"notice","content":1}"#;
        for (body, essence) in [
            (format!("{{{message}}}"), "says to whom"),
            (format!(r#"{{"accounts":["a"],"rooms":["b"],{message}}}"#), "says to whom"),
            (format!(r#"{{"accounts":["a"],"all":true,{message}}}"#), "says to whom"),
            (format!(r#"{{"all":false,{message}}}"#), "must be true"),
            (format!(r#"{{"accounts":[],{message}}}"#), "1 to 10000"),
            (format!(r#"{{"al":true,{message}}}"#), "unknown field `al`"),
            (r#"{"all":true}"#.into(), "missing field `message`"),
            (r#"{"all":true,"message":{"type":"notice"}}"#.into(), "missing field `content`"),
            (r#"{"all":true,"message":{"content":1}}"#.into(), "missing field `type`"),
            (r#"{"all":true,"message":["notice",1]}"#.into(), "object is needed"),
            (r#"{"all":true,"message":{"type":"notice","content":1,"to":[]}}"#.into(), "unknown field `to`"),
            (r#"{"all":true,"message":{"type":"ack","content":1}}"#.into(), "message: type: "),
            (r#"{"all":true,"message":{"type":"","content":1}}"#.into(), "message: type: "),
            (r#"{"all":true,"message":{"type":"a","type":"b","content":1}}"#.into(), "duplicate field `type`"),
            (r#"{"all":true,"message":{"type":"a","content":1e999}}"#.into(), "number"),
            (r#"{"all":true,"message":{"type":"a","content":"\ud800"}}"#.into(), "surrogate"),
            (
                format!(r#"{{"all":true,"message":{{"type":"a","content":{0}1{1}}}}}"#, "[".repeat(64), "]".repeat(64)),
                "deeper",
            ),
        ] {
            let text = wrong(&body);
            assert!(text.contains(essence), "{body}: {text}");
        }
        let deep =
            format!(r#"{{"all":true,"message":{{"type":"a","content":{0}1{1}}}}}"#, "[".repeat(63), "]".repeat(63));
        assert!(Order::read(&deep).is_ok(), "as deep as a client's own");
        let bomb = format!(r#"{{"all":true,"message":{{"type":"a","content":{}"#, "[".repeat(500_000));
        wrong(&bomb);
    }

    #[test]
    fn an_answer_is_never_longer_than_was_foreseen() {
        let names: Vec<_> = (0..1_000).map(|n| Account::new(&format!("\"\\{n}\u{1F980}")).unwrap()).collect();
        let push = Push::new("notice", &()).unwrap();
        let order = Order { to: Target::Accounts(names.clone()), push };
        let (accounts, connections) = (usize::MAX, usize::MAX);
        let reach = Reach { accounts, connections, missing: names, missing_rooms: Vec::new() };
        assert!(describe(&reach).len() <= order.longest_answer());
    }

    #[test]
    fn a_key_is_visible_and_given_once() {
        let key_of = |headers: &str| {
            let request = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
            let (head, _) = HeadReader::new().push(request.as_bytes()).unwrap().unwrap();
            key(&head).map(|key| key.map(str::to_owned)).map_err(|refusal| refusal.status())
        };
        assert_eq!(key_of(""), Ok(None));
        assert_eq!(key_of("Idempotency-Key: a-1\r\n"), Ok(Some("a-1".into())));
        let longest = "x".repeat(128);
        assert_eq!(key_of(&format!("Idempotency-Key: {longest}\r\n")), Ok(Some(longest.clone())));
        for headers in [
            "Idempotency-Key:\r\n".to_owned(),
            "Idempotency-Key: a b\r\n".into(),
            "Idempotency-Key: \u{e4}\r\n".into(),
            format!("Idempotency-Key: {longest}x\r\n"),
            "Idempotency-Key: a\r\nIdempotency-Key: a\r\n".into(),
        ] {
            assert_eq!(key_of(&headers), Err(400), "{headers}");
        }
    }
}
