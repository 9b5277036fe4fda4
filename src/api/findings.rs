//! Findings of the risk detectors, for supervisors: reading them, and saying what was made of them.
//!
//! Platforms do not see them. A finding invalidates nothing: what follows from it is decided elsewhere, by people.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{Caller, Decider, Official};
use super::extract::{JsonBody, PathOf, QueryOf};
use super::listing::{Listing, page_request};
use super::problem::{Problem, Refusals};
use super::validate::Findings as Wrong;
use super::{Answer, ApiState};
use crate::risk::{self, CLAUSE_SOURCE, CLAUSE_TEXT, Kind, Severity};
use crate::store::findings::{FindingFilter, FindingRecord, FindingState};

/// Longest note on a decision, in characters.
const NOTE_CHARS: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_findings)).routes(routes!(read_finding)).routes(routes!(decide_finding))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FindingQuery {
    /// `shared_device`, `shared_address`, `answer_times`, `heartbeat_times`, `starts_in_step`, `two_places`,
    /// `platform_rate` or `shared_face`
    kind: Option<String>,
    /// `low`, `medium` or `high`
    severity: Option<String>,
    /// `open`, `acknowledged`, `dismissed` or `confirmed`
    state: Option<String>,
    /// those that concern this platform
    platform: Option<String>,
    /// the identifier after which the list goes on: `next` of the page before
    after: Option<String>,
    /// items wanted, 1 to 200
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
}

/// What a finding says: made from its code and its evidence.
#[derive(Serialize, ToSchema)]
#[schema(as = FindingExplanation)]
struct Explanation {
    /// what was found, as a word
    code: &'static str,
    /// in Chinese
    zh: String,
    /// in English
    en: String,
}

/// What the warnings rest on.
#[derive(Serialize, ToSchema)]
#[schema(as = FindingClause)]
struct Clause {
    /// document and item
    source: &'static str,
    /// its words
    text: &'static str,
}

/// Something that a supervisor should look at. It invalidates nothing by itself.
#[derive(Serialize, ToSchema)]
struct Finding {
    /// identifier
    id: String,
    /// what it is about
    kind: &'static str,
    /// `low`, `medium` or `high`
    severity: &'static str,
    /// `open`, `acknowledged`, `dismissed` or `confirmed`
    state: &'static str,
    /// about whom: with the code, what makes two findings the same
    subject: String,
    /// what it says
    explanation: Explanation,
    /// what it rests on
    clause: Clause,
    /// numbers, `thresholds`, and the `policy` that they are of, as of the newest time
    evidence: Map<String, Value>,
    /// platforms concerned
    platforms: Vec<String>,
    /// learners concerned, at most 200
    learners: Vec<String>,
    /// sessions concerned, at most 200, the newest last
    sessions: Vec<String>,
    /// when it was found first, ms since the Unix epoch, on the sessions' clock
    first_at: i64,
    /// when it was found last
    last_at: i64,
    /// how often it was found
    count: i64,
}

/// A state that a finding had.
#[derive(Serialize, ToSchema)]
struct Decision {
    /// the state
    state: &'static str,
    /// identifier of the API key that decided; `engine`: new evidence opened it again
    decided_by: String,
    /// why
    note: Option<String>,
    /// ms since the Unix epoch
    at: i64,
}

#[derive(Serialize, ToSchema)]
struct FindingWithHistory {
    #[serde(flatten)]
    finding: Finding,
    /// what was decided about it, oldest first
    history: Vec<Decision>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewState {
    /// `open`, `acknowledged`, `dismissed` or `confirmed`
    state: String,
    /// why, at most 1 000 characters
    note: Option<String>,
}

/// Warnings for supervisors (office)
#[utoipa::path(get, path = "/findings", tag = "findings", params(FindingQuery),
    responses((status = 200, body = Listing<Finding>), Refusals))]
async fn list_findings(
    State(state): State<ApiState>,
    Official(caller): Official,
    QueryOf(query): QueryOf<FindingQuery>,
) -> Answer<Listing<Finding>> {
    let page = page_request(query.after, query.limit.as_deref())?;
    let mut wrong = Wrong::default();
    let filter = FindingFilter {
        kind: one_of("kind", query.kind.as_deref(), Kind::from_word, Kind::ALL, &mut wrong),
        severity: one_of("severity", query.severity.as_deref(), Severity::from_word, Severity::ALL, &mut wrong),
        state: one_of("state", query.state.as_deref(), risk::State::from_word, risk::State::ALL, &mut wrong),
        platform: query.platform,
        region: caller.region,
    };
    wrong.finish()?;
    Ok(Json(Listing::of(state.store.findings(filter, page).await?, Finding::from)))
}

