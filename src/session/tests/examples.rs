//! The examples of the contract: each log has the verdict that stands beside it.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::cli::replay::judge;
use crate::log::{Read, Reader};
use crate::policy::Policy;
use crate::session::{Session, SessionState};

fn examples() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/examples");
    let mut logs: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    logs.sort();
    assert!(logs.len() >= 25);
    logs
}

/// Every field that `expected` has is in `actual`, with the same value.
fn agree(expected: &Value, actual: &Value, path: &str) {
    match (expected, actual) {
        (Value::Object(fields), Value::Object(_)) => {
            for (key, value) in fields {
                agree(value, &actual[key], &format!("{path}.{key}"));
            }
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            for (k, (item, other)) in items.iter().zip(others).enumerate() {
                agree(item, other, &format!("{path}[{k}]"));
            }
        }
        _ => assert_eq!(expected, actual, "{path}"),
    }
}

#[test]
fn every_example_has_its_verdict() {
    let policy = Arc::new(Policy::default());
    for path in examples() {
        let log = std::fs::read(&path).unwrap();
        let verdict = judge(&log[..], &policy, |_| {}).unwrap();
        let expected = std::fs::read(path.with_extension("verdict.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        agree(&expected, &serde_json::to_value(&verdict).unwrap(), &path.display().to_string());
    }
}

#[test]
fn a_state_written_out_and_read_back_anywhere_changes_nothing() {
    let policy = Arc::new(Policy::default());
    for path in examples() {
        let log = std::fs::read(&path).unwrap();
        let expected = judge(&log[..], &policy, |_| {}).unwrap();
        let mut reader = Reader::new(&log[..]);
        let mut session = Session::new(Arc::clone(&policy));
        while let Some(Read { event, .. }) = reader.next().unwrap() {
            session.apply(&event).unwrap();
            let written = serde_json::to_string(session.state()).unwrap();
            let read: SessionState = serde_json::from_str(&written).unwrap();
            assert_eq!(&read, session.state());
            session = Session::restore(Arc::clone(&policy), read);
        }
        assert_eq!(session.verdict(expected.log_digest.clone()), expected);
    }
}

#[test]
fn the_digest_is_that_of_the_file() {
    let log = std::fs::read(&examples()[0]).unwrap();
    let whole = hex::encode(ring::digest::digest(&ring::digest::SHA256, &log));
    let policy = Arc::new(Policy::default());
    assert_eq!(judge(&log[..], &policy, |_| {}).unwrap().log_digest, whole);
    // The last line feed is part of the digest even where the file lacks it.
    let cut = log.strip_suffix(b"\n").unwrap();
    assert_eq!(judge(cut, &policy, |_| {}).unwrap().log_digest, whole);
}

#[test]
fn a_verdicts_fields_stand_in_the_contracts_order() {
    let log = std::fs::read(&examples()[1]).unwrap();
    let text = serde_json::to_string(&judge(&log[..], &Arc::new(Policy::default()), |_| {}).unwrap()).unwrap();
    let order = [
        "session",
        "policy",
        "status",
        "watched_ms",
        "watch_ms",
        "creditable_ms",
        "credited_ms",
        "credited_hours",
        "completed",
        "coverage",
        "furthest_ms",
        "violations",
        "rule",
        "cause",
        "at",
        "n",
        "clause",
        "detail",
        "violations_total",
        "carried",
        "log_digest",
    ];
    let places: Vec<_> = order.iter().map(|name| text.find(&format!("\"{name}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
}
