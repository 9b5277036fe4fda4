//! Who signed in, was shown photos and names, exported and decided: for whoever watches the watchers.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Reviser;
use super::extract::QueryOf;
use super::listing::{Listing, page_request};
use super::problem::Refusals;
use super::{Answer, ApiState};
use crate::store::access_log::{AccessFilter, LoggedAccess};
use crate::store::words::AccessKind;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(read_access_log))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AccessQuery {
    /// those of this account or API key
    account: Option<String>,
    /// those of this kind
    kind: Option<AccessKind>,
    /// the identifier after which the list goes on: `next` of the page before
    after: Option<String>,
    /// items wanted, 1 to 200
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
}

/// Who was shown what, exported and decided, newest first (operator, auditor, administrator)
#[utoipa::path(get, path = "/access-log", tag = "accounts", params(AccessQuery),
    responses((status = 200, body = Listing<LoggedAccess>), Refusals))]
async fn read_access_log(
    State(state): State<ApiState>,
    _: Reviser,
    QueryOf(query): QueryOf<AccessQuery>,
) -> Answer<Listing<LoggedAccess>> {
    let page = page_request(query.after, query.limit.as_deref())?;
    let filter = AccessFilter { account: query.account, kind: query.kind };
    Ok(Json(Listing::of(state.store.access_log(filter, page).await?, |entry| entry)))
}
