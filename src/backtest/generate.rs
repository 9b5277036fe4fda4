//! Recorded sessions by the million, to try a backtest on: honest and cheating learners, in chains over projects and
//! lessons, opened with the facts that the live server would have given them.
//!
//! Each log is folded as it is made, and its verdict shapes what the learner does next, so that the chains are such as a
//! server under that policy would have left. They are no measure of how people learn or cheat: the shares are invented.
//! The sessions of many learners alternate in the files, as they would in an archive.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rngs::ChaCha12Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::Progress;
use crate::log::write::{client_line, server_line};
use crate::log::{
    CaptureReason, CaptureRequested, Carried, ClockReading, CloseReason, Delivery, EventType, FaceChecked, FaceOutcome,
    Facts, LessonKind, PlatformStatus, PromptIssued, PromptOutcome, PromptResolved, SessionClosed, SessionOpened,
    parse_line,
};
use crate::policy::Policy;
use crate::rules::online_quota::quota_ms;
use crate::session::Session;
use crate::verdict::{History, Verdict};

/// The fewest events that make a whole session.
pub const MIN_EVENTS: u64 = 20;
/// The first session is opened then, ms since the epoch.
const START_MS: i64 = 1_750_000_000_000;
const HEARTBEAT_MS: i64 = 15_000;
/// Events of a session besides heartbeats and prompts.
const FIXED_EVENTS: u64 = 10;
/// A prompt, with its answer, to so many heartbeats.
const BEATS_A_PROMPT: u64 = 8;
/// Learners who are at it at the same time.
const LEARNERS_AT_ONCE: u64 = 2_000;
const PLATFORMS: usize = 12;
const PROJECTS: usize = 120;
/// Sessions that a learner spends on a project at most, for each of its lessons.
const PATIENCE: usize = 6;
const HOUR_MS: i64 = 3_600_000;

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// how many sessions
    pub sessions: u64,
    /// events of each session, at least [`MIN_EVENTS`]
    pub events: u64,
    /// the same seed makes the same sessions
    pub seed: u64,
    /// sessions that share a file
    pub sessions_per_file: u64,
    /// by what the sessions are judged live
    pub policy: Arc<Policy>,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Too few events for a session.
    #[error("a session takes at least {MIN_EVENTS} events")]
    TooFewEvents,
    /// There are logs in the folder already.
    #[error("{}: there are *.jsonl here already", .0.display())]
    NotEmpty(PathBuf),
    /// A file could not be written.
    #[error("{}: {error}", path.display())]
    File {
        /// which
        path: PathBuf,
        /// what the system says
        error: io::Error,
    },
}

/// Makes sessions, and tells of each with its log and its verdict when it is closed.
///
/// # Errors
/// What `each` returns, which ends it.
pub fn simulate<E>(plan: &Plan, mut each: impl FnMut(&str, &Verdict) -> Result<(), E>) -> Result<(), E> {
    let mut world = World::new(plan);
    let at_once = LEARNERS_AT_ONCE.min(plan.sessions / 10 + 1);
    let mut pupils: Vec<Pupil> = Vec::new();
    let mut due = BinaryHeap::new();
    for number in 0..at_once as usize {
        pupils.push(world.pupil(START_MS));
        due.push(Reverse((pupils[number].next_at, number)));
    }
    for _ in 0..plan.sessions {
        let Some(Reverse((at, number))) = due.pop() else { break };
        let (log, verdict) = world.session(&mut pupils[number], at);
        each(&log, &verdict)?;
        if world.is_done(&pupils[number]) {
            pupils[number] = world.follower(&pupils[number]);
        }
        due.push(Reverse((pupils[number].next_at, number)));
    }
    Ok(())
}

