//! The first word of a raw TCP client: who it is.

use super::decode::{BadFrame, Fault, id_of};
use crate::protocol::message::device_label;
use crate::protocol::scan::scan;
use crate::protocol::text::Text;
use serde::Deserialize;
use std::time::Duration;

/// What a client says of itself, as the query of a WebSocket request does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The account that it says it is.
    pub user_id: Option<String>,
    /// A bearer token; never empty.
    pub token: Option<String>,
    /// A free label.
    pub device: String,
    /// How often it promises to be heard.
    pub promise: Option<Duration>,
}

/// Reads a `hello`; `None` for everything else, which [`decode`](super::decode) reads.
///
/// # Errors
/// [`BadFrame`] when it is one, but not as it must be.
pub(crate) fn hello(text: &str) -> Result<Option<Hello>, BadFrame> {
    let is_hello = scan(text).is_ok() && text.trim_ascii_start().starts_with('{') && {
        let kind = serde_json::from_str::<Kind<'_>>(text);
        kind.is_ok_and(|kind| kind.kind.0 == "hello")
    };
    if !is_hello {
        return Ok(None);
    }
    read(text).map(Some).map_err(|fault| BadFrame { id: id_of(text), message: fault.to_string() })
}

fn read(text: &str) -> Result<Hello, Fault<'_>> {
    let fields: Fields<'_> = serde_json::from_str(text).map_err(Fault::Json)?;
    let owned = |text: Option<Text<'_>>| text.map(|Text(text)| text.into_owned());
    let promise = match fields.heartbeat_ms {
        Some(0) => return Err(Fault::Rule("`heartbeat_ms` must not be 0")),
        ms => ms.map(Duration::from_millis),
    };
    Ok(Hello {
        user_id: owned(fields.user_id),
        token: owned(fields.token).filter(|token| !token.is_empty()),
        device: device_label(&owned(fields.device).unwrap_or_default())?,
        promise,
    })
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    user_id: Option<Text<'a>>,
    #[serde(borrow)]
    token: Option<Text<'a>>,
    #[serde(borrow)]
    device: Option<Text<'a>>,
    heartbeat_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::MAX_DEVICE_BYTES;

    #[test]
    fn a_hello_says_who_it_is() {
        let text = r#"{"type":"hello","user_id":"al\u0069ce","token":"t","device":"d","heartbeat_ms":5000,"more":1}"#;
        let full = Hello {
            user_id: Some("alice".into()),
            token: Some("t".into()),
            device: "d".into(),
            promise: Some(Duration::from_secs(5)),
        };
        assert_eq!(hello(text), Ok(Some(full)));
        assert_eq!(hello(r#" {"type":"hello","token":"","user_id":null} "#), Ok(Some(Hello::default())));
    }

    #[test]
    fn what_is_no_hello_is_not_judged_here() {
        for text in ["", "{", "[\"hello\"]", r#"{"type":"heartbeat"}"#, r#"{"type":7}"#, "hello", "GET / HTTP/1.1"] {
            assert_eq!(hello(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_wrong_hello_is_told_why() {
        let wrong = |fields: &str| hello(&format!(r#"{{"type":"hello","id":"7",{fields}}}"#)).unwrap_err();
        assert_eq!(wrong(r#""heartbeat_ms":0"#).message, "`heartbeat_ms` must not be 0");
        assert_eq!(wrong(r#""heartbeat_ms":0"#).id.unwrap().as_str(), "7");
        let long = "x".repeat(MAX_DEVICE_BYTES + 1);
        assert!(wrong(&format!(r#""device":"{long}""#)).message.starts_with("a device label must be 0 to 64 bytes"));
        assert!(wrong(r#""user_id":1"#).message.contains("expected a string"));
        assert!(wrong(r#""token":"a","token":"b""#).message.contains("duplicate field"));
    }
}
