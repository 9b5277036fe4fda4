//! Each detector at the edge of its threshold, and what it must not take for evidence.

use std::sync::Arc;

use proptest::prelude::*;

use crate::log::{
    Body, Event, FaceChecked, FaceOutcome, Heartbeat, MAX_INTEGER, Origin, PromptAnswered, PromptIssued, PromptOutcome,
    PromptResolved,
};
use crate::policy::Policy;
use crate::risk::statistics::{Share, Variation, departure_milli};
use crate::risk::{
    Code, Effects, Engine, Finding, Observation, SessionSigns, Severity, Sighting, SightingKind, Sign, Strength, Who,
    day_of, explain,
};

/// A Monday at nine in China.
const NINE: i64 = 1_788_138_000_000;
const DAY_MS: i64 = 86_400_000;
/// What a log may hold.
const INTEGER: std::ops::RangeInclusive<i64> = -MAX_INTEGER..=MAX_INTEGER;

/// An engine and what it has given.
struct Watched {
    engine: Engine,
    policy: Arc<Policy>,
    effects: Effects,
}

impl Watched {
    fn new() -> Self {
        Self::under("")
    }

    fn under(pack: &str) -> Self {
        let policy = Policy::from_toml(pack).unwrap().into();
        Self { engine: Engine::default(), policy, effects: Effects::default() }
    }

    fn tell(&mut self, learner: &str, at: i64, sign: Sign) {
        self.tell_at("p1", learner, at, sign);
    }

    fn tell_at(&mut self, platform: &str, learner: &str, at: i64, sign: Sign) {
        let session = format!("session of {learner}").into();
        let (learner, platform) = (learner.into(), platform.into());
        let who = Who { session, learner, platform, policy: self.policy.clone() };
        self.engine.observe(&Observation { who: who.into(), at, sign }, &mut self.effects);
    }

    /// What was found since the last time.
    fn found(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.effects.findings)
    }

    fn codes(&mut self) -> Vec<(Code, Severity)> {
        self.found().into_iter().map(|finding| (finding.code, finding.severity)).collect()
    }
}

fn on(device: &str) -> Sign {
    Sign::Connected { address: None, device: Some(device.into()), first: false }
}

fn from(address: &str) -> Sign {
    Sign::Connected { address: Some(address.into()), device: None, first: false }
}

fn first() -> Sign {
    Sign::Connected { address: None, device: None, first: true }
}

#[test]
fn a_device_is_suspect_from_its_fourth_learner_in_a_week() {
    let mut watched = Watched::new();
    for (day, learner) in [(0, "a"), (1, "b"), (2, "a"), (3, "c"), (3, "a"), (8, "d"), (9, "c")] {
        watched.tell(learner, NINE + day * DAY_MS, on("d1"));
        assert!(watched.found().is_empty(), "{learner} on day {day}");
    }
    // d, c, and a again; b is too long ago.
    watched.tell("a", NINE + 9 * DAY_MS, on("d1"));
    assert!(watched.found().is_empty());
    watched.tell("e", NINE + 9 * DAY_MS, on("d1"));
    let [finding] = watched.found().try_into().unwrap();
    assert_eq!(
        (finding.code, finding.severity, finding.strength),
        (Code::DeviceLearners, Severity::Low, Strength::InAll(4))
    );
    assert_eq!((finding.subject.as_str(), finding.learners.len()), ("device:d1", 4));
    assert_eq!(finding.evidence["thresholds"]["learners"], 4);
    assert_eq!(finding.evidence["policy"], "unnamed");
    for number in 0..5 {
        watched.tell(&format!("f{number}"), NINE + 9 * DAY_MS, on("d1"));
    }
    assert_eq!(watched.found().last().unwrap().severity, Severity::Medium);
    // A learner who comes again is nothing new, on this device or on another.
    watched.tell("e", NINE + 9 * DAY_MS, on("d1"));
    watched.tell("e", NINE + 9 * DAY_MS, on("d2"));
    assert!(watched.found().is_empty());
}

#[test]
fn a_class_behind_one_address_is_not_suspect_and_a_crowd_is_a_hint() {
    let mut watched = Watched::new();
    for learner in 0..80 {
        watched.tell(&learner.to_string(), NINE, from("a1"));
    }
    assert!(watched.found().is_empty());
    for learner in 80..400 {
        watched.tell(&learner.to_string(), NINE, from("a1"));
    }
    let found = watched.found();
    assert!(found.iter().all(|finding| finding.severity == Severity::Low));
    // Told again at each quarter more, not for each learner; and no more than 256 are told apart.
    assert_eq!(
        found.iter().map(|finding| finding.strength).collect::<Vec<_>>(),
        [81, 102, 128, 160, 200, 250].map(Strength::InAll)
    );
}

