//! Tests that are run once more, over PostgreSQL.
//!
//! One test starts a server and runs its own program again, with the URL of a database that has the schema in the
//! environment. Whatever in there would make an embedded database asks here first, and gets a copy of that one.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The URL of the database to copy. (Not INVIGIL_…: that would be a setting.)
const TEMPLATE: &str = "TEST_POSTGRES_TEMPLATE";

/// A new database with the schema, when this is a run over PostgreSQL: its URL.
pub fn database() -> Option<String> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let template = std::env::var(TEMPLATE).ok()?;
    let (server, template) = template.rsplit_once('/').unwrap();
    let name = format!("again_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let admin = format!("{}/postgres", server.replace("invigil@", "postgres@"));
    let create = format!("CREATE DATABASE {name} OWNER invigil TEMPLATE {template}");
    // The client has a runtime of its own, which cannot be started within the test's.
    let made = move || postgres::Client::connect(&admin, postgres::NoTls).unwrap().batch_execute(&create);
    std::thread::spawn(made).join().unwrap().unwrap();
    Some(format!("{server}/{name}"))
}

/// Runs the tests of this program whose names begin with one of `modules` and contain none of `except`, with copies of
/// the database at `template`. Blocks until they have ended, and panics with what they said if one has failed; how many
/// there were.
pub fn run(template: &str, modules: &[&str], except: &[&str], environment: &[(&str, &str)]) -> usize {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(modules).args(except.iter().flat_map(|name| ["--skip", name])).env(TEMPLATE, template);
    again.envs(environment.iter().copied());
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().filter(|line| line.starts_with("test ") && line.ends_with("... ok")).count()
}
