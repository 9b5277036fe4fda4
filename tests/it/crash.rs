//! The real binary dies by SIGKILL at random moments under load, again and again, and nothing that it acknowledged is
//! lost: the promise on which every verdict rests.
//!
//! `CRASH_KILLS` says how often (20), `CRASH_SEED` repeats the moments of a run. What SIGKILL cannot show, whether data
//! is on disk and not only in the kernel's hands, is the subject of `durability`.

use std::net::SocketAddr;
use std::sync::Arc;

use invigil::clock::{Clock, Entropy};
use invigil::policy::Policy;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::harness::process::{Home, Process};
use crate::harness::pupil::{Camera, Kept, Pupil};
use crate::harness::{Api, Course, PEOPLE, QUICK, frame, replayed, text};

const KILLS: u64 = 20;
const HEARTBEAT_MS: i64 = 100;
const LESSON_MS: i64 = 600_000;
/// Learners who hold one session through all the crashes.
const FAITHFUL: usize = 6;
/// Learners who open one short session after the other.
const RESTLESS: usize = 4;
/// How long a server lives, ms: from the middle of its clients' return to some time in peace.
const LIFE_MS: [u64; 2] = [300, 3_500];
/// How long a session of the restless lasts, ms.
const SHORT_MS: [u64; 2] = [0, 1_500];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_after_crash_keeps_every_acknowledged_event_exactly_once() {
    let (kills, seed) = (number("CRASH_KILLS").unwrap_or(KILLS), number("CRASH_SEED").unwrap_or_else(any_seed));
    eprintln!("CRASH_KILLS={kills} CRASH_SEED={seed}");
    let home = Home::new(HEARTBEAT_MS);
    let mut server = Process::start(home.command(&[], None)).await.unwrap();
    let address = server.address;
    let (up, up_seen) = watch::channel(true);
    let (over, over_seen) = watch::channel(false);
    let class = Class::assemble(&home.operator(address).patient(up_seen), address).await;
    let learners = class.begin(seed, &over_seen);

    let mut complaints = Vec::new();
    let moments = Entropy::seeded(seed);
    for kill in 0..kills {
        Clock::system().sleep_ms(between(&moments, LIFE_MS)).await;
        // Every other time the moment is one at which a broken promise shows: somebody has just been told that an
        // event is safe.
        if kill % 2 == 0 {
            class.heard.notified().await;
        }
        up.send_replace(false);
        complaints.extend(server.kill());
        server = Process::start(home.command(&[], Some(address))).await.unwrap();
        up.send_replace(true);
    }
    over.send_replace(true);
    let mut kept = Vec::new();
    for learner in learners {
        kept.extend(learner.await.unwrap());
    }
    check_all(&class.course, &kept, &home.policy()).await;
    complaints.extend(server.kill());
    assert!(complaints.is_empty(), "the server complained: {complaints:#?}");
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is no number")))
}

pub(crate) fn any_seed() -> u64 {
    u64::from_le_bytes(Entropy::system().bytes()) % 1_000_000
}

pub(crate) fn between(entropy: &Entropy, [min_ms, max_ms]: [u64; 2]) -> i64 {
    (min_ms + u64::from_le_bytes(entropy.bytes()) % (max_ms - min_ms + 1)) as i64
}

// --- who learns ------------------------------------------------------------------------------------------------------

/// Everybody, and their course.
pub(crate) struct Class {
    pub(crate) course: Arc<Course>,
    url: String,
    learners: Vec<(String, Camera)>,
    /// hears of every acknowledgement
    heard: Arc<Notify>,
}

/// Where one learner opens sessions.
struct Seat {
    course: Arc<Course>,
    url: String,
    learner: String,
    camera: Camera,
    entropy: Entropy,
    heard: Arc<Notify>,
}

impl Class {
    /// `operator` reaches the server at `address`, whatever happens to it.
    pub(crate) async fn assemble(operator: &Api, address: SocketAddr) -> Self {
        let course = Arc::new(operator.course(&[LESSON_MS], QUICK).await);
        let mut learners = Vec::new();
        for (person, enrolled, frames) in PEOPLE.into_iter().cycle().take(FAITHFUL + RESTLESS) {
            let learner = course.learner(frame(person, enrolled)).await;
            learners.push((learner, Camera::new(person, frames)));
        }
        Self { course, url: format!("ws://{address}/v1/stream"), learners, heard: Arc::default() }
    }

    /// All learn until it is over.
    pub(crate) fn begin(&self, seed: u64, over: &watch::Receiver<bool>) -> Vec<JoinHandle<Vec<Kept>>> {
        let mut learning = Vec::new();
        for (index, (learner, camera)) in self.learners.iter().enumerate() {
            let seat = Seat {
                course: self.course.clone(),
                url: self.url.clone(),
                learner: learner.clone(),
                camera: camera.clone(),
                entropy: Entropy::seeded(seed.wrapping_add(1 + index as u64)),
                heard: self.heard.clone(),
            };
            let over = over.clone();
            learning.push(if index < FAITHFUL {
                tokio::spawn(async move { vec![seat.sit_down().await.stay(over).await] })
            } else {
                tokio::spawn(seat.come_and_go(over))
            });
        }
        learning
    }
}

