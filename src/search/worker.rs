//! Makes the searches that are due, whenever it is this node's turn: those of one set together, so that the set is read once.
//!
//! Nobody waits for it. A search is due until what came of it is on record, and a server that dies meanwhile makes it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Made, Manner, Probe, allowed_day, found, named, open, sweep};
use crate::auth::keys::Keys;
use crate::clock::{Clock, Entropy};
use crate::cluster::Turns;
use crate::policy::{Policies, Policy};
use crate::risk::Finding;
use crate::store::face_scope::Scope;
use crate::store::face_searches::DueSearch;
use crate::store::{Store, StoreError};
use crate::vision::search::{LEAST_SIMILARITY, compare};

/// Searches that are made together.
const ROUND_LIMIT: u32 = 256;
/// When to look again without having been told, ms: other nodes do not tell.
const LOOK_MS: i64 = 5_000;
/// Earlier photos of one learner that the newest is held against.
const VERSIONS_LIMIT: u32 = 1_000;
const DAY_MS: i64 = 86_400_000;

/// What the searches need.
pub struct Means {
    /// the records
    pub store: Store,
    /// that open templates
    pub keys: Arc<Keys>,
    /// the packs, with their thresholds
    pub policies: Policies,
    /// the clock of sessions, by which findings are dated
    pub clock: Clock,
    /// the clock of records
    pub wall: Clock,
    /// for identifiers
    pub entropy: Entropy,
}

/// The running worker; dropping it stops it at once.
pub struct Searcher {
    stop: watch::Sender<bool>,
    rounds: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Searcher {
    /// Starts it.
    pub fn start(means: Means, turns: Turns) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (ended, rounds) = watch::channel(0);
        let worker = Worker { means, turns, ended, forgotten_on: 0 };
        Self { stop, rounds, task: tokio::spawn(worker.run(stopped)) }
    }

    /// How often all that was due has been searched since the start; changes with each.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.clone()
    }

    /// Stops; a search under way is cut off, and made again after the next start.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        self.task.abort();
    }
}

impl Drop for Searcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    means: Means,
    turns: Turns,
    ended: watch::Sender<u64>,
    forgotten_on: i64,
}

impl Worker {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let asked = self.means.store.face_searches_asked();
        loop {
            if !self.turns.is_mine() {
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => return,
                    () = self.turns.mine() => {}
                }
            }
            if let Err(error) = self.search_all().await {
                tracing::error!(%error, "enrolled faces cannot be searched now; trying again");
            }
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = asked.notified() => {}
                () = self.means.wall.sleep_ms(LOOK_MS) => {}
            }
        }
    }

    async fn search_all(&mut self) -> Result<(), StoreError> {
        while self.means.round().await? > 0 && self.turns.is_mine() {}
        let now_ms = self.means.wall.now_ms();
        if self.forgotten_on != now_ms / DAY_MS {
            self.means.store.forget_face_searches(now_ms).await?;
            self.forgotten_on = now_ms / DAY_MS;
        }
        self.ended.send_modify(|rounds| *rounds += 1);
        Ok(())
    }
}

impl Means {
    /// Makes some of what is due; gives how many there were.
    pub(super) async fn round(&self) -> Result<usize, StoreError> {
        let due = self.store.due_face_searches(ROUND_LIMIT).await?;
        let count = due.len();
        let mut by_scope: BTreeMap<Scope, Vec<DueSearch>> = BTreeMap::new();
        for due in due {
            by_scope.entry(due.scope.clone()).or_default().push(due);
        }
        for (scope, due) in by_scope {
            match &scope {
                Scope::Versions(learner) => self.look_back(learner, due).await?,
                _ => self.search(&scope, due).await?,
            }
        }
        Ok(count)
    }

