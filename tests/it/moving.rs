//! An installation that moves from its data folder to PostgreSQL: while it is used, through kills, and never twice.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use invigil::clock::{Clock, Entropy};
use invigil::store::Store;
use invigil::store::evidence::{EvidenceId, relative_path};
use invigil::store::postgres::{Address, CONNECTIONS_LEAST};
use rusqlite::Connection;
use tokio::sync::Notify;

use crate::crash::check_one;
use crate::harness::process::{Home, Process};
use crate::harness::pupil::{Camera, Kept, Pupil};
use crate::harness::s3::S3;
use crate::harness::servers::postgres::Postgres;
use crate::harness::{Api, Course, PEOPLE, QUICK, Stage, execute, frame};

const HEARTBEAT_MS: i64 = 100;
const LESSON_MS: i64 = 600_000;
/// Rows that are moved at once.
const CHUNK: i64 = 2_000;

/// The command that moves a data folder to the database at `url`.
fn command(data: &Path, url: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_invigil"));
    command.args(["migrate", "embedded-to-postgres", "--data"]).arg(data).args(more);
    command.env("INVIGIL_DATABASE__URL", url);
    command
}

/// What the command says, when it ends with this code.
fn moved(data: &Path, url: &str, more: &[&str], code: i32) -> String {
    said(&command(data, url, more).output().unwrap(), code)
}

fn said(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// From now on the servers of this folder use the database at `url`.
fn serve_from(data: &Path, url: &str) {
    std::fs::write(data.join("database.url"), url).unwrap();
}

/// The rows that a query finds in the database at `url`, as text.
fn ask(url: &str, sql: &str) -> String {
    let run = || {
        let mut client = postgres::Client::connect(url, postgres::NoTls).unwrap();
        let messages = client.simple_query(sql).unwrap();
        let rows = messages.iter().filter_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("null").to_owned()),
            _ => None,
        });
        rows.collect::<Vec<_>>().join("\n")
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Everything that must be the same before and after.
async fn answers(operator: &Api, course: &Course, closed: &[String]) -> Vec<String> {
    let mut answers = Vec::new();
    for path in ["/ledger.csv", "/ledger", "/ledger/totals", "/platforms", "/keys"] {
        answers.push(operator.text(path).await);
    }
    for path in ["/projects", "/platform", &format!("/projects/{}/enrolments", course.project)] {
        answers.push(course.platform.text(path).await);
    }
    for session in closed {
        for path in ["", "/verdict", "/log"] {
            answers.push(course.platform.text(&format!("/sessions/{session}{path}")).await);
        }
    }
    answers
}

/// Somebody who sits down; which of [`PEOPLE`], and in which session of the course.
async fn sit_down(course: &Course, url: &str, who: usize, learner: &str) -> Pupil {
    let (person, _, frames) = PEOPLE[who % PEOPLE.len()].clone();
    let opened = course.open(&course.lessons[0], learner).await;
    let (camera, entropy) = (Camera::new(person, frames), Entropy::seeded(who as u64));
    Pupil::sit_down(url, opened, camera, entropy, HEARTBEAT_MS, Arc::<Notify>::default())
}

