//! What is recorded is the same wherever a photo was looked at, and nobody but who asked reads or makes up anything.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::frame::Of;
use super::job::Job;
use super::told::Told;
use super::*;
use crate::clock::Entropy;
use crate::cluster::redis::{Answer, MESSAGE_LIMIT_BYTES, PhotoJob};
use crate::store::evidence::Evidence;
use crate::vision::people::{People, path};
use crate::vision::{
    Compared, Digest, Earlier, FaceBox, Flaw, Known, ModelDigests, NotDone, Outcome, PhotoError, Picture, Precision,
    Provider, Question, Reason, SamePicture, Turn, Urgency, VisionConfig, Wanted,
};

const OF: Of<'static> = Of { node: "asker", question: 7 };

struct Ground {
    _folder: tempfile::TempDir,
    evidence: Evidence,
    entropy: Entropy,
    master: DataKey,
    pool: Arc<VisionPool>,
    here: Faces,
    there: Desk,
}

fn models() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/cache"))
}

fn frame(name: &str, number: u32) -> Vec<u8> {
    let path = path(models(), name, number);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make models`", path.display()))
}

fn ground() -> Ground {
    let folder = tempfile::tempdir().unwrap();
    let evidence = Evidence::open(&folder.path().join("photos")).unwrap();
    let (entropy, clock) = (Entropy::seeded(1), Clock::manual(0));
    let master = DataKey::generate(&entropy);
    let pool = VisionPool::start(VisionConfig {
        models: models().to_owned(),
        workers: 1,
        queue: 8,
        wanted: Wanted::CPU,
        steady: clock.clone(),
    })
    .unwrap();
    let pool = Arc::new(pool);
    let here = Faces::here(pool.clone(), clock.clone());
    let there = Desk {
        pool: pool.clone(),
        evidence: evidence.clone(),
        master: master.clone(),
        entropy: entropy.clone(),
        steady: clock,
    };
    Ground { _folder: folder, evidence, entropy, master, pool, here, there }
}

fn asks() -> Asks {
    Asks { learner: "l-1".into(), urgency: Urgency::Start, limit_ms: 1 }
}

impl Ground {
    fn turn(&self) -> Turn {
        Turn { urgency: Urgency::Later, deadline_ms: self.pool.deadline_ms(1), asker: Asker::Node }
    }

    /// What comes back from the other node, once through all that it goes through.
    async fn there(&self, job: &Job) -> Told {
        let payload = job.seal(&self.master, &self.entropy, OF);
        let queued = PhotoJob { node: OF.node.into(), question: OF.question, is_start: false, wait_ms: 0, payload };
        let Answer::Checked { check } = self.there.answer(queued).await else { panic!("not looked at") };
        let sealed = STANDARD.decode(check.as_str().unwrap()).unwrap();
        assert!(Told::open(&self.master, Of { question: 8, ..OF }, &sealed).is_err(), "for this question alone");
        assert!(Told::open(&self.master, Of { node: "other", ..OF }, &sealed).is_err(), "and for this node");
        assert!(Told::open(&DataKey::generate(&self.entropy), OF, &sealed).is_err());
        Told::open(&self.master, OF, &sealed).unwrap()
    }
}

#[tokio::test]
async fn a_check_elsewhere_finds_what_a_check_here_finds_to_the_last_bit() {
    let ground = ground();
    let people = People::embedded();
    let person = people.person("webcam_man").unwrap();
    let enrolled = ground.pool.enrol(ground.turn(), frame("webcam_man", person.enrol).into()).await.unwrap();
    let key = DataKey::generate(&ground.entropy);
    let earlier = frame("webcam_man", *person.frames.last().unwrap());
    let picture =
        ground.pool.check(ground.turn(), earlier.clone().into(), enrolled.clone().into()).await.unwrap().pictures;
    let known =
        Known { pictures: picture.into_iter().map(|picture| (Earlier::Capture, picture)).collect(), least: 0.97 };
    assert_eq!(known.pictures.len(), 1);
    let question = Question { known, ..enrolled.into() };
    let photos = [
        ("match", frame("webcam_man", person.frames[3])),
        ("spoof", earlier),
        ("mismatch", frame("film_woman", people.person("film_woman").unwrap().enrol)),
        ("no_face", frame(&people.empty.name, people.empty.frames[0])),
        ("multiple_faces", frame(&people.several.name, people.several.frames[0])),
        ("unusable", b"no photo".to_vec()),
    ];
    for (number, (outcome, photo)) in photos.into_iter().enumerate() {
        let id = format!("photo-{number}");
        let evidence = ground.evidence.put(&ground.entropy, &key, &id, photo.clone()).await.unwrap();
        let kept = Kept { evidence, key: key.clone(), photo: photo.into() };
        let job = Job::Check { evidence: kept.evidence.clone(), key: key.clone(), question: question.clone() };
        let here = ground.here.check(kept, question.clone(), asks()).await.unwrap();
        assert_eq!(here.outcome.as_str(), outcome);
        assert_eq!(ground.there(&job).await, Told::Checked(Box::new(here)), "{outcome}");
    }
}

#[tokio::test]
async fn an_enrolment_elsewhere_is_one_here() {
    let ground = ground();
    let old = ground.pool.enrol(ground.turn(), frame("webcam_man", 1).into()).await.unwrap();
    let nobody = People::embedded().empty;
    for (photo, replaced) in [
        (frame("webcam_man", 2), None),
        (frame("webcam_man", 2), Some(old.clone())),
        (frame("film_woman", 80), Some(old)),
        (frame(&nobody.name, nobody.frames[0]), None),
        (b"no photo".to_vec(), None),
    ] {
        let job = Job::Enrol { photo: photo.clone().into(), replaced: replaced.clone() };
        let here = ground.here.enrol(photo, replaced).await;
        assert_eq!(ground.there(&job).await, Told::Enrolled(Box::new(here)));
    }
}

#[tokio::test]
async fn nothing_of_a_face_is_to_be_read_on_the_way() {
    let ground = ground();
    let photo = frame("webcam_man", 1);
    let template = ground.pool.enrol(ground.turn(), photo.clone().into()).await.unwrap();
    let key = DataKey::generate(&ground.entropy);
    let evidence = EvidenceId::parse("photo-of-somebody").unwrap();
    let enrolled = Enrolled { template: template.clone(), picture: None, replaced: None };
    let sealed = [
        Job::Check { evidence, key: key.clone(), question: template.clone().into() }.seal(
            &ground.master,
            &ground.entropy,
            OF,
        ),
        Job::Enrol { photo: photo.clone().into(), replaced: None }.seal(&ground.master, &ground.entropy, OF),
        Told::Enrolled(Box::new(Ok(enrolled))).seal(&ground.master, &ground.entropy, OF),
    ];
    let numbers = template.to_bytes()[100..132].to_vec();
    let secrets: [&[u8]; 4] = [&photo[..32], key.expose(), &numbers, b"photo-of-somebody"];
    for sealed in &sealed {
        for secret in secrets {
            assert!(!sealed.windows(secret.len()).any(|window| window == secret));
        }
    }
    assert!(Job::open(&ground.master, OF, &sealed[0]).is_ok());
    assert!(Job::open(&ground.master, Of { question: 8, ..OF }, &sealed[0]).is_err(), "a job is for one question");
    assert!(Told::open(&ground.master, OF, &sealed[0]).is_err(), "and no answer");
}

#[tokio::test]
async fn what_cannot_be_fetched_is_not_answered_as_if_it_had_been_looked_at() {
    let ground = ground();
    let enrolled = ground.pool.enrol(ground.turn(), frame("webcam_man", 1).into()).await.unwrap();
    let evidence = EvidenceId::parse("nowhere").unwrap();
    let job = Job::Check { evidence, key: DataKey::generate(&ground.entropy), question: enrolled.into() };
    let payload = job.seal(&ground.master, &ground.entropy, OF);
    let queued = PhotoJob { node: OF.node.into(), question: OF.question, is_start: false, wait_ms: 0, payload };
    let answer = ground.there.answer(queued).await;
    assert!(matches!(&answer, Answer::Failed { why } if why.contains("nowhere")), "{answer:?}");
}

fn a_check(faces: usize) -> Check {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let face =
        FaceBox { x: -0.1, y: 1e-30, width: 16_777_217.0, height: 1.0 / 3.0, score: 0.9, points: [[0.7, 0.3]; 5] };
    let models = ModelDigests {
        detector: digest("a"),
        near_detector: digest("near a"),
        recogniser: digest("b"),
        runtime: digest("c"),
        provider: Provider::Openvino,
        precision: Precision::Bf16,
    };
    Check {
        outcome: Outcome::MultipleFaces,
        similarity: Some(0.363),
        threshold: 0.45,
        faces: vec![face; faces],
        compared: Some(Compared { frame: 2, left_milli: -3, top_milli: 0, width_milli: 1_004, height_milli: 250 }),
        frames: 3,
        pictures: Picture::from_bytes(&[7; Picture::BYTES]).into_iter().collect(),
        same_picture: Some(SamePicture { of: Earlier::Enrolment, likeness: 0.1 + 0.2 }),
        ..Check::unanswered(digest("photo"), digest("enrolment"), models)
    }
}

#[test]
fn every_outcome_and_reason_comes_back_whole() {
    let (entropy, master) = (Entropy::seeded(2), DataKey::from_bytes([7; 32]));
    let back = |told: &Told| Told::open(&master, OF, &told.seal(&master, &entropy, OF)).unwrap();
    let photo_errors = [
        PhotoError::NotAPhoto,
        PhotoError::TooLarge { bytes: 600_000 },
        PhotoError::TooManyPixels { width_px: 65_000, height_px: 60 },
        PhotoError::Animated,
        PhotoError::Truncated,
        PhotoError::Broken("a bad\nmarker".into()),
        PhotoError::BadBurst("17 frames".into()),
    ];
    let reasons = [
        Reason::TooSmall,
        Reason::Rolled,
        Reason::UpsideDown,
        Reason::CutOff,
        Reason::OtherModel,
        Reason::Quality(Flaw::Backlit),
        Reason::Challenge(NotDone::NotBack),
        Reason::PersonChanged,
    ];
    let reasons: Vec<Reason> = (photo_errors.into_iter().map(Reason::Photo))
        .chain(reasons)
        .chain([Reason::Engine("the worker failed".into())])
        .collect();
    for reason in &reasons {
        let check = Check { outcome: Outcome::Unusable, reason: Some(reason.clone()), similarity: None, ..a_check(1) };
        let told = Told::Checked(Box::new(check));
        assert_eq!(back(&told), told);
        let told = Told::Enrolled(Box::new(Err(EnrolError::Unusable(reason.clone()))));
        assert_eq!(back(&told), told);
    }
    use Outcome::{Error, Match, Mismatch, MultipleFaces, NoFace, Unusable};
    for outcome in [Match, Mismatch, NoFace, MultipleFaces, Unusable, Error] {
        let told = Told::Checked(Box::new(Check { outcome, ..a_check(0) }));
        assert_eq!(back(&told), told);
    }
    for error in [EnrolError::NoFace, EnrolError::MultipleFaces, EnrolError::Engine("x".into()), Busy.into()] {
        let told = Told::Enrolled(Box::new(Err(error)));
        assert_eq!(back(&told), told);
    }
}

#[test]
fn a_photo_full_of_faces_can_be_answered() {
    let told = Told::Checked(Box::new(a_check(32)));
    let sealed = told.seal(&DataKey::from_bytes([7; 32]), &Entropy::seeded(2), OF);
    assert!(STANDARD.encode(sealed).len() + 1_024 < MESSAGE_LIMIT_BYTES);
}

proptest! {
    #[test]
    fn numbers_come_back_to_the_last_bit(numbers in prop::array::uniform6(proptest::num::f32::NORMAL | proptest::num::f32::ZERO)) {
        let [x, y, width, height, score, similarity] = numbers;
        let mut check = a_check(1);
        check.faces[0] = FaceBox { x, y, width, height, score, points: [[x, y]; 5] };
        check.similarity = Some(similarity);
        let (entropy, master, told) = (Entropy::seeded(2), DataKey::from_bytes([7; 32]), Told::Checked(Box::new(check)));
        prop_assert_eq!(Told::open(&master, OF, &told.seal(&master, &entropy, OF)).unwrap(), told);
    }
}
