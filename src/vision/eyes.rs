//! How far each eye is open, from MediaPipe's Iris: it sees the lids' edges where the mesh only guesses them.

use serde::{Deserialize, Serialize};

use super::lens::{Network, Square, numbers};
use super::mesh::Mesh;
use super::{Digest, Models, Photo, VisionError};

/// Outer and inner corner in the mesh, of the person's right eye and of the left.
const RIGHT_CORNERS: [usize; 2] = [33, 133];
const LEFT_CORNERS: [usize; 2] = [263, 362];
/// The network's points: the eye's edge comes first, the lower lid from corner to corner and then the upper one.
const CONTOUR: usize = 16;
const POINTS: usize = 71;
const CORNERS: [usize; 2] = [0, 8];
/// Upper and lower lid above each other, in the middle of the eye.
const LIDS: [[usize; 2]; 3] = [[11, 3], [12, 4], [13, 5]];

/// One eye.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eye {
    /// Mean distance of the lids, as a share of the distance between the eye's corners: about 0.3 is open, below 0.1
    /// closed. People differ; a blink is a fall below the person's own value.
    pub openness: f32,
    /// The edge: the lower lid's nine points from the outer corner to the inner, then the upper lid's seven between them;
    /// in pixels of the photo.
    pub contour: Vec<[f32; 2]>,
}

/// A person's eyes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eyes {
    /// The person's own right eye.
    pub right: Eye,
    /// The person's own left eye.
    pub left: Eye,
}

impl Eyes {
    /// How far they are open on average.
    pub fn openness(&self) -> f32 {
        (self.right.openness + self.left.openness) / 2.0
    }
}

/// The network, with buffers of its own: one a thread.
pub struct EyeReader {
    network: Network,
}

impl EyeReader {
    /// Opens the network.
    ///
    /// # Errors
    /// When it does not load.
    pub fn new(models: &Models) -> Result<Self, VisionError> {
        Ok(Self { network: Network::new(models.manifest().model("eyes"), models.session("eyes")?)? })
    }

    /// SHA-256 of its file.
    pub fn digest(&self) -> Digest {
        self.network.digest()
    }

    /// Both eyes of a face with its mesh.
    ///
    /// # Errors
    /// When the network fails.
    pub fn eyes(&mut self, photo: &Photo, mesh: &Mesh) -> Result<Eyes, VisionError> {
        Ok(Eyes {
            right: self.eye(photo, mesh, RIGHT_CORNERS, false)?,
            left: self.eye(photo, mesh, LEFT_CORNERS, true)?,
        })
    }

    /// The network knows one kind of eye, the one whose outer corner is on the picture's left; the other is shown to it in
    /// a mirror.
    fn eye(&mut self, photo: &Photo, mesh: &Mesh, corners: [usize; 2], mirrored: bool) -> Result<Eye, VisionError> {
        let [outer, inner] = corners.map(|corner| mesh.at(corner));
        let (right, left) = if mirrored { (inner, outer) } else { (outer, inner) };
        let (dx, dy) = (left[0] - right[0], left[1] - right[1]);
        let square = Square {
            centre: [(outer[0] + inner[0]) / 2.0, (outer[1] + inner[1]) / 2.0],
            across_px: self.network.crop() * dx.hypot(dy),
            roll_degrees: dy.atan2(dx).to_degrees(),
            mirrored,
        };
        let (outputs, placed) = self.network.look(photo, square)?;
        let values = numbers(&outputs, "output_eyes_contours_and_brows", 3 * POINTS)?;
        let edge: Vec<[f32; 2]> = values.chunks_exact(3).take(CONTOUR).map(|point| [point[0], point[1]]).collect();
        let apart = |[a, b]: [usize; 2]| (edge[a][0] - edge[b][0]).hypot(edge[a][1] - edge[b][1]);
        let lids = LIDS.map(apart).iter().sum::<f32>() / LIDS.len() as f32;
        let width = apart(CORNERS).max(f32::EPSILON);
        Ok(Eye { openness: lids / width, contour: edge.iter().map(|point| placed.in_photo(*point)).collect() })
    }
}
