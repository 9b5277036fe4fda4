//! The journal's contract over a real PostgreSQL: who owns a session, what is acknowledged, and what a log is, whatever
//! happens to servers and connections.

mod chaos;

use std::time::Duration;

use invigil::store::postgres::journal::{ENTER, Journal, OWNER, PLACE, Target, UNSEALED, check_seal};
use invigil::store::{AppendError, Batch, SessionKey, StoreError, Writing};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::harness::START_MS;
use crate::harness::servers::postgres::Postgres;
use crate::harness::servers::proxy::{Flow, Proxy};

const SCHEMA: &str = include_str!("../../src/store/schema/postgres/0001.sql");
/// Long enough that what has not come by then does not come.
const LONG: Duration = Duration::from_millis(300);

/// A database with the schema, a partition of this month, and open sessions with the keys 1, 2, 3 …
struct Ground {
    server: Postgres,
    url: String,
}

impl Ground {
    fn new(sessions: u32) -> Self {
        let server = Postgres::start();
        let url = server.database();
        server.execute(&url, SCHEMA);
        let rows = format!(
            "SELECT make_journal_partitions({START_MS}, 1);
             INSERT INTO platform (id, name, status, created_at) VALUES ('p1', 'P', 'active', 0);
             INSERT INTO project (id, platform, name, total_hours, delivery, policy, created_at)
                 VALUES ('j1', 'p1', 'J', 100, 'blended', 'default', 0);
             INSERT INTO lesson (id, project, position, title, duration_ms, kind)
                 VALUES ('e1', 'j1', 1, 'E', 600000, 'theory');
             INSERT INTO learner (id, created_at) SELECT 'l' || n, 0 FROM generate_series(1, {sessions}) AS n;
             INSERT INTO session (id, platform, learner, project, lesson, seed, opened_at)
                 SELECT 's' || n, 'p1', 'l' || n, 'j1', 'e1', '\\x00', {START_MS} FROM generate_series(1, {sessions}) AS n"
        );
        server.execute(&url, &rows);
        Self { server, url }
    }

    async fn journal(&self) -> Journal {
        Journal::open(target(&self.url)).await.unwrap()
    }

    async fn journal_through(&self, proxy: &Proxy) -> Journal {
        Journal::open(target(&self.through(proxy))).await.unwrap()
    }

    fn through(&self, proxy: &Proxy) -> String {
        self.url.replace(&self.server.address().to_string(), &proxy.address().to_string())
    }

