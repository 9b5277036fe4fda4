//! Who has a live session in hand, and what ends each turn: keep the schedule, make it durable, tell.
//!
//! A session is one state behind one lock, so whatever happens to it happens in turns that never interleave. Its
//! client's connection takes turns by itself, because handing every event to another task and its acknowledgement back
//! would cost more than the event. The session's own task takes a turn when there is mail, or when time brings something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::Receiver;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use super::live::{Live, Lost};
use super::mailbox::{ConnectionId, Gone, Mail, Message, Parting, Released};
use crate::clock::{Clock, Stopwatch};
use crate::gateway::wire::ClientEvent;
use crate::store::AppendError;

/// Messages that are taken together, so that they share a commit.
const MESSAGES_LIMIT: usize = 64;

/// Where a live session is: in nobody's hand, or in one's. Empty once it has ended.
pub(super) struct Seat {
    live: Arc<Mutex<Option<Live>>>,
    /// the journal refused, or this node may not act: the log on disk is whole, and the session must be taken up again
    lost: AtomicBool,
    /// it was told to leave, and has left
    parted: AtomicBool,
    /// a turn has left something for the session's own task: an end, or something to wake for earlier
    left: Notify,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Seat")
    }
}

/// How a session has left this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It is closed.
    Closed,
    /// It rests in the journal, as it was told to, or another node has it.
    Parted,
    /// It must be taken up again from its log.
    Lost,
}

/// What follows from a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    Lives,
    Ended,
}

/// A session in hand. One that is dropped before its end (its task was cancelled, or panicked) has left a state and a
/// batch that nobody can vouch for: the session is taken up again from its journal.
pub struct Turn {
    live: OwnedMutexGuard<Option<Live>>,
    seat: Arc<Seat>,
    /// events were taken, and are acknowledged in the end
    acknowledges: bool,
    over: bool,
}

impl Turn {
    pub(super) async fn take(seat: Arc<Seat>) -> Result<Self, Gone> {
        let live = seat.live.clone().lock_owned().await;
        if live.is_none() { Err(Gone) } else { Ok(Self { live, seat, acknowledges: false, over: false }) }
    }

    pub(super) fn live(&mut self) -> &mut Live {
        self.live.as_mut().expect("a turn is only taken of a session that lives, and ends when it does")
    }

    /// The next event of the client, which arrived at `at`, when the stopwatch started. The first that cannot be taken
    /// ends the connection; what came before it counts, and what comes after does not.
    pub fn event(&mut self, connection: ConnectionId, event: &ClientEvent, at: i64, arrived: Stopwatch) {
        let first = !std::mem::replace(&mut self.acknowledges, true);
        self.live().client_event(connection, event, at, first.then_some(arrived));
    }

    /// Makes durable what happened in this turn, and tells. On disk when it returns.
    ///
    /// # Errors
    /// [`Gone`] when the journal refused, or this node may not act.
    pub async fn end(mut self) -> Result<(), Gone> {
        match self.settle().await {
            Ok(Stand::Lives) => {
                if self.live().must_wake_earlier() {
                    self.seat.left.notify_one();
                }
                Ok(())
            }
            Ok(Stand::Ended) => {
                self.seat.left.notify_one();
                Ok(())
            }
            Err(gone) => {
                self.seat.left.notify_one();
                Err(gone)
            }
        }
    }

    async fn settle(&mut self) -> Result<Stand, Gone> {
        let settled = self.live().settle_turn().await;
        self.over = true;
        match settled {
            Ok(Stand::Lives) => Ok(Stand::Lives),
            Ok(Stand::Ended) => {
                *self.live = None;
                Ok(Stand::Ended)
            }
            Err(error) => {
                self.lose(&error);
                Err(Gone)
            }
        }
    }

    /// The session leaves this process.
    async fn part(mut self, parting: Parting) {
        self.seat.parted.store(true, Ordering::Release);
        if let Parting::Taken = parting {
            *self.live = None;
            self.over = true;
            return;
        }
        let settled = self.live().settle().await;
        self.over = true;
        match settled {
            Ok(()) => {
                let live = self.live.take();
                if let Parting::Release(released) = parting {
                    live.into_iter().for_each(Live::supersede);
                    let _ = released.send(Released::Rests);
                }
            }
            Err(lost) => self.lose(&lost),
        }
    }

    fn lose(&mut self, lost: &Lost) {
        let live = self.live.take();
        let is_member = live.as_ref().is_some_and(|live| live.services.cluster.member().is_some());
        let session = live.map(|live| live.id);
        match lost {
            // The writer has said that the disk refuses: thousands of sessions need not repeat it.
            Lost::Journal(AppendError::Store(error)) if error.is_passing() => {
                tracing::debug!(session, %error, "a session waits for the disk");
            }
            Lost::Lease => tracing::debug!(session, "a session waits for the lease of this node"),
            // The journal keeps owners apart; this is how one of them hears of it.
            Lost::Journal(error @ (AppendError::StaleEpoch { .. } | AppendError::WrongNumber { .. })) if is_member => {
                tracing::info!(session, %error, "a session was taken by another node");
            }
            Lost::Journal(error) => {
                tracing::error!(session, %error, "a session lost its journal and is taken up again");
            }
        }
        self.seat.lost.store(true, Ordering::Release);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.over {
            let session = self.live.take().map(|live| live.id);
            tracing::warn!(session, "a session was let go of in the middle of a turn and is taken up again");
            self.seat.lost.store(true, Ordering::Release);
            self.seat.left.notify_one();
        }
    }
}

