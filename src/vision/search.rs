//! Whose face is this, among many? Exact search: every face of a set is compared, none is left out by an index.
//!
//! A threshold that is right for one comparison is wrong for a million of them. So none is fixed here: it follows from how
//! many faces are compared and from how many false hits a day are allowed ([`Effort::threshold`]), and what must still be
//! expected is said with every answer ([`Prospect`]). Where the rates come from, and where they are only extended, is in
//! models/MODEL_CARD.md.

use super::embed::NUMBERS;
use super::{Digest, Template};

/// Products that are added up side by side, so that the compiler uses vectors: sums of floats keep the order that the
/// source gives them.
const LANES: usize = 16;

/// Similarity of two photos of full size, the decimal logarithm of the share of strangers who are as alike or more, and
/// the share of one person's pairs that are. Between two rows it is a straight line.
///
/// The first was measured here, the fourth by others on one photo each of 5 748 people, and is an upper bound: its 45 pairs of
/// 16.5 million hold pairs of one person under two names. What lies beyond goes on as straight, which is more false hits than a
/// normal distribution of similarities would give. The last column is a normal distribution of mean 0.655 and deviation 0.096.
const RATES: [(f64, f64, f64); 8] = [
    (0.350, -3.00, 0.999),
    (0.450, -4.21, 0.984),
    (0.510, -4.93, 0.935),
    (0.563, -5.57, 0.831),
    (0.620, -6.26, 0.642),
    (0.680, -6.98, 0.397),
    (0.740, -7.70, 0.188),
    (0.800, -8.43, 0.065),
];

/// The least similarity at which two faces are ever called alike: that of a single check of a learner.
pub const LEAST_SIMILARITY: f64 = 0.363;
/// The most that is asked for. Above it hardly any pair of one person is found; a set that needs more has more false hits
/// than allowed, which is said.
pub const MOST_SIMILARITY: f64 = 0.8;

/// What a smaller face must be more alike for the same rate: nothing from the first size on, this much at the second and
/// below, a straight line between (thresholds of the recogniser in models/manifest.toml).
const FULL_SIDE_PX: f32 = 80.0;
const SMALL_SIDE_PX: f32 = 32.0;
const SMALL_HANDICAP: f32 = 0.077;

/// The share of strangers who are at least this much alike, both photos being of full size.
pub fn false_match_rate(similarity: f64) -> f64 {
    10_f64.powf(between(similarity, |row| row.1))
}

/// The share of the pairs of one person that are at least this much alike: what a search at this threshold finds.
pub fn found_share(similarity: f64) -> f64 {
    between(similarity, |row| row.2).clamp(0.0, 1.0)
}

/// The least similarity at which strangers are alike no more often than `rate`, within the limits of this module.
pub fn similarity_for(rate: f64) -> f64 {
    let wanted = rate.max(f64::MIN_POSITIVE).log10();
    let pair = RATES.windows(2).find(|pair| pair[1].1 <= wanted).unwrap_or(&RATES[RATES.len() - 2..]);
    let (from, to) = (pair[0], pair[1]);
    let similarity = from.0 + (to.0 - from.0) * (wanted - from.1) / (to.1 - from.1);
    similarity.clamp(LEAST_SIMILARITY, MOST_SIMILARITY)
}

fn between(similarity: f64, of: impl Fn(&(f64, f64, f64)) -> f64) -> f64 {
    let pair = RATES.windows(2).find(|pair| similarity <= pair[1].0).unwrap_or(&RATES[RATES.len() - 2..]);
    let (from, to) = (&pair[0], &pair[1]);
    of(from) + (of(to) - of(from)) * (similarity - from.0) / (to.0 - from.0)
}

/// How much is compared, and how many false hits that may lead to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// comparisons of this search
    pub compared: u64,
    /// searches of this kind a day
    pub searches_day: u64,
    /// false hits a day that are allowed for this kind of search
    pub allowed_day: f64,
}

/// What must be expected of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prospect {
    /// the least similarity that is a hit, of photos of full size
    pub threshold: f64,
    /// the share of strangers who are as alike
    pub false_match_rate: f64,
    /// false hits of this search
    pub false_hits: f64,
    /// false hits a day, if all searches of the day are like this one
    pub false_hits_day: f64,
    /// the share of the pairs of one person that are found
    pub found_share: f64,
}

