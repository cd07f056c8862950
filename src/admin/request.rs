//! What a request's head must say, and its body: each refusal is the whole answer.

use crate::auth::Refusal;
use crate::http::{Head, Response, origin_allowed};
use crate::protocol::message::ErrorCode;
use ::http::Version;

/// The longest body.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;

/// What a client is told that waits with its body (RFC 9110 §10.1.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// No page of another server may ask, whatever it knows. There is no list of pages that may: those are of browsers, and
/// this is no interface for them.
pub(super) fn check_origin(head: &Head) -> Result<(), Response> {
    let host = head.header("host").unwrap_or_default();
    match origin_allowed(head.headers().get_all("origin"), host, &[]) {
        true => Ok(()),
        false => Err(Refusal::forbidden("pages of this Origin may not ask").response()),
    }
}

/// A misspelt parameter must not be ignored. The answer repeats nothing, since it may be a secret in the wrong place.
pub(super) fn check_query(head: &Head, known: &[&str]) -> Result<(), Response> {
    match (head.query_is_within(known), known) {
        (true, _) => Ok(()),
        (false, []) => Err(bad_request("this path has no parameters")),
        (false, known) => Err(bad_request(&format!("the parameters of this path are {}", known.join(" and ")))),
    }
}

/// How long the body is, as the head announces it, if it may come.
pub(super) fn body_length(head: &Head, is_taken: bool) -> Result<usize, Response> {
    let headers = head.headers();
    if headers.contains_key("transfer-encoding") {
        return Err(bad_request("a body comes whole, with a Content-Length; Transfer-Encoding is not understood"));
    }
    let mut lengths = headers.get_all("content-length").iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) if is_taken => return Err(bad_request("the body is missing, or its Content-Length")),
        (None, _) => return Ok(0),
        (Some(length), None) => length.to_str().ok().filter(|text| is_number(text)),
        (Some(_), Some(_)) => None,
    };
    let length = length.ok_or_else(|| bad_request("Content-Length is not one number"))?;
    // A number too large for a usize is too large in any case.
    let length = length.parse().unwrap_or(usize::MAX);
    match (is_taken, length) {
        (false, 0) => return Ok(0),
        (false, _) => return Err(bad_request("this request has no body")),
        (true, _) => {}
    }
    if !is_json(head) {
        let message = "the body must be JSON, with Content-Type: application/json";
        return Err(Response::error(415, ErrorCode::BadRequest.code(), "unsupported_media_type", message));
    }
    if length > MAX_BODY_BYTES {
        let message = format!("a body has at most {MAX_BODY_BYTES} bytes");
        return Err(Response::refusal(413, ErrorCode::LimitExceeded, &message));
    }
    Ok(length)
}

/// Whether the client waits to be told that its body is welcome. One of HTTP/1.0 does not (RFC 9110 §10.1.1).
pub(super) fn expects_continue(head: &Head) -> bool {
    let expects = head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
    expects && head.as_http().version() >= Version::HTTP_11
}

pub(super) fn text(body: Vec<u8>) -> Result<String, Response> {
    String::from_utf8(body).map_err(|_| bad_request("the body is not UTF-8"))
}

/// What is wrong with a request, in words.
pub(super) fn bad_request(message: &str) -> Response {
    Refusal::bad_request(message).response()
}

/// The media type is JSON, whatever parameters follow it; a web page cannot send it to another server unasked.
fn is_json(head: &Head) -> bool {
    let mut types = head.headers().get_all("content-type").iter();
    let (Some(media_type), None) = (types.next(), types.next()) else { return false };
    let essence = media_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// Digits only: what `parse` accepts besides, a proxy may read otherwise.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeadReader;

    fn head(version: &str, headers: &str) -> Head {
        let request = format!("POST /?after=a HTTP/{version}\r\nHost: localhost\r\n{headers}\r\n");
        HeadReader::new().push(request.as_bytes()).unwrap().unwrap().0
    }

    fn length(headers: &str, is_taken: bool) -> Result<usize, u16> {
        body_length(&head("1.1", headers), is_taken).map_err(|refusal| refusal.status())
    }

    #[test]
    fn a_body_has_one_length_and_is_json() {
        let json = "Content-Type: application/json\r\n";
        for (headers, expected) in [
            ("Content-Length: 5\r\n", Ok(5)),
            ("Content-Length: 1048576\r\n", Ok(MAX_BODY_BYTES)),
            ("Content-Length: 1048577\r\n", Err(413)),
            ("Content-Length: 99999999999999999999999999\r\n", Err(413)),
            ("", Err(400)),
            ("Content-Length: \r\n", Err(400)),
            ("Content-Length: +5\r\n", Err(400)),
            ("Content-Length: 5, 5\r\n", Err(400)),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Err(400)),
            ("Transfer-Encoding: chunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(400)),
        ] {
            assert_eq!(length(&format!("{json}{headers}"), true), expected, "{headers}");
        }
        for (media_type, expected) in [
            ("Content-Type: application/json; charset=utf-8\r\n", Ok(5)),
            ("Content-Type: Application/JSON ;a=b\r\n", Ok(5)),
            ("", Err(415)),
            ("Content-Type: text/plain\r\n", Err(415)),
            ("Content-Type: application/jsonp\r\n", Err(415)),
            ("Content-Type: text/plain; application/json\r\n", Err(415)),
            ("Content-Type: application/json\r\nContent-Type: text/plain\r\n", Err(415)),
        ] {
            assert_eq!(length(&format!("{media_type}Content-Length: 5\r\n"), true), expected, "{media_type}");
        }
    }

    #[test]
    fn where_no_body_is_taken_none_may_come() {
        assert_eq!(length("", false), Ok(0));
        assert_eq!(length("Content-Length: 0\r\n", false), Ok(0));
        assert_eq!(length("Content-Length: 1\r\n", false), Err(400));
        assert_eq!(length("Transfer-Encoding: chunked\r\n", false), Err(400));
    }

    #[test]
    fn only_a_client_of_our_version_waits() {
        assert!(expects_continue(&head("1.1", "Expect: 100-Continue\r\n")));
        assert!(!expects_continue(&head("1.0", "Expect: 100-continue\r\n")));
        assert!(!expects_continue(&head("1.1", "")));
    }

    #[test]
    fn a_parameter_that_means_nothing_is_refused() {
        let head = head("1.1", "");
        assert!(check_query(&head, &["after", "limit"]).is_ok());
        assert!(check_query(&head, &["limit"]).is_err());
        assert!(check_query(&head, &[]).is_err());
    }
}
