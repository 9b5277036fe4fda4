//! An application to enrol one learner in one project.

use jiff::ToSpan as _;
use jiff::civil::Date;

use super::Refusal;
use crate::log::PlatformStatus;
use crate::policy::{EnrolmentRule, EnrolmentRules, LimitPeriod, RepeatPeriod};

/// An earlier subsidised training of the learner, at whatever platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Training {
    /// Its occupation.
    pub occupation: String,
    /// Its level; 0: none.
    pub level: i64,
    /// The day in China on which the learner was enrolled.
    pub enrolled_on: Date,
    /// The day on which its learners were assessed; none: not yet.
    pub assessed_on: Option<Date>,
}

/// What is known when a learner is to be enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The day in China.
    pub today: Date,
    /// The platform's status on that day.
    pub platform_status: PlatformStatus,
    /// Whether the project is approved.
    pub project_approved: bool,
    /// Whether the project is paid for by the state.
    pub subsidised: bool,
    /// Its occupation.
    pub occupation: String,
    /// Its level; 0: none.
    pub level: i64,
    /// Learners that a class was approved for; none: as many as the pack allows.
    pub class_size: Option<i64>,
    /// Learners that the class has already.
    pub class_learners: i64,
    /// The learner's earlier subsidised trainings in other projects, in the order of their enrolments.
    pub earlier: Vec<Training>,
}

