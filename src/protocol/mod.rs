//! What goes over the wire: names, frames, codecs and close reasons. Pure: no socket, no clock, no thread.

pub(crate) mod close;
pub(crate) mod format;
pub(crate) mod ginchat;
pub(crate) mod line;
pub(crate) mod message;
pub(crate) mod native;
pub(crate) mod scan;
pub(crate) mod text;
pub(crate) mod wire;
