//! `invigil policy`: which documents are known and in force, what a pack says, whether a file is one, and what two
//! packs do differently.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::civil::Date;
use serde_json::json;

use super::say;
use crate::clock::Clock;
use crate::policy::{Policies, Policy, PolicyError, date_in_china};
use crate::store::archive::Archive;

/// Arguments of `invigil policy`.
#[derive(Args, Debug)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print which packs there are, and which of them are in force
    List {
        /// Further packs, as `policies` of the configuration names them
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// In force on this day in China, such as 2024-06-13; without it, today
        #[arg(long, value_name = "DATE")]
        at: Option<Date>,
        /// Print for programs instead of people
        #[arg(long)]
        json: bool,
    },
    /// Print a whole pack; its SHA-256 is the digest of its label
    Show {
        /// An id, an id@version, or a file
        #[arg(value_name = "PACK")]
        pack: String,
        /// Print as JSON, with label and digest
        #[arg(long)]
        json: bool,
    },
    /// Print everything that is wrong with files that are to be packs
    Check {
        /// The files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Print what two packs say differently
    Diff {
        /// An id, an id@version, or a file
        #[arg(value_name = "A")]
        a: String,
        /// Another
        #[arg(value_name = "B")]
        b: String,
        /// Print for programs instead of people
        #[arg(long)]
        json: bool,
    },
}

impl PolicyArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When a pack is not found or cannot be read, or nothing can be printed.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let today = date_in_china(Clock::system().now_ms());
        match self.command {
            Command::List { files, at, json } => list(&files, at.unwrap_or(today), json)?,
            Command::Show { pack, json } => show(&find(&pack, today)?, json)?,
            Command::Check { files } => return check(&files),
            Command::Diff { a, b, json } => diff(&find(&a, today)?, &find(&b, today)?, json)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A pack from its file.
pub(super) fn read(path: &Path) -> anyhow::Result<Policy> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Policy::from_toml(&text).with_context(|| path.display().to_string())
}

/// Adds the packs under which sessions of a data folder were opened, whatever is configured now.
pub(super) fn keep_those_of(archive: &Archive, policies: &mut Policies) -> anyhow::Result<()> {
    for (label, text) in archive.policy_texts()? {
        policies.keep(&label, &text).with_context(|| format!("pack {label}"))?;
    }
    Ok(())
}

/// A pack that is built in, by name, or a file.
pub(super) fn find(pack: &str, today: Date) -> anyhow::Result<Policy> {
    find_in(&Policies::new(Vec::new())?, pack, today)
}

/// A pack that is known, by name or by the label that logs have, or a file.
pub(super) fn find_in(known: &Policies, pack: &str, today: Date) -> anyhow::Result<Policy> {
    if let Some(found) = known.find(pack, today).or_else(|| known.by_label(pack)) {
        return Ok(Policy::clone(found));
    }
    if pack.contains(['.', '/']) || Path::new(pack).exists() {
        return read(Path::new(pack));
    }
    let known: Vec<String> = known.all().map(|policy| policy.name()).collect();
    anyhow::bail!("{pack} is no file, and no pack is called so; there are {}", known.join(", "))
}

/// How a day is said that there need not be.
fn day(day: Option<Date>) -> String {
    day.map_or_else(|| "–".to_owned(), |day| day.to_string())
}

fn list(files: &[PathBuf], at: Date, json: bool) -> anyhow::Result<()> {
    let policies = Policies::new(files.iter().map(|file| read(file)).collect::<Result<_, _>>()?)?;
    // Of several versions that are in force, one judges.
    let judges = |policy: &Policy| policies.in_force_on(&policy.id, at).is_ok_and(|found| **found == *policy);
    if json {
        let packs = policies.all().map(|policy| {
            json!({
                "id": policy.id, "version": policy.version, "label": policy.label(), "title": policy.title,
                "issuer": policy.issuer, "document": policy.document, "region": policy.region,
                "effective_from": policy.effective_from.map(|day| day.to_string()),
                "effective_until": policy.effective_until.map(|day| day.to_string()),
                "in_force": judges(policy),
            })
        });
        return say(json!({"at": at.to_string(), "packs": packs.collect::<Vec<_>>()}));
    }
    let mut rows = vec![["pack", "from", "until", "in force", "where", "document"].map(str::to_owned).to_vec()];
    rows.extend(policies.all().map(|policy| {
        let in_force = if judges(policy) { "yes" } else { "no" };
        let (from, until) = (day(policy.effective_from), day(policy.effective_until));
        let document = if policy.document.is_empty() { "–" } else { &policy.document };
        vec![policy.name(), from, until, in_force.to_owned(), place(policy), document.to_owned()]
    }));
    table::print(&rows)?;
    say(format_args!("\nin force: on {at} in China; where: first digits of GB/T 2260"))
}

/// Where a pack is in force, for people.
fn place(policy: &Policy) -> String {
    match policy.region.as_str() {
        "" => "–".to_owned(),
        "000000" => "000000 (all)".to_owned(),
        region => region.to_owned(),
    }
}

fn show(policy: &Policy, json: bool) -> anyhow::Result<()> {
    if json {
        let mut whole = to_json(&policy.to_table().into());
        whole["label"] = policy.label().into();
        whole["digest"] = policy.digest.clone().into();
        return say(serde_json::to_string_pretty(&whole)?);
    }
    // Byte for byte, so that its digest is the pack's.
    match std::io::stdout().write_all(policy.text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn to_json(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(is) => (*is).into(),
        toml::Value::Datetime(day) => day.to_string().into(),
        toml::Value::Array(items) => items.iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect::<serde_json::Map<_, _>>().into()
        }
    }
}

