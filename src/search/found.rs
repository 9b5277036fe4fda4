//! What a hit means to a supervisor: a finding with both photos, and with the false hits that were to be expected.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{EnrolledFace, SearchResult};
use crate::policy::Policy;
use crate::risk::{Code, Finding, Severity, Strength};
use crate::store::face_scope::{Scope, SearchKind};
use crate::vision::search::{LEAST_SIMILARITY, found_share};

/// One face under several learners, for each face that was looked for and has a hit. A photo that was given is no learner's: whom
/// it is like need not be like each other.
pub fn findings(result: &SearchResult, kind: SearchKind, scope: &Scope, policy: &Policy, at: i64) -> Vec<Finding> {
    let probes = distinct(result.hits.iter().filter_map(|hit| hit.of.as_ref()));
    let of_probe = |probe: &EnrolledFace| {
        let hits = result.hits.iter().filter(|hit| hit.of.as_ref() == Some(probe)).cloned().collect();
        finding(&SearchResult { hits, ..result.clone() }, kind, scope, policy, at)
    };
    probes.into_iter().filter_map(of_probe).collect()
}

/// None when nobody is like the one that was looked for. Two may be twins; three who share a face are hard to explain.
fn finding(result: &SearchResult, kind: SearchKind, scope: &Scope, policy: &Policy, at: i64) -> Option<Finding> {
    let nearest = result.hits.first()?;
    let faces: Vec<&EnrolledFace> = distinct(nearest.of.iter().chain(result.hits.iter().map(|hit| &hit.face)));
    let learners: BTreeSet<&str> = faces.iter().map(|face| face.learner.as_str()).collect();
    // Identifiers are in the order of their making: whoever comes with the same face later finds the same first one.
    let subject = format!("face:{}", learners.first()?);
    let severity = if learners.len() > 2 { Severity::High } else { Severity::Medium };
    let numbers = json!({
        "learners": learners.len(),
        "similarity": rounded(f64::from(nearest.similarity)),
        "search": kind.as_str(),
        "scope": short(scope),
        "photos": faces.iter().map(|face| photo(face)).collect::<Vec<_>>(),
        "compared": result.compared,
        "expected_false_hits": rounded(result.expected_false_hits),
        "searches_day": result.searches_day,
        "expected_false_hits_day": rounded(result.expected_false_hits_day),
        "found_percent": (result.found_share * 100.0).round() as i64,
        "thresholds": {
            "similarity": rounded(result.threshold), "false_hits_day": rounded(result.allowed_false_hits_day),
        },
        "policy": policy.label(),
    });
    let strength = Strength::InAll(i64::try_from(learners.len()).unwrap_or(i64::MAX));
    Some(of(Code::FaceLearners, subject, severity, &faces, numbers, strength, at))
}

/// Several faces under one learner: each replacement was like the photo before, and the newest is not like an earlier one.
pub(super) fn drifted(
    newest: &EnrolledFace,
    earlier: &EnrolledFace,
    similarity: f32,
    policy: &Policy,
    at: i64,
) -> Finding {
    let numbers = json!({
        "similarity": rounded(f64::from(similarity)),
        "versions": newest.version,
        "photos": [photo(earlier), photo(newest)],
        "missed_percent": rounded((1.0 - found_share(LEAST_SIMILARITY)) * 100.0),
        "thresholds": {"similarity": LEAST_SIMILARITY},
        "policy": policy.label(),
    });
    let subject = format!("learner:{}", newest.learner);
    of(
        Code::FacesOfLearner,
        subject,
        Severity::Medium,
        &[newest, earlier],
        numbers,
        Strength::InAll(newest.version),
        at,
    )
}

fn of(
    code: Code,
    subject: String,
    severity: Severity,
    faces: &[&EnrolledFace],
    numbers: Value,
    strength: Strength,
    at: i64,
) -> Finding {
    let set = |of: fn(&EnrolledFace) -> &str| -> Vec<Arc<str>> {
        faces.iter().map(|face| of(face)).collect::<BTreeSet<_>>().into_iter().map(Arc::from).collect()
    };
    let evidence = match numbers {
        Value::Object(numbers) => numbers,
        _ => serde_json::Map::new(),
    };
    Finding {
        code,
        subject,
        severity,
        at,
        platforms: set(|face| &face.platform),
        learners: set(|face| &face.learner),
        sessions: Vec::new(),
        evidence,
        strength,
    }
}

fn distinct<'a>(faces: impl Iterator<Item = &'a EnrolledFace>) -> Vec<&'a EnrolledFace> {
    let mut distinct: Vec<&EnrolledFace> = Vec::new();
    for face in faces {
        if !distinct.contains(&face) {
            distinct.push(face);
        }
    }
    distinct
}

fn photo(face: &EnrolledFace) -> Value {
    json!({"learner": face.learner, "version": face.version, "digest": face.photo, "platform": face.platform})
}

/// A set of a thousand learners is named by their number.
fn short(scope: &Scope) -> String {
    match scope {
        Scope::Learners(learners) => format!("{} learners", learners.len()),
        other => other.to_string(),
    }
}

/// To a millionth: what is less is as good as nothing.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
