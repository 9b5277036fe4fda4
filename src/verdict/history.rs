//! What a learner's earlier sessions in a project amount to for the next one (docs/rules.md, section 1, "Where the
//! facts come from"). Pure: verdicts in, facts out.
//!
//! The live server asks it at every opening, a backtest at every session of a chain: so that both say the same.

use std::collections::BTreeMap;

use super::{Amounts, Status, Verdict};
use crate::log::{Carried, Facts};
use crate::session::Session;

/// The closed sessions of one learner in one project, in the order of opening, as far as they matter to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    online_used_ms: i64,
    lessons: BTreeMap<String, Learned>,
    carried: Carried,
}

/// What a closed session leaves to the learner's next ones.
#[derive(Clone, Debug)]
pub struct Legacy<'a> {
    amounts: Amounts,
    coverage: &'a [(i64, i64)],
    furthest_ms: i64,
    carried: Carried,
}

impl<'a> Legacy<'a> {
    /// As its verdict with these numbers would say.
    pub fn of(session: &'a Session, amounts: Amounts) -> Self {
        let (coverage, furthest_ms) = (session.coverage(), session.furthest_ms());
        Self { amounts, coverage, furthest_ms, carried: session.carried() }
    }
}

impl<'a> From<&'a Verdict> for Legacy<'a> {
    fn from(verdict: &'a Verdict) -> Self {
        let (coverage, furthest_ms) = (&verdict.coverage, verdict.furthest_ms);
        Self { amounts: verdict.amounts(), coverage, furthest_ms, carried: verdict.carried.clone() }
    }
}

/// What of one lesson has been learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Learned {
    covered: Vec<(i64, i64)>,
    furthest_ms: i64,
    completed: bool,
}

impl History {
    /// Nothing yet, but for `prior_online_ms` that was credited before invigil.
    pub fn new(prior_online_ms: i64) -> Self {
        Self { online_used_ms: prior_online_ms, ..Self::default() }
    }

    /// What stands in the facts of a learner's first session that is known here, when earlier ones are not.
    pub fn starting_from(facts: &Facts) -> Self {
        Self { online_used_ms: facts.online_used_ms, carried: facts.carried.clone(), ..Self::default() }
    }

    /// Takes what the facts say of a `lesson` from which no session was added yet: earlier ones are not known here.
    /// Whether such a lesson was completed before, they do not say.
    pub fn starts_lesson(&mut self, lesson: &str, facts: &Facts) {
        if !self.lessons.contains_key(lesson) {
            let covered = union(facts.covered_before.clone());
            let furthest_ms = facts.furthest_before_ms.or(covered.last().map(|last| last.1)).unwrap_or(0);
            self.lessons.insert(lesson.to_owned(), Learned { covered, furthest_ms, completed: false });
        }
    }

    /// Adds the next closed session, of `lesson`, by its newest verdict.
    pub fn add<'a>(&mut self, lesson: &str, session: impl Into<Legacy<'a>>) {
        let session = session.into();
        let learned = match session.amounts.status {
            // What is valid counts, and what is under review until it is decided, so that nothing is credited twice.
            Status::Valid | Status::Review => {
                self.online_used_ms += session.amounts.credited_ms;
                if !self.lessons.contains_key(lesson) {
                    self.lessons.insert(lesson.to_owned(), Learned::default());
                }
                self.lessons.get_mut(lesson)
            }
            Status::Open | Status::Invalid => None,
        };
        if let Some(learned) = learned {
            learned.add(&session);
        }
        self.carried = session.carried;
    }

    /// Whether each of these lessons was completed.
    pub fn completed<'a>(&self, lessons: impl IntoIterator<Item = &'a String>) -> bool {
        lessons.into_iter().all(|lesson| self.lessons.get(lesson).is_some_and(|learned| learned.completed))
    }

    /// The facts of a new session of `lesson`: what comes from earlier sessions, in facts that hold the rest. `prior`
    /// are the lessons that come before it.
    pub fn facts<'a>(&self, lesson: &str, prior: impl IntoIterator<Item = &'a String>, rest: Facts) -> Facts {
        let learned = self.lessons.get(lesson);
        Facts {
            online_used_ms: self.online_used_ms,
            covered_before: limited(learned.map_or_else(Vec::new, |learned| learned.covered.clone())),
            furthest_before_ms: Some(learned.map_or(0, |learned| learned.furthest_ms)),
            prior_lessons_complete: self.completed(prior),
            carried: self.carried.clone(),
            ..rest
        }
    }
}

