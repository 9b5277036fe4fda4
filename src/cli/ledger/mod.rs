//! `invigil ledger`: the ledger of an installation, without a server or beside a running one.

mod check;
mod export;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::{Config, Overrides};
use crate::store::archive::Archive;

/// The ledger of an installation: of its data folder, or of the PostgreSQL that its settings name.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Derive every verdict again from its sealed log, and compare verdicts and totals
    Check(check::Check),
    /// Write the ledger as a sheet (CSV), as GET /ledger.csv does
    Export(export::Export),
}

/// Which installation, and by which packs.
#[derive(Debug, Args)]
pub(in crate::cli) struct Place {
    /// Data folder of the server; by default the configured one
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Configuration of the server: its data folder or database, and policy packs
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl LedgerArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            LedgerCommand::Check(check) => check.run(),
            LedgerCommand::Export(export) => export.run(),
        }
    }
}

impl Place {
    pub(in crate::cli) fn config(&self) -> anyhow::Result<Config> {
        let overrides = Overrides { data_folder: self.data.clone(), ..Overrides::default() };
        Ok(Config::load(self.config.as_deref(), &overrides)?)
    }
}

pub(in crate::cli) fn open(config: &Config) -> anyhow::Result<Archive> {
    use anyhow::Context as _;
    let records = super::records_of(config)?;
    Archive::open(&records).with_context(|| records.to_string())
}
