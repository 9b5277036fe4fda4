//! Attempts to cheat the fold, and honest accidents that must not look like it.

use serde_json::json;

use super::log_builder::{LogBuilder, found};
use crate::log::parse_line;
use crate::session::Session;
use crate::verdict::Status;

const LESSON_MS: i64 = 600_000;

fn start() -> LogBuilder {
    let mut log = LogBuilder::opened(0, LESSON_MS, json!({}));
    log.face(0, "c0", "match");
    log
}

/// Plays honestly from `from` to `to` (ms since the opening), starting at `pos_ms`, with a heartbeat every 5 s.
fn play(log: &mut LogBuilder, from: i64, to: i64, pos_ms: i64) {
    let mut at = from;
    while at < to {
        log.beat(at, true, pos_ms + at - from);
        at += 5_000;
    }
    log.beat(to, false, pos_ms + to - from);
}

#[test]
fn an_honest_lesson_is_valid() {
    let mut log = start();
    for k in 0..3 {
        play(&mut log, k * 200_000, (k + 1) * 200_000, k * 200_000);
        log.prompt((k + 1) * 200_000, &format!("q{k}"), "passed");
    }
    log.close(602_000);
    let verdict = log.verdict();
    assert_eq!((verdict.status, verdict.completed, verdict.credited_hours), (Status::Valid, true, 0.25));
    assert_eq!((verdict.watched_ms, verdict.watch_ms), (600_000, 600_000));
}

#[test]
fn five_minutes_without_a_prompt_are_too_long() {
    let mut log = start();
    play(&mut log, 0, 301_000, 0);
    log.prompt(301_000, "q", "passed");
    log.close(302_000);
    assert_eq!(found(&log.verdict()), ["prompt_gap"]);
}

#[test]
fn progress_for_the_whole_film_at_once_earns_nothing() {
    let mut log = start();
    log.beat(1_000, true, 0);
    log.beat(2_000, true, LESSON_MS);
    log.close(3_000);
    let verdict = log.verdict();
    assert_eq!(found(&verdict), ["fast_forward:advance"]);
    assert_eq!((verdict.watched_ms, verdict.watch_ms, verdict.status), (0, 0, Status::Invalid));
}

#[test]
fn a_steady_small_lead_runs_out() {
    let mut log = start();
    // Ten percent too fast, as a patched rate reports 1.0.
    (0..60).for_each(|k| log.beat(1_000 + k * 5_000, true, k * 5_500));
    log.close(400_000);
    assert!(found(&log.verdict()).contains(&"fast_forward:advance".to_owned()));
}

#[test]
fn a_client_clock_that_runs_fast_wins_no_time() {
    let mut log = start();
    // The page's clock runs twice as fast; its positions agree with it.
    (0..20).for_each(|k| {
        log.client_at(k * 5_000, k * 10_000, "heartbeat", json!({ "playing": true, "pos_ms": k * 10_000, "rate": 1.0 }))
    });
    log.close(200_000);
    let verdict = log.verdict();
    assert!(found(&verdict).contains(&"clock_tamper".to_owned()));
    assert!(found(&verdict).contains(&"fast_forward:advance".to_owned()));
    assert!(verdict.creditable_ms <= 96_000);
}

#[test]
fn events_kept_back_and_delivered_late_earn_nothing() {
    let mut log = start();
    for k in 0..20 {
        let data = json!({ "playing": true, "pos_ms": k * 5_000, "rate": 1.0 });
        log.client_at(500_000, k * 5_000, "heartbeat", data);
    }
    log.close(600_000);
    let verdict = log.verdict();
    assert_eq!((verdict.watch_ms, verdict.coverage.len()), (0, 0));
}

#[test]
fn a_short_loss_of_the_network_costs_nothing() {
    let mut log = start();
    log.beat(1_000, true, 0);
    for k in 1..=5 {
        let data = json!({ "playing": true, "pos_ms": k * 5_000, "rate": 1.0 });
        log.client_at(29_000, 1_000 + k * 5_000, "heartbeat", data);
    }
    log.beat(31_000, false, 30_000);
    log.close(32_000);
    let verdict = log.verdict();
    assert_eq!((verdict.status, verdict.watch_ms, verdict.watched_ms), (Status::Valid, 30_000, 30_000));
}