impl Effort {
    /// The threshold that follows, and what to expect at it.
    pub fn prospect(&self) -> Prospect {
        let comparisons_day = (self.compared.max(1) as f64) * (self.searches_day.max(1) as f64);
        self.at(similarity_for(self.allowed_day / comparisons_day))
    }

    /// What to expect at a threshold that is given.
    pub fn at(&self, threshold: f64) -> Prospect {
        let rate = false_match_rate(threshold);
        let false_hits = rate * self.compared as f64;
        Prospect {
            threshold,
            false_match_rate: rate,
            false_hits,
            false_hits_day: false_hits * self.searches_day.max(1) as f64,
            found_share: found_share(threshold),
        }
    }
}

/// A face that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// where it stands in the set, as it was added
    pub index: usize,
    /// cosine of the two faces, −1 to 1
    pub similarity: f32,
    /// the same less what small faces are handicapped by: what a threshold is held against
    pub score: f32,
}

/// A set of faces, in one piece of memory: 512 bytes each.
pub struct Gallery {
    recogniser: Digest,
    rows: Vec<[f32; NUMBERS]>,
    handicaps: Vec<f32>,
}

impl Gallery {
    /// A set of faces that this recogniser has described.
    pub fn new(recogniser: Digest) -> Self {
        Self { recogniser, rows: Vec::new(), handicaps: Vec::new() }
    }

    /// Adds a face. False, and not added: another recogniser has described it, so that it cannot be compared.
    pub fn add(&mut self, template: &Template) -> bool {
        if template.recogniser != self.recogniser {
            return false;
        }
        self.add_numbers(template.numbers, handicap(template.side_px));
        true
    }

    pub(crate) fn add_numbers(&mut self, numbers: [f32; NUMBERS], handicap: f32) {
        self.rows.push(numbers);
        self.handicaps.push(handicap);
    }

    /// How many faces it holds.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The faces as they lie in memory.
    pub(crate) fn rows(&self) -> &[[f32; NUMBERS]] {
        &self.rows
    }

    /// The faces that are most like `face`, of a score of `least` or more: the nearest first, at most `limit`; of equals the
    /// one that was added first. None when another recogniser has described it.
    pub fn nearest(&self, face: &Template, least: f64, limit: usize) -> Vec<Hit> {
        if face.recogniser != self.recogniser {
            return Vec::new();
        }
        self.nearest_to(&face.numbers, handicap(face.side_px), least as f32, limit)
    }

    pub(crate) fn nearest_to(&self, numbers: &[f32; NUMBERS], own_handicap: f32, least: f32, limit: usize) -> Vec<Hit> {
        let mut nearest: Vec<Hit> = Vec::with_capacity(limit.min(self.len()));
        for (index, (row, handicap)) in self.rows.iter().zip(&self.handicaps).enumerate() {
            let similarity = product(row, numbers);
            let score = similarity - handicap.max(own_handicap);
            if score >= least {
                keep(&mut nearest, Hit { index, similarity, score }, limit);
            }
        }
        nearest
    }
}

/// How much more alike a face of this size must be.
fn handicap(side_px: f32) -> f32 {
    SMALL_HANDICAP * ((FULL_SIDE_PX - side_px) / (FULL_SIDE_PX - SMALL_SIDE_PX)).clamp(0.0, 1.0)
}

/// How alike two faces are, and the same less the handicap of the smaller; none when different recognisers described them.
pub fn compare(one: &Template, other: &Template) -> Option<(f32, f32)> {
    let similarity = (one.recogniser == other.recogniser).then(|| product(&one.numbers, &other.numbers))?;
    Some((similarity, similarity - handicap(one.side_px.min(other.side_px))))
}

/// Puts a hit in its place, if it is among the nearest.
fn keep(nearest: &mut Vec<Hit>, hit: Hit, limit: usize) {
    let place = nearest.partition_point(|better| better.score >= hit.score);
    if place < limit {
        nearest.truncate(limit - 1);
        nearest.insert(place, hit);
    }
}

