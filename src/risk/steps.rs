//! Sessions that start in step: the same learners together, day after day, or one after the other at an even pace.
//!
//! A class that starts at nine together is honest: its learners arrive within a minute, each day in another order. Of
//! each learner only the first start of a day counts: two who begin together go on together by themselves.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use serde_json::json;

use super::recent::Recent;
use super::statistics::Variation;
use super::{Code, Effects, Finding, Observation, Severity, Sighting, SightingKind, Strength, day_of};

/// Learners, places and pairs that are remembered, twice over.
const LEARNERS_KEPT: usize = 65_536;
const PLACES_KEPT: usize = 16_384;
const PAIRS_KEPT: usize = 262_144;
/// Latest starts of one platform or address: the most that a pack may ask for, and as many as fit into the window.
const STARTS_KEPT: usize = 64;
/// Even starts nearer than this are a crowd, further apart than that a day, ms.
const SPACING_MS: std::ops::RangeInclusive<i64> = 50..=600_000;
/// Members of a group that are kept for its finding.
const GROUP_KEPT: usize = 100;

/// Who started when.
#[derive(Debug)]
pub(super) struct Steps {
    learners: Recent<Arc<str>, Learner>,
    /// the latest starts of a platform, for pairs, and of an address or platform, for pace
    places: Recent<Arc<str>, VecDeque<Start>>,
    pairs: Recent<Pair, Days>,
}

/// Two learners, whichever comes first, as 64 bits of a hash of both: of all that is remembered, pairs are the most by far. That
/// any two of half a million would be taken for each other has a chance of one in a hundred million.
type Pair = u64;

#[derive(Debug, Default)]
struct Learner {
    days: Days,
    /// whom the learner started together with
    group: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Start {
    learner: Arc<str>,
    session: Arc<str>,
    at: i64,
}

/// Up to 32 days, the newest in the lowest bit.
#[derive(Clone, Copy, Debug, Default)]
struct Days {
    newest: i32,
    bits: u32,
}

impl Days {
    /// Whether the day is new.
    fn note(&mut self, day: i64) -> bool {
        let day = whole(day);
        let shift = day.saturating_sub(self.newest);
        if shift > 0 {
            self.bits = u32::try_from(shift).ok().and_then(|shift| self.bits.checked_shl(shift)).unwrap_or(0);
            self.newest = day;
        }
        let bit =
            u32::try_from(self.newest.saturating_sub(day)).ok().and_then(|age| 1_u32.checked_shl(age)).unwrap_or(0);
        let is_new = self.bits & bit == 0 && bit != 0;
        self.bits |= bit;
        is_new
    }

    /// As seen on `day`, its lowest bit; or on the newest day, when that is later.
    fn as_of(self, day: i64) -> u32 {
        let shift = u32::try_from(whole(day).saturating_sub(self.newest).max(0)).unwrap_or(u32::MAX);
        self.bits.checked_shl(shift).unwrap_or(0)
    }
}

/// A day, counted since 1970, in half the room; one of millions of years hence is the last that there is.
fn whole(day: i64) -> i32 {
    i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX })
}

impl Steps {
    pub(super) fn new() -> Self {
        Self { learners: Recent::new(LEARNERS_KEPT), places: Recent::new(PLACES_KEPT), pairs: Recent::new(PAIRS_KEPT) }
    }

    /// What was kept from before a restart. `window_ms` is that of the pack in force now.
    pub(super) fn recall(&mut self, sighting: &Sighting, window_ms: i64) {
        // Which session it was is not kept.
        let start = Start { learner: sighting.learner.clone(), session: "".into(), at: sighting.at };
        if self.learners.entry(&start.learner, Learner::default).days.note(sighting.day) {
            self.meet(&sighting.value, &start, sighting.day, window_ms);
        }
    }

    /// A learner has begun a session: its first connection is there.
    pub(super) fn started(&mut self, observation: &Observation, address: Option<&Arc<str>>, effects: &mut Effects) {
        let (who, day) = (&observation.who, day_of(observation.at));
        if !self.learners.entry(&who.learner, Learner::default).days.note(day) {
            return;
        }
        effects.sightings.push(Sighting {
            kind: SightingKind::Start,
            value: who.platform.clone(),
            learner: who.learner.clone(),
            day,
            at: observation.at,
            faulty: false,
        });
        let start = Start { learner: who.learner.clone(), session: who.session.clone(), at: observation.at };
        let met = self.meet(&who.platform, &start, day, who.policy.risk.step_window_ms);
        for other in met {
            effects.findings.extend(self.together(observation, &other, day));
        }
        if let Some(address) = address {
            self.place(address, &start);
        }
        for place in [Some(&who.platform), address].into_iter().flatten() {
            effects.findings.extend(self.even(observation, place));
        }
    }

