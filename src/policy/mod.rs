//! Packs: what the numbers are, what a violation does, and which clause it breaks.
//!
//! Provinces differ (40 % or 50 %, 40 or 45 minutes), so what differs is data. A pack that cannot mean what it says is
//! refused when it is read, so that the fold need not ask: with an accepted pack no log makes it overflow, divide by
//! zero or loop. A pack does not change how a rule works.

mod pack;
mod parameters;
mod risk;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

pub use pack::PolicyError;
pub use parameters::{Parameters, Schedule};
pub use risk::RiskThresholds;

use crate::log::words;
use crate::rules::Rule;

/// The embedded pack, as text.
pub const DEFAULT_PACK: &str = include_str!("default.toml");

words! {
    /// What a violation does to the session.
    Action {
        Invalidate = "invalidate",
        Review = "review",
        Ignore = "ignore",
    }
}

/// What a rule rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// Document number and item; several are separated by a semicolon.
    pub source: String,
    /// The clause in the document's own words, shortened.
    pub text: String,
}

/// A pack, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The pack's id.
    pub id: String,
    /// The pack's version; empty when it has none.
    pub version: String,
    /// The numbers of docs/rules.md, section 2.
    pub parameters: Parameters,
    /// When the server asks; the fold does not use it.
    pub schedule: Schedule,
    /// When supervisors are warned; the fold does not use it.
    pub risk: RiskThresholds,
    /// By [`Rule`], in the order of [`Rule::ALL`].
    actions: [Action; Rule::ALL.len()],
    /// By [`Rule`], in the order of [`Rule::ALL`].
    clauses: [Clause; Rule::ALL.len()],
}

impl Default for Policy {
    fn default() -> Self {
        static DEFAULT: LazyLock<Policy> =
            LazyLock::new(|| pack::read_complete(DEFAULT_PACK).expect("a test reads the embedded pack"));
        DEFAULT.clone()
    }
}

impl Policy {
    /// Reads a pack. What it leaves out is as in the default one.
    ///
    /// # Errors
    /// When the text is not TOML, has an unknown key, or a value that makes no sense; the key is named.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        pack::read(text, Self::default())
    }

    /// Whether the schedule can keep the parameters, e.g. whether the latest prompt comes before the gap is too long. A
    /// pack that has no `[schedule]` may judge logs without that; a server must ask before it serves by it.
    ///
    /// # Errors
    /// When it cannot; the key is named.
    pub fn check_schedule(&self) -> Result<(), PolicyError> {
        pack::check_schedule(self)
    }

    /// What logs and verdicts call this pack: its id, with `@version` when it has one.
    pub fn label(&self) -> String {
        if self.version.is_empty() { self.id.clone() } else { format!("{}@{}", self.id, self.version) }
    }

    /// What a violation of `rule` does.
    pub fn action(&self, rule: Rule) -> Action {
        self.actions[rule as usize]
    }

    /// What `rule` rests on.
    pub fn clause(&self, rule: Rule) -> &Clause {
        &self.clauses[rule as usize]
    }
}
