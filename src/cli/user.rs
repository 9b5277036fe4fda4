//! `invigil user`: accounts of people at the console, made where the data lies, beside a running server or without one.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::{runtime, say};
use crate::api::accounts::{normal_name, unfit};
use crate::auth::password::Passwords;
use crate::clock::{Clock, Entropy};
use crate::config::{Config, Overrides};
use crate::store::Store;
use crate::store::accounts::AccountRecord;
use crate::store::postgres::CONNECTIONS_LEAST;
use crate::store::words::AccountRole;

/// Accounts of people at the console.
#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an account; its password is asked for, or read from a file
    Add(Add),
}

#[derive(Debug, Args)]
struct Add {
    /// By which its holder signs in
    name: String,
    /// What its holder may do
    #[arg(long)]
    role: Role,
    /// Of a supervisor: what the region of their projects begins with (GB/T 2260); left out: everywhere
    #[arg(long, value_name = "DIGITS")]
    region: Option<String>,
    /// Of staff: the platform where they work, by its identifier
    #[arg(long, value_name = "ID")]
    platform: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Data folder of the server; by default the configured one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration of the server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Supervisor,
    Auditor,
    Administrator,
    Staff,
}

impl UserArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the account is not one, its name is taken, or the records cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Command::Add(add) = self.command;
        runtime()?.block_on(add.run())
    }
}

impl Add {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let overrides = Overrides { data_folder: self.data.clone(), ..Overrides::default() };
        let config = Config::load(self.config.as_deref(), &overrides)?;
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let now_ms = clock.now_ms();
        let account = AccountRecord {
            id: entropy.id(now_ms).to_string(),
            name: normal_name(&self.name),
            role: match self.role {
                Role::Supervisor => AccountRole::Supervisor,
                Role::Auditor => AccountRole::Auditor,
                Role::Administrator => AccountRole::Administrator,
                Role::Staff => AccountRole::Staff,
            },
            region: self.region.clone().unwrap_or_default(),
            platform: self.platform.clone(),
            totp: false,
            disabled_at: None,
            created_at: now_ms,
        };
        let password = self.password()?;
        if let Some((field, problem)) = unfit(&account, &password).into_iter().next() {
            bail!("{field} {problem}");
        }
        let hashed = Passwords::default().hash(password, &entropy).await?;
        let added = open(&config).await?.add_account(account, hashed, String::new()).await?;
        say(format_args!("{} may sign in as {}", added.name, added.role.as_str()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn password(&self) -> anyhow::Result<String> {
        if let Some(path) = &self.password_file {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        if std::io::stdin().is_terminal() {
            let terminal = console::Term::stderr();
            terminal.write_str("password: ")?;
            let password = terminal.read_secure_line()?;
            terminal.write_str("once more: ")?;
            if terminal.read_secure_line()? != password {
                bail!("the two passwords differ");
            }
            return Ok(password);
        }
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// The records, without taking them from a server that uses them.
async fn open(config: &Config) -> anyhow::Result<Store> {
    let folder = &config.data_folder;
    if !folder.is_dir() {
        bail!("{}: there is no such folder: start the server once, or name another with --data", folder.display());
    }
    Ok(match config.database.address() {
        Ok(Some(address)) => Store::connect(address, CONNECTIONS_LEAST, folder).await?,
        Ok(None) => Store::open(folder)?,
        Err((key, why)) => bail!("{key}: {why}"),
    })
}
