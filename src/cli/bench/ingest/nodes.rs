//! `invigil bench nodes`: how long a learner waits when the node dies on which the session lives, or is told to stop; and
//! whether anything is lost.
//!
//! Learners are clients of the real protocol, each behind a front of its own that goes to the next node which takes a
//! connection; so it is known where each session lives. The time counts from the signal until an event is acknowledged
//! that came after it, over a connection that came after it: what the client waits before it connects again is part of it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

use super::ground::{Ground, Shared};
use super::load::Ticket;
use super::servers::Server;
use super::soak::check_log;
use super::{Place, SETTLE_MS};
use crate::cli::say;
use crate::client::{Client, ClientKey, Credentials, Event, Handle, PlaybackEvent, PlayerState};
use crate::clock::{Clock, Entropy, Stopwatch};
use crate::engines::{Postgres, Redis};
use crate::front::Front;
use crate::gateway::wire::{STREAM_PATH, ServerMessage};

/// Logs that are read at the same time.
const READS: usize = 8;
/// How long a session may be away, ms, before it counts as lost: eight times what is promised.
const GONE_MS: i64 = 120_000;

/// Measures how sessions move when nodes die or stop.
#[derive(Clone, Debug, clap::Args)]
pub struct NodesArgs {
    /// How often a node is killed (SIGKILL)
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// How often a node is told to stop (SIGTERM)
    #[arg(long, default_value_t = 20)]
    stops: u32,
    /// Nodes, over one PostgreSQL and one Redis server, which are started
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=9))]
    nodes: u8,
    /// Learners, each with a session
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    learners: u16,
    /// How often each sends an event, ms
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(10..=10_000))]
    event_ms: i64,
    #[command(flatten)]
    place: Place,
}

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    Stop,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Stop => "SIGTERM",
        }
    }

    /// In how long every session is to go on, ms.
    fn promised_ms(self) -> f64 {
        match self {
            Self::Kill => 15_000.0,
            Self::Stop => 5_000.0,
        }
    }

    fn apply(self, server: Server) -> anyhow::Result<()> {
        match self {
            // Dropped, it is killed.
            Self::Kill => drop(server),
            Self::Stop => server.stop()?,
        }
        Ok(())
    }
}

impl NodesArgs {
    /// Runs it and prints its figures.
    ///
    /// # Errors
    /// When an engine or a node does not start, or an acknowledged event is lost.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = LocalSet::new().block_on(&runtime, self.measure());
        runtime.shutdown_background();
        run.map(|()| ExitCode::SUCCESS)
    }

    async fn measure(&self) -> anyhow::Result<()> {
        let count = usize::from(self.nodes);
        let (postgres, redis) = (Postgres::start(&self.place.folder)?, Redis::start()?);
        let urls = (Some(postgres.url()), Some(redis.url()));
        let shared = Shared { further_nodes: count - 1, database_url: urls.0, redis_url: urls.1 };
        let ground = Arc::new(Ground::prepare(&self.place, self.learners.into(), &shared).await?);
        let nodes = Nodes::start(ground.clone(), count)?;
        let tickets = ground.open_sessions(&nodes.addresses(), 0..self.learners.into()).await?;
        let (clock, key) = (Clock::scaled(1), Arc::new(ClientKey::generate()?));
        let mut learners = Vec::with_capacity(tickets.len());
        let mut lives = Vec::with_capacity(tickets.len());
        for (number, ticket) in tickets.into_iter().enumerate() {
            let (learner, client) = Learner::connect(ticket, &key, &clock, &nodes, number % count).await?;
            lives.push(spawn_local(learner.clone().live(client, clock.clone(), self.event_ms)));
            learners.push(learner);
        }
        let lives = async { try_join_all(lives.into_iter().map(|life| async { life.await? })).await };
        tokio::select! {
            measured = self.strikes(&nodes, &learners, &clock) => measured,
            ended = lives => Err(ended.err().unwrap_or_else(|| anyhow::anyhow!("all learners have ended"))),
        }
    }

    async fn strikes(&self, nodes: &Nodes, learners: &[Rc<Learner>], clock: &Clock) -> anyhow::Result<()> {
        all_acknowledged(learners, clock).await?;
        say(format_args!(
            "{} nodes, {} learners with an event every {} ms; from the signal to the next acknowledged event\n",
            self.nodes, self.learners, self.event_ms
        ))?;
        say("| signal | times | sessions | p50 ms | p99 ms | max ms | promised ms | | connections each |")?;
        say("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |")?;
        for (end, times) in [(End::Kill, self.kills), (End::Stop, self.stops)] {
            let connected = |learners: &[Rc<Learner>]| learners.iter().map(|one| one.front.connections()).sum::<u64>();
            let (mut away_ms, before) = (Vec::new(), connected(learners));
            for _ in 0..times {
                away_ms.extend(strike(nodes, learners, end, clock).await?);
            }
            away_ms.sort_by(f64::total_cmp);
            let Some(longest_ms) = away_ms.last().copied() else { continue };
            let quantile = |share: f64| away_ms[(away_ms.len() as f64 * share) as usize];
            say(format_args!(
                "| {} | {times} | {} | {:.0} | {:.0} | {longest_ms:.0} | {:.0} | {} | {:.2} |",
                end.name(),
                away_ms.len(),
                quantile(0.5),
                quantile(0.99),
                end.promised_ms(),
                if longest_ms < end.promised_ms() { "kept" } else { "**not kept**" },
                (connected(learners) - before) as f64 / away_ms.len() as f64,
            ))?;
        }
        for learner in learners {
            learner.plays.set(false);
        }
        all_acknowledged(learners, clock).await?;
        read_back(nodes, learners).await
    }
}

