//! Small grey pictures of parts of a photo: what the layers without a network look at.
//!
//! Each is an average over the photo's pixels, so that noise and the traces of compression mostly cancel. It judges nothing.

use super::Photo;
use super::align::{SIDE_PX, Similarity};

/// A grey picture, each value 0 to 255; not a number beyond the photo's edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Grey {
    pub width: usize,
    pub values: Vec<f32>,
}

impl Grey {
    /// A square of `side` values, of the part of the photo that `transform` leads to.
    pub fn of(photo: &Photo, transform: Similarity, side: usize) -> Self {
        let shrink = (transform.scale() as usize).max(1);
        let last = side as f32 - 1.0;
        let corners = [[0.0, 0.0], [last, 0.0], [0.0, last], [last, last]].map(|corner| transform.apply(corner));
        let window = Window::around(photo, corners, shrink);
        let reduced = window.reduced(photo, shrink);
        let mut values = Vec::with_capacity(side * side);
        for row in 0..side {
            for column in 0..side {
                let [x, y] = transform.apply([column as f32, row as f32]);
                let place = |at: f32, from: usize| (at - from as f32 + 0.5) / shrink as f32 - 0.5;
                values.push(between(&reduced, place(x, window.left), place(y, window.top)));
            }
        }
        Self { width: side, values }
    }

    /// A face as the recogniser sees it, at half its size; `None` when the points lie in one place.
    pub fn levelled(photo: &Photo, points: &[[f32; 2]; 5]) -> Option<Self> {
        Some(Self::of(photo, Similarity::onto(points)?.shrunk(2.0), SIDE_PX / 2))
    }

    /// The whole photo in columns and rows of about the same number of pixels each.
    pub fn whole(photo: &Photo, columns: usize, rows: usize) -> Self {
        let mut values = Vec::with_capacity(columns * rows);
        let edge = |part: usize, parts: usize, length: usize| part * length / parts;
        for row in 0..rows {
            let (top, bottom) = (edge(row, rows, photo.height_px), edge(row + 1, rows, photo.height_px));
            for column in 0..columns {
                let (left, right) = (edge(column, columns, photo.width_px), edge(column + 1, columns, photo.width_px));
                values.push(mean(photo, left..right.max(left + 1), top..bottom.max(top + 1)));
            }
        }
        Self { width: columns, values }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.values.len() / self.width
    }

    pub fn at(&self, column: usize, row: usize) -> f32 {
        self.values[row * self.width + column]
    }

    /// The same values at another place, between four of them; not a number outside.
    pub fn between(&self, x: f32, y: f32) -> f32 {
        between(self, x, y)
    }

    /// How alike two pictures of one size are whatever their brightness and contrast, −1 to 1; 0 where one is flat.
    pub fn likeness(&self, other: &Self) -> f32 {
        let both = || self.values.iter().zip(&other.values).filter(|(a, b)| a.is_finite() && b.is_finite());
        let ((mean_a, spread_a), (mean_b, spread_b)) =
            (mean_and_spread(both().map(|(a, _)| *a)), mean_and_spread(both().map(|(_, b)| *b)));
        let count = both().count() as f32;
        let together = both().map(|(a, b)| (a - mean_a) * (b - mean_b)).sum::<f32>() / count.max(1.0);
        if spread_a * spread_b > 0.0 { together / (spread_a * spread_b) } else { 0.0 }
    }

    /// Each value replaced by an average with its neighbours, in shares of 1 to 2 to 1 in each direction, twice.
    pub fn smoothed(&self) -> Self {
        let once = |from: &Self| {
            let across = from.spread_along(1, from.width);
            across.spread_along(from.width, from.height())
        };
        once(&once(self))
    }

    fn spread_along(&self, step: usize, length: usize) -> Self {
        let mut values = self.values.clone();
        for (at, value) in values.iter_mut().enumerate() {
            let place = at / step % length;
            let before = if place > 0 { self.values[at - step] } else { self.values[at] };
            let after = if place + 1 < length { self.values[at + step] } else { self.values[at] };
            *value = (before + 2.0 * self.values[at] + after) / 4.0;
        }
        Self { width: self.width, values }
    }
}

/// Mean of the values that are inside the photo, and their standard deviation.
pub fn mean_and_spread(values: impl Iterator<Item = f32>) -> (f32, f32) {
    let (mut count, mut sum, mut squares) = (0.0_f64, 0.0_f64, 0.0_f64);
    for value in values.filter(|value| value.is_finite()) {
        (count, sum, squares) = (count + 1.0, sum + f64::from(value), squares + f64::from(value).powi(2));
    }
    if count == 0.0 {
        return (0.0, 0.0);
    }
    let mean = sum / count;
    (mean as f32, (squares / count - mean * mean).max(0.0).sqrt() as f32)
}

