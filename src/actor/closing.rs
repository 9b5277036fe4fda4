//! The end of a session: what is pending is settled, then the verdict, its record and its delivery go in together.

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::live::{Leaving, Live, Lost};
use crate::delivery::cloud_event::{self, TimeError};
use crate::gateway::wire::{Closed, LeaveReason, ServerMessage, close};
use crate::log::{CloseReason, EventType, PromptOutcome, SessionClosed, SessionOpened};
use crate::risk::{Sign, is_conduct};
use crate::rules::online_quota;
use crate::session::at_rate;
use crate::store::outbox::NewDelivery;
use crate::store::review::Entry;
use crate::store::sessions::Closing;
use crate::store::{Batch, StoreError};
use crate::verdict::Status;

impl Live {
    /// The learner ends the session: a capture that was asked for is still to be answered.
    pub(super) fn leave(&mut self, reason: LeaveReason, at: i64) {
        self.last_heard_at = self.stamp(at);
        let reason = match reason {
            LeaveReason::Completed => CloseReason::Completed,
            LeaveReason::Left => CloseReason::Left,
        };
        self.begin_leaving(reason, None);
    }

    pub(super) fn begin_leaving(&mut self, reason: CloseReason, waiting: Option<oneshot::Sender<()>>) {
        let leaving = self.leaving.get_or_insert(Leaving { reason, waiting: Vec::new() });
        // Who ends a session from outside has the last word over learner and quota, and the first over all others.
        if !waits_for_the_learner(reason) && waits_for_the_learner(leaving.reason) {
            leaving.reason = reason;
        }
        leaving.waiting.extend(waiting);
    }

    /// Nothing more can be credited: the learner is stopped, so that nobody learns in vain.
    pub(super) fn leave_if_quota_is_spent(&mut self) {
        let Some(opened) = self.fold.opened().filter(|_| self.leaving.is_none()) else { return };
        let left_ms = online_quota::left_ms(self.credited_at_most_ms(), &opened.facts, &self.policy.parameters);
        if left_ms != Some(0) {
            return;
        }
        // Whether it is really spent costs a look at every interval, so only who is this near is looked at.
        if online_quota::left_ms(self.fold.creditable_ms(), &opened.facts, &self.policy.parameters) == Some(0) {
            self.begin_leaving(CloseReason::Quota, None);
        }
    }

    /// More than this session has credited, ms, and quickly found: nobody learns faster than the clock.
    fn credited_at_most_ms(&self) -> i64 {
        at_rate(self.fold.watch_ms(), self.policy.parameters.max_rate_milli)
    }

    /// Nobody has said anything for as long as the pack allows.
    pub(super) fn leave_if_silent(&mut self) {
        let silent_for_ms = self.services.clock.now_ms() - self.last_heard_at;
        // Who is leaving already has a reason, and their time to answer what is pending.
        if self.leaving.is_none() && silent_for_ms >= self.policy.schedule.silence_close_ms {
            self.begin_leaving(CloseReason::Timeout, None);
        }
    }

    /// Whether nothing stands in the way of closing now; settles what can be settled.
    pub(super) fn may_close(&mut self) -> bool {
        let Some(leaving) = &self.leaving else { return false };
        if self.in_check.is_some() {
            return false;
        }
        let Some(pending) = self.schedule.pending_capture().map(|pending| pending.id.clone()) else { return true };
        // The learner may still answer; but nobody who waits for the end from outside is kept waiting by them.
        if waits_for_the_learner(leaving.reason) && leaving.waiting.is_empty() {
            return false;
        }
        self.expire_capture(&pending, self.now());
        true
    }

    /// Writes the end of the log, the verdict, its record and its delivery: all on disk when this returns.
    pub(super) async fn close(&mut self) -> Result<(), Lost> {
        let Some(leaving) = self.leaving.take() else { return Ok(()) };
        self.leave_the_others(self.now()).await;
        let at = self.now();
        if let Some(prompt) = self.schedule.open_prompt().map(|open| open.id.clone()) {
            self.resolve(&prompt, PromptOutcome::Expired, at);
        }
        self.record(at, EventType::SessionClosed, &SessionClosed { reason: leaving.reason });
        let verdict = self.fold.verdict(self.digest.clone().finish());
        let faulty =
            verdict.status == Status::Invalid && verdict.violations.iter().any(|violation| is_conduct(violation.rule));
        let text = serde_json::value::to_raw_value(&verdict).map_err(|error| corrupt(&error))?;
        let (prompts_asked, prompts_passed) = self.schedule.prompts_so_far();
        let closing = Closing {
            batch: self.take_batch().unwrap_or_else(|| self.empty_batch()),
            delivery: self.delivery(&text).map_err(|error| corrupt(&error))?,
            review: (verdict.status == Status::Review).then(|| {
                let now_ms = self.services.wall.now_ms();
                Entry::of(&verdict, self.policy.review.due_at(now_ms), now_ms)
            }),
            status: verdict.status.as_str(),
            prompts_asked,
            prompts_passed,
            log_digest: verdict.log_digest,
            verdict: text.get().to_owned(),
            now_ms: at,
        };
        // Reporting to the others may have taken a while.
        self.check_lease()?;
        self.services.store.close_session(closing).await?;
        self.services.telemetry.verdicts.count(verdict.status.as_str());
        self.services.telemetry.sessions_closed.count(leaving.reason.as_str());
        self.services.deliver.notify_one();
        self.told.push((at, Sign::Closed { faulty }));
        self.settle().await?;
        self.say_closed(leaving.reason, text);
        for waiting in leaving.waiting {
            let _ = waiting.send(());
        }
        Ok(())
    }

    fn empty_batch(&self) -> Batch {
        Batch { session: self.key, epoch: self.epoch, first_n: self.fold.next_n(), count: 0, lines: Vec::new() }
    }

    /// What the platform is told. Deliveries live on the wall clock, as their signatures do.
    fn delivery(&self, verdict: &RawValue) -> Result<NewDelivery, TimeError> {
        let now_ms = self.services.wall.now_ms();
        let event = self.services.entropy.id(now_ms).to_string();
        let word = |of: fn(&SessionOpened) -> &String| self.fold.opened().map(of).map_or("", String::as_str);
        let body = cloud_event::SessionClosed {
            id: &event,
            source: &self.services.source,
            closed_at_ms: now_ms,
            session: &self.id,
            learner: word(|opened| &opened.learner),
            project: word(|opened| &opened.project),
            lesson: word(|opened| &opened.lesson),
            verdict,
        }
        .to_body()?;
        let platform = word(|opened| &opened.platform).to_owned();
        Ok(NewDelivery { event, platform, ordering: self.id.clone(), body, now_ms })
    }

    fn say_closed(&mut self, reason: CloseReason, verdict: Box<RawValue>) {
        let Some(connection) = &self.connection else { return };
        connection.outlet.send(&ServerMessage::Closed(Closed { reason: reason.as_str().into(), verdict }));
        connection.outlet.close(close::NORMAL);
    }
}

/// Whether the learner may still answer what they were asked. The quota stops whoever is honest: a photo that was asked
/// for must not turn against them.
fn waits_for_the_learner(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Completed | CloseReason::Left | CloseReason::Quota)
}

fn corrupt(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt { what: "verdict", why: error.to_string() }
}
