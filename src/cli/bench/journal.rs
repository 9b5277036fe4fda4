//! `invigil bench journal`: what the journal's promises cost on PostgreSQL. The same rows go through our journal, through
//! plain prepared inserts of many rows as `pgbench` would send them, and into the embedded column.
//!
//! All in one run and by turns, because a machine is never the same twice. A database that was named is left as it was:
//! what is written is in a schema of its own, which is dropped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use futures_util::future::try_join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::say;
use super::engines::{PostgresAccounts, connect};
use super::ingest::accounts;
use crate::auth::SecretHash;
use crate::auth::api_key::ApiKey;
use crate::clock::{Clock, Entropy, Stopwatch};
use crate::engines::Postgres;
use crate::policy::Policy;
use crate::store::populate::{Pupil, School};
use crate::store::postgres::journal::{Journal, Target};
use crate::store::sessions::{NewSession, PackInForce};
use crate::store::{AppendError, Batch, SessionKey, Store, checksum};

const SCHEMA: &str = include_str!("../../store/schema/postgres/0001.sql");
/// Where the benchmark writes.
const SCHEMA_NAME: &str = "invigil_bench";
const PLAIN_COLUMNS: usize = 6;
/// Rows of a plain statement at most: those of a group of ours.
const PLAIN_ROWS: usize = 512;

/// Measures appends to the journal on PostgreSQL.
#[derive(Debug, clap::Args)]
pub struct JournalBench {
    /// A database whose user may make schemas, postgres://USER@HOST/DATABASE; without it a server is started
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Where a server that is started keeps its files, and the embedded column its own: on the disk that is to be measured
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    folder: PathBuf,
    /// Sessions that write at the same time, in each way
    #[arg(long, default_value_t = 384, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    sessions: u64,
    /// Connections of the plain inserts: the journal has three for its groups. Each writes a row of each of its sessions
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=64))]
    connections: u64,
    /// Events of an append, which are one row
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    events: u64,
    /// Bytes of an event: an honest page's heartbeat is a line of about 170
    #[arg(long, default_value_t = 170, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    bytes: u64,
    /// Seconds of each way in each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Rounds, in each of which every way has its turn; medians are printed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
}

/// The ways that rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Ours,
    Plain,
    Embedded,
}

/// What a round of one way came to.
#[derive(Clone, Copy, Debug)]
struct Measured {
    rows_per_s: f64,
    /// processor time a row, µs: this process, and the database's processes if they run here
    own_us: f64,
    database_us: Option<f64>,
    /// rows that shared a commit
    group: f64,
}

/// Who writes to one session.
#[derive(Clone, Copy, Debug)]
struct Writer {
    session: i64,
    next_n: u64,
}

/// What each writer does.
#[derive(Clone, Copy, Debug)]
struct Load {
    events: u64,
    bytes: u64,
    limit: Duration,
}

