//! Where photos are kept: one contract, held by a folder and by an S3-compatible store; and what only a store can do.

use std::fs;
use std::path::PathBuf;

use axum::http::{Method, StatusCode};
use futures_util::TryStreamExt as _;
use invigil::auth::keys::DataKey;
use invigil::clock::Entropy;
use invigil::config::{Config, EvidenceSettings, Secret};
use invigil::store::evidence::{Evidence, EvidenceError, EvidenceId, relative_path};

use crate::harness::s3::{HOST, KEY_ID, S3, SECRET, Trouble};
use crate::tls::Authority;

/// Where photos are kept, and the test's own way to what lies there.
struct Place {
    evidence: Evidence,
    entropy: Entropy,
    key: DataKey,
    files: PathBuf,
    s3: Option<S3>,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    async fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("photos");
        Self::new(Evidence::open(&files).unwrap(), files, None, Some(folder))
    }

    async fn s3() -> Self {
        let s3 = S3::start().await;
        let evidence = Evidence::configured(&configured(s3.settings())).unwrap();
        Self::new(evidence, s3.files(), Some(s3), None)
    }

    fn new(evidence: Evidence, files: PathBuf, s3: Option<S3>, folder: Option<tempfile::TempDir>) -> Self {
        let entropy = Entropy::seeded(1);
        let key = DataKey::generate(&entropy);
        Self { evidence, entropy, key, files, s3, _folder: folder }
    }

    fn store(&self) -> &S3 {
        self.s3.as_ref().unwrap()
    }

    async fn put(&self, id: &str, bytes: &[u8]) -> Result<EvidenceId, EvidenceError> {
        self.evidence.put(&self.entropy, &self.key, id, bytes.to_vec()).await
    }

    async fn get(&self, id: &EvidenceId) -> Result<Vec<u8>, EvidenceError> {
        self.evidence.get(&self.key, id).await
    }

    fn file(&self, id: &EvidenceId) -> PathBuf {
        self.files.join(relative_path(id))
    }

    async fn listed(&self) -> Vec<String> {
        let stored: Vec<_> = self.evidence.stored().try_collect().await.unwrap();
        assert!(stored.iter().all(|stored| stored.place.contains(&stored.name) && stored.written_at_ms > 0));
        let mut names: Vec<String> = stored.into_iter().map(|stored| stored.name).collect();
        names.sort();
        names
    }
}

fn configured(evidence: EvidenceSettings) -> Config {
    Config { evidence, data_folder: "/nowhere".into(), ..Config::default() }
}

/// Each of these over both.
macro_rules! contract {
    ($($name:ident)+) => {
        mod in_a_folder {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::folder().await).await;
            })+
        }
        mod in_s3 {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::s3().await).await;
            })+
        }
    };
}

contract! {
    what_was_put_comes_back_and_is_sealed_where_it_lies
    a_name_that_is_taken_is_refused_and_keeps_what_it_has
    a_changed_exchanged_or_foreign_photo_is_refused
    what_was_deleted_is_missing_and_may_be_deleted_again
    names_that_are_no_identifiers_are_refused
    everything_is_listed
    it_says_that_it_can_keep_photos_and_looks_the_same_afterwards
}

async fn what_was_put_comes_back_and_is_sealed_where_it_lies(place: Place) {
    let id = place.put("photo-1", b"a face").await.unwrap();
    assert_eq!(place.get(&id).await.unwrap(), b"a face");
    assert!(place.evidence.has(&id).await.unwrap());
    assert!(!fs::read(place.file(&id)).unwrap().windows(6).any(|window| window == b"a face"));
    let large = vec![7; 3 << 20];
    let id = place.put("photo-2", &large).await.unwrap();
    assert!(place.get(&id).await.unwrap() == large);
}

async fn a_name_that_is_taken_is_refused_and_keeps_what_it_has(place: Place) {
    let id = place.put("photo-1", b"one").await.unwrap();
    let taken = place.put("photo-1", b"another").await;
    assert!(matches!(&taken, Err(EvidenceError::Exists(taken)) if *taken == id), "{taken:?}");
    // The same photo sealed again is another one.
    assert!(matches!(place.put("photo-1", b"one").await, Err(EvidenceError::Exists(_))));
    assert_eq!(place.get(&id).await.unwrap(), b"one");
}

