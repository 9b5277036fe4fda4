//! Records over PostgreSQL when others write too, and when the server or the way to it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use invigil::risk::{Code, Finding, Severity, Strength};
use invigil::store::api_keys::{AddKeyError, ApiKeyRecord, KEYS_OF_PLATFORM};
use invigil::store::page::PageRequest;
use invigil::store::platforms::StatusRecord;
use invigil::store::postgres::{Address, CONNECTIONS_LEAST};
use invigil::store::words::{KeyRole, PlatformStatus};
use invigil::store::{Store, StoreError, Writing};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::harness::servers::daemon::Owner;
use crate::harness::servers::postgres::Postgres;
use crate::harness::servers::proxy::{Flow, Proxy};

/// Three connections write records, three read them.
const CONNECTIONS: usize = CONNECTIONS_LEAST + 4;

struct Node {
    store: Store,
    _folder: TempDir,
}

async fn node(url: &str) -> Node {
    connected(url).await.unwrap()
}

async fn connected(url: &str) -> Result<Node, StoreError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::connect(Address::parse(url, None).unwrap(), CONNECTIONS, folder.path()).await?;
    Ok(Node { store, _folder: folder })
}

async fn add_platform(store: &Store, id: &str) -> Result<(), StoreError> {
    let decision = StatusRecord {
        id: id.to_owned(),
        status: PlatformStatus::Active,
        reason: None,
        document: None,
        banned_from: None,
        banned_until: None,
        decided_by: "k".to_owned(),
        decided_at: 1,
    };
    store.add_platform(id.to_owned(), decision).await.map(drop)
}

/// Finds the same thing once more: its row counts how often.
async fn find_once_more(store: &Store) -> Result<(), StoreError> {
    let finding = Finding {
        code: Code::DeviceLearners,
        subject: "device:00".to_owned(),
        severity: Severity::Low,
        at: 1,
        platforms: Vec::new(),
        learners: Vec::new(),
        sessions: Vec::new(),
        evidence: serde_json::Map::new(),
        strength: Strength::OnceMore,
    };
    store.keep_risk(Vec::new(), vec![("f1".to_owned(), finding)]).await
}