#[test]
fn two_who_play_on_one_device_at_once_are_found_and_one_after_the_other_are_not() {
    let playing = || Sign::Playing { device: Some("d1".into()) };
    let mut watched = Watched::new();
    for minute in 0..10 {
        watched.tell("a", NINE + minute * 60_000, playing());
        watched.tell("b", NINE + 3_600_000 + minute * 60_000, playing());
    }
    assert_eq!(watched.codes(), []);
    let mut watched = Watched::new();
    for minute in 0..3 {
        assert_eq!(watched.codes(), []);
        watched.tell("a", NINE + minute * 60_000, playing());
        watched.tell("b", NINE + minute * 60_000 + 20_000, playing());
    }
    // Of the two, a counts the minutes, and hears of b from the second on.
    watched.tell("a", NINE + 3 * 60_000, playing());
    let [finding] = watched.found().try_into().unwrap();
    assert_eq!((finding.code, finding.severity), (Code::DeviceAtOnce, Severity::High));
    assert_eq!(finding.learners.iter().map(|learner| &**learner).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(finding.evidence["minutes"], 3);
}

fn answer(watched: &mut Watched, number: i64, after_ms: i64, passed: bool) {
    watched.tell("a", NINE + number * 180_000, Sign::Answered { after_ms, passed });
}

const TWENTY: &str = "[risk]\nanswer_count = 20\nanswer_variation_milli = 100";

#[test]
fn twenty_even_answers_are_needed_and_one_hesitation_is_human() {
    let mut watched = Watched::under(TWENTY);
    for number in 0..19 {
        answer(&mut watched, number, 1_500 + number % 3 * 40, true);
    }
    assert_eq!(watched.codes(), []);
    answer(&mut watched, 19, 1_500, false);
    let [finding] = watched.found().try_into().unwrap();
    assert_eq!((finding.code, finding.subject.as_str()), (Code::AnswersRegular, "learner:a"));
    assert_eq!(finding.evidence["times_ms"].as_array().unwrap().len(), 20);
    assert!(finding.evidence["variation_milli"].as_i64().unwrap() < 30);
    // The same answers are not told of twice.
    for number in 20..39 {
        answer(&mut watched, number, 1_500, true);
    }
    assert_eq!(watched.codes(), []);
    answer(&mut watched, 39, 7_000, true);
    assert_eq!(watched.codes(), []);
}

#[test]
fn answers_that_cannot_have_been_read_are_found_and_wrong_guesses_are_not() {
    let mut watched = Watched::under(TWENTY);
    for number in 0..30 {
        answer(&mut watched, number, 300 + number * 37 % 600, number % 3 == 0);
    }
    // Of any twenty seven were right: guessing is not knowing.
    assert_eq!(watched.codes(), []);
    for number in 30..34 {
        answer(&mut watched, number, 999, true);
    }
    assert_eq!(watched.codes(), [(Code::AnswersFast, Severity::Medium)]);
    for number in 0..30 {
        answer(&mut watched, number, 1_000 + number * 300, true);
    }
    assert_eq!(watched.codes(), []);
}

/// The events of one session, to its signs.
struct Signs {
    signs: SessionSigns,
    policy: Policy,
    told: Vec<Sign>,
}

impl Signs {
    fn new() -> Self {
        Self { signs: SessionSigns::default(), policy: Policy::default(), told: Vec::new() }
    }

    fn event(&mut self, at: i64, origin: Origin, body: Body) {
        self.signs.observe(&Event { n: 1, at, origin, body }, &self.policy.risk, &mut self.told);
    }

    fn beat(&mut self, ct: i64, pos_ms: i64) {
        let body = Body::Heartbeat(Heartbeat { playing: true, pos_ms, rate: 1.0 });
        self.event(NINE + ct, Origin::Client { seq: 1, ct }, body);
    }

    fn answered(&mut self, at: i64, ct: i64) {
        let body = Body::PromptAnswered(PromptAnswered { prompt: "q1".into(), answer: "x".into() });
        self.event(at, Origin::Client { seq: 1, ct }, body);
    }

    fn prompt(&mut self, at: i64) {
        let issued = PromptIssued { prompt: "q1".into(), kind: "choice".into(), deadline_at: at + 30_000 };
        self.event(at, Origin::Server, Body::PromptIssued(issued));
    }

    fn resolved(&mut self, at: i64, outcome: PromptOutcome) {
        let body = Body::PromptResolved(PromptResolved { prompt: "q1".into(), outcome });
        self.event(at, Origin::Server, body);
    }

    fn even(&self) -> Vec<&Sign> {
        self.told.iter().filter(|sign| matches!(sign, Sign::EvenBeats { .. } | Sign::LockedPosition { .. })).collect()
    }
}

#[test]
fn an_answer_takes_from_its_question_to_itself_unless_the_connection_broke() {
    let mut signs = Signs::new();
    signs.prompt(1_000);
    signs.answered(3_500, 7);
    signs.resolved(3_600, PromptOutcome::Failed);
    signs.prompt(10_000);
    signs.resolved(40_000, PromptOutcome::Expired);
    signs.prompt(50_000);
    signs.event(51_000, Origin::Server, Body::ConnectionClosed);
    signs.answered(55_000, 8);
    signs.resolved(55_000, PromptOutcome::Passed);
    assert_eq!(signs.told, [Sign::Answered { after_ms: 2_500, passed: false }]);
}

#[test]
fn half_an_hour_of_exact_heartbeats_is_told_when_the_clock_is_known_to_be_fine() {
    for (fine, expected) in [(true, 2), (false, 0)] {
        let mut signs = Signs::new();
        for event in 0..12 {
            // A clock in steps of 16.67 ms, or one that shows every millisecond.
            let ct = if fine { event * 37 } else { event * 10_000 / 60 };
            signs.answered(NINE, ct);
        }
        for beat in 0..=360 {
            assert_eq!(signs.even().len(), 0, "{beat}");
            // The position runs by another clock.
            signs.beat(5_000 + beat * 5_000, beat * 5_000 + beat % 2);
        }
        for beat in 361..=720 {
            signs.beat(5_000 + beat * 5_000, beat * 5_000 + beat % 2);
        }
        assert_eq!(signs.even().len(), expected);
        // One delay of a millisecond, and it begins anew.
        signs.beat(5_001 + 721 * 5_000, 721 * 5_000);
        for beat in 722..1_000 {
            signs.beat(5_001 + beat * 5_000, beat * 5_000 + beat % 2);
        }
        assert_eq!(signs.even().len(), expected);
    }
}

#[test]
fn a_session_is_told_to_be_playing_once_a_minute() {
    let mut signs = Signs::new();
    for beat in 0..25 {
        signs.beat(beat * 5_000 + beat % 3, beat * 4_900);
    }
    assert_eq!(signs.told, [const { Sign::Playing { device: None } }; 3]);
}

#[test]
fn a_position_that_follows_a_varying_timer_to_the_millisecond_is_told() {
    for (off_ms, told) in [(0, 1), (1, 0)] {
        let mut signs = Signs::new();
        for event in 0..12 {
            signs.answered(NINE, event * 37);
        }
        for beat in 0..=400 {
            let ct = 5_000 + beat * 5_000 + beat * beat % 7;
            signs.beat(ct, ct - 5_000 + beat / 200 * off_ms);
        }
        assert_eq!(signs.even().len(), told);
    }
}

#[test]
fn three_even_sessions_are_a_warning() {
    let mut watched = Watched::new();
    for session in 0..3 {
        let who = Who {
            session: format!("s{session}").into(),
            learner: "a".into(),
            platform: "p1".into(),
            policy: watched.policy.clone(),
        };
        let sign = Sign::EvenBeats { intervals: 360, interval_ms: 5_000 };
        watched.engine.observe(&Observation { who: who.into(), at: NINE, sign }, &mut watched.effects);
    }
    let [finding] = watched.found().try_into().unwrap();
    assert_eq!((finding.code, finding.severity), (Code::HeartbeatsRegular, Severity::Medium));
    assert_eq!(finding.sessions, ["s0", "s1", "s2"].map(Arc::<str>::from));
}

#[test]
fn a_block_is_a_copy_only_under_another_learner_and_in_the_same_place() {
    let mut watched = Watched::new();
    let block = |number| Sign::Block { number, digest: 7 };
    watched.tell("a", NINE, block(1));
    watched.tell("a", NINE + 1, block(1));
    watched.tell("b", NINE + 2, block(2));
    assert_eq!(watched.codes(), []);
    watched.tell_at("p2", "b", NINE + 3, block(1));
    let [finding] = watched.found().try_into().unwrap();
    assert_eq!((finding.code, finding.severity), (Code::HeartbeatsCopied, Severity::High));
    assert_eq!(finding.platforms, ["p2", "p1"].map(Arc::<str>::from));
}

#[test]
fn two_who_start_together_are_suspect_on_the_fifth_day_of_nearly_all() {
    let mut watched = Watched::new();
    let together = |watched: &mut Watched, day: i64, apart_ms: i64| {
        watched.tell("a", NINE + day * DAY_MS, first());
        watched.tell("b", NINE + day * DAY_MS + apart_ms, first());
        // Later in the day they go on together: that counts no more.
        watched.tell("a", NINE + day * DAY_MS + 3_600_000, first());
        watched.tell("b", NINE + day * DAY_MS + 3_600_000, first());
    };
    for day in 0..4 {
        together(&mut watched, day, 300);
    }
    together(&mut watched, 4, 301);
    assert_eq!(watched.codes(), []);
    together(&mut watched, 5, 100);
    let [finding] = watched.found().try_into().unwrap();
    assert_eq!((finding.code, finding.subject.as_str()), (Code::StartsTogether, "group:a"));
    assert_eq!((&finding.evidence["days"], &finding.evidence["days_both"]), (&5.into(), &6.into()));
    // One in two is chance.
    let mut watched = Watched::new();
    for day in 0..20 {
        together(&mut watched, day, if day % 2 == 0 { 100 } else { 9_000 });
    }
    assert_eq!(watched.codes(), []);
}

#[test]
fn a_group_that_starts_together_is_one_finding() {
    let mut watched = Watched::new();
    for day in 0..5 {
        for learner in 0..6 {
            watched.tell(&format!("l{}", (learner + day) % 6), NINE + day * DAY_MS + learner * 40, first());
        }
    }
    let found = watched.found();
    assert_eq!(found.len(), 15, "each pair of the six");
    let mut subjects: Vec<&str> = found.iter().map(|finding| finding.subject.as_str()).collect();
    subjects.dedup();
    assert_eq!(subjects.len(), 1, "{subjects:?}");
}

#[test]
fn even_starts_are_found_and_a_crowd_at_nine_is_not() {
    let mut watched = Watched::new();
    for learner in 0..11 {
        watched.tell(&learner.to_string(), NINE + learner * 2_000 + learner % 2 * 20, first());
    }
    assert_eq!(watched.codes(), []);
    watched.tell("11", NINE + 22_020, first());
    assert_eq!(watched.codes(), [(Code::StartsEven, Severity::Low)]);
    let mut watched = Watched::new();
    for learner in 0..40 {
        watched.tell(&learner.to_string(), NINE + learner * learner * 37 % 60_000, first());
        watched.tell(&format!("at once {learner}"), NINE + 60_000, first());
    }
    assert_eq!(watched.codes(), []);
}

#[test]
fn an_overlap_is_told_of_once_and_weighs_more_on_two_devices() {
    let conflict = |other: &str, overlap_ms| Sign::Conflict {
        with_session: format!("session of {other}").into(),
        with_platform: "p2".into(),
        overlap_ms,
    };
    let mut watched = Watched::new();
    watched.tell("a", NINE, conflict("x", 9_999));
    assert_eq!(watched.codes(), []);
    watched.tell("a", NINE, conflict("x", 20_000));
    watched.tell("a", NINE, conflict("x", 20_000));
    let [finding] = watched.found().try_into().unwrap();
    assert_eq!((finding.code, finding.severity), (Code::PlayingTwice, Severity::Medium));
    assert_eq!(finding.platforms, ["p1", "p2"].map(Arc::<str>::from));
    let mut watched = Watched::new();
    for (session, device) in [("s1", "d1"), ("s2", "d2")] {
        let who =
            Who { session: session.into(), learner: "a".into(), platform: "p1".into(), policy: watched.policy.clone() };
        watched.engine.observe(&Observation { who: who.into(), at: NINE, sign: on(device) }, &mut watched.effects);
    }
    let who = Who { session: "s1".into(), learner: "a".into(), platform: "p1".into(), policy: watched.policy.clone() };
    let sign = Sign::Conflict { with_session: "s2".into(), with_platform: "p1".into(), overlap_ms: 20_000 };
    watched.engine.observe(&Observation { who: who.into(), at: NINE, sign }, &mut watched.effects);
    let [finding] = watched.found().try_into().unwrap();
    assert_eq!((finding.severity, &finding.evidence["devices_differ"]), (Severity::High, &true.into()));
}

/// Closes one session each of `learners` learners, `faulty` of them faulty.
fn close_day(watched: &mut Watched, platform: &str, day: i64, learners: i64, faulty: i64) {
    for learner in 0..learners {
        let sign = Sign::Closed { faulty: learner < faulty };
        watched.tell_at(platform, &format!("{platform} {learner}"), NINE + day * DAY_MS, sign);
    }
}

#[test]
fn a_platform_is_compared_with_enough_peers_and_learners_count_once_a_day() {
    let mut watched = Watched::new();
    for platform in ["p1", "p2"] {
        close_day(&mut watched, platform, 0, 200, 8);
    }
    close_day(&mut watched, "bad", 0, 200, 60);
    assert_eq!(watched.codes(), [], "two peers are too few");
    close_day(&mut watched, "p3", 0, 200, 8);
    // The same learners, over and over, change nothing.
    for _ in 0..5 {
        close_day(&mut watched, "p3", 0, 10, 8);
    }
    assert_eq!(watched.codes(), []);
    close_day(&mut watched, "bad", 1, 1, 1);
    let found = watched.found();
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.code, finding.severity), (Code::RateHigh, Severity::Medium));
    assert_eq!((&finding.evidence["learner_days"], &finding.evidence["faulty"]), (&201.into(), &61.into()));
    assert_eq!(finding.evidence["peers_learner_days"], 600);
    assert!(finding.learners.is_empty());
    // Once a day is enough.
    close_day(&mut watched, "bad", 1, 20, 20);
    assert_eq!(watched.codes(), []);
}

