//! The signature of a request: HMAC-SHA256 over its time and its body.

use crate::secret::hex;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

/// Signs with one secret.
pub(super) struct Signer(Key);

impl Signer {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, secret))
    }

    /// The value of `Heartwire-Signature` for a body that is sent at `timestamp`, in seconds since 1970.
    pub(super) fn sign(&self, timestamp: u64, body: &str) -> String {
        let mut signed = Context::with_key(&self.0);
        signed.update(format!("{timestamp}.").as_bytes());
        signed.update(body.as_bytes());
        format!("v1={}", hex(signed.sign().as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever writes a receiver tries it with that example.
    #[test]
    fn the_example_in_the_documentation_is_true() {
        let text = include_str!("../../docs/webhook.md");
        let line = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} is not in docs/webhook.md")).trim()
        };
        let (secret, timestamp, body) = (line("secret:"), line("Heartwire-Timestamp:"), line("body:"));
        let signature = Signer::new(secret.as_bytes()).sign(timestamp.parse().unwrap(), body);
        assert_eq!(signature, line("Heartwire-Signature:"));
    }
}
