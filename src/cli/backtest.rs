//! `invigil backtest`: recorded sessions, judged again under another policy.

mod stats;

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use crate::backtest::{BadLog, GenerateError, Plan, Progress, Question, Source, draw, generate, judge, logs_at};
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::policy::{Policies, Policy, date_in_china};
use crate::store::archive::Archive;
use crate::store::reading::Records;

/// Judges recorded sessions again under another policy; says how many change, and why.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Backtest {
    #[command(subcommand)]
    command: Option<Command>,
    /// The policy in question: a file (TOML), or the name of a pack
    #[arg(long, value_name = "FILE", required = true)]
    policy: Option<String>,
    /// Session logs (JSON Lines): a file, or a directory and its *.jsonl; a file may hold many, one after another
    #[arg(long, value_name = "DIR", required_unless_present_any = ["data", "config"],
        conflicts_with_all = ["data", "config"])]
    logs: Option<PathBuf>,
    /// The data folder of a server, which may be running; its closed sessions
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The settings of a server: the closed sessions of its data folder, or of the PostgreSQL at its database.url
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Compare with this policy instead of the pack that each log names
    #[arg(long, value_name = "FILE")]
    base: Option<String>,
    /// A pack that logs may name besides the built-in ones; may be given several times
    #[arg(long = "pack", value_name = "FILE")]
    packs: Vec<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write a line of JSON for each session that changes
    #[arg(long, value_name = "FILE")]
    changes: Option<PathBuf>,
    /// Threads; as many as there are cores, when not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Also measure: events a second, beside merely parsing the same sessions
    #[arg(long)]
    stats: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make sessions to try a backtest on: learners, honest and not, in chains over projects and lessons
    Generate(Generate),
}

#[derive(Debug, clap::Args)]
struct Generate {
    /// How many sessions
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u64,
    /// Events of each
    #[arg(long, default_value_t = 30)]
    events: u64,
    /// Where to: a directory without *.jsonl in it
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The same seed makes the same sessions
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sessions that share a file
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    sessions_per_file: u64,
}

