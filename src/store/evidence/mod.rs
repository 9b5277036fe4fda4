//! Encrypted photos, each sealed with its learner's key: whoever destroys the key erases the photos.
//!
//! They lie in a folder, or in a bucket of an S3-compatible store that several nodes share; the names below both are the
//! same. A photo is whole or absent, and never replaced. Which photo belongs to what is recorded in the database; what is
//! on a photo is no business of this module.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use ring::digest;

use crate::auth::keys::{DataKey, KeyError};
use crate::clock::Entropy;
use crate::config::Config;

mod folder;
mod s3;

use folder::Folder;
use s3::S3;

/// Longest identifier: four UUIDs.
const ID_LENGTH_LIMIT: usize = 150;
/// Where encrypted photos lie in the data folder.
pub const PHOTOS_FOLDER: &str = "photos";
/// Where files lie while they are written.
pub const DRAFTS: &str = "drafts";

/// Why a photo could not be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The identifier is empty, too long, or holds something else than ASCII letters, digits, `-` and `_`.
    #[error("not an identifier of evidence: {0:?}")]
    Id(String),
    /// There is a photo under this identifier already; it stays.
    #[error("evidence {0} exists already")]
    Exists(EvidenceId),
    /// There is no photo under this identifier.
    #[error("there is no evidence {0}")]
    Missing(EvidenceId),
    /// What is kept was changed, or belongs to another identifier or learner.
    #[error("evidence {id}: {source}")]
    Sealed {
        /// the photo
        id: EvidenceId,
        /// what the key says
        source: KeyError,
    },
    /// The file could not be written, read or removed: a full disk, say. Nothing half is left behind.
    #[error("evidence at {path}: {source}")]
    File {
        /// the file or folder
        path: PathBuf,
        /// what the system said
        source: io::Error,
    },
    /// The store of photos refused, or was not to be reached in time.
    #[error("{object}: {why}")]
    Bucket {
        /// the object, or the bucket
        object: String,
        /// what went wrong, without what the store repeats of the request
        why: String,
        /// whether the same may succeed later
        passing: bool,
    },
    /// As many photos wait for the store as may.
    #[error("too many photos are being written")]
    Busy,
    /// The settings of the bucket cannot work.
    #[error("{0}")]
    Settings(String),
    /// The runtime stops.
    #[error("the server stops")]
    Stopped,
}

impl EvidenceError {
    /// Whether the same may succeed later, without anybody mending anything here.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Bucket { passing, .. } => *passing,
            Self::Busy | Self::Stopped => true,
            Self::Id(_)
            | Self::Exists(_)
            | Self::Missing(_)
            | Self::Sealed { .. }
            | Self::File { .. }
            | Self::Settings(_) => false,
        }
    }
}

/// Names one encrypted photo; what the database keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EvidenceId(String);

