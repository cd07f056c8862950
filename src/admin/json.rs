//! Bodies in and answers out, as JSON. A misspelt field is an error: a push must not go elsewhere because of one.

use super::request::bad_request;
use crate::http::{Head, Response};
use crate::protocol::message::InvalidName;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;
use std::fmt::Display;
use std::str::FromStr;

/// The most names that one body may list.
const MAX_NAMES: usize = 10_000;
/// How many things a page shows, unless the request says otherwise, and at most.
const USUAL_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;
/// How much of the parser's message is repeated, which may quote the body.
const MAX_PARSER_MESSAGE_BYTES: usize = 256;

/// Reads an object into a struct, which says itself that it denies unknown fields.
///
/// # Errors
/// 400 with what is wrong, and where.
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Response> {
    // A derived struct would also be read from an array.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(bad_request("a JSON object is needed"));
    }
    serde_json::from_str(text).map_err(|error| {
        let mut message = error.to_string();
        message.truncate(message.floor_char_boundary(MAX_PARSER_MESSAGE_BYTES));
        bad_request(&message)
    })
}

/// The answer to what was done.
pub(super) fn answer(body: &Value) -> Response {
    Response::new(200, "application/json", body.to_string())
}

/// A list of names, neither empty nor too long.
#[derive(Debug)]
pub(super) struct Names<T>(pub(super) Vec<T>);

impl<'de, T: FromStr<Err = InvalidName>> Deserialize<'de> for Names<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        if !(1..=MAX_NAMES).contains(&texts.len()) {
            return Err(D::Error::custom(format_args!("a list holds 1 to {MAX_NAMES} names")));
        }
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect::<Result<_, _>>().map(Self)
    }
}

/// Which part of a list is asked for.
#[derive(Debug)]
pub(super) struct Page<T> {
    /// The name behind which it begins.
    pub(super) after: Option<T>,
    limit: usize,
}

impl<T: FromStr<Err: Display>> Page<T> {
    /// The page that a query asks for.
    ///
    /// # Errors
    /// 400 where it makes no sense.
    pub(super) fn of(head: &Head) -> Result<Self, Response> {
        let after = head.query("after").map(str::parse).transpose();
        let limit = head.query("limit").map_or(Ok(USUAL_LIMIT), str::parse);
        match limit {
            Ok(limit @ 1..=MAX_LIMIT) => {
                Ok(Self { after: after.map_err(|error| bad_request(&format!("after: {error}")))?, limit })
            }
            _ => Err(bad_request(&format!("limit must be 1 to {MAX_LIMIT}"))),
        }
    }

    /// How many are to be fetched: one more than are shown tells whether there is a next page.
    pub(super) fn fetched(&self) -> usize {
        self.limit + 1
    }

    /// The answer that shows what was `found` as `field`; `next` in it is the `after` of the next page, or null.
    pub(super) fn answer<'a, I, N: Serialize>(
        &self,
        field: &str,
        found: &'a [I],
        name: impl Fn(&'a I) -> N,
        show: impl Fn(&'a I) -> Value,
    ) -> Response {
        let (shown, next) = self.cut(found, name);
        answer(&serde_json::json!({ field: shown.iter().map(show).collect::<Vec<_>>(), "next": next }))
    }

    /// What of it this page shows, and the `after` of the next one, if there is one.
    pub(super) fn cut<'a, I, N>(&self, found: &'a [I], name: impl Fn(&'a I) -> N) -> (&'a [I], Option<N>) {
        let shown = &found[..found.len().min(self.limit)];
        (shown, shown.last().filter(|_| found.len() > shown.len()).map(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeadReader;
    use crate::protocol::message::Account;
    use serde_json::json;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        accounts: Option<Names<Account>>,
    }

    fn page(query: &str) -> Result<Page<Account>, u16> {
        let request = format!("GET /?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (head, _) = HeadReader::new().push(request.as_bytes()).unwrap().unwrap();
        Page::of(&head).map_err(|refusal| refusal.status())
    }

    fn wrong(body: &str) -> String {
        let refusal = object::<Body>(body).unwrap_err();
        assert_eq!(refusal.status(), 400);
        String::from_utf8(refusal.to_bytes()).unwrap().split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, essence) in [
            ("", "object is needed"),
            ("[null]", "object is needed"),
            (r#"{"acounts":["a"]}"#, "unknown field `acounts`, expected `accounts`"),
            (r#"{"accounts":["a"],"accounts":["b"]}"#, "duplicate field `accounts`"),
            (r#"{"accounts":"a"}"#, "expected a sequence"),
            (r#"{"accounts":[]}"#, "1 to 10000 names"),
            (r#"{"accounts":[""]}"#, "1 to 128 bytes"),
            (r#"{"accounts":["a\u0000"]}"#, "control characters"),
            (r#"{"accounts":["\ud800"]}"#, "hex escape"),
            (r#"{"accounts":["a"]} {}"#, "trailing characters"),
            (r#"{"accounts":["a"]"#, "EOF"),
        ] {
            let text = wrong(body);
            assert!(text.contains(essence), "{body}: {text}");
        }
        let Names(accounts) = object::<Body>(" {\"accounts\":[\"a\",\"\u{e4}/b\"]}").unwrap().accounts.unwrap();
        assert_eq!(accounts, ["a", "\u{e4}/b"].map(|name| Account::new(name).unwrap()));
        let many = json!({ "accounts": vec!["a"; MAX_NAMES + 1] }).to_string();
        assert!(wrong(&many).contains("1 to 10000 names"));
        assert!(wrong(&format!("{{\"{}\":1}}", "x".repeat(100_000))).len() < 500);
    }

    #[test]
    fn nesting_that_is_not_read_takes_no_stack() {
        for body in [format!(r#"{{"accounts":{}"#, "[".repeat(500_000)), format!(r#"{{"a":{}"#, "{".repeat(500_000))] {
            wrong(&body);
        }
    }

    #[test]
    fn a_page_has_a_size_and_a_beginning() {
        let limits = |query| page(query).map(|page| page.limit);
        assert_eq!(limits(""), Ok(100));
        assert_eq!((limits("limit=1"), limits("limit=1000")), (Ok(1), Ok(1_000)));
        for query in ["limit=0", "limit=1001", "limit=", "limit=-1", "limit=x", "after="] {
            assert_eq!(limits(query), Err(400), "{query}");
        }
        assert_eq!(page("after=a%2Fb").unwrap().after, Some(Account::new("a/b").unwrap()));
    }

    #[test]
    fn the_next_page_is_named_where_there_is_one() {
        let page = page("limit=2").unwrap();
        let body = |found: &[&'static str]| {
            let bytes = page.answer("names", found, |name| name, |name| json!(name)).to_bytes();
            String::from_utf8(bytes).unwrap().split_once("\r\n\r\n").unwrap().1.to_owned()
        };
        assert_eq!(body(&[]), r#"{"names":[],"next":null}"#);
        assert_eq!(body(&["a", "b"]), r#"{"names":["a","b"],"next":null}"#);
        assert_eq!(body(&["a", "b", "c"]), r#"{"names":["a","b"],"next":"b"}"#);
    }
}
