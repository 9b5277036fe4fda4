//! Moving an installation from the embedded database to PostgreSQL.
//!
//! There is one walk: each table in the order of its keys, a few thousand rows at a time, and for each of these ranges the
//! digests of both sides. Where they differ, the target is made to hold what the source does, in one transaction. So the
//! walk that copies an installation, the one that goes on after it was killed, the one that takes along what has changed
//! since, and the one that verifies are the same, and nothing is kept of how far it came. What a server writes meanwhile
//! is seen by the next walk; the last one is made while no server has the data folder.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::evidence::{Evidence, EvidenceError};
use super::postgres::Address;
use super::{DATABASE_FILE, MOVED_FILE, StoreError, sql};

mod photos;
mod row;
mod source;
mod tables;
mod target;

pub use photos::Photos;
use source::{Chunk, Source};
use tables::{TABLES, Table};
pub use target::Difference;
pub(super) use target::refuse_unfinished;
use target::{Note, Side, Target};

/// Rows that differ and are named, of each table.
const NAMED: u64 = 20;
/// What both databases are asked about their logs: closed sessions, open ones, lines.
const LOGS: &str = "SELECT (SELECT count(*) FROM session WHERE closed_at IS NOT NULL),
    (SELECT count(*) FROM session WHERE closed_at IS NULL),
    (SELECT CAST(coalesce(sum(segment.count), 0) AS BIGINT) FROM segment)
        + (SELECT CAST(coalesce(sum(journal.count), 0) AS BIGINT) FROM journal
           JOIN session ON session.key = journal.session)";

/// Why an installation could not be moved, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Nothing was done, because it cannot be.
    #[error("{0}")]
    Refused(String),
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// PostgreSQL did not take what was to be written.
    #[error("table {table}: {why}")]
    Table {
        /// which
        table: &'static str,
        /// what it says
        why: String,
    },
    /// A row cannot be moved.
    #[error("table {table}, row {row}: {why}")]
    Row {
        /// the table
        table: &'static str,
        /// the row's key
        row: String,
        /// what is wrong with it
        why: String,
    },
    /// A photo could not be kept or had.
    #[error(transparent)]
    Photo(#[from] EvidenceError),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// which
        path: PathBuf,
        /// what the system said
        source: std::io::Error,
    },
}

impl From<rusqlite::Error> for MoveError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What a walk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Copies; a server may be using the source.
    Copy,
    /// Copies what has changed, and ends the move. Whoever calls holds the data folder.
    Finish,
    /// Compares, and changes nothing.
    Verify,
}

/// What is moved, and where to.
pub struct Move<'a> {
    /// the data folder
    pub folder: &'a Path,
    /// the database
    pub address: Address,
    /// by what the installation is known again
    pub source: String,
    /// where photos go, if they do not stay
    pub bucket: Option<Evidence>,
    /// what for
    pub pass: Pass,
    /// ms since the Unix epoch
    pub now_ms: i64,
}

/// Rows that were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// rows that were not there
    pub added: u64,
    /// rows that were there and other
    pub changed: u64,
    /// rows that the source has no longer
    pub removed: u64,
}

/// What came of a table.
#[derive(Clone, Debug)]
pub struct Moved {
    /// which
    pub table: &'static str,
    /// rows of the source
    pub rows: u64,
    /// what was written
    pub changes: Changes,
    /// rows that differ, when nothing is changed
    pub differing: u64,
    /// SHA-256 hex over all rows, of the source and of the target
    pub digests: [String; 2],
}

/// How many logs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// sessions that are over
    pub closed_sessions: i64,
    /// sessions that go on
    pub open_sessions: i64,
    /// lines of both
    pub lines: i64,
}

impl Logs {
    fn read(row: &sql::Row<'_>) -> sql::Result<Self> {
        Ok(Self { closed_sessions: row.get(0)?, open_sessions: row.get(1)?, lines: row.get(2)? })
    }
}

/// What came of a walk.
#[derive(Clone, Debug)]
pub struct Summary {
    /// each table
    pub tables: Vec<Moved>,
    /// of the source and of the target
    pub logs: [Logs; 2],
    /// what came of photos; none: they stay where they are
    pub photos: Option<Photos>,
}

impl Summary {
    /// Whether both sides are the same.
    pub fn is_equal(&self) -> bool {
        let same = |moved: &Moved| moved.digests[0] == moved.digests[1];
        self.tables.iter().all(same) && self.logs[0] == self.logs[1]
    }
}

/// What a walk has to say on its way.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// A table begins.
    Table {
        /// which
        table: &'static str,
        /// how many rows it has
        rows: u64,
    },
    /// So many more rows, or photos, were dealt with.
    Done(u64),
    /// A row of the target is not the source's.
    Row {
        /// of this table
        table: &'static str,
        /// its key
        row: &'a str,
        /// what is wrong
        difference: Difference,
    },
    /// The photos begin.
    Photos,
    /// A photo is not where it should be, or is another.
    Photo {
        /// which
        photo: &'a str,
        /// what is wrong
        why: &'a str,
    },
}

