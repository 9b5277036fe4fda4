//! Every route of the OpenAPI document with every role: who may, and that nobody else may; and with the records of another
//! region, which do not exist.

use serde_json::{Value, json};

use super::fixture::{Api, new_project};
use super::openapi_json;

/// Of keys: the operator; of accounts: administrators.
const OPERATOR: &[&str] = &["operator", "administrator"];
const DECIDERS: &[&str] = &["operator", "supervisor"];
const OFFICE: &[&str] = &["operator", "supervisor", "auditor"];
const OVERSEERS: &[&str] = &["operator", "supervisor", "auditor", "administrator"];
const REVISERS: &[&str] = &["operator", "auditor", "administrator"];
const PLATFORM: &[&str] = &["platform"];
const READERS: &[&str] = &["platform", "staff"];
const ALL: &[&str] = &["operator", "supervisor", "auditor", "platform", "staff"];
const VIEWERS: &[&str] = &["operator", "supervisor", "auditor", "staff"];
const KNOWN: &[&str] = &["operator", "supervisor", "auditor", "platform", "staff", "administrator"];
const NO_AUDITOR: &[&str] = &["operator", "supervisor", "platform"];
/// Whoever is signed in, and no key.
const ACCOUNTS: &[&str] = &[];
/// Who holds no key may call these.
const OPEN: &[&str] = &["log_in"];
/// These take the token of a link, and nothing else.
const BY_LINK: &[&str] = &["read_appeal", "read_appeal_frame", "make_appeal"];

/// Who may call an operation, by its identifier. A new route gets its line here, or the test fails.
fn who_may(operation: &str) -> &'static [&'static str] {
    match operation {
        "create_platform" | "rename_platform" => OPERATOR,
        "create_api_key" | "list_api_keys" | "revoke_api_key" => OPERATOR,
        "create_office_key" | "list_office_keys" | "revoke_office_key" => OPERATOR,
        "forget_learner" | "resend_report" => OPERATOR,
        "create_account" | "list_accounts" | "change_account" | "unlock_account" => OPERATOR,
        "log_in" => KNOWN,
        "log_out" | "read_own_account" | "change_password" => ACCOUNTS,
        "begin_totp" | "confirm_totp" | "end_totp" => ACCOUNTS,
        "read_access_log" => REVISERS,
        "list_findings" | "read_finding" => OFFICE,
        "list_reports" | "list_platforms" | "read_platform" => OVERSEERS,
        "decide_finding" | "search_faces" => DECIDERS,
        "list_face_searches" => OFFICE,
        "set_origins" => PLATFORM,
        "read_origins" => READERS,
        "list_ledger" | "sum_ledger" | "ledger_sheet" => ALL,
        "list_person_accesses" => OFFICE,
        "decide_platform_status" | "decide_project" | "decide_lesson" | "set_assessment" => DECIDERS,
        "allow_makeup" | "correct_person" => DECIDERS,
        "read_own_platform" | "read_learner" => READERS,
        "set_webhook" | "clear_webhook" => PLATFORM,
        "name_learner" | "put_photo" => PLATFORM,
        "create_project" | "enrol_learner" | "open_session" | "issue_token" => PLATFORM,
        "close_session" | "withdraw_enrolment" => NO_AUDITOR,
        "list_platform_decisions" => KNOWN,
        "read_person" | "list_projects" | "read_project" => ALL,
        "list_enrolments" | "list_makeups" => ALL,
        "list_queue" | "count_queue" | "queue_sheet" | "read_dossier" | "list_decision_reasons" => ALL,
        "read_frame" => VIEWERS,
        "read_enrolled_photo" => OFFICE,
        "list_live" | "watch_events" | "list_policies" | "read_policy" => ALL,
        "read_bundle" => VIEWERS,
        "read_learner_overview" => ALL,
        "read_platform_figures" => ALL,
        "make_appeal_link" => PLATFORM,
        "read_appeal_attachment" => VIEWERS,
        "decide_session" | "ask_prompt" | "ask_capture" => DECIDERS,
        "list_sessions" | "read_session" | "read_verdict" | "read_log" => ALL,
        unknown => panic!("{unknown}: say here who may call it"),
    }
}

/// Method, path and identifier of every operation.
fn operations() -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            operations.push((method.to_uppercase(), path.clone(), name));
        }
    }
    operations
}

/// What an operation can be asked for by its query.
fn query_of(path: &str) -> Vec<String> {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let parameters = document["paths"][path]["get"]["parameters"].as_array().cloned().unwrap_or_default();
    let of_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
    of_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
}

