//! The schedule as a session drives it, without a session.

use proptest::prelude::*;

use super::*;
use crate::log::CaptureReason;
use crate::policy::Policy;

const GAP_LIMIT_MS: i64 = 300_000;

fn schedule(seed: u8, since_control_ms: i64, face_failures: i64) -> Schedule {
    let policy = Policy::default();
    Schedule::new(Seed::new(&[seed; 32]), policy.schedule, GAP_LIMIT_MS, since_control_ms, face_failures)
}

/// A plain capture.
fn plain(capture: &'static str, reason: CaptureReason, deadline_at: i64) -> CaptureRequested<'static> {
    CaptureRequested { capture: capture.into(), reason, deadline_at, frames: 3, challenge: None }
}

fn playing(watch_ms: i64, since_control_ms: i64) -> Now {
    Now { at: 0, watch_ms, since_control_ms, playing: true, connected: true, ready: false }
}

/// The watching time at which the schedule first asks for a prompt.
fn first_prompt_ms(schedule: &Schedule) -> i64 {
    (0..GAP_LIMIT_MS).step_by(1_000).find(|ms| schedule.due(&playing(0, *ms)) == Some(Due::Prompt(1))).unwrap()
}

proptest! {
    #[test]
    fn prompts_come_between_two_and_four_minutes(seed: u8) {
        let first_ms = first_prompt_ms(&schedule(seed, 0, 0));
        prop_assert!((120_000..=240_000).contains(&first_ms));
    }

    #[test]
    fn the_first_photo_comes_soon(seed: u8) {
        let schedule = schedule(seed, 0, 0);
        let asked = |watch_ms| matches!(schedule.due(&playing(watch_ms, 0)), Some(Due::Capture(_)));
        prop_assert!(!asked(2_999) && asked(15_000));
    }

    /// Whoever answers within the half minute that they have never comes near the limit, even after a miss.
    #[test]
    fn one_who_is_there_never_reaches_the_limit(seed: u8, misses in 0..2_u32) {
        let mut schedule = schedule(seed, 0, 0);
        schedule.connection_opened(0);
        let mut since_control_ms = first_prompt_ms(&schedule);
        for miss in 0..misses {
            schedule.prompt_issued(&format!("q{miss}"), 0);
            since_control_ms += 30_000;
            schedule.prompt_resolved(&format!("q{miss}"), PromptOutcome::Expired, 0);
            prop_assert!(schedule.pause(&playing(0, since_control_ms)).is_none() || since_control_ms >= 290_000);
            prop_assert!(matches!(schedule.due(&playing(0, since_control_ms)), Some(Due::Prompt(_))));
        }
        prop_assert!(since_control_ms + 5_000 < GAP_LIMIT_MS);
    }
}

#[test]
fn different_seeds_ask_at_different_times() {
    let times: std::collections::BTreeSet<_> = (0..50).map(|seed| first_prompt_ms(&schedule(seed, 0, 0))).collect();
    assert!(times.len() > 25, "{times:?}");
}

#[test]
fn three_wrong_answers_pause_until_one_is_right() {
    let mut schedule = schedule(1, 0, 0);
    schedule.connection_opened(0);
    for number in 1..=3 {
        assert_eq!(schedule.pause(&playing(0, 200_000)), None);
        schedule.prompt_issued(&format!("q{number}"), 30_000);
        schedule.prompt_resolved(&format!("q{number}"), PromptOutcome::Failed, 50_000);
    }
    let stands = Now { at: 80_000, playing: false, ..playing(0, 200_000) };
    assert_eq!(schedule.pause(&stands), Some(PauseReason::WrongAnswers));
    let too_soon = Now { at: 79_999, ready: true, ..stands };
    assert_eq!((schedule.due(&too_soon), schedule.prompts_wait_until(79_999)), (None, Some(80_000)));
    assert_eq!(schedule.prompts_wait_until(80_000), None);
    assert_eq!(schedule.due(&stands), None, "a page that nobody looks at is not asked for ever");
    assert_eq!(schedule.due(&Now { ready: true, ..stands }), Some(Due::Prompt(4)));
    schedule.prompt_issued("q4", 30_000);
    schedule.prompt_resolved("q4", PromptOutcome::Passed, 90_000);
    assert_eq!(schedule.pause(&playing(0, 0)), None);
}

#[test]
fn whoever_goes_on_missing_waits_longer_each_time_and_is_asked_for_sums() {
    let mut schedule = schedule(1, 0, 0);
    schedule.connection_opened(0);
    let as_always = schedule.prompt_sum_milli();
    assert!((1..1_000).contains(&as_always));
    let (mut at, mut waits) = (0, Vec::new());
    for miss in 1..=9 {
        schedule.prompt_issued(&format!("q{miss}"), at + 30_000);
        let outcome = if miss % 2 == 0 { PromptOutcome::Expired } else { PromptOutcome::Failed };
        schedule.prompt_resolved(&format!("q{miss}"), outcome, at);
        let next_at = schedule.prompts_wait_until(at).unwrap_or(at);
        // However the learner plays, pauses and insists meanwhile.
        schedule.watched(0, 250_000);
        let asked = |at| schedule.due(&Now { at, ready: true, ..playing(0, 295_000) });
        assert!(next_at == at || asked(next_at - 1).is_none());
        assert_eq!(asked(next_at), Some(Due::Prompt(miss + 1)));
        waits.push((next_at - at) / 1_000);
        assert_eq!(schedule.prompt_sum_milli(), if miss < 3 { as_always } else { 1_000 });
        at = next_at;
    }
    assert_eq!(waits, [0, 0, 30, 60, 120, 240, 480, 600, 600]);
    schedule.prompt_issued("q10", at);
    schedule.prompt_resolved("q10", PromptOutcome::Passed, at);
    assert_eq!((schedule.prompts_wait_until(at), schedule.prompt_sum_milli()), (None, as_always));
}

#[test]
fn a_pack_without_sums_asks_for_none() {
    let mut policy = Policy::default();
    policy.schedule.prompt_sum_milli = 0;
    let mut schedule = Schedule::new(Seed::new(&[1; 32]), policy.schedule, GAP_LIMIT_MS, 0, 0);
    for number in 1..=5 {
        schedule.prompt_issued(&format!("q{number}"), 0);
        schedule.prompt_resolved(&format!("q{number}"), PromptOutcome::Failed, 0);
    }
    assert_eq!(schedule.prompt_sum_milli(), 0);
}

#[test]
fn what_is_carried_is_asked_for_before_the_video() {
    let near = schedule(1, 250_000, 0);
    let stands = Now { playing: false, ..playing(0, 250_000) };
    assert_eq!(near.pause(&stands), Some(PauseReason::Prompt));
    assert_eq!(near.due(&stands), Some(Due::Prompt(1)));

    let mut failed = schedule(1, 0, 1);
    failed.connection_opened(0);
    let stands = Now { playing: false, ..playing(0, 0) };
    assert_eq!(failed.pause(&stands), Some(PauseReason::Capture));
    let Some(Due::Capture(due)) = failed.due(&stands) else { panic!("a face must be seen first") };
    failed.capture_requested(&plain("c1", due.reason, 20_000), 0);
    failed.checked("c1", Some(FaceOutcome::NoFace), 0);
    assert_eq!(failed.pause(&stands), Some(PauseReason::Capture));
    assert_eq!(failed.due(&stands), None);
    assert!(matches!(failed.due(&Now { ready: true, ..stands }), Some(Due::Capture(_))));
    failed.capture_requested(&plain("c2", due.reason, 20_000), 0);
    failed.checked("c2", Some(FaceOutcome::Error), 0);
    assert_eq!(failed.pause(&stands), None, "a check that the server could not make holds nobody up");
}

#[test]
fn a_failed_check_is_soon_repeated_a_good_one_is_not() {
    let mut schedule = schedule(3, 0, 0);
    schedule.connection_opened(0);
    let asked = |schedule: &Schedule, watch_ms| matches!(schedule.due(&playing(watch_ms, 0)), Some(Due::Capture(_)));
    schedule.capture_requested(&plain("c1", CaptureReason::Start, 20_000), 0);
    schedule.checked("c1", None, 10_000);
    assert!(!asked(&schedule, 19_999) && asked(&schedule, 40_000));
    schedule.capture_requested(&plain("c2", CaptureReason::Recheck, 60_000), 0);
    schedule.checked("c2", Some(FaceOutcome::Match), 40_000);
    assert!(!asked(&schedule, 40_000 + 239_999) && asked(&schedule, 40_000 + 720_000));
}

#[test]
fn a_lost_connection_puts_deadlines_off_by_a_minute_at_most() {
    let mut schedule = schedule(1, 0, 0);
    schedule.connection_opened(0);
    schedule.capture_requested(&plain("c1", CaptureReason::Start, 20_000), 0);
    assert_eq!(schedule.capture_expires_at(), Some(20_000));
    schedule.connection_closed();
    assert_eq!(schedule.capture_expires_at(), Some(80_000));
    schedule.connection_opened(30_000);
    assert_eq!(schedule.capture_expires_at(), Some(50_000));
    schedule.connection_closed();
    schedule.connection_opened(79_000);
    assert_eq!(schedule.capture_expires_at(), Some(80_000), "whoever cuts the line gains a minute, once");
    assert!(schedule.committed("c1", "digest", 80_000));
    assert!(!schedule.committed("c1", "other", 80_000), "one commitment a capture");
    assert_eq!(schedule.capture_expires_at(), Some(140_000));
}

#[test]
fn a_commitment_after_the_deadline_does_not_count() {
    let mut schedule = schedule(1, 0, 0);
    schedule.connection_opened(0);
    schedule.capture_requested(&plain("c1", CaptureReason::Start, 20_000), 0);
    assert!(!schedule.committed("c1", "digest", 20_001));
    assert!(!schedule.committed("c2", "digest", 0));
}

/// A session's captures up to `count`, each answered with what `outcome` says of its challenge; what was asked for.
fn challenges(
    seed: u8,
    edit: impl FnOnce(&mut Parameters),
    count: u64,
    outcome: impl Fn(u64) -> Option<FaceOutcome>,
) -> Vec<CaptureDue> {
    let mut parameters = Policy::default().schedule;
    edit(&mut parameters);
    let mut schedule = Schedule::new(Seed::new(&[seed; 32]), parameters, GAP_LIMIT_MS, 0, 0);
    schedule.connection_opened(0);
    let mut watch_ms = 0;
    let answer = |number| {
        watch_ms += 720_000;
        let Some(Due::Capture(due)) = schedule.due(&playing(watch_ms, 0)) else { panic!("{number} is due") };
        let CaptureDue { reason, frames, challenge, .. } = due;
        let requested = CaptureRequested { capture: "c".into(), reason, deadline_at: 0, frames, challenge };
        schedule.capture_requested(&requested, 0);
        schedule.checked("c", outcome(number), watch_ms);
        due
    };
    (1..=count).map(answer).collect()
}

#[test]
fn a_movement_is_asked_for_as_often_as_the_pack_says_each_as_likely_as_the_others() {
    let half = |parameters: &mut Parameters| {
        parameters.challenge_start_milli = 1_000;
        parameters.challenge_random_milli = 500;
    };
    let asked: Vec<_> = (0..100).flat_map(|seed| challenges(seed, half, 11, |_| Some(FaceOutcome::Match))).collect();
    assert!(asked.iter().all(|due| due.frames == if due.challenge.is_some() { 10 } else { 3 }));
    assert!(asked.iter().filter(|due| due.number == 1).all(|due| due.challenge.is_some()));
    let later: Vec<_> = asked.iter().filter(|due| due.number > 1).collect();
    let challenged = later.iter().filter(|due| due.challenge.is_some()).count();
    assert!((440..=560).contains(&challenged), "{challenged} of {}", later.len());
    for movement in Movement::ALL {
        let often = asked.iter().filter(|due| due.challenge == Some(*movement)).count();
        assert!((80..=160).contains(&often), "{movement}: {often} of {}", challenged + 100);
    }
    let never = |parameters: &mut Parameters| {
        parameters.challenge_random_milli = 0;
        parameters.challenge_recheck_milli = 0;
    };
    assert!(challenges(1, never, 20, |_| None).iter().all(|due| due.challenge.is_none()));
}

#[test]
fn a_challenge_that_was_not_done_is_followed_by_another_until_one_is() {
    let only_at_the_start = |parameters: &mut Parameters| {
        parameters.challenge_start_milli = 1_000;
        parameters.challenge_recheck_milli = 0;
        parameters.challenge_random_milli = 0;
    };
    for seed in 0..20 {
        let outcome = |number| match number {
            1 => Some(FaceOutcome::Unusable),
            2 => None,
            3 => Some(FaceOutcome::Error),
            _ => Some(FaceOutcome::Match),
        };
        let asked = challenges(seed, only_at_the_start, 5, outcome);
        let movements: Vec<_> = asked.iter().map(|due| due.challenge).collect();
        assert!(movements[..4].iter().all(Option::is_some), "{movements:?}");
        assert!(movements[0] != movements[1] && movements[1] != movements[2], "{movements:?}");
        assert_eq!(movements[4], None);
    }
}

#[test]
fn photos_take_no_longer_than_they_were_waited_for_and_not_much_less_than_was_asked() {
    let (mut schedule, parameters) = (schedule(1, 0, 0), Policy::default().schedule);
    schedule.connection_opened(0);
    schedule.capture_requested(&plain("c1", CaptureReason::Start, 20_000), 1_000);
    assert!(schedule.committed("c1", "digest", 6_000));
    let pending = schedule.pending_capture().unwrap();
    assert_eq!(pending.span_ms(&parameters), 300..=5_210);
    assert!(!pending.passive, "the default pack does not have everybody's first capture looked at");
    schedule.capture_requested(&plain("c2", CaptureReason::Recheck, 20_000), 1_000);
    assert!(schedule.pending_capture().is_some_and(|pending| pending.passive), "but those after one that failed");
    // Asked for by a release that took single photos.
    let old = CaptureRequested { frames: 1, ..plain("c1", CaptureReason::Random, 20_000) };
    schedule.capture_requested(&old, 1_000);
    assert!(schedule.pending_capture().is_some_and(|pending| pending.frames == 1 && !pending.passive));
    assert!(schedule.committed("c1", "digest", 1_000));
    assert_eq!(schedule.pending_capture().unwrap().span_ms(&parameters), 0..=200);
}

#[test]
fn what_a_supervisor_asks_for_takes_the_place_of_what_the_schedule_would_ask_next() {
    let mut schedule = schedule(1, 0, 0);
    schedule.connection_opened(0);
    let now = playing(1_000, 1_000);
    assert_eq!(schedule.asked(&Now { connected: false, ..now }, Asked::Prompt), Err(NotNow::Away));
    assert_eq!(schedule.asked(&Now { playing: false, ..now }, Asked::Capture), Err(NotNow::Still));
    assert_eq!(schedule.asked(&now, Asked::Prompt), Ok(Due::Prompt(1)));
    schedule.prompt_issued("q1", 30_000);
    assert_eq!(schedule.asked(&now, Asked::Prompt), Err(NotNow::Open));
    schedule.prompt_resolved("q1", PromptOutcome::Passed, 5_000);
    assert_eq!(schedule.due(&playing(1_000, 119_999)), None, "whoever passed it has their two minutes again");

    let Ok(Due::Capture(due)) = schedule.asked(&now, Asked::Capture) else { panic!() };
    assert_eq!((due.number, due.reason), (1, CaptureReason::Supervisor));
    schedule.capture_requested(&plain("c1", CaptureReason::Supervisor, 30_000), 0);
    assert_eq!(schedule.asked(&now, Asked::Capture), Err(NotNow::Open));
    schedule.checked("c1", Some(FaceOutcome::Match), 1_000);
    assert_eq!(schedule.due(&playing(15_000, 1_000)), None, "it was the first photo as well");
}
