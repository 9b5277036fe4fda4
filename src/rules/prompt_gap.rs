//! `prompt_gap`: too much watching without a passed prompt.
//!
//! Clause: 有…连续5分钟内无弹窗管控…视同培训无效 (宛技领办〔2022〕10号 20(3)).
//!
//! A prompt that nobody answers controls nothing, so it must be passed, not merely shown.

use serde::{Deserialize, Serialize};

use super::{Findings, Rule};
use crate::log::PromptOutcome;
use crate::policy::Parameters;
use crate::session::Id;

/// How many open prompts are remembered; a server has one open at a time. Further ones do not count as open.
const MAX_OPEN: usize = 1024;

/// What is remembered of the prompts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptGap {
    since_control_ms: i64,
    open: Vec<Id>,
    counted: bool,
}

impl PromptGap {
    /// Starts with the watching time that the last session left.
    pub(crate) fn opened(since_control_ms: i64) -> Self {
        Self { since_control_ms, ..Self::default() }
    }

    /// Watching time since the last passed prompt, ms.
    pub fn since_control_ms(&self) -> i64 {
        self.since_control_ms
    }

    /// The ids of the open prompts, oldest first.
    pub fn open_prompts(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(Id::as_str)
    }

    /// A prompt was issued.
    pub(crate) fn issued(&mut self, prompt: &str) {
        if self.open.len() < MAX_OPEN && !self.open.iter().any(|open| open.is(prompt)) {
            self.open.push(Id::of(prompt));
        }
    }

    /// Judges how a prompt ended; one that is not open is ignored.
    pub(crate) fn resolved(
        &mut self,
        prompt: &str,
        outcome: PromptOutcome,
        parameters: &Parameters,
        findings: &mut Findings,
    ) {
        let Some(place) = self.open.iter().position(|open| open.is(prompt)) else {
            return;
        };
        self.open.remove(place);
        if outcome == PromptOutcome::Passed {
            self.since_control_ms = 0;
            self.counted = false;
        } else {
            self.judge_unless_open(parameters, findings);
        }
    }

    /// Judges watching time.
    pub(crate) fn credited(&mut self, dt_ms: i64, parameters: &Parameters, findings: &mut Findings) {
        self.since_control_ms += dt_ms;
        self.judge_unless_open(parameters, findings);
    }

    /// Judges the closing, when an open prompt is no excuse.
    pub(crate) fn closed(&mut self, parameters: &Parameters, findings: &mut Findings) {
        if self.since_control_ms > parameters.prompt_max_gap_ms && !self.counted {
            self.counted = true;
            findings.add(Rule::PromptGap);
        }
    }

    fn judge_unless_open(&mut self, parameters: &Parameters, findings: &mut Findings) {
        if self.open.is_empty() {
            self.closed(parameters, findings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::names;
    use super::*;
    use crate::policy::Policy;

    fn start() -> (PromptGap, Parameters, Findings) {
        (PromptGap::opened(0), Policy::default().parameters, Findings::default())
    }

    #[test]
    fn five_minutes_without_a_prompt_count_once() {
        let (mut rule, parameters, mut findings) = start();
        rule.credited(300_000, &parameters, &mut findings);
        assert!(findings.is_empty());
        rule.credited(1, &parameters, &mut findings);
        rule.credited(1, &parameters, &mut findings);
        rule.closed(&parameters, &mut findings);
        assert_eq!(names(&findings), ["prompt_gap"]);
    }

    #[test]
    fn a_shown_prompt_defers_but_only_a_passed_one_controls() {
        let (mut rule, parameters, mut findings) = start();
        rule.issued("a");
        rule.issued("b");
        rule.credited(300_001, &parameters, &mut findings);
        rule.resolved("a", PromptOutcome::Expired, &parameters, &mut findings);
        rule.resolved("unknown", PromptOutcome::Passed, &parameters, &mut findings);
        assert!(findings.is_empty());
        rule.resolved("b", PromptOutcome::Failed, &parameters, &mut findings);
        assert_eq!(names(&findings), ["prompt_gap"]);
    }

    #[test]
    fn a_passed_prompt_starts_anew() {
        let (mut rule, parameters, mut findings) = start();
        for _ in 0..2 {
            rule.issued("a");
            rule.credited(299_000, &parameters, &mut findings);
            rule.resolved("a", PromptOutcome::Passed, &parameters, &mut findings);
        }
        rule.closed(&parameters, &mut findings);
        assert_eq!((rule.since_control_ms(), findings.is_empty()), (0, true));
    }

    #[test]
    fn closing_under_an_open_prompt_is_no_way_out() {
        let (mut rule, parameters, mut findings) = start();
        rule.issued("a");
        rule.credited(300_001, &parameters, &mut findings);
        rule.closed(&parameters, &mut findings);
        assert_eq!(names(&findings), ["prompt_gap"]);
    }
}
