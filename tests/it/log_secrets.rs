//! What is logged, however much is asked for, holds no secret, no photo and nobody's number.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use invigil::client::ClientKey;
use invigil::clock::Entropy;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::harness::process::{Home, Process};
use crate::harness::pupil::{Camera, Pupil};
use crate::harness::s3::{self, S3};
use crate::harness::wire::{Wire, photo_frame, play};
use crate::harness::{Opened, QUICK, frame, new_id_number, text};

/// Bytes of a photo or template that are looked for, in base64 and in hexadecimal digits: enough not to be chance.
const PIECE_BYTES: usize = 24;

/// Things that must not be in a log, with what they are.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn add(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 6, "{what}: {secret}");
        self.0.push((what, secret.to_owned()));
    }

    /// What is in the log that must not be, with its line.
    fn found_in(&self, log: &str) -> Option<(&'static str, String)> {
        self.0.iter().find_map(|(what, secret)| {
            let line = log.lines().find(|line| line.contains(secret.as_str()))?;
            Some((*what, line.to_owned()))
        })
    }

    fn add_bytes(&mut self, what: &'static str, bytes: &[u8]) {
        // Three neighbours: base64 takes three bytes at a time, and the piece may begin at any.
        for start in bytes.len() / 2..bytes.len() / 2 + 3 {
            let piece = &bytes[start..start + PIECE_BYTES];
            self.add(what, &STANDARD.encode(piece)[..PIECE_BYTES]);
            self.add(what, &URL_SAFE_NO_PAD.encode(piece)[..PIECE_BYTES]);
            self.add(what, &hex::encode(piece));
            let numbers: Vec<String> = piece[..8].iter().map(u8::to_string).collect();
            self.add(what, &numbers.join(", "));
        }
    }
}

#[tokio::test]
async fn the_most_talkative_log_holds_no_secret() {
    let home = Home::new(500);
    let mut secrets = Secrets::default();
    let store = S3::start().await;
    home.configure(&store.toml());
    secrets.add("the photo store's key", s3::SECRET);
    secrets.add("the photo store's key id", s3::KEY_ID);
    let mut command = home.command(&[], None);
    // Everything that there is, of libraries too.
    command.args(["--log-filter", "trace,object_store=trace", "--metrics-listen", "127.0.0.1:0"]);
    let mut server = Process::start(command).await.unwrap();
    let operator = home.operator(server.address);
    secrets.add("the operator's key", &operator.key);
    for file in ["master.key", "identity.pepper"] {
        let key = std::fs::read(home.path().join("data").join(file)).unwrap();
        secrets.add("a key", &hex::encode(&key));
        secrets.add("a key", &STANDARD.encode(&key)[..42]);
    }

    let course = operator.course(&[600_000], QUICK).await;
    secrets.add("a platform's key", &course.platform.key);
    let hook = course.platform.put("/platform/webhook", json!({"url": "https://hook.example/secret-path"})).await;
    secrets.add("a webhook's secret", &text(&hook, "secret"));
    secrets.add("a webhook's path", "secret-path");

    // People, right and wrong.
    let number = new_id_number();
    secrets.add("an ID number", &number);
    let learner = course.platform.post("/learners", json!({"id_number": number})).await;
    let learner = text(&learner, "id");
    let enrolled = frame("webcam_man", 1);
    secrets.add_bytes("an enrolment photo", &enrolled);
    assert_eq!(course.platform.photo(&learner, enrolled).await.status(), 201);
    course.enrol(&course.project, &learner).await;
    for wrong in ["110101199003070010", "not a number 4711"] {
        secrets.add("a wrong ID number", wrong);
        let answer = course.platform.send(Method::POST, "/learners", Some(json!({"id_number": wrong}))).await;
        assert_eq!(answer.status(), 422);
    }
    assert_eq!(course.platform.photo(&learner, frame("film_woman", 80)).await.status(), 409);
    secrets.add_bytes("another's photo", &frame("film_woman", 80));

    // Keys, right and wrong.
    let mut stranger = operator.clone();
    stranger.key = format!("ivk_{}", "Kk7".repeat(14) + "A");
    secrets.add("a wrong key", &stranger.key);
    assert_eq!(stranger.send(Method::GET, "/platforms", None).await.status(), 401);

    // An honest session, and one of somebody who says wrong things.
    let opened = course.open(&course.lessons[0], &learner).await;
    secrets.add("a token", &opened.token);
    let url = format!("ws://{}/v1/stream", server.address);
    for number in 2..20 {
        secrets.add_bytes("a photo", &frame("webcam_man", number));
    }
    let (over, is_over) = watch::channel(true);
    let camera = Camera::new("webcam_man", 2..20);
    let pupil = Pupil::sit_down(&url, opened, camera, Entropy::system(), 500, Arc::new(Notify::new()));
    let kept = pupil.stay(is_over).await;
    drop(over);
    assert!(kept.verdict.is_some());
    let opened = course.open(&course.lessons[0], &learner).await;
    secrets.add("a token", &opened.token);
    wrong_things(&url, &opened, &mut secrets).await;
    let closing = format!("/sessions/{}/close", opened.session);
    course.platform.post(&closing, json!({"reason": "revoked"})).await;

    assert!(store.photos().len() >= 2, "photos went there");
    // Its address does not exist, and the error is logged.
    server.says("a delivery failed and will be tried again").await;

    server.terminate();
    let (content, log) = server.ended().await;
    assert!(content);
    assert!(log.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()), "every line is JSON");
    let log = log.join("\n");
    assert_eq!(secrets.found_in(&log), None);
    // The search finds what it looks for.
    for (what, secret) in &secrets.0 {
        assert!(secrets.found_in(&format!("{log}\n{{\"level\":\"{secret}\"}}")).is_some(), "{what}");
    }
}

async fn wrong_things(url: &str, opened: &Opened, secrets: &mut Secrets) {
    let key = ClientKey::generate().unwrap();
    let (mut wire, nonce) = Wire::connect(url).await;
    let mut hello = Wire::hello(opened, &key, &nonce, 0);
    let forged = format!("ivt_{}", "Tt9".repeat(14) + "A");
    secrets.add("a wrong token", &forged);
    hello["token"] = json!(forged);
    wire.send(hello).await;
    assert_eq!(wire.refusal().await.0, "token_unknown");

    let (mut wire, _) = Wire::enter(url, opened, &key, 0).await;
    wire.kept(1, "playback", play(0)).await;
    let whispered = "110101199003070011 whispered";
    secrets.add("what a client made up", whispered);
    wire.kept(2, "gossip", json!({"said": whispered})).await;
    let header = json!({"capture": "c99", "nonce": "n", "ct": 0}).to_string();
    let photo = frame("webcam_man", 3);
    wire.raw(tokio_tungstenite::tungstenite::Message::binary(photo_frame(&header, &photo))).await;
    assert_eq!(wire.refusal().await.0, "capture_unknown");
    wire.event(3, "heartbeat", json!({"playing": whispered})).await;
    assert_eq!(wire.refusal().await.0, "bad_message");
}
