//! What the provincial platform must be told, and what it said to it.
//!
//! Items are queued by triggers of schema 3, in the transaction that made them true, while there is a target. They go
//! out in batches, one after the other; an item is over once the receiver acknowledged or refused it. How a batch is
//! written and sent is decided in [`crate::report`].

use std::collections::BTreeMap;

use super::sql::{Connection, OptionalExtension as _, Row, ValueRef, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::page::PageRequest;
use super::{Store, StoreError};

/// Longest reason kept of a refusal or failure, in characters.
const REASON_CHARS_LIMIT: usize = 500;

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportKind {
    /// a learner was enrolled
    Enrolment,
    /// an enrolment was withdrawn
    Withdrawal,
    /// a version of a verdict was made
    Verdict,
}

/// Where an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportState {
    /// it waits, or nobody has answered yet
    Pending,
    /// the receiver has it
    Acknowledged,
    /// the receiver, or the mapping, refused it
    Refused,
}

/// Something that was or is to be reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReportItem {
    /// identifier: 1, 2, 3 …, in the order of happening
    pub id: i64,
    /// what it is
    pub kind: ReportKind,
    /// the enrolment, the withdrawal, or the session
    pub subject: String,
    /// version of the enrolment or verdict; 1 for a withdrawal
    pub version: i64,
    /// where it stands
    pub state: ReportState,
    /// why it was refused
    pub reason: Option<String>,
    /// number of the batch that it is in, or was in last
    pub batch: Option<String>,
    /// when it happened, ms since the Unix epoch
    pub created_at: i64,
    /// when it was acknowledged or refused, ms since the Unix epoch
    pub finished_at: Option<i64>,
}

/// The state of the reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReportSummary {
    /// since when things are queued, ms since the Unix epoch; null while reporting is off
    pub since: Option<i64>,
    /// items that wait
    pub pending: i64,
    /// items that the receiver has
    pub acknowledged: i64,
    /// items that were refused
    pub refused: i64,
    /// the batch under way
    pub batch: Option<BatchSummary>,
}

/// A batch that nobody has answered in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BatchSummary {
    /// by which the receiver knows it again
    pub number: String,
    /// attempts made so far
    pub attempts: u32,
    /// when it is tried next, ms since the Unix epoch
    pub next_attempt_at: i64,
    /// why the last attempt failed
    pub last_error: Option<String>,
}

/// An item with everything that a mapping may ask of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportRecord {
    /// the item
    pub id: i64,
    /// what it is
    pub kind: ReportKind,
    /// by which the receiver knows the item again
    pub number: String,
    /// whom it is about
    pub learner: String,
    /// values by the names of [`ENROLMENT_FACTS`], [`WITHDRAWAL_FACTS`] or [`VERDICT_FACTS`]; none when the record is gone
    pub facts: BTreeMap<&'static str, Value>,
}

/// A batch that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBatch {
    /// the row, for reporting back
    pub id: i64,
    /// by which the receiver knows it again
    pub number: String,
    /// the body, as sealed
    pub sealed_body: Vec<u8>,
    /// attempts made so far
    pub attempts: u32,
    /// when it may be attempted, ms since the Unix epoch
    pub next_attempt_at_ms: i64,
    /// its items: the row, and the number by which the receiver knows it
    pub items: Vec<(i64, String)>,
}

/// A name that a mapping may ask for, and where it is found.
type Fact = (&'static str, &'static str);

macro_rules! facts_of_all {
    ($($more:expr),* $(,)?) => {
        &[
            ("item.number", "item.subject || '-' || item.version"),
            ("item.kind", "item.kind"),
            ("item.created_at", "item.created_at"),
            ("learner.id", "learner.id"),
            ("learner.external_reference", "(SELECT external_reference FROM platform_learner AS known
                WHERE known.platform = project.platform AND known.learner = learner.id)"),
            ("enrolment.id", "enrolment.id"),
            ("enrolment.class", "coalesce(ended.class, enrolment.class)"),
            ("enrolment.created_at", "coalesce(ended.enrolled_at, enrolment.created_at)"),
            ("platform.id", "platform.id"),
            ("platform.name", "platform.name"),
            ("project.id", "project.id"),
            ("project.name", "project.name"),
            ("project.region", "project.region"),
            ("project.occupation", "project.occupation"),
            ("project.level", "project.level"),
            ("project.certificate", "project.certificate"),
            ("project.subsidised", "CASE WHEN project.subsidised = 1 THEN 'true' ELSE 'false' END"),
            ("project.total_hours", "project.total_hours"),
            ("project.approval_document", "project.approval_document"),
            $($more),*
        ]
    };
}

