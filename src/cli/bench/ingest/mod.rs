//! `invigil bench ingest`: what the server makes of a stream of events, beside servers that do less.
//!
//! The real server runs as a process of its own with everything on: it parses, applies the rules, makes each event
//! durable and only then acknowledges it. The peers run on the same machine in the same rounds, one after the other, so
//! that whatever disturbs the machine disturbs them all: a bare echo on the same libraries, and Node with `ws`, which
//! parses and acknowledges without storing. Processor time is the kernel's count of the server's process.

pub(super) mod accounts;
mod frames;
mod ground;
mod load;
mod report;
mod servers;
mod soak;
mod storage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use tokio::task::LocalSet;

pub use self::soak::SoakArgs;
pub use self::storage::StorageArgs;

use self::ground::Ground;
use self::load::{Fleet, Load, Pages, Tally, Ticket};
use self::report::{Measured, Report};
use self::servers::{Kind, Server};

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
                    let mut bench = Bench::start(&self, self.connections as usize).await?;
                    let rate = self.rate.map(f64::from);
                    let load = Load { rate, window: self.window };
                    bench.compare(&self, self.connections as usize, load).await.map(drop)?;
                    bench.end()
                }
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }

    async fn measure_all(&self) -> anyhow::Result<()> {
        const MANY: usize = 2_000;
        let mut bench = Bench::start(self, MANY).await?;
        for window in [1, 32] {
            bench.compare(self, 64, Load { rate: None, window }).await?;
        }
        bench.compare(self, MANY, Load { rate: Some(10_000.0), window: 8 }).await?;
        let saturated = bench.compare_ours(self, 256, Load { rate: None, window: 32 }).await?;
        let half = Load { rate: Some((saturated / 2.0).floor()), window: 1_024 };
        bench.compare_ours(self, 256, half).await?;
        bench.end()?;
        self.measure_idle().await
    }

    async fn measure_idle(&self) -> anyhow::Result<()> {
        enough_files(IDLE_TO)?;
        let ground = Ground::prepare(&self.place.folder, &self.place.models, IDLE_TO).await?;
        let ours = Server::invigil(&ground)?;
        let mut before = Vec::new();
        let mut fleets = Vec::new();
        let (pages, mut opened) = (Pages::new()?, 0);
        let echo = if self.peers.contains(&Kind::Echo) { Some(Server::echo()?) } else { None };
        println!("memory of idle sessions, connected, resident bytes by the kernel's count");
        for sessions in [IDLE_FROM, IDLE_TO] {
            let tickets = ground.open_sessions(ours.address, opened..sessions).await?;
            fleets.push(Fleet::connect(&pages, ours.address, tickets.len(), Some(&tickets)).await?);
            if let Some(echo) = &echo {
                fleets.push(Fleet::connect(&pages, echo.address, tickets.len(), None).await?);
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

/// The servers, and sessions to stream into.
struct Bench {
    ground: Ground,
    servers: Vec<(Kind, Server)>,
    tickets: Vec<Ticket>,
    pages: Pages,
}

impl Bench {
    async fn start(args: &IngestArgs, connections: usize) -> anyhow::Result<Self> {
        enough_files(connections)?;
        let ground = Ground::prepare(&args.place.folder, &args.place.models, connections).await?;
        let ours = Server::invigil(&ground)?;
        let tickets = ground.open_sessions(ours.address, 0..connections).await?;
        let mut servers = vec![(Kind::Invigil, ours)];
        for kind in args.peers.iter().copied() {
            match kind {
                Kind::Invigil => {}
                Kind::Echo => servers.push((kind, Server::echo()?)),
                Kind::Node => servers.push((kind, Server::node(&args.peers_cache)?)),
            }
        }
        Ok(Self { ground, servers, tickets, pages: Pages::new()? })
    }

    /// All servers in turn, for all rounds. Returns our events a second.
    async fn compare(&mut self, args: &IngestArgs, connections: usize, load: Load) -> anyhow::Result<f64> {
        self.rounds(args, connections, load, self.servers.len()).await
    }

    /// Our server alone.
    async fn compare_ours(&mut self, args: &IngestArgs, connections: usize, load: Load) -> anyhow::Result<f64> {
        self.rounds(args, connections, load, 1).await
    }

    async fn rounds(
        &mut self,
        args: &IngestArgs,
        connections: usize,
        load: Load,
        servers: usize,
    ) -> anyhow::Result<f64> {
        let mut report = Report::new(connections, load);
        for _ in 0..args.rounds {
            for (kind, server) in &self.servers[..servers] {
                let measured = self.measure(*kind, server, connections, load, args.seconds).await?;
                report.add(*kind, measured);
            }
        }
        report.print(args.threads)?;
        complain(&self.servers[0].1)?;
        Ok(report.events_per_s(Kind::Invigil))
    }

    async fn measure(
        &self,
        kind: Kind,
        server: &Server,
        connections: usize,
        load: Load,
        seconds: u32,
    ) -> anyhow::Result<Measured> {
        let tickets = (kind == Kind::Invigil).then_some(self.tickets.as_slice());
        let fleet = Fleet::connect(&self.pages, server.address, connections, tickets).await?;
        fleet.drive(load, WARM_UP_S).await?;
        let (cpu_before, own_before) = (server.cpu_us()?, accounts::cpu_us(std::process::id())?);
        let threads_before = accounts::cpu_us_by_thread(server.pid())?;
        let tally: Tally = fleet.drive(load, f64::from(seconds)).await?;
        let (cpu, own) = (server.cpu_us()?, accounts::cpu_us(std::process::id())?);
        let mut threads = accounts::cpu_us_by_thread(server.pid())?;
        for (name, us) in &mut threads {
            *us -= threads_before.get(name).copied().unwrap_or_default().min(*us);
        }
        fleet.settle(SETTLE_MS).await?;
        ensure!(fleet.warnings() == 0, "an honest load was warned {} times", fleet.warnings());
        Ok(Measured { tally, cpu_us: cpu - cpu_before, own_cpu_us: own - own_before, threads })
    }

    fn end(self) -> anyhow::Result<()> {
        drop(self.servers);
        drop(self.ground);
        Ok(())
    }
}
