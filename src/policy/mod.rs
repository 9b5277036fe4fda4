//! Packs: what the numbers are, what a violation does, which clause it breaks, and from when until when.
//!
//! Provinces differ (40 % or 50 %, 40 or 45 minutes), so what differs is data. A pack that cannot mean what it says is
//! refused when it is read, so that the fold need not ask: with an accepted pack no log makes it overflow, divide by
//! zero or loop. A pack does not change how a rule works.

mod calendar;
mod enrolment;
mod pack;
mod packs;
mod parameters;
mod review;
mod risk;
#[cfg(test)]
mod tests;
mod whole;

use std::sync::LazyLock;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub use calendar::date_in_china;
pub use enrolment::{EnrolmentRule, EnrolmentRules, LimitPeriod, OnlineOnly, RepeatPeriod};
pub use pack::PolicyError;
pub use packs::{EMBEDDED, NotInForce, Policies, PoliciesError};
pub use parameters::{Parameters, Schedule};
pub use review::Review;
pub use risk::RiskThresholds;

use crate::log::words;
use crate::rules::Rule;

/// The embedded pack that is no document's, as text.
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

impl Clause {
    fn blank() -> Self {
        Self { source: String::new(), text: String::new() }
    }
}

/// A pack, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The pack's id.
    pub id: String,
    /// The pack's version; empty when it has none.
    pub version: String,
    /// The document's title; empty when the pack is no document's. So are the next three.
    pub title: String,
    /// Who issued the document.
    pub issuer: String,
    /// Its number (文号), or what it is called where it has none.
    pub document: String,
    /// Where it is in force: the first digits of a GB/T 2260 code (2, 4 or 6 of them), `000000` for the whole country,
    /// or `unknown` when the document does not say.
    pub region: String,
    /// The first day, in China, on which sessions are judged by it; none: always was.
    pub effective_from: Option<Date>,
    /// The last such day; none: it has no end yet.
    pub effective_until: Option<Date>,
    /// The whole pack as TOML, resting on nothing: as it was given, or, when that left something out, written out.
    pub text: String,
    /// SHA-256 of [`Self::text`], in hex.
    pub digest: String,
    /// The numbers of docs/rules.md, section 2.
    pub parameters: Parameters,
    /// When the server asks; the fold does not use it.
    pub schedule: Schedule,
    /// Who may be enrolled in what; the fold does not use it.
    pub enrolment: EnrolmentRules,
    /// When supervisors are warned; the fold does not use it.
    pub risk: RiskThresholds,
    /// Who looks at a session after its verdict; the fold does not use it.
    pub review: Review,
    /// By [`Rule`], in the order of [`Rule::ALL`].
    actions: [Action; Rule::ALL.len()],
    /// By [`Rule`], in the order of [`Rule::ALL`].
    clauses: [Clause; Rule::ALL.len()],
}

impl Default for Policy {
    fn default() -> Self {
        static DEFAULT: LazyLock<Policy> =
            LazyLock::new(|| pack::read_default(DEFAULT_PACK).expect("a test reads the embedded pack"));
        DEFAULT.clone()
    }
}

impl Policy {
    /// Reads a pack. What it leaves out is as in the default one; name, document and dates are not.
    ///
    /// # Errors
    /// When the text is not TOML, has an unknown key, or a value that makes no sense; the key is named.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let (policy, problems) = pack::read(text, Self::default());
        problems.into_iter().next().map_or(Ok(policy), Err)
    }

    /// Reads a pack as it was kept under `label`. Its text is what the label's digest was taken of, even if this
    /// release knows keys that it lacks.
    ///
    /// # Errors
    /// As for [`Self::from_toml`], or when the text is not the label's.
    pub fn kept(label: &str, text: &str) -> Result<Self, PolicyError> {
        let mut policy = Self::from_toml(text)?;
        policy.set_text(text.to_owned());
        let found = policy.label();
        if found == label { Ok(policy) } else { Err(PolicyError::Label { found, wanted: label.to_owned() }) }
    }

    /// Everything that is wrong with a pack that is to be served by; empty when nothing is.
    pub fn problems(text: &str) -> Vec<PolicyError> {
        let (policy, mut problems) = pack::read(text, Self::default());
        if problems.is_empty() {
            problems.extend(policy.check_schedule().err());
        }
        problems
    }

    /// The keys that the pack of a document must have and `text` has not; empty when it rests on nothing.
    ///
    /// # Errors
    /// When the text is not TOML.
    pub fn missing(text: &str) -> Result<Vec<String>, PolicyError> {
        Ok(whole::missing(&pack::parse(text)?, true))
    }

    /// Whether the schedule can keep the parameters, e.g. whether the latest prompt comes before the gap is too long. A
    /// pack that has no `[schedule]` may judge logs without that; a server must ask before it serves by it.
    ///
    /// # Errors
    /// When it cannot; the key is named.
    pub fn check_schedule(&self) -> Result<(), PolicyError> {
        pack::check_schedule(self)
    }

    /// What logs and verdicts call this pack: `id@version+digest`, so that a verdict names what it was judged by and
    /// nothing else; a pack without version is called by its id alone, and promises nothing.
    pub fn label(&self) -> String {
        if self.version.is_empty() { self.id.clone() } else { format!("{}+{}", self.name(), self.digest) }
    }

    /// Whether logs and verdicts call this pack so.
    pub fn has_label(&self, label: &str) -> bool {
        let rest = label.strip_prefix(self.id.as_str());
        if self.version.is_empty() {
            return rest == Some("");
        }
        let digest =
            rest.and_then(|rest| rest.strip_prefix('@')?.strip_prefix(self.version.as_str())?.strip_prefix('+'));
        digest == Some(self.digest.as_str())
    }

    /// `id@version`, or the id when there is no version: for people.
    pub fn name(&self) -> String {
        if self.version.is_empty() { self.id.clone() } else { format!("{}@{}", self.id, self.version) }
    }

    /// Whether sessions that are opened on this day are judged by it.
    pub fn is_in_force_on(&self, day: Date) -> bool {
        self.effective_from.is_none_or(|from| from <= day) && self.effective_until.is_none_or(|until| day <= until)
    }

    /// What a violation of `rule` does.
    pub fn action(&self, rule: Rule) -> Action {
        self.actions[rule as usize]
    }

    /// What `rule` rests on.
    pub fn clause(&self, rule: Rule) -> &Clause {
        &self.clauses[rule as usize]
    }

    /// The whole pack as a table, with all that it left out.
    pub fn to_table(&self) -> toml::Table {
        whole::table(self)
    }

    fn set_text(&mut self, text: String) {
        self.digest = hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
        self.text = text;
    }
}
