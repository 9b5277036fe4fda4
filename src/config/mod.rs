//! What can be configured: built-in defaults, overridden by a file, the environment and flags, in this order.
//!
//! The defaults are `config.default.toml` itself, so that what operators read is what they get. Nothing here opens a
//! folder or a socket; it only says what a value is and refuses one that cannot work, by its key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::value::Value;
use serde::{Deserialize, Serialize};

mod database;
mod evidence;
pub mod reference;
mod roles;
mod secret;
mod sources;

pub use database::Database;
pub use evidence::{Bucket, EvidenceSettings};
pub use roles::{Role, Roles};
pub use secret::{KeySettings, Secret};
pub use sources::{Origin, Problem, Sources};

use crate::cluster::redis::RedisAddress;
use crate::gateway::address::Network;
use crate::vision::{PHOTO_LIMIT_BYTES, Wanted, WantedPrecision, WantedProvider};

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
    /// A source cannot be parsed.
    #[error("configuration: {0}")]
    Read(#[from] Box<figment::Error>),
    /// Settings are unknown, of the wrong type, or cannot work: all of them.
    #[error("configuration: {}", in_a_line(.0))]
    Invalid(Vec<Problem>),
}

fn in_a_line(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Which parts of the service this node takes on.
    pub roles: Roles,
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
    /// Proxies that are believed about whom they speak for.
    pub trusted_proxies: Vec<Network>,
    /// Where records and journal are.
    pub database: Database,
    /// The installation's secrets, as far as they are given.
    #[serde(default)]
    pub keys: KeySettings,
    /// TLS on the port that is listened on.
    #[serde(default)]
    pub tls: Tls,
    /// What Prometheus reads.
    #[serde(default)]
    pub metrics: Metrics,
    /// What pages in browsers may do.
    pub web: Web,
    /// Checking photos.
    pub vision: Vision,
    /// Keeping photos.
    pub evidence: EvidenceSettings,
    /// What several nodes share.
    #[serde(default)]
    pub redis: Redis,
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
    /// What computes the models.
    pub provider: WantedProvider,
    /// What it computes them in.
    pub precision: WantedPrecision,
    /// Whether another provider may take the place of one that was named and does not run.
    pub fallback: bool,
}

impl Vision {
    /// What is asked of the models.
    pub fn wanted(&self) -> Wanted {
        Wanted { provider: self.provider, precision: self.precision, fallback: self.fallback }
    }
}

/// TLS on the port that is listened on: both files, or neither.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain of certificates, PEM.
    pub certificate_file: Option<PathBuf>,
    /// The private key, PEM.
    pub key_file: Option<PathBuf>,
}

/// What Prometheus reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Address and port of `/metrics`; off when not given.
    pub listen: Option<SocketAddr>,
}

/// What pages in browsers may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Whether platforms may name origins on this machine, without TLS.
    pub allow_localhost_origins: bool,
}

/// What several nodes share. Without a URL there is one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Where it is; with a password, perhaps.
    pub url: Option<Secret>,
    /// File that holds the URL.
    pub url_file: Option<PathBuf>,
    /// Certificates (PEM) of whoever vouches for it, in place of those that the system trusts.
    pub ca_file: Option<PathBuf>,
}

impl Redis {
    /// Where it is, if several nodes are to share something.
    ///
    /// # Errors
    /// What is wrong with it, by its key and without repeating it.
    pub fn address(&self) -> Result<Option<RedisAddress>, (&'static str, String)> {
        let key = if self.url.is_some() { "redis.url" } else { "redis.url_file" };
        let url = secret::text(self.url.as_ref(), self.url_file.as_deref()).map_err(|why| (key, why))?;
        let Some(url) = url else { return Ok(None) };
        let address = RedisAddress::parse(&url, self.ca_file.as_deref());
        address.map(Some).map_err(|error| (key, error.to_string()))
    }

    /// Whether this server is one of several.
    pub fn is_given(&self) -> bool {
        self.url.is_some() || self.url_file.is_some()
    }

    fn problem(&self) -> Option<(&'static str, &'static str)> {
        if self.url.is_some() && self.url_file.is_some() {
            return Some(("redis.url_file", "redis.url is given too: give one of them"));
        }
        (!self.is_given() && self.ca_file.is_some()).then_some(("redis.ca_file", "is given, and no redis.url"))
    }
}

/// Delivering verdicts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Whether webhooks may go to addresses that are not public.
    pub allow_private_addresses: bool,
    /// Whether webhooks may go over plain HTTP.
    pub allow_http: bool,
    /// Days for which deliveries are kept once they arrived or were given up, and learner tokens once they expired; 0: for
    /// ever.
    pub keep_days: u32,
}

