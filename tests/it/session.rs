//! The life of a session over the wire: a whole one, resumed ones, chained ones, two at once.

use std::sync::atomic::{AtomicU32, Ordering};

use invigil::client::ClientKey;
use invigil::clock::Clock;
use serde_json::{Value, json};

use crate::harness::wire::{Heard, Wire, at, play};
use crate::harness::{Course, Opened, PLAIN, START_MS, Stage, frame, plain, replayed};

/// Watches until `until_ms` with a heartbeat every five seconds, answering whatever is asked.
pub struct Watcher {
    wire: Wire,
    ct: i64,
    pos_ms: i64,
    photos: Box<dyn FnMut() -> Vec<u8> + Send>,
    /// how many of the messages that came were answered, or need no answer
    answered: usize,
}

impl Watcher {
    pub async fn enter(stage: &Stage, opened: &Opened, key: &ClientKey) -> Self {
        let (wire, _) = Wire::enter(&stage.stream_url(), opened, key, 0).await;
        // One camera for all sessions of a test: it never gives the same photo twice.
        static NEXT: AtomicU32 = AtomicU32::new(2);
        let photos = Box::new(|| frame("webcam_man", NEXT.fetch_add(1, Ordering::Relaxed)));
        let answered = wire.seen.len();
        Self { wire, ct: 0, pos_ms: 0, photos, answered }
    }

    pub async fn play(&mut self) {
        self.wire.kept(self.ct, "playback", play(self.pos_ms)).await;
    }

    async fn step(&mut self, stage: &Stage, by_ms: i64) {
        stage.advance_ms(by_ms);
        (self.ct, self.pos_ms) = (self.ct + by_ms, self.pos_ms + by_ms);
        self.wire.kept(self.ct, "heartbeat", at(self.pos_ms)).await;
        self.answer_all().await;
    }

    /// Answers whatever was asked and has come, also what came while something else was waited for.
    async fn answer_all(&mut self) {
        while let Some(message) = self.wire.seen.get(self.answered).cloned() {
            self.answered += 1;
            self.answer(&message).await;
        }
    }

    async fn answer(&mut self, message: &Value) {
        match message["type"].as_str().unwrap() {
            "prompt" if !self.is_closed("prompt", message) => {
                let data = json!({"prompt": message["prompt"], "answer": right_answer(message)});
                self.wire.event(self.ct, "prompt.answered", data).await;
                self.until_closed("prompt", message).await;
            }
            "capture" if !self.is_closed("capture", message) => {
                let photo = (self.photos)();
                self.wire.commit(self.ct, message, &photo).await;
                self.wire.photo(message, &photo).await;
                self.until_closed("capture", message).await;
            }
            "ping" => self.wire.send(json!({"type": "pong", "id": message["id"], "ct": self.ct})).await,
            _ => {}
        }
    }

    /// Whether the prompt or capture that `message` asked for is over.
    fn is_closed(&self, what: &str, message: &Value) -> bool {
        self.wire.seen_of(&format!("{what}.closed")).iter().any(|closed| closed[what] == message[what])
    }

    async fn until_closed(&mut self, what: &str, message: &Value) {
        while !self.is_closed(what, message) {
            self.wire.expect(&format!("{what}.closed")).await;
        }
    }

    pub async fn watch(&mut self, stage: &Stage, until_ms: i64) {
        while self.pos_ms < until_ms {
            self.step(stage, 5_000.min(until_ms - self.pos_ms)).await;
        }
    }

    /// Watches up to the first capture, and leaves it open.
    async fn watch_to_first_capture(&mut self, stage: &Stage) -> Value {
        loop {
            stage.advance_ms(5_000);
            (self.ct, self.pos_ms) = (self.ct + 5_000, self.pos_ms + 5_000);
            self.wire.kept(self.ct, "heartbeat", at(self.pos_ms)).await;
            if let Some(capture) = self.wire.seen_of("capture").first() {
                return (*capture).clone();
            }
        }
    }