/// Whose identifiers are in no region.
const NOBODYS: [&str; 3] = ["/accounts/", "/keys/", "/reports/"];

/// A path with `id` for its parameter, and nothing for the further ones.
fn filled(path: &str, id: &str) -> String {
    let path = path.replace("{id}", id);
    let path = ["{key}", "{capture}", "{index}", "{appeal}", "{attachment}", "{label}"]
        .iter()
        .fold(path, |path, parameter| path.replace(parameter, "nothing"));
    assert!(!path.contains('{'), "{path}: a parameter that this test does not fill");
    path
}

#[tokio::test]
async fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let operator = Api::start().await;
    let staff = json!({"platform": operator.platform});
    let callers = [
        ("operator", true, operator.clone()),
        ("supervisor", true, operator.office("supervisor").await),
        ("auditor", true, operator.office("auditor").await),
        ("platform", true, operator.as_platform()),
        ("supervisor", false, operator.account("s", "supervisor", json!({"region": "41"})).await),
        ("auditor", false, operator.account("a", "auditor", json!({})).await),
        ("administrator", false, operator.account("b", "administrator", json!({})).await),
        ("staff", false, operator.account("c", "staff", staff).await),
    ];
    let mut operations = operations();
    // Who signs out is nobody afterwards.
    operations.sort_by_key(|(_, _, name)| name == "log_out");
    for (method, path, name) in &operations {
        let path = filled(path, "nothing");
        for (role, is_key, caller) in &callers {
            let status = call(caller, method, &path).await;
            if BY_LINK.contains(&name.as_str()) {
                assert_eq!(status, 401, "{method} {path} by {role}");
                continue;
            }
            let may = who_may(name);
            let let_in = may.contains(role) || (may == ACCOUNTS && !is_key);
            assert_eq!(status != 403, let_in, "{method} {path} by {role} (key: {is_key}): {status}");
            assert!(status != 401 || OPEN.contains(&name.as_str()), "{method} {path} by {role}");
            assert!(status < 500, "{method} {path} by {role}: {status}");
        }
        let status = call(&operator.with_key(""), method, &path).await;
        assert_eq!(status == 401, !OPEN.contains(&name.as_str()), "{method} {path} by nobody: {status}");
    }
    assert!(operations.len() >= 60, "{}", operations.len());
}

async fn call(caller: &Api, method: &str, path: &str) -> u16 {
    caller.send(method, path, Some("application/json"), json!({}).to_string().as_bytes()).await.status
}

/// A project in a region with all that hangs on it; the identifiers of what it left, by the beginnings of their paths.
async fn of_region(operator: &Api, region: &str, person: u32) -> Vec<(&'static str, String)> {
    let platform = operator.other_platform().await;
    let mut new = new_project();
    new["region"] = json!(region);
    let project = platform.approved(operator, new).await;
    let learner = platform.learner(person).await;
    platform.photo(&format!("/learners/{learner}/photo"), b"face of A").await.expect(201);
    let enrolments = format!("/projects/{}/enrolments", project.id);
    let enrolment = platform.post(&enrolments, json!({ "learner": learner })).await.expect(201);
    let opened =
        platform.post("/sessions", json!({"lesson": project.first_lesson, "learner": learner})).await.expect(201);
    let session = opened["session"].as_str().unwrap().to_owned();
    let own = platform.get("/platform").await.expect(200)["id"].as_str().unwrap().to_owned();
    let finding = format!("finding-{region}");
    operator
        .sql(&format!(
            "INSERT INTO finding (id, kind, code, subject, severity, state, strength, evidence, platforms, learners,
                 sessions, first_at, last_at, count)
             VALUES ('{finding}', 'shared_device', 'device_learners', '{region}', 'low', 'open', 1, '{{}}',
                 '[\"{own}\"]', '[\"{learner}\"]', '[\"{session}\"]', 1, 1, 1);"
        ))
        .await;
    vec![
        ("/platforms/", own),
        ("/projects/", project.id),
        ("/lessons/", project.first_lesson),
        ("/learners/", learner),
        ("/enrolments/", enrolment["id"].as_str().unwrap().to_owned()),
        ("/sessions/", session),
        ("/findings/", finding),
    ]
}