async fn times_found(store: &Store) -> i64 {
    store.finding("f1").await.unwrap().unwrap().0.count
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_write_at_once_write_as_if_one_after_the_other() {
    let server = Postgres::start();
    let url = server.database();
    let nodes = [node(&url).await, node(&url).await];
    add_platform(&nodes[0].store, "p1").await.unwrap();
    let mut adding = JoinSet::new();
    for (number, node) in (0..3 * KEYS_OF_PLATFORM as u8).zip(nodes.iter().cycle()) {
        let store = node.store.clone();
        let record = ApiKeyRecord {
            id: format!("k{number}"),
            label: String::new(),
            role: KeyRole::Platform,
            created_at: 1,
            revoked_at: None,
        };
        adding.spawn(async move { store.add_api_key(Some("p1".to_owned()), [number; 32], record).await });
    }
    let mut added = 0;
    while let Some(result) = adding.join_next().await {
        match result.unwrap() {
            Ok(_) => added += 1,
            Err(AddKeyError::TooMany(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let kept = nodes[1].store.api_keys(Some("p1".to_owned()), PageRequest::default()).await.unwrap();
    assert_eq!((added, kept.items.len() as u32), (KEYS_OF_PLATFORM, KEYS_OF_PLATFORM));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_loses_nothing_and_repeats_nothing() {
    let mut server = Postgres::start();
    let node = node(&server.database()).await;
    find_once_more(&node.store).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut writing = JoinSet::new();
    for _ in 0..4 {
        let (store, over) = (node.store.clone(), over.clone());
        writing.spawn(async move {
            let (mut done, mut unknown) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                match find_once_more(&store).await {
                    Ok(()) => done += 1,
                    Err(StoreError::Unknown(_)) => unknown += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            (done, unknown)
        });
    }
    for kill in [false, true] {
        let before = times_found(&node.store).await;
        if kill {
            server.kill()
        } else {
            server.stop()
        }
        server.start_again();
        while times_found(&node.store).await < before + 10 {}
    }
    over.store(true, Ordering::Relaxed);
    let ended = writing.join_all().await;
    let (done, unknown) = ended.iter().fold((1, 0), |sum, (done, unknown)| (sum.0 + done, sum.1 + unknown));
    let found = times_found(&node.store).await;
    assert!((done..=done + unknown).contains(&found), "{found} of {done}, and {unknown} of which nobody knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_lose_nothing_and_repeat_nothing() {
    let server = Postgres::start();
    let url = server.database();
    let proxy = Proxy::start(server.address()).await;
    let through = url.replace(&server.address().to_string(), &proxy.address().to_string());
    let node = node(&through).await;
    find_once_more(&node.store).await.unwrap();
    let (mut done, mut unknown) = (1, 0);
    for cut in 0..60_u64 {
        // Each time at another place of a write, which is a few hundred bytes.
        let sent = proxy.requested(1 + cut * 37 % 700);
        let cut = async {
            sent.await;
            proxy.cut();
            std::future::pending().await
        };
        let written = tokio::select! {
            written = find_once_more(&node.store) => written,
            // A write that is over before so much was sent is not cut.
            never = cut => never,
        };
        match written {
            Ok(()) => done += 1,
            Err(StoreError::Unknown(_)) => unknown += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let found = times_found(&node.store).await;
    assert!((done..=done + unknown).contains(&found), "{found} of {done}, and {unknown} of which nobody knows");
    assert!(done > unknown, "{unknown} of {done}: only who is cut off while it is made durable need not know");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_said_to_be_and_found_again() {
    let server = Postgres::start();
    let url = server.database();
    let mut proxy = Proxy::start(server.address()).await;
    let node = node(&url.replace(&server.address().to_string(), &proxy.address().to_string())).await;
    let mut writing = node.store.writing();
    assert_eq!(*writing.borrow(), Writing::Well);
    proxy.refuse().await;
    proxy.cut();
    let refused = add_platform(&node.store, "p1").await.unwrap_err();
    assert!(refused.is_passing(), "{refused}");
    assert!(matches!(*writing.borrow_and_update(), Writing::Refused { .. }));
    assert!(node.store.platform("p1", 1).await.unwrap_err().is_passing());
    proxy.accept();
    writing.wait_for(|writing| *writing == Writing::Well).await.unwrap();
    add_platform(&node.store, "p1").await.unwrap();
    // A network that swallows what is sent is no better than none.
    proxy.flow(Flow::Hold, Flow::Hold);
    assert!(add_platform(&node.store, "p2").await.unwrap_err().is_passing());
    writing.wait_for(|writing| *writing != Writing::Well).await.unwrap();
    proxy.flow(Flow::Pass, Flow::Pass);
    writing.wait_for(|writing| *writing == Writing::Well).await.unwrap();
    add_platform(&node.store, "p3").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_reads_is_no_place_to_write_to() {
    let server = Postgres::start();
    let url = server.database();
    let node = node(&url).await;
    let set = |on: &str| {
        let admin = url.replace("invigil@", "postgres@");
        server.execute(&admin, &format!("ALTER SYSTEM SET default_transaction_read_only = {on}"));
        server.execute(&admin, "SELECT pg_reload_conf()");
    };
    set("on");
    let mut writing = node.store.writing();
    let refused = add_platform(&node.store, "p1").await.unwrap_err();
    assert!(refused.is_passing() && refused.to_string().contains("read-only"), "{refused}");
    writing.wait_for(|writing| matches!(writing, Writing::Refused { .. })).await.unwrap();
    assert_eq!(node.store.platform("p1", 1).await.unwrap(), None, "and may be read");
    set("off");
    writing.wait_for(|writing| *writing == Writing::Well).await.unwrap();
    add_platform(&node.store, "p1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_made_once_and_a_newer_one_is_left_alone() {
    let server = Postgres::start();
    let url = server.database();
    let all = tokio::join!(connected(&url), connected(&url), connected(&url));
    for node in [all.0, all.1, all.2] {
        node.unwrap().store.check_writable().await.unwrap();
    }
    server.execute(&url, "INSERT INTO schema_version (step) VALUES (99)");
    let refused = connected(&url).await.err().unwrap();
    assert!(matches!(refused, StoreError::NewerSchema { found: 99, .. }), "{refused}");
    let admin = url.replace("invigil@", "postgres@");
    server
        .execute(&admin, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0");
    let latin = format!("{}/latin", url.rsplit_once('/').unwrap().0);
    let refused = connected(&latin).await.err().unwrap().to_string();
    assert!(refused.contains("LATIN1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_must_be_vouched_for_when_it_speaks_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (server, folder) = (Postgres::start(), tempfile::tempdir().unwrap());
    let url = server.database();
    let host = server.address().ip().to_string();
    let own = rcgen::generate_simple_self_signed([host]).unwrap();
    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    let (certificate, key) = (write("own.pem", own.cert.pem()), write("own.key", own.signing_key.serialize_pem()));
    let strangers = write("other.pem", other.cert.pem());
    let ca = write("ca.pem", own.cert.pem());
    if let Some(owner) = Owner::instead_of_root() {
        [folder.path(), &certificate, &key].into_iter().for_each(|path| owner.take(path));
    }
    let admin = url.replace("invigil@", "postgres@");
    for (setting, value) in [("ssl_cert_file", certificate.display()), ("ssl_key_file", key.display())] {
        server.execute(&admin, &format!("ALTER SYSTEM SET {setting} = '{value}'"));
    }
    server.execute(&admin, "ALTER SYSTEM SET ssl = on");
    server.execute(&admin, "SELECT pg_reload_conf()");
    let connect = async |sslmode: &str, ca: &std::path::Path| {
        let address = Address::parse(&format!("{url}?sslmode={sslmode}"), Some(ca)).unwrap();
        Store::connect(address, CONNECTIONS, folder.path()).await
    };
    let store = connect("require", &ca).await.unwrap();
    add_platform(&store, "p1").await.unwrap();
    server.execute(
        &admin,
        "DO $$ BEGIN ASSERT (SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE application_name = 'invigil'), 'a connection is in the clear'; END $$",
    );
    for sslmode in ["require", "prefer"] {
        let refused = connect(sslmode, &strangers).await.err().unwrap().to_string();
        assert!(refused.contains("certificate"), "{sslmode}: {refused}");
    }
    connect("disable", &strangers).await.unwrap();
}
