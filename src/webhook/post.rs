//! One attempt: a signed request, and what its answer means.

use super::options::{WebhookError, WebhookOptions};
use super::schedule::Failure;
use super::sign::Signer;
use crate::outgoing::{Origin, parse_url};
use crate::printable::Printable;
use crate::threads::panic_text;
use http::{HeaderMap, Uri, header};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ureq::Agent;

/// How much of an answer is read: the connection is used again if that was all of it.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// Knows the way to the back end.
pub(super) struct Poster {
    agent: Agent,
    url: Uri,
    signer: Signer,
}

impl Poster {
    pub(super) fn new(agent: Agent, options: &WebhookOptions) -> Result<Self, WebhookError> {
        let url = parse_url(&options.url).map_err(WebhookError::Url)?;
        Ok(Self { agent, url, signer: Signer::new(&options.secret) })
    }

    /// Where it goes, without what may be secret.
    pub(super) fn origin(&self) -> Origin<'_> {
        Origin(&self.url)
    }

    /// Blocks until the back end has taken the body, or the attempt has failed.
    pub(super) fn post(&self, body: &str) -> Result<(), Failure> {
        // The lookup of a name starts a thread and panics where the system grants none; that passes.
        catch_unwind(AssertUnwindSafe(|| self.exchange(body))).unwrap_or_else(|panic| Err(passing(panic_text(&*panic))))
    }

    fn exchange(&self, body: &str) -> Result<(), Failure> {
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = self
            .agent
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("Heartwire-Timestamp", timestamp.to_string())
            .header("Heartwire-Signature", self.signer.sign(timestamp, body));
        let mut response = request.send(body).map_err(|error| passing(&error.to_string()))?;
        // The status has decided; that the answer is read to its end is for the next request.
        let _ = io::copy(&mut response.body_mut().as_reader().take(MAX_ANSWER_BYTES), &mut io::sink());
        judge(response.status().as_u16(), retry_after(response.headers()))
    }
}

fn passing(what: &str) -> Failure {
    Failure { what: Printable(what).to_string(), lasting: false, retry_after: None }
}

/// What a status means: whoever answers 4xx has understood the request and does not want it, with three exceptions that
/// are a matter of time (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4). Redirects are not followed, but they may pass.
fn judge(status: u16, retry_after: Option<Duration>) -> Result<(), Failure> {
    if (200..300).contains(&status) {
        return Ok(());
    }
    let lasting = (400..500).contains(&status) && ![408, 425, 429].contains(&status);
    Err(Failure { what: format!("status {status}"), lasting, retry_after })
}

/// In seconds; a date is not understood (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_success_or_lasts_or_passes() {
        assert!([200, 201, 202, 204, 299].iter().all(|status| judge(*status, None).is_ok()));
        let lasting = |status: &u16| judge(*status, None).unwrap_err().lasting;
        assert!([400, 401, 403, 404, 410, 413, 422, 499].iter().all(lasting));
        assert!(![301, 302, 307, 408, 425, 429, 500, 502, 503, 504, 599, 999].iter().any(lasting));
        let wait = Some(Duration::from_secs(7));
        assert_eq!(judge(503, wait).unwrap_err().retry_after, wait);
    }

    #[test]
    fn retry_after_is_a_number_of_seconds() {
        let parsed = |value: &str| retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]));
        assert_eq!(parsed("7"), Some(Duration::from_secs(7)));
        assert_eq!(parsed(" 0 "), Some(Duration::ZERO));
        let senseless = ["", "-1", "1.5", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT"];
        assert!(senseless.iter().all(|value| parsed(value).is_none()));
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
