//! What a backtest found, for programs; [`super::draw`] makes a table of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::tally::{Credit, DIFFERENCE_ENDS_MS, STATUSES, Tally, Way};
use super::{Index, Question};
use crate::rules::Rule;

/// Reasons that are listed; the others are added up.
const LISTED_REASONS: usize = 20;

/// The result of a backtest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// the policy in question
    pub policy: String,
    /// what it was compared with; `null`: the pack that each log names
    pub base: Option<String>,
    /// closed sessions that were judged
    pub sessions: u64,
    /// their events
    pub events: u64,
    /// learners whose sessions were found
    pub learners: u64,
    /// projects whose sessions were found
    pub projects: u64,
    /// learners' sessions in a project, each a chain
    pub chains: u64,
    /// chains with a session that comes out otherwise
    pub chains_changed: u64,
    /// sessions that come out otherwise: in status, credit, broken rules or completion
    pub changed: u64,
    /// of these, with the same facts under both: the policies alone make the difference
    pub changed_with_same_facts: u64,
    /// the others: their facts (carried, coverage, quota, order) differ too, because earlier sessions of the chain do
    pub changed_with_other_facts: u64,
    /// under the base
    pub before: Side,
    /// under the policy in question
    pub after: Side,
    /// by status before and after; those that occur
    pub transitions: Vec<Transition>,
    /// those that are broken under either
    pub rules: Vec<RuleChange>,
    /// why sessions changed, the most frequent first
    pub reasons: Vec<ReasonCount>,
    /// changed sessions whose reason is not listed
    pub other_reasons: u64,
    /// sessions by how much more or less they are credited
    pub differences: Vec<Difference>,
    /// how what was recorded compares with the base
    pub recorded: Recorded,
    /// logs that are not closed: not judged
    pub open: u64,
    /// logs that cannot be judged
    pub bad: u64,
    /// the first of them
    pub bad_logs: Vec<String>,
}

/// Sessions and hours under one policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// by status
    pub status: BTreeMap<&'static str, u64>,
    /// what counts, ms
    pub credited_ms: i64,
    /// in class hours, each session's cut to two decimals as its verdict does
    pub credited_hours: f64,
    /// of these, class hours of sessions under review
    pub review_hours: f64,
}

/// Sessions that went from one status to another, or stayed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transition {
    /// status under the base
    pub before: &'static str,
    /// status under the policy in question
    pub after: &'static str,
    /// how many
    pub sessions: u64,
    /// how much more they are credited, ms
    pub difference_ms: i64,
}

/// Sessions that break a rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleChange {
    /// the rule
    pub rule: &'static str,
    /// under the base
    pub before: u64,
    /// under the policy in question
    pub after: u64,
    /// only under the policy in question
    pub gained: u64,
    /// only under the base
    pub lost: u64,
}

/// Sessions that changed for one reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReasonCount {
    /// in words
    pub reason: String,
    /// rules broken only under the policy in question
    pub gained: Vec<&'static str>,
    /// rules broken only under the base
    pub lost: Vec<&'static str>,
    /// rules broken under both that do not mean the same
    pub weighed_otherwise: Vec<&'static str>,
    /// facts of the opening that are not the same, because earlier sessions are not
    pub facts: Vec<&'static str>,
    /// how many
    pub sessions: u64,
    /// how much more they are credited, ms
    pub difference_ms: i64,
}

/// Sessions whose credit changed by at least `from_ms` and less than `to_ms`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// `null`: no limit
    pub from_ms: Option<i64>,
    /// `null`: no limit
    pub to_ms: Option<i64>,
    /// how many
    pub sessions: u64,
    /// how much more they are credited, ms
    pub difference_ms: i64,
}

/// How what was recorded compares with what the base gives now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recorded {
    /// sessions whose verdict is stored and was compared
    pub compared: u64,
    /// of these, those whose verdict does not come out again
    pub different: u64,
    /// the first of them
    pub different_sessions: Vec<String>,
    /// sessions whose facts, recomputed, are not those of the log: earlier sessions are missing, or were judged otherwise
    pub facts_different: u64,
    /// sessions about which a person has decided; the backtest knows the engine's opinion only
    pub decided_by_person: u64,
    /// sessions whose pack is not known here, judged by the default one instead
    pub unknown_packs: u64,
    /// by the name of the pack; the first hundred
    pub unknown_pack_sessions: BTreeMap<String, u64>,
}

