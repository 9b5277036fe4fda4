//! A data folder out of a backup. Whoever was forgotten, before the backup or after it, stays forgotten.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{
    BackupError, DATABASE_FILE, Inspection, KEY_FILES, Manifest, PHOTOS_FOLDER, TOMBSTONES_FILE, all_tombstones,
    append_tombstones, beside, copy, entries, make_folder, put_in_place, remove_if_there, sync_file, sync_parent,
    verify,
};
use crate::auth::keys::Keys;
use crate::config::KeySettings;
use crate::store::folder_lock;
use crate::store::forgetting::forget_offline;

/// What a restore has done.
#[derive(Debug)]
pub struct Restored {
    /// what the backup says about itself
    pub manifest: Manifest,
    /// learners who have a key in the backup and were forgotten since
    pub forgotten_again: Vec<String>,
    /// photos of forgotten learners, which were left out
    pub photos_left_out: usize,
    /// where the folder lies now that was there before
    pub replaced: Option<PathBuf>,
    /// keys that are neither in the backup nor were in the folder: without them the server does not start
    pub missing_keys: Vec<&'static str>,
}

/// Makes the data folder `to` out of the backup in `folder`. Tombstones come from the backup, from the file `forgotten`,
/// and, when a folder is replaced, from that one; it is kept under another name.
///
/// # Errors
/// When the backup is damaged, `to` is not empty and not to be replaced, or a server uses it. What was begun is removed,
/// and what was there stays.
pub fn restore(folder: &Path, to: &Path, forgotten: Option<&Path>, replace: bool) -> Result<Restored, BackupError> {
    let occupied = to.exists() && fs::read_dir(to).map_err(BackupError::file(to))?.next().is_some();
    if occupied && !replace {
        return Err(BackupError::place(to, "is not empty; --replace keeps it under another name and takes its place"));
    }
    let before = beside(to, "before-restore");
    if occupied && before.exists() {
        return Err(BackupError::place(&before, "is there from an earlier restore: move it away first"));
    }
    // Held to the end: no server may begin to use the folder meanwhile.
    let _lock = match occupied {
        true => Some(folder_lock(to).map_err(BackupError::file(to))?),
        false => None,
    };
    if let Some(file) = forgotten.filter(|file| !file.is_file()) {
        return Err(BackupError::place(file, "is not there"));
    }
    let verified = verify(folder)?;
    if let Some(first) = verified.problems.first() {
        return Err(BackupError::Damaged(format!("{} problems, the first: {first}", verified.problems.len())));
    }
    let tombstone_files: Vec<PathBuf> = [folder.join(TOMBSTONES_FILE), to.join(TOMBSTONES_FILE)]
        .into_iter()
        .chain(forgotten.map(Path::to_owned))
        .collect();
    let draft = beside(to, "restoring");
    remove_if_there(&draft)?;
    let made = fill(folder, &draft, to, &tombstone_files, verified.manifest);
    let mut restored = made.inspect_err(|_| drop(fs::remove_dir_all(&draft)))?;
    if occupied {
        fs::rename(to, &before).map_err(BackupError::file(to))?;
        restored.replaced = Some(before);
    }
    put_in_place(&draft, to)?;
    sync_parent(to)?;
    Ok(restored)
}

fn fill(
    folder: &Path,
    draft: &Path,
    old: &Path,
    tombstone_files: &[PathBuf],
    manifest: Manifest,
) -> Result<Restored, BackupError> {
    make_folder(draft)?;
    let database = draft.join(DATABASE_FILE);
    copy(&folder.join(DATABASE_FILE), &database)?;
    let tombstones = all_tombstones(tombstone_files)?;
    let forgotten_again = Inspection::open(&database, true)?.revived(&tombstones)?;
    let mut gone = BTreeSet::new();
    if !tombstones.is_empty() {
        gone = forget_offline(&database, &tombstones)?;
        let path = draft.join(TOMBSTONES_FILE);
        append_tombstones(&path, &tombstones).map_err(BackupError::file(&path))?;
        sync_file(&database)?;
    }
    let mut photos_left_out = 0;
    for entry in entries(folder)? {
        let entry = entry?;
        let Some(name) = entry.path.strip_prefix(&format!("{PHOTOS_FOLDER}/")) else { continue };
        if gone.contains(name.rsplit('/').next().unwrap_or_default()) {
            photos_left_out += 1;
        } else {
            copy(&folder.join(&entry.path), &draft.join(&entry.path))?;
        }
    }
    let mut missing_keys = Vec::new();
    for name in KEY_FILES {
        match [folder, old].iter().map(|place| place.join(name)).find(|path| path.is_file()) {
            Some(from) => drop(copy(&from, &draft.join(name))?),
            // The server makes a new operator's key by itself.
            None if name == "operator.key" => {}
            None => missing_keys.push(name),
        }
    }
    if missing_keys.is_empty() {
        check_keys(draft)?;
    }
    Ok(Restored { manifest, forgotten_again, photos_left_out, replaced: None, missing_keys })
}

/// Whether the keys are those of this database.
fn check_keys(folder: &Path) -> Result<(), BackupError> {
    let keys = Keys::open_existing(folder, &KeySettings::default())
        .map_err(|error| BackupError::place(folder, error.to_string()))?;
    let sealed = Inspection::open(&folder.join(DATABASE_FILE), true)?.a_sealed_key()?;
    match sealed.map(|(learner, key)| keys.unwrap(&learner, &key)) {
        Some(Err(_)) => Err(BackupError::place(folder, "master.key is of another installation: it opens nothing here")),
        _ => Ok(()),
    }
}
