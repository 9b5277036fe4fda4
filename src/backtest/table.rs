//! A report for people.

use std::fmt::Write as _;

use super::report::{Report, Side};

/// Draws a report as text.
pub fn draw(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, report);
    text
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    let base = report.base.as_deref().unwrap_or("the pack that each log names");
    writeln!(out, "policy {}, compared with {base}", report.policy)?;
    let Report { sessions, events, learners, projects, chains, .. } = report;
    writeln!(out, "{sessions} sessions, {events} events; {learners} learners, {projects} projects, {chains} chains")?;
    writeln!(
        out,
        "{} sessions change ({}), in {} chains",
        report.changed,
        percent(report.changed, report.sessions),
        report.chains_changed
    )?;
    if report.changed > 0 {
        writeln!(out, "  {} by the policy alone: with the same facts", report.changed_with_same_facts)?;
        writeln!(out, "  {} with other facts, because earlier sessions changed", report.changed_with_other_facts)?;
    }
    writeln!(out)?;
    write_sides(out, report)?;
    write_transitions(out, report)?;
    write_rules(out, report)?;
    write_reasons(out, report)?;
    write_differences(out, report)?;
    write_recorded(out, report)
}

fn write_sides(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "{:<22}{:>14}{:>14}{:>14}", "", "before", "after", "difference")?;
    for status in ["valid", "review", "invalid"] {
        let of = |side: &Side| side.status.get(status).copied().unwrap_or(0);
        let (before, after) = (of(&report.before), of(&report.after));
        writeln!(out, "{status:<22}{before:>14}{after:>14}{:>+14}", after as i64 - before as i64)?;
    }
    for (name, before, after) in [
        ("class hours credited", report.before.credited_hours, report.after.credited_hours),
        ("  of them in review", report.before.review_hours, report.after.review_hours),
    ] {
        writeln!(out, "{name:<22}{before:>14.2}{after:>14.2}{:>+14.2}", after - before)?;
    }
    writeln!(out)
}

fn write_transitions(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "{:<22}{:>14}{:>14}", "status", "sessions", "minutes")?;
    for way in &report.transitions {
        let name = format!("{} → {}", way.before, way.after);
        writeln!(out, "{name:<22}{:>14}{:>+14.1}", way.sessions, minutes(way.difference_ms))?;
    }
    writeln!(out)
}

fn write_rules(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.rules.is_empty() {
        return Ok(());
    }
    writeln!(out, "{:<22}{:>14}{:>14}{:>14}{:>14}", "sessions that break", "before", "after", "gained", "lost")?;
    for rule in &report.rules {
        let counts = [rule.before, rule.after, rule.gained, rule.lost].map(|count| format!("{count:>14}"));
        writeln!(out, "{:<22}{}", rule.rule, counts.concat())?;
    }
    writeln!(out)
}

fn write_reasons(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.reasons.is_empty() {
        return Ok(());
    }
    writeln!(out, "{:>10}{:>14}  why they change", "sessions", "minutes")?;
    for reason in &report.reasons {
        writeln!(out, "{:>10}{:>+14.1}  {}", reason.sessions, minutes(reason.difference_ms), reason.reason)?;
    }
    if report.other_reasons > 0 {
        writeln!(out, "{:>10}{:>14}  for other reasons", report.other_reasons, "")?;
    }
    writeln!(out)
}

fn write_differences(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "{:<22}{:>14}{:>14}", "credit differs by", "sessions", "minutes")?;
    for class in report.differences.iter().filter(|class| class.sessions > 0) {
        let end = |ms: i64| ms / 60_000;
        let name = match (class.from_ms, class.to_ms) {
            (Some(0), _) => "nothing".to_owned(),
            (None, Some(to)) => format!("less than {} min", end(to)),
            (Some(from), None) => format!("{:+} min and more", end(from)),
            (Some(from), Some(to)) => format!("{:+} to {:+} min", end(from), end(to)),
            (None, None) => String::new(),
        };
        writeln!(out, "{name:<22}{:>14}{:>+14.1}", class.sessions, minutes(class.difference_ms))?;
    }
    writeln!(out)
}

fn write_recorded(out: &mut String, report: &Report) -> std::fmt::Result {
    let recorded = &report.recorded;
    if recorded.compared > 0 {
        writeln!(out, "{} of {} recorded verdicts do not come out again", recorded.different, recorded.compared)?;
    }
    let notes = [
        (recorded.facts_different, "sessions whose facts, recomputed under the base, are not those of the log"),
        (recorded.decided_by_person, "sessions about which a person has decided; only the engine's opinion is counted"),
        (recorded.unknown_packs, "sessions of packs that are not known here, judged by the default one as base"),
        (report.open, "logs that are not closed, and were not judged"),
        (report.bad, "logs that cannot be judged"),
    ];
    for (count, what) in notes.into_iter().filter(|(count, _)| *count > 0) {
        writeln!(out, "{count} {what}")?;
    }
    Ok(())
}

fn minutes(ms: i64) -> f64 {
    ms as f64 / 60_000.0
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "0 %".to_owned() } else { format!("{:.2} %", part as f64 * 100.0 / whole as f64) }
}
