//! Chains whose later sessions hang on earlier ones, judged under looser and stricter policies.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::generate::{MIN_EVENTS, Plan, generate, simulate};
use super::*;
use crate::log::write::{client_line, server_line};
use crate::log::{EventType, Facts, parse_line};
use crate::session::Session;
use crate::verdict::{History, Verdict};

const MINUTE_MS: i64 = 60_000;
const LESSON_MS: i64 = 10 * MINUTE_MS;
const OPENED_AT: i64 = 1_750_000_000_000;

fn policy(text: &str) -> Arc<Policy> {
    Arc::new(Policy::from_toml(text).unwrap())
}

fn packs(more: Vec<Policy>) -> Policies {
    Policies::new(more).unwrap()
}

fn question(candidate: &str) -> Question {
    Question { candidate: policy(candidate), base: None, packs: packs(Vec::new()), fallback: Policy::default().into() }
}

/// Whoever remembers what was told of bad logs.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn bad(&self, log: &BadLog) {
        self.0.lock().unwrap().push(log.to_string());
    }
}

fn judge_source(source: &Source, question: &Question, threads: usize) -> (Report, Vec<Value>, Vec<String>) {
    let heard = Heard::default();
    let (index, bad) = source.index(threads, &heard).unwrap();
    let mut changes: Vec<u8> = Vec::new();
    let report = judge(source, &index, bad, question, threads, Some(&mut changes), &heard).unwrap();
    let lines = changes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let changes = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    (report, changes, heard.0.into_inner().unwrap())
}

fn judge_logs(logs: &[String], question: &Question) -> (Report, Vec<Value>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.jsonl");
    std::fs::write(&file, logs.concat()).unwrap();
    judge_source(&Source::Logs(vec![file]), question, 2)
}

/// One learner in a project of two lessons, whose sessions get the facts that the live server would give.
struct Learner {
    history: History,
    lessons: [String; 2],
    delivery: &'static str,
    total_hours: i64,
    logs: Vec<String>,
    verdicts: Vec<Verdict>,
}

impl Learner {
    fn new() -> Self {
        let lessons = ["first".to_owned(), "second".to_owned()];
        Self {
            history: History::new(0),
            lessons,
            delivery: "online_only",
            total_hours: 40,
            logs: vec![],
            verdicts: vec![],
        }
    }

    /// Watches a lesson from `from_ms` to `to_ms` without a prompt being passed unless `prompts`.
    fn watch(&mut self, lesson: usize, from_ms: i64, to_ms: i64, prompts: bool) {
        let rest: Facts = serde_json::from_value(json!({
            "platform_status": "active", "project_approved": true, "content_approved": true,
            "prior_lessons_complete": true, "lesson_kind": "theory", "delivery": self.delivery,
            "total_hours": self.total_hours, "online_used_ms": 0,
        }))
        .unwrap();
        let facts = self.history.facts(&self.lessons[lesson], &self.lessons[..lesson], rest);
        let opened = json!({
            "session": format!("s{}", self.logs.len()), "platform": "p", "learner": "l", "project": "j",
            "lesson": self.lessons[lesson], "policy": "default", "duration_ms": LESSON_MS, "facts": facts,
        });
        let mut at = OPENED_AT + self.logs.len() as i64 * 24 * 60 * MINUTE_MS;
        let mut log = String::new();
        let mut n = 0;
        let mut server = |log: &mut String, at: i64, event_type, data: Value| {
            n += 1;
            writeln!(log, "{}", server_line(n, at, event_type, &data)).unwrap();
            n
        };
        server(&mut log, at, EventType::SessionOpened, opened);
        server(&mut log, at, EventType::ConnectionOpened, json!({"ct": at}));
        server(&mut log, at, EventType::ClockSynced, json!({"ct": at}));
        let requested = json!({"capture": "c", "reason": "start", "deadline_at": at});
        server(&mut log, at, EventType::CaptureRequested, requested);
        let mut n =
            server(&mut log, at, EventType::FaceChecked, json!({"capture": "c", "outcome": "match", "photo": "00"}));
        let (mut seq, mut pos_ms) = (0, from_ms);
        loop {
            let playing = pos_ms < to_ms;
            (n, seq) = (n + 1, seq + 1);
            let data = json!({"playing": playing, "pos_ms": pos_ms, "rate": 1.0}).to_string();
            writeln!(log, "{}", client_line(n, at, seq, at, "heartbeat", &data)).unwrap();
            if prompts && pos_ms % (2 * MINUTE_MS) == 0 {
                let issued = json!({"prompt": "q", "kind": "choice", "deadline_at": at});
                writeln!(log, "{}", server_line(n + 1, at, EventType::PromptIssued, &issued)).unwrap();
                let resolved = json!({"prompt": "q", "outcome": "passed"});
                writeln!(log, "{}", server_line(n + 2, at, EventType::PromptResolved, &resolved)).unwrap();
                n += 2;
            }
            if !playing {
                break;
            }
            (at, pos_ms) = (at + 20_000, pos_ms + 20_000);
        }
        writeln!(log, "{}", server_line(n + 1, at, EventType::SessionClosed, &json!({"reason": "left"}))).unwrap();
        let mut session = Session::new(Arc::new(Policy::default()));
        log.lines().for_each(|line| session.apply(&parse_line(line.as_bytes()).unwrap()).unwrap());
        let verdict = session.verdict(String::new());
        self.history.add(&self.lessons[lesson], &verdict);
        self.logs.push(log);
        self.verdicts.push(verdict);
    }

