//! From a photo to a face check: is the enrolled person, and nobody else, in front of the camera?
//!
//! [`VisionPool`] is the door for the engine, [`Checker`] the work of one of its threads: decode with limits, find
//! the faces, level the one that counts, describe it by 128 numbers, compare. Whatever goes wrong is an outcome of its
//! own; nothing that fails passes for a match.
//!
//! It does not judge: how many failed checks are too many is a rule's business. It tells a picture of a face
//! by how a burst moves and by earlier photos; not a film of one. It keeps no photo, and never logs one.

mod align;
pub mod alter;
mod bare;
pub mod burst;
mod challenge;
mod check;
mod container;
mod decode;
mod descriptor;
mod detect;
mod digest;
mod embed;
mod eyes;
mod grey;
mod known;
#[cfg(test)]
mod layers_tests;
mod lens;
mod manifest;
mod mesh;
mod motion;
#[cfg(test)]
mod networks_tests;
mod passive;
pub mod people;
mod pool;
mod pose;
mod provider;
pub mod puppet;
mod quality;
mod question;
mod queue;
mod runtime;
pub mod search;
mod submission;
mod template;
#[cfg(test)]
mod tests;

pub use bare::Bare;
pub use challenge::{Challenge, MovementModels, NotDone, Observed, judge as judge_challenge};
pub use check::{Check, Checker, Compared, DETECTOR_SIDE_PX, EnrolError, Outcome, Reason, likeness};
pub use decode::{PHOTO_LIMIT_BYTES, PHOTO_LIMIT_PIXELS, Photo, PhotoError, decode};
pub use descriptor::{Descriptor, SAME_PICTURE};
pub use detect::FaceBox;
pub use digest::Digest;
pub use eyes::{Eye, EyeReader, Eyes};
pub use known::{Earlier, Known, Picture, SamePicture};
pub use manifest::{DEFAULT_FOLDER, Manifest, ModelDigests, Runtime, VerifyError, verify};
pub use mesh::{Mesh, Mesher, POINTS as MESH_POINTS};
pub use motion::{Motion, Unnatural};
pub use passive::{Passive, PassiveReader};
pub use pool::{Busy, Unseen, VisionConfig, VisionMeters, VisionPool};
pub use pose::Pose;
pub use provider::{Precision, Provider, Refusal, Running, Wanted, WantedPrecision, WantedProvider};
pub use quality::{Flaw, Quality};
pub use question::{Asked, Question};
pub use queue::{Asker, Turn, Urgency};
pub use runtime::{Models, VisionError};
pub use submission::{Portrait, Sighting};
pub use template::{Template, TemplateError};
