//! JSON Web Tokens (RFC 7519), signed by whoever holds the key: one algorithm, which is configured and never the token's
//! choice (RFC 8725 §3.1).

mod keys;

use self::keys::Keys;
use super::{
    Authenticator, LAST_MOMENT, MAX_ROOMS, MAX_TOKEN_BYTES, SetUpError, moment, of_connection, presented, rooms,
};
use crate::auth::{Identity, Refusal};
use crate::handler::Request;
use crate::protocol::message::{Account, Room};
use crate::record::ConnectionInfo;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far in the future `nbf` may be, for the clocks of two machines never agree (RFC 7519 §4.1.5). There is none for
/// `exp`: whoever wants a token to last longer writes a later one.
const NOT_BEFORE_LEEWAY: Duration = Duration::from_secs(60);

/// How tokens are signed, and what they must say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtOptions {
    /// The one algorithm that is accepted.
    pub algorithm: JwtAlgorithm,
    /// The file with the key. HS256: the secret itself, at least 32 bytes, without the line break that it may end with. The
    /// others: PEM, a public key, or a private one (PKCS#8), with which tokens can be issued too.
    pub key_file: PathBuf,
    /// What must be among the token's `aud`. Default none: then a token must not have this claim (RFC 7519 §4.1.3).
    pub audience: Option<String>,
    /// What the token's `iss` must be. Default none: then it may say anything.
    pub issuer: Option<String>,
}

impl JwtOptions {
    /// Neither audience nor issuer.
    pub fn new(algorithm: JwtAlgorithm, key_file: impl Into<PathBuf>) -> Self {
        Self { algorithm, key_file: key_file.into(), audience: None, issuer: None }
    }
}

/// An algorithm for signatures (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256: whoever can verify can sign.
    #[default]
    Hs256,
    /// RSA (PKCS#1 v1.5) with SHA-256, 2048 to 8192 bits.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl fmt::Display for JwtAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        })
    }
}

impl From<JwtAlgorithm> for Algorithm {
    fn from(algorithm: JwtAlgorithm) -> Self {
        match algorithm {
            JwtAlgorithm::Hs256 => Self::HS256,
            JwtAlgorithm::Rs256 => Self::RS256,
            JwtAlgorithm::Es256 => Self::ES256,
            JwtAlgorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// Accepts the tokens that one key has signed.
///
/// `sub` is the account and `exp` the end of the authentication; both are required. `rooms`, at most 64 names, are the
/// rooms that the connection is in from the beginning. A token has at most 8 KiB.
pub struct Jwt {
    key: DecodingKey,
    options: JwtOptions,
}

impl Jwt {
    /// Reads the key.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no key for the algorithm, or one that is too weak.
    pub fn open(options: &JwtOptions) -> Result<Self, SetUpError> {
        Ok(Self { key: Keys::read(options)?.verifying, options: options.clone() })
    }

    /// Signs a token for an account that expires after `lifetime`, at least a second. It has the audience and the issuer of
    /// the options, so that [`Jwt::open`] of the same options accepts it.
    ///
    /// # Errors
    /// When the key cannot be read or is one that cannot sign, and when the token would be one that is not accepted.
    pub fn issue(
        options: &JwtOptions,
        account: &Account,
        rooms: &[Room],
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<String, SetUpError> {
        if lifetime < Duration::from_secs(1) {
            return Err(SetUpError::new("a token must be valid for at least a second"));
        }
        if rooms.len() > MAX_ROOMS {
            return Err(SetUpError::new(format!("a token names at most {MAX_ROOMS} rooms")));
        }
        let failed = |why: &str| SetUpError::new(format!("{}: {why}", options.key_file.display()));
        let key = Keys::read(options)?.signing.ok_or_else(|| failed("this is the public key, which cannot sign"))?;
        let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = Issued {
            sub: account.as_str(),
            exp: issued.saturating_add(lifetime).as_secs().min(LAST_MOMENT as u64),
            iat: issued.as_secs(),
            aud: options.audience.as_deref(),
            iss: options.issuer.as_deref(),
            rooms: rooms.iter().map(Room::as_str).collect(),
        };
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::new(options.algorithm.into()), &claims, &key)
            .map_err(|_| failed("the key does not sign"))?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(SetUpError::new(format!("the token would be longer than {MAX_TOKEN_BYTES} bytes")));
        }
        Ok(token)
    }

    fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return refuse("the token is too long");
        }
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else {
            return refuse("the token is not a signed JSON Web Token");
        };
        let Some(Header { alg, crit, b64 }) = part(header) else {
            return refuse("the header of the token is not as it must be");
        };
        if alg != self.options.algorithm.to_string() {
            return refuse(format!("the token must be signed with {}", self.options.algorithm));
        }
        // What must be understood is not, and that includes an unencoded payload (RFC 7515 §4.1.11, RFC 7797 §6).
        if crit.is_some() || b64.is_some() {
            return refuse("the token needs an extension that this server does not have");
        }
        let message = &token.as_bytes()[..header.len() + 1 + claims.len()];
        if !crypto::verify(signature, message, &self.key, self.options.algorithm.into()).unwrap_or(false) {
            return refuse("the signature of the token is wrong");
        }
        match part(claims) {
            Some(claims) => self.judge(&claims, now),
            None => refuse("the claims of the token are not as they must be"),
        }
    }

