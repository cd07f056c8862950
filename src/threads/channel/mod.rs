//! Bounded channels: those of crossbeam, which are trusted. Where a model is checked, a lock and a condition stand for them.

#[cfg(heartwire_model)]
mod modelled;

#[cfg(not(heartwire_model))]
pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
#[cfg(heartwire_model)]
pub(crate) use modelled::{Receiver, Sender, bounded};

#[cfg(any(heartwire_model, test))]
pub(crate) use crossbeam_channel::RecvError;
#[cfg(heartwire_model)]
pub(crate) use crossbeam_channel::TryRecvError;
pub(crate) use crossbeam_channel::{RecvTimeoutError, SendTimeoutError};

#[cfg(test)]
mod tests;
