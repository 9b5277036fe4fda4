//! `invigil face`: one photo or two, looked at as the server would, and films of a portrait that moves; for trying a camera,
//! a model or a threshold. And whose enrolled face is like that of a photo.

mod check;
mod explain;
mod puppet;
mod search;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::engine::EngineArgs;
use crate::vision::{Checker, EnrolError, Outcome, Reason};

/// Arguments of `invigil face`.
#[derive(Args, Debug)]
pub struct FaceArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Enrols A and checks B against it; prints JSON, and exits with 0 whether or not they match.
    Compare {
        /// The enrolment photo.
        a: PathBuf,
        /// The photo to check.
        b: PathBuf,
    },
    /// Looks for the face of a photo among those enrolled, and says how many false hits to expect.
    Search(search::Search),
    /// What each layer says of a photo, or of several taken one after the other, as JSON.
    Check(check::FaceCheck),
    /// Prints the faces of A as JSON.
    Detect {
        /// The photo.
        a: PathBuf,
    },
    /// Makes a film of a portrait that turns, nods or blinks: JPEG frames 000.jpg, 001.jpg … For tests and demonstrations.
    Puppet(puppet::Puppetry),
}

impl FaceArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file cannot be read or a model is missing; never because of what a photo shows.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let models = self.engine.load()?;
        let mut checker = Checker::new(&models)?;
        let answer = match self.command {
            Command::Compare { a, b } => compare(&mut checker, &read(&a)?, &read(&b)?)?,
            Command::Check(check) => check.answer(&mut checker)?,
            Command::Detect { a } => detect(&mut checker, &read(&a)?)?,
            Command::Search(search) => return search.run(&mut checker),
            Command::Puppet(puppetry) => puppetry.play(&models)?,
        };
        crate::cli::say(format_args!("{answer:#}"))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

fn compare(checker: &mut Checker, a: &[u8], b: &[u8]) -> anyhow::Result<Value> {
    let enrolled = match checker.enrol(a) {
        Ok(enrolled) => enrolled,
        Err(error) => return not_enrolled(checker, a, &error),
    };
    let check = checker.check(b, &enrolled.clone().into());
    let faces_a = checker.detect(a)?.unwrap_or_default();
    Ok(json!({
        "match": check.outcome == Outcome::Match,
        "outcome": check.outcome,
        "similarity": check.similarity,
        "threshold": check.threshold,
        "reason": check.reason.as_ref().map(Reason::as_str),
        "why_not": why_not(check.outcome, check.reason.as_ref()),
        "faces": {"a": faces_a, "b": check.faces},
        "digests": {"a": check.enrolment_photo, "b": check.photo, "models": check.models},
    }))
}

fn not_enrolled(checker: &mut Checker, a: &[u8], error: &EnrolError) -> anyhow::Result<Value> {
    let (outcome, reason) = match error {
        EnrolError::NoFace => (Outcome::NoFace, None),
        EnrolError::MultipleFaces => (Outcome::MultipleFaces, None),
        EnrolError::Unusable(reason) => (Outcome::Unusable, Some(reason)),
        EnrolError::Engine(_) | EnrolError::Busy(_) => (Outcome::Error, None),
    };
    Ok(json!({
        "match": false,
        "outcome": outcome,
        "similarity": null,
        "reason": reason.map(Reason::as_str),
        "why_not": format!("A cannot be enrolled: {error}"),
        "faces": {"a": checker.detect(a)?.unwrap_or_default(), "b": []},
    }))
}

fn why_not(outcome: Outcome, reason: Option<&Reason>) -> Option<String> {
    let words = match outcome {
        Outcome::Match => return None,
        Outcome::Mismatch if reason.is_none() => "the faces are less alike than the threshold".to_owned(),
        Outcome::NoFace => "no face was found in B".to_owned(),
        Outcome::MultipleFaces => "more than one face was found in B".to_owned(),
        Outcome::Mismatch | Outcome::Spoof | Outcome::Unusable | Outcome::Error => {
            reason.map(Reason::to_string).unwrap_or_default()
        }
    };
    Some(words)
}

fn detect(checker: &mut Checker, a: &[u8]) -> anyhow::Result<Value> {
    Ok(match checker.detect(a)? {
        Ok(faces) => json!({"faces": faces, "why_not": null}),
        Err(error) => json!({"faces": [], "reason": error.as_str(), "why_not": error.to_string()}),
    })
}
