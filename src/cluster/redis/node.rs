//! This process among the others: its lease and what it owns.
//!
//! A node lives as long as it renews its lease, and a session belongs to a node as long as that node lives; so what
//! renewing costs goes by nodes and not by sessions. What a dead node held is taken up by all that live, piece by piece.
//! Whoever finds that Redis has forgotten them says anew who they are and what they own.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt as _, stream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::connection::{Away, Redis};
use super::lease::{Lease, Timing};
use super::script::Script;

const LEASES: &str = "invigil:{nodes}:leases";
const ABOUT: &str = "invigil:{nodes}:about";
/// A member of each node's set of sessions that is none: without it the set was lost.
const MARK: &str = "-";
/// How long the owner of a session is kept, ms: longer than any session. What ends is removed; this is for what is lost.
const OWNER_KEPT_MS: i64 = 48 * 3_600_000;
/// Dead nodes that are looked at together.
const DEAD_LIMIT: usize = 16;
/// Sessions of a dead node that are taken up together: few, so that the living share them.
const PIECE: usize = 16;
/// How many of these at the same time.
const AT_ONCE: usize = 4;
/// How many sessions are claimed at the same time when Redis has forgotten them.
const RESTORED_AT_ONCE: usize = 64;
/// The pause after a renewal that failed, ms.
const RETRY_MS: i64 = 250;
/// How often a session is asked for again whose owner dies meanwhile.
const CLAIMS_LIMIT: usize = 4;

/// This process among the others. Cheap to clone. It leaves when the last clone is dropped, or with [`Node::leave`].
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    renewing: JoinHandle<()>,
}

/// What the task that renews needs, too.
struct Core {
    id: String,
    redis: Redis,
    timing: Timing,
    lease: Lease,
    scripts: Scripts,
    sessions: Mutex<HashSet<String>>,
    lost: Mutex<Vec<String>>,
    lost_some: Notify,
    seen: watch::Sender<Seen>,
    /// how often Redis had forgotten this node, and up to which of these times all was said anew
    forgotten: AtomicU64,
    restored: AtomicU64,
    restoring: tokio::sync::Mutex<()>,
}

struct Scripts {
    renew: Script,
    lives: Script,
    bury: Script,
    claim: Script,
    give_up: Script,
}

/// What the last renewal showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// renewals so far
    pub renewals: u64,
    /// nodes that live, this one included
    pub living: usize,
    /// nodes that are dead and left something, or some of them
    pub dead: Vec<String>,
    /// Redis had lost what it held, all that live have had time to say what they own, and nobody has looked yet for
    /// sessions that are open and owned by nobody
    pub sweep_is_due: bool,
}

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This node's.
    Owned,
    /// That of another node, which lives.
    HeldBy(String),
}

/// What became of a session that a dead node had left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenUp {
    /// It lives here, or has ended.
    Settled,
    /// Another node has it.
    HeldBy(String),
    /// It cannot be taken up now.
    NotYet,
}

