//! One device, or one address, under many learners.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::recent::Recent;
use super::{
    Code, Effects, FaceSearch, Finding, KEPT_DAYS, Observation, Severity, Sighting, SightingKind, Strength, day_of,
};

/// Devices or addresses that are remembered, twice over.
const VALUES_KEPT: usize = 65_536;
/// Learners that are told apart on one; more are as bad.
const LEARNERS_KEPT: usize = 256;
/// Players on one device that are followed at the same time.
const PLAYERS_KEPT: usize = 8;
/// Two who tell within this time that they are playing do so at the same time, ms: each tells it once a minute.
const SAME_MINUTE_MS: i64 = 60_000;

/// What was seen on devices, or behind addresses.
#[derive(Debug)]
pub(super) struct Shared {
    kind: SightingKind,
    values: Recent<Arc<str>, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// the last day of each learner
    learners: BTreeMap<Arc<str>, i64>,
    /// among how many others each learner's face was searched
    searched: BTreeMap<Arc<str>, usize>,
    told: i64,
    told_day: i64,
    players: Vec<Player>,
    minutes_together: i64,
    minutes_told: i64,
}

#[derive(Debug)]
struct Player {
    learner: Arc<str>,
    session: Arc<str>,
    platform: Arc<str>,
    at: i64,
}

impl Shared {
    pub(super) fn new(kind: SightingKind) -> Self {
        Self { kind, values: Recent::new(VALUES_KEPT) }
    }

    /// What was kept from before a restart.
    pub(super) fn recall(&mut self, sighting: &Sighting) {
        let seen = self.values.entry(&sighting.value, Seen::default);
        seen.note(&sighting.learner, sighting.day);
    }

    /// A learner has come with `value`.
    pub(super) fn seen(&mut self, observation: &Observation, value: &Arc<str>, effects: &mut Effects) {
        let (who, day) = (&observation.who, day_of(observation.at));
        let seen = self.values.entry(value, Seen::default);
        if !seen.note(&who.learner, day) {
            return;
        }
        effects.sightings.push(Sighting {
            kind: self.kind,
            value: value.clone(),
            learner: who.learner.clone(),
            day,
            at: observation.at,
            faulty: false,
        });
        let risk = &who.policy.risk;
        let (code, limit, window_days) = match self.kind {
            SightingKind::Device => (Code::DeviceLearners, risk.device_learners, risk.device_window_days),
            _ => (Code::AddressLearners, risk.address_learners, risk.address_window_days),
        };
        let learners = seen.within(day, window_days);
        let count = learners.len() as i64;
        if count < limit || !seen.is_more(count, day, window_days) {
            return;
        }
        (seen.told, seen.told_day) = (count, day);
        let severity = match (code, count / limit) {
            (Code::AddressLearners, _) | (_, ..=1) => Severity::Low,
            (_, 2..=3) => Severity::Medium,
            _ => Severity::High,
        };
        let numbers = json!({
            "learners": count, "days": window_days, "value": &**value, "thresholds": {"learners": limit},
        });
        let subject = format!("{}:{value}", self.kind);
        effects.findings.push(Finding {
            learners,
            strength: Strength::InAll(count),
            ..Finding::of(code, subject, severity, observation, numbers)
        });
    }

    /// A learner's face was matched here. Where others were seen too, it is searched among theirs: once, and again when one
    /// more has come.
    pub(super) fn matched(&mut self, observation: &Observation, value: &Arc<str>, effects: &mut Effects) {
        let learner = &observation.who.learner;
        let seen = self.values.entry(value, Seen::default);
        let others = seen.learners.keys().filter(|other| *other != learner).count();
        let searched = seen.searched.get(learner).copied().unwrap_or(0);
        if others <= searched || (searched == 0 && seen.searched.len() >= LEARNERS_KEPT) {
            return;
        }
        seen.searched.insert(learner.clone(), others);
        let (kind, value, learner) = (self.kind, value.clone(), learner.clone());
        effects.searches.push(FaceSearch { kind, value, learner, at: observation.at });
    }

    /// A learner is playing on device `value`.
    pub(super) fn playing(&mut self, observation: &Observation, value: &Arc<str>, effects: &mut Effects) {
        let who = &observation.who;
        let seen = self.values.entry(value, Seen::default);
        seen.players.retain(|player| {
            player.learner != who.learner && observation.at.saturating_sub(player.at) <= SAME_MINUTE_MS
        });
        let others = &seen.players;
        // Of two who play together, one counts the minutes.
        let counts = others.iter().any(|other| other.learner > who.learner);
        if others.is_empty() {
            (seen.minutes_together, seen.minutes_told) = (0, 0);
        }
        seen.minutes_together += i64::from(counts);
        let limit = who.policy.risk.device_overlap_minutes;
        if counts && seen.minutes_together >= limit.max(seen.minutes_told * 2) {
            seen.minutes_told = seen.minutes_together;
            let numbers = json!({
                "learners": others.len() + 1, "minutes": seen.minutes_together, "value": &**value,
                "thresholds": {"minutes": limit},
            });
            let subject = format!("{}:{value}", self.kind);
            let mut finding = Finding::of(Code::DeviceAtOnce, subject, Severity::High, observation, numbers);
            for other in others {
                finding.learners.push(other.learner.clone());
                finding.sessions.push(other.session.clone());
                finding.platforms.push(other.platform.clone());
            }
            effects.findings.push(finding);
        }
        if seen.players.len() < PLAYERS_KEPT {
            let (learner, session) = (who.learner.clone(), who.session.clone());
            seen.players.push(Player { learner, session, platform: who.platform.clone(), at: observation.at });
        }
    }
}

impl Seen {
    /// Whether this learner is new here today.
    fn note(&mut self, learner: &Arc<str>, day: i64) -> bool {
        if let Some(last) = self.learners.get_mut(learner) {
            let is_new = *last < day;
            *last = day.max(*last);
            return is_new;
        }
        if self.learners.len() >= LEARNERS_KEPT {
            self.learners.retain(|_, last| *last > day - KEPT_DAYS);
            self.searched.retain(|learner, _| self.learners.contains_key(learner));
        }
        if self.learners.len() >= LEARNERS_KEPT {
            return false;
        }
        self.learners.insert(learner.clone(), day);
        true
    }

    fn within(&self, day: i64, window_days: i64) -> Vec<Arc<str>> {
        let recent = self.learners.iter().filter(|(_, last)| **last > day - window_days);
        recent.map(|(learner, _)| learner.clone()).collect()
    }

    /// Whether it is a quarter more than what was told, so that a large crowd is not told of one by one.
    fn is_more(&self, count: i64, day: i64, window_days: i64) -> bool {
        let told = if self.told_day > day - window_days { self.told } else { 0 };
        count > told && count * 4 >= told * 5
    }
}
