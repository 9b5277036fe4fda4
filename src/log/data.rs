//! The `data` of each event type but `session.opened`, for reading and for writing.
//!
//! What the table of docs/rules.md (section 1) lists is here; further fields of a line stay in the log and are not
//! read.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::record::read_record;
use super::words::{CaptureReason, CloseReason, FaceOutcome, Movement, PlaybackEvent, PromptOutcome};

/// `connection.opened` and `clock.synced`: what the client's clock showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClockReading {
    /// The client's monotonic clock, ms.
    pub ct: i64,
}
read_record!(ClockReading, "data", { ct });

/// `connection.opened` as it is written. What it says of address and device is for the record and for risk findings
/// only, and is not read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionOpened<'a> {
    /// The client's monotonic clock, ms.
    pub ct: i64,
    /// Keyed digest of the network address, 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<&'a str>,
    /// Keyed digest of the device's own id, 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<&'a str>,
}

/// `capture.requested`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaptureRequested<'a> {
    /// The capture's id.
    pub capture: Cow<'a, str>,
    /// Why it was asked for.
    pub reason: CaptureReason,
    /// Server time by which the commitment must be there, ms.
    pub deadline_at: i64,
    /// How many photos were asked for; the fold does not care.
    pub frames: i64,
    /// A movement that they are to show; the fold does not care.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Movement>,
}
read_record!(CaptureRequested<'de>, "data", { capture, reason, deadline_at, frames = 1, challenge = None });

/// `face.checked`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaceChecked<'a> {
    /// The capture that was checked.
    pub capture: Cow<'a, str>,
    /// What was found.
    pub outcome: FaceOutcome,
    /// SHA-256 hex of the photo that is kept, if one is.
    pub photo: Option<Cow<'a, str>>,
    /// What passive models took the photos for: from 0, a person, to 1000, a print or a screen. None when none looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive_milli: Option<i64>,
    /// Scores, thresholds and digests, for the record: written, never read back.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}
read_record!(FaceChecked<'de>, "data", { capture, outcome, photo, passive_milli = None } + { extra: serde_json::Map::new() });

/// `capture.expired`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaptureExpired<'a> {
    /// The capture that nobody answered.
    pub capture: Cow<'a, str>,
}
read_record!(CaptureExpired<'de>, "data", { capture });

/// `prompt.issued`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromptIssued<'a> {
    /// The prompt's id.
    pub prompt: Cow<'a, str>,
    /// What kind of question it is; the fold does not care.
    pub kind: Cow<'a, str>,
    /// Server time by which it must be answered, ms.
    pub deadline_at: i64,
}
read_record!(PromptIssued<'de>, "data", { prompt, kind, deadline_at });

/// `prompt.resolved`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromptResolved<'a> {
    /// The prompt that ended.
    pub prompt: Cow<'a, str>,
    /// How it ended.
    pub outcome: PromptOutcome,
}
read_record!(PromptResolved<'de>, "data", { prompt, outcome });

/// `presence.conflict`: an interval in which this learner was playing in two sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PresenceConflict<'a> {
    /// The other session.
    pub with_session: Cow<'a, str>,
    /// The platform of the other session.
    pub with_platform: Cow<'a, str>,
    /// Start, server time, ms.
    pub from_at: i64,
    /// End, server time, ms.
    pub to_at: i64,
}
read_record!(PresenceConflict<'de>, "data", { with_session, with_platform, from_at, to_at });

/// `session.closed`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SessionClosed {
    /// Why.
    pub reason: CloseReason,
}
read_record!(SessionClosed, "data", { reason });

/// `heartbeat`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Heartbeat {
    /// Whether the player plays.
    pub playing: bool,
    /// Where it stands, ms of the lesson.
    pub pos_ms: i64,
    /// The playback rate it reports.
    pub rate: f64,
}
read_record!(Heartbeat, "data", { playing, pos_ms, rate });

/// `playback`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Playback {
    /// What the player did.
    pub event: PlaybackEvent,
    /// Whether it plays now.
    pub playing: bool,
    /// Where it stands now, ms of the lesson.
    pub pos_ms: i64,
    /// The playback rate it reports.
    pub rate: f64,
    /// Where a seek started, ms of the lesson; always there for `seek`, not read for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
}

