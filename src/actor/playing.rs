//! What a session tells the table of who plays where, and what it hears of overlaps with other sessions.
//!
//! A table of this process hears it with each turn. One that several nodes share hears when play begins and ends and, as long
//! as it goes on, from time to time; with each turn only while another session of the learner plays too.
//!
//! The table may not answer, or may have lost everything. Then the learner's events go on, and what was to be said waits
//! for the next turn.

use std::collections::BTreeMap;

use super::live::{After, Live};
use crate::cluster::{Overlap, Played, Report, Told};
use crate::gateway::wire::ServerMessage;
use crate::log::{EventType, PresenceConflict};
use crate::session::Intervals;

/// Stretches that wait to be reported, and that are kept in case the table loses them. The table keeps half as many.
const STRETCHES_LIMIT: usize = 64;

/// How much play may wait to be reported while nobody else plays, ms: as much as one gap between observations. Whoever begins beside
/// it has it called, so this is only how long a table that has lost everything, or a call that was lost, goes unnoticed.
const REPORTED_EVERY_MS: i64 = 30_000;

/// Where the session was playing, and who knows of it.
#[derive(Default)]
pub(super) struct Playing {
    /// the table is shared: it hears of stretches, not of each turn
    by_stretches: bool,
    /// the table may believe that the session plays on
    said_to_play: bool,
    /// another session of the learner plays on, as far as the table has said
    accompanied: bool,
    /// not reported yet, in order
    waiting: Vec<Played>,
    /// reported: to be said again if the table has lost it
    reported: Vec<Played>,
    /// what the log says of overlaps, by the other session: the table may tell some of it once more
    logged: BTreeMap<Box<str>, Intervals>,
    /// overlaps of which the table does not know that they are in the log
    unconfirmed: Vec<Overlap>,
    /// up to here, what overlapped another session is in the log
    told_to: i64,
    /// the table has kept something for this session
    is_called: bool,
    /// an overlap is under way, of which the learner was warned
    overlaps: bool,
    /// the table did not answer, and the log of the server says so
    said_away: bool,
}

impl Playing {
    /// `is_shared`: each report to the table costs more than what it tells.
    pub(super) fn new(is_shared: bool) -> Self {
        Self { by_stretches: is_shared, ..Self::default() }
    }

    /// Whether the table is to hear of it at the end of this turn. `plays_on`: the player plays, and its page is there.
    fn is_due(&self, plays_on: bool) -> bool {
        let waits_ms = match (self.waiting.first(), self.waiting.last()) {
            (Some(first), Some(last)) => last.to_at - first.from_at,
            _ => 0,
        };
        let at_once = !self.by_stretches || self.accompanied || self.overlaps;
        let turns = self.by_stretches && plays_on != self.said_to_play;
        self.is_called || turns || waits_ms > 0 && (at_once || waits_ms >= REPORTED_EVERY_MS)
    }

    /// What is to be told. `plays_on` as above; `left_at`: the session closes then.
    fn report<'a>(&'a self, whose: Whose<'a>, plays_on: bool, left_at: Option<i64>) -> Report<'a> {
        Report {
            learner: whose.learner,
            session: whose.session,
            platform: whose.platform,
            played: &self.waiting,
            logged: &self.unconfirmed,
            continues: !self.reported.is_empty(),
            plays_on: self.by_stretches && plays_on && left_at.is_none(),
            left_at,
        }
    }

    /// The table has answered. False: it knew nothing of what was reported before, and is to be told all.
    fn answered(&mut self, told: &Told, plays_on: bool) -> bool {
        if !self.reported.is_empty() && !told.known {
            self.lost();
            return false;
        }
        self.arrived();
        (self.said_to_play, self.accompanied) = (plays_on, told.accompanied);
        true
    }

    /// Stretches that follow each other are one.
    pub(super) fn played(&mut self, played: Played) {
        push(&mut self.waiting, played);
    }

    /// The table has kept something for this session to take.
    pub(super) fn called(&mut self) {
        self.is_called = true;
    }

    /// An overlap is in the log.
    pub(super) fn logged(&mut self, with_session: &str, played: Played) {
        self.told_to = self.told_to.max(played.to_at);
        self.logged.entry(with_session.into()).or_default().add(played.from_at, played.to_at);
    }

    /// What of an overlap the log does not say yet. After a restart, or when the table could not be told that it is
    /// logged, it is heard of twice.
    fn not_logged(&self, overlap: &Overlap) -> Vec<Played> {
        let Played { from_at, to_at } = overlap.played;
        match self.logged.get(overlap.with_session.as_str()) {
            Some(logged) => logged.gaps(from_at, to_at).map(|(from_at, to_at)| Played { from_at, to_at }).collect(),
            None => vec![overlap.played],
        }
    }

    /// Takes up a session from its log: what overlapped was told, and the rest others have to hear of once more. `was_played`: it
    /// may have said to play on.
    pub(super) fn taken_up(&mut self, was_played: bool) {
        // By whoever had it before.
        self.said_to_play = was_played;
        forget_before(&mut self.waiting, self.told_to);
    }

    /// The table knows nothing of what was reported to it.
    fn lost(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting = std::mem::take(&mut self.reported);
        forget_before(&mut self.waiting, self.told_to);
        waiting.into_iter().for_each(|played| push(&mut self.waiting, played));
    }

    fn arrived(&mut self) {
        for played in std::mem::take(&mut self.waiting) {
            push(&mut self.reported, played);
        }
        self.unconfirmed.clear();
        (self.is_called, self.said_away) = (false, false);
    }
}