impl Application {
    /// Whether the learner may be enrolled.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn judge(&self, rules: &EnrolmentRules) -> Result<(), Refusal> {
        self.platform()?;
        if !self.project_approved {
            return Err(Refusal::new(EnrolmentRule::ProjectUnapproved, "the project is not approved"));
        }
        self.class(rules)?;
        // A learner who pays is counted by no rule about subsidies, neither now nor later.
        if !self.subsidised {
            return Ok(());
        }
        self.cooldown(rules)?;
        self.limit(rules)?;
        self.repeat(rules)
    }

    fn platform(&self) -> Result<(), Refusal> {
        let rule = match self.platform_status {
            PlatformStatus::Active => return Ok(()),
            PlatformStatus::Suspended => EnrolmentRule::PlatformSuspended,
            PlatformStatus::Unregistered => EnrolmentRule::PlatformUnregistered,
            PlatformStatus::Banned => EnrolmentRule::PlatformBanned,
        };
        Err(Refusal::new(rule, format!("the platform is {}", self.platform_status)))
    }

    fn class(&self, rules: &EnrolmentRules) -> Result<(), Refusal> {
        let allowed = rules.applies(EnrolmentRule::ClassSize).then_some(rules.class_size_limit);
        let Some(limit) = self.class_size.into_iter().chain(allowed).min() else { return Ok(()) };
        if self.class_learners < limit {
            return Ok(());
        }
        let detail = format!("the class has {} learners, of {limit} that it may have", self.class_learners);
        Err(Refusal::new(EnrolmentRule::ClassSize, detail))
    }

    /// 上一个培训项目未考核或考核结束不足一个月的.
    fn cooldown(&self, rules: &EnrolmentRules) -> Result<(), Refusal> {
        let Some(last) = self.earlier.last().filter(|_| rules.applies(EnrolmentRule::ReenrolmentCooldown)) else {
            return Ok(());
        };
        let refusal = |detail: String| Err(Refusal::new(EnrolmentRule::ReenrolmentCooldown, detail));
        let Some(assessed_on) = last.assessed_on else {
            return refusal("the learner's last subsidised training has not been assessed".to_owned());
        };
        // Calendar months: a month from 31 January ends with February.
        let from = assessed_on.checked_add(rules.cooldown_months.months()).unwrap_or(Date::MAX);
        if self.today >= from {
            return Ok(());
        }
        refusal(format!(
            "the learner's last subsidised training was assessed on {assessed_on}: the next may begin on {from}"
        ))
    }

    fn limit(&self, rules: &EnrolmentRules) -> Result<(), Refusal> {
        if !rules.applies(EnrolmentRule::SubsidyLimit) {
            return Ok(());
        }
        let (counted, within) = match rules.subsidy_limit_period {
            LimitPeriod::Lifetime => (self.earlier.len(), "in all".to_owned()),
            LimitPeriod::Year => {
                let year = self.today.year();
                let this_year = self.earlier.iter().filter(|training| training.enrolled_on.year() == year);
                (this_year.count(), format!("in {year}"))
            }
        };
        if i64::try_from(counted).is_ok_and(|counted| counted < rules.subsidy_limit) {
            return Ok(());
        }
        let limit = rules.subsidy_limit;
        let detail = format!("the learner has had {counted} subsidised trainings {within}, of {limit} allowed");
        Err(Refusal::new(EnrolmentRule::SubsidyLimit, detail))
    }

    fn repeat(&self, rules: &EnrolmentRules) -> Result<(), Refusal> {
        let within = |training: &&Training| match rules.repeat_occupation_period {
            RepeatPeriod::None => false,
            RepeatPeriod::Lifetime => true,
            // 一年内: until the same day of the next year.
            RepeatPeriod::Year => self.today < training.enrolled_on.checked_add(1_i64.years()).unwrap_or(Date::MAX),
        };
        let same = |training: &&Training| training.occupation == self.occupation && training.level == self.level;
        let Some(training) = self.earlier.iter().filter(same).find(within) else { return Ok(()) };
        let detail =
            format!("the learner was enrolled in this occupation at this level on {} already", training.enrolled_on);
        Err(Refusal::new(EnrolmentRule::RepeatOccupation, detail))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Policy;

    /// As the documents have it: a month, three in all, no occupation twice, 80 to a class.
    fn rules() -> EnrolmentRules {
        let mut rules = Policy::default().enrolment;
        rules.cooldown_months = 1;
        rules.subsidy_limit = 3;
        rules.subsidy_limit_period = LimitPeriod::Lifetime;
        rules.repeat_occupation_period = RepeatPeriod::Lifetime;
        rules.class_size_limit = 80;
        rules
    }

    fn rules_with(edit: impl FnOnce(&mut EnrolmentRules)) -> EnrolmentRules {
        let mut rules = rules();
        edit(&mut rules);
        rules
    }

    fn application(today: Date) -> Application {
        Application {
            today,
            platform_status: PlatformStatus::Active,
            project_approved: true,
            subsidised: true,
            occupation: "电工".to_owned(),
            level: 4,
            class_size: None,
            class_learners: 0,
            earlier: Vec::new(),
        }
    }

    fn training(occupation: &str, level: i64, enrolled_on: Date, assessed_on: Option<Date>) -> Training {
        Training { occupation: occupation.to_owned(), level, enrolled_on, assessed_on }
    }

    fn rule(application: &Application, rules: &EnrolmentRules) -> Option<&'static str> {
        application.judge(rules).err().map(|refusal| refusal.rule.as_str())
    }

    #[test]
    fn whoever_has_had_nothing_may_enrol() {
        assert_eq!(application(date(2026, 3, 1)).judge(&rules()), Ok(()));
    }

    #[test]
    fn platform_and_project_come_first() {
        let mut application = application(date(2026, 3, 1));
        application.earlier = vec![training("电工", 4, date(2026, 2, 1), None)];
        application.project_approved = false;
        assert_eq!(rule(&application, &rules()), Some("project_unapproved"));
        for status in [PlatformStatus::Suspended, PlatformStatus::Unregistered, PlatformStatus::Banned] {
            application.platform_status = status;
            assert_eq!(rule(&application, &rules()), Some(format!("platform_{status}")).as_deref());
        }
    }

    #[test]
    fn the_eighty_first_of_a_class_is_refused() {
        let mut application = Application { class_learners: 79, ..application(date(2026, 3, 1)) };
        assert_eq!(rule(&application, &rules()), None);
        application.class_learners = 80;
        assert_eq!(rule(&application, &rules()), Some("class_size"));
        application.subsidised = false;
        assert_eq!(rule(&application, &rules()), Some("class_size"));
        application.class_learners = 40;
        application.class_size = Some(40);
        assert_eq!(rule(&application, &rules()), Some("class_size"));
        application.class_size = None;
        assert_eq!(rule(&application, &rules_with(|rules| rules.class_size_limit = 0)), None);
    }

    #[test]
    fn a_month_after_the_assessment_counts_by_the_calendar() {
        for (assessed_on, free_on) in [
            (date(2026, 1, 15), date(2026, 2, 15)),
            (date(2026, 1, 31), date(2026, 2, 28)),
            (date(2028, 1, 31), date(2028, 2, 29)),
            (date(2026, 3, 31), date(2026, 4, 30)),
            (date(2026, 2, 28), date(2026, 3, 28)),
            (date(2026, 12, 31), date(2027, 1, 31)),
        ] {
            let mut application = application(free_on);
            application.earlier = vec![training("焊工", 4, date(2025, 1, 1), Some(assessed_on))];
            assert_eq!(rule(&application, &rules()), None, "{assessed_on}");
            application.today = free_on.yesterday().unwrap();
            let refusal = application.judge(&rules()).unwrap_err();
            assert_eq!(refusal.rule, EnrolmentRule::ReenrolmentCooldown);
            assert!(refusal.detail.contains(&free_on.to_string()), "{}", refusal.detail);
        }
    }

    #[test]
    fn the_last_training_must_be_assessed_at_all() {
        let mut application = application(date(2030, 1, 1));
        let assessed = training("焊工", 4, date(2025, 1, 1), Some(date(2025, 2, 1)));
        application.earlier = vec![assessed, training("钳工", 4, date(2025, 6, 1), None)];
        assert_eq!(rule(&application, &rules()), Some("reenrolment_cooldown"));
        application.subsidised = false;
        assert_eq!(rule(&application, &rules()), None);
        application.subsidised = true;
        assert_eq!(rule(&application, &rules_with(|rules| rules.cooldown_months = 0)), None);
    }

    #[test]
    fn three_in_all_or_three_a_year() {
        let mut application = application(date(2026, 12, 31));
        let one = |month: i8| training("焊工", month.into(), date(2026, month, 1), Some(date(2026, month, 2)));
        application.earlier = vec![one(1), one(3)];
        assert_eq!(rule(&application, &rules()), None);
        application.earlier.push(one(5));
        assert_eq!(rule(&application, &rules()), Some("subsidy_limit"));
        let yearly = rules_with(|rules| rules.subsidy_limit_period = LimitPeriod::Year);
        assert_eq!(rule(&application, &yearly), Some("subsidy_limit"));
        application.today = date(2027, 1, 1);
        assert_eq!(rule(&application, &yearly), None);
        assert_eq!(rule(&application, &rules()), Some("subsidy_limit"));
    }

    #[test]
    fn the_same_occupation_at_the_same_level() {
        let mut application = application(date(2026, 3, 1));
        application.earlier = vec![training("电工", 4, date(2025, 3, 1), Some(date(2025, 4, 1)))];
        assert_eq!(rule(&application, &rules()), Some("repeat_occupation"));
        let yearly = rules_with(|rules| rules.repeat_occupation_period = RepeatPeriod::Year);
        assert_eq!(rule(&application, &yearly), None);
        application.today = date(2026, 2, 28);
        assert_eq!(rule(&application, &yearly), Some("repeat_occupation"));
        let never = rules_with(|rules| rules.repeat_occupation_period = RepeatPeriod::None);
        assert_eq!(rule(&application, &never), None);
        application.level = 3;
        assert_eq!(rule(&application, &rules()), None);
    }

    prop_compose! {
        fn any_day()(days in 0..3_000_i64) -> Date { date(2022, 1, 1).checked_add(days.days()).unwrap() }
    }

    prop_compose! {
        fn any_training()(
            occupation in "[ab]", level in 3..5_i64, enrolled_on in any_day(), assessed_after in proptest::option::of(0..90_i64),
        ) -> Training {
            let assessed_on = assessed_after.map(|days| enrolled_on.checked_add(days.days()).unwrap());
            Training { occupation, level, enrolled_on, assessed_on }
        }
    }

    proptest! {
        /// Who is refused today for a reason of time alone is not refused for it later; and what is allowed today stays
        /// allowed on every later day, because time only ever lets go.
        #[test]
        fn time_only_lets_go(
            mut earlier in proptest::collection::vec(any_training(), 0..5), today in any_day(), later in 0..800_i64,
        ) {
            earlier.sort_by_key(|training| training.enrolled_on);
            earlier.retain(|training| training.enrolled_on <= today);
            let rules = rules_with(|rules| { rules.subsidy_limit_period = LimitPeriod::Year; rules.repeat_occupation_period = RepeatPeriod::Year; });
            let now = Application { earlier, occupation: "a".to_owned(), ..application(today) };
            let then = Application { today: today.checked_add(later.days()).unwrap(), ..now.clone() };
            if now.judge(&rules).is_ok() {
                prop_assert_eq!(then.judge(&rules), Ok(()));
            }
        }

        /// A further earlier training never helps, apart from the last one's assessment.
        #[test]
        fn more_trainings_allow_no_more(
            mut earlier in proptest::collection::vec(any_training(), 1..6), today in any_day(), without in 0..5_usize,
        ) {
            earlier.sort_by_key(|training| training.enrolled_on);
            let all = Application { earlier, occupation: "a".to_owned(), ..application(today) };
            let mut fewer = all.clone();
            if without + 1 < fewer.earlier.len() {
                fewer.earlier.remove(without);
            }
            if all.judge(&rules()).is_ok() {
                prop_assert_eq!(fewer.judge(&rules()), Ok(()));
            }
        }

        /// Nothing that the subsidy rules count matters to who pays.
        #[test]
        fn who_pays_is_never_refused_for_earlier_trainings(
            earlier in proptest::collection::vec(any_training(), 0..6), today in any_day(),
        ) {
            let paid = Application { subsidised: false, earlier, ..application(today) };
            prop_assert_eq!(paid.judge(&rules()), Ok(()));
        }
    }
}
