//! Refusals in one form: problem+json (RFC 9457) that names the field, and says when to try again where that helps.
//!
//! A failure of ours is logged here, once, and answered without its details. Nothing that a client sent is repeated
//! in a problem, because it could be an ID number.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::rates::TooMany;
use crate::store::StoreError;

/// When to try again after a queue was full, ms: the writer empties its queue in far less.
const RETRY_AFTER_MS: u32 = 1_000;

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// the field, as in `lessons[2].title`
    pub field: String,
    /// what is wrong with it
    pub problem: String,
}

/// A rule that forbids something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BrokenRule {
    /// the rule, as docs/rules.md names it
    pub rule: &'static str,
    /// the clause that the rule follows from
    pub clause: String,
    /// what it is about this time
    pub detail: String,
}

/// Why a request was refused. Nothing was changed, unless the detail says so.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// which problem it is: `urn:invigil:problem:` and a name that does not change
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// the same, in words
    pub title: &'static str,
    /// the status of the answer
    pub status: u16,
    /// what it is about this time
    #[schema(value_type = String)]
    pub detail: Box<str>,
    /// the fields that are wrong
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// when to try again, ms from now
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
    /// when it was deleted, ms since the Unix epoch
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<i64>,
    /// the rules that forbid it
    #[serde(flatten)]
    pub broken: Box<BrokenRules>,
}

/// The rules that forbid a request, if it is rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct BrokenRules {
    /// the rule that forbids it, as docs/rules.md names it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// the clause that the rule follows from
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<String>,
    /// all of them, where several are checked together; the first is `rule`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<BrokenRule>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $function:ident: $status:ident, $name:literal, $title:literal;)+) => {
        impl Problem {
            $($(#[$doc])*
            pub fn $function(detail: impl Into<String>) -> Self {
                Self::new(StatusCode::$status, concat!("urn:invigil:problem:", $name), $title, detail.into())
            })+
        }
    };
}

