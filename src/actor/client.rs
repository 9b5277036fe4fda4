//! What the client says, and what follows from it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

use super::live::{After, Connection, Live};
use super::mailbox::{Arrival, ConnectionId, IncomingPhoto, Outlet};
use crate::clock::Stopwatch;
use crate::gateway::wire::{ClientEvent, ErrorCode, ErrorMessage, ServerMessage, Welcome};
use crate::log::{self, ClockReading, ConnectionOpened, EventType, PromptOutcome, PromptResolved, Source};
use crate::schedule::question::Challenge;

/// What a client hears that another has replaced.
const SUPERSEDED: &str = "a newer connection of this session";

impl Live {
    /// A client takes the place of any that came before it. The order is that of their hellos: who waited for the session
    /// with an older one, and has gone on since, ends nobody's page.
    pub(super) fn attach(&mut self, id: ConnectionId, outlet: Outlet, arrival: Arrival) {
        let Arrival { ct, at, address, device } = arrival;
        let arrived_at = at;
        if self.connection.as_ref().is_some_and(|newer| newer.arrived_at > arrived_at) {
            self.end_superseded(&outlet);
            return;
        }
        let at = self.stamp(at);
        // What was still to be said was meant for the older connection.
        self.after.retain(|after| matches!(after, After::Check { .. }));
        if let Some(older) = self.connection.take() {
            self.end_superseded(&older.outlet);
        }
        if self.schedule.connected() {
            self.record_disconnect(at);
        }
        self.last_heard_at = at;
        let opened = ConnectionOpened { ct, address: address.as_deref(), device: device.as_deref() };
        self.record(at, EventType::ConnectionOpened, &opened);
        let sign = self.signs.connected(address, device);
        self.told.push((at, sign));
        self.ready = false;
        self.connection = Some(Connection { id, arrived_at, outlet, welcomed: false, refused: false, last_ct: None });
    }

    /// Tells a client that there is a newer one.
    pub(super) fn end_superseded(&self, outlet: &Outlet) {
        self.services.telemetry.stream_errors.count("superseded");
        outlet.refuse(refusal(ErrorCode::Superseded, None, SUPERSEDED));
    }

    pub(super) fn detached(&mut self, id: ConnectionId, at: i64) {
        // A connection that was let go of because it did not read has no entry any more, but is still open in the log.
        let is_the_last = self.connection.as_ref().is_none_or(|connection| connection.id == id);
        if is_the_last && self.schedule.connected() {
            self.connection = None;
            self.record_disconnect(self.stamp(at));
        }
    }

    pub(super) fn record_disconnect(&mut self, at: i64) {
        let line = log::write::empty_server_line(self.fold.next_n(), at, EventType::ConnectionClosed);
        if let Err(error) = self.enter(line) {
            tracing::error!(session = self.id, %error, "the server's own event was refused");
        }
    }

    pub(super) fn synced(&mut self, id: ConnectionId, ct: i64, at: i64) {
        if self.is_current(id) {
            self.record(self.stamp(at), EventType::ClockSynced, &ClockReading { ct });
        }
    }

    /// The handshake is over: where the session stands, and what is open.
    pub(super) fn welcome(&mut self, id: ConnectionId) {
        if !self.is_current(id) {
            return;
        }
        if let Some(connection) = &mut self.connection {
            connection.welcomed = true;
        }
        let pause = self.pause();
        self.told_pause = pause;
        let duration_ms = self.fold.opened().map_or(0, |opened| opened.duration_ms);
        self.tell(ServerMessage::Welcome(Welcome {
            session: self.id.clone(),
            acknowledged: self.fold.last_seq(),
            duration_ms,
            furthest_ms: self.fold.furthest_ms(),
            position_ms: self.position_to_go_on_ms(),
            heartbeat_ms: self.policy.schedule.heartbeat_ms,
            pause,
        }));
        self.ask_again();
    }

    /// Where the player stood last; in a new session, the first moment that is not covered yet.
    fn position_to_go_on_ms(&self) -> i64 {
        if let Some(last) = self.fold.last_observation() {
            return last.pos_ms;
        }
        let covered = self.fold.opened().map(|opened| opened.facts.covered_before.as_slice()).unwrap_or_default();
        match covered.first() {
            Some((0, to)) => (*to).min(self.fold.furthest_ms()),
            _ => 0,
        }
    }