async fn learn(course: &Course, url: &str, who: usize, learner: &str) -> Kept {
    let mut pupil = sit_down(course, url, who, learner).await;
    pupil.watch(Clock::system().sleep_ms(1_500)).await;
    pupil.leave().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_moves_while_it_is_used_and_a_live_session_goes_on() {
    let (home, postgres) = (Home::new(HEARTBEAT_MS), Postgres::start());
    let (data, url) = (home.data(), postgres.database());
    let server = Process::start(home.command(&[], None)).await.unwrap();
    let address = server.address;
    let stream = format!("ws://{address}/v1/stream");
    let operator = home.operator(address);
    let course = operator.course(&[LESSON_MS], QUICK).await;
    let mut learners = Vec::new();
    for (person, enrolled, _) in PEOPLE.into_iter().cycle().take(4) {
        learners.push(course.learner(frame(person, enrolled)).await);
    }
    // What happens from here on is also queued for a province; the copies must not be queued again.
    execute(&data, "INSERT INTO report_target (id, since) VALUES (1, 0)").await;
    let mut kept = vec![learn(&course, &stream, 0, &learners[0]).await];
    let mut live = sit_down(&course, &stream, 1, &learners[1]).await;
    live.watch(Clock::system().sleep_ms(1_000)).await;

    // The first pass, beside the server and a session that goes on.
    let mut first = command(&data, &url, &[]);
    let first = tokio::task::spawn_blocking(move || first.output().unwrap());
    let copied = said(&first.await.unwrap(), 0);
    assert!(copied.contains("NOT FINISHED"), "{copied}");
    let refused = moved(&data, &url, &["--finish"], 1);
    assert!(refused.contains("another invigil is using it"), "{refused}");
    // What happens meanwhile is taken along in the end: somebody ends, somebody comes, somebody is forgotten.
    kept.push(learn(&course, &stream, 0, &learners[0]).await);
    kept.push(learn(&course, &stream, 2, &learners[2]).await);
    let other = course.learner(frame("webcam_man", 3)).await;
    kept.push(learn(&course, &stream, 0, &other).await);
    let forgotten = format!("/learners/{}", learners[3]);
    assert_eq!(operator.send(reqwest::Method::DELETE, &forgotten, None).await.status(), 204);
    live.watch(Clock::system().sleep_ms(500)).await;

    let closed: Vec<String> = kept.iter().map(|kept| kept.session.clone()).collect();
    let before = answers(&operator, &course, &closed).await;
    server.terminate();
    assert!(server.ended().await.0);
    serve_from(&data, &url);
    let refused = Process::start(home.command(&[], None)).await.err().expect("half an installation is not served");
    assert!(refused.contains("an unfinished move"), "{refused}");
    let finished = moved(&data, &url, &["--finish"], 0);
    assert!(finished.contains("4 closed and 1 open") && finished.contains("lines, equal"), "{finished}");
    let tables = Connection::open(data.join("invigil.sqlite")).unwrap();
    let mut statement =
        tables.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").unwrap();
    for table in statement.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap) {
        let line = finished.lines().find(|line| line.starts_with(&format!("{table} ")));
        assert!(line.is_some_and(|line| line.ends_with("equal")), "{table}: {finished}");
    }
    assert!(moved(&data, &url, &["--verify"], 0).contains("every row of both sides"));
    std::fs::remove_file(data.join("database.url")).unwrap();
    let refused = Process::start(home.command(&[], None)).await.err().expect("there is one truth");
    assert!(refused.contains("were moved to PostgreSQL"), "{refused}");
    let doctor = Command::new(env!("CARGO_BIN_EXE_invigil")).arg("doctor").arg("--data").arg(&data).output().unwrap();
    assert!(said(&doctor, 3).contains("the records were moved to PostgreSQL"));
    serve_from(&data, &url);

    // The same address, the same answers, and the session that was open goes on.
    let server = Process::start(home.command(&[], Some(address))).await.unwrap();
    assert_eq!(answers(&operator, &course, &closed).await, before);
    live.watch(Clock::system().sleep_ms(1_500)).await;
    kept.push(live.leave().await);
    // A number that is given now was not given before.
    kept.push(learn(&course, &stream, 2, &learners[2]).await);
    for kept in &kept {
        check_one(&course, &kept.session, Some(kept), &home.policy()).await;
    }
    assert!(moved(&data, &url, &["--finish"], 1).contains("another invigil is using it"));
    assert_eq!(server.kill(), [""; 0]);
    assert!(moved(&data, &url, &["--finish"], 0).contains("nothing was done now"));
}

