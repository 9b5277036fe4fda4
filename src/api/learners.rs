//! Learners: a platform names a person by ID number and gets the random identifier that everything else goes by.
//!
//! In the clear the number lives as long as the request: it becomes an identity (a peppered HMAC), and is kept sealed
//! with the learner's own key. Who is shown a person is in `persons.rs`, photos are in `face_photos.rs`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Operator, OwnPlatform, PlatformReader};
use super::extract::{JsonBody, PathOf};
use super::persons;
use super::problem::{Problem, Refusals};
use super::validate::{Findings, NAME_CHARS};
use super::{Answer, ApiState, forgetting};
use crate::auth::id_number::IdNumber;
use crate::auth::keys::DataKey;
use crate::auth::person::Person;
use crate::policy::date_in_china;
use crate::store::forgetting::ForgetError;
use crate::store::learners::{LearnerRecord, NamedLearner};
use crate::store::persons::SealedPerson;

/// Times that a naming begins again because somebody else named the same person at the same moment.
const ATTEMPTS: usize = 4;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(name_learner)).routes(routes!(read_learner, forget_learner))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NamedPerson {
    /// the citizen identification number (GB 11643): it is kept sealed, and shown to supervisors alone
    id_number: String,
    /// the person's name, at most 200 characters: kept and shown likewise. Who has been given a name cannot be given
    /// another by a platform
    name: Option<String>,
    /// the platform's own reference to the person, at most 200 characters; replaces an earlier one
    external_reference: Option<String>,
}

/// Names a person; the same person has the same id at every platform
///
/// 201 when this platform names the person for the first time, 200 when it did so before.
#[utoipa::path(post, path = "/learners", tag = "learners",
    request_body = NamedPerson, responses((status = 201, body = LearnerRecord), (status = 200, body = LearnerRecord), Refusals))]
async fn name_learner(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
    JsonBody(given): JsonBody<NamedPerson>,
) -> Result<(StatusCode, Json<LearnerRecord>), Problem> {
    let number = IdNumber::parse(&given.id_number, date_in_china(state.clock.now_ms()));
    let mut findings = Findings::default();
    if let Err(error) = &number {
        findings.add("id_number", error.to_string());
    }
    for (field, text) in [("name", &given.name), ("external_reference", &given.external_reference)] {
        if let Some(text) = text {
            findings.text(field, text, NAME_CHARS);
        }
    }
    findings.finish()?;
    let number = number.map_err(|error| Problem::field("id_number", error.to_string()))?;
    let person = Person { name: given.name, id_number: number.expose().to_owned() };
    for _ in 0..ATTEMPTS {
        let known = state.store.person_of_identity(state.keys.identity(number.expose())).await?;
        if !complete(&state, known.as_ref(), &person).await? {
            continue;
        }
        let known = known.map(|known| known.learner);
        let named = named_learner(&state, platform.clone(), &person, given.external_reference.clone(), known);
        if let Some((learner, is_new)) = state.store.name_learner(named).await? {
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            return Ok((status, Json(learner)));
        }
    }
    Err(Problem::too_busy("this person is being named by others at the same time"))
}

/// A learner whom this platform has named
#[utoipa::path(get, path = "/learners/{id}", tag = "learners", params(("id" = String, Path, description = "the learner")),
    responses((status = 200, body = LearnerRecord), Refusals))]
async fn read_learner(
    State(state): State<ApiState>,
    PlatformReader(platform): PlatformReader,
    PathOf(id): PathOf<String>,
) -> Answer<LearnerRecord> {
    state.store.learner(&platform, &id).await?.map(Json).ok_or_else(|| Problem::no_such("learner"))
}

/// Forgets a learner for good
///
/// The data key is destroyed, and with it every photo and face template; the link from the ID number, names and
/// references go too. Logs, verdicts and their digests stay, under an identifier that leads to nobody. 204 once it is
/// done and on disk; 409 while the learner has a session open (close it first); 503 when the key is destroyed, but an
/// older state of the database is being read (by a backup), so that its traces must be removed later: ask again.
#[utoipa::path(delete, path = "/learners/{id}", tag = "learners", params(("id" = String, Path, description = "the learner")),
    responses((status = 204), Refusals))]
