//! Other nodes: who owns a session, handing it over, and taking up what the dead leave.
//!
//! A process that is alone passes through here without asking anybody.

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::mailbox::{Gone, Handle, Message, Parting, Released};
use super::registry::{Registry, StartError};
use crate::cluster::Member;
use crate::cluster::redis::{Answer, Claim, Command, Received, TakenUp};
use crate::findings::heard;
use crate::log::CloseReason;
use crate::schedule::{Asked, NotNow};
use crate::store::SessionKey;

/// How long another node may take to let go of a session before it is asked again, ms.
const RELEASE_LIMIT_MS: i64 = 1_000;
/// How often it is asked: longer, in all, than a dead node's lease goes on.
const RELEASES: usize = 8;
/// How long another node may take to do what was ordered, ms: less than whoever waits for the request waits.
const ORDER_LIMIT_MS: i64 = 5_000;
/// How often a session is looked for whose owner changes while something is to be done to it.
const ORDERS: usize = 3;
/// Commands of other nodes that are done at the same time.
const COMMANDS_LIMIT: usize = 64;
/// Open sessions that are looked at together when nobody may own them.
const SWEPT_AT_ONCE: usize = 32;

/// Why a session is to live here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// Its learner is here: whoever has it is asked to let go of it.
    ForItsLearner {
        /// since when, by the clock of sessions (ms)
        arrived_at: i64,
    },
    /// Somebody has to keep its times, unless somebody does.
    IfFree,
}

/// What the office or a platform wants of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// That it ends.
    End(CloseReason),
    /// That its learner is asked.
    Ask(Asked),
}

/// Whether an order could be followed: nobody can be asked who is not there.
pub(super) type Obeyed = Result<(), NotNow>;

impl Registry {
    /// Makes a session this node's.
    pub(super) async fn take_hold(&self, session: &str, taking: Taking) -> Result<(), StartError> {
        let Some(member) = self.services().cluster.member() else { return Ok(()) };
        for _ in 0..RELEASES {
            if !self.services().cluster.may_take() {
                return Err(StartError::NotNow);
            }
            let (holder, arrived_at) = match (member.node.claim(session).await?, taking) {
                (Claim::Owned, _) => return Ok(()),
                (Claim::HeldBy(holder), Taking::IfFree) => return Err(StartError::Elsewhere(holder)),
                (Claim::HeldBy(holder), Taking::ForItsLearner { arrived_at }) => (holder, arrived_at),
            };
            let release = Command::Release { session: session.to_owned(), arrived_at };
            match member.bus.ask(&holder, &release, RELEASE_LIMIT_MS).await {
                Ok(Answer::Done | Answer::NotHere) => {}
                // Who came here has gone on; taking it would end the page that they are at now.
                Ok(Answer::Newer) => return Err(StartError::Elsewhere(holder)),
                other => tracing::debug!(session, holder, ?other, "another node does not let go of a session yet"),
            }
        }
        match member.node.claim(session).await? {
            Claim::Owned => Ok(()),
            Claim::HeldBy(holder) => Err(StartError::Elsewhere(holder)),
        }
    }

    /// Closes a session, wherever it lives; returns once its verdict is on record.
    pub(super) async fn end(&self, session: &str, key: SessionKey, reason: CloseReason) -> Result<(), StartError> {
        self.order(session, key, Order::End(reason)).await.map(drop)
    }