/// What a call came to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A walk was made to its end.
    Walked(Summary),
    /// The move had been finished, at this time, and nothing was done.
    FinishedBefore(i64),
}

impl Move<'_> {
    /// Walks once. Memory is bounded by what is moved at once, 8 MiB or a row, and its copies.
    ///
    /// # Errors
    /// When one of the databases fails, or the target is not one to move this installation to. The same call may be made
    /// again.
    pub fn run(self, tell: &mut dyn FnMut(Told<'_>)) -> Result<Outcome, MoveError> {
        let source = Source::open(&self.folder.join(DATABASE_FILE))?;
        let target = Target::open(&self.address, self.pass != Pass::Verify)?;
        let note = target.note()?;
        if let Some(Note { source, .. }) = &note
            && *source != self.source
        {
            return Err(MoveError::Refused("the database holds a move of another installation".into()));
        }
        match (note, self.pass) {
            (Some(Note { finished_at: Some(at), .. }), Pass::Copy | Pass::Finish) => {
                return Ok(Outcome::FinishedBefore(at));
            }
            (None, Pass::Verify) => return Err(MoveError::Refused("nothing was moved to the database".into())),
            (None, _) => target.begin(&self.source, self.now_ms)?,
            (Some(_), _) => {}
        }
        if self.pass != Pass::Verify {
            target.make_ready(&[source.months()?, vec![self.now_ms]].concat())?;
        }
        let mut moved = Vec::with_capacity(TABLES.len());
        for name in TABLES {
            let table = target.table(name)?;
            source.check(&table)?;
            tell(Told::Table { table: name, rows: source.count(&table)? });
            moved.push(self.walk(&source, &Side::new(&target, &table), &table, tell)?);
        }
        let photos = match &self.bucket {
            Some(bucket) => {
                tell(Told::Photos);
                Some(photos::send(&source, self.folder, bucket, self.pass, tell)?)
            }
            None => None,
        };
        let summary = Summary { tables: moved, logs: [source.logs()?, target.logs()?], photos };
        if self.pass == Pass::Finish {
            self.finish(&target, &summary)?;
        }
        Ok(Outcome::Walked(summary))
    }

    fn walk(
        &self,
        source: &Source,
        side: &Side<'_>,
        table: &Table,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Moved, MoveError> {
        let mut moved = Moved {
            table: table.name,
            rows: 0,
            changes: Changes::default(),
            differing: 0,
            digests: Default::default(),
        };
        let mut digests = [Vec::new(), Vec::new()].map(|_: Vec<()>| ring::digest::Context::new(&ring::digest::SHA256));
        let mut after = None;
        source.chunks(table, |chunk| {
            let here = chunk.digest();
            let mut there = side.digest(after.as_deref(), &chunk)?;
            if here != there {
                there = self.settle(side, table, after.as_deref(), &chunk, &mut moved, tell)?.unwrap_or(there);
            }
            digests[0].update(&here);
            digests[1].update(&there);
            moved.rows += chunk.rows.len() as u64;
            tell(Told::Done(chunk.rows.len() as u64));
            after = chunk.rows.into_iter().next_back().map(|row| row.key).or(after.take());
            Ok(())
        })?;
        moved.digests = digests.map(|digest| hex::encode(digest.finish()));
        Ok(moved)
    }

    /// A range differs: makes it equal and returns its digest, or tells how it differs.
    fn settle(
        &self,
        side: &Side<'_>,
        table: &Table,
        after: Option<&[row::Cell]>,
        chunk: &Chunk,
        moved: &mut Moved,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Option<row::Sha256>, MoveError> {
        if self.pass == Pass::Verify {
            side.differences(after, chunk, &mut |key, difference| {
                moved.differing += 1;
                if moved.differing <= NAMED {
                    tell(Told::Row { table: table.name, row: &row::in_words(key), difference });
                }
            })?;
            return Ok(None);
        }
        let changes = side.repair(after, chunk)?;
        moved.changes.added += changes.added;
        moved.changes.changed += changes.changed;
        moved.changes.removed += changes.removed;
        Ok(Some(chunk.digest()))
    }

    /// From here on the records are in PostgreSQL: the folder says so first, so that at no time both are served.
    fn finish(&self, target: &Target, summary: &Summary) -> Result<(), MoveError> {
        if !summary.is_equal() {
            let [here, there] = summary.logs;
            let why = format!("the two sides do not hold the same logs: {here:?}, {there:?}");
            return Err(MoveError::Refused(why));
        }
        let path = self.folder.join(MOVED_FILE);
        let failed = |source| MoveError::File { path: path.clone(), source };
        let note = json!({"moved_to": "PostgreSQL (database.url)", "at": self.now_ms}).to_string();
        crate::auth::keys::create(&path, note.as_bytes()).map_err(failed)?;
        Ok(target.finish(&self.source, self.now_ms)?)
    }
}
