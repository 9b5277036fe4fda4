//! What records are written and read through: one small interface over the engines, so that a statement is one text.
//!
//! It looks like rusqlite, which it began as. Placeholders are `?1`, `?2` …; whole numbers and truth values are `i64`
//! on the way, times are milliseconds. Where no text is good for every engine, [`dialect`] has one for each. What a
//! transaction is, and when one is run again, is the engines' business.

pub mod dialect;
mod values;

use super::postgres::Session;
pub use dialect::Dialect;
pub(super) use values::of_embedded;
pub use values::{FromSql, Kind, Plain, ToSql, Value, ValueRef};

/// What came of a statement.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The embedded database refused it.
    #[error(transparent)]
    Embedded(#[from] rusqlite::Error),
    /// PostgreSQL refused it, or cannot be reached.
    #[error("{}", super::postgres::in_words(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// PostgreSQL does not answer.
    #[error("the database does not answer")]
    Silent,
    /// A thread cannot wait for PostgreSQL.
    #[error("cannot start: {0}")]
    Thread(std::io::Error),
    /// There is no row where there must be one.
    #[error("no row was found")]
    NoRow,
    /// A column does not hold what is read from it.
    #[error("column {column}: {why}")]
    Column {
        /// the column, from 0
        column: usize,
        /// what it holds
        why: String,
    },
}

impl Error {
    /// Whether the disk is the reason, or somebody who is in the way: the same may succeed later.
    pub fn is_passing(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, ReadOnly, SystemIoFailure};
        match self {
            Self::Embedded(error) => matches!(
                error.sqlite_error_code(),
                Some(DiskFull | ReadOnly | SystemIoFailure | DatabaseBusy | DatabaseLocked | CannotOpen)
            ),
            Self::Postgres(error) => super::postgres::is_passing(error),
            Self::Silent => true,
            Self::NoRow | Self::Column { .. } | Self::Thread(_) => false,
        }
    }
}

/// A connection of either engine, in a transaction if it is a writer's.
pub struct Connection<'a>(Engine<'a>);

#[derive(Clone, Copy)]
enum Engine<'a> {
    Embedded(&'a rusqlite::Connection),
    Postgres(&'a Session),
}

impl<'a> Connection<'a> {
    /// Over the embedded database.
    pub fn embedded(connection: &'a rusqlite::Connection) -> Self {
        Self(Engine::Embedded(connection))
    }

    /// Over PostgreSQL.
    pub(in crate::store) fn postgres(session: &'a Session) -> Self {
        Self(Engine::Postgres(session))
    }

    /// The embedded database's own connection, for what is its alone.
    pub fn as_embedded(&self) -> Option<&'a rusqlite::Connection> {
        match self.0 {
            Engine::Embedded(connection) => Some(connection),
            Engine::Postgres(_) => None,
        }
    }

    /// What the engine understands.
    pub fn dialect(&self) -> Dialect {
        match self.0 {
            Engine::Embedded(_) => Dialect::Sqlite,
            Engine::Postgres(_) => Dialect::Postgres,
        }
    }

    /// A statement, parsed once for as long as the connection lasts.
    ///
    /// # Errors
    /// When the engine does not understand it.
    pub fn prepare_cached(&self, sql: &str) -> Result<Statement<'a>> {
        Ok(Statement(match self.0 {
            Engine::Embedded(connection) => Prepared::Embedded(connection.prepare_cached(sql)?),
            // What kinds its parameters have is known with the first.
            Engine::Postgres(session) => Prepared::Postgres(session, sql.to_owned()),
        }))
    }

    /// Runs a statement; how many rows it changed.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    /// Reads the first row of what a query finds.
    ///
    /// # Errors
    /// [`Error::NoRow`] when there is none, or what `read` returns, or when the engine refuses.
    pub fn query_row<T>(&self, sql: &str, params: impl Params, read: impl FnOnce(&Row<'_>) -> Result<T>) -> Result<T> {
        self.prepare_cached(sql)?.query_row(params, read)
    }

    /// Runs statements that have no parameters and are separated by semicolons.
    ///
    /// # Errors
    /// When the engine refuses one; those after it are not run.
    pub fn execute_batch(&self, sql: &str) -> Result<()> {
        match self.0 {
            Engine::Embedded(connection) => Ok(connection.execute_batch(sql)?),
            Engine::Postgres(session) => session.execute_batch(sql),
        }
    }

    /// Whether what is deleted from now on is overwritten, where the engine keeps deleted bytes in files of its own
    /// that it can overwrite.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn overwrite_deleted(&self, always: bool) -> Result<()> {
        match self.0 {
            Engine::Embedded(connection) => {
                Ok(connection.pragma_update(None, "secure_delete", if always { "ON" } else { "FAST" })?)
            }
            Engine::Postgres(_) => Ok(()),
        }
    }
}

/// A statement that the engine has parsed.
pub struct Statement<'a>(Prepared<'a>);

