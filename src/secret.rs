//! Secrets: how they are made, how they are compared, and how bytes are written for people; and what stands for texts
//! that are too long, or too secret, to be kept.

use std::io;

/// Two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// So many random bytes, in digits.
///
/// # Errors
/// When the system has no random numbers.
pub(crate) fn random<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("the system has no random numbers"))?;
    Ok(hex(&bytes))
}

/// The SHA-256 of a secret. Two of them are compared in a time that does not tell where they differ, nor how long the
/// secrets are.
#[cfg(any(feature = "admin", feature = "auth"))]
pub(crate) struct Digest(pub(crate) [u8; Self::BYTES]);

#[cfg(any(feature = "admin", feature = "auth"))]
impl Digest {
    pub(crate) const BYTES: usize = aws_lc_rs::digest::SHA256_OUTPUT_LEN;

    pub(crate) fn of(secret: &str) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes()).as_ref());
        Self(bytes)
    }
}

#[cfg(any(feature = "admin", feature = "auth"))]
impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// The SHA-256 of a list; no two lists have the same, as far as anybody knows.
#[cfg(any(feature = "admin", feature = "back-end"))]
pub(crate) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; aws_lc_rs::digest::SHA256_OUTPUT_LEN] {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        hash.update(&part.len().to_be_bytes());
        hash.update(part);
    }
    let mut fingerprint = [0; aws_lc_rs::digest::SHA256_OUTPUT_LEN];
    fingerprint.copy_from_slice(hash.finish().as_ref());
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_digits() {
        assert_eq!(hex(&[]), "");
        assert_eq!(hex(&[0x00, 0x0f, 0xf0, 0x9a, 0xff]), "000ff09aff");
    }

    #[test]
    fn random_digits_do_not_repeat() {
        let [one, two] = [random::<32>(), random::<32>()].map(Result::unwrap);
        assert!(one != two && one.len() == 64 && one.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
}
