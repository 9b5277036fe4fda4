//! Describes a levelled face by 128 numbers of length one with SFace: near for one person, far for two.

use ort::session::Session;
use ort::value::TensorRef;

use super::align::{self, SIDE_PX, Similarity};
use super::{FaceBox, Models, Photo, VisionError};

/// How many numbers describe a face.
pub const NUMBERS: usize = 128;

/// SFace, with a buffer of its own: one a thread.
pub struct Recogniser {
    session: Session,
    planes: Vec<f32>,
}

impl Recogniser {
    /// Opens the recogniser.
    pub fn new(models: &Models) -> Result<Self, VisionError> {
        Ok(Self { session: models.session("recogniser")?, planes: Vec::new() })
    }

    /// The numbers of `face`; `None` when its five points lie in one place.
    pub fn embed(&mut self, photo: &Photo, face: &FaceBox) -> Result<Option<[f32; NUMBERS]>, VisionError> {
        let Some(transform) = Similarity::onto(&face.points) else {
            return Ok(None);
        };
        align::resample(photo, transform, SIDE_PX, align::three(&mut self.planes, SIDE_PX * SIDE_PX));
        let input = TensorRef::from_array_view(([1, 3, SIDE_PX, SIDE_PX], self.planes.as_slice()))?;
        let outputs = self.session.run(ort::inputs![input])?;
        let (_, numbers) = outputs[0].try_extract_tensor::<f32>()?;
        let numbers: [f32; NUMBERS] =
            numbers.try_into().map_err(|_| VisionError::Model(format!("{} numbers for a face", numbers.len())))?;
        of_length_one(numbers).map(Some).ok_or_else(|| VisionError::Model("a face without a direction".to_owned()))
    }
}

fn of_length_one(numbers: [f32; NUMBERS]) -> Option<[f32; NUMBERS]> {
    let length = dot(&numbers, &numbers).sqrt();
    (length.is_finite() && length > 0.0).then(|| numbers.map(|number| number / length))
}

/// The cosine of two descriptions of length one.
pub fn dot(a: &[f32; NUMBERS], b: &[f32; NUMBERS]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
