//! `platform_unregistered`: the platform is not in the supervised system.
//!
//! Clause: 对未纳入监管系统的互联网平台组织的培训结果不予认可 (宛技领办〔2022〕10号 20(3)).

use super::{Findings, Rule};
use crate::log::{Facts, PlatformStatus};

/// Judges the facts of the opening.
pub(crate) fn opened(facts: &Facts, findings: &mut Findings) {
    if facts.platform_status == PlatformStatus::Unregistered {
        findings.add(Rule::PlatformUnregistered);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good_facts, names};
    use super::*;

    #[test]
    fn it_is_found_at_the_opening() {
        let mut findings = Findings::default();
        opened(&Facts { platform_status: PlatformStatus::Unregistered, ..good_facts() }, &mut findings);
        assert_eq!(names(&findings), ["platform_unregistered"]);
    }
}
