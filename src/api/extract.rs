//! What handlers are given out of a request: bodies within limits, queries, path parameters.
//!
//! Every refusal is a problem that names the field and does not repeat its value. Who calls is in `caller.rs`; whether
//! the values make sense is in `validate.rs`.

use axum::RequestPartsExt as _;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use super::ApiState;
use super::problem::Problem;

/// Longest part of a field's name that a problem repeats, in characters.
const FIELD_NAME_LIMIT: usize = 100;

/// A JSON body. Its type should refuse unknown fields, so that a typo is not silently ignored.
pub struct JsonBody<T>(pub T);

/// The query string, under the same rules.
pub struct QueryOf<T>(pub T);

/// The parameters of the path.
pub struct PathOf<T>(pub T);

impl<T: DeserializeOwned> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_type("the body must be application/json"));
        }
        let limit_bytes = state.limits.json_bytes;
        parse_json(&read_body(request, limit_bytes, state).await?).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequestParts<ApiState> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(query).map_err(|_| Problem::malformed("the query string cannot be read"))?;
        let mut object = serde_json::Map::new();
        // An empty value means that nothing was chosen, as forms send it.
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            if object.insert(name.clone(), value.into()).is_some() {
                return Err(Problem::field(&shorten(&name), "is given twice"));
            }
        }
        serde_path_to_error::deserialize(serde_json::Value::Object(object))
            .map(Self)
            .map_err(|error| field_problem(&error.path().to_string(), &error.inner().to_string()))
    }
}

impl<T: DeserializeOwned + Send + 'static> FromRequestParts<ApiState> for PathOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let Path(values) = parts.extract::<Path<T>>().await.map_err(|_| Problem::not_found("no such path"))?;
        Ok(Self(values))
    }
}

/// The whole body, if it arrives in time and has at most `limit_bytes`.
///
/// # Errors
/// 408, 413, or 400 when the connection broke off.
pub async fn read_body(request: Request, limit_bytes: usize, state: &ApiState) -> Result<Vec<u8>, Problem> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|declared: u64| declared > limit_bytes as u64) {
        return Err(too_large(limit_bytes));
    }
    tokio::select! {
        body = collect(request.into_body(), limit_bytes) => body,
        () = state.clock.sleep_ms(state.limits.body_ms) => {
            Err(Problem::too_slow(format!("the body must arrive within {} ms", state.limits.body_ms)))
        }
    }
}

async fn collect(body: Body, limit_bytes: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::malformed("the body broke off"))?;
        if bytes.len() + chunk.len() > limit_bytes {
            return Err(too_large(limit_bytes));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large(limit_bytes: usize) -> Problem {
    Problem::too_large(format!("the body may have at most {limit_bytes} bytes"))
}

/// The content type without its parameters, in lower case; empty when there is none.
pub fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = content_type(headers);
    content_type == "application/json" || content_type.ends_with("+json")
}

/// A JSON value that was read already.
///
/// # Errors
/// 400 or 422, with the field.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            field_problem(&path, &inner.to_string())
        } else {
            Problem::malformed(format!("this is no JSON: see line {}, column {}", inner.line(), inner.column()))
        }
    })?;
    deserializer.end().map_err(|_| Problem::malformed("something follows the JSON value"))?;
    Ok(value)
}

/// The problem that serde's message stands for, without the value that the message repeats.
fn field_problem(path: &str, message: &str) -> Problem {
    let message = message.rfind(" at line ").map_or(message, |end| &message[..end]);
    let inside = |name: &str| if path == "." { shorten(name) } else { format!("{}.{}", shorten(path), shorten(name)) };
    if let Some(name) = quoted(message, "missing field `") {
        return Problem::field(&inside(name), "is missing");
    }
    if let Some(name) = quoted(message, "duplicate field `") {
        return Problem::field(&inside(name), "is given twice");
    }
    if message.starts_with("unknown field `") {
        return unknown_field(path, message);
    }
    let field = if path == "." { "the body".to_owned() } else { shorten(path) };
    // Everything before the last "expected" may hold the value.
    match message.rsplit_once("expected ") {
        Some((_, expected)) => Problem::field(&field, format!("must be {}", in_json_terms(expected))),
        None => Problem::field(&field, "has a value that cannot be read"),
    }
}

