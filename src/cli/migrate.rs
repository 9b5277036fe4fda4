//! `invigil migrate`: moves an installation from one kind of database to another.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::say;
use crate::auth::keys::Keys;
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::store::evidence::Evidence;
use crate::store::moving::{Difference, Logs, Move, Outcome, Pass, Summary, Told};
use crate::store::{DATABASE_FILE, folder_lock};

/// How often a table's rows are told of where no bar is drawn: every so many parts of it.
const PARTS_TOLD: u32 = 50;
/// Hex digits of a digest that are shown.
const DIGITS: usize = 16;

/// Move an installation to another kind of database.
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy a data folder's records and journal to the PostgreSQL at database.url; the server may be running until the end
    EmbeddedToPostgres(EmbeddedToPostgres),
}

#[derive(Debug, Args)]
struct EmbeddedToPostgres {
    /// The settings that the server will have: database.url, and evidence.url if photos are to move as well
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder, if the settings name another
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Copy what has changed and end the move; the server must be stopped
    #[arg(long, conflicts_with = "verify")]
    finish: bool,
    /// Change nothing; say what differs between data folder and database
    #[arg(long)]
    verify: bool,
}

impl Migrate {
    /// Runs the command: 1 when the two sides differ in the end, or a photo is missing.
    ///
    /// # Errors
    /// When nothing can be moved, or a database fails.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Command::EmbeddedToPostgres(command) = self.command;
        command.run()
    }
}

