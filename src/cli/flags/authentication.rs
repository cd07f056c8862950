//! Who finds out whom a client is.

use super::rate_of;
use crate::cli::Failure;
use crate::cli::setup::Authentication as Chosen;
use crate::cli::token::{JWT_ALGORITHMS, TOKEN_FILE};
use crate::cli::values::{Limit, Time, Words, one_of, word_for};
use clap::Args;
use heartwire::Config;
use heartwire::authenticators::{BackEndOptions, JwtAlgorithm, JwtOptions};
use heartwire::config::Rate;
use std::ffi::OsStr;
use std::path::PathBuf;

/// The ways to authenticate clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    None,
    TokenFile,
    Jwt,
    Http,
}

const MODES: Words<Mode> =
    &[("none", Mode::None), ("token-file", Mode::TokenFile), ("jwt", Mode::Jwt), ("http", Mode::Http)];

#[derive(Args)]
#[command(next_help_heading = "Authentication")]
pub(super) struct Authentication {
    /// How clients sign in
    ///
    /// Not at all; by a token of a file; by a JSON Web Token; or by what a back end says about their request.
    #[arg(long, env = "HEARTWIRE_AUTH", value_name = "none|token-file|jwt|http")]
    #[arg(value_parser = one_of(MODES), default_value = word_for(MODES, &Mode::None))]
    auth: Mode,

    /// With auth token-file: the file of accounts and their hashed tokens
    ///
    /// heartwire token --for ACCOUNT adds one.
    #[arg(long, env = "HEARTWIRE_TOKEN_FILE", value_name = "FILE", hide_short_help = true)]
    #[arg(default_value = TOKEN_FILE)]
    token_file: PathBuf,

    /// With auth jwt: the one algorithm that a token may be signed with
    #[arg(long, env = "HEARTWIRE_JWT_ALGORITHM", value_name = "HS256|RS256|ES256|EdDSA", hide_short_help = true)]
    #[arg(value_parser = one_of(JWT_ALGORITHMS), default_value = word_for(JWT_ALGORITHMS, &JwtAlgorithm::default()))]
    jwt_algorithm: JwtAlgorithm,

    /// With auth jwt: the file of the secret (HS256) or of the public key in PEM
    #[arg(long, env = "HEARTWIRE_JWT_KEY_FILE", value_name = "FILE", hide_short_help = true)]
    jwt_key_file: Option<PathBuf>,

    /// With auth jwt: the audience that a token must name
    #[arg(long, env = "HEARTWIRE_JWT_AUDIENCE", value_name = "TEXT", hide_short_help = true)]
    jwt_audience: Option<String>,

    /// With auth jwt: the issuer that a token must name
    #[arg(long, env = "HEARTWIRE_JWT_ISSUER", value_name = "TEXT", hide_short_help = true)]
    jwt_issuer: Option<String>,

    /// With auth http: the address of the back end, which is asked with the request's headers and query
    #[arg(long, env = "HEARTWIRE_AUTH_URL", value_name = "URL", hide_short_help = true)]
    auth_url: Option<String>,

    /// With auth http: how long a question may take, waiting for its turn included
    #[arg(long, env = "HEARTWIRE_AUTH_TIMEOUT", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Time(BackEndOptions::new("").timeout))]
    auth_timeout: Time,

    /// With auth http: questions at once
    #[arg(long, env = "HEARTWIRE_AUTH_CONCURRENCY", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = BackEndOptions::new("").concurrency)]
    auth_concurrency: usize,

    /// Failures that one client address may have a second; 0 is any number
    #[arg(long, env = "HEARTWIRE_AUTH_FAILURES", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = Limit(Some(rate_of(|config| config.auth_failures).per_second)))]
    auth_failures: Limit<u32>,

    /// Failures that it may have at once
    #[arg(long, env = "HEARTWIRE_AUTH_FAILURES_BURST", value_name = "N", hide_short_help = true)]
    #[arg(default_value_t = rate_of(|config| config.auth_failures).burst)]
    auth_failures_burst: u32,
}

impl Authentication {
    pub(super) fn apply(self, config: &mut Config) -> Result<Chosen, Failure> {
        let burst = self.auth_failures_burst;
        config.auth_failures = self.auth_failures.0.map(|per_second| Rate { per_second, burst });
        match self.auth {
            Mode::None => self.refuse_leftovers().map(|()| Chosen::None),
            Mode::TokenFile => Ok(Chosen::TokenFile(self.token_file)),
            Mode::Jwt => self.jwt().map(Chosen::Jwt),
            Mode::Http => self.back_end().map(Chosen::BackEnd),
        }
    }

    /// Whoever names a key means it to be asked for: without it everybody would be let in.
    fn refuse_leftovers(&self) -> Result<(), Failure> {
        let given = [
            ("token-file", self.token_file.as_os_str() != OsStr::new(TOKEN_FILE), "token-file"),
            ("jwt-key-file", self.jwt_key_file.is_some(), "jwt"),
            ("auth-url", self.auth_url.is_some(), "http"),
        ];
        match given.into_iter().find(|(_, is_given, _)| *is_given) {
            Some((flag, _, mode)) => {
                Err(Failure::Usage(format!("{flag} has no effect while auth is none: it needs auth {mode}")))
            }
            None => Ok(()),
        }
    }

    fn jwt(self) -> Result<JwtOptions, Failure> {
        let key_file = self.jwt_key_file.ok_or_else(|| Failure::Usage("auth jwt needs a jwt-key-file".into()))?;
        let mut options = JwtOptions::new(self.jwt_algorithm, key_file);
        options.audience = self.jwt_audience;
        options.issuer = self.jwt_issuer;
        Ok(options)
    }

    fn back_end(self) -> Result<BackEndOptions, Failure> {
        let url = self.auth_url.ok_or_else(|| Failure::Usage("auth http needs an auth-url".into()))?;
        let mut options = BackEndOptions::new(&url);
        options.timeout = self.auth_timeout.0;
        options.concurrency = self.auth_concurrency;
        Ok(options)
    }
}
