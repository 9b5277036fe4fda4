//! What came of it, and whether everybody got what they deserve.

use serde::Serialize;
use serde_json::Value;

use super::learners::{Deserves, Learner, Which};
use super::nodes::Happening;
use super::progress::named;
use super::receiver::Counts;

/// One class hour, ms: the default pack's.
const CLASS_HOUR_MS: i64 = 2_400_000;

/// The whole demo.
#[derive(Debug, Serialize)]
pub struct Report {
    /// how much faster than life
    pub speed: u32,
    /// how long it took, s, without the set-up
    pub elapsed_s: f64,
    /// everybody
    pub learners: Vec<LearnerReport>,
    /// what the platforms received
    pub webhooks: Counts,
    /// warnings for supervisors
    pub findings: Vec<FindingReport>,
    /// what was done to the nodes, where there are several
    pub nodes: Vec<Happening>,
    /// whether everybody got what they deserve, and every webhook was good
    pub as_deserved: bool,
}

/// A warning for supervisors.
#[derive(Debug, Serialize)]
pub struct FindingReport {
    /// what was found
    pub code: String,
    /// about whom
    pub learners: Vec<&'static str>,
}

/// One learner.
#[derive(Debug, Serialize)]
pub struct LearnerReport {
    /// what they are called
    pub learner: &'static str,
    /// what they did
    pub does: &'static str,
    /// their sessions, in order
    pub sessions: Vec<SessionReport>,
    /// credited in all, class hours cut to two decimals
    pub credited_hours: f64,
    /// how this differs from what they deserve; empty: it does not
    pub problems: Vec<String>,
}

/// One session.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionReport {
    /// its id
    pub session: String,
    /// status of its verdict; `none` when there is no verdict
    pub status: String,
    /// rules broken
    pub broken: Vec<Broken>,
    /// what was credited, ms
    pub credited_ms: i64,
    /// whether the lesson was completed
    pub completed: bool,
    /// lowest and highest similarity of its face checks
    pub similarity: Option<(f64, f64)>,
    /// what does not fit together: the verdict that the learner was told, the one on record, the one in the webhook
    pub contradictions: Vec<String>,
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// the rule
    pub rule: String,
    /// the rule with its cause
    pub name: String,
    /// where the clause stands
    pub source: String,
    /// what it says
    pub text: String,
}

impl SessionReport {
    /// A session by its verdict and its log.
    pub fn of(session: &str, verdict: &Value, log: &str) -> Self {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut broken: Vec<Broken> = Vec::new();
        for violation in verdict["violations"].as_array().into_iter().flatten() {
            let rule = word(&violation["rule"]);
            let name = named(&rule, violation["cause"].as_str());
            if broken.iter().all(|known| known.name != name) {
                let clause = &violation["clause"];
                broken.push(Broken { rule, name, source: word(&clause["source"]), text: word(&clause["text"]) });
            }
        }
        Self {
            session: session.to_owned(),
            status: verdict["status"].as_str().unwrap_or("none").to_owned(),
            broken,
            credited_ms: verdict["credited_ms"].as_i64().unwrap_or(0),
            completed: verdict["completed"].as_bool().unwrap_or(false),
            similarity: similarity(log),
            contradictions: Vec::new(),
        }
    }

    /// Notes a verdict that is not the one on record.
    pub fn compare(&mut self, told_by: &str, told: Option<&Value>, on_record: &Value) {
        match told {
            None => self.contradictions.push(format!("no verdict {told_by}")),
            Some(told) if told != on_record => self.contradictions.push(format!("another verdict {told_by}")),
            Some(_) => {}
        }
    }
}

impl FindingReport {
    /// A finding as the API shows it; `name` knows what learners are called.
    pub fn of(finding: &Value, name: impl Fn(&str) -> Option<&'static str>) -> Self {
        let learners = finding["learners"].as_array().into_iter().flatten();
        let code = finding["explanation"]["code"].as_str().unwrap_or_default().to_owned();
        Self { code, learners: learners.filter_map(|learner| name(learner.as_str()?)).collect() }
    }
}

/// Lowest and highest similarity in a log's face checks.
fn similarity(log: &str) -> Option<(f64, f64)> {
    let checks = log.lines().filter(|line| line.contains("face.checked"));
    let events = checks.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = events.filter_map(|event| event["data"]["similarity"].as_f64());
    found.fold(None, |range, value| {
        let (lowest, highest) = range.unwrap_or((value, value));
        Some((value.min(lowest), value.max(highest)))
    })
}

impl LearnerReport {
    /// A learner by their sessions; `failures` are what kept them from going on.
    pub fn of(learner: &Learner, sessions: Vec<SessionReport>, failures: &[String]) -> Self {
        let mut problems = problems(&learner.deserves, &sessions);
        if !problems.is_empty() {
            problems.extend_from_slice(failures);
        }
        problems.extend(sessions.iter().flat_map(|session| session.contradictions.iter().cloned()));
        let credited_ms: i64 = sessions.iter().map(|session| session.credited_ms).sum();
        let credited_hours = (credited_ms * 100 / CLASS_HOUR_MS) as f64 / 100.0;
        Self { learner: learner.name, does: learner.does, sessions, credited_hours, problems }
    }

    /// The worst verdict of all their sessions.
    pub fn status(&self) -> &str {
        let statuses = || self.sessions.iter().map(|session| session.status.as_str());
        let worst = ["none", "open", "invalid", "review", "valid"];
        worst.into_iter().find(|status| statuses().any(|found| found == *status)).unwrap_or("none")
    }

