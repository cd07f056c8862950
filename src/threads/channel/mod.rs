//! Bounded channels: those of crossbeam, which are trusted. Where a model is checked, a lock and a condition stand for them.

#[cfg(heartwire_model)]
mod modelled;

#[cfg(not(heartwire_model))]
pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
#[cfg(heartwire_model)]
pub(crate) use modelled::{Receiver, Sender, bounded, receive_either};

pub(crate) use crossbeam_channel::{RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError};

/// What came from one of two channels.
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for whichever channel has something first; `None` when neither had in time.
///
/// # Errors
/// Nobody is left who could send to one of them, and that one is empty.
#[cfg(not(heartwire_model))]
#[inline]
pub(crate) fn receive_either<A, B>(
    first: &Receiver<A>,
    second: &Receiver<B>,
    patience: std::time::Duration,
) -> Result<Option<Either<A, B>>, RecvError> {
    crossbeam_channel::select! {
        recv(first) -> received => received.map(|value| Some(Either::First(value))),
        recv(second) -> received => received.map(|value| Some(Either::Second(value))),
        default(patience) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
