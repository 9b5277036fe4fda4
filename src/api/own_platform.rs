//! What a platform sees and sets of itself: its record, its webhook, and the origins of its pages.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::{OwnPlatform, PlatformReader};
use super::extract::JsonBody;
use super::problem::{Problem, Refusals};
use super::validate::Findings;
use super::{Answer, ApiState};
use crate::delivery::sign::WebhookSecret;
use crate::store::platforms::PlatformRecord;

/// Origins that a platform may name.
const ORIGINS_LIMIT: usize = 20;
/// Longest address of a webhook, in bytes.
const URL_BYTES: usize = 2_000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(read_own_platform))
        .routes(routes!(set_webhook, clear_webhook))
        .routes(routes!(read_origins, set_origins))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewWebhook {
    /// where verdicts are delivered: an https address
    url: String,
}

#[derive(Serialize, ToSchema)]
struct IssuedWebhook {
    /// the address
    url: String,
    /// checks signatures (Standard Webhooks, `whsec_…`): it is shown this once
    secret: String,
}

/// The platform itself
#[utoipa::path(get, path = "/platform", tag = "platform", responses((status = 200, body = PlatformRecord), Refusals))]
async fn read_own_platform(
    State(state): State<ApiState>,
    PlatformReader(platform): PlatformReader,
) -> Answer<PlatformRecord> {
    state.store.platform(&platform, state.clock.now_ms()).await?.map(Json).ok_or_else(|| Problem::no_such("platform"))
}

/// Sets where webhooks go; answers with a new secret, which is shown this once
#[utoipa::path(put, path = "/platform/webhook", tag = "platform",
    request_body = NewWebhook, responses((status = 200, body = IssuedWebhook), Refusals))]
async fn set_webhook(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
    JsonBody(new): JsonBody<NewWebhook>,
) -> Answer<IssuedWebhook> {
    let url = check_url(&state, &new.url).map_err(|problem| Problem::field("url", problem))?;
    let secret = WebhookSecret::generate(&state.entropy);
    let sealed = secret.seal(&state.keys, &state.entropy, &platform);
    state.store.set_webhook(&platform, url.to_string(), sealed).await?;
    Ok(Json(IssuedWebhook { url: url.to_string(), secret: secret.to_text() }))
}

/// Takes the webhook away; what was not delivered yet is not
#[utoipa::path(delete, path = "/platform/webhook", tag = "platform", responses((status = 204), Refusals))]
async fn clear_webhook(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
) -> Result<StatusCode, Problem> {
    state.store.clear_webhook(&platform).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Origins {
    /// scheme and host of the platform's pages, as browsers send them: `https://learn.example`, at most 20
    origins: Vec<String>,
}

/// The web origins whose pages may stream for the platform
#[utoipa::path(get, path = "/platform/origins", tag = "platform",
    responses((status = 200, body = Origins), Refusals))]
async fn read_origins(State(state): State<ApiState>, PlatformReader(platform): PlatformReader) -> Answer<Origins> {
    Ok(Json(Origins { origins: state.store.platform_origins(&platform).await? }))
}

/// Sets the web origins whose pages may stream for the platform; a browser's page of any other is refused
#[utoipa::path(put, path = "/platform/origins", tag = "platform",
    request_body = Origins, responses((status = 200, body = Origins), Refusals))]
async fn set_origins(
    State(state): State<ApiState>,
    OwnPlatform(platform): OwnPlatform,
    JsonBody(new): JsonBody<Origins>,
) -> Answer<Origins> {
    let mut findings = Findings::default();
    findings.count("origins", new.origins.len(), 0..=ORIGINS_LIMIT);
    for (index, origin) in new.origins.iter().enumerate().take(ORIGINS_LIMIT) {
        if let Err(why) = check_origin(origin, state.allow_localhost_origins) {
            findings.add(format!("origins[{index}]"), why);
        }
    }
    findings.finish()?;
    state.store.set_platform_origins(&platform, &new.origins).await?;
    Ok(Json(new))
}

/// Whether this is an origin as browsers write it, and one that may be named.
fn check_origin(text: &str, allow_localhost: bool) -> Result<(), &'static str> {
    const FORM: &str = "must be an origin such as https://learn.example: no path, no capitals, no default port";
    let url = reqwest::Url::parse(text).map_err(|_| FORM)?;
    // A browser compares bytes, and so does this server: only the form that it sends can ever match.
    if url.origin().ascii_serialization() != text || text.contains('*') {
        return Err(FORM);
    }
    let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_local && allow_localhost => Ok(()),
        _ => Err("must begin with https://"),
    }
}

