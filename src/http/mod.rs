//! As much of HTTP/1.1 as a WebSocket server needs: one bounded request head in, one complete response out.
//!
//! Pure: no socket, no clock. A [`HeadReader`] is fed what arrives until it has a [`Head`]; [`host_allowed`] and
//! [`origin_allowed`] say whether a web page may be behind it; whatever is refused is answered by a [`Response`], after
//! which the connection ends. There is no second request on a connection, so nothing can be smuggled between two.

mod head;
mod origin;
mod query;
mod reader;
mod response;
mod upgrade;

pub(crate) use head::Head;
pub(crate) use origin::{Origin, host_allowed, origin_allowed};
pub(crate) use reader::{HeadError, HeadReader};
pub(crate) use response::Response;
pub(crate) use upgrade::{check_get, check_upgrade};
