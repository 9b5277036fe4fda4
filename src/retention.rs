//! Deletes what is past its retention: photos of captures, of which digest, log and verdict stay; deliveries that arrived or
//! were given up, and tokens that expired. Nothing else is ever deleted by age.
//!
//! It walks through the photos by age, once at the start and then once a day, in small batches, so that neither the
//! writer nor the store of photos notices. A photo is deleted first and noted then: what a crash cuts off in between is
//! found again by the next walk. Several nodes may walk at once; what one has deleted the other finds deleted.

use std::collections::HashSet;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::store::evidence::{Evidence, EvidenceId};
use crate::store::retention::{OldPhoto, Place};
use crate::store::{Store, StoreError};

/// Photos that are looked up together, and deliveries or tokens that are deleted together.
const BATCH: u32 = 200;
/// Photos that are deleted at the same time, and noted together.
const DELETING_LIMIT: usize = 8;
/// Photos in a row that cannot be deleted before a walk is given up: the reason is the same for all of them.
const FAILURES_LIMIT: u64 = 200;
/// How often the photos are walked through, ms.
const INTERVAL_MS: i64 = 86_400_000;
/// How long after a walk that could not be ended, ms.
const AGAIN_MS: i64 = 3_600_000;
/// How much later than anything on record a start may be for the clock to be believed at once, ms. A clock that is years
/// ahead would have everything deleted; a day gives whoever runs this the time to see it.
const FAR_FORWARD_MS: i64 = 4 * 86_400_000;

/// What the deletion works with.
pub struct Parts {
    /// the records
    pub store: Store,
    /// the photos
    pub evidence: Evidence,
    /// the clock of sessions, which their photos are stamped with
    pub clock: Clock,
    /// how long photos are kept after their session's end, ms; none: for ever
    pub keep_photos_ms: Option<i64>,
    /// how long deliveries are kept once they are over, and tokens once they have expired, ms; none: for ever
    pub keep_deliveries_ms: Option<i64>,
}

/// What a walk came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// photos that were deleted
    pub deleted: u64,
    /// photos that are old enough, and whose session is open, under review or named in a finding
    pub kept_back: u64,
    /// photos that could not be deleted
    pub failed: u64,
    /// whether all old photos were looked at
    pub ended: bool,
}

/// The deletion, while it runs.
pub struct Retention {
    stop: watch::Sender<bool>,
    walks: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Retention {
    /// Starts it.
    pub fn start(parts: Parts) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (walked, walks) = watch::channel(0);
        let started_ms = parts.clock.now_ms();
        let task = tokio::spawn(run(parts, started_ms, stopped, walked));
        Self { stop, walks, task }
    }

    /// How many walks have ended since the start, as a signal.
    pub fn walks(&self) -> watch::Receiver<u64> {
        self.walks.clone()
    }

    /// Stops; what was being deleted is noted by the next walk.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the deletion of old photos did not end well");
        }
    }
}

