//! Reading a pack from TOML, key by key, so that every refusal names its key.

use toml::{Table, Value};

use super::parameters::Contradiction;
use super::{Action, Clause, Parameters, Policy, RiskThresholds, Schedule};
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
}

fn wrong<T>(key: impl Into<String>, problem: impl Into<String>) -> Result<T, PolicyError> {
    Err(PolicyError::Value { key: key.into(), problem: problem.into() })
}

fn parse(text: &str) -> Result<Table, PolicyError> {
    text.parse::<Table>().map_err(|error| PolicyError::Syntax(error.to_string().trim_end().to_owned()))
}

/// What a pack is called that does not say.
const UNNAMED: &str = "unnamed";

/// Reads a pack on top of `base`. The name is not inherited: a verdict must not say `default` of another pack.
pub(super) fn read(text: &str, base: Policy) -> Result<Policy, PolicyError> {
    let mut policy = Policy { id: UNNAMED.to_owned(), version: String::new(), ..base };
    let table = parse(text)?;
    for (key, value) in &table {
        match key.as_str() {
            "id" => policy.id = name(key, value)?,
            "version" => policy.version = name(key, value)?,
            "action" => each(key, value, |path, rule, value| set_action(&mut policy, path, rule, value))?,
            "clause" => each(key, value, |path, rule, value| set_clause(&mut policy, path, rule, value))?,
            "schedule" => each(key, value, |path, name, value| set(path, policy.schedule.entry(name), value))?,
            "risk" => each(key, value, |path, name, value| set(path, policy.risk.entry(name), value))?,
            _ => set(key, policy.parameters.entry(key), value)?,
        }
    }
    consistent(policy.parameters.contradiction())?;
    if table.contains_key("schedule") {
        check_schedule(&policy)?;
    }
    Ok(policy)
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

/// Reads a pack that has every key there is: the embedded one, on which the others rest.
pub(super) fn read_complete(text: &str) -> Result<Policy, PolicyError> {
    let table = parse(text)?;
    let has = |section: Option<&str>, key: &str| match section {
        None => table.contains_key(key),
        Some(section) => table.get(section).and_then(Value::as_table).is_some_and(|part| part.contains_key(key)),
    };
    let rules = Rule::ALL.iter().map(|rule| rule.as_str());
    let wanted = (Parameters::KEYS.iter().map(|&key| (None, key)))
        .chain(Schedule::KEYS.iter().map(|&key| (Some("schedule"), key)))
        .chain(RiskThresholds::KEYS.iter().map(|&key| (Some("risk"), key)))
        .chain(rules.clone().map(|rule| (Some("action"), rule)))
        .chain(rules.map(|rule| (Some("clause"), rule)));
    for (section, key) in wanted {
        if !has(section, key) {
            return Err(PolicyError::Missing(section.map_or(key.to_owned(), |section| format!("{section}.{key}"))));
        }
    }
    let blank = Policy {
        id: String::new(),
        version: String::new(),
        parameters: Parameters::default(),
        schedule: Schedule::default(),
        risk: RiskThresholds::default(),
        actions: [Action::Invalidate; Rule::ALL.len()],
        clauses: std::array::from_fn(|_| Clause { source: String::new(), text: String::new() }),
    };
    read(text, blank)
}

fn each(
    section: &str,
    value: &Value,
    mut set: impl FnMut(&str, &str, &Value) -> Result<(), PolicyError>,
) -> Result<(), PolicyError> {
    let Value::Table(table) = value else {
        return wrong(section, "must be a table");
    };
    table.iter().try_for_each(|(key, value)| set(&format!("{section}.{key}"), key, value))
}

/// A name that can stand in a label: `id@version`.
fn name(key: &str, value: &Value) -> Result<String, PolicyError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match value {
        Value::String(text) if !text.is_empty() && text.len() <= 64 && text.chars().all(allowed) => Ok(text.clone()),
        _ => wrong(key, "must be 1 to 64 letters, digits, '-', '_' or '.'"),
    }
}

fn set(path: &str, entry: Option<(&mut i64, std::ops::RangeInclusive<i64>)>, value: &Value) -> Result<(), PolicyError> {
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

fn rule_of(path: &str, name: &str) -> Result<Rule, PolicyError> {
    Rule::from_word(name).ok_or_else(|| PolicyError::UnknownKey(path.to_owned()))
}

fn set_action(policy: &mut Policy, path: &str, rule: &str, value: &Value) -> Result<(), PolicyError> {
    let rule = rule_of(path, rule)?;
    let Some(action) = value.as_str().and_then(Action::from_word) else {
        return wrong(path, "must be \"invalidate\", \"review\" or \"ignore\"");
    };
    policy.actions[rule as usize] = action;
    Ok(())
}

fn set_clause(policy: &mut Policy, path: &str, rule: &str, value: &Value) -> Result<(), PolicyError> {
    let clause = &mut policy.clauses[rule_of(path, rule)? as usize];
    each(path, value, |path, key, value| {
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
    })
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
        assert_eq!(policy.label(), "henan@2024-06");
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
            ("action.speeding = \"ignore\"", "action.speeding: unknown key"),
            ("action = 1", "action: must be a table"),
            ("clause.unfocused.number = \"x\"", "clause.unfocused.number: unknown key"),
            ("clause.unfocused.text = \" \"", "clause.unfocused.text"),
            ("schedule.prompt_max_ms = 290_000", "schedule.prompt_max_ms: comes to 320001"),
            ("schedule.prompts = 1", "schedule.prompts: unknown key"),
            ("risk.answer_count = 7", "risk.answer_count: is 7, must be from 8 to 64"),
            ("risk.luck = 1", "risk.luck: unknown key"),
            ("id = \"a b\"", "id: "),
            ("id = ", "not valid TOML"),
        ];
        for (text, expected) in cases {
            let error = Policy::from_toml(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
