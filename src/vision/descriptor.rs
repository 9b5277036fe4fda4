//! Whether two photos are one picture: sent again, perhaps after it was encoded anew, cropped, resized, lit or written on.
//!
//! No camera takes the same picture twice: between two photos of one person in one chair, eyelids, mouth and head move
//! against each other and against what is behind. A picture that is altered as a whole does not move within itself. So
//! the face with what is around it is brought to one size and place by its five points, light is taken out of it, and two
//! of them are laid over each other as well as they fit. models/MODEL_CARD.md has what came of it on real photos.

use super::Photo;
use super::align::Similarity;
use super::grey::Grey;

/// The descriptor is a square of so many values.
const SIDE: usize = 64;
/// How much of the photo it shows, as a multiple of what the recogniser sees.
const SPAN: f32 = 1.6;
/// Smoothing before anything else, in values: what a resized or encoded photo loses must not count.
const SMOOTH: f32 = 0.6;
/// The neighbourhood that light is measured in, in values.
const NEIGHBOURHOOD: f32 = 3.0;
/// Contrast below this is noise, in grey levels of 255.
const CONTRAST_FLOOR: f32 = 8.0;
/// A value is kept in steps of this many standard deviations.
const STEP: f32 = 1.0 / 32.0;
/// Where the photo ends.
const OUTSIDE: i8 = i8::MIN;
/// Two descriptors are compared where both show something: at least this share of the square.
const COMMON_LEAST: f32 = 0.35;
/// From this likeness on two photos are one picture, unless the pack says otherwise.
pub const SAME_PICTURE: f32 = 0.97;
/// Less alike than this where the points of the face have them lie, two photos are not moved about: of altered ones the least was
/// 0.29 (a mirrored one), of two people's the most 0.27, and half of those are below 0.1.
const PLAINLY_OTHER: f32 = 0.25;
/// Less alike than this after the coarse steps, two photos are not looked at more closely.
const HOPELESS: f32 = 0.75;

/// A face and what is around it, without its light: sealed wherever it is kept, since a face can be recognised in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Descriptor(Box<[i8; SIDE * SIDE]>);

/// How one square is laid over the other, in values and radians.
#[derive(Clone, Copy)]
struct Laid {
    right: f32,
    down: f32,
    scale: f32,
    turn: f32,
}

impl Descriptor {
    /// Length of the byte form.
    pub const BYTES: usize = SIDE * SIDE;

    /// Describes what is around a face with these points; `None` when they lie in one place.
    pub fn of(photo: &Photo, points: &[[f32; 2]; 5]) -> Option<Self> {
        let onto = Similarity::onto(points)?;
        let (grey, inside) = region(photo, onto);
        Some(Self(Box::new(without_light(grey, &inside))))
    }

