//! One learner's sessions in one project, judged twice along the chain.
//!
//! A session is folded under both policies while its log is read once; under one of them, if both have the same
//! parameters and facts: then only what they do about the violations can differ.

use std::sync::Arc;

use super::Question;
use super::index::Prior;
use super::logs::opening;
use crate::log::{Carried, Facts, LineError, MAX_LINE_BYTES, SessionOpened, parse_line};
use crate::policy::{Action, Policy};
use crate::rules::Rule;
use crate::session::Session;
use crate::verdict::{Amounts, History, Legacy, Verdict};

/// Some of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rules(u64);

const _: () = assert!(Rule::ALL.len() <= u64::BITS as usize);

impl Rules {
    pub(super) fn contains(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }

    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.iter().copied().filter(move |rule| self.contains(*rule))
    }

    /// Those whose violation does not mean the same under the two policies.
    pub(super) fn weighed_otherwise(self, before: &Policy, after: &Policy) -> Self {
        let weighs = |rule: &Rule| -> Action { before.action(*rule) };
        self.iter().filter(|rule| weighs(rule) != after.action(*rule)).collect()
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self(rules.into_iter().fold(0, |bits, rule| bits | 1 << rule as u32))
    }
}

/// Which facts of the opening are not the same under the two policies, because earlier sessions are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FactChanges(u8);

impl FactChanges {
    /// The names of facts that come from earlier sessions.
    pub(super) const NAMES: [&str; 5] =
        ["online_used_ms", "covered_before", "furthest_before_ms", "prior_lessons_complete", "carried"];

    pub(super) fn between(before: &Facts, after: &Facts) -> Self {
        let differ = [
            before.online_used_ms != after.online_used_ms,
            before.covered_before != after.covered_before,
            furthest_ms(before) != furthest_ms(after),
            before.prior_lessons_complete != after.prior_lessons_complete,
            before.carried != after.carried,
        ];
        Self(differ.iter().enumerate().fold(0, |bits, (k, differs)| bits | u8::from(*differs) << k))
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().enumerate().filter(move |(k, _)| self.0 & (1 << k) != 0).map(|(_, name)| name)
    }
}

/// Absent means the end of what is covered.
fn furthest_ms(facts: &Facts) -> i64 {
    facts.furthest_before_ms.or(facts.covered_before.last().map(|last| last.1)).unwrap_or(0)
}

/// A session under one policy.
pub(super) struct Judged {
    pub(super) policy: Arc<Policy>,
    pub(super) amounts: Amounts,
    pub(super) rules: Rules,
}

/// A session under both.
pub(super) struct Judgement {
    /// as recorded
    pub(super) opened: SessionOpened,
    pub(super) opened_at: i64,
    pub(super) events: u64,
    pub(super) pack_unknown: bool,
    /// those in which the two differ
    pub(super) facts: FactChanges,
    /// whether those under the base are what was recorded
    pub(super) facts_as_recorded: bool,
    pub(super) before: Judged,
    pub(super) after: Judged,
    /// under the base, whole, if it was asked for; without a digest: the log that was judged has other facts than the
    /// recorded one
    pub(super) verdict: Option<Verdict>,
}

/// What a log turned out to be.
pub(super) enum Outcome {
    Judged(Box<Judgement>),
    /// It is not closed: what it will amount to is not known yet, and nothing comes after it.
    Open,
    /// The same session as one before.
    Twice,
}

/// A wrong line: its number in the log, from 1, and what is wrong with it.
pub(super) type Wrong = (u64, LineError);

/// A chain as far as it was judged.
pub(super) struct Walk<'a> {
    question: &'a Question,
    histories: Option<Both<History>>,
    prior_online_ms: Option<i64>,
    /// the sessions that were opened in the same millisecond as the last one
    latest: (i64, Vec<String>),
}

struct Both<T> {
    before: T,
    after: T,
}

impl<'a> Walk<'a> {
    pub(super) fn new(question: &'a Question, prior_online_ms: Option<i64>) -> Self {
        Self { question, histories: None, prior_online_ms, latest: (i64::MIN, Vec::new()) }
    }