/// Names every problem of every file, so that one run tells all.
fn check(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let (mut good, mut wrong) = (Vec::new(), 0);
    for file in files {
        let name = file.display();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                wrong += 1;
                say(format_args!("{name}: {error}"))?;
                continue;
            }
        };
        let problems = Policy::problems(&text);
        wrong += problems.len();
        for problem in &problems {
            say(format_args!("{name}: {problem}"))?;
        }
        if problems.is_empty() {
            let policy = Policy::from_toml(&text)?;
            say(format_args!("{name}: good: {}{}", policy.label(), rests_on(&text)?))?;
            good.push(policy);
        }
    }
    if let Err(error) = Policies::new(good) {
        wrong += 1;
        say(format_args!("together with the built-in packs: {error}"))?;
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many keys that a pack leaves out are named.
const NAMED: usize = 6;

/// What a pack leaves out, in words.
fn rests_on(text: &str) -> Result<String, PolicyError> {
    let missing = Policy::missing(text)?;
    if missing.is_empty() {
        return Ok("; it is whole".to_owned());
    }
    let more = if missing.len() > NAMED { ", …" } else { "" };
    let named = missing.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    Ok(format!("; {} keys are left out, and as in the default pack or not said: {named}{more}", missing.len()))
}

/// What two packs say of the keys on which they do not agree; a key that a pack has not is `None`.
type Differences = Vec<(String, [Option<String>; 2])>;

fn differences(a: &Policy, b: &Policy) -> Differences {
    let [a, b] = [a, b].map(|policy| {
        let mut flat = BTreeMap::new();
        flatten("", &policy.to_table().into(), &mut flat);
        flat
    });
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let said = keys.into_iter().map(|key| (key.clone(), [a.get(key).cloned(), b.get(key).cloned()]));
    said.filter(|(_, [a, b])| a != b).collect()
}

fn flatten(path: &str, value: &toml::Value, flat: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, flat);
            }
        }
        toml::Value::String(text) => drop(flat.insert(path.to_owned(), text.clone())),
        other => drop(flat.insert(path.to_owned(), other.to_string())),
    }
}

fn diff(a: &Policy, b: &Policy, json: bool) -> anyhow::Result<()> {
    let found = differences(a, b);
    if json {
        let rows: Vec<_> = found.iter().map(|(key, [a, b])| json!({"key": key, "a": a, "b": b})).collect();
        return say(json!({"a": a.label(), "b": b.label(), "differences": rows}));
    }
    if found.is_empty() {
        return say(format_args!("{} and {} say the same", a.name(), b.name()));
    }
    // Texts are too long for columns.
    let is_text = |key: &str| key.starts_with("clause.") || key.starts_with("enrolment.clause.") || key == "title";
    let (texts, short): (Differences, Differences) = found.into_iter().partition(|(key, _)| is_text(key));
    let shown = |said: &Option<String>| said.clone().unwrap_or_else(|| "–".to_owned());
    let mut rows = vec![vec!["key".to_owned(), a.name(), b.name()]];
    rows.extend(short.iter().map(|(key, [a, b])| vec![key.clone(), shown(a), shown(b)]));
    table::print(&rows)?;
    for (key, [a, b]) in &texts {
        say(format_args!("\n{key}\n  - {}\n  + {}", shown(a), shown(b)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_packs_differ_in_what_they_say() {
        let today = jiff::civil::date(2026, 1, 1);
        let (hebei, city) = (find("hebei-2024", today).unwrap(), find("city-2019@1", today).unwrap());
        let found = differences(&hebei, &city);
        let of = |key: &str| found.iter().find(|(found, _)| found == key).map(|(_, said)| said.clone());
        let said = |a: &str, b: &str| Some([Some(a.to_owned()), Some(b.to_owned())]);
        assert_eq!(of("enrolment.subsidy_limit_period"), said("lifetime", "year"));
        assert_eq!(of("action.platform_banned"), said("invalidate", "review"));
        assert_eq!(of("effective_from"), said("2024-04-01", "2019-01-01"));
        assert_eq!(of("effective_until"), Some([None, Some("2021-12-31".to_owned())]));
        assert_eq!(of("enrolment.subsidy_limit"), None, "three times, both");
        assert_eq!(of("class_hour_ms"), None);
        assert!(of("clause.fast_forward.source").is_some());
        assert_eq!(differences(&hebei, &hebei), []);
    }

    #[test]
    fn a_name_that_is_no_packs_is_told_which_there_are() {
        let error = find("henan", jiff::civil::date(2026, 1, 1)).unwrap_err().to_string();
        assert!(error.contains("henan-2022@1"), "{error}");
    }

    #[test]
    fn json_has_days_as_text() {
        let policy = find("city-2019", jiff::civil::date(2026, 1, 1)).unwrap();
        let json = to_json(&policy.to_table().into());
        assert_eq!(json["effective_until"], "2021-12-31");
        assert_eq!(json["enrolment"]["online_only_occupations"], json!([]));
        assert_eq!(json["enrolment"]["subsidy_limit"], 3);
    }
}
