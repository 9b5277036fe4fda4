//! What whoever has looked at a photo tells who asked: all that the engine found, to the last bit, so that what is
//! recorded is what would have been recorded there.

use serde::{Deserialize, Serialize};

use super::Enrolled;
use super::frame::{self, FrameError, Of};
use crate::auth::keys::DataKey;
use crate::clock::Entropy;
use crate::vision::{Busy, Check, Digest, EnrolError, FaceBox, ModelDigests, Outcome, PhotoError, Reason, Template};

const KIND: &str = "photo answer";
/// Numbers of a face: its box, how sure the detector is, and five points.
const FACE_NUMBERS: usize = 15;

/// What came of a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Checked(Box<Check>),
    Enrolled(Box<Result<Enrolled, EnrolError>>),
}

/// Followed by the numbers of the check, if there is one; before them, by the template.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Head {
    Checked { check: CheckHead },
    Enrolled { replaced: Option<CheckHead> },
    Refused { why: Refusal },
}

/// A check without its numbers.
#[derive(Serialize, Deserialize)]
struct CheckHead {
    outcome: Outcome,
    reason: Option<Whole>,
    compared: bool,
    faces: usize,
    photo: Digest,
    enrolment_photo: Digest,
    models: ModelDigests,
}

/// A reason with its particulars: by itself it is written as a word.
#[derive(Serialize, Deserialize)]
struct Whole(#[serde(with = "InFull")] Reason);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Reason", rename_all = "snake_case")]
enum InFull {
    Photo(PhotoError),
    TooSmall,
    Rolled,
    UpsideDown,
    CutOff,
    Repeated,
    OtherModel,
    Engine(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Refusal {
    NoFace,
    MultipleFaces,
    Unusable(Whole),
    Engine(String),
    Busy,
}

impl Told {
    pub(super) fn seal(&self, master: &DataKey, entropy: &Entropy, of: Of<'_>) -> Vec<u8> {
        let mut tail = Vec::new();
        let head = match self {
            Self::Checked(check) => Head::Checked { check: CheckHead::of(check, &mut tail) },
            Self::Enrolled(enrolled) => match enrolled.as_ref() {
                Ok(Enrolled { template, replaced }) => {
                    tail = template.to_bytes();
                    Head::Enrolled { replaced: replaced.as_ref().map(|check| CheckHead::of(check, &mut tail)) }
                }
                Err(error) => Head::Refused { why: Refusal::of(error) },
            },
        };
        frame::seal(master, entropy, KIND, of, &head, &tail)
    }

    pub(super) fn open(master: &DataKey, of: Of<'_>, sealed: &[u8]) -> Result<Self, FrameError> {
        let (head, tail) = frame::open(master, KIND, of, sealed)?;
        Ok(match head {
            Head::Checked { check } => Self::Checked(Box::new(check.with_numbers(&tail)?)),
            Head::Enrolled { replaced } => {
                let (template, numbers) =
                    tail.split_at_checked(Template::BYTES).ok_or_else(|| FrameError::unknown("it has no template"))?;
                let template = Template::from_bytes(template).map_err(FrameError::unknown)?;
                let replaced = replaced.map(|check| check.with_numbers(numbers)).transpose()?;
                Self::Enrolled(Box::new(Ok(Enrolled { template, replaced })))
            }
            Head::Refused { why } => Self::Enrolled(Box::new(Err(why.into()))),
        })
    }
}

impl CheckHead {
    fn of(check: &Check, tail: &mut Vec<u8>) -> Self {
        let numbers = [check.threshold, check.similarity.unwrap_or_default()];
        tail.extend(numbers.into_iter().chain(check.faces.iter().flat_map(numbers_of)).flat_map(f32::to_le_bytes));
        Self {
            outcome: check.outcome,
            reason: check.reason.clone().map(Whole),
            compared: check.similarity.is_some(),
            faces: check.faces.len(),
            photo: check.photo,
            enrolment_photo: check.enrolment_photo,
            models: check.models,
        }
    }

    fn with_numbers(self, tail: &[u8]) -> Result<Check, FrameError> {
        let numbers: Vec<f32> = tail.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let whole = || FrameError::unknown("it has too few or too many numbers");
        let (&[threshold, similarity], faces) = numbers.split_first_chunk::<2>().ok_or_else(whole)?;
        let (faces, rest) = faces.as_chunks::<FACE_NUMBERS>();
        if faces.len() != self.faces || !rest.is_empty() {
            return Err(whole());
        }
        Ok(Check {
            outcome: self.outcome,
            reason: self.reason.map(|reason| reason.0),
            similarity: self.compared.then_some(similarity),
            threshold,
            faces: faces.iter().map(face_of).collect(),
            photo: self.photo,
            enrolment_photo: self.enrolment_photo,
            models: self.models,
        })
    }
}

fn numbers_of(face: &FaceBox) -> [f32; FACE_NUMBERS] {
    let FaceBox { x, y, width, height, score, points } = *face;
    let [[ax, ay], [bx, by], [cx, cy], [dx, dy], [ex, ey]] = points;
    [x, y, width, height, score, ax, ay, bx, by, cx, cy, dx, dy, ex, ey]
}

fn face_of(numbers: &[f32; FACE_NUMBERS]) -> FaceBox {
    let [x, y, width, height, score, points @ ..] = *numbers;
    FaceBox { x, y, width, height, score, points: std::array::from_fn(|i| [points[2 * i], points[2 * i + 1]]) }
}

impl Refusal {
    fn of(error: &EnrolError) -> Self {
        match error {
            EnrolError::NoFace => Self::NoFace,
            EnrolError::MultipleFaces => Self::MultipleFaces,
            EnrolError::Unusable(reason) => Self::Unusable(Whole(reason.clone())),
            EnrolError::Engine(why) => Self::Engine(why.clone()),
            EnrolError::Busy(Busy) => Self::Busy,
        }
    }
}

impl From<Refusal> for EnrolError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoFace => Self::NoFace,
            Refusal::MultipleFaces => Self::MultipleFaces,
            Refusal::Unusable(Whole(reason)) => Self::Unusable(reason),
            Refusal::Engine(why) => Self::Engine(why),
            Refusal::Busy => Self::Busy(Busy),
        }
    }
}
