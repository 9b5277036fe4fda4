//! A database as the first release wrote it, opened by this one: everything is as it was, and what was open goes on.

use std::io::Write as _;
use std::path::Path;

use invigil::auth::api_key::ApiKey;
use invigil::auth::keys::{DataKey, Keys};
use invigil::auth::token::LearnerToken;
use invigil::client::ClientKey;
use invigil::clock::{Clock, Entropy};
use invigil::policy::Policy;
use invigil::store::enrolled_photos::seal_template;
use invigil::store::evidence::Evidence;
use invigil::vision::{Checker, Models, Wanted};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::harness::wire::{Wire, at, sha256};
use crate::harness::{Api, Opened, START_MS, Stage, frame, models, replayed};

/// The schema of release 0.1, which nobody may change any more.
const FIRST_SCHEMA: &str = include_str!("../../src/store/schema/0001.sql");
/// Its digest, so that a change of the file shows here.
const FIRST_SCHEMA_SHA256: &str = "c7474a244f9014e9834abf5190806c02e5f8c1c41fa1761fec546b3242969571";

/// What was put into the old database.
struct Old {
    platform_key: String,
    opened: Opened,
    client: ClientKey,
    log: String,
    verdict: String,
    open_log: String,
}

fn example(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples").join(name)).unwrap()
}