impl Learned {
    /// What was not watched in time is not learned; but what was credited must not be credited again.
    fn add(&mut self, session: &Legacy<'_>) {
        let mut covered = std::mem::take(&mut self.covered);
        if session.amounts.coverage_counts() {
            covered.extend(session.coverage);
        } else {
            let mut left_ms = session.amounts.creditable_ms;
            let mut first = outside(session.coverage, &covered);
            for (from, to) in &mut first {
                *to = (*to).min(*from + left_ms);
                left_ms -= *to - *from;
            }
            first.retain(|(from, to)| from < to);
            covered.extend(first);
        }
        self.covered = union(covered);
        self.furthest_ms = self.furthest_ms.max(session.furthest_ms);
        self.completed |= session.amounts.completed;
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
    use crate::log::{Delivery, LessonKind, PlatformStatus};

    fn past(lesson: &str, status: &str, edit: impl FnOnce(&mut serde_json::Value)) -> (String, Verdict) {
        let mut verdict = serde_json::json!({
            "session": "s", "policy": "default", "status": status, "watched_ms": 60_000, "watch_ms": 60_000,
            "creditable_ms": 60_000, "credited_ms": 60_000, "credited_hours": 0.02, "completed": true,
            "coverage": [[0, 60_000]], "furthest_ms": 60_000, "violations": [], "violations_total": 0,
            "carried": {"since_control_ms": 1, "unverified_ms": 0, "excess_ms": 0, "conflict_ms": 0,
                "face_failures": 0, "face_history": [], "hour_watch_ms": 0, "hour_has_photo": false},
            "log_digest": ""
        });
        edit(&mut verdict);
        (lesson.to_owned(), serde_json::from_value(verdict).unwrap())
    }

    fn rest() -> Facts {
        Facts {
            platform_status: PlatformStatus::Active,
            project_approved: true,
            content_approved: true,
            prior_lessons_complete: false,
            lesson_kind: LessonKind::Theory,
            delivery: Delivery::Blended,
            total_hours: 40,
            online_used_ms: 0,
            covered_before: Vec::new(),
            furthest_before_ms: None,
            carried: Carried::default(),
        }
    }

    fn facts(past: &[(String, Verdict)], lesson: &str, prior: &[String], prior_online_ms: i64) -> Facts {
        let mut history = History::new(prior_online_ms);
        past.iter().for_each(|(lesson, verdict)| history.add(lesson, verdict));
        history.facts(lesson, prior, rest())
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
        let facts = facts(&sessions, "a", &[], 1_000);
        assert_eq!(facts.online_used_ms, 121_000);
        assert_eq!(facts.covered_before, [(0, 90_000)]);
        assert_eq!(facts.furthest_before_ms, Some(60_000));
        assert_eq!(facts.carried.since_control_ms, 77, "what is carried is the last session's, whatever its verdict");
    }

    #[test]
    fn what_was_not_watched_in_time_is_not_covered_but_what_was_credited_is() {
        let covered = |sessions: &[(String, Verdict)]| facts(sessions, "a", &[], 0).covered_before;
        assert_eq!(covered(&[past("a", "valid", |v| v["creditable_ms"] = 56_999.into())]), [(0, 56_999)]);
        let short = |v: &mut serde_json::Value| {
            v["coverage"] = serde_json::json!([[10_000, 30_000], [40_000, 60_000]]);
            v["watched_ms"] = 30_000.into();
            v["creditable_ms"] = 15_000.into();
        };
        let first = past("a", "valid", |v| v["coverage"] = serde_json::json!([[0, 20_000]]));
        assert_eq!(covered(&[first, past("a", "valid", short)]), [(0, 30_000), (40_000, 45_000)]);
        assert_eq!(covered(&[past("a", "valid", |v| v["creditable_ms"] = 57_000.into())]), [(0, 60_000)]);
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
        assert!(!facts(&sessions, "c", &prior, 0).prior_lessons_complete);
        sessions.push(past("b", "review", |_| ()));
        assert!(facts(&sessions, "c", &prior, 0).prior_lessons_complete);
        assert!(facts(&[], "a", &[], 0).prior_lessons_complete);
        sessions.push(past("b", "invalid", |v| v["completed"] = false.into()));
        assert!(facts(&sessions, "c", &prior, 0).prior_lessons_complete);
    }

    #[test]
    fn what_nobody_here_saw_is_taken_from_the_first_facts() {
        let recorded = Facts {
            online_used_ms: 500_000,
            covered_before: vec![(0, 40_000)],
            carried: Carried { since_control_ms: 9, ..Carried::default() },
            ..rest()
        };
        let mut history = History::starting_from(&recorded);
        history.starts_lesson("a", &recorded);
        let first = history.facts("a", [], rest());
        assert_eq!((first.online_used_ms, first.carried.since_control_ms), (500_000, 9));
        assert_eq!((first.covered_before, first.furthest_before_ms), (vec![(0, 40_000)], Some(40_000)));
        let (lesson, verdict) = past("a", "valid", |_| ());
        history.add(&lesson, &verdict);
        history.starts_lesson("a", &recorded);
        assert_eq!(history.facts("a", [], rest()).covered_before, [(0, 60_000)]);
        assert_eq!(history.facts("b", [], rest()).covered_before, []);
    }
}
