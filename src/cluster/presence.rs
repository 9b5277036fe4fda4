//! Who plays where: finds the times in which one learner played in two sessions at once.
//!
//! Sessions report the stretches in which they were playing, in their log's event time. An overlap ends when nothing
//! has extended it for a while, or when one of its sessions leaves; then both sessions hear of it once.
//! Nothing here is kept across a restart: live sessions report what their logs hold when they come back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

/// Pauses shorter than this belong to the overlap or stretch that they interrupt.
const PAUSE_BRIDGED_MS: i64 = 10_000;
/// Playing alone for so long ends an overlap: the other's reports may be as late as an event that earns credit.
const ALONE_ENDS_MS: i64 = PAUSE_BRIDGED_MS + 30_000;
/// How long a session that left can still be overlapped by what another reports late: the time for which late
/// events earn credit, and a little more.
const REMEMBERED_MS: i64 = 60_000;
/// Stretches kept of one session; older ones are of no use, since what overlaps them would be late.
const STRETCHES_KEPT: usize = 32;

/// A stretch of event time in which a session was playing, in ms since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// its beginning
    pub from_at: i64,
    /// its end
    pub to_at: i64,
}

/// A time in which a learner was playing in two sessions: what `presence.conflict` says to one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// the session that is to hear of it
    pub session: String,
    /// the other session
    pub with_session: String,
    /// the other session's platform
    pub with_platform: String,
    /// when both played
    pub played: Played,
}

/// The table of one node. All times come from the callers.
#[derive(Default)]
pub struct Presence {
    learners: Mutex<HashMap<String, Learner>>,
}

#[derive(Default)]
struct Learner {
    sessions: Vec<Present>,
    overlaps: Vec<Open>,
}

struct Present {
    session: String,
    platform: String,
    stretches: Vec<Played>,
    /// when it left; it is forgotten [`REMEMBERED_MS`] later
    left_at: Option<i64>,
}

/// An overlap that may still grow.
struct Open {
    pair: [String; 2],
    played: Played,
}

impl Presence {
    /// Session `session` of `learner` was playing in `played`. Returns the overlaps that this ends: each stands
    /// twice, once for either session.
    pub fn played(&self, learner: &str, session: &str, platform: &str, played: Played) -> Vec<Overlap> {
        let mut learners = self.lock();
        let learner = learners.entry(learner.to_owned()).or_default();
        learner.forget_before(played.to_at - REMEMBERED_MS);
        learner.extend(session, platform, played);
        let ended = learner.meet(session, played);
        learner.tell(ended)
    }

    /// How long the overlap in which `session` stands has lasted, in ms; `None` while there is none.
    pub fn overlapping_ms(&self, learner: &str, session: &str) -> Option<i64> {
        let learners = self.lock();
        let open = learners.get(learner)?.overlaps.iter().filter(|open| open.pair.iter().any(|one| one == session));
        open.map(|open| open.played.to_at - open.played.from_at).max()
    }

