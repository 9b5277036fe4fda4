//! What can be configured: built-in defaults, overridden by a file, the environment and flags, in this order.
//!
//! The defaults are `config.default.toml` itself, so that what operators read is what they get. Nothing here opens a
//! folder or a socket; it only says what a value is and refuses one that cannot work, by its key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::vision::PHOTO_LIMIT_BYTES;

/// Every key with its default, and comments for the operator.
pub const DEFAULTS: &str = include_str!("../../config.default.toml");

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// as given
        path: PathBuf,
        /// what the system said
        source: std::io::Error,
    },
    /// Something cannot be parsed, is of the wrong type, or is not a key; says which and where.
    #[error("configuration: {0}")]
    Read(#[from] Box<figment::Error>),
    /// A value cannot work.
    #[error("configuration: {key}: {why}")]
    Invalid {
        /// the key, dotted
        key: &'static str,
        /// what is wrong with its value
        why: String,
    },
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// How clients reach the server; see [`Config::public_url_of`].
    pub public_url: Option<String>,
    /// Database, keys and encrypted photos.
    pub data_folder: PathBuf,
    /// Face models.
    pub models_folder: PathBuf,
    /// Files with policy packs, besides the built-in ones.
    pub policies: Vec<PathBuf>,
    /// How long a learner's token lasts, in ms.
    pub token_lifetime_ms: i64,
    /// Checking photos.
    pub vision: Vision,
    /// Delivering verdicts.
    pub webhook: Webhook,
    /// Reporting to a provincial platform.
    pub report: Report,
    /// What clients may use up.
    pub limits: Limits,
    /// What is logged.
    pub log: Log,
}

/// Checking photos.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vision {
    /// Photos checked at the same time; 0: one for each core.
    pub workers: usize,
    /// Photos that may wait.
    pub queue_limit: usize,
}

/// Delivering verdicts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Whether webhooks may go to addresses that are not public.
    pub allow_private_addresses: bool,
    /// Whether webhooks may go over plain HTTP.
    pub allow_http: bool,
}

/// Reporting to a provincial platform.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Where batches are pushed; empty: nothing is reported.
    pub url: String,
    /// File that says how the platform calls things.
    pub mapping: PathBuf,
    /// What is shared with the platform.
    pub secret: Option<Hidden>,
    /// File that holds it.
    pub secret_file: Option<PathBuf>,
    /// Items in a batch.
    pub batch_size: usize,
    /// How often it is looked whether something waits, in ms.
    pub interval_ms: i64,
    /// Certificates (PEM) of whoever vouches for the platform, in place of those that browsers trust.
    pub ca_file: Option<PathBuf>,
    /// Whether the platform may have an address that is not public.
    pub allow_private_addresses: bool,
    /// Whether reports may go over plain HTTP.
    pub allow_http: bool,
}

/// A text that its `Debug` form does not show.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("Hidden(…)")
    }
}

impl Report {
    /// Whether anything is reported.
    pub fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !self.is_on() {
            return Ok(());
        }
        if self.mapping.as_os_str().is_empty() {
            return Err(invalid("report.mapping", "is needed where report.url is given"));
        }
        // That there is a secret is asked when reporting starts: commands that only read this file need none.
        if self.secret.is_some() && self.secret_file.is_some() {
            return Err(invalid("report.secret_file", "is given, and report.secret as well: which?"));
        }
        Ok(())
    }
}

/// What clients may use up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Events of one session in a second, in the long run.
    pub events_per_second: u32,
    /// Events of one session at once.
    pub events_burst: u32,
    /// Open sessions of one learner, over all projects and platforms.
    pub sessions_per_learner: usize,
    /// WebSocket connections in all.
    pub connections_limit: usize,
    /// A photo as it is sent, in bytes.
    pub photo_bytes_limit: usize,
    /// A message on the WebSocket, in bytes.
    pub message_bytes_limit: usize,
    /// A request's body, in bytes.
    pub body_bytes_limit: usize,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Levels, as in `RUST_LOG`.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// What flags override; whatever is not given stays as configured.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Overrides {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// How clients reach the server
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Folder of the database, keys and encrypted photos
    #[arg(long, value_name = "FOLDER")]
    pub data_folder: Option<PathBuf>,
    /// Folder of the face models
    #[arg(long, value_name = "FOLDER")]
    pub models_folder: Option<PathBuf>,
    /// How a line of the log looks
    #[arg(long)]
    pub log_format: Option<LogFormat>,
    /// What is logged: levels, as in RUST_LOG
    #[arg(long, value_name = "LEVELS")]
    pub log_filter: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        extract(Figment::from(Toml::string(DEFAULTS))).expect("a test loads the built-in defaults")
    }
}

