//! Nodes that take sessions from each other while connections and servers fail, at random.
//!
//! `JOURNAL_FAULTS` says how often something fails (40), `JOURNAL_SEED` repeats what.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use invigil::clock::{Clock, Entropy};
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};

use super::*;

const FAULTS: u64 = 40;
const NODES: usize = 3;
/// Of these every other one is closed when it is long enough.
const SESSIONS: i64 = 8;
const LINES_BEFORE_CLOSING: u64 = 60;
/// Lines that are acknowledged between two faults, at least.
const LINES_BETWEEN: u64 = 15;
/// How long a fault lasts that ends by itself, and how long a node waits before it takes a session that is not its own.
const FAULT_MS: u64 = 120;
const PATIENCE_MS: u64 = 60;
const PASS: [Flow; 2] = [Flow::Pass, Flow::Pass];

/// What nodes were told is in the journal: for each session its lines by their numbers.
#[derive(Default)]
struct Told {
    lines: Mutex<BTreeMap<i64, BTreeMap<u64, String>>>,
    count: watch::Sender<u64>,
}

impl Told {
    fn add(&self, batch: &Batch) {
        let mut lines = self.lines.lock().unwrap();
        let of_session = lines.entry(batch.session.0).or_default();
        for (n, line) in (batch.first_n..).zip(std::str::from_utf8(&batch.lines).unwrap().lines()) {
            let before = of_session.insert(n, line.to_owned());
            assert!(before.is_none_or(|before| before == line), "two lines were acknowledged as number {n}");
        }
        drop(lines);
        self.count.send_modify(|count| *count += batch.count);
    }

    fn of(&self, session: i64) -> BTreeMap<u64, String> {
        self.lines.lock().unwrap().get(&session).cloned().unwrap_or_default()
    }
}

/// A log counts 1, 2, 3 …, no line is in it twice, none of an earlier owner stands after one of a later owner, and what
/// was `told` is where it was said to be.
fn check(session: i64, log: &[u8], told: &BTreeMap<u64, String>) {
    let lines: Vec<&str> = std::str::from_utf8(log).unwrap().lines().collect();
    let (mut epoch_before, mut seen) = (0, HashSet::new());
    for (line, n) in lines.iter().zip(1..) {
        let fields: Vec<u64> = line.split(' ').map(|field| field.parse().unwrap()).collect();
        let [number, epoch, node, draft] = fields[..] else { panic!("{line}") };
        assert_eq!(number, n, "session {session}: {line}");
        assert!(epoch >= epoch_before, "session {session}: {line} is of an earlier owner");
        assert!(seen.insert((node, draft)), "session {session}: {line} is there twice");
        epoch_before = epoch;
    }
    for (n, line) in told {
        assert_eq!(lines.get(*n as usize - 1), Some(&line.as_str()), "session {session}: line {n} was acknowledged");
    }
}

/// One node's hand on one session.
struct Owner {
    node: u64,
    session: i64,
    journal: Journal,
    /// of the database, as the node reaches it
    url: String,
    told: Arc<Told>,
    moments: Entropy,
    drafts: u64,
}

impl Owner {
    fn chance(&self, of: u64) -> bool {
        draw(&self.moments, of) == 0
    }

    /// Takes the session whenever it has it not, and writes to it, until all is over or it is closed.
    async fn live(mut self, over: watch::Receiver<bool>) {
        while !*over.borrow() {
            Clock::system().sleep_ms(draw(&self.moments, PATIENCE_MS) as i64).await;
            let told = self.told.of(self.session);
            let acquired = match self.journal.acquire(SessionKey(self.session)).await {
                Ok(acquired) => acquired,
                Err(AppendError::NotOpen) => return,
                Err(AppendError::Store(error)) if error.is_passing() => continue,
                Err(error) => panic!("session {}: {error:?}", self.session),
            };
            check(self.session, &acquired.log, &told);
            self.own(acquired.epoch, &acquired.log, &over).await;
        }
    }

    async fn own(&mut self, epoch: i64, log: &[u8], over: &watch::Receiver<bool>) {
        let mut next_n = log.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        while !*over.borrow() {
            let batch = self.draft(epoch, next_n);
            if self.session % 2 == 0 && next_n > LINES_BEFORE_CLOSING && self.chance(20) {
                self.close(batch).await;
                return;
            }
            // Now and then whoever waits gives up in the middle, and nobody hears what came of it.
            if self.chance(15) {
                let limit = Duration::from_millis(draw(&self.moments, 4));
                let Ok(result) = timeout(limit, self.journal.append(batch.clone())).await else { return };
                if result.is_err() {
                    return;
                }
            } else if let Err(error) = self.journal.append(batch.clone()).await {
                let lost = matches!(&error, AppendError::Store(error) if !error.is_passing());
                assert!(!lost, "session {}: {error:?}", self.session);
                return;
            }
            self.told.add(&batch);
            next_n += batch.count;
            if self.chance(10) && self.journal.append(batch.clone()).await.is_err() {
                return;
            }
        }
    }

