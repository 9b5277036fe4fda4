//! People who do what they were asked to, each in their own way, and people who do not.

use proptest::prelude::*;

use super::*;

const SWINGS: [Movement; 4] = [Movement::TurnLeft, Movement::TurnRight, Movement::LookUp, Movement::LookDown];

/// Somebody before a camera.
#[derive(Clone, Debug)]
struct Person {
    rest: [f32; 2],
    eyes_open: f32,
    tremble: Vec<f32>,
    gap_ms: u32,
}

fn person() -> impl Strategy<Value = Person> {
    (-12.0..12.0_f32, -14.0..14.0_f32, 0.18..0.4_f32, prop::collection::vec(-1.0..1.0_f32, 36), 180u32..400)
        .prop_map(|(yaw, pitch, eyes_open, tremble, gap_ms)| Person { rest: [yaw, pitch], eyes_open, tremble, gap_ms })
}

impl Person {
    /// Photos of a movement: for each how far it has come, 0 to 1, and how far the eyes are open.
    fn does(&self, movement: Option<Movement>, extent: f32, course: &[f32], eyes: &[f32]) -> Vec<Observed> {
        let [yaw, pitch] = match movement {
            Some(Movement::TurnLeft) => [1.0, 0.0],
            Some(Movement::TurnRight) => [-1.0, 0.0],
            Some(Movement::LookUp) => [0.0, 1.0],
            Some(Movement::LookDown) => [0.0, -1.0],
            _ => [0.0, 0.0],
        };
        let photos = course.iter().zip(eyes).enumerate().map(|(at, (share, open))| Observed {
            at_ms: at as u32 * self.gap_ms,
            yaw_degrees: self.rest[0] + yaw * extent * share + 1.5 * self.tremble[3 * at],
            pitch_degrees: self.rest[1] + pitch * extent * share + 1.5 * self.tremble[3 * at + 1],
            eyes_open: self.eyes_open * open * (1.0 + 0.08 * self.tremble[3 * at + 2]),
        });
        photos.collect()
    }
}

/// Rest, out, a while there, back, rest: ten photos.
fn course(out: usize, stay: usize, back: usize) -> Vec<f32> {
    let mut course = vec![0.0];
    course.extend((1..=out).map(|step| step as f32 / out as f32));
    course.extend(std::iter::repeat_n(1.0, stay));
    course.extend((1..=back).map(|step| 1.0 - step as f32 / back as f32));
    course.resize(10, 0.0);
    course
}

const OPEN: [f32; 10] = [1.0; 10];

