//! Looking at a database without touching it: for the doctor, and for backups.
//!
//! Everything is read in one snapshot, so that a server may go on writing meanwhile. What is found is told in words; who
//! reads them decides what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::OpenFlags;

use super::journal::{LiveRow, last_stamp, open_segment};
use super::reading::{Reading, Records};
use super::sql::{OptionalExtension as _, Row, Value, ValueRef};
use super::{StoreError, checksum};

/// Rows that are read at once, without logs and with them: PostgreSQL's answers come whole.
const PAGE: i64 = 10_000;
const PAGE_OF_LOGS: i64 = 100;

/// A snapshot of a database.
pub struct Inspection {
    reading: Reading,
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

/// The log of an open session as it is put together again.
#[derive(Default)]
struct LiveLog {
    log: Vec<u8>,
    lines: i64,
    /// the first thing that is wrong with it
    broken: Option<String>,
}

impl LiveLog {
    /// Adds a row, of which come first number, count, lines and checksum.
    fn add(&mut self, session: i64, name: &str, row: &Row<'_>) -> Result<(), StoreError> {
        let lines = row.get_ref(2)?;
        let ValueRef::Blob(lines) = lines else { return Ok(()) };
        let (first_n, count, checksum) = (row.get(0)?, row.get(1)?, row.get(3)?);
        let row = LiveRow { session, first_n, count, lines, checksum };
        if let (Err(why), None) = (row.check(session, self.lines + 1), &self.broken) {
            self.broken = Some(format!("{name}: {why}"));
        }
        self.lines += count;
        self.log.extend_from_slice(lines);
        Ok(())
    }
}

impl Inspection {
    /// Opens the database at `path`. A `frozen` one is known to be written by nobody and is read without a trace; any
    /// other is read as its server sees it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, frozen: bool) -> Result<Self, StoreError> {
        let reading = if frozen {
            let mut url = reqwest::Url::from_file_path(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
                .map_err(|()| StoreError::Corrupt { what: "path", why: path.display().to_string() })?;
            url.set_query(Some("immutable=1"));
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = rusqlite::Connection::open_with_flags(url.as_str(), flags)?;
            connection.pragma_update(None, "cell_size_check", "ON")?;
            Reading::Embedded(connection)
        } else {
            Reading::open_file(path)?
        };
        reading.begin()?;
        Ok(Self { reading })
    }

    /// Opens what a server has, running or not.
    ///
    /// # Errors
    /// When it cannot be opened or reached.
    pub fn of(records: &Records) -> Result<Self, StoreError> {
        let reading = Reading::open(records)?;
        reading.begin()?;
        Ok(Self { reading })
    }

    /// Refuses a part of an installation: a move into this database that has not come to its end.
    ///
    /// # Errors
    /// That, or when the database cannot be read.
    pub fn refuse_unfinished(&self) -> Result<(), StoreError> {
        match &self.reading {
            Reading::Embedded(_) => Ok(()),
            Reading::Postgres(_) => super::moving::refuse_unfinished(&self.reading.sql()),
        }
    }

    /// Steps that the schema has taken, and steps that this binary knows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn schema(&self) -> Result<(usize, usize), StoreError> {
        self.reading.schema()
    }

