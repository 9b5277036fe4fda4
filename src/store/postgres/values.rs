//! Values as PostgreSQL has them on the wire.

use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::store::sql::{Error, Kind, Result, ValueRef};

type Wrong = Box<dyn std::error::Error + Sync + Send>;

/// The type of a placeholder.
pub(super) fn type_of(kind: Kind) -> Type {
    match kind {
        Kind::Integer => Type::INT8,
        Kind::Text => Type::TEXT,
        Kind::Blob => Type::BYTEA,
    }
}

/// A value for a placeholder of its kind.
pub(super) fn given<'a>(kind: Kind, value: &'a ValueRef<'a>) -> &'a (dyn ToSql + Sync) {
    match (value, kind) {
        (ValueRef::Integer(number), _) => number,
        (ValueRef::Real(number), _) => number,
        (ValueRef::Text(text), _) => text,
        (ValueRef::Blob(bytes), _) => bytes,
        (ValueRef::Null, Kind::Integer) => &None::<i64>,
        (ValueRef::Null, Kind::Text) => &None::<&str>,
        (ValueRef::Null, Kind::Blob) => &None::<&[u8]>,
    }
}

/// A column as it came.
struct Found<'a>(ValueRef<'a>);

impl<'a> FromSql<'a> for Found<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> std::result::Result<Self, Wrong> {
        Ok(Self(match *ty {
            Type::INT8 => ValueRef::Integer(i64::from_sql(ty, raw)?),
            Type::INT4 => ValueRef::Integer(i32::from_sql(ty, raw)?.into()),
            Type::BOOL => ValueRef::Integer(bool::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => ValueRef::Real(f64::from_sql(ty, raw)?),
            Type::TEXT | Type::VARCHAR => ValueRef::Text(<&str>::from_sql(ty, raw)?),
            Type::BYTEA => ValueRef::Blob(raw),
            ref other => return Err(format!("holds {other}, which no statement should read").into()),
        }))
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Wrong> {
        Ok(Self(ValueRef::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// What a column of a row holds.
pub(in crate::store) fn column(row: &tokio_postgres::Row, column: usize) -> Result<ValueRef<'_>> {
    let found: Found<'_> =
        row.try_get(column).map_err(|error| Error::Column { column, why: super::session::in_words(&error) })?;
    Ok(found.0)
}
