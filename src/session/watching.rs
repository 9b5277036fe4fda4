//! What was watched (docs/rules.md, sections 4.1 and 4.2).
//!
//! This follows the player from one observation to the next, and says of each stretch whether it was watched, whether
//! it is credited and whether it leapt. What a leap is worth is for [`crate::rules`].

use serde::{Deserialize, Serialize};

use super::intervals::Intervals;
use crate::log::SessionOpened;
use crate::policy::Parameters;

/// One look at the player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// When, ms since the Unix epoch.
    pub t: i64,
    /// Whether it played.
    pub playing: bool,
    /// Where it stood, ms of the lesson.
    pub pos_ms: i64,
}

/// A position that the learner had not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leap {
    /// Playing ran there faster than the clock.
    Advance,
    /// It was jumped to.
    Seek,
}

/// What lies between an observation and the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// How long it was, ms.
    pub dt_ms: i64,
    /// Whether the player played through it.
    pub played: bool,
    /// Whether it counts as watching time.
    pub credited: bool,
    /// Whether it ended out of reach.
    pub leap: Option<Leap>,
}

/// How far the learner has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watching {
    duration_ms: i64,
    prev: Option<Observation>,
    coverage: Intervals,
    watch_ms: i64,
    hour_watch_ms: i64,
    furthest_ms: i64,
    excess_ms: i64,
}

/// `ms × milli / 1000`, rounded down; for times that any log can hold.
pub fn at_rate(ms: i64, milli: i64) -> i64 {
    match ms.checked_mul(milli) {
        Some(product) => product.div_euclid(1000),
        None => saturate((i128::from(ms) * i128::from(milli)).div_euclid(1000)),
    }
}

