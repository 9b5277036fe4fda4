//! Sessions that report by stretches, beside the same sessions when they report each turn to a table of their own: in the end
//! their logs say the same of overlaps, whatever was late, lost or taken up elsewhere in between.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::cluster::PresenceTable;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What happens to one session.
#[derive(Clone, Debug)]
struct Step {
    /// it stands still before: not at all, or longer than what belongs to the play around it
    pause_ms: i64,
    /// then it is seen to have played for so long
    for_ms: i64,
    /// after which time that is heard
    late_ms: i64,
    /// and then its node dies, and another takes it up
    dies: bool,
    /// or everything in the table is lost
    loses_table: bool,
}

fn steps(dies: bool) -> impl Strategy<Value = Vec<Step>> {
    let pause = prop_oneof![6 => Just(0), 1 => 10_000..70_000_i64];
    let long = prop_oneof![4 => Just(5_000), 1 => 1_000..30_000_i64];
    let late = prop_oneof![5 => Just(0), 1 => 0..20_000_i64];
    let (death, loss) = (prop::bool::weighted(0.1), prop::bool::weighted(0.05));
    let step = (pause, long, late, death, loss).prop_map(move |(pause_ms, for_ms, late_ms, death, loss)| Step {
        pause_ms,
        for_ms,
        late_ms,
        dies: dies && death,
        loses_table: dies && loss,
    });
    prop::collection::vec(step, 1..24)
}

/// What a session hears, in the order in which it is heard.
#[derive(Clone, Debug)]
enum Heard {
    Stands,
    Plays,
    Played(Played),
    Dies,
    TableLost,
}

fn heard(steps: &[Step], begins_at: i64) -> Vec<(i64, Heard)> {
    let (mut at, mut arrives_at, mut all) = (begins_at, begins_at, vec![(begins_at, Heard::Plays)]);
    for step in steps {
        if step.pause_ms > 0 {
            all.push((arrives_at.max(at), Heard::Stands));
            at += step.pause_ms;
            arrives_at = arrives_at.max(at);
            all.push((arrives_at, Heard::Plays));
        }
        let played = Played { from_at: at, to_at: at + step.for_ms };
        at = played.to_at;
        arrives_at = arrives_at.max(at + step.late_ms);
        all.push((arrives_at, Heard::Played(played)));
        if step.dies {
            all.push((arrives_at, Heard::Dies));
        }
        if step.loses_table {
            all.push((arrives_at, Heard::TableLost));
        }
    }
    all.push((arrives_at, Heard::Stands));
    all
}

/// A session as its node holds it.
struct One {
    playing: Playing,
    plays: bool,
    /// all that its log says it played
    all: Vec<Played>,
}

struct World {
    by_stretches: bool,
    /// every so-manieth call is lost; 0: none
    lost_calls: usize,
    table: PresenceTable,
    sessions: Vec<One>,
    reports: usize,
    calls: usize,
}

impl World {
    fn new(by_stretches: bool, sessions: usize, lost_calls: usize) -> Self {
        let one = |_| One { playing: Playing::new(by_stretches), plays: false, all: Vec::new() };
        let sessions = (0..sessions).map(one).collect();
        Self { by_stretches, lost_calls, table: PresenceTable::default(), sessions, reports: 0, calls: 0 }
    }

    fn hear(&mut self, session: usize, heard: &Heard) {
        let one = &mut self.sessions[session];
        match heard {
            Heard::Stands => one.plays = false,
            Heard::Plays => one.plays = true,
            Heard::Played(played) => {
                one.playing.played(*played);
                push(&mut one.all, *played);
            }
            Heard::Dies => {
                let logged = std::mem::take(&mut one.playing.logged);
                one.playing = Playing::new(self.by_stretches);
                one.all.iter().for_each(|played| one.playing.played(*played));
                for (with, intervals) in logged {
                    for &(from_at, to_at) in intervals.as_slice() {
                        one.playing.logged(&with, Played { from_at, to_at });
                    }
                }
                one.playing.taken_up(true);
            }
            Heard::TableLost => self.table = PresenceTable::default(),
        }
        self.turn(session);
    }

    /// The end of a turn, and of those that it calls.
    fn turn(&mut self, session: usize) {
        let mut called = VecDeque::from([session]);
        while let Some(session) = called.pop_front() {
            if self.sessions[session].playing.is_due(self.sessions[session].plays) {
                for other in self.report(session, None) {
                    self.calls += 1;
                    if self.lost_calls == 0 || !self.calls.is_multiple_of(self.lost_calls) {
                        self.sessions[other].playing.called();
                        called.push_back(other);
                    }
                }
            }
        }
    }

    /// Who is called.
    fn report(&mut self, session: usize, left_at: Option<i64>) -> Vec<usize> {
        let one = &mut self.sessions[session];
        let whose = Whose { learner: "l", session: NAMES[session], platform: "p" };
        for _ in 0..2 {
            self.reports += 1;
            let told = self.table.report(one.playing.report(whose, one.plays, left_at));
            if one.playing.answered(&told, one.plays) {
                one.playing.overlaps = told.overlapping_ms.is_some();
                for overlap in told.mine {
                    for played in one.playing.not_logged(&overlap) {
                        one.playing.logged(&overlap.with_session, played);
                    }
                    one.playing.unconfirmed.push(overlap);
                }
                let number = |name: &String| NAMES.iter().position(|one| one == name).unwrap();
                return told.others.iter().map(number).collect();
            }
        }
        panic!("a table that forgets at once");
    }

