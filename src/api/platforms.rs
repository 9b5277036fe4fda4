//! Platforms, as the office keeps them. What a platform may see and set of itself is in `own_platform.rs`.
//!
//! A status is decided with a reason, stays on record with who decided it, and is read by the day: a ban ends by itself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Decider, Known, Operator, Overseer};
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, PageQuery};
use super::problem::{Problem, Refusals};
use super::validate::{Findings, NAME_CHARS, REASON_CHARS};
use super::{Answer, ApiState};
use crate::policy::date_in_china;
use crate::store::platforms::{PlatformRecord, StatusRecord};
use crate::store::reach::Thing;
use crate::store::words::PlatformStatus;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create_platform, list_platforms))
        .routes(routes!(read_platform, rename_platform))
        .routes(routes!(decide_platform_status, list_platform_decisions))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPlatform {
    /// what it is called, at most 200 characters
    name: String,
    /// `active` unless given
    status: Option<FirstStatus>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum FirstStatus {
    /// it may hold subsidised training
    Active,
    /// it is not part of the supervision system yet
    Unregistered,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlatformName {
    /// what it is called, at most 200 characters
    name: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StatusDecision {
    /// the status from now on: later sessions are judged by it
    status: PlatformStatus,
    /// why, at most 1000 characters
    reason: String,
    /// number or name of the document that says so, at most 200 characters; a ban needs one
    document: Option<String>,
    /// of a ban, and of nothing else: the day of the violation, YYYY-MM-DD. The ban counts from there, and ends by itself
    violation_on: Option<String>,
}

/// Adds a platform (operator)
#[utoipa::path(post, path = "/platforms", tag = "platforms", request_body = NewPlatform, responses((status = 201, body = PlatformRecord), Refusals))]
async fn create_platform(
    State(state): State<ApiState>,
    Operator { key }: Operator,
    JsonBody(new): JsonBody<NewPlatform>,
) -> Result<(StatusCode, Json<PlatformRecord>), Problem> {
    let mut findings = Findings::default();
    findings.text("name", &new.name, NAME_CHARS);
    findings.finish()?;
    let first = StatusRecord {
        id: state.new_id(),
        status: match new.status.unwrap_or(FirstStatus::Active) {
            FirstStatus::Active => PlatformStatus::Active,
            FirstStatus::Unregistered => PlatformStatus::Unregistered,
        },
        reason: None,
        document: None,
        banned_from: None,
        banned_until: None,
        decided_by: key,
        decided_at: state.clock.now_ms(),
    };
    Ok((StatusCode::CREATED, Json(state.store.add_platform(new.name, first).await?)))
}

/// All platforms (office)
#[utoipa::path(get, path = "/platforms", tag = "platforms", params(PageQuery),
    responses((status = 200, body = Listing<PlatformRecord>), Refusals))]
async fn list_platforms(
    State(state): State<ApiState>,
    Overseer(caller): Overseer,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<PlatformRecord>> {
    let page = state.store.platforms(caller.reach(), page.request()?, state.clock.now_ms()).await?;
    Ok(Json(Listing::of(page, |platform| platform)))
}

/// A platform (office)
#[utoipa::path(get, path = "/platforms/{id}", tag = "platforms", params(("id" = String, Path, description = "the platform")),
    responses((status = 200, body = PlatformRecord), Refusals))]
async fn read_platform(
    State(state): State<ApiState>,
    Overseer(caller): Overseer,
    PathOf(id): PathOf<String>,
) -> Answer<PlatformRecord> {
    caller.must_reach(&state, Thing::Platform, &id).await?;
    found(state.store.platform(&id, state.clock.now_ms()).await?)
}

/// Gives a platform another name (operator)
#[utoipa::path(patch, path = "/platforms/{id}", tag = "platforms", params(("id" = String, Path, description = "the platform")),
    request_body = PlatformName, responses((status = 200, body = PlatformRecord), Refusals))]
async fn rename_platform(
    State(state): State<ApiState>,
    _: Operator,
    PathOf(id): PathOf<String>,
    JsonBody(change): JsonBody<PlatformName>,
) -> Answer<PlatformRecord> {
    let mut findings = Findings::default();
    findings.text("name", &change.name, NAME_CHARS);
    findings.finish()?;
    found(state.store.rename_platform(&id, change.name, state.clock.now_ms()).await?)
}

