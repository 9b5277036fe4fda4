//! One process of `invigil bench photos`: a process can hold one ONNX Runtime, so each provider has its own.
//!
//! It says on standard output what runs, and then answers each order of standard input, a line of JSON each.

use std::io::{BufRead as _, Cursor, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;

use anyhow::{Context as _, bail};
use axum::body::Bytes;
use clap::Args;
use futures_util::StreamExt as _;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{RgbImage, imageops::colorops};
use serde::{Deserialize, Serialize};

use crate::cli::engine::EngineArgs;
use crate::clock::Stopwatch;
use crate::vision::burst::{self, Frame};
use crate::vision::people::People;
use crate::vision::{
    Asker, Bare, EnrolError, Outcome, Running, Template, Turn, Urgency, VisionConfig, VisionPool, decode,
};

/// Photos as webcams send them, 640×360; all of one person, so that every check runs to its end.
pub(super) const PERSON: &str = "webcam_man";
/// A burst as the plain one of a default pack: three photos, 300 ms apart in a film of 30 frames a second.
const BURST: (usize, usize, u32) = (3, 9, 300);
/// Of a film's frames that are to be described, one in so many is also altered.
const ALTERED_EVERY: usize = 4;

/// Arguments of `invigil bench photo-engine`.
#[derive(Args, Debug)]
pub struct PhotoEngineArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

/// What it says first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) running: String,
    pub(super) provider: String,
    pub(super) precision: String,
    /// until the workers were ready, ms
    pub(super) start_ms: f64,
}

/// What it is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// So many whole checks of one photo.
    Checks(usize),
    /// So many whole checks of a plain burst of three.
    Bursts(usize),
    /// The networks of so many checks.
    Networks(usize),
    /// The templates of the photos at hand, one in so many; with alterations, or without.
    Faces { every: usize, altered: bool },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    PerSecond(f64),
    Faces(Vec<Face>),
}

/// A face as it was described.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Face {
    pub(super) person: String,
    /// the frame, and how it was altered
    pub(super) photo: String,
    /// whether the person is enrolled with this very photo
    pub(super) enrolled: bool,
    /// hexadecimal; none: it cannot be enrolled, and why
    pub(super) template: Result<String, String>,
}

