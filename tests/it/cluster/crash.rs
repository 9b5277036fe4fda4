//! Three nodes behind one address, and whatever can happen to them, to PostgreSQL, to Redis and to the network between,
//! again and again: nothing that was acknowledged is lost or counted twice, no honest learner pays for it, and every verdict
//! reaches the platform.
//!
//! `CRASH_BLOWS` says how often (9: each kind once), `CRASH_SEED` repeats the order of a run.

use std::collections::HashMap;
use std::net::SocketAddr;

use invigil::clock::{Clock, Entropy};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::crash::{Class, any_seed, between, check_all, number};
use crate::harness::Course;
use crate::harness::hooks::{Hook, receiver};
use crate::harness::process::{Home, Process};
use crate::harness::s3::S3;
use crate::harness::servers::postgres::Postgres;
use crate::harness::servers::proxy::Proxy;
use crate::harness::servers::redis::RedisServer;

const NODES: usize = 3;
const HEARTBEAT_MS: i64 = 250;
/// Longer than a lease, which is 6 s.
const STANDSTILL_MS: i64 = 8_000;
/// How long everybody learns between two blows, ms.
const PEACE_MS: [u64; 2] = [500, 4_000];
/// How long a server is away, ms.
const ABSENCE_MS: [u64; 2] = [0, 2_000];

#[derive(Clone, Copy, Debug)]
enum Blow {
    KillNode,
    PauseNode,
    StopNode,
    EmptyRedis,
    KillPostgres,
    CutClients,
    FreezeClients,
    CutRedis,
    CutPostgres,
}

