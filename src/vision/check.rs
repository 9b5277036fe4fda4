//! One thread's whole check: decode, find, choose, level, describe, compare.
//!
//! Each thing that can be wrong with a photo has an answer of its own, so that a learner can be told what to mend, and
//! so that a face that cannot be compared fairly is never called another person's.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::detect::{Detector, View};
use super::embed::{NUMBERS, Recogniser};
use super::manifest::{Manifest, Model, ModelDigests};
use super::motion::Unnatural;
use super::{
    Challenge, Digest, EyeReader, FaceBox, Flaw, Mesher, Models, Motion, MovementModels, NotDone, Passive,
    PassiveReader, Photo, PhotoError, Picture, Quality, Question, SamePicture, Template, VisionError, decode,
};

/// The longer side of what the detector sees, in pixels. Half of a webcam's 640: a quarter of the work, and a face of
/// the least size that counts is still 16 px there, which the detector finds.
pub const DETECTOR_SIDE_PX: usize = 320;
/// A second face counts from this share of the largest one's area: a person twice as far away has a quarter, three
/// times as far a ninth. What is smaller is a passer-by in the distance or a picture on the wall.
const SECOND_FACE_SHARE: f32 = 0.1;
/// Beyond this roll matching fails, in degrees.
const ROLL_LIMIT_DEGREES: f32 = 30.0;
/// Beyond this roll the face is called upside down rather than rolled, in degrees.
const UPSIDE_DOWN_DEGREES: f32 = 120.0;
/// A tilt up to this needs no second look, in degrees: the recogniser was trained with as much.
const LEVEL_DEGREES: f32 = 8.0;
/// Looks at a tilted face after the first close one; the second already changes little.
const LEVELLED_LOOKS: u32 = 2;
/// Faces of a photo that are told of.
const FACES_LIMIT: usize = 32;
/// Least side of a face that is compared, in pixels.
pub(super) const FACE_SIDE_LEAST_PX: f32 = 32.0;
/// Least side of a face that is enrolled: every later check leans on it.
const ENROLLED_SIDE_LEAST_PX: f32 = 48.0;

/// What a check found; the words are those of the session log's `face.checked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The enrolled person, alone.
    Match,
    /// Somebody else.
    Mismatch,
    /// Nobody.
    NoFace,
    /// More than one person.
    MultipleFaces,
    /// The enrolled person, and not in front of the camera; the reason says why.
    Spoof,
    /// A photo or a face that cannot be compared; the reason says why.
    Unusable,
    /// The engine could not check. The learner is not to blame.
    Error,
}

impl Outcome {
    /// The word in the session log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Mismatch => "mismatch",
            Self::NoFace => "no_face",
            Self::MultipleFaces => "multiple_faces",
            Self::Spoof => "spoof",
            Self::Unusable => "unusable",
            Self::Error => "error",
        }
    }
}

/// Why a photo is unusable or no photo of now, or why the engine could not check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The bytes are no photo that is taken.
    Photo(PhotoError),
    /// The face is too small.
    TooSmall,
    /// The head, or the camera, is tilted by more than 30°.
    Rolled,
    /// The face is upside down.
    UpsideDown,
    /// Part of the face is outside the photo.
    CutOff,
    /// The face cannot be seen well enough to be told from another.
    Quality(Flaw),
    /// Too like the enrolled face to be another's, and not enough to be sure: half of it may be covered.
    Doubtful,
    /// Fewer photos than were asked for.
    TooFewFrames,
    /// More photos than were asked for.
    TooManyFrames,
    /// The photos' times cannot be: of photos taken one after the other, as they were asked for.
    FrameTimes,
    /// One photo again and again.
    Frozen,
    /// A photo that comes back after others.
    Looped,
    /// The face, or the room, is elsewhere at once.
    Jumped,
    /// The photos show more than one person, one after the other.
    PersonChanged,
    /// The movement that was asked for is not to be seen.
    Challenge(NotDone),
    /// The very bytes of an earlier photo of this learner: no camera takes the same picture twice.
    Repeated,
    /// An earlier photo, altered: of this learner, of the enrolment, or of another learner.
    SamePicture,
    /// The template was made by another recogniser: the person must be enrolled again.
    OtherModel,
    /// A model failed, or a worker.
    Engine(String),
}

