//! Photos, shown to people who may see them: each showing is on record before the first byte goes out.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::caller::{Official, PhotoViewer};
use super::extract::PathOf;
use super::problem::{Problem, Refusals};
use crate::auth::keys::DataKey;
use crate::store::reach::Thing;
use crate::store::words::AccessKind;
use crate::vision::burst;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(read_frame)).routes(routes!(read_enrolled_photo))
}

/// A photo of a capture, by its place in the burst from 0 (office, staff)
///
/// 410 `deleted` once it is past its retention, or the learner is forgotten.
#[utoipa::path(get, path = "/sessions/{id}/captures/{capture}/frames/{index}", tag = "console",
    params(("id" = String, Path, description = "the session"), ("capture" = String, Path, description = "the capture"),
        ("index" = usize, Path, description = "which photo of it, from 0")),
    responses((status = 200, description = "the photo as it was sent", content_type = "image/jpeg", body = Vec<u8>), Refusals))]
async fn read_frame(
    State(state): State<ApiState>,
    PhotoViewer(caller): PhotoViewer,
    PathOf((id, capture, index)): PathOf<(String, String, String)>,
) -> Result<Response, Problem> {
    caller.must_reach(&state, Thing::Session, &id).await?;
    let session = state.store.session_record(&id).await?.ok_or_else(|| Problem::no_such("session"))?;
    let bytes = frame(&state, &id, &session.learner, &capture, &index).await?;
    caller.log_access(&state, AccessKind::Photo, &id, format!("{capture}/{index}")).await?;
    Ok(picture(bytes))
}

/// A learner's enrolment photo in force (office)
#[utoipa::path(get, path = "/learners/{id}/enrolled-photo", tag = "console",
    params(("id" = String, Path, description = "the learner")),
    responses((status = 200, description = "the photo as it was given", content_type = "image/jpeg", body = Vec<u8>), Refusals))]
async fn read_enrolled_photo(
    State(state): State<ApiState>,
    Official(caller): Official,
    PathOf(id): PathOf<String>,
) -> Result<Response, Problem> {
    caller.must_reach(&state, Thing::Learner, &id).await?;
    let photo = state.store.enrolled_photo(&id).await?.ok_or_else(|| Problem::no_such("photo"))?;
    let key = learner_key(&state, &id).await?.ok_or_else(|| Problem::no_such("photo"))?;
    let bytes = state.photos.get(key, photo.evidence).await?;
    caller.log_access(&state, AccessKind::EnrolledPhoto, &id, format!("version {}", photo.version)).await?;
    Ok(picture(bytes))
}

/// One photo of a capture of a session that exists for whoever asks.
pub(super) async fn frame(
    state: &ApiState,
    session: &str,
    learner: &str,
    capture: &str,
    index: &str,
) -> Result<Vec<u8>, Problem> {
    let no_such = || Problem::no_such("photo");
    let index: usize = index.parse().map_err(|_| no_such())?;
    let photo = state.store.photo_of_capture(session, capture).await?.ok_or_else(no_such)?;
    if let Some(at) = photo.deleted_at {
        let day = crate::policy::date_in_china(at);
        return Err(Problem::deleted(format!("the photo was deleted on {day}, past its retention")).deleted_at(at));
    }
    let key = learner_key(state, learner).await?;
    let key = key.ok_or_else(|| Problem::deleted("the learner was forgotten, and nobody can open the photo"))?;
    let bytes = state.photos.get(key, photo.evidence).await?;
    let frames = burst::parse(&bytes).map_err(|error| Problem::failed("taking a burst apart", &error))?;
    frames.get(index).map(|frame| frame.photo.to_vec()).ok_or_else(no_such)
}

/// A learner's data key; none once they are forgotten.
pub(super) async fn learner_key(state: &ApiState, learner: &str) -> Result<Option<DataKey>, Problem> {
    let Some(sealed) = state.store.sealed_data_key(learner).await? else { return Ok(None) };
    let key = state.keys.unwrap(learner, &sealed);
    key.map(Some).map_err(|error| Problem::failed("opening a learner's key", &error))
}

pub(super) fn picture(bytes: Vec<u8>) -> Response {
    let kind = match bytes.as_slice() {
        [0xFF, 0xD8, 0xFF, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => "application/octet-stream",
    };
    (StatusCode::OK, [(header::CONTENT_TYPE, kind)], bytes).into_response()
}
