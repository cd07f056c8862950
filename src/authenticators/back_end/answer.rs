//! What the back end's answer means. Pure.

use super::Failure;
use crate::auth::{Identity, Refusal};
use crate::authenticators::{moment, rooms};
use crate::protocol::message::Account;
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use serde::Deserialize;
use std::time::Duration;

/// The longest that an answer is kept, whatever its `max-age`.
const LONGEST_AGE: Duration = Duration::from_secs(24 * 3600);

/// What the back end says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Who it is, and for how long the answer may be given again.
    Known { identity: Identity, max_age: Duration },
    /// That this client is not let in.
    Refused(Refusal),
}

/// Reads a response.
///
/// # Errors
/// When it is neither a yes nor a no, or a yes that cannot be understood.
pub(super) fn read(status: u16, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Failure> {
    match status {
        200..=299 => Ok(Answer::Known { identity: identity(body)?, max_age: max_age(headers) }),
        401 => Ok(Answer::Refused(Refusal::unauthorized("not authenticated"))),
        403 => Ok(Answer::Refused(Refusal::forbidden("not permitted"))),
        other => Err(Failure::Status(other)),
    }
}

#[derive(Deserialize)]
struct Body {
    account: String,
    #[serde(default)]
    rooms: Option<Vec<String>>,
    #[serde(default)]
    expires_at: Option<f64>,
}

fn identity(body: &[u8]) -> Result<Identity, Failure> {
    let body: Body = serde_json::from_slice(body).map_err(|error| match error.is_data() {
        true => Failure::Body("the answer has no `account`, or a field of another type than documented"),
        false => Failure::Body("the answer is not JSON"),
    })?;
    let account = Account::new(&body.account).map_err(|_| Failure::Body("its `account` is not one"))?;
    let mut identity = Identity::new(account);
    identity.rooms =
        rooms(&body.rooms.unwrap_or_default()).ok_or(Failure::Body("its `rooms` are not at most 64 rooms"))?;
    identity.expires = body.expires_at.map(moment);
    Ok(identity)
}

/// For how long an answer may be given again (RFC 9111 §5.2.2); zero also where that is not clear.
fn max_age(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(CACHE_CONTROL).iter();
    let text: Vec<_> = values.map(|value| value.to_str().unwrap_or("no-store").to_ascii_lowercase()).collect();
    let directives = text.iter().flat_map(|value| value.split(',')).map(str::trim);
    let mut max_age = None;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim() {
            "no-store" | "no-cache" => return Duration::ZERO,
            "max-age" => {
                let seconds: u64 = value.trim().trim_matches('"').parse().unwrap_or(0);
                max_age = Some(max_age.unwrap_or(u64::MAX).min(seconds));
            }
            _ => {}
        }
    }
    Duration::from_secs(max_age.unwrap_or(0)).min(LONGEST_AGE)
}
