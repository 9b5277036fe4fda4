//! The plan of a project, judged when it is approved.

use super::Refusal;
use crate::log::{Delivery, words};
use crate::policy::{EnrolmentRule, EnrolmentRules};

words! {
    /// The certificate at the end of a project.
    Certificate {
        Qualification = "qualification",
        SkillLevel = "skill_level",
        SpecialAbility = "special_ability",
        Completion = "completion",
    }
}

/// What a project's application says; none: it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How it is held.
    pub delivery: Delivery,
    /// The certificate at its end.
    pub certificate: Certificate,
    /// GB/T 2260 code of its region.
    pub region: Option<String>,
    /// Its occupation.
    pub occupation: Option<String>,
    /// Class hours in all.
    pub total_hours: i64,
    /// Class hours of them that are held online.
    pub online_hours: Option<i64>,
    /// Class hours of them that are practice.
    pub practice_hours: Option<i64>,
    /// Length of a class hour, ms.
    pub class_hour_ms: Option<i64>,
    /// Learners of each class; none: as many as the pack allows.
    pub class_size: Option<i64>,
    /// Teachers of each class.
    pub teachers: Option<i64>,
    /// Benches of each class.
    pub benches: Option<i64>,
    /// Length of the films of its theory lessons, ms.
    pub film_ms: i64,
}

impl Plan {
    /// Whether the rules look at the hours in a class room and at the benches.
    fn is_blended(&self) -> bool {
        self.delivery == Delivery::Blended
    }

