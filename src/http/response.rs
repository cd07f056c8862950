//! One complete response, after which the connection ends.

use crate::protocol::message::ErrorCode;
use ::http::StatusCode;
use serde_json::Value;
use std::time::Duration;

/// A response that says itself how long it is and that the connection ends. It is never stored by a cache, and a
/// browser does not guess another content type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// What a refusal says; empty where it is none.
    message: String,
}

impl Response {
    /// A response with a body, which may be empty.
    #[must_use]
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), message: String::new() }
            .header("Content-Type", content_type)
    }

    /// A refusal: `{"error":{"code":…,"reason":"…","message":"…"}}`, with the headers that its status demands
    /// (RFC 9110 §15.5; for 426 RFC 6455 §4.4 besides). `Allow` with 405 is `GET` unless set otherwise.
    #[must_use]
    pub(crate) fn error(status: u16, code: u16, reason: &str, message: &str) -> Self {
        let (reason, said) = (Value::from(reason), Value::from(message));
        let body = format!(r#"{{"error":{{"code":{code},"reason":{reason},"message":{said}}}}}"#);
        let response = Self { message: message.into(), ..Self::new(status, "application/json", body) };
        match status {
            401 => response.header("WWW-Authenticate", "Bearer"),
            405 => response.header("Allow", "GET"),
            426 => response.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13"),
            _ => response,
        }
    }

    /// A refusal for which the protocol has a code.
    #[must_use]
    pub(crate) fn refusal(status: u16, code: ErrorCode, message: &str) -> Self {
        Self::error(status, code.code(), code.reason(), message)
    }

    /// Sets a header, in place of an earlier one of this name. What may not stand in a value becomes a space, so that
    /// no text can begin a header or a body of its own.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let visible = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { ' ' };
        self.headers.retain(|(earlier, _)| !earlier.eq_ignore_ascii_case(name));
        self.headers.push((name, value.chars().map(visible).collect()));
        self
    }

    /// Asks the client to wait before it comes back: whole seconds, rounded up, at least one (RFC 9110 §10.2.3).
    #[must_use]
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
        self.header("Retry-After", &seconds.to_string())
    }

    /// The status.
    #[must_use]
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// What a refusal says, in words; empty where it is none.
    #[must_use]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The bytes that go over the wire: status line, headers and body.
    #[must_use]
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let phrase = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, phrase.unwrap_or_default());
        // A sender of Upgrade also names it in Connection (RFC 9110 §7.8).
        let upgrade = self.headers.iter().any(|(name, _)| *name == "Upgrade");
        let length = self.body.len().to_string();
        let always = [
            ("Content-Length", &*length),
            ("Connection", if upgrade { "close, upgrade" } else { "close" }),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ];
        for (name, value) in self.headers.iter().map(|(name, value)| (*name, &**value)).chain(always) {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(response: &Response) -> String {
        String::from_utf8(response.to_bytes()).unwrap()
    }

    #[test]
    fn a_response_is_complete() {
        let response = Response::new(200, "text/plain; charset=utf-8", "höchstens").header("Allow", "GET, HEAD");
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nAllow: GET, HEAD\r\n\
                        Content-Length: 10\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n\
                        Cache-Control: no-store\r\n\r\nhöchstens";
        assert_eq!(text(&response), expected);
    }

    #[test]
    fn an_error_is_json_whatever_its_message() {
        let response = text(&Response::error(400, 107, "bad_request", "a \"quoted\"\r\n\u{0}message"));
        assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"));
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        let expected = r#"{"error":{"code":107,"reason":"bad_request","message":"a \"quoted\"\r\n\u0000message"}}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn statuses_bring_the_headers_they_demand() {
        let upgrade = text(&Response::error(426, 107, "bad_request", ""));
        assert!(upgrade.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
        assert!(upgrade.contains("\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
        assert!(upgrade.contains("\r\nConnection: close, upgrade\r\n"));
        assert!(text(&Response::error(405, 107, "", "")).contains("\r\nAllow: GET\r\n"));
        let other = text(&Response::error(405, 107, "", "").header("allow", "POST"));
        assert!(other.contains("\r\nallow: POST\r\n") && !other.contains("GET"));
        assert!(text(&Response::error(401, 107, "", "")).contains("\r\nWWW-Authenticate: Bearer\r\n"));
    }

    #[test]
    fn waits_are_whole_seconds_rounded_up() {
        for (wait, seconds) in [(0, 1), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (60_000, 60)] {
            let response = text(&Response::error(503, 108, "", "").retry_after(Duration::from_millis(wait)));
            assert!(response.contains(&format!("\r\nRetry-After: {seconds}\r\n")), "{wait} ms");
        }
        let _ = Response::error(503, 108, "", "").retry_after(Duration::MAX);
    }

    #[test]
    fn a_status_without_a_phrase_keeps_the_space_before_it() {
        assert!(text(&Response::new(299, "text/plain", "")).starts_with("HTTP/1.1 299 \r\n"));
    }

    proptest! {
        #[test]
        fn no_value_begins_a_header_of_its_own(value in any::<String>()) {
            let response = text(&Response::new(200, &value, "").header("X-One", &format!("a\r\nX-Two: b\n\r{value}")));
            let (head, _) = response.split_once("\r\n\r\n").unwrap();
            prop_assert_eq!(head.split("\r\n").count(), 7);
            prop_assert_eq!(head.split(['\r', '\n']).count(), 13);
        }
    }
}
