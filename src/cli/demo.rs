//! `invigil demo`: a server, learners honest and not, and their verdicts, without any set-up.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::{Clock, Entropy};
use crate::config::{Config, Overrides};
use crate::demo::{Classroom, Demo, DemoOptions, Nodes, Report, SERVING, SESSIONS, table, view};
use crate::lifecycle::{Server, ServerConfig};
use crate::vision::DEFAULT_FOLDER;

/// How much faster than life sessions run, of one server and of several nodes.
const SPEED: u32 = 10;
const SPEED_OF_NODES: u32 = 4;
/// Without a terminal, a node is killed and started again after these pauses, ms.
const STRIKES_AFTER_MS: [i64; 2] = [20_000, 15_000];
/// How often a node looks how many sessions live there, ms.
const COUNTED_EVERY_MS: i64 = 200;

/// Run a server with learners, honest and not, and watch the verdicts arrive.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How much faster than life sessions run; 10 without it, 4 with several nodes, whose leases keep real time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10))]
    speed: Option<u32>,
    /// Nodes that share the sessions, with PostgreSQL and Redis, which must be installed. A key kills one, and starts it
    /// again; without a terminal, one is killed by itself
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
    nodes: u32,
    /// End when the last verdict is there, with 1 if one is not deserved, instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,
    /// Only the course page on which a person with a webcam tries it, without the other learners
    #[arg(long, conflicts_with_all = ["nodes", "once", "json", "speed"])]
    classroom: bool,
    /// Print the report as JSON on stdout, instead of a table
    #[arg(long)]
    json: bool,
    /// Where `make models` put the models and the people
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    models: PathBuf,
    /// What is logged, as in RUST_LOG
    #[arg(long, value_name = "LEVELS", default_value = "error")]
    log: String,
}

impl DemoArgs {
    /// Holds the demo.
    ///
    /// # Errors
    /// When the server does not start or the stage cannot be set; not because of a verdict.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log).context("--log")?;
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        super::runtime()?.block_on(self.hold())
    }

    async fn hold(self) -> anyhow::Result<ExitCode> {
        let mut stopped = std::pin::pin!(stop_signal());
        if self.classroom {
            let classroom = Classroom::open(&self.models).await?;
            eprintln!("try it on your own face, with a webcam: {}; Ctrl-C ends it", classroom.address());
            stopped.await?;
            classroom.close().await;
            return Ok(ExitCode::SUCCESS);
        }
        let speed = self.speed.unwrap_or(if self.nodes > 1 { SPEED_OF_NODES } else { SPEED });
        let who =
            if self.nodes > 1 { format!("{} nodes, PostgreSQL, Redis", self.nodes) } else { "a server".to_owned() };
        eprintln!("starting {who}, three platforms with a webhook receiver, and everybody who takes part …");
        let options = DemoOptions { speed, models_folder: self.models.clone(), nodes: self.nodes as usize };
        let demo = tokio::select! {
            demo = Demo::set_up(&options) => demo?,
            stop = &mut stopped => return stop.map(|()| ExitCode::FAILURE),
        };
        eprintln!("serving at {}, sessions at {speed} times the speed; Ctrl-C ends it", demo.address());
        // Whoever wants to try it wants it to stay.
        let classroom = if self.once { None } else { Some(Classroom::open(&self.models).await?) };
        if let Some(classroom) = &classroom {
            eprintln!("try it on your own face, with a webcam: {}", classroom.address());
        }
        eprintln!();
        let nodes = demo.nodes().cloned();
        let report = tokio::select! {
            report = demo.perform() => report,
            () = view::follow(demo.learners(), nodes.clone(), Clock::system()) => anyhow::bail!("the view ended"),
            failed = strike(nodes) => return failed.map(|()| ExitCode::FAILURE),
            stop = &mut stopped => {
                demo.stop().await;
                return stop.map(|()| ExitCode::FAILURE);
            }
        };
        self.show(&report)?;
        if !self.once {
            let console = demo.open_console().await?;
            eprintln!("\nthe supervisors' console: {}", console.address);
            eprintln!("  sign in as {}; password: {}", console.accounts.join(", "), console.password);
            eprintln!("still serving at {}; Ctrl-C ends it", demo.address());
            stopped.await?;
        }
        if let Some(classroom) = classroom {
            classroom.close().await;
        }
        demo.stop().await;
        Ok(if report.as_deserved { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn show(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            return super::say(serde_json::to_string_pretty(report)?);
        }
        let terminal = console::Term::stdout();
        let columns = terminal.is_term().then(|| usize::from(terminal.size().1));
        super::say(format_args!("\n\n{}", table::draw(report, columns).trim_end()))
    }
}

/// Kills nodes and starts them again, as keys say; without a terminal one node, once. Returns when that fails.
async fn strike(nodes: Option<Nodes>) -> anyhow::Result<()> {
    let Some(nodes) = nodes else { return std::future::pending().await };
    if !console::user_attended() || !console::user_attended_stderr() {
        let wall = Clock::system();
        for pause_ms in STRIKES_AFTER_MS {
            wall.sleep_ms(pause_ms).await;
            nodes.kill_or_start(0).await?;
        }
        return std::future::pending().await;
    }
    let (pressed, mut keys) = tokio::sync::mpsc::unbounded_channel();
    // It reads until the process ends: there is no way to stop waiting for a key.
    std::thread::spawn(move || {
        let terminal = console::Term::stdout();
        while let Ok(key) = terminal.read_char() {
            if pressed.send(key).is_err() {
                return;
            }
        }
    });
    while let Some(key) = keys.recv().await {
        if let Some(number @ 1..) = key.to_digit(10) {
            nodes.kill_or_start(number as usize - 1).await?;
        }
    }
    std::future::pending().await
}

/// Returns when somebody wants the demo to end: so that its folder is removed.
async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// One node of the demo, which the demo itself starts: a server whose sessions run faster, until its input ends.
#[derive(Debug, Args)]
pub struct DemoNode {
    /// Its settings
    #[arg(long)]
    config: PathBuf,
    /// How much faster than life sessions run
    #[arg(long)]
    speed: u32,
    /// When the clock of sessions was started, ms since the Unix epoch
    #[arg(long)]
    origin_ms: i64,
}

impl DemoNode {
    /// Serves until its input ends.
    ///
    /// # Errors
    /// When the server does not start.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let config = Config::load(Some(&self.config), &Overrides::default())?;
        let filter = tracing_subscriber::EnvFilter::new("error");
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        let runtime = super::runtime()?;
        let served = runtime.block_on(async {
            let clock = Clock::scaled_since(self.speed, self.origin_ms);
            let server = ServerConfig { config, clock, wall: Clock::system(), entropy: Entropy::system() };
            let server = Server::start(server).await?;
            super::say(format_args!("{SERVING}{}", server.address))?;
            let (ended, mut end) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                let _ = ended.send(());
            });
            let (wall, mut told) = (Clock::system(), usize::MAX);
            loop {
                let sessions = server.live_sessions();
                if std::mem::replace(&mut told, sessions) != sessions {
                    super::say(format_args!("{SESSIONS}{sessions}"))?;
                }
                tokio::select! {
                    _ = &mut end => break,
                    () = wall.sleep_ms(COUNTED_EVERY_MS) => {}
                }
            }
            server.stop().await;
            Ok(ExitCode::SUCCESS)
        });
        runtime.shutdown_background();
        served
    }
}