    /// Has something done to a session, wherever it lives; returns once it is on record.
    pub(super) async fn order(&self, session: &str, key: SessionKey, order: Order) -> Result<Obeyed, StartError> {
        let mut last = StartError::NotOpen;
        for _ in 0..ORDERS {
            match self.live_as(session, key, Taking::IfFree).await {
                Ok(handle) => return self.obey_here(&handle, key, order).await,
                Err(StartError::Elsewhere(holder)) => match self.order_there(session, &holder, order).await? {
                    Some(obeyed) => return Ok(obeyed),
                    None => last = StartError::Elsewhere(holder),
                },
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn obey_here(&self, handle: &Handle, key: SessionKey, order: Order) -> Result<Obeyed, StartError> {
        match order {
            Order::End(reason) => self.end_here(handle, key, reason).await.map(Ok),
            Order::Ask(asked) => match handle.ask(asked).await {
                Ok(obeyed) => Ok(obeyed),
                Err(Gone) => Err(self.gone(key).await),
            },
        }
    }

    /// Has another node do it. None: the session is not there any more.
    async fn order_there(&self, session: &str, holder: &str, order: Order) -> Result<Option<Obeyed>, StartError> {
        let Some(member) = self.services().cluster.member() else { return Ok(None) };
        let session = session.to_owned();
        let command = match order {
            Order::End(reason) => Command::Close { session, reason: reason.as_str().to_owned() },
            Order::Ask(asked) => Command::Ask { session, what: asked.as_str().to_owned() },
        };
        let broken = |why: String| StartError::Broken { what: "the node that has it", why };
        match member.bus.ask(holder, &command, ORDER_LIMIT_MS).await {
            Ok(Answer::Done) => Ok(Some(Ok(()))),
            Ok(Answer::NotNow { why }) => Ok(Some(Err(why))),
            Ok(Answer::NotHere) => Ok(None),
            Ok(Answer::Failed { why }) => Err(broken(why)),
            Ok(answer) => Err(broken(format!("{answer:?}"))),
            Err(error) => Err(broken(error.to_string())),
        }
    }

    /// Tells a session of another node that presence has kept an overlap for it.
    pub(super) fn wake_elsewhere(&self, session: &str) {
        if self.services().cluster.member().is_none() {
            return;
        }
        let (registry, session) = (self.clone(), session.to_owned());
        tokio::spawn(async move {
            let Some(member) = registry.services().cluster.member() else { return };
            // Nobody who lives: whoever takes it up asks presence by itself.
            let Ok(Some(holder)) = member.node.owner(&session).await else { return };
            if let Err(error) = member.bus.tell(&holder, &Command::Wake { session }).await {
                tracing::debug!(%error, holder, "a session of another node is not told of an overlap yet");
            }
        });
    }

    /// Does what other nodes ask, and takes up what nobody owns, as long as this is awaited.
    pub async fn tend(self, received: mpsc::Receiver<Received>) {
        let Some(member) = self.services().cluster.member() else { return };
        if !self.services().roles.own_sessions() {
            return self.obey_all(member, received).await;
        }
        tokio::join!(
            self.obey_all(member, received),
            member.node.inherit(|session| self.inherit(session)),
            self.sweep_when_due(member),
            self.drop_what_is_lost(member),
        );
    }

    async fn obey_all(&self, member: &Member, received: mpsc::Receiver<Received>) {
        let received = stream::unfold(received, async |mut received| Some((received.recv().await?, received)));
        received
            .for_each_concurrent(COMMANDS_LIMIT, async |received| {
                let answer = self.obey(&received).await;
                if let Err(error) = member.bus.answer(&received, &answer).await {
                    tracing::debug!(%error, ?received, "another node cannot be answered");
                }
            })
            .await;
    }

    async fn obey(&self, received: &Received) -> Answer {
        match &received.command {
            Command::Release { session, arrived_at } => self.release(session, *arrived_at, &received.from).await,
            Command::Close { session, reason } => match CloseReason::from_word(reason) {
                Some(reason) => self.obey_for_another(session, Order::End(reason), &received.from).await,
                None => Answer::Failed { why: format!("sessions do not close as {reason:?} here") },
            },
            Command::Ask { session, what } => match Asked::from_word(what) {
                Some(asked) => self.obey_for_another(session, Order::Ask(asked), &received.from).await,
                None => Answer::Failed { why: format!("learners are not asked for {what:?} here") },
            },
            Command::Wake { session } => {
                if let Some(handle) = self.find(session) {
                    let _ = handle.mailbox.send(Message::Overlaps.into()).await;
                }
                Answer::Done
            }
            Command::Deliver => {
                self.services().deliver.notify_one();
                Answer::Done
            }
            Command::Observed { observations } => {
                let policies = &self.services().policies;
                for observation in observations.iter().filter_map(|told| heard(told.clone(), policies)) {
                    self.services().findings.tell_for_another(observation);
                }
                Answer::Done
            }
        }
    }

    /// Lets a session rest, and gives it to `to`, unless its learner has come here after `arrived_at`.
    async fn release(&self, session: &str, arrived_at: i64, to: &str) -> Answer {
        let handle = self.find_once_started(session).await;
        let was_here = handle.is_some();
        if let Some(handle) = handle {
            let (released, rests) = oneshot::channel();
            let _ = handle.mailbox.send(Message::Release { arrived_at, released }.into()).await;
            // An error means that it has ended by itself, or that the journal refused: it is not here any more either way.
            if rests.await == Ok(Released::Newer) {
                return Answer::Newer;
            }
        }
        self.services().cluster.give_up(session, Some(to)).await;
        if was_here { Answer::Done } else { Answer::NotHere }
    }

    async fn obey_for_another(&self, session: &str, order: Order, asker: &str) -> Answer {
        let Some(handle) = self.find_once_started(session).await else {
            self.services().cluster.give_up(session, Some(asker)).await;
            return Answer::NotHere;
        };
        let failed = |why: String| Answer::Failed { why };
        match self.services().store.session_key(session).await {
            Ok(Some(key)) => match self.obey_here(&handle, key, order).await {
                Ok(Ok(())) => Answer::Done,
                Ok(Err(why)) => Answer::NotNow { why },
                Err(StartError::NotOpen) => Answer::NotHere,
                Err(error) => failed(error.to_string()),
            },
            Ok(None) => Answer::NotHere,
            Err(error) => failed(error.to_string()),
        }
    }

    /// A session that lives here, or is just starting.
    async fn find_once_started(&self, session: &str) -> Option<Handle> {
        let _starts_no_more = self.starting(session).await;
        self.find(session)
    }

    /// Takes up a session that a dead node has left.
    async fn inherit(&self, session: String) -> TakenUp {
        let key = match self.services().store.session_key(&session).await {
            Ok(Some(key)) => key,
            // It was never opened: its opening failed after it was claimed.
            Ok(None) => return TakenUp::Settled,
            Err(_) => return TakenUp::NotYet,
        };
        match self.take_up(&session, key).await {
            Ok(()) | Err(StartError::NotOpen) => TakenUp::Settled,
            Err(StartError::Elsewhere(holder)) => TakenUp::HeldBy(holder),
            // It is this node's now, and is tried again here.
            Err(StartError::Store(error)) if error.is_passing() => TakenUp::Settled,
            Err(StartError::Store(_) | StartError::Away(_) | StartError::NotNow | StartError::Stopping) => {
                TakenUp::NotYet
            }
            Err(error @ StartError::Broken { .. }) => {
                tracing::error!(session, %error, "an open session cannot be taken up");
                TakenUp::Settled
            }
        }
    }

    /// Looks for sessions that are open and nobody's, whenever Redis may have lost whose they were.
    async fn sweep_when_due(&self, member: &Member) {
        let mut seen = member.node.seen();
        while seen.wait_for(|seen| seen.sweep_is_due).await.is_ok() {
            match self.sweep(member).await {
                Ok(taken) => tracing::info!(sessions = taken, "the open sessions that nobody owned are taken up"),
                Err(error) => tracing::warn!(%error, "the open sessions cannot be looked through yet"),
            }
            // Until the next renewal has shown what came of it.
            if seen.changed().await.is_err() {
                return;
            }
        }
    }

    async fn sweep(&self, member: &Member) -> Result<usize, StartError> {
        let mut open = self.services().store.open_sessions().await?;
        // Each node begins elsewhere, so that they do not all try the same ones.
        let from = u64::from_be_bytes(self.services().entropy.bytes()) as usize % open.len().max(1);
        open.rotate_left(from);
        let seen = member.node.seen();
        let swept = stream::iter(open).map(|(key, session)| {
            let seen = &seen;
            async move {
                // Others may have finished before.
                if !seen.borrow().sweep_is_due || member.node.owner(&session).await?.is_some() {
                    return Ok(0);
                }
                match self.take_up(&session, key).await {
                    Ok(()) => Ok(1),
                    Err(StartError::NotOpen | StartError::Elsewhere(_)) => Ok(0),
                    Err(error @ StartError::Broken { .. }) => {
                        tracing::error!(session, %error, "an open session cannot be taken up");
                        Ok(0)
                    }
                    Err(error) => Err(error),
                }
            }
        });
        let swept: Vec<Result<usize, StartError>> = swept.buffer_unordered(SWEPT_AT_ONCE).collect().await;
        let taken = swept.into_iter().sum::<Result<usize, StartError>>()?;
        member.node.swept().await?;
        Ok(taken)
    }

    /// Lets go of sessions that others have taken while this node was cut off.
    async fn drop_what_is_lost(&self, member: &Member) {
        loop {
            for session in member.node.lost().await {
                if let Some(handle) = self.find(&session) {
                    let _ = handle.mailbox.send(Message::Part(Parting::Taken).into()).await;
                }
            }
        }
    }
}
