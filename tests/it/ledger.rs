//! The ledger from outside: the sheet over a socket, and `invigil ledger` beside a running server.

use std::path::Path;
use std::process::{Command, Output};

use rusqlite::Connection;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Course, Stage, frame};

fn database(stage: &Stage) -> Connection {
    let database = Connection::open(stage.folder.path().join("invigil.sqlite")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    database
}

fn invigil_ledger(command: &str, data: &Path, more: &[&str]) -> Output {
    let mut invigil = Command::new(env!("CARGO_BIN_EXE_invigil"));
    invigil.args(["ledger", command, "--data"]).arg(data).args(more).env_remove("INVIGIL_POLICIES");
    invigil.output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `sessions` closed sessions with long titles, so that a few thousand are more than sockets hold.
fn fill(database: &Connection, sessions: usize) {
    let sql = format!(
        r#"BEGIN;
        INSERT INTO platform (id, name, status, created_at) VALUES ('p1', '平台', 'active', 0);
        INSERT INTO project (id, platform, name, total_hours, delivery, policy, created_at)
            VALUES ('j1', 'p1', '电工', 100, 'blended', 'default', 0);
        INSERT INTO lesson (id, project, position, title, duration_ms, kind)
            VALUES ('e1', 'j1', 1, printf('%.*c', 2000, 'x'), 600000, 'theory');
        INSERT INTO learner (id, created_at) VALUES ('l1', 0);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {sessions})
        INSERT INTO session (key, id, platform, learner, project, lesson, seed, opened_at, closed_at)
            SELECT i, printf('s%08d', i), 'p1', 'l1', 'j1', 'e1', x'00', i, i FROM n;
        INSERT INTO verdict (session, version, status, body, created_at)
            SELECT key, 1, 'valid', json_object('policy', 'default', 'status', 'valid', 'watched_ms', key, 'watch_ms', key,
                'creditable_ms', key, 'credited_ms', key, 'credited_hours', (key % 100) / 100.0, 'completed', json('true'),
                'violations', json('[]'), 'violations_total', 0, 'log_digest', 'd' || key), key FROM session;
        COMMIT;"#
    );
    database.execute_batch(&sql).unwrap();
}

/// Asks for the sheet over a connection that holds little.
async fn ask_for_sheet(stage: &Stage) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let server = stage.server.as_ref().unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let request = format!(
        "GET /api/v1/ledger.csv HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        server.operator_key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_sheet_of_any_size_is_read_no_further_ahead_than_it_is_taken() {
    const SESSIONS: usize = 12_000;
    let stage = Stage::start().await;
    fill(&database(&stage), SESSIONS);

    let whole = stage.operator.text("/ledger.csv").await;
    let mut reader = csv::Reader::from_reader(whole.strip_prefix('\u{feff}').unwrap().as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), SESSIONS + 4);
    let sums = stage.operator.get("/ledger/totals").await["items"][0].clone();
    let last = records.last().unwrap();
    assert_eq!((&last[1], &last[24]), ("12000", sums["credited_ms"].to_string().as_str()));
    assert_eq!(last[25], format!("{:.2}", sums["credited_hours"].as_f64().unwrap()));

    // What is not there any more when it is read cannot have been read before: the rest of the ledger goes away while
    // the reader sleeps over the first bytes.
    let mut stream = ask_for_sheet(&stage).await;
    let mut first = [0; 1024];
    stream.read_exact(&mut first).await.unwrap();
    database(&stage).execute_batch("DELETE FROM verdict WHERE session > 1000").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    let read = rest.matches(",s000").count().max(rest.matches("\ns000").count());
    println!("{read} of {SESSIONS} entries, {} of {} bytes were read ahead or left", rest.len(), whole.len());
    assert!((900..SESSIONS / 2).contains(&read), "{read} entries");
    assert!(rest.ends_with("\r\n0\r\n\r\n") && rest.contains("合计,"), "the sheet is whole and has its sums");
}

/// Sessions with logs and verdicts of the server's own making.
pub async fn closed_sessions(stage: &Stage) -> (Course, Vec<String>) {
    let course = stage.course(&[390_000]).await;
    let mut sessions = Vec::new();
    for (number, reason) in [(1, "left"), (2, "revoked"), (3, "left")] {
        let learner = course.learner(frame("webcam_man", number)).await;
        let session = course.open(&course.lessons[0], &learner).await.session;
        stage.advance_ms(5_000);
        course.platform.post(&format!("/sessions/{session}/close"), json!({"reason": reason})).await;
        sessions.push(session);
    }
    (course, sessions)
}

