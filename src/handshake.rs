//! The thread of a connection that is being opened: read the head, judge it, authenticate, hand over.
//!
//! Its deadline is absolute and begins with the accept. Whatever is refused gets a complete answer. The connection's own
//! thread starts only afterwards, with a stack that never saw a handshake, which is a third of what an idle connection
//! costs.

use crate::auth::{Identity, RETRY_AFTER, Refusal};
use crate::config::{Config, Protocol, ProxyProtocol};
use crate::connection::{self, Admitted, Received, Receiver, Shared, Upgrade};
use crate::handler::Request;
use crate::http::{Head, HeadError, HeadReader, Response, host_allowed, origin_allowed};
use crate::limits::Permit;
use crate::page;
use crate::printable::Printable;
use crate::protocol::close::CloseKind;
use crate::protocol::message::{ErrorCode, MAX_DEVICE_BYTES};
use crate::protocol::wire::Bytes;
use crate::proxy::{self, ProxyHeader};
use ::http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use ::http::{Method, Version};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::handshake::server::{create_response, write_response};

/// The subprotocol that this server speaks.
const SUBPROTOCOL: &str = "heartwire.v1";

/// A socket that was just accepted.
pub(crate) struct Accepted {
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) peer: SocketAddr,
    pub(crate) at: Instant,
    pub(crate) permit: Arc<Permit>,
}

/// The handshake's thread.
pub(crate) fn run(accepted: &Accepted, shared: &Arc<Shared>) {
    let socket = &accepted.socket;
    // Whoever is refused keeps its place until this thread ends.
    match open(accepted, shared) {
        Ok(admitted) => start(admitted, accepted, shared),
        Err(Rejection::Refused(refusal, upgrade)) => connection::refuse(socket, &refusal, upgrade.as_ref(), shared),
        Err(Rejection::Answered(response)) => {
            if response.status() != 200 {
                shared.metrics.refused.add(1);
            }
            connection::answer_and_leave(socket, response.to_bytes().into(), CloseKind::Normal.into(), shared);
        }
        Err(Rejection::Gone) => {}
    }
}

/// Why this request opens no connection.
enum Rejection {
    /// Not let in; told by a Close where the upgrade says so.
    Refused(Refusal, Option<Upgrade>),
    /// Not a WebSocket request, or not a well-formed one.
    Answered(Response),
    /// The peer has left.
    Gone,
}

impl From<Response> for Rejection {
    fn from(response: Response) -> Self {
        Self::Answered(response)
    }
}

fn open(accepted: &Accepted, shared: &Arc<Shared>) -> Result<Admitted, Rejection> {
    let config = &*shared.config;
    let deadline = accepted.at + config.handshake_deadline;
    let announces = config.proxy_protocol == ProxyProtocol::V2 && config.trusts(accepted.peer.ip());
    let mut reader = Reader::new(accepted, deadline);
    let announced = if announces { reader.proxy_header()? } else { None };
    let (head, received) = reader.head()?;
    let client = client_address(accepted.peer, announced, &head, config);
    check_host(&head, shared)?;
    check_request(&head, config)?;
    if head.path() != config.path {
        return Err(page::response(&config.path).into());
    }
    check_upgrade(&head)?;
    check_origin(&head, shared)?;
    let upgrade = upgrade(&head, config)?;
    let (device, promise) = parameters(&head)?;
    let token = head.bearer_token().map_err(|error| malformed(&error))?.map(str::to_owned);
    let request = Request { head, client, token };
    let identity =
        authenticate(&request, shared).map_err(|refusal| Rejection::Refused(refusal, Some(upgrade.clone())))?;
    if Instant::now() >= deadline {
        let refusal = Refusal::unavailable("authentication took too long", RETRY_AFTER);
        return Err(Rejection::Refused(refusal, Some(upgrade)));
    }
    Ok(Admitted {
        accepted: accepted.at,
        deadline,
        client,
        limited_address: config.limited_address(client.ip()),
        identity,
        device,
        promise,
        upgrade,
        received,
    })
}

