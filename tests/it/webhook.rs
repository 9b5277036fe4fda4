//! A webhook from the outbox to a receiver, judged there by the public `standardwebhooks` package.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::http::HeaderMap;
use invigil::auth::keys::Keys;
use invigil::clock::{Clock, Entropy};
use invigil::cluster::Turns;
use invigil::config::Webhook;
use invigil::delivery::Delivery;
use invigil::delivery::cloud_event::SessionClosed;
use invigil::delivery::sign::WebhookSecret;
use invigil::store::Store;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::harness::hooks::{Hook, receiver};

#[tokio::test]
async fn the_public_package_accepts_what_was_sent_and_nothing_else() {
    let (url, mut received) = receiver().await;
    let folder = tempfile::tempdir().unwrap();
    let (entropy, clock) = (Entropy::system(), Clock::system());
    let keys = Arc::new(Keys::open_or_create(folder.path(), &entropy).unwrap());
    let store = Store::open(folder.path()).unwrap();
    let secret = WebhookSecret::generate(&entropy);
    let body = body(&clock);
    queue(folder.path(), &url, &secret.seal(&keys, &entropy, "p1"), &body);

    let config = Webhook { allow_private_addresses: true, allow_http: true, ..Webhook::default() };
    let delivery =
        Delivery::start(store, keys, clock, entropy, config, Arc::new(Notify::new()), Turns::always()).unwrap();
    let Hook { headers, body: arrived } = received.recv().await.unwrap();
    delivery.shutdown().await;

    assert_eq!(arrived, body);
    assert!(accepted_by_the_public_package(&secret, &headers, &arrived));
    assert!(!accepted_by_the_public_package(&secret, &headers, &arrived.replace("valid", "invalid")));
    let other = WebhookSecret::generate(&Entropy::system());
    assert!(!accepted_by_the_public_package(&other, &headers, &arrived));
}

/// Not only ASCII, so that the signature is known to cover bytes.
fn body(clock: &Clock) -> String {
    let verdict = RawValue::from_string("{\"status\": \"valid\", \"clause\": \"多窗口学习\"}".to_owned()).unwrap();
    let event = SessionClosed {
        id: "event-1",
        source: "http://127.0.0.1:8080",
        closed_at_ms: clock.now_ms(),
        session: "s1",
        learner: "l1",
        project: "project-1",
        lesson: "lesson-1",
        verdict: &verdict,
    };
    event.to_body().unwrap()
}

fn queue(folder: &Path, url: &str, sealed_secret: &[u8], body: &str) {
    let database = rusqlite::Connection::open(folder.join("invigil.sqlite")).unwrap();
    database
        .execute(
            "INSERT INTO platform (id, name, status, webhook_url, webhook_secret, created_at)
             VALUES ('p1', 'p1', 'active', ?1, ?2, 0)",
            rusqlite::params![url, sealed_secret],
        )
        .unwrap();
    database
        .execute(
            "INSERT INTO outbox (event, platform, ordering, body, next_attempt_at, created_at)
             VALUES ('event-1', 'p1', 's1', ?1, 0, 0)",
            [body],
        )
        .unwrap();
}

fn accepted_by_the_public_package(secret: &WebhookSecret, headers: &HeaderMap, body: &str) -> bool {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = tests.join("cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run make test-setup", python.display());
    let headers: serde_json::Map<_, _> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
    let given = serde_json::json!({ "secret": secret.to_text(), "headers": headers, "body": body });

    let mut child =
        Command::new(python).arg(tests.join("python/verify_webhook.py")).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    match child.wait().unwrap().code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("verify_webhook.py ended with {other:?}"),
    }
}
