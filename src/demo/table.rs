//! The table at the end: columns that stay in line when Chinese and Latin text stand beside each other.

use console::{Alignment, measure_text_width, pad_str, style, truncate_str};

use super::nodes::Happening;
use super::report::{Broken, LearnerReport, Report};

const HEADERS: [&str; 7] = ["", "learner", "what they did", "verdict", "hours", "similarity", "rules"];
const GAP: &str = "  ";

type Row = [String; HEADERS.len()];

/// Draws the report. Lines are cut at `width` columns, when one is given.
pub fn draw(report: &Report, width: Option<usize>) -> String {
    let rows: Vec<Row> = report.learners.iter().map(row).collect();
    let widths: [usize; HEADERS.len()] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| measure_text_width(&row[column]));
        cells.chain([measure_text_width(HEADERS[column])]).max().unwrap_or(0)
    });
    let header = HEADERS.map(|title| style(title).dim().to_string());
    let mut lines = vec![line(&header, &widths, width)];
    lines.extend(rows.iter().map(|row| line(row, &widths, width)));
    lines.push(String::new());
    lines.extend(clauses(report));
    lines.push(String::new());
    lines.extend(report.learners.iter().flat_map(problems));
    lines.extend(report.nodes.iter().map(happening));
    lines.push(risk_findings(report));
    lines.push(summary(report));
    lines.join("\n") + "\n"
}

fn line(row: &Row, widths: &[usize], width: Option<usize>) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| pad_str(cell, *width, Alignment::Left, None));
    let line = cells.collect::<Vec<_>>().join(GAP);
    let line = line.trim_end();
    width.map_or_else(|| line.to_owned(), |width| truncate_str(line, width, "…").into_owned())
}

fn row(learner: &LearnerReport) -> Row {
    let mark = if learner.problems.is_empty() { style("✓").green() } else { style("✗").red().bold() };
    let rules: Vec<String> = learner.broken().into_iter().map(|(title, _)| title).collect();
    [
        mark.to_string(),
        learner.learner.to_owned(),
        learner.does.to_owned(),
        coloured(learner.status()),
        format!("{:>5.2}", learner.credited_hours),
        learner.similarity().map_or_else(|| style("–").dim().to_string(), range),
        rules.join(", "),
    ]
}

fn range((lowest, highest): (f64, f64)) -> String {
    let (lowest, highest) = (format!("{lowest:.2}"), format!("{highest:.2}"));
    if lowest == highest { lowest } else { format!("{lowest}–{highest}") }
}

/// What each of the broken rules rests on.
fn clauses(report: &Report) -> Vec<String> {
    let mut rules: Vec<&Broken> = Vec::new();
    for (_, broken) in report.learners.iter().flat_map(LearnerReport::broken) {
        if rules.iter().all(|known| known.rule != broken.rule) {
            rules.push(broken);
        }
    }
    let columns = rules.iter().map(|broken| measure_text_width(&broken.rule)).max().unwrap_or(0);
    let clause = |broken: &&Broken| {
        let rule = pad_str(&broken.rule, columns, Alignment::Left, None);
        format!("{rule}{GAP}{GAP}{} {}", broken.text, style(&broken.source).dim())
    };
    rules.iter().map(clause).collect()
}

/// A verdict's status in its colour.
pub(super) fn coloured(status: &str) -> String {
    match status {
        "valid" => style(status).green().to_string(),
        "invalid" => style(status).red().to_string(),
        "review" => style(status).yellow().to_string(),
        _ => style(status).bold().to_string(),
    }
}

fn problems(learner: &LearnerReport) -> impl Iterator<Item = String> + '_ {
    learner.problems.iter().map(|problem| format!("{} {}: {problem}", style("✗").red().bold(), learner.learner))
}

fn happening(happening: &Happening) -> String {
    let Happening { at_s, node, what, sessions } = happening;
    let sessions = if *sessions > 0 { format!(" with {sessions} sessions") } else { String::new() };
    format!("{at_s:.1} s: node {node} was {what}{sessions}")
}

fn risk_findings(report: &Report) -> String {
    let found = report.findings.iter().map(|finding| format!("; {}: {}", finding.code, finding.learners.join(", ")));
    format!("risk findings: {}{}", report.findings.len(), found.collect::<String>())
}

fn summary(report: &Report) -> String {
    let sessions: usize = report.learners.iter().map(|learner| learner.sessions.len()).sum();
    let webhooks = report.webhooks;
    let deserved = if report.as_deserved {
        style("everybody got what they deserve").green()
    } else {
        style("not everybody got what they deserve").red().bold()
    };
    format!(
        "{sessions} sessions in {:.0} s at {} times the speed; webhooks: {} received, {} verified; {deserved}",
        report.elapsed_s, report.speed, webhooks.received, webhooks.verified
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::receiver::Counts;
    use crate::demo::report::{FindingReport, SessionReport};

    fn learner(name: &'static str, broken: &[&str]) -> LearnerReport {
        let broken: Vec<Broken> = broken
            .iter()
            .map(|name| Broken {
                rule: name.split('/').next().unwrap_or_default().into(),
                name: (*name).into(),
                source: "10号".into(),
                text: "有…".into(),
            })
            .collect();
        let status = if broken.is_empty() { "valid" } else { "invalid" };
        let session = SessionReport {
            status: status.into(),
            broken,
            similarity: Some((0.613, 0.95)),
            ..SessionReport::default()
        };
        LearnerReport {
            learner: name, does: "看视频", sessions: vec![session], credited_hours: 0.16, problems: vec![]
        }
    }

    #[test]
    fn columns_stay_in_line() {
        console::set_colors_enabled(false);
        let report = Report {
            speed: 10,
            elapsed_s: 61.2,
            learners: vec![
                learner("honest", &[]),
                learner("快进者", &["fast_forward/rate", "prompt_gap", "fast_forward/seek"]),
            ],
            webhooks: Counts { received: 2, verified: 2, repeated: 0 },
            nodes: vec![Happening { at_s: 12.34, node: 2, what: "killed", sessions: 5 }],
            findings: vec![FindingReport { code: "playing_twice".into(), learners: vec!["快进者"] }],
            as_deserved: true,
        };
        insta::assert_snapshot!(draw(&report, None), @r"
           learner  what they did  verdict  hours  similarity  rules
        ✓  honest   看视频         valid     0.16  0.61–0.95
        ✓  快进者   看视频         invalid   0.16  0.61–0.95   fast_forward (rate, seek), prompt_gap

        fast_forward    有… 10号
        prompt_gap      有… 10号

        12.3 s: node 2 was killed with 5 sessions
        risk findings: 1; playing_twice: 快进者
        2 sessions in 61 s at 10 times the speed; webhooks: 2 received, 2 verified; everybody got what they deserve
        ");
        assert_eq!((range((0.5, 0.504)), range((0.5, 0.6))), ("0.50".into(), "0.50–0.60".into()));
        assert!(draw(&report, Some(60)).lines().take(3).all(|line| measure_text_width(line) <= 60));
    }
}
