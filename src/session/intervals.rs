//! A set of disjoint intervals: what was watched, which hours have a photo.

use serde::{Deserialize, Serialize};

/// How many intervals a set remembers. A learner who skips about leaves some dozens; one who leaves this many (a gap
/// every third of a second, through a six-hour lesson) gets no credit for further ones, so that no log can make the
/// engine remember without limit. Growing and joining what is there goes on.
pub const MAX_INTERVALS: usize = 65_536;

/// Disjoint half-open intervals, ascending; adjacent ones are joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Intervals(Vec<(i64, i64)>);

impl Intervals {
    /// The set of what `list` covers, in whatever order it is; what ends before it starts covers nothing.
    pub fn of(list: &[(i64, i64)]) -> Self {
        let mut sorted: Vec<_> = list.iter().copied().filter(|(from, to)| from < to).collect();
        sorted.sort_unstable();
        let mut set = Self::default();
        for (from, to) in sorted {
            set.add(from, to);
        }
        set
    }

    /// Adds `[from, to)`; nothing when it is empty.
    pub fn add(&mut self, from: i64, to: i64) {
        if from >= to {
            return;
        }
        // Playing on from where the last interval ends is what nearly every call does.
        if let Some(last) = self.0.last_mut().filter(|last| last.0 <= from && from <= last.1) {
            last.1 = last.1.max(to);
            return;
        }
        let first = self.0.partition_point(|&(_, end)| end < from);
        let after = self.0.partition_point(|&(start, _)| start <= to);
        if first < after {
            let joined = (self.0[first].0.min(from), self.0[after - 1].1.max(to));
            self.0.splice(first..after, [joined]);
        } else if self.0.len() < MAX_INTERVALS {
            self.0.insert(first, (from, to));
        }
    }

    /// The intervals.
    pub fn as_slice(&self) -> &[(i64, i64)] {
        &self.0
    }

    /// How much they cover.
    pub fn length(&self) -> i64 {
        self.0.iter().map(|(from, to)| to - from).fold(0, i64::saturating_add)
    }

    /// How much of them `other` does not cover.
    pub fn length_outside(&self, other: &Self) -> i64 {
        self.length() - self.length_of_overlap(other)
    }

    fn length_of_overlap(&self, other: &Self) -> i64 {
        let (mut mine, mut others) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut length: i64 = 0;
        while let (Some(&&(from, to)), Some(&&(other_from, other_to))) = (mine.peek(), others.peek()) {
            length = length.saturating_add((to.min(other_to) - from.max(other_from)).max(0));
            if to <= other_to {
                mine.next();
            } else {
                others.next();
            }
        }
        length
    }

    /// What of `[from, to)` is not covered, ascending.
    pub fn gaps(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, i64)> + '_ {
        let starts = std::iter::once(from).chain(self.0.iter().map(move |&(_, end)| end.clamp(from, to.max(from))));
        let ends = self.0.iter().map(move |&(start, _)| start.clamp(from, to.max(from))).chain([to]);
        starts.zip(ends).filter(|(start, end)| start < end)
    }

    /// Whether `at` is covered.
    pub fn contains(&self, at: i64) -> bool {
        let next = self.0.partition_point(|&(start, _)| start <= at);
        next > 0 && at < self.0[next - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_and_adjacent_intervals_are_joined() {
        let mut set = Intervals::default();
        for (from, to) in [(10, 20), (30, 40), (20, 25), (5, 5), (9, 8), (24, 30), (0, 3), (50, 60), (45, 70)] {
            set.add(from, to);
        }
        assert_eq!(set.as_slice(), [(0, 3), (10, 40), (45, 70)]);
        assert_eq!(set.length(), 58);
    }

    #[test]
    fn what_lies_outside_another_set() {
        let set = Intervals::of(&[(0, 10), (20, 30), (40, 50)]);
        let other = Intervals::of(&[(45, 99), (5, 25)]);
        assert_eq!(set.length_outside(&other), 5 + 5 + 5);
        assert_eq!(set.gaps(5, 60).collect::<Vec<_>>(), [(10, 20), (30, 40), (50, 60)]);
        assert_eq!(set.gaps(60, 5).count(), 0);
        assert!(set.contains(20) && !set.contains(30) && !set.contains(-1));
    }

    #[test]
    fn it_does_not_grow_without_limit() {
        let mut set = Intervals::default();
        for k in 0..MAX_INTERVALS as i64 + 10 {
            set.add(k * 3, k * 3 + 1);
        }
        assert_eq!(set.as_slice().len(), MAX_INTERVALS);
        set.add(1, 3);
        assert_eq!(set.as_slice().len(), MAX_INTERVALS - 1);
    }
}
