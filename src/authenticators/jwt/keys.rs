//! The keys for tokens, read from their file and checked before anything depends on them.

use super::{JwtAlgorithm, JwtOptions};
use crate::authenticators::{SetUpError, read_file};
use aws_lc_rs::rsa::PublicKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey, RsaKeyPair, RsaPublicKeyComponents,
};
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{DecodingKey, EncodingKey};
use std::ops::RangeInclusive;

const MAX_FILE_BYTES: u64 = 64 << 10;

/// As long as the hash (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;
/// At least what RFC 7518 §3.3 says, at most what the library verifies.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// What a file holds.
pub(super) struct Keys {
    pub(super) verifying: DecodingKey,
    /// None in a file with a public key.
    pub(super) signing: Option<EncodingKey>,
}

impl Keys {
    /// Reads the file of the options.
    ///
    /// # Errors
    /// When it cannot be read, or holds no key that is strong enough for their algorithm.
    pub(super) fn read(options: &JwtOptions) -> Result<Self, SetUpError> {
        // Without this the library would panic where another crate of the same program has it use another cryptography
        // besides; whoever has chosen one already keeps it.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        let file = read_file(&options.key_file, MAX_FILE_BYTES)?;
        let (keys, needed) = match options.algorithm {
            JwtAlgorithm::Hs256 => (of_secret(&file), "a secret of at least 32 bytes, and no PEM"),
            JwtAlgorithm::Rs256 => (of_rsa(&file), "an RSA key of 2048 to 8192 bits, in PEM without a password"),
            JwtAlgorithm::Es256 => (of_ec(&file), "an EC key on P-256, in PEM without a password (PKCS#8 if private)"),
            JwtAlgorithm::EdDsa => (of_ed(&file), "an Ed25519 key, in PEM without a password"),
        };
        keys.ok_or_else(|| {
            SetUpError::new(format!("{}: {} needs {needed}", options.key_file.display(), options.algorithm))
        })
    }
}

fn of_secret(file: &[u8]) -> Option<Keys> {
    let secret = file.strip_suffix(b"\r\n").or_else(|| file.strip_suffix(b"\n")).unwrap_or(file);
    // A key that everybody may know must not become the secret that nobody may.
    let is_pem = secret.starts_with(b"-----BEGIN");
    (secret.len() >= MIN_SECRET_BYTES && !is_pem)
        .then(|| Keys { verifying: DecodingKey::from_secret(secret), signing: Some(EncodingKey::from_secret(secret)) })
}

fn of_rsa(pem: &[u8]) -> Option<Keys> {
    let (public, signing) = if is_private(pem) {
        let key = EncodingKey::from_rsa_pem(pem).ok()?;
        (RsaKeyPair::from_der(key.as_bytes()).ok()?.public_key().clone(), Some(key))
    } else {
        let key = DecodingKey::from_rsa_pem(pem).ok()?;
        (PublicKey::from_der(key.try_get_as_bytes().ok()?).ok()?, None)
    };
    // Too small a key is parsed without complaint, and then verifies nothing.
    let modulus = RsaPublicKeyComponents::<Vec<u8>>::from(&public).n;
    let bits = 8 * modulus.len() - modulus.first()?.leading_zeros() as usize;
    RSA_BITS.contains(&bits).then(|| Keys { verifying: DecodingKey::from_rsa_der(public.as_ref()), signing })
}

fn of_ec(pem: &[u8]) -> Option<Keys> {
    if is_private(pem) {
        let signing = EncodingKey::from_ec_pem(pem).ok()?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, signing.as_bytes()).ok()?;
        let verifying = DecodingKey::from_ec_der(pair.public_key().as_ref());
        return Some(Keys { verifying, signing: Some(signing) });
    }
    let verifying = DecodingKey::from_ec_pem(pem).ok()?;
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, verifying.try_get_as_bytes().ok()?).ok()?;
    Some(Keys { verifying, signing: None })
}

fn of_ed(pem: &[u8]) -> Option<Keys> {
    if is_private(pem) {
        let signing = EncodingKey::from_ed_pem(pem).ok()?;
        let pair = Ed25519KeyPair::from_pkcs8(signing.as_bytes()).ok()?;
        let verifying = DecodingKey::from_ed_der(pair.public_key().as_ref());
        return Some(Keys { verifying, signing: Some(signing) });
    }
    let verifying = DecodingKey::from_ed_pem(pem).ok()?;
    ParsedPublicKey::new(&ED25519, verifying.try_get_as_bytes().ok()?).ok()?;
    Some(Keys { verifying, signing: None })
}

fn is_private(pem: &[u8]) -> bool {
    String::from_utf8_lossy(pem).contains("PRIVATE KEY-----")
}
