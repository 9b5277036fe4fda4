//! Warnings for supervisors beyond single sessions (福建八条措施 七: 设置风控预警功能).
//!
//! Pure, as the fold is: no clock, no I/O, integers only. Each live session watches its own events with
//! [`SessionSigns`] and tells what matters to others as an [`Observation`], a few a minute; one [`Engine`] puts those of
//! all sessions together and gives [`Finding`]s. Its state is bounded: tables forget what they have not seen for longest.
//! None of this reaches a verdict. What each detector rests on, and what it cannot find, is in docs/risk.md.

mod answers;
mod beats;
mod engine;
mod explain;
mod places;
mod platforms;
mod recent;
mod shared;
mod shared_text;
mod signs;
pub mod simulation;
mod statistics;
mod steps;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use engine::Engine;
pub use explain::{CLAUSE_SOURCE, CLAUSE_TEXT, Explanation, explain};
pub use signs::SessionSigns;

use crate::log::words;
use crate::policy::Policy;
use crate::rules::Rule;

/// Days for which sightings are of use.
pub const KEPT_DAYS: i64 = 30;

words! {
    /// What a finding is about.
    Kind {
        SharedDevice = "shared_device",
        SharedAddress = "shared_address",
        AnswerTimes = "answer_times",
        HeartbeatTimes = "heartbeat_times",
        StartsInStep = "starts_in_step",
        TwoPlaces = "two_places",
        PlatformRate = "platform_rate",
        SharedFace = "shared_face",
    }

    /// What was found; it stands for the texts of [`explain`].
    Code {
        DeviceLearners = "device_learners",
        DeviceAtOnce = "device_at_once",
        AddressLearners = "address_learners",
        AnswersRegular = "answers_regular",
        AnswersFast = "answers_fast",
        HeartbeatsRegular = "heartbeats_regular",
        PositionLocked = "position_locked",
        HeartbeatsCopied = "heartbeats_copied",
        StartsTogether = "starts_together",
        StartsEven = "starts_even",
        PlayingTwice = "playing_twice",
        RateHigh = "rate_high",
        RateLow = "rate_low",
        FaceLearners = "face_learners",
        FacesOfLearner = "faces_of_learner",
    }

    /// How much a finding weighs.
    Severity {
        Low = "low",
        Medium = "medium",
        High = "high",
    }

    /// What a supervisor made of a finding.
    State {
        Open = "open",
        Acknowledged = "acknowledged",
        Dismissed = "dismissed",
        Confirmed = "confirmed",
    }

    /// What a sighting is of.
    SightingKind {
        Device = "device",
        Address = "address",
        Start = "start",
        Verdict = "verdict",
    }
}

impl Code {
    /// What it is about.
    pub fn kind(self) -> Kind {
        match self {
            Self::DeviceLearners | Self::DeviceAtOnce => Kind::SharedDevice,
            Self::AddressLearners => Kind::SharedAddress,
            Self::AnswersRegular | Self::AnswersFast => Kind::AnswerTimes,
            Self::HeartbeatsRegular | Self::PositionLocked | Self::HeartbeatsCopied => Kind::HeartbeatTimes,
            Self::StartsTogether | Self::StartsEven => Kind::StartsInStep,
            Self::PlayingTwice => Kind::TwoPlaces,
            Self::RateHigh | Self::RateLow => Kind::PlatformRate,
            Self::FaceLearners | Self::FacesOfLearner => Kind::SharedFace,
        }
    }
}

/// Whose session it is.
#[derive(Clone, Debug)]
pub struct Who {
    /// the session
    pub session: Arc<str>,
    /// its learner
    pub learner: Arc<str>,
    /// its platform
    pub platform: Arc<str>,
    /// the pack that it is judged by, with the thresholds
    pub policy: Arc<Policy>,
}

/// Something that a session tells.
#[derive(Clone, Debug)]
pub struct Observation {
    /// whose session
    pub who: Arc<Who>,
    /// server time, ms since the Unix epoch
    pub at: i64,
    /// what
    pub sign: Sign,
}