    /// All sessions end; what their logs say of overlaps, by session and the other.
    fn end(mut self, at: i64) -> Vec<Vec<Vec<(i64, i64)>>> {
        for session in 0..self.sessions.len() {
            // After a loss each has to be heard once before the first leaves.
            self.sessions[session].playing.called();
            self.turn(session);
        }
        for session in 0..self.sessions.len() {
            self.report(session, Some(at));
        }
        let of = |one: &One, other: &&str| {
            one.playing.logged.get(*other).map(|logged| logged.as_slice().to_vec()).unwrap_or_default()
        };
        self.sessions.iter().map(|one| NAMES.iter().map(|other| of(one, other)).collect()).collect()
    }
}

/// What two have in common.
fn common(one: &[Played], other: &[Played]) -> Vec<(i64, i64)> {
    let mut both = Intervals::default();
    for (one, other) in one.iter().flat_map(|one| other.iter().map(move |other| (one, other))) {
        let (from, to) = (one.from_at.max(other.from_at), one.to_at.min(other.to_at));
        if from < to {
            both.add(from, to);
        }
    }
    both.as_slice().to_vec()
}

fn both_ways_say_the_same(all: &[(Vec<Step>, i64)], lost_calls: usize) -> Result<(), TestCaseError> {
    let mut moments: Vec<(i64, usize, Heard)> = Vec::new();
    for (session, (steps, begins_at)) in all.iter().enumerate() {
        moments.extend(heard(steps, *begins_at).into_iter().map(|(at, heard)| (at, session, heard)));
    }
    moments.sort_by_key(|(at, ..)| *at);
    let mut by_stretches = World::new(true, all.len(), lost_calls);
    let mut each_turn = World::new(false, all.len(), 0);
    for (_, session, heard) in &moments {
        by_stretches.hear(*session, heard);
        // Nothing befalls what it is held against.
        if !matches!(heard, Heard::Dies | Heard::TableLost) {
            each_turn.hear(*session, heard);
        }
    }
    let played: Vec<Vec<Played>> = each_turn.sessions.iter().map(|one| one.all.clone()).collect();
    let end = moments.last().map_or(0, |(at, ..)| *at);
    let (by_stretches, each_turn) = (by_stretches.end(end), each_turn.end(end));
    for (one, other) in (0..all.len()).flat_map(|one| (0..all.len()).map(move |other| (one, other))) {
        if one != other {
            let truth = common(&played[one], &played[other]);
            prop_assert_eq!(&each_turn[one][other], &truth, "each turn: {} with {}", one, other);
            prop_assert_eq!(&by_stretches[one][other], &truth, "by stretches: {} with {}", one, other);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn by_stretches_the_logs_say_what_they_say_turn_by_turn(
        all in prop::collection::vec((steps(false), 0..60_000_i64), 2..=3),
        lost_calls in 0..4_usize,
    ) {
        // With 1, every call is lost: then a stretch is told all the same, only later.
        both_ways_say_the_same(&all, lost_calls)?;
    }

    #[test]
    fn nothing_is_lost_with_nodes_and_the_table(all in prop::collection::vec((steps(true), 0..60_000_i64), 2)) {
        both_ways_say_the_same(&all, 0)?;
    }
}

fn beat(at: i64) -> Heard {
    Heard::Played(Played { from_at: at - 5_000, to_at: at })
}

#[test]
fn who_plays_alone_reports_the_beginning_the_end_and_twice_a_minute() {
    let mut world = World::new(true, 1, 0);
    world.hear(0, &Heard::Plays);
    assert_eq!(world.reports, 1);
    (1..=720).for_each(|number| world.hear(0, &beat(number * 5_000)));
    assert_eq!(world.reports, 1 + 120, "an hour");
    world.hear(0, &beat(3_605_000));
    world.hear(0, &Heard::Stands);
    assert_eq!(world.reports, 1 + 120 + 1, "with what had not been reported yet");
    assert!(world.sessions[0].playing.waiting.is_empty());
    // Whatever comes while it stands still costs nothing.
    (0..10).for_each(|_| world.hear(0, &Heard::Stands));
    assert_eq!(world.reports, 1 + 120 + 1);
}

#[test]
fn two_at_once_know_it_with_the_next_heartbeat_of_each() {
    let mut world = World::new(true, 2, 0);
    let overlaps = |world: &World| [0, 1].map(|session| world.sessions[session].playing.overlaps);
    world.hear(0, &Heard::Plays);
    (1..=3).for_each(|number| world.hear(0, &beat(number * 5_000)));
    world.hear(1, &Heard::Plays);
    assert!(world.sessions[0].playing.waiting.is_empty(), "the first was called, and has said all");
    world.hear(0, &beat(20_000));
    world.hear(1, &beat(20_000));
    assert_eq!(overlaps(&world), [false, true]);
    world.hear(0, &beat(25_000));
    assert_eq!(overlaps(&world), [true, true]);
    // The second stands still: the first is alone, and after a while it costs what it did.
    world.hear(1, &Heard::Stands);
    (6..=14).for_each(|number| world.hear(0, &beat(number * 5_000)));
    assert!(!overlaps(&world)[0]);
    let before = world.reports;
    (15..=26).for_each(|number| world.hear(0, &beat(number * 5_000)));
    assert_eq!(world.reports, before + 2);
}