impl JournalBench {
    /// Runs it and prints its figures.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        ensure!(self.connections <= self.sessions, "each connection needs a session");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let (_server, url) = match &self.database_url {
                Some(url) => (None, url.clone()),
                None => {
                    let server = Postgres::start(&self.folder)?;
                    let url = server.url();
                    (Some(server), url)
                }
            };
            let client = connect(&url.parse()?).await?;
            let clear = format!("DROP SCHEMA IF EXISTS {SCHEMA_NAME} CASCADE");
            client.batch_execute(&format!("{clear}; CREATE SCHEMA {SCHEMA_NAME}")).await?;
            let measured = self.measure(&url).await;
            client.batch_execute(&clear).await?;
            self.print(&measured?)
        })?;
        Ok(ExitCode::SUCCESS)
    }

    async fn measure(&self, url: &str) -> anyhow::Result<BTreeMap<Way, Vec<Measured>>> {
        let mut config: Config = url.parse()?;
        let options = format!("{} -c search_path={SCHEMA_NAME}", config.get_options().unwrap_or_default());
        config.options(options);
        let now_ms = Clock::system().now_ms();
        let client = connect(&config).await?;
        let database = PostgresAccounts::of(&client).await?;
        self.prepare(&client, now_ms).await?;
        let month: i64 = client.query_one("SELECT month_of($1)", &[&now_ms]).await?.try_get(0)?;
        let journal = Journal::open(target(config.clone())?).await?;
        // The first half of the sessions is ours, the second the plain inserts'.
        let of = |sessions: std::ops::RangeInclusive<u64>, next_n| {
            sessions.map(|session| Writer { session: session as i64, next_n }).collect::<Vec<_>>()
        };
        let mut ours = of(1..=self.sessions, 1);
        for writer in &ours {
            journal.enter(SessionKey(writer.session), month, writer.next_n);
        }
        let mut plain = of(self.sessions + 1..=2 * self.sessions, 1);
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            clients.push(connect(&config).await?);
        }
        std::fs::create_dir_all(&self.folder)?;
        let folder = tempfile::tempdir_in(&self.folder)?;
        let (store, mut embedded) = self.embedded(folder.path(), now_ms).await?;
        let load = Load { events: self.events, bytes: self.bytes, limit: Duration::from_secs(self.seconds) };
        let (mut all, mut written): (BTreeMap<Way, Vec<Measured>>, u64) = Default::default();
        for round in 0..self.rounds {
            let ways = [Way::Ours, Way::Plain, Way::Embedded];
            for way in if round % 2 == 0 { ways } else { [Way::Plain, Way::Ours, Way::Embedded] } {
                let before = (accounts::cpu_us(std::process::id())?, database.cpu_us());
                let groups = || journal.meters().group_writes.count() + store.meters().group_writes.count();
                let groups_before = groups();
                let watch = Stopwatch::start();
                let (rows, statements) = match way {
                    Way::Ours => {
                        let journal = journal.clone();
                        let append = move |batch| {
                            let journal = journal.clone();
                            async move { journal.append(batch).await }
                        };
                        (append_all(append, &mut ours, load).await?, None)
                    }
                    Way::Plain => insert_plainly(&clients, month, &mut plain, load).await?,
                    Way::Embedded => {
                        let store = store.clone();
                        let append = move |batch| {
                            let store = store.clone();
                            async move { store.append(batch).await }
                        };
                        (append_all(append, &mut embedded, load).await?, None)
                    }
                };
                let seconds = watch.elapsed().as_secs_f64();
                let each = |us: u64| us as f64 / rows as f64;
                // The embedded column's database is this process.
                let database_us = before.1.zip(database.cpu_us()).filter(|_| way != Way::Embedded);
                let measured = Measured {
                    rows_per_s: rows as f64 / seconds,
                    own_us: each(accounts::cpu_us(std::process::id())? - before.0),
                    database_us: database_us.map(|(before, after)| each(after - before)),
                    group: rows as f64 / statements.unwrap_or_else(|| groups() - groups_before).max(1) as f64,
                };
                all.entry(way).or_default().push(measured);
                written += if way == Way::Embedded { 0 } else { rows };
            }
        }
        let there: i64 = client.query_one("SELECT count(*) FROM journal", &[]).await?.try_get(0)?;
        ensure!(there as u64 == written, "{there} rows are in the journal, and {written} were written");
        Ok(all)
    }

    /// The schema, its partitions, and open sessions.
    async fn prepare(&self, client: &Client, now_ms: i64) -> anyhow::Result<()> {
        client.batch_execute(SCHEMA).await?;
        let sessions = 2 * self.sessions;
        let rows = format!(
            "SELECT make_journal_partitions({now_ms}, 1);
             INSERT INTO platform (id, name, status, created_at) VALUES ('p', 'p', 'active', 0);
             INSERT INTO project (id, platform, name, total_hours, delivery, policy, created_at)
                 VALUES ('j', 'p', 'j', 1, 'blended', 'default', 0);
             INSERT INTO lesson (id, project, position, title, duration_ms, kind) VALUES ('e', 'j', 1, 'e', 1, 'theory');
             INSERT INTO learner (id, created_at) SELECT 'l' || n, 0 FROM generate_series(1, {sessions}) AS n;
             INSERT INTO session (id, platform, learner, project, lesson, seed, opened_at)
                 SELECT 's' || n, 'p', 'l' || n, 'j', 'e', '\\x00', {now_ms} FROM generate_series(1, {sessions}) AS n;
             ANALYZE session"
        );
        Ok(client.batch_execute(&rows).await?)
    }

    /// An embedded store with as many open sessions, each with the line that opened it.
    async fn embedded(&self, folder: &std::path::Path, now_ms: i64) -> anyhow::Result<(Store, Vec<Writer>)> {
        let store = Store::open(folder)?;
        let pupil = |n| Pupil { id: format!("l{n}"), data_key: vec![0], template: vec![0] };
        let key: SecretHash = ApiKey::generate(&Entropy::system()).hash();
        let school = School {
            platform: "p".into(),
            key,
            project: "j".into(),
            lesson: "e".into(),
            duration_ms: 600_000,
            policy: "default".into(),
            pupils: (0..self.sessions).map(pupil).collect(),
            now_ms,
        };
        store.populate(school).await?;
        let policy = PackInForce::of(&Arc::new(Policy::default()));
        let mut writers = Vec::new();
        for n in 0..self.sessions {
            let opened = store.open_session(NewSession {
                id: format!("s{n}"),
                platform: "p".into(),
                learner: format!("l{n}"),
                project: "j".into(),
                lesson: "e".into(),
                policy: policy.clone(),
                makeup: None,
                sealed_seed: vec![0],
                sessions_per_learner: 1,
                now_ms,
            });
            writers.push(Writer { session: opened.await?.key.0, next_n: 2 });
        }
        Ok((store, writers))
    }

    fn print(&self, all: &BTreeMap<Way, Vec<Measured>>) -> anyhow::Result<()> {
        say(format_args!(
            "{} sessions, appends of {} events of {} bytes, plain inserts over {} connections, median of {} rounds of {} s\n",
            self.sessions, self.events, self.bytes, self.connections, self.rounds, self.seconds
        ))?;
        say("| rows go | rows/s | events/s | processor time here, µs/row | in the database, µs/row | rows a commit |")?;
        say("| --- | ---: | ---: | ---: | ---: | ---: |")?;
        let names = [
            (Way::Ours, "through the journal"),
            (Way::Plain, "by plain inserts"),
            (Way::Embedded, "into the embedded column"),
        ];
        for (way, name) in names {
            let of = |of: fn(&Measured) -> f64| median(all[&way].iter().map(of));
            let database_us = match way {
                Way::Embedded => None,
                _ => all[&way].iter().map(|measured| measured.database_us).collect::<Option<Vec<_>>>(),
            };
            let database_us = database_us.map_or("–".into(), |us| format!("{:.1}", median(us)));
            let rows_per_s = of(|measured| measured.rows_per_s);
            say(format_args!(
                "| {name} | {rows_per_s:.0} | {:.0} | {:.1} | {database_us} | {:.0} |",
                rows_per_s * self.events as f64,
                of(|measured| measured.own_us),
                of(|measured| measured.group),
            ))?;
        }
        let beside = |other: Way| {
            let pairs = all[&Way::Ours].iter().zip(&all[&other]);
            pairs.map(|(ours, other)| ours.rows_per_s / other.rows_per_s).collect::<Vec<_>>()
        };
        let (plain, embedded) = (beside(Way::Plain), beside(Way::Embedded));
        let (least, most) =
            plain.iter().fold((f64::MAX, f64::MIN), |(least, most), ratio| (least.min(*ratio), most.max(*ratio)));
        say(format_args!(
            "\nof what plain inserts write in the same round, the journal writes {:.2} (median; {least:.2} to {most:.2}), and of \
             what the embedded column writes, {:.2}",
            median(plain),
            median(embedded)
        ))
    }
}

