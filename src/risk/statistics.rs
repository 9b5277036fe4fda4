//! Statistics in integers: exact, the same on every machine.

/// The coefficient of variation (standard deviation over mean) of some lengths of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variation {
    /// the mean, ms
    pub(super) mean_ms: i64,
    /// the coefficient of variation, thousandths, rounded down
    pub(super) milli: i64,
    /// n Σx² − (Σx)², which is n² times the variance
    spread: i128,
    /// Σx
    sum: i128,
}

impl Variation {
    /// Of `times`, none of which is negative or longer than 2^40; none when there are none.
    pub(super) fn of(times: impl Iterator<Item = i64>) -> Option<Self> {
        let (mut count, mut sum, mut squares) = (0_i128, 0_i128, 0_i128);
        for time in times {
            let time = i128::from(time.clamp(0, 1 << 40));
            (count, sum, squares) = (count + 1, sum + time, squares + time * time);
        }
        if count == 0 {
            return None;
        }
        let spread = count * squares - sum * sum;
        let milli = if sum == 0 { 0 } else { (spread * 1_000_000 / (sum * sum)).isqrt() };
        Some(Self { mean_ms: (sum / count) as i64, milli: milli as i64, spread, sum })
    }

    /// Whether it is lower than `limit_milli`. Times that are all zero have none.
    pub(super) fn is_below(&self, limit_milli: i64) -> bool {
        self.spread * 1_000_000 < i128::from(limit_milli) * i128::from(limit_milli) * self.sum * self.sum
    }
}

/// Some of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// how many
    pub(super) some: i64,
    /// out of how many
    pub(super) all: i64,
}

impl Share {
    /// In thousandths, rounded down; 0 of nothing.
    pub(super) fn milli(self) -> i64 {
        if self.all == 0 { 0 } else { self.some * 1000 / self.all }
    }
}

/// By how many standard errors, in thousandths, two shares differ (two-proportion z test with the pooled rate, without
/// a sign, rounded down). 0 when nothing can be said.
pub(super) fn z_milli(one: Share, other: Share) -> i64 {
    // Beyond a million the test is the same with counts that are halved alike, and nothing overflows.
    let (mut one, mut other) = (one, other);
    while one.all.max(other.all) > 1_000_000 {
        for share in [&mut one, &mut other] {
            *share = Share { some: share.some / 2, all: share.all / 2 };
        }
    }
    let [k1, n1, k2, n2] = [one.some, one.all, other.some, other.all].map(i128::from);
    let (k, n) = (k1 + k2, n1 + n2);
    let below = n1 * n2 * k * (n - k);
    if below <= 0 {
        return 0;
    }
    let cross = k1 * n2 - k2 * n1;
    (cross * cross * n * 1_000_000 / below).isqrt() as i64
}
