//! The client's own key: what makes a stolen token worthless.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::clock::Entropy;
use crate::gateway::wire;

/// The key pair could not be made.
#[derive(Debug, thiserror::Error)]
#[error("no key pair could be made")]
pub struct KeyPairError;

/// A P-256 key pair, made by the client at its first hello and kept for the life of the session.
#[derive(Debug)]
pub struct ClientKey(EcdsaKeyPair);

impl ClientKey {
    /// A new random key pair.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate() -> Result<Self, KeyPairError> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &Entropy::ring()).map_err(|_| KeyPairError)?;
        EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &Entropy::ring()).map(Self).map_err(|_| KeyPairError)
    }

    /// The public key as the hello carries it: base64url of the uncompressed point.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    /// The signature of a hello, base64url of `r‖s`.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn sign_hello(&self, nonce: &str, session: &str, token: &str) -> Result<String, KeyPairError> {
        let text = wire::hello_text(nonce, session, token);
        let signature = self.0.sign(&Entropy::ring(), text.as_bytes()).map_err(|_| KeyPairError)?;
        Ok(URL_SAFE_NO_PAD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_hello_verifies_with_the_public_key_and_only_as_signed() {
        let key = ClientKey::generate().unwrap();
        let point = URL_SAFE_NO_PAD.decode(key.public()).unwrap();
        assert_eq!((point.len(), point[0]), (65, 4));
        let signature = URL_SAFE_NO_PAD.decode(key.sign_hello("n", "s", "ivt_1").unwrap()).unwrap();
        assert_eq!(signature.len(), 64);
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        assert!(public.verify(b"invigil.v1\nn\ns\nivt_1", &signature).is_ok());
        assert!(public.verify(b"invigil.v1\nn\ns\nivt_2", &signature).is_err());
    }
}