    /// What the claims of a token that was signed as it must be are worth.
    fn judge(&self, claims: &Claims, now: SystemTime) -> Result<Identity, Refusal> {
        let expires = moment(claims.exp);
        if expires <= now {
            return refuse("the token has expired");
        }
        if claims.nbf.is_some_and(|not_before| moment(not_before) > now + NOT_BEFORE_LEEWAY) {
            return refuse("the token is not valid yet");
        }
        if !self.is_audience(claims.aud.as_ref()) {
            return refuse("the token is meant for another audience");
        }
        if self.options.issuer.is_some() && claims.iss != self.options.issuer {
            return refuse("the token is from another issuer");
        }
        let Ok(account) = Account::new(&claims.sub) else {
            return refuse("the `sub` of the token is not an account");
        };
        let Some(rooms) = rooms(&claims.rooms) else {
            return refuse(format!("the `rooms` of the token are not at most {MAX_ROOMS} names of rooms"));
        };
        let mut identity = Identity::new(account);
        identity.rooms = rooms;
        identity.expires = Some(expires);
        Ok(identity)
    }

    fn is_audience(&self, named: Option<&Audience>) -> bool {
        match (&self.options.audience, named) {
            (None, named) => named.is_none(),
            (Some(own), Some(Audience::One(named))) => named == own,
            (Some(own), Some(Audience::Several(named))) => named.contains(own),
            (Some(_), None) => false,
        }
    }
}

/// Blocks for nothing.
impl Authenticator for Jwt {
    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        self.verify(presented(request)?, SystemTime::now())
    }

    fn renew(&self, connection: &ConnectionInfo, token: &str) -> Result<Identity, Refusal> {
        of_connection(self.verify(token, SystemTime::now())?, connection)
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::unauthorized(why))
}

/// Reads what a part of a token encodes.
///
/// The library's own way to read a token takes a claim of the wrong type for one that is absent, and its header can be
/// nested so deeply that a thread's stack overflows before the signature was looked at; reading a claim set alone is what it
/// does as it should. All that is asked of it besides is the signature.
fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    jsonwebtoken::dangerous::insecure_decode_claims(format!(".{encoded}.")).ok()
}

/// The parameters that are looked at; one given twice is an error.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    b64: Option<IgnoredAny>,
}

/// The claims that are looked at; one given twice is an error (RFC 7519 §4), and so is a `null`.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Audience>,
    #[serde(default, deserialize_with = "present")]
    iss: Option<String>,
    #[serde(default)]
    rooms: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A value that, where it is given, is not `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Serialize)]
struct Issued<'a> {
    sub: &'a str,
    exp: u64,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rooms: Vec<&'a str>,
}

#[cfg(test)]
mod tests;
