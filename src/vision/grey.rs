//! Small grey pictures of parts of a photo: what the layers without a network look at.
//!
//! Each is an average over the photo's pixels, so that noise and the traces of compression mostly cancel. It judges nothing.

use std::ops::Range;

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
        let onto_reduced = transform.of_part([window.left as f32, window.top as f32], shrink as f32);
        let mut values = Vec::with_capacity(side * side);
        for row in 0..side {
            values.extend(onto_reduced.line(row, side).map(|[x, y]| between(&reduced, x, y)));
        }
        Self { width: side, values }
    }

    /// A face as the recogniser sees it, at half its size; `None` when the points lie in one place.
    pub fn levelled(photo: &Photo, points: &[[f32; 2]; 5]) -> Option<Self> {
        Some(Self::of(photo, Similarity::onto(points)?.shrunk(2.0), SIDE_PX / 2))
    }

    /// The whole photo in columns and rows of about the same number of pixels each.
    pub fn whole(photo: &Photo, columns: usize, rows: usize) -> Self {
        let part = |number: usize, parts: usize, length: usize| {
            let (from, to) = (number * length / parts, (number + 1) * length / parts);
            from..to.max(from + 1)
        };
        let mut values = Vec::with_capacity(columns * rows);
        let mut lines = Lines::default();
        for row in 0..rows {
            lines.add_up(photo, 0..photo.width_px, part(row, rows, photo.height_px));
            let blocks = (0..columns).map(|column| part(column, columns, photo.width_px));
            values.extend(blocks.map(|block| lines.mean(&lines.sums[3 * block.start..3 * block.end])));
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

    /// The same, once one of them is shifted by a few values to where it fits best; no further once that is `enough`.
    pub fn likeness_nearby(&self, other: &Self, enough: f32) -> f32 {
        /// As far as the points of a face are found differently from one photo to the next.
        const AWAY_MOST: i32 = 3;
        let mut best = (self.likeness(other), [0_i32, 0]);
        while best.0 < enough {
            let [right, down] = best.1;
            let near = [[right + 1, down], [right - 1, down], [right, down + 1], [right, down - 1]];
            let near = near.into_iter().filter(|shift| shift.iter().all(|away| away.abs() <= AWAY_MOST));
            let found =
                near.map(|shift| (self.likeness(&other.shifted(shift)), shift)).max_by(|a, b| a.0.total_cmp(&b.0));
            match found {
                Some(found) if found.0 > best.0 => best = found,
                _ => break,
            }
        }
        best.0
    }

    fn shifted(&self, [right, down]: [i32; 2]) -> Self {
        let (width, height) = (self.width as i32, self.height() as i32);
        let from =
            |at: i32, shift: i32, length: i32| (0..length).contains(&(at + shift)).then_some((at + shift) as usize);
        let places = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
        let values = places.map(|(row, column)| match (from(column, right, width), from(row, down, height)) {
            (Some(column), Some(row)) => self.at(column, row),
            _ => f32::NAN,
        });
        Self { width: self.width, values: values.collect() }
    }

    /// Each value replaced by an average with its neighbours, in shares of 1 to 2 to 1 in each direction, twice.
    pub fn smoothed(&self) -> Self {
        let once = |from: &Self| from.spread_across().spread_down();
        once(&once(self))
    }

    fn spread_across(&self) -> Self {
        let mut values = self.values.clone();
        let last = self.width - 1;
        for (to, from) in values.chunks_exact_mut(self.width).zip(self.values.chunks_exact(self.width)) {
            to[0] = spread(from[0], from[0], from[last.min(1)]);
            for (to, three) in to[1..].iter_mut().zip(from.windows(3)) {
                *to = spread(three[0], three[1], three[2]);
            }
            to[last] = spread(from[last.saturating_sub(1)], from[last], from[last]);
        }
        Self { width: self.width, values }
    }

    fn spread_down(&self) -> Self {
        let mut values = self.values.clone();
        let line = |row: usize| &self.values[row * self.width..][..self.width];
        let last = self.height() - 1;
        for (row, to) in values.chunks_exact_mut(self.width).enumerate() {
            let neighbours = line(row.saturating_sub(1)).iter().zip(line((row + 1).min(last)));
            for ((to, here), (before, after)) in to.iter_mut().zip(line(row)).zip(neighbours) {
                *to = spread(*before, *here, *after);
            }
        }
        Self { width: self.width, values }
    }
}

fn spread(before: f32, here: f32, after: f32) -> f32 {
    (before + 2.0 * here + after) / 4.0
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
    let (last_column, last_row) = (grey.width as i32 - 1, grey.height() as i32 - 1);
    // The outermost half pixel belongs to the picture: its value is that of the last one.
    let inside = |at: f32, last: i32| (-0.5..=last as f32 + 0.5).contains(&at);
    if !inside(x, last_column) || !inside(y, last_row) {
        return f32::NAN;
    }
    let (x, y) = (x.clamp(0.0, last_column as f32), y.clamp(0.0, last_row as f32));
    let (column, row) = (x as i32, y as i32);
    let (right_share, bottom_share) = (x - column as f32, y - row as f32);
    let line = |row: i32| &grey.values[row as usize * grey.width..][..grey.width];
    let (left, right) = (column as usize, (column + 1).min(last_column) as usize);
    let mixed = |line: &[f32]| line[left] + (line[right] - line[left]) * right_share;
    let (upper, lower) = (mixed(line(row)), mixed(line((row + 1).min(last_row))));
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
        let mut lines = Lines::default();
        for row in 0..self.rows {
            let top = self.top + row * shrink;
            lines.add_up(photo, self.left..self.left + self.columns * shrink, top..top + shrink);
            values.extend(lines.means(shrink));
        }
        Grey { width: self.columns, values }
    }
}