    fn draft(&mut self, epoch: i64, first_n: u64) -> Batch {
        let mut lines = String::new();
        for n in first_n..=first_n + draw(&self.moments, 3) {
            self.drafts += 1;
            lines += &format!("{n} {epoch} {} {}\n", self.node, self.drafts);
        }
        batch(self.session, epoch, first_n, &lines)
    }

    /// Closes the session, if nobody has taken it and no connection is lost.
    async fn close(&mut self, last: Batch) {
        let Ok(mut log) = self.journal.read_log(last.session).await else { return };
        if log.iter().filter(|byte| **byte == b'\n').count() as u64 + 1 != last.first_n {
            return;
        }
        log.extend_from_slice(&last.lines);
        let mut segment = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        segment.write_all(&log).unwrap();
        let digest = hex::encode(ring::digest::digest(&ring::digest::SHA256, &log));
        let Ok((mut client, connection)) = tokio_postgres::connect(&self.url, NoTls).await else { return };
        tokio::spawn(connection);
        if seal(&mut client, &last, &segment.finish().unwrap(), &digest).await.is_ok() {
            self.told.add(&last);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_line_is_there_once_and_in_order_whatever_fails() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("JOURNAL_SEED").unwrap_or_else(|| u64::from_le_bytes(Entropy::system().bytes()));
    let faults = number("JOURNAL_FAULTS").unwrap_or(FAULTS);
    eprintln!("JOURNAL_FAULTS={faults} JOURNAL_SEED={seed}");
    let mut ground = Ground::new(SESSIONS as u32);
    let told = Arc::new(Told::default());
    let (over, over_seen) = watch::channel(false);
    let (mut proxies, mut owners) = (Vec::new(), JoinSet::new());
    for node in 0..NODES {
        let proxy = Proxy::start(ground.server.address()).await;
        let journal = ground.journal_through(&proxy).await;
        for session in 1..=SESSIONS {
            let moments = Entropy::seeded(seed ^ ((node as u64) << 32) ^ session as u64);
            let (journal, url, told) = (journal.clone(), ground.through(&proxy), told.clone());
            let owner = Owner { node: node as u64, session, journal, url, told, moments, drafts: 0 };
            owners.spawn(owner.live(over_seen.clone()));
        }
        proxies.push(proxy);
    }

    let moments = Entropy::seeded(seed);
    let mut heard = told.count.subscribe();
    for _ in 0..faults {
        let goal = *heard.borrow_and_update() + LINES_BETWEEN + draw(&moments, LINES_BETWEEN);
        tokio::select! {
            reached = heard.wait_for(|count| *count >= goal) => drop(reached.unwrap()),
            Some(ended) = owners.join_next() => ended.unwrap(),
        }
        fail(&mut ground.server, &mut proxies, &moments).await;
    }
    over.send_replace(true);
    while let Some(ended) = owners.join_next().await {
        ended.unwrap();
    }

    let journal = ground.journal().await;
    let (client, mut closed) = (ground.client().await, 0);
    for session in 1..=SESSIONS {
        check(session, &journal.read_log(SessionKey(session)).await.unwrap(), &told.of(session));
        let sql = "SELECT closed_at IS NOT NULL,
            (SELECT count(*) FROM journal WHERE month = session.month AND session = key) FROM session WHERE key = $1";
        let row = client.query_one(sql, &[&session]).await.unwrap();
        if row.get(0) {
            closed += 1;
            assert_eq!(row.get::<_, i64>(1), 0, "nothing arrived after the end");
        }
    }
    eprintln!("{} lines, {closed} of {SESSIONS} sessions closed", *told.count.borrow());
}

/// Something fails, and is mended.
async fn fail(server: &mut Postgres, proxies: &mut [Proxy], moments: &Entropy) {
    let which = draw(moments, proxies.len() as u64) as usize;
    let proxy = &mut proxies[which];
    let flow = |proxy: &Proxy, [requests, answers]: [Flow; 2]| proxy.flow(requests, answers);
    let fault_ms = draw(moments, FAULT_MS) as i64;
    match draw(moments, 9) {
        0 | 1 => proxy.cut(),
        // The server has done what it was asked, and the answer is lost.
        2 | 3 => {
            flow(proxy, [Flow::Pass, Flow::Hold]);
            let _ = timeout(LONG, proxy.requested(1 + draw(moments, 2_000))).await;
            proxy.cut();
            flow(proxy, PASS);
        }
        // What was asked arrives later, when somebody else has the session perhaps.
        4 => {
            flow(proxy, [Flow::Hold, Flow::Pass]);
            Clock::system().sleep_ms(fault_ms).await;
            flow(proxy, PASS);
        }
        5 => {
            proxy.refuse().await;
            proxy.cut();
            Clock::system().sleep_ms(fault_ms).await;
            proxy.accept();
        }
        6 => {
            server.pause();
            Clock::system().sleep_ms(fault_ms).await;
            server.resume();
        }
        7 => block_in_place(|| {
            server.kill();
            server.start_again();
        }),
        _ => block_in_place(|| {
            server.stop();
            server.start_again();
        }),
    }
}

/// A number below `of`.
fn draw(moments: &Entropy, of: u64) -> u64 {
    u64::from_le_bytes(moments.bytes()) % of
}