    /// The session closes at `at`: its overlaps end.
    pub fn left(&self, learner: &str, session: &str, at: i64) -> Vec<Overlap> {
        let mut learners = self.lock();
        let Some(present) = learners.get_mut(learner) else { return Vec::new() };
        let ended = present.end_of(session);
        let told = present.tell(ended);
        for one in present.sessions.iter_mut().filter(|one| one.session == session) {
            one.left_at = Some(at);
        }
        if present.sessions.iter().all(|one| one.left_at.is_some()) {
            learners.remove(learner);
        }
        told
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Learner>> {
        self.learners.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Learner {
    fn forget_before(&mut self, at: i64) {
        self.sessions.retain(|one| one.left_at.is_none_or(|left_at| left_at >= at));
    }

    fn extend(&mut self, session: &str, platform: &str, played: Played) {
        let position = self.sessions.iter().position(|one| one.session == session).unwrap_or_else(|| {
            let (session, platform) = (session.to_owned(), platform.to_owned());
            self.sessions.push(Present { session, platform, stretches: Vec::new(), left_at: None });
            self.sessions.len() - 1
        });
        let stretches = &mut self.sessions[position].stretches;
        match stretches.last_mut() {
            Some(last) if played.from_at - last.to_at < PAUSE_BRIDGED_MS => last.to_at = last.to_at.max(played.to_at),
            _ => stretches.push(played),
        }
        if stretches.len() > STRETCHES_KEPT {
            stretches.remove(0);
        }
    }

    /// Lets the overlaps of `session` grow by what others played in the same time; returns those that ended.
    fn meet(&mut self, session: &str, played: Played) -> Vec<Open> {
        let mut ended = Vec::new();
        for other in self.sessions.iter().filter(|one| one.session != session) {
            for stretch in &other.stretches {
                let common =
                    Played { from_at: played.from_at.max(stretch.from_at), to_at: played.to_at.min(stretch.to_at) };
                if common.from_at < common.to_at {
                    ended.extend(grow(&mut self.overlaps, [session, &other.session], common));
                }
            }
        }
        // One that this session has played well past, alone, has ended too.
        let over = |open: &Open| {
            open.pair.iter().any(|one| one == session) && played.to_at - open.played.to_at >= ALONE_ENDS_MS
        };
        ended.extend(self.overlaps.extract_if(.., |open| over(open)));
        ended
    }

    fn end_of(&mut self, session: &str) -> Vec<Open> {
        self.overlaps.extract_if(.., |open| open.pair.iter().any(|one| one == session)).collect()
    }

    /// Says each ended overlap to both of its sessions.
    fn tell(&self, ended: Vec<Open>) -> Vec<Overlap> {
        let platform = |session: &str| {
            self.sessions.iter().find(|one| one.session == session).map_or(String::new(), |one| one.platform.clone())
        };
        let both = |open: Open| {
            let [one, other] = open.pair;
            let first = Overlap {
                session: one.clone(),
                with_session: other.clone(),
                with_platform: platform(&other),
                played: open.played,
            };
            let second =
                Overlap { session: other, with_platform: platform(&one), with_session: one, played: open.played };
            [first, second]
        };
        ended.into_iter().flat_map(both).collect()
    }
}

/// Adds `common` to the open overlap of this pair; returns that overlap when the new part begins a later one.
fn grow(overlaps: &mut Vec<Open>, pair: [&str; 2], common: Played) -> Option<Open> {
    let mut pair = pair.map(str::to_owned);
    pair.sort();
    let Some(position) = overlaps.iter().position(|open| open.pair == pair) else {
        overlaps.push(Open { pair, played: common });
        return None;
    };
    let open = &mut overlaps[position];
    if common.from_at - open.played.to_at >= PAUSE_BRIDGED_MS {
        return Some(std::mem::replace(open, Open { pair, played: common }));
    }
    open.played.from_at = open.played.from_at.min(common.from_at);
    open.played.to_at = open.played.to_at.max(common.to_at);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(from_at: i64, to_at: i64) -> Played {
        Played { from_at, to_at }
    }

    #[test]
    fn one_conflict_for_an_overlap_with_short_pauses_told_to_both() {
        let presence = Presence::default();
        for from in (0..60_000).step_by(5_000) {
            assert!(presence.played("l", "a", "p1", stretch(from, from + 5_000)).is_empty());
            // b pauses for five seconds in the middle
            if from != 30_000 {
                assert!(presence.played("l", "b", "p2", stretch(from, from + 5_000)).is_empty());
            }
        }
        assert_eq!(presence.overlapping_ms("l", "a"), Some(60_000));
        let told = presence.left("l", "b", 60_000);
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|one| one.played == stretch(0, 60_000)));
        let to_a = told.iter().find(|one| one.session == "a").unwrap();
        assert_eq!((to_a.with_session.as_str(), to_a.with_platform.as_str()), ("b", "p2"));
        assert!(presence.left("l", "a", 61_000).is_empty());
    }

    #[test]
    fn playing_one_after_the_other_is_no_conflict() {
        let presence = Presence::default();
        presence.played("l", "a", "p1", stretch(0, 5_000));
        presence.played("l", "b", "p1", stretch(5_000, 10_000));
        assert_eq!(presence.overlapping_ms("l", "b"), None);
        assert!(presence.left("l", "a", 10_000).is_empty());
        assert!(presence.left("l", "b", 10_000).is_empty());
    }

    #[test]
    fn an_overlap_ends_when_one_plays_on_alone() {
        let presence = Presence::default();
        presence.played("l", "a", "p1", stretch(0, 8_000));
        assert!(presence.played("l", "b", "p1", stretch(2_000, 12_000)).is_empty());
        let told = presence.played("l", "b", "p1", stretch(12_000, 48_000));
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].played, stretch(2_000, 8_000));
    }

    #[test]
    fn what_comes_late_still_meets_who_left_before() {
        let presence = Presence::default();
        presence.played("l", "a", "p1", stretch(0, 20_000));
        presence.played("l", "b", "p1", stretch(0, 1));
        presence.left("l", "a", 20_000);
        presence.played("l", "b", "p1", stretch(5_000, 15_000));
        let told = presence.left("l", "b", 30_000);
        assert_eq!(told.iter().find(|one| one.session == "b").unwrap().played, stretch(5_000, 15_000));
    }

    #[test]
    fn different_learners_never_meet() {
        let presence = Presence::default();
        presence.played("l", "a", "p1", stretch(0, 20_000));
        presence.played("m", "b", "p1", stretch(0, 20_000));
        assert_eq!(presence.overlapping_ms("l", "a"), None);
        assert_eq!(presence.overlapping_ms("m", "b"), None);
    }
}
