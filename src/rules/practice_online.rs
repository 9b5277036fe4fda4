//! `practice_online`: a practice lesson was given online; only theory may be.
//!
//! Clause: 不超过总课时40%的理论学习部分依托目录清单内的互联网平台进行 (宛技领办〔2022〕10号 21).

use super::{Findings, Rule};
use crate::log::{Facts, LessonKind};

/// Judges the facts of the opening.
pub(crate) fn opened(facts: &Facts, findings: &mut Findings) {
    if facts.lesson_kind == LessonKind::Practice {
        findings.add(Rule::PracticeOnline);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good_facts, names};
    use super::*;

    #[test]
    fn it_is_found_at_the_opening() {
        let mut findings = Findings::default();
        opened(&Facts { lesson_kind: LessonKind::Practice, ..good_facts() }, &mut findings);
        assert_eq!(names(&findings), ["practice_online"]);
    }
}
