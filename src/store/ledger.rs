//! The ledger (台账): every closed session with its latest verdict and its evidence, filtered, page by page.
//!
//! Nothing is copied: rows are read out of sessions, verdicts, photos and approvals as they stand (the view `ledger` of
//! schema 3). Sums are in `ledger_totals.rs`. What a column means is in docs/ledger.md.

use super::sql::{self, Connection, Dialect, OptionalExtension as _, Row, Value, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageRequest};
use super::{Store, StoreError};

/// Which sessions are wanted; `None`: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerFilter {
    /// only what this platform may see
    pub scope: Option<String>,
    /// and of projects whose region begins with these digits
    pub scope_region: Option<String>,
    /// those of this learner
    pub learner: Option<String>,
    /// those of this project
    pub project: Option<String>,
    /// those of this platform
    pub platform: Option<String>,
    /// those of projects whose region begins with these digits (GB/T 2260)
    pub region: Option<String>,
    /// those opened at this time or later, ms since the Unix epoch
    pub from_ms: Option<i64>,
    /// those opened before this time, ms since the Unix epoch
    pub before_ms: Option<i64>,
    /// those whose latest verdict has this status
    pub status: Option<LedgerStatus>,
}

/// Where a closed session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LedgerStatus {
    /// it counts
    Valid,
    /// a person must decide
    Review,
    /// it does not count
    Invalid,
}

/// A session in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LedgerEntry {
    /// the session
    pub session: String,
    /// the learner's random identifier
    pub learner: String,
    /// the platform's own reference to the learner
    pub external_reference: Option<String>,
    /// the platform
    pub platform: String,
    /// what it is called
    pub platform_name: String,
    /// the project's region (GB/T 2260); empty when it was not said
    pub region: String,
    /// the project
    pub project: String,
    /// what it is called
    pub project_name: String,
    /// the learner's class within the project; empty: its only one
    pub class: String,
    /// when the learner's enrolment in the project was withdrawn, ms since the Unix epoch; null: it stands
    pub withdrawn_at: Option<i64>,
    /// the lesson
    pub lesson: String,
    /// its place in the project: 1, 2, 3 …
    pub lesson_position: i64,
    /// what it is called
    pub lesson_title: String,
    /// ms since the Unix epoch
    pub opened_at: i64,
    /// ms since the Unix epoch
    pub closed_at: i64,
    /// `valid`, `review` or `invalid`
    pub status: String,
    /// version of the verdict: the latest
    pub version: i64,
    /// the pack that the verdict was made by
    pub policy: String,
    /// when this version was made, ms since the Unix epoch
    pub decided_at: i64,
    /// who decided this version; null: the engine
    pub reviewer: Option<String>,
    /// watching time, ms
    pub watch_ms: i64,
    /// what was newly watched, ms of the lesson
    pub watched_ms: i64,
    /// what was newly watched in the time that it takes, ms
    pub creditable_ms: i64,
    /// what counts, ms; under review: what would count
    pub credited_ms: i64,
    /// the same in hundredths of class hours
    #[serde(skip)]
    pub credited_hundredths: i64,
    /// the same in class hours, cut to two decimals
    pub credited_hours: f64,
    /// whether enough of the lesson has been watched, earlier sessions included
    pub completed: bool,
    /// the rules that were broken, each once
    pub rules: Vec<String>,
    /// how many violations there are
    pub violations_total: i64,
    /// SHA-256 of the sealed log
    pub log_digest: String,
    /// the photos that were taken
    pub photos: Vec<LedgerPhoto>,
    /// the approval of the make-up lesson that this session was; null: it was none
    pub makeup: Option<LedgerMakeup>,
}

/// A photo that was taken in the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerPhoto {
    /// the capture that asked for it
    pub capture: String,
    /// SHA-256 of the photo
    pub digest: String,
}

/// The approval of a make-up lesson.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerMakeup {
    /// identifier
    pub id: String,
    /// the approval's reference
    pub reference: String,
    /// the office that gave it
    pub office: String,
}

/// Where a page begins: after the session with this time of opening and key.
pub type LedgerCursor = (i64, i64);

impl LedgerStatus {
    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Review => "review",
            Self::Invalid => "invalid",
        }
    }
}

/// Conditions on the columns of the view `ledger` with their values, to be put into a statement.
pub(super) struct Conditions {
    pub(super) values: Vec<Value>,
    pub(super) sql: String,
}

