//! Warnings for supervisors, from the stream to the API: what learners do over real sockets, and what is found of it.

use std::collections::HashSet;

use base64::Engine as _;
use invigil::client::ClientKey;
use invigil::client::{Client, Credentials, Link};
use invigil::clock::Entropy;
use serde_json::{Value, json};

use crate::harness::wire::{Wire, at, play};
use crate::harness::{Course, Opened, QUICK, START_MS, Stage, frame, quick_pack};

/// What the detectors have found so far.
async fn findings(stage: &Stage, query: &str) -> Vec<Value> {
    stage.server.as_ref().unwrap().findings().settled().await;
    stage.operator.get(&format!("/findings{query}")).await["items"].as_array().unwrap().clone()
}

fn words<'a>(value: &'a Value, field: &str) -> HashSet<&'a str> {
    value[field].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// Opens a session for a new learner and connects on `device`; the client is there when this returns.
async fn on_device(stage: &Stage, course: &Course, device: &str) -> (String, Opened, Client) {
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let credentials = Credentials {
        session: opened.session.clone(),
        token: opened.token.clone(),
        key: ClientKey::generate().unwrap().into(),
        device: Some(device.to_owned()),
    };
    let client = Client::connect(stage.stream_url(), credentials, stage.clock.clone(), Entropy::system());
    client.handle().link().wait_for(|link| *link == Link::Up).await.unwrap();
    (learner, opened, client)
}

#[tokio::test]
async fn four_learners_on_one_device_are_found_and_the_device_is_named_nowhere() {
    let mut stage = Stage::start().await;
    let course = stage.course(&[390_000]).await;
    let device = "tablet-of-the-stand-in";
    let mut learners = Vec::new();
    for _ in 0..3 {
        let (learner, opened, client) = on_device(&stage, &course, device).await;
        learners.push((learner, opened, client));
    }
    // Two of these learn on devices of their own: honest.
    let (_, _, _own) = on_device(&stage, &course, "my-own-tablet").await;
    assert_eq!(findings(&stage, "?kind=shared_device").await, [json!(null); 0]);
    let log = course.platform.text(&format!("/sessions/{}/log", learners[0].1.session)).await;
    let opened = log.lines().find(|line| line.contains("connection.opened")).unwrap();
    let opened: Value = serde_json::from_str(opened).unwrap();
    let digest = opened["data"]["device"].as_str().unwrap();
    assert_eq!((digest.len(), opened["data"]["address"].as_str().unwrap().len()), (16, 16));
    assert!(!log.contains(device) && !log.contains("127.0.0.1"));

    // What was seen before a restart counts after it.
    drop(learners.drain(..).map(|(_, _, client)| drop(client)));
    stage.restart().await;
    let course = Course {
        platform: crate::harness::Api::new(&stage.server.as_ref().unwrap().public_url, &course.platform.key),
        ..course
    };
    let (fourth, _, _client) = on_device(&stage, &course, device).await;
    let [finding] = findings(&stage, "?kind=shared_device&state=open").await.try_into().unwrap();
    assert_eq!(finding["explanation"]["code"], "device_learners");
    assert_eq!(finding["subject"], format!("device:{digest}"));
    assert_eq!(finding["evidence"]["learners"], 4);
    assert_eq!(finding["evidence"]["thresholds"]["learners"], 4);
    assert_eq!(finding["evidence"]["policy"], "default");
    assert!(words(&finding, "learners").contains(fourth.as_str()));
    assert_eq!(words(&finding, "learners").len(), 4);

    let path = format!("/findings/{}", finding["id"].as_str().unwrap());
    let decided = stage.operator.put(&format!("{path}/state"), json!({"state": "dismissed", "note": "机房"})).await;
    assert_eq!((&decided["state"], &decided["history"][0]["note"]), (&json!("dismissed"), &json!("机房")));
    // One more is not half as many again.
    let (_, _, _fifth) = on_device(&stage, &course, device).await;
    let [finding] = findings(&stage, "?state=dismissed").await.try_into().unwrap();
    assert_eq!((&finding["evidence"]["learners"], &finding["count"]), (&json!(5), &json!(2)));
    let (_, _, _sixth) = on_device(&stage, &course, device).await;
    let (_, _, _seventh) = on_device(&stage, &course, device).await;
    let reopened = findings(&stage, "?kind=shared_device&state=open").await;
    assert_eq!(reopened.len(), 1, "{reopened:?}");
    let refused = course.platform.send(reqwest::Method::GET, &path, None).await;
    assert_eq!(refused.status(), 403);
}

