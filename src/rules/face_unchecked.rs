//! `face_unchecked`: nobody can say whether the learner was there, and not by the learner's doing alone.
//!
//! Clause (ours, integrity of the evidence): 确保培训过程有记录、可查询、可追溯 (福建八条措施 三).
//!
//! It stands in for `face_liveness` with cause `unverified` when the engine could not check, for a session that ends
//! without a match, and for `photo_missing` when the engine or the shortness of the session is to blame. It and
//! `unverified` share one flag: once one of them has happened in a session, neither happens again.

use serde::{Deserialize, Serialize};

use super::face_liveness::FaceLiveness;
use super::{Findings, Rule};
use crate::policy::Parameters;
use crate::session::Faces;

/// Whether this or `unverified` has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaceUnchecked {
    settled: bool,
}

impl FaceUnchecked {
    /// Judges, after watching time was added, whether a face should have matched by now.
    pub(crate) fn credited(
        &mut self,
        faces: &Faces,
        capture_pending: bool,
        parameters: &Parameters,
        liveness: &mut FaceLiveness,
        findings: &mut Findings,
    ) {
        let overdue = !faces.verified && faces.unverified_ms >= parameters.start_verify_ms;
        if !overdue || capture_pending || self.settled {
            return;
        }
        if faces.error_seen {
            self.find(findings);
        } else {
            self.settled = true;
            liveness.unverified(findings);
        }
    }

    /// Judges a session that ends without a match.
    pub(crate) fn closed(&mut self, faces: &Faces, watch_ms: i64, parameters: &Parameters, findings: &mut Findings) {
        if !faces.verified && watch_ms >= parameters.short_session_ms {
            self.find(findings);
        }
    }

    /// Adds the finding, unless the matter is settled.
    pub(crate) fn find(&mut self, findings: &mut Findings) {
        if !std::mem::replace(&mut self.settled, true) {
            findings.add(Rule::FaceUnchecked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::names;
    use super::*;
    use crate::policy::Policy;

    fn judged(faces: &Faces, capture_pending: bool) -> Vec<String> {
        let parameters = Policy::default().parameters;
        let (mut rule, mut findings) = (FaceUnchecked::default(), Findings::default());
        for _ in 0..2 {
            rule.credited(faces, capture_pending, &parameters, &mut FaceLiveness::default(), &mut findings);
        }
        rule.closed(faces, 60_000, &parameters, &mut findings);
        names(&findings)
    }

    #[test]
    fn three_minutes_without_a_match() {
        let faces = Faces { unverified_ms: 180_000, ..Faces::default() };
        assert_eq!(judged(&faces, false), ["face_liveness:unverified"]);
        assert_eq!(judged(&faces, true), ["face_unchecked"]);
        assert_eq!(judged(&Faces { error_seen: true, ..faces.clone() }, false), ["face_unchecked"]);
        assert_eq!(judged(&Faces { unverified_ms: 179_999, ..faces.clone() }, false), ["face_unchecked"]);
        assert!(judged(&Faces { verified: true, ..faces }, false).is_empty());
    }

    #[test]
    fn a_short_session_need_not_match() {
        let (mut rule, mut findings) = (FaceUnchecked::default(), Findings::default());
        rule.closed(&Faces::default(), 59_999, &Policy::default().parameters, &mut findings);
        assert!(findings.is_empty());
    }
}
