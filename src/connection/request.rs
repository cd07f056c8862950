//! Reads one request from a socket: its head, and its body where it has one. Every deadline is absolute.

use super::Shared;
use super::receiver::{Received, Receiver};
use crate::auth::{RETRY_AFTER, Refusal};
use crate::clock;
use crate::config::{Config, ProxyProtocol};
use crate::http::{Head, HeadReader, Response, host_allowed};
use crate::limits::Permit;
use crate::printable::Printable;
use crate::protocol::message::ErrorCode;
use crate::proxy::{self, ProxyHeader};
use crate::socket::Socket;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// What one recv brings at most.
const READ_BUFFER_BYTES: usize = 2 << 10;

/// A socket that was just accepted.
pub(crate) struct Accepted {
    pub(crate) socket: Arc<Socket>,
    pub(crate) peer: SocketAddr,
    pub(crate) at: Instant,
    pub(crate) permit: Arc<Permit>,
}

/// Reads from a socket that was just accepted.
pub(crate) struct RequestReader<'a> {
    permit: &'a Permit,
    receiver: Receiver,
    deadline: Instant,
    /// Received, but not used yet.
    unused: Vec<u8>,
}

/// Why there is no request.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// It cannot be accepted; the response that says why.
    Malformed(Response),
    /// The deadline has passed.
    TooSlow,
    /// The server stops: it ends what it has not answered yet by shutting the read side.
    Stopping,
    /// The peer has left.
    Gone,
}

impl RequestError {
    /// What the peer is told, if it is still there.
    pub(crate) fn response(self) -> Option<Response> {
        match self {
            Self::Malformed(response) => Some(response),
            Self::TooSlow => Some(Response::refusal(408, ErrorCode::BadRequest, "the request took too long")),
            Self::Stopping => Some(Refusal::draining(RETRY_AFTER).response()),
            Self::Gone => None,
        }
    }
}

impl<'a> RequestReader<'a> {
    /// A reader that gives up at `deadline`.
    pub(crate) fn new(accepted: &'a Accepted, deadline: Instant) -> Self {
        let receiver = Receiver::new(Arc::clone(&accepted.socket));
        Self { permit: &accepted.permit, receiver, deadline, unused: Vec::new() }
    }

    /// The header that a trusted proxy sends first, where it is one and does; the client that it names.
    pub(crate) fn proxy_header(&mut self, peer: SocketAddr, config: &Config) -> Result<Option<IpAddr>, RequestError> {
        if config.proxy_protocol == ProxyProtocol::Off || !config.trusts(peer.ip()) {
            return Ok(None);
        }
        loop {
            match proxy::parse_v2(&self.unused) {
                Ok(ProxyHeader::Done { client, length }) => {
                    self.unused.drain(..length);
                    return Ok(client);
                }
                Ok(ProxyHeader::Incomplete) => self.receive()?,
                Err(error) => {
                    let message = format!("PROXY header: {error}");
                    return Err(RequestError::Malformed(Response::refusal(400, ErrorCode::BadRequest, &message)));
                }
            }
        }
    }

    /// The request's head.
    pub(crate) fn head(&mut self) -> Result<Head, RequestError> {
        let mut reader = HeadReader::new();
        loop {
            let bytes = std::mem::take(&mut self.unused);
            if !bytes.is_empty() {
                let pushed = reader.push(&bytes).map_err(|error| RequestError::Malformed(error.response()))?;
                if let Some((head, behind)) = pushed {
                    self.unused = behind;
                    return Ok(head);
                }
            }
            self.receive()?;
        }
    }

    /// The `length` bytes behind the head, by another deadline. What has not come yet takes no memory.
    #[cfg(feature = "admin")]
    pub(crate) fn body(&mut self, length: usize, deadline: Instant) -> Result<Vec<u8>, RequestError> {
        self.deadline = deadline;
        while self.unused.len() < length {
            self.receive()?;
        }
        self.unused.truncate(length);
        Ok(std::mem::take(&mut self.unused))
    }

    /// For whoever reads on: the socket's read side, and what came behind all that was read.
    pub(crate) fn into_parts(self) -> (Receiver, Vec<u8>) {
        (self.receiver, self.unused)
    }

    /// Waits for more.
    fn receive(&mut self) -> Result<(), RequestError> {
        let mut buffer = [0; READ_BUFFER_BYTES];
        match self.receiver.receive(&mut buffer, self.deadline) {
            Received::Bytes(n) => {
                self.unused.extend_from_slice(&buffer[..n]);
                Ok(())
            }
            Received::Nothing => Err(RequestError::TooSlow),
            Received::End if self.permit.is_server_closed() => Err(RequestError::Stopping),
            Received::End => Err(RequestError::Gone),
        }
    }
}

/// A page on a name that somebody else's DNS points at loopback must not reach the server there.
///
/// # Errors
/// The response that says which option allows the name.
pub(crate) fn check_host(head: &Head, shared: &Shared) -> Result<(), Response> {
    let host = head.header("host").unwrap_or_default();
    if host_allowed(host, &shared.config.hosts) {
        return Ok(());
    }
    if shared.reminders.due(&format!("host {host}"), clock::now()) {
        log::warn!("refused a request for host {}: --host allows a name", Printable(host));
    }
    let message = "this server does not know itself by that Host; its option --host adds a name";
    Err(Response::refusal(403, ErrorCode::PermissionDenied, message))
}
