//! The PostgreSQL database that is moved to: what it holds of a range of keys, and how it is made to hold what the source
//! does.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::types::ToSql;

use super::row::{self, Cell, Column, Sha256};
use super::source::Chunk;
use super::tables::{COUNTED, REPORT_TARGET, TABLES, Table, type_name};
use super::{Changes, Logs, MoveError};
use crate::store::postgres::{self, Address, Session};
use crate::store::sql::{self, Connection, Kind, OptionalExtension as _, params};
use crate::store::{StoreError, sql::ValueRef};

/// The longest that one statement may take: the slowest gathers statistics of all tables.
const ANSWER_LIMIT: Duration = Duration::from_secs(3_600);
/// Keys that are read at once where a range differs.
const PAGE: i64 = 10_000;
/// Another move is waited for so long: PostgreSQL may need a moment to see that a process has died.
const SETTINGS: &str = "SET statement_timeout = 0; SET lock_timeout = '10s'; SET synchronous_commit = on;
    SET idle_in_transaction_session_timeout = 0";
/// One move into a database at a time.
const ONE_MOVE: &str = "SELECT pg_advisory_lock(hashtextextended('invigil move', 0))";
/// Which installation is moved here, and since when. Not of the schema: it is only where something was moved.
const NOTE: &str = "CREATE TABLE IF NOT EXISTS embedded_move (
    source      TEXT COLLATE \"C\" PRIMARY KEY,
    begun_at    BIGINT NOT NULL,
    finished_at BIGINT
)";

/// The database.
pub(super) struct Target {
    session: Session,
}

/// What is said of an earlier move into the database.
pub(super) struct Note {
    pub(super) source: String,
    pub(super) finished_at: Option<i64>,
}

/// What a row of the target is to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// it is not there
    Missing,
    /// it holds something else
    Other,
    /// the source has no such row
    Unknown,
}

impl Target {
    /// Connects, and keeps other moves away. With `make` the schema is made.
    pub(super) fn open(address: &Address, make: bool) -> Result<Self, MoveError> {
        let session = Session::connect(address, ANSWER_LIMIT).map_err(StoreError::from)?;
        session.execute_batch(SETTINGS).map_err(StoreError::from)?;
        session.execute_batch(ONE_MOVE).map_err(|error| {
            MoveError::Refused(format!("cannot take the database: is another move under way? ({error})"))
        })?;
        if make {
            postgres::bring_up_to_date(&session)?;
            session.execute_batch(NOTE).map_err(StoreError::from)?;
        }
        Ok(Self { session })
    }

