//! Whether a burst shows the movement that was asked for: from rest, far enough, that way and no other, and back.
//!
//! Everything is held against the person's own rest, which the first photo shows: faces differ, and so do places of cameras.
//! It sees figures, not pictures, and does not ask who it is.

use serde::{Deserialize, Serialize};

use super::Digest;
use crate::log::Movement;

/// What one photo shows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// When it was taken, ms after the first one.
    pub at_ms: u32,
    /// Turned to the person's own left, in degrees; to the right is negative.
    pub yaw_degrees: f32,
    /// Looking up, in degrees; down is negative.
    pub pitch_degrees: f32,
    /// Height of the open eyes as a share of their width.
    pub eyes_open: f32,
}

/// Why a movement was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotDone {
    /// A face can be seen in too few photos, or for too short a time.
    TooLittleSeen,
    /// It does not begin at rest: straight into the camera, eyes open.
    NotAtRest,
    /// Not as far as was asked for, or no blink.
    NotFarEnough,
    /// Another way than was asked for, or in every direction.
    OtherWay,
    /// Not back at rest in the end.
    NotBack,
}

impl NotDone {
    /// What the learner can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::TooLittleSeen => "your face was not seen all the time: stay before the camera and do it again",
            Self::NotAtRest => "look straight into the camera before you begin, with open eyes",
            Self::NotFarEnough => "do the movement clearly, as far as you comfortably can",
            Self::OtherWay => "do the movement that is asked for, and no other",
            Self::NotBack => "come back to looking straight into the camera",
        }
    }
}

/// What came of a movement that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Challenge {
    /// What was asked for.
    pub asked: Movement,
    /// Why it was not done; none when it was.
    pub not_done: Option<NotDone>,
    /// How far it went: degrees that way, or blinks.
    pub extent: f32,
    /// What the photos show, without those that show no face.
    pub observed: Vec<Observed>,
}

impl Challenge {
    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        self.not_done.is_none()
    }
}

/// The networks whose figures a movement is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovementModels {
    /// SHA-256 of the network that finds the mesh.
    pub mesh: Digest,
    /// SHA-256 of the network that finds the eyelids.
    pub eyes: Digest,
}

/// Photos with a face, at least, and the time from the first to the last of them.
const OBSERVED_LEAST: usize = 5;
const SPAN_LEAST_MS: u32 = 900;
/// Who begins farther from the camera than this is not at rest, degrees. Cameras stand beside screens, and above them.
const REST_YAW_LIMIT: f32 = 22.0;
const REST_PITCH_LIMIT: f32 = 28.0;
/// How far from rest a movement must go, degrees: less than what people do when they are asked to, more than what they do
/// without.
const YAW_LEAST: f32 = 16.0;
const PITCH_LEAST: f32 = 9.0;
/// How far the other way, or along the other axis, it may go meanwhile: a share of what it must at least …
const OTHER_WAY_SHARE: f32 = 0.75;
/// … and across, in degrees: who turns also leans, and a nod is seen in a turned head's figures.
const ACROSS_YAW_LIMIT: f32 = 16.0;
const ACROSS_PITCH_LIMIT: f32 = 18.0;
/// How much of the way back the end must be at least.
const BACK_SHARE: f32 = 0.5;
/// Eyes are closed below this share of the person's own open ones, and open again from that on. Rendered eyes that are shut come to
/// 0.24 to 0.61, and eyes that stay open, on a face of 60 px, to 0.81.
const CLOSED_SHARE: f32 = 0.65;
const OPEN_SHARE: f32 = 0.75;
/// Height by width of eyes that are open at all.
const OPEN_LEAST: f32 = 0.12;
/// Who is asked to blink twice may blink once more.
const BLINKS: std::ops::RangeInclusive<usize> = 2..=3;
/// Eyes that are shut for longer do not blink, ms.
const BLINK_LIMIT_MS: u32 = 1_500;

/// Judges a movement by what the photos show, in their order.
pub fn judge(asked: Movement, observed: Vec<Observed>) -> Challenge {
    let span_ms = observed.last().map_or(0, |last| last.at_ms.saturating_sub(observed[0].at_ms));
    let (extent, not_done) = if observed.len() < OBSERVED_LEAST || span_ms < SPAN_LEAST_MS {
        (0.0, Some(NotDone::TooLittleSeen))
    } else {
        match asked {
            Movement::TurnLeft => turned(&observed, 1.0),
            Movement::TurnRight => turned(&observed, -1.0),
            Movement::LookUp => nodded(&observed, 1.0),
            Movement::LookDown => nodded(&observed, -1.0),
            Movement::BlinkTwice => blinked(&observed),
        }
    };
    Challenge { asked, not_done, extent, observed }
}