impl Conditions {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), sql: "TRUE".to_owned() }
    }

    /// Notes a value; says its place in the statement.
    pub(super) fn value(&mut self, value: impl Into<Value>) -> usize {
        self.values.push(value.into());
        self.values.len()
    }

    pub(super) fn add(&mut self, column: &str, relation: &str, value: impl Into<Value>) {
        let place = self.value(value);
        self.sql.push_str(&format!(" AND {column} {relation} ?{place}"));
    }

    /// Whose: what a session and an enrolment have in common.
    pub(super) fn whose(&mut self, filter: &LedgerFilter, dialect: Dialect) {
        let columns = [
            ("platform", &filter.scope),
            ("platform", &filter.platform),
            ("learner", &filter.learner),
            ("project", &filter.project),
        ];
        for (column, value) in columns {
            if let Some(value) = value {
                self.add(column, "=", value.clone());
            }
        }
        for region in [&filter.scope_region, &filter.region].into_iter().flatten() {
            // Nothing that begins with these digits comes at or after the colon, which follows the digit 9.
            let (from, before) = (self.value(region.clone()), self.value(format!("{region}:")));
            let of_region = format!("SELECT id FROM project WHERE region >= ?{from} AND region < ?{before}");
            // Else SQLite takes the sessions project by project, and sorts them all for one page.
            self.sql.push_str(&format!(" AND {} IN ({of_region})", dialect.unindexed("project")));
        }
    }

    pub(super) fn when(&mut self, filter: &LedgerFilter) {
        if let Some(from_ms) = filter.from_ms {
            self.add("opened_at", ">=", from_ms);
        }
        if let Some(before_ms) = filter.before_ms {
            self.add("opened_at", "<", before_ms);
        }
    }

    pub(super) fn of(filter: &LedgerFilter, dialect: Dialect) -> Self {
        let mut conditions = Self::new();
        conditions.whose(filter, dialect);
        conditions.when(filter);
        if let Some(status) = filter.status {
            conditions.add("status", "=", status.as_str().to_owned());
        }
        conditions
    }
}

/// What of an entry is not in the view, for the few rows that are shown.
const ENTRY: &str = "SELECT l.key, l.opened_at, l.session, l.learner, l.platform, l.region, l.project, l.lesson,
    l.closed_at, l.status, l.version, l.policy, l.decided_at, l.reviewer, l.watch_ms, l.watched_ms, l.creditable_ms,
    l.credited_ms, l.credited_hundredths, l.completed, l.violations_total, l.log_digest,
    (SELECT external_reference FROM platform_learner WHERE platform = l.platform AND learner = l.learner),
    (SELECT name FROM platform WHERE id = l.platform),
    (SELECT name FROM project WHERE id = l.project),
    (SELECT coalesce((SELECT class FROM withdrawal WHERE withdrawal.enrolment = enrolment.id
            AND withdrawal.created_at >= l.opened_at ORDER BY version LIMIT 1), class)
        FROM enrolment WHERE project = l.project AND learner = l.learner),
    (SELECT position FROM lesson WHERE id = l.lesson),
    (SELECT title FROM lesson WHERE id = l.lesson),
    (SELECT withdrawn_at FROM enrolment WHERE project = l.project AND learner = l.learner)";

/// The rules that were broken, the photos as JSON objects with commas between them, and the make-up as one.
fn evidence(dialect: Dialect) -> String {
    let photo = dialect.json_object(&[("capture", "capture"), ("digest", "digest")]);
    let makeup = dialect.json_object(&[("id", "id"), ("reference", "reference"), ("office", "office")]);
    format!(
        "(SELECT {} FROM verdict WHERE verdict.session = l.key AND verdict.version = l.version),
         (SELECT string_agg({photo}, ',' ORDER BY capture) FROM photo WHERE session = l.key),
         (SELECT {makeup} FROM makeup WHERE id = l.makeup)",
        dialect.rules_broken("verdict.body")
    )
}

