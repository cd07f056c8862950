//! What the back end is asked, and how its answer is read. That no back end keeps anybody waiting is tested from outside.

use super::question::NOT_FORWARDED;
use super::*;
use crate::handler::Words;
use crate::http::HeadReader;
use crate::protocol::message::{Account, Room};
use crate::record::{ConnectionId, Dialect};
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use std::net::SocketAddr;

const CLIENT: &str = "[::ffff:192.0.2.7]:4000";

fn request(target: &str, headers: &str) -> Request {
    let head = format!("GET {target} HTTP/1.1\r\nHost: chat.example.org\r\n{headers}\r\n");
    let head = HeadReader::new().push(head.as_bytes()).unwrap().unwrap().0;
    let token = head.bearer_token().unwrap().map(str::to_owned);
    let words = Words::Upgrade { head: Box::new(head), account: "user_id" };
    Request { words, client: CLIENT.parse().unwrap(), token }
}

fn hello(user_id: Option<&str>, device: &str, token: Option<&str>) -> Request {
    let words = Words::Hello { user_id: user_id.map(str::to_owned), device: device.into() };
    Request { words, client: CLIENT.parse().unwrap(), token: token.map(str::to_owned) }
}

fn asked(request: &Request) -> Question {
    Question::of_request(request).unwrap()
}

