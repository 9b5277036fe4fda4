//! The ledger (台账): who learned what, with which verdict and which evidence; its sums; and the sheet.
//!
//! Platforms see their own sessions. The sheet is written while it is read: its size does not matter, and a reader who
//! stops reading is given up.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::extract::QueryOf;
use super::listing::{Listing, page_request};
use super::problem::{Problem, Refusals};
use super::validate::Findings;
use super::{Answer, ApiState};
use crate::ledger::period::{self, DayError};
use crate::ledger::sheet::Sheet;
use crate::store::StoreError;
use crate::store::ledger::{LedgerEntry, LedgerFilter, LedgerStatus};
use crate::store::ledger_totals::{LedgerGroup, LedgerTotals};
use crate::store::reach::Thing;

/// Entries that are read for a sheet at once: a few hundred kilobytes.
const CHUNK: u32 = 500;
/// How long a reader of a sheet may read nothing before it is given up, ms.
const STALL_LIMIT_MS: i64 = 60_000;
/// Sheets that are written at the same time: each holds two chunks at most.
pub const SHEETS_LIMIT: usize = 16;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_ledger)).routes(routes!(sum_ledger)).routes(routes!(ledger_sheet))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EntryQuery {
    /// sessions of this learner
    learner: Option<String>,
    /// sessions of this project
    project: Option<String>,
    /// sessions of this platform
    platform: Option<String>,
    /// sessions of projects whose region begins with these digits (GB/T 2260)
    region: Option<String>,
    /// opened on this day in China or later, as in 2026-03-01
    from: Option<String>,
    /// opened on this day in China or before
    to: Option<String>,
    /// sessions whose latest verdict is this
    #[param(inline)]
    status: Option<LedgerStatus>,
    /// the session after which the list goes on: `next` of the page before
    after: Option<String>,
    /// items wanted, 1 to 200
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TotalsQuery {
    /// what sums are taken by; nothing: one sum of all
    #[param(inline)]
    by: Option<LedgerGroup>,
    /// sessions of this learner
    learner: Option<String>,
    /// sessions of this project
    project: Option<String>,
    /// sessions of this platform
    platform: Option<String>,
    /// sessions of projects whose region begins with these digits (GB/T 2260)
    region: Option<String>,
    /// opened on this day in China or later, as in 2026-03-01
    from: Option<String>,
    /// opened on this day in China or before
    to: Option<String>,
    /// sessions whose latest verdict is this
    #[param(inline)]
    status: Option<LedgerStatus>,
    /// the key after which the list goes on: `next` of the page before
    after: Option<String>,
    /// items wanted, 1 to 200
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SheetQuery {
    /// sessions of this learner
    learner: Option<String>,
    /// sessions of this project
    project: Option<String>,
    /// sessions of this platform
    platform: Option<String>,
    /// sessions of projects whose region begins with these digits (GB/T 2260)
    region: Option<String>,
    /// opened on this day in China or later, as in 2026-03-01
    from: Option<String>,
    /// opened on this day in China or before
    to: Option<String>,
    /// sessions whose latest verdict is this
    #[param(inline)]
    status: Option<LedgerStatus>,
}

/// The ledger: every closed session with its latest verdict and its evidence, in the order of opening
#[utoipa::path(get, path = "/ledger", tag = "ledger", params(EntryQuery),
    responses((status = 200, body = Listing<LedgerEntry>), Refusals))]
async fn list_ledger(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<EntryQuery>,
) -> Answer<Listing<LedgerEntry>> {
    if let Some(after) = &query.after
        && caller.must_reach(&state, Thing::Session, after).await.is_err()
    {
        return Err(Problem::field("after", "is not a session of this ledger"));
    }
    let page = page_request(query.after, query.limit.as_deref())?;
    let EntryQuery { learner, project, platform, region, from, to, status, .. } = query;
    let filter = SheetQuery { learner, project, platform, region, from, to, status }.filter(caller)?;
    let found = state.store.ledger(filter, page).await?;
    let found = found.ok_or_else(|| Problem::field("after", "is not a session of this ledger"))?;
    Ok(Json(Listing::of(found, |entry| entry)))
}

/// Sums over the ledger: sessions, hours and attendance
#[utoipa::path(get, path = "/ledger/totals", tag = "ledger", params(TotalsQuery),
    responses((status = 200, body = Listing<LedgerTotals>), Refusals))]
async fn sum_ledger(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<TotalsQuery>,
) -> Answer<Listing<LedgerTotals>> {
    let page = page_request(query.after, query.limit.as_deref())?;
    let TotalsQuery { by, learner, project, platform, region, from, to, status, .. } = query;
    let filter = SheetQuery { learner, project, platform, region, from, to, status }.filter(caller)?;
    Ok(Json(Listing::of(state.store.ledger_totals(filter, by, page).await?, |totals| totals)))
}

