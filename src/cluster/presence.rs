//! Who plays where: finds the times in which one learner played in two sessions at once.
//!
//! Sessions report the stretches in which they were playing, in their log's event time. An overlap ends when nothing
//! has extended it for a while, or when one of its sessions leaves; then both sessions hear of it, again and again until
//! they say that it is in their log. A stretch that was reported before changes nothing, so whoever does not know whether
//! a report arrived makes it once more.
//!
//! Where a report is not free, whoever plays alone says only that it plays, and where from time to time. Who begins
//! beside it hears that it is not alone, and it is called to say the rest; from then on both report each turn.
//!
//! This is the table of one node, in memory. Nothing in it is kept across a restart: sessions that are taken up again
//! report what their logs hold. The table that several nodes share is a script with the same rules
//! (`redis/lua/presence.lua`); a property test holds the two to each other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::redis::{Away, SharedPresence};

/// Pauses shorter than this belong to the overlap or stretch that they interrupt.
pub(super) const PAUSE_BRIDGED_MS: i64 = 10_000;
/// Playing alone for so long ends an overlap: the other's reports may be as late as an event that earns credit.
pub(super) const ALONE_ENDS_MS: i64 = PAUSE_BRIDGED_MS + 30_000;
/// How long a session that left can still be overlapped by what another reports late: the time for which late
/// events earn credit, and a little more.
pub(super) const REMEMBERED_MS: i64 = 60_000;
/// Stretches kept of one session; older ones are of no use, since what overlaps them would be late.
pub const STRETCHES_KEPT: usize = 32;

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

/// What a session says at the end of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// who learns
    pub learner: &'a str,
    /// who reports
    pub session: &'a str,
    /// its platform
    pub platform: &'a str,
    /// where it was playing since its last report, in order
    pub played: &'a [Played],
    /// the overlaps that are in its log by now and need not be told again
    pub logged: &'a [Overlap],
    /// whether it has reported before: a table that does not know of it then takes nothing, because what comes is not all
    pub continues: bool,
    /// whether it plays on, and may say where only later: whoever plays beside it has to ask
    pub plays_on: bool,
    /// when it closes, if it does
    pub left_at: Option<i64>,
}

impl Report<'_> {
    /// Whether it says that the session is there: it played, or plays.
    fn is_here(&self) -> bool {
        !self.played.is_empty() || self.plays_on
    }
}

/// What a session learns when it reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// overlaps that have ended, for its own log
    pub mine: Vec<Overlap>,
    /// other sessions that are to report too: they have something to take, or play on without knowing of this one
    pub others: Vec<String>,
    /// whether another session of this learner plays on
    pub accompanied: bool,
    /// how long the overlap in which it stands has lasted, in ms; none while there is none
    pub overlapping_ms: Option<i64>,
    /// whether the table knew of it
    pub known: bool,
}

/// Who plays where, on this node or on all of them.
pub enum Presence {
    /// In memory, for one node.
    Local(PresenceTable),
    /// In Redis, for several.
    Redis(SharedPresence),
}

impl Presence {
    /// Takes what a session has to report, and tells it what it has to hear. At once on one node.
    ///
    /// # Errors
    /// When the shared table did not answer in time. The report is to be made again, and may be.
    pub async fn report(&self, report: Report<'_>) -> Result<Told, Away> {
        match self {
            Self::Local(table) => Ok(table.report(report)),
            Self::Redis(shared) => shared.report(report).await,
        }
    }

    /// Whether several nodes share it, so that each report costs more than what it tells.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Redis(_))
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self::Local(PresenceTable::default())
    }
}

/// The table of one node. All times come from the callers.
#[derive(Default)]
pub struct PresenceTable {
    learners: Mutex<HashMap<String, Learner>>,
}

#[derive(Default)]
struct Learner {
    sessions: Vec<Present>,
    overlaps: Vec<Open>,
    /// ended overlaps that are not in the log of the session which they concern yet
    untold: Vec<Overlap>,
}

