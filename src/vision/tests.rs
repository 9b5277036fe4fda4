//! What a check says of real photos, and of what was never a photo. The photos are those of `make models`; without
//! them these tests fail, and say so.

use axum::body::Bytes;
use image::{DynamicImage, ImageFormat, RgbImage};
use std::cell::RefCell;
use std::path::Path;

use super::people::People;
use super::*;
use crate::clock::Clock;

pub(super) fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/cache"))
}

pub(super) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}; run `make models`", path.display()))
}

pub(super) fn enrolment(name: &str) -> Vec<u8> {
    read(&People::embedded().person(name).unwrap().enrol_path(folder()))
}

pub(super) fn frames(name: &str) -> Vec<Vec<u8>> {
    let paths = People::embedded().person(name).unwrap().frame_paths(folder());
    paths.iter().map(|path| read(path)).collect()
}

/// Opening the models takes longer than any check, so each test thread opens them once.
pub(super) fn with_checker<T>(work: impl FnOnce(&mut Checker) -> T) -> T {
    thread_local!(static CHECKER: RefCell<Option<Checker>> = const { RefCell::new(None) });
    CHECKER.with_borrow_mut(|checker| {
        work(checker.get_or_insert_with(|| {
            let models = Models::load_with(folder(), Wanted::CPU).unwrap_or_else(|error| panic!("{error}"));
            Checker::new(&models).unwrap_or_else(|error| panic!("{error}"))
        }))
    })
}

fn check(photo: &[u8], enrolled: &str) -> Check {
    check_against(photo, enrolled, Asked::PHOTO)
}

pub(super) fn check_against(submission: &[u8], enrolled: &str, asked: Asked) -> Check {
    with_checker(|checker| {
        let enrolled = checker.enrol(&enrolment(enrolled)).unwrap();
        checker.check(submission, &Question { asked, ..enrolled.into() })
    })
}

/// The outcome's word, and the reason's if there is one.
fn words(photo: &[u8], enrolled: &str) -> String {
    let check = check(photo, enrolled);
    let reason = check.reason.map(|reason| format!(" {}", reason.as_str())).unwrap_or_default();
    format!("{}{reason}", check.outcome.as_str())
}

pub(super) fn picture(photo: &[u8]) -> RgbImage {
    image::load_from_memory(photo).unwrap().into_rgb8()
}

fn encoded(picture: RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(super) fn jpeg(picture: RgbImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Jpeg)
}

/// `picture` in the middle of a grey square, turned by `degrees`.
pub(super) fn tilted(picture: &RgbImage, degrees: f32) -> RgbImage {
    let side = (picture.width() as f32).hypot(picture.height() as f32) as u32;
    let (sine, cosine) = degrees.to_radians().sin_cos();
    let middle = side as f32 / 2.0;
    RgbImage::from_fn(side, side, |x, y| {
        let (x, y) = (x as f32 - middle, y as f32 - middle);
        let from_x = cosine * x + sine * y + picture.width() as f32 / 2.0;
        let from_y = cosine * y - sine * x + picture.height() as f32 / 2.0;
        let inside = from_x >= 0.0 && from_y >= 0.0;
        let found = inside.then(|| picture.get_pixel_checked(from_x as u32, from_y as u32)).flatten();
        found.copied().unwrap_or(image::Rgb([128; 3]))
    })
}

fn resized(picture: &RgbImage, width: u32) -> RgbImage {
    let height = picture.height() * width / picture.width();
    image::imageops::resize(picture, width, height, image::imageops::FilterType::Triangle)
}

fn side_by_side(left: &RgbImage, right: &RgbImage) -> RgbImage {
    let mut both = RgbImage::new(left.width() + right.width(), left.height().max(right.height()));
    image::imageops::replace(&mut both, left, 0, 0);
    image::imageops::replace(&mut both, right, i64::from(left.width()), 0);
    both
}