    /// Fields without which the rules cannot be checked.
    pub fn missing(&self, rules: &EnrolmentRules) -> Vec<&'static str> {
        let practises = self.is_blended() && self.practice_hours != Some(0);
        let wanted = [
            ("region", self.region.is_none(), true),
            ("occupation", self.occupation.is_none(), true),
            ("online_hours", self.online_hours.is_none(), self.is_blended()),
            ("practice_hours", self.practice_hours.is_none(), self.is_blended()),
            ("class_hour_ms", self.class_hour_ms.is_none(), true),
            ("teachers", self.teachers.is_none(), rules.applies(EnrolmentRule::TeacherRatio)),
            ("benches", self.benches.is_none(), practises && rules.applies(EnrolmentRule::BenchRatio)),
        ];
        wanted.into_iter().filter(|(_, missing, needed)| *missing && *needed).map(|(field, ..)| field).collect()
    }

    /// Every rule that forbids the plan. What is missing ([`Self::missing`]) is not judged.
    pub fn judge(&self, rules: &EnrolmentRules) -> Vec<Refusal> {
        let checks = [
            self.practice_share(rules),
            self.online_share(rules),
            self.films(),
            self.online_only(rules),
            self.class_hour(rules),
            self.total(rules),
            self.class(rules),
            self.teacher_ratio(rules),
            self.bench_ratio(rules),
        ];
        checks.into_iter().flatten().filter(|refusal| rules.applies(refusal.rule)).collect()
    }

    fn practice_share(&self, rules: &EnrolmentRules) -> Option<Refusal> {
        let hours = self.practice_hours.filter(|_| self.is_blended())?;
        let least = rules.practice_share_min_milli;
        (hours.saturating_mul(1_000) < self.total_hours.saturating_mul(least)).then(|| {
            let detail = format!("{hours} of {} hours are practice: less than {}", self.total_hours, percent(least));
            Refusal::new(EnrolmentRule::PracticeShare, detail)
        })
    }

    fn online_share(&self, rules: &EnrolmentRules) -> Option<Refusal> {
        let hours = self.online_hours.filter(|_| self.is_blended())?;
        let most = rules.online_share_max_milli;
        (hours.saturating_mul(1_000) > self.total_hours.saturating_mul(most)).then(|| {
            let detail = format!("{hours} of {} hours are online: more than {}", self.total_hours, percent(most));
            Refusal::new(EnrolmentRule::OnlineShare, detail)
        })
    }

    /// A plan whose films are longer than its online hours says less than it means to hold online.
    fn films(&self) -> Option<Refusal> {
        let (hours, class_hour_ms) = (self.online_hours.filter(|_| self.is_blended())?, self.class_hour_ms?);
        (self.film_ms > hours.saturating_mul(class_hour_ms)).then(|| {
            let minutes = self.film_ms.div_euclid(60_000);
            let detail = format!("the films take {minutes} minutes: longer than the {hours} hours planned online");
            Refusal::new(EnrolmentRule::OnlineShare, detail)
        })
    }

    fn online_only(&self, rules: &EnrolmentRules) -> Option<Refusal> {
        let occupation = self.occupation.as_deref().filter(|_| !self.is_blended())?;
        (!rules.may_be_online_only(occupation)).then(|| {
            let detail = "the occupation is not one of those that may be trained online only";
            Refusal::new(EnrolmentRule::OnlineOnlyUnlisted, detail)
        })
    }

    fn class_hour(&self, rules: &EnrolmentRules) -> Option<Refusal> {
        let (length_ms, least_ms) = (self.class_hour_ms?, rules.class_hour_min_ms);
        (length_ms < least_ms).then(|| {
            let detail = format!("a class hour of {length_ms} ms is shorter than {least_ms} ms");
            Refusal::new(EnrolmentRule::ClassHourLength, detail)
        })
    }

    fn total(&self, rules: &EnrolmentRules) -> Option<Refusal> {
        let least = rules.total_hours_min;
        (self.certificate == Certificate::Completion && self.total_hours < least).then(|| {
            let detail = format!("{} hours are fewer than the {least} of such a certificate", self.total_hours);
            Refusal::new(EnrolmentRule::TotalHours, detail)
        })
    }

    fn class(&self, rules: &EnrolmentRules) -> Option<Refusal> {
        let size = self.class_size.filter(|size| *size > rules.class_size_limit)?;
        let detail = format!("a class of {size} learners is larger than {}", rules.class_size_limit);
        Some(Refusal::new(EnrolmentRule::ClassSize, detail))
    }

    fn teacher_ratio(&self, rules: &EnrolmentRules) -> Option<Refusal> {
        self.ratio(EnrolmentRule::TeacherRatio, self.teachers?, "teachers", rules.learners_per_teacher_max, rules)
    }

    fn bench_ratio(&self, rules: &EnrolmentRules) -> Option<Refusal> {
        // Who does not practise needs no bench.
        let benches = self.benches.filter(|_| self.is_blended() && self.practice_hours != Some(0))?;
        self.ratio(EnrolmentRule::BenchRatio, benches, "benches", rules.learners_per_bench_max, rules)
    }

    fn ratio(
        &self,
        rule: EnrolmentRule,
        count: i64,
        what: &str,
        most_each: i64,
        rules: &EnrolmentRules,
    ) -> Option<Refusal> {
        // A class whose size is not limited at all has at least one learner.
        let learners = self.class_size.unwrap_or_else(|| rules.class_size_limit.max(1));
        (learners > count.saturating_mul(most_each)).then(|| {
            let detail = format!("{count} {what} are too few for a class of {learners}: at most {most_each} to each");
            Refusal::new(rule, detail)
        })
    }
}

