//! Decisions about sessions: a person upholds what the engine found, overturns it, or asks for more.
//!
//! A decision makes a new version of the verdict and leaves the earlier ones as they are (docs/rules.md, section 11). Where a
//! second person is needed, the first decision is a proposal.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::caller::{Caller, Decider};
use super::extract::{JsonBody, PathOf};
use super::photo_views::learner_key;
use super::problem::{Problem, Refusals};
use super::validate::{Findings, REASON_CHARS};
use crate::delivery::cloud_event;
use crate::log::{self, Body, SessionOpened};
use crate::policy::Policy;
use crate::store::access_log::LoggedAccess;
use crate::store::outbox::NewDelivery;
use crate::store::reach::Thing;
use crate::store::review::{DecideError, DecisionRecord, NewDecision, Outcome, VerdictVersion};
use crate::store::words::{AccessKind, DecisionState};
use crate::verdict::{Choice, Mark, Verdict};

/// Why people decide as they do.
const REASONS: [(&str, Choice); 10] = [
    ("evidence_sufficient", Choice::Uphold),
    ("admitted", Choice::Uphold),
    ("identity_confirmed", Choice::Overturn),
    ("technical_fault", Choice::Overturn),
    ("rule_misapplied", Choice::Overturn),
    ("disability_or_health", Choice::Overturn),
    ("network", Choice::Overturn),
    ("await_learner", Choice::NeedMore),
    ("await_platform", Choice::NeedMore),
    ("photo_unclear", Choice::NeedMore),
];

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(decide_session)).routes(routes!(list_decision_reasons))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedDecision {
    /// `uphold`, `overturn` or `need_more`
    decision: String,
    /// one of the codes of `GET /decision-reasons`
    reason: String,
    /// what else is to be said, at most 1000 characters; for the office alone
    #[serde(default)]
    note: String,
    /// the version of the verdict that was looked at
    verdict_version: i64,
}

/// Who decided.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DecidedBy)]
pub(super) struct By {
    /// identifier of the account or API key
    pub(super) id: String,
    /// the account's name; empty for an API key
    pub(super) name: String,
}

/// A decision about a session.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SessionDecision)]
pub(super) struct Decision {
    /// identifier
    id: String,
    /// the session
    session: String,
    /// the version of the verdict that was decided about
    version: i64,
    /// `uphold`, `overturn` or `need_more`
    decision: String,
    /// why, by its code
    reason: String,
    /// what else was said; null for platforms, and once the learner is forgotten
    note: Option<String>,
    pub(super) by: By,
    /// ms since the Unix epoch
    at: i64,
    /// whether it stands
    state: DecisionState,
    /// the proposal that it confirms
    confirms: Option<String>,
    /// the version of the verdict that it made
    pub(super) made_version: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct DecisionReason {
    /// the code
    code: &'static str,
    /// which decision it is a reason for
    decision: &'static str,
}

/// The reasons that decisions are given
#[utoipa::path(get, path = "/decision-reasons", tag = "console", responses((status = 200, body = Vec<DecisionReason>), Refusals))]
async fn list_decision_reasons(_: Caller) -> Json<Vec<DecisionReason>> {
    let reason = |(code, choice): (&'static str, Choice)| DecisionReason { code, decision: choice.as_str() };
    Json(REASONS.map(reason).into())
}

/// Decides about a closed session (operator, supervisor)
///
/// Where a second person is needed (an appeal is open, or the pack says so), the first decision is a proposal, and the same one
/// by somebody else makes it final; another one takes its place. 409 `stale` when the verdict is not the newest any more, 409
/// `second-person` for whoever confirms their own.
#[utoipa::path(post, path = "/sessions/{id}/decisions", tag = "console",
    params(("id" = String, Path, description = "the session")),
    request_body = WantedDecision, responses((status = 201, body = Decision), Refusals))]
async fn decide_session(
    State(state): State<ApiState>,
    Decider(caller): Decider,
    PathOf(id): PathOf<String>,
    JsonBody(wanted): JsonBody<WantedDecision>,
) -> Result<(StatusCode, Json<Decision>), Problem> {
    caller.must_reach(&state, Thing::Session, &id).await?;
    let choice = check(&wanted)?;
    let versions = state.store.verdict_versions(&id).await?;
    let Some(engines) = versions.first() else {
        state.store.session_record(&id).await?.ok_or_else(|| Problem::no_such("session"))?;
        return Err(Problem::session_open("a session is decided once it is closed"));
    };
    let judged = Judged::read(&state, &id, engines).await?;
    let (decision, at) = (state.new_id(), state.clock.now_ms());
    let mark =
        Mark { id: decision.clone(), by: caller.key.clone(), at, decision: choice, reason: wanted.reason.clone() };
    let outcome = judged.outcome(&state, mark, wanted.verdict_version.saturating_add(1))?;
    let key = learner_key(&state, &judged.opened.learner).await?;
    let note = key.filter(|_| !wanted.note.is_empty());
    let note = note.map(|key| key.seal(&state.entropy, &note_context(&decision), wanted.note.as_bytes()));
    let detail = format!("{} {}", choice.as_str(), wanted.reason);
    let access = LoggedAccess::new(state.new_id(), at, caller.actor(), AccessKind::Decision, &id, detail);
    let record = DecisionRecord {
        id: decision,
        version: wanted.verdict_version,
        decision: choice.as_str().to_owned(),
        reason: wanted.reason,
        note,
        decided_by: caller.key.clone(),
        decided_name: caller.account.clone().unwrap_or_default(),
        state: DecisionState::Final,
        confirms: None,
        made_version: None,
        at,
    };
    let second_person = judged.policy.review.second_person;
    let new = NewDecision { session: id.clone(), record, outcome, second_person, access };
    let record = state.store.decide(new).await?;
    state.deliver.notify_one();
    let note = (!wanted.note.is_empty()).then_some(wanted.note);
    Ok((StatusCode::CREATED, Json(Decision::of(&id, record, note))))
}