    pub async fn end(mut self, reason: &str) -> Value {
        let (ct, pos_ms) = (self.ct, self.pos_ms);
        let ended = json!({"event": "ended", "playing": false, "pos_ms": pos_ms, "rate": 1.0});
        self.wire.kept(ct, "playback", ended).await;
        self.answer_all().await;
        self.wire.send(json!({"type": "close", "reason": reason})).await;
        loop {
            self.answer_all().await;
            if let Some(closed) = self.wire.seen_of("closed").first() {
                return (*closed).clone();
            }
            if let end @ (Heard::Close(_) | Heard::Gone) = self.wire.hear().await {
                panic!("{end:?}");
            }
        }
    }
}

/// The lesson has one question, and the pack no sums.
fn right_answer(prompt: &Value) -> String {
    assert_eq!(prompt["kind"], "choice");
    "right".into()
}

pub async fn ready(durations_ms: &[i64]) -> (Stage, Course, String) {
    let stage = Stage::start().await;
    let course = stage.operator.course(durations_ms, PLAIN).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    (stage, course, learner)
}

#[tokio::test]
async fn an_honest_session_is_valid_and_its_log_judges_the_same() {
    let (stage, course, learner) = ready(&[390_000]).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let key = ClientKey::generate().unwrap();
    let mut watcher = Watcher::enter(&stage, &opened, &key).await;
    watcher.play().await;
    watcher.watch(&stage, 390_000).await;
    let closed = watcher.end("completed").await;
    assert_eq!(closed["verdict"]["status"], "valid", "{closed}");
    assert_eq!(closed["verdict"]["completed"], true);
    assert_eq!(closed["verdict"]["watched_ms"], 390_000);

    let stored = course.platform.text(&format!("/sessions/{}/verdict", opened.session)).await;
    let log = course.platform.text(&format!("/sessions/{}/log", opened.session)).await;
    assert_eq!(stored, replayed(&log, plain()));
    assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), closed["verdict"]);
    let checks: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let check = checks.iter().find(|line| line["type"] == "face.checked").expect("a photo was asked for");
    assert_eq!(check["data"]["outcome"], "match", "{check}");
    assert!(check["data"]["similarity"].as_f64().unwrap() > check["data"]["threshold"].as_f64().unwrap());
    assert_eq!(check["data"]["models"]["recogniser"].as_str().unwrap().len(), 64);
    assert!(checks.iter().any(|line| line["type"] == "prompt.resolved"));
}

#[tokio::test]
async fn a_connection_that_is_lost_and_found_counts_nothing_twice() {
    let (stage, course, learner) = ready(&[390_000]).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let key = ClientKey::generate().unwrap();
    let mut watcher = Watcher::enter(&stage, &opened, &key).await;
    watcher.play().await;
    watcher.watch(&stage, 20_000).await;
    let (seq, ct) = (watcher.wire.seq, watcher.ct);
    drop(watcher);
    stage.advance_ms(3_000);
    let (mut wire, welcome) = Wire::enter(&stage.stream_url(), &opened, &key, ct + 3_000).await;
    assert_eq!(welcome["acknowledged"], seq);
    assert_eq!(welcome["position_ms"], 20_000);
    // The client did not hear the last acknowledgement: it sends its last event again, and one that was kept.
    wire.seq = seq - 1;
    wire.event(ct, "heartbeat", at(20_000)).await;
    wire.event(ct + 3_000, "heartbeat", at(23_000)).await;
    wire.acknowledged().await;
    let log = course.platform.text(&format!("/sessions/{}/log", opened.session)).await;
    let seqs: Vec<u64> =
        log.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=seq + 1).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_photo_that_the_server_has_is_not_asked_for_again() {
    let (stage, course, learner) = ready(&[390_000]).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let key = ClientKey::generate().unwrap();
    let mut watcher = Watcher::enter(&stage, &opened, &key).await;
    watcher.play().await;
    let capture = watcher.watch_to_first_capture(&stage).await;
    let photo = frame("webcam_man", 9);
    watcher.wire.commit(watcher.ct, &capture, &photo).await;
    watcher.wire.photo(&capture, &photo).await;
    watcher.wire.expect("photo.received").await;
    // The client may forget the photo now; the check is still under way.
    let (mut wire, _) = Wire::enter(&stage.stream_url(), &opened, &key, watcher.ct).await;
    assert_eq!(watcher.wire.close_code().await, 4409);
    if watcher.wire.seen_of("capture.closed").is_empty() {
        assert_eq!(wire.expect("capture.closed").await["outcome"], "match");
    }
    assert_eq!(wire.seen_of("capture"), Vec::<&Value>::new());
}

