//! How far photos that were altered are from photos that were taken anew, on the test people: a table and a plot.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use image::RgbImage;

use crate::cli::engine::EngineArgs;
use crate::vision::alter::{self, disguises};
use crate::vision::people::{self, People};
use crate::vision::{Checker, Earlier, Known, Picture, Question, SAME_PICTURE, Template};

/// The films, and how many of a film's frames make a second.
const FILMS: [(&str, u32); 3] = [("webcam_man", 30), ("film_woman", 8), ("car_man", 15)];
/// Photos of each person that are altered.
const ALTERED_EACH: usize = 6;
/// Strokes of a line of the plot.
const STROKES_LIMIT: usize = 200;
/// Least time between two frames that are two photos, s.
const APART_S: u32 = 2;
/// And two that are far apart, s.
const FAR_APART_S: u32 = 4;

/// How alike two photos are; not a number where that is not asked.
#[derive(Clone, Copy)]
struct Alike {
    /// by the faces of both
    by_face: f32,
    /// by the place of the first one's face, where the whole frames are alike: without a network
    by_frame: f32,
}

/// By what was done to the second photo, or whose frames they are.
type Likenesses = BTreeMap<String, Vec<Alike>>;

pub(super) fn run(engine: &EngineArgs, svg: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let (mut checker, folder) = (Checker::new(&engine.load()?)?, engine.models.as_path());
    let (mut altered, mut anew) = (Likenesses::new(), Likenesses::new());
    for person in People::embedded().people {
        let template = checker.enrol(&std::fs::read(person.enrol_path(folder))?)?;
        let frames: Vec<u32> = [person.enrol].into_iter().chain(person.frames.iter().copied()).collect();
        for number in frames.iter().step_by(frames.len().div_ceil(ALTERED_EACH)) {
            let photo = read(folder, &person.name, *number)?;
            let Some(first) = picture(&mut checker, &photo, &template)? else { continue };
            for (how, altered_photo) in disguises(&photo, u64::from(*number)) {
                let second = picture(&mut checker, &altered_photo, &template)?;
                let by_face = second.map_or(f32::NAN, |second| first.descriptor.likeness(&second.descriptor));
                let by_frame = without_network(&mut checker, &altered_photo, &template, &first);
                altered.entry(how.to_owned()).or_default().push(Alike { by_face, by_frame });
            }
        }
        let Some((_, frames_per_s)) = FILMS.iter().find(|(name, _)| *name == person.name) else { continue };
        let mut taken = Vec::new();
        for number in frames.iter().step_by((*frames_per_s as usize / 8).max(2)) {
            let photo = read(folder, &person.name, *number)?;
            taken.extend(picture(&mut checker, &photo, &template)?.map(|found| (*number, found, photo)));
        }
        for (at, one, _) in &taken {
            for (later, other, photo) in taken.iter().filter(|(later, ..)| *later >= at + APART_S * frames_per_s) {
                let apart = if *later < at + FAR_APART_S * frames_per_s {
                    format!("{APART_S} to {FAR_APART_S} s apart")
                } else {
                    format!("{FAR_APART_S} s apart and more")
                };
                let likenesses = anew.entry(format!("{}, {apart}", person.name)).or_default();
                let by_face = one.descriptor.likeness(&other.descriptor);
                let by_frame = without_network(&mut checker, photo, &template, one);
                likenesses.push(Alike { by_face, by_frame });
            }
        }
    }
    crate::cli::say(format_args!(
        "{:<36} {:>6} | by the face {:>7} {:>7} {:>7} {:>5} | by the frame {:>7} {:>7} {:>7} {:>5} | either",
        "", "pairs", "least", "median", "most", "same", "least", "median", "most", "same"
    ))?;
    for (name, likenesses) in altered.iter().chain(&anew) {
        let by_face = Row::of(likenesses.iter().map(|alike| alike.by_face));
        let by_frame = Row::of(likenesses.iter().map(|alike| alike.by_frame));
        let either = likenesses.iter().filter(|alike| alike.by_face.max(alike.by_frame) >= SAME_PICTURE).count();
        let pairs = likenesses.len();
        crate::cli::say(format_args!("{name:<36} {pairs:>6} | {by_face:>11} | {by_frame:>12} | {either} of {pairs}"))?;
    }
    if let Some(path) = svg {
        std::fs::write(&path, plot(&altered, &anew)).with_context(|| path.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Some likenesses in a few numbers; those that were not asked do not count.
struct Row {
    least: f32,
    median: f32,
    most: f32,
    same: usize,
}

impl Row {
    fn of(likenesses: impl Iterator<Item = f32>) -> Self {
        let mut found: Vec<f32> = likenesses.filter(|likeness| !likeness.is_nan()).collect();
        found.sort_by(f32::total_cmp);
        let at = |index: usize| found.get(index).copied().unwrap_or(f32::NAN);
        let same = found.iter().filter(|likeness| **likeness >= SAME_PICTURE).count();
        Self { least: at(0), median: at(found.len() / 2), most: at(found.len().saturating_sub(1)), same }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { least, median, most, same } = self;
        let before = " ".repeat(formatter.width().unwrap_or_default());
        write!(formatter, "{before} {least:>7.3} {median:>7.3} {most:>7.3} {same:>5}")
    }
}

fn read(folder: &Path, person: &str, number: u32) -> anyhow::Result<RgbImage> {
    let path = people::path(folder, person, number);
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(image::load_from_memory(&bytes)?.into_rgb8())
}

fn picture(checker: &mut Checker, photo: &RgbImage, template: &Template) -> anyhow::Result<Option<Picture>> {
    Ok(checker.check(&alter::jpeg(photo, 95), &template.clone().into()).pictures.pop())
}

/// How alike a photo is to an earlier one, told without a network; not a number where it is not looked at so closely.
fn without_network(checker: &mut Checker, photo: &RgbImage, template: &Template, earlier: &Picture) -> f32 {
    let known = Known { pictures: [(Earlier::Capture, earlier.clone())].into(), least: -1.0 };
    let question = Question { known, ..template.clone().into() };
    checker.check(&alter::jpeg(photo, 95), &question).same_picture.map_or(f32::NAN, |same| same.likeness)
}

/// One line for each kind, a stroke for each pair, or for some of very many.
fn plot(altered: &Likenesses, anew: &Likenesses) -> String {
    const LEFT: f32 = 260.0;
    const WIDTH: f32 = 640.0;
    const LINE: f32 = 20.0;
    let lines = altered.len() + anew.len();
    let height = LINE * (lines as f32 + 3.0);
    let x = |likeness: f32| LEFT + WIDTH * likeness.max(0.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        LEFT + WIDTH + 40.0
    );
    let kinds = altered.iter().map(|kind| ("#b03030", kind)).chain(anew.iter().map(|kind| ("#2060a0", kind)));
    for (row, (colour, (name, likenesses))) in kinds.enumerate() {
        let y = LINE * (row as f32 + 1.5);
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>", LEFT - 10.0, y + 4.0);
        for alike in likenesses.iter().step_by(likenesses.len().div_ceil(STROKES_LIMIT).max(1)) {
            // What is known again by either way is known again.
            let x = x(alike.by_face.max(alike.by_frame));
            let (top, bottom) = (y - 7.0, y + 7.0);
            let _ = writeln!(svg, "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"{colour}\" stroke-opacity=\"0.35\"/>");
        }
    }
    let bottom = LINE * (lines as f32 + 1.0);
    let limit = x(SAME_PICTURE);
    let _ = writeln!(svg, "<path d=\"M{limit} 10V{bottom}\" stroke=\"black\" stroke-dasharray=\"4 3\"/>");
    for tenth in 0..=10 {
        let (x, y) = (x(tenth as f32 / 10.0), bottom + LINE);
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{:.1}</text>", tenth as f32 / 10.0);
    }
    svg + "</svg>\n"
}