/// The cosine of two descriptions of length one, summed in lanes.
fn product(one: &[f32; NUMBERS], other: &[f32; NUMBERS]) -> f32 {
    const { assert!(NUMBERS.is_multiple_of(LANES)) };
    let mut sums = [0.0; LANES];
    for (one, other) in one.as_chunks::<LANES>().0.iter().zip(other.as_chunks::<LANES>().0) {
        for (sum, (one, other)) in sums.iter_mut().zip(one.iter().zip(other)) {
            *sum += one * other;
        }
    }
    sums.iter().sum()
}

/// Made-up faces for tests and benchmarks.
pub mod made_up {
    use super::super::{Digest, Template};
    use super::NUMBERS;

    /// Numbers of length one in a direction that follows from `seed`, as strange to each other as directions can be.
    pub fn numbers(seed: u64) -> [f32; NUMBERS] {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) as u32 as f32 / u32::MAX as f32 - 0.5
        };
        of_length_one(std::array::from_fn(|_| next()))
    }

    /// A face that is `similarity` like that of `seed`, and differs from it in the direction of `other`.
    pub fn like(seed: u64, similarity: f32, other: u64) -> [f32; NUMBERS] {
        let (one, mut away) = (numbers(seed), numbers(other));
        let shared = super::product(&one, &away);
        away.iter_mut().zip(&one).for_each(|(away, one)| *away -= shared * one);
        let away = of_length_one(away);
        let across = (1.0 - similarity * similarity).max(0.0).sqrt();
        of_length_one(std::array::from_fn(|index| similarity * one[index] + across * away[index]))
    }

    /// A template with these numbers, of a photo with this digest.
    pub fn template(numbers: [f32; NUMBERS], recogniser: Digest, photo: Digest) -> Template {
        Template { numbers, recogniser, photo, side_px: 100.0 }
    }

    fn of_length_one(numbers: [f32; NUMBERS]) -> [f32; NUMBERS] {
        let length = super::product(&numbers, &numbers).sqrt();
        numbers.map(|number| number / length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vision::Manifest;

    const RECOGNISER: Digest = Digest([7; 32]);

    fn gallery(rows: impl IntoIterator<Item = [f32; NUMBERS]>) -> Gallery {
        let mut gallery = Gallery::new(RECOGNISER);
        rows.into_iter().for_each(|row| gallery.add_numbers(row, 0.0));
        gallery
    }

    fn template(numbers: [f32; NUMBERS], side_px: f32) -> Template {
        Template { numbers, recogniser: RECOGNISER, photo: Digest([1; 32]), side_px }
    }

    #[test]
    fn the_rates_are_those_that_were_measured() {
        assert!((false_match_rate(0.35) / 1e-3 - 1.0).abs() < 1e-9);
        let upstream = 45.0 / 16_516_878.0;
        assert!((false_match_rate(0.563) / upstream - 1.0).abs() < 0.05, "{}", false_match_rate(0.563));
        for pair in RATES.windows(2) {
            assert!(pair[0].0 < pair[1].0 && pair[0].1 > pair[1].1 && pair[0].2 > pair[1].2);
        }
        // What lies beyond what was measured goes on at least as flat as before: never fewer false hits than by the line.
        let slope = |from: usize, to: usize| (RATES[to].1 - RATES[from].1) / (RATES[to].0 - RATES[from].0);
        assert!(slope(3, 7) >= slope(0, 3) - 0.05, "{} {}", slope(3, 7), slope(0, 3));
        // A million strangers at the threshold of a single check: hundreds of false hits.
        let million = Effort { compared: 1_000_000, searches_day: 1, allowed_day: 1.0 };
        assert!(million.at(LEAST_SIMILARITY).false_hits > 500.0);
        assert!(million.prospect().threshold > 0.59, "{:?}", million.prospect());
    }

    #[test]
    fn the_handicap_of_small_faces_is_the_manifests() {
        let manifest = Manifest::embedded();
        let of = |name| manifest.model("recogniser").threshold(name);
        assert_eq!((of("full_side_px"), of("small_side_px")), (FULL_SIDE_PX, SMALL_SIDE_PX));
        assert!((of("similarity_small") - of("similarity") - SMALL_HANDICAP).abs() < 1e-6);
        assert!((f64::from(of("similarity")) - LEAST_SIMILARITY).abs() < 1e-6);
    }

    #[test]
    fn a_small_face_must_be_more_alike() {
        let mut faces = Gallery::new(RECOGNISER);
        let like = made_up::like(1, 0.5, 2);
        for side_px in [100.0, 56.0, 32.0] {
            assert!(faces.add(&template(like, side_px)));
        }
        let indexes = |least| -> Vec<usize> {
            let hits = faces.nearest(&template(made_up::numbers(1), 90.0), least, 9);
            hits.iter().map(|hit| hit.index).collect()
        };
        assert_eq!(indexes(0.40), [0, 1, 2]);
        assert_eq!(indexes(0.45), [0, 1]);
        assert_eq!(indexes(0.49), [0]);
        // The smaller of the two counts.
        assert_eq!(faces.nearest(&template(made_up::numbers(1), 40.0), 0.45, 9), []);
    }

    #[test]
    fn faces_of_another_recogniser_are_not_compared() {
        let mut faces = gallery([made_up::numbers(1)]);
        let stranger = Template { recogniser: Digest([8; 32]), ..template(made_up::numbers(1), 100.0) };
        assert!(!faces.add(&stranger));
        assert_eq!((faces.len(), faces.nearest(&stranger, -1.0, 9)), (1, Vec::new()));
        assert_eq!(compare(&stranger, &template(made_up::numbers(1), 100.0)), None);
    }

    #[test]
    fn a_face_is_found_among_ten_thousand() {
        let mut faces = gallery((0..10_000).map(made_up::numbers));
        faces.add_numbers(made_up::like(4_321, 0.7, 999_999), 0.0);
        let hits = faces.nearest(&template(made_up::numbers(4_321), 100.0), 0.6, 5);
        assert_eq!(hits.iter().map(|hit| hit.index).collect::<Vec<_>>(), [4_321, 10_000]);
        assert!((hits[1].similarity - 0.7).abs() < 1e-3, "{hits:?}");
    }

    proptest! {
        #[test]
        fn the_nearest_are_those_of_a_plain_sort(
            seeds in proptest::collection::vec(0_u64..40, 0..60), probe in 0_u64..40, limit in 1_usize..12,
            least in -0.5_f32..0.5,
        ) {
            let faces = gallery(seeds.iter().map(|seed| made_up::numbers(*seed)));
            let face = made_up::numbers(probe);
            let found = faces.nearest_to(&face, 0.0, least, limit);
            let mut all: Vec<Hit> = faces.rows().iter().enumerate().map(|(index, row)| {
                let similarity = product(row, &face);
                Hit { index, similarity, score: similarity }
            }).filter(|hit| hit.score >= least).collect();
            all.sort_by(|one, other| other.score.total_cmp(&one.score));
            all.truncate(limit);
            prop_assert_eq!(found, all);
        }

        #[test]
        fn lanes_change_no_product(one in any::<u64>(), other in any::<u64>()) {
            let (one, other) = (made_up::numbers(one), made_up::numbers(other));
            let plain: f64 = one.iter().zip(&other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum();
            prop_assert!((f64::from(product(&one, &other)) - plain).abs() < 1e-5);
        }

        #[test]
        fn no_more_false_hits_are_expected_than_allowed_unless_it_is_said(
            compared in 1_u64..10_000_000, searches_day in 1_u64..100_000, allowed_milli in 1_u32..100_000,
        ) {
            let effort = Effort { compared, searches_day, allowed_day: f64::from(allowed_milli) / 1e3 };
            let prospect = effort.prospect();
            prop_assert!((LEAST_SIMILARITY..=MOST_SIMILARITY).contains(&prospect.threshold));
            let within = prospect.false_hits_day <= effort.allowed_day * 1.000_001;
            prop_assert!(within || prospect.threshold >= MOST_SIMILARITY, "{:?}", prospect);
            let larger = Effort { compared: compared * 2, ..effort }.prospect();
            prop_assert!(larger.threshold >= prospect.threshold && larger.found_share <= prospect.found_share);
        }

        #[test]
        fn rate_and_similarity_are_each_others_reverse(similarity in LEAST_SIMILARITY..MOST_SIMILARITY) {
            let back = similarity_for(false_match_rate(similarity));
            prop_assert!((back - similarity).abs() < 1e-9, "{}", back);
        }
    }
}
