//! Whether the photos of a burst are of a camera with a person before it: they must move, a little, and not jump.
//!
//! A face and what is around it are laid over each other, photo by photo, by the one shift, zoom and turn that fits best,
//! whatever the brightness. A picture of a picture fits everywhere, also after it was shifted, cropped, re-encoded, or had
//! noise added; people breathe, look about and sway before their wall, so that some places are always left apart.
//! All figures are shares of the face's own size. Limits and how they were measured: models/MODEL_CARD.md.
//!
//! It does not tell a person from a film of one, nor a still picture that was bent to seem alive.

use serde::{Deserialize, Serialize};

use super::align::Similarity;
use super::grey::Grey;
use super::{FaceBox, Photo};

/// What is compared is a square of so many values …
const SIDE: usize = 96;
/// … around a face, and twice as wide: half of it is hair, shoulders and wall.
const SPAN: f32 = 2.0;
/// Places whose shift is looked at one by one: squares of so many values.
const CELL: usize = 12;
/// Mean squared slope of a place that shows anything to hold on to, squared levels a value.
const TEXTURE_LEAST: f32 = 4.0;
/// With fewer such places nothing is said.
const CELLS_LEAST: usize = 4;
/// Rounds of fitting; it ends sooner once nothing moves.
const ROUNDS: usize = 6;
/// Every so many rows and columns are fitted: a smoothed picture's neighbours say nearly the same.
const FITTED_EVERY: usize = 2;

/// Two photos at least this far apart that move less than this are one photo, thousandths of the face's side. The stillest
/// person's photos were 1.9 apart at 200 ms; a photo sent twice, with noise or re-encoded, at most 1.
const SAME_PER_MILLE: f32 = 1.0;
const SAME_APART_LEAST_MS: u32 = 150;
/// A burst whose photos are all nearer than this to each other is frozen: of the stillest person's none was below 2.7 in
/// 400 ms; one photo, shifted by a pixel, zoomed or turned anew each time, comes to 2.0 on a face of a webcam's size.
const STILL_PER_MILLE: f32 = 2.3;
const STILL_SPAN_LEAST_MS: u32 = 350;
/// What a face may travel from one photo to the next, as a share of its side for each second between them, and without any
/// time at all.
const TRAVEL_A_SECOND: f32 = 3.0;
const TRAVEL_LEAST: f32 = 0.6;
/// How much larger or smaller it may get from one photo to the next.
const GROWTH_LIMIT: f32 = 1.6;
/// How alike the whole photos must be from one to the next: a camera that is held still shows the same room. In films it was
/// 0.68 at least; photos of two places were at most 0.37 alike.
const SCENE_LIKENESS_LEAST: f32 = 0.5;
/// Time between two photos that a page can take: faster than 20 a second it does not, later than 5 s is no burst.
const GAP_LEAST_MS: u32 = 50;
const GAP_MOST_MS: u32 = 5_000;
/// The whole photo in columns and rows, for what needs no face.
const SCENE: [usize; 2] = [64, 48];
/// Greatest difference of any part of two pictures that are one, in levels: 2.1 after re-encoding at quality 50. Of people
/// 300 ms apart it was 14 at least.
const SAME_SCENE_LEVELS: f32 = 3.0;

/// What is wrong with how the photos of a burst follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unnatural {
    /// One photo again and again.
    Frozen,
    /// A photo that comes back after others.
    Looped,
    /// The face, or the room, is elsewhere at once.
    Jumped,
}

/// How the photos of a burst follow each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    /// What is wrong with it, if anything is.
    pub unnatural: Option<Unnatural>,
    /// The most that two photos move against each other, thousandths of the face's side; none where nothing can be seen.
    pub most_per_mille: Option<f32>,
    /// The least, of photos that are at least 150 ms apart.
    pub least_per_mille: Option<f32>,
    /// The farthest that the face goes from one photo to the next, as a share of its side.
    pub travel: f32,
    /// The least likeness of one whole photo with the next, −1 to 1.
    pub scene_likeness: f32,
}

/// What is looked at of each photo of a burst.
pub struct Still<'a> {
    pub at_ms: u32,
    pub face: FaceBox,
    /// [`surroundings`] of the first photo's face: the same place in each
    pub surroundings: Grey,
    pub scene: &'a Grey,
}