#[test]
fn what_is_kept_brings_the_state_back() {
    let mut watched = Watched::new();
    let mut kept: Vec<Sighting> = Vec::new();
    for day in 0..4 {
        watched.tell("a", NINE + day * DAY_MS, first());
        watched.tell("b", NINE + day * DAY_MS + 50, first());
        watched.tell(["a", "b", "c", "a"][day as usize], NINE + day * DAY_MS, on("d1"));
    }
    for platform in ["p1", "p2", "p3", "bad"] {
        close_day(&mut watched, platform, 3, 150, if platform == "bad" { 40 } else { 6 });
    }
    kept.append(&mut watched.effects.sightings);
    assert_eq!(kept.iter().filter(|sighting| sighting.kind == SightingKind::Start).count(), 8);
    watched.engine = Engine::default();
    watched.found();
    for sighting in &kept {
        watched.engine.recall(sighting);
    }
    watched.tell("a", NINE + 4 * DAY_MS, first());
    watched.tell("b", NINE + 4 * DAY_MS + 50, first());
    watched.tell("d", NINE + 4 * DAY_MS, on("d1"));
    close_day(&mut watched, "bad", 4, 1, 0);
    let codes: Vec<Code> = watched.found().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::StartsTogether, Code::DeviceLearners, Code::RateHigh]);
}

