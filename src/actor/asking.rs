//! Asks the learner what the schedule says is due, and lets pass what was not answered in time.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use serde::Serialize;

use super::live::Live;
use crate::gateway::wire::{Capture, PhotoHeader, Prompt, ServerMessage};
use crate::log::{CaptureExpired, CaptureReason, CaptureRequested, CloseReason, EventType, PromptOutcome};
use crate::schedule::question::Challenge;
use crate::schedule::{Asked, CaptureDue, Due, NotNow, Now, PauseReason, picture};
use crate::vision::{PHOTO_LIMIT_PIXELS, burst};

/// What the log says of a prompt: all that was shown, so that it can be looked at years later, but not the answer.
#[derive(Serialize)]
struct PromptIssued<'a> {
    prompt: &'a str,
    kind: &'static str,
    deadline_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<&'a [String]>,
    /// when it was not the schedule
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// The `reason` of a prompt that a supervisor asked for; that of a capture is the same word.
const BY_SUPERVISOR: &str = CaptureReason::Supervisor.as_str();

impl Live {
    pub(super) fn schedule_now(&self) -> Now {
        Now {
            at: self.now(),
            watch_ms: self.fold.watch_ms(),
            since_control_ms: self.fold.since_control_ms(),
            playing: self.fold.playing(),
            connected: self.connection.as_ref().is_some_and(|connection| connection.welcomed && !connection.refused),
            ready: self.ready,
        }
    }

    /// Brings prompts, captures and pauses up to date with the log and the clock.
    pub(super) fn keep_schedule(&mut self) {
        let at = self.now();
        self.expire(at);
        self.leave_if_quota_is_spent();
        if self.leaving.is_none() {
            while let Some(due) = self.schedule.due(&self.schedule_now()) {
                match due {
                    Due::Prompt(number) => self.issue_prompt(number, at, None),
                    Due::Capture(capture) => self.request_capture(capture, at),
                }
            }
        }
        // Who is there is asked once the wait is over, and need not say so again.
        self.ready &= self.schedule.prompts_wait_until(at).is_some();
        self.tell_pause();
    }

    fn expire(&mut self, at: i64) {
        if let Some(prompt) = self.schedule.open_prompt().map(|open| open.id.clone())
            && self.schedule.prompt_expires_at().is_some_and(|expires_at| at >= expires_at)
        {
            self.resolve(&prompt, PromptOutcome::Expired, at);
        }
        if let Some(capture) = self.schedule.pending_capture().map(|pending| pending.id.clone())
            && self.in_check.as_ref() != Some(&capture)
            && self.schedule.capture_expires_at().is_some_and(|expires_at| at >= expires_at)
        {
            self.expire_capture(&capture, at);
        }
    }

    pub(super) fn expire_capture(&mut self, capture: &str, at: i64) {
        self.record(at, EventType::CaptureExpired, &CaptureExpired { capture: capture.into() });
        self.tell(ServerMessage::CaptureClosed {
            capture: capture.to_owned(),
            outcome: "expired".into(),
            advice: None,
        });
    }

    /// A supervisor asks for something beside the schedule.
    pub(super) fn ask(&mut self, asked: Asked) -> Result<(), NotNow> {
        let at = self.now();
        self.expire(at);
        self.leave_if_quota_is_spent();
        if self.leaving.is_some() {
            return Err(NotNow::Ending);
        }
        match self.schedule.asked(&self.schedule_now(), asked)? {
            Due::Prompt(number) => self.issue_prompt(number, at, Some(BY_SUPERVISOR)),
            Due::Capture(capture) => self.request_capture(capture, at),
        }
        Ok(())
    }

    fn issue_prompt(&mut self, number: u64, at: i64, reason: Option<&'static str>) {
        let (prompt, challenge) = (format!("q{number}"), self.challenge(number));
        let deadline_at = at + self.policy.schedule.prompt_answer_ms;
        let (text, options) = match &challenge {
            Challenge::Choice { text, options, .. } => (Some(text.as_str()), Some(options.as_slice())),
            // A sum as text would be its answer, for whoever reads the log while it is open.
            Challenge::Sum { .. } => (None, None),
        };
        let kind = challenge.kind().as_str();
        let issued = PromptIssued { prompt: &prompt, kind, deadline_at, text, options, reason };
        self.record(at, EventType::PromptIssued, &issued);
        self.show_prompt(at);
    }