/// The ledger as a sheet for Excel and WPS, with its sums beneath
#[utoipa::path(get, path = "/ledger.csv", tag = "ledger", params(SheetQuery),
    responses((status = 200, description = "docs/ledger.md", content_type = "text/csv", body = String), Refusals))]
async fn ledger_sheet(
    State(state): State<ApiState>,
    caller: Caller,
    QueryOf(query): QueryOf<SheetQuery>,
) -> Result<Response, Problem> {
    let filter = query.filter(caller)?;
    let permit = state.sheets.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::too_busy("too many sheets are being written"))?;
    let today = period::in_china(state.clock.now_ms()).strftime("%Y%m%d-%H%M%S").to_string();
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"ledger-{today}.csv\"")),
    ];
    Ok((headers, Body::from_stream(sheet(state, filter, permit))).into_response())
}

impl SheetQuery {
    fn filter(self, caller: Caller) -> Result<LedgerFilter, Problem> {
        let mut findings = Findings::default();
        let region_is_digits = |region: &String| region.len() <= 6 && region.bytes().all(|byte| byte.is_ascii_digit());
        if self.region.as_ref().is_some_and(|region| !region_is_digits(region)) {
            findings.add("region", "must be 1 to 6 digits");
        }
        let mut day = |field: &str, text: Option<String>, read: fn(&str) -> Result<i64, DayError>| {
            let read = text.map(|text| read(&text)).transpose();
            read.unwrap_or_else(|error| {
                findings.add(field, error.to_string());
                None
            })
        };
        let (from_ms, before_ms) = (day("from", self.from, period::begins_ms), day("to", self.to, period::ends_ms));
        if from_ms.zip(before_ms).is_some_and(|(from_ms, before_ms)| from_ms >= before_ms) {
            findings.add("to", "must not be before from");
        }
        findings.finish()?;
        Ok(LedgerFilter {
            scope: caller.platform().map(str::to_owned),
            scope_region: caller.region,
            learner: self.learner,
            project: self.project,
            platform: self.platform,
            region: self.region,
            from_ms,
            before_ms,
            status: self.status,
        })
    }
}

/// What is sent of a sheet. A stream that ends without `End` was broken off, and the client is told so.
enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// Writes a sheet from the ledger to a reader, no faster than it is read: one piece waits while another is made.
fn sheet(
    state: ApiState,
    filter: LedgerFilter,
    permit: OwnedSemaphorePermit,
) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    let (give, take) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = write_sheet(&state, &filter, &give).await {
            tracing::error!(%error, "a sheet of the ledger was broken off");
        }
        drop(permit);
    });
    stream::try_unfold(Some(take), |take| async move {
        let Some(mut take) = take else { return Ok(None) };
        match take.recv().await {
            Some(Piece::Bytes(bytes)) => Ok(Some((Bytes::from(bytes), Some(take)))),
            Some(Piece::End) => Ok(None),
            None => Err(std::io::Error::other("the sheet was broken off")),
        }
    })
}

async fn write_sheet(state: &ApiState, filter: &LedgerFilter, give: &mpsc::Sender<Piece>) -> Result<(), StoreError> {
    let (mut sheet, mut cursor) = (Sheet::default(), None);
    loop {
        let (entries, last) = state.store.ledger_entries(filter.clone(), cursor, CHUNK).await?;
        if !entries.is_empty() && !gave(state, give, Piece::Bytes(sheet.rows(&entries))).await {
            return Ok(());
        }
        cursor = last;
        if cursor.is_none() {
            break;
        }
    }
    if gave(state, give, Piece::Bytes(sheet.finish())).await {
        gave(state, give, Piece::End).await;
    }
    Ok(())
}

