//! What an enrolment leaves: a face as numbers, with the digests of the photo and the model they came from.
//!
//! It is personal data. It has a byte form to be stored encrypted, by others; it is not serialisable by accident, and
//! its `Debug` shows no numbers.

use std::fmt;

use super::Digest;
use super::embed::NUMBERS;

/// First bytes of the byte form; the last one is its version.
const MAGIC: [u8; 4] = *b"IVT\x01";
const LENGTH: usize = MAGIC.len() + 32 + 32 + 4 + 4 * NUMBERS;

/// An enrolled face.
#[derive(Clone, PartialEq)]
pub struct Template {
    pub(super) numbers: [f32; NUMBERS],
    pub(super) recogniser: Digest,
    pub(super) photo: Digest,
    pub(super) side_px: f32,
}

/// Bytes that are no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Another kind of file, another version, or another length.
    #[error("this is no face template of this version")]
    Unknown,
    /// The numbers do not describe a face.
    #[error("the face template is damaged")]
    Damaged,
}

impl Template {
    /// Length of the byte form.
    pub const BYTES: usize = LENGTH;

    /// SHA-256 of the enrolment photo, as it was sent.
    pub fn photo(&self) -> Digest {
        self.photo
    }

    /// SHA-256 of the recogniser that made it. Only faces described by the same one can be compared.
    pub fn recogniser(&self) -> Digest {
        self.recogniser
    }

    /// The cosine of the two faces, −1 to 1.
    pub fn cosine(&self, other: &Self) -> f32 {
        super::embed::dot(&self.numbers, &other.numbers)
    }

    /// 584 bytes; biometric data, to be encrypted.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend(MAGIC);
        bytes.extend(self.recogniser.0);
        bytes.extend(self.photo.0);
        bytes.extend(self.side_px.to_le_bytes());
        bytes.extend(self.numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes
    }

    /// Reads what [`Template::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`TemplateError`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TemplateError> {
        let body = bytes.strip_prefix(&MAGIC).filter(|_| bytes.len() == LENGTH).ok_or(TemplateError::Unknown)?;
        let digest = |from: usize| {
            let mut digest = [0; 32];
            digest.copy_from_slice(&body[from..from + 32]);
            Digest(digest)
        };
        let number = |index: usize| {
            let at = 64 + 4 * index;
            f32::from_le_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]])
        };
        let numbers: [f32; NUMBERS] = std::array::from_fn(|index| number(index + 1));
        let found = Self { numbers, recogniser: digest(0), photo: digest(32), side_px: number(0) };
        found.is_sound().then_some(found).ok_or(TemplateError::Damaged)
    }

    fn is_sound(&self) -> bool {
        let length = super::embed::dot(&self.numbers, &self.numbers);
        (length - 1.0).abs() < 1e-3 && self.side_px.is_finite() && self.side_px > 0.0
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Template").field("photo", &self.photo).finish_non_exhaustive()
    }
}
