//! The queue: sessions that wait for a person, by due time, then weight, then age.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::decisions::By;
use super::extract::QueryOf;
use super::listing::page_request;
use super::persons;
use super::problem::{Problem, Refusals};
use super::{Answer, ApiState};
use crate::ledger::sheet::safe_cell;
use crate::store::review::{QUEUE_PAGE_LIMIT, QUEUE_SHEET_LIMIT, QueueCounts, QueueCursor, QueueFilter, QueueRow};
use crate::store::words::{AccessKind, QueueTab, Severity};
use crate::verdict::Verdict;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_queue)).routes(routes!(count_queue)).routes(routes!(queue_sheet))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct QueueQuery {
    /// which list; `review` unless given
    tab: Option<QueueTab>,
    /// sessions of this platform
    platform: Option<String>,
    /// sessions of this project
    project: Option<String>,
    /// sessions of this learner
    learner: Option<String>,
    /// sessions in which this rule was broken
    rule: Option<String>,
    /// sessions of this weight
    severity: Option<Severity>,
    /// where the list goes on: `next` of the page before
    after: Option<String>,
    /// items wanted, 1 to 200
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
}

/// A name with what it names.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Named {
    /// identifier
    id: String,
    /// what it is called
    name: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct NamedProject {
    /// identifier
    id: String,
    /// what it is called
    name: String,
    /// GB/T 2260 code; empty: it does not say
    region: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct TitledLesson {
    /// identifier
    id: String,
    /// what it is called
    title: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct MaskedLearner {
    /// identifier
    id: String,
    /// enough of the name to be known by whoever knows them; null: it was never given, or the learner is forgotten
    masked: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
struct BrokenRule {
    /// the rule
    rule: String,
    /// which of its causes
    cause: Option<String>,
    /// how often
    count: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct OpenAppeal {
    /// when it came, ms since the Unix epoch
    at: i64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Proposal {
    by: By,
    /// what is proposed
    decision: String,
}

/// A session that waits for a person, or was decided.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct QueueItem {
    /// the session
    session: String,
    /// which list it is in
    tab: QueueTab,
    platform: Named,
    project: NamedProject,
    lesson: TitledLesson,
    learner: MaskedLearner,
    /// of the newest verdict
    status: String,
    /// the newest version of the verdict
    verdict_version: i64,
    /// what was broken, in the order of the first violations
    rules: Vec<BrokenRule>,
    /// how much it weighs
    severity: Severity,
    /// ms since the Unix epoch
    opened_at: i64,
    /// ms since the Unix epoch
    closed_at: Option<i64>,
    /// by when it should be decided, ms since the Unix epoch; null once it is decided
    due_at: Option<i64>,
    /// whether that is past
    overdue: bool,
    /// the appeal that is open
    appeal: Option<OpenAppeal>,
    /// what somebody proposes, where a second person must decide the same
    proposed: Option<Proposal>,
}

#[derive(Serialize, ToSchema)]
struct QueuePage {
    /// by due time, then weight, then age
    items: Vec<QueueItem>,
    /// give this as `after` for what follows; null when nothing does
    next: Option<String>,
    /// how many there are in all
    total: i64,
}

/// Sessions that wait for a person, or were decided
#[utoipa::path(get, path = "/queue", tag = "console", params(QueueQuery), responses((status = 200, body = QueuePage), Refusals))]
async fn list_queue(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<QueueQuery>,
) -> Answer<QueuePage> {
    let limit = page_request(None, query.limit.as_deref())?.limit.unwrap_or(QUEUE_PAGE_LIMIT);
    let after = query.after.as_deref().map(read_cursor).transpose()?;
    let (tab, filter) = query.filter(&caller);
    let total = state.store.queue_total(tab, filter.clone()).await?;
    let mut rows = state.store.queue(tab, filter, after, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|last| write_cursor(last.cursor()));
    let items = rows.into_iter().map(|row| item(&state, row)).collect::<Result<_, _>>()?;
    Ok(Json(QueuePage { items, next, total }))
}

/// How many sessions wait
#[utoipa::path(get, path = "/queue/counts", tag = "console", responses((status = 200, body = QueueCounts), Refusals))]
async fn count_queue(State(state): State<ApiState>, caller: Caller) -> Answer<QueueCounts> {
    Ok(Json(state.store.queue_counts(caller.reach(), state.clock.now_ms()).await?))
}

/// The same as a sheet for Excel and WPS, at most 20 000 rows; the export is on record
#[utoipa::path(get, path = "/queue.csv", tag = "console", params(QueueQuery),
    responses((status = 200, content_type = "text/csv", body = String), Refusals))]
async fn queue_sheet(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<QueueQuery>,
) -> Result<Response, Problem> {
    let permit = state.sheets.clone().try_acquire_owned();
    let _permit = permit.map_err(|_| Problem::too_busy("too many sheets are being written"))?;
    let (tab, filter) = query.filter(&caller);
    let rows = state.store.queue(tab, filter, None, QUEUE_SHEET_LIMIT).await?;
    let detail = format!("{} sessions of {}", rows.len(), tab.as_str());
    caller.log_access(&state, AccessKind::Export, "queue.csv", detail).await?;
    let failed = |error: csv::Error| Problem::failed("writing a sheet", &error);
    let mut sheet = csv::Writer::from_writer(b"\xEF\xBB\xBF".to_vec());
    let headings = ["session", "platform", "project", "lesson", "learner", "status", "rules", "severity", "due_at_ms"];
    sheet.write_record(headings).map_err(failed)?;
    for row in rows {
        let item = item(&state, row)?;
        let rules = item.rules.iter().map(|rule| rule.rule.as_str()).collect::<Vec<_>>().join(" ");
        let due_at = item.due_at.map_or_else(String::new, |due_at| due_at.to_string());
        let cells = [
            item.session,
            safe_cell(&item.platform.name),
            safe_cell(&item.project.name),
            safe_cell(&item.lesson.title),
            safe_cell(&item.learner.masked.unwrap_or_default()),
            item.status,
            rules,
            item.severity.as_str().to_owned(),
            due_at,
        ];
        sheet.write_record(cells).map_err(failed)?;
    }
    let bytes = sheet.into_inner().map_err(|error| Problem::failed("writing a sheet", &error))?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"queue.csv\""),
    ];
    Ok((headers, bytes).into_response())
}

