//! The walks that matter, once more with PostgreSQL in the place of the embedded database: see
//! [`crate::harness::servers::again`].

use std::path::Path;

use invigil::store::Store;
use invigil::store::postgres::{Address, CONNECTIONS_LEAST};

use crate::harness::servers::again;
use crate::harness::servers::postgres::Postgres;

/// Runs the tests whose names begin so over a server of their own.
async fn again_over_postgresql(
    modules: &'static [&str],
    except: &'static [&str],
    environment: &'static [(&str, &str)],
) {
    let server = Postgres::start();
    let (template, folder) = (server.database(), tempfile::tempdir().unwrap());
    drop(connect(&template, folder.path()).await);
    let run = move || again::run(&template, modules, except, environment);
    let tests =
        tokio::task::spawn_blocking(run).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    assert!(tests >= modules.len(), "only {tests} tests were run over PostgreSQL");
}

async fn connect(url: &str, folder: &Path) -> Store {
    Store::connect(Address::parse(url, None).unwrap(), CONNECTIONS_LEAST, folder).await.unwrap()
}

#[tokio::test]
async fn sessions_are_held_over_postgresql() {
    // One breaks the embedded database as a second connection.
    let except = &["session::an_overlap_of_which_one_log"];
    again_over_postgresql(&["session::", "refusals::", "limits::", "policies::"], except, &[]).await;
}

#[tokio::test]
async fn hours_are_counted_and_reported_over_postgresql() {
    // One looks into the embedded database's files.
    again_over_postgresql(&["quota::", "report::", "risk::"], &["report::the_id_number_goes_out"], &[]).await;
}

#[tokio::test]
async fn a_server_that_is_killed_goes_on_over_postgresql() {
    const MODULES: &[&str] = &["crash::", "stop::"];
    // Several nodes have PostgreSQL anyway.
    const CLUSTER: &[&str] = &["cluster::"];
    // As often as it dies over the embedded database it need not die here, unless somebody asks for it.
    if std::env::var_os("CRASH_KILLS").is_none() {
        again_over_postgresql(MODULES, CLUSTER, &[("CRASH_KILLS", "6")]).await;
    } else {
        again_over_postgresql(MODULES, CLUSTER, &[]).await;
    }
}
