//! The secret with which a platform checks that a webhook is ours, in the format of Standard Webhooks.
//!
//! It has to be had in the clear at every delivery, so it is sealed with the master key rather than hashed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::keys::{KeyError, Keys};
use crate::clock::Entropy;

/// A platform's webhook secret. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret([u8; 32]);

impl WebhookSecret {
    /// A new random secret.
    pub fn generate(entropy: &Entropy) -> Self {
        Self(entropy.bytes())
    }

    /// The secret as the platform is given it: `whsec_` and base64.
    pub fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// The key of the HMAC.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret as the database keeps it, for this platform only.
    pub fn seal(&self, keys: &Keys, entropy: &Entropy, platform: &str) -> Vec<u8> {
        keys.master().seal(entropy, &context(platform), &self.0)
    }

    /// The reverse of [`WebhookSecret::seal`].
    ///
    /// # Errors
    /// [`KeyError::Sealed`] when it was not sealed for this platform by this installation.
    pub fn open(keys: &Keys, platform: &str, sealed: &[u8]) -> Result<Self, KeyError> {
        let bytes = keys.master().open(&context(platform), sealed)?;
        bytes.try_into().map(Self).map_err(|_| KeyError::Sealed)
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebhookSecret(…)")
    }
}

fn context(platform: &str) -> String {
    format!("webhook {platform}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_its_own_platform_only() {
        let folder = tempfile::tempdir().unwrap();
        let entropy = Entropy::seeded(1);
        let keys = Keys::open_or_create(folder.path(), &entropy).unwrap();
        let secret = WebhookSecret::generate(&entropy);
        let sealed = secret.seal(&keys, &entropy, "p1");
        assert_eq!(WebhookSecret::open(&keys, "p1", &sealed).unwrap(), secret);
        assert!(WebhookSecret::open(&keys, "p2", &sealed).is_err());
    }
}
