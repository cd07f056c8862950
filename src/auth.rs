//! Who a connection belongs to, what it may do, and how it is refused.

use crate::http::Response;
use crate::protocol::close::{CloseKind, CloseReason};
use crate::protocol::message::{Account, ErrorCode, Room};
use std::time::{Duration, SystemTime};

/// When a client that found no room is asked to come back.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Whom a connection belongs to and what it may do: the answer of [`Handler::authenticate`](crate::Handler::authenticate).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The account whose messages this connection receives and in whose name it sends.
    pub account: Account,
    /// Rooms that the connection is in from the beginning; they do not count against its own 64.
    pub rooms: Vec<Room>,
    /// What it may do.
    pub permissions: Permissions,
    /// When that ends: the connection is closed with 4500 then, unless a `token` frame renews it. Default `None`: never.
    pub expires: Option<SystemTime>,
}

impl Identity {
    /// An identity with all [`Permissions`] and no rooms, for as long as the connection lasts.
    #[must_use]
    pub fn new(account: Account) -> Self {
        Self { account, rooms: Vec::new(), permissions: Permissions::default(), expires: None }
    }
}

/// What a connection may do. Default: everything (`broadcast` needs [`Config::broadcast`](crate::Config) besides).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Permissions {
    /// Send messages to accounts and rooms.
    pub message: bool,
    /// Send to every connection.
    pub broadcast: bool,
    /// Join rooms by itself.
    pub join: bool,
    /// Ask for, and watch, the presence of others.
    pub presence: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { message: true, broadcast: true, join: true, presence: true }
    }
}

/// Why a connection is not let in, both as an HTTP response and as a close reason for browsers, which see no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) close: CloseKind,
}

impl Refusal {
    /// 401 and close code 4500: nobody we know.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, ErrorCode::Unauthorized, CloseKind::AuthenticationFailed, message)
    }

    /// 403 and close code 4500: known, but not let in.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, ErrorCode::PermissionDenied, CloseKind::AuthenticationFailed, message)
    }

    /// 400 and close code 4501: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, ErrorCode::BadRequest, CloseKind::BadRequest, message)
    }

    /// 429 with `Retry-After` and close code 4102: too many attempts.
    pub fn throttled(message: impl Into<String>, retry_after: Duration) -> Self {
        let refusal = Self::new(429, ErrorCode::TooManyRequests, CloseKind::RateLimit, message);
        Self { retry_after: Some(retry_after), ..refusal }
    }

    /// 503 with `Retry-After` and close code 4100: no room, or what it needs cannot be reached.
    pub fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        let refusal = Self::new(503, ErrorCode::NotAvailable, CloseKind::OverCapacity, message);
        Self { retry_after: Some(retry_after), ..refusal }
    }

    /// 500 and close code 1011: our own fault.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, ErrorCode::Internal, CloseKind::Internal, message)
    }

    /// 429 and close code 4103: the account or the address has as many connections as it may.
    pub(crate) fn connection_limit(message: impl Into<String>) -> Self {
        Self::new(429, ErrorCode::LimitExceeded, CloseKind::ConnectionLimit, message)
    }

    /// 503 and close code 1001: the server is stopping.
    pub(crate) fn draining(retry_after: Duration) -> Self {
        let refusal = Self::unavailable("the server is stopping", retry_after);
        Self { close: CloseKind::GoingAway, ..refusal }
    }

    fn new(status: u16, code: ErrorCode, close: CloseKind, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, close }
    }

    /// Whether the proof was wrong, and not the moment, the place or the server.
    pub(crate) fn is_wrong_proof(&self) -> bool {
        self.status == 401
    }

    /// The complete HTTP response.
    pub(crate) fn response(&self) -> Response {
        let response = Response::error(self.status, self.code.code(), self.code.reason(), &self.message);
        match self.retry_after {
            Some(wait) => response.retry_after(wait),
            None => response,
        }
    }

    /// The close reason that says the same after an upgrade.
    pub(crate) fn close_reason(&self) -> CloseReason {
        CloseReason::new(self.close, self.message.clone())
    }
}
