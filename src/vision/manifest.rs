//! The binary's contract with its models: which files, by which digests, with which thresholds.
//!
//! The manifest is part of the binary, so that a file in the cache can never change what the engine believes about it.
//! It fetches nothing: `make models` does.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Digest;

const EMBEDDED: &str = include_str!("../../models/manifest.toml");

/// Where `make models` leaves its files, seen from the repository's root.
pub const DEFAULT_FOLDER: &str = "models/cache";

/// The parts of models/manifest.toml that matter once the files are there.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// ONNX Runtime's library.
    pub runtime: File,
    /// The models, one a role.
    pub model: Vec<Model>,
    /// Licences that lie beside the runtime.
    pub notice: Vec<File>,
}

/// One file that the cache must hold.
#[derive(Debug, Deserialize)]
pub struct File {
    /// Path inside the cache.
    pub file: PathBuf,
    /// SHA-256 of the prepared file, hexadecimal.
    pub sha256: String,
}

/// One model.
#[derive(Debug, Deserialize)]
pub struct Model {
    /// Short name, such as `sface`.
    pub name: String,
    /// `detector` or `recogniser`.
    pub role: String,
    /// Path inside the cache.
    pub file: PathBuf,
    /// SHA-256 of the prepared file, hexadecimal.
    pub sha256: String,
    /// SPDX identifier.
    pub licence: String,
    /// What its output is held against, by name; models/MODEL_CARD.md explains each.
    pub thresholds: std::collections::BTreeMap<String, f32>,
}

/// What a check was made with: enough to make it again years later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelDigests {
    /// SHA-256 of the face detector.
    pub detector: Digest,
    /// SHA-256 of the recogniser.
    pub recogniser: Digest,
    /// SHA-256 of ONNX Runtime's library.
    pub runtime: Digest,
}

/// A file of the cache is not what the manifest says.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("{}: {source}; run `make models`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It has other bytes.
    #[error("{}: SHA-256 is {found}, the manifest says {expected}; run `make models`", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: Digest,
        /// The digest it should have.
        expected: String,
    },
}

impl Manifest {
    /// The manifest this binary was built with.
    ///
    /// # Panics
    /// Never in a binary whose tests have run: the text is a constant.
    pub fn embedded() -> Self {
        toml::from_str(EMBEDDED).expect("the embedded manifest is tested")
    }

    /// The model with `role`.
    ///
    /// # Panics
    /// When there is none: a role is a word of this crate's source, not of a user's.
    pub fn model(&self, role: &str) -> &Model {
        self.model.iter().find(|model| model.role == role).expect("the manifest has a model for each role")
    }

    /// Every file the engine runs with, as (path inside the cache, SHA-256).
    pub fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        let models = self.model.iter().map(|model| (model.file.as_path(), model.sha256.as_str()));
        let others = self.notice.iter().chain([&self.runtime]).map(|file| (file.file.as_path(), file.sha256.as_str()));
        models.chain(others)
    }
}

impl Model {
    /// A threshold by its name.
    ///
    /// # Panics
    /// When the manifest lacks it; the names are words of this crate's source.
    pub fn threshold(&self, name: &str) -> f32 {
        *self.thresholds.get(name).unwrap_or_else(|| panic!("{} has no threshold `{name}`", self.name))
    }
}

/// Holds `folder/file` against its SHA-256.
///
/// # Errors
/// [`VerifyError`] when it is missing or has other bytes.
pub fn verify(folder: &Path, file: &Path, sha256: &str) -> Result<Digest, VerifyError> {
    verified(folder, file, sha256).map(|(_, digest)| digest)
}

/// Reads `folder/file` and holds it against its SHA-256.
///
/// # Errors
/// [`VerifyError`] when it is missing or has other bytes.
pub fn verified(folder: &Path, file: &Path, sha256: &str) -> Result<(Vec<u8>, Digest), VerifyError> {
    let path = folder.join(file);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(VerifyError::Missing { path, source }),
    };
    let found = Digest::of(&bytes);
    if Digest::parse(sha256) != Some(found) {
        return Err(VerifyError::Changed { path, found, expected: sha256.to_owned() });
    }
    Ok((bytes, found))
}