/// Stands for the expression that an engine has for the rules that were broken.
const RULES: &str = "";

/// What a mapping may ask of an enrolment.
pub const ENROLMENT_FACTS: &[Fact] = facts_of_all!();

/// What a mapping may ask of a withdrawal. The enrolment's class and time are those that it ended; a verdict's, those under
/// which its session was held.
pub const WITHDRAWAL_FACTS: &[Fact] = facts_of_all!(
    ("withdrawal.created_at", "ended.created_at"),
    ("withdrawal.reason", "ended.reason"),
    ("withdrawal.document", "ended.document"),
    ("withdrawal.decided_as", "ended.decided_as"),
);

/// What a mapping may ask of a verdict.
pub const VERDICT_FACTS: &[Fact] = facts_of_all!(
    ("lesson.id", "lesson.id"),
    ("lesson.title", "lesson.title"),
    ("lesson.position", "lesson.position"),
    ("session.id", "session.id"),
    ("session.opened_at", "session.opened_at"),
    ("session.closed_at", "session.closed_at"),
    ("makeup.reference", "(SELECT reference FROM makeup WHERE id = session.makeup)"),
    ("verdict.version", "verdict.version"),
    ("verdict.status", "verdict.status"),
    ("verdict.policy", "verdict.policy"),
    ("verdict.watch_ms", "verdict.watch_ms"),
    ("verdict.watched_ms", "verdict.watched_ms"),
    ("verdict.creditable_ms", "verdict.creditable_ms"),
    ("verdict.credited_ms", "verdict.credited_ms"),
    ("verdict.credited_hours", "CAST(verdict.credited_hundredths AS DOUBLE PRECISION) / 100"),
    ("verdict.completed", "CASE WHEN verdict.completed = 1 THEN 'true' ELSE 'false' END"),
    ("verdict.rules", RULES),
    ("verdict.violations_total", "verdict.violations_total"),
    ("verdict.log_digest", "verdict.log_digest"),
    ("verdict.reviewer", "verdict.reviewer"),
    ("verdict.created_at", "verdict.created_at"),
);

/// `ended` is the withdrawal that ended the version of the enrolment that an item is about; if none did, it is the newest.
const OF_ENROLMENT: &str = "FROM report_item AS item JOIN enrolment ON enrolment.id = item.subject
    LEFT JOIN withdrawal AS ended ON ended.enrolment = enrolment.id AND ended.version = item.version
    JOIN learner ON learner.id = enrolment.learner
    JOIN project ON project.id = enrolment.project JOIN platform ON platform.id = project.platform";

const OF_WITHDRAWAL: &str = "FROM report_item AS item JOIN withdrawal AS ended ON ended.id = item.subject
    JOIN enrolment ON enrolment.id = ended.enrolment
    JOIN learner ON learner.id = enrolment.learner
    JOIN project ON project.id = enrolment.project JOIN platform ON platform.id = project.platform";

const OF_VERDICT: &str = "FROM report_item AS item JOIN session ON session.id = item.subject
    JOIN verdict ON verdict.session = session.key AND verdict.version = item.version
    JOIN lesson ON lesson.id = session.lesson
    JOIN learner ON learner.id = session.learner
    LEFT JOIN enrolment ON enrolment.project = session.project AND enrolment.learner = session.learner
    LEFT JOIN withdrawal AS ended ON ended.enrolment = enrolment.id AND ended.version =
        (SELECT min(later.version) FROM withdrawal AS later
         WHERE later.enrolment = enrolment.id AND later.created_at >= session.opened_at)
    JOIN project ON project.id = session.project JOIN platform ON platform.id = project.platform";

const ITEM: &str = "SELECT item.id, item.kind, item.subject, item.version, item.state, item.reason,
    (SELECT number FROM report_batch WHERE id = item.batch), item.created_at, item.finished_at
    FROM report_item AS item";

