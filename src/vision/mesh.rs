//! 468 points on a face, with their depth, from MediaPipe's Face Mesh.
//!
//! It needs a face that the detector has found: shown a wall, it draws a face on it, and says itself that it is none.

use super::lens::{Network, Square, numbers};
use super::{Digest, FaceBox, Models, Photo, Pose, VisionError};

/// How many points a mesh has. Their numbers are MediaPipe's: 33 and 133 are the outer and inner corner of the person's
/// right eye, 362 and 263 the inner and outer one of the left, 10 the forehead's middle, 152 the chin's, 1 the nose's tip.
pub const POINTS: usize = 468;

/// A face's points.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    /// `POINTS` of them: right and down in pixels of the photo, and away from the camera in the same unit, from a plane
    /// through the middle of the head.
    pub points: Vec<[f32; 3]>,
    /// How sure the network is that they lie on a face, 0 to 1.
    pub face: f32,
    /// The least sureness that counts.
    pub face_least: f32,
}

impl Mesh {
    /// Whether there is a face under the points.
    pub fn is_face(&self) -> bool {
        self.face >= self.face_least
    }

    /// How the head is turned; `None` when the points make no face.
    pub fn pose(&self) -> Option<Pose> {
        Pose::of(&self.points)
    }

    /// A point in the picture, in pixels.
    pub fn at(&self, point: usize) -> [f32; 2] {
        [self.points[point][0], self.points[point][1]]
    }
}

/// The network, with buffers of its own: one a thread.
pub struct Mesher {
    network: Network,
    face_least: f32,
}

impl Mesher {
    /// Opens the network.
    ///
    /// # Errors
    /// When it does not load.
    pub fn new(models: &Models) -> Result<Self, VisionError> {
        let model = models.manifest().model("mesh");
        let network = Network::new(model, models.session("mesh")?)?;
        Ok(Self { network, face_least: model.threshold("face") })
    }

    /// SHA-256 of its file.
    pub fn digest(&self) -> Digest {
        self.network.digest()
    }

    /// The points of a face that the detector found, levelled by its eyes.
    ///
    /// # Errors
    /// When the network fails.
    pub fn mesh(&mut self, photo: &Photo, face: &FaceBox) -> Result<Mesh, VisionError> {
        let across_px = self.network.crop() * face.width.max(face.height);
        let square = Square { centre: face.centre(), across_px, roll_degrees: face.roll_degrees(), mirrored: false };
        let face_least = self.face_least;
        let (outputs, placed) = self.network.look(photo, square)?;
        let values = numbers(&outputs, "conv2d_20", 3 * POINTS)?;
        let points = values.chunks_exact(3).map(|point| {
            let [x, y] = placed.in_photo([point[0], point[1]]);
            [x, y, point[2] * placed.scale()]
        });
        let logit = numbers(&outputs, "conv2d_30", 1)?[0];
        Ok(Mesh { points: points.collect(), face: 1.0 / (1.0 + (-logit).exp()), face_least })
    }
}
