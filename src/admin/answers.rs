//! How the server is, the page that shows it, and what is answered where the router could not be asked.

use super::{Call, json};
use crate::auth::{RETRY_AFTER, Refusal};
use crate::http::Response;
use crate::page;
use crate::protocol::message::ErrorCode;
use crate::router::SendError;
use serde_json::json;
use std::time::Duration;

/// A router that takes longer for a round trip is not well.
const HEALTHY: Duration = Duration::from_secs(1);

/// `GET /healthz`: whether the router answers.
pub(super) fn health(call: &Call<'_>) -> Result<Response, Response> {
    call.shared.handle.ping(HEALTHY).map_err(refused)?;
    Ok(json::answer(&json!({ "status": "ok" })))
}

/// `GET /readyz`: whether clients may come.
pub(super) fn readiness(call: &Call<'_>) -> Result<Response, Response> {
    match call.shared.is_draining() {
        true => Err(Refusal::draining(RETRY_AFTER).response()),
        false => Ok(json::answer(&json!({ "status": "ready" }))),
    }
}

/// `GET /`: the operator's page, which asks the other routes for what it shows.
#[expect(clippy::unnecessary_wraps, reason = "a route's form")]
pub(super) fn dashboard(_: &Call<'_>) -> Result<Response, Response> {
    Ok(page::dashboard())
}

/// The router did not do what it was asked.
pub(super) fn refused(error: SendError) -> Response {
    match error {
        SendError::Busy | SendError::Stopped => Refusal::unavailable(error.to_string(), RETRY_AFTER).response(),
        SendError::Full => Response::refusal(429, ErrorCode::LimitExceeded, &error.to_string()),
    }
}
