//! When a capture is due: soon after the start, then at random, and soon again after a check that failed. And what it
//! asks for: how many photos, and which movement, if any.

use std::ops::RangeInclusive;

use super::{Deadline, Now, PauseReason, Seed};
use crate::log::{CaptureReason, CaptureRequested, FaceOutcome, Movement};
use crate::policy::Schedule as Parameters;

/// A capture to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureDue {
    /// 1, 2, 3 …
    pub number: u64,
    /// why now
    pub reason: CaptureReason,
    /// how many photos
    pub frames: i64,
    /// a movement that they are to show
    pub challenge: Option<Movement>,
}

/// A capture that waits for its photos, or for the answer of the vision workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCapture {
    /// its identifier in the log
    pub id: String,
    /// why it was asked for
    pub reason: CaptureReason,
    /// how many photos were asked for
    pub frames: i64,
    /// the movement that they are to show
    pub challenge: Option<Movement>,
    /// whether passive models are to look too
    pub passive: bool,
    /// SHA-256 hex of the submission that the client has committed to in time
    pub committed: Option<String>,
    requested_at: i64,
    committed_at: i64,
    deadline: Deadline,
}

/// How far a page's clock may run ahead of ours while it takes photos, ms, besides a five hundredth of the time: browsers
/// round their clocks.
const CLOCK_SLACK_MS: i64 = 200;

impl PendingCapture {
    /// Time between two photos that was asked for, ms.
    pub fn frame_every_ms(&self, parameters: &Parameters) -> i64 {
        match self.challenge {
            Some(_) => parameters.challenge_frame_every_ms,
            None => parameters.capture_frame_every_ms,
        }
    }

    /// How long taking the photos that were committed to may have lasted, ms. Whoever is slow takes longer, but not
    /// longer than we have waited; much quicker than asked for shows no movement.
    pub fn span_ms(&self, parameters: &Parameters) -> RangeInclusive<i64> {
        let waited_ms = (self.committed_at - self.requested_at).max(0);
        let least_ms = (self.frames - 1) * self.frame_every_ms(parameters) / 2;
        least_ms..=waited_ms + waited_ms / 500 + CLOCK_SLACK_MS
    }

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
    /// a movement that was asked for and not done: the next capture asks for another
    undone: Option<Movement>,
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
            undone: None,
            owed: false,
            needed_first: failed_before,
        }
    }

    pub(super) fn requested(&mut self, asked: &CaptureRequested<'_>, at: i64, seed: &Seed, parameters: &Parameters) {
        self.requested += 1;
        self.owed = false;
        let passive_milli = match asked.reason {
            CaptureReason::Start => parameters.passive_start_milli,
            CaptureReason::Recheck | CaptureReason::Supervisor => parameters.passive_recheck_milli,
            CaptureReason::Random | CaptureReason::Challenge => 0,
        };
        self.pending = Some(PendingCapture {
            id: asked.capture.clone().into_owned(),
            reason: asked.reason,
            frames: asked.frames,
            challenge: asked.challenge,
            passive: seed.happens("passive", self.requested, passive_milli),
            committed: None,
            requested_at: at,
            committed_at: at,
            deadline: Deadline::new(asked.deadline_at),
        });
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
        pending.committed_at = at;
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
        let answered = self.pending.take_if(|pending| pending.id == capture);
        let matched = outcome == Some(FaceOutcome::Match);
        if matched {
            self.undone = None;
        } else if outcome != Some(FaceOutcome::Error)
            && let Some(challenge) = answered.and_then(|answered| answered.challenge)
        {
            self.undone = Some(challenge);
        }
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

    pub(super) fn due(
        &self,
        now: &Now,
        pause: Option<PauseReason>,
        seed: &Seed,
        parameters: &Parameters,
    ) -> Option<CaptureDue> {
        if self.pending.is_some() {
            return None;
        }
        let at_the_opening = self.needed_first && self.requested == 0;
        let asked_back = now.ready && pause == Some(PauseReason::Capture);
        let while_playing = now.playing && now.watch_ms >= self.due_at_watch_ms;
        let due = at_the_opening || asked_back || while_playing || self.owed;
        due.then(|| self.next(self.next_reason, seed, parameters))
    }

    /// What is asked for beside the schedule, unless a capture is pending.
    pub(super) fn asked(&self, seed: &Seed, parameters: &Parameters) -> Option<CaptureDue> {
        self.pending.is_none().then(|| self.next(CaptureReason::Supervisor, seed, parameters))
    }

    /// What the next one asks for: nobody without the seed can foresee it.
    fn next(&self, reason: CaptureReason, seed: &Seed, parameters: &Parameters) -> CaptureDue {
        let number = self.requested + 1;
        let challenge_milli = match (self.undone, reason) {
            (Some(_), _) => 1_000,
            (None, CaptureReason::Start) => parameters.challenge_start_milli,
            // A supervisor asks because of a doubt, as a check that failed leaves one.
            (None, CaptureReason::Recheck | CaptureReason::Supervisor) => parameters.challenge_recheck_milli,
            (None, _) => parameters.challenge_random_milli,
        };
        let challenged = seed.happens("challenge", number, challenge_milli);
        let challenge = challenged.then(|| seed.movement(number, self.undone));
        let frames = if challenged { parameters.challenge_frames } else { parameters.capture_frames };
        CaptureDue { number, reason, frames, challenge }
    }
}
