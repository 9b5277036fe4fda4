//! Who looks at photos: workers of this process, or nodes elsewhere that take them off the queue.
//!
//! Whoever has a photo looked at cannot tell the two apart, and what is recorded is the same. What goes through Redis is
//! sealed with the installation's master key, both ways and for one question: nobody reads a face there, and nobody makes
//! up an answer.

mod desk;
mod elsewhere;
mod frame;
mod job;
#[cfg(test)]
mod tests;
mod told;

use std::sync::Arc;

use axum::body::Bytes;

use crate::auth::keys::DataKey;
use crate::clock::Clock;
use crate::store::evidence::EvidenceId;
use crate::vision::{
    Asker, Busy, Check, EnrolError, Picture, Question, Running, Template, Turn, Unseen, Urgency, VisionMeters,
    VisionPool,
};

pub use desk::{Desk, Takers};
pub use elsewhere::{Elsewhere, Ways};

/// How long a photo waits before it is offered to those who have too much to do again, ms.
const BUSY_RETRY_MS: i64 = 200;
/// How long an enrolment may take elsewhere, ms: longer than a dead worker's photos wait for another, and shorter than a
/// platform's patience.
const ENROL_LIMIT_MS: i64 = 20_000;

/// A photo that is kept where all who check find it.
#[derive(Clone)]
pub struct Kept {
    /// where
    pub evidence: EvidenceId,
    /// the key it is sealed with there
    pub key: DataKey,
    /// the photo itself
    pub photo: Bytes,
}

/// Who asks, and until when.
#[derive(Clone, Debug)]
pub struct Asks {
    /// the learner
    pub learner: Arc<str>,
    /// whether a session waits for the answer to begin
    pub urgency: Urgency,
    /// how long the answer is worth anything, ms
    pub limit_ms: i64,
}

/// What came of an enrolment.
#[derive(Clone, Debug, PartialEq)]
pub struct Enrolled {
    /// the face
    pub template: Template,
    /// by what the photo is known again
    pub picture: Option<Picture>,
    /// how it compares with the one that it is to replace, if there is one
    pub replaced: Option<Check>,
}

/// Who looks at photos.
pub struct Faces {
    wall: Clock,
    who: Who,
}

enum Who {
    Here(Arc<VisionPool>),
    Elsewhere(Box<Elsewhere>),
}

impl Faces {
    /// Workers of this process.
    pub fn here(pool: Arc<VisionPool>, wall: Clock) -> Self {
        Self { wall, who: Who::Here(pool) }
    }

    /// Nodes elsewhere.
    pub fn elsewhere(elsewhere: Elsewhere, wall: Clock) -> Self {
        Self { wall, who: Who::Elsewhere(Box::new(elsewhere)) }
    }

    /// Holds a submission against what was asked. While those who check have too much to do, it waits: it is safe, and the
    /// learner is not to blame. None: it was not checked in time.
    pub async fn check(&self, kept: Kept, question: Question, asks: Asks) -> Option<Check> {
        let Asks { learner, urgency, limit_ms } = asks;
        let checking = async {
            match &self.who {
                Who::Here(pool) => {
                    let deadline_ms = pool.deadline_ms(limit_ms);
                    let turn = Turn { urgency, deadline_ms, asker: Asker::Learner(learner) };
                    patiently(&self.wall, || pool.check(turn.clone(), kept.photo.clone(), question.clone())).await
                }
                Who::Elsewhere(elsewhere) => {
                    let job = job::Job::Check { evidence: kept.evidence, key: kept.key, question };
                    drop(kept.photo);
                    let deadline_ms = elsewhere.deadline_ms(limit_ms);
                    patiently(&self.wall, || async { Ok(elsewhere.check(&job, urgency, deadline_ms).await?) }).await
                }
            }
        };
        tokio::select! {
            check = checking => check,
            () = self.wall.sleep_ms(limit_ms) => None,
        }
    }

    /// Makes a template of the one face in a photo, and compares the photo with the face that it is to replace.
    ///
    /// # Errors
    /// [`EnrolError`] says what to mend, or that those who look have too much to do.
    pub async fn enrol(&self, photo: Vec<u8>, replaced: Option<Template>) -> Result<Enrolled, EnrolError> {
        match &self.who {
            Who::Here(pool) => enrol_in(pool, Asker::Enrolments, photo.into(), replaced).await,
            Who::Elsewhere(elsewhere) => {
                let deadline_ms = elsewhere.deadline_ms(ENROL_LIMIT_MS);
                let job = job::Job::Enrol { photo: photo.into(), replaced };
                tokio::select! {
                    enrolled = elsewhere.enrol(&job, deadline_ms) => enrolled,
                    () = self.wall.sleep_ms(ENROL_LIMIT_MS) => {
                        tracing::warn!(limit_ms = ENROL_LIMIT_MS, "no node with the role vision has looked at a photo in time");
                        Err(Busy.into())
                    }
                }
            }
        }
    }

    /// What is measured of it.
    pub fn meters(&self) -> &VisionMeters {
        match &self.who {
            Who::Here(pool) => pool.meters(),
            Who::Elsewhere(elsewhere) => elsewhere.meters(),
        }
    }

    /// What computes the models here; none where others look.
    pub fn running(&self) -> Option<&Running> {
        match &self.who {
            Who::Here(pool) => Some(pool.running()),
            Who::Elsewhere(_) => None,
        }
    }

    /// Whether a worker with models is left here; none where others look.
    pub fn works(&self) -> Option<bool> {
        match &self.who {
            Who::Here(pool) => Some(pool.works()),
            Who::Elsewhere(_) => None,
        }
    }
}

/// Asks until there is room; none once it is too late.
async fn patiently<F: Future<Output = Result<Check, Unseen>>>(clock: &Clock, ask: impl Fn() -> F) -> Option<Check> {
    loop {
        match ask().await {
            Ok(check) => return Some(check),
            Err(Unseen::Late) => return None,
            Err(Unseen::Busy(Busy)) => clock.sleep_ms(BUSY_RETRY_MS).await,
        }
    }
}

async fn enrol_in(
    pool: &VisionPool,
    asker: Asker,
    photo: Bytes,
    replaced: Option<Template>,
) -> Result<Enrolled, EnrolError> {
    let turn = Turn { urgency: Urgency::Later, deadline_ms: pool.deadline_ms(ENROL_LIMIT_MS), asker };
    let template = pool.enrol(turn.clone(), photo.clone()).await?;
    let replaces = replaced.is_some();
    let question = replaced.unwrap_or_else(|| template.clone()).into();
    let mut check = pool.check(turn, photo, question).await.map_err(|_| Busy)?;
    // One photo has one at most.
    let picture = check.pictures.pop();
    Ok(Enrolled { template, picture, replaced: replaces.then_some(check) })
}
