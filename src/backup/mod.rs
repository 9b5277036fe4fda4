//! Backups of a data folder: made while the server runs, checked, and restored without reviving anybody forgotten.
//!
//! A backup is a folder: a copy of the database in one consistent state, the encrypted photos that its rows refer to, the
//! tombstones of forgotten learners, and a list of all files with their digests. Photos never change once they are there,
//! so copying them after the database is enough for every row to have its file; photos in a bucket stay there, and the
//! backup says in which. The keys are not part of it unless asked for: with them, whoever has the backup can read it.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::store::DATABASE_FILE;
use crate::store::evidence::{EvidenceId, PHOTOS_FOLDER, relative_path};
use crate::store::forgetting::{self, ForgetError, TOMBSTONES_FILE, Tombstone, append_tombstones, read_tombstones};
use crate::store::inspect::{Counts, Inspection};
use crate::store::retention::delete_offline;
use crate::store::{StoreError, sound_log};

mod restore;
mod verify;

pub use restore::{Restored, restore};
pub use verify::{Verified, verify};

/// What a backup says about itself, in its folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The list of files, one object a line.
const LIST_FILE: &str = "files.jsonl";
/// The files without which nothing that is sealed can be opened, and the operator's key.
pub const KEY_FILES: [&str; 3] = ["master.key", "identity.pepper", "operator.key"];
/// The format of backups that this binary writes and reads.
const FORMAT: u32 = 1;

/// Why a backup could not be made, checked or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// the file or folder
        path: PathBuf,
        /// what the system said
        source: io::Error,
    },
    /// Something is in the way, or is not there.
    #[error("{}: {why}", path.display())]
    Place {
        /// the file or folder
        path: PathBuf,
        /// what is wrong with it
        why: String,
    },
    /// The database could not be read or copied.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody could not be forgotten.
    #[error(transparent)]
    Forget(#[from] ForgetError),
    /// The backup is damaged: nothing was restored from it.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
}

impl BackupError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    fn place(path: &Path, why: impl Into<String>) -> Self {
        Self::Place { path: path.to_owned(), why: why.into() }
    }
}

/// What a backup says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// the format of the backup
    pub format: u32,
    /// the version of invigil that made it
    pub invigil: String,
    /// steps that the database's schema has taken
    pub schema: usize,
    /// when it was begun, ms since the Unix epoch
    pub created_at: i64,
    /// whether the keys are in it
    pub with_keys: bool,
    /// how much is in the database
    pub counts: Counts,
    /// files, besides this one and their list
    pub files: u64,
    /// bytes of those files
    pub bytes: u64,
    /// SHA-256 hex of the list of files
    pub list_sha256: String,
    /// photos that the database refers to and that were not in the data folder
    pub missing_photos: Vec<String>,
    /// the bucket that keeps the photos, if they are not in the data folder, and so not in the backup
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photos_bucket: Option<String>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// from the backup's folder, with slashes
    path: String,
    bytes: u64,
    /// SHA-256 hex
    sha256: String,
}

/// Makes a backup of the data folder `data` as the new folder `to`, at `now_ms`. A server may be using the data folder.
/// Photos are copied unless a bucket keeps them.
///
/// The folder appears under its name only once all of it is on disk.
///
/// # Errors
/// When `to` exists, or something cannot be read or written. What was begun is removed.
pub fn create(
    data: &Path,
    to: &Path,
    with_keys: bool,
    photos_bucket: Option<String>,
    now_ms: i64,
) -> Result<Manifest, BackupError> {
    if !data.join(DATABASE_FILE).is_file() {
        return Err(BackupError::place(data, format!("holds no {DATABASE_FILE}: this is no data folder")));
    }
    if to.exists() {
        return Err(BackupError::place(to, "exists already: a backup is always a new folder"));
    }
    let draft = beside(to, "partial");
    remove_if_there(&draft)?;
    let made = fill(data, &draft, with_keys, photos_bucket, now_ms).and_then(|manifest| {
        put_in_place(&draft, to)?;
        Ok(manifest)
    });
    if made.is_err() {
        let _ = fs::remove_dir_all(&draft);
    }
    made
}