impl Store {
    /// Says whether things are to be reported from now on. When that begins, everything that was never queued is;
    /// how many items those are.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn set_reporting(&self, on: bool, now_ms: i64) -> Result<usize, StoreError> {
        self.write(move |transaction| {
            if !on {
                transaction.execute("DELETE FROM report_target", ())?;
                return Ok(0);
            }
            let begun = transaction
                .execute("INSERT INTO report_target (id, since) VALUES (1, ?1) ON CONFLICT DO NOTHING", [now_ms])?;
            if begun == 0 { Ok(0) } else { queue_the_past(transaction) }
        })
        .await
    }

    /// The batch that is to be sent or sent again.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn open_report_batch(&self) -> Result<Option<OpenBatch>, StoreError> {
        self.read(|connection| {
            let batch = connection
                .prepare_cached(
                    "SELECT id, number, body, attempts, next_attempt_at FROM report_batch WHERE state = 'open'",
                )?
                .query_row((), |row| {
                    Ok(OpenBatch {
                        id: row.get(0)?,
                        number: row.get(1)?,
                        sealed_body: row.get(2)?,
                        attempts: row.get(3)?,
                        next_attempt_at_ms: row.get(4)?,
                        items: Vec::new(),
                    })
                })
                .optional()?;
            let Some(mut batch) = batch else { return Ok(None) };
            batch.items = connection
                .prepare_cached("SELECT id, subject || '-' || version FROM report_item WHERE batch = ?1 ORDER BY id")?
                .query_map([batch.id], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            Ok(Some(batch))
        })
        .await
    }

    /// The oldest pending items, for the next batch.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn pending_reports(&self, limit: usize) -> Result<Vec<ReportRecord>, StoreError> {
        self.read(move |connection| {
            let items: Vec<(i64, String)> = connection
                .prepare_cached("SELECT id, kind FROM report_item WHERE state = 'pending' ORDER BY id LIMIT ?1")?
                .query_map([limit as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            items.iter().map(|(id, kind)| report_record(connection, *id, kind_of(kind)?)).collect()
        })
        .await
    }

    /// Opens a batch of these items, which waits to be sent at `now_ms`.
    ///
    /// # Errors
    /// When it could not be made durable, or another batch is open.
    pub async fn begin_report_batch(
        &self,
        number: &str,
        sealed_body: Vec<u8>,
        items: Vec<i64>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let number = number.to_owned();
        self.write(move |transaction| {
            let batch: i64 = transaction
                .prepare_cached(
                    "INSERT INTO report_batch (number, body, next_attempt_at, created_at) VALUES (?1, ?2, ?3, ?3)
                     RETURNING id",
                )?
                .query_row(params![number, sealed_body, now_ms], |row| row.get(0))?;
            let mut join = transaction.prepare_cached("UPDATE report_item SET batch = ?2 WHERE id = ?1")?;
            for item in &items {
                join.execute(params![item, batch])?;
            }
            Ok(())
        })
        .await
    }

    /// Notes what came of items: `None` acknowledges, a reason refuses. An item that is over stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn settle_reports(&self, answers: Vec<(i64, Option<String>)>, now_ms: i64) -> Result<(), StoreError> {
        self.write(move |transaction| settle(transaction, &answers, now_ms)).await
    }

    /// Notes what a batch's receiver answered, and an attempt; closes the batch when nothing of it is pending, else
    /// it is tried again at `next_attempt_at_ms`. Whether it is closed.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn answered_report_batch(
        &self,
        batch: i64,
        answers: Vec<(i64, Option<String>)>,
        next_attempt_at_ms: i64,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            settle(transaction, &answers, now_ms)?;
            let closed = transaction
                .prepare_cached(
                    "UPDATE report_batch SET attempts = attempts + 1, state = 'closed', body = NULL, finished_at = ?2
                     WHERE id = ?1 AND NOT EXISTS
                         (SELECT 1 FROM report_item WHERE batch = ?1 AND state = 'pending')",
                )?
                .execute(params![batch, now_ms])?;
            if closed == 0 {
                put_off(transaction, batch, next_attempt_at_ms, "the answer leaves out some items")?;
            }
            Ok(closed > 0)
        })
        .await
    }

    /// An attempt at a batch failed; the next one is due at `next_attempt_at_ms`.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn failed_report_batch(
        &self,
        batch: i64,
        next_attempt_at_ms: i64,
        error: &str,
    ) -> Result<(), StoreError> {
        let error = shortened(error);
        self.write(move |transaction| put_off(transaction, batch, next_attempt_at_ms, &error)).await
    }

    /// The receiver refuses a batch as a whole: it is over, and what is pending of it waits for another.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn dissolve_report_batch(&self, batch: i64, error: &str, now_ms: i64) -> Result<(), StoreError> {
        let error = shortened(error);
        self.write(move |transaction| {
            transaction
                .prepare_cached("UPDATE report_item SET batch = NULL WHERE batch = ?1 AND state = 'pending'")?
                .execute([batch])?;
            transaction
                .prepare_cached(
                    "UPDATE report_batch SET attempts = attempts + 1, state = 'closed', body = NULL, last_error = ?2,
                         finished_at = ?3 WHERE id = ?1",
                )?
                .execute(params![batch, error, now_ms])?;
            Ok(())
        })
        .await
    }

    /// How the reports stand.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn report_summary(&self) -> Result<ReportSummary, StoreError> {
        self.read(|connection| {
            let since = connection.query_row("SELECT since FROM report_target", (), |row| row.get(0)).optional()?;
            let count = |state: &str| {
                connection
                    .prepare_cached("SELECT count(*) FROM report_item WHERE state = ?1")?
                    .query_row([state], |row| row.get(0))
            };
            let batch = connection
                .prepare_cached(
                    "SELECT number, attempts, next_attempt_at, last_error FROM report_batch WHERE state = 'open'",
                )?
                .query_row((), |row| {
                    let (number, attempts) = (row.get(0)?, row.get(1)?);
                    Ok(BatchSummary { number, attempts, next_attempt_at: row.get(2)?, last_error: row.get(3)? })
                })
                .optional()?;
            let (pending, acknowledged, refused) = (count("pending")?, count("acknowledged")?, count("refused")?);
            Ok(ReportSummary { since, pending, acknowledged, refused, batch })
        })
        .await
    }

    /// Items in one state, or in any, oldest first; and the identifier after which the next page begins.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn reports(
        &self,
        state: Option<ReportState>,
        after: i64,
        request: PageRequest,
    ) -> Result<(Vec<ReportItem>, Option<i64>), StoreError> {
        self.read(move |connection| {
            let (condition, rows) = (if state.is_some() { "state = ?3" } else { "?3 IS NULL" }, request.rows());
            let sql = format!("{ITEM} WHERE item.id > ?1 AND {condition} ORDER BY item.id LIMIT ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = statement.query(params![after, rows, state.map(ReportState::as_str)])?;
            let mut items = Vec::new();
            while let Some(row) = found.next()? {
                items.push(report_item(&row)?);
            }
            let more = items.len() == rows as usize;
            items.truncate(rows as usize - 1);
            let next = items.last().filter(|_| more).map(|item| item.id);
            Ok((items, next))
        })
        .await
    }

    /// Queues an item that is over once more, or brings the batch forward that it is in; `None` when there is no
    /// such item.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn resend_report(&self, id: i64, now_ms: i64) -> Result<Option<ReportItem>, StoreError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "UPDATE report_batch SET next_attempt_at = CASE WHEN next_attempt_at > ?2 THEN ?2 ELSE next_attempt_at END
                     WHERE state = 'open'
                         AND id = (SELECT batch FROM report_item WHERE id = ?1 AND state = 'pending')",
                )?
                .execute(params![id, now_ms])?;
            transaction
                .prepare_cached(
                    "UPDATE report_item SET state = 'pending', reason = NULL, finished_at = NULL, batch = NULL
                     WHERE id = ?1 AND state <> 'pending'",
                )?
                .execute([id])?;
            let mut statement = transaction.prepare_cached(&format!("{ITEM} WHERE item.id = ?1"))?;
            let mut rows = statement.query([id])?;
            rows.next()?.map(|row| report_item(&row)).transpose()
        })
        .await
    }

    /// What is sealed of a learner's name and ID number, with the data key, sealed as well; `None` for who is
    /// unknown or forgotten, or whose number is not on record.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn sealed_person(&self, learner: &str) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
        let learner = learner.to_owned();
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT sealed_person, data_key FROM learner
                     WHERE id = ?1 AND sealed_person IS NOT NULL AND data_key IS NOT NULL",
                )?
                .query_row([&learner], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?)
        })
        .await
    }
}

