//! The life of a client: connect, replay, listen, lose the connection, come back.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::{self, Message};

use super::backoff::Backoff;
use super::connection::{Caller, Next, SILENCE_LIMIT_MS, Socket};
use super::event::Event;
use super::photos::Photos;
use super::unacknowledged::Unacknowledged;
use super::{Credentials, Ending, Link, Trust};
use crate::clock::{Clock, Entropy};
use crate::gateway::wire::{Capture, Control, LeaveReason, ServerMessage, Welcome};

/// What the owner of a client asks for.
#[derive(Debug)]
pub(super) enum Command {
    Event { ct: i64, event: Event },
    Photo { ct: i64, capture: Capture, bytes: Vec<u8> },
    Ready,
    Close(LeaveReason),
    Token(String),
    Cut { for_ms: i64 },
}

/// What keeps the task from going on with what it does.
enum Interrupt {
    /// Nobody holds the client any more.
    Abandoned,
    /// The network is cut.
    Cut,
    /// There is a new token.
    Token,
}

pub(super) struct Task {
    pub(super) url: String,
    pub(super) credentials: Credentials,
    pub(super) trust: Trust,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
    pub(super) origin_ms: i64,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) messages: mpsc::Sender<ServerMessage>,
    pub(super) link: watch::Sender<Link>,
    pub(super) acknowledged: watch::Sender<u64>,
    pub(super) state: State,
}

/// What outlives a connection.
#[derive(Debug, Default)]
pub(super) struct State {
    events: Unacknowledged,
    photos: Photos,
    ready: bool,
    leaving: Option<LeaveReason>,
    /// where the server told us to go
    moved_to: Option<String>,
    cut_until_ms: i64,
}

/// What is sent once a connection.
#[derive(Default)]
struct Sent {
    ready: bool,
    leaving: bool,
}

