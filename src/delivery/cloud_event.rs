//! What a webhook says: a CloudEvents 1.0 envelope in structured JSON, with the verdict inside as it was made.
//!
//! The body is made once, when the event happens, and sent byte for byte at every attempt.

use serde::Serialize;
use serde_json::value::RawValue;

/// The media type of the body.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";
/// The type of the event that tells another version of a session's verdict.
pub const SESSION_DECIDED: &str = "invigil.session.verdict.v1";
/// The type of the event that tells a session's verdict.
pub const SESSION_CLOSED: &str = "invigil.session.closed.v1";

/// A session was closed, and this is its verdict.
#[derive(Debug, Clone, Copy)]
pub struct SessionClosed<'a> {
    /// Identifies the event; the `webhook-id` as well.
    pub id: &'a str,
    /// This server, as clients reach it (a URL).
    pub source: &'a str,
    /// When the session was closed, in ms since the Unix epoch.
    pub closed_at_ms: i64,
    /// The session.
    pub session: &'a str,
    /// The learner's random identifier.
    pub learner: &'a str,
    /// The project.
    pub project: &'a str,
    /// The lesson.
    pub lesson: &'a str,
    /// The verdict, byte for byte.
    pub verdict: &'a RawValue,
}

/// A person decided about a session, and this is its verdict from now on.
#[derive(Debug, Clone, Copy)]
pub struct SessionDecided<'a> {
    /// Which session, with the new verdict, and when it was decided.
    pub closed: SessionClosed<'a>,
    /// The version of the verdict: 2 or more.
    pub version: i64,
}

/// A time that no calendar holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} ms since the Unix epoch is not a time")]
pub struct TimeError(pub i64);

#[derive(Serialize)]
struct Envelope<'a, D> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    data: D,
}

#[derive(Serialize)]
struct SessionData<'a> {
    session: &'a str,
    learner: &'a str,
    project: &'a str,
    lesson: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    verdict: &'a RawValue,
}

impl SessionDecided<'_> {
    /// The body of the webhook.
    ///
    /// # Errors
    /// [`TimeError`] when the time lies outside the years −9999 to 9999.
    pub fn to_body(&self) -> Result<String, TimeError> {
        self.closed.body(SESSION_DECIDED, Some(self.version))
    }
}

impl SessionClosed<'_> {
    /// The body of the webhook.
    ///
    /// # Errors
    /// [`TimeError`] when the time lies outside the years −9999 to 9999.
    pub fn to_body(&self) -> Result<String, TimeError> {
        self.body(SESSION_CLOSED, None)
    }

    fn body(&self, kind: &'static str, version: Option<i64>) -> Result<String, TimeError> {
        let time = jiff::Timestamp::from_millisecond(self.closed_at_ms).map_err(|_| TimeError(self.closed_at_ms))?;
        let envelope = Envelope {
            specversion: "1.0",
            id: self.id,
            source: self.source,
            kind,
            subject: self.session,
            time: time.to_string(),
            datacontenttype: "application/json",
            data: SessionData {
                session: self.session,
                learner: self.learner,
                project: self.project,
                lesson: self.lesson,
                version,
                verdict: self.verdict,
            },
        };
        Ok(serde_json::to_string(&envelope).expect("strings and JSON become JSON"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_holds_the_verdict_byte_for_byte() {
        let verdict = RawValue::from_string("{\"status\": \"valid\",\"credited_hours\":1.50}".to_owned()).unwrap();
        let event = SessionClosed {
            id: "e1",
            source: "https://invigil.example",
            closed_at_ms: 1_767_225_600_123,
            session: "s1",
            learner: "l1",
            project: "p1",
            lesson: "lesson \"1\"",
            verdict: &verdict,
        };
        insta::assert_snapshot!(event.to_body().unwrap(), @r#"{"specversion":"1.0","id":"e1","source":"https://invigil.example","type":"invigil.session.closed.v1","subject":"s1","time":"2026-01-01T00:00:00.123Z","datacontenttype":"application/json","data":{"session":"s1","learner":"l1","project":"p1","lesson":"lesson \"1\"","verdict":{"status": "valid","credited_hours":1.50}}}"#);
        let decided = SessionDecided { closed: event, version: 2 }.to_body().unwrap();
        assert!(decided.contains(r#""type":"invigil.session.verdict.v1""#), "{decided}");
        assert!(decided.contains(r#""version":2,"verdict":{"status": "valid","credited_hours":1.50}"#), "{decided}");
        let never = SessionClosed { closed_at_ms: i64::MAX, ..event };
        assert_eq!(never.to_body(), Err(TimeError(i64::MAX)));
    }
}
