//! Stores for unit tests, with just enough in them that references hold.
//!
//! They are embedded, and in the tests that `contract.rs` runs again they are in PostgreSQL. A test of what only the
//! embedded engine has asks for that.

use super::contract;
use super::{Store, StoreError};

/// An empty store, and the folder that holds it for as long as the test keeps it.
pub(crate) async fn store() -> (tempfile::TempDir, Store) {
    match contract::servers::again::database() {
        None => embedded(),
        Some(database) => {
            let folder = tempfile::tempdir().unwrap();
            let store = contract::connect(&database, folder.path()).await;
            (folder, store)
        }
    }
}

/// An empty store of the embedded engine, with its folder.
pub(crate) fn embedded() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

/// Runs SQL that a test needs and no method offers. Bytes are written `x'00ff'` for both engines.
pub(crate) async fn execute(store: &Store, sql: &str) {
    let sql = match &store.engine {
        super::Engine::Embedded(..) => sql.to_owned(),
        super::Engine::Postgres { .. } => sql.replace(" x'", " '\\x").replace("(x'", "('\\x"),
    };
    store.write(move |transaction| Ok::<_, StoreError>(transaction.execute_batch(&sql)?)).await.unwrap();
}

/// A store with one open session, of a learner `l1` at platform `p1`, in project `j1` with its lesson `e1`.
pub(crate) async fn store_with_session(session: &str) -> (tempfile::TempDir, Store) {
    let (folder, store) = store().await;
    insert_session(&store, session).await;
    (folder, store)
}

/// The same, of the embedded engine.
pub(crate) async fn embedded_with_session(session: &str) -> (tempfile::TempDir, Store) {
    let (folder, store) = embedded();
    insert_session(&store, session).await;
    (folder, store)
}

async fn insert_session(store: &Store, session: &str) {
    execute(
        store,
        &format!(
            "INSERT INTO platform (id, name, status, created_at) VALUES ('p1', 'P', 'active', 0);
             INSERT INTO learner (id, created_at) VALUES ('l1', 0);
             INSERT INTO project (id, platform, name, total_hours, delivery, policy, created_at)
                 VALUES ('j1', 'p1', 'J', 100, 'blended', 'default', 0);
             INSERT INTO lesson (id, project, position, title, duration_ms, kind)
                 VALUES ('e1', 'j1', 1, 'E', 600000, 'theory');
             INSERT INTO session (id, platform, learner, project, lesson, seed, opened_at)
                 VALUES ('{session}', 'p1', 'l1', 'j1', 'e1', x'00', 0);"
        ),
    )
    .await;
}

/// Seals `log` as the log of the closed session with this key, with a verdict on it; `extra` goes into the verdict.
pub(crate) async fn seal(store: &Store, session: i64, log: &[u8], extra: &str) {
    use std::io::Write as _;
    let digest = hex::encode(ring::digest::digest(&ring::digest::SHA256, log));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(log).unwrap();
    let lines = hex::encode(encoder.finish().unwrap());
    let body = format!("{{\"session\":\"s{session}\",\"log_digest\":\"{digest}\"{extra}}}");
    let checksum = super::checksum::of_verdict(session, 1, &body);
    let sql = format!(
        "INSERT INTO segment (session, count, digest, lines) VALUES ({session}, 1, '{digest}', x'{lines}');
         INSERT INTO verdict (session, version, status, body, created_at, checksum)
         VALUES ({session}, 1, 'valid', '{body}', 5, {checksum});"
    );
    execute(store, &sql).await;
}