/// Writes sessions into files of `folder`.
///
/// # Errors
/// When the plan makes no sense, the folder holds logs already, or a file cannot be written.
pub fn generate(plan: &Plan, folder: &Path, progress: &dyn Progress) -> Result<(), GenerateError> {
    if plan.events < MIN_EVENTS {
        return Err(GenerateError::TooFewEvents);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| GenerateError::File { path, error }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    if super::logs_at(folder).is_ok() {
        return Err(GenerateError::NotEmpty(folder.to_owned()));
    }
    let (mut out, mut path, mut written): (Option<BufWriter<File>>, _, u64) = (None, folder.to_owned(), 0);
    simulate(plan, |log, _| {
        if written.is_multiple_of(plan.sessions_per_file.max(1)) {
            out.take().map_or(Ok(()), |mut full| full.flush()).map_err(failed(&path))?;
            path = folder.join(format!("sessions-{:06}.jsonl", written / plan.sessions_per_file.max(1) + 1));
            out = Some(BufWriter::with_capacity(1 << 20, File::create(&path).map_err(failed(&path))?));
        }
        written += 1;
        if written.is_multiple_of(256) {
            progress.judged(256);
        }
        out.as_mut().map_or(Ok(()), |out| out.write_all(log.as_bytes())).map_err(failed(&path))
    })?;
    out.map_or(Ok(()), |mut out| out.flush()).map_err(failed(&path))
}

struct Project {
    id: String,
    platform: String,
    delivery: Delivery,
    total_hours: i64,
    lessons: Vec<Lesson>,
    /// by position
    names: Vec<String>,
}

struct Lesson {
    duration_ms: i64,
    approved: bool,
}

/// What a learner does when not learning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Looks elsewhere, for less than is forbidden.
    Absentminded,
    Seeks,
    Speeds,
    Ignores,
    Stranger,
    Hides,
    Distracted,
    Meddles,
    /// Takes lessons in any order.
    Skips,
    /// Goes on when the quota is spent.
    Overruns,
}

/// In hundredths.
const MANNERS: [(Manner, u32); 11] = [
    (Manner::Honest, 62),
    (Manner::Absentminded, 12),
    (Manner::Seeks, 4),
    (Manner::Speeds, 3),
    (Manner::Ignores, 4),
    (Manner::Stranger, 4),
    (Manner::Hides, 3),
    (Manner::Distracted, 2),
    (Manner::Meddles, 1),
    (Manner::Skips, 2),
    (Manner::Overruns, 3),
];

/// A learner in a project.
struct Pupil {
    id: String,
    manner: Manner,
    project: usize,
    /// the projects of this learner so far; nobody takes one again
    been: Vec<usize>,
    history: History,
    completed: Vec<bool>,
    sessions: usize,
    next_at: i64,
    spent: bool,
}

