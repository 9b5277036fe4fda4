//! `invigil backup`: makes, checks and restores backups of a data folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::say;
use crate::backup::{self, Manifest};
use crate::clock::Clock;
use crate::config::{Config, Overrides};

/// Why there is no backup of an installation whose records are in PostgreSQL, and what to do.
const OF_POSTGRESQL: &str = "the records are in PostgreSQL (database.url), whose own tools back them up: \
     `pg_dump --format=custom --file=invigil.dump DATABASE_URL`, or pg_basebackup with WAL archiving for any moment; after it \
     copy photos/ and forgotten.jsonl of the data folder, and keep its keys elsewhere. A restored database is checked by \
     `invigil doctor --deep` and `invigil ledger check` (docs/backup.md)";

/// Back up a data folder while its server runs, check a backup, restore one.
#[derive(Debug, Args)]
pub struct Backup {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a backup; the server may be running
    Create(Create),
    /// Check every file, page, log and verdict of a backup
    Verify(Verify),
    /// Make a data folder out of a backup; forgotten learners stay forgotten
    Restore(Restore),
}

#[derive(Debug, Args)]
struct Create {
    /// The server's settings, if it has a file of its own
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data folder, if the settings name another
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The backup: a folder that is not there yet
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Put the keys in as well: whoever has the backup can then read it
    #[arg(long)]
    with_keys: bool,
}

#[derive(Debug, Args)]
struct Verify {
    /// The backup
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct Restore {
    /// The backup
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The data folder that is made
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Tombstones of learners who were forgotten after the backup: forgotten.jsonl of the lost data folder
    #[arg(long, value_name = "FILE")]
    forgotten: Option<PathBuf>,
    /// Take the place of a data folder that is there; it is kept as DIR.before-restore
    #[arg(long)]
    replace: bool,
}

impl Backup {
    /// Runs the command.
    ///
    /// # Errors
    /// When a backup cannot be made, read or restored.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Create(create) => create.run(),
            Command::Verify(verify) => verify.run(),
            Command::Restore(restore) => restore.run(),
        }
    }
}

impl Create {
    fn run(self) -> anyhow::Result<ExitCode> {
        let overrides = Overrides { data_folder: self.data.clone(), ..Overrides::default() };
        let config = Config::load(self.config.as_deref(), &overrides)?;
        if config.database.is_postgres() {
            anyhow::bail!(OF_POSTGRESQL);
        }
        // Photos outside the data folder are backed up by whoever keeps that place.
        let bucket = config.evidence.url.clone();
        let now_ms = Clock::system().now_ms();
        let manifest = backup::create(&config.data_folder, &self.to, self.with_keys, bucket, now_ms)?;
        say(format_args!("backup   {}", self.to.display()))?;
        tell(&manifest)?;
        if self.with_keys {
            say(
                "keys     IN THE BACKUP: whoever has it can open every photo and face template. Keep it as you keep keys.",
            )?;
        } else {
            say(
                "keys     not in the backup. Keep master.key and identity.pepper elsewhere: without them it opens nothing.",
            )?;
        }
        for photo in &manifest.missing_photos {
            say(format_args!("MISSING  the photo {photo} is not in the data folder; see `invigil doctor`"))?;
        }
        Ok(if manifest.missing_photos.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Verify {
    fn run(self) -> anyhow::Result<ExitCode> {
        let verified = backup::verify(&self.folder)?;
        say(format_args!("backup   {}", self.folder.display()))?;
        tell(&verified.manifest)?;
        for problem in &verified.problems {
            say(format_args!("WRONG    {problem}"))?;
        }
        if verified.problems.is_empty() {
            say(format_args!("ok       every file, and the logs and verdicts of {} sessions", verified.sessions))?;
            return Ok(ExitCode::SUCCESS);
        }
        say("         This backup cannot be restored as it is: use another one.")?;
        Ok(ExitCode::FAILURE)
    }
}

impl Restore {
    fn run(self) -> anyhow::Result<ExitCode> {
        let restored = backup::restore(&self.folder, &self.to, self.forgotten.as_deref(), self.replace)?;
        say(format_args!("restored {}", self.to.display()))?;
        tell(&restored.manifest)?;
        if let Some(before) = &restored.replaced {
            say(format_args!("before   what was there is now {}", before.display()))?;
        }
        for learner in &restored.forgotten_again {
            say(format_args!("forgot   {learner}: forgotten after the backup, and forgotten again"))?;
        }
        if restored.photos_left_out > 0 {
            say(format_args!("left out {} photos of forgotten learners", restored.photos_left_out))?;
        }
        if self.forgotten.is_none() && restored.replaced.is_none() {
            say(
                "note     learners forgotten after this backup: give --forgotten with forgotten.jsonl of the lost folder.",
            )?;
        }
        for key in &restored.missing_keys {
            say(format_args!("KEYS     put {key} into {} before you start the server", self.to.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(manifest: &Manifest) -> anyhow::Result<()> {
    let counts = manifest.counts;
    let made = jiff::Timestamp::from_millisecond(manifest.created_at)?;
    say(format_args!("made     {made} by invigil {}, schema {}", manifest.invigil, manifest.schema))?;
    say(format_args!("holds    {} files, {:.1} MB", manifest.files, manifest.bytes as f64 / 1e6))?;
    say(format_args!(
        "         {} learners, {} closed and {} open sessions, {} photos",
        counts.learners, counts.closed_sessions, counts.open_sessions, counts.photos
    ))?;
    match &manifest.photos_bucket {
        Some(bucket) => {
            say(format_args!("photos   are not in it: they are in {bucket}, and what keeps them safe is there"))
        }
        None => Ok(()),
    }
}
