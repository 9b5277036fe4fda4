//! `invigil models`: are the models the ones this binary was built for, and which test photos are fit for use?

mod attacks;
mod twins;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::engine::EngineArgs;
use crate::vision::people::{self, Frames, People, Person};
use crate::vision::{Checker, Manifest, Outcome, Provider, Runtime, verify};

/// Arguments of `invigil models`.
#[derive(Args, Debug)]
pub struct ModelsArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Checks each file's SHA-256, loads the runtime and opens the models.
    Verify,
    /// Looks at every photo of the test people and prints models/people.json anew.
    Survey,
    /// Measures how alike altered photos are to the photos they were made from, and photos to later ones.
    Twins {
        /// Where to draw it as well.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Makes a set for `invigil bench attacks` of the test people's photos: live bursts, and attacks by kind.
    Attacks {
        /// The folder to make.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

impl ModelsArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When a model or the runtime is missing or does not load.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Verify => verify_all(&self.engine),
            Command::Survey => survey(&self.engine),
            Command::Twins { svg } => twins::run(&self.engine, svg),
            Command::Attacks { to } => attacks::run(&self.engine, &to),
        }
    }
}

/// Names every file, right or wrong, so that one run tells all.
fn verify_all(engine: &EngineArgs) -> anyhow::Result<ExitCode> {
    let folder = &engine.models;
    let (mut wrong, manifest) = (0, Manifest::of(folder)?);
    let others = manifest.runtime.iter().filter(|runtime| runtime.provider != Provider::Cpu);
    let (fetched, absent): (Vec<_>, Vec<_>) = others.partition(|runtime| folder.join(&runtime.file).exists());
    for runtime in absent {
        crate::cli::say(format_args!(
            "-      {}  is not fetched: {} cannot run",
            runtime.file.display(),
            runtime.provider
        ))?;
    }
    for (file, sha256) in manifest.files().chain(fetched.into_iter().flat_map(Runtime::files)) {
        match verify(folder, file, sha256) {
            Ok(digest) => crate::cli::say(format_args!("ok     {digest}  {}", file.display()))?,
            Err(error) => {
                wrong += 1;
                crate::cli::say(format_args!("wrong  {error}"))?;
            }
        }
    }
    for (file, sha256) in manifest.optional_files() {
        match verify(folder, file, sha256) {
            Ok(digest) => crate::cli::say(format_args!("ok     {digest}  {}", file.display()))?,
            Err(error) if error.is_absence() => {
                crate::cli::say(format_args!("absent {}, which is optional", file.display()))?;
            }
            Err(error) => {
                wrong += 1;
                crate::cli::say(format_args!("wrong  {error}"))?;
            }
        }
    }
    if wrong > 0 {
        return Ok(ExitCode::FAILURE);
    }
    let models = engine.load()?;
    Checker::new(&models)?;
    crate::cli::say(format_args!("ok     the models open and run on {}", models.running()))?;
    Ok(ExitCode::SUCCESS)
}

/// People and the photo each is enrolled with. Of a film it is a frame that shows the face as an enrolment should.
const ENROLLED: [(&str, u32); 6] =
    [("webcam_man", 1), ("film_woman", 80), ("car_man", 1), ("obama", 1), ("biden", 1), ("astronaut", 1)];

/// How far above its threshold a frame must be, so that another processor's last bits change no demo and no test.
const MARGIN: f32 = 0.05;

fn survey(engine: &EngineArgs) -> anyhow::Result<ExitCode> {
    let (mut checker, folder) = (Checker::new(&engine.load()?)?, engine.models.as_path());
    let mut found = People {
        people: Vec::new(),
        empty: of_outcome(&mut checker, folder, "empty_chair", Outcome::NoFace)?,
        several: of_outcome(&mut checker, folder, "group_of_five", Outcome::MultipleFaces)?,
    };
    for (name, enrol) in ENROLLED {
        found.people.push(person(&mut checker, folder, name, enrol)?);
    }
    crate::cli::say(serde_json::to_string(&found)?)?;
    eprintln!("greatest likeness of two people: {}", greatest_between(&mut checker, folder, &found)?);
    Ok(ExitCode::SUCCESS)
}

/// Every person's enrolment and every tenth frame, against everybody else's enrolment.
fn greatest_between(checker: &mut Checker, folder: &Path, found: &People) -> anyhow::Result<f32> {
    let mut greatest = -1.0_f32;
    for enrolled in &found.people {
        let template = checker.enrol(&std::fs::read(enrolled.enrol_path(folder))?)?;
        for shown in found.people.iter().filter(|shown| shown.name != enrolled.name) {
            let frames = shown.frame_paths(folder).into_iter().step_by(10);
            for path in frames.chain([shown.enrol_path(folder)]) {
                let check = checker.check(&std::fs::read(path)?, &template.clone().into());
                greatest = greatest.max(check.similarity.unwrap_or(-1.0));
            }
        }
    }
    Ok(greatest)
}

fn person(checker: &mut Checker, folder: &Path, name: &str, enrol: u32) -> anyhow::Result<Person> {
    let photo = std::fs::read(people::path(folder, name, enrol))?;
    let template = checker.enrol(&photo).with_context(|| format!("{name} cannot be enrolled with {enrol}"))?;
    let (mut frames, mut least) = (Vec::new(), 1.0_f32);
    for frame in all_frames(folder, name)?.filter(|frame| *frame != enrol) {
        let check = checker.check(&std::fs::read(people::path(folder, name, frame))?, &template.clone().into());
        let above = check.similarity.unwrap_or(-1.0) - check.threshold;
        if check.outcome == Outcome::Match && above >= MARGIN {
            least = least.min(check.similarity.unwrap_or(1.0));
            frames.push(frame);
        } else {
            eprintln!("{name} {frame}: {} {:?} {:?}", check.outcome.as_str(), check.reason, check.similarity);
        }
    }
    eprintln!("{name}: {} frames, least similarity {least}", frames.len());
    Ok(Person { name: name.to_owned(), enrol, frames })
}

fn of_outcome(checker: &mut Checker, folder: &Path, name: &str, outcome: Outcome) -> anyhow::Result<Frames> {
    let anybody = checker.enrol(&std::fs::read(people::path(folder, "obama", 1))?)?;
    let mut frames = Vec::new();
    for frame in all_frames(folder, name)? {
        let check = checker.check(&std::fs::read(people::path(folder, name, frame))?, &anybody.clone().into());
        if check.outcome == outcome {
            frames.push(frame);
        } else {
            eprintln!("{name} {frame}: {} {:?}", check.outcome.as_str(), check.reason);
        }
    }
    Ok(Frames { name: name.to_owned(), frames })
}

/// Frames are numbered from 1 without gaps.
fn all_frames(folder: &Path, name: &str) -> anyhow::Result<std::ops::RangeInclusive<u32>> {
    let there = std::fs::read_dir(folder.join("people").join(name)).context("run `make models`")?;
    Ok(1..=there.count() as u32)
}