    fn sql(&self) -> Connection<'_> {
        Connection::postgres(&self.session)
    }

    /// What an earlier move has left; `None` where there was none.
    pub(super) fn note(&self) -> Result<Option<Note>, StoreError> {
        note(&self.sql())
    }

    /// Begins a move into this database, which must be empty.
    pub(super) fn begin(&self, source: &str, now_ms: i64) -> Result<(), MoveError> {
        for table in TABLES {
            let filled = format!("SELECT EXISTS (SELECT FROM \"{table}\")");
            if self.sql().query_row(&filled, (), |row| row.get::<bool>(0)).map_err(StoreError::from)? {
                let why = format!("the database is not empty: there are rows in {table}. Make a new one for the move");
                return Err(MoveError::Refused(why));
            }
        }
        let insert = "INSERT INTO embedded_move (source, begun_at) VALUES (?1, ?2)";
        self.sql().execute(insert, params![source, now_ms]).map_err(StoreError::from)?;
        Ok(())
    }

    /// What it takes for rows to be only copied: nothing is reported of them, and the journal has its partitions.
    pub(super) fn make_ready(&self, months: &[i64]) -> Result<(), StoreError> {
        self.sql().execute_batch(&format!("DELETE FROM {REPORT_TARGET}"))?;
        for month in months {
            let make = "SELECT make_journal_partitions(?1, 1)";
            self.sql().query_row(make, [*month], |row| row.get::<i64>(0))?;
        }
        Ok(())
    }

    /// Columns and key of a table.
    pub(super) fn table(&self, name: &'static str) -> Result<Table, MoveError> {
        let columns = "SELECT attribute.attname::TEXT, format_type(attribute.atttypid, NULL),
                array_position(key.indkey::INT2[], attribute.attnum)
            FROM pg_attribute AS attribute
            LEFT JOIN pg_index AS key ON key.indrelid = attribute.attrelid AND key.indisprimary
            WHERE attribute.attrelid = to_regclass(?1) AND attribute.attnum > 0 AND NOT attribute.attisdropped
                AND attribute.attgenerated = '' ORDER BY attribute.attnum";
        let mut statement = self.sql().prepare_cached(columns).map_err(StoreError::from)?;
        let mut rows = statement.query([name]).map_err(StoreError::from)?;
        let (mut columns, mut key) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            let (column, of_type): (String, String) = (get(&row, 0)?, get(&row, 1)?);
            if let Some(place) = get::<Option<i64>>(&row, 2)? {
                key.push((place, columns.len()));
            }
            let kind = [Kind::Integer, Kind::Text, Kind::Blob].into_iter();
            let kind = kind.zip(["bigint", "text", "bytea"]).find(|(_, name)| *name == of_type);
            let (kind, _) = kind.ok_or_else(|| MoveError::Refused(format!("{name}.{column} is {of_type}")))?;
            columns.push((column, kind));
        }
        key.sort_unstable();
        if key.is_empty() {
            return Err(MoveError::Refused(format!("the database has no table {name} with a key")));
        }
        Ok(Table { name, columns, key: key.into_iter().map(|(_, column)| column).collect() })
    }

    pub(super) fn logs(&self) -> Result<Logs, StoreError> {
        Ok(self.sql().query_row(super::LOGS, (), Logs::read)?)
    }

    /// Numbers go on behind those that are there, and the move is over.
    pub(super) fn finish(&self, source: &str, now_ms: i64) -> Result<(), StoreError> {
        let connection = self.sql();
        for table in TABLES {
            connection.execute_batch(&format!("ANALYZE \"{table}\""))?;
        }
        connection.execute_batch("BEGIN")?;
        for (table, column) in COUNTED {
            connection.execute_batch(&format!(
                "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), greatest(coalesce(max(\"{column}\"), 0), 1),
                     max(\"{column}\") IS NOT NULL) FROM \"{table}\""
            ))?;
        }
        let finish = "UPDATE embedded_move SET finished_at = ?2 WHERE source = ?1";
        connection.execute(finish, params![source, now_ms])?;
        Ok(connection.execute_batch("COMMIT")?)
    }
}

/// What is noted of a move into the database.
fn note(connection: &Connection) -> Result<Option<Note>, StoreError> {
    let there = "SELECT to_regclass('embedded_move') IS NOT NULL";
    if !connection.query_row(there, (), |row| row.get::<bool>(0))? {
        return Ok(None);
    }
    let note = "SELECT source, finished_at FROM embedded_move";
    let read = |row: &sql::Row<'_>| Ok(Note { source: row.get(0)?, finished_at: row.get(1)? });
    Ok(connection.query_row(note, (), read).optional()?)
}

/// Refuses a database that holds a part of an installation only.
pub(in crate::store) fn refuse_unfinished(connection: &Connection) -> Result<(), StoreError> {
    match note(connection)? {
        Some(Note { finished_at: None, .. }) => Err(StoreError::Unfit(
            "it holds an unfinished move: go on with `invigil migrate embedded-to-postgres --finish`, or serve the data \
             folder without database.url"
                .into(),
        )),
        _ => Ok(()),
    }
}

fn get<T: sql::FromSql>(row: &sql::Row<'_>, column: usize) -> Result<T, StoreError> {
    Ok(row.get(column)?)
}

/// One table of the target, and the statements for it.
pub(super) struct Side<'a> {
    target: &'a Target,
    table: &'a Table,
    digest: String,
    upsert: String,
    delete: String,
}

