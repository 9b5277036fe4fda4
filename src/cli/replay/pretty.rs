//! A verdict for people.

use std::io::{self, Write};
use std::path::Path;

use crate::verdict::{Verdict, Violation};

/// Writes a verdict as a short report.
pub(super) fn write(out: &mut impl Write, path: &Path, verdict: &Verdict) -> io::Result<()> {
    let status = verdict.status.as_str().to_uppercase();
    writeln!(out, "{status}  session {}  policy {}  ({})", verdict.session, verdict.policy, path.display())?;
    let completed = if verdict.completed { "lesson completed" } else { "lesson not completed" };
    writeln!(out, "  credited {} class hours ({}), {completed}", verdict.credited_hours, clock(verdict.credited_ms))?;
    writeln!(
        out,
        "  watched {} of the lesson anew, in {} of watching",
        clock(verdict.watched_ms),
        clock(verdict.watch_ms)
    )?;
    for violation in &verdict.violations {
        write_violation(out, violation)?;
    }
    let unlisted = verdict.violations_total.saturating_sub(verdict.violations.len() as u64);
    if unlisted > 0 {
        writeln!(out, "  - and {unlisted} more")?;
    }
    writeln!(out, "  log SHA-256 {}", verdict.log_digest)
}

fn write_violation(out: &mut impl Write, violation: &Violation) -> io::Result<()> {
    write!(out, "  - {}", violation.rule)?;
    if let Some(cause) = &violation.cause {
        write!(out, " ({})", cause.escape_debug())?;
    }
    if let Some(detail) = violation.detail {
        write!(out, ", class hour {}", detail.class_hour)?;
    }
    let when =
        jiff::Timestamp::from_millisecond(violation.at).map_or_else(|_| violation.at.to_string(), |at| at.to_string());
    writeln!(out, ", at {when}, event {}", violation.n)?;
    writeln!(out, "    {}: {}", violation.clause.source, violation.clause.text)
}

/// Hours, minutes and seconds.
fn clock(ms: i64) -> String {
    let seconds = ms / 1000;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
