//! The facts of a new session, from the records of earlier verdicts (docs/rules.md, section 1, "Where the facts come
//! from"). Pure: rows in, facts out.

use crate::log::{Carried, Facts};
use crate::verdict::{Status, Verdict};

/// One closed session of the learner in the project, with its latest verdict; in the order of opening.
pub(super) struct Past {
    pub(super) lesson: String,
    pub(super) verdict: Verdict,
}

impl Past {
    /// What is valid counts, and what is under review until it is decided, so that nothing is credited twice.
    fn counts(&self) -> bool {
        matches!(self.verdict.status, Status::Valid | Status::Review)
    }

    /// What this session adds to the coverage `before` it. What was not watched in time is not learned; but what was
    /// credited must not be credited again.
    fn learned(&self, before: &[(i64, i64)]) -> Vec<(i64, i64)> {
        if self.verdict.coverage_counts() {
            return self.verdict.coverage.clone();
        }
        let mut left_ms = self.verdict.creditable_ms;
        let mut first = outside(&self.verdict.coverage, before);
        for (from, to) in &mut first {
            *to = (*to).min(*from + left_ms);
            left_ms -= *to - *from;
        }
        first.retain(|(from, to)| from < to);
        first
    }
}

/// What the learner's earlier sessions in the project amount to for a new one of `lesson`.
pub(super) struct History {
    pub(super) online_used_ms: i64,
    pub(super) covered_before: Vec<(i64, i64)>,
    pub(super) furthest_before_ms: i64,
    pub(super) prior_lessons_complete: bool,
    pub(super) carried: Carried,
}

impl History {
    /// `prior` are the lessons that come before `lesson`; `prior_online_ms` was credited before invigil.
    pub(super) fn of(past: &[Past], lesson: &str, prior: &[String], prior_online_ms: i64) -> Self {
        let counted = || past.iter().filter(|one| one.counts());
        let of_lesson = || counted().filter(|one| one.lesson == lesson);
        let complete = |lesson: &String| counted().any(|one| one.lesson == *lesson && one.verdict.completed);
        let covered_before = of_lesson().fold(Vec::new(), |mut covered, one| {
            covered.extend(one.learned(&covered));
            union(covered)
        });
        Self {
            online_used_ms: prior_online_ms + counted().map(|one| one.verdict.credited_ms).sum::<i64>(),
            covered_before: limited(covered_before),
            furthest_before_ms: of_lesson().map(|one| one.verdict.furthest_ms).max().unwrap_or(0),
            prior_lessons_complete: prior.iter().all(complete),
            carried: past.last().map(|one| one.verdict.carried.clone()).unwrap_or_default(),
        }
    }

    /// Puts what comes from earlier sessions into facts that hold the rest.
    pub(super) fn into_facts(self, facts: Facts) -> Facts {
        Facts {
            online_used_ms: self.online_used_ms,
            covered_before: self.covered_before,
            furthest_before_ms: Some(self.furthest_before_ms),
            prior_lessons_complete: self.prior_lessons_complete,
            carried: self.carried,
            ..facts
        }
    }
}

/// Intervals that the facts may hold: more would make a log line that no reader takes, and are no learner's.
const INTERVALS_LIMIT: usize = 4_096;

/// Joins the intervals across their smallest gaps until few enough are left. What lay in a gap cannot be credited any
/// more: less for the learner, never more.
fn limited(mut intervals: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    if intervals.len() <= INTERVALS_LIMIT {
        return intervals;
    }
    let mut gaps: Vec<i64> = intervals.windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
    let joined = intervals.len() - INTERVALS_LIMIT;
    let (_, largest_joined_ms, _) = gaps.select_nth_unstable(joined - 1);
    let largest_joined_ms = *largest_joined_ms;
    intervals.dedup_by(|next, kept| {
        let join = next.0 - kept.1 <= largest_joined_ms;
        if join {
            kept.1 = next.1;
        }
        join
    });
    intervals
}

/// What of `intervals` lies outside of `covered`; both are disjoint and ascending.
fn outside(intervals: &[(i64, i64)], covered: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut rest = Vec::new();
    for &(start, to) in intervals {
        let mut from = start;
        for &(covered_from, covered_to) in covered.iter().filter(|part| part.1 > start && part.0 < to) {
            if from < covered_from {
                rest.push((from, covered_from));
            }
            from = from.max(covered_to);
        }
        if from < to {
            rest.push((from, to));
        }
    }
    rest
}

