//! A request head that was understood: method, path, decoded query, headers, and what WebSocket clients put in them.

use super::{HeadError, query};
use ::http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use ::http::{HeaderMap, Method, Request, Uri, Version};
use std::collections::BTreeMap;
use std::fmt;

/// The headers whose values may appear in logs. A list of what is harmless, since a list of what is secret would lack
/// the header somebody invents next.
const HARMLESS: [&str; 11] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "origin",
    "sec-websocket-extensions",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-forwarded-for",
];

/// The head of one request. Its `Debug`, and that of what it lends, shows neither the query nor the values of headers
/// that may be secret.
pub(crate) struct Head {
    request: Request<()>,
    query: BTreeMap<String, String>,
}

impl Head {
    /// The request as the `http` crate has it, for tungstenite. Its URI is the path alone: the query may hold a token.
    #[must_use]
    pub(crate) fn as_http(&self) -> &Request<()> {
        &self.request
    }

    /// The method.
    #[must_use]
    pub(crate) fn method(&self) -> &Method {
        self.request.method()
    }

    /// The path as it was sent, percent escapes included.
    #[must_use]
    pub(crate) fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// The segments of the path between its slashes, decoded each for itself: a slash in one is not a slash of the path.
    ///
    /// # Errors
    /// [`HeadError::Malformed`] for a broken percent escape and what is not UTF-8.
    #[cfg(feature = "admin")]
    pub(crate) fn segments(&self) -> Result<Vec<String>, HeadError> {
        let path = self.path();
        path.strip_prefix('/').unwrap_or(path).split('/').map(query::decode_segment).collect()
    }

    /// Whether the query has no parameters but these.
    #[cfg(feature = "admin")]
    #[must_use]
    pub(crate) fn query_is_within(&self, names: &[&str]) -> bool {
        self.query.keys().all(|name| names.contains(&&**name))
    }

    /// The decoded value of a query parameter; empty for a parameter without `=`.
    #[must_use]
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// All parameters of the query, decoded, by their names.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All headers; their names are lower case.
    #[must_use]
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The value of a header, the first if there are several; `None` also when it is not visible ASCII.
    #[must_use]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Whether the client asks for a WebSocket: `websocket` among the protocols in `Upgrade` (RFC 6455 §4.2.1).
    #[must_use]
    pub(crate) fn wants_upgrade(&self) -> bool {
        self.list(&UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case("websocket"))
    }

    /// The subprotocols that the client offers, the preferred first, also over several headers (RFC 6455 §11.3.4).
    pub(crate) fn offered_subprotocols(&self) -> impl Iterator<Item = &str> {
        self.list(&SEC_WEBSOCKET_PROTOCOL)
    }

    /// The token that the client presents: `Authorization: Bearer TOKEN` (RFC 6750 §2.1), `?token=TOKEN`, or the
    /// offered subprotocol `bearer.TOKEN`. An empty one counts as none.
    ///
    /// # Errors
    /// [`HeadError::Malformed`] when it is given in several ways that differ, so that no two readers of the same
    /// request can disagree about who sent it, and when `Authorization` is not visible ASCII.
    pub(crate) fn bearer_token(&self) -> Result<Option<&str>, HeadError> {
        let mut tokens = self.bearer_credentials()?;
        tokens.extend(self.query("token"));
        tokens.extend(self.offered_subprotocols().filter_map(|offer| offer.strip_prefix("bearer.")));
        the_only(tokens)
    }

    /// The token of `Authorization: Bearer TOKEN` alone.
    ///
    /// # Errors
    /// As [`Head::bearer_token`].
    #[cfg(feature = "admin")]
    pub(crate) fn authorization(&self) -> Result<Option<&str>, HeadError> {
        the_only(self.bearer_credentials()?)
    }

    fn bearer_credentials(&self) -> Result<Vec<&str>, HeadError> {
        let mut tokens = Vec::new();
        for value in self.headers().get_all(AUTHORIZATION) {
            let credentials = value.to_str().map_err(|_| HeadError::malformed("Authorization is not visible ASCII"))?;
            tokens.extend(bearer_credentials(credentials));
        }
        Ok(tokens)
    }

    /// What httparse found; it has checked the syntax of everything but target and query.
    pub(super) fn from_parsed(parsed: &httparse::Request<'_, '_>) -> Result<Self, HeadError> {
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(HeadError::malformed("the request line is incomplete"));
        };
        let mut request = Request::new(());
        *request.method_mut() =
            Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::malformed("the method is not a token"))?;
        *request.version_mut() = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        for header in &*parsed.headers {
            append(request.headers_mut(), header)?;
        }
        let uri = parse_target(target)?;
        check_host(&request, &uri)?;
        *request.uri_mut() =
            uri.path().parse().map_err(|_| HeadError::malformed("the request target has no valid path"))?;
        Ok(Self { request, query: query::decode(uri.query().unwrap_or_default())? })
    }

    /// The members of a comma-separated list over all headers of this name (RFC 9110 §5.6.1).
    fn list(&self, name: &HeaderName) -> impl Iterator<Item = &str> {
        let values = self.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("request", &self.request).field("query_parameters", &self.query.len()).finish()
    }
}

