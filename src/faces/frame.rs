//! What is sealed: a head in JSON, a line feed, and bytes that would only grow in it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::keys::{DataKey, KeyError};
use crate::clock::Entropy;

/// Why sealed bytes are not what they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// They were sealed with another key, or for another question.
    #[error(transparent)]
    Sealed(#[from] KeyError),
    /// They are of another invigil.
    #[error("cannot be read: {0}")]
    Unknown(String),
}

impl FrameError {
    pub(super) fn unknown(why: impl std::fmt::Display) -> Self {
        Self::Unknown(why.to_string())
    }
}

/// Which question something belongs to: what is sealed for one opens for no other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    /// the node that asks
    pub(super) node: &'a str,
    /// the number of its question
    pub(super) question: u64,
}

impl Of<'_> {
    fn context(self, kind: &str) -> String {
        format!("{kind} {} {}", self.node, self.question)
    }
}

pub(super) fn seal(
    master: &DataKey,
    entropy: &Entropy,
    kind: &str,
    of: Of<'_>,
    head: &impl Serialize,
    tail: &[u8],
) -> Vec<u8> {
    let mut plain = serde_json::to_vec(head).expect("a head is plain data");
    plain.push(b'\n');
    plain.extend_from_slice(tail);
    master.seal(entropy, &of.context(kind), &plain)
}

pub(super) fn open<H: DeserializeOwned>(
    master: &DataKey,
    kind: &str,
    of: Of<'_>,
    sealed: &[u8],
) -> Result<(H, Vec<u8>), FrameError> {
    let mut plain = master.open(&of.context(kind), sealed)?;
    let end = plain.iter().position(|byte| *byte == b'\n').ok_or_else(|| FrameError::unknown("it has no head"))?;
    let head = serde_json::from_slice(&plain[..end]).map_err(FrameError::unknown)?;
    plain.drain(..=end);
    Ok((head, plain))
}