impl EvidenceId {
    /// The identifier with this text, if it is one.
    ///
    /// # Errors
    /// [`EvidenceError::Id`] when a file could not safely bear the name.
    pub fn parse(text: &str) -> Result<Self, EvidenceError> {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > ID_LENGTH_LIMIT || !text.bytes().all(safe) {
            return Err(EvidenceError::Id(text.chars().take(ID_LENGTH_LIMIT).collect()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for EvidenceId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Something that lies where photos are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// the identifier, if it is a photo
    pub name: String,
    /// where it is, for people
    pub place: String,
    /// when it was written, ms since the Unix epoch, by the clock of whoever keeps it
    pub written_at_ms: i64,
}

/// Where encrypted photos are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Evidence(Engine);

#[derive(Debug, Clone)]
enum Engine {
    Folder(Folder),
    S3(S3),
}

impl Evidence {
    /// As configured: the bucket, or the folder in the data folder. Nothing is asked of the bucket yet.
    ///
    /// # Errors
    /// When the folder cannot be made, or the settings of the bucket cannot work.
    pub fn configured(config: &Config) -> Result<Self, EvidenceError> {
        if let Some(bucket) = config.evidence.bucket() {
            return Ok(Self(Engine::S3(S3::new(&config.evidence, bucket)?)));
        }
        match config.evidence.shared_folder() {
            Some(folder) => Folder::open_shared(&folder).map(|folder| Self(Engine::Folder(folder))),
            None => Self::open(&config.data_folder.join(PHOTOS_FOLDER)),
        }
    }

    /// Opens the folder, made if it is not there, for the owner alone.
    ///
    /// # Errors
    /// [`EvidenceError::File`] when it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, EvidenceError> {
        Folder::open(folder).map(|folder| Self(Engine::Folder(folder)))
    }

    /// Removes what a crash left half-written. Call it before the first [`Evidence::put`], from the only process that
    /// writes here. A bucket has nothing half; in a folder that several nodes see, it may be what another is writing, and
    /// stays.
    ///
    /// # Errors
    /// [`EvidenceError::File`] when the folder cannot be read or a draft cannot be removed.
    pub fn remove_drafts(&self) -> Result<(), EvidenceError> {
        match &self.0 {
            Engine::Folder(folder) => folder.remove_drafts(),
            Engine::S3(_) => Ok(()),
        }
    }

    /// Whether photos can be kept here: that the store knows us, takes what is sent, and replaces nothing. A folder has
    /// shown it when it was opened. In a bucket a small object remains of this.
    ///
    /// # Errors
    /// Why not; [`EvidenceError::is_passing`] tells a store that is away from one that will never do.
    pub async fn check(&self) -> Result<(), EvidenceError> {
        match &self.0 {
            Engine::Folder(_) => Ok(()),
            Engine::S3(s3) => s3.check().await,
        }
    }

    /// Whether photos can be read here, for whoever keeps none: that the store knows us and has the bucket.
    ///
    /// # Errors
    /// As for [`Evidence::check`].
    pub async fn check_reading(&self) -> Result<(), EvidenceError> {
        match &self.0 {
            Engine::Folder(_) => Ok(()),
            Engine::S3(s3) => s3.check_reading().await,
        }
    }

    /// The bucket, if it is no folder: `s3://BUCKET/PREFIX`.
    pub fn bucket(&self) -> Option<&str> {
        match &self.0 {
            Engine::Folder(_) => None,
            Engine::S3(s3) => Some(s3.place()),
        }
    }

    /// Keeps `bytes` under `id`, sealed with `key`; durable when it returns.
    ///
    /// # Errors
    /// When the identifier is unfit or taken, or the photo cannot be made durable. A folder has kept nothing then; a
    /// bucket may have, if its answer was lost.
    pub async fn put(
        &self,
        entropy: &Entropy,
        key: &DataKey,
        id: &str,
        bytes: Vec<u8>,
    ) -> Result<EvidenceId, EvidenceError> {
        let id = EvidenceId::parse(id)?;
        let sealed = key.seal(entropy, id.as_str(), &bytes);
        match &self.0 {
            Engine::Folder(folder) => {
                folder.put(id.clone(), u64::from_be_bytes(entropy.bytes()), sealed).await?;
            }
            Engine::S3(s3) => s3.put(&id, sealed).await?,
        }
        Ok(id)
    }

    /// Keeps a photo that was sealed before under the same `id`; durable when it returns. What is there and is the same is
    /// no error in a bucket.
    ///
    /// # Errors
    /// As [`Evidence::put`].
    pub async fn put_sealed(&self, id: &EvidenceId, sealed: Vec<u8>) -> Result<(), EvidenceError> {
        match &self.0 {
            Engine::Folder(folder) => folder.put(id.clone(), 0, sealed).await,
            Engine::S3(s3) => s3.put(id, sealed).await,
        }
    }

    /// What is kept under `id`, as it was sealed.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn get_sealed(&self, id: &EvidenceId) -> Result<Vec<u8>, EvidenceError> {
        match &self.0 {
            Engine::Folder(folder) => folder.get(id.clone()).await,
            Engine::S3(s3) => s3.get(id).await,
        }
    }

    /// The photo under `id`.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or it is not what was sealed under this identifier with this key.
    pub async fn get(&self, key: &DataKey, id: &EvidenceId) -> Result<Vec<u8>, EvidenceError> {
        let sealed = self.get_sealed(id).await?;
        key.open(id.as_str(), &sealed).map_err(|source| EvidenceError::Sealed { id: id.clone(), source })
    }

    /// Whether there is something under `id`.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn has(&self, id: &EvidenceId) -> Result<bool, EvidenceError> {
        match &self.0 {
            Engine::Folder(folder) => Ok(folder.path_of(id).is_file()),
            Engine::S3(s3) => s3.has(id).await,
        }
    }

    /// Removes the photo under `id`; gone for good when it returns, as is one that was not there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn delete(&self, id: &EvidenceId) -> Result<(), EvidenceError> {
        match &self.0 {
            Engine::Folder(folder) => folder.delete(id).await,
            Engine::S3(s3) => s3.delete(id).await,
        }
    }

    /// Everything that lies here, in no order. Reads a folder on the caller's thread.
    pub fn stored(&self) -> BoxStream<'_, Result<Stored, EvidenceError>> {
        match &self.0 {
            Engine::Folder(folder) => stream::iter(folder.stored().map(Ok)).boxed(),
            Engine::S3(s3) => s3.stored(),
        }
    }
}

/// Where a photo lies below its folder or prefix. Spread over 4 096 by the digest of the identifier: ten million photos
/// are 2 500 files a folder, and a store that divides its names by their beginning can spread the load.
pub fn relative_path(id: &EvidenceId) -> PathBuf {
    let digest = hex::encode(digest::digest(&digest::SHA256, id.as_str().as_bytes()));
    Path::new(&digest[..3]).join(id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_no_identifiers() {
        for text in ["", "..", "a/b", "a\\b", "a.b", "é", &"x".repeat(ID_LENGTH_LIMIT + 1)] {
            assert!(EvidenceId::parse(text).is_err(), "{text}");
        }
        assert_eq!(EvidenceId::parse("0190a-B_c").unwrap().as_str(), "0190a-B_c");
    }
}
