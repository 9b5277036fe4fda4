//! Everything that a person needs to decide about one session, in one answer: names, versions of the verdict, the numbers and
//! clauses that it was judged by, photos by capture, what was decided and what came before.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::appeals;
use super::caller::Caller;
use super::decisions::{Decision, note_context, pack};
use super::extract::PathOf;
use super::persons;
use super::photo_views::learner_key;
use super::problem::{Problem, Refusals};
use super::{Answer, ApiState};
use crate::log::{self, Body, Event};
use crate::policy::{Policy, date_in_china};
use crate::rules::Rule;
use crate::store::dossier::{NamedSession, Surroundings};
use crate::store::reach::Thing;
use crate::store::review::{DecisionRecord, VerdictVersion};
use crate::store::words::QueueTab;
use crate::vision::Compared;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(read_dossier))
}

/// Everything about a session that a decision rests on; for platforms without notes and warnings
#[utoipa::path(get, path = "/sessions/{id}/dossier", tag = "console",
    params(("id" = String, Path, description = "the session")),
    responses((status = 200, description = "docs/console.md", body = Object), Refusals))]
async fn read_dossier(State(state): State<ApiState>, caller: Caller, PathOf(id): PathOf<String>) -> Answer<Value> {
    caller.must_reach(&state, Thing::Session, &id).await?;
    let session = state.store.named_session(&id).await?.ok_or_else(|| Problem::no_such("session"))?;
    let is_office = caller.platform().is_none();
    let versions = state.store.verdict_versions(&id).await?;
    let lines = state.sessions.log(id.clone()).await?;
    let events = read(&lines)?;
    let label = events.iter().find_map(|event| match &event.body {
        Body::SessionOpened(opened) => Some(opened.policy.clone()),
        _ => None,
    });
    let policy = match label {
        Some(label) => Some(pack(&state, &label).await?),
        None => None,
    };
    let around = state.store.surroundings(&session, caller.reach()).await?;
    let review = state.store.review_of(&id).await?;
    let decisions = decisions(&state, &session, is_office).await?;
    let key = learner_key(&state, &session.learner).await?;
    let appeals = appeals::of_session(&state, &id, key.as_ref()).await?;
    let masked = persons::masked_name(&state, &session.learner, session.sealed.clone())?;
    let log_digest =
        versions.first().and_then(|first| serde_json::from_str::<Value>(&first.body).ok()?.get("log_digest").cloned());
    let (tab, due_at, appealed) = review.unwrap_or((QueueTab::Decided, 0, false));
    let needs_second = appealed || policy.as_ref().is_some_and(|policy| policy.review.second_person);
    let earlier = around.earlier.iter().map(|earlier| {
        json!({"session": earlier.id, "lesson": {"id": earlier.lesson.0, "title": earlier.lesson.1},
            "opened_at": earlier.opened_at, "status": earlier.status,
            "credited_hours": earlier.credited_hundredths.map(|hundredths| hundredths as f64 / 100.0)})
    });
    let makeups = around.makeups.iter().map(|makeup| {
        json!({"id": makeup.id, "lesson": makeup.lesson, "reference": makeup.reference, "office": makeup.office,
            "reason": makeup.reason, "created_at": makeup.created_at})
    });
    let enrolled = around.enrolled.as_ref().map(
        |enrolled| json!({"version": enrolled.version, "digest": enrolled.digest, "created_at": enrolled.created_at}),
    );
    Ok(Json(json!({
        "session": shown(&session, versions.last(), masked),
        "verdicts": verdicts(&versions, &decisions)?,
        "parameters": policy.as_deref().map(parameters),
        "clauses": policy.as_deref().map(clauses),
        "captures": captures(&lines, &events, &around, session.sealed.is_some()),
        "enrolled": enrolled,
        "decisions": decisions,
        "appeals": appeals,
        "makeups": makeups.collect::<Vec<_>>(),
        "earlier": earlier.collect::<Vec<_>>(),
        "findings": if is_office { around.findings.clone() } else { Vec::new() },
        "due_at": (tab != QueueTab::Decided).then_some(due_at),
        "needs_second": needs_second,
        "log_digest": log_digest,
    })))
}

fn shown(session: &NamedSession, newest: Option<&VerdictVersion>, masked: Option<String>) -> Value {
    let (platform, project, lesson) = (&session.platform, &session.project, &session.lesson);
    json!({
        "id": session.id,
        "platform": {"id": platform.0, "name": platform.1},
        "project": {"id": project.0, "name": project.1, "region": project.2},
        "lesson": {"id": lesson.0, "title": lesson.1, "duration_ms": lesson.2},
        "learner": {"id": session.learner, "masked": masked},
        "state": if session.closed_at.is_some() { "closed" } else { "open" },
        "opened_at": session.opened_at,
        "closed_at": session.closed_at,
        "verdict_status": newest.map(|newest| &newest.status),
    })
}

