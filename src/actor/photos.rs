//! A photo's way: kept encrypted, checked by whoever looks at photos, and back into the log.

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use super::live::Live;
use super::mailbox::Message;
use super::seen_before::{EarlierPhotos, unless_seen_before};
use crate::faces::{Asks, Kept};
use crate::gateway::wire::ServerMessage;
use crate::log::{CaptureReason, EventType, FaceChecked, FaceOutcome};
use crate::schedule::PendingCapture;
use crate::store::StoreError;
use crate::store::evidence::EvidenceId;
use crate::vision::{Asked, Check, Question, Urgency};

/// How long a check may take, waiting included, ms: after that the answer would be too late to act on.
const CHECK_LIMIT_MS: i64 = 60_000;

/// What a check came to: the photo's digest once it is kept, and the workers' answer.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) capture: String,
    /// SHA-256 hex of the photo, if it is kept
    pub(super) kept: Option<String>,
    /// none: it could not be checked
    pub(super) check: Option<Check>,
}

impl Live {
    /// Has a photo kept and checked, away from the session. Without `photo` it was kept before a restart.
    pub(super) fn start_check(&mut self, capture: String, sha256: String, photo: Option<Bytes>) {
        let (services, session, myself) = (self.services.clone(), self.key, self.myself.clone());
        let Some(face) = &self.face else { return };
        let (face_key, template, who) = (face.key.clone(), face.template.clone(), self.who.clone());
        let pending = self.schedule.pending_capture().filter(|pending| pending.id == capture);
        let asked = pending.map_or(Asked::PHOTO, |pending| self.asked(pending));
        let at_the_start = pending.is_some_and(|pending| pending.reason == CaptureReason::Start);
        let urgency = if at_the_start { Urgency::Start } else { Urgency::Later };
        self.in_check = Some(capture.clone());
        let asks = Asks { learner: who.learner.clone(), urgency, limit_ms: CHECK_LIMIT_MS };
        tokio::spawn(async move {
            let tell = async |message: Message| {
                if let Some(mailbox) = myself.upgrade() {
                    let _ = mailbox.send(message.into()).await;
                }
            };
            let kept = match photo {
                Some(photo) => keep(&services, &face_key, session, &capture, &sha256, photo).await,
                None => read_back(&services, &face_key, session, &capture).await,
            };
            let Some(kept) = kept else {
                tell(Message::Checked(Box::new(Checked { capture, kept: None, check: None }))).await;
                return;
            };
            tell(Message::PhotoKept { capture: capture.clone() }).await;
            let looked = async {
                let earlier = EarlierPhotos::before(&services, &who, &face_key, session, &capture).await?;
                let question = Question { enrolled: template, asked, known: earlier.known() };
                let Some(check) = check(&services, kept, question, asks).await else { return Ok(None) };
                unless_seen_before(&services, &who, &face_key, session, &capture, (check, earlier)).await.map(Some)
            };
            let check = looked.await.unwrap_or_else(|error: StoreError| {
                tracing::error!(%error, capture, "a photo could not be told from earlier ones: its check counts as an error");
                None
            });
            tell(Message::Checked(Box::new(Checked { capture, kept: Some(sha256), check }))).await;
        });
    }

    /// What a capture's photos are held against, besides the face.
    fn asked(&self, pending: &PendingCapture) -> Asked {
        let span_ms = pending.span_ms(&self.policy.schedule);
        let frames = usize::try_from(pending.frames).unwrap_or(1);
        Asked {
            challenge: pending.challenge,
            frames_least: frames,
            frames_limit: frames,
            span_least_ms: *span_ms.start(),
            span_limit_ms: *span_ms.end(),
            passive: pending.passive,
        }
    }

    pub(super) fn photo_kept(&mut self, capture: String) {
        self.tell(ServerMessage::PhotoReceived { capture });
    }

    /// The answer of the workers becomes an event like any other.
    pub(super) fn checked(&mut self, checked: Checked) {
        self.in_check.take_if(|capture| *capture == checked.capture);
        let outcome = checked.check.as_ref().and_then(|check| FaceOutcome::from_word(check.outcome.as_str()));
        let outcome = outcome.unwrap_or(FaceOutcome::Error);
        let advice =
            checked.check.as_ref().and_then(|check| check.reason.as_ref()).map(|reason| reason.as_str().to_owned());
        let extra = match &checked.check {
            Some(check) => for_the_record(check),
            None => Map::from_iter([("reason".to_owned(), without_a_check(checked.kept.is_some()).into())]),
        };
        let data = FaceChecked {
            capture: checked.capture.as_str().into(),
            outcome,
            photo: checked.kept.map(Into::into),
            passive_milli: checked
                .check
                .as_ref()
                .and_then(|check| check.passive.as_ref())
                .map(|passive| in_thousandths(passive.attack)),
            extra,
        };
        self.services.telemetry.photo_checks.count(outcome.as_str());
        self.record(self.now(), EventType::FaceChecked, &data);
        let (capture, outcome) = (checked.capture, outcome.as_str().into());
        self.tell(ServerMessage::CaptureClosed { capture, outcome, advice: advice.map(Into::into) });
    }
}

