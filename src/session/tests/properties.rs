//! What must hold for every log, tried on random ones.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::log_builder::{LogBuilder, OPENED_AT, found};
use crate::cli::replay::judge;
use crate::log::parse_line;
use crate::policy::Policy;
use crate::session::{Session, SessionState};
use crate::verdict::Verdict;

const LESSON_MS: i64 = 900_000;

/// Something that happens in a random session, after a while.
#[derive(Clone, Debug)]
enum Step {
    Beat { playing: bool, drift_ms: i64, late_ms: i64 },
    Seek { playing: bool, from_off_ms: i64, to_ms: i64 },
    Page { visible: bool, focused: bool },
    Face { outcome: &'static str, photo: bool, known: bool },
    Request,
    Prompt { outcome: &'static str },
    Issue,
    Reconnect { ct_off_ms: i64 },
    Conflict { length_ms: i64 },
    Windows { count: i64 },
    Tamper,
}

fn step() -> impl Strategy<Value = (i64, Step)> {
    let outcome = prop::sample::select(vec!["match", "match", "mismatch", "no_face", "spoof", "unusable", "error"]);
    let prompt = prop::sample::select(vec!["passed", "passed", "failed", "expired"]);
    let what = prop_oneof![
        20 => (prop::bool::weighted(0.9), -1_500_i64..2_500, prop_oneof![4 => Just(0_i64), 1 => 0_i64..60_000])
            .prop_map(|(playing, drift_ms, late_ms)| Step::Beat { playing, drift_ms, late_ms }),
        2 => (any::<bool>(), -3_000_i64..3_000, 0..LESSON_MS)
            .prop_map(|(playing, from_off_ms, to_ms)| Step::Seek { playing, from_off_ms, to_ms }),
        2 => any::<(bool, bool)>().prop_map(|(visible, focused)| Step::Page { visible, focused }),
        3 => (outcome, any::<bool>(), any::<bool>())
            .prop_map(|(outcome, photo, known)| Step::Face { outcome, photo, known }),
        1 => Just(Step::Request),
        3 => prompt.prop_map(|outcome| Step::Prompt { outcome }),
        1 => Just(Step::Issue),
        1 => (-5_000_i64..5_000).prop_map(|ct_off_ms| Step::Reconnect { ct_off_ms }),
        1 => (0_i64..4_000).prop_map(|length_ms| Step::Conflict { length_ms }),
        1 => (0_i64..4).prop_map(|count| Step::Windows { count }),
        1 => Just(Step::Tamper),
    ];
    (prop_oneof![8 => 0_i64..8_000, 1 => 0_i64..200_000], what)
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    prop::collection::vec(step(), 1..150)
}

/// Builds the log of a session that takes these steps, playing on at the clock's pace in between.
fn build(steps: &[(i64, Step)], close: bool) -> LogBuilder {
    let mut log = LogBuilder::opened(0, LESSON_MS, json!({}));
    let (mut at, mut pos_ms, mut playing, mut ct_off_ms) = (0, 0_i64, false, 0);
    for (k, (wait_ms, step)) in steps.iter().enumerate() {
        at += wait_ms;
        if playing {
            pos_ms = (pos_ms + wait_ms).min(LESSON_MS);
        }
        let deadline_at = OPENED_AT + at;
        match *step {
            Step::Beat { playing: now, drift_ms, late_ms } => {
                pos_ms = (pos_ms + drift_ms).max(0);
                playing = now;
                let data = json!({ "playing": now, "pos_ms": pos_ms, "rate": 1.0 });
                log.client_at(at, at + ct_off_ms - late_ms, "heartbeat", data);
            }
            Step::Seek { playing: now, from_off_ms, to_ms } => {
                let data = json!({ "event": "seek", "playing": now, "from_ms": pos_ms + from_off_ms, "pos_ms": to_ms, "rate": 1.0 });
                (pos_ms, playing) = (to_ms, now);
                log.client_at(at, at + ct_off_ms, "playback", data);
            }
            Step::Page { visible, focused } => {
                let data = json!({ "visible": visible, "focused": focused, "playing": playing, "pos_ms": pos_ms, "rate": 1.0 });
                log.client_at(at, at + ct_off_ms, "page", data);
            }
            Step::Face { outcome, photo, known } => {
                let capture = if known { "c".to_owned() } else { format!("c{k}") };
                let photo = photo.then_some("00");
                log.server(at, "face.checked", json!({ "capture": capture, "outcome": outcome, "photo": photo }));
            }
            Step::Request => {
                log.server(
                    at,
                    "capture.requested",
                    json!({ "capture": "c", "reason": "random", "deadline_at": deadline_at }),
                );
            }
            Step::Prompt { outcome } => log.server(at, "prompt.resolved", json!({ "prompt": "q", "outcome": outcome })),
            Step::Issue => {
                log.server(
                    at,
                    "prompt.issued",
                    json!({ "prompt": "q", "kind": "confirm", "deadline_at": deadline_at }),
                );
            }
            Step::Reconnect { ct_off_ms: off } => {
                ct_off_ms = off;
                log.server(at, "connection.opened", json!({ "ct": at + off }));
                log.server(at, "clock.synced", json!({ "ct": at + off }));
            }
            Step::Conflict { length_ms } => {
                let data = json!({ "with_session": "x", "with_platform": "p", "from_at": 0, "to_at": length_ms });
                log.server(at, "presence.conflict", data);
            }
            Step::Windows { count } => log.client_at(at, at + ct_off_ms, "windows", json!({ "count": count })),
            Step::Tamper => log.client_at(at, at + ct_off_ms, "tamper", json!({ "what": "x" })),
        }
    }
    if close {
        log.close(at);
    }
    log
}

fn fold_moving_at(log: &LogBuilder, moves: &[bool]) -> Verdict {
    let policy = Arc::new(Policy::default());
    let mut session = Session::new(Arc::clone(&policy));
    for (k, line) in log.lines.iter().enumerate() {
        session.apply(&parse_line(line.as_bytes()).unwrap()).unwrap();
        if moves.get(k).copied().unwrap_or(false) {
            let written = serde_json::to_vec(session.state()).unwrap();
            let state: SessionState = serde_json::from_slice(&written).unwrap();
            session = Session::restore(Arc::clone(&policy), state);
        }
    }
    session.verdict(String::new())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn moving_a_session_changes_nothing(steps in steps(), close: bool, moves in prop::collection::vec(any::<bool>(), 160)) {
        let log = build(&steps, close);
        let whole = log.verdict();
        let moved = fold_moving_at(&log, &moves);
        prop_assert_eq!(serde_json::to_string(&whole).unwrap(), serde_json::to_string(&moved).unwrap());
        let text = log.lines.join("\n");
        let replayed = judge(text.as_bytes(), &Arc::new(Policy::default()), |_| {}).unwrap();
        prop_assert_eq!(Verdict { log_digest: String::new(), ..replayed }, whole);
    }

    #[test]
    fn credit_never_exceeds_the_time_watched_nor_the_servers(steps in steps()) {
        let log = build(&steps, true);
        let session = log.fold();
        let verdict = session.verdict(String::new());
        let elapsed_ms = session.last_at().unwrap() - OPENED_AT;
        prop_assert!(verdict.creditable_ms * 1000 <= verdict.watch_ms * 1005);
        prop_assert!(verdict.watch_ms <= elapsed_ms);
        prop_assert!(verdict.credited_ms <= verdict.creditable_ms);
        prop_assert!(verdict.creditable_ms <= verdict.watched_ms && verdict.watched_ms <= LESSON_MS);
        prop_assert!(verdict.coverage.is_sorted_by(|a, b| a.1 < b.0));
    }

    #[test]
    fn no_damaged_log_panics(steps in steps(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..6)) {
        let mut bytes = build(&steps, true).lines.join("\n").into_bytes();
        for (place, byte, kind) in damage {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] = byte,
                1 => drop(bytes.remove(place)),
                2 => bytes.insert(place, b'0' + byte % 10),
                _ => bytes.truncate(place.max(1)),
            }
        }
        // Whatever it says, it says it.
        let _ = judge(&bytes[..], &Arc::new(Policy::default()), |_| {});
    }

