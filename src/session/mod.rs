//! The fold of a session log: live and replay are one.
//!
//! [`Session::apply`] takes the next event, whether it has just been accepted or was written years ago. The session
//! observes (clocks, watching, the page, captures) and tells the rules ([`crate::rules`]); [`Session::verdict`] says
//! what it amounts to. It knows no clock, makes no event and asks for nothing: what a live server does about what it
//! sees here is the server's business.
//!
//! Memory is bounded however long the log: violations are listed up to [`MAX_LISTED`], intervals kept up to
//! [`MAX_INTERVALS`], captures up to [`MAX_CAPTURES`], open prompts and kinds of meddling up to 1024. Each bound is far
//! beyond what a learner can do in a day, and beyond it the session errs on the side of less credit.

mod captures;
mod clock;
mod faces;
mod id;
mod intervals;
mod page;
mod violations;
mod watching;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use captures::{Captures, MAX_CAPTURES};
pub use clock::{Anchor, ClockMap};
pub use faces::Faces;
pub use id::Id;
pub use intervals::{Intervals, MAX_INTERVALS};
pub use page::PageState;
pub use violations::{MAX_LISTED, Placed, Violations};
pub use watching::{Leap, Observation, Stretch, Watching, at_rate, saturate};

pub use crate::log::OrderError as ApplyError;
use crate::log::{
    Body, Carried, CheckOutcome, CloseReason, Event, FaceChecked, FaceOutcome, MAX_INTEGER, Order, Origin, Page,
    Playback, PlaybackEvent, SessionOpened,
};
use crate::policy::Policy;
use crate::rules::{self, Findings, Rule, RuleStates};
use crate::verdict::{Status, Verdict, Violation};

/// One session, folded as far as its log has come.
#[derive(Clone, Debug)]
pub struct Session {
    policy: Arc<Policy>,
    state: SessionState,
}

/// All that a session remembers besides its policy. It can be written out (with serde) and read back elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    order: Order,
    last_seq: u64,
    opened: Option<Box<SessionOpened>>,
    covered_before: Intervals,
    closed: Option<CloseReason>,
    clock: ClockMap,
    page: PageState,
    watching: Watching,
    captures: Captures,
    faces: Faces,
    rules: RuleStates,
    violations: Violations,
}

/// When an event happened, and whether it came in time to be credited.
#[derive(Clone, Copy)]
struct Moment {
    t: i64,
    late: bool,
}