struct Present {
    session: String,
    platform: String,
    stretches: Vec<Played>,
    /// up to here it has reported
    reported_to: i64,
    /// it plays on, and what it played may not be reported yet
    plays_on: bool,
    /// it was told that another plays on
    accompanied: bool,
    /// when it left; it is forgotten [`REMEMBERED_MS`] later
    left_at: Option<i64>,
}

/// An overlap that may still grow.
struct Open {
    pair: [String; 2],
    played: Played,
}

impl PresenceTable {
    /// As [`Presence::report`].
    pub fn report(&self, report: Report) -> Told {
        let mut learners = self.lock();
        if !learners.contains_key(report.learner) {
            if !report.is_here() || report.continues {
                return Told::default();
            }
            learners.insert(report.learner.to_owned(), Learner::default());
        }
        let Some(learner) = learners.get_mut(report.learner) else { return Told::default() };
        let told = learner.take(&report);
        if learner.sessions.iter().all(|one| one.left_at.is_some()) {
            learners.remove(report.learner);
        }
        told
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Learner>> {
        self.learners.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Learner {
    fn take(&mut self, report: &Report) -> Told {
        let session = report.session;
        let known = self.sessions.iter().any(|one| one.session == session);
        if report.continues && !known {
            return Told::default();
        }
        self.untold.retain(|one| !report.logged.contains(one));
        if report.is_here() {
            self.arrive(session, report.platform);
        }
        for played in report.played {
            self.forget_before(played.from_at - REMEMBERED_MS);
            if let Some(fresh) = self.extend(session, *played) {
                let ended = self.meet(session, fresh);
                self.note(ended);
            }
        }
        if report.left_at.is_some() {
            let ended = self.overlaps.extract_if(.., |open| open.is_of(session)).collect();
            self.note(ended);
        }
        let mine = self.untold.iter().filter(|one| one.session == session).cloned().collect();
        let accompanied = self.sessions.iter().any(|one| one.session != session && one.plays_on);
        if let Some(present) = self.sessions.iter_mut().find(|one| one.session == session) {
            present.left_at = report.left_at.or(present.left_at);
            present.plays_on = report.plays_on && present.left_at.is_none();
            present.accompanied = accompanied;
        }
        let mut others = self.others(session);
        if report.plays_on {
            self.call_unaware(session, &mut others);
        }
        Told { mine, others, accompanied, overlapping_ms: self.overlapping_ms(session), known }
    }

    fn forget_before(&mut self, at: i64) {
        self.sessions.retain(|one| one.left_at.is_none_or(|left_at| left_at >= at));
    }

    /// Who plays is here, though it was about to leave (its end could not be written).
    fn arrive(&mut self, session: &str, platform: &str) {
        match self.sessions.iter_mut().find(|one| one.session == session) {
            Some(present) => present.left_at = None,
            None => self.sessions.push(Present {
                session: session.to_owned(),
                platform: platform.to_owned(),
                stretches: Vec::new(),
                reported_to: i64::MIN,
                plays_on: false,
                accompanied: false,
                left_at: None,
            }),
        }
    }

    /// Adds what is new in `played`, and returns that.
    fn extend(&mut self, session: &str, played: Played) -> Option<Played> {
        let present = self.sessions.iter_mut().find(|one| one.session == session)?;
        let fresh = Played { from_at: played.from_at.max(present.reported_to), to_at: played.to_at };
        if fresh.from_at >= fresh.to_at {
            return None;
        }
        present.reported_to = fresh.to_at;
        match present.stretches.last_mut() {
            Some(last) if fresh.from_at - last.to_at < PAUSE_BRIDGED_MS => last.to_at = fresh.to_at,
            _ => present.stretches.push(fresh),
        }
        if present.stretches.len() > STRETCHES_KEPT {
            present.stretches.remove(0);
        }
        Some(fresh)
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
        let over = |open: &Open| open.is_of(session) && played.to_at - open.played.to_at >= ALONE_ENDS_MS;
        ended.extend(self.overlaps.extract_if(.., |open| over(open)));
        ended
    }

    /// Who else has something to hear. Who has left hears nothing any more.
    fn others(&mut self, session: &str) -> Vec<String> {
        let here = |name: &str| self.sessions.iter().any(|one| one.session == name && one.left_at.is_none());
        self.untold.retain(|one| here(&one.session));
        let mut others: Vec<String> = Vec::new();
        for one in self.untold.iter().filter(|one| one.session != session) {
            if !others.contains(&one.session) {
                others.push(one.session.clone());
            }
        }
        others
    }

    /// Who plays on and does not know that `session` does too has not said all that may overlap.
    fn call_unaware(&self, session: &str, others: &mut Vec<String>) {
        for one in self.sessions.iter().filter(|one| one.session != session && one.plays_on && !one.accompanied) {
            if !others.contains(&one.session) {
                others.push(one.session.clone());
            }
        }
    }

    fn overlapping_ms(&self, session: &str) -> Option<i64> {
        let open = self.overlaps.iter().filter(|open| open.is_of(session));
        open.map(|open| open.played.to_at - open.played.from_at).max()
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

impl Open {
    fn is_of(&self, session: &str) -> bool {
        self.pair.iter().any(|one| one == session)
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

    const NOTHING: Report = Report {
        learner: "l",
        session: "a",
        platform: "p1",
        played: &[],
        logged: &[],
        continues: false,
        plays_on: false,
        left_at: None,
    };

    /// A table whose sessions log at once what they are told.
    #[derive(Default)]
    struct Desk(PresenceTable);

    impl Desk {
        fn told(&self, report: Report) -> Told {
            let told = self.0.report(report);
            let repeated = self.0.report(Report { logged: &told.mine, played: &[], ..report });
            assert_eq!(repeated.mine, [], "what is in the log is not told again");
            told
        }

        fn played(&self, session: &str, platform: &str, played: Played) -> Told {
            self.told(Report { session, platform, played: &[played], ..NOTHING })
        }

        fn left(&self, session: &str, at: i64) -> Told {
            self.told(Report { session, left_at: Some(at), ..NOTHING })
        }

        fn take(&self, session: &str) -> Told {
            self.told(Report { session, ..NOTHING })
        }
    }

    fn nothing(told: &Told) -> bool {
        told.mine.is_empty() && told.others.is_empty()
    }

    #[test]
    fn one_conflict_for_an_overlap_with_short_pauses_told_to_both() {
        let desk = Desk::default();
        for from in (0..60_000).step_by(5_000) {
            assert!(nothing(&desk.played("a", "p1", stretch(from, from + 5_000))));
            // b pauses for five seconds in the middle
            if from != 30_000 {
                assert!(nothing(&desk.played("b", "p2", stretch(from, from + 5_000))));
            }
        }
        assert_eq!(desk.take("a").overlapping_ms, Some(60_000));
        let told = desk.left("b", 60_000);
        assert_eq!(told.others, ["a"]);
        assert_eq!(told.mine.iter().map(|one| one.played).collect::<Vec<_>>(), [stretch(0, 60_000)]);
        let to_a = desk.take("a").mine;
        assert_eq!((to_a[0].with_session.as_str(), to_a[0].with_platform.as_str()), ("b", "p2"));
        assert_eq!(to_a[0].played, stretch(0, 60_000));
        assert!(nothing(&desk.left("a", 61_000)));
    }

    #[test]
    fn what_is_not_in_a_log_yet_is_told_again() {
        let table = PresenceTable::default();
        let both = [stretch(0, 20_000)];
        table.report(Report { session: "a", played: &both, ..NOTHING });
        table.report(Report { session: "b", played: &both, left_at: Some(20_000), ..NOTHING });
        let first = table.report(NOTHING);
        assert_eq!((first.mine.len(), table.report(NOTHING)), (1, first.clone()));
        assert_eq!(table.report(Report { logged: &first.mine, ..NOTHING }).mine, []);
    }

    #[test]
    fn two_that_close_together_both_hear_of_it() {
        let desk = Desk::default();
        desk.played("a", "p1", stretch(0, 20_000));
        desk.played("b", "p1", stretch(0, 20_000));
        assert_eq!(desk.left("a", 20_000).mine.len(), 1);
        // b was never woken: its own closing still finds what was kept for it.
        assert_eq!(desk.left("b", 20_000).mine.len(), 1);
    }

    #[test]
    fn playing_one_after_the_other_is_no_conflict() {
        let desk = Desk::default();
        desk.played("a", "p1", stretch(0, 5_000));
        let told = desk.played("b", "p1", stretch(5_000, 10_000));
        assert_eq!(told.overlapping_ms, None);
        assert!(nothing(&desk.left("a", 10_000)));
        assert!(nothing(&desk.left("b", 10_000)));
    }

    #[test]
    fn an_overlap_ends_when_one_plays_on_alone() {
        let desk = Desk::default();
        desk.played("a", "p1", stretch(0, 8_000));
        assert!(nothing(&desk.played("b", "p1", stretch(2_000, 12_000))));
        let told = desk.played("b", "p1", stretch(12_000, 48_000));
        assert_eq!(told.mine[0].played, stretch(2_000, 8_000));
        assert_eq!(told.others, ["a"]);
    }

    #[test]
    fn what_comes_late_still_meets_who_left_before() {
        let desk = Desk::default();
        desk.played("a", "p1", stretch(0, 20_000));
        desk.played("b", "p1", stretch(0, 1));
        desk.left("a", 20_000);
        desk.played("b", "p1", stretch(5_000, 15_000));
        let told = desk.left("b", 30_000);
        assert!(told.mine.iter().any(|one| one.played == stretch(5_000, 15_000)), "{told:?}");
    }

    #[test]
    fn a_report_that_is_made_twice_counts_once() {
        let once = Desk::default();
        let twice = Desk::default();
        let reports = [("a", 0, 9_000), ("b", 4_000, 12_000), ("a", 9_000, 30_000), ("b", 26_000, 80_000)];
        for (session, from, to) in reports {
            let expected = once.played(session, "p1", stretch(from, to));
            let told = twice.played(session, "p1", stretch(from, to));
            assert_eq!(told, expected);
            let again = twice.played(session, "p1", stretch(from, to));
            assert_eq!((again.mine, again.overlapping_ms), (vec![], expected.overlapping_ms));
        }
        assert_eq!(twice.left("a", 90_000), once.left("a", 90_000));
    }

    #[test]
    fn a_table_that_has_lost_everything_says_so() {
        let table = PresenceTable::default();
        let report = Report { played: &[stretch(0, 5_000)], ..NOTHING };
        assert_eq!(table.report(Report { continues: true, ..report }), Told::default());
        assert!(!table.report(report).known);
        assert!(table.report(Report { continues: true, ..report }).known);
    }

    #[test]
    fn whoever_begins_beside_one_that_plays_on_has_it_called_until_it_knows() {
        let desk = Desk::default();
        let begins = |session| Report { session, plays_on: true, ..NOTHING };
        let first = desk.told(Report { played: &[stretch(0, 5_000)], ..begins("a") });
        assert_eq!((first.accompanied, first.others.len()), (false, 0));
        for _ in 0..2 {
            let second = desk.told(begins("b"));
            assert_eq!((second.accompanied, second.others.as_slice()), (true, ["a".to_owned()].as_slice()));
        }
        let called = desk.told(Report { played: &[stretch(5_000, 12_000)], continues: true, ..begins("a") });
        assert_eq!((called.accompanied, called.others.len()), (true, 0), "b knows");
        let told = desk.told(Report { played: &[stretch(10_000, 14_000)], ..begins("b") });
        assert_eq!((told.overlapping_ms, told.others.len()), (Some(2_000), 0), "and so does a");
        // One that stands still or has left accompanies nobody.
        desk.told(Report { plays_on: false, ..begins("b") });
        assert!(!desk.told(begins("a")).accompanied);
        desk.told(begins("b"));
        desk.told(Report { left_at: Some(20_000), ..begins("b") });
        assert!(!desk.told(begins("a")).accompanied);
    }

    #[test]
    fn different_learners_never_meet() {
        let desk = Desk::default();
        desk.played("a", "p1", stretch(0, 20_000));
        let told = desk.told(Report { learner: "m", session: "b", played: &[stretch(0, 20_000)], ..NOTHING });
        assert_eq!((told.overlapping_ms, desk.take("a").overlapping_ms), (None, None));
    }
}
