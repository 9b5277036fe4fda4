//! `invigil bench queue`: how long the queue's first page takes when very many sessions wait.

use std::process::ExitCode;

use indicatif::ProgressBar;

use crate::cli::{runtime, say};
use crate::clock::Stopwatch;
use crate::store::Store;
use crate::store::populate::{Pupil, Queued, School};
use crate::store::reach::Reach;
use crate::store::review::QueueFilter;
use crate::store::words::QueueTab;

/// Sessions that are written in one transaction.
const AT_ONCE: i64 = 5_000;
/// Learners who share the sessions.
const LEARNERS: i64 = 1_000;
/// Rows of a page, as the console asks for them.
const PAGE_ROWS: u32 = 50;
/// How often each question is asked.
const TIMES: usize = 21;
/// What a question should take at most, ms.
const AIM_MS: f64 = 50.0;

/// Fill a store with sessions under review, and ask for the queue's first page.
#[derive(Debug, clap::Args)]
pub struct QueueBench {
    /// Sessions that wait
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(i64).range(1..=2_000_000))]
    sessions: i64,
}

impl QueueBench {
    /// Prints the median of each question; 1 when the first page takes longer than 50 ms.
    ///
    /// # Errors
    /// When the store cannot be written or read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        runtime()?.block_on(self.measure())
    }

    async fn measure(self) -> anyhow::Result<ExitCode> {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path())?;
        self.fill(&store).await?;
        let region = |digits: &str| Reach { region: Some(digits.to_owned()), platform: None };
        let everything = QueueFilter::default();
        let questions = [
            ("first page", everything.clone()),
            ("first page of a region", QueueFilter { reach: region("4113"), ..everything.clone() }),
            ("first page of a region without any", QueueFilter { reach: region("42"), ..everything.clone() }),
            ("first page by rule", QueueFilter { rule: Some("%,unfocused,%".to_owned()), ..everything }),
        ];
        let mut slow = false;
        for (name, filter) in questions {
            let mut took_ms = Vec::with_capacity(TIMES);
            for _ in 0..TIMES {
                let watch = Stopwatch::start();
                // As the API asks: how many, and the page.
                store.queue_total(QueueTab::Review, filter.clone()).await?;
                store.queue(QueueTab::Review, filter.clone(), None, PAGE_ROWS + 1).await?;
                took_ms.push(watch.elapsed().as_secs_f64() * 1_000.0);
            }
            slow |= report(name, took_ms)? > AIM_MS;
        }
        let mut took_ms = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let watch = Stopwatch::start();
            store.queue_counts(Reach::default(), 0).await?;
            took_ms.push(watch.elapsed().as_secs_f64() * 1_000.0);
        }
        slow |= report("counts", took_ms)? > AIM_MS;
        Ok(if slow { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    async fn fill(&self, store: &Store) -> anyhow::Result<()> {
        let pupil = |number: i64| Pupil { id: format!("l{number}"), data_key: Vec::new(), template: Vec::new() };
        let word = str::to_owned;
        let school = School {
            platform: word("p1"),
            key: [0; 32],
            project: word("j1"),
            lesson: word("e1"),
            duration_ms: 600_000,
            policy: word("default"),
            pupils: (0..LEARNERS).map(pupil).collect(),
            now_ms: 0,
        };
        let learners: Vec<String> = school.pupils.iter().map(|pupil| pupil.id.clone()).collect();
        store.populate(school).await?;
        let bar = ProgressBar::new(self.sessions.unsigned_abs());
        for from in (0..self.sessions).step_by(AT_ONCE as usize) {
            let numbers = from..(from + AT_ONCE).min(self.sessions);
            bar.inc(numbers.end.abs_diff(numbers.start));
            let queued = Queued {
                platform: word("p1"),
                project: word("j1"),
                region: word("411300"),
                lesson: word("e1"),
                learners: learners.clone(),
                verdict: VERDICT.to_owned(),
                numbers,
                now_ms: 1_772_294_400_000,
            };
            store.populate_queue(queued).await?;
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// Prints the median, ms.
fn report(name: &str, mut took_ms: Vec<f64>) -> anyhow::Result<f64> {
    took_ms.sort_by(f64::total_cmp);
    let (median, worst) = (took_ms[took_ms.len() / 2], took_ms[took_ms.len() - 1]);
    say(format_args!("{name}: {median:.1} ms (worst of {}: {worst:.1} ms)", took_ms.len()))?;
    Ok(median)
}

/// About as long as a verdict is.
const VERDICT: &str = r#"{"session":"s","policy":"default","status":"review","watched_ms":600000,"watch_ms":600000,"creditable_ms":600000,"credited_ms":600000,"credited_hours":0.25,"completed":true,"coverage":[[0,600000]],"furthest_ms":600000,"violations":[{"rule":"unfocused","cause":null,"at":1772294400000,"n":99,"clause":{"source":"x","text":"y"},"detail":null}],"violations_total":1,"carried":{"since_control_ms":1,"unverified_ms":0,"excess_ms":0,"conflict_ms":0,"face_failures":0,"face_history":[],"hour_watch_ms":0,"hour_has_photo":false},"log_digest":"00"}"#;
