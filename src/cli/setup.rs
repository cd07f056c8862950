//! What the flags describe: the server's configuration, and what the binary puts around it. Here its files are opened.

use super::Failure;
use super::gate::Gate;
use heartwire::admin::KeyFile;
use heartwire::authenticators::{Authenticator, BackEnd, BackEndOptions, Jwt, JwtOptions, TokenFile};
use heartwire::config::{AdminKey, AdminRole};
use heartwire::webhook::WebhookOptions;
use heartwire::{Config, Server};
use log::{info, warn};
use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More than a secret is ever long.
const MAX_SECRET_BYTES: u64 = 4 << 10;

/// What the flags describe. Nothing has been opened, and no key is in the configuration yet.
pub(super) struct Setup {
    pub(super) config: Config,
    pub(super) authentication: Authentication,
    pub(super) admin_keys: AdminKeys,
    pub(super) webhook: Option<WebhookSetup>,
}

/// How clients prove who they are.
pub(super) enum Authentication {
    None,
    TokenFile(PathBuf),
    Jwt(JwtOptions),
    BackEnd(BackEndOptions),
}

impl Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none, every name is believed"),
            Self::TokenFile(path) => write!(f, "token-file {}", path.display()),
            Self::Jwt(options) => write!(f, "jwt, {} by {}", options.algorithm, options.key_file.display()),
            Self::BackEnd(_) => f.write_str("http, by the back end's word"),
        }
    }
}

/// Who may use the HTTP API.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AdminKeys {
    /// Everybody who reaches it.
    None,
    /// Whoever has this key.
    One(String),
    /// Whoever has a key of this file.
    File(PathBuf),
}

/// Whom to tell what.
pub(super) struct WebhookSetup {
    pub(super) url: String,
    pub(super) secret_file: PathBuf,
    pub(super) events: Vec<WebhookEvent>,
}

/// What the webhook can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WebhookEvent {
    Presence,
    Message,
}

/// What to do about a file of keys that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// Make it, and log where.
    Make,
    /// Let it be: a start would make it.
    Ignore,
    /// Fail: whoever has its keys would be locked out by new ones.
    Refuse,
}

/// All parts of a server that is about to start or to change.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) authenticator: Option<Arc<dyn Authenticator>>,
    pub(super) webhook: Option<Webhook>,
}

/// A webhook that is not started yet.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Webhook {
    url: String,
    secret: Vec<u8>,
    pub(super) events: Vec<WebhookEvent>,
}

impl Setup {
    /// The flags of the files whose content counts, beside the values of flags.
    pub(super) fn files(&self) -> Vec<&'static str> {
        let of_clients = match self.authentication {
            Authentication::TokenFile(_) => Some("token-file"),
            Authentication::Jwt(_) => Some("jwt-key-file"),
            Authentication::None | Authentication::BackEnd(_) => None,
        };
        let of_operators = matches!(self.admin_keys, AdminKeys::File(_)).then_some("admin-key-file");
        of_clients.into_iter().chain(of_operators).collect()
    }

    /// Opens all files and checks that everything fits together.
    pub(super) fn open(self, absent: Absent) -> Result<Parts, Failure> {
        let mut config = self.config;
        let authenticator = self.authentication.open()?;
        let webhook = self.webhook.map(WebhookSetup::open).transpose()?;
        // What will not start makes no file of keys.
        let before = if absent == Absent::Make { Absent::Ignore } else { absent };
        config.admin.keys = self.admin_keys.open(before)?;
        let gate = Gate::new(authenticator.clone());
        Server::check(&config, &gate).map_err(|error| Failure::Usage(error.to_string()))?;
        if absent == Absent::Make && self.admin_keys.are_absent() {
            config.admin.keys = self.admin_keys.open(absent)?;
        }
        Ok(Parts { config, authenticator, webhook })
    }
}

impl Authentication {
    /// `None` where nobody has to prove anything.
    fn open(self) -> Result<Option<Arc<dyn Authenticator>>, Failure> {
        Ok(match self {
            Self::None => None,
            Self::TokenFile(path) => Some(Arc::new(TokenFile::open(&path).map_err(failed)?)),
            Self::Jwt(options) => Some(Arc::new(Jwt::open(&options).map_err(failed)?)),
            // Nothing but the options can be wrong with it.
            Self::BackEnd(options) => {
                Some(Arc::new(BackEnd::new(options).map_err(|error| Failure::Usage(error.to_string()))?))
            }
        })
    }
}

impl AdminKeys {
    fn are_absent(&self) -> bool {
        matches!(self, Self::File(path) if !path.exists())
    }

    fn open(&self, absent: Absent) -> Result<Vec<AdminKey>, Failure> {
        let path = match self {
            Self::None => return Ok(Vec::new()),
            Self::One(secret) => return Ok(vec![AdminKey::new("flag", AdminRole::Admin, secret)]),
            Self::File(path) => path,
        };
        if self.are_absent() && absent != Absent::Make {
            return match absent {
                Absent::Refuse => {
                    Err(failed(format!("admin-key-file {} does not exist, and only a start makes it", path.display())))
                }
                // It would hold keys of which there is nothing to check.
                _ => Ok(vec![AdminKey::new("made", AdminRole::Admin, "x".repeat(32))]),
            };
        }
        let file = KeyFile::open(path).map_err(failed)?;
        if file.made {
            let place = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            info!("the keys to the HTTP API were made: they are in {}", place.display());
        }
        if let Some(warning) = file.warning {
            warn!("{warning}");
        }
        Ok(file.keys)
    }
}

impl WebhookSetup {
    fn open(self) -> Result<Webhook, Failure> {
        let secret = read_secret(&self.secret_file)
            .map_err(|error| failed(format!("webhook-secret-file {}: {error}", self.secret_file.display())))?;
        let webhook = Webhook { url: self.url, secret, events: self.events };
        webhook.options().validate().map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(webhook)
    }
}

impl Webhook {
    /// What it is started with.
    pub(super) fn options(&self) -> WebhookOptions {
        WebhookOptions::new(&self.url, self.secret.clone())
    }
}

/// The bytes of a file, but for white space at its end, such as the newline that editors leave there.
fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    let mut secret = Vec::new();
    File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_end(&mut secret)?;
    if secret.len() as u64 > MAX_SECRET_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {MAX_SECRET_BYTES} bytes")));
    }
    let end = secret.trim_ascii_end().len();
    secret.truncate(end);
    Ok(secret)
}

fn failed(why: impl Display) -> Failure {
    Failure::Run(why.to_string())
}