impl Reason {
    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Photo(error) => error.as_str(),
            Self::TooSmall => "too_small",
            Self::Rolled => "rolled",
            Self::UpsideDown => "upside_down",
            Self::CutOff => "cut_off",
            Self::Quality(flaw) => flaw.as_str(),
            Self::Doubtful => "doubtful",
            Self::TooFewFrames => "too_few_frames",
            Self::TooManyFrames => "too_many_frames",
            Self::FrameTimes => "frame_times",
            Self::Frozen => "frozen",
            Self::Looped => "looped",
            Self::Jumped => "jumped",
            Self::PersonChanged => "person_changed",
            Self::Challenge(_) => "challenge_not_done",
            Self::Repeated => "repeated",
            Self::SamePicture => "same_picture",
            Self::OtherModel => "other_model",
            Self::Engine(_) => "engine",
        }
    }
}

impl From<Unnatural> for Reason {
    fn from(unnatural: Unnatural) -> Self {
        match unnatural {
            Unnatural::Frozen => Self::Frozen,
            Unnatural::Looped => Self::Looped,
            Unnatural::Jumped => Self::Jumped,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Photo(error) => return error.fmt(formatter),
            Self::TooSmall => "the face is too small: come closer to the camera",
            Self::Rolled => "the face is tilted: hold your head and the camera level",
            Self::UpsideDown => "the face is upside down: turn the camera",
            Self::CutOff => "part of the face is outside the photo",
            Self::Quality(flaw) => flaw.advice(),
            Self::Doubtful => "the face cannot be made out for certain: uncover it, look straight into the camera",
            Self::TooFewFrames => "fewer photos came than were asked for",
            Self::TooManyFrames => "more photos came than were asked for",
            Self::FrameTimes => {
                "the photos cannot have been taken at the times that they say, one after the other as asked for"
            }
            Self::Frozen => "the photos are all the same: look into a camera that works",
            Self::Looped => "the photos repeat: look into a camera that works",
            Self::Jumped => "the picture jumped: hold still and try again",
            Self::PersonChanged => "the photos show more than one person: only you may be there",
            Self::Challenge(not_done) => not_done.advice(),
            Self::Repeated => "this is an earlier photo: take a new one",
            Self::SamePicture => "this is an earlier photo, altered: take a new one",
            Self::OtherModel => "the enrolment was made with another model and must be renewed",
            Self::Engine(why) => return write!(formatter, "the engine could not look at the photo: {why}"),
        })
    }
}

/// Where the face that was compared is: in which photo of the submission, and in thousandths of its width and height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// which photo, from 0
    pub frame: usize,
    /// left edge; below 0 when the face begins outside of the photo
    pub left_milli: i32,
    /// upper edge
    pub top_milli: i32,
    /// width
    pub width_milli: i32,
    /// height
    pub height_milli: i32,
}

impl Compared {
    pub(super) fn of(frame: usize, photo: &Photo, face: &FaceBox) -> Self {
        let milli = |length: f32, of: usize| (1_000.0 * length / of as f32).round() as i32;
        Self {
            frame,
            left_milli: milli(face.x, photo.width_px),
            top_milli: milli(face.y, photo.height_px),
            width_milli: milli(face.width, photo.width_px),
            height_milli: milli(face.height, photo.height_px),
        }
    }
}

