//! Photos in an S3-compatible store, from the page to the forgetting: the real server, the real protocol, a store that is
//! away for a while.

use std::path::PathBuf;
use std::process::{Command, Output};

use axum::http::StatusCode;
use invigil::client::ClientKey;
use invigil::clock::Clock;
use invigil::config::{Config, EvidenceSettings, Secret};
use invigil::store::evidence::{Evidence, EvidenceId};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::process::{Home, Process};
use crate::harness::s3::{BUCKET, PREFIX, S3, Trouble};
use crate::harness::wire::{Wire, at, play};
use crate::harness::{
    Course, Opened, QUICK, START_MS, Stage, face_checks, frame, models, new_id_number, quick_pack, text,
};

const LESSON_MS: i64 = 390_000;
const DAY_MS: i64 = 86_400_000;

/// A server whose photos are in a store, and somebody enrolled on it.
struct Class {
    stage: Stage,
    s3: S3,
    course: Course,
    learner: String,
}

impl Class {
    async fn new(edit: impl FnOnce(&mut Config)) -> Self {
        let s3 = S3::start().await;
        let settings = s3.settings();
        let (clock, wall) = (Clock::manual(START_MS), Clock::manual(START_MS));
        let stage = Stage::start_with(clock, wall, |folder, config| {
            config.evidence = settings;
            config.policies = vec![quick_pack(folder, 5_000)];
            edit(config);
        })
        .await;
        let course = stage.operator.course(&[LESSON_MS], QUICK).await;
        let learner = course.learner(frame("webcam_man", 1)).await;
        Self { stage, s3, course, learner }
    }

    async fn open(&self) -> Sitting {
        let opened = self.course.open(&self.course.lessons[0], &self.learner).await;
        let key = ClientKey::generate().unwrap();
        let (mut wire, _) = Wire::enter(&self.stage.stream_url(), &opened, &key, 0).await;
        wire.kept(0, "playback", play(0)).await;
        Sitting { opened, wire, ct: 0, answered: 0 }
    }

    async fn log(&self, session: &str) -> Vec<Value> {
        let log = self.course.platform.text(&format!("/sessions/{session}/log")).await;
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Outcomes of all face checks in a session's log, each with the digest of the photo if it was kept.
    async fn outcomes(&self, session: &str) -> Vec<(String, Value)> {
        let checks = face_checks(&self.log(session).await);
        checks.iter().map(|check| (text(check, "outcome"), check["photo"].clone())).collect()
    }

    fn database(&self) -> Connection {
        Connection::open(self.stage.folder.path().join("invigil.sqlite")).unwrap()
    }

    /// What names the photos of captures, and when they were deleted.
    fn photos(&self) -> Vec<(String, Option<i64>)> {
        let database = self.database();
        let mut statement = database.prepare("SELECT evidence, deleted_at FROM photo ORDER BY created_at").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }
}

/// A learner before the page.
struct Sitting {
    opened: Opened,
    wire: Wire,
    ct: i64,
    /// captures that were answered
    answered: usize,
}

impl Sitting {
    /// Watches on until the next photo is asked for, answering prompts as it comes.
    async fn capture(&mut self, stage: &Stage) -> Value {
        for _ in 0..60 {
            if let Some(capture) = self.wire.seen_of("capture").get(self.answered) {
                self.answered += 1;
                return (*capture).clone();
            }
            stage.advance_ms(1_000);
            self.ct += 1_000;
            let before = self.wire.seen.len();
            self.wire.kept(self.ct, "heartbeat", at(self.ct)).await;
            // A second acknowledgement: what the first brought about has been sent by then.
            self.wire.kept(self.ct, "windows", json!({"count": 1})).await;
            for prompt in self.wire.seen[before..].to_vec().iter().filter(|message| message["type"] == "prompt") {
                let data = json!({"prompt": prompt["prompt"], "answer": "right"});
                self.wire.kept(self.ct, "prompt.answered", data).await;
            }
        }
        panic!("no capture within a minute");
    }

    /// Sends a photo and returns what came of it.
    async fn send(&mut self, capture: &Value, number: u32) -> String {
        let photo = frame("webcam_man", number);
        self.wire.commit(self.ct, capture, &photo).await;
        self.wire.photo(capture, &photo).await;
        text(&self.wire.expect("capture.closed").await, "outcome")
    }

