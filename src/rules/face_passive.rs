//! `face_passive`: passive models took the learner's photos for prints or screens, on the average of several scores.
//!
//! Clause (ours, integrity of the evidence): 确保培训过程有记录、可查询、可追溯 (福建八条措施 三). Such models are weak, so the
//! rule can only put a session before a supervisor; packs that say more are refused.

use super::{Findings, Rule};
use crate::policy::Parameters;
use crate::session::Faces;

/// Judges the closing. Scores that were judged are used up.
pub(crate) fn closed(faces: &mut Faces, parameters: &Parameters, findings: &mut Findings) {
    if faces.passive_scores < parameters.passive_scores_least {
        return;
    }
    if faces.passive_sum_milli >= parameters.passive_limit_milli.saturating_mul(faces.passive_scores) {
        findings.add(Rule::FacePassive);
    }
    (faces.passive_scores, faces.passive_sum_milli) = (0, 0);
}

#[cfg(test)]
mod tests {
    use super::super::tests::names;
    use super::*;
    use crate::policy::Policy;

    /// What is found with these scores, and how many are left for the next session.
    fn judged(scores: &[i64]) -> (Vec<String>, i64) {
        let (mut faces, mut findings) = (Faces::default(), Findings::default());
        scores.iter().for_each(|score| faces.scored(*score));
        closed(&mut faces, &Policy::default().parameters, &mut findings);
        (names(&findings), faces.passive_scores)
    }

    #[test]
    fn the_mean_of_three_decides() {
        assert_eq!(judged(&[1000, 1000, 400]), (vec!["face_passive".to_owned()], 0));
        assert_eq!(judged(&[1000, 1000, 399]), (vec![], 0));
        assert_eq!(judged(&[]), (vec![], 0));
    }

    #[test]
    fn too_few_wait_for_more() {
        assert_eq!(judged(&[1000, 1000]), (vec![], 2));
    }

    #[test]
    fn a_score_counts_as_far_as_scores_go() {
        assert_eq!(judged(&[i64::MAX, i64::MAX, 399]), (vec![], 0));
        assert_eq!(judged(&[i64::MIN, 1000, 1000]), (vec![], 0));
    }
}
