//! The socket of one connection, as far as a connection needs one, and where a thread sleeps until sockets have room.
//!
//! Where threads are checked by a model, and where bytes and times are made up, the kernel and the peer are in memory.

#[cfg(any(heartwire_model, heartwire_fuzzing))]
pub(crate) mod memory;
#[cfg(not(any(heartwire_model, heartwire_fuzzing)))]
mod tcp;

#[cfg(any(heartwire_model, heartwire_fuzzing))]
pub(crate) use memory::{Sleeper, Socket, pair};
#[cfg(test)]
#[cfg(not(any(heartwire_model, heartwire_fuzzing)))]
pub(crate) use tcp::pair;
#[cfg(not(any(heartwire_model, heartwire_fuzzing)))]
pub(crate) use tcp::{Sleeper, Socket};

#[cfg(test)]
mod tests;
