//! A learner over all their sessions, and a platform over a time.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Caller;
use super::dossier::read;
use super::extract::{PathOf, QueryOf};
use super::persons;
use super::problem::{Problem, Refusals};
use super::validate::Findings;
use super::{Answer, ApiState};
use crate::ledger::period;
use crate::log::Body;
use crate::policy::date_in_china;
use crate::rules::Rule;
use crate::store::overview::{EnrolmentOverview, SessionOverview, VERDICTS_LIMIT};
use crate::store::reach::Thing;
use crate::verdict::Verdict;

/// Sessions whose logs are looked through for a consent.
const CONSENT_SESSIONS: usize = 3;
/// Days of figures that are given at once.
const DAYS_LIMIT: i64 = 92;
const DAY_MS: i64 = 86_400_000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(read_learner_overview)).routes(routes!(read_platform_figures))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FiguresQuery {
    /// opened on this day in China or later, as in 2026-03-01
    from: String,
    /// opened on this day in China or before; at most 92 days in all
    to: String,
}

/// A learner: enrolments with their hours, sessions, photos, consent; for the office warnings too
#[utoipa::path(get, path = "/learners/{id}/overview", tag = "console",
    params(("id" = String, Path, description = "the learner")),
    responses((status = 200, description = "docs/console.md", body = Object), Refusals))]
async fn read_learner_overview(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<String>,
) -> Answer<Value> {
    caller.must_reach(&state, Thing::Learner, &id).await?;
    let overview = state.store.learner_overview(&id, caller.reach()).await?;
    if overview.sealed.is_none() && overview.enrolments.is_empty() {
        return Err(Problem::no_such("learner"));
    }
    let masked = persons::masked_name(&state, &id, overview.sealed)?;
    let enrolments: Vec<Value> = overview.enrolments.iter().map(|enrolment| enrolled(&state, enrolment)).collect();
    let consent = consent(&state, &overview.sessions).await?;
    let sessions = overview.sessions.iter().map(|one| {
        json!({"session": one.id, "lesson": {"id": one.lesson.0, "title": one.lesson.1}, "project": one.project,
            "opened_at": one.opened_at, "closed_at": one.closed_at, "status": one.status,
            "credited_hours": one.credited_hundredths.map(in_hours)})
    });
    let (kept, oldest_at) = overview.photos;
    Ok(Json(json!({
        "learner": {"id": id, "masked": masked},
        "enrolments": enrolments,
        "sessions": sessions.collect::<Vec<_>>(),
        "findings": if caller.platform().is_none() { overview.findings } else { Vec::new() },
        "photos": {"kept": kept, "oldest_at": oldest_at,
            "retained_until": oldest_at.zip(state.keep_photos_ms).map(|(at, keep_ms)| at + keep_ms)},
        "consent": consent,
    })))
}

fn enrolled(state: &ApiState, one: &EnrolmentOverview) -> Value {
    let policy = state.packs.in_force(&one.policy, state.clock.now_ms()).ok();
    let used_ms = one.prior_online_ms + one.credited_ms;
    let hour_ms = policy.map(|policy| policy.parameters.class_hour_ms);
    // An online course has no quota; nor has one whose pack is not in force today, that is known here.
    let quota_ms = policy.filter(|_| one.delivery == "blended").map(|policy| {
        let total_ms = i128::from(one.total_hours) * i128::from(policy.parameters.class_hour_ms);
        (total_ms * i128::from(policy.parameters.online_quota_milli) / 1_000) as i64
    });
    let hours = |ms: i64| hour_ms.map(|hour_ms| in_hours(ms * 100 / hour_ms));
    json!({
        "project": {"id": one.project.0, "name": one.project.1},
        "platform": {"id": one.platform.0, "name": one.platform.1},
        "hours_online": hours(used_ms),
        "hours_left": quota_ms.and_then(|quota_ms| hours((quota_ms - used_ms).max(0))),
        "quota_ms": quota_ms,
        "used_ms": used_ms,
        "lessons_completed": one.lessons_completed,
        "lessons": one.lessons,
        "withdrawn_at": one.withdrawn_at,
    })
}

fn in_hours(hundredths: i64) -> f64 {
    hundredths as f64 / 100.0
}