fn headers(question: &Question) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    question.headers().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_question_is_the_request_without_what_concerns_its_connection() {
    assert!(NOT_FORWARDED.is_sorted());
    let upgrade = "Connection: keep-alive, X-Hop ,Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                   Accept-Encoding: gzip\r\nAccept: text/html\r\nX-Hop: 1\r\nProxy-Authorization: Basic x\r\n\
                   Forwarded: for=10.0.0.1\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\
                   X-Real-IP: 10.0.0.1\r\nX-Original-URI: /admin\r\nX_Forwarded_For: 10.0.0.1\r\nX_Own: 1\r\n\
                   Range: bytes=9-30\r\nIf-Range: x\r\nIf-None-Match: *\r\n";
    let own =
        "Cookie: a=1\r\nCookie: b=2\r\nUser-Agent: browser\r\nOrigin: https://example.org\r\nX-Own: gr\u{fc}n\r\n";
    let question = asked(&request("/ws%20x?user_id=al%20ice%26&x=%C3%A9%3D&flag", &format!("{upgrade}{own}")));
    assert_eq!(question.query(), "?flag=&user_id=al%20ice%26&x=%C3%A9%3D");
    let mut sent = headers(&question);
    sent.sort();
    let expected = [
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("origin", "https://example.org"),
        ("user-agent", "browser"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-original-uri", "/ws%20x"),
        ("x-own", "gr\u{fc}n"),
    ];
    assert_eq!(sent, pairs(&expected));
}

#[test]
fn the_token_is_in_authorization_however_it_came() {
    for (target, header) in [
        ("/ws", "Authorization: Bearer T1\r\n"),
        ("/ws?token=T1", ""),
        ("/ws", "Sec-WebSocket-Protocol: heartwire.v1, bearer.T1\r\n"),
        ("/ws?token=T1", "Authorization: Bearer T1\r\n"),
    ] {
        let sent = headers(&asked(&request(target, header)));
        let tokens: Vec<_> = sent.iter().filter(|(name, _)| name == "authorization").collect();
        assert_eq!(tokens, [&("authorization".to_owned(), "Bearer T1".to_owned())], "{target} {header}");
    }
    let basic = headers(&asked(&request("/ws?token=T1", "Authorization: Basic dTpw\r\n")));
    assert!(basic.contains(&("authorization".into(), "Basic dTpw".into())), "{basic:?}");
    for token in ["a b", "a\r\nX: y", "\u{e9}", &"x".repeat((8 << 10) + 1)] {
        assert_eq!(Question::of_request(&hello(None, "", Some(token))).err().unwrap().status, 401);
    }
}

#[test]
fn raw_tcp_and_renewals_have_a_query_and_a_token() {
    let question = asked(&hello(Some("al ice"), "phone", Some("T1")));
    assert_eq!(question.query(), "?device=phone&user_id=al%20ice");
    assert_eq!(headers(&question), pairs(&[("authorization", "Bearer T1"), ("x-forwarded-for", "192.0.2.7")]));
    let question = asked(&hello(None, "", None));
    assert_eq!((question.query(), headers(&question)), ("", pairs(&[("x-forwarded-for", "192.0.2.7")])));

    let connection = ConnectionInfo {
        dialect: Dialect::Native,
        id: ConnectionId("1".into()),
        account: Account::new("al ice").unwrap(),
        device: "phone".into(),
        address: CLIENT.parse::<SocketAddr>().unwrap(),
        since: SystemTime::now(),
    };
    let question = Question::of_renewal(&connection, "T2").unwrap();
    assert_eq!(question.query(), "?user_id=al%20ice");
    assert_eq!(headers(&question), pairs(&[("authorization", "Bearer T2"), ("x-forwarded-for", "192.0.2.7")]));
}

#[test]
fn questions_that_differ_anywhere_have_different_keys() {
    let requests = [
        request("/ws?user_id=a", "X: 1\r\n"),
        request("/ws?user_id=b", "X: 1\r\n"),
        request("/w?user_id=a", "X: 1\r\n"),
        request("/ws?user_id=a", "X: 2\r\n"),
        request("/ws?user_id=a", "Y: 1\r\n"),
        request("/ws?user_id=a", "X: 1\r\nX: 1\r\n"),
        request("/ws?user_id=a", "X: 1\r\nAuthorization: Bearer t\r\n"),
        request("/ws?user_id=a&x=1", ""),
        // The same bytes in a row, cut elsewhere.
        request("/ws?user_id=a", "X1:\r\n"),
        request("/ws?user_id=a", "X: 1x-forwarded-for\r\n"),
    ];
    let keys: std::collections::BTreeSet<_> = requests.iter().map(|request| asked(request).key()).collect();
    assert_eq!(keys.len(), requests.len());
    let other_connection = request("/ws?user_id=a", "X: 1\r\nSec-WebSocket-Key: AAAA\r\nConnection: Upgrade\r\n");
    assert_eq!(asked(&other_connection).key(), asked(&requests[0]).key());
}

fn answer(status: u16, body: &str) -> Result<Answer, String> {
    answer::read(status, &HeaderMap::new(), body.as_bytes()).map_err(|failure| failure.to_string())
}

#[test]
fn an_answer_names_the_account_and_perhaps_more() {
    let known = |body: &str| match answer(200, body) {
        Ok(Answer::Known { identity, .. }) => identity,
        other => panic!("{body}: {other:?}"),
    };
    let alice = Identity::new(Account::new("alice").unwrap());
    assert_eq!(known(r#"{"account":"alice"}"#), alice);
    assert_eq!(known(r#" {"account":"alice","rooms":null,"expires_at":null,"other":{"a":[]}} "#), alice);
    let identity = known(r#"{"account":"alice","rooms":["a","b"],"expires_at":1999999999.5}"#);
    assert_eq!(identity.rooms, ["a", "b"].map(|name| Room::new(name).unwrap()));
    assert_eq!(identity.expires, Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_999_999_999_500)));
    assert!(matches!(answer(299, r#"{"account":"alice"}"#), Ok(Answer::Known { .. })));
}

#[test]
fn a_no_is_a_refusal_and_its_body_stays_here() {
    for (status, body) in [(401, "SECRET"), (403, r#"{"account":"SECRET"}"#)] {
        let Ok(Answer::Refused(refusal)) = answer(status, body) else { panic!("{status}") };
        assert_eq!(refusal.status, status);
        assert!(!format!("{refusal:?}").contains("SECRET"), "{refusal:?}");
    }
}

#[test]
fn whatever_else_comes_is_the_back_ends_failure_and_not_shown() {
    for status in [100, 101, 199, 300, 302, 304, 400, 402, 404, 407, 429, 500, 503, 599] {
        assert_eq!(answer(status, r#"{"account":"alice"}"#).unwrap_err(), format!("status {status}"));
    }
    for (body, essence) in [
        ("", "not JSON"),
        ("SECRET", "not JSON"),
        (r#"{"account":"SECRET"}{}"#, "not JSON"),
        (r#""SECRET""#, "no `account`"),
        ("[]", "no `account`"),
        ("{}", "no `account`"),
        (r#"{"account":null}"#, "no `account`"),
        (r#"{"account":7}"#, "no `account`"),
        (r#"{"account":"a","account":"SECRET"}"#, "no `account`"),
        (r#"{"account":"a","rooms":"SECRET"}"#, "another type"),
        (r#"{"account":"a","expires_at":"SECRET"}"#, "another type"),
        (r#"{"account":""}"#, "`account` is not one"),
        (r#"{"account":"SECRET\n"}"#, "`account` is not one"),
        (r#"{"account":"a","rooms":["SECRET\n"]}"#, "`rooms`"),
    ] {
        let failure = answer(200, body).unwrap_err();
        assert!(failure.contains(essence) && !failure.contains("SECRET"), "{body}: {failure}");
    }
    let rooms = vec!["r"; 65].join(r#"",""#);
    assert!(answer(200, &format!(r#"{{"account":"a","rooms":["{rooms}"]}}"#)).unwrap_err().contains("`rooms`"));
}

#[test]
fn only_an_answer_that_says_so_may_be_given_again() {
    let age = |values: &[&str]| {
        let headers = values.iter().map(|value| (CACHE_CONTROL, value.parse().unwrap())).collect();
        match answer::read(200, &headers, br#"{"account":"a"}"#) {
            Ok(Answer::Known { max_age, .. }) => max_age.as_secs(),
            other => panic!("{other:?}"),
        }
    };
    for (values, seconds) in [
        (&["max-age=60"][..], 60),
        (&["private, MAX-AGE=60 , must-revalidate"], 60),
        (&["max-age=\"60\""], 60),
        (&["max-age = 60"], 60),
        (&["max-age=60", "max-age=30"], 30),
        (&["max-age=99999999999999"], 86_400),
        (&["max-age=99999999999999999999999"], 0),
        (&["max-age=60, no-store"], 0),
        (&["no-cache", "max-age=60"], 0),
        (&["max-age=60, no-cache=\"set-cookie\""], 0),
        (&["max-age=0"], 0),
        (&["max-age=-1"], 0),
        (&["max-age"], 0),
        (&["max-age=60, max-age=x"], 0),
        (&["s-maxage=60"], 0),
        (&["public"], 0),
        (&[""], 0),
        (&[], 0),
    ] {
        assert_eq!(age(values), seconds, "{values:?}");
    }
}

#[test]
fn options_that_make_no_sense_are_refused_and_not_shown() {
    for url in [
        "",
        "auth",
        "/auth",
        "localhost:3000/auth",
        "ftp://host/auth",
        "http:///auth",
        "http://:80/auth",
        "http://user:SECRET@host/auth",
        "http://host/auth?key=SECRET",
        "http://host/auth#SECRET",
        "http://host/a b",
    ] {
        let error = BackEnd::new(BackEndOptions::new(url)).err().expect(url).to_string();
        assert!(error.starts_with("auth-url: it ") && !error.contains("SECRET"), "{url}: {error}");
    }
    for url in ["http://host", "https://host:8443/a/b", "HTTP://[::1]:3000/auth"] {
        assert!(BackEnd::new(BackEndOptions::new(url)).is_ok(), "{url}");
    }
    for (timeout, concurrency) in [(Duration::ZERO, 1), (Duration::MAX, 1), (Duration::from_secs(1), 0)] {
        let mut options = BackEndOptions::new("http://host/SECRET");
        assert!(format!("{options:?}").contains("http://host") && !format!("{options:?}").contains("SECRET"));
        (options.timeout, options.concurrency) = (timeout, concurrency);
        assert!(BackEnd::new(options).is_err(), "{timeout:?} {concurrency}");
    }
}
