//! One session to take along: its log, every version of its verdict byte for byte, decisions, appeals, and the photos' digests.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::appeals;
use super::caller::PhotoViewer;
use super::extract::PathOf;
use super::photo_views::learner_key;
use super::problem::{Problem, Refusals};
use crate::store::reach::Thing;
use crate::store::words::AccessKind;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(read_bundle))
}

/// Log, verdicts, decisions, appeals and photos' digests of a session, as one file; on record (office, staff)
#[utoipa::path(get, path = "/sessions/{id}/bundle", tag = "console",
    params(("id" = String, Path, description = "the session")),
    responses((status = 200, description = "docs/console.md", body = Object), Refusals))]
async fn read_bundle(
    State(state): State<ApiState>,
    PhotoViewer(caller): PhotoViewer,
    PathOf(id): PathOf<String>,
) -> Result<Response, Problem> {
    caller.must_reach(&state, Thing::Session, &id).await?;
    let session = state.store.named_session(&id).await?.ok_or_else(|| Problem::no_such("session"))?;
    let log = state.sessions.log(id.clone()).await?;
    let log = String::from_utf8(log).map_err(|error| Problem::failed("reading a log", &error))?;
    let versions = state.store.verdict_versions(&id).await?;
    let verdicts = versions.into_iter().map(|version| {
        json!({"version": version.version, "status": version.status, "created_at": version.created_at,
            "decided_by": version.reviewer, "text": version.body})
    });
    let decisions = state.store.decisions(&id).await?.into_iter().map(|one| {
        json!({"id": one.id, "version": one.version, "decision": one.decision, "reason": one.reason,
            "by": {"id": one.decided_by, "name": one.decided_name}, "at": one.at, "state": one.state,
            "confirms": one.confirms, "made_version": one.made_version})
    });
    let key = learner_key(&state, &session.learner).await?;
    let appeals = appeals::of_session(&state, &id, key.as_ref()).await?;
    let photos = state
        .store
        .surroundings(&session, caller.reach())
        .await?
        .photos
        .into_iter()
        .map(|photo| json!({"capture": photo.capture, "sha256": photo.digest, "deleted_at": photo.deleted_at}));
    let bundle = json!({
        "session": id,
        "exported_at": state.clock.now_ms(),
        "exported_by": caller.key,
        "log": log,
        "verdicts": verdicts.collect::<Vec<Value>>(),
        "decisions": decisions.collect::<Vec<Value>>(),
        "appeals": appeals,
        "photos": photos.collect::<Vec<Value>>(),
    });
    caller.log_access(&state, AccessKind::Export, &id, "bundle").await?;
    let name = format!("attachment; filename=\"{id}.json\"");
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, bundle.to_string()).into_response())
}