fn turned(observed: &[Observed], sign: f32) -> (f32, Option<NotDone>) {
    let axis = |seen: &Observed| sign * seen.yaw_degrees;
    let across = |seen: &Observed| seen.pitch_degrees;
    swung(observed, axis, across, REST_YAW_LIMIT, YAW_LEAST, ACROSS_PITCH_LIMIT)
}

fn nodded(observed: &[Observed], sign: f32) -> (f32, Option<NotDone>) {
    let axis = |seen: &Observed| sign * seen.pitch_degrees;
    let across = |seen: &Observed| seen.yaw_degrees;
    swung(observed, axis, across, REST_PITCH_LIMIT, PITCH_LEAST, ACROSS_YAW_LIMIT)
}

/// A movement to and fro along an axis.
fn swung(
    observed: &[Observed],
    axis: impl Fn(&Observed) -> f32,
    across: impl Fn(&Observed) -> f32,
    rest_limit: f32,
    least: f32,
    across_limit: f32,
) -> (f32, Option<NotDone>) {
    let rest = &observed[0];
    let (rest_at, rest_across) = (axis(rest), across(rest));
    let way = || observed.iter().map(|seen| axis(seen) - rest_at);
    let (peak, extent) = way().enumerate().fold((0, 0.0), |most, now| if now.1 > most.1 { now } else { most });
    let farthest_back = way().fold(0.0, f32::min);
    let farthest_across = observed.iter().map(|seen| (across(seen) - rest_across).abs()).fold(0.0, f32::max);
    let end = way().skip(peak + 1).fold(f32::INFINITY, f32::min);
    let not_done = if rest_at.abs() > rest_limit {
        Some(NotDone::NotAtRest)
    } else if -farthest_back > OTHER_WAY_SHARE * least || farthest_across > across_limit.max(extent) {
        Some(NotDone::OtherWay)
    } else if extent < least {
        Some(NotDone::NotFarEnough)
    } else if end > (1.0 - BACK_SHARE) * extent {
        Some(NotDone::NotBack)
    } else {
        None
    };
    (extent, not_done)
}

fn blinked(observed: &[Observed]) -> (f32, Option<NotDone>) {
    let open = observed.iter().map(|seen| seen.eyes_open).fold(0.0, f32::max);
    if open < OPEN_LEAST || observed[..2].iter().all(|seen| seen.eyes_open < OPEN_SHARE * open) {
        return (0.0, Some(NotDone::NotAtRest));
    }
    let (mut blinks, mut closed_at_ms, mut longest_ms) = (0, None, 0);
    for seen in observed {
        match closed_at_ms {
            None if seen.eyes_open < CLOSED_SHARE * open => closed_at_ms = Some(seen.at_ms),
            Some(from_ms) => {
                longest_ms = longest_ms.max(seen.at_ms - from_ms);
                if seen.eyes_open >= OPEN_SHARE * open {
                    blinks += 1;
                    closed_at_ms = None;
                }
            }
            None => {}
        }
    }
    let apart = |axis: fn(&Observed) -> f32| {
        let most = observed.iter().map(axis).fold(f32::NEG_INFINITY, f32::max);
        most - observed.iter().map(axis).fold(f32::INFINITY, f32::min)
    };
    let moves =
        apart(|seen| seen.yaw_degrees) > ACROSS_YAW_LIMIT || apart(|seen| seen.pitch_degrees) > ACROSS_PITCH_LIMIT;
    let not_done = if moves {
        Some(NotDone::OtherWay)
    } else if closed_at_ms.is_some() || longest_ms > BLINK_LIMIT_MS {
        Some(NotDone::NotBack)
    } else if blinks > *BLINKS.end() {
        Some(NotDone::OtherWay)
    } else {
        (!BLINKS.contains(&blinks)).then_some(NotDone::NotFarEnough)
    };
    (blinks as f32, not_done)
}

#[cfg(test)]
#[path = "challenge_tests.rs"]
mod tests;
