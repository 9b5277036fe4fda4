//! Photos that are known again before any network has looked at them: those that show the very frame of an earlier one.
//!
//! A stored photo that is encoded anew, made noisy, lit or resized still shows the whole of its frame. So its face is where it
//! was, and the two are laid over each other there, by the points of the earlier one. What was cropped or moved is known again
//! only once its own face was found, by its own points. models/MODEL_CARD.md has what either comes to.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::grey::Grey;
use super::{Descriptor, FaceBox, Photo};

/// The whole frame in columns and rows, and how many of a scene's values one of theirs is wide and high.
const COLUMNS: usize = 16;
const ROWS: usize = 12;
const SCENE_VALUES: usize = 4;
/// Frames less alike than this show something else. No photo that was altered as a whole is below; of 1,972 pairs of a person's
/// photos six are above, and then their faces tell.
const FRAME_LEAST: f32 = 0.985;
/// How much wider or higher one of two frames may be, as a share: sides are whole numbers of pixels.
const ASPECT_SHARE: f32 = 0.02;
const POINTS: usize = 5;

/// Whose an earlier photo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Earlier {
    /// of a capture of this learner
    Capture,
    /// the enrolment photo
    Enrolment,
    /// of another learner of the platform
    OtherLearner,
}

/// An earlier photo that is the same picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamePicture {
    /// whose it is
    pub of: Earlier,
    /// −1 to 1
    pub likeness: f32,
}

/// By what a photo with a face is known again: sealed wherever it is kept, since a face can be recognised in it.
#[derive(Clone, PartialEq)]
pub struct Picture {
    /// the face and what is around it
    pub descriptor: Descriptor,
    /// width over height
    aspect: f32,
    /// of the face, as shares of width and height
    points: [[f32; 2]; POINTS],
    frame: Box<[u8; COLUMNS * ROWS]>,
}

/// Earlier photos that each showed the learner, to be known again.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// whose they are, and what they are known by
    pub pictures: Arc<[(Earlier, Picture)]>,
    /// from this likeness on two photos are one picture
    pub least: f32,
}

impl Default for Known {
    /// None.
    fn default() -> Self {
        Self { pictures: Arc::new([]), least: 1.0 }
    }
}

impl Known {
    /// Which of them a photo is. Only the one whose frame is most like its own is looked at closely.
    pub(super) fn again(&self, photo: &Photo, scene: &Grey) -> Option<SamePicture> {
        let (aspect, frame) = (aspect(photo), frame(scene));
        let as_wide = self.pictures.iter().filter(|(_, picture)| (picture.aspect / aspect - 1.0).abs() < ASPECT_SHARE);
        let alike = as_wide.flat_map(|(of, picture)| {
            [false, true].map(|mirrored| (of, picture, mirrored, picture.frame_likeness(&frame, mirrored)))
        });
        let alike = alike.filter(|(.., likeness)| *likeness >= FRAME_LEAST);
        let (of, picture, mirrored, _) = alike.max_by(|(.., a), (.., b)| a.total_cmp(b))?;
        let there = Descriptor::of(photo, &picture.points_in(photo, mirrored))?;
        let likeness = picture.descriptor.likeness(&there);
        (likeness >= self.least).then_some(SamePicture { of: *of, likeness })
    }
}

impl Picture {
    /// Length of the byte form.
    pub const BYTES: usize = Descriptor::BYTES + 4 * (1 + 2 * POINTS) + COLUMNS * ROWS;

    /// Of a photo with a face; `None` when its points lie in one place.
    pub(super) fn of(photo: &Photo, scene: &Grey, face: &FaceBox) -> Option<Self> {
        let (width, height) = (photo.width_px as f32, photo.height_px as f32);
        Some(Self {
            descriptor: Descriptor::of(photo, &face.points)?,
            aspect: aspect(photo),
            points: face.points.map(|[x, y]| [x / width, y / height]),
            frame: Box::new(frame(scene).map(|value| value.round().clamp(0.0, 255.0) as u8)),
        })
    }

    /// Biometric data, to be encrypted.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.descriptor.to_bytes();
        let numbers = std::iter::once(&self.aspect).chain(self.points.as_flattened());
        bytes.extend(numbers.flat_map(|number| number.to_le_bytes()));
        bytes.extend_from_slice(self.frame.as_slice());
        bytes
    }

    /// Reads what [`Picture::to_bytes`] wrote; `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (descriptor, rest) = bytes.split_at_checked(Descriptor::BYTES)?;
        let (numbers, frame) = rest.split_at_checked(4 * (1 + 2 * POINTS))?;
        let (aspect, points) = numbers.split_first_chunk::<4>()?;
        let number = |bytes: &[u8]| bytes.try_into().map(f32::from_le_bytes).unwrap_or_default();
        let mut points = points.chunks_exact(4).map(number);
        Some(Self {
            descriptor: Descriptor::from_bytes(descriptor)?,
            aspect: f32::from_le_bytes(*aspect),
            points: std::array::from_fn(|_| [(); 2].map(|()| points.next().unwrap_or_default())),
            frame: Box::new(frame.try_into().ok()?),
        })
    }

    fn frame_likeness(&self, other: &[f32; COLUMNS * ROWS], mirrored: bool) -> f32 {
        let mut values: Vec<f32> = self.frame.iter().map(|value| f32::from(*value)).collect();
        if mirrored {
            values.chunks_exact_mut(COLUMNS).for_each(<[f32]>::reverse);
        }
        let grey = |values| Grey { width: COLUMNS, values };
        grey(values).likeness(&grey(other.to_vec()))
    }

    /// Where the face is in a photo with the same frame. In a mirror, what was the right eye is the left one.
    fn points_in(&self, photo: &Photo, mirrored: bool) -> [[f32; 2]; POINTS] {
        let (width, height) = (photo.width_px as f32, photo.height_px as f32);
        let placed = self.points.map(|[x, y]| [x * width, y * height]);
        if !mirrored {
            return placed;
        }
        let [right_eye, left_eye, nose, right_corner, left_corner] = placed.map(|[x, y]| [width - 1.0 - x, y]);
        [left_eye, right_eye, nose, left_corner, right_corner]
    }
}

fn aspect(photo: &Photo) -> f32 {
    photo.width_px as f32 / photo.height_px as f32
}

fn frame(scene: &Grey) -> [f32; COLUMNS * ROWS] {
    std::array::from_fn(|at| {
        let (left, top) = (at % COLUMNS * SCENE_VALUES, at / COLUMNS * SCENE_VALUES);
        let places = (0..SCENE_VALUES * SCENE_VALUES).map(|at| (left + at % SCENE_VALUES, top + at / SCENE_VALUES));
        places.map(|(column, row)| scene.at(column, row)).sum::<f32>() / (SCENE_VALUES * SCENE_VALUES) as f32
    })
}

impl fmt::Debug for Picture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Picture")
    }
}

impl Serialize for Picture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(self.to_bytes()))
    }
}

impl<'de> Deserialize<'de> for Picture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64.decode(text).map_err(serde::de::Error::custom)?;
        Self::from_bytes(&bytes).ok_or_else(|| serde::de::Error::custom("not as long as a picture"))
    }
}
