//! How a provincial platform calls things: their field names from our facts, constants, forms of dates, code tables,
//! and how it acknowledges. A TOML file, checked whole when it is read (docs/ledger.md has an example).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Table;

use super::connector::Acknowledgement;
use crate::auth::person::Person;
use crate::ledger::period::in_china;
use crate::store::reports::{ENROLMENT_FACTS, ReportKind, ReportRecord, VERDICT_FACTS, WITHDRAWAL_FACTS};

/// What a mapping may ask of a batch.
const BATCH_FACTS: [&str; 3] = ["batch.number", "batch.count", "batch.created_at"];
/// What a mapping may ask of the person; it is opened only then.
const PERSON_FACTS: [&str; 2] = ["learner.name", "learner.id_number"];
/// Words that a code table must have all of.
const WORDS: [(&str, &[&str]); 4] = [
    ("verdict.status", &["valid", "review", "invalid"]),
    ("verdict.completed", &["true", "false"]),
    ("item.kind", &["enrolment", "verdict"]),
    ("project.subsidised", &["true", "false"]),
];

/// Why a mapping cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The text is not TOML, or lacks a part.
    #[error("{0}")]
    Toml(String),
    /// A field cannot be filled as it says.
    #[error("{field}: {why}")]
    Field {
        /// the key, with its path
        field: String,
        /// what is wrong with it
        why: String,
    },
}

/// How a platform calls things.
#[derive(Clone, Debug)]
pub struct Mapping {
    batch: BTreeMap<String, Field>,
    /// the field of the batch that holds the records
    records: String,
    enrolment: BTreeMap<String, Field>,
    /// none: withdrawals are not sent
    withdrawal: Option<BTreeMap<String, Field>>,
    verdict: BTreeMap<String, Field>,
    answer: AnswerMapping,
}

/// How a platform acknowledges: the fields of its answer, a path into objects with full stops.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerMapping {
    /// the list with an entry for each item
    list: String,
    /// of an entry: the item's number
    number: String,
    /// of an entry: the code
    code: String,
    /// codes that mean that the platform has the item, because it came now or before
    accepted: Vec<String>,
    /// of an entry: why it was refused
    reason: String,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    batch: BatchFile,
    enrolment: Table,
    withdrawal: Option<Table>,
    verdict: Table,
    answer: AnswerMapping,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchFile {
    records: String,
    #[serde(default)]
    fields: Table,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    /// the fact that fills it
    from: Option<String>,
    /// what fills it always
    constant: Option<Value>,
    /// how a time is written in China (strftime); else ms since the Unix epoch
    format: Option<String>,
    /// what stands for each word
    codes: Option<BTreeMap<String, Value>>,
    /// what fills it where there is nothing; else the item is not sent
    missing: Option<Value>,
}