impl Config {
    /// The configuration in force: defaults, then `file`, then the `INVIGIL_…` environment, then `overrides`.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown, or a value cannot work; the message names the key.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(path) = file {
            // Read first: a missing file must be an error, not an empty one.
            std::fs::metadata(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
            figment = figment.merge(Toml::file_exact(path));
        }
        figment = figment.merge(Env::prefixed("INVIGIL_").split("__"));
        extract(overrides.merge_into(figment))
    }

    /// How clients reach the server that is bound to `address`, without a slash at the end.
    pub fn public_url_of(&self, address: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{address}"),
        }
    }

    fn check(self) -> Result<Self, ConfigError> {
        if let Some(url) = &self.public_url {
            check_public_url(url)?;
        }
        check_folder("data_folder", &self.data_folder)?;
        check_folder("models_folder", &self.models_folder)?;
        let within = |key, value: u64, least: u64, most: u64| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(invalid(key, format!("{value} is not within {least} and {most}"))),
        };
        // A token must outlive a page's start; a day is what a stolen one may be worth at most.
        within("token_lifetime_ms", self.token_lifetime_ms.max(0) as u64, 10_000, 86_400_000)?;
        within("vision.workers", self.vision.workers as u64, 0, 1_024)?;
        within("vision.queue_limit", self.vision.queue_limit as u64, 1, 1_000_000)?;
        within("limits.events_per_second", self.limits.events_per_second.into(), 1, 10_000)?;
        let rate = self.limits.events_per_second.into();
        within("limits.events_burst", self.limits.events_burst.into(), rate, 1_000_000)?;
        within("limits.sessions_per_learner", self.limits.sessions_per_learner as u64, 1, 1_000)?;
        within("limits.connections_limit", self.limits.connections_limit as u64, 1, 10_000_000)?;
        within("limits.photo_bytes_limit", self.limits.photo_bytes_limit as u64, 16_384, PHOTO_LIMIT_BYTES as u64)?;
        // A photo has to fit into what carries it, in base64.
        let photo_in_base64 = self.limits.photo_bytes_limit as u64 * 4 / 3 + 4_096;
        within("limits.message_bytes_limit", self.limits.message_bytes_limit as u64, photo_in_base64, 256 << 20)?;
        within("limits.body_bytes_limit", self.limits.body_bytes_limit as u64, photo_in_base64, 256 << 20)?;
        within("report.batch_size", self.report.batch_size as u64, 1, 1_000)?;
        within("report.interval_ms", self.report.interval_ms.max(0) as u64, 1_000, 86_400_000)?;
        self.report.check()?;
        check_filter(&self.log.filter)?;
        Ok(self)
    }
}

impl Overrides {
    fn merge_into(&self, figment: Figment) -> Figment {
        let figment = merge(figment, "listen", self.listen.as_ref());
        let figment = merge(figment, "public_url", self.public_url.as_ref());
        let figment = merge(figment, "data_folder", self.data_folder.as_ref());
        let figment = merge(figment, "models_folder", self.models_folder.as_ref());
        let figment = merge(figment, "log.format", self.log_format.as_ref());
        merge(figment, "log.filter", self.log_filter.as_ref())
    }
}

fn merge(figment: Figment, key: &str, value: Option<&impl Serialize>) -> Figment {
    match value {
        Some(value) => figment.merge(Serialized::default(key, value)),
        None => figment,
    }
}

fn extract(figment: Figment) -> Result<Config, ConfigError> {
    figment.extract::<Config>().map_err(Box::new)?.check()
}

fn invalid(key: &'static str, why: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { key, why: why.into() }
}