proptest! {
    #[test]
    fn whoever_does_it_has_done_it(
        person in person(), at in 0usize..4, beyond in 1.0..25.0_f32, out in 1usize..4, stay in 0usize..3, back in 1usize..4,
    ) {
        let movement = SWINGS[at];
        let least = if at < 2 { YAW_LEAST } else { PITCH_LEAST };
        let seen = person.does(Some(movement), least + 4.0 + beyond, &course(out, stay, back), &OPEN);
        let judged = judge(movement, seen);
        prop_assert!(judged.is_done(), "{judged:?}");
    }

    #[test]
    fn another_movement_is_not_the_one(
        person in person(), asked in 0usize..4, done in 0usize..4, out in 1usize..4, back in 1usize..4,
    ) {
        prop_assume!(asked != done);
        let seen = person.does(Some(SWINGS[done]), 30.0, &course(out, 1, back), &OPEN);
        prop_assert!(!judge(SWINGS[asked], seen.clone()).is_done());
        prop_assert!(!judge(Movement::BlinkTwice, seen).is_done());
    }

    #[test]
    fn whoever_sits_there_has_done_nothing(person in person(), asked in 0usize..4) {
        let seen = person.does(None, 0.0, &[0.0; 10], &OPEN);
        prop_assert_eq!(judge(SWINGS[asked], seen.clone()).not_done, Some(NotDone::NotFarEnough));
        prop_assert_eq!(judge(Movement::BlinkTwice, seen).not_done, Some(NotDone::NotFarEnough));
    }

    #[test]
    fn whoever_stays_there_is_not_back(person in person(), at in 0usize..4, out in 1usize..5) {
        let mut course = course(out, 0, 1);
        course[1 + out..].fill(1.0);
        let judged = judge(SWINGS[at], person.does(Some(SWINGS[at]), 32.0, &course, &OPEN));
        prop_assert_eq!(judged.not_done, Some(NotDone::NotBack));
    }

    #[test]
    fn a_film_that_goes_every_way_does_nothing(person in person(), at in 0usize..2) {
        let there_and_beyond = [0.0, 0.5, 1.0, 0.5, 0.0, -0.5, -1.0, -0.5, 0.0, 0.0];
        let judged = judge(SWINGS[at], person.does(Some(SWINGS[at]), 30.0, &there_and_beyond, &OPEN));
        prop_assert_eq!(judged.not_done, Some(NotDone::OtherWay));
    }

    #[test]
    fn two_blinks_are_two_whenever_they_come(
        person in person(), first in 1usize..4, long in 1usize..3, between in 1usize..3, closed in 0.0..0.45_f32,
    ) {
        let mut eyes = OPEN;
        eyes[first..first + long].fill(closed);
        let second = first + long + between;
        eyes[second] = closed;
        let seen = person.does(None, 0.0, &[0.0; 10], &eyes);
        let judged = judge(Movement::BlinkTwice, seen.clone());
        prop_assert!(judged.is_done(), "{judged:?}");
        for movement in SWINGS {
            prop_assert!(!judge(movement, seen.clone()).is_done());
        }
        let mut once = eyes;
        once[second] = 1.0;
        let judged = judge(Movement::BlinkTwice, person.does(None, 0.0, &[0.0; 10], &once));
        prop_assert_eq!(judged.not_done, Some(NotDone::NotFarEnough));
        let mut shut = eyes;
        shut[second..].fill(closed);
        let judged = judge(Movement::BlinkTwice, person.does(None, 0.0, &[0.0; 10], &shut));
        prop_assert_eq!(judged.not_done, Some(NotDone::NotBack));
    }

    #[test]
    fn no_figures_make_it_panic(
        figures in prop::collection::vec((any::<f32>(), any::<f32>(), any::<f32>()), 0..16), gap_ms in 1u32..1_000, at in 0usize..5,
    ) {
        let seen = figures.iter().enumerate().map(|(number, (yaw_degrees, pitch_degrees, eyes_open))| Observed {
            at_ms: number as u32 * gap_ms, yaw_degrees: *yaw_degrees, pitch_degrees: *pitch_degrees, eyes_open: *eyes_open,
        });
        judge(Movement::ALL[at], seen.collect());
    }
}

#[test]
fn too_few_photos_and_too_short_a_time_are_not_judged() {
    let seen = |count: u32, gap_ms: u32| {
        let photos = (0..count).map(|at| Observed {
            at_ms: at * gap_ms,
            yaw_degrees: [0.0, 15.0, 30.0, 10.0][at as usize % 4],
            pitch_degrees: 0.0,
            eyes_open: 0.3,
        });
        judge(Movement::TurnLeft, photos.collect()).not_done
    };
    assert_eq!(seen(8, 250), None);
    assert_eq!(seen(4, 250), Some(NotDone::TooLittleSeen));
    assert_eq!(seen(8, 100), Some(NotDone::TooLittleSeen));
    assert_eq!(seen(0, 100), Some(NotDone::TooLittleSeen));
}

#[test]
fn whoever_begins_turned_away_is_not_at_rest() {
    let yaws = [35.0, 38.0, 60.0, 60.0, 40.0, 36.0, 35.0];
    let seen = yaws.into_iter().enumerate().map(|(at, yaw_degrees)| Observed {
        at_ms: at as u32 * 250,
        yaw_degrees,
        pitch_degrees: 0.0,
        eyes_open: 0.3,
    });
    assert_eq!(judge(Movement::TurnLeft, seen.collect()).not_done, Some(NotDone::NotAtRest));
}