    /// What SQLite finds wrong with its own pages; `deep` compares the indexes with the tables too. Nothing: all is well.
    /// `None`: the pages are PostgreSQL's, which checks them itself (`data_checksums`, `pg_amcheck`).
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub fn pages(&self, deep: bool) -> Result<Option<Vec<String>>, StoreError> {
        let Reading::Embedded(connection) = &self.reading else { return Ok(None) };
        let check = if deep { "PRAGMA integrity_check" } else { "PRAGMA quick_check" };
        let mut statement = connection.prepare(check)?;
        let said: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let said = said.into_iter().flat_map(|said| said.lines().map(str::to_owned).collect::<Vec<_>>());
        Ok(Some(said.filter(|said| said != "ok").collect()))
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

    /// Reads the log and the verdicts of every closed session, or of the `newest` so many, and tells what is not as it was
    /// written. Returns how many sessions it has read.
    ///
    /// # Errors
    /// When the database cannot be read any further.
    pub fn closed_sessions(&self, newest: Option<u32>, tell: &mut dyn FnMut(String)) -> Result<u64, StoreError> {
        let connection = self.reading.sql();
        let mut sessions = connection.prepare_cached(
            "SELECT session.key, session.id, segment.lines, segment.digest FROM session
             LEFT JOIN segment ON segment.session = session.key
             WHERE session.closed_at IS NOT NULL AND session.key < ?1 ORDER BY session.key DESC LIMIT ?2",
        )?;
        let (mut first, mut seen, limit) = (i64::MAX, 0, newest.map_or(i64::MAX, i64::from));
        loop {
            let page = PAGE_OF_LOGS.min(limit - seen);
            let mut rows = sessions.query([first, page])?;
            let before = seen;
            while let Some(row) = rows.next()? {
                (first, seen) = (row.get(0)?, seen + 1);
                self.closed_session(&row, tell)?;
            }
            if seen - before < page || seen == limit {
                return Ok(seen.unsigned_abs());
            }
        }
    }

    fn closed_session(&self, row: &Row<'_>, tell: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        let (key, id): (i64, String) = (row.get(0)?, row.get(1)?);
        let (lines, digest): (Option<Vec<u8>>, Option<String>) = (row.get(2)?, row.get(3)?);
        let (Some(lines), Some(digest)) = (lines, digest) else {
            tell(format!("session {id} is closed and has no log"));
            return Ok(());
        };
        if let Err(error) = open_segment(&lines, &digest) {
            tell(format!("session {id}: {error}"));
        }
        let checksum = self.column("verdict", "checksum")?;
        let verdicts = format!("SELECT version, body, {checksum} FROM verdict WHERE session = ?1 ORDER BY version");
        let (mut judged, mut verdicts) = (0, self.reading.sql().prepare_cached(&verdicts)?);
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
        Ok(())
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
        let connection = self.reading.sql();
        let mut sessions =
            connection.prepare_cached("SELECT key, id FROM session WHERE closed_at IS NULL ORDER BY key")?;
        let sessions: Vec<(i64, String)> =
            sessions.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let open = sessions.len() as u64;
        let logs = match &self.reading {
            Reading::Embedded(_) => Some(self.scan_journal(&sessions, tell)?),
            Reading::Postgres(_) => {
                self.tell_orphans(tell)?;
                None
            }
        };
        let mut logs = logs.unwrap_or_default();
        for (key, id) in sessions {
            let live = match &self.reading {
                Reading::Embedded(_) => logs.remove(&key).unwrap_or_default(),
                Reading::Postgres(_) => self.live_log(key)?,
            };
            let wrong = match live.broken {
                Some(why) => Some(why),
                None if live.log.is_empty() => Some("it has no log".to_owned()),
                None => fold(&live.log).err(),
            };
            if let Some(why) = wrong {
                tell(format!("open session {id}: {why}"));
            }
        }
        Ok(open)
    }

    /// The logs of all open sessions by one scan: rows of SQLite's journal are not found by their session.
    fn scan_journal(
        &self,
        sessions: &[(i64, String)],
        tell: &mut dyn FnMut(String),
    ) -> Result<BTreeMap<i64, LiveLog>, StoreError> {
        let checksum = self.column("journal", "checksum")?;
        let mut logs: BTreeMap<i64, LiveLog> = sessions.iter().map(|(key, _)| (*key, LiveLog::default())).collect();
        let connection = self.reading.sql();
        let mut live = connection.prepare_cached(&format!(
            "SELECT first_n, count, lines, {checksum}, id, session FROM journal ORDER BY id"
        ))?;
        let mut rows = live.query(())?;
        while let Some(row) = rows.next()? {
            let (id, session): (i64, i64) = (row.get(4)?, row.get(5)?);
            match logs.get_mut(&session) {
                Some(log) => log.add(session, &format!("row {id}"), &row)?,
                None => tell(format!("journal row {id} belongs to no open session")),
            }
        }
        Ok(logs)
    }

    /// The log of one open session, where the journal has a key.
    fn live_log(&self, session: i64) -> Result<LiveLog, StoreError> {
        let connection = self.reading.sql();
        let mut live = connection.prepare_cached(
            "SELECT first_n, count, lines, checksum FROM journal
             WHERE month = (SELECT month FROM session WHERE key = ?1) AND session = ?1 ORDER BY first_n",
        )?;
        let (mut rows, mut log) = (live.query([session])?, LiveLog::default());
        while let Some(row) = rows.next()? {
            let first_n: i64 = row.get(0)?;
            log.add(session, &format!("the row from line {first_n}"), &row)?;
        }
        Ok(log)
    }

    fn tell_orphans(&self, tell: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        let connection = self.reading.sql();
        let mut orphans = connection.prepare_cached(
            "SELECT journal.session, count(*) FROM journal
             LEFT JOIN session ON session.key = journal.session AND session.closed_at IS NULL
             WHERE session.key IS NULL GROUP BY journal.session ORDER BY journal.session LIMIT 1000",
        )?;
        let mut rows = orphans.query(())?;
        while let Some(row) = rows.next()? {
            let (session, count): (i64, i64) = (row.get(0)?, row.get(1)?);
            tell(format!("{count} journal rows of session key {session} belong to no open session"));
        }
        Ok(())
    }

    /// Calls `each` with the name of every encrypted photo that a row refers to and that should be there.
    ///
    /// # Errors
    /// When the database cannot be read any further, or `each` says so.
    pub fn photos<E: From<StoreError>>(&self, each: &mut dyn FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let there = self.column("photo", "deleted_at")?;
        let enrolled = "SELECT evidence, learner, version FROM enrolled_photo WHERE (learner, version) > (?1, ?2)
            ORDER BY learner, version LIMIT ?3";
        self.names(enrolled, [Value::Text(String::new()), Value::Integer(i64::MIN)], each)?;
        let captured = format!(
            "SELECT evidence, session, capture FROM photo WHERE {there} IS NULL AND (session, capture) > (?1, ?2)
             ORDER BY session, capture LIMIT ?3"
        );
        self.names(&captured, [Value::Integer(i64::MIN), Value::Text(String::new())], each)
    }

    /// Calls `each` with the names that `sql` finds, page after page: it takes the two parts of the last key and how many.
    fn names<E: From<StoreError>>(
        &self,
        sql: &str,
        mut after: [Value; 2],
        each: &mut dyn FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let connection = self.reading.sql();
        let mut statement = connection.prepare_cached(sql).map_err(StoreError::from)?;
        let mut read = PAGE;
        while read == PAGE {
            read = 0;
            let [first, second] = after.clone();
            let values = [first, second, Value::Integer(PAGE)];
            let mut rows = statement.query(&values[..]).map_err(StoreError::from)?;
            while let Some(row) = rows.next().map_err(StoreError::from)? {
                read += 1;
                let take = |column| Ok::<_, StoreError>(Value::of(row.get_ref(column)?));
                after = [take(1)?, take(2)?];
                let name: String = row.get(0).map_err(StoreError::from)?;
                each(&name)?;
            }
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
        let connection = self.reading.sql();
        let mut statement = connection.prepare_cached(sql)?;
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
        let connection = self.reading.sql();
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(())?;
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
        let sql = "SELECT id, data_key FROM learner WHERE data_key IS NOT NULL ORDER BY id DESC LIMIT 1";
        Ok(self.reading.sql().query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    /// Forgotten learners of whom traces may remain.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn unpurged(&self) -> Result<Vec<String>, StoreError> {
        let connection = self.reading.sql();
        let mut statement = connection.prepare_cached("SELECT learner FROM forgotten WHERE purged_at IS NULL")?;
        let rows = statement.query_map((), |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Learners who have a data key although they are forgotten.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn revived(&self, forgotten: &[super::forgetting::Tombstone]) -> Result<Vec<String>, StoreError> {
        let connection = self.reading.sql();
        let mut find = connection.prepare_cached("SELECT 1 FROM learner WHERE id = ?1 AND data_key IS NOT NULL")?;
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
        let connection = self.reading.sql();
        let ends = "SELECT max(opened_at), max(closed_at) FROM session";
        let (opened, closed): (Option<i64>, Option<i64>) =
            connection.query_row(ends, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut latest = opened.max(closed);
        let newest = match &self.reading {
            Reading::Embedded(_) => "SELECT lines FROM journal ORDER BY id DESC LIMIT 1000",
            // The last line of each, as far as sessions that were opened last go on last.
            Reading::Postgres(_) => {
                "SELECT DISTINCT ON (month, session) lines FROM journal
                 ORDER BY month DESC, session DESC, first_n DESC LIMIT 1000"
            }
        };
        let mut newest = connection.prepare_cached(newest)?;
        let mut rows = newest.query(())?;
        while let Some(row) = rows.next()? {
            if let ValueRef::Blob(lines) = row.get_ref(0)? {
                latest = latest.max(last_stamp(lines));
            }
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
            oldest_at: self.reading.sql().query_row(oldest, (), |row| row.get(0))?,
            failed: self.count("outbox WHERE state = 'failed'")?,
        })
    }

    /// Writes the snapshot to a new file, without what was deleted from it.
    ///
    /// # Errors
    /// When the database cannot be read or is PostgreSQL's, or the file is there already or cannot be written.
    pub fn copy_to(self, path: &Path) -> Result<(), StoreError> {
        let Reading::Embedded(connection) = self.reading else {
            return Err(StoreError::Unfit("PostgreSQL's own tools copy it".into()));
        };
        // VACUUM takes its own snapshot and wants no transaction around it.
        connection.execute_batch("COMMIT")?;
        connection.execute("VACUUM INTO ?1", [path.to_string_lossy()])?;
        Ok(())
    }

    fn count(&self, what: &str) -> Result<u64, StoreError> {
        let count = format!("SELECT count(*) FROM {what}");
        let rows: i64 = self.reading.sql().query_row(&count, (), |row| row.get(0))?;
        Ok(rows.unsigned_abs())
    }

    /// The column, or null where the schema is older than it.
    fn column(&self, table: &str, column: &'static str) -> Result<&'static str, StoreError> {
        let Reading::Embedded(connection) = &self.reading else { return Ok(column) };
        let there = "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2";
        Ok(if connection.prepare_cached(there)?.exists([table, column])? { column } else { "NULL" })
    }
}
