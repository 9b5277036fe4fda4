//! `invigil bench layers`: where the limits of a check's layers lie, between the test people's photos and what light,
//! lenses and cheats make of them. models/MODEL_CARD.md rests on its tables.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use image::RgbImage;

use super::super::say;
use crate::cli::engine::EngineArgs;
use crate::vision::burst::{self, Frame};
use crate::vision::people::{self, People};
use crate::vision::{Checker, Motion, Outcome, Portrait, Question, alter};

/// Films, and their photos a second.
const FILMS: [(&str, u32); 3] = [("webcam_man", 30), ("film_woman", 8), ("car_man", 15)];
/// A picture after somebody or something changed it.
type Altered = Box<dyn Fn(&RgbImage, u64) -> Vec<u8>>;

/// Arguments of `invigil bench layers`.
#[derive(Args, Debug)]
pub struct LayersBench {
    #[command(flatten)]
    engine: EngineArgs,
    /// Looks at every n-th photo only.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
}

impl LayersBench {
    /// Measures and prints the tables.
    ///
    /// # Errors
    /// When a model or a photo is missing.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut checker = Checker::new(&self.engine.load()?)?;
        self.motion(&mut checker)?;
        self.quality(&mut checker)?;
        Ok(ExitCode::SUCCESS)
    }

    fn photo(&self, name: &str, frame: u32) -> anyhow::Result<Vec<u8>> {
        let path = people::path(&self.engine.models, name, frame);
        std::fs::read(&path).with_context(|| format!("{}; run `make models`", path.display()))
    }

    fn motion(&self, checker: &mut Checker) -> anyhow::Result<()> {
        say("motion: bursts of three; thousandths of the face's side")?;
        say(
            "                                   bursts  least of two: min    5%   50%   max | most: min    5%   50%   max | travel max  scene min",
        )?;
        for (name, a_second) in FILMS {
            let template = checker.enrol(&self.photo(name, people_enrol(name)?)?)?;
            let count = std::fs::read_dir(self.engine.models.join("people").join(name))?.count() as u32;
            let first = if name == "webcam_man" { 2 } else { 1 };
            for gap_ms in [200, 300, 500] {
                let step = (a_second * gap_ms + 500) / 1000;
                let mut seen = Vec::new();
                for frame in (first..=count.saturating_sub(2 * step)).step_by(self.every as usize) {
                    let photos = [0, 1, 2].map(|at| self.photo(name, frame + at * step));
                    seen.extend(motion_of(checker, &template.clone().into(), &all(photos)?, gap_ms)?);
                }
                line(&format!("live {name} {gap_ms} ms"), &seen)?;
            }
            for (what, altered) in stills() {
                let mut seen = Vec::new();
                for frame in (first..=count).step_by(9) {
                    let photo = self.photo(name, frame)?;
                    let picture = image::load_from_memory(&photo)?.into_rgb8();
                    let photos = [photo, altered(&picture, 1), altered(&picture, 2)];
                    seen.extend(motion_of(checker, &template.clone().into(), &photos, 300)?);
                }
                line(&format!("still {name} {what}"), &seen)?;
            }
        }
        Ok(())
    }

    fn quality(&self, checker: &mut Checker) -> anyhow::Result<()> {
        let people = People::embedded().people;
        let mut enrolled = Vec::new();
        for person in &people {
            enrolled.push(portrait(checker, &std::fs::read(person.enrol_path(&self.engine.models))?)?);
        }
        say("quality: photos as they are and altered, against the enrolments")?;
        say(
            "                       photos none  flaws   own: min    5%   50%  match | others: 99.9%   max | dark  contr white behind sharp  turn  nod certain (5%..95%)",
        )?;
        for (what, altered) in conditions() {
            let mut seen = Vec::new();
            let mut none = 0;
            for (number, person) in people.iter().enumerate() {
                let others = person.frames.iter().step_by(self.every as usize).copied();
                let frames = if person.frames.is_empty() { vec![person.enrol] } else { others.collect() };
                for frame in frames {
                    let photo = self.photo(&person.name, frame)?;
                    let picture = image::load_from_memory(&photo)?.into_rgb8();
                    match portrait_of(checker, &altered(&picture, 1))? {
                        Some(portrait) => seen.push((number, portrait)),
                        None => none += 1,
                    }
                }
            }
            quality_line(checker, &what, &seen, none, &enrolled)?;
        }
        self.looks(checker, &people)
    }

    fn looks(&self, checker: &mut Checker, people: &[people::Person]) -> anyhow::Result<()> {
        let mut seen: Vec<(usize, u32, Portrait)> = Vec::new();
        for (number, person) in people.iter().enumerate() {
            for frame in person.frames.iter().copied().chain([person.enrol]) {
                if let Some(portrait) = portrait_of(checker, &self.photo(&person.name, frame)?)? {
                    seen.push((number, frame, portrait));
                }
            }
        }
        let (mut same, mut two) = (Vec::new(), Vec::new());
        for (at, (person, frame, portrait)) in seen.iter().enumerate() {
            for (other, later, compared) in &seen[at + 1..] {
                let a_second = FILMS.iter().find(|(name, _)| *name == people[*person].name).map_or(0, |film| film.1);
                if person != other {
                    two.push(portrait.look_likeness(compared));
                } else if a_second > 0 && later.abs_diff(*frame) == (a_second * 3 + 5) / 10 {
                    same.push(portrait.look_likeness(compared));
                }
            }
        }
        say(format_args!("looks: one person 300 ms later {}, two people {}", spread(&mut same), spread(&mut two)))
    }
}

