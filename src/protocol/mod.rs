//! What goes over the wire: names, frames, codecs and close reasons. Pure: no socket, no clock, no thread.

pub mod close;
pub mod message;
pub mod native;
pub mod scan;
pub mod wire;
