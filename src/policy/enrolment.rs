//! Who may be enrolled in what (docs/rules.md, section 10): the numbers, and the clause of each rule.
//!
//! Nothing is decided here. The numbers say what a document allows; whoever enrols a learner or approves a project asks
//! for them, and names rule and clause when it refuses.

use std::ops::RangeInclusive;

use super::Clause;
use crate::log::words;

words! {
    /// The rules about enrolments, by the names that refusals and packs use.
    EnrolmentRule {
        ReenrolmentCooldown = "reenrolment_cooldown",
        SubsidyLimit = "subsidy_limit",
        RepeatOccupation = "repeat_occupation",
        PlatformBanned = "platform_banned",
        PlatformSuspended = "platform_suspended",
        PlatformUnregistered = "platform_unregistered",
        ProjectUnapproved = "project_unapproved",
        ClassSize = "class_size",
        PracticeShare = "practice_share",
        OnlineShare = "online_share",
        OnlineOnlyUnlisted = "online_only_unlisted",
        ClassHourLength = "class_hour_length",
        TotalHours = "total_hours",
        TeacherRatio = "teacher_ratio",
        BenchRatio = "bench_ratio",
    }

    /// Within what time subsidised trainings are counted.
    LimitPeriod {
        Lifetime = "lifetime",
        Year = "year",
    }

    /// Within what time the same occupation and level may not be subsidised again.
    RepeatPeriod {
        Lifetime = "lifetime",
        Year = "year",
        None = "none",
    }

    /// Which occupations may be trained online only.
    OnlineOnly {
        Any = "any",
        Listed = "listed",
    }
}

/// What a pack says about enrolments. Of a number, 0 means that the document sets none, and its rule does not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentRules {
    /// Whole calendar months from the assessment of the last subsidised project to the next enrolment; with 0 the last
    /// project need not even be assessed.
    pub cooldown_months: i64,
    /// Subsidised trainings of one learner within [`Self::subsidy_limit_period`].
    pub subsidy_limit: i64,
    /// Ever, or in a calendar year.
    pub subsidy_limit_period: LimitPeriod,
    /// Within what time occupation and level may not repeat.
    pub repeat_occupation_period: RepeatPeriod,
    /// Learners in one class.
    pub class_size_limit: i64,
    /// Least share of practice in the planned hours, thousandths.
    pub practice_share_min_milli: i64,
    /// Greatest share of online hours in the planned hours, thousandths.
    pub online_share_max_milli: i64,
    /// Whether every occupation may be trained online only, or those of the list.
    pub online_only: OnlineOnly,
    /// The list; when it counts and is empty, no occupation may.
    pub online_only_occupations: Vec<String>,
    /// Shortest class hour, ms.
    pub class_hour_min_ms: i64,
    /// Least class hours of a project that ends with a certificate of completion (培训合格证书); no other.
    pub total_hours_min: i64,
    /// Learners for each teacher of a class.
    pub learners_per_teacher_max: i64,
    /// Learners for each bench of a class.
    pub learners_per_bench_max: i64,
    /// How long a platform stays banned, calendar years from the day of the violation.
    pub ban_years: i64,
    /// By [`EnrolmentRule`], in the order of [`EnrolmentRule::ALL`].
    clauses: [Clause; EnrolmentRule::ALL.len()],
}

/// A number of people or hours; no document comes near.
const COUNT: RangeInclusive<i64> = 0..=100_000;
const SHARE: RangeInclusive<i64> = 0..=1_000;
/// A day is longer than any class hour.
const LENGTH_MS: RangeInclusive<i64> = 0..=86_400_000;