/// Rows in every table of the first schema.
async fn write_old(folder: &Path) -> Old {
    let entropy = Entropy::seeded(5);
    let keys = Keys::open_or_create(folder, &entropy).unwrap();
    let data_key = DataKey::generate(&entropy);
    let evidence = Evidence::open(&folder.join("photos")).unwrap();
    let photo = frame("webcam_man", 1);
    let kept = evidence.put(&entropy, &data_key, "photo-1", photo.clone()).await.unwrap();
    let template = Checker::new(&Models::load_with(&models(), Wanted::CPU).unwrap()).unwrap().enrol(&photo).unwrap();
    let (api_key, token) = (ApiKey::generate(&entropy), LearnerToken::generate(&entropy));
    let label = Policy::default().label();
    let log = example("01.jsonl");
    let verdict = replayed(&log, Policy::default());
    let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let closed = first["data"]["session"].as_str().unwrap();
    // The open one: a log that has just begun, of another lesson.
    let mut opening = first.clone();
    opening["at"] = json!(START_MS);
    let learner = first["data"]["learner"].as_str().unwrap();
    for (field, value) in [("session", "open-one"), ("lesson", "le2"), ("policy", &label)] {
        opening["data"][field] = json!(value);
    }
    opening["data"]["duration_ms"] = json!(390_000);
    opening["data"]["facts"]["carried"] = json!({"since_control_ms": 0, "unverified_ms": 0, "face_failures": 0,
        "hour_watch_ms": 0, "hour_has_photo": true, "excess_ms": 0, "conflict_ms": 0, "face_history": []});
    let open_log = format!("{opening}\n");

    let database = Connection::open(folder.join("invigil.sqlite")).unwrap();
    database.execute_batch(FIRST_SCHEMA).unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
    let fixed = "
        INSERT INTO platform (id, name, status, created_at) VALUES ('p1', '青田在线', 'active', 1);
        INSERT INTO project VALUES ('pr1', 'p1', '电工', 10, 'blended', 'default', 1, 1);
        INSERT INTO lesson VALUES ('le1', 'pr1', 1, '第一课', 120000, 'theory', 1, '[]');
        INSERT INTO lesson VALUES ('le2', 'pr1', 2, '第二课', 390000, 'theory', 1,
            '[{\"text\":\"1 + 1 = ?\",\"options\":[\"2\",\"3\",\"4\",\"5\"],\"right\":0}]');
        INSERT INTO outbox (event, platform, ordering, body, state, next_attempt_at, created_at)
            VALUES ('ev1', 'p1', 'o', '{}', 'pending', 1, 1);";
    database.execute_batch(fixed).unwrap();
    let run =
        |sql: &str, values: &[&dyn rusqlite::ToSql]| assert_eq!(database.execute(sql, values).unwrap(), 1, "{sql}");
    run(
        "INSERT INTO api_key (hash, id, platform, label, created_at) VALUES (?1, 'k1', 'p1', 'old', 1)",
        &[&api_key.hash()],
    );
    run("INSERT INTO learner VALUES (?1, 1, ?2, 1)", &[&learner, &keys.wrap(&entropy, learner, &data_key)]);
    run("INSERT INTO learner_identity VALUES (?1, ?2)", &[&keys.identity("110101199003070011"), &learner]);
    run("INSERT INTO platform_learner VALUES ('p1', ?1, 'Ms L', 1)", &[&learner]);
    let sealed = seal_template(&data_key, &entropy, learner, 1, &template.to_bytes());
    run(
        "INSERT INTO enrolled_photo VALUES (?1, 1, ?2, ?3, ?4, 'p1', 1)",
        &[&learner, &sha256(&photo), &kept.as_str(), &sealed],
    );
    run("INSERT INTO enrolment VALUES ('e1', 'pr1', ?1, 0, 1)", &[&learner]);
    for (key, id, lesson, closed_at) in [(1, closed, "le1", Some(2)), (2, "open-one", "le2", None)] {
        let seed = keys.master().seal(&entropy, &format!("seed {id}"), &entropy.bytes::<32>());
        database
            .execute(
                "INSERT INTO session VALUES (?1, ?2, 'p1', ?3, 'pr1', ?4, 0, ?5, NULL, 1, ?6)",
                params![key, id, learner, lesson, seed, closed_at],
            )
            .unwrap();
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(log.as_bytes()).unwrap();
    let digest = serde_json::from_str::<Value>(&verdict).unwrap()["log_digest"].as_str().unwrap().to_owned();
    let count = log.lines().count() as i64;
    run("INSERT INTO segment VALUES (1, ?1, ?2, ?3)", &[&count, &digest, &encoder.finish().unwrap()]);
    run("INSERT INTO verdict VALUES (1, 1, 'valid', ?1, 2)", &[&verdict]);
    run("INSERT INTO photo VALUES (1, 'c1', 'd', 'photo-1', 1)", &[]);
    run("INSERT INTO journal (session, first_n, count, lines) VALUES (2, 1, 1, ?1)", &[&open_log.as_bytes()]);
    run("INSERT INTO token VALUES (?1, 2, ?2)", &[&token.hash(), &(START_MS + 900_000)]);
    let opened = Opened { session: "open-one".into(), token: token.expose().to_owned() };
    let platform_key = api_key.expose().to_owned();
    Old { platform_key, opened, client: ClientKey::generate().unwrap(), log, verdict, open_log }
}

#[tokio::test]
async fn a_database_of_the_first_release_is_taken_over_whole() {
    assert_eq!(sha256(FIRST_SCHEMA.as_bytes()), FIRST_SCHEMA_SHA256, "a released schema never changes: add a step");
    let folder = tempfile::tempdir().unwrap();
    let old = write_old(folder.path()).await;
    let stage = Stage::start_in(folder, Clock::manual(START_MS), Clock::manual(START_MS)).await;
    let platform = Api::new(&stage.server.as_ref().unwrap().public_url, &old.platform_key);

    // What was closed is as it was, and still follows from its log.
    let sessions = platform.get("/sessions").await;
    let closed = sessions["items"].as_array().unwrap().iter().find(|session| !session["closed_at"].is_null()).unwrap();
    let path = format!("/sessions/{}", closed["id"].as_str().unwrap());
    assert_eq!(platform.text(&format!("{path}/log")).await, old.log);
    assert_eq!(platform.text(&format!("{path}/verdict")).await, old.verdict);
    assert_eq!(replayed(&old.log, Policy::default()), old.verdict);
    let learner = platform.get(&format!("/learners/{}", closed["learner"].as_str().unwrap())).await;
    assert_eq!((&learner["photo_version"], &learner["external_reference"]), (&json!(1), &json!("Ms L")));
    let named = platform.post("/learners", json!({"id_number": "110101199003070011"})).await;
    assert_eq!(named["id"], learner["id"], "the same person");
    assert_eq!(platform.get("/projects/pr1").await["lessons"].as_array().unwrap().len(), 2);
    assert_eq!(platform.get("/projects/pr1/enrolments").await["items"][0]["learner"], learner["id"]);

    // What was open goes on where it was.
    assert_eq!(stage.server.as_ref().unwrap().recovered, 1);
    let (mut wire, welcome) = Wire::enter(&stage.stream_url(), &old.opened, &old.client, 0).await;
    assert_eq!(welcome["acknowledged"], 0);
    wire.kept(0, "heartbeat", at(0)).await;
    platform.post(&format!("/sessions/{}/close", old.opened.session), json!({"reason": "left"})).await;
    let log = platform.text("/sessions/open-one/log").await;
    assert!(log.starts_with(&old.open_log) && log.contains("session.closed"), "{log}");
    assert_eq!(platform.text("/sessions/open-one/verdict").await, replayed(&log, Policy::default()));
}

#[tokio::test]
async fn a_database_of_a_later_release_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    Keys::open_or_create(folder.path(), &Entropy::seeded(1)).unwrap();
    let path = folder.path().join("invigil.sqlite");
    let database = Connection::open(&path).unwrap();
    database.execute_batch("CREATE TABLE of_the_future (id INTEGER); PRAGMA user_version = 99;").unwrap();
    let refused = Stage::refused(folder.path()).await;
    assert!(refused.contains("the database has schema 99") && refused.contains("use the newer one"), "{refused}");
    let tables: i64 = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}
