//! What a person's decision makes of a verdict (docs/rules.md, section 11). Pure: the engine's verdict and a decision in, the
//! decided verdict out, so that it can be derived again from log, pack and decision.

use serde::{Deserialize, Serialize};

use super::{Status, Verdict, hundredths};
use crate::log::Facts;
use crate::policy::Parameters;
use crate::rules::online_quota::within_quota_ms;

crate::log::words! {
    /// What a person decides about a session.
    Choice {
        Uphold = "uphold",
        Overturn = "overturn",
        NeedMore = "need_more",
    }
}

/// The decision that made a version of a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its identifier.
    pub id: String,
    /// The account, or API key, that decided.
    pub by: String,
    /// When, ms since the Unix epoch.
    pub at: i64,
    /// `uphold` or `overturn`.
    pub decision: Choice,
    /// Why, by its code.
    pub reason: String,
}

impl Verdict {
    /// The verdict that a decision makes of this one, the engine's own; `facts` and `parameters` are those by which it was judged.
    /// `None` for a decision that makes none.
    pub fn decided(&self, mark: Mark, facts: &Facts, parameters: &Parameters) -> Option<Self> {
        let status = match (mark.decision, self.status) {
            (Choice::Uphold, Status::Review) => Status::Invalid,
            (Choice::Uphold, status) => status,
            (Choice::Overturn, _) => Status::Valid,
            (Choice::NeedMore, _) => return None,
        };
        let credited_ms =
            if status == Status::Invalid { 0 } else { within_quota_ms(self.creditable_ms, facts, parameters) };
        let credited_hours = hundredths(credited_ms, parameters.class_hour_ms) as f64 / 100.0;
        Some(Self { status, credited_ms, credited_hours, decision: Some(mark), ..self.clone() })
    }
}