impl Mapping {
    /// Reads a mapping.
    ///
    /// # Errors
    /// Names the field that cannot be filled.
    pub fn from_toml(text: &str) -> Result<Self, MappingError> {
        let file: File =
            toml::from_str(text).map_err(|error| MappingError::Toml(error.to_string().trim_end().to_owned()))?;
        let of_person = PERSON_FACTS.iter().copied();
        let names =
            |facts: &[(&'static str, &str)]| facts.iter().map(|(name, _)| *name).chain(of_person.clone()).collect();
        let (of_enrolment, of_verdict): (Vec<_>, Vec<_>) = (names(ENROLMENT_FACTS), names(VERDICT_FACTS));
        let of_withdrawal: Vec<_> = names(WITHDRAWAL_FACTS);
        let withdrawal = file.withdrawal.map(|table| fields("withdrawal", &table, &of_withdrawal)).transpose()?;
        let mapping = Self {
            batch: fields("batch.fields", &file.batch.fields, &BATCH_FACTS)?,
            records: file.batch.records,
            enrolment: fields("enrolment", &file.enrolment, &of_enrolment)?,
            withdrawal,
            verdict: fields("verdict", &file.verdict, &of_verdict)?,
            answer: file.answer,
        };
        if mapping.batch.contains_key(&mapping.records) {
            return wrong("batch.records".to_owned(), "is a field of the batch as well");
        }
        mapping.check_numbers()?;
        Ok(mapping)
    }

    /// Without the item's number no acknowledgement could be told from another.
    fn check_numbers(&self) -> Result<(), MappingError> {
        let given = [("enrolment", &self.enrolment), ("verdict", &self.verdict)];
        for (section, fields) in given.into_iter().chain(self.withdrawal.iter().map(|fields| ("withdrawal", fields))) {
            let is_number = |field: &Field| field.from.as_deref() == Some("item.number") && field.codes.is_none();
            if !fields.values().any(is_number) {
                return wrong(section.to_owned(), "has no field from \"item.number\", by which items are acknowledged");
            }
        }
        Ok(())
    }

    /// How the platform acknowledges.
    pub fn answer(&self) -> AnswerMapping {
        self.answer.clone()
    }

    /// Whether records of this kind hold the learner's name or ID number.
    pub fn asks_for_person(&self, kind: ReportKind) -> bool {
        let asks = |field: &Field| field.from.as_deref().is_some_and(|from| PERSON_FACTS.contains(&from));
        self.fields_of(kind).is_some_and(|fields| fields.values().any(asks))
    }

    /// A record as the platform calls it.
    ///
    /// # Errors
    /// Says, for the operator, which field cannot be filled; never with what.
    pub fn record(&self, record: &ReportRecord, person: Option<&Person>) -> Result<Map<String, Value>, String> {
        if record.facts.is_empty() {
            return Err("the record that it is about is gone".to_owned());
        }
        let fact = |name: &str| match name {
            "learner.name" => person.and_then(|person| person.name.clone()).into(),
            "learner.id_number" => person.map(|person| person.id_number.clone()).into(),
            other => record.facts.get(other).cloned().unwrap_or(Value::Null),
        };
        let fields = self.fields_of(record.kind).ok_or("the mapping has no [withdrawal]")?;
        filled(fields, fact)
    }

    /// The body of a batch.
    pub fn body(&self, number: &str, created_at_ms: i64, records: Vec<Map<String, Value>>) -> String {
        let fact = |name: &str| match name {
            "batch.number" => number.into(),
            "batch.count" => records.len().into(),
            _ => created_at_ms.into(),
        };
        let mut body = filled(&self.batch, fact).expect("the facts of a batch are always there");
        let records = records.iter().cloned().map(Value::Object).collect();
        body.insert(self.records.clone(), Value::Array(records));
        Value::Object(body).to_string()
    }

    fn fields_of(&self, kind: ReportKind) -> Option<&BTreeMap<String, Field>> {
        match kind {
            ReportKind::Enrolment => Some(&self.enrolment),
            ReportKind::Withdrawal => self.withdrawal.as_ref(),
            ReportKind::Verdict => Some(&self.verdict),
        }
    }
}

impl AnswerMapping {
    /// What an answer says of each item.
    ///
    /// # Errors
    /// When it is not of the form that the mapping says.
    pub fn acknowledgements(&self, body: &str) -> Result<Vec<Acknowledgement>, String> {
        let answer: Value = serde_json::from_str(body).map_err(|_| "the answer is no JSON".to_owned())?;
        let list = at(&answer, &self.list).and_then(Value::as_array);
        let list = list.ok_or_else(|| format!("the answer has no list {:?}", self.list))?;
        list.iter().map(|entry| self.acknowledgement(entry)).collect()
    }

    fn acknowledgement(&self, entry: &Value) -> Result<Acknowledgement, String> {
        let word = |path: &str| at(entry, path).map(in_words).filter(|word| !word.is_empty());
        let missing = |path: &str| format!("an entry of the answer has no {path:?}");
        let item = word(&self.number).ok_or_else(|| missing(&self.number))?;
        let code = word(&self.code).ok_or_else(|| missing(&self.code))?;
        let refused = (!self.accepted.contains(&code)).then(|| {
            let reason = word(&self.reason).unwrap_or_default();
            without_numbers(&format!("code {code}: {reason}"))
        });
        Ok(Acknowledgement { item, refused })
    }
}

/// A receiver may repeat an ID number in its reason, which is shown and kept in the clear: long numbers are left out.
pub(super) fn without_numbers(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut digits = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_ascii_digit() || (!digits.is_empty() && matches!(c, 'x' | 'X')) {
            digits.push(c);
            continue;
        }
        shown.push_str(if digits.len() >= 15 { "…" } else { &digits });
        digits.clear();
        shown.push(c);
    }
    shown.pop();
    shown
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

/// A code is a number for some and a text for others.
fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn fields(section: &str, table: &Table, known: &[&str]) -> Result<BTreeMap<String, Field>, MappingError> {
    let read = |(name, value): (&String, &toml::Value)| {
        let path = format!("{section}.{name}");
        field(&path, value, known).map(|field| (name.clone(), field))
    };
    table.iter().map(read).collect()
}

fn field(path: &str, value: &toml::Value, known: &[&str]) -> Result<Field, MappingError> {
    let field = match value {
        toml::Value::String(from) => {
            Field { from: Some(from.clone()), constant: None, format: None, codes: None, missing: None }
        }
        other => other.clone().try_into::<Field>().map_err(|error| MappingError::Field {
            field: path.to_owned(),
            why: error.to_string().trim_end().to_owned(),
        })?,
    };
    check(path, &field, known)?;
    Ok(field)
}

fn check(path: &str, field: &Field, known: &[&str]) -> Result<(), MappingError> {
    let (from, constant) = (field.from.as_deref(), field.constant.is_some());
    let from = match from {
        None if constant => return Ok(()),
        None => return wrong(path.to_owned(), "needs `from` or `constant`"),
        Some(_) if constant => return wrong(path.to_owned(), "has `from` and `constant`: which?"),
        Some(from) => from,
    };
    if !known.contains(&from) {
        return wrong(path.to_owned(), format!("{from:?} is not known here; known: {}", known.join(", ")));
    }
    if let Some(format) = &field.format {
        if !from.ends_with("_at") {
            return wrong(path.to_owned(), format!("{from:?} is no time, and has no format"));
        }
        if let Err(error) = jiff::fmt::strtime::format(format, in_china(0)) {
            return wrong(path.to_owned(), format!("format: {error}"));
        }
    }
    let words = WORDS.iter().find(|(name, _)| *name == from).map_or(&[][..], |(_, words)| words);
    match field.codes.as_ref().and_then(|codes| words.iter().find(|word| !codes.contains_key(**word))) {
        Some(word) => wrong(path.to_owned(), format!("codes: {word:?} has none")),
        None => Ok(()),
    }
}

fn wrong<T>(field: String, why: impl Into<String>) -> Result<T, MappingError> {
    Err(MappingError::Field { field, why: why.into() })
}

fn filled(fields: &BTreeMap<String, Field>, fact: impl Fn(&str) -> Value) -> Result<Map<String, Value>, String> {
    fields.iter().map(|(name, field)| field.value(&fact).map(|value| (name.clone(), value))).collect()
}

impl Field {
    fn value(&self, fact: impl Fn(&str) -> Value) -> Result<Value, String> {
        if let Some(constant) = &self.constant {
            return Ok(constant.clone());
        }
        let from = self.from.as_deref().unwrap_or_default();
        let value = fact(from);
        if value.is_null() || value == "" {
            let missing = || format!("{from} is not on record, and the mapping has no `missing` for it");
            return self.missing.clone().ok_or_else(missing);
        }
        if let Some(codes) = &self.codes {
            let code = codes.get(&in_words(&value)).cloned();
            return code.ok_or_else(|| format!("{from} has a value for which the mapping has no code"));
        }
        match (&self.format, value.as_i64()) {
            (Some(format), Some(at_ms)) => {
                let text = jiff::fmt::strtime::format(format, in_china(at_ms));
                text.map(Value::String).map_err(|error| format!("{from}: {error}"))
            }
            _ => Ok(value),
        }
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
