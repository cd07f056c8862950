//! What must hold whatever comes in, as functions of arbitrary bytes. Fuzzers call them (`fuzz/`), and so do the tests,
//! with the inputs that are kept in `fuzz/seeds` and `fuzz/regressions`.
//!
//! A property that does not hold is a panic. No other build has any of this.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a property says no")]

#[cfg(all(heartwire_fuzzing, feature = "admin"))]
mod admin;
mod configuration;
#[cfg(heartwire_fuzzing)]
mod connection;
mod dialects;
#[cfg(heartwire_fuzzing)]
mod heard;
mod json;
mod lines;
mod proxy;
mod request;
#[cfg(heartwire_fuzzing)]
mod stage;

#[cfg(all(heartwire_fuzzing, feature = "admin"))]
pub use admin::admin;
pub use configuration::reload;
#[cfg(heartwire_fuzzing)]
pub use connection::connection;
pub use dialects::{ginchat, native};
pub use lines::lines;
pub use proxy::proxy;
pub use request::request_head;

/// The bytes as they might arrive, in order and none of them empty; `how` they are cut is any byte.
fn pieces(how: u8, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let longest = [1, 7, 64, 1_536][usize::from(how) % 4];
    let (mut rest, mut state) = (bytes, u32::from(how) + 1);
    std::iter::from_fn(move || {
        // An LCG is as random as this needs (Numerical Recipes, §7.1).
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = 1 + (state >> 16) as usize % longest;
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

#[cfg(test)]
mod tests;