    async fn leave(mut self) -> Value {
        self.wire.send(json!({"type": "close", "reason": "left"})).await;
        self.wire.expect("closed").await
    }
}

#[tokio::test]
async fn a_photo_goes_to_the_store_sealed_is_checked_and_is_nobodys_once_the_learner_is_forgotten() {
    let class = Class::new(|_| ()).await;
    assert_eq!(class.s3.photos().len(), 1, "the enrolment photo");
    let mut sitting = class.open().await;
    let capture = sitting.capture(&class.stage).await;
    assert_eq!(sitting.send(&capture, 9).await, "match");
    let session = sitting.opened.session.clone();
    sitting.leave().await;

    let names = class.s3.photos();
    assert_eq!(names.len(), 2);
    let copies: Vec<(String, Vec<u8>)> =
        names.iter().map(|name| (name.clone(), std::fs::read(class.s3.file(name)).unwrap())).collect();
    for (_, sealed) in &copies {
        assert!(!sealed.starts_with(b"\xff\xd8"), "a JPEG lies there in the clear");
    }
    assert!(!class.stage.folder.path().join("photos").exists(), "nothing is kept beside the store");

    let path = format!("/learners/{}", class.learner);
    assert_eq!(class.stage.operator.send(Method::DELETE, &path, None).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(class.s3.photos(), [""; 0]);
    // Whoever kept a copy has nothing: the key is gone, and no other opens it.
    let keys: i64 = class
        .database()
        .query_row("SELECT count(*) FROM learner WHERE id = ?1 AND data_key IS NOT NULL", [&class.learner], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(keys, 0);
    for (name, sealed) in &copies {
        std::fs::create_dir_all(class.s3.file(name).parent().unwrap()).unwrap();
        std::fs::write(class.s3.file(name), sealed).unwrap();
    }
    let evidence = Config { evidence: class.s3.settings(), ..Config::default() };
    let evidence = Evidence::configured(&evidence).unwrap();
    let other = invigil::auth::keys::DataKey::generate(&invigil::clock::Entropy::system());
    for name in &names {
        assert!(evidence.get(&other, &EvidenceId::parse(name).unwrap()).await.is_err());
    }
    assert_eq!(class.outcomes(&session).await[0].0, "match", "the log stays");
}

#[tokio::test]
async fn a_store_that_is_away_costs_no_session_and_no_blame_and_the_photo_is_asked_for_again() {
    let mut class = Class::new(|_| ()).await;
    let mut sitting = class.open().await;
    let session = sitting.opened.session.clone();
    class.s3.stop().await;
    let capture = sitting.capture(&class.stage).await;
    assert_eq!(sitting.send(&capture, 9).await, "error");
    assert_eq!(sitting.wire.seen_of("photo.received").len(), 0, "nobody was told that it is kept");

    // Nobody is enrolled with a photo that is not kept, and is told when to come again.
    let learner = class.course.platform.post("/learners", json!({"id_number": new_id_number()})).await;
    let refused = class.course.platform.photo(&text(&learner, "id"), frame("film_woman", 80)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));

    class.s3.start_again().await;
    let capture = sitting.capture(&class.stage).await;
    assert_eq!(sitting.send(&capture, 10).await, "match");
    let accepted = class.course.platform.photo(&text(&learner, "id"), frame("film_woman", 80)).await;
    assert_eq!(accepted.status(), StatusCode::CREATED);

    // The store says no for a moment: it is asked again before anybody hears of it.
    class.s3.give_trouble(2, Trouble::Answers(StatusCode::SERVICE_UNAVAILABLE));
    let capture = sitting.capture(&class.stage).await;
    assert_eq!(sitting.send(&capture, 11).await, "match");

    let closed = sitting.leave().await;
    let outcomes = class.outcomes(&session).await;
    let words: Vec<&str> = outcomes.iter().map(|(outcome, _)| outcome.as_str()).collect();
    assert_eq!(words, ["error", "match", "match"]);
    assert!(outcomes[0].1.is_null() && outcomes[1].1.is_string(), "{outcomes:?}");
    let violations = closed["verdict"]["violations"].as_array().unwrap();
    assert!(violations.iter().all(|violation| violation["rule"] != "face_liveness"), "{violations:?}");
    assert_eq!(class.photos().len(), 2);
    assert_eq!(class.s3.photos().len(), 4, "two enrolled, two captured");
}

#[tokio::test]
async fn a_store_that_is_away_is_said_once_and_that_it_is_back() {
    let (home, mut s3) = (Home::new(100), S3::start().await);
    home.configure(&s3.toml());
    let server = Process::start(home.command(&[], None)).await.unwrap();
    let course = home.operator(server.address).course(&[LESSON_MS], QUICK).await;
    let learner = course.platform.post("/learners", json!({"id_number": new_id_number()})).await;
    let enrol = async || course.platform.photo(&text(&learner, "id"), frame("webcam_man", 1)).await.status();
    s3.stop().await;
    for _ in 0..3 {
        assert_eq!(enrol().await, StatusCode::SERVICE_UNAVAILABLE);
    }
    s3.start_again().await;
    assert_eq!(enrol().await, StatusCode::CREATED);
    server.said("the store of photos is back", 1).await;
    let errors = server.kill();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].contains("the store of photos is away") && errors[0].contains("s3://evidence"), "{errors:#?}");
}

