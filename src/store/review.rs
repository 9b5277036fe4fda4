//! The second look: the queue of sessions that wait for a person, and what people decide about them.
//!
//! A decision, the version of the verdict that it makes, what the platform is told and the entry in the access log are one
//! transaction. Ledger and quota follow, because they read the newest version; a report follows by the trigger on verdicts.

use super::sql::{self, Connection, OptionalExtension as _, Row, ToSql, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::access_log::{self, LoggedAccess};
use super::outbox::{self, NewDelivery};
use super::reach::Reach;
use super::words::{DecisionState, QueueTab, Severity};
use super::{Store, StoreError, checksum};
use crate::verdict::{Verdict, Violation};

/// Most rows of a page of the queue.
pub const QUEUE_PAGE_LIMIT: u32 = 200;
/// Rows that a sheet of the queue has at most.
pub const QUEUE_SHEET_LIMIT: u32 = 20_000;

/// What the queue has of a session when it closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// by when it should be decided, ms since the Unix epoch
    pub due_at: i64,
    /// how much it weighs
    pub severity: Severity,
    /// the rules that were broken, each between commas
    pub rules: String,
    /// when it comes into the queue, ms since the Unix epoch
    pub at: i64,
}

impl Entry {
    /// What the queue shows of a verdict.
    pub fn of(verdict: &Verdict, due_at: i64, at: i64) -> Self {
        let mut rules: Vec<&str> = Vec::new();
        for violation in &verdict.violations {
            if !rules.contains(&violation.rule.as_str()) {
                rules.push(violation.rule.as_str());
            }
        }
        let rules: String =
            std::iter::once(String::from(",")).chain(rules.into_iter().map(|rule| format!("{rule},"))).collect();
        Self { due_at, severity: severity(&verdict.violations, verdict.violations_total), rules, at }
    }
}

/// How much a session weighs: somebody else's face or meddling weighs most, then what was done more than once.
pub fn severity(violations: &[Violation], total: u64) -> Severity {
    use crate::rules::Rule;
    let is_grave = |rule: Rule| matches!(rule, Rule::FaceLiveness | Rule::FacePassive | Rule::ClientTamper);
    if violations.iter().any(|violation| is_grave(violation.rule)) {
        Severity::High
    } else if total > 1 {
        Severity::Medium
    } else {
        Severity::Low
    }
}

/// Which rows of the queue are wanted; `None`: all.
#[derive(Clone, Debug, Default)]
pub struct QueueFilter {
    /// what exists for whoever asks
    pub reach: Reach,
    /// those of this platform
    pub platform: Option<String>,
    /// those of this project
    pub project: Option<String>,
    /// those of this learner
    pub learner: Option<String>,
    /// those in which this rule was broken, with `%` around
    pub rule: Option<String>,
    /// those of this weight
    pub severity: Option<Severity>,
}

/// Where a page of the queue begins: after a row that stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCursor {
    /// its due time
    pub due_at: i64,
    /// its weight
    pub severity: Severity,
    /// when its session was opened
    pub opened_at: i64,
    /// its session's key
    pub session: i64,
}

/// A row of the queue.
#[derive(Clone)]
pub struct QueueRow {
    /// the session's short key
    pub key: i64,
    /// the session
    pub session: String,
    /// in which list
    pub tab: QueueTab,
    /// identifier and name
    pub platform: (String, String),
    /// identifier, name and region
    pub project: (String, String, String),
    /// identifier and title
    pub lesson: (String, String),
    /// the learner
    pub learner: String,
    /// their data key and name, sealed; none once they are forgotten
    pub sealed: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// the newest verdict, and its version
    pub verdict: String,
    /// its version
    pub version: i64,
    /// how much it weighs
    pub severity: Severity,
    /// ms since the Unix epoch
    pub opened_at: i64,
    /// ms since the Unix epoch
    pub closed_at: Option<i64>,
    /// by when it should be decided
    pub due_at: i64,
    /// when the appeal came that is open
    pub appeal_at: Option<i64>,
    /// what somebody proposes, if somebody does
    pub proposed: Option<DecisionRecord>,
}

impl QueueRow {
    /// Where the page after this row begins.
    pub fn cursor(&self) -> QueueCursor {
        let Self { due_at, severity, opened_at, key, .. } = *self;
        QueueCursor { due_at, severity, opened_at, session: key }
    }
}