fn the_only(mut tokens: Vec<&str>) -> Result<Option<&str>, HeadError> {
    tokens.retain(|token| !token.is_empty());
    match tokens.split_first() {
        Some((first, others)) if others.iter().any(|other| other != first) => {
            Err(HeadError::malformed("two different tokens are given"))
        }
        first => Ok(first.map(|(token, _)| *token)),
    }
}

/// The credentials of the scheme `Bearer`; the name of a scheme knows no case (RFC 9110 §11.1).
fn bearer_credentials(value: &str) -> Option<&str> {
    let (scheme, credentials) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credentials.trim())
}

fn append(headers: &mut HeaderMap, header: &httparse::Header<'_>) -> Result<(), HeadError> {
    let wrong = || HeadError::malformed("a header is not valid");
    let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| wrong())?;
    let mut value = HeaderValue::from_bytes(header.value).map_err(|_| wrong())?;
    value.set_sensitive(!HARMLESS.contains(&name.as_str()));
    headers.try_append(name, value).map_err(|_| HeadError::TooLarge)?;
    Ok(())
}

/// The request target in origin-form, absolute-form or as `*` (RFC 9112 §3.2); only CONNECT has another.
fn parse_target(target: &str) -> Result<Uri, HeadError> {
    let wrong = || HeadError::malformed("the request target is not valid");
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(wrong());
    }
    let uri: Uri = target.parse().map_err(|_| wrong())?;
    if uri.path().is_empty() { Err(wrong()) } else { Ok(uri) }
}

