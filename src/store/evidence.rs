//! Photos as encrypted files, each sealed with its learner's key: whoever destroys the key erases the photos.
//!
//! A file is whole or absent, whatever happens to the process, the disk or the power. Which photo belongs to what is
//! recorded in the database; what is on a photo is no business of this file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest;

use crate::auth::keys::{DataKey, KeyError};
use crate::clock::Entropy;

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
    /// The file was changed, or belongs to another identifier or learner.
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
    /// The runtime stops.
    #[error("the server stops")]
    Stopped,
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

/// The folder of encrypted photos. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Evidence {
    folder: Arc<Path>,
}

impl Evidence {
    /// Opens the folder, made if it is not there, for the owner alone.
    ///
    /// # Errors
    /// [`EvidenceError::File`] when it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, EvidenceError> {
        make_folder(folder)?;
        make_folder(&folder.join(DRAFTS))?;
        Ok(Self { folder: folder.into() })
    }

    /// Removes what a crash left half-written. Call it before the first [`Evidence::put`], from the only process that
    /// writes here.
    ///
    /// # Errors
    /// [`EvidenceError::File`] when the folder cannot be read or a draft cannot be removed.
    pub fn remove_drafts(&self) -> Result<(), EvidenceError> {
        let drafts = self.folder.join(DRAFTS);
        let remove = || fs::read_dir(&drafts)?.try_for_each(|entry| fs::remove_file(entry?.path()));
        remove().map_err(|source| EvidenceError::File { path: drafts.clone(), source })
    }

    /// Keeps `bytes` under `id`, sealed with `key`; on disk when it returns.
    ///
    /// # Errors
    /// When the identifier is unfit or taken, or the file cannot be made durable; nothing is kept then.
    pub async fn put(
        &self,
        entropy: &Entropy,
        key: &DataKey,
        id: &str,
        bytes: Vec<u8>,
    ) -> Result<EvidenceId, EvidenceError> {
        let id = EvidenceId::parse(id)?;
        let (evidence, entropy, key) = (self.clone(), entropy.clone(), key.clone());
        blocking(move || {
            let sealed = key.seal(&entropy, id.as_str(), &bytes);
            let draft = evidence.folder.join(DRAFTS).join(format!("{id}-{}", hex::encode(entropy.bytes::<8>())));
            evidence.write(&id, &draft, &sealed).inspect_err(|_| {
                // The draft may not even exist; what remains of it is removed at the next start.
                let _ = fs::remove_file(&draft);
            })?;
            Ok(id)
        })
        .await
    }

    /// The photo under `id`.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or it is not what was sealed under this identifier with this key.
    pub async fn get(&self, key: &DataKey, id: &EvidenceId) -> Result<Vec<u8>, EvidenceError> {
        let (path, key, id) = (self.path(id), key.clone(), id.clone());
        blocking(move || {
            let sealed = fs::read(&path).map_err(|source| missing_or_failed(&id, &path, source))?;
            key.open(id.as_str(), &sealed).map_err(|source| EvidenceError::Sealed { id, source })
        })
        .await
    }

    /// Removes the photo under `id`; gone for good when it returns.
    ///
    /// # Errors
    /// When there is none, or it cannot be removed.
    pub async fn delete(&self, id: &EvidenceId) -> Result<(), EvidenceError> {
        let (path, id) = (self.path(id), id.clone());
        blocking(move || {
            fs::remove_file(&path).map_err(|source| missing_or_failed(&id, &path, source))?;
            sync_parent(&path)
        })
        .await
    }

    fn path(&self, id: &EvidenceId) -> PathBuf {
        self.folder.join(relative_path(id))
    }

    fn write(&self, id: &EvidenceId, draft: &Path, sealed: &[u8]) -> Result<(), EvidenceError> {
        let path = self.path(id);
        if path.exists() {
            return Err(EvidenceError::Exists(id.clone()));
        }
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        write_synced(draft, sealed).map_err(|source| EvidenceError::File { path: draft.to_owned(), source })?;
        fs::rename(draft, &path).map_err(|source| EvidenceError::File { path: path.clone(), source })?;
        sync_parent(&path)
    }
}

/// Where a photo lies in its folder. Spread over 4 096 folders by the digest of the identifier: ten million photos are
/// 2 500 files a folder.
pub fn relative_path(id: &EvidenceId) -> PathBuf {
    let digest = hex::encode(digest::digest(&digest::SHA256, id.as_str().as_bytes()));
    Path::new(&digest[..3]).join(id.as_str())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EvidenceError> + Send + 'static,
) -> Result<T, EvidenceError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| EvidenceError::Stopped)?
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A new folder is on disk only once the one above it is.
fn make_folder(folder: &Path) -> Result<(), EvidenceError> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| EvidenceError::File { path: folder.to_owned(), source })?;
    sync_parent(folder)
}

