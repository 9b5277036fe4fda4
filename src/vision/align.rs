//! Levels a face: turns, scales and moves it so that its five points come to lie where the recogniser expects them.
//!
//! The transform is a similarity, so a face is never stretched; it is the one with the least squared error.

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
}

fn centre(points: &[[f32; 2]; 5]) -> [f32; 2] {
    let sum = points.iter().fold([0.0, 0.0], |sum, point| [sum[0] + point[0], sum[1] + point[1]]);
    sum.map(|sum| sum / points.len() as f32)
}

/// Fills `planes` (red, green, blue, each [`SIDE_PX`]² values 0 to 255) with the levelled face. Beyond the photo's
/// edge it is black.
pub fn level(photo: &Photo, transform: Similarity, planes: &mut Vec<f32>) {
    let plane = SIDE_PX * SIDE_PX;
    planes.clear();
    planes.resize(3 * plane, 0.0);
    let (red, rest) = planes.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    let mut place = 0;
    for row in 0..SIDE_PX {
        for column in 0..SIDE_PX {
            let (x, y) = (column as f32, row as f32);
            let from_x = transform.a * x - transform.b * y + transform.dx;
            let from_y = transform.b * x + transform.a * y + transform.dy;
            [red[place], green[place], blue[place]] = sample(photo, from_x, from_y);
            place += 1;
        }
    }
}

/// The photo's colour between four pixels.
fn sample(photo: &Photo, x: f32, y: f32) -> [f32; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, bottom_share) = (x - left, y - top);
    let (left, top) = (left as i64, top as i64);
    let corners = [pixel(photo, left, top), pixel(photo, left + 1, top)];
    let below = [pixel(photo, left, top + 1), pixel(photo, left + 1, top + 1)];
    std::array::from_fn(|channel| {
        let mix = |pair: [[u8; 3]; 2]| {
            let (from, to) = (f32::from(pair[0][channel]), f32::from(pair[1][channel]));
            from + (to - from) * right_share
        };
        let (upper, lower) = (mix(corners), mix(below));
        upper + (lower - upper) * bottom_share
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
    fn points_in_one_place_have_no_transform() {
        assert_eq!(Similarity::onto(&[[5.0, 5.0]; 5]), None);
    }
}
