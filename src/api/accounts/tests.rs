use serde_json::json;

use crate::api::fixture::Api;
use crate::auth::totp::TotpSecret;

const PASSWORD: &str = "four words and more";

async fn with_account(role: &str) -> (Api, Api) {
    let operator = Api::start().await;
    let signed_in = operator.account("Zhang", role, json!({})).await;
    (operator, signed_in)
}

fn login(name: &str, password: &str) -> serde_json::Value {
    json!({"name": name, "password": password})
}

#[tokio::test]
async fn an_account_signs_in_and_out() {
    let (operator, auditor) = with_account("auditor").await;
    let account = auditor.get("/account").await.expect(200);
    assert_eq!(
        (&account["name"], &account["role"], &account["totp"]),
        (&json!("zhang"), &json!("auditor"), &json!(false))
    );
    auditor.get("/sessions").await.expect(200);
    operator.get("/account").await.expect_problem(403, "forbidden");
    operator.with_key("").get("/account").await.expect_problem(401, "unauthenticated");
    auditor.post("/logout", json!({})).await.expect(204);
    auditor.get("/account").await.expect_problem(401, "unauthenticated");
    auditor.get("/sessions").await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn what_was_wrong_is_not_said_and_failures_lock() {
    let (operator, _) = with_account("auditor").await;
    let nobody = operator.with_key("").calling_from([192, 0, 2, 1]);
    let elsewhere = operator.with_key("").calling_from([192, 0, 2, 2]);
    let wrong = |name: &'static str| nobody.post("/login", login(name, "something else"));
    for name in ["zhang", "nobody", "zhang", "nobody", "zhang"] {
        let problem = wrong(name).await.expect_problem(401, "wrong-login");
        assert_eq!(problem["detail"], "try again");
    }
    let locked = nobody.post("/login", login("zhang", PASSWORD)).await.expect_problem(429, "locked");
    assert_eq!(locked["retry_after_ms"], 30_000);
    // The address is locked, and the name not yet.
    let right = elsewhere.post("/login", login("ZHANG ", PASSWORD)).await;
    assert!(right.headers["set-cookie"].to_str().unwrap().contains("; Path=/; HttpOnly; SameSite=Strict; "));
    right.expect(200);
    operator.clock.advance_ms(30_000);
    nobody.post("/login", login("zhang", PASSWORD)).await.expect(200);

    for address in 10..15 {
        let caller = nobody.calling_from([192, 0, 2, address]);
        caller.post("/login", login("zhang", "something else")).await.expect_problem(401, "wrong-login");
    }
    let account = operator.get("/accounts").await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    elsewhere.post("/login", login("zhang", PASSWORD)).await.expect_problem(429, "locked");
    operator.post(&format!("/accounts/{account}/unlock"), json!({})).await.expect(204);
    elsewhere.post("/login", login("zhang", PASSWORD)).await.expect(200);

    let log = operator.get("/access-log?kind=login_failed").await.expect(200);
    let names: Vec<_> = log["items"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["zhang"; 8]);
}

#[tokio::test]
async fn one_time_codes_are_asked_for_once_confirmed() {
    let (operator, auditor) = with_account("auditor").await;
    let nobody = operator.with_key("");
    let pending = auditor.post("/account/totp", json!({})).await.expect(200);
    let uri = pending["uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/invigil:zhang?secret="), "{uri}");
    nobody.post("/login", login("zhang", PASSWORD)).await.expect(200);
    auditor.put("/account/totp", json!({"code": "000000"})).await.expect_field(422, "code");
    let secret = from_base32(pending["secret"].as_str().unwrap());
    let code = |at: i64| secret.code(at / 30_000);
    let now_ms = operator.clock.now_ms();
    auditor.put("/account/totp", json!({"code": code(now_ms)})).await.expect(204);
    auditor.get("/account").await.expect_problem(401, "unauthenticated");
    nobody.post("/login", login("zhang", PASSWORD)).await.expect_problem(401, "code-needed");
    let with = |code: String| json!({"name": "zhang", "password": PASSWORD, "code": code});
    nobody.post("/login", with(code(now_ms))).await.expect_problem(401, "wrong-login");
    let next = code(now_ms + 30_000);
    let signed_in = nobody.signed_in(nobody.post("/login", with(next.clone())).await);
    nobody.post("/login", with(next)).await.expect_problem(401, "wrong-login");
    let body = |password: &str| json!({ "password": password }).to_string();
    let end = async |password: &str| {
        signed_in.send("DELETE", "/account/totp", Some("application/json"), body(password).as_bytes()).await
    };
    end("something else").await.expect_field(422, "password");
    end(PASSWORD).await.expect(204);
    nobody.post("/login", login("zhang", PASSWORD)).await.expect(200);
}

