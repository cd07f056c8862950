//! What a run says on stderr: how far it is, on a terminal, and what its figures do not tell.

use indicatif::{ProgressBar, ProgressDrawTarget};
use std::fmt::Display;
use std::io::{self, IsTerminal};

/// A line that tells how far a run is. Where stderr is no terminal there is none.
pub(super) struct Progress {
    bar: ProgressBar,
    workload: &'static str,
}

impl Progress {
    pub(super) fn new(workload: &'static str) -> Self {
        let target =
            if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::new_spinner();
        bar.set_draw_target(target);
        Self { bar, workload }
    }

    pub(super) fn say(&self, what: impl Display) {
        self.bar.set_message(format!("{}: {what}", self.workload));
        self.bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Says what a reader of the figures has to know.
#[expect(clippy::print_stderr, reason = "stdout is for the figures")]
pub(super) fn note(text: impl Display) {
    eprintln!("note: {}", crate::cli::log::OneLine(text));
}
