//! When the risk detectors speak (docs/risk.md): warnings for supervisors, never part of a verdict.

use std::ops::RangeInclusive;

use super::parameters::table;

/// A length of time that may also be none.
const ANY_MS: RangeInclusive<i64> = 0..=1_000_000_000_000;
/// How many of something; the most of it is never reached, and so switches a warning off.
const COUNT: RangeInclusive<i64> = 1..=1_000_000_000;
/// How many of something, or none.
const COUNT_OR_NONE: RangeInclusive<i64> = 0..=1_000_000_000;
/// Days over which something is counted: as long as sightings are kept.
const DAYS: RangeInclusive<i64> = 1..=30;
/// A share, in thousandths.
const SHARE: RangeInclusive<i64> = 0..=1000;

table! {
    /// The thresholds of docs/risk.md. A limit that is never reached switches its warning off.
    RiskThresholds {
        /// Learners on one device.
        device_learners: 2..=1_000_000_000,
        /// Days over which learners of a device are counted.
        device_window_days: DAYS,
        /// Minutes in which two learners play on one device.
        device_overlap_minutes: COUNT,
        /// Learners behind one address.
        address_learners: 2..=1_000_000_000,
        /// Days over which learners behind an address are counted.
        address_window_days: DAYS,
        /// Answers of one learner that are looked at together.
        answer_count: 8..=64,
        /// Their coefficient of variation must be lower than this to be a warning, thousandths; 0: never.
        answer_variation_milli: SHARE,
        /// A right answer in less time than this was not read, ms; 0: never.
        answer_fast_ms: ANY_MS,
        /// How many such answers among the last `answer_count`.
        answer_fast_count: COUNT,
        /// Heartbeats in a row at one interval, or in step with the position, to the millisecond.
        heartbeat_intervals: 60..=1_000_000_000,
        /// Sessions of a learner with such heartbeats from which on it is a warning.
        heartbeat_sessions: COUNT,
        /// Blocks of heartbeats that two learners have in common, to the millisecond.
        copied_blocks: COUNT,
        /// Two learners who start within this time start together, ms.
        step_window_ms: 0..=10_000,
        /// Days on which two learners start together; 33: never.
        step_days: 2..=33,
        /// The least share of the days on which both learn, thousandths.
        step_share_milli: SHARE,
        /// Starts in a row that are looked at for even spacing.
        step_starts: 8..=64,
        /// The coefficient of variation of their spacing must be lower than this, thousandths; 0: never.
        step_variation_milli: SHARE,
        /// Time in which a learner plays in two sessions, ms.
        two_places_ms: ANY_MS,
        /// Least learner-days for a platform to be compared, or to be compared with.
        platform_learner_days: 20..=1_000_000_000,
        /// Least platforms to be compared with.
        platform_peers: 1..=1_000_000,
        /// Least difference in standard errors, the peers' own spread included, thousandths.
        platform_z_milli: 1_000..=1_000_000,
        /// Least difference of the rates, thousandths.
        platform_difference_milli: SHARE,
        /// Days over which learner-days are counted.
        platform_window_days: DAYS,
        /// False hits a day that are allowed of searches within a class, thousandths; 0: it is not searched.
        face_class_false_hits_milli: COUNT_OR_NONE,
        /// The same within a platform.
        face_platform_false_hits_milli: COUNT_OR_NONE,
        /// The same among those who were seen on a device.
        face_device_false_hits_milli: COUNT_OR_NONE,
        /// The same among those who were seen behind an address.
        face_address_false_hits_milli: COUNT_OR_NONE,
        /// The same of a set that somebody chooses; 0: as strict as can be.
        face_chosen_false_hits_milli: COUNT_OR_NONE,
        /// Searches a day of each kind that thresholds are made for; where there are more, for as many as there are.
        face_searches_day: COUNT,
    }
}
