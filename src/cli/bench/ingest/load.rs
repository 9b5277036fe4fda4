//! The load generator: many connections on one thread, events at the time at which they are due.
//!
//! The same for every server, ours and the peers'. With a rate, an event's latency counts from the moment at which it
//! was due, so that a server that stalls cannot hide it; without one, the next event follows its acknowledgement.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use super::frames::{self, Frame};
use crate::client::ClientKey;
use crate::clock::{Clock, Stopwatch};
use crate::gateway::wire::{self, Control, Hello, ServerMessage, Welcome};

/// Connections that are being opened at the same time.
const OPENING: usize = 64;
/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// How often events that are due are looked for, ms.
const TICK_MS: i64 = 1;

/// What a connection is let in with: a session and its token; a peer lets in anybody.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) session: String,
    pub(super) token: String,
}

/// What all clients of one run have in common, however often they connect.
pub(super) struct Pages {
    /// the clients' clock: a session that is connected again must not see it go back
    watch: Stopwatch,
    /// one for all: what a session is bound to is a key, not one of its own
    key: ClientKey,
}

impl Pages {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { watch: Stopwatch::start(), key: ClientKey::generate()? })
    }
}

/// How much load, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// events a second over all connections; none: as fast as the window allows
    pub(super) rate: Option<f64>,
    /// events of one connection that may wait for their acknowledgement
    pub(super) window: u64,
}

/// What was measured between two moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// events that were acknowledged
    pub(super) acknowledged: u64,
    /// how long each waited, µs, sorted
    pub(super) latencies_us: Vec<u32>,
    /// length of the measurement, seconds
    pub(super) seconds: f64,
}

impl Tally {
    /// Acknowledged events a second.
    pub(super) fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.seconds
    }

    /// The latency that this share of the events did not exceed, ms.
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        let index = ((self.latencies_us.len() as f64 * share) as usize).min(self.latencies_us.len().saturating_sub(1));
        self.latencies_us.get(index).map_or(f64::NAN, |latency| f64::from(*latency) / 1000.0)
    }
}

/// All connections to one server. They live in the thread's `LocalSet`.
pub(super) struct Fleet {
    connections: Vec<Rc<Connection>>,
    common: Rc<Common>,
}

/// What the connections of a fleet share.
struct Common {
    watch: Stopwatch,
    load: Cell<Load>,
    acknowledged: Cell<u64>,
    latencies_us: RefCell<Vec<u32>>,
    /// warnings of violations that the server has sent
    warnings: Cell<u64>,
    failure: RefCell<Option<String>>,
}

impl Common {
    fn now_us(&self) -> u64 {
        self.watch.elapsed().as_micros() as u64
    }
}

struct Connection {
    /// its fleet is gone
    dropped: Cell<bool>,
    left: Notify,
    /// none at a peer
    session: Option<String>,
    stream: TcpStream,
    state: RefCell<State>,
    common: Rc<Common>,
}