    pub(super) fn is_current(&self, id: ConnectionId) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.id == id && !connection.refused)
    }

    /// Takes an event in order; the one that cannot be taken ends the connection, what came before it counts.
    /// `acknowledges`: the first of its turn, and when it arrived.
    pub(super) fn client_event(
        &mut self,
        id: ConnectionId,
        event: &ClientEvent,
        at: i64,
        acknowledges: Option<Stopwatch>,
    ) {
        if !self.is_current(id) {
            return;
        }
        let at = self.stamp(at);
        self.last_heard_at = at;
        self.after.extend(acknowledges.map(After::Acknowledge));
        let seq_before = self.fold.last_seq();
        if let Err(error) = self.event(event, at) {
            self.refuse(error);
        }
        self.services.telemetry.events.inc_by(self.fold.last_seq() - seq_before);
    }

    fn event(&mut self, event: &ClientEvent, at: i64) -> Result<(), ErrorMessage> {
        if event.seq <= self.fold.last_seq() {
            return Ok(());
        }
        if event.seq != self.fold.last_seq() + 1 {
            let detail = format!("expected {}", self.fold.last_seq() + 1);
            return Err(refusal(ErrorCode::SeqGap, Some("seq"), &detail));
        }
        let known = EventType::from_word(&event.kind);
        if known.is_some_and(|kind| kind.source() == Source::Server) {
            return Err(refusal(ErrorCode::ServerEvent, Some("type"), "only the server makes such events"));
        }
        self.check_clock(event.ct)?;
        let data = event.data.get();
        let line = log::write::client_line(self.fold.next_n(), at, event.seq, event.ct, &event.kind, data);
        self.enter(line).map_err(|error| refusal(ErrorCode::BadMessage, Some(&error.field), &error.problem))?;
        match known {
            Some(EventType::PromptAnswered) => self.answered(&event.kind, data, at),
            None if !self.noticed_unknown => {
                self.noticed_unknown = true;
                let detail = format!("events of type {:?} are kept, and mean nothing here", event.kind);
                self.tell(ServerMessage::Notice { code: "unknown_event".into(), detail });
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn check_clock(&mut self, ct: i64) -> Result<(), ErrorMessage> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        // Compared with events only: what was kept from before this connection is older than its hello.
        if connection.last_ct.is_some_and(|last_ct| ct < last_ct) {
            return Err(refusal(ErrorCode::CtDecreased, Some("ct"), "lower than the event before"));
        }
        connection.last_ct = Some(ct);
        Ok(())
    }

    /// An answer counts once: it resolves its prompt, right or wrong.
    fn answered(&mut self, kind: &str, data: &str, at: i64) {
        let Ok(log::Body::PromptAnswered(answered)) = log::parse_client_event(kind, data) else { return };
        let Some(open) = self.schedule.open_prompt().filter(|open| open.id == answered.prompt) else { return };
        let in_time = self.schedule.prompt_expires_at().is_some_and(|expires_at| at <= expires_at);
        let passes = self.challenge(open.number).passes(&answered.answer);
        let outcome = match (in_time, passes) {
            (false, _) => PromptOutcome::Expired,
            (true, true) => PromptOutcome::Passed,
            (true, false) => PromptOutcome::Failed,
        };
        self.resolve(&answered.prompt, outcome, at);
    }

    /// What the open prompt asks, or the one that is issued now.
    pub(super) fn challenge(&self, number: u64) -> Challenge {
        Challenge::draw(self.schedule.seed(), number, self.schedule.prompt_sum_milli(), &self.questions)
    }

    pub(super) fn resolve(&mut self, prompt: &str, outcome: PromptOutcome, at: i64) {
        self.record(at, EventType::PromptResolved, &PromptResolved { prompt: prompt.into(), outcome });
        self.tell(ServerMessage::PromptClosed { prompt: prompt.to_owned(), outcome: outcome.as_str().into() });
    }

    /// A photo: for the pending capture, under its nonce, with the digest that was committed to.
    pub(super) fn photo(&mut self, id: ConnectionId, photo: IncomingPhoto, at: i64) {
        if !self.is_current(id) {
            return;
        }
        self.last_heard_at = self.stamp(at);
        let capture = photo.capture.clone();
        if let Err(mut error) = self.take_photo(photo) {
            error.capture = Some(capture);
            self.refuse(error);
        }
    }

    fn take_photo(&mut self, photo: IncomingPhoto) -> Result<(), ErrorMessage> {
        let pending = self.schedule.pending_capture().filter(|pending| pending.id == photo.capture);
        let Some(pending) = pending else { return Err(self.no_such_capture(&photo.capture)) };
        if photo.bytes.len() > self.submission_bytes_limit(pending.frames) {
            let detail = "take smaller pictures, or compress them more";
            return Err(refusal(ErrorCode::PhotoTooLarge, None, detail));
        }
        let nonce = BASE64URL.encode(self.schedule.seed().nonce(&photo.capture));
        if photo.nonce != nonce {
            return Err(refusal(ErrorCode::NonceWrong, Some("nonce"), "not the one given with this capture"));
        }
        let Some(committed) = &pending.committed else {
            return Err(refusal(ErrorCode::CaptureNotCommitted, None, "send capture.submitted first"));
        };
        let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, &photo.bytes));
        if !committed.eq_ignore_ascii_case(&sha256) {
            return Err(refusal(ErrorCode::DigestMismatch, Some("sha256"), "these bytes were not committed to"));
        }
        if self.in_check.as_ref() == Some(&photo.capture) {
            // Sent again after a reconnect: the first copy is on its way.
            return Ok(());
        }
        self.in_check = Some(photo.capture.clone());
        self.after.push(After::Check { capture: photo.capture, sha256, photo: photo.bytes });
        Ok(())
    }

    fn no_such_capture(&self, capture: &str) -> ErrorMessage {
        let number = capture.strip_prefix('c').and_then(|number| number.parse::<u64>().ok());
        if number.is_some_and(|number| number >= 1 && number <= self.schedule.captures_requested()) {
            return refusal(ErrorCode::CaptureExpired, Some("capture"), "too late, or answered already");
        }
        refusal(ErrorCode::CaptureUnknown, Some("capture"), "this session has no such capture")
    }

    /// Tells the client what is wrong; ends its connection where the protocol says so.
    pub(super) fn refuse(&mut self, error: ErrorMessage) {
        if error.code.close_code().is_none() {
            self.tell(ServerMessage::Error(error));
            return;
        }
        if let Some(connection) = &mut self.connection {
            connection.refused = true;
        }
        // What was taken before the error is acknowledged before it.
        self.after.push(After::Refuse(error));
    }
}

pub(super) fn refusal(code: ErrorCode, field: Option<&str>, detail: &str) -> ErrorMessage {
    ErrorMessage {
        code,
        field: field.map(str::to_owned),
        detail: detail.to_owned(),
        retry_after_ms: None,
        capture: None,
    }
}
