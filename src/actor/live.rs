//! A live session: its fold, its schedule, its connection, and the one door through which every event enters.
//!
//! Whatever happens is first a line. [`Live::enter`] reads the line back as any replay would, folds it, and puts it
//! into the batch; [`Live::settle`] makes the batch durable and only then lets anybody hear of it. So the live session
//! and a replay of its log cannot differ.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::mailbox::{ConnectionId, Mail, Outlet};
use super::playing::Playing;
use super::registry::Registry;
use super::services::Services;
use crate::auth::keys::DataKey;
use crate::clock::Stopwatch;
use crate::cluster::Played;
use crate::gateway::wire::{ErrorMessage, ServerMessage};
use crate::log::{self, Body, CloseReason, Digest, Event, EventType, LineError};
use crate::policy::Policy;
use crate::risk::{Observation as RiskObservation, SessionSigns, Sign, Who};
use crate::schedule::question::Question;
use crate::schedule::{PauseReason, Schedule, Seed};
use crate::session::{Observation, Session};
use crate::store::{AppendError, Batch, SessionKey, StoreError};
use crate::vision::Template;

/// What is done once the events before it are on disk.
pub(super) enum After {
    /// Tell the client.
    Tell(ServerMessage),
    /// Acknowledge the client's events, which arrived when the stopwatch started.
    Acknowledge(Stopwatch),
    /// Tell the client what is wrong and end its connection.
    Refuse(ErrorMessage),
    /// Keep a photo and have it checked.
    Check { capture: String, sha256: String, photo: Bytes },
}

/// The client that is there now.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// when its hello came, by the clock of sessions (ms)
    pub(super) arrived_at: i64,
    pub(super) outlet: Outlet,
    /// the handshake is over
    pub(super) welcomed: bool,
    /// it was told what is wrong, and nothing that it says counts any more
    pub(super) refused: bool,
    /// `ct` of its newest event
    pub(super) last_ct: Option<i64>,
}

/// The learner's face as enrolled, and the key to their photos.
pub(super) struct Face {
    pub(super) template: Template,
    pub(super) key: DataKey,
}

/// A session that is about to close.
pub(super) struct Leaving {
    pub(super) reason: CloseReason,
    /// who waits for the verdict
    pub(super) waiting: Vec<oneshot::Sender<()>>,
}

/// Why a session cannot go on from the state in memory. Its log is whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The journal refused.
    #[error(transparent)]
    Journal(#[from] AppendError),
    /// This node may not act: what it owned may be another's by now.
    #[error("the lease of this node does not hold")]
    Lease,
}

impl From<StoreError> for Lost {
    fn from(error: StoreError) -> Self {
        Self::Journal(error.into())
    }
}

/// One live session.
pub(super) struct Live {
    pub(super) services: Arc<Services>,
    pub(super) registry: Registry,
    /// for the tasks that this session starts
    pub(super) myself: mpsc::WeakSender<Mail>,
    pub(super) id: String,
    pub(super) key: SessionKey,
    pub(super) epoch: i64,
    pub(super) policy: Arc<Policy>,
    pub(super) fold: Session,
    pub(super) digest: Digest,
    pub(super) schedule: Schedule,
    /// what the session gives away about itself, and what of that is still to be told once it is on disk
    pub(super) signs: SessionSigns,
    pub(super) told: Vec<(i64, Sign)>,
    pub(super) who: Arc<Who>,
    pub(super) questions: Vec<Question>,
    /// none: the learner is forgotten, and the session is about to close
    pub(super) face: Option<Face>,
    pub(super) warned: usize,
    pub(super) violations_seen: u64,
    /// the client was told that it sends events which mean nothing here
    pub(super) noticed_unknown: bool,
    /// watching time that the schedule knows of
    pub(super) watch_seen_ms: i64,
    /// where it was playing, and what others know of it
    pub(super) playing: Playing,
    pub(super) connection: Option<Connection>,
    pub(super) told_pause: Option<PauseReason>,
    /// the client has just said that the learner is there
    pub(super) ready: bool,
    /// the capture whose photo is being kept or checked
    pub(super) in_check: Option<String>,
    pub(super) leaving: Option<Leaving>,
    pub(super) last_heard_at: i64,
    pub(super) batch: Vec<u8>,
    pub(super) batch_first_n: u64,
    pub(super) after: Vec<After>,
    /// until when the session's own task sleeps, if nobody wakes it
    pub(super) sleeps_until: i64,
}

/// What a session starts from.
pub(super) struct Start {
    pub(super) id: String,
    pub(super) key: SessionKey,
    pub(super) epoch: i64,
    pub(super) policy: Arc<Policy>,
    pub(super) seed: Seed,
    pub(super) questions: Vec<Question>,
    /// none: the learner is forgotten
    pub(super) face: Option<Face>,
}

