//! The rules: one file a rule, named as in docs/rules.md.
//!
//! A rule keeps what it must remember from event to event, is told what the session observed, and adds its findings.
//! It does not read events, map clocks or follow the player; that is [`crate::session`]. What a finding costs the
//! learner is the policy's decision ([`crate::policy`]), so a rule does not know whether it is ignored.

pub mod client_tamper;
pub mod clock_tamper;
pub mod content_unapproved;
pub mod course_order;
pub mod face_liveness;
pub mod face_passive;
pub mod face_unchecked;
pub mod face_unresolved;
pub mod fast_forward;
pub mod multi_window;
pub mod online_quota;
pub mod photo_missing;
pub mod platform_banned;
pub mod platform_suspended;
pub mod platform_unregistered;
pub mod practice_online;
pub mod project_unapproved;
pub mod prompt_gap;
pub mod revoked;
pub mod unfocused;

use serde::{Deserialize, Serialize};

use crate::log::{Facts, words};

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
        FacePassive = "face_passive",
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The class hour; 0 is the one that the learner's last session left unfinished.
    pub class_hour: i64,
}

/// What one event established.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The findings.
    pub listed: Vec<Finding>,
    /// Further `photo_missing` ones that no verdict would list.
    pub unlisted_photos: u64,
}

impl Findings {
    /// Adds a finding of a rule that has one cause only.
    pub fn add(&mut self, rule: Rule) {
        self.listed.push(Finding { rule, cause: None, detail: None });
    }

    /// Adds a finding with its cause.
    pub fn add_cause(&mut self, rule: Rule, cause: &str) {
        self.listed.push(Finding { rule, cause: Some(cause.to_owned()), detail: None });
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.unlisted_photos == 0
    }
}

/// The rules that only ask what held at the opening.
pub(crate) fn judge_opening(facts: &Facts, findings: &mut Findings) {
    platform_unregistered::opened(facts, findings);
    platform_suspended::opened(facts, findings);
    platform_banned::opened(facts, findings);
    project_unapproved::opened(facts, findings);
    content_unapproved::opened(facts, findings);
    course_order::opened(facts, findings);
    practice_online::opened(facts, findings);
}

/// What the rules remember from event to event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuleStates {
    pub fast_forward: fast_forward::FastForward,
    pub multi_window: multi_window::MultiWindow,
    pub unfocused: unfocused::Unfocused,
    pub prompt_gap: prompt_gap::PromptGap,
    pub face_liveness: face_liveness::FaceLiveness,
    pub face_unchecked: face_unchecked::FaceUnchecked,
    pub photo_missing: photo_missing::PhotoMissing,
    pub clock_tamper: clock_tamper::ClockTamper,
    pub client_tamper: client_tamper::ClientTamper,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Carried, Delivery, LessonKind, PlatformStatus};

    /// Facts of an opening that breaks no rule: 40 hours, blended, nothing used.
    pub(crate) fn good_facts() -> Facts {
        Facts {
            platform_status: PlatformStatus::Active,
            project_approved: true,
            content_approved: true,
            prior_lessons_complete: true,
            lesson_kind: LessonKind::Theory,
            delivery: Delivery::Blended,
            total_hours: 40,
            online_used_ms: 0,
            covered_before: Vec::new(),
            furthest_before_ms: None,
            carried: Carried::default(),
        }
    }

    /// The rules and causes found, as `rule` or `rule:cause`.
    pub(crate) fn names(findings: &Findings) -> Vec<String> {
        let name = |finding: &Finding| match &finding.cause {
            Some(cause) => format!("{}:{cause}", finding.rule),
            None => finding.rule.to_string(),
        };
        findings.listed.iter().map(name).collect()
    }

    #[test]
    fn good_facts_break_nothing() {
        let mut findings = Findings::default();
        judge_opening(&good_facts(), &mut findings);
        assert!(findings.is_empty());
    }
}
