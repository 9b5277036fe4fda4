//! Which policy pack judges a session: the version in force when it was opened, whatever comes later.

use std::path::Path;

use invigil::clock::Clock;
use invigil::config::Config;
use invigil::policy::Policy;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Course, START_MS, Stage, frame, replayed};

const DAY_MS: i64 = 86_400_000;
/// The clocks begin on 2026-09-21 in China. A session may be silent for days, so that it is open when the next version
/// comes into force.
const A: &str = "id = \"county\"\nversion = \"a\"\neffective_from = 2026-09-01\naction.revoked = \"review\"\n\
    schedule.silence_close_ms = 1_000_000_000\n";
/// In force three days later.
const B: &str = "id = \"county\"\nversion = \"b\"\neffective_from = 2026-09-24\naction.revoked = \"invalidate\"\n";

/// Configures packs, as files in the data folder.
fn packs(folder: &Path, config: &mut Config, texts: &[&str]) {
    let files = texts.iter().zip(0..).map(|(text, index)| {
        let file = folder.join(format!("pack{index}.toml"));
        std::fs::write(&file, text).unwrap();
        file
    });
    config.policies = files.collect();
}

async fn stage(texts: &[&str]) -> Stage {
    let (clock, wall) = (Clock::manual(START_MS), Clock::manual(START_MS));
    Stage::start_with(clock, wall, |folder, config| packs(folder, config, texts)).await
}

async fn course(stage: &Stage, pack: &str) -> (Course, String) {
    let course = stage.operator.course(&[390_000], pack).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    (course, learner)
}

/// Closes a session by taking it back; its verdict, as it stands in the records, and its log.
async fn revoke(course: &Course, session: &str) -> (String, String) {
    let path = format!("/sessions/{session}");
    course.platform.post(&format!("{path}/close"), json!({"reason": "revoked"})).await;
    (course.platform.text(&format!("{path}/verdict")).await, course.platform.text(&format!("{path}/log")).await)
}

#[tokio::test]
async fn an_expired_document_opens_no_session() {
    let stage = stage(&[]).await;
    let (course, learner) = course(&stage, "city-2019").await;
    let body = json!({"lesson": course.lessons[0], "learner": learner});
    let answer = course.platform.send(Method::POST, "/sessions", Some(body)).await;
    assert_eq!(answer.status(), 409);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], "urn:invigil:problem:policy-not-in-force", "{problem}");
    let expected = "policy pack city-2019 is not in force on 2026-09-21: version 1 is from 2019-01-01 until 2021-12-31";
    assert_eq!(problem["detail"], expected);
    assert_eq!(problem["errors"][0]["field"], "lesson");
    let sessions = course.platform.get("/sessions").await;
    assert_eq!(sessions["items"], json!([]));
}

#[tokio::test]
async fn a_refusal_leaves_the_older_session_open() {
    let ending = format!("{A}effective_until = 2026-09-22\n");
    let stage = stage(&[&ending]).await;
    let (course, learner) = course(&stage, "county").await;
    let opened = course.open(&course.lessons[0], &learner).await;
    stage.clock.advance_ms(2 * DAY_MS);
    let body = json!({"lesson": course.lessons[0], "learner": learner});
    let answer = course.platform.send(Method::POST, "/sessions", Some(body)).await;
    assert_eq!(answer.status(), 409, "{}", answer.text().await.unwrap());
    let (verdict, log) = revoke(&course, &opened.session).await;
    assert!(!log.contains("superseded"), "{log}");
    assert!(verdict.contains("county@a+"), "{verdict}");
}

#[tokio::test]
async fn the_pack_of_the_opening_judges_to_the_end() {
    let stage = stage(&[A, B]).await;
    let (course, learner) = course(&stage, "county").await;
    let (a, b) = (Policy::from_toml(A).unwrap(), Policy::from_toml(B).unwrap());
    let opened = course.open(&course.lessons[0], &learner).await;
    // B comes into force; its sessions have other verdicts.
    stage.clock.advance_ms(3 * DAY_MS);
    let (first, log) = revoke(&course, &opened.session).await;
    assert_eq!(first, replayed(&log, a.clone()));
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["policy"], a.label());
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["status"], "review");
    let opened = course.open(&course.lessons[0], &learner).await;
    let (second, log) = revoke(&course, &opened.session).await;
    assert_eq!(second, replayed(&log, b.clone()));
    assert_eq!(serde_json::from_str::<Value>(&second).unwrap()["status"], "invalid");
    assert_ne!(a.digest, b.digest);
}

#[tokio::test]
async fn a_session_is_judged_by_its_pack_though_only_a_later_one_is_configured() {
    let mut stage = stage(&[A]).await;
    let (mut course, learner) = course(&stage, "county").await;
    let opened = course.open(&course.lessons[0], &learner).await;
    stage.clock.advance_ms(3 * DAY_MS);
    stage.restart_with(|folder, config| packs(folder, config, &[B])).await;
    course.platform = stage.operator.with_key(&course.platform.key);
    let (verdict, log) = revoke(&course, &opened.session).await;
    assert_eq!(verdict, replayed(&log, Policy::from_toml(A).unwrap()));
    // What is opened now is judged by B.
    let opened = course.open(&course.lessons[0], &learner).await;
    let (verdict, _) = revoke(&course, &opened.session).await;
    let b = Policy::from_toml(B).unwrap().label();
    assert_eq!(serde_json::from_str::<Value>(&verdict).unwrap()["policy"], b);
}
