//! `content_unapproved`: the film was not approved.
//!
//! Clause: 新增培训视频资料须报…审核同意 (宛技领办〔2022〕10号 20(3)).

use super::{Findings, Rule};
use crate::log::Facts;

/// Judges the facts of the opening.
pub(crate) fn opened(facts: &Facts, findings: &mut Findings) {
    if !facts.content_approved {
        findings.add(Rule::ContentUnapproved);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good_facts, names};
    use super::*;

    #[test]
    fn it_is_found_at_the_opening() {
        let mut findings = Findings::default();
        opened(&Facts { content_approved: false, ..good_facts() }, &mut findings);
        assert_eq!(names(&findings), ["content_unapproved"]);
    }
}