impl QueueQuery {
    fn filter(self, caller: &Caller) -> (QueueTab, QueueFilter) {
        // A rule is a word: what LIKE would take for more finds nothing.
        let rule = self.rule.map(|rule| format!("%,{},%", rule.replace(['%', '_'], "_")));
        let filter = QueueFilter {
            reach: caller.reach(),
            platform: self.platform,
            project: self.project,
            learner: self.learner,
            rule,
            severity: self.severity,
        };
        (self.tab.unwrap_or(QueueTab::Review), filter)
    }
}

fn write_cursor(cursor: QueueCursor) -> String {
    let QueueCursor { due_at, severity, opened_at, session } = cursor;
    format!("{due_at}.{}.{opened_at}.{session}", severity as i64)
}

fn read_cursor(text: &str) -> Result<QueueCursor, Problem> {
    let numbers: Option<Vec<i64>> = text.split('.').map(|number| number.parse().ok()).collect();
    let severity = |number| match number {
        0 => Some(Severity::High),
        1 => Some(Severity::Medium),
        2 => Some(Severity::Low),
        _ => None,
    };
    let cursor = numbers.and_then(|numbers| match *numbers.as_slice() {
        [due_at, weight, opened_at, session] => {
            Some(QueueCursor { due_at, severity: severity(weight)?, opened_at, session })
        }
        _ => None,
    });
    cursor.ok_or_else(|| Problem::field("after", "is not the `next` of a page"))
}

fn item(state: &ApiState, row: QueueRow) -> Result<QueueItem, Problem> {
    let verdict: Verdict =
        serde_json::from_str(&row.verdict).map_err(|error| Problem::failed("reading a verdict", &error))?;
    let masked = persons::masked_name(state, &row.learner, row.sealed)?;
    let due_at = (row.tab != QueueTab::Decided).then_some(row.due_at);
    Ok(QueueItem {
        session: row.session,
        tab: row.tab,
        platform: Named { id: row.platform.0, name: row.platform.1 },
        project: NamedProject { id: row.project.0, name: row.project.1, region: row.project.2 },
        lesson: TitledLesson { id: row.lesson.0, title: row.lesson.1 },
        learner: MaskedLearner { id: row.learner, masked },
        status: verdict.status.to_string(),
        verdict_version: row.version,
        rules: rules(&verdict),
        severity: row.severity,
        opened_at: row.opened_at,
        closed_at: row.closed_at,
        due_at,
        overdue: due_at.is_some_and(|due_at| due_at < state.clock.now_ms()),
        appeal: row.appeal_at.map(|at| OpenAppeal { at }),
        proposed: row.proposed.map(|proposed| Proposal {
            by: By { id: proposed.decided_by, name: proposed.decided_name },
            decision: proposed.decision,
        }),
    })
}

fn rules(verdict: &Verdict) -> Vec<BrokenRule> {
    let mut rules: Vec<BrokenRule> = Vec::new();
    for violation in &verdict.violations {
        let (rule, cause) = (violation.rule.to_string(), violation.cause.clone());
        match rules.iter_mut().find(|seen| seen.rule == rule && seen.cause == cause) {
            Some(seen) => seen.count += 1,
            None => rules.push(BrokenRule { rule, cause, count: 1 }),
        }
    }
    rules
}
