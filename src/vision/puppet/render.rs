//! Draws a surface as a camera sees it: each cell as two triangles, the nearer before the further.

use super::super::Photo;

/// A corner of a triangle.
#[derive(Clone, Copy, Debug)]
pub struct Corner {
    /// Where it is seen, in pixels, and how far away.
    pub seen: [f32; 3],
    /// Where its colour is in the photo, in pixels.
    pub source: [f32; 2],
    /// What its colour is multiplied by.
    pub light: f32,
    /// How much it belongs to the person, 0 to 1.
    pub person: f32,
}

/// A picture that is being drawn.
pub struct Canvas {
    width_px: usize,
    height_px: usize,
    colours: Vec<[f32; 3]>,
    depths: Vec<f32>,
}

impl Canvas {
    /// A canvas that shows `background`, infinitely far away; without one, black.
    pub fn new(width_px: usize, height_px: usize, background: Option<&Photo>) -> Self {
        let mut colours = vec![[0.0; 3]; width_px * height_px];
        if let Some(background) = background {
            let (across, down) =
                (background.width_px as f32 / width_px as f32, background.height_px as f32 / height_px as f32);
            for (at, colour) in colours.iter_mut().enumerate() {
                *colour = sample(background, (at % width_px) as f32 * across, (at / width_px) as f32 * down);
            }
        }
        Self { width_px, height_px, colours, depths: vec![f32::INFINITY; width_px * height_px] }
    }

    /// Draws a triangle with the photo's colours. With `cut_out`, what does not belong to the person lets the background
    /// through.
    pub fn triangle(&mut self, photo: &Photo, corners: [Corner; 3], cut_out: bool) {
        let [a, b, c] = corners.map(|corner| corner.seen);
        let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
        // Seen from behind, or from its edge.
        if area <= f32::EPSILON {
            return;
        }
        let range = |i: usize, limit: usize| {
            let (least, most) = (a[i].min(b[i]).min(c[i]), a[i].max(b[i]).max(c[i]));
            (least.ceil().max(0.0) as usize)..((most.floor() + 1.0).clamp(0.0, limit as f32) as usize)
        };
        for y in range(1, self.height_px) {
            for x in range(0, self.width_px) {
                let (px, py) = (x as f32, y as f32);
                let second = ((px - a[0]) * (c[1] - a[1]) - (py - a[1]) * (c[0] - a[0])) / area;
                let third = ((b[0] - a[0]) * (py - a[1]) - (b[1] - a[1]) * (px - a[0])) / area;
                let shares = [1.0 - second - third, second, third];
                if shares.iter().all(|share| *share >= -1e-4) {
                    self.dot(photo, y * self.width_px + x, &corners, shares, cut_out);
                }
            }
        }
    }

    fn dot(&mut self, photo: &Photo, at: usize, corners: &[Corner; 3], shares: [f32; 3], cut_out: bool) {
        let mix = |of: fn(&Corner) -> f32| -> f32 { corners.iter().zip(shares).map(|(c, share)| of(c) * share).sum() };
        let depth = mix(|corner| corner.seen[2]);
        if depth >= self.depths[at] {
            return;
        }
        self.depths[at] = depth;
        let light = mix(|corner| corner.light);
        let colour = sample(photo, mix(|corner| corner.source[0]), mix(|corner| corner.source[1]));
        let person = if cut_out { mix(|corner| corner.person) } else { 1.0 };
        let before = self.colours[at];
        self.colours[at] = std::array::from_fn(|i| before[i] + person * (colour[i] * light - before[i]));
    }

    /// The picture: red, green, blue, not yet rounded.
    pub fn colours(self) -> Vec<[f32; 3]> {
        self.colours
    }
}

/// The photo's colour between four pixels; beyond its edge, the edge's.
pub fn sample(photo: &Photo, x: f32, y: f32) -> [f32; 3] {
    let x = x.clamp(0.0, (photo.width_px - 1) as f32);
    let y = y.clamp(0.0, (photo.height_px - 1) as f32);
    let (left, top) = (x as usize, y as usize);
    let (right, below) = ((left + 1).min(photo.width_px - 1), (top + 1).min(photo.height_px - 1));
    let (across, down) = (x - left as f32, y - top as f32);
    let pixel = |x: usize, y: usize, i: usize| f32::from(photo.rgb[3 * (y * photo.width_px + x) + i]);
    std::array::from_fn(|i| {
        let upper = pixel(left, top, i) + across * (pixel(right, top, i) - pixel(left, top, i));
        let lower = pixel(left, below, i) + across * (pixel(right, below, i) - pixel(left, below, i));
        upper + down * (lower - upper)
    })
}