// --- who it is -----------------------------------------------------------------------------------------------------

#[test]
fn every_listed_frame_matches_its_own_enrolment() {
    for person in People::embedded().people {
        for (index, frame) in frames(&person.name).iter().enumerate().step_by(5) {
            assert_eq!(words(frame, &person.name), "match", "{} frame {}", person.name, person.frames[index]);
        }
    }
}

#[test]
fn nobody_matches_another_person() {
    let people = People::embedded().people;
    for shown in &people {
        let mut photos = frames(&shown.name);
        photos.truncate(3);
        photos.push(enrolment(&shown.name));
        for other in people.iter().filter(|other| other.name != shown.name) {
            for photo in &photos {
                let check = check(photo, &other.name);
                assert_eq!(check.outcome, Outcome::Mismatch, "{} as {}: {check:?}", shown.name, other.name);
            }
        }
    }
}

#[test]
fn a_check_carries_what_is_needed_to_make_it_again() {
    let (photo, enrolled) = (frames("obama").remove(0), enrolment("obama"));
    let check = check(&photo, "obama");
    assert_eq!(check.photo, Digest::of(&photo));
    assert_eq!(check.enrolment_photo, Digest::of(&enrolled));
    let manifest = Manifest::embedded();
    assert_eq!(check.models.recogniser.to_string(), manifest.model("recogniser").sha256);
    assert_eq!(check.models.detector.to_string(), manifest.model("detector").sha256);
    assert_eq!(check.models.near_detector.to_string(), manifest.model("near_detector").sha256);
    assert_eq!(check.models.runtime.to_string(), manifest.runtime(Provider::Cpu).sha256);
    assert_eq!((check.models.provider, check.models.precision), (Provider::Cpu, Precision::F32));
    let json = serde_json::to_value(&check).unwrap();
    assert_eq!(json["outcome"], "match");
    assert_eq!(json["models"]["detector"], manifest.model("detector").sha256);
    assert_eq!((&json["models"]["provider"], &json["models"]["precision"]), (&"cpu".into(), &"f32".into()));
    assert!(check.similarity.unwrap() >= check.threshold);
}

#[test]
fn a_smaller_face_needs_more_likeness() {
    let large = check(&frames("webcam_man")[0], "webcam_man");
    let small = check(&jpeg(resized(&picture(&frames("webcam_man")[0]), 220)), "webcam_man");
    assert_eq!((large.outcome, small.outcome), (Outcome::Match, Outcome::Match));
    assert!(small.threshold > large.threshold, "{} ≤ {}", small.threshold, large.threshold);
}

#[test]
fn a_mirrored_photo_matches() {
    let mirrored = image::imageops::flip_horizontal(&picture(&frames("webcam_man")[0]));
    assert_eq!(words(&jpeg(mirrored), "webcam_man"), "match");
}

// --- what cannot be compared ---------------------------------------------------------------------------------------

#[test]
fn an_empty_chair_has_no_face() {
    for path in People::embedded().empty.paths(folder()).iter().step_by(6) {
        assert_eq!(words(&read(path), "obama"), "no_face", "{}", path.display());
    }
}

#[test]
fn a_second_person_is_seen() {
    let (one, other) = (picture(&enrolment("obama")), picture(&enrolment("biden")));
    assert_eq!(words(&jpeg(side_by_side(&one, &other)), "obama"), "multiple_faces");
    for path in People::embedded().several.paths(folder()) {
        assert_eq!(words(&read(&path), "obama"), "multiple_faces");
    }
}

