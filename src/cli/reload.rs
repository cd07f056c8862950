//! What SIGHUP does: all settings and files are read anew, and what can change while the server runs changes.

use super::Failure;
use super::gate::Gate;
use super::settings::Settings;
use super::setup::{Absent, Webhook};
use heartwire::Server;
use log::{error, info};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

/// What only a start looks at, besides what the server itself cannot change.
const AT_START: [&str; 4] = ["log-format", "webhook", "webhook-events", "webhook-secret-file"];

/// What a running server goes by.
pub(super) struct Running<'a> {
    /// Those of the process. They or the environment name the file.
    pub(super) arguments: &'a [OsString],
    /// As they were at the start.
    pub(super) first: Settings,
    /// As they were read last.
    pub(super) latest: Settings,
    pub(super) gate: Gate,
    /// As it was started.
    pub(super) webhook: Option<Webhook>,
    /// How long a stop may take.
    pub(super) drain: Duration,
}

impl Running<'_> {
    /// Reads everything anew. If anything is wrong, everything stays as it was; either way it is one line of the log, and
    /// no connection is dropped.
    pub(super) fn reload(&mut self, server: &Server) {
        match self.try_reload(server) {
            Ok(outcome) => info!("SIGHUP: {outcome}"),
            Err(Failure::Usage(why) | Failure::Run(why)) => error!("SIGHUP: {why}; everything stays as it was"),
        }
    }

    fn try_reload(&mut self, server: &Server) -> Result<String, Failure> {
        let settings = Settings::load(self.arguments)?;
        let setup = settings.setup()?;
        let files = setup.files();
        let parts = setup.open(Absent::Refuse)?;
        let drain = parts.config.drain;
        // The server asks its handler whether it authenticates.
        let former = self.gate.replace(parts.authenticator);
        let waiting = server.reconfigure(parts.config).map_err(|error| {
            self.gate.replace(former);
            Failure::Usage(error.to_string())
        })?;
        let mut waiting: BTreeSet<String> = waiting.into_iter().map(str::to_owned).collect();
        waiting.extend(self.first.changed_in(&settings).into_iter().filter(|flag| AT_START.contains(&&**flag)));
        if parts.webhook != self.webhook && !waiting.iter().any(|flag| flag.starts_with("webhook")) {
            waiting.insert("webhook-secret-file".into());
        }
        let changed: BTreeSet<_> = self.latest.changed_in(&settings).into_iter().collect();
        let in_force: Vec<_> = changed.difference(&waiting).cloned().collect();
        (self.latest, self.drain) = (settings, drain);
        Ok(outcome(&in_force, &files, &waiting.into_iter().collect::<Vec<_>>()))
    }
}

fn outcome(in_force: &[String], files: &[&str], waiting: &[String]) -> String {
    let mut parts = vec![match in_force {
        [] => "no setting changed".to_owned(),
        flags => format!("changed {}", flags.join(", ")),
    }];
    if !files.is_empty() {
        parts.push(format!("read {} again", files.join(", ")));
    }
    if !waiting.is_empty() {
        parts.push(format!("only a restart changes {}", waiting.join(", ")));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_became_of_it() {
        let flags = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(outcome(&[], &[], &[]), "no setting changed");
        let expected = "changed drain, origin; read token-file, admin-key-file again; only a restart changes listen";
        assert_eq!(
            outcome(&flags(&["drain", "origin"]), &["token-file", "admin-key-file"], &flags(&["listen"])),
            expected
        );
    }
}
