//! `invigil bench journal`: what the journal's promises cost on PostgreSQL. The same rows go through our journal, through
//! plain prepared inserts of many rows as `pgbench` would send them, and into the embedded column.
//!
//! All in one run and by turns, because a machine is never the same twice. The database is left as it was: what is
//! written is in a schema of its own, which is dropped.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::say;
use super::ingest::accounts;
use crate::auth::SecretHash;
use crate::auth::api_key::ApiKey;
use crate::clock::{Clock, Entropy, Stopwatch};
use crate::policy::Policy;
use crate::store::populate::{Pupil, School};
use crate::store::postgres::journal::{Journal, Target};
use crate::store::sessions::{NewSession, PackInForce};
use crate::store::{Batch, SessionKey, Store, checksum};

const SCHEMA: &str = include_str!("../../store/schema/postgres/0001.sql");
/// Where the benchmark writes.
const SCHEMA_NAME: &str = "invigil_bench";
/// Connections of the plain inserts: as many as the journal has for its groups.
const CONNECTIONS: usize = 3;
const PLAIN_COLUMNS: usize = 6;

/// Measures appends to the journal on PostgreSQL.
#[derive(Debug, clap::Args)]
pub struct JournalBench {
    /// The database, whose user may make schemas: postgres://USER@HOST/DATABASE
    #[arg(long)]
    database_url: String,
    /// Rows of each way in each round
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Rounds; the middle one of each way is shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// Rows of a statement; three times as many sessions write at the same time
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=512))]
    batch: u64,
    /// Bytes of lines in a row: an honest page's heartbeat is one line of about 170
    #[arg(long, default_value_t = 170, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    bytes: u64,
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

impl JournalBench {
    /// Runs it and prints its figures.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = connect(&self.database_url.parse()?).await?;
            let clear = format!("DROP SCHEMA IF EXISTS {SCHEMA_NAME} CASCADE");
            client.batch_execute(&format!("{clear}; CREATE SCHEMA {SCHEMA_NAME}")).await?;
            let measured = self.measure().await;
            client.batch_execute(&clear).await?;
            self.print(&measured?)
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Sessions that write at the same time, in each way.
    fn sessions(&self) -> u64 {
        self.batch * CONNECTIONS as u64
    }

    async fn measure(&self) -> anyhow::Result<BTreeMap<Way, Vec<Measured>>> {
        let mut config: Config = self.database_url.parse()?;
        let options = format!("{} -c search_path={SCHEMA_NAME}", config.get_options().unwrap_or_default());
        config.options(options);
        let now_ms = Clock::system().now_ms();
        let client = connect(&config).await?;
        self.prepare(&client, now_ms).await?;
        let journal = Journal::open(target(config.clone())?).await?;
        // The first half of the sessions is ours, the second the plain inserts'.
        let ours: Vec<i64> = (1..=self.sessions() as i64).collect();
        for session in &ours {
            journal.enter(SessionKey(*session), 1);
        }
        let mut plain = Vec::new();
        for _ in 0..CONNECTIONS {
            plain.push(connect(&config).await?);
        }
        let folder = tempfile::tempdir()?;
        let (store, embedded) = self.embedded(folder.path(), now_ms).await?;
        let month: i64 = client.query_one("SELECT month_of($1)", &[&now_ms]).await?.try_get(0)?;
        let mut all: BTreeMap<Way, Vec<Measured>> = BTreeMap::new();
        let each = self.rows.div_ceil(self.sessions()).max(1);
        for round in 0..self.rounds {
            let first = round * each;
            let ways = [Way::Ours, Way::Plain, Way::Embedded];
            for way in if round % 2 == 0 { ways } else { [Way::Plain, Way::Ours, Way::Embedded] } {
                let before = (accounts::cpu_us(std::process::id())?, database_us(&client).await?);
                let groups = || journal.meters().group_writes.count() + store.meters().group_writes.count();
                let groups_before = groups();
                let watch = Stopwatch::start();
                match way {
                    Way::Ours => append_ours(&journal, &ours, first, each, self.bytes).await?,
                    Way::Plain => self.insert_plainly(&plain, month, first, each).await?,
                    Way::Embedded => append_embedded(&store, &embedded, first, each, self.bytes).await?,
                }
                let seconds = watch.elapsed().as_secs_f64();
                let rows = (each * self.sessions()) as f64;
                let own_us = (accounts::cpu_us(std::process::id())? - before.0) as f64 / rows;
                let after = database_us(&client).await?;
                // The embedded column's database is this process.
                let database_us = before.1.zip(after).filter(|_| way != Way::Embedded);
                let database_us = database_us.map(|(before, after)| (after - before) as f64 / rows);
                let group = match way {
                    Way::Plain => self.batch as f64,
                    Way::Ours | Way::Embedded => rows / (groups() - groups_before).max(1) as f64,
                };
                let measured = Measured { rows_per_s: rows / seconds, own_us, database_us, group };
                all.entry(way).or_default().push(measured);
            }
        }
        let written: i64 = client.query_one("SELECT count(*) FROM journal", &[]).await?.try_get(0)?;
        let expected = 2 * self.rounds * each * self.sessions();
        ensure!(written as u64 == expected, "{written} rows are in the journal, and {expected} were written");
        Ok(all)
    }

    /// The schema, its partitions, and open sessions.
    async fn prepare(&self, client: &Client, now_ms: i64) -> anyhow::Result<()> {
        client.batch_execute(SCHEMA).await?;
        let sessions = 2 * self.sessions();
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

    /// An embedded store with as many open sessions.
    async fn embedded(&self, folder: &std::path::Path, now_ms: i64) -> anyhow::Result<(Store, Vec<i64>)> {
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
            pupils: (0..self.sessions()).map(pupil).collect(),
            now_ms,
        };
        store.populate(school).await?;
        let policy = PackInForce::of(&Arc::new(Policy::default()));
        let open = (0..self.sessions()).map(|n| {
            store.open_session(NewSession {
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
            })
        });
        let opened = try_join_all(open).await?;
        Ok((store, opened.iter().map(|opened| opened.key.0).collect()))
    }

