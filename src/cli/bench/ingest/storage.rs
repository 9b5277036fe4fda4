//! `invigil bench storage`: what an event takes on disk, before and after its session is sealed, and what sealing costs.

use std::process::ExitCode;

use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::task::LocalSet;

use super::ground::{Ground, Shared};
use super::load::{Fleet, Load, Pages};
use super::servers::Server;
use super::{Place, SETTLE_MS, complain, enough_files};
use crate::cli::say;
use crate::clock::Stopwatch;
use crate::store::populate::LogBytes;

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

impl StorageArgs {
    /// Runs it and prints its figures.
    ///
    /// # Errors
    /// When the server does not start, or complains.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, self.measure())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn measure(&self) -> anyhow::Result<()> {
        let sessions = self.sessions as usize;
        enough_files(sessions)?;
        let ground = Ground::prepare(&self.place, sessions, &Shared::default()).await?;
        let server = Server::invigil(&ground)?;
        let tickets = ground.open_sessions(&[server.address], 0..sessions).await?;
        let fleet = Fleet::connect(&Pages::new()?, &[server.address], sessions, Some(&tickets)).await?;
        // As pages send them: one event at a time, so each has its row.
        let rate = f64::from(self.sessions) * 20.0;
        fleet.drive(Load { rate: Some(rate), window: 4 }, f64::from(self.events) / 20.0).await?;
        fleet.settle(SETTLE_MS).await?;
        drop(fleet);
        let database = ground.data();
        let live = LogBytes::of_open(&database)?;
        let platform = ground.platform(server.address)?;
        let (cpu_before, watch) = (server.cpu_us()?, Stopwatch::start());
        futures_util::stream::iter(&tickets)
            .map(|ticket| platform.close(&ticket.session))
            .buffer_unordered(CLOSING)
            .try_collect::<Vec<()>>()
            .await?;
        let (cpu_us, seconds) = (server.cpu_us()? - cpu_before, watch.elapsed().as_secs_f64());
        let sealed = LogBytes::of_closed(&database)?;
        let verdict = platform.verdict(&tickets[0].session).await?;
        complain(&server)?;
        let each_session = live.events / i64::from(self.sessions);
        say(format_args!("{sessions} sessions of {each_session} events each, closed in {seconds:.1} s\n"))?;
        say("| form | bytes/event | with keys and headers | KB for an hour of learning |")?;
        say("| --- | ---: | ---: | ---: |")?;
        for (name, log) in [("live rows", &live), ("sealed segment", &sealed)] {
            let each = |bytes: i64| bytes as f64 / log.events.max(1) as f64;
            let hour_kb = each(log.bytes + log.overhead_bytes) * EVENTS_OF_AN_HOUR / 1000.0;
            say(format_args!(
                "| {name} | {:.1} | {:.1} | {hour_kb:.1} |",
                each(log.bytes),
                each(log.bytes + log.overhead_bytes),
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
