//! The packs of an installation: which is in force when, and which a log names.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;

use super::{DEFAULT_PACK, Policy, PolicyError, date_in_china};

/// The packs that every installation knows, as text: the default one, and one a document.
pub const EMBEDDED: &[&str] = &[
    DEFAULT_PACK,
    include_str!("packs/henan-2022.toml"),
    include_str!("packs/fujian-2024.toml"),
    include_str!("packs/hebei-2024.toml"),
    include_str!("packs/national-2021.toml"),
    include_str!("packs/city-2019.toml"),
];

/// Why packs cannot be served by together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoliciesError {
    /// An embedded pack cannot be read.
    #[error(transparent)]
    Unreadable(#[from] PolicyError),
    /// One name, two meanings.
    #[error("two packs are called {0} and are not the same: give the newer one another version")]
    SameName(String),
    /// Two versions of a pack come into force on the same day.
    #[error("{first} and {second} come into force on the same day: which of them judges is not clear")]
    SameDay {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

/// Why no pack of an id can judge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInForce {
    /// There is none of this id.
    #[error("no policy pack is called {0}")]
    Unknown(String),
    /// None of its versions is in force.
    #[error("policy pack {id} is not in force on {day}: {spans}")]
    Dated {
        /// The pack's id.
        id: String,
        /// The day, in China.
        day: Date,
        /// From when until when each version is.
        spans: String,
    },
}

/// The policy packs of an installation.
#[derive(Clone, Debug)]
pub struct Policies {
    /// By id; the versions of one in the order in which they come into force.
    by_id: BTreeMap<String, Vec<Arc<Policy>>>,
    /// Under which sessions were opened; by label. Those that are not configured any more judge these sessions still.
    kept: BTreeMap<String, Arc<Policy>>,
}

impl Policies {
    /// The embedded packs and `more`.
    ///
    /// # Errors
    /// When it is not clear which of them a name or a day means.
    pub fn new(more: Vec<Policy>) -> Result<Self, PoliciesError> {
        let embedded: Vec<Policy> = EMBEDDED.iter().map(|text| embedded(text)).collect::<Result<_, _>>()?;
        let mut by_id: BTreeMap<String, Vec<Arc<Policy>>> = BTreeMap::new();
        for policy in embedded.into_iter().chain(more) {
            let versions = by_id.entry(policy.id.clone()).or_default();
            if let Some(known) = versions.iter().find(|known| known.version == policy.version) {
                if known.text != policy.text {
                    return Err(PoliciesError::SameName(policy.name()));
                }
                continue;
            }
            if let Some(other) = versions.iter().find(|other| other.effective_from == policy.effective_from) {
                return Err(PoliciesError::SameDay { first: other.name(), second: policy.name() });
            }
            versions.push(Arc::new(policy));
            versions.sort_by_key(|version| version.effective_from);
        }
        Ok(Self { by_id, kept: BTreeMap::new() })
    }

    /// Adds a pack that was kept of an earlier configuration, under its label.
    ///
    /// # Errors
    /// When the text cannot be read or is not the label's.
    pub fn keep(&mut self, label: &str, text: &str) -> Result<(), PolicyError> {
        self.kept.insert(label.to_owned(), Arc::new(Policy::kept(label, text)?));
        Ok(())
    }

    /// The version of a pack that judges sessions opened at `at_ms` (ms since the Unix epoch): of those in force on that
    /// day in China the one that came into force last.
    ///
    /// # Errors
    /// When there is none.
    pub fn in_force(&self, id: &str, at_ms: i64) -> Result<&Arc<Policy>, NotInForce> {
        self.in_force_on(id, date_in_china(at_ms))
    }

    /// As [`Self::in_force`], on a day in China.
    ///
    /// # Errors
    /// When there is none.
    pub fn in_force_on(&self, id: &str, day: Date) -> Result<&Arc<Policy>, NotInForce> {
        let versions = self.by_id.get(id).ok_or_else(|| NotInForce::Unknown(id.to_owned()))?;
        let found = versions.iter().rev().find(|version| version.is_in_force_on(day));
        found.ok_or_else(|| NotInForce::Dated {
            id: id.to_owned(),
            day,
            spans: versions.iter().map(|version| span(version)).collect::<Vec<_>>().join("; "),
        })
    }

    /// The identifiers, that of the default pack first.
    pub fn names(&self) -> Arc<[String]> {
        let default = Policy::default().id;
        let mut names: Vec<String> = self.by_id.keys().cloned().collect();
        names.sort_by_key(|name| *name != default);
        names.into()
    }

    /// All configured versions of all packs: by id, then as they come into force.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.by_id.values().flatten()
    }

    /// The configured pack that people mean by `id` or `id@version`: without a version the one in force on `day`, or
    /// else the last.
    pub fn find(&self, name: &str, day: Date) -> Option<&Arc<Policy>> {
        match name.split_once('@') {
            Some((id, version)) => self.by_id.get(id)?.iter().find(|policy| policy.version == version),
            None => self.in_force_on(name, day).ok().or_else(|| self.by_id.get(name)?.last()),
        }
    }

    /// The pack that a log names. A label without digest, as earlier releases wrote it, means the configured version.
    pub fn by_label(&self, label: &str) -> Option<&Arc<Policy>> {
        let configured = self.all().find(|policy| policy.has_label(label));
        let named = || self.all().find(|policy| policy.name() == label);
        configured.or_else(|| self.kept.get(label)).or_else(named)
    }
}

