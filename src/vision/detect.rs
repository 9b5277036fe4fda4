//! Finds faces and their five points with YuNet.
//!
//! It says where faces are and how sure it is; which of them counts is `check`'s business.

use ort::session::{Session, SessionOutputs};
use ort::value::TensorRef;
use serde::{Deserialize, Serialize};

use super::align::{self, Similarity};
use super::{Models, Photo, VisionError};

/// The detector's coarsest grid: sides are padded to a multiple of it, with black, at the right and the bottom.
const SIDE_MULTIPLE: usize = 32;
const STRIDES: [usize; 3] = [8, 16, 32];
/// Those that a closer look needs: a face is 96 px large there or more, and what is found at stride 8 is small.
const NEAR_STRIDES: [usize; 2] = [16, 32];
/// A closer look is a square of this side, in pixels …
pub(super) const CLOSER_SIDE_PX: usize = 256;
/// … around a face that fills two thirds of it: 170 px. From about that size on the detector's points follow a tilted
/// head; in a face of 90 px they stay nearly level at a tilt of 30°.
const CLOSER_MARGIN: f32 = 1.5;

/// A face is followed in a square of this side, in pixels …
const FOLLOWED_SIDE_PX: usize = 160;
/// … around its last place, in which it is 96 px large: it may move by a third of its own size.
const FOLLOWED_MARGIN: f32 = 160.0 / 96.0;
/// A face that is tilted by no more is looked at without turning the square: a level one costs less than half as much.
const LEVEL_ENOUGH_DEGREES: f32 = 5.0;

/// A face in a photo; all lengths in pixels of the upright photo, from its top left corner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaceBox {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// Right eye, left eye, nose, right and left corner of the mouth; right and left are the person's own.
    pub points: [[f32; 2]; 5],
}

impl FaceBox {
    /// Area in square pixels.
    pub fn area(&self) -> f32 {
        self.width * self.height
    }

    /// Side of a square of the same area, in pixels.
    pub fn side_px(&self) -> f32 {
        self.area().sqrt()
    }

    /// How far the line from eye to eye is turned from level, in degrees, −180 to 180; clockwise is positive.
    pub fn roll_degrees(&self) -> f32 {
        let [right, left, ..] = self.points;
        (left[1] - right[1]).atan2(left[0] - right[0]).to_degrees()
    }

    pub(super) fn centre(&self) -> [f32; 2] {
        [self.x + self.width / 2.0, self.y + self.height / 2.0]
    }

    pub(super) fn contains(&self, [x, y]: [f32; 2]) -> bool {
        (self.x..self.x + self.width).contains(&x) && (self.y..self.y + self.height).contains(&y)
    }

    fn overlap(&self, other: &Self) -> f32 {
        let width = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let height = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        let common = width.max(0.0) * height.max(0.0);
        common / (self.area() + other.area() - common)
    }
}

/// How a photo is laid before the detector.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// So many pixels in each direction become one.
    shrink: usize,
    /// Black pixels on the left and above, after shrinking.
    border: usize,
}

impl View {
    /// The whole photo, its longer side at most `side_px`.
    pub fn whole(photo: &Photo, side_px: usize) -> Self {
        Self { shrink: photo.width_px.max(photo.height_px).div_ceil(side_px), border: 0 }
    }

    /// As [`View::whole`] at half its size and in a border: a face that fills the frame is not found without.
    pub fn bordered(photo: &Photo, side_px: usize) -> Self {
        let shrink = 2 * Self::whole(photo, side_px).shrink;
        Self { shrink, border: photo.width_px.max(photo.height_px) / shrink / 4 }
    }

    /// A length of the photo, as the detector sees it; its border is on either side.
    pub(super) fn padded(self, length_px: usize) -> usize {
        ((length_px / self.shrink).max(1) + 2 * self.border).next_multiple_of(SIDE_MULTIPLE)
    }

    /// Back to a place in the photo. Pixels are averaged, so a small one's centre is that of those it came from.
    fn place(self, seen: f32) -> f32 {
        (seen - self.border as f32 + 0.5) * self.shrink as f32 - 0.5
    }
}

/// YuNet, with a buffer of its own: one a thread.
pub struct Detector {
    whole: Network,
    near: Network,
    planes: Vec<f32>,
    sums: Vec<u16>,
}

/// One of its two networks.
struct Network {
    session: Session,
    strides: &'static [usize],
    score_least: f32,
    overlap_limit: f32,
}

impl Detector {
    /// Opens the detector.
    pub fn new(models: &Models) -> Result<Self, VisionError> {
        let model = models.manifest().model("detector");
        let network = |role, strides| {
            let (score_least, overlap_limit) = (model.threshold("score"), model.threshold("overlap"));
            Ok::<_, VisionError>(Network { session: models.session(role)?, strides, score_least, overlap_limit })
        };
        Ok(Self {
            whole: network("detector", &STRIDES)?,
            near: network("near_detector", &NEAR_STRIDES)?,
            planes: Vec::new(),
            sums: Vec::new(),
        })
    }

