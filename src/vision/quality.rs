//! Whether a face can be seen well enough to be told from another: light, sharpness, how it is turned, whether all of it is
//! there.
//!
//! It decides nothing about who it is. A face that is like the enrolled one counts although it is seen badly; one that is
//! not, and is seen badly, may be anybody's. Limits and how they were measured: models/MODEL_CARD.md.

use serde::{Deserialize, Serialize};

use super::grey::{Grey, mean_and_spread};
use super::{FaceBox, Photo};

/// What is wrong with how a face can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// Too little light.
    TooDark,
    /// Too much light, or washed out.
    TooBright,
    /// Light behind the person, and little on the face.
    Backlit,
    /// Out of focus, or moved.
    Blurred,
    /// Full of noise, as cameras are with little light.
    Grainy,
    /// Turned away, or looking up or down.
    TurnedAway,
    /// Something is before it.
    Covered,
}

impl Flaw {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooDark => "too_dark",
            Self::TooBright => "too_bright",
            Self::Backlit => "backlit",
            Self::Blurred => "blurred",
            Self::Grainy => "grainy",
            Self::TurnedAway => "turned_away",
            Self::Covered => "covered",
        }
    }

    /// What the learner can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::TooDark => "it is too dark: turn to the light",
            Self::TooBright => "it is too bright: turn away from the light",
            Self::Backlit => "the light is behind you: turn to it",
            Self::Blurred => "the photo is blurred: hold still, wipe the lens",
            Self::Grainy => "the photo is grainy: more light is needed",
            Self::TurnedAway => "the face is turned away: look into the camera",
            Self::Covered => "something is before the face: take it away",
        }
    }
}

/// How well a face can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Side of a square of the face's area, in pixels.
    pub side_px: f32,
    /// Mean brightness of the face, 0 to 255.
    pub brightness: f32,
    /// Standard deviation of its brightness.
    pub contrast: f32,
    /// Share of the face that is as bright as can be.
    pub washed_out: f32,
    /// How much brighter what is around it is, in levels.
    pub behind: f32,
    /// How much of what is to be seen are fine lines: the standard deviation of the Laplacian by that of the brightness.
    pub sharpness: f32,
    /// Noise of single pixels of the photo, levels of 255: the standard deviation of what its neighbours do not explain.
    pub grain: f32,
    /// How far the nose is from the middle between the eyes, along their line, as a share of their distance; to the person's
    /// own left is positive. 0.35 is about 30°.
    pub turn: f32,
    /// Where the tip of the nose is between the line of the eyes, 0, and that of the mouth, 1.
    pub nod: f32,
    /// How sure the detector is that it is a face, 0 to 1.
    pub certainty: f32,
}

/// Brightness below which a face shows too little, levels: from there on down people begin not to match themselves.
const DARK_BELOW: f32 = 42.0;
const BRIGHT_ABOVE: f32 = 225.0;
/// Share of the face that may be as bright as can be.
const WASHED_OUT_LIMIT: f32 = 0.3;
/// A value from here on is as bright as can be.
const WHITE_FROM: f32 = 250.0;
/// A face at most this bright, with so much more light around it, is lit from behind.
const BACKLIT_BELOW: f32 = 75.0;
const BEHIND_LIMIT: f32 = 70.0;
/// Standard deviation below which a face is a grey patch.
const FLAT_BELOW: f32 = 10.0;
/// Faces as cameras take them are at 0.7 to 1.3; at 0.45 one of twenty no longer matches, at 0.2 most do not.
const SHARPNESS_LEAST: f32 = 0.45;
/// Above this it is the camera's noise that is seen.
const SHARPNESS_MOST: f32 = 1.55;
/// Noise of single pixels from here on is seen by the recogniser, which takes one pixel of many from a large face. Photos as
/// they are have 0.5 to 1.2; with even noise of ±10 levels, at which all still match, it is 5.2 at most; with ±30, 11.6 at
/// least.
const GRAIN_LIMIT: f32 = 7.0;
const TURN_LIMIT: f32 = 0.35;
const NOD_LIMITS: [f32; 2] = [0.25, 0.85];
const CERTAINTY_LEAST: f32 = 0.8;
/// See [`Quality::doubt`].
const DOUBT: f32 = 0.05;

