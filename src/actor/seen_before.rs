//! Whether the photo of a capture was there before: the very bytes, or the same picture, altered.
//!
//! The learner's own photos are known again by what the store keeps of them. Those of a platform's other learners, which
//! one picture may have served as well, by a list in memory of the last ones that matched here: it is lost with the process,
//! and each node has its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Services;
use crate::auth::keys::DataKey;
use crate::risk::Who;
use crate::store::descriptors::PhotoName;
use crate::store::{SessionKey, StoreError};
use crate::vision::{Check, Earlier, Known, Outcome, Picture, Reason, SamePicture};

/// Captures of all platforms that are kept in memory; each photo of one takes 4.3 kB.
const RECENT_LIMIT: usize = 1_024;
/// Photos of a capture that are kept to be known again: all of a plain burst, the first, the last and one between of more.
/// Against them is held every photo that comes.
const KEPT_OF_A_CAPTURE: usize = 3;
/// Earlier photos that are known again before a network looks: of the enrolments, and of the newest captures, eight where
/// each has three. They travel with the question; older ones are held against photos that have matched.
const KNOWN_AT_ONCE: usize = 24;

/// The last photos that matched, of whoever.
#[derive(Default)]
pub struct RecentPhotos(Mutex<VecDeque<Recent>>);

#[derive(Clone)]
struct Recent {
    platform: Arc<str>,
    learner: Arc<str>,
    pictures: Arc<[Picture]>,
}

/// A learner's own earlier photos, by capture and enrolment, the newest first.
pub(super) struct EarlierPhotos {
    photos: Vec<(Earlier, Arc<[Picture]>)>,
    limit_milli: i64,
}

impl EarlierPhotos {
    /// Those before this capture.
    pub(super) async fn before(
        services: &Services,
        who: &Who,
        key: &DataKey,
        session: SessionKey,
        capture: &str,
    ) -> Result<Self, StoreError> {
        let limit_milli = who.policy.schedule.same_picture_milli;
        if limit_milli >= 1_000 {
            return Ok(Self { photos: Vec::new(), limit_milli });
        }
        let name = PhotoName::capture(session, capture);
        let kept = services.store.descriptors(&who.learner).await?;
        let others = kept.into_iter().filter(|(photo, _)| *photo != name);
        let photos = others.filter_map(|(photo, sealed)| {
            let opened = key.open(&photo.context(&who.learner), &sealed).ok();
            let of = if photo.is_enrolled() { Earlier::Enrolment } else { Earlier::Capture };
            let pictures: Option<Arc<[Picture]>> =
                opened.and_then(|bytes| bytes.chunks(Picture::BYTES).map(Picture::from_bytes).collect());
            if pictures.is_none() {
                tracing::error!(?photo, "what an earlier photo is known by cannot be read");
            }
            Some((of, pictures?))
        });
        Ok(Self { photos: photos.collect(), limit_milli })
    }

    /// What whoever looks at a photo is told of them.
    pub(super) fn known(&self) -> Known {
        let of = |wanted: Earlier| {
            let all = self.photos.iter().filter(move |(of, _)| *of == wanted);
            all.flat_map(|(of, pictures)| pictures.iter().map(|picture| (*of, picture.clone())))
        };
        let pictures = of(Earlier::Enrolment).chain(of(Earlier::Capture)).take(KNOWN_AT_ONCE).collect();
        Known { pictures, least: self.limit_milli as f32 / 1_000.0 }
    }
}