#[tokio::test]
async fn a_learner_who_plays_on_two_platforms_is_found_with_both() {
    let stage = Stage::start().await;
    let here = stage.course(&[390_000]).await;
    let mut there = stage.course(&[390_000]).await;
    // Two subsidised trainings at a time are refused at the enrolment already.
    let mut unpaid = crate::harness::application(&[390_000], "default");
    unpaid["subsidised"] = json!(false);
    (there.project, there.lessons) = stage.operator.approved(&there.platform, unpaid).await;
    let id_number = crate::harness::new_id_number();
    let mut wires = Vec::new();
    for (course, device) in [(&here, "telephone"), (&there, "notebook-1")] {
        let learner = course.platform.post("/learners", json!({ "id_number": id_number })).await;
        let learner = crate::harness::text(&learner, "id");
        let photo = course.platform.photo(&learner, frame("webcam_man", 1)).await;
        assert!(photo.status().is_success() || photo.status() == 409, "{}", photo.status());
        course.enrol(&course.project, &learner).await;
        let opened = course.open(&course.lessons[0], &learner).await;
        let mut wire = enter_on(&stage, &opened, device).await;
        wire.kept(0, "playback", play(0)).await;
        wires.push((wire, opened.session, learner));
    }
    for step in 1..=4 {
        stage.advance_ms(5_000);
        for (wire, _, _) in &mut wires {
            wire.kept(step * 5_000, "heartbeat", at(step * 5_000)).await;
        }
    }
    for (course, (_, session, _)) in [&here, &there].into_iter().zip(&wires) {
        course.platform.post(&format!("/sessions/{session}/close"), json!({"reason": "left"})).await;
    }
    let [finding] = findings(&stage, "").await.try_into().unwrap();
    assert_eq!((&finding["kind"], &finding["severity"]), (&json!("two_places"), &json!("high")));
    assert_eq!(words(&finding, "sessions"), wires.iter().map(|(_, session, _)| session.as_str()).collect());
    assert_eq!(words(&finding, "learners"), HashSet::from([wires[0].2.as_str()]));
    assert_eq!(words(&finding, "platforms").len(), 2);
    assert_eq!(finding["evidence"]["overlap_ms"], 20_000);
    assert_eq!(finding["evidence"]["platforms_differ"], true);
    let of_platform = finding["platforms"][0].as_str().unwrap();
    assert_eq!(findings(&stage, &format!("?platform={of_platform}")).await.len(), 1);
}

async fn enter_on(stage: &Stage, opened: &Opened, device: &str) -> Wire {
    let key = ClientKey::generate().unwrap();
    let (mut wire, nonce) = Wire::connect(&stage.stream_url()).await;
    let mut hello = Wire::hello(opened, &key, &nonce, 0);
    hello["device"] = device.into();
    wire.send(hello).await;
    let ping = wire.expect("ping").await;
    wire.send(json!({"type": "pong", "id": ping["id"], "ct": 0})).await;
    wire.expect("welcome").await;
    wire
}

/// Plays, and answers each prompt after a time of its own.
struct Answerer {
    wire: Wire,
    at_ms: i64,
    answered: i64,
    photos: u32,
    answer_after_ms: fn(i64) -> i64,
}

impl Answerer {
    async fn sit_down(stage: &Stage, course: &Course, answer_after_ms: fn(i64) -> i64) -> Self {
        let learner = course.learner(frame("webcam_man", 1)).await;
        let opened = course.open(&course.lessons[0], &learner).await;
        let mut wire = enter_on(stage, &opened, &format!("own-{learner}")).await;
        wire.kept(0, "playback", play(0)).await;
        Self { wire, at_ms: 0, answered: 0, photos: 2, answer_after_ms }
    }

    fn pass(&mut self, stage: &Stage, by_ms: i64) {
        stage.advance_ms(by_ms);
        self.at_ms += by_ms;
    }

    async fn answer(&mut self, stage: &Stage, prompts: i64) {
        while self.answered < prompts {
            let before = self.wire.seen.len();
            self.pass(stage, 1_900);
            self.wire.kept(self.at_ms, "heartbeat", at(self.at_ms)).await;
            // A second acknowledgement: what the first brought about has been sent by then.
            self.wire.kept(self.at_ms, "windows", json!({"count": 1})).await;
            let heard = self.wire.seen[before..].to_vec();
            for message in &heard {
                self.take(stage, message).await;
            }
        }
    }

