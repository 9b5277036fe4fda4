//! One event of a session log.

use super::data::*;
use super::opened::SessionOpened;
use super::words::EventType;

/// One line of a log, read. Strings are borrowed from the line where JSON allows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Log number: 1, 2, 3 …
    pub n: u64,
    /// Server time of acceptance, ms since the Unix epoch.
    pub at: i64,
    /// Who made it.
    pub origin: Origin,
    /// What happened.
    pub body: Body<'a>,
}

/// Who made an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The engine itself.
    Server,
    /// The learner's page.
    Client {
        /// The client's own number. The fold does not use it; a negative one reads as 0.
        seq: u64,
        /// The client's monotonic clock, ms; its zero is arbitrary.
        ct: i64,
    },
}

/// What happened, by type.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// `session.opened`
    SessionOpened(Box<SessionOpened>),
    /// `connection.opened`
    ConnectionOpened(ClockReading),
    /// `clock.synced`
    ClockSynced(ClockReading),
    /// `connection.closed`
    ConnectionClosed,
    /// `capture.requested`
    CaptureRequested(CaptureRequested<'a>),
    /// `face.checked`
    FaceChecked(FaceChecked<'a>),
    /// `capture.expired`
    CaptureExpired(CaptureExpired<'a>),
    /// `prompt.issued`
    PromptIssued(PromptIssued<'a>),
    /// `prompt.resolved`
    PromptResolved(PromptResolved<'a>),
    /// `presence.conflict`
    PresenceConflict(PresenceConflict<'a>),
    /// `session.closed`
    SessionClosed(SessionClosed),
    /// `heartbeat`
    Heartbeat(Heartbeat),
    /// `playback`
    Playback(Playback),
    /// `page`
    Page(Page),
    /// `windows`
    Windows(Windows),
    /// `capture.submitted`
    CaptureSubmitted(CaptureSubmitted<'a>),
    /// `prompt.answered`
    PromptAnswered(PromptAnswered<'a>),
    /// `tamper`
    Tamper(Tamper<'a>),
    /// `gap`
    Gap(Gap),
    /// `consent`
    Consent(Consent<'a>),
    /// A type that this version does not know: kept in the log, ignored by the fold.
    Unknown,
}

impl Body<'_> {
    /// The event's type, if it is a known one.
    pub fn event_type(&self) -> Option<EventType> {
        Some(match self {
            Self::SessionOpened(_) => EventType::SessionOpened,
            Self::ConnectionOpened(_) => EventType::ConnectionOpened,
            Self::ClockSynced(_) => EventType::ClockSynced,
            Self::ConnectionClosed => EventType::ConnectionClosed,
            Self::CaptureRequested(_) => EventType::CaptureRequested,
            Self::FaceChecked(_) => EventType::FaceChecked,
            Self::CaptureExpired(_) => EventType::CaptureExpired,
            Self::PromptIssued(_) => EventType::PromptIssued,
            Self::PromptResolved(_) => EventType::PromptResolved,
            Self::PresenceConflict(_) => EventType::PresenceConflict,
            Self::SessionClosed(_) => EventType::SessionClosed,
            Self::Heartbeat(_) => EventType::Heartbeat,
            Self::Playback(_) => EventType::Playback,
            Self::Page(_) => EventType::Page,
            Self::Windows(_) => EventType::Windows,
            Self::CaptureSubmitted(_) => EventType::CaptureSubmitted,
            Self::PromptAnswered(_) => EventType::PromptAnswered,
            Self::Tamper(_) => EventType::Tamper,
            Self::Gap(_) => EventType::Gap,
            Self::Consent(_) => EventType::Consent,
            Self::Unknown => return None,
        })
    }
}
