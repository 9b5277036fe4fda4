//! The doors of the REST API that lead to faces and to encrypted photos.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::actor::Services;
use crate::api::doors::{EnrolledFace, FaceDoor, FaceRefusal, PhotoVault, VaultError};
use crate::auth::keys::DataKey;
use crate::faces::Enrolled;
use crate::store::evidence::{EvidenceError, EvidenceId};
use crate::vision::{Busy, EnrolError, Outcome, Template};

/// When to come back to vision workers that have too much to do, ms.
const RETRY_AFTER_MS: i64 = 2_000;

/// Enrols with those who check.
pub(super) struct Faces(pub(super) Arc<Services>);

impl FaceDoor for Faces {
    fn enrol(&self, photo: Vec<u8>, old: Option<Vec<u8>>) -> BoxFuture<'_, Result<EnrolledFace, FaceRefusal>> {
        Box::pin(async move {
            let old = old.map(|old| Template::from_bytes(&old)).transpose();
            let old = old.map_err(|error| FaceRefusal::Failed(error.to_string()))?;
            let Enrolled { template, picture, replaced } = self.0.faces.enrol(photo, old).await.map_err(refusal)?;
            match replaced.map(|check| check.outcome) {
                None | Some(Outcome::Match) => {
                    let descriptor = picture.map(|picture| picture.to_bytes());
                    Ok(EnrolledFace { template: template.to_bytes(), descriptor })
                }
                Some(Outcome::Error) => Err(FaceRefusal::Failed("the comparison failed".into())),
                Some(_) => Err(FaceRefusal::Mismatch),
            }
        })
    }
}

fn refusal(error: EnrolError) -> FaceRefusal {
    match error {
        EnrolError::Busy(Busy) => FaceRefusal::Busy { retry_after_ms: RETRY_AFTER_MS },
        EnrolError::Engine(why) => FaceRefusal::Failed(why),
        unsuitable => FaceRefusal::Unsuitable(unsuitable.to_string()),
    }
}

/// Keeps enrolment photos where captures are kept.
pub(super) struct Photos(pub(super) Arc<Services>);

impl PhotoVault for Photos {
    fn put(&self, key: DataKey, photo: Vec<u8>) -> BoxFuture<'_, Result<String, VaultError>> {
        Box::pin(async move {
            let id = self.0.entropy.id(self.0.wall.now_ms()).to_string();
            let kept = self.0.evidence.put(&self.0.entropy, &key, &id, photo).await;
            kept.map(|id| id.as_str().to_owned()).map_err(vault_error)
        })
    }

    fn get(&self, key: DataKey, evidence: String) -> BoxFuture<'_, Result<Vec<u8>, VaultError>> {
        Box::pin(async move {
            let id = EvidenceId::parse(&evidence).map_err(vault_error)?;
            self.0.evidence.get(&key, &id).await.map_err(vault_error)
        })
    }

    fn remove(&self, evidence: String) -> BoxFuture<'_, Result<(), VaultError>> {
        Box::pin(async move {
            let id = EvidenceId::parse(&evidence).map_err(vault_error)?;
            self.0.evidence.delete(&id).await.map_err(vault_error)
        })
    }
}

fn vault_error(error: EvidenceError) -> VaultError {
    VaultError { why: error.to_string(), passing: error.is_passing() }
}
