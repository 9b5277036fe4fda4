//! The numbers of one session's live rows, kept small: a live session holds one for every batch that was appended.

/// Numbers in their order, each as its distance from the one before in groups of seven bits, the lowest first. With a
/// thousand sessions writing in turns that is two bytes a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    distances: Vec<u8>,
    last: i64,
}

/// Set on every byte of a distance but its last.
const MORE: u8 = 0x80;

impl Rows {
    pub(super) fn push(&mut self, row: i64) {
        let mut distance = row.wrapping_sub(self.last) as u64;
        while distance >= u64::from(MORE) {
            self.distances.push(distance as u8 | MORE);
            distance >>= 7;
        }
        self.distances.push(distance as u8);
        self.last = row;
    }

    /// Removes the last.
    pub(super) fn pop(&mut self) {
        let Some(end) = self.distances.len().checked_sub(1) else { return };
        let begin = self.distances[..end].iter().rposition(|byte| byte & MORE == 0).map_or(0, |before| before + 1);
        let distance = distance_of(&self.distances[begin..]);
        self.distances.truncate(begin);
        self.last = self.last.wrapping_sub(distance);
    }

    pub(super) fn last(&self) -> Option<i64> {
        (!self.distances.is_empty()).then_some(self.last)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = i64> {
        self.distances.split_inclusive(|byte| byte & MORE == 0).scan(0_i64, |row, distance| {
            *row = row.wrapping_add(distance_of(distance));
            Some(*row)
        })
    }
}

impl FromIterator<i64> for Rows {
    fn from_iter<I: IntoIterator<Item = i64>>(numbers: I) -> Self {
        let mut rows = Self::default();
        numbers.into_iter().for_each(|row| rows.push(row));
        rows
    }
}

fn distance_of(bytes: &[u8]) -> i64 {
    bytes.iter().rev().fold(0_u64, |distance, byte| distance << 7 | u64::from(byte & !MORE)) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_of_a_session_among_thousands_takes_two_bytes() {
        let rows: Rows = (1..=900).map(|turn| turn * 9_000).collect();
        assert_eq!(rows.distances.len(), 2 * 900);
    }

    proptest! {
        #[test]
        fn whatever_is_pushed_and_popped_is_as_in_a_plain_list(
            steps in prop::collection::vec(prop::option::weighted(0.8, any::<i64>()), 0..50),
        ) {
            let (mut rows, mut plain) = (Rows::default(), Vec::new());
            for step in steps {
                match step {
                    Some(row) => {
                        rows.push(row);
                        plain.push(row);
                    }
                    None => {
                        rows.pop();
                        plain.pop();
                    }
                }
                prop_assert_eq!(rows.last(), plain.last().copied());
            }
            prop_assert_eq!(rows.iter().collect::<Vec<_>>(), plain);
        }
    }
}
