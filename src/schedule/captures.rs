//! When a photo is due: soon after the start, then at random, and soon again after a check that failed.

use super::{Deadline, Now, PauseReason, Seed};
use crate::log::{CaptureReason, FaceOutcome};
use crate::policy::Schedule as Parameters;

/// A capture to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureDue {
    /// 1, 2, 3 …
    pub number: u64,
    /// why now
    pub reason: CaptureReason,
}

/// A capture that waits for its photo, or for the answer of the vision workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCapture {
    /// its identifier in the log
    pub id: String,
    /// why it was asked for
    pub reason: CaptureReason,
    /// SHA-256 hex of the photo that the client has committed to in time
    pub committed: Option<String>,
    deadline: Deadline,
}

impl PendingCapture {
    pub(super) fn expires_at(&self, connected: bool, parameters: &Parameters) -> i64 {
        self.deadline.expires_at(connected, parameters)
    }
}

pub(super) struct Captures {
    requested: u64,
    pending: Option<PendingCapture>,
    /// the next one is due at this watching time
    due_at_watch_ms: i64,
    next_reason: CaptureReason,
    /// it became due while the learner watched, and is asked for as soon as somebody is there
    owed: bool,
    /// the session opened with failed or missing checks: a face must be seen before it plays
    needed_first: bool,
}

impl Captures {
    pub(super) fn new(seed: &Seed, parameters: &Parameters, failed_before: bool) -> Self {
        let due_at_watch_ms =
            seed.between_ms("capture start", 0, parameters.capture_start_min_ms, parameters.capture_start_max_ms);
        Self {
            requested: 0,
            pending: None,
            due_at_watch_ms,
            next_reason: CaptureReason::Start,
            owed: false,
            needed_first: failed_before,
        }
    }

    pub(super) fn requested(&mut self, capture: &str, reason: CaptureReason, deadline_at: i64) {
        self.requested += 1;
        self.owed = false;
        let deadline = Deadline::new(deadline_at);
        self.pending = Some(PendingCapture { id: capture.to_owned(), reason, committed: None, deadline });
    }

    pub(super) fn committed(
        &mut self,
        capture: &str,
        sha256: &str,
        at: i64,
        connected: bool,
        parameters: &Parameters,
    ) -> bool {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.id == capture) else { return false };
        if pending.committed.is_some() || at > pending.expires_at(connected, parameters) {
            return false;
        }
        pending.committed = Some(sha256.to_owned());
        pending.deadline = Deadline::new(at + parameters.photo_follow_ms);
        true
    }

    pub(super) fn checked(
        &mut self,
        capture: &str,
        outcome: Option<FaceOutcome>,
        watch_ms: i64,
        seed: &Seed,
        parameters: &Parameters,
    ) {
        self.pending.take_if(|pending| pending.id == capture);
        let matched = outcome == Some(FaceOutcome::Match);
        // A check that the server could not make is not the learner's fault: it must not hold them up.
        if matched || outcome == Some(FaceOutcome::Error) {
            self.needed_first = false;
        }
        let (label, reason, min_ms, max_ms) = if matched {
            ("capture", CaptureReason::Random, parameters.capture_min_ms, parameters.capture_max_ms)
        } else {
            ("recheck", CaptureReason::Recheck, parameters.recheck_min_ms, parameters.recheck_max_ms)
        };
        self.next_reason = reason;
        self.due_at_watch_ms = watch_ms + seed.between_ms(label, self.requested, min_ms, max_ms);
    }

    /// Time was watched. A pause or a lost connection right behind it does not undo what it made due.
    pub(super) fn watched(&mut self, watch_ms: i64) {
        self.owed |= self.pending.is_none() && watch_ms >= self.due_at_watch_ms;
    }

    /// The server was away: what is pending gets its whole time again.
    pub(super) fn recovered(&mut self, at: i64, parameters: &Parameters) {
        if let Some(pending) = &mut self.pending {
            let answer_ms =
                if pending.committed.is_some() { parameters.photo_follow_ms } else { parameters.capture_answer_ms };
            pending.deadline = Deadline::new(at + answer_ms);
        }
    }

    pub(super) fn put_off(&mut self, at: i64, parameters: &Parameters) {
        if let Some(pending) = &mut self.pending {
            let answer_ms =
                if pending.committed.is_some() { parameters.photo_follow_ms } else { parameters.capture_answer_ms };
            pending.deadline.put_off(at, answer_ms, parameters.disconnected_grace_ms);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.requested
    }

    pub(super) fn pending(&self) -> Option<&PendingCapture> {
        self.pending.as_ref()
    }

    pub(super) fn needed_first(&self) -> bool {
        self.needed_first
    }

    pub(super) fn due(&self, now: &Now, pause: Option<PauseReason>) -> Option<CaptureDue> {
        if self.pending.is_some() {
            return None;
        }
        let at_the_opening = self.needed_first && self.requested == 0;
        let asked_back = now.ready && pause == Some(PauseReason::Capture);
        let while_playing = now.playing && now.watch_ms >= self.due_at_watch_ms;
        let due = CaptureDue { number: self.requested + 1, reason: self.next_reason };
        (at_the_opening || asked_back || while_playing || self.owed).then_some(due)
    }
}
