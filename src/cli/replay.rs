//! `invigil replay`: from logs to verdicts.
//!
//! Each log is read as a stream and judged by the same fold that a live session runs. A log that cannot be read does
//! not keep the others from being judged.

mod pretty;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::Clock;
use crate::log::{Body, Digest, Event, LineError, ReadError, Reader};
use crate::policy::{Policies, Policy, date_in_china};
use crate::session::Session;
use crate::verdict::Verdict;

/// Enough to keep system calls rare.
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// Judges session logs and prints one verdict a line, as JSON, in the order of the files.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// Session logs (JSON Lines); a directory means its *.jsonl, sorted; - means standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Judge by this pack, a name or a file (TOML), instead of the one that the log names
    #[arg(long, value_name = "PACK")]
    policy: Option<String>,
    /// Print for people instead of programs
    #[arg(long)]
    pretty: bool,
}

impl Replay {
    /// Runs the command: 1 when a log was bad, 2 when the pack was.
    pub fn run(&self) -> ExitCode {
        let bench = match self.bench() {
            Ok(bench) => bench,
            Err(error) => {
                eprintln!("error: {error:#}");
                return ExitCode::from(super::USAGE_ERROR);
            }
        };
        match self.judge_all(&bench) {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            // Whoever read our output has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: standard output: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn bench(&self) -> anyhow::Result<Bench> {
        let given = self.policy.as_deref().map(|pack| {
            let today = date_in_china(Clock::system().now_ms());
            super::policy::find(pack, today).map(Arc::new)
        });
        Ok(Bench { given: given.transpose()?, built_in: Policies::new(Vec::new())?, default: Policy::default().into() })
    }

    /// Judges every log; returns how many were bad.
    fn judge_all(&self, bench: &Bench) -> io::Result<usize> {
        let mut bad = 0;
        let mut complain = |bar: &ProgressBar, path: &Path, error: &dyn std::fmt::Display| {
            bad += 1;
            bar.suspend(|| eprintln!("{}: {error}", path.display()));
        };
        let bar = ProgressBar::hidden();
        let mut logs = Vec::new();
        for path in &self.files {
            match logs_at(path) {
                Ok(found) => logs.extend(found),
                Err(error) => complain(&bar, path, &error),
            }
        }
        let bar = progress_bar(&logs);
        for path in &logs {
            match judge_file(path, bench, &bar) {
                Ok(verdict) => self.print(&verdict, path, &bar)?,
                Err(error) => complain(&bar, path, &error),
            }
        }
        bar.finish_and_clear();
        Ok(bad)
    }

    fn print(&self, verdict: &Verdict, path: &Path, bar: &ProgressBar) -> io::Result<()> {
        bar.suspend(|| {
            let mut out = io::stdout().lock();
            if self.pretty {
                pretty::write(&mut out, path, verdict)?;
            } else {
                serde_json::to_writer(&mut out, verdict)?;
                out.write_all(b"\n")?;
            }
            out.flush()
        })
    }
}

/// The packs by which logs are judged.
struct Bench {
    /// for every log
    given: Option<Arc<Policy>>,
    /// for logs that name one of them
    built_in: Policies,
    /// for all others
    default: Arc<Policy>,
}

impl Bench {
    /// The pack for a log that begins with this event. A log whose pack is not here is judged by the default one, and
    /// its verdict says so.
    fn pack(&self, first: &Event) -> Arc<Policy> {
        let named = match &first.body {
            Body::SessionOpened(opened) => self.built_in.by_label(&opened.policy),
            _ => None,
        };
        self.given.as_ref().or(named).unwrap_or(&self.default).clone()
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The logs that an argument means.
fn logs_at(path: &Path) -> io::Result<Vec<PathBuf>> {
    if is_stdin(path) || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    crate::backtest::logs_at(path)
}

/// A bar over all bytes to be read; none where nobody watches.
fn progress_bar(logs: &[PathBuf]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let sizes = logs.iter().filter(|path| !is_stdin(path)).filter_map(|path| path.metadata().ok());
    let bar = ProgressBar::new(sizes.map(|data| data.len()).sum());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

fn judge_file(path: &Path, bench: &Bench, bar: &ProgressBar) -> Result<Verdict, ReadError> {
    let (pack, progress) = (|first: &Event| bench.pack(first), |bytes| bar.inc(bytes));
    if is_stdin(path) {
        return judge_by(BufReader::with_capacity(READ_BUFFER_BYTES, io::stdin().lock()), pack, progress);
    }
    let file = File::open(path).map_err(|error| ReadError::Io { line: 1, error })?;
    judge_by(BufReader::with_capacity(READ_BUFFER_BYTES, file), pack, progress)
}

/// Judges one log. `progress` is told of bytes read, now and then.
///
/// # Errors
/// When the log is bad or cannot be read.
pub fn judge(source: impl BufRead, policy: &Arc<Policy>, progress: impl FnMut(u64)) -> Result<Verdict, ReadError> {
    judge_by(source, |_| policy.clone(), progress)
}

/// As [`judge`], by the pack that `pack` chooses for the log's first event.
fn judge_by(
    source: impl BufRead,
    pack: impl Fn(&Event) -> Arc<Policy>,
    mut progress: impl FnMut(u64),
) -> Result<Verdict, ReadError> {
    let mut reader = Reader::new(source);
    let mut session = None;
    let mut digest = Digest::new();
    let mut unreported: u64 = 0;
    while let Some(read) = reader.next()? {
        let session = session.get_or_insert_with(|| Session::new(pack(&read.event)));
        session.apply(&read.event).map_err(|error| ReadError::Line {
            line: read.event.n,
            error: LineError::new(error.field, error.problem),
        })?;
        digest.line(read.line);
        unreported += read.line.len() as u64 + 1;
        if unreported >= READ_BUFFER_BYTES as u64 {
            progress(std::mem::take(&mut unreported));
        }
    }
    progress(unreported);
    let session =
        session.ok_or_else(|| ReadError::Line { line: 1, error: LineError::new("line", "the log is empty") })?;
    Ok(session.verdict(digest.finish()))
}