kinds! {
    /// 400: the body cannot be read at all.
    malformed: BAD_REQUEST, "malformed", "The request cannot be read";
    /// 401: no key, or none that is valid.
    unauthenticated: UNAUTHORIZED, "unauthenticated", "A valid API key is needed";
    /// 401: no such name, or not its password, or not its code: which of them is not said.
    wrong_login: UNAUTHORIZED, "wrong-login", "Name, password or code is wrong";
    /// 401: the password was right, and a one-time code is asked for.
    code_needed: UNAUTHORIZED, "code-needed", "A one-time code is needed";
    /// 429: too many failures to sign in, one after the other.
    locked: TOO_MANY_REQUESTS, "locked", "Too many failures to sign in";
    /// 403: a browser sent it for a page of somebody else.
    cross_site: FORBIDDEN, "cross-site", "The request does not come from the console";
    /// 403: a valid key, but of somebody else.
    forbidden: FORBIDDEN, "forbidden", "This key may not do that";
    /// 404: it does not exist, or is not the caller's.
    not_found: NOT_FOUND, "not-found", "Not found";
    /// 404: there is no verdict yet.
    session_open: NOT_FOUND, "session-open", "The session is still open";
    /// 405: not on this path.
    method_not_allowed: METHOD_NOT_ALLOWED, "method-not-allowed", "The method does not apply here";
    /// 408: the body took too long.
    too_slow: REQUEST_TIMEOUT, "too-slow", "The request took too long to arrive";
    /// 409: something changed meanwhile, or stands against it.
    conflict: CONFLICT, "conflict", "That conflicts with what is there";
    /// 409: a rule about enrolments forbids it.
    enrolment_refused: CONFLICT, "enrolment-refused", "A rule forbids this enrolment";
    /// 409: the plan of a project says too little to be judged.
    plan_incomplete: CONFLICT, "plan-incomplete", "The project's application is incomplete";
    /// 409: rules about plans forbid it.
    plan_refused: CONFLICT, "plan-refused", "Rules forbid this plan";
    /// 409: the project's learners were assessed, and it is over.
    assessed: CONFLICT, "assessed", "The project's learners were assessed";
    /// 409: the learner has no part in the project.
    not_enrolled: CONFLICT, "not-enrolled", "The learner is not enrolled";
    /// 409: the learner has no enrolment photo.
    photo_missing: CONFLICT, "photo-missing", "The learner has no enrolment photo";
    /// 409: the new photo shows somebody else.
    face_mismatch: CONFLICT, "face-mismatch", "The face does not match";
    /// 409: the document that the project goes by is not in force.
    policy_not_in_force: CONFLICT, "policy-not-in-force", "The policy pack is not in force";
    /// 409: nothing more can be credited.
    quota_spent: CONFLICT, "quota-spent", "The online hours are used up";
    /// 409: the learner has as many sessions open as one may.
    too_many_sessions: CONFLICT, "too-many-sessions", "Too many sessions are open";
    /// 409: the session was closed before.
    session_closed: CONFLICT, "session-closed", "The session is already closed";
    /// 409: the learner cannot be asked now.
    not_now: CONFLICT, "not-now", "The learner cannot be asked now";
    /// 409: what was looked at is not the newest any more.
    stale: CONFLICT, "stale", "The verdict has changed";
    /// 409: nobody confirms their own proposal.
    second_person: CONFLICT, "second-person", "A second person is needed";
    /// 410: it was there.
    deleted: GONE, "deleted", "It was deleted";
    /// 413: more bytes than allowed.
    too_large: PAYLOAD_TOO_LARGE, "too-large", "The request is too large";
    /// 415: not a content type that is read here.
    unsupported_type: UNSUPPORTED_MEDIA_TYPE, "unsupported-type", "The content type is not accepted";
    /// 422: fields are wrong.
    invalid: UNPROCESSABLE_ENTITY, "invalid", "A field is wrong";
    /// 422: no face can be known by this photo.
    photo_unsuitable: UNPROCESSABLE_ENTITY, "photo-unsuitable", "The photo cannot be used";
    /// 429: more than this key, address or learner may.
    too_many_requests: TOO_MANY_REQUESTS, "too-many-requests", "Too many requests";
    /// 500: our fault.
    internal: INTERNAL_SERVER_ERROR, "internal", "The server failed";
    /// 503: too much to do.
    busy: SERVICE_UNAVAILABLE, "busy", "The server is busy";
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: String) -> Self {
        let (status, detail) = (status.as_u16(), detail.into());
        Self {
            kind,
            title,
            status,
            detail,
            errors: Vec::new(),
            retry_after_ms: None,
            deleted_at: None,
            broken: Box::default(),
        }
    }

    /// 422 for a single field.
    pub fn field(field: &str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::invalid(format!("{field} {problem}")).naming(field, problem)
    }

    /// Names a field.
    pub fn naming(mut self, field: &str, problem: impl Into<String>) -> Self {
        self.errors.push(FieldProblem { field: field.to_owned(), problem: problem.into() });
        self
    }

    /// Says when to try again.
    pub fn retry_after_ms(mut self, retry_after_ms: i64) -> Self {
        self.retry_after_ms = Some(u32::try_from(retry_after_ms.max(0)).unwrap_or(u32::MAX));
        self
    }

    /// Says when it was deleted.
    pub fn deleted_at(mut self, at: i64) -> Self {
        self.deleted_at = Some(at);
        self
    }

    /// Names the rule that forbids it, and its clause.
    pub fn breaking(mut self, rule: &'static str, clause: impl Into<String>) -> Self {
        (self.broken.rule, self.broken.clause) = (Some(rule), Some(clause.into()));
        self
    }

    /// Names all rules that forbid it.
    pub fn breaking_all(mut self, refusals: Vec<BrokenRule>) -> Self {
        if let Some(first) = refusals.first() {
            self = self.breaking(first.rule, first.clause.as_str());
        }
        self.broken.refusals = refusals;
        self
    }

    /// 404 for a thing of the named kind.
    pub fn no_such(what: &str) -> Self {
        Self::not_found(format!("there is no such {what}"))
    }

    /// 503 with the hint when to come back.
    pub fn too_busy(detail: impl Into<String>) -> Self {
        Self::busy(detail).retry_after_ms(RETRY_AFTER_MS.into())
    }

    /// 500; the reason goes to the log and not to the client.
    pub fn failed(doing: &'static str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, doing, "a request failed");
        Self::internal("the failure was logged; nothing that was acknowledged is lost")
    }
}

impl From<TooMany> for Problem {
    fn from(too_many: TooMany) -> Self {
        Self::too_many_requests("wait before the next").retry_after_ms(too_many.retry_after_ms)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::too_busy("too many writes are waiting"),
            StoreError::Stopped => Self::too_busy("the server is stopping"),
            // The writer says once what the disk says; every request that meets it would only repeat that.
            passing if passing.is_passing() => {
                tracing::debug!(error = %passing, "a request met a disk that refuses");
                Self::too_busy("the server cannot write to its disk now: nothing of this request was kept")
            }
            other => Self::failed("using the store", &other),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_ms = self.retry_after_ms;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(retry_after_ms) = retry_after_ms {
            // The header counts whole seconds; waiting a little longer does no harm.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_ms.div_ceil(1_000)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Every operation's refusals, for the OpenAPI document.
pub struct Refusals;

impl utoipa::IntoResponses for Refusals {
    fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::response::Response>> {
        use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new()
            .description("Refused: see `type` and `errors`")
            .content("application/problem+json", content)
            .build();
        [("default".to_owned(), response.into())].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_hint_is_in_the_header_too() {
        let response = Problem::busy("later").retry_after_ms(1_001).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_store_that_is_busy_is_not_a_failure() {
        assert_eq!(Problem::from(StoreError::Busy).status, 503);
        assert_eq!(Problem::from(StoreError::Busy).retry_after_ms, Some(RETRY_AFTER_MS));
        let corrupt = StoreError::Corrupt { what: "secret thing", why: "because".to_owned() };
        let problem = Problem::from(corrupt);
        assert_eq!(problem.status, 500);
        assert!(!problem.detail.contains("secret thing"));
    }
}
