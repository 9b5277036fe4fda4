//! `multi_window`: the learner did something else meanwhile: another window, another session, a hidden page.
//!
//! Clause: 有…多窗口学习…视同培训无效 (宛技领办〔2022〕10号 20(3)).
//!
//! Causes: `hidden` (playing in a hidden page), `session` (playing in two sessions), `windows` (several player windows).

use serde::{Deserialize, Serialize};

use super::{Findings, Rule};
use crate::log::MAX_INTEGER;
use crate::policy::Parameters;
use crate::session::PageState;

/// Overlaps shorter than this are a change of device, not two sessions, ms.
const SHORTEST_CONFLICT_MS: i64 = 1_000;

/// What is remembered of other windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiWindow {
    hidden_play_ms: i64,
    hidden_counted: bool,
    windows_counted: bool,
    conflict_ms: i64,
    conflict_seen: bool,
    conflict_counted: bool,
}

impl MultiWindow {
    /// Starts with the overlap that the last session left.
    pub(crate) fn opened(conflict_ms: i64) -> Self {
        Self { conflict_ms, ..Self::default() }
    }

    /// What the next session starts with, ms: an overlap that nothing was added to is forgotten.
    pub(crate) fn carried_conflict_ms(&self) -> i64 {
        if self.conflict_seen { self.conflict_ms } else { 0 }
    }

    /// Judges a stretch that was played while the page was hidden.
    pub(crate) fn played_hidden(&mut self, dt_ms: i64, parameters: &Parameters, findings: &mut Findings) {
        self.hidden_play_ms += dt_ms;
        if self.hidden_play_ms > parameters.hidden_grace_ms && !self.hidden_counted {
            self.hidden_counted = true;
            findings.add_cause(Rule::MultiWindow, "hidden");
        }
    }

    /// The page changed: becoming visible ends the hidden episode.
    pub(crate) fn page_changed(&mut self, page: PageState) {
        if page.visible {
            self.hidden_play_ms = 0;
            self.hidden_counted = false;
        }
    }

    /// Judges the number of player windows.
    pub(crate) fn windows(&mut self, count: i64, findings: &mut Findings) {
        if count > 1 && !self.windows_counted {
            findings.add_cause(Rule::MultiWindow, "windows");
        }
        self.windows_counted = count > 1;
    }

    /// Judges an overlap with another session.
    pub(crate) fn conflict(&mut self, from_at: i64, to_at: i64, parameters: &Parameters, findings: &mut Findings) {
        let length_ms = to_at - from_at;
        if length_ms < SHORTEST_CONFLICT_MS {
            return;
        }
        // A log may report any number of conflicts; the sum must stay something that the next log can hold.
        self.conflict_ms = self.conflict_ms.saturating_add(length_ms).min(MAX_INTEGER);
        self.conflict_seen = true;
        if self.conflict_ms >= parameters.presence_tolerance_ms && !self.conflict_counted {
            self.conflict_counted = true;
            findings.add_cause(Rule::MultiWindow, "session");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::names;
    use super::*;
    use crate::policy::Policy;

    fn parameters() -> Parameters {
        Policy::default().parameters
    }

    #[test]
    fn ten_seconds_hidden_are_forgiven_in_each_episode() {
        let (mut rule, mut findings) = (MultiWindow::default(), Findings::default());
        rule.played_hidden(10_000, &parameters(), &mut findings);
        rule.page_changed(PageState { visible: false, focused: true });
        assert!(findings.is_empty());
        rule.played_hidden(1, &parameters(), &mut findings);
        rule.played_hidden(90_000, &parameters(), &mut findings);
        rule.page_changed(PageState { visible: true, focused: false });
        rule.played_hidden(10_001, &parameters(), &mut findings);
        assert_eq!(names(&findings), ["multi_window:hidden", "multi_window:hidden"]);
    }

    #[test]
    fn conflicts_add_up_over_sessions() {
        let (mut rule, mut findings) = (MultiWindow::opened(3_000), Findings::default());
        rule.conflict(0, 999, &parameters(), &mut findings);
        rule.conflict(9_000, 0, &parameters(), &mut findings);
        assert_eq!(rule.carried_conflict_ms(), 0);
        rule.conflict(0, 1_999, &parameters(), &mut findings);
        assert_eq!((rule.carried_conflict_ms(), findings.is_empty()), (4_999, true));
        rule.conflict(0, 1_000, &parameters(), &mut findings);
        rule.conflict(-MAX_INTEGER, MAX_INTEGER, &parameters(), &mut findings);
        assert_eq!(names(&findings), ["multi_window:session"]);
        assert_eq!(rule.carried_conflict_ms(), MAX_INTEGER);
    }

    #[test]
    fn windows_count_until_there_is_one_again() {
        let (mut rule, mut findings) = (MultiWindow::default(), Findings::default());
        [2, 3, 1, 2].iter().for_each(|&count| rule.windows(count, &mut findings));
        assert_eq!(names(&findings), ["multi_window:windows", "multi_window:windows"]);
    }
}
