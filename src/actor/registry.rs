//! Which sessions are live here, and how they begin.
//!
//! A session is live from its opening, or from the first that asks for it after a restart, until it is closed. One
//! task owns it; a second is never started while the first lives. What several nodes add to that is in `others`.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{RwLock, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::live::{Face, Live, Start};
use super::mailbox::{Handle, MAILBOX_LIMIT, Mail, Message, Parting};
use super::others::{Order, Taking};
use super::run::{Left, Seat};
use super::services::Services;
use crate::api::doors::{AskRefusal, CloseReason, CloseRefusal, OpenRefusal, OpenSession, OpenedSession, SessionDoor};
use crate::auth::keys::DataKey;
use crate::cluster::redis::Away;
use crate::gateway::bucket::{Bucket, Rate};
use crate::log::{self, Body};
use crate::policy::Policy;
use crate::rules::online_quota;
use crate::schedule::{Asked, Seed};
use crate::store::sessions::{NewSession, OpenError, PackInForce};
use crate::store::{AppendError, SessionKey, StoreError, Writing};
use crate::vision::Template;

/// When to come back to a server or a session that has too much to do, ms.
const RETRY_AFTER_MS: i64 = 2_000;
/// Sessions that may start at the same time, more or less.
const STARTING_LOCKS: usize = 64;
/// Sessions that are taken up at the same time although nobody asks for them.
const TAKEN_UP_AT_ONCE: usize = 8;

/// The live sessions of this process. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    services: Arc<Services>,
    live: Mutex<HashMap<String, Entry>>,
    /// read while a session starts; nothing starts any more once it says so
    stage: RwLock<Stage>,
    /// held while a session starts, so that it starts once; many share one, by their names
    starting: [tokio::sync::Mutex<()>; STARTING_LOCKS],
    /// sessions that are to be taken up again as soon as they can be
    waiting: Mutex<HashSet<String>>,
    /// whoever takes up many sessions leaves room for learners who ask for theirs
    taking_up: Semaphore,
}

struct Entry {
    handle: Handle,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    Stopping,
}

/// Why a session cannot be live here.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It has ended, or never was.
    #[error("the session has ended")]
    NotOpen,
    /// The server stops.
    #[error("the server is stopping")]
    Stopping,
    /// Another node, which lives, has it and does not let go of it.
    #[error("node {0} has it")]
    Elsewhere(String),
    /// This node may take no sessions now.
    #[error("this node takes no sessions now: its lease does not hold, or its clock is wrong")]
    NotNow,
    /// Whose it is cannot be found out.
    #[error(transparent)]
    Away(#[from] Away),
    /// What the session needs is missing or cannot be read.
    #[error("{what}: {why}")]
    Broken {
        /// what is missing
        what: &'static str,
        /// why
        why: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for StartError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NotOpen => Self::NotOpen,
            AppendError::Store(error) => Self::Store(error),
            other => Self::Broken { what: "journal", why: other.to_string() },
        }
    }
}

impl StartError {
    fn broken(what: &'static str) -> impl FnOnce(Box<dyn std::error::Error>) -> Self {
        move |why| Self::Broken { what, why: why.to_string() }
    }
}

impl Registry {
    /// No session is live yet.
    pub fn new(services: Arc<Services>) -> Self {
        Self(Arc::new(Inner {
            services,
            live: Mutex::default(),
            stage: RwLock::new(Stage::Serving),
            starting: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            waiting: Mutex::default(),
            taking_up: Semaphore::new(TAKEN_UP_AT_ONCE),
        }))
    }

