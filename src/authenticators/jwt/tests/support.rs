//! Keys that were made for this run, and tokens signed with them, whatever they say.

use super::super::JwtAlgorithm;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use jsonwebtoken::{Algorithm, EncodingKey};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) const ALGORITHMS: [JwtAlgorithm; 4] =
    [JwtAlgorithm::Hs256, JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa];

/// The moment at which tokens are judged, in 2033.
pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_999_999_999)
}

/// A new folder.
pub(super) fn folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("heartwire-jwt-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    folder
}

/// The keys of one algorithm in their files; for HS256 both are the secret.
pub(super) struct Pair {
    algorithm: JwtAlgorithm,
    folder: &'static Path,
}

impl Pair {
    pub(super) fn of(algorithm: JwtAlgorithm) -> Self {
        Self { algorithm, folder: &KEYS }
    }

    /// Keys that the server does not know.
    pub(super) fn foreign(algorithm: JwtAlgorithm) -> Self {
        Self { algorithm, folder: &FOREIGN_KEYS }
    }

    pub(super) fn private(&self) -> &'static Path {
        self.file("private")
    }

    pub(super) fn public(&self) -> &'static Path {
        self.file(if self.algorithm == JwtAlgorithm::Hs256 { "private" } else { "public" })
    }

    pub(super) fn signing(&self) -> EncodingKey {
        let file = fs::read(self.private()).unwrap();
        match self.algorithm {
            JwtAlgorithm::Hs256 => EncodingKey::from_secret(&file),
            JwtAlgorithm::Rs256 => EncodingKey::from_rsa_pem(&file).unwrap(),
            JwtAlgorithm::Es256 => EncodingKey::from_ec_pem(&file).unwrap(),
            JwtAlgorithm::EdDsa => EncodingKey::from_ed_pem(&file).unwrap(),
        }
    }

    fn file(&self, half: &str) -> &'static Path {
        Box::leak(self.folder.join(format!("{}-{half}", self.algorithm)).into_boxed_path())
    }
}

static KEYS: LazyLock<PathBuf> = LazyLock::new(|| make_keys(b'k'));
static FOREIGN_KEYS: LazyLock<PathBuf> = LazyLock::new(|| make_keys(b'f'));

fn make_keys(secret: u8) -> PathBuf {
    let folder = folder();
    fs::write(folder.join("HS256-private"), [secret; 32]).unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    write_pair(&folder, "RS256", private.as_ref(), rsa.public_key());
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    write_pair(&folder, "ES256", ec.to_pkcs8v1().unwrap().as_ref(), ec.public_key());
    let ed = Ed25519KeyPair::generate().unwrap();
    write_pair(&folder, "EdDSA", ed.to_pkcs8v1().unwrap().as_ref(), ed.public_key());
    folder
}

fn write_pair(folder: &Path, name: &str, private: &[u8], public: &impl AsDer<PublicKeyX509Der<'static>>) {
    let pem = |kind: &str, der: &[u8]| {
        let lines = base64(der, false).into_bytes();
        let lines: Vec<_> = lines.chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {kind} KEY-----\n{}\n-----END {kind} KEY-----\n", lines.join("\n"))
    };
    fs::write(folder.join(format!("{name}-private")), pem("PRIVATE", private)).unwrap();
    fs::write(folder.join(format!("{name}-public")), pem("PUBLIC", public.as_der().unwrap().as_ref())).unwrap();
}

/// A public key of 1024 bits (PKCS#1): a sequence of the modulus, here not a product of primes, and 65537.
pub(super) fn small_rsa_key() -> Vec<u8> {
    [&[0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00][..], &[0xff; 128], &[0x02, 0x03, 0x01, 0x00, 0x01]].concat()
}

/// A private and a public key on another curve.
pub(super) fn p384_keys() -> [Vec<u8>; 2] {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    [pair.to_pkcs8v1().unwrap().as_ref().to_vec(), public.as_ref().to_vec()]
}

/// A public key for Ed25519 (RFC 8410 §4) that lacks a byte.
pub(super) fn short_ed_key() -> Vec<u8> {
    let head = [0x30, 0x29, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x20, 0x00];
    [&head[..], &[9; 31]].concat()
}

/// A token of this header and these claims, signed with `key` by `algorithm`.
pub(super) fn sign(header: &str, claims: impl AsRef<[u8]>, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = format!("{}.{}", base64(header.as_bytes(), true), base64(claims.as_ref(), true));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// RFC 4648: §5 without padding for URLs, else §4.
pub(super) fn base64(bytes: &[u8], for_url: bool) -> String {
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
