//! The online quota: who has spent it is stopped, keeps what was learned, and is not let in again.

use invigil::client::ClientKey;
use invigil::policy::Policy;
use serde_json::{Value, json};

use crate::harness::wire::{Wire, at, play};
use crate::harness::{Course, Opened, PLAIN, Stage, application, frame, plain, replayed, text};

/// 40 % of 3 class hours of 40 minutes.
const QUOTA_MS: i64 = 2_880_000;
/// What is left of it to the learner here.
const LEFT_MS: i64 = 60_000;

/// A course whose quota is spent but for a minute, by what the learner did elsewhere.
async fn nearly_spent(stage: &Stage) -> (Course, String) {
    let course = stage.course(&[390_000]).await;
    let mut small = application(&[390_000], PLAIN);
    (small["total_hours"], small["online_hours"], small["practice_hours"]) = (json!(3), json!(1), json!(2));
    small["subsidised"] = json!(false);
    let (project, lessons) = stage.operator.approved(&course.platform, small).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let body = json!({"learner": learner, "prior_online_ms": QUOTA_MS - LEFT_MS});
    course.platform.post(&format!("/projects/{project}/enrolments"), body).await;
    (Course { project, lessons, ..course }, learner)
}

/// Who plays with a heartbeat every five seconds.
struct Player {
    wire: Wire,
    pos_ms: i64,
    /// messages that were looked at
    looked_at: usize,
    /// whether the photos that are asked for are sent; else they are only committed to
    sends_photos: bool,
    committed: Option<Value>,
    /// frame of the photo that was taken last
    frame: u32,
}

impl Player {
    async fn begin(stage: &Stage, opened: &Opened, sends_photos: bool) -> Self {
        let key = ClientKey::generate().unwrap();
        let (mut wire, _) = Wire::enter(&stage.stream_url(), opened, &key, 0).await;
        wire.kept(0, "playback", play(0)).await;
        Self { wire, pos_ms: 0, looked_at: 0, sends_photos, committed: None, frame: 1 }
    }

    async fn play_to(&mut self, stage: &Stage, until_ms: i64) {
        while self.pos_ms < until_ms {
            stage.advance_ms(5_000);
            self.pos_ms += 5_000;
            self.wire.kept(self.pos_ms, "heartbeat", at(self.pos_ms)).await;
            while let Some(message) = self.wire.seen.get(self.looked_at).cloned() {
                self.looked_at += 1;
                self.answer(message).await;
            }
        }
    }

    async fn answer(&mut self, message: Value) {
        match message["type"].as_str().unwrap() {
            "ping" => self.wire.send(json!({"type": "pong", "id": message["id"], "ct": self.pos_ms})).await,
            "capture" => {
                self.frame += 1;
                self.wire.commit(self.pos_ms, &message, &frame("webcam_man", self.frame)).await;
                self.committed = Some(message);
                if self.sends_photos {
                    self.send_photo().await;
                    self.wire.expect("capture.closed").await;
                }
            }
            _ => {}
        }
    }

    async fn send_photo(&mut self) {
        let capture = self.committed.take().expect("a photo was asked for");
        self.wire.photo(&capture, &frame("webcam_man", self.frame)).await;
    }
}

#[tokio::test]
async fn who_has_spent_the_quota_is_stopped_and_not_let_in_again() {
    let stage = Stage::start().await;
    let (course, learner) = nearly_spent(&stage).await;
    let body = json!({"lesson": course.lessons[0], "learner": learner});
    let opened = course.platform.post("/sessions", body.clone()).await;
    assert_eq!(opened["online_left_ms"], LEFT_MS);
    // Another project of the same learner has a quota of its own.
    let (elsewhere, other_lessons) = stage.project(&course.platform, &[390_000]).await;
    course.enrol(&elsewhere, &learner).await;
    let other = course.open(&other_lessons[0], &learner).await;

    let opened = Opened { session: text(&opened, "session"), token: text(&opened, "token") };
    let mut player = Player::begin(&stage, &opened, true).await;
    player.play_to(&stage, LEFT_MS).await;
    let closed = player.wire.expect("closed").await;
    assert_eq!(closed["reason"], "quota");
    let verdict = &closed["verdict"];
    assert_eq!((&verdict["status"], &verdict["credited_ms"]), (&json!("valid"), &json!(LEFT_MS)), "{verdict}");
    assert_eq!(player.wire.seen_of("pause").last().unwrap()["reason"], "quota");

    let path = format!("/sessions/{}", opened.session);
    let log = course.platform.text(&format!("{path}/log")).await;
    assert!(log.ends_with("\"type\":\"session.closed\",\"data\":{\"reason\":\"quota\"}}\n"), "{log}");
    let stored = course.platform.text(&format!("{path}/verdict")).await;
    assert_eq!(stored, replayed(&log, plain()));

    let refused = course.platform.send(reqwest::Method::POST, "/sessions", Some(body)).await;
    assert_eq!(refused.status(), 409);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(
        (&problem["type"], &problem["rule"]),
        (&json!("urn:invigil:problem:quota-spent"), &json!("online_quota"))
    );
    assert!(problem["clause"].as_str().unwrap().contains("40%"), "{problem}");
    let untouched = course.platform.get(&format!("/sessions/{}", other.session)).await;
    assert_eq!(untouched["state"], "open");
    course.open(&other_lessons[0], &learner).await;
}