async fn a_changed_exchanged_or_foreign_photo_is_refused(place: Place) {
    let first = place.put("photo-1", b"one").await.unwrap();
    let second = place.put("photo-2", b"two").await.unwrap();
    let other = DataKey::generate(&place.entropy);
    assert!(matches!(place.evidence.get(&other, &first).await, Err(EvidenceError::Sealed { .. })));

    fs::copy(place.file(&second), place.file(&first)).unwrap();
    assert!(matches!(place.get(&first).await, Err(EvidenceError::Sealed { .. })), "exchanged");

    let mut bytes = fs::read(place.file(&second)).unwrap();
    bytes[20] ^= 1;
    fs::write(place.file(&second), bytes).unwrap();
    assert!(matches!(place.get(&second).await, Err(EvidenceError::Sealed { .. })), "changed");
}

async fn what_was_deleted_is_missing_and_may_be_deleted_again(place: Place) {
    let id = place.put("photo-1", b"one").await.unwrap();
    place.evidence.delete(&id).await.unwrap();
    assert!(matches!(place.get(&id).await, Err(EvidenceError::Missing(missing)) if missing == id));
    assert!(!place.evidence.has(&id).await.unwrap());
    assert!(!place.file(&id).exists());
    place.evidence.delete(&id).await.unwrap();
}

async fn names_that_are_no_identifiers_are_refused(place: Place) {
    for name in ["", "../photo", "a/b"] {
        assert!(matches!(place.put(name, b"one").await, Err(EvidenceError::Id(_))), "{name:?}");
    }
    assert_eq!(place.listed().await, [""; 0]);
}

async fn everything_is_listed(place: Place) {
    for name in ["photo-1", "photo-2", "photo-3"] {
        place.put(name, b"a face").await.unwrap();
    }
    place.evidence.delete(&EvidenceId::parse("photo-2").unwrap()).await.unwrap();
    assert_eq!(place.listed().await, ["photo-1", "photo-3"]);
}

async fn it_says_that_it_can_keep_photos_and_looks_the_same_afterwards(place: Place) {
    place.evidence.remove_drafts().unwrap();
    for _ in 0..2 {
        place.evidence.check().await.unwrap();
    }
    assert_eq!(place.listed().await, [""; 0]);
}

/// An error names the object, and nothing of the key pair.
fn words(error: &EvidenceError) -> String {
    let said = format!("{error} {error:?}");
    assert!(!said.contains(KEY_ID) && !said.contains(SECRET), "{said}");
    assert!(said.contains("photo-1") && said.contains("s3://evidence/photos/of-tests"), "{said}");
    said
}

#[tokio::test]
async fn every_put_is_conditional_and_carries_its_digest() {
    let place = Place::s3().await;
    place.put("photo-1", b"a face").await.unwrap();
    let puts = place.store().seen(&Method::PUT);
    assert_eq!(puts.len(), 1);
    assert_eq!(puts[0]["if-none-match"], "*");
    assert!(puts[0].contains_key("x-amz-checksum-sha256"));
}