/// All that was sent is acknowledged.
async fn all_acknowledged(learners: &[Rc<Learner>], clock: &Clock) -> anyhow::Result<()> {
    let waits = learners.iter().map(|learner| async {
        let sent = learner.sent.get().max(1);
        learner.handle.acknowledged().wait_for(|acknowledged| *acknowledged >= sent).await.map(drop)
    });
    tokio::select! {
        waited = try_join_all(waits) => waited.map(drop).context("a client has ended"),
        () = clock.sleep_ms(SETTLE_MS) => anyhow::bail!("some events were not acknowledged within {SETTLE_MS} ms"),
    }
}

/// One node ends and is started again. How long each learner waited whose session lived there, ms.
async fn strike(nodes: &Nodes, learners: &[Rc<Learner>], end: End, clock: &Clock) -> anyhow::Result<Vec<f64>> {
    let node = {
        // Of those on which somebody learns.
        let of = learners.iter().map(|learner| learner.front.newest()).collect::<Vec<_>>();
        of[u32::from_le_bytes(Entropy::system().bytes()) as usize % of.len()]
    };
    let server = nodes.take(node).context("a node that does not run")?;
    let since = Stopwatch::start();
    let there = learners.iter().filter(|learner| learner.front.newest() == node);
    let backs: Vec<_> = there.map(|learner| learner.wait_anew(since)).collect();
    let again = async {
        spawn_blocking(move || end.apply(server)).await??;
        nodes.launch(node).await
    };
    let back = async {
        tokio::select! {
            times = try_join_all(backs) => times.context("a learner has ended"),
            () = clock.sleep_ms(GONE_MS) => anyhow::bail!("after {}, a session was away for {GONE_MS} ms", end.name()),
        }
    };
    let (times, ()) = tokio::try_join!(back, again)?;
    Ok(times)
}

/// Each session's log holds every event once.
async fn read_back(nodes: &Nodes, learners: &[Rc<Learner>]) -> anyhow::Result<()> {
    let platform = nodes.ground.platform(nodes.addresses()[0])?;
    let events: Vec<u64> = futures_util::stream::iter(learners)
        .map(|learner| async {
            let session = &learner.session;
            let (_, events) = check_log(&platform.log(session).await?, learner.acknowledged.get())
                .with_context(|| format!("session {session}"))?;
            let sent = learner.sent.get();
            ensure!(events == sent, "session {session}: {sent} events were sent, {events} are in the log");
            Ok(events)
        })
        .buffered(READS)
        .try_collect()
        .await?;
    let warnings: u64 = learners.iter().map(|learner| learner.warnings.get()).sum();
    say(format_args!(
        "\n{} events of {} sessions read back: every one once; no acknowledged number ever went back; {warnings} warnings",
        events.iter().sum::<u64>(),
        learners.len()
    ))
}

/// The nodes, as far as they run.
struct Nodes {
    ground: Arc<Ground>,
    servers: Arc<Vec<Mutex<Seat>>>,
}

/// Where a node is, whether it runs or not: who connects finds out.
struct Seat {
    server: Option<Server>,
    address: SocketAddr,
}

impl Nodes {
    fn start(ground: Arc<Ground>, count: usize) -> anyhow::Result<Self> {
        let start = |node| {
            let server = Server::node_of(&ground, node)?;
            Ok(Mutex::new(Seat { address: server.address, server: Some(server) }))
        };
        let servers = (0..count).map(start).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { ground, servers: Arc::new(servers) })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        (0..self.servers.len()).map(|node| address_of(&self.servers, node)).collect()
    }

    fn take(&self, node: usize) -> Option<Server> {
        self.servers[node].lock().unwrap_or_else(PoisonError::into_inner).server.take()
    }

    async fn launch(&self, node: usize) -> anyhow::Result<()> {
        let ground = self.ground.clone();
        let server = spawn_blocking(move || Server::node_of(&ground, node)).await??;
        *self.servers[node].lock().unwrap_or_else(PoisonError::into_inner) =
            Seat { address: server.address, server: Some(server) };
        Ok(())
    }
}