/// Starts the connection's thread while this one still has the socket, so that a refused thread is still a 503.
fn start(admitted: Admitted, accepted: &Accepted, shared: &Arc<Shared>) {
    let upgrade = admitted.upgrade.clone();
    let newcomer = admitted.prepare(Arc::clone(&accepted.socket), Arc::clone(&accepted.permit), shared);
    if let Err(error) = shared.crew.spawn("hw-connection", shared.config.stack_bytes, move || connection::run(newcomer))
    {
        log::error!("no thread for a connection: {error}");
        let refusal = Refusal::unavailable("the server has no thread left", RETRY_AFTER);
        connection::refuse(&accepted.socket, &refusal, Some(&upgrade), shared);
    }
}

/// Reads from a socket until an absolute deadline.
struct Reader<'a> {
    permit: &'a Permit,
    receiver: Receiver,
    deadline: Instant,
    /// Received, but not used yet.
    unused: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(accepted: &'a Accepted, deadline: Instant) -> Self {
        let receiver = Receiver::new(Arc::clone(&accepted.socket));
        Self { permit: &accepted.permit, receiver, deadline, unused: Vec::new() }
    }

    /// The header that a trusted proxy sends first; the client that it names.
    fn proxy_header(&mut self) -> Result<Option<IpAddr>, Rejection> {
        let mut bytes = Vec::new();
        loop {
            match proxy::parse_v2(&bytes) {
                Ok(ProxyHeader::Done { client, length }) => {
                    self.unused = bytes.split_off(length);
                    return Ok(client);
                }
                Ok(ProxyHeader::Incomplete) => bytes.extend_from_slice(&self.more()?),
                Err(error) => return Err(bad_request(&format!("PROXY header: {error}")).into()),
            }
        }
    }

    /// The request's head, and what came behind it.
    fn head(&mut self) -> Result<(Head, Vec<u8>), Rejection> {
        let mut head = HeadReader::new();
        let mut bytes = std::mem::take(&mut self.unused);
        loop {
            if !bytes.is_empty()
                && let Some(complete) = head.push(&bytes).map_err(|error| malformed(&error))?
            {
                return Ok(complete);
            }
            bytes = self.more()?;
        }
    }

    fn more(&mut self) -> Result<Vec<u8>, Rejection> {
        let mut buffer = [0; 2 << 10];
        loop {
            match self.receiver.receive(&mut buffer, self.deadline) {
                Received::Bytes(n) => return Ok(buffer[..n].to_vec()),
                Received::Nothing if Instant::now() < self.deadline => {}
                Received::Nothing => return Err(error(408, ErrorCode::BadRequest, "the request took too long").into()),
                // The server ends handshakes by shutting their read side when it stops.
                Received::End if self.permit.is_server_closed() => {
                    return Err(Rejection::Refused(Refusal::draining(RETRY_AFTER), None));
                }
                Received::End => return Err(Rejection::Gone),
            }
        }
    }
}

fn client_address(peer: SocketAddr, announced: Option<IpAddr>, head: &Head, config: &Config) -> SocketAddr {
    let client = match (announced, config.proxy_protocol) {
        (Some(client), _) => client,
        (None, ProxyProtocol::Off) => proxy::forwarded_client(peer.ip(), head.headers(), &config.trusted_proxies),
        _ => return peer,
    };
    if client == peer.ip().to_canonical() { peer } else { SocketAddr::new(client, 0) }
}

/// A page on a name that somebody else's DNS points at loopback must not reach the server there.
fn check_host(head: &Head, shared: &Shared) -> Result<(), Rejection> {
    let host = head.header("host").unwrap_or_default();
    if host_allowed(host, &shared.config.hosts) {
        return Ok(());
    }
    if shared.reminders.due(&format!("host {host}"), Instant::now()) {
        log::warn!("refused a request for host {}: --host allows a name", Printable(host));
    }
    let message = "this server does not know itself by that Host; its option --host adds a name";
    Err(error(403, ErrorCode::PermissionDenied, message).into())
}

fn check_request(head: &Head, config: &Config) -> Result<(), Rejection> {
    if head.path() != config.path && !(config.page && head.path() == "/") {
        let message = format!("there is nothing here; the WebSocket is at {}", config.path);
        return Err(Response::error(404, ErrorCode::BadRequest.code(), "not_found", &message).into());
    }
    if *head.method() != Method::GET {
        return Err(
            Response::error(405, ErrorCode::BadRequest.code(), "method_not_allowed", "only GET is served").into()
        );
    }
    if head.headers().contains_key("transfer-encoding")
        || head.headers().get_all("content-length").iter().any(|n| n != "0")
    {
        return Err(bad_request("a GET has no body here").into());
    }
    Ok(())
}