fn people_enrol(name: &str) -> anyhow::Result<u32> {
    Ok(People::embedded().person(name).context("models/people.json lacks a person")?.enrol)
}

fn all<const N: usize>(photos: [anyhow::Result<Vec<u8>>; N]) -> anyhow::Result<Vec<Vec<u8>>> {
    photos.into_iter().collect()
}

fn motion_of(
    checker: &mut Checker,
    question: &Question,
    photos: &[Vec<u8>],
    gap_ms: u32,
) -> anyhow::Result<Option<(Motion, Outcome)>> {
    let frames = photos.iter().enumerate().map(|(at, photo)| Frame { at_ms: at as u32 * gap_ms, photo });
    let check = checker.check(&burst::compose(&frames.collect::<Vec<_>>()), question);
    Ok(check.motion.map(|motion| (motion, check.outcome)))
}

fn line(what: &str, seen: &[(Motion, Outcome)]) -> anyhow::Result<()> {
    let mut least: Vec<f32> = seen.iter().filter_map(|(motion, _)| motion.least_per_mille).collect();
    let mut most: Vec<f32> = seen.iter().filter_map(|(motion, _)| motion.most_per_mille).collect();
    let travel = seen.iter().map(|(motion, _)| motion.travel).fold(0.0, f32::max);
    let scene = seen.iter().map(|(motion, _)| motion.scene_likeness).fold(1.0, f32::min);
    let matched = seen.iter().filter(|(_, outcome)| *outcome == Outcome::Match).count();
    let spoof = seen.iter().filter(|(_, outcome)| *outcome == Outcome::Spoof).count();
    let (least, most) = (spread(&mut least), spread(&mut most));
    say(format_args!(
        "  {what:32} {:5}   {least} | {most} | {travel:6.2}  {scene:6.3} | match {matched} spoof {spoof}",
        seen.len()
    ))
}

/// Minimum, 5 %, middle, maximum.
fn spread(values: &mut [f32]) -> String {
    values.sort_by(f32::total_cmp);
    let at = |share: f32| values.get(((values.len() as f32 - 1.0) * share) as usize).copied().unwrap_or(f32::NAN);
    format!("{:5.2} {:5.2} {:5.2} {:5.2}", at(0.0), at(0.05), at(0.5), at(1.0))
}

fn portrait(checker: &mut Checker, photo: &[u8]) -> anyhow::Result<Portrait> {
    portrait_of(checker, photo)?.context("an enrolment photo shows no face")
}

fn portrait_of(checker: &mut Checker, photo: &[u8]) -> anyhow::Result<Option<Portrait>> {
    Ok(checker.portrait(photo)?.ok())
}

