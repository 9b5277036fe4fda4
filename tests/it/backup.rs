//! Backups of a server that is being used, and what a restore does not bring back.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use invigil::clock::{Clock, Entropy};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::Value;
use tokio::sync::Notify;

use crate::harness::process::{Home, Process};
use crate::harness::pupil::{Camera, Pupil};
use crate::harness::{Course, PEOPLE, QUICK, frame, replayed, text};

const HEARTBEAT_MS: i64 = 100;
const LESSON_MS: i64 = 600_000;

fn invigil(arguments: &[&str], paths: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_invigil"));
    command.args(arguments);
    for (flag, path) in paths {
        if !flag.is_empty() {
            command.arg(flag);
        }
        command.arg(path);
    }
    command.output().unwrap()
}

fn said(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// Somebody who learns for a while and leaves, again and again if `sessions` says so.
/// Returns the learner and the sessions; `heard` hears of every acknowledgement.
async fn learn(course: Arc<Course>, url: String, who: usize, sessions: u32, heard: Arc<Notify>) -> Vec<String> {
    let (person, enrolled, frames) = PEOPLE[who % PEOPLE.len()].clone();
    let learner = course.learner(frame(person, enrolled)).await;
    let mut ids = vec![learner.clone()];
    let camera = Camera::new(person, frames);
    for _ in 0..sessions {
        let opened = course.open(&course.lessons[0], &learner).await;
        let entropy = Entropy::seeded(who as u64);
        let mut pupil = Pupil::sit_down(&url, opened, camera.clone(), entropy, HEARTBEAT_MS, heard.clone());
        pupil.watch(Clock::system().sleep_ms(1_500)).await;
        ids.push(pupil.leave().await.session);
    }
    ids
}

/// Every closed session that this server knows has the verdict of its log. Returns how many are closed and open.
async fn check_all(course: &Course, home: &Home) -> (usize, usize) {
    let page = course.platform.get("/sessions?limit=200").await;
    let (mut closed, mut open) = (0, 0);
    for session in page["items"].as_array().unwrap() {
        let id = text(session, "id");
        let log = course.platform.text(&format!("/sessions/{id}/log")).await;
        if session["closed_at"].is_null() {
            open += 1;
            continue;
        }
        closed += 1;
        let verdict = course.platform.text(&format!("/sessions/{id}/verdict")).await;
        assert_eq!(verdict, replayed(&log, home.policy()), "{id}");
    }
    (closed, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_restores_to_a_server_that_knows_every_verdict_and_revives_nobody() {
    let home = Home::new(HEARTBEAT_MS);
    let server = Process::start(home.command(&[], None)).await.unwrap();
    let operator = home.operator(server.address);
    let course = Arc::new(operator.course(&[LESSON_MS], QUICK).await);
    let url = format!("ws://{}/v1/stream", server.address);
    // One who has ended before the backup, and is forgotten after it.
    let heard = Arc::new(Notify::new());
    let gone = learn(course.clone(), url.clone(), 0, 1, heard.clone()).await;
    // Three who learn while the backup is made.
    let pupils: Vec<_> =
        (1..4).map(|who| tokio::spawn(learn(course.clone(), url.clone(), who, 3, heard.clone()))).collect();
    for _ in 0..5 {
        heard.notified().await;
    }
    let backup = home.path().join("backup");
    let data = home.data();
    let output = tokio::task::spawn_blocking({
        let (data, backup) = (data.clone(), backup.clone());
        move || invigil(&["backup", "create", "--with-keys"], &[("--data", &data), ("--to", &backup)])
    });
    let output = said(&output.await.unwrap(), 0);
    assert!(output.contains("IN THE BACKUP"), "{output}");
    let output = said(&invigil(&["backup", "verify"], &[("", &backup)]), 0);
    assert!(output.contains("ok       every file"), "{output}");
    for pupil in pupils {
        pupil.await.unwrap();
    }

    // Forgotten after the backup: the key's bytes leave every file at once.
    let sealed: Vec<u8> = Connection::open(data.join("invigil.sqlite"))
        .unwrap()
        .query_row("SELECT data_key FROM learner WHERE id = ?1", [&gone[0]], |row| row.get(0))
        .unwrap();
    assert!(holds(&data, &sealed) && holds(&backup, &sealed));
    let path = format!("/learners/{}", gone[0]);
    assert_eq!(operator.send(Method::DELETE, &path, None).await.status(), 204);
    assert!(!holds(&data, &sealed), "traces of the key are left");
    let verdict = course.platform.text(&format!("/sessions/{}/verdict", gone[1])).await;
    let log = course.platform.text(&format!("/sessions/{}/log", gone[1])).await;
    assert_eq!(verdict, replayed(&log, home.policy()), "log and verdict of the forgotten stay");
    assert_eq!(server.kill(), [""; 0]);

    // The folder is lost, but for the tombstones; a new one takes its place.
    let tombstones = home.path().join("forgotten.jsonl");
    std::fs::copy(data.join("forgotten.jsonl"), &tombstones).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    let output = invigil(&["backup", "restore"], &[("", &backup), ("--to", &data), ("--forgotten", &tombstones)]);
    let output = said(&output, 0);
    assert!(output.contains(&format!("forgot   {}", gone[0])), "{output}");
    assert!(!holds(&data, &sealed), "the key came back");

    let server = Process::start(home.command(&[], None)).await.unwrap();
    let operator = home.operator(server.address);
    let platform = crate::harness::Api::new(&format!("http://{}", server.address), &course.platform.key);
    let restored = Course { platform, project: course.project.clone(), lessons: course.lessons.clone() };
    let (closed, open) = check_all(&restored, &home).await;
    assert!(closed >= 1 && closed + open >= 2, "the backup was made under load: {closed} closed, {open} open");
    let manifest: Value = serde_json::from_slice(&std::fs::read(backup.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["counts"]["closed_sessions"], closed);
    assert_eq!(manifest["counts"]["open_sessions"], open);
    assert_eq!(restored.platform.send(Method::GET, &path, None).await.status(), 404);
    assert_eq!(operator.send(Method::DELETE, &path, None).await.status(), 204);
    assert_eq!(server.kill(), [""; 0]);
    let output = invigil(&["doctor", "--deep"], &[("--data", &data)]);
    let output = String::from_utf8(output.stdout).unwrap();
    for check in ["keys", "database", "journal", "records", "photos", "forgotten", "clock"] {
        assert!(output.contains(&format!("ok       {check} ")), "{check}: {output}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_folder_does_not_start_without_its_keys_nor_with_another_server() {
    let home = Home::new(HEARTBEAT_MS);
    let server = Process::start(home.command(&[], None)).await.unwrap();
    let course = home.operator(server.address).course(&[LESSON_MS], QUICK).await;
    course.learner(frame("webcam_man", 1)).await;
    let refused = Process::start(home.command(&[], None)).await.err().expect("two on one folder");
    assert!(refused.contains("another invigil is using it"), "{refused}");
    let (data, backup) = (home.data(), home.path().join("backup"));
    let output = said(&invigil(&["backup", "create"], &[("--data", &data), ("--to", &backup)]), 0);
    assert!(output.contains("keys     not in the backup"), "{output}");
    let refused = said(&invigil(&["backup", "restore", "--replace"], &[("", &backup), ("--to", &data)]), 1);
    assert!(refused.contains("another invigil is using it"), "{refused}");
    assert_eq!(server.kill(), [""; 0]);

    let keys = home.path().join("master.key");
    std::fs::rename(data.join("master.key"), &keys).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    let output = said(&invigil(&["backup", "restore"], &[("", &backup), ("--to", &data)]), 0);
    assert!(output.contains("put master.key into"), "{output}");
    let refused = Process::start(home.command(&[], None)).await.err().expect("no keys");
    assert!(refused.contains("master.key is missing"), "{refused}");
    std::fs::write(data.join("master.key"), [7; 32]).unwrap();
    std::fs::write(data.join("identity.pepper"), [7; 32]).unwrap();
    let refused = Process::start(home.command(&[], None)).await.err().expect("foreign keys");
    assert!(refused.contains("of another installation"), "{refused}");
    std::fs::copy(&keys, data.join("master.key")).unwrap();
    assert_eq!(Process::start(home.command(&[], None)).await.unwrap().kill(), [""; 0]);
}

/// Whether a part of the secret is in any file below the folder.
fn holds(folder: &Path, secret: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, secret);
        }
        let bytes = std::fs::read(&path).unwrap();
        secret.chunks_exact(16).any(|part| bytes.windows(16).any(|window| window == part))
    })
}
