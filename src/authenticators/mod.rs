//! Ready-made ways to find out who a client is: a file of tokens, JSON Web Tokens, or asking the operator's back end.
//!
//! A [`Handler`](crate::Handler) passes its `authenticate` and `renew` on to one of them. None of them changes once it
//! was made: whoever wants other tokens, keys or addresses makes a new one, and keeps the old one if that fails.

#[cfg(feature = "back-end")]
mod back_end;
#[cfg(feature = "auth")]
mod jwt;
#[cfg(feature = "auth")]
mod token_file;

#[cfg(feature = "back-end")]
pub use back_end::{BackEnd, BackEndOptions};
#[cfg(feature = "auth")]
pub use jwt::{Jwt, JwtAlgorithm, JwtOptions};
#[cfg(feature = "auth")]
pub use token_file::TokenFile;

use crate::auth::{Identity, Refusal};
use crate::handler::Request;
use crate::protocol::message::Room;
use crate::record::ConnectionInfo;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Finds out who a client is. Every method may block, within a bound of its own.
pub trait Authenticator: Send + Sync + 'static {
    /// Says who is asking to connect; called on the handshake's thread. Whether the account is also the one that the
    /// request claims is checked by the server.
    ///
    /// # Errors
    /// The refusal that the client gets.
    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal>;

    /// Says what a further token of a connection's client grants; called on the connection's thread.
    ///
    /// # Errors
    /// Why the token is not accepted; always when it is another account's than the connection.
    fn renew(&self, connection: &ConnectionInfo, token: &str) -> Result<Identity, Refusal>;
}

/// Why an authenticator cannot be made, in one line for whoever operates the server. Names files, lines and what was
/// expected there, never a token, a secret, or what the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUpError(String);

impl SetUpError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for SetUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetUpError {}

/// The longest token that is looked at; a request's head is no longer either.
const MAX_TOKEN_BYTES: usize = 8 << 10;

/// How many rooms an authentication may put a connection into.
const MAX_ROOMS: usize = 64;

/// The end of the year 9999, the last one that RFC 3339 can write: later moments are taken for this one, so that whoever
/// calculates with it need not fear an overflow.
const LAST_MOMENT: f64 = 253_402_300_799.0;

/// A moment in seconds since 1970, with fractions or without (`NumericDate`, RFC 7519 §2).
fn moment(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs_f64(seconds.clamp(0.0, LAST_MOMENT))
}

/// The rooms of these names; `None` when there are too many, or one of them is no name of a room.
fn rooms(names: &[String]) -> Option<Vec<Room>> {
    let rooms = names.iter().map(|name| Room::new(name).ok());
    if names.len() > MAX_ROOMS { None } else { rooms.collect() }
}

/// The token that a client has to show.
#[cfg(feature = "auth")]
fn presented(request: &Request) -> Result<&str, Refusal> {
    request.token().ok_or_else(|| Refusal::unauthorized("a token is needed"))
}

/// The identity, if it is the connection's account that has it.
fn of_connection(identity: Identity, connection: &ConnectionInfo) -> Result<Identity, Refusal> {
    if identity.account == connection.account {
        Ok(identity)
    } else {
        Err(Refusal::forbidden("the token is another account's"))
    }
}

/// A whole file of at most `max_bytes`.
#[cfg(feature = "auth")]
fn read_file(path: &std::path::Path, max_bytes: u64) -> Result<Vec<u8>, SetUpError> {
    use std::io::Read;
    let failed = |error: &dyn fmt::Display| SetUpError::new(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > max_bytes {
        return Err(failed(&format_args!("it is longer than {max_bytes} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