impl Webhook {
    /// How long deliveries are kept once they are over, ms; none: for ever.
    pub fn keep_ms(&self) -> Option<i64> {
        (self.keep_days > 0).then(|| i64::from(self.keep_days) * 86_400_000)
    }
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
    pub secret: Option<Secret>,
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

impl Report {
    /// Whether anything is reported.
    pub fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    fn problem(&self) -> Option<(&'static str, &'static str)> {
        if !self.is_on() {
            return None;
        }
        if self.mapping.as_os_str().is_empty() {
            return Some(("report.mapping", "is needed where report.url is given"));
        }
        // That there is a secret is asked when reporting starts: commands that only read this file need none.
        let twice = self.secret.is_some() && self.secret_file.is_some();
        twice.then_some(("report.secret_file", "is given, and report.secret as well: which?"))
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
    /// Requests of one API key in a second, in the long run; 0: no limit, as for all rates below.
    pub requests_per_second: u32,
    /// Requests of one API key at once.
    pub requests_burst: u32,
    /// Requests of one address in a second, in the long run.
    pub address_requests_per_second: u32,
    /// Requests of one address at once.
    pub address_requests_burst: u32,
    /// Wrong API keys of one address in a minute.
    pub authentication_failures_per_minute: u32,
    /// Sessions opened for one learner in a minute.
    pub openings_per_minute: u32,
    /// WebSocket connections begun by one address in a second, in the long run.
    pub handshakes_per_second: u32,
    /// WebSocket connections begun by one address at once.
    pub handshakes_burst: u32,
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
    /// Which parts of the service this node takes on, with commas: gateway, api, vision, delivery
    #[arg(long, value_name = "ROLES")]
    pub roles: Option<String>,
    /// How clients reach the server
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Folder of the database, keys and encrypted photos
    #[arg(long, value_name = "FOLDER")]
    pub data_folder: Option<PathBuf>,
    /// Folder of the face models
    #[arg(long, value_name = "FOLDER")]
    pub models_folder: Option<PathBuf>,
    /// Address and port of /metrics
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// How a line of the log looks
    #[arg(long)]
    pub log_format: Option<LogFormat>,
    /// What is logged: levels, as in RUST_LOG
    #[arg(long, value_name = "LEVELS")]
    pub log_filter: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        let sources = Sources::defaults().expect("a test reads the built-in defaults");
        sources.extract().expect("a test loads the built-in defaults")
    }
}

impl Config {
    /// The configuration in force: defaults, then `file`, then the `INVIGIL_…` environment, then `overrides`.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown, or a value cannot work; the message names every such key.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        Sources::read(file, overrides)?.extract().map_err(ConfigError::Invalid)
    }

