//! The journal's SQL, and what its answers mean.

use tokio_postgres::Row;

use crate::store::journal::{LiveRow, open_segment};
use crate::store::{AppendError, Batch, SessionKey, StoreError};

/// Writes a group, all of it or nothing: month, session, epoch, first number, count, checksum and lines of each batch. Who
/// is not the owner any more gets a serialization failure, and who comes to a number that is taken a unique violation.
pub(super) const APPEND: &str = "SELECT append_to_journal($1, $2, $3, $4, $5, $6, $7)";

/// Why batches were not written: the session, its epoch if it is open, whether the row that has their number is the
/// same, and where the log goes on.
pub(super) const EXPLAIN: &str = "
    SELECT batch.session, session.epoch, there.count = batch.count AND there.lines = batch.lines,
        (SELECT first_n + count FROM journal
         WHERE journal.month = session.month AND journal.session = session.key ORDER BY first_n DESC LIMIT 1)
    FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BYTEA[]) AS batch (session, first_n, count, lines)
    LEFT JOIN session ON session.key = batch.session AND session.closed_at IS NULL
    LEFT JOIN journal AS there
        ON there.month = session.month AND there.session = session.key AND there.first_n = batch.first_n";

/// What has become of a batch that was not written now.
#[derive(Debug)]
pub(super) enum Fate {
    /// it was there already, just as it is: an earlier attempt has written it
    Written,
    /// it is not there, and never will be by this owner
    Refused(AppendError),
    /// its place is free: it can be tried again
    NotThere,
}

/// What a row of [`EXPLAIN`] says of its batch.
pub(super) fn fate(row: &Row, batch: &Batch) -> Result<Fate, tokio_postgres::Error> {
    let (epoch, same, next_n): (Option<i64>, Option<bool>, Option<i64>) =
        (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let Some(current) = epoch else { return Ok(Fate::Refused(AppendError::NotOpen)) };
    if current != batch.epoch {
        return Ok(Fate::Refused(AppendError::StaleEpoch { held: batch.epoch, current }));
    }
    let expected = next_n.unwrap_or(1) as u64;
    Ok(match same {
        Some(true) => Fate::Written,
        None if expected == batch.first_n => Fate::NotThere,
        _ => Fate::Refused(AppendError::WrongNumber { expected, found: batch.first_n }),
    })
}

/// Ends the epoch of whoever owned an open session; the new epoch, and the session's month.
pub(super) const ACQUIRE: &str =
    "UPDATE session SET epoch = epoch + 1 WHERE key = $1 AND closed_at IS NULL RETURNING epoch, month";

/// Ends those who keep another process of the server waiting.
pub(super) const CUT_OFF: &str =
    "SELECT pid, pg_terminate_backend(pid) FROM unnest(pg_blocking_pids($1)) AS pid WHERE pid > 0";

/// The log of a session: its segment, which has a digest, or else its live rows. In one statement, because it may be
/// sealed meanwhile.
pub(super) const READ: &str = "
    SELECT 0::BIGINT AS first_n, count, lines, 0::BIGINT AS checksum, digest FROM segment WHERE session = $1
    UNION ALL
    SELECT first_n, count, lines, checksum, NULL FROM journal
    WHERE session = $1 AND month = (SELECT month FROM session WHERE key = $1)
    ORDER BY first_n";

/// The log in the rows of [`READ`], each of which must be what was once written, and continue the one before.
pub(super) fn log(session: SessionKey, rows: &[Row]) -> Result<Vec<u8>, StoreError> {
    let mut log = Vec::new();
    let mut next_n = 1;
    for row in rows {
        let lines: &[u8] = row.try_get(2)?;
        let digest: Option<&str> = row.try_get(4)?;
        if let Some(digest) = digest {
            return open_segment(lines, digest);
        }
        let (first_n, count): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let row = LiveRow { session: session.0, first_n, count, lines, checksum: Some(row.try_get(3)?) };
        row.check(session.0, next_n).map_err(|why| StoreError::Corrupt {
            what: "journal",
            why: format!("the row of session key {} from line {first_n}: {why}", session.0),
        })?;
        log.extend_from_slice(lines);
        next_n += count;
    }
    Ok(log)
}

/// The newest end or beginning among the sessions that were opened last: time goes on, so older ones tell nothing new.
pub(super) const RECENT_ENDS: &str = "SELECT max(greatest(opened_at, closed_at))
    FROM (SELECT opened_at, closed_at FROM session ORDER BY key DESC LIMIT 10000) AS recent";

/// The last lines of those among them that are open.
pub(super) const LAST_LINES: &str = "
    SELECT last.lines
    FROM (SELECT key, month, closed_at FROM session ORDER BY key DESC LIMIT 10000) AS recent
    CROSS JOIN LATERAL (
        SELECT lines FROM journal WHERE journal.month = recent.month AND journal.session = recent.key
        ORDER BY first_n DESC LIMIT 1
    ) AS last
    WHERE recent.closed_at IS NULL";

/// Makes partitions from a moment on, for so many months; how many are still missing.
pub(super) const MAKE_PARTITIONS: &str = "SELECT make_journal_partitions($1, $2)";
/// Drops what is empty of the months before a moment.
pub(super) const DROP_PARTITIONS: &str = "SELECT drop_journal_partitions($1)";

/// A session's first row, in the transaction that opens it: session, first number, count, lines, checksum. Its month.
pub const ENTER: &str = "INSERT INTO journal (month, session, first_n, count, lines, checksum)
    SELECT month, key, ?2, ?3, ?4, ?5 FROM session WHERE key = ?1 RETURNING month";

/// Epoch and month of an open session, at the beginning of the transaction that closes it. The session's row is locked
/// from here on, so a new owner and a closing cannot both be, and who is stuck in the middle is cut off by a new owner.
pub const OWNER: &str = "SELECT epoch, month FROM session WHERE key = ?1 AND closed_at IS NULL FOR NO KEY UPDATE";

/// Takes the last batch's number, before [`UNSEALED`] takes all rows away: month, session, first number, count. What a former
/// owner has under way is at this number too, so one of the two is refused. Writes no row if it is taken.
pub const PLACE: &str = "INSERT INTO journal (month, session, first_n, count, lines, checksum)
    VALUES (?1, ?2, ?3, ?4, '', 0) ON CONFLICT DO NOTHING";

/// Takes the live rows away, of a month and a session; the count of each.
pub const UNSEALED: &str = "DELETE FROM journal WHERE month = ?1 AND session = ?2 RETURNING count";

/// Whether who closes the session with `last` is what [`OWNER`] found, and the rows that [`UNSEALED`] took away were
/// `last`, for which [`PLACE`] has `placed` a row, and all that stands before it.
///
/// # Errors
/// As for an append.
pub fn check_seal(
    last: &Batch,
    epoch: Option<i64>,
    placed: bool,
    counts: impl IntoIterator<Item = i64>,
) -> Result<(), AppendError> {
    let current = epoch.ok_or(AppendError::NotOpen)?;
    if current != last.epoch {
        return Err(AppendError::StaleEpoch { held: last.epoch, current });
    }
    let own = if placed { last.count } else { 0 };
    let expected = counts.into_iter().sum::<i64>() as u64 - own + 1;
    if !placed || expected != last.first_n {
        return Err(AppendError::WrongNumber { expected, found: last.first_n });
    }
    Ok(())
}