/// A data folder with `rows` policies and sessions, and more, that no server uses.
async fn filled(rows: i64) -> Stage {
    let mut stage = Stage::start().await;
    stage.course(&[LESSON_MS]).await;
    stage.server.take().unwrap().stop().await;
    let sql = format!(
        "BEGIN;
         INSERT INTO platform (id, name, status, created_at) VALUES ('p1', '平台', 'active', 0);
         INSERT INTO project (id, platform, name, total_hours, delivery, policy, created_at)
             VALUES ('j1', 'p1', '电工', 100, 'blended', 'default', 0);
         INSERT INTO lesson (id, project, position, title, duration_ms, kind)
             VALUES ('e1', 'j1', 1, '课', 600000, 'theory');
         INSERT INTO learner (id, created_at) VALUES ('l1', 0);
         CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             SELECT i FROM n;
         INSERT INTO policy_text (label, text) SELECT printf('label %08d', i), printf('%.*c', 100, 'x') FROM n;
         INSERT INTO session (key, id, platform, learner, project, lesson, seed, opened_at, closed_at)
             SELECT i, printf('s%08d', i), 'p1', 'l1', 'j1', 'e1', x'00', i, i FROM n;
         INSERT INTO token (hash, session, expires_at) SELECT randomblob(32), i, i FROM n;
         INSERT INTO segment (session, count, digest, lines) SELECT i, 3, 'd', randomblob(20000) FROM n WHERE i <> 7;
         INSERT INTO verdict (session, version, status, body, created_at)
             SELECT i, 1, 'valid', json_object('policy', 'default', 'credited_hours', (i % 100) / 100.0), i FROM n
             WHERE i <> 7;
         UPDATE session SET closed_at = NULL WHERE key = 7;
         INSERT INTO journal (session, first_n, count, lines) VALUES (7, 1, 1, x'0a'), (7, 2, 2, x'0a0a');
         COMMIT;"
    );
    Connection::open(stage.folder.path().join("invigil.sqlite")).unwrap().execute_batch(&sql).unwrap();
    stage
}

/// Makes the schema in a new database.
async fn with_schema(url: &str) {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::connect(Address::parse(url, None).unwrap(), CONNECTIONS_LEAST, folder.path()).await.unwrap());
}

