//! When a prompt is due: at a random moment of watching time after the last passed one, and at once after a miss; but
//! after too many misses in a row only after a wait, so that guessing does not pay.

use super::{Deadline, Now, PauseReason, Seed};
use crate::log::PromptOutcome;
use crate::policy::Schedule as Parameters;

/// How long the next prompt waits once `prompt_wrong_limit` in a row were missed, ms; after each further miss twice as
/// long. Who is there and mistakes one or two never waits. Who guesses has no more tries than fit into the doubling.
const RETRY_MS: i64 = 30_000;
/// The longest wait, ms: six tries an hour.
const RETRY_LIMIT_MS: i64 = 600_000;

/// A prompt that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPrompt {
    /// its identifier in the log
    pub id: String,
    /// 1, 2, 3 …: what it asks follows from this number and the seed
    pub number: u64,
    pub(super) deadline: Deadline,
}

pub(super) struct Prompts {
    issued: u64,
    passed: u64,
    open: Option<OpenPrompt>,
    /// answered wrong or not at all since the last passed one
    missed_in_a_row: i64,
    wrong_in_a_row: i64,
    /// no prompt is issued before this server time
    retry_at: i64,
    /// so much watching time after the last passed prompt, the next is due
    due_ms: i64,
    /// it became due while the learner watched, and is asked for as soon as somebody is there
    owed: bool,
    /// the session opened too near the limit to play before a prompt was passed
    needed_first: bool,
}

impl Prompts {
    pub(super) fn new(seed: &Seed, parameters: &Parameters, near_limit: bool) -> Self {
        let due_ms = draw(seed, parameters, 0);
        Self {
            issued: 0,
            passed: 0,
            open: None,
            missed_in_a_row: 0,
            wrong_in_a_row: 0,
            retry_at: 0,
            due_ms,
            owed: false,
            needed_first: near_limit,
        }
    }

    pub(super) fn issued(&mut self, prompt: &str, deadline_at: i64) {
        self.issued += 1;
        self.owed = false;
        self.open =
            Some(OpenPrompt { id: prompt.to_owned(), number: self.issued, deadline: Deadline::new(deadline_at) });
    }

    pub(super) fn resolved(
        &mut self,
        prompt: &str,
        outcome: PromptOutcome,
        at: i64,
        seed: &Seed,
        parameters: &Parameters,
    ) {
        if self.open.take_if(|open| open.id == prompt).is_none() {
            return;
        }
        self.missed_in_a_row += 1;
        self.retry_at = at + self.wait_ms(parameters);
        match outcome {
            PromptOutcome::Passed => {
                self.passed += 1;
                (self.missed_in_a_row, self.wrong_in_a_row, self.retry_at) = (0, 0, 0);
                self.owed = false;
                self.needed_first = false;
                self.due_ms = draw(seed, parameters, self.passed);
            }
            PromptOutcome::Failed => self.wrong_in_a_row += 1,
            PromptOutcome::Expired => {}
        }
    }

    /// How long the next prompt waits after the last miss, ms.
    fn wait_ms(&self, parameters: &Parameters) -> i64 {
        match self.missed_in_a_row - parameters.prompt_wrong_limit {
            ..0 => 0,
            further => RETRY_LIMIT_MS.min(RETRY_MS << further.min(10)),
        }
    }

    /// Too many were missed in a row: whoever answers may be guessing.
    pub(super) fn may_be_guessed(&self, parameters: &Parameters) -> bool {
        self.missed_in_a_row >= parameters.prompt_wrong_limit
    }

    /// Until when no prompt is issued, if that is after `at`.
    pub(super) fn waits_until(&self, at: i64) -> Option<i64> {
        (self.open.is_none() && self.retry_at > at).then_some(self.retry_at)
    }

    /// Time was watched. A pause or a lost connection right behind it does not undo what it made due.
    pub(super) fn watched(&mut self, since_control_ms: i64) {
        self.owed |= self.open.is_none() && self.is_past(since_control_ms);
    }

    fn is_past(&self, since_control_ms: i64) -> bool {
        self.missed_in_a_row > 0 || since_control_ms >= self.due_ms
    }

    /// The server was away: what is open gets its whole time again.
    pub(super) fn recovered(&mut self, at: i64, parameters: &Parameters) {
        if let Some(open) = &mut self.open {
            open.deadline = Deadline::new(at + parameters.prompt_answer_ms);
        }
    }

    pub(super) fn put_off(&mut self, at: i64, parameters: &Parameters) {
        if let Some(open) = &mut self.open {
            open.deadline.put_off(at, parameters.prompt_answer_ms, parameters.disconnected_grace_ms);
        }
    }

    /// Issued, and passed.
    pub(super) fn so_far(&self) -> (i64, i64) {
        (self.issued as i64, self.passed as i64)
    }

    pub(super) fn open(&self) -> Option<&OpenPrompt> {
        self.open.as_ref()
    }

    pub(super) fn wrong_in_a_row(&self) -> i64 {
        self.wrong_in_a_row
    }

    pub(super) fn needed_first(&self) -> bool {
        self.needed_first
    }

    /// The number of the prompt that is asked for beside the schedule, unless one is open. The wait after misses keeps
    /// from guessing; who asks by hand looks on.
    pub(super) fn asked(&self) -> Option<u64> {
        self.open.is_none().then_some(self.issued + 1)
    }

    /// The number of the prompt to issue now.
    pub(super) fn due(&self, now: &Now, pause: Option<PauseReason>) -> Option<u64> {
        if self.open.is_some() || self.retry_at > now.at {
            return None;
        }
        let pause_asks_for_one = matches!(pause, Some(PauseReason::Prompt | PauseReason::WrongAnswers));
        let at_the_opening = self.needed_first && self.issued == 0;
        let asked_back = now.ready && pause_asks_for_one;
        let while_playing = now.playing && self.is_past(now.since_control_ms);
        (at_the_opening || asked_back || while_playing || self.owed).then_some(self.issued + 1)
    }
}

fn draw(seed: &Seed, parameters: &Parameters, passed: u64) -> i64 {
    seed.between_ms("prompt due", passed, parameters.prompt_min_ms, parameters.prompt_max_ms)
}
