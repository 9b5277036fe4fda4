//! `invigil bench redis`: what several nodes ask of Redis, beside the plainest commands of `redis-benchmark` on the same
//! server in the same rounds; and what it costs that a thousand nodes know of each other.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::super::say;
use super::engines::RedisAccounts;
use super::ingest::accounts;
use crate::clock::{Clock, Stopwatch};
use crate::cluster::redis::{Node, Redis, RedisAddress, SharedBuckets, SharedPresence, Timing};
use crate::cluster::{Played, Presence, Report};
use crate::engines;
use crate::gateway::bucket::Rate;

/// Learners, buckets and keys among which the operations go round.
const KEYS: u64 = 10_000;
/// The bytes of a learner's table with one session in it, about.
const VALUE_BYTES: usize = 150;
/// Commands of `redis-benchmark` for each second that is asked for, which it may do in less: with one under way, and more.
const PLAIN_ONE_S: u64 = 10_000;
const PLAIN_MANY_S: u64 = 50_000;
/// Nodes that join at the same time.
const JOINING: usize = 50;
/// Files that this process needs besides the nodes' connections.
const OTHER_FILES: u64 = 100;
const SCRIPT: &str = "return redis.call('GET', KEYS[1])";
const PLAIN_KEY: &str = "plain:__rand_int__";

/// Measures what several nodes ask of Redis.
#[derive(Clone, Debug, clap::Args)]
pub struct RedisBench {
    /// Seconds of each way in each round
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Rounds, in each of which every way has its turn; medians are printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Lets so many nodes join from this one process instead, each over a connection of its own
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=10_000))]
    nodes: Option<u16>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    /// a session says what was played
    Presence,
    /// a session is claimed, and given up
    Ownership,
    /// a token is taken
    Bucket,
    /// `redis-benchmark`, a connection for each command under way
    Plain(Plain),
    /// the same with all of them on one connection, as ours are
    Piped(Plain),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Plain {
    Set,
    Get,
    Script,
}

const OURS: [Way; 3] = [Way::Presence, Way::Ownership, Way::Bucket];
const PLAIN: [Plain; 3] = [Plain::Set, Plain::Get, Plain::Script];

/// One way in one round.
#[derive(Clone, Copy, Debug)]
struct Measured {
    per_s: f64,
    p99_ms: f64,
    redis_us: f64,
    /// none where others ask
    here_us: Option<f64>,
}

impl Way {
    fn name(self) -> String {
        match self {
            Self::Presence => "presence: a report".to_owned(),
            Self::Ownership => "ownership: claim and give up (2 scripts, 2 commands)".to_owned(),
            Self::Bucket => "rate: a token".to_owned(),
            Self::Plain(plain) => format!("redis-benchmark {}", plain.name()),
            Self::Piped(plain) => format!("redis-benchmark {}, one connection", plain.name()),
        }
    }
}

impl Plain {
    fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Get => "GET",
            Self::Script => "EVALSHA of a GET",
        }
    }

    fn command(self, script: &str) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Set => &["SET", PLAIN_KEY, &"x".repeat(VALUE_BYTES)],
            Self::Get => &["GET", PLAIN_KEY],
            Self::Script => &["EVALSHA", script, "1", PLAIN_KEY],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

impl RedisBench {
    /// Runs it and prints its figures.
    ///
    /// # Errors
    /// When Redis or its benchmark is not installed, or Redis does not answer.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.nodes {
                Some(count) => join_many(count.into(), self.seconds).await,
                None => self.compare().await,
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }

    async fn compare(&self) -> anyhow::Result<()> {
        engines::Redis::benchmark_program()?;
        let server = engines::Redis::start()?;
        let bench = Bench::start(&server).await?;
        for under_way in [1, 64] {
            let plain = PLAIN.into_iter().map(Way::Plain);
            let piped = PLAIN.into_iter().filter(|_| under_way > 1).map(Way::Piped);
            let ways: Vec<Way> = OURS.into_iter().chain(plain).chain(piped).collect();
            let mut rounds: HashMap<Way, Vec<Measured>> = HashMap::new();
            for _ in 0..self.rounds {
                for way in &ways {
                    rounds.entry(*way).or_default().push(bench.measure(*way, under_way, self.seconds).await?);
                }
            }
            print(&ways, &rounds, under_way, self.rounds)?;
        }
        Ok(())
    }
}

