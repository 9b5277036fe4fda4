//! Forgetting a learner: the data key goes, and with it everything that it sealed; logs, verdicts and digests stay.
//!
//! What is forgotten stays forgotten: a tombstone in the database, and the same in a file beside it, which is not part
//! of any backup that is older. The traces that SQLite leaves in its files are looked for, and removed when found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::sql::{self, Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::{DATABASE_FILE, Engine, Store, StoreError, embedded};

/// The tombstones, in the data folder: one object a line.
pub const TOMBSTONES_FILE: &str = "forgotten.jsonl";
/// How often the write-ahead log is tried to be emptied while somebody reads an older state of it.
const TRUNCATE_ATTEMPTS: u32 = 3;
/// How long each attempt waits for readers; all writes wait with it.
const TRUNCATE_PATIENCE: Duration = Duration::from_millis(200);
/// Bytes of a secret that are looked for at once: a part of a key is a trace as well.
const NEEDLE_BYTES: usize = 16;

/// Who was forgotten, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// the random identifier
    pub learner: String,
    /// ms since the Unix epoch
    pub at: i64,
}

/// Why a learner was not forgotten, or not wholly.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ForgetError {
    /// There is no such learner.
    #[error("there is no such learner")]
    Unknown,
    /// The learner has sessions open: nothing was changed.
    #[error("the learner has open sessions: {}", .0.join(", "))]
    OpenSessions(Vec<String>),
    /// The tombstone could not be written beside the database; the key is destroyed.
    #[error("{TOMBSTONES_FILE}: {0}")]
    Tombstone(Arc<io::Error>),
    /// Somebody reads an older state of the database (a backup, say), so that traces of the key must stay for now; the
    /// key itself is destroyed.
    #[error("an older state of the database is being read: its traces of the key stay until that ends")]
    BeingRead,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sql::Error> for ForgetError {
    fn from(error: sql::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What is left to be removed of a forgotten learner.
#[derive(Clone, Default)]
pub struct Remains {
    /// what names the encrypted photos, which nobody can open any more
    pub photos: Vec<String>,
    /// bytes that must not be in the database's files; none: they are no longer known
    secrets: Vec<Vec<u8>>,
}

impl Store {
    /// Destroys the learner's data key and every link to the person, and puts up the tombstone. All of it is on disk
    /// when this returns. Doing it again does no harm, and tells what is still to be removed.
    ///
    /// # Errors
    /// See [`ForgetError`].
    pub async fn forget_learner(&self, learner: &str, now_ms: i64) -> Result<Remains, ForgetError> {
        let id = learner.to_owned();
        let (remains, at) = self
            .write(move |transaction| {
                let open = open_sessions_of(transaction, &id)?;
                if !open.is_empty() {
                    return Err(ForgetError::OpenSessions(open));
                }
                let remains = forget_in(transaction, &id, now_ms)?.ok_or(ForgetError::Unknown)?;
                let find = "SELECT at FROM forgotten WHERE learner = ?1";
                Ok((remains, transaction.query_row(find, [&id], |row| row.get(0))?))
            })
            .await?;
        self.keep_tombstones(vec![Tombstone { learner: learner.to_owned(), at }]).await?;
        Ok(remains)
    }

    /// Brings database and tombstone file together: whoever is in one is forgotten in both. To be called at the start,
    /// because the database may be a restored older one. Returns the learners who were forgotten by this.
    ///
    /// # Errors
    /// See [`ForgetError`]; open sessions are no reason to stop here.
    pub async fn apply_tombstones(&self) -> Result<Vec<String>, ForgetError> {
        let path = self.folder.join(TOMBSTONES_FILE);
        let tombstones = read_tombstones(&path).map_err(|error| ForgetError::Tombstone(Arc::new(error)))?;
        let revived = self.write(move |transaction| forget_again(transaction, &tombstones)).await?;
        let known = self.read(tombstones_of).await?;
        self.keep_tombstones(known).await?;
        Ok(revived)
    }

    /// Forgotten learners of whom something is still to be removed.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn unpurged(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT learner FROM forgotten WHERE purged_at IS NULL")?;
            let rows = statement.query_map((), |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// What is still to be removed of a learner who is forgotten.
    ///
    /// # Errors
    /// When the store cannot read.
    pub async fn remains_of(&self, learner: &str) -> Result<Remains, StoreError> {
        let learner = learner.to_owned();
        self.read(move |connection| Ok(Remains { photos: photos_of(connection, &learner)?, secrets: Vec::new() })).await
    }

    /// Ends the forgetting once the photos' files are gone: their rows go, and every trace of the key in the database's
    /// files. When the secrets are no longer known, the database is written anew to be sure.
    ///
    /// # Errors
    /// [`ForgetError::BeingRead`] when it must be tried again later.
    pub async fn purge(&self, learner: &str, remains: Remains, now_ms: i64) -> Result<(), ForgetError> {
        let id = learner.to_owned();
        let purged = "SELECT 1 FROM forgotten WHERE learner = ?1 AND purged_at IS NOT NULL";
        if self.read(move |connection| Ok::<_, StoreError>(connection.prepare_cached(purged)?.exists([&id])?)).await? {
            return Ok(());
        }
        let id = learner.to_owned();
        self.write(move |transaction| {
            transaction.overwrite_deleted(true)?;
            let done = remove_photo_rows(transaction, &id);
            transaction.overwrite_deleted(false)?;
            Ok::<_, ForgetError>(done?)
        })
        .await?;
        // PostgreSQL's files are not ours to look into: what it deletes it overwrites in its own time.
        if let Engine::Embedded(database, _) = &self.engine {
            self.remove_traces(database, learner, remains.secrets).await?;
        }
        let id = learner.to_owned();
        self.write(move |transaction| {
            let sql = "UPDATE forgotten SET purged_at = ?2 WHERE learner = ?1 AND purged_at IS NULL";
            transaction.execute(sql, params![id, now_ms])?;
            Ok(())
        })
        .await
    }

    async fn keep_tombstones(&self, wanted: Vec<Tombstone>) -> Result<(), ForgetError> {
        let (path, turn) = (self.folder.join(TOMBSTONES_FILE), self.tombstones.clone());
        let keep = move || {
            let _turn = turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            append_tombstones(&path, &wanted)
        };
        let kept = tokio::task::spawn_blocking(keep).await.map_err(|_| StoreError::Stopped)?;
        kept.map_err(|error| ForgetError::Tombstone(Arc::new(error)))
    }

    /// Removes every trace of `needles` from the embedded database's files; what they are may be no longer known.
    async fn remove_traces(
        &self,
        database: &embedded::Database,
        learner: &str,
        needles: Vec<Vec<u8>>,
    ) -> Result<(), ForgetError> {
        truncate_log(database).await?;
        if !needles.is_empty() && !self.holds_any(needles.clone()).await? {
            return Ok(());
        }
        tracing::info!(learner, "the database is written anew, so that no trace of a destroyed key stays in it");
        database.alone(|connection| Ok(connection.execute_batch("VACUUM")?)).await?;
        truncate_log(database).await?;
        if self.holds_any(needles).await? {
            let why = "a destroyed key is still found in the database's files".to_owned();
            return Err(StoreError::Corrupt { what: "forgotten learner", why }.into());
        }
        Ok(())
    }

    /// Whether one of the secrets, or a part of one, is anywhere in the database's files.
    async fn holds_any(&self, secrets: Vec<Vec<u8>>) -> Result<bool, StoreError> {
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || {
            let needles: Vec<&[u8]> = secrets.iter().flat_map(|secret| secret.chunks_exact(NEEDLE_BYTES)).collect();
            for file in [DATABASE_FILE.to_owned(), format!("{DATABASE_FILE}-wal")] {
                let found = match File::open(folder.join(file)) {
                    Ok(file) => contains_any(file, &needles)?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                    Err(error) => return Err(error),
                };
                if found {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
        .map_err(|_| StoreError::Stopped)?
        .map_err(|error| StoreError::Start(Arc::new(error)))
    }
}

/// Moves everything out of the write-ahead log and empties its file.
async fn truncate_log(database: &embedded::Database) -> Result<(), ForgetError> {
    for _ in 0..TRUNCATE_ATTEMPTS {
        let busy: bool = database
            .alone(|connection| {
                connection.busy_timeout(TRUNCATE_PATIENCE)?;
                let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
                connection.busy_timeout(embedded::BUSY_TIMEOUT)?;
                Ok(busy?)
            })
            .await?;
        if !busy {
            return Ok(());
        }
    }
    Err(ForgetError::BeingRead)
}

/// Whether one of the needles (at least two bytes each) is in the file.
fn contains_any(mut file: impl io::Read, needles: &[&[u8]]) -> io::Result<bool> {
    let mut begins = vec![false; 1 << 16];
    for needle in needles {
        begins[usize::from(u16::from_be_bytes([needle[0], needle[1]]))] = true;
    }
    let (mut window, mut kept) = (vec![0; 1 << 20], 0);
    loop {
        let read = file.read(&mut window[kept..])?;
        if read == 0 {
            return Ok(false);
        }
        let bytes = &window[..kept + read];
        let found = bytes.windows(2).enumerate().any(|(index, pair)| {
            begins[usize::from(u16::from_be_bytes([pair[0], pair[1]]))]
                && needles.iter().any(|needle| bytes[index..].starts_with(needle))
        });
        if found {
            return Ok(true);
        }
        // What lies across two reads.
        kept = bytes.len().min(NEEDLE_BYTES - 1);
        let from = bytes.len() - kept;
        window.copy_within(from..from + kept, 0);
    }
}

fn open_sessions_of(connection: &Connection, learner: &str) -> sql::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT id FROM session WHERE learner = ?1 AND closed_at IS NULL ORDER BY id")?
        .query_map([learner], |row| row.get(0))?
        .collect()
}

fn photos_of(connection: &Connection, learner: &str) -> sql::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT evidence FROM enrolled_photo WHERE learner = ?1
             UNION SELECT evidence FROM photo
                 WHERE deleted_at IS NULL AND session IN (SELECT key FROM session WHERE learner = ?1)",
        )?
        .query_map([learner], |row| row.get(0))?
        .collect()
}

fn remove_photo_rows(connection: &Connection, learner: &str) -> sql::Result<()> {
    connection.execute("DELETE FROM enrolled_photo WHERE learner = ?1", [learner])?;
    connection.execute("DELETE FROM photo WHERE session IN (SELECT key FROM session WHERE learner = ?1)", [learner])?;
    Ok(())
}

/// Destroys the key and the links within the caller's transaction; `None` when nobody has this identifier. The rows of
/// photos stay, so that what remains can be found.
pub(super) fn forget_in(connection: &Connection, learner: &str, at: i64) -> sql::Result<Option<Remains>> {
    let found = connection
        .query_row("SELECT data_key, sealed_person FROM learner WHERE id = ?1", [learner], |row| {
            Ok((row.get::<Option<Vec<u8>>>(0)?, row.get::<Option<Vec<u8>>>(1)?))
        })
        .optional()?;
    let Some((data_key, person)) = found else { return Ok(None) };
    let mut secrets: Vec<Vec<u8>> = data_key.into_iter().chain(person).collect();
    for sql in [
        "SELECT identity FROM learner_identity WHERE learner = ?1",
        "SELECT template FROM enrolled_photo WHERE learner = ?1",
    ] {
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([learner], |row| row.get(0))?;
        secrets.extend(rows.collect::<Result<Vec<_>, _>>()?);
    }
    connection.overwrite_deleted(true)?;
    let destroyed = destroy(connection, learner, at);
    connection.overwrite_deleted(false)?;
    destroyed?;
    Ok(Some(Remains { photos: photos_of(connection, learner)?, secrets }))
}

fn destroy(connection: &Connection, learner: &str, at: i64) -> sql::Result<()> {
    for sql in [
        "DELETE FROM learner_identity WHERE learner = ?1",
        "DELETE FROM platform_learner WHERE learner = ?1",
        "DELETE FROM descriptor WHERE learner = ?1",
        "UPDATE session SET client_key = NULL WHERE learner = ?1 AND client_key IS NOT NULL",
        "DELETE FROM token WHERE session IN (SELECT key FROM session WHERE learner = ?1)",
        "DELETE FROM appeal_attachment WHERE appeal IN (SELECT appeal.id FROM appeal
             JOIN session ON session.key = appeal.session WHERE session.learner = ?1)",
        "UPDATE appeal SET statement = NULL WHERE session IN (SELECT key FROM session WHERE learner = ?1)",
    ] {
        connection.execute(sql, [learner])?;
    }
    connection
        .execute("UPDATE enrolled_photo SET template = ?2 WHERE learner = ?1", params![learner, b"".as_slice()])?;
    connection.execute(
        "UPDATE learner SET data_key = NULL, sealed_person = NULL, photo_version = 0,
             forgotten_at = coalesce(forgotten_at, ?2) WHERE id = ?1",
        params![learner, at],
    )?;
    connection
        .execute("INSERT INTO forgotten (learner, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING", params![learner, at])?;
    Ok(())
}

/// Forgets everybody of these who is here with a key: a database that was restored knows people whom a later one had
/// forgotten. Returns who that was.
fn forget_again(connection: &Connection, tombstones: &[Tombstone]) -> Result<Vec<String>, ForgetError> {
    let mut again = Vec::new();
    for Tombstone { learner, at } in tombstones {
        let find = "SELECT 1 FROM learner WHERE id = ?1 AND (data_key IS NOT NULL OR forgotten_at IS NULL)";
        if connection.query_row(find, [learner], |_| Ok(())).optional()?.is_some() {
            forget_in(connection, learner, *at)?;
            again.push(learner.clone());
        }
    }
    Ok(again)
}

fn tombstones_of(connection: &Connection) -> Result<Vec<Tombstone>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT learner, at FROM forgotten ORDER BY at, learner")?;
    let rows = statement.query_map((), |row| Ok(Tombstone { learner: row.get(0)?, at: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets, in the database file at `path` that no server uses, everybody who has a tombstone, and writes the file anew
/// so that no trace stays. The schema becomes that of this binary. Returns the names of photos that are no longer wanted.
///
/// # Errors
/// When the database cannot be opened or written.
pub fn forget_offline(path: &Path, tombstones: &[Tombstone]) -> Result<BTreeSet<String>, ForgetError> {
    let mut connection = embedded::connect_to_write(path)?;
    let transaction = connection.transaction().map_err(StoreError::from)?;
    let (learners, photos) = forget_photos(&Connection::embedded(&transaction), tombstones)?;
    transaction.commit().map_err(StoreError::from)?;
    if !learners.is_empty() {
        connection.execute_batch("VACUUM").map_err(StoreError::from)?;
    }
    connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).map_err(StoreError::from)?;
    Ok(photos)
}

/// Who is forgotten, and the names of their photos, whose rows are gone then.
fn forget_photos(
    connection: &Connection,
    tombstones: &[Tombstone],
) -> Result<(Vec<String>, BTreeSet<String>), ForgetError> {
    forget_again(connection, tombstones)?;
    let learners: Vec<String> = connection
        .prepare_cached("SELECT id FROM learner WHERE forgotten_at IS NOT NULL")?
        .query_map((), |row| row.get(0))?
        .collect::<sql::Result<_>>()?;
    let mut photos = BTreeSet::new();
    for learner in &learners {
        photos.extend(photos_of(connection, learner)?);
        remove_photo_rows(connection, learner)?;
    }
    Ok((learners, photos))
}

/// The tombstones in a file; none when there is no file. A last line that a crash has cut off was never acknowledged and
/// is left out.
///
/// # Errors
/// When the file cannot be read, or a whole line of it is no tombstone.
pub fn read_tombstones(path: &Path) -> io::Result<Vec<Tombstone>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut tombstones = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str(line) {
            Ok(tombstone) if line.ends_with('\n') => tombstones.push(tombstone),
            Err(error) if line.ends_with('\n') && !line.trim().is_empty() => {
                let why = format!("{}: line {}: {error}", path.display(), index + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            _ => {}
        }
    }
    Ok(tombstones)
}

/// Adds those tombstones that the file does not have yet; on disk when it returns.
///
/// # Errors
/// When the file cannot be read or made durable.
pub fn append_tombstones(path: &Path, wanted: &[Tombstone]) -> io::Result<()> {
    let there: BTreeMap<String, i64> =
        read_tombstones(path)?.into_iter().map(|tombstone| (tombstone.learner, tombstone.at)).collect();
    let missing: Vec<&Tombstone> = wanted.iter().filter(|wanted| !there.contains_key(&wanted.learner)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut text = std::fs::read(path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(error),
    })?;
    // What a crash has cut off goes: the next line must not be glued to it.
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let cut = text.len() > whole;
    text.truncate(whole);
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    if cut {
        file.set_len(whole as u64)?;
    }
    let mut lines = Vec::new();
    for tombstone in missing {
        serde_json::to_writer(&mut lines, tombstone)?;
        lines.push(b'\n');
    }
    file.write_all(&lines)?;
    file.sync_all()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    const KEY: &[u8] = b"a sealed key of sixty bytes, as long as the real ones are...";
    const TEMPLATE: &[u8] = b"a face as numbers, sealed, which nobody may find any more";

    fn identity(n: u32) -> Vec<u8> {
        ring::digest::digest(&ring::digest::SHA256, &n.to_be_bytes()).as_ref().to_vec()
    }

    /// Many learners, whose rows grew after they were written, so that SQLite had to move them about.
    async fn crowd() -> (tempfile::TempDir, Store) {
        let (folder, store) = fixture::embedded_with_session("s1").await;
        let mut sql = String::from("UPDATE session SET closed_at = 1;");
        for n in 0..600 {
            let key = if n == 300 { KEY.to_vec() } else { format!("{n:060}").into_bytes() };
            sql.push_str(&format!(
                "INSERT INTO learner (id, data_key, created_at) VALUES ('x{n:03}', x'{}', 0);
                 INSERT INTO learner_identity (identity, learner) VALUES (x'{}', 'x{n:03}');",
                hex::encode(key),
                hex::encode(identity(n)),
            ));
        }
        fixture::execute(&store, &sql).await;
        // Grown rows make pages split, and a split leaves copies behind.
        let grow = "UPDATE learner SET sealed_person = randomblob(300) WHERE id LIKE 'x%'";
        fixture::execute(&store, grow).await;
        let photo = format!(
            "INSERT INTO enrolled_photo (learner, version, digest, evidence, template, platform, created_at)
                 VALUES ('x300', 1, 'd', 'photo-1', x'{}', 'p1', 0);
             INSERT INTO platform_learner (platform, learner, external_reference, created_at)
                 VALUES ('p1', 'x300', 'Ms X', 0);",
            hex::encode(TEMPLATE)
        );
        fixture::execute(&store, &photo).await;
        (folder, store)
    }

    fn in_files(folder: &Path, secret: &[u8]) -> bool {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.is_file()).any(|path| {
            let bytes = std::fs::read(path).unwrap();
            secret.chunks_exact(NEEDLE_BYTES).any(|part| bytes.windows(NEEDLE_BYTES).any(|window| window == part))
        })
    }

    #[tokio::test]
    async fn no_file_holds_a_trace_of_a_destroyed_key() {
        let (folder, store) = crowd().await;
        assert!(in_files(folder.path(), KEY) && in_files(folder.path(), TEMPLATE));
        let remains = store.forget_learner("x300", 77).await.unwrap();
        assert_eq!(remains.photos, ["photo-1"]);
        store.purge("x300", remains, 78).await.unwrap();
        for secret in [KEY, TEMPLATE, &identity(300)] {
            assert!(!in_files(folder.path(), secret), "{secret:?}");
        }
        assert!(in_files(folder.path(), format!("{:060}", 299).as_bytes()), "the others' keys are there");
        assert_eq!(store.sealed_data_key("x300").await.unwrap(), None);
        assert_eq!(store.learner("p1", "x300").await.unwrap(), None);
        assert_eq!(store.unpurged().await.unwrap(), [""; 0]);
        let tombstones = read_tombstones(&folder.path().join(TOMBSTONES_FILE)).unwrap();
        assert_eq!(tombstones, [Tombstone { learner: "x300".into(), at: 77 }]);
        // Again does no harm, and changes no time.
        let again = store.forget_learner("x300", 99).await.unwrap();
        store.purge("x300", again, 99).await.unwrap();
        assert_eq!(read_tombstones(&folder.path().join(TOMBSTONES_FILE)).unwrap(), tombstones);
    }

    #[tokio::test]
    async fn a_forgetting_that_a_crash_cut_off_is_ended_later() {
        let (folder, store) = crowd().await;
        let _ = store.forget_learner("x300", 77).await.unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.unpurged().await.unwrap(), ["x300"]);
        let remains = store.remains_of("x300").await.unwrap();
        assert_eq!(remains.photos, ["photo-1"]);
        store.purge("x300", remains, 78).await.unwrap();
        assert!(!in_files(folder.path(), KEY));
    }

    #[tokio::test]
    async fn traces_stay_while_an_older_state_is_read_and_that_is_said() {
        let (folder, store) = crowd().await;
        let reader = rusqlite::Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM learner;").unwrap();
        let remains = store.forget_learner("x300", 77).await.unwrap();
        let refused = store.purge("x300", remains.clone(), 78).await;
        assert!(matches!(refused, Err(ForgetError::BeingRead)), "{refused:?}");
        assert_eq!(store.unpurged().await.unwrap(), ["x300"]);
        reader.execute_batch("COMMIT").unwrap();
        store.purge("x300", remains, 79).await.unwrap();
        assert!(!in_files(folder.path(), KEY));
    }

    #[tokio::test]
    async fn whoever_learns_is_not_forgotten_meanwhile() {
        let (folder, store) = fixture::store_with_session("s1").await;
        let refused = store.forget_learner("l1", 1).await;
        assert!(matches!(&refused, Err(ForgetError::OpenSessions(open)) if *open == ["s1"]));
        assert!(matches!(store.forget_learner("nobody", 1).await, Err(ForgetError::Unknown)));
        assert_eq!(read_tombstones(&folder.path().join(TOMBSTONES_FILE)).unwrap(), []);
    }

    /// A learner with a key, a photo and a closed session.
    async fn known() -> (tempfile::TempDir, Store) {
        let (folder, store) = fixture::store_with_session("s1").await;
        let known = format!(
            "INSERT INTO learner (id, data_key, sealed_person, created_at) VALUES ('x300', x'{}', x'01', 0);
             INSERT INTO learner_identity (identity, learner) VALUES (x'{}', 'x300');
             INSERT INTO enrolled_photo (learner, version, digest, evidence, template, platform, created_at)
                 VALUES ('x300', 1, 'd', 'photo-1', x'{}', 'p1', 0);
             UPDATE session SET learner = 'x300', client_key = x'02', closed_at = 1;
             INSERT INTO photo (session, capture, digest, evidence, created_at) VALUES (1, 'c1', 'd', 'photo-2', 0);
             INSERT INTO token (hash, session, expires_at) VALUES (x'03', 1, 9);
             INSERT INTO platform_learner (platform, learner, created_at) VALUES ('p1', 'x300', 0);",
            hex::encode(KEY),
            hex::encode(identity(300)),
            hex::encode(TEMPLATE)
        );
        fixture::execute(&store, &known).await;
        (folder, store)
    }

    #[tokio::test]
    async fn the_key_and_all_that_leads_to_the_person_are_gone() {
        let (folder, store) = known().await;
        let mut remains = store.forget_learner("x300", 77).await.unwrap();
        remains.photos.sort();
        assert_eq!(remains.photos, ["photo-1", "photo-2"]);
        assert_eq!(store.sealed_data_key("x300").await.unwrap(), None);
        assert_eq!(store.learner("p1", "x300").await.unwrap(), None);
        assert!(store.person("x300").await.unwrap().is_none());
        assert_eq!(store.token_holder([3; 32]).await.unwrap(), None);
        assert_eq!(store.unpurged().await.unwrap(), ["x300"]);
        store.purge("x300", remains, 78).await.unwrap();
        assert_eq!(store.unpurged().await.unwrap(), [""; 0]);
        assert!(store.remains_of("x300").await.unwrap().photos.is_empty());
        let tombstones = read_tombstones(&folder.path().join(TOMBSTONES_FILE)).unwrap();
        assert_eq!(tombstones, [Tombstone { learner: "x300".into(), at: 77 }]);
    }

    #[tokio::test]
    async fn a_restored_database_forgets_again() {
        let (folder, store) = known().await;
        let tombstones =
            [Tombstone { learner: "x300".into(), at: 5 }, Tombstone { learner: "made later".into(), at: 6 }];
        append_tombstones(&folder.path().join(TOMBSTONES_FILE), &tombstones).unwrap();
        assert_eq!(store.apply_tombstones().await.unwrap(), ["x300"]);
        assert_eq!(store.sealed_data_key("x300").await.unwrap(), None);
        assert_eq!(store.apply_tombstones().await.unwrap(), [""; 0]);
        // And the other way round: what the file has lost, the database knows.
        std::fs::remove_file(folder.path().join(TOMBSTONES_FILE)).unwrap();
        store.apply_tombstones().await.unwrap();
        assert_eq!(read_tombstones(&folder.path().join(TOMBSTONES_FILE)).unwrap(), tombstones[..1]);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_no_tombstone_and_spoils_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TOMBSTONES_FILE);
        std::fs::write(&path, "{\"learner\":\"a\",\"at\":1}\n{\"learner\":\"b\",\"a").unwrap();
        assert_eq!(read_tombstones(&path).unwrap().len(), 1);
        append_tombstones(&path, &[Tombstone { learner: "c".into(), at: 3 }]).unwrap();
        let names: Vec<_> = read_tombstones(&path).unwrap().into_iter().map(|tombstone| tombstone.learner).collect();
        assert_eq!(names, ["a", "c"]);
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(read_tombstones(&path).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn a_needle_across_two_reads_is_found() {
        struct Dribble<'a>(&'a [u8]);
        impl io::Read for Dribble<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let step = self.0.len().min(5);
                buffer[..step].copy_from_slice(&self.0[..step]);
                self.0 = &self.0[step..];
                Ok(step)
            }
        }
        let needle = b"0123456789abcdef";
        let hay = [&[b'x'; 33][..], needle, b"yy"].concat();
        assert!(contains_any(Dribble(&hay), &[needle]).unwrap());
        assert!(!contains_any(Dribble(&hay[..48]), &[needle]).unwrap());
    }
}