/// Decides a platform's status (operator, supervisor)
///
/// A ban counts from the day of the violation and ends by itself after the years that the installation's first policy
/// pack says. Afterwards the platform is active again; one that was not registered before is so no more than before.
#[utoipa::path(put, path = "/platforms/{id}/status", tag = "platforms",
    params(("id" = String, Path, description = "the platform")),
    request_body = StatusDecision, responses((status = 200, body = PlatformRecord), Refusals))]
async fn decide_platform_status(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    PathOf(id): PathOf<String>,
    JsonBody(given): JsonBody<StatusDecision>,
) -> Answer<PlatformRecord> {
    caller.must_reach(&state, Thing::Platform, &id).await?;
    let decided_at = state.clock.now_ms();
    let ban = check_decision(&state, &given, date_in_china(decided_at))?;
    let decision = StatusRecord {
        id: state.new_id(),
        status: given.status,
        reason: Some(given.reason),
        document: given.document,
        banned_from: ban.map(|(from, _)| from.to_string()),
        banned_until: ban.map(|(_, until)| until.to_string()),
        decided_by: caller.key,
        decided_at,
    };
    found(state.store.decide_platform_status(&id, decision).await?)
}

/// What was ever decided about a platform's status: for the office, and the platform itself
#[utoipa::path(get, path = "/platforms/{id}/status", tag = "platforms",
    params(("id" = String, Path, description = "the platform"), PageQuery),
    responses((status = 200, body = Listing<StatusRecord>), Refusals))]
