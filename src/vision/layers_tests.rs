//! Bursts of real films, honest and made into attacks: each attack is caught by the layer that is meant for it.

use image::{Rgb, RgbImage};

use super::burst::{self, Frame};
use super::puppet::{self, Camera, Film, Motion, Puppet, Stance};
use super::tests::{check_against, enrolment, frames, picture, with_checker};
use super::*;
use crate::log::Movement;

/// From one photo of a plain burst to the next.
const GAP_MS: u32 = 300;
/// Films, and how many of their frames are about that long.
const FILMS: [(&str, usize); 3] = [("webcam_man", 9), ("film_woman", 2), ("car_man", 5)];

/// What is done to a photo, by chance or not.
type Seeded = fn(&RgbImage, u64) -> RgbImage;
type Plain = fn(&RgbImage) -> RgbImage;

fn burst_of(photos: &[Vec<u8>]) -> Vec<u8> {
    let frames = (0..).zip(photos).map(|(at, photo)| Frame { at_ms: at * GAP_MS, photo });
    burst::compose(&frames.collect::<Vec<_>>())
}

/// Outcome and reason of photos, one after the other.
fn found(photos: &[Vec<u8>], enrolled: &str) -> String {
    let check = check_against(&burst_of(photos), enrolled, Asked::PHOTO);
    let reason = check.reason.as_ref().map(|reason| format!(" {}", reason.as_str())).unwrap_or_default();
    format!("{}{reason}", check.outcome.as_str())
}

/// Three frames of a film, from the `first` listed on.
fn three(name: &str, step: usize, first: usize) -> Vec<Vec<u8>> {
    frames(name).into_iter().skip(first).step_by(step).take(3).collect()
}

/// One photo and what a cheat makes of it for a second and a third.
fn made_of(photo: &[u8], change: impl Fn(&RgbImage, u64) -> RgbImage) -> Vec<Vec<u8>> {
    let original = picture(photo);
    vec![photo.to_vec(), alter::jpeg(&change(&original, 1), 85), alter::jpeg(&change(&original, 2), 85)]
}

/// `picture` in the middle of a photo of the size of `of`.
fn as_large_as(of: &[u8], picture: &RgbImage) -> RgbImage {
    let (width, height) = self::picture(of).dimensions();
    let mut canvas = RgbImage::from_pixel(width, height, image::Rgb([90; 3]));
    let filter = image::imageops::FilterType::Triangle;
    let share = (width as f32 / picture.width() as f32).min(height as f32 / picture.height() as f32);
    let size = ((picture.width() as f32 * share) as u32, (picture.height() as f32 * share) as u32);
    let resized = image::imageops::resize(picture, size.0, size.1, filter);
    image::imageops::replace(&mut canvas, &resized, i64::from((width - size.0) / 2), i64::from((height - size.1) / 2));
    canvas
}

// --- honest bursts -------------------------------------------------------------------------------------------------

#[test]
fn people_before_a_camera_pass() {
    for (name, step) in FILMS {
        for first in (0..40).step_by(8) {
            assert_eq!(found(&three(name, step, first), name), "match", "{name} from {first}");
        }
    }
}

#[test]
fn light_noise_blur_and_glasses_are_no_attack() {
    let changes: [(&str, Seeded); 5] = [
        ("darker", |picture, _| alter::lit(picture, 0.5, 0.0)),
        ("brighter", |picture, _| alter::lit(picture, 1.25, 10.0)),
        ("noise", |picture, seed| alter::noisy(picture, 8.0, seed)),
        ("out of focus", |picture, _| alter::blurred(picture, 1.5)),
        ("turned", |picture, _| alter::moved(picture, 0.0, 0.0, 1.0, 6.0)),
    ];
    for (what, change) in changes {
        for (name, step) in &FILMS[..2] {
            let photos = three(name, *step, 16);
            let photos: Vec<_> =
                (1..).zip(&photos).map(|(seed, photo)| alter::jpeg(&change(&picture(photo), seed), 85)).collect();
            assert_eq!(found(&photos, name), "match", "{name} {what}");
        }
    }
    let photos = three("webcam_man", 9, 20).into_iter().map(|photo| {
        let face = with_checker(|checker| checker.detect(&photo)).unwrap().unwrap()[0];
        alter::jpeg(&alter::with_glasses(&picture(&photo), [face.points[0], face.points[1]]), 85)
    });
    assert_eq!(found(&photos.collect::<Vec<_>>(), "webcam_man"), "match", "glasses");
}

// --- repeated and frozen photos ------------------------------------------------------------------------------------

