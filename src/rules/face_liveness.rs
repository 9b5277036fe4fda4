//! `face_liveness`: no live, enrolled face could be matched.
//!
//! Clause: 有…无法进行人脸活体比对…视同培训无效 (宛技领办〔2022〕10号 20(3)).
//!
//! Causes: the outcome of the check that broke the limit, or `unverified` when no face matched in time. That last one is
//! timed by [`super::face_unchecked`], which takes its place when the engine is to blame.

use serde::{Deserialize, Serialize};

use super::{Findings, Rule};
use crate::log::CheckOutcome;
use crate::policy::Parameters;
use crate::session::Faces;

/// What is remembered of failed checks, besides [`Faces`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaceLiveness {
    happened: bool,
}

impl FaceLiveness {
    /// Whether it was found in this session, ignored or not.
    pub fn has_happened(&self) -> bool {
        self.happened
    }

    /// Judges a check that `faces` has just taken note of.
    pub(crate) fn checked(
        &mut self,
        outcome: CheckOutcome,
        faces: &mut Faces,
        parameters: &Parameters,
        findings: &mut Findings,
    ) {
        if outcome == CheckOutcome::Match {
            return;
        }
        if faces.streak >= parameters.max_face_failures {
            faces.streak = 0;
            self.find(outcome.as_str(), findings);
        } else if outcome == CheckOutcome::Spoof && faces.spoofs() >= parameters.max_spoofs {
            self.find(outcome.as_str(), findings);
        }
    }

    /// No face matched in time.
    pub(crate) fn unverified(&mut self, findings: &mut Findings) {
        self.find("unverified", findings);
    }

    fn find(&mut self, cause: &str, findings: &mut Findings) {
        self.happened = true;
        findings.add_cause(Rule::FaceLiveness, cause);
    }
}

#[cfg(test)]
mod tests {
    use CheckOutcome::{Expired, Match, Mismatch, NoFace, Spoof};

    use super::super::tests::names;
    use super::*;
    use crate::policy::Policy;

    fn judged(carried_streak: i64, outcomes: &[CheckOutcome]) -> (Vec<String>, Faces) {
        let parameters = Policy::default().parameters;
        let (mut rule, mut findings) = (FaceLiveness::default(), Findings::default());
        let mut faces = Faces { streak: carried_streak, ..Faces::default() };
        for &outcome in outcomes {
            faces.checked(outcome, &parameters);
            rule.checked(outcome, &mut faces, &parameters, &mut findings);
        }
        (names(&findings), faces)
    }

    #[test]
    fn three_in_a_row_with_the_last_as_cause() {
        let (found, faces) = judged(0, &[NoFace, Mismatch, Match, NoFace, Mismatch, Expired, NoFace]);
        assert_eq!(found, ["face_liveness:expired"]);
        assert_eq!(faces.streak, 1);
        assert_eq!(judged(2, &[NoFace]).0, ["face_liveness:no_face"]);
        assert_eq!(judged(7, &[NoFace]).0, ["face_liveness:no_face"]);
    }

    #[test]
    fn two_spoofs_among_the_last_eight() {
        assert_eq!(judged(0, &[Spoof, Match, Spoof, Match]).0, ["face_liveness:spoof"]);
        assert!(judged(0, &[Spoof, Match, Match, Match, Match, Match, Match, Match, Spoof]).0.is_empty());
        // The third in a row is also the third spoof: one finding, not two.
        assert_eq!(judged(0, &[Spoof, NoFace, Spoof]).0, ["face_liveness:spoof"]);
    }
}
