//! The findings of a session, in the order of the verdict and in bounded space.

use serde::{Deserialize, Serialize};

use crate::policy::{Action, Policy};
use crate::rules::{Finding, Findings, Rule};

/// How many violations a verdict lists (docs/rules.md, section 9).
pub const MAX_LISTED: usize = 200;

/// A finding with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// When, ms since the Unix epoch.
    pub at: i64,
    /// The event that established it.
    pub n: u64,
}

/// What was found so far: the first ones that are not ignored, and how many of each rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violations {
    listed: Vec<Placed>,
    /// By [`Rule`], in the order of [`Rule::ALL`]; the ignored ones too.
    counts: [u64; Rule::ALL.len()],
}

impl Default for Violations {
    fn default() -> Self {
        Self { listed: Vec::new(), counts: [0; Rule::ALL.len()] }
    }
}

impl Violations {
    /// Takes over the findings of event `n`, which happened at `at`.
    pub fn record(&mut self, findings: Findings, at: i64, n: u64, policy: &Policy) {
        let Findings { mut listed, unlisted_photos } = findings;
        listed.sort_by(|a, b| (a.rule.as_str(), &a.cause).cmp(&(b.rule.as_str(), &b.cause)));
        for finding in listed {
            self.counts[finding.rule as usize] += 1;
            if self.listed.len() < MAX_LISTED && policy.action(finding.rule) != Action::Ignore {
                self.listed.push(Placed { finding, at, n });
            }
        }
        self.counts[Rule::PhotoMissing as usize] += unlisted_photos;
    }

    /// The first ones, as a verdict lists them.
    pub fn listed(&self) -> &[Placed] {
        &self.listed
    }

    /// How many there are, without the ignored.
    pub fn total(&self, policy: &Policy) -> u64 {
        let counted = Rule::ALL.iter().filter(|&&rule| policy.action(rule) != Action::Ignore);
        counted.map(|&rule| self.counts[rule as usize]).sum()
    }

    /// The rules that were broken, in the order of [`Rule::ALL`], without the ignored.
    pub fn broken<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = Rule> + 'a {
        let broken = |rule: &Rule| self.counts[*rule as usize] > 0 && policy.action(*rule) != Action::Ignore;
        Rule::ALL.iter().copied().filter(broken)
    }

    /// Whether any has this consequence.
    pub fn any(&self, action: Action, policy: &Policy) -> bool {
        Rule::ALL.iter().any(|&rule| self.counts[rule as usize] > 0 && policy.action(rule) == action)
    }
}
