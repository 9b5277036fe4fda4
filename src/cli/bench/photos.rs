//! `invigil bench photos`: whole photo checks per second, by provider and precision, beside OpenCV's from Python: same
//! photos, same run; beside what their networks take alone; and what a burst of three costs in photos. And whether all
//! providers see the same faces.
//!
//! All take turns, several rounds each, and the median round counts, so that a neighbour on the machine slows all of
//! them. OpenCV is tried twice: as it comes, detecting at full size, and detecting at the size that invigil uses. What is
//! computed in f32 by the CPU provider is what the others are held against.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::photo_engine::{Answer, Face, Order, PERSON, Ready};
use crate::vision::people::People;
use crate::vision::{DEFAULT_FOLDER, DETECTOR_SIDE_PX, Manifest, Template, likeness};

/// What is tried without being asked for: provider and precision. The first is the measure of the others.
const ENGINES: [&str; 3] = ["cpu/f32", "openvino/f32", "openvino/auto"];

/// Arguments of `invigil bench photos`.
#[derive(Args, Debug)]
pub struct PhotosBenchArgs {
    /// The folder that `make models` fills.
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    models: PathBuf,
    /// Providers, each with a precision; the others are held against the first.
    #[arg(long, value_name = "PROVIDER/PRECISION", value_delimiter = ',', default_values = ENGINES)]
    engines: Vec<String>,
    /// Checks in each round.
    #[arg(long, default_value_t = 300)]
    checks: usize,
    /// Rounds; without any, only faces are compared.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Threads of invigil, and processes of OpenCV.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Of the photos at hand, one in so many is described by each provider; 0: none.
    #[arg(long, value_name = "N", default_value_t = 1)]
    faces_every: usize,
    /// Compares unaltered photos only.
    #[arg(long)]
    unaltered: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
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

/// A process with one provider.
struct Engine {
    name: String,
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    ready: Ready,
    checks: Rounds,
    bursts: Rounds,
    networks: Rounds,
}

impl Engine {
    /// Starts one; why not, if it does not run here.
    fn start(name: &str, args: &PhotosBenchArgs) -> anyhow::Result<Result<Self, String>> {
        let (provider, precision) = name.split_once('/').context("an engine is PROVIDER/PRECISION")?;
        let mut process = Command::new(std::env::current_exe()?)
            .args(["bench", "photo-engine", "--provider", provider, "--precision", precision])
            .args(["--workers", &args.workers.to_string(), "--models"])
            .arg(&args.models)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take().context("no standard input")?;
        let mut answers = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut line = String::new();
        if answers.read_line(&mut line)? == 0 {
            let output = process.wait_with_output()?;
            return Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let (ready, name) = (serde_json::from_str(&line)?, name.to_owned());
        let (checks, bursts, networks) = (Rounds::default(), Rounds::default(), Rounds::default());
        Ok(Ok(Self { name, process, orders, answers, ready, checks, bursts, networks }))
    }

    fn ask(&mut self, order: &Order) -> anyhow::Result<Answer> {
        writeln!(self.orders, "{}", serde_json::to_string(order)?)?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            let mut why = String::new();
            if let Some(mut said) = self.process.stderr.take() {
                std::io::Read::read_to_string(&mut said, &mut why)?;
            }
            bail!("{}: {}", self.name, why.trim());
        }
        Ok(serde_json::from_str(&line)?)
    }

    fn per_second(&mut self, order: &Order) -> anyhow::Result<f64> {
        match self.ask(order)? {
            Answer::PerSecond(photos) => Ok(photos),
            Answer::Faces(_) => bail!("{} answers another question", self.name),
        }
    }

