//! Looking at a database without touching it: for the doctor, and for backups.
//!
//! Everything is read in one snapshot, so that a server may go on writing meanwhile. What is found is told in words; who
//! reads them decides what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::journal::{LiveRow, last_stamp, open_segment};
use super::{StoreError, checksum, embedded};

/// A snapshot of a database.
pub struct Inspection {
    connection: Connection,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// people, forgotten ones too
    pub learners: u64,
    /// sessions that are over
    pub closed_sessions: u64,
    /// sessions that go on
    pub open_sessions: u64,
    /// photos, of enrolments and of captures
    pub photos: u64,
}

/// What waits for platforms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// deliveries that are due or will be
    pub pending: u64,
    /// when the longest waiting of them was made, ms since the epoch
    pub oldest_at: Option<i64>,
    /// deliveries that were given up
    pub failed: u64,
}

impl Inspection {
    /// Opens the database at `path`. A `frozen` one is known to be written by nobody and is read without a trace; any
    /// other is read as its server sees it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, frozen: bool) -> Result<Self, StoreError> {
        let connection = if frozen {
            let mut url = reqwest::Url::from_file_path(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
                .map_err(|()| StoreError::Corrupt { what: "path", why: path.display().to_string() })?;
            url.set_query(Some("immutable=1"));
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Connection::open_with_flags(url.as_str(), flags)?
        } else {
            embedded::connect_to_read(path)?
        };
        connection.pragma_update(None, "cell_size_check", "ON")?;
        connection.execute_batch("BEGIN")?;
        Ok(Self { connection })
    }

