//! Reading a pack from TOML, key by key, so that every refusal names its key, and one reading finds them all.

use std::ops::RangeInclusive;

use jiff::civil::Date;
use toml::{Table, Value};

use super::enrolment::{EnrolmentRule, EnrolmentRules};
use super::parameters::Contradiction;
use super::{Action, Clause, Parameters, Policy, Review, RiskThresholds, Schedule, whole};
use crate::rules::Rule;

/// Why a pack was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The text is not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// A key nobody knows.
    #[error("{0}: unknown key")]
    UnknownKey(String),
    /// A value that a key cannot have.
    #[error("{key}: {problem}")]
    Value {
        /// The key, with its path.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A key that only the embedded pack must have, and has not.
    #[error("{0}: is missing")]
    Missing(String),
    /// A text that was kept under another pack's label.
    #[error("the text is that of {found}, not of {wanted}")]
    Label {
        /// The label of the text.
        found: String,
        /// The label it was kept under.
        wanted: String,
    },
}

fn wrong<T>(key: impl Into<String>, problem: impl Into<String>) -> Result<T, PolicyError> {
    Err(PolicyError::Value { key: key.into(), problem: problem.into() })
}

pub(super) fn parse(text: &str) -> Result<Table, PolicyError> {
    text.parse::<Table>().map_err(|error| PolicyError::Syntax(error.to_string().trim_end().to_owned()))
}

/// What a pack is called that does not say.
const UNNAMED: &str = "unnamed";
/// Characters of a title and the like.
const TEXT_CHARS: usize = 200;

/// Reads a pack on top of `base`, and finds all that is wrong with it; a key that is wrong stays as in `base`. Name,
/// document and dates are not inherited: a verdict must not say `default` of another pack.
pub(super) fn read(text: &str, base: Policy) -> (Policy, Vec<PolicyError>) {
    let unnamed = blank();
    let mut policy = Policy {
        id: unnamed.id,
        version: unnamed.version,
        title: unnamed.title,
        issuer: unnamed.issuer,
        document: unnamed.document,
        region: unnamed.region,
        effective_from: None,
        effective_until: None,
        ..base
    };
    let table = match parse(text) {
        Ok(table) => table,
        Err(error) => return (policy, vec![error]),
    };
    let mut problems = Vec::new();
    for (key, value) in &table {
        match key.as_str() {
            "action" => each(&mut problems, key, value, |path, rule, value| set_action(&mut policy, path, rule, value)),
            "schedule" => {
                each(&mut problems, key, value, |path, name, value| set(path, policy.schedule.entry(name), value));
            }
            "risk" => each(&mut problems, key, value, |path, name, value| set(path, policy.risk.entry(name), value)),
            "review" => each(&mut problems, key, value, |path, name, value| match policy.review.set(name, value) {
                Ok(()) => Ok(()),
                Err(None) => Err(PolicyError::UnknownKey(path.to_owned())),
                Err(Some(problem)) => wrong(path, problem),
            }),
            "clause" => {
                let place = |rule: &str| Rule::from_word(rule).map(|rule| rule as usize);
                set_clauses(&mut problems, key, value, &mut policy.clauses, place);
            }
            "enrolment" => set_enrolment(&mut problems, key, value, &mut policy.enrolment),
            _ => problems.extend(set_top(&mut policy, key, value).err()),
        }
    }
    problems.extend(contradictions(&policy, table.contains_key("schedule")));
    let text = if whole::missing(&table, false).is_empty() { text.to_owned() } else { whole::text(&policy) };
    policy.set_text(text);
    (policy, problems)
}

/// What is wrong between keys that are right, each by itself.
fn contradictions(policy: &Policy, has_schedule: bool) -> Vec<PolicyError> {
    let mut found = Vec::new();
    found.extend(consistent(policy.parameters.contradiction()).err());
    if has_schedule {
        found.extend(check_schedule(policy).err());
    }
    if let (Some(from), Some(until)) = (policy.effective_from, policy.effective_until)
        && until < from
    {
        found.extend(wrong::<()>("effective_until", format!("is {until}, before {from} of effective_from")).err());
    }
    found
}

/// Whether the schedule can keep the parameters.
pub(super) fn check_schedule(policy: &Policy) -> Result<(), PolicyError> {
    consistent(policy.schedule.contradiction(&policy.parameters))
}

fn consistent(contradiction: Option<Contradiction>) -> Result<(), PolicyError> {
    match contradiction {
        None => Ok(()),
        Some((small_key, small, large_key, large)) => {
            wrong(small_key, format!("comes to {small}, more than the {large} of {large_key}"))
        }
    }
}