struct World<'a> {
    plan: &'a Plan,
    random: ChaCha12Rng,
    projects: Vec<Project>,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut random = ChaCha12Rng::seed_from_u64(plan.seed);
        let platforms: Vec<String> = (0..PLATFORMS).map(|_| id(&mut random)).collect();
        let projects = (0..PROJECTS).map(|_| project(&mut random, &platforms)).collect();
        Self { plan, random, projects }
    }

    fn pupil(&mut self, from_at: i64) -> Pupil {
        let mut share = self.random.random_range(0..100);
        let manner = MANNERS.iter().find(|(_, weight)| {
            let found = share < *weight;
            share = share.saturating_sub(*weight);
            found
        });
        let manner = manner.map_or(Manner::Honest, |(manner, _)| *manner);
        let id = id(&mut self.random);
        let project = self.random.random_range(0..self.projects.len());
        let next_at = from_at + self.random.random_range(0..72 * HOUR_MS);
        let completed = vec![false; self.projects[project].lessons.len()];
        let (been, history) = (vec![project], History::new(0));
        Pupil { id, manner, project, been, history, completed, sessions: 0, next_at, spent: false }
    }

    /// Who sits down where another one got up: sometimes the same person, in another project.
    fn follower(&mut self, pupil: &Pupil) -> Pupil {
        let mut next = self.pupil(pupil.next_at);
        if self.random.random_bool(0.3) && !pupil.been.contains(&next.project) {
            (next.id, next.manner) = (pupil.id.clone(), pupil.manner);
            next.been.extend(&pupil.been);
        }
        next
    }

    fn is_done(&self, pupil: &Pupil) -> bool {
        let patience = PATIENCE * pupil.completed.len();
        pupil.spent || pupil.sessions >= patience || pupil.completed.iter().all(|completed| *completed)
    }

    fn session(&mut self, pupil: &mut Pupil, at: i64) -> (String, Verdict) {
        let project = &self.projects[pupil.project];
        let open: Vec<usize> = (0..project.lessons.len()).filter(|lesson| !pupil.completed[*lesson]).collect();
        let lesson = match pupil.manner {
            Manner::Skips => open[self.random.random_range(0..open.len())],
            _ => open[0],
        };
        let opened = opened(&mut self.random, project, pupil, lesson, &self.plan.policy);
        let cheats = pupil.manner != Manner::Honest && self.random.random_bool(0.4);
        let manner = if cheats { pupil.manner } else { Manner::Honest };
        let mut script = Script::new(&self.plan.policy, at, &mut self.random);
        script.play(opened, manner, self.plan.events);
        let Script { text, session, at_ms, .. } = script;
        let verdict = session.verdict(String::new());
        pupil.history.add(&project.names[lesson], &verdict);
        pupil.completed[lesson] |= pupil.history.completed([&project.names[lesson]]);
        pupil.sessions += 1;
        pupil.next_at = at_ms + self.random.random_range(60_000..40 * HOUR_MS);
        if pupil.manner != Manner::Overruns && project.delivery == Delivery::Blended {
            let next =
                pupil.history.facts("", [], session.opened().map(|opened| opened.facts.clone()).unwrap_or_else(facts));
            pupil.spent = next.online_used_ms >= quota_ms(&next, &self.plan.policy.parameters);
        }
        (text, verdict)
    }
}

fn id(random: &mut ChaCha12Rng) -> String {
    uuid::Uuid::from_u128(random.random()).to_string()
}

fn project(random: &mut ChaCha12Rng, platforms: &[String]) -> Project {
    let lessons: Vec<Lesson> = (0..random.random_range(3..9))
        .map(|_| Lesson { duration_ms: random.random_range(8..20) * 60_000, approved: random.random_bool(0.98) })
        .collect();
    let minutes = lessons.iter().map(|lesson| lesson.duration_ms).sum::<i64>() / 60_000;
    Project {
        id: id(random),
        platform: platforms[random.random_range(0..platforms.len())].clone(),
        delivery: if random.random_bool(0.8) { Delivery::Blended } else { Delivery::OnlineOnly },
        // Some plan more than they may teach online: 40 % of 40 minutes an hour is 16.
        total_hours: minutes / 16 + random.random_range(-1..6),
        names: lessons.iter().map(|_| id(random)).collect(),
        lessons,
    }
}

/// The facts of an opening that breaks no rule.
fn facts() -> Facts {
    Facts {
        platform_status: PlatformStatus::Active,
        project_approved: true,
        content_approved: true,
        prior_lessons_complete: true,
        lesson_kind: LessonKind::Theory,
        delivery: Delivery::Blended,
        total_hours: 40,
        online_used_ms: 0,
        covered_before: Vec::new(),
        furthest_before_ms: None,
        carried: Carried::default(),
    }
}

