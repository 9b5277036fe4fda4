//! Platforms, as the operator keeps them. What a platform may see and set of itself is in `own_platform.rs`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Operator;
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{Problem, Refusals};
use super::validate::{Findings, NAME_CHARS};
use super::{Answer, ApiState};
use crate::store::platforms::PlatformRecord;
use crate::store::words::PlatformStatus;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create_platform, list_platforms))
        .routes(routes!(read_platform, change_platform))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPlatform {
    /// what it is called, at most 200 characters
    name: String,
    /// `active` unless given
    status: Option<PlatformStatus>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlatformChange {
    /// what it is called, at most 200 characters
    name: Option<String>,
    /// whether it may hold subsidised training; later sessions are judged by it
    status: Option<PlatformStatus>,
}

/// Adds a platform (operator)
#[utoipa::path(post, path = "/platforms", tag = "platforms", request_body = NewPlatform, responses((status = 201, body = PlatformRecord), Refusals))]
async fn create_platform(
    State(state): State<ApiState>,
    _: Operator,
    JsonBody(new): JsonBody<NewPlatform>,
) -> Result<(StatusCode, Json<PlatformRecord>), Problem> {
    let mut findings = Findings::default();
    findings.text("name", &new.name, NAME_CHARS);
    findings.finish()?;
    let platform = PlatformRecord {
        id: state.new_id(),
        name: new.name,
        status: new.status.unwrap_or(PlatformStatus::Active),
        webhook_url: None,
        webhook_disabled: None,
        created_at: state.clock.now_ms(),
    };
    Ok((StatusCode::CREATED, Json(state.store.add_platform(platform).await?)))
}

/// All platforms (operator)
#[utoipa::path(get, path = "/platforms", tag = "platforms", params(PageQuery),
    responses((status = 200, body = Listing<PlatformRecord>), Refusals))]
async fn list_platforms(
    State(state): State<ApiState>,
    _: Operator,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<PlatformRecord>> {
    let page = state.store.platforms(page.request()?).await?;
    Ok(Json(Listing::of(page, |platform| platform)))
}

/// A platform (operator)
#[utoipa::path(get, path = "/platforms/{id}", tag = "platforms", params(("id" = String, Path, description = "the platform")),
    responses((status = 200, body = PlatformRecord), Refusals))]
async fn read_platform(
    State(state): State<ApiState>,
    _: Operator,
    PathOf(id): PathOf<String>,
) -> Answer<PlatformRecord> {
    state.store.platform(&id).await?.map(Json).ok_or_else(|| Problem::no_such("platform"))
}

/// Changes a platform's name or status (operator)
#[utoipa::path(patch, path = "/platforms/{id}", tag = "platforms", params(("id" = String, Path, description = "the platform")),
    request_body = PlatformChange, responses((status = 200, body = PlatformRecord), Refusals))]
async fn change_platform(
    State(state): State<ApiState>,
    _: Operator,
    PathOf(id): PathOf<String>,
    JsonBody(change): JsonBody<PlatformChange>,
) -> Answer<PlatformRecord> {
    let mut findings = Findings::default();
    if let Some(name) = &change.name {
        findings.text("name", name, NAME_CHARS);
    }
    findings.finish()?;
    let changed = state.store.change_platform(&id, change.name, change.status).await?;
    changed.map(Json).ok_or_else(|| Problem::no_such("platform"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::fixture::Api;

    #[tokio::test]
    async fn the_operator_adds_reads_and_changes_platforms() {
        let api = Api::start().await;
        let made = api.post("/platforms", json!({"name": "云课堂"})).await.expect(201);
        assert_eq!(made["status"], "active");
        let path = format!("/platforms/{}", made["id"].as_str().unwrap());
        assert_eq!(api.get(&path).await.expect(200), made);
        let changed = api.patch(&path, json!({"status": "banned"})).await.expect(200);
        assert_eq!((changed["status"].as_str(), changed["name"].as_str()), (Some("banned"), Some("云课堂")));
        let renamed = api.patch(&path, json!({"name": "新"})).await.expect(200);
        assert_eq!((renamed["status"].as_str(), renamed["name"].as_str()), (Some("banned"), Some("新")));
    }

    #[tokio::test]
    async fn lists_are_read_page_by_page() {
        let api = Api::start().await;
        for name in ["a", "b", "c"] {
            api.clock.advance_ms(1);
            api.post("/platforms", json!({ "name": name })).await.expect(201);
        }
        let names = |page: &serde_json::Value| -> Vec<String> {
            page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        let first = api.get("/platforms?limit=2").await.expect(200);
        let next = first["next"].as_str().unwrap();
        let second = api.get(&format!("/platforms?limit=2&after={next}")).await.expect(200);
        // The fixture has made a platform of its own first.
        assert_eq!(names(&first)[1..], ["a"]);
        assert_eq!(names(&second), ["b", "c"]);
        assert!(second["next"].is_null());
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let api = Api::start().await;
        for (body, field) in [
            (json!({}), "name"),
            (json!({"name": ""}), "name"),
            (json!({"name": "a".repeat(201)}), "name"),
            (json!({"name": "a", "status": "odd"}), "status"),
            (json!({"name": "a", "webhook_url": "x"}), "webhook_url"),
        ] {
            api.post("/platforms", body).await.expect_field(422, field);
        }
        api.patch("/platforms/nobody", json!({"name": " "})).await.expect_field(422, "name");
        api.get("/platforms?limit=0").await.expect_field(422, "limit");
        api.get("/platforms?limit=201").await.expect_field(422, "limit");
        api.get("/platforms?limit=x").await.expect_field(422, "limit");
        api.get("/platforms?limit=1&limit=2").await.expect_field(422, "limit");
        api.get("/platforms?page=2").await.expect_field(422, "page");
        api.get("/platforms/nobody").await.expect_problem(404, "not-found");
        api.patch("/platforms/nobody", json!({"name": "a"})).await.expect_problem(404, "not-found");
    }

    #[tokio::test]
    async fn platforms_are_the_operators_alone() {
        let api = Api::start().await;
        let platform = api.as_platform();
        platform.get("/platforms").await.expect_problem(403, "forbidden");
        platform.post("/platforms", json!({"name": "a"})).await.expect_problem(403, "forbidden");
        let own = format!("/platforms/{}", api.platform);
        platform.patch(&own, json!({"status": "active"})).await.expect_problem(403, "forbidden");
    }
}