#[test]
fn sleeping_and_waking_is_no_cheat() {
    let mut log = start();
    play(&mut log, 1_000, 21_000, 0);
    // The lid was closed for an hour while the player still played; the clock that the page reads stood still.
    log.beat(21_000, true, 20_000);
    log.client_at(3_621_000, 21_500, "heartbeat", json!({ "playing": true, "pos_ms": 20_500, "rate": 1.0 }));
    log.server(3_622_000, "connection.opened", json!({ "ct": 22_500 }));
    log.server(3_622_000, "clock.synced", json!({ "ct": 22_500 }));
    for k in 0..4 {
        let data = json!({ "playing": true, "pos_ms": 21_500 + k * 5_000, "rate": 1.0 });
        log.client_at(3_622_000 + k * 5_000, 22_500 + k * 5_000, "heartbeat", data);
    }
    log.close(3_650_000);
    let verdict = log.verdict();
    assert_eq!((verdict.status, found(&verdict).len()), (Status::Valid, 0));
    // 20 s before, 15 s after; the late half second and the hour are nobody's.
    assert_eq!(verdict.watch_ms, 35_000);
}

#[test]
fn a_seek_cannot_launder_a_leap() {
    let mut log = start();
    log.beat(1_000, true, 0);
    // The start of the seek is made up, so that the seek seems to stay where it was.
    log.seek(2_000, true, 300_000, 300_500);
    log.close(3_000);
    assert_eq!(found(&log.verdict()), ["fast_forward:advance"]);
}

#[test]
fn watching_the_same_minute_again_is_credited_once() {
    let mut log = start();
    for k in 0..3 {
        play(&mut log, k * 60_000, k * 60_000 + 55_000, 0);
        log.seek(k * 60_000 + 56_000, false, 55_000, 0);
    }
    log.close(200_000);
    let verdict = log.verdict();
    assert_eq!((verdict.watch_ms, verdict.watched_ms, verdict.creditable_ms), (165_000, 55_000, 55_000));
}

#[test]
fn what_was_credited_before_is_not_again() {
    let facts = json!({ "covered_before": [[0, 300_000]] });
    let mut log = LogBuilder::opened(0, LESSON_MS, facts);
    log.face(0, "c0", "match");
    play(&mut log, 0, 50_000, 280_000);
    log.close(60_000);
    let verdict = log.verdict();
    assert_eq!((verdict.watch_ms, verdict.watched_ms), (50_000, 30_000));
    assert_eq!(verdict.coverage, [(280_000, 330_000)]);
}

#[test]
fn the_stretch_before_a_page_is_hidden_was_seen() {
    let mut log = start();
    log.beat(1_000, true, 0);
    log.page(6_000, false, true, true, 5_000);
    log.page(16_000, true, true, true, 15_000);
    log.page(21_000, false, true, true, 20_000);
    log.page(31_001, true, true, true, 30_001);
    log.close(32_000);
    let verdict = log.verdict();
    assert_eq!(found(&verdict), ["multi_window:hidden"]);
    assert_eq!((verdict.watch_ms, verdict.violations[0].n), (10_000, 10));
}

#[test]
fn flapping_the_page_does_not_earn_hidden_time() {
    let mut log = start();
    log.beat(0, true, 0);
    for k in 0..10 {
        log.page(k * 10_000, false, false, true, k * 10_000);
        log.page(k * 10_000 + 9_999, true, true, true, k * 10_000 + 9_999);
    }
    log.close(100_000);
    let verdict = log.verdict();
    assert_eq!((verdict.watch_ms, found(&verdict).len()), (9, 0));
}

#[test]
fn a_photo_that_nobody_asked_for_is_none() {
    let facts = json!({ "carried": { "hour_watch_ms": 1_190_000 } });
    let mut log = LogBuilder::opened(0, LESSON_MS, facts);
    log.server(0, "face.checked", json!({ "capture": "own", "outcome": "match", "photo": "00" }));
    play(&mut log, 0, 70_000, 0);
    log.close(80_000);
    let verdict = log.verdict();
    assert_eq!(found(&verdict), ["photo_missing"]);
    assert_eq!(verdict.violations[0].detail.unwrap().class_hour, 0);
    assert!(!verdict.carried.hour_has_photo);
}