impl Report {
    pub(super) fn of(tally: &Tally, index: &Index, question: &Question) -> Self {
        Self {
            policy: question.candidate.label(),
            base: question.base.as_ref().map(|base| base.label()),
            sessions: tally.sessions(),
            events: tally.events,
            learners: index.learners,
            projects: index.projects,
            chains: index.chains.len() as u64,
            chains_changed: tally.chains_changed,
            changed: tally.changed,
            changed_with_same_facts: tally.changed_with_same_facts,
            changed_with_other_facts: tally.changed - tally.changed_with_same_facts,
            before: side(&tally.before),
            after: side(&tally.after),
            transitions: transitions(tally),
            rules: rules(tally),
            reasons: reasons(tally),
            other_reasons: tally.changed - top_reasons(tally).iter().map(|(_, way)| way.sessions).sum::<u64>(),
            differences: differences(tally),
            recorded: Recorded {
                compared: tally.compared,
                different: tally.not_as_recorded,
                different_sessions: tally.not_as_recorded_named.clone(),
                facts_different: tally.facts_not_as_recorded,
                decided_by_person: tally.decided_by_person,
                unknown_packs: tally.sessions_of_unknown_packs,
                unknown_pack_sessions: tally.unknown_packs.clone(),
            },
            open: tally.open,
            bad: tally.bad,
            bad_logs: tally.bad_named.iter().map(ToString::to_string).collect(),
        }
    }
}

fn hours(hundredths: i64) -> f64 {
    hundredths as f64 / 100.0
}

fn side(credits: &[Credit; STATUSES.len()]) -> Side {
    Side {
        status: STATUSES.iter().zip(credits).map(|(status, credit)| (status.as_str(), credit.sessions)).collect(),
        credited_ms: credits.iter().map(|credit| credit.credited_ms).sum(),
        credited_hours: hours(credits.iter().map(|credit| credit.hundredths).sum()),
        review_hours: hours(credits[1].hundredths),
    }
}

fn transitions(tally: &Tally) -> Vec<Transition> {
    let mut transitions = Vec::new();
    for (before, ways) in STATUSES.iter().zip(&tally.ways) {
        for (after, way) in STATUSES.iter().zip(ways).filter(|(_, way)| way.sessions > 0) {
            let (before, after) = (before.as_str(), after.as_str());
            let Way { sessions, difference_ms } = *way;
            transitions.push(Transition { before, after, sessions, difference_ms });
        }
    }
    transitions
}

fn rules(tally: &Tally) -> Vec<RuleChange> {
    let broken = Rule::ALL.iter().zip(&tally.rules).filter(|(_, count)| count.before + count.after > 0);
    broken
        .map(|(rule, count)| RuleChange {
            rule: rule.as_str(),
            before: count.before,
            after: count.after,
            gained: count.gained,
            lost: count.lost,
        })
        .collect()
}

fn top_reasons(tally: &Tally) -> Vec<(&super::tally::Reason, &Way)> {
    let mut all: Vec<_> = tally.reasons.iter().collect();
    all.sort_by_key(|(reason, way)| (std::cmp::Reverse(way.sessions), **reason));
    all.truncate(LISTED_REASONS);
    all
}

fn reasons(tally: &Tally) -> Vec<ReasonCount> {
    let count = |(reason, way): (&super::tally::Reason, &Way)| ReasonCount {
        reason: reason.to_string(),
        gained: reason.gained.iter().map(Rule::as_str).collect(),
        lost: reason.lost.iter().map(Rule::as_str).collect(),
        weighed_otherwise: reason.weighed_otherwise.iter().map(Rule::as_str).collect(),
        facts: reason.facts.names().collect(),
        sessions: way.sessions,
        difference_ms: way.difference_ms,
    };
    top_reasons(tally).into_iter().map(count).collect()
}

fn differences(tally: &Tally) -> Vec<Difference> {
    let end = |k: usize| DIFFERENCE_ENDS_MS.get(k).copied();
    let difference = |(k, way): (usize, &Way)| Difference {
        from_ms: k.checked_sub(1).and_then(end),
        to_ms: end(k),
        sessions: way.sessions,
        difference_ms: way.difference_ms,
    };
    tally.differences.iter().enumerate().map(difference).collect()
}
