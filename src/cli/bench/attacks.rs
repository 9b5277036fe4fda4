//! `invigil bench attacks`: a set of live photos and of attacks, scored as the server would score them, in the terms of
//! ISO/IEC 30107-3.
//!
//! Each entry is enrolled with its own first photo, so that the question is not who it is but whether it is live. What is
//! accepted, a match, was taken for live; what is not, for an attack. Where no face, or more than one, is found nothing was
//! taken for anything: those are counted apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::super::say;
use super::sets::{self, Share};
use crate::cli::engine::EngineArgs;
use crate::vision::burst::{self, FRAMES_LIMIT, Frame};
use crate::vision::{Asked, Checker, EnrolError, Outcome, Question, Reason};

/// The name of the live entries' row.
const LIVE: &str = "live";

/// Arguments of `invigil bench attacks`.
#[derive(Args, Debug)]
pub struct AttacksBench {
    /// A folder with live/… and attack/KIND/…; an entry is one photo, or a folder of photos in order: a burst
    #[arg(long, value_name = "DIR")]
    set: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
    /// From one photo of a burst to the next, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    every_ms: u32,
    /// Threads
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    workers: u64,
    /// Prints JSON, with each entry's answer, instead of the table
    #[arg(long)]
    json: bool,
}

/// One thing that was presented to the camera.
struct Entry {
    kind: String,
    path: PathBuf,
}