#[test]
fn a_photo_counts_for_the_hour_in_which_it_was_asked_for() {
    let facts = json!({ "carried": { "hour_watch_ms": 2_390_000, "hour_has_photo": false } });
    let mut log = LogBuilder::opened(0, LESSON_MS, facts);
    log.server(0, "capture.requested", json!({ "capture": "c", "reason": "start", "deadline_at": 0 }));
    play(&mut log, 0, 70_000, 0);
    log.server(70_000, "face.checked", json!({ "capture": "c", "outcome": "match", "photo": "00" }));
    log.close(80_000);
    let verdict = log.verdict();
    assert!(found(&verdict).is_empty());
    assert_eq!((verdict.carried.hour_watch_ms, verdict.carried.hour_has_photo), (60_000, false));
}

#[test]
fn leaving_a_photo_unanswered_follows_the_learner() {
    let mut log = start();
    log.server(1_000, "capture.requested", json!({ "capture": "c1", "reason": "random", "deadline_at": 0 }));
    log.close(2_000);
    assert_eq!(log.verdict().carried.face_failures, 1);
}

#[test]
fn an_error_of_the_engine_is_not_the_learners() {
    let mut log = LogBuilder::opened(0, LESSON_MS, json!({}));
    (0..6).for_each(|k| log.face(k, &format!("c{k}"), "error"));
    play(&mut log, 10_000, 210_000, 0);
    log.close(220_000);
    let verdict = log.verdict();
    assert_eq!((found(&verdict), verdict.status), (vec!["face_unchecked".to_owned()], Status::Review));
    assert_eq!((verdict.carried.face_failures, verdict.carried.face_history.len()), (0, 0));
}

#[test]
fn more_violations_than_are_listed_are_counted() {
    let mut log = start();
    for k in 0..250 {
        log.client(k, "windows", json!({ "count": 2 }));
        log.client(k, "windows", json!({ "count": 1 }));
    }
    log.close(1_000);
    let verdict = log.verdict();
    assert_eq!((verdict.violations.len(), verdict.violations_total), (200, 250));
}

#[test]
fn an_event_that_may_not_come_leaves_the_session_as_it_was() {
    let mut log = start();
    log.close(1_000);
    let mut session: Session = log.fold();
    let before = session.state().clone();
    let line = log.lines[0].clone();
    assert_eq!(session.apply(&parse_line(line.as_bytes()).unwrap()).unwrap_err().field, "type");
    assert_eq!(*session.state(), before);
    assert!(!session.is_open());
}

#[test]
fn a_lesson_of_absurd_length_does_not_overflow() {
    let most = crate::log::MAX_INTEGER;
    for sign in [1, -1] {
        let carried = json!({
            "since_control_ms": sign * most, "unverified_ms": sign * most, "excess_ms": sign * most,
            "conflict_ms": sign * most, "face_failures": sign * most, "hour_watch_ms": sign * most,
        });
        let facts = json!({
            "carried": carried, "total_hours": sign * most, "online_used_ms": -sign * most,
            "covered_before": [[-most, most], [most, -most]], "furthest_before_ms": -sign * most,
        });
        let mut log = LogBuilder::opened(0, sign * most, facts);
        log.server(0, "connection.opened", json!({ "ct": -sign * most }));
        log.client_at(0, sign * most, "heartbeat", json!({ "playing": true, "pos_ms": -most, "rate": -1e15 }));
        log.client_at(1, -sign * most, "heartbeat", json!({ "playing": true, "pos_ms": most, "rate": 1e15 }));
        log.server(
            2,
            "presence.conflict",
            json!({ "with_session": "", "with_platform": "", "from_at": -most, "to_at": most }),
        );
        log.face(2, "c", "spoof");
        log.close(3);
        let verdict = log.verdict();
        let carried = serde_json::to_string(&verdict.carried).unwrap();
        let again = LogBuilder::opened(
            0,
            1,
            json!({ "carried": serde_json::from_str::<serde_json::Value>(&carried).unwrap() }),
        );
        again.verdict();
    }
}
