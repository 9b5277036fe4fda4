//! Who may do how much: addresses, sessions, and pages of other sites.

use invigil::client::ClientKey;
use invigil::clock::Clock;
use reqwest::StatusCode;
use serde_json::json;
use tokio_tungstenite::tungstenite::Error;

use crate::harness::wire::{Wire, at, play};
use crate::harness::{START_MS, Stage, frame};

async fn stage(edit: impl FnOnce(&mut invigil::config::Config)) -> Stage {
    Stage::start_with(Clock::manual(START_MS), Clock::manual(START_MS), |_, config| edit(config)).await
}

fn status_of(result: Result<(Wire, String), Error>) -> Result<(), (u16, Option<String>)> {
    match result {
        Ok(_) => Ok(()),
        Err(Error::Http(answer)) => {
            let header = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            Err((answer.status().as_u16(), header))
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn handshakes_are_limited_by_the_address_that_a_trusted_proxy_names() {
    let stage = stage(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.handshakes_per_second = 1;
        config.limits.handshakes_burst = 2;
    })
    .await;
    let url = stage.stream_url();
    let from = async |address: &str| status_of(Wire::try_connect(&url, &[("x-forwarded-for", address)]).await);
    assert_eq!(from("192.0.2.1").await, Ok(()));
    assert_eq!(from("192.0.2.1").await, Ok(()));
    assert_eq!(from("192.0.2.1").await, Err((429, Some("1".into()))));
    assert_eq!(from("10.0.0.1, 192.0.2.1").await, Err((429, Some("1".into()))), "what a client adds does not help");
    assert_eq!(from("192.0.2.2").await, Ok(()));
    stage.advance_ms(1_000);
    assert_eq!(from("192.0.2.1").await, Ok(()));
}

#[tokio::test]
async fn without_a_trusted_proxy_nobody_chooses_an_address() {
    let stage = stage(|config| config.limits.address_requests_burst = 200).await;
    let url = format!("http://{}/api/v1/openapi.json", stage.server.as_ref().unwrap().address);
    // All of these come from loopback, which is not limited, whatever they say.
    for _ in 0..=200 {
        let answer = reqwest::Client::new().get(&url).header("x-forwarded-for", "192.0.2.1").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_session_may_send_so_much_however_often_it_connects() {
    let stage = stage(|config| {
        config.limits.events_per_second = 1;
        config.limits.events_burst = 6;
    })
    .await;
    let course = stage.course(&[390_000]).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let key = ClientKey::generate().unwrap();
    let (mut first, _) = Wire::enter(&stage.stream_url(), &opened, &key, 0).await;
    first.kept(10, "playback", play(0)).await;
    for n in 1..4 {
        first.kept(10 + n, "heartbeat", at(n)).await;
    }
    let (mut second, _) = Wire::enter(&stage.stream_url(), &opened, &key, 100).await;
    second.seq = first.seq;
    second.kept(110, "heartbeat", at(10)).await;
    second.kept(111, "heartbeat", at(11)).await;
    second.event(112, "heartbeat", at(12)).await;
    assert_eq!(second.refusal().await.0, "too_many_events");
    assert_eq!(second.close_code().await, 4429);
}

#[tokio::test]
async fn a_page_of_another_site_cannot_stream() {
    let stage = stage(|_| ()).await;
    let course = stage.course(&[390_000]).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let key = ClientKey::generate().unwrap();
    let hello_from = async |origin: &str| {
        let (mut wire, nonce) = Wire::try_connect(&stage.stream_url(), &[("origin", origin)]).await.unwrap();
        wire.send(Wire::hello(&opened, &key, &nonce, 0)).await;
        wire
    };
    for origin in ["https://learn.example", "null"] {
        let mut wire = hello_from(origin).await;
        assert_eq!(wire.refusal().await, ("origin_refused".into(), None));
        assert_eq!(wire.close_code().await, 4403);
    }
    course.platform.put("/platform/origins", json!({"origins": ["https://learn.example"]})).await;
    hello_from("https://learn.example").await.expect("ping").await;
    for origin in ["https://learn.example.evil.example", "http://learn.example", "https://learn.example:8443"] {
        assert_eq!(hello_from(origin).await.refusal().await.0, "origin_refused", "{origin}");
    }
    // A client that is no browser sends no origin.
    Wire::enter(&stage.stream_url(), &opened, &key, 0).await;
}