    /// How clients reach the server that is bound to `address`, without a slash at the end.
    pub fn public_url_of(&self, address: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None if self.tls.certificate_file.is_some() => format!("https://{address}"),
            None => format!("http://{address}"),
        }
    }

    /// What cannot work, by its key.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        found.extend(self.public_url.as_deref().and_then(public_url_problem).map(|why| ("public_url", why)));
        for (key, folder) in [("data_folder", &self.data_folder), ("models_folder", &self.models_folder)] {
            if folder.as_os_str().is_empty() {
                found.push((key, "is empty".to_owned()));
            }
        }
        if self.tls.certificate_file.is_some() != self.tls.key_file.is_some() {
            let missing = if self.tls.key_file.is_none() { "tls.key_file" } else { "tls.certificate_file" };
            found.push((missing, "is missing: TLS needs both a certificate and its key".to_owned()));
        }
        if self.metrics.listen.is_some_and(|listen| listen == self.listen && listen.port() != 0) {
            found.push(("metrics.listen", "is the address that learners and platforms use".to_owned()));
        }
        found.extend(self.keys.given_twice());
        found.extend(self.evidence.problems());
        found.extend(self.database.problems());
        found.extend(self.redis.problem().map(|(key, why)| (key, why.to_owned())));
        found.extend(self.shared_problem());
        found.extend(self.report.problem().map(|(key, why)| (key, why.to_owned())));
        self.limit_problems(&mut found);
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log.filter);
        found.extend(filter.err().map(|error| ("log.filter", error.to_string())));
        found
    }

    /// What a node lacks to be one of several, or to be alone.
    fn shared_problem(&self) -> Option<(&'static str, String)> {
        let roles = &self.roles;
        if !self.redis.is_given() {
            let why =
                |left_out| format!("leaves out {left_out}, and without redis.url there is no other node to do that");
            return roles.left_out().map(|left_out| ("roles", why(left_out)));
        }
        if !self.database.is_postgres() && !roles.only_vision() {
            let why = "is given and database.url is not: several nodes need one database, but those with vision as their only role";
            return Some(("redis.url", why.to_owned()));
        }
        let why = "is given and evidence.url is not: a node must find the photos that another has kept";
        self.evidence.url.is_none().then(|| ("redis.url", why.to_owned()))
    }

    fn limit_problems(&self, found: &mut Vec<(&'static str, String)>) {
        let mut within = |key, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                found.push((key, format!("{value} is not within {least} and {most}")));
            }
        };
        // A token must outlive a page's start; a day is what a stolen one may be worth at most.
        within("token_lifetime_ms", self.token_lifetime_ms.max(0) as u64, 10_000, 86_400_000);
        within("vision.workers", self.vision.workers as u64, 0, 1_024);
        within("vision.queue_limit", self.vision.queue_limit as u64, 1, 1_000_000);
        let limits = &self.limits;
        within("limits.events_per_second", limits.events_per_second.into(), 1, 10_000);
        within("limits.events_burst", limits.events_burst.into(), limits.events_per_second.into(), 1_000_000);
        for (key, burst, rate) in [
            ("limits.requests_burst", limits.requests_burst, limits.requests_per_second),
            ("limits.address_requests_burst", limits.address_requests_burst, limits.address_requests_per_second),
            ("limits.handshakes_burst", limits.handshakes_burst, limits.handshakes_per_second),
        ] {
            within(key, burst.into(), rate.into(), 1_000_000);
        }
        let (failures, openings) = (limits.authentication_failures_per_minute, limits.openings_per_minute);
        within("limits.authentication_failures_per_minute", failures.into(), 0, 1_000_000);
        within("limits.openings_per_minute", openings.into(), 0, 1_000_000);
        within("limits.sessions_per_learner", limits.sessions_per_learner as u64, 1, 1_000);
        within("limits.connections_limit", limits.connections_limit as u64, 1, 10_000_000);
        within("limits.photo_bytes_limit", limits.photo_bytes_limit as u64, 16_384, PHOTO_LIMIT_BYTES as u64);
        // A photo has to fit into what carries it, in base64.
        let photo_in_base64 = limits.photo_bytes_limit as u64 * 4 / 3 + 4_096;
        within("limits.message_bytes_limit", limits.message_bytes_limit as u64, photo_in_base64, 256 << 20);
        within("limits.body_bytes_limit", limits.body_bytes_limit as u64, photo_in_base64, 256 << 20);
        within("report.batch_size", self.report.batch_size as u64, 1, 1_000);
        within("report.interval_ms", self.report.interval_ms.max(0) as u64, 1_000, 86_400_000);
    }

    /// What is wrong with the secrets that are given, by their keys. Reads the files that are named.
    pub fn secret_problems(&self) -> Vec<(&'static str, String)> {
        let mut found = self.keys.problems();
        found.extend(self.database.address().err());
        found.extend(self.redis.address().err());
        found.extend(self.evidence.secret_access_key().err().map(|why| ("evidence.secret_access_key_file", why)));
        found
    }
}

impl Overrides {
    /// The settings that have a flag.
    pub const KEYS: [&str; 8] =
        ["listen", "roles", "public_url", "data_folder", "models_folder", "metrics.listen", "log.format", "log.filter"];