impl Backtest {
    /// Runs the command: 2 when a pack, or what was asked, was wrong; 1 when it could not be done. Bad logs are counted.
    pub fn run(&self) -> ExitCode {
        if let Some(Command::Generate(command)) = &self.command {
            return command.run();
        }
        let kept = match self.kept() {
            Ok(kept) => kept,
            Err(error) => return super::reported(Err(error)),
        };
        match self.question(&kept) {
            Ok(question) => super::reported(self.answer(&question)),
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::from(super::USAGE_ERROR)
            }
        }
    }

    /// The packs under which the sessions of a data folder were opened, whatever is configured now: label and text.
    fn kept(&self) -> anyhow::Result<Vec<(String, String)>> {
        let Some(records) = self.records()? else { return Ok(Vec::new()) };
        let read = || Archive::open(&records)?.policy_texts();
        read().with_context(|| records.to_string())
    }

    /// Where the sessions are, unless they are in files.
    fn records(&self) -> anyhow::Result<Option<Records>> {
        if self.logs.is_some() {
            return Ok(None);
        }
        let overrides = Overrides { data_folder: self.data.clone(), ..Overrides::default() };
        super::records_of(&Config::load(self.config.as_deref(), &overrides)?).map(Some)
    }

    fn question(&self, kept: &[(String, String)]) -> anyhow::Result<Question> {
        let others = self.packs.iter().map(|path| super::policy::read(path)).collect::<Result<_, _>>()?;
        let mut packs = Policies::new(others)?;
        super::policy::keep_all(kept, &mut packs)?;
        let today = date_in_china(Clock::system().now_ms());
        let meant = |name: &str| super::policy::find_in(&packs, name, today).map(Arc::new);
        let candidate = meant(self.policy.as_deref().unwrap_or_default())?;
        let base = self.base.as_deref().map(meant).transpose()?;
        Ok(Question { candidate, base, packs, fallback: Policy::default().into() })
    }

    fn source(&self) -> anyhow::Result<Source> {
        match (&self.logs, self.records()?) {
            (Some(logs), _) => Ok(Source::Logs(logs_at(logs).with_context(|| logs.display().to_string())?)),
            (None, Some(records)) => Ok(Source::Data(records)),
            (None, None) => anyhow::bail!("--logs, --data or --config is needed"),
        }
    }

    fn answer(&self, question: &Question) -> anyhow::Result<ExitCode> {
        let threads = self.threads.map_or_else(cores, usize::from);
        let source = self.source()?;
        let mut changes = None;
        if let Some(path) = &self.changes {
            let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
            changes = Some(BufWriter::new(file));
        }
        let mut stats = stats::Stats::start(threads);
        let bars = Bars::new();
        let watched = stats::Watched::new(&bars);
        bars.begin(source.bytes(), "{msg} {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}", "looking for logs");
        let (index, bad) = source.index(threads, &watched)?;
        stats.indexed(&watched);
        bars.begin(index.sessions(), "{msg} {bar:40} {human_pos}/{human_len} sessions {per_sec} {eta}", "judging");
        let out = changes.as_mut().map(|changes| changes as &mut (dyn io::Write + Send));
        let report = judge(&source, &index, bad, question, threads, out, &watched)?;
        stats.judged(&watched, report.events);
        bars.end();
        if let (Some(mut changes), Some(path)) = (changes, &self.changes) {
            changes.flush().with_context(|| path.display().to_string())?;
        }
        if self.json {
            let stats = self.stats.then(|| stats.measure(&source)).transpose()?;
            let mut report = serde_json::to_value(&report)?;
            if let Some(stats) = stats {
                report["stats"] = serde_json::to_value(stats)?;
            }
            super::say(serde_json::to_string_pretty(&report)?)?;
        } else {
            super::say(draw(&report).trim_end())?;
            if self.stats {
                super::say(stats.measure(&source)?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Generate {
    fn run(&self) -> ExitCode {
        let plan = Plan {
            sessions: self.sessions,
            events: self.events,
            seed: self.seed,
            sessions_per_file: self.sessions_per_file,
            policy: Arc::new(Policy::default()),
        };
        let bars = Bars::new();
        bars.begin(self.sessions, "{msg} {bar:40} {human_pos}/{human_len} sessions {per_sec} {eta}", "making");
        let made = generate(&plan, &self.to, &bars);
        bars.end();
        match made {
            Ok(()) => super::reported(
                super::say(format_args!(
                    "{} sessions of {} events in {}",
                    self.sessions,
                    self.events,
                    self.to.display()
                ))
                .map(|()| ExitCode::SUCCESS),
            ),
            Err(error) => {
                eprintln!("error: {error}");
                let usage = !matches!(error, GenerateError::File { .. });
                if usage { ExitCode::from(super::USAGE_ERROR) } else { ExitCode::FAILURE }
            }
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Shows how far it has come, where somebody watches.
struct Bars(std::sync::Mutex<ProgressBar>);

impl Bars {
    fn new() -> Self {
        Self(std::sync::Mutex::new(ProgressBar::hidden()))
    }

    fn bar(&self) -> ProgressBar {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn begin(&self, length: u64, template: &str, message: &'static str) {
        self.end();
        if !io::stderr().is_terminal() {
            return;
        }
        let bar = ProgressBar::new(length).with_message(message);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = bar;
    }

    fn end(&self) {
        self.bar().finish_and_clear();
    }
}

impl Progress for Bars {
    fn read(&self, bytes: u64) {
        self.bar().inc(bytes);
    }

    fn judged(&self, sessions: u64) {
        self.bar().inc(sessions);
    }

    fn bad(&self, log: &BadLog) {
        self.bar().suspend(|| eprintln!("{log}"));
    }
}
