//! The networks beside detector and recogniser, on real photos: points and pose, eyes, the passive score, the puppet.

use std::cell::RefCell;

use super::puppet::{Camera, Film, Motion, Puppet, Stance, jpeg};
use super::tests::{enrolment, folder, frames, picture, tilted, with_checker};
use super::*;
use crate::vision::people::People;

const EVERYBODY: [&str; 6] = ["obama", "biden", "astronaut", "webcam_man", "car_man", "film_woman"];

struct Networks {
    mesher: Mesher,
    eyes: EyeReader,
    passive: PassiveReader,
}

/// Opening the networks takes longer than asking them, so each test thread opens them once.
fn with_networks<T>(work: impl FnOnce(&mut Networks) -> T) -> T {
    thread_local!(static NETWORKS: RefCell<Option<Networks>> = const { RefCell::new(None) });
    NETWORKS.with_borrow_mut(|networks| {
        work(networks.get_or_insert_with(|| {
            let models = models();
            let passive = PassiveReader::new(&models).unwrap().expect("the tests need npm: run `make models` with it");
            Networks { mesher: Mesher::new(&models).unwrap(), eyes: EyeReader::new(&models).unwrap(), passive }
        }))
    })
}

fn models() -> Models {
    Models::load(folder()).unwrap_or_else(|error| panic!("{error}"))
}

fn seen(bytes: &[u8]) -> (Photo, FaceBox, Mesh) {
    let photo = decode(bytes).unwrap();
    let face = with_checker(|checker| checker.detect(bytes)).unwrap().unwrap()[0];
    let mesh = with_networks(|networks| networks.mesher.mesh(&photo, &face)).unwrap();
    (photo, face, mesh)
}

fn pose(bytes: &[u8]) -> Pose {
    seen(bytes).2.pose().unwrap()
}

fn eyes(bytes: &[u8]) -> Eyes {
    let (photo, _, mesh) = seen(bytes);
    with_networks(|networks| networks.eyes.eyes(&photo, &mesh)).unwrap()
}

