//! `invigil bench storage`: what an event takes on disk, before and after its session is sealed, and what sealing costs.

use std::path::Path;
use std::process::ExitCode;

use futures_util::{StreamExt as _, TryStreamExt as _};
use rusqlite::Connection;

use super::ground::Ground;
use super::load::{Fleet, Load, Pages};
use super::servers::Server;
use super::{Place, SETTLE_MS, complain, enough_files};
use crate::cli::say;
use crate::clock::Stopwatch;

/// Sessions that are closed at the same time.
const CLOSING: usize = 16;
/// An honest page reports every five seconds, and is pinged three times a minute.
const EVENTS_OF_AN_HOUR: f64 = 3_600.0 / 5.0 + 180.0;

/// Measures bytes on disk.
#[derive(Clone, Debug, clap::Args)]
pub struct StorageArgs {
    /// Sessions
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,
    /// Events of each: an hour of learning has 900
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u32).range(10..))]
    events: u32,
    #[command(flatten)]
    place: Place,
}

/// Bytes of a database.
struct Bytes {
    rows: i64,
    lines: i64,
    pages: i64,
}

impl StorageArgs {
    /// Runs it and prints its figures.
    ///
    /// # Errors
    /// When the server does not start, or complains.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.measure())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn measure(&self) -> anyhow::Result<()> {
        let sessions = self.sessions as usize;
        enough_files(sessions)?;
        let ground = Ground::prepare(&self.place.folder, &self.place.models, sessions).await?;
        let server = Server::invigil(&ground)?;
        let tickets = ground.open_sessions(server.address, 0..sessions).await?;
        let fleet = Fleet::connect(&Pages::new()?, server.address, sessions, Some(&tickets)).await?;
        // As pages send them: one event at a time, so each has its row.
        let rate = f64::from(self.sessions) * 20.0;
        fleet.drive(Load { rate: Some(rate), window: 4 }, f64::from(self.events) / 20.0).await?;
        fleet.settle(SETTLE_MS).await?;
        drop(fleet);
        let database = ground.data().join("invigil.sqlite");
        let live = measure(&database, "SELECT coalesce(sum(count), 0), coalesce(sum(length(lines)), 0) FROM journal",
            "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = 'journal'")?;
        let platform = ground.platform(server.address)?;
        let (cpu_before, watch) = (server.cpu_us()?, Stopwatch::start());
        futures_util::stream::iter(&tickets)
            .map(|ticket| platform.close(&ticket.session))
            .buffer_unordered(CLOSING)
            .try_collect::<Vec<()>>()
            .await?;
        let (cpu_us, seconds) = (server.cpu_us()? - cpu_before, watch.elapsed().as_secs_f64());
        let sealed = measure(&database, "SELECT coalesce(sum(count), 0), coalesce(sum(length(lines)), 0) FROM segment",
            "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = 'segment'")?;
        let verdict = platform.verdict(&tickets[0].session).await?;
        complain(&server)?;
        say(format_args!("{sessions} sessions of {} events each, closed in {seconds:.1} s\n", live.rows / i64::from(self.sessions)))?;
        say("| form | bytes/event | with pages | KB for an hour of learning |")?;
        say("| --- | ---: | ---: | ---: |")?;
        for (name, bytes) in [("live rows", &live), ("sealed segment", &sealed)] {
            let each = |bytes: i64, rows: i64| bytes as f64 / rows.max(1) as f64;
            say(format_args!(
                "| {name} | {:.1} | {:.1} | {:.1} |",
                each(bytes.lines, bytes.rows),
                each(bytes.pages, bytes.rows),
                each(bytes.pages, bytes.rows) * EVENTS_OF_AN_HOUR / 1000.0,
            ))?;
        }
        say(format_args!(
            "\nclosing a session, all of it (fold, verdict, sealing, webhook row, request): {:.2} ms of processor time\n\
             verdict of the first: {}, {} violations",
            cpu_us as f64 / 1000.0 / f64::from(self.sessions),
            verdict["status"],
            verdict["violations_total"],
        ))
    }
}

/// Reads with a connection of its own, while the server runs.
fn measure(database: &Path, sums: &str, pages: &str) -> anyhow::Result<Bytes> {
    let connection = Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let (rows, lines) = connection.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // Without the virtual table that counts pages, the length of the lines has to do.
    let pages = connection.query_row(pages, [], |row| row.get(0)).unwrap_or(lines);
    Ok(Bytes { rows, lines, pages })
}
