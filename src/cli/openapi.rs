//! `invigil openapi`: prints the OpenAPI document, so that the committed copy can be renewed.

use std::io::Write as _;
use std::process::ExitCode;

/// Prints the document on standard output.
///
/// # Errors
/// When standard output cannot be written.
pub fn run() -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(crate::api::openapi_json().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
