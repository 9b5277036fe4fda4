//! What can be said to a live session, and how.
//!
//! The client's connection takes the session in hand ([`Turn`]), one at a time; everybody else leaves a message. The
//! mailbox is bounded: who finds it full waits. A connection that waits for its turn reads no further.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use tokio::sync::{mpsc, oneshot};

use super::photos::Checked;
use super::run::{Seat, Turn};
use crate::clock::Stopwatch;
use crate::gateway::bucket::Bucket;
use crate::gateway::wire::{ErrorMessage, LeaveReason, ServerMessage};
use crate::log::CloseReason;
use crate::schedule::{Asked, NotNow};

/// Messages that may wait for one session.
pub(super) const MAILBOX_LIMIT: usize = 64;
/// Messages that may wait for one client; one that reads so slowly is dropped and may come back.
pub const OUTBOUND_LIMIT: usize = 256;

/// Numbers the connections of one server process.
pub type ConnectionId = u64;

/// What a connection is told to do.
#[derive(Debug)]
pub enum Outbound {
    /// Send this text.
    Text(Utf8Bytes),
    /// Send this acknowledgement of events that arrived when the stopwatch started.
    Acknowledgement(Utf8Bytes, Stopwatch),
    /// Send what came before, then close with this code.
    Close(u16),
}

/// The session's end of a connection.
#[derive(Debug)]
pub struct Outlet(Arc<Mutex<Line>>);

/// The connection's end: what it is to send.
#[derive(Debug)]
pub struct OutboundQueue(Arc<Mutex<Line>>);