enum Prepared<'a> {
    Embedded(rusqlite::CachedStatement<'a>),
    Postgres(&'a Session, String),
}

impl Statement<'_> {
    /// Runs it; how many rows it changed.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn execute(&mut self, params: impl Params) -> Result<usize> {
        match &mut self.0 {
            Prepared::Embedded(statement) => {
                bind(statement, &params)?;
                Ok(statement.raw_execute()?)
            }
            Prepared::Postgres(session, sql) => session.execute(sql, &params),
        }
    }

    /// Runs it and gives its rows.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn query(&mut self, params: impl Params) -> Result<Rows<'_>> {
        match &mut self.0 {
            Prepared::Embedded(statement) => {
                bind(statement, &params)?;
                Ok(Rows(Found::Embedded(statement.raw_query())))
            }
            Prepared::Postgres(session, sql) => {
                Ok(Rows(Found::Postgres(session.query(sql, &params)?.into_iter(), None)))
            }
        }
    }

    /// Reads its first row.
    ///
    /// # Errors
    /// As [`Connection::query_row`].
    pub fn query_row<T>(&mut self, params: impl Params, read: impl FnOnce(&Row<'_>) -> Result<T>) -> Result<T> {
        read(&self.query(params)?.next()?.ok_or(Error::NoRow)?)
    }

    /// Reads all its rows.
    ///
    /// # Errors
    /// When the engine refuses; what `read` returns comes row by row.
    pub fn query_map<T>(
        &mut self,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<std::vec::IntoIter<Result<T>>> {
        let mut rows = self.query(params)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(&row));
        }
        Ok(all.into_iter())
    }

    /// Whether it finds a row.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn exists(&mut self, params: impl Params) -> Result<bool> {
        Ok(self.query(params)?.next()?.is_some())
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, params: &impl Params) -> Result<()> {
    for (place, value) in (1..).zip(params.values()) {
        statement.raw_bind_parameter(place, value.value())?;
    }
    Ok(())
}

/// The rows that a statement found.
pub struct Rows<'a>(Found<'a>);

enum Found<'a> {
    Embedded(rusqlite::Rows<'a>),
    /// those that come, and the one that is read
    Postgres(std::vec::IntoIter<tokio_postgres::Row>, Option<tokio_postgres::Row>),
}

impl Rows<'_> {
    /// The next one.
    ///
    /// # Errors
    /// When the engine cannot read on.
    #[expect(clippy::should_implement_trait, reason = "a row is borrowed from what gives it")]
    pub fn next(&mut self) -> Result<Option<Row<'_>>> {
        match &mut self.0 {
            Found::Embedded(rows) => Ok(rows.next()?.map(|row| Row(Read::Embedded(row)))),
            Found::Postgres(rows, read) => {
                *read = rows.next();
                Ok(read.as_ref().map(|row| Row(Read::Postgres(row))))
            }
        }
    }
}

/// A row that a statement found.
pub struct Row<'a>(Read<'a>);

enum Read<'a> {
    Embedded(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

impl Row<'_> {
    /// What a column holds, from 0.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn get_ref(&self, column: usize) -> Result<ValueRef<'_>> {
        match self.0 {
            Read::Embedded(row) => values::of_embedded(row.get_ref(column)?, column),
            Read::Postgres(row) => super::postgres::column(row, column),
        }
    }

    /// A column as what it is meant to be.
    ///
    /// # Errors
    /// When it holds something else, or there is no such column.
    pub fn get<T: FromSql>(&self, column: usize) -> Result<T> {
        T::from_sql(self.get_ref(column)?).map_err(|why| Error::Column { column, why })
    }
}

/// What comes in the places of a statement's placeholders.
pub trait Params {
    /// Each, in their order.
    fn values(&self) -> Vec<&dyn ToSql>;
}

impl Params for () {
    fn values(&self) -> Vec<&dyn ToSql> {
        Vec::new()
    }
}

impl Params for &[&dyn ToSql] {
    fn values(&self) -> Vec<&dyn ToSql> {
        self.to_vec()
    }
}

impl<T: ToSql, const N: usize> Params for [T; N] {
    fn values(&self) -> Vec<&dyn ToSql> {
        self.iter().map(|value| value as &dyn ToSql).collect()
    }
}

impl Params for &[Value] {
    fn values(&self) -> Vec<&dyn ToSql> {
        self.iter().map(|value| value as &dyn ToSql).collect()
    }
}

/// Values of several kinds, for a statement's placeholders.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::store::sql::ToSql),*] as &[&dyn $crate::store::sql::ToSql]
    };
}
pub(in crate::store) use params;

/// What may be missing.
pub trait OptionalExtension<T> {
    /// `None` where no row was found.
    ///
    /// # Errors
    /// Any other.
    fn optional(self) -> Result<Option<T>>;
}

impl<T> OptionalExtension<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Err(Error::NoRow) => Ok(None),
            other => other.map(Some),
        }
    }
}
