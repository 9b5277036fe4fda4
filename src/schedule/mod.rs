//! When the next prompt or capture is due, and what a prompt asks.
//!
//! Pure: the seed comes from outside, and everything else from the session's log. So the schedule survives a reload,
//! a reconnect and a restart of the server, and nobody without the seed can foresee it. It decides *that* something is
//! due; the session's owner makes the event, and the rules say what follows from it.

use rand::rngs::ChaCha12Rng;
use rand::{RngExt as _, SeedableRng as _};
use ring::hmac;
use serde::{Deserialize, Serialize};

mod captures;
pub mod picture;
mod prompts;
pub mod question;

pub use captures::{CaptureDue, PendingCapture};
pub use prompts::OpenPrompt;

use crate::log::{CaptureRequested, FaceOutcome, Movement, PromptOutcome};
use crate::policy::Schedule as Parameters;

/// The secret that makes one session's schedule unforeseeable.
#[derive(Clone)]
pub struct Seed(hmac::Key);

impl Seed {
    /// Takes 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The generator for the `number`th thing of kind `label`: always the same for the same seed.
    fn generator(&self, label: &str, number: u64) -> ChaCha12Rng {
        let tag = hmac::sign(&self.0, format!("{label} {number}").as_bytes());
        let mut seed = [0; 32];
        seed.copy_from_slice(tag.as_ref());
        ChaCha12Rng::from_seed(seed)
    }

    /// A moment between two limits, both included, in ms.
    fn between_ms(&self, label: &str, number: u64, min_ms: i64, max_ms: i64) -> i64 {
        self.generator(label, number).random_range(min_ms..=max_ms.max(min_ms))
    }

    /// Whether what happens `often_milli` times in a thousand happens this time.
    fn happens(&self, label: &str, number: u64, often_milli: i64) -> bool {
        self.generator(label, number).random_range(0..1_000) < often_milli
    }

    /// One movement of all, each as likely as the others, but not `other_than`.
    fn movement(&self, number: u64, other_than: Option<Movement>) -> Movement {
        let choices: Vec<Movement> =
            Movement::ALL.iter().copied().filter(|movement| Some(*movement) != other_than).collect();
        choices[self.generator("movement", number).random_range(0..choices.len())]
    }

    /// The one-time nonce of a capture.
    pub fn nonce(&self, capture: &str) -> [u8; 16] {
        let tag = hmac::sign(&self.0, format!("nonce {capture}").as_bytes());
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&tag.as_ref()[..16]);
        nonce
    }
}

/// What the schedule looks at besides its own state.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// server time, ms since the Unix epoch
    pub at: i64,
    /// time watched in this session
    pub watch_ms: i64,
    /// time watched since the last passed prompt, in this session and those before
    pub since_control_ms: i64,
    /// whether the player was playing at the last observation
    pub playing: bool,
    /// whether a welcomed client is there to be asked
    pub connected: bool,
    /// whether the client has just said that the learner is there
    pub ready: bool,
}

/// Why the player is to stand still until something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// a prompt must be passed first
    Prompt,
    /// too many wrong answers in a row: a prompt must be passed first
    WrongAnswers,
    /// a face must be seen first
    Capture,
    /// nothing that is watched now can be credited: the session ends
    Quota,
}

/// Something to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Issue the prompt with this number (1, 2, 3 …).
    Prompt(u64),
    /// Ask for a capture.
    Capture(CaptureDue),
}

/// What a supervisor may ask for beside the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A prompt.
    Prompt,
    /// A capture.
    Capture,
}

impl Asked {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Capture => "capture",
        }
    }

    /// What a word stands for, if it is one of these.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Prompt, Self::Capture].into_iter().find(|asked| asked.as_str() == word)
    }
}

/// Why the learner cannot be asked now. Nobody is to miss what they could not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NotNow {
    /// Nobody would see it.
    #[error("the learner's page is not connected now")]
    Away,
    /// Whoever has stopped the player may be out of the room.
    #[error("the player stands still")]
    Still,
    /// One at a time.
    #[error("the learner has not answered the one before yet")]
    Open,
    /// The session is about to close.
    #[error("the session is ending")]
    Ending,
}

/// The schedule of one session.
pub struct Schedule {
    seed: Seed,
    parameters: Parameters,
    prompt_max_gap_ms: i64,
    prompts: prompts::Prompts,
    captures: captures::Captures,
    connected: bool,
}

impl Schedule {
    /// The schedule of a session that opens with `since_control_ms` and `face_failures` carried from the one before.
    pub fn new(
        seed: Seed,
        parameters: Parameters,
        prompt_max_gap_ms: i64,
        since_control_ms: i64,
        face_failures: i64,
    ) -> Self {
        let near_limit = since_control_ms > prompt_max_gap_ms - parameters.control_first_ms;
        let prompts = prompts::Prompts::new(&seed, &parameters, near_limit);
        let captures = captures::Captures::new(&seed, &parameters, face_failures > 0);
        Self { seed, parameters, prompt_max_gap_ms, prompts, captures, connected: false }
    }

    /// The seed, from which nonces and questions come too.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// A client's connection was opened at `at`: what is open gets its time to answer once more.
    pub fn connection_opened(&mut self, at: i64) {
        self.connected = true;
        self.prompts.put_off(at, &self.parameters);
        self.captures.put_off(at, &self.parameters);
    }

    /// The client's connection is gone.
    pub fn connection_closed(&mut self) {
        self.connected = false;
    }

    /// The learner has watched: `watch_ms` in this session, `since_control_ms` since the last passed prompt.
    pub fn watched(&mut self, watch_ms: i64, since_control_ms: i64) {
        self.prompts.watched(since_control_ms);
        self.captures.watched(watch_ms);
    }