/// Why there is no answer about a photo: nobody came to it in time, or it could not be kept.
fn without_a_check(is_kept: bool) -> &'static str {
    if is_kept { "not_in_time" } else { "not_kept" }
}

fn in_thousandths(share: f32) -> i64 {
    (share.clamp(0.0, 1.0) * 1_000.0).round() as i64
}

/// The answer of whoever looks at photos; none when they did not come to it in time.
async fn check(services: &super::Services, kept: Kept, question: Question, asks: Asks) -> Option<Check> {
    let check = services.faces.check(kept, question, asks).await;
    if check.is_none() {
        tracing::warn!(limit_ms = CHECK_LIMIT_MS, "a photo was not checked in time: the outcome is an error");
    }
    check
}

/// Scores, threshold and digests, so that the check can be repeated years later.
fn for_the_record(check: &Check) -> Map<String, Value> {
    let rounded = |number: f32| (f64::from(number) * 10_000.0).round() / 10_000.0;
    let all = json!({
        "similarity": check.similarity.map(rounded),
        "threshold": rounded(check.threshold),
        "compared": check.compared,
        "reason": check.reason.as_ref().map(|reason| reason.as_str()),
        "same_picture": check.same_picture.map(|same| json!({ "of": same.of, "likeness": rounded(same.likeness) })),
        "faces": check.faces.len(),
        "frames": check.frames,
        "sharpness": check.quality.map(|quality| rounded(quality.sharpness)),
        "brightness": check.quality.map(|quality| rounded(quality.brightness)),
        "motion_per_mille": check.motion.as_ref().and_then(|motion| motion.most_per_mille).map(rounded),
        "challenge_extent": check.challenge.as_ref().map(|challenge| rounded(challenge.extent)),
        "enrolled": check.enrolment_photo.to_string(),
        "models": models_that_looked(check),
    });
    match all {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The models by their roles, without those that were not asked.
fn models_that_looked(check: &Check) -> Value {
    let mut models = json!({
        "detector": check.models.detector.to_string(),
        "near_detector": check.models.near_detector.to_string(),
        "recogniser": check.models.recogniser.to_string(),
        "runtime": check.models.runtime.to_string(),
        "provider": check.models.provider.as_str(),
        "precision": check.models.precision.as_str(),
    });
    if let Some(movement) = check.movement_models {
        models["mesh"] = movement.mesh.to_string().into();
        models["eyes"] = movement.eyes.to_string().into();
    }
    if let Some(passive) = &check.passive {
        models["passive"] = passive.models.iter().map(ToString::to_string).collect();
    }
    models
}

/// Encrypts the photo on disk and notes where; nothing when that failed, which is not the learner's fault.
async fn keep(
    services: &super::Services,
    key: &crate::auth::keys::DataKey,
    session: crate::store::SessionKey,
    capture: &str,
    sha256: &str,
    photo: Bytes,
) -> Option<Kept> {
    let id = services.entropy.id(services.clock.now_ms()).to_string();
    let kept = async {
        let evidence = services.evidence.put(&services.entropy, key, &id, photo.to_vec()).await;
        // A store that is away is said once, by itself.
        let evidence = evidence.map_err(|error| (error.is_passing(), error.to_string()))?;
        let now_ms = services.clock.now_ms();
        let noted = services.store.keep_photo(session, capture, sha256, evidence.as_str(), now_ms).await;
        noted.map(|()| evidence).map_err(|error| (false, error.to_string()))
    };
    match kept.await {
        Ok(evidence) => Some(Kept { evidence, key: key.clone(), photo }),
        Err((true, error)) => {
            tracing::debug!(error, capture, "a photo could not be kept for now: its check counts as an error");
            None
        }
        Err((false, error)) => {
            tracing::error!(error, capture, "a photo could not be kept: its check counts as an error");
            None
        }
    }
}

/// The photo that was kept before this process started.
async fn read_back(
    services: &super::Services,
    key: &crate::auth::keys::DataKey,
    session: crate::store::SessionKey,
    capture: &str,
) -> Option<Kept> {
    let read = async {
        let kept = services.store.kept_photo(session, capture).await.map_err(|error| error.to_string())?;
        let Some((_, evidence)) = kept else { return Ok(None) };
        let evidence = EvidenceId::parse(&evidence).map_err(|error| error.to_string())?;
        let photo = services.evidence.get(key, &evidence).await.map_err(|error| error.to_string())?;
        Ok(Some(Kept { evidence, key: key.clone(), photo: photo.into() }))
    };
    read.await.unwrap_or_else(|error: String| {
        tracing::error!(%error, capture, "a kept photo could not be read back");
        None
    })
}
