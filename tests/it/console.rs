//! The second look from outside: people who sign in at the console, a session that waits for them, what they ask and decide, and
//! what follows from it for the platform and the learner.

use std::path::Path;
use std::process::Command;

use invigil::client::ClientKey;
use invigil::clock::Clock;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::harness::hooks::{Hook, receiver};
use crate::harness::process::{Home, Process};
use crate::harness::wire::{Wire, at, play};
use crate::harness::{QUICK, START_MS, Stage, database_of, frame};

const PASSWORD: &str = "four words and more";
const DECIDED: &str = "invigil.session.verdict.v1";

/// A browser in which somebody has signed in.
struct Browser {
    http: Client,
    base: String,
    cookie: String,
}

impl Browser {
    async fn sign_in(public_url: &str, name: &str) -> Self {
        let (http, base) = (Client::new(), format!("{public_url}/api/v1"));
        let login = http.post(format!("{base}/login")).json(&json!({"name": name, "password": PASSWORD}));
        let answer = login.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { http, base, cookie }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>, is_own: bool) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).header(COOKIE, &self.cookie);
        if is_own {
            request = request.header("x-invigil-console", "1");
        }
        body.into_iter().fold(request, |request, body| request.json(&body)).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path, None, true).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// Status and body.
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self.send(Method::POST, path, Some(body), true).await;
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }
}

