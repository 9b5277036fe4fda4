//! The commands of the `invigil` binary, one file a command.
//!
//! This module reads the command line and hands over; it does no work of its own. Exit codes: 0 when all went well, 1
//! when something was found wrong, 2 when the command line was; `doctor` has a 3 for what is worse than a warning.

pub mod backtest;
pub mod backup;
pub mod bench;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod engine;
pub mod face;
pub mod ledger;
pub mod migrate;
pub mod models;
pub mod openapi;
pub mod policy;
pub mod protocol;
pub mod replay;
pub mod serve;
pub mod user;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::store::reading::Records;

/// Wrong usage, as clap reports it too.
pub const USAGE_ERROR: u8 = 2;

/// Tells honest online training from faked training.
#[derive(Debug, Parser)]
#[command(name = "invigil", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve learners' pages and platforms
    Serve(serve::Serve),
    /// Check and show the configuration
    Config(config::ConfigArgs),
    /// Run a server with learners, honest and not, and watch the verdicts arrive
    Demo(demo::DemoArgs),
    /// One node of `demo --nodes`
    #[command(hide = true)]
    DemoNode(demo::DemoNode),
    /// Judge session logs again and print their verdicts
    Replay(replay::Replay),
    /// Judge recorded sessions again under another policy: how many change, and why
    Backtest(backtest::Backtest),
    /// Look at one photo or two as the server would
    Face(face::FaceArgs),
    /// The face models: verify them
    Models(models::ModelsArgs),
    /// Policy packs: which are in force, what they say, whether a file is one
    Policy(policy::PolicyArgs),
    /// Back up a data folder while its server runs, check a backup, restore one
    Backup(backup::Backup),
    /// Move an installation's records to PostgreSQL, while its server runs until the end
    Migrate(migrate::Migrate),
    /// Look at an installation and say what is wrong; exit code 0: nothing, 1: warnings, 3: errors
    Doctor(doctor::Doctor),
    /// The ledger: export it, check it against the logs
    Ledger(ledger::LedgerArgs),
    /// Accounts of people at the console
    User(user::UserArgs),
    /// Print the REST API's OpenAPI document
    Openapi(openapi::OpenApi),
    /// Print the JSON Schema of the streaming protocol's messages
    Protocol(protocol::Protocol),
    /// Measure how fast this machine is at it
    Bench(bench::Bench),
}

impl Cli {
    /// Reads the command line and runs the command.
    pub fn run() -> ExitCode {
        match Self::parse().command {
            Command::Serve(serve) => reported(serve.run()),
            Command::Config(config) => reported(config.run()),
            Command::Demo(demo) => reported(demo.run()),
            Command::DemoNode(node) => reported(node.run()),
            Command::Replay(replay) => replay.run(),
            Command::Backtest(backtest) => backtest.run(),
            Command::Face(face) => reported(face.run()),
            Command::Models(models) => reported(models.run()),
            Command::Policy(policy) => reported(policy.run()),
            Command::Backup(backup) => reported(backup.run()),
            Command::Migrate(migrate) => reported(migrate.run()),
            Command::Doctor(doctor) => reported(doctor.run()),
            Command::Ledger(ledger) => reported(ledger.run()),
            Command::User(user) => reported(user.run()),
            Command::Openapi(openapi) => reported(openapi.run()),
            Command::Protocol(protocol) => reported(protocol.run()),
            Command::Bench(bench) => bench.run(),
        }
    }
}

/// An error ends the command with the whole chain of causes on stderr, in one line.
fn reported(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("invigil: {error:#}");
        ExitCode::FAILURE
    })
}

/// Where the records of the installation with these settings are.
fn records_of(config: &Config) -> anyhow::Result<Records> {
    match config.database.address() {
        Ok(Some(address)) => Ok(Records::Postgres(Box::new(address))),
        Ok(None) => Ok(Records::Folder(config.data_folder.clone())),
        Err((key, why)) => anyhow::bail!("{key}: {why}"),
    }
}

/// The event loop of commands that need one.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Prints a line. A reader who has seen enough (`| head`) is no error.
fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
