//! A pack as a whole: which keys there are, and a pack written out with every one of them.

use toml::value::{Array, Datetime};
use toml::{Table, Value};

use super::{Clause, EnrolmentRule, EnrolmentRules, Parameters, Policy, RiskThresholds, Schedule};
use crate::rules::Rule;

/// What the pack of a document says about it. `effective_until` it need not say.
const DOCUMENT_KEYS: [&str; 7] = ["id", "version", "title", "issuer", "document", "region", "effective_from"];

/// The keys that a pack must have to rest on nothing, and that `table` has not; `of_document` when it must say of which
/// document it is.
pub(super) fn missing(table: &Table, of_document: bool) -> Vec<String> {
    wanted(of_document).into_iter().filter(|path| !has(table, path)).collect()
}

fn has(table: &Table, path: &str) -> bool {
    match path.split_once('.') {
        None => table.contains_key(path),
        Some((section, rest)) => table.get(section).and_then(Value::as_table).is_some_and(|part| has(part, rest)),
    }
}

fn wanted(of_document: bool) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    let mut add = |section: &str, names: &mut dyn Iterator<Item = &'static str>| {
        keys.extend(names.map(|name| format!("{section}{name}")));
    };
    if of_document {
        add("", &mut DOCUMENT_KEYS.into_iter());
    }
    add("", &mut Parameters::KEYS.iter().copied());
    add("schedule.", &mut Schedule::KEYS.iter().copied());
    add("risk.", &mut RiskThresholds::KEYS.iter().copied());
    add("enrolment.", &mut EnrolmentRules::NUMBERS.iter().copied());
    add("enrolment.", &mut EnrolmentRules::WORDS.iter().copied());
    add("enrolment.", &mut std::iter::once(EnrolmentRules::LIST));
    add("action.", &mut Rule::ALL.iter().map(|rule| rule.as_str()));
    for part in ["source", "text"] {
        keys.extend(Rule::ALL.iter().map(|rule| format!("clause.{rule}.{part}")));
        keys.extend(EnrolmentRule::ALL.iter().map(|rule| format!("enrolment.clause.{rule}.{part}")));
    }
    keys
}

/// The pack written out, the same text for the same pack.
pub(super) fn text(policy: &Policy) -> String {
    table(policy).to_string()
}

/// The pack with every key. What says nothing about a document is left out.
pub(super) fn table(policy: &Policy) -> Table {
    let mut whole = Table::new();
    let about = [
        ("id", &policy.id),
        ("version", &policy.version),
        ("title", &policy.title),
        ("issuer", &policy.issuer),
        ("document", &policy.document),
        ("region", &policy.region),
    ];
    let said = about.into_iter().filter(|(_, text)| !text.is_empty());
    whole.extend(said.map(|(key, text)| (key.to_owned(), text.as_str().into())));
    for (key, day) in [("effective_from", policy.effective_from), ("effective_until", policy.effective_until)] {
        whole.extend(day.map(|day| (key.to_owned(), Value::Datetime(toml_day(day)))));
    }
    whole.extend(integers(policy.parameters.values()));
    whole.insert("schedule".to_owned(), integers(policy.schedule.values()).collect::<Table>().into());
    whole.insert("risk".to_owned(), integers(policy.risk.values()).collect::<Table>().into());
    whole.insert("review".to_owned(), policy.review.table().into());
    let actions = Rule::ALL.iter().map(|&rule| (rule.to_string(), policy.action(rule).as_str().into()));
    whole.insert("action".to_owned(), actions.collect::<Table>().into());
    let clauses = Rule::ALL.iter().map(|&rule| (rule.as_str(), policy.clause(rule)));
    whole.insert("clause".to_owned(), clauses_table(clauses).into());
    whole.insert("enrolment".to_owned(), enrolment(&policy.enrolment).into());
    whole
}

fn enrolment(rules: &EnrolmentRules) -> Table {
    let mut table: Table = integers(rules.numbers()).collect();
    table.extend(rules.words().map(|(key, word)| (key.to_owned(), word.into())));
    let listed = rules.online_only_occupations.iter().map(|occupation| occupation.as_str().into());
    table.insert(EnrolmentRules::LIST.to_owned(), listed.collect::<Array>().into());
    let clauses = EnrolmentRule::ALL.iter().map(|&rule| (rule.as_str(), rules.clause(rule)));
    table.insert("clause".to_owned(), clauses_table(clauses).into());
    table
}

fn integers(values: impl IntoIterator<Item = (&'static str, i64)>) -> impl Iterator<Item = (String, Value)> {
    values.into_iter().map(|(key, number)| (key.to_owned(), number.into()))
}

fn clauses_table<'a>(clauses: impl Iterator<Item = (&'a str, &'a Clause)>) -> Table {
    let parts = |clause: &Clause| {
        let parts = [("source", clause.source.as_str()), ("text", clause.text.as_str())];
        Value::Table(parts.into_iter().map(|(key, text)| (key.to_owned(), text.into())).collect())
    };
    clauses.map(|(rule, clause)| (rule.to_owned(), parts(clause))).collect()
}

fn toml_day(day: jiff::civil::Date) -> Datetime {
    let part = |number: i8| number.unsigned_abs();
    let date = toml::value::Date { year: day.year().unsigned_abs(), month: part(day.month()), day: part(day.day()) };
    Datetime { date: Some(date), time: None, offset: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::EMBEDDED;

    #[test]
    fn a_pack_written_out_is_the_same_pack() {
        for text in EMBEDDED {
            let policy = Policy::from_toml(text).unwrap();
            let written = Policy::from_toml(&super::text(&policy)).unwrap();
            assert_eq!(Policy { text: policy.text.clone(), digest: policy.digest.clone(), ..written }, policy);
        }
    }

    #[test]
    fn what_was_left_out_is_in_the_digest() {
        let text = "id = \"mine\"\nversion = \"1\"\nclass_hour_ms = 2_700_000\n";
        let policy = Policy::from_toml(text).unwrap();
        assert_eq!(missing(&policy.text.parse().unwrap(), false), Vec::<String>::new());
        // The whole text is its own: who has it gets the same label, whatever the defaults are.
        let again = Policy::from_toml(&policy.text).unwrap();
        assert_eq!((again.label(), &again.text), (policy.label(), &policy.text));
        let digest = ring::digest::digest(&ring::digest::SHA256, policy.text.as_bytes());
        assert_eq!(policy.label(), format!("mine@1+{}", hex::encode(digest)));
        let other = Policy::from_toml(&text.replace("2_700_000", "2_700_001")).unwrap();
        assert_ne!(other.label(), policy.label());
    }
}
