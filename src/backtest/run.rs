//! Sharing chains out to threads, and putting together what they found in the order of the chains, so that the result is
//! the same for any number of threads.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

use serde::Serialize;

use super::chain::{Judged, Judgement, Outcome, Walk};
use super::index::Chain;
use super::source::Reader;
use super::tally::{Reason, Tally};
use super::{BacktestError, BadLog, Index, Question, Report, Source};
use crate::log::LineError;
use crate::rules::Rule;

/// Sessions that a thread takes at a time: enough that taking costs nothing, few enough that all end together.
const PART_SESSIONS: usize = 256;
/// Parts that may be finished before an earlier one is: bounds what is held back.
const AHEAD_PARTS: usize = 64;

/// Whoever is told how far a backtest has come. Called from several threads.
pub trait Progress: Sync {
    /// So many bytes more were searched for logs.
    fn read(&self, _bytes: u64) {}
    /// So many sessions more were dealt with.
    fn judged(&self, _sessions: u64) {}
    /// A log cannot be judged. Told in an order that is always the same.
    fn bad(&self, _log: &BadLog) {}
    /// A thread that searched or judged ends; told on that thread.
    fn thread_ended(&self) {}
}

/// Judges all sessions of an index. `changes` gets a line of JSON for each session that changes, in the order of chains.
/// `bad` are the logs that did not get into the index.
///
/// # Errors
/// When the source cannot be read at all, or `changes` cannot be written.
pub fn judge<'a>(
    source: &Source,
    index: &Index,
    bad: Vec<BadLog>,
    question: &Question,
    threads: usize,
    changes: Option<&'a mut (dyn Write + Send)>,
    progress: &'a dyn Progress,
) -> Result<Report, BacktestError> {
    let mut tally = Tally::default();
    for log in bad {
        progress.bad(&log);
        tally.add_bad(log);
    }
    let collector = Collector { state: Mutex::new(State::new(tally, changes)), turn: Condvar::new(), progress };
    let parts = index.parts(PART_SESSIONS);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || -> Result<(), BacktestError> {
        // Who gives up must not leave the others waiting for a turn.
        let _leaving = Leaving(&collector, &stop);
        let mut reader = source.reader().inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(number) else { break };
            let found = judge_part(&mut reader, index, part.clone(), question, collector.wants_changes());
            collector.hand_in(number, found, &stop);
        }
        progress.thread_ended();
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let ends: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        ends.into_iter().try_for_each(|end| end.map_err(|_| BacktestError::Thread("judge".into()))?)
    })?;
    let state = collector.state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    match state.failed {
        Some(error) => Err(BacktestError::File { path: "changes".into(), error }),
        None => Ok(Report::of(&state.tally, index, question)),
    }
}

/// What was found in a part.
#[derive(Default)]
struct Found {
    tally: Tally,
    bad: Vec<BadLog>,
    sessions: u64,
    /// lines of JSON
    changes: Vec<u8>,
}

fn judge_part(
    reader: &mut Reader<'_>,
    index: &Index,
    part: Range<usize>,
    question: &Question,
    wants_changes: bool,
) -> Found {
    let mut found = Found::default();
    for chain in &index.chains[part] {
        let changed_before = found.tally.changed;
        judge_chain(reader, index, chain, question, wants_changes, &mut found);
        found.tally.chains_changed += u64::from(found.tally.changed > changed_before);
    }
    found
}

fn judge_chain(
    reader: &mut Reader<'_>,
    index: &Index,
    chain: &Chain,
    question: &Question,
    wants_changes: bool,
    found: &mut Found,
) {
    let mut walk = Walk::new(question, chain.prior_online_ms);
    for entry in &index.entries[chain.sessions.clone()] {
        found.sessions += 1;
        let (recorded, decided_by_person, outcome) = match reader.read(entry.place) {
            Ok(recorded) => {
                let known = recorded.verdict.filter(|_| question.base.is_none());
                let outcome = walk.judge(recorded.log, &index.prior[entry.lesson as usize], known.is_some());
                (known, recorded.decided_by_person, outcome)
            }
            Err(error) => (None, false, Err((1, error))),
        };
        match outcome {
            Ok(Outcome::Judged(judgement)) => {
                found.take(&judgement, wants_changes);
                found.tally.decided_by_person += u64::from(decided_by_person);
                if let Some(recorded) = recorded.filter(|_| !judgement.pack_unknown) {
                    found.tally.compare(&recorded, &judgement);
                }
            }
            Ok(Outcome::Open) => found.tally.open += 1,
            Ok(Outcome::Twice) => {
                let error = LineError::new("data.session", "this session was there already");
                found.bad.push(bad_log(reader, entry.place, 1, error));
            }
            Err((line, error)) => found.bad.push(bad_log(reader, entry.place, line, error)),
        }
    }
}

