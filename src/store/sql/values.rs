//! Values on their way into statements and out of rows.

use rusqlite::types::{ToSqlOutput, ValueRef as Embedded};

use super::{Error, Result};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// nothing
    Null,
    /// a whole number, or a truth value: 0 or 1
    Integer(i64),
    /// another number
    Real(f64),
    /// text
    Text(&'a str),
    /// bytes
    Blob(&'a [u8]),
}

/// What a placeholder stands for, whatever its value: an engine that knows types must know it of null as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// a whole number, or a truth value
    Integer,
    /// text
    Text,
    /// bytes
    Blob,
}

/// What can be given for a placeholder.
pub trait ToSql {
    /// What the placeholder stands for.
    fn kind(&self) -> Kind;
    /// The value.
    fn value(&self) -> ValueRef<'_>;
}

/// What can be given for a placeholder and is never null.
pub trait Plain {
    /// What the placeholder stands for.
    const KIND: Kind;
    /// The value.
    fn plain(&self) -> ValueRef<'_>;
}

impl<T: Plain + ?Sized> ToSql for T {
    fn kind(&self) -> Kind {
        T::KIND
    }

    fn value(&self) -> ValueRef<'_> {
        self.plain()
    }
}

impl<T: Plain> ToSql for Option<T> {
    fn kind(&self) -> Kind {
        T::KIND
    }

    fn value(&self) -> ValueRef<'_> {
        self.as_ref().map_or(ValueRef::Null, Plain::plain)
    }
}

impl<T: Plain> ToSql for &Option<T> {
    fn kind(&self) -> Kind {
        T::KIND
    }

    fn value(&self) -> ValueRef<'_> {
        (*self).value()
    }
}

impl<T: Plain + ?Sized> Plain for &T {
    const KIND: Kind = T::KIND;

    fn plain(&self) -> ValueRef<'_> {
        (*self).plain()
    }
}

macro_rules! plain {
    ($($type:ty: $kind:ident, $value:ident => $plain:expr;)+) => {
        $(impl Plain for $type {
            const KIND: Kind = Kind::$kind;

            fn plain(&self) -> ValueRef<'_> {
                let $value = self;
                ValueRef::$kind($plain)
            }
        })+
    };
}

plain! {
    i64: Integer, value => *value;
    u32: Integer, value => i64::from(*value);
    bool: Integer, value => i64::from(*value);
    str: Text, value => value;
    String: Text, value => value;
    [u8]: Blob, value => value;
    Vec<u8>: Blob, value => value;
    [u8; 32]: Blob, value => value;
}

/// A value of a statement that is put together while the server runs.
#[derive(Clone, Debug)]
pub enum Value {
    /// a whole number
    Integer(i64),
    /// text
    Text(String),
}

impl Value {
    /// What a column of a key holds; nothing else does.
    pub fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Text(text) => Self::Text(text.to_owned()),
            _ => Self::Text(String::new()),
        }
    }
}

impl ToSql for Value {
    fn kind(&self) -> Kind {
        match self {
            Self::Integer(_) => Kind::Integer,
            Self::Text(_) => Kind::Text,
        }
    }

    fn value(&self) -> ValueRef<'_> {
        match self {
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// What a column can be read as.
pub trait FromSql: Sized {
    /// Reads it, or says why not.
    ///
    /// # Errors
    /// What the column holds instead.
    fn from_sql(value: ValueRef<'_>) -> Result<Self, String>;
}

fn unfit<T>(value: ValueRef<'_>, wanted: &str) -> Result<T, String> {
    let found = match value {
        ValueRef::Null => "null",
        ValueRef::Integer(_) => "a whole number",
        ValueRef::Real(_) => "a number",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "bytes",
    };
    Err(format!("holds {found}, and should hold {wanted}"))
}

impl FromSql for i64 {
    fn from_sql(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Integer(number) => Ok(number),
            other => unfit(other, "a whole number"),
        }
    }
}

impl FromSql for u32 {
    fn from_sql(value: ValueRef<'_>) -> Result<Self, String> {
        let number = i64::from_sql(value)?;
        number.try_into().map_err(|_| format!("{number} is not within 0 and {}", Self::MAX))
    }
}

impl FromSql for bool {
    fn from_sql(value: ValueRef<'_>) -> Result<Self, String> {
        i64::from_sql(value).map(|number| number != 0)
    }
}

impl FromSql for String {
    fn from_sql(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Text(text) => Ok(text.to_owned()),
            other => unfit(other, "text"),
        }
    }
}

impl FromSql for Vec<u8> {
    fn from_sql(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Blob(bytes) => Ok(bytes.to_vec()),
            other => unfit(other, "bytes"),
        }
    }
}

impl<T: FromSql> FromSql for Option<T> {
    fn from_sql(value: ValueRef<'_>) -> Result<Self, String> {
        if value == ValueRef::Null { Ok(None) } else { T::from_sql(value).map(Some) }
    }
}

impl rusqlite::ToSql for ValueRef<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => Embedded::Null,
            Self::Integer(number) => Embedded::Integer(number),
            Self::Real(number) => Embedded::Real(number),
            Self::Text(text) => Embedded::Text(text.as_bytes()),
            Self::Blob(bytes) => Embedded::Blob(bytes),
        }))
    }
}

/// A column of the embedded database.
pub(in crate::store) fn of_embedded(value: Embedded<'_>, column: usize) -> Result<ValueRef<'_>> {
    Ok(match value {
        Embedded::Null => ValueRef::Null,
        Embedded::Integer(number) => ValueRef::Integer(number),
        Embedded::Real(number) => ValueRef::Real(number),
        Embedded::Text(text) => {
            ValueRef::Text(std::str::from_utf8(text).map_err(|error| Error::Column { column, why: error.to_string() })?)
        }
        Embedded::Blob(bytes) => ValueRef::Blob(bytes),
    })
}
