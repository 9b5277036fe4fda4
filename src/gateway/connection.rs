//! The life of one connection: challenge, hello, pings, welcome, stream, end.
//!
//! One task owns the socket. Frames that are there already are taken together, so that under load the session commits
//! and acknowledges once for many.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use futures_util::{FutureExt as _, SinkExt as _};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite;

use super::Gateway;
use super::address::ClientAddress;
use super::handshake::{Admitted, admit, refusal, unavailable};
use super::wire::{
    ClientMessage, Control, ErrorCode, ErrorMessage, Hello, PhotoHeader, ServerMessage, TEXT_LIMIT_BYTES, close,
};
use crate::actor::{
    Arrival, ConnectionId, Gone, Handle, IncomingPhoto, Outbound, OutboundQueue, Outlet, StartError, Turn,
};
use crate::auth::token::LearnerToken;
use crate::clock::{Clock, Stopwatch};
use crate::telemetry::Telemetry;

/// How long a client may take to say hello, on the wall clock.
const HELLO_LIMIT_MS: i64 = 10_000;
/// Round trips that are tried before a client is welcomed without one that was fast.
const PINGS_BEFORE_WELCOME: u64 = 5;
/// A round trip that is believed: its half is the error of the clock's anchor.
const ROUND_TRIP_LIMIT_MS: i64 = 1_000;
/// A ping that was not answered by then counts as slow.
const PONG_LIMIT_MS: i64 = 3_000;
/// Time between pings later on; drift and sleep show within one.
const PING_EVERY_MS: i64 = 20_000;
/// A client that has not said anything for so long is gone, whatever its socket claims.
const SILENCE_LIMIT_MS: i64 = 75_000;
/// Frames that are taken together.
const FRAMES_LIMIT: usize = 64;
/// How long a closed connection is listened to, for the client's own close.
const LINGER_MS: i64 = 2_000;
/// How long a client may refuse to read what it is sent before it counts as gone, on the wall clock.
const WRITE_LIMIT_MS: i64 = 10_000;
/// Longest data of an event, in bytes: the longest that the protocol knows has 300.
const EVENT_DATA_LIMIT_BYTES: usize = 4 * 1024;
/// What a stopping server asks of its clients.
const RECONNECT_IN_MS: i64 = 1_000;

/// Why a connection ends. `None`: the socket is gone, there is nobody to tell.
type End = Option<ErrorMessage>;

/// Serves one connection to its end. `origin` is the page's, when a browser asks.
pub(super) async fn serve(
    socket: WebSocket,
    gateway: Arc<Gateway>,
    client: Option<ClientAddress>,
    origin: Option<String>,
) {
    let (wall, telemetry) = (gateway.services.wall.clone(), gateway.services.telemetry.clone());
    let mut socket = Socket { socket, wall, telemetry };
    // Boxed, here and below: what happens once in a while must not take room in every idle connection.
    match Box::pin(begin(&mut socket, &gateway, client, origin.as_deref())).await {
        Ok(connection) => connection.run(&mut socket).await,
        Err(Some(error)) => Box::pin(socket.refuse(error)).await,
        Err(None) => return,
    }
    tokio::select! {
        () = socket.drain() => {}
        () = gateway.services.wall.sleep_ms(LINGER_MS) => {}
    }
}

/// Challenge and hello; then the session knows of the connection.
async fn begin(
    socket: &mut Socket,
    gateway: &Arc<Gateway>,
    client: Option<ClientAddress>,
    origin: Option<&str>,
) -> Result<Connection, End> {
    let nonce = BASE64URL.encode(gateway.services.entropy.bytes::<32>());
    let server = concat!("invigil/", env!("CARGO_PKG_VERSION")).to_owned();
    socket.send(&ServerMessage::Challenge { nonce: nonce.clone(), server }).await?;
    let hello = tokio::select! {
        hello = read_hello(socket) => hello?,
        () = gateway.services.wall.sleep_ms(HELLO_LIMIT_MS) => {
            return Err(Some(refusal(ErrorCode::HelloTimeout, None, "no hello within 10 s")));
        }
    };
    let at = gateway.services.clock.now_ms();
    let admitted = admit(gateway, &hello, &nonce, origin).await?;
    let session = gateway.sessions.live(&admitted.session, admitted.key, at).await.map_err(|why| match why {
        StartError::NotOpen => refusal(ErrorCode::SessionClosed, Some("session"), "the session has ended"),
        why => unavailable(&why),
    })?;
    let id = gateway.next_connection();
    let (outlet, outbound) = Outlet::new();
    // Neither leaves this function in the clear.
    let pseudonym = |kind, value: &str| gateway.services.keys.pseudonym(kind, value).into();
    let arrival = Arrival {
        ct: hello.ct,
        at,
        address: client.map(|client| pseudonym("address", &client.subscriber())),
        device: hello.device.as_deref().map(|device| pseudonym("device", device)),
    };
    session.attach(id, outlet, arrival).await.map_err(|gone| unavailable(&gone))?;
    Ok(Connection::new(gateway.clone(), id, session, outbound, admitted))
}

