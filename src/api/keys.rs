//! API keys of platforms, supervisors and auditors, as the operator gives them out. A key is shown once; afterwards only
//! its label is known. The operator's own key lies in the data folder and is not given out here.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Operator;
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{Problem, Refusals};
use super::validate::{Findings, NAME_CHARS};
use super::{Answer, ApiState};
use crate::auth::api_key::ApiKey;
use crate::store::api_keys::{AddKeyError, ApiKeyRecord};
use crate::store::words::KeyRole;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create_api_key, list_api_keys))
        .routes(routes!(revoke_api_key))
        .routes(routes!(create_office_key, list_office_keys))
        .routes(routes!(revoke_office_key))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOfficeKey {
    /// whose it is, at most 200 characters: decisions are on record by the key
    label: String,
    /// what it is good for
    role: OfficeRole,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OfficeRole {
    /// decides, and sees names
    Supervisor,
    /// reads everything but names, and decides nothing
    Auditor,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewApiKey {
    /// what its owner calls it, at most 200 characters
    label: String,
}

#[derive(Serialize, ToSchema)]
struct IssuedApiKey {
    /// the key: it is shown this once
    key: String,
    #[serde(flatten)]
    record: ApiKeyRecord,
}

/// Gives a platform a key, which is shown this once (operator)
#[utoipa::path(post, path = "/platforms/{id}/keys", tag = "platforms",
    params(("id" = String, Path, description = "the platform")),
    request_body = NewApiKey, responses((status = 201, body = IssuedApiKey), Refusals))]
async fn create_api_key(
    State(state): State<ApiState>,
    _: Operator,
    PathOf(platform): PathOf<String>,
    JsonBody(new): JsonBody<NewApiKey>,
) -> Result<(StatusCode, Json<IssuedApiKey>), Problem> {
    issue(&state, Some(platform), new.label, KeyRole::Platform).await
}

/// Gives a supervisor or an auditor a key, which is shown this once (operator)
#[utoipa::path(post, path = "/keys", tag = "keys",
    request_body = NewOfficeKey, responses((status = 201, body = IssuedApiKey), Refusals))]
async fn create_office_key(
    State(state): State<ApiState>,
    _: Operator,
    JsonBody(new): JsonBody<NewOfficeKey>,
) -> Result<(StatusCode, Json<IssuedApiKey>), Problem> {
    let role = match new.role {
        OfficeRole::Supervisor => KeyRole::Supervisor,
        OfficeRole::Auditor => KeyRole::Auditor,
    };
    issue(&state, None, new.label, role).await
}

/// The keys of supervisors and auditors, without the keys themselves (operator)
#[utoipa::path(get, path = "/keys", tag = "keys", params(PageQuery),
    responses((status = 200, body = Listing<ApiKeyRecord>), Refusals))]
async fn list_office_keys(
    State(state): State<ApiState>,
    _: Operator,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<ApiKeyRecord>> {
    Ok(Json(Listing::of(state.store.api_keys(None, page.request()?).await?, |key| key)))
}

/// Revokes a supervisor's or an auditor's key, at once (operator)
#[utoipa::path(delete, path = "/keys/{id}", tag = "keys", params(("id" = String, Path, description = "the key's id")),
    responses((status = 204), Refusals))]
async fn revoke_office_key(
    State(state): State<ApiState>,
    _: Operator,
    PathOf(key): PathOf<String>,
) -> Result<StatusCode, Problem> {
    revoke(&state, None, &key).await
}

async fn issue(
    state: &ApiState,
    platform: Option<String>,
    label: String,
    role: KeyRole,
) -> Result<(StatusCode, Json<IssuedApiKey>), Problem> {
    let mut findings = Findings::default();
    findings.text("label", &label, NAME_CHARS);
    findings.finish()?;
    let key = ApiKey::generate(&state.entropy);
    let created_at = state.clock.now_ms();
    let record = ApiKeyRecord { id: state.new_id(), label, role, created_at, revoked_at: None };
    let record = state.store.add_api_key(platform, key.hash(), record).await?;
    Ok((StatusCode::CREATED, Json(IssuedApiKey { key: key.expose().to_owned(), record })))
}

async fn revoke(state: &ApiState, platform: Option<String>, key: &str) -> Result<StatusCode, Problem> {
    let found = state.store.revoke_api_key(platform, key, state.clock.now_ms()).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::no_such("key")) }
}

/// A platform's keys, without the keys themselves (operator)
#[utoipa::path(get, path = "/platforms/{id}/keys", tag = "platforms",
    params(("id" = String, Path, description = "the platform"), PageQuery),
    responses((status = 200, body = Listing<ApiKeyRecord>), Refusals))]
