//! What API keys and learner tokens have in common: a prefix that says what it is, 32 random bytes, and a digest.
//!
//! The bytes are random, so a plain SHA-256 is enough to keep: there is nothing to guess. Who may do what with a
//! secret is not decided here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;

use crate::clock::Entropy;

/// SHA-256 of a secret: all that is ever stored of it.
pub type SecretHash = [u8; 32];

/// A new secret that starts with `prefix`.
pub(super) fn generate(prefix: &str, entropy: &Entropy) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(entropy.bytes::<32>()))
}

/// Whether `text` has the shape of a secret with this prefix; what has not need not be looked up.
pub(super) fn has_shape(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|body| URL_SAFE_NO_PAD.decode(body).is_ok_and(|bytes| bytes.len() == 32))
}

/// The digest under which a secret is stored.
pub(super) fn hash(text: &str) -> SecretHash {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// Defines a secret of its own type: a prefix that says what it is, and random text behind it. It is given out once and
/// never stored; `Debug` does not show it.
macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident, $prefix:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// A new random one.
            pub fn generate(entropy: &crate::clock::Entropy) -> Self {
                Self(crate::auth::secret::generate($prefix, entropy))
            }

            /// Reads one that a client showed; `None` when it cannot be one.
            pub fn parse(text: &str) -> Option<Self> {
                crate::auth::secret::has_shape($prefix, text).then(|| Self(text.to_owned()))
            }

            /// The text as its owner is given it.
            pub fn expose(&self) -> &str {
                &self.0
            }

            /// The digest under which it is stored.
            pub fn hash(&self) -> crate::auth::SecretHash {
                crate::auth::secret::hash(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}
pub(super) use secret_text;