/// A warning, with what was decided about it (office)
#[utoipa::path(get, path = "/findings/{id}", tag = "findings", params(("id" = String, Path, description = "the finding")),
    responses((status = 200, body = FindingWithHistory), Refusals))]
async fn read_finding(
    State(state): State<ApiState>,
    Official(caller): Official,
    PathOf(id): PathOf<String>,
) -> Answer<FindingWithHistory> {
    must_reach(&state, &caller, &id).await?;
    state.store.finding(&id).await?.map(with_history).ok_or_else(|| Problem::no_such("finding"))
}

/// Says what was made of a warning (operator, supervisor)
///
/// A dismissed one opens again by itself when there is half as much evidence again, or it weighs more.
#[utoipa::path(put, path = "/findings/{id}/state", tag = "findings", params(("id" = String, Path, description = "the finding")),
    request_body = NewState, responses((status = 200, body = FindingWithHistory), Refusals))]
async fn decide_finding(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    PathOf(id): PathOf<String>,
    JsonBody(new): JsonBody<NewState>,
) -> Answer<FindingWithHistory> {
    must_reach(&state, &caller, &id).await?;
    let mut wrong = Wrong::default();
    let decided = one_of("state", Some(&new.state), risk::State::from_word, risk::State::ALL, &mut wrong);
    if let Some(note) = &new.note {
        wrong.text("note", note, NOTE_CHARS);
    }
    wrong.finish()?;
    let decided = decided.unwrap_or(risk::State::Open);
    let decision = FindingState { state: decided, decided_by: caller.key, note: new.note, at: state.clock.now_ms() };
    let found = state.store.decide_finding(&id, decision).await?;
    found.map(with_history).ok_or_else(|| Problem::no_such("finding"))
}

/// That a finding exists for the caller.
async fn must_reach(state: &ApiState, caller: &Caller, id: &str) -> Result<(), Problem> {
    let Some(region) = &caller.region else { return Ok(()) };
    let reached = state.store.finding_is_within(id, region).await?;
    if reached { Ok(()) } else { Err(Problem::no_such("finding")) }
}

/// The word's meaning; one that is not among `all` is noted as wrong.
fn one_of<T: std::fmt::Display>(
    field: &str,
    word: Option<&str>,
    read: fn(&str) -> Option<T>,
    all: &[T],
    wrong: &mut Wrong,
) -> Option<T> {
    let meaning = read(word?);
    if meaning.is_none() {
        let words: Vec<String> = all.iter().map(T::to_string).collect();
        wrong.add(field, format!("must be one of {}", words.join(", ")));
    }
    meaning
}

impl From<FindingRecord> for Finding {
    fn from(record: FindingRecord) -> Self {
        let texts = risk::explain(record.code, &record.evidence);
        Self {
            id: record.id,
            kind: record.code.kind().as_str(),
            severity: record.severity.as_str(),
            state: record.state.as_str(),
            subject: record.subject,
            explanation: Explanation { code: record.code.as_str(), zh: texts.zh, en: texts.en },
            clause: Clause { source: CLAUSE_SOURCE, text: CLAUSE_TEXT },
            evidence: record.evidence,
            platforms: record.platforms,
            learners: record.learners,
            sessions: record.sessions,
            first_at: record.first_at,
            last_at: record.last_at,
            count: record.count,
        }
    }
}

