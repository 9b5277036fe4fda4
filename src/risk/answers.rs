//! Answers to prompts that come too evenly, or before they can have been read.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::json;

use super::recent::Recent;
use super::statistics::Variation;
use super::{Code, Effects, Finding, Observation, Severity};

/// Learners that are remembered, twice over.
const LEARNERS_KEPT: usize = 65_536;
/// Answers of one learner that are remembered: the most that a pack may ask for.
const ANSWERS_KEPT: usize = 64;

/// The latest answers of each learner, over their sessions.
#[derive(Debug)]
pub(super) struct Answers {
    learners: Recent<Arc<str>, VecDeque<Answer>>,
}

#[derive(Clone, Debug)]
struct Answer {
    after_ms: i64,
    passed: bool,
    session: Arc<str>,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self { learners: Recent::new(LEARNERS_KEPT) }
    }

    /// A learner has answered.
    pub(super) fn answered(&mut self, observation: &Observation, after_ms: i64, passed: bool, effects: &mut Effects) {
        let (who, risk) = (&observation.who, &observation.who.policy.risk);
        let answers = self.learners.entry(&who.learner, VecDeque::new);
        if answers.len() >= ANSWERS_KEPT {
            answers.pop_front();
        }
        answers.push_back(Answer { after_ms, passed, session: who.session.clone() });
        let window = risk.answer_count as usize;
        let latest = || answers.iter().rev().take(window);
        let fast = latest().filter(|answer| answer.passed && answer.after_ms < risk.answer_fast_ms).count() as i64;
        let variation = Variation::of(latest().map(|answer| answer.after_ms)).filter(|_| answers.len() >= window);
        let variation = variation.filter(|variation| variation.is_below(risk.answer_variation_milli));
        if fast < risk.answer_fast_count && variation.is_none() {
            return;
        }
        let mut times: Vec<i64> = latest().map(|answer| answer.after_ms).collect();
        times.reverse();
        let mut sessions: Vec<Arc<str>> = latest().map(|answer| answer.session.clone()).collect();
        sessions.dedup();
        let subject = || format!("learner:{}", who.learner);
        let mut found = Vec::new();
        if fast >= risk.answer_fast_count {
            let numbers = json!({
                "fast": fast, "answers": times.len(), "times_ms": times,
                "thresholds": {"fast": risk.answer_fast_count, "fast_ms": risk.answer_fast_ms},
            });
            found.push(Finding::of(Code::AnswersFast, subject(), Severity::Medium, observation, numbers));
        }
        if let Some(variation) = variation {
            let numbers = json!({
                "answers": times.len(), "mean_ms": variation.mean_ms, "variation_milli": variation.milli,
                "times_ms": times,
                "thresholds": {"answers": risk.answer_count, "variation_milli": risk.answer_variation_milli},
            });
            found.push(Finding::of(Code::AnswersRegular, subject(), Severity::Medium, observation, numbers));
        }
        // What was told is not evidence again.
        answers.clear();
        effects.findings.extend(found.into_iter().map(|finding| Finding { sessions: sessions.clone(), ..finding }));
    }
}
