//! `invigil bench faces`: how well the recogniser tells people apart, on a set with one folder a person.
//!
//! All pairs of photos are compared: of one person (genuine) and of two (impostors). Photos in which a check would find no
//! face to compare are counted and left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::super::say;
use super::sets::{self, Share};
use crate::cli::engine::EngineArgs;
use crate::clock::Stopwatch;
use crate::vision::{Checker, Outcome, Portrait, Reason};

/// Similarities are counted in so many steps from −1 to 1.
const STEPS: usize = 4000;

/// Arguments of `invigil bench faces`.
#[derive(Args, Debug)]
pub struct FacesBench {
    /// A folder with one folder of photos a person
    #[arg(long, value_name = "DIR")]
    set: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
    /// Threads
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    workers: u64,
    /// Writes the DET curve there
    #[arg(long, value_name = "SVG")]
    det: Option<PathBuf>,
    /// Prints JSON instead of the table
    #[arg(long)]
    json: bool,
}

/// A photo's face, or why there is none.
enum Seen {
    Face(Box<Portrait>),
    None(String),
    Unreadable(String),
}

/// How many pairs have which similarity.
struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

/// What all pairs came to.
struct Pairs {
    genuine: Histogram,
    impostor: Histogram,
    /// genuine pairs below the threshold that a check would hold them against
    missed: Share,
    /// impostor pairs at or above it
    mistaken: Share,
}