async fn forget_learner(
    State(state): State<ApiState>,
    _: Operator,
    PathOf(id): PathOf<String>,
) -> Result<StatusCode, Problem> {
    let now_ms = state.clock.now_ms();
    let remains = state.store.forget_learner(&id, now_ms).await?;
    state.sessions.forget(&id);
    forgetting::remove_remains(&state.store, state.photos.as_ref(), &id, remains, now_ms).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ForgetError> for Problem {
    fn from(error: ForgetError) -> Self {
        let words = error.to_string();
        match error {
            ForgetError::Unknown => Self::no_such("learner"),
            ForgetError::OpenSessions(_) => Self::conflict(format!("{words}: close them first")),
            ForgetError::BeingRead => Self::busy(words).retry_after_ms(60_000),
            ForgetError::Store(error) => error.into(),
            ForgetError::Tombstone(_) => Self::failed("keeping a tombstone", &words),
        }
    }
}

/// Adds to a known person what the records lack. False: they have changed meanwhile.
async fn complete(state: &ApiState, known: Option<&SealedPerson>, given: &Person) -> Result<bool, Problem> {
    let Some(known) = known else { return Ok(true) };
    let kept = persons::open(state, known)?;
    let kept_name = kept.as_ref().and_then(|person| person.name.as_ref());
    if let (Some(kept), Some(name)) = (kept_name, &given.name)
        && kept != name
    {
        let problem = "is not the name that was given first; a supervisor can correct it";
        return Err(Problem::conflict("this person has another name").naming("name", problem));
    }
    // Nothing to add: a number is known already, and so is the name, or none was given.
    if kept.is_some() && (kept_name.is_some() || given.name.is_none()) {
        return Ok(true);
    }
    let sealed = persons::seal(state, known, given)?;
    Ok(state.store.replace_person(known.clone(), sealed).await?)
}

fn named_learner(
    state: &ApiState,
    platform: String,
    person: &Person,
    external_reference: Option<String>,
    known: Option<String>,
) -> NamedLearner {
    // Made in advance, because whether the person is known shows only within the write.
    let (new_id, key) = (state.new_id(), DataKey::generate(&state.entropy));
    NamedLearner {
        platform,
        identity: state.keys.identity(&person.id_number),
        external_reference,
        new_data_key: state.keys.wrap(&state.entropy, &new_id, &key),
        new_person: person.seal(&key, &state.entropy, &new_id),
        new_id,
        known,
        now_ms: state.clock.now_ms(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::fixture::{Api, id_number};

    #[tokio::test]
    async fn a_person_is_the_same_learner_at_every_platform() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        let first = api.post("/learners", json!({"id_number": id_number(1), "external_reference": "u1"})).await;
        let first = first.expect(201);
        assert_eq!(first["photo_version"], 0);
        let again = api.post("/learners", json!({"id_number": id_number(1)})).await.expect(200);
        assert_eq!(again, first);

        let other = operator.other_platform().await;
        let path = format!("/learners/{}", first["id"].as_str().unwrap());
        other.get(&path).await.expect_problem(404, "not-found");
        let named = other.post("/learners", json!({"id_number": id_number(1)})).await.expect(201);
        assert_eq!(named["id"], first["id"]);
        assert!(named["external_reference"].is_null());
        assert_eq!(other.get(&path).await.expect(200), named);

        let somebody_else = api.post("/learners", json!({"id_number": id_number(2)})).await.expect(201);
        assert_ne!(somebody_else["id"], first["id"]);
    }

    #[tokio::test]
    async fn a_wrong_number_is_named_and_not_repeated() {
        let api = Api::start().await.as_platform();
        let mut wrong = id_number(1);
        wrong.replace_range(16..17, if wrong.ends_with('7') { "8" } else { "7" });
        for body in [
            json!({}),
            json!({"id_number": "123"}),
            json!({"id_number": wrong}),
            json!({"id_number": 110_101_199_003_070_011_i64}),
            json!({"id_number": id_number(1), "id": 1}),
        ] {
            let field = if body.get("id").is_some() { "id" } else { "id_number" };
            let answer = api.post("/learners", body).await;
            assert!(!answer.text.contains("11010119"), "{}", answer.text);
            answer.expect_field(422, field);
        }
        for field in ["external_reference", "name"] {
            let body = json!({"id_number": id_number(1), field: ""});
            api.post("/learners", body).await.expect_field(422, field);
        }
    }

    #[tokio::test]
    async fn learners_are_a_platforms_business() {
        let api = Api::start().await;
        api.post("/learners", json!({"id_number": id_number(1)})).await.expect_problem(403, "forbidden");
        api.as_platform().get("/learners/nobody").await.expect_problem(404, "not-found");
    }

    #[tokio::test]
    async fn the_number_is_nowhere_in_the_data_folder() {
        let operator = Api::start().await;
        let number = id_number(1);
        let name = "欧阳小明";
        let named = operator.as_platform().post("/learners", json!({ "id_number": number, "name": name })).await;
        let path = format!("/learners/{}/person", named.expect(201)["id"].as_str().unwrap());
        assert_eq!(operator.get(&path).await.expect(200)["name"], name);
        for entry in std::fs::read_dir(operator.folder()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            for secret in [number.as_bytes(), name.as_bytes()] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret));
            }
        }
    }

    #[tokio::test]
    async fn the_operator_forgets_a_learner_and_the_person_is_a_stranger_afterwards() {
        let api = Api::start().await;
        let platform = api.as_platform();
        let learner = platform.learner(1).await;
        let path = format!("/learners/{learner}");
        platform.photo(&format!("{path}/photo"), b"face of A").await.expect(201);
        platform.delete(&path).await.expect_problem(403, "forbidden");
        api.delete("/learners/nobody").await.expect_problem(404, "not-found");
        assert_eq!(api.kept_photos(), 1);
        api.delete(&path).await.expect(204);
        api.delete(&path).await.expect(204);
        assert_eq!(api.kept_photos(), 0);
        platform.get(&path).await.expect_problem(404, "not-found");
        platform.photo(&format!("{path}/photo"), b"face of A").await.expect_problem(404, "not-found");
        assert_ne!(platform.learner(1).await, learner, "the same person is somebody new");
    }

    #[tokio::test]
    async fn a_learner_who_learns_is_not_forgotten() {
        let api = Api::start().await;
        let platform = api.as_platform();
        let session = platform.open_session(&api).await;
        let learner = platform.get(&format!("/sessions/{session}")).await.expect(200)["learner"].clone();
        let path = format!("/learners/{}", learner.as_str().unwrap());
        let refused = api.delete(&path).await.expect_problem(409, "conflict");
        assert!(refused["detail"].as_str().unwrap().contains(&session), "{refused}");
        platform.get(&path).await.expect(200);
    }
}