    /// Those that were given, with their values.
    fn given(&self) -> Vec<(&'static str, Value)> {
        fn value(given: Option<&impl Serialize>) -> Option<Value> {
            given.map(|given| Value::serialize(given).expect("texts, paths and addresses are plain values"))
        }
        let values = [
            value(self.listen.as_ref()),
            value(self.roles.as_ref()),
            value(self.public_url.as_ref()),
            value(self.data_folder.as_ref()),
            value(self.models_folder.as_ref()),
            value(self.metrics_listen.as_ref()),
            value(self.log_format.as_ref()),
            value(self.log_filter.as_ref()),
        ];
        Self::KEYS.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

fn public_url_problem(text: &str) -> Option<String> {
    let why = match reqwest::Url::parse(text) {
        Err(_) => "is not a URL",
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "is neither http:// nor https://",
        Ok(url) if url.query().is_some() || url.fragment().is_some() => "has a query or a fragment",
        Ok(url) if !url.username().is_empty() || url.password().is_some() => "names a user",
        Ok(_) => return None,
    };
    Some(format!("{text:?} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_toml(toml: &str) -> Result<Config, ConfigError> {
        Sources::of_toml(toml)?.extract().map_err(ConfigError::Invalid)
    }

    #[test]
    fn the_built_in_defaults_are_whole_and_valid() {
        let config = Config::default();
        assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.public_url_of(config.listen), "http://127.0.0.1:8080");
        assert_eq!(config.token_lifetime_ms, 900_000);
        assert_eq!((config.limits.events_per_second, config.limits.events_burst), (20, 200));
        assert_eq!(config.webhook, Webhook { keep_days: 90, ..Webhook::default() });
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
            ("trusted_proxies = ['proxy.example']", "trusted_proxies"),
            ("token_lifetime_ms = 9", "token_lifetime_ms"),
            ("token_lifetime_ms = -1", "token_lifetime_ms"),
            ("vision.queue_limit = 0", "vision.queue_limit"),
            ("vision.workers = -1", "vision.workers"),
            ("vision.provider = 'gpu'", "vision.provider"),
            ("vision.precision = 'bf16'", "vision.precision"),
            ("vision.fallback = 'yes'", "vision.fallback"),
            ("webhook.allow_htpp = true", "allow_htpp"),
            ("webhook.allow_http = 'yes'", "webhook.allow_http"),
            ("webhook.keep_days = -1", "webhook.keep_days"),
            ("report.url = 'https://a.example'", "report.mapping"),
            (
                "report = {url = 'https://a.example', mapping = 'm.toml', secret = 's', secret_file = 'f'}",
                "report.secret",
            ),
            ("evidence.url = '/photos'", "evidence.url"),
            ("evidence.url = 's3://bucket/../b'", "evidence.url"),
            ("evidence.url = 's3://B'", "evidence.url"),
            ("evidence = {url = 's3://bucket', secret_access_key = 's'}", "evidence.access_key_id"),
            ("evidence = {url = 's3://bucket', access_key_id = 'a'}", "evidence.secret_access_key"),
            (
                "evidence = {access_key_id = 'a', secret_access_key = 's', secret_access_key_file = 'f'}",
                "evidence.secret_access_key_file",
            ),
            ("evidence.endpoint = 'http://127.0.0.1:9000'", "evidence.endpoint"),
            ("evidence.endpoint = 'https://a:b@s3.example'", "evidence.endpoint"),
            ("evidence.region = ''", "evidence.region"),
            ("evidence.retention_days = 59", "evidence.retention_days"),
            ("redis = {url = 'redis://a', url_file = 'f'}", "redis.url_file"),
            ("redis.ca_file = 'ca.pem'", "redis.ca_file"),
            ("redis.url = 6379", "redis.url"),
            ("redis.url = 'redis://a'", "redis.url"),
            ("redis.url = 'redis://a'\ndatabase.url = 'postgres://a/b'", "redis.url"),
            ("roles = []", "roles (file test.toml): names no role"),
            ("roles = ''", "roles (file test.toml): names no role"),
            ("roles = ['gateway', 'cook']", "roles (file test.toml): \"cook\" is no role; there are gateway, api"),
            ("roles = 7", "roles"),
            ("roles = 'gateway,api'", "roles (file test.toml): leaves out vision, delivery, and without redis.url"),
            ("roles = ['vision']", "roles (file test.toml): leaves out gateway, api, delivery"),
            ("roles = ['vision']\nredis.url = 'redis://a'", "redis.url (file test.toml): is given and evidence.url"),
            ("roles = 'vision,api'\nredis.url = 'redis://a'", "redis.url (file test.toml): is given and database.url"),
            ("report.batch_size = 0", "report.batch_size"),
            ("report.interval_ms = 1", "report.interval_ms"),
            ("limits.events_per_second = 0", "limits.events_per_second"),
            ("limits.events_burst = 19", "limits.events_burst"),
            ("limits.sessions_per_learner = 0", "limits.sessions_per_learner"),
            ("limits.connections_limit = 0", "limits.connections_limit"),
            ("limits.photo_bytes_limit = 1", "limits.photo_bytes_limit"),
            ("limits.message_bytes_limit = 524288", "limits.message_bytes_limit"),
            ("limits.body_bytes_limit = 524288", "limits.body_bytes_limit"),
            ("trusted_proxies = ['10.0.0.0/99']", "trusted_proxies"),
            ("keys.master = 'a'\nkeys.master_file = '/b'", "keys.master_file"),
            ("keys.operator = 'a'\nkeys.operator_file = '/b'", "keys.operator_file"),
            ("tls.key_file = 'key.pem'", "tls.certificate_file"),
            ("tls.certificate_file = 'cert.pem'", "tls.key_file"),
            ("metrics.listen = '127.0.0.1:8080'", "metrics.listen"),
            ("limits.handshakes_burst = 1", "limits.handshakes_burst"),
            ("limits = 7", "limits"),
            ("database.connections_limit = 1", "database.connections_limit"),
            ("database = {url = 'postgres://u@h/d', url_file = 'f'}", "database.url_file"),
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
    #[expect(clippy::result_large_err, reason = "the signature is figment's")]
    fn all_mistakes_are_said_at_once_each_with_its_source_and_no_secret() {
        figment::Jail::expect_with(|jail| {
            jail.create_file("own.toml", "lissten = 1\nkeys.pepper = 110101199\n[limits]\nevents_burst = 1\n")?;
            jail.set_env("INVIGIL_LIMITS__PHOTO_BYTES_LIMIT", "lots");
            jail.set_env("INVIGIL_KEYS__MASTER", "5ec2e7");
            jail.set_env("INVIGIL_KEYS__MASTR", "5ec2e7");
            jail.set_env("INVIGIL_DATABASE__URL", "postgres://u:5ec2e7@h/d");
            jail.set_env("INVIGIL_KEYS__MASTER_FILE", "/somewhere");
            let overrides = Overrides { log_filter: Some("invigil=loud".into()), ..Overrides::default() };
            let refused = Config::load(Some(Path::new("own.toml")), &overrides).unwrap_err();
            let ConfigError::Invalid(problems) = refused else { panic!("{refused}") };
            let mut said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            said.sort();
            let expected = [
                "keys.master_file (environment INVIGIL_KEYS__MASTER_FILE): keys.master is given too",
                "keys.mastr (environment INVIGIL_KEYS__MASTR): is not a setting",
                "keys.pepper (file own.toml): must be text",
                "limits.events_burst (file own.toml): 1 is not within",
                "limits.photo_bytes_limit (environment INVIGIL_LIMITS__PHOTO_BYTES_LIMIT): invalid type",
                "lissten (file own.toml): is not a setting",
                "log.filter (flag --log-filter): ",
            ];
            assert_eq!(said.len(), expected.len(), "{said:#?}");
            for (said, expected) in said.iter().zip(expected) {
                assert!(said.starts_with(expected), "{said}");
            }
            assert!(!said.concat().contains("5ec2e7") && !said.concat().contains("110101199"));
            let shown: String = Sources::read(Some(Path::new("own.toml")), &overrides)
                .unwrap()
                .shown()
                .map(|(_, value, _)| value)
                .collect();
            assert!(!shown.contains("5ec2e7") && !shown.contains("110101199"), "{shown}");
            Ok(())
        });
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "the signature is figment's")]
    fn roles_are_a_list_or_a_text_with_commas() {
        figment::Jail::expect_with(|jail| {
            let shared = "redis.url = 'redis://a'\n[evidence]\nurl = 's3://photos'\naccess_key_id = 'a'\n\
                          secret_access_key = 's'\n";
            jail.create_file(
                "own.toml",
                &format!("roles = ['gateway', 'vision']\ndatabase.url = 'postgres://a/b'\n{shared}"),
            )?;
            jail.create_file("vision.toml", shared)?;
            let load = |file: &str, flag: Option<&str>| {
                let overrides = Overrides { roles: flag.map(str::to_owned), ..Overrides::default() };
                Config::load(Some(Path::new(file)), &overrides).map(|config| config.roles)
            };
            assert_eq!(load("own.toml", None).unwrap().to_string(), "gateway, vision");
            jail.set_env("INVIGIL_ROLES", "api, delivery");
            let roles = load("own.toml", None).unwrap();
            assert!(roles.has(Role::Api) && roles.has(Role::Delivery) && roles.own_sessions() && !roles.only_vision());
            assert!(load("vision.toml", None).unwrap_err().to_string().contains("database.url"));
            assert!(load("vision.toml", Some("vision")).unwrap().only_vision());
            let refused = load("own.toml", Some("gateways")).unwrap_err().to_string();
            assert!(refused.contains("roles (flag --roles): \"gateways\" is no role"), "{refused}");
            Ok(())
        });
        assert_eq!(Config::default().roles, Roles::all());
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
        let config = from_toml("tls.certificate_file = 'a'\ntls.key_file = 'b'").unwrap();
        assert_eq!(config.public_url_of(config.listen), "https://127.0.0.1:8080");
    }
}
