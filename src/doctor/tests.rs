use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::clock::{Clock, Entropy};
use crate::store::{Store, fixture};

/// The folder of a server that has been started once, and what the doctor is told of it.
struct Patient {
    folder: tempfile::TempDir,
    store: Store,
    config: Config,
    now_ms: i64,
}

impl Patient {
    async fn new() -> Self {
        let (folder, store) = fixture::embedded_with_session("s1").await;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Keys::open_or_create(folder.path(), &Entropy::seeded(1)).unwrap();
        fixture::execute(&store, "UPDATE session SET closed_at = 5").await;
        fixture::seal(&store, 1, b"one\n", "").await;
        let mut config = Config { data_folder: folder.path().to_owned(), ..Config::default() };
        config.limits.connections_limit = 1;
        Self { folder, store, config, now_ms: Clock::system().now_ms() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Levels of a check, and all its words.
    fn says(&self, check: &str, deep: bool) -> (Level, String) {
        let mut findings = Findings::default();
        // The models are the same in every case: they are looked at once, elsewhere.
        let config = Config { models_folder: "nowhere".into(), ..self.config.clone() };
        findings.0 = examine(&config, deep, self.now_ms);
        let about: Vec<_> = findings.0.iter().filter(|finding| finding.check == check).collect();
        assert!(!about.is_empty(), "nothing about {check} in {:?}", findings.0);
        let words = about.iter().map(|finding| finding.what.clone()).collect::<Vec<_>>().join("\n");
        assert!(about.iter().all(|finding| (finding.level == Level::Ok) == finding.advice.is_none()), "{about:?}");
        (about.iter().map(|finding| finding.level).max().unwrap(), words)
    }

    fn expect(&self, check: &str, level: Level, words: &str) {
        for deep in [false, true] {
            let (found, said) = self.says(check, deep);
            assert!(found == level && said.contains(words), "{check} (deep: {deep}): {found:?} {said}");
        }
    }
}

#[tokio::test]
async fn a_healthy_folder_is_called_healthy() {
    let patient = Patient::new().await;
    for check in [
        "folder",
        "fsync",
        "schema",
        "keys",
        "database",
        "journal",
        "records",
        "photos",
        "forgotten",
        "clock",
        "webhooks",
        "files",
    ] {
        patient.expect(check, Level::Ok, "");
    }
    let models = crate::doctor::tests::models_of(&patient.config);
    assert_eq!(models.iter().map(|finding| finding.level).max(), Some(Level::Error), "no models were named");
}

fn models_of(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::default();
    look_at_models(&config.models_folder.join("nowhere"), config.vision.wanted(), &mut findings);
    findings.0
}

#[tokio::test]
async fn a_certificate_that_ends() {
    // 2031-03-15, at midnight.
    const ENDS_AT_S: i64 = 1_931_299_200;
    let mut patient = Patient::new().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2031, 3, 15);
    let certificate = params.self_signed(&key).unwrap();
    let (certificate_file, key_file) = (patient.path("cert.pem"), patient.path("key.pem"));
    fs::write(&certificate_file, certificate.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    patient.config.tls = Tls { certificate_file: Some(certificate_file), key_file: Some(key_file.clone()) };
    for (days_before, level, words) in [
        (40, Level::Ok, "is good for 40 days"),
        (14, Level::Ok, "is good for 14 days"),
        (13, Level::Warning, "ends in 13 days"),
        (0, Level::Warning, "ends in 0 days"),
        (-2, Level::Error, "ended 2 days ago"),
    ] {
        patient.now_ms = (ENDS_AT_S - days_before * DAY_S) * 1_000;
        patient.expect("certificate", level, words);
    }
    fs::write(&key_file, "nonsense").unwrap();
    patient.expect("certificate", Level::Error, "no private key in PEM");
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let patient = Patient::new().await;
    let mut config = patient.config.clone();
    config.data_folder = patient.path("nowhere");
    let said = examine(&config, false, 0);
    assert!(said[0].what.contains("is not there"), "{said:?}");
    fs::create_dir(patient.path("nowhere")).unwrap();
    let said = examine(&config, false, 0);
    assert!(said[0].what.contains("holds no invigil.sqlite"), "{said:?}");
}

#[tokio::test]
async fn files_that_others_may_read() {
    let patient = Patient::new().await;
    fs::set_permissions(patient.path("master.key"), fs::Permissions::from_mode(0o644)).unwrap();
    patient.expect("folder", Level::Error, "master.key may be read by others (mode 644)");
    fs::set_permissions(patient.path("master.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(patient.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    patient.expect("folder", Level::Warning, "may be read by others (mode 755)");
}

#[tokio::test]
async fn keys_that_are_missing_or_of_somebody_else() {
    let patient = Patient::new().await;
    fixture::execute(&patient.store, "UPDATE learner SET data_key = x'00112233445566778899aabbccddeeff'").await;
    patient.expect("keys", Level::Error, "of another installation");
    fs::remove_file(patient.path("master.key")).unwrap();
    patient.expect("keys", Level::Error, "master.key");
}

#[tokio::test]
async fn another_schema() {
    let patient = Patient::new().await;
    fixture::execute(&patient.store, "PRAGMA user_version = 99").await;
    patient.expect("schema", Level::Error, "99; this invigil knows up to");
    fixture::execute(&patient.store, "PRAGMA user_version = 1").await;
    patient.expect("schema", Level::Warning, "1; this invigil's is");
}

#[tokio::test]
async fn logs_that_changed() {
    let patient = Patient::new().await;
    fixture::execute(&patient.store, "UPDATE verdict SET body = body || ' '").await;
    patient.expect("records", Level::Error, "its checksum differs");
    let reopen = "UPDATE session SET closed_at = NULL; DELETE FROM segment;
        INSERT INTO journal (session, first_n, count, lines) VALUES (1, 2, 1, x'6f6e650a')";
    fixture::execute(&patient.store, reopen).await;
    patient.expect("journal", Level::Error, "open session s1: row 1: it begins with line 2, but line 1 is next");
    fixture::execute(&patient.store, "UPDATE journal SET first_n = 1").await;
    patient.expect("journal", Level::Error, "open session s1: line 1: ");
    fixture::execute(&patient.store, "DELETE FROM journal").await;
    patient.expect("journal", Level::Error, "open session s1: it has no log");
}

#[tokio::test]
async fn photos_without_a_row_and_rows_without_a_photo() {
    let patient = Patient::new().await;
    fixture::execute(
        &patient.store,
        "INSERT INTO photo (session, capture, digest, evidence, created_at) VALUES (1, 'c1', 'd', 'photo-1', 0)",
    )
    .await;
    patient.expect("photos", Level::Error, "the file of photo photo-1 is missing");
    let file = patient.path(PHOTOS_FOLDER).join(relative_path(&EvidenceId::parse("photo-1").unwrap()));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, b"sealed").unwrap();
    patient.expect("photos", Level::Ok, "1 photos");
    let orphan = file.with_file_name("photo-2");
    fs::write(&orphan, b"sealed").unwrap();
    patient.expect("photos", Level::Ok, "1 photos");
    // Its row may come yet; an hour later it will not.
    let later = Patient { now_ms: patient.now_ms + 3_600_000, ..patient };
    later.expect("photos", Level::Warning, "nothing refers to the photo file");
}

#[tokio::test]
async fn forgotten_learners_who_are_back() {
    let patient = Patient::new().await;
    fixture::execute(&patient.store, "UPDATE learner SET data_key = x'00'").await;
    fs::write(patient.path(TOMBSTONES_FILE), "{\"learner\":\"l1\",\"at\":1}\n").unwrap();
    patient.expect("forgotten", Level::Error, "learner l1 is forgotten, and has a key again");
    fs::write(patient.path(TOMBSTONES_FILE), "?\n").unwrap();
    patient.expect("forgotten", Level::Error, "line 1");
    fs::remove_file(patient.path(TOMBSTONES_FILE)).unwrap();
    let _ = patient.store.forget_learner("l1", 1).await.unwrap();
    patient.expect("forgotten", Level::Warning, "traces of the forgotten learner l1");
}

#[tokio::test]
async fn a_clock_that_is_behind_and_deliveries_that_are_stuck() {
    let patient = Patient::new().await;
    let end = patient.now_ms + 90_000;
    fixture::execute(&patient.store, &format!("UPDATE session SET closed_at = {end}")).await;
    patient.expect("clock", Level::Error, "90.0 s behind");
    let made = patient.now_ms - 3 * 3_600_000;
    let queue = format!(
        "INSERT INTO outbox (event, platform, ordering, body, next_attempt_at, created_at)
         VALUES ('e', 'p1', 'o', '{{}}', 0, {made})"
    );
    fixture::execute(&patient.store, &queue).await;
    patient.expect("webhooks", Level::Warning, "the oldest for 3 h");
    fixture::execute(&patient.store, "UPDATE outbox SET state = 'failed'").await;
    patient.expect("webhooks", Level::Warning, "1 deliveries were given up");
}
