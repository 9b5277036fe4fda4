//! The seams between the REST API and what it sets in motion: live sessions, faces, encrypted photos.
//!
//! The API knows these traits only, so that its tests run without actors or models. Nothing is implemented here.

use futures_util::future::BoxFuture;

use crate::auth::keys::DataKey;
use crate::policy::NotInForce;
use crate::schedule::{Asked, NotNow};
use crate::store::StoreError;

/// A session that a platform asks for. Platform, project and lesson exist and belong together; the learner is
/// enrolled and has a photo, as far as could be seen before the door was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// the platform that asks
    pub platform: String,
    /// the learner's random identifier
    pub learner: String,
    /// the project
    pub project: String,
    /// a lesson of that project
    pub lesson: String,
    /// the make-up approval under which it is held
    pub makeup: Option<String>,
}

/// A session as it was opened; its first log line is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSession {
    /// the session's identifier
    pub session: String,
    /// how far into the lesson the learner may jump at once, ms of media
    pub furthest_before_ms: i64,
    /// online time that can still be credited in this project, ms; `None` when nothing limits it
    pub online_left_ms: Option<i64>,
}

/// Why a session was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenRefusal {
    /// The learner is not enrolled in the project.
    #[error("the learner is not enrolled in this project")]
    NotEnrolled,
    /// The learner has no enrolled photo.
    #[error("the learner has no enrolment photo")]
    NoPhoto,
    /// The project's policy pack judges nothing on this day.
    #[error("{0}")]
    PolicyNotInForce(NotInForce),
    /// Nothing that is watched now could still be credited.
    #[error("the online hours of this project are used up")]
    QuotaSpent {
        /// the clause of the quota
        clause: String,
    },
    /// The make-up is not one of this learner, project and lesson.
    #[error("this learner has no such make-up of this lesson")]
    NotTheMakeup,
    /// The learner has as many sessions open as one may.
    #[error("the learner has {open} sessions open already")]
    TooManyOpen {
        /// how many are open
        open: usize,
    },
    /// As many sessions are open as this server carries, or it is about to stop.
    #[error("no further session can be opened now")]
    Busy {
        /// when to try again, ms from now
        retry_after_ms: i64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a session ends by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// the learner left
    Left,
    /// the lesson is done
    Completed,
    /// the platform or a supervisor takes it back
    Revoked,
}

/// Why a session was not closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseRefusal {
    /// It was closed before.
    #[error("the session is already closed")]
    AlreadyClosed,
    /// The session's mailbox is full.
    #[error("the session has too much to do")]
    Busy {
        /// when to try again, ms from now
        retry_after_ms: i64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a learner was not asked.
#[derive(Debug, thiserror::Error)]
pub enum AskRefusal {
    /// The session was closed before.
    #[error("the session is already closed")]
    AlreadyClosed,
    /// They cannot be asked now.
    #[error(transparent)]
    NotNow(#[from] NotNow),
    /// The session has too much to do, or its node does not answer.
    #[error("the session cannot be reached now")]
    Busy {
        /// when to try again, ms from now
        retry_after_ms: i64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where sessions are opened, closed and read.
pub trait SessionDoor: Send + Sync {
    /// Opens a session; an older open one of this learner and project is closed as `superseded` first.
    fn open(&self, request: OpenSession) -> BoxFuture<'_, Result<OpenedSession, OpenRefusal>>;

    /// Closes a session; its verdict is on record when this returns.
    fn close(&self, session: String, reason: CloseReason) -> BoxFuture<'_, Result<(), CloseRefusal>>;

    /// Asks the learner of an open session for something beside the schedule; the log has it when this returns.
    fn ask(&self, session: String, asked: Asked) -> BoxFuture<'_, Result<(), AskRefusal>>;

    /// The log of a session as it stands: lines, byte for byte, each followed by a line feed.
    fn log(&self, session: String) -> BoxFuture<'_, Result<Vec<u8>, StoreError>>;

    /// The learner is forgotten: what is held of them in memory goes too. All their sessions are closed.
    fn forget(&self, learner: &str);
}

/// Why a photo was not accepted as an enrolment photo.
#[derive(Debug, thiserror::Error)]
pub enum FaceRefusal {
    /// It is no photo that a face can be known by; says in words what is wrong with it.
    #[error("{0}")]
    Unsuitable(String),
    /// It shows somebody else than the photo it would replace.
    #[error("the face is not that of the photo it would replace")]
    Mismatch,
    /// Too many photos wait.
    #[error("too many photos are being checked")]
    Busy {
        /// when to try again, ms from now
        retry_after_ms: i64,
    },
    /// The check itself failed; says how, for the log.
    #[error("the photo could not be checked: {0}")]
    Failed(String),
}

/// What an enrolment photo comes to. Both are opaque bytes here, to be sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolledFace {
    /// what later photos are compared with
    pub template: Vec<u8>,
    /// by what this photo is known again
    pub descriptor: Option<Vec<u8>>,
}

/// Where faces are enrolled.
pub trait FaceDoor: Send + Sync {
    /// Describes the face in `photo` (JPEG, PNG or WebP bytes); when there is an `old` template, it is of the same face.
    fn enrol(&self, photo: Vec<u8>, old: Option<Vec<u8>>) -> BoxFuture<'_, Result<EnrolledFace, FaceRefusal>>;
}

/// Where encrypted photos are kept.
pub trait PhotoVault: Send + Sync {
    /// Keeps `photo` encrypted with `key`; answers with what names it. Durable when it returns.
    fn put(&self, key: DataKey, photo: Vec<u8>) -> BoxFuture<'_, Result<String, VaultError>>;

    /// A photo that was kept under `key`.
    fn get(&self, key: DataKey, evidence: String) -> BoxFuture<'_, Result<Vec<u8>, VaultError>>;

    /// Removes a photo for good; one that is not there is removed already.
    fn remove(&self, evidence: String) -> BoxFuture<'_, Result<(), VaultError>>;
}

/// Why a photo could not be kept or removed.
#[derive(Debug, thiserror::Error)]
#[error("the photo could not be kept or removed: {why}")]
pub struct VaultError {
    /// says how, for the log
    pub why: String,
    /// whether the same may succeed later
    pub passing: bool,
}