    async fn take(&mut self, stage: &Stage, message: &Value) {
        match message["type"].as_str().unwrap() {
            "prompt" => {
                self.answered += 1;
                self.pass(stage, (self.answer_after_ms)(self.answered));
                let data = json!({"prompt": message["prompt"], "answer": "right"});
                self.wire.kept(self.at_ms, "prompt.answered", data).await;
            }
            "capture" => {
                self.photos += 1;
                let photo = frame("webcam_man", self.photos % 70 + 2);
                self.wire.commit(self.at_ms, message, &photo).await;
                self.wire.photo(message, &photo).await;
                self.wire.expect("capture.closed").await;
            }
            "ping" => {
                self.wire.send(json!({"type": "pong", "id": message["id"], "ct": self.at_ms})).await;
            }
            "warning" | "pause" | "error" => panic!("{message}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_bot_that_answers_like_clockwork_is_found_and_a_person_is_not() {
    let (clock, wall) = (invigil::clock::Clock::manual(START_MS), invigil::clock::Clock::manual(START_MS));
    let stage = Stage::start_with(clock, wall, |folder, config| config.policies.push(quick_pack(folder, 5_000))).await;
    let course = stage.operator.course(&[900_000], QUICK).await;
    let mut person = Answerer::sit_down(&stage, &course, |number| 1_300 + number * 733 % 1_900).await;
    person.answer(&stage, 32).await;
    assert_eq!(findings(&stage, "?kind=answer_times").await, [json!(null); 0]);
    let mut bot = Answerer::sit_down(&stage, &course, |number| 1_480 + number % 3 * 20).await;
    bot.answer(&stage, 30).await;
    let [finding] = findings(&stage, "?kind=answer_times").await.try_into().unwrap();
    assert_eq!(finding["explanation"]["code"], "answers_regular");
    assert_eq!((&finding["evidence"]["answers"], &finding["evidence"]["policy"]), (&json!(30), &json!(QUICK)));
    let times = finding["evidence"]["times_ms"].as_array().unwrap();
    assert!(times.iter().all(|time| (1_480..=1_520).contains(&time.as_i64().unwrap())), "{finding}");
    assert!(finding["explanation"]["zh"].as_str().unwrap().contains("30次"), "{finding}");
}

/// Waits until all searches that are due by now have been made.
async fn searched(stage: &Stage) {
    let mut rounds = stage.server.as_ref().unwrap().face_searches();
    // The round under way may have begun before the last photo.
    for _ in 0..2 {
        rounds.mark_unchanged();
        stage.server.as_ref().unwrap().search_faces();
        rounds.changed().await.unwrap();
    }
}

#[tokio::test]
async fn one_face_enrolled_under_two_names_is_found_by_itself_and_by_a_supervisor() {
    let stage = Stage::start().await;
    let course = stage.course(&[390_000]).await;
    let man = course.learner(frame("webcam_man", 1)).await;
    let woman = course.learner(frame("film_woman", 80)).await;
    searched(&stage).await;
    assert_eq!(findings(&stage, "?kind=shared_face").await, [json!(null); 0]);
    let again = course.learner(frame("webcam_man", 20)).await;
    searched(&stage).await;
    let [finding] = findings(&stage, "?kind=shared_face").await.try_into().unwrap();
    assert_eq!(finding["explanation"]["code"], "face_learners");
    assert_eq!(words(&finding, "learners"), HashSet::from([man.as_str(), again.as_str()]));
    let evidence = &finding["evidence"];
    let sha256 = |photo: Vec<u8>| hex::encode(ring::digest::digest(&ring::digest::SHA256, &photo));
    let digests: HashSet<String> = evidence["photos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|photo| photo["digest"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(digests, HashSet::from([sha256(frame("webcam_man", 1)), sha256(frame("webcam_man", 20))]));
    assert!(
        evidence["expected_false_hits_day"].as_f64().unwrap()
            <= evidence["thresholds"]["false_hits_day"].as_f64().unwrap()
    );

    let scope = format!("learners:{man},{woman},{again}");
    let photo = base64::engine::general_purpose::STANDARD.encode(frame("webcam_man", 40));
    let answer = stage.operator.post("/face-searches", json!({"scope": scope, "photo": photo})).await;
    let hits: HashSet<&str> =
        answer["hits"].as_array().unwrap().iter().map(|hit| hit["face"]["learner"].as_str().unwrap()).collect();
    assert_eq!((answer["compared"].as_i64(), hits), (Some(3), HashSet::from([man.as_str(), again.as_str()])));
    assert!(!answer.to_string().contains("template"), "{answer}");
}
