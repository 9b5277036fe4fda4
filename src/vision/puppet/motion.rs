//! What a puppet does over time: a movement that a challenge may ask for, and the small unrest of whoever sits before a
//! camera that hangs on a screen.

use std::f32::consts::TAU;

use rand::rngs::ChaCha12Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::Pose;
use super::Film;
use super::shape::smooth;
use crate::log::Movement;

/// A movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Motion {
    /// The head turns to the person's own left and back.
    TurnLeft,
    /// To the right and back.
    TurnRight,
    /// The head looks up and comes back.
    LookUp,
    /// Down and back.
    LookDown,
    /// Both eyes close twice.
    BlinkTwice,
    /// Nothing but unrest.
    Still,
}

impl From<Movement> for Motion {
    fn from(asked: Movement) -> Self {
        match asked {
            Movement::TurnLeft => Self::TurnLeft,
            Movement::TurnRight => Self::TurnRight,
            Movement::LookUp => Self::LookUp,
            Movement::LookDown => Self::LookDown,
            Movement::BlinkTwice => Self::BlinkTwice,
        }
    }
}

/// How a puppet is seen at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stance {
    /// How the head is turned, from its rest in the portrait.
    pub pose: Pose,
    /// How far the eyes are closed, 0 to 1.
    pub closed: f32,
    /// How far the camera sees it displaced, as shares of the face's width: right and down.
    pub shift: [f32; 2],
    /// How many times as large as in the portrait it is seen.
    pub zoom: f32,
    /// What all light is multiplied by.
    pub gain: f32,
    /// Where the light comes from, right and down, besides from the camera: 0 is as in the portrait, 1 wholly from there.
    pub light: [f32; 2],
}

impl Stance {
    /// As in the portrait.
    pub const REST: Self = Self {
        pose: Pose { yaw_degrees: 0.0, pitch_degrees: 0.0, roll_degrees: 0.0 },
        closed: 0.0,
        shift: [0.0; 2],
        zoom: 1.0,
        gain: 1.0,
        light: [0.0; 2],
    };
}

/// How far heads turn and nod when they are asked to, in degrees.
const TURN_DEGREES: f32 = 30.0;
const NOD_DEGREES: f32 = 20.0;
/// When the two blinks are in the middle, and how long each takes on either side, as shares of the whole.
const BLINKS: [f32; 2] = [0.34, 0.7];
const BLINK_HALF: f32 = 0.13;

/// The unrest's waves: how high each quantity goes, in the order of [`Acting::stance`].
const UNREST: [f32; 9] = [1.2, 0.8, 0.6, 0.012, 0.012, 0.006, 0.025, 0.12, 0.08];
const WAVES: usize = 3;

/// A movement that somebody performs, in their own way.
pub struct Acting {
    motion: Motion,
    extent: f32,
    begins_ms: f32,
    whole_ms: f32,
    /// Cycles a second and phase of each quantity's waves.
    waves: [[(f32, f32); WAVES]; UNREST.len()],
}

impl Acting {
    /// A film's movement, which takes `whole_ms`; the same seed moves in the same way.
    pub fn new(film: Film<'_>, whole_ms: u32) -> Self {
        let mut random = ChaCha12Rng::seed_from_u64(film.seed);
        let mut wave = || (random.random_range(0.2..1.3), random.random_range(0.0..TAU));
        let waves = std::array::from_fn(|_| std::array::from_fn(|_| wave()));
        let Film { motion, extent, begins_ms, .. } = film;
        Self { motion, extent, begins_ms: begins_ms as f32, whole_ms: whole_ms.max(1) as f32, waves }
    }

    /// The stance at `at_ms` from the beginning.
    pub fn stance(&self, at_ms: u32) -> Stance {
        let [yaw, pitch, roll, right, down, zoom, gain, lit_right, lit_down] = self.unrest(at_ms);
        let share = (at_ms as f32 - self.begins_ms) / self.whole_ms;
        // Rest, go, stay, come back, rest.
        let there = self.extent * (smooth((share - 0.12) / 0.26) - smooth((share - 0.62) / 0.26));
        let (turn, nod) = match self.motion {
            Motion::TurnLeft => (TURN_DEGREES, 0.0),
            Motion::TurnRight => (-TURN_DEGREES, 0.0),
            Motion::LookUp => (0.0, NOD_DEGREES),
            Motion::LookDown => (0.0, -NOD_DEGREES),
            Motion::BlinkTwice | Motion::Still => (0.0, 0.0),
        };
        let pose = Pose { yaw_degrees: yaw + there * turn, pitch_degrees: pitch + there * nod, roll_degrees: roll };
        let closed = if self.motion == Motion::BlinkTwice { self.extent * closed(share) } else { 0.0 };
        Stance { pose, closed, shift: [right, down], zoom: 1.0 + zoom, gain: 1.0 + gain, light: [lit_right, lit_down] }
    }

    fn unrest(&self, at_ms: u32) -> [f32; UNREST.len()] {
        let seconds = at_ms as f32 / 1000.0;
        std::array::from_fn(|i| {
            let waves = self.waves[i].iter().map(|(cycles, phase)| (TAU * cycles * seconds + phase).sin());
            UNREST[i] * waves.sum::<f32>() / (WAVES as f32).sqrt()
        })
    }
}

/// How far the eyes are closed at a share of the whole: shut for a third of each blink.
fn closed(share: f32) -> f32 {
    BLINKS.map(|middle| smooth(1.5 * (1.0 - (share - middle).abs() / BLINK_HALF))).into_iter().fold(0.0, f32::max)
}
