//! What is reported to the provincial platform, what it said to it, and sending an item again.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Operator, Overseer};
use super::extract::{PathOf, QueryOf};
use super::listing::page_request;
use super::problem::{Problem, Refusals};
use super::{Answer, ApiState};
use crate::store::reports::{ReportItem, ReportState, ReportSummary};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_reports)).routes(routes!(resend_report))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReportQuery {
    /// items in this state
    state: Option<ReportState>,
    /// the identifier after which the list goes on: `next` of the page before
    #[param(value_type = Option<i64>)]
    after: Option<String>,
    /// items wanted, 1 to 200
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Reports {
    /// how the reports stand
    summary: ReportSummary,
    /// items, oldest first
    items: Vec<ReportItem>,
    /// give this as `after` for what follows; null when nothing does
    next: Option<i64>,
}

/// What was, and is to be, reported to the provincial platform
#[utoipa::path(get, path = "/reports", tag = "reports", params(ReportQuery),
    responses((status = 200, body = Reports), Refusals))]
async fn list_reports(
    State(state): State<ApiState>,
    Overseer(caller): Overseer,
    QueryOf(query): QueryOf<ReportQuery>,
) -> Answer<Reports> {
    let page = page_request(None, query.limit.as_deref())?;
    let after = query.after.map_or(Ok(0), |after| after.parse());
    let after = after.map_err(|_| Problem::field("after", "must be a whole number"))?;
    let summary = state.store.report_summary().await?;
    // What is reported is the province's: of a region's supervisor it says how much, and not about whom.
    let (items, next) = match caller.region {
        None => state.store.reports(query.state, after, page).await?,
        Some(_) => (Vec::new(), None),
    };
    Ok(Json(Reports { summary, items, next }))
}

/// Reports an item again; one that is pending at once, with the batch that it is in
#[utoipa::path(post, path = "/reports/{id}/resend", tag = "reports",
    params(("id" = i64, Path, description = "the item")), responses((status = 200, body = ReportItem), Refusals))]
async fn resend_report(State(state): State<ApiState>, _: Operator, PathOf(id): PathOf<String>) -> Answer<ReportItem> {
    let no_such = || Problem::no_such("report");
    let id: i64 = id.parse().map_err(|_| no_such())?;
    state.store.resend_report(id, state.clock.now_ms()).await?.map(Json).ok_or_else(no_such)
}