async fn list_platform_decisions(
    State(state): State<ApiState>,
    Known(caller): Known,
    PathOf(id): PathOf<String>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Answer<Listing<StatusRecord>> {
    let page = page.request()?;
    caller.must_reach(&state, Thing::Platform, &id).await?;
    state.store.platform(&id, state.clock.now_ms()).await?.ok_or_else(|| Problem::no_such("platform"))?;
    Ok(Json(Listing::of(state.store.platform_decisions(&id, page).await?, |decision| decision)))
}

/// Checks a decision; answers with the first day of a ban, and the day on which it ends.
fn check_decision(state: &ApiState, given: &StatusDecision, today: Date) -> Result<Option<(Date, Date)>, Problem> {
    let mut findings = Findings::default();
    findings.text("reason", &given.reason, REASON_CHARS);
    if let Some(document) = &given.document {
        findings.text("document", document, NAME_CHARS);
    }
    if given.status != PlatformStatus::Banned {
        if given.violation_on.is_some() {
            findings.add("violation_on", "belongs to a ban");
        }
        findings.finish()?;
        return Ok(None);
    }
    if given.document.is_none() {
        findings.add("document", "is missing: a ban names the document that says so");
    }
    let from = match &given.violation_on {
        None => {
            findings.add("violation_on", "is missing: a ban counts from the day of the violation");
            None
        }
        Some(day) => findings.day("violation_on", day, today),
    };
    let ban = from.map(|from| (from, from.checked_add(state.ban_years().years()).unwrap_or(Date::MAX)));
    if let Some((_, until)) = ban
        && until <= today
    {
        findings.add("violation_on", format!("is so long ago that the ban ended on {until}"));
    }
    findings.finish()?;
    Ok(ban)
}

fn found(platform: Option<PlatformRecord>) -> Answer<PlatformRecord> {
    platform.map(Json).ok_or_else(|| Problem::no_such("platform"))
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
        let renamed = api.patch(&path, json!({"name": "新"})).await.expect(200);
        assert_eq!((renamed["status"].as_str(), renamed["name"].as_str()), (Some("active"), Some("新")));
        api.patch(&path, json!({"name": "新", "status": "banned"})).await.expect_field(422, "status");
    }

    /// The clock of the fixture begins with 2026-03-01 in China.
    const DAY_MS: i64 = 86_400_000;

    fn ban(violation_on: &str) -> serde_json::Value {
        let (reason, document) = ("快进播放", "宛人社罚〔2026〕1号");
        json!({"status": "banned", "reason": reason, "document": document, "violation_on": violation_on})
    }

    #[tokio::test]
    async fn a_ban_counts_from_the_violation_and_ends_by_itself() {
        let api = Api::start().await;
        let supervisor = api.office("supervisor").await;
        let path = format!("/platforms/{}", api.platform);
        let status = format!("{path}/status");
        // So that the history's identifiers, which begin with the time, have an order.
        api.clock.advance_ms(1);
        let banned = supervisor.put(&status, ban("2024-03-03")).await.expect(200);
        assert_eq!(banned["status"], "banned");
        assert_eq!((&banned["banned_from"], &banned["banned_until"]), (&json!("2024-03-03"), &json!("2026-03-03")));
        api.clock.advance_ms(2 * DAY_MS - 2);
        assert_eq!(api.get(&path).await.expect(200)["status"], "banned");
        assert_eq!(api.as_platform().get("/platform").await.expect(200)["status"], "banned");
        api.clock.advance_ms(1);
        assert_eq!(api.get(&path).await.expect(200)["status"], "active");
        assert_eq!(api.get("/platforms").await.expect(200)["items"][0]["status"], "active");
        assert_eq!(api.as_platform().get("/platform").await.expect(200)["status"], "active");

        let history = api.as_platform().get(&status).await.expect(200);
        let words: Vec<_> = history["items"].as_array().unwrap().iter().map(|item| &item["status"]).collect();
        assert_eq!(words, ["active", "banned"]);
        assert_ne!(history["items"][0]["decided_by"], history["items"][1]["decided_by"]);
        assert_eq!(history["items"][1]["document"], "宛人社罚〔2026〕1号");
        api.other_platform().await.get(&status).await.expect_problem(404, "not-found");
    }

    #[tokio::test]
    async fn nobody_becomes_registered_by_a_ban_that_ends() {
        let api = Api::start().await;
        let made = api.post("/platforms", json!({"name": "外地", "status": "unregistered"})).await.expect(201);
        let path = format!("/platforms/{}", made["id"].as_str().unwrap());
        let status = format!("{path}/status");
        api.put(&status, ban("2024-03-02")).await.expect(200);
        // The second ban within the first: what comes after it is still what was before both.
        api.put(&status, ban("2024-03-03")).await.expect(200);
        api.clock.advance_ms(2 * DAY_MS);
        assert_eq!(api.get(&path).await.expect(200)["status"], "unregistered");
        api.put(&status, json!({"status": "active", "reason": "已纳入"})).await.expect(200);
        assert_eq!(api.get(&path).await.expect(200)["status"], "active");
    }

    #[tokio::test]
    async fn a_decision_says_why() {
        let api = Api::start().await;
        let status = format!("/platforms/{}/status", api.platform);
        for (body, field) in [
            (json!({"status": "suspended"}), "reason"),
            (json!({"status": "suspended", "reason": " "}), "reason"),
            (json!({"status": "odd", "reason": "x"}), "status"),
            (json!({"status": "suspended", "reason": "x", "violation_on": "2026-01-01"}), "violation_on"),
            (json!({"status": "banned", "reason": "x", "document": "y"}), "violation_on"),
            (json!({"status": "banned", "reason": "x", "violation_on": "2026-01-01"}), "document"),
            (ban("2026-03-02"), "violation_on"),
            (ban("2024-03-01"), "violation_on"),
            (ban("yesterday"), "violation_on"),
        ] {
            api.put(&status, body).await.expect_field(422, field);
        }
        let body = json!({"status": "suspended", "reason": "调查"});
        for nobody in [api.as_platform(), api.office("auditor").await] {
            nobody.put(&status, body.clone()).await.expect_problem(403, "forbidden");
        }
        api.put("/platforms/nobody/status", body).await.expect_problem(404, "not-found");
        assert_eq!(api.get(&status).await.expect(200)["items"].as_array().unwrap().len(), 1);
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
            (json!({"name": "a", "status": "banned"}), "status"),
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
    async fn platforms_are_the_offices() {
        let api = Api::start().await;
        let platform = api.as_platform();
        platform.get("/platforms").await.expect_problem(403, "forbidden");
        platform.post("/platforms", json!({"name": "a"})).await.expect_problem(403, "forbidden");
        let own = format!("/platforms/{}", api.platform);
        platform.patch(&own, json!({"name": "a"})).await.expect_problem(403, "forbidden");
    }
}