/// Reads the embedded pack on which others rest: it must have every key there is, but is no document's.
pub(super) fn read_default(text: &str) -> Result<Policy, PolicyError> {
    if let Some(key) = whole::missing(&parse(text)?, false).into_iter().next() {
        return Err(PolicyError::Missing(key));
    }
    let (policy, problems) = read(text, blank());
    problems.into_iter().next().map_or(Ok(policy), Err)
}

/// A pack that says nothing.
fn blank() -> Policy {
    Policy {
        id: UNNAMED.to_owned(),
        version: String::new(),
        title: String::new(),
        issuer: String::new(),
        document: String::new(),
        region: String::new(),
        effective_from: None,
        effective_until: None,
        text: String::new(),
        digest: String::new(),
        parameters: Parameters::default(),
        schedule: Schedule::default(),
        enrolment: EnrolmentRules::blank(),
        risk: RiskThresholds::default(),
        review: Review::default(),
        actions: [Action::Invalidate; Rule::ALL.len()],
        clauses: std::array::from_fn(|_| Clause::blank()),
    }
}

fn each(
    problems: &mut Vec<PolicyError>,
    section: &str,
    value: &Value,
    mut set: impl FnMut(&str, &str, &Value) -> Result<(), PolicyError>,
) {
    let Value::Table(table) = value else {
        problems.extend(wrong::<()>(section, "must be a table").err());
        return;
    };
    problems.extend(table.iter().filter_map(|(key, value)| set(&format!("{section}.{key}"), key, value).err()));
}

/// A key that stands in no section.
fn set_top(policy: &mut Policy, key: &str, value: &Value) -> Result<(), PolicyError> {
    match key {
        "id" => policy.id = name(key, value)?,
        "version" => policy.version = name(key, value)?,
        "title" => policy.title = some_text(key, value)?,
        "issuer" => policy.issuer = some_text(key, value)?,
        "document" => policy.document = some_text(key, value)?,
        "region" => policy.region = region(key, value)?,
        "effective_from" => policy.effective_from = Some(day(key, value)?),
        "effective_until" => policy.effective_until = Some(day(key, value)?),
        _ => set(key, policy.parameters.entry(key), value)?,
    }
    Ok(())
}

/// A name that can stand in a label: `id@version+digest`.
fn name(key: &str, value: &Value) -> Result<String, PolicyError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match value {
        Value::String(text) if !text.is_empty() && text.len() <= 64 && text.chars().all(allowed) => Ok(text.clone()),
        _ => wrong(key, "must be 1 to 64 letters, digits, '-', '_' or '.'"),
    }
}

fn some_text(key: &str, value: &Value) -> Result<String, PolicyError> {
    match value {
        Value::String(text) if !text.trim().is_empty() && text.chars().count() <= TEXT_CHARS => Ok(text.clone()),
        _ => wrong(key, format!("must be text of 1 to {TEXT_CHARS} characters")),
    }
}

fn region(key: &str, value: &Value) -> Result<String, PolicyError> {
    let is_prefix = |text: &str| matches!(text.len(), 2 | 4 | 6) && text.bytes().all(|byte| byte.is_ascii_digit());
    match value {
        Value::String(text) if text == "unknown" || is_prefix(text) => Ok(text.clone()),
        _ => wrong(key, "must be the first 2, 4 or 6 digits of a GB/T 2260 code, \"000000\" or \"unknown\""),
    }
}

/// A TOML date without a time: a day in China.
fn day(key: &str, value: &Value) -> Result<Date, PolicyError> {
    let date = value.as_datetime().filter(|found| found.time.is_none() && found.offset.is_none());
    let date = date.and_then(|found| found.date);
    let date = date.and_then(|day| Date::new(i16::try_from(day.year).ok()?, day.month as i8, day.day as i8).ok());
    date.map_or_else(|| wrong(key, "must be a date such as 2024-06-13, without quotes"), Ok)
}

fn set(path: &str, entry: Option<(&mut i64, RangeInclusive<i64>)>, value: &Value) -> Result<(), PolicyError> {
    let Some((slot, range)) = entry else {
        return Err(PolicyError::UnknownKey(path.to_owned()));
    };
    match value {
        Value::Integer(number) if range.contains(number) => *slot = *number,
        Value::Integer(number) => {
            return wrong(path, format!("is {number}, must be from {} to {}", range.start(), range.end()));
        }
        other => return wrong(path, format!("must be an integer, is a {}", other.type_str())),
    }
    Ok(())
}

