//! PostgreSQL, for when one machine is outgrown.

use tokio_postgres::error::SqlState;

pub mod journal;

/// Whether what was refused with this code may succeed later: others are in the way, or the server is short of space,
/// memory or connections, stops, or was told to end the statement.
pub(super) fn may_pass(code: &SqlState) -> bool {
    let class = &code.code()[..2];
    ["08", "40", "53", "55", "57", "58"].contains(&class) || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}
