//! Disks that are full, read-only or damaged, and clocks that are wrong: docs/faults.md, proved on the real server.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use invigil::client::ClientKey;
use invigil::clock::{Clock, Entropy};
use invigil::policy::Policy;
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::crash::check_one;
use crate::harness::disk::{FailingDisk, SmallDisk};
use crate::harness::process::{Home, Process};
use crate::harness::pupil::{Camera, Pupil};
use crate::harness::wire::{Wire, at, play};
use crate::harness::{Course, Opened, PEOPLE, QUICK, START_MS, Stage, frame, replayed};

const HEARTBEAT_MS: i64 = 100;
const LESSON_MS: i64 = 600_000;
const REFUSES: &str = "the disk refuses what must be made durable";
const TAKES_AGAIN: &str = "the disk takes writes again";

/// A course on a server, and who learns in it.
struct Class {
    home: Home,
    course: Course,
    url: String,
}

impl Class {
    async fn new(home: Home, server: &Process) -> Self {
        let course = home.operator(server.address).course(&[LESSON_MS], QUICK).await;
        Self { home, course, url: format!("ws://{}/v1/stream", server.address) }
    }

    /// Somebody of the harness's people, who learns.
    async fn pupil(&self, who: usize) -> Pupil {
        let (person, enrolled, frames) = PEOPLE[who].clone();
        let learner = self.course.learner(frame(person, enrolled)).await;
        let opened = self.course.open(&self.course.lessons[0], &learner).await;
        let camera = Camera::new(person, frames);
        Pupil::sit_down(&self.url, opened, camera, Entropy::seeded(who as u64), HEARTBEAT_MS, Arc::new(Notify::new()))
    }

    /// A new session is refused, with the hint when to come back.
    async fn expect_new_session_refused(&self, learner: &str) {
        let body = json!({"lesson": self.course.lessons[0], "learner": learner});
        let refused = self.course.platform.send(Method::POST, "/sessions", Some(body)).await;
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["type"], "urn:invigil:problem:busy");
        assert!(problem["detail"].as_str().unwrap().contains("cannot write to its disk"), "{problem}");
    }
}