#[tokio::test]
async fn a_body_that_was_changed_on_its_way_is_never_kept() {
    let place = Place::s3().await;
    place.store().give_trouble(usize::MAX, Trouble::FlipsABit);
    let refused = place.put("photo-1", b"a face").await.unwrap_err();
    assert!(words(&refused).contains("the store answered"), "{refused}");
    assert_eq!(place.listed().await, [""; 0]);
    // This store calls it its own failure, so that it is sent again; what arrives whole is kept.
    place.store().give_trouble(1, Trouble::FlipsABit);
    let id = place.put("photo-1", b"a face").await.unwrap();
    assert_eq!(place.get(&id).await.unwrap(), b"a face");
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_no_error_and_keeps_one_photo() {
    for trouble in [Trouble::LosesTheAnswer, Trouble::Hangs] {
        let place = Place::s3().await;
        place.store().give_trouble(1, trouble);
        let id = place.put("photo-1", b"a face").await.unwrap_or_else(|error| panic!("{trouble:?}: {error}"));
        assert_eq!(place.get(&id).await.unwrap(), b"a face");
        assert!(place.store().seen(&Method::PUT).len() >= 2, "{trouble:?}");
        assert_eq!(place.listed().await, ["photo-1"]);
        // That somebody else's photo has the name is still seen.
        place.store().give_trouble(1, trouble);
        assert!(matches!(place.put("photo-1", b"another").await, Err(EvidenceError::Exists(_))));
    }
}

#[tokio::test]
async fn a_store_that_is_busy_is_asked_again_and_not_for_ever() {
    let place = Place::s3().await;
    place.store().give_trouble(2, Trouble::Answers(StatusCode::SERVICE_UNAVAILABLE));
    let id = place.put("photo-1", b"a face").await.unwrap();
    assert_eq!(place.get(&id).await.unwrap(), b"a face");

    let place = Place::s3().await;
    place.store().give_trouble(usize::MAX, Trouble::Answers(StatusCode::SERVICE_UNAVAILABLE));
    let busy = place.put("photo-1", b"a face").await.unwrap_err();
    assert!(busy.is_passing() && words(&busy).contains("503 Service Unavailable, SlowDown"), "{busy}");
    assert_eq!(place.listed().await, [""; 0]);
}

#[tokio::test]
async fn a_store_that_is_away_is_told_from_one_that_refuses() {
    let mut place = Place::s3().await;
    place.s3.as_mut().unwrap().stop().await;
    let away = place.put("photo-1", b"a face").await.unwrap_err();
    assert!(away.is_passing(), "{away}");
    words(&away);
    let id = EvidenceId::parse("photo-1").unwrap();
    assert!(place.get(&id).await.unwrap_err().is_passing());
    assert!(place.evidence.delete(&id).await.unwrap_err().is_passing());
    assert!(place.evidence.has(&id).await.unwrap_err().is_passing());
    place.s3.as_mut().unwrap().start_again().await;
    place.put("photo-1", b"a face").await.unwrap();

    let secret_access_key = Some(Secret::new("another"));
    let stranger = EvidenceSettings { secret_access_key, ..place.store().settings() };
    let stranger = Evidence::configured(&configured(stranger)).unwrap();
    let refused = stranger.get(&place.key, &id).await.unwrap_err();
    assert!(!refused.is_passing() && words(&refused).contains("403 Forbidden, SignatureDoesNotMatch"), "{refused}");
    assert!(!stranger.check().await.unwrap_err().is_passing());
    assert!(!stranger.delete(&id).await.unwrap_err().is_passing());

    let elsewhere = EvidenceSettings { url: Some("s3://nobodys".into()), ..place.store().settings() };
    let elsewhere = Evidence::configured(&configured(elsewhere)).unwrap();
    let refused = elsewhere.check().await.unwrap_err();
    assert!(!refused.is_passing() && refused.to_string().contains("NoSuchBucket"), "{refused}");
    // That there is no bucket does not mean that the photo is gone.
    let refused = elsewhere.get(&place.key, &id).await.unwrap_err();
    assert!(!matches!(refused, EvidenceError::Missing(_)), "{refused}");
}

#[tokio::test]
async fn a_store_is_trusted_by_the_certificates_that_are_named_and_by_no_others() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.issue_for(HOST, folder.path());
    authority.write(folder.path());
    let s3 = S3::start_with_tls(folder.path()).await;
    let check = async |ca_file| {
        let settings = EvidenceSettings { ca_file, allow_http: false, ..s3.settings() };
        Evidence::configured(&configured(settings)).unwrap().check().await
    };
    check(Some(folder.path().join("ca.pem"))).await.unwrap();
    let refused = check(None).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
    let other = tempfile::tempdir().unwrap();
    Authority::new().write(other.path());
    let refused = check(Some(other.path().join("ca.pem"))).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

#[tokio::test]
async fn a_store_that_replaces_what_it_has_is_refused() {
    let place = Place::s3().await;
    place.store().give_trouble(usize::MAX, Trouble::Replaces);
    let refused = place.evidence.check().await.unwrap_err();
    assert!(!refused.is_passing() && refused.to_string().contains("If-None-Match"), "{refused}");
}