#[test]
fn of_several_people_it_is_said_which_is_the_enrolled_one() {
    let (one, other) = (picture(&enrolment("obama")), picture(&enrolment("biden")));
    let half = 1_000 * one.width() as i32 / (one.width() + other.width()) as i32;
    for (photo, is_left) in [(side_by_side(&one, &other), true), (side_by_side(&other, &one), false)] {
        let check = check(&jpeg(photo), "obama");
        let compared = check.compared.unwrap();
        let middle = compared.left_milli + compared.width_milli / 2;
        let half = if is_left { half } else { 1_000 - half };
        assert_eq!(
            (check.outcome, check.faces.len(), middle < half),
            (Outcome::MultipleFaces, 2, is_left),
            "{check:?}"
        );
        assert!(check.similarity.unwrap() > check.threshold, "{check:?}");
    }
    // Nobody of five.
    for path in People::embedded().several.paths(folder()) {
        let check = check(&read(&path), "obama");
        assert!(check.faces.len() == 5 && check.similarity.unwrap() < check.threshold, "{check:?}");
    }
}

#[test]
fn a_small_face_on_the_wall_is_no_second_person() {
    let mut photo = picture(&enrolment("obama"));
    let poster = resized(&picture(&enrolment("biden")), 90);
    image::imageops::replace(&mut photo, &poster, 0, 0);
    assert_eq!(words(&jpeg(photo), "obama"), "match");
}

#[test]
fn a_tilted_head_is_unusable_from_thirty_degrees_on() {
    let photo = picture(&frames("webcam_man")[20]);
    for degrees in [-25.0, -15.0, 15.0, 25.0] {
        assert_eq!(words(&jpeg(tilted(&photo, degrees)), "webcam_man"), "match", "{degrees}°");
    }
    for degrees in [-135.0, -90.0, -60.0, -45.0, 45.0, 60.0, 90.0, 135.0] {
        let found = words(&jpeg(tilted(&photo, degrees)), "webcam_man");
        assert!(found.starts_with("unusable"), "{degrees}°: {found}");
    }
}

#[test]
fn an_upside_down_face_is_unusable_and_not_another_person() {
    for name in ["obama", "webcam_man", "film_woman", "biden", "astronaut", "car_man"] {
        let turned = jpeg(image::imageops::rotate180(&picture(&enrolment(name))));
        assert_eq!(words(&turned, name), "unusable upside_down", "{name}");
        let refused = with_checker(|checker| checker.enrol(&turned));
        assert_eq!(refused.unwrap_err(), EnrolError::Unusable(Reason::UpsideDown), "{name}");
    }
}

#[test]
fn a_tiny_face_is_unusable() {
    let tiny = jpeg(resized(&picture(&frames("webcam_man")[0]), 90));
    assert_eq!(words(&tiny, "webcam_man"), "unusable too_small");
    let refused = with_checker(|checker| checker.enrol(&tiny));
    assert_eq!(refused.unwrap_err(), EnrolError::Unusable(Reason::TooSmall));
}

#[test]
fn a_face_that_fills_the_frame_is_found() {
    let photo = picture(&frames("webcam_man")[0]);
    let face = with_checker(|checker| checker.detect(&frames("webcam_man")[0])).unwrap().unwrap()[0];
    let (x, y) = (face.x as u32, face.y as u32);
    let close = image::imageops::crop_imm(&photo, x, y, face.width as u32, face.height as u32).to_image();
    assert_eq!(words(&jpeg(resized(&close, 600)), "webcam_man"), "match");
}

#[test]
fn an_enrolment_says_what_to_mend() {
    let empty = read(&People::embedded().empty.paths(folder())[0]);
    let several = read(&People::embedded().several.paths(folder())[0]);
    with_checker(|checker| {
        assert_eq!(checker.enrol(&empty).unwrap_err(), EnrolError::NoFace);
        assert_eq!(checker.enrol(&several).unwrap_err(), EnrolError::MultipleFaces);
        let text = EnrolError::Unusable(Reason::Photo(PhotoError::NotAPhoto));
        assert_eq!(checker.enrol(b"not a photo").unwrap_err(), text);
    });
}