#[tokio::test]
async fn the_newest_connection_wins() {
    let (stage, course, learner) = ready(&[390_000]).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let key = ClientKey::generate().unwrap();
    let (mut older, _) = Wire::enter(&stage.stream_url(), &opened, &key, 0).await;
    let (mut newer, _) = Wire::enter(&stage.stream_url(), &opened, &key, 10).await;
    assert_eq!(older.refusal().await.0, "superseded");
    assert_eq!(older.close_code().await, 4409);
    newer.kept(20, "playback", play(0)).await;
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was_with_the_same_schedule() {
    let (mut stage, course, learner) = ready(&[390_000]).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let key = ClientKey::generate().unwrap();
    let mut watcher = Watcher::enter(&stage, &opened, &key).await;
    watcher.play().await;
    let capture = watcher.watch_to_first_capture(&stage).await;
    let seq = watcher.wire.seq;
    let goodbye = async {
        assert_eq!(watcher.wire.expect("go_away").await["reason"], "shutdown");
        assert_eq!(watcher.wire.close_code().await, 1012);
    };
    tokio::join!(stage.restart(), goodbye);
    let (mut wire, welcome) = Wire::enter(&stage.stream_url(), &opened, &key, watcher.ct).await;
    assert_eq!(welcome["acknowledged"], seq);
    let again = wire.expect("capture").await;
    assert_eq!((&again["capture"], &again["nonce"]), (&capture["capture"], &capture["nonce"]));
    wire.seq = seq;
    let photo = frame("webcam_man", 9);
    wire.commit(watcher.ct, &again, &photo).await;
    wire.photo(&again, &photo).await;
    assert_eq!(wire.expect("capture.closed").await["outcome"], "match");
}

#[tokio::test]
async fn playing_in_two_sessions_at_once_is_in_both_logs() {
    let (stage, course, learner) = ready(&[390_000]).await;
    let (project, lessons) = stage.project(&course.platform, &[390_000]).await;
    course.enrol(&project, &learner).await;
    let mut watchers = Vec::new();
    let mut sessions = Vec::new();
    for lesson in [&course.lessons[0], &lessons[0]] {
        let opened = course.open(lesson, &learner).await;
        let mut watcher = Watcher::enter(&stage, &opened, &ClientKey::generate().unwrap()).await;
        watcher.play().await;
        watchers.push(watcher);
        sessions.push(opened.session);
    }
    for _ in 0..4 {
        stage.advance_ms(5_000);
        for watcher in &mut watchers {
            watcher.ct += 5_000;
            watcher.pos_ms += 5_000;
            watcher.wire.kept(watcher.ct, "heartbeat", at(watcher.pos_ms)).await;
        }
    }
    for (session, other) in [(&sessions[0], &sessions[1]), (&sessions[1], &sessions[0])] {
        course.platform.post(&format!("/sessions/{session}/close"), json!({"reason": "revoked"})).await;
        let verdict = course.platform.get(&format!("/sessions/{session}/verdict")).await;
        let rules: Vec<_> =
            verdict["violations"].as_array().unwrap().iter().map(|v| (&v["rule"], &v["cause"])).collect();
        assert!(rules.contains(&(&json!("multi_window"), &json!("session"))), "{verdict}");
        let log = course.platform.text(&format!("/sessions/{session}/log")).await;
        let conflict = log.lines().find(|line| line.contains("presence.conflict")).expect("in both logs");
        assert!(conflict.contains(other.as_str()));
    }
}

/// Presence is told again what a session played that is taken up again. Both logs must still hold the overlap once.
#[tokio::test]
async fn an_overlap_of_which_one_log_could_not_take_note_is_in_both_logs_once() {
    let (stage, course, learner) = ready(&[390_000]).await;
    let (project, lessons) = stage.project(&course.platform, &[390_000]).await;
    course.enrol(&project, &learner).await;
    let (first, second) = (course.open(&course.lessons[0], &learner).await, course.open(&lessons[0], &learner).await);
    let (key, other_key) = (ClientKey::generate().unwrap(), ClientKey::generate().unwrap());
    let mut alone = Watcher::enter(&stage, &first, &key).await;
    let mut hurt = Watcher::enter(&stage, &second, &other_key).await;
    alone.play().await;
    hurt.play().await;
    for _ in 0..4 {
        stage.advance_ms(5_000);
        for watcher in [&mut alone, &mut hurt] {
            watcher.ct += 5_000;
            watcher.pos_ms += 5_000;
            watcher.wire.kept(watcher.ct, "heartbeat", at(watcher.pos_ms)).await;
        }
    }
    let paused = json!({"event": "pause", "playing": false, "pos_ms": hurt.pos_ms, "rate": 1.0});
    hurt.wire.kept(hurt.ct, "playback", paused).await;
    alone.watch(&stage, 55_000).await;
    // The overlap ends with the next heartbeat of the first: its log can be written, the second's cannot.
    let database = rusqlite::Connection::open(stage.folder.path().join("invigil.sqlite")).unwrap();
    let refuse = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON journal
         WHEN NEW.session = (SELECT key FROM session WHERE id = '{}')
         BEGIN SELECT RAISE(ABORT, 'a test refuses'); END",
        second.session
    );
    database.execute_batch(&refuse).unwrap();
    alone.watch(&stage, 60_000).await;
    while let Heard::Message(_) = hurt.wire.hear().await {}
    database.execute_batch("DROP TRIGGER refuse").unwrap();
    drop(database);
    let (_wire, welcome) = Wire::enter(&stage.stream_url(), &second, &other_key, 60_000).await;
    assert_eq!(welcome["position_ms"], 20_000);
    for (session, other) in [(&second, &first), (&first, &second)] {
        course.platform.post(&format!("/sessions/{}/close", session.session), json!({"reason": "revoked"})).await;
        let log = course.platform.text(&format!("/sessions/{}/log", session.session)).await;
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let conflicts: Vec<Value> = lines.filter(|line| line["type"] == "presence.conflict").collect();
        assert_eq!(conflicts.len(), 1, "{conflicts:#?}");
        let data = &conflicts[0]["data"];
        assert_eq!(data["with_session"], json!(other.session));
        assert_eq!(data["to_at"].as_i64().unwrap() - data["from_at"].as_i64().unwrap(), 20_000);
    }
}