/// A face and what is around it, or what is there in another photo.
pub fn surroundings(photo: &Photo, face: &FaceBox) -> Grey {
    let transform = Similarity::square(face.centre(), SPAN * face.side_px(), 0.0, SIDE);
    Grey::of(photo, transform, SIDE).smoothed()
}

/// The whole photo, made small.
pub fn scene(photo: &Photo) -> Grey {
    Grey::whole(photo, SCENE[0], SCENE[1])
}

/// Whether photos could have been taken at these times, ms.
pub fn is_plausible(times_ms: &[u32]) -> bool {
    times_ms.windows(2).all(|pair| (GAP_LEAST_MS..=GAP_MOST_MS).contains(&(pair[1].saturating_sub(pair[0]))))
}

/// What can be said before a face was looked for: whether two of the photos are one, but for a little noise.
pub fn repeated<'a>(scenes: impl Iterator<Item = &'a Grey>) -> Option<Unnatural> {
    let scenes: Vec<&Grey> = scenes.collect();
    pairs(scenes.len()).find_map(|(a, b)| same_scene(scenes[a], scenes[b]).then(|| named(a, b)))
}

/// The greatest difference of any part of two whole photos, in levels.
pub fn scene_difference(a: &Grey, b: &Grey) -> f32 {
    a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn same_scene(a: &Grey, b: &Grey) -> bool {
    a.values.len() == b.values.len() && scene_difference(a, b) <= SAME_SCENE_LEVELS
}

fn named(a: usize, b: usize) -> Unnatural {
    if b == a + 1 { Unnatural::Frozen } else { Unnatural::Looped }
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (1..count).flat_map(move |apart| (apart..count).map(move |b| (b - apart, b)))
}

/// Judges the photos of a burst, at least two, in their order.
pub fn judge(stills: &[Still<'_>]) -> Motion {
    let steps = || stills.windows(2).map(|pair| (&pair[0], &pair[1]));
    let mut motion = Motion {
        unnatural: None,
        most_per_mille: None,
        least_per_mille: None,
        travel: steps().map(|(a, b)| travel(a, b)).fold(0.0, f32::max),
        scene_likeness: steps().map(|(a, b)| a.scene.likeness(b.scene)).fold(1.0, f32::min),
    };
    let mut same = None;
    for (a, b) in pairs(stills.len()) {
        let Some(moved) = movement_per_mille(&stills[a].surroundings, &stills[b].surroundings) else { continue };
        motion.most_per_mille = Some(motion.most_per_mille.map_or(moved, |most: f32| most.max(moved)));
        if stills[b].at_ms - stills[a].at_ms >= SAME_APART_LEAST_MS {
            motion.least_per_mille = Some(motion.least_per_mille.map_or(moved, |least: f32| least.min(moved)));
            if moved < SAME_PER_MILLE {
                same = same.or(Some(named(a, b)));
            }
        }
    }
    let span_ms = stills.last().map_or(0, |last| last.at_ms - stills[0].at_ms);
    let still = span_ms >= STILL_SPAN_LEAST_MS && motion.most_per_mille.is_some_and(|most| most < STILL_PER_MILLE);
    let jumped = || motion.scene_likeness < SCENE_LIKENESS_LEAST || steps().any(|(a, b)| has_jumped(a, b));
    motion.unnatural = match same {
        _ if still => Some(Unnatural::Frozen),
        Some(same) => Some(same),
        None => jumped().then_some(Unnatural::Jumped),
    };
    motion
}

fn travel(a: &Still<'_>, b: &Still<'_>) -> f32 {
    let ([ax, ay], [bx, by]) = (a.face.centre(), b.face.centre());
    (bx - ax).hypot(by - ay) / a.face.side_px()
}

fn has_jumped(a: &Still<'_>, b: &Still<'_>) -> bool {
    let apart_s = (b.at_ms - a.at_ms) as f32 / 1000.0;
    let growth = b.face.side_px() / a.face.side_px();
    travel(a, b) > TRAVEL_LEAST + TRAVEL_A_SECOND * apart_s || growth.max(1.0 / growth) > GROWTH_LIMIT
}

/// How far the places of `b` are from those of `a` once the two are laid over each other: three of four places are nearer,
/// in thousandths of the face's side. `None` where there is too little to hold on to.
pub fn movement_per_mille(a: &Grey, b: &Grey) -> Option<f32> {
    let slopes = Slopes::of(a);
    let laid = Overlay::fitted(a, b, &slopes);
    let left = laid.left_over(a, b, 1);
    let mut shifts: Vec<f32> = cells().filter_map(|cell| shift(&left, &slopes, cell)).collect();
    if shifts.len() < CELLS_LEAST {
        return None;
    }
    let at = shifts.len() * 3 / 4;
    let (_, shift, _) = shifts.select_nth_unstable_by(at, f32::total_cmp);
    Some(*shift * SPAN / SIDE as f32 * 1000.0)
}

fn cells() -> impl Iterator<Item = [usize; 2]> {
    (0..SIDE / CELL).flat_map(|row| (0..SIDE / CELL).map(move |column| [column * CELL, row * CELL]))
}

/// How fast a picture changes to the right and downwards, in levels a value.
struct Slopes {
    right: Vec<f32>,
    down: Vec<f32>,
}

impl Slopes {
    fn of(grey: &Grey) -> Self {
        let mut slopes = Self { right: vec![f32::NAN; SIDE * SIDE], down: vec![f32::NAN; SIDE * SIDE] };
        for row in 1..SIDE - 1 {
            for column in 1..SIDE - 1 {
                let at = row * SIDE + column;
                slopes.right[at] = (grey.values[at + 1] - grey.values[at - 1]) / 2.0;
                slopes.down[at] = (grey.values[at + SIDE] - grey.values[at - SIDE]) / 2.0;
            }
        }
        slopes
    }
}

const UNKNOWNS: usize = 6;

/// How one picture is laid over another: shift, zoom, turn, contrast, brightness.
struct Overlay {
    /// right, down; zoom and turn as the values that they move the picture's edge by
    place: [f32; 4],
    contrast: f32,
    brightness: f32,
}

impl Overlay {
    /// Gauss and Newton's method; what does not fit weighs less from the second round on, so that a face that moves does
    /// not drag its wall along.
    fn fitted(a: &Grey, b: &Grey, slopes: &Slopes) -> Self {
        let mut laid = Self { place: [0.0; 4], contrast: 1.0, brightness: 0.0 };
        for round in 0..ROUNDS {
            let left = laid.left_over(a, b, FITTED_EVERY);
            let bound = if round == 0 { f32::INFINITY } else { 2.0 * (1.48 * median_size(&left) + 0.3) };
            let Some(change) = change(a, &left, slopes, bound) else { break };
            laid.place.iter_mut().zip(change).for_each(|(place, change)| *place += change);
            laid.contrast += change[4] / CONTRAST;
            laid.brightness += CONTRAST * change[5] - MIDDLE * change[4] / CONTRAST;
            // A hundredth of a value, a third of a level.
            let settled = change[..4].iter().all(|change| change.abs() < 0.01);
            if settled && change[4].abs() < 0.1 && change[5].abs() < 0.01 {
                break;
            }
        }
        laid
    }

    fn place_of(&self, column: usize, row: usize) -> [f32; 2] {
        let [x, y] = from_middle(column, row);
        let [right, down, zoom, turn] = self.place;
        [column as f32 + right + zoom * x - turn * y, row as f32 + down + zoom * y + turn * x]
    }

    /// `a` less `b` laid over it, in every `every`th row and column; not a number where one of them is not.
    fn left_over(&self, a: &Grey, b: &Grey, every: usize) -> Vec<f32> {
        let mut left = Vec::with_capacity((SIDE / every).pow(2));
        for row in (0..SIDE).step_by(every) {
            for column in (0..SIDE).step_by(every) {
                let [x, y] = self.place_of(column, row);
                left.push(a.at(column, row) - (self.contrast * b.between(x, y) + self.brightness));
            }
        }
        left
    }
}

/// The grey that contrast turns about, and the levels in which contrast and brightness are counted, so that all unknowns
/// are of one size.
const MIDDLE: f32 = 128.0;
const CONTRAST: f32 = 32.0;

/// What takes the overlay nearer, given what is left over in every `FITTED_EVERY`th row and column; `None` where the
/// equations say nothing.
fn change(a: &Grey, left: &[f32], slopes: &Slopes, bound: f32) -> Option<[f32; UNKNOWNS]> {
    let mut sums = [[0.0_f32; UNKNOWNS + 1]; UNKNOWNS];
    for (row, left) in (0..SIDE).step_by(FITTED_EVERY).zip(left.chunks_exact(SIDE / FITTED_EVERY)) {
        let mut of_row = [[0.0_f32; UNKNOWNS + 1]; UNKNOWNS];
        for (column, left) in (0..SIDE).step_by(FITTED_EVERY).zip(left) {
            let at = row * SIDE + column;
            let (left, right, down) = (*left, slopes.right[at], slopes.down[at]);
            if !(left + right + down).is_finite() {
                continue;
            }
            let [x, y] = from_middle(column, row);
            let contrast = (a.values[at] - MIDDLE) / CONTRAST;
            let terms = [right, down, right * x + down * y, down * x - right * y, contrast, CONTRAST, left];
            let weight = 1.0 / (1.0 + (left / bound).powi(2));
            for (line, term) in of_row.iter_mut().zip(terms) {
                line.iter_mut().zip(terms).for_each(|(sum, other)| *sum += weight * term * other);
            }
        }
        // Row by row, so that small numbers are not lost in the large sum.
        sums.iter_mut().flatten().zip(of_row.iter().flatten()).for_each(|(sum, of_row)| *sum += of_row);
    }
    solved(sums)
}

/// Solves linear equations, one a line with its right side last, by elimination.
fn solved(mut lines: [[f32; UNKNOWNS + 1]; UNKNOWNS]) -> Option<[f32; UNKNOWNS]> {
    for at in 0..UNKNOWNS {
        let pivot = (at..UNKNOWNS).max_by(|a, b| lines[*a][at].abs().total_cmp(&lines[*b][at].abs()))?;
        lines.swap(at, pivot);
        let line = lines[at];
        if line[at].abs() < 1e-3 {
            return None;
        }
        for (number, other) in lines.iter_mut().enumerate() {
            if number != at {
                let share = other[at] / line[at];
                other.iter_mut().zip(line).for_each(|(value, of_line)| *value -= share * of_line);
            }
        }
    }
    Some(std::array::from_fn(|at| lines[at][UNKNOWNS] / lines[at][at]))
}

/// A place as seen from the middle: −1 to 1.
fn from_middle(column: usize, row: usize) -> [f32; 2] {
    [column, row].map(|at| (at as f32 - SIDE as f32 / 2.0) / (SIDE as f32 / 2.0))
}

fn median_size(values: &[f32]) -> f32 {
    let mut sizes: Vec<f32> = values.iter().map(|value| value.abs()).filter(|size| size.is_finite()).collect();
    if sizes.is_empty() {
        return 0.0;
    }
    let middle = sizes.len() / 2;
    *sizes.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// How far a place is from where it should be, in values: the shift that explains best what is left over there.
fn shift(left: &[f32], slopes: &Slopes, [from_column, from_row]: [usize; 2]) -> Option<f32> {
    let (mut seen, mut rr, mut rd, mut dd, mut rl, mut dl) = (0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for row in from_row..from_row + CELL {
        for at in row * SIDE + from_column..row * SIDE + from_column + CELL {
            let (left, right, down) = (left[at], slopes.right[at], slopes.down[at]);
            if (left + right + down).is_finite() {
                seen += 1;
                (rr, rd, dd) = (rr + right * right, rd + right * down, dd + down * down);
                (rl, dl) = (rl + right * left, dl + down * left);
            }
        }
    }
    let area = (CELL * CELL) as f32;
    if seen * 10 < CELL * CELL * 9 || rr + dd < TEXTURE_LEAST * area {
        return None;
    }
    // What holds in one direction only says nothing about the other: half a level a value keeps it at rest.
    let (rr, dd) = (rr + area / 2.0, dd + area / 2.0);
    let all = rr * dd - rd * rd;
    let (right, down) = ((dd * rl - rd * dl) / all, (rr * dl - rd * rl) / all);
    Some(right.hypot(down))
}