fn command(home: &Home, disk: &SmallDisk, listen: Option<std::net::SocketAddr>) -> Command {
    let wrapper = disk.enter();
    home.command(&wrapper.iter().map(String::as_str).collect::<Vec<_>>(), listen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_the_session_goes_on_when_there_is_room() {
    let home = Home::new(HEARTBEAT_MS);
    let disk = SmallDisk::mount(&home.data(), "24m");
    let server = Process::start(command(&home, &disk, None)).await.unwrap();
    let address = server.address;
    // The operator's key lies on the disk, which only the server sees under that name.
    std::fs::create_dir_all(home.data()).unwrap();
    std::fs::copy(disk.path().join("operator.key"), home.data().join("operator.key")).unwrap();
    let class = Class::new(home, &server).await;
    let late = class.course.learner(frame("webcam_man", 1)).await;
    let mut pupil = class.pupil(1).await;
    pupil.watch(Clock::system().sleep_ms(500)).await;

    disk.fill();
    pupil.watch(server.said(REFUSES, 1)).await;
    class.expect_new_session_refused(&late).await;
    // What is there can be read all the while.
    class.course.platform.get("/sessions").await;
    disk.make_room();
    pupil.watch(server.said(TAKES_AGAIN, 1)).await;
    pupil.watch(Clock::system().sleep_ms(500)).await;

    // Once more, and this time the server dies over it.
    disk.fill();
    pupil.watch(server.said(REFUSES, 2)).await;
    let errors = server.kill();
    assert!(
        errors.iter().all(|line| line.contains(REFUSES)),
        "a full disk is said once, not over and over: {errors:#?}"
    );
    disk.make_room();
    let server = Process::start(command(&class.home, &disk, Some(address))).await.unwrap();
    pupil.watch(Clock::system().sleep_ms(1_000)).await;
    let kept = pupil.leave().await;
    assert!(kept.acknowledged > 0);
    check_one(&class.course, &kept.session, Some(&kept), &class.home.policy()).await;
    class.course.open(&class.course.lessons[0], &late).await;
    assert_eq!(server.kill(), [""; 0]);
}

#[tokio::test]
async fn a_read_only_folder_is_refused_at_the_start_in_plain_words() {
    let home = Home::new(HEARTBEAT_MS);
    let disk = SmallDisk::mount(&home.data(), "24m");
    drop(Process::start(command(&home, &disk, None)).await.unwrap());
    disk.remount("remount,ro");
    let said = Process::start(command(&home, &disk, None)).await.err().expect("it cannot serve");
    assert!(said.contains("data_folder") && said.contains("Read-only file system"), "{said}");
    assert!(said.contains("needs a folder that it can write to"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_and_becomes_read_only_loses_nothing_that_it_holds() {
    let home = Home::new(HEARTBEAT_MS);
    let mut disk = FailingDisk::mount(&home.data());
    let server = Process::start(home.command(&[], None)).await.unwrap();
    let address = server.address;
    let class = Class::new(home, &server).await;
    let late = class.course.learner(frame("webcam_man", 1)).await;
    let mut pupil = class.pupil(1).await;
    pupil.watch(Clock::system().sleep_ms(500)).await;
    disk.fail();
    pupil.watch(server.said(REFUSES, 1)).await;
    class.expect_new_session_refused(&late).await;
    server.kill();
    disk.repair();
    let server = Process::start(class.home.command(&[], Some(address))).await.unwrap();
    pupil.watch(Clock::system().sleep_ms(1_000)).await;
    let kept = pupil.leave().await;
    assert!(kept.acknowledged > 0);
    check_one(&class.course, &kept.session, Some(&kept), &class.home.policy()).await;
    assert_eq!(server.kill(), [""; 0]);
}

/// A session of which the log holds `mark`, acknowledged and still open.
async fn marked(class: &Class, mark: &str) -> (Opened, ClientKey, Wire) {
    let learner = class.course.learner(frame("webcam_man", 1)).await;
    let opened = class.course.open(&class.course.lessons[0], &learner).await;
    let key = ClientKey::generate().unwrap();
    let (mut wire, _) = Wire::enter(&class.url, &opened, &key, 0).await;
    let mut data = play(0);
    data["mark"] = json!(mark);
    wire.kept(0, "playback", data).await;
    (opened, key, wire)
}

async fn close(wire: &mut Wire) {
    wire.send(json!({"type": "close", "reason": "left"})).await;
    // A capture may stand in the way of the end; nobody answers it here, so it is revoked from outside.
}

/// Moves everything into the database file itself, and says on which page a table or index begins.
fn settle(data: &Path, object: Option<&str>) -> u64 {
    let database = Connection::open(data.join("invigil.sqlite")).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    object.map_or(0, |name| database.query_row(root, [name], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs())
}

/// Replaces the only place in the database file that says `old`.
fn alter(data: &Path, old: &str, new: &str) {
    assert!(old.len() == new.len() && old != new);
    let path = data.join("invigil.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    let places: Vec<usize> = bytes
        .windows(old.len())
        .enumerate()
        .filter(|(_, window)| *window == old.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "{old} is not in the database");
    for place in places {
        bytes[place..place + old.len()].copy_from_slice(new.as_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

/// Fills the header of a page, and what it points to, with nonsense.
fn wreck(data: &Path, page: u64) {
    let path = data.join("invigil.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    let from = (page - 1) as usize * 4096;
    bytes[from..from + 64].fill(0xa5);
    std::fs::write(path, bytes).unwrap();
}

fn doctor(data: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_invigil"))
        .args(["doctor", "--json", "--deep", "--data"])
        .arg(data)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bytes_are_noticed_and_never_judged() {
    let home = Home::new(HEARTBEAT_MS);
    let server = Process::start(home.command(&[], None)).await.unwrap();
    let class = Class::new(home, &server).await;
    let platform = &class.course.platform;
    // Two that are closed, and two that go on.
    let mut closed = Vec::new();
    for mark in ["closed-one", "closed-two"] {
        let (opened, _, wire) = marked(&class, mark).await;
        platform
            .send(Method::POST, &format!("/sessions/{}/close", opened.session), Some(json!({"reason": "left"})))
            .await;
        platform.get(&format!("/sessions/{}/verdict", opened.session)).await;
        drop(wire);
        closed.push(opened.session);
    }
    let (hurt, hurt_key, wire) = marked(&class, "the-hurt-row").await;
    drop(wire);
    let (sound, sound_key, wire) = marked(&class, "the-sound-row").await;
    drop(wire);
    assert_eq!(server.kill(), [""; 0]);
    let data = class.home.data();
    settle(&data, None);

    // A digit in a live row, as it would turn a learner's position; one in a verdict; a byte of a sealed log.
    alter(&data, r#""mark":"the-hurt-row""#, r#""mark":"the-hurt-rox""#);
    let body = verdict_of(&data, &closed[0]);
    let status = body.find(r#""status":""#).unwrap() + 10;
    let altered = format!("{}X{}", &body[..status], &body[status + 1..]);
    alter(&data, &body[..status + 8], &altered[..status + 8]);
    {
        let database = Connection::open(data.join("invigil.sqlite")).unwrap();
        let sql = "UPDATE segment SET lines = CAST(substr(lines, 1, 40) || x'00' || substr(lines, 42) AS BLOB)
                   WHERE session = (SELECT key FROM session WHERE id = ?1)";
        assert_eq!(database.execute(sql, [&closed[1]]).unwrap(), 1);
    }
    let (code, said) = doctor(&data);
    assert_eq!(code, Some(3), "{said}");
    for session in [&hurt.session, &closed[0], &closed[1]] {
        assert!(said.contains(session.as_str()), "{session} is not named: {said}");
    }
    assert!(!said.contains(&sound.session), "{said}");

    let server = Process::start(class.home.command(&[], Some(server_address(&class)))).await.unwrap();
    assert!(server.log().iter().any(|line| line.contains(&hurt.session) && line.contains("its checksum differs")));
    for (path, status) in [
        (format!("/sessions/{}/verdict", closed[0]), 500),
        (format!("/sessions/{}/log", closed[1]), 500),
        (format!("/sessions/{}/log", hurt.session), 500),
        (format!("/sessions/{}/verdict", hurt.session), 404),
    ] {
        assert_eq!(platform.send(Method::GET, &path, None).await.status(), status, "{path}");
    }
    // Whoever holds the damaged session is told to come back; nothing is made up.
    let (mut turned_away, nonce) = Wire::connect(&class.url).await;
    turned_away.send(Wire::hello(&hurt, &hurt_key, &nonce, 0)).await;
    assert_eq!(turned_away.refusal().await.0, "overloaded");
    // The other goes on as if nothing had been.
    let (mut wire, welcome) = Wire::enter(&class.url, &sound, &sound_key, 0).await;
    assert_eq!(welcome["acknowledged"], 1);
    wire.seq = 1;
    wire.kept(1, "heartbeat", at(1)).await;
    close(&mut wire).await;
    let path = format!("/sessions/{}/close", sound.session);
    platform.send(Method::POST, &path, Some(json!({"reason": "left"}))).await;
    let log = platform.text(&format!("/sessions/{}/log", sound.session)).await;
    let verdict = platform.text(&format!("/sessions/{}/verdict", sound.session)).await;
    assert_eq!(verdict, replayed(&log, class.home.policy()));
    server.kill();
}

fn server_address(class: &Class) -> std::net::SocketAddr {
    class.url.strip_prefix("ws://").unwrap().strip_suffix("/v1/stream").unwrap().parse().unwrap()
}

fn verdict_of(data: &Path, session: &str) -> String {
    let database = Connection::open(data.join("invigil.sqlite")).unwrap();
    let sql = "SELECT body FROM verdict JOIN session ON session.key = verdict.session WHERE session.id = ?1";
    database.query_row(sql, [session], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrecked_page_is_noticed_before_or_when_it_is_read() {
    let home = Home::new(HEARTBEAT_MS);
    let server = Process::start(home.command(&[], None)).await.unwrap();
    let class = Class::new(home, &server).await;
    let (opened, ..) = marked(&class, "a-mark").await;
    server.kill();
    let data = class.home.data();

    // An index by which sessions are listed: who needs it is told that the server failed; nobody is told a half list.
    let page = settle(&data, Some("session_of_platform"));
    let whole = std::fs::read(data.join("invigil.sqlite")).unwrap();
    wreck(&data, page);
    let (code, said) = doctor(&data);
    assert!(code == Some(3) && said.contains(r#""check":"database","level":"error""#), "{said}");
    let server = Process::start(class.home.command(&[], Some(server_address(&class)))).await.unwrap();
    assert_eq!(class.course.platform.send(Method::GET, "/sessions", None).await.status(), 500);
    assert!(class.course.platform.text(&format!("/sessions/{}/log", opened.session)).await.contains("a-mark"));
    server.kill();

    // The journal: nothing can be trusted to be whole, so the server does not start, and says what to do.
    std::fs::write(data.join("invigil.sqlite"), &whole).unwrap();
    std::fs::remove_file(data.join("invigil.sqlite-wal")).unwrap();
    let page = settle(&data, Some("journal"));
    wreck(&data, page);
    let said = Process::start(class.home.command(&[], None)).await.err().expect("it must not serve");
    assert!(said.contains("the journal of open sessions is damaged") && said.contains("restore a backup"), "{said}");
    let (code, said) = doctor(&data);
    assert!(code == Some(3) && said.contains(r#""check":"database","level":"error""#), "{said}");
}

#[tokio::test]
async fn a_clock_that_was_set_back_blames_no_honest_learner() {
    let mut stage = Stage::start().await;
    let course = stage.course(&[390_000]).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let key = ClientKey::generate().unwrap();
    let (mut wire, _) = Wire::enter(&stage.stream_url(), &opened, &key, 0).await;
    wire.kept(0, "playback", play(0)).await;
    let mut ct = 0;
    for _ in 0..4 {
        stage.advance_ms(5_000);
        ct += 5_000;
        wire.kept(ct, "heartbeat", at(ct)).await;
    }
    let seq = wire.seq;
    // The machine's clock is set back by an hour while the server is down.
    drop(wire);
    (stage.clock, stage.wall) = (Clock::manual(START_MS - 3_600_000), Clock::manual(START_MS - 3_600_000));
    stage.restart().await;
    let platform = crate::harness::Api::new(&stage.server.as_ref().unwrap().public_url, &course.platform.key);
    let (mut wire, welcome) = Wire::enter(&stage.stream_url(), &opened, &key, ct).await;
    assert_eq!(welcome["acknowledged"], seq);
    wire.seq = seq;
    for _ in 0..4 {
        stage.advance_ms(5_000);
        ct += 5_000;
        wire.kept(ct, "heartbeat", at(ct)).await;
    }
    platform.post(&format!("/sessions/{}/close", opened.session), json!({"reason": "left"})).await;
    let log = platform.text(&format!("/sessions/{}/log", opened.session)).await;
    let verdict = platform.text(&format!("/sessions/{}/verdict", opened.session)).await;
    assert_eq!(verdict, replayed(&log, Policy::default()));
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    let found: Vec<&Value> = verdict["violations"].as_array().unwrap().iter().map(|one| &one["rule"]).collect();
    assert!(!found.iter().any(|rule| ["fast_forward", "clock_tamper"].contains(&rule.as_str().unwrap())), "{verdict}");
    // Time went on: 20 s before the restart and 20 s after it.
    let times: Vec<i64> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["type"] == "heartbeat")
        .map(|line| line["at"].as_i64().unwrap() - START_MS)
        .collect();
    assert_eq!(times, [5_000, 10_000, 15_000, 20_000, 25_000, 30_000, 35_000, 40_000]);
}
