//! The schedule as a session drives it, without a session.

use proptest::prelude::*;

use super::*;
use crate::policy::Policy;

const GAP_LIMIT_MS: i64 = 300_000;

fn schedule(seed: u8, since_control_ms: i64, face_failures: i64) -> Schedule {
    let policy = Policy::default();
    Schedule::new(Seed::new(&[seed; 32]), policy.schedule, GAP_LIMIT_MS, since_control_ms, face_failures)
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
    failed.capture_requested("c1", due.reason, 20_000);
    failed.checked("c1", Some(FaceOutcome::NoFace), 0);
    assert_eq!(failed.pause(&stands), Some(PauseReason::Capture));
    assert_eq!(failed.due(&stands), None);
    assert!(matches!(failed.due(&Now { ready: true, ..stands }), Some(Due::Capture(_))));
    failed.capture_requested("c2", due.reason, 20_000);
    failed.checked("c2", Some(FaceOutcome::Error), 0);
    assert_eq!(failed.pause(&stands), None, "a check that the server could not make holds nobody up");
}

#[test]
fn a_failed_check_is_soon_repeated_a_good_one_is_not() {
    let mut schedule = schedule(3, 0, 0);
    schedule.connection_opened(0);
    let asked = |schedule: &Schedule, watch_ms| matches!(schedule.due(&playing(watch_ms, 0)), Some(Due::Capture(_)));
    schedule.capture_requested("c1", CaptureReason::Start, 20_000);
    schedule.checked("c1", None, 10_000);
    assert!(!asked(&schedule, 19_999) && asked(&schedule, 40_000));
    schedule.capture_requested("c2", CaptureReason::Recheck, 60_000);
    schedule.checked("c2", Some(FaceOutcome::Match), 40_000);
    assert!(!asked(&schedule, 40_000 + 239_999) && asked(&schedule, 40_000 + 720_000));
}

#[test]
fn a_lost_connection_puts_deadlines_off_by_a_minute_at_most() {
    let mut schedule = schedule(1, 0, 0);
    schedule.connection_opened(0);
    schedule.capture_requested("c1", CaptureReason::Start, 20_000);
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
    schedule.capture_requested("c1", CaptureReason::Start, 20_000);
    assert!(!schedule.committed("c1", "digest", 20_001));
    assert!(!schedule.committed("c2", "digest", 0));
}
