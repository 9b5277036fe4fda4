//! What the server says of itself: health, and metrics that move with what happens.

use std::collections::BTreeMap;

use invigil::client::ClientKey;
use invigil::clock::Clock;
use serde_json::json;

use crate::harness::wire::{Wire, play};
use crate::harness::{START_MS, Stage, frame, get_json};

/// A server whose metrics are served.
pub async fn stage() -> Stage {
    Stage::start_with(Clock::manual(START_MS), Clock::manual(START_MS), |_, config| {
        config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await
}

/// Every series that is served now, with its value.
pub async fn scrape(stage: &Stage) -> BTreeMap<String, f64> {
    let address = stage.server.as_ref().unwrap().metrics_address.unwrap();
    let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

#[tokio::test]
async fn metrics_move_with_what_happens_and_name_nobody() {
    let stage = stage().await;
    let before = scrape(&stage).await;
    let course = stage.course(&[390_000]).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let (mut wire, _) = Wire::enter(&stage.stream_url(), &opened, &ClientKey::generate().unwrap(), 0).await;
    wire.kept(10, "playback", play(0)).await;
    let during = scrape(&stage).await;
    wire.event(5, "heartbeat", json!({"playing": true, "pos_ms": 0, "rate": 1.0})).await;
    assert_eq!(wire.refusal().await.0, "ct_decreased");
    assert_eq!(wire.close_code().await, 4400);
    course.platform.post(&format!("/sessions/{}/close", opened.session), json!({"reason": "revoked"})).await;
    let after = scrape(&stage).await;

    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "series appear from the start");
    assert_eq!((during["invigil_connections"], during["invigil_sessions_live"]), (1.0, 1.0));
    assert_eq!(after["invigil_sessions_live"], 0.0);
    let grew = |series: &str| after[series] - before[series];
    for (series, by) in [
        ("invigil_events_total", 1.0),
        ("invigil_acknowledgement_seconds_count", 1.0),
        ("invigil_stream_errors_total{code=\"ct_decreased\"}", 1.0),
        ("invigil_sessions_opened_total", 1.0),
        ("invigil_sessions_closed_total{reason=\"revoked\"}", 1.0),
        ("invigil_verdicts_total{status=\"invalid\"}", 1.0),
        ("invigil_http_requests_total{method=\"POST\",route=\"/api/v1/sessions\",status=\"2xx\"}", 1.0),
        ("invigil_http_requests_total{method=\"POST\",route=\"/api/v1/sessions/{id}/close\",status=\"2xx\"}", 1.0),
        ("invigil_http_requests_total{method=\"other\",route=\"other\",status=\"4xx\"}", 0.0),
        ("invigil_stream_errors_total{code=\"other\"}", 0.0),
    ] {
        assert_eq!(grew(series), by, "{series}");
    }
    for series in [
        "invigil_journal_commit_seconds_count",
        "invigil_journal_group_writes_count",
        "invigil_batch_lines_sum",
        "invigil_violations_total{rule=\"revoked\"}",
    ] {
        assert!(grew(series) >= 1.0, "{series}");
    }
    // What is queued is taken; just now it may be the word that a webhook is under way.
    while scrape(&stage).await["invigil_journal_queue_depth"] > 0.0 {}
    assert_eq!(after["invigil_photo_queue_depth"], 0.0);
    assert!(after["process_resident_memory_bytes"] > 1e6);
    let names: String = after.keys().flat_map(|name| name.chars()).collect();
    for secret in [&opened.session, &opened.token, &learner, &course.project] {
        assert!(!names.contains(secret.as_str()));
    }
}

#[tokio::test]
async fn ready_means_that_a_write_reaches_the_disk() {
    let stage = stage().await;
    let server = stage.server.as_ref().unwrap();
    for address in [server.address, server.metrics_address.unwrap()] {
        let live = reqwest::get(format!("http://{address}/livez")).await.unwrap();
        assert_eq!(live.status(), 200);
        let (status, report) = get_json(address, "/readyz").await;
        assert_eq!(status, 200);
        let vision = json!({"provider": "cpu", "precision": "f32", "library": "onnxruntime 1.26.0"});
        let ready = json!({"ready": true, "running": "ok", "database": "ok", "models": "ok", "vision": vision});
        assert_eq!(report, ready);
    }
    // Asked again, it has to write again: the file grows, or starts over.
    let wal = stage.folder.path().join("invigil.sqlite-wal");
    let modified = |path: &std::path::Path| {
        let metadata = std::fs::metadata(path).unwrap();
        (metadata.len(), metadata.modified().unwrap())
    };
    let before = modified(&wal);
    assert_eq!(get_json(server.address, "/readyz").await.0, 200);
    assert_eq!(modified(&wal), before, "within a second the answer holds");
    stage.advance_ms(1_000);
    assert_eq!(get_json(server.address, "/readyz").await.0, 200);
    assert_ne!(modified(&wal), before);

    // Somebody holds the database: its writer waits, and the server is not ready once that takes too long.
    let other = rusqlite::Connection::open(stage.folder.path().join("invigil.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    stage.advance_ms(1_000);
    let mut asked = tokio::spawn(get_json(server.address, "/readyz"));
    let answer = loop {
        tokio::select! {
            answer = &mut asked => break answer.unwrap(),
            () = tokio::task::yield_now() => stage.advance_ms(1),
        }
    };
    assert_eq!((answer.0.as_u16(), &answer.1["database"]), (503, &json!("failing")));
    assert_eq!(scrape(&stage).await["invigil_ready"], 0.0);
    other.execute_batch("ROLLBACK").unwrap();
    stage.advance_ms(1_000);
    assert_eq!(get_json(server.address, "/readyz").await.0, 200);
}