impl EmbeddedToPostgres {
    fn run(self) -> anyhow::Result<ExitCode> {
        let overrides = Overrides { data_folder: self.data.clone(), ..Overrides::default() };
        let config = Config::load(self.config.as_deref(), &overrides)?;
        let folder = config.data_folder.as_path();
        let Some(address) = config.database.address().map_err(|(key, why)| anyhow::anyhow!("{key}: {why}"))? else {
            bail!("database.url names no PostgreSQL to move to");
        };
        if !folder.join(DATABASE_FILE).is_file() {
            bail!("{} holds no {DATABASE_FILE}: this is no data folder with records in it", folder.display());
        }
        // Held to the end: no server can start meanwhile.
        let _lock = match self.pass() {
            Pass::Finish => Some(folder_lock(folder).with_context(|| folder.display().to_string())?),
            Pass::Copy | Pass::Verify => None,
        };
        let keys = Keys::open_existing(folder, &config.keys)?;
        let bucket = match config.evidence.bucket() {
            Some(_) => Some(Evidence::configured(&config)?),
            None => None,
        };
        let bucket_name = bucket.as_ref().and_then(|bucket| bucket.bucket().map(str::to_owned));
        let moving = Move {
            folder,
            address,
            source: keys.pseudonym("installation", ""),
            bucket,
            pass: self.pass(),
            now_ms: Clock::system().now_ms(),
        };
        let mut watcher = Watcher::new();
        let outcome = moving.run(&mut |told| watcher.hear(told));
        watcher.end();
        match outcome? {
            Outcome::FinishedBefore(at) => {
                let at = jiff::Timestamp::from_millisecond(at)?;
                say(format_args!("finished at {at}: the records are in PostgreSQL, and nothing was done now"))?;
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Walked(summary) => self.conclude(&summary, bucket_name.as_deref(), &config),
        }
    }

    fn pass(&self) -> Pass {
        match (self.finish, self.verify) {
            (true, _) => Pass::Finish,
            (_, true) => Pass::Verify,
            _ => Pass::Copy,
        }
    }

    fn conclude(&self, summary: &Summary, bucket: Option<&str>, config: &Config) -> anyhow::Result<ExitCode> {
        tell_tables(summary, self.pass())?;
        let [here, there] = summary.logs;
        let shown = |logs: Logs| {
            format!("{} closed and {} open, {} lines", logs.closed_sessions, logs.open_sessions, logs.lines)
        };
        say(format_args!("{:<18} {}{}", "sessions", shown(here), if here == there { ", equal" } else { "" }))?;
        if here != there {
            say(format_args!("{:<18} {} in PostgreSQL", "DIFFERENT", shown(there)))?;
        }
        let mut wrong_photos = 0;
        match (summary.photos, bucket) {
            (Some(photos), Some(bucket)) => {
                wrong_photos = photos.wrong;
                let (known, sent) = (photos.known, photos.sent);
                say(format_args!("{:<18} {known} in {bucket}, {sent} sent now, {wrong_photos} wrong", "photos"))?;
            }
            _ => {
                let folder = config.data_folder.display();
                say(format_args!("{:<18} stay in {folder}; this folder stays the server's", "photos"))?;
            }
        }
        let equal = summary.is_equal();
        say(match self.pass() {
            Pass::Copy => {
                "NOT FINISHED       stop the server, then: invigil migrate embedded-to-postgres --finish".to_owned()
            }
            Pass::Finish => {
                "finished           start the server with database.url; the data folder says moved.json".into()
            }
            Pass::Verify if equal => "equal              every row of both sides".into(),
            Pass::Verify => "DIFFERENT          what was said above".into(),
        })?;
        Ok(if equal && wrong_photos == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn tell_tables(summary: &Summary, pass: Pass) -> anyhow::Result<()> {
    say(format_args!("{:<18} {:>10} {:>10} {:>9} {:>9}  digest", "table", "rows", "copied", "changed", "removed"))?;
    for moved in &summary.tables {
        let [here, there] = &moved.digests;
        let verdict = match (here == there, pass) {
            (true, _) => format!("{}… equal", &here[..DIGITS]),
            (false, _) => format!("{}… {}… DIFFERENT: {} rows", &here[..DIGITS], &there[..DIGITS], moved.differing),
        };
        let changes = moved.changes;
        say(format_args!(
            "{:<18} {:>10} {:>10} {:>9} {:>9}  {verdict}",
            moved.table, moved.rows, changes.added, changes.changed, changes.removed
        ))?;
    }
    Ok(())
}

/// Shows on standard error how far it has come: a bar where somebody watches, lines where not.
struct Watcher {
    bar: Option<ProgressBar>,
    name: &'static str,
    rows: u64,
    done: u64,
    parts: u32,
}

impl Watcher {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            let style = ProgressStyle::with_template("{msg:18} {bar:40} {human_pos}/{human_len} {per_sec} {eta}");
            style.into_iter().for_each(|style| bar.set_style(style));
            bar
        });
        Self { bar, name: "", rows: 0, done: 0, parts: 0 }
    }

    fn hear(&mut self, told: Told<'_>) {
        match told {
            Told::Table { table, rows } => self.begin(table, Some(rows)),
            Told::Photos => self.begin("photos", None),
            Told::Done(rows) => self.advance(rows),
            Told::Row { table, row, difference } => {
                let what = match difference {
                    Difference::Missing => "is not in PostgreSQL",
                    Difference::Other => "is another in PostgreSQL",
                    Difference::Unknown => "is in PostgreSQL only",
                };
                self.say(format_args!("DIFFERENT  table {table}, row {row}: {what}"));
            }
            Told::Photo { photo, why } => self.say(format_args!("WRONG      photo {photo} {why}")),
        }
    }

    fn begin(&mut self, name: &'static str, rows: Option<u64>) {
        (self.name, self.rows, self.done, self.parts) = (name, rows.unwrap_or(0), 0, 0);
        match (&self.bar, rows) {
            (Some(bar), _) => {
                bar.reset();
                bar.set_message(name);
                bar.set_length(self.rows);
            }
            (None, Some(rows)) => self.say(format_args!("{name}: {rows} rows")),
            (None, None) => self.say(name),
        }
    }

    fn advance(&mut self, rows: u64) {
        self.done += rows;
        self.parts += 1;
        match &self.bar {
            Some(bar) => bar.inc(rows),
            None if self.parts.is_multiple_of(PARTS_TOLD) => {
                self.say(format_args!("{}: {} of {} rows", self.name, self.done, self.rows));
            }
            None => {}
        }
    }

    fn say(&self, line: impl std::fmt::Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
