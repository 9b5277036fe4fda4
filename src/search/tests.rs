//! Searches that are made by themselves, over a real store: whom they find, and what is on record then.

use serde_json::{Value, json};

use super::worker::Means;
use super::*;
use crate::auth::keys::DataKey;
use crate::clock::{Clock, Entropy};
use crate::policy::Policies;
use crate::risk::{FaceSearch, SightingKind};
use crate::store::enrolled_photos::{NewEnrolledPhoto, seal_template};
use crate::store::face_searches::DueSearch;
use crate::store::findings::{FindingFilter, FindingRecord};
use crate::store::fixture;
use crate::store::learners::NamedLearner;
use crate::store::page::PageRequest;
use crate::vision::search::made_up;

const AT: i64 = 1_790_000_000_000;
const RECOGNISER: Digest = Digest([7; 32]);

struct Ground {
    _folder: tempfile::TempDir,
    means: Means,
}

impl Ground {
    async fn new() -> Self {
        let (folder, store) = fixture::store_with_session("s1").await;
        let (clock, entropy) = (Clock::manual(AT), Entropy::seeded(3));
        let keys = Arc::new(Keys::open_or_create(folder.path(), &entropy).unwrap());
        let policies = Policies::new(Vec::new()).unwrap();
        let means = Means { store, keys, policies, clock: clock.clone(), wall: clock, entropy };
        Self { _folder: folder, means }
    }

    /// A learner of platform `p1`, who is enrolled in class 二班 of its project.
    async fn learner(&self, id: &str, numbers: [f32; 128]) {
        let Means { store, keys, entropy, .. } = &self.means;
        let key = DataKey::generate(entropy);
        let named = NamedLearner {
            platform: "p1".into(),
            identity: Digest::of(id.as_bytes()).0,
            external_reference: None,
            new_id: id.into(),
            new_data_key: keys.wrap(entropy, id, &key),
            new_person: vec![1],
            known: None,
            now_ms: AT,
        };
        store.name_learner(named).await.unwrap().unwrap();
        let sql = format!(
            "INSERT INTO enrolment (id, project, learner, class, created_at) VALUES ('n{id}', 'j1', '{id}', '二班', 0);"
        );
        fixture::execute(store, &sql).await;
        self.photo(id, 1, numbers).await;
    }

    async fn photo(&self, id: &str, version: i64, numbers: [f32; 128]) {
        let Means { store, keys, entropy, .. } = &self.means;
        let sealed = store.sealed_data_key(id).await.unwrap().unwrap();
        let photo = Digest::of(format!("{id} {version}").as_bytes());
        let template = made_up::template(numbers, RECOGNISER, photo).to_bytes();
        let new = NewEnrolledPhoto {
            descriptor: None,
            learner: id.into(),
            version,
            digest: photo.to_string(),
            evidence: format!("photo {id} {version}"),
            template: seal_template(&keys.unwrap(id, &sealed).unwrap(), entropy, id, version, &template),
            platform: "p1".into(),
            created_at: AT + version,
        };
        assert!(store.put_enrolled_photo(new).await.unwrap());
    }

    /// Makes all that is due.
    async fn search(&self) {
        while self.means.round().await.unwrap() > 0 {}
    }

    async fn findings(&self) -> Vec<FindingRecord> {
        self.means.store.findings(FindingFilter::default(), PageRequest::default()).await.unwrap().items
    }
}

fn name(number: u64) -> String {
    format!("l{number:03}")
}

