//! The networks of a check by themselves: what is left when all else costs nothing. For benchmarks.

use ort::session::Session;
use ort::value::TensorRef;

use super::align::SIDE_PX;
use super::detect::{CLOSER_SIDE_PX, View};
use super::{DETECTOR_SIDE_PX, Models, Photo, VisionError};

/// The networks that one check of one photo runs, with inputs of the right size and no meaning.
pub struct Bare {
    detector: Session,
    near_detector: Session,
    recogniser: Session,
    /// the whole photo, the closer look, the levelled face: height, width, values
    inputs: [(usize, usize, Vec<f32>); 3],
}

impl Bare {
    /// Opens the networks, for photos of the size of `photo`.
    ///
    /// # Errors
    /// When one of them does not load.
    pub fn new(models: &Models, photo: &Photo) -> Result<Self, VisionError> {
        let view = View::whole(photo, DETECTOR_SIDE_PX);
        let whole = (view.padded(photo.height_px), view.padded(photo.width_px));
        let inputs = [whole, (CLOSER_SIDE_PX, CLOSER_SIDE_PX), (SIDE_PX, SIDE_PX)];
        // Neither black nor the same everywhere: no kernel may find a short cut.
        let inputs = inputs
            .map(|(height, width)| (height, width, (0..3 * height * width).map(|at| (at * 37 % 256) as f32).collect()));
        let [detector, near_detector, recogniser] =
            ["detector", "near_detector", "recogniser"].map(|role| models.session(role));
        Ok(Self { detector: detector?, near_detector: near_detector?, recogniser: recogniser?, inputs })
    }

    /// Runs all networks of one check.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn run(&mut self) -> Result<(), VisionError> {
        let [whole, closer, face] = &self.inputs;
        run(&mut self.detector, whole)?;
        run(&mut self.near_detector, closer)?;
        run(&mut self.recogniser, face)
    }
}

fn run(session: &mut Session, (height, width, values): &(usize, usize, Vec<f32>)) -> Result<(), VisionError> {
    let input = TensorRef::from_array_view(([1, 3, *height, *width], values.as_slice()))?;
    session.run(ort::inputs![input]).map(drop).map_err(VisionError::from)
}