/// How many sessions wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct QueueCounts {
    /// under review
    pub review: i64,
    /// with an appeal that is open
    pub appeals: i64,
    /// in progress
    pub live: i64,
    /// decided
    pub decided: i64,
    /// of review and appeals, past their due time
    pub overdue: i64,
}

/// A decision as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// identifier
    pub id: String,
    /// the version of the verdict that was decided about
    pub version: i64,
    /// what was decided
    pub decision: String,
    /// why, by its code
    pub reason: String,
    /// a note, sealed with the learner's key
    pub note: Option<Vec<u8>>,
    /// identifier of the account or API key
    pub decided_by: String,
    /// the account's name
    pub decided_name: String,
    /// whether it stands
    pub state: DecisionState,
    /// the proposal that it confirms
    pub confirms: Option<String>,
    /// the version that it made
    pub made_version: Option<i64>,
    /// ms since the Unix epoch
    pub at: i64,
}

/// What a decision makes of the verdict, should it be final.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// the new verdict's status
    pub status: &'static str,
    /// the new verdict, byte for byte
    pub body: String,
    /// what the platform is told of it, by the new version
    pub delivery: NewDelivery,
}

/// A decision that somebody wants to make.
#[derive(Clone, Debug)]
pub struct NewDecision {
    /// the session
    pub session: String,
    /// the record, as it would be if it were final
    pub record: DecisionRecord,
    /// what it makes of the verdict; none for a decision that makes nothing
    pub outcome: Option<Outcome>,
    /// whether the pack asks for a second person
    pub second_person: bool,
    /// what goes into the access log
    pub access: LoggedAccess,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The session has no verdict yet, or there is no such session.
    #[error("the session has no verdict yet")]
    NoVerdict,
    /// The verdict has changed since it was looked at.
    #[error("version {0} of the verdict is the newest")]
    Stale(i64),
    /// Nobody confirms their own proposal.
    #[error("a second person must confirm it")]
    SecondPerson,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sql::Error> for DecideError {
    fn from(error: sql::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A version of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictVersion {
    /// 1 is the engine's
    pub version: i64,
    /// its status
    pub status: String,
    /// byte for byte
    pub body: String,
    /// ms since the Unix epoch
    pub created_at: i64,
    /// identifier of the account or API key that decided it; none: the engine
    pub reviewer: Option<String>,
}

const QUEUE_COLUMNS: &str =
    "review.session, session.id, review.tab, platform.id, platform.name, project.id, project.name,
    project.region, lesson.id, lesson.title, learner.id, learner.data_key, learner.sealed_person, verdict.body,
    verdict.version, verdict.checksum, review.severity, review.opened_at, session.closed_at, review.due_at,
    (SELECT at FROM appeal WHERE appeal.session = review.session AND appeal.state = 'open')";

impl Store {
    /// A page of the queue: by due time, then weight, then age. At most `rows` of them.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn queue(
        &self,
        tab: QueueTab,
        filter: QueueFilter,
        after: Option<QueueCursor>,
        rows: u32,
    ) -> Result<Vec<QueueRow>, StoreError> {
        self.read(move |connection| {
            let end = filter.reach.region_end();
            let cursor = after.map(|after| (after.due_at, after.severity, after.opened_at, after.session));
            let mut values: Vec<&dyn ToSql> = vec![&tab, &rows];
            let mut conditions = filter.conditions(&end, &mut values);
            if let Some((due_at, severity, opened_at, session)) = &cursor {
                let from = values.len() + 1;
                values.extend([due_at as &dyn ToSql, severity, opened_at, session]);
                conditions.push_str(&format!(
                    " AND (review.due_at, review.severity, review.opened_at, review.session)
                          > (?{from}, ?{}, ?{}, ?{})",
                    from + 1,
                    from + 2,
                    from + 3
                ));
            }
            // The page first, out of the index alone; then what is shown of it.
            let then = connection.dialect().then_join();
            let sql = format!(
                "SELECT {QUEUE_COLUMNS} FROM
                     (SELECT * FROM review WHERE tab = ?1{conditions}
                      ORDER BY due_at, severity, opened_at, session LIMIT ?2) AS review
                 {then} session ON session.key = review.session
                 {then} platform ON platform.id = session.platform
                 {then} project ON project.id = session.project
                 {then} lesson ON lesson.id = session.lesson
                 {then} learner ON learner.id = session.learner
                 {then} verdict ON verdict.session = review.session AND verdict.version =
                     (SELECT max(version) FROM verdict AS later WHERE later.session = review.session)
                 ORDER BY review.due_at, review.severity, review.opened_at, review.session"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = statement.query(values.as_slice())?;
            let mut page = Vec::new();
            while let Some(row) = found.next()? {
                page.push(queue_row(&row)?);
            }
            for row in &mut page {
                row.proposed = proposal(connection, row.key, row.version)?;
            }
            Ok(page)
        })
        .await
    }

    /// How many rows a filter lets through.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn queue_total(&self, tab: QueueTab, filter: QueueFilter) -> Result<i64, StoreError> {
        self.read(move |connection| {
            let end = filter.reach.region_end();
            let mut values: Vec<&dyn ToSql> = vec![&tab];
            let conditions = filter.conditions(&end, &mut values);
            let sql = format!("SELECT count(*) FROM review WHERE tab = ?1{conditions}");
            Ok(connection.prepare_cached(&sql)?.query_row(values.as_slice(), |row| row.get(0))?)
        })
        .await
    }

    /// How many sessions wait, for whom this is the reach.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn queue_counts(&self, reach: Reach, now_ms: i64) -> Result<QueueCounts, StoreError> {
        self.read(move |connection| {
            let end = reach.region_end();
            let mut values: Vec<&dyn ToSql> = vec![&now_ms];
            let conditions = reach.conditions("review", &end, &mut values);
            let sql = format!(
                "SELECT tab, count(*), CAST(coalesce(sum(CASE WHEN due_at < ?1 THEN 1 ELSE 0 END), 0) AS BIGINT)
                 FROM review WHERE TRUE{conditions} GROUP BY tab"
            );
            let mut counts = QueueCounts::default();
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(values.as_slice())?;
            while let Some(row) = rows.next()? {
                let (count, late): (i64, i64) = (row.get(1)?, row.get(2)?);
                match row.get(0)? {
                    QueueTab::Review => (counts.review, counts.overdue) = (count, counts.overdue + late),
                    QueueTab::Appeals => (counts.appeals, counts.overdue) = (count, counts.overdue + late),
                    QueueTab::Decided => counts.decided = count,
                }
            }
            drop(rows);
            let mut values: Vec<&dyn ToSql> = Vec::new();
            let conditions = reach.conditions("project", &end, &mut values);
            // The open ones first, which are few; then where they are.
            let then = connection.dialect().then_join();
            let live = format!(
                "SELECT count(*) FROM session {then} project ON project.id = session.project
                 WHERE session.closed_at IS NULL{conditions}"
            );
            counts.live = connection.prepare_cached(&live)?.query_row(values.as_slice(), |row| row.get(0))?;
            Ok(counts)
        })
        .await
    }

    /// Sessions that came into a list at `since` or later, ms since the Unix epoch, with when; the newest last.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn queue_changes(
        &self,
        reach: Reach,
        since: i64,
        rows: u32,
    ) -> Result<Vec<(String, QueueTab, i64)>, StoreError> {
        self.read(move |connection| {
            let end = reach.region_end();
            let mut values: Vec<&dyn ToSql> = vec![&since, &rows];
            let conditions = reach.conditions("review", &end, &mut values);
            let sql = format!(
                "SELECT session.id, review.tab, review.changed_at FROM review
                 JOIN session ON session.key = review.session
                 WHERE review.changed_at >= ?1{conditions} ORDER BY review.changed_at LIMIT ?2"
            );
            let changes = connection
                .prepare_cached(&sql)?
                .query_map(values.as_slice(), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(changes)
        })
        .await
    }

    /// Every version of a session's verdict, the engine's first.
    ///
    /// # Errors
    /// When the store could not read, or one is not what was written.
    pub async fn verdict_versions(&self, session: &str) -> Result<Vec<VerdictVersion>, StoreError> {
        let session = session.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT verdict.session, verdict.version, verdict.status, verdict.body, verdict.created_at,
                     verdict.reviewer, verdict.checksum
                 FROM verdict JOIN session ON session.key = verdict.session
                 WHERE session.id = ?1 ORDER BY verdict.version",
            )?;
            let mut rows = statement.query([&session])?;
            let mut versions = Vec::new();
            while let Some(row) = rows.next()? {
                let version = row.get(1)?;
                versions.push(VerdictVersion {
                    version,
                    status: row.get(2)?,
                    body: checksum::intact_verdict(row.get(0)?, version, row.get(3)?, row.get(6)?)?,
                    created_at: row.get(4)?,
                    reviewer: row.get(5)?,
                });
            }
            Ok(versions)
        })
        .await
    }

    /// What was decided about a session, oldest first.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn decisions(&self, session: &str) -> Result<Vec<DecisionRecord>, StoreError> {
        let session = session.to_owned();
        self.read(move |connection| {
            let decisions = connection
                .prepare_cached(&format!(
                    "SELECT {DECISION_COLUMNS} FROM decision JOIN session ON session.key = decision.session
                     WHERE session.id = ?1 ORDER BY decision.at, decision.id"
                ))?
                .query_map([&session], decision)?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(decisions)
        })
        .await
    }

    /// By when a session should be decided, and whether an appeal is open; `None`: it waits for nobody.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn review_of(&self, session: &str) -> Result<Option<(QueueTab, i64, bool)>, StoreError> {
        let session = session.to_owned();
        self.read(move |connection| {
            let found = connection
                .prepare_cached(
                    "SELECT review.tab, review.due_at,
                         EXISTS (SELECT 1 FROM appeal WHERE appeal.session = review.session AND appeal.state = 'open')
                     FROM review JOIN session ON session.key = review.session WHERE session.id = ?1",
                )?
                .query_row([&session], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            Ok(found)
        })
        .await
    }

    /// Decides about a session: proposes, or makes the decision final with all that follows from it.
    ///
    /// # Errors
    /// See [`DecideError`]; then nothing has happened.
    pub async fn decide(&self, new: NewDecision) -> Result<DecisionRecord, DecideError> {
        self.write(move |transaction| decide(transaction, &new)).await
    }
}

