//! Is a backup whole, and is what is in it what was once written?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{
    BackupError, DATABASE_FILE, EvidenceId, Inspection, LIST_FILE, MANIFEST_FILE, Manifest, PHOTOS_FOLDER,
    TOMBSTONES_FILE, all_tombstones, entries, measure, read_manifest, relative_path, sound_log,
};

/// What became of looking at a backup.
#[derive(Debug)]
pub struct Verified {
    /// what the backup says about itself
    pub manifest: Manifest,
    /// what is wrong with it, in words; nothing: it can be restored
    pub problems: Vec<String>,
    /// sessions whose logs and verdicts were read
    pub sessions: u64,
}

/// Problems that are listed; more of them tell nothing new.
const PROBLEMS_LIMIT: usize = 100;

/// Reads all of a backup: every file's digest, the database's pages, each log and verdict, and that each photo is there,
/// unless a bucket keeps them.
///
/// # Errors
/// When it is no backup at all, or cannot be read.
pub fn verify(folder: &Path) -> Result<Verified, BackupError> {
    let manifest = read_manifest(folder)?;
    let mut problems = Vec::new();
    let mut tell = |problem: String| {
        if problems.len() < PROBLEMS_LIMIT {
            problems.push(problem);
        }
    };
    if measure(&folder.join(LIST_FILE))?.1 != manifest.list_sha256 {
        tell(format!("{LIST_FILE}: is not the list that {MANIFEST_FILE} names: its digest differs"));
    }
    let mut listed = BTreeSet::new();
    let (mut files, mut bytes) = (0, 0);
    for entry in entries(folder)? {
        let entry = entry?;
        (files, bytes) = (files + 1, bytes + entry.bytes);
        match measure(&folder.join(&entry.path)) {
            Ok(found) if found == (entry.bytes, entry.sha256.clone()) => {}
            Ok((size, _)) if size != entry.bytes => {
                tell(format!("{}: has {size} bytes and should have {}", entry.path, entry.bytes));
            }
            Ok(_) => tell(format!("{}: its digest differs", entry.path)),
            Err(error) => tell(error.to_string()),
        }
        listed.insert(PathBuf::from(entry.path));
    }
    if (files, bytes) != (manifest.files, manifest.bytes) {
        tell(format!(
            "{LIST_FILE}: lists {files} files of {bytes} bytes, {MANIFEST_FILE} says {} of {}",
            manifest.files, manifest.bytes
        ));
    }
    if !listed.contains(Path::new(DATABASE_FILE)) {
        tell(format!("{LIST_FILE}: does not list {DATABASE_FILE}"));
    }
    let database = Inspection::open(&folder.join(DATABASE_FILE), true);
    let sessions = match database.and_then(|database| Ok((database.schema()?, database))) {
        Ok(((schema, known), _)) if schema > known => {
            tell(format!("{DATABASE_FILE}: has schema {schema}; this invigil knows up to {known}: use the newer one"));
            0
        }
        Ok((_, database)) => look_into(&database, folder, &listed, &manifest, &mut tell).unwrap_or_else(|error| {
            tell(format!("{DATABASE_FILE}: {error}"));
            0
        }),
        Err(error) => {
            tell(format!("{DATABASE_FILE}: {error}"));
            0
        }
    };
    Ok(Verified { manifest, problems, sessions })
}

fn look_into(
    database: &Inspection,
    folder: &Path,
    listed: &BTreeSet<PathBuf>,
    manifest: &Manifest,
    tell: &mut dyn FnMut(String),
) -> Result<u64, BackupError> {
    for problem in database.pages(true)?.into_iter().flatten() {
        tell(format!("{DATABASE_FILE}: {problem}"));
    }
    let closed = database.closed_sessions(None, tell)?;
    let open = database.open_sessions(&sound_log, tell)?;
    database.photos(&mut |name| {
        let path = EvidenceId::parse(name).map(|id| Path::new(PHOTOS_FOLDER).join(relative_path(&id)));
        if manifest.photos_bucket.is_none() && !path.is_ok_and(|path| listed.contains(&path)) {
            tell(format!("the photo {name} is not in the backup"));
        }
        Ok::<_, BackupError>(())
    })?;
    for learner in database.revived(&all_tombstones(&[folder.join(TOMBSTONES_FILE)])?)? {
        tell(format!("learner {learner} is forgotten, and has a key"));
    }
    Ok(closed + open)
}