    /// Looks for the faces of some learners in one set.
    async fn search(&self, scope: &Scope, due: Vec<DueSearch>) -> Result<(), StoreError> {
        let (kind, policy) = (scope.kind(), self.policy_of(scope).await?);
        let allowed = allowed_day(&policy.risk, kind);
        let mut probes = Vec::new();
        if allowed > 0.0 {
            for due in &due {
                // Who was forgotten meanwhile has no face any more.
                let Some(photo) = self.store.enrolled_photo(&due.learner).await? else { continue };
                match Probe::of(&photo, &self.keys) {
                    Ok(probe) => probes.push(probe),
                    Err(error) => tracing::error!(%error, learner = due.learner, "a face template cannot be opened"),
                }
            }
        }
        if probes.is_empty() {
            return self.store.keep_face_searches(due, Vec::new(), Vec::new()).await;
        }
        let now_ms = self.wall.now_ms();
        let before = self.store.searched_day(kind, now_ms).await?.searches;
        let searches_day = policy.risk.face_searches_day.max(before + probes.len() as i64).unsigned_abs();
        let sweep = sweep(&self.store, &self.keys, scope, probes, Manner::Each).await?;
        let (mut records, mut findings) = (Vec::new(), Vec::new());
        for (index, probe) in sweep.probes().iter().enumerate() {
            let result = sweep.of_probe(index, searches_day, allowed);
            let made = Made {
                id: self.entropy.id(now_ms).to_string(),
                kind,
                scope: scope.clone(),
                learner: probe.face.as_ref().map(|face| face.learner.clone()),
                asked_by: None,
                at: now_ms,
            };
            records.push(result.record(made));
            findings.extend(found::findings(&result, kind, scope, &policy, self.clock.now_ms()));
        }
        self.keep(due, records, findings).await
    }

    /// Holds a learner's newest photo against all earlier ones. Each replacement was like the one before, and a chain of such
    /// steps can lead to another person.
    async fn look_back(&self, learner: &str, due: Vec<DueSearch>) -> Result<(), StoreError> {
        let policy = self.policy_of(&Scope::Everybody).await?;
        let scope = Scope::Versions(learner.to_owned());
        let photos = self.store.enrolled_faces(&scope, None, VERSIONS_LIMIT).await?;
        let opened: Vec<_> =
            photos.iter().filter_map(|photo| Some((named(photo), open(photo, &self.keys).ok()?))).collect();
        let mut finding = None;
        if let Some(((newest, face), earlier)) = opened.split_last() {
            let compared = earlier.iter().filter_map(|(named, other)| Some((named, compare(face, other)?)));
            let least = compared.min_by(|(_, one), (_, other)| one.1.total_cmp(&other.1));
            finding =
                least.filter(|(_, (_, score))| f64::from(*score) < LEAST_SIMILARITY).map(|(named, (similarity, _))| {
                    found::drifted(newest, named, similarity, &policy, self.clock.now_ms())
                });
        }
        self.keep(due, Vec::new(), finding.into_iter().collect()).await
    }

    async fn keep(
        &self,
        due: Vec<DueSearch>,
        records: Vec<crate::store::face_searches::SearchRecord>,
        findings: Vec<Finding>,
    ) -> Result<(), StoreError> {
        for finding in &findings {
            let Finding { code, subject, severity, .. } = finding;
            tracing::info!(%code, subject, %severity, "a warning for supervisors");
        }
        let named = |finding: Finding| (self.entropy.id(finding.at).to_string(), finding);
        self.store.keep_face_searches(due, records, findings.into_iter().map(named).collect()).await
    }

    /// The pack by whose thresholds a set is searched: a project's own, or the installation's first.
    async fn policy_of(&self, scope: &Scope) -> Result<Arc<Policy>, StoreError> {
        let own = match scope {
            Scope::Class { project, .. } => self.store.project(project).await?.map(|(project, _)| project.policy),
            _ => None,
        };
        let names = self.policies.names();
        let id = own.as_deref().or(names.first().map(String::as_str)).unwrap_or_default();
        let found = self.policies.in_force(id, self.wall.now_ms());
        Ok(found.cloned().unwrap_or_else(|_| Arc::new(Policy::default())))
    }
}