    #[test]
    fn no_heap_of_numbers_panics(numbers in prop::collection::vec(extreme(), 40), kinds in prop::collection::vec(0_usize..8, 30)) {
        let log = build_extreme(&numbers, &kinds);
        let verdict = log.verdict();
        prop_assert!(verdict.creditable_ms >= 0 && verdict.watch_ms >= 0);
        // What it leaves can be carried on.
        let carried = serde_json::to_value(&verdict.carried).unwrap();
        LogBuilder::opened(0, 1, json!({ "carried": carried })).verdict();
    }

    #[test]
    fn a_chain_of_sessions_is_no_way_around(acts in prop::collection::vec(act(), 4..60), cuts in prop::collection::vec(any::<bool>(), 60)) {
        let whole = one_session(&acts);
        let chain = chain_of_sessions(&acts, &cuts);
        let credited: i64 = chain.iter().map(|verdict| verdict.creditable_ms).sum();
        prop_assert!(credited <= whole.creditable_ms, "{credited} > {}", whole.creditable_ms);
        let all: Vec<String> = chain.iter().flat_map(found).collect();
        let has = |list: &[String], names: &[&str]| list.iter().any(|name| names.iter().any(|one| name.starts_with(one)));
        let found_whole = found(&whole);
        // What the whole session is found at fault for, some part of the chain is as well. An hour without a photo may end
        // in a session so short that it is for review.
        for (name, as_well) in [
            ("prompt_gap", &["prompt_gap"][..]),
            ("face_liveness", &["face_liveness"]),
            ("face_unresolved", &["face_unresolved", "face_liveness"]),
            ("face_unchecked", &["face_unchecked", "face_liveness"]),
            ("photo_missing", &["photo_missing", "face_unchecked", "face_liveness:unverified"]),
        ] {
            prop_assert!(!has(&found_whole, &[name]) || has(&all, as_well), "{name}: {all:?}");
        }
    }
}