fn verdicts(versions: &[VerdictVersion], decisions: &[Decision]) -> Result<Vec<Value>, Problem> {
    let failed = |error: serde_json::Error| Problem::failed("reading a verdict", &error);
    let shown = |version: &VerdictVersion| {
        let body: Value = serde_json::from_str(&version.body).map_err(failed)?;
        let decided_by = decisions.iter().find(|decision| decision.made_version == Some(version.version));
        Ok(json!({"version": version.version, "status": version.status, "created_at": version.created_at, "body": body,
            "decided_by": decided_by.map(|decision| &decision.by)}))
    };
    versions.iter().map(shown).collect()
}

async fn decisions(state: &ApiState, session: &NamedSession, is_office: bool) -> Result<Vec<Decision>, Problem> {
    let key = if is_office { learner_key(state, &session.learner).await? } else { None };
    let note = |record: &DecisionRecord| {
        let opened = key.as_ref()?.open(&note_context(&record.id), record.note.as_ref()?).ok()?;
        String::from_utf8(opened).ok()
    };
    let records = state.store.decisions(&session.id).await?;
    Ok(records
        .into_iter()
        .map(|record| {
            let note = note(&record);
            Decision::of(&session.id, record, note)
        })
        .collect())
}

/// The numbers that the session was judged by.
fn parameters(policy: &Policy) -> Map<String, Value> {
    let table = policy.to_table();
    let numbers = table.into_iter().filter_map(|(key, value)| Some((key, Value::from(value.as_integer()?))));
    numbers.collect()
}

fn clauses(policy: &Policy) -> Map<String, Value> {
    let clause = |rule: &Rule| {
        let clause = policy.clause(*rule);
        let action = policy.action(*rule).as_str();
        (
            rule.to_string(),
            json!({"document": policy.document, "item": clause.source, "text": clause.text, "action": action}),
        )
    };
    Rule::ALL.iter().map(clause).collect()
}

fn each(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

pub(super) fn read(lines: &[u8]) -> Result<Vec<Event<'_>>, Problem> {
    let events: Result<Vec<_>, _> = each(lines).map(log::parse_line).collect();
    events.map_err(|error| Problem::failed("reading a log", &error))
}

/// What a check's line says beyond its outcome: the engine judges by none of it, and its parser skips it.
#[derive(Default, Deserialize)]
struct CheckDetails {
    reason: Option<String>,
    similarity: Option<f64>,
    threshold: Option<f64>,
    faces: Option<u32>,
    compared: Option<Compared>,
}

#[derive(Default, Deserialize)]
struct CheckLine {
    #[serde(default)]
    data: CheckDetails,
}

/// Each capture of a log, with what became of it. `events` are what `lines` say, line by line.
pub(super) fn captures(lines: &[u8], events: &[Event<'_>], around: &Surroundings, is_known: bool) -> Vec<Value> {
    let photos: BTreeMap<&str, _> = around.photos.iter().map(|photo| (photo.capture.as_str(), photo)).collect();
    let mut captures: Vec<Value> = Vec::new();
    let find = |captures: &[Value], capture: &str| captures.iter().position(|one| one["capture"] == capture);
    for (line, event) in each(lines).zip(events) {
        match &event.body {
            Body::CaptureRequested(requested) => {
                let capture: &str = &requested.capture;
                let photo = photos.get(capture);
                let state = match photo {
                    None => "none",
                    Some(photo) if photo.deleted_at.is_some() || !is_known => "deleted",
                    Some(_) => "kept",
                };
                captures.push(json!({
                    "capture": capture, "reason": requested.reason.as_str(), "requested_at": event.at,
                    "deadline_at": requested.deadline_at, "submitted_at": null, "at": null, "n": null, "outcome": null,
                    "cause": null, "similarity_milli": null, "threshold_milli": null, "faces": null, "compared": null,
                    "frames": requested.frames,
                    "digest": photo.map(|photo| &photo.digest), "photo": state,
                    "deleted_at": photo.and_then(|photo| photo.deleted_at),
                    "deleted_on": photo.and_then(|photo| photo.deleted_at).map(|at| date_in_china(at).to_string()),
                }));
            }
            Body::CaptureSubmitted(submitted) => {
                if let Some(found) = find(&captures, &submitted.capture) {
                    captures[found]["submitted_at"] = event.at.into();
                    captures[found]["digest"] = submitted.sha256.as_ref().into();
                }
            }
            Body::FaceChecked(checked) => {
                if let Some(found) = find(&captures, &checked.capture) {
                    let details = serde_json::from_slice::<CheckLine>(line).unwrap_or_default().data;
                    let one = &mut captures[found];
                    (one["at"], one["n"]) = (event.at.into(), event.n.into());
                    one["outcome"] = checked.outcome.as_str().into();
                    one["cause"] = details.reason.into();
                    one["similarity_milli"] = details.similarity.map(thousandths).into();
                    one["threshold_milli"] = details.threshold.map(thousandths).into();
                    one["faces"] = details.faces.into();
                    one["compared"] = json!(details.compared);
                }
            }
            Body::CaptureExpired(expired) => {
                if let Some(found) = find(&captures, &expired.capture) {
                    let one = &mut captures[found];
                    (one["at"], one["n"], one["outcome"]) = (event.at.into(), event.n.into(), "expired".into());
                }
            }
            _ => {}
        }
    }
    captures
}

fn thousandths(share: f64) -> i64 {
    (share * 1_000.0).round() as i64
}