impl ReportState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Acknowledged => "acknowledged",
            Self::Refused => "refused",
        }
    }
}

/// In the order of their happening: a learner is enrolled first and withdrawn last, should it be the same moment.
fn queue_the_past(transaction: &Connection) -> Result<usize, StoreError> {
    Ok(transaction.execute(
        "INSERT INTO report_item (kind, subject, version, created_at)
         SELECT kind, subject, version, created_at FROM (
             SELECT 'enrolment' AS kind, id AS subject, version, created_at FROM enrolment
             UNION ALL SELECT 'enrolment', ended.enrolment, ended.version, ended.enrolled_at
             FROM withdrawal AS ended JOIN enrolment ON enrolment.id = ended.enrolment
             WHERE ended.version < enrolment.version
             UNION ALL SELECT 'withdrawal', id, 1, created_at FROM withdrawal
             UNION ALL SELECT 'verdict', session.id, verdict.version, verdict.created_at
             FROM verdict JOIN session ON session.key = verdict.session) AS past
         WHERE TRUE ORDER BY created_at, kind, subject, version ON CONFLICT DO NOTHING",
        (),
    )?)
}

fn settle(transaction: &Connection, answers: &[(i64, Option<String>)], now_ms: i64) -> Result<(), StoreError> {
    let mut update = transaction.prepare_cached(
        "UPDATE report_item SET state = CASE WHEN ?2 IS NULL THEN 'acknowledged' ELSE 'refused' END, reason = ?2, finished_at = ?3
         WHERE id = ?1 AND state = 'pending'",
    )?;
    for (item, reason) in answers {
        update.execute(params![item, reason.as_deref().map(shortened), now_ms])?;
    }
    Ok(())
}

