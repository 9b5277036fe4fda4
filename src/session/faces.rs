//! What the face checks have shown so far (docs/rules.md, section 6).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::log::{Carried, CheckOutcome};
use crate::policy::Parameters;

/// The learner's face, as far as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faces {
    /// Whether a check of this session has matched.
    pub verified: bool,
    /// Watching time without a match, ms.
    pub unverified_ms: i64,
    /// Failed checks in a row.
    pub streak: i64,
    /// The outcomes of the last checks, oldest first.
    pub history: VecDeque<CheckOutcome>,
    /// Passive scores that are not judged yet.
    pub passive_scores: i64,
    /// What they add up to, thousandths.
    pub passive_sum_milli: i64,
    /// Whether the engine could not check, in this session.
    pub error_seen: bool,
    /// Whether a check of this session has failed.
    pub failure_seen: bool,
}

impl Faces {
    /// Starts from what the last session left.
    pub fn opened(carried: &Carried, parameters: &Parameters) -> Self {
        let mut faces = Self {
            unverified_ms: carried.unverified_ms,
            streak: carried.face_failures,
            history: carried.face_history.iter().copied().collect(),
            passive_scores: carried.passive_scores,
            passive_sum_milli: carried.passive_sum_milli,
            ..Self::default()
        };
        faces.forget_old(parameters);
        faces
    }

    /// Takes note of a check's outcome.
    pub fn checked(&mut self, outcome: CheckOutcome, parameters: &Parameters) {
        self.history.push_back(outcome);
        self.forget_old(parameters);
        if outcome == CheckOutcome::Match {
            self.verified = true;
            self.unverified_ms = 0;
            self.streak = 0;
        } else {
            self.failure_seen = true;
            self.streak += 1;
        }
    }

    /// Takes note of a passive score, in thousandths.
    pub fn scored(&mut self, passive_milli: i64) {
        self.passive_scores = self.passive_scores.saturating_add(1);
        self.passive_sum_milli = self.passive_sum_milli.saturating_add(passive_milli.clamp(0, 1000));
    }

    /// Takes note of watching time.
    pub fn credited(&mut self, dt_ms: i64) {
        if !self.verified {
            self.unverified_ms += dt_ms;
        }
    }

    /// How many of the last checks were not a match.
    pub fn failures(&self) -> i64 {
        self.history.iter().filter(|&&outcome| outcome != CheckOutcome::Match).count() as i64
    }

    /// How many of the last checks were a spoof.
    pub fn spoofs(&self) -> i64 {
        self.history.iter().filter(|&&outcome| outcome == CheckOutcome::Spoof).count() as i64
    }

    fn forget_old(&mut self, parameters: &Parameters) {
        while self.history.len() as i64 > parameters.face_window {
            self.history.pop_front();
        }
    }
}