fn between(grey: &Grey, x: f32, y: f32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, bottom_share) = (x - left, y - top);
    let (width, height) = (grey.width as i64, grey.height() as i64);
    let (column, row) = (left as i64, top as i64);
    // The outermost half pixel belongs to the picture: its value is that of the last one.
    if x < -0.5 || y < -0.5 || x > width as f32 - 0.5 || y > height as f32 - 0.5 {
        return f32::NAN;
    }
    let at = |column: i64, row: i64| grey.at(column.clamp(0, width - 1) as usize, row.clamp(0, height - 1) as usize);
    let upper = at(column, row) + (at(column + 1, row) - at(column, row)) * right_share;
    let lower = at(column, row + 1) + (at(column + 1, row + 1) - at(column, row + 1)) * right_share;
    upper + (lower - upper) * bottom_share
}

/// A part of a photo, its sides multiples of the shrinking.
struct Window {
    left: usize,
    top: usize,
    columns: usize,
    rows: usize,
}

impl Window {
    fn around(photo: &Photo, corners: [[f32; 2]; 4], shrink: usize) -> Self {
        let side = |axis: usize, length: usize| {
            let places = corners.map(|corner| corner[axis]);
            let least = places.iter().copied().fold(f32::INFINITY, f32::min) - 2.0 * shrink as f32;
            let most = places.iter().copied().fold(f32::NEG_INFINITY, f32::max) + 2.0 * shrink as f32;
            let from = (least.max(0.0) as usize).min(length.saturating_sub(1));
            let to = (most.max(0.0) as usize).clamp(from, length);
            (from, ((to - from) / shrink).max(1))
        };
        let ((left, columns), (top, rows)) = (side(0, photo.width_px), side(1, photo.height_px));
        Self { left, top, columns, rows }
    }

    fn reduced(&self, photo: &Photo, shrink: usize) -> Grey {
        let mut values = Vec::with_capacity(self.columns * self.rows);
        for row in 0..self.rows {
            for column in 0..self.columns {
                let (left, top) = (self.left + column * shrink, self.top + row * shrink);
                values.push(mean(photo, left..left + shrink, top..top + shrink));
            }
        }
        Grey { width: self.columns, values }
    }
}

/// Mean brightness of a block, as far as it lies in the photo.
fn mean(photo: &Photo, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> f32 {
    let columns = columns.start..columns.end.min(photo.width_px);
    let rows = rows.start..rows.end.min(photo.height_px);
    let mut sums = [0_u32; 3];
    for row in rows.clone() {
        for pixel in photo.row(row)[3 * columns.start..3 * columns.end].chunks_exact(3) {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(*value));
        }
    }
    let count = (columns.len() * rows.len()).max(1) as f32;
    // The shares of BT.601, which is what JPEG calls brightness.
    (0.299 * sums[0] as f32 + 0.587 * sums[1] as f32 + 0.114 * sums[2] as f32) / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width_px: usize, height_px: usize) -> Photo {
        let pixels = (0..width_px * height_px).map(|at| (at % width_px + at / width_px) as u8);
        Photo { width_px, height_px, rgb: pixels.flat_map(|value| [value; 3]).collect() }
    }

    #[test]
    fn a_ramp_stays_a_ramp_at_every_scale() {
        let photo = ramp(120, 90);
        for across_px in [20.0, 40.0, 75.0] {
            let centre = [60.0, 45.0];
            let grey = Grey::of(&photo, Similarity::square(centre, across_px, 0.0, 20), 20);
            let step = across_px / 20.0;
            let expected = |column: usize, row: usize| 105.0 + step * (column as f32 + row as f32 - 19.0);
            for (column, row) in [(0, 0), (19, 0), (7, 12), (19, 19)] {
                let (found, expected) = (grey.at(column, row), expected(column, row));
                assert!((found - expected).abs() < 0.6, "{across_px}: ({column}, {row}) is {found}, not {expected}");
            }
        }
    }

    #[test]
    fn beyond_the_edge_there_is_nothing() {
        let grey = Grey::of(&ramp(40, 40), Similarity::square([0.0, 20.0], 40.0, 0.0, 20), 20);
        assert!(grey.at(0, 10).is_nan() && grey.at(19, 10).is_finite());
        let away = Grey::of(&ramp(40, 40), Similarity::square([-500.0, 900.0], 40.0, 0.0, 20), 20);
        assert!(away.values.iter().all(|value| value.is_nan()));
        assert_eq!(mean_and_spread(away.values.into_iter()), (0.0, 0.0));
    }

    #[test]
    fn likeness_does_not_mind_brightness_and_contrast() {
        let photo = ramp(60, 60);
        let grey = Grey::whole(&photo, 12, 12);
        let brighter = Grey { width: 12, values: grey.values.iter().map(|value| 1.5 * value + 20.0).collect() };
        let mirrored = Grey { width: 12, values: grey.values.iter().map(|value| 255.0 - value).collect() };
        assert!((grey.likeness(&brighter) - 1.0).abs() < 1e-4);
        assert!((grey.likeness(&mirrored) + 1.0).abs() < 1e-4);
        assert_eq!(grey.likeness(&Grey { width: 12, values: vec![7.0; 144] }), 0.0);
    }
}