impl Session {
    /// A session whose log is still empty.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self::restore(policy, SessionState::default())
    }

    /// A session that goes on from a state that [`Session::state`] gave under the same policy.
    pub fn restore(policy: Arc<Policy>, state: SessionState) -> Self {
        Self { policy, state }
    }

    /// A session that has just been opened: what [`Session::apply`] makes of a first event `session.opened`.
    pub fn begin(policy: Arc<Policy>, at: i64, opened: SessionOpened) -> Self {
        let mut session = Self::new(policy);
        session.state.order = Order::begun(at);
        let mut findings = Findings::default();
        session.open(opened.into(), at, &mut findings);
        session.record(findings, at, 1);
        session
    }

    /// All that must be kept to go on elsewhere.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// When the event may not come now (docs/rules.md, section 1); the session is unchanged then.
    pub fn apply(&mut self, event: &Event<'_>) -> Result<(), ApplyError> {
        self.state.order.accept(event)?;
        let mut findings = Findings::default();
        let moment = self.moment(event, &mut findings);
        self.observe(&event.body, event.at, moment, &mut findings);
        self.record(findings, moment.t, event.n);
        Ok(())
    }

    fn record(&mut self, findings: Findings, at: i64, n: u64) {
        if !findings.is_empty() {
            self.state.violations.record(findings, at, n, &self.policy);
        }
    }

    /// Section 3: when the event happened; judges the client's clock on the way.
    fn moment(&mut self, event: &Event<'_>, findings: &mut Findings) -> Moment {
        let Origin::Client { seq, ct } = event.origin else {
            return Moment { t: event.at, late: false };
        };
        let (state, parameters) = (&mut self.state, &self.policy.parameters);
        state.last_seq = seq;
        if let Some(lead_ms) = state.clock.lead(ct, event.at) {
            state.rules.clock_tamper.lead(lead_ms, parameters, findings);
        }
        let t = state.clock.client_time(ct, event.at);
        Moment { t, late: event.at - t > parameters.late_limit_ms }
    }

    fn observe(&mut self, body: &Body<'_>, at: i64, moment: Moment, findings: &mut Findings) {
        let (state, parameters) = (&mut self.state, &self.policy.parameters);
        match body {
            Body::Heartbeat(beat) => {
                self.watch(moment, beat.playing, beat.pos_ms, findings);
                self.rate(beat.playing, beat.rate, findings);
            }
            Body::Playback(playback) => self.playback(moment, playback, findings),
            Body::Page(page) => self.page(moment, page, findings),
            Body::SessionOpened(opened) => self.open(opened.clone(), at, findings),
            Body::ConnectionOpened(reading) => {
                state.clock.connected(reading.ct, at);
                state.rules.clock_tamper.connected();
            }
            Body::ClockSynced(reading) => {
                if let Some(lead_ms) = state.clock.synced(reading.ct, at) {
                    state.rules.clock_tamper.lead(lead_ms, parameters, findings);
                }
            }
            Body::CaptureRequested(capture) => {
                let hour = state.watching.hour(parameters);
                state.captures.requested(&capture.capture, hour);
            }
            Body::FaceChecked(check) => self.face_checked(check, findings),
            Body::CaptureExpired(capture) => {
                state.captures.checked(&capture.capture);
                self.face_counted(CheckOutcome::Expired, findings);
            }
            Body::PromptIssued(prompt) => state.rules.prompt_gap.issued(&prompt.prompt),
            Body::PromptResolved(prompt) => {
                state.rules.prompt_gap.resolved(&prompt.prompt, prompt.outcome, parameters, findings);
            }
            Body::PresenceConflict(conflict) => {
                state.rules.multi_window.conflict(conflict.from_at, conflict.to_at, parameters, findings);
            }
            Body::Windows(windows) => state.rules.multi_window.windows(windows.count, findings),
            Body::Tamper(tamper) => state.rules.client_tamper.noticed(&tamper.what, findings),
            Body::SessionClosed(closed) => self.close(closed.reason, findings),
            Body::ConnectionClosed
            | Body::CaptureSubmitted(_)
            | Body::PromptAnswered(_)
            | Body::Gap(_)
            | Body::Consent(_)
            | Body::Unknown => {}
        }
    }

    fn open(&mut self, opened: Box<SessionOpened>, at: i64, findings: &mut Findings) {
        let (state, facts) = (&mut self.state, &opened.facts);
        state.clock.opened(at);
        state.covered_before = Intervals::of(&facts.covered_before);
        state.watching = Watching::opened(&opened);
        state.faces = Faces::opened(&facts.carried, &self.policy.parameters);
        state.rules.prompt_gap = rules::prompt_gap::PromptGap::opened(facts.carried.since_control_ms);
        state.rules.multi_window = rules::multi_window::MultiWindow::opened(facts.carried.conflict_ms);
        state.rules.photo_missing = rules::photo_missing::PhotoMissing::opened(facts.carried.hour_has_photo);
        rules::judge_opening(facts, findings);
        state.opened = Some(opened);
    }

    fn playback(&mut self, moment: Moment, playback: &Playback, findings: &mut Findings) {
        match playback.from_ms.filter(|_| playback.event == PlaybackEvent::Seek) {
            None => self.watch(moment, playback.playing, playback.pos_ms, findings),
            Some(from_ms) => {
                let playing_before = self.state.watching.last().map_or(playback.playing, |last| last.playing);
                self.watch(moment, playing_before, from_ms, findings);
                let (state, parameters) = (&mut self.state, &self.policy.parameters);
                if let Some(leap) = state.watching.jump(parameters, moment.t, playback.playing, playback.pos_ms) {
                    state.rules.fast_forward.leapt(leap, findings);
                }
            }
        }
        self.rate(playback.playing, playback.rate, findings);
    }

    fn page(&mut self, moment: Moment, page: &Page, findings: &mut Findings) {
        // The stretch until now was played in the page as it was.
        self.watch(moment, page.playing, page.pos_ms, findings);
        let now = PageState { visible: page.visible, focused: page.focused };
        self.state.page = now;
        self.state.rules.multi_window.page_changed(now);
        self.state.rules.unfocused.page_changed(now);
        self.rate(page.playing, page.rate, findings);
    }

    fn rate(&mut self, playing: bool, rate: f64, findings: &mut Findings) {
        self.state.rules.fast_forward.rated(playing, rate, &self.policy.parameters, findings);
    }

    /// Section 4.1: the player was seen at `pos_ms`.
    fn watch(&mut self, moment: Moment, playing: bool, pos_ms: i64, findings: &mut Findings) {
        let (state, parameters) = (&mut self.state, &self.policy.parameters);
        let page = state.page;
        let observable = page.visible && !moment.late;
        let stretch = state.watching.observe(parameters, moment.t, playing, pos_ms, observable);
        if let Some(leap) = stretch.leap {
            state.rules.fast_forward.leapt(leap, findings);
        }
        if stretch.played && stretch.dt_ms <= parameters.gap_limit_ms {
            if !page.visible {
                state.rules.multi_window.played_hidden(stretch.dt_ms, parameters, findings);
            } else if page.is_blurred() {
                state.rules.unfocused.played_blurred(stretch.dt_ms, parameters, findings);
            }
        }
        if stretch.credited {
            self.credit(stretch.dt_ms, findings);
        }
    }

    /// Watching time was added.
    fn credit(&mut self, dt_ms: i64, findings: &mut Findings) {
        let (state, parameters) = (&mut self.state, &self.policy.parameters);
        state.faces.credited(dt_ms);
        state.rules.prompt_gap.credited(dt_ms, parameters, findings);
        let capture_pending = state.captures.pending_count() > 0;
        let liveness = &mut state.rules.face_liveness;
        state.rules.face_unchecked.credited(&state.faces, capture_pending, parameters, liveness, findings);
    }

    fn face_checked(&mut self, check: &FaceChecked<'_>, findings: &mut Findings) {
        let state = &mut self.state;
        let hour = state.captures.checked(&check.capture);
        match (hour, check.outcome) {
            (Some(hour), FaceOutcome::Match) if check.photo.is_some() => state.rules.photo_missing.photo_kept(hour),
            (Some(hour), FaceOutcome::Error) => state.rules.photo_missing.check_failed(hour),
            _ => {}
        }
        if let Some(passive_milli) = check.passive_milli {
            state.faces.scored(passive_milli);
        }
        match check.outcome.counted() {
            Some(outcome) => self.face_counted(outcome, findings),
            None => state.faces.error_seen = true,
        }
    }

    fn face_counted(&mut self, outcome: CheckOutcome, findings: &mut Findings) {
        let (state, parameters) = (&mut self.state, &self.policy.parameters);
        state.faces.checked(outcome, parameters);
        state.rules.face_liveness.checked(outcome, &mut state.faces, parameters, findings);
    }

    fn close(&mut self, reason: CloseReason, findings: &mut Findings) {
        let creditable_ms = self.creditable_ms();
        let (state, parameters) = (&mut self.state, &self.policy.parameters);
        state.closed = Some(reason);
        let (faces, watch_ms) = (&state.faces, state.watching.watch_ms());
        let unchecked = &mut state.rules.face_unchecked;
        state.rules.prompt_gap.closed(parameters, findings);
        unchecked.closed(faces, watch_ms, parameters, findings);
        rules::face_unresolved::closed(faces, &state.rules.face_liveness, parameters, findings);
        state.rules.photo_missing.closed(&state.watching, parameters, unchecked, findings);
        rules::revoked::closed(reason, findings);
        rules::face_passive::closed(&mut state.faces, parameters, findings);
        if let Some(opened) = &state.opened {
            rules::online_quota::closed(creditable_ms, &opened.facts, parameters, findings);
        }
    }
}

