//! What the back end is asked: as much of the client's request as concerns it.

use super::cache::Key;
use crate::auth::Refusal;
use crate::authenticators::MAX_TOKEN_BYTES;
use crate::handler::Request;
use crate::record::ConnectionInfo;
use crate::secret::fingerprint;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use std::fmt::Write;
use std::net::IpAddr;

/// What belongs to the client's own connection (RFC 9110 §7.6.1, RFC 6455 §4.1), what the question says for itself, what
/// would make the answer a part of one or none (§13, §14), and what a client could use to pass for somebody else; sorted.
pub(super) const NOT_FORWARDED: [&str; 26] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-original-uri",
    "x-real-ip",
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");

/// A question: what follows the URL, and the headers.
pub(super) struct Question {
    query: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Question {
    /// Asks who wants to connect.
    ///
    /// # Errors
    /// 401 for a token that no header can carry.
    pub(super) fn of_request(request: &Request) -> Result<Self, Refusal> {
        let mut question = Self::new(request.parameters());
        let of_connection: Vec<_> = request
            .headers()
            .filter(|(name, _)| *name == "connection")
            .flat_map(|(_, value)| value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
            .collect();
        // Many back ends take an underscore in a name for a hyphen: `X_Forwarded_For` would be the client's own word.
        let is_forwarded = |name: &str| {
            NOT_FORWARDED.binary_search(&name).is_err()
                && !name.contains('_')
                && !name.starts_with("x-forwarded-")
                && !of_connection.iter().any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
        };
        let headers = request.headers().filter(|(name, _)| is_forwarded(name));
        // Both were headers before.
        question.headers.extend(headers.filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
        }));
        if let Some(token) = request.token()
            && request.header("authorization").is_none()
        {
            question.add_token(token)?;
        }
        question.add_client(request.client().ip());
        if let Ok(path) = HeaderValue::from_str(request.path())
            && !path.is_empty()
        {
            question.headers.push((ORIGINAL_URI, path));
        }
        Ok(question)
    }

    /// Asks what a further token of a connection's client grants.
    ///
    /// # Errors
    /// As above.
    pub(super) fn of_renewal(connection: &ConnectionInfo, token: &str) -> Result<Self, Refusal> {
        let mut question = Self::new([("user_id", connection.account.as_str())].into_iter());
        question.add_token(token)?;
        question.add_client(connection.address.ip());
        Ok(question)
    }

    fn new<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let parameters = parameters.map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
        let query = parameters.collect::<Vec<_>>().join("&");
        Self { query: if query.is_empty() { query } else { format!("?{query}") }, headers: Vec::new() }
    }

    fn add_token(&mut self, token: &str) -> Result<(), Refusal> {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let is_usable = token.len() <= MAX_TOKEN_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic());
        match value {
            Ok(value) if is_usable => {
                self.headers.push((AUTHORIZATION, value));
                Ok(())
            }
            _ => Err(Refusal::unauthorized("the token is not one that a header can carry")),
        }
    }

    fn add_client(&mut self, address: IpAddr) {
        // An address is visible ASCII.
        if let Ok(value) = HeaderValue::try_from(address.to_canonical().to_string()) {
            self.headers.push((FORWARDED_FOR, value));
        }
    }

    /// The query with its question mark, or nothing.
    pub(super) fn query(&self) -> &str {
        &self.query
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.headers.iter().map(|(name, value)| (name, value))
    }

    /// The hash of everything that is sent, each part behind its length, so that no two questions share one.
    pub(super) fn key(&self) -> Key {
        let headers = self.headers().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        fingerprint(std::iter::once(self.query.as_bytes()).chain(headers))
    }
}

/// Everything but RFC 3986's unreserved characters (§2.3) as percent escapes.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        // Writing to a String cannot fail.
        let _ = match byte {
            b'-' | b'.' | b'_' | b'~' => write!(escaped, "{}", char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => write!(escaped, "{}", char::from(byte)),
            _ => write!(escaped, "%{byte:02X}"),
        };
        escaped
    })
}