#[test]
fn a_pack_can_switch_a_warning_off() {
    let pack =
        "[risk]\nanswer_variation_milli = 0\nanswer_fast_ms = 0\ndevice_learners = 1_000_000_000\nstep_days = 33";
    let mut watched = Watched::under(pack);
    for number in 0..100 {
        answer(&mut watched, number, 100, true);
        watched.tell(&number.to_string(), NINE, on("d1"));
        watched.tell("a", NINE + number * DAY_MS, first());
        watched.tell("b", NINE + number * DAY_MS, first());
    }
    assert_eq!(watched.codes(), []);
}

#[test]
fn a_day_ends_at_midnight_in_china() {
    assert_eq!(day_of(NINE), day_of(NINE + 15 * 3_600_000 - 1));
    assert_eq!(day_of(NINE) + 1, day_of(NINE + 15 * 3_600_000));
}

#[test]
fn every_number_that_a_text_names_is_in_the_evidence() {
    let mut watched = Watched::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut explained = |finding: &Finding| {
        let texts = explain(finding.code, &finding.evidence);
        for text in [&texts.zh, &texts.en] {
            assert!(!text.contains(['?', '{', '}']) && !text.contains("null"), "{text}");
        }
        seen.insert(finding.code);
    };
    for number in 0..100 {
        let learner = number.to_string();
        watched.tell(&learner, NINE, on("d1"));
        watched.tell(&learner, NINE, from("a1"));
        answer(&mut watched, number, 100 + number % 2, true);
        answer(&mut watched, number, 100 + number % 2, number % 3 == 0);
        for learner in ["x", "y"] {
            watched.tell(learner, NINE + number * 60_000, Sign::Playing { device: Some("d1".into()) });
            watched.tell(learner, NINE + (number + 1) * DAY_MS, first());
            watched.tell(learner, NINE, Sign::Block { number: 0, digest: 7 });
        }
    }
    for number in 0..64 {
        answer(&mut watched, number, 2_000, true);
        watched.tell(&number.to_string(), NINE - DAY_MS + number * 1_000, first());
        let session: Arc<str> = format!("even {number}").into();
        let who = Who { session, learner: "z".into(), platform: "p1".into(), policy: watched.policy.clone() };
        for sign in [Sign::EvenBeats { intervals: 360, interval_ms: 5_000 }, Sign::LockedPosition { intervals: 360 }] {
            watched.engine.observe(&Observation { who: who.clone().into(), at: NINE, sign }, &mut watched.effects);
        }
    }
    let (with_session, with_platform) = ("s2".into(), "p2".into());
    watched.tell("a", NINE, Sign::Conflict { with_session, with_platform, overlap_ms: 20_000 });
    for platform in ["p1", "p2", "p3", "p4", "good", "bad"] {
        let faulty = match platform {
            "bad" => 120,
            "good" => 0,
            _ => 30,
        };
        close_day(&mut watched, platform, 0, 150, faulty);
    }
    watched.found().iter().for_each(&mut explained);
    let missing: Vec<&Code> = Code::ALL.iter().filter(|code| !seen.contains(code)).collect();
    // These two are not detectors': a search of faces finds them, and its tests hold it to the same.
    assert_eq!(missing, [&Code::FaceLearners, &Code::FacesOfLearner]);
}

