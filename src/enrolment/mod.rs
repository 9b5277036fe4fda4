//! Who may be enrolled in what, and which plans may be approved (docs/rules.md, section 10).
//!
//! Pure: facts and the rules of a pack in, refusals out. The facts are gathered elsewhere, in the transaction that would
//! store the enrolment, so that what is judged is what is stored.

mod application;
mod plan;

pub use application::{Application, Training};
pub use plan::{Certificate, Plan};

use crate::policy::{EnrolmentRule, EnrolmentRules};

/// What a rule forbids, and why this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule.
    pub rule: EnrolmentRule,
    /// What it is about, for whoever can do something about it.
    pub detail: String,
}

impl Refusal {
    fn new(rule: EnrolmentRule, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into() }
    }

    /// The rule's clause as it is cited: where it stands, and its words.
    pub fn clause(&self, rules: &EnrolmentRules) -> String {
        let clause = rules.clause(self.rule);
        format!("{}：{}", clause.source, clause.text)
    }
}
