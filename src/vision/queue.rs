//! The photos that wait for a worker: bounded, the most urgent first, and no one's photos before everybody's.
//!
//! An answer after its deadline is worth nothing, so what is past it is given up before any work; when the queue is full,
//! what is less urgent makes room. Pure: the time is a parameter.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How many photos of one learner may wait. A session has one capture at a time; a second one is there when a page
/// reconnects.
const OF_A_LEARNER: usize = 2;

/// How urgent a photo is. The order is that in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Somebody waits for it to begin.
    Start,
    /// Any other.
    Later,
}

/// Whose photo it is, so that nobody fills the queue alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A learner, in whichever session.
    Learner(Arc<str>),
    /// Enrolments, all of them: a platform sends many at a time.
    Enrolments,
    /// Another node, which limits its own.
    Node,
}

/// A photo's place among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// how urgent it is
    pub urgency: Urgency,
    /// when its answer is worth nothing any more, ms by the pool's clock
    pub deadline_ms: i64,
    /// whose it is
    pub asker: Asker,
}

impl Asker {
    fn limit(&self, queue: usize) -> usize {
        match self {
            Self::Learner(_) => OF_A_LEARNER,
            Self::Enrolments => queue.div_ceil(2),
            Self::Node => queue,
        }
    }
}

/// What is looked at first is what is least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    urgency: Urgency,
    deadline_ms: i64,
    /// by arrival
    number: u64,
}

/// What putting one in came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put<T> {
    /// It waits.
    Waits,
    /// It waits, in the place of one that was less urgent.
    InPlaceOf(T),
    /// There is no room for it.
    NoRoom(T),
}

/// Those who wait.
pub(super) struct Queue<T> {
    waiting: BTreeMap<Place, (Asker, T)>,
    /// how many wait, of each who has one there
    askers: HashMap<Asker, usize>,
    limit: usize,
    number: u64,
}

impl<T> Queue<T> {
    /// At most `limit` wait.
    pub(super) fn new(limit: usize) -> Self {
        Self { waiting: BTreeMap::new(), askers: HashMap::new(), limit, number: 0 }
    }

    /// Lets one wait, if there is room, or if one that is less urgent can make some.
    pub(super) fn put(&mut self, turn: Turn, job: T) -> Put<T> {
        let Turn { urgency, deadline_ms, asker } = turn;
        self.number += 1;
        let place = Place { urgency, deadline_ms, number: self.number };
        if self.askers.get(&asker).is_some_and(|waiting| *waiting >= asker.limit(self.limit)) {
            return Put::NoRoom(job);
        }
        let full = self.waiting.len() >= self.limit;
        if full && self.waiting.last_key_value().is_none_or(|(last, _)| *last < place) {
            return Put::NoRoom(job);
        }
        let put_off = if full { self.waiting.pop_last() } else { None };
        let put_off = put_off.map(|(_, left)| self.left(left));
        *self.askers.entry(asker.clone()).or_default() += 1;
        self.waiting.insert(place, (asker, job));
        put_off.map_or(Put::Waits, Put::InPlaceOf)
    }

    /// The next one, and whether it is past its deadline.
    pub(super) fn take(&mut self, now_ms: i64) -> Option<(T, bool)> {
        let (place, left) = self.waiting.pop_first()?;
        Some((self.left(left), place.deadline_ms <= now_ms))
    }

    /// All that are past their deadline.
    pub(super) fn take_late(&mut self, now_ms: i64) -> Vec<T> {
        let late: Vec<Place> = self.waiting.keys().filter(|place| place.deadline_ms <= now_ms).copied().collect();
        let late: Vec<_> = late.iter().filter_map(|place| self.waiting.remove(place)).collect();
        late.into_iter().map(|left| self.left(left)).collect()
    }