fn print(ways: &[Way], rounds: &HashMap<Way, Vec<Measured>>, under_way: u64, count: u32) -> anyhow::Result<()> {
    say(format_args!("\n{under_way} under way, one thread here, median of {count} rounds\n"))?;
    say(
        "| operation | a second | p99 ms | of GET | of EVALSHA | of EVALSHA, one connection | Redis CPU µs | here CPU µs |",
    )?;
    say("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for way in ways {
        let of = |of: fn(&Measured) -> f64| median(rounds[way].iter().map(of));
        let ratio = |other: Way| {
            let others = rounds.get(&other)?;
            let ratios = rounds[way].iter().zip(others).map(|(this, other)| this.per_s / other.per_s);
            Some(median(ratios))
        };
        let shown = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        let others = [Way::Plain(Plain::Get), Way::Plain(Plain::Script), Way::Piped(Plain::Script)];
        let [get, script, piped] = others.map(|other| shown(ratio(other)));
        let here = of(|measured| measured.here_us.unwrap_or(f64::NAN));
        say(format_args!(
            "| {} | {:.0} | {:.2} | {get} | {script} | {piped} | {:.1} | {} |",
            way.name(),
            of(|measured| measured.per_s),
            of(|measured| measured.p99_ms),
            of(|measured| measured.redis_us),
            if here.is_nan() { "–".to_owned() } else { format!("{here:.1}") },
        ))?;
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A Redis server, and what asks it.
struct Bench {
    address: SocketAddr,
    accounts: RedisAccounts,
    presence: Presence,
    node: Node,
    buckets: SharedBuckets,
    /// by which the server knows [`SCRIPT`]
    script: String,
    /// operations begun so far
    begun: Cell<u64>,
    /// when the first stretch of play began, ms
    began_at: i64,
}

impl Bench {
    async fn start(server: &engines::Redis) -> anyhow::Result<Self> {
        let redis = Redis::connect(RedisAddress::parse(&server.url(), None)?, Clock::scaled(1)).await?;
        let script = redis.query(redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT)).await?;
        Ok(Self {
            address: server.address(),
            accounts: RedisAccounts::of(&redis).await?,
            presence: Presence::Redis(SharedPresence::new(redis.clone())),
            node: Node::join(redis.clone(), "bench".to_owned(), Timing::default()).await?,
            buckets: SharedBuckets::new(redis),
            script,
            begun: Cell::new(0),
            began_at: Clock::system().now_ms(),
        })
    }

    async fn measure(&self, way: Way, under_way: u64, seconds: u64) -> anyhow::Result<Measured> {
        let before = (self.accounts.cpu_us()?, accounts::cpu_us(std::process::id())?);
        let (count, per_s, p99_ms) = match way {
            Way::Plain(plain) => self.plain(plain, ["-c", "-P"], under_way, seconds)?,
            Way::Piped(plain) => self.plain(plain, ["-P", "-c"], under_way, seconds)?,
            ours => self.ours(ours, under_way, seconds as f64).await?,
        };
        let after = (self.accounts.cpu_us()?, accounts::cpu_us(std::process::id())?);
        let each = |before: u64, after: u64| (after - before) as f64 / count as f64;
        let here_us = OURS.contains(&way).then(|| each(before.1, after.1));
        Ok(Measured { per_s, p99_ms, redis_us: each(before.0, after.0), here_us })
    }

    /// How many operations there were, how many a second, and how long they took.
    async fn ours(&self, way: Way, under_way: u64, seconds: f64) -> anyhow::Result<(u64, f64, f64)> {
        let (watch, latencies_us) = (Stopwatch::start(), RefCell::new(Vec::new()));
        let one_after_the_other = (0..under_way).map(|_| async {
            while watch.elapsed().as_secs_f64() < seconds {
                let began = watch.elapsed();
                self.operate(way).await?;
                latencies_us.borrow_mut().push((watch.elapsed() - began).as_micros() as u32);
            }
            anyhow::Ok(())
        });
        try_join_all(one_after_the_other).await?;
        let (seconds, mut sorted) = (watch.elapsed().as_secs_f64(), latencies_us.into_inner());
        sorted.sort_unstable();
        let p99_us = sorted.get(sorted.len() * 99 / 100).copied().unwrap_or_default();
        Ok((sorted.len() as u64, sorted.len() as f64 / seconds, f64::from(p99_us) / 1e3))
    }

    async fn operate(&self, way: Way) -> anyhow::Result<()> {
        let number = self.begun.replace(self.begun.get() + 1);
        // As long as the identifiers that the server makes.
        let id = |number: u64| format!("00000000-0000-7000-8000-{number:012}");
        let whose = id(number % KEYS);
        match way {
            Way::Presence => {
                // A heartbeat every five seconds, of one learner after the other.
                let from_at = self.began_at + (number / KEYS) as i64 * 5_000;
                let played = [Played { from_at, to_at: from_at + 5_000 }];
                let report = Report {
                    learner: &whose,
                    session: &whose,
                    platform: "platform",
                    played: &played,
                    logged: &[],
                    continues: false,
                    plays_on: true,
                    left_at: None,
                };
                self.presence.report(report).await?;
            }
            Way::Ownership => {
                let session = id(number);
                let claimed = self.node.claim(&session).await?;
                ensure!(claimed == crate::cluster::redis::Claim::Owned, "a new session has an owner: {claimed:?}");
                self.node.give_up(&session, None).await?;
            }
            Way::Bucket => {
                let rate = Rate::per_second(1_000_000, 1_000_000);
                let taken = self.buckets.ask("bench", &whose, rate, true).await?;
                ensure!(taken.is_ok(), "a bucket that nobody can empty is empty");
            }
            Way::Plain(_) | Way::Piped(_) => {}
        }
        Ok(())
    }

    /// `redis-benchmark`: as above. `many` and `one` are its options for how many connections, and commands on each.
    fn plain(
        &self,
        plain: Plain,
        [many, one]: [&str; 2],
        under_way: u64,
        seconds: u64,
    ) -> anyhow::Result<(u64, f64, f64)> {
        let count = seconds * if under_way == 1 { PLAIN_ONE_S } else { PLAIN_MANY_S };
        let mut line = Command::new(engines::Redis::benchmark_program()?);
        line.args(["-h", &self.address.ip().to_string(), "-p", &self.address.port().to_string()]);
        line.args(["-n", &count.to_string(), "-r", &KEYS.to_string(), "--csv"]);
        line.args([many, &under_way.to_string(), one, "1"]).args(plain.command(&self.script));
        let output = line.stdin(Stdio::null()).output().context("redis-benchmark")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (per_s, p99_ms) = parse_csv(&text).with_context(|| {
            format!("redis-benchmark ({}): {text}{}", output.status, String::from_utf8_lossy(&output.stderr))
        })?;
        Ok((count, per_s, p99_ms))
    }
}

/// Commands a second and their p99 in ms, of the only test in what `redis-benchmark --csv` prints.
fn parse_csv(text: &str) -> Option<(f64, f64)> {
    let mut lines = text
        .lines()
        .filter(|line| line.starts_with('"'))
        .map(|line| line.trim_matches('"').split("\",\"").map(str::to_owned).collect::<Vec<_>>());
    let (head, values) = (lines.next()?, lines.next()?);
    let value = |name: &str| values.get(head.iter().position(|column| column == name)?)?.parse().ok();
    Some((value("rps")?, value("p99_latency_ms")?))
}

/// So many nodes join, renew for a while, and lose one of them.
async fn join_many(count: usize, seconds: u64) -> anyhow::Result<()> {
    let (limit, needed) = (accounts::open_files_limit()?, count as u64 + OTHER_FILES);
    ensure!(limit >= needed, "{count} nodes take {needed} open files; `ulimit -n {needed}`");
    let server = engines::Redis::start()?;
    let (address, clock) = (RedisAddress::parse(&server.url(), None)?, Clock::scaled(1));
    let accounts = RedisAccounts::of(&Redis::connect(address.clone(), clock.clone()).await?).await?;
    let own_pid = std::process::id();
    let memory = || anyhow::Ok((accounts.resident_bytes()?, accounts::resident_bytes(own_pid)?));
    let memory_before = memory()?;
    let mut nodes: Vec<Node> = futures_util::stream::iter(0..count)
        .map(|number| {
            let (address, clock) = (address.clone(), clock.clone());
            async move {
                let redis = Redis::connect(address, clock).await?;
                anyhow::Ok(Node::join(redis, format!("00000000-0000-7000-8000-{number:012}"), Timing::default()).await?)
            }
        })
        .buffer_unordered(JOINING)
        .try_collect()
        .await?;
    for node in &nodes {
        node.seen().wait_for(|seen| seen.living == count).await?;
    }
    let renewals = |nodes: &[Node]| nodes.iter().map(|node| node.seen().borrow().renewals).sum::<u64>();
    let (watch, cpu_before, renewals_before) = (Stopwatch::start(), accounts.cpu_us()?, renewals(&nodes));
    let own_before = accounts::cpu_us(own_pid)?;
    clock.sleep_ms(seconds as i64 * 1_000).await;
    let (elapsed_s, renewed) = (watch.elapsed().as_secs_f64(), renewals(&nodes) - renewals_before);
    let (cpu_us, own_us) = (accounts.cpu_us()? - cpu_before, accounts::cpu_us(own_pid)? - own_before);
    let memory_after = memory()?;
    say(format_args!(
        "{count} nodes, each renewing every {} ms: {:.0} renewals/s, Redis {:.1} % of a core ({:.0} µs a renewal), here {:.0} µs",
        Timing::default().renew_ms,
        renewed as f64 / elapsed_s,
        cpu_us as f64 / elapsed_s / 1e4,
        cpu_us as f64 / renewed as f64,
        own_us as f64 / renewed as f64,
    ))?;
    let grown = |before: u64, after: u64| (after as f64 - before as f64) / count as f64 / 1e3;
    say(format_args!(
        "memory: Redis {:.1} MB, {:.1} kB a node with its connection; here {:.1} kB a node",
        memory_after.0 as f64 / 1e6,
        grown(memory_before.0, memory_after.0),
        grown(memory_before.1, memory_after.1),
    ))?;
    let killed = nodes.pop().context("no node has joined")?;
    let id = killed.id().to_owned();
    let watch = Stopwatch::start();
    // As if its process had died: nothing is said to anybody.
    drop(killed);
    let waits = nodes.iter().map(|node| async {
        node.seen().wait_for(|seen| seen.dead.contains(&id)).await?;
        anyhow::Ok(watch.elapsed().as_secs_f64())
    });
    let mut seen_s = try_join_all(waits).await?;
    seen_s.sort_by(f64::total_cmp);
    say(format_args!(
        "a node is killed, whose lease lasts {} ms: the first sees it after {:.1} s, half after {:.1} s, all after {:.1} s",
        Timing::default().lease_ms,
        seen_s[0],
        seen_s[seen_s.len() / 2],
        seen_s[seen_s.len() - 1],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_benchmark_says_is_read() {
        let text = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                    \"p99_latency_ms\",\"max_latency_ms\"\n\
                    \"GET plain:__rand_int__\",\"50000.00\",\"0.6\",\"0.1\",\"0.5\",\"0.9\",\"1.25\",\"3.0\"\n";
        assert_eq!(parse_csv(text), Some((50_000.0, 1.25)));
        assert_eq!(parse_csv("Could not connect to Redis"), None);
    }
}
