//! `project_unapproved`: the project was not approved before it started.
//!
//! Clause: 培训机构…提交开班…申请，经当地人力资源社会保障部门审核后组织开展培训 (冀就办字〔2024〕2号 四(三)).

use super::{Findings, Rule};
use crate::log::Facts;

/// Judges the facts of the opening.
pub(crate) fn opened(facts: &Facts, findings: &mut Findings) {
    if !facts.project_approved {
        findings.add(Rule::ProjectUnapproved);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good_facts, names};
    use super::*;

    #[test]
    fn it_is_found_at_the_opening() {
        let mut findings = Findings::default();
        opened(&Facts { project_approved: false, ..good_facts() }, &mut findings);
        assert_eq!(names(&findings), ["project_unapproved"]);
    }
}