fn set_action(policy: &mut Policy, path: &str, rule: &str, value: &Value) -> Result<(), PolicyError> {
    let Some(rule) = Rule::from_word(rule) else {
        return Err(PolicyError::UnknownKey(path.to_owned()));
    };
    let Some(action) = value.as_str().and_then(Action::from_word) else {
        return wrong(path, "must be \"invalidate\", \"review\" or \"ignore\"");
    };
    if rule == Rule::FacePassive && action == Action::Invalidate {
        return wrong(path, "must be \"review\" or \"ignore\": a passive score decides nothing by itself");
    }
    policy.actions[rule as usize] = action;
    Ok(())
}

/// `[clause.RULE]` tables; `place` says which of the clauses is a rule's.
fn set_clauses(
    problems: &mut Vec<PolicyError>,
    section: &str,
    value: &Value,
    clauses: &mut [Clause],
    place: impl Fn(&str) -> Option<usize>,
) {
    let mut within = Vec::new();
    each(problems, section, value, |path, rule, value| {
        let clause = place(rule).and_then(|place| clauses.get_mut(place));
        let clause = clause.ok_or_else(|| PolicyError::UnknownKey(path.to_owned()))?;
        each(&mut within, path, value, |path, key, value| set_clause(clause, path, key, value));
        Ok(())
    });
    problems.append(&mut within);
}

fn set_clause(clause: &mut Clause, path: &str, key: &str, value: &Value) -> Result<(), PolicyError> {
    let slot = match key {
        "source" => &mut clause.source,
        "text" => &mut clause.text,
        _ => return Err(PolicyError::UnknownKey(path.to_owned())),
    };
    match value.as_str().filter(|text| !text.trim().is_empty()) {
        Some(text) => *slot = text.to_owned(),
        None => return wrong(path, "must be some text"),
    }
    Ok(())
}

fn set_enrolment(problems: &mut Vec<PolicyError>, section: &str, value: &Value, rules: &mut EnrolmentRules) {
    let mut within = Vec::new();
    each(problems, section, value, |path, key, value| {
        if key == "clause" {
            let place = |rule: &str| EnrolmentRule::from_word(rule).map(|rule| rule as usize);
            set_clauses(&mut within, path, value, rules.clauses_mut(), place);
        } else if key == EnrolmentRules::LIST {
            rules.online_only_occupations = list(path, value)?;
        } else if EnrolmentRules::WORDS.contains(&key) {
            let set = rules.set_word(key, value.as_str().unwrap_or_default());
            set.or_else(|problem| wrong(path, problem))?;
        } else {
            set(path, rules.entry(key), value)?;
        }
        Ok(())
    });
    problems.append(&mut within);
}

