//! What a network that looks at one square picture is shown: a square of the photo, turned and scaled, in the layout,
//! the order of colours and the scale that the manifest describes.

use std::borrow::Cow;

use ort::session::{Session, SessionOutputs};
use ort::value::TensorRef;

use super::align::{self, Similarity};
use super::manifest::{Channels, Input, Layout, Model};
use super::{Digest, Photo, VisionError};

/// A square of a photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Square {
    /// Its middle, in pixels of the photo.
    pub centre: [f32; 2],
    /// Its side, in pixels of the photo.
    pub across_px: f32,
    /// How far it is turned, in degrees; clockwise is positive.
    pub roll_degrees: f32,
    /// Whether it is shown in a mirror.
    pub mirrored: bool,
}

/// From the picture that the network was shown back into the photo.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    transform: Similarity,
    side_px: f32,
    scale: f32,
    mirrored: bool,
}

impl Placed {
    /// Where a place is in the photo. Networks count from the corner of the first pixel, photos from its middle.
    pub fn in_photo(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let x = if self.mirrored { self.side_px - x } else { x };
        self.transform.apply([x - 0.5, y - 0.5])
    }

    /// How many pixels of the photo one of the picture's is wide.
    pub fn scale(&self) -> f32 {
        self.scale
    }
}

/// A network that looks at one square picture, with buffers of its own: one a thread.
pub struct Network {
    session: Session,
    input: Input,
    digest: Digest,
    side_px: usize,
    crop: f32,
    planes: Vec<f32>,
    pixels: Vec<f32>,
}

impl Network {
    /// Gives an open model the eyes that its description asks for.
    ///
    /// # Errors
    /// When the description lacks the file's digest, the picture's side or the crop.
    pub fn new(model: &Model, session: Session) -> Result<Self, VisionError> {
        let lacks = |what: &str| VisionError::Model(format!("{}: the manifest gives no {what}", model.name));
        let side_px = model.input.side.filter(|side| *side > 0).ok_or_else(|| lacks("input.side"))?;
        let crop = model.input.crop.ok_or_else(|| lacks("input.crop"))?;
        let digest = Digest::parse(&model.sha256).ok_or_else(|| lacks("sha256"))?;
        let (planes, pixels) = (Vec::new(), Vec::new());
        Ok(Self { session, input: model.input.clone(), digest, side_px, crop, planes, pixels })
    }

    /// SHA-256 of its file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How much it is shown, as a multiple of the size of what it looks at.
    pub fn crop(&self) -> f32 {
        self.crop
    }

    /// Shows it a square of the photo. What is beyond the photo's edge is black.
    ///
    /// # Errors
    /// When the network fails.
    pub fn look(&mut self, photo: &Photo, square: Square) -> Result<(SessionOutputs<'_>, Placed), VisionError> {
        let side_px = self.side_px;
        let transform = Similarity::square(square.centre, square.across_px, square.roll_degrees, side_px);
        let [first, second, third] = align::three(&mut self.planes, side_px * side_px);
        let mut planes = match self.input.channels {
            Channels::RedFirst => [first, second, third],
            Channels::BlueFirst => [third, second, first],
        };
        align::resample(photo, transform, side_px, planes.each_mut().map(|plane| &mut **plane));
        let colours = self.input.scale.numbers().into_iter().zip(self.input.mean.numbers());
        for (plane, (scale, mean)) in planes.into_iter().zip(colours) {
            plane.iter_mut().for_each(|value| *value = (*value - mean) * scale);
            if square.mirrored {
                plane.chunks_exact_mut(side_px).for_each(<[f32]>::reverse);
            }
        }
        let (shape, values): (_, Cow<[f32]>) = match self.input.layout {
            Layout::Planes => ([1, 3, side_px, side_px], self.planes.as_slice().into()),
            Layout::Pixels => ([1, side_px, side_px, 3], interleaved(&self.planes, &mut self.pixels).into()),
        };
        let picture = TensorRef::from_array_view((shape, &*values))?;
        let outputs = self.session.run(ort::inputs![self.input.name.as_str() => picture])?;
        let scale = square.across_px / side_px as f32;
        Ok((outputs, Placed { transform, side_px: side_px as f32, scale, mirrored: square.mirrored }))
    }
}

/// Three planes as three numbers a pixel.
fn interleaved<'a>(planes: &[f32], pixels: &'a mut Vec<f32>) -> &'a [f32] {
    let plane = planes.len() / 3;
    pixels.clear();
    pixels.extend((0..plane).flat_map(|at| [planes[at], planes[plane + at], planes[2 * plane + at]]));
    pixels
}

/// The numbers of an output.
///
/// # Errors
/// When there is no such output, it has not `count` numbers, or one of them is not finite.
pub fn numbers<'a>(outputs: &'a SessionOutputs, name: &str, count: usize) -> Result<&'a [f32], VisionError> {
    let value = outputs.get(name).ok_or_else(|| VisionError::Model(format!("no output `{name}`")))?;
    let (_, numbers) = value.try_extract_tensor::<f32>()?;
    if numbers.len() != count {
        return Err(VisionError::Model(format!("output `{name}` has {} numbers, not {count}", numbers.len())));
    }
    let finite = numbers.iter().all(|number| number.is_finite());
    finite.then_some(numbers).ok_or_else(|| VisionError::Model(format!("output `{name}` is not finite")))
}
