//! What operators run beside a server whose records are in PostgreSQL: the same commands, which find the same.

use std::path::Path;
use std::process::Command;

use invigil::clock::Clock;
use serde_json::Value;

use crate::harness::servers::postgres::Postgres;
use crate::harness::{START_MS, Stage, execute, frame};
use crate::ledger::closed_sessions;

/// What a command says about the server of this folder, with its exit code. The database is read by another process.
fn invigil(data: &Path, url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_invigil"));
    command.args(arguments).arg("--data").arg(data).env("INVIGIL_DATABASE__URL", url).env_remove("INVIGIL_POLICIES");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_read_postgresql_beside_its_server() {
    let mut postgres = Postgres::start();
    let url = postgres.database();
    let clock = Clock::manual(START_MS);
    let stage = Stage::start_with(clock.clone(), clock, |folder, _| {
        std::fs::write(folder.join("database.url"), &url).unwrap();
    })
    .await;
    let data = stage.folder.path();
    assert!(!data.join("invigil.sqlite").exists());
    let (course, sessions) = closed_sessions(&stage).await;
    let learner = course.learner(frame("webcam_man", 4)).await;
    let open = course.open(&course.lessons[0], &learner).await.session;

    let (code, sheet) = invigil(data, &url, &["ledger", "export"]);
    assert_eq!((code, sheet), (Some(0), stage.operator.text("/ledger.csv").await));
    let (code, check) = invigil(data, &url, &["ledger", "check"]);
    assert!(code == Some(0) && check.contains("derived from logs   3; decided by a person 0"), "{check}");
    let (code, found) = invigil(data, &url, &["doctor", "--deep"]);
    for line in [
        "database   PostgreSQL answers",
        "schema     5, as this",
        "keys       are there and open",
        "journal    the logs of 1 open sessions are whole",
        "records    logs and verdicts of all 3 closed",
        "photos     4 photos have their files",
        "forgotten  0 learners",
    ] {
        assert!(found.contains(&format!("ok       {line}")), "{line}: {found}");
    }
    // The manual clock of this server is ahead of the machine's or behind it; nothing else is to be said.
    assert!(code != Some(2) && !found.contains("ERROR    database"), "{found}");
    let (code, report) = invigil(data, &url, &["backtest", "--policy", "default", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report}"));
    assert_eq!((code, &report["sessions"]), (Some(0), &Value::from(3)), "{report}");
    let to = data.join("backup");
    let (code, refused) = invigil(data, &url, &["backup", "create", "--to", to.to_str().unwrap()]);
    assert!(code == Some(1) && refused.contains("pg_dump --format=custom") && !to.exists(), "{refused}");

    // What was changed behind the server's back is found, whoever looks.
    let key = |session: &str| format!("(SELECT key FROM session WHERE id = '{session}')");
    let changes = [
        format!(
            "UPDATE verdict SET body = replace(body, '\"watched_ms\":0', '\"watched_ms\":1') WHERE session = {}",
            key(&sessions[0])
        ),
        format!("UPDATE segment SET lines = x'1f8b' WHERE session = {}", key(&sessions[1])),
        format!("UPDATE journal SET checksum = checksum + 1 WHERE session = {} AND first_n = 1", key(&open)),
    ];
    for change in changes {
        assert_eq!(execute(data, &change).await, 1, "{change}");
    }
    let (code, found) = invigil(data, &url, &["doctor"]);
    assert_eq!(code, Some(3), "{found}");
    for line in [
        format!("open session {open}: the row from line 1: it is not what was written"),
        format!("session {}: the stored verdict cannot be read", sessions[0]),
        format!("session {}: the stored segment cannot be read", sessions[1]),
    ] {
        assert!(found.contains(&line), "{line}: {found}");
    }
    let (code, check) = invigil(data, &url, &["ledger", "check"]);
    assert!(code == Some(1) && check.contains("watched_ms is 1 in the stored verdict, 0 by its log"), "{check}");
    assert!(check.contains(&format!("session {}: its sealed log cannot be judged", sessions[1])), "{check}");
    postgres.stop();
    let (code, found) = invigil(data, &url, &["doctor"]);
    assert!(code == Some(3) && found.contains("ERROR    database   cannot be read"), "{found}");
    assert!(!found.contains("postgres://"), "{found}");
    assert_eq!(invigil(data, &url, &["ledger", "check"]).0, Some(1));
}
