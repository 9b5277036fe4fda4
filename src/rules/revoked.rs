//! `revoked`: the supervisor or the platform revoked the session while it ran.
//!
//! Clause (ours, integrity of the evidence): 确保培训过程有记录、可查询、可追溯 (福建八条措施 三).

use super::{Findings, Rule};
use crate::log::CloseReason;

/// Judges the closing.
pub(crate) fn closed(reason: CloseReason, findings: &mut Findings) {
    if reason == CloseReason::Revoked {
        findings.add(Rule::Revoked);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::names;
    use super::*;

    #[test]
    fn only_a_revocation_is_one() {
        let mut findings = Findings::default();
        CloseReason::ALL.iter().for_each(|&reason| closed(reason, &mut findings));
        assert_eq!(names(&findings), ["revoked"]);
    }
}