#[tokio::test]
async fn a_photo_that_was_asked_for_may_still_be_taken() {
    let stage = Stage::start().await;
    let (course, learner) = nearly_spent(&stage).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let mut player = Player::begin(&stage, &opened, false).await;
    player.play_to(&stage, LEFT_MS).await;
    let pause = player.wire.expect("pause").await;
    assert_eq!(pause["reason"], "quota");
    assert!(player.wire.seen_of("closed").is_empty(), "the photo is awaited");
    player.send_photo().await;
    let closed = player.wire.expect("closed").await;
    assert_eq!((&closed["reason"], &closed["verdict"]["status"]), (&json!("quota"), &json!("valid")), "{closed}");
    assert_eq!(closed["verdict"]["credited_ms"], LEFT_MS);
}

#[tokio::test]
async fn a_session_held_as_a_makeup_says_so_in_its_first_line() {
    let stage = Stage::start().await;
    let course = stage.course(&[390_000]).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let enrolments = course.platform.get(&format!("/projects/{}/enrolments", course.project)).await;
    let body = json!({"enrolment": enrolments["items"][0]["id"], "lesson": course.lessons[0], "reference": "补1号",
        "office": "县人社局", "reason": "病假"});
    let makeup = stage.operator.post(&format!("/projects/{}/makeups", course.project), body).await;
    let body = json!({"lesson": course.lessons[0], "learner": learner, "makeup": makeup["id"]});
    let opened = course.platform.post("/sessions", body).await;
    let path = format!("/sessions/{}", opened["session"].as_str().unwrap());
    course.platform.post(&format!("{path}/close"), json!({"reason": "left"})).await;
    let log = course.platform.text(&format!("{path}/log")).await;
    let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(first["data"]["makeup"], json!({"id": makeup["id"], "reference": "补1号"}));
    let stored = course.platform.text(&format!("{path}/verdict")).await;
    assert_eq!(stored, replayed(&log, Policy::default()));
}

#[tokio::test]
async fn a_ban_that_ends_ends_for_sessions_too() {
    const DAY_MS: i64 = 86_400_000;
    let stage = Stage::start().await;
    let course = stage.course(&[390_000, 390_000]).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let platform = course.platform.get("/platform").await;
    // The clock stands at 21 September 2026.
    let ban = json!({"status": "banned", "reason": "快进播放", "document": "罚1号", "violation_on": "2024-09-23"});
    stage.operator.put(&format!("/platforms/{}/status", platform["id"].as_str().unwrap()), ban).await;
    for (days, status) in [(1, "banned"), (1, "active")] {
        stage.advance_ms(days * DAY_MS);
        let opened = course.open(&course.lessons[0], &learner).await;
        let path = format!("/sessions/{}", opened.session);
        course.platform.post(&format!("{path}/close"), json!({"reason": "left"})).await;
        let log = course.platform.text(&format!("{path}/log")).await;
        assert!(log.contains(&format!("\"platform_status\":\"{status}\"")), "{status}: {log}");
        let verdict = course.platform.get(&format!("{path}/verdict")).await;
        let banned = verdict["violations"].as_array().unwrap().iter().any(|one| one["rule"] == "platform_banned");
        assert_eq!(banned, status == "banned");
    }
}