/// What came of it.
enum Scored {
    Unreadable(String),
    NoFace(&'static str),
    Checked { outcome: Outcome, reason: Option<Reason>, passive: Option<f32> },
}

/// All entries of one kind together.
#[derive(Default)]
struct Row {
    entries: u64,
    unreadable: u64,
    no_face: u64,
    accepted: Share,
    passive: Share,
    scores: Vec<f32>,
}

impl AttacksBench {
    /// Scores the set and prints the table or JSON.
    ///
    /// # Errors
    /// When the set has no entries, or a model is missing.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let entries = entries(&self.set)?;
        let models = self.engine.load()?;
        let scored = sets::in_parallel(&models, self.workers as usize, &entries, |checker, entry| {
            score(checker, &entry.path, self.every_ms)
        })?;
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        for (entry, scored) in entries.iter().zip(&scored) {
            rows.entry(&entry.kind).or_default().take(scored);
        }
        if self.json {
            say(format_args!("{:#}", told(&self.set, &rows, &entries, &scored)))?;
        } else {
            table(&rows, &entries, &scored)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn entries(set: &Path) -> anyhow::Result<Vec<Entry>> {
    let of_kind = |kind: &str, folder: &Path| -> anyhow::Result<Vec<Entry>> {
        Ok(sets::listed(folder)?.into_iter().map(|path| Entry { kind: kind.to_owned(), path }).collect())
    };
    let mut entries = of_kind(LIVE, &set.join(LIVE))?;
    for folder in sets::listed(&set.join("attack"))?.into_iter().filter(|path| path.is_dir()) {
        let kind = folder.file_name().context("a folder without a name")?.to_string_lossy().into_owned();
        ensure!(kind != LIVE, "{}: an attack cannot be called {LIVE}", folder.display());
        entries.extend(of_kind(&kind, &folder)?);
    }
    ensure!(!entries.is_empty(), "{} holds neither live/… nor attack/KIND/…", set.display());
    Ok(entries)
}

fn score(checker: &mut Checker, path: &Path, every_ms: u32) -> anyhow::Result<Scored> {
    let photos = match photos(path) {
        Ok(photos) => photos,
        Err(why) => return Ok(Scored::Unreadable(why)),
    };
    let enrolled = match checker.enrol(&photos[0]) {
        Ok(enrolled) => enrolled,
        Err(EnrolError::NoFace) => return Ok(Scored::NoFace("no_face")),
        Err(EnrolError::MultipleFaces) => return Ok(Scored::NoFace("multiple_faces")),
        Err(EnrolError::Unusable(Reason::Photo(error))) => return Ok(Scored::Unreadable(error.to_string())),
        Err(EnrolError::Unusable(reason)) => {
            return Ok(Scored::Checked { outcome: Outcome::Unusable, reason: Some(reason), passive: None });
        }
        Err(error) => return Err(error.into()),
    };
    let frames: Vec<Frame<'_>> = (0..).zip(&photos).map(|(at, photo)| Frame { at_ms: at * every_ms, photo }).collect();
    let asked = Asked { passive: true, ..Asked::PHOTO };
    let check = checker.check(&burst::compose(&frames), &Question { asked, ..enrolled.into() });
    ensure!(check.outcome != Outcome::Error, "{}: {:?}", path.display(), check.reason);
    Ok(match check.outcome {
        Outcome::NoFace | Outcome::MultipleFaces => Scored::NoFace(check.outcome.as_str()),
        outcome => {
            Scored::Checked { outcome, reason: check.reason, passive: check.passive.map(|passive| passive.attack) }
        }
    })
}

fn photos(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    if !path.is_dir() {
        return Ok(vec![sets::photo(path)?]);
    }
    let files = sets::listed(path).map_err(|error| error.to_string())?;
    if !(1..=FRAMES_LIMIT).contains(&files.len()) {
        return Err(format!("it holds {} photos; a burst has 1 to {FRAMES_LIMIT}", files.len()));
    }
    files.iter().map(|file| sets::photo(file).map_err(|why| format!("{}: {why}", file.display()))).collect()
}

impl Row {
    fn take(&mut self, scored: &Scored) {
        self.entries += 1;
        match scored {
            Scored::Unreadable(_) => self.unreadable += 1,
            Scored::NoFace(_) => self.no_face += 1,
            Scored::Checked { outcome, passive, .. } => {
                self.accepted.count(*outcome == Outcome::Match);
                if let Some(passive) = passive {
                    self.passive.count(*passive > 0.5);
                    self.scores.push(*passive);
                }
            }
        }
    }

    fn refused(&self) -> Share {
        Share { hits: self.accepted.of - self.accepted.hits, of: self.accepted.of }
    }
}

/// The mean of the live entries' error and of that of the attacks that fare best.
fn acer(rows: &BTreeMap<&str, Row>) -> Option<f64> {
    let live = rows.get(LIVE)?.refused().share()?;
    let attacks = rows.iter().filter(|(kind, _)| **kind != LIVE).filter_map(|(_, row)| row.accepted.share());
    let worst = attacks.reduce(f64::max)?;
    Some((worst + live) / 2.0)
}

/// How often an attack's passive score is above a live one's: 0.5 is no better than chance.
fn passive_area(rows: &BTreeMap<&str, Row>) -> Option<f64> {
    let live = &rows.get(LIVE)?.scores;
    let attacks: Vec<f32> =
        rows.iter().filter(|(kind, _)| **kind != LIVE).flat_map(|(_, row)| row.scores.clone()).collect();
    if live.is_empty() || attacks.is_empty() {
        return None;
    }
    let mut live = live.clone();
    live.sort_by(f32::total_cmp);
    let above: f64 = attacks
        .iter()
        .map(|attack| {
            let below = live.partition_point(|live| live < attack) as f64;
            let not_above = live.partition_point(|live| live <= attack) as f64;
            (below + not_above) / 2.0
        })
        .sum();
    Some(above / (live.len() as f64 * attacks.len() as f64))
}

fn table(rows: &BTreeMap<&str, Row>, entries: &[Entry], scored: &[Scored]) -> anyhow::Result<()> {
    say("kind                     entries  no face  unreadable  error rate (95 % interval)")?;
    for (kind, row) in rows {
        let (name, share) = if *kind == LIVE { ("BPCER", row.refused()) } else { ("APCER", row.accepted) };
        say(format_args!("{kind:24} {:7} {:8} {:11}  {name} {share}", row.entries, row.no_face, row.unreadable))?;
    }
    if let Some(acer) = acer(rows) {
        say(format_args!("ACER, with the worst kind of attack: {:.2} %", 100.0 * acer))?;
    }
    if let Some(area) = passive_area(rows) {
        say(format_args!(
            "the passive score, which decides nothing, of what was accepted: above that of a live one in {:.1} %",
            100.0 * area
        ))?;
    }
    let mut reasons: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for (entry, scored) in entries.iter().zip(scored) {
        match scored {
            Scored::Unreadable(why) => eprintln!("{}: {why}", entry.path.display()),
            Scored::NoFace(word) => *reasons.entry((entry.kind.as_str(), (*word).to_owned())).or_default() += 1,
            Scored::Checked { outcome, reason, .. } => {
                let words = format!("{} {}", outcome.as_str(), reason.as_ref().map_or("", Reason::as_str));
                *reasons.entry((entry.kind.as_str(), words.trim().to_owned())).or_default() += 1;
            }
        }
    }
    say("answers")?;
    for ((kind, words), count) in reasons {
        say(format_args!("{kind:24} {count:7}  {words}"))?;
    }
    Ok(())
}

fn told(set: &Path, rows: &BTreeMap<&str, Row>, entries: &[Entry], scored: &[Scored]) -> Value {
    let kinds = rows.iter().map(|(kind, row)| {
        let mut told = json!({
            "kind": kind, "entries": row.entries, "no_face": row.no_face, "unreadable": row.unreadable,
            "passive_above_even": row.passive.told(),
        });
        if *kind == LIVE {
            told["bpcer"] = json!(row.refused().told());
        } else {
            told["apcer"] = json!(row.accepted.told());
        }
        told
    });
    let each = entries.iter().zip(scored).map(|(entry, scored)| {
        let path = entry.path.strip_prefix(set).unwrap_or(&entry.path);
        match scored {
            Scored::Unreadable(why) => json!({"entry": path, "unreadable": why}),
            Scored::NoFace(word) => json!({"entry": path, "outcome": word}),
            Scored::Checked { outcome, reason, passive } => {
                json!({"entry": path, "outcome": outcome, "reason": reason.as_ref().map(Reason::as_str), "passive": passive})
            }
        }
    });
    json!({
        "kinds": kinds.collect::<Vec<_>>(),
        "acer": acer(rows),
        "passive_area": passive_area(rows),
        "entries": each.collect::<Vec<_>>(),
    })
}