#[test]
fn statistics_are_those_of_the_books() {
    // Mean 4, population standard deviation 2.
    let variation = Variation::of([2, 2, 6, 6].into_iter()).unwrap();
    assert_eq!((variation.mean_ms, variation.milli), (4, 500));
    assert!(variation.is_below(501) && !variation.is_below(500));
    assert!(!Variation::of([0, 0].into_iter()).unwrap().is_below(1000));
    assert_eq!(Variation::of(std::iter::empty()), None);
    // 30 of 200 against 40 of 600: (0.15 − 0.0667) / √(0.0875 × 0.9125 × (1/200 + 1/600)) = 3.6117
    let (one, other) = (Share { some: 30, all: 200 }, Share { some: 40, all: 600 });
    assert_eq!((departure_milli(one, &[other]), departure_milli(other, &[one])), (3_611, 3_611));
    // Peers of 0.02 and 0.1133 have a variance of 0.004356: (0.15 − 0.0667) / √(0.000532 + 0.004356) = 1.1919
    let apart = [Share { some: 6, all: 300 }, Share { some: 34, all: 300 }];
    assert_eq!(departure_milli(one, &apart), 1_191);
    assert_eq!(departure_milli(Share { some: 0, all: 100 }, &[Share { some: 0, all: 100 }]), 0);
    assert_eq!(departure_milli(Share { some: 1, all: 1 }, &[]), 0);
}

