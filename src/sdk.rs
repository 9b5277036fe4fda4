//! The web SDK as it was built, under `/sdk/v1/`: what a course page loads.
//!
//! The files of `web-client/sdk/dist` are part of a release binary; a debug build reads them from the disk at each
//! request. A binary that was built without them says how to have them.

use std::borrow::Cow;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use rust_embed::Embed;

use crate::api::problem::Problem;

/// Where the files lie, by the protocol's major version.
pub const PREFIX: &str = "/sdk/v1";

/// What a page's import fetches first, and thereby whether there is an SDK at all.
const ENTRY: &str = "invigil.js";

#[derive(Embed)]
#[folder = "web-client/sdk/dist"]
#[allow_missing = true]
struct Files;

/// Whether this binary has the SDK.
pub fn is_built() -> bool {
    Files::get(ENTRY).is_some()
}

/// The files, for pages of any origin: they hold no secret, and sessions are guarded by the platform's origins.
pub fn router() -> Router {
    Router::new().route(&format!("{PREFIX}/{{*path}}"), get(serve))
}

async fn serve(Path(path): Path<String>, headers: HeaderMap) -> Response {
    let is_plain = !path.split('/').any(|part| matches!(part, "" | "." | ".."));
    match is_plain.then(|| Files::get(&path)).flatten() {
        Some(file) => answer(&path, file.data, file.metadata.sha256_hash(), &headers),
        None if is_built() => Problem::not_found(format!("the SDK has no file {path}")).into_response(),
        None => {
            let how = "this server was built without the web SDK: run `make sdk`, then build it again";
            Problem::not_found(how).into_response()
        }
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
    let tag = HeaderValue::from_str(&tag).expect("a digest in hexadecimal is a header's value");
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    // A name stays and its content changes with the server: a browser keeps it, and asks whether it is still so.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    response
}

/// What browsers and editors make of a file, by the end of its name.
fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn a_file_goes_to_any_page_and_is_kept_until_it_changes() {
        let first = answer("invigil.js", b"1".into(), [7; 32], &HeaderMap::new());
        assert_eq!(first.status(), 200);
        let headers = first.headers();
        assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
        let ask = |tags: String| {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(&tags).unwrap())]);
            answer("invigil.js", b"1".into(), [7; 32], &headers).status().as_u16()
        };
        let tag = headers["etag"].to_str().unwrap();
        assert_eq!(
            (ask(tag.to_owned()), ask(format!("\"other\", W/{tag}")), ask("\"other\"".to_owned())),
            (304, 304, 200)
        );
    }

    #[tokio::test]
    async fn nothing_else_is_served() {
        for path in ["nothing.js", "../package.json", "..%2fpackage.json", "types//x"] {
            let request = Request::builder().uri(format!("{PREFIX}/{path}")).body(Body::empty()).unwrap();
            assert_eq!(router().oneshot(request).await.unwrap().status(), 404, "{path}");
        }
    }
}
