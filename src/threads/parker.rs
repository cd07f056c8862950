//! Where one thread sleeps until others have something for it: crossbeam's, which is trusted. Where a model is checked, a
//! lock and a condition stand for it.

#[cfg(not(heartwire_model))]
pub(crate) use crossbeam_utils::sync::{Parker, Unparker};
#[cfg(heartwire_model)]
pub(crate) use modelled::{Parker, Unparker};

#[cfg(heartwire_model)]
mod modelled {
    use crate::threads::bell::Bell;
    use std::sync::Arc;
    use std::time::Duration;

    pub(crate) struct Parker(Unparker);

    #[derive(Clone)]
    pub(crate) struct Unparker(Arc<Bell>);

    impl Parker {
        pub(crate) fn new() -> Self {
            Self(Unparker(Arc::default()))
        }

        pub(crate) fn unparker(&self) -> &Unparker {
            &self.0
        }

        /// No time passes in a model: whoever sleeps does so until it is woken.
        pub(crate) fn park_timeout(&self, _patience: Duration) {
            self.0.0.wait(None);
            self.0.0.silence();
        }
    }

    impl Unparker {
        pub(crate) fn unpark(&self) {
            self.0.ring();
        }
    }
}