    /// 4 096 bytes; biometric data, to be encrypted.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(|value| value.cast_unsigned()).collect()
    }

    /// Reads what [`Descriptor::to_bytes`] wrote; `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let values: Vec<i8> = bytes.iter().map(|byte| byte.cast_signed()).collect();
        values.into_boxed_slice().try_into().ok().map(Self)
    }

    /// How well one picture fits over the other, −1 to 1; 1 is the same picture. The second may be mirrored.
    pub fn likeness(&self, other: &Self) -> f32 {
        self.fits(other).max(self.fits(&other.mirrored()))
    }

    fn mirrored(&self) -> Self {
        let mut mirrored = self.clone();
        mirrored.0.chunks_exact_mut(SIDE).for_each(<[i8]>::reverse);
        mirrored
    }

    /// Moves `other` about over this one, in ever smaller steps, as long as it fits better.
    fn fits(&self, other: &Self) -> f32 {
        let mut laid = Laid { right: 0.0, down: 0.0, scale: 1.0, turn: 0.0 };
        let mut best = self.overlaid(other, laid, 2);
        if best < PLAINLY_OTHER {
            return best;
        }
        for (step, every) in [(1.0, 2), (0.5, 2), (0.25, 1)] {
            if every == 1 {
                if best < HOPELESS {
                    return best;
                }
                best = self.overlaid(other, laid, 1);
            }
            while let Some((better, place)) = self.step(other, laid, step, every, best) {
                (best, laid) = (better, place);
            }
        }
        best
    }

    /// The neighbouring place where it fits better than `best`, if there is one.
    fn step(&self, other: &Self, laid: Laid, step: f32, every: usize, best: f32) -> Option<(f32, Laid)> {
        /// As far as the points of a face are found differently in another rendering of the same picture.
        const AWAY_MOST: f32 = 5.0;
        let Laid { right, down, scale, turn } = laid;
        let (scaled, turned) = (0.02 * step, 0.026 * step);
        let places = [
            Laid { right: right + step, ..laid },
            Laid { right: right - step, ..laid },
            Laid { down: down + step, ..laid },
            Laid { down: down - step, ..laid },
            Laid { scale: scale + scaled, ..laid },
            Laid { scale: scale - scaled, ..laid },
            Laid { turn: turn + turned, ..laid },
            Laid { turn: turn - turned, ..laid },
        ];
        let near = |place: &Laid| {
            place.right.abs().max(place.down.abs()) <= AWAY_MOST
                && (0.85..1.18).contains(&place.scale)
                && place.turn.abs() < 0.15
        };
        let fits = places.into_iter().filter(near).map(|place| (self.overlaid(other, place, every), place));
        let found = fits.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (found.0 > best + 1e-4).then_some(found)
    }

    /// The correlation of the two where both show something, looked at in every `every`th row and column.
    fn overlaid(&self, other: &Self, laid: Laid, every: usize) -> f32 {
        let middle = (SIDE as f32 - 1.0) / 2.0;
        let (sine, cosine) = (laid.scale * laid.turn.sin(), laid.scale * laid.turn.cos());
        let (mut count, mut sums, mut squares, mut product) = (0.0_f32, [0.0_f32; 2], [0.0_f32; 2], 0.0_f32);
        for row in (0..SIDE).step_by(every) {
            let y = row as f32 - middle;
            for column in (0..SIDE).step_by(every) {
                let here = self.0[row * SIDE + column];
                let x = column as f32 - middle;
                let at = [cosine * x - sine * y + middle + laid.right, sine * x + cosine * y + middle + laid.down];
                let (false, Some(there)) = (here == OUTSIDE, other.between(at)) else { continue };
                let here = f32::from(here);
                count += 1.0;
                sums = [sums[0] + here, sums[1] + there];
                squares = [squares[0] + here * here, squares[1] + there * there];
                product += here * there;
            }
        }
        let looked_at = (SIDE.div_ceil(every) * SIDE.div_ceil(every)) as f32;
        let spread = |index: usize| squares[index] - sums[index] * sums[index] / count;
        let spreads = spread(0) * spread(1);
        if count < COMMON_LEAST * looked_at || spreads <= 0.0 {
            return -1.0;
        }
        (product - sums[0] * sums[1] / count) / spreads.sqrt()
    }

    /// The value between four; `None` where one of them is outside of the photo.
    fn between(&self, [x, y]: [f32; 2]) -> Option<f32> {
        if !(0.0..(SIDE - 1) as f32).contains(&x) || !(0.0..(SIDE - 1) as f32).contains(&y) {
            return None;
        }
        let (left, top) = (x as usize, y as usize);
        let at = top * SIDE + left;
        let corners = [self.0[at], self.0[at + 1], self.0[at + SIDE], self.0[at + SIDE + 1]];
        if corners.contains(&OUTSIDE) {
            return None;
        }
        let [upper_left, upper_right, lower_left, lower_right] = corners.map(f32::from);
        let (right, down) = (x - left as f32, y - top as f32);
        let upper = upper_left + (upper_right - upper_left) * right;
        let lower = lower_left + (lower_right - lower_left) * right;
        Some(upper + (lower - upper) * down)
    }
}