/// Exactly one `Host`, which HTTP/1.0 may omit, and no other host in the target (RFC 9112 §3.2 and §3.2.2).
fn check_host(request: &Request<()>, target: &Uri) -> Result<(), HeadError> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(HeadError::malformed("Host is given twice")),
        (None, _) if request.version() == Version::HTTP_11 => return Err(HeadError::malformed("Host is missing")),
        (host, _) => host.map(HeaderValue::as_bytes),
    };
    match (target.authority(), host) {
        (Some(authority), Some(host)) if !host.eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            Err(HeadError::malformed("Host is not the host of the request target"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeadReader;

    fn read(request_line: &str, headers: &str) -> Result<Head, HeadError> {
        let request = format!("{request_line}\r\n{headers}\r\n");
        HeadReader::new().push(request.as_bytes()).map(|head| head.unwrap().0)
    }

    fn get(target: &str, headers: &str) -> Head {
        read(&format!("GET {target} HTTP/1.1"), &format!("Host: localhost\r\n{headers}")).unwrap()
    }

    #[test]
    fn a_head_says_what_was_asked() {
        let head = get("/a%20b?user_id=al%20ice&flag", "X-One: 1\r\nX-One: 2\r\nX-Umlaut: \u{e4}\r\n");
        assert_eq!((head.method(), head.path()), (&Method::GET, "/a%20b"));
        assert_eq!((head.query("user_id"), head.query("flag"), head.query("no")), (Some("al ice"), Some(""), None));
        assert_eq!((head.header("X-ONE"), head.header("x-umlaut"), head.header("no")), (Some("1"), None, None));
        assert_eq!(head.headers().get_all("x-one").iter().count(), 2);
        assert_eq!(head.parameters().collect::<Vec<_>>(), [("flag", ""), ("user_id", "al ice")]);
        assert_eq!(head.as_http().version(), Version::HTTP_11);
    }

    #[test]
    fn the_host_is_given_once_and_agrees_with_the_target() {
        assert!(read("GET / HTTP/1.0", "").is_ok());
        assert!(read("GET / HTTP/1.1", "").is_err());
        assert!(read("GET / HTTP/1.1", "Host: a\r\nHost: a\r\n").is_err());
        assert!(read("GET / HTTP/1.0", "Host: a\r\nHost: b\r\n").is_err());
        assert_eq!(read("GET http://A:80?x=1 HTTP/1.1", "Host: a:80\r\n").unwrap().path(), "/");
        assert!(read("GET http://b/ws HTTP/1.1", "Host: a\r\n").is_err());
        assert!(read("GET http://user@a/ws HTTP/1.1", "Host: a\r\n").is_err());
    }

    #[test]
    fn targets_have_a_path_and_only_visible_ascii() {
        assert_eq!(read("OPTIONS * HTTP/1.1", "Host: a\r\n").unwrap().path(), "*");
        assert_eq!(get("//a/ws", "").path(), "//a/ws");
        for target in ["a", "a:80", "/ws#fragment", "/\u{e4}", "http://", "/?a=%zz", "/?a=1&a=2"] {
            assert!(read(&format!("GET {target} HTTP/1.1"), "Host: a\r\n").is_err(), "{target}");
        }
    }

    #[test]
    fn an_upgrade_is_recognised_in_any_case_and_list() {
        for headers in
            ["Upgrade: WebSocket\r\n", "Upgrade: h2c , websocket\r\n", "Upgrade: a\r\nupgrade: websocket\r\n"]
        {
            assert!(get("/", headers).wants_upgrade(), "{headers}");
        }
        for headers in ["", "Upgrade: websockets\r\n", "Connection: websocket\r\n"] {
            assert!(!get("/", headers).wants_upgrade(), "{headers}");
        }
    }

    /// The example of RFC 6455 §1.3.
    #[test]
    fn tungstenite_answers_what_we_read() {
        let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let head = get("/ws?token=T1", upgrade);
        let response = tungstenite::handshake::server::create_response(head.as_http()).unwrap();
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn offers_are_collected_over_all_headers() {
        let head = get("/", "Sec-WebSocket-Protocol: heartwire.v1,b ,, c\r\nSEC-WEBSOCKET-PROTOCOL: d\r\n");
        assert_eq!(head.offered_subprotocols().collect::<Vec<_>>(), ["heartwire.v1", "b", "c", "d"]);
    }

    #[test]
    fn a_token_is_found_wherever_it_may_be() {
        for (target, headers) in [
            ("/", "Authorization: Bearer T1\r\n"),
            ("/", "authorization: bEARER   T1\r\n"),
            ("/?token=T1", ""),
            ("/", "Sec-WebSocket-Protocol: heartwire.v1, bearer.T1\r\n"),
            ("/?token=%541", "Authorization: Bearer T1\r\nSec-WebSocket-Protocol: bearer.T1\r\n"),
            ("/?token=", "Authorization: Basic dTpw\r\nAuthorization: Bearer T1\r\n"),
        ] {
            assert_eq!(get(target, headers).bearer_token(), Ok(Some("T1")), "{target} {headers}");
        }
        for headers in
            ["", "Authorization: Basic T1\r\n", "Authorization: Bearer\r\n", "Sec-WebSocket-Protocol: bearer.\r\n"]
        {
            assert_eq!(get("/?token=", headers).bearer_token(), Ok(None), "{headers}");
        }
    }

    #[cfg(feature = "admin")]
    #[test]
    fn a_key_is_found_in_one_place_only() {
        let head = get("/?token=T2", "Authorization: Bearer T1\r\nSec-WebSocket-Protocol: bearer.T3\r\n");
        assert_eq!(head.authorization(), Ok(Some("T1")));
        assert_eq!(get("/?token=T2", "Authorization: Basic T1\r\n").authorization(), Ok(None));
        assert!(get("/", "Authorization: Bearer T1\r\nAuthorization: Bearer T2\r\n").authorization().is_err());
    }

    #[cfg(feature = "admin")]
    #[test]
    fn segments_are_decoded_each_for_itself() {
        assert_eq!(get("/a/b%2Fc+%C3%A4/?x=1", "").segments().unwrap(), ["a", "b/c+\u{e4}", ""]);
        for path in ["/a%2", "/%zz", "/%ff"] {
            assert!(get(path, "").segments().is_err(), "{path}");
        }
        assert!(get("/?after=a&limit=1", "").query_is_within(&["after", "limit", "more"]));
        assert!(!get("/?after=a&Limit=1", "").query_is_within(&["after", "limit"]));
    }

    #[test]
    fn tokens_that_differ_are_malformed() {
        for (target, headers) in [
            ("/?token=T2", "Authorization: Bearer T1\r\n"),
            ("/?token=T2", "Sec-WebSocket-Protocol: bearer.T1\r\n"),
            ("/", "Sec-WebSocket-Protocol: bearer.T1, bearer.T2\r\n"),
            ("/", "Authorization: Bearer T1\r\nAuthorization: Bearer T2\r\n"),
            ("/", "Authorization: Bearer \u{e4}\r\n"),
        ] {
            assert!(get(target, headers).bearer_token().is_err(), "{target} {headers}");
        }
    }

    #[test]
    fn no_secret_is_ever_printed() {
        let secrets = "Authorization: Bearer S3CRET\r\nCookie: a=S3CRET\r\nSec-WebSocket-Protocol: bearer.S3CRET\r\n\
                       Referer: http://a/?token=S3CRET\r\nX-Api-Key: S3CRET\r\nUser-Agent: harmless\r\n";
        let head = get("/ws?token=S3CRET&S3CRET", secrets);
        assert_eq!(head.bearer_token(), Ok(Some("S3CRET")));
        let printed = format!("{head:?} {:#?} {:?}", head.as_http(), head.headers());
        assert!(!printed.contains("S3CRET"), "{printed}");
        assert!(printed.contains("harmless") && printed.contains("/ws"), "{printed}");
        for request_line in ["GET /?S3CRET=1&S3CRET=2 HTTP/1.1", "GET /?token=S3CRET%zz HTTP/1.1", "S3CRET"] {
            let error = read(request_line, "Host: a\r\n").unwrap_err();
            assert!(!format!("{error:?} {error}").contains("S3CRET"), "{error:?}");
        }
    }
}
