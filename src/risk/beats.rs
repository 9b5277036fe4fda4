//! Heartbeats that no page made: at one interval to the millisecond, or the same under two learners.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::recent::Recent;
use super::{Code, Effects, Finding, Observation, Severity, Strength};

/// Learners, blocks and pairs of learners that are remembered, twice over.
const KEPT: usize = 65_536;
/// Sessions of one learner that are told apart.
const SESSIONS_KEPT: usize = 64;

/// What sessions told of their heartbeats.
#[derive(Debug)]
pub(super) struct HeartbeatTimes {
    /// the sessions of a learner whose heartbeats were too even, by what shows it
    even: Recent<(Code, Arc<str>), BTreeSet<Arc<str>>>,
    /// who sent a block first
    blocks: Recent<(u32, u64), Sender>,
    /// blocks that two learners have in common
    pairs: Recent<(Arc<str>, Arc<str>), i64>,
}

#[derive(Clone, Debug)]
struct Sender {
    learner: Arc<str>,
    session: Arc<str>,
    platform: Arc<str>,
}

impl HeartbeatTimes {
    pub(super) fn new() -> Self {
        Self { even: Recent::new(KEPT), blocks: Recent::new(KEPT), pairs: Recent::new(KEPT) }
    }

    /// A session's heartbeats are too even, by their interval (`Some`) or by their position.
    pub(super) fn even(
        &mut self,
        observation: &Observation,
        intervals: i64,
        interval_ms: Option<i64>,
        effects: &mut Effects,
    ) {
        let (who, risk) = (&observation.who, &observation.who.policy.risk);
        let code = if interval_ms.is_some() { Code::HeartbeatsRegular } else { Code::PositionLocked };
        let sessions = self.even.entry(&(code, who.learner.clone()), BTreeSet::new);
        if sessions.len() < SESSIONS_KEPT {
            sessions.insert(who.session.clone());
        }
        let count = sessions.len() as i64;
        // Once may be an idle machine, or a film without sound: see docs/risk.md.
        if count < risk.heartbeat_sessions {
            return;
        }
        let numbers = json!({
            "intervals": intervals, "interval_ms": interval_ms, "sessions": count,
            "thresholds": {"intervals": risk.heartbeat_intervals, "sessions": risk.heartbeat_sessions},
        });
        let subject = format!("learner:{}", who.learner);
        let finding = Finding::of(code, subject, Severity::Medium, observation, numbers);
        effects.findings.push(Finding { sessions: sessions.iter().cloned().collect(), ..finding });
    }

    /// A session sent a block of heartbeats that says something.
    pub(super) fn block(&mut self, observation: &Observation, number: u32, digest: u64, effects: &mut Effects) {
        let (who, risk) = (&observation.who, &observation.who.policy.risk);
        let sender =
            || Sender { learner: who.learner.clone(), session: who.session.clone(), platform: who.platform.clone() };
        let first = self.blocks.entry(&(number, digest), sender).clone();
        if first.learner == who.learner {
            return;
        }
        let pair = [&first.learner, &who.learner].map(Clone::clone);
        let [one, other] = if pair[0] < pair[1] { pair } else { [pair[1].clone(), pair[0].clone()] };
        let blocks = self.pairs.entry(&(one, other), || 0);
        *blocks += 1;
        if *blocks < risk.copied_blocks {
            return;
        }
        let numbers = json!({
            "blocks": *blocks, "block": number, "digest": format!("{digest:016x}"),
            "thresholds": {"blocks": risk.copied_blocks},
        });
        // All copies of one recording are one finding: it is named by whoever was seen with it first.
        let subject = format!("learner:{}", first.learner);
        let mut finding = Finding::of(Code::HeartbeatsCopied, subject, Severity::High, observation, numbers);
        finding.learners.push(first.learner);
        finding.sessions.push(first.session);
        finding.platforms.push(first.platform);
        finding.strength = Strength::OnceMore;
        effects.findings.push(finding);
    }
}
