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
    /// All of them together.
    pub(super) fn sum(shares: impl IntoIterator<Item = Self>) -> Self {
        shares.into_iter().fold(Self::default(), |sum, one| Self { some: sum.some + one.some, all: sum.all + one.all })
    }

    /// In thousandths, rounded down; 0 of nothing.
    pub(super) fn milli(self) -> i64 {
        if self.all == 0 { 0 } else { self.some * 1000 / self.all }
    }
}

/// How far a share departs from its peers, in standard errors, thousandths, without a sign, rounded down: the
/// two-proportion z test with the pooled rate, where the peers' own spread adds to the error, since platforms differ
/// without anybody's fault. 0 when nothing can be said.
pub(super) fn departure_milli(own: Share, peers: &[Share]) -> i64 {
    /// Rates are in millionths: exact enough for any number of learners.
    const UNIT: i128 = 1_000_000;
    let rate = |share: Share| i128::from(share.some) * UNIT / i128::from(share.all.max(1));
    let together = Share::sum(peers.iter().copied());
    if own.all <= 0 || together.all <= 0 {
        return 0;
    }
    let pooled = rate(Share::sum([own, together]));
    let [own_all, all] = [own.all, together.all].map(i128::from);
    let sampling = pooled * (UNIT - pooled) * (own_all + all) / (own_all * all);
    let mean = rate(together);
    let squares: i128 = peers.iter().map(|peer| (rate(*peer) - mean).pow(2)).sum();
    let spread = squares / (peers.len() as i128 - 1).max(1);
    let difference = rate(own) - mean;
    match sampling + spread {
        ..=0 => 0,
        error => (difference * difference * 1_000_000 / error).isqrt() as i64,
    }
}