/// Somebody who is in the way of the move, until it waits there; then it is killed.
fn killed_at(data: &Path, url: &str, in_the_way: &str) {
    let run = || {
        let mut other = postgres::Client::connect(url, postgres::NoTls).unwrap();
        let mut eyes = postgres::Client::connect(url, postgres::NoTls).unwrap();
        other.batch_execute(&format!("BEGIN; {in_the_way}")).unwrap();
        let mut moving =
            command(data, url, &["--finish"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let waits = "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE NOT granted AND datname = current_database() AND locktype <> 'advisory')";
        while !eyes.query_one(waits, &[]).unwrap().get::<_, bool>(0) {
            assert!(moving.try_wait().unwrap().is_none(), "it ended: {}", rest(moving));
        }
        moving.kill().unwrap();
        moving.wait().unwrap();
        other.batch_execute("ROLLBACK").unwrap();
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap());
}

fn rest(mut child: Child) -> String {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.map_while(Result::ok).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_move_that_is_killed_anywhere_goes_on() {
    let (stage, postgres) = (filled(3 * CHUNK / 2).await, Postgres::start());
    let (data, url) = (stage.folder.path(), postgres.database());
    with_schema(&url).await;
    // Before the first row of a table, and in the middle of others: a row that will be written is being written by
    // somebody else.
    killed_at(data, &url, "LOCK TABLE platform");
    killed_at(data, &url, "LOCK TABLE session IN SHARE MODE");
    assert_eq!(ask(&url, "SELECT count(*) FROM platform"), "2");
    killed_at(data, &url, "LOCK TABLE verdict IN SHARE MODE");
    assert_ne!(ask(&url, "SELECT count(*) FROM segment"), "0");
    let taken = format!("INSERT INTO policy_text (label, text) VALUES ('label {:08}', '')", CHUNK + 500);
    killed_at(data, &url, &taken);
    assert_eq!(
        ask(&url, "SELECT count(*) FROM policy_text"),
        CHUNK.to_string(),
        "a part is there whole, or not at all"
    );
    killed_at(data, &url, "LOCK TABLE embedded_move IN SHARE MODE");
    assert_eq!(ask(&url, "SELECT count(*) FROM embedded_move WHERE finished_at IS NULL"), "1");

    let finished = moved(data, &url, &["--finish"], 0);
    let nothing = finished.lines().find(|line| line.starts_with("policy_text")).unwrap();
    assert_eq!(nothing.split_whitespace().nth(2), Some("0"), "what was copied is not copied again: {nothing}");
    assert!(finished.contains("2999 closed and 1 open, 9000 lines, equal"), "{finished}");
    assert!(moved(data, &url, &["--verify"], 0).contains("equal "));
    let sum = "SELECT CAST(sum(credited_hundredths) AS BIGINT) FROM verdict";
    let here: i64 =
        Connection::open(data.join("invigil.sqlite")).unwrap().query_row(sum, [], |row| row.get(0)).unwrap();
    assert_eq!(ask(&url, sum), here.to_string(), "both compute the same hours");
    assert_eq!(ask(&url, "SELECT nextval(pg_get_serial_sequence('session', 'key'))"), "3001");
}

#[tokio::test]
async fn every_row_that_differs_is_found() {
    let (stage, postgres) = (filled(CHUNK + 100).await, Postgres::start());
    let (data, url) = (stage.folder.path(), postgres.database());
    assert!(moved(data, &url, &[], 0).contains("NOT FINISHED"));
    for sql in [
        "UPDATE segment SET lines = lines || '\\x00' WHERE session = 9",
        "UPDATE session SET epoch = 3 WHERE key = 2050",
        "DELETE FROM policy_text WHERE label = 'label 00000001'",
        "INSERT INTO policy_text VALUES ('zzz', '')",
        "UPDATE journal SET checksum = checksum + 1 WHERE first_n = 2",
        "UPDATE verdict SET reviewer = '' WHERE session = 2100",
    ] {
        postgres.execute(&url, sql);
    }
    let found = moved(data, &url, &["--verify"], 1);
    for line in [
        "table segment, row 9: is another in PostgreSQL",
        "table session, row 2050: is another in PostgreSQL",
        "table policy_text, row label 00000001: is not in PostgreSQL",
        "table policy_text, row zzz: is in PostgreSQL only",
        "table journal, row 197001, 7, 2: is another in PostgreSQL",
        "table verdict, row 2100, 1: is another in PostgreSQL",
    ] {
        assert!(found.contains(line), "{line}: {found}");
    }
    assert_eq!(found.matches("DIFFERENT  table").count(), 6, "{found}");
    // As long as the move is not finished, the source is right.
    let finished = moved(data, &url, &["--finish"], 0);
    let of = |table: &str| {
        let line = finished.lines().find(|line| line.starts_with(&format!("{table} "))).unwrap();
        line.split_whitespace().skip(2).take(3).collect::<Vec<_>>().join(" ")
    };
    assert_eq!([of("segment"), of("policy_text"), of("token")], ["0 1 0", "1 0 1", "0 0 0"], "{finished}");
    assert!(moved(data, &url, &["--verify"], 0).contains("equal "));
    // A row that nobody may change is not changed, and the move does not end.
    let other = postgres.database();
    assert!(moved(data, &other, &[], 0).contains("NOT FINISHED"));
    let source = Connection::open(data.join("invigil.sqlite")).unwrap();
    let id: String = source.query_row("SELECT min(id) FROM platform_status", [], |row| row.get(0)).unwrap();
    let tamper = format!(
        "ALTER TABLE platform_status DISABLE TRIGGER USER; UPDATE platform_status SET status = 'x' WHERE id = '{id}';
         ALTER TABLE platform_status ENABLE TRIGGER USER"
    );
    postgres.execute(&other, &tamper);
    let refused = moved(data, &other, &["--finish"], 1);
    assert!(refused.contains("table platform_status") && refused.contains("rows are only added"), "{refused}");
}

#[tokio::test]
async fn nothing_is_moved_to_a_database_that_is_not_empty_or_anothers() {
    let (stage, postgres) = (filled(1).await, Postgres::start());
    let (data, url) = (stage.folder.path(), postgres.database());
    with_schema(&url).await;
    postgres.execute(&url, "INSERT INTO policy_text VALUES ('a', 'b')");
    let refused = moved(data, &url, &[], 1);
    assert!(refused.contains("not empty: there are rows in policy_text"), "{refused}");
    postgres.execute(&url, "DELETE FROM policy_text");
    assert!(moved(data, &url, &["--verify"], 1).contains("nothing was moved"));
    assert!(moved(data, &url, &[], 0).contains("NOT FINISHED"));

    let other = filled(1).await;
    let refused = moved(other.folder.path(), &url, &[], 1);
    assert!(refused.contains("of another installation"), "{refused}");
    let source = Connection::open(data.join("invigil.sqlite")).unwrap();
    source.execute("UPDATE platform SET name = 'a' || char(0) WHERE id = 'p1'", []).unwrap();
    let refused = moved(data, &url, &["--finish"], 1);
    assert!(refused.contains("table platform, row p1: column name: a text holds a zero byte"), "{refused}");
    assert!(!data.join("moved.json").exists());

    let mut nowhere = command(data, "", &[]);
    let nowhere = said(&nowhere.env_remove("INVIGIL_DATABASE__URL").output().unwrap(), 1);
    assert!(nowhere.contains("database.url names no PostgreSQL"), "{nowhere}");
    let nothing = tempfile::tempdir().unwrap();
    assert!(moved(nothing.path(), &url, &[], 1).contains("no data folder"));
}

#[tokio::test]
async fn photos_move_to_a_bucket_and_are_compared() {
    let (mut stage, postgres, s3) = (Stage::start().await, Postgres::start(), S3::start().await);
    let course = stage.course(&[LESSON_MS]).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    course.learner(frame("car_man", 1)).await;
    stage.server.take().unwrap().stop().await;
    let (data, url) = (stage.folder.path().to_owned(), postgres.database());
    let config = data.join("new.toml");
    std::fs::write(&config, s3.toml()).unwrap();
    // The store is asked by another process while this one serves it.
    let run = |more: Vec<&'static str>, code| {
        let (data, url, config) = (data.clone(), url.clone(), config.clone());
        let run = move || said(&command(&data, &url, &more).arg("--config").arg(config).output().unwrap(), code);
        async { tokio::task::spawn_blocking(run).await.unwrap() }
    };
    let first = run(vec![], 0).await;
    assert!(first.contains("2 in s3://") && first.contains("2 sent now, 0 wrong"), "{first}");
    assert!(run(vec![], 0).await.contains("0 sent now, 0 wrong"), "what is there is not sent again");
    let source = Connection::open(data.join("invigil.sqlite")).unwrap();
    let find = "SELECT evidence FROM enrolled_photo WHERE learner = ?1";
    let photo: String = source.query_row(find, [&learner], |row| row.get(0)).unwrap();
    let here = data.join("photos").join(relative_path(&EvidenceId::parse(&photo).unwrap()));
    let there = s3.file(&photo);
    assert_eq!(std::fs::read(&here).unwrap(), std::fs::read(&there).unwrap());
    let mut changed = std::fs::read(&there).unwrap();
    changed[20] ^= 1;
    std::fs::write(&there, &changed).unwrap();
    let found = run(vec!["--verify"], 1).await;
    assert!(found.contains(&format!("photo {photo} is another in the bucket")), "{found}");
    std::fs::remove_file(&there).unwrap();
    std::fs::rename(&here, data.join("away")).unwrap();
    let found = run(vec!["--finish"], 1).await;
    assert!(found.contains(&format!("photo {photo} is not in the data folder")), "{found}");
    std::fs::rename(data.join("away"), &here).unwrap();

    // The move is over all the same; what copies files puts the photo there.
    std::fs::copy(&here, &there).unwrap();
    assert!(run(vec!["--verify"], 0).await.contains("2 in s3://"));
}