/// What is between the two. Idle connections are many, so it holds nothing while nothing waits.
#[derive(Debug)]
struct Line {
    waiting: VecDeque<Outbound>,
    /// the session still holds its end, and the connection its own
    open: bool,
    /// the connection sleeps until something comes
    reader: Option<Waker>,
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Outlet {
    /// An outlet and the end that the connection reads.
    pub fn new() -> (Self, OutboundQueue) {
        let line = Arc::new(Mutex::new(Line { waiting: VecDeque::new(), open: true, reader: None }));
        (Self(line.clone()), OutboundQueue(line))
    }

    /// Whether the message could be queued.
    pub(super) fn send(&self, message: &ServerMessage) -> bool {
        self.push(Outbound::Text(message.to_text().into()))
    }

    /// Acknowledges everything up to `seq`; the events arrived when the stopwatch started. Whether that could be queued.
    pub(super) fn acknowledge(&self, seq: u64, arrived: Stopwatch) -> bool {
        // Nearly all that is ever sent: composed without a serialiser, and a test holds it to the other form.
        self.push(Outbound::Acknowledgement(format!(r#"{{"type":"ack","seq":{seq}}}"#).into(), arrived))
    }

    fn push(&self, outbound: Outbound) -> bool {
        let mut line = lock(&self.0);
        if !line.open || line.waiting.len() >= OUTBOUND_LIMIT {
            return false;
        }
        line.waiting.push_back(outbound);
        let reader = line.reader.take();
        drop(line);
        reader.into_iter().for_each(Waker::wake);
        true
    }

    /// Tells the client what is wrong, and closes where the protocol says so. Whether the connection stays.
    pub(super) fn refuse(&self, error: ErrorMessage) -> bool {
        let close = error.code.close_code();
        let sent = self.send(&ServerMessage::Error(error));
        match close {
            Some(code) => {
                self.close(code);
                false
            }
            None => sent,
        }
    }

    /// Asks the connection to close.
    pub(super) fn close(&self, code: u16) {
        self.push(Outbound::Close(code));
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut line = lock(&self.0);
        line.open = false;
        let reader = line.reader.take();
        drop(line);
        reader.into_iter().for_each(Waker::wake);
    }
}

impl OutboundQueue {
    /// The next message, once there is one; `None` when the session has let go of the connection and all is read.
    pub async fn next(&mut self) -> Option<Outbound> {
        std::future::poll_fn(|context| {
            let mut line = lock(&self.0);
            if let Some(outbound) = line.pop() {
                return Poll::Ready(Some(outbound));
            }
            if !line.open {
                return Poll::Ready(None);
            }
            if !line.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                line.reader = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// The next message, if there is one.
    pub fn try_next(&mut self) -> Option<Outbound> {
        lock(&self.0).pop()
    }

    /// The connection is awake, and will look by itself before it sleeps again.
    pub fn attend(&mut self) {
        lock(&self.0).reader = None;
    }
}

impl Drop for OutboundQueue {
    fn drop(&mut self) {
        lock(&self.0).open = false;
    }
}

impl Line {
    fn pop(&mut self) -> Option<Outbound> {
        let next = self.waiting.pop_front();
        if self.waiting.is_empty() && self.waiting.capacity() > 4 {
            self.waiting = VecDeque::new();
        }
        next
    }
}

/// How a client arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// the client's clock as said in its hello, ms
    pub ct: i64,
    /// server time, ms since the epoch
    pub at: i64,
    /// keyed digest of its network address
    pub address: Option<Arc<str>>,
    /// keyed digest of its device's id
    pub device: Option<Arc<str>>,
}

/// A photo as a client sent it.
#[derive(Debug)]
pub struct IncomingPhoto {
    /// the capture that it answers
    pub capture: String,
    /// the nonce, as the client gave it back
    pub nonce: String,
    /// the bytes
    pub bytes: Bytes,
}

/// A message on its way. Boxed, since a channel keeps room for 32 from the start, and most sessions never get one.
pub(super) type Mail = Box<Message>;

/// A message to a live session from anybody but its client. What the client says comes in a [`Turn`].
#[derive(Debug)]
pub(super) enum Message {
    /// A photo is encrypted on disk.
    PhotoKept { capture: String },
    /// The vision workers have answered.
    Checked(Box<Checked>),
    /// Two sessions of this learner played at once: presence has kept what this one is to be told.
    Overlaps,
    /// The platform, or a newer session, ends this one. The answer comes once the verdict is on record.
    Close { reason: CloseReason, closed: Option<oneshot::Sender<()>> },
    /// The session ends here, not everywhere.
    Part(Parting),
    /// The learner has come to another node at `arrived_at`: the session rests, so that it goes on there.
    Release { arrived_at: i64, released: oneshot::Sender<Released> },
}

/// How a session leaves this process. Its log stays, and somebody takes it up from there.
#[derive(Debug)]
pub(super) enum Parting {
    /// The server stops: the session rests in the journal.
    Stop,
    /// The learner has come to another node: the session rests, its older client hears that there is a newer, and the
    /// answer says that it may go on there.
    Release(oneshot::Sender<Released>),
    /// Another node has taken it: there is nothing left to write.
    Taken,
}

/// What became of a session that was to be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Released {
    /// It rests in the journal.
    Rests,
    /// Its learner has come here since, and it stays.
    Newer,
}

/// A live session, as seen by everyone else.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) mailbox: mpsc::Sender<Mail>,
    pub(super) seat: Arc<Seat>,
    /// what the session may still send, over all its connections
    pub(super) events: Arc<Mutex<Bucket>>,
}

/// The session has ended, or its owner is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is not live here")]
pub struct Gone;

impl Handle {
    /// Takes the session in hand, as soon as nobody else has it.
    ///
    /// # Errors
    /// [`Gone`], as for all of these.
    pub async fn turn(&self) -> Result<Turn, Gone> {
        Turn::take(self.seat.clone()).await
    }

    /// Takes leave for one event.
    ///
    /// # Errors
    /// In how many ms there will be leave for one more.
    pub fn admit_event(&self, now_ms: i64) -> Result<(), i64> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take(now_ms)
    }

    /// A client has shown its token and its key. Returns once the log holds its `connection.opened`.
    ///
    /// # Errors
    /// [`Gone`], as for all of these.
    pub async fn attach(&self, connection: ConnectionId, outlet: Outlet, arrival: Arrival) -> Result<(), Gone> {
        let mut turn = self.turn().await?;
        turn.live().attach(connection, outlet, arrival);
        turn.end().await
    }

    /// A ping came back fast enough to believe the client's clock.
    pub async fn synced(&self, connection: ConnectionId, ct: i64, at: i64) -> Result<(), Gone> {
        let mut turn = self.turn().await?;
        turn.live().synced(connection, ct, at);
        turn.end().await
    }

    /// The client may begin: it is sent the welcome and what is open.
    pub async fn welcome(&self, connection: ConnectionId) -> Result<(), Gone> {
        let mut turn = self.turn().await?;
        turn.live().welcome(connection);
        turn.end().await
    }

    /// A photo.
    pub async fn photo(&self, connection: ConnectionId, photo: IncomingPhoto, at: i64) -> Result<(), Gone> {
        let mut turn = self.turn().await?;
        turn.live().photo(connection, photo, at);
        turn.end().await
    }

    /// The learner says that they are there.
    pub async fn ready(&self, connection: ConnectionId) -> Result<(), Gone> {
        let mut turn = self.turn().await?;
        let live = turn.live();
        live.ready = live.is_current(connection);
        turn.end().await
    }

    /// The learner ends the session.
    pub async fn leave(&self, connection: ConnectionId, reason: LeaveReason, at: i64) -> Result<(), Gone> {
        let mut turn = self.turn().await?;
        if turn.live().is_current(connection) {
            turn.live().leave(reason, at);
        }
        turn.end().await
    }

    /// A supervisor asks for something beside the schedule; the log has it when this returns.
    pub(super) async fn ask(&self, asked: Asked) -> Result<Result<(), NotNow>, Gone> {
        let mut turn = self.turn().await?;
        let answer = turn.live().ask(asked);
        turn.end().await?;
        Ok(answer)
    }

    /// The connection is gone.
    pub async fn detached(&self, connection: ConnectionId, at: i64) -> Result<(), Gone> {
        let mut turn = self.turn().await?;
        turn.live().detached(connection, at);
        turn.end().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_queued_is_read_in_order_until_the_session_lets_go() {
        let (outlet, mut queue) = Outlet::new();
        let reader = tokio::spawn(async move {
            let mut texts = Vec::new();
            while let Some(Outbound::Text(text) | Outbound::Acknowledgement(text, _)) = queue.next().await {
                texts.push(text.to_string());
            }
            texts
        });
        assert!(outlet.acknowledge(7, Stopwatch::start()) && outlet.send(&ServerMessage::Play));
        drop(outlet);
        let acknowledgement = ServerMessage::Ack { seq: 7 }.to_text();
        assert_eq!(reader.await.unwrap(), [acknowledgement, ServerMessage::Play.to_text()]);
    }

    #[test]
    fn a_client_that_does_not_read_fills_its_queue() {
        let (outlet, mut queue) = Outlet::new();
        assert!((0..OUTBOUND_LIMIT as u64).all(|seq| outlet.acknowledge(seq, Stopwatch::start())));
        assert!(!outlet.acknowledge(0, Stopwatch::start()));
        assert!(queue.try_next().is_some() && outlet.acknowledge(0, Stopwatch::start()));
        drop(queue);
        assert!(!outlet.acknowledge(0, Stopwatch::start()), "nobody is there to read it");
    }
}
