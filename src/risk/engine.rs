//! All detectors together: what each is told of, in the order of arrival.

use super::answers::Answers;
use super::beats::HeartbeatTimes;
use super::places::Places;
use super::platforms::Platforms;
use super::shared::Shared;
use super::steps::Steps;
use super::{Effects, Observation, Sighting, SightingKind, Sign};
use crate::policy::Policy;

/// The state of all detectors.
#[derive(Debug)]
pub struct Engine {
    devices: Shared,
    addresses: Shared,
    answers: Answers,
    beats: HeartbeatTimes,
    steps: Steps,
    places: Places,
    platforms: Platforms,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            devices: Shared::new(SightingKind::Device),
            addresses: Shared::new(SightingKind::Address),
            answers: Answers::new(),
            beats: HeartbeatTimes::new(),
            steps: Steps::new(),
            places: Places::new(),
            platforms: Platforms::default(),
        }
    }
}

impl Engine {
    /// Takes back a sighting that was kept before a restart; in the order of their times.
    pub fn recall(&mut self, sighting: &Sighting) {
        match sighting.kind {
            SightingKind::Device => self.devices.recall(sighting),
            SightingKind::Address => self.addresses.recall(sighting),
            SightingKind::Start => self.steps.recall(sighting, Policy::default().risk.step_window_ms),
            SightingKind::Verdict => self.platforms.recall(sighting),
        }
    }

    /// Takes an observation; adds to `effects` what follows from it.
    pub fn observe(&mut self, observation: &Observation, effects: &mut Effects) {
        match &observation.sign {
            Sign::Connected { address, device, first } => {
                self.places.connected(observation, address, device);
                if let Some(device) = device {
                    self.devices.seen(observation, device, effects);
                }
                if let Some(address) = address {
                    self.addresses.seen(observation, address, effects);
                }
                if *first {
                    self.steps.started(observation, address.as_ref(), effects);
                }
            }
            Sign::FaceMatched { address, device } => {
                if let Some(device) = device {
                    self.devices.matched(observation, device, effects);
                }
                if let Some(address) = address {
                    self.addresses.matched(observation, address, effects);
                }
            }
            Sign::Playing { device: Some(device) } => self.devices.playing(observation, device, effects),
            Sign::Playing { device: None } => {}
            Sign::Answered { after_ms, passed } => self.answers.answered(observation, *after_ms, *passed, effects),
            Sign::EvenBeats { intervals, interval_ms } => {
                self.beats.even(observation, *intervals, Some(*interval_ms), effects);
            }
            Sign::LockedPosition { intervals } => self.beats.even(observation, *intervals, None, effects),
            Sign::Block { number, digest } => self.beats.block(observation, *number, *digest, effects),
            Sign::Conflict { with_session, with_platform, overlap_ms } => {
                self.places.conflict(observation, (with_session, with_platform), *overlap_ms, effects);
            }
            Sign::Closed { faulty } => self.platforms.closed(observation, *faulty, effects),
        }
    }
}