#[tokio::test]
async fn another_region_does_not_exist_for_a_supervisor() {
    let operator = Api::start().await;
    operator.set_log("");
    let (here, there) = (of_region(&operator, "411300", 1).await, of_region(&operator, "410100", 2).await);
    let supervisor = operator.account("s", "supervisor", json!({"region": "4113"})).await;
    let staff = json!({"platform": here[0].1});
    let staff = operator.account("t", "staff", staff).await;
    let (mut found, mut hidden, mut asked) = (0, 0, 0);
    for (method, path, name) in operations() {
        let Some(kind) = path.contains("{id}").then(|| here.iter().position(|(kind, _)| path.starts_with(kind))) else {
            if method == "GET" {
                for caller in [&supervisor, &staff] {
                    let text = caller.get(&filled(&path, "")).await.text;
                    let seen = there.iter().find(|(_, id)| text.contains(id.as_str()));
                    assert!(seen.is_none(), "{path} shows {seen:?}: {text}");
                    found += here.iter().filter(|(_, id)| text.contains(id.as_str())).count();
                }
                for parameter in query_of(&path) {
                    let kind = format!("/{parameter}s/");
                    let Some((_, id)) = there.iter().find(|(of, _)| *of == kind) else { continue };
                    for caller in [&supervisor, &staff] {
                        let by = if name == "sum_ledger" { "&by=learner" } else { "" };
                        let answer = caller.get(&format!("{}?{parameter}={id}{by}", filled(&path, ""))).await;
                        let seen = there.iter().find(|(_, id)| answer.text.contains(id.as_str()));
                        assert!(seen.is_none(), "{path} by {parameter} shows {seen:?}: {}", answer.text);
                        asked += usize::from(answer.status == 200);
                    }
                }
            }
            continue;
        };
        let Some(kind) = kind else {
            assert!(NOBODYS.iter().any(|of| path.starts_with(of)), "{path}: whose is it?");
            continue;
        };
        for (role, caller) in [("supervisor", &supervisor), ("staff", &staff)] {
            if !who_may(&name).contains(&role) {
                continue;
            }
            let days = if name == "read_platform_figures" { "?from=2026-03-01&to=2026-03-01" } else { "" };
            let other = format!("{}{days}", filled(&path, &there[kind].1));
            let answer = caller.send(&method, &other, Some("application/json"), &complete(&name)).await;
            assert_eq!(answer.status, 404, "{method} {other} by {role}: {}", answer.text);
            hidden += 1;
            if method == "GET" {
                let own = format!("{}{days}", filled(&path, &here[kind].1));
                let status = caller.get(&own).await.status;
                assert!(
                    status != 403
                        && (status != 404
                            || ["read_verdict", "read_frame", "read_appeal_attachment"].contains(&name.as_str())),
                    "{own} by {role}: {status}"
                );
            }
        }
    }
    assert!(found >= 12 && hidden >= 20 && asked >= 10, "{found} {hidden} {asked}");

    // What is named in a body does not exist either, be the path the supervisor's own.
    let of = |all: &[(&str, String)], kind: &str| all.iter().find(|(of, _)| *of == kind).unwrap().1.clone();
    let makeup = json!({"enrolment": of(&there, "/enrolments/"), "lesson": of(&here, "/lessons/"), "reference": "补1号",
        "office": "县人社局", "reason": "病假"});
    let makeups = format!("/projects/{}/makeups", of(&here, "/projects/"));
    supervisor.post(&makeups, makeup).await.expect_field(422, "enrolment");
    let learner = of(&there, "/learners/");
    for search in [
        json!({"scope": format!("class:{}", of(&there, "/projects/"))}),
        json!({"scope": format!("learners:{},{learner}", of(&here, "/learners/"))}),
        json!({"scope": format!("class:{}", of(&here, "/projects/")), "learner": learner}),
    ] {
        supervisor.post("/face-searches", search).await.expect_problem(404, "not-found");
    }
}

/// A body that nothing is wrong with, so that only the record can be missing.
fn complete(operation: &str) -> Vec<u8> {
    let body = match operation {
        "decide_platform_status" => json!({"status": "suspended", "reason": "x"}),
        "decide_project" => json!({"approved": false}),
        "decide_lesson" => json!({"approved": false}),
        "set_assessment" => json!({"assessed_on": null}),
        "allow_makeup" => json!({"enrolment": "x", "lesson": "x", "reference": "x", "office": "x", "reason": "x"}),
        "correct_person" => json!({"name": "x"}),
        "close_session" => json!({"reason": "left"}),
        "withdraw_enrolment" => json!({"reason": "x"}),
        "decide_finding" => json!({"state": "open"}),
        "decide_session" => {
            json!({"decision": "uphold", "reason": "admitted", "note": "", "verdict_version": 1})
        }
        _ => json!({}),
    };
    body.to_string().into_bytes()
}
