//! What can be said to a live session, and how.
//!
//! Everything that happens to a session goes through its mailbox, one message after the other. The mailbox is bounded:
//! who finds it full waits (a connection, which then reads no further) or is told to come back.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::photos::Checked;
use crate::clock::Stopwatch;
use crate::gateway::bucket::Bucket;
use crate::gateway::wire::{ErrorMessage, LeaveReason, ServerMessage};
use crate::log::CloseReason;

/// Messages that may wait for one session.
pub(super) const MAILBOX_LIMIT: usize = 256;
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
#[derive(Clone, Debug)]
pub struct Outlet(pub(super) mpsc::Sender<Outbound>);

impl Outlet {
    /// An outlet and the end that the connection reads.
    pub fn new() -> (Self, mpsc::Receiver<Outbound>) {
        let (sender, receiver) = mpsc::channel(OUTBOUND_LIMIT);
        (Self(sender), receiver)
    }

    /// Whether the message could be queued.
    pub(super) fn send(&self, message: &ServerMessage) -> bool {
        self.0.try_send(Outbound::Text(message.to_text().into())).is_ok()
    }

    /// Whether the acknowledgement could be queued.
    pub(super) fn acknowledge(&self, seq: u64, arrived: Stopwatch) -> bool {
        let text = ServerMessage::Ack { seq }.to_text().into();
        self.0.try_send(Outbound::Acknowledgement(text, arrived)).is_ok()
    }

    /// Tells the client what is wrong, and closes where the protocol says so. Whether the connection stays.
    pub(super) fn refuse(&self, error: ErrorMessage) -> bool {
        let close = error.code.close_code();
        let sent = self.send(&ServerMessage::Error(error));
        match close {
            Some(code) => {
                let _ = self.0.try_send(Outbound::Close(code));
                false
            }
            None => sent,
        }
    }

    /// Asks the connection to close.
    pub(super) fn close(&self, code: u16) {
        let _ = self.0.try_send(Outbound::Close(code));
    }
}

/// An event as a client sent it.
#[derive(Debug)]
pub struct IncomingEvent {
    /// the client's number
    pub seq: u64,
    /// the client's clock, ms
    pub ct: i64,
    /// the event's type
    pub kind: String,
    /// its data, byte for byte
    pub data: Box<RawValue>,
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

/// A message to a live session. `at` is the server time at which it arrived, in ms since the epoch.
#[derive(Debug)]
pub(super) enum Message {
    /// A client has shown its token and its key; it takes the place of any other.
    Attach { connection: ConnectionId, outlet: Outlet, arrival: Arrival, attached: oneshot::Sender<()> },
    /// A ping came back in less than a second.
    Synced { connection: ConnectionId, ct: i64, at: i64 },
    /// The handshake is over: the client may begin.
    Welcome { connection: ConnectionId },
    /// Events, in the order of their arrival; the stopwatch started with it.
    Events { connection: ConnectionId, events: Vec<IncomingEvent>, at: i64, arrived: Stopwatch },
    /// A photo.
    Photo { connection: ConnectionId, photo: IncomingPhoto, at: i64 },
    /// The learner says that they are there.
    Ready { connection: ConnectionId },
    /// The learner ends the session.
    Leave { connection: ConnectionId, reason: LeaveReason, at: i64 },
    /// The connection is gone.
    Detached { connection: ConnectionId, at: i64 },
    /// A photo is encrypted on disk.
    PhotoKept { capture: String },
    /// The vision workers have answered.
    Checked(Checked),
    /// Two sessions of this learner played at once: presence has kept what this one is to be told.
    Overlaps,
    /// The platform, or a newer session, ends this one. The answer comes once the verdict is on record.
    Close { reason: CloseReason, closed: Option<oneshot::Sender<()>> },
    /// The server stops: say so to the client, and let the session rest in the journal.
    Stop,
}

/// A live session, as seen by everyone else.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) mailbox: mpsc::Sender<Message>,
    /// what the session may still send, over all its connections
    pub(super) events: Arc<Mutex<Bucket>>,
}

/// The session has ended, or its owner is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is not live here")]
pub struct Gone;

impl Handle {
    async fn tell(&self, message: Message) -> Result<(), Gone> {
        self.mailbox.send(message).await.map_err(|_| Gone)
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
        let (attached, answer) = oneshot::channel();
        self.tell(Message::Attach { connection, outlet, arrival, attached }).await?;
        answer.await.map_err(|_| Gone)
    }

    /// A ping came back fast enough to believe the client's clock.
    pub async fn synced(&self, connection: ConnectionId, ct: i64, at: i64) -> Result<(), Gone> {
        self.tell(Message::Synced { connection, ct, at }).await
    }

    /// The client may begin: it is sent the welcome and what is open.
    pub async fn welcome(&self, connection: ConnectionId) -> Result<(), Gone> {
        self.tell(Message::Welcome { connection }).await
    }

    /// Events in the order of their arrival; `arrived` was started then.
    pub async fn events(
        &self,
        connection: ConnectionId,
        events: Vec<IncomingEvent>,
        at: i64,
        arrived: Stopwatch,
    ) -> Result<(), Gone> {
        self.tell(Message::Events { connection, events, at, arrived }).await
    }

    /// A photo.
    pub async fn photo(&self, connection: ConnectionId, photo: IncomingPhoto, at: i64) -> Result<(), Gone> {
        self.tell(Message::Photo { connection, photo, at }).await
    }

    /// The learner says that they are there.
    pub async fn ready(&self, connection: ConnectionId) -> Result<(), Gone> {
        self.tell(Message::Ready { connection }).await
    }

    /// The learner ends the session.
    pub async fn leave(&self, connection: ConnectionId, reason: LeaveReason, at: i64) -> Result<(), Gone> {
        self.tell(Message::Leave { connection, reason, at }).await
    }

    /// The connection is gone.
    pub async fn detached(&self, connection: ConnectionId, at: i64) -> Result<(), Gone> {
        self.tell(Message::Detached { connection, at }).await
    }
}
