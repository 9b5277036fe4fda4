//! `invigil demo`: a server, learners honest and not, and their verdicts, without any set-up.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::demo::{Demo, DemoOptions, Report, table, view};
use crate::vision::DEFAULT_FOLDER;

/// Run a server with learners, honest and not, and watch the verdicts arrive.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How much faster than life sessions run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10))]
    speed: u32,
    /// End when the last verdict is there, with 1 if one is not deserved, instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,
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
        eprintln!("starting a server, two platforms with a webhook receiver, and everybody who takes part …");
        let options = DemoOptions { speed: self.speed, models_folder: self.models.clone() };
        let demo = tokio::select! {
            demo = Demo::set_up(&options) => demo?,
            stop = &mut stopped => return stop.map(|()| ExitCode::FAILURE),
        };
        eprintln!("serving at {}, sessions at {} times the speed; Ctrl-C ends it\n", demo.address(), self.speed);
        let report = tokio::select! {
            report = demo.perform() => report,
            () = view::follow(demo.learners(), Clock::system()) => anyhow::bail!("the view ended"),
            stop = &mut stopped => {
                demo.stop().await;
                return stop.map(|()| ExitCode::FAILURE);
            }
        };
        self.show(&report)?;
        if !self.once {
            eprintln!("\nstill serving at {}; Ctrl-C ends it", demo.address());
            stopped.await?;
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