fn check_upgrade(head: &Head) -> Result<(), Rejection> {
    let version = head.headers().get("sec-websocket-version");
    if !head.wants_upgrade() || version.is_none_or(|version| version != "13") {
        let message = "this is a WebSocket endpoint: upgrade with Sec-WebSocket-Version 13";
        return Err(Response::error(426, ErrorCode::BadRequest.code(), "upgrade_required", message).into());
    }
    if head.as_http().version() < Version::HTTP_11 {
        return Err(bad_request("a WebSocket needs HTTP/1.1").into());
    }
    Ok(())
}

fn check_origin(head: &Head, shared: &Shared) -> Result<(), Rejection> {
    let host = head.header("host").unwrap_or_default();
    if origin_allowed(head.headers().get_all("origin"), host, &shared.config.origins) {
        return Ok(());
    }
    let origin = head.header("origin").unwrap_or_default();
    if shared.reminders.due(&format!("origin {origin}"), Instant::now()) {
        log::warn!("refused a page of origin {}: --origin allows one", Printable(origin));
    }
    let message = "pages of this Origin may not connect; the server's option --origin allows one";
    Err(error(403, ErrorCode::PermissionDenied, message).into())
}

/// The 101 response that would be sent, and how a refusal is told instead.
fn upgrade(head: &Head, config: &Config) -> Result<Upgrade, Rejection> {
    let mut response = create_response(head.as_http()).map_err(|error| bad_request(&error.to_string()))?;
    if config.protocol == Protocol::Native && head.offered_subprotocols().any(|offer| offer == SUBPROTOCOL) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).map_err(|error| bad_request(&error.to_string()))?;
    let refuse_by_close = match head.query("refuse") {
        None => head.headers().contains_key("origin"),
        Some("close") => true,
        Some("http") => false,
        Some(_) => return Err(bad_request("refuse must be http or close").into()),
    };
    Ok(Upgrade { response: Bytes::from(bytes), refuse_by_close })
}

fn parameters(head: &Head) -> Result<(String, Option<Duration>), Rejection> {
    let device = head.query("device").unwrap_or_default();
    if device.len() > MAX_DEVICE_BYTES || device.chars().any(char::is_control) {
        let message = format!("device must be at most {MAX_DEVICE_BYTES} bytes without control characters");
        return Err(bad_request(&message).into());
    }
    let promise = match head.query("heartbeat_ms").map(str::parse::<u64>) {
        None => None,
        Some(Ok(ms)) if ms > 0 => Some(Duration::from_millis(ms)),
        Some(_) => return Err(bad_request("heartbeat_ms must be a positive number of milliseconds").into()),
    };
    Ok((device.to_owned(), promise))
}

fn authenticate(request: &Request, shared: &Shared) -> Result<Identity, Refusal> {
    let identity = catch_unwind(AssertUnwindSafe(|| shared.handler.authenticate(request))).unwrap_or_else(|_| {
        log::error!("the handler panicked in `authenticate`");
        Err(Refusal::internal("authentication failed on the server's side"))
    })?;
    let claimed = request.query("user_id").filter(|_| shared.config.protocol == Protocol::Native);
    if claimed.is_some_and(|claimed| claimed != identity.account.as_str()) {
        return Err(Refusal::forbidden("the token is another account's than user_id"));
    }
    Ok(identity)
}

fn malformed(cause: &HeadError) -> Response {
    let code = match cause {
        HeadError::TooLarge => ErrorCode::LimitExceeded,
        HeadError::Malformed(_) => ErrorCode::BadRequest,
    };
    error(cause.status(), code, &cause.to_string())
}

fn bad_request(message: &str) -> Response {
    error(400, ErrorCode::BadRequest, message)
}

fn error(status: u16, code: ErrorCode, message: &str) -> Response {
    Response::error(status, code.code(), code.reason(), message)
}
