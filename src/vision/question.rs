//! What is asked about a submission.

use serde::{Deserialize, Serialize};

use super::burst::{FRAMES_LIMIT, Frame};
use super::{Known, Reason, Template};
use crate::log::Movement;

/// What whoever looks at a submission must know.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// the face that should be there
    pub enrolled: Template,
    /// what the learner was asked for
    pub asked: Asked,
    /// earlier photos of the learner
    pub known: Known,
}

/// What the learner was asked for with a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// a movement that the frames must show
    pub challenge: Option<Movement>,
    /// frames that must be there at least
    pub frames_least: usize,
    /// frames that may be there at most
    pub frames_limit: usize,
    /// least time from the first frame to the last, ms
    pub span_least_ms: i64,
    /// most time from the first frame to the last, ms: no burst lasts longer than it was waited for
    pub span_limit_ms: i64,
    /// whether passive models are to look too
    pub passive: bool,
}

impl Asked {
    /// One photo or any burst, and no movement.
    pub const PHOTO: Self = Self {
        challenge: None,
        frames_least: 1,
        frames_limit: FRAMES_LIMIT,
        span_least_ms: 0,
        span_limit_ms: i64::MAX,
        passive: false,
    };

    /// Why frames are not what was asked for, before anybody looks at a photo.
    pub fn refusal(&self, frames: &[Frame<'_>]) -> Option<Reason> {
        let span_ms = frames.last().map_or(0, |last| i64::from(last.at_ms));
        if frames.len() < self.frames_least {
            Some(Reason::TooFewFrames)
        } else if frames.len() > self.frames_limit {
            Some(Reason::TooManyFrames)
        } else if !(self.span_least_ms..=self.span_limit_ms).contains(&span_ms) {
            Some(Reason::FrameTimes)
        } else {
            None
        }
    }
}

impl From<Template> for Question {
    /// Whether this face is in a photo.
    fn from(enrolled: Template) -> Self {
        Self { enrolled, asked: Asked::PHOTO, known: Known::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_must_be_as_many_as_asked_for_and_their_times_possible() {
        let asked =
            Asked { frames_least: 3, frames_limit: 3, span_least_ms: 300, span_limit_ms: 2_000, ..Asked::PHOTO };
        let refusal = |times: &[u32]| {
            let frames: Vec<Frame<'_>> = times.iter().map(|&at_ms| Frame { at_ms, photo: b"" }).collect();
            asked.refusal(&frames)
        };
        assert_eq!(refusal(&[0, 300]), Some(Reason::TooFewFrames));
        assert_eq!(refusal(&[0, 300, 600, 900]), Some(Reason::TooManyFrames));
        assert_eq!(refusal(&[0, 100, 299]), Some(Reason::FrameTimes));
        assert_eq!(refusal(&[0, 300, 2_001]), Some(Reason::FrameTimes));
        assert_eq!((refusal(&[0, 1, 300]), refusal(&[0, 1, 2_000])), (None, None));
        assert_eq!(Asked::PHOTO.refusal(&[Frame { at_ms: 0, photo: b"" }]), None);
    }
}
