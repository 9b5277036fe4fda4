//! What the stream refuses, and with which words: docs/protocol.md, section 9.

use invigil::client::ClientKey;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::wire::{Wire, at, photo_frame, play};
use crate::harness::{Course, Opened, PLAIN, Stage, frame};

struct Ready {
    stage: Stage,
    course: Course,
    learner: String,
    opened: Opened,
    key: ClientKey,
}

async fn ready() -> Ready {
    let stage = Stage::start().await;
    let course = stage.operator.course(&[390_000], PLAIN).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    Ready { stage, course, learner, opened, key: ClientKey::generate().unwrap() }
}

impl Ready {
    async fn enter(&self) -> Wire {
        Wire::enter(&self.stage.stream_url(), &self.opened, &self.key, 0).await.0
    }

    /// What becomes of a hello after `edit`.
    async fn hello_refused(&self, edit: impl FnOnce(&mut Value)) -> (String, Option<String>, u16) {
        let (mut wire, nonce) = Wire::connect(&self.stage.stream_url()).await;
        let mut hello = Wire::hello(&self.opened, &self.key, &nonce, 0);
        edit(&mut hello);
        wire.send(hello).await;
        let (code, field) = wire.refusal().await;
        (code, field, wire.close_code().await)
    }

    /// What becomes of `message` on a fresh, welcomed connection; the close code if it is closed.
    async fn refused(&self, message: Message) -> (String, Option<String>, Option<u16>) {
        let mut wire = self.enter().await;
        wire.seq = 0;
        wire.raw(message).await;
        let (code, field) = wire.refusal().await;
        let closes = serde_json::from_value::<invigil::gateway::wire::ErrorCode>(json!(code)).unwrap().close_code();
        if let Some(expected) = closes {
            assert_eq!(wire.close_code().await, expected);
        }
        (code, field, closes)
    }
}

fn refusal(code: &str, field: Option<&str>, close: u16) -> (String, Option<String>, u16) {
    (code.into(), field.map(Into::into), close)
}

#[tokio::test]
async fn a_hello_must_be_right_in_every_part() {
    let ready = ready().await;
    let bad = |field| refusal("bad_message", Some(field), 4400);
    assert_eq!(ready.hello_refused(|hello| hello["key"] = json!("AAAA")).await, bad("key"));
    assert_eq!(ready.hello_refused(|hello| hello["signature"] = json!("?")).await, bad("signature"));
    assert_eq!(ready.hello_refused(|hello| hello["ct"] = json!("now")).await, bad("ct"));
    assert_eq!(ready.hello_refused(|hello| drop(hello.as_object_mut().unwrap().remove("token"))).await, bad("token"));
    let unknown = refusal("token_unknown", Some("token"), 4401);
    assert_eq!(ready.hello_refused(|hello| hello["token"] = json!("nonsense")).await, unknown);
    let forged = json!(format!("ivt_{}", "A".repeat(43)));
    assert_eq!(ready.hello_refused(|hello| hello["token"] = forged).await, unknown);
    let other_key = ClientKey::generate().unwrap().public();
    let unsigned = refusal("signature_wrong", Some("signature"), 4401);
    assert_eq!(ready.hello_refused(|hello| hello["key"] = json!(other_key)).await, unsigned);
    // A signature over another connection's nonce is a replay.
    let stale = ready.key.sign_hello("AAAA", &ready.opened.session, &ready.opened.token).unwrap();
    assert_eq!(ready.hello_refused(|hello| hello["signature"] = json!(stale)).await, unsigned);
}

#[tokio::test]
async fn a_stolen_token_opens_nothing() {
    let ready = ready().await;
    drop(ready.enter().await);
    let thief = ClientKey::generate().unwrap();
    let (mut wire, nonce) = Wire::connect(&ready.stage.stream_url()).await;
    wire.send(Wire::hello(&ready.opened, &thief, &nonce, 0)).await;
    assert_eq!(wire.refusal().await, ("key_mismatch".into(), Some("key".into())));
    assert_eq!(wire.close_code().await, 4401);
}

#[tokio::test]
async fn tokens_expire_and_are_renewed_before() {
    let ready = ready().await;
    let mut wire = ready.enter().await;
    ready.stage.wall.advance_ms(600_000);
    let renewed = wire.expect("renew").await;
    ready.stage.wall.advance_ms(300_000);
    assert_eq!(ready.hello_refused(|_| ()).await, refusal("token_expired", Some("token"), 4401));
    let opened = Opened { token: renewed["token"].as_str().unwrap().into(), ..ready.opened.clone() };
    Wire::enter(&ready.stage.stream_url(), &opened, &ready.key, 0).await;
}

#[tokio::test]
async fn another_sessions_token_is_refused() {
    let ready = ready().await;
    let (project, lessons) = ready.stage.project(&ready.course.platform, &[390_000]).await;
    ready.course.enrol(&project, &ready.learner).await;
    let other = ready.course.open(&lessons[0], &ready.learner).await;
    let (mut wire, nonce) = Wire::connect(&ready.stage.stream_url()).await;
    let mixed = Opened { token: other.token, ..ready.opened.clone() };
    wire.send(Wire::hello(&mixed, &ready.key, &nonce, 0)).await;
    assert_eq!(wire.refusal().await, ("session_mismatch".into(), Some("session".into())));
    assert_eq!(wire.close_code().await, 4401);
}