fn bad_log(reader: &Reader<'_>, place: super::index::Place, line: u64, error: LineError) -> BadLog {
    let (place, lines_before) = reader.name(place);
    BadLog { place, line: lines_before + line, error }
}

impl Found {
    fn take(&mut self, judgement: &Judgement, wants_changes: bool) {
        if self.tally.add(judgement) && wants_changes {
            // Structs of numbers and strings always serialise, and a vector takes what is written.
            let _ = serde_json::to_writer(&mut self.changes, &Change::of(judgement));
            self.changes.push(b'\n');
        }
    }
}

/// A session that changed, as a line of JSON.
#[derive(Serialize)]
struct Change<'a> {
    session: &'a str,
    learner: &'a str,
    project: &'a str,
    lesson: &'a str,
    opened_at: i64,
    before: ChangeSide,
    after: ChangeSide,
    /// facts of the opening that differ
    facts: Vec<&'static str>,
    reason: String,
}

#[derive(Serialize)]
struct ChangeSide {
    policy: String,
    status: &'static str,
    credited_ms: i64,
    completed: bool,
    rules: Vec<&'static str>,
}

impl<'a> Change<'a> {
    fn of(judgement: &'a Judgement) -> Self {
        let Judgement { opened, opened_at, before, after, .. } = judgement;
        let reason = Reason::of(judgement);
        Self {
            session: &opened.session,
            learner: &opened.learner,
            project: &opened.project,
            lesson: &opened.lesson,
            opened_at: *opened_at,
            before: ChangeSide::of(before),
            after: ChangeSide::of(after),
            facts: reason.facts.names().collect(),
            reason: reason.to_string(),
        }
    }
}

impl ChangeSide {
    fn of(judged: &Judged) -> Self {
        Self {
            policy: judged.policy.label(),
            status: judged.amounts.status.as_str(),
            credited_ms: judged.amounts.credited_ms,
            completed: judged.amounts.completed,
            rules: judged.rules.iter().map(Rule::as_str).collect(),
        }
    }
}

/// Puts the parts together in their order.
struct Collector<'a> {
    state: Mutex<State<'a>>,
    turn: Condvar,
    progress: &'a dyn Progress,
}

struct State<'a> {
    tally: Tally,
    changes: Option<&'a mut (dyn Write + Send)>,
    next: usize,
    waiting: BTreeMap<usize, Found>,
    failed: Option<io::Error>,
}

impl<'a> State<'a> {
    fn new(tally: Tally, changes: Option<&'a mut (dyn Write + Send)>) -> Self {
        Self { tally, changes, next: 0, waiting: BTreeMap::new(), failed: None }
    }
}

impl<'a> Collector<'a> {
    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wants_changes(&self) -> bool {
        self.lock().changes.is_some()
    }

    /// Takes over what was found in a part; waits while that part is too far ahead of the one whose turn it is.
    fn hand_in(&self, number: usize, found: Found, stop: &AtomicBool) {
        self.progress.judged(found.sessions);
        let mut state = self.lock();
        while number >= state.next + AHEAD_PARTS && !stop.load(Ordering::Relaxed) {
            state = self.turn.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        state.waiting.insert(number, found);
        while let Some(found) = state.take_next() {
            for log in found.bad {
                self.progress.bad(&log);
                state.tally.add_bad(log);
            }
            state.tally.merge(found.tally);
            let written = state.changes.as_mut().map_or(Ok(()), |changes| changes.write_all(&found.changes));
            if let Err(error) = written {
                state.failed.get_or_insert(error);
                stop.store(true, Ordering::Relaxed);
            }
        }
        self.turn.notify_all();
    }
}

impl State<'_> {
    fn take_next(&mut self) -> Option<Found> {
        let found = self.waiting.remove(&self.next)?;
        self.next += 1;
        Some(found)
    }
}

/// A thread that judges, until it ends.
struct Leaving<'c, 'a>(&'c Collector<'a>, &'c AtomicBool);

impl Drop for Leaving<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.store(true, Ordering::Relaxed);
        }
        // Taken so that nobody looks at `stop` just before it is set and sleeps just after.
        drop(self.0.lock());
        self.0.turn.notify_all();
    }
}