#[tokio::test]
async fn the_check_finds_what_was_tampered_with_beside_a_running_server() {
    let stage = Stage::start().await;
    let (_course, sessions) = closed_sessions(&stage).await;
    let data = stage.folder.path();
    let sound = invigil_ledger("check", data, &[]);
    assert!(sound.status.success(), "{}", text(&sound));
    assert!(text(&sound).contains("closed sessions     3 (valid 2, review 0, invalid 1)"), "{}", text(&sound));
    assert!(text(&sound).contains("derived from logs   3; decided by a person 0"), "{}", text(&sound));

    let database = database(&stage);
    let change = |sql: &str| assert_eq!(database.execute(sql, []).unwrap(), 1, "{sql}");
    let of = |session: &str| format!("(SELECT key FROM session WHERE id = '{session}')");
    let found = |expected: &str| {
        let check = invigil_ledger("check", data, &["--threads", "2"]);
        assert_eq!(check.status.code(), Some(1), "{}", text(&check));
        assert!(text(&check).contains(expected), "{expected}: {}", text(&check));
    };
    let body = |session: &str| -> String {
        let read = format!("SELECT body FROM verdict WHERE session = {}", of(session));
        database.query_row(&read, [], |row| row.get(0)).unwrap()
    };
    let put_back = |session: &str, body: &str| {
        let put = format!("UPDATE verdict SET body = ?1, status = 'valid' WHERE session = {}", of(session));
        database.execute(&put, [body]).unwrap();
    };

    let original = body(&sessions[0]);
    let (first, second) = (of(&sessions[0]), of(&sessions[1]));
    change(&format!("UPDATE verdict SET body = json_set(body, '$.credited_ms', 2400000) WHERE session = {first}"));
    found(&format!("session {}: credited_ms is 2400000 in the stored verdict, 0 by its log", sessions[0]));
    put_back(&sessions[0], &original);
    change(&format!("UPDATE verdict SET body = replace(body, ',', ', ') WHERE session = {first}"));
    found(&format!("session {}: the stored verdict is written in other bytes", sessions[0]));
    put_back(&sessions[0], &original);
    change(&format!("UPDATE verdict SET status = 'review' WHERE session = {first}"));
    found(&format!("session {}: version 1 of its verdict says valid, its record says review", sessions[0]));
    found("the ledger's review: 1; the sum over the verdicts: 0");
    put_back(&sessions[0], &original);
    change(&format!("UPDATE verdict SET body = replace(body, '\"default', '\"strange') WHERE session = {first}"));
    found("no policy pack is called \"strange");
    put_back(&sessions[0], &original);
    let exchanged = format!(
        "UPDATE segment SET lines = (SELECT lines FROM segment WHERE session = {second}) WHERE session = {first}"
    );
    change(&exchanged);
    found(&format!("session {}: the record of the sealed log has another digest than the log", sessions[0]));
    change(&format!("DELETE FROM segment WHERE session = {first}"));
    found(&format!("session {}: its sealed log is missing", sessions[0]));
}

#[tokio::test]
async fn the_export_is_the_sheet_of_the_api_and_needs_no_server() {
    let mut stage = Stage::start().await;
    let (course, sessions) = closed_sessions(&stage).await;
    let by_api = stage.operator.text("/ledger.csv").await;
    assert!(sessions.iter().all(|session| by_api.contains(session.as_str())));
    let data = stage.folder.path().to_owned();
    let exported = invigil_ledger("export", &data, &[]);
    assert_eq!(String::from_utf8(exported.stdout).unwrap(), by_api);
    stage.server.take().unwrap().stop().await;

    let path = data.join("sheet.csv");
    let filters = ["--project", &course.project, "--status", "invalid", "--output", path.to_str().unwrap()];
    assert!(invigil_ledger("export", &data, &filters).status.success());
    let sheet = std::fs::read_to_string(&path).unwrap();
    assert!(sheet.contains(&sessions[1]) && !sheet.contains(&sessions[0]));
    assert!(invigil_ledger("check", &data, &[]).status.success());

    let refused = invigil_ledger("export", &data, &["--from", "yesterday"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    let nowhere = invigil_ledger("check", Path::new("/nowhere"), &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere).contains("/nowhere"), "{}", text(&nowhere));
}

#[tokio::test]
async fn what_was_learned_before_a_withdrawal_stands_and_the_check_knows_whose_it_is() {
    let stage = Stage::start().await;
    let (course, sessions) = closed_sessions(&stage).await;
    // As if the first two had learned for an hour each.
    let database = database(&stage);
    for session in [&sessions[0], &sessions[2]] {
        let hour = format!(
            "UPDATE verdict SET body = json_set(body, '$.credited_ms', 2400000, '$.credited_hours', 1.0)
             WHERE session = (SELECT key FROM session WHERE id = '{session}')"
        );
        assert_eq!(database.execute(&hour, []).unwrap(), 1);
    }
    let enrolments = course.platform.get(&format!("/projects/{}/enrolments", course.project)).await;
    let first = enrolments["items"].as_array().unwrap().iter().min_by_key(|one| one["id"].to_string()).unwrap();
    let withdraw = format!("/enrolments/{}/withdraw", first["id"].as_str().unwrap());
    let withdrawn = stage.operator.post(&withdraw, json!({"reason": "调离", "document": "退班〔2026〕1号"})).await;
    assert_eq!(withdrawn["withdrawn"]["decided_as"], "operator");

    let totals = stage.operator.get("/ledger/totals").await["items"][0].clone();
    assert_eq!((&totals["credited_ms"], &totals["withdrawn_ms"]), (&json!(4_800_000), &json!(2_400_000)));
    assert_eq!((&totals["credited_hours"], &totals["withdrawn_hours"]), (&json!(2.0), &json!(1.0)));
    assert_eq!((&totals["lessons_due"], &totals["sessions"]), (&json!(2), &json!(3)));
    let entries = stage.operator.get("/ledger").await;
    let at = |session: usize| entries["items"][session]["withdrawn_at"].clone();
    assert_eq!((at(0), at(1), at(2)), (withdrawn["withdrawn"]["at"].clone(), json!(null), json!(null)));

    // The verdicts were tampered with, and of that it speaks; the sums are the sums of what they say.
    let check = invigil_ledger("check", stage.folder.path(), &[]);
    assert!(text(&check).contains("of it, withdrawn    1.00 class hours, 2400000 ms"), "{}", text(&check));
    assert!(!text(&check).contains("the ledger's "), "{}", text(&check));
}
