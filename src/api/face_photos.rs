//! The enrolment photo: what later captures are compared with. It can be given and replaced, never read back.
//!
//! A replacement has to show the face of the photo in force, so that nobody hands an enrolment on. What makes a photo
//! usable is decided behind [`FaceDoor`](super::doors::FaceDoor).

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use ring::digest;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::caller::OwnPlatform;
use super::doors::{EnrolledFace, FaceRefusal, VaultError};
use super::extract::{PathOf, content_type, read_body};
use super::problem::{Problem, Refusals};
use crate::auth::keys::{DataKey, KeyError};
use crate::store::descriptors::PhotoName;
use crate::store::enrolled_photos::{EnrolledPhoto, NewEnrolledPhoto, seal_template};

const CONTENT_TYPES: [&str; 3] = ["image/jpeg", "image/png", "image/webp"];

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(put_photo))
}

#[derive(Serialize, ToSchema)]
struct PhotoInForce {
    /// the learner
    id: String,
    /// version of the photo now in force
    photo_version: i64,
}

/// Gives a learner's enrolment photo, or replaces it by one of the same face
///
/// 201 for the first photo, 200 for a replacement; 409 when the face is not that of the photo in force; 422 with what
/// is wrong with the photo. The photo cannot be read back.
#[utoipa::path(put, path = "/learners/{id}/photo", tag = "learners",
    params(("id" = String, Path, description = "the learner")),
    request_body(description = "the photo, at most 512 KiB", content(
        ("image/jpeg"), ("image/png"), ("image/webp"))),
    responses((status = 201, body = PhotoInForce), (status = 200, body = PhotoInForce), Refusals))]
async fn put_photo(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
    PathOf(id): PathOf<String>,
    request: Request,
) -> Result<(StatusCode, Json<PhotoInForce>), Problem> {
    state.store.learner(&platform, &id).await?.ok_or_else(|| Problem::no_such("learner"))?;
    let photo = read_photo(request, &state).await?;
    let key = data_key(&state, &id).await?;
    let old = state.store.enrolled_photo(&id).await?;
    let version = old.as_ref().map_or(0, |old| old.version) + 1;
    let EnrolledFace { template, descriptor } = state.faces.enrol(photo.clone(), open_template(&state, old)?).await?;
    let known_by = PhotoName::enrolled(version).context(&id);
    let digest = hex::encode(digest::digest(&digest::SHA256, &photo));
    let evidence = state.photos.put(key.clone(), photo).await?;
    let new = NewEnrolledPhoto {
        template: seal_template(&key, &state.entropy, &id, version, &template),
        descriptor: descriptor.map(|descriptor| key.seal(&state.entropy, &known_by, &descriptor)),
        learner: id.clone(),
        version,
        digest,
        evidence: evidence.clone(),
        platform,
        created_at: state.clock.now_ms(),
    };
    if !state.store.put_enrolled_photo(new).await? {
        if let Err(error) = state.photos.remove(evidence).await {
            tracing::warn!(%error, "a photo that nothing refers to could not be removed");
        }
        return Err(Problem::conflict("another photo of this learner came first: read the learner and try again"));
    }
    let status = if version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(PhotoInForce { id, photo_version: version })))
}

async fn read_photo(request: Request, state: &ApiState) -> Result<Vec<u8>, Problem> {
    if !CONTENT_TYPES.contains(&content_type(request.headers()).as_str()) {
        return Err(Problem::unsupported_type(format!("the photo must be {}", CONTENT_TYPES.join(" or "))));
    }
    let photo = read_body(request, state.limits.photo_bytes, state).await?;
    if photo.is_empty() { Err(unsuitable("is empty")) } else { Ok(photo) }
}

async fn data_key(state: &ApiState, learner: &str) -> Result<DataKey, Problem> {
    // A learner who was forgotten has no key: nothing can be kept of them any more.
    let sealed = state.store.sealed_data_key(learner).await?.ok_or_else(|| Problem::no_such("learner"))?;
    state.keys.unwrap(learner, &sealed).map_err(|error| Problem::failed("opening a learner's key", &error))
}

