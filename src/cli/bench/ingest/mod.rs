//! `invigil bench ingest`: what the server makes of a stream of events, beside servers that do less.
//!
//! The real server runs as a process of its own with everything on: it parses, applies the rules, makes each event
//! durable and only then acknowledges it. The peers run on the same machine in the same rounds, one after the other, so
//! that whatever disturbs the machine disturbs them all: a bare echo on the same libraries, and Node with `ws`, which
//! parses and acknowledges without storing. Our own server over PostgreSQL is such a peer too, on one node or several; the
//! database's processes are counted apart. Processor time is the kernel's count of the server's process.

pub(super) mod accounts;
mod frames;
mod ground;
mod load;
mod nodes;
mod report;
mod servers;
mod soak;
mod storage;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use tokio::task::LocalSet;

pub use self::nodes::NodesArgs;
pub use self::soak::SoakArgs;
pub use self::storage::StorageArgs;

use self::ground::{Ground, Shared};
use self::load::{Fleet, Load, Pages, Tally, Ticket};
use self::report::{Measured, Report};
use self::servers::{Kind, Server};
use super::engines::{PostgresAccounts, RedisAccounts, connect};
use crate::clock::Clock;
use crate::cluster::redis::{self, RedisAddress};
use crate::engines::{Postgres, Redis};

/// How long a load runs before anything is counted, s.
const WARM_UP_S: f64 = 1.0;
/// How long the last acknowledgements may take, ms.
const SETTLE_MS: i64 = 30_000;
/// Files that a process needs besides its connections.
const OTHER_FILES: u64 = 100;
/// Sessions between which the memory of one more is measured. The first thousand fills pools and caches.
const IDLE_FROM: usize = 1_000;
const IDLE_TO: usize = 9_000;
/// Long enough for every idle connection to be pinged once (every 20 s).
const IDLE_S: f64 = 25.0;

/// Where a benchmark works.
#[derive(Clone, Debug, clap::Args)]
struct Place {
    /// Where the data folder is made, and removed in the end: on the disk that is to be measured
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    folder: PathBuf,
    /// Folder of the face models
    #[arg(long, value_name = "FOLDER", default_value = crate::vision::DEFAULT_FOLDER)]
    models: PathBuf,
}

/// Measures the stream of events.
#[derive(Clone, Debug, clap::Args)]
pub struct IngestArgs {
    /// Connections, each with a session of its own
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Events a second, over all connections; without it, as many as the window lets through
    #[arg(long, value_name = "EVENTS")]
    rate: Option<u32>,
    /// Events of one connection that may wait for their acknowledgement
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// Seconds that are counted, for each server and round
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Rounds, in each of which every server has its turn; medians are printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Servers beside our own
    #[arg(long, value_enum, value_delimiter = ',', default_value = "echo,node")]
    peers: Vec<Kind>,
    /// Nodes of the peer `postgres`, over one database and one Redis server, which is started
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    nodes: u8,
    /// An empty database for the peer `postgres`, postgres://USER@HOST/DATABASE; without it a server is started
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Prints which threads of ours took the time
    #[arg(long)]
    threads: bool,
    /// Measures the memory of idle sessions instead: from 1,000 to 9,000, connected
    #[arg(long)]
    idle: bool,
    /// Measures everything that docs/performance.md says of the stream, and prints its table
    #[arg(long, conflicts_with_all = ["connections", "rate", "window", "idle"])]
    all: bool,
    #[command(flatten)]
    place: Place,
    /// Where `ws` for Node is, or is fetched to
    #[arg(long, value_name = "FOLDER", default_value = "benches/peers/cache")]
    peers_cache: PathBuf,
}