    /// Takes up every session that was open when the server stopped, so that their times run on. One of several nodes
    /// takes up what nobody owns, in its own time: see [`Registry::tend`].
    ///
    /// # Errors
    /// When the store cannot be read. A session that cannot be taken up is logged and left as it is.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        if self.0.services.cluster.member().is_some() {
            return Ok(0);
        }
        let open = self.0.services.store.open_sessions().await?;
        let mut recovered = 0;
        for (key, session) in open {
            match self.live_as(&session, key, Taking::IfFree).await {
                Ok(_) => recovered += 1,
                Err(StartError::Store(error)) if error.is_passing() => {
                    tracing::warn!(session, %error, "an open session waits for the disk");
                    self.take_up_later(session, key);
                }
                Err(error) => tracing::error!(session, %error, "an open session cannot be taken up"),
            }
        }
        Ok(recovered)
    }

    /// The session's owner, for its learner, who is here since `arrived_at` (ms, by the clock of sessions); starts it from its log if nobody owns it yet. Another node
    /// that owns it is asked to let go of it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn live(&self, session: &str, key: SessionKey, arrived_at: i64) -> Result<Handle, StartError> {
        self.live_as(session, key, Taking::ForItsLearner { arrived_at }).await
    }

    pub(super) async fn live_as(&self, session: &str, key: SessionKey, taking: Taking) -> Result<Handle, StartError> {
        if let Some(handle) = self.find(session) {
            return Ok(handle);
        }
        // In a task of its own: who asks may go away in the middle, and what is owned must live.
        let (registry, id) = (self.clone(), session.to_owned());
        let starting = tokio::spawn(async move { registry.take_and_start(id, key, taking).await });
        starting.await.unwrap_or_else(|error| Err(StartError::Broken { what: "start", why: error.to_string() }))
    }

    async fn take_and_start(self, session: String, key: SessionKey, taking: Taking) -> Result<Handle, StartError> {
        self.take_hold(&session, taking).await?;
        let started = self.start_once(&session, key).await;
        match &started {
            Ok(_) => {}
            Err(StartError::Store(error)) if error.is_passing() => {
                if self.0.services.cluster.member().is_some() {
                    self.take_up_later(session, key);
                }
            }
            // Somebody else may do better.
            Err(_) => self.0.services.cluster.give_up(&session, None).await,
        }
        started
    }

    /// Starts a session that is this node's, unless it lives already.
    async fn start_once(&self, session: &str, key: SessionKey) -> Result<Handle, StartError> {
        let _one = self.starting(session).await;
        let stage = self.0.stage.read().await;
        if *stage == Stage::Stopping {
            return Err(StartError::Stopping);
        }
        if let Some(handle) = self.find(session) {
            return Ok(handle);
        }
        let (mailbox, messages) = mpsc::channel(MAILBOX_LIMIT);
        let mut live = self.start(key, mailbox.downgrade()).await?;
        live.resume().await;
        let (limits, clock) = (&self.0.services.limits, self.0.services.clock.clone());
        let events = Bucket::full(Rate::per_second(limits.events_per_second, limits.events_burst), clock.now_ms());
        let seat = Seat::new(live);
        let handle = Handle { mailbox, seat: seat.clone(), events: Arc::new(Mutex::new(events)) };
        let (id, registry) = (session.to_owned(), self.clone());
        // Locked over both, so that an owner that ends at once finds its entry and removes it.
        let mut live = self.lock();
        let task = tokio::spawn(async move {
            // What panicked in the middle of a turn has left its state behind, as a journal that refused has.
            let left = AssertUnwindSafe(seat.keep(clock, messages)).catch_unwind().await.unwrap_or(Left::Lost);
            registry.remove(&id);
            match left {
                // Not within this task: who stops the server waits for it, and the disk may refuse for long.
                Left::Lost => registry.take_up_later(id, key),
                // Boxed: what happens once must not take room in every session that waits.
                Left::Closed => Box::pin(registry.0.services.cluster.give_up(&id, None)).await,
                Left::Parted => {}
            }
        });
        live.insert(session.to_owned(), Entry { handle: handle.clone(), task });
        drop(live);
        Ok(handle)
    }

    /// The right to start this session.
    pub(super) async fn starting(&self, session: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        session.hash(&mut hasher);
        self.0.starting[hasher.finish() as usize % STARTING_LOCKS].lock().await
    }

    /// Removes a session that has ended, and not one that has been started since.
    fn remove(&self, session: &str) {
        let mut live = self.lock();
        if live.get(session).is_some_and(|entry| entry.handle.mailbox.is_closed()) {
            live.remove(session);
        }
    }

    /// Starts a session again whose journal refused, as soon as it can be started: its times must run on even if
    /// nobody asks for it.
    pub(super) fn take_up_later(&self, session: String, key: SessionKey) {
        if !self.waiting().insert(session.clone()) {
            return;
        }
        let registry = self.clone();
        tokio::spawn(async move {
            registry.take_up_again(&session, key).await;
            registry.waiting().remove(&session);
        });
    }

    async fn take_up_again(&self, session: &str, key: SessionKey) {
        let services = &self.0.services;
        loop {
            services.wall.sleep_ms(RETRY_AFTER_MS).await;
            // While the disk refuses, trying would be in vain, and thousands of sessions would say so.
            let mut writing = services.store.writing();
            if writing.wait_for(|writing| *writing == Writing::Well).await.is_err() {
                return;
            }
            services.cluster.valid().await;
            match self.take_up(session, key).await {
                Ok(()) | Err(StartError::NotOpen | StartError::Stopping | StartError::Elsewhere(_)) => return,
                // The disk refuses once more, and the writer has said so; or Redis does, and that was said too.
                Err(StartError::Store(error)) if error.is_passing() => {}
                Err(StartError::NotNow | StartError::Away(_)) => {}
                Err(error) => tracing::error!(session, %error, "a session cannot be taken up again yet"),
            }
        }
    }

    /// Takes up a session for which nobody asks.
    pub(super) async fn take_up(&self, session: &str, key: SessionKey) -> Result<(), StartError> {
        let _room = self.0.taking_up.acquire().await;
        self.live_as(session, key, Taking::IfFree).await.map(drop)
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn services(&self) -> &Arc<Services> {
        &self.0.services
    }

    pub(super) fn find(&self, session: &str) -> Option<Handle> {
        self.lock().get(session).map(|entry| entry.handle.clone()).filter(|handle| !handle.mailbox.is_closed())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.live.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How many sessions are live.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Reads what a session needs and folds its log.
    async fn start(&self, key: SessionKey, myself: mpsc::WeakSender<Mail>) -> Result<Live, StartError> {
        let services = self.0.services.clone();
        let record = services.store.session_to_own(key).await?;
        let acquired = services.store.acquire(key).await?;
        let first = acquired.log.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let opened = match log::parse_line(first).map(|event| event.body) {
            Ok(Body::SessionOpened(opened)) => opened,
            Ok(_) => return Err(StartError::Broken { what: "log", why: "no session.opened".into() }),
            Err(error) => return Err(StartError::Broken { what: "log", why: error.to_string() }),
        };
        let policy = match services.policies.by_label(&opened.policy) {
            Some(policy) => policy.clone(),
            None => self.kept_policy(&opened.policy).await?,
        };
        let seed = unseal_seed(&services, &record.id, &record.sealed_seed)?;
        let questions =
            serde_json::from_str(&record.questions).map_err(|error| StartError::broken("questions")(error.into()))?;
        let face = self.face(&opened.learner).await?;
        let start = Start { id: record.id, key, epoch: acquired.epoch, policy, seed, questions, face };
        Live::recover(services, self.clone(), myself, start, &acquired.log)
            .map_err(|error| StartError::broken("log")(error.into()))
    }

    /// A pack that this process does not know, because it came into force after its start, at another node.
    async fn kept_policy(&self, label: &str) -> Result<Arc<Policy>, StartError> {
        let broken = |why| StartError::Broken { what: "policy pack", why };
        let texts = self.0.services.store.policy_texts().await?;
        let (_, text) =
            texts.into_iter().find(|(kept, _)| kept == label).ok_or_else(|| broken(format!("{label} is not kept")))?;
        Policy::kept(label, &text).map(Arc::new).map_err(|error| broken(error.to_string()))
    }

    /// None: the learner is forgotten.
    async fn face(&self, learner: &str) -> Result<Option<Face>, StartError> {
        let services = &self.0.services;
        let missing = |what| move || StartError::Broken { what, why: "the learner has none".into() };
        let Some(sealed) = services.store.sealed_data_key(learner).await? else {
            return Ok(None);
        };
        let key: DataKey =
            services.keys.unwrap(learner, &sealed).map_err(|error| StartError::broken("data key")(error.into()))?;
        let photo = services.store.enrolled_photo(learner).await?.ok_or_else(missing("enrolment photo"))?;
        let template =
            photo.open_template(&services.keys).map_err(|error| StartError::broken("template")(error.into()))?;
        let template = Template::from_bytes(&template).map_err(|error| StartError::broken("template")(error.into()))?;
        Ok(Some(Face { template, key }))
    }

    /// Tells a session that presence has kept an overlap for it. One that is closing takes it without being told.
    pub(super) fn wake(&self, session: &str) {
        match self.find(session) {
            // Not from within the caller's task: the other's mailbox may be full, and wait for the caller's.
            Some(handle) => drop(tokio::spawn(async move { handle.mailbox.send(Message::Overlaps.into()).await })),
            None => self.wake_elsewhere(session),
        }
    }

    /// Lets every session rest in the journal, and leaves them to the other nodes.
    pub async fn leave(&self) {
        self.stop().await;
        if let Some(member) = self.0.services.cluster.member()
            && let Err(away) = member.node.leave().await
        {
            tracing::warn!(%away, "the other nodes find out by themselves that this one is gone");
        }
    }

    /// Lets every session rest in the journal; returns when all have.
    pub async fn stop(&self) {
        *self.0.stage.write().await = Stage::Stopping;
        let entries: Vec<Entry> = self.lock().drain().map(|(_, entry)| entry).collect();
        for entry in &entries {
            let _ = entry.handle.mailbox.send(Message::Part(Parting::Stop).into()).await;
        }
        for entry in entries {
            let _ = entry.task.await;
        }
    }

    async fn open_session(&self, request: OpenSession) -> Result<OpenedSession, OpenRefusal> {
        let services = &self.0.services;
        if !services.cluster.may_take() {
            return Err(OpenRefusal::Busy { retry_after_ms: RETRY_AFTER_MS });
        }
        let pack = services.store.policy_of(&request.project).await?;
        let in_force = |now_ms| services.policies.in_force(&pack, now_ms).map_err(OpenRefusal::PolicyNotInForce);
        // Before an older session is closed for nothing.
        in_force(services.clock.now_ms())?;
        self.supersede(&request).await?;
        let now_ms = services.clock.now_ms();
        let policy = in_force(now_ms)?;
        let id = services.entropy.id(now_ms).to_string();
        let sealed_seed =
            services.keys.master().seal(&services.entropy, &seed_context(&id), &services.entropy.bytes::<32>());
        let new = NewSession {
            id: id.clone(),
            platform: request.platform,
            learner: request.learner,
            project: request.project,
            lesson: request.lesson,
            policy: PackInForce::of(policy),
            makeup: request.makeup,
            sealed_seed,
            sessions_per_learner: services.limits.sessions_per_learner,
            now_ms,
        };
        let opened = services.store.open_session(new).await.map_err(refusal)?;
        self.live_as(&id, opened.key, Taking::IfFree).await.map_err(|error| {
            tracing::error!(session = id, %error, "a session was opened but is not live");
            // It is on record: its time runs, and somebody must end it.
            self.take_up_later(id.clone(), opened.key);
            OpenRefusal::Busy { retry_after_ms: RETRY_AFTER_MS }
        })?;
        services.telemetry.sessions_opened.inc();
        let facts = &opened.opened.facts;
        let online_left_ms = online_quota::left_ms(0, facts, &policy.parameters);
        let furthest_before_ms = facts.furthest_before_ms.unwrap_or(0);
        Ok(OpenedSession { session: id, furthest_before_ms, online_left_ms })
    }

    /// A learner has one open session in a project: an older one ends.
    async fn supersede(&self, request: &OpenSession) -> Result<(), OpenRefusal> {
        let older = self.0.services.store.open_session_of(&request.learner, &request.project).await?;
        let Some((key, session)) = older else { return Ok(()) };
        match self.end(&session, key, log::CloseReason::Superseded).await {
            Ok(()) | Err(StartError::NotOpen) => Ok(()),
            Err(StartError::Store(error)) => Err(OpenRefusal::Store(error)),
            Err(error) => {
                tracing::error!(session, %error, "an older session cannot be closed");
                Err(OpenRefusal::Busy { retry_after_ms: RETRY_AFTER_MS })
            }
        }
    }

    /// Closes a session that lives here; returns once its verdict is on record.
    pub(super) async fn end_here(
        &self,
        handle: &Handle,
        key: SessionKey,
        reason: log::CloseReason,
    ) -> Result<(), StartError> {
        let (closed, answer) = oneshot::channel();
        let message = Message::Close { reason, closed: Some(closed) };
        handle.mailbox.send(message.into()).await.map_err(|_| StartError::NotOpen)?;
        if answer.await.is_ok() { Ok(()) } else { Err(self.gone(key).await) }
    }

    /// What it means that the owner of a session is gone without an answer. Whether it closed the session is on disk.
    pub(super) async fn gone(&self, key: SessionKey) -> StartError {
        match self.0.services.store.open_sessions().await {
            Ok(open) if open.iter().any(|(open, _)| *open == key) => {
                StartError::Broken { what: "journal", why: "it refused in the middle of a request".into() }
            }
            Ok(_) => StartError::NotOpen,
            Err(error) => error.into(),
        }
    }
}

impl SessionDoor for Registry {
    fn forget(&self, learner: &str) {
        self.0.services.recent_photos.forget(learner);
    }

    fn open(&self, request: OpenSession) -> BoxFuture<'_, Result<OpenedSession, OpenRefusal>> {
        let registry = self.clone();
        // In a task of its own: who asks may hang up at any moment, and a session on record must have an owner.
        let opening = tokio::spawn(async move { registry.open_session(request).await });
        Box::pin(async move {
            match opening.await {
                Ok(opened) => opened,
                Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
                // The runtime ends.
                Err(_) => Err(OpenRefusal::Busy { retry_after_ms: RETRY_AFTER_MS }),
            }
        })
    }

    fn close(&self, session: String, reason: CloseReason) -> BoxFuture<'_, Result<(), CloseRefusal>> {
        Box::pin(async move {
            let reason = match reason {
                CloseReason::Left => log::CloseReason::Left,
                CloseReason::Completed => log::CloseReason::Completed,
                CloseReason::Revoked => log::CloseReason::Revoked,
            };
            let key = self.0.services.store.session_key(&session).await?.ok_or(CloseRefusal::AlreadyClosed)?;
            match self.end(&session, key, reason).await {
                Ok(()) => Ok(()),
                Err(StartError::NotOpen) => Err(CloseRefusal::AlreadyClosed),
                Err(StartError::Store(error)) => Err(CloseRefusal::Store(error)),
                Err(error) => {
                    tracing::error!(session, %error, "a session cannot be closed");
                    Err(CloseRefusal::Busy { retry_after_ms: RETRY_AFTER_MS })
                }
            }
        })
    }

    fn ask(&self, session: String, asked: Asked) -> BoxFuture<'_, Result<(), AskRefusal>> {
        Box::pin(async move {
            let key = self.0.services.store.session_key(&session).await?.ok_or(AskRefusal::AlreadyClosed)?;
            match self.order(&session, key, Order::Ask(asked)).await {
                Ok(obeyed) => Ok(obeyed?),
                Err(StartError::NotOpen) => Err(AskRefusal::AlreadyClosed),
                Err(StartError::Store(error)) => Err(AskRefusal::Store(error)),
                Err(error) => {
                    tracing::warn!(session, %error, "a learner cannot be asked");
                    Err(AskRefusal::Busy { retry_after_ms: RETRY_AFTER_MS })
                }
            }
        })
    }

    fn log(&self, session: String) -> BoxFuture<'_, Result<Vec<u8>, StoreError>> {
        Box::pin(async move {
            match self.0.services.store.session_key(&session).await? {
                Some(key) => self.0.services.store.read_log(key).await,
                None => Ok(Vec::new()),
            }
        })
    }
}

