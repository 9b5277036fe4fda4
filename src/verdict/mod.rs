//! What a fold amounts to (docs/rules.md, section 9).
//!
//! A verdict's bytes are part of the contract: fields in this order, the same log and policy giving the same text, so
//! that it can be signed, stored and derived again years later.

mod decision;
mod history;

use serde::{Deserialize, Serialize};

pub use decision::{Choice, Mark};
pub use history::{History, Legacy};

use crate::log::Carried;
use crate::policy::{Action, Clause, Policy};
use crate::rules::online_quota::within_quota_ms;
use crate::rules::{Detail, Rule};
use crate::session::{Placed, Session, Violations, saturate};

crate::log::words! {
    /// Where a session stands.
    Status {
        Open = "open",
        Valid = "valid",
        Review = "review",
        Invalid = "invalid",
    }
}

/// One violation, with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The rule that was broken.
    pub rule: Rule,
    /// Which of its causes, for rules that have several.
    pub cause: Option<String>,
    /// When it was established, ms since the Unix epoch.
    pub at: i64,
    /// The log number of the event that established it.
    pub n: u64,
    /// What the rule rests on.
    pub clause: Clause,
    /// Further particulars.
    pub detail: Option<Detail>,
}

/// What a session log amounts to under a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The session.
    pub session: String,
    /// The pack that it was judged by, with its version.
    pub policy: String,
    /// Where it stands.
    pub status: Status,
    /// What was newly watched, ms of the lesson.
    pub watched_ms: i64,
    /// Watching time, ms.
    pub watch_ms: i64,
    /// What was newly watched in the time that it takes, ms.
    pub creditable_ms: i64,
    /// What counts, ms.
    pub credited_ms: i64,
    /// The same in class hours, cut to two decimals.
    pub credited_hours: f64,
    /// Whether enough of the lesson has been watched, earlier sessions included.
    pub completed: bool,
    /// This session's own intervals, ms of the lesson.
    pub coverage: Vec<(i64, i64)>,
    /// How far the learner may jump, ms of the lesson.
    pub furthest_ms: i64,
    /// The first violations, without the ignored.
    pub violations: Vec<Violation>,
    /// How many there are, without the ignored.
    pub violations_total: u64,
    /// What the learner's next session in this project starts from.
    pub carried: Carried,
    /// SHA-256 hex of the log.
    pub log_digest: String,
    /// The decision that made it; none: the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Mark>,
}

impl Status {
    pub(crate) fn of(violations: &Violations, policy: &Policy, closed: bool) -> Self {
        if violations.any(Action::Invalidate, policy) {
            Self::Invalid
        } else if !closed {
            Self::Open
        } else if violations.any(Action::Review, policy) {
            Self::Review
        } else {
            Self::Valid
        }
    }
}

impl Violation {
    pub(crate) fn of(placed: &Placed, policy: &Policy) -> Self {
        let finding = &placed.finding;
        Self {
            rule: finding.rule,
            cause: finding.cause.clone(),
            at: placed.at,
            n: placed.n,
            clause: policy.clause(finding.rule).clone(),
            detail: finding.detail,
        }
    }
}

/// The numbers of a verdict, without what they rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    /// Where the session stands.
    pub status: Status,
    /// What was newly watched, ms of the lesson.
    pub watched_ms: i64,
    /// What was newly watched in the time that it takes, ms.
    pub creditable_ms: i64,
    /// What counts, ms.
    pub credited_ms: i64,
    /// The same in hundredths of class hours, cut.
    pub credited_hundredths: i64,
    /// Whether enough of the lesson has been watched, earlier sessions included.
    pub completed: bool,
}

impl Amounts {
    /// What a session amounts to so far under `policy`, whose parameters must be those that it was folded by: what
    /// violations do may be another matter.
    pub fn of(session: &Session, policy: &Policy) -> Self {
        let status = session.status_under(policy);
        let creditable_ms = session.creditable_ms();
        let credited_ms = if status == Status::Invalid { 0 } else { within_quota(session, creditable_ms) };
        Self {
            status,
            watched_ms: session.watched_ms(),
            creditable_ms,
            credited_ms,
            credited_hundredths: hundredths(credited_ms, policy.parameters.class_hour_ms),
            completed: completed(session, creditable_ms),
        }
    }

    /// Whether the session's coverage is added to what the next ones find in `covered_before`: what was not watched in
    /// time is not learned. (Only the coverage of valid sessions, and of those under review, is.)
    pub fn coverage_counts(&self) -> bool {
        i128::from(self.creditable_ms) * 20 >= i128::from(self.watched_ms) * 19
    }
}

impl Verdict {
    /// Its numbers.
    pub fn amounts(&self) -> Amounts {
        let Self { status, watched_ms, creditable_ms, credited_ms, credited_hours, completed, .. } = *self;
        let credited_hundredths = (credited_hours * 100.0).round() as i64;
        Amounts { status, watched_ms, creditable_ms, credited_ms, credited_hundredths, completed }
    }

    pub(crate) fn of(session: &Session, log_digest: String) -> Self {
        let policy = session.policy();
        let amounts = Amounts::of(session, policy);
        Self {
            session: session.opened().map_or_else(String::new, |opened| opened.session.clone()),
            policy: policy.label(),
            status: amounts.status,
            watched_ms: amounts.watched_ms,
            watch_ms: session.watch_ms(),
            creditable_ms: amounts.creditable_ms,
            credited_ms: amounts.credited_ms,
            credited_hours: amounts.credited_hundredths as f64 / 100.0,
            completed: amounts.completed,
            coverage: session.coverage().to_vec(),
            furthest_ms: session.furthest_ms(),
            violations: session.violations(),
            violations_total: session.violations_total(),
            carried: session.carried(),
            log_digest,
            decision: None,
        }
    }
}

fn within_quota(session: &Session, creditable_ms: i64) -> i64 {
    match session.opened() {
        Some(opened) => within_quota_ms(creditable_ms, &opened.facts, &session.policy().parameters),
        None => creditable_ms,
    }
}

/// Hundredths of class hours: one that is not full does not count.
fn hundredths(credited_ms: i64, class_hour_ms: i64) -> i64 {
    saturate(i128::from(credited_ms) * 100 / i128::from(class_hour_ms))
}

fn completed(session: &Session, creditable_ms: i64) -> bool {
    let duration_ms = session.opened().map_or(0, |opened| opened.duration_ms);
    let done_ms = i128::from(session.covered_before_ms()) + i128::from(creditable_ms);
    done_ms * 1000 >= i128::from(duration_ms) * i128::from(session.policy().parameters.completion_milli)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_cut_not_rounded() {
        let hours = |credited_ms| hundredths(credited_ms, 2_400_000) as f64 / 100.0;
        assert_eq!(hours(2_609_998), 1.08);
        assert_eq!(hours(23_999), 0.0);
        assert_eq!(hours(24_000), 0.01);
        assert_eq!(serde_json::to_string(&hours(2_400_000)).unwrap(), "1.0");
    }
}