impl Drop for Retention {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(parts: Parts, started_ms: i64, mut stopped: watch::Receiver<bool>, walked: watch::Sender<u64>) {
    let work = async {
        if is_far_forward(&parts).await {
            parts.clock.sleep_until_ms(started_ms + INTERVAL_MS).await;
        }
        loop {
            let walk = parts.walk().await.unwrap_or_else(|error| {
                tracing::error!(%error, "old photos could not be looked up: trying again in an hour");
                Walk::default()
            });
            let pruned = parts.prune().await.unwrap_or_else(|error| {
                tracing::error!(%error, "old deliveries and tokens could not be deleted: trying again with the next walk");
                0
            });
            if pruned > 0 {
                tracing::info!(pruned, "deliveries and tokens past their retention were deleted");
            }
            if walk.deleted + walk.failed > 0 {
                tracing::info!(walk.deleted, walk.kept_back, walk.failed, "photos past their retention were deleted");
            }
            let next_ms = parts.clock.now_ms() + if walk.ended { INTERVAL_MS } else { AGAIN_MS };
            walked.send_modify(|count| *count += 1);
            parts.clock.sleep_until_ms(next_ms).await;
        }
    };
    tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}

/// Whether the clock is so much later than everything on record that it may be wrong.
async fn is_far_forward(parts: &Parts) -> bool {
    match parts.store.latest_stamp().await {
        Ok(Some(latest_ms)) if parts.clock.now_ms() - latest_ms > FAR_FORWARD_MS => {
            tracing::warn!(
                latest_ms,
                "the clock is days later than anything on record: if it is wrong, set it right and start the server again \
                 within a day, before photos and deliveries are deleted by it"
            );
            true
        }
        _ => false,
    }
}

impl Parts {
    /// Goes through all photos that are old enough, once.
    ///
    /// # Errors
    /// When the store fails; photos of which the deletion was not noted are found again.
    pub async fn walk(&self) -> Result<Walk, StoreError> {
        let Some(keep_ms) = self.keep_photos_ms else { return Ok(Walk { ended: true, ..Walk::default() }) };
        let before_ms = self.clock.now_ms() - keep_ms;
        let needed = self.store.sessions_of_undecided_findings().await?;
        let (mut walk, mut place, mut in_a_row) = (Walk::default(), Place::default(), 0);
        loop {
            let photos = self.store.photos_before(before_ms, &place, BATCH).await?;
            let Some(last) = photos.last() else {
                walk.ended = walk.failed == 0;
                return Ok(walk);
            };
            place = last.place().clone();
            let (old, kept) = sorted(photos, before_ms, &needed);
            walk.kept_back += kept;
            for photos in old.chunks(DELETING_LIMIT) {
                let failed_before = walk.failed;
                let away = self.delete(photos, &mut walk).await?;
                let failed = walk.failed - failed_before;
                in_a_row = if failed == photos.len() as u64 { in_a_row + failed } else { 0 };
                if away || in_a_row >= FAILURES_LIMIT {
                    return Ok(walk);
                }
            }
        }
    }

    /// Deletes the deliveries and tokens that have been over for long enough, a few at a time; how many they were.
    ///
    /// # Errors
    /// When the store fails; what is left goes with the next walk.
    pub async fn prune(&self) -> Result<u64, StoreError> {
        let Some(keep_ms) = self.keep_deliveries_ms else { return Ok(0) };
        let before_ms = self.clock.now_ms() - keep_ms;
        let mut pruned = 0;
        loop {
            let deliveries = self.store.delete_deliveries(before_ms, BATCH).await?;
            let tokens = self.store.delete_tokens(before_ms, BATCH).await?;
            pruned += deliveries + tokens;
            if deliveries.max(tokens) < u64::from(BATCH) {
                return Ok(pruned);
            }
        }
    }