    /// Notes a start at a place; gives those that were there at the same time, whom the learner has met one day more.
    fn meet(&mut self, place: &Arc<str>, start: &Start, day: i64, window_ms: i64) -> Vec<Start> {
        let near =
            |other: &&Start| start.at.abs_diff(other.at) <= window_ms.unsigned_abs() && other.learner != start.learner;
        let others: Vec<Start> = self.place(place, start).iter().rev().skip(1).take_while(near).cloned().collect();
        for other in &others {
            self.pairs.entry(&pair(&start.learner, &other.learner), Days::default).note(day);
        }
        others
    }

    fn place(&mut self, place: &Arc<str>, start: &Start) -> &VecDeque<Start> {
        let starts = self.places.entry(place, VecDeque::new);
        if starts.len() >= STARTS_KEPT {
            starts.pop_front();
        }
        starts.push_back(start.clone());
        starts
    }

    fn together(&mut self, observation: &Observation, other: &Start, day: i64) -> Option<Finding> {
        let (who, risk) = (&observation.who, &observation.who.policy.risk);
        let together = self.pairs.get(&pair(&who.learner, &other.learner))?.as_of(day);
        let days = i64::from(together.count_ones());
        let days_of = |learner| self.learners.get(learner).map_or(0, |learner| learner.days.as_of(day));
        // Only the days since they first started together: before that they had nothing to do with each other.
        let since = u32::MAX.checked_shr(together.leading_zeros()).unwrap_or(0);
        let both = i64::from((days_of(&who.learner) & days_of(&other.learner) & since).count_ones()).max(days);
        if days < risk.step_days || days * 1000 < both * risk.step_share_milli {
            return None;
        }
        let group = [&who.learner, &other.learner].into_iter().find_map(|one| self.learners.get(one)?.group.clone());
        let group = group.unwrap_or_else(|| other.learner.clone());
        for one in [&who.learner, &other.learner] {
            self.learners.entry(one, Learner::default).group = Some(group.clone());
        }
        let numbers = json!({
            "days": days, "days_both": both, "apart_ms": observation.at.abs_diff(other.at), "platform": &*who.platform,
            "thresholds": {
                "days": risk.step_days, "share_milli": risk.step_share_milli, "window_ms": risk.step_window_ms,
            },
        });
        let mut finding =
            Finding::of(Code::StartsTogether, format!("group:{group}"), Severity::Medium, observation, numbers);
        finding.learners.push(other.learner.clone());
        finding.sessions.extend(Some(other.session.clone()).filter(|session| !session.is_empty()));
        finding.strength = Strength::InAll(days);
        Some(finding)
    }

    fn even(&mut self, observation: &Observation, place: &Arc<str>) -> Option<Finding> {
        let (who, risk) = (&observation.who, &observation.who.policy.risk);
        let starts = self.places.entry(place, VecDeque::new);
        let wanted = risk.step_starts as usize;
        let latest: Vec<&Start> = starts.iter().rev().take(wanted).collect();
        let variation = Variation::of(latest.windows(2).map(|pair| pair[0].at - pair[1].at))?;
        let even = latest.len() >= wanted
            && SPACING_MS.contains(&variation.mean_ms)
            && variation.is_below(risk.step_variation_milli);
        if !even {
            return None;
        }
        let numbers = json!({
            "starts": wanted, "spacing_ms": variation.mean_ms, "variation_milli": variation.milli, "place": &**place,
            "thresholds": {"starts": wanted, "variation_milli": risk.step_variation_milli},
        });
        let (of, severity) =
            if *place == who.platform { ("platform", Severity::Low) } else { ("address", Severity::Medium) };
        let finding = Finding::of(Code::StartsEven, format!("{of}:{place}"), severity, observation, numbers);
        let learners = latest.iter().take(GROUP_KEPT).map(|start| start.learner.clone()).collect();
        let sessions = latest.iter().map(|start| &start.session).filter(|session| !session.is_empty());
        let sessions = sessions.take(GROUP_KEPT).cloned().collect();
        // Told of, they are not evidence again.
        starts.clear();
        Some(Finding { learners, sessions, ..finding })
    }
}

fn pair(one: &str, other: &str) -> Pair {
    let mut hasher = DefaultHasher::new();
    if one < other { (one, other) } else { (other, one) }.hash(&mut hasher);
    hasher.finish()
}
