//! `fast_forward`: the film ran faster than the clock, or was skipped.
//!
//! Clause: 有快进播放…视同培训无效 (宛技领办〔2022〕10号 20(3)).
//!
//! Causes: `advance` and `seek` for a position that nobody can have reached ([`Leap`]), `rate` for a playback rate that
//! the page itself reports.

use serde::{Deserialize, Serialize};

use super::{Findings, Rule};
use crate::policy::Parameters;
use crate::session::Leap;

/// What is remembered of the playback rate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FastForward {
    /// Whether the present episode of too high a rate has been counted.
    rate_counted: bool,
}

impl FastForward {
    /// Judges a leap.
    pub(crate) fn leapt(&self, leap: Leap, findings: &mut Findings) {
        let cause = match leap {
            Leap::Advance => "advance",
            Leap::Seek => "seek",
        };
        findings.add_cause(Rule::FastForward, cause);
    }

    /// Judges a reported rate.
    pub(crate) fn rated(&mut self, playing: bool, rate: f64, parameters: &Parameters, findings: &mut Findings) {
        let too_fast = playing && rate * 1000.0 > parameters.max_rate_milli as f64;
        if too_fast && !self.rate_counted {
            findings.add_cause(Rule::FastForward, "rate");
        }
        self.rate_counted = too_fast;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::names;
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn a_rate_counts_once_an_episode() {
        let (mut rule, mut findings) = (FastForward::default(), Findings::default());
        let parameters = Policy::default().parameters;
        for (playing, rate) in [(true, 1.005), (false, 16.0), (true, 1.25), (true, 2.0), (false, 2.0), (true, 2.0)] {
            rule.rated(playing, rate, &parameters, &mut findings);
        }
        assert_eq!(names(&findings), ["fast_forward:rate", "fast_forward:rate"]);
    }

    #[test]
    fn leaps_say_how() {
        let mut findings = Findings::default();
        FastForward::default().leapt(Leap::Advance, &mut findings);
        FastForward::default().leapt(Leap::Seek, &mut findings);
        assert_eq!(names(&findings), ["fast_forward:advance", "fast_forward:seek"]);
    }
}
