//! The listener for a back end and an operator: where, and who may do what.

use super::ConfigError;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

/// The shortest secret of a key, in bytes.
const MIN_SECRET_BYTES: usize = 16;
const MAX_SECRET_BYTES: usize = 512;

/// The HTTP interface of `docs/http-api.md`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminConfig {
    /// Where to listen. Default nowhere; port 0 takes a free one, see
    /// [`Server::local_admin_addrs`](crate::Server::local_admin_addrs).
    pub listen: Vec<SocketAddr>,
    /// Who may ask. Default empty: everybody, which is refused unless all addresses are on loopback.
    pub keys: Vec<AdminKey>,
}

/// A key to the HTTP interface. Its `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminKey {
    /// What the log calls whoever has it.
    pub name: String,
    /// What it opens.
    pub role: AdminRole,
    /// What is presented as the bearer token: 16 to 512 visible characters of ASCII.
    pub secret: String,
}

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminRole {
    /// Pushing, and asking who is online.
    Push,
    /// Looking at the server and its connections, without changing anything.
    Monitor,
    /// Everything.
    Admin,
}

impl AdminKey {
    /// A key.
    pub fn new(name: impl Into<String>, role: AdminRole, secret: impl Into<String>) -> Self {
        Self { name: name.into(), role, secret: secret.into() }
    }
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminKey").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

impl AdminConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let open = self.listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(address) = open.filter(|_| self.keys.is_empty()) {
            return Err(ConfigError(format!(
                "admin-listen {address} can be reached from other machines: it needs a key"
            )));
        }
        let is_fit = |secret: &str| {
            (MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&secret.len())
                && secret.bytes().all(|b| b.is_ascii_graphic())
        };
        if let Some(key) = self.keys.iter().find(|key| !is_fit(&key.secret)) {
            let bounds = format!("{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} visible characters of ASCII");
            return Err(ConfigError(format!("admin-key {:?} must be {bounds}", key.name)));
        }
        let mut names = BTreeSet::new();
        match self.keys.iter().find(|key| !names.insert(&key.name)) {
            Some(key) => Err(ConfigError(format!("two keys of the name {:?}", key.name))),
            None => Ok(()),
        }
    }
}
