//! The tests of all that uses the store, once more over PostgreSQL: see [`servers::again`].

use std::path::Path;

use super::Store;
use super::postgres::{Address, CONNECTIONS_LEAST};

#[path = "../../tests/it/harness/servers/mod.rs"]
#[expect(dead_code, reason = "the tests from outside use the rest")]
pub(crate) mod servers;

/// What is run again: whatever keeps something in the store.
const MODULES: [&str; 8] =
    ["store::", "api::", "auth::", "delivery::", "findings::", "ledger::", "report::", "search::"];
/// What is about the embedded engine's files, or about no store at all.
const EXCEPT: [&str; 6] =
    ["store::archive", "store::contract", "store::embedded", "store::evidence", "store::postgres", "::embedded_tests"];

/// A store in the database at `url`, with `folder` for the rest.
pub(crate) async fn connect(url: &str, folder: &Path) -> Store {
    Store::connect(Address::parse(url, None).unwrap(), CONNECTIONS_LEAST, folder).await.unwrap()
}

#[tokio::test]
async fn what_holds_of_the_embedded_store_holds_of_postgresql() {
    let server = servers::postgres::Postgres::start();
    let (template, folder) = (server.database(), tempfile::tempdir().unwrap());
    drop(connect(&template, folder.path()).await);
    let run = move || servers::again::run(&template, &MODULES, &EXCEPT, &[]);
    let tests = tokio::task::spawn_blocking(run).await;
    let tests = tests.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    assert!(tests > 100, "only {tests} tests were run over PostgreSQL");
}