/// What a live server asks, between events.
impl Session {
    /// The policy it is judged by.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The data of `session.opened`, once it was applied.
    pub fn opened(&self) -> Option<&SessionOpened> {
        self.state.opened.as_deref()
    }

    /// The `n` that the next event must have.
    pub fn next_n(&self) -> u64 {
        self.state.order.next_n()
    }

    /// The `at` of the last event, ms; nothing before it may come any more.
    pub fn last_at(&self) -> Option<i64> {
        self.state.order.last_at()
    }

    /// The `seq` of the last client event; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.state.last_seq
    }

    /// Whether it was opened and not yet closed.
    pub fn is_open(&self) -> bool {
        self.state.opened.is_some() && self.state.closed.is_none()
    }

    /// Why it was closed.
    pub fn closed(&self) -> Option<CloseReason> {
        self.state.closed
    }

    /// What the verdict would say now.
    pub fn status(&self) -> Status {
        self.status_under(&self.policy)
    }

    /// What the verdict would say now if violations did what `policy` says.
    pub fn status_under(&self, policy: &Policy) -> Status {
        Status::of(&self.state.violations, policy, self.state.closed.is_some())
    }

    /// Where the client's clock is tied to the server's.
    pub fn anchor(&self) -> Option<Anchor> {
        self.state.clock.anchor()
    }

    /// The last look at the player.
    pub fn last_observation(&self) -> Option<Observation> {
        self.state.watching.last()
    }

    /// Whether the player played when last seen.
    pub fn playing(&self) -> bool {
        self.last_observation().is_some_and(|last| last.playing)
    }

    /// Where the player stood when last seen, ms of the lesson.
    pub fn position_ms(&self) -> i64 {
        self.last_observation().map_or(0, |last| last.pos_ms)
    }

    /// Whether the page is hidden.
    pub fn page_hidden(&self) -> bool {
        !self.state.page.visible
    }

    /// Watching time of this session, ms.
    pub fn watch_ms(&self) -> i64 {
        self.state.watching.watch_ms()
    }

    /// Watching time since the last passed prompt, ms.
    pub fn since_control_ms(&self) -> i64 {
        self.state.rules.prompt_gap.since_control_ms()
    }

    /// Watching time in the present class hour, ms.
    pub fn hour_watch_ms(&self) -> i64 {
        self.state.watching.hour_watch_ms().rem_euclid(self.policy.parameters.class_hour_ms)
    }

    /// The present class hour; 0 is the one that the learner's last session left unfinished.
    pub fn class_hour(&self) -> i64 {
        self.state.watching.hour(&self.policy.parameters)
    }

    /// Whether the present class hour has its photo.
    pub fn hour_has_photo(&self) -> bool {
        self.state.rules.photo_missing.has_photo(self.class_hour())
    }

    /// Whether a check of this session has matched.
    pub fn verified(&self) -> bool {
        self.state.faces.verified
    }

    /// Watching time without a matching face, ms.
    pub fn unverified_ms(&self) -> i64 {
        self.state.faces.unverified_ms
    }

    /// Failed checks in a row.
    pub fn face_streak(&self) -> i64 {
        self.state.faces.streak
    }

    /// The ids of the captures that are awaited, oldest first.
    pub fn pending_captures(&self) -> impl Iterator<Item = &str> {
        self.state.captures.pending()
    }

    /// The ids of the prompts that are open, oldest first.
    pub fn open_prompts(&self) -> impl Iterator<Item = &str> {
        self.state.rules.prompt_gap.open_prompts()
    }

    /// How far the learner may jump, ms of the lesson.
    pub fn furthest_ms(&self) -> i64 {
        self.state.watching.furthest_ms()
    }

    /// The media intervals that this session watched, ms.
    pub fn coverage(&self) -> &[(i64, i64)] {
        self.state.watching.coverage().as_slice()
    }

    /// What this session has newly watched, ms of the lesson.
    pub fn watched_ms(&self) -> i64 {
        self.state.watching.coverage().length_outside(&self.state.covered_before)
    }

    /// What of it was watched in the time that it takes, ms.
    pub fn creditable_ms(&self) -> i64 {
        let duration_ms = self.opened().map_or(0, |opened| opened.duration_ms);
        let left_ms = (duration_ms - self.covered_before_ms()).max(0);
        let in_time_ms = at_rate(self.watch_ms(), self.policy.parameters.max_rate_milli);
        self.watched_ms().min(left_ms).min(in_time_ms)
    }

    /// What earlier sessions have credited of this lesson, ms.
    pub fn covered_before_ms(&self) -> i64 {
        self.state.covered_before.length()
    }

    /// The first violations, as the verdict lists them.
    pub fn violations(&self) -> Vec<Violation> {
        self.state.violations.listed().iter().map(|placed| Violation::of(placed, &self.policy)).collect()
    }

    /// How many violations there are, without the ignored.
    pub fn violations_total(&self) -> u64 {
        self.state.violations.total(&self.policy)
    }

    /// The rules that were broken, without those that `policy` ignores.
    pub fn broken_rules<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = Rule> + 'a {
        self.state.violations.broken(policy)
    }

    /// What the learner's next session in this project starts from.
    pub fn carried(&self) -> Carried {
        let state = &self.state;
        let hour_watch_ms = self.hour_watch_ms();
        let pending = i64::try_from(state.captures.pending_count()).unwrap_or(MAX_INTEGER);
        // The next log must be able to hold these, whatever this one held.
        let bounded = |value: i64| value.clamp(-MAX_INTEGER, MAX_INTEGER);
        Carried {
            since_control_ms: bounded(self.since_control_ms()),
            unverified_ms: if state.faces.verified { 0 } else { bounded(self.unverified_ms()) },
            excess_ms: bounded(state.watching.excess_ms()),
            conflict_ms: state.rules.multi_window.carried_conflict_ms(),
            face_failures: bounded(self.face_streak().saturating_add(pending)),
            face_history: state.faces.history.iter().copied().collect(),
            passive_scores: bounded(state.faces.passive_scores),
            passive_sum_milli: bounded(state.faces.passive_sum_milli),
            hour_watch_ms,
            hour_has_photo: hour_watch_ms > 0 && self.hour_has_photo(),
        }
    }

    /// What the log amounts to so far; `log_digest` is [`crate::log::Digest::finish`] over its lines.
    pub fn verdict(&self, log_digest: String) -> Verdict {
        Verdict::of(self, log_digest)
    }
}

#[cfg(test)]
mod tests;
