//! The numbers of a pack, each with the range in which it makes sense.

use std::ops::RangeInclusive;

use crate::log::MAX_INTEGER;

/// A day: what no class hour is longer than.
const DAY_MS: i64 = 86_400_000;

/// Defines a struct of integers that can be set by name.
macro_rules! table {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $range:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: i64,)*
        }

        impl $name {
            /// The names of all fields.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($field),)*];

            /// All fields by name, in the order of [`Self::KEYS`].
            pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, i64)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }

            /// The place of a key and what it may hold.
            pub(super) fn entry(&mut self, key: &str) -> Option<(&mut i64, RangeInclusive<i64>)> {
                match key {
                    $(stringify!($field) => Some((&mut self.$field, $range)),)*
                    _ => None,
                }
            }
        }
    };
}

pub(super) use table;

/// A length of time that may also be none.
const ANY_MS: RangeInclusive<i64> = 0..=MAX_INTEGER;
/// A length of time that must be some.
const SOME_MS: RangeInclusive<i64> = 1..=MAX_INTEGER;
/// A share, in thousandths.
const SHARE: RangeInclusive<i64> = 0..=1000;
/// Time between two photos of a burst: what any page can keep, and what a movement still shows in.
const FRAME_EVERY_MS: RangeInclusive<i64> = 100..=1_000;
/// A number of face checks.
const CHECKS: RangeInclusive<i64> = 1..=1000;

table! {
    /// The parameters of docs/rules.md, section 2.
    Parameters {
        /// One class hour, ms.
        class_hour_ms: 2_400_000..=DAY_MS,
        /// Highest allowed playback rate, thousandths.
        max_rate_milli: 1000..=16_000,
        /// How far the position may run ahead of the clock, ms.
        position_tolerance_ms: ANY_MS,
        /// How far a jump may miss, ms.
        jump_tolerance_ms: ANY_MS,
        /// Longest silence that still counts as observed, ms.
        gap_limit_ms: ANY_MS,
        /// An event that reached the server later than this earns no credit, ms.
        late_limit_ms: ANY_MS,
        /// Longest watching time without a passed prompt, ms.
        prompt_max_gap_ms: SOME_MS,
        /// Playing in a hidden page, ms.
        hidden_grace_ms: ANY_MS,
        /// Playing in a page without focus, ms.
        blur_grace_ms: ANY_MS,
        /// Overlap of two sessions of one learner, ms.
        presence_tolerance_ms: ANY_MS,
        /// Watching time by which a face must have matched, ms.
        start_verify_ms: SOME_MS,
        /// Failed checks in a row.
        max_face_failures: CHECKS,
        /// `spoof` outcomes among the last checks.
        max_spoofs: CHECKS,
        /// How many checks are the last ones.
        face_window: CHECKS,
        /// Failed ones among them that leave a doubt.
        face_window_failures: CHECKS,
        /// Mean of the passive scores from which a supervisor looks, thousandths.
        passive_limit_milli: SHARE,
        /// Passive scores that such a mean takes.
        passive_scores_least: CHECKS,
        /// Watching time of a class hour by which it needs its photo, ms.
        photo_due_ms: SOME_MS,
        /// A session shorter than this need not have been asked for a photo or a check, ms.
        short_session_ms: ANY_MS,
        /// Share of a lesson that must be watched, thousandths.
        completion_milli: SHARE,
        /// Online share of the total class hours, thousandths.
        online_quota_milli: SHARE,
        /// How far past the quota a session may run, ms.
        online_quota_grace_ms: ANY_MS,
        /// How far the client's clock may run ahead of the server's, ms.
        clock_lead_ms: ANY_MS,
    }
}