/// The nearest `i64`.
pub fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl Watching {
    /// Starts from the facts of the opening.
    pub fn opened(opened: &SessionOpened) -> Self {
        let facts = &opened.facts;
        let covered_to = facts.covered_before.last().map_or(0, |&(_, to)| to);
        Self {
            duration_ms: opened.duration_ms,
            furthest_ms: facts.furthest_before_ms.unwrap_or(covered_to),
            excess_ms: facts.carried.excess_ms,
            hour_watch_ms: facts.carried.hour_watch_ms,
            ..Self::default()
        }
    }

    /// The last observation.
    pub fn last(&self) -> Option<Observation> {
        self.prev
    }

    /// The watched media intervals.
    pub fn coverage(&self) -> &Intervals {
        &self.coverage
    }

    /// Watching time, ms.
    pub fn watch_ms(&self) -> i64 {
        self.watch_ms
    }

    /// Watching time since the beginning of class hour 0, ms.
    pub fn hour_watch_ms(&self) -> i64 {
        self.hour_watch_ms
    }

    /// How far the learner may jump, ms of the lesson.
    pub fn furthest_ms(&self) -> i64 {
        self.furthest_ms
    }

    /// How far the position has run ahead of the clock, ms.
    pub fn excess_ms(&self) -> i64 {
        self.excess_ms
    }

    /// The class hour that the learner is in.
    pub fn hour(&self, parameters: &Parameters) -> i64 {
        self.hour_watch_ms.div_euclid(parameters.class_hour_ms)
    }

    /// Takes an observation; `observable` says whether the stretch before it can be credited at all.
    pub fn observe(
        &mut self,
        parameters: &Parameters,
        t: i64,
        playing: bool,
        pos_ms: i64,
        observable: bool,
    ) -> Stretch {
        let pos_ms = self.within_lesson(pos_ms);
        let stretch = match self.prev {
            Some(prev) if prev.playing => self.played(parameters, prev, t, pos_ms, observable),
            prev => {
                let dt_ms = prev.map_or(0, |prev| t - prev.t);
                Stretch { dt_ms, played: false, credited: false, leap: self.reach(parameters, pos_ms, Leap::Seek) }
            }
        };
        self.prev = Some(Observation { t, playing, pos_ms });
        stretch
    }

    /// Takes the landing of a seek.
    pub fn jump(&mut self, parameters: &Parameters, t: i64, playing: bool, pos_ms: i64) -> Option<Leap> {
        let pos_ms = self.within_lesson(pos_ms);
        let leap = self.reach(parameters, pos_ms, Leap::Seek);
        self.prev = Some(Observation { t, playing, pos_ms });
        leap
    }

    fn played(&mut self, parameters: &Parameters, prev: Observation, t: i64, pos_ms: i64, observable: bool) -> Stretch {
        let (dt_ms, dp_ms) = (t - prev.t, pos_ms - prev.pos_ms);
        let allowed_ms = at_rate(dt_ms, parameters.max_rate_milli);
        let mut stretch = Stretch { dt_ms, played: true, credited: false, leap: None };
        let limit_ms = allowed_ms.saturating_add(parameters.position_tolerance_ms).saturating_sub(self.excess_ms);
        if dp_ms > limit_ms {
            stretch.leap = self.reach(parameters, pos_ms, Leap::Advance);
        } else if dp_ms >= -parameters.jump_tolerance_ms {
            let gained_ms = dp_ms.max(0);
            self.furthest_ms = self.furthest_ms.max(pos_ms.min(self.furthest_ms + gained_ms));
            self.excess_ms = (self.excess_ms + gained_ms).saturating_sub(allowed_ms).max(0);
            if observable && dt_ms <= parameters.gap_limit_ms {
                stretch.credited = true;
                self.coverage.add(prev.pos_ms, pos_ms);
                self.watch_ms += dt_ms;
                self.hour_watch_ms += dt_ms;
            }
        }
        stretch
    }

    /// Says whether `pos_ms` is out of reach; from then on it is within, so that one jump is counted once.
    fn reach(&mut self, parameters: &Parameters, pos_ms: i64, leap: Leap) -> Option<Leap> {
        if pos_ms <= self.furthest_ms.saturating_add(parameters.jump_tolerance_ms) {
            return None;
        }
        self.furthest_ms = self.furthest_ms.max(pos_ms);
        Some(leap)
    }

    fn within_lesson(&self, pos_ms: i64) -> i64 {
        pos_ms.min(self.duration_ms).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn watching() -> Watching {
        Watching { duration_ms: 600_000, ..Watching::default() }
    }

    fn observe(watching: &mut Watching, t: i64, playing: bool, pos_ms: i64) -> Stretch {
        watching.observe(&Policy::default().parameters, t, playing, pos_ms, true)
    }

    #[test]
    fn playing_at_the_clocks_pace_is_credited() {
        let mut watching = watching();
        observe(&mut watching, 0, true, 0);
        assert!(observe(&mut watching, 30_000, true, 30_000).credited);
        assert!(!observe(&mut watching, 60_001, true, 60_001).credited);
        assert_eq!((watching.watch_ms(), watching.furthest_ms()), (30_000, 60_001));
        assert_eq!(watching.coverage().as_slice(), [(0, 30_000)]);
    }

    #[test]
    fn a_lead_is_forgiven_once_not_each_time() {
        let mut watching = watching();
        observe(&mut watching, 0, true, 0);
        assert!(observe(&mut watching, 10_000, true, 12_050).credited);
        assert_eq!(watching.excess_ms(), 2_000);
        let ahead = observe(&mut watching, 20_000, true, 24_100);
        assert_eq!((ahead.credited, ahead.leap), (false, Some(Leap::Advance)));
        assert_eq!(watching.furthest_ms(), 24_100);
    }

    #[test]
    fn running_ahead_within_what_is_known_is_a_jump_and_earns_nothing() {
        let mut watching = Watching { furthest_ms: 300_000, ..watching() };
        observe(&mut watching, 0, true, 0);
        let jump = observe(&mut watching, 1_000, true, 300_500);
        assert_eq!((jump.credited, jump.leap), (false, None));
        assert_eq!(watching.furthest_ms(), 300_000);
        assert_eq!(observe(&mut watching, 2_000, false, 0).leap, None);
    }

    #[test]
    fn jumps_may_miss_by_a_second() {
        let mut watching = Watching { furthest_ms: 5_000, ..watching() };
        let parameters = Policy::default().parameters;
        assert_eq!(watching.jump(&parameters, 0, false, 6_000), None);
        assert_eq!(watching.jump(&parameters, 0, false, 6_001), Some(Leap::Seek));
        assert_eq!(watching.jump(&parameters, 0, false, 6_002), None);
        assert_eq!(watching.jump(&parameters, 0, false, 999_999_999), Some(Leap::Seek));
        assert_eq!(watching.furthest_ms(), 600_000);
    }

    #[test]
    fn the_furthest_point_moves_only_by_what_was_played() {
        let mut watching = Watching { furthest_ms: 10_000, ..watching() };
        observe(&mut watching, 0, true, 11_000);
        observe(&mut watching, 2_000, true, 13_000);
        assert_eq!(watching.furthest_ms(), 12_000);
    }

    #[test]
    fn rates_do_not_overflow() {
        assert_eq!(at_rate(999, 1005), 1003);
        assert_eq!(at_rate(i64::MAX / 2, 16_000), i64::MAX);
        assert_eq!(at_rate(1 << 54, 1005), ((1i128 << 54) * 1005 / 1000) as i64);
    }
}
