//! What is asked about a submission.

use serde::{Deserialize, Serialize};

use super::Template;
use crate::log::Movement;

/// What whoever looks at a submission must know.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// the face that should be there
    pub enrolled: Template,
    /// what the learner was asked for
    pub asked: Asked,
}

/// What the learner was asked for with a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// a movement that the frames must show
    pub challenge: Option<Movement>,
    /// frames that must be there at least
    pub frames_least: usize,
}

impl Asked {
    /// One photo, and no movement.
    pub const PHOTO: Self = Self { challenge: None, frames_least: 1 };
}

impl From<Template> for Question {
    /// Whether this face is in a photo.
    fn from(enrolled: Template) -> Self {
        Self { enrolled, asked: Asked::PHOTO }
    }
}