impl<'a> Side<'a> {
    pub(super) fn new(target: &'a Target, table: &'a Table) -> Self {
        let (name, columns, key) = (table.name, table.column_list(), table.key_list());
        let arrays = |kinds: Vec<Kind>| {
            let array = |(place, kind): (usize, Kind)| format!("${}::{}[]", place + 1, type_name(kind));
            kinds.into_iter().enumerate().map(array).collect::<Vec<_>>().join(", ")
        };
        let others: Vec<String> = (0..table.columns.len())
            .filter(|column| !table.key.contains(column))
            .map(|column| &table.columns[column].0)
            .map(|column| format!("\"{column}\" = excluded.\"{column}\""))
            .collect();
        let conflict =
            if others.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", others.join(", ")) };
        let all = arrays(table.columns.iter().map(|(_, kind)| *kind).collect());
        let upsert =
            format!("INSERT INTO \"{name}\" ({columns}) SELECT * FROM unnest({all}) ON CONFLICT ({key}) DO {conflict}");
        let keys = arrays(table.key_columns().map(|(_, kind)| *kind).collect());
        let delete = format!("DELETE FROM \"{name}\" WHERE ({key}) IN (SELECT * FROM unnest({keys}))");
        Self { target, table, digest: row::digest_in_sql(&table.columns), upsert, delete }
    }

    fn ask(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<tokio_postgres::Row>, MoveError> {
        self.target.session.ask(sql, values).map_err(|error| self.failed(&error))
    }

    fn run(&self, sql: &str) -> Result<(), MoveError> {
        self.target.session.execute_batch(sql).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &sql::Error) -> MoveError {
        MoveError::Table { table: self.table.name, why: error.to_string() }
    }

    /// The condition for keys in a range, and what comes in its places.
    fn range<'k>(&self, after: Option<&'k [Cell]>, up_to: Option<&'k [Cell]>) -> (String, Vec<&'k (dyn ToSql + Sync)>) {
        let mut values: Vec<&(dyn ToSql + Sync)> = Vec::new();
        let mut conditions = Vec::new();
        for (bound, operator) in [(after, ">"), (up_to, "<=")] {
            let Some(bound) = bound else { continue };
            let first = values.len() + 1;
            let places = self.table.key_columns().enumerate();
            let places: Vec<String> =
                places.map(|(place, (_, kind))| format!("${}::{}", first + place, type_name(*kind))).collect();
            conditions.push(format!("({}) {operator} ({})", self.table.key_list(), places.join(", ")));
            values.extend(bound.iter().map(Cell::value));
        }
        let condition =
            if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        (condition, values)
    }

    /// The digest of all rows whose keys come after `after` and are not beyond the chunk's last.
    pub(super) fn digest(&self, after: Option<&[Cell]>, chunk: &Chunk) -> Result<Sha256, MoveError> {
        let (condition, values) = self.range(after, end_of(chunk));
        let (key, name, digest) = (self.table.key_list(), self.table.name, &self.digest);
        let sum = format!(
            "SELECT sha256(coalesce(string_agg(digest, ''::BYTEA ORDER BY {key}), ''::BYTEA))
             FROM (SELECT {key}, {digest} AS digest FROM \"{name}\" {condition}) AS rows"
        );
        let rows = self.ask(&sum, &values)?;
        rows.first().and_then(|row| digest_in(row, 0)).ok_or_else(|| self.failed(&sql::Error::NoRow))
    }

    /// Tells what every row of the range is to the source, where it is not the same.
    pub(super) fn differences(
        &self,
        after: Option<&[Cell]>,
        chunk: &Chunk,
        tell: &mut dyn FnMut(&[Cell], Difference),
    ) -> Result<(), MoveError> {
        let wanted: HashMap<&[Cell], usize> =
            chunk.rows.iter().enumerate().map(|(place, row)| (&row.key[..], place)).collect();
        let mut seen = vec![false; chunk.rows.len()];
        let mut after = after.map(<[Cell]>::to_vec);
        loop {
            let page = self.page(after.as_deref(), chunk)?;
            for (key, digest) in &page {
                match wanted.get(&key[..]) {
                    None => tell(key, Difference::Unknown),
                    Some(place) => {
                        seen[*place] = true;
                        if chunk.rows[*place].digest != *digest {
                            tell(key, Difference::Other);
                        }
                    }
                }
            }
            match page.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => break,
            }
        }
        for (row, _) in chunk.rows.iter().zip(seen).filter(|(_, seen)| !seen) {
            tell(&row.key, Difference::Missing);
        }
        Ok(())
    }