fn fill(
    data: &Path,
    draft: &Path,
    with_keys: bool,
    photos_bucket: Option<String>,
    now_ms: i64,
) -> Result<Manifest, BackupError> {
    make_folder(draft)?;
    let database = draft.join(DATABASE_FILE);
    // Made first, so that nobody else can read it at any time; SQLite takes an empty file for a new one.
    private_file(&database).map_err(BackupError::file(&database))?;
    Inspection::open(&data.join(DATABASE_FILE), false)?.copy_to(&database)?;
    let mut list = List::begin(draft)?;
    let mut missing = BTreeSet::new();
    if photos_bucket.is_none() {
        missing = copy_photos(data, draft, &mut list)?;
    }
    // Photos that were past their retention were deleted while the others were copied.
    if !missing.is_empty() {
        let deleted = Inspection::open(&data.join(DATABASE_FILE), false)?.deleted_photos(&missing)?;
        delete_offline(&database, &deleted)?;
        missing.retain(|name| !deleted.contains_key(name));
    }
    // Read last: whoever was forgotten up to here is forgotten in the backup too.
    let tombstones_file = data.join(TOMBSTONES_FILE);
    let tombstones = read_tombstones(&tombstones_file).map_err(BackupError::file(&tombstones_file))?;
    let revived = Inspection::open(&database, true)?.revived(&tombstones)?;
    if !revived.is_empty() || !missing.is_empty() {
        let gone = forgetting::forget_offline(&database, &tombstones)?;
        missing.retain(|name| !gone.contains(name));
        list.drop_photos(&gone)?;
    }
    if !tombstones.is_empty() {
        let path = draft.join(TOMBSTONES_FILE);
        append_tombstones(&path, &tombstones).map_err(BackupError::file(&path))?;
        list.add(Path::new(TOMBSTONES_FILE), measure(&path)?)?;
    }
    for name in KEY_FILES.iter().filter(|_| with_keys) {
        let from = data.join(name);
        if from.is_file() {
            list.add(Path::new(name), copy(&from, &draft.join(name))?)?;
        }
    }
    let copied = Inspection::open(&database, true)?;
    let (schema, counts) = (copied.schema()?.0, copied.counts()?);
    drop(copied);
    sync_file(&database)?;
    list.add(Path::new(DATABASE_FILE), measure(&database)?)?;
    let (files, bytes, list_sha256) = list.finish()?;
    let manifest = Manifest {
        format: FORMAT,
        invigil: env!("CARGO_PKG_VERSION").to_owned(),
        schema,
        created_at: now_ms,
        with_keys,
        counts,
        files,
        bytes,
        list_sha256,
        missing_photos: missing.into_iter().collect(),
        photos_bucket,
    };
    let path = draft.join(MANIFEST_FILE);
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| BackupError::place(&path, error.to_string()))?;
    write_synced(&path, &text)?;
    Ok(manifest)
}

/// Copies every photo that the copied database refers to; returns those that are not in the data folder.
fn copy_photos(data: &Path, draft: &Path, list: &mut List) -> Result<BTreeSet<String>, BackupError> {
    let mut missing = BTreeSet::new();
    Inspection::open(&draft.join(DATABASE_FILE), true)?.photos(&mut |name| {
        let Ok(id) = EvidenceId::parse(name) else {
            missing.insert(name.to_owned());
            return Ok(());
        };
        let path = Path::new(PHOTOS_FOLDER).join(relative_path(&id));
        match copy(&data.join(&path), &draft.join(&path)) {
            Err(BackupError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                missing.insert(name.to_owned());
                Ok(())
            }
            copied => list.add(&path, copied?),
        }
    })?;
    Ok(missing)
}

/// The list of files while it grows: on disk, because there may be millions.
struct List {
    folder: PathBuf,
    file: BufWriter<File>,
    files: u64,
    bytes: u64,
}

impl List {
    fn begin(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(LIST_FILE);
        let file = private_file(&path).map_err(BackupError::file(&path))?;
        Ok(Self { folder: folder.to_owned(), file: BufWriter::new(file), files: 0, bytes: 0 })
    }

    fn add(&mut self, path: &Path, (bytes, sha256): (u64, String)) -> Result<(), BackupError> {
        self.write(&Entry { path: path.to_string_lossy().into_owned(), bytes, sha256 })
    }

    fn write(&mut self, entry: &Entry) -> Result<(), BackupError> {
        self.files += 1;
        self.bytes += entry.bytes;
        let line = serde_json::to_string(entry).map_err(io::Error::from);
        line.and_then(|line| writeln!(self.file, "{line}")).map_err(BackupError::file(&self.folder.join(LIST_FILE)))
    }