/// When the learner agreed last, as far as the newest sessions show.
async fn consent(state: &ApiState, sessions: &[SessionOverview]) -> Result<Option<Value>, Problem> {
    for session in sessions.iter().take(CONSENT_SESSIONS) {
        let lines = state.sessions.log(session.id.clone()).await?;
        let agreed = read(&lines)?.into_iter().rfind(|event| matches!(event.body, Body::Consent(_)));
        if let Some(event) = agreed {
            return Ok(Some(json!({"at": event.at, "session": session.id})));
        }
    }
    Ok(None)
}

/// A platform's sessions by day, what was broken, and why faces failed
#[utoipa::path(get, path = "/platforms/{id}/figures", tag = "console",
    params(("id" = String, Path, description = "the platform"), FiguresQuery),
    responses((status = 200, description = "docs/console.md", body = Object), Refusals))]
async fn read_platform_figures(
    State(state): State<ApiState>,
    caller: Caller,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<FiguresQuery>,
) -> Answer<Value> {
    let span = span(&query)?;
    caller.must_reach(&state, Thing::Platform, &id).await?;
    let verdicts = state.store.platform_verdicts(&id, caller.reach(), span).await?;
    let cut = verdicts.len() >= VERDICTS_LIMIT as usize;
    let mut days: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    let (mut rules, mut faces): (BTreeMap<String, u64>, BTreeMap<String, u64>) = Default::default();
    let mut prompts: Option<(i64, i64)> = None;
    for one in verdicts {
        if let Some((asked, passed)) = one.prompts {
            let (all_asked, all_passed) = prompts.unwrap_or_default();
            prompts = Some((all_asked + asked, all_passed + passed));
        }
        let verdict: Verdict =
            serde_json::from_str(&one.body).map_err(|error| Problem::failed("reading a verdict", &error))?;
        let day = days.entry(date_in_china(one.opened_at).to_string()).or_default();
        day[0] += 1;
        if let Some(place) = ["valid", "review", "invalid"].iter().position(|status| *status == one.status) {
            day[place + 1] += 1;
        }
        // A session counts once for each rule that it broke.
        let broken: BTreeSet<&str> = verdict.violations.iter().map(|violation| violation.rule.as_str()).collect();
        broken.into_iter().for_each(|rule| *rules.entry(rule.to_owned()).or_default() += 1);
        let of_faces = verdict.violations.iter().filter(|violation| violation.rule == Rule::FaceLiveness);
        of_faces.for_each(|one| *faces.entry(one.cause.clone().unwrap_or_default()).or_default() += 1);
    }
    let days = days.into_iter().map(|(day, [sessions, valid, review, invalid])| {
        json!({"day": day, "sessions": sessions, "valid": valid, "review": review, "invalid": invalid})
    });
    let rules = rules.into_iter().map(|(rule, count)| json!({"rule": rule, "count": count}));
    let faces = faces.into_iter().map(|(cause, count)| json!({"cause": cause, "count": count}));
    Ok(Json(json!({
        "days": days.collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "prompts": prompts.map(|(asked, answered)| json!({"asked": asked, "answered": answered})),
        "faces": faces.collect::<Vec<_>>(),
        "cut": cut,
    })))
}

fn span(query: &FiguresQuery) -> Result<(i64, i64), Problem> {
    let mut findings = Findings::default();
    let from_ms = period::begins_ms(&query.from);
    let before_ms = period::ends_ms(&query.to);
    if let Err(error) = &from_ms {
        findings.add("from", error.to_string());
    }
    match (&from_ms, &before_ms) {
        (_, Err(error)) => findings.add("to", error.to_string()),
        (Ok(from_ms), Ok(before_ms)) if from_ms >= before_ms => findings.add("to", "must not be before from"),
        (Ok(from_ms), Ok(before_ms)) if before_ms - from_ms > DAYS_LIMIT * DAY_MS => {
            findings.add("to", format!("may be at most {DAYS_LIMIT} days after from"));
        }
        _ => {}
    }
    findings.finish()?;
    let wrong = |error: period::DayError| Problem::field("from", error.to_string());
    Ok((from_ms.map_err(wrong)?, before_ms.map_err(wrong)?))
}