#[test]
fn what_another_model_enrolled_is_not_compared() {
    let photo = enrolment("obama");
    let check = with_checker(|checker| {
        let mut template = checker.enrol(&photo).unwrap();
        template.recogniser = Digest([7; 32]);
        checker.check(&photo, &template.into())
    });
    assert_eq!((check.outcome, check.reason), (Outcome::Error, Some(Reason::OtherModel)));
}

#[test]
fn a_template_survives_its_byte_form_and_nothing_else_passes_for_one() {
    let template = with_checker(|checker| checker.enrol(&enrolment("obama"))).unwrap();
    let bytes = template.to_bytes();
    assert_eq!(Template::from_bytes(&bytes).unwrap(), template);
    assert_eq!(Template::from_bytes(&bytes[1..]), Err(TemplateError::Unknown));
    assert_eq!(Template::from_bytes(&[]), Err(TemplateError::Unknown));
    let mut damaged = bytes;
    // The exponent of the first number: it becomes huge.
    damaged[75] ^= 0x40;
    assert_eq!(Template::from_bytes(&damaged), Err(TemplateError::Damaged));
    assert!(!format!("{template:?}").contains("numbers"));
}

// --- the pool ------------------------------------------------------------------------------------------------------

fn pool(workers: usize, queue: usize, steady: &Clock) -> VisionPool {
    let config =
        VisionConfig { models: folder().to_owned(), workers, queue, wanted: Wanted::CPU, steady: steady.clone() };
    VisionPool::start(config).unwrap_or_else(|error| panic!("{error}"))
}

/// A learner's photo, which has a second.
fn turn(pool: &VisionPool, learner: i64) -> Turn {
    Turn {
        urgency: Urgency::Later,
        deadline_ms: pool.deadline_ms(1_000),
        asker: Asker::Learner(learner.to_string().into()),
    }
}

#[tokio::test]
async fn a_pool_checks_and_enrols_and_is_the_same_each_time() {
    let pool = pool(2, 8, &Clock::manual(0));
    let enrolled = pool.enrol(turn(&pool, 1), enrolment("obama").into()).await.unwrap();
    let photo = Bytes::from(frames("obama").remove(0));
    let first = pool.check(turn(&pool, 1), photo.clone(), enrolled.clone().into()).await.unwrap();
    let again = pool.check(turn(&pool, 1), photo, enrolled.into()).await.unwrap();
    assert_eq!(first.outcome, Outcome::Match);
    assert_eq!(first.similarity, again.similarity);
}

#[tokio::test]
async fn a_full_pool_says_so_at_once() {
    let pool = pool(1, 1, &Clock::manual(0));
    let enrolled = pool.enrol(turn(&pool, 1), enrolment("obama").into()).await.unwrap();
    let photo = Bytes::from(enrolment("obama"));
    let all = (0..20).map(|learner| pool.check(turn(&pool, learner), photo.clone(), enrolled.clone().into()));
    let answers = futures_util::future::join_all(all).await;
    let busy = answers.iter().filter(|answer| **answer == Err(Unseen::Busy(Busy))).count();
    assert!(busy > 0 && busy < 20, "{busy} of 20 were refused");
    let refused_or_matched =
        |answer: &Result<Check, Unseen>| answer.as_ref().map_or(true, |c| c.outcome == Outcome::Match);
    assert!(answers.iter().all(refused_or_matched));
}

#[tokio::test]
async fn what_is_past_its_deadline_is_given_up_without_a_look() {
    let steady = Clock::manual(0);
    let pool = pool(1, 2, &steady);
    let enrolled = pool.enrol(turn(&pool, 1), enrolment("obama").into()).await.unwrap();
    let photo = Bytes::from(enrolment("obama"));
    let stalled = pool.stall(turn(&pool, 0));
    let ask = |learner| pool.check(turn(&pool, learner), photo.clone(), enrolled.clone().into());
    let (first, second) = (ask(1), async {
        steady.advance_ms(500);
        ask(2).await
    });
    let late = async {
        steady.advance_ms(500);
        drop(stalled);
    };
    let (first, second, ()) = tokio::join!(first, second, late);
    assert_eq!(first, Err(Unseen::Late));
    assert_eq!(second.unwrap().outcome, Outcome::Match);
    assert_eq!(pool.meters().late.get(), 1);
}

