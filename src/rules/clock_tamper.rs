//! `clock_tamper`: the client's clock runs ahead of the server's.
//!
//! Clause (ours, integrity of the evidence): 确保培训过程有记录、可查询、可追溯 (福建八条措施 三).

use serde::{Deserialize, Serialize};

use super::{Findings, Rule};
use crate::policy::Parameters;

/// Whether the present connection has been counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockTamper {
    counted: bool,
}

impl ClockTamper {
    /// A new connection starts anew.
    pub(crate) fn connected(&mut self) {
        self.counted = false;
    }

    /// Judges how far the client's clock is ahead.
    pub(crate) fn lead(&mut self, lead_ms: i64, parameters: &Parameters, findings: &mut Findings) {
        if lead_ms > parameters.clock_lead_ms && !self.counted {
            self.counted = true;
            findings.add(Rule::ClockTamper);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::names;
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn once_a_connection() {
        let (mut rule, mut findings) = (ClockTamper::default(), Findings::default());
        let parameters = Policy::default().parameters;
        [3_000, 3_001, 9_000].iter().for_each(|&lead| rule.lead(lead, &parameters, &mut findings));
        assert_eq!(names(&findings), ["clock_tamper"]);
        rule.connected();
        rule.lead(3_001, &parameters, &mut findings);
        assert_eq!(findings.listed.len(), 2);
    }
}