#[tokio::test]
async fn whoever_enrols_with_the_face_of_another_is_found_and_strangers_are_not() {
    let ground = Ground::new().await;
    for number in 0..60 {
        ground.learner(&name(number), made_up::numbers(number)).await;
    }
    ground.search().await;
    assert_eq!(ground.findings().await, []);
    ground.learner("l900", made_up::like(17, 0.68, 5_000)).await;
    ground.search().await;
    let [finding] = ground.findings().await.try_into().unwrap();
    assert_eq!((finding.code.as_str(), finding.subject.as_str()), ("face_learners", "face:l017"));
    assert_eq!((finding.learners, finding.platforms), (vec!["l017".to_owned(), "l900".into()], vec!["p1".to_owned()]));
    assert_eq!(finding.severity.as_str(), "medium");
    let evidence = Value::Object(finding.evidence);
    let digests: Vec<&str> =
        evidence["photos"].as_array().unwrap().iter().map(|photo| photo["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, ["l900 1", "l017 1"].map(|photo| Digest::of(photo.as_bytes()).to_string()));
    assert_eq!((&evidence["compared"], &evidence["similarity"]), (&json!(60), &json!(0.68)));
    let number = |name: &str| evidence[name].as_f64().unwrap();
    let allowed = evidence["thresholds"]["false_hits_day"].as_f64().unwrap();
    assert!(number("expected_false_hits_day") <= allowed && number("expected_false_hits") < 0.01, "{evidence}");
    // A third is more than twins.
    ground.learner("l901", made_up::like(17, 0.9, 5_001)).await;
    ground.search().await;
    let [finding] = ground.findings().await.try_into().unwrap();
    assert_eq!((finding.severity.as_str(), finding.learners.len()), ("high", 3));
    let day = ground.means.store.searched_day(SearchKind::Platform, AT).await.unwrap();
    assert!(day.searches == 62 && day.expected_nano > 0, "{day:?}");
    // What is on record says nothing more to do.
    assert_eq!(ground.means.round().await.unwrap(), 0);
}

#[tokio::test]
async fn a_set_of_several_pages_is_searched_to_its_end() {
    let ground = Ground::new().await;
    let scope = Scope::Platform("p1".into());
    let count = u64::from(PAGE) + 5;
    for number in 0..count {
        ground.learner(&name(number), made_up::numbers(number)).await;
    }
    let Means { store, keys, .. } = &ground.means;
    let photo = store.enrolled_photo(&name(count - 1)).await.unwrap().unwrap();
    let mut probe = Probe::of(&photo, keys).unwrap();
    probe.face = None;
    let sweep = sweep(store, keys, &scope, vec![probe], Manner::Each).await.unwrap();
    let result = sweep.of_probe(0, 1, 1.0);
    assert_eq!((result.compared, result.hits.len()), (count, 1));
    assert_eq!(result.hits[0].face.learner, name(count - 1));
    assert_eq!(all_of(store, keys, &scope).await.unwrap().unwrap().len() as u64, count);
}

#[tokio::test]
async fn replacements_that_lead_to_another_face_step_by_step_are_found() {
    let ground = Ground::new().await;
    ground.learner("l001", made_up::numbers(1)).await;
    ground.photo("l001", 2, made_up::like(1, 0.8, 2)).await;
    ground.search().await;
    assert_eq!(ground.findings().await, []);
    ground.photo("l001", 3, made_up::numbers(2)).await;
    ground.search().await;
    let [finding] = ground.findings().await.try_into().unwrap();
    assert_eq!((finding.code.as_str(), finding.subject.as_str()), ("faces_of_learner", "learner:l001"));
    let photos = &finding.evidence["photos"];
    assert_eq!((&photos[0]["version"], &photos[1]["version"]), (&json!(1), &json!(3)));
}

#[tokio::test]
async fn those_of_one_device_are_compared_when_one_of_them_is_matched() {
    let ground = Ground::new().await;
    ground.learner("l001", made_up::numbers(1)).await;
    ground.learner("l002", made_up::like(1, 0.5, 2)).await;
    ground.learner("l003", made_up::numbers(3)).await;
    ground.search().await;
    let before = ground.findings().await.len();
    for learner in ["l001", "l002", "l003"] {
        let sql = format!(
            "INSERT INTO risk_sighting (day, kind, value, learner, at, faulty) VALUES (1, 'device', '00ff', '{learner}', 1, 0);"
        );
        fixture::execute(&ground.means.store, &sql).await;
    }
    let search = FaceSearch { kind: SightingKind::Device, value: "00ff".into(), learner: "l002".into(), at: AT };
    let due = DueSearch { scope: Scope::Device(search.value.to_string()), learner: search.learner.to_string(), at: AT };
    ground.means.store.ask_face_searches(vec![due]).await.unwrap();
    ground.search().await;
    let findings = ground.findings().await;
    assert_eq!((before, findings.len()), (1, 1));
    assert_eq!(
        (&findings[0].evidence["scope"], &findings[0].evidence["search"]),
        (&json!("device:00ff"), &json!("device"))
    );
    assert_eq!(findings[0].evidence["compared"], 2);
}

#[tokio::test]
async fn a_learner_who_was_forgotten_is_looked_for_no_more() {
    let ground = Ground::new().await;
    ground.learner("l001", made_up::numbers(1)).await;
    ground.learner("l002", made_up::numbers(1)).await;
    let _ = ground.means.store.forget_learner("l001", AT).await.unwrap();
    ground.search().await;
    assert_eq!(ground.findings().await, []);
    assert_eq!(ground.means.store.due_face_searches(9).await.unwrap(), []);
}

#[tokio::test]
async fn faces_that_another_model_described_are_counted_and_not_compared() {
    let ground = Ground::new().await;
    for number in 0..3 {
        ground.learner(&name(number), made_up::numbers(number)).await;
    }
    let Means { store, keys, .. } = &ground.means;
    let template = made_up::template(made_up::numbers(1), Digest([8; 32]), Digest([1; 32]));
    let scope = Scope::Platform("p1".into());
    let probe = Probe { face: None, template };
    let sweep = sweep(store, keys, &scope, vec![probe], Manner::Each).await.unwrap();
    let result = sweep.of_probe(0, 1, 1.0);
    assert_eq!((result.compared, result.other_model, result.hits.len()), (0, 3, 0));
}
