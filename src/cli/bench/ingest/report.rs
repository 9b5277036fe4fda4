//! The table that a comparison prints.

use std::collections::BTreeMap;

use super::load::{Load, Tally};
use super::servers::Kind;
use crate::cli::say;

/// One server in one round.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) tally: Tally,
    /// processor time of the server, or of all nodes, µs
    pub(super) cpu_us: u64,
    /// of the database's processes, if it has any and they run here, µs
    pub(super) database_cpu_us: Option<u64>,
    /// of the Redis server, if several nodes have one, µs
    pub(super) redis_cpu_us: Option<u64>,
    /// processor time of the load generator, µs
    pub(super) own_cpu_us: u64,
    /// the server's, by name of the thread
    pub(super) threads: BTreeMap<String, u64>,
}

impl Measured {
    fn each_us(&self) -> f64 {
        self.cpu_us as f64 / self.tally.acknowledged.max(1) as f64
    }

    /// Of some processor time, for each event.
    fn share_us(&self, cpu_us: Option<u64>) -> Option<f64> {
        cpu_us.map(|us| us as f64 / self.tally.acknowledged.max(1) as f64)
    }
}

/// The rounds of one comparison.
pub(super) struct Report {
    connections: usize,
    load: Load,
    rounds: Vec<(Kind, Vec<Measured>)>,
}

impl Report {
    pub(super) fn new(connections: usize, load: Load) -> Self {
        Self { connections, load, rounds: Vec::new() }
    }

    pub(super) fn add(&mut self, kind: Kind, measured: Measured) {
        match self.rounds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, rounds)) => rounds.push(measured),
            None => self.rounds.push((kind, vec![measured])),
        }
    }

    /// The median over the rounds.
    fn median(&self, kind: Kind, of: impl Fn(&Measured) -> f64) -> Option<f64> {
        let (_, rounds) = self.rounds.iter().find(|(known, _)| *known == kind)?;
        median(rounds.iter().map(of))
    }

    /// Our processor time an event over the other's, round by round; their median.
    fn ratio(&self, other: Kind) -> Option<f64> {
        let rounds = |kind| self.rounds.iter().find(|(known, _)| *known == kind).map(|(_, rounds)| rounds);
        let (ours, theirs) = (rounds(Kind::Invigil)?, rounds(other)?);
        median(ours.iter().zip(theirs).map(|(ours, theirs)| ours.each_us() / theirs.each_us()))
    }

    pub(super) fn events_per_s(&self, kind: Kind) -> f64 {
        self.median(kind, |measured| measured.tally.rate()).unwrap_or_default()
    }

    /// Prints it as Markdown.
    pub(super) fn print(&self, threads: bool) -> anyhow::Result<()> {
        let rate = self.load.rate.map_or("as fast as it goes".to_owned(), |rate| format!("{rate:.0} events/s"));
        say(format_args!(
            "\n{} connections, {rate}, {} under way each, median of {} rounds\n",
            self.connections,
            self.load.window,
            self.rounds.first().map_or(0, |(_, rounds)| rounds.len()),
        ))?;
        say(
            "| server | acknowledged/s | p50 ms | p99 ms | CPU µs/event | ours is | database µs/event | Redis µs/event | generator µs/event |",
        )?;
        say("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for (kind, _) in &self.rounds {
            let of = |of: fn(&Measured) -> f64| self.median(*kind, of).unwrap_or_default();
            let ratio = match kind {
                Kind::Invigil => String::new(),
                other => format!("{:.2}×", self.ratio(*other).unwrap_or_default()),
            };
            let apart = |of: fn(&Measured) -> Option<u64>| {
                let us = self.median(*kind, |measured| measured.share_us(of(measured)).unwrap_or(f64::NAN));
                us.filter(|us| !us.is_nan()).map_or(String::new(), |us| format!("{us:.2}"))
            };
            let (database, redis) =
                (apart(|measured| measured.database_cpu_us), apart(|measured| measured.redis_cpu_us));
            say(format_args!(
                "| {} | {:.0} | {:.2} | {:.2} | {:.2} | {ratio} | {database} | {redis} | {:.2} |",
                kind.name(),
                of(|measured| measured.tally.rate()),
                of(|measured| measured.tally.quantile_ms(0.5)),
                of(|measured| measured.tally.quantile_ms(0.99)),
                of(Measured::each_us),
                of(|measured| measured.own_cpu_us as f64 / measured.tally.acknowledged.max(1) as f64),
            ))?;
        }
        if threads { self.print_threads() } else { Ok(()) }
    }

    fn print_threads(&self) -> anyhow::Result<()> {
        let Some((_, rounds)) = self.rounds.first() else { return Ok(()) };
        let events: u64 = rounds.iter().map(|round| round.tally.acknowledged).sum();
        let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, us) in rounds.iter().flat_map(|round| &round.threads) {
            *by_name.entry(name).or_default() += us;
        }
        say("")?;
        for (name, us) in by_name.into_iter().filter(|(_, us)| *us > 0) {
            say(format_args!("thread {name:<20} {:>6.2} µs/event", us as f64 / events.max(1) as f64))?;
        }
        Ok(())
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
