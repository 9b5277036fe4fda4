//! Which policy pack judges a session: the version in force when it was opened, whatever comes later.

use std::path::Path;
use std::process::{Command, Output};

use invigil::clock::Clock;
use invigil::config::Config;
use invigil::policy::Policy;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Course, START_MS, Stage, application, execute, frame, replayed, text};

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
async fn an_expired_document_approves_no_project_and_opens_no_session() {
    let expected = "policy pack city-2019 is not in force on 2026-09-21: version 1 is from 2019-01-01 until 2021-12-31";
    let refused = async |answer: reqwest::Response| {
        assert_eq!(answer.status(), 409);
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["type"], "urn:invigil:problem:policy-not-in-force", "{problem}");
        assert_eq!(problem["detail"], expected);
        problem
    };
    let stage = stage(&[]).await;
    let (mut course, learner) = course(&stage, "default").await;
    let project = course.platform.post("/projects", application(&[390_000], "city-2019")).await;
    let path = format!("/projects/{}/approval", text(&project, "id"));
    let approval = json!({"approved": true, "document": "开班批复1号"});
    refused(stage.operator.send(Method::PUT, &path, Some(approval)).await).await;

    course.enrol(&course.project, &learner).await;
    // A project that was approved while its document was in force.
    let sql = format!("UPDATE project SET policy = 'city-2019' WHERE id = '{}'", course.project);
    assert_eq!(execute(stage.folder.path(), &sql).await, 1);
    let body = json!({"lesson": course.lessons.remove(0), "learner": learner});
    let problem = refused(course.platform.send(Method::POST, "/sessions", Some(body)).await).await;
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

fn invigil(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_invigil")).arg("policy").args(arguments).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap())
}

#[test]
fn the_list_says_what_is_in_force_on_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    std::fs::write(&file, "id = \"henan-2022\"\nversion = \"2\"\neffective_from = 2025-01-01\n").unwrap();
    let in_force = |arguments: &[&str]| -> Vec<String> {
        let (code, text) = said(&invigil(&[&["list", "--json"], arguments].concat()));
        assert_eq!(code, Some(0));
        let list: Value = serde_json::from_str(&text).unwrap();
        let packs = list["packs"].as_array().unwrap().iter().filter(|pack| pack["in_force"] == true);
        packs.map(|pack| format!("{}@{}", pack["id"].as_str().unwrap(), pack["version"].as_str().unwrap())).collect()
    };
    assert_eq!(in_force(&["--at", "2021-12-31"]), ["city-2019@1", "default@", "national-2021@1"]);
    assert_eq!(in_force(&["--at", "2022-03-28"]), ["default@", "henan-2022@1", "national-2021@1"]);
    let later = in_force(&["--at", "2025-01-01", file.to_str().unwrap()]);
    assert!(later.contains(&"henan-2022@2".to_owned()) && !later.contains(&"henan-2022@1".to_owned()), "{later:?}");
    let (_, table) = said(&invigil(&["list", "--at", "2022-01-01"]));
    let city = table.lines().find(|line| line.starts_with("city-2019@1")).unwrap();
    let columns: Vec<&str> = city.split_whitespace().collect();
    assert_eq!(columns[1..5], ["2019-01-01", "2021-12-31", "no", "unknown"]);
}

#[test]
fn what_is_shown_has_the_labels_digest() {
    let shown = invigil(&["show", "fujian-2024"]);
    let digest = ring::digest::digest(&ring::digest::SHA256, &shown.stdout);
    let (_, json) = said(&invigil(&["show", "fujian-2024@1", "--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["label"], format!("fujian-2024@1+{}", hex::encode(digest)));
    assert_eq!(json["enrolment"]["online_share_max_milli"], 400);
    let unknown = invigil(&["show", "fujian"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("fujian-2024@1"));
}

#[test]
fn a_check_names_every_problem() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let good = write("good.toml", "id = \"county\"\nversion = \"1\"\n");
    let wrong = write("wrong.toml", "gap_limit_ms = -1\nspeed = 2\nenrolment.ban_years = \"two\"\n");
    let clash = write("clash.toml", "id = \"city-2019\"\nversion = \"1\"\n");
    let (code, text) = said(&invigil(&["check", &good]));
    assert_eq!((code, text.lines().count()), (Some(0), 1), "{text}");
    assert!(text.contains("good: county@1+"), "{text}");
    let (code, text) = said(&invigil(&["check", &wrong, &good]));
    assert_eq!(code, Some(1));
    for key in ["gap_limit_ms: is -1", "speed: unknown key", "enrolment.ban_years: must be an integer"] {
        assert!(text.contains(&format!("{wrong}: {key}")), "{key}: {text}");
    }
    assert!(text.contains(&format!("{good}: good")), "{text}");
    let (code, text) = said(&invigil(&["check", &clash]));
    assert_eq!(code, Some(1));
    assert!(text.contains("two packs are called city-2019@1"), "{text}");
    assert_eq!(invigil(&["check", "missing.toml"]).status.code(), Some(1));
}

#[test]
fn a_diff_goes_key_by_key() {
    let (code, text) = said(&invigil(&["diff", "henan-2022", "fujian-2024", "--json"]));
    assert_eq!(code, Some(0));
    let diff: Value = serde_json::from_str(&text).unwrap();
    let find = |key: &str| diff["differences"].as_array().unwrap().iter().find(|one| one["key"] == key).cloned();
    let practice = find("enrolment.practice_share_min_milli").unwrap();
    assert_eq!((&practice["a"], &practice["b"]), (&json!("600"), &json!("0")));
    assert_eq!(find("action.fast_forward").unwrap()["b"], "review");
    assert_eq!(find("online_quota_milli"), None);
    let (_, text) = said(&invigil(&["diff", "henan-2022", "fujian-2024"]));
    assert!(text.contains("\nclause.fast_forward.text\n  - 对有快进播放"), "{text}");
    let (_, same) = said(&invigil(&["diff", "default", "default"]));
    assert_eq!(same, "default and default say the same\n");
}