/// What the engine judged, and by what.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) opened: Box<SessionOpened>,
    pub(super) policy: Arc<Policy>,
}

impl Judged {
    pub(super) async fn read(state: &ApiState, session: &str, engines: &VerdictVersion) -> Result<Self, Problem> {
        let unreadable = |error: &dyn std::fmt::Display| Problem::failed("reading what a session was judged by", error);
        let verdict: Verdict = serde_json::from_str(&engines.body).map_err(|error| unreadable(&error))?;
        let lines = state.sessions.log(session.to_owned()).await?;
        let first = lines.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let opened = match log::parse_line(first).map(|event| event.body) {
            Ok(Body::SessionOpened(opened)) => opened,
            Ok(_) => return Err(unreadable(&"the log does not begin with its opening")),
            Err(error) => return Err(unreadable(&error)),
        };
        let policy = pack(state, &verdict.policy).await?;
        Ok(Self { verdict, opened, policy })
    }

    /// What a decision makes of it, as the version `version`.
    fn outcome(&self, state: &ApiState, mark: Mark, version: i64) -> Result<Option<Outcome>, Problem> {
        let now_ms = mark.at;
        let Some(decided) = self.verdict.decided(mark, &self.opened.facts, &self.policy.parameters) else {
            return Ok(None);
        };
        let failed = |error: &dyn std::fmt::Display| Problem::failed("writing a verdict", error);
        let body = serde_json::to_string(&decided).map_err(|error| failed(&error))?;
        let text = RawValue::from_string(body.clone()).map_err(|error| failed(&error))?;
        let (event, opened) = (state.new_id(), &self.opened);
        let told = cloud_event::SessionDecided {
            closed: cloud_event::SessionClosed {
                id: &event,
                source: &state.public_url,
                closed_at_ms: now_ms,
                session: &opened.session,
                learner: &opened.learner,
                project: &opened.project,
                lesson: &opened.lesson,
                verdict: &text,
            },
            version,
        };
        let told = told.to_body().map_err(|error| failed(&error))?;
        let (platform, ordering) = (opened.platform.clone(), opened.session.clone());
        let delivery = NewDelivery { event, platform, ordering, body: told, now_ms };
        Ok(Some(Outcome { status: decided.status.as_str(), body, delivery }))
    }
}

/// The pack that logs and verdicts call so.
pub(super) async fn pack(state: &ApiState, label: &str) -> Result<Arc<Policy>, Problem> {
    if let Some(policy) = state.packs.by_label(label) {
        return Ok(policy.clone());
    }
    let texts = state.store.policy_texts().await?;
    let text = texts.into_iter().find(|(kept, _)| kept == label).map(|(_, text)| text);
    let text = text.ok_or_else(|| Problem::failed("reading a policy pack", &format!("{label} is not kept")))?;
    let policy = Policy::kept(label, &text).map(Arc::new);
    policy.map_err(|error| Problem::failed("reading a policy pack", &error))
}

/// Under what a decision's note is sealed.
pub(super) fn note_context(decision: &str) -> String {
    format!("decision {decision}")
}

impl Decision {
    /// A decision with its note, if whoever asks may read it.
    pub(super) fn of(session: &str, record: DecisionRecord, note: Option<String>) -> Self {
        Self {
            id: record.id,
            session: session.to_owned(),
            version: record.version,
            decision: record.decision,
            reason: record.reason,
            note,
            by: By { id: record.decided_by, name: record.decided_name },
            at: record.at,
            state: record.state,
            confirms: record.confirms,
            made_version: record.made_version,
        }
    }
}

fn check(wanted: &WantedDecision) -> Result<Choice, Problem> {
    let mut findings = Findings::default();
    let choice = Choice::from_word(&wanted.decision);
    if choice.is_none() {
        findings.add("decision", "must be uphold, overturn or need_more");
    } else if !REASONS.iter().any(|(code, of)| *code == wanted.reason && Some(*of) == choice) {
        findings.add("reason", "is none of this decision: see GET /decision-reasons");
    }
    if wanted.note.chars().count() > REASON_CHARS {
        findings.add("note", format!("may have at most {REASON_CHARS} characters"));
    }
    findings.finish()?;
    choice.ok_or_else(|| Problem::field("decision", "must be uphold, overturn or need_more"))
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        let words = error.to_string();
        match error {
            DecideError::NoVerdict => Self::session_open(words),
            DecideError::Stale(_) => Self::stale(words),
            DecideError::SecondPerson => Self::second_person(words),
            DecideError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
