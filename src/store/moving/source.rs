//! The embedded database that is moved: one state of it, read in the order of keys.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;

use super::row::{self, Cell, Sha256};
use super::tables::{JOURNAL, Table};
use super::{Logs, MoveError};
use crate::store::{StoreError, checksum, embedded, sql};

/// Rows that are compared, and written, at once.
const CHUNK_ROWS: usize = 2_000;
/// Bytes of them, when that is reached first: with a row more this is what is held in memory, twice.
const CHUNK_BYTES: usize = 8 << 20;

/// The journal as PostgreSQL has it: by the month in which its session was opened.
const JOURNAL_BY_MONTH: &str =
    "(SELECT CAST(strftime('%Y%m', session.opened_at / 1000, 'unixepoch') AS INTEGER) AS month,
        journal.session, journal.first_n, journal.count, journal.lines, journal.checksum
    FROM journal JOIN session ON session.key = journal.session)";

/// One state of the database, whatever its server writes meanwhile.
pub(super) struct Source {
    connection: Connection,
}

/// Some rows that follow each other.
pub(super) struct Chunk {
    /// key, cells and digest of each
    pub(super) rows: Vec<Moved>,
    /// whether none comes after them
    pub(super) is_last: bool,
}

/// A row of the source.
pub(super) struct Moved {
    pub(super) key: Vec<Cell>,
    pub(super) cells: Vec<Cell>,
    pub(super) digest: Sha256,
}

impl Chunk {
    pub(super) fn digest(&self) -> Sha256 {
        row::digest_of_all(self.rows.iter().map(|row| &row.digest))
    }
}

impl Source {
    /// Opens the database at `path`, which a server may be using, and holds on to its present state.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = embedded::connect_to_read(path)?;
        connection.execute_batch("BEGIN")?;
        embedded::check_schema(&connection)?;
        Ok(Self { connection })
    }

    /// Refuses a table whose columns are not those of PostgreSQL's.
    pub(super) fn check(&self, table: &Table) -> Result<(), MoveError> {
        let mut statement = self.connection.prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0")?;
        let mut here: BTreeSet<String> =
            statement.query_map([table.name], |row| row.get(0))?.collect::<Result<_, _>>()?;
        if table.name == JOURNAL {
            here.remove("id");
            here.insert("month".into());
        }
        let there: BTreeSet<String> = table.columns.iter().map(|(name, _)| name.clone()).collect();
        let other: Vec<&String> = here.symmetric_difference(&there).collect();
        if other.is_empty() {
            return Ok(());
        }
        Err(MoveError::Refused(format!("the two schemas differ: table {}, columns {other:?}", table.name)))
    }

    /// How many rows there are.
    pub(super) fn count(&self, table: &Table) -> Result<u64, StoreError> {
        let count = format!("SELECT count(*) FROM {}", from(table));
        Ok(self.connection.query_row(&count, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
    }

    /// Gives all rows of a table to `take`, in the order of keys, the last part with what may be nothing.
    pub(super) fn chunks(
        &self,
        table: &Table,
        mut take: impl FnMut(Chunk) -> Result<(), MoveError>,
    ) -> Result<(), MoveError> {
        let select = format!("SELECT {} FROM {} ORDER BY {}", table.column_list(), from(table), table.key_list());
        let mut statement = self.connection.prepare(&select)?;
        let mut found = statement.query([])?;
        loop {
            let (mut rows, mut bytes) = (Vec::new(), 0);
            let mut is_last = true;
            while let Some(row) = found.next()? {
                let row = read(table, row)?;
                bytes += row.cells.iter().map(Cell::bytes).sum::<usize>();
                rows.push(row);
                if rows.len() == CHUNK_ROWS || bytes >= CHUNK_BYTES {
                    is_last = false;
                    break;
                }
            }
            take(Chunk { rows, is_last })?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// A moment of each month in which an open session was opened, ms since the epoch.
    pub(super) fn months(&self) -> Result<Vec<i64>, StoreError> {
        let months = "SELECT min(opened_at) FROM session WHERE closed_at IS NULL
            GROUP BY strftime('%Y%m', opened_at / 1000, 'unixepoch')";
        let mut statement = self.connection.prepare(months)?;
        Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    pub(super) fn logs(&self) -> Result<Logs, StoreError> {
        let connection = sql::Connection::embedded(&self.connection);
        Ok(connection.query_row(super::LOGS, (), Logs::read)?)
    }

    /// Gives the names of photos that should be there to `take`, some at a time.
    pub(super) fn photos(&self, mut take: impl FnMut(Vec<String>) -> Result<(), MoveError>) -> Result<(), MoveError> {
        let names = "SELECT evidence FROM enrolled_photo
            UNION ALL SELECT evidence FROM photo WHERE deleted_at IS NULL";
        let mut statement = self.connection.prepare(names)?;
        let mut rows = statement.query([])?;
        let mut some = Vec::new();
        while let Some(row) = rows.next()? {
            some.push(row.get(0)?);
            if some.len() == CHUNK_ROWS {
                take(std::mem::take(&mut some))?;
            }
        }
        take(some)
    }
}

fn from(table: &Table) -> String {
    if table.name == JOURNAL { JOURNAL_BY_MONTH.to_owned() } else { format!("\"{}\"", table.name) }
}

fn read(table: &Table, row: &rusqlite::Row<'_>) -> Result<Moved, MoveError> {
    let mut cells = Vec::with_capacity(table.columns.len());
    for (column, (name, _)) in table.columns.iter().enumerate() {
        let value = sql::of_embedded(row.get_ref(column)?, column).map_err(|error| error.to_string());
        let cell = value.and_then(Cell::of).map_err(|why| MoveError::Row {
            table: table.name,
            row: row::in_words(&key_of(table, &cells)),
            why: format!("column {name}: {why}"),
        })?;
        cells.push(cell);
    }
    if table.name == JOURNAL {
        add_checksum(table, &mut cells);
    }
    Ok(Moved { key: key_of(table, &cells), digest: row::digest(&cells), cells })
}

/// The key, as far as it has been read.
fn key_of(table: &Table, cells: &[Cell]) -> Vec<Cell> {
    table.key.iter().filter_map(|column| cells.get(*column)).cloned().collect()
}

/// Rows of the journal that are older than checksums get theirs here: PostgreSQL has none without.
fn add_checksum(table: &Table, cells: &mut [Cell]) {
    let place = |name| table.columns.iter().position(|(column, _)| column == name);
    let [Some(session), Some(first_n), Some(count), Some(lines), Some(checksum)] =
        ["session", "first_n", "count", "lines", "checksum"].map(place)
    else {
        return;
    };
    let written = match (&cells[session], &cells[first_n], &cells[count], &cells[lines], &cells[checksum]) {
        (Cell::Integer(session), Cell::Integer(first_n), Cell::Integer(count), Cell::Bytes(lines), Cell::Null) => {
            checksum::of_lines(*session, *first_n, *count, lines)
        }
        _ => return,
    };
    cells[checksum] = Cell::Integer(written.into());
}
