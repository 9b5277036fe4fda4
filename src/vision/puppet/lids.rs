//! Closes a portrait's eyes: the upper lid's skin is drawn down over the eye, and the eye is squeezed beneath it.

use super::super::{Eye, Photo};
use super::render::sample;

// Lengths are shares of the eye's width from corner to corner.
/// The skin that is drawn down begins so far above the eye.
const SKIN: f32 = 0.65;
/// How far lashes stand up before an open eye's lid; once it is closed they point down and make a line.
const UPRIGHT_LASHES: f32 = 0.22;
/// How wide that line is, and how much darker than the skin.
const LINE: f32 = 0.045;
const DARKER: f32 = 0.6;

/// The photo with an eye closed by `closed`, 0 to 1.
pub fn closed(photo: &mut Photo, eye: &Eye, closed: f32) {
    let Some(frame) = Frame::of(eye) else { return };
    let before = photo.clone();
    let [least, most] = frame.bounds(photo);
    for y in least[1]..most[1] {
        for x in least[0]..most[0] {
            let [along, down] = frame.local([x as f32, y as f32]);
            let Some((source, light)) = frame.source(along, down, closed) else { continue };
            let [from_x, from_y] = frame.in_photo([along, source]);
            let colour = sample(&before, from_x, from_y).map(|value| value * light);
            let at = 3 * (y * photo.width_px + x);
            photo.rgb[at..at + 3].copy_from_slice(&colour.map(|value| value.round() as u8));
        }
    }
}

/// An eye's own axes: along from its left corner in the picture to its right one, and down.
struct Frame {
    corner: [f32; 2],
    along: [f32; 2],
    width: f32,
    upper: Vec<[f32; 2]>,
    lower: Vec<[f32; 2]>,
}

impl Frame {
    fn of(eye: &Eye) -> Option<Self> {
        let (outer, inner) = (*eye.contour.first()?, *eye.contour.get(8)?);
        let (left, right) = if outer[0] < inner[0] { (outer, inner) } else { (inner, outer) };
        let (dx, dy) = (right[0] - left[0], right[1] - left[1]);
        let width = dx.hypot(dy);
        if width.is_nan() || width <= 1.0 {
            return None;
        }
        let mut frame =
            Self { corner: left, along: [dx / width, dy / width], width, upper: Vec::new(), lower: Vec::new() };
        let lid = |points: &mut dyn Iterator<Item = [f32; 2]>| {
            let mut lid: Vec<_> = points.map(|point| frame.local(point)).collect();
            lid.sort_by(|a, b| a[0].total_cmp(&b[0]));
            lid
        };
        let lower = lid(&mut eye.contour[..9].iter().copied());
        let upper = lid(&mut eye.contour[9..].iter().copied().chain([left, right]));
        (frame.upper, frame.lower) = (upper, lower);
        Some(frame)
    }

    fn local(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let (dx, dy) = (x - self.corner[0], y - self.corner[1]);
        [dx * self.along[0] + dy * self.along[1], dy * self.along[0] - dx * self.along[1]]
    }

    fn in_photo(&self, [along, down]: [f32; 2]) -> [f32; 2] {
        let [right, below] = self.along;
        [self.corner[0] + along * right - down * below, self.corner[1] + along * below + down * right]
    }

    /// The pixels of the photo that the eye and the skin above it may lie in.
    fn bounds(&self, photo: &Photo) -> [[usize; 2]; 2] {
        let middle = self.in_photo([self.width / 2.0, 0.0]);
        let clamped = |at: f32, length: usize| (at.max(0.0) as usize).min(length);
        let limits = [photo.width_px, photo.height_px];
        let edge = |sign: f32| std::array::from_fn(|i| clamped(middle[i] + sign * self.width, limits[i]));
        [edge(-1.0), edge(1.0)]
    }

    /// How far down the photo is to be looked at, to show what is at (`along`, `down`) once the eye is closed, and how
    /// much of its light is left there; `None` where nothing changes.
    fn source(&self, along: f32, down: f32, closed: f32) -> Option<(f32, f32)> {
        let (upper, lower) = (height(&self.upper, along)?, height(&self.lower, along)?);
        let open = (lower - upper).max(0.0);
        let (lid, skin) = (upper + closed * open, upper - SKIN * self.width);
        if down <= skin || down >= lower + LINE * self.width {
            return None;
        }
        // Where the eye is narrow, at its corners, there is no lid to speak of.
        let lid_share = (open / (0.15 * self.width)).min(1.0);
        let beside = (down - lid) / (LINE * self.width);
        let light = 1.0 - DARKER * closed * lid_share * (-beside * beside).exp();
        if down >= lower {
            return Some((down, light));
        }
        if down >= lid {
            return Some((upper + (down - lid) * open / (lower - lid).max(f32::EPSILON), light));
        }
        // The brow stays as it is; what is left out towards the lid is what of its lashes stands before it.
        let (drawn, there) = (lid - skin, upper - closed * lid_share * UPRIGHT_LASHES * self.width - skin);
        let share = (down - skin) / drawn;
        Some((skin + drawn * share - (drawn - there.max(drawn / 2.0)) * share * share, light))
    }
}

/// The height of a line of points at `along`; `None` beside it.
fn height(line: &[[f32; 2]], along: f32) -> Option<f32> {
    let pair = line.windows(2).find(|pair| (pair[0][0]..pair[1][0]).contains(&along))?;
    let share = (along - pair[0][0]) / (pair[1][0] - pair[0][0]);
    Some(pair[0][1] + share * (pair[1][1] - pair[0][1]))
}
