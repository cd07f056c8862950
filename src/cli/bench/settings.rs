//! What tells one of several runs from the others.

use super::measured::Measured;
use super::report::{bytes, number};

/// Which settings have to be told, since there are several of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) connections: bool,
    pub(super) senders: bool,
    pub(super) stack: bool,
    pub(super) server: bool,
}

impl Settings {
    /// Those in which these runs differ.
    pub(super) fn varying(runs: &[Measured]) -> Self {
        let differs = |same: fn(&Measured, &Measured) -> bool| runs.windows(2).any(|pair| !same(&pair[0], &pair[1]));
        Self {
            connections: differs(|a, b| a.connections == b.connections),
            senders: differs(|a, b| a.senders == b.senders),
            stack: differs(|a, b| a.stack_bytes == b.stack_bytes),
            server: differs(|a, b| a.server == b.server),
        }
    }

    /// Those of a run in words; empty where there are none to be told.
    pub(super) fn label(self, run: &Measured) -> String {
        let count = |is_told: bool, count: usize, what| is_told.then(|| format!("{} {what}", number(count as f64)));
        let stack = run.stack_bytes.filter(|_| self.stack).map(|stack| format!("stack {}", bytes(stack as f64)));
        let server = self.server.then(|| if run.server.is_empty() { "defaults".into() } else { run.server.clone() });
        let connections = count(self.connections, run.connections, "connections");
        let told = [connections, count(self.senders, run.senders, "senders"), stack, server];
        told.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// The runs that differ in nothing of this, with their label, in the order in which labels come first.
    pub(super) fn groups<'a>(self, runs: impl IntoIterator<Item = &'a Measured>) -> Vec<(String, Vec<&'a Measured>)> {
        let mut groups: Vec<(String, Vec<_>)> = Vec::new();
        for run in runs {
            let label = self.label(run);
            match groups.iter_mut().find(|(known, _)| *known == label) {
                Some((_, runs)) => runs.push(run),
                None => groups.push((label, vec![run])),
            }
        }
        groups
    }
}
