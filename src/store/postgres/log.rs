//! The beginning and the end of a session's log, in the transactions that open and close the session.
//!
//! What lies between is the business of [`super::journal`].

use super::journal::{ENTER, OWNER, PLACE, UNSEALED, check_seal};
use crate::store::checksum;
use crate::store::journal::{AppendError, Batch};
use crate::store::sql::{Connection, OptionalExtension as _, Result, params};

/// Writes the first line of a session that has just been made; the month that it lies under.
pub(in crate::store) fn begin(connection: &Connection, first: &Batch) -> Result<i64, AppendError> {
    let (session, first_n, count) = (first.session.0, first.first_n as i64, first.count as i64);
    let checksum = checksum::of_lines(session, first_n, count, &first.lines);
    Ok(connection.query_row(ENTER, params![session, first_n, count, first.lines, checksum], |row| row.get(0))?)
}

/// Puts `segment`, which holds the whole log with `last` at its end, in the place of a session's live rows. Whoever calls
/// this also changes the session's row.
pub(in crate::store) fn seal(
    connection: &Connection,
    last: &Batch,
    digest: &str,
    segment: &[u8],
) -> Result<(), AppendError> {
    let session = last.session.0;
    let owner: Option<(i64, i64)> =
        connection.query_row(OWNER, [session], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (mut placed, mut counts) = (0, Vec::new());
    if let Some((_, month)) = owner {
        placed = connection.execute(PLACE, params![month, session, last.first_n as i64, last.count as i64])?;
        let mut unsealed = connection.prepare_cached(UNSEALED)?;
        counts = unsealed.query_map([month, session], |row| row.get(0))?.collect::<Result<_>>()?;
    }
    check_seal(last, owner.map(|(epoch, _)| epoch), placed == 1, counts)?;
    connection.execute(
        "INSERT INTO segment (session, count, digest, lines) VALUES (?1, ?2, ?3, ?4)",
        params![session, (last.first_n + last.count - 1) as i64, digest, segment],
    )?;
    Ok(())
}
