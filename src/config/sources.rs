//! Where a setting comes from: each source is read into its settings, the later ones override the earlier.
//!
//! Every setting that is not a default is first tried alone on top of the defaults, so that one mistake does not hide
//! the next, and each is said with its key and its source.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Provider};

use super::{Config, ConfigError, DEFAULTS, Overrides};

/// What the names of environment variables begin with.
const PREFIX: &str = "INVIGIL_";

/// Where a setting was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// built in
    Default,
    /// this file
    File(PathBuf),
    /// this environment variable
    Environment(String),
    /// this flag
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path) => write!(formatter, "file {}", path.display()),
            Self::Environment(variable) => write!(formatter, "environment {variable}"),
            Self::Flag(flag) => write!(formatter, "flag {flag}"),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// the key, dotted
    pub key: String,
    /// where its value was found
    pub origin: Origin,
    /// what is wrong with it
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}): {}", self.key, self.origin, self.why)
    }
}

/// All settings that were given, each from the source that has the last word.
#[derive(Debug, Clone)]
pub struct Sources(BTreeMap<String, (Value, Origin)>);

impl Sources {
    /// Reads defaults, file, environment and flags.
    ///
    /// # Errors
    /// When the file cannot be read or is no TOML.
    pub fn read(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut this = Self::defaults()?;
        if let Some(path) = file {
            // Read first: a missing file must be an error, not an empty one.
            std::fs::metadata(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
            this.add(&Toml::file_exact(path), |_| Origin::File(path.to_owned()))?;
        }
        this.add(&Env::prefixed(PREFIX).split("__"), |key| Origin::Environment(variable(key)))?;
        for (key, value) in overrides.given() {
            this.0.insert(key.to_owned(), (value, Origin::Flag(flag(key))));
        }
        Ok(this)
    }

    /// The built-in defaults alone.
    pub(super) fn defaults() -> Result<Self, ConfigError> {
        let mut this = Self(BTreeMap::new());
        this.add(&Toml::string(DEFAULTS), |_| Origin::Default)?;
        Ok(this)
    }

    /// The settings of a text in TOML, on top of the defaults, as if it were a file.
    #[cfg(test)]
    pub(super) fn of_toml(text: &str) -> Result<Self, ConfigError> {
        let mut this = Self::defaults()?;
        this.add(&Toml::string(text), |_| Origin::File("test.toml".into()))?;
        Ok(this)
    }

    fn add(&mut self, provider: &dyn Provider, origin: impl Fn(&str) -> Origin) -> Result<(), ConfigError> {
        let profiles = provider.data().map_err(Box::new)?;
        for dict in profiles.into_values() {
            self.add_dict("", dict, &origin);
        }
        Ok(())
    }

    fn add_dict(&mut self, prefix: &str, dict: Dict, origin: &impl Fn(&str) -> Origin) {
        for (name, value) in dict {
            let key = format!("{prefix}{name}");
            match value {
                Value::Dict(_, inner) if !inner.is_empty() => self.add_dict(&format!("{key}."), inner, origin),
                value => {
                    let origin = origin(&key);
                    self.0.insert(key, (value, origin));
                }
            }
        }
    }

    /// The configuration, or everything that is wrong with it.
    ///
    /// # Errors
    /// Each setting that cannot be used.
    pub fn extract(&self) -> Result<Config, Vec<Problem>> {
        let mut problems = Vec::new();
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let mut figment = defaults.clone();
        for (key, (value, origin)) in self.0.iter().filter(|(_, (_, origin))| *origin != Origin::Default) {
            let setting = Serialized::default(key, value);
            match defaults.clone().merge(setting.clone()).extract::<Config>() {
                Ok(_) => figment = figment.merge(setting),
                Err(error) => {
                    let unknown = matches!(error.kind, figment::error::Kind::UnknownField(..));
                    let why = if is_secret(key) && !unknown { "must be text".to_owned() } else { in_words(&error) };
                    problems.push(Problem { key: key.clone(), origin: origin.clone(), why });
                }
            }
        }
        match figment.extract::<Config>() {
            Ok(config) => {
                problems.extend(config.problems().into_iter().map(|(key, why)| self.problem(key, why)));
                if problems.is_empty() { Ok(config) } else { Err(problems) }
            }
            Err(error) if problems.is_empty() => Err(vec![self.problem("the whole", in_words(&error))]),
            Err(_) => Err(problems),
        }
    }

    /// A problem with a setting, wherever that was given.
    pub fn problem(&self, key: &str, why: String) -> Problem {
        let origin = self.0.get(key).map_or(Origin::Default, |(_, origin)| origin.clone());
        Problem { key: key.to_owned(), origin, why }
    }

    /// Every setting with its value as in TOML, and its source; secrets are not shown.
    pub fn shown(&self) -> impl Iterator<Item = (&str, String, &Origin)> {
        let is_section = |value: &Value| matches!(value, Value::Dict(..));
        self.0.iter().filter(move |(_, (value, _))| !is_section(value)).map(|(key, (value, origin))| {
            let shown = if is_secret(key) { "(secret)".to_owned() } else { in_toml(value) };
            (key.as_str(), shown, origin)
        })
    }
}

/// A mistyped secret is one too.
fn is_secret(key: &str) -> bool {
    let secrets = ["keys.", "report.secret", "database.url", "evidence.secret", "redis.url"];
    let given_as_text = secrets.iter().any(|secret| key.starts_with(secret)) && !key.ends_with("_file");
    key == "keys" || given_as_text
}

fn in_words(error: &figment::Error) -> String {
    match &error.kind {
        figment::error::Kind::UnknownField(_, known) => {
            format!("is not a setting; known here: {}", known.join(", "))
        }
        // The types of the program are not the operator's.
        kind => ["usize", "u64", "u32", "i64"]
            .iter()
            .fold(kind.to_string(), |text, name| text.replace(name, "a whole number"))
            .replace("``", "`"),
    }
}

fn in_toml(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, letter) => format!("{:?}", letter.to_string()),
        Value::Bool(_, truth) => truth.to_string(),
        Value::Num(_, number) => {
            let whole = number.to_i128().map(|whole| whole.to_string());
            whole.or_else(|| number.to_f64().map(|number| number.to_string())).unwrap_or_default()
        }
        Value::Array(_, items) => format!("[{}]", items.iter().map(in_toml).collect::<Vec<_>>().join(", ")),
        Value::Dict(..) | Value::Empty(..) => "{}".to_owned(),
    }
}

/// The environment variable that sets `key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// The flag that sets `key`.
pub(super) fn flag(key: &str) -> String {
    format!("--{}", key.replace(['.', '_'], "-"))
}