async fn read_hello(socket: &mut Socket) -> Result<Hello, End> {
    let frame = socket.next().await?;
    let Message::Text(text) = frame else {
        return Err(Some(refusal(ErrorCode::BadMessage, Some("type"), "the first message must be a hello")));
    };
    match ClientMessage::parse(limited(&text)?) {
        Ok(ClientMessage::Control(Control::Hello(hello))) => Ok(hello),
        Ok(ClientMessage::Event(_)) => {
            Err(Some(refusal(ErrorCode::NotWelcomeYet, Some("type"), "the first message must be a hello")))
        }
        Ok(ClientMessage::Control(_)) => {
            Err(Some(refusal(ErrorCode::BadMessage, Some("type"), "the first message must be a hello")))
        }
        Err(error) => Err(Some(error.into())),
    }
}

fn limited(text: &str) -> Result<&str, End> {
    if text.len() > TEXT_LIMIT_BYTES {
        return Err(Some(refusal(ErrorCode::TooLarge, None, "a text message may have 64 KiB")));
    }
    Ok(text)
}

/// A connection whose session knows it.
struct Connection {
    gateway: Arc<Gateway>,
    id: ConnectionId,
    session: Handle,
    outbound: OutboundQueue,
    session_id: String,
    token_expires_at: i64,
    last_heard_at: i64,
    /// with the frames that are being taken
    arrived: Stopwatch,
    ping: Ping,
    welcomed: bool,
}

/// The ping under way, or the time of the next.
struct Ping {
    id: u64,
    sent_at: i64,
    answered: bool,
}

impl Connection {
    fn new(
        gateway: Arc<Gateway>,
        id: ConnectionId,
        session: Handle,
        outbound: OutboundQueue,
        admitted: Admitted,
    ) -> Self {
        let now_ms = gateway.services.clock.now_ms();
        Self {
            gateway,
            id,
            session,
            outbound,
            session_id: admitted.session,
            token_expires_at: admitted.expires_at,
            last_heard_at: now_ms,
            arrived: Stopwatch::start(),
            ping: Ping { id: 0, sent_at: now_ms, answered: true },
            welcomed: false,
        }
    }

    async fn run(mut self, socket: &mut Socket) {
        if let Err(Some(error)) = self.stream(socket).await
            && Box::pin(self.send_the_rest(socket)).await.is_continue()
        {
            Box::pin(socket.refuse(error)).await;
        }
        let _ = Box::pin(self.session.detached(self.id, self.gateway.services.clock.now_ms())).await;
    }