/// Numbers at and near the edges.
fn extreme() -> impl Strategy<Value = i64> {
    let most = crate::log::MAX_INTEGER;
    prop_oneof![
        Just(most),
        Just(-most),
        Just(0),
        -3_000_i64..3_000,
        -most..most,
        (0_u32..53).prop_map(|shift| 1 << shift),
    ]
}

fn build_extreme(numbers: &[i64], kinds: &[usize]) -> LogBuilder {
    let number = |k: usize| numbers[k % numbers.len()];
    let carried = json!({
        "since_control_ms": number(0), "unverified_ms": number(1), "excess_ms": number(2), "conflict_ms": number(3),
        "face_failures": number(4), "hour_watch_ms": number(5), "hour_has_photo": number(6) > 0,
    });
    let facts = json!({
        "carried": carried, "total_hours": number(7), "online_used_ms": number(8),
        "covered_before": [[number(9), number(10)], [number(11), number(12)]], "furthest_before_ms": number(13),
    });
    let mut log = LogBuilder::opened(0, number(14), facts);
    let mut ats: Vec<i64> = kinds.iter().enumerate().map(|(k, _)| number(k * 7).abs() / 2).collect();
    ats.sort_unstable();
    for (k, (&kind, at)) in kinds.iter().zip(ats).enumerate() {
        let (a, b) = (number(k * 3 + 1), number(k * 5 + 2));
        let at = at.min(crate::log::MAX_INTEGER - OPENED_AT);
        match kind {
            0 | 1 => log.client_at(at, a, "heartbeat", json!({ "playing": true, "pos_ms": b, "rate": 1.0 })),
            2 => log.client_at(
                at,
                a,
                "playback",
                json!({ "event": "seek", "playing": true, "pos_ms": a, "from_ms": b, "rate": 1.0 }),
            ),
            3 => log.server(at, "connection.opened", json!({ "ct": a })),
            4 => log.server(at, "clock.synced", json!({ "ct": b })),
            5 => log.server(
                at,
                "presence.conflict",
                json!({ "with_session": "", "with_platform": "", "from_at": a, "to_at": b }),
            ),
            6 => log.client_at(at, a, "windows", json!({ "count": b })),
            _ => log.face(at, "c", "spoof"),
        }
    }
    log.server(crate::log::MAX_INTEGER - OPENED_AT, "session.closed", json!({ "reason": "left" }));
    log
}

