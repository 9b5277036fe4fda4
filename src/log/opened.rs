//! `session.opened`: what the session is, and the facts that hold when it starts.

use serde::{Deserialize, Serialize};

use super::record::read_record;
use super::words::{CheckOutcome, Delivery, LessonKind, PlatformStatus};

/// The data of `session.opened`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpened {
    /// The session's id.
    pub session: String,
    /// The platform on whose page it runs.
    pub platform: String,
    /// A random id, so that a learner can be forgotten.
    pub learner: String,
    /// The training project.
    pub project: String,
    /// The lesson.
    pub lesson: String,
    /// The pack, with its version, by which the session is judged live.
    pub policy: String,
    /// Length of the lesson, ms.
    pub duration_ms: i64,
    /// What holds at the opening.
    pub facts: Facts,
}
read_record!(SessionOpened, "data", { session, platform, learner, project, lesson, policy, duration_ms, facts });

/// What holds when a session is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// How the office regards the platform.
    pub platform_status: PlatformStatus,
    /// Whether the office approved the project.
    pub project_approved: bool,
    /// Whether the office approved the film.
    pub content_approved: bool,
    /// Whether the lessons before this one are complete.
    pub prior_lessons_complete: bool,
    /// Theory or practice.
    pub lesson_kind: LessonKind,
    /// With or without hours in a classroom.
    pub delivery: Delivery,
    /// Class hours of the whole project, online and offline.
    pub total_hours: i64,
    /// Online time already credited to this learner in this project, ms.
    pub online_used_ms: i64,
    /// Intervals of this lesson already credited by earlier sessions, ms: disjoint, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covered_before: Vec<(i64, i64)>,
    /// How far into the lesson the learner may jump, ms; when absent, the end of the last of `covered_before`, or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub furthest_before_ms: Option<i64>,
    /// What the learner's last session in this project left.
    #[serde(default)]
    pub carried: Carried,
}
read_record!(Facts, "data.facts", {
    platform_status, project_approved, content_approved, prior_lessons_complete, lesson_kind, delivery, total_hours,
    online_used_ms, covered_before = Vec::new(), furthest_before_ms = None, carried = Carried::default(),
});

/// Verdicts written before there were passive scores do not say that there are none.
fn is_none(count: &i64) -> bool {
    *count == 0
}

/// What one session leaves to the learner's next one in the same project (docs/rules.md, section 9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Carried {
    /// Watching time since the last passed prompt, ms.
    pub since_control_ms: i64,
    /// Watching time without a matching face, ms.
    pub unverified_ms: i64,
    /// How far the position has run ahead of the clock, ms.
    pub excess_ms: i64,
    /// Overlap with other sessions that has not been counted yet, ms.
    pub conflict_ms: i64,
    /// Failed checks in a row, and captures left pending.
    pub face_failures: i64,
    /// The outcomes of the last checks, oldest first.
    pub face_history: Vec<CheckOutcome>,
    /// Passive scores that were too few to be judged.
    #[serde(skip_serializing_if = "is_none")]
    pub passive_scores: i64,
    /// What they add up to, thousandths.
    #[serde(skip_serializing_if = "is_none")]
    pub passive_sum_milli: i64,
    /// Watching time in the unfinished class hour, ms.
    pub hour_watch_ms: i64,
    /// Whether that hour has its photo.
    pub hour_has_photo: bool,
}
read_record!(Carried, "data.facts.carried", {
    since_control_ms = 0, unverified_ms = 0, excess_ms = 0, conflict_ms = 0, face_failures = 0,
    face_history = Vec::new(), passive_scores = 0, passive_sum_milli = 0,
    hour_watch_ms = 0, hour_has_photo = false,
});
