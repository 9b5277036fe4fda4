//! Levels a face: turns, scales and moves it so that its five points come to lie where the recogniser expects them.
//!
//! The transform is a similarity, so a face is never stretched; it is the one with the least squared error. The same
//! resampling serves the detector's closer look.

use std::ops::RangeInclusive;

use super::Photo;

/// The recogniser's picture is square, with this side in pixels.
pub const SIDE_PX: usize = 112;

/// Where the recogniser was trained to see right eye, left eye, nose, right and left corner of the mouth.
const EXPECTED: [[f32; 2]; 5] =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

/// `(x, y) → (a·x − b·y + dx, b·x + a·y + dy)`, from the levelled picture back into the photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    a: f32,
    b: f32,
    dx: f32,
    dy: f32,
}

impl Similarity {
    /// The transform that takes the expected points nearest to `points`; `None` when they all coincide.
    pub fn onto(points: &[[f32; 2]; 5]) -> Option<Self> {
        let (from, to) = (centre(&EXPECTED), centre(points));
        let (mut along, mut across, mut spread) = (0.0, 0.0, 0.0);
        for (expected, point) in EXPECTED.iter().zip(points) {
            let (ex, ey) = (expected[0] - from[0], expected[1] - from[1]);
            let (px, py) = (point[0] - to[0], point[1] - to[1]);
            along += ex * px + ey * py;
            across += ex * py - ey * px;
            spread += ex * ex + ey * ey;
        }
        let (a, b) = (along / spread, across / spread);
        let found = Self { a, b, dx: to[0] - a * from[0] + b * from[1], dy: to[1] - b * from[0] - a * from[1] };
        (a.hypot(b) > f32::EPSILON).then_some(found)
    }

    /// The transform from a picture of `side_px` by `side_px` into the square of the photo around `centre`, `across_px`
    /// wide and turned clockwise by `roll_degrees`.
    pub fn square(centre: [f32; 2], across_px: f32, roll_degrees: f32, side_px: usize) -> Self {
        let scale = across_px / side_px as f32;
        let (sine, cosine) = roll_degrees.to_radians().sin_cos();
        let (a, b, middle) = (scale * cosine, scale * sine, (side_px as f32 - 1.0) / 2.0);
        Self { a, b, dx: centre[0] - (a - b) * middle, dy: centre[1] - (a + b) * middle }
    }

    /// The same part of the photo in a picture of `1 / shrink` of the side.
    pub fn shrunk(self, shrink: f32) -> Self {
        self.stepped(0.0, shrink)
    }

    /// The transform from a picture whose edges, on the left and above, are `edge` pixels from this one's, and each of whose
    /// pixels is `step` of this one's wide.
    pub fn stepped(self, edge: f32, step: f32) -> Self {
        // A pixel's middle is half a pixel from its edge in either picture.
        let [dx, dy] = self.apply([edge + (step - 1.0) / 2.0; 2]);
        Self { a: self.a * step, b: self.b * step, dx, dy }
    }

    /// The same, into the part of the photo that begins at (`left`, `top`) and of which `shrink` pixels in each direction became
    /// one.
    pub fn of_part(self, [left, top]: [f32; 2], shrink: f32) -> Self {
        let place = |at: f32, from: f32| (at - from + 0.5) / shrink - 0.5;
        Self { a: self.a / shrink, b: self.b / shrink, dx: place(self.dx, left), dy: place(self.dy, top) }
    }

    /// Where the first `columns` places of a row are in the photo.
    pub fn line(self, row: usize, columns: usize) -> impl Iterator<Item = [f32; 2]> {
        let [left, top] = self.apply([0.0, row as f32]);
        // A whole number of 16 bits becomes a float in one step.
        (0..columns as u16).map(move |column| [left + self.a * f32::from(column), top + self.b * f32::from(column)])
    }

    /// How many of the photo's pixels one of the picture's is wide.
    pub fn scale(&self) -> f32 {
        self.a.hypot(self.b)
    }