impl QueueFilter {
    fn conditions<'a>(&'a self, end: &'a Option<String>, values: &mut Vec<&'a dyn ToSql>) -> String {
        let mut sql = self.reach.conditions("review", end, values);
        let columns = [
            ("review.platform =", &self.platform, ""),
            ("review.project =", &self.project, ""),
            ("review.rules LIKE", &self.rule, ""),
            ("review.session IN (SELECT key FROM session WHERE learner =", &self.learner, ")"),
        ];
        for (condition, value, close) in columns {
            if value.is_some() {
                values.push(value);
                sql.push_str(&format!(" AND {condition} ?{}{close}", values.len()));
            }
        }
        if let Some(severity) = &self.severity {
            values.push(severity);
            sql.push_str(&format!(" AND review.severity = ?{}", values.len()));
        }
        sql
    }
}

/// Puts a session that closes into the queue.
pub(super) fn enter(transaction: &Connection, session: i64, entry: &Entry) -> sql::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO review (session, tab, due_at, severity, opened_at, rules, platform, project, region, changed_at)
             SELECT session.key, 'review', ?2, ?3, session.opened_at, ?4, session.platform, session.project,
                 project.region, ?5 FROM session JOIN project ON project.id = session.project WHERE session.key = ?1",
        )?
        .execute(params![session, entry.due_at, entry.severity, entry.rules, entry.at])?;
    Ok(())
}