impl RecentPhotos {
    fn of_others(&self, who: &Who) -> Vec<Arc<[Picture]>> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = recent.iter().filter(|photo| photo.platform == who.platform && photo.learner != who.learner);
        others.map(|photo| photo.pictures.clone()).collect()
    }

    /// Forgets what is known of a learner's photos here. Other nodes hold theirs until newer ones push them out.
    pub(super) fn forget(&self, learner: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|photo| &*photo.learner != learner);
    }

    fn add(&self, who: &Who, pictures: Arc<[Picture]>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_LIMIT {
            recent.pop_front();
        }
        recent.push_back(Recent { platform: who.platform.clone(), learner: who.learner.clone(), pictures });
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
    (check, earlier): (Check, EarlierPhotos),
) -> Result<Check, StoreError> {
    // Earlier photos are of a match: so is what is one of them.
    if check.outcome != Outcome::Match && check.same_picture.is_none() {
        return Ok(check);
    }
    let spoof = |check, reason| Check { outcome: Outcome::Spoof, reason: Some(reason), ..check };
    if services.store.is_repeated_photo(session, capture).await? {
        return Ok(Check { same_picture: None, ..spoof(check, Reason::Repeated) });
    }
    let limit_milli = earlier.limit_milli;
    if limit_milli >= 1_000 || check.same_picture.is_some() || check.pictures.is_empty() {
        return Ok(check);
    }
    let others = services.recent_photos.of_others(who).into_iter().map(|other| (Earlier::OtherLearner, other));
    let all = earlier.photos.into_iter().chain(others).collect();
    if let Some(same) = same_picture(check.pictures.as_slice().into(), all, limit_milli).await? {
        return Ok(Check { same_picture: Some(same), ..spoof(check, Reason::SamePicture) });
    }
    let name = PhotoName::capture(session, capture);
    let kept = to_keep(&check.pictures);
    let bytes: Vec<u8> = kept.iter().flat_map(Picture::to_bytes).collect();
    let sealed = key.seal(&services.entropy, &name.context(&who.learner), &bytes);
    services.store.keep_descriptor(&who.learner, &name, sealed, services.clock.now_ms()).await?;
    services.recent_photos.add(who, kept.into());
    Ok(check)
}

/// The first, the last, and as many between as are kept, evenly.
fn to_keep(all: &[Picture]) -> Vec<Picture> {
    let kept = all.len().min(KEPT_OF_A_CAPTURE);
    (0..kept).map(|number| all[number * (all.len() - 1) / (kept - 1).max(1)].clone()).collect()
}

/// The earlier photo that is most like one of these, if it is the same picture.
async fn same_picture(
    these: Arc<[Picture]>,
    earlier: Vec<(Earlier, Arc<[Picture]>)>,
    limit_milli: i64,
) -> Result<Option<SamePicture>, StoreError> {
    // Up to a millisecond for each two that look alike: too long between the events of other sessions.
    let compared = tokio::task::spawn_blocking(move || {
        let pairs = earlier.iter().flat_map(|(of, those)| those.iter().map(|that| (*of, that)));
        let likenesses = pairs.flat_map(|(of, that)| {
            let likeness = |this: &Picture| this.descriptor.likeness(&that.descriptor);
            these.iter().map(move |this| SamePicture { of, likeness: likeness(this) })
        });
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
            let recent = Recent { platform: "p".into(), learner: learner.into(), pictures: Arc::new([]) };
            photos.0.lock().unwrap().push_back(recent);
        }
        photos.forget("a");
        assert_eq!(photos.0.lock().unwrap().iter().map(|photo| &*photo.learner).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn of_many_photos_the_first_the_last_and_one_between_are_kept() {
        let numbered = |count: usize| -> Vec<Picture> {
            (0..count).map(|number| Picture::from_bytes(&[number as u8; Picture::BYTES]).unwrap()).collect()
        };
        for (count, expected) in [(0, vec![]), (1, vec![0]), (2, vec![0, 1]), (3, vec![0, 1, 2]), (10, vec![0, 4, 9])] {
            let kept: Vec<u8> = to_keep(&numbered(count)).iter().map(|kept| kept.to_bytes()[0]).collect();
            assert_eq!(kept, expected, "of {count}");
        }
    }

    #[test]
    fn of_many_photos_the_enrolments_and_the_newest_are_known_at_once() {
        let pictures = |number: u8| Arc::from([Picture::from_bytes(&[number; Picture::BYTES]).unwrap()]);
        let captures = (0..100).map(|number| (Earlier::Capture, pictures(number)));
        let photos = captures.chain([(Earlier::Enrolment, pictures(200))]).collect();
        let known = EarlierPhotos { photos, limit_milli: 970 }.known();
        let first: Vec<(Earlier, u8)> =
            known.pictures.iter().map(|(of, picture)| (*of, picture.to_bytes()[0])).collect();
        assert_eq!(first[..3], [(Earlier::Enrolment, 200), (Earlier::Capture, 0), (Earlier::Capture, 1)]);
        assert_eq!((first.len(), known.least), (KNOWN_AT_ONCE, 0.97));
    }
}