    /// Each connection writes one statement after the other, each of one row of every session that is its own.
    async fn insert_plainly(&self, clients: &[Client], month: i64, first: u64, each: u64) -> anyhow::Result<()> {
        let places: Vec<String> = (0..self.batch as usize)
            .map(|row| {
                let places: Vec<String> =
                    (1..=PLAIN_COLUMNS).map(|n| format!("${}", row * PLAIN_COLUMNS + n)).collect();
                format!("({})", places.join(", "))
            })
            .collect();
        let sql = format!(
            "INSERT INTO journal (month, session, first_n, count, lines, checksum) VALUES {}",
            places.join(", ")
        );
        let connections = clients.iter().zip(0..).map(|(client, number)| {
            let sql = &sql;
            async move {
                let statement = client.prepare(sql).await?;
                let (count, lines) = (1_i64, lines(self.bytes));
                let from = self.sessions() + number * self.batch + 1;
                let sessions: Vec<i64> = (from..from + self.batch).map(|session| session as i64).collect();
                for n in first + 1..=first + each {
                    let n = n as i64;
                    let sums: Vec<i64> =
                        sessions.iter().map(|session| checksum::of_lines(*session, n, 1, &lines).into()).collect();
                    let mut values: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(sessions.len() * PLAIN_COLUMNS);
                    for (session, sum) in sessions.iter().zip(&sums) {
                        values
                            .extend([&month, session, &n, &count, &lines, sum] as [&(dyn ToSql + Sync); PLAIN_COLUMNS]);
                    }
                    client.execute(&statement, &values).await?;
                }
                anyhow::Ok(())
            }
        });
        try_join_all(connections).await?;
        Ok(())
    }

    fn print(&self, all: &BTreeMap<Way, Vec<Measured>>) -> anyhow::Result<()> {
        let middle = |way: Way| {
            let mut measured = all[&way].clone();
            measured.sort_by(|one, other| one.rows_per_s.total_cmp(&other.rows_per_s));
            measured[measured.len() / 2]
        };
        let (ours, plain, embedded) = (middle(Way::Ours), middle(Way::Plain), middle(Way::Embedded));
        say(format_args!(
            "{} sessions, rows of {} bytes, {CONNECTIONS} connections, the middle of {} rounds\n",
            self.sessions(),
            self.bytes,
            self.rounds
        ))?;
        say("| rows go | rows/s | processor time here, µs/row | in the database, µs/row | rows a group |")?;
        say("| --- | ---: | ---: | ---: | ---: |")?;
        for (name, of) in
            [("through the journal", ours), ("by plain inserts", plain), ("into the embedded column", embedded)]
        {
            let database_us = of.database_us.map_or("–".into(), |us| format!("{us:.1}"));
            say(format_args!(
                "| {name} | {:.0} | {:.1} | {database_us} | {:.0} |",
                of.rows_per_s, of.own_us, of.group
            ))?;
        }
        say(format_args!("\nthe journal writes {:.2} of what plain inserts write", ours.rows_per_s / plain.rows_per_s))
    }
}

/// Every session appends one row after the other.
async fn append_ours(journal: &Journal, sessions: &[i64], first: u64, each: u64, bytes: u64) -> anyhow::Result<()> {
    let sessions = sessions.iter().map(|session| {
        let (journal, session) = (journal.clone(), SessionKey(*session));
        tokio::spawn(async move {
            for first_n in first + 1..=first + each {
                journal.append(Batch { session, epoch: 0, first_n, count: 1, lines: lines(bytes) }).await?;
            }
            anyhow::Ok(())
        })
    });
    for ended in try_join_all(sessions).await? {
        ended?;
    }
    Ok(())
}

/// The same, after the line that opened the session.
async fn append_embedded(store: &Store, sessions: &[i64], first: u64, each: u64, bytes: u64) -> anyhow::Result<()> {
    let sessions = sessions.iter().map(|session| {
        let (store, session) = (store.clone(), SessionKey(*session));
        tokio::spawn(async move {
            for first_n in first + 2..=first + each + 1 {
                store.append(Batch { session, epoch: 0, first_n, count: 1, lines: lines(bytes) }).await?;
            }
            anyhow::Ok(())
        })
    });
    for ended in try_join_all(sessions).await? {
        ended?;
    }
    Ok(())
}

fn lines(bytes: u64) -> Vec<u8> {
    let mut lines = vec![b'x'; bytes as usize];
    lines[bytes as usize - 1] = b'\n';
    lines
}

async fn connect(config: &Config) -> anyhow::Result<Client> {
    let (client, connection) = config.connect(NoTls).await.context("the database")?;
    tokio::spawn(connection);
    Ok(client)
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

/// Processor time of the database's processes, µs, if they run on this machine.
async fn database_us(client: &Client) -> anyhow::Result<Option<u64>> {
    let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?;
    let Some(server) = u32::try_from(backend).ok().and_then(parent) else { return Ok(None) };
    let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
    let processes = children.split_whitespace().filter_map(|id| id.parse().ok()).chain([server]);
    Ok(Some(processes.filter_map(|id| accounts::cpu_us(id).ok()).sum()))
}

/// The server's first process, whose child this is if it is one of PostgreSQL's.
fn parent(backend: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{backend}/stat")).ok()?;
    let (head, rest) = stat.rsplit_once(") ")?;
    head.ends_with("(postgres").then(|| rest.split(' ').nth(1)?.parse().ok())?
}
