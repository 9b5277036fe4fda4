//! `invigil serve`: a server on this machine, until it is told to stop.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::clock::{Clock, Entropy};
use crate::config::{Config, LogFormat, Overrides};
use crate::lifecycle::{Server, ServerConfig, VisionNode, watch_machine_clock};

/// How long stopping may take in all, ms: a second less than the ten that operators are promised.
const STOP_LIMIT_MS: i64 = 9_000;

/// Serve learners' pages and platforms.
#[derive(Debug, Args)]
pub struct Serve {
    /// Settings that differ from the defaults (TOML); see config.default.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT; a second signal ends it at once.
    ///
    /// # Errors
    /// When the configuration is wrong or a part of the server does not start.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let config = Config::load(self.config.as_deref(), &self.overrides)?;
        start_log(&config);
        let runtime = super::runtime()?;
        let served = runtime.block_on(serve(config));
        // What is still under way, a slow read, say, must not hold up the end.
        runtime.shutdown_background();
        served
    }
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    // Sessions run on a clock that never jumps, whatever is done to the machine's: a jump would look like fast-forward.
    let (clock, wall) = (Clock::scaled(1), Clock::system());
    let (steady, only_vision) = (clock.clone(), config.roles.only_vision());
    let setup = ServerConfig { config, clock, wall, entropy: Entropy::system() };
    if only_vision {
        let node = VisionNode::start(setup).await?;
        tracing::info!(address = %node.address, metrics = node.metrics_address.map(tracing::field::display), "serving");
        signals.until_told(&steady, std::future::pending()).await;
        tracing::info!("stopping: what was taken off the queue is answered");
        signals.stop(&steady, node.stop()).await;
        return Ok(ExitCode::SUCCESS);
    }
    let server = Server::start(setup).await?;
    tracing::info!(
        address = %server.address,
        metrics = server.metrics_address.map(tracing::field::display),
        operator_key = %server.operator_key_file.display(),
        recovered = server.recovered,
        "serving"
    );
    if signals.until_told(&steady, server.failed()).await == Told::Failed {
        tracing::error!("ended, because nothing can be written any more: whoever supervises this starts it again");
        return Ok(ExitCode::FAILURE);
    }
    tracing::info!(live = server.live_sessions(), "stopping: clients are told to reconnect");
    signals.stop(&steady, server.stop()).await;
    Ok(ExitCode::SUCCESS)
}

/// What ends this process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Why it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Signal,
    Failed,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    /// Says that the server is there, and waits until it is to end.
    async fn until_told(&mut self, steady: &Clock, failed: impl Future<Output = ()>) -> Told {
        tokio::spawn(watch_machine_clock());
        notify(&[NotifyState::Ready]);
        tokio::select! {
            _ = self.terminate.recv() => Told::Signal,
            _ = self.interrupt.recv() => Told::Signal,
            () = keep_watchdog(steady) => Told::Signal,
            () = failed => Told::Failed,
        }
    }

    /// Stops, unless it takes too long or a second signal comes.
    async fn stop(mut self, steady: &Clock, stopping: impl Future<Output = ()>) {
        notify(&[NotifyState::Stopping]);
        tokio::select! {
            () = stopping => tracing::info!("stopped"),
            _ = self.terminate.recv() => tracing::warn!("stopped at once"),
            _ = self.interrupt.recv() => tracing::warn!("stopped at once"),
            // Whatever was acknowledged is on disk, so there is nothing to wait for.
            () = steady.sleep_ms(STOP_LIMIT_MS) => {
                tracing::warn!(limit_ms = STOP_LIMIT_MS, "stopped without waiting longer");
            }
        }
    }
}

/// Tells systemd that the server lives, twice in the time that it allows; for ever. Without systemd it does nothing.
async fn keep_watchdog(steady: &Clock) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let every_ms = i64::try_from(limit.as_millis() / 2).unwrap_or(i64::MAX).max(1);
    loop {
        notify(&[NotifyState::Watchdog]);
        steady.sleep_ms(every_ms).await;
    }
}

/// Tells systemd, if it started this process.
fn notify(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

fn start_log(config: &Config) {
    // What the store of photos does not do at once it tells at every attempt; what comes of it, we say ourselves.
    let filter = format!("object_store=warn,{}", config.log.filter);
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match config.log.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