fn quality_line(
    checker: &Checker,
    what: &str,
    seen: &[(usize, Portrait)],
    none: usize,
    enrolled: &[Portrait],
) -> anyhow::Result<()> {
    let (mut own, mut others, mut matched) = (Vec::new(), Vec::new(), 0);
    for (person, portrait) in seen {
        for (number, template) in enrolled.iter().enumerate() {
            let similarity = portrait.similarity(template);
            if number == *person {
                own.push(similarity);
                matched += usize::from(similarity >= checker.threshold_between(portrait, template));
            } else {
                others.push(similarity);
            }
        }
    }
    let flaws = seen.iter().filter(|(_, portrait)| portrait.quality.flaw().is_some()).count();
    others.sort_by(f32::total_cmp);
    let top = others.get((others.len() as f32 * 0.999) as usize).copied().unwrap_or(f32::NAN);
    let figures: Vec<String> = [
        |portrait: &Portrait| portrait.quality.brightness,
        |portrait: &Portrait| portrait.quality.contrast,
        |portrait: &Portrait| portrait.quality.washed_out,
        |portrait: &Portrait| portrait.quality.behind,
        |portrait: &Portrait| portrait.quality.sharpness,
        |portrait: &Portrait| portrait.quality.turn,
        |portrait: &Portrait| portrait.quality.nod,
        |portrait: &Portrait| portrait.quality.certainty,
    ]
    .into_iter()
    .map(|figure| {
        let mut values: Vec<f32> = seen.iter().map(|(_, portrait)| figure(portrait)).collect();
        values.sort_by(f32::total_cmp);
        let at = |share: f32| values.get(((values.len() as f32 - 1.0) * share) as usize).copied().unwrap_or(f32::NAN);
        format!("{:.2}..{:.2}", at(0.05), at(0.95))
    })
    .collect();
    let greatest = others.last().copied().unwrap_or(f32::NAN);
    say(format_args!(
        "  {what:20} {:5} {none:4} {flaws:6}   {} {matched:5} | {top:12.3} {greatest:5.3} | {}",
        seen.len(),
        spread(&mut own),
        figures.join("  ")
    ))
}

fn named(what: impl Into<String>, change: impl Fn(&RgbImage, u64) -> RgbImage + 'static) -> (String, Altered) {
    encoded(what, change, 85)
}

fn encoded(
    what: impl Into<String>,
    change: impl Fn(&RgbImage, u64) -> RgbImage + 'static,
    quality: u8,
) -> (String, Altered) {
    (what.into(), Box::new(move |picture, seed| alter::jpeg(&change(picture, seed), quality)))
}

/// What a cheat makes of one photo to have it pass for several.
fn stills() -> Vec<(String, Altered)> {
    let noisy = |levels: f32| {
        let change = move |picture: &RgbImage, seed: u64| alter::noisy(picture, levels, seed);
        named(format!("noise {levels}"), change)
    };
    let moved = |what: &str, right: f32, zoom: f32, turn: f32| {
        let change = move |picture: &RgbImage, seed: u64| {
            let far = seed as f32;
            alter::moved(picture, right * far, -0.6 * right * far, 1.0 + zoom * far, turn * far)
        };
        named(what, change)
    };
    vec![
        named("jpeg 85", |picture, _| picture.clone()),
        encoded("jpeg 50", |picture, _| picture.clone(), 50),
        encoded(
            "low bits",
            |picture, seed| {
                if seed == 1 { alter::low_bits_flipped(picture) } else { alter::noisy(picture, 1.5, seed) }
            },
            92,
        ),
        noisy(4.0),
        noisy(9.0),
        noisy(18.0),
        moved("shift 1", 1.0, 0.0, 0.0),
        moved("shift 4.3", 4.3, 0.0, 0.0),
        moved("zoom 2 %", 0.0, 0.02, 0.0),
        moved("turn 1°", 1.0, 0.01, 1.0),
        named("brighter", |picture, seed| alter::lit(picture, 1.0 + 0.05 * seed as f32, 3.0)),
        named("resized", |picture, seed| alter::resized(picture, 0.9 - 0.1 * seed as f32)),
    ]
}

/// How honest photos come out.
fn conditions() -> Vec<(String, Altered)> {
    let mut all = vec![named("as they are", |picture, _| picture.clone())];
    for gain in [0.5, 0.35, 0.25, 0.18, 0.12, 0.07] {
        // Little light is noisy.
        all.push(named(format!("darker × {gain}"), move |picture, seed| {
            alter::noisy(&alter::lit(picture, gain, 0.0), 3.0, seed)
        }));
    }
    for gain in [1.5, 2.0, 2.6, 3.4] {
        all.push(named(format!("brighter × {gain}"), move |picture, _| alter::lit(picture, gain, 10.0)));
    }
    for share in [0.01, 0.02, 0.03, 0.045, 0.06] {
        // By the width of the photo, of which a face takes about a third.
        all.push(named(format!("blurred {share}"), move |picture, _| {
            alter::blurred(picture, share * picture.width() as f32 / 3.0)
        }));
    }
    for levels in [10.0, 20.0, 40.0] {
        all.push(named(format!("noise {levels}"), move |picture, seed| alter::noisy(picture, levels, seed)));
    }
    all.push(named("moiré", |picture, _| alter::moire(picture, 12.0)));
    all
}
