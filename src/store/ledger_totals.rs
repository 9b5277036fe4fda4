//! Sums over the ledger: sessions, hours and attendance, by learner, project, platform, region, day or month.
//!
//! Every sum is of whole numbers that stand in the verdicts, so that it can be added up again by anybody.

use super::sql::{self, Connection, Dialect, Row};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ledger::{Conditions, LedgerFilter, hours};
use super::page::{Page, PageRequest};
use super::{Store, StoreError};

/// What sums are taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LedgerGroup {
    /// one sum for each learner
    Learner,
    /// one for each project
    Project,
    /// one for each platform
    Platform,
    /// one for each region
    Region,
    /// one for each day in China on which sessions were opened
    Day,
    /// one for each such month
    Month,
}

/// Sums over some sessions of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct LedgerTotals {
    /// the learner, project, platform, region (`-`: not said), day (2026-03-01) or month (2026-03); empty: all together
    pub key: String,
    /// what the project or platform is called
    pub name: Option<String>,
    /// closed sessions
    pub sessions: i64,
    /// those that count
    pub valid: i64,
    /// those that a person must decide
    pub review: i64,
    /// those that do not count
    pub invalid: i64,
    /// what was newly watched, ms of the lessons
    pub watched_ms: i64,
    /// what was newly watched in the time that it takes, ms
    pub creditable_ms: i64,
    /// what counts: that of valid sessions, ms
    pub credited_ms: i64,
    /// the same in hundredths of class hours
    #[serde(skip)]
    pub credited_hundredths: i64,
    /// the same in class hours: the sum of what the verdicts say
    pub credited_hours: f64,
    /// what would count, were all sessions under review found valid, ms
    pub pending_ms: i64,
    /// the same in hundredths of class hours
    #[serde(skip)]
    pub pending_hundredths: i64,
    /// the same in class hours
    pub pending_hours: f64,
    /// of what counts, that of learners whose enrolment in the project was withdrawn, ms
    pub withdrawn_ms: i64,
    /// the same in hundredths of class hours
    #[serde(skip)]
    pub withdrawn_hundredths: i64,
    /// the same in class hours
    pub withdrawn_hours: f64,
    /// theory lessons of the projects, once for each learner whose enrolment stands; null by day and month, on which no
    /// lesson is due
    pub lessons_due: Option<i64>,
    /// those of them that a valid session has completed, make-ups included
    pub lessons_attended: Option<i64>,
    /// attendance (培训到课率): attended of due, cut to four decimals; null when nothing is due
    pub attendance: Option<f64>,
}

impl LedgerGroup {
    /// The key of a session of the view `ledger`.
    fn of_session(self, dialect: Dialect) -> String {
        match self {
            Self::Learner => "learner".to_owned(),
            Self::Project => "project".to_owned(),
            Self::Platform => "platform".to_owned(),
            Self::Region => "coalesce(nullif(region, ''), '-')".to_owned(),
            Self::Day => dialect.day("opened_at"),
            Self::Month => dialect.month("opened_at"),
        }
    }

    fn is_of_time(self) -> bool {
        matches!(self, Self::Day | Self::Month)
    }

    /// What a key is called.
    fn name_of_key(self) -> &'static str {
        match self {
            Self::Project => "(SELECT name FROM project WHERE id = key)",
            Self::Platform => "(SELECT name FROM platform WHERE id = key)",
            _ => "NULL",
        }
    }
}

/// What is summed up, in the order in which it is read.
const SUMMED: [&str; 14] = [
    "sessions",
    "valid",
    "review",
    "invalid",
    "watched_ms",
    "creditable_ms",
    "credited_ms * valid",
    "credited_hundredths * valid",
    "credited_ms * review",
    "credited_hundredths * review",
    "due",
    "attended",
    "withdrawn_ms",
    "withdrawn_hundredths",
];

