//! The demo from its first to its last moment: a server in a temporary folder, a stage, learners, a report.
//!
//! Everybody speaks with the server over sockets, as from outside. Only the sessions' clock is the demo's own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::Value;
use tokio::task::JoinSet;

use super::camera::{Camera, Movements};
use super::identity::{invented_id_number, invented_name};
use super::learners::{Learner, Seat, Shows, everybody};
use super::nodes::Nodes;
use super::people::{LIST, People, PeopleError};
use super::progress::{Progress, Seen};
use super::receiver::Receiver;
use super::report::{FindingReport, LearnerReport, Report, SessionReport};
use super::world::{OpenedSession, World, WorldError};
use crate::clock::{Clock, Entropy, Stopwatch};
use crate::config::{Config, Webhook};
use crate::lifecycle::{Server, ServerConfig, StartError};
use crate::risk::Code;
use crate::vision::Models;
use crate::vision::puppet::{Puppet, PuppetError};

/// The packs, with their names.
const POLICIES: [(&str, &str); 2] =
    [("demo", include_str!("policy.toml")), ("demo-close", include_str!("policy_close.toml"))];
/// How long the last webhooks may take, in real time: their first attempt is made at once.
const WEBHOOKS_WITHIN_MS: i64 = 10_000;

/// How long the last warnings may take on several nodes, in real time.
const FINDINGS_WITHIN_MS: i64 = 3_000;

