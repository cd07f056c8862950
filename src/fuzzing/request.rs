//! The head of a request: bounded, the same in whatever pieces it comes, and answered by HTTP where it is refused.

use super::pieces;
use crate::http::{Head, HeadReader, Response, check_get, check_upgrade, host_allowed, origin_allowed};
use ::http::HeaderMap;
use serde_json::Value;
use std::net::{IpAddr, Ipv6Addr};
use tungstenite::handshake::server::create_response;

const MAX_HEAD_BYTES: usize = 8 << 10;
const MAX_HEADERS: usize = 64;

/// The first byte says how the rest arrives, which is what a client sends.
pub fn request_head(input: &[u8]) {
    let Some((how, bytes)) = input.split_first() else { return };
    let whole = HeadReader::new().push(bytes);
    let (mut reader, mut arrived) = (HeadReader::new(), 0);
    let mut outcome = Ok(None);
    for piece in pieces(*how, bytes) {
        outcome = reader.push(piece);
        arrived += piece.len();
        if !matches!(outcome, Ok(None)) {
            break;
        }
        assert!(arrived < MAX_HEAD_BYTES, "a head of {arrived} bytes is still read");
    }
    // What is refused may be refused earlier or later, and for one of several faults; what is accepted is the same.
    match (whole, outcome) {
        (Ok(Some((whole, behind))), Ok(Some((head, so_far)))) => {
            assert_eq!(behind, [&so_far, &bytes[arrived..]].concat());
            assert_same(&whole, &head);
            judge(&head);
        }
        (Ok(Some(_)), _) => panic!("it is a request only when it comes whole"),
        (_, Ok(Some(_))) => panic!("it is a request only when it comes in pieces"),
        (whole, in_pieces) => {
            for error in [whole.err(), in_pieces.err()].into_iter().flatten() {
                assert_refusal(&error.response(), &[400, 431]);
            }
        }
    }
}

fn assert_same(one: &Head, other: &Head) {
    assert_eq!((one.method(), one.path()), (other.method(), other.path()));
    assert_eq!(one.as_http().version(), other.as_http().version());
    assert_eq!(one.headers(), other.headers());
    assert!(one.parameters().eq(other.parameters()));
}

/// What a handshake asks of a head.
fn judge(head: &Head) {
    assert!(head.headers().len() <= MAX_HEADERS);
    let host = head.header("host").unwrap_or_default();
    assert_eq!(host_allowed(host, &[]), is_address_or_localhost(host), "{host}");
    judge_origin(head.headers(), host);
    let refusals = [
        (check_get(head).err(), &[400, 405][..]),
        (check_upgrade(head).err(), &[400, 426]),
        (head.bearer_token().err().map(|error| error.response()), &[400]),
    ];
    let is_upgrade = refusals[..2].iter().all(|(refusal, _)| refusal.is_none());
    for (refusal, statuses) in refusals {
        refusal.inspect(|refusal| assert_refusal(refusal, statuses));
    }
    if let (true, Ok(response)) = (is_upgrade, create_response(head.as_http())) {
        assert_eq!(response.status(), 101);
    }
    if let Ok(Some(token)) = head.bearer_token() {
        assert!(!token.is_empty());
    }
}

/// Where a list names one origin, no other one passes, however it is written.
fn judge_origin(headers: &HeaderMap, host: &str) {
    let origins = headers.get_all("origin");
    let only = ["https://app.example".to_owned()];
    if origins.iter().next().is_some() && origin_allowed(&origins, host, &only) {
        let origin = origins.iter().next().and_then(|origin| origin.to_str().ok()).unwrap().to_ascii_lowercase();
        let port = origin.strip_prefix("https://app.example").expect("another origin passes");
        assert!(port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse() == Ok(443_u16)), "{port}");
        assert_eq!(origins.iter().count(), 1);
    }
}

fn is_address_or_localhost(host: &str) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        let parts = bracketed.split_once(']');
        return parts.is_some_and(|(address, port)| address.parse::<Ipv6Addr>().is_ok() && is_port(port));
    }
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    let name = name.strip_suffix('.').unwrap_or(name);
    is_port(port) && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok())
}

fn is_port(rest: &str) -> bool {
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    rest.is_empty() || rest.strip_prefix(':').is_some_and(digits)
}

/// A complete HTTP response (RFC 9112 §4), after which the connection ends, with one of these statuses and the body that
/// all refusals have.
pub(super) fn assert_refusal(response: &Response, statuses: &[u16]) {
    let bytes = response.to_bytes();
    let body = assert_response(&bytes, statuses);
    let refusal: Value = serde_json::from_slice(body).expect("a refusal is JSON");
    assert!(refusal["error"]["code"].is_u64() && refusal["error"]["reason"].is_string(), "{refusal}");
    assert!(refusal["error"]["message"].is_string(), "{refusal}");
}

/// The body of a complete response, which is all that these bytes are.
pub(super) fn assert_response<'a>(bytes: &'a [u8], statuses: &[u16]) -> &'a [u8] {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).expect("it is HTTP");
    let body = &bytes[parsed.unwrap()..];
    let status = response.code.unwrap();
    assert!(statuses.contains(&status), "{status}");
    let header = |name: &str| {
        let mut values = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        let only = values.next().map(|header| std::str::from_utf8(header.value).unwrap());
        assert!(values.next().is_none(), "{name} is given twice");
        only.unwrap_or_default()
    };
    assert_eq!(header("content-length"), body.len().to_string());
    assert!(header("connection").starts_with("close"));
    body
}