#[tokio::test]
async fn messages_that_are_wrong_are_answered() {
    let ready = ready().await;
    let text = |text: &str| Message::text(text.to_owned());
    let closed = |code: &str, field: Option<&str>, close| (code.to_owned(), field.map(str::to_owned), close);
    let bad = |field| closed("bad_message", Some(field), Some(4400));
    assert_eq!(ready.refused(text("{")).await, closed("bad_json", None, Some(4400)));
    assert_eq!(ready.refused(text(r#"{"type":"dance"}"#)).await, closed("unknown_type", Some("type"), None));
    assert_eq!(ready.refused(text(r#"{"seq":1,"ct":1,"type":"heartbeat"}"#)).await, bad("data"));
    let event =
        |kind: &str, data: Value| Message::text(json!({"seq": 1, "ct": 1, "type": kind, "data": data}).to_string());
    let no_position = json!({"playing": true, "rate": 1.0});
    assert_eq!(ready.refused(event("heartbeat", no_position)).await, bad("data.pos_ms"));
    let word = json!({"event": "dance", "playing": true, "pos_ms": 0, "rate": 1.0});
    assert_eq!(ready.refused(event("playback", word)).await, bad("data.event"));
    let forged = json!({"capture": "c1", "outcome": "match", "photo": null});
    assert_eq!(ready.refused(event("face.checked", forged)).await, closed("server_event", Some("type"), Some(4400)));
    let gap = Message::text(json!({"seq": 7, "ct": 1, "type": "heartbeat", "data": at(0)}).to_string());
    assert_eq!(ready.refused(gap).await, closed("seq_gap", Some("seq"), Some(4400)));
    assert_eq!(ready.refused(text(&"x".repeat(65_537))).await, closed("too_large", None, Some(1009)));
    let huge = Message::binary(vec![0; 4_194_305]);
    assert_eq!(ready.refused(huge).await, closed("too_large", None, Some(1009)));
    assert_eq!(ready.refused(Message::binary(vec![0; 3])).await, closed("bad_photo_frame", Some("length"), None));
    let header = r#"{"capture":"c1","ct":0}"#;
    assert_eq!(
        ready.refused(Message::binary(photo_frame(header, b"x"))).await,
        closed("bad_photo_frame", Some("nonce"), None)
    );
}

#[tokio::test]
async fn events_wait_for_the_welcome_and_clocks_do_not_go_back() {
    let ready = ready().await;
    let (mut wire, nonce) = Wire::connect(&ready.stage.stream_url()).await;
    wire.send(Wire::hello(&ready.opened, &ready.key, &nonce, 0)).await;
    wire.expect("ping").await;
    wire.event(1, "heartbeat", at(0)).await;
    assert_eq!(wire.refusal().await.0, "not_welcome_yet");
    assert_eq!(wire.close_code().await, 4400);

    let mut wire = ready.enter().await;
    wire.kept(500, "playback", play(0)).await;
    wire.event(499, "heartbeat", at(0)).await;
    assert_eq!(wire.refusal().await, ("ct_decreased".into(), Some("ct".into())));
}

#[tokio::test]
async fn an_event_of_a_later_version_is_kept_and_means_nothing() {
    let ready = ready().await;
    let mut wire = ready.enter().await;
    wire.event(5, "gaze", json!({"yaw": 3})).await;
    assert_eq!(wire.expect("notice").await["code"], "unknown_event");
    let log = ready.course.platform.text(&format!("/sessions/{}/log", ready.opened.session)).await;
    assert!(log.contains(r#""type":"gaze","data":{"yaw":3}"#));
}

#[tokio::test]
async fn a_flood_is_refused_with_a_time_to_come_back() {
    let ready = ready().await;
    let mut wire = ready.enter().await;
    for _ in 0..201 {
        wire.event(1, "heartbeat", at(0)).await;
    }
    let error = wire.expect("error").await;
    assert_eq!(error["code"], "too_many_events");
    assert!(error["retry_after_ms"].as_i64().unwrap() > 0);
    assert_eq!(wire.close_code().await, 4429);
    // What came before is on disk, exactly once.
    let (_, welcome) = Wire::enter(&ready.stage.stream_url(), &ready.opened, &ready.key, 0).await;
    assert_eq!(welcome["acknowledged"], 200);
}

#[tokio::test]
async fn photos_are_bound_to_their_capture() {
    let ready = ready().await;
    let mut wire = ready.enter().await;
    let capture = first_capture(&ready, &mut wire).await;
    let photo = frame("webcam_man", 5);
    let with = |capture: &str, nonce: &str| json!({"capture": capture, "nonce": nonce});
    let nonce = capture["nonce"].as_str().unwrap().to_owned();

    wire.photo(&with("c9", &nonce), &photo).await;
    assert_eq!(wire.refusal().await.0, "capture_unknown");
    wire.photo(&capture, &photo).await;
    assert_eq!(wire.refusal().await.0, "capture_not_committed");
    wire.commit(100_000, &capture, &photo).await;
    wire.photo(&with("c1", "AAAAAAAAAAAAAAAAAAAAAA"), &photo).await;
    assert_eq!(wire.refusal().await.0, "nonce_wrong");
    wire.photo(&capture, &frame("webcam_man", 6)).await;
    assert_eq!(wire.refusal().await.0, "digest_mismatch");
    wire.photo(&capture, &vec![0; 524_289]).await;
    assert_eq!(wire.refusal().await.0, "photo_too_large");
    wire.photo(&capture, &photo).await;
    assert_eq!(wire.expect("photo.received").await["capture"], "c1");
    assert_eq!(wire.expect("capture.closed").await["outcome"], "match");
    wire.photo(&capture, &photo).await;
    assert_eq!(wire.refusal().await.0, "capture_expired");
}

/// Plays until the server asks for the first photo.
async fn first_capture(ready: &Ready, wire: &mut Wire) -> Value {
    wire.kept(0, "playback", play(0)).await;
    for step in 1.. {
        ready.stage.advance_ms(5_000);
        wire.kept(step * 5_000, "heartbeat", at(step * 5_000)).await;
        if let Some(capture) = wire.seen_of("capture").first() {
            return (*capture).clone();
        }
        assert!(step < 20, "no capture within 100 s");
    }
    unreachable!()
}

#[tokio::test]
async fn a_capture_that_nobody_answers_expires() {
    let ready = ready().await;
    let mut wire = ready.enter().await;
    let capture = first_capture(&ready, &mut wire).await;
    ready.stage.advance_ms(20_000);
    assert_eq!(wire.expect("capture.closed").await["outcome"], "expired");
    let photo = frame("webcam_man", 5);
    wire.commit(120_000, &capture, &photo).await;
    wire.photo(&capture, &photo).await;
    assert_eq!(wire.refusal().await.0, "capture_expired");
}

/// Takes this photo for a capture; outcome and advice.
async fn checked(wire: &mut Wire, ct: i64, capture: &Value, photo: &[u8]) -> (Value, Value) {
    wire.commit(ct, capture, photo).await;
    wire.photo(capture, photo).await;
    let closed = wire.expect("capture.closed").await;
    (closed["outcome"].clone(), closed["advice"].clone())
}

#[tokio::test]
async fn a_photo_that_was_seen_before_is_no_photo_of_now() {
    let ready = ready().await;
    let mut wire = ready.enter().await;
    let first = first_capture(&ready, &mut wire).await;
    let photo = frame("webcam_man", 5);
    // The photo of the enrolment, then a good one, and then that again.
    let mut outcomes = vec![checked(&mut wire, 100_000, &first, &frame("webcam_man", 1)).await];
    let mut step = 21;
    for photo in [&photo, &photo] {
        let capture = loop {
            ready.stage.advance_ms(5_000);
            wire.kept(step * 5_000, "heartbeat", at((step - 15) * 5_000)).await;
            step += 1;
            assert!(step < 300, "no further capture");
            if let Some(capture) = wire.seen_of("capture").get(outcomes.len()) {
                break (*capture).clone();
            }
        };
        outcomes.push(checked(&mut wire, step * 5_000, &capture, photo).await);
    }
    let repeated = (json!("spoof"), json!("repeated"));
    assert_eq!(outcomes, [repeated.clone(), (json!("match"), json!(null)), repeated]);
}

#[tokio::test]
async fn what_is_no_photo_is_checked_as_unusable() {
    let bomb = jpeg_header(65_500, 65_500);
    let cases: [(&str, Vec<u8>, &str); 3] = [
        ("text", b"this is a text file".to_vec(), "not_a_photo"),
        ("65 500 pixels", bomb, "too_many_pixels"),
        ("half a photo", frame("webcam_man", 5)[..4_000].to_vec(), "truncated"),
    ];
    for (what, photo, advice) in cases {
        let ready = ready().await;
        let mut wire = ready.enter().await;
        let capture = first_capture(&ready, &mut wire).await;
        wire.commit(100_000, &capture, &photo).await;
        wire.photo(&capture, &photo).await;
        let closed = wire.expect("capture.closed").await;
        assert_eq!((&closed["outcome"], &closed["advice"]), (&json!("unusable"), &json!(advice)), "{what}");
    }
}

/// A JPEG that says it is large, and ends.
fn jpeg_header(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xc0, 0, 17, 8];
    jpeg.extend(height.to_be_bytes());
    jpeg.extend(width.to_be_bytes());
    jpeg.extend([3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    jpeg.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 0x3f, 0, 0, 0, 0xff, 0xd9]);
    jpeg
}

#[tokio::test]
async fn a_client_without_the_subprotocol_is_told() {
    let ready = ready().await;
    let error = tokio_tungstenite::connect_async(ready.stage.stream_url()).await.unwrap_err();
    assert!(error.to_string().contains("400"), "{error}");
}
