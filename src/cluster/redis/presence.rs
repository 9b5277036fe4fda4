//! The table of who plays where that several nodes share: a key a learner, changed by a script.

use redis::Value;

use super::connection::{Away, Redis};
use super::script::Script;
use crate::cluster::presence::{
    ALONE_ENDS_MS, Overlap, PAUSE_BRIDGED_MS, Played, REMEMBERED_MS, Report, STRETCHES_KEPT, Told,
};

/// How long a report may hold up its session's turn, ms: some heartbeats are a second apart, and the table is not worth
/// a learner's waiting.
const REPORT_LIMIT_MS: i64 = 200;
/// How long a learner's table is kept after the last report, ms: until nobody learns any more who did not leave.
const KEPT_MS: i64 = 24 * 3_600_000;

/// The shared table.
pub struct SharedPresence {
    redis: Redis,
    script: Script,
}

impl SharedPresence {
    /// The table in this Redis.
    pub fn new(redis: Redis) -> Self {
        Self { redis, script: Script::new(include_str!("lua/presence.lua")) }
    }

    /// As [`crate::cluster::Presence::report`].
    pub(in crate::cluster) async fn report(&self, report: Report<'_>) -> Result<Told, Away> {
        let key = format!("invigil:presence:{}", report.learner);
        let arguments = |command: &mut redis::Cmd| {
            let left_at = report.left_at.map(|at| at.to_string()).unwrap_or_default();
            command.arg(report.session).arg(report.platform).arg(i32::from(report.continues));
            command.arg(i32::from(report.plays_on)).arg(left_at).arg(KEPT_MS);
            command.arg(PAUSE_BRIDGED_MS).arg(ALONE_ENDS_MS).arg(REMEMBERED_MS).arg(STRETCHES_KEPT);
            command.arg(report.played.len());
            for played in report.played {
                command.arg(played.from_at).arg(played.to_at);
            }
            command.arg(report.logged.len());
            for logged in report.logged {
                command.arg(&logged.with_session).arg(&logged.with_platform);
                command.arg(logged.played.from_at).arg(logged.played.to_at);
            }
        };
        type Answer = (i64, i64, i64, Vec<String>, Vec<Value>);
        let answer: Answer = self.script.run_within(REPORT_LIMIT_MS, &self.redis, &[&key], arguments).await?;
        let (known, accompanied, overlapping_ms, others, mine) = answer;
        let mine = mine.chunks(4).map(|fields| overlap(report.session, fields)).collect::<Result<_, _>>()?;
        let overlapping_ms = (overlapping_ms >= 0).then_some(overlapping_ms);
        Ok(Told { mine, others, accompanied: accompanied == 1, overlapping_ms, known: known == 1 })
    }
}

fn overlap(session: &str, fields: &[Value]) -> Result<Overlap, Away> {
    let value = Value::Array(fields.to_vec());
    let (with_session, with_platform, from_at, to_at) =
        redis::from_redis_value(value).map_err(|error| Away::because(format!("presence: {error}")))?;
    Ok(Overlap { session: session.to_owned(), with_session, with_platform, played: Played { from_at, to_at } })
}
