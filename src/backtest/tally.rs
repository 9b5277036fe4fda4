//! Counting what changed. Tallies of parts are added up in the order of the parts; nothing in them is a float.

use std::collections::BTreeMap;

use serde::Serialize;

use super::BadLog;
use super::chain::{FactChanges, Judged, Judgement, Rules};
use crate::rules::Rule;
use crate::verdict::{Amounts, Status, Verdict};

/// Bad logs that the report names; all are counted, and told of as they are found.
const NAMED_BAD_LOGS: usize = 100;
/// Unknown packs that are told apart; a log may name anything.
const NAMED_PACKS: usize = 100;
/// Sessions named as examples of recorded verdicts that do not come out again.
const NAMED_DIFFERENT: usize = 20;

/// How a closed session can stand.
pub(super) const STATUSES: [Status; 3] = [Status::Valid, Status::Review, Status::Invalid];

/// Upper ends of the classes of difference in credit, ms; the last class has none.
pub(super) const DIFFERENCE_ENDS_MS: [i64; 8] = [-3_600_000, -1_800_000, -600_000, 0, 1, 600_000, 1_800_000, 3_600_000];

/// Sessions, and what they were credited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Credit {
    pub(super) sessions: u64,
    pub(super) credited_ms: i64,
    /// class hours as the verdicts state them, in hundredths
    pub(super) hundredths: i64,
}

impl Credit {
    fn add(&mut self, amounts: &Amounts) {
        self.sessions += 1;
        self.credited_ms += amounts.credited_ms;
        self.hundredths += amounts.credited_hundredths;
    }

    fn merge(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.credited_ms += other.credited_ms;
        self.hundredths += other.hundredths;
    }
}

/// Sessions that went the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) sessions: u64,
    pub(super) difference_ms: i64,
}

impl Way {
    fn add(&mut self, difference_ms: i64) {
        self.merge(&Self { sessions: 1, difference_ms });
    }

    fn merge(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.difference_ms += other.difference_ms;
    }
}

/// Sessions that broke a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleCount {
    pub(super) before: u64,
    pub(super) after: u64,
    pub(super) gained: u64,
    pub(super) lost: u64,
}

/// Why a session changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reason {
    pub(super) gained: Rules,
    pub(super) lost: Rules,
    pub(super) weighed_otherwise: Rules,
    pub(super) facts: FactChanges,
}

impl Reason {
    pub(super) fn of(judgement: &Judgement) -> Self {
        let (before, after) = (&judgement.before, &judgement.after);
        Self {
            gained: after.rules.without(before.rules),
            lost: before.rules.without(after.rules),
            weighed_otherwise: after.rules.and(before.rules).weighed_otherwise(&before.policy, &after.policy),
            facts: judgement.facts,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        for (word, rules) in
            [("gains", self.gained), ("loses", self.lost), ("weighs otherwise:", self.weighed_otherwise)]
        {
            let names: Vec<&str> = rules.iter().map(Rule::as_str).collect();
            if !names.is_empty() {
                parts.push(format!("{word} {}", names.join(", ")));
            }
        }
        let facts: Vec<&str> = self.facts.names().collect();
        if !facts.is_empty() {
            parts.push(format!("after earlier sessions that changed: {}", facts.join(", ")));
        }
        if parts.is_empty() {
            parts.push("credit is counted otherwise".to_owned());
        }
        formatter.write_str(&parts.join("; "))
    }
}

/// Whether a session comes out otherwise: in its status, its credit, the rules that it breaks, or the lesson's
/// completion.
pub(super) fn changed(judgement: &Judgement) -> bool {
    let of = |judged: &Judged| {
        let amounts = &judged.amounts;
        (amounts.status, amounts.credited_ms, amounts.completed, judged.rules)
    };
    of(&judgement.before) != of(&judgement.after)
}

/// The count of some sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) chains_changed: u64,
    pub(super) changed: u64,
    /// of these, with the same facts under both policies
    pub(super) changed_with_same_facts: u64,
    /// logs that are not closed
    pub(super) open: u64,
    pub(super) before: [Credit; STATUSES.len()],
    pub(super) after: [Credit; STATUSES.len()],
    /// by status before, then after
    pub(super) ways: [[Way; STATUSES.len()]; STATUSES.len()],
    pub(super) rules: [RuleCount; Rule::ALL.len()],
    pub(super) reasons: BTreeMap<Reason, Way>,
    pub(super) differences: [Way; DIFFERENCE_ENDS_MS.len() + 1],
    /// sessions whose facts, recomputed under the base, are not those of the log
    pub(super) facts_not_as_recorded: u64,
    pub(super) compared: u64,
    pub(super) not_as_recorded: u64,
    pub(super) not_as_recorded_named: Vec<String>,
    pub(super) decided_by_person: u64,
    pub(super) unknown_packs: BTreeMap<String, u64>,
    pub(super) sessions_of_unknown_packs: u64,
    pub(super) bad: u64,
    pub(super) bad_named: Vec<BadLog>,
}

