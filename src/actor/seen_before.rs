//! Whether the photo of a capture was there before: the very bytes, or the same picture, altered.
//!
//! The learner's own photos are known again by what the store keeps of them. Those of a platform's other learners, which
//! one picture may have served as well, by a list in memory of the last ones that matched here: it is lost with the process,
//! and each node has its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::Services;
use crate::auth::keys::DataKey;
use crate::risk::Who;
use crate::store::descriptors::PhotoName;
use crate::store::{SessionKey, StoreError};
use crate::vision::{Check, Descriptor, Outcome, Reason};

/// Photos of all platforms that are kept in memory; each takes 4 kB.
const RECENT_LIMIT: usize = 1_024;

/// The last photos that matched, of whoever.
#[derive(Default)]
pub struct RecentPhotos(Mutex<VecDeque<Recent>>);

#[derive(Clone)]
struct Recent {
    platform: Arc<str>,
    learner: Arc<str>,
    descriptor: Arc<Descriptor>,
}

/// Which earlier photo it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Earlier {
    /// of a capture of this learner
    Capture,
    /// the enrolment photo
    Enrolment,
    /// of another learner of the platform
    OtherLearner,
}

/// An earlier photo that is the same picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct SamePicture {
    pub(super) of: Earlier,
    /// −1 to 1
    pub(super) likeness: f32,
}

impl RecentPhotos {
    fn of_others(&self, who: &Who) -> Vec<Arc<Descriptor>> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = recent.iter().filter(|photo| photo.platform == who.platform && photo.learner != who.learner);
        others.map(|photo| photo.descriptor.clone()).collect()
    }

    fn add(&self, who: &Who, descriptor: Arc<Descriptor>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_LIMIT {
            recent.pop_front();
        }
        recent.push_back(Recent { platform: who.platform.clone(), learner: who.learner.clone(), descriptor });
    }
}

/// A face that matches in an earlier photo was not there again. What matches nobody (a covered lens is black each time)
/// stays what it is. When that cannot be looked up, nobody is verified.
pub(super) async fn unless_seen_before(
    services: &Services,
    who: &Who,
    key: &DataKey,
    session: SessionKey,
    capture: &str,
    check: Option<Check>,
) -> (Option<Check>, Option<SamePicture>) {
    let Some(check) = check else { return (None, None) };
    if check.outcome != Outcome::Match {
        return (Some(check), None);
    }
    let spoof = |check, reason| Some(Check { outcome: Outcome::Spoof, reason: Some(reason), ..check });
    let looked_up = async {
        if services.store.is_repeated_photo(session, capture).await? {
            return Ok((spoof(check, Reason::Repeated), None));
        }
        let limit_milli = who.policy.schedule.same_picture_milli;
        let Some(descriptor) = check.descriptor.clone().filter(|_| limit_milli < 1_000) else {
            return Ok((Some(check), None));
        };
        let name = PhotoName::capture(session, capture);
        match same_picture(services, who, key, &name, &descriptor, limit_milli).await? {
            Some(same) => Ok((spoof(check, Reason::SamePicture), Some(same))),
            None => {
                let sealed = key.seal(&services.entropy, &name.context(&who.learner), &descriptor.to_bytes());
                services.store.keep_descriptor(&who.learner, &name, sealed, services.clock.now_ms()).await?;
                services.recent_photos.add(who, Arc::new(descriptor));
                Ok((Some(check), None))
            }
        }
    };
    looked_up.await.unwrap_or_else(|error: StoreError| {
        tracing::error!(%error, capture, "a photo could not be told from earlier ones: its check counts as an error");
        (None, None)
    })
}

/// The earlier photo that is most like this one, if it is the same picture. `name` is this photo's own.
async fn same_picture(
    services: &Services,
    who: &Who,
    key: &DataKey,
    name: &PhotoName,
    descriptor: &Descriptor,
    limit_milli: i64,
) -> Result<Option<SamePicture>, StoreError> {
    let kept = services.store.descriptors(&who.learner).await?;
    let own = kept.into_iter().filter(|(photo, _)| photo != name).filter_map(|(photo, sealed)| {
        let opened = key.open(&photo.context(&who.learner), &sealed).ok();
        let earlier = if photo.is_enrolled() { Earlier::Enrolment } else { Earlier::Capture };
        let descriptor = opened.and_then(|bytes| Descriptor::from_bytes(&bytes));
        if descriptor.is_none() {
            tracing::error!(?photo, "what an earlier photo is known by cannot be read");
        }
        Some((earlier, Arc::new(descriptor?)))
    });
    let others = services.recent_photos.of_others(who).into_iter().map(|other| (Earlier::OtherLearner, other));
    let earlier: Vec<(Earlier, Arc<Descriptor>)> = own.chain(others).collect();
    let this = descriptor.clone();
    // Up to a millisecond for each that looks alike: too long between the events of other sessions.
    let compared = tokio::task::spawn_blocking(move || {
        let likenesses = earlier.into_iter().map(|(of, that)| SamePicture { of, likeness: this.likeness(&that) });
        likenesses
            .max_by(|a, b| a.likeness.total_cmp(&b.likeness))
            .filter(|most| most.likeness * 1_000.0 >= limit_milli as f32)
    });
    compared.await.map_err(|error| StoreError::Unfit(error.to_string()))
}
