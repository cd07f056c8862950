//! Locks, flags and threads: those of the standard library. Where a model is checked, they are the checker's, which decides
//! at each of their operations who runs next.

#[cfg(not(heartwire_model))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};

#[cfg(heartwire_model)]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};