fn with_history((record, states): (FindingRecord, Vec<FindingState>)) -> Json<FindingWithHistory> {
    let decision = |state: FindingState| Decision {
        state: state.state.as_str(),
        decided_by: state.decided_by,
        note: state.note,
        at: state.at,
    };
    Json(FindingWithHistory { finding: record.into(), history: states.into_iter().map(decision).collect() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::fixture::Api;
    use crate::risk::{self, Code, Strength};

    async fn with_findings() -> Api {
        let api = Api::start().await;
        for (id, code, severity, platform) in [
            ("f1", Code::DeviceLearners, risk::Severity::Low, "p1"),
            ("f2", Code::PlayingTwice, risk::Severity::High, "p2"),
            ("f3", Code::DeviceAtOnce, risk::Severity::High, "p1"),
        ] {
            let evidence = json!({"learners": 5, "days": 7, "thresholds": {"learners": 4}, "policy": "default"});
            let finding = risk::Finding {
                code,
                subject: "device:00ff".to_owned(),
                severity,
                at: 7,
                platforms: vec![platform.into()],
                learners: vec!["l1".into()],
                sessions: vec!["s1".into()],
                evidence: evidence.as_object().unwrap().clone(),
                strength: Strength::InAll(5),
            };
            api.state.store.keep_risk(Vec::new(), vec![(id.to_owned(), finding)]).await.unwrap();
        }
        api
    }

    async fn ids(api: &Api, query: &str) -> Vec<String> {
        let list = api.get(&format!("/findings{query}")).await.expect(200);
        list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn findings_are_listed_filtered_and_explained() {
        let api = with_findings().await;
        assert_eq!(ids(&api, "").await, ["f1", "f2", "f3"]);
        assert_eq!(ids(&api, "?kind=shared_device&severity=high").await, ["f3"]);
        assert_eq!(ids(&api, "?platform=p1&state=open&limit=1").await, ["f1"]);
        assert_eq!(ids(&api, "?platform=p1&after=f1").await, ["f3"]);
        assert_eq!(ids(&api, "?state=dismissed").await, [""; 0]);
        let finding = api.get("/findings/f1").await.expect(200);
        assert_eq!(
            (finding["kind"].as_str(), finding["history"].as_array().unwrap().len()),
            (Some("shared_device"), 0)
        );
        assert_eq!(finding["clause"]["source"], "福建八条措施 七");
        let explanation = &finding["explanation"];
        assert_eq!(explanation["code"], "device_learners");
        assert!(
            explanation["zh"].as_str().unwrap().starts_with("同一设备在7天内有5名学员使用（阈值4名）"),
            "{explanation}"
        );
        assert!(
            explanation["en"].as_str().unwrap().starts_with("5 learners used one device within 7 days (threshold 4)")
        );
    }

    #[tokio::test]
    async fn what_a_supervisor_decides_is_kept_with_who_and_why() {
        let api = with_findings().await;
        let path = "/findings/f1/state";
        let supervisor = api.office("supervisor").await;
        let keys = api.get("/keys").await.expect(200);
        let key = &keys["items"][0]["id"];
        assert!(key.is_string(), "{keys}");
        let decided = supervisor.put(path, json!({"state": "acknowledged"})).await.expect(200);
        assert_eq!(decided["state"], "acknowledged");
        let decided = supervisor.put(path, json!({"state": "dismissed", "note": "机房共用"})).await.expect(200);
        let at = api.clock.now_ms();
        assert_eq!(
            decided["history"],
            json!([
                {"state": "acknowledged", "decided_by": key, "note": null, "at": at},
                {"state": "dismissed", "decided_by": key, "note": "机房共用", "at": at},
            ])
        );
        assert_eq!(api.get("/findings/f1").await.expect(200), decided);
        assert_eq!(ids(&api, "?state=dismissed").await, ["f1"]);
    }

    #[tokio::test]
    async fn wrong_words_and_callers_are_refused() {
        let api = with_findings().await;
        api.get("/findings?kind=luck").await.expect_field(422, "kind");
        api.get("/findings?severity=LOW").await.expect_field(422, "severity");
        api.get("/findings?state=closed").await.expect_field(422, "state");
        api.get("/findings?limit=0").await.expect_field(422, "limit");
        api.put("/findings/f1/state", json!({"state": "gone"})).await.expect_field(422, "state");
        api.put("/findings/f1/state", json!({"state": "open", "note": "a".repeat(1_001)}))
            .await
            .expect_field(422, "note");
        api.put("/findings/f9/state", json!({"state": "open"})).await.expect_problem(404, "not-found");
        api.get("/findings/f9").await.expect_problem(404, "not-found");
        let platform = api.as_platform();
        for path in ["/findings", "/findings/f1"] {
            platform.get(path).await.expect_problem(403, "forbidden");
        }
        platform.put("/findings/f1/state", json!({"state": "dismissed"})).await.expect_problem(403, "forbidden");
    }
}
