//! Logs for tests, composed as the engine composes them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::log::parse_line;
use crate::policy::Policy;
use crate::session::Session;
use crate::verdict::Verdict;

/// Where the tests' server clock starts.
pub(super) const OPENED_AT: i64 = 1_750_000_000_000;

/// A log as it grows. Times are ms since the opening; the client's clock agrees with the server's.
#[derive(Clone, Debug, Default)]
pub(super) struct LogBuilder {
    pub lines: Vec<String>,
    pub seq: u64,
}

impl LogBuilder {
    /// A log with its opening and a connection whose clock is synced, at `at`. `facts` overrides the good ones.
    pub(super) fn opened(at: i64, duration_ms: i64, facts: Value) -> Self {
        let mut all = json!({
            "platform_status": "active", "project_approved": true, "content_approved": true,
            "prior_lessons_complete": true, "lesson_kind": "theory", "delivery": "blended", "total_hours": 80,
            "online_used_ms": 0,
        });
        for (key, value) in facts.as_object().unwrap() {
            all[key] = value.clone();
        }
        let mut log = Self::default();
        let data = json!({
            "session": "s1", "platform": "p1", "learner": "l1", "project": "pr1", "lesson": "le1",
            "policy": "default", "duration_ms": duration_ms, "facts": all,
        });
        log.server(at, "session.opened", data);
        log.server(at, "connection.opened", json!({ "ct": at }));
        log.server(at, "clock.synced", json!({ "ct": at }));
        log
    }

    pub(super) fn server(&mut self, at: i64, type_name: &str, data: Value) {
        let n = self.lines.len() + 1;
        let at = OPENED_AT + at;
        self.lines.push(json!({ "n": n, "at": at, "src": "server", "type": type_name, "data": data }).to_string());
    }

    pub(super) fn client(&mut self, at: i64, type_name: &str, data: Value) {
        self.client_at(at, at, type_name, data);
    }

    /// A client event that happened at `ct` and arrived at `at`.
    pub(super) fn client_at(&mut self, at: i64, ct: i64, type_name: &str, data: Value) {
        self.seq += 1;
        let (n, at, seq) = (self.lines.len() + 1, OPENED_AT + at, self.seq);
        let line = json!({ "n": n, "at": at, "src": "client", "seq": seq, "ct": ct, "type": type_name, "data": data });
        self.lines.push(line.to_string());
    }

    pub(super) fn beat(&mut self, at: i64, playing: bool, pos_ms: i64) {
        self.client(at, "heartbeat", json!({ "playing": playing, "pos_ms": pos_ms, "rate": 1.0 }));
    }

    pub(super) fn page(&mut self, at: i64, visible: bool, focused: bool, playing: bool, pos_ms: i64) {
        let data = json!({ "visible": visible, "focused": focused, "playing": playing, "pos_ms": pos_ms, "rate": 1.0 });
        self.client(at, "page", data);
    }

    pub(super) fn seek(&mut self, at: i64, playing: bool, from_ms: i64, pos_ms: i64) {
        let data = json!({ "event": "seek", "playing": playing, "from_ms": from_ms, "pos_ms": pos_ms, "rate": 1.0 });
        self.client(at, "playback", data);
    }

    /// A capture that is requested and checked at once.
    pub(super) fn face(&mut self, at: i64, capture: &str, outcome: &str) {
        let deadline_at = OPENED_AT + at + 20_000;
        self.server(
            at,
            "capture.requested",
            json!({ "capture": capture, "reason": "random", "deadline_at": deadline_at }),
        );
        self.server(at, "face.checked", json!({ "capture": capture, "outcome": outcome, "photo": "00" }));
    }

    /// A prompt that is issued and resolved at once.
    pub(super) fn prompt(&mut self, at: i64, prompt: &str, outcome: &str) {
        let deadline_at = OPENED_AT + at + 30_000;
        self.server(at, "prompt.issued", json!({ "prompt": prompt, "kind": "confirm", "deadline_at": deadline_at }));
        self.server(at, "prompt.resolved", json!({ "prompt": prompt, "outcome": outcome }));
    }

    pub(super) fn close(&mut self, at: i64) {
        self.server(at, "session.closed", json!({ "reason": "left" }));
    }

    pub(super) fn fold(&self) -> Session {
        let mut session = Session::new(Arc::new(Policy::default()));
        for line in &self.lines {
            session.apply(&parse_line(line.as_bytes()).unwrap()).unwrap();
        }
        session
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.fold().verdict(String::new())
    }
}

/// The rules and causes of a verdict, as `rule` or `rule:cause`.
pub(super) fn found(verdict: &Verdict) -> Vec<String> {
    let name = |violation: &crate::verdict::Violation| match &violation.cause {
        Some(cause) => format!("{}:{cause}", violation.rule),
        None => violation.rule.to_string(),
    };
    verdict.violations.iter().map(name).collect()
}