/// Lines of a photo added up, as far as they lie in it: what blocks side by side have in common.
#[derive(Default)]
struct Lines {
    count: usize,
    /// red, green and blue of each column
    sums: Vec<u16>,
}

impl Lines {
    /// Adds up some lines in place of those before.
    fn add_up(&mut self, photo: &Photo, columns: Range<usize>, rows: Range<usize>) {
        /// So many bytes still are less than 2¹⁶. Of blocks that are higher, not all lines count.
        const MOST: usize = 257;
        let bytes = 3 * columns.start..3 * columns.end.min(photo.width_px);
        let rows = rows.start..rows.end.min(photo.height_px);
        let rows = rows.clone().step_by(rows.len().div_ceil(MOST).max(1));
        self.count = rows.len();
        self.sums.clear();
        self.sums.resize(bytes.len(), 0);
        for row in rows {
            self.sums.iter_mut().zip(&photo.row(row)[bytes.clone()]).for_each(|(sum, value)| *sum += u16::from(*value));
        }
    }

    /// Mean brightness of each block of `width` columns; the last may have fewer.
    fn means(&self, width: usize) -> impl Iterator<Item = f32> {
        self.sums.chunks(3 * width).map(|block| self.mean(block))
    }

    /// Mean brightness of a block's columns.
    fn mean(&self, block: &[u16]) -> f32 {
        let (columns, _) = block.as_chunks::<3>();
        let add =
            |sum: [u32; 3], column: &[u16; 3]| std::array::from_fn(|colour| sum[colour] + u32::from(column[colour]));
        let [red, green, blue] = columns.iter().fold([0; 3], add).map(|sum| sum.cast_signed() as f32);
        // The shares of BT.601, which is what JPEG calls brightness.
        (0.299 * red + 0.587 * green + 0.114 * blue) / (columns.len() * self.count).max(1) as f32
    }
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
    fn a_picture_that_is_shifted_a_little_is_found_where_it_fits() {
        let waves = |right: f32, down: f32| {
            let at = move |at: usize| {
                let (x, y) = ((at % 40) as f32 + right, (at / 40) as f32 + down);
                128.0 + 40.0 * (0.31 * x).sin() + 40.0 * (0.23 * y + 0.11 * x).cos()
            };
            Grey { width: 40, values: (0..1600).map(at).collect() }
        };
        let (picture, shifted) = (waves(0.0, 0.0), waves(2.0, -3.0));
        assert!(picture.likeness(&shifted) < 0.9);
        assert!(picture.likeness_nearby(&shifted, 1.0) > 0.999 && shifted.likeness_nearby(&picture, 1.0) > 0.999);
        // No further than is asked for, and not as far as somebody else may be.
        let enough = picture.likeness_nearby(&shifted, 0.9);
        assert!((0.9..0.999).contains(&enough), "{enough}");
        assert!(picture.likeness_nearby(&waves(9.0, 0.0), 1.0) < 0.5);
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
