//! `invigil replay` as a program: what it prints, where, and how it ends.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use invigil::policy::{Policies, Policy};
use serde_json::Value;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples")
}

fn invigil(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_invigil"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A child that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn sessions(output: &Output) -> Vec<String> {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["session"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_directory_means_its_logs_in_order() {
    let output = invigil(&["replay", examples().to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let sessions = sessions(&output);
    assert_eq!(sessions.len(), 27);
    assert_eq!((sessions[0].as_str(), sessions[26].as_str()), ("s626253488", "s27"));
}

#[test]
fn a_bad_log_is_named_and_the_others_are_judged() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.jsonl");
    let log = std::fs::read_to_string(examples().join("01.jsonl")).unwrap();
    std::fs::write(&bad, log.replacen("\"pos_ms\":360000", "\"pos_ms\":\"far\"", 1)).unwrap();
    let (good, missing) = (examples().join("02.jsonl"), folder.path().join("missing.jsonl"));
    let files = [bad.to_str().unwrap(), "-", missing.to_str().unwrap(), good.to_str().unwrap()];
    let output = invigil(&[&["replay"], &files[..]].concat(), log.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(sessions(&output), ["s626253488", "s16412374"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(&format!("{}: line 4: data.pos_ms: ", bad.display())), "{errors}");
    assert!(errors.contains("missing.jsonl: "), "{errors}");
}

#[test]
fn another_pack_judges_otherwise_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack.toml");
    std::fs::write(&pack, "id = \"mild\"\nversion = \"2\"\n[action]\nplatform_suspended = \"ignore\"\n").unwrap();
    let log = examples().join("14.jsonl");
    let output = invigil(&["replay", "--policy", pack.to_str().unwrap(), log.to_str().unwrap()], b"");
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    let label = Policy::from_toml(&std::fs::read_to_string(&pack).unwrap()).unwrap().label();
    assert!(label.starts_with("mild@2+"), "{label}");
    assert_eq!((&verdict["policy"], &verdict["status"]), (&label.into(), &"valid".into()));
    assert_eq!(verdict["violations_total"], 0);
}

#[test]
fn a_log_is_judged_by_the_pack_that_it_names() {
    let log = std::fs::read_to_string(examples().join("14.jsonl")).unwrap();
    let day = jiff::civil::date(2024, 1, 1);
    let label = Policies::new(Vec::new()).unwrap().find("henan-2022", day).unwrap().label();
    let named = log.replacen("\"policy\":\"default\"", &format!("\"policy\":\"{label}\""), 1);
    assert_ne!(named, log);
    for (log, policy, status) in [(&log, "default", "invalid"), (&named, label.as_str(), "review")] {
        let output = invigil(&["replay", "-"], log.as_bytes());
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&verdict["policy"], &verdict["status"]), (&policy.into(), &status.into()));
    }
    let output = invigil(&["replay", "--policy", "fujian-2024", "-"], named.as_bytes());
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(verdict["policy"].as_str().unwrap().starts_with("fujian-2024@1+"), "{verdict}");
    assert_eq!(verdict["status"], "invalid");
}

#[test]
fn wrong_usage_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack.toml");
    std::fs::write(&pack, "class_hour_ms = 1").unwrap();
    let log = examples().join("14.jsonl");
    let output = invigil(&["replay", "--policy", pack.to_str().unwrap(), log.to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("class_hour_ms: is 1, must be from 2400000"));
    assert_eq!(invigil(&["replay"], b"").status.code(), Some(2));
    assert_eq!(invigil(&["replay", "--fast", "x"], b"").status.code(), Some(2));
    assert_eq!(invigil(&["rewind"], b"").status.code(), Some(2));
}

#[test]
fn pretty_is_for_people() {
    let log = examples().join("02.jsonl");
    let output = invigil(&["replay", "--pretty", log.to_str().unwrap()], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("INVALID  session s16412374"), "{text}");
    assert!(text.contains("对未纳入监管系统的互联网平台组织的培训结果不予认可"), "{text}");
}
