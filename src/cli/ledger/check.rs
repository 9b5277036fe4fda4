//! `invigil ledger check`: does every verdict follow from its log, and do the ledger's totals follow from the verdicts?
//!
//! Each sealed log is judged again under the policy that it names, and the result compared byte for byte with the
//! latest verdict that the engine made. A verdict that a person decided is derived from that and the decision that it names
//! (docs/rules.md, section 11), and counted. One thread reads, one for each core judges, and no more sessions are in memory than twice as many as that.

use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::Place;
use crate::cli::replay::judge;
use crate::lifecycle::read_policies;
use crate::log::Body;
use crate::policy::Policies;
use crate::policy::Policy;
use crate::store::archive::{Archive, SealedSession, StoredVerdict};
use crate::store::ledger::{LedgerFilter, hours};
use crate::store::ledger_totals::LedgerTotals;
use crate::verdict::{Mark, Verdict};

/// Longest value of a difference that is printed, in characters.
const VALUE_CHARS: usize = 120;

/// Derive every verdict again and compare.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    place: Place,
    /// A further policy pack (TOML), besides the built-in and the configured ones
    #[arg(long, value_name = "FILE")]
    policy: Vec<std::path::PathBuf>,
    /// Threads that judge; by default one for each core
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// What a verdict adds to the ledger: read anew from its text, not from the columns that the ledger sums up.
#[derive(Deserialize)]
struct Counted {
    status: String,
    watched_ms: i64,
    creditable_ms: i64,
    credited_ms: i64,
    credited_hours: f64,
}

/// What was found so far.
#[derive(Default)]
struct Findings {
    derived: u64,
    decided: u64,
    differing: u64,
    sum: LedgerTotals,
}

impl Check {
    /// Prints every difference and the totals; 1 when there is a difference.
    ///
    /// # Errors
    /// When the folder or a pack cannot be read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = self.place.config()?;
        config.policies.extend(self.policy);
        let mut policies = read_policies(&config)?;
        let archive = super::open(&config)?;
        crate::cli::policy::keep_all(&archive.policy_texts()?, &mut policies)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or(cores, usize::from);
        let (findings, ledger) = archive.snapshot(|archive| -> anyhow::Result<_> {
            let findings = derive_all(archive, &policies, threads)?;
            Ok((findings, archive.ledger_total(&LedgerFilter::default())?))
        })?;
        conclude(findings, &ledger)
    }
}