fn open_template(state: &ApiState, old: Option<EnrolledPhoto>) -> Result<Option<Vec<u8>>, Problem> {
    let opened: Result<Option<Vec<u8>>, KeyError> = old.map(|old| old.open_template(&state.keys)).transpose();
    opened.map_err(|error| Problem::failed("opening a face template", &error))
}

fn unsuitable(problem: &str) -> Problem {
    Problem::photo_unsuitable(format!("the photo {problem}")).naming("photo", problem)
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        if !error.passing {
            return Self::failed("keeping a photo", &error);
        }
        tracing::debug!(%error, "a photo was not taken");
        Self::too_busy("photos cannot be kept just now")
    }
}

impl From<FaceRefusal> for Problem {
    fn from(refusal: FaceRefusal) -> Self {
        let words = refusal.to_string();
        match refusal {
            FaceRefusal::Unsuitable(problem) => unsuitable(&problem),
            FaceRefusal::Mismatch => Self::face_mismatch(&words).naming("photo", words),
            FaceRefusal::Busy { retry_after_ms } => Self::busy(words).retry_after_ms(retry_after_ms),
            FaceRefusal::Failed(error) => Self::failed("checking a photo", &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::api::fixture::Api;

    #[tokio::test]
    async fn a_photo_is_given_and_replaced_by_the_same_face_only() {
        let api = Api::start().await.as_platform();
        let learner = api.learner(1).await;
        let path = format!("/learners/{learner}/photo");
        assert_eq!(api.photo(&path, b"face of A").await.expect(201)["photo_version"], 1);
        assert_eq!(api.photo(&path, b"face of A again").await.expect(200)["photo_version"], 2);
        api.photo(&path, b"face of B").await.expect_problem(409, "face-mismatch");
        assert_eq!(api.get(&format!("/learners/{learner}")).await.expect(200)["photo_version"], 2);
        // What the match refused was not kept.
        assert_eq!(api.kept_photos(), 2);
    }

    #[tokio::test]
    async fn a_photo_cannot_be_read_back() {
        let api = Api::start().await;
        let platform = api.as_platform();
        let path = format!("/learners/{}/photo", platform.learner(1).await);
        platform.photo(&path, b"face of A").await.expect(201);
        platform.get(&path).await.expect_problem(405, "method-not-allowed");
        api.get(&path).await.expect_problem(405, "method-not-allowed");
    }

    #[tokio::test]
    async fn refusals() {
        let api = Api::start().await.as_platform();
        let path = format!("/learners/{}/photo", api.learner(1).await);
        api.photo(&path, b"").await.expect_field(422, "photo");
        api.photo(&path, b"nobody").await.expect_field(422, "photo");
        api.photo(&path, &vec![b'f'; (512 << 10) + 1]).await.expect_problem(413, "too-large");
        api.send("PUT", &path, Some("image/gif"), b"face of A").await.expect_problem(415, "unsupported-type");
        api.send("PUT", &path, None, b"face of A").await.expect_problem(415, "unsupported-type");
        let busy = api.photo(&path, b"busy").await;
        assert_eq!(busy.headers["retry-after"], "2");
        assert_eq!(busy.expect_problem(503, "busy")["retry_after_ms"], 1_500);
        api.photo(&path, b"broken").await.expect_problem(500, "internal");
        api.photo("/learners/nobody/photo", b"face of A").await.expect_problem(404, "not-found");
        assert_eq!(api.kept_photos(), 0);
    }

    #[tokio::test]
    async fn of_two_at_once_only_one_is_put_in_force() {
        let api = Api::start().await.as_platform();
        let path = format!("/learners/{}/photo", api.learner(1).await);
        let (one, two) = tokio::join!(api.photo(&path, b"face of A"), api.photo(&path, b"face of A"));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert!(statuses == [201, 409] || statuses == [200, 201], "{statuses:?}");
        let in_force = statuses.iter().filter(|status| **status < 300).count();
        assert_eq!(api.kept_photos(), in_force);
    }
}
