//! `client_tamper`: the page noticed that somebody meddles with it.
//!
//! Clause (ours, integrity of the evidence): 确保培训过程有记录、可查询、可追溯 (福建八条措施 三).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Findings, Rule};
use crate::session::Id;

/// How many kinds of meddling are remembered; a page knows a dozen. Beyond, further kinds are not counted, and no verdict
/// would list them.
const MAX_KINDS: usize = 1024;

/// Which kinds of meddling have been counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTamper {
    counted: BTreeSet<Id>,
}

impl ClientTamper {
    /// Judges a report.
    pub(crate) fn noticed(&mut self, what: &str, findings: &mut Findings) {
        if self.counted.len() < MAX_KINDS && self.counted.insert(Id::of(what)) {
            findings.add_cause(Rule::ClientTamper, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::names;
    use super::*;

    #[test]
    fn once_a_kind() {
        let (mut rule, mut findings) = (ClientTamper::default(), Findings::default());
        ["a", "b", "a"].iter().for_each(|what| rule.noticed(what, &mut findings));
        assert_eq!(names(&findings), ["client_tamper:a", "client_tamper:b"]);
    }
}