/// As it is read: `from_ms` belongs to seeks only, and the word that says so may come after it.
struct PlaybackFields<'a> {
    event: PlaybackEvent,
    playing: bool,
    pos_ms: i64,
    rate: f64,
    from_ms: Option<&'a serde_json::value::RawValue>,
}
read_record!(PlaybackFields<'de>, "data", { event, playing, pos_ms, rate, from_ms = None });

impl<'de> super::record::Field<'de> for Option<&'de serde_json::value::RawValue> {
    fn read<D: serde::Deserializer<'de>>(deserializer: D, _: super::record::Place<'_>) -> Result<Self, D::Error> {
        serde::Deserialize::deserialize(deserializer).map(Some)
    }

    fn canonical(_: &'de str) -> Option<(Self, &'de str)> {
        None
    }
}

impl<'de> super::record::Field<'de> for Playback {
    fn read<D: serde::Deserializer<'de>>(deserializer: D, place: super::record::Place<'_>) -> Result<Self, D::Error> {
        let PlaybackFields { event, playing, pos_ms, rate, from_ms } = PlaybackFields::read(deserializer, place)?;
        let from_ms = if event == PlaybackEvent::Seek {
            place.set("data.from_ms");
            let raw = from_ms.ok_or_else(|| serde::de::Error::custom("is missing"))?;
            Some(i64::read(raw, place).map_err(serde::de::Error::custom)?)
        } else {
            None
        };
        Ok(Self { event, playing, pos_ms, rate, from_ms })
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        let (fields, rest) = PlaybackFields::canonical(text)?;
        let PlaybackFields { event, playing, pos_ms, rate, from_ms: _ } = fields;
        // Seeks are rare.
        (event != PlaybackEvent::Seek).then_some((Self { event, playing, pos_ms, rate, from_ms: None }, rest))
    }
}

/// `page`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Page {
    /// Whether the page can be seen.
    pub visible: bool,
    /// Whether it has the focus.
    pub focused: bool,
    /// Whether the player plays.
    pub playing: bool,
    /// Where it stands, ms of the lesson.
    pub pos_ms: i64,
    /// The playback rate it reports.
    pub rate: f64,
}
read_record!(Page, "data", { visible, focused, playing, pos_ms, rate });

/// `windows`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Windows {
    /// Player windows or tabs of this learner in this browser.
    pub count: i64,
}
read_record!(Windows, "data", { count });

/// `capture.submitted`: a commitment before the deadline; the bytes may follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CaptureSubmitted<'a> {
    /// The capture that it answers.
    pub capture: Cow<'a, str>,
    /// SHA-256 hex of the bytes as sent.
    pub sha256: Cow<'a, str>,
}
read_record!(CaptureSubmitted<'de>, "data", { capture, sha256 });

/// `prompt.answered`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PromptAnswered<'a> {
    /// The prompt that it answers.
    pub prompt: Cow<'a, str>,
    /// The answer as given.
    pub answer: Cow<'a, str>,
}
read_record!(PromptAnswered<'de>, "data", { prompt, answer });

/// `tamper`: the page noticed that somebody meddles with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tamper<'a> {
    /// With what, e.g. `playback_rate_overridden`.
    pub what: Cow<'a, str>,
}
read_record!(Tamper<'de>, "data", { what });

/// `gap`: events that the client could not keep. For the record only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Gap {
    /// How many.
    pub lost: i64,
    /// The client's clock at the first of them, ms.
    pub from_ct: i64,
    /// The client's clock at the last of them, ms.
    pub to_ct: i64,
}
read_record!(Gap, "data", { lost, from_ct, to_ct });

/// `consent`. For the record only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Consent<'a> {
    /// SHA-256 hex of the text that the learner agreed to.
    pub text_sha256: Cow<'a, str>,
    /// The language of that text.
    pub language: Cow<'a, str>,
}
read_record!(Consent<'de>, "data", { text_sha256, language });