    /// Steps that the schema has taken, and steps that this binary knows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn schema(&self) -> Result<(usize, usize), StoreError> {
        let found: u32 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok((found as usize, embedded::known_schema()))
    }

    /// What SQLite finds wrong with its own pages; `deep` compares the indexes with the tables too. Nothing: all is well.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub fn pages(&self, deep: bool) -> Result<Vec<String>, StoreError> {
        let check = if deep { "PRAGMA integrity_check" } else { "PRAGMA quick_check" };
        let mut statement = self.connection.prepare(check)?;
        let said: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(said
            .into_iter()
            .flat_map(|said| said.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|said| said != "ok")
            .collect())
    }

    /// How much there is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let count = |what: &str| self.count(what);
        Ok(Counts {
            learners: count("learner")?,
            closed_sessions: count("session WHERE closed_at IS NOT NULL")?,
            open_sessions: count("session WHERE closed_at IS NULL")?,
            photos: count(&format!("photo WHERE {} IS NULL", self.column("photo", "deleted_at")?))?
                + count("enrolled_photo")?,
        })
    }

    /// Reads the log and the verdicts of every closed session, or of the `newest` so many, and tells what is not as it was written. Returns how many
    /// sessions it has read.
    ///
    /// # Errors
    /// When the database cannot be read any further.
    pub fn closed_sessions(&self, newest: Option<u32>, tell: &mut dyn FnMut(String)) -> Result<u64, StoreError> {
        let checksum = self.column("verdict", "checksum")?;
        let mut sessions = self.connection.prepare(
            "SELECT session.key, session.id, segment.lines, segment.digest FROM session
             LEFT JOIN segment ON segment.session = session.key WHERE session.closed_at IS NOT NULL
             ORDER BY session.key DESC LIMIT ?1",
        )?;
        let mut verdicts = self
            .connection
            .prepare(&format!("SELECT version, body, {checksum} FROM verdict WHERE session = ?1 ORDER BY version"))?;
        let (mut rows, mut seen) = (sessions.query([newest.map_or(-1, i64::from)])?, 0);
        while let Some(row) = rows.next()? {
            seen += 1;
            let (key, id): (i64, String) = (row.get(0)?, row.get(1)?);
            let (lines, digest): (Option<Vec<u8>>, Option<String>) = (row.get(2)?, row.get(3)?);
            let (Some(lines), Some(digest)) = (lines, digest) else {
                tell(format!("session {id} is closed and has no log"));
                continue;
            };
            if let Err(error) = open_segment(&lines, &digest) {
                tell(format!("session {id}: {error}"));
            }
            let mut judged = 0;
            let mut bodies = verdicts.query([key])?;
            while let Some(row) = bodies.next()? {
                judged += 1;
                match checksum::intact_verdict(key, row.get(0)?, row.get(1)?, row.get(2)?) {
                    Err(error) => tell(format!("session {id}: {error}")),
                    Ok(body) => {
                        let named = serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default();
                        if named["log_digest"] != digest.as_str() || named["session"] != id.as_str() {
                            tell(format!("session {id}: its verdict is not about its log"));
                        }
                    }
                }
            }
            if judged == 0 {
                tell(format!("session {id} is closed and has no verdict"));
            }
        }
        Ok(seen)
    }

    /// Reads the log of every open session, tells what is not as it was written, and has each log that is whole folded by
    /// `fold`, which says what is wrong with it. Returns how many sessions it has read.
    ///
    /// # Errors
    /// When the database cannot be read any further.
    pub fn open_sessions(
        &self,
        fold: &dyn Fn(&[u8]) -> Result<(), String>,
        tell: &mut dyn FnMut(String),
    ) -> Result<u64, StoreError> {
        let checksum = self.column("journal", "checksum")?;
        let mut sessions =
            self.connection.prepare("SELECT key, id FROM session WHERE closed_at IS NULL ORDER BY key")?;
        let sessions: Vec<(i64, String)> =
            sessions.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let mut logs: std::collections::BTreeMap<i64, (Vec<u8>, i64, Option<String>)> =
            sessions.iter().map(|(key, _)| (*key, (Vec::new(), 1, None))).collect();
        let mut live = self
            .connection
            .prepare(&format!("SELECT session, first_n, count, lines, {checksum}, id FROM journal ORDER BY id"))?;
        let mut rows = live.query([])?;
        while let Some(row) = rows.next()? {
            let (session, id): (i64, i64) = (row.get(0)?, row.get(5)?);
            let Some((log, next_n, broken)) = logs.get_mut(&session) else {
                tell(format!("journal row {id} belongs to no open session"));
                continue;
            };
            let row = LiveRow {
                session,
                first_n: row.get(1)?,
                count: row.get(2)?,
                lines: row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?,
                checksum: row.get(4)?,
            };
            if let (Err(why), None) = (row.check(session, *next_n), &broken) {
                *broken = Some(format!("row {id}: {why}"));
            }
            *next_n += row.count;
            log.extend_from_slice(row.lines);
        }
        for (key, id) in &sessions {
            let Some((log, _, broken)) = logs.remove(key) else { continue };
            let wrong = match broken {
                Some(why) => Some(why),
                None if log.is_empty() => Some("it has no log".to_owned()),
                None => fold(&log).err(),
            };
            if let Some(why) = wrong {
                tell(format!("open session {id}: {why}"));
            }
        }
        Ok(sessions.len() as u64)
    }

    /// Calls `each` with the name of every encrypted photo that a row refers to and that should be there.
    ///
    /// # Errors
    /// When the database cannot be read any further, or `each` says so.
    pub fn photos<E: From<StoreError>>(&self, each: &mut dyn FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let there = self.column("photo", "deleted_at")?;
        let sql =
            format!("SELECT evidence FROM enrolled_photo UNION ALL SELECT evidence FROM photo WHERE {there} IS NULL");
        let mut statement = self.connection.prepare(&sql).map_err(StoreError::from)?;
        let mut rows = statement.query([]).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            let name: String = row.get(0).map_err(StoreError::from)?;
            each(&name)?;
        }
        Ok(())
    }

    /// The names of the newest photos of captures that should be there, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_photos(&self, limit: u32) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT evidence FROM photo WHERE deleted_at IS NULL
                   ORDER BY created_at DESC, session DESC, capture DESC LIMIT ?1";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([limit], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Of the photos with these `names`, those that were deleted because they were past their retention: name, and when,
    /// ms since the epoch.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn deleted_photos(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, i64>, StoreError> {
        let there = self.column("photo", "deleted_at")?;
        let sql = format!("SELECT evidence, {there} FROM photo WHERE {there} IS NOT NULL");
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let mut deleted = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            if names.contains(&name) {
                deleted.insert(name, row.get(1)?);
            }
        }
        Ok(deleted)
    }

    /// A learner with the sealed data key, to try the master key on; `None` when nobody has one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn a_sealed_key(&self) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        let sql = "SELECT id, data_key FROM learner WHERE data_key IS NOT NULL ORDER BY rowid DESC LIMIT 1";
        Ok(self.connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    /// Forgotten learners of whom traces may remain.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn unpurged(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare("SELECT learner FROM forgotten WHERE purged_at IS NULL")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Learners who have a data key although they are forgotten.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn revived(&self, forgotten: &[super::forgetting::Tombstone]) -> Result<Vec<String>, StoreError> {
        let mut find = self.connection.prepare("SELECT 1 FROM learner WHERE id = ?1 AND data_key IS NOT NULL")?;
        let mut revived = Vec::new();
        for tombstone in forgotten {
            if find.exists([&tombstone.learner])? {
                revived.push(tombstone.learner.clone());
            }
        }
        Ok(revived)
    }

    /// The latest time that an open session's log or an end of a session is stamped with, ms since the epoch.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn latest_stamp(&self) -> Result<Option<i64>, StoreError> {
        let mut latest: Option<i64> = self.connection.query_row(
            "SELECT max(max(opened_at, coalesce(closed_at, 0))) FROM session",
            [],
            |row| row.get(0),
        )?;
        let mut newest = self.connection.prepare("SELECT lines FROM journal ORDER BY id DESC LIMIT 1000")?;
        let mut rows = newest.query([])?;
        while let Some(row) = rows.next()? {
            latest = latest.max(row.get_ref(0)?.as_blob().ok().and_then(last_stamp));
        }
        Ok(latest)
    }

    /// What waits for platforms.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn waiting(&self) -> Result<Waiting, StoreError> {
        let oldest = "SELECT min(created_at) FROM outbox WHERE state = 'pending'";
        Ok(Waiting {
            pending: self.count("outbox WHERE state = 'pending'")?,
            oldest_at: self.connection.query_row(oldest, [], |row| row.get(0))?,
            failed: self.count("outbox WHERE state = 'failed'")?,
        })
    }

    /// Writes the snapshot to a new file, without what was deleted from it.
    ///
    /// # Errors
    /// When the database cannot be read, or the file is there already or cannot be written.
    pub fn copy_to(self, path: &Path) -> Result<(), StoreError> {
        // VACUUM takes its own snapshot and wants no transaction around it.
        self.connection.execute_batch("COMMIT")?;
        self.connection.execute("VACUUM INTO ?1", [path.to_string_lossy()])?;
        Ok(())
    }

    fn count(&self, what: &str) -> Result<u64, StoreError> {
        let rows: i64 = self.connection.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0))?;
        Ok(rows.unsigned_abs())
    }

    /// The column, or null where the schema is older than it.
    fn column(&self, table: &str, column: &'static str) -> Result<&'static str, StoreError> {
        let there = "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2";
        Ok(if self.connection.prepare(there)?.exists([table, column])? { column } else { "NULL" })
    }
}