    /// What the session had still to say comes before the connection's own last word, and may replace it.
    async fn send_the_rest(&mut self, socket: &mut Socket) -> ControlFlow<()> {
        while let Some(outbound) = self.outbound.try_next() {
            match self.send_outbound(socket, outbound).await {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) | Err(_) => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    /// Everything after the hello. Returns when the connection was closed as it should.
    async fn stream(&mut self, socket: &mut Socket) -> Result<(), End> {
        Box::pin(self.send_ping(socket)).await?;
        let mut stopping = self.gateway.stopping.clone();
        let mut stopped = std::pin::pin!(turned_true(&mut stopping));
        let services = &self.gateway.services;
        let mut wake = Alarm::new(services.clock.clone(), self.next_wake_at());
        let mut renew = Alarm::new(services.wall.clone(), self.renew_at());
        loop {
            wake.no_later_than(self.next_wake_at());
            tokio::select! {
                frame = socket.next() => {
                    if Box::pin(self.take_frames(socket, frame?)).await?.is_break() {
                        return Ok(());
                    }
                }
                outbound = self.outbound.next() => {
                    let Some(first) = outbound else { return Err(Some(unavailable(&"the session let go of it"))) };
                    if Box::pin(self.send_outbound(socket, first)).await?.is_break() {
                        return Ok(());
                    }
                }
                () = wake.ring() => {
                    if wake.clock.now_ms() >= self.next_wake_at() {
                        Box::pin(self.wake(socket)).await?;
                    }
                    wake.set(self.next_wake_at());
                }
                // Before the welcome a client does not expect anything but pings.
                () = renew.ring(), if self.welcomed => {
                    Box::pin(self.renew(socket)).await?;
                    renew.set(self.renew_at());
                }
                () = &mut stopped => return Box::pin(self.go_away(socket)).await,
            }
        }
    }

    fn next_wake_at(&self) -> i64 {
        let ping_at = match (self.ping.answered, self.welcomed) {
            (true, _) => self.ping.sent_at + PING_EVERY_MS,
            (false, false) => self.ping.sent_at + PONG_LIMIT_MS,
            (false, true) => self.ping.sent_at + PING_EVERY_MS,
        };
        ping_at.min(self.last_heard_at + SILENCE_LIMIT_MS)
    }

    async fn wake(&mut self, socket: &mut Socket) -> Result<(), End> {
        if self.gateway.services.clock.now_ms() >= self.last_heard_at + SILENCE_LIMIT_MS {
            return Err(None);
        }
        if !self.welcomed && self.ping.id >= PINGS_BEFORE_WELCOME {
            self.welcome().await?;
        }
        self.send_ping(socket).await
    }

    async fn send_ping(&mut self, socket: &mut Socket) -> Result<(), End> {
        self.ping = Ping { id: self.ping.id + 1, sent_at: self.gateway.services.clock.now_ms(), answered: false };
        socket.send(&ServerMessage::Ping { id: self.ping.id }).await
    }

    async fn pong(&mut self, socket: &mut Socket, id: u64, ct: i64) -> Result<(), End> {
        if id != self.ping.id || self.ping.answered {
            return Ok(());
        }
        self.ping.answered = true;
        let at = self.gateway.services.clock.now_ms();
        if at - self.ping.sent_at < ROUND_TRIP_LIMIT_MS {
            self.heard(self.session.synced(self.id, ct, at).await)?;
        } else if !self.welcomed && self.ping.id < PINGS_BEFORE_WELCOME {
            return self.send_ping(socket).await;
        }
        if !self.welcomed {
            self.welcome().await?;
        }
        Ok(())
    }

    async fn welcome(&mut self) -> Result<(), End> {
        self.welcomed = true;
        self.heard(self.session.welcome(self.id).await)
    }

    fn heard(&self, told: Result<(), Gone>) -> Result<(), End> {
        // It has ended, and said so on its way out (see `send_the_rest`); or it lost its journal, and will be back.
        told.map_err(|gone| Some(unavailable(&gone)))
    }

    /// Takes `first` and every frame that is there already; events go to the session in one turn, and what it has to
    /// say is sent.
    async fn take_frames(&mut self, socket: &mut Socket, first: Message) -> Result<ControlFlow<()>, End> {
        let at = self.gateway.services.clock.now_ms();
        self.last_heard_at = at;
        self.arrived = Stopwatch::start();
        self.outbound.attend();
        let mut turn = None;
        let mut result = self.take_frame(socket, first, at, &mut turn).await;
        for _ in 1..FRAMES_LIMIT {
            if result.is_err() {
                break;
            }
            let Some(frame) = socket.next().now_or_never() else { break };
            result = match frame {
                Ok(frame) => self.take_frame(socket, frame, at, &mut turn).await,
                Err(end) => Err(end),
            };
        }
        // What came before a bad frame counts.
        self.end_turn(&mut turn).await?;
        result?;
        match self.outbound.try_next() {
            Some(first) => self.send_outbound(socket, first).await,
            None => Ok(ControlFlow::Continue(())),
        }
    }

    async fn end_turn(&self, turn: &mut Option<Turn>) -> Result<(), End> {
        match turn.take() {
            Some(turn) => self.heard(turn.end().await),
            None => Ok(()),
        }
    }

    async fn take_frame(
        &mut self,
        socket: &mut Socket,
        frame: Message,
        at: i64,
        turn: &mut Option<Turn>,
    ) -> Result<(), End> {
        match frame {
            Message::Text(text) => match ClientMessage::parse(limited(&text)?) {
                Ok(ClientMessage::Event(event)) => {
                    self.admit_event(at)?;
                    if event.data.get().len() > EVENT_DATA_LIMIT_BYTES {
                        return Err(Some(refusal(ErrorCode::BadMessage, Some("data"), "longer than 4 KiB")));
                    }
                    let turn = match turn {
                        Some(turn) => turn,
                        None => turn.insert(self.session.turn().await.map_err(|gone| Some(unavailable(&gone)))?),
                    };
                    turn.event(self.id, &event, at, self.arrived);
                    Ok(())
                }
                Ok(ClientMessage::Control(control)) => {
                    self.end_turn(turn).await?;
                    Box::pin(self.take_control(socket, control, at)).await
                }
                Err(error) if error.code.close_code().is_none() => {
                    // Nobody keeps a session in hand while a slow client reads.
                    self.end_turn(turn).await?;
                    Box::pin(socket.complain(error.into())).await
                }
                Err(error) => Err(Some(error.into())),
            },
            Message::Binary(bytes) if bytes.len() > self.gateway.services.limits.message_bytes_limit => {
                Err(Some(refusal(ErrorCode::TooLarge, None, "a message may have 4 MiB")))
            }
            Message::Binary(bytes) => {
                self.end_turn(turn).await?;
                Box::pin(self.take_photo(socket, bytes, at)).await
            }
            Message::Close(_) => Err(None),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    fn admit_event(&mut self, at: i64) -> Result<(), End> {
        if !self.welcomed {
            return Err(Some(refusal(ErrorCode::NotWelcomeYet, Some("seq"), "keep events until the welcome")));
        }
        self.session.admit_event(at).map_err(|wait_ms| {
            let mut error = refusal(ErrorCode::TooManyEvents, None, "more events than a session may send");
            error.retry_after_ms = Some(wait_ms.max(1_000));
            Some(error)
        })
    }

    async fn take_control(&mut self, socket: &mut Socket, control: Control, at: i64) -> Result<(), End> {
        match control {
            Control::Pong { id, ct } => self.pong(socket, id, ct).await,
            Control::Hello(_) => Err(Some(refusal(ErrorCode::BadMessage, Some("type"), "a second hello"))),
            Control::Ready | Control::Close { .. } if !self.welcomed => {
                Err(Some(refusal(ErrorCode::NotWelcomeYet, Some("type"), "wait for the welcome")))
            }
            Control::Ready => self.heard(self.session.ready(self.id).await),
            Control::Close { reason } => self.heard(self.session.leave(self.id, reason, at).await),
        }
    }

    async fn take_photo(&mut self, socket: &mut Socket, frame: axum::body::Bytes, at: i64) -> Result<(), End> {
        if !self.welcomed {
            return Err(Some(refusal(ErrorCode::NotWelcomeYet, None, "keep photos until the welcome")));
        }
        let (header, photo) = match PhotoHeader::parse(&frame) {
            Ok(parsed) => parsed,
            Err(error) => return socket.complain(error.into()).await,
        };
        let photo = IncomingPhoto { capture: header.capture, nonce: header.nonce, bytes: frame.slice_ref(photo) };
        self.heard(self.session.photo(self.id, photo, at).await)
    }

    /// Sends `first` and what waits behind it, and flushes once.
    async fn send_outbound(&mut self, socket: &mut Socket, first: Outbound) -> Result<ControlFlow<()>, End> {
        let mut next = Some(first);
        let mut acknowledged: Option<Stopwatch> = None;
        // One more than the limit: what was taken from the queue has to be sent.
        for taken in 0..=FRAMES_LIMIT {
            match next.take() {
                Some(Outbound::Text(text)) => socket.feed(Message::Text(text)).await?,
                Some(Outbound::Acknowledgement(text, arrived)) => {
                    acknowledged.get_or_insert(arrived);
                    socket.feed(Message::Text(text)).await?;
                }
                Some(Outbound::Close(code)) => {
                    Box::pin(socket.close(code)).await;
                    return Ok(ControlFlow::Break(()));
                }
                None => break,
            }
            if taken < FRAMES_LIMIT {
                next = self.outbound.try_next();
            }
        }
        socket.flush().await?;
        if let Some(arrived) = acknowledged {
            socket.telemetry.acknowledgement.observe(arrived.elapsed());
        }
        Ok(ControlFlow::Continue(()))
    }

    /// When a third of the token's life is left.
    fn renew_at(&self) -> i64 {
        self.token_expires_at - self.gateway.token_lifetime_ms / 3
    }

    async fn renew(&mut self, socket: &mut Socket) -> Result<(), End> {
        let token = LearnerToken::generate(&self.gateway.services.entropy);
        let now_ms = self.gateway.services.wall.now_ms();
        let expires_at = now_ms + self.gateway.token_lifetime_ms;
        let issued = self.gateway.services.store.issue_token(&self.session_id, token.hash(), expires_at, now_ms).await;
        issued.map_err(|error| Some(unavailable(&error)))?;
        self.token_expires_at = expires_at;
        let expires_in_ms = self.gateway.token_lifetime_ms;
        socket.send(&ServerMessage::Renew { token: token.expose().to_owned(), expires_in_ms }).await
    }

    async fn go_away(&mut self, socket: &mut Socket) -> Result<(), End> {
        let reason = "shutdown".into();
        socket.send(&ServerMessage::GoAway { reason, url: None, reconnect_in_ms: RECONNECT_IN_MS }).await?;
        socket.close(close::SERVICE_RESTART).await;
        Ok(())
    }
}

/// Wakes at a moment that is mostly put off before it comes. It sleeps on over that, and is set again when it has woken
/// too early: a timer that is moved with every event costs more than the event.
struct Alarm {
    clock: Clock,
    at: i64,
    sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Alarm {
    fn new(clock: Clock, at: i64) -> Self {
        Self { sleep: Box::pin(sleep_until(clock.clone(), at)), clock, at }
    }

    fn set(&mut self, at: i64) {
        *self = Self::new(self.clock.clone(), at);
    }

    fn no_later_than(&mut self, at: i64) {
        if at < self.at {
            self.set(at);
        }
    }

    /// Once it has rung it must be set again.
    async fn ring(&mut self) {
        self.sleep.as_mut().await;
    }
}

async fn sleep_until(clock: Clock, at: i64) {
    clock.sleep_until_ms(at).await;
}

/// A client that does not read is gone, whatever its socket claims.
async fn in_time<E>(wall: &Clock, written: impl Future<Output = Result<(), E>>) -> Result<(), End> {
    tokio::select! {
        // What is written at once, as nearly all is, needs no timer.
        biased;
        written = written => written.map_err(|_| None),
        () = wall.sleep_ms(WRITE_LIMIT_MS) => Err(None),
    }
}

/// Returns when the server stops.
async fn turned_true(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone already.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// The socket, with the protocol's errors.
struct Socket {
    socket: WebSocket,
    wall: Clock,
    telemetry: Arc<Telemetry>,
}

impl Socket {
    async fn next(&mut self) -> Result<Message, End> {
        match self.socket.recv().await {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(error)) => match error.into_inner().downcast_ref() {
                Some(tungstenite::Error::Capacity(_)) => {
                    Err(Some(refusal(ErrorCode::TooLarge, None, "a message may have 4 MiB")))
                }
                _ => Err(None),
            },
            None => Err(None),
        }
    }

    async fn send(&mut self, message: &ServerMessage) -> Result<(), End> {
        self.feed(Message::Text(message.to_text().into())).await?;
        self.flush().await
    }

    async fn feed(&mut self, frame: Message) -> Result<(), End> {
        in_time(&self.wall, self.socket.feed(frame)).await
    }

    async fn flush(&mut self) -> Result<(), End> {
        in_time(&self.wall, self.socket.flush()).await
    }

    /// Says what is wrong and closes with its code.
    async fn refuse(&mut self, error: ErrorMessage) {
        let code = error.code.close_code().unwrap_or(close::NORMAL);
        if self.complain(error).await.is_ok() {
            self.close(code).await;
        }
    }

    /// Says what is wrong.
    async fn complain(&mut self, error: ErrorMessage) -> Result<(), End> {
        self.telemetry.stream_errors.count(&error.code.to_string());
        self.send(&ServerMessage::Error(error)).await
    }

    /// Reads on until the client has closed too: a socket that is dropped with unread bytes is reset, and the reset may
    /// overtake what was just sent.
    async fn drain(&mut self) {
        while let Some(Ok(_)) = self.socket.recv().await {}
    }

    async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code, reason: "".into() };
        let _ = in_time(&self.wall, self.socket.send(Message::Close(Some(frame)))).await;
    }
}
