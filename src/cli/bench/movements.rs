//! `invigil bench movements`: how movements that a challenge asks for are judged, on films rendered from the test people's
//! portraits: the movement itself, all others, and what cheats and the slow show. models/MODEL_CARD.md rests on its table.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use image::{DynamicImage, RgbImage};
use serde_json::{Value, json};

use super::super::say;
use crate::log::Movement;
use crate::vision::burst::{self, Frame};
use crate::vision::people::{self, People};
use crate::vision::puppet::{self, Camera, Film, Motion, Puppet, Stance};
use crate::vision::{
    Asked, Challenge, Check, Checker, DEFAULT_FOLDER, Models, NotDone, Photo, Question, Reason, alter, judge_challenge,
};

/// Arguments of `invigil bench movements`.
#[derive(Args, Debug)]
pub struct MovementsBench {
    /// The folder that `make models` fills.
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    models: PathBuf,
    /// Films of each kind from each portrait
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Only this person's portraits
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Writes what each film showed here, as lines of JSON, to try other limits on
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Frames of the films that the portraits are taken from besides the one that is enrolled: seen from elsewhere.
const MORE_PORTRAITS: [(&str, u32); 3] = [("webcam_man", 40), ("film_woman", 10), ("obama", 2)];
/// A frozen camera's noise, of 255.
const FROZEN_NOISE: f32 = 3.0;
/// A film, and which movement it should pass for.
struct Shown {
    what: String,
    right: Option<Movement>,
    frames: Vec<Vec<u8>>,
}

/// What came of all films so far.
#[derive(Default)]
struct Tally {
    right: usize,
    right_done: usize,
    wrong: usize,
    faults: Vec<String>,
    /// what each film showed
    films: Vec<Value>,
}

impl MovementsBench {
    /// Renders, judges and prints the table.
    ///
    /// # Errors
    /// When a model or a photo is missing, or a portrait shows no face.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let models = Models::load(&self.models)?;
        let mut checker = Checker::new(&models)?;
        let mut tally = Tally::default();
        say("each row a rendered film of ten frames; each column what was asked for; `extent` as it was asked for")?;
        say(format_args!(
            "{:48} {:12} {:12} {:12} {:12} {:12} extents",
            "film", "turn_left", "turn_right", "look_up", "look_down", "blink_twice"
        ))?;
        let people = People::embedded().people;
        let names: Vec<&str> = people.iter().map(|person| person.name.as_str()).collect();
        for (number, person) in people.iter().enumerate() {
            if self.person.as_ref().is_some_and(|only| *only != person.name) {
                continue;
            }
            let other = names[(number + 1) % names.len()];
            let stranger = self.puppet(&models, other, people[(number + 1) % names.len()].enrol)?;
            let enrolled = std::fs::read(person.enrol_path(&self.models))?;
            let enrolled = checker.enrol(&enrolled).with_context(|| person.name.clone())?;
            let more = MORE_PORTRAITS.iter().filter(|(name, _)| *name == person.name).map(|(_, frame)| *frame);
            for frame in std::iter::once(person.enrol).chain(more) {
                let puppet = self.puppet(&models, &person.name, frame)?;
                for seed in 1..=self.seeds {
                    for shown in shown(&puppet, &stranger, seed) {
                        let film = format!("{} {frame:03} #{seed} {}", person.name, shown.what);
                        let asked = Asked { challenge: Some(Movement::TurnLeft), frames_least: 8, ..Asked::PHOTO };
                        let question = Question { asked, ..enrolled.clone().into() };
                        tally.judge(&film, &shown, &checker.check(&submission(&shown.frames), &question))?;
                    }
                }
            }
        }
        tally.tell()?;
        if let Some(file) = &self.json {
            let lines: Vec<String> = tally.films.iter().map(|film| format!("{film}\n")).collect();
            std::fs::write(file, lines.concat()).with_context(|| file.display().to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn puppet(&self, models: &Models, name: &str, frame: u32) -> anyhow::Result<Puppet> {
        let path = people::path(&self.models, name, frame);
        let photo = std::fs::read(&path).with_context(|| format!("{}; run `make models`", path.display()))?;
        Puppet::of(&photo, models).with_context(|| path.display().to_string())
    }
}

/// Every film of one portrait.
fn shown(puppet: &Puppet, stranger: &Puppet, seed: u64) -> impl Iterator<Item = Shown> {
    let film = |what: &str, right, frames| Shown { what: what.to_owned(), right, frames };
    let still = played(puppet, Film::of(Motion::Still, seed));
    let mut all = vec![film("still", None, still), film("frozen", None, frozen(puppet, seed))];
    for movement in Movement::ALL.iter().copied() {
        let whole = Film::of(movement.into(), seed);
        let named = |what: &str| format!("{} {what}", movement.as_str());
        let frames = played(puppet, whole);
        let mut swapped = frames.clone();
        for at in [4, 5] {
            swapped[at] = as_large_as(&puppet.frame(whole, at as u32).1, &stranger.frame(whole, at as u32).1);
        }
        all.push(film(movement.as_str(), Some(movement), frames));
        all.push(film(&named("less"), Some(movement), played(puppet, Film { extent: 0.8, ..whole })));
        all.push(film(&named("hardly"), None, played(puppet, Film { extent: 0.25, ..whole })));
        all.push(film(&named("late"), None, played(puppet, Film { begins_ms: 1_500, ..whole })));
        let mut unfinished = played(puppet, Film { frames: 20, ..whole });
        unfinished.truncate(10);
        all.push(film(&named("unfinished"), None, unfinished));
        all.push(film(&named("swapped"), None, swapped));
    }
    all.into_iter()
}

fn played(puppet: &Puppet, film: Film<'_>) -> Vec<Vec<u8>> {
    puppet.play(film).map(|(_, photo)| puppet::jpeg(&photo)).collect()
}

/// A photo at the size of another, as a JPEG.
fn as_large_as(of: &Photo, photo: &Photo) -> Vec<u8> {
    let (width, height) = (photo.width_px as u32, photo.height_px as u32);
    let picture = RgbImage::from_raw(width, height, photo.rgb.clone()).unwrap_or_else(|| RgbImage::new(width, height));
    let filter = image::imageops::FilterType::Triangle;
    let filled = DynamicImage::ImageRgb8(picture).resize_to_fill(of.width_px as u32, of.height_px as u32, filter);
    alter::jpeg(&filled.into_rgb8(), 90)
}

fn frozen(puppet: &Puppet, seed: u64) -> Vec<Vec<u8>> {
    let mut camera = Camera::new(FROZEN_NOISE, seed);
    (0..10).map(|_| puppet::jpeg(&puppet.seen(&Stance::REST, None, &mut camera))).collect()
}

fn submission(frames: &[Vec<u8>]) -> Vec<u8> {
    let frames = (0..).zip(frames).map(|(at, photo)| Frame { at_ms: at * 250, photo });
    burst::compose(&frames.collect::<Vec<_>>())
}

impl Tally {
    /// What each of the five movements would come to with this film, as a row.
    fn judge(&mut self, film: &str, shown: &Shown, check: &Check) -> anyhow::Result<()> {
        let judged: Vec<Option<Challenge>> = Movement::ALL
            .iter()
            .map(|asked| Some(judge_challenge(*asked, check.challenge.as_ref()?.observed.clone())))
            .collect();
        let mut words = Vec::new();
        for (asked, judged) in Movement::ALL.iter().zip(&judged) {
            let done = judged.as_ref().is_some_and(Challenge::is_done);
            words.push(word(judged.as_ref(), check));
            let right = shown.right == Some(*asked);
            self.right += usize::from(right);
            self.right_done += usize::from(right && done);
            self.wrong += usize::from(!right);
            if right != done {
                self.faults.push(format!("{film}, asked for {asked}: {}", words.last().map_or("", String::as_str)));
            }
        }
        self.films.push(json!({
            "film": film,
            "right": shown.right,
            "outcome": check.outcome,
            "reason": check.reason,
            "observed": check.challenge.as_ref().map(|challenge| &challenge.observed),
        }));
        let extents = judged.iter().flatten().map(|judged| format!("{:5.1}", judged.extent)).collect::<Vec<_>>();
        let row = words.iter().map(|word| format!("{word:12}")).collect::<Vec<_>>();
        say(format_args!("{film:48} {} {} {}", row.join(" "), extents.join(" "), eyes(check)))
    }

    fn tell(&self) -> anyhow::Result<()> {
        say(format_args!(
            "\nright ones done: {} of {}; of {} wrong ones; {} faults:",
            self.right_done,
            self.right,
            self.wrong,
            self.faults.len()
        ))?;
        self.faults.iter().try_for_each(|fault| say(format_args!("  {fault}")))
    }
}

/// How far the eyes close at most, as a share of how far they open.
fn eyes(check: &Check) -> String {
    let Some(challenge) = &check.challenge else { return String::new() };
    let open = challenge.observed.iter().map(|seen| seen.eyes_open).fold(0.0, f32::max);
    let shut = challenge.observed.iter().map(|seen| seen.eyes_open).fold(f32::INFINITY, f32::min);
    format!("eyes {open:4.2} to {:4.2}", shut / open)
}

fn word(judged: Option<&Challenge>, check: &Check) -> String {
    match judged.map(|judged| judged.not_done) {
        Some(None) => "done".to_owned(),
        Some(Some(NotDone::TooLittleSeen)) => "little_seen".to_owned(),
        Some(Some(NotDone::NotAtRest)) => "not_at_rest".to_owned(),
        Some(Some(NotDone::NotFarEnough)) => "not_far".to_owned(),
        Some(Some(NotDone::OtherWay)) => "other_way".to_owned(),
        Some(Some(NotDone::NotBack)) => "not_back".to_owned(),
        None => check.reason.as_ref().map_or(check.outcome.as_str(), Reason::as_str).to_owned(),
    }
}
