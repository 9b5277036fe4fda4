//! The policy packs that sessions are judged by, to be read.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::caller::Caller;
use super::extract::PathOf;
use super::problem::{Problem, Refusals};
use crate::policy::{Policy, date_in_china};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_policies)).routes(routes!(read_policy))
}

/// A policy pack.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyPack)]
struct Pack {
    /// what logs and verdicts call it
    label: String,
    /// identifier: projects choose by it
    id: String,
    /// version; empty when it has none
    version: String,
    /// title of its document; empty when it is no document's
    title: String,
    /// number of its document
    document: String,
    /// the first day on which sessions are judged by it, YYYY-MM-DD
    effective_from: Option<String>,
    /// the last such day
    effective_until: Option<String>,
    /// whether that is so today
    in_force: bool,
}

/// The packs that are known here
#[utoipa::path(get, path = "/policies", tag = "console", responses((status = 200, body = Vec<Pack>), Refusals))]
async fn list_policies(State(state): State<ApiState>, _: Caller) -> Json<Vec<Pack>> {
    let today = date_in_china(state.clock.now_ms());
    let shown = |policy: &Policy| Pack {
        label: policy.label(),
        id: policy.id.clone(),
        version: policy.version.clone(),
        title: policy.title.clone(),
        document: policy.document.clone(),
        effective_from: policy.effective_from.map(|day| day.to_string()),
        effective_until: policy.effective_until.map(|day| day.to_string()),
        in_force: policy.is_in_force_on(today),
    };
    Json(state.packs.all().map(|policy| shown(policy)).collect())
}

/// A pack as it is written, by its label; also one that is known by its sessions alone
#[utoipa::path(get, path = "/policies/{label}", tag = "console",
    params(("label" = String, Path, description = "what logs and verdicts call it")),
    responses((status = 200, description = "TOML", content_type = "application/toml", body = String), Refusals))]
async fn read_policy(
    State(state): State<ApiState>,
    _: Caller,
    PathOf(label): PathOf<String>,
) -> Result<Response, Problem> {
    let text = match state.packs.by_label(&label) {
        Some(policy) => Some(policy.text.clone()),
        None => {
            let kept = state.store.policy_texts().await?;
            kept.into_iter().find(|(kept, _)| *kept == label).map(|(_, text)| text)
        }
    };
    let text = text.ok_or_else(|| Problem::no_such("policy pack"))?;
    Ok(([(header::CONTENT_TYPE, "application/toml")], text).into_response())
}