#[test]
fn one_photo_sent_three_times_is_frozen_whatever_is_done_to_it() {
    let changes: [(&str, Seeded); 8] = [
        ("re-encoded", |picture, _| picture.clone()),
        (
            "low bits",
            |picture, seed| if seed == 1 { alter::low_bits_flipped(picture) } else { alter::noisy(picture, 1.5, 7) },
        ),
        ("noise", |picture, seed| alter::noisy(picture, 4.0, seed)),
        ("more noise", |picture, seed| alter::noisy(picture, 9.0, seed)),
        ("brighter", |picture, seed| alter::lit(picture, 1.0 + 0.05 * seed as f32, 4.0)),
        ("shifted", |picture, seed| alter::moved(picture, 1.5 * seed as f32, -1.0, 1.0, 0.0)),
        ("zoomed", |picture, seed| alter::moved(picture, 0.0, 0.0, 1.0 + 0.01 * seed as f32, 0.0)),
        ("turned", |picture, seed| alter::moved(picture, 1.0, 0.0, 1.0, 0.5 * seed as f32)),
    ];
    for (name, _) in &FILMS[..2] {
        let photo = frames(name).swap_remove(20);
        assert_eq!(found(&[photo.clone(), photo.clone(), photo.clone()], name), "spoof frozen", "{name}");
        for (what, change) in changes {
            assert_eq!(found(&made_of(&photo, change), name), "spoof frozen", "{name} {what}");
        }
    }
}

#[test]
fn photos_that_come_back_are_a_loop() {
    for (name, step) in FILMS {
        let photos = three(name, step, 10);
        let again = |photo: &[u8]| alter::jpeg(&alter::noisy(&picture(photo), 2.0, 5), 85);
        let looped = [photos[0].clone(), photos[2].clone(), again(&photos[0]), again(&photos[2])];
        assert_eq!(found(&looped, name), "spoof looped", "{name}");
    }
}

#[test]
fn an_empty_chair_that_stands_still_is_nobody_and_no_attack() {
    let empty = people::People::embedded().empty.paths(super::tests::folder()).remove(3);
    let photo = super::tests::read(&empty);
    assert_eq!(found(&[photo.clone(), photo.clone(), photo], "obama"), "no_face");
}

#[test]
fn a_print_and_a_screen_that_are_held_before_the_camera_are_frozen() {
    // The hand moves a little, the pattern of dots or lines stays the camera's.
    let held = |picture: &RgbImage, seed: u64| {
        let far = seed as f32;
        alter::moved(picture, 1.7 * far, -1.1 * far, 1.0 + 0.004 * far, 0.3 * far)
    };
    let looks: [(&str, Plain); 2] =
        [("print", |picture| alter::printed(picture, 3.0)), ("screen", |picture| alter::moire(picture, 6.0))];
    for (name, _) in &FILMS[..2] {
        let photo = picture(&frames(name)[20]);
        for (what, look) in looks {
            let shot = |seed: u64| alter::jpeg(&alter::noisy(&look(&held(&photo, seed)), 2.0, seed), 85);
            assert_eq!(found(&[shot(0), shot(1), shot(2)], name), "spoof frozen", "{name} {what}");
        }
    }
}

#[test]
fn the_enrolment_photo_printed_or_on_a_screen_is_known_again() {
    for name in ["obama", "webcam_man", "astronaut"] {
        let photo = picture(&enrolment(name));
        let described = |picture: &RgbImage| {
            let check = check_against(&alter::jpeg(picture, 85), name, Asked::PHOTO);
            assert_eq!(check.outcome, Outcome::Match, "{name}: a single photo of it is told by nothing else");
            check.pictures.into_iter().next().unwrap().descriptor
        };
        let enrolled = described(&photo);
        for (what, shown) in [("print", alter::printed(&photo, 3.0)), ("screen", alter::moire(&photo, 6.0))] {
            let likeness = enrolled.likeness(&described(&alter::moved(&shown, 3.0, 2.0, 0.97, 1.0)));
            assert!(likeness >= SAME_PICTURE, "{name} {what}: {likeness}");
        }
    }
}

// --- another person, another time ----------------------------------------------------------------------------------

#[test]
fn a_person_who_is_swapped_within_a_burst_is_found() {
    for (name, step) in FILMS {
        let photos = three(name, step, 10);
        for other in ["obama", "biden", "astronaut"] {
            let swapped = alter::jpeg(&as_large_as(&photos[0], &picture(&enrolment(other))), 90);
            for at in 0..3 {
                let mut burst = photos.clone();
                burst[at].clone_from(&swapped);
                let found = found(&burst, name);
                if name == "car_man" {
                    // Faces of 50 px say less: they may be too small or too blurred to be called another's.
                    assert!(!found.starts_with("match"), "{other} as photo {at} of {name}: {found}");
                } else {
                    assert_eq!(found, "mismatch person_changed", "{other} as photo {at} of {name}");
                }
            }
        }
    }
}

