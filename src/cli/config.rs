//! `invigil config`: says what is wrong with a configuration, what is in force, and what there is to set.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::say;
use crate::config::{Config, Overrides, Problem, Sources, reference};
use crate::lifecycle::tls;
use crate::policy::Policy;
use crate::store::evidence::Evidence;

/// Look at the configuration.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that is wrong, with keys and where they came from; reads the files that are named
    Check(Given),
    /// Print what is in force and where it came from
    Show {
        #[command(flatten)]
        given: Given,
        /// Without secrets. They are never printed; with this the command does not mention it
        #[arg(long)]
        redacted: bool,
    },
    /// Print the reference of all settings: docs/configuration.md
    Reference,
}

/// What `invigil serve` would be given.
#[derive(Debug, Args)]
struct Given {
    /// Settings that differ from the defaults (TOML); see config.default.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

impl ConfigArgs {
    /// Runs the command. Exit code 1 when something is wrong with the configuration.
    ///
    /// # Errors
    /// When the file cannot be read at all, or standard output cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Check(given) => check(&given),
            Command::Show { given, redacted } => show(&given, redacted),
            Command::Reference => {
                say(reference::markdown().trim_end())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn check(given: &Given) -> anyhow::Result<ExitCode> {
    let sources = Sources::read(given.config.as_deref(), &given.overrides)?;
    let problems = match sources.extract() {
        Ok(config) => problems_of_files(&config, &sources),
        Err(problems) => problems,
    };
    for problem in &problems {
        say(problem)?;
    }
    if problems.is_empty() {
        say("the configuration is in order")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// What only shows once the files that are named are read.
fn problems_of_files(config: &Config, sources: &Sources) -> Vec<Problem> {
    let mut found: Vec<Problem> =
        config.secret_problems().into_iter().map(|(key, why)| sources.problem(key, why)).collect();
    if let (Some(certificate), Some(key)) = (&config.tls.certificate_file, &config.tls.key_file)
        && let Err(error) = tls::read(certificate, key)
    {
        found.push(sources.problem("tls.certificate_file", error.to_string()));
    }
    if config.evidence.bucket().is_some()
        && config.evidence.secret_access_key().is_ok()
        && let Err(error) = Evidence::configured(config)
    {
        found.push(sources.problem("evidence.url", error.to_string()));
    }
    for path in &config.policies {
        let read = std::fs::read_to_string(path).map_err(anyhow::Error::from).and_then(|text| {
            let policy = Policy::from_toml(&text)?;
            policy.check_schedule().map_err(|error| anyhow::anyhow!("{error}"))
        });
        if let Err(error) = read {
            found.push(sources.problem("policies", format!("{}: {error:#}", path.display())));
        }
    }
    found
}

fn show(given: &Given, redacted: bool) -> anyhow::Result<ExitCode> {
    let sources = Sources::read(given.config.as_deref(), &given.overrides)?;
    for (key, value, origin) in sources.shown() {
        say(format_args!("{key} = {value}  # {origin}"))?;
    }
    if !redacted {
        eprintln!("invigil: secrets are not shown, with or without --redacted");
    }
    sources.extract().map_err(crate::config::ConfigError::Invalid).context("it cannot be used as it is")?;
    Ok(ExitCode::SUCCESS)
}
