//! The server's side of a handshake on a socket that the program has accepted.

use super::link::Link;
use super::options::Options;
use super::receiver::Opened;
use super::{Receiver, Sender};
use crate::auth::Refusal;
use crate::config::ConfigError;
use crate::connection::{self, Received};
use crate::handler::{Request, Words};
use crate::http::{Head, HeadReader, Response, check_get, check_upgrade};
use crate::protocol::close::CloseKind;
use crate::protocol::format::Format;
use crate::protocol::message::ErrorCode;
use crate::socket::Socket;
use ::http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;
use tungstenite::handshake::server::{create_response, write_response};
use tungstenite::protocol::Role;

/// Answers a client's request for a WebSocket, whatever its path, and blocks until the connection is open, for
/// [`Options::open_deadline`](super::Options) at most. Call it on a thread of the connection's own: a client may be slow.
///
/// # Errors
/// [`AcceptError`]. A request that opens no connection got a complete response, which its client had
/// [`Options::linger`](super::Options) to read.
pub fn accept(socket: TcpStream, options: &Options) -> Result<(Sender, Receiver), AcceptError> {
    accept_with(socket, options, |_| Ok(()))
}

/// The same for those that `judge` lets in. It sees a well-formed request for a WebSocket, of which neither `Host` nor
/// `Origin` was judged, and runs on this thread.
///
/// # Errors
/// See [`accept`].
pub fn accept_with(
    socket: TcpStream,
    options: &Options,
    judge: impl FnOnce(&Request) -> Result<(), Refusal>,
) -> Result<(Sender, Receiver), AcceptError> {
    let config = options.config().map_err(AcceptError::Options)?;
    let deadline = Instant::now() + options.open_deadline;
    let client = prepare(&socket).map_err(AcceptError::Failed)?;
    let socket = Arc::new(Socket::from(socket));
    let outcome = read(&socket, deadline).and_then(|(head, received)| {
        let upgrade = upgrade(head, client, options, judge)?;
        Ok((upgrade, received))
    });
    let link = Arc::new(Link::new(Arc::clone(&socket), Format::WebSocket, options));
    let opened = |subprotocol, received| {
        let link = Arc::clone(&link);
        Opened { socket, link, role: Role::Server, peer: client, config, subprotocol, received }.split()
    };
    match outcome {
        Ok(((response, subprotocol), received)) => {
            link.push(response.into());
            Ok(opened(subprotocol, received))
        }
        Err(Rejection::Answered(response)) => {
            link.end_with(CloseKind::Normal.into(), response.to_bytes().into());
            // It sees to it that the response is read, and fails when that is over.
            let _ = opened(None, Vec::new()).1.recv();
            Err(AcceptError::Refused(response.status()))
        }
        Err(Rejection::Gone) => Err(AcceptError::Gone),
    }
}

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The options contradict themselves.
    Options(ConfigError),
    /// The socket does not work.
    Failed(io::Error),
    /// The client was answered with this status: by `judge`, or because its request was not one for a WebSocket.
    Refused(u16),
    /// The client left before its request was complete.
    Gone,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => error.fmt(f),
            Self::Failed(error) => write!(f, "the socket does not work: {error}"),
            Self::Refused(status) => write!(f, "the request was refused with {status}"),
            Self::Gone => f.write_str("the client left before its request was complete"),
        }
    }
}

impl std::error::Error for AcceptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Options(error) => Some(error),
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a request opens no connection.
enum Rejection {
    Answered(Response),
    Gone,
}

impl From<Response> for Rejection {
    fn from(response: Response) -> Self {
        Self::Answered(response)
    }
}

fn prepare(socket: &TcpStream) -> io::Result<SocketAddr> {
    // A listener that does not block may have passed that on.
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    socket.peer_addr()
}

/// The request's head, and what came behind it.
fn read(socket: &Arc<Socket>, deadline: Instant) -> Result<(Head, Vec<u8>), Rejection> {
    let mut receiver = connection::Receiver::new(Arc::clone(socket));
    let mut reader = HeadReader::new();
    let mut buffer = [0; 2 << 10];
    loop {
        match receiver.receive(&mut buffer, deadline) {
            Received::Bytes(length) => {
                if let Some(complete) = reader.push(&buffer[..length]).map_err(|error| error.response())? {
                    return Ok(complete);
                }
            }
            Received::Nothing => {
                return Err(Response::refusal(408, ErrorCode::BadRequest, "the request took too long").into());
            }
            Received::End => return Err(Rejection::Gone),
        }
    }
}

/// The 101 response, and the subprotocol that it chooses.
fn upgrade(
    head: Head,
    client: SocketAddr,
    options: &Options,
    judge: impl FnOnce(&Request) -> Result<(), Refusal>,
) -> Result<(Vec<u8>, Option<String>), Rejection> {
    check_get(&head)?;
    check_upgrade(&head)?;
    let mut response = create_response(head.as_http()).map_err(|error| bad_request(&error))?;
    let chosen = options.subprotocols.iter().find(|spoken| head.offered_subprotocols().any(|offer| offer == *spoken));
    if let Some(value) = chosen.and_then(|chosen| HeaderValue::from_str(chosen).ok()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    let token = head.bearer_token().map_err(|error| error.response())?.map(str::to_owned);
    let words = Words::Upgrade { head: Box::new(head), account: "user_id" };
    judge(&Request { words, client, token }).map_err(|refusal| refusal.response())?;
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).map_err(|error| bad_request(&error))?;
    Ok((bytes, chosen.cloned()))
}

fn bad_request(cause: &tungstenite::Error) -> Response {
    Response::refusal(400, ErrorCode::BadRequest, &cause.to_string())
}