    fn request_capture(&mut self, due: CaptureDue, at: i64) {
        let capture = format!("c{}", due.number);
        let deadline_at = at + self.policy.schedule.capture_answer_ms;
        let CaptureDue { number: _, reason, frames, challenge } = due;
        let requested = CaptureRequested { capture: capture.into(), reason, deadline_at, frames, challenge };
        self.record(at, EventType::CaptureRequested, &requested);
        self.show_capture(at);
    }

    /// After a welcome: what is open is shown again.
    pub(super) fn ask_again(&mut self) {
        let at = self.now();
        self.show_prompt(at);
        self.show_capture(at);
    }

    fn show_prompt(&mut self, at: i64) {
        let Some(open) = self.schedule.open_prompt() else { return };
        let (prompt, number) = (open.id.clone(), open.number);
        let challenge = self.challenge(number);
        let kind = challenge.kind();
        let (text, options, picture) = match challenge {
            Challenge::Choice { text, options, .. } => (text, Some(options), None),
            Challenge::Sum { drawn, .. } => {
                let png = picture::draw(self.schedule.seed(), number, &drawn);
                ("请计算图中算式的结果".to_owned(), None, Some(BASE64.encode(png)))
            }
        };
        let answer_within_ms = self.schedule.prompt_expires_at().map_or(0, |expires_at| expires_at - at);
        self.tell(ServerMessage::Prompt(Prompt { prompt, kind, text, options, picture, answer_within_ms }));
    }

    fn show_capture(&mut self, at: i64) {
        let Some(pending) = self.schedule.pending_capture() else { return };
        // The photo has arrived, and its client may have forgotten it: there is nothing left to send.
        if self.in_check.as_ref() == Some(&pending.id) {
            return;
        }
        let left_ms = self.schedule.capture_expires_at().map_or(0, |expires_at| expires_at - at);
        let message = Capture {
            capture: pending.id.clone(),
            nonce: BASE64URL.encode(self.schedule.seed().nonce(&pending.id)),
            reason: pending.reason.as_str().into(),
            frames: pending.frames,
            frame_every_ms: pending.frame_every_ms(&self.policy.schedule),
            challenge: pending.challenge,
            commit_within_ms: left_ms,
            send_within_ms: if pending.committed.is_some() { left_ms } else { self.policy.schedule.photo_follow_ms },
            bytes_limit: self.submission_bytes_limit(pending.frames) as u64,
            pixels_limit: PHOTO_LIMIT_PIXELS,
            committed: pending.committed.clone(),
        };
        self.tell(ServerMessage::Capture(message));
    }

    /// Longest submission of so many photos: each of them at its limit, as far as a message holds them.
    pub(super) fn submission_bytes_limit(&self, frames: i64) -> usize {
        let limits = &self.services.limits;
        let frames = usize::try_from(frames).unwrap_or(1);
        let container_bytes = if frames > 1 { burst::HEAD_BYTES + burst::FRAME_HEAD_BYTES * frames } else { 0 };
        let room_bytes = limits.message_bytes_limit - PhotoHeader::LIMIT_BYTES;
        limits.photo_bytes_limit.saturating_mul(frames).saturating_add(container_bytes).min(room_bytes)
    }

    /// Why the player must stand still now, if it must.
    pub(super) fn pause(&self) -> Option<PauseReason> {
        let ends = self.leaving.as_ref().is_some_and(|leaving| leaving.reason == CloseReason::Quota);
        if ends { Some(PauseReason::Quota) } else { self.schedule.pause(&self.schedule_now()) }
    }

    fn tell_pause(&mut self) {
        if !self.schedule_now().connected {
            return;
        }
        let pause = self.pause();
        if pause != self.told_pause {
            self.told_pause = pause;
            self.tell(pause.map_or(ServerMessage::Play, |reason| ServerMessage::Pause { reason }));
        }
    }

    /// When something has to be done even if nobody says anything.
    pub(super) fn wake_at(&self) -> Option<i64> {
        // A session that is leaving already waits for what is pending, not for more silence.
        let silence_at = self.last_heard_at + self.policy.schedule.silence_close_ms;
        let silence_at = self.leaving.is_none().then_some(silence_at);
        let capture_at = if self.in_check.is_some() { None } else { self.schedule.capture_expires_at() };
        [self.schedule.prompt_expires_at(), self.schedule.prompts_wait_until(self.now()), capture_at, silence_at]
            .into_iter()
            .flatten()
            .min()
    }
}