fn embedded(text: &str) -> Result<Policy, PolicyError> {
    if text == DEFAULT_PACK { Ok(Policy::default()) } else { Policy::from_toml(text) }
}

fn span(policy: &Policy) -> String {
    let version = if policy.version.is_empty() { "it is".to_owned() } else { format!("version {} is", policy.version) };
    let from = policy.effective_from.map(|day| format!(" from {day}")).unwrap_or_default();
    let until = policy.effective_until.map(|day| format!(" until {day}")).unwrap_or_default();
    format!("{version}{from}{until}")
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::policy::Action;
    use crate::rules::Rule;

    fn pack(text: &str) -> Policy {
        Policy::from_toml(text).unwrap()
    }

    fn policies(texts: &[&str]) -> Result<Policies, PoliciesError> {
        Policies::new(texts.iter().map(|text| pack(text)).collect())
    }

    #[test]
    fn the_pack_of_a_document_rests_on_nothing() {
        for text in EMBEDDED.iter().filter(|text| **text != DEFAULT_PACK) {
            let policy = pack(text);
            assert_eq!(Policy::missing(text).unwrap(), Vec::<String>::new(), "{}", policy.id);
            assert_eq!(Policy::problems(text), [], "{}", policy.id);
            assert_eq!(policy.text, **text, "its digest is that of the file");
        }
        let lacking = EMBEDDED[1].replace("cooldown_months", "# cooldown_months");
        assert_eq!(Policy::missing(&lacking).unwrap(), ["enrolment.cooldown_months"]);
    }

    #[test]
    fn no_document_makes_a_machine_decide_what_it_does_not_name() {
        // 视同培训无效 stands in one document only.
        let policies = policies(&[]).unwrap();
        let named = [
            Rule::FastForward,
            Rule::MultiWindow,
            Rule::PromptGap,
            Rule::FaceLiveness,
            Rule::CourseOrder,
            Rule::PhotoMissing,
        ];
        for policy in policies.all().filter(|policy| !policy.document.is_empty()) {
            for rule in named {
                let invalidates = policy.action(rule) == Action::Invalidate;
                assert_eq!(invalidates, policy.id == "henan-2022", "{} {rule}", policy.id);
            }
            for rule in Rule::ALL.iter().filter(|rule| policy.clause(**rule).text == "（未规定）") {
                assert_eq!(policy.action(*rule), Action::Ignore, "{} {rule}", policy.id);
            }
        }
    }

    #[test]
    fn a_document_judges_on_its_days_only() {
        let policies = policies(&[]).unwrap();
        // 2021-12-31 24:00 in China.
        let end_ms = 1_640_966_400_000;
        assert_eq!(policies.in_force("city-2019", end_ms - 1).unwrap().name(), "city-2019@1");
        let refused = policies.in_force("city-2019", end_ms).unwrap_err().to_string();
        let expected = "policy pack city-2019 is not in force on 2022-01-01: \
                        version 1 is from 2019-01-01 until 2021-12-31";
        assert_eq!(refused, expected);
        assert!(policies.in_force_on("henan-2022", date(2022, 3, 27)).is_err());
        assert!(policies.in_force_on("henan-2022", date(2022, 3, 28)).is_ok());
        assert!(policies.in_force_on("default", date(1970, 1, 1)).is_ok());
        assert_eq!(policies.in_force_on("x", date(2024, 1, 1)).unwrap_err(), NotInForce::Unknown("x".to_owned()));
        assert_eq!(policies.names()[..2], ["default", "city-2019"]);
    }

    #[test]
    fn of_several_versions_the_latest_in_force_judges() {
        let a = "id = \"p\"\nversion = \"a\"\neffective_from = 2024-01-01";
        let b = "id = \"p\"\nversion = \"b\"\neffective_from = 2025-01-01\neffective_until = 2025-06-30";
        let policies = policies(&[b, a]).unwrap();
        let on = |day| policies.in_force_on("p", day).unwrap().version.clone();
        assert_eq!(on(date(2024, 12, 31)), "a");
        assert_eq!(on(date(2025, 1, 1)), "b");
        assert_eq!(on(date(2025, 6, 30)), "b");
        // An amendment that ends leaves the earlier version, which never ended.
        assert_eq!(on(date(2025, 7, 1)), "a");
        let find = |name| policies.find(name, date(2025, 2, 1)).map(|policy| policy.version.as_str());
        assert_eq!((find("p"), find("p@a"), find("p@c"), find("q")), (Some("b"), Some("a"), None, None));
        assert_eq!(policies.find("city-2019", date(2026, 1, 1)).unwrap().version, "1");
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let a = "id = \"p\"\nversion = \"a\"\neffective_from = 2024-01-01";
        assert!(policies(&[a, a]).is_ok());
        let changed = format!("{a}\nclass_hour_ms = 2_700_000");
        assert_eq!(policies(&[a, &changed]).unwrap_err(), PoliciesError::SameName("p@a".to_owned()));
        let b = a.replace("\"a\"", "\"b\"");
        let same_day = PoliciesError::SameDay { first: "p@a".to_owned(), second: "p@b".to_owned() };
        assert_eq!(policies(&[a, &b]).unwrap_err(), same_day);
        let default = "id = \"default\"\nclass_hour_ms = 2_700_000";
        assert_eq!(policies(&[default]).unwrap_err(), PoliciesError::SameName("default".to_owned()));
    }

    #[test]
    fn a_log_finds_its_pack_though_it_is_not_configured_any_more() {
        let a = "id = \"p\"\nversion = \"1\"\nclass_hour_ms = 2_700_000";
        let old = pack(a);
        let mut policies = policies(&["id = \"p\"\nversion = \"2\""]).unwrap();
        assert!(policies.by_label(&old.label()).is_none());
        policies.keep(&old.label(), &old.text).unwrap();
        assert_eq!(**policies.by_label(&old.label()).unwrap(), old);
        for pack in policies.all().cloned().collect::<Vec<_>>() {
            assert_eq!(policies.by_label(&pack.label()), Some(&pack));
            assert!(pack.has_label(&pack.label()) && !pack.has_label(&format!("{}x", pack.label())));
            assert_eq!(pack.has_label(&pack.name()), pack.version.is_empty());
        }
        assert_eq!(policies.find("p", date(2026, 1, 1)).unwrap().version, "2", "but judges nothing new");
        // Logs of earlier releases name a version without a digest.
        assert_eq!(policies.by_label("p@2").unwrap().version, "2");
        assert!(policies.by_label("p@1").is_none());
    }

    #[test]
    fn a_text_that_is_not_its_labels_is_refused() {
        let old = pack("id = \"p\"\nversion = \"1\"");
        let other = old.text.replace("class_hour_ms = 2400000", "class_hour_ms = 2400001");
        assert_ne!(other, old.text);
        assert!(matches!(Policy::kept(&old.label(), &other), Err(PolicyError::Label { .. })));
        // A later release may know more keys: the text is still what it was.
        let lacking = "id = \"p\"\nversion = \"1\"\n";
        let digest = ring::digest::digest(&ring::digest::SHA256, lacking.as_bytes());
        let label = format!("p@1+{}", hex::encode(digest));
        assert_eq!(Policy::kept(&label, lacking).unwrap().label(), label);
    }
}
