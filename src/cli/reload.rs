//! What SIGHUP does: all settings and files are read anew, and what can change while the server runs changes.

use super::Failure;
use super::gate::Gate;
use super::settings::Settings;
use super::setup::{Absent, Parts, Webhook};
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
    /// What of them only a restart puts in force.
    pub(super) waiting: BTreeSet<String>,
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
        check_where_it_listens(&parts, server)?;
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
        // What waited and does no longer has gone back to what it was all the time.
        let in_force: Vec<_> =
            changed.into_iter().filter(|flag| !waiting.contains(flag) && !self.waiting.contains(flag)).collect();
        let outcome = outcome(&in_force, &files, &waiting.iter().cloned().collect::<Vec<_>>());
        (self.latest, self.waiting, self.drain) = (settings, waiting, drain);
        Ok(outcome)
    }
}

/// Addresses stay until a restart, so who must authenticate is decided by those: before the gate lets in anybody else.
fn check_where_it_listens(parts: &Parts, server: &Server) -> Result<(), Failure> {
    let mut config = parts.config.clone();
    config.listen = server.local_addrs().to_vec();
    config.tcp_listen = server.local_tcp_addrs().to_vec();
    config.admin.listen = server.local_admin_addrs();
    let gate = Gate::new(parts.authenticator.clone());
    Server::check(&config, &gate).map_err(|error| Failure::Usage(error.to_string()))
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
    use heartwire::Config;
    use heartwire::authenticators::{BackEnd, BackEndOptions};
    use std::sync::Arc;

    #[test]
    fn who_must_authenticate_is_decided_by_where_it_listens_now() {
        let back_end = || Some(Arc::new(BackEnd::new(BackEndOptions::new("http://127.0.0.1:1/")).unwrap()) as _);
        let parts = |authenticator| Parts { config: Config::default(), authenticator, webhook: None };
        let mut config = Config::default();
        config.listen = vec!["0.0.0.0:0".parse().unwrap()];
        let server = Server::bind(config, Gate::new(back_end())).unwrap();
        assert!(check_where_it_listens(&parts(back_end()), &server).is_ok());
        let Err(Failure::Usage(why)) = check_where_it_listens(&parts(None), &server) else {
            panic!("it was not refused")
        };
        assert!(why.contains("allow-anonymous"), "{why}");
    }

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