/// Who reports.
#[derive(Clone, Copy)]
struct Whose<'a> {
    learner: &'a str,
    session: &'a str,
    platform: &'a str,
}

fn push(stretches: &mut Vec<Played>, played: Played) {
    match stretches.last_mut() {
        Some(last) if last.to_at == played.from_at => last.to_at = played.to_at,
        _ => stretches.push(played),
    }
    if stretches.len() > STRETCHES_LIMIT {
        // The oldest would be late for anything that it could still overlap.
        stretches.remove(0);
    }
}

fn forget_before(stretches: &mut Vec<Played>, at: i64) {
    stretches.retain_mut(|played| {
        played.from_at = played.from_at.max(at);
        played.from_at < played.to_at
    });
}

impl Live {
    /// The others hear of what was played, and this session of what overlapped.
    pub(super) async fn tell_played(&mut self) {
        if self.playing.is_due(self.plays_on()) {
            self.report(None).await;
        }
    }

    /// The session closes at `at`: its overlaps end.
    pub(super) async fn leave_the_others(&mut self, at: i64) {
        self.report(Some(at)).await;
    }

    fn plays_on(&self) -> bool {
        self.fold.playing() && self.schedule.connected()
    }

    async fn report(&mut self, left_at: Option<i64>) {
        let plays_on = self.plays_on();
        let Some(opened) = self.fold.opened() else { return };
        let services = self.services.clone();
        let whose = Whose { learner: &opened.learner, session: &self.id, platform: &opened.platform };
        // Once more if the table has lost what was reported before; not for ever, should it lose it at once.
        for _ in 0..2 {
            match services.presence.report(self.playing.report(whose, plays_on, left_at)).await {
                Ok(told) => {
                    if self.playing.answered(&told, plays_on) {
                        self.warn_of_overlap(told.overlapping_ms);
                        return self.spread(told);
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.playing.said_away, true) {
                        tracing::warn!(session = self.id, %error, "where a learner plays cannot be told to others yet");
                    }
                    return;
                }
            }
        }
    }

    fn warn_of_overlap(&mut self, overlapping_ms: Option<i64>) {
        if let Some(since_ms) = overlapping_ms
            && !self.playing.overlaps
        {
            let (rule, cause) = ("multi_window".into(), Some("session".into()));
            self.after.push(After::Tell(ServerMessage::Warning { rule, cause, since_ms: Some(since_ms) }));
        }
        self.playing.overlaps = overlapping_ms.is_some();
    }

    /// Enters the overlaps that concern this session, and wakes the others that have some to take.
    fn spread(&mut self, told: Told) {
        for overlap in told.mine {
            self.overlap(overlap);
        }
        for other in told.others {
            self.registry.wake(&other);
        }
    }

    fn overlap(&mut self, overlap: Overlap) {
        for Played { from_at, to_at } in self.playing.not_logged(&overlap) {
            let data = PresenceConflict {
                with_session: overlap.with_session.as_str().into(),
                with_platform: overlap.with_platform.as_str().into(),
                from_at,
                to_at,
            };
            self.record(self.now(), EventType::PresenceConflict, &data);
        }
        self.playing.unconfirmed.push(overlap);
    }
}

#[cfg(test)]
#[path = "playing_tests.rs"]
mod protocol_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(from_at: i64, to_at: i64) -> Played {
        Played { from_at, to_at }
    }

    #[test]
    fn what_the_table_has_lost_is_said_again_before_what_is_new() {
        let mut playing = Playing::default();
        playing.played(stretch(0, 5_000));
        playing.played(stretch(5_000, 9_000));
        playing.played(stretch(20_000, 25_000));
        assert_eq!(playing.waiting, [stretch(0, 9_000), stretch(20_000, 25_000)]);
        playing.arrived();
        playing.logged("b", stretch(2_000, 6_000));
        playing.played(stretch(25_000, 30_000));
        playing.lost();
        assert_eq!(playing.waiting, [stretch(6_000, 9_000), stretch(20_000, 30_000)]);
        assert_eq!(playing.reported, []);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut playing = Playing::default();
        (0..1_000).for_each(|k| playing.played(stretch(k * 10, k * 10 + 1)));
        assert_eq!(playing.waiting.len(), STRETCHES_LIMIT);
        assert_eq!(playing.waiting.last(), Some(&stretch(9_990, 9_991)));
    }

    #[test]
    fn of_an_overlap_that_is_told_twice_only_what_is_new_is_logged() {
        let mut playing = Playing::default();
        assert_eq!(playing.not_logged(&overlap(0, 9_000)), [stretch(0, 9_000)]);
        playing.logged("b", stretch(2_000, 6_000));
        assert_eq!(playing.not_logged(&overlap(2_000, 6_000)), []);
        assert_eq!(playing.not_logged(&overlap(0, 9_000)), [stretch(0, 2_000), stretch(6_000, 9_000)]);
        playing.logged("c", stretch(0, 9_000));
        assert_eq!(playing.not_logged(&overlap(5_000, 7_000)), [stretch(6_000, 7_000)], "with another session");
    }

    fn overlap(from_at: i64, to_at: i64) -> Overlap {
        let (session, with_session, with_platform) = ("a".to_owned(), "b".to_owned(), "p".to_owned());
        Overlap { session, with_session, with_platform, played: stretch(from_at, to_at) }
    }
}
