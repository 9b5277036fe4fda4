//! A client that is not ours, written from docs/protocol.md alone on a library that is not ours, holds a whole session:
//! the document says all that is needed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use invigil::policy::Policy;
use serde_json::{Value, json};

use crate::harness::{Opened, QUICK, Stage, frame, models, replayed};

/// How much faster than life sessions run here.
const SPEED: u32 = 10;
const HEARTBEAT_MS: i64 = 2_000;
const WATCH_MS: i64 = 70_000;
/// When the client loses its connection, ms of watching.
const DROP_AT_MS: i64 = 30_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_websockets_holds_a_session_from_the_document_alone() {
    let stage = Stage::start_quick(SPEED, HEARTBEAT_MS).await;
    let course = stage.operator.course(&[WATCH_MS], QUICK).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let seen = hold_session(&stage, &opened).await;

    let stored = course.platform.text(&format!("/sessions/{}/verdict", opened.session)).await;
    let log = course.platform.text(&format!("/sessions/{}/log", opened.session)).await;
    let pack = std::fs::read_to_string(stage.folder.path().join("quick.toml")).unwrap();
    assert_eq!(stored, replayed(&log, Policy::from_toml(&pack).unwrap()));
    let verdict: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(seen["closed"]["verdict"], verdict);
    assert_eq!((&verdict["status"], &verdict["completed"]), (&json!("valid"), &json!(true)), "{verdict}");

    assert_eq!((&seen["connections"], &seen["errors"], &seen["notices"]), (&json!(2), &json!([]), &json!([])));
    let all = |field: &str, outcome: &str| {
        let outcomes = seen[field].as_object().unwrap();
        !outcomes.is_empty() && outcomes.values().all(|one| one == outcome)
    };
    assert!(all("prompts", "passed") && all("captures", "match"), "{seen}");
    let seqs: Vec<u64> =
        log.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=seen["events"].as_u64().unwrap()).collect::<Vec<_>>());
}

/// Runs the client to its end. Returns what it saw.
async fn hold_session(stage: &Stage, opened: &Opened) -> Value {
    let photos: Vec<_> = (2..40).map(|number| models().join(format!("people/webcam_man/{number:03}.jpg"))).collect();
    let given = json!({
        "url": stage.stream_url(), "session": opened.session, "token": opened.token, "photos": photos,
        "answers": {"1 + 1 = ?": "right"}, "watch_ms": WATCH_MS, "speed": SPEED, "drop_at_ms": DROP_AT_MS,
    });
    let output = tokio::task::spawn_blocking(move || run_client(&given)).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn run_client(given: &Value) -> Output {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = tests.join("cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run make test-setup", python.display());
    let mut client = Command::new(python)
        .arg(tests.join("python/client.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    client.wait_with_output().unwrap()
}
