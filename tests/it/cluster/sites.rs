//! Nodes in this process: each with a runtime of its own, so that it can die in the middle of everything, and all on one
//! embedded store, whose epochs keep them apart as those of any store do.

use std::net::SocketAddr;
use std::sync::Arc;

use invigil::actor::{Registry, Services};
use invigil::api::doors::{OpenSession, SessionDoor as _};
use invigil::auth::api_key::ApiKey;
use invigil::auth::keys::{DataKey, Keys};
use invigil::auth::token::LearnerToken;
use invigil::clock::{Clock, Entropy};
use invigil::cluster::clocks::ClockCheck;
use invigil::cluster::redis::{Bus, Node, SharedPresence};
use invigil::cluster::{Cluster, Member, Presence};
use invigil::config::{Config, Roles};
use invigil::faces::Faces;
use invigil::findings;
use invigil::gateway::rates::Rates;
use invigil::gateway::{self, Gateway};
use invigil::policy::{Policies, Policy};
use invigil::store::Store;
use invigil::store::enrolled_photos::seal_template;
use invigil::store::evidence::Evidence;
use invigil::store::populate::{CALM_PACK, Pupil, School};
use invigil::telemetry::Telemetry;
use invigil::vision::{Asker, Turn, Urgency, VisionConfig, VisionPool, Wanted};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

use super::{SHORT, connect};
use crate::harness::servers::redis::RedisServer;
use crate::harness::{Opened, START_MS, frame, models};

/// What all nodes share.
pub struct Ground {
    folder: tempfile::TempDir,
    pub store: Store,
    keys: Arc<Keys>,
    /// the clock of sessions, which the test moves
    pub clock: Clock,
}

/// One node.
pub struct Site {
    pub registry: Registry,
    services: Arc<Services>,
    address: SocketAddr,
    /// none once it is dead
    runtime: Option<Runtime>,
}

/// A Redis, what nodes share, and so many nodes.
pub async fn installation<const N: usize>(learners: usize) -> (RedisServer, Ground, [Site; N]) {
    let server = RedisServer::start();
    let (ground, sites) = installation_at(&server.url(), learners).await;
    (server, ground, sites)
}

/// The same over a Redis that is there.
pub async fn installation_at<const N: usize>(redis: &str, learners: usize) -> (Ground, [Site; N]) {
    let ground = Ground::new(learners).await;
    let mut sites = Vec::new();
    for _ in 0..N {
        sites.push(ground.node(redis).await);
    }
    (ground, sites.try_into().unwrap_or_else(|_| panic!("as many as were asked for")))
}

impl Ground {
    /// With so many enrolled learners, `l0` and on, in two projects, `j1` and `j2`.
    pub async fn new(learners: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let entropy = Entropy::system();
        let keys = Keys::open_or_create(folder.path(), &entropy).unwrap();
        let vision = VisionPool::start(VisionConfig {
            models: models(),
            workers: 1,
            queue: 1,
            wanted: Wanted::CPU,
            ..VisionConfig::default()
        })
        .unwrap();
        let turn = Turn { urgency: Urgency::Later, deadline_ms: vision.deadline_ms(60_000), asker: Asker::Node };
        let template = vision.enrol(turn, frame("webcam_man", 1).into()).await.unwrap().to_bytes();
        let pupils = (0..learners).map(|number| {
            let (id, key) = (format!("l{number}"), DataKey::generate(&entropy));
            let template = seal_template(&key, &entropy, &id, 1, &template);
            Pupil { data_key: keys.wrap(&entropy, &id, &key), template, id }
        });
        let school = School {
            platform: "p1".into(),
            key: ApiKey::generate(&entropy).hash(),
            project: "j1".into(),
            lesson: "e1".into(),
            duration_ms: 3_600_000,
            policy: "calm".into(),
            pupils: pupils.collect(),
            now_ms: START_MS,
        };
        let store = Store::open(folder.path()).unwrap();
        store.populate(school).await.unwrap();
        let more = rusqlite::Connection::open(folder.path().join("invigil.sqlite")).unwrap();
        more.execute_batch(
            "INSERT INTO project (id, platform, name, total_hours, delivery, policy, approved, created_at)
                SELECT 'j2', platform, 'j2', total_hours, delivery, policy, approved, created_at FROM project;
             INSERT INTO lesson (id, project, position, title, duration_ms, kind, content_approved)
                SELECT 'e2', 'j2', 1, 'e2', duration_ms, kind, 1 FROM lesson;
             INSERT INTO enrolment (id, project, learner, created_at)
                SELECT id || '-2', 'j2', learner, created_at FROM enrolment;",
        )
        .unwrap();
        Self { folder, store, keys: Arc::new(keys), clock: Clock::manual(START_MS) }
    }

