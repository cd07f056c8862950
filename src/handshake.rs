//! The thread of a connection that is being opened: read the head, judge it, authenticate, hand over. What raw TCP has
//! instead of a head is in [`hello`].
//!
//! Its deadline is absolute and begins with the accept. Whatever is refused gets a complete answer. The connection's own
//! thread starts only afterwards, with a stack that never saw a handshake, which would be as much again as an idle
//! connection costs.

mod hello;

use crate::auth::{Identity, RETRY_AFTER, Refusal};
use crate::clock;
use crate::config::{Config, Protocol, ProxyProtocol};
use crate::connection::{self, Accepted, Admitted, Greeting, Receiver, RequestError, RequestReader, Shared};
use crate::handler::{Request, Words};
use crate::http::{Head, Response, check_get, check_upgrade, origin_allowed};
use crate::page;
use crate::printable::Printable;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::format::Format;
use crate::protocol::message::{Account, ErrorCode, device_label};
use crate::protocol::wire::Bytes;
use crate::proxy;
use crate::record::{Claim, Dialect};
use crate::threads::reply;
use ::http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::handshake::server::{create_response, write_response};

/// The subprotocol that this server speaks.
const SUBPROTOCOL: &str = "heartwire.v1";

/// What the clients of one listening address speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// HTTP, and then WebSocket.
    WebSocket,
    /// Lines of JSON, over TCP as it is.
    Lines,
}

/// What a WebSocket's messages are written in; its path says so.
fn dialect_at(path: &str, config: &Config) -> Option<Dialect> {
    match config.protocol {
        Protocol::Native if config.ginchat_path.as_deref() == Some(path) => Some(Dialect::Ginchat),
        Protocol::Native => (path == config.path).then_some(Dialect::Native),
        Protocol::Raw => (path == config.path).then_some(Dialect::Raw),
    }
}

/// The parameter in which clients of a dialect say who they are.
fn account_parameter(dialect: Dialect) -> &'static str {
    if dialect == Dialect::Ginchat { "userId" } else { "user_id" }
}

/// The handshake's thread.
pub(crate) fn run(accepted: &Accepted, transport: Transport, shared: &Arc<Shared>) {
    match transport {
        Transport::WebSocket => shake_hands(accepted, shared),
        Transport::Lines => hello::run(accepted, shared),
    }
}

fn shake_hands(accepted: &Accepted, shared: &Arc<Shared>) {
    // Whoever is refused keeps its place until this is done.
    let mut claim = Claim::of(accepted.peer);
    let rejection = match open(accepted, &mut claim, shared) {
        Ok(admitted) => return start(admitted, accepted, shared),
        Err(Rejection::Gone) => return,
        Err(rejection) => rejection,
    };
    let outbound = connection::write_side(&accepted.socket, Format::WebSocket, shared);
    let mut receiver = Receiver::new(Arc::clone(&accepted.socket));
    match rejection {
        Rejection::Refused(refusal, greeting) => {
            connection::refuse(&mut receiver, &outbound, &refusal, &claim, &greeting, shared);
        }
        Rejection::Answered(response) => {
            if response.status() != 200 {
                shared.refused(&claim, Some(response.status()), &reason_of(&response));
            }
            let answer = response.to_bytes().into();
            connection::answer_and_leave(&mut receiver, &outbound, answer, CloseKind::Normal.into());
        }
        Rejection::Gone => {}
    }
}