fn apart(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

// --- the near detector ---------------------------------------------------------------------------------------------

#[test]
fn the_near_detector_is_the_detector_without_its_outputs_for_small_faces() {
    let models = models();
    let mut sessions = ["detector", "near_detector"].map(|role| models.session(role).unwrap());
    let photo = picture(&enrolment("obama"));
    let photo = image::imageops::resize(&photo, 256, 256, image::imageops::FilterType::Triangle);
    let planes: Vec<f32> = (0..3).rev().flat_map(|at| photo.pixels().map(move |pixel| f32::from(pixel[at]))).collect();
    let [whole, near] = sessions.each_mut().map(|session| {
        let input = ort::value::TensorRef::from_array_view(([1_usize, 3, 256, 256], planes.as_slice())).unwrap();
        let outputs = session.run(ort::inputs![input]).unwrap();
        let values = outputs
            .iter()
            .map(|(name, value)| (name.to_owned(), value.try_extract_tensor::<f32>().unwrap().1.to_vec()));
        values.collect::<std::collections::BTreeMap<_, _>>()
    });
    assert_eq!((whole.len(), near.len()), (12, 8));
    for (name, values) in near {
        assert!(!name.ends_with("_8"), "{name}");
        assert_eq!(values, whole[&name], "{name}");
    }
}

// --- the mesh ------------------------------------------------------------------------------------------------------

#[test]
fn the_mesh_agrees_with_the_detector_on_every_portrait() {
    for name in EVERYBODY {
        let (_, face, mesh) = seen(&enrolment(name));
        assert!(mesh.is_face(), "{name}: {}", mesh.face);
        let between = |a: usize, b: usize| std::array::from_fn(|i| (mesh.at(a)[i] + mesh.at(b)[i]) / 2.0);
        let points = [between(33, 133), between(362, 263), mesh.at(1), mesh.at(61), mesh.at(291)];
        let eyes_px = apart(face.points[0], face.points[1]);
        for (index, (found, detected)) in points.into_iter().zip(face.points).enumerate() {
            let off = apart(found, detected) / eyes_px;
            assert!(off < 0.25, "{name}: point {index} is {off} eye distances off");
        }
        // The tip of the nose is nearer than the ears by about half the face's width.
        let ears = (mesh.points[234][2] + mesh.points[454][2]) / 2.0;
        let width = apart(mesh.at(234), mesh.at(454));
        assert!((0.3..1.2).contains(&((ears - mesh.points[1][2]) / width)), "{name}");
    }
}

#[test]
fn a_mesh_says_that_a_wall_is_no_face() {
    let bytes = std::fs::read(&People::embedded().empty.paths(folder())[0]).unwrap();
    let photo = decode(&bytes).unwrap();
    let (x, y) = (photo.width_px as f32 / 4.0, photo.height_px as f32 / 4.0);
    let (width, height) = (photo.width_px as f32 / 2.0, photo.height_px as f32 / 2.0);
    let points = [[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.38, 0.75], [0.62, 0.75]];
    let points = points.map(|[right, down]| [x + right * width, y + down * height]);
    let face = FaceBox { x, y, width, height, score: 0.0, points };
    let mesh = with_networks(|networks| networks.mesher.mesh(&photo, &face)).unwrap();
    assert!(!mesh.is_face(), "{}", mesh.face);
}

#[test]
fn who_looks_into_the_camera_is_not_turned() {
    for (name, yaw_limit_degrees) in [("obama", 10.0), ("astronaut", 10.0), ("webcam_man", 10.0), ("film_woman", 10.0)]
    {
        let pose = pose(&enrolment(name));
        assert!(pose.yaw_degrees.abs() < yaw_limit_degrees, "{name}: {pose:?}");
        assert!(pose.pitch_degrees.abs() < 20.0 && pose.roll_degrees.abs() < 10.0, "{name}: {pose:?}");
    }
}

#[test]
fn a_mirror_turns_the_head_the_other_way() {
    for name in EVERYBODY {
        let photo = enrolment(name);
        let (plain, mirrored) =
            (pose(&photo), pose(&super::tests::jpeg(image::imageops::flip_horizontal(&picture(&photo)))));
        assert!((plain.yaw_degrees + mirrored.yaw_degrees).abs() < 8.0, "{name}: {plain:?} {mirrored:?}");
        assert!((plain.roll_degrees + mirrored.roll_degrees).abs() < 5.0, "{name}: {plain:?} {mirrored:?}");
        assert!((plain.pitch_degrees - mirrored.pitch_degrees).abs() < 8.0, "{name}: {plain:?} {mirrored:?}");
    }
}

#[test]
fn a_leaning_head_is_read_as_far_as_it_leans() {
    let photo = picture(&frames("webcam_man")[20]);
    let upright = pose(&super::tests::jpeg(tilted(&photo, 0.0)));
    for degrees in [-20.0, -10.0, 10.0, 20.0] {
        let found = pose(&super::tests::jpeg(tilted(&photo, degrees)));
        let leant = found.roll_degrees - upright.roll_degrees;
        assert!((leant - degrees).abs() < 4.0, "{degrees}°: {leant}°");
        assert!((found.yaw_degrees - upright.yaw_degrees).abs() < 6.0, "{degrees}°: {found:?}, upright {upright:?}");
    }
}

// --- the eyes ------------------------------------------------------------------------------------------------------

#[test]
fn open_eyes_are_open_and_closed_ones_closed() {
    for name in EVERYBODY {
        let openness = eyes(&enrolment(name)).openness();
        assert!(openness > 0.18, "{name}: {openness}");
    }
    // Frames of the film in which she has her eyes shut.
    for frame in [20, 150] {
        let bytes = std::fs::read(super::people::path(folder(), "film_woman", frame)).unwrap();
        let openness = eyes(&bytes).openness();
        assert!(openness < 0.1, "{frame}: {openness}");
    }
}

#[test]
fn the_right_eye_is_the_persons_own() {
    for name in EVERYBODY {
        let (_, face, mesh) = seen(&enrolment(name));
        let eyes = eyes(&enrolment(name));
        let middle = |eye: &Eye| -> [f32; 2] {
            std::array::from_fn(|i| eye.contour.iter().map(|point| point[i]).sum::<f32>() / eye.contour.len() as f32)
        };
        let limit = 0.15 * apart(face.points[0], face.points[1]);
        assert!(apart(middle(&eyes.right), face.points[0]) < limit, "{name}");
        assert!(apart(middle(&eyes.left), face.points[1]) < limit, "{name}");
        assert!(apart(eyes.right.contour[0], mesh.at(33)) < limit, "{name}: the outer corner comes first");
        assert!(apart(eyes.left.contour[0], mesh.at(263)) < limit, "{name}: the outer corner comes first");
    }
}

#[test]
fn a_mirror_exchanges_the_eyes() {
    let photo = enrolment("webcam_man");
    let (plain, mirrored) =
        (eyes(&photo), eyes(&super::tests::jpeg(image::imageops::flip_horizontal(&picture(&photo)))));
    assert!((plain.right.openness - mirrored.left.openness).abs() < 0.05, "{plain:?} {mirrored:?}");
    assert!((plain.left.openness - mirrored.right.openness).abs() < 0.05, "{plain:?} {mirrored:?}");
}

// --- the passive score ---------------------------------------------------------------------------------------------

#[test]
fn a_passive_score_is_a_share_and_the_same_each_time() {
    let mut different = Vec::new();
    for name in EVERYBODY {
        let (photo, face, _) = seen(&enrolment(name));
        let score = || with_networks(|networks| networks.passive.score(&photo, &face)).unwrap();
        let (first, again) = (score(), score());
        assert_eq!(first, again);
        assert_eq!(first.models.len(), 1);
        assert!((0.0..=1.0).contains(&first.attack), "{name}: {first:?}");
        different.push(first.attack);
    }
    different.sort_by(f32::total_cmp);
    assert!(different[different.len() - 1] - different[0] > 0.01, "it sees no difference: {different:?}");
}

// --- the puppet ----------------------------------------------------------------------------------------------------

fn film(motion: Motion) -> Film<'static> {
    Film { frames: 8, every_ms: 200, ..Film::of(motion, 3) }
}