    /// Keys and digests of rows in the range, the first so many.
    fn page(&self, after: Option<&[Cell]>, chunk: &Chunk) -> Result<Vec<(Vec<Cell>, Sha256)>, MoveError> {
        let (condition, values) = self.range(after, end_of(chunk));
        let (key, name, digest) = (self.table.key_list(), self.table.name, &self.digest);
        let select = format!("SELECT {key}, {digest} FROM \"{name}\" {condition} ORDER BY {key} LIMIT {PAGE}");
        let parts = self.table.key.len();
        let read = |row: &tokio_postgres::Row| -> Result<_, MoveError> {
            let cell = |part| -> Result<Cell, MoveError> {
                let value: ValueRef<'_> = postgres::column(row, part).map_err(|error| self.failed(&error))?;
                Cell::of(value).map_err(|why| MoveError::Table { table: name, why })
            };
            let key: Vec<Cell> = (0..parts).map(cell).collect::<Result<_, _>>()?;
            Ok((key, digest_in(row, parts).ok_or_else(|| self.failed(&sql::Error::NoRow))?))
        };
        self.ask(&select, &values)?.iter().map(read).collect()
    }

    /// Makes the range hold what the chunk does, in one transaction that is made durable only if the digests are equal
    /// then.
    pub(super) fn repair(&self, after: Option<&[Cell]>, chunk: &Chunk) -> Result<Changes, MoveError> {
        self.run("BEGIN")?;
        let (mut wrong, mut unknown, mut changes) = (HashMap::new(), Vec::new(), Changes::default());
        self.differences(after, chunk, &mut |key, difference| match difference {
            Difference::Unknown => unknown.push(key.to_vec()),
            difference => drop(wrong.insert(key.to_vec(), difference)),
        })?;
        for keys in unknown.chunks(PAGE as usize) {
            self.write(&self.delete, self.table.key_columns().enumerate(), keys.iter().map(|key| &key[..]))?;
        }
        changes.removed = unknown.len() as u64;
        changes.added = wrong.values().filter(|difference| **difference == Difference::Missing).count() as u64;
        changes.changed = wrong.len() as u64 - changes.added;
        if !wrong.is_empty() {
            let rows = chunk.rows.iter().filter(|row| wrong.contains_key(&row.key)).map(|row| &row.cells[..]);
            self.write(&self.upsert, self.table.columns.iter().enumerate(), rows)?;
        }
        if self.digest(after, chunk)? != chunk.digest() {
            let mut still = None;
            self.differences(after, chunk, &mut |key, _| still = Some(row::in_words(key)))?;
            let why = "PostgreSQL does not hold what was written: its digest differs".to_owned();
            return Err(MoveError::Row { table: self.table.name, row: still.unwrap_or_default(), why });
        }
        self.run("COMMIT")?;
        Ok(changes)
    }

    /// Runs a statement that takes a whole column for each placeholder.
    fn write<'c>(
        &self,
        sql: &str,
        columns: impl Iterator<Item = (usize, &'c (String, Kind))>,
        rows: impl Iterator<Item = &'c [Cell]> + Clone,
    ) -> Result<(), MoveError> {
        let columns: Vec<Column<'_>> =
            columns.map(|(place, (_, kind))| Column::of(*kind, rows.clone().map(|row| &row[place]))).collect();
        let values: Vec<&(dyn ToSql + Sync)> = columns.iter().map(Column::value).collect();
        self.ask(sql, &values).map(drop)
    }
}

/// The last key of a chunk; none for the last chunk, which has no end.
fn end_of(chunk: &Chunk) -> Option<&[Cell]> {
    chunk.rows.last().filter(|_| !chunk.is_last).map(|row| &row.key[..])
}

fn digest_in(row: &tokio_postgres::Row, column: usize) -> Option<Sha256> {
    row.try_get::<_, &[u8]>(column).ok()?.try_into().ok()
}