    /// Judges the next session of the chain, whose lesson comes after those of `prior`.
    pub(super) fn judge(&mut self, log: &[u8], prior: &Prior, wants_verdict: bool) -> Result<Outcome, Wrong> {
        let mut lines = log;
        let (opened_at, opened) = next_line(&mut lines).and_then(opening).map_err(|error| (1, error))?;
        if self.is_repeated(opened_at, &opened.session) {
            return Ok(Outcome::Twice);
        }
        let named = self.question.packs.by_label(&opened.policy);
        let base = self.question.base.as_ref().or(named).unwrap_or(&self.question.fallback);
        let policies = Both { before: base.clone(), after: self.question.candidate.clone() };
        let recomputed = self.facts(&opened, prior);
        let facts = FactChanges::between(&recomputed.before, &recomputed.after);
        let facts_as_recorded = FactChanges::between(&opened.facts, &recomputed.before) == FactChanges::default();

        let is_one = facts == FactChanges::default() && policies.before.parameters == policies.after.parameters;
        let begin = |policy: &Arc<Policy>, facts| Session::begin(policy.clone(), opened_at, unnamed(&opened, facts));
        let mut folds = Folds {
            before: begin(&policies.before, recomputed.before),
            after: (!is_one).then(|| begin(&policies.after, recomputed.after)),
        };
        let events = 1 + folds.apply(lines)?;
        if folds.before.closed().is_none() {
            return Ok(Outcome::Open);
        }
        let before = judged(&folds.before, policies.before);
        let after = judged(folds.after(), policies.after);
        if let Some(histories) = &mut self.histories {
            histories.before.add(&opened.lesson, Legacy::of(&folds.before, before.amounts));
            histories.after.add(&opened.lesson, Legacy::of(folds.after(), after.amounts));
        }
        let verdict =
            wants_verdict.then(|| Verdict { session: opened.session.clone(), ..folds.before.verdict(String::new()) });
        let pack_unknown = self.question.base.is_none() && named.is_none();
        let judgement =
            Judgement { opened, opened_at, events, pack_unknown, facts, facts_as_recorded, before, after, verdict };
        Ok(Outcome::Judged(Box::new(judgement)))
    }

    fn is_repeated(&mut self, opened_at: i64, session: &str) -> bool {
        if self.latest.0 != opened_at {
            self.latest.0 = opened_at;
            self.latest.1.clear();
        }
        let repeated = self.latest.1.iter().any(|other| other == session);
        self.latest.1.push(session.to_owned());
        repeated
    }

    /// The facts of the next session, as either policy would have had them.
    fn facts(&mut self, opened: &SessionOpened, prior: &Prior) -> Both<Facts> {
        let recorded = &opened.facts;
        let start = || match self.prior_online_ms {
            Some(prior_online_ms) => History::new(prior_online_ms),
            None => History::starting_from(recorded),
        };
        let Both { before, after } = self.histories.get_or_insert_with(|| Both { before: start(), after: start() });
        if self.prior_online_ms.is_none() {
            before.starts_lesson(&opened.lesson, recorded);
            after.starts_lesson(&opened.lesson, recorded);
        }
        let lessons: &[String] = match prior {
            Prior::Known(lessons) | Prior::Derived(lessons) => lessons,
            Prior::Unknown => &[],
        };
        let rest = || Facts { covered_before: Vec::new(), carried: Carried::default(), ..*recorded };
        let mut facts = Both {
            before: before.facts(&opened.lesson, lessons, rest()),
            after: after.facts(&opened.lesson, lessons, rest()),
        };
        if !matches!(prior, Prior::Known(_)) {
            // What was recorded holds, but where the policy in question made a difference to an earlier lesson.
            if facts.before.prior_lessons_complete == facts.after.prior_lessons_complete {
                facts.after.prior_lessons_complete = recorded.prior_lessons_complete;
            }
            facts.before.prior_lessons_complete = recorded.prior_lessons_complete;
        }
        facts
    }
}

/// An opening with other facts. What a fold has no use for is left out.
fn unnamed(opened: &SessionOpened, facts: Facts) -> SessionOpened {
    let none = String::new;
    SessionOpened {
        session: none(),
        platform: none(),
        learner: none(),
        project: none(),
        lesson: none(),
        policy: none(),
        duration_ms: opened.duration_ms,
        facts,
    }
}

/// One session under both policies.
struct Folds {
    before: Session,
    /// none: it would be the same
    after: Option<Session>,
}

impl Folds {
    fn after(&self) -> &Session {
        self.after.as_ref().unwrap_or(&self.before)
    }

    /// Reads the lines after the first once, for both; says how many there are.
    fn apply(&mut self, mut lines: &[u8]) -> Result<u64, Wrong> {
        let mut count = 0;
        while !lines.is_empty() {
            let wrong = |error| (count + 2, error);
            let event = next_line(&mut lines).and_then(parse_line).map_err(wrong)?;
            for session in [Some(&mut self.before), self.after.as_mut()].into_iter().flatten() {
                session.apply(&event).map_err(|error| wrong(LineError::new(error.field, error.problem)))?;
            }
            count += 1;
        }
        Ok(count)
    }
}

fn judged(session: &Session, policy: Arc<Policy>) -> Judged {
    Judged { amounts: Amounts::of(session, &policy), rules: session.broken_rules(&policy).collect(), policy }
}

/// Takes the next line off `lines`, without its line feed.
fn next_line<'l>(lines: &mut &'l [u8]) -> Result<&'l [u8], LineError> {
    let all = *lines;
    let end = memchr::memchr(b'\n', all).unwrap_or(all.len());
    let line = &all[..end];
    *lines = all.get(end + 1..).unwrap_or_default();
    if line.len() > MAX_LINE_BYTES {
        return Err(LineError::new("line", format!("is longer than {MAX_LINE_BYTES} bytes")));
    }
    Ok(line)
}
