//! `invigil bench replay`: how much the fold costs beside reading the log at all.
//!
//! One log is written to a temporary file, and read in four ways in the same run, each from the file: parsed into plain
//! structs and thrown away, folded without a digest, digested without being parsed, and both. The best of several
//! rounds counts, since only disturbances make a round slower.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Deserialize;

use crate::clock::Stopwatch;
use crate::log::write::{client_line, server_line};
use crate::log::{
    CaptureReason, CaptureRequested, Carried, ClockReading, CloseReason, Delivery, Digest, EventType, FaceChecked,
    FaceOutcome, Facts, LessonKind, PlatformStatus, PromptIssued, PromptOutcome, PromptResolved, Reader, SessionClosed,
    SessionOpened,
};
use crate::policy::Policy;
use crate::session::Session;

const READ_BUFFER_BYTES: usize = 256 * 1024;
const HEARTBEAT_MS: i64 = 5_000;
/// Heartbeats between prompts: two and a half minutes.
const PROMPT_EVERY: u64 = 30;
/// Heartbeats between photos: ten minutes.
const PHOTO_EVERY: u64 = 120;

/// One way to read the log to its end.
type Way = fn(BufReader<&File>) -> anyhow::Result<()>;

/// Measures the replay of a log.
#[derive(Debug, clap::Args)]
pub struct ReplayBench {
    /// How many events the log has
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// How often each measurement is repeated
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Logs that are replayed at the same time, to compare with one; 0: one for each core
    #[arg(long, default_value_t = 0)]
    jobs: usize,
}

impl ReplayBench {
    /// Runs the benchmark and prints its figures.
    pub fn run(&self) -> ExitCode {
        match self.measure() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn measure(&self) -> anyhow::Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        let mut log = Log { out: BufWriter::new(&mut file), n: 0, seq: 0 };
        log.write(self.events)?;
        let (events, bytes) = (log.n, log.out.stream_position()?);
        drop(log);
        println!("{events} events, {:.1} bytes each", bytes as f64 / events as f64);

        let ways: [(&str, Way); 4] = [
            ("parse into plain structs", |source| parse(source).map(drop)),
            ("replay without digest", |source| replay(source, None)),
            ("digest alone", digest),
            ("replay with digest", |source| replay(source, Some(Digest::new()))),
        ];
        let mut best = [0.0_f64; 4];
        for _ in 0..self.rounds {
            for (slot, (_, way)) in best.iter_mut().zip(ways) {
                file.rewind()?;
                let watch = Stopwatch::start();
                way(BufReader::with_capacity(READ_BUFFER_BYTES, file.as_file()))?;
                *slot = slot.max(events as f64 / watch.elapsed().as_secs_f64());
            }
        }
        for ((name, _), rate) in ways.iter().zip(best) {
            println!(
                "{name:<26} {:>6.3} M events/s, {:>5.0} ns each, {:.2} of parsing",
                rate / 1e6,
                1e9 / rate,
                rate / best[0]
            );
        }
        self.scale(file.path(), events)
    }

    /// Sessions do not depend on each other, so a log a core should go as fast as one alone.
    fn scale(&self, path: &Path, events: u64) -> anyhow::Result<()> {
        let cores = std::thread::available_parallelism()?.get();
        let jobs = if self.jobs == 0 { cores } else { self.jobs };
        let mut best = [0.0_f64; 2];
        for _ in 0..self.rounds {
            // In turn, so that whatever else the machine does disturbs both.
            for (slot, jobs) in best.iter_mut().zip([1, jobs]) {
                let watch = Stopwatch::start();
                replay_at_once(path, jobs)?;
                *slot = slot.max(events as f64 * jobs as f64 / watch.elapsed().as_secs_f64());
            }
        }
        let [one, all] = best;
        println!("{jobs} logs at once on {cores} cores   {:>6.3} M events/s, {:.2} of one alone", all / 1e6, all / one);
        Ok(())
    }
}

fn replay_at_once(path: &Path, jobs: usize) -> anyhow::Result<()> {
    let job = || replay(BufReader::with_capacity(READ_BUFFER_BYTES, &File::open(path)?), None);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..jobs).map(|_| scope.spawn(job)).collect();
        running.into_iter().try_for_each(|job| job.join().map_err(|_| anyhow::anyhow!("a replay panicked"))?)
    })
}

/// What the fold is compared with: serde's derive, strings borrowed, every field that a client event has.
#[derive(Deserialize)]
struct PlainEvent<'a> {
    n: u64,
    at: i64,
    src: &'a str,
    seq: Option<u64>,
    ct: Option<i64>,
    r#type: &'a str,
    #[serde(borrow)]
    data: PlainData<'a>,
}

#[derive(Deserialize)]
struct PlainData<'a> {
    event: Option<&'a str>,
    playing: Option<bool>,
    pos_ms: Option<i64>,
    rate: Option<f64>,
    visible: Option<bool>,
    focused: Option<bool>,
    capture: Option<&'a str>,
    prompt: Option<&'a str>,
    outcome: Option<&'a str>,
}