#[tokio::test]
async fn a_start_takes_the_place_of_another_photo_in_a_full_pool() {
    let pool = pool(1, 1, &Clock::manual(0));
    let enrolled = pool.enrol(turn(&pool, 1), enrolment("obama").into()).await.unwrap();
    let photo = Bytes::from(enrolment("obama"));
    let stalled = pool.stall(turn(&pool, 0));
    let later = pool.check(turn(&pool, 1), photo.clone(), enrolled.clone().into());
    let start = Turn { urgency: Urgency::Start, ..turn(&pool, 2) };
    let start = pool.check(start, photo.clone(), enrolled.clone().into());
    let (later, start, ()) = tokio::join!(later, start, async { drop(stalled) });
    assert_eq!(later, Err(Unseen::Busy(Busy)));
    assert_eq!(start.unwrap().outcome, Outcome::Match);
    assert_eq!((pool.meters().refused.get(), pool.meters().queue_depth.get()), (1, 0));
}

#[tokio::test]
async fn one_learner_leaves_room_for_others() {
    let pool = pool(1, 8, &Clock::manual(0));
    let enrolled = pool.enrol(turn(&pool, 1), enrolment("obama").into()).await.unwrap();
    let photo = Bytes::from(enrolment("obama"));
    let stalled = pool.stall(turn(&pool, 0));
    let greedy = (0..8).map(|_| pool.check(turn(&pool, 1), photo.clone(), enrolled.clone().into()));
    let other = pool.check(turn(&pool, 2), photo.clone(), enrolled.clone().into());
    let greedy = futures_util::future::join_all(greedy);
    let (greedy, other, ()) = tokio::join!(greedy, other, async { drop(stalled) });
    assert_eq!(greedy.iter().filter(|answer| answer.is_ok()).count(), 2);
    assert_eq!(other.unwrap().outcome, Outcome::Match);
}

#[tokio::test]
async fn a_worker_that_panics_is_an_error_for_one_photo_and_none_for_the_next() {
    let pool = pool(1, 4, &Clock::manual(0));
    let enrolled = pool.enrol(turn(&pool, 1), enrolment("obama").into()).await.unwrap();
    pool.panic_once(turn(&pool, 1));
    let check = pool.check(turn(&pool, 1), enrolment("obama").into(), enrolled.into()).await.unwrap();
    assert_eq!(check.outcome, Outcome::Match);
}

#[test]
fn without_models_the_pool_does_not_start_and_says_what_to_do() {
    let nowhere = tempfile::tempdir().unwrap();
    let config = VisionConfig { models: nowhere.path().to_owned(), workers: 1, queue: 1, ..VisionConfig::default() };
    let error = VisionPool::start(config).err().unwrap().to_string();
    assert!(error.contains("run `make models`"), "{error}");
}

#[test]
fn a_model_with_other_bytes_is_refused() {
    let other = tempfile::tempdir().unwrap();
    let manifest = Manifest::embedded();
    for (file, _) in manifest.files() {
        std::fs::create_dir_all(other.path().join(file).parent().unwrap()).unwrap();
        std::fs::copy(folder().join(file), other.path().join(file)).expect("run `make models`");
    }
    std::fs::write(other.path().join(&manifest.model("detector").file), b"something else").unwrap();
    assert!(matches!(Models::load(other.path()), Err(VisionError::Verify(VerifyError::Changed { .. }))));
}

fn known_by(photo: &RgbImage, template: &Template) -> Option<Picture> {
    let bytes = encoded(photo.clone(), ImageFormat::Jpeg);
    with_checker(|checker| checker.check(&bytes, &template.clone().into()).pictures.pop())
}

