//! `face_unresolved`: the session ended while failed checks left a doubt. Nobody escapes a doubt by leaving.
//!
//! Clause (ours, integrity of the evidence): 确保培训过程有记录、可查询、可追溯 (福建八条措施 三).

use super::face_liveness::FaceLiveness;
use super::{Findings, Rule};
use crate::policy::Parameters;
use crate::session::Faces;

/// Judges the closing.
pub(crate) fn closed(faces: &Faces, liveness: &FaceLiveness, parameters: &Parameters, findings: &mut Findings) {
    let in_a_row = faces.streak >= parameters.max_face_failures - 1;
    let among_the_last = faces.failures() >= parameters.face_window_failures;
    if faces.failure_seen && !liveness.has_happened() && (in_a_row || among_the_last) {
        findings.add(Rule::FaceUnresolved);
    }
}

#[cfg(test)]
mod tests {
    use CheckOutcome::{Match, Mismatch, NoFace};

    use super::super::tests::names;
    use super::*;
    use crate::log::CheckOutcome;
    use crate::policy::Policy;

    fn judged(carried: &[CheckOutcome], outcomes: &[CheckOutcome]) -> Vec<String> {
        let parameters = Policy::default().parameters;
        let mut faces = Faces { history: carried.iter().copied().collect(), ..Faces::default() };
        outcomes.iter().for_each(|&outcome| faces.checked(outcome, &parameters));
        let mut findings = Findings::default();
        closed(&faces, &FaceLiveness::default(), &parameters, &mut findings);
        names(&findings)
    }

    #[test]
    fn two_in_a_row_or_three_of_the_last_eight_leave_a_doubt() {
        assert_eq!(judged(&[], &[Match, Mismatch, NoFace]), ["face_unresolved"]);
        assert_eq!(judged(&[NoFace, Mismatch], &[Match, NoFace, Match]), ["face_unresolved"]);
        assert!(judged(&[NoFace], &[Match, NoFace, Match]).is_empty());
    }

    #[test]
    fn a_doubt_of_earlier_sessions_alone_is_none_of_this_one() {
        assert!(judged(&[NoFace, NoFace, NoFace], &[Match]).is_empty());
    }

    #[test]
    fn what_has_been_found_needs_no_doubt() {
        let (mut liveness, mut findings) = (FaceLiveness::default(), Findings::default());
        liveness.unverified(&mut findings);
        let faces = Faces { streak: 2, failure_seen: true, ..Faces::default() };
        closed(&faces, &liveness, &Policy::default().parameters, &mut findings);
        assert_eq!(names(&findings), ["face_liveness:unverified"]);
    }
}