    /// Where a place of the levelled picture is in the photo.
    pub fn apply(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [self.a * x - self.b * y + self.dx, self.b * x + self.a * y + self.dy]
    }
}

fn centre(points: &[[f32; 2]; 5]) -> [f32; 2] {
    let sum = points.iter().fold([0.0, 0.0], |sum, point| [sum[0] + point[0], sum[1] + point[1]]);
    sum.map(|sum| sum / points.len() as f32)
}

/// Places are counted in 2¹⁶ths of a pixel: whole numbers step along a row without a conversion for each pixel.
const PLACE_BITS: u32 = 16;

/// Red, green, blue, and whatever is next in memory: four are mixed as fast as one.
type Colour = [f32; 4];

/// Fills three planes (red, green, blue, each `side_px`² values 0 to 255) with the part of the photo that `transform`
/// leads to. Beyond the photo's edge it is black.
pub fn resample(photo: &Photo, transform: Similarity, side_px: usize, [red, green, blue]: [&mut [f32]; 3]) {
    let fixed = |number: f32| (number * (1 << PLACE_BITS) as f32) as i64;
    let (step_x, step_y) = (fixed(transform.a), fixed(transform.b));
    let mut mixed = Vec::new();
    let rows = red.chunks_exact_mut(side_px).zip(green.chunks_exact_mut(side_px)).zip(blue.chunks_exact_mut(side_px));
    for (row, ((red, green), blue)) in rows.enumerate() {
        let [mut x, mut y] = transform.apply([0.0, row as f32]).map(fixed);
        let columns = red.iter_mut().zip(green).zip(blue);
        if step_y == 0
            && let Some(level) = Level::of(photo, x..=x + step_x * (side_px as i64 - 1), y, &mut mixed)
        {
            for ((red, green), blue) in columns {
                [*red, *green, *blue, _] = level.sample(x);
                x += step_x;
            }
            continue;
        }
        for ((red, green), blue) in columns {
            [*red, *green, *blue, _] = sample(photo, x, y);
            (x, y) = (x + step_x, y + step_y);
        }
    }
}

/// A level line between two rows of the photo. They are mixed once, and then asked for many places; what comes of it is the
/// same to the last bit as [`sample`], which mixes in the same order.
struct Level<'a> {
    /// the first column that was mixed
    left: i64,
    /// red, green, blue of each column
    mixed: &'a [f32],
}

impl<'a> Level<'a> {
    /// `None` unless all places `x`, with their neighbours, lie in the photo.
    fn of(photo: &Photo, x: RangeInclusive<i64>, y: i64, mixed: &'a mut Vec<f32>) -> Option<Self> {
        let (left, right, top) = (x.start() >> PLACE_BITS, x.end() >> PLACE_BITS, y >> PLACE_BITS);
        let inside = left >= 0 && top >= 0 && right + 1 < photo.width_px as i64 && top + 1 < photo.height_px as i64;
        if !inside || left > right {
            return None;
        }
        let (columns, top) = (3 * left as usize..3 * (right as usize + 2), top as usize);
        let both = photo.row(top)[columns.clone()].iter().zip(&photo.row(top + 1)[columns]);
        let bottom_share = share(y);
        mixed.clear();
        mixed.extend(both.map(|(upper, lower)| between(f32::from(*upper), f32::from(*lower), bottom_share)));
        mixed.push(0.0);
        Some(Self { left, mixed })
    }

    fn sample(&self, x: i64) -> Colour {
        let at = 3 * ((x >> PLACE_BITS) - self.left) as usize;
        let both: &[f32; 7] = self.mixed[at..].first_chunk().expect("a column and its neighbour were mixed");
        let right_share = share(x);
        std::array::from_fn(|colour| between(both[colour], both[colour + 3], right_share))
    }
}

/// How far a place is from the pixel before it.
fn share(place: i64) -> f32 {
    (place & ((1 << PLACE_BITS) - 1)) as i32 as f32 * (1.0 / (1 << PLACE_BITS) as f32)
}

fn between(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}