impl Quality {
    /// Of a face in a photo, as the recogniser sees it at half the size, and the whole photo made small.
    pub fn of(photo: &Photo, face: &FaceBox, levelled: &Grey, scene: &Grey) -> Self {
        let inner = Inner(levelled);
        let (brightness, contrast) = mean_and_spread(inner.values());
        let all = inner.values().count().max(1) as f32;
        let (_, lines) = mean_and_spread(inner.laplacian());
        Self {
            side_px: face.side_px(),
            brightness,
            contrast,
            washed_out: inner.values().filter(|value| *value >= WHITE_FROM).count() as f32 / all,
            behind: mean_and_spread(around(photo, face, scene)).0 - brightness,
            sharpness: if contrast > 0.0 { lines / contrast } else { 0.0 },
            grain: grain(photo, face),
            turn: turn(&face.points),
            nod: nod(&face.points),
            certainty: face.score,
        }
    }

    /// What is added to the similarity that counts as a match, because strangers come to look alike when little is seen.
    pub fn doubt(&self) -> f32 {
        if self.flaw().is_some() { DOUBT } else { 0.0 }
    }

    /// What is wrong with it, the gravest first; `None` when it is good enough to say whose it is not.
    pub fn flaw(&self) -> Option<Flaw> {
        if self.brightness < BACKLIT_BELOW && self.behind > BEHIND_LIMIT {
            return Some(Flaw::Backlit);
        }
        if self.brightness < DARK_BELOW {
            return Some(Flaw::TooDark);
        }
        if self.brightness > BRIGHT_ABOVE || self.washed_out > WASHED_OUT_LIMIT {
            return Some(Flaw::TooBright);
        }
        if self.turn.abs() > TURN_LIMIT || !(NOD_LIMITS[0]..=NOD_LIMITS[1]).contains(&self.nod) {
            return Some(Flaw::TurnedAway);
        }
        if self.sharpness > SHARPNESS_MOST || self.grain > GRAIN_LIMIT {
            return Some(Flaw::Grainy);
        }
        if self.sharpness < SHARPNESS_LEAST || self.contrast < FLAT_BELOW {
            return Some(Flaw::Blurred);
        }
        (self.certainty < CERTAINTY_LEAST).then_some(Flaw::Covered)
    }
}

/// The part of a levelled face that is skin, eyes and mouth: no hair, no wall.
struct Inner<'a>(&'a Grey);

impl Inner<'_> {
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let side = self.0.width;
        // From above the eyes, which are at 0.46 of the height, to below the mouth, at 0.82.
        let (columns, rows) = (side * 2 / 10..side * 8 / 10, side * 3 / 10..side * 9 / 10);
        rows.flat_map(move |row| columns.clone().map(move |column| (column, row)))
    }

    fn values(&self) -> impl Iterator<Item = f32> {
        self.places().map(|(column, row)| self.0.at(column, row)).filter(|value| value.is_finite())
    }

    fn laplacian(&self) -> impl Iterator<Item = f32> {
        let at = |column, row| self.0.at(column, row);
        self.places().map(move |(column, row)| {
            4.0 * at(column, row)
                - at(column - 1, row)
                - at(column + 1, row)
                - at(column, row - 1)
                - at(column, row + 1)
        })
    }
}

/// See [`Quality::grain`]. A plane or an edge along rows or columns leaves nothing; of what does, the median counts, so that
/// eyes and hair do not.
fn grain(photo: &Photo, face: &FaceBox) -> f32 {
    /// Rows that are looked at, at most.
    const ROWS: usize = 64;
    /// From the median of the amounts to the standard deviation, of what nine values in shares of 1, −2 and 4 leave.
    const DEVIATION: f32 = 1.0 / (0.6745 * 6.0);
    let within = |at: f32, length: usize| (at.max(1.0) as usize).min(length.saturating_sub(1).max(1));
    let columns =
        within(face.x + 0.15 * face.width, photo.width_px)..within(face.x + 0.85 * face.width, photo.width_px);
    let rows =
        within(face.y + 0.25 * face.height, photo.height_px)..within(face.y + 0.9 * face.height, photo.height_px);
    let luma = |row: &[u8], column: usize| {
        let [red, green, blue] = [0, 1, 2].map(|colour| i32::from(row[3 * column + colour]));
        299 * red + 587 * green + 114 * blue
    };
    if columns.is_empty() {
        return 0.0;
    }
    let (mut bends, mut left) = (Vec::new(), Vec::new());
    for at in rows.clone().step_by(rows.len().div_ceil(ROWS).max(1)) {
        let [above, here, below] = [at - 1, at, at + 1].map(|row| photo.row(row));
        bends.clear();
        bends.extend(
            (columns.start - 1..=columns.end)
                .map(|column| luma(above, column) - 2 * luma(here, column) + luma(below, column)),
        );
        left.extend(bends.windows(3).map(|three| (three[0] - 2 * three[1] + three[2]).unsigned_abs()));
    }
    let middle = left.len() / 2;
    if left.is_empty() { 0.0 } else { *left.select_nth_unstable(middle).1 as f32 / 1000.0 * DEVIATION }
}