fn seed_context(session: &str) -> String {
    format!("seed {session}")
}

fn unseal_seed(services: &Services, session: &str, sealed: &[u8]) -> Result<Seed, StartError> {
    let bytes = services.keys.master().open(&seed_context(session), sealed);
    let bytes = bytes.map_err(|error| StartError::broken("seed")(error.into()))?;
    let bytes: [u8; 32] =
        bytes.try_into().map_err(|_| StartError::Broken { what: "seed", why: "not 32 bytes".into() })?;
    Ok(Seed::new(&bytes))
}

fn refusal(error: OpenError) -> OpenRefusal {
    match error {
        OpenError::NotEnrolled => OpenRefusal::NotEnrolled,
        OpenError::NoPhoto => OpenRefusal::NoPhoto,
        OpenError::Store(error) => OpenRefusal::Store(error),
        OpenError::TooManyOpen(open) => OpenRefusal::TooManyOpen { open },
        OpenError::NotTheMakeup => OpenRefusal::NotTheMakeup,
        OpenError::QuotaSpent { clause } => OpenRefusal::QuotaSpent { clause },
        OpenError::UnknownLesson | OpenError::StillOpen(_) => {
            tracing::error!(%error, "a session was refused for a reason that the API should have seen");
            OpenRefusal::Busy { retry_after_ms: RETRY_AFTER_MS }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::sync::Notify;

    use super::super::mailbox::{Arrival, Outbound, Outlet};
    use super::*;
    use crate::auth::keys::Keys;
    use crate::clock::{Clock, Entropy, Stopwatch};
    use crate::cluster::{Cluster, Presence};
    use crate::config::{Config, Roles};
    use crate::faces::Faces;
    use crate::gateway::wire::ClientEvent;
    use crate::policy::Policies;
    use crate::schedule::NotNow;
    use crate::store::enrolled_photos::seal_template;
    use crate::store::evidence::Evidence;
    use crate::store::fixture;
    use crate::telemetry::Telemetry;
    use crate::vision::{VisionConfig, VisionPool, Wanted};
    use crate::{api, findings};

    /// A registry over an empty store that knows one learner, enrolled in one project with one lesson.
    async fn registry() -> (tempfile::TempDir, Registry) {
        let (folder, store) = fixture::store().await;
        let entropy = Entropy::seeded(1);
        let keys = Keys::open_or_create(folder.path(), &entropy).unwrap();
        let key = DataKey::generate(&entropy);
        let sealed_key = hex::encode(keys.wrap(&entropy, "l1", &key));
        let template = hex::encode(seal_template(&key, &entropy, "l1", 1, &template()));
        let sql = format!(
            "INSERT INTO platform (id, name, status, created_at) VALUES ('p1', 'P', 'active', 0);
             INSERT INTO learner (id, photo_version, data_key, created_at) VALUES ('l1', 1, x'{sealed_key}', 0);
             INSERT INTO enrolled_photo (learner, version, digest, evidence, template, platform, created_at)
                 VALUES ('l1', 1, '', '', x'{template}', 'p1', 0);
             INSERT INTO project (id, platform, name, total_hours, delivery, policy, approved, created_at)
                 VALUES ('j1', 'p1', 'J', 100, 'blended', 'default', 1, 0);
             INSERT INTO lesson (id, project, position, title, duration_ms, kind, content_approved)
                 VALUES ('e1', 'j1', 1, 'E', 600000, 'theory', 1);
             INSERT INTO enrolment (id, project, learner, created_at) VALUES ('n1', 'j1', 'l1', 0);"
        );
        fixture::execute(&store, &sql).await;
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cache");
        let pool = VisionPool::start(VisionConfig {
            models,
            workers: 1,
            queue: 1,
            wanted: Wanted::CPU,
            ..VisionConfig::default()
        })
        .unwrap();
        let services = Services {
            store,
            evidence: Evidence::open(&folder.path().join("photos")).unwrap(),
            keys: Arc::new(keys),
            faces: Faces::here(Arc::new(pool), Clock::manual(1_790_000_000_000)),
            recent_photos: Default::default(),
            presence: Presence::default(),
            cluster: Cluster::Alone,
            roles: Roles::all(),
            findings: findings::channel().0,
            policies: Policies::new(Vec::new()).unwrap(),
            clock: Clock::manual(1_790_000_000_000),
            wall: Clock::manual(1_790_000_000_000),
            entropy,
            limits: Config::default().limits,
            deliver: Arc::new(Notify::new()),
            telemetry: Arc::new(Telemetry::new(api::operations())),
            source: String::new(),
        };
        (folder, Registry::new(Arc::new(services)))
    }

    /// A face: a vector of length one, after the digests of a model and a photo.
    fn template() -> Vec<u8> {
        let mut numbers = [0_f32; 128];
        numbers[0] = 1.0;
        let side_px = 100_f32;
        let numbers = std::iter::once(side_px).chain(numbers).flat_map(f32::to_le_bytes);
        b"IVT\x01".iter().copied().chain([0; 64]).chain(numbers).collect()
    }

    fn request() -> OpenSession {
        let word = str::to_owned;
        OpenSession { platform: word("p1"), learner: word("l1"), project: word("j1"), lesson: word("e1"), makeup: None }
    }

    #[tokio::test]
    async fn who_hangs_up_while_a_session_is_opened_leaves_it_with_an_owner() {
        let (_folder, registry) = registry().await;
        let store = registry.0.services.store.clone();
        let mut opening = registry.open(request());
        // Step by step, so that it is dropped when the session has just come on record.
        let (key, session) = loop {
            tokio::select! {
                biased;
                opened = &mut opening => panic!("opened in one step: {opened:?}"),
                () = std::future::ready(()) => {}
            }
            if let Some(open) = store.open_sessions().await.unwrap().pop() {
                break open;
            }
        };
        drop(opening);
        while registry.find(&session).is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!((registry.count(), store.read_log(key).await.unwrap().is_empty()), (1, false));
        registry.stop().await;
    }

    #[tokio::test]
    async fn what_a_supervisor_asks_for_is_in_the_log_and_said_to_the_learner_who_can_see_it() {
        let (_folder, registry) = registry().await;
        let (store, clock) = (registry.0.services.store.clone(), registry.0.services.clock.clone());
        let session = registry.open(request()).await.unwrap().session;
        let key = store.session_key(&session).await.unwrap().unwrap();
        let ask = async |asked| registry.ask(session.clone(), asked).await;
        let why_not = async |asked| match ask(asked).await {
            Err(AskRefusal::NotNow(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why_not(Asked::Prompt).await, NotNow::Away);

        let handle = registry.find(&session).unwrap();
        let (outlet, mut queue) = Outlet::new();
        let arrival = Arrival { ct: 0, at: clock.now_ms(), address: None, device: None };
        handle.attach(1, outlet, arrival).await.unwrap();
        assert_eq!(why_not(Asked::Prompt).await, NotNow::Away, "the handshake is not over");
        handle.welcome(1).await.unwrap();
        assert_eq!(why_not(Asked::Capture).await, NotNow::Still);
        let data = serde_json::value::to_raw_value(&serde_json::json!({"event": "play", "playing": true,
            "pos_ms": 0, "rate": 1.0}));
        let data = data.unwrap();
        let plays = ClientEvent { seq: 1, ct: 0, kind: "playback".into(), data: &data };
        let mut turn = handle.turn().await.unwrap();
        turn.event(1, &plays, clock.now_ms(), Stopwatch::start());
        turn.end().await.unwrap();

        ask(Asked::Prompt).await.unwrap();
        assert_eq!(why_not(Asked::Prompt).await, NotNow::Open);
        ask(Asked::Capture).await.unwrap();
        assert_eq!(why_not(Asked::Capture).await, NotNow::Open);
        let log = String::from_utf8(store.read_log(key).await.unwrap()).unwrap();
        let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let asked: Vec<_> = lines.iter().filter(|line| line["data"]["reason"] == "supervisor").collect();
        assert_eq!(
            (asked.len(), &asked[0]["type"], &asked[0]["data"]["prompt"]),
            (2, &"prompt.issued".into(), &"q1".into())
        );
        assert_eq!((&asked[1]["type"], &asked[1]["data"]["capture"]), (&"capture.requested".into(), &"c1".into()));
        let mut heard = Vec::new();
        while let Some(Outbound::Text(text) | Outbound::Acknowledgement(text, _)) = queue.try_next() {
            let message: serde_json::Value = serde_json::from_str(&text).unwrap();
            heard.push(message["type"].as_str().unwrap().to_owned());
        }
        assert_eq!(heard, ["welcome", "ack", "prompt", "capture"]);

        // Taken up again from its log, it still waits for both.
        registry.stop().await;
        let again = Registry::new(registry.0.services.clone());
        again.recover().await.unwrap();
        let mut turn = again.find(&session).unwrap().turn().await.unwrap();
        let live = turn.live();
        assert_eq!(live.schedule.open_prompt().map(|open| open.id.as_str()), Some("q1"));
        assert_eq!(live.schedule.pending_capture().map(|pending| pending.reason), Some(log::CaptureReason::Supervisor));
        turn.end().await.unwrap();
        again.close(session.clone(), CloseReason::Revoked).await.unwrap();
        let refused = again.ask(session.clone(), Asked::Prompt).await.unwrap_err();
        assert!(matches!(refused, AskRefusal::AlreadyClosed), "{refused}");
        again.stop().await;
    }
}
