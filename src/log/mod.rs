//! The session log: what its events are, how a line is read and how one is written.
//!
//! The log is the only truth about a session, so this module is strict: a line either has exactly the fields that
//! docs/rules.md (section 1) gives its type, or it is refused with the name of the field. It does not judge anything;
//! that is the work of [`crate::session`].

mod canonical;
mod data;
mod digest;
mod event;
mod opened;
mod order;
mod parse;
mod reader;
mod record;
mod words;
/// Composing log lines, byte for byte.
pub mod write;

pub use data::{
    CaptureExpired, CaptureRequested, CaptureSubmitted, ClockReading, ConnectionOpened, Consent, FaceChecked, Gap,
    Heartbeat, Page, Playback, PresenceConflict, PromptAnswered, PromptIssued, PromptResolved, SessionClosed, Tamper,
    Windows,
};
pub use digest::Digest;
pub use event::{Body, Event, Origin};
pub use opened::{Carried, Facts, SessionOpened};
pub use order::{Order, OrderError};
pub use parse::{parse_client_event, parse_line};
pub(crate) use reader::read_line;
pub use reader::{MAX_LINE_BYTES, Read, ReadError, Reader};
pub(crate) use words::words;
pub use words::{
    CaptureReason, CheckOutcome, CloseReason, Delivery, EventType, FaceOutcome, LessonKind, Movement, PlatformStatus,
    PlaybackEvent, PromptOutcome, Source,
};

/// The largest magnitude of an integer in a log, 2^53 − 1: what every JSON reader can hold without loss.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Why a line, or the data of a client's event, was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct LineError {
    /// The field at fault, with its path: `n`, `data.pos_ms`, `data.facts.carried.excess_ms`; `line` when the whole is.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl LineError {
    /// An error that says `problem` about `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}