    /// The faces of `photo`, the largest first.
    pub fn detect(&mut self, photo: &Photo, view: View) -> Result<Vec<FaceBox>, VisionError> {
        let (width, height) = (view.padded(photo.width_px), view.padded(photo.height_px));
        self.fill(photo, view, width, height);
        let mut faces = self.whole.run(&self.planes, width, height)?;
        faces.iter_mut().for_each(|face| *face = in_photo(*face, view));
        faces.sort_by(|a, b| b.area().total_cmp(&a.area()));
        Ok(faces)
    }

    /// `face` with its points found anew in a closer look, turned by `roll_degrees` so that it is about level;
    /// `None` when it is not seen there.
    pub fn closer(&mut self, photo: &Photo, face: &FaceBox, roll_degrees: f32) -> Result<Option<FaceBox>, VisionError> {
        let across_px = CLOSER_MARGIN * face.side_px();
        let transform = Similarity::square(face.centre(), across_px, roll_degrees, CLOSER_SIDE_PX);
        let [blue, green, red] = align::three(&mut self.planes, CLOSER_SIDE_PX * CLOSER_SIDE_PX);
        align::resample(photo, transform, CLOSER_SIDE_PX, [red, green, blue]);
        let seen = self.near.run(&self.planes, CLOSER_SIDE_PX, CLOSER_SIDE_PX)?;
        let middle = [CLOSER_SIDE_PX as f32 / 2.0; 2];
        let same = seen.iter().find(|seen| seen.contains(middle));
        Ok(same.map(|seen| FaceBox { points: seen.points.map(|point| transform.apply(point)), ..*face }))
    }

    /// Where `face` of the photo before is in this one: a look at its place and a little around it. `None` when no face's
    /// box holds the middle of that place any more.
    pub fn follow(&mut self, photo: &Photo, face: &FaceBox) -> Result<Option<FaceBox>, VisionError> {
        let across_px = FOLLOWED_MARGIN * face.side_px();
        let roll_degrees = face.roll_degrees();
        let roll_degrees = if roll_degrees.abs() <= LEVEL_ENOUGH_DEGREES { 0.0 } else { roll_degrees };
        let transform = Similarity::square(face.centre(), across_px, roll_degrees, FOLLOWED_SIDE_PX);
        let [blue, green, red] = align::three(&mut self.planes, FOLLOWED_SIDE_PX * FOLLOWED_SIDE_PX);
        align::resample(photo, transform, FOLLOWED_SIDE_PX, [red, green, blue]);
        let seen = self.near.run(&self.planes, FOLLOWED_SIDE_PX, FOLLOWED_SIDE_PX)?;
        let middle = [FOLLOWED_SIDE_PX as f32 / 2.0; 2];
        let scale = transform.scale();
        let same = seen.iter().find(|seen| seen.contains(middle));
        Ok(same.map(|seen| {
            let [x, y] = transform.apply(seen.centre());
            let (width, height) = (seen.width * scale, seen.height * scale);
            let points = seen.points.map(|point| transform.apply(point));
            FaceBox { x: x - width / 2.0, y: y - height / 2.0, width, height, score: seen.score, points }
        }))
    }

    /// Lays the photo out as three planes, blue first, each value 0 to 255.
    fn fill(&mut self, photo: &Photo, view: View, width: usize, height: usize) {
        let columns = (photo.width_px / view.shrink).max(1);
        let rows = (photo.height_px / view.shrink).max(1);
        let [blue, green, red] = align::three(&mut self.planes, width * height).map(|plane| {
            // Only what nothing is laid over is made black.
            for (row, line) in plane.chunks_exact_mut(width).enumerate() {
                let laid = if (view.border..view.border + rows).contains(&row) {
                    view.border..view.border + columns
                } else {
                    0..0
                };
                line[..laid.start].fill(0.0);
                line[laid.end..].fill(0.0);
            }
            plane
        });
        for row in 0..rows {
            let start = (row + view.border) * width + view.border;
            let target = [&mut *red, &mut *green, &mut *blue].map(|plane| &mut plane[start..start + columns]);
            match view.shrink {
                1 => spread(photo.row(row), target),
                shrink => average(photo, row, shrink, &mut self.sums, target),
            }
        }
    }
}

impl Network {
    /// The faces in the planes, the surest first, in the planes' own pixels.
    fn run(&mut self, planes: &[f32], width: usize, height: usize) -> Result<Vec<FaceBox>, VisionError> {
        let input = TensorRef::from_array_view(([1, 3, height, width], planes))?;
        let outputs = self.session.run(ort::inputs![input])?;
        let mut found = Vec::new();
        for stride in self.strides {
            found.extend(Grid::read(&outputs, *stride, width, height)?.faces(self.score_least));
        }
        Ok(without_doubles(found, self.overlap_limit))
    }
}

fn spread(pixels: &[u8], [red, green, blue]: [&mut [f32]; 3]) {
    let columns = red.iter_mut().zip(green).zip(blue);
    for (pixel, ((red, green), blue)) in pixels.chunks_exact(3).zip(columns) {
        *red = f32::from(pixel[0]);
        *green = f32::from(pixel[1]);
        *blue = f32::from(pixel[2]);
    }
}