fn sync_parent(path: &Path) -> Result<(), EvidenceError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| EvidenceError::File { path: parent.to_owned(), source })
}

fn missing_or_failed(id: &EvidenceId, path: &Path, source: io::Error) -> EvidenceError {
    match source.kind() {
        io::ErrorKind::NotFound => EvidenceError::Missing(id.clone()),
        _ => EvidenceError::File { path: path.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn fixture() -> (tempfile::TempDir, Evidence, Entropy, DataKey) {
        let folder = tempfile::tempdir().unwrap();
        let evidence = Evidence::open(&folder.path().join("evidence")).unwrap();
        let entropy = Entropy::seeded(1);
        let key = DataKey::generate(&entropy);
        (folder, evidence, entropy, key)
    }

    #[tokio::test]
    async fn what_was_put_comes_back_and_its_file_is_private_and_sealed() {
        let (_folder, evidence, entropy, key) = fixture();
        let id = evidence.put(&entropy, &key, "photo-1", b"a face".to_vec()).await.unwrap();
        assert_eq!(evidence.get(&key, &id).await.unwrap(), b"a face");

        let path = evidence.path(&id);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read(&path).unwrap().windows(6).any(|window| window == b"a face"));
        assert_eq!(fs::read_dir(evidence.folder.join(DRAFTS)).unwrap().count(), 0);

        let taken = evidence.put(&entropy, &key, "photo-1", b"another".to_vec()).await;
        assert!(matches!(taken, Err(EvidenceError::Exists(_))));
        assert_eq!(evidence.get(&key, &id).await.unwrap(), b"a face");
    }

    #[tokio::test]
    async fn a_changed_exchanged_or_foreign_file_is_refused() {
        let (_folder, evidence, entropy, key) = fixture();
        let first = evidence.put(&entropy, &key, "photo-1", b"one".to_vec()).await.unwrap();
        let second = evidence.put(&entropy, &key, "photo-2", b"two".to_vec()).await.unwrap();

        let other = DataKey::generate(&entropy);
        assert!(matches!(evidence.get(&other, &first).await, Err(EvidenceError::Sealed { .. })));

        fs::copy(evidence.path(&second), evidence.path(&first)).unwrap();
        assert!(matches!(evidence.get(&key, &first).await, Err(EvidenceError::Sealed { .. })), "exchanged");

        let mut bytes = fs::read(evidence.path(&second)).unwrap();
        bytes[20] ^= 1;
        fs::write(evidence.path(&second), bytes).unwrap();
        assert!(matches!(evidence.get(&key, &second).await, Err(EvidenceError::Sealed { .. })), "changed");
    }

    #[tokio::test]
    async fn what_was_deleted_is_missing() {
        let (_folder, evidence, entropy, key) = fixture();
        let id = evidence.put(&entropy, &key, "photo-1", b"one".to_vec()).await.unwrap();
        evidence.delete(&id).await.unwrap();
        assert!(matches!(evidence.get(&key, &id).await, Err(EvidenceError::Missing(_))));
        assert!(matches!(evidence.delete(&id).await, Err(EvidenceError::Missing(_))));
    }

    #[tokio::test]
    async fn a_failed_write_leaves_nothing_under_the_name() {
        let (_folder, evidence, entropy, key) = fixture();
        let id = EvidenceId::parse("photo-1").unwrap();
        // A file where the folder should be fails for root as well, as a full disk would.
        fs::write(evidence.path(&id).parent().unwrap(), b"in the way").unwrap();
        let refused = evidence.put(&entropy, &key, "photo-1", b"one".to_vec()).await;
        assert!(matches!(refused, Err(EvidenceError::File { .. })));
        assert_eq!(fs::read_dir(evidence.folder.join(DRAFTS)).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn drafts_of_a_crash_go_at_the_next_start() {
        let (_folder, evidence, ..) = fixture();
        fs::write(evidence.folder.join(DRAFTS).join("photo-1-00"), b"half").unwrap();
        evidence.remove_drafts().unwrap();
        assert_eq!(fs::read_dir(evidence.folder.join(DRAFTS)).unwrap().count(), 0);
    }

    #[test]
    fn names_that_leave_the_folder_are_no_identifiers() {
        for text in ["", "..", "a/b", "a\\b", "a.b", "é", &"x".repeat(ID_LENGTH_LIMIT + 1)] {
            assert!(EvidenceId::parse(text).is_err(), "{text}");
        }
        assert_eq!(EvidenceId::parse("0190a-B_c").unwrap().as_str(), "0190a-B_c");
    }
}