impl PhotoEngineArgs {
    /// Answers orders until there are no more.
    ///
    /// # Errors
    /// When a model or a photo is missing, or a check did not match.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let starting = Stopwatch::start();
        let (queue, wanted) = (4 * self.workers, self.engine.wanted());
        let (models, workers) = (self.engine.models.clone(), self.workers);
        let config = VisionConfig { models, workers, queue, wanted, ..VisionConfig::default() };
        let pool = VisionPool::start(config)?;
        let start_ms = starting.elapsed().as_secs_f64() * 1_000.0;
        let Running { provider, precision, .. } = pool.running();
        let (provider, precision) = (provider.to_string(), precision.to_string());
        say(&Ready { running: pool.running().to_string(), provider, precision, start_ms })?;
        let engine = Engine { args: self, pool };
        let (photos, enrolled) = runtime.block_on(engine.photos())?;
        let bursts = bursts(&photos);
        for line in std::io::stdin().lock().lines() {
            say(&match serde_json::from_str(&line?)? {
                Order::Checks(count) => Answer::PerSecond(runtime.block_on(engine.checks(count, &photos, &enrolled))?),
                Order::Bursts(count) => Answer::PerSecond(runtime.block_on(engine.checks(count, &bursts, &enrolled))?),
                Order::Networks(count) => Answer::PerSecond(engine.networks(count, &photos[0])?),
                Order::Faces { every, altered } => Answer::Faces(runtime.block_on(engine.faces(every, altered))?),
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

struct Engine {
    args: PhotoEngineArgs,
    pool: VisionPool,
}

impl Engine {
    fn read(path: &PathBuf) -> anyhow::Result<Bytes> {
        Ok(std::fs::read(path).with_context(|| format!("{}; run `make models`", path.display()))?.into())
    }

    /// A turn that nobody is in the way of.
    fn turn(&self) -> Turn {
        Turn { urgency: Urgency::Later, deadline_ms: i64::MAX, asker: Asker::Node }
    }

    async fn photos(&self) -> anyhow::Result<(Vec<Bytes>, Template)> {
        let people = People::embedded();
        let person = people.person(PERSON).context("models/people.json lacks the person of the benchmark")?;
        let folder = &self.args.engine.models;
        let photos = person.frame_paths(folder).iter().map(Self::read).collect::<anyhow::Result<_>>()?;
        let enrolled = self.pool.enrol(self.turn(), Self::read(&person.enrol_path(folder))?).await?;
        Ok((photos, enrolled))
    }

    /// Submissions per second of the pool, kept full.
    async fn checks(&self, count: usize, submissions: &[Bytes], enrolled: &Template) -> anyhow::Result<f64> {
        let started = Stopwatch::start();
        let asked = submissions.iter().cycle().take(count);
        let answers = asked.map(|submission| self.pool.check(self.turn(), submission.clone(), enrolled.clone().into()));
        let mut answers = futures_util::stream::iter(answers).buffer_unordered(self.pool.capacity());
        while let Some(answer) = answers.next().await {
            let check = answer?;
            if check.outcome != Outcome::Match {
                bail!("a photo of the benchmark did not match: {check:?}");
            }
        }
        Ok(count as f64 / started.elapsed().as_secs_f64())
    }

    /// Photos per second if the networks were all there is, on as many threads.
    fn networks(&self, count: usize, photo: &Bytes) -> anyhow::Result<f64> {
        let photo = decode(photo)?;
        let models = self.args.engine.load()?;
        let (each, begin) = (count.div_ceil(self.args.workers), &Barrier::new(self.args.workers + 1));
        let open = |_| {
            let mut networks = Bare::new(&models, &photo)?;
            networks.run().map(|()| networks)
        };
        // All are open before any thread waits for the others.
        let all = (0..self.args.workers).map(open).collect::<Result<Vec<_>, _>>()?;
        thread::scope(|scope| {
            let work = |mut networks: Bare| {
                scope.spawn(move || {
                    begin.wait();
                    (0..each).try_for_each(|_| networks.run())
                })
            };
            let workers: Vec<_> = all.into_iter().map(work).collect();
            begin.wait();
            let started = Stopwatch::start();
            for worker in workers {
                worker.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            }
            Ok((each * self.args.workers) as f64 / started.elapsed().as_secs_f64())
        })
    }

    async fn faces(&self, every: usize, altered: bool) -> anyhow::Result<Vec<Face>> {
        let folder = &self.args.engine.models;
        let mut asked = Vec::new();
        for person in People::embedded().people {
            let enrolment = (person.enrol, person.enrol_path(folder));
            let frames = person.frames.iter().copied().zip(person.frame_paths(folder)).step_by(every.max(1));
            for (index, (frame, path)) in std::iter::once(enrolment).chain(frames).enumerate() {
                let photo = Self::read(&path)?;
                if altered && index % ALTERED_EVERY == 0 {
                    for (how, photo) in alterations(&photo)? {
                        asked.push((person.name.clone(), format!("{frame} {how}"), false, photo));
                    }
                }
                asked.push((person.name.clone(), frame.to_string(), index == 0, photo));
            }
        }
        let described = asked.into_iter().map(|(person, photo, enrolled, bytes)| async move {
            let template = match self.pool.enrol(self.turn(), bytes).await {
                Ok(template) => Ok(hex::encode(template.to_bytes())),
                Err(error @ (EnrolError::Engine(_) | EnrolError::Busy(_))) => return Err(error),
                Err(unusable) => Err(unusable.to_string()),
            };
            Ok(Face { person, photo, enrolled, template })
        });
        let described: Vec<_> = futures_util::stream::iter(described).buffered(self.pool.capacity()).collect().await;
        Ok(described.into_iter().collect::<Result<_, _>>()?)
    }
}

/// Bursts that start at every photo that has enough after it.
fn bursts(photos: &[Bytes]) -> Vec<Bytes> {
    let (frames, step, every_ms) = BURST;
    let starts = 0..photos.len().saturating_sub((frames - 1) * step);
    let burst = |start: usize| {
        let frame = |at: usize| Frame { at_ms: at as u32 * every_ms, photo: &photos[start + at * step] };
        burst::compose(&(0..frames).map(frame).collect::<Vec<_>>()).into()
    };
    starts.map(burst).collect()
}

/// What light, cameras and compression do to a picture.
fn alterations(photo: &[u8]) -> anyhow::Result<Vec<(&'static str, Bytes)>> {
    let picture = image::load_from_memory(photo)?.into_rgb8();
    let (width, height) = picture.dimensions();
    let smaller = imageops::resize(&picture, width * 2 / 3, height * 2 / 3, FilterType::Triangle);
    let all = [
        ("mirrored", imageops::flip_horizontal(&picture), 85),
        ("darker", colorops::brighten(&picture, -50), 85),
        ("lighter", colorops::brighten(&picture, 50), 85),
        ("noisy", noisy(&picture), 85),
        ("smaller", smaller, 85),
        ("blurred", imageops::fast_blur(&picture, 1.5), 85),
        ("compressed", picture, 30),
    ];
    all.into_iter().map(|(how, picture, quality)| Ok((how, jpeg(&picture, quality)?))).collect()
}

/// Each value up to 16 off, the same way each time.
fn noisy(picture: &RgbImage) -> RgbImage {
    let mut picture = picture.clone();
    let mut state = 1_u32;
    for value in picture.iter_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = value.saturating_add_signed((state >> 27) as i8 - 16);
    }
    picture
}

fn jpeg(picture: &RgbImage, quality: u8) -> anyhow::Result<Bytes> {
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(picture)?;
    Ok(bytes.into_inner().into())
}