/// Averages squares of `shrink` × `shrink` pixels; fewer where the photo is narrower than that.
fn average(photo: &Photo, row: usize, shrink: usize, sums: &mut Vec<u16>, [red, green, blue]: [&mut [f32]; 3]) {
    let lines = row * shrink..((row + 1) * shrink).min(photo.height_px);
    let across = shrink.min(photo.width_px);
    let share = 1.0 / (lines.len() * across) as f32;
    // Sixteen bits hold 257 lines; no side is shrunk by more than `PHOTO_LIMIT_SIDE_PX` allows.
    sums.clear();
    sums.resize(3 * photo.width_px, 0);
    for line in lines {
        sums.iter_mut().zip(photo.row(line)).for_each(|(sum, value)| *sum += u16::from(*value));
    }
    let columns = red.iter_mut().zip(green).zip(blue);
    if across == 2 {
        // What most webcams need, 640 pixels to 320: so short a sum is not worth a loop.
        for (pair, ((red, green), blue)) in sums.as_chunks::<6>().0.iter().zip(columns) {
            [*red, *green, *blue] = [0, 1, 2].map(|colour| f32::from(pair[colour] + pair[colour + 3]) * share);
        }
        return;
    }
    for (square, ((red, green), blue)) in sums.chunks_exact(3 * across).zip(columns) {
        let mut total = [0_u32; 3];
        for pixel in square.chunks_exact(3) {
            total.iter_mut().zip(pixel).for_each(|(total, value)| *total += u32::from(*value));
        }
        [*red, *green, *blue] = total.map(|total| total as f32 * share);
    }
}

/// The detector's answer at one stride: one cell for each square of so many pixels, row by row.
struct Grid<'a> {
    stride: usize,
    columns: usize,
    class: &'a [f32],
    object: &'a [f32],
    shape: &'a [f32],
    points: &'a [f32],
}

impl<'a> Grid<'a> {
    fn read(outputs: &'a SessionOutputs, stride: usize, width: usize, height: usize) -> Result<Self, VisionError> {
        let cells = (width / stride) * (height / stride);
        let part = |name: &str, each: usize| {
            let name = format!("{name}_{stride}");
            let value = outputs.get(&name).ok_or_else(|| VisionError::Model(format!("no output `{name}`")))?;
            let (_, values) = value.try_extract_tensor::<f32>()?;
            let right = values.len() == cells * each;
            right.then_some(values).ok_or_else(|| VisionError::Model(format!("output `{name}` has another size")))
        };
        let (class, object) = (part("cls", 1)?, part("obj", 1)?);
        Ok(Self { stride, columns: width / stride, class, object, shape: part("bbox", 4)?, points: part("kps", 10)? })
    }

    /// Faces of at least `score_least`, in the detector's own pixels. What is not finite is no face.
    fn faces(&self, score_least: f32) -> impl Iterator<Item = FaceBox> {
        let scores = self.class.iter().zip(self.object);
        let scores = scores.map(|(class, object)| (class.clamp(0.0, 1.0) * object.clamp(0.0, 1.0)).sqrt());
        let likely = scores.enumerate().filter(move |(_, score)| *score >= score_least);
        likely.map(|(cell, score)| self.face(cell, score)).filter(FaceBox::is_finite)
    }

    fn face(&self, cell: usize, score: f32) -> FaceBox {
        let stride = self.stride as f32;
        let (column, row) = ((cell % self.columns) as f32, (cell / self.columns) as f32);
        let shape = &self.shape[4 * cell..4 * cell + 4];
        let (width, height) = (shape[2].exp() * stride, shape[3].exp() * stride);
        let points = &self.points[10 * cell..10 * cell + 10];
        FaceBox {
            x: (column + shape[0]) * stride - width / 2.0,
            y: (row + shape[1]) * stride - height / 2.0,
            width,
            height,
            score,
            points: std::array::from_fn(|i| [(points[2 * i] + column) * stride, (points[2 * i + 1] + row) * stride]),
        }
    }
}

impl FaceBox {
    fn is_finite(&self) -> bool {
        let numbers = [self.x, self.y, self.width, self.height, self.score];
        numbers.iter().chain(self.points.as_flattened()).all(|number| number.is_finite()) && self.area() > 0.0
    }
}

fn in_photo(face: FaceBox, view: View) -> FaceBox {
    let scale = view.shrink as f32;
    FaceBox {
        x: view.place(face.x),
        y: view.place(face.y),
        width: face.width * scale,
        height: face.height * scale,
        points: face.points.map(|point| point.map(|at| view.place(at))),
        ..face
    }
}

/// Of boxes that overlap by more than `overlap_limit`, keeps the surest.
fn without_doubles(mut found: Vec<FaceBox>, overlap_limit: f32) -> Vec<FaceBox> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<FaceBox> = Vec::new();
    for face in found {
        if kept.iter().all(|other| face.overlap(other) <= overlap_limit) {
            kept.push(face);
        }
    }
    kept
}