/// Sums by `group`, in the order of their keys, from after `after` on; without a group one sum of all.
///
/// # Errors
/// When the database refuses.
pub fn totals(
    connection: &Connection,
    filter: &LedgerFilter,
    group: Option<LedgerGroup>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<LedgerTotals>, StoreError> {
    let dialect = connection.dialect();
    let key = group.map_or_else(|| "''".to_owned(), |group| group.of_session(dialect));
    let mut conditions = Conditions::of(filter, dialect);
    let of_sessions = conditions.sql.clone();
    let with_lessons = !group.is_some_and(LedgerGroup::is_of_time);
    let lessons = if with_lessons { of_enrolments(&key, filter, dialect, &mut conditions) } else { String::new() };
    let withdrawn = of_withdrawn(&key, &of_sessions, dialect);
    let (after, limit) = (conditions.value(after.unwrap_or("").to_owned()), conditions.value(i64::from(limit)));
    let name = group.map_or("NULL", LedgerGroup::name_of_key);
    let sql = format!(
        "SELECT key, {name}, {}
         FROM (SELECT {key} AS key, 1 AS sessions, CASE status WHEN 'valid' THEN 1 ELSE 0 END AS valid,
                   CASE status WHEN 'review' THEN 1 ELSE 0 END AS review,
                   CASE status WHEN 'invalid' THEN 1 ELSE 0 END AS invalid,
                   watched_ms, creditable_ms, credited_ms, credited_hundredths, 0 AS due, 0 AS attended,
                   0 AS withdrawn_ms, 0 AS withdrawn_hundredths
               FROM ledger WHERE {of_sessions}{lessons}{withdrawn}) AS held
         WHERE key > ?{after} OR ?{after} = '' GROUP BY key ORDER BY key LIMIT ?{limit}",
        SUMMED.map(|column| format!("CAST(sum({column}) AS BIGINT)")).join(", ")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(&conditions.values[..], |row| total(row, with_lessons))?;
    let mut sums: Vec<LedgerTotals> = rows.collect::<Result<_, _>>()?;
    if sums.is_empty() && group.is_none() {
        sums.push(LedgerTotals { lessons_due: Some(0), lessons_attended: Some(0), ..LedgerTotals::default() });
    }
    Ok(sums)
}

/// The lessons that are due and attended, one row an enrolment. A lesson is attended in the period, whatever status
/// is asked for; it is due whether or not its learner ever came.
fn of_enrolments(key: &str, filter: &LedgerFilter, dialect: Dialect, conditions: &mut Conditions) -> String {
    conditions.sql = "TRUE".to_owned();
    conditions.whose(filter, dialect);
    let whose = std::mem::replace(&mut conditions.sql, "TRUE".to_owned());
    conditions.when(filter);
    let when = &conditions.sql;
    format!(
        " UNION ALL SELECT {key}, 0, 0, 0, 0, 0, 0, 0, 0,
            (SELECT count(*) FROM lesson WHERE lesson.project = of.project AND kind = 'theory'),
            (SELECT count(DISTINCT lesson.id) FROM ledger AS held JOIN lesson ON lesson.id = held.lesson
             WHERE held.learner = of.learner AND held.project = of.project AND lesson.kind = 'theory'
                 AND held.status = 'valid' AND held.completed = 1 AND {when}), 0, 0
          FROM (SELECT enrolment.learner, enrolment.project, project.platform, project.region
                FROM enrolment JOIN project ON project.id = enrolment.project
                WHERE enrolment.withdrawn_at IS NULL) AS of
          WHERE {whose}"
    )
}

/// What counts of those whose enrolment was withdrawn, one row a session. They are few: sessions are looked up for each.
fn of_withdrawn(key: &str, of_sessions: &str, dialect: Dialect) -> String {
    let join = dialect.then_join();
    format!(
        " UNION ALL SELECT {key}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, credited_ms, credited_hundredths
          FROM (SELECT project AS left_project, learner AS left_learner
                FROM enrolment WHERE withdrawn_at IS NOT NULL) AS withdrawn
          {join} ledger ON learner = left_learner AND project = left_project
          WHERE status = 'valid' AND {of_sessions}"
    )
}

fn total(row: &Row, with_lessons: bool) -> sql::Result<LedgerTotals> {
    let sum = |column: usize| row.get::<Option<i64>>(column).map(Option::unwrap_or_default);
    let (credited_hundredths, pending_hundredths) = (sum(9)?, sum(11)?);
    let (due, attended) = (sum(12)?, sum(13)?);
    let (withdrawn_ms, withdrawn_hundredths) = (sum(14)?, sum(15)?);
    Ok(LedgerTotals {
        key: row.get(0)?,
        name: row.get(1)?,
        sessions: sum(2)?,
        valid: sum(3)?,
        review: sum(4)?,
        invalid: sum(5)?,
        watched_ms: sum(6)?,
        creditable_ms: sum(7)?,
        credited_ms: sum(8)?,
        credited_hundredths,
        credited_hours: hours(credited_hundredths),
        pending_ms: sum(10)?,
        pending_hundredths,
        pending_hours: hours(pending_hundredths),
        withdrawn_ms,
        withdrawn_hundredths,
        withdrawn_hours: hours(withdrawn_hundredths),
        lessons_due: with_lessons.then_some(due),
        lessons_attended: with_lessons.then_some(attended),
        attendance: (with_lessons && due > 0).then(|| (attended * 10_000 / due) as f64 / 10_000.0),
    })
}

impl Store {
    /// A page of sums; one sum of all when there is no group.
    ///
    /// # Errors
    /// When the store could not read.
    pub async fn ledger_totals(
        &self,
        filter: LedgerFilter,
        group: Option<LedgerGroup>,
        request: PageRequest,
    ) -> Result<Page<LedgerTotals>, StoreError> {
        self.read(move |connection| {
            let sums = totals(connection, &filter, group, request.after.as_deref(), request.rows())?;
            Ok(request.page(sums, |sum| &sum.key))
        })
        .await
    }
}
