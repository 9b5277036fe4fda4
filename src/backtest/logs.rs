//! Files of logs: one log a file, or many one after another.
//!
//! A line whose `n` is 1 begins a log. Finding the beginnings takes one reading of every file, in which only those
//! lines are parsed.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::index::{Builder, Index, Place};
use super::{BacktestError, BadLog, Progress};
use crate::log::{Body, LineError, SessionOpened, parse_line, read_line};

/// Enough to keep system calls rare.
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// The files that a path means: itself, or the *.jsonl in it, sorted.
///
/// # Errors
/// When it cannot be read, or there are none.
pub fn logs_at(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        File::open(path)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let log = entry?.path();
        if log.extension().is_some_and(|extension| extension == "jsonl") && !log.is_dir() {
            logs.push(log);
        }
    }
    logs.sort();
    if logs.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no *.jsonl in this directory"));
    }
    Ok(logs)
}

/// Finds all logs in `files`.
pub(super) fn index(
    files: &[PathBuf],
    threads: usize,
    progress: &dyn Progress,
) -> Result<(Index, Vec<BadLog>), BacktestError> {
    let (builder, bad, next) = (Mutex::new(Builder::new()), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let failed: Mutex<Option<BacktestError>> = Mutex::new(None);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = files.get(number) else { return progress.thread_ended() };
            let mut scan = Scan { path, file: number as u32, builder: &builder, bad: Vec::new(), progress };
            let scanned = scan.file();
            let mut all = bad.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            all.extend(scan.bad.into_iter().map(|bad| (number, bad)));
            if let Err(error) = scanned {
                let mut failed = failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                failed.get_or_insert(BacktestError::File { path: path.clone(), error });
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(files.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| BacktestError::Thread("index".into())))
    })?;
    if let Some(error) = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        return Err(error);
    }
    let builder = builder.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut bad = bad.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    bad.sort_by_key(|(file, bad)| (*file, bad.line));
    Ok((builder.of_logs(), bad.into_iter().map(|(_, bad)| bad).collect()))
}

/// One file, read once.
struct Scan<'a> {
    path: &'a Path,
    file: u32,
    builder: &'a Mutex<Builder>,
    bad: Vec<BadLog>,
    progress: &'a dyn Progress,
}

/// The log that the lines read belong to.
enum Current {
    /// There was none yet.
    None,
    /// Its opening cannot be read: its lines are passed over.
    Bad,
    /// Begins at `offset`.
    Log { entry: usize, offset: u64 },
}

impl Scan<'_> {
    fn file(&mut self) -> io::Result<()> {
        let mut source = BufReader::with_capacity(READ_BUFFER_BYTES, File::open(self.path)?);
        let (mut text, mut line, mut offset, mut told) = (Vec::new(), 0, 0, 0);
        let mut current = Current::None;
        loop {
            line += 1;
            let mut bytes = read_line(&mut source, &mut text)?;
            if bytes == 0 {
                break;
            }
            if text.last() != Some(&b'\n') {
                // Too long for any log; whoever judges the log will say so.
                bytes += source.skip_until(b'\n')?;
            }
            if begins_log(&text) {
                self.end(&current, offset);
                current = self.begin(&text, line, offset);
            } else if matches!(current, Current::None) {
                self.complain(line, LineError::new("n", "the first line of a file must begin a log, with an n of 1"));
                current = Current::Bad;
            }
            offset += bytes as u64;
            if offset - told >= READ_BUFFER_BYTES as u64 {
                self.progress.read(offset - told);
                told = offset;
            }
        }
        self.end(&current, offset);
        self.progress.read(offset - told);
        if offset == 0 {
            self.complain(1, LineError::new("line", "the log is empty"));
        }
        Ok(())
    }

    fn begin(&mut self, text: &[u8], line: u64, offset: u64) -> Current {
        match opening(text.strip_suffix(b"\n").unwrap_or(text)) {
            Ok((at, opened)) => {
                let place = Place::Log { file: self.file, offset, length: 0, line };
                let mut builder = self.builder.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                Current::Log { entry: builder.add_log(place, at, opened), offset }
            }
            Err(error) => {
                self.complain(line, error);
                Current::Bad
            }
        }
    }

    fn end(&self, current: &Current, end: u64) {
        if let Current::Log { entry, offset } = *current {
            let mut builder = self.builder.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            builder.set_length(entry, end - offset);
        }
    }

    fn complain(&mut self, line: u64, error: LineError) {
        self.bad.push(BadLog { place: self.path.display().to_string(), line, error });
    }
}

/// Whether a line's `n` is 1.
fn begins_log(line: &[u8]) -> bool {
    // As the engine writes them, nearly every line is told by its first bytes.
    if let Some(rest) = line.strip_prefix(b"{\"n\":") {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 && rest.get(digits) == Some(&b',') {
            return &rest[..digits] == b"1";
        }
    }
    parse_line(line).is_ok_and(|event| event.n == 1)
}

/// What the first line of a log says, and when.
pub(super) fn opening(line: &[u8]) -> Result<(i64, SessionOpened), LineError> {
    let event = parse_line(line)?;
    match event.body {
        Body::SessionOpened(opened) => Ok((event.at, *opened)),
        _ => Err(LineError::new("type", "the first event must be session.opened")),
    }
}
