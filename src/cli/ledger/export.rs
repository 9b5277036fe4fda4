//! `invigil ledger export`: the same sheet as `GET /ledger.csv`, out of a data folder.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::Place;
use crate::ledger::period;
use crate::ledger::sheet::Sheet;
use crate::store::archive::Archive;
use crate::store::ledger::{LedgerFilter, LedgerStatus};

/// Entries that are read at once.
const CHUNK: u32 = 1_000;

/// Write the ledger as a sheet.
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    place: Place,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only this learner
    #[arg(long, value_name = "ID")]
    learner: Option<String>,
    /// Only this project
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// Only this platform
    #[arg(long, value_name = "ID")]
    platform: Option<String>,
    /// Only regions that begin with these digits (GB/T 2260)
    #[arg(long, value_name = "DIGITS")]
    region: Option<String>,
    /// From this day on, in China
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = period::begins_ms)]
    from: Option<i64>,
    /// Up to this day, in China, the day included
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = period::ends_ms)]
    to: Option<i64>,
    /// Only this status
    #[arg(long)]
    status: Option<LedgerStatus>,
}

impl Export {
    /// Writes the sheet. Who has read enough (`| head`) is no error.
    ///
    /// # Errors
    /// When the folder cannot be read or the sheet not be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let archive = super::open(&self.place.config()?)?;
        let mut out: Box<dyn std::io::Write> = match &self.output {
            None => Box::new(std::io::stdout().lock()),
            Some(path) => Box::new(std::fs::File::create(path).with_context(|| path.display().to_string())?),
        };
        match self.write(&archive, &mut *out) {
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            written => written.map(|()| ExitCode::SUCCESS),
        }
    }

    fn write(self, archive: &Archive, out: &mut dyn std::io::Write) -> anyhow::Result<()> {
        let filter = LedgerFilter {
            scope: None,
            scope_region: None,
            learner: self.learner,
            project: self.project,
            platform: self.platform,
            region: self.region,
            from_ms: self.from,
            before_ms: self.to,
            status: self.status,
        };
        let (mut sheet, mut cursor) = (Sheet::default(), None);
        loop {
            let (entries, last) = archive.ledger_entries(&filter, cursor, CHUNK)?;
            out.write_all(&sheet.rows(&entries))?;
            cursor = last;
            if cursor.is_none() {
                break;
            }
        }
        out.write_all(&sheet.finish())?;
        Ok(out.flush()?)
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
