//! Every route of the OpenAPI document with every role: who may, and that nobody else may.

use serde_json::{Value, json};

use super::fixture::Api;
use super::openapi_json;

const OPERATOR: &[&str] = &["operator"];
const DECIDERS: &[&str] = &["operator", "supervisor"];
const OFFICE: &[&str] = &["operator", "supervisor", "auditor"];
const PLATFORM: &[&str] = &["platform"];
const ALL: &[&str] = &["operator", "supervisor", "auditor", "platform"];
const NO_AUDITOR: &[&str] = &["operator", "supervisor", "platform"];

/// Who may call an operation, by its identifier. A new route gets its line here, or the test fails.
fn who_may(operation: &str) -> &'static [&'static str] {
    match operation {
        "create_platform" | "rename_platform" => OPERATOR,
        "create_api_key" | "list_api_keys" | "revoke_api_key" => OPERATOR,
        "create_office_key" | "list_office_keys" | "revoke_office_key" => OPERATOR,
        "forget_learner" | "resend_report" => OPERATOR,
        "list_findings" | "read_finding" | "list_reports" => OFFICE,
        "decide_finding" | "search_faces" => DECIDERS,
        "list_face_searches" => OFFICE,
        "read_origins" | "set_origins" => PLATFORM,
        "list_ledger" | "sum_ledger" | "ledger_sheet" => ALL,
        "list_platforms" | "read_platform" | "list_person_accesses" => OFFICE,
        "decide_platform_status" | "decide_project" | "decide_lesson" | "set_assessment" => DECIDERS,
        "allow_makeup" | "correct_person" => DECIDERS,
        "read_own_platform" | "set_webhook" | "clear_webhook" => PLATFORM,
        "name_learner" | "read_learner" | "put_photo" => PLATFORM,
        "create_project" | "enrol_learner" | "open_session" | "issue_token" => PLATFORM,
        "close_session" | "withdraw_enrolment" => NO_AUDITOR,
        "list_platform_decisions" | "read_person" | "list_projects" | "read_project" => ALL,
        "list_enrolments" | "list_makeups" => ALL,
        "list_sessions" | "read_session" | "read_verdict" | "read_log" => ALL,
        unknown => panic!("{unknown}: say here who may call it"),
    }
}

#[tokio::test]
async fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let operator = Api::start().await;
    let callers = [
        ("operator", operator.clone()),
        ("supervisor", operator.office("supervisor").await),
        ("auditor", operator.office("auditor").await),
        ("platform", operator.as_platform()),
    ];
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut walked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "nothing").replace("{key}", "nothing");
        assert!(!path.contains('{'), "{path}: a parameter that this test does not fill");
        for (method, operation) in methods.as_object().unwrap() {
            let (method, name) = (method.to_uppercase(), operation["operationId"].as_str().unwrap());
            for (role, caller) in &callers {
                let status = call(caller, &method, &path).await;
                let let_in = status != 403;
                assert_eq!(let_in, who_may(name).contains(role), "{method} {path} by {role}: {status}");
                assert_ne!(status, 401, "{method} {path} by {role}");
                assert!(status < 500, "{method} {path} by {role}: {status}");
            }
            assert_eq!(call(&operator.with_key(""), &method, &path).await, 401, "{method} {path} by nobody");
            walked += 1;
        }
    }
    assert!(walked >= 35, "{walked}");
}

async fn call(caller: &Api, method: &str, path: &str) -> u16 {
    caller.send(method, path, Some("application/json"), json!({}).to_string().as_bytes()).await.status
}
