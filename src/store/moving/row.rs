//! A row on its way, and its digest, which both databases compute from the same bytes.

use ring::digest::{Context, SHA256};
use tokio_postgres::types::ToSql;

use crate::store::sql::{Kind, ValueRef};

/// SHA-256.
pub(super) type Sha256 = [u8; 32];

/// What a column of a row holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    /// The cell, or why PostgreSQL cannot hold it.
    pub(super) fn of(value: ValueRef<'_>) -> Result<Self, String> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Text(text) if text.contains('\0') => return Err("a text holds a zero byte".into()),
            ValueRef::Text(text) => Self::Text(text.to_owned()),
            ValueRef::Blob(bytes) => Self::Bytes(bytes.to_vec()),
            ValueRef::Real(_) => return Err("a number is not whole".into()),
        })
    }

    fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn blob(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// What a statement takes in the place of a part of a key, which is never null.
    pub(super) fn value(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Null => &None::<i64>,
            Self::Integer(number) => number,
            Self::Text(text) => text,
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) => 9,
            Self::Text(text) => text.len() + 5,
            Self::Bytes(bytes) => bytes.len() + 5,
        }
    }

    /// Adds it to a digest: what it is, how long, and its bytes, so that no two rows are the same bytes.
    fn digest(&self, digest: &mut Context) {
        let mut sized = |mark: u8, bytes: &[u8]| {
            digest.update(&[mark]);
            // As PostgreSQL counts: no value of either database has two gigabytes.
            digest.update(&(bytes.len() as u32).to_be_bytes());
            digest.update(bytes);
        };
        match self {
            Self::Null => digest.update(&[0]),
            Self::Integer(number) => {
                digest.update(&[1]);
                digest.update(&number.to_be_bytes());
            }
            Self::Text(text) => sized(2, text.as_bytes()),
            Self::Bytes(bytes) => sized(3, bytes),
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => formatter.write_str("null"),
            Self::Integer(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
            Self::Bytes(bytes) => hex::encode(bytes).fmt(formatter),
        }
    }
}

/// A key for people: its parts, with commas between them.
pub(super) fn in_words(key: &[Cell]) -> String {
    key.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The digest of a row.
pub(super) fn digest(row: &[Cell]) -> Sha256 {
    let mut digest = Context::new(&SHA256);
    row.iter().for_each(|cell| cell.digest(&mut digest));
    finish(digest)
}

/// The digest of several: of rows, or of digests.
pub(super) fn digest_of_all<'a>(digests: impl IntoIterator<Item = &'a Sha256>) -> Sha256 {
    let mut all = Context::new(&SHA256);
    digests.into_iter().for_each(|digest| all.update(digest));
    finish(all)
}

fn finish(digest: Context) -> Sha256 {
    digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The same bytes as [`digest`] takes, as an expression of PostgreSQL's.
pub(super) fn digest_in_sql(columns: &[(String, Kind)]) -> String {
    let cell = |(name, kind): &(String, Kind)| {
        let bytes = match kind {
            Kind::Integer => format!("'\\x01'::BYTEA || int8send(\"{name}\")"),
            Kind::Text => {
                format!("'\\x02'::BYTEA || int4send(octet_length(\"{name}\")) || convert_to(\"{name}\", 'UTF8')")
            }
            Kind::Blob => format!("'\\x03'::BYTEA || int4send(octet_length(\"{name}\")) || \"{name}\""),
        };
        format!("coalesce({bytes}, '\\x00'::BYTEA)")
    };
    format!("sha256({})", columns.iter().map(cell).collect::<Vec<_>>().join(" || "))
}

/// One column of several rows, as a statement takes it.
pub(super) enum Column<'a> {
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<&'a str>>),
    Blobs(Vec<Option<&'a [u8]>>),
}

impl<'a> Column<'a> {
    /// Of cells that are of this kind, or null.
    pub(super) fn of(kind: Kind, cells: impl Iterator<Item = &'a Cell>) -> Self {
        match kind {
            Kind::Integer => Self::Integers(cells.map(Cell::integer).collect()),
            Kind::Text => Self::Texts(cells.map(Cell::text).collect()),
            Kind::Blob => Self::Blobs(cells.map(Cell::blob).collect()),
        }
    }

    pub(super) fn value(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Integers(numbers) => numbers,
            Self::Texts(texts) => texts,
            Self::Blobs(blobs) => blobs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_the_same_bytes() {
        let text = |text: &str| Cell::Text(text.into());
        let rows = [
            vec![text("ab"), text("c")],
            vec![text("a"), text("bc")],
            vec![text("abc"), Cell::Null],
            vec![Cell::Null, text("abc")],
            vec![Cell::Bytes(b"ab".to_vec()), text("c")],
            vec![Cell::Integer(1), Cell::Integer(0)],
            vec![Cell::Integer(0), Cell::Integer(1)],
            vec![text(""), Cell::Null],
        ];
        let digests: std::collections::HashSet<Sha256> = rows.iter().map(|row| digest(row)).collect();
        assert_eq!(digests.len(), rows.len());
    }

    #[test]
    fn what_postgresql_cannot_hold_is_refused() {
        assert!(Cell::of(ValueRef::Text("a\0b")).is_err());
        assert!(Cell::of(ValueRef::Real(0.5)).is_err());
        assert_eq!(Cell::of(ValueRef::Blob(b"\0")), Ok(Cell::Bytes(vec![0])));
    }
}