    fn statuses(&self) -> Vec<&str> {
        self.verdicts.iter().map(|verdict| verdict.status.as_str()).collect()
    }
}

#[test]
fn a_looser_policy_makes_an_earlier_session_count_and_the_later_one_earn_less() {
    let mut learner = Learner::new();
    learner.watch(0, 0, 6 * MINUTE_MS, false);
    // The same minutes again, this time with prompts.
    learner.watch(0, 0, 6 * MINUTE_MS, true);
    assert_eq!(learner.statuses(), ["invalid", "valid"]);
    let loose = "id = \"loose\"\nprompt_max_gap_ms = 600_000";
    let (report, changes, bad) = judge_logs(&learner.logs, &question(loose));
    assert_eq!(bad, [""; 0]);
    assert_eq!(report.changed, 2, "{changes:?}");
    assert_eq!(
        (changes[0]["before"]["status"].as_str(), changes[0]["after"]["status"].as_str()),
        (Some("invalid"), Some("valid"))
    );
    assert_eq!(changes[0]["after"]["credited_ms"], 6 * MINUTE_MS);
    assert_eq!(changes[1]["before"]["credited_ms"], 6 * MINUTE_MS);
    assert_eq!(changes[1]["after"]["credited_ms"], 0, "credited already by the first");
    assert_eq!((report.changed_with_same_facts, report.changed_with_other_facts), (1, 1));
    assert!(draw(&report).contains("\n  1 by the policy alone: with the same facts\n  1 with other facts"));
    assert!(changes[1]["facts"].as_array().unwrap().contains(&json!("covered_before")), "{}", changes[1]);
    assert_eq!((report.before.credited_ms, report.after.credited_ms), (6 * MINUTE_MS, 6 * MINUTE_MS));
    assert_eq!(report.recorded.facts_different, 0);
}