fn percent(milli: i64) -> String {
    if milli % 10 == 0 { format!("{} %", milli / 10) } else { format!("{}.{} %", milli / 10, milli % 10) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{OnlineOnly, Policy};

    const HOUR_MS: i64 = 2_400_000;

    fn rules() -> EnrolmentRules {
        let mut rules = Policy::default().enrolment;
        rules.class_size_limit = 80;
        rules.practice_share_min_milli = 600;
        rules.online_share_max_milli = 400;
        rules.online_only = OnlineOnly::Listed;
        rules.online_only_occupations = vec!["电子商务师".to_owned()];
        rules.class_hour_min_ms = HOUR_MS;
        rules.total_hours_min = 40;
        rules.learners_per_teacher_max = 20;
        rules.learners_per_bench_max = 20;
        rules
    }

    fn rules_with(edit: impl FnOnce(&mut EnrolmentRules)) -> EnrolmentRules {
        let mut rules = rules();
        edit(&mut rules);
        rules
    }

    fn plan() -> Plan {
        Plan {
            delivery: Delivery::Blended,
            certificate: Certificate::SkillLevel,
            region: Some("411300".to_owned()),
            occupation: Some("电工".to_owned()),
            total_hours: 100,
            online_hours: Some(40),
            practice_hours: Some(60),
            class_hour_ms: Some(HOUR_MS),
            class_size: None,
            teachers: Some(4),
            benches: Some(4),
            film_ms: 40 * HOUR_MS,
        }
    }

    fn refused(plan: &Plan) -> Vec<&'static str> {
        plan.judge(&rules()).into_iter().map(|refusal| refusal.rule.as_str()).collect()
    }

    #[test]
    fn a_plan_at_every_limit_passes() {
        assert_eq!(plan().missing(&rules()), [""; 0]);
        assert_eq!(refused(&plan()), [""; 0]);
        let listed = Plan {
            delivery: Delivery::OnlineOnly,
            occupation: Some("电子商务师".to_owned()),
            online_hours: None,
            practice_hours: None,
            benches: None,
            ..plan()
        };
        assert_eq!(listed.missing(&rules()), [""; 0]);
        assert_eq!(refused(&listed), [""; 0]);
    }

    #[test]
    fn each_rule_refuses_just_past_its_limit() {
        let cases = [
            (Plan { practice_hours: Some(59), ..plan() }, "practice_share"),
            (Plan { online_hours: Some(41), ..plan() }, "online_share"),
            (Plan { film_ms: 40 * HOUR_MS + 1, ..plan() }, "online_share"),
            (Plan { class_hour_ms: Some(HOUR_MS - 1), film_ms: 0, ..plan() }, "class_hour_length"),
            (Plan { class_size: Some(81), teachers: Some(5), benches: Some(5), ..plan() }, "class_size"),
            (Plan { teachers: Some(3), ..plan() }, "teacher_ratio"),
            (Plan { benches: Some(3), ..plan() }, "bench_ratio"),
            (Plan { delivery: Delivery::OnlineOnly, ..plan() }, "online_only_unlisted"),
        ];
        for (plan, rule) in cases {
            assert_eq!(refused(&plan), [rule]);
        }
        let short = Plan { total_hours: 39, online_hours: Some(15), practice_hours: Some(24), film_ms: 0, ..plan() };
        assert_eq!(refused(&short), [""; 0]);
        assert_eq!(refused(&Plan { certificate: Certificate::Completion, ..short }), ["total_hours"]);
    }

    #[test]
    fn a_small_class_needs_few_teachers() {
        let small = Plan { class_size: Some(20), teachers: Some(1), benches: Some(1), ..plan() };
        assert_eq!(refused(&small), [""; 0]);
        assert_eq!(refused(&Plan { class_size: Some(21), ..small }), ["teacher_ratio", "bench_ratio"]);
    }

    #[test]
    fn what_a_check_needs_and_misses_is_named() {
        let empty = Plan {
            region: None,
            occupation: None,
            online_hours: None,
            practice_hours: None,
            class_hour_ms: None,
            teachers: None,
            benches: None,
            ..plan()
        };
        let all = ["region", "occupation", "online_hours", "practice_hours", "class_hour_ms", "teachers", "benches"];
        assert_eq!(empty.missing(&rules()), all);
        assert_eq!(refused(&empty), [""; 0]);
        let lenient = rules_with(|rules| {
            rules.learners_per_teacher_max = 0;
            rules.learners_per_bench_max = 0;
        });
        assert_eq!(empty.missing(&lenient), all[..5]);
        assert_eq!(Plan { delivery: Delivery::OnlineOnly, ..empty }.missing(&lenient), [all[0], all[1], all[4]]);
    }

    proptest! {
        /// What passes keeps the shares, whatever the numbers; absurd ones do not overflow.
        #[test]
        fn what_passes_keeps_the_shares(total in 0..=i64::MAX, online in 0..=i64::MAX, practice in 0..=i64::MAX) {
            let plan = Plan { total_hours: total, online_hours: Some(online), practice_hours: Some(practice), film_ms: 0, ..plan() };
            let refused = refused(&plan);
            if total <= 1_000_000 && online <= 1_000_000 && practice <= 1_000_000 {
                prop_assert_eq!(refused.contains(&"online_share"), online * 10 > total * 4);
                prop_assert_eq!(refused.contains(&"practice_share"), practice * 10 < total * 6);
            }
        }
    }
}
