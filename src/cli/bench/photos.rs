//! `invigil bench photos`: whole photo checks per second beside OpenCV's from Python, same photos, same run.
//!
//! The two take turns, several rounds each, and the median round counts, so that a neighbour on the machine slows
//! both. OpenCV is tried twice: as it comes, detecting at full size, and detecting at the size that invigil uses.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::clock::Stopwatch;
use crate::vision::people::People;
use crate::vision::{DEFAULT_FOLDER, DETECTOR_SIDE_PX, Outcome, Template, VisionConfig, VisionPool};

/// Photos as webcams send them, 640×360; all of one person, so that every check runs to its end.
const PERSON: &str = "webcam_man";

/// Arguments of `invigil bench photos`.
#[derive(Args, Debug)]
pub struct PhotosBenchArgs {
    /// The folder that `make models` fills.
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    models: PathBuf,
    /// Checks in each round.
    #[arg(long, default_value_t = 300)]
    checks: usize,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Threads of invigil, and processes of OpenCV.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Python with OpenCV, as `make bench-opencv` sets it up.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Leaves OpenCV out.
    #[arg(long)]
    alone: bool,
}

/// Photos per second, one number a round.
#[derive(Default)]
struct Rounds(Vec<f64>);

impl Rounds {
    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

impl PhotosBenchArgs {
    /// Runs the benchmark and prints its table.
    ///
    /// # Errors
    /// When a model, a photo or Python is missing, or a check did not match.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let queue = 4 * self.workers;
        let config = VisionConfig { models: self.models.clone(), workers: self.workers, queue };
        let bench = Bench::open(&self, VisionPool::start(config)?)?;
        let enrolled = runtime.block_on(bench.pool.enrol(bench.enrol.clone()))?;
        let (mut ours, mut theirs, mut theirs_small) = (Rounds::default(), Rounds::default(), Rounds::default());
        // The first photos fill caches; they do not count.
        runtime.block_on(bench.ours(2 * self.workers, &enrolled))?;
        for _ in 0..self.rounds {
            ours.0.push(runtime.block_on(bench.ours(self.checks, &enrolled))?);
            if !self.alone {
                theirs.0.push(bench.opencv(&self, 0)?);
                theirs_small.0.push(bench.opencv(&self, DETECTOR_SIDE_PX)?);
            }
        }
        self.report(&ours, &theirs, &theirs_small);
        Ok(ExitCode::SUCCESS)
    }

    fn report(&self, ours: &Rounds, theirs: &Rounds, theirs_small: &Rounds) {
        println!("whole photo checks per second, {} workers, median of {} rounds", self.workers, self.rounds);
        println!("  invigil                          {:7.1}", ours.median());
        if !self.alone {
            let line = |name: &str, other: &Rounds| {
                println!("  {name} {:7.1}   invigil is {:.2}×", other.median(), ours.median() / other.median());
            };
            line("OpenCV from Python              ", theirs);
            line("OpenCV, detecting as small as we", theirs_small);
        }
    }
}

struct Bench {
    pool: VisionPool,
    enrol: Arc<[u8]>,
    enrol_path: PathBuf,
    photos: Vec<Arc<[u8]>>,
    photo_paths: Vec<PathBuf>,
}

impl Bench {
    fn open(args: &PhotosBenchArgs, pool: VisionPool) -> anyhow::Result<Self> {
        let people = People::embedded();
        let person = people.person(PERSON).context("models/people.json lacks the person of the benchmark")?;
        let read =
            |path: &PathBuf| std::fs::read(path).with_context(|| format!("{}; run `make models`", path.display()));
        let photo_paths = person.frame_paths(&args.models);
        let photos = photo_paths.iter().map(|path| read(path).map(Arc::from)).collect::<anyhow::Result<_>>()?;
        let enrol_path = person.enrol_path(&args.models);
        Ok(Self { pool, enrol: read(&enrol_path)?.into(), enrol_path, photos, photo_paths })
    }

    /// Photos per second of our own pool, kept full.
    async fn ours(&self, checks: usize, enrolled: &Template) -> anyhow::Result<f64> {
        let started = Stopwatch::start();
        let photos = self.photos.iter().cycle().take(checks);
        let answers = photos.map(|photo| self.pool.check(Arc::clone(photo), enrolled.clone().into()));
        let mut answers = futures_util::stream::iter(answers).buffer_unordered(self.pool.capacity());
        while let Some(answer) = answers.next().await {
            let check = answer?;
            if check.outcome != Outcome::Match {
                bail!("a photo of the benchmark did not match: {check:?}");
            }
        }
        Ok(checks as f64 / started.elapsed().as_secs_f64())
    }

    fn opencv(&self, args: &PhotosBenchArgs, detector_side_px: usize) -> anyhow::Result<f64> {
        let python = args.python.clone().unwrap_or_else(|| args.models.join(".venv-bench/bin/python"));
        let order = json!({
            "detector": args.models.join("opencv/yunet.onnx"),
            "recogniser": args.models.join("opencv/sface.onnx"),
            "enrol": self.enrol_path,
            "photos": self.photo_paths,
            "checks": args.checks,
            "processes": args.workers,
            "detector_side_px": detector_side_px,
        });
        let answer = python_answer(&python, &order).context("OpenCV from Python; run `make bench-opencv`")?;
        if answer["matched"] != args.checks {
            bail!("OpenCV matched {} of {} photos", answer["matched"], args.checks);
        }
        answer["photos_per_s"].as_f64().context("no figure from OpenCV")
    }
}

fn python_answer(python: &Path, order: &Value) -> anyhow::Result<Value> {
    let mut child = Command::new(python)
        .arg("benches/opencv_photos.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| python.display().to_string())?;
    child.stdin.take().context("no standard input")?.write_all(order.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("it ended with {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