fn check_url(state: &ApiState, text: &str) -> Result<reqwest::Url, String> {
    if text.len() > URL_BYTES {
        return Err(format!("may have at most {URL_BYTES} bytes"));
    }
    let url = reqwest::Url::parse(text).map_err(|_| "must be an address such as https://example.com/hook")?;
    match url.scheme() {
        "https" => {}
        "http" if state.allow_http_webhooks => {}
        _ => return Err("must begin with https://".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or a password".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment (#…)".to_owned());
    }
    (state.webhook_guard)(&url)?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::fixture::Api;

    #[tokio::test]
    async fn a_platform_sets_and_clears_its_webhook() {
        let api = Api::start().await.as_platform();
        let set = api.put("/platform/webhook", json!({"url": "https://example.com/hook"})).await.expect(200);
        assert!(set["secret"].as_str().unwrap().starts_with("whsec_"));
        let again = api.put("/platform/webhook", json!({"url": "https://example.com/hook"})).await.expect(200);
        assert_ne!(set["secret"], again["secret"]);
        let platform = api.get("/platform").await.expect(200);
        assert_eq!(platform["webhook_url"], "https://example.com/hook");
        assert!(!platform.to_string().contains("whsec_"));
        api.delete("/platform/webhook").await.expect(204);
        assert!(api.get("/platform").await.expect(200)["webhook_url"].is_null());
    }

    #[tokio::test]
    async fn odd_addresses_are_refused() {
        let api = Api::start().await.as_platform();
        let long = format!("https://example.com/{}", "a".repeat(2_000));
        for url in [
            "",
            "example.com",
            "http://example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https://user@example.com/",
            "https://:secret@example.com/",
            "https://example.com/#part",
            // The fixture's guard refuses this one.
            "https://guarded.example/",
            long.as_str(),
        ] {
            api.put("/platform/webhook", json!({ "url": url })).await.expect_field(422, "url");
        }
        api.put("/platform/webhook", json!({})).await.expect_field(422, "url");
    }

    #[tokio::test]
    async fn a_platform_names_the_origins_of_its_pages() {
        let operator = Api::start().await;
        let api = operator.as_platform();
        assert_eq!(api.get("/platform/origins").await.expect(200)["origins"], json!([]));
        let origins = json!({"origins": ["https://learn.example", "https://learn.example:8443"]});
        assert_eq!(api.put("/platform/origins", origins.clone()).await.expect(200), origins);
        assert_eq!(api.get("/platform/origins").await.expect(200), origins);
        let other = operator.other_platform().await;
        assert_eq!(other.get("/platform/origins").await.expect(200)["origins"], json!([]));
    }

    #[tokio::test]
    async fn what_no_browser_sends_is_no_origin() {
        let mut api = Api::start().await.as_platform();
        for origin in [
            "",
            "null",
            "*",
            "https://*.example",
            "https://learn.example/",
            "https://learn.example/page",
            "https://Learn.example",
            "https://learn.example:443",
            "https://user@learn.example",
            "http://learn.example",
            "http://localhost:5173",
            "ftp://learn.example",
        ] {
            let both = json!({"origins": ["https://fine.example", origin]});
            api.put("/platform/origins", both).await.expect_field(422, "origins[1]");
        }
        let many: Vec<String> = (0..21).map(|i| format!("https://a{i}.example")).collect();
        api.put("/platform/origins", json!({"origins": many})).await.expect_field(422, "origins");
        api.allow_localhost_origins();
        for origin in ["http://localhost:5173", "http://127.0.0.1:5173"] {
            api.put("/platform/origins", json!({"origins": [origin]})).await.expect(200);
        }
        api.put("/platform/origins", json!({"origins": ["http://learn.example"]}))
            .await
            .expect_field(422, "origins[0]");
    }

    #[tokio::test]
    async fn browsers_are_not_let_into_the_api() {
        let api = Api::start().await.as_platform();
        let origins = json!({"origins": ["https://learn.example"]});
        api.put("/platform/origins", origins).await.expect(200);
        let preflight = api.send("OPTIONS", "/sessions", None, b"").await;
        assert!(!preflight.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
        preflight.expect_problem(405, "method-not-allowed");
    }

    #[tokio::test]
    async fn the_operator_has_no_webhook() {
        let api = Api::start().await;
        api.get("/platform").await.expect_problem(403, "forbidden");
        api.put("/platform/webhook", json!({"url": "https://example.com"})).await.expect_problem(403, "forbidden");
    }
}
