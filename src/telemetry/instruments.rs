//! What measures: counters, gauges and histograms that cost an atomic addition or two.
//!
//! Whoever measures holds its instrument; no name and no label is looked up on the way. Series that differ in a word
//! know all their words from the start, so that a dashboard sees zeros before the first event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Counts up.
pub type Counter = prometheus_client::metrics::counter::Counter;
/// A whole number that rises and falls.
pub type Gauge = prometheus_client::metrics::gauge::Gauge;
/// Any number that rises and falls.
pub type FloatGauge = prometheus_client::metrics::gauge::Gauge<f64, AtomicU64>;

/// Bounds for what should take milliseconds, in ns: 100 µs to 10 s.
pub const LATENCY_BOUNDS_NS: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Bounds for how many are taken together.
pub const SIZE_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// How often values fell below which bounds. Cheap to clone: a clone counts into the same.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: &'static [u64],
    /// one for each bound, and one for what is above all
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// how many of what is counted make one of the unit that is shown
    per_unit: f64,
}

impl Histogram {
    /// Of durations, shown in seconds.
    pub fn of_seconds() -> Self {
        Self::new(LATENCY_BOUNDS_NS, 1e9)
    }

    /// Of numbers of things.
    pub fn of_sizes() -> Self {
        Self::new(SIZE_BOUNDS, 1.0)
    }

    fn new(bounds: &'static [u64], per_unit: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { bounds, counts, sum: AtomicU64::new(0), per_unit }))
    }

    /// Notes how long something took.
    pub fn observe(&self, took: Duration) {
        self.observe_number(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Notes how many there were.
    pub fn observe_number(&self, value: u64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// How often something was noted.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn encode_into(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let shown = |value: u64| value as f64 / self.0.per_unit;
        let bounds = self.0.bounds.iter().map(|bound| shown(*bound)).chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(shown(self.0.sum.load(Ordering::Relaxed)), count, &buckets, None)
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        self.encode_into(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Counters that differ in one word of a list. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Words(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    label: &'static str,
    counts: Vec<(String, AtomicU64)>,
}

impl Words {
    /// One counter for each word, and one for `other`, which should stay at zero.
    pub fn new<W: Into<String>>(label: &'static str, words: impl IntoIterator<Item = W>) -> Self {
        let words = words.into_iter().map(Into::into).chain(["other".to_owned()]);
        Self(Arc::new(Counts { label, counts: words.map(|word| (word, AtomicU64::new(0))).collect() }))
    }

    /// Counts one of this word.
    pub fn count(&self, word: &str) {
        let counts = &self.0.counts;
        let found = counts.iter().find(|(known, _)| known == word).or(counts.last());
        if let Some((_, count)) = found {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl EncodeMetric for Words {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        for (word, count) in &self.0.counts {
            let labels = [(self.0.label, word.as_str())];
            let count = count.load(Ordering::Relaxed);
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// A method and a route, as `POST` and `/api/v1/sessions`.
type Operation = (String, String);

/// How requests were answered, for each operation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Requests(Arc<Vec<(Operation, Answers)>>);

#[derive(Debug)]
struct Answers {
    /// by the first digit of the status: 2, 3, 4, 5
    by_class: [AtomicU64; 4],
    seconds: Histogram,
}

/// The part of [`Requests`] that says how long they took.
#[derive(Clone, Debug)]
pub struct RequestSeconds(Requests);

impl Requests {
    /// For these operations, and one for everything else.
    pub fn new(operations: impl IntoIterator<Item = Operation>) -> Self {
        let other = [("other".to_owned(), "other".to_owned())];
        let answers = || Answers { by_class: Default::default(), seconds: Histogram::of_seconds() };
        Self(Arc::new(operations.into_iter().chain(other).map(|operation| (operation, answers())).collect()))
    }

    /// Counts a request that was answered with this status.
    pub fn count(&self, method: &str, route: &str, status: u16, took: Duration) {
        let found = self.0.iter().find(|((known, path), _)| path == route && known == method).or(self.0.last());
        let Some((_, answers)) = found else { return };
        let class = usize::from(status / 100).clamp(2, 5) - 2;
        answers.by_class[class].fetch_add(1, Ordering::Relaxed);
        answers.seconds.observe(took);
    }

    /// How long they took.
    pub fn seconds(&self) -> RequestSeconds {
        RequestSeconds(self.clone())
    }
}

impl EncodeMetric for Requests {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        for ((method, route), answers) in self.0.iter() {
            for (count, class) in answers.by_class.iter().zip(["2xx", "3xx", "4xx", "5xx"]) {
                let labels = [("method", method.as_str()), ("route", route.as_str()), ("status", class)];
                let count = count.load(Ordering::Relaxed);
                encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl EncodeMetric for RequestSeconds {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        for ((method, route), answers) in self.0.0.iter() {
            let labels = [("method", method.as_str()), ("route", route.as_str())];
            answers.seconds.encode_into(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    fn text(name: &str, metric: impl prometheus_client::registry::Metric) -> String {
        let mut registry = Registry::default();
        registry.register(name, "what it is", metric);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn a_histogram_counts_what_is_at_most_its_bound() {
        let histogram = Histogram::of_seconds();
        for took in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(2), Duration::from_secs(60)] {
            histogram.observe(took);
        }
        let text = text("wait", histogram);
        for line in [
            r#"wait_bucket{le="0.0005"} 1"#,
            r#"wait_bucket{le="0.001"} 2"#,
            r#"wait_bucket{le="0.0025"} 3"#,
            r#"wait_bucket{le="10.0"} 3"#,
            r#"wait_bucket{le="+Inf"} 4"#,
            "wait_count 4",
            "wait_sum 60.003",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn words_are_there_before_they_are_counted_and_strangers_are_other() {
        let words = Words::new("why", ["late", "rude"]);
        words.count("rude");
        words.count("unheard of");
        let text = text("refused", words);
        for line in
            [r#"refused_total{why="late"} 0"#, r#"refused_total{why="rude"} 1"#, r#"refused_total{why="other"} 1"#]
        {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn requests_are_counted_by_operation_and_class() {
        let requests = Requests::new([("GET".to_owned(), "/a/{id}".to_owned())]);
        requests.count("GET", "/a/{id}", 204, Duration::from_millis(1));
        requests.count("GET", "/a/{id}", 429, Duration::from_millis(1));
        requests.count("BREW", "/coffee", 101, Duration::from_millis(1));
        let seconds = text("took", requests.seconds());
        let counted = text("requests", requests);
        for (line, text) in [
            (r#"requests_total{method="GET",route="/a/{id}",status="2xx"} 1"#, &counted),
            (r#"requests_total{method="GET",route="/a/{id}",status="4xx"} 1"#, &counted),
            (r#"requests_total{method="GET",route="/a/{id}",status="5xx"} 0"#, &counted),
            (r#"requests_total{method="other",route="other",status="2xx"} 1"#, &counted),
            (r#"took_count{method="GET",route="/a/{id}"} 2"#, &seconds),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
