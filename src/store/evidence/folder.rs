//! Encrypted photos as files in a folder: whole or absent, whatever happens to the process, the disk or the power.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DRAFTS, EvidenceError, EvidenceId, Stored, relative_path};

/// The folder. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) path: Arc<Path>,
    /// whether other processes write here as well
    is_shared: bool,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, EvidenceError> {
        make_folder(path)?;
        make_folder(&path.join(DRAFTS))?;
        Ok(Self { path: path.into(), is_shared: false })
    }

    pub(super) fn open_shared(path: &Path) -> Result<Self, EvidenceError> {
        Ok(Self { is_shared: true, ..Self::open(path)? })
    }

    pub(super) fn remove_drafts(&self) -> Result<(), EvidenceError> {
        if self.is_shared {
            return Ok(());
        }
        let drafts = self.path.join(DRAFTS);
        let remove = || fs::read_dir(&drafts)?.try_for_each(|entry| fs::remove_file(entry?.path()));
        remove().map_err(file_error(&drafts))
    }

    /// `draft_number` tells drafts of the same name apart.
    pub(super) async fn put(&self, id: EvidenceId, draft_number: u64, sealed: Vec<u8>) -> Result<(), EvidenceError> {
        let folder = self.clone();
        blocking(move || {
            let draft = folder.path.join(DRAFTS).join(format!("{id}-{draft_number:016x}"));
            folder.write(&id, &draft, &sealed).inspect_err(|_| {
                // The draft may not even exist; what remains of it is removed at the next start.
                let _ = fs::remove_file(&draft);
            })
        })
        .await
    }

    pub(super) async fn get(&self, id: EvidenceId) -> Result<Vec<u8>, EvidenceError> {
        let path = self.path_of(&id);
        blocking(move || {
            fs::read(&path).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => EvidenceError::Missing(id),
                _ => EvidenceError::File { path, source },
            })
        })
        .await
    }

    pub(super) async fn delete(&self, id: &EvidenceId) -> Result<(), EvidenceError> {
        let path = self.path_of(id);
        blocking(move || match fs::remove_file(&path) {
            Ok(()) => sync_parent(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(file_error(&path)(error)),
        })
        .await
    }

    /// What lies here; what cannot be read is left out, and then missed by whoever looks for it.
    pub(super) fn stored(&self) -> impl Iterator<Item = Stored> + use<> {
        let folders = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let folders = folders.filter(|entry| entry.file_name() != DRAFTS);
        folders.flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten().flatten()).map(|file| Stored {
            name: file.file_name().to_string_lossy().into_owned(),
            place: file.path().display().to_string(),
            written_at_ms: file.metadata().map_or(0, |about| about.mtime().saturating_mul(1_000)),
        })
    }

    pub(super) fn path_of(&self, id: &EvidenceId) -> PathBuf {
        self.path.join(relative_path(id))
    }

    fn write(&self, id: &EvidenceId, draft: &Path, sealed: &[u8]) -> Result<(), EvidenceError> {
        let path = self.path_of(id);
        if path.exists() {
            return Err(EvidenceError::Exists(id.clone()));
        }
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        write_synced(draft, sealed).map_err(file_error(draft))?;
        fs::rename(draft, &path).map_err(file_error(&path))?;
        sync_parent(&path)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EvidenceError> + Send + 'static,
) -> Result<T, EvidenceError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| EvidenceError::Stopped)?
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> EvidenceError {
    let path = path.to_owned();
    move |source| EvidenceError::File { path, source }
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
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(file_error(folder))?;
    sync_parent(folder)
}

fn sync_parent(path: &Path) -> Result<(), EvidenceError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(file_error(parent))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn fixture() -> (tempfile::TempDir, Folder, EvidenceId) {
        let folder = tempfile::tempdir().unwrap();
        let evidence = Folder::open(&folder.path().join("evidence")).unwrap();
        (folder, evidence, EvidenceId::parse("photo-1").unwrap())
    }

    fn drafts(folder: &Folder) -> usize {
        fs::read_dir(folder.path.join(DRAFTS)).unwrap().count()
    }

    #[tokio::test]
    async fn a_file_is_the_owners_alone_and_leaves_no_draft() {
        let (_folder, evidence, id) = fixture();
        evidence.put(id.clone(), 1, b"sealed".to_vec()).await.unwrap();
        assert_eq!(fs::metadata(evidence.path_of(&id)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(drafts(&evidence), 0);
    }

    #[tokio::test]
    async fn a_failed_write_leaves_nothing_under_the_name() {
        let (_folder, evidence, id) = fixture();
        // A file where the folder should be fails for root as well, as a full disk would.
        fs::write(evidence.path_of(&id).parent().unwrap(), b"in the way").unwrap();
        let refused = evidence.put(id, 1, b"sealed".to_vec()).await;
        assert!(matches!(refused, Err(EvidenceError::File { .. })));
        assert_eq!(drafts(&evidence), 0);
    }

    #[tokio::test]
    async fn drafts_of_a_crash_go_at_the_next_start() {
        let (_folder, evidence, _) = fixture();
        fs::write(evidence.path.join(DRAFTS).join("photo-1-00"), b"half").unwrap();
        evidence.remove_drafts().unwrap();
        assert_eq!(drafts(&evidence), 0);
    }
}
