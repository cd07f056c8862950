//! The `native` dialect, one JSON object a frame: `docs/protocol.md`, sections 2 and 3.

mod decode;
mod encode;
mod hello;
#[cfg(test)]
mod tests;

pub(crate) use decode::{decode, id_of};
pub use encode::InvalidPushType;
pub(crate) use encode::{ack, error, heartbeat, message, presence, push, register, renewed};
pub(crate) use hello::{Hello, hello};