    /// Whether a photo more would take another's place.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.limit
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn left(&mut self, (asker, job): (Asker, T)) -> T {
        if let Some(waiting) = self.askers.get_mut(&asker) {
            *waiting -= 1;
            if *waiting == 0 {
                self.askers.remove(&asker);
            }
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turn(urgency: Urgency, deadline_ms: i64, learner: i64) -> Turn {
        Turn { urgency, deadline_ms, asker: Asker::Learner(learner.to_string().into()) }
    }

    #[test]
    fn a_start_comes_before_all_others_and_the_nearest_deadline_before_later_ones() {
        let mut queue = Queue::new(8);
        queue.put(turn(Urgency::Later, 300, 1), "later");
        queue.put(turn(Urgency::Later, 200, 2), "soon");
        queue.put(turn(Urgency::Start, 900, 3), "start");
        queue.put(turn(Urgency::Later, 200, 4), "as soon");
        let order: Vec<_> = std::iter::from_fn(|| queue.take(0)).map(|(job, _)| job).collect();
        assert_eq!(order, ["start", "soon", "as soon", "later"]);
    }

    #[test]
    fn a_start_takes_the_place_of_the_least_urgent_when_all_are_taken() {
        let mut queue = Queue::new(2);
        queue.put(turn(Urgency::Later, 200, 1), "soon");
        queue.put(turn(Urgency::Later, 300, 2), "later");
        assert_eq!(queue.put(turn(Urgency::Later, 300, 3), "too late"), Put::NoRoom("too late"));
        assert_eq!(queue.put(turn(Urgency::Start, 900, 4), "start"), Put::InPlaceOf("later"));
        assert_eq!(queue.put(turn(Urgency::Start, 800, 5), "start too"), Put::InPlaceOf("soon"));
        assert_eq!(queue.put(turn(Urgency::Later, 1, 6), "urgent, and no start"), Put::NoRoom("urgent, and no start"));
    }

    #[test]
    fn one_learner_cannot_fill_the_queue_and_neither_can_enrolments() {
        let mut queue = Queue::new(8);
        for number in 0..8 {
            let put = queue.put(turn(Urgency::Start, 100, 7), number);
            assert_eq!(put == Put::Waits, number < OF_A_LEARNER as i32);
        }
        let enrolment = Turn { urgency: Urgency::Later, deadline_ms: 1, asker: Asker::Enrolments };
        let waiting = (0..8).filter(|number| queue.put(enrolment.clone(), *number) == Put::Waits).count();
        assert_eq!(waiting, 4);
        assert_eq!(queue.put(turn(Urgency::Later, 100, 8), 9), Put::Waits, "there is room for somebody else");
        while queue.take(0).is_some() {}
        assert_eq!(queue.put(turn(Urgency::Later, 100, 7), 0), Put::Waits, "what has left counts no more");
    }

    #[test]
    fn what_is_late_is_told_from_what_is_not() {
        let mut queue = Queue::new(8);
        queue.put(turn(Urgency::Start, 200, 1), "in time");
        queue.put(turn(Urgency::Later, 100, 2), "late");
        queue.put(turn(Urgency::Later, 300, 3), "in time, too");
        assert_eq!(queue.take_late(100), ["late"]);
        assert_eq!(queue.take(199), Some(("in time", false)));
        assert_eq!(queue.take(300), Some(("in time, too", true)));
        assert_eq!(queue.take(300), None);
    }

    fn turns() -> impl Strategy<Value = Turn> {
        (any::<bool>(), 0_i64..50, 0_i64..12).prop_map(|(start, deadline_ms, learner)| Turn {
            urgency: if start { Urgency::Start } else { Urgency::Later },
            deadline_ms,
            asker: match learner {
                0 => Asker::Node,
                1 => Asker::Enrolments,
                learner => Asker::Learner(learner.to_string().into()),
            },
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_nothing_is_twice_there_and_no_limit_is_passed(
            steps in prop::collection::vec(prop::option::weighted(0.7, turns()), 0..200), limit in 1_usize..10,
        ) {
            let (mut queue, mut out, mut put) = (Queue::new(limit), Vec::new(), 0);
            for step in steps {
                match step {
                    Some(turn) => {
                        match queue.put(turn.clone(), (put, turn.clone())) {
                            Put::Waits => {}
                            Put::InPlaceOf(other) => {
                                let (other_turn, turn) = ((other.1.urgency, other.1.deadline_ms), (turn.urgency, turn.deadline_ms));
                                prop_assert!(other_turn >= turn);
                                out.push(other.0);
                            }
                            Put::NoRoom(job) => out.push(job.0),
                        }
                        put += 1;
                    }
                    None => {
                        let waited = queue.len();
                        let taken = queue.take(0);
                        prop_assert_eq!(taken.is_some(), waited > 0);
                        out.extend(taken.map(|(job, _)| job.0));
                    }
                }
                prop_assert!(queue.len() <= limit);
                prop_assert_eq!(queue.askers.values().sum::<usize>(), queue.len());
                prop_assert!(queue.askers.iter().all(|(asker, waiting)| (1..=asker.limit(limit)).contains(waiting)));
            }
            while let Some((job, _)) = queue.take(0) {
                out.push(job.0);
            }
            out.sort_unstable();
            prop_assert_eq!(out, (0..put).collect::<Vec<_>>());
        }
    }
}