impl Seat {
    pub(super) fn new(live: Live) -> Arc<Self> {
        let live = Arc::new(Mutex::new(Some(live)));
        Arc::new(Self { live, lost: AtomicBool::new(false), parted: AtomicBool::new(false), left: Notify::new() })
    }

    /// Keeps the session until it is closed, told to leave, or lost.
    pub(super) async fn keep(self: Arc<Self>, clock: Clock, mut mailbox: Receiver<Mail>) -> Left {
        let mut first = None;
        // Boxed: a turn is rare here, and would take room in every session that waits.
        while let Some(wake_at) = Box::pin(self.own_turn(first.take(), &mut mailbox)).await {
            tokio::select! {
                // What has arrived comes before what time brings: it may be the answer that was in time.
                biased;
                message = mailbox.recv() => match message {
                    Some(message) => first = Some(message),
                    None => break,
                },
                () = self.left.notified() => {}
                () = clock.sleep_until_ms(wake_at) => {}
            }
        }
        match (self.lost.load(Ordering::Acquire), self.parted.load(Ordering::Acquire)) {
            (true, _) => Left::Lost,
            (false, true) => Left::Parted,
            (false, false) => Left::Closed,
        }
    }

    /// Takes the mail and what time has brought. When to come again; `None`: never.
    async fn own_turn(self: &Arc<Self>, first: Option<Mail>, mailbox: &mut Receiver<Mail>) -> Option<i64> {
        let mut turn = Turn::take(self.clone()).await.ok()?;
        let mail = first.into_iter().chain(std::iter::from_fn(|| mailbox.try_recv().ok())).take(MESSAGES_LIMIT);
        for message in mail {
            if let Some(parting) = turn.live().take(*message) {
                turn.part(parting).await;
                return None;
            }
        }
        match turn.settle().await {
            Ok(Stand::Lives) => Some(turn.live().sleep_until()),
            Ok(Stand::Ended) | Err(Gone) => None,
        }
    }
}

impl Live {
    /// What a restart has left: a connection that is no more, a photo that was kept but not checked. Before anything
    /// else happens to the session.
    pub(super) async fn resume(&mut self) {
        if self.schedule.connected() {
            self.record_disconnect(self.now());
        }
        self.tell_played().await;
        let now_ms = self.now();
        self.schedule.recovered(now_ms);
        let Some(pending) = self.schedule.pending_capture() else { return };
        let (capture, committed) = (pending.id.clone(), pending.committed.clone());
        let Some(sha256) = committed else { return };
        if let Ok(Some(_)) = self.services.store.kept_photo(self.key, &capture).await {
            self.start_check(capture, sha256, None);
        }
    }

    /// The end of every turn.
    async fn settle_turn(&mut self) -> Result<Stand, Lost> {
        self.check_lease()?;
        self.tell_played().await;
        self.keep_schedule();
        self.leave_if_silent();
        let stand = if self.may_close() {
            // Boxed: it happens once, and would take room in every turn.
            Box::pin(self.close()).await?;
            Stand::Ended
        } else {
            self.settle().await?;
            Stand::Lives
        };
        Ok(stand)
    }

    /// When the session's own task must look again, which it is about to sleep until.
    fn sleep_until(&mut self) -> i64 {
        self.sleeps_until = self.wake_at().unwrap_or(i64::MAX);
        self.sleeps_until
    }

    /// Whether there is something to wake for before the session's own task does. It sleeps on over what is put off.
    fn must_wake_earlier(&mut self) -> bool {
        let wake_at = self.wake_at().unwrap_or(i64::MAX);
        let earlier = wake_at < self.sleeps_until;
        self.sleeps_until = self.sleeps_until.min(wake_at);
        earlier
    }

    /// Takes one message, unless it says that the session leaves this process.
    fn take(&mut self, message: Message) -> Option<Parting> {
        match message {
            Message::PhotoKept { capture } => self.photo_kept(capture),
            Message::Checked(checked) => self.checked(*checked),
            Message::Overlaps => self.playing.called(),
            Message::Close { reason, closed } => self.begin_leaving(reason, closed),
            Message::Part(parting) => return Some(parting),
            Message::Release { arrived_at, released } => {
                if self.connection.as_ref().is_none_or(|connection| connection.arrived_at <= arrived_at) {
                    return Some(Parting::Release(released));
                }
                let _ = released.send(Released::Newer);
            }
        }
        None
    }
}
