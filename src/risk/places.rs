//! A learner in two places: playing in two sessions at once, on one platform or on two that cannot see each other.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::json;

use super::recent::Recent;
use super::{Code, Effects, Finding, Observation, Severity};

/// Learners that are remembered, twice over.
const LEARNERS_KEPT: usize = 65_536;
/// Sessions and overlaps of one learner that are remembered.
const LATEST_KEPT: usize = 16;

/// Where learners were seen lately.
#[derive(Debug)]
pub(super) struct Places {
    learners: Recent<Arc<str>, Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    sessions: VecDeque<Place>,
    /// overlaps that were heard of: both sessions tell of each
    heard: VecDeque<(Arc<str>, Arc<str>, i64)>,
}

#[derive(Clone, Debug)]
struct Place {
    session: Arc<str>,
    address: Option<Arc<str>>,
    device: Option<Arc<str>>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { learners: Recent::new(LEARNERS_KEPT) }
    }

    /// A session of a learner has a connection.
    pub(super) fn connected(
        &mut self,
        observation: &Observation,
        address: &Option<Arc<str>>,
        device: &Option<Arc<str>>,
    ) {
        let who = &observation.who;
        let latest = self.learners.entry(&who.learner, Latest::default);
        latest.sessions.retain(|place| place.session != who.session);
        let (address, device) = (address.clone(), device.clone());
        push(&mut latest.sessions, Place { session: who.session.clone(), address, device });
    }

    /// A learner was playing in another session too.
    pub(super) fn conflict(
        &mut self,
        observation: &Observation,
        other: (&Arc<str>, &Arc<str>),
        overlap_ms: i64,
        effects: &mut Effects,
    ) {
        let (who, risk) = (&observation.who, &observation.who.policy.risk);
        let (with_session, with_platform) = other;
        let latest = self.learners.entry(&who.learner, Latest::default);
        let mut pair = [who.session.clone(), with_session.clone()];
        pair.sort();
        let [one, two] = pair;
        let overlap = (one, two, overlap_ms);
        if latest.heard.contains(&overlap) {
            return;
        }
        push(&mut latest.heard, overlap);
        if overlap_ms < risk.two_places_ms {
            return;
        }
        let place = |session: &Arc<str>| latest.sessions.iter().find(|place| place.session == *session);
        let differ = |of: fn(&Place) -> &Option<Arc<str>>| match (place(&who.session), place(with_session)) {
            (Some(here), Some(there)) => of(here).as_ref().zip(of(there).as_ref()).map(|(here, there)| here != there),
            _ => None,
        };
        let (devices, addresses) = (differ(|place| &place.device), differ(|place| &place.address));
        // On one device it may be a tab that was forgotten; on two it cannot.
        let severity = if devices == Some(true) { Severity::High } else { Severity::Medium };
        let numbers = json!({
            "overlap_ms": overlap_ms, "overlap_s": overlap_ms / 1000, "devices_differ": devices,
            "addresses_differ": addresses, "platforms_differ": who.platform != *with_platform,
            "thresholds": {"overlap_ms": risk.two_places_ms},
        });
        let subject = format!("learner:{}", who.learner);
        let mut finding = Finding::of(Code::PlayingTwice, subject, severity, observation, numbers);
        finding.sessions.push(with_session.clone());
        finding.platforms.push(with_platform.clone());
        effects.findings.push(finding);
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() >= LATEST_KEPT {
        queue.pop_front();
    }
    queue.push_back(item);
}
