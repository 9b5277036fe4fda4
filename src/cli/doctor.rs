//! `invigil doctor`: looks at an installation and says what is wrong with it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::say;
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::doctor::{Finding, Level, examine};

/// Exit code when records are damaged or the server cannot work.
const FOUND_ERRORS: u8 = 3;

/// Look at an installation and say what is wrong; exit code 0: nothing, 1: warnings, 3: errors.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The server's settings, if it has a file of its own
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data folder, if the settings name another
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Read every log and verdict, and compare indexes with tables: slow, and worth it after a failure
    #[arg(long)]
    deep: bool,
    /// One JSON object a finding
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Runs the command.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let overrides = Overrides { data_folder: self.data, ..Overrides::default() };
        let config = Config::load(self.config.as_deref(), &overrides)?;
        let findings = examine(&config, self.deep, Clock::system().now_ms());
        for finding in &findings {
            if self.json { say(serde_json::to_string(finding)?)? } else { tell(finding)? }
        }
        Ok(match findings.iter().map(|finding| finding.level).max() {
            Some(Level::Error) => ExitCode::from(FOUND_ERRORS),
            Some(Level::Warning) => ExitCode::FAILURE,
            Some(Level::Ok) | None => ExitCode::SUCCESS,
        })
    }
}

fn tell(finding: &Finding) -> anyhow::Result<()> {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
    };
    say(format_args!("{level:<8} {:<10} {}", finding.check, finding.what))?;
    match finding.advice {
        Some(advice) => say(format_args!("{:<19} -> {advice}", "")),
        None => Ok(()),
    }
}