struct State {
    /// `seq` of the newest event that was sent
    sent: u64,
    /// `seq` up to which all is acknowledged
    acknowledged: u64,
    /// when the events without acknowledgement were due, µs
    due_us: VecDeque<u64>,
    /// events that are due and do not fit into the window, µs
    held_us: VecDeque<u64>,
    /// where the player stood when it began, less what the clock showed then, ms
    position_ms: i64,
    began: bool,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Fleet {
    /// Connects `count` times, to each of the servers in turn; with a ticket each, if they ask for one.
    pub(super) async fn connect(
        pages: &Pages,
        servers: &[SocketAddr],
        count: usize,
        tickets: Option<&[Ticket]>,
    ) -> anyhow::Result<Self> {
        let common = Rc::new(Common {
            watch: pages.watch,
            load: Cell::new(Load { rate: None, window: 0 }),
            acknowledged: Cell::default(),
            latencies_us: RefCell::default(),
            warnings: Cell::default(),
            failure: RefCell::default(),
        });
        let ticket = |index| tickets.map(|tickets| &tickets[index]);
        let connections = futures_util::stream::iter(0..count)
            .map(|index| Connection::open(servers[index % servers.len()], ticket(index), &pages.key, common.clone()))
            .buffer_unordered(OPENING)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(Self { connections, common })
    }

    /// Applies `load` for so long, and tells what came of it.
    pub(super) async fn drive(&self, load: Load, seconds: f64) -> anyhow::Result<Tally> {
        self.common.load.set(load);
        self.common.acknowledged.set(0);
        self.common.latencies_us.borrow_mut().clear();
        let (clock, began_us) = (Clock::system(), self.common.now_us());
        let end_us = began_us + (seconds * 1e6) as u64;
        if load.rate.is_none() {
            for connection in &self.connections {
                connection.fill(began_us)?;
            }
        }
        let mut due = 0_u64;
        loop {
            let now_us = self.common.now_us();
            if now_us >= end_us {
                break;
            }
            if let Some(rate) = load.rate {
                let due_by_now = ((now_us - began_us) as f64 * rate / 1e6) as u64;
                for number in due..due_by_now {
                    let due_us = began_us + (number as f64 * 1e6 / rate) as u64;
                    self.connections[number as usize % self.connections.len()].event_due(due_us)?;
                }
                due = due_by_now;
            }
            self.failed()?;
            clock.sleep_ms(TICK_MS).await;
        }
        let mut latencies_us = self.common.latencies_us.take();
        latencies_us.sort_unstable();
        let seconds = (self.common.now_us() - began_us) as f64 / 1e6;
        Ok(Tally { acknowledged: self.common.acknowledged.get(), latencies_us, seconds })
    }

    fn failed(&self) -> anyhow::Result<()> {
        match self.common.failure.borrow().as_ref() {
            Some(failure) => bail!("{failure}"),
            None => Ok(()),
        }
    }

    /// Lets what is under way arrive, and sends nothing more. Answers pings meanwhile.
    ///
    /// # Errors
    /// When a connection failed, or an event is still not acknowledged after so long.
    pub(super) async fn settle(&self, within_ms: i64) -> anyhow::Result<()> {
        self.common.load.set(Load { rate: Some(0.0), window: u64::MAX });
        let clock = Clock::system();
        let end = clock.now_ms() + within_ms;
        while self.under_way() > 0 {
            ensure!(clock.now_ms() < end, "{} events were never acknowledged", self.under_way());
            self.failed()?;
            clock.sleep_ms(TICK_MS).await;
        }
        Ok(())
    }

    /// Stays connected for so long without an event of its own.
    pub(super) async fn idle(&self, seconds: f64) -> anyhow::Result<()> {
        self.drive(Load { rate: Some(0.0), window: 0 }, seconds).await.map(drop)
    }

    fn under_way(&self) -> u64 {
        let of = |connection: &Rc<Connection>| {
            let state = connection.state.borrow();
            state.sent - state.acknowledged + state.held_us.len() as u64
        };
        self.connections.iter().map(of).sum()
    }

    /// How far each session's events are acknowledged.
    pub(super) fn acknowledged_of_each(&self) -> HashMap<String, u64> {
        let of = |connection: &Rc<Connection>| {
            connection.session.clone().map(|session| (session, connection.state.borrow().acknowledged))
        };
        self.connections.iter().filter_map(of).collect()
    }

    /// Warnings of violations so far: an honest load has none.
    pub(super) fn warnings(&self) -> u64 {
        self.common.warnings.get()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for connection in &self.connections {
            connection.dropped.set(true);
            connection.left.notify_one();
        }
    }
}

impl Connection {
    async fn open(
        server: SocketAddr,
        ticket: Option<&Ticket>,
        key: &ClientKey,
        common: Rc<Common>,
    ) -> anyhow::Result<Rc<Self>> {
        let stream = TcpStream::connect(server).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let mut opening = Opening { stream, input: Vec::new() };
        opening.upgrade(server).await?;
        let (mut position_ms, mut sent) = (0, 0);
        if let Some(ticket) = ticket {
            let welcome = opening.shake_hands(ticket, key, &common).await?;
            (position_ms, sent) = (welcome.position_ms, welcome.acknowledged);
        }
        let state = State {
            sent,
            acknowledged: sent,
            due_us: VecDeque::new(),
            held_us: VecDeque::new(),
            position_ms,
            began: false,
            input: opening.input,
            output: Vec::new(),
        };
        let session = ticket.map(|ticket| ticket.session.clone());
        let connection = Rc::new(Self {
            dropped: Cell::new(false),
            left: Notify::new(),
            session,
            stream: opening.stream,
            state: RefCell::new(state),
            common,
        });
        // It reads from now on, whatever else is done: a server lets go of who does not answer its pings.
        let reader = connection.clone();
        spawn_local(async move {
            // A connection that is not wanted any more is closed by the fleet that drops it.
            if let Err(error) = reader.read().await
                && !reader.dropped.get()
            {
                reader.common.failure.borrow_mut().get_or_insert_with(|| format!("{error:#}"));
            }
        });
        Ok(connection)
    }