fn address_of(servers: &[Mutex<Seat>], node: usize) -> SocketAddr {
    servers[node].lock().unwrap_or_else(PoisonError::into_inner).address
}

/// Somebody who learns, and what is known of it.
struct Learner {
    session: String,
    front: Front,
    handle: Handle,
    plays: Cell<bool>,
    sent: Cell<u64>,
    acknowledged: Cell<u64>,
    warnings: Cell<u64>,
    waits: RefCell<Option<Wait>>,
}

/// A learner's node has ended.
struct Wait {
    since: Stopwatch,
    /// before it ended
    sent: u64,
    connections: u64,
    back: oneshot::Sender<f64>,
}

impl Learner {
    /// With a front whose first connection goes to `node`.
    async fn connect(
        ticket: Ticket,
        key: &Arc<ClientKey>,
        clock: &Clock,
        nodes: &Nodes,
        node: usize,
    ) -> anyhow::Result<(Rc<Self>, Client)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}{STREAM_PATH}", listener.local_addr()?);
        let (servers, count) = (nodes.servers.clone(), nodes.servers.len());
        let front =
            Front::start(listener, count, (node + count - 1) % count, move |node| Some(address_of(&servers, node)));
        let Ticket { session, token } = ticket;
        let credentials = Credentials { session: session.clone(), token, key: key.clone(), device: None };
        let client = Client::connect(url, credentials, clock.clone(), Entropy::system());
        let handle = client.handle().clone();
        let (sent, acknowledged, warnings) = Default::default();
        let (plays, waits) = (Cell::new(true), RefCell::default());
        Ok((Rc::new(Self { session, front, handle, plays, sent, acknowledged, warnings, waits }), client))
    }

    /// Plays the lesson, and looks at what comes back.
    async fn live(self: Rc<Self>, mut client: Client, clock: Clock, event_ms: i64) -> anyhow::Result<()> {
        let mut acknowledged = self.handle.acknowledged();
        let began_ms = self.handle.ct_ms();
        let mut next_ms = clock.now_ms();
        loop {
            tokio::select! {
                biased;
                message = client.next() => match message {
                    Some(ServerMessage::Welcome(welcome)) => self.hear(welcome.acknowledged)?,
                    Some(ServerMessage::Warning { .. }) => self.warnings.set(self.warnings.get() + 1),
                    Some(_) => {}
                    None => anyhow::bail!("session {}: {:?}", self.session, *self.handle.link().borrow()),
                },
                Ok(()) = acknowledged.changed() => {
                    let upto = *acknowledged.borrow_and_update();
                    self.hear(upto)?;
                }
                () = clock.sleep_until_ms(next_ms), if self.plays.get() => {
                    next_ms += event_ms;
                    if self.plays.get() {
                        self.play(self.handle.ct_ms(), began_ms).await?;
                    }
                }
            }
        }
    }

    async fn play(&self, ct_ms: i64, began_ms: i64) -> anyhow::Result<()> {
        let player = PlayerState { playing: true, pos_ms: ct_ms - began_ms, rate: 1.0 };
        let event = match self.sent.get() {
            0 => Event::Playback { event: PlaybackEvent::Play, from_ms: None, player },
            _ => Event::Heartbeat(player),
        };
        self.sent.set(self.sent.get() + 1);
        Ok(self.handle.send_event_at(ct_ms, event).await?)
    }

    /// The server says that all is on disk up to this number.
    fn hear(&self, upto: u64) -> anyhow::Result<()> {
        let before = self.acknowledged.replace(upto);
        ensure!(upto >= before, "session {}: {before} was acknowledged, and then only {upto}", self.session);
        ensure!(upto <= self.sent.get(), "session {}: {upto} is acknowledged and was never sent", self.session);
        let is_back = |wait: &mut Wait| upto > wait.sent && self.front.connections() > wait.connections;
        if let Some(wait) = self.waits.borrow_mut().take_if(is_back) {
            // Nobody asks any more once something has failed.
            let _ = wait.back.send(wait.since.elapsed().as_secs_f64() * 1e3);
        }
        Ok(())
    }

    /// How long it takes until an event is acknowledged that comes from now on, over another connection, ms.
    fn wait_anew(&self, since: Stopwatch) -> oneshot::Receiver<f64> {
        let (back, waited) = oneshot::channel();
        let (sent, connections) = (self.sent.get(), self.front.connections());
        self.waits.replace(Some(Wait { since, sent, connections, back }));
        waited
    }
}