fn opened(random: &mut ChaCha12Rng, project: &Project, pupil: &Pupil, lesson: usize, policy: &Policy) -> SessionOpened {
    let rest = Facts {
        content_approved: project.lessons[lesson].approved,
        delivery: project.delivery,
        total_hours: project.total_hours,
        ..facts()
    };
    SessionOpened {
        session: id(random),
        platform: project.platform.clone(),
        learner: pupil.id.clone(),
        project: project.id.clone(),
        lesson: project.names[lesson].clone(),
        policy: policy.label(),
        duration_ms: project.lessons[lesson].duration_ms,
        facts: pupil.history.facts(&project.names[lesson], &project.names[..lesson], rest),
    }
}

/// A log as it is written, and folded.
struct Script<'a> {
    text: String,
    session: Session,
    random: &'a mut ChaCha12Rng,
    at_ms: i64,
    /// the client's clock is behind the server's by this
    ct_offset_ms: i64,
    n: u64,
    seq: u64,
    pos_ms: i64,
    duration_ms: i64,
}

impl<'a> Script<'a> {
    fn new(policy: &Arc<Policy>, at_ms: i64, random: &'a mut ChaCha12Rng) -> Self {
        let ct_offset_ms = at_ms - random.random_range(1_000..1_000_000);
        let session = Session::new(policy.clone());
        let (text, n, seq, pos_ms, duration_ms) = (String::with_capacity(8_192), 0, 0, 0, 0);
        Self { text, session, random, at_ms, ct_offset_ms, n, seq, pos_ms, duration_ms }
    }

    fn play(&mut self, opened: SessionOpened, manner: Manner, events: u64) {
        self.pos_ms = opened.facts.furthest_before_ms.unwrap_or(0).min(opened.duration_ms);
        self.duration_ms = opened.duration_ms;
        self.server(EventType::SessionOpened, &opened);
        let ct = self.at_ms - self.ct_offset_ms;
        self.server(EventType::ConnectionOpened, &ClockReading { ct });
        self.server(EventType::ClockSynced, &ClockReading { ct });
        self.page(true, true, false);
        self.playback("play", true);
        let prompts = ((events - FIXED_EVENTS) / (BEATS_A_PROMPT + 3)).max(1);
        let beats = events - FIXED_EVENTS - 3 * prompts;
        for beat in 0..beats {
            self.pass(if manner == Manner::Speeds { 2 } else { 1 });
            self.beat(manner, beat, beats);
            if beat == 0 {
                self.capture(manner);
            }
            // In the middle of each share of the heartbeats.
            if (0..prompts).any(|prompt| beat == (2 * prompt + 1) * beats / (2 * prompts)) {
                self.prompt(manner);
            }
        }
        self.playback("pause", false);
        let reason = if self.pos_ms == self.duration_ms { CloseReason::Completed } else { CloseReason::Left };
        self.server(EventType::SessionClosed, &SessionClosed { reason });
    }

    /// Time goes by, and the film goes on.
    fn pass(&mut self, speed: i64) {
        self.at_ms += HEARTBEAT_MS + self.random.random_range(-40..40);
        let run_ms = HEARTBEAT_MS * speed;
        self.pos_ms = (self.pos_ms + run_ms).min(self.duration_ms);
    }