fn played(puppet: &Puppet, film: Film) -> Vec<Vec<u8>> {
    at(puppet, film, &[0, 1, 2, 3, 4, 5, 6, 7])
}

fn at(puppet: &Puppet, film: Film, frames: &[u32]) -> Vec<Vec<u8>> {
    frames.iter().map(|number| jpeg(&puppet.frame(film, *number).1)).collect()
}

/// Each frame must match the enrolment.
fn assert_matches(name: &str, film: &[Vec<u8>]) {
    with_checker(|checker| {
        let template = checker.enrol(&enrolment(name)).unwrap();
        for (index, frame) in film.iter().enumerate() {
            let check = checker.check(frame, &template.clone().into());
            assert_eq!(check.outcome, Outcome::Match, "{name} frame {index}: {check:?}");
        }
    });
}

#[test]
fn a_puppet_at_rest_is_its_portrait() {
    let bytes = enrolment("webcam_man");
    let photo = decode(&bytes).unwrap();
    let puppet = Puppet::of(&bytes, &models()).unwrap();
    let rest = puppet.seen(&Stance::REST, None, &mut Camera::new(0.0, 1));
    let off = photo.rgb.iter().zip(&rest.rgb).filter(|(a, b)| a.abs_diff(**b) > 3).count();
    assert!(off * 1000 < photo.rgb.len(), "{off} of {} values differ", photo.rgb.len());
}