impl FacesBench {
    /// Compares all pairs and prints the table or JSON.
    ///
    /// # Errors
    /// When the set has no photos, or a model is missing.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let photos = photos(&self.set)?;
        let models = self.engine.load()?;
        let watch = Stopwatch::start();
        let seen =
            sets::in_parallel(&models, self.workers as usize, &photos, |checker, (_, path)| look(checker, path))?;
        let a_second = photos.len() as f64 / watch.elapsed().as_secs_f64();
        let faces: Vec<(usize, &Portrait)> = photos
            .iter()
            .zip(&seen)
            .filter_map(|((person, _), seen)| match seen {
                Seen::Face(portrait) => Some((*person, portrait.as_ref())),
                _ => None,
            })
            .collect();
        let pairs = Pairs::of(&Checker::new(&models)?, &faces);
        if let Some(file) = &self.det {
            std::fs::write(file, pairs.det_svg()).with_context(|| file.display().to_string())?;
        }
        let mut none: BTreeMap<&str, u64> = BTreeMap::new();
        for ((_, path), seen) in photos.iter().zip(&seen) {
            match seen {
                Seen::Face(_) => {}
                Seen::None(why) => *none.entry(why).or_default() += 1,
                Seen::Unreadable(why) => {
                    *none.entry("unreadable").or_default() += 1;
                    eprintln!("{}: {why}", path.display());
                }
            }
        }
        let people = photos.iter().map(|(person, _)| *person).max().map_or(0, |last| last + 1);
        if self.json {
            let told = pairs.told();
            say(format_args!(
                "{:#}",
                json!({"people": people, "photos": photos.len(), "faces": faces.len(), "without": none, "photos_per_s": a_second, "pairs": told})
            ))?;
        } else {
            say(format_args!(
                "{people} people, {} photos, {} faces, {a_second:.1} photos/s",
                photos.len(),
                faces.len()
            ))?;
            for (why, count) in none {
                say(format_args!("  left out: {count:6} {why}"))?;
            }
            pairs.print()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Each photo with its person's number.
fn photos(set: &Path) -> anyhow::Result<Vec<(usize, PathBuf)>> {
    let people = sets::listed(set)?.into_iter().filter(|path| path.is_dir());
    let mut photos = Vec::new();
    for (number, folder) in people.enumerate() {
        photos.extend(sets::listed(&folder)?.into_iter().filter(|path| path.is_file()).map(|path| (number, path)));
    }
    ensure!(!photos.is_empty(), "{} holds no folders with photos", set.display());
    Ok(photos)
}

fn look(checker: &mut Checker, path: &Path) -> anyhow::Result<Seen> {
    let photo = match sets::photo(path) {
        Ok(photo) => photo,
        Err(why) => return Ok(Seen::Unreadable(why)),
    };
    Ok(match checker.portrait(&photo)? {
        Ok(portrait) => Seen::Face(Box::new(portrait)),
        Err((Outcome::Unusable, Some(reason @ Reason::Photo(_)))) => Seen::Unreadable(reason.to_string()),
        Err((outcome, reason)) => {
            let words = format!("{} {}", outcome.as_str(), reason.as_ref().map_or("", Reason::as_str));
            Seen::None(words.trim().to_owned())
        }
    })
}

impl Histogram {
    fn new() -> Self {
        Self { counts: vec![0; STEPS], total: 0 }
    }

    fn count(&mut self, similarity: f32) {
        let step = ((similarity + 1.0) / 2.0 * STEPS as f32).clamp(0.0, STEPS as f32 - 1.0) as usize;
        self.counts[step] += 1;
        self.total += 1;
    }

    /// Pairs in this step or above.
    fn at_or_above(&self, step: usize) -> u64 {
        self.counts[step..].iter().sum()
    }
}

fn similarity(step: usize) -> f64 {
    2.0 * step as f64 / STEPS as f64 - 1.0
}

impl Pairs {
    fn of(checker: &Checker, faces: &[(usize, &Portrait)]) -> Self {
        let (missed, mistaken) = (Share::default(), Share::default());
        let mut pairs = Self { genuine: Histogram::new(), impostor: Histogram::new(), missed, mistaken };
        for (at, (person, face)) in faces.iter().enumerate() {
            for (other_person, other) in &faces[at + 1..] {
                let similarity = face.similarity(other);
                let matches = similarity >= checker.threshold_between(face, other);
                if person == other_person {
                    pairs.genuine.count(similarity);
                    pairs.missed.count(!matches);
                } else {
                    pairs.impostor.count(similarity);
                    pairs.mistaken.count(matches);
                }
            }
        }
        pairs
    }

    /// The least threshold at which at most this share of impostors pass, and what share of genuine pairs then does. None
    /// when there are too few impostors to tell.
    fn at_false_match_rate(&self, limit: f64) -> Option<(f64, Share)> {
        if (self.impostor.total as f64) * limit < 1.0 || self.genuine.total == 0 {
            return None;
        }
        let step =
            (0..STEPS).find(|step| self.impostor.at_or_above(*step) as f64 <= limit * self.impostor.total as f64)?;
        Some((similarity(step), Share { hits: self.genuine.at_or_above(step), of: self.genuine.total }))
    }

    fn print(&self) -> anyhow::Result<()> {
        say(format_args!("genuine pairs {}, impostor pairs {}", self.genuine.total, self.impostor.total))?;
        say("at the thresholds of a check, by size and quality (95 % interval)")?;
        say(format_args!("  FMR  {}", self.mistaken))?;
        say(format_args!("  FNMR {}", self.missed))?;
        for (name, limit) in [("1 %", 0.01), ("0.1 %", 0.001)] {
            match self.at_false_match_rate(limit) {
                Some((threshold, share)) => {
                    say(format_args!("  TAR at FMR {name:5}  {share}, threshold {threshold:.3}"))?
                }
                None => say(format_args!("  TAR at FMR {name:5}  too few pairs to tell"))?,
            }
        }
        Ok(())
    }

    fn told(&self) -> Value {
        let at = |limit: f64| {
            self.at_false_match_rate(limit)
                .map(|(threshold, share)| json!({"threshold": threshold, "tar": share.told()}))
        };
        json!({
            "genuine": self.genuine.total, "impostor": self.impostor.total,
            "fmr": self.mistaken.told(), "fnmr": self.missed.told(),
            "tar_at_fmr_1_percent": at(0.01), "tar_at_fmr_0_1_percent": at(0.001),
        })
    }

    /// The DET curve: false matches to the right, false non-matches upwards, both on the scale of the normal distribution.
    fn det_svg(&self) -> String {
        let mut svg = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 520 500\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"520\" height=\"500\" fill=\"white\"/>\n",
        );
        for percent in [0.01, 0.1, 1.0, 5.0, 20.0, 50.0] {
            let (x, y) = (across(percent / 100.0), upwards(percent / 100.0));
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} 40V440M70 {y:.1}H490\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"456\" text-anchor=\"middle\">{percent}</text>\
                 <text x=\"64\" y=\"{:.1}\" text-anchor=\"end\">{percent}</text>",
                y + 4.0
            );
        }
        svg.push_str(
            "<text x=\"280\" y=\"480\" text-anchor=\"middle\">false match rate, %</text>\n\
             <text x=\"20\" y=\"240\" text-anchor=\"middle\" transform=\"rotate(-90 20 240)\">false non-match rate, %</text>\n",
        );
        let points: Vec<String> = (0..STEPS)
            .filter_map(|step| {
                let false_match = self.impostor.at_or_above(step) as f64 / self.impostor.total.max(1) as f64;
                let missed = 1.0 - self.genuine.at_or_above(step) as f64 / self.genuine.total.max(1) as f64;
                let shown = false_match > 0.0 && missed > 0.0 && false_match < 1.0 && missed < 1.0;
                shown.then(|| format!("{:.1},{:.1}", across(false_match), upwards(missed)))
            })
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#06c\" stroke-width=\"1.5\"/>",
            points.join(" ")
        );
        let _ = writeln!(
            svg,
            "<text x=\"280\" y=\"26\" text-anchor=\"middle\">DET: {} genuine, {} impostor pairs</text>\n</svg>",
            self.genuine.total, self.impostor.total
        );
        svg
    }
}