    async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

fn target(url: &str) -> Target {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    Target { config: url.parse().unwrap(), tls: MakeRustlsConnect::new(tls) }
}

fn batch(session: i64, epoch: i64, first_n: u64, lines: &str) -> Batch {
    let count = lines.matches('\n').count() as u64;
    Batch { session: SessionKey(session), epoch, first_n, count, lines: lines.into() }
}

async fn text(journal: &Journal, session: i64) -> String {
    String::from_utf8(journal.read_log(SessionKey(session)).await.unwrap()).unwrap()
}

/// What closing a session does to the journal, in the transaction of whoever closes it.
async fn seal(client: &mut Client, last: &Batch, segment: &[u8], digest: &str) -> Result<(), AppendError> {
    let dollars = |sql: &str| sql.replace('?', "$");
    let closing = client.build_transaction().isolation_level(IsolationLevel::Serializable).start().await;
    let closing = closing.map_err(StoreError::from)?;
    let owner = closing.query_opt(&dollars(OWNER), &[&last.session.0]).await.map_err(StoreError::from)?;
    let (epoch, month) = owner.map_or((None, 0), |row| (Some(row.get(0)), row.get::<_, i64>(1)));
    let place: [&(dyn ToSql + Sync); 4] = [&month, &last.session.0, &(last.first_n as i64), &(last.count as i64)];
    let placed = closing.execute(&dollars(PLACE), &place).await.map_err(StoreError::from)?;
    let rows = closing.query(&dollars(UNSEALED), &[&month, &last.session.0]).await.map_err(StoreError::from)?;
    check_seal(last, epoch, placed == 1, rows.iter().map(|row| row.get(0)))?;
    let count = (last.first_n + last.count - 1) as i64;
    let insert = "INSERT INTO segment (session, count, digest, lines) VALUES ($1, $2, $3, $4)";
    closing.execute(insert, &[&last.session.0, &count, &digest, &segment]).await.map_err(StoreError::from)?;
    let close = "UPDATE session SET closed_at = opened_at + 1 WHERE key = $1";
    closing.execute(close, &[&last.session.0]).await.map_err(StoreError::from)?;
    Ok(closing.commit().await.map_err(StoreError::from)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_must_come_from_the_owner_and_continue_the_log() {
    let ground = Ground::new(2);
    let journal = ground.journal().await;
    let unknown = journal.append(batch(1, 0, 1, "one\n")).await;
    assert!(matches!(unknown, Err(AppendError::NotOpen)), "nobody has taken it: {unknown:?}");
    let first = journal.acquire(SessionKey(1)).await.unwrap();
    assert_eq!((first.epoch, first.log.as_slice()), (1, b"".as_slice()));
    journal.append(batch(1, 1, 1, "one\n")).await.unwrap();
    journal.append(batch(1, 1, 2, "two\nthree\n")).await.unwrap();
    journal.append(batch(1, 1, 2, "two\nthree\n")).await.expect("the same again");
    for (other, why) in [("two\n", "less"), ("two\nthree\nfour\n", "more"), ("two\nthrii\n", "other")] {
        let again = journal.append(batch(1, 1, 2, other)).await;
        assert!(matches!(again, Err(AppendError::WrongNumber { expected: 4, found: 2 })), "{why}: {again:?}");
    }
    let within = journal.append(batch(1, 1, 3, "three\n")).await;
    assert!(matches!(within, Err(AppendError::WrongNumber { expected: 4, found: 3 })), "{within:?}");
    let gap = journal.append(batch(1, 1, 5, "five\n")).await;
    assert!(matches!(gap, Err(AppendError::WrongNumber { expected: 4, found: 5 })), "{gap:?}");
    let second = ground.journal().await.acquire(SessionKey(1)).await.unwrap();
    assert_eq!((second.epoch, second.log.as_slice()), (2, b"one\ntwo\nthree\n".as_slice()));
    let stale = journal.append(batch(1, 1, 4, "four\n")).await;
    assert!(matches!(stale, Err(AppendError::StaleEpoch { held: 1, current: 2 })), "{stale:?}");
    assert_eq!(text(&journal, 1).await, "one\ntwo\nthree\n");
    assert!(matches!(journal.acquire(SessionKey(9)).await, Err(AppendError::NotOpen)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_sealed_in_the_transaction_that_closes_it() {
    let ground = Ground::new(1);
    let (journal, mut client) = (ground.journal().await, ground.client().await);
    let line = "{\"n\":1}\n";
    let first: [&(dyn ToSql + Sync); 5] = [&1i64, &1i64, &1i64, &line.as_bytes(), &0i64];
    let month = client.query_one(&ENTER.replace('?', "$"), &first).await.unwrap().get(0);
    journal.enter(SessionKey(1), month, 2);
    journal.append(batch(1, 0, 2, "two\n")).await.unwrap();
    let damaged = journal.read_log(SessionKey(1)).await;
    assert!(matches!(damaged, Err(StoreError::Corrupt { what: "journal", .. })), "0 is not its checksum: {damaged:?}");
    let gap = seal(&mut client, &batch(1, 0, 5, "five\n"), b"", "").await;
    assert!(matches!(gap, Err(AppendError::WrongNumber { expected: 3, found: 5 })), "{gap:?}");
    let stale = seal(&mut client, &batch(1, 7, 3, "three\n"), b"", "").await;
    assert!(matches!(stale, Err(AppendError::StaleEpoch { held: 7, current: 0 })), "{stale:?}");
    seal(&mut client, &batch(1, 0, 3, "three\n"), b"not gzip", "").await.unwrap();
    let left: i64 = client.query_one("SELECT count(*) FROM journal", &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
    assert!(matches!(journal.read_log(SessionKey(1)).await, Err(StoreError::Corrupt { what: "segment", .. })));
    let closed = journal.append(batch(1, 0, 3, "three\n")).await;
    assert!(matches!(closed, Err(AppendError::NotOpen)), "{closed:?}");
    assert!(matches!(journal.acquire(SessionKey(1)).await, Err(AppendError::NotOpen)));
    assert_eq!(journal.latest_stamp().await.unwrap(), Some(START_MS + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_stamp_is_that_of_the_last_line_of_an_open_session() {
    let ground = Ground::new(2);
    let journal = ground.journal().await;
    let stamped = |n: u64, at: i64| {
        let data = r#""src":"server","type":"session.closed","data":{"reason":"completed"}"#;
        format!("{{\"n\":{n},\"at\":{at},{data}}}\n")
    };
    for (session, at) in [(1, START_MS + 50), (2, START_MS + 70)] {
        journal.acquire(SessionKey(session)).await.unwrap();
        journal.append(batch(session, 1, 1, &stamped(1, START_MS))).await.unwrap();
        journal.append(batch(session, 1, 2, &stamped(2, at))).await.unwrap();
    }
    assert_eq!(journal.latest_stamp().await.unwrap(), Some(START_MS + 70));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_before_the_session_was_taken_does_not_arrive_after() {
    let ground = Ground::new(1);
    let mut client = ground.client().await;
    let proxy = Proxy::start(ground.server.address()).await;
    let (old, new) = (ground.journal_through(&proxy).await, ground.journal().await);
    let epoch = old.acquire(SessionKey(1)).await.unwrap().epoch;
    old.append(batch(1, epoch, 1, "one\n")).await.unwrap();
    proxy.flow(Flow::Hold, Flow::Pass);
    let mut late = std::pin::pin!(old.append(batch(1, epoch, 2, "late\n")));
    assert!(timeout(LONG, &mut late).await.is_err());
    let taken = new.acquire(SessionKey(1)).await.unwrap();
    assert_eq!(taken.log, b"one\n");
    proxy.flow(Flow::Pass, Flow::Pass);
    let late = late.await;
    assert!(matches!(late, Err(AppendError::StaleEpoch { held: 1, current: 2 })), "{late:?}");
    // The same, and the session is closed meanwhile: there is no row any more that could be in the way.
    let epoch = old.acquire(SessionKey(1)).await.unwrap().epoch;
    proxy.flow(Flow::Hold, Flow::Pass);
    let mut late = std::pin::pin!(old.append(batch(1, epoch, 2, "late\n")));
    assert!(timeout(LONG, &mut late).await.is_err());
    let epoch = new.acquire(SessionKey(1)).await.unwrap().epoch;
    seal(&mut client, &batch(1, epoch, 2, "two\n"), b"", "").await.unwrap();
    proxy.flow(Flow::Pass, Flow::Pass);
    assert!(matches!(late.await, Err(AppendError::NotOpen)));
    let left: i64 = client.query_one("SELECT count(*) FROM journal", &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_when_a_session_is_taken_is_refused_if_it_comes_after_the_new_owners_first_number() {
    let ground = Ground::new(1);
    let (old, new, mut other) = (ground.journal().await, ground.journal().await, ground.client().await);
    let epoch = old.acquire(SessionKey(1)).await.unwrap().epoch;
    // The append is in the middle of its statement: it waits for a row of the same number that somebody takes back.
    let blocking = other.transaction().await.unwrap();
    let row = "INSERT INTO journal SELECT month, key, 1, 1, 'x', 0 FROM session";
    blocking.execute(row, &[]).await.unwrap();
    let mut appending = std::pin::pin!(old.append(batch(1, epoch, 1, "one\n")));
    assert!(timeout(LONG, &mut appending).await.is_err());
    let taken = new.acquire(SessionKey(1)).await.unwrap();
    assert_eq!((taken.epoch, taken.log.as_slice()), (2, b"".as_slice()), "who takes it does not wait");
    blocking.rollback().await.unwrap();
    let stale = appending.await;
    assert!(matches!(stale, Err(AppendError::StaleEpoch { held: 1, current: 2 })), "{stale:?}");
    new.append(batch(1, 2, 1, "uno\n")).await.unwrap();
    assert_eq!(text(&old, 1).await, "uno\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_appended_while_a_session_was_taken_stands_in_the_new_owners_way() {
    // It has looked who owns the session, and is committed after the new owner has read the log.
    const LATE: &str = "
        SELECT append_to_journal(ARRAY[month], ARRAY[key], ARRAY[epoch], '{1}', '{1}', '{0}', ARRAY['x'::BYTEA])
        FROM session";
    let ground = Ground::new(1);
    let (new, mut old, mut closer) = (ground.journal().await, ground.client().await, ground.client().await);
    for close in [false, true] {
        let late = old.transaction().await.unwrap();
        late.query(LATE, &[]).await.unwrap();
        let taken = new.acquire(SessionKey(1)).await.unwrap();
        assert_eq!(taken.log, b"");
        let first = batch(1, taken.epoch, 1, "one\n");
        let going_on = async {
            match close {
                false => new.append(first.clone()).await,
                true => seal(&mut closer, &first, b"", "").await,
            }
        };
        {
            let mut going_on = std::pin::pin!(going_on);
            assert!(timeout(LONG, &mut going_on).await.is_err(), "whether its number is free is not known yet");
            late.commit().await.unwrap();
            let refused = going_on.await;
            match (close, &refused) {
                (false, Err(AppendError::WrongNumber { expected: 2, found: 1 })) => {}
                // The transaction has to run again, and finds it then.
                (true, Err(AppendError::Store(_))) => {}
                _ => panic!("{refused:?}"),
            }
        }
        let again = seal(&mut closer, &first, b"", "").await;
        assert!(matches!(again, Err(AppendError::WrongNumber { expected: 2, found: 1 })), "{again:?}");
        assert_eq!(closer.execute("DELETE FROM journal", &[]).await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_lets_go_of_a_session_is_cut_off_when_it_is_taken() {
    let ground = Ground::new(1);
    let (journal, mut paused) = (ground.journal().await, ground.client().await);
    let locking = paused.transaction().await.unwrap();
    locking.execute("UPDATE session SET closed_at = 1 WHERE key = 1", &[]).await.unwrap();
    assert_eq!(journal.acquire(SessionKey(1)).await.unwrap().epoch, 1);
    assert!(locking.commit().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_survives_connections_and_servers() {
    let mut ground = Ground::new(1);
    let mut proxy = Proxy::start(ground.server.address()).await;
    let journal = ground.journal_through(&proxy).await;
    let mut writing = journal.writing();
    journal.acquire(SessionKey(1)).await.unwrap();
    journal.append(batch(1, 1, 1, "one\n")).await.unwrap();

    // It is committed, nobody hears of it, and the connection is lost: it is sent again and found.
    proxy.flow(Flow::Pass, Flow::Hold);
    let mut unheard = std::pin::pin!(journal.append(batch(1, 1, 2, "two\n")));
    assert!(timeout(LONG, &mut unheard).await.is_err());
    assert_eq!(text(&ground.journal().await, 1).await, "one\ntwo\n");
    proxy.refuse().await;
    proxy.cut();
    writing.wait_for(|writing| matches!(writing, Writing::Refused { .. })).await.unwrap();
    proxy.flow(Flow::Pass, Flow::Pass);
    proxy.accept();
    unheard.await.unwrap();
    writing.wait_for(|writing| *writing == Writing::Well).await.unwrap();

    // The server is away for a while, killed or stopped.
    for (n, kill) in [(3, true), (4, false)] {
        if kill {
            ground.server.kill()
        } else {
            ground.server.stop()
        };
        let mut waiting = std::pin::pin!(journal.append(batch(1, 1, n, "more\n")));
        assert!(timeout(LONG, &mut waiting).await.is_err());
        ground.server.start_again();
        waiting.await.unwrap();
    }
    assert_eq!(text(&journal, 1).await, "one\ntwo\nmore\nmore\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_slow_database_is_bounded_and_arrives() {
    const SESSIONS: u32 = 4_000;
    let ground = Ground::new(SESSIONS);
    let journal = ground.journal().await;
    for session in 1..=i64::from(SESSIONS) {
        journal.enter(SessionKey(session), 202_609, 1);
    }
    ground.server.pause();
    let mut appending = tokio::task::JoinSet::new();
    for n in 1..=3 {
        for session in 1..=i64::from(SESSIONS) {
            let journal = journal.clone();
            appending.spawn(async move { (session, n, journal.append(batch(session, 0, n, "line\n")).await) });
        }
    }
    let mut busy = std::collections::HashSet::new();
    // Three groups under way and the queue are all that is held.
    let held = 8_192 + 3 * 512;
    while busy.len() < 3 * SESSIONS as usize - held {
        let (session, n, result) = appending.join_next().await.unwrap().unwrap();
        assert!(result.is_err(), "nothing can be written now");
        busy.insert((session, n));
    }
    assert!(journal.meters().queue_depth.get() <= 8_192);
    ground.server.resume();
    let mut lines = std::collections::HashMap::new();
    while let Some(done) = appending.join_next().await {
        let (session, n, result) = done.unwrap();
        match result {
            Ok(()) => *lines.entry(session).or_insert(0) += 1,
            // What came before it was refused, or came in its place.
            Err(AppendError::WrongNumber { .. } | AppendError::Store(StoreError::Busy)) => {
                busy.insert((session, n));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(lines.values().sum::<i64>() > 4_000);
    let client = ground.client().await;
    for row in client.query("SELECT session, sum(count)::BIGINT FROM journal GROUP BY session", &[]).await.unwrap() {
        assert_eq!(lines.remove(&row.get::<_, i64>(0)), Some(row.get::<_, i64>(1)), "what is there was acknowledged");
    }
    assert!(lines.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_ahead_by_whoever_comes_and_dropped_when_empty() {
    let ground = Ground::new(2);
    let client = ground.client().await;
    // A session of a month that nobody made a partition for.
    client.execute("UPDATE session SET opened_at = 0 WHERE key = 2", &[]).await.unwrap();
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(ground.journal().await);
    }
    for (session, journal) in [(1, &nodes[0]), (2, &nodes[1])] {
        journal.acquire(SessionKey(session)).await.unwrap();
        journal.append(batch(session, 1, 1, "one\n")).await.unwrap();
    }
    let made = nodes.iter().map(|node| node.keep_partitions(START_MS));
    assert_eq!(futures_util::future::try_join_all(made).await.unwrap(), [0; 4]);
    let partitions = async || {
        let sql = "SELECT relname::text FROM pg_class WHERE relname ~ '^journal_[0-9o]' AND relkind = 'r' ORDER BY 1";
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    assert_eq!(partitions().await, ["journal_202609", "journal_202610", "journal_202611", "journal_other"]);
    // A clock that is wrong: the rows that are there stay where they are.
    assert_eq!(nodes[0].keep_partitions(0).await.unwrap(), 1);
    assert_eq!(text(&nodes[2], 2).await, "one\n");
    // Two months later.
    assert_eq!(nodes[0].keep_partitions(START_MS + 61 * 86_400_000).await.unwrap(), 0);
    let kept = partitions().await;
    assert!(kept.contains(&"journal_202609".to_owned()), "a session of that month is open: {kept:?}");
    assert!(!kept.contains(&"journal_202610".to_owned()) && kept.contains(&"journal_202701".to_owned()), "{kept:?}");
    assert_eq!(text(&nodes[2], 1).await, "one\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_goes_on_when_the_partition_of_its_month_is_made_under_it() {
    let ground = Ground::new(1);
    let (journal, mut other) = (ground.journal().await, ground.client().await);
    other.execute("UPDATE session SET opened_at = 0", &[]).await.unwrap();
    journal.acquire(SessionKey(1)).await.unwrap();
    let making = other.transaction().await.unwrap();
    making.query("SELECT make_journal_partitions(0, 1)", &[]).await.unwrap();
    let mut appending = std::pin::pin!(journal.append(batch(1, 1, 1, "one\n")));
    assert!(timeout(LONG, &mut appending).await.is_err());
    making.commit().await.unwrap();
    appending.await.unwrap();
    let there = other.query_one("SELECT count(*) FROM journal_197001", &[]).await.unwrap();
    assert_eq!(there.get::<_, i64>(0), 1);
}
