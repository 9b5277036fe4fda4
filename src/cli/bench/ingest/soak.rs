//! `invigil bench soak`: the server under a steady load for long, its memory watched, its logs read back in the end.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::task::LocalSet;

use super::ground::{Ground, Shared};
use super::load::{Fleet, Load, Pages};
use super::servers::Server;
use super::{Place, SETTLE_MS, WARM_UP_S, complain, enough_files};
use crate::cli::say;
use crate::log::{Digest, Origin, parse_line};

/// Logs that are read at the same time.
const READS: usize = 8;

/// Loads the server steadily, and looks for what grows or is lost.
#[derive(Clone, Debug, clap::Args)]
pub struct SoakArgs {
    /// Connections, each with a session of its own
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Events a second, over all connections: a third of what the machine can do
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// How long
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    #[command(flatten)]
    place: Place,
}

impl SoakArgs {
    /// Runs it and prints a line a minute, then the slope and what was read back.
    ///
    /// # Errors
    /// When an acknowledged event is not in its log, or the server complains.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, self.soak())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn soak(&self) -> anyhow::Result<()> {
        let connections = self.connections as usize;
        enough_files(connections)?;
        let ground = Ground::prepare(&self.place, connections, &Shared::default()).await?;
        let server = Server::invigil(&ground)?;
        let tickets = ground.open_sessions(&[server.address], 0..connections).await?;
        let fleet = Fleet::connect(&Pages::new()?, &[server.address], connections, Some(&tickets)).await?;
        let load = Load { rate: Some(f64::from(self.rate)), window: 64 };
        fleet.drive(load, WARM_UP_S).await?;
        say("minute  acknowledged/s   p50 ms   p99 ms  resident MB  CPU µs/event")?;
        let mut resident = Vec::new();
        for minute in 1..=self.minutes {
            let before = server.cpu_us()?;
            let tally = fleet.drive(load, 60.0).await?;
            let each_us = (server.cpu_us()? - before) as f64 / tally.acknowledged.max(1) as f64;
            let bytes = server.resident_bytes()?;
            resident.push(bytes as f64);
            say(format_args!(
                "{minute:>6} {:>15.0} {:>8.2} {:>8.2} {:>12.1} {each_us:>13.2}",
                tally.rate(),
                tally.quantile_ms(0.5),
                tally.quantile_ms(0.99),
                bytes as f64 / 1e6,
            ))?;
        }
        fleet.settle(SETTLE_MS).await?;
        say_slope(&resident)?;
        ensure!(fleet.warnings() == 0, "an honest load was warned {} times", fleet.warnings());
        complain(&server)?;
        let acknowledged = fleet.acknowledged_of_each();
        drop(fleet);
        self.read_back(&ground, server, &tickets, &acknowledged).await
    }

    /// Every acknowledged event is in its log, in order; and the log is the same after the server was started again.
    async fn read_back(
        &self,
        ground: &Ground,
        server: Server,
        tickets: &[super::load::Ticket],
        acknowledged: &HashMap<String, u64>,
    ) -> anyhow::Result<()> {
        let mut first = None;
        let mut server = server;
        for _ in 0..2 {
            server.stop()?;
            server = Server::invigil(ground)?;
            let platform = ground.platform(server.address)?;
            let digests: Vec<(String, u64)> = futures_util::stream::iter(tickets)
                .map(|ticket| async {
                    let log = platform.log(&ticket.session).await?;
                    let wanted = acknowledged.get(&ticket.session).copied().unwrap_or_default();
                    check_log(&log, wanted).with_context(|| format!("session {}", ticket.session))
                })
                .buffered(READS)
                .try_collect()
                .await?;
            let events: u64 = digests.iter().map(|(_, events)| events).sum();
            say(format_args!("{events} events of {} sessions read back, every acknowledged one there", tickets.len()))?;
            let before = first.get_or_insert_with(|| digests.clone());
            ensure!(*before == digests, "the logs are not the same after the second start");
        }
        say("logs read the same after another start, digest for digest")
    }
}

/// Digest of a log up to its last client event, and how many of those it has: at least those that were acknowledged.
pub(super) fn check_log(log: &[u8], acknowledged: u64) -> anyhow::Result<(String, u64)> {
    let (mut digest, mut seqs, mut upto) = (Digest::new(), 0, Digest::new());
    for (line, number) in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).zip(1..) {
        let event = parse_line(line).with_context(|| format!("line {number}"))?;
        ensure!(event.n == number, "line {number} has the number {}", event.n);
        digest.line(line);
        if let Origin::Client { seq, .. } = event.origin {
            ensure!(seq == seqs + 1, "event {seq} follows event {seqs}");
            seqs = seq;
            upto = digest.clone();
        }
    }
    ensure!(seqs >= acknowledged, "{acknowledged} events were acknowledged, {seqs} are in the log");
    Ok((upto.finish(), seqs))
}

/// The straight line through the second half of the samples: the first half fills pools.
fn say_slope(resident: &[f64]) -> anyhow::Result<()> {
    let later = &resident[resident.len() / 2..];
    let count = later.len() as f64;
    if later.len() < 2 {
        return say("too short for a slope");
    }
    let (middle, mean) = ((count - 1.0) / 2.0, later.iter().sum::<f64>() / count);
    let rise: f64 = later.iter().zip(0..).map(|(bytes, minute)| (f64::from(minute) - middle) * (bytes - mean)).sum();
    let run: f64 = (0..later.len()).map(|minute| (minute as f64 - middle).powi(2)).sum();
    say(format_args!(
        "memory over the later half: {:.1} MB, {:+.3} MB a minute ({:+.2} % an hour)",
        mean / 1e6,
        rise / run / 1e6,
        rise / run * 60.0 / mean * 100.0,
    ))
}