impl EnrolmentRules {
    /// The names of the numbers.
    pub const NUMBERS: &'static [&'static str] = &[
        "cooldown_months",
        "subsidy_limit",
        "class_size_limit",
        "practice_share_min_milli",
        "online_share_max_milli",
        "class_hour_min_ms",
        "total_hours_min",
        "learners_per_teacher_max",
        "learners_per_bench_max",
        "ban_years",
    ];
    /// The names of the words.
    pub const WORDS: &'static [&'static str] = &["subsidy_limit_period", "repeat_occupation_period", "online_only"];
    /// The name of the list.
    pub const LIST: &'static str = "online_only_occupations";

    /// Rules of no document: nothing is limited.
    pub(super) fn blank() -> Self {
        Self {
            cooldown_months: 0,
            subsidy_limit: 0,
            subsidy_limit_period: LimitPeriod::Lifetime,
            repeat_occupation_period: RepeatPeriod::None,
            class_size_limit: 0,
            practice_share_min_milli: 0,
            online_share_max_milli: 0,
            online_only: OnlineOnly::Any,
            online_only_occupations: Vec::new(),
            class_hour_min_ms: 0,
            total_hours_min: 0,
            learners_per_teacher_max: 0,
            learners_per_bench_max: 0,
            ban_years: 0,
            clauses: std::array::from_fn(|_| Clause::blank()),
        }
    }

    /// The place of a number and what it may be.
    pub(super) fn entry(&mut self, key: &str) -> Option<(&mut i64, RangeInclusive<i64>)> {
        Some(match key {
            "cooldown_months" => (&mut self.cooldown_months, 0..=1_200),
            "subsidy_limit" => (&mut self.subsidy_limit, COUNT),
            "class_size_limit" => (&mut self.class_size_limit, COUNT),
            "practice_share_min_milli" => (&mut self.practice_share_min_milli, SHARE),
            "online_share_max_milli" => (&mut self.online_share_max_milli, SHARE),
            "class_hour_min_ms" => (&mut self.class_hour_min_ms, LENGTH_MS),
            "total_hours_min" => (&mut self.total_hours_min, COUNT),
            "learners_per_teacher_max" => (&mut self.learners_per_teacher_max, COUNT),
            "learners_per_bench_max" => (&mut self.learners_per_bench_max, COUNT),
            "ban_years" => (&mut self.ban_years, 0..=100),
            _ => return None,
        })
    }

    /// Sets a word; the words that it may be, when it is none of them.
    pub(super) fn set_word(&mut self, key: &str, word: &str) -> Result<(), String> {
        fn known<T: Copy>(found: Option<T>, all: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
            let quoted = all.iter().map(|&one| format!("\"{}\"", name(one)));
            found.ok_or_else(|| format!("must be {}", quoted.collect::<Vec<_>>().join(" or ")))
        }
        match key {
            "subsidy_limit_period" => {
                self.subsidy_limit_period = known(LimitPeriod::from_word(word), LimitPeriod::ALL, LimitPeriod::as_str)?;
            }
            "repeat_occupation_period" => {
                self.repeat_occupation_period =
                    known(RepeatPeriod::from_word(word), RepeatPeriod::ALL, RepeatPeriod::as_str)?;
            }
            _ => self.online_only = known(OnlineOnly::from_word(word), OnlineOnly::ALL, OnlineOnly::as_str)?,
        }
        Ok(())
    }

    /// The numbers, by key, in the order of [`Self::NUMBERS`].
    pub(super) fn numbers(&self) -> [(&'static str, i64); Self::NUMBERS.len()] {
        let mut rules = self.clone();
        std::array::from_fn(|index| {
            let key = Self::NUMBERS[index];
            (key, rules.entry(key).map_or(0, |(number, _)| *number))
        })
    }

    /// The words, by key.
    pub(super) fn words(&self) -> [(&'static str, &'static str); 3] {
        [
            ("subsidy_limit_period", self.subsidy_limit_period.as_str()),
            ("repeat_occupation_period", self.repeat_occupation_period.as_str()),
            ("online_only", self.online_only.as_str()),
        ]
    }

    /// What a rule rests on.
    pub fn clause(&self, rule: EnrolmentRule) -> &Clause {
        &self.clauses[rule as usize]
    }

    /// In the order of [`EnrolmentRule::ALL`].
    pub(super) fn clauses_mut(&mut self) -> &mut [Clause] {
        &mut self.clauses
    }

    /// Whether this occupation may be trained online only.
    pub fn may_be_online_only(&self, occupation: &str) -> bool {
        match self.online_only {
            OnlineOnly::Any => true,
            OnlineOnly::Listed => self.online_only_occupations.iter().any(|listed| listed == occupation),
        }
    }

    /// Whether the pack sets a limit that this rule could find exceeded. What a platform or project may not be holds
    /// everywhere.
    pub fn applies(&self, rule: EnrolmentRule) -> bool {
        match rule {
            EnrolmentRule::ReenrolmentCooldown => self.cooldown_months > 0,
            EnrolmentRule::SubsidyLimit => self.subsidy_limit > 0,
            EnrolmentRule::RepeatOccupation => self.repeat_occupation_period != RepeatPeriod::None,
            EnrolmentRule::ClassSize => self.class_size_limit > 0,
            EnrolmentRule::PracticeShare => self.practice_share_min_milli > 0,
            EnrolmentRule::OnlineShare => self.online_share_max_milli > 0,
            EnrolmentRule::OnlineOnlyUnlisted => self.online_only == OnlineOnly::Listed,
            EnrolmentRule::ClassHourLength => self.class_hour_min_ms > 0,
            EnrolmentRule::TotalHours => self.total_hours_min > 0,
            EnrolmentRule::TeacherRatio => self.learners_per_teacher_max > 0,
            EnrolmentRule::BenchRatio => self.learners_per_bench_max > 0,
            EnrolmentRule::PlatformBanned
            | EnrolmentRule::PlatformSuspended
            | EnrolmentRule::PlatformUnregistered
            | EnrolmentRule::ProjectUnapproved => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn every_number_has_a_place() {
        let mut rules = EnrolmentRules::blank();
        for key in EnrolmentRules::NUMBERS {
            let (slot, range) = rules.entry(key).unwrap();
            assert!(range.contains(&0), "{key}: 0 means that the rule does not apply");
            *slot = 1;
        }
        assert!(rules.entry("none").is_none());
        assert_eq!(rules.words().map(|(key, _)| key), *EnrolmentRules::WORDS);
    }

    #[test]
    fn what_no_document_limits_does_not_apply() {
        let mut rules = EnrolmentRules::blank();
        let applying = |rules: &EnrolmentRules| EnrolmentRule::ALL.iter().filter(|rule| rules.applies(**rule)).count();
        assert_eq!(applying(&rules), 4, "what a platform or project may not be");
        for key in EnrolmentRules::NUMBERS {
            *rules.entry(key).unwrap().0 = 1;
        }
        rules.repeat_occupation_period = RepeatPeriod::Year;
        rules.online_only = OnlineOnly::Listed;
        assert_eq!(applying(&rules), EnrolmentRule::ALL.len());
    }

    #[test]
    fn a_list_that_counts_is_closed() {
        let mut rules = Policy::default().enrolment;
        rules.online_only = OnlineOnly::Listed;
        rules.online_only_occupations = vec!["电子商务师".to_owned()];
        assert!(rules.may_be_online_only("电子商务师"));
        assert!(!rules.may_be_online_only("焊工"));
        rules.online_only_occupations.clear();
        assert!(!rules.may_be_online_only("电子商务师"));
        rules.online_only = OnlineOnly::Any;
        assert!(rules.may_be_online_only("焊工"));
    }
}
