//! The console as it was built, under `/console/`: pages for supervisors, auditors, administrators and staff.
//!
//! The files of `web-client/console/dist` are part of a release binary; a debug build reads them from the disk at each request.
//! A page's own address has no file: it gets the entry, which finds its way by itself. What the pages may load is said by a
//! policy without exceptions for anything inline.

use std::borrow::Cow;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use rust_embed::Embed;

/// Where the pages lie.
pub const PREFIX: &str = "/console";

const ENTRY: &str = "index.html";
/// What browsers may load, and from where.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
                      font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Files whose name holds a digest of their content lie here: they never change.
const HASHED: &str = "assets/";
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>invigil</title>\
    <p>This server was built without the console: run <code>make console</code>, then build it again.</p>\
    <p lang=\"zh-CN\">此服务器未包含控制台：请先运行 <code>make console</code>，再重新编译。</p></html>\n";

#[derive(Embed)]
#[folder = "web-client/console/dist"]
#[allow_missing = true]
struct Files;

/// Whether this binary has the console.
pub fn is_built() -> bool {
    Files::get(ENTRY).is_some()
}

/// The pages.
pub fn router() -> Router {
    Router::new()
        .route(PREFIX, get(async || Redirect::permanent("/console/")))
        .route(&format!("{PREFIX}/"), get(async |headers: HeaderMap| entry(&headers)))
        .route(&format!("{PREFIX}/{{*path}}"), get(serve))
}

async fn serve(Path(path): Path<String>, headers: HeaderMap) -> Response {
    let is_plain = !path.split('/').any(|part| matches!(part, "" | "." | ".."));
    match is_plain.then(|| Files::get(&path)).flatten() {
        Some(file) => answer(&path, file.data, file.metadata.sha256_hash(), &headers),
        // A missing script must not be answered with a page that is then taken for one.
        None if path.starts_with(HASHED) => (StatusCode::NOT_FOUND, "").into_response(),
        None => entry(&headers),
    }
}

fn entry(asked: &HeaderMap) -> Response {
    match Files::get(ENTRY) {
        Some(file) => answer(ENTRY, file.data, file.metadata.sha256_hash(), asked),
        None => answer(ENTRY, NOT_BUILT.as_bytes().into(), [0; 32], asked),
    }
}

fn answer(path: &str, data: Cow<'static, [u8]>, sha256: [u8; 32], asked: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", hex::encode(sha256));
    let known = asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let is_known = known.is_some_and(|tags| tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag));
    let (status, body) = match is_known {
        true => (StatusCode::NOT_MODIFIED, Body::empty()),
        false => (StatusCode::OK, Body::from(data)),
    };
    let mut response = (status, body).into_response();
    let kept = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("a digest in hexadecimal is a header's value"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(path: &str) -> Response {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        router().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn every_page_is_the_entry_under_a_policy_without_exceptions() {
        for path in ["/console/", "/console/sessions/1", "/console/appeal", "/console/../etc/passwd"] {
            let response = get(path).await;
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8", "{path}");
            let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
            assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        }
        assert_eq!(get("/console").await.headers()["location"], "/console/");
        assert_eq!(get("/console/assets/nothing.js").await.status(), 404);
    }

    #[test]
    fn what_never_changes_is_kept() {
        let kept =
            |path| answer(path, b"1".as_slice().into(), [7; 32], &HeaderMap::new()).headers()["cache-control"].clone();
        assert_eq!(kept("assets/a.js"), "public, max-age=31536000, immutable");
        assert_eq!(kept(ENTRY), "no-cache");
    }
}