fn put_off(transaction: &Connection, batch: i64, next_attempt_at_ms: i64, error: &str) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "UPDATE report_batch SET attempts = attempts + 1, next_attempt_at = ?2, last_error = ?3 WHERE id = ?1",
        )?
        .execute(params![batch, next_attempt_at_ms, error])?;
    Ok(())
}

fn report_record(connection: &Connection, id: i64, kind: ReportKind) -> Result<ReportRecord, StoreError> {
    let (facts, from) = match kind {
        ReportKind::Enrolment => (ENROLMENT_FACTS, OF_ENROLMENT),
        ReportKind::Withdrawal => (WITHDRAWAL_FACTS, OF_WITHDRAWAL),
        ReportKind::Verdict => (VERDICT_FACTS, OF_VERDICT),
    };
    let rules = connection.dialect().rules_broken("verdict.body");
    let columns: Vec<&str> =
        facts.iter().map(|(_, column)| if *column == RULES { rules.as_str() } else { column }).collect();
    let sql = format!("SELECT {} {from} WHERE item.id = ?1", columns.join(", "));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id])?;
    let mut values = BTreeMap::new();
    if let Some(row) = rows.next()? {
        for (place, (name, _)) in facts.iter().enumerate() {
            values.insert(*name, json(row.get_ref(place)?)?);
        }
    }
    let text = |name: &str| values.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(ReportRecord { id, kind, number: text("item.number"), learner: text("learner.id"), facts: values })
}

fn json(value: ValueRef) -> Result<Value, StoreError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => text.into(),
        ValueRef::Blob(_) => return Err(corrupt("a fact is no text and no number".to_owned())),
    })
}

fn report_item(row: &Row) -> Result<ReportItem, StoreError> {
    let (kind, state): (String, String) = (row.get(1)?, row.get(4)?);
    let state = match state.as_str() {
        "pending" => ReportState::Pending,
        "acknowledged" => ReportState::Acknowledged,
        "refused" => ReportState::Refused,
        other => return Err(corrupt(format!("state {other}"))),
    };
    Ok(ReportItem {
        id: row.get(0)?,
        kind: kind_of(&kind)?,
        subject: row.get(2)?,
        version: row.get(3)?,
        state,
        reason: row.get(5)?,
        batch: row.get(6)?,
        created_at: row.get(7)?,
        finished_at: row.get(8)?,
    })
}

fn kind_of(word: &str) -> Result<ReportKind, StoreError> {
    match word {
        "enrolment" => Ok(ReportKind::Enrolment),
        "withdrawal" => Ok(ReportKind::Withdrawal),
        "verdict" => Ok(ReportKind::Verdict),
        other => Err(corrupt(format!("kind {other}"))),
    }
}

fn corrupt(why: String) -> StoreError {
    StoreError::Corrupt { what: "report", why }
}

fn shortened(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_LIMIT).collect()
}