/// What a learner does between pauses; a session may be cut at any pause, as the player stands still.
#[derive(Clone, Debug)]
enum Act {
    /// Plays for a while and pauses; the film runs `lag_ms` behind the clock (or, negative, ahead of it).
    Play { for_ms: i64, lag_ms: i64 },
    /// Goes back.
    Rewind { by_ms: i64 },
    /// Is asked, and answers or not.
    Prompt { outcome: &'static str },
    /// Is looked at.
    Face { outcome: &'static str, photo: bool },
}

fn act() -> impl Strategy<Value = Act> {
    let outcome = prop::sample::select(vec!["match", "match", "match", "mismatch", "no_face", "spoof"]);
    let prompt = prop::sample::select(vec!["passed", "passed", "failed"]);
    prop_oneof![
        6 => (70_000_i64..200_000, -1_500_i64..1_500).prop_map(|(for_ms, lag_ms)| Act::Play { for_ms, lag_ms }),
        1 => (0_i64..100_000).prop_map(|by_ms| Act::Rewind { by_ms }),
        2 => prompt.prop_map(|outcome| Act::Prompt { outcome }),
        2 => (outcome, any::<bool>()).prop_map(|(outcome, photo)| Act::Face { outcome, photo }),
    ]
}

/// A long lesson, so that the chain is never stopped by its end.
const LONG_LESSON_MS: i64 = 20_000_000;

struct Learner {
    at: i64,
    pos_ms: i64,
}

impl Learner {
    fn does(&mut self, act: &Act, k: usize, log: &mut LogBuilder) {
        match *act {
            Act::Play { for_ms, lag_ms } => {
                let (start, from_ms) = (self.at, self.pos_ms);
                log.beat(self.at, true, self.pos_ms);
                while self.at + 5_000 < start + for_ms {
                    self.at += 5_000;
                    self.pos_ms += 5_000;
                    log.beat(self.at, true, self.pos_ms);
                }
                self.at = start + for_ms;
                self.pos_ms = (from_ms + for_ms - lag_ms).max(self.pos_ms);
                log.beat(self.at, false, self.pos_ms);
            }
            Act::Rewind { by_ms } => {
                let to_ms = (self.pos_ms - by_ms).max(0);
                log.seek(self.at, false, self.pos_ms, to_ms);
                self.pos_ms = to_ms;
            }
            Act::Prompt { outcome } => log.prompt(self.at, &format!("q{k}"), outcome),
            Act::Face { outcome, photo } => {
                let capture = format!("c{k}");
                log.server(
                    self.at,
                    "capture.requested",
                    json!({ "capture": capture, "reason": "random", "deadline_at": 0 }),
                );
                let photo = photo.then_some("00");
                log.server(self.at, "face.checked", json!({ "capture": capture, "outcome": outcome, "photo": photo }));
            }
        }
    }
}

fn one_session(acts: &[Act]) -> Verdict {
    let mut learner = Learner { at: 0, pos_ms: 0 };
    let mut log = LogBuilder::opened(0, LONG_LESSON_MS, json!({}));
    for (k, act) in acts.iter().enumerate() {
        learner.does(act, k, &mut log);
    }
    log.close(learner.at);
    log.verdict()
}

/// The same acts, in sessions that are cut where `cuts` says, each opened with what the ones before left.
fn chain_of_sessions(acts: &[Act], cuts: &[bool]) -> Vec<Verdict> {
    let mut learner = Learner { at: 0, pos_ms: 0 };
    let mut verdicts: Vec<Verdict> = Vec::new();
    let mut covered = crate::session::Intervals::default();
    let mut facts: Value = json!({});
    let mut log = LogBuilder::opened(0, LONG_LESSON_MS, facts.clone());
    for (k, act) in acts.iter().enumerate() {
        learner.does(act, k, &mut log);
        if cuts[k % cuts.len()] || k + 1 == acts.len() {
            log.close(learner.at);
            let verdict = log.verdict();
            if verdict.amounts().coverage_counts() {
                verdict.coverage.iter().for_each(|&(from, to)| covered.add(from, to));
            }
            facts = json!({
                "carried": verdict.carried, "covered_before": covered.as_slice(),
                "furthest_before_ms": verdict.furthest_ms,
            });
            verdicts.push(verdict);
            log = LogBuilder::opened(learner.at, LONG_LESSON_MS, facts.clone());
        }
    }
    verdicts
}