impl std::fmt::Debug for Descriptor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Descriptor")
    }
}

type Square = [f32; SIDE * SIDE];

/// The square around the face, and 1 where it is in the photo.
fn region(photo: &Photo, onto: Similarity) -> (Square, Square) {
    let recogniser = super::align::SIDE_PX as f32;
    let (edge, step) = (recogniser * (1.0 - SPAN) / 2.0, recogniser * SPAN / SIDE as f32);
    let found = Grey::of(photo, onto.stepped(edge, step), SIDE);
    let (mut grey, mut inside) = ([0.0; SIDE * SIDE], [0.0; SIDE * SIDE]);
    for (found, (grey, inside)) in found.values.into_iter().zip(grey.iter_mut().zip(&mut inside)) {
        if found.is_finite() {
            (*grey, *inside) = (found, 1.0);
        }
    }
    (grey, inside)
}

/// How far each value departs from its neighbourhood, in standard deviations of it.
fn without_light(grey: Square, inside: &Square) -> [i8; SIDE * SIDE] {
    let near = Smooth::new(inside, SMOOTH);
    let wide = Smooth::new(inside, NEIGHBOURHOOD);
    let grey = near.mean(&grey);
    let light = wide.mean(&grey);
    let mut departure = grey;
    departure.iter_mut().zip(&light).for_each(|(value, light)| *value -= light);
    let squares = departure.map(|value| value * value);
    let contrast = wide.mean(&squares);
    std::array::from_fn(|index| {
        if inside[index] == 0.0 {
            return OUTSIDE;
        }
        let deviations = departure[index] / (contrast[index].max(0.0).sqrt() + CONTRAST_FLOOR);
        (deviations / STEP).round().clamp(-127.0, 127.0) as i8
    })
}

/// Means over a neighbourhood, of the values that are in the photo alone.
struct Smooth<'a> {
    inside: &'a Square,
    deviation: f32,
    weights: Square,
}

impl<'a> Smooth<'a> {
    fn new(inside: &'a Square, deviation: f32) -> Self {
        Self { inside, deviation, weights: blurred(inside, deviation) }
    }

    /// Values outside are taken to be 0, and stay so.
    fn mean(&self, values: &Square) -> Square {
        let mut mean = blurred(values, self.deviation);
        for ((mean, weight), inside) in mean.iter_mut().zip(&self.weights).zip(self.inside) {
            *mean = if *inside > 0.0 { *mean / weight } else { 0.0 };
        }
        mean
    }
}

/// Weighted by a Gaussian of this standard deviation, rows and then columns; nothing comes from beyond the edge.
fn blurred(values: &Square, deviation: f32) -> Square {
    let reach = (3.0 * deviation).ceil() as usize;
    let weights: Vec<f32> = (0..=reach).map(|away| (-0.5 * (away as f32 / deviation).powi(2)).exp()).collect();
    // Line by line, so that the compiler can take several values at once.
    let add = |to: &mut [f32], from: &[f32], weight: f32| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
    };
    let mut across = [0.0; SIDE * SIDE];
    for (to, from) in across.chunks_exact_mut(SIDE).zip(values.chunks_exact(SIDE)) {
        for away in (1..=reach).rev() {
            add(&mut to[away..], from, weights[away]);
        }
        for away in 0..=reach {
            add(to, &from[away..], weights[away]);
        }
    }
    let mut down = [0.0; SIDE * SIDE];
    for (row, to) in down.chunks_exact_mut(SIDE).enumerate() {
        for from in row.saturating_sub(reach)..(row + reach + 1).min(SIDE) {
            add(to, &across[from * SIDE..][..SIDE], weights[from.abs_diff(row)]);
        }
    }
    down
}