#[tokio::test]
async fn a_newer_session_in_the_same_project_closes_the_older_one_and_goes_on_from_it() {
    let (stage, course, learner) = ready(&[390_000]).await;
    let first = course.open(&course.lessons[0], &learner).await;
    let mut watcher = Watcher::enter(&stage, &first, &ClientKey::generate().unwrap()).await;
    watcher.play().await;
    watcher.watch(&stage, 70_000).await;
    let second = course.platform.post("/sessions", json!({"lesson": course.lessons[0], "learner": learner})).await;
    assert_eq!(second["furthest_before_ms"], 70_000);
    let closed = watcher.wire.expect("closed").await;
    assert_eq!(closed["reason"], "superseded");
    assert_eq!(watcher.wire.close_code().await, 1000);
    let session = second["session"].as_str().unwrap();
    let log = course.platform.text(&format!("/sessions/{session}/log")).await;
    let opened: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(opened["data"]["facts"]["covered_before"], json!([[0, 70_000]]));
    assert_eq!(opened["data"]["facts"]["online_used_ms"], 70_000);
}

#[tokio::test]
async fn silence_ends_a_session() {
    let (stage, course, learner) = ready(&[390_000]).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let (mut wire, _) = Wire::enter(&stage.stream_url(), &opened, &ClientKey::generate().unwrap(), 0).await;
    wire.kept(10, "playback", play(0)).await;
    drop(wire);
    stage.advance_ms(600_000);
    let verdict = loop {
        let path = format!("/sessions/{}/verdict", opened.session);
        let answer = course.platform.send(reqwest::Method::GET, &path, None).await;
        if answer.status().is_success() {
            break answer.text().await.unwrap();
        }
        tokio::task::yield_now().await;
    };
    assert!(verdict.contains(r#""status""#));
    let log = course.platform.text(&format!("/sessions/{}/log", opened.session)).await;
    assert!(log.lines().last().unwrap().contains(r#""reason":"timeout""#));
}

/// Plays on without answering anything until the server sends a message of `kind`.
async fn play_until(stage: &Stage, watcher: &mut Watcher, kind: &str) -> Value {
    for _ in 0..70 {
        stage.advance_ms(5_000);
        (watcher.ct, watcher.pos_ms) = (watcher.ct + 5_000, watcher.pos_ms + 5_000);
        let before = watcher.wire.seen.len();
        watcher.wire.kept(watcher.ct, "heartbeat", at(watcher.pos_ms)).await;
        // A second acknowledgement: what the first brought about has been sent by then.
        watcher.wire.kept(watcher.ct, "windows", json!({"count": 1})).await;
        let heard = watcher.wire.seen[before..].to_vec();
        for message in heard {
            match message["type"].as_str().unwrap() {
                found if found == kind => return message,
                "capture" | "ping" => watcher.answer(&message).await,
                _ => {}
            }
        }
    }
    panic!("no {kind} in 350 s");
}

#[tokio::test]
async fn three_wrong_answers_pause_the_video_and_a_right_one_lets_it_go_on() {
    // Who has missed three is asked for sums, where there are any, and these pupils cannot read them.
    let without_sums = |folder: &std::path::Path, config: &mut invigil::config::Config| {
        let pack = folder.join("choices.toml");
        std::fs::write(&pack, "id = \"choices\"\nschedule.prompt_sum_milli = 0").unwrap();
        config.policies = vec![pack];
    };
    let stage = Stage::start_with(Clock::manual(START_MS), Clock::manual(START_MS), without_sums).await;
    let course = stage.operator.course(&[390_000], "choices").await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let mut watcher = Watcher::enter(&stage, &opened, &ClientKey::generate().unwrap()).await;
    watcher.play().await;
    let mut prompt = play_until(&stage, &mut watcher, "prompt").await;
    for wrong in 1..=3 {
        assert!(prompt.get("right").is_none(), "the right answer is never sent");
        let answer = json!({"prompt": prompt["prompt"], "answer": "wrong a"});
        watcher.wire.event(watcher.ct, "prompt.answered", answer).await;
        assert_eq!(watcher.wire.expect("prompt.closed").await["outcome"], "failed");
        if wrong < 3 {
            prompt = watcher.wire.expect("prompt").await;
        }
    }
    assert_eq!(watcher.wire.expect("pause").await["reason"], "wrong_answers");
    let paused = json!({"event": "pause", "playing": false, "pos_ms": watcher.pos_ms, "rate": 1.0});
    watcher.wire.kept(watcher.ct, "playback", paused).await;
    // While the video stands, nothing is asked until somebody says that they are there; and then not before the wait is
    // over, however often they say it.
    let still = |pos_ms: i64| json!({"playing": false, "pos_ms": pos_ms, "rate": 1.0});
    let prompts = watcher.wire.seen_of("prompt").len();
    for _ in 0..3 {
        watcher.wire.send(json!({"type": "ready"})).await;
        watcher.wire.kept(watcher.ct, "heartbeat", still(watcher.pos_ms)).await;
    }
    stage.advance_ms(29_999);
    watcher.wire.kept(watcher.ct, "heartbeat", still(watcher.pos_ms)).await;
    assert_eq!(watcher.wire.seen_of("prompt").len(), prompts, "three were wrong: the fourth waits");
    stage.advance_ms(1);
    let prompt = watcher.wire.expect("prompt").await;
    let data = json!({"prompt": prompt["prompt"], "answer": right_answer(&prompt)});
    watcher.wire.event(watcher.ct, "prompt.answered", data).await;
    assert_eq!(watcher.wire.expect("prompt.closed").await["outcome"], "passed");
    watcher.wire.expect("play").await;
}

#[tokio::test]
async fn one_who_answers_nothing_is_paused_before_the_limit_and_has_broken_the_rule_when_playing_on() {
    let (stage, course, learner) = ready(&[390_000]).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let mut watcher = Watcher::enter(&stage, &opened, &ClientKey::generate().unwrap()).await;
    watcher.play().await;
    let pause = play_until(&stage, &mut watcher, "pause").await;
    assert_eq!(pause["reason"], "prompt");
    assert!((290_000..300_000).contains(&watcher.pos_ms), "{}", watcher.pos_ms);
    let warning = play_until(&stage, &mut watcher, "warning").await;
    assert_eq!(warning["rule"], "prompt_gap");
}
