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
use crate::vision::{Checker, Descriptor, SAME_PICTURE, Template};

/// The films, and how many of a film's frames make a second.
const FILMS: [(&str, u32); 3] = [("webcam_man", 30), ("film_woman", 8), ("car_man", 15)];
/// Photos of each person that are altered.
const ALTERED_EACH: usize = 6;
/// Strokes of a line of the plot.
const STROKES_LIMIT: usize = 200;
/// Least time between two frames that are two photos, s.
const APART_S: u32 = 2;

/// Likenesses by what was done to the second photo, or whose frames they are.
type Likenesses = BTreeMap<String, Vec<f32>>;

pub(super) fn run(engine: &EngineArgs, svg: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let (mut checker, folder) = (Checker::new(&engine.load()?)?, engine.models.as_path());
    let (mut altered, mut anew) = (Likenesses::new(), Likenesses::new());
    for person in People::embedded().people {
        let template = checker.enrol(&std::fs::read(person.enrol_path(folder))?)?;
        let frames: Vec<u32> = [person.enrol].into_iter().chain(person.frames.iter().copied()).collect();
        for number in frames.iter().step_by(frames.len().div_ceil(ALTERED_EACH)) {
            let photo = read(folder, &person.name, *number)?;
            let Some(first) = descriptor(&mut checker, &photo, &template)? else { continue };
            for (how, altered_photo) in disguises(&photo, u64::from(*number)) {
                let second = descriptor(&mut checker, &altered_photo, &template)?;
                let likeness = second.map_or(f32::NAN, |second| first.likeness(&second));
                altered.entry(how.to_owned()).or_default().push(likeness);
            }
        }
        let Some((_, frames_per_s)) = FILMS.iter().find(|(name, _)| *name == person.name) else { continue };
        let mut taken = Vec::new();
        for number in frames.iter().step_by(*frames_per_s as usize / 4) {
            let photo = read(folder, &person.name, *number)?;
            taken.extend(descriptor(&mut checker, &photo, &template)?.map(|found| (*number, found)));
        }
        let likenesses = anew.entry(format!("{}, {APART_S} s apart and more", person.name)).or_default();
        for (at, one) in &taken {
            let later = taken.iter().filter(|(later, _)| *later >= at + APART_S * frames_per_s);
            likenesses.extend(later.map(|(_, other)| one.likeness(other)));
        }
    }
    crate::cli::say(format_args!(
        "{:<36} {:>6} {:>7} {:>7} {:>7}  same picture",
        "", "pairs", "least", "median", "most"
    ))?;
    for (name, likenesses) in altered.iter_mut().chain(&mut anew) {
        say(name, likenesses)?;
    }
    if let Some(path) = svg {
        std::fs::write(&path, plot(&altered, &anew)).with_context(|| path.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn say(name: &str, likenesses: &mut Vec<f32>) -> anyhow::Result<()> {
    let pairs = likenesses.len();
    likenesses.retain(|likeness| !likeness.is_nan());
    likenesses.sort_by(f32::total_cmp);
    let same = likenesses.iter().filter(|likeness| **likeness >= SAME_PICTURE).count();
    let [least, median, most] = match likenesses.as_slice() {
        [] => [f32::NAN; 3],
        found => [found[0], found[found.len() / 2], found[found.len() - 1]],
    };
    let lost = if likenesses.len() < pairs {
        format!(" ({} without a face)", pairs - likenesses.len())
    } else {
        String::new()
    };
    crate::cli::say(format_args!(
        "{name:<36} {pairs:>6} {least:>7.3} {median:>7.3} {most:>7.3}  {same} of {pairs}{lost}"
    ))?;
    Ok(())
}

fn read(folder: &Path, person: &str, number: u32) -> anyhow::Result<RgbImage> {
    let path = people::path(folder, person, number);
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(image::load_from_memory(&bytes)?.into_rgb8())
}

fn descriptor(checker: &mut Checker, photo: &RgbImage, template: &Template) -> anyhow::Result<Option<Descriptor>> {
    Ok(checker.check(&alter::jpeg(photo, 95), &template.clone().into()).descriptors.pop())
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
        for likeness in likenesses.iter().step_by(likenesses.len().div_ceil(STROKES_LIMIT).max(1)) {
            let x = x(*likeness);
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
