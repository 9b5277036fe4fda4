//! `invigil face check`: what each layer says of a photo, or of several taken one after the other, as JSON.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::explain;
use crate::log::Movement;
use crate::vision::burst::{self, FRAMES_LIMIT, Frame};
use crate::vision::{Asked, Check, Checker, EnrolError, Flaw, Question, Reason};

/// Arguments of `invigil face check`.
#[derive(Args, Debug)]
pub struct FaceCheck {
    /// Photos, in the order in which they were taken: one, or up to 16 of a burst or a film
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The enrolment photo; without it the first photo is, so that nothing is said about who it is
    #[arg(long, value_name = "PHOTO")]
    enrolled: Option<PathBuf>,
    /// The movement that was asked for: turn_left, turn_right, look_up, look_down or blink_twice
    #[arg(long, value_name = "KIND", value_parser = movement)]
    challenge: Option<Movement>,
    /// From one photo to the next, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    every_ms: u32,
    /// Asks the passive models too
    #[arg(long)]
    passive: bool,
    /// Draws boxes, points, poses and the decision on this picture
    #[arg(long, value_name = "PNG")]
    explain: Option<PathBuf>,
}

fn movement(word: &str) -> Result<Movement, String> {
    let words = || Movement::ALL.iter().map(|movement| movement.as_str()).collect::<Vec<_>>().join(", ");
    Movement::from_word(word).ok_or_else(|| format!("is none of {}", words()))
}

impl FaceCheck {
    /// Checks the photos.
    ///
    /// # Errors
    /// When a file cannot be read or written, there are too many, or nobody can be enrolled.
    pub fn answer(&self, checker: &mut Checker) -> anyhow::Result<Value> {
        ensure!(self.files.len() <= FRAMES_LIMIT, "{} photos: a burst has at most {FRAMES_LIMIT}", self.files.len());
        let photos = self.files.iter().map(|file| super::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
        let frames: Vec<Frame<'_>> =
            (0..).zip(&photos).map(|(at, photo)| Frame { at_ms: at * self.every_ms, photo }).collect();
        let enrolment = match &self.enrolled {
            Some(file) => super::read(file)?,
            None => photos[0].clone(),
        };
        let enrolled = match checker.enrol(&enrolment) {
            Ok(enrolled) => enrolled,
            Err(error) => return Ok(refused(&error)),
        };
        let asked = Asked { challenge: self.challenge, passive: self.passive, ..Asked::PHOTO };
        let check = checker.check(&burst::compose(&frames), &Question { asked, ..enrolled.into() });
        if let Some(file) = &self.explain {
            explain::write(file, checker, &photos, &check).with_context(|| file.display().to_string())?;
        }
        Ok(self.told(&check))
    }

    fn told(&self, check: &Check) -> Value {
        let reason = check.reason.as_ref();
        json!({
            "outcome": check.outcome,
            "reason": reason.map(Reason::as_str),
            "why_not": reason.map(Reason::to_string),
            "enrolled": self.enrolled.as_deref().map(Path::to_string_lossy),
            "photos": check.frames,
            "layers": {
                "quality": check.quality,
                "flaw": check.quality.and_then(|quality| quality.flaw()).map(Flaw::as_str),
                "motion": check.motion,
                "recogniser": {
                    "similarity": check.similarity, "threshold": check.threshold, "compared": check.compared,
                },
                "challenge": check.challenge,
                "passive": check.passive,
            },
            "faces": check.faces,
            "digests": {"submission": check.photo, "enrolment_photo": check.enrolment_photo, "models": check.models},
        })
    }
}

fn refused(error: &EnrolError) -> Value {
    json!({"outcome": null, "why_not": format!("nobody can be enrolled with this photo: {error}")})
}