/// Reads lines into plain structs and throws them away; says how many there were. What others are measured against.
pub(in crate::cli) fn parse(mut source: impl BufRead) -> anyhow::Result<u64> {
    let (mut line, mut count) = (Vec::new(), 0);
    while source.read_until(b'\n', &mut line)? > 0 {
        let PlainEvent { n, at, src, seq, ct, r#type, data } = serde_json::from_str(std::str::from_utf8(&line)?)?;
        let PlainData { event, playing, pos_ms, rate, visible, focused, capture, prompt, outcome } = data;
        std::hint::black_box((n, at, src, seq, ct, r#type));
        std::hint::black_box((event, playing, pos_ms, rate, visible, focused, capture, prompt, outcome));
        line.clear();
        count += 1;
    }
    Ok(count)
}

fn digest(mut source: BufReader<&File>) -> anyhow::Result<()> {
    let (mut line, mut digest) = (Vec::new(), Digest::new());
    while source.read_until(b'\n', &mut line)? > 0 {
        digest.line(line.strip_suffix(b"\n").unwrap_or(&line));
        line.clear();
    }
    std::hint::black_box(digest.finish());
    Ok(())
}

fn replay(source: BufReader<&File>, mut digest: Option<Digest>) -> anyhow::Result<()> {
    let mut reader = Reader::new(source);
    let mut session = Session::new(Arc::new(Policy::default()));
    while let Some(read) = reader.next()? {
        session.apply(&read.event)?;
        if let Some(digest) = &mut digest {
            digest.line(read.line);
        }
    }
    let verdict = session.verdict(digest.map_or_else(String::new, Digest::finish));
    anyhow::ensure!(verdict.violations_total == 0, "the honest learner of the benchmark was found at fault");
    std::hint::black_box(verdict);
    Ok(())
}

/// Writes the log of an honest learner with a very long lesson.
struct Log<W> {
    out: W,
    n: u64,
    seq: u64,
}

const OPENED_AT: i64 = 1_750_000_000_000;

impl<W: Write> Log<W> {
    fn write(&mut self, events: u64) -> io::Result<()> {
        self.server(0, EventType::SessionOpened, &opened(events))?;
        self.server(0, EventType::ConnectionOpened, &ClockReading { ct: 0 })?;
        self.server(0, EventType::ClockSynced, &ClockReading { ct: 0 })?;
        self.client(0, "page", r#"{"visible":true,"focused":true,"playing":false,"pos_ms":0,"rate":1.0}"#)?;
        self.client(0, "playback", r#"{"event":"play","playing":true,"pos_ms":0,"rate":1.0}"#)?;
        let (mut beat, mut at) = (0_u64, 0);
        while self.n + 1 < events {
            if beat.is_multiple_of(PHOTO_EVERY) {
                self.photo(at, &format!("c{beat}"))?;
            }
            if beat % PROMPT_EVERY == PROMPT_EVERY - 1 {
                self.prompt(at, &format!("q{beat}"))?;
            }
            beat += 1;
            at += HEARTBEAT_MS;
            self.client(at, "heartbeat", &format!(r#"{{"playing":true,"pos_ms":{at},"rate":1.0}}"#))?;
        }
        self.server(at, EventType::SessionClosed, &SessionClosed { reason: CloseReason::Completed })
    }

    fn photo(&mut self, at: i64, capture: &str) -> io::Result<()> {
        let sha256 = "057c6076194cd0707fd84628c8d79ac566156a41bd059c9e5a888b2fca4783db";
        let (reason, deadline_at) = (CaptureReason::Random, OPENED_AT + at + 20_000);
        let requested = CaptureRequested { capture: capture.into(), reason, deadline_at, frames: 3, challenge: None };
        self.server(at, EventType::CaptureRequested, &requested)?;
        self.client(at, "capture.submitted", &format!(r#"{{"capture":"{capture}","sha256":"{sha256}"}}"#))?;
        let photo = Some(sha256.into());
        let extra = serde_json::Map::new();
        let checked =
            FaceChecked { capture: capture.into(), outcome: FaceOutcome::Match, photo, passive_milli: None, extra };
        self.server(at, EventType::FaceChecked, &checked)
    }

    fn prompt(&mut self, at: i64, prompt: &str) -> io::Result<()> {
        let deadline_at = OPENED_AT + at + 30_000;
        let issued = PromptIssued { prompt: prompt.into(), kind: "confirm".into(), deadline_at };
        self.server(at, EventType::PromptIssued, &issued)?;
        self.client(at, "prompt.answered", &format!(r#"{{"prompt":"{prompt}","answer":"yes"}}"#))?;
        let resolved = PromptResolved { prompt: prompt.into(), outcome: PromptOutcome::Passed };
        self.server(at, EventType::PromptResolved, &resolved)
    }

    fn server(&mut self, at: i64, event_type: EventType, data: &impl serde::Serialize) -> io::Result<()> {
        self.n += 1;
        writeln!(self.out, "{}", server_line(self.n, OPENED_AT + at, event_type, data))
    }

    fn client(&mut self, at: i64, type_name: &str, data: &str) -> io::Result<()> {
        self.n += 1;
        self.seq += 1;
        writeln!(self.out, "{}", client_line(self.n, OPENED_AT + at, self.seq, at, type_name, data))
    }
}

fn opened(events: u64) -> SessionOpened {
    SessionOpened {
        session: "bench".to_owned(),
        platform: "p1".to_owned(),
        learner: "l1".to_owned(),
        project: "pr1".to_owned(),
        lesson: "le1".to_owned(),
        policy: "default".to_owned(),
        duration_ms: (events as i64).saturating_mul(HEARTBEAT_MS),
        facts: Facts {
            platform_status: PlatformStatus::Active,
            project_approved: true,
            content_approved: true,
            prior_lessons_complete: true,
            lesson_kind: LessonKind::Theory,
            delivery: Delivery::OnlineOnly,
            total_hours: 40,
            online_used_ms: 0,
            covered_before: Vec::new(),
            furthest_before_ms: None,
            carried: Carried::default(),
        },
    }
}