impl Tally {
    /// Counts a session; says whether it changed.
    pub(super) fn add(&mut self, judgement: &Judgement) -> bool {
        let (before, after) = (&judgement.before, &judgement.after);
        self.events += judgement.events;
        let (from, to) = (place(before.amounts.status), place(after.amounts.status));
        self.before[from].add(&before.amounts);
        self.after[to].add(&after.amounts);
        let difference_ms = after.amounts.credited_ms - before.amounts.credited_ms;
        self.ways[from][to].add(difference_ms);
        let class = DIFFERENCE_ENDS_MS.iter().position(|end| difference_ms < *end);
        self.differences[class.unwrap_or(DIFFERENCE_ENDS_MS.len())].add(difference_ms);
        for (rule, count) in Rule::ALL.iter().zip(&mut self.rules) {
            let (before, after) = (before.rules.contains(*rule), after.rules.contains(*rule));
            count.before += u64::from(before);
            count.after += u64::from(after);
            count.gained += u64::from(after && !before);
            count.lost += u64::from(before && !after);
        }
        self.facts_not_as_recorded += u64::from(!judgement.facts_as_recorded);
        if judgement.pack_unknown {
            self.sessions_of_unknown_packs += 1;
            count_limited(&mut self.unknown_packs, &judgement.opened.policy, 1);
        }
        let changed = changed(judgement);
        if changed {
            self.changed += 1;
            self.changed_with_same_facts += u64::from(judgement.facts == FactChanges::default());
            self.reasons.entry(Reason::of(judgement)).or_default().add(difference_ms);
        }
        changed
    }

    /// Compares the recorded verdict with the one that the base gives now.
    pub(super) fn compare(&mut self, recorded: &str, judgement: &Judgement) {
        self.compared += 1;
        let recorded: Option<Verdict> = serde_json::from_str(recorded).ok();
        let same = recorded
            .is_some_and(|recorded| Some(Verdict { log_digest: String::new(), ..recorded }) == judgement.verdict);
        if !same {
            self.not_as_recorded += 1;
            if self.not_as_recorded_named.len() < NAMED_DIFFERENT {
                self.not_as_recorded_named.push(judgement.opened.session.clone());
            }
        }
    }

    pub(super) fn add_bad(&mut self, bad: BadLog) {
        self.bad += 1;
        if self.bad_named.len() < NAMED_BAD_LOGS {
            self.bad_named.push(bad);
        }
    }

    /// Adds what was counted in the next part.
    pub(super) fn merge(&mut self, part: Self) {
        self.events += part.events;
        self.chains_changed += part.chains_changed;
        self.changed += part.changed;
        self.changed_with_same_facts += part.changed_with_same_facts;
        self.open += part.open;
        self.before.iter_mut().zip(&part.before).for_each(|(all, part)| all.merge(part));
        self.after.iter_mut().zip(&part.after).for_each(|(all, part)| all.merge(part));
        let ways = self.ways.iter_mut().flatten().zip(part.ways.iter().flatten());
        ways.for_each(|(all, part)| all.merge(part));
        self.differences.iter_mut().zip(&part.differences).for_each(|(all, part)| all.merge(part));
        for (all, part) in self.rules.iter_mut().zip(part.rules) {
            all.before += part.before;
            all.after += part.after;
            all.gained += part.gained;
            all.lost += part.lost;
        }
        part.reasons.into_iter().for_each(|(reason, way)| self.reasons.entry(reason).or_default().merge(&way));
        self.facts_not_as_recorded += part.facts_not_as_recorded;
        self.compared += part.compared;
        self.not_as_recorded += part.not_as_recorded;
        extend_limited(&mut self.not_as_recorded_named, part.not_as_recorded_named, NAMED_DIFFERENT);
        self.decided_by_person += part.decided_by_person;
        self.sessions_of_unknown_packs += part.sessions_of_unknown_packs;
        part.unknown_packs.iter().for_each(|(label, count)| count_limited(&mut self.unknown_packs, label, *count));
        self.bad += part.bad;
        extend_limited(&mut self.bad_named, part.bad_named, NAMED_BAD_LOGS);
    }

    /// How many sessions were judged.
    pub(super) fn sessions(&self) -> u64 {
        self.before.iter().map(|credit| credit.sessions).sum()
    }
}

/// Where a status stands in [`STATUSES`]; a session that was judged is closed.
fn place(status: Status) -> usize {
    STATUSES.iter().position(|one| *one == status).unwrap_or(0)
}

fn extend_limited<T>(list: &mut Vec<T>, more: Vec<T>, limit: usize) {
    let room = limit - list.len().min(limit);
    list.extend(more.into_iter().take(room));
}

fn count_limited(counts: &mut BTreeMap<String, u64>, label: &str, count: u64) {
    if counts.len() < NAMED_PACKS || counts.contains_key(label) {
        *counts.entry(label.to_owned()).or_default() += count;
    }
}