fn across(share: f64) -> f64 {
    70.0 + 420.0 * on_axis(share)
}

fn upwards(share: f64) -> f64 {
    440.0 - 400.0 * on_axis(share)
}

/// From 0.01 % at 0 to 50 % at 1.
fn on_axis(share: f64) -> f64 {
    let least = normal_quantile(0.0001);
    ((normal_quantile(share) - least) / -least).clamp(0.0, 1.0)
}

/// Where the normal distribution has this share below it: Abramowitz and Stegun 26.2.23, right to 0.0005.
fn normal_quantile(share: f64) -> f64 {
    let tail = share.min(1.0 - share).max(f64::MIN_POSITIVE);
    let t = (-2.0 * tail.ln()).sqrt();
    let above = (0.010_328 * t + 0.802_853).mul_add(t, 2.515_517);
    let below = ((0.001_308 * t + 0.189_269) * t + 1.432_788).mul_add(t, 1.0);
    let size = t - above / below;
    if share < 0.5 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_from_the_pairs() {
        let (missed, mistaken) = (Share::default(), Share::default());
        let mut pairs = Pairs { genuine: Histogram::new(), impostor: Histogram::new(), missed, mistaken };
        (0..1000).for_each(|at| pairs.impostor.count(at as f32 / 2000.0));
        (0..100).for_each(|at| pairs.genuine.count(0.40 + at as f32 / 200.0));
        // 1 % of the impostors are at or above 0.495: of the genuine, those from 0.495 to 0.895 are 81 of 100.
        let (threshold, share) = pairs.at_false_match_rate(0.01).unwrap();
        assert!((threshold - 0.495).abs() < 1e-3, "{threshold}");
        assert_eq!(share, Share { hits: 81, of: 100 });
        assert!(pairs.at_false_match_rate(0.001).is_some());
        assert!(pairs.at_false_match_rate(0.0001).is_none());
        assert!(pairs.det_svg().contains("1000 impostor pairs"));
    }

    #[test]
    fn the_normal_quantile_is_that_of_the_tables() {
        for (share, expected) in [(0.5, 0.0), (0.025, -1.96), (0.001, -3.0902), (0.84134, 1.0)] {
            assert!((normal_quantile(share) - expected).abs() < 1e-3, "{share}");
        }
    }
}