proptest! {
    #[test]
    fn nothing_overflows(times in prop::collection::vec(any::<i64>(), 0..70), counts in any::<[u32; 4]>()) {
        if let Some(variation) = Variation::of(times.into_iter()) {
            variation.is_below(1_000);
            prop_assert!(variation.milli >= 0 && variation.mean_ms >= 0);
        }
        let share = |all: u32, some: u32| Share { some: i64::from(some.min(all)), all: i64::from(all) };
        let (one, other) = (share(counts[0], counts[1]), share(counts[2], counts[3]));
        prop_assert!(departure_milli(one, &[other]) >= 0);
        prop_assert!(departure_milli(one, &[other, one]) >= 0);
    }

    #[test]
    fn no_stream_of_observations_breaks_the_engine(
        steps in prop::collection::vec((0..6_u8, 0..5_u8, -200_000_i64..400_000_000, any::<i64>()), 1..200)
    ) {
        let mut watched = Watched::new();
        let mut at = NINE;
        for (what, learner, step_ms, number) in steps {
            // Observations of different sessions may come a little out of order.
            at += step_ms;
            let place = Some(format!("v{}", number.rem_euclid(3)).into());
            let sign = match what {
                0 => Sign::Connected { address: place.clone(), device: place, first: number % 2 == 0 },
                1 => Sign::Playing { device: place },
                2 => Sign::Answered { after_ms: number, passed: true },
                3 => Sign::Block { number: 0, digest: number as u64 % 3 },
                4 => Sign::EvenBeats { intervals: number, interval_ms: number },
                _ => Sign::Closed { faulty: number % 2 == 0 },
            };
            watched.tell(&learner.to_string(), at, sign);
        }
        for finding in watched.found() {
            explain(finding.code, &finding.evidence);
        }
    }

    #[test]
    fn no_log_breaks_a_sessions_signs(beats in prop::collection::vec((INTEGER, INTEGER), 1..200)) {
        let mut signs = Signs::new();
        for (ct, pos_ms) in beats {
            let body = Body::Heartbeat(Heartbeat { playing: true, pos_ms, rate: 1.0 });
            signs.event(ct / 2, Origin::Client { seq: 1, ct }, body);
            signs.event(ct / 2, Origin::Client { seq: 1, ct: pos_ms }, Body::Unknown);
        }
    }
}

