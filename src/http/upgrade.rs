//! What makes a request one for a WebSocket (RFC 6455 §4.2.1).

use super::{Head, Response};
use crate::protocol::message::ErrorCode;
use ::http::{Method, Version};

/// Whether this is a GET without a body.
///
/// # Errors
/// The response that says what else it is.
pub(crate) fn check_get(head: &Head) -> Result<(), Response> {
    if *head.method() != Method::GET {
        return Err(not_a_websocket(405, "method_not_allowed", "only GET is served"));
    }
    let headers = head.headers();
    if headers.contains_key("transfer-encoding") || headers.get_all("content-length").iter().any(|n| n != "0") {
        return Err(Response::refusal(400, ErrorCode::BadRequest, "a GET has no body here"));
    }
    Ok(())
}

/// Whether it asks for an upgrade to a WebSocket; its key is looked at by whoever makes the response.
///
/// # Errors
/// The response that says what it lacks: 426 names the version that is spoken here (RFC 6455 §4.4).
pub(crate) fn check_upgrade(head: &Head) -> Result<(), Response> {
    let version = head.headers().get("sec-websocket-version");
    if !head.wants_upgrade() || version.is_none_or(|version| version != "13") {
        let message = "this is a WebSocket endpoint: upgrade with Sec-WebSocket-Version 13";
        return Err(not_a_websocket(426, "upgrade_required", message));
    }
    if head.as_http().version() < Version::HTTP_11 {
        return Err(Response::refusal(400, ErrorCode::BadRequest, "a WebSocket needs HTTP/1.1"));
    }
    Ok(())
}

fn not_a_websocket(status: u16, reason: &str, message: &str) -> Response {
    Response::error(status, ErrorCode::BadRequest.code(), reason, message)
}
