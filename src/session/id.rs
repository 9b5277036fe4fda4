//! Names that a session must remember, in bounded space.

use serde::{Deserialize, Serialize};

/// Longest name that is remembered as it is; the engine's own ids are shorter.
const MAX_PLAIN_BYTES: usize = 64;

/// A name, or the digest of a long one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(Box<str>);

impl Id {
    /// Remembers `name`.
    pub fn of(name: &str) -> Self {
        if name.len() <= MAX_PLAIN_BYTES {
            return Self(name.into());
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
        // Longer than a plain name can be, so that no name is taken for another's digest.
        Self(format!("sha256:{}", hex::encode(digest)).into())
    }

    /// Whether this is what `name` is remembered as.
    pub fn is(&self, name: &str) -> bool {
        if name.len() <= MAX_PLAIN_BYTES { &*self.0 == name } else { *self == Self::of(name) }
    }

    /// The name, or what stands for a long one.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_take_no_more_room_and_stay_apart() {
        let long = "x".repeat(1_000_000);
        assert_eq!(Id::of(&long).as_str().len(), 71);
        assert!(Id::of(&long).is(&long));
        assert!(!Id::of(&long).is(&long[1..]));
        assert!(Id::of("c1").is("c1") && !Id::of("c1").is("c2"));
    }
}
