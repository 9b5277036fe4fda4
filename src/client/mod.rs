//! A client of the streaming protocol (docs/protocol.md): what the demo, the benchmarks and the tests speak with.
//!
//! It holds a session through lost connections: it numbers events, keeps them until they are on the server's disk,
//! sends again what is not, answers pings, renews its token. It plays no video, takes no photo and knows no answer:
//! that is its owner's part. It speaks `ws://` and, with the roots that it is given or the machine's, `wss://`.

mod backoff;
mod connection;
mod event;
mod key;
mod photos;
mod task;
#[cfg(test)]
mod tests;
mod trust;
mod unacknowledged;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

pub use self::event::{Event, PlaybackEvent, PlayerState};
pub use self::key::{ClientKey, KeyPairError};
use self::task::{Command, State, Task};
pub use self::trust::{Trust, TrustError};
use crate::clock::{Clock, Entropy};
use crate::gateway::wire::{Capture, ErrorCode, LeaveReason, ServerMessage};

/// Commands that may wait for the client's task; one more waits for room.
const COMMANDS_LIMIT: usize = 256;
/// Messages that may wait to be read: a server sends a handful a minute, besides what never gets here.
const MESSAGES_LIMIT: usize = 1_024;

/// Who holds a session, as its platform was told.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// the session's id
    pub session: String,
    /// the learner's token
    pub token: String,
    /// the client's own key
    pub key: Arc<ClientKey>,
    /// the random id that this browser keeps, if it keeps one
    pub device: Option<String>,
}

/// Whether the server can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Not yet.
    Connecting,
    /// Yes.
    Up,
    /// Not since then (ms, on the client's clock).
    Down {
        /// when the connection was lost
        since_ms: i64,
    },
    /// Not before the platform gives a new token: see [`Handle::renew_token`].
    TokenNeeded,
    /// Never again.
    Ended(Ending),
}

/// Why a client came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The session has ended.
    Closed,
    /// The server will not have this client.
    Refused(ErrorCode),
    /// Its owner let go of it, or stopped reading its messages.
    Abandoned,
}

/// The client has come to its end; [`Handle::link`] says why. What the server said before, the verdict perhaps, can
/// still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has ended")]
pub struct Ended;

/// A session's client: a [`Handle`] to speak, and the server's messages to listen to.
#[derive(Debug)]
pub struct Client {
    handle: Handle,
    messages: mpsc::Receiver<ServerMessage>,
}

/// Speaks for a client. Cheap to clone; when the client and all its handles are gone, the connection is dropped.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    link: watch::Receiver<Link>,
    acknowledged: watch::Receiver<u64>,
    clock: Clock,
    origin_ms: i64,
}

impl Client {
    /// Begins to connect to `url` (`ws://host:port/v1/stream`, or `wss://`), and returns at once. `clock` must not jump:
    /// the client's own time is what it has shown since now. Waits between connections are drawn from `entropy`.
    pub fn connect(url: impl Into<String>, credentials: Credentials, clock: Clock, entropy: Entropy) -> Self {
        Self::connect_trusting(url, credentials, clock, entropy, Trust::system())
    }

    /// The same; over `wss://` with a server whose certificate rests on `trust`.
    pub fn connect_trusting(
        url: impl Into<String>,
        credentials: Credentials,
        clock: Clock,
        entropy: Entropy,
        trust: Trust,
    ) -> Self {
        let (commands, commanded) = mpsc::channel(COMMANDS_LIMIT);
        let (forwarded, messages) = mpsc::channel(MESSAGES_LIMIT);
        let (link, link_seen) = watch::channel(Link::Connecting);
        let (acknowledged, acknowledged_seen) = watch::channel(0);
        let origin_ms = clock.now_ms();
        let handle =
            Handle { commands, link: link_seen, acknowledged: acknowledged_seen, clock: clock.clone(), origin_ms };
        let task = Task {
            url: url.into(),
            credentials,
            trust,
            clock,
            entropy,
            origin_ms,
            commands: commanded,
            messages: forwarded,
            link,
            acknowledged,
            state: State::default(),
        };
        tokio::spawn(task.run());
        Self { handle, messages }
    }

    /// The server's next message; none once the client has ended. Challenges, pings and acknowledgements stay with
    /// the client, as do captures that are asked for again while it still holds the photo.
    pub async fn next(&mut self) -> Option<ServerMessage> {
        self.messages.recv().await
    }

    /// What speaks for this client.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Handle {
    /// The client's own clock, ms since it began: the `ct` of an event that happens now.
    pub fn ct_ms(&self) -> i64 {
        self.ct_at(self.clock.now_ms())
    }

    /// What the client's own clock showed when `now_ms` was on the clock that it was given.
    pub fn ct_at(&self, now_ms: i64) -> i64 {
        now_ms - self.origin_ms
    }

    /// Reports something that happens now. Returns once it is taken down, which is before it is sent; it will be
    /// sent until the server has it.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn send_event(&self, event: Event) -> Result<(), Ended> {
        self.send_event_at(self.ct_ms(), event).await
    }

    /// Reports something that happened when the client's own clock showed `ct_ms`. One that is older than the event
    /// before is brought forward to it.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn send_event_at(&self, ct_ms: i64, event: Event) -> Result<(), Ended> {
        self.command(Command::Event { ct: ct_ms, event }).await
    }

    /// Answers a capture: commits to `photo` now, and sends it once the commitment is acknowledged. It is the bytes of a
    /// JPEG, PNG or WebP file, or a burst of such files ([`crate::vision::burst::compose`]).
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn send_photo(&self, capture: Capture, photo: Vec<u8>) -> Result<(), Ended> {
        self.command(Command::Photo { ct: self.ct_ms(), capture, bytes: photo }).await
    }

    /// Says that the learner is there, after a pause.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn ready(&self) -> Result<(), Ended> {
        self.command(Command::Ready).await
    }

    /// Ends the session; the verdict comes as [`ServerMessage::Closed`].
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn close(&self, reason: LeaveReason) -> Result<(), Ended> {
        self.command(Command::Close(reason)).await
    }

    /// Gives the client a new token that came from the platform.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn renew_token(&self, token: String) -> Result<(), Ended> {
        self.command(Command::Token(token)).await
    }

    /// Plays a network that fails: the connection is dropped without a word, and none stands for `for_ms`.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn cut(&self, for_ms: i64) -> Result<(), Ended> {
        self.command(Command::Cut { for_ms }).await
    }

    /// Whether the server can be reached, now and from now on.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// The highest `seq` that is on the server's disk, now and from now on.
    pub fn acknowledged(&self) -> watch::Receiver<u64> {
        self.acknowledged.clone()
    }

    async fn command(&self, command: Command) -> Result<(), Ended> {
        self.commands.send(command).await.map_err(|_| Ended)
    }
}