fn list(path: &str, value: &Value) -> Result<Vec<String>, PolicyError> {
    let Value::Array(items) = value else {
        return wrong(path, "must be a list of occupations");
    };
    let item = |(item, index): (&Value, usize)| some_text(&format!("{path}[{index}]"), item);
    items.iter().zip(0..).map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_pack_is_complete_and_named_default() {
        let policy = Policy::default();
        assert_eq!(policy.label(), "default");
        assert_eq!(policy.parameters.max_rate_milli, 1005);
        assert_eq!(policy.action(Rule::Unfocused), Action::Review);
        assert_eq!(policy.action(Rule::Revoked), Action::Invalidate);
    }

    #[test]
    fn what_a_pack_leaves_out_is_as_in_the_default() {
        let text = "id = \"henan\"\nversion = \"2024-06\"\nclass_hour_ms = 2_700_000\naction.unfocused = \"ignore\"";
        let policy = Policy::from_toml(text).unwrap();
        assert_eq!(policy.name(), "henan@2024-06");
        assert_eq!(policy.label(), format!("henan@2024-06+{}", policy.digest));
        assert_eq!(policy.parameters.class_hour_ms, 2_700_000);
        assert_eq!(policy.parameters.gap_limit_ms, 30_000);
        assert_eq!(policy.action(Rule::Unfocused), Action::Ignore);
        assert_eq!(policy.action(Rule::PromptGap), Action::Invalidate);
        let unnamed = Policy::from_toml("").unwrap();
        assert_eq!(unnamed.label(), "unnamed");
        assert_eq!(unnamed.parameters, Policy::default().parameters);
    }

    #[test]
    fn a_schedule_left_out_is_checked_when_it_is_to_be_kept() {
        let strict = Policy::from_toml("prompt_max_gap_ms = 60_000").unwrap();
        assert!(strict.check_schedule().unwrap_err().to_string().starts_with("schedule.prompt_max_ms"));
        Policy::default().check_schedule().unwrap();
    }

    #[test]
    fn all_that_is_wrong_is_found() {
        let text = "gap_limit_ms = -1\nspeed = 1\naction.unfocused = 1\nclause.unfocused.text = \"\"\n\
                    enrolment.ban_years = 101\nface_window = 2";
        let found: Vec<String> = Policy::problems(text).iter().map(ToString::to_string).collect();
        let keys: Vec<&str> = found.iter().filter_map(|problem| problem.split(':').next()).collect();
        let expected = [
            "action.unfocused",
            "clause.unfocused.text",
            "enrolment.ban_years",
            "gap_limit_ms",
            "speed",
            "face_window_failures",
        ];
        assert_eq!(keys, expected);
        // A server would refuse this one, a replay would not.
        assert_eq!(Policy::problems("prompt_max_gap_ms = 60_000").len(), 1);
    }

    #[test]
    fn refusals_name_the_key() {
        let cases = [
            ("class_hour_ms = 2_399_999", "class_hour_ms"),
            ("class_hours_ms = 1", "class_hours_ms: unknown key"),
            ("gap_limit_ms = \"1\"", "gap_limit_ms"),
            ("gap_limit_ms = -1", "gap_limit_ms"),
            ("max_rate_milli = 999", "max_rate_milli"),
            ("photo_due_ms = 2_400_001", "photo_due_ms"),
            ("face_window = 2", "face_window_failures"),
            ("action.unfocused = \"forgive\"", "action.unfocused"),
            ("action.face_passive = \"invalidate\"", "action.face_passive: must be \"review\" or"),
            ("passive_limit_milli = 1_001", "passive_limit_milli: is 1001"),
            ("schedule.capture_frames = 0", "schedule.capture_frames: is 0, must be from 1 to 12"),
            ("schedule.challenge_frames = 7", "schedule.challenge_frames: is 7, must be from 8 to 12"),
            ("schedule.challenge_start_milli = 1_001", "schedule.challenge_start_milli: is 1001"),
            ("schedule.capture_answer_ms = 4_000", "schedule.challenge_frames: comes to 4500"),
            ("action.speeding = \"ignore\"", "action.speeding: unknown key"),
            ("action = 1", "action: must be a table"),
            ("clause.unfocused.number = \"x\"", "clause.unfocused.number: unknown key"),
            ("clause.unfocused.text = \" \"", "clause.unfocused.text"),
            ("schedule.prompt_max_ms = 290_000", "schedule.prompt_max_ms: comes to 320001"),
            ("schedule.prompts = 1", "schedule.prompts: unknown key"),
            ("risk.answer_count = 7", "risk.answer_count: is 7, must be from 8 to 64"),
            ("risk.luck = 1", "risk.luck: unknown key"),
            ("review.second_person = 1", "review.second_person: must be true or false"),
            ("review.due_days = 0", "review.due_days: must be a whole number from 1 to 365"),
            ("review.days = 1", "review.days: unknown key"),
            ("id = \"a b\"", "id: "),
            ("title = \"\"", "title: must be text"),
            ("region = \"413\"", "region: must be the first"),
            ("effective_from = \"2024-01-01\"", "effective_from: must be a date"),
            ("effective_from = 2024-01-01T00:00:00", "effective_from: must be a date"),
            ("effective_from = 2024-01-02\neffective_until = 2024-01-01", "effective_until: is 2024-01-01, before"),
            ("enrolment.cooldown_months = -1", "enrolment.cooldown_months: is -1"),
            ("enrolment.cooldown = 1", "enrolment.cooldown: unknown key"),
            ("enrolment.subsidy_limit_period = \"month\"", "enrolment.subsidy_limit_period: must be \"lifetime\" or"),
            ("enrolment.online_only = 1", "enrolment.online_only: must be \"any\" or \"listed\""),
            ("enrolment.online_only_occupations = \"a\"", "enrolment.online_only_occupations: must be a list"),
            ("enrolment.online_only_occupations = [\"a\", 1]", "enrolment.online_only_occupations[1]: must be text"),
            ("enrolment.clause.class_size.text = \"\"", "enrolment.clause.class_size.text: must be some text"),
            ("enrolment.clause.unfocused.text = \"x\"", "enrolment.clause.unfocused: unknown key"),
            ("id = ", "not valid TOML"),
        ];
        for (text, expected) in cases {
            let error = Policy::from_toml(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
