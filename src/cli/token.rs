//! `heartwire token`: makes a token for an account, of the kind that the server accepts.

use super::Failure;
use super::values::{Time, Words, one_of, word_for};
use clap::Args;
use heartwire::authenticators::{Jwt, JwtAlgorithm, JwtOptions, SetUpError, TokenFile};
use heartwire::{Account, Room};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// The words for the algorithms of JSON Web Tokens.
pub(super) const JWT_ALGORITHMS: Words<JwtAlgorithm> = &[
    ("HS256", JwtAlgorithm::Hs256),
    ("RS256", JwtAlgorithm::Rs256),
    ("ES256", JwtAlgorithm::Es256),
    ("EdDSA", JwtAlgorithm::EdDsa),
];

/// Where tokens are kept unless something else is said.
pub(super) const TOKEN_FILE: &str = "heartwire.tokens";

const HOUR: Time = Time(Duration::from_secs(3600));

/// The flags of `heartwire token`.
#[derive(Args)]
pub(super) struct Flags {
    /// The account that the token is for
    #[arg(long = "for", value_name = "ACCOUNT")]
    account: Account,

    /// The file of tokens to which a new one is added
    #[arg(long, env = "HEARTWIRE_TOKEN_FILE", value_name = "PATH", default_value = TOKEN_FILE)]
    #[arg(conflicts_with = "jwt_key_file")]
    token_file: PathBuf,

    /// Sign a JSON Web Token with the secret or private key in this file instead
    #[arg(long, env = "HEARTWIRE_JWT_KEY_FILE", value_name = "PATH")]
    jwt_key_file: Option<PathBuf>,

    /// The algorithm of the key
    #[arg(long, env = "HEARTWIRE_JWT_ALGORITHM", value_name = "HS256|RS256|ES256|EdDSA")]
    #[arg(value_parser = one_of(JWT_ALGORITHMS), default_value = word_for(JWT_ALGORITHMS, &JwtAlgorithm::default()))]
    #[arg(requires = "jwt_key_file")]
    jwt_algorithm: JwtAlgorithm,

    /// Whom the JSON Web Token is meant for (aud)
    #[arg(long, env = "HEARTWIRE_JWT_AUDIENCE", value_name = "NAME", requires = "jwt_key_file")]
    jwt_audience: Option<String>,

    /// Whom the JSON Web Token is from (iss)
    #[arg(long, env = "HEARTWIRE_JWT_ISSUER", value_name = "NAME", requires = "jwt_key_file")]
    jwt_issuer: Option<String>,

    /// How long the JSON Web Token is valid
    #[arg(long, value_name = "TIME", default_value_t = HOUR, requires = "jwt_key_file")]
    expires_in: Time,

    /// A room that the JSON Web Token puts its connections into; repeatable
    #[arg(long, value_name = "ROOM", value_delimiter = ',', requires = "jwt_key_file")]
    room: Vec<Room>,
}

impl Flags {
    fn jwt_options(&self) -> Option<JwtOptions> {
        let mut options = JwtOptions::new(self.jwt_algorithm, self.jwt_key_file.as_ref()?);
        options.audience.clone_from(&self.jwt_audience);
        options.issuer.clone_from(&self.jwt_issuer);
        Some(options)
    }
}

/// Prints the token, and nothing else, on stdout; what becomes of it is said on stderr.
pub(super) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let failed = |error: SetUpError| Failure::Run(error.to_string());
    let (token, note) = if let Some(options) = flags.jwt_options() {
        let Time(lifetime) = flags.expires_in;
        let token = Jwt::issue(&options, &flags.account, &flags.room, lifetime, SystemTime::now()).map_err(failed)?;
        (token, format!("valid for {}", flags.expires_in))
    } else {
        let token = TokenFile::add(&flags.token_file, &flags.account).map_err(failed)?;
        let file = flags.token_file.display();
        (token, format!("its hash was added to {file}; a running server learns of it by SIGHUP"))
    };
    // Nobody is left to tell when stderr takes nothing.
    let _ = writeln!(io::stderr(), "{}", super::log::OneLine(note));
    writeln!(io::stdout(), "{token}").map_err(|error| Failure::Run(format!("the output: {error}")))?;
    Ok(ExitCode::SUCCESS)
}