    /// A node that joins the others at `redis`.
    pub async fn node(&self, redis: &str) -> Site {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (redis, store, keys, clock) = (redis.to_owned(), self.store.clone(), self.keys.clone(), self.clock.clone());
        let evidence = Evidence::open(&self.folder.path().join("photos")).unwrap();
        let started = runtime.spawn(async move {
            let services = services(&redis, store, keys, clock, evidence).await;
            let registry = Registry::new(services.0.clone());
            tokio::spawn(registry.clone().tend(services.1));
            let address = serve(&services.0, &registry).await;
            (registry, services.0, address)
        });
        let (registry, services, address) = started.await.unwrap();
        Site { registry, services, address, runtime: Some(runtime) }
    }

    /// The log of a session.
    pub async fn log(&self, session: &str) -> String {
        let key = self.store.session_key(session).await.unwrap().unwrap();
        String::from_utf8(self.store.read_log(key).await.unwrap()).unwrap()
    }
}

async fn services(
    redis: &str,
    store: Store,
    keys: Arc<Keys>,
    clock: Clock,
    evidence: Evidence,
) -> (Arc<Services>, tokio::sync::mpsc::Receiver<invigil::cluster::redis::Received>) {
    let redis = connect(redis).await;
    let (entropy, wall) = (Entropy::system(), Clock::system());
    let id = entropy.id(wall.now_ms()).to_string();
    let node = Node::join(redis.clone(), id.clone(), SHORT).await.unwrap();
    let (bus, received) = Bus::start(redis.clone(), id);
    let pool = VisionPool::start(VisionConfig {
        models: models(),
        workers: 1,
        queue: 1,
        wanted: Wanted::CPU,
        ..VisionConfig::default()
    })
    .unwrap();
    let services = Services {
        store,
        evidence,
        keys,
        faces: Faces::here(Arc::new(pool), wall.clone()),
        recent_photos: Default::default(),
        presence: Presence::Redis(SharedPresence::new(redis)),
        cluster: Cluster::Member(Member { node, bus, clock: ClockCheck::default() }),
        roles: Roles::all(),
        findings: findings::channel().0,
        policies: Policies::new(vec![Policy::from_toml(CALM_PACK).unwrap()]).unwrap(),
        clock,
        wall,
        entropy,
        limits: Config::default().limits,
        deliver: Arc::new(Notify::new()),
        telemetry: Arc::new(Telemetry::new([])),
        source: "test".into(),
    };
    (Arc::new(services), received)
}

async fn serve(services: &Arc<Services>, registry: &Registry) -> SocketAddr {
    let rates = Rates::new(&services.limits, services.clock.clone(), services.telemetry.clone());
    let (stopping, stop_seen) = watch::channel(false);
    let gateway = Gateway::new(services.clone(), registry.clone(), 900_000, stop_seen, Arc::new(rates));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let _stopping = stopping;
        axum::serve(listener, gateway::router(gateway)).await
    });
    address
}

impl Site {
    /// Opens a session of a learner in `j1` or `j2`, as a platform does.
    pub async fn open(&self, learner: &str, project: &str) -> Opened {
        let request = OpenSession {
            platform: "p1".into(),
            learner: learner.into(),
            project: project.into(),
            lesson: project.replace('j', "e"),
            makeup: None,
        };
        let session = self.registry.open(request).await.unwrap().session;
        let token = LearnerToken::generate(&Entropy::system());
        let now_ms = Clock::system().now_ms();
        let issued = self.services.store.issue_token(&session, token.hash(), now_ms + 3_600_000, now_ms).await;
        assert!(issued.unwrap());
        Opened { session, token: token.expose().to_owned() }
    }

    /// Where its WebSocket is.
    pub fn url(&self) -> String {
        format!("ws://{}/v1/stream", self.address)
    }

    pub fn node(&self) -> &Node {
        &self.services.cluster.member().unwrap().node
    }

    pub fn clock_check(&self) -> &ClockCheck {
        &self.services.cluster.member().unwrap().clock
    }

    /// Returns once so many sessions live here.
    pub async fn lives(&self, sessions: usize) {
        let mut seen = self.node().seen();
        while self.registry.count() != sessions {
            // Looked at with every renewal: there is no other sign.
            seen.changed().await.unwrap();
        }
    }

    /// Dies at once, with all that it was doing.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}