#[test]
fn photos_of_different_days_are_no_burst() {
    let first = enrolment("obama");
    let others = frames("obama");
    let photos = [first.clone(), alter::jpeg(&as_large_as(&first, &picture(&others[0])), 90)];
    assert_eq!(found(&photos, "obama"), "unusable jumped");
}

#[test]
fn a_burst_of_somebody_else_is_a_mismatch() {
    for (name, step) in FILMS {
        assert_eq!(found(&three(name, step, 10), "obama"), "mismatch", "{name}");
    }
}

// --- what can be said without a network ----------------------------------------------------------------------------

#[test]
fn times_sizes_numbers_and_darkness_are_looked_at_first() {
    let photos = three("webcam_man", 9, 10);
    let at = |times_ms: [u32; 3]| {
        let frames = photos.iter().zip(times_ms).map(|(photo, at_ms)| Frame { at_ms, photo }).collect::<Vec<_>>();
        check_against(&burst::compose(&frames), "webcam_man", Asked::PHOTO).reason
    };
    assert_eq!(at([0, 300, 600]), None);
    assert_eq!(at([0, 1, 2]), Some(Reason::FrameTimes));
    assert_eq!(at([0, 300, 60_000]), Some(Reason::FrameTimes));
    let asked = Asked { frames_least: 4, ..Asked::PHOTO };
    assert_eq!(check_against(&burst_of(&photos), "webcam_man", asked).reason, Some(Reason::TooFewFrames));
    let black = alter::jpeg(&RgbImage::new(640, 360), 85);
    assert_eq!(found(std::slice::from_ref(&black), "webcam_man"), "unusable too_dark");
    assert_eq!(found(&[photos[0].clone(), black], "webcam_man"), "unusable too_dark");
    let small = alter::jpeg(&RgbImage::from_pixel(64, 64, image::Rgb([99; 3])), 85);
    assert_eq!(found(&[photos[0].clone(), small], "webcam_man"), "unusable bad_burst");
    let cut = photos[0][..photos[0].len() / 2].to_vec();
    assert_eq!(found(&[photos[0].clone(), cut], "webcam_man"), "unusable truncated");
}

// --- quality -------------------------------------------------------------------------------------------------------

#[test]
fn a_face_that_is_badly_seen_is_never_another_persons() {
    let changes: [(&str, Plain); 8] = [
        ("dark", |picture| alter::noisy(&alter::lit(picture, 0.15, 0.0), 3.0, 1)),
        ("darker", |picture| alter::noisy(&alter::lit(picture, 0.08, 0.0), 3.0, 1)),
        ("bright", |picture| alter::lit(picture, 2.4, 40.0)),
        ("washed out", |picture| alter::lit(picture, 4.0, 60.0)),
        ("blurred", |picture| alter::blurred(picture, 0.010 * picture.width() as f32)),
        ("very blurred", |picture| alter::blurred(picture, 0.02 * picture.width() as f32)),
        ("noisy", |picture| alter::noisy(picture, 20.0, 3)),
        ("all noise", |picture| alter::noisy(picture, 40.0, 5)),
    ];
    for (what, change) in changes {
        for (name, _) in &FILMS[..2] {
            for photo in frames(name).iter().step_by(24) {
                let found = found(&[alter::jpeg(&change(&picture(photo)), 85)], name);
                assert!(!found.starts_with("mismatch"), "{name} {what}: {found}");
            }
        }
    }
    let dark = alter::jpeg(&alter::lit(&picture(&frames("webcam_man")[0]), 0.12, 0.0), 85);
    assert_eq!(found(&[dark], "obama"), "unusable too_dark");
}

// --- movements -----------------------------------------------------------------------------------------------------

#[test]
fn whoever_sits_there_has_not_turned() {
    let photos: Vec<_> = frames("webcam_man").into_iter().step_by(7).take(9).collect();
    for challenge in [Movement::TurnLeft, Movement::TurnRight, Movement::BlinkTwice] {
        let asked = Asked { challenge: Some(challenge), frames_least: 8, passive: true, ..Asked::PHOTO };
        let check = check_against(&burst_of(&photos), "webcam_man", asked);
        assert_eq!(check.outcome, Outcome::Unusable, "{challenge}: {check:?}");
        assert!(matches!(check.reason, Some(Reason::Challenge(_))), "{challenge}: {check:?}");
        let seen = check.challenge.unwrap();
        assert!(seen.observed.len() >= 8 && !seen.is_done());
        assert_eq!(check.passive, None);
    }
}

/// A film rendered from a person's enrolment photo, as a challenge asks for it.
fn rendered(puppet: &Puppet, film: Film<'_>) -> Vec<Vec<u8>> {
    puppet.play(film).map(|(_, photo)| puppet::jpeg(&photo)).collect()
}

