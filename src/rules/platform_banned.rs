//! `platform_banned`: the platform is banned from subsidised training.
//!
//! Clause: 对违反规定的平台，自违规之日起两年内不得参与补贴培训 (宛技领办〔2022〕10号 20(3)).

use super::{Findings, Rule};
use crate::log::{Facts, PlatformStatus};

/// Judges the facts of the opening.
pub(crate) fn opened(facts: &Facts, findings: &mut Findings) {
    if facts.platform_status == PlatformStatus::Banned {
        findings.add(Rule::PlatformBanned);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good_facts, names};
    use super::*;

    #[test]
    fn it_is_found_at_the_opening() {
        let mut findings = Findings::default();
        opened(&Facts { platform_status: PlatformStatus::Banned, ..good_facts() }, &mut findings);
        assert_eq!(names(&findings), ["platform_banned"]);
    }
}
