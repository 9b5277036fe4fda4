//! Captures of several photos, over the wire: what an honest page sends, and what is wrong with what others send.

use invigil::client::ClientKey;
use invigil::vision::alter;
use invigil::vision::burst::{self, Frame};
use serde_json::{Value, json};

use crate::harness::wire::{Wire, at, play, sha256};
use crate::harness::{Course, Opened, Stage, frame};

/// Captures of three photos that come soon, and again soon after one that failed.
const BURSTS: &str = r#"
id = "bursts"
[schedule]
prompt_sum_milli = 0
capture_min_ms = 10_000
capture_max_ms = 20_000
challenge_recheck_milli = 0
challenge_random_milli = 0
"#;
const PACK_FILE: &str = "bursts.toml";
/// How long the page takes before the first photo, ms.
const AIM_MS: i64 = 1_000;

/// A learner who plays, and is asked for captures.
struct Sitting {
    stage: Stage,
    course: Course,
    opened: Opened,
    key: ClientKey,
    wire: Wire,
    ct: i64,
    asked: usize,
}

impl Sitting {
    async fn begin(pack: &str) -> Self {
        let stage = Stage::start_with(clock(), clock(), |folder, config| {
            std::fs::write(folder.join(PACK_FILE), pack).unwrap();
            config.policies.push(folder.join(PACK_FILE));
        })
        .await;
        let course = stage.operator.course(&[390_000], "bursts").await;
        let learner = course.learner(frame("webcam_man", 1)).await;
        Self::of(stage, course, &learner).await
    }

    async fn of(stage: Stage, course: Course, learner: &str) -> Self {
        let opened = course.open(&course.lessons[0], learner).await;
        let key = ClientKey::generate().unwrap();
        let (mut wire, _) = Wire::enter(&stage.stream_url(), &opened, &key, 0).await;
        wire.kept(0, "playback", play(0)).await;
        Self { stage, course, opened, key, wire, ct: 0, asked: 0 }
    }

    /// Ends this session, and a learner begins another one.
    async fn then(mut self, learner: &str) -> Self {
        self.wire.send(json!({"type": "close", "reason": "left"})).await;
        self.wire.expect("closed").await;
        self.stage.advance_ms(60_000);
        Self::of(self.stage, self.course, learner).await
    }

    /// Watches until the next capture is asked for.
    async fn capture(&mut self) -> Value {
        for _ in 0..60 {
            if let Some(capture) = self.wire.seen_of("capture").get(self.asked) {
                self.asked += 1;
                return (*capture).clone();
            }
            self.pass(1_000);
            self.wire.kept(self.ct, "heartbeat", at(self.ct)).await;
            // A second acknowledgement: what the first brought about has been sent by then.
            self.wire.kept(self.ct, "windows", json!({"count": 1})).await;
        }
        panic!("no capture within a minute: {:?}", self.wire.seen);
    }

    fn pass(&mut self, by_ms: i64) {
        self.stage.advance_ms(by_ms);
        self.ct += by_ms;
    }

    /// Answers a capture with this submission `after_ms`; outcome and advice.
    async fn answer(&mut self, capture: &Value, after_ms: i64, submission: &[u8]) -> (String, Option<String>) {
        self.pass(after_ms);
        self.wire.commit(self.ct, capture, submission).await;
        self.wire.photo(capture, submission).await;
        self.closed().await
    }

    async fn closed(&mut self) -> (String, Option<String>) {
        let closed = self.wire.expect("capture.closed").await;
        (closed["outcome"].as_str().unwrap().to_owned(), closed["advice"].as_str().map(str::to_owned))
    }