/// What is above a face and beside it, from three quarters of its side away from its middle to the whole side.
fn around(photo: &Photo, face: &FaceBox, scene: &Grey) -> impl Iterator<Item = f32> {
    let [x, y] = face.centre();
    let step = [photo.width_px as f32 / scene.width as f32, photo.height_px as f32 / scene.height() as f32];
    let away = move |at: usize, step: f32, middle: f32| ((at as f32 + 0.5) * step - middle) / face.side_px();
    scene.values.iter().enumerate().filter_map(move |(at, value)| {
        let (right, down) = (away(at % scene.width, step[0], x), away(at / scene.width, step[1], y));
        let near = right.abs().max(down.abs()) <= 1.0;
        (near && right.abs().max(-down) >= 0.75).then_some(*value)
    })
}

/// See [`Quality::turn`].
pub fn turn(points: &[[f32; 2]; 5]) -> f32 {
    along_and_below(points).0
}

/// See [`Quality::nod`].
pub fn nod(points: &[[f32; 2]; 5]) -> f32 {
    let [right_eye, left_eye, _, right_mouth, left_mouth] = *points;
    let (_, nose) = along_and_below(points);
    let middle = [(right_mouth[0] + left_mouth[0]) / 2.0, (right_mouth[1] + left_mouth[1]) / 2.0];
    let (_, mouth) = along_and_below(&[right_eye, left_eye, middle, right_mouth, left_mouth]);
    nose / mouth.max(f32::EPSILON)
}

/// Where the third point is from the middle between the eyes: along their line and below it, as shares of their distance.
fn along_and_below([right, left, nose, ..]: &[[f32; 2]; 5]) -> (f32, f32) {
    let line = [left[0] - right[0], left[1] - right[1]];
    let squared = (line[0] * line[0] + line[1] * line[1]).max(f32::EPSILON);
    let from = [nose[0] - (left[0] + right[0]) / 2.0, nose[1] - (left[1] + right[1]) / 2.0];
    let along = (from[0] * line[0] + from[1] * line[1]) / squared;
    let below = (from[1] * line[0] - from[0] * line[1]) / squared;
    (along, below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(value: impl Fn(usize, usize) -> u8) -> Photo {
        let rgb = (0..60 * 60).flat_map(|at| [value(at % 60, at / 60); 3]).collect();
        Photo { width_px: 60, height_px: 60, rgb }
    }

    fn face(x: f32, y: f32, side: f32) -> FaceBox {
        FaceBox { x, y, width: side, height: side, score: 0.9, points: [[0.0; 2]; 5] }
    }

    #[test]
    fn grain_is_what_neighbours_do_not_explain() {
        let all = face(0.0, 0.0, 60.0);
        assert_eq!(grain(&photo(|x, y| (2 * x + y) as u8), &all), 0.0, "a slope");
        assert_eq!(grain(&photo(|x, _| if x < 30 { 20 } else { 200 }), &all), 0.0, "an edge");
        // Every other pixel 10 levels brighter: what is left of each is eight times as much.
        let board = grain(&photo(|x, y| 100 + 10 * ((x + y) % 2) as u8), &all);
        assert!((board - 80.0 / (0.6745 * 6.0)).abs() < 0.01, "{board}");
    }

    #[test]
    fn a_face_at_or_beyond_the_edge_has_the_grain_of_what_can_be_seen() {
        let photo = photo(|x, y| 100 + 10 * ((x + y) % 2) as u8);
        assert!(grain(&photo, &face(-30.0, -30.0, 60.0)) > 10.0);
        assert!(grain(&photo, &face(30.0, 30.0, 90.0)) > 10.0);
        assert_eq!(grain(&photo, &face(500.0, 500.0, 60.0)), 0.0);
        assert_eq!(grain(&photo, &face(-500.0, -500.0, 60.0)), 0.0);
    }
}
