//! A portrait as a surface: a grid over the photo whose places know how deep they lie and how much they follow the head.
//!
//! Inside the face the depth is the mesh's. Around it the head curves away, hair follows it less and less, and beyond
//! that nothing moves.

use super::super::{Mesh, Photo};

/// The face's outline in the mesh, once around.
const OUTLINE: [usize; 36] = [
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
];
/// Before the ears: the head turns and nods about the middle between them.
const EARS: [usize; 2] = [234, 454];

// Lengths are shares of the face's width from ear to ear.
const CELL: f32 = 1.0 / 32.0;
/// How far depth is smoothed: about the distance of neighbouring points of the mesh.
const SMOOTHED: f32 = 0.04;
/// How fast the head curves away outside its outline: skull and cheeks fall off at about forty degrees.
const FALLS_OFF: f32 = 0.8;
/// No part of the head is further back than this behind the ears.
const DEEPEST: f32 = 0.9;
/// Up to here outside the outline all follows the head …
const FOLLOWS: f32 = 0.12;
/// … and from here on nothing does.
const STAYS: f32 = 0.6;
/// How far hair reaches above the outline, and shoulders from the middle to either side: what stays when the background
/// is exchanged.
const HAIR: f32 = 0.42;
const SHOULDERS: f32 = 1.35;
const SOFT: f32 = 0.12;

/// A place of the grid.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Right, down and away, in pixels of the photo.
    pub at: [f32; 3],
    /// How much it follows the head, 0 to 1.
    pub follows: f32,
    /// How much it belongs to the person, 0 to 1.
    pub person: f32,
    /// The surface's direction, of length one, towards the camera.
    pub normal: [f32; 3],
}

/// The surface.
pub struct Shape {
    /// Row by row.
    pub places: Vec<Place>,
    pub columns: usize,
    pub rows: usize,
    /// What the head turns about.
    pub pivot: [f32; 3],
    /// From ear to ear, in pixels.
    pub width_px: f32,
}

impl Shape {
    /// The surface of a photo with one face.
    pub fn of(photo: &Photo, mesh: &Mesh) -> Self {
        let [right, left] = EARS.map(|ear| mesh.points[ear]);
        let pivot: [f32; 3] = std::array::from_fn(|i| (right[i] + left[i]) / 2.0);
        let width_px = right.iter().zip(left).map(|(right, left)| (right - left).powi(2)).sum::<f32>().sqrt().max(1.0);
        let cell_px = (CELL * width_px).max(2.0);
        // A rim around the photo, so that a camera that moves sees no edge.
        let rim = 0.1 * photo.width_px.max(photo.height_px) as f32;
        let count = |length_px: usize| ((length_px as f32 + 2.0 * rim) / cell_px).ceil() as usize + 1;
        let (columns, rows) = (count(photo.width_px), count(photo.height_px));
        let outline = OUTLINE.map(|point| mesh.at(point));
        let around = Around { mesh, outline: &outline, pivot, width_px, chin: mesh.at(152) };
        let place = |index: usize| {
            let (column, row) = (index % columns, index / columns);
            around.place([column as f32 * cell_px - rim, row as f32 * cell_px - rim])
        };
        let places = (0..columns * rows).map(place).collect();
        let mut shape = Self { places, columns, rows, pivot, width_px };
        shape.find_normals(cell_px);
        shape
    }

    fn find_normals(&mut self, cell_px: f32) {
        let depth = |column: usize, row: usize| self.places[row * self.columns + column].at[2];
        let mut normals = Vec::with_capacity(self.places.len());
        for row in 0..self.rows {
            for column in 0..self.columns {
                let (before, after) = (column.saturating_sub(1), (column + 1).min(self.columns - 1));
                let (above, below) = (row.saturating_sub(1), (row + 1).min(self.rows - 1));
                let across = (depth(after, row) - depth(before, row)) / ((after - before) as f32 * cell_px);
                let down = (depth(column, below) - depth(column, above)) / ((below - above) as f32 * cell_px);
                let length = (across * across + down * down + 1.0).sqrt();
                normals.push([across / length, down / length, -1.0 / length]);
            }
        }
        self.places.iter_mut().zip(normals).for_each(|(place, normal)| place.normal = normal);
    }
}

/// What a place's depth follows from.
struct Around<'a> {
    mesh: &'a Mesh,
    outline: &'a [[f32; 2]],
    pivot: [f32; 3],
    width_px: f32,
    chin: [f32; 2],
}

impl Around<'_> {
    fn place(&self, [x, y]: [f32; 2]) -> Place {
        let outside = self.outside([x, y]) / self.width_px;
        let follows = 1.0 - smooth((outside - FOLLOWS) / (STAYS - FOLLOWS));
        let deepest = self.pivot[2] + DEEPEST * self.width_px;
        let depth = if follows > 0.0 {
            (self.depth([x, y]) + FALLS_OFF * self.width_px * outside.max(0.0)).min(deepest)
        } else {
            deepest
        };
        let person = self.person([x, y], outside);
        Place { at: [x, y, depth], follows, person, normal: [0.0, 0.0, -1.0] }
    }

    /// The mesh's depth, smoothed; beyond its edge, that of the edge.
    fn depth(&self, [x, y]: [f32; 2]) -> f32 {
        let away = |point: &[f32; 3]| (point[0] - x).powi(2) + (point[1] - y).powi(2);
        let nearest = self.mesh.points.iter().map(away).fold(f32::INFINITY, f32::min);
        let spread = 2.0 * (SMOOTHED * self.width_px).powi(2);
        let (mut sum, mut weight) = (0.0, 0.0);
        for point in &self.mesh.points {
            // Counted from the nearest, so that far outside something is left of it.
            let share = ((nearest - away(point)) / spread).exp();
            sum += share * point[2];
            weight += share;
        }
        sum / weight
    }

    /// How far a place is outside the outline, in pixels; negative inside.
    fn outside(&self, [x, y]: [f32; 2]) -> f32 {
        let (mut nearest, mut inside) = (f32::INFINITY, false);
        for (index, [ax, ay]) in self.outline.iter().copied().enumerate() {
            let [bx, by] = self.outline[(index + 1) % self.outline.len()];
            let (dx, dy) = (bx - ax, by - ay);
            let along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy).max(f32::EPSILON);
            let along = along.clamp(0.0, 1.0);
            nearest = nearest.min((x - ax - along * dx).hypot(y - ay - along * dy));
            if (ay > y) != (by > y) && x < ax + (y - ay) / (by - ay) * dx {
                inside = !inside;
            }
        }
        if inside { -nearest } else { nearest }
    }

    /// Head with hair, neck and shoulders; the rest is background.
    fn person(&self, [x, y]: [f32; 2], outside: f32) -> f32 {
        let head = 1.0 - smooth((outside - HAIR) / SOFT + 0.5);
        let below = (y - self.chin[1]) / self.width_px;
        // The shoulders begin half a face below the chin and widen from the neck.
        let reach = SHOULDERS * smooth(below / 0.6 + 0.2).max(0.3);
        let beside = (x - self.pivot[0]).abs() / self.width_px;
        let body = if below > -0.3 { 1.0 - smooth((beside - reach) / SOFT + 0.5) } else { 0.0 };
        head.max(body)
    }
}

/// From 0 to 1 without a corner.
pub fn smooth(share: f32) -> f32 {
    let share = share.clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}