impl IngestArgs {
    /// Runs the benchmark and prints its figures.
    ///
    /// # Errors
    /// When a server does not start, complains, or loses an event.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            match (self.all, self.idle) {
                (true, _) => self.measure_all().await,
                (false, true) => self.measure_idle().await,
                (false, false) => {
                    let bench = Bench::start(&self, self.connections as usize).await?;
                    let rate = self.rate.map(f64::from);
                    let load = Load { rate, window: self.window };
                    bench.compare(&self, self.connections as usize, load).await.map(drop)
                }
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }

    async fn measure_all(&self) -> anyhow::Result<()> {
        const MANY: usize = 2_000;
        let bench = Bench::start(self, MANY).await?;
        for window in [1, 32] {
            bench.compare(self, 64, Load { rate: None, window }).await?;
        }
        bench.compare(self, MANY, Load { rate: Some(10_000.0), window: 8 }).await?;
        let saturated = bench.compare_ours(self, 256, Load { rate: None, window: 32 }).await?;
        let half = Load { rate: Some((saturated / 2.0).floor()), window: 1_024 };
        bench.compare_ours(self, 256, half).await?;
        drop(bench);
        self.measure_idle().await
    }

    async fn measure_idle(&self) -> anyhow::Result<()> {
        enough_files(IDLE_TO)?;
        let ground = Ground::prepare(&self.place, IDLE_TO, &Shared::default()).await?;
        let ours = Server::invigil(&ground)?;
        let mut before = Vec::new();
        let mut fleets = Vec::new();
        let (pages, mut opened) = (Pages::new()?, 0);
        let echo = if self.peers.contains(&Kind::Echo) { Some(Server::echo()?) } else { None };
        println!("memory of idle sessions, connected, resident bytes by the kernel's count");
        for sessions in [IDLE_FROM, IDLE_TO] {
            let tickets = ground.open_sessions(&[ours.address], opened..sessions).await?;
            fleets.push(Fleet::connect(&pages, &[ours.address], tickets.len(), Some(&tickets)).await?);
            if let Some(echo) = &echo {
                fleets.push(Fleet::connect(&pages, &[echo.address], tickets.len(), None).await?);
            }
            idle(&fleets).await?;
            opened = sessions;
            let resident = [Some(&ours), echo.as_ref()].map(|server| server.map(Server::resident_bytes).transpose());
            for (kind, resident) in [Kind::Invigil, Kind::Echo].into_iter().zip(resident) {
                let Some(resident) = resident? else { continue };
                println!("  {:<16} {sessions:>6} sessions {:>8.1} MB", kind.name(), resident as f64 / 1e6);
                before.push((kind, resident));
            }
        }
        let each = before.len() / 2;
        for ((kind, from), (_, to)) in before.iter().zip(&before[each..]) {
            let slope = (*to as f64 - *from as f64) / (IDLE_TO - IDLE_FROM) as f64;
            println!("  {:<16} {:>15} {slope:>8.0} bytes for each further one", kind.name(), "");
        }
        drop(fleets);
        complain(&ours)
    }
}

/// All fleets stay connected at the same time, long enough to be pinged.
async fn idle(fleets: &[Fleet]) -> anyhow::Result<()> {
    futures_util::future::try_join_all(fleets.iter().map(|fleet| fleet.idle(IDLE_S))).await.map(drop)
}

/// Says what the server has complained of.
fn complain(server: &Server) -> anyhow::Result<()> {
    let complaints = server.complaints();
    ensure!(complaints.is_empty(), "the server complains:\n{}", complaints.join("\n"));
    Ok(())
}

fn enough_files(connections: usize) -> anyhow::Result<()> {
    let (limit, needed) = (accounts::open_files_limit()?, 2 * connections as u64 + OTHER_FILES);
    ensure!(limit >= needed, "{connections} connections to each server take {needed} open files; `ulimit -n {needed}`");
    Ok(())
}

/// One that is measured: a server, or several nodes, and what they stand on.
struct Contender {
    kind: Kind,
    servers: Vec<Server>,
    /// sessions to stream into, if it asks for any
    tickets: Option<Vec<Ticket>>,
    database: Option<PostgresAccounts>,
    redis: Option<RedisAccounts>,
    /// gone after the servers
    _ground: Option<Ground>,
    _engines: (Option<Postgres>, Option<Redis>),
}

impl Contender {
    async fn start(kind: Kind, args: &IngestArgs, connections: usize) -> anyhow::Result<Self> {
        let server = match kind {
            Kind::Invigil => return Self::ours(kind, args, connections, Shared::default()).await,
            Kind::Postgres => return Self::over_postgres(args, connections).await,
            Kind::Echo => Server::echo()?,
            Kind::Node => Server::node(&args.peers_cache)?,
        };
        let (servers, _engines) = (vec![server], (None, None));
        Ok(Self { kind, servers, tickets: None, database: None, redis: None, _ground: None, _engines })
    }

    async fn over_postgres(args: &IngestArgs, connections: usize) -> anyhow::Result<Self> {
        let further_nodes = usize::from(args.nodes) - 1;
        let redis = if further_nodes > 0 { Some(Redis::start()?) } else { None };
        let redis_url = redis.as_ref().map(Redis::url);
        let postgres = if args.database_url.is_none() { Some(Postgres::start(&args.place.folder)?) } else { None };
        let url = args.database_url.clone().or_else(|| postgres.as_ref().map(Postgres::url)).unwrap_or_default();
        let client = connect(&url.parse()?).await?;
        let database = PostgresAccounts::of(&client).await?;
        let shared = Shared { further_nodes, database_url: Some(url), redis_url };
        let ours = Self::ours(Kind::Postgres, args, connections, shared).await?;
        let redis_accounts = match &redis {
            Some(redis) => {
                let address = RedisAddress::parse(&redis.url(), None)?;
                Some(RedisAccounts::of(&redis::Redis::connect(address, Clock::scaled(1)).await?).await?)
            }
            None => None,
        };
        Ok(Self { database: Some(database), redis: redis_accounts, _engines: (postgres, redis), ..ours })
    }

