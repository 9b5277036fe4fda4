//! What a learner's session looks like while it runs: filled in at the desk, shown by the view, judged at the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::client::PlayerState;
use crate::demo::world::OpenedSession;
use crate::gateway::wire::{Closed, ErrorMessage};

/// Shared between a learner and whoever looks at them.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Seen>>);

/// What can be seen of a learner.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// what the player really shows, whatever is reported
    pub player: Option<PlayerState>,
    /// whether the connection was lost
    pub offline: bool,
    /// sessions begun
    pub sessions: Vec<OpenedSession>,
    /// photos taken
    pub photos: u32,
    /// of them, those that matched
    pub matches: u32,
    /// prompts shown
    pub prompts: u32,
    /// of them, those that were passed
    pub passed: u32,
    /// violations so far: `rule` or `rule/cause`, each once
    pub violations: Vec<String>,
    /// what the server would not accept
    pub errors: Vec<String>,
    /// sessions that have ended, as their learners were told
    pub closed: HashMap<String, Closed>,
    /// the learner has left
    pub left: bool,
}

impl Progress {
    /// How it stands now.
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// A session begins.
    pub fn sits_down(&self, session: OpenedSession) {
        self.lock().sessions.push(session);
    }

    /// The learner is through.
    pub fn leaves(&self) {
        let mut seen = self.lock();
        (seen.left, seen.player, seen.offline) = (true, None, false);
    }

    pub(super) fn at(&self, player: PlayerState, offline: bool) {
        let mut seen = self.lock();
        (seen.player, seen.offline) = (Some(player), offline);
    }

    pub(super) fn photo_taken(&self) {
        self.lock().photos += 1;
    }

    pub(super) fn capture_closed(&self, outcome: &str) {
        self.lock().matches += u32::from(outcome == "match");
    }

    pub(super) fn prompted(&self) {
        self.lock().prompts += 1;
    }

    pub(super) fn prompt_closed(&self, outcome: &str) {
        self.lock().passed += u32::from(outcome == "passed");
    }

    pub(super) fn warned(&self, rule: &str, cause: Option<&str>) {
        let name = named(rule, cause);
        let mut seen = self.lock();
        if !seen.violations.contains(&name) {
            seen.violations.push(name);
        }
    }

    pub(super) fn note_error(&self, error: &ErrorMessage) {
        tracing::debug!(code = %error.code, detail = error.detail, "the server refused something");
        self.failed(format_args!("{}: {}", error.code, error.detail));
    }

    pub(super) fn closed(&self, session: String, closed: Closed) {
        self.lock().closed.insert(session, closed);
    }

    pub(super) fn failed(&self, error: impl std::fmt::Display) {
        self.lock().errors.push(error.to_string());
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A rule with its cause, in one word.
pub fn named(rule: &str, cause: Option<&str>) -> String {
    cause.map_or_else(|| rule.to_owned(), |cause| format!("{rule}/{cause}"))
}