fn decide(transaction: &Connection, new: &NewDecision) -> Result<DecisionRecord, DecideError> {
    let newest = transaction
        .prepare_cached(
            "SELECT verdict.session, max(verdict.version) FROM verdict JOIN session ON session.key = verdict.session
             WHERE session.id = ?1 GROUP BY verdict.session",
        )?
        .query_row([&new.session], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)))
        .optional()?;
    let (session, version) = newest.ok_or(DecideError::NoVerdict)?;
    if version != new.record.version {
        return Err(DecideError::Stale(version));
    }
    let mut record = new.record.clone();
    let needs_second = new.outcome.is_some() && (new.second_person || has_open_appeal(transaction, session)?);
    if needs_second {
        match proposal(transaction, session, version)? {
            Some(proposed) if proposed.decision == record.decision => {
                if proposed.decided_by == record.decided_by {
                    return Err(DecideError::SecondPerson);
                }
                record.confirms = Some(proposed.id);
            }
            _ => record.state = DecisionState::Proposed,
        }
    }
    if let (DecisionState::Final, Some(outcome)) = (record.state, &new.outcome) {
        record.made_version = Some(version + 1);
        make_version(transaction, session, version + 1, outcome, &record)?;
    } else {
        // Whoever has the session before them looks again.
        transaction
            .prepare_cached("UPDATE review SET changed_at = ?2 WHERE session = ?1")?
            .execute(params![session, record.at])?;
    }
    insert(transaction, session, &record)?;
    access_log::note(transaction, &new.access)?;
    Ok(record)
}