    /// A heartbeat, or what this learner does instead.
    fn beat(&mut self, manner: Manner, beat: u64, beats: u64) {
        let playing = self.pos_ms < self.duration_ms;
        let (away, back) = (beats / 3, beats / 3 + if manner == Manner::Absentminded { 3 } else { 6 });
        match manner {
            Manner::Seeks if beat == beats / 2 => self.seek(240_000),
            Manner::Meddles if beat == away => self.client("tamper", r#"{"what":"playback_rate_overridden"}"#),
            Manner::Hides if beat == away => self.page(false, false, playing),
            Manner::Distracted | Manner::Absentminded if beat == away => self.page(true, false, playing),
            Manner::Hides | Manner::Distracted | Manner::Absentminded if beat == back => self.page(true, true, playing),
            _ => {
                let (pos_ms, rate) = (self.pos_ms, if manner == Manner::Speeds { "2.0" } else { "1.0" });
                self.client("heartbeat", &format!(r#"{{"playing":{playing},"pos_ms":{pos_ms},"rate":{rate}}}"#));
            }
        }
    }

    fn seek(&mut self, by_ms: i64) {
        let from_ms = self.pos_ms;
        self.pos_ms = (self.pos_ms + by_ms).min(self.duration_ms);
        let pos_ms = self.pos_ms;
        let data = format!(r#"{{"event":"seek","playing":true,"pos_ms":{pos_ms},"rate":1.0,"from_ms":{from_ms}}}"#);
        self.client("playback", &data);
    }

    fn page(&mut self, visible: bool, focused: bool, playing: bool) {
        let pos_ms = self.pos_ms;
        let state = format!(r#""playing":{playing},"pos_ms":{pos_ms},"rate":1.0"#);
        self.client("page", &format!(r#"{{"visible":{visible},"focused":{focused},{state}}}"#));
    }

    fn playback(&mut self, event: &str, playing: bool) {
        let pos_ms = self.pos_ms;
        let data = format!(r#"{{"event":"{event}","playing":{playing},"pos_ms":{pos_ms},"rate":1.0}}"#);
        self.client("playback", &data);
    }

    fn capture(&mut self, manner: Manner) {
        let deadline_at = self.at_ms + 20_000;
        let requested = CaptureRequested {
            capture: "c1".into(),
            reason: CaptureReason::Start,
            deadline_at,
            frames: 3,
            challenge: None,
        };
        self.server(EventType::CaptureRequested, &requested);
        let sha256 = hex::encode(self.random.random::<[u8; 32]>());
        self.client("capture.submitted", &format!(r#"{{"capture":"c1","sha256":"{sha256}"}}"#));
        let stranger = manner == Manner::Stranger;
        let outcome = if stranger { FaceOutcome::Mismatch } else { FaceOutcome::Match };
        let similarity = self.random.random_range(0..300) + if stranger { 20 } else { 500 };
        let mut extra = serde_json::Map::new();
        extra.insert("similarity".to_owned(), (f64::from(similarity) / 1_000.0).into());
        extra.insert("threshold".to_owned(), 0.42.into());
        let passive_milli = Some(self.random.random_range(0..=600));
        let checked = FaceChecked { capture: "c1".into(), outcome, photo: Some(sha256.into()), passive_milli, extra };
        self.server(EventType::FaceChecked, &checked);
    }

    fn prompt(&mut self, manner: Manner) {
        let prompt = format!("q{}", self.n);
        let deadline_at = self.at_ms + 30_000;
        let issued = PromptIssued { prompt: prompt.as_str().into(), kind: "choice".into(), deadline_at };
        self.server(EventType::PromptIssued, &issued);
        let (answer, outcome) = match manner {
            Manner::Ignores => ("wrong", PromptOutcome::Failed),
            _ => ("right", PromptOutcome::Passed),
        };
        self.client("prompt.answered", &format!(r#"{{"prompt":"{prompt}","answer":"{answer}"}}"#));
        self.server(EventType::PromptResolved, &PromptResolved { prompt: prompt.as_str().into(), outcome });
    }

    fn server(&mut self, event_type: EventType, data: &impl serde::Serialize) {
        self.n += 1;
        self.enter(&server_line(self.n, self.at_ms, event_type, data));
    }

    fn client(&mut self, type_name: &str, data: &str) {
        self.n += 1;
        self.seq += 1;
        let ct = self.at_ms - self.ct_offset_ms;
        self.enter(&client_line(self.n, self.at_ms, self.seq, ct, type_name, data));
    }

    /// As the live server does: what is written is what is folded.
    fn enter(&mut self, line: &str) {
        let event = parse_line(line.as_bytes()).expect("what the writers of lines compose can be read");
        self.session.apply(&event).expect("the script keeps the order of a log");
        self.text.push_str(line);
        self.text.push('\n');
    }
}
