//! `invigil openapi`: prints the OpenAPI document, so that the committed copy can be renewed.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

/// Print the REST API's OpenAPI document.
#[derive(Debug, Args)]
pub struct OpenApi {}

impl OpenApi {
    /// Prints the document on standard output.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        std::io::stdout().write_all(crate::api::openapi_json().as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