impl Task {
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let ending = loop {
            let next = self.one_connection(&mut backoff).await;
            let proceed = match next {
                Next::End(ending) => break ending,
                Next::Token => self.wait_for_token().await,
                Next::Reconnect { after_ms } => {
                    self.lost();
                    self.wait(after_ms.unwrap_or(0).max(backoff.next_ms(&self.entropy))).await
                }
            };
            if proceed.is_err() {
                break Ending::Abandoned;
            }
        };
        self.link.send_replace(Link::Ended(ending));
    }

    fn lost(&self) {
        let since_ms = self.clock.now_ms();
        self.link.send_if_modified(|link| {
            let was_up = matches!(link, Link::Up);
            if was_up {
                *link = Link::Down { since_ms };
            }
            was_up
        });
    }

    async fn one_connection(&mut self, backoff: &mut Backoff) -> Next {
        let url = self.state.moved_to.clone().unwrap_or_else(|| self.url.clone());
        // Moved aside, so that commands can be taken while the handshake borrows what it needs.
        let (clock, credentials, trust) = (self.clock.clone(), self.credentials.clone(), self.trust.clone());
        let (acknowledged, origin_ms) = (self.state.events.acknowledged(), self.origin_ms);
        let caller =
            Caller { url: &url, credentials: &credentials, trust: &trust, acknowledged, clock: &clock, origin_ms };
        match self.noting(caller.call()).await {
            Ok(Ok((socket, welcome))) => {
                backoff.reset();
                self.converse(socket, welcome).await
            }
            Ok(Err(next)) => {
                // The address that we were sent to may be gone by now: the first one knows.
                self.state.moved_to = None;
                next
            }
            Err(Interrupt::Abandoned) => Next::End(Ending::Abandoned),
            Err(Interrupt::Cut | Interrupt::Token) => Next::RECONNECT,
        }
    }

    async fn wait(&mut self, for_ms: i64) -> Result<(), Interrupt> {
        let mut until_ms = self.clock.now_ms() + for_ms;
        loop {
            until_ms = until_ms.max(self.state.cut_until_ms);
            let clock = self.clock.clone();
            match self.noting(clock.sleep_until_ms(until_ms)).await {
                Err(Interrupt::Abandoned) => return Err(Interrupt::Abandoned),
                Err(Interrupt::Cut) => {}
                Ok(()) | Err(Interrupt::Token) => return Ok(()),
            }
        }
    }

    async fn wait_for_token(&mut self) -> Result<(), Interrupt> {
        self.link.send_replace(Link::TokenNeeded);
        loop {
            match self.noting(std::future::pending::<()>()).await {
                Err(Interrupt::Abandoned) => return Err(Interrupt::Abandoned),
                Err(Interrupt::Token) => return Ok(()),
                Ok(()) | Err(Interrupt::Cut) => {}
            }
        }
    }

    /// Does `work` while commands are taken down.
    async fn noting<F: Future>(&mut self, work: F) -> Result<F::Output, Interrupt> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                command = self.commands.recv() => self.note(command)?,
            }
        }
    }

    fn note(&mut self, command: Option<Command>) -> Result<(), Interrupt> {
        let state = &mut self.state;
        match command.ok_or(Interrupt::Abandoned)? {
            Command::Event { ct, event } => {
                state.events.push(ct, &event);
            }
            Command::Photo { ct, capture, bytes } => state.photos.submit(&mut state.events, ct, capture, bytes),
            Command::Ready => state.ready = true,
            Command::Close(reason) => state.leaving = Some(reason),
            Command::Token(token) => {
                self.credentials.token = token;
                return Err(Interrupt::Token);
            }
            Command::Cut { for_ms } => {
                state.cut_until_ms = self.clock.now_ms() + for_ms;
                return Err(Interrupt::Cut);
            }
        }
        Ok(())
    }

    /// From the welcome to the end of the connection, which is a polite one when it is the last.
    async fn converse(&mut self, mut socket: Socket, welcome: Welcome) -> Next {
        let next = self.exchange(&mut socket, welcome).await;
        if let Next::End(_) = next {
            let _ = socket.close(None).await;
        }
        next
    }

    async fn exchange(&mut self, socket: &mut Socket, welcome: Welcome) -> Next {
        self.state.events.resume(welcome.acknowledged);
        self.state.photos.resume();
        self.acknowledged.send_replace(welcome.acknowledged);
        // Whether we are still to say that the learner is there, the welcome knows better than we do.
        self.state.ready &= welcome.pause.is_some();
        self.link.send_replace(Link::Up);
        if let Err(next) = self.forward(ServerMessage::Welcome(welcome)) {
            return next;
        }
        let mut sent = Sent::default();
        let mut heard_ms = self.clock.now_ms();
        loop {
            if self.send_waiting(socket, &mut sent).await.is_err() {
                return Next::RECONNECT;
            }
            tokio::select! {
                frame = socket.next() => {
                    heard_ms = self.clock.now_ms();
                    if let Err(next) = self.hear(frame, socket).await {
                        return next;
                    }
                }
                command = self.commands.recv() => {
                    if let Err(next) = self.take(command) {
                        return next;
                    }
                }
                () = self.clock.sleep_until_ms(heard_ms + SILENCE_LIMIT_MS) => return Next::RECONNECT,
            }
        }
    }

    /// Takes down a command and all that wait behind it, so that they share one flush.
    fn take(&mut self, first: Option<Command>) -> Result<(), Next> {
        let mut command = first;
        loop {
            match self.note(command) {
                Ok(()) | Err(Interrupt::Token) => {}
                Err(Interrupt::Cut) => return Err(Next::RECONNECT),
                Err(Interrupt::Abandoned) => return Err(Next::End(Ending::Abandoned)),
            }
            match self.commands.try_recv() {
                Ok(waiting) => command = Some(waiting),
                Err(_) => return Ok(()),
            }
        }
    }

    async fn send_waiting(&mut self, socket: &mut Socket, sent: &mut Sent) -> tungstenite::Result<()> {
        let state = &mut self.state;
        let ct = self.clock.now_ms() - self.origin_ms;
        while let Some(text) = state.events.next_to_send() {
            socket.feed(Message::text(text)).await?;
        }
        while let Some(frame) = state.photos.next_to_send(&state.events, ct) {
            socket.feed(Message::binary(frame)).await?;
        }
        if state.ready && !sent.ready {
            socket.feed(Message::text(Control::Ready.to_text())).await?;
        }
        sent.ready = state.ready;
        if let Some(reason) = state.leaving.filter(|_| !std::mem::replace(&mut sent.leaving, true)) {
            socket.feed(Message::text(Control::Close { reason }.to_text())).await?;
        }
        socket.flush().await
    }

    async fn hear(&mut self, frame: Option<tungstenite::Result<Message>>, socket: &mut Socket) -> Result<(), Next> {
        let Some(Ok(Message::Text(text))) = &frame else {
            return Next::after_frame(frame).map_or(Ok(()), Err);
        };
        let message = ServerMessage::parse(text).map_err(|error| {
            tracing::warn!(%error, "the server sent what is not in the protocol");
            Next::RECONNECT
        })?;
        match &message {
            ServerMessage::Ping { id } => {
                let pong = Control::Pong { id: *id, ct: self.clock.now_ms() - self.origin_ms };
                return socket.send(Message::text(pong.to_text())).await.map_err(|_| Next::RECONNECT);
            }
            ServerMessage::Ack { seq } => {
                self.state.events.acknowledge(*seq);
                self.acknowledged.send_replace(*seq);
                return Ok(());
            }
            ServerMessage::Capture(capture) if self.state.photos.asked(capture) => return Ok(()),
            _ => {}
        }
        self.remember(&message);
        let next = match &message {
            ServerMessage::Closed(_) => Some(Next::End(Ending::Closed)),
            ServerMessage::Error(error) => Next::after_error(error),
            _ => None,
        };
        self.forward(message)?;
        next.map_or(Ok(()), Err)
    }

    fn remember(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Renew { token, .. } => self.credentials.token.clone_from(token),
            ServerMessage::GoAway { url, .. } => self.state.moved_to.clone_from(url),
            ServerMessage::PhotoReceived { capture } | ServerMessage::CaptureClosed { capture, .. } => {
                self.state.photos.forget(capture);
            }
            ServerMessage::Error(error) => {
                if let Some(capture) = &error.capture {
                    self.state.photos.refused(capture, error.code);
                }
            }
            ServerMessage::Prompt(_) | ServerMessage::Play | ServerMessage::Pause { .. } => self.state.ready = false,
            _ => {}
        }
    }

    /// Hands a message to the owner. One who has stopped reading has no use for a client.
    fn forward(&mut self, message: ServerMessage) -> Result<(), Next> {
        self.messages.try_send(message).map_err(|_| Next::End(Ending::Abandoned))
    }
}