/// The intervals as disjoint, ascending ones.
fn union(mut intervals: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    intervals.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, to) in intervals {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(lesson: &str, status: &str, edit: impl FnOnce(&mut serde_json::Value)) -> Past {
        let mut verdict = serde_json::json!({
            "session": "s", "policy": "default", "status": status, "watched_ms": 60_000, "watch_ms": 60_000,
            "creditable_ms": 60_000, "credited_ms": 60_000, "credited_hours": 0.02, "completed": true,
            "coverage": [[0, 60_000]], "furthest_ms": 60_000, "violations": [], "violations_total": 0,
            "carried": {"since_control_ms": 1, "unverified_ms": 0, "excess_ms": 0, "conflict_ms": 0,
                "face_failures": 0, "face_history": [], "hour_watch_ms": 0, "hour_has_photo": false},
            "log_digest": ""
        });
        edit(&mut verdict);
        Past { lesson: lesson.to_owned(), verdict: serde_json::from_value(verdict).unwrap() }
    }

    #[test]
    fn valid_and_review_count_invalid_does_not() {
        let sessions = [
            past("a", "valid", |_| ()),
            past("a", "review", |v| v["coverage"] = serde_json::json!([[60_000, 90_000]])),
            past("a", "invalid", |v| {
                v["coverage"] = serde_json::json!([[200_000, 300_000]]);
                v["furthest_ms"] = 300_000.into();
                v["carried"]["since_control_ms"] = 77.into();
            }),
        ];
        let history = History::of(&sessions, "a", &[], 1_000);
        assert_eq!(history.online_used_ms, 121_000);
        assert_eq!(history.covered_before, [(0, 90_000)]);
        assert_eq!(history.furthest_before_ms, 60_000);
        assert_eq!(history.carried.since_control_ms, 77, "what is carried is the last session's, whatever its verdict");
    }

    #[test]
    fn what_was_not_watched_in_time_is_not_covered_but_what_was_credited_is() {
        let sessions = [past("a", "valid", |v| v["creditable_ms"] = 56_999.into())];
        assert_eq!(History::of(&sessions, "a", &[], 0).covered_before, [(0, 56_999)]);
        let short = |v: &mut serde_json::Value| {
            v["coverage"] = serde_json::json!([[10_000, 30_000], [40_000, 60_000]]);
            v["watched_ms"] = 30_000.into();
            v["creditable_ms"] = 15_000.into();
        };
        let sessions =
            [past("a", "valid", |v| v["coverage"] = serde_json::json!([[0, 20_000]])), past("a", "valid", short)];
        assert_eq!(History::of(&sessions, "a", &[], 0).covered_before, [(0, 30_000), (40_000, 45_000)]);
        let sessions = [past("a", "valid", |v| v["creditable_ms"] = 57_000.into())];
        assert_eq!(History::of(&sessions, "a", &[], 0).covered_before, [(0, 60_000)]);
    }

    #[test]
    fn a_coverage_of_crumbs_is_joined_to_what_a_log_line_can_hold() {
        let crumbs: Vec<(i64, i64)> = (0..70_000).map(|k| (k * 10, k * 10 + 9 - k % 3)).collect();
        let joined = limited(crumbs.clone());
        assert!(joined.len() <= INTERVALS_LIMIT);
        assert_eq!((joined[0].0, joined.last().unwrap().1), (crumbs[0].0, crumbs.last().unwrap().1));
        assert!(joined.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert_eq!(limited(crumbs[..4_096].to_vec()), crumbs[..4_096]);
    }

    #[test]
    fn every_earlier_lesson_must_be_complete() {
        let prior = ["a".to_owned(), "b".to_owned()];
        let mut sessions = vec![past("a", "valid", |_| ()), past("b", "valid", |v| v["completed"] = false.into())];
        assert!(!History::of(&sessions, "c", &prior, 0).prior_lessons_complete);
        sessions.push(past("b", "review", |_| ()));
        assert!(History::of(&sessions, "c", &prior, 0).prior_lessons_complete);
        assert!(History::of(&[], "a", &[], 0).prior_lessons_complete);
        sessions.push(past("b", "invalid", |v| v["completed"] = false.into()));
        assert!(History::of(&sessions, "c", &prior, 0).prior_lessons_complete);
    }
}