/// What an app does with the text that it is given.
fn from_base32(text: &str) -> TotpSecret {
    let digits = text.bytes().map(|digit| if digit >= b'A' { digit - b'A' } else { digit - b'2' + 26 });
    let bits: String = digits.map(|digit| format!("{digit:05b}")).collect();
    let bytes = bits.as_bytes().chunks_exact(8).map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2));
    TotpSecret::from_bytes(bytes.collect::<Result<_, _>>().unwrap())
}

#[tokio::test]
async fn another_password_signs_every_other_browser_out() {
    let (operator, first) = with_account("auditor").await;
    let nobody = operator.with_key("");
    let second = nobody.signed_in(nobody.post("/login", login("zhang", PASSWORD)).await);
    let change = |old: &str, new: &str| json!({"old": old, "new": new});
    first.put("/account/password", change(PASSWORD, "short")).await.expect_field(422, "new");
    first.put("/account/password", change("something else", "another password")).await.expect_field(422, "old");
    let answer = first.put("/account/password", change(PASSWORD, "another password")).await;
    let again = first.signed_in(answer);
    for gone in [&first, &second] {
        gone.get("/account").await.expect_problem(401, "unauthenticated");
    }
    again.get("/account").await.expect(200);
    nobody.post("/login", login("zhang", PASSWORD)).await.expect_problem(401, "wrong-login");
    nobody.post("/login", login("zhang", "another password")).await.expect(200);
}

#[tokio::test]
async fn what_changes_something_must_come_from_the_console() {
    let (_, auditor) = with_account("auditor").await;
    let foreign = auditor.without_own_header();
    foreign.get("/account").await.expect(200);
    foreign.post("/logout", json!({})).await.expect_problem(403, "cross-site");
    auditor.get("/account").await.expect(200);
}

#[tokio::test]
async fn administrators_run_accounts() {
    let (operator, administrator) = with_account("administrator").await;
    let new = |name: &str, role: &str| json!({"name": name, "role": role, "password": PASSWORD});
    let made = administrator.post("/accounts", new("Li", "supervisor")).await.expect(201);
    assert!(made.get("password").is_none() && made["region"] == "", "{made}");
    administrator.post("/accounts", new("li", "auditor")).await.expect_field(409, "name");
    for (change, field) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "a:b"}), "name"),
        (json!({"password": "eleven char"}), "password"),
        (json!({"role": "staff"}), "platform"),
        (json!({"role": "staff", "platform": "none"}), "platform"),
        (json!({"platform": "none"}), "platform"),
        (json!({"region": "41x"}), "region"),
        (json!({"role": "auditor", "region": "41"}), "region"),
        (json!({"role": "operator"}), "role"),
    ] {
        let mut body = new("wang", "supervisor");
        change.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        administrator.post("/accounts", body).await.expect_field(422, field);
    }
    let nobody = operator.with_key("");
    let li = nobody.signed_in(nobody.post("/login", login("li", PASSWORD)).await);
    let path = format!("/accounts/{}", made["id"].as_str().unwrap());
    administrator.put(&path, json!({"disabled": true})).await.expect(200);
    li.get("/account").await.expect_problem(401, "unauthenticated");
    nobody.post("/login", login("li", PASSWORD)).await.expect_problem(401, "wrong-login");
    administrator.put(&path, json!({"disabled": false})).await.expect(200);
    let li = nobody.signed_in(nobody.post("/login", login("li", PASSWORD)).await);
    let own = administrator.get("/account").await.expect(200)["id"].as_str().unwrap().to_owned();
    administrator.put(&format!("/accounts/{own}"), json!({"disabled": true})).await.expect_problem(409, "conflict");
    administrator.put("/accounts/none", json!({"disabled": true})).await.expect_problem(404, "not-found");
    li.get("/accounts").await.expect_problem(403, "forbidden");
    assert_eq!(administrator.get("/accounts").await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn names_are_shown_on_record() {
    let (operator, auditor) = with_account("auditor").await;
    let learner = operator.as_platform().learner(1).await;
    auditor.get(&format!("/learners/{learner}/person")).await.expect(200);
    let log = auditor.get("/access-log?kind=person").await.expect(200);
    let entry = &log["items"][0];
    assert_eq!(
        (&entry["name"], &entry["role"], &entry["subject"]),
        (&json!("zhang"), &json!("auditor"), &json!(learner))
    );
    auditor.get("/access-log?kind=odd").await.expect_field(422, "kind");
}
