//! How fast a backtest was, beside merely parsing the same sessions in the same run with as many threads.
//!
//! The machine's clock says how long one waited; the kernel's accounting says how long the threads ran, which a busy
//! machine does not change much. What is compared is the latter, where the kernel keeps it.

use std::fs::File;
use std::io::BufReader;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::backtest::{BadLog, Progress, Source};
use crate::cli::bench::replay::parse;
use crate::clock::{Stopwatch, thread_cpu_time};

const READ_BUFFER_BYTES: usize = 256 * 1024;

/// Measures on the way.
pub(super) struct Stats {
    threads: usize,
    watch: Stopwatch,
    indexed: Spent,
    judged: Spent,
    events: u64,
}

/// Elapsed time, and that of all threads together.
#[derive(Clone, Copy, Default)]
struct Spent {
    elapsed: Duration,
    cpu: Duration,
}

/// The figures.
#[derive(Serialize)]
pub(super) struct Figures {
    threads: usize,
    events: u64,
    index_s: f64,
    judge_s: f64,
    /// index and judging together
    events_per_s: f64,
    /// of a core that does nothing else: index and judging together
    events_per_core_s: f64,
    /// of a core that does nothing else: judging alone
    judged_events_per_core_s: f64,
    parsed_events_per_s: Option<f64>,
    parsed_events_per_core_s: Option<f64>,
    /// index and judging beside parsing, a core
    of_parsing: Option<f64>,
}

impl Stats {
    pub(super) fn start(threads: usize) -> Self {
        let (watch, none) = (Stopwatch::start(), Spent::default());
        Self { threads, watch, indexed: none, judged: none, events: 0 }
    }

    /// The index is there.
    pub(super) fn indexed(&mut self, watched: &Watched) {
        self.indexed = Spent { elapsed: self.watch.elapsed(), cpu: watched.take_cpu() };
    }

    /// Everything is judged.
    pub(super) fn judged(&mut self, watched: &Watched, events: u64) {
        let elapsed = self.watch.elapsed().saturating_sub(self.indexed.elapsed);
        self.judged = Spent { elapsed, cpu: watched.take_cpu() };
        self.events = events;
    }

    /// Parses the same sessions, and says how the two compare.
    pub(super) fn measure(&self, source: &Source) -> anyhow::Result<Figures> {
        let parsed = match source {
            Source::Logs(files) => Some(parse_all(files, self.threads)?),
            // What is stored must be read from a database and unpacked first: no bare parsing.
            Source::Data(_) => None,
        };
        let rate = |events: u64, time: Duration| events as f64 / time.as_secs_f64();
        let cpu = self.indexed.cpu + self.judged.cpu;
        let parsed_rate = parsed.map(|(events, spent)| rate(events, spent.cpu));
        let per_core = rate(self.events, cpu);
        Ok(Figures {
            threads: self.threads,
            events: self.events,
            index_s: self.indexed.elapsed.as_secs_f64(),
            judge_s: self.judged.elapsed.as_secs_f64(),
            events_per_s: rate(self.events, self.indexed.elapsed + self.judged.elapsed),
            events_per_core_s: per_core,
            judged_events_per_core_s: rate(self.events, self.judged.cpu),
            parsed_events_per_s: parsed.map(|(events, spent)| rate(events, spent.elapsed)),
            parsed_events_per_core_s: parsed_rate,
            of_parsing: parsed_rate.map(|parsed| per_core / parsed),
        })
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millions = |rate: f64| rate / 1e6;
        writeln!(
            formatter,
            "\n{} events with {} threads: found in {:.1} s, judged in {:.1} s, {:.2} M events/s",
            self.events,
            self.threads,
            self.index_s,
            self.judge_s,
            millions(self.events_per_s)
        )?;
        write!(
            formatter,
            "a core: {:.2} M events/s found and judged, {:.2} judged alone",
            millions(self.events_per_core_s),
            millions(self.judged_events_per_core_s)
        )?;
        match (self.parsed_events_per_core_s, self.of_parsing) {
            (Some(parsed), Some(share)) => {
                write!(formatter, "; {:.2} merely parsed: {share:.2} of parsing", millions(parsed))
            }
            _ => Ok(()),
        }
    }
}

/// Merely parses all files; says how many events there were, and what it took.
fn parse_all(files: &[std::path::PathBuf], threads: usize) -> anyhow::Result<(u64, Spent)> {
    let (next, watch) = (AtomicUsize::new(0), Stopwatch::start());
    let work = || -> anyhow::Result<(u64, Duration)> {
        let mut events = 0;
        let start = thread_cpu_time();
        let begun = Stopwatch::start();
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            events += parse(BufReader::with_capacity(READ_BUFFER_BYTES, File::open(path)?))?;
        }
        Ok((events, since(start, begun)))
    };
    let ends: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join()).collect()
    });
    let (mut events, mut cpu) = (0, Duration::ZERO);
    for end in ends {
        let (more, time) = end.map_err(|_| anyhow::anyhow!("a thread that parsed failed"))??;
        (events, cpu) = (events + more, cpu + time);
    }
    Ok((events, Spent { elapsed: watch.elapsed(), cpu }))
}

/// What this thread has run since; what has passed, where the kernel does not say.
fn since(start: Option<Duration>, begun: Stopwatch) -> Duration {
    match (start, thread_cpu_time()) {
        (Some(start), Some(end)) => end - start,
        _ => begun.elapsed(),
    }
}

/// Adds up what the threads of a backtest ran, and passes on how far it has come.
pub(super) struct Watched<'a> {
    to: &'a dyn Progress,
    cpu: Mutex<Duration>,
    begun: Stopwatch,
}

impl<'a> Watched<'a> {
    pub(super) fn new(to: &'a dyn Progress) -> Self {
        Self { to, cpu: Mutex::default(), begun: Stopwatch::start() }
    }

    fn take_cpu(&self) -> Duration {
        std::mem::take(&mut *self.cpu.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl Progress for Watched<'_> {
    fn read(&self, bytes: u64) {
        self.to.read(bytes);
    }

    fn judged(&self, sessions: u64) {
        self.to.judged(sessions);
    }

    fn bad(&self, log: &BadLog) {
        self.to.bad(log);
    }

    fn thread_ended(&self) {
        // A thread of a backtest does nothing else: all that it ran counts.
        let ran = thread_cpu_time().unwrap_or_else(|| self.begun.elapsed());
        *self.cpu.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += ran;
    }
}
