//! A session's log as records see it: its first line, its rest in a segment, and what it says.
//!
//! These run in the transaction of whoever opens, takes, closes or reads a session.

use crate::store::StoreError;
use crate::store::checksum;
use crate::store::journal::{Acquired, AppendError, Batch, LiveRow, SessionKey, last_stamp, open_segment};
use crate::store::sql::{self, Connection, OptionalExtension as _, params};

/// Appends a batch to a session that is open under its epoch.
pub(in crate::store) fn append(connection: &Connection, batch: &Batch) -> Result<(), AppendError> {
    check(connection, batch)?;
    let (session, first_n, count) = (batch.session.0, batch.first_n as i64, batch.count as i64);
    connection.execute(
        "INSERT INTO journal (month, session, first_n, count, lines, checksum)
         SELECT month, key, ?2, ?3, ?4, ?5 FROM session WHERE key = ?1",
        params![session, first_n, count, batch.lines, checksum::of_lines(session, first_n, count, &batch.lines)],
    )?;
    Ok(())
}

/// A new owner takes the session: earlier epochs are over.
pub(in crate::store) fn acquire(connection: &Connection, session: SessionKey) -> Result<Acquired, AppendError> {
    let epoch = connection
        .prepare_cached("UPDATE session SET epoch = epoch + 1 WHERE key = ?1 AND closed_at IS NULL RETURNING epoch")?
        .query_row([session.0], |row| row.get(0))
        .optional()?
        .ok_or(AppendError::NotOpen)?;
    Ok(Acquired { epoch, log: live_lines(connection, session)? })
}

/// Puts `segment`, which holds the whole log with `last` at its end, in the place of a session's live rows.
pub(in crate::store) fn seal(
    connection: &Connection,
    last: &Batch,
    digest: &str,
    segment: &[u8],
) -> Result<(), AppendError> {
    check(connection, last)?;
    let count = (last.first_n + last.count - 1) as i64;
    connection.execute(
        "INSERT INTO segment (session, count, digest, lines) VALUES (?1, ?2, ?3, ?4)",
        params![last.session.0, count, digest, segment],
    )?;
    connection.execute(
        "DELETE FROM journal WHERE session = ?1 AND month = (SELECT month FROM session WHERE key = ?1)",
        [last.session.0],
    )?;
    Ok(())
}

/// The whole log, sealed or not, as it stands.
pub(in crate::store) fn read(connection: &Connection, session: SessionKey) -> Result<Vec<u8>, StoreError> {
    if let Some(log) = sealed(connection, session)? {
        return Ok(log);
    }
    let log = live_lines(connection, session)?;
    // No line: it may have been sealed between the two.
    if log.is_empty() { Ok(sealed(connection, session)?.unwrap_or(log)) } else { Ok(log) }
}

fn sealed(connection: &Connection, session: SessionKey) -> Result<Option<Vec<u8>>, StoreError> {
    let found: Option<(Vec<u8>, String)> = connection
        .prepare_cached("SELECT lines, digest FROM segment WHERE session = ?1")?
        .query_row([session.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.map(|(lines, digest)| open_segment(&lines, &digest)).transpose()
}

/// Whether `batch` comes from the owner and continues the log.
fn check(connection: &Connection, batch: &Batch) -> Result<(), AppendError> {
    let current = connection
        .prepare_cached("SELECT epoch FROM session WHERE key = ?1 AND closed_at IS NULL")?
        .query_row([batch.session.0], |row| row.get(0))
        .optional()?
        .ok_or(AppendError::NotOpen)?;
    if current != batch.epoch {
        return Err(AppendError::StaleEpoch { held: batch.epoch, current });
    }
    let next: Option<i64> = connection
        .prepare_cached(
            "SELECT first_n + count FROM journal WHERE session = ?1
                 AND month = (SELECT month FROM session WHERE key = ?1) ORDER BY first_n DESC LIMIT 1",
        )?
        .query_row([batch.session.0], |row| row.get(0))
        .optional()?;
    let expected = next.unwrap_or(1) as u64;
    if expected == batch.first_n { Ok(()) } else { Err(AppendError::WrongNumber { expected, found: batch.first_n }) }
}

/// The live rows, each of which must be what was once appended, and continue the one before.
fn live_lines(connection: &Connection, session: SessionKey) -> Result<Vec<u8>, StoreError> {
    let mut rows = connection.prepare_cached(
        "SELECT session, first_n, count, lines, checksum FROM journal WHERE session = ?1
             AND month = (SELECT month FROM session WHERE key = ?1) ORDER BY first_n",
    )?;
    let mut rows = rows.query([session.0])?;
    let (mut log, mut next_n) = (Vec::new(), 1);
    while let Some(row) = rows.next()? {
        let sql::ValueRef::Blob(lines) = row.get_ref(3)? else {
            return Err(StoreError::Corrupt { what: "journal", why: "a row holds no lines".to_owned() });
        };
        let row =
            LiveRow { session: row.get(0)?, first_n: row.get(1)?, count: row.get(2)?, lines, checksum: row.get(4)? };
        row.check(session.0, next_n).map_err(|why| StoreError::Corrupt {
            what: "journal",
            why: format!("row at line {} of session key {}: {why}", row.first_n, session.0),
        })?;
        next_n += row.count;
        log.extend_from_slice(lines);
    }
    Ok(log)
}

/// The newest end or beginning among the sessions that were opened last, and the newest line of those that are open.
pub(in crate::store) fn latest_stamp(connection: &Connection) -> Result<Option<i64>, StoreError> {
    let mut latest: Option<i64> = connection.query_row(
        "SELECT max(greatest(opened_at, closed_at))
         FROM (SELECT opened_at, closed_at FROM session ORDER BY key DESC LIMIT 10000) AS newest",
        (),
        |row| row.get(0),
    )?;
    let mut last_rows = connection.prepare_cached(
        "SELECT last.lines FROM session CROSS JOIN LATERAL (SELECT lines FROM journal
             WHERE journal.month = session.month AND journal.session = session.key ORDER BY first_n DESC LIMIT 1) AS last
         WHERE session.closed_at IS NULL",
    )?;
    let mut rows = last_rows.query(())?;
    while let Some(row) = rows.next()? {
        if let sql::ValueRef::Blob(lines) = row.get_ref(0)? {
            latest = latest.max(last_stamp(lines));
        }
    }
    Ok(latest)
}