/// Makes `planes` hold three planes of `plane` values each, whatever they are, and lends them one by one.
pub fn three(planes: &mut Vec<f32>, plane: usize) -> [&mut [f32]; 3] {
    planes.resize(3 * plane, 0.0);
    let (first, rest) = planes.split_at_mut(plane);
    let (second, third) = rest.split_at_mut(plane);
    [first, second, third]
}

/// The photo's colour between four pixels.
fn sample(photo: &Photo, x: i64, y: i64) -> Colour {
    let (right_share, bottom_share) = (share(x), share(y));
    let [upper, lower] = pairs(photo, x >> PLACE_BITS, y >> PLACE_BITS);
    let mixed: [f32; 8] = std::array::from_fn(|at| between(f32::from(upper[at]), f32::from(lower[at]), bottom_share));
    std::array::from_fn(|colour| between(mixed[colour], mixed[colour + 3], right_share))
}

/// The pixel at (`left`, `top`) with its neighbour to the right, and those below them. Six bytes of each eight count: the
/// compiler takes eight at once.
fn pairs(photo: &Photo, left: i64, top: i64) -> [[u8; 8]; 2] {
    if left >= 0 && top >= 0 && left + 1 < photo.width_px as i64 && top + 1 < photo.height_px as i64 {
        // The last pixel of all has no eight.
        let at = 3 * (top as usize * photo.width_px + left as usize);
        let eight = |at: usize| photo.rgb.get(at..)?.first_chunk().copied();
        if let (Some(upper), Some(lower)) = (eight(at), eight(at + 3 * photo.width_px)) {
            return [upper, lower];
        }
    }
    [top, top + 1].map(|row| {
        let [[a, b, c], [d, e, f]] = [left, left + 1].map(|column| pixel(photo, column, row));
        [a, b, c, d, e, f, 0, 0]
    })
}

fn pixel(photo: &Photo, x: i64, y: i64) -> [u8; 3] {
    let inside = (0..photo.width_px as i64).contains(&x) && (0..photo.height_px as i64).contains(&y);
    if !inside {
        return [0; 3];
    }
    let at = 3 * (y as usize * photo.width_px + x as usize);
    [photo.rgb[at], photo.rgb[at + 1], photo.rgb[at + 2]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_and_scaled_face_is_mapped_back_exactly() {
        let (a, b, dx, dy) = (1.5_f32, 0.7_f32, 30.0_f32, -12.0_f32);
        let points = EXPECTED.map(|[x, y]| [a * x - b * y + dx, b * x + a * y + dy]);
        let found = Similarity::onto(&points).unwrap();
        for (found, wanted) in [(found.a, a), (found.b, b), (found.dx, dx), (found.dy, dy)] {
            assert!((found - wanted).abs() < 1e-3, "{found} is not {wanted}");
        }
    }

    #[test]
    fn a_level_line_is_what_its_places_are_one_by_one() {
        let bytes = (0..3 * 40 * 30).map(|at: usize| (at * 37 % 251) as u8);
        let photo = Photo { width_px: 40, height_px: 30, rgb: bytes.collect() };
        for (centre, across_px) in [([20.0, 15.0], 17.3), ([19.2, 14.9], 29.0), ([2.0, 3.0], 24.0), ([38.0, 28.5], 9.0)]
        {
            let transform = Similarity::square(centre, across_px, 0.0, 23);
            let mut planes = Vec::new();
            resample(&photo, transform, 23, three(&mut planes, 23 * 23));
            let fixed = |number: f32| (number * (1 << PLACE_BITS) as f32) as i64;
            for (row, column) in (0..23).flat_map(|row| (0..23).map(move |column| (row, column))) {
                let [x, y] = transform.apply([0.0, row as f32]).map(fixed);
                let expected = sample(&photo, x + column * fixed(transform.a), y);
                let at = row * 23 + column as usize;
                assert_eq!([planes[at], planes[529 + at], planes[2 * 529 + at]], expected[..3], "{row}, {column}");
            }
        }
    }

    #[test]
    fn points_in_one_place_have_no_transform() {
        assert_eq!(Similarity::onto(&[[5.0, 5.0]; 5]), None);
    }
}
