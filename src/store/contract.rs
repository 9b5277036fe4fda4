//! The tests of all that uses the store, once more over PostgreSQL.
//!
//! One test starts a server and runs this very program with the address of it in the environment; every test that asks
//! [`super::fixture`] for a store then gets one in a database of its own, copied from one that has the schema.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Store;
use super::postgres::Address;

#[path = "../../tests/it/harness/servers/mod.rs"]
#[expect(dead_code, reason = "the tests from outside use the rest")]
pub(crate) mod servers;

/// The URL of the database that has the schema and nothing else, for the tests that are run again.
const TEMPLATE: &str = "INVIGIL_TEST_POSTGRES";
/// What is run again: whatever keeps something in the store.
const MODULES: [&str; 7] = ["store::", "api::", "auth::", "delivery::", "findings::", "ledger::", "report::"];
/// What is about the embedded engine's files, or about no store at all.
const NOT_AGAIN: [&str; 5] =
    ["store::archive", "store::contract", "store::embedded", "store::evidence", "store::postgres"];
/// Connections of one store: two that write, two that read.
const CONNECTIONS: usize = 4;

/// A new database for a test that is run over PostgreSQL; its URL.
pub(crate) fn database() -> Option<String> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let template = std::env::var(TEMPLATE).ok()?;
    let (server, template) = template.rsplit_once('/').unwrap();
    let name = format!("again_{}", MADE.fetch_add(1, Ordering::Relaxed));
    let (admin, server) = (format!("{}/postgres", server.replace("invigil@", "postgres@")), server.to_owned());
    let create = format!("CREATE DATABASE {name} OWNER invigil TEMPLATE {template}");
    // The client has a runtime of its own, which cannot be started within the test's.
    let made = move || postgres::Client::connect(&admin, postgres::NoTls).unwrap().batch_execute(&create);
    std::thread::spawn(made).join().unwrap().unwrap();
    Some(format!("{server}/{name}"))
}

/// A store in the database at `url`, with `folder` for the rest.
pub(crate) async fn connect(url: &str, folder: &Path) -> Store {
    Store::connect(Address::parse(url, None).unwrap(), CONNECTIONS, folder).await.unwrap()
}

#[tokio::test]
async fn what_holds_of_the_embedded_store_holds_of_postgresql() {
    let server = servers::postgres::Postgres::start();
    let template = server.database();
    let folder = tempfile::tempdir().unwrap();
    drop(connect(&template, folder.path()).await);
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(MODULES).args(NOT_AGAIN.iter().flat_map(|module| ["--skip", module])).env(TEMPLATE, template);
    let output = tokio::task::spawn_blocking(move || again.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let ran = said.lines().filter(|line| line.starts_with("test ") && line.ends_with("... ok")).count();
    println!("{ran} tests over PostgreSQL");
    assert!(ran > 100, "only {ran} tests were run over PostgreSQL:\n{said}");
}