table! {
    /// When the server asks for prompts and photos, and when it gives a session up.
    Schedule {
        /// Least watching time since the last passed prompt until the next is issued, ms.
        prompt_min_ms: SOME_MS,
        /// Most watching time since the last passed prompt until the next is issued, ms.
        prompt_max_ms: SOME_MS,
        /// Time to answer a prompt, ms.
        prompt_answer_ms: 1_000..=MAX_INTEGER,
        /// Wrong answers in a row that pause the player.
        prompt_wrong_limit: 1..=100,
        /// How often a prompt is a sum in a picture rather than a choice, in thousandths.
        prompt_sum_milli: 0..=1_000,
        /// The player is paused when `since_control` comes this near to `prompt_max_gap_ms`, ms.
        pause_before_gap_ms: ANY_MS,
        /// With less of `since_control` left at the opening, the prompt comes before the film, ms.
        control_first_ms: ANY_MS,
        /// Earliest first photo, ms after the opening.
        capture_start_min_ms: ANY_MS,
        /// Latest first photo, ms after the opening.
        capture_start_max_ms: ANY_MS,
        /// Least time between photos, ms of watching.
        capture_min_ms: SOME_MS,
        /// Most time between photos, ms of watching.
        capture_max_ms: SOME_MS,
        /// Time to commit to the photos of a capture, ms.
        capture_answer_ms: 1_000..=MAX_INTEGER,
        /// Photos of a capture.
        capture_frames: 1..=12,
        /// Time between two of them, ms.
        capture_frame_every_ms: FRAME_EVERY_MS,
        /// Photos of a capture that asks for a movement.
        challenge_frames: 8..=12,
        /// Time between two of them, ms.
        challenge_frame_every_ms: FRAME_EVERY_MS,
        /// How often the first capture asks for a movement, in thousandths.
        challenge_start_milli: SHARE,
        /// How often a capture after one that failed does, in thousandths.
        challenge_recheck_milli: SHARE,
        /// How often any other does, in thousandths.
        challenge_random_milli: SHARE,
        /// How often passive models look at the first capture, in thousandths.
        passive_start_milli: SHARE,
        /// How often they look at one after one that failed, in thousandths.
        passive_recheck_milli: SHARE,
        /// How alike two photos may be before they count as one that was altered, in thousandths; 1 000: not at all.
        same_picture_milli: 900..=1_000,
        /// How long the bytes of a photo may follow their commitment, ms.
        photo_follow_ms: SOME_MS,
        /// Earliest photo after a failed check, ms.
        recheck_min_ms: ANY_MS,
        /// Latest photo after a failed check, ms.
        recheck_max_ms: ANY_MS,
        /// Silence after which the session is closed, ms.
        silence_close_ms: 1_000..=MAX_INTEGER,
        /// How often a client reports, ms.
        heartbeat_ms: 100..=MAX_INTEGER,
        /// How long a session waits for its client to come back before it is regarded as gone, ms.
        disconnected_grace_ms: ANY_MS,
    }
}

/// Two keys and what they come to, where the first may not exceed the second.
pub(super) type Contradiction = (&'static str, i64, &'static str, i64);

impl Parameters {
    /// The first pair of keys that contradict each other.
    pub(super) fn contradiction(&self) -> Option<Contradiction> {
        let pairs = [
            ("photo_due_ms", self.photo_due_ms, "class_hour_ms", self.class_hour_ms),
            ("max_spoofs", self.max_spoofs, "face_window", self.face_window),
            ("face_window_failures", self.face_window_failures, "face_window", self.face_window),
        ];
        pairs.into_iter().find(|(_, small, _, large)| small > large)
    }
}

impl Schedule {
    /// The first pair of keys that contradict each other, given the parameters that the schedule serves.
    pub(super) fn contradiction(&self, parameters: &Parameters) -> Option<Contradiction> {
        let (gap, hour) = (parameters.prompt_max_gap_ms, parameters.class_hour_ms);
        let answered = self.prompt_max_ms.saturating_add(self.prompt_answer_ms);
        let burst_ms = (self.capture_frames - 1).saturating_mul(self.capture_frame_every_ms);
        let challenge_ms = (self.challenge_frames - 1).saturating_mul(self.challenge_frame_every_ms);
        let photographed = self.capture_max_ms.saturating_add(self.capture_answer_ms);
        let pairs = [
            ("schedule.prompt_min_ms", self.prompt_min_ms, "schedule.prompt_max_ms", self.prompt_max_ms),
            (
                "schedule.capture_start_min_ms",
                self.capture_start_min_ms,
                "schedule.capture_start_max_ms",
                self.capture_start_max_ms,
            ),
            ("schedule.capture_min_ms", self.capture_min_ms, "schedule.capture_max_ms", self.capture_max_ms),
            ("schedule.recheck_min_ms", self.recheck_min_ms, "schedule.recheck_max_ms", self.recheck_max_ms),
            // A learner reads what to do before they do it.
            (
                "schedule.capture_frames",
                burst_ms.saturating_mul(2),
                "schedule.capture_answer_ms",
                self.capture_answer_ms,
            ),
            (
                "schedule.challenge_frames",
                challenge_ms.saturating_mul(2),
                "schedule.capture_answer_ms",
                self.capture_answer_ms,
            ),
            // The latest prompt must be answered before the gap is too long, and the latest photo within its hour.
            ("schedule.prompt_max_ms", answered.saturating_add(1), "prompt_max_gap_ms", gap),
            ("schedule.pause_before_gap_ms", self.pause_before_gap_ms.saturating_add(1), "prompt_max_gap_ms", gap),
            ("schedule.control_first_ms", self.control_first_ms, "prompt_max_gap_ms", gap),
            ("schedule.capture_max_ms", photographed, "class_hour_ms", hour),
            ("schedule.capture_start_max_ms", self.capture_start_max_ms, "start_verify_ms", parameters.start_verify_ms),
            ("schedule.heartbeat_ms", self.heartbeat_ms, "gap_limit_ms", parameters.gap_limit_ms),
        ];
        pairs.into_iter().find(|(_, small, _, large)| small > large)
    }
}