/// Every session appends one row after the other; how many in all.
async fn append_all<F, R>(append: F, writers: &mut [Writer], load: Load) -> anyhow::Result<u64>
where
    F: Fn(Batch) -> R + Clone + Send + 'static,
    R: Future<Output = Result<(), AppendError>> + Send,
{
    let watch = Stopwatch::start();
    let running = writers.iter().map(|writer| {
        let (append, Writer { session, mut next_n }) = (append.clone(), *writer);
        tokio::spawn(async move {
            let lines = lines(load);
            while watch.elapsed() < load.limit {
                let (session, count) = (SessionKey(session), load.events);
                append(Batch { session, epoch: 0, first_n: next_n, count, lines: lines.clone() }).await?;
                next_n += count;
            }
            Ok::<_, AppendError>(next_n)
        })
    });
    let ended = try_join_all(running.collect::<Vec<_>>()).await?;
    let mut rows = 0;
    for (writer, next_n) in writers.iter_mut().zip(ended) {
        let next_n = next_n?;
        rows += (next_n - writer.next_n) / load.events;
        writer.next_n = next_n;
    }
    Ok(rows)
}

/// Each connection writes one statement after the other, each with a row of every session that is its own; how many rows,
/// and how many statements.
async fn insert_plainly(
    clients: &[Client],
    month: i64,
    writers: &mut [Writer],
    load: Load,
) -> anyhow::Result<(u64, Option<u64>)> {
    let (watch, share) = (Stopwatch::start(), writers.len().div_ceil(clients.len()));
    let connections = clients.iter().zip(writers.chunks_mut(share)).map(async |(client, writers)| {
        let (count, lines, mut rows, mut statements) = (load.events as i64, lines(load), 0, 0);
        let most = writers.len().div_ceil(writers.len().div_ceil(PLAIN_ROWS));
        let whole = client.prepare(&plain(most)).await?;
        let rest = client.prepare(&plain(((writers.len() - 1) % most) + 1)).await?;
        while watch.elapsed() < load.limit {
            for writers in writers.chunks_mut(most) {
                let numbers: Vec<(i64, i64)> =
                    writers.iter().map(|writer| (writer.session, writer.next_n as i64)).collect();
                let sum = |(session, n): &(i64, i64)| checksum::of_lines(*session, *n, count, &lines).into();
                let sums: Vec<i64> = numbers.iter().map(sum).collect();
                let mut values: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(numbers.len() * PLAIN_COLUMNS);
                for ((session, n), sum) in numbers.iter().zip(&sums) {
                    values.extend([&month, session, n, &count, &lines, sum] as [&(dyn ToSql + Sync); PLAIN_COLUMNS]);
                }
                client.execute(if writers.len() == most { &whole } else { &rest }, &values).await?;
                statements += 1;
                rows += writers.len() as u64;
                writers.iter_mut().for_each(|writer| writer.next_n += load.events);
            }
        }
        anyhow::Ok((rows, statements))
    });
    let (rows, statements): (Vec<u64>, Vec<u64>) = try_join_all(connections).await?.into_iter().unzip();
    Ok((rows.iter().sum(), Some(statements.iter().sum())))
}

/// The statement that inserts so many rows.
fn plain(rows: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=PLAIN_COLUMNS).map(|n| format!("${}", row * PLAIN_COLUMNS + n)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("INSERT INTO journal (month, session, first_n, count, lines, checksum) VALUES {}", rows.join(", "))
}

fn lines(load: Load) -> Vec<u8> {
    let mut line = vec![b'x'; load.bytes as usize];
    line[load.bytes as usize - 1] = b'\n';
    line.repeat(load.events as usize)
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Benchmarks run beside their database: TLS, if it is asked for, finds no certificate good.
fn target(config: Config) -> anyhow::Result<Target> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(Target { config, tls: MakeRustlsConnect::new(tls) })
}