    fn faces(&mut self, args: &PhotosBenchArgs) -> anyhow::Result<Vec<Face>> {
        match self.ask(&Order::Faces { every: args.faces_every, altered: !args.unaltered })? {
            Answer::Faces(faces) => Ok(faces),
            Answer::PerSecond(_) => bail!("{} answers another question", self.name),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl PhotosBenchArgs {
    /// Runs the benchmark and prints its table.
    ///
    /// # Errors
    /// When a model, a photo or Python is missing, or a check did not match.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (mut engines, mut absent) = (Vec::new(), Vec::new());
        for name in &self.engines {
            match Engine::start(name, &self)? {
                Ok(engine) => engines.push(engine),
                Err(why) => absent.push((name.clone(), why)),
            }
        }
        let (mut opencv, mut opencv_small) = (Rounds::default(), Rounds::default());
        if self.rounds > 0 {
            for engine in &mut engines {
                // The first photos fill caches; they do not count.
                engine.ask(&Order::Checks(4 * self.workers))?;
            }
        }
        for _ in 0..self.rounds {
            for engine in &mut engines {
                let checks = engine.per_second(&Order::Checks(self.checks))?;
                let bursts = engine.per_second(&Order::Bursts(self.checks.div_ceil(2)))?;
                let networks = engine.per_second(&Order::Networks(self.checks))?;
                engine.checks.0.push(checks);
                engine.bursts.0.push(bursts);
                engine.networks.0.push(networks);
            }
            if !self.alone {
                opencv.0.push(self.opencv(0)?);
                opencv_small.0.push(self.opencv(DETECTOR_SIDE_PX)?);
            }
        }
        let mut seen = Vec::new();
        if self.faces_every > 0 {
            let mut measure = None;
            for engine in &mut engines {
                let faces = engine.faces(&self)?;
                let measure = measure.get_or_insert_with(|| described(&faces));
                seen.push(Seen::of(measure, &described(&faces)));
            }
        }
        self.report(&Table { engines, absent, seen, opencv: opencv.median(), opencv_small: opencv_small.median() })?;
        Ok(ExitCode::SUCCESS)
    }

    fn report(&self, table: &Table) -> anyhow::Result<()> {
        let rows = table.rows();
        if self.json {
            let absent: Vec<Value> =
                table.absent.iter().map(|(engine, why)| json!({"engine": engine, "why": why})).collect();
            let all = json!({
                "workers": self.workers, "rounds": self.rounds, "engines": rows, "absent": absent,
                "opencv_per_s": table.opencv, "opencv_small_per_s": table.opencv_small,
            });
            return crate::cli::say(format_args!("{all:#}"));
        }
        if self.rounds > 0 {
            println!("whole photo checks per second, {} workers, median of {} rounds", self.workers, self.rounds);
            println!(
                "{:<22}{:>9}{:>10}{:>9}{:>10}{:>10}{:>14}{:>8}{:>10}",
                "", "photos/s", "bursts/s", "photos", "× OpenCV", "× small", "networks only", "share", "start ms"
            );
            for row in &rows {
                let number = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
                println!(
                    "{:<22}{:>9.1}{:>10.1}{:>9.2}{:>10.2}{:>10.2}{:>14.1}{:>8.2}{:>10.0}",
                    row["engine"].as_str().unwrap_or_default(),
                    number("photos_per_s"),
                    number("bursts_per_s"),
                    number("photos_a_burst"),
                    number("times_opencv"),
                    number("times_opencv_small"),
                    number("networks_per_s"),
                    number("share"),
                    number("start_ms"),
                );
            }
            if !self.alone {
                println!("{:<22}{:>9.1}", "OpenCV from Python", table.opencv);
                println!(
                    "{:<22}{:>9.1}   (× small: detecting as small as invigil)",
                    "OpenCV, small", table.opencv_small
                );
            }
        }
        for (row, seen) in rows.iter().zip(&table.seen) {
            println!("{}: {seen}", row["engine"].as_str().unwrap_or_default());
        }
        for (engine, why) in &table.absent {
            println!("{engine} does not run here: {why}");
        }
        Ok(())
    }

    fn opencv(&self, detector_side_px: usize) -> anyhow::Result<f64> {
        let people = People::embedded();
        let person = people.person(PERSON).context("models/people.json lacks the person of the benchmark")?;
        let python = self.python.clone().unwrap_or_else(|| self.models.join(".venv-bench/bin/python"));
        let order = json!({
            "detector": self.models.join("opencv/yunet.onnx"),
            "recogniser": self.models.join("opencv/sface.onnx"),
            "enrol": person.enrol_path(&self.models),
            "photos": person.frame_paths(&self.models),
            "checks": self.checks,
            "processes": self.workers,
            "detector_side_px": detector_side_px,
        });
        let answer = python_answer(&python, &order).context("OpenCV from Python; run `make bench-opencv`")?;
        if answer["matched"] != self.checks {
            bail!("OpenCV matched {} of {} photos", answer["matched"], self.checks);
        }
        answer["photos_per_s"].as_f64().context("no figure from OpenCV")
    }
}

struct Table {
    engines: Vec<Engine>,
    absent: Vec<(String, String)>,
    seen: Vec<Seen>,
    opencv: f64,
    opencv_small: f64,
}

impl Table {
    fn rows(&self) -> Vec<Value> {
        let row = |(index, engine): (usize, &Engine)| {
            let [photos, bursts, networks] = [&engine.checks, &engine.bursts, &engine.networks].map(Rounds::median);
            json!({
                "engine": format!("{} {}", engine.ready.provider, engine.ready.precision),
                "running": engine.ready.running,
                "photos_per_s": photos,
                "bursts_per_s": bursts,
                "photos_a_burst": photos / bursts,
                "times_opencv": photos / self.opencv,
                "times_opencv_small": photos / self.opencv_small,
                "networks_per_s": networks,
                "share": photos / networks,
                "start_ms": engine.ready.start_ms,
                "faces": self.seen.get(index).map(Seen::as_json),
            })
        };
        self.engines.iter().enumerate().map(row).collect()
    }
}

/// A face, described; none: it cannot be enrolled.
struct Described {
    person: String,
    photo: String,
    enrolled: bool,
    template: Option<Template>,
}

fn described(faces: &[Face]) -> Vec<Described> {
    let template = |face: &Face| {
        let bytes = face.template.as_ref().ok().and_then(|template| hex::decode(template).ok());
        bytes.and_then(|bytes| Template::from_bytes(&bytes).ok())
    };
    let described = faces.iter().map(|face| Described {
        person: face.person.clone(),
        photo: face.photo.clone(),
        enrolled: face.enrolled,
        template: template(face),
    });
    described.collect()
}

/// How one provider sees the faces, beside the one that is the measure.
struct Seen {
    photos: usize,
    /// photos that only one of the two can enrol
    other_photos: Vec<String>,
    /// between the two descriptions of one photo
    cosine_least: f32,
    cosine_mean: f32,
    decisions: usize,
    /// decisions that the other one takes differently
    other_decisions: Vec<String>,
    /// likeness above the threshold, of photos of the enrolled person: the least
    genuine_margin: f32,
    /// likeness below the threshold, of others: the least
    impostor_margin: f32,
}

impl Seen {
    fn of(measure: &[Described], faces: &[Described]) -> Self {
        let manifest = Manifest::embedded();
        let mut seen = Self {
            photos: 0,
            other_photos: Vec::new(),
            cosine_least: 1.0,
            cosine_mean: 0.0,
            decisions: 0,
            other_decisions: Vec::new(),
            genuine_margin: f32::INFINITY,
            impostor_margin: f32::INFINITY,
        };
        // Each provider is asked about photos and enrolments of its own, as it would be on a server.
        let both: Vec<_> = measure.iter().zip(faces).collect();
        for (theirs, ours) in &both {
            let name = format!("{} {}", ours.person, ours.photo);
            let (Some(their_face), Some(face)) = (&theirs.template, &ours.template) else {
                seen.other_photos.extend((theirs.template.is_some() != ours.template.is_some()).then_some(name));
                continue;
            };
            seen.photos += 1;
            let cosine = their_face.cosine(face);
            seen.cosine_least = seen.cosine_least.min(cosine);
            seen.cosine_mean += cosine;
            for (their_enrolment, enrolment) in
                both.iter().filter(|(_, one)| one.enrolled && (one.photo != ours.photo || one.person != ours.person))
            {
                let (Some(their_enrolled), Some(enrolled)) = (&their_enrolment.template, &enrolment.template) else {
                    continue;
                };
                let (likely, threshold) = likeness(&manifest, face, enrolled);
                let (their_likely, their_threshold) = likeness(&manifest, their_face, their_enrolled);
                seen.decisions += 1;
                if (likely >= threshold) != (their_likely >= their_threshold) {
                    seen.other_decisions
                        .push(format!("{name} as {}: {likely:.4}, {their_likely:.4}", enrolment.person));
                }
                if enrolment.person == ours.person {
                    seen.genuine_margin = seen.genuine_margin.min(likely - threshold);
                } else {
                    seen.impostor_margin = seen.impostor_margin.min(threshold - likely);
                }
            }
        }
        seen.cosine_mean /= seen.photos.max(1) as f32;
        seen
    }

    fn as_json(&self) -> Value {
        json!({
            "photos": self.photos, "other_photos": self.other_photos,
            "cosine_least": self.cosine_least, "cosine_mean": self.cosine_mean,
            "decisions": self.decisions, "other_decisions": self.other_decisions,
            "genuine_margin": self.genuine_margin, "impostor_margin": self.impostor_margin,
        })
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { photos, cosine_least, cosine_mean, decisions, genuine_margin, impostor_margin, .. } = self;
        write!(
            formatter,
            "{photos} photos, cosine to the first at least {cosine_least:.4}, {cosine_mean:.5} on average; {decisions} \
             decisions, {} differ; margins {genuine_margin:.3} genuine, {impostor_margin:.3} impostor",
            self.other_decisions.len()
        )?;
        let others = self.other_decisions.iter().chain(&self.other_photos);
        others.take(20).try_for_each(|which| write!(formatter, "\n    {which}"))
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