#[test]
fn a_stricter_policy_takes_the_order_away_from_what_came_after() {
    let mut learner = Learner::new();
    learner.watch(0, 0, LESSON_MS, true);
    learner.watch(1, 0, LESSON_MS, true);
    assert_eq!(learner.statuses(), ["valid", "valid"]);
    // Two minutes between prompts are too many now.
    let strict = "id = \"strict\"\nprompt_max_gap_ms = 100_000";
    let (report, changes, _) = judge_logs(&learner.logs, &question(strict));
    assert_eq!(report.changed, 2);
    let rules = |change: &Value| change["after"]["rules"].to_string();
    assert_eq!(rules(&changes[0]), r#"["prompt_gap"]"#);
    assert_eq!(rules(&changes[1]), r#"["prompt_gap","course_order"]"#);
    assert_eq!(report.after.credited_hours, 0.0);
    let order = report.rules.iter().find(|rule| rule.rule == "course_order").unwrap();
    assert_eq!((order.before, order.after, order.gained, order.lost), (0, 1, 1, 0));
}

#[test]
fn a_stricter_policy_gives_later_sessions_their_quota_back() {
    let mut learner = Learner::new();
    // 40 % of one class hour: 16 minutes.
    (learner.delivery, learner.total_hours) = ("blended", 1);
    learner.watch(0, 0, LESSON_MS, false);
    learner.watch(0, 0, LESSON_MS, true);
    learner.watch(1, 0, LESSON_MS, true);
    assert_eq!(learner.statuses(), ["invalid", "valid", "invalid"], "the third overruns the quota");
    let (report, _, _) = judge_logs(&learner.logs, &question("id = \"same\""));
    assert_eq!((report.changed, report.recorded.facts_different), (0, 0));
    let strict = "id = \"strict\"\nprompt_max_gap_ms = 110_000";
    let (_, changes, _) = judge_logs(&learner.logs, &question(strict));
    let third = changes.iter().find(|change| change["session"] == "s2").unwrap();
    assert!(third["before"]["rules"].to_string().contains("online_quota"));
    assert!(!third["after"]["rules"].to_string().contains("online_quota"), "{third}");
    assert!(third["facts"].to_string().contains("online_used_ms"));
}

#[test]
fn a_chain_whose_beginning_is_not_here_goes_on_from_what_its_first_log_says() {
    let mut learner = Learner::new();
    learner.watch(0, 0, 4 * MINUTE_MS, true);
    learner.watch(0, 4 * MINUTE_MS, 8 * MINUTE_MS, true);
    learner.watch(0, 8 * MINUTE_MS, LESSON_MS, true);
    let (report, _, _) = judge_logs(&learner.logs[1..], &question("id = \"same\""));
    assert_eq!((report.sessions, report.changed, report.recorded.facts_different), (2, 0, 0));
    // Without the one in the middle the last log's facts cannot come out again, and the report says so.
    let gap = [learner.logs[0].clone(), learner.logs[2].clone()];
    let (report, _, _) = judge_logs(&gap, &question("id = \"same\""));
    assert_eq!((report.sessions, report.changed, report.recorded.facts_different), (2, 0, 1));
}

#[test]
fn another_base_is_compared_with_instead_of_what_the_logs_name() {
    let mut learner = Learner::new();
    learner.watch(0, 0, 6 * MINUTE_MS, false);
    let loose = policy("id = \"loose\"\nprompt_max_gap_ms = 600_000");
    let both = Question {
        candidate: loose.clone(),
        base: Some(loose.clone()),
        packs: packs(Vec::new()),
        fallback: Policy::default().into(),
    };
    assert_eq!(judge_logs(&learner.logs, &both).0.changed, 0);
    let unknown: Vec<String> = learner.logs.iter().map(|log| log.replace("\"default\"", "\"loose\"")).collect();
    let (report, _, _) = judge_logs(&unknown, &question("id = \"same\""));
    assert_eq!((report.recorded.unknown_packs, report.before.status["invalid"]), (1, 1));
    assert_eq!(report.recorded.unknown_pack_sessions["loose"], 1);
    let known = Question { packs: packs(vec![(*loose).clone()]), ..question("id = \"same\"") };
    let (report, _, _) = judge_logs(&unknown, &known);
    assert_eq!((report.recorded.unknown_packs, report.before.status["valid"]), (0, 1));
}

#[test]
fn bad_logs_are_named_by_file_and_line_and_the_others_judged() {
    let mut learner = Learner::new();
    learner.watch(0, 0, 2 * MINUTE_MS, true);
    learner.watch(0, 2 * MINUTE_MS, 4 * MINUTE_MS, true);
    let [first, second] = [&learner.logs[0], &learner.logs[1]];
    let lines = first.lines().count();
    let other = |log: &str, name: &str| log.replace("\"s0\"", &format!("\"{name}\""));
    let open: String = other(first, "open").lines().take(6).map(|line| format!("{line}\n")).collect();
    let text = [
        "{\"n\":2}\n",
        first,
        &other(first, "bad").replacen("\"pos_ms\":40000", "\"pos_ms\":\"far\"", 1),
        &other(first, "no opening").replacen("\"duration_ms\":600000", "\"duration_ms\":null", 1),
        first,
        &open,
        second,
    ];
    let (report, _, bad) = judge_logs(&text.map(str::to_owned), &question("id = \"same\""));
    assert_eq!((report.sessions, report.open, report.bad), (2, 1, 4));
    let at = |line: usize, what: &str| format!("all.jsonl: line {line}: {what}");
    let broken = first.lines().position(|line| line.contains("\"pos_ms\":40000")).unwrap();
    let expected = [
        at(1, "n: the first line"),
        at(2 + 2 * lines, "data.duration_ms: "),
        at(2 + lines + broken, "data.pos_ms: "),
        at(2 + 3 * lines, "data.session: this session was there already"),
    ];
    for (said, expected) in bad.iter().zip(&expected) {
        assert!(said.contains(expected), "{said} should contain {expected}");
    }
    assert_eq!(bad.len(), 4);
    assert_eq!(report.bad_logs, bad);
}

fn plan(sessions: u64, events: u64, seed: u64, policy: Arc<Policy>) -> Plan {
    Plan { sessions, events, seed, sessions_per_file: sessions / 3 + 1, policy }
}

fn generated(plan: &Plan) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    generate(plan, folder.path(), &Heard::default()).unwrap();
    let files = logs_at(folder.path()).unwrap();
    (folder, files)
}

#[test]
fn the_result_is_the_same_for_any_number_of_threads() {
    let (_folder, files) = generated(&plan(1_500, 30, 7, Policy::default().into()));
    assert_eq!(files.len(), 3);
    let source = Source::Logs(files);
    let strict = question("id = \"strict\"\nprompt_max_gap_ms = 200_000\nblur_grace_ms = 20_000\nface_window = 4");
    let (one, changes, _) = judge_source(&source, &strict, 1);
    let (four, changes_of_four, _) = judge_source(&source, &strict, 4);
    assert_eq!(one, four);
    assert_eq!(changes, changes_of_four);
    assert!(one.changed > 100 && one.changed == changes.len() as u64, "{one:?}");
    assert_eq!(one.sessions, 1_500);
    assert!(one.recorded.facts_different == 0 && one.reasons.len() > 3, "{one:?}");
    assert_eq!(one.differences.iter().map(|class| class.sessions).sum::<u64>(), 1_500);
    assert!(draw(&one).contains("prompt_gap"));
}

#[test]
fn what_is_generated_has_the_events_asked_for_and_learners_of_every_kind() {
    let (mut statuses, mut rules) = (std::collections::BTreeMap::new(), std::collections::BTreeSet::new());
    simulate::<()>(&plan(3_000, 30, 1, Policy::default().into()), |log, verdict| {
        assert_eq!(log.lines().count(), 30);
        *statuses.entry(verdict.status).or_insert(0) += 1;
        rules.extend(verdict.violations.iter().map(|violation| violation.rule.as_str()));
        Ok(())
    })
    .unwrap();
    assert!(statuses.len() == 3 && statuses.values().all(|count| *count > 30), "{statuses:?}");
    for rule in ["fast_forward", "multi_window", "prompt_gap", "face_liveness", "course_order", "content_unapproved"] {
        assert!(rules.contains(rule), "{rules:?}");
    }
    for rule in ["online_quota", "client_tamper", "unfocused"] {
        assert!(rules.contains(rule), "{rules:?}");
    }
}

#[test]
fn nothing_is_generated_over_what_is_there() {
    let (folder, _) = generated(&plan(10, 20, 1, Policy::default().into()));
    let again = generate(&plan(10, 20, 1, Policy::default().into()), folder.path(), &Heard::default());
    assert!(matches!(again, Err(GenerateError::NotEmpty(_))), "{again:?}");
    let few = generate(&plan(10, MIN_EVENTS - 1, 1, Policy::default().into()), Path::new("x"), &Heard::default());
    assert!(matches!(few, Err(GenerateError::TooFewEvents)), "{few:?}");
}

#[test]
fn other_consequences_change_what_is_credited_and_what_comes_after() {
    let mut learner = Learner::new();
    learner.watch(0, 0, LESSON_MS, false);
    learner.watch(0, 0, LESSON_MS, true);
    assert_eq!(learner.statuses(), ["invalid", "valid"]);
    let lenient = "id = \"lenient\"\n[action]\nprompt_gap = \"review\"";
    let (report, changes, _) = judge_logs(&learner.logs, &question(lenient));
    assert_eq!((report.before.status["invalid"], report.after.status["review"]), (1, 1));
    assert_eq!(changes[0]["after"]["credited_ms"], LESSON_MS, "what is under review counts until it is decided");
    assert_eq!(changes[0]["reason"], "weighs otherwise: prompt_gap");
    assert_eq!((&changes[1]["after"]["status"], &changes[1]["after"]["credited_ms"]), (&json!("valid"), &json!(0)));
    let blind = "id = \"blind\"\n[action]\nprompt_gap = \"ignore\"";
    let (report, changes, _) = judge_logs(&learner.logs, &question(blind));
    assert_eq!((report.after.status["valid"], changes[0]["reason"].as_str()), (2, Some("loses prompt_gap")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// A parameter that no generated log comes near makes no difference but that both folds are made.
    #[test]
    fn one_fold_for_two_policies_says_what_two_would(seed in any::<u64>(), sessions in 1_u64..300) {
        let (_folder, files) = generated(&plan(sessions, 30, seed, Policy::default().into()));
        let source = Source::Logs(files);
        let actions = "[action]\nprompt_gap = \"review\"\nface_liveness = \"ignore\"\nunfocused = \"invalidate\"";
        let (one, one_changes, _) = judge_source(&source, &question(&format!("id = \"other\"\n{actions}")), 1);
        let with_parameter = format!("id = \"other\"\nclock_lead_ms = 2_999\n{actions}");
        let (two, two_changes, _) = judge_source(&source, &question(&with_parameter), 1);
        prop_assert_eq!(one, two);
        prop_assert_eq!(one_changes, two_changes);
    }

    #[test]
    fn the_same_policy_changes_nothing(seed in any::<u64>(), sessions in 1_u64..300, events in MIN_EVENTS..90) {
        let (_folder, files) = generated(&plan(sessions, events, seed, Policy::default().into()));
        let (report, changes, bad) = judge_source(&Source::Logs(files), &question("id = \"same\""), 2);
        prop_assert_eq!((report.sessions, report.events), (sessions, sessions * events));
        prop_assert_eq!((report.changed, changes.len(), bad.len()), (0, 0, 0));
        prop_assert_eq!(report.recorded.facts_different, 0);
    }
}
