//! The reference of all settings, made out of `config.default.toml`: docs/configuration.md.

use std::fmt::Write as _;

use super::sources::{flag, variable};
use super::{DEFAULTS, Overrides};

const INTRODUCTION: &str = "\
# Configuration

This document is made by `invigil config reference > docs/configuration.md` out of `config.default.toml`; do not edit it.

Every setting has a default or may be left out. A file (`--config FILE`, TOML) overrides the defaults, the environment
overrides the file, and flags override both. `invigil config check` says everything that is wrong, each with its key and
its source, and looks at the files that are named; `invigil config show` prints what is in force and from where. Neither
shows a secret.
";

/// Settings that share a description.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    text: Vec<String>,
    /// key, and its value as in TOML; an example when it has no default
    keys: Vec<(String, Option<String>)>,
    examples: Vec<Option<String>>,
}

/// The whole document.
pub fn markdown() -> String {
    let mut document = INTRODUCTION.to_owned();
    let flags: Vec<&str> = Overrides::KEYS.to_vec();
    let mut section = String::new();
    for line in groups() {
        match line {
            Part::Section(name) => {
                let _ = write!(document, "\n## `[{name}]`\n");
                section = format!("{name}.");
            }
            Part::Group(group) => write_group(&mut document, &section, &group, &flags),
        }
    }
    document
}

enum Part {
    Section(String),
    Group(Group),
}

fn write_group(document: &mut String, section: &str, group: &Group, flags: &[&str]) {
    document.push('\n');
    for ((key, default), example) in group.keys.iter().zip(&group.examples) {
        let key = format!("{section}{key}");
        let value = match (default, example) {
            (Some(default), _) => format!("default `{default}`"),
            (None, Some(example)) => format!("not set; as in `{example}`"),
            (None, None) => "not set".to_owned(),
        };
        let _ = write!(document, "- **`{key}`** — {value} — `{}`", variable(&key));
        if flags.contains(&key.as_str()) {
            let _ = write!(document, " — `{}`", flag(&key));
        }
        document.push('\n');
    }
    if !group.text.is_empty() {
        let _ = write!(document, "\n{}\n", group.text.join("\n"));
    }
}

/// What the defaults say, in their order. The head of the file, up to the first empty line, is about the file.
fn groups() -> Vec<Part> {
    let mut parts = Vec::new();
    let mut group = Group::default();
    let finish = |group: &mut Group, parts: &mut Vec<Part>| {
        let done = std::mem::take(group);
        if !done.keys.is_empty() {
            parts.push(Part::Group(done));
        }
    };
    for line in DEFAULTS.lines() {
        let comment = line.strip_prefix("# ").or_else(|| (line == "#").then_some(""));
        let setting = comment.map_or_else(|| key_value(line), key_value);
        match (setting, comment) {
            (Some((key, value)), None) => {
                group.keys.push((key, Some(value)));
                group.examples.push(None);
            }
            (Some((key, value)), Some(_)) => {
                group.keys.push((key, None));
                group.examples.push((!value.contains('…')).then_some(value));
            }
            (None, Some(text)) => {
                if !group.keys.is_empty() {
                    finish(&mut group, &mut parts);
                }
                group.text.push(text.to_owned());
            }
            (None, None) => {
                // An empty line, or the name of a section.
                finish(&mut group, &mut parts);
                if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                    parts.push(Part::Section(name.to_owned()));
                }
            }
        }
    }
    finish(&mut group, &mut parts);
    parts
}

fn key_value(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once(" = ")?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_key.then(|| (key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::error::Kind;
    use figment::providers::{Format as _, Serialized, Toml};

    use super::*;
    use crate::config::Config;

    const COMMITTED: &str = "docs/configuration.md";

    #[test]
    fn the_committed_reference_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == markdown(), "{COMMITTED} is stale: `cargo run -- config reference > {COMMITTED}`");
    }

    /// The settings that the types know, as their own refusal of an unknown one lists them.
    fn known(section: &str) -> Vec<String> {
        let figment = Figment::from(Toml::string(DEFAULTS));
        let error = figment.merge(Serialized::default(&format!("{section}no_such"), 1)).extract::<Config>();
        match error.unwrap_err().kind {
            Kind::UnknownField(_, known) => known.iter().map(|name| format!("{section}{name}")).collect(),
            kind => panic!("{kind}"),
        }
    }

    #[test]
    fn every_setting_that_the_types_know_is_in_it_and_no_other() {
        let text = markdown();
        let mut sections = vec![String::new()];
        sections.extend(groups().into_iter().filter_map(|part| match part {
            Part::Section(name) => Some(format!("{name}.")),
            Part::Group(_) => None,
        }));
        let names = |keys: Vec<String>| -> std::collections::BTreeSet<String> { keys.into_iter().collect() };
        let of_types = names(sections.iter().flat_map(|section| known(section)).collect());
        let documented: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("- **`")?.split('`').next()).map(str::to_owned).collect();
        let mut documented = names(documented);
        documented.extend(
            sections
                .iter()
                .filter(|section| !section.is_empty())
                .map(|section| section.trim_end_matches('.').to_owned()),
        );
        assert_eq!(documented, of_types);
    }

    #[test]
    fn every_flag_is_that_of_a_setting() {
        let text = markdown();
        for key in Overrides::KEYS {
            assert!(text.contains(&format!("`{}`", flag(key))), "{key}");
        }
    }
}