#[test]
fn tables_forget_what_was_not_touched_for_longest() {
    let mut table = crate::risk::recent::Recent::new(10);
    for number in 0..1_000 {
        *table.entry(&0, || 0) += 1;
        table.entry(&number, || number);
        assert!(table.len() <= 20);
    }
    assert_eq!(*table.entry(&0, || 0), 1_000, "what is in use stays");
    assert_eq!((table.get(&999), table.get(&900)), (Some(&999), None));
}

#[test]
fn a_matched_face_is_searched_where_others_were_seen_and_not_again_and_again() {
    let mut watched = Watched::new();
    let matched = |device: Option<&str>, address: Option<&str>| Sign::FaceMatched {
        device: device.map(Into::into),
        address: address.map(Into::into),
    };
    let searches = |watched: &mut Watched| -> Vec<String> {
        let searches = std::mem::take(&mut watched.effects.searches);
        searches.iter().map(|search| format!("{}:{} {}", search.kind, search.value, search.learner)).collect()
    };
    watched.tell("a", NINE, on("d1"));
    watched.tell("a", NINE, matched(Some("d1"), None));
    assert_eq!(searches(&mut watched), [""; 0], "alone on the device");
    watched.tell("b", NINE, on("d1"));
    watched.tell("b", NINE, from("a1"));
    watched.tell("c", NINE, from("a1"));
    watched.tell("b", NINE, matched(Some("d1"), Some("a1")));
    assert_eq!(searches(&mut watched), ["device:d1 b", "address:a1 b"]);
    watched.tell("b", NINE + 1, matched(Some("d1"), Some("a1")));
    assert_eq!(searches(&mut watched), [""; 0]);
    watched.tell("a", NINE + 2, matched(Some("d1"), None));
    assert_eq!(searches(&mut watched), ["device:d1 a"]);
    // One more has come.
    watched.tell("d", NINE + 3, on("d1"));
    watched.tell("a", NINE + 4, matched(Some("d1"), None));
    assert_eq!(searches(&mut watched), ["device:d1 a"]);
    assert!(watched.found().is_empty());
}

#[test]
fn a_match_in_the_log_is_told_with_device_and_address() {
    let (thresholds, mut told) = (Policy::default().risk, Vec::new());
    let mut signs = SessionSigns::default();
    signs.connected(Some("a1".into()), Some("d1".into()));
    for (n, outcome) in (1..).zip([FaceOutcome::Mismatch, FaceOutcome::Match, FaceOutcome::Spoof]) {
        let checked = FaceChecked {
            capture: "c1".into(),
            outcome,
            photo: None,
            passive_milli: None,
            extra: serde_json::Map::new(),
        };
        let event = Event { n, at: NINE, origin: Origin::Server, body: Body::FaceChecked(checked) };
        signs.observe(&event, &thresholds, &mut told);
    }
    assert_eq!(told, [Sign::FaceMatched { address: Some("a1".into()), device: Some("d1".into()) }]);
}