/// The result of a check, with all that is needed to make it again. Serialised, it comes back as it was, to the last bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was found.
    pub outcome: Outcome,
    /// Why, for `spoof`, `unusable` and `error`, and for a `mismatch` within a burst.
    pub reason: Option<Reason>,
    /// Cosine of the two faces, −1 to 1; present when they were compared. Of several people, that of the face most like the
    /// enrolled one.
    pub similarity: Option<f32>,
    /// Which face that was.
    pub compared: Option<Compared>,
    /// The least similarity that counts as a match, at the size of these faces.
    pub threshold: f32,
    /// The faces found, the largest first, at most 32; in a burst, those of the frame that decided.
    pub faces: Vec<FaceBox>,
    /// What its photos are known again by: of the first one, when it shows one face; of every photo with the face, in
    /// their order, for a match.
    pub pictures: Vec<Picture>,
    /// The earlier photo that one of them is.
    pub same_picture: Option<SamePicture>,
    /// Photos of the submission; 0 when it could not be taken apart.
    pub frames: usize,
    /// How well the face can be seen, in the photo that shows it best.
    pub quality: Option<Quality>,
    /// How the photos follow each other; none of a single one.
    pub motion: Option<Motion>,
    /// What came of the movement that was asked for; none when none was, or when it did not come to it.
    pub challenge: Option<Challenge>,
    /// The networks that followed the movement; none when it did not come to it.
    pub movement_models: Option<MovementModels>,
    /// What passive models say of the photo that shows the face best; it decides nothing. None when they were not asked,
    /// or are not there.
    pub passive: Option<Passive>,
    /// SHA-256 of the submission's bytes as sent.
    pub photo: Digest,
    /// SHA-256 of the enrolment photo's bytes.
    pub enrolment_photo: Digest,
    /// The models that looked.
    pub models: ModelDigests,
}

impl Check {
    /// One that is to be filled in: until then it is an error.
    pub fn unanswered(photo: Digest, enrolment_photo: Digest, models: ModelDigests) -> Self {
        Self {
            outcome: Outcome::Error,
            reason: None,
            similarity: None,
            compared: None,
            threshold: 1.0,
            faces: Vec::new(),
            pictures: Vec::new(),
            same_picture: None,
            frames: 0,
            quality: None,
            motion: None,
            challenge: None,
            movement_models: None,
            passive: None,
            photo,
            enrolment_photo,
            models,
        }
    }
}

/// Why a photo cannot be enrolled, in words the learner can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrolError {
    /// No face.
    #[error("no face was found: look into the camera, in good light")]
    NoFace,
    /// More than one.
    #[error("more than one face was found: only you may be in the photo")]
    MultipleFaces,
    /// The photo or the face cannot be used.
    #[error("{0}")]
    Unusable(Reason),
    /// The engine failed; try again.
    #[error("the photo could not be looked at: {0}")]
    Engine(String),
    /// The engine is at its limit; try again.
    #[error(transparent)]
    Busy(#[from] super::Busy),
}

/// The face that counts, or why there is none.
pub(super) enum Seen {
    One(FaceBox),
    Nobody,
    Several,
    Unusable(Reason),
}

/// Looks at photos: one a thread.
pub struct Checker {
    pub(super) detector: Detector,
    pub(super) recogniser: Recogniser,
    pub(super) mesher: Mesher,
    pub(super) eyes: EyeReader,
    pub(super) passive: Option<PassiveReader>,
    pub(super) thresholds: Thresholds,
    digests: ModelDigests,
}

impl Checker {
    /// Opens the models.
    ///
    /// # Errors
    /// When one of them does not load.
    pub fn new(models: &Models) -> Result<Self, VisionError> {
        Ok(Self {
            detector: Detector::new(models)?,
            recogniser: Recogniser::new(models)?,
            mesher: Mesher::new(models)?,
            eyes: EyeReader::new(models)?,
            passive: PassiveReader::new(models)?,
            thresholds: Thresholds::of(models.manifest().model("recogniser")),
            digests: models.digests(),
        })
    }

    /// The models that look.
    pub fn models(&self) -> ModelDigests {
        self.digests
    }

    /// Holds a submission against what was asked. Never fails: what goes wrong is an outcome.
    pub fn check(&mut self, submission: &[u8], question: &Question) -> Check {
        let enrolled = &question.enrolled;
        let mut check = Check::unanswered(Digest::of(submission), enrolled.photo, self.digests);
        check.threshold = self.thresholds.at(enrolled.side_px);
        if enrolled.recogniser != self.digests.recogniser {
            check.reason = Some(Reason::OtherModel);
        } else if let Err(error) = self.fill_in(submission, question, &mut check) {
            check.outcome = Outcome::Error;
            check.reason = Some(Reason::Engine(error.to_string()));
        }
        check
    }