/// Makes an account beside the running server, as whoever installs it does.
fn add_user(data: &Path, name: &str, more: &[&str]) {
    let password = data.join(format!("{name}.password"));
    std::fs::write(&password, PASSWORD).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_invigil"));
    command.args(["user", "add", name, "--data"]).arg(data).arg("--password-file").arg(password).args(more);
    command.envs(database_of(data).map(|url| ("INVIGIL_DATABASE__URL", url))).env_remove("INVIGIL_POLICIES");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn decision(decision: &str, reason: &str, version: i64) -> Value {
    json!({"decision": decision, "reason": reason, "note": "看过录像", "verdict_version": version})
}

/// The pack `plain`, in which nobody decides alone.
fn second_look(folder: &Path) -> std::path::PathBuf {
    let file = folder.join("second.toml");
    let plain = include_str!("harness/plain.toml").replace("\"plain\"", "\"second\"");
    std::fs::write(&file, format!("{plain}\n[review]\nsecond_person = true\n")).unwrap();
    file
}

/// The next thing that the platform is told of this kind.
async fn told(hooks: &mut tokio::sync::mpsc::UnboundedReceiver<Hook>, kind: &str) -> (String, Value) {
    loop {
        let body = hooks.recv().await.expect("the receiver lives").body;
        let event: Value = serde_json::from_str(&body).unwrap();
        if event["type"] == kind {
            return (body, event);
        }
    }
}

#[tokio::test]
async fn a_session_is_watched_asked_decided_appealed_and_decided_again() {
    let stage = Stage::start_with(Clock::manual(START_MS), Clock::manual(START_MS), |folder, config| {
        config.policies.push(second_look(folder));
    })
    .await;
    let (url, mut hooks) = receiver().await;
    let course = stage.operator.course(&[390_000], "second").await;
    course.platform.put("/platform/webhook", json!({ "url": url })).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let session = format!("/sessions/{}", opened.session);
    let data = stage.folder.path();
    add_user(data, "Li", &["--role", "supervisor", "--region", "4113"]);
    add_user(data, "zhao", &["--role", "supervisor"]);
    add_user(data, "far", &["--role", "supervisor", "--region", "42"]);
    add_user(data, "sun", &["--role", "auditor"]);
    let public_url = stage.server.as_ref().unwrap().public_url.clone();
    let li = Browser::sign_in(&public_url, "li").await;

    // Who watches may ask, and the learner is asked.
    let (prompt, capture) = (format!("{session}/prompt"), format!("{session}/capture"));
    let (status, refused) = li.post(&prompt, json!({})).await;
    assert_eq!((status, &refused["type"]), (409, &json!("urn:invigil:problem:not-now")), "nobody is there: {refused}");
    stage.advance_ms(1);
    let (mut wire, _) = Wire::enter(&stage.stream_url(), &opened, &ClientKey::generate().unwrap(), 0).await;
    wire.kept(0, "playback", play(0)).await;
    assert_eq!(li.post(&prompt, json!({})).await.0, 202);
    let asked = wire.expect("prompt").await;
    let answer = json!({"prompt": asked["prompt"], "answer": "right"});
    wire.event(0, "prompt.answered", answer).await;
    assert_eq!(wire.expect("prompt.closed").await["outcome"], "passed");
    stage.advance_ms(1);
    assert_eq!(li.post(&capture, json!({})).await.0, 202);
    let asked = wire.expect("capture").await;
    assert_eq!(asked["reason"], "supervisor");
    let photo = frame("webcam_man", 2);
    wire.commit(0, &asked, &photo).await;
    wire.photo(&asked, &photo).await;
    assert_eq!(wire.expect("capture.closed").await["outcome"], "match");
    let live = li.get("/live").await["items"][0].clone();
    assert_eq!(
        (&live["prompts"], &live["photos"]),
        (&json!({"asked": 1, "answered": 1, "missed": 0}), &json!({"taken": 1, "matched": 1, "failed": 0}))
    );
    let far = Browser::sign_in(&public_url, "far").await;
    assert_eq!((far.get("/live").await, far.post(&prompt, json!({})).await.0), (json!({"items": []}), 404));
    for pos_ms in (5_000..=60_000).step_by(5_000) {
        stage.advance_ms(5_000);
        wire.kept(pos_ms, "heartbeat", at(pos_ms)).await;
    }
    wire.kept(60_000, "tamper", json!({"what": "player"})).await;
    wire.send(json!({"type": "close", "reason": "left"})).await;
    assert_eq!(wire.expect("closed").await["verdict"]["status"], "review");
    assert_eq!(told(&mut hooks, "invigil.session.closed.v1").await.1["data"]["session"], json!(opened.session));
    let (status, refused) = li.post(&prompt, json!({})).await;
    assert_eq!((status, &refused["type"]), (409, &json!("urn:invigil:problem:session-closed")), "{refused}");
    let log = li.send(Method::GET, &format!("{session}/log"), None, true).await.text().await.unwrap();
    assert_eq!(log.matches(r#""reason":"supervisor""#).count(), 2);

    // Two people say that it does not count.
    let item = li.get("/queue").await["items"][0].clone();
    assert_eq!((&item["session"], &item["severity"]), (&json!(opened.session), &json!("high")));
    assert_eq!(far.get("/queue").await["total"], 0);
    let dossier = li.get(&format!("{session}/dossier")).await;
    assert_eq!((&dossier["needs_second"], &dossier["captures"][0]["reason"]), (&json!(true), &json!("supervisor")));
    let decisions = format!("{session}/decisions");
    let uphold = || decision("uphold", "evidence_sufficient", 1);
    let forged = li.send(Method::POST, &decisions, Some(uphold()), false).await;
    assert_eq!(forged.status(), 403);
    assert_eq!(far.post(&decisions, uphold()).await.0, 404);
    let (status, wrong) = li.post(&decisions, decision("uphold", "network", 1)).await;
    assert_eq!((status, &wrong["errors"][0]["field"]), (422, &json!("reason")));
    let (status, proposed) = li.post(&decisions, uphold()).await;
    assert_eq!((status, &proposed["state"]), (201, &json!("proposed")));
    assert_eq!(li.post(&decisions, uphold()).await.1["type"], "urn:invigil:problem:second-person");
    let item = li.get("/queue").await["items"][0].clone();
    assert_eq!(item["proposed"], json!({"by": {"id": proposed["by"]["id"], "name": "li"}, "decision": "uphold"}));
    stage.advance_ms(1);
    let zhao = Browser::sign_in(&public_url, "zhao").await;
    let (status, made) = zhao.post(&decisions, uphold()).await;
    assert_eq!((status, &made["state"], &made["made_version"]), (201, &json!("final"), &json!(2)));
    let (body, event) = told(&mut hooks, DECIDED).await;
    assert_eq!((&event["data"]["version"], &event["data"]["verdict"]["status"]), (&json!(2), &json!("invalid")));
    let verdict = course.platform.text(&format!("{session}/verdict")).await;
    assert!(body.contains(&verdict), "byte for byte: {body}");
    let entry = course.platform.get("/ledger").await["items"][0].clone();
    assert_eq!((&entry["status"], &entry["credited_ms"]), (&json!("invalid"), &json!(0)), "{entry}");
    assert_eq!(used_by_the_next(&course, &learner).await, (0, json!([])));

    // The learner does not agree, and is right.
    let link = course.platform.post(&format!("{session}/appeal-link"), json!({})).await;
    let token = link["url"].as_str().unwrap().split_once('#').unwrap().1.to_owned();
    let appeal =
        Client::new().post(format!("{public_url}/api/v1/appeal")).header("authorization", format!("Appeal {token}"));
    let answer = appeal.json(&json!({"statement": "是浏览器的扩展", "attachments": []})).send().await.unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    assert_eq!(li.get("/queue?tab=appeals").await["items"][0]["session"], json!(opened.session));
    for (browser, state) in [(&li, "proposed"), (&zhao, "final")] {
        stage.advance_ms(1);
        let (status, made) = browser.post(&decisions, decision("overturn", "technical_fault", 2)).await;
        assert_eq!((status, &made["state"]), (201, &json!(state)));
    }
    let (_, event) = told(&mut hooks, DECIDED).await;
    assert_eq!((&event["data"]["version"], &event["data"]["verdict"]["status"]), (&json!(3), &json!("valid")));
    let entries = course.platform.get("/ledger").await["items"].clone();
    let entry = entries.as_array().unwrap().iter().find(|entry| entry["session"] == json!(opened.session)).unwrap();
    assert_eq!((&entry["status"], &entry["credited_ms"]), (&json!("valid"), &json!(60_000)), "{entry}");
    assert_eq!(used_by_the_next(&course, &learner).await, (60_000, json!([[0, 60_000]])));
    let dossier = zhao.get(&format!("{session}/dossier")).await;
    let by: Vec<&Value> =
        dossier["verdicts"].as_array().unwrap().iter().map(|one| &one["decided_by"]["name"]).collect();
    assert_eq!(by, [&json!(null), &json!("zhao"), &json!("zhao")]);

    // All of it is on record for whoever watches the watchers.
    let sun = Browser::sign_in(&public_url, "sun").await;
    assert_eq!(sun.post(&decisions, decision("uphold", "admitted", 3)).await.0, 403);
    let log = sun.get("/access-log?kind=decision").await;
    let said: Vec<(&str, &str)> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap(), entry["detail"].as_str().unwrap()))
        .collect();
    let expected = [
        ("zhao", "overturn technical_fault"),
        ("li", "overturn technical_fault"),
        ("zhao", "uphold evidence_sufficient"),
        ("li", "uphold evidence_sufficient"),
        ("li", "asked for a capture"),
        ("li", "asked for a prompt"),
        ("li", "asked for a prompt"),
    ];
    assert_eq!(said, expected, "newest first");
    let logins = sun.get("/access-log?kind=login").await["items"].as_array().unwrap().len();
    assert_eq!(logins, 4);
}

/// What the learner's next session starts from: online time that is used, and what is covered.
async fn used_by_the_next(course: &crate::harness::Course, learner: &str) -> (i64, Value) {
    let opened = course.open(&course.lessons[0], learner).await;
    let log = course.platform.text(&format!("/sessions/{}/log", opened.session)).await;
    let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let facts = &first["data"]["facts"];
    // What is empty is left out.
    (facts["online_used_ms"].as_i64().unwrap(), facts.get("covered_before").cloned().unwrap_or(json!([])))
}

#[tokio::test]
async fn a_decision_outlives_servers_that_are_killed() {
    let home = Home::new(1_000);
    home.configure("[webhook]\nallow_private_addresses = true\nallow_http = true\n");
    let pack = home.path().join(format!("{QUICK}.toml"));
    let quick = std::fs::read_to_string(&pack).unwrap();
    std::fs::write(&pack, format!("{quick}\n[review]\nsecond_person = true\n")).unwrap();
    let server = Process::start(home.command(&[], None)).await.unwrap();
    let (url, mut hooks) = receiver().await;
    let course = home.operator(server.address).course(&[390_000], QUICK).await;
    course.platform.put("/platform/webhook", json!({ "url": url })).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let session = format!("/sessions/{}", opened.session);
    let stream = format!("ws://{}/v1/stream", server.address);
    let (mut wire, _) = Wire::enter(&stream, &opened, &ClientKey::generate().unwrap(), 0).await;
    wire.kept(0, "playback", play(0)).await;
    wire.kept(0, "tamper", json!({"what": "player"})).await;
    wire.send(json!({"type": "close", "reason": "left"})).await;
    assert_eq!(wire.expect("closed").await["verdict"]["status"], "review");
    for name in ["li", "zhao"] {
        add_user(&home.data(), name, &["--role", "supervisor"]);
    }
    let decisions = format!("{session}/decisions");
    let li = Browser::sign_in(&format!("http://{}", server.address), "li").await;
    let (_, proposed) = li.post(&decisions, decision("uphold", "admitted", 1)).await;
    assert_eq!(proposed["state"], "proposed");
    assert_eq!(server.kill(), [""; 0]);

    let server = Process::start(home.command(&[], None)).await.unwrap();
    let public_url = format!("http://{}", server.address);
    let li = Browser { base: format!("{public_url}/api/v1"), ..li };
    assert_eq!(li.get("/account").await["name"], "li", "who was signed in still is");
    let zhao = Browser::sign_in(&public_url, "zhao").await;
    let (_, made) = zhao.post(&decisions, decision("uphold", "admitted", 1)).await;
    assert_eq!((&made["state"], &made["confirms"]), (&json!("final"), &proposed["id"]));
    assert_eq!(server.kill(), [""; 0]);

    let server = Process::start(home.command(&[], None)).await.unwrap();
    let zhao = Browser { base: format!("http://{}/api/v1", server.address), ..zhao };
    let dossier = zhao.get(&format!("{session}/dossier")).await;
    assert_eq!(dossier["verdicts"][1]["status"], "invalid");
    assert_eq!(dossier["decisions"].as_array().unwrap().len(), 2);
    assert_eq!(told(&mut hooks, DECIDED).await.1["data"]["version"], 2);
    let log = home.operator(server.address).get("/access-log?kind=decision").await;
    assert_eq!(log["items"].as_array().unwrap().len(), 2);
    assert_eq!(server.kill(), [""; 0]);
}
