//! Standard Webhooks: the signature by which a receiver knows who sent a webhook, and that it is fresh and unchanged.
//!
//! Signing and verifying, and the secret as text and as the database keeps it. Nothing is sent here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;

use crate::auth::keys::{KeyError, Keys};
use crate::clock::Entropy;

/// The event's identifier, the same at every attempt.
pub const ID_HEADER: &str = "webhook-id";
/// When the attempt was signed, in s since the Unix epoch.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// Signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

const PREFIX: &str = "whsec_";
/// The standard asks for 24 to 64 bytes; SHA-256 gains nothing from more than 32.
const GENERATED_LENGTH: usize = 32;
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
/// How far a receiver's clock may be from the sender's, in s: what the standard's libraries use.
const TOLERANCE_S: i64 = 300;

/// Why a webhook was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A header is missing, or the timestamp is not a number.
    #[error("the headers of Standard Webhooks are missing or malformed")]
    Headers,
    /// It was signed more than five minutes ago, or in the future.
    #[error("signed too long ago, or in the future")]
    Timestamp,
    /// Nobody with the secret signed this.
    #[error("no signature matches")]
    Signature,
}

/// A secret that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is `whsec_` and the base64 of 24 to 64 bytes")]
pub struct SecretError;

/// What a platform and this server share. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// The headers that go with a signed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    /// `webhook-id`
    pub id: String,
    /// `webhook-timestamp`
    pub timestamp: String,
    /// `webhook-signature`
    pub signature: String,
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("WebhookSecret(…)")
    }
}

impl WebhookSecret {
    /// A new random secret.
    pub fn generate(entropy: &Entropy) -> Self {
        Self(entropy.bytes::<GENERATED_LENGTH>().to_vec())
    }

    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// [`SecretError`] when it is something else, or too short.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError)?;
        let bytes = BASE64.decode(encoded).map_err(|_| SecretError)?;
        LENGTHS.contains(&bytes.len()).then_some(Self(bytes)).ok_or(SecretError)
    }

    /// The form that the platform is given, once.
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.0))
    }

    /// The form that the database keeps (`platform.webhook_secret`).
    pub fn seal(&self, keys: &Keys, entropy: &Entropy, platform: &str) -> Vec<u8> {
        keys.master().seal(entropy, &context(platform), &self.0)
    }

    /// The reverse of [`WebhookSecret::seal`].
    ///
    /// # Errors
    /// [`KeyError::Sealed`] when it was not sealed for this platform by this installation.
    pub fn open(keys: &Keys, platform: &str, sealed: &[u8]) -> Result<Self, KeyError> {
        keys.master().open(&context(platform), sealed).map(Self)
    }

    /// Signs `body` as the event `id`, at `now_ms` since the Unix epoch.
    pub fn sign(&self, id: &str, now_ms: i64, body: &str) -> SignedHeaders {
        let timestamp = now_ms.div_euclid(1000).to_string();
        let signature = signature(&self.key(), &[id, &timestamp, body]);
        SignedHeaders { id: id.to_owned(), timestamp, signature }
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

/// What a receiver does: accepts `body` if somebody with the secret signed it within five minutes of `now_ms`.
/// `header` gives the value of a header by its lower-case name.
///
/// # Errors
/// Why it must not be trusted.
pub fn verify<'a>(
    secret: &WebhookSecret,
    header: impl Fn(&str) -> Option<&'a str>,
    body: &str,
    now_ms: i64,
) -> Result<(), VerifyError> {
    let (Some(id), Some(timestamp), Some(signatures)) =
        (header(ID_HEADER), header(TIMESTAMP_HEADER), header(SIGNATURE_HEADER))
    else {
        return Err(VerifyError::Headers);
    };
    let signed_at_s: i64 = timestamp.parse().map_err(|_| VerifyError::Headers)?;
    if now_ms.div_euclid(1000).abs_diff(signed_at_s) > TOLERANCE_S as u64 {
        return Err(VerifyError::Timestamp);
    }
    let (key, content) = (secret.key(), signed_content(&[id, timestamp, body]));
    let matches = |signature: &str| {
        let tag = signature.strip_prefix("v1,").and_then(|encoded| BASE64.decode(encoded).ok());
        tag.is_some_and(|tag| hmac::verify(&key, &content, &tag).is_ok())
    };
    signatures.split(' ').any(matches).then_some(()).ok_or(VerifyError::Signature)
}

/// `v1,` and the base64 of the HMAC-SHA-256 over `parts`, joined by full stops.
pub fn signature(key: &hmac::Key, parts: &[&str]) -> String {
    format!("v1,{}", BASE64.encode(hmac::sign(key, &signed_content(parts))))
}

fn signed_content(parts: &[&str]) -> Vec<u8> {
    parts.join(".").into_bytes()
}

fn context(platform: &str) -> String {
    format!("webhook of {platform}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_614_265_330_000;

    fn verified(secret: &WebhookSecret, signed: &SignedHeaders, body: &str, now_ms: i64) -> Result<(), VerifyError> {
        let header = |name: &str| match name {
            ID_HEADER => Some(signed.id.as_str()),
            TIMESTAMP_HEADER => Some(signed.timestamp.as_str()),
            SIGNATURE_HEADER => Some(signed.signature.as_str()),
            _ => None,
        };
        verify(secret, header, body, now_ms)
    }

    #[test]
    fn the_known_example_of_the_standard() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", NOW_MS, "{\"test\": 2432232314}");
        assert_eq!(signed.timestamp, "1614265330");
        assert_eq!(signed.signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn only_what_was_signed_lately_is_accepted() {
        let secret = WebhookSecret::generate(&Entropy::seeded(1));
        let mut signed = secret.sign("e1", NOW_MS, "{}");
        assert_eq!(verified(&secret, &signed, "{}", NOW_MS + 300_000), Ok(()));
        assert_eq!(verified(&secret, &signed, "{}", NOW_MS + 301_000), Err(VerifyError::Timestamp));
        assert_eq!(verified(&secret, &signed, "{}", NOW_MS - 301_000), Err(VerifyError::Timestamp));
        assert_eq!(verified(&secret, &signed, "{ }", NOW_MS), Err(VerifyError::Signature));
        let other = WebhookSecret::generate(&Entropy::seeded(2));
        assert_eq!(verified(&other, &signed, "{}", NOW_MS), Err(VerifyError::Signature));

        signed.signature = format!("v1a,AAAA v1,AAAA {}", signed.signature);
        assert_eq!(verified(&secret, &signed, "{}", NOW_MS), Ok(()), "one of several is enough");
        signed.id = "e2".into();
        assert_eq!(verified(&secret, &signed, "{}", NOW_MS), Err(VerifyError::Signature));
        assert_eq!(verify(&secret, |_| None, "{}", NOW_MS), Err(VerifyError::Headers));
    }

    #[test]
    fn secrets_are_read_written_and_sealed() {
        let entropy = Entropy::seeded(1);
        let secret = WebhookSecret::generate(&entropy);
        assert_eq!(WebhookSecret::parse(&secret.to_text()), Ok(secret.clone()));
        for text in ["", "whsec_", "whsec_AAAA", "secret", "whsec_not base64 at all, whatever its length"] {
            assert_eq!(WebhookSecret::parse(text), Err(SecretError), "{text}");
        }
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");

        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open_or_create(folder.path(), &entropy).unwrap();
        let sealed = secret.seal(&keys, &entropy, "p1");
        assert_eq!(WebhookSecret::open(&keys, "p1", &sealed).unwrap(), secret);
        assert!(WebhookSecret::open(&keys, "p2", &sealed).is_err());
    }
}