impl Live {
    /// A session as its log left it. `opened` is the first line's data, `log` the whole of it.
    pub(super) fn recover(
        services: Arc<Services>,
        registry: Registry,
        myself: mpsc::WeakSender<Mail>,
        start: Start,
        log: &[u8],
    ) -> Result<Self, LineError> {
        let first = log.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let Body::SessionOpened(opened) = log::parse_line(first)?.body else {
            return Err(LineError::new("type", "the log does not begin with session.opened"));
        };
        let carried = &opened.facts.carried;
        let schedule = Schedule::new(
            start.seed,
            start.policy.schedule.clone(),
            start.policy.parameters.prompt_max_gap_ms,
            carried.since_control_ms,
            carried.face_failures,
        );
        let who = Who {
            session: start.id.as_str().into(),
            learner: opened.learner.as_str().into(),
            platform: opened.platform.as_str().into(),
            policy: start.policy.clone(),
        };
        let now_ms = services.clock.now_ms();
        let playing = Playing::new(services.presence.is_shared());
        let mut live = Self {
            services,
            registry,
            myself,
            id: start.id,
            key: start.key,
            epoch: start.epoch,
            fold: Session::new(start.policy.clone()),
            policy: start.policy,
            digest: Digest::new(),
            schedule,
            signs: SessionSigns::default(),
            told: Vec::new(),
            who: Arc::new(who),
            questions: start.questions,
            face: start.face,
            warned: 0,
            violations_seen: 0,
            noticed_unknown: false,
            watch_seen_ms: 0,
            playing,
            connection: None,
            told_pause: None,
            ready: false,
            in_check: None,
            leaving: None,
            // The time in which the server was down is not the learner's silence.
            last_heard_at: now_ms,
            batch: Vec::new(),
            batch_first_n: 1,
            after: Vec::new(),
            sleeps_until: i64::MAX,
        };
        for line in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let before = live.fold.last_observation();
            live.fold_line(line)?;
            if let Some(played) = live.played_since(before) {
                live.playing.played(played);
            }
        }
        live.playing.taken_up(live.fold.last_observation().is_some());
        // What the log shows was told when it was written.
        live.told.clear();
        live.warned = live.fold.violations().len();
        live.violations_seen = live.fold.violations_total();
        live.batch_first_n = live.fold.next_n();
        if live.face.is_none() {
            // Only a restored backup knows an open session of somebody who is forgotten: nobody may go on with it.
            live.begin_leaving(CloseReason::Revoked, None);
        }
        Ok(live)
    }

    /// The time for the next line: now, and never before the line before.
    pub(super) fn stamp(&self, at: i64) -> i64 {
        self.fold.last_at().map_or(at, |last_at| at.max(last_at))
    }

    pub(super) fn now(&self) -> i64 {
        self.stamp(self.services.clock.now_ms())
    }

    /// Enters an event of the server's own.
    pub(super) fn record(&mut self, at: i64, event_type: EventType, data: &impl serde::Serialize) {
        let line = log::write::server_line(self.fold.next_n(), at, event_type, data);
        if let Err(error) = self.enter(line) {
            // The server made this line itself: it cannot be wrong unless the program is.
            tracing::error!(session = self.id, %event_type, %error, "the server's own event was refused");
        }
    }

    /// The door: reads the line as a replay would, folds it, and queues it for the journal.
    pub(super) fn enter(&mut self, line: String) -> Result<(), LineError> {
        let before = self.fold.last_observation();
        self.fold_line(line.as_bytes())?;
        self.batch.extend_from_slice(line.as_bytes());
        self.batch.push(b'\n');
        self.warn_of_violations();
        if let Some(played) = self.played_since(before) {
            self.playing.played(played);
        }
        Ok(())
    }

    fn fold_line(&mut self, line: &[u8]) -> Result<(), LineError> {
        let event = log::parse_line(line)?;
        self.fold.apply(&event).map_err(|error| LineError::new(error.field, error.problem))?;
        self.tell_schedule(&event);
        let mut signs = Vec::new();
        self.signs.observe(&event, &self.policy.risk, &mut signs);
        self.told.extend(signs.into_iter().map(|sign| (event.at, sign)));
        self.digest.line(line);
        Ok(())
    }

    /// The schedule follows the log, live and after a restart alike.
    fn tell_schedule(&mut self, event: &Event) {
        let watch_ms = self.fold.watch_ms();
        if watch_ms > self.watch_seen_ms {
            self.watch_seen_ms = watch_ms;
            self.schedule.watched(watch_ms, self.fold.since_control_ms());
        }
        match &event.body {
            Body::ConnectionOpened(_) => self.schedule.connection_opened(event.at),
            Body::ConnectionClosed => self.schedule.connection_closed(),
            Body::PromptIssued(prompt) => self.schedule.prompt_issued(&prompt.prompt, prompt.deadline_at),
            Body::PromptResolved(prompt) => {
                self.schedule.prompt_resolved(&prompt.prompt, prompt.outcome, event.at);
            }
            Body::CaptureRequested(capture) => {
                self.schedule.capture_requested(capture, event.at);
            }
            Body::CaptureSubmitted(submitted) => {
                self.schedule.committed(&submitted.capture, &submitted.sha256, event.at);
            }
            Body::FaceChecked(checked) => {
                self.schedule.checked(&checked.capture, Some(checked.outcome), watch_ms);
            }
            Body::CaptureExpired(expired) => self.schedule.checked(&expired.capture, None, watch_ms),
            Body::PresenceConflict(conflict) => {
                let played = Played { from_at: conflict.from_at, to_at: conflict.to_at };
                self.playing.logged(&conflict.with_session, played);
            }
            _ => {}
        }
    }

    fn warn_of_violations(&mut self) {
        if self.fold.violations_total() == self.violations_seen {
            return;
        }
        self.violations_seen = self.fold.violations_total();
        let fresh: Vec<ServerMessage> = self
            .fold
            .violations()
            .iter()
            .skip(self.warned)
            .map(|violation| ServerMessage::Warning {
                rule: violation.rule.as_str().into(),
                cause: violation.cause.as_ref().map(|cause| cause.to_string().into()),
                since_ms: None,
            })
            .collect();
        for violation in self.fold.violations().iter().skip(self.warned) {
            self.services.telemetry.violations.count(violation.rule.as_str());
        }
        self.warned += fresh.len();
        self.after.extend(fresh.into_iter().map(After::Tell));
    }

    /// The stretch that was played up to the newest observation, if it is one.
    fn played_since(&self, before: Option<Observation>) -> Option<Played> {
        let (from, to) = (before?, self.fold.last_observation()?);
        let observed = to.t - from.t <= self.policy.parameters.gap_limit_ms;
        (from.playing && observed && to.t > from.t).then_some(Played { from_at: from.t, to_at: to.t })
    }

    /// Tells the client, once everything before is on disk.
    pub(super) fn tell(&mut self, message: ServerMessage) {
        self.after.push(After::Tell(message));
    }

    /// Makes what has happened durable, then lets everybody hear of it.
    pub(super) async fn settle(&mut self) -> Result<(), Lost> {
        self.check_lease()?;
        if let Some(batch) = self.take_batch() {
            self.services.telemetry.batch_lines.observe_number(batch.count);
            self.services.store.append(batch).await?;
            self.check_lease()?;
        }
        self.tell_detectors();
        for after in std::mem::take(&mut self.after) {
            match after {
                After::Tell(message) => self.send(&message),
                After::Acknowledge(arrived) => self.acknowledge(arrived),
                After::Refuse(error) => {
                    self.services.telemetry.stream_errors.count(&error.code.to_string());
                    if let Some(connection) = &self.connection {
                        connection.outlet.refuse(error);
                    }
                }
                After::Check { capture, sha256, photo } => self.start_check(capture, sha256, Some(photo)),
            }
        }
        Ok(())
    }

    /// Nobody hears anything from a node whose sessions may be others' by now.
    pub(super) fn check_lease(&self) -> Result<(), Lost> {
        if self.services.cluster.is_valid() { Ok(()) } else { Err(Lost::Lease) }
    }

    /// The learner is at another node now: the older client hears that there is a newer one.
    pub(super) fn supersede(self) {
        if let Some(connection) = &self.connection {
            self.end_superseded(&connection.outlet);
        }
    }

    fn tell_detectors(&mut self) {
        for (at, sign) in self.told.drain(..) {
            self.services.findings.tell(RiskObservation { who: self.who.clone(), at, sign });
        }
    }

    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        let next_n = self.fold.next_n();
        let (first_n, count) = (self.batch_first_n, next_n - self.batch_first_n);
        if count == 0 {
            return None;
        }
        self.batch_first_n = next_n;
        let lines = std::mem::take(&mut self.batch);
        Some(Batch { session: self.key, epoch: self.epoch, first_n, count, lines })
    }

    fn acknowledge(&mut self, arrived: Stopwatch) {
        let seq = self.fold.last_seq();
        self.connection.take_if(|connection| !connection.outlet.acknowledge(seq, arrived));
    }

    /// A client that does not read what it is sent is let go; it may come back.
    fn send(&mut self, message: &ServerMessage) {
        if let Some(connection) = &self.connection
            && !connection.outlet.send(message)
        {
            self.connection = None;
        }
    }
}
