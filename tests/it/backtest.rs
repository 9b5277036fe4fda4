//! `invigil backtest` as a program: on the data folder of a server that runs, on files of logs, and on what it generates.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use invigil::client::ClientKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::PLAIN_FILE;
use crate::session::{Watcher, ready};

fn backtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_invigil")).arg("backtest").args(arguments).output().unwrap()
}

/// The report of a backtest that must succeed without a complaint.
fn report(arguments: &[&str]) -> Value {
    let output = backtest(&[arguments, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn pack(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("pack.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_running_servers_sessions_are_judged_again_from_its_folder_and_from_its_logs() {
    let (stage, course, learner) = ready(&[100_000, 100_000]).await;
    let mut logs = String::new();
    for (lesson, until_ms, reason) in [(0, 100_000, "completed"), (1, 60_000, "left")] {
        let opened = course.open(&course.lessons[lesson], &learner).await;
        let mut watcher = Watcher::enter(&stage, &opened, &ClientKey::generate().unwrap()).await;
        watcher.play().await;
        watcher.watch(&stage, until_ms).await;
        let closed = watcher.end(reason).await;
        assert_eq!(closed["verdict"]["status"], "valid", "{closed}");
        logs += &course.platform.text(&format!("/sessions/{}/log", opened.session)).await;
    }
    // One that is still open is not over, and is left alone.
    course.open(&course.lessons[1], &learner).await;

    let data = stage.folder.path().to_str().unwrap();
    let same = report(&["--policy", "default", "--data", data]);
    assert_eq!((&same["sessions"], &same["changed"]), (&json!(2), &json!(0)), "{same}");
    assert_eq!(same["recorded"]["compared"], 2);
    assert_eq!((&same["recorded"]["different"], &same["recorded"]["facts_different"]), (&json!(0), &json!(0)));

    let work = tempfile::tempdir().unwrap();
    let strict = pack(work.path(), "id = \"strict\"\nversion = \"1\"\nprompt_max_gap_ms = 60_000\n");
    let (strict, changes) = (strict.to_str().unwrap(), work.path().join("changes.jsonl"));
    let judged = report(&["--policy", strict, "--data", data, "--changes", changes.to_str().unwrap()]);
    assert!(judged["policy"].as_str().unwrap().starts_with("strict@1+"), "{judged}");
    assert_eq!(judged["transitions"][0]["sessions"], 2);
    assert_eq!((&judged["before"]["status"]["valid"], &judged["after"]["status"]["invalid"]), (&json!(2), &json!(2)));
    assert_eq!((&judged["before"]["credited_ms"], &judged["after"]["credited_ms"]), (&json!(160_000), &json!(0)));
    let changes = lines(&changes);
    assert_eq!(changes[0]["after"]["rules"], json!(["prompt_gap"]));
    assert_eq!(changes[1]["after"]["rules"], json!(["prompt_gap", "course_order"]), "the first lesson is not complete");
    assert!(changes[1]["facts"].as_array().unwrap().contains(&json!("prior_lessons_complete")), "{}", changes[1]);

    // The same from the logs alone: the order of lessons follows from the openings.
    let file = work.path().join("logs.jsonl");
    std::fs::write(&file, logs).unwrap();
    let mut from_logs = report(&["--policy", strict, "--logs", file.to_str().unwrap(), "--pack", PLAIN_FILE]);
    assert_eq!(from_logs["recorded"]["compared"], 0);
    from_logs["recorded"]["compared"] = judged["recorded"]["compared"].clone();
    assert_eq!(from_logs, judged);
}

fn generated(sessions: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    let path = logs.to_str().unwrap();
    let output =
        backtest(&["generate", "--sessions", sessions, "--sessions-per-file", "200", "--seed", "3", "--to", path]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    (folder, logs)
}

#[test]
fn what_is_generated_is_judged_and_the_threads_do_not_show() {
    let (folder, logs) = generated("500");
    let (path, work) = (logs.to_str().unwrap(), folder.path());
    assert_eq!(std::fs::read_dir(&logs).unwrap().count(), 3);
    let same = report(&["--policy", "default", "--logs", path, "--stats"]);
    assert_eq!((&same["sessions"], &same["events"]), (&json!(500), &json!(15_000)));
    assert_eq!((&same["changed"], &same["recorded"]["facts_different"]), (&json!(0), &json!(0)));
    assert!(same["stats"]["parsed_events_per_s"].as_f64().unwrap() > 0.0);

    let strict = pack(work, "id = \"strict\"\nprompt_max_gap_ms = 200_000\naction.unfocused = \"invalidate\"\n");
    let [one, four] = ["1", "4"].map(|threads| {
        let changes = work.join(format!("{threads}.jsonl"));
        let (strict, file) = (strict.to_str().unwrap(), changes.to_str().unwrap());
        let output = backtest(&["--policy", strict, "--logs", path, "--threads", threads, "--changes", file]);
        assert_eq!(output.status.code(), Some(0));
        (String::from_utf8(output.stdout).unwrap(), lines(&changes))
    });
    assert_eq!(one, four);
    assert!(one.0.contains("valid → invalid") && one.0.contains("gains prompt_gap"), "{}", one.0);
    assert!(one.1.len() > 10);
}

#[test]
fn a_bad_log_is_named_and_counted_and_the_others_are_judged() {
    let (_folder, logs) = generated("20");
    let file = logs.join("sessions-000001.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replacen("\"rate\":1.0", "\"rate\":\"fast\"", 1);
    let line = 1 + text.lines().position(|line| line.contains("fast")).unwrap();
    std::fs::write(&file, text).unwrap();
    let output = backtest(&["--policy", "default", "--logs", logs.to_str().unwrap(), "--json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with(&format!("{}: line {line}: data.rate: ", file.display())), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["sessions"], &report["bad"]), (&json!(19), &json!(1)));
    assert_eq!(report["bad_logs"][0], said.trim_end());
}

#[test]
fn wrong_usage_and_what_cannot_be_read_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().to_str().unwrap();
    let wrong = pack(folder.path(), "class_hour_ms = 1");
    let ends = |arguments: &[&str]| {
        let output = backtest(arguments);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = ends(&["--policy", wrong.to_str().unwrap(), "--logs", here]);
    assert!(code == 2 && said.contains("class_hour_ms: is 1"), "{said}");
    assert_eq!(ends(&["--policy", "no such pack", "--logs", here]).0, 2);
    assert_eq!(ends(&["--logs", here]).0, 2);
    assert_eq!(ends(&["--policy", "default"]).0, 2);
    assert_eq!(ends(&["--policy", "default", "--logs", here, "--data", here]).0, 2);
    assert_eq!(ends(&["generate", "--to", here, "--events", "3"]).0, 2);
    let (code, said) = ends(&["--policy", "default", "--logs", here]);
    assert!(code == 1 && said.contains("no *.jsonl"), "{said}");
    let (code, said) = ends(&["--policy", "default", "--data", here]);
    assert!(code == 1 && said.contains(here), "{said}");
}
