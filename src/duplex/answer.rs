//! The server's answer to a request for a WebSocket: read within bounds, and judged (RFC 6455 §4.1). Pure.

use std::time::Duration;
use tungstenite::handshake::derive_accept_key;

/// The longest head of a response, its final empty line included.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// The most header fields in it.
const MAX_HEADERS: usize = 96;
/// How much of a refusal's body is kept.
pub(super) const MAX_BODY_BYTES: usize = 4 << 10;

/// The head of a response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

/// Reads the head of a response from the bytes received so far; with it comes how many of them it takes.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&bytes[..bytes.len().min(MAX_HEAD_BYTES)]) {
        Ok(httparse::Status::Complete(length)) => {
            let text = |header: &httparse::Header<'_>| {
                (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
            };
            let status = response.code.unwrap_or_default();
            Ok(Some((Answer { status, headers: response.headers.iter().map(text).collect() }, length)))
        }
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => Ok(None),
        Ok(httparse::Status::Partial) => Err(format!("its head is longer than {MAX_HEAD_BYTES} bytes")),
        Err(error) => Err(format!("not an HTTP response: {error}")),
    }
}

impl Answer {
    /// Whether this is the upgrade that was asked for with `key`; says which of the offered subprotocols it chose.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self, key: &str, offered: &[String]) -> Result<Option<String>, String> {
        if !self.list("upgrade").any(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
            return Err("its Upgrade is not to websocket".into());
        }
        if !self.list("connection").any(|option| option.eq_ignore_ascii_case("upgrade")) {
            return Err("its Connection does not say upgrade".into());
        }
        if self.header("sec-websocket-accept") != Some(&derive_accept_key(key.as_bytes())) {
            return Err("its Sec-WebSocket-Accept is not the one for this request".into());
        }
        if self.list("sec-websocket-extensions").next().is_some() {
            return Err("it uses an extension that was not offered".into());
        }
        let chosen = self.header("sec-websocket-protocol");
        match chosen.filter(|chosen| !offered.iter().any(|offer| offer == chosen)) {
            Some(_) => Err("it chose a subprotocol that was not offered".into()),
            None => Ok(chosen.map(str::to_owned)),
        }
    }

    /// When it asks to come back, in seconds; a date is not understood (RFC 9110 §10.2.3).
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.parse().ok().map(Duration::from_secs)
    }

    /// How much of its body to wait for: as much as there is, or as is kept.
    pub(super) fn body_bytes(&self) -> usize {
        let length = self.header("content-length").and_then(|length| length.parse().ok());
        length.unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.trim())
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value);
        values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of RFC 6455 §1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                           Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    fn read(text: &str) -> Answer {
        parse(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn an_upgrade_is_taken_apart_from_what_follows() {
        let text = format!("{UPGRADE}\r\n\u{1}rest");
        let (answer, length) = parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!((answer.status, &text[length..]), (101, "\u{1}rest"));
        assert_eq!(answer.check(KEY, &[]), Ok(None));
        assert!((0..length).all(|cut| parse(&text.as_bytes()[..cut]).unwrap().is_none()));
    }

    #[test]
    fn what_was_not_asked_for_is_not_taken() {
        for (good, bad) in [("WebSocket", "h2c"), ("Upgrade\r\n", "close\r\n"), ("s3pP", "S3pP")] {
            assert!(read(&format!("{}\r\n", UPGRADE.replacen(good, bad, 1))).check(KEY, &[]).is_err(), "{bad}");
        }
        assert!(
            read(&format!("{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")).check(KEY, &[]).is_err()
        );
        let chosen = read(&format!("{UPGRADE}Sec-WebSocket-Protocol: b\r\n\r\n"));
        assert_eq!(chosen.check(KEY, &["a".into(), "b".into()]), Ok(Some("b".into())));
        assert!(chosen.check(KEY, &["a".into()]).is_err());
    }

    #[test]
    fn a_refusal_says_when_to_come_back_and_how_long_its_body_is() {
        let refusal = |headers: &str| read(&format!("HTTP/1.1 503 Full\r\n{headers}\r\n"));
        let answer = refusal("Retry-After: 7\r\nContent-Length: 12\r\n");
        assert_eq!((answer.status, answer.body_bytes()), (503, 12));
        assert_eq!(answer.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(refusal("Content-Length: 99999999\r\n").body_bytes(), MAX_BODY_BYTES);
        assert_eq!(refusal("Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n").retry_after(), None);
        assert_eq!(refusal("").body_bytes(), MAX_BODY_BYTES);
    }

    #[test]
    fn a_head_is_bounded() {
        let long = format!("HTTP/1.1 101 Ok\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        assert!(parse(long.as_bytes()).is_err());
        assert!(parse(&long.as_bytes()[..MAX_HEAD_BYTES - 1]).unwrap().is_none());
        assert!(parse(b"SSH-2.0-OpenSSH_9\r\n").is_err());
    }

    proptest! {
        #[test]
        fn nothing_a_server_sends_is_a_panic(bytes: Vec<u8>, text in "HTTP/1.1 [0-9]{3} \r\n([A-Za-z-]{1,9}:[ -~]{0,9}\r\n){0,9}\r\n") {
            let _ = parse(&bytes);
            if let Ok(Some((answer, _))) = parse(text.as_bytes()) {
                let _ = (answer.check(KEY, &[]), answer.retry_after(), answer.body_bytes());
            }
        }
    }
}
