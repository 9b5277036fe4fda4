//! `invigil protocol`: prints the schema of the stream's messages, so that the committed copy can be renewed.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

/// Print the JSON Schema of the streaming protocol's messages.
#[derive(Debug, Args)]
pub struct Protocol {}

impl Protocol {
    /// Prints the schema on standard output.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        std::io::stdout().write_all(crate::gateway::schema::protocol_json().as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
