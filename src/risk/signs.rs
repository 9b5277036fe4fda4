//! What one session gives away about itself, from its own log.
//!
//! It is fed every event that the log accepts, live and when a log is taken up again, so a restart loses nothing. It
//! keeps a few numbers, looks nothing up and allocates nothing: a heartbeat costs some tens of instructions.

use std::sync::Arc;

use super::Sign;
use crate::log::{Body, Event, FaceOutcome, Heartbeat, Origin, PromptOutcome};
use crate::policy::RiskThresholds;

/// Playing is told once in this time, ms.
const MARK_EVERY_MS: i64 = 60_000;
/// Intervals of one block.
const BLOCK_INTERVALS: u32 = 64;
/// A block says something when so many of its intervals are not the commonest, and so many different ones occur: by
/// chance two such blocks are the same once in 2^40 and more.
const BLOCK_OTHERS: u32 = 10;
const BLOCK_KINDS: usize = 4;
/// Different intervals of a block that are told apart.
const KINDS_KEPT: usize = 8;
/// Some browsers show the time in steps of 16.67 or 100 ms, and their honest intervals are all the same. Moments of
/// other events that leave so many different remainders of 50 ms prove a finer clock: steps of 16.67 ms leave three.
const REMAINDERS_OF_FINE_CLOCK: u32 = 8;
/// No browser's clock is as coarse as this, ms: events that all stand on such a grid were given their times.
const GRID_MS: i64 = 1_000;
/// How many events other than heartbeats must stand on it.
const EVENTS_ON_GRID: u32 = 8;

/// The state of one session.
#[derive(Clone, Debug, Default)]
pub struct SessionSigns {
    connections: u32,
    address: Option<Arc<str>>,
    device: Option<Arc<str>>,
    marked_at: Option<i64>,
    prompt: Option<OpenPrompt>,
    beats: Beats,
    clock: ClockSteps,
}

#[derive(Clone, Debug)]
struct OpenPrompt {
    id: String,
    issued_at: i64,
    answered_at: Option<i64>,
    /// the connection broke meanwhile: the time says nothing
    interrupted: bool,
}

#[derive(Clone, Debug, Default)]
struct Beats {
    last: Option<(i64, Heartbeat)>,
    even: Run,
    interval_ms: i64,
    locked: Run,
    /// how many of the locked intervals differ from the one before
    varied: i64,
    block: Block,
}

/// How often in a row something was so, and when to speak of it next.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    length: i64,
    told: i64,
}

#[derive(Clone, Debug)]
struct Block {
    number: u32,
    intervals: u32,
    digest: u64,
    kinds: [(i64, u32); KINDS_KEPT],
    kinds_len: usize,
}

/// What the moments of events other than heartbeats say about the steps of the client's clock.
#[derive(Clone, Copy, Debug, Default)]
struct ClockSteps {
    /// a bit for each remainder of 50 ms
    remainders: u64,
    events: u32,
    /// the remainder of [`GRID_MS`] that all had so far
    on_grid: Option<i64>,
    off_grid: bool,
}

impl SessionSigns {
    /// A client has connected from this address and on this device, as told by the connection itself.
    pub fn connected(&mut self, address: Option<Arc<str>>, device: Option<Arc<str>>) -> Sign {
        self.address.clone_from(&address);
        self.device.clone_from(&device);
        // The log's own `connection.opened` has been observed already.
        Sign::Connected { address, device, first: self.connections <= 1 }
    }

    /// Takes the next event of the log; adds to `told` what others should know.
    pub fn observe(&mut self, event: &Event, thresholds: &RiskThresholds, told: &mut Vec<Sign>) {
        if let Origin::Client { ct, .. } = event.origin {
            match &event.body {
                Body::Heartbeat(beat) => return self.heartbeat(event.at, ct, *beat, thresholds, told),
                Body::PromptAnswered(answered) => {
                    if let Some(open) = self.prompt.as_mut().filter(|open| open.id == answered.prompt) {
                        open.answered_at = Some(event.at);
                    }
                }
                _ => {}
            }
            return self.clock.note(ct);
        }
        match &event.body {
            Body::ConnectionOpened(_) => self.connections += 1,
            Body::ConnectionClosed => {
                if let Some(open) = &mut self.prompt {
                    open.interrupted = true;
                }
            }
            Body::PromptIssued(issued) => {
                let (id, issued_at) = (issued.prompt.clone().into_owned(), event.at);
                self.prompt = Some(OpenPrompt { id, issued_at, answered_at: None, interrupted: false });
            }
            Body::PromptResolved(resolved) => {
                if let Some(open) = self.prompt.take_if(|open| open.id == resolved.prompt) {
                    told.extend(open.answered(resolved.outcome));
                }
            }
            Body::FaceChecked(checked) if checked.outcome == FaceOutcome::Match => {
                told.push(Sign::FaceMatched { address: self.address.clone(), device: self.device.clone() });
            }
            Body::PresenceConflict(conflict) => told.push(Sign::Conflict {
                with_session: conflict.with_session.as_ref().into(),
                with_platform: conflict.with_platform.as_ref().into(),
                overlap_ms: conflict.to_at - conflict.from_at,
            }),
            _ => {}
        }
    }