fn puppet_of(name: &str) -> Puppet {
    let models = Models::load(super::tests::folder()).unwrap_or_else(|error| panic!("{error}"));
    Puppet::of(&enrolment(name), &models).unwrap()
}

/// What comes of photos a quarter of a second apart when a movement was asked for.
fn found_moving(photos: &[Vec<u8>], enrolled: &str, challenge: Movement) -> Check {
    let frames = (0..).zip(photos).map(|(at, photo)| Frame { at_ms: at * 250, photo });
    let asked = Asked { challenge: Some(challenge), frames_least: 8, ..Asked::PHOTO };
    check_against(&burst::compose(&frames.collect::<Vec<_>>()), enrolled, asked)
}

/// One portrait; `invigil bench movements` has the whole table.
#[test]
fn a_movement_is_taken_for_itself_and_for_no_other_and_only_whole() {
    let puppet = puppet_of("webcam_man");
    let not_done = |why| Some(Reason::Challenge(why));
    let turning = Film::of(Motion::TurnLeft, 1);
    let turned = rendered(&puppet, turning);
    let check = found_moving(&turned, "webcam_man", Movement::TurnLeft);
    assert_eq!((check.outcome, &check.reason), (Outcome::Match, &None), "{check:?}");
    assert!(check.movement_models.is_some() && check.pictures.len() == turned.len());
    let observed = check.challenge.unwrap().observed;
    for other in [Movement::TurnRight, Movement::LookUp, Movement::LookDown, Movement::BlinkTwice] {
        assert!(!judge_challenge(other, observed.clone()).is_done(), "{other}");
    }
    // It begins too late, so that it is not done when the last photo is taken.
    let late = rendered(&puppet, Film { begins_ms: 1_250, ..turning });
    let check = found_moving(&late, "webcam_man", Movement::TurnLeft);
    assert!([not_done(NotDone::NotBack), not_done(NotDone::NotFarEnough)].contains(&check.reason), "{check:?}");
}

#[test]
fn somebody_else_within_a_movement_is_found() {
    let (puppet, turning) = (puppet_of("webcam_man"), Film::of(Motion::TurnLeft, 1));
    let turned = rendered(&puppet, turning);
    // Who does it instead, or is seen for a moment.
    let stranger = puppet_of("film_woman");
    for motion in [Motion::TurnLeft, Motion::Still] {
        let mut swapped = turned.clone();
        for at in [4, 5] {
            let other = picture(&puppet::jpeg(&stranger.frame(Film::of(motion, 1), at as u32).1));
            swapped[at] = alter::jpeg(&as_large_as(&swapped[at], &other), 90);
        }
        let check = found_moving(&swapped, "webcam_man", Movement::TurnLeft);
        let turned_away = check.outcome == Outcome::Unusable
            && matches!(check.reason, Some(Reason::Quality(_) | Reason::Challenge(NotDone::TooLittleSeen)));
        let changed = check.reason == Some(Reason::PersonChanged);
        assert!(changed || (motion == Motion::TurnLeft && turned_away), "{motion:?}: {check:?}");
    }
}

#[test]
fn one_photo_of_a_movement_may_lose_the_face_and_not_two() {
    let puppet = puppet_of("webcam_man");
    let turned = rendered(&puppet, Film::of(Motion::TurnLeft, 1));
    // Stripes, of another width each time: a photo that comes again is a layer before.
    let wall = |photo: &[u8], at: usize| {
        let (width, height) = picture(photo).dimensions();
        let stripes = RgbImage::from_fn(width, height, |x, _| {
            Rgb([if (x / (11 * at as u32)).is_multiple_of(2) { 90 } else { 160 }; 3])
        });
        alter::jpeg(&stripes, 90)
    };
    let without = |lost: &[usize]| {
        let mut photos = turned.clone();
        lost.iter().for_each(|at| photos[*at] = wall(&photos[*at], *at));
        found_moving(&photos, "webcam_man", Movement::TurnLeft)
    };
    let check = without(&[4]);
    assert_eq!((check.outcome, &check.reason), (Outcome::Match, &None), "{check:?}");
    let check = without(&[4, 5]);
    assert_eq!(check.reason, Some(Reason::Challenge(NotDone::TooLittleSeen)), "{check:?}");
}

#[test]
fn a_portrait_with_a_cameras_noise_does_no_movement() {
    let puppet = puppet_of("webcam_man");
    let mut camera = Camera::new(3.0, 7);
    let photos: Vec<_> = (0..10).map(|_| puppet::jpeg(&puppet.seen(&Stance::REST, None, &mut camera))).collect();
    let check = found_moving(&photos, "webcam_man", Movement::LookUp);
    assert_eq!((check.outcome, check.reason), (Outcome::Spoof, Some(Reason::Frozen)));
}
