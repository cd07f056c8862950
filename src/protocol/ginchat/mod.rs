//! The `ginchat` dialect, spoken by clients of Go "ginchat" servers: one flat JSON object a frame.
//!
//! Those servers relay a frame as its sender wrote it, so clients find each other's keys only if their case is kept.
//! Here messages travel as native frames, and `meta_data` of their content brings the fields through.

mod decode;
mod encode;
mod fields;
#[cfg(test)]
mod tests;

pub(crate) use decode::{ClientMessage, decode};
pub(crate) use encode::Translation;