#[tokio::test]
async fn a_server_starts_without_its_store_but_not_with_one_that_knows_it_not() {
    let mut s3 = S3::start().await;
    let settings = s3.settings();
    s3.stop().await;
    let clock = || Clock::manual(START_MS);
    let mut stage = Stage::start_with(clock(), clock(), |_, config| config.evidence = settings.clone()).await;
    stage.server.take().unwrap().stop().await;

    s3.start_again().await;
    let secret_access_key = Some(Secret::new("wrong"));
    let wrong = EvidenceSettings { secret_access_key, ..settings };
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_folder: stage.folder.path().into(),
        models_folder: models(),
        evidence: wrong,
        ..Config::default()
    };
    let entropy = invigil::clock::Entropy::system();
    let setup = invigil::lifecycle::ServerConfig { config, clock: clock(), wall: clock(), entropy };
    let refused = invigil::lifecycle::Server::start(setup).await.err().expect("it must not start").to_string();
    assert!(refused.starts_with("photos: ") && refused.contains("403 Forbidden"), "{refused}");
    assert!(!refused.contains("wrong"), "{refused}");
}

#[tokio::test]
async fn photos_past_their_retention_go_and_what_is_known_of_them_stays() {
    let mut class = Class::new(|config| config.evidence.retention_days = 60).await;
    let mut sitting = class.open().await;
    let capture = sitting.capture(&class.stage).await;
    assert_eq!(sitting.send(&capture, 9).await, "match");
    let old = sitting.opened.session.clone();
    sitting.leave().await;
    let verdict = class.course.platform.text(&format!("/sessions/{old}/verdict")).await;
    let status = serde_json::from_str::<Value>(&verdict).unwrap()["status"].clone();
    assert_ne!(status, "review", "this one is decided");

    // Somebody who still learns when the other's photo has become old.
    class.stage.advance_ms(60 * DAY_MS);
    let mut sitting = class.open().await;
    let capture = sitting.capture(&class.stage).await;
    assert_eq!(sitting.send(&capture, 10).await, "match");
    let young = sitting.opened.session.clone();
    sitting.leave().await;
    let settings = EvidenceSettings { retention_days: 60, ..class.s3.settings() };
    class
        .stage
        .restart_with(|folder, config| {
            config.evidence = settings;
            config.policies = vec![folder.join("quick.toml")];
        })
        .await;
    let mut walks = class.stage.server.as_ref().unwrap().retention_walks().expect("it is configured");
    walks.wait_for(|walks| *walks >= 1).await.unwrap();

    let photos = class.photos();
    assert!(photos[0].1.is_some() && photos[1].1.is_none(), "{photos:?}");
    let there = class.s3.photos();
    assert!(!there.contains(&photos[0].0) && there.contains(&photos[1].0), "{there:?}");
    assert_eq!(there.len(), 2, "the enrolment photo stays too");
    let operator = &class.stage.operator;
    assert_eq!(operator.text(&format!("/sessions/{old}/verdict")).await, verdict);
    let ledger = operator.get("/ledger").await;
    for session in [&old, &young] {
        let entry = ledger["items"].as_array().unwrap().iter().find(|entry| entry["session"] == **session).unwrap();
        assert_eq!(entry["photos"].as_array().unwrap().len(), 1, "{entry}");
    }
}

fn invigil(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_invigil")).args(arguments).output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_and_backup_know_that_photos_are_elsewhere() {
    let mut class = Class::new(|_| ()).await;
    let mut sitting = class.open().await;
    let capture = sitting.capture(&class.stage).await;
    assert_eq!(sitting.send(&capture, 9).await, "match");
    sitting.leave().await;
    class.stage.server.take().unwrap().stop().await;
    let photo = class.photos()[0].0.clone();

    let (data, elsewhere) = (class.stage.folder.path(), tempfile::tempdir().unwrap());
    let config = elsewhere.path().join("invigil.toml");
    let text = format!("data_folder = {data:?}\nmodels_folder = {:?}\n{}", models(), class.s3.toml());
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let doctor = |deep: bool| {
        let said = invigil(&[&["doctor", "--config", config][..], if deep { &["--deep"] } else { &[] }].concat()).1;
        said.lines().filter(|line| line.contains(" photo")).collect::<Vec<_>>().join("\n")
    };
    let place = format!("s3://{BUCKET}/{PREFIX}");
    assert!(doctor(false).contains(&format!("the newest 1 photos are in {place}")), "{}", doctor(false));
    assert!(doctor(true).contains(&format!("all 2 photos are in {place}")), "{}", doctor(true));

    let backup: PathBuf = elsewhere.path().join("backup");
    let backup = backup.to_str().unwrap();
    let (code, said) = invigil(&["backup", "create", "--config", config, "--to", backup]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("they are in {place}")), "{said}");
    let (code, said) = invigil(&["backup", "verify", backup]);
    assert_eq!(code, Some(0), "{said}");

    let file = class.s3.file(&photo);
    std::fs::rename(&file, file.with_file_name("stray")).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::open(file.with_file_name("stray")).unwrap().set_modified(old).unwrap();
    assert!(doctor(false).contains(&format!("ERROR    photos     the object of photo {photo} is missing")));
    let said = doctor(true);
    assert!(said.contains(&format!("the object of photo {photo} is missing")), "{said}");
    assert!(said.contains("WARNING") && said.contains("stray"), "{said}");
    class.s3.stop().await;
    let said = doctor(false);
    assert!(said.contains("ERROR    photos     s3://"), "{said}");
}
