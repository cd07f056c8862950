//! Who may ask: the keys in a file, and the key that a request bears.

use crate::auth::Refusal;
use crate::config::{AdminKey, AdminRole, ConfigError};
use crate::http::{Head, Response};
use crate::limits::Failures;
use crate::secret::{Digest, random};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

/// The shortest secret in a key file, in bytes. No more than that is needed against guessing.
const MIN_SECRET_BYTES: usize = 32;
/// What our secrets begin with, so that one that has leaked is recognised by who finds it.
const SECRET_PREFIX: &str = "hwk_";
/// How many random bytes a secret is made of.
const RANDOM_BYTES: usize = 32;
/// Group and others.
const OTHERS_MODE: u32 = 0o077;

/// What roles are called.
const ROLES: [(AdminRole, &str); 3] =
    [(AdminRole::Push, "push"), (AdminRole::Monitor, "monitor"), (AdminRole::Admin, "admin")];
/// The keys of a file that was not there.
const MADE: [(&str, AdminRole); 3] =
    [("operator", AdminRole::Admin), ("back-end", AdminRole::Push), ("monitoring", AdminRole::Monitor)];

/// The keys to the HTTP interface that a file holds: one a line, `name role secret`, where the role is `push`, `monitor`
/// or `admin`. Empty lines and those that begin with `#` do not count.
///
/// Names are unique; a secret is 32 or more visible characters of ASCII.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyFile {
    /// The keys, at least one.
    pub keys: Vec<AdminKey>,
    /// Whether the file was not there, and has been made.
    pub made: bool,
    /// What its owner should change, in one line.
    pub warning: Option<String>,
}

impl KeyFile {
    /// Reads the file. Where there is none, makes one that only its owner can read, with a key of each role.
    ///
    /// # Errors
    /// What cannot be read or made, or is wrong, in one line that holds no secret.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let failed = |error: &dyn Display| ConfigError(format!("admin-key-file {}: {error}", path.display()));
        let made = make(path).map_err(|error| failed(&error))?;
        let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
        let keys = parse(&text).map_err(|what| failed(&what))?;
        let mode = fs::metadata(path).map_err(|error| failed(&error))?.mode();
        let warning = (mode & OTHERS_MODE != 0).then(|| {
            format!("admin-key-file {0}: others than its owner may open it; chmod 600 {0} ends that", path.display())
        });
        Ok(Self { keys, made, warning })
    }
}

/// Makes the file; false where there is one.
fn make(path: &Path) -> io::Result<bool> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    let words = ROLES.map(|(_, word)| word).join(", ");
    writeln!(file, "# Keys to the HTTP interface of heartwire: name, role ({words}) and secret, one key a line.")?;
    for (name, role) in MADE {
        writeln!(file, "{name} {} {SECRET_PREFIX}{}", word(role), random::<RANDOM_BYTES>()?)?;
    }
    Ok(true)
}

fn parse(text: &str) -> Result<Vec<AdminKey>, String> {
    let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut names = BTreeSet::new();
    let mut keys = Vec::new();
    for (number, line) in lines {
        let wrong = |what: &str| format!("line {number}: {what}");
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, role, secret] = fields[..] else { return Err(wrong("a key is written as: name role secret")) };
        let Some((role, _)) = ROLES.into_iter().find(|(_, word)| *word == role) else {
            return Err(wrong(&format!("the role must be one of {}", ROLES.map(|(_, word)| word).join(", "))));
        };
        if secret.len() < MIN_SECRET_BYTES || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong(&format!("a secret has {MIN_SECRET_BYTES} or more visible characters of ASCII")));
        }
        if !names.insert(name) {
            return Err(wrong(&format!("there is a key of the name {name:?} already")));
        }
        keys.push(AdminKey::new(name, role, secret));
    }
    // No key at all would mean that nobody is asked for one.
    if keys.is_empty() { Err("it holds no key".into()) } else { Ok(keys) }
}

/// Whoever asks.
#[derive(Debug)]
pub(super) struct Caller<'a> {
    /// The name of its key; empty where nobody is asked for one.
    pub(super) name: &'a str,
    /// What that opens.
    pub(super) role: AdminRole,
}

impl Caller<'_> {
    /// One who was not asked.
    pub(super) fn anonymous() -> Self {
        Self { name: "", role: AdminRole::Admin }
    }
}

/// Whose key the request bears. Pure: `now` is an argument.
///
/// # Errors
/// 401 where it bears none of these; 429 where its address has borne too many wrong ones.
pub(super) fn identify<'a>(
    head: &Head,
    keys: &'a [AdminKey],
    failures: &Failures,
    address: IpAddr,
    now: Instant,
) -> Result<Caller<'a>, Response> {
    if keys.is_empty() {
        return Ok(Caller::anonymous());
    }
    let Some(presented) = head.authorization().map_err(|error| error.response())? else {
        return Err(Refusal::unauthorized("a key is needed: Authorization: Bearer KEY").response());
    };
    if let Err(wait) = failures.may_try(Some(address), now) {
        return Err(Refusal::throttled("too many wrong keys came from this address", wait).response());
    }
    let Some(key) = find(keys, presented) else {
        failures.failed(Some(address), now);
        return Err(Refusal::unauthorized("this is none of the server's keys").response());
    };
    Ok(Caller { name: &key.name, role: key.role })
}

/// What a role is called.
pub(super) fn word(role: AdminRole) -> &'static str {
    ROLES.into_iter().find(|(other, _)| *other == role).map_or("", |(_, word)| word)
}

/// The key with this secret. How long it takes says nothing of any secret, nor of how long those are.
fn find<'a>(keys: &'a [AdminKey], presented: &str) -> Option<&'a AdminKey> {
    let presented = Digest::of(presented);
    let is_same = |key: &&AdminKey| Digest::of(&key.secret) == presented;
    // All of them, whichever it is.
    keys.iter().filter(is_same).fold(None, |_, key| Some(key))
}

#[cfg(test)]
mod tests;