    /// The rules that were broken in any of their sessions, each once, with its causes: `fast_forward (rate, seek)`.
    pub fn broken(&self) -> Vec<(String, &Broken)> {
        let mut rules: Vec<(Vec<&str>, &Broken)> = Vec::new();
        for broken in self.sessions.iter().flat_map(|session| &session.broken) {
            let cause = broken.name.strip_prefix(&broken.rule).and_then(|rest| rest.strip_prefix('/'));
            let known = rules.iter_mut().find(|(_, known)| known.rule == broken.rule);
            match (known, cause) {
                (None, cause) => rules.push((cause.into_iter().collect(), broken)),
                (Some((causes, _)), Some(cause)) if !causes.contains(&cause) => causes.push(cause),
                _ => {}
            }
        }
        let title = |causes: &[&str], rule: &str| match causes {
            [] => rule.to_owned(),
            causes => format!("{rule} ({})", causes.join(", ")),
        };
        rules.into_iter().map(|(causes, broken)| (title(&causes, &broken.rule), broken)).collect()
    }

    /// Lowest and highest similarity of all face checks.
    pub fn similarity(&self) -> Option<(f64, f64)> {
        let ranges = self.sessions.iter().filter_map(|session| session.similarity);
        ranges.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))
    }
}

/// How sessions differ from what their learner deserves.
fn problems(deserves: &Deserves, sessions: &[SessionReport]) -> Vec<String> {
    let judged = match deserves.sessions {
        Which::All => sessions,
        Which::Last => sessions.last().map(std::slice::from_ref).unwrap_or_default(),
    };
    if judged.is_empty() {
        return vec!["there was no session".to_owned()];
    }
    judged.iter().flat_map(|session| session_problems(deserves, session)).collect()
}

fn session_problems(deserves: &Deserves, session: &SessionReport) -> Vec<String> {
    let mut problems = Vec::new();
    if session.status != deserves.status {
        problems.push(format!("the verdict is {}, not {}", session.status, deserves.status));
    }
    for rule in deserves.rules {
        if session.broken.iter().all(|broken| broken.rule != *rule) {
            problems.push(format!("{rule} was not found"));
        }
    }
    for broken in &session.broken {
        if ![deserves.rules, deserves.besides].concat().contains(&broken.rule.as_str()) {
            problems.push(format!("{} is held against them", broken.name));
        }
    }
    match deserves.credited_ms {
        Some(ms) if session.credited_ms != ms => {
            problems.push(format!("{} ms are credited, not {ms}", session.credited_ms));
        }
        None if deserves.status == "valid" && !session.completed => {
            problems.push("the lesson does not count as completed".to_owned());
        }
        _ => {}
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(status: &str, rules: &[(&str, Option<&str>)]) -> SessionReport {
        let clause = json!({"source": "10号 20(3)", "text": "…"});
        let violations: Vec<Value> =
            rules.iter().map(|(rule, cause)| json!({"rule": rule, "cause": cause, "clause": clause})).collect();
        let verdict = json!({
            "status": status, "violations": violations, "credited_ms": 390_000, "completed": true,
        });
        let log = r#"{"type":"face.checked","data":{"similarity":0.71}}
{"type":"heartbeat","data":{"similarity":0.1}}
{"type":"face.checked","data":{"similarity":0.52}}
{"type":"face.checked","data":{"similarity":null}}"#;
        SessionReport::of("s1", &verdict, log)
    }

    #[test]
    fn what_is_deserved_is_compared_with_what_came_of_it() {
        let valid = Deserves { sessions: Which::All, status: "valid", rules: &[], besides: &[], credited_ms: None };
        let fast = Deserves {
            sessions: Which::Last,
            status: "invalid",
            rules: &["fast_forward"],
            besides: &["unfocused"],
            credited_ms: None,
        };
        assert!(problems(&valid, &[session("valid", &[])]).is_empty());
        assert_eq!(problems(&valid, &[]), ["there was no session"]);
        let part = Deserves { credited_ms: Some(120_000), ..valid };
        assert_eq!(problems(&part, &[session("valid", &[])]), ["390000 ms are credited, not 120000"]);
        let rate = ("fast_forward", Some("rate"));
        assert!(problems(&fast, &[session("valid", &[]), session("invalid", &[rate])]).is_empty());
        assert!(problems(&fast, &[session("invalid", &[rate, ("unfocused", None)])]).is_empty());
        let other = session("review", &[("multi_window", Some("hidden"))]);
        assert_eq!(
            problems(&fast, &[other]),
            [
                "the verdict is review, not invalid",
                "fast_forward was not found",
                "multi_window/hidden is held against them"
            ]
        );
    }

    #[test]
    fn a_session_is_read_from_its_verdict_and_log() {
        let rate = ("fast_forward", Some("rate"));
        let mut session = session("invalid", &[rate, rate, ("fast_forward", Some("advance"))]);
        assert_eq!(session.similarity, Some((0.52, 0.71)));
        let names: Vec<_> = session.broken.iter().map(|broken| broken.name.as_str()).collect();
        assert_eq!(names, ["fast_forward/rate", "fast_forward/advance"]);
        session.compare("by webhook", None, &Value::Null);
        session.compare("to the learner", Some(&json!(1)), &json!(2));
        session.compare("to the learner", Some(&json!(2)), &json!(2));
        assert_eq!(session.contradictions, ["no verdict by webhook", "another verdict to the learner"]);
    }
}