/// The path of an unknown field ends with the field itself.
fn unknown_field(path: &str, message: &str) -> Problem {
    let known = message.rsplit_once("expected ").map_or("nothing else", |(_, known)| known);
    Problem::field(&shorten(path), format!("is not known here; known: {known}"))
}

/// What serde expects, as somebody who writes JSON calls it.
fn in_json_terms(expected: &str) -> &str {
    match expected {
        "i64" | "u64" | "u32" => "a whole number",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    }
}

fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.strip_prefix(before)?.split('`').next()
}

fn shorten(name: &str) -> String {
    name.chars().take(FIELD_NAME_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Outer {
        name: String,
        inner: Option<Vec<Inner>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Inner {
        size: i64,
        kind: Option<crate::store::words::LessonKind>,
        four: Option<[String; 4]>,
    }

    fn refusal(json: &str) -> (u16, String, String) {
        let problem = parse_json::<Outer>(json.as_bytes()).unwrap_err();
        let first = problem.errors.first().cloned();
        let (field, words) = first.map_or((String::new(), problem.detail.into()), |error| (error.field, error.problem));
        (problem.status, field, words)
    }

    #[test]
    fn every_kind_of_mistake_names_its_field() {
        for (json, field, words) in [
            (r#"{}"#, "name", "is missing"),
            (r#"{"name":1}"#, "name", "must be a string"),
            (r#"{"name":null}"#, "name", "must be a string"),
            (r#"{"name":"a","name":"b"}"#, "name", "is given twice"),
            (r#"{"name":"a","nmae":1}"#, "nmae", "is not known here; known: `name` or `inner`"),
            (r#"{"name":"a","inner":{}}"#, "inner", "must be a list"),
            (r#"{"name":"a","inner":[{}]}"#, "inner[0].size", "is missing"),
            (r#"{"name":"a","inner":[{"size":1},{"size":"big"}]}"#, "inner[1].size", "must be a whole number"),
            (r#"{"name":"a","inner":[{"size":1.5}]}"#, "inner[0].size", "must be a whole number"),
            (r#"{"name":"a","inner":[{"size":1,"kind":"x"}]}"#, "inner[0].kind", "must be `theory` or `practice`"),
            (r#"{"name":"a","inner":[{"size":1,"four":["a"]}]}"#, "inner[0].four", "must be an array of length 4"),
            (r#"7"#, "the body", "must be an object"),
            (r#"[]"#, "the body", "must be an object"),
        ] {
            assert_eq!(refusal(json), (422, field.to_owned(), words.to_owned()), "{json}");
        }
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for json in ["", "{", r#"{"name":"a"} x"#, r#"{"name":"a",}"#, "\u{feff}{}"] {
            assert_eq!(refusal(json).0, 400, "{json}");
        }
    }

    #[test]
    fn values_are_never_repeated() {
        for json in [
            r#"{"name":110101199003070011}"#,
            r#"{"name":["110101199003070011"]}"#,
            r#"{"name":"a","inner":"110101199003070011"}"#,
            r#"{"name":"a","inner":"110101199003070011, expected 110101199003070011"}"#,
            r#"{"name":"a","inner":[{"size":1,"kind":"110101199003070011"}]}"#,
            r#"{"name":"a","inner":[{"size":110101199003070011110101199003070011}]}"#,
        ] {
            let problem = parse_json::<Outer>(json.as_bytes()).unwrap_err();
            assert!(!format!("{problem:?}").contains("1101"), "{json}: {problem:?}");
        }
    }
}