    /// Deletes some photos and notes it. True: the store of photos is away.
    async fn delete(&self, photos: &[OldPhoto], walk: &mut Walk) -> Result<bool, StoreError> {
        let deleting = photos.iter().map(|photo| async move {
            let id = EvidenceId::parse(&photo.evidence)?;
            self.evidence.delete(&id).await
        });
        let (mut gone, mut away) = (Vec::new(), true);
        for (photo, deleted) in photos.iter().zip(join_all(deleting).await) {
            match deleted {
                Ok(()) => gone.push(photo.clone()),
                Err(error) => {
                    // The first stands for all of a walk; how many they were is said at its end.
                    if walk.failed == 0 {
                        tracing::warn!(%error, session = photo.session, "a photo past its retention cannot be deleted");
                    }
                    walk.failed += 1;
                    away &= error.is_passing();
                }
            }
        }
        if !gone.is_empty() {
            self.store.photos_deleted(&gone, self.clock.now_ms()).await?;
            walk.deleted += gone.len() as u64;
        }
        Ok(away && gone.is_empty())
    }
}

/// Those that nobody needs any more, and how many somebody does.
fn sorted(photos: Vec<OldPhoto>, before_ms: i64, needed: &HashSet<String>) -> (Vec<OldPhoto>, u64) {
    let may_go = |photo: &OldPhoto| photo.is_done_with(before_ms) && !needed.contains(&photo.session);
    let (old, kept): (Vec<_>, Vec<_>) = photos.into_iter().partition(may_go);
    (old, kept.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::DataKey;
    use crate::clock::Entropy;
    use crate::store::evidence::PHOTOS_FOLDER;
    use crate::store::{SessionKey, fixture};

    const DAY_MS: i64 = 86_400_000;
    const KEEP_MS: i64 = 100 * DAY_MS;
    /// When the sessions of the fixture ended.
    const ENDED_MS: i64 = 1_000_000;

    struct Home {
        _folder: tempfile::TempDir,
        folder: std::path::PathBuf,
        parts: Parts,
        clock: Clock,
    }

    impl Home {
        /// Closed and valid sessions 2 to 4, with a photo each that is really there.
        async fn new() -> Self {
            let (folder, store) = fixture::store_with_session("s1").await;
            let photos = folder.path().join(PHOTOS_FOLDER);
            let evidence = Evidence::open(&photos).unwrap();
            let entropy = Entropy::seeded(1);
            let key = DataKey::generate(&entropy);
            for session in 2..5 {
                let photo =
                    evidence.put(&entropy, &key, &format!("photo-{session}"), b"a face".to_vec()).await.unwrap();
                fixture::execute(
                    &store,
                    &format!(
                        "INSERT INTO learner (id, created_at) VALUES ('l{session}', 0);
                         INSERT INTO session (key, id, platform, learner, project, lesson, seed, opened_at, closed_at)
                             VALUES ({session}, 's{session}', 'p1', 'l{session}', 'j1', 'e1', x'00', 0, {ENDED_MS});
                         INSERT INTO photo (session, capture, digest, evidence, created_at)
                             VALUES ({session}, 'c1', 'd', '{photo}', {session});
                         INSERT INTO verdict (session, version, status, body, created_at)
                             VALUES ({session}, 1, 'valid', '{{}}', 0);"
                    ),
                )
                .await;
            }
            let clock = Clock::manual(ENDED_MS + KEEP_MS);
            let keep = Some(KEEP_MS);
            let parts = Parts { store, evidence, clock: clock.clone(), keep_photos_ms: keep, keep_deliveries_ms: keep };
            Self { _folder: folder, folder: photos, parts, clock }
        }

        async fn there(&self) -> Vec<i64> {
            let mut there = Vec::new();
            for session in 2..5 {
                let id = EvidenceId::parse(&format!("photo-{session}")).unwrap();
                let noted = self.parts.store.deleted_at(SessionKey(session), "c1").await.unwrap();
                if self.parts.evidence.has(&id).await.unwrap() {
                    there.push(session);
                } else {
                    assert!(noted.is_some(), "photo {session} is gone and nobody has noted it");
                }
            }
            there
        }
    }

    #[tokio::test]
    async fn a_photo_goes_when_its_session_is_older_than_the_retention_and_decided() {
        let home = Home::new().await;
        assert_eq!(home.parts.walk().await.unwrap(), Walk { kept_back: 3, ended: true, ..Walk::default() });
        assert_eq!(home.there().await, [2, 3, 4], "to the ms");
        fixture::execute(
            &home.parts.store,
            "UPDATE verdict SET status = 'review' WHERE session = 3;
             INSERT INTO finding (id, kind, code, subject, severity, state, strength, evidence, platforms, learners,
                 sessions, first_at, last_at, count)
             VALUES ('f', 'k', 'c', 's', 'low', 'open', 1, '{}', '[]', '[]', '[\"s4\"]', 0, 0, 1);",
        )
        .await;
        home.clock.advance_ms(1);
        let walk = home.parts.walk().await.unwrap();
        assert_eq!(walk, Walk { deleted: 1, kept_back: 2, failed: 0, ended: true });
        assert_eq!(home.there().await, [3, 4]);
        fixture::execute(
            &home.parts.store,
            "INSERT INTO verdict (session, version, status, body, created_at) VALUES (3, 2, 'invalid', '{}', 1);
             UPDATE finding SET state = 'dismissed';",
        )
        .await;
        assert_eq!(home.parts.walk().await.unwrap().deleted, 2);
        assert_eq!(home.there().await, [0; 0]);
        assert_eq!(home.parts.walk().await.unwrap(), Walk { ended: true, ..Walk::default() });
    }

    #[tokio::test]
    async fn what_a_crash_left_deleted_and_not_noted_is_noted() {
        let home = Home::new().await;
        home.clock.advance_ms(1);
        home.parts.evidence.delete(&EvidenceId::parse("photo-2").unwrap()).await.unwrap();
        assert_eq!(home.parts.walk().await.unwrap().deleted, 3);
        assert_eq!(home.there().await, [0; 0]);
    }

    #[tokio::test]
    async fn a_photo_that_cannot_be_deleted_stays_noted_as_there_and_holds_up_no_other() {
        let home = Home::new().await;
        home.clock.advance_ms(1);
        // A folder in the place of the file cannot be removed as one, by root either.
        let file = home.folder.join(crate::store::evidence::relative_path(&EvidenceId::parse("photo-3").unwrap()));
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        let walk = home.parts.walk().await.unwrap();
        assert_eq!(walk, Walk { deleted: 2, kept_back: 0, failed: 1, ended: false });
        assert_eq!(home.parts.store.deleted_at(SessionKey(3), "c1").await.unwrap(), None);
        std::fs::remove_dir(&file).unwrap();
        assert_eq!(home.parts.walk().await.unwrap(), Walk { deleted: 1, kept_back: 0, failed: 0, ended: true });
    }

    #[tokio::test]
    async fn deliveries_and_tokens_go_once_they_have_been_over_for_long_enough() {
        let home = Home::new().await;
        let store = &home.parts.store;
        store.add_platform_for_test("p9", "https://one.example/hook", vec![1]).await;
        for (event, ordering) in [("arrived", "a"), ("given up", "b"), ("waits", "c"), ("lately", "d")] {
            assert!(store.enqueue_for_test(event, "p9", ordering, 1).await);
        }
        let due = store.due_deliveries(1, 9, 9).await.unwrap();
        let id = |event: &str| due.iter().find(|due| due.event == event).unwrap().id;
        store.delivered(id("arrived"), ENDED_MS).await.unwrap();
        store.give_up(id("given up"), "gone", ENDED_MS).await.unwrap();
        store.delivered(id("lately"), ENDED_MS + 1).await.unwrap();
        // More than are deleted at once.
        for token in 0..BATCH + 5 {
            let (hash, expires_at) = (format!("{token:064x}"), if token < 3 { i64::MAX } else { ENDED_MS });
            let insert = format!("INSERT INTO token (hash, session, expires_at) VALUES (x'{hash}', 2, {expires_at})");
            fixture::execute(store, &insert).await;
        }
        assert_eq!(home.parts.prune().await.unwrap(), 0, "to the ms");
        home.clock.advance_ms(1);
        assert_eq!(home.parts.prune().await.unwrap(), 2 + u64::from(BATCH) + 2);
        assert_eq!(home.parts.prune().await.unwrap(), 0);
        for (event, is_there) in [("arrived", false), ("given up", false), ("waits", true), ("lately", true)] {
            assert_eq!(store.delivery_status(event).await.unwrap().is_some(), is_there, "{event}");
        }
        home.clock.advance_ms(1_000 * DAY_MS);
        assert_eq!(home.parts.prune().await.unwrap(), 1, "what waits never goes");
        let kept = Parts { keep_photos_ms: None, keep_deliveries_ms: None, ..home.parts };
        assert_eq!((kept.prune().await.unwrap(), kept.walk().await.unwrap().deleted), (0, 0));
        assert!(kept.store.delivery_status("waits").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn it_walks_at_the_start_and_once_a_day() {
        let home = Home::new().await;
        let lately = format!("UPDATE session SET opened_at = {} WHERE key = 1", home.clock.now_ms());
        fixture::execute(&home.parts.store, &lately).await;
        assert!(!is_far_forward(&home.parts).await);
        let retention = Retention::start(home.parts);
        let mut walks = retention.walks();
        walks.wait_for(|walks| *walks == 1).await.unwrap();
        home.clock.advance_ms(INTERVAL_MS);
        walks.wait_for(|walks| *walks == 2).await.unwrap();
        retention.shutdown().await;
    }

    #[tokio::test]
    async fn with_a_clock_that_is_far_ahead_it_waits_a_day_before_the_first() {
        let home = Home::new().await;
        assert!(is_far_forward(&home.parts).await, "100 days later than anything on record");
        let store = home.parts.store.clone();
        home.clock.advance_ms(1);
        let retention = Retention::start(home.parts);
        let mut walks = retention.walks();
        home.clock.advance_ms(INTERVAL_MS);
        walks.wait_for(|walks| *walks == 1).await.unwrap();
        let deleted_at = store.deleted_at(SessionKey(2), "c1").await.unwrap().unwrap();
        assert_eq!(deleted_at, home.clock.now_ms(), "not before the day was over");
        retention.shutdown().await;
    }
}