    /// Reads for as long as the connection lives.
    async fn read(&self) -> anyhow::Result<()> {
        // Every connection reads into the same bytes: only what is cut off at the end of a read is kept.
        let mut left = std::pin::pin!(self.left.notified());
        thread_local!(static BYTES: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]));
        loop {
            tokio::select! {
                biased;
                readable = self.stream.readable() => readable?,
                () = &mut left => return Ok(()),
            }
            BYTES.with_borrow_mut(|bytes| match self.stream.try_read(bytes) {
                Ok(0) => bail!("the server has closed a connection"),
                Ok(length) => self.take(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error.into()),
            })?;
        }
    }

    fn take(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let now_us = self.common.now_us();
        {
            let state = &mut *self.state.borrow_mut();
            let mut input = std::mem::take(&mut state.input);
            if input.is_empty() {
                let left = self.take_frames(state, bytes, now_us)?;
                input.extend_from_slice(left);
            } else {
                input.extend_from_slice(bytes);
                let left = self.take_frames(state, &input, now_us)?.len();
                input.drain(..input.len() - left);
            }
            state.input = input;
        }
        self.fill(now_us)
    }

    /// Takes all whole frames; returns what is left.
    fn take_frames<'a>(&self, state: &mut State, mut bytes: &'a [u8], now_us: u64) -> anyhow::Result<&'a [u8]> {
        while let Some((frame, length)) = frames::first(bytes)? {
            match frame {
                Frame::Text(text) => self.take_text(state, text, now_us)?,
                Frame::Close(code) => bail!("the server has closed a connection with {code}"),
                Frame::Other => {}
            }
            bytes = &bytes[length..];
        }
        Ok(bytes)
    }

    fn take_text(&self, state: &mut State, text: &[u8], now_us: u64) -> anyhow::Result<()> {
        // Ours and Node's acknowledgement, and the echo's event.
        let seq = frames::leading_number(text, br#"{"type":"ack","seq":"#);
        if let Some(seq) = seq.or_else(|| frames::leading_number(text, br#"{"seq":"#)) {
            ensure!(seq <= state.sent, "an event was acknowledged that was never sent");
            let fresh = seq.saturating_sub(state.acknowledged);
            state.acknowledged += fresh;
            self.common.acknowledged.set(self.common.acknowledged.get() + fresh);
            let mut latencies = self.common.latencies_us.borrow_mut();
            latencies.extend(state.due_us.drain(..fresh as usize).map(|due| (now_us - due) as u32));
            return Ok(());
        }
        if let Some(id) = frames::leading_number(text, br#"{"type":"ping","id":"#) {
            let pong = Control::Pong { id, ct: (now_us / 1000) as i64 };
            frames::push_text(&mut state.output, pong.to_text().as_bytes());
        } else if text.starts_with(br#"{"type":"error""#) {
            bail!("the server says: {}", String::from_utf8_lossy(text));
        } else if text.starts_with(br#"{"type":"warning""#) {
            self.common.warnings.set(self.common.warnings.get() + 1);
        }
        Ok(())
    }

    /// An event is due: it is sent, or waits for the window.
    fn event_due(&self, due_us: u64) -> anyhow::Result<()> {
        self.state.borrow_mut().held_us.push_back(due_us);
        self.fill(self.common.now_us())
    }

    /// Sends what the window allows.
    fn fill(&self, now_us: u64) -> anyhow::Result<()> {
        let load = self.common.load.get();
        let state = &mut *self.state.borrow_mut();
        while state.sent - state.acknowledged < load.window {
            let due_us = match load.rate {
                None => now_us,
                Some(_) => match state.held_us.pop_front() {
                    Some(due_us) => due_us,
                    None => break,
                },
            };
            state.due_us.push_back(due_us);
            state.push_event(now_us);
        }
        self.write(state)
    }

    fn write(&self, state: &mut State) -> anyhow::Result<()> {
        if state.output.is_empty() {
            return Ok(());
        }
        match self.stream.try_write(&state.output) {
            Ok(length) => drop(state.output.drain(..length)),
            // The rest goes with the next event.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl State {
    /// What an honest page says: the player runs, as fast as the clock.
    fn push_event(&mut self, now_us: u64) {
        self.sent += 1;
        let (seq, ct) = (self.sent, (now_us / 1000) as i64);
        let kind = if self.began {
            r#""heartbeat","data":{"playing""#
        } else {
            self.position_ms -= ct;
            r#""playback","data":{"event":"play","playing""#
        };
        self.began = true;
        let pos_ms = ct + self.position_ms;
        let mut text = [0_u8; 160];
        let mut left = text.as_mut_slice();
        write!(left, r#"{{"seq":{seq},"ct":{ct},"type":{kind}:true,"pos_ms":{pos_ms},"rate":1.0}}}}"#)
            .expect("three numbers and the rest take less than 160 bytes");
        let length = 160 - left.len();
        frames::push_text(&mut self.output, &text[..length]);
    }
}

/// A connection before its first event.
struct Opening {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Opening {
    async fn upgrade(&mut self, server: SocketAddr) -> anyhow::Result<()> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\
             Sec-WebSocket-Protocol: {}\r\n\r\n",
            wire::STREAM_PATH,
            wire::SUBPROTOCOL,
        );
        self.write(request.as_bytes()).await?;
        loop {
            if let Some(end) = self.input.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
                ensure!(head.starts_with("HTTP/1.1 101"), "no WebSocket: {head}");
                self.input.drain(..end + 4);
                return Ok(());
            }
            self.read().await?;
        }
    }

    async fn shake_hands(&mut self, ticket: &Ticket, key: &ClientKey, common: &Common) -> anyhow::Result<Welcome> {
        loop {
            let ct = (common.now_us() / 1000) as i64;
            let answer = match ServerMessage::parse(&self.text().await?)? {
                ServerMessage::Challenge { nonce, .. } => Control::Hello(Hello {
                    session: ticket.session.clone(),
                    token: ticket.token.clone(),
                    key: key.public(),
                    signature: key.sign_hello(&nonce, &ticket.session, &ticket.token)?,
                    ct,
                    acknowledged: 0,
                    device: None,
                }),
                ServerMessage::Ping { id } => Control::Pong { id, ct },
                ServerMessage::Welcome(welcome) => return Ok(welcome),
                ServerMessage::Error(error) => bail!("the server refused a connection: {error:?}"),
                _ => continue,
            };
            let mut frame = Vec::new();
            frames::push_text(&mut frame, answer.to_text().as_bytes());
            self.write(&frame).await?;
        }
    }

    async fn text(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some((frame, length)) = frames::first(&self.input)? {
                let text = match frame {
                    Frame::Text(text) => Some(String::from_utf8(text.to_vec())?),
                    Frame::Close(code) => bail!("the server has closed a connection with {code}"),
                    Frame::Other => None,
                };
                self.input.drain(..length);
                if let Some(text) = text {
                    return Ok(text);
                }
            } else {
                self.read().await?;
            }
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 2048];
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut bytes) {
                Ok(0) => bail!("the server closed a connection while it was being opened"),
                Ok(length) => {
                    self.input.extend_from_slice(&bytes[..length]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
