//! A platform whose rate of invalid sessions departs from its peers.
//!
//! What is counted are learner-days, not sessions: the sessions of one learner in a day are too much alike to be
//! counted as independent. A learner-day is faulty when one of its sessions is invalid for what was done in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::statistics::{Share, departure_milli};
use super::{Code, Effects, Finding, KEPT_DAYS, Observation, Severity, Sighting, SightingKind, day_of};

/// Learner-days of today that are told apart; a province has fewer learners online in a day.
const TODAY_KEPT: usize = 500_000;
/// Platforms that are compared: a province has some tens.
const PLATFORMS_KEPT: usize = 10_000;

/// The learner-days of all platforms.
#[derive(Debug, Default)]
pub(super) struct Platforms {
    platforms: BTreeMap<Arc<str>, Counts>,
    today: i64,
    /// learners of today, and whether theirs is a faulty day
    learners: BTreeMap<(Arc<str>, Arc<str>), bool>,
}

#[derive(Debug, Default)]
struct Counts {
    days: BTreeMap<i64, Share>,
    told_day: Option<i64>,
}

impl Platforms {
    /// What was kept from before a restart.
    pub(super) fn recall(&mut self, sighting: &Sighting) {
        self.note(&sighting.value, &sighting.learner, sighting.day, sighting.faulty);
    }

    /// A session was closed and judged.
    pub(super) fn closed(&mut self, observation: &Observation, faulty: bool, effects: &mut Effects) {
        let (who, day) = (&observation.who, day_of(observation.at));
        if !self.note(&who.platform, &who.learner, day, faulty) {
            return;
        }
        effects.sightings.push(Sighting {
            kind: SightingKind::Verdict,
            value: who.platform.clone(),
            learner: who.learner.clone(),
            day,
            at: observation.at,
            faulty,
        });
        effects.findings.extend(self.compare(observation, day));
    }

    /// Whether this changes the counts.
    fn note(&mut self, platform: &Arc<str>, learner: &Arc<str>, day: i64, faulty: bool) -> bool {
        if day > self.today {
            self.today = day;
            self.learners.clear();
        }
        if self.platforms.len() >= PLATFORMS_KEPT && !self.platforms.contains_key(platform) {
            return false;
        }
        let key = (platform.clone(), learner.clone());
        let known = if day == self.today { self.learners.get(&key).copied() } else { None };
        if known == Some(true) || known.is_some() && !faulty {
            return false;
        }
        if day == self.today && (known.is_some() || self.learners.len() < TODAY_KEPT) {
            self.learners.insert(key, faulty);
        }
        let counts = self.platforms.entry(platform.clone()).or_default();
        let share = counts.days.entry(day).or_default();
        share.all += i64::from(known.is_none());
        share.some += i64::from(faulty);
        while counts.days.first_key_value().is_some_and(|(first, _)| *first <= day - KEPT_DAYS) {
            counts.days.pop_first();
        }
        true
    }

    /// Compares the platform of this observation with the others, until it has been told of today.
    fn compare(&mut self, observation: &Observation, day: i64) -> Option<Finding> {
        let (who, risk) = (&observation.who, &observation.who.policy.risk);
        let since = day - risk.platform_window_days;
        let counts = self.platforms.get(&who.platform)?;
        let own = counts.within(since);
        if counts.told_day == Some(day) || own.all < risk.platform_learner_days {
            return None;
        }
        let others = self.platforms.iter().filter(|(platform, _)| **platform != who.platform);
        let others = others.map(|(_, counts)| counts.within(since));
        let peers: Vec<Share> = others.filter(|share| share.all >= risk.platform_learner_days).collect();
        let together = Share::sum(peers.iter().copied());
        let z = departure_milli(own, &peers);
        let peers = peers.len() as i64;
        let difference = own.milli() - together.milli();
        if peers < risk.platform_peers || z < risk.platform_z_milli || difference.abs() < risk.platform_difference_milli
        {
            return None;
        }
        self.platforms.get_mut(&who.platform)?.told_day = Some(day);
        // Fewer than elsewhere may be good learners, and may be a platform that makes up its records.
        let (code, severity) = match difference > 0 {
            true if own.milli() >= 2 * together.milli() => (Code::RateHigh, Severity::Medium),
            true => (Code::RateHigh, Severity::Low),
            false => (Code::RateLow, Severity::Low),
        };
        let numbers = json!({
            "learner_days": own.all, "faulty": own.some, "rate_milli": own.milli(),
            "peers": peers, "peers_learner_days": together.all, "peers_faulty": together.some,
            "peers_rate_milli": together.milli(), "z_milli": z, "days": risk.platform_window_days,
            "rate_percent": tenths(own.milli()), "peers_rate_percent": tenths(together.milli()),
            "standard_errors": tenths(z / 100),
            "thresholds": {
                "learner_days": risk.platform_learner_days, "peers": risk.platform_peers,
                "z_milli": risk.platform_z_milli, "difference_milli": risk.platform_difference_milli,
            },
        });
        let subject = format!("platform:{}", who.platform);
        let finding = Finding::of(code, subject, severity, observation, numbers);
        // It is the platform that departs, not whoever closed a session last.
        Some(Finding { learners: Vec::new(), sessions: Vec::new(), ..finding })
    }
}

/// A number of tenths, for people.
fn tenths(number: i64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

impl Counts {
    fn within(&self, since: i64) -> Share {
        Share::sum(self.days.range(since + 1..).map(|(_, share)| *share))
    }
}