fn derive_all(archive: &Archive, policies: &Policies, threads: usize) -> anyhow::Result<Findings> {
    let bar = progress_bar(archive.count_closed_sessions()?);
    let findings = Mutex::new(Findings::default());
    let (give, take) = sync_channel(threads);
    let take = Mutex::new(take);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for _ in 0..threads {
            scope.spawn(|| work(&take, policies, &findings, &bar));
        }
        Ok(feed(archive, give)?)
    })?;
    bar.finish_and_clear();
    Ok(findings.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Takes the channel's end with it, so that the workers end once everything was given.
fn feed(archive: &Archive, give: SyncSender<SealedSession>) -> Result<(), crate::store::StoreError> {
    archive.each_sealed_session(|session| give.send(session).is_ok())
}

fn work(take: &Mutex<Receiver<SealedSession>>, policies: &Policies, findings: &Mutex<Findings>, bar: &ProgressBar) {
    loop {
        let taken = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(session) = taken else { return };
        let mut differences = Vec::new();
        let derived = check_derived(&session, policies, &mut differences);
        check_decided(&session, policies, &mut differences);
        let counted = check_latest(&session, &mut differences);
        let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.derived += u64::from(derived);
        findings.decided += u64::from(session.latest != session.derived);
        findings.differing += u64::from(!differences.is_empty());
        if let Some(counted) = counted {
            add(&mut findings.sum, &counted, session.withdrawn);
        }
        bar.inc(1);
        for difference in differences {
            let _ = bar.suspend(|| crate::cli::say(format!("session {}: {difference}", session.id)));
        }
    }
}

/// Judges the log again; says whether that was possible.
fn check_derived(session: &SealedSession, policies: &Policies, differences: &mut Vec<String>) -> bool {
    let Some(stored) = &session.derived else {
        differences.push("is closed and has no verdict of the engine".to_owned());
        return false;
    };
    match derive(session, stored, policies) {
        Err(why) => {
            differences.push(why);
            false
        }
        Ok((body, log_digest)) => {
            if body != stored.body {
                differences.extend(differing_fields(&stored.body, &body));
            }
            if session.log.as_ref().is_some_and(|log| log.digest != log_digest) {
                differences.push("the record of the sealed log has another digest than the log".to_owned());
            }
            true
        }
    }
}

/// The verdict and the digest of the log.
fn derive(session: &SealedSession, stored: &StoredVerdict, policies: &Policies) -> Result<(String, String), String> {
    let log = session.log.as_ref().ok_or("its sealed log is missing")?;
    let policy = policy_of(&stored.body, policies)?;
    let read = judge(BufReader::new(log.lines()), &policy, |_| ());
    let verdict = read.map_err(|error| format!("its sealed log cannot be judged: {error}"))?;
    let body = serde_json::to_string(&verdict).map_err(|error| error.to_string())?;
    Ok((body, verdict.log_digest))
}

/// A decided verdict follows from the engine's and its decision.
fn check_decided(session: &SealedSession, policies: &Policies, differences: &mut Vec<String>) {
    let (Some(stored), Some(latest)) = (&session.derived, &session.latest) else { return };
    if stored == latest {
        return;
    }
    match decide_again(session, stored, latest, policies) {
        Ok(Some(body)) if body != latest.body => differences.extend(differing_fields(&latest.body, &body)),
        Ok(_) => {}
        Err(why) => differences.push(why),
    }
}

/// The verdict that the decision makes of the engine's; `None`: it names no decision.
fn decide_again(
    session: &SealedSession,
    stored: &StoredVerdict,
    latest: &StoredVerdict,
    policies: &Policies,
) -> Result<Option<String>, String> {
    #[derive(Deserialize)]
    struct Marked {
        decision: Option<Mark>,
    }
    let unreadable = |error: serde_json::Error| format!("its decided verdict cannot be derived again: {error}");
    let Marked { decision } = serde_json::from_str(&latest.body).map_err(unreadable)?;
    let Some(mark) = decision else { return Ok(None) };
    let engines: Verdict = serde_json::from_str(&stored.body).map_err(unreadable)?;
    let log = session.log.as_ref().ok_or("its sealed log is missing")?;
    let mut first = Vec::new();
    let read = BufReader::new(log.lines()).read_until(b'\n', &mut first);
    read.map_err(|error| format!("its sealed log cannot be read: {error}"))?;
    let opened = match crate::log::parse_line(first.trim_ascii_end()).map(|event| event.body) {
        Ok(Body::SessionOpened(opened)) => opened,
        _ => return Err("its sealed log does not begin with its opening".to_owned()),
    };
    let policy = policy_of(&stored.body, policies)?;
    let decided = engines.decided(mark, &opened.facts, &policy.parameters);
    let decided = decided.ok_or("its decision makes no verdict, and there is one")?;
    serde_json::to_string(&decided).map(Some).map_err(unreadable)
}

fn policy_of(body: &str, policies: &Policies) -> Result<Arc<Policy>, String> {
    #[derive(Deserialize)]
    struct Named {
        policy: String,
    }
    let named: Named = serde_json::from_str(body).map_err(|error| format!("its verdict cannot be read: {error}"))?;
    let unknown = || format!("no policy pack is called {:?}: give it with --policy or --config", named.policy);
    policies.by_label(&named.policy).cloned().ok_or_else(unknown)
}

/// The verdict in force: its text must say what its record says.
fn check_latest(session: &SealedSession, differences: &mut Vec<String>) -> Option<Counted> {
    let latest = session.latest.as_ref()?;
    match serde_json::from_str::<Counted>(&latest.body) {
        Err(error) => {
            differences.push(format!("version {} of its verdict cannot be read: {error}", latest.version));
            None
        }
        Ok(counted) => {
            if counted.status != latest.status {
                let (version, text, record) = (latest.version, &counted.status, &latest.status);
                differences.push(format!("version {version} of its verdict says {text}, its record says {record}"));
            }
            Some(counted)
        }
    }
}

fn add(sum: &mut LedgerTotals, counted: &Counted, withdrawn: bool) {
    let hundredths = (counted.credited_hours * 100.0).round() as i64;
    sum.sessions += 1;
    sum.watched_ms += counted.watched_ms;
    sum.creditable_ms += counted.creditable_ms;
    match counted.status.as_str() {
        "valid" => {
            sum.valid += 1;
            sum.credited_ms += counted.credited_ms;
            sum.credited_hundredths += hundredths;
            if withdrawn {
                sum.withdrawn_ms += counted.credited_ms;
                sum.withdrawn_hundredths += hundredths;
            }
        }
        "review" => {
            sum.review += 1;
            sum.pending_ms += counted.credited_ms;
            sum.pending_hundredths += hundredths;
        }
        "invalid" => sum.invalid += 1,
        _ => {}
    }
}

/// What differs between the stored verdict and the derived one, field by field.
fn differing_fields(stored: &str, derived: &str) -> Vec<String> {
    let fields = |text: &str| serde_json::from_str::<serde_json::Map<_, _>>(text).unwrap_or_default();
    let (stored, derived) = (fields(stored), fields(derived));
    let names: std::collections::BTreeSet<&String> = stored.keys().chain(derived.keys()).collect();
    let shown = |value: Option<&serde_json::Value>| match value {
        None => "nothing".to_owned(),
        Some(value) => value.to_string().chars().take(VALUE_CHARS).collect(),
    };
    let differing = names.into_iter().filter(|name| stored.get(*name) != derived.get(*name));
    let lines: Vec<String> = differing
        .map(|name| {
            let (stored, derived) = (shown(stored.get(name)), shown(derived.get(name)));
            format!("{name} is {stored} in the stored verdict, {derived} by its log")
        })
        .collect();
    if lines.is_empty() {
        vec!["the stored verdict is written in other bytes than its log gives".into()]
    } else {
        lines
    }
}

/// Every sum that the ledger shows, with its name.
fn sums(totals: &LedgerTotals) -> [(&'static str, i64); 12] {
    [
        ("sessions", totals.sessions),
        ("valid", totals.valid),
        ("review", totals.review),
        ("invalid", totals.invalid),
        ("watched_ms", totals.watched_ms),
        ("creditable_ms", totals.creditable_ms),
        ("credited_ms", totals.credited_ms),
        ("credited hundredths of hours", totals.credited_hundredths),
        ("pending_ms", totals.pending_ms),
        ("pending hundredths of hours", totals.pending_hundredths),
        ("withdrawn_ms", totals.withdrawn_ms),
        ("withdrawn hundredths of hours", totals.withdrawn_hundredths),
    ]
}

fn conclude(findings: Findings, ledger: &LedgerTotals) -> anyhow::Result<ExitCode> {
    let say = |line: String| crate::cli::say(line);
    let mut differing = findings.differing;
    for ((name, by_ledger), (_, by_verdicts)) in sums(ledger).into_iter().zip(sums(&findings.sum)) {
        if by_ledger != by_verdicts {
            differing += 1;
            say(format!("the ledger's {name}: {by_ledger}; the sum over the verdicts: {by_verdicts}"))?;
        }
    }
    let sum = &findings.sum;
    say(format!(
        "closed sessions     {} (valid {}, review {}, invalid {})",
        sum.sessions, sum.valid, sum.review, sum.invalid
    ))?;
    say(format!("credited            {:.2} class hours, {} ms", hours(sum.credited_hundredths), sum.credited_ms))?;
    say(format!("of it, withdrawn    {:.2} class hours, {} ms", hours(sum.withdrawn_hundredths), sum.withdrawn_ms))?;
    say(format!("pending review      {:.2} class hours, {} ms", hours(sum.pending_hundredths), sum.pending_ms))?;
    say(format!("derived from logs   {}; decided by a person {}", findings.derived, findings.decided))?;
    say(match differing {
        0 => "the ledger reconciles: every verdict follows from its log, every total from the verdicts".to_owned(),
        _ => format!("the ledger does not reconcile: sessions and totals that differ: {differing}"),
    })?;
    Ok(if differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A bar over all sessions; none where nobody watches.
fn progress_bar(sessions: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(sessions);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} sessions {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}
