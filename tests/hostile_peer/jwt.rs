//! Keys that are made for a run, and the tokens that they do not open anything with.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::sign;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a server may be told to accept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    fn in_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.in_library())
    }
}

/// The keys of a server for every algorithm, and those of somebody else.
pub struct KeyRing {
    folder: PathBuf,
    own: Vec<Signing>,
    foreign: Vec<Signing>,
}

struct Signing {
    algorithm: Algorithm,
    key: EncodingKey,
    /// What the server is given, and everybody may know where it is not a secret.
    verifying: String,
}

impl KeyRing {
    /// Makes them, and the files for a server.
    pub fn make(folder: &Path) -> Self {
        let [own, foreign] = ['k', 'f'].map(|secret| Algorithm::ALL.map(|algorithm| Signing::make(algorithm, secret)));
        let ring = Self { folder: folder.to_owned(), own: own.into(), foreign: foreign.into() };
        for key in &ring.own {
            std::fs::write(ring.verifying(key.algorithm), &key.verifying).unwrap();
        }
        ring
    }

    /// The file by which a server verifies.
    pub fn verifying(&self, algorithm: Algorithm) -> PathBuf {
        self.folder.join(algorithm.to_string())
    }

    /// A token that opens the door.
    pub fn good(&self, algorithm: Algorithm, account: &str) -> String {
        let claims = object(&GOOD).replace("alice", account);
        self.own(algorithm).sign(&format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#), &claims)
    }

    /// Tokens none of which must, and what is wrong with each.
    pub fn bad(&self, algorithm: Algorithm) -> Vec<(String, String)> {
        let own = self.own(algorithm);
        let header = format!(r#"{{"alg":"{algorithm}"}}"#);
        let claims = bad_claims().into_iter().map(|claims| (claims.clone(), own.sign(&header, &claims)));
        let headers = bad_headers(algorithm);
        let headers = headers.into_iter().map(|header| (header.clone(), own.sign(&header, &object(&GOOD))));
        claims.chain(headers).chain(self.forged(algorithm)).chain(mutilated(&self.good(algorithm, "alice"))).collect()
    }

    fn own(&self, algorithm: Algorithm) -> &Signing {
        self.own.iter().find(|key| key.algorithm == algorithm).unwrap()
    }

    /// Signed with what is no secret, with somebody else's key, or not at all.
    fn forged(&self, algorithm: Algorithm) -> Vec<(String, String)> {
        let mut forged = Vec::new();
        let headers = [
            "",
            r#","kid":"../../../../../../dev/null""#,
            r#","kid":"/dev/null""#,
            r#","kid":"' OR ''='""#,
            r#","jku":"http://127.0.0.1:1/""#,
            r#","jwk":{"kty":"oct","k":"AAAA"}"#,
        ];
        for more in headers {
            let header = format!(r#"{{"alg":"{algorithm}"{more}}}"#);
            let foreign = self.foreign.iter().find(|key| key.algorithm == algorithm).unwrap();
            forged.push((format!("another key, {header}"), foreign.sign(&header, &object(&GOOD))));
            let known = self.own.iter().filter(|key| key.algorithm != Algorithm::Hs256).map(|key| &*key.verifying);
            for secret in known.flat_map(|pem| [pem, pem.trim()]).chain(["", "\0", "secret"]) {
                let hmac = Signing::hmac(secret);
                for alg in [algorithm, Algorithm::Hs256] {
                    let header = format!(r#"{{"alg":"{alg}"{more}}}"#);
                    forged.push((format!("{header} with the secret {secret:?}"), hmac.sign(&header, &object(&GOOD))));
                }
            }
        }
        for alg in ["none", "None", "NONE", "nOnE", &algorithm.to_string()] {
            let unsigned = unsigned(&format!(r#"{{"alg":"{alg}"}}"#), &object(&GOOD));
            forged.push((format!("{alg} without a signature"), format!("{unsigned}.")));
            forged.push((format!("{alg} with zeros"), format!("{unsigned}.{}", base64(&[0; 64], true))));
        }
        forged
    }
}

impl Signing {
    fn make(algorithm: Algorithm, secret: char) -> Self {
        let (key, verifying) = match algorithm {
            Algorithm::Hs256 => return Self::hmac(&secret.to_string().repeat(32)),
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                (EncodingKey::from_rsa_pem(pem("PRIVATE", private.as_ref()).as_bytes()), public(pair.public_key()))
            }
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                let private = pair.to_pkcs8v1().unwrap();
                (EncodingKey::from_ec_pem(pem("PRIVATE", private.as_ref()).as_bytes()), public(pair.public_key()))
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let private = pair.to_pkcs8v1().unwrap();
                (EncodingKey::from_ed_pem(pem("PRIVATE", private.as_ref()).as_bytes()), public(pair.public_key()))
            }
        };
        Self { algorithm, key: key.unwrap(), verifying }
    }

    fn hmac(secret: &str) -> Self {
        let key = EncodingKey::from_secret(secret.as_bytes());
        Self { algorithm: Algorithm::Hs256, key, verifying: secret.to_owned() }
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let message = unsigned(header, claims);
        let signature = sign(message.as_bytes(), &self.key, self.algorithm.in_library()).unwrap();
        format!("{message}.{signature}")
    }
}

/// The claims of a token that passes for some decades; each bad one differs in one of them.
const GOOD: [(&str, &str); 5] =
    [("sub", r#""alice""#), ("exp", "3000000000"), ("aud", r#""chat""#), ("iss", r#""issuer""#), ("rooms", "[]")];

fn object(claims: &[(&str, &str)]) -> String {
    let members: Vec<String> = claims.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
    format!("{{{}}}", members.join(","))
}

fn bad_claims() -> Vec<String> {
    let just_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 1;
    let just_now = just_now.to_string();
    let wrong: [(&str, &[&str]); 5] = [
        ("exp", &[r#""9""#, r#""3000000000""#, "0", "-1", &just_now, "1e400", "null", "true", "[3000000000]", "{}"]),
        ("sub", &[r#""""#, r#""a\nb""#, "5", "null", r#"["alice"]"#]),
        ("aud", &[r#""other""#, r#""Chat""#, "[]", r#"["other"]"#, "5", "null"]),
        ("iss", &[r#""other""#, r#""issuer ""#, r#"["issuer"]"#, "5", "null"]),
        ("rooms", &[r#""lobby""#, "[5]", r#"[""]"#, "null"]),
    ];
    let mut bad = Vec::new();
    for (name, values) in wrong {
        let with = |value| object(&GOOD.map(|(known, good)| (known, if known == name { value } else { good })));
        bad.extend(values.iter().copied().map(with));
        let good = GOOD.into_iter().find(|(known, _)| *known == name).unwrap();
        bad.push(object(&[&GOOD[..], &[good]].concat()));
    }
    for missing in ["sub", "exp", "aud", "iss"] {
        bad.push(object(&GOOD.into_iter().filter(|(name, _)| *name != missing).collect::<Vec<_>>()));
    }
    bad.push(object(&[&GOOD[..], &[("nbf", "2900000000")]].concat()));
    bad.extend(["", "null", "{}", "[]", "{"].map(String::from));
    bad.extend([format!("[{}]", object(&GOOD)), format!("{0}{0}", object(&GOOD))]);
    bad
}

/// Under a signature by the right key.
fn bad_headers(own: Algorithm) -> Vec<String> {
    let own = own.to_string();
    let known = ["none", "", "HS256", "HS384", "RS256", "PS256", "ES256", "EdDSA", "hs256", "rs256", "es256", "eddsa"];
    let others = known.iter().filter(|name| **name != own).map(|name| format!(r#"{{"alg":"{name}"}}"#));
    let rest = [r#""crit":["exp"]"#, r#""crit":[]"#, r#""b64":false,"crit":["b64"]"#, r#""alg":"none""#];
    let extended = rest.iter().map(|rest| format!(r#"{{"alg":"{own}",{rest}}}"#));
    let shapeless = ["{}", "[]", "null", "", "{", r#"{"typ":"JWT"}"#].map(String::from);
    others.chain(extended).chain(shapeless).collect()
}

/// What becomes of a good token on a bad way.
fn mutilated(good: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let other = if signature.starts_with('A') { "B" } else { "A" };
    [
        format!("{header}.{claims}.{other}{}", &signature[1..]),
        format!("{header}.{claims}.{}", &signature[1..]),
        format!("{header}.{claims}.{}", &signature[..signature.len() - 2]),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{header}.{signature}.{claims}"),
        format!("{claims}.{header}.{signature}"),
        format!(".{claims}.{signature}"),
        format!("{header}..{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        header.to_owned(),
        "..".to_owned(),
        good.to_lowercase(),
        "a".repeat(5_000),
    ]
    .map(|token| ("mutilated".to_owned(), token))
    .into()
}

fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", base64(header.as_bytes(), true), base64(claims.as_bytes(), true))
}

fn public(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    pem("PUBLIC", key.as_der().unwrap().as_ref())
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = base64(der, false).into_bytes();
    let lines: Vec<&str> = text.chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind} KEY-----\n{}\n-----END {kind} KEY-----\n", lines.join("\n"))
}

/// RFC 4648: §5 without padding for URLs, else §4.
fn base64(bytes: &[u8], for_url: bool) -> String {
    let last = if for_url { b"-_" } else { b"+/" };
    let alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last).collect();
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digits = (0..=group.len()).map(|n| (bits >> (18 - 6 * n)) as usize & 63);
        text.extend(digits.map(|digit| char::from(alphabet[digit])));
        text.extend(std::iter::repeat_n('=', if for_url { 0 } else { 3 - group.len() }));
    }
    text
}