async fn list_api_keys(
    State(state): State<ApiState>,
    _: Operator,
    PathOf(platform): PathOf<String>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<ApiKeyRecord>> {
    let page = page.request()?;
    state.store.platform(&platform, state.clock.now_ms()).await?.ok_or_else(|| Problem::no_such("platform"))?;
    Ok(Json(Listing::of(state.store.api_keys(Some(platform), page).await?, |key| key)))
}

/// Revokes a platform's key, at once (operator)
#[utoipa::path(delete, path = "/platforms/{id}/keys/{key}", tag = "platforms",
    params(("id" = String, Path, description = "the platform"), ("key" = String, Path, description = "the key's id")),
    responses((status = 204), Refusals))]
async fn revoke_api_key(
    State(state): State<ApiState>,
    _: Operator,
    PathOf((platform, key)): PathOf<(String, String)>,
) -> Result<StatusCode, Problem> {
    revoke(&state, Some(platform), &key).await
}

impl From<AddKeyError> for Problem {
    fn from(error: AddKeyError) -> Self {
        match error {
            AddKeyError::NoPlatform => Self::no_such("platform"),
            AddKeyError::TooMany(_) => Self::conflict(error.to_string()),
            AddKeyError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::fixture::Api;
    use crate::store::api_keys::KEYS_OF_PLATFORM;

    #[tokio::test]
    async fn a_key_opens_the_api_until_it_is_revoked() {
        let api = Api::start().await;
        let keys = format!("/platforms/{}/keys", api.platform);
        let issued = api.post(&keys, json!({"label": "back end"})).await.expect(201);
        let key = issued["key"].as_str().unwrap();
        assert!(key.starts_with("ivk_"));
        let with_key = api.with_key(key);
        with_key.get("/platform").await.expect(200);

        let listed = api.get(&keys).await.expect(200);
        assert!(!listed.to_string().contains(key));
        assert_eq!(listed["items"].as_array().unwrap().len(), 2);

        let path = format!("{keys}/{}", issued["id"].as_str().unwrap());
        api.delete(&path).await.expect(204);
        with_key.get("/platform").await.expect_problem(401, "unauthenticated");
        api.delete(&path).await.expect(204);
    }

    #[tokio::test]
    async fn refusals() {
        let api = Api::start().await;
        let keys = format!("/platforms/{}/keys", api.platform);
        api.post(&keys, json!({})).await.expect_field(422, "label");
        api.post(&keys, json!({"label": "\u{7}"})).await.expect_field(422, "label");
        api.post("/platforms/nobody/keys", json!({"label": "a"})).await.expect_problem(404, "not-found");
        api.get("/platforms/nobody/keys").await.expect_problem(404, "not-found");
        api.delete(&format!("{keys}/none")).await.expect_problem(404, "not-found");
        api.as_platform().post(&keys, json!({"label": "a"})).await.expect_problem(403, "forbidden");
        for _ in 1..KEYS_OF_PLATFORM {
            api.post(&keys, json!({"label": "a"})).await.expect(201);
        }
        api.post(&keys, json!({"label": "a"})).await.expect_problem(409, "conflict");
    }

    #[tokio::test]
    async fn the_operator_gives_keys_to_supervisors_and_auditors() {
        let operator = Api::start().await;
        let issued = operator.post("/keys", json!({"label": "李科长", "role": "supervisor"})).await.expect(201);
        assert_eq!(issued["role"], "supervisor");
        let supervisor = operator.with_key(issued["key"].as_str().unwrap());
        supervisor.get("/platforms").await.expect(200);
        supervisor.get("/keys").await.expect_problem(403, "forbidden");
        let listed = operator.get("/keys").await.expect(200);
        assert_eq!(listed["items"].as_array().unwrap().len(), 1, "neither the operator's nor platforms': {listed}");
        for role in ["operator", "platform", "boss"] {
            operator.post("/keys", json!({"label": "a", "role": role})).await.expect_field(422, "role");
        }
        operator.post("/keys", json!({"role": "auditor"})).await.expect_field(422, "label");

        // A restart makes the operator's key valid again, and no other one invalid.
        let (state, folder) = (&operator.state, operator.folder());
        crate::auth::api_key::ensure_operator_key(folder, &state.store, &state.clock, &state.entropy).await.unwrap();
        supervisor.get("/platforms").await.expect(200);
        let path = format!("/keys/{}", issued["id"].as_str().unwrap());
        operator.delete(&path).await.expect(204);
        supervisor.get("/platforms").await.expect_problem(401, "unauthenticated");
        operator.delete("/keys/none").await.expect_problem(404, "not-found");
    }

    #[tokio::test]
    async fn without_a_valid_key_nothing_opens() {
        let api = Api::start().await;
        let unknown = format!("ivk_{}", "A".repeat(43));
        for key in ["", "ivk_", "hello", unknown.as_str()] {
            let answer = api.with_key(key).get("/platforms").await;
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            answer.expect_problem(401, "unauthenticated");
        }
    }
}