    /// Makes a template of the one face in a photo.
    ///
    /// # Errors
    /// [`EnrolError`] says what to mend.
    pub fn enrol(&mut self, photo: &[u8]) -> Result<Template, EnrolError> {
        let engine = |error: VisionError| EnrolError::Engine(error.to_string());
        let digest = Digest::of(photo);
        let looked = self.look(photo, ENROLLED_SIDE_LEAST_PX, &mut Vec::new()).map_err(engine)?;
        let (photo, seen) = looked.map_err(|error| EnrolError::Unusable(Reason::Photo(error)))?;
        let face = match seen {
            Seen::One(face) => face,
            Seen::Nobody => return Err(EnrolError::NoFace),
            Seen::Several => return Err(EnrolError::MultipleFaces),
            Seen::Unusable(reason) => return Err(EnrolError::Unusable(reason)),
        };
        if let Some(reason) = self.turned(&photo, Some(&face)).map_err(engine)? {
            return Err(EnrolError::Unusable(reason));
        }
        let numbers = self.describe(&photo, &face).map_err(engine)?;
        Ok(Template { numbers, recogniser: self.digests.recogniser, photo: digest, side_px: face.side_px() })
    }

    /// The faces of a photo, the largest first.
    ///
    /// # Errors
    /// The inner error is the photo's, the outer one the engine's.
    pub fn detect(&mut self, photo: &[u8]) -> Result<Result<Vec<FaceBox>, PhotoError>, VisionError> {
        match decode(photo) {
            Ok(photo) => self.find(&photo).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    fn look(
        &mut self,
        photo: &[u8],
        side_least_px: f32,
        faces: &mut Vec<FaceBox>,
    ) -> Result<Result<(Photo, Seen), PhotoError>, VisionError> {
        let photo = match decode(photo) {
            Ok(photo) => photo,
            Err(error) => return Ok(Err(error)),
        };
        *faces = self.find(&photo)?;
        let seen = match chosen(&photo, faces, side_least_px) {
            Seen::Nobody => self.turned(&photo, None)?.map_or(Seen::Nobody, Seen::Unusable),
            seen => seen,
        };
        Ok(Ok((photo, seen)))
    }

    /// The faces of a photo; the points of the largest are those of a closer look.
    pub(super) fn find(&mut self, photo: &Photo) -> Result<Vec<FaceBox>, VisionError> {
        let mut faces = self.detector.detect(photo, View::whole(photo, DETECTOR_SIDE_PX))?;
        if faces.is_empty() {
            faces = self.detector.detect(photo, View::bordered(photo, DETECTOR_SIDE_PX))?;
        }
        if let Some(main) = faces.first_mut() {
            *main = self.closer(photo, *main)?;
        }
        faces.truncate(FACES_LIMIT);
        Ok(faces)
    }

    /// Looks closer at a face, and once more, levelled, when it turns out to be tilted: the detector says less than
    /// the whole tilt.
    pub(super) fn closer(&mut self, photo: &Photo, face: FaceBox) -> Result<FaceBox, VisionError> {
        let mut face = self.detector.closer(photo, &face, 0.0)?.unwrap_or(face);
        for _ in 0..LEVELLED_LOOKS {
            let roll_degrees = face.roll_degrees();
            if !(LEVEL_DEGREES..=UPSIDE_DOWN_DEGREES).contains(&roll_degrees.abs()) {
                break;
            }
            face = self.detector.closer(photo, &face, roll_degrees)?.unwrap_or(face);
            if (face.roll_degrees() - roll_degrees).abs() < LEVEL_DEGREES {
                break;
            }
        }
        Ok(face)
    }

    /// Why the face is better seen once the photo is turned by a quarter, a half or three quarters; `None` when it is
    /// not. `upright` is the face found without turning, if any: the detector finds faces on their side or on their
    /// head too, with wrong points, but is surer of them when they are level.
    pub(super) fn turned(&mut self, photo: &Photo, upright: Option<&FaceBox>) -> Result<Option<Reason>, VisionError> {
        let mut surest = upright.map_or(0.0, |face| face.score);
        let mut reason = None;
        let mut turned = photo.clone();
        let mut place = upright.map(FaceBox::centre);
        for turn_degrees in [90.0, 180.0, 270.0] {
            place = place.map(|[x, y]| [turned.height_px as f32 - 1.0 - y, x]);
            turned = turned.quarter_turn();
            let faces = self.detector.detect(&turned, View::whole(&turned, DETECTOR_SIDE_PX))?;
            let same = |face: &&FaceBox| place.is_none_or(|place| face.contains(place));
            for face in faces.iter().filter(same).filter(|face| face.side_px() >= FACE_SIDE_LEAST_PX) {
                let roll_degrees = upright_roll_degrees(face.roll_degrees() - turn_degrees);
                if face.score > surest && roll_degrees > ROLL_LIMIT_DEGREES {
                    surest = face.score;
                    reason = Some(tilted(roll_degrees));
                }
            }
        }
        Ok(reason)
    }

    pub(super) fn describe(&mut self, photo: &Photo, face: &FaceBox) -> Result<[f32; NUMBERS], VisionError> {
        let described = self.recogniser.embed(photo, face)?;
        described.ok_or_else(|| VisionError::Model("the five points of a face lie in one place".to_owned()))
    }
}

/// How alike two described faces are, and from what on that counts as a match.
pub fn likeness(manifest: &Manifest, face: &Template, enrolled: &Template) -> (f32, f32) {
    let thresholds = Thresholds::of(manifest.model("recogniser"));
    (face.cosine(enrolled), thresholds.at(face.side_px.min(enrolled.side_px)))
}

/// The face that counts among `faces`, the largest of which comes first.
pub(super) fn chosen(photo: &Photo, faces: &[FaceBox], side_least_px: f32) -> Seen {
    let Some((main, others)) = faces.split_first() else {
        return Seen::Nobody;
    };
    if others.iter().any(|other| other.area() >= SECOND_FACE_SHARE * main.area()) {
        return Seen::Several;
    }
    let roll_degrees = main.roll_degrees().abs();
    let inside =
        |[x, y]: [f32; 2]| (0.0..photo.width_px as f32).contains(&x) && (0.0..photo.height_px as f32).contains(&y);
    if roll_degrees > ROLL_LIMIT_DEGREES {
        return Seen::Unusable(tilted(roll_degrees));
    }
    if main.side_px() < side_least_px {
        return Seen::Unusable(Reason::TooSmall);
    }
    if !main.points.into_iter().all(inside) {
        return Seen::Unusable(Reason::CutOff);
    }
    Seen::One(*main)
}

/// What to call a roll of more than the limit; `roll_degrees` is 0 to 180.
fn tilted(roll_degrees: f32) -> Reason {
    if roll_degrees > UPSIDE_DOWN_DEGREES { Reason::UpsideDown } else { Reason::Rolled }
}

/// An angle as a distance from upright, 0 to 180 degrees.
fn upright_roll_degrees(angle_degrees: f32) -> f32 {
    let around = angle_degrees.rem_euclid(360.0);
    around.min(360.0 - around)
}

/// The similarity that counts as a match, by the size of the smaller of the two faces.
///
/// At the upstream threshold large faces are confused once in a thousand times or less; tiny ones need more for the
/// same. Between the two measured sizes it is a straight line (models/MODEL_CARD.md).
pub(super) struct Thresholds {
    full: f32,
    full_side_px: f32,
    small: f32,
    small_side_px: f32,
}

impl Thresholds {
    fn of(model: &Model) -> Self {
        Self {
            full: model.threshold("similarity"),
            full_side_px: model.threshold("full_side_px"),
            small: model.threshold("similarity_small"),
            small_side_px: model.threshold("small_side_px"),
        }
    }

    pub(super) fn at(&self, side_px: f32) -> f32 {
        let share = (self.full_side_px - side_px) / (self.full_side_px - self.small_side_px);
        self.full + (self.small - self.full) * share.clamp(0.0, 1.0)
    }
}