fn make_version(
    transaction: &Connection,
    session: i64,
    version: i64,
    outcome: &Outcome,
    record: &DecisionRecord,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO verdict (session, version, status, body, created_at, reviewer, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            session,
            version,
            outcome.status,
            outcome.body,
            record.at,
            record.decided_by,
            checksum::of_verdict(session, version, &outcome.body)
        ])?;
    outbox::enqueue(transaction, &outcome.delivery)?;
    transaction.execute("UPDATE appeal SET state = 'decided' WHERE session = ?1 AND state = 'open'", [session])?;
    transaction.execute(
        "INSERT INTO review (session, tab, due_at, severity, opened_at, rules, platform, project, region, changed_at)
         SELECT session.key, 'decided', ?2, 2, session.opened_at, ',', session.platform, session.project,
             project.region, ?3 FROM session JOIN project ON project.id = session.project WHERE session.key = ?1
         ON CONFLICT (session) DO UPDATE SET tab = 'decided', due_at = ?2, changed_at = ?3",
        // Those decided last come first.
        params![session, -record.at, record.at],
    )?;
    Ok(())
}

fn has_open_appeal(connection: &Connection, session: i64) -> sql::Result<bool> {
    let sql = "SELECT 1 FROM appeal WHERE session = ?1 AND state = 'open'";
    connection.prepare_cached(sql)?.exists([session])
}

/// What stands as proposed for a version of a verdict: the newest decision, if it is one.
fn proposal(connection: &Connection, session: i64, version: i64) -> sql::Result<Option<DecisionRecord>> {
    let newest = connection
        .prepare_cached(&format!(
            "SELECT {DECISION_COLUMNS} FROM decision WHERE session = ?1 ORDER BY at DESC, id DESC LIMIT 1"
        ))?
        .query_row([session], decision)
        .optional()?;
    Ok(newest.filter(|newest| newest.state == DecisionState::Proposed && newest.version == version))
}

const DECISION_COLUMNS: &str = "decision.id, decision.version, decision.decision, decision.reason, decision.note,
    decision.decided_by, decision.decided_name, decision.state, decision.confirms, decision.made_version, decision.at";

fn insert(transaction: &Connection, session: i64, record: &DecisionRecord) -> sql::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO decision (id, session, version, decision, reason, note, decided_by, decided_name, state, confirms,
                 made_version, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            record.id,
            session,
            record.version,
            record.decision,
            record.reason,
            record.note,
            record.decided_by,
            record.decided_name,
            record.state,
            record.confirms,
            record.made_version,
            record.at
        ])?;
    Ok(())
}

fn decision(row: &Row<'_>) -> sql::Result<DecisionRecord> {
    Ok(DecisionRecord {
        id: row.get(0)?,
        version: row.get(1)?,
        decision: row.get(2)?,
        reason: row.get(3)?,
        note: row.get(4)?,
        decided_by: row.get(5)?,
        decided_name: row.get(6)?,
        state: row.get(7)?,
        confirms: row.get(8)?,
        made_version: row.get(9)?,
        at: row.get(10)?,
    })
}

fn queue_row(row: &Row<'_>) -> Result<QueueRow, StoreError> {
    let (key, version): (i64, i64) = (row.get(0)?, row.get(14)?);
    let data_key: Option<Vec<u8>> = row.get(11)?;
    let person = row.get(12)?;
    Ok(QueueRow {
        key,
        session: row.get(1)?,
        tab: row.get(2)?,
        platform: (row.get(3)?, row.get(4)?),
        project: (row.get(5)?, row.get(6)?, row.get(7)?),
        lesson: (row.get(8)?, row.get(9)?),
        learner: row.get(10)?,
        sealed: data_key.map(|key| (key, person)),
        verdict: checksum::intact_verdict(key, version, row.get(13)?, row.get(15)?)?,
        version,
        severity: row.get(16)?,
        opened_at: row.get(17)?,
        closed_at: row.get(18)?,
        due_at: row.get(19)?,
        appeal_at: row.get(20)?,
        proposed: None,
    })
}