    /// Takes photos out again, with their files.
    fn drop_photos(&mut self, gone: &BTreeSet<String>) -> Result<(), BackupError> {
        let path = self.folder.join(LIST_FILE);
        self.file.flush().map_err(BackupError::file(&path))?;
        let entries: Vec<Entry> = entries(&self.folder)?.collect::<Result<_, _>>()?;
        fs::remove_file(&path).map_err(BackupError::file(&path))?;
        *self = Self::begin(&self.folder)?;
        for entry in entries {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            if gone.contains(name) {
                let file = self.folder.join(&entry.path);
                fs::remove_file(&file).map_err(BackupError::file(&file))?;
            } else {
                self.write(&entry)?;
            }
        }
        Ok(())
    }

    /// Files, their bytes, and the list's own digest.
    fn finish(self) -> Result<(u64, u64, String), BackupError> {
        let path = self.folder.join(LIST_FILE);
        let file = self.file.into_inner().map_err(|error| BackupError::file(&path)(error.into_error()))?;
        file.sync_all().map_err(BackupError::file(&path))?;
        Ok((self.files, self.bytes, measure(&path)?.1))
    }
}

/// The files that a backup lists, in its order.
fn entries(folder: &Path) -> Result<impl Iterator<Item = Result<Entry, BackupError>>, BackupError> {
    let path = folder.join(LIST_FILE);
    let file = File::open(&path).map_err(BackupError::file(&path))?;
    Ok(BufReader::new(file).lines().map(move |line| {
        let entry = line.and_then(|line| serde_json::from_str(&line).map_err(io::Error::from));
        let entry: Entry = entry.map_err(BackupError::file(&path))?;
        // Nothing that a list says may lead out of the folder.
        let inside = Path::new(&entry.path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if inside { Ok(entry) } else { Err(BackupError::place(&path, format!("lists {:?}", entry.path))) }
    }))
}

fn read_manifest(folder: &Path) -> Result<Manifest, BackupError> {
    let path = folder.join(MANIFEST_FILE);
    let text = fs::read(&path).map_err(BackupError::file(&path))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| BackupError::place(&path, format!("is no manifest: {error}")))?;
    if manifest.format != FORMAT {
        let why = format!("has format {}; this invigil reads format {FORMAT}", manifest.format);
        return Err(BackupError::place(&path, why));
    }
    Ok(manifest)
}

/// `folder` with an ending of its own, beside it.
fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    name.into()
}

fn remove_if_there(folder: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::file(folder)(error)),
        _ => Ok(()),
    }
}

/// Gives a draft its name, for good.
fn put_in_place(draft: &Path, to: &Path) -> Result<(), BackupError> {
    sync_folders(draft).map_err(BackupError::file(draft))?;
    fs::rename(draft, to).map_err(BackupError::file(to))?;
    sync_parent(to)
}

/// A name is on disk only once its folder is.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

fn sync_parent(path: &Path) -> Result<(), BackupError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(BackupError::file(parent))
}

fn sync_file(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(BackupError::file(path))
}

fn make_folder(folder: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(BackupError::file(folder))
}

/// A new file for its owner alone.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let write = || {
        let mut file = private_file(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(BackupError::file(path))
}

/// Copies a file to a new one, on disk when it returns; size and SHA-256 hex of what was copied.
fn copy(from: &Path, to: &Path) -> Result<(u64, String), BackupError> {
    let source = File::open(from).map_err(BackupError::file(from))?;
    if let Some(folder) = to.parent() {
        make_folder(folder)?;
    }
    let mut target = private_file(to).map_err(BackupError::file(to))?;
    let measured = pass(source, |bytes| target.write_all(bytes)).map_err(BackupError::file(to))?;
    target.sync_all().map_err(BackupError::file(to))?;
    Ok(measured)
}

/// Size and SHA-256 hex of a file.
fn measure(path: &Path) -> Result<(u64, String), BackupError> {
    let file = File::open(path).map_err(BackupError::file(path))?;
    pass(file, |_| Ok(())).map_err(BackupError::file(path))
}

fn pass(mut file: File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<(u64, String)> {
    let (mut digest, mut size, mut buffer) = (Context::new(&SHA256), 0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((size, hex::encode(digest.finish())));
        }
        digest.update(&buffer[..read]);
        each(&buffer[..read])?;
        size += read as u64;
    }
}

/// Everybody who has a tombstone in one of these files.
fn all_tombstones(files: &[PathBuf]) -> Result<Vec<Tombstone>, BackupError> {
    let mut all = Vec::new();
    for file in files {
        all.extend(read_tombstones(file).map_err(BackupError::file(file))?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
