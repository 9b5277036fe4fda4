//! The rules: one file a rule, named as in docs/rules.md.
//!
//! A rule keeps what it must remember from event to event, is told what the session observed, and adds its findings.
//! It does not read events, map clocks or follow the player; that is [`crate::session`]. What a finding costs the
//! learner is the policy's decision ([`crate::policy`]), so a rule does not know whether it is ignored.

use serde::{Deserialize, Serialize};

use crate::log::words;

words! {
    /// The rules, by the names that verdicts and packs use.
    Rule {
        FastForward = "fast_forward",
        MultiWindow = "multi_window",
        PromptGap = "prompt_gap",
        FaceLiveness = "face_liveness",
        CourseOrder = "course_order",
        PhotoMissing = "photo_missing",
        ContentUnapproved = "content_unapproved",
        PlatformUnregistered = "platform_unregistered",
        PlatformBanned = "platform_banned",
        PlatformSuspended = "platform_suspended",
        ProjectUnapproved = "project_unapproved",
        PracticeOnline = "practice_online",
        OnlineQuota = "online_quota",
        ClockTamper = "clock_tamper",
        ClientTamper = "client_tamper",
        Unfocused = "unfocused",
        FaceUnchecked = "face_unchecked",
        FaceUnresolved = "face_unresolved",
        Revoked = "revoked",
    }
}

/// What a rule found, before the policy has its say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule that was broken.
    pub rule: Rule,
    /// Which of its causes, for rules that have several.
    pub cause: Option<String>,
    /// Further particulars.
    pub detail: Option<Detail>,
}

/// Further particulars of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The class hour, counted from the one that the learner's last session left unfinished.
    pub class_hour: i64,
}
