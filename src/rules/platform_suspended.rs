//! `platform_suspended`: the office has suspended the platform.
//!
//! Clause: 根据情形及时中止培训活动 (福建八条措施 五).

use super::{Findings, Rule};
use crate::log::{Facts, PlatformStatus};

/// Judges the facts of the opening.
pub(crate) fn opened(facts: &Facts, findings: &mut Findings) {
    if facts.platform_status == PlatformStatus::Suspended {
        findings.add(Rule::PlatformSuspended);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good_facts, names};
    use super::*;

    #[test]
    fn it_is_found_at_the_opening() {
        let mut findings = Findings::default();
        opened(&Facts { platform_status: PlatformStatus::Suspended, ..good_facts() }, &mut findings);
        assert_eq!(names(&findings), ["platform_suspended"]);
    }
}