/// Why this request opens no connection.
enum Rejection {
    /// Not let in; told by a Close where the greeting says so.
    Refused(Refusal, Greeting),
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

impl From<RequestError> for Rejection {
    fn from(error: RequestError) -> Self {
        error.response().map_or(Self::Gone, Self::Answered)
    }
}

/// From the request to a client that is let in; `claim` tells as much of it as was found out.
fn open(accepted: &Accepted, claim: &mut Claim, shared: &Arc<Shared>) -> Result<Admitted, Rejection> {
    let config = &*shared.config;
    let deadline = accepted.at + config.handshake_deadline;
    let mut reader = RequestReader::new(accepted, deadline);
    let announced = reader.proxy_header(accepted.peer, config)?;
    let head = reader.head()?;
    let client = client_address(accepted.peer, announced, Some(&head), config);
    claim.address = client;
    let dialect = dialect_at(head.path(), config);
    let parameter = account_parameter(dialect.unwrap_or(Dialect::Native));
    claim.account = head.query(parameter).and_then(|name| Account::new(name).ok());
    connection::check_host(&head, shared)?;
    check_request(&head, dialect, config)?;
    let Some(dialect) = dialect else {
        return Err(page::response(head.path(), &config.path).into());
    };
    check_upgrade(&head)?;
    check_origin(&head, shared)?;
    let mut greeting = greeting(&head, config)?;
    let (device, promise) = parameters(&head)?;
    let token = head.bearer_token().map_err(|error| error.response())?.map(str::to_owned);
    let words = Words::Upgrade { head: Box::new(head), account: parameter };
    let identity = authenticate(&Request { words, client, token }, deadline, shared)
        .map_err(|refusal| Rejection::Refused(refusal, greeting.clone()))?;
    if dialect == Dialect::Ginchat {
        greeting.format = Format::Ginchat(identity.account.clone());
    }
    Ok(Admitted {
        accepted: accepted.at,
        deadline,
        client,
        limited_address: config.limited_address(client.ip()),
        identity,
        device,
        dialect,
        promise,
        greeting,
        outbound: None,
        received: reader.into_parts().1,
    })
}

/// Starts the connection's thread, registers the connection, and hands it over. The thread comes first, so that a
/// refused one is still a 503; and it waits, so that what registering needs of stack and heap is not its own.
fn start(admitted: Admitted, accepted: &Accepted, shared: &Arc<Shared>) {
    let (client, greeting) = (admitted.client, admitted.greeting.clone());
    let claim = Claim { address: client, account: Some(admitted.identity.account.clone()) };
    let newcomer = admitted.prepare(Arc::clone(&accepted.socket), Arc::clone(&accepted.permit), shared);
    let outbound = newcomer.outbound();
    let (opens, opened) = reply();
    let live = move || {
        if let Some(opened) = opened.wait() {
            connection::run(opened);
        }
    };
    let started = shared.crew.spawn("hw-connection", shared.config.stack_bytes, live).map_err(|error| {
        if let Some(others) = shared.overload_log.open(clock::now()) {
            log::error!("no thread for a connection: {error}; nor for {others} others");
        }
        Refusal::unavailable("the server has no thread left", RETRY_AFTER)
    });
    match started.and_then(|()| newcomer.register()) {
        Ok(opened) => opens.send(opened),
        Err(refusal) => {
            drop(opens);
            let mut receiver = Receiver::new(Arc::clone(&accepted.socket));
            connection::refuse(&mut receiver, &outbound, &refusal, &claim, &greeting, shared);
        }
    }
}

fn client_address(peer: SocketAddr, announced: Option<IpAddr>, head: Option<&Head>, config: &Config) -> SocketAddr {
    let client = match (announced, config.proxy_protocol, head) {
        (Some(client), ..) => client,
        (None, ProxyProtocol::Off, Some(head)) => {
            proxy::forwarded_client(peer.ip(), head.headers(), &config.trusted_proxies)
        }
        _ => return peer,
    };
    if client == peer.ip().to_canonical() { peer } else { SocketAddr::new(client, 0) }
}

fn check_request(head: &Head, dialect: Option<Dialect>, config: &Config) -> Result<(), Rejection> {
    if dialect.is_none() && !(config.page && page::is_at(head.path())) {
        let message = format!("there is nothing here; the WebSocket is at {}", config.path);
        return Err(Response::error(404, ErrorCode::BadRequest.code(), "not_found", &message).into());
    }
    Ok(check_get(head)?)
}

fn check_origin(head: &Head, shared: &Shared) -> Result<(), Rejection> {
    let host = head.header("host").unwrap_or_default();
    if origin_allowed(head.headers().get_all("origin"), host, &shared.config.origins) {
        return Ok(());
    }
    let origin = head.header("origin").unwrap_or_default();
    if shared.reminders.due(&format!("origin {origin}"), clock::now()) {
        log::warn!("refused a page of origin {}: --origin allows one", Printable(origin));
    }
    let message = "pages of this Origin may not connect; the server's option --origin allows one";
    Err(Response::refusal(403, ErrorCode::PermissionDenied, message).into())
}

/// The 101 response that would be sent, and how a refusal is told instead.
fn greeting(head: &Head, config: &Config) -> Result<Greeting, Rejection> {
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
    Ok(Greeting { first: vec![Bytes::from(bytes)], refuse_by_close, format: Format::WebSocket })
}

fn parameters(head: &Head) -> Result<(String, Option<Duration>), Rejection> {
    let device = device_label(head.query("device").unwrap_or_default());
    let device = device.map_err(|error| bad_request(&error.to_string()))?;
    let promise = match head.query("heartbeat_ms").map(str::parse::<u64>) {
        None => None,
        Some(Ok(ms)) if ms > 0 => Some(Duration::from_millis(ms)),
        Some(_) => return Err(bad_request("heartbeat_ms must be a positive number of milliseconds").into()),
    };
    Ok((device, promise))
}

/// Asks the handler, whose answer counts until `deadline`.
fn authenticate(request: &Request, deadline: Instant, shared: &Shared) -> Result<Identity, Refusal> {
    let address = shared.config.limited_address(request.client.ip());
    if let Err(wait) = shared.failures.may_try(address, clock::now()) {
        return Err(Refusal::throttled("too many attempts of this address have failed", wait));
    }
    let identity = catch_unwind(AssertUnwindSafe(|| shared.handler.authenticate(request))).unwrap_or_else(|_| {
        log::error!("the handler panicked in `authenticate`");
        Err(Refusal::internal("authentication failed on the server's side"))
    });
    if let Err(refusal) = &identity
        && refusal.is_wrong_proof()
    {
        let (ip, now) = (request.client.ip(), clock::now());
        shared.failures.failed(address, now);
        if shared.reminders.due(&format!("token of {ip}"), now) {
            log::info!("refused a client from {ip}: {}", Printable(&refusal.message));
        }
    }
    let identity = identity?;
    let parameter = request.account_parameter();
    let claimed = request.query(parameter).filter(|_| shared.config.protocol == Protocol::Native);
    if claimed.is_some_and(|claimed| claimed != identity.account.as_str()) {
        return Err(Refusal::forbidden(format!("the token is another account's than {parameter}")));
    }
    if clock::now() >= deadline {
        return Err(Refusal::unavailable("authentication took too long", RETRY_AFTER));
    }
    Ok(identity)
}

/// The close reason that says the same as a refusal over HTTP.
fn reason_of(response: &Response) -> CloseReason {
    let kind = match response.status() {
        403 => CloseKind::Policy,
        408 => CloseKind::TooSlow,
        503 => CloseKind::GoingAway,
        _ => CloseKind::BadRequest,
    };
    CloseReason::new(kind, response.message().to_owned())
}

fn bad_request(message: &str) -> Response {
    Response::refusal(400, ErrorCode::BadRequest, message)
}
