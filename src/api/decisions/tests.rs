use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::api::fixture::Api;

/// The first line of a log: a blended course of 100 class hours.
fn opening(session: &str, learner: &str, project: &str, lesson: &str, platform: &str) -> String {
    let facts = json!({"platform_status": "active", "project_approved": true, "content_approved": true,
        "prior_lessons_complete": true, "lesson_kind": "theory", "delivery": "blended", "total_hours": 100,
        "online_used_ms": 95_900_000, "covered_before": [], "furthest_before_ms": 0,
        "carried": {"since_control_ms": 0, "unverified_ms": 0, "excess_ms": 0, "conflict_ms": 0, "face_failures": 0,
            "face_history": [], "hour_watch_ms": 0, "hour_has_photo": false}});
    let data = json!({"session": session, "platform": platform, "learner": learner, "project": project,
        "lesson": lesson, "policy": "default", "duration_ms": 600_000, "facts": facts});
    let lines = [
        json!({"n": 1, "at": 10, "type": "session.opened", "src": "server", "data": data}),
        json!({"n": 2, "at": 20, "type": "capture.requested", "src": "server",
            "data": {"capture": "c1", "reason": "start", "deadline_at": 100, "frames": 2}}),
        json!({"n": 3, "at": 30, "type": "face.checked", "src": "server",
            "data": {"capture": "c1", "outcome": "mismatch", "photo": null, "similarity": 0.2504, "threshold": 0.4,
                "faces": 2, "compared": compared()}}),
    ];
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn compared() -> Value {
    json!({"frame": 1, "left_milli": -20, "top_milli": 110, "width_milli": 300, "height_milli": 480})
}

fn verdict(session: &str, status: &str) -> Value {
    let violation = json!({"rule": "unfocused", "cause": null, "at": 1, "n": 1,
        "clause": {"source": "文1号", "text": "不得"}, "detail": null});
    json!({"session": session, "policy": "default", "status": status, "watched_ms": 600_000, "watch_ms": 600_000,
        "creditable_ms": 600_000, "credited_ms": if status == "invalid" { 0 } else { 100_000 },
        "credited_hours": if status == "invalid" { 0.0 } else { 0.04 }, "completed": true,
        "coverage": [[0, 600_000]], "furthest_ms": 600_000, "violations": [violation], "violations_total": 1,
        "carried": {"since_control_ms": 1, "unverified_ms": 0, "excess_ms": 0, "conflict_ms": 0,
            "face_failures": 0, "face_history": [], "hour_watch_ms": 0, "hour_has_photo": false},
        "log_digest": "00"})
}

/// A closed session with this verdict of the engine, of a platform with a webhook; the operator, and the session.
async fn closed(status: &str) -> (Api, String) {
    let operator = Api::start().await;
    let platform = operator.as_platform();
    platform.put("/platform/webhook", json!({"url": "https://learn.example/hook"})).await.expect(200);
    let session = platform.open_session(&operator).await;
    let record = operator.get(&format!("/sessions/{session}")).await.expect(200);
    let word = |name: &str| record[name].as_str().unwrap().to_owned();
    operator.set_log(&opening(&session, &word("learner"), &word("project"), &word("lesson"), &word("platform")));
    let queued = if status == "review" {
        "INSERT INTO review (session, tab, due_at, severity, opened_at, rules, platform, project, region)
         SELECT session.key, 'review', 5000, 1, session.opened_at, ',unfocused,', session.platform, session.project,
             project.region FROM session JOIN project ON project.id = session.project;"
    } else {
        ""
    };
    operator
        .sql(&format!(
            "UPDATE session SET closed_at = 2 WHERE id = '{session}';
             INSERT INTO verdict (session, version, status, body, created_at)
             SELECT key, 1, '{status}', '{}', 2 FROM session WHERE id = '{session}'; {queued}",
            verdict(&session, status)
        ))
        .await;
    (operator, session)
}

fn decision(decision: &str, reason: &str, version: i64) -> Value {
    json!({"decision": decision, "reason": reason, "note": "见附件", "verdict_version": version})
}

#[tokio::test]
async fn a_decision_makes_the_next_version_and_tells_the_platform() {
    let (operator, session) = closed("review").await;
    let supervisor = operator.account("s", "supervisor", json!({"region": "4113"})).await;
    let path = format!("/sessions/{session}/decisions");
    let counts = supervisor.get("/queue/counts").await.expect(200);
    assert_eq!(counts, json!({"review": 1, "appeals": 0, "live": 0, "decided": 0, "overdue": 1}));
    let item = supervisor.get("/queue").await.expect(200)["items"][0].clone();
    assert_eq!(
        (&item["session"], &item["status"], &item["severity"]),
        (&json!(session), &json!("review"), &json!("medium"))
    );
    assert_eq!(item["rules"], json!([{"rule": "unfocused", "cause": null, "count": 1}]));

    supervisor.post(&path, decision("uphold", "network", 1)).await.expect_field(422, "reason");
    supervisor.post(&path, decision("forgive", "network", 1)).await.expect_field(422, "decision");
    supervisor.post(&path, decision("uphold", "admitted", 2)).await.expect_problem(409, "stale");
    let more = supervisor.post(&path, decision("need_more", "photo_unclear", 1)).await.expect(201);
    assert_eq!((&more["state"], &more["made_version"]), (&json!("final"), &json!(null)));
    operator.clock.advance_ms(1);
    let overturned = supervisor.post(&path, decision("overturn", "technical_fault", 1)).await.expect(201);
    assert_eq!((&overturned["state"], &overturned["made_version"]), (&json!("final"), &json!(2)));
    assert_eq!((&overturned["by"]["name"], &overturned["note"]), (&json!("s"), &json!("见附件")));

    let text = supervisor.get(&format!("/sessions/{session}/verdict")).await.text;
    let mut expected = verdict(&session, "valid");
    expected["decision"] = json!({"id": overturned["id"], "by": overturned["by"]["id"], "at": overturned["at"],
        "decision": "overturn", "reason": "technical_fault"});
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected, "what the quota leaves is credited");
    assert!(text.find("\"log_digest\"").unwrap() < text.find("\"decision\"").unwrap());
    let due = operator.state.store.due_deliveries(operator.clock.now_ms(), 10, 10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert!(due[0].body.contains("\"invigil.session.verdict.v1\"") && due[0].body.contains(&text), "{}", due[0].body);

    supervisor.post(&path, decision("uphold", "admitted", 1)).await.expect_problem(409, "stale");
    operator.clock.advance_ms(1);
    let upheld = supervisor.post(&path, decision("uphold", "admitted", 2)).await.expect(201);
    assert_eq!(upheld["made_version"], 3);
    let text = supervisor.get(&format!("/sessions/{session}/verdict")).await.expect(200);
    assert_eq!(
        (&text["status"], &text["credited_ms"], &text["credited_hours"]),
        (&json!("invalid"), &json!(0), &json!(0.0))
    );

    let dossier = supervisor.get(&format!("/sessions/{session}/dossier")).await.expect(200);
    let versions: Vec<_> = dossier["verdicts"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(versions, ["review", "valid", "invalid"]);
    assert_eq!(dossier["decisions"].as_array().unwrap().len(), 3);
    assert_eq!(dossier["decisions"][1], overturned);
    let capture = &dossier["captures"][0];
    assert_eq!(
        (&capture["outcome"], &capture["similarity_milli"], &capture["n"]),
        (&json!("mismatch"), &json!(250), &json!(3))
    );
    assert_eq!((&capture["photo"], &capture["frames"]), (&json!("none"), &json!(2)));
    assert_eq!((&capture["faces"], &capture["compared"]), (&json!(2), &compared()));
    assert_eq!(dossier["parameters"]["class_hour_ms"], 2_400_000);
    assert!(dossier["clauses"]["unfocused"]["text"].is_string());
    let own = operator.as_platform().get(&format!("/sessions/{session}/dossier")).await.expect(200);
    assert_eq!(own["decisions"][0]["note"], json!(null), "notes are the office's");

    assert_eq!(supervisor.get("/queue").await.expect(200)["total"], 0);
    assert_eq!(supervisor.get("/queue?tab=decided").await.expect(200)["items"][0]["status"], "invalid");
    let log = operator.get("/access-log?kind=decision").await.expect(200);
    assert_eq!(log["items"].as_array().unwrap().len(), 3);
    assert_eq!(log["items"][1]["detail"], "overturn technical_fault");
}

#[tokio::test]
async fn where_a_second_person_is_needed_the_first_decision_is_a_proposal() {
    let (operator, session) = closed("invalid").await;
    operator
        .sql(
            "INSERT INTO appeal (id, session, statement, state, due_at, at)
             SELECT 'a1', key, NULL, 'open', 9, 3 FROM session;
             INSERT INTO review (session, tab, due_at, severity, opened_at, rules, platform, project, region)
             SELECT key, 'appeals', 9, 1, opened_at, ',', platform, project, '' FROM session;",
        )
        .await;
    let (first, second) =
        (operator.account("a", "supervisor", json!({})).await, operator.account("b", "supervisor", json!({})).await);
    let path = format!("/sessions/{session}/decisions");
    let overturn = || decision("overturn", "identity_confirmed", 1);
    let proposed = first.post(&path, overturn()).await.expect(201);
    assert_eq!((&proposed["state"], &proposed["made_version"]), (&json!("proposed"), &json!(null)));
    first.post(&path, overturn()).await.expect_problem(409, "second-person");
    let item = second.get("/queue?tab=appeals").await.expect(200)["items"][0].clone();
    assert_eq!((&item["proposed"]["decision"], &item["appeal"]), (&json!("overturn"), &json!({"at": 3})));
    let (told, _) = second.events(&format!("/events?since={}", proposed["at"]), 1).await;
    assert!(told.contains(&json!({"session": session, "tab": "appeals"}).to_string()), "{told}");
    // Another decision takes its place, and then the first one's confirmation is a proposal again.
    operator.clock.advance_ms(1);
    let other = second.post(&path, decision("uphold", "evidence_sufficient", 1)).await.expect(201);
    assert_eq!(other["state"], "proposed");
    operator.clock.advance_ms(1);
    assert_eq!(first.post(&path, overturn()).await.expect(201)["state"], "proposed");
    operator.clock.advance_ms(1);
    let confirmed = second.post(&path, overturn()).await.expect(201);
    assert_eq!((&confirmed["state"], &confirmed["made_version"]), (&json!("final"), &json!(2)));
    assert!(confirmed["confirms"].is_string());
    let verdict = second.get(&format!("/sessions/{session}/verdict")).await.expect(200);
    // 100 hours of 40 minutes, of which 40 percent may be online: 96 000 000 ms, and 95 900 000 are used.
    assert_eq!((&verdict["status"], &verdict["credited_ms"]), (&json!("valid"), &json!(100_000)));
    let counts = first.get("/queue/counts").await.expect(200);
    assert_eq!((&counts["appeals"], &counts["decided"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn photos_are_shown_on_record_until_they_are_deleted() {
    let (operator, session) = closed("review").await;
    let burst = crate::vision::burst::compose(&[
        crate::vision::burst::Frame { at_ms: 0, photo: b"\xFF\xD8\xFFone" },
        crate::vision::burst::Frame { at_ms: 200, photo: b"\xFF\xD8\xFFtwo" },
    ]);
    let evidence = operator.keep(&burst).await;
    operator
        .sql(&format!(
            "INSERT INTO photo (session, capture, digest, evidence, created_at)
             SELECT key, 'c1', 'd', '{evidence}', 3 FROM session;"
        ))
        .await;
    let auditor = operator.account("a", "auditor", json!({})).await;
    let frame = |index: &str| format!("/sessions/{session}/captures/c1/frames/{index}");
    operator.clock.advance_ms(1);
    let shown = auditor.get_bytes(&frame("1")).await;
    assert_eq!(shown, (200, "image/jpeg".to_owned(), b"\xFF\xD8\xFFtwo".to_vec()));
    for missing in ["2", "x", "-1"] {
        auditor.get(&frame(missing)).await.expect_problem(404, "not-found");
    }
    auditor.get(&format!("/sessions/{session}/captures/c9/frames/0")).await.expect_problem(404, "not-found");
    operator.as_platform().get(&frame("0")).await.expect_problem(403, "forbidden");
    let learner = operator.get(&format!("/sessions/{session}")).await.expect(200)["learner"].clone();
    operator.clock.advance_ms(1);
    let enrolled = auditor.get_bytes(&format!("/learners/{}/enrolled-photo", learner.as_str().unwrap())).await;
    assert_eq!(enrolled.2, b"face of A");
    let log = operator.get("/access-log").await.expect(200);
    let seen: Vec<_> =
        log["items"].as_array().unwrap().iter().map(|entry| (&entry["kind"], &entry["detail"])).collect();
    assert_eq!(
        seen[..2],
        [(&json!("enrolled_photo"), &json!("version 1")), (&json!("photo"), &json!("c1/1"))],
        "{log}"
    );
    operator.sql("UPDATE photo SET deleted_at = 1772294400000").await;
    let gone = auditor.get(&frame("1")).await.expect_problem(410, "deleted");
    assert_eq!(gone["deleted_at"], 1_772_294_400_000_i64);
}

#[tokio::test]
async fn the_queue_is_read_page_by_page_in_its_order() {
    let (operator, session) = closed("review").await;
    let more = (2..=7).map(|n| {
        format!(
            "INSERT INTO session (id, platform, learner, project, lesson, seed, opened_at, closed_at)
                 SELECT 's{n}', platform, learner, project, lesson, seed, {n}, 9 FROM session WHERE id = '{session}';
             INSERT INTO verdict (session, version, status, body, created_at)
                 SELECT key, 1, 'review', '{}', 2 FROM session WHERE id = 's{n}';
             INSERT INTO review (session, tab, due_at, severity, opened_at, rules, platform, project, region)
                 SELECT key, 'review', {}, {}, opened_at, ',fast_forward,', platform, project, '411300'
                 FROM session WHERE id = 's{n}';",
            verdict(&format!("s{n}"), "review"),
            4_000 + n / 4,
            n % 3
        )
    });
    operator.sql(&more.collect::<String>()).await;
    let (mut seen, mut path) = (Vec::new(), "/queue?limit=3".to_owned());
    loop {
        let page = operator.get(&path).await.expect(200);
        assert_eq!(page["total"], 7);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["session"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => path = format!("/queue?limit=3&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["s3", "s2", "s6", "s4", "s7", "s5", &session]);
    let total = async |query: &str| operator.get(&format!("/queue?{query}")).await.expect(200)["total"].clone();
    assert_eq!(total("rule=fast_forward").await, 6);
    assert_eq!(total("rule=f%25").await, 0);
    assert_eq!(total("severity=high").await, 2);
    assert_eq!(total("platform=none").await, 0);
    assert_eq!(total("learner=none").await, 0);
    operator.get("/queue?after=x").await.expect_field(422, "after");
    operator.get("/queue?tab=odd").await.expect_field(422, "tab");
    let sheet = operator.get("/queue.csv?severity=high").await;
    assert_eq!(sheet.text.lines().count(), 3, "{}", sheet.text);
    assert_eq!(operator.get("/access-log?kind=export").await.expect(200)["items"][0]["detail"], "2 sessions of review");
}

#[tokio::test]
async fn a_learner_answers_by_a_link_until_it_is_over() {
    let (operator, session) = closed("invalid").await;
    let path = format!("/sessions/{session}/appeal-link");
    operator.other_platform().await.post(&path, json!({})).await.expect_problem(404, "not-found");
    let link = operator.as_platform().post(&path, json!({})).await.expect(201);
    let expires_at = link["expires_at"].as_i64().unwrap();
    assert_eq!(expires_at - operator.clock.now_ms(), 14 * 86_400_000);
    let (page, token) = link["url"].as_str().unwrap().split_once('#').unwrap();
    assert_eq!(page, "https://invigil.example/console/appeal");
    let learner = operator.by_link(token);
    operator.by_link(&token.replace(&session, "session-9")).get("/appeal").await.expect_problem(401, "unauthenticated");
    let seen = learner.get("/appeal").await.expect(200);
    assert_eq!(
        (&seen["verdict"]["status"], &seen["appeal"], &seen["session"]["platform"]),
        (&json!("invalid"), &json!(null), &json!("platform"))
    );
    assert_eq!(seen["verdict"]["violations"][0]["clause"]["text"], "不得");
    assert_eq!(seen["recorded"][0], json!({"kind": "capture.requested", "count": 1}));
    assert_eq!(seen["captures"][0]["outcome"], "mismatch");

    let pdf = "JVBERi0xLjQK";
    let appeal = |statement: &str, data: &str| json!({"statement": statement, "attachments": [{"name": "病假条.pdf", "type": "application/pdf", "data": data}]});
    learner.post("/appeal", appeal("", pdf)).await.expect_field(422, "statement");
    learner.post("/appeal", appeal("x", "####")).await.expect_field(422, "attachments[0].data");
    learner.post("/appeal", appeal("x", "AAAA")).await.expect_field(422, "attachments[0].data");
    let made = learner.post("/appeal", appeal("我当时在场", pdf)).await.expect(201);
    assert_eq!(
        (&made["statement"], &made["state"], &made["attachments"][0]["size"]),
        (&json!("我当时在场"), &json!("open"), &json!(9))
    );
    learner.post("/appeal", appeal("again", pdf)).await.expect_problem(409, "conflict");

    let supervisor = operator.account("s", "supervisor", json!({"region": "4113"})).await;
    let item = supervisor.get("/queue?tab=appeals").await.expect(200)["items"][0].clone();
    assert_eq!((&item["session"], &item["appeal"]["at"]), (&json!(session), &made["at"]));
    let dossier = supervisor.get(&format!("/sessions/{session}/dossier")).await.expect(200);
    assert_eq!((&dossier["appeals"], &dossier["needs_second"]), (&json!([made]), &json!(true)));
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    let attachment = format!("/sessions/{session}/appeals/{}/attachments/{}", id(&made), id(&made["attachments"][0]));
    assert_eq!(supervisor.get_bytes(&attachment).await, (200, "application/pdf".to_owned(), b"%PDF-1.4\n".to_vec()));

    let second = operator.account("t", "supervisor", json!({})).await;
    let decisions = format!("/sessions/{session}/decisions");
    for supervisor in [&supervisor, &second] {
        supervisor.post(&decisions, decision("overturn", "identity_confirmed", 1)).await.expect(201);
    }
    let seen = learner.get("/appeal").await.expect(200);
    assert_eq!((&seen["appeal"]["state"], &seen["decisions"][0]["decision"]), (&json!("decided"), &json!("overturn")));
    assert_eq!(seen["verdict"]["status"], "valid");

    let learner_id = id(&json!({"id": dossier["session"]["learner"]["id"]}));
    operator.delete(&format!("/learners/{learner_id}")).await.expect(204);
    learner.get("/appeal").await.expect_problem(410, "deleted");
    supervisor.get(&attachment).await.expect_problem(404, "not-found");
    let forgotten = supervisor.get(&format!("/sessions/{session}/dossier")).await.expect(200);
    assert_eq!(
        (&forgotten["appeals"][0]["statement"], &forgotten["decisions"][0]["note"]),
        (&json!(null), &json!(null))
    );
    operator.clock.advance_ms(14 * 86_400_000);
    learner.get("/appeal").await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn who_watches_is_told_of_what_they_may_see() {
    let (operator, session) = closed("review").await;
    operator.sql("UPDATE review SET changed_at = 5000, region = '411300'; UPDATE session SET closed_at = NULL").await;
    let (text, _) = operator.events("/events?since=5000", 2).await;
    assert!(text.starts_with(": here\n\nid: 5000\nevent: queue\n"), "{text}");
    let queue = format!("data: {}\n\n", json!({"session": session, "tab": "review"}));
    assert!(text.contains(&queue) && text.contains("event: live\ndata: {"), "{text}");
    operator.get("/events?since=x").await.expect_field(422, "since");

    let live = operator.get("/live").await.expect(200)["items"][0].clone();
    assert_eq!((&live["session"], &live["connected"]), (&json!(session), &json!(false)));
    assert_eq!(live["photos"], json!({"taken": 0, "matched": 0, "failed": 1}));
    let elsewhere = operator.account("s", "supervisor", json!({"region": "42"})).await;
    assert_eq!(elsewhere.get("/live").await.expect(200)["items"], json!([]));
    let here = operator.account("t", "supervisor", json!({"region": "41"})).await;
    assert_eq!(here.get("/live").await.expect(200)["items"], json!([live]));
}

#[tokio::test]
async fn who_may_not_watch_any_more_is_told_nothing_more() {
    let (operator, _) = closed("review").await;
    operator.sql("UPDATE review SET changed_at = 5000").await;
    let account = operator.account("s", "supervisor", json!({})).await;
    let key = operator.office("auditor").await;
    for (watcher, end) in [
        (account, "UPDATE account SET disabled_at = 1"),
        (key, "UPDATE api_key SET revoked_at = 1 WHERE role = 'auditor'"),
    ] {
        let (_, mut stream) = watcher.events("/events?since=5000", 1).await;
        operator.sql(end).await;
        // It sleeps until then; nothing but what was just done can end it so soon.
        operator.clock.advance_ms(2_000);
        while let Some(chunk) = stream.next().await {
            chunk.unwrap();
        }
    }
}

#[tokio::test]
async fn a_session_is_taken_along_byte_for_byte() {
    let (operator, session) = closed("review").await;
    let auditor = operator.account("a", "auditor", json!({})).await;
    let bundle = auditor.get(&format!("/sessions/{session}/bundle")).await.expect(200);
    assert_eq!(bundle["log"], auditor.get(&format!("/sessions/{session}/log")).await.text);
    assert_eq!(bundle["verdicts"][0]["text"], auditor.get(&format!("/sessions/{session}/verdict")).await.text);
    assert_eq!(operator.get("/access-log?kind=export").await.expect(200)["items"][0]["subject"], json!(session));
    let policies = auditor.get("/policies").await.expect(200);
    let labels: Vec<_> = policies.as_array().unwrap().iter().map(|pack| pack["label"].as_str().unwrap()).collect();
    assert!(labels.contains(&"default") && labels.len() >= 5, "{labels:?}");
    assert!(auditor.get("/policies/default").await.text.contains("class_hour_ms"));
    auditor.get("/policies/none").await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_learner_and_a_platform_are_shown_in_sums() {
    let (operator, session) = closed("review").await;
    let supervisor = operator.account("s", "supervisor", json!({"region": "4113"})).await;
    operator.sql("UPDATE session SET opened_at = 1772294400000, prompts_asked = 5, prompts_passed = 4").await;
    let learner =
        operator.get(&format!("/sessions/{session}")).await.expect(200)["learner"].as_str().unwrap().to_owned();
    let overview = supervisor.get(&format!("/learners/{learner}/overview")).await.expect(200);
    let enrolment = &overview["enrolments"][0];
    assert_eq!((&enrolment["used_ms"], &enrolment["hours_online"]), (&json!(100_000), &json!(0.04)));
    assert_eq!((&enrolment["lessons"], &enrolment["lessons_completed"]), (&json!(2), &json!(1)));
    assert!(enrolment["quota_ms"].as_i64().unwrap() > 0, "{enrolment}");
    assert_eq!((&overview["sessions"][0]["status"], &overview["consent"]), (&json!("review"), &json!(null)));
    let figures = format!("/platforms/{}/figures", operator.platform);
    let shown = supervisor.get(&format!("{figures}?from=2026-03-01&to=2026-03-02")).await.expect(200);
    assert_eq!(shown["days"], json!([{"day": "2026-03-01", "sessions": 1, "valid": 0, "review": 1, "invalid": 0}]));
    assert_eq!(shown["rules"], json!([{"rule": "unfocused", "count": 1}]));
    assert_eq!(shown["prompts"], json!({"asked": 5, "answered": 4}));
    for (query, field) in [
        ("from=x&to=2026-03-01", "from"),
        ("from=2026-03-02&to=2026-03-01", "to"),
        ("from=2025-03-02&to=2026-03-01", "to"),
        ("from=2026-03-01", "to"),
    ] {
        supervisor.get(&format!("{figures}?{query}")).await.expect_field(422, field);
    }
    let elsewhere = operator.account("t", "supervisor", json!({"region": "42"})).await;
    elsewhere.get(&format!("/learners/{learner}/overview")).await.expect_problem(404, "not-found");
    elsewhere.get(&format!("{figures}?from=2026-03-01&to=2026-03-02")).await.expect_problem(404, "not-found");
}
