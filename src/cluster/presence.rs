//! Who plays where: finds the times in which one learner played in two sessions at once.
//!
//! Sessions report the stretches in which they were playing, in their log's event time. An overlap ends when nothing
//! has extended it for a while, or when one of its sessions leaves; then both sessions hear of it once.
//! Nothing here is kept across a restart: sessions that are taken up again report what their logs hold.

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
    /// ended overlaps that the session which they concern has not taken yet
    untold: Vec<Overlap>,
}

/// What a session learns when it reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// overlaps that have ended, for its own log
    pub mine: Vec<Overlap>,
    /// other sessions that have something to take: see [`Presence::take`]
    pub others: Vec<String>,
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
    /// Session `session` of `learner` was playing in `played`. What has ended by that is told to both sessions.
    pub fn played(&self, learner: &str, session: &str, platform: &str, played: Played) -> Told {
        let mut learners = self.lock();
        if !learners.contains_key(learner) {
            learners.insert(learner.to_owned(), Learner::default());
        }
        let Some(learner) = learners.get_mut(learner) else { return Told::default() };
        learner.forget_before(played.to_at - REMEMBERED_MS);
        learner.extend(session, platform, played);
        let ended = learner.meet(session, played);
        learner.note(ended);
        learner.tell(session)
    }

    /// The overlaps that another session's report has ended and this one has not taken yet.
    pub fn take(&self, learner: &str, session: &str) -> Vec<Overlap> {
        self.lock().get_mut(learner).map(|present| present.tell(session).mine).unwrap_or_default()
    }

    /// How long the overlap in which `session` stands has lasted, in ms; `None` while there is none.
    pub fn overlapping_ms(&self, learner: &str, session: &str) -> Option<i64> {
        let learners = self.lock();
        let open = learners.get(learner)?.overlaps.iter().filter(|open| open.pair.iter().any(|one| one == session));
        open.map(|open| open.played.to_at - open.played.from_at).max()
    }

    /// The session closes at `at`: its overlaps end.
    pub fn left(&self, learner: &str, session: &str, at: i64) -> Told {
        let mut learners = self.lock();
        let Some(present) = learners.get_mut(learner) else { return Told::default() };
        let ended = present.end_of(session);
        present.note(ended);
        let told = present.tell(session);
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
        // Who plays is here, though it was about to leave (its end could not be written).
        self.sessions[position].left_at = None;
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

    /// What `session` has to hear, and who else has something to hear.
    fn tell(&mut self, session: &str) -> Told {
        let mine = self.untold.extract_if(.., |one| one.session == session).collect();
        let gone = |name: &str| self.sessions.iter().any(|one| one.session == name && one.left_at.is_some());
        self.untold.retain(|one| !gone(&one.session));
        Told { mine, others: self.untold.iter().map(|one| one.session.clone()).collect() }
    }

    /// Keeps each ended overlap for both of its sessions.
    fn note(&mut self, ended: Vec<Open>) {
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
        let noted: Vec<Overlap> = ended.into_iter().flat_map(both).collect();
        self.untold.extend(noted);
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
            assert_eq!(presence.played("l", "a", "p1", stretch(from, from + 5_000)), Told::default());
            // b pauses for five seconds in the middle
            if from != 30_000 {
                assert_eq!(presence.played("l", "b", "p2", stretch(from, from + 5_000)), Told::default());
            }
        }
        assert_eq!(presence.overlapping_ms("l", "a"), Some(60_000));
        let told = presence.left("l", "b", 60_000);
        assert_eq!(told.others, ["a"]);
        assert_eq!(told.mine.iter().map(|one| one.played).collect::<Vec<_>>(), [stretch(0, 60_000)]);
        let to_a = presence.take("l", "a");
        assert_eq!((to_a[0].with_session.as_str(), to_a[0].with_platform.as_str()), ("b", "p2"));
        assert_eq!(to_a[0].played, stretch(0, 60_000));
        assert_eq!(presence.left("l", "a", 61_000), Told::default());
    }

    #[test]
    fn two_that_close_together_both_hear_of_it() {
        let presence = Presence::default();
        presence.played("l", "a", "p1", stretch(0, 20_000));
        presence.played("l", "b", "p1", stretch(0, 20_000));
        assert_eq!(presence.left("l", "a", 20_000).mine.len(), 1);
        // b was never woken: its own closing still finds what was kept for it.
        assert_eq!(presence.left("l", "b", 20_000).mine.len(), 1);
    }

    #[test]
    fn playing_one_after_the_other_is_no_conflict() {
        let presence = Presence::default();
        presence.played("l", "a", "p1", stretch(0, 5_000));
        presence.played("l", "b", "p1", stretch(5_000, 10_000));
        assert_eq!(presence.overlapping_ms("l", "b"), None);
        assert_eq!(presence.left("l", "a", 10_000), Told::default());
        assert_eq!(presence.left("l", "b", 10_000), Told::default());
    }

    #[test]
    fn an_overlap_ends_when_one_plays_on_alone() {
        let presence = Presence::default();
        presence.played("l", "a", "p1", stretch(0, 8_000));
        assert_eq!(presence.played("l", "b", "p1", stretch(2_000, 12_000)), Told::default());
        let told = presence.played("l", "b", "p1", stretch(12_000, 48_000));
        assert_eq!(told.mine[0].played, stretch(2_000, 8_000));
        assert_eq!(told.others, ["a"]);
    }

    #[test]
    fn what_comes_late_still_meets_who_left_before() {
        let presence = Presence::default();
        presence.played("l", "a", "p1", stretch(0, 20_000));
        presence.played("l", "b", "p1", stretch(0, 1));
        presence.left("l", "a", 20_000);
        presence.played("l", "b", "p1", stretch(5_000, 15_000));
        let told = presence.left("l", "b", 30_000);
        assert!(told.mine.iter().any(|one| one.played == stretch(5_000, 15_000)), "{told:?}");
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