    async fn ours(kind: Kind, args: &IngestArgs, connections: usize, shared: Shared) -> anyhow::Result<Self> {
        let ground = Ground::prepare(&args.place, connections, &shared).await?;
        let nodes = (0..=shared.further_nodes).map(|node| Server::node_of(&ground, node));
        let servers = nodes.collect::<anyhow::Result<Vec<_>>>()?;
        let tickets = ground.open_sessions(&addresses(&servers), 0..connections).await?;
        let (tickets, _ground) = (Some(tickets), Some(ground));
        Ok(Self { kind, servers, tickets, database: None, redis: None, _ground, _engines: (None, None) })
    }

    async fn measure(&self, pages: &Pages, connections: usize, load: Load, seconds: u32) -> anyhow::Result<Measured> {
        let fleet = Fleet::connect(pages, &addresses(&self.servers), connections, self.tickets.as_deref()).await?;
        fleet.drive(load, WARM_UP_S).await?;
        let (before, own_before) = (self.cpu_us()?, accounts::cpu_us(std::process::id())?);
        let redis_cpu_us = || self.redis.as_ref().map(RedisAccounts::cpu_us).transpose();
        let redis_before = redis_cpu_us()?;
        let threads_before = self.cpu_us_by_thread()?;
        let tally: Tally = fleet.drive(load, f64::from(seconds)).await?;
        let (after, own) = (self.cpu_us()?, accounts::cpu_us(std::process::id())?);
        let redis_after = redis_cpu_us()?;
        let mut threads = self.cpu_us_by_thread()?;
        for (name, us) in &mut threads {
            *us -= threads_before.get(name).copied().unwrap_or_default().min(*us);
        }
        fleet.settle(SETTLE_MS).await?;
        ensure!(fleet.warnings() == 0, "an honest load was warned {} times", fleet.warnings());
        let spent = |before: Option<u64>, after: Option<u64>| before.zip(after).map(|(before, after)| after - before);
        let database_cpu_us = spent(before.1, after.1);
        let redis_cpu_us = spent(redis_before, redis_after);
        let (cpu_us, own_cpu_us) = (after.0 - before.0, own - own_before);
        Ok(Measured { tally, cpu_us, database_cpu_us, redis_cpu_us, own_cpu_us, threads })
    }

    /// Processor time since their start, µs: of its servers, and of the database's processes.
    fn cpu_us(&self) -> anyhow::Result<(u64, Option<u64>)> {
        let servers = self.servers.iter().map(Server::cpu_us).sum::<anyhow::Result<u64>>()?;
        Ok((servers, self.database.as_ref().and_then(PostgresAccounts::cpu_us)))
    }

    fn cpu_us_by_thread(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut by_name = BTreeMap::new();
        for server in &self.servers {
            for (name, us) in accounts::cpu_us_by_thread(server.pid())? {
                *by_name.entry(name).or_default() += us;
            }
        }
        Ok(by_name)
    }
}

fn addresses(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(|server| server.address).collect()
}

/// All that are measured, our server first.
struct Bench {
    contenders: Vec<Contender>,
    pages: Pages,
}

impl Bench {
    async fn start(args: &IngestArgs, connections: usize) -> anyhow::Result<Self> {
        enough_files(connections)?;
        let is_used = args.nodes == 1 || args.peers.contains(&Kind::Postgres);
        ensure!(is_used, "--nodes is of the peer postgres: name it with --peers");
        if args.nodes > 1 {
            Redis::program()?;
        }
        let mut contenders = Vec::new();
        let peers = args.peers.iter().copied().filter(|kind| *kind != Kind::Invigil);
        for kind in std::iter::once(Kind::Invigil).chain(peers) {
            contenders.push(Contender::start(kind, args, connections).await?);
        }
        Ok(Self { contenders, pages: Pages::new()? })
    }

    /// All servers in turn, for all rounds. Returns our events a second.
    async fn compare(&self, args: &IngestArgs, connections: usize, load: Load) -> anyhow::Result<f64> {
        self.rounds(args, connections, load, &self.contenders).await
    }

    /// Our server alone.
    async fn compare_ours(&self, args: &IngestArgs, connections: usize, load: Load) -> anyhow::Result<f64> {
        self.rounds(args, connections, load, &self.contenders[..1]).await
    }

    async fn rounds(
        &self,
        args: &IngestArgs,
        connections: usize,
        load: Load,
        contenders: &[Contender],
    ) -> anyhow::Result<f64> {
        let mut report = Report::new(connections, load);
        for _ in 0..args.rounds {
            for contender in contenders {
                let measured = contender.measure(&self.pages, connections, load, args.seconds).await?;
                report.add(contender.kind, measured);
            }
        }
        report.print(args.threads)?;
        for server in contenders.iter().flat_map(|contender| &contender.servers) {
            complain(server)?;
        }
        Ok(report.events_per_s(Kind::Invigil))
    }
}
