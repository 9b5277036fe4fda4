//! `invigil serve`: a server on this machine, until it is told to stop.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::{Clock, Entropy};
use crate::config::{Config, LogFormat, Overrides};
use crate::lifecycle::{Server, ServerConfig, watch_machine_clock};

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
        super::runtime()?.block_on(serve(config))
    }
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    // Sessions run on a clock that never jumps, whatever is done to the machine's: a jump would look like fast-forward.
    let (clock, wall) = (Clock::scaled(1), Clock::system());
    let server = Server::start(ServerConfig { config, clock, wall, entropy: Entropy::system() }).await?;
    tracing::info!(
        address = %server.address,
        operator_key = %server.operator_key_file.display(),
        recovered = server.recovered,
        "serving"
    );
    tokio::spawn(watch_machine_clock());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = server.failed() => {
            tracing::error!("ended, because nothing can be written any more: whoever supervises this starts it again");
            return Ok(ExitCode::FAILURE);
        }
    }
    tracing::info!(live = server.live_sessions(), "stopping: clients are told to reconnect");
    tokio::select! {
        () = server.stop() => tracing::info!("stopped"),
        _ = terminate.recv() => tracing::warn!("stopped at once"),
        _ = interrupt.recv() => tracing::warn!("stopped at once"),
    }
    Ok(ExitCode::SUCCESS)
}

fn start_log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::new(&config.log.filter);
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match config.log.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
