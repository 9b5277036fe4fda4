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

/// Captures of all platforms that are kept in memory; each photo of one takes 4 kB.
const RECENT_LIMIT: usize = 1_024;
/// Photos of a capture that are kept to be known again: all of a plain burst, the first, the last and one between of more.
/// Against them is held every photo that comes.
const KEPT_OF_A_CAPTURE: usize = 3;

/// The last photos that matched, of whoever.
#[derive(Default)]
pub struct RecentPhotos(Mutex<VecDeque<Recent>>);

#[derive(Clone)]
struct Recent {
    platform: Arc<str>,
    learner: Arc<str>,
    descriptors: Arc<[Descriptor]>,
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
    fn of_others(&self, who: &Who) -> Vec<Arc<[Descriptor]>> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = recent.iter().filter(|photo| photo.platform == who.platform && photo.learner != who.learner);
        others.map(|photo| photo.descriptors.clone()).collect()
    }

    /// Forgets what is known of a learner's photos here. Other nodes hold theirs until newer ones push them out.
    pub(super) fn forget(&self, learner: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|photo| &*photo.learner != learner);
    }

    fn add(&self, who: &Who, descriptors: Arc<[Descriptor]>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_LIMIT {
            recent.pop_front();
        }
        recent.push_back(Recent { platform: who.platform.clone(), learner: who.learner.clone(), descriptors });
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
        if limit_milli >= 1_000 || check.descriptors.is_empty() {
            return Ok((Some(check), None));
        }
        let name = PhotoName::capture(session, capture);
        let these: Arc<[Descriptor]> = check.descriptors.as_slice().into();
        match same_picture(services, who, key, &name, these, limit_milli).await? {
            Some(same) => Ok((spoof(check, Reason::SamePicture), Some(same))),
            None => {
                let kept = to_keep(&check.descriptors);
                let bytes: Vec<u8> = kept.iter().flat_map(Descriptor::to_bytes).collect();
                let sealed = key.seal(&services.entropy, &name.context(&who.learner), &bytes);
                services.store.keep_descriptor(&who.learner, &name, sealed, services.clock.now_ms()).await?;
                services.recent_photos.add(who, kept.into());
                Ok((Some(check), None))
            }
        }
    };
    looked_up.await.unwrap_or_else(|error: StoreError| {
        tracing::error!(%error, capture, "a photo could not be told from earlier ones: its check counts as an error");
        (None, None)
    })
}

/// The first, the last, and as many between as are kept, evenly.
fn to_keep(all: &[Descriptor]) -> Vec<Descriptor> {
    let kept = all.len().min(KEPT_OF_A_CAPTURE);
    (0..kept).map(|number| all[number * (all.len() - 1) / (kept - 1).max(1)].clone()).collect()
}

/// The earlier photo that is most like one of these, if it is the same picture. `name` is their own capture's.
async fn same_picture(
    services: &Services,
    who: &Who,
    key: &DataKey,
    name: &PhotoName,
    these: Arc<[Descriptor]>,
    limit_milli: i64,
) -> Result<Option<SamePicture>, StoreError> {
    let kept = services.store.descriptors(&who.learner).await?;
    let own = kept.into_iter().filter(|(photo, _)| photo != name).filter_map(|(photo, sealed)| {
        let opened = key.open(&photo.context(&who.learner), &sealed).ok();
        let earlier = if photo.is_enrolled() { Earlier::Enrolment } else { Earlier::Capture };
        let descriptors: Option<Arc<[Descriptor]>> =
            opened.and_then(|bytes| bytes.chunks(Descriptor::BYTES).map(Descriptor::from_bytes).collect());
        if descriptors.is_none() {
            tracing::error!(?photo, "what an earlier photo is known by cannot be read");
        }
        Some((earlier, descriptors?))
    });
    let others = services.recent_photos.of_others(who).into_iter().map(|other| (Earlier::OtherLearner, other));
    let earlier: Vec<(Earlier, Arc<[Descriptor]>)> = own.chain(others).collect();
    // Up to a millisecond for each two that look alike: too long between the events of other sessions.
    let compared = tokio::task::spawn_blocking(move || {
        let pairs = earlier.iter().flat_map(|(of, those)| those.iter().map(|that| (*of, that)));
        let likenesses = pairs
            .flat_map(|(of, that)| these.iter().map(move |this| SamePicture { of, likeness: this.likeness(that) }));
        likenesses
            .max_by(|a, b| a.likeness.total_cmp(&b.likeness))
            .filter(|most| most.likeness * 1_000.0 >= limit_milli as f32)
    });
    compared.await.map_err(|error| StoreError::Unfit(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_forgotten_is_forgotten_in_memory_too() {
        let photos = RecentPhotos::default();
        for learner in ["a", "b"] {
            let recent = Recent { platform: "p".into(), learner: learner.into(), descriptors: Arc::new([]) };
            photos.0.lock().unwrap().push_back(recent);
        }
        photos.forget("a");
        assert_eq!(photos.0.lock().unwrap().iter().map(|photo| &*photo.learner).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn of_many_photos_the_first_the_last_and_one_between_are_kept() {
        let numbered = |count: usize| -> Vec<Descriptor> {
            (0..count).map(|number| Descriptor::from_bytes(&[number as u8; Descriptor::BYTES]).unwrap()).collect()
        };
        for (count, expected) in [(0, vec![]), (1, vec![0]), (2, vec![0, 1]), (3, vec![0, 1, 2]), (10, vec![0, 4, 9])] {
            let kept: Vec<u8> = to_keep(&numbered(count)).iter().map(|kept| kept.to_bytes()[0]).collect();
            assert_eq!(kept, expected, "of {count}");
        }
    }
}