fn check_public_url(text: &str) -> Result<(), ConfigError> {
    let refused = |why: &str| Err(invalid("public_url", format!("{text:?} {why}")));
    match reqwest::Url::parse(text) {
        Err(_) => refused("is not a URL"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => refused("is neither http:// nor https://"),
        Ok(url) if url.query().is_some() || url.fragment().is_some() => refused("has a query or a fragment"),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => refused("names a user"),
        Ok(_) => Ok(()),
    }
}

fn check_folder(key: &'static str, folder: &Path) -> Result<(), ConfigError> {
    match folder.as_os_str().is_empty() {
        true => Err(invalid(key, "is empty")),
        false => Ok(()),
    }
}

fn check_filter(filter: &str) -> Result<(), ConfigError> {
    let parsed = tracing_subscriber::EnvFilter::try_new(filter);
    parsed.map(drop).map_err(|error| invalid("log.filter", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_toml(toml: &str) -> Result<Config, ConfigError> {
        extract(Figment::from(Toml::string(DEFAULTS)).merge(Toml::string(toml)))
    }

    #[test]
    fn the_built_in_defaults_are_whole_and_valid() {
        let config = Config::default();
        assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.public_url_of(config.listen), "http://127.0.0.1:8080");
        assert_eq!(config.token_lifetime_ms, 900_000);
        assert_eq!((config.limits.events_per_second, config.limits.events_burst), (20, 200));
        assert_eq!(config.webhook, Webhook::default());
        assert_eq!(config.log, Log { format: LogFormat::Text, filter: "info".into() });
    }

    #[test]
    fn what_a_value_must_not_be() {
        for (toml, named) in [
            ("lissten = '127.0.0.1:1'", "lissten"),
            ("listen = 'everywhere'", "listen"),
            ("public_url = 'invigil.example'", "public_url"),
            ("public_url = 'ftp://invigil.example'", "public_url"),
            ("public_url = 'https://me@invigil.example'", "public_url"),
            ("data_folder = ''", "data_folder"),
            ("models_folder = ''", "models_folder"),
            ("token_lifetime_ms = 9", "token_lifetime_ms"),
            ("token_lifetime_ms = -1", "token_lifetime_ms"),
            ("vision.queue_limit = 0", "vision.queue_limit"),
            ("vision.workers = -1", "vision.workers"),
            ("webhook.allow_htpp = true", "allow_htpp"),
            ("webhook.allow_http = 'yes'", "webhook.allow_http"),
            ("report.url = 'https://a.example'", "report.mapping"),
            (
                "report = {url = 'https://a.example', mapping = 'm.toml', secret = 's', secret_file = 'f'}",
                "report.secret",
            ),
            ("report.batch_size = 0", "report.batch_size"),
            ("report.interval_ms = 1", "report.interval_ms"),
            ("limits.events_per_second = 0", "limits.events_per_second"),
            ("limits.events_burst = 19", "limits.events_burst"),
            ("limits.sessions_per_learner = 0", "limits.sessions_per_learner"),
            ("limits.connections_limit = 0", "limits.connections_limit"),
            ("limits.photo_bytes_limit = 1", "limits.photo_bytes_limit"),
            ("limits.message_bytes_limit = 524288", "limits.message_bytes_limit"),
            ("limits.body_bytes_limit = 524288", "limits.body_bytes_limit"),
            ("log.format = 'xml'", "log.format"),
            ("log.filter = 'invigil=loud'", "log.filter"),
        ] {
            let refused = from_toml(toml).expect_err(toml).to_string();
            assert!(refused.contains(named), "{toml}: {refused}");
        }
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "the signature is figment's")]
    fn environment_overrides_file_and_flags_override_both() {
        figment::Jail::expect_with(|jail| {
            jail.create_file(
                "own.toml",
                "listen = '127.0.0.1:1'\npolicies = ['a.toml']\n[log]\nfilter = 'warn'\nformat = 'json'\n",
            )?;
            jail.set_env("INVIGIL_LISTEN", "127.0.0.1:2");
            jail.set_env("INVIGIL_WEBHOOK__ALLOW_HTTP", "true");
            jail.set_env("INVIGIL_LOG__FILTER", "error");
            let overrides = Overrides { log_filter: Some("debug".into()), ..Overrides::default() };
            let config = Config::load(Some(Path::new("own.toml")), &overrides).unwrap();
            assert_eq!(config.listen.port(), 2);
            assert_eq!(config.policies, [Path::new("a.toml")]);
            assert!(config.webhook.allow_http && !config.webhook.allow_private_addresses);
            assert_eq!(config.log, Log { format: LogFormat::Json, filter: "debug".into() });
            Ok(())
        });
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let refused = Config::load(Some(Path::new("/nowhere/invigil.toml")), &Overrides::default());
        assert!(refused.unwrap_err().to_string().contains("/nowhere/invigil.toml"));
    }

    #[test]
    fn the_public_url_has_no_slash_at_its_end() {
        let config = from_toml("public_url = 'https://invigil.example/'").unwrap();
        assert_eq!(config.public_url_of(config.listen), "https://invigil.example");
    }
}