    /// The session is taken up again at `at`, after a time in which nobody could have answered.
    pub fn recovered(&mut self, at: i64) {
        self.prompts.recovered(at, &self.parameters);
        self.captures.recovered(at, &self.parameters);
    }

    /// Whether the log's last word on connections is that one is open.
    pub fn connected(&self) -> bool {
        self.connected
    }

    /// The log holds a `prompt.issued`.
    pub fn prompt_issued(&mut self, prompt: &str, deadline_at: i64) {
        self.prompts.issued(prompt, deadline_at);
    }

    /// The log holds a `prompt.resolved`, entered at `at`.
    pub fn prompt_resolved(&mut self, prompt: &str, outcome: PromptOutcome, at: i64) {
        self.prompts.resolved(prompt, outcome, at, &self.seed, &self.parameters);
    }

    /// The log holds a `capture.requested`, entered at `at`.
    pub fn capture_requested(&mut self, requested: &CaptureRequested<'_>, at: i64) {
        self.captures.requested(requested, at, &self.seed, &self.parameters);
    }

    /// The log holds a `capture.submitted`, accepted at `at`. Returns whether it counts: it is for the pending
    /// capture, the first one for it, and in time.
    pub fn committed(&mut self, capture: &str, sha256: &str, at: i64) -> bool {
        self.captures.committed(capture, sha256, at, self.connected, &self.parameters)
    }

    /// The log holds a `face.checked` or `capture.expired` at a watching time of `watch_ms`.
    pub fn checked(&mut self, capture: &str, outcome: Option<FaceOutcome>, watch_ms: i64) {
        self.captures.checked(capture, outcome, watch_ms, &self.seed, &self.parameters);
    }

    /// The open prompt, if there is one.
    pub fn open_prompt(&self) -> Option<&OpenPrompt> {
        self.prompts.open()
    }

    /// How many prompts were issued so far, and how many of them passed.
    pub fn prompts_so_far(&self) -> (i64, i64) {
        self.prompts.so_far()
    }

    /// The capture that waits for its answer, if there is one.
    pub fn pending_capture(&self) -> Option<&PendingCapture> {
        self.captures.pending()
    }

    /// How many captures were asked for so far: they are numbered from 1.
    pub fn captures_requested(&self) -> u64 {
        self.captures.count()
    }

    /// How often the prompt that is open, or comes next, is a sum rather than a choice, in thousandths. Of four options
    /// one guess in four is right, of sums hardly any: who has missed too many is asked for sums, where the pack has any.
    pub fn prompt_sum_milli(&self) -> i64 {
        match self.parameters.prompt_sum_milli {
            1.. if self.prompts.may_be_guessed(&self.parameters) => 1_000,
            as_always => as_always,
        }
    }

    /// The server time before which no prompt is issued because too many were missed, if that is after `at`.
    pub fn prompts_wait_until(&self, at: i64) -> Option<i64> {
        self.prompts.waits_until(at)
    }

    /// The server time at which the open prompt expires.
    pub fn prompt_expires_at(&self) -> Option<i64> {
        self.prompts.open().map(|open| open.deadline.expires_at(self.connected, &self.parameters))
    }

    /// The server time at which the pending capture expires, unless its photo has arrived by then.
    pub fn capture_expires_at(&self) -> Option<i64> {
        self.captures.pending().map(|pending| pending.expires_at(self.connected, &self.parameters))
    }

    /// Why the player must stand still now, if it must.
    pub fn pause(&self, now: &Now) -> Option<PauseReason> {
        if self.captures.needed_first() {
            return Some(PauseReason::Capture);
        }
        if self.prompts.wrong_in_a_row() >= self.parameters.prompt_wrong_limit {
            return Some(PauseReason::WrongAnswers);
        }
        let near_gap = now.since_control_ms >= self.prompt_max_gap_ms - self.parameters.pause_before_gap_ms;
        (near_gap || self.prompts.needed_first()).then_some(PauseReason::Prompt)
    }

    /// What is to be done now; ask again after it is done.
    pub fn due(&self, now: &Now) -> Option<Due> {
        if !now.connected {
            return None;
        }
        let pause = self.pause(now);
        if let Some(capture) = self.captures.due(now, pause, &self.seed, &self.parameters) {
            return Some(Due::Capture(capture));
        }
        self.prompts.due(now, pause).map(Due::Prompt)
    }

    /// What a supervisor asks for, to be done now. It counts as if it had come by itself: the next one follows from it.
    ///
    /// # Errors
    /// When the learner cannot be asked now.
    pub fn asked(&self, now: &Now, asked: Asked) -> Result<Due, NotNow> {
        if !now.connected {
            return Err(NotNow::Away);
        }
        if !now.playing {
            return Err(NotNow::Still);
        }
        let due = match asked {
            Asked::Prompt => self.prompts.asked().map(Due::Prompt),
            Asked::Capture => self.captures.asked(&self.seed, &self.parameters).map(Due::Capture),
        };
        due.ok_or(NotNow::Open)
    }
}

/// A deadline that a lost connection puts off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// as the log says
    first_at: i64,
    /// as it stands
    at: i64,
}

impl Deadline {
    fn new(at: i64) -> Self {
        Self { first_at: at, at }
    }

    /// The client is back at `at`: it has `answer_ms` from now, within the grace.
    fn put_off(&mut self, at: i64, answer_ms: i64, grace_ms: i64) {
        self.at = self.at.max((at + answer_ms).min(self.first_at + grace_ms));
    }

    /// When it has passed; while nobody is connected, only once the grace is over.
    fn expires_at(&self, connected: bool, parameters: &Parameters) -> i64 {
        if connected { self.at } else { self.at.max(self.first_at + parameters.disconnected_grace_ms) }
    }
}

#[cfg(test)]
mod tests;