    fn heartbeat(&mut self, at: i64, ct: i64, beat: Heartbeat, thresholds: &RiskThresholds, told: &mut Vec<Sign>) {
        if beat.playing && self.marked_at.is_none_or(|marked_at| at - marked_at >= MARK_EVERY_MS) {
            self.marked_at = Some(at);
            told.push(Sign::Playing { device: self.device.clone() });
        }
        let beats = &mut self.beats;
        let Some((last_ct, last)) = beats.last.replace((ct, beat)) else { return };
        let interval_ms = ct.saturating_sub(last_ct);
        let varies = interval_ms != beats.interval_ms;
        beats.interval_ms = interval_ms;
        if varies {
            beats.even = Run::default();
        }
        beats.even.length += 1;
        if last.playing && beat.playing && interval_ms > 0 && beat.pos_ms.saturating_sub(last.pos_ms) == interval_ms {
            beats.locked.length += 1;
            beats.varied += i64::from(varies);
        } else {
            (beats.locked, beats.varied) = (Run::default(), 0);
        }
        told.extend(beats.block.take(interval_ms));
        let limit = thresholds.heartbeat_intervals;
        if beats.even.is_due(limit) && self.clock.may_be_believed(ct) {
            told.push(Sign::EvenBeats { intervals: beats.even.tell(), interval_ms });
        }
        // Where the timer hardly varies, a film without sound, which runs by the same clock, stays in step with it.
        let varied = beats.varied >= beats.locked.length / 2;
        if varied && beats.locked.is_due(limit) && self.clock.may_be_believed(ct) {
            told.push(Sign::LockedPosition { intervals: beats.locked.tell() });
        }
    }
}

impl OpenPrompt {
    fn answered(&self, outcome: PromptOutcome) -> Option<Sign> {
        let answered_at = self.answered_at.filter(|_| !self.interrupted && outcome != PromptOutcome::Expired)?;
        let passed = outcome == PromptOutcome::Passed;
        Some(Sign::Answered { after_ms: answered_at - self.issued_at, passed })
    }
}

impl Run {
    fn is_due(&self, limit: i64) -> bool {
        self.length >= self.told.saturating_add(limit)
    }

    fn tell(&mut self) -> i64 {
        self.told = self.length;
        self.length
    }
}

impl Default for Block {
    fn default() -> Self {
        Self { number: 0, intervals: 0, digest: FNV_OFFSET, kinds: [(0, 0); KINDS_KEPT], kinds_len: 0 }
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x100_0000_01b3;

impl Block {
    /// Takes the next interval; gives the block's digest when it is full and says something.
    fn take(&mut self, interval_ms: i64) -> Option<Sign> {
        for byte in interval_ms.to_le_bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        self.intervals += 1;
        match self.kinds[..self.kinds_len].iter_mut().find(|(kind, _)| *kind == interval_ms) {
            Some((_, count)) => *count += 1,
            None if self.kinds_len < KINDS_KEPT => {
                self.kinds[self.kinds_len] = (interval_ms, 1);
                self.kinds_len += 1;
            }
            // Yet another one: it is one of the others, whichever.
            None => {}
        }
        if self.intervals < BLOCK_INTERVALS {
            return None;
        }
        let commonest = self.kinds.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let says_something = self.intervals - commonest >= BLOCK_OTHERS && self.kinds_len >= BLOCK_KINDS;
        let sign = Sign::Block { number: self.number, digest: self.digest };
        *self = Self { number: self.number + 1, ..Self::default() };
        says_something.then_some(sign)
    }
}

impl ClockSteps {
    fn note(&mut self, ct: i64) {
        self.remainders |= 1 << ct.rem_euclid(50);
        self.events = self.events.saturating_add(1);
        let remainder = ct.rem_euclid(GRID_MS);
        self.off_grid |= *self.on_grid.get_or_insert(remainder) != remainder;
    }

    /// Whether intervals that are all the same come from somebody's arithmetic rather than from a coarse clock.
    fn may_be_believed(&self, beat_ct: i64) -> bool {
        let on_grid = !self.off_grid && self.on_grid == Some(beat_ct.rem_euclid(GRID_MS));
        self.remainders.count_ones() >= REMAINDERS_OF_FINE_CLOCK || (on_grid && self.events >= EVENTS_ON_GRID)
    }
}
