//! `course_order`: a lesson was opened before the ones that come first were complete.
//!
//! Clause: 专业课程学习不按内容先后顺序设置管理…视同培训无效 (宛技领办〔2022〕10号 20(3)).

use super::{Findings, Rule};
use crate::log::Facts;

/// Judges the facts of the opening.
pub(crate) fn opened(facts: &Facts, findings: &mut Findings) {
    if !facts.prior_lessons_complete {
        findings.add(Rule::CourseOrder);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good_facts, names};
    use super::*;

    #[test]
    fn it_is_found_at_the_opening() {
        let mut findings = Findings::default();
        opened(&Facts { prior_lessons_complete: false, ..good_facts() }, &mut findings);
        assert_eq!(names(&findings), ["course_order"]);
    }
}