/// What a session tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// A client has connected. `address` and `device` are keyed digests; see docs/risk.md.
    Connected {
        /// where from
        #[serde(with = "shared_text::optional")]
        address: Option<Arc<str>>,
        /// on what
        #[serde(with = "shared_text::optional")]
        device: Option<Arc<str>>,
        /// whether it is the session's first connection
        first: bool,
    },
    /// A photo matched the enrolled face.
    FaceMatched {
        /// where from
        #[serde(with = "shared_text::optional")]
        address: Option<Arc<str>>,
        /// on what
        #[serde(with = "shared_text::optional")]
        device: Option<Arc<str>>,
    },
    /// It has been playing; told once a minute at most.
    Playing {
        /// on what
        #[serde(with = "shared_text::optional")]
        device: Option<Arc<str>>,
    },
    /// A prompt was answered.
    Answered {
        /// server time from the question to the answer, ms
        after_ms: i64,
        /// whether it was right
        passed: bool,
    },
    /// So many heartbeats in a row came at exactly this interval of the client's clock.
    EvenBeats {
        /// how many
        intervals: i64,
        /// the interval, ms
        interval_ms: i64,
    },
    /// Over so many heartbeats in a row the position followed the client's clock to the millisecond.
    LockedPosition {
        /// how many
        intervals: i64,
    },
    /// The digest of a block of heartbeat intervals that says something.
    Block {
        /// which block of the session, 0, 1, 2 …
        number: u32,
        /// of its intervals
        digest: u64,
    },
    /// The learner was playing in another session too.
    Conflict {
        /// the other session
        #[serde(with = "shared_text")]
        with_session: Arc<str>,
        /// its platform
        #[serde(with = "shared_text")]
        with_platform: Arc<str>,
        /// how long, ms
        overlap_ms: i64,
    },
    /// The session was closed and judged.
    Closed {
        /// whether it is invalid for what was done in it, rather than for what the office had not approved
        faulty: bool,
    },
}

/// A fact that is kept over restarts: once a day for a learner and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// of what
    pub kind: SightingKind,
    /// the digest of a device or address, or the platform
    pub value: Arc<str>,
    /// the learner
    pub learner: Arc<str>,
    /// see [`day_of`]
    pub day: i64,
    /// server time of the first that day, ms since the Unix epoch
    pub at: i64,
    /// of a verdict: whether one was [faulty](Sign::Closed)
    pub faulty: bool,
}

/// How much evidence there is: what it takes to open a dismissed finding again is measured by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// In all, as seen now.
    InAll(i64),
    /// One more time.
    OnceMore,
}

/// Something that a supervisor should look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// what
    pub code: Code,
    /// about whom: with the code, what makes two findings the same
    pub subject: String,
    /// how much it weighs
    pub severity: Severity,
    /// server time, ms since the Unix epoch
    pub at: i64,
    /// platforms concerned
    pub platforms: Vec<Arc<str>>,
    /// learners concerned
    pub learners: Vec<Arc<str>>,
    /// sessions concerned
    pub sessions: Vec<Arc<str>>,
    /// numbers, thresholds, and the pack that they are of
    pub evidence: Map<String, Value>,
    /// how much of it there is
    pub strength: Strength,
}

impl Finding {
    /// A finding about the session that tipped it; `numbers` must be an object.
    fn of(code: Code, subject: String, severity: Severity, observation: &Observation, numbers: Value) -> Self {
        let who = &observation.who;
        let mut evidence = match numbers {
            Value::Object(numbers) => numbers,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        evidence.insert("policy".to_owned(), who.policy.label().into());
        Self {
            code,
            subject,
            severity,
            at: observation.at,
            platforms: vec![who.platform.clone()],
            learners: vec![who.learner.clone()],
            sessions: vec![who.session.clone()],
            evidence,
            strength: Strength::OnceMore,
        }
    }
}

/// That a learner's enrolled face should be searched among those who were seen on the same device, or behind the same
/// address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaceSearch {
    /// a device or an address
    pub kind: SightingKind,
    /// its digest
    pub value: Arc<str>,
    /// the learner
    pub learner: Arc<str>,
    /// server time, ms since the Unix epoch
    pub at: i64,
}

/// What observations lead to.
#[derive(Debug, Default)]
pub struct Effects {
    /// to be shown
    pub findings: Vec<Finding>,
    /// to be kept
    pub sightings: Vec<Sighting>,
    /// to be searched
    pub searches: Vec<FaceSearch>,
}

/// The day of a moment in China, counted from the Unix epoch.
pub fn day_of(at: i64) -> i64 {
    const ZONE_MS: i64 = 8 * 3_600_000;
    (at + ZONE_MS).div_euclid(86_400_000)
}

/// Whether breaking `rule` is something done in the session. The other rules say what an office has not approved, or
/// that hours are spent: a platform's rate of those says nothing about how its learners learn.
pub fn is_conduct(rule: Rule) -> bool {
    match rule {
        Rule::FastForward | Rule::MultiWindow | Rule::PromptGap | Rule::FaceLiveness | Rule::PhotoMissing => true,
        Rule::ClockTamper
        | Rule::ClientTamper
        | Rule::Unfocused
        | Rule::FaceUnchecked
        | Rule::FaceUnresolved
        | Rule::FacePassive => true,
        Rule::CourseOrder
        | Rule::ContentUnapproved
        | Rule::PlatformUnregistered
        | Rule::PlatformBanned
        | Rule::PlatformSuspended
        | Rule::ProjectUnapproved
        | Rule::PracticeOnline
        | Rule::OnlineQuota
        | Rule::Revoked => false,
    }
}
