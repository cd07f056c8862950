//! The `native` dialect, one JSON object a frame: `docs/protocol.md`, sections 2 and 3.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{BadFrame, decode, id_of};
pub use encode::{InvalidPushType, MAX_TYPE_BYTES, ack, error, heartbeat, message, presence, push, register};