/// Whether the reader took it. One who is gone, or reads nothing for a minute, does not.
async fn gave(state: &ApiState, give: &mpsc::Sender<Piece>, piece: Piece) -> bool {
    tokio::select! {
        given = give.send(piece) => given.is_ok(),
        () = state.clock.sleep_ms(STALL_LIMIT_MS) => {
            tracing::info!("the reader of a sheet read nothing for a minute and was given up");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::api::fixture::Api;
    use crate::store::ledger_tests::filled;

    /// An operator and the platform `p1`, over 600 sessions.
    async fn callers() -> (Api, Api) {
        let operator = Api::start().await;
        filled(&operator.state.store, 600).await;
        let key = operator.post("/platforms/p1/keys", json!({"label": "test"})).await.expect(201);
        let platform = operator.with_key(key["key"].as_str().unwrap());
        (operator, platform)
    }

    async fn count(api: &Api, query: &str) -> usize {
        let (mut count, mut after) = (0, String::new());
        loop {
            let page = api.get(&format!("/ledger?limit=150&after={after}&{query}")).await.expect(200);
            count += page["items"].as_array().unwrap().len();
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return count,
            }
        }
    }

    #[tokio::test]
    async fn a_platform_sees_its_own_part_whatever_it_asks_for() {
        let (operator, platform) = callers().await;
        assert_eq!((count(&operator, "").await, count(&platform, "").await), (600, 300));
        assert_eq!(count(&platform, "platform=p0").await, 0);
        assert_eq!(count(&platform, "project=j0").await, 0);
        let others = operator.get("/ledger?platform=p0&limit=1").await.expect(200)["items"][0]["session"].clone();
        let after = format!("/ledger?after={}", others.as_str().unwrap());
        platform.get(&after).await.expect_field(422, "after");
        operator.get(&after).await.expect(200);
        let sums = platform.get("/ledger/totals?by=platform").await.expect(200);
        assert_eq!((&sums["items"][0]["key"], &sums["items"][1]), (&json!("p1"), &Value::Null));
        let sheet = platform.get("/ledger.csv").await;
        assert!(sheet.text.contains(",p1,") && !sheet.text.contains(",p0,"));
        let stranger = operator.other_platform().await;
        assert_eq!(count(&stranger, "").await, 0);
        assert_eq!(stranger.get("/ledger/totals").await.expect(200)["items"][0]["sessions"], 0);
        operator.with_key("").get("/ledger").await.expect_problem(401, "unauthenticated");
    }

    #[tokio::test]
    async fn filters_and_sums_are_those_of_the_request() {
        let (operator, _) = callers().await;
        // Six sessions an hour from the first of March on, in China; every tenth is invalid.
        for (query, expected) in [
            ("from=2026-03-02&to=2026-03-02", 144),
            ("from=2026-03-05", 24),
            ("to=2026-02-28", 0),
            ("region=4113", 450),
            ("region=411302", 150),
            ("status=invalid&to=2026-03-01", 14),
            ("project=j1&status=valid", 120),
        ] {
            assert_eq!(count(&operator, query).await, expected, "{query}");
            let sums = operator.get(&format!("/ledger/totals?{query}")).await.expect(200);
            assert_eq!(sums["items"][0]["sessions"], expected, "{query}");
        }
        let by_day = operator.get("/ledger/totals?by=day&limit=2").await.expect(200);
        assert_eq!((&by_day["items"][1]["key"], &by_day["next"]), (&json!("2026-03-02"), &json!("2026-03-02")));
        assert_eq!(by_day["items"][1]["attendance"], Value::Null);
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_request_is_named() {
        let (operator, _) = callers().await;
        for path in ["/ledger", "/ledger/totals", "/ledger.csv"] {
            for (query, field) in [
                ("from=2026-13-01", "from"),
                ("to=yesterday", "to"),
                ("from=2026-03-02&to=2026-03-01", "to"),
                ("region=41x", "region"),
                ("region=4113000", "region"),
                ("status=open", "status"),
                ("learners=l1", "learners"),
            ] {
                operator.get(&format!("{path}?{query}")).await.expect_field(422, field);
            }
        }
        operator.get("/ledger/totals?by=year").await.expect_field(422, "by");
        operator.get("/ledger?limit=201").await.expect_field(422, "limit");
        operator.get("/ledger?after=nobody").await.expect_field(422, "after");
    }

    #[tokio::test]
    async fn the_sheet_has_its_name_and_its_sums() {
        let (operator, _) = callers().await;
        let sheet = operator.get("/ledger.csv?project=j2").await;
        assert_eq!(sheet.headers["content-type"], "text/csv; charset=utf-8; header=present");
        assert_eq!(sheet.headers["content-disposition"], "attachment; filename=\"ledger-20260301-000000.csv\"");
        let text = sheet.text.strip_prefix('\u{feff}').unwrap();
        assert_eq!(text.matches("\r\n").count(), 1 + 150 + 4);
        let last: Vec<&str> = text.lines().last().unwrap().split(',').collect();
        let sums = operator.get("/ledger/totals?project=j2").await.expect(200)["items"][0].clone();
        assert_eq!((last[0], last[1]), ("合计", "150"));
        assert_eq!(last[25], format!("{:.2}", sums["credited_hours"].as_f64().unwrap()));
    }

    #[tokio::test]
    async fn more_sheets_than_allowed_are_refused_at_once() {
        let (operator, _) = callers().await;
        let _all = operator.state.sheets.clone().try_acquire_many_owned(super::SHEETS_LIMIT as u32).unwrap();
        operator.get("/ledger.csv").await.expect_problem(503, "busy");
    }
}