impl Node {
    /// Joins the others as `id`, which is new with every start of a process.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn join(redis: Redis, id: String, timing: Timing) -> Result<Self, Away> {
        let scripts = Scripts {
            renew: Script::new(include_str!("lua/renew.lua")),
            lives: Script::new(include_str!("lua/lives.lua")),
            bury: Script::new(include_str!("lua/bury.lua")),
            claim: Script::new(include_str!("lua/claim.lua")),
            give_up: Script::new(include_str!("lua/give_up.lua")),
        };
        let core = Arc::new(Core {
            id,
            redis,
            timing,
            lease: Lease::new(),
            scripts,
            sessions: Mutex::default(),
            lost: Mutex::default(),
            lost_some: Notify::new(),
            seen: watch::Sender::new(Seen::default()),
            forgotten: AtomicU64::new(0),
            restored: AtomicU64::new(0),
            restoring: tokio::sync::Mutex::default(),
        });
        core.renew().await?;
        // Nobody could know of it before: there is nothing to say anew.
        core.restored.store(core.forgotten.load(Ordering::Acquire), Ordering::Release);
        let renewing = tokio::spawn(core.clone().keep());
        Ok(Self(Arc::new(Inner { core, renewing })))
    }

    /// The name of this node.
    pub fn id(&self) -> &str {
        &self.0.core.id
    }

    /// Whether this node may act.
    pub fn lease(&self) -> &Lease {
        &self.0.core.lease
    }

    /// What each renewal shows.
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.0.core.seen.subscribe()
    }

    /// How many sessions this node owns.
    pub fn owned(&self) -> usize {
        self.0.core.owned().len()
    }

    /// Makes a session this node's, unless another that lives has it.
    ///
    /// # Errors
    /// When Redis does not answer. The session may be this node's then: claim it again, or give it up.
    pub async fn claim(&self, session: &str) -> Result<Claim, Away> {
        self.0.core.claim(session).await
    }

    /// Whose a session is, if anybody's who lives.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn owner(&self, session: &str) -> Result<Option<String>, Away> {
        let core = &self.0.core;
        let owner: Option<String> = core.redis.query(redis::cmd("GET").arg(owner_key(session))).await?;
        match owner {
            Some(owner) if core.lives(&owner).await? => Ok(Some(owner)),
            _ => Ok(None),
        }
    }

    /// The session has ended, or rests in its journal for whoever takes it: for `to`, if that is somebody.
    ///
    /// # Errors
    /// When Redis does not answer. Then others believe that it is here until they ask.
    pub async fn give_up(&self, session: &str, to: Option<&str>) -> Result<(), Away> {
        self.0.core.give_up(session, to).await
    }

    /// Sessions that others have taken while this node could not renew its lease; waits for some.
    pub async fn lost(&self) -> Vec<String> {
        loop {
            let lost = std::mem::take(&mut *self.0.core.lost.lock().unwrap_or_else(PoisonError::into_inner));
            if !lost.is_empty() {
                return lost;
            }
            self.0.core.lost_some.notified().await;
        }
    }

    /// Takes up what dead nodes leave, as long as this is awaited.
    pub async fn inherit<F: Future<Output = TakenUp>>(&self, take_up: impl Fn(String) -> F) {
        let mut seen = self.seen();
        loop {
            let dead = seen.borrow_and_update().dead.clone();
            for node in dead {
                if let Err(away) = self.0.core.inherit_from(&node, &take_up).await {
                    tracing::debug!(%away, node, "what a dead node has left waits for Redis");
                }
            }
            if seen.changed().await.is_err() {
                return;
            }
        }
    }

    /// Somebody has looked through the open sessions, and taken up what nobody owned.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn swept(&self) -> Result<(), Away> {
        self.0.core.redis.query(redis::cmd("HSET").arg(ABOUT).arg("swept").arg(1)).await
    }

    /// Ends the lease at once, so that others take up what this node still owns.
    ///
    /// # Errors
    /// When Redis does not answer; the others find out when the lease is over.
    pub async fn leave(&self) -> Result<(), Away> {
        self.0.renewing.abort();
        let core = &self.0.core;
        core.lease.end();
        core.redis.query(redis::cmd("ZADD").arg(LEASES).arg("XX").arg(0).arg(&core.id)).await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Core {
    /// Renews the lease in time, for ever.
    async fn keep(self: Arc<Self>) {
        let steady = self.redis.steady().clone();
        let mut pause_ms = self.timing.renew_ms;
        let mut said = false;
        loop {
            // Who waits for the signal hears of the end as soon as it has come.
            let left_ms = self.lease.left_ms();
            let end_is_next = left_ms > 0 && left_ms < pause_ms;
            steady.sleep_ms(if end_is_next { left_ms } else { pause_ms }).await;
            self.lease.tell();
            match self.renew().await {
                Ok(()) => {
                    if std::mem::take(&mut said) {
                        tracing::info!("the lease of this node is renewed again");
                    }
                    self.restore_if_forgotten();
                    pause_ms = self.timing.renew_ms;
                }
                Err(away) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(%away, "the lease of this node cannot be renewed: when it ends, nothing is acknowledged");
                    }
                    pause_ms = RETRY_MS.min(self.timing.renew_ms);
                }
            }
            self.lease.tell();
        }
    }

    async fn renew(&self) -> Result<(), Away> {
        let sent_ms = self.lease.now_ms();
        let arguments = |command: &mut redis::Cmd| {
            command.arg(&self.id).arg(self.timing.lease_ms).arg(DEAD_LIMIT);
        };
        let mark = self.index(&self.id, "SADD", MARK);
        let (renewed, marked) = tokio::join!(
            self.scripts.renew.run(&self.redis, &[LEASES, ABOUT], arguments),
            self.redis.query::<i64>(&mark)
        );
        let (held, living, swept, known_for_ms, dead): (i64, usize, i64, i64, Vec<String>) = renewed?;
        // A renewal of which nobody here heard may have been late, and after it the lease looks as if it had held.
        let has_lapsed = !self.lease.is_valid();
        self.lease.renewed_until(sent_ms + self.timing.lease_ms - self.timing.margin_ms());
        if held == 0 || marked == Ok(1) || has_lapsed {
            self.forgotten.fetch_add(1, Ordering::AcqRel);
        }
        let sweep_is_due = swept == 0 && known_for_ms >= self.timing.lease_ms;
        self.seen.send_modify(|seen| {
            *seen = Seen { renewals: seen.renewals + 1, living, dead, sweep_is_due };
        });
        Ok(())
    }

    /// Says anew what this node owns, beside the renewals.
    fn restore_if_forgotten(self: &Arc<Self>) {
        if self.restored.load(Ordering::Acquire) < self.forgotten.load(Ordering::Acquire) {
            let this = self.clone();
            tokio::spawn(async move { this.restore().await });
        }
    }

    async fn restore(&self) {
        let Ok(_alone) = self.restoring.try_lock() else { return };
        let times = self.forgotten.load(Ordering::Acquire);
        let sessions: Vec<String> = self.owned().iter().cloned().collect();
        let count = sessions.len();
        let restored =
            stream::iter(sessions).map(|session| self.restore_one(session)).buffer_unordered(RESTORED_AT_ONCE);
        let results: Vec<Result<(), Away>> = restored.collect().await;
        match results.into_iter().find_map(Result::err) {
            // The next renewal begins it again.
            Some(away) => tracing::debug!(%away, "the sessions of this node are not all known to others yet"),
            None => {
                self.restored.fetch_max(times, Ordering::AcqRel);
                if count > 0 {
                    tracing::warn!(sessions = count, "others had forgotten this node: it has said anew what it owns");
                }
            }
        }
    }

    async fn restore_one(&self, session: String) -> Result<(), Away> {
        let claimed = self.claim_key(&session).await?;
        match claimed {
            Claim::Owned if self.owned().contains(&session) => Ok(()),
            // Given up meanwhile.
            Claim::Owned => self.give_up(&session, None).await,
            Claim::HeldBy(node) => {
                if self.owned().remove(&session) {
                    tracing::info!(session, node, "a session was taken by another node");
                    self.lost.lock().unwrap_or_else(PoisonError::into_inner).push(session);
                    self.lost_some.notify_one();
                }
                Ok(())
            }
        }
    }

    async fn claim(&self, session: &str) -> Result<Claim, Away> {
        // Before it is known to be ours: what is under way when Redis forgets us is said anew too.
        let is_new = self.owned().insert(session.to_owned());
        let mut claiming = Claiming { core: self, session, forget: is_new };
        let claimed = self.claim_key(session).await;
        claiming.forget &= !matches!(claimed, Ok(Claim::Owned));
        claimed
    }

    async fn claim_key(&self, session: &str) -> Result<Claim, Away> {
        // First, so that no session is owned by a node that could die without anybody knowing of it.
        self.redis.query::<()>(&self.index(&self.id, "SADD", session)).await?;
        let mut held_by = String::new();
        for _ in 0..CLAIMS_LIMIT {
            let arguments = |command: &mut redis::Cmd| {
                command.arg(&self.id).arg(&held_by).arg(OWNER_KEPT_MS);
            };
            let holder: String = self.scripts.claim.run(&self.redis, &[&owner_key(session)], arguments).await?;
            if holder.is_empty() {
                return Ok(Claim::Owned);
            }
            held_by = holder;
            if self.lives(&held_by).await? {
                break;
            }
        }
        self.redis.query::<()>(&self.index(&self.id, "SREM", session)).await?;
        Ok(Claim::HeldBy(held_by))
    }

    async fn give_up(&self, session: &str, to: Option<&str>) -> Result<(), Away> {
        self.owned().remove(session);
        if let Some(node) = to {
            self.redis.query::<()>(&self.index(node, "SADD", session)).await?;
        }
        let arguments = |command: &mut redis::Cmd| {
            command.arg(&self.id).arg(to.unwrap_or_default()).arg(OWNER_KEPT_MS);
        };
        self.scripts.give_up.run::<i64>(&self.redis, &[&owner_key(session)], arguments).await?;
        self.redis.query(&self.index(&self.id, "SREM", session)).await
    }

    async fn lives(&self, node: &str) -> Result<bool, Away> {
        Ok(self.state(node).await? == 1)
    }

    /// 1: it lives; 0: it is dead; -1: nobody knows it.
    async fn state(&self, node: &str) -> Result<i64, Away> {
        let arguments = |command: &mut redis::Cmd| {
            command.arg(node);
        };
        self.scripts.lives.run(&self.redis, &[LEASES], arguments).await
    }

    async fn inherit_from<F: Future<Output = TakenUp>>(
        &self,
        node: &str,
        take_up: &impl Fn(String) -> F,
    ) -> Result<(), Away> {
        loop {
            let piece = redis::cmd("SRANDMEMBER").arg(index_key(node)).arg(PIECE + 1).to_owned();
            let mut piece: Vec<String> = self.redis.query(&piece).await?;
            if self.state(node).await? != 0 {
                return Ok(());
            }
            let marked = piece.len();
            piece.retain(|session| session != MARK);
            if piece.is_empty() {
                return self.bury(node, marked > 0).await;
            }
            let taken = stream::iter(piece).map(|session| async { (take_up(session.clone()).await, session) });
            let taken: Vec<_> = taken.buffer_unordered(AT_ONCE).collect().await;
            // One that came back to life meanwhile keeps what it has.
            let settled = taken.into_iter().filter(|(result, _)| match result {
                TakenUp::Settled => true,
                TakenUp::HeldBy(holder) => holder != node,
                TakenUp::NotYet => false,
            });
            let settled: Vec<String> = settled.map(|(_, session)| session).collect();
            if settled.is_empty() {
                return Ok(());
            }
            self.redis.query::<()>(redis::cmd("SREM").arg(index_key(node)).arg(settled)).await?;
        }
    }

    async fn bury(&self, node: &str, sessions_known: bool) -> Result<(), Away> {
        let arguments = |command: &mut redis::Cmd| {
            command.arg(node).arg(i32::from(sessions_known));
        };
        let buried: i64 = self.scripts.bury.run(&self.redis, &[LEASES, ABOUT], arguments).await?;
        if buried == 1 {
            tracing::info!(node, sessions_known, "a node has left, and others have taken up its sessions");
            self.redis.query::<()>(redis::cmd("DEL").arg(index_key(node))).await?;
        }
        Ok(())
    }

    fn index(&self, node: &str, command: &str, member: &str) -> redis::Cmd {
        redis::cmd(command).arg(index_key(node)).arg(member).to_owned()
    }

    fn owned(&self) -> MutexGuard<'_, HashSet<String>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A claim under way, which may be given up in the middle.
struct Claiming<'a> {
    core: &'a Core,
    session: &'a str,
    forget: bool,
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        if self.forget {
            self.core.owned().remove(self.session);
        }
    }
}

fn owner_key(session: &str) -> String {
    format!("invigil:owner:{session}")
}

fn index_key(node: &str) -> String {
    format!("invigil:sessions:{node}")
}