/// Why the demo could not be held.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file could not be written, or a port not be had.
    #[error("{0}: {1}")]
    Io(&'static str, std::io::Error),
    /// What several nodes need could not be started, or what somebody shows not be rendered.
    #[error("{0}")]
    Engine(String),
    /// The people could not be read.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// The server does not start.
    #[error("the server does not start")]
    Start(#[from] StartError),
    /// Nobody can be made to move.
    #[error("nobody can be made to move")]
    Puppet(#[from] PuppetError),
    /// The stage could not be set.
    #[error("the stage could not be set")]
    World(#[from] WorldError),
}

/// How the demo is held.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// how much faster than life sessions run, 1 to 10
    pub speed: u32,
    /// where `make models` put the models and the people
    pub models_folder: PathBuf,
    /// nodes that share the sessions; 1: this process alone
    pub nodes: usize,
}

/// Who serves.
enum Site {
    /// this process
    Here(Box<Server>),
    /// processes of their own
    Nodes(Nodes),
}

/// How to sign in to the console.
#[derive(Debug)]
pub struct ConsoleAccess {
    /// where it is
    pub address: String,
    /// who may
    pub accounts: Vec<&'static str>,
    /// with what, all of them
    pub password: String,
}

/// A server with learners at its door.
pub struct Demo {
    site: Site,
    // Dropped last: the server writes into it.
    _folder: tempfile::TempDir,
    world: Arc<World>,
    receiver: Receiver,
    cast: Vec<(Learner, Seat)>,
    wall: Clock,
    speed: u32,
}

impl Site {
    fn public_url(&self) -> &str {
        match self {
            Self::Here(server) => &server.public_url,
            Self::Nodes(nodes) => nodes.public_url(),
        }
    }

    fn operator_key(&self) -> &str {
        match self {
            Self::Here(server) => &server.operator_key,
            Self::Nodes(nodes) => nodes.operator_key(),
        }
    }
}

impl Demo {
    /// Starts the server and sets the stage.
    ///
    /// # Errors
    /// When the server does not start, or the models or people are not there.
    pub async fn set_up(options: &DemoOptions) -> Result<Self, DemoError> {
        let (wall, entropy) = (Clock::system(), Entropy::system());
        let origin_ms = wall.now_ms();
        let clock = Clock::scaled_since(options.speed, origin_ms);
        let people = People::of(LIST, &options.models_folder.join("people"))?;
        let folder = tempfile::tempdir().map_err(|error| DemoError::Io("temporary folder", error))?;
        let mut policies = Vec::with_capacity(POLICIES.len());
        for (name, text) in POLICIES {
            let policy = folder.path().join(format!("{name}.toml"));
            std::fs::write(&policy, text).map_err(|error| DemoError::Io("policy", error))?;
            policies.push(policy);
        }
        let site = if options.nodes > 1 {
            Site::Nodes(Nodes::start(options.nodes, origin_ms, folder.path(), &policies, options).await?)
        } else {
            let config = config(&folder, policies, options);
            let (session_clock, real, random) = (clock.clone(), wall.clone(), entropy.clone());
            let server = Server::start(ServerConfig { config, clock: session_clock, wall: real, entropy: random });
            Site::Here(Box::new(server.await?))
        };
        let receiver = Receiver::start(wall.clone()).await.map_err(|error| DemoError::Io("webhook receiver", error))?;
        let world =
            World::set_up(site.public_url(), site.operator_key(), POLICIES.map(|(name, _)| name), &receiver).await?;
        let world = Arc::new(world);
        let models = Models::load(&options.models_folder).map_err(PuppetError::from)?;
        let mut cast = Vec::new();
        for (index, learner) in everybody().into_iter().enumerate() {
            let seat = seat(&world, (&people, &models), index, &learner, (&clock, &entropy)).await?;
            cast.push((learner, seat));
        }
        let speed = options.speed;
        Ok(Self { site, _folder: folder, world, receiver, cast, wall, speed })
    }

    /// Where the server listens: `http://host:port`.
    pub fn address(&self) -> &str {
        self.site.public_url()
    }

    /// The nodes, where there are several.
    pub fn nodes(&self) -> Option<&Nodes> {
        match &self.site {
            Site::Here(_) => None,
            Site::Nodes(nodes) => Some(nodes),
        }
    }

    /// Everybody, and what can be seen of them.
    pub fn learners(&self) -> Vec<(&'static str, Progress)> {
        self.cast.iter().map(|(learner, seat)| (learner.name, seat.progress.clone())).collect()
    }

    /// Lets everybody do what they came for; returns when the last has left and the webhooks are there.
    pub async fn perform(&self) -> Report {
        let stopwatch = Stopwatch::start();
        self.nodes().into_iter().for_each(Nodes::begin);
        let mut learners = JoinSet::new();
        for (learner, seat) in &self.cast {
            let (script, seat) = (learner.script, seat.clone());
            learners.spawn(async move {
                let progress = seat.progress.clone();
                // Over is how most sessions end; what it came to is in the verdict.
                let _ = script(seat).await;
                progress.leaves();
            });
        }
        while learners.join_next().await.is_some() {}
        self.await_webhooks().await;
        let mut reports = Vec::with_capacity(self.cast.len());
        for (learner, seat) in &self.cast {
            reports.push(self.report(learner, &seat.progress.seen()).await);
        }
        let findings = self.findings().await;
        self.suspect_no_honest_one(&findings, &mut reports);
        let webhooks = self.receiver.counts();
        let as_deserved =
            reports.iter().all(|report| report.problems.is_empty()) && webhooks.received == webhooks.verified;
        let elapsed_s = stopwatch.elapsed().as_secs_f64();
        let nodes = self.nodes().map(Nodes::happened).unwrap_or_default();
        Report { speed: self.speed, elapsed_s, learners: reports, webhooks, findings, nodes, as_deserved }
    }

    /// Lets people sign in to the console.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open_console(&self) -> Result<ConsoleAccess, DemoError> {
        let password = BASE64.encode(Entropy::system().bytes::<12>());
        let accounts = self.world.accounts(&password).await?;
        Ok(ConsoleAccess { address: format!("{}/console/", self.address()), accounts, password })
    }

    /// Stops the server.
    pub async fn stop(self) {
        match self.site {
            Site::Here(server) => server.stop().await,
            Site::Nodes(nodes) => nodes.stop().await,
        }
    }

    async fn await_webhooks(&self) {
        let sessions: Vec<OpenedSession> =
            self.cast.iter().flat_map(|(_, seat)| seat.progress.seen().sessions).collect();
        let deadline_ms = self.wall.now_ms() + WEBHOOKS_WITHIN_MS;
        while self.wall.now_ms() < deadline_ms
            && !sessions.iter().all(|session| self.receiver.verdict(&session.id).is_some())
        {
            self.wall.sleep_ms(50).await;
        }
    }

    async fn findings(&self) -> Vec<FindingReport> {
        match &self.site {
            Site::Here(server) => server.findings().settled().await,
            // They are on their way to whichever node detects: nobody here can say when the last has come.
            Site::Nodes(_) => self.wall.sleep_ms(FINDINGS_WITHIN_MS).await,
        }
        let findings = self.world.findings().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the warnings cannot be read");
            Vec::new()
        });
        let name = |id: &str| self.cast.iter().find(|(_, seat)| seat.learner == id).map(|(learner, _)| learner.name);
        findings.iter().map(|finding| FindingReport::of(finding, name)).collect()
    }

    /// No warning may name a learner whose sessions are valid. That faces are shared is so: six people play all learners.
    fn suspect_no_honest_one(&self, findings: &[FindingReport], reports: &mut [LearnerReport]) {
        for ((learner, _), report) in self.cast.iter().zip(reports) {
            let of_conduct = findings.iter().filter(|finding| finding.code != Code::FaceLearners.as_str());
            let suspected = of_conduct.filter(|finding| finding.learners.contains(&learner.name));
            if learner.deserves.status == "valid" {
                report.problems.extend(suspected.map(|finding| format!("is suspected: {}", finding.code)));
            }
        }
    }

    async fn report(&self, learner: &Learner, seen: &Seen) -> LearnerReport {
        let told: HashMap<&str, Value> = seen
            .closed
            .iter()
            .map(|(session, closed)| (session.as_str(), serde_json::from_str(closed.verdict.get()).unwrap_or_default()))
            .collect();
        let mut sessions = Vec::with_capacity(seen.sessions.len());
        for session in &seen.sessions {
            sessions.push(self.session_report(session, told.get(session.id.as_str())).await);
        }
        LearnerReport::of(learner, sessions, &seen.errors)
    }

    async fn session_report(&self, session: &OpenedSession, told: Option<&Value>) -> SessionReport {
        let verdict = self.world.verdict(session).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a verdict cannot be read");
            Value::Null
        });
        let log = self.world.log(session).await.unwrap_or_default();
        let mut report = SessionReport::of(&session.id, &verdict, &log);
        report.compare("to the learner", told, &verdict);
        report.compare("by webhook", self.receiver.verdict(&session.id).as_ref(), &verdict);
        report
    }
}