    /// The server goes, and another one takes up what it left.
    async fn restart(&mut self) {
        let Self { stage, wire, .. } = self;
        // It goes once its pages have heard that it does.
        let restarted = stage.restart_with(|folder, config| config.policies.push(folder.join(PACK_FILE)));
        tokio::join!(restarted, wire.close_code());
        self.course.platform = self.stage.operator.with_key(&self.course.platform.key);
        let seq = self.wire.seq;
        self.pass(1_000);
        let (wire, welcome) = Wire::enter(&self.stage.stream_url(), &self.opened, &self.key, self.ct).await;
        assert_eq!(welcome["acknowledged"], seq);
        (self.wire, self.asked) = (wire, 0);
        self.wire.seq = seq;
    }

    async fn log(&self) -> Vec<Value> {
        let log = self.course.platform.text(&format!("/sessions/{}/log", self.opened.session)).await;
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn logged(&self, kind: &str) -> Vec<Value> {
        self.log().await.into_iter().filter(|line| line["type"] == kind).map(|line| line["data"].clone()).collect()
    }
}

fn clock() -> invigil::clock::Clock {
    invigil::clock::Clock::manual(crate::harness::START_MS)
}

/// Photos of the film that was made at a webcam, from `first` on, at these times.
fn film(first: u32, times_ms: &[u32]) -> Vec<u8> {
    let photos: Vec<_> = (first..).step_by(9).take(times_ms.len()).map(|number| frame("webcam_man", number)).collect();
    taken(&photos, times_ms)
}

fn taken(photos: &[Vec<u8>], times_ms: &[u32]) -> Vec<u8> {
    let frames: Vec<Frame<'_>> = times_ms.iter().zip(photos).map(|(&at_ms, photo)| Frame { at_ms, photo }).collect();
    burst::compose(&frames)
}

#[tokio::test]
async fn an_honest_burst_is_matched_and_kept_whole() {
    let sitting = Sitting::begin(BURSTS).await;
    let learner = sitting.course.learner(frame("film_woman", 80)).await;
    let mut sitting = sitting.then(&learner).await;
    let capture = sitting.capture().await;
    assert_eq!(
        (&capture["frames"], &capture["frame_every_ms"], &capture["challenge"]),
        (&json!(3), &json!(300), &Value::Null)
    );
    assert_eq!(capture["bytes_limit"], 3 * 524_288 + 5 + 3 * 8);
    let submission = taken(&woman([50, 52, 54]), &[0, 300, 610]);
    assert_eq!(sitting.answer(&capture, AIM_MS + 610, &submission).await, ("match".to_owned(), None));
    // The next one is slow, as its page is: its timers fire once a second.
    let capture = sitting.capture().await;
    let slow = taken(&woman([110, 112, 114]), &[0, 1_000, 2_000]);
    assert_eq!(sitting.answer(&capture, AIM_MS + 2_000, &slow).await, ("match".to_owned(), None));
    assert_eq!(sitting.logged("capture.requested").await[0]["frames"], 3);
    let kept: Vec<_> = sitting.logged("face.checked").await.iter().map(|check| check["photo"].clone()).collect();
    assert_eq!(kept, [sha256(&submission), sha256(&slow)]);
}

#[tokio::test]
async fn what_is_no_burst_as_asked_for_is_unusable_and_the_learner_is_told_why() {
    let mut sitting = Sitting::begin(BURSTS).await;
    let whole = film(2, &[0, 300, 600]);
    let cases: [(Vec<u8>, &str); 8] = [
        (film(2, &[0]), "too_few_frames"),
        (film(5, &[0, 300]), "too_few_frames"),
        (film(8, &[0, 300, 600, 900]), "too_many_frames"),
        (whole[..whole.len() - 1].to_vec(), "bad_burst"),
        ([&whole[..], b"x"].concat(), "bad_burst"),
        // Longer than the server has waited, and at once.
        (film(11, &[0, 300, 20_000]), "frame_times"),
        (film(14, &[0, 1, 2]), "frame_times"),
        (burst::compose(&[0, 300, 600].map(|at_ms| Frame { at_ms, photo: b"no photo" })), "not_a_photo"),
    ];
    for (submission, advice) in cases {
        let capture = sitting.capture().await;
        let expected = ("unusable".to_owned(), Some(advice.to_owned()));
        assert_eq!(sitting.answer(&capture, AIM_MS + 900, &submission).await, expected);
    }
    let reasons: Vec<_> = sitting.logged("face.checked").await.iter().map(|check| check["reason"].clone()).collect();
    assert_eq!(reasons[5..], ["frame_times", "frame_times", "not_a_photo"]);
}

#[tokio::test]
async fn another_burst_than_was_committed_to_is_refused() {
    let mut sitting = Sitting::begin(BURSTS).await;
    let capture = sitting.capture().await;
    let (committed, better) = (film(2, &[0, 300, 600]), film(2, &[0, 310, 600]));
    sitting.pass(AIM_MS + 600);
    sitting.wire.commit(sitting.ct, &capture, &committed).await;
    sitting.wire.photo(&capture, &better).await;
    assert_eq!(sitting.wire.refusal().await.0, "digest_mismatch");
    let limit = usize::try_from(capture["bytes_limit"].as_u64().unwrap()).unwrap();
    sitting.wire.photo(&capture, &vec![0; limit + 1]).await;
    assert_eq!(sitting.wire.refusal().await.0, "photo_too_large");
    sitting.wire.photo(&capture, &committed).await;
    assert_eq!(sitting.closed().await, ("match".to_owned(), None));
}

#[tokio::test]
async fn a_burst_that_was_committed_to_is_still_taken_after_a_restart() {
    let mut sitting = Sitting::begin(BURSTS).await;
    let asked = sitting.capture().await;
    let submission = film(2, &[0, 300, 600]);
    sitting.pass(AIM_MS + 600);
    sitting.wire.commit(sitting.ct, &asked, &submission).await;
    sitting.restart().await;
    let again = sitting.wire.expect("capture").await;
    assert_eq!(again["committed"], sha256(&submission));
    for field in ["capture", "nonce", "frames", "frame_every_ms", "bytes_limit"] {
        assert_eq!(again[field], asked[field], "{field}");
    }
    sitting.wire.photo(&again, &submission).await;
    assert_eq!(sitting.closed().await, ("match".to_owned(), None));
}

#[tokio::test]
async fn a_challenge_is_the_same_after_a_restart_and_another_when_it_was_not_done() {
    let challenged = format!("{BURSTS}challenge_start_milli = 1_000\n");
    let mut sitting = Sitting::begin(&challenged).await;
    let asked = sitting.capture().await;
    assert_eq!((&asked["frames"], &asked["frame_every_ms"]), (&json!(10), &json!(250)));
    assert!(asked["challenge"].is_string(), "{asked}");
    sitting.restart().await;
    let again = sitting.capture().await;
    assert_eq!(again["challenge"], asked["challenge"]);
    // Three photos are not ten.
    let plain = sitting.answer(&again, AIM_MS + 600, &film(2, &[0, 300, 600])).await;
    assert_eq!(plain, ("unusable".to_owned(), Some("too_few_frames".to_owned())));
    let next = sitting.capture().await;
    assert_eq!((&next["reason"], &next["frames"]), (&json!("recheck"), &json!(10)));
    assert!(next["challenge"].is_string() && next["challenge"] != asked["challenge"], "{next}");
    let requested = sitting.logged("capture.requested").await;
    assert_eq!(
        requested.iter().map(|data| &data["challenge"]).collect::<Vec<_>>(),
        [&asked["challenge"], &next["challenge"]]
    );
}

// --- the same picture again ----------------------------------------------------------------------------------------

/// Photos of the film of a woman, which has eight a second, a quarter of a second apart.
fn woman(numbers: [u32; 3]) -> [Vec<u8>; 3] {
    numbers.map(|number| frame("film_woman", number))
}

fn quarters(photos: &[Vec<u8>; 3]) -> Vec<u8> {
    taken(photos, &[0, 250, 500])
}

/// A stored photo as a cheat sends it: encoded anew, with noise in its lowest bits.
fn disguised(photo: &[u8], seed: u64) -> Vec<u8> {
    let picture = image::load_from_memory(photo).unwrap().into_rgb8();
    alter::jpeg(&alter::noisy(&alter::low_bits_flipped(&picture), 2.0, seed), 75)
}

/// What is said of the last photos, and of which earlier one they are.
async fn said(sitting: &Sitting) -> (Value, Value) {
    let check = sitting.logged("face.checked").await.pop().unwrap();
    if let Some(likeness) = check["same_picture"]["likeness"].as_f64() {
        assert!((0.97..=1.0).contains(&likeness), "{check}");
    }
    (check["reason"].clone(), check["same_picture"]["of"].clone())
}

async fn of_a_woman() -> (Sitting, String) {
    let mut sitting = Sitting::begin(BURSTS).await;
    let learner = sitting.course.learner(frame("film_woman", 80)).await;
    sitting = sitting.then(&learner).await;
    let capture = sitting.capture().await;
    let first = quarters(&woman([50, 52, 54]));
    assert_eq!(sitting.answer(&capture, AIM_MS + 500, &first).await, ("match".to_owned(), None));
    (sitting, learner)
}

#[tokio::test]
async fn an_earlier_photo_of_the_learner_is_known_again_in_another_session_wherever_it_is_in_a_burst() {
    let (sitting, learner) = of_a_woman().await;
    let mut sitting = sitting.then(&learner).await;
    let spoof = ("spoof".to_owned(), Some("same_picture".to_owned()));
    let of_a_capture = (json!("same_picture"), json!("capture"));

    // All of them are old.
    let [a, b, c] = woman([50, 52, 54]);
    let old = [disguised(&a, 1), disguised(&b, 2), disguised(&c, 3)];
    let capture = sitting.capture().await;
    assert_eq!(sitting.answer(&capture, AIM_MS + 500, &quarters(&old)).await, spoof);
    assert_eq!(said(&sitting).await, of_a_capture);

    // The first is new, and only the last is old; what was refused is not kept, so it is the first session's.
    let late = [frame("film_woman", 47), frame("film_woman", 49), disguised(&b, 4)];
    let capture = sitting.capture().await;
    assert_eq!(sitting.answer(&capture, AIM_MS + 500, &quarters(&late)).await, spoof);
    assert_eq!(said(&sitting).await, of_a_capture);

    // The enrolment photo among new ones.
    let enrolled = disguised(&frame("film_woman", 80), 5);
    let capture = sitting.capture().await;
    let among = [frame("film_woman", 78), enrolled, frame("film_woman", 82)];
    assert_eq!(sitting.answer(&capture, AIM_MS + 500, &quarters(&among)).await, spoof);
    assert_eq!(said(&sitting).await, (json!("same_picture"), json!("enrolment")));

    // She herself, later.
    let capture = sitting.capture().await;
    let honest = sitting.answer(&capture, AIM_MS + 500, &quarters(&woman([110, 112, 114]))).await;
    assert_eq!(honest, ("match".to_owned(), None));
}

#[tokio::test]
async fn an_altered_photo_of_another_learner_of_the_platform_is_no_photo_of_this_one() {
    let (sitting, _) = of_a_woman().await;
    // One person who sits in for two.
    let other = sitting.course.learner(frame("film_woman", 60)).await;
    let mut sitting = sitting.then(&other).await;
    let [a, b, c] = woman([50, 52, 54]);
    let capture = sitting.capture().await;
    let old = [disguised(&a, 1), disguised(&b, 2), disguised(&c, 3)];
    let spoof = ("spoof".to_owned(), Some("same_picture".to_owned()));
    assert_eq!(sitting.answer(&capture, AIM_MS + 500, &quarters(&old)).await, spoof);
    assert_eq!(said(&sitting).await, (json!("same_picture"), json!("other_learner")));
    let capture = sitting.capture().await;
    let honest = sitting.answer(&capture, AIM_MS + 500, &quarters(&woman([110, 112, 114]))).await;
    assert_eq!(honest, ("match".to_owned(), None));
}