fn template(name: &str) -> Template {
    with_checker(|checker| checker.enrol(&enrolment(name))).unwrap()
}

#[test]
fn a_picture_that_was_altered_is_the_same_picture() {
    for (name, number) in [("webcam_man", 40), ("film_woman", 60), ("obama", 2)] {
        let (photo, template) = (picture(&read(&people::path(folder(), name, number))), template(name));
        let first = known_by(&photo, &template).unwrap();
        for (how, altered) in alter::disguises(&photo, 7) {
            let second = known_by(&altered, &template).unwrap_or_else(|| panic!("{name} {number} {how}: no face"));
            let likeness = first.descriptor.likeness(&second.descriptor);
            assert!(likeness >= SAME_PICTURE, "{name} {number} {how}: {likeness}");
            assert_eq!(Picture::from_bytes(&second.to_bytes()), Some(second));
        }
    }
    assert_eq!(Picture::from_bytes(b"short"), None);
    assert_eq!(Picture::from_bytes(&[0; Picture::BYTES + 1]), None);
}

#[test]
fn an_earlier_photo_is_known_again_before_any_network_looks_at_it() {
    /// Those that still show the whole frame.
    const AS_A_WHOLE: [&str; 9] = [
        "JPEG quality 60",
        "lowest bits",
        "noise of 3",
        "half the size",
        "1.5 times the size",
        "darker",
        "other gamma",
        "mirrored",
        "written on",
    ];
    for (name, number, later) in [("webcam_man", 10, 73), ("film_woman", 60, 90)] {
        let photo = |number| picture(&read(&people::path(folder(), name, number)));
        let template = template(name);
        let earlier = known_by(&photo(number), &template).unwrap();
        let known = Known { pictures: [(Earlier::Capture, earlier)].into(), least: SAME_PICTURE };
        let question = Question { known, ..template.into() };
        let ask = |photo: RgbImage| {
            let bytes = encoded(photo, ImageFormat::Jpeg);
            with_checker(|checker| checker.check(&bytes, &question))
        };
        let disguises = alter::disguises(&photo(number), 7);
        let disguises: Vec<_> = disguises.into_iter().filter(|(how, _)| AS_A_WHOLE.contains(how)).collect();
        assert_eq!(disguises.len(), AS_A_WHOLE.len());
        for (how, altered) in disguises {
            let check = ask(altered);
            assert_eq!((check.outcome, check.reason), (Outcome::Spoof, Some(Reason::SamePicture)), "{name} {how}");
            let same = check.same_picture.unwrap();
            assert!(same.of == Earlier::Capture && same.likeness >= SAME_PICTURE, "{name} {how}: {same:?}");
            assert!(check.faces.is_empty() && check.similarity.is_none(), "{name} {how}: a network has looked");
        }
        let check = ask(photo(later));
        assert_eq!((check.outcome, check.same_picture), (Outcome::Match, None), "{name} {later}");
    }
}

#[test]
fn photos_taken_two_seconds_apart_are_not_the_same_picture() {
    for (name, last, frames_per_s, step) in
        [("webcam_man", 73, 30, 5), ("film_woman", 157, 8, 12), ("car_man", 60, 15, 6)]
    {
        let template = template(name);
        let taken: Vec<(u32, Picture)> = (2..=last)
            .step_by(step)
            .filter_map(|number| {
                let photo = picture(&read(&people::path(folder(), name, number)));
                Some((number, known_by(&photo, &template)?))
            })
            .collect();
        let mut compared = 0;
        for (at, one) in &taken {
            for (later, other) in taken.iter().filter(|(later, _)| *later >= at + 2 * frames_per_s) {
                let likeness = one.descriptor.likeness(&other.descriptor);
                assert!(likeness < SAME_PICTURE, "{name} {at} {later}: {likeness}");
                compared += 1;
            }
        }
        assert!(compared > 0, "{name}");
    }
}