fn config(folder: &tempfile::TempDir, policies: Vec<PathBuf>, options: &DemoOptions) -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_folder: folder.path().join("data"),
        models_folder: options.models_folder.clone(),
        policies,
        // The receiver is on this machine.
        webhook: Webhook { allow_private_addresses: true, allow_http: true, ..Webhook::default() },
        ..Config::default()
    }
}

/// Makes a learner known everywhere where they are to learn, and gives them a camera.
async fn seat(
    world: &Arc<World>,
    (people, models): (&People, &Models),
    index: usize,
    learner: &Learner,
    (clock, entropy): (&Clock, &Entropy),
) -> Result<Seat, DemoError> {
    let sitters: Vec<&str> = everybody().iter().map(|other| other.sitter).collect();
    let same_face = |sitters: &[&str]| sitters.iter().filter(|sitter| **sitter == learner.sitter).count();
    let film = match learner.shows {
        Shows::Themselves => people.film(learner.sitter, same_face(&sitters[..index]), same_face(&sitters))?,
        Shows::StoredPortrait => people.stored_portrait(learner.sitter)?,
    };
    let moving = film.last().filter(|_| learner.movements != Movements::Unasked);
    let puppet = moving.map(|photo| Puppet::of(photo, models)).transpose()?;
    let mut camera = Camera::of(film);
    if let Some(puppet) = puppet {
        let hears = learner.movements == Movements::Done;
        let moving = tokio::task::spawn_blocking(move || camera.with(puppet, hears)).await;
        camera = moving.map_err(|error| DemoError::Engine(error.to_string()))?;
    }
    let portrait = people.portrait(learner.portrait)?;
    let id_number = invented_id_number(index as u32);
    let mut id = String::new();
    for place in learner.places {
        id = world.enrol(*place, (&invented_name(index), &id_number), &portrait, learner.prior_online_ms).await?;
    }
    Ok(Seat {
        world: world.clone(),
        learner: id,
        camera,
        clock: clock.clone(),
        entropy: entropy.clone(),
        progress: Progress::default(),
    })
}