impl Seat {
    async fn sit_down(&self) -> Pupil {
        let opened = self.course.open(&self.course.lessons[0], &self.learner).await;
        let (camera, entropy, heard) = (self.camera.clone(), self.entropy.clone(), self.heard.clone());
        Pupil::sit_down(&self.url, opened, camera, entropy, HEARTBEAT_MS, heard)
    }

    /// Opens and closes short sessions until it is over.
    async fn come_and_go(self, over: watch::Receiver<bool>) -> Vec<Kept> {
        let mut kept = Vec::new();
        while !*over.borrow() {
            let mut pupil = self.sit_down().await;
            pupil.watch(Clock::system().sleep_ms(between(&self.entropy, SHORT_MS))).await;
            kept.push(pupil.leave().await);
        }
        kept
    }
}

// --- what must be true afterwards ------------------------------------------------------------------------------------

/// Every session of the platform, also those whose opening nobody heard of, and what its learner knows of it. Returns all
/// of them.
pub(crate) async fn check_all(course: &Course, kept: &[Kept], policy: &Policy) -> Vec<String> {
    let mut sessions = Vec::new();
    let mut after = String::new();
    loop {
        let page = course.platform.get(&format!("/sessions?limit=200{after}")).await;
        sessions.extend(page["items"].as_array().unwrap().iter().map(|session| text(session, "id")));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let mut seen = Seen { sessions: sessions.len(), ..Seen::default() };
    for session in &sessions {
        let known = kept.iter().find(|kept| kept.session == *session);
        let log = check_one(course, session, known, policy).await;
        seen.count(&log, known);
    }
    assert!(kept.iter().all(|kept| sessions.contains(&kept.session)), "a session is lost");
    eprintln!("{seen:?}");
    assert!(seen.acknowledged > 0 && seen.matches > 0 && seen.passes > 0, "nothing was at stake: {seen:?}");
    sessions
}

/// Returns the session's log.
pub(crate) async fn check_one(course: &Course, session: &str, known: Option<&Kept>, policy: &Policy) -> Vec<Value> {
    let log = course.platform.text(&format!("/sessions/{session}/log")).await;
    let stored = course.platform.text(&format!("/sessions/{session}/verdict")).await;
    assert_eq!(stored, replayed(&log, policy.clone()), "{session}: the verdict is not that of its log");
    let verdict: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(verdict["status"], "valid", "{session}: {verdict}\n{log}");

    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = lines.iter().map(|line| line["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=lines.len() as u64).collect::<Vec<_>>(), "{session}: n has gaps");
    let events: Vec<&Value> = lines.iter().filter(|line| line["src"] == "client").collect();
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>(), "{session}: not every seq once and in order");
    if let Some(known) = known {
        let events: Vec<_> = events.iter().map(|event| (text(event, "type"), event["data"].clone())).collect();
        assert!(known.acknowledged <= events.len() as u64, "{session}: acknowledged {}", known.acknowledged);
        assert_eq!(events, known.sent, "{session}: what was sent is not what is in the log");
        assert!(known.verdict.as_ref().is_none_or(|told| *told == stored), "{session}: told another verdict");
    } else {
        assert!(events.is_empty(), "{session}: events of a session that nobody has heard of");
    }
    lines
}

/// What a run has met, so that a green one can be told from an empty one.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "for the eyes of who reads the run")]
struct Seen {
    sessions: usize,
    /// opened on disk, but the server died before it could say so
    unheard_of: usize,
    /// closed on disk, but the server died before it could tell the verdict
    verdict_not_told: usize,
    connections: usize,
    events: usize,
    acknowledged: u64,
    matches: usize,
    passes: usize,
}

impl Seen {
    fn count(&mut self, log: &[Value], known: Option<&Kept>) {
        let lines = |fits: &dyn Fn(&Value) -> bool| log.iter().filter(|line| fits(line)).count();
        self.unheard_of += usize::from(known.is_none());
        self.verdict_not_told += usize::from(known.is_some_and(|known| known.verdict.is_none()));
        self.connections += lines(&|line| line["type"] == "connection.opened");
        self.events += lines(&|line| line["src"] == "client");
        self.acknowledged += known.map_or(0, |known| known.acknowledged);
        self.matches += lines(&|line| line["type"] == "face.checked" && line["data"]["outcome"] == "match");
        self.passes += lines(&|line| line["type"] == "prompt.resolved" && line["data"]["outcome"] == "passed");
    }
}