const BLOWS: [Blow; 9] = [
    Blow::KillNode,
    Blow::PauseNode,
    Blow::StopNode,
    Blow::EmptyRedis,
    Blow::KillPostgres,
    Blow::CutClients,
    Blow::FreezeClients,
    Blow::CutRedis,
    Blow::CutPostgres,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blow_after_blow_three_nodes_keep_every_acknowledged_event_exactly_once() {
    let (blows, seed) =
        (number("CRASH_BLOWS").unwrap_or(BLOWS.len() as u64), number("CRASH_SEED").unwrap_or_else(any_seed));
    eprintln!("CRASH_BLOWS={blows} CRASH_SEED={seed}");
    let mut installation = Installation::start().await;
    let operator = installation.homes[0].operator(installation.front.address()).very_patient();
    let class = Class::assemble(&operator, installation.front.address()).await;
    let (hook, received) = receiver().await;
    class.course.platform.put("/platform/webhook", json!({"url": hook})).await;
    let (over, over_seen) = watch::channel(false);
    let learners = class.begin(seed, &over_seen);

    let chance = Entropy::seeded(seed);
    let mut left: Vec<Blow> = Vec::new();
    for _ in 0..blows {
        if left.is_empty() {
            left = BLOWS.to_vec();
        }
        Clock::system().sleep_ms(between(&chance, PEACE_MS)).await;
        let blow = left.swap_remove(any(&chance, left.len()));
        installation.suffer(blow, &chance).await;
    }
    over.send_replace(true);
    let mut kept = Vec::new();
    for learner in learners {
        kept.extend(learner.await.unwrap());
    }
    let sessions = check_all(&class.course, &kept, &installation.homes[0].policy()).await;
    check_webhooks(&class.course, &sessions, received).await;
    installation.end();
}

/// The verdict of every session has come, and whenever it came again, under the same id.
async fn check_webhooks(course: &Course, sessions: &[String], mut received: mpsc::UnboundedReceiver<Hook>) {
    let mut told: HashMap<String, (String, String)> = HashMap::new();
    let mut repeated = 0;
    while !sessions.iter().all(|session| told.contains_key(session)) {
        let Hook { headers, body } = received.recv().await.unwrap();
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        let event: Value = serde_json::from_str(&body).unwrap();
        let session = event["data"]["session"].as_str().unwrap().to_owned();
        if let Some(before) = told.insert(session, (id.clone(), body.clone())) {
            assert_eq!(before, (id, body));
            repeated += 1;
        }
    }
    for session in sessions {
        let stored: Value =
            serde_json::from_str(&course.platform.text(&format!("/sessions/{session}/verdict")).await).unwrap();
        let event: Value = serde_json::from_str(&told[session].1).unwrap();
        assert_eq!(event["data"]["verdict"], stored, "{session}");
    }
    eprintln!("webhooks of {} sessions, {repeated} of them more than once", sessions.len());
}

fn any(chance: &Entropy, of: usize) -> usize {
    u64::from_le_bytes(chance.bytes()) as usize % of
}

/// Everything of one installation.
struct Installation {
    homes: Vec<Home>,
    nodes: Vec<Option<Process>>,
    addresses: Vec<SocketAddr>,
    /// what the dead have said
    logs: Vec<Vec<String>>,
    front: Proxy,
    postgres: Postgres,
    redis: RedisServer,
    to_postgres: Proxy,
    to_redis: Proxy,
    _photos: S3,
}

impl Installation {
    async fn start() -> Self {
        let (postgres, redis, photos) = (Postgres::start(), RedisServer::start(), S3::start().await);
        let (to_postgres, to_redis) = (Proxy::start(postgres.address()).await, Proxy::start(redis.address()).await);
        let database = postgres.database();
        let (user, name) = (database.split('@').next().unwrap(), database.rsplit('/').next().unwrap());
        let mut homes: Vec<Home> = Vec::new();
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let home = Home::new(HEARTBEAT_MS);
            home.configure(&format!(
                "[database]\nurl = \"{user}@{}/{name}\"\n[redis]\nurl = \"redis://{}\"\n{}",
                to_postgres.address(),
                to_redis.address(),
                format_args!("[webhook]\nallow_private_addresses = true\nallow_http = true\n{}", photos.toml())
            ));
            if let Some(first) = homes.first() {
                let file = |name| first.data().join(name);
                home.configure(&format!(
                    "[keys]\nmaster_file = {:?}\npepper_file = {:?}\noperator_file = {:?}\n",
                    file("master.key"),
                    file("identity.pepper"),
                    file("operator.key")
                ));
            }
            let node = Process::start(home.command(&[], None)).await;
            nodes.push(Some(node.unwrap_or_else(|said| panic!("node {number}: {said}"))));
            homes.push(home);
        }
        let addresses: Vec<SocketAddr> = nodes.iter().flatten().map(|node: &Process| node.address).collect();
        let front = Proxy::over(&addresses).await;
        let logs = vec![Vec::new(); NODES];
        Self { homes, nodes, addresses, logs, front, postgres, redis, to_postgres, to_redis, _photos: photos }
    }

    async fn suffer(&mut self, blow: Blow, chance: &Entropy) {
        let away = async || Clock::system().sleep_ms(between(chance, ABSENCE_MS)).await;
        let victim = any(chance, NODES);
        eprintln!("{blow:?} {victim}");
        match blow {
            Blow::KillNode => {
                let node = self.nodes[victim].take().expect("it is started again each time");
                self.logs[victim].extend(node.log());
                node.kill();
                away().await;
                self.start_again(victim).await;
            }
            Blow::PauseNode => {
                let node = self.nodes[victim].as_ref().expect("it is started again each time");
                node.pause();
                Clock::system().sleep_ms(STANDSTILL_MS).await;
                node.resume();
            }
            Blow::StopNode => {
                let node = self.nodes[victim].take().expect("it is started again each time");
                node.terminate();
                let (content, said) = node.ended().await;
                assert!(content, "{said:#?}");
                self.logs[victim].extend(said);
                self.start_again(victim).await;
            }
            Blow::EmptyRedis => {
                self.redis.kill();
                away().await;
                self.redis.restart_empty();
            }
            Blow::KillPostgres => {
                self.postgres.kill();
                away().await;
                self.postgres.start_again();
            }
            Blow::CutClients => self.front.cut(),
            Blow::FreezeClients => self.front.freeze(),
            Blow::CutRedis => self.to_redis.cut(),
            Blow::CutPostgres => self.to_postgres.cut(),
        }
    }

    async fn start_again(&mut self, victim: usize) {
        // PostgreSQL or Redis may still be coming back from the blow before.
        let command = || self.homes[victim].command(&[], Some(self.addresses[victim]));
        let mut last = String::new();
        for _ in 0..20 {
            match Process::start(command()).await {
                Ok(node) => {
                    self.nodes[victim] = Some(node);
                    return;
                }
                Err(said) => last = said,
            }
            Clock::system().sleep_ms(500).await;
        }
        panic!("node {victim} does not start again: {last}");
    }

    /// All end by SIGKILL; none has met a fault in its own program.
    fn end(mut self) {
        for (node, log) in self.nodes.iter_mut().zip(&mut self.logs) {
            let node = node.take().expect("it is started again each time");
            log.extend(node.log());
            node.kill();
            let broken: Vec<&String> = log
                .iter()
                .filter(|line| {
                    line.contains("panicked") || line.contains("cannot be taken up") || line.contains("refused: ")
                })
                .collect();
            assert!(broken.is_empty(), "{broken:#?}");
        }
    }
}