/// A page of the ledger, in the order of opening, from after `cursor` on; with the cursor after its last entry.
///
/// # Errors
/// When the database refuses, or holds something that is no verdict.
pub fn entries(
    connection: &Connection,
    filter: &LedgerFilter,
    cursor: Option<LedgerCursor>,
    limit: u32,
) -> Result<(Vec<LedgerEntry>, Option<LedgerCursor>), StoreError> {
    let dialect = connection.dialect();
    let mut conditions = Conditions::of(filter, dialect);
    if let Some((opened_at, key)) = cursor {
        let (opened_at, key) = (conditions.value(opened_at), conditions.value(key));
        conditions.sql.push_str(&format!(" AND (opened_at, key) > (?{opened_at}, ?{key})"));
    }
    let limit = conditions.value(i64::from(limit));
    let sql = format!(
        "{ENTRY}, {}
         FROM (SELECT key AS shown FROM ledger WHERE {} ORDER BY opened_at, key LIMIT ?{limit}) AS page
         {} ledger AS l ON l.key = shown ORDER BY l.opened_at, l.key",
        evidence(dialect),
        conditions.sql,
        dialect.then_join()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(&conditions.values[..])?;
    let (mut entries, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        last = Some((row.get(1)?, row.get(0)?));
        entries.push(entry(&row)?);
    }
    Ok((entries, last))
}

fn entry(row: &Row) -> Result<LedgerEntry, StoreError> {
    let session: String = row.get(2)?;
    let read = |error: sql::Error| StoreError::Corrupt {
        what: "verdict",
        why: format!("of session {session} cannot be listed: {error}"),
    };
    let json = |column: usize| row.get::<Option<String>>(column).map(Option::unwrap_or_default).map_err(read);
    let hundredths: i64 = row.get(18).map_err(read)?;
    let made_up = json(31)?;
    Ok(LedgerEntry {
        learner: row.get(3)?,
        platform: row.get(4)?,
        region: row.get(5)?,
        project: row.get(6)?,
        lesson: row.get(7)?,
        opened_at: row.get(1)?,
        closed_at: row.get(8).map_err(read)?,
        status: row.get(9)?,
        version: row.get(10)?,
        policy: row.get(11).map_err(read)?,
        decided_at: row.get(12)?,
        reviewer: row.get(13)?,
        watch_ms: row.get(14).map_err(read)?,
        watched_ms: row.get(15).map_err(read)?,
        creditable_ms: row.get(16).map_err(read)?,
        credited_ms: row.get(17).map_err(read)?,
        credited_hundredths: hundredths,
        credited_hours: hours(hundredths),
        completed: row.get(19).map_err(read)?,
        violations_total: row.get(20).map_err(read)?,
        log_digest: row.get(21).map_err(read)?,
        external_reference: row.get(22)?,
        platform_name: row.get(23)?,
        project_name: row.get(24)?,
        class: row.get::<Option<String>>(25)?.unwrap_or_default(),
        lesson_position: row.get(26)?,
        lesson_title: row.get(27)?,
        withdrawn_at: row.get(28)?,
        rules: json(29)?.split_terminator(',').map(str::to_owned).collect(),
        photos: parsed(&format!("[{}]", json(30)?), &session)?,
        makeup: if made_up.is_empty() { None } else { Some(parsed(&made_up, &session)?) },
        session,
    })
}

fn parsed<T: serde::de::DeserializeOwned>(json: &str, session: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Corrupt {
        what: "verdict",
        why: format!("of session {session} cannot be listed: {error}"),
    })
}

/// Class hours of hundredths.
pub fn hours(hundredths: i64) -> f64 {
    hundredths as f64 / 100.0
}

/// Where the page after this session begins; none when the ledger's part that `scope` may see has no such session.
///
/// # Errors
/// When the database refuses.
pub fn cursor_after(
    connection: &Connection,
    scope: Option<&str>,
    session: &str,
) -> Result<Option<LedgerCursor>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT opened_at, key FROM session WHERE id = ?1 AND coalesce(platform = ?2, TRUE)")?
        .query_row(params![session, scope], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

impl Store {
    /// A page of the ledger; `None` when the page is to begin after a session that does not exist.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn ledger(
        &self,
        filter: LedgerFilter,
        request: PageRequest,
    ) -> Result<Option<Page<LedgerEntry>>, StoreError> {
        self.read(move |connection| {
            let cursor = match &request.after {
                None => None,
                Some(session) => match cursor_after(connection, filter.scope.as_deref(), session)? {
                    Some(cursor) => Some(cursor),
                    None => return Ok(None),
                },
            };
            let (entries, _) = entries(connection, &filter, cursor, request.rows())?;
            Ok(Some(request.page(entries, |entry| &entry.session)))
        })
        .await
    }

    /// Up to `limit` entries after `cursor`, and the cursor after the last of them.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn ledger_entries(
        &self,
        filter: LedgerFilter,
        cursor: Option<LedgerCursor>,
        limit: u32,
    ) -> Result<(Vec<LedgerEntry>, Option<LedgerCursor>), StoreError> {
        self.read(move |connection| entries(connection, &filter, cursor, limit)).await
    }
}
