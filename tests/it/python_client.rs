//! A whole session held by a client that is not ours: tests/python/client.py, written from docs/protocol.md on top of
//! the public `websockets` and `cryptography` packages.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use invigil::clock::Clock;
use invigil::policy::Policy;
use serde_json::{Value, json};

use crate::harness::{Course, Stage, application, frame, models, replayed};

const SPEED: u32 = 10;
const QUESTION: &str = "检修线路之前首先应当做什么？";
/// Prompts that come soon, and none that a program cannot read.
const POLICY: &str = "id = \"soon\"\n[schedule]\nprompt_sum_milli = 0\nprompt_min_ms = 20_000\nprompt_max_ms = 25_000\n\
     challenge_start_milli = 0\nchallenge_recheck_milli = 0\nchallenge_random_milli = 0\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_from_the_document_alone_holds_a_session() {
    let stage = Stage::start_with(Clock::scaled(SPEED), Clock::system(), |folder, config| {
        let policy = folder.join("soon.toml");
        std::fs::write(&policy, POLICY).unwrap();
        config.policies = vec![policy];
    })
    .await;
    let course = course(&stage).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let given = json!({
        "url": stage.stream_url(), "session": opened.session, "token": opened.token, "speed": SPEED,
        "photos": photos(), "answers": {QUESTION: "切断电源并验电"}, "watch_ms": 90_000, "drop_at_ms": 45_000,
    });
    let seen = tokio::task::spawn_blocking(move || python(&given)).await.unwrap();

    let stored = course.platform.text(&format!("/sessions/{}/verdict", opened.session)).await;
    let log = course.platform.text(&format!("/sessions/{}/log", opened.session)).await;
    assert_eq!(stored, replayed(&log, Policy::from_toml(POLICY).unwrap()));
    let verdict: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(seen["closed"]["reason"], "left");
    assert_eq!(seen["closed"]["verdict"], verdict);
    assert_eq!(verdict["status"], "valid", "{verdict:#}");
    let watched_ms = verdict["watched_ms"].as_i64().unwrap();
    assert!((88_000..=99_000).contains(&watched_ms), "{watched_ms}");
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(seen["notices"], json!([]));
    let prompts: Vec<_> = seen["prompts"].as_object().unwrap().values().collect();
    assert!(!prompts.is_empty() && prompts.iter().all(|outcome| *outcome == "passed"), "{prompts:?}");
    assert_eq!(seen["captures"]["c1"], "match");
    let asked = log.lines().find(|line| line.contains("capture.requested")).unwrap();
    assert!(asked.contains("\"frames\":3}"), "{asked}");
    resumed(&seen, &log);
}

/// The connection was lost once, and no event with it or twice.
fn resumed(seen: &Value, log: &str) {
    assert_eq!(seen["connections"], 2);
    assert_eq!(seen["welcomes"][0]["acknowledged"], 0);
    assert!(seen["welcomes"][1]["acknowledged"].as_u64().unwrap() > 0);
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let numbers: Vec<u64> = events.filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=seen["events"].as_u64().unwrap()).collect::<Vec<_>>());
}

async fn course(stage: &Stage) -> Course {
    let course = stage.course(&[400_000]).await;
    let question =
        json!({"text": QUESTION, "options": ["切断电源并验电", "戴好帽子", "打开窗户", "通知邻居"], "right": 0});
    let lesson = json!({"title": "安全用电", "kind": "theory", "duration_ms": 400_000, "questions": [question]});
    let mut application = application(&[400_000], "soon");
    application["lessons"] = json!([lesson]);
    let (id, lessons) = stage.operator.approved(&course.platform, application).await;
    Course { project: id, lessons, ..course }
}

fn photos() -> Vec<String> {
    let folder = models().join("people/webcam_man");
    (5..73).step_by(9).map(|number| folder.join(format!("{number:03}.jpg")).display().to_string()).collect()
}

fn python(given: &Value) -> Value {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = tests.join("cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run make test-setup", python.display());
    let mut child = Command::new(python)
        .arg(tests.join("python/client.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "client.py ended with {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}