#[test]
fn a_puppet_turns_and_nods_as_it_was_told_and_stays_the_same_person() {
    let puppet = Puppet::of(&enrolment("webcam_man"), &models()).unwrap();
    for (motion, [yaw, pitch]) in [(Motion::TurnLeft, [1.0, 0.0]), (Motion::LookDown, [0.0, -1.0])] {
        let film = at(&puppet, film(motion), &[0, 4, 7]);
        assert_matches("webcam_man", &film);
        let (rest, there, back) = (pose(&film[0]), pose(&film[1]), pose(&film[2]));
        let went = yaw * (there.yaw_degrees - rest.yaw_degrees) + pitch * (there.pitch_degrees - rest.pitch_degrees);
        let left = yaw * (back.yaw_degrees - rest.yaw_degrees) + pitch * (back.pitch_degrees - rest.pitch_degrees);
        assert!(went > 11.0, "{motion:?}: {went}°");
        assert!(left.abs() < 6.0, "{motion:?}: {left}° are left");
    }
}

#[test]
fn a_puppet_blinks_twice_and_stays_the_same_person() {
    let puppet = Puppet::of(&enrolment("obama"), &models()).unwrap();
    let film = at(&puppet, film(Motion::BlinkTwice), &[0, 2, 4, 5, 7]);
    assert_matches("obama", &film);
    let open: Vec<f32> = film.iter().map(|frame| eyes(frame).openness()).collect();
    for (index, closed) in [false, true, false, true, false].into_iter().enumerate() {
        let share = open[index] / open[0];
        assert!(if closed { share < 0.7 } else { share > 0.8 }, "{index}: {open:?}");
    }
}

#[test]
fn another_background_changes_all_but_the_person() {
    let wall = decode(&std::fs::read(&People::embedded().empty.paths(folder())[0]).unwrap()).unwrap();
    let bytes = enrolment("webcam_man");
    let puppet = Puppet::of(&bytes, &models()).unwrap();
    let film = Film { background: Some(&wall), ..film(Motion::TurnLeft) };
    let frames: Vec<Photo> = [0, 4, 7].map(|number| puppet.frame(film, number).1).into();
    let own = decode(&bytes).unwrap();
    // The corner shows the wall in all frames.
    let corner = |photo: &Photo| -> f32 { photo.rgb[..60].iter().map(|value| f32::from(*value)).sum::<f32>() / 60.0 };
    assert!(frames.iter().all(|frame| (corner(frame) - corner(&wall)).abs() < 12.0));
    assert!((corner(&own) - corner(&wall)).abs() > 40.0, "the test needs two different backgrounds");
    let film: Vec<_> = frames.iter().map(jpeg).collect();
    assert_matches("webcam_man", &film);
}

#[test]
fn a_film_is_the_same_for_its_seed_and_no_frame_is_like_another() {
    let puppet = Puppet::of(&enrolment("car_man"), &models()).unwrap();
    let first = played(&puppet, film(Motion::Still));
    let last = puppet.play(film(Motion::Still)).last().unwrap();
    assert_eq!((last.0, &jpeg(&last.1)), (1_400, &first[7]));
    assert_ne!(first[3], at(&puppet, Film { seed: 4, ..film(Motion::Still) }, &[3])[0]);
    for (index, frame) in first.iter().enumerate() {
        assert!(first[..index].iter().all(|other| other != frame), "{index}");
    }
}

#[test]
fn a_wall_makes_no_puppet() {
    let wall = std::fs::read(&People::embedded().empty.paths(folder())[0]).unwrap();
    assert!(matches!(Puppet::of(&wall, &models()), Err(super::puppet::PuppetError::NoFace)));
    assert!(matches!(Puppet::of(b"nothing", &models()), Err(super::puppet::PuppetError::Photo(_))));
}
