//! How many are there and how much waits, for whoever watches.

use super::command::Population;
use super::{Router, SendError};
use std::time::Duration;

impl Router {
    /// How many connections, accounts and rooms there are.
    ///
    /// # Errors
    /// [`SendError`], when the router cannot be asked or does not answer with this much patience.
    pub(crate) fn population(&self, within: Duration) -> Result<Population, SendError> {
        self.ask_within(within, |state| state.population())
    }

    /// What waits in the data inbox, and how much may.
    pub(crate) fn data_waiting(&self) -> (usize, usize) {
        (self.data.len(), self.data.capacity().unwrap_or(usize::MAX))
    }
}
